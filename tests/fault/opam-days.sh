# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# What a user of an opam switch does by the day, while calls fail, and while the process stops: a pin to a folder and its end, an upgrade, an update of
# the repository, packages installed though the system lacks what they want. Each time: the switch can be read, what it says is installed is there whole,
# the same command then does its work, and nothing half-made is left.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm # in memory: where it lies does not matter
	export TMPDIR
fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/apt_root.sh"
OPAMROOT=$T/r OPAMYES=1 OPAMROOTISOK=1 LC_ALL=C SLIPWAY_OPAM_KEPT=none
export OPAMROOT OPAMYES OPAMROOTISOK LC_ALL SLIPWAY_OPAM_KEPT
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG OPAMNODEPEXTS OPAMASSUMEDEPEXTS OPAMCONFIRMLEVEL
ln -s "$SLIPWAY" opam
mkdir -p repo/packages src
echo 'opam-version: "2.0"' >repo/repo

# package NAME VERSION LINE...: it puts its version into share/NAME/version
package()
{
	mkdir -p "repo/packages/$1/$1.$2"
	{
		printf 'opam-version: "2.0"\ninstall: ["sh" "-c" "mkdir -p %%{share}%%/%s && echo %s >%%{share}%%/%s/version"]\n' "$1" "$2" "$1"
		shift 2
		printf '%s\n' "$@"
	} >"repo/packages/$1/$1.$2/opam"
}
package x 1 ''
package user 1 'depends: ["x"]'
package wants 1 'depexts: [["sys-a"]]'
cat >src/foo.opam <<'END'
opam-version: "2.0"
version: "3"
install: ["sh" "-c" "mkdir -p %{share}%/foo && cp data %{share}%/foo/version"]
END
echo 3 >src/data

# begin COMMAND...: one that prepares a state
begin()
{
	"$@" >said 2>&1 || { echo "cannot begin: $*"; cat said; exit 1; }
}
begin ./opam init --bare --no-setup -k local default repo
begin ./opam switch create sw --empty
cp -a r kept-empty
begin ./opam pin add -n foo ./src
begin ./opam install --disable-sandboxing foo
cp -a r kept-pinned
rm -rf r && cp -a kept-empty r
begin ./opam install --disable-sandboxing user
package x 2 ''
cp -a r kept-old
begin ./opam update
cp -a r kept-updated

# there NAME: its version as the switch has it and as its file says; both, or "-" for none
there()
{
	v=$(sed -n "s/^$1 //p" listed) f=$(cat "r/sw/share/$1/version" 2>/dev/null)
	echo "${v:--}${f:+ file $f}"
}
can_be_read()
{
	./opam list --installed --columns name,version 2>said2 | sed -n 's/^\([a-z][a-z]*\)  *\([0-9]\).*/\1 \2/p' >listed && ./opam pin list -s >pins 2>>said2 && ./opam option depext-bypass >bypass 2>>said2 || { echo 'the switch cannot be read'; cat said2; return 1; }
	for p in x user wants foo; do
		case $(there $p) in
		- | '1 file 1' | '2 file 2' | '3 file 3') ;;
		# installed, without its record yet; or being removed, with its record still
		'- file '* | [123]) [ "$1" = now ] || { echo "$p: $(there $p)"; return 1; } ;;
		*) echo "$p: $(there $p)"; return 1 ;;
		esac
	done
}

# What holds after a fault (now) and after all of it (after).
is_pinned()
{
	[ "$1" = now ] || { [ "$(cat pins)" = foo ] && ./opam show -f version foo 2>/dev/null | grep -qx 3; }
}
is_unpinned()
{
	[ "$(there foo)" = '3 file 3' ] || return 1
	[ "$1" = now ] || { [ ! -s pins ] && [ ! -e r/sw/.opam-switch/overlay/foo ]; }
}
upgrade()
{
	./opam upgrade -j 1 --disable-sandboxing
}
# what was to be built anew and was removed when the upgrade ended is asked for still
restore()
{
	[ "$check" != is_upgraded ] || ./opam install -j 1 --disable-sandboxing --restore
}
is_upgraded()
{
	[ "$1" = now ] || { [ "$(there x)" = '2 file 2' ] && [ "$(there user)" = '1 file 1' ]; }
}
is_updated()
{
	v=$(./opam show -f all-versions x) && [ "$(there x)" = '1 file 1' ] || return 1
	case $1$v in now1 | *'1  2') ;; *) echo "$1: $v"; return 1 ;; esac
}
is_overridden()
{
	[ "$1" = now ] || [ "$(there wants)" = '1 file 1' ] || return 1
	[ "$(cat bypass)" = '[]' ] || grep -q sys-a bypass || { cat bypass; return 1; }
}
is_set()
{
	[ "$1" = now ] || grep -q sys-b bypass
}

# sweep MODE STATE CHECK COMMAND...
sweep()
{
	mode=$1 state=$2 check=$3
	shift 3
	rm -rf r count
	cp -a "kept-$state" r
	FAULT=count:$T/count "$@" >said 2>&1 && can_be_read after && $check after || { echo 'not done without a fault'; cat said; return 1; }
	calls=$(awk '{ n += $1 } END { print n }' count)
	[ "$calls" -ge 5 ] || { echo "only $calls calls are counted"; return 1; }
	n=$first
	while [ "$n" -le "$calls" ]; do
		rm -rf r
		cp -a "kept-$state" r
		FAULT=$mode:$n "$@" >said 2>&1
		rc=$?
		[ "$rc" -lt 128 ] && can_be_read now && $check now || { echo "$mode:$n of $calls, exit status $rc"; cat said; return 1; }
		"$@" >again 2>&1 && restore >>again 2>&1 || { echo "$mode:$n of $calls: the second try fails"; cat said again; return 1; }
		can_be_read after && $check after || { echo "$mode:$n of $calls: after the second try"; cat said again; return 1; }
		find r -name '*.new' -o -name '.*.tmp' -o -path r/.slipway/pin | grep . && { echo "$mode:$n of $calls: left behind"; return 1; }
		n=$((n + STEP))
	done
}

system=
if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null && command -v dpkg-scanpackages >/dev/null; then
	apt_deb sys-a 1
	(cd debs && dpkg-scanpackages . >Packages 2>/dev/null)
	apt_root "$T/sys" "deb [trusted=yes] file:$T/debs ./"
	apt-get update >apt.log 2>&1 && system=yes || cat apt.log
fi
# In steps: what each command has in common with the others is most of it; another start with each mode.
STEP=${STEP:-3} first=1
for mode in fail stop; do
	t "a pin to a folder, $mode" sweep "$mode" empty is_pinned ./opam pin add -n foo ./src
	t "its end, $mode" sweep "$mode" pinned is_unpinned ./opam pin remove -n foo
	t "an upgrade, $mode" sweep "$mode" updated is_upgraded upgrade
	t "an update, $mode" sweep "$mode" old is_updated ./opam update
	t "an option of the switch, $mode" sweep "$mode" empty is_set ./opam option --switch sw 'depext-bypass+=["sys-b"]'
	if [ -n "$system" ]; then
		t "without what the system lacks, $mode" sweep "$mode" empty is_overridden ./opam install -j 1 --disable-sandboxing --assume-depexts wants
	else
		skip "without what the system lacks, $mode" 'build: no apt'
	fi
	first=$((first + 1))
done
done_testing
