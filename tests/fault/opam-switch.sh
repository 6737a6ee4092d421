# SPDX-License-Identifier: Apache-2.0
# An opam root and its switch: whatever call fails, and wherever the process stops, the old state or the new one is there, what is installed is
# there whole, the same command then does its work, and nothing half-made is left.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm # in memory: where it lies does not matter
	export TMPDIR
fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
op=${BUILD_ROOT:-$SOURCE_ROOT/build-fault}/tests/fault_opam_switch
mkdir -p bin repo/packages/tool/tool.1 repo/packages/tool/tool.2 build/d
ln -s "$SLIPWAY" bin/opam
echo 'opam-version: "2.0"' | tee repo/repo repo/packages/tool/tool.1/opam >repo/packages/tool/tool.2/opam
cp -R repo other
mkdir other/packages/tool/tool.3
cp repo/repo other/packages/tool/tool.3/opam
echo data >build/d/data
echo tool >build/tool
echo 'bin: "tool" share: ["d/data" {"deep/data"} "?no"]' >build/tool.install
printf 'opam-version: "2.0"\nvariables { v: "w" }\n' >build/tool.config
OPAMROOTISOK=1 OPAMROOT=$T/root
export OPAMROOTISOK OPAMROOT
unset OPAMSWITCH OPAM_SWITCH_PREFIX
bin/opam init -n -y --bare default "$T/repo" >log 2>&1 || cat log
cp -a root kept-bare
bin/opam switch create s --empty >log 2>&1 || cat log
cp -a root kept-empty
"$op" root install 1 build || exit 1
cp -a root kept-one
bin/opam pin add -k version -yn tool 1 >log 2>&1
cp -a root kept-pinned
mkdir src1 src2
printf 'opam-version: "2.0"\nversion: "5"\n' >src1/tool.opam
printf 'opam-version: "2.0"\nversion: "6"\n' >src2/tool.opam
bin/opam pin add -yn tool ./src1 >log 2>&1
cp -a root kept-source

# Nothing of a killed process, but what the next one of its kind takes away first.
tidy()
{
	find root -name '*.new' -o -name '.*.tmp' | grep . && return 1
	return 0
}

# sweep MODE STATE CHECK COMMAND...
sweep()
{
	mode=$1 state=$2 check=$3
	shift 3
	rm -rf root count
	cp -a "kept-$state" root
	FAULT=count:$T/count "$@" >said 2>&1 || { echo 'fails without a fault'; cat said; return 1; }
	$check after || { echo 'not done without a fault'; return 1; }
	calls=$(tail -n 1 count)
	[ "$calls" -ge 3 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		rm -rf root
		cp -a "kept-$state" root
		FAULT=$mode:$n "$@" >said 2>&1
		rc=$?
		[ "$rc" -lt 128 ] || { echo "$mode:$n: exit status $rc"; cat said; return 1; }
		$check now || { echo "$mode:$n: after the fault"; cat said; return 1; }
		"$@" >said 2>&1 || [ "$check" = is_created ] || { echo "$mode:$n: the second try fails"; cat said; return 1; }
		$check after || { echo "$mode:$n: after the second try"; cat said; return 1; }
		tidy || { echo "$mode:$n: left behind"; return 1; }
		n=$((n + 1))
	done
}

# What holds after a fault (now) and after all of it (after).
is_installed()
{
	v=$("$op" root check) || { echo "$v"; return 1; }
	case $1$v in
	nownone | now1) ;;
	now2 | after2)
		[ "$(cat root/s/bin/tool root/s/share/tool/deep/data)" = "tool
data" ] || return 1
		grep -q bin/tool root/s/.opam-switch/install/tool.changes && grep -q 'v: "w"' root/s/.opam-switch/config/tool.config || return 1
		;;
	*) echo "$1: $v"; return 1 ;;
	esac
	[ "$1" = now ] || grep -q '^T	=	2	' root/s/.opam-switch/environment
}

is_removed()
{
	v=$("$op" root check) || { echo "$v"; return 1; }
	[ "$1" = now ] && return 0
	[ "$v" = none ] && [ ! -e root/s/bin/tool ] && [ ! -e root/s/share/tool ] && [ ! -e root/s/.opam-switch/packages/tool.1 ] &&
		[ ! -e root/s/.opam-switch/install/tool.changes ] && ! grep -q '^T' root/s/.opam-switch/environment
}

