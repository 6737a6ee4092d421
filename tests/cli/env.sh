# SPDX-License-Identifier: Apache-2.0
# Environments from the command line, on packages made here.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need tar bzip2

# tool VERSION: a program that prints VERSION through a library's file, a link, a file that two packages have
tool()
{
	mkdir -p stage/bin stage/share
	printf '#!/bin/sh\ncat "%s/lib/data"\n' "$PLACEHOLDER" >stage/bin/tool
	echo tool >stage/share/both
	chmod +x stage/bin/tool
	package stage tool "$1" "lib =$1"
	mkdir -p stage/lib stage/share
	echo "$1" >stage/lib/data
	echo lib >stage/share/both
	ln -s data stage/lib/link
	package stage lib "$1"
}

sw()
{
	"$SLIPWAY" "$@"
}

# in_tree DIR: every path with type, mode, size, digest or target; what differs by design between copies taken out
in_tree()
{
	(
		cd "$1" || exit 1
		find . \( -path ./conda-meta/history -o -path ./conda-meta/slipway-activate.sh \) -prune -o -type f -printf '%P %m %s\n' \
			-o -type l -printf '%P -> %l\n' -o -printf '%P %m %y\n' | sort
		find . -type f ! -path './conda-meta/*' ! -path ./bin/tool -exec sha256sum {} + | sort -k 2
	)
}

