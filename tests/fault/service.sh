#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A service is started, handed over and stopped, and each state-changing call fails, or the supervisor vanishes in its place. Each
# time the next supervisor finds what runs: it answers, it can be stopped, and no process and no file is left.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
op=$BUILD_ROOT/tests/fault_service
webd=$BUILD_ROOT/tests/webd
port=$((10000 + $$ % 20000))

# sweep MODE BEFORE OPERATION: BEFORE is '-' or what is done first
sweep()
{
	mode=$1 before=$2 operation=$3
	rm -rf "$T/root" "$T/count"
	[ "$before" = - ] || "$op" "$T/root" "$port" "$webd" "$before" || return 1
	FAULT=count:$T/count "$op" "$T/root" "$port" "$webd" "$operation" || { echo "fails without a fault"; return 1; }
	"$op" "$T/root" "$port" "$webd" settle || return 1
	calls=$(cat "$T/count")
	[ "$calls" -ge 10 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		rm -rf "$T/root"
		[ "$before" = - ] || "$op" "$T/root" "$port" "$webd" "$before" || return 1
		FAULT=$mode:$n "$op" "$T/root" "$port" "$webd" "$operation" >"$T/said" 2>&1
		rc=$?
		case $mode:$rc in
		stop:99 | fail:0 | fail:1) ;;
		# what waits for a process looks as often as the processors have time: of the last calls some may not come
		stop:0)
			[ "$n" -gt $((calls * 2 / 3)) ] || {
				echo "$mode:$n of $calls is not come to"
				"$op" "$T/root" "$port" "$webd" settle
				return 1
			}
			;;
		*) echo "$mode:$n: exit status $rc"; cat "$T/said"; return 1 ;;
		esac
		[ "$rc" != 1 ] || [ -s "$T/said" ] || { echo "$mode:$n: fails without a word"; return 1; }
		if [ "$before" != - ] && [ "$rc" = 99 ]; then
			# what ran before goes on or has been handed over: nobody is refused
			"$op" "$T/root" "$port" "$webd" runs || { echo "$mode:$n: nobody answers"; return 1; }
		fi
		"$op" "$T/root" "$port" "$webd" settle || { echo "$mode:$n: cannot be settled"; cat "$T/said"; return 1; }
		n=$((n + 1))
	done
	echo "# $operation after $before: $calls points, $mode" >&2
}

t 'a start, at each call: vanish' sweep stop - start
t 'a start, at each call: fail' sweep fail - start
t 'a hand-over, at each call: vanish' sweep stop start over
t 'a hand-over, at each call: fail' sweep fail start over
t 'start, hand over, stop, at each call: vanish' sweep stop - cycle
t 'start, hand over, stop, at each call: fail' sweep fail - cycle

done_testing
