#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Processes of a pair's members die at their system calls, while an install command is carried out on both: the command itself, the
# other member with all that it runs, or this one with its agent and the command. The other processes live on, and the
# dead come back. Then both members are at the same one of the two versions, committed or not, whole; nothing is left behind; going on
# works.
#
# Both members are on this host, each with the same paths, in mounts of its own.
#
#	PAIR=full       every point in place of some; takes a quarter of an hour of processor time
#	PAIR=full:RE    those tests alone whose name matches
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm
	export TMPDIR
fi

# member N FUNCTION ARGUMENT...: the function, on that member
member()
{
	member_n=$1
	shift
	unshare -m sh "$SOURCE_ROOT/tests/fault/pair-deaths.sh" --member "$member_n" "$@"
}

# tool ARGUMENT...: the program; as the last thing of a member's process
tool()
{
	exec "$SLIPWAY" "$@"
}

# state: as `at` says it, and settled
state()
{
	mkdir -p "$T/at$member_n" && cd "$T/at$member_n" && at
}

# whole STATE: the files of the host go with it
whole()
{
	mkdir -p "$T/at$member_n" && cd "$T/at$member_n" && at >/dev/null && clean "$1" && host_is "$1"
}

first_state()
{
	mkdir -p "$M/root" && printf 'autostart: ignore\nreserve: 1 MiB\n' >"$M/root/config.yml" && host_empty && host_one
}

write_db()
{
	echo new >"$M/host/data/db"
}

# with_agent COMMAND...: the agent and the command of member 1 in one tree
with_agent()
{
	"$SLIPWAY" agent >>"$T/agent1.log" 2>&1 &
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		"$SLIPWAY" status >/dev/null 2>&1 && break
		sleep 0.1
	done
	kill -USR1 "$PPID"
	"$@"
}

case ${1-} in
--member)
	member_n=$2
	shift 2
	mount --bind "$T/m$member_n" "$M" || exit 1
	. "$SOURCE_ROOT/tests/lib/package.sh"
	. "$SOURCE_ROOT/tests/lib/upgrades.sh"
	"$@"
	exit
	;;
--private) SOURCE_ROOT=$2 ;;
*)
	if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
		exec unshare -m sh "$0" --private "${SOURCE_ROOT:-$(pwd)}"
	fi
	;;
esac
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need tar bzip2
BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build-fault}
killat=$BUILD_ROOT/tests/killat
M=$T/m
SLIPWAY_ROOT=$M/root
kind=component from=''
port=$((20000 + $$ % 20000))
export SLIPWAY_ROOT M kind from SOURCE_ROOT
agent1='' agent2='' patience=150
trap 'kill -9 $agent1 $agent2 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
case ${PAIR-} in
full | full:*) full=1 ;;
*) full='' ;;
esac

# -- agents ---------------------------------------------------------------------------------------------------------

# await COMMAND...: until it succeeds, at most 30 seconds
await()
{
	await_n=0
	until "$@" >said.await 2>&1; do
		await_n=$((await_n + 1))
		[ "$await_n" -lt 300 ] || { echo "waited in vain for: $*"; cat said.await; return 1; }
		sleep 0.1
	done
}

# agent_up N [WORD...]: with words before it
agent_up()
{
	up_n=$1
	shift
	unshare -m "$@" sh "$SOURCE_ROOT/tests/fault/pair-deaths.sh" --member "$up_n" tool agent >>"agent$up_n.log" 2>&1 &
	eval "agent$up_n=$!"
}

linked()
{
	member 1 tool pair show --json >said.pair 2>&1 && grep -q '"up": true' said.pair
}

agents_up()
{
	agent_up 1 && agent_up 2 && await linked
}

agents_down()
{
	for n in 1 2; do
		eval "down=\$agent$n"
		[ -n "$down" ] || continue
		member "$n" tool agent stop >/dev/null 2>&1 || kill -9 "$down" 2>/dev/null
		wait "$down" 2>/dev/null
		eval "agent$n="
	done
	return 0
}

# -- states ---------------------------------------------------------------------------------------------------------

keep()
{
	rm -rf "kept-$1"
	mkdir "kept-$1"
	cp -a m1 m2 "kept-$1/"
}

back_to()
{
	chmod -R u+w m1 m2
	rm -rf m1 m2
	cp -a "kept-$1/." .
}

make_pair()
{
	mkdir -p m m1 m2 && member 1 first_state && cp -a m1/. m2/ || return 1
	agent_up 1
	await member 1 tool status
	member 1 tool pair init --name one --listen "127.0.0.1:$port" --json >init.json || return 1
	invitation=$(sed -n 's/^ *"invitation": "\(.*\)",*$/\1/p' init.json)
	agent_up 2
	await member 2 tool status
	member 2 tool pair join "$invitation" --name two --listen "127.0.0.1:$((port + 1))" && await linked
}

make_states()
{
	make_pair && agents_down || return 1
	keep one
	agents_up && member 1 tool -q install add web=2 -n e && agents_down || return 1
	keep added
	agents_up && member 1 tool -q install activate issu -n e && member 1 write_db && member 2 write_db && agents_down || return 1
	keep activated
}

# is_dead PID: ended, whether or not somebody has asked how
is_dead()
{
	[ -z "$1" ] || [ ! -e "/proc/$1/exe" ] || [ -z "$(readlink "/proc/$1/exe")" ]
}

