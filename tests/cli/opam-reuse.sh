# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# Called as opam: packages that were built before are copied, not built: when they are, when they must not be, what a damaged copy does, who removes
# them, and that the real opam takes such an installation for one of its own.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need tar make python3

OPAMROOT=$T/r OPAMYES=1 OPAMROOTISOK=1 LC_ALL=C
export OPAMROOT OPAMYES OPAMROOTISOK LC_ALL
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG SLIPWAY_OPAM_KEPT CFLAGS
ln -s "$SLIPWAY" opam
mkdir -p repo/packages src/lib-1
echo 'opam-version: "2.0"' >repo/repo
kept=$SLIPWAY_ROOT/opam/built

# package NAME VERSION <opam file
package()
{
	mkdir -p "repo/packages/$1/$1.$2"
	{
		echo 'opam-version: "2.0"'
		cat
	} >"repo/packages/$1/$1.$2/opam"
}

echo 'the library' >src/lib-1/lib.txt
tar -C src -czf lib.tgz lib-1
# each build leaves a line in what the sandbox lets it write: the prefix, when it installs
lib()
{
	package lib 1 <<END
synopsis: "${1:-a library}"
build: ["sh" "-c" "cp lib.txt built.txt; echo ${2:-same} >>built.txt; date +%N >>when.txt"]
install: [
  ["sh" "-c" "mkdir -p %{lib}%/lib %{share}%/empty && cp built.txt %{lib}%/lib && ln -s lib %{lib}%/also"]
  ["sh" "-c" "printf '#!/bin/sh\\necho lib\\n' > %{bin}%/lib && chmod 755 %{bin}%/lib"]
]
url { src: "file://$T/lib.tgz" checksum: "sha256=$(sha256sum <lib.tgz | cut -d ' ' -f 1)" }
END
}
lib
mkdir -p repo/packages/app/app.1/files
echo 'v: %{version}% of %{lib:installed}%' >repo/packages/app/app.1/files/app.txt.in
package app 1 <<'END'
depends: ["lib" "probe"]
depopts: ["extra"]
substs: ["app.txt"]
build: ["sh" "-c" "cat %{lib:lib}%/built.txt >> app.txt; echo %{extra:installed}% >> app.txt; echo $CFLAGS >> app.txt"]
run-test: ["true"]
install: ["sh" "-c" "mkdir -p %{share}%/app && cp app.txt %{share}%/app"]
END
mkdir -p repo/packages/probe/probe.1/files
printf 'opam-version: "2.0"\nvariables { answer: "42" }\n' >repo/packages/probe/probe.1/files/probe.config
package probe 1 <<'END'
flags: conf
build: ["sh" "-c" "true"]
END
package extra 1 <<'END'
END
package loose 1 <<END
install: ["sh" "-c" "mkdir -p %{share}%/loose && cp data %{share}%/loose"]
url { src: "file://$T/loose" }
END
mkdir loose && echo one >loose/data
package patcher 1 <<'END'
depends: ["lib"]
install: ["sh" "-c" "echo patched >> %{lib}%/lib/built.txt; mkdir -p %{share}%/patcher"]
END

install()
{
	./opam install "$@" >out 2>err || { cat out err; return 1; }
}
# reused NAME… : those and no others were copied
reused()
{
	sed -n 's/^-> installed \([a-z]*\)\.[0-9]*  (built before)$/\1/p' out | sort | tr '\n' ' ' >got
	echo "$*" | tr ' ' '\n' | sort | sed '/^$/d' | tr '\n' ' ' | diff - got || { cat out err; return 1; }
}

./opam init --bare --no-setup -k local default repo >/dev/null 2>&1 && ./opam switch create sw --empty >/dev/null 2>&1 || { echo 'Bail out! no root'; exit 1; }

