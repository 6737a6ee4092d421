# SPDX-License-Identifier: Apache-2.0
# slipway build gc and slipway build cache: what goes, in which order, and what stays; on real builds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
need python3
rootfs_tar root.tar || exit 1
"$SLIPWAY" -q image import base root.tar || exit 1
"$SLIPWAY" build --check >can 2>&1 || skip_all 'kernel: no sandbox can be had here'

cat >a.spec <<'S'
((from base)
 (run (cache (left (target /cache))) (shell "echo one >/cache/one && head -c 200000 /dev/urandom >/one"))
 (run (shell "head -c 100000 /dev/urandom >/two")))
S
cat >b.spec <<'S'
((from base)
 (run (cache (other (target /cache))) (shell "head -c 300000 /dev/urandom >/cache/big; head -c 50000 /dev/urandom >/three")))
S
t 'builds' runs "$SLIPWAY" build -f a.spec .
t 'another one' runs "$SLIPWAY" build -f b.spec .

# member JSON EXPRESSION: of what python makes of it
member()
{
	python3 -c 'import json,sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"
}

# says FILE EXPRESSION TEXT
says()
{
	[ "$(member "$1" "$2")" = "$3" ] || { echo "$2 is $(member "$1" "$2"), not $3"; cat "$1"; return 1; }
}

layers()
{
	"$SLIPWAY" build list --json >listed && says listed 'len(d["layers"])' "$1"
}

# age DIR DAYS: as if it were used so long ago
age()
{
	find "$1" -maxdepth 1 -name about -exec touch -d "$2 days ago" {} +
}

