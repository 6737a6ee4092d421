#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each operation of the store fails, and the process vanishes, at each of its
# state-changing calls in turn. Each time: what was there before is whole,
# nothing that is there is damaged, and the same operation then succeeds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
op=$BUILD_ROOT/tests/fault_store

# before: a fresh root with package 1
before()
{
	chmod -R u+w "$T/root" 2>/dev/null
	rm -rf "$T/root"
	mkdir "$T/root"
	case $scenario in empty) ;; *) "$op" "$T/root" fetch 1 ;; esac
	case $scenario in
	full) "$op" "$T/root" fetch 2 ;;
	damaged) "$op" "$T/root" fetch 2 && "$op" "$T/root" damage 2 ;;
	esac
}

# power_cut: what is recorded as not synced looks as if it came from an earlier boot
power_cut()
{
	for r in "$T"/root/store/unsynced/*; do
		[ ! -e "$r" ] || mv "$r" "$T/root/store/unsynced/00000000-0000-0000-0000-000000000000.${r#*unsynced/*.}"
	done
}

# after WANT...: the packages named are whole, and so is everything else (but for damage of our own)
after()
{
	[ "$scenario" = damaged ] || "$op" "$T/root" check "$@"
}

# sweep MODE SCENARIO KEPT WANTED OPERATION...: KEPT is there after a fault, WANTED after the second try
sweep()
{
	mode=$1 scenario=$2 kept=$3 wanted=$4
	shift 4
	before || return 1
	rm -f "$T/count"
	FAULT=count:$T/count "$op" "$T/root" "$@" || { echo "fails without a fault"; return 1; }
	calls=$(cat "$T/count")
	[ "$calls" -ge 3 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		before || return 1
		FAULT=$mode:$n "$op" "$T/root" "$@" >"$T/said" 2>&1
		rc=$?
		case $mode:$rc in
		stop:99) ;;
		fail:0 | fail:1) ;;
		*) echo "$mode:$n: exit status $rc"; cat "$T/said"; return 1 ;;
		esac
		[ "$rc" != 1 ] || [ -s "$T/said" ] || { echo "$mode:$n: fails without a word"; return 1; }
		# a call whose failure does no harm may be passed over, but then the work is done
		# shellcheck disable=SC2086 # lists
		[ "$rc" != 0 ] || "$op" "$T/root" check $wanted || { echo "$mode:$n: says done, and is not"; return 1; }
		[ "$mode" = fail ] || power_cut
		# shellcheck disable=SC2086 # lists
		after $kept || { echo "$mode:$n: the old state is lost"; return 1; }
		"$op" "$T/root" "$@" || { echo "$mode:$n: does not work afterwards"; return 1; }
		# shellcheck disable=SC2086 # lists
		"$op" "$T/root" check $wanted || { echo "$mode:$n: does not do it afterwards"; return 1; }
		{ "$op" "$T/root" gc 1 2 && "$op" "$T/root" clean; } || { echo "$mode:$n: leaves something behind"; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

for mode in fail stop; do
	t "the first package, $mode" sweep "$mode" empty '' 2 fetch 2
	t "a second package, $mode" sweep "$mode" one 1 '1 2' fetch 2
	t "a local package, $mode" sweep "$mode" one 1 '1 2' add 2
	t "gc, $mode" sweep "$mode" full 1 1 gc 1
	t "repair, $mode" sweep "$mode" damaged 1 1 repair
done
done_testing
