# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Two members of a pair on this host, each with the same paths, in mounts of its own; and what may be seen of both, whatever was done to them.
# For sweeps (tests/fault/pair-deaths.sh, tests/fault/pair-fails.sh). No network is needed but their link over this host's loopback.
#
#	members_private "$0" "$@"    first of all: the caller again, with mounts of its own, where the kernel allows that; in memory, where there
#	                             is a place; sets $full where PAIR asks for every point
#	members_begin                behind tests/lib/test.sh; 77: not on this machine
#	make_states                  both at each of the states that case_of begins with
#	member N FUNCTION...         a function of this file on that member, in a process of its own; `tool WORDS` is the program
#	back_to STATE                both as they were there
#	agents_up, agents_down, come_back
#	case_of NAME                 sets $from, $was, $becomes, $back and $command
#	settle_down                  until both say the same and nobody is in the middle of something: sets $now
#	both_whole                   each of them is, at $now; they agree about who is active, and nothing is left over
#	go_on                        from $now to version 2, committed on both, and clears away what is inactive
#
# This file is also the script that `member` runs.
SIX_COMMANDS='add activate commit abort rollback remove'

# -- on one member, in its mounts -----------------------------------------------------------------------------------

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

# whole STATE: the files of the host go with it. What is left of a generation that was removed goes with the least that changes something
whole()
{
	"$SLIPWAY" install label committed x -n e >"$T/said.label" 2>&1
	mkdir -p "$T/at$member_n" && cd "$T/at$member_n" && at >/dev/null && clean "$1" && host_is "$1"
}

