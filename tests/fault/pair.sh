#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two hosts become a pair, and each state-changing call fails, or the process vanishes in its place: of init, of join on either member, of
# leave. Each time what is there can be read, and the same command goes on from it to the same end.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
op=$BUILD_ROOT/tests/fault_pair
one=127.0.0.1:$((20000 + $$ % 20000))
two=127.0.0.2:$((20000 + $$ % 20000))

fresh()
{
	rm -rf "$T/1" "$T/2"
	mkdir "$T/1" "$T/2"
}

# meet FAULT1 FAULT2 INVITATION: member 2 joins, member 1 takes one connection; their ends in $rc1, $rc2
meet()
{
	rm -f "$T/ready"
	FAULT=$1 "$op" serve "$T/1" "$T/ready" >"$T/said1" 2>&1 &
	serving=$!
	while [ ! -e "$T/ready" ] && kill -0 "$serving" 2>/dev/null; do sleep 0.01; done
	FAULT=$2 "$op" join "$T/2" "$two" "$3" >"$T/said2" 2>&1
	rc2=$?
	# nobody comes any more
	[ "$rc2" = 0 ] || [ -n "$1" ] || { sleep 0.05; kill "$serving" 2>/dev/null; }
	wait "$serving"
	rc1=$?
}

# points TEXT: told at the end
points()
{
	echo "# $*" >>"$T/points"
}

# ends MODE RC FILE: as it may where it was disturbed
ends()
{
	case $1:$2 in
	stop:99 | *:0) ;;
	fail:1 | fail:5) [ -s "$3" ] || { echo 'fails without a word'; return 1; } ;;
	*) echo "exit status $2"; cat "$3"; return 1 ;;
	esac
}

reads()
{
	"$op" state "$T/$1" >"$T/state" 2>&1 || { cat "$T/state"; return 1; }
}

# goes_on INVITATION: the same command again, and they know each other
goes_on()
{
	meet '' '' "$1"
	[ "$rc2" = 0 ] || { cat "$T/said2"; return 1; }
	"$op" check "$T/1" "$T/2"
}

# counted FILE LEAST: into $calls
counted()
{
	{ calls=$(cat "$1") && [ "$calls" -ge "$2" ]; } || { echo "only $calls calls are counted"; return 1; }
}

sweep_init()
{
	mode=$1 again=$2
	fresh
	[ "$again" = no ] || "$op" init "$T/1" "$one" >/dev/null || return 1
	rm -f "$T/count"
	FAULT=count:$T/count "$op" init "$T/1" "$one" >/dev/null || return 1
	counted "$T/count" 8 || return 1
	n=1
	while [ "$n" -le "$calls" ]; do
		fresh
		[ "$again" = no ] || "$op" init "$T/1" "$one" >/dev/null || return 1
		FAULT=$mode:$n "$op" init "$T/1" "$one" >"$T/said" 2>&1
		{ ends "$mode" $? "$T/said" && reads 1; } || { echo "at $mode:$n"; return 1; }
		invitation=$("$op" init "$T/1" "$one") || { echo "$mode:$n: init does not go on"; return 1; }
		goes_on "$invitation" || { echo "$mode:$n: cannot be joined afterwards"; return 1; }
		n=$((n + 1))
	done
	points "init, again: $again: $calls points, $mode"
}

# sweep_join MODE MEMBER: the calls of that one
sweep_join()
{
	mode=$1 member=$2
	fresh
	invitation=$("$op" init "$T/1" "$one") || return 1
	rm -f "$T/count"
	if [ "$member" = 1 ]; then meet "count:$T/count" '' "$invitation"; else meet '' "count:$T/count" "$invitation"; fi
	[ "$rc1:$rc2" = 0:0 ] || { echo "without a fault: $rc1, $rc2"; cat "$T/said1" "$T/said2"; return 1; }
	counted "$T/count" 5 || return 1
	n=1 uncertain=0
	while [ "$n" -le "$calls" ]; do
		fresh
		invitation=$("$op" init "$T/1" "$one") || return 1
		if [ "$member" = 1 ]; then
			meet "$mode:$n" '' "$invitation"
			ends "$mode" "$rc1" "$T/said1" || { echo "at $mode:$n"; return 1; }
			[ "$rc2" = 0 ] || [ -s "$T/said2" ] || { echo "$mode:$n: member 2 fails without a word"; return 1; }
		else
			meet '' "$mode:$n" "$invitation"
			ends "$mode" "$rc2" "$T/said2" || { echo "at $mode:$n"; return 1; }
		fi
		[ "$rc2" != 5 ] || uncertain=$((uncertain + 1))
		{ reads 1 && reads 2; } || { echo "at $mode:$n"; return 1; }
		# who says that it is done is
		[ "$rc2" != 0 ] || "$op" check "$T/1" "$T/2" || { echo "$mode:$n: says done, and is not"; return 1; }
		# who failed for certain left nothing that member 1 would take for its own
		goes_on "$invitation" || { echo "$mode:$n: the same command does not go on (first: $rc1, $rc2)"; return 1; }
		n=$((n + 1))
	done
	points "join, member $member: $calls points, $mode, of which $uncertain uncertain"
}

