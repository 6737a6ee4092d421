#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A refresh and a publication fail, and the process vanishes, at each of their
# state-changing calls in turn. Each time: what was held can still be read,
# what is published is whole, and the same operation then succeeds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
op=$BUILD_ROOT/tests/fault_channel

# said RC MODE: the exit status is one that this fault may give, with a word
said()
{
	case $2:$1 in
	stop:99 | fail:0) ;;
	fail:1) [ -s "$T/said" ] || { echo "fails without a word"; return 1; } ;;
	*) echo "exit status $1"; cat "$T/said"; return 1 ;;
	esac
}

fresh()
{
	rm -rf "$T/root"
	mkdir "$T/root"
}

old_index()
{
	fresh && "$op" "$T/root" upstream 2 && "$op" "$T/root" refresh 2 && "$op" "$T/root" upstream 3
}

# after_refresh: the old or the new is held, by each of both channels, and the next refresh gives the new
after_refresh()
{
	"$op" "$T/root" held 0 || { echo "what was held is lost"; return 1; }
	"$op" "$T/root" refresh 3 && "$op" "$T/root" held 3 && "$op" "$T/root" clean
}

first_index()
{
	fresh && "$op" "$T/root" upstream 3
}

after_first()
{
	"$op" "$T/root" refresh 3 && "$op" "$T/root" held 3 && "$op" "$T/root" clean
}

one_published()
{
	fresh && "$op" "$T/root" packages && "$op" "$T/root" publish 1
}

after_publish()
{
	"$op" "$T/root" published 1 2 >/dev/null || "$op" "$T/root" published 1 || { echo "the channel is damaged"; return 1; }
	"$op" "$T/root" publish 2 && "$op" "$T/root" published 1 2 && "$op" "$T/root" clean
}

none_published()
{
	fresh && "$op" "$T/root" packages
}

after_first_publish()
{
	"$op" "$T/root" published 1 >/dev/null || "$op" "$T/root" published || { echo "the channel is damaged"; return 1; }
	"$op" "$T/root" publish 1 && "$op" "$T/root" published 1 && "$op" "$T/root" clean
}

# sweep MODE BEFORE AFTER OPERATION...
sweep()
{
	mode=$1 before=$2 after=$3
	shift 3
	$before || return 1
	rm -f "$T/count"
	FAULT=count:$T/count "$op" "$T/root" "$@" || { echo "fails without a fault"; return 1; }
	calls=$(cat "$T/count")
	[ "$calls" -ge 8 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		$before || return 1
		FAULT=$mode:$n "$op" "$T/root" "$@" >"$T/said" 2>&1
		{ said $? "$mode" && $after; } || { echo "$mode:$n"; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

for mode in fail stop; do
	t "the first refresh, $mode" sweep "$mode" first_index after_first refresh
	t "a refresh, $mode" sweep "$mode" old_index after_refresh refresh
	t "the first publication, $mode" sweep "$mode" none_published after_first_publish publish 1
	t "a publication, $mode" sweep "$mode" one_published after_publish publish 2
done
done_testing