tool 1
tool 2
mkdir -p stage/bin
printf '#!/bin/sh\necho extra\n' >stage/bin/extra
chmod +x stage/bin/extra
package stage extra 1
t 'publish a channel' runs sw channel publish ch ./*.tar.bz2

# -- life of an environment
t 'no environments at first' runs sw env list
t 'create shows the plan' runs sw env create --dry-run -n e -c ch 'tool=1'
t 'with every package' has '^+ lib ' out
t 'and a dry run makes nothing' must_fail 1 sw env history -n e
t 'create' runs sw env create -n e -c ch 'tool=1'
t 'tells the clobbered path' has "share/both' is in both" err
t 'run' prints 1 sw env run -n e -- tool
t 'the exit code of what runs is handed on' must_fail 7 sw env run -n e -- sh -c 'exit 7'
t 'list' runs sw env list
t 'names it with its generation' has "^e  *1  *2 .*$SLIPWAY_ROOT/env/e/1\$" out
t 'create refuses what is there' must_fail 1 sw env create -n e -c ch tool
t 'and says what to do' has "slipway env update -n e" err
t 'update' runs sw env update -n e 'tool=2' extra
t 'runs the new program' prints 2 sw env run -n e -- tool
t 'the old generation still runs' prints 1 "$SLIPWAY_ROOT/env/e/1/bin/tool"
t 'update to the same does nothing' runs sw env update -n e 'tool=2' extra
t 'and says so' has 'nothing to do' err
t 'update removes packages' runs sw env update -n e --remove extra
t 'so that they are gone' must_fail 1 sw env run -n e -- extra
t 'history' runs sw env history -n e
t 'has every step' has 'update .* 2 .* 3 .* done' out
t 'history in JSON' runs sw env history -n e --json
t 'which is JSON' python3 -c 'import json; json.load(open("out"))'
t 'rollback' runs sw install rollback -n e
t 'to the generation before' prints extra sw env run -n e -- extra
t 'rollback to a number' runs sw install rollback -n e to 1
t 'which runs' prints 1 sw env run -n e -- tool
t 'without a number it goes one change back each time, not to and fro' must_fail 1 sw install rollback -n e
t 'and says how to go anywhere' has "install rollback -n e to N" err
t 'forward to the last' runs sw install rollback -n e to 3
t 'one back' runs sw install rollback -n e
t 'is 2' has "'e' is at generation 2 again" err
t 'another one back' runs sw install rollback -n e
t 'is 1' has "'e' is at generation 1 again" err
t 'not to what is not there' must_fail 1 sw install rollback -n e to 9
t 'nor to a label that none has' must_fail 1 sw install rollback -n e to x
t 'nor to what can be none' must_fail 2 sw install rollback -n e to 'x!'
t 'check finds nothing' runs sw env check -n e
t 'remove inactive generations' runs sw install remove inactive -n e
t 'leaves the current one' prints 1 sw env run -n e -- tool
t 'alone' [ ! -e "$SLIPWAY_ROOT/env/e/2" ]
t 'no solution exits 3' must_fail 3 sw env update -n e 'tool=7'
t 'and says it once' test "$(grep -c 'no solution' err)" = 1
t 'in the first line' eval "head -n 1 err | grep -q '^slipway: no solution'"
t 'an unknown environment' must_fail 1 sw env run -n nobody -- true
t 'is named' has "no environment 'nobody'" err
t 'a bad name is usage' must_fail 2 sw env create -n ../x -c ch tool
t 'an empty command line is usage' must_fail 2 sw env update -n e

# -- export and copy
t 'export' runs sw env export -n e
cp out e.spr
t 'a copy' runs sw apply e.spr -n c
same_tree()
{
	in_tree "$SLIPWAY_ROOT/env/e/current/" >a
	in_tree "$SLIPWAY_ROOT/env/c/current/" >b
	[ "$(wc -l <a)" -gt 8 ] && diff a b
}
t 'is the same file for file' same_tree
t 'and runs' prints 1 sw env run -n c -- tool
same_export()
{
	sw env export -n c | sed 's/^name c/name e/' | diff e.spr -
}
t 'and exports the same' same_export
same_records()
{
	for f in "$SLIPWAY_ROOT"/env/e/current/conda-meta/*.json; do
		sed 's,env/e/1,env/c/1,; s/"sha256_in_prefix": *"[0-9a-f]*"//' "$f" >a
		sed 's/"sha256_in_prefix": *"[0-9a-f]*"//' "$SLIPWAY_ROOT/env/c/current/conda-meta/${f##*/}" >b
		diff a b || return 1
	done
}
t 'with the same records' same_records
t 'apply again does nothing' runs sw apply e.spr -n c
t 'and says that' has 'nothing to do' err
copy_elsewhere()
{
	sw --root "$T/elsewhere" apply e.spr && sw --root "$T/elsewhere" env run -n e -- tool >out && [ "$(cat out)" = 1 ]
}
t 'apply in another root' copy_elsewhere
t 'export @EXPLICIT' runs sw env export -n e --explicit
cp out list.txt
t 'has every package with its digest' [ "$(grep -c '#sha256:' list.txt)" = 2 ]
t 'create from it' runs sw env create -n explicit -f list.txt
t 'which runs too' prints 1 sw env run -n explicit -- tool
md5_list()
{
	{
		echo @EXPLICIT
		for f in lib-1-0 tool-1-0; do
			echo "ch/noarch/$f.tar.bz2#$(md5sum <"ch/noarch/$f.tar.bz2" | cut -d ' ' -f 1)"
		done
	} >md5.txt
	runs sw --root "$T/md5" env create -n m -f md5.txt && prints 1 sw --root "$T/md5" env run -n m -- tool &&
		runs sw --root "$T/md5" env packages -n m && has '^lib  *1  *0' out
}
t 'paths and MD5 in a list' md5_list
t 'a wrong MD5' sh -c 'sed "s/#../#00/" md5.txt >bad.txt'
t 'is refused' must_fail 1 sw --root "$T/bad" env create -n m -f bad.txt
t 'by name' has 'MD5' err
t 'and nothing is made' must_fail 1 sw --root "$T/bad" env run -n m -- true

# -- environment.yml
cat >environment.yml <<END
name: yml
channels:
  - $T/ch
  - nodefaults
dependencies:
  - tool=2
variables:
  GREETING: "hello: you"