# A wrong secret is counted or the connection gets no answer; it never comes in.
sweep_wrong()
{
	mode=$1
	fresh
	{ invitation=$("$op" init "$T/1" "$one") && bad=$("$op" wrong "$invitation"); } || return 1
	rm -f "$T/count"
	meet "count:$T/count" '' "$bad"
	{ [ "$rc2" = 1 ] && counted "$T/count" 4; } || return 1
	n=1
	while [ "$n" -le "$calls" ]; do
		fresh
		{ invitation=$("$op" init "$T/1" "$one") && bad=$("$op" wrong "$invitation"); } || return 1
		meet "$mode:$n" '' "$bad"
		ends "$mode" "$rc1" "$T/said1" || { echo "at $mode:$n"; return 1; }
		[ "$rc2" != 0 ] || { echo "$mode:$n: came in with a wrong secret"; return 1; }
		[ "$("$op" state "$T/1")" = 'alone 1' ] || { echo "$mode:$n: a stranger is the other member"; return 1; }
		goes_on "$invitation" || { echo "$mode:$n: the right secret does not go on"; return 1; }
		n=$((n + 1))
	done
	points "wrong secret: $calls points, $mode"
}

sweep_leave()
{
	mode=$1 member=$2
	fresh
	invitation=$("$op" init "$T/1" "$one") && meet '' '' "$invitation"
	rm -f "$T/count"
	{ FAULT=count:$T/count "$op" leave "$T/$member" && counted "$T/count" 4; } || return 1
	n=1
	while [ "$n" -le "$calls" ]; do
		fresh
		invitation=$("$op" init "$T/1" "$one") && meet '' '' "$invitation"
		FAULT=$mode:$n "$op" leave "$T/$member" >"$T/said" 2>&1
		{ ends "$mode" $? "$T/said" && reads "$member"; } || { echo "at $mode:$n"; return 1; }
		before=$(cat "$T/state")
		case $before in "joined $member" | none) ;; *) echo "$mode:$n: half a member: $before"; return 1 ;; esac
		# either whoever begins anew clears the rest away, or another leave does
		if [ "$before" = none ] && [ $((n % 2)) = 0 ]; then
			"$op" leave "$T/$((3 - member))" || return 1
		else
			{ "$op" leave "$T/1" && "$op" leave "$T/2"; } || return 1
			[ "$(ls "$T/$member/pair")" = lock ] || { echo "$mode:$n: something is left"; ls "$T/$member/pair"; return 1; }
		fi
		invitation=$("$op" init "$T/1" "$one") || return 1
		goes_on "$invitation" || { echo "$mode:$n: no pair afterwards"; return 1; }
		n=$((n + 1))
	done
	points "leave, member $member: $calls points, $mode"
}

for mode in fail stop; do
	t "init, at each call: $mode" sweep_init "$mode" no
	t "another invitation, at each call: $mode" sweep_init "$mode" yes
	t "join, each call of member 2: $mode" sweep_join "$mode" 2
	t "join, each call of member 1: $mode" sweep_join "$mode" 1
	t "a wrong secret, at each call: $mode" sweep_wrong "$mode"
	t "leave, at each call of member 1: $mode" sweep_leave "$mode" 1
	t "leave, at each call of member 2: $mode" sweep_leave "$mode" 2
done
cat "$T/points"
done_testing