# come_back: who died lives again
come_back()
{
	for n in 1 2; do
		eval "back_pid=\$agent$n"
		is_dead "$back_pid" || continue
		[ -z "$back_pid" ] || wait "$back_pid" 2>/dev/null
		agent_up "$n"
	done
}

# -- cuts -----------------------------------------------------------------------------------------------------------

# settle_down: until both members say the same, and nobody is in the middle of something. Sets $now
settle_down()
{
	settle_n=0
	while :; do
		come_back
		now=$(member 1 state) other=$(member 2 state)
		case $now in
		*' none' | *' added' | *' activated') [ "$now" != "$other" ] || return 0 ;;
		esac
		settle_n=$((settle_n + 1))
		[ "$settle_n" -lt "$patience" ] || { echo "after all this time member 1 is at '$now', member 2 at '$other'"; tail -n 20 agent?.log; return 1; }
		sleep 0.2
	done
}

# go_on: to version 2, committed on both; with agents that do not die
go_on()
{
	agents_down
	agents_up || return 1
	case $now in
	*' none') member 1 tool -q install add web=2 -n e activate issu commit ;;
	*' added') member 1 tool -q install activate issu -n e && member 1 tool -q install commit -n e ;;
	*' activated') member 1 tool -q install commit -n e ;;
	esac >said.on 2>&1 || { cat said.on; return 1; }
	settle_down && [ "$now" = '2/2 none' ]
}

# judge ENDED: as powercut.sh does, on both
judge()
{
	settle_down || return 1
	[ -z "$1" ] || [ "$now" = "$becomes" ] || { echo "it had ended well, and is: $now"; return 1; }
	[ "$now" = "$was" ] || [ "$now" = "$becomes" ] || [ "$now" = "$back" ] || { echo "settled: $now"; return 1; }
	for n in 1 2; do
		member "$n" whole "$now" || { echo "member $n, settled at $now"; return 1; }
	done
	[ $((points % 4)) != 0 ] || go_on || { echo "from $now it does not go on"; return 1; }
}

# Each leaves the exit status of the command in $rc, and the agents that are alive in $agent1 and $agent2.
cut_command()
{
	agents_up || return 1
	member 1 "$killat" -c made "$@" >said 2>&1
	rc=$?
}

cut_other()
{
	rm -f made
	agent_up 1
	agent_up 2 "$killat" -w -c made "$1" "$2"
	shift 2
	await linked || return 1
	kill -USR1 "$agent2"
	member 1 "$@" >said 2>&1
	rc=$?
}

cut_member()
{
	cut_n=$1 cut_side=$2
	shift 2
	agent_up 2
	await member 2 tool status || return 1
	unshare -m "$killat" -w -c made "$cut_n" "$cut_side" sh "$SOURCE_ROOT/tests/fault/pair-deaths.sh" --member 1 with_agent "$@" >said 2>&1
	rc=$?
	agent1=''
}

# sweep VICTIM CASE
sweep()
{
	victim=$1
	case $2 in
	add) from=one was='1/1 none' becomes='1/1 added' command='install add web=2 -n e' ;;
	activate) from=added was='1/1 added' becomes='2/1 activated' command='install activate issu -n e' ;;
	commit) from=activated was='2/1 activated' becomes='2/2 none' command='install commit -n e' ;;
	abort) from=activated was='2/1 activated' becomes='1/1 none' command='install abort issu -n e' ;;
	esac
	back='1/1 none' points=0
	back_to "$from"
	# shellcheck disable=SC2086 # a list of words
	"cut_$victim" 0 before "$SLIPWAY" $command || return 1
	[ "$rc" = 0 ] || { echo "without a cut, exit status $rc:"; cat said; return 1; }
	settle_down || return 1
	agents_down
	calls=$(cat made)
	[ "$calls" -ge 5 ] || { echo "only $calls calls are counted"; return 1; }
	[ "$now" = "$becomes" ] || { echo "without a cut: $now"; return 1; }
	step=$((calls / 6 + 1)) k=$((calls % 5 + 1))
	[ -z "$full" ] || step=1 k=1
	while [ "$k" -le "$calls" ]; do
		back_to "$from"
		# shellcheck disable=SC2086 # a list of words
		"cut_$victim" "$k" before "$SLIPWAY" $command || return 1
		points=$((points + 1))
		ended=
		[ "$rc" != 0 ] || ended=1
		judge "$ended" >damage 2>&1 || { echo "damage, call $k of $calls, exit status $rc:"; cat damage said; tail -n 15 agent?.log; return 1; }
		agents_down
		rm -f agent?.log
		k=$((k + step))
	done
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
	from=added was='1/1 added' becomes='2/1 activated' back='1/1 none' points=0 patience=10
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
	"$killat" 1 before mkdir x
	[ $? = 137 ] || skip_all 'kernel does not let us trace'
	if [ "$(id -u)" != 0 ] || ! unshare -m true 2>/dev/null; then
		skip_all 'kernel does not let us mount'
	fi
	t 'two members' make_states
	[ "$test_failed" = 0 ] || { cat agent?.log | diag; done_testing; }
	: >points
	for victim in command other member; do
		for name in add activate commit abort; do
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
	echo "# points: $(awk '{ n[$1] += $2; all += $2 } END { for (v in n) printf "%s %d, ", v, n[v]; print "all", all }' points)"
	done_testing
}
main