t 'the first time all is built' eval 'install app && reused'
t 'and kept' eval '"$SLIPWAY" opam cache >out && grep -q "^lib *1 " out && grep -q "^app *1 " out'
find r/sw -path r/sw/.opam-switch -prune -o -printf '%y %m %s %P %l\n' | sort >before
./opam remove lib app probe >/dev/null 2>&1
rm -rf r/download-cache
mv lib.tgz away.tgz
t 'the second time it is copied, and nothing is fetched' eval 'install app && reused lib app && ! grep -q retrieved out'
t 'and is the same' eval 'find r/sw -path r/sw/.opam-switch -prune -o -printf "%y %m %s %P %l\n" | sort | diff before -'
t 'what asks the machine is asked again' grep -qx -e '-> installed probe.1' out
t 'its programs run' eval '[ "$(r/sw/bin/lib)" = lib ]'
if [ "$(/usr/bin/opam --version 2>/dev/null)" = 2.1.2 ]; then
	real_opam()
	{
		/usr/bin/opam list --installed --short >theirs 2>/dev/null && printf 'app\nlib\nprobe\n' | diff - theirs || { cat theirs; return 1; }
		[ "$(/usr/bin/opam var probe:answer 2>/dev/null)" = 42 ] || { /usr/bin/opam var probe:answer; return 1; }
		/usr/bin/opam remove -y lib >theirs 2>&1 || { cat theirs; return 1; }
		[ -z "$(find r/sw -path r/sw/.opam-switch -prune -o -type f -print)" ] || { find r/sw -type f; return 1; }
	}
	t 'the real opam takes it for installed, and removes it' real_opam
	t 'and it comes again' eval 'install app && reused lib app'
fi
t 'another switch of the same path finds it' eval './opam switch remove -y sw >/dev/null 2>&1 && ./opam switch create sw --empty >/dev/null 2>&1 &&
	install app && reused lib app'
mv away.tgz lib.tgz
t 'one of another path does not' eval './opam switch create other --empty >/dev/null 2>&1 && install --switch other app && reused'
t 'but finds its own' eval './opam remove --switch other lib app >/dev/null 2>&1 && install --switch other app && reused lib app'
./opam switch sw >/dev/null 2>&1

again()
{
	./opam remove lib app probe extra >/dev/null 2>&1
	./opam update >/dev/null 2>&1
	install "$@"
}
t '--build-anew builds' eval 'again --build-anew app && reused && grep -q retrieved out'
t 'reinstall builds' eval './opam reinstall lib >out 2>err && reused'
lib 'another synopsis'
t 'what is said of it changes nothing' eval 'again app && reused lib app'
lib '' other
t 'what builds does, and what stands on it is built too' eval 'again app && reused && grep -qx other r/sw/lib/lib/built.txt && grep -qx other r/sw/share/app/app.txt'
sed -i 's/date +%N/date +%s/' repo/packages/lib/lib.1/opam
t 'but not where it comes out the same' eval 'again app && reused app && grep -q retrieved out'
echo 'more' >>repo/packages/app/app.1/files/app.txt.in
t 'a file beside the opam file counts' eval 'again app && reused lib && grep -qx more r/sw/share/app/app.txt'
t 'an optional dependency counts' eval 'again extra app && reused lib && grep -qx true r/sw/share/app/app.txt'
t 'tests count' eval 'again -t app && reused lib'
t 'the environment counts' eval 'CFLAGS=-O9 again app && reused && grep -qx -e -O9 r/sw/share/app/app.txt'
t 'and nothing of it is forgotten' eval 'again app && reused lib app && ! grep -q -e -O9 r/sw/share/app/app.txt'
t 'what has no checksum is built each time' eval 'install loose && echo two >loose/data && ./opam remove loose >/dev/null 2>&1 && install loose && reused && [ "$(cat r/sw/share/loose/data)" = two ]'
t 'and so is what changes files of another' eval 'install patcher && ./opam remove patcher >/dev/null 2>&1 && install patcher && reused'
rm -f r/sw/lib/lib/built.txt # it was changed, and so stayed
t 'without a place nothing is kept' eval 'rm -rf "$kept" && SLIPWAY_OPAM_KEPT=none again app && [ ! -e "$kept/pkg" ]'

