#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Processes of a pair's members die at their system calls, while an install command is carried out on both: the command itself, the
# other member with all that it runs, or this one with its agent and the command. The other processes live on, and the
# dead come back. Then both members are at the same one of the two versions, committed or not, whole; nothing is left behind; going on
# works.
#
#	PAIR=full       every point in place of some; takes half an hour of processor time
#	PAIR=full:RE    those tests alone whose name matches
. "${SOURCE_ROOT:-.}/tests/lib/members.sh"
members_private "$0" "$@"
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need tar bzip2

# judge ENDED: as powercut.sh does, on both
judge()
{
	settle_down || return 1
	[ -z "$1" ] || [ "$now" = "$becomes" ] || { echo "it had ended well, and is: $now"; return 1; }
	may_be && both_whole || return 1
	[ $((points % 4)) != 0 ] || go_on || { echo "from $now it does not go on"; return 1; }
}

# sweep VICTIM CASE
sweep()
{
	victim=$1 points=0 bad=0
	case_of "$2" && without_a_cut "$victim" before || return 1
	step=$((calls / 6 + 1)) k=$((calls % 5 + 1))
	[ -z "$full" ] || step=1 k=1
	while [ "$k" -le "$calls" ]; do
		back_to "$from"
		# shellcheck disable=SC2086 # a list of words
		"cut_$victim" "$k" before "$SLIPWAY" $command || return 1
		points=$((points + 1))
		ended=
		[ "$rc" != 0 ] || ended=1
		judge "$ended" >damage 2>&1 || damaged "call $k of $calls, exit status $rc" || return 1
		agents_down
		rm -f agent?.log
		k=$((k + step))
	done
	[ "$bad" = 0 ]
}

one_sweep()
{
	sweep "$@"
	sweep_rc=$?
	agents_down
	echo "$1 $points" >>points
	return $sweep_rc
}

# finds: a command that renames in two steps leaves a member without a version, and that is seen
finds()
{
	case_of activate
	points=0 patience=10
	back_to added
	agents_up || return 1
	member 1 "$killat" -v 0 before env FAULT=torn "$SLIPWAY" install activate issu -n e >said 2>listed
	agents_down
	awk '$3 ~ /^renameat/ && was == "unlinkat" { print $1 } { was = $3 }' listed >renames
	while read -r k; do
		back_to added
		cut_command "$k" before env FAULT=torn "$SLIPWAY" install activate issu -n e </dev/null || return 1
		points=$((points + 1))
		judge '' >damage 2>&1 </dev/null
		found=$?
		agents_down
		[ "$found" = 0 ] || { grep -e 'its link leads to' -e 'web.conf says' damage; return; }
	done <renames
	echo "not found at $points points"
	return 1
}

main()
{
	members_begin
	for victim in command other member; do
		for name in $SIX_COMMANDS; do
			case ${PAIR-} in
			full:*) echo "$name, $victim" | grep -q -e "${PAIR#full:}" || continue ;;
			esac
			t "$name, $victim dies" one_sweep "$victim" "$name"
		done
	done
	case ${PAIR-} in
	full:*) ;;
	*) t 'a rename in two steps is found' finds ;;
	esac
	echo "# points: $(awk '{ n[$1] += $2; all += $2 } END { for (v in n) printf "%s %d, ", v, n[v]; print "all", all + 0 }' points)"
	done_testing
}
main