other: 1
END
t 'create -f environment.yml' runs sw env create -f environment.yml
t 'tells what it passes over' has "environment.yml:9: section 'other'" err
t 'runs' prints 2 sw env run -n yml -- tool
t 'with its variables' prints 'hello: you' sw env run -n yml -- sh -c 'echo "$GREETING"'
t 'export as environment.yml' runs sw env export -n yml --yml
cp out again.yml
t 'which reads back' runs sw env create -n yml2 -f again.yml
t 'to the same variables' prints 'hello: you' sw env run -n yml2 -- sh -c 'echo "$GREETING"'
printf 'name: p\nchannels: [%s]\ndependencies:\n  - tool\n  - pip:\n    - sardana\n' "$T/ch" >pip.yml
t 'a pip section is refused' must_fail 1 sw env create -f pip.yml
t 'with file, line and a clear word' has "pip.yml:5: a 'pip:' section needs Python wheels" err
t 'and nothing is made of it' must_fail 1 sw env run -n p -- true
printf 'name: p\ndependencies:\n  - [x\n' >bad.yml
t 'bad YAML is refused' must_fail 1 sw env create -f bad.yml
t 'with its place' has 'bad.yml:[34]: ' err
printf 'recipe 1\nname x\nspecs tool\n' >bad.spr
t 'a bad recipe is refused' must_fail 1 sw apply bad.spr
t 'with the place in it' has "bad.spr:3: unknown word 'specs'" err
printf 'recipe 1\nname specs\nchannel %s\nspec tool=1\n' "$T/ch" >specs.spr
t 'a recipe of specs is solved for' runs sw apply specs.spr
t 'and runs as well' prints 1 sw env run -n specs -- tool

# -- sync
damage()
{
	d=$SLIPWAY_ROOT/env/c/$1
	echo added >"$d/lib/added"
	mkdir -p "$d/opt/deep"
	echo added >"$d/opt/deep/file"
	echo damaged >>"$d/lib/data"    # through the hard link into the store
	rm "$d/lib/link"
	printf '#!/bin/sh\necho evil\n' >"$d/bin/tool"
	ln -s /etc/passwd "$d/bin/passwd"
	chmod 0755 "$d/share/both"
}
in_tree "$SLIPWAY_ROOT/env/c/1" >good
t 'damage it' damage 1
t 'check sees it' must_fail 1 sw env check -n c
for p in 'added .*lib/added' 'added .*opt/deep/file' 'added .*bin/passwd' 'changed .*lib/data' 'changed .*bin/tool' 'missing .*lib/link' \
	'changed .*share/both .*mode 0755, was 0644'; do
	t "check: $p" has "$p" out
done
t 'apply --sync' runs sw apply e.spr -n c --sync --syncmode=delete
t 'says what it removed' has '^  - opt/deep/file' err
t 'and what it restored' has '^  ~ lib/data (' err
restored()
{
	n=$(readlink "$SLIPWAY_ROOT/env/c/current")
	in_tree "$SLIPWAY_ROOT/env/c/$n" >now
	diff good now
}
t 'file for file' restored
t 'it runs again' prints 1 sw env run -n c -- tool
t 'check is content' runs sw env check -n c
t 'sync again does nothing' runs sw apply e.spr -n c --sync --syncmode=delete
t 'and says it' has 'nothing to do' err
t 'what shares the file was damaged with it' must_fail 1 sw env check -n e
t 'and is restored the same way' runs sw apply e.spr -n e --sync --syncmode=delete
t 'so that it is whole' runs sw env check -n e
kept()
{
	echo mine >"$SLIPWAY_ROOT/env/c/current/lib/mine"
	sed 's/^variable .*//; s/^lock/variable A="b"\nlock/' e.spr >var.spr
	runs sw apply var.spr -n c && prints mine cat "$SLIPWAY_ROOT/env/c/current/lib/mine" &&
		prints b sw env run -n c -- sh -c 'echo "$A"'
}
t 'without sync the files of nobody stay' kept
holes() # SPEC
{
	at=$SLIPWAY_ROOT/env/c/current/lib/holes
	truncate -s 200M "$at" || return 77
	printf begin | dd of="$at" conv=notrunc status=none
	printf middle | dd of="$at" conv=notrunc bs=1 seek=100000000 status=none
	[ "$(stat -c %b "$at")" -lt 1000 ] || return 77
	sw env update -n c -c ch "$1" || return 1
	[ "$(stat -c '%s' "$at")" = 209715200 ] && [ "$(stat -c %b "$at")" -lt 1000 ] &&
		[ "$(head -c 5 "$at")" = begin ] && [ "$(tail -c +100000001 "$at" | head -c 6)" = middle ] && rm "$at"
}
t 'nor do holes become zeros on the disk' holes extra
mkdir -p stage/lib
echo theirs >stage/lib/mine
package stage mine 1
t 'a package that brings such a path' runs sw channel publish ch mine-1-0.tar.bz2
t 'has it' runs sw env update -n c -c ch mine --json
t 'which is said, with the reason' has "'lib/mine' is not taken over: a package brings this path now" err
t 'in JSON too' has '"why": "a package brings this path now"' out
t 'apply as before' runs sw apply var.spr -n c

