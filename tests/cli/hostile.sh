# SPDX-License-Identifier: Apache-2.0
# Channels, packages, files and surroundings that mean harm, through the whole program.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need tar bzip2 sha256sum

# package FOLDER: everything in FOLDER, with info/index.json, becomes ch/noarch/aa-1.0-0.tar.bz2
package()
{
	mkdir -p ch/noarch "$1/info"
	[ -f "$1/info/index.json" ] ||
		echo '{"name":"aa","version":"1.0","build":"0","build_number":0,"depends":[],"subdir":"noarch"}' >"$1/info/index.json"
	tar -C "$1" -cjf ch/noarch/aa-1.0-0.tar.bz2 .
	sha=$(sha256sum ch/noarch/aa-1.0-0.tar.bz2) sha=${sha%% *}
}

# repodata MEMBERS: a record of that package; MEMBERS (', "key": value') come last, so that they count
repodata()
{
	printf '{"info":{"subdir":"noarch"},"packages":{"aa-1.0-0.tar.bz2":{"name":"aa","version":"1.0",%s%s}}}\n' \
		"\"build\":\"0\",\"build_number\":0,\"depends\":[],\"sha256\":\"$sha\"" "$1" >ch/noarch/repodata.json
}

# refused MEMBERS PATTERN: env create fails, says PATTERN, and leaves no environment
refused()
{
	repodata "$1"
	must_fail 1 "$SLIPWAY" env create -n x -c ch aa && has "$2" err && [ ! -e "$SLIPWAY_ROOT/env/x" ]
}

# left_out MEMBERS PATTERN: the record is not in the index, and it is said why
left_out()
{
	repodata "$1"
	must_fail 3 "$SLIPWAY" env create -n x -c ch aa && has "$2" err && [ ! -e "$SLIPWAY_ROOT/env/x" ]
}

kept_without_licence()
{
	repodata "$1"
	runs "$SLIPWAY" search --json -c ch aa && has '"name": "aa"' out && hasnt license out
}

mkdir -p aa/bin
echo 'echo hello' >aa/bin/aa
package aa

# what a channel says of a package is kept, and read again by every later command
long=$(printf '%070000d' 0)
t 'a licence that no lock can hold is not kept' kept_without_licence ",\"license\":\"$long\""
t 'a record with a build that no lock can hold is left out' left_out ',"build":"1!"' "build string '1!'"
t 'one with a size beyond all numbers too' left_out ',"size":18446744073709551615' "'size': number too large"
t 'a digest of zeros is a digest' refused ",\"sha256\":\"$(printf '%064d' 0)\"" 'has sha256'

# one package's wrong record would make the whole channel unreadable
mkdir -p pp/info
echo '{"name":"pp","version":"1","build":"0","build_number":0,"depends":[],"subdir":"noarch","timestamp":1152921504606846976}' \
	>pp/info/index.json
tar -C pp -cjf pp-1-0.tar.bz2 info
t 'publish refuses a time beyond all calendars' must_fail 1 "$SLIPWAY" channel publish published pp-1-0.tar.bz2
t 'and names it' has "'timestamp' is out of range" err

# a state.db that was lost or cut off: environments are not taken for rubbish
repodata ''
t 'an environment' runs "$SLIPWAY" env create -n x -c ch aa
cp "$SLIPWAY_ROOT/state.db" state.db
t 'list without state.db' must_fail 1 sh -c 'rm "$SLIPWAY_ROOT/state.db" && "$SLIPWAY" env list'
t 'says what is there' has "state.db in '.*' is missing or empty, but 'env/x' is there: restore it" err
t 'create does not begin a new one' must_fail 1 "$SLIPWAY" env create -n y -c ch aa
t 'update with an empty one' must_fail 1 sh -c ': >"$SLIPWAY_ROOT/state.db" && "$SLIPWAY" env update -n x -c ch aa'
t 'says so too' has "missing or empty, but 'env/x' is there" err
t 'gc frees nothing without it' must_fail 1 "$SLIPWAY" store gc
t 'with its backup all is as before' sh -c 'cp state.db "$SLIPWAY_ROOT" && "$SLIPWAY" env run -n x -- sh "$SLIPWAY_ROOT/env/x/1/bin/aa"'

# what is remembered of a channel's files was written long before all time
state_of_before()
{
	for file in "$SLIPWAY_ROOT"/index/*/*.json; do
		sed -i 's/"checked_ms":[0-9]*/"checked_ms":-9223372036854775808/' "$file" || return 1
	done
	"$SLIPWAY" solve -c ch aa
}
t 'a time of before 1970 in the index folder is no time' state_of_before

