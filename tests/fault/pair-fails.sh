#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A system call that changes something fails while an install command is carried out on both members of a pair: in the command itself,
# which is the coordinator and member 1, or on member 2, in its agent or the process that it gives to the coordinator. Everything lives on. Then the exit
# status is true, both members come to the same one of the two versions, whole, they agree about who is active, nothing is left behind, and going
# on works.
#
#	ENOSPC, EIO     one call fails
#	full            it and all later ones of that process and its children that need room, until it has ended; the agent is then started again
#
#	PAIR=full       every point in place of some, with one of the three in turn; takes half an hour of processor time
#	PAIR=full:RE    those tests alone whose name matches
#	ERRORS          the order in which they take turns: 'ENOSPC EIO full'; with 'EIO full ENOSPC' and 'full ENOSPC EIO' too, each
#	                point is swept with each
. "${SOURCE_ROOT:-.}/tests/lib/members.sh"
members_private "$0" "$@"
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need tar bzip2

# means: what the exit status says of the state that both are at now
means()
{
	case $rc in
	0) [ "$now" = "$becomes" ] || { echo "says done: $now"; return 1; } ;;
	1) [ "$now" = "$was" ] || { echo "says that nothing changed: $now"; return 1; } ;;
	4) [ "$now" = "$back" ] || { echo "says that it went back: $now"; return 1; } ;;
	5)
		may_be || return 1
		{ has '[Mm]ember 1' said && has '[Mm]ember 2' said && has "'slipway " said; } || return 1
		;;
	*) echo "exit status $rc"; return 1 ;;
	esac
	[ -s said ] || { echo 'ends without a word'; return 1; }
}

# mend: a message that says which command brings both to one version is followed; in full, every other time, else the agents do it by themselves
mend()
{
	[ "$rc" = 5 ] || return 0
	[ -z "$full" ] || [ $((points % 2)) = 0 ] || return 0
	come_back
	mending=$(sed -n "s/.*'slipway \([^']*\)' \(brings both to one version\|does what is left of it\).*/\1/p" said | tail -n 1)
	[ -n "$mending" ] || { echo 'no command is named'; return 1; }
	await linked || return 1
	# shellcheck disable=SC2086 # a list of words
	member 1 tool $mending >said.mend 2>&1 || cat said.mend # an agent may have been faster
	patience=25
}

# judge HOW
judge()
{
	patience=150
	[ "$1:$victim" != full:other ] || agent_down 2 kill
	mend && settle_down && means && both_whole || return 1
	[ "$2:$rc" != remove:0 ] || { member 1 one_generation && member 2 one_generation; } || return 1
	[ $((points % 4)) != 0 ] || go_on || { echo "from $now it does not go on"; return 1; }
}

# sweep VICTIM CASE ERROR...: those in turn
sweep()
{
	victim=$1 name=$2 points=0 bad=0
	shift 2
	case_of "$name" && without_a_cut "$victim" "$1" || return 1
	step=$((calls / 5 + 1)) k=$((calls % 5 + 1))
	[ -z "$full" ] || step=1 k=1
	while [ "$k" -le "$calls" ]; do
		back_to "$from"
		# shellcheck disable=SC2086 # a list of words
		"cut_$victim" "$k" "$1" "$SLIPWAY" $command || return 1
		points=$((points + 1))
		judge "$1" "$name" >damage 2>&1 || damaged "call $k of $calls, $1, exit status $rc" || return 1
		agents_down
		rm -f agent?.log
		set -- "$2" "$3" "$1"
		k=$((k + step))
	done
	[ "$bad" = 0 ]
}

one_sweep()
{
	# shellcheck disable=SC2086 # a list
	sweep "$@" ${ERRORS:-ENOSPC EIO full}
	sweep_rc=$?
	agents_down
	echo "$1 $points" >>points
	return $sweep_rc
}

# soon: an abort on member 2 that did not come to its end is tried again by its agent, and not half a minute later
soon()
{
	case_of abort
	back_to "$from"
	cut_other 0 EIO "$SLIPWAY" install abort issu -n e
	agents_down
	calls=$(cat made)
	k=$((calls / 2)) # from there on until one is that an abort cannot do without
	while [ "$k" -gt 0 ]; do
		back_to "$from"
		cut_other "$k" EIO "$SLIPWAY" install abort issu -n e || return 1
		! grep -q "member 2 .*'needs-manual-abort'" said || break
		agents_down
		k=$((k - 1))
	done
	[ "$k" -gt 0 ] || { echo 'it always comes to its end'; return 1; }
	soon_until=$(($(date +%s) + 10))
	until [ "$(member 2 state)" = '1/1 none' ]; do
		[ "$(date +%s)" -lt "$soon_until" ] || { echo "ten seconds later member 2 is at $(member 2 state)"; cat agent2.log; return 1; }
		sleep 0.2
	done
	agents_down
}

# finds: a command that does not notice that a rename failed is found
finds()
{
	case_of activate
	name=activate victim=command points=0
	back_to added
	agents_up || return 1
	member 1 "$killat" -v 0 EIO env FAULT=deaf "$SLIPWAY" install activate issu -n e >said 2>listed
	agents_down
	awk '$3 ~ /^renameat/ { print $1 }' listed >renames
	while read -r k; do
		back_to added
		cut_command "$k" EIO env FAULT=deaf "$SLIPWAY" install activate issu -n e </dev/null || return 1
		points=$((points + 1))
		judge EIO activate >damage 2>&1 </dev/null
		found=$?
		[ "$found" = 0 ] || has 'litter\|says done\|its link leads to\|web.conf says\|generations with a row' damage || return 1
		agents_down
		[ "$found" = 0 ] || return 0
	done <renames
	echo "not found at $points points"
	return 1
}

main()
{
	members_begin
	cases=$SIX_COMMANDS
	[ -z "$full" ] || cases="$cases one-shot abort-added remove-added"
	for victim in command other; do
		for name in $cases; do
			case ${PAIR-} in
			full:*) echo "$name, $victim" | grep -q -e "${PAIR#full:}" || continue ;;
			esac
			t "$name, calls fail: $victim" one_sweep "$victim" "$name"
		done
	done
	case ${PAIR-} in
	full:*) ;;
	*)
		t 'an abort that failed on the other member is tried again soon' soon
		t 'a command that does not look whether it could rename is found' finds
		;;
	esac
	echo "# points: $(awk '{ n[$1] += $2; all += $2 } END { for (v in n) printf "%s %d, ", v, n[v]; print "all", all + 0 }' points)"
	done_testing
}
main