# -- two at once
# held NAME COMMAND...: COMMAND runs while another process holds NAME
held()
{
	held_name=$1
	shift
	(
		flock 9 || exit 1
		echo "4711 slipway env update -n $held_name" >&9
		"$@"
	) 9<>"$SLIPWAY_ROOT/env/.$held_name.lock"
}
if command -v flock >/dev/null; then
	t 'a held environment is busy' held e must_fail 1 sw env update -n e --wait 0 extra
	t 'and who holds it is told' has 'locked by process 4711' err
	t 'others are not' held e runs sw env update -n explicit --wait 0 -c ch tool=1
	t 'reading is not' held e prints 1 sw env run -n e -- tool
	waits()
	{
		held e sleep 1 &
		sleep 0.3
		sw -q env update -n e --wait 30 extra && prints extra sw env run -n e -- extra
		waits_rc=$?
		wait
		return $waits_rc
	}
	t 'a command waits for the other' waits
else
	skip 'two at once' 'no flock'
fi
together()
{
	sw -q env create -n both -c ch tool=1 >said1 2>&1 &
	sw -q env create -n both -c ch tool=1 >said2 2>&1
	rc2=$?
	wait $!
	rc1=$?
	cat said1 said2
	[ "$((rc1 + rc2))" = 1 ] && cat said1 said2 | has 'is there already' - && prints 1 sw env run -n both -- tool
}
t 'of two that create it one does' together

# -- killed in the middle, at whatever place that is
killed()
{
	for ms in 1 2 4 6 8 10 13 16 20 25 30 40; do
		"$SLIPWAY" -q env update -n yml extra tool=1 >said 2>&1 & # sw would be a shell, and that alone be killed
		pid=$!
		sleep "0.0$(printf %02d "$ms")"
		kill -9 "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
		now=$(sw env run -n yml -- tool 2>&1)
		[ "$now" = 1 ] || [ "$now" = 2 ] || { echo "after $ms ms: $now"; return 1; }
		runs sw env update -n yml extra tool=1 && prints 1 sw env run -n yml -- tool && runs sw env check -n yml &&
			runs sw env update -n yml --remove extra tool=2 && prints 2 sw env run -n yml -- tool || return 1
	done
}
t 'killed in the middle' killed

# -- removal
t 'a name alone' must_fail 2 sw env remove e
t 'is answered with where it goes' has "unexpected word 'e'; as in: slipway env remove -n e$" err
t 'remove' runs sw env remove -n e
t 'leaves no files' [ ! -e "$SLIPWAY_ROOT/env/e" ]
t 'but its history' runs sw env history -n e
t 'with the removal' has 'remove' out
t 'remove again' must_fail 1 sw env remove -n e
t 'create anew' runs sw env create -n e -c ch tool
t 'which is 2, the newest' prints 2 sw env run -n e -- tool
for n in $(sw env list --json | python3 -c 'import json,sys
d = json.load(sys.stdin)
print(*[e["name"] for e in (d["environments"] if isinstance(d, dict) else d)])'); do
	[ "$n" = c ] || t "remove $n" runs sw env remove -n "$n"
done
t 'gc' runs sw store gc
t 'keeps what is in use' prints 1 sw env run -n c -- tool
t 'in a store that is whole' runs sw store verify
t 'from which a copy is made' runs sw apply e.spr -n last

done_testing