# spotless: nothing that was begun and is nobody's
spotless()
{
	for spot in "$M"/root/store/tmp/* "$M"/root/store/unsynced/* "$M"/root/index/*/*.tmp "$M"/root/pair/*.new "$M"/root/pair/*.tmp; do
		[ ! -e "$spot" ] || { echo "left for ever: $spot"; return 1; }
	done
}

# one_generation: at rest there is no other
one_generation()
{
	set -- "$M"/root/env/e/[0-9]*
	[ $# = 1 ] || { echo "inactive generations are left: $*"; return 1; }
}

active()
{
	"$SLIPWAY" show redundancy --json | grep '"active"' | head -n 1
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
esac

# member N FUNCTION ARGUMENT...
member()
{
	member_n=$1
	shift
	unshare -m sh "$SOURCE_ROOT/tests/lib/members.sh" --member "$member_n" "$@"
}

members_private()
{
	if [ -d /dev/shm ] && [ -w /dev/shm ]; then
		TMPDIR=/dev/shm
		export TMPDIR
	fi
	case ${PAIR-} in
	full | full:*) full=1 ;;
	*) full='' ;;
	esac
	members_script=$1
	case ${2-} in
	--private) SOURCE_ROOT=$3 ;;
	*)
		if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
			exec unshare -m sh "$members_script" --private "${SOURCE_ROOT:-$(pwd)}"
		fi
		;;
	esac
}

members_begin()
{
	BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build-fault}
	killat=$BUILD_ROOT/tests/killat
	M=$T/m
	SLIPWAY_ROOT=$M/root
	kind=component from=''
	port=$((20000 + $$ % 6000 * 2)) # below those that connections are made from
	export SLIPWAY_ROOT M kind from SOURCE_ROOT
	agent1='' agent2='' patience=150
	trap 'kill -9 $agent1 $agent2 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
	"$killat" 1 before mkdir x
	[ $? = 137 ] || skip_all 'kernel does not let us trace'
	if [ "$(id -u)" != 0 ] || ! unshare -m true 2>/dev/null; then
		skip_all 'kernel does not let us mount'
	fi
	t 'two members' make_states
	[ "$test_failed" = 0 ] || { cat agent?.log | diag; done_testing; }
	: >points
}

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
	unshare -m "$@" sh "$SOURCE_ROOT/tests/lib/members.sh" --member "$up_n" tool agent >>"agent$up_n.log" 2>&1 &
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

# agent_down N [KILL]: KILL: without asking it
agent_down()
{
	eval "down=\$agent$1"
	[ -n "$down" ] || return 0
	if [ -n "${2-}" ] || ! member "$1" tool agent stop >/dev/null 2>&1; then
		kill -9 "$down" 2>/dev/null
	fi
	wait "$down" 2>/dev/null
	eval "agent$1="
}

agents_down()
{
	agent_down 1
	agent_down 2
	return 0
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
	agents_up && member 1 tool -q install commit -n e && agents_down || return 1
	keep two
}

# was: before it; becomes: after it; back: where it failed; between: where somebody died before it committed, and the timer runs
case_of()
{
	back='1/1 none' between=''
	case $1 in
	add) from=one was='1/1 none' becomes='1/1 added' command='install add web=2 -n e' ;;
	activate) from=added was='1/1 added' becomes='2/1 activated' command='install activate issu -n e' ;;
	commit) from=activated was='2/1 activated' becomes='2/2 none' command='install commit -n e' ;;
	abort) from=activated was='2/1 activated' becomes='1/1 none' command='install abort issu -n e' ;;
	rollback) from=two was='2/2 none' becomes='1/1 none' back=$was between='1/2 activated' command='install rollback to 1 -n e' ;;
	remove) from=two was='2/2 none' becomes='2/2 none' back=$was command='install remove inactive -n e' ;;
	one-shot) from=one was='1/1 none' becomes='2/2 none' between='2/1 activated' command='install add web=2 -n e activate issu commit' ;;
	abort-added) from=added was='1/1 added' becomes='1/1 none' command='install abort issu -n e' ;;
	remove-added) from=added was='1/1 added' becomes='1/1 none' command='install remove inactive -n e' ;;
	*) echo "no case '$1'"; return 1 ;;
	esac
}

# settle_down: until both members say the same, and nobody is in the middle of something. Sets $now
settle_down()
{
	settle_n=0
	while :; do
		come_back
		now=$(member 1 state) other=$(member 2 state)
		case $now in
		"$was" | "$becomes" | *' none' | *' activated') [ "$now" != "$other" ] || return 0 ;; # what a one-shot has added is no rest
		esac
		settle_n=$((settle_n + 1))
		[ "$settle_n" -lt "$patience" ] || { echo "after all this time member 1 is at '$now', member 2 at '$other'"; tail -n 20 agent?.log; return 1; }
		sleep 0.2
	done
}

# may_be: does that come of the case?
may_be()
{
	for may in "$was" "$becomes" "$back" "$between"; do
		[ "$now" != "$may" ] || return 0
	done
	echo "settled: $now"
	return 1
}

agree()
{
	[ "$(member 1 active)" = "$(member 2 active)" ] && [ -n "$(member 1 active)" ]
}

both_whole()
{
	for n in 1 2; do
		member "$n" whole "$now" || { echo "member $n, settled at $now"; return 1; }
	done
	await agree || { echo "who is active: $(member 1 active) says member 1, $(member 2 active) says member 2"; return 1; }
}

# with agents that do not die and whose disks work
go_on()
{
	agents_down
	agents_up || return 1
	case $now in
	'1/2 activated') member 1 tool -q install abort issu -n e ;;
	*' none') member 1 tool -q install add web=2 -n e activate issu commit ;;
	*' added') member 1 tool -q install activate issu -n e && member 1 tool -q install commit -n e ;;
	*' activated') member 1 tool -q install commit -n e ;;
	esac >said.on 2>&1 || { cat said.on; return 1; }
	for n in 1 2; do
		member "$n" tool -q install label committed x -n e || return 1 # what has a label is kept
	done
	member 1 tool -q install remove inactive -n e >said.on 2>&1 || { cat said.on; return 1; }
	go_from=$from from=empty # of its state as it was at first nothing is known here
	settle_down && [ "$now" = '2/2 none' ] && both_whole
	go_rc=$?
	from=$go_from
	[ "$go_rc" = 0 ] || { echo "it goes on to $now"; return 1; }
	for n in 1 2; do
		if ! { member "$n" tool -q store gc && member "$n" spotless && member "$n" one_generation; }; then
			echo "on member $n"
			return 1
		fi
	done
}

# -- what is done to them -------------------------------------------------------------------------------------------

# Each carries a command out, whose exit status is left in $rc and whose words in `said`. HOW as of killat: at its call N, of
# the processes that are meant. The number of calls is in `made` when agents are down. Who is alive stays in $agent1 and $agent2.

# the command itself, on member 1: cut_command N HOW COMMAND...
cut_command()
{
	agents_up || return 1
	member 1 "$killat" -c made "$@" >said 2>&1
	rc=$?
}

# member 2 with all that it runs
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

# member 1 with its agent and the command
cut_member()
{
	cut_n=$1 cut_side=$2
	shift 2
	agent_up 2
	await member 2 tool status || return 1
	unshare -m "$killat" -w -c made "$cut_n" "$cut_side" sh "$SOURCE_ROOT/tests/lib/members.sh" --member 1 with_agent "$@" >said 2>&1
	rc=$?
	agent1=''
}

# without_a_cut VICTIM HOW: the case's command comes to its end. Sets $calls
without_a_cut()
{
	back_to "$from"
	# shellcheck disable=SC2086 # a list of words
	"cut_$1" 0 "$2" "$SLIPWAY" $command || return 1
	[ "$rc" = 0 ] || { echo "without a cut, exit status $rc:"; cat said; return 1; }
	settle_down || return 1
	agents_down
	calls=$(cat made)
	[ "$calls" -ge 5 ] || { echo "only $calls calls are counted"; return 1; }
	[ "$now" = "$becomes" ] || { echo "without a cut: $now"; return 1; }
}

# damaged TEXT...: what is wrong, with what was said. 1 where a sweep should not go on
damaged()
{
	bad=$((bad + 1))
	echo "damage, $*:"
	cat damage said
	tail -n 15 agent?.log
	[ -n "$full" ] && [ "$bad" -lt 20 ] # all of them where there is time
}
