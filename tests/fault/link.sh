#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A lay-out fails, and the process vanishes, at each state-changing call in
# turn. Each time: it says so or has done everything, the store is whole, and
# another lay-out beside it succeeds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
op=$BUILD_ROOT/tests/fault_link

# sweep MODE
sweep()
{
	mode=$1
	rm -rf "$T/root"
	mkdir "$T/root"
	"$op" "$T/root" fill || return 1
	rm -f "$T/count"
	FAULT=count:$T/count "$op" "$T/root" lay first || return 1
	"$op" "$T/root" check first || return 1
	calls=$(cat "$T/count")
	[ "$calls" -ge 30 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		FAULT=$mode:$n "$op" "$T/root" lay "$n" >"$T/said" 2>&1
		rc=$?
		case $mode:$rc in
		stop:99) ;;
		fail:0) "$op" "$T/root" check "$n" || { echo "$mode:$n: says done, and is not"; return 1; } ;;
		fail*:1) [ -s "$T/said" ] || { echo "$mode:$n: fails without a word"; return 1; } ;;
		fail*:0) "$op" "$T/root" check "$n" || { echo "$mode:$n: says done, and is not"; return 1; } ;;
		*) echo "$mode:$n: exit status $rc"; cat "$T/said"; return 1 ;;
		esac
		"$op" "$T/root" store || { echo "$mode:$n: the store is damaged"; return 1; }
		rm -rf "$T/root/env/$n"
		n=$((n + 1))
	done
	"$op" "$T/root" lay last && "$op" "$T/root" check last || return 1
	echo "$calls calls"
}

t 'a disk that is full at any call' sweep fail
t 'a process that vanishes at any call' sweep stop
done_testing