is_pinned()
{
	p=$(bin/opam pin list -s) || return 1
	[ "$1$p" = now ] || [ "$p" = tool ]
}

# by sources: a pin always has its definition; what was half done is settled by the next command that holds the switch
pinned_to()
{
	if grep -q '^pinned:.*tool\.[56]' root/s/.opam-switch/switch-state && [ ! -e root/s/.opam-switch/overlay/tool/opam ]; then
		echo 'pinned without a definition'
		return 1
	fi
	[ "$1" = after ] || bin/opam pin remove none >/dev/null 2>&1 || return 1
	bin/opam pin list >said || return 1
	shown=$(bin/opam show -f version tool) || return 1
	case $(cat said) in
	'') now='' ;;
	tool.5*file://"$T"/src1*) now=5 ;;
	tool.6*file://"$T"/src2*) now=6 ;;
	tool.1*version*) now=1 ;;
	*) cat said; return 1 ;;
	esac
	[ -n "$now" ] || [ ! -e root/s/.opam-switch/overlay/tool ] || { echo 'a definition without its pin'; return 1; }
	[ "$shown" = "${now:-2}" ] || { echo "pinned to '$now', shown is $shown"; return 1; }
	[ "$1" = now ] || [ "$now" = "$2" ] || { cat said; return 1; }
}
is_at_source1()
{
	pinned_to "$1" 5
}
is_at_source2()
{
	pinned_to "$1" 6
}
is_at_version()
{
	pinned_to "$1" 1
}

is_unpinned()
{
	p=$(bin/opam pin list -s) || return 1
	[ "$1" = now ] || [ -z "$p" ]
}

is_set()
{
	j=$(bin/opam option jobs) || return 1
	[ "$1$j" = now ] || [ "$j" = 5 ]
}

is_created()
{
	l=$(bin/opam switch list -s) || return 1
	[ "$1$l" = now ] || { [ "$l" = n ] && [ "$(bin/opam var prefix --switch n)" = "$T/root/n" ]; }
}

is_moved()
{
	v=$(bin/opam show -f all-versions tool) || return 1
	u=$(bin/opam repository --all | tail -n 1)
	case $1 in
	now) [ "$v" = '1  2' ] || [ "$v" = '1  2  3' ] ;;
	*) [ "$v" = '1  2  3' ] && [ "${u#*/other}" != "$u" ] ;;
	esac
}

is_begun()
{
	if [ "$1" = now ]; then
		bin/opam switch list -s >out 2>&1
		rc=$?
		[ "$rc" = 0 ] || [ "$rc" = 50 ] || { cat out; return 1; }
	else
		[ "$(bin/opam show -f version tool)" = 2 ]
	fi
}

mkdir kept-none
for mode in fail stop; do
	t "a package is installed, $mode" sweep "$mode" empty is_installed "$op" root install 2 build
	t "in place of another version, $mode" sweep "$mode" one is_installed "$op" root install 2 build
	t "a package is removed, $mode" sweep "$mode" one is_removed "$op" root remove
	t "a package is pinned, $mode" sweep "$mode" one is_pinned bin/opam pin add -k version -yn tool 1
	t "and unpinned, $mode" sweep "$mode" pinned is_unpinned bin/opam pin remove tool
	t "a package is pinned to sources, $mode" sweep "$mode" empty is_at_source1 bin/opam pin add -yn tool ./src1
	t "to others, $mode" sweep "$mode" source is_at_source2 bin/opam pin add -yn tool ./src2
	t "from a version to sources, $mode" sweep "$mode" pinned is_at_source1 bin/opam pin add -yn tool ./src1
	t "from sources to a version, $mode" sweep "$mode" source is_at_version bin/opam pin add -k version -yn tool 1
	t "and from sources to none, $mode" sweep "$mode" source is_unpinned bin/opam pin remove tool
	t "an option is set, $mode" sweep "$mode" empty is_set bin/opam option jobs=5
	t "a switch is made, $mode" sweep "$mode" bare is_created bin/opam switch create n --empty
	t "a repository has another address, $mode" sweep "$mode" one is_moved bin/opam repository set-url --strict default other
	t "a root is begun, $mode" sweep "$mode" none is_begun bin/opam init -n -y --bare default "$T/repo"
done
done_testing