# a root that cannot be written to: what changes nothing still answers
read_only()
{
	unshare -rm sh -c 'mkdir -p ro && mount -t tmpfs none ro && cp -r "$SLIPWAY_ROOT" ro/root && mount -o remount,bind,ro ro && "$@"' - "$@"
}
mkdir ro
if unshare -rm mount -t tmpfs none ro 2>/dev/null; then # a user may have a namespace and yet not be allowed to mount in it
	for query in 'env list' 'env run -n x -- true' 'env export -n x' 'store size' 'store verify' 'solve -c ch aa' \
		'env create --dry-run -n y -c ch aa' 'env update --dry-run -n x -c ch --all' 'env check -n x' \
		'env packages -n x' 'env history -n x' 'env remove -n x --dry-run' 'install rollback -n x to 1 --dry-run' \
		'install remove inactive -n x --dry-run' 'channel list' 'search -c ch aa' 'why -n x aa'; do
		# shellcheck disable=SC2086 # words
		t "read-only root: $query" read_only "$SLIPWAY" --root ro/root $query
	done
	t 'read-only root: env wrap looks' must_fail 1 read_only "$SLIPWAY" --root ro/root env wrap -n x --dry-run --dir ro/bin aa
	t 'at the programs, no further' has "has no program 'bin/aa'" err
	full()
	{
		unshare -rm sh -c 'mount -t tmpfs -o size=64k none ro && "$@"' - "$@"
	}
	t 'a full disk' must_fail 1 full "$SLIPWAY" --root ro/root env create -n y -c ch aa
	t 'says what makes room' has "'slipway --root ro/root install remove inactive -n NAME' and 'slipway --root ro/root store gc' make room" err
	t 'a change is refused' must_fail 1 read_only "$SLIPWAY" --root ro/root env create -n y -c ch aa
	t 'with the reason' has 'Read-only file system' err
	t 'channel add fails' must_fail 1 read_only "$SLIPWAY" --root ro/root channel add ch
	t 'and does not say that it was done' hasnt added err
else
	skip 'read-only root' 'kernel: this user cannot mount in a namespace of its own'
fi

# nothing that only looks leaves a trace
listing()
{
	(cd "$SLIPWAY_ROOT" && find env -maxdepth 1 | sort)
}
leaves_no_trace() # CODE COMMAND...
{
	listing >before
	must_fail "$@" || return 1
	listing | diff before -
}
rm -f "$SLIPWAY_ROOT"/env/.*.lock
t 'a dry run leaves no lock' leaves_no_trace 0 "$SLIPWAY" env update --dry-run -n x -c ch --all
t 'nor env remove' leaves_no_trace 0 "$SLIPWAY" env remove --dry-run -n x
t 'nor env create' leaves_no_trace 0 "$SLIPWAY" env create --dry-run -n y -c ch aa
for wrong in 'env update -n mistyped -c ch aa' 'env remove -n mistyped' 'install rollback -n mistyped' \
	'install remove inactive -n mistyped' 'env check -n mistyped'; do
	# shellcheck disable=SC2086 # words
	t "a mistyped name leaves no lock: $wrong" leaves_no_trace 1 "$SLIPWAY" $wrong
done
t 'nor what has no solution' leaves_no_trace 3 "$SLIPWAY" env create -n mistyped -c ch nothing

# a platform that is none: the folder says it better, and the recipe made of it can be applied
repodata ',"subdir":"../../x"'
t 'a record with an odd subdir' runs "$SLIPWAY" env create -n odd -c ch aa
t 'is one of its folder' sh -c '"$SLIPWAY" env export -n odd >odd.spr && grep -q "\"subdir\":\"noarch\"" odd.spr'
t 'and can be had again' runs "$SLIPWAY" apply odd.spr -n odd2
repodata ''

# signals: what the program ignores for itself, those that it becomes do not
# whatever that is: a background job of a shell ignores some already
ignored()
{
	"$@" sh -c 'while read -r key value; do [ "$key" != SigIgn: ] || echo "$value"; done </proc/self/status'
}
same_ignored()
{
	[ "$(ignored env)" = "$(ignored "$SLIPWAY" env run -n x --)" ]
}
t 'run hands on the signals that it was itself told to ignore' same_ignored
ignoring_pipes()
{
	(trap '' PIPE && same_ignored && ignored "$SLIPWAY" env run -n x -- | grep -q '1[0-9a-f][0-9a-f][0-9a-f]$')
}
t 'and one more of them' ignoring_pipes
limited()
{
	(ulimit -f "$1" && shift && "$@")
}
mkdir -p bb/info
echo '{"name":"bb","version":"1","build":"0","build_number":0,"depends":[],"subdir":"noarch"}' >bb/info/index.json
head -c 60000 /dev/urandom >bb/data
tar -C bb -cjf bb-1-0.tar.bz2 .
t 'a limit of file sizes is an error' must_fail 1 limited 8 "$SLIPWAY" channel publish limited bb-1-0.tar.bz2
t 'with its reason' has 'File too large' err

# a pipe in the place of a file: nothing waits for somebody who writes into it
t 'an environment for pipes' runs "$SLIPWAY" env create -n p -c ch aa
for at in root/env/p/current/conda-meta/x.json root/env/p/current/conda-meta/history root/index/*/noarch.full.idx ch/noarch/repodata.json; do
	mv "$at" kept 2>/dev/null || : >kept
	mkfifo "$at"
	t "a pipe at ${at##*/}: check" sh -c 'timeout 20 "$SLIPWAY" env check -n p; test $? -le 1'
	t "a pipe at ${at##*/}: solve" sh -c 'timeout 20 "$SLIPWAY" solve -c ch aa; test $? -le 1'
	printf 'dependencies: [aa]\nvariables: {A: "%s"}\n' "$at" >p.yml
	t "a pipe at ${at##*/}: update" sh -c 'timeout 20 "$SLIPWAY" env update -n p -c ch -f p.yml; test $? -le 1'
	rm -f "$at"
	[ ! -s kept ] || mv kept "$at"
done
t 'such a record is named' must_fail 1 sh -c 'mkfifo root/env/p/current/conda-meta/x.json && timeout 20 "$SLIPWAY" env check -n p'
t 'for what it is' has "conda-meta/x.json: 'x.json' is a pipe, a socket or a device, not a file" err
t 'an environment goes' runs "$SLIPWAY" env remove -n x
t 'with its lock' test ! -e "$SLIPWAY_ROOT/env/.x.lock"

done_testing