# damage: a byte, a file that is gone, a list that leads out, one that is no list
again app >/dev/null
edited()
{
	echo edited >>r/sw/lib/lib/built.txt && ./opam remove lib >/dev/null 2>&1 && rm -f r/sw/lib/lib/built.txt && again app &&
		reused lib app && ! grep -q edited r/sw/lib/lib/built.txt
}
t 'an edit in the prefix changes nothing that is kept' edited
entry()
{
	for d in "$kept"/pkg/*; do
		[ "$(sed -n 2p "$d/key")" != "package $1" ] || echo "$d"
	done
}
damaged()
{
	for how in 'printf x | dd of=$d/files/lib/lib/built.txt conv=notrunc bs=1 2>/dev/null' 'rm $d/files/bin/lib' 'echo "F 644 1 x" >$d/list' \
		'sed -i "s|lib/lib/built.txt|../../../../out|" $d/list' 'rm -rf $d/files' ': >$d/list' 'rm -r $d/files/lib; ln -s /etc $d/files/lib'; do
		d=$(entry 'lib 1')
		[ -d "$d" ] || { echo "no entry for $how"; ls "$kept/pkg"; return 1; }
		eval "$how"
		again app || return 1
		reused app && grep -q 'retrieved lib' out || { echo "after: $how"; return 1; }
		[ ! -e out-there ] && grep -qx other r/sw/lib/lib/built.txt || return 1
	done
}
t 'what is damaged is built, and fetched for that' damaged
t 'the next time it is whole' eval 'again app && reused lib app'

package odd 1 <<'END'
install: ["sh" "-c" "mkdir -p %{share}%/odd && echo x >\"$(printf '%s' \"%{share}%\")/odd/a$(printf '\\n')b\" && touch \"%{share}%/odd/$(printf 'c\\001d')\""]
END
t 'what has names that no list can hold is built each time' eval './opam update >/dev/null 2>&1; install odd && ls r/sw/share/odd | grep -q c && [ -z "$(entry "odd 1")" ] && ./opam remove odd >/dev/null 2>&1 && install odd && reused && grep -q "Not kept to be used again: .*control byte" out err'

# killed while it builds what another wants
package slow 1 <<'END'
build: ["sleep" "30"]
END
# entries FOLDER…: how many there are
entries()
{
	find "$@" -mindepth 1 -maxdepth 1 | wc -l
}
killed()
{
	./opam update >/dev/null 2>&1
	./opam install slow >/dev/null 2>&1 &
	pid=$!
	i=0
	while [ "$(entries "$kept/busy")" = 0 ] || [ ! -d r/sw/.opam-switch/build/slow.1 ]; do
		i=$((i + 1))
		[ $i -lt 200 ] || return 1
		sleep 0.05
	done
	"$SLIPWAY" opam cache --gc >out 2>err
	[ $? = 1 ] && grep -q 'is in use' err || { cat out err; return 1; }
	kill -9 $pid
	wait $pid 2>/dev/null
	"$SLIPWAY" opam cache --gc --older-than 9d >out 2>err || { cat out err; return 1; }
	[ "$(entries "$kept/busy" "$kept/tmp")" = 0 ] || { ls -A "$kept/busy" "$kept/tmp"; return 1; }
	again app && reused lib app
}
t 'a killed run hinders nobody' killed

counted()
{
	# the sizes of what is kept, without folders and lists
	want=$(find "$kept"/pkg/*/files -type f -printf '%s\n' | awk '{ n += $1 } END { print n }') n=$(entries "$kept/pkg")
	"$SLIPWAY" store size >out && grep -q "^opam packages built before: $n, .* in '$kept'; 'slipway opam cache --gc' frees\$" out || { cat out; return 1; }
	"$SLIPWAY" store size --json >json && grep -q "\"opam_packages\": *$n," json && grep -q "\"opam_package_bytes\": *$want," json || { echo "$n $want"; cat json; return 1; }
}
t 'what is kept has its line in the size of the store' counted
collected()
{
	"$SLIPWAY" opam cache --json >out && python3 -c 'import json,sys; d=json.load(open("out")); assert d["packages"] and all(p["bytes"] >= 0 for p in d["packages"]), d' || return 1
	n=$(entries "$kept/pkg")
	"$SLIPWAY" opam cache --gc --older-than 0s --dry-run >out && [ "$(entries "$kept/pkg")" = "$n" ] || return 1
	"$SLIPWAY" opam cache --gc --older-than 0s >out && [ "$(entries "$kept/pkg")" = 0 ]
}
t 'what is kept is counted, and collected' collected
t 'a folder that cannot be written is told, and hinders nothing' eval '"$SLIPWAY" opam install --root r --switch sw -y --kept /proc/nowhere extra >out 2>err; [ $? != 0 ] && grep -q "/proc/nowhere" err'
done_testing
