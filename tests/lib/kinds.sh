# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2086,SC2154 # lists of files, which the scripts set
# Sweeps over a channel of one kind, for tests/fault. $kind is its name, $one and $two are lists of files that are published, one package each,
# $path is the second's in the folder.
#
#	sweep_kind          publishing the first, a second, and dropping it: stopped and failed at each call
op=$BUILD_ROOT/tests/fault_kind

said() # CODE MODE: what a stopped or failed program may say
{
	case $2 in
	stop) [ "$1" = 99 ] ;;
	*) [ "$1" = 0 ] || [ "$1" = 1 ] ;;
	esac || { echo "exit status $1"; cat "$T/said"; return 1; }
}

none() { rm -rf "$T/c"; }
first() { none && "$op" "$kind" publish "$T/c" $one; }
both() { first && "$op" "$kind" publish "$T/c" $two; }

after_none()
{
	[ ! -e "$T/c" ] || "$op" "$kind" check "$T/c" 0 1 >"$T/check" || grep -q "is not there\|is told of.*No such" "$T/check" ||
		{ echo "damaged:"; cat "$T/check"; return 1; }
	"$op" "$kind" publish "$T/c" $one && "$op" "$kind" check "$T/c" 1 && "$op" "$kind" clean "$T/c"
}
after_first()
{
	"$op" "$kind" check "$T/c" 1 2 || { echo "damaged"; return 1; }
	"$op" "$kind" publish "$T/c" $two && "$op" "$kind" check "$T/c" 2 && "$op" "$kind" clean "$T/c"
}
after_drop()
{
	"$op" "$kind" check "$T/c" 1 2 || { echo "damaged"; return 1; }
	"$op" "$kind" publish "$T/c" $two && "$op" "$kind" check "$T/c" 2 && "$op" "$kind" clean "$T/c"
}

# sweep_one MODE BEFORE AFTER OPERATION...
sweep_one()
{
	mode=$1 before=$2 after=$3
	shift 3
	$before || return 1
	rm -f "$T/count"
	FAULT=count:$T/count "$op" "$kind" "$@" || { echo "fails without a fault"; return 1; }
	calls=$(cat "$T/count")
	[ "$calls" -ge 6 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		$before || return 1
		FAULT=$mode:$n "$op" "$kind" "$@" >"$T/said" 2>&1
		{ said $? "$mode" && $after; } || { echo "$mode:$n"; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

sweep_kind()
{
	for mode in fail stop; do
		t "the first publication, $mode" sweep_one "$mode" none after_none publish "$T/c" $one
		t "a publication, $mode" sweep_one "$mode" first after_first publish "$T/c" $two
		t "dropping a package, $mode" sweep_one "$mode" both after_drop drop "$T/c" "$path"
	done
}