t 'four layers' layers 4
t 'all of them new: nothing goes' runs "$SLIPWAY" build gc --json
t 'and it says so' says out 'len(d["removed"]), d["kept"], d["freed_bytes"]' '(0, 4, 0)'
t 'lists caches' runs "$SLIPWAY" build cache list --json
t 'both' says out '[c["name"] for c in d["caches"]]' "['left', 'other']"
t 'with what they take' says out 'd["caches"][1]["bytes"] >= 300000' True
for l in "$SLIPWAY_ROOT"/build/layer/*; do
	age "$l" 10
done
one=$(member listed '[l["id"] for l in d["layers"] if "two" in l["words"]][0]')
age "$SLIPWAY_ROOT/build/layer/$one" 3
t 'tells what would go by age' runs "$SLIPWAY" build gc --older-than 7d --dry-run --json
t 'a leaf that is old; not the base of an image, nor what lies below a newer one' says out '[r["why"] for r in d["removed"]], d["dry_run"]' "(['age'], True)"
t 'and nothing has' layers 4
t 'goes by age' runs "$SLIPWAY" build gc --older-than 1w
t 'says what' has 'age' out
t 'and how much' has '^freed .*; 3 stay' err
t 'three stay' layers 3
t 'by size' runs "$SLIPWAY" build gc --max-size 1kB --json
t 'children first' says out 'd["removed"][0]["layer"], [r["why"] for r in d["removed"]]' "('$one', ['size', 'size'])"
t 'it counts what a step wrote' says out '200000 <= d["removed"][1]["bytes"] < 400000' True
t 'the image stays' runs "$SLIPWAY" image show base
t 'of what stays, and is more' runs "$SLIPWAY" build gc --max-size 1kB
t 'it says how it would go' has "1 base image, what stands in use and caches stay: 'slipway image remove NAME'" err
t 'its layer too' layers 1
t 'caches stay unless asked for' runs "$SLIPWAY" build cache list
t 'as before' has '^left ' out
t 'caches go, too' runs "$SLIPWAY" build gc --older-than 0s --caches --json
t 'both of them' says out 'sorted(r["cache"] for r in d["removed"])' "['left', 'other']"
t 'the same build again' runs "$SLIPWAY" build -f a.spec .
t 'removes a cache' runs "$SLIPWAY" build cache remove left
t 'which is gone' must_fail 1 "$SLIPWAY" build cache remove left
t 'names the command that lists them' has "slipway.* build cache list" err
t 'nothing left behind' sh -c "[ -z \"\$(ls '$SLIPWAY_ROOT/build/tmp')\" ]"

# copies of repositories
git_dates=2025-05-06T18:00:00Z
GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=t GIT_COMMITTER_NAME=t EMAIL=t@localhost GIT_AUTHOR_DATE=$git_dates GIT_COMMITTER_DATE=$git_dates
export GIT_CONFIG_GLOBAL GIT_AUTHOR_NAME GIT_COMMITTER_NAME EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_DATE
copies_of_repositories()
{
	for x in x y; do
		(git init -q -b master $x && cd $x && echo $x >x && git add . && git commit -qm first) || return 1
		"$SLIPWAY" -q build -f a.spec --git "file://$T/$x" >out 2>&1 || return 1
	done
}
t 'builds of two repositories' copies_of_repositories
touch -d '9 days ago' "$SLIPWAY_ROOT"/build/git/x-*.use
t 'copies are listed' runs "$SLIPWAY" build cache list --json
t 'by URL' says out '[c["url"] for c in d["git"]]' "['file://$T/x', 'file://$T/y']"
t 'with what they take' says out 'd["git"][0]["bytes"] > 10000' True
t 'in the table, too' runs "$SLIPWAY" build cache list
t 'as what they are' has "^file://$T/x *git" out
t 'stay unless asked for' runs "$SLIPWAY" build gc --older-than 7d --json
t 'as layers do that are used' says out 'd["removed"]' '[]'
t 'tells what would go' runs "$SLIPWAY" build gc --older-than 7d --caches --dry-run
t 'by its URL' has "^git file://$T/x .*age" out
t 'and nothing has' sh -c "ls -d '$SLIPWAY_ROOT'/build/git/x-*[0-9a-f]/objects"
exec 8<"$(ls "$SLIPWAY_ROOT"/build/git/x-*.use)" && flock -s 8
t 'not while a build uses it' runs "$SLIPWAY" build gc --older-than 7d --caches --json
t 'it stays' says out 'd["removed"]' '[]'
t 'nor by name' must_fail 1 "$SLIPWAY" build cache remove "file://$T/x"
t 'it says why' has 'a build uses it' err
exec 8<&-
t 'goes by age' runs "$SLIPWAY" build gc --older-than 7d --caches --json
t 'alone' says out '[(r.get("git"), r["why"]) for r in d["removed"]]' "[('file://$T/x', 'age')]"
t 'with all of it' sh -c "! ls -d '$SLIPWAY_ROOT'/build/git/x-* && [ -z \"\$(ls '$SLIPWAY_ROOT/build/git/tmp')\" ]"
t 'one is removed by its URL' runs "$SLIPWAY" build cache remove "file://$T/y" --json
t 'that one' says out 'd["url"], d["dry_run"]' "('file://$T/y', False)"
t 'none is left' sh -c "! ls -d '$SLIPWAY_ROOT'/build/git/y-*"
rm -rf x y

# what a killed build left
mkdir -p "$SLIPWAY_ROOT/build/tmp/1234/fs" && echo x >"$SLIPWAY_ROOT/build/tmp/1234/fs/x"
t 'half-done work goes' runs "$SLIPWAY" build gc
t 'all of it' sh -c "[ -z \"\$(ls '$SLIPWAY_ROOT/build/tmp')\" ]"
t 'damaged layers go' sh -c "echo rubbish >'$SLIPWAY_ROOT/build/layer/$one/about' && '$SLIPWAY' build gc --json >out"
t 'and that is said' says out '[r["why"] for r in d["removed"]]' "['damaged']"
"$SLIPWAY" -q build -f a.spec . >/dev/null || fail 'builds after that'
t 'without the image, everything' runs "$SLIPWAY" image remove base
t 'goes' runs "$SLIPWAY" build gc --older-than 0s
t 'nothing is left' layers 0

# what config.yml says
"$SLIPWAY" -q image import base root.tar
echo 'build: {store: copy, keep_free: 1000 TiB}' >"$SLIPWAY_ROOT/config.yml"
t 'a new folder is of the kind that is wanted' runs "$SLIPWAY" image import --store copied base root.tar
t 'copies' grep -qx 'slipway-layers 1 copy' copied/backend
t 'builds there' runs "$SLIPWAY" build --store copied -f a.spec .
t 'a build' runs "$SLIPWAY" build -f a.spec .
t 'another one, when the disk is too full' runs "$SLIPWAY" build -f b.spec .
t 'makes room first' has '^freed .*keep_free' err
t 'of what nobody uses' layers 2
rm "$SLIPWAY_ROOT/config.yml"

for w in '--older-than 7' '--older-than d' '--older-than -1d' '--max-size x' '--keep-free 1parsec' word; do
	# shellcheck disable=SC2086 # words
	t "refuses $w" must_fail 2 "$SLIPWAY" build gc $w
done
t 'cache wants a verb' must_fail 2 "$SLIPWAY" build cache
t 'and a name' must_fail 2 "$SLIPWAY" build cache remove
done_testing
