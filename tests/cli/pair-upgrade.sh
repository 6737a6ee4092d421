# SPDX-License-Identifier: Apache-2.0
# Two members in networks of their own, HAProxy in front, clients that ask all the time: an upgrade that is committed, one that fails and goes
# back, and the link, the agents and the command dying in the middle. Afterwards both run the same version, one is active, and
# no request has failed.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build}
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/pair.sh"
need ip haproxy curl tar bzip2 python3
trap 'pair_down; rm -rf "$T"' EXIT
pair_nets >nets.log 2>&1 || { pair_down; skip_all "kernel: no networks of our own here: $(tail -n 1 nets.log)"; }

# redundancy N EXPRESSION: what member N shows, as Python sees it in r, and the environment's two members in one and two
redundancy()
{
	m "$1" show redundancy -n site --json >r.json || return 1
	python3 -c '
import json, sys
r = json.load(open("r.json"))
e = r["environments"][0]
one, two = e["members"]
assert eval(sys.argv[1]), json.dumps(r, indent=1)' "$2"
}

# at_rest VERSION: on both, in no operation, one of them active and the same for both, the other one hot
at_rest()
{
	pair_versions "web $1" "web $1" && redundancy 1 'e["hot"] and r["active"] in (1, 2)' || return 1
	at_rest_active=$(sed -n 's/.*"active": \([12]\).*/\1/p' r.json)
	redundancy 2 "r['active'] == $at_rest_active and e['hot']" && await pair_both_up
}

# what runs now, to wait for
settled()
{
	await at_rest "$1" && at_rest "$1"
}

loaded()
{
	pair_load
	"$@"
	loaded_code=$?
	pair_unload || { echo "requests failed:"; cat load.out; return 1; }
	return "$loaded_code"
}

# in_order FILE LINE...: they are in it, one behind the other
in_order()
{
	in_order_at=0
	in_order_file=$1
	shift
	for in_order_line; do
		in_order_n=$(tail -n +$((in_order_at + 1)) "$in_order_file" | grep -n -m 1 -e "$in_order_line" | cut -d: -f1)
		[ "$in_order_n" ] || { echo "no '$in_order_line' behind line $in_order_at:"; cat "$in_order_file"; return 1; }
		in_order_at=$((in_order_at + in_order_n))
	done
}

first()
{
	pair_server 1.0 && pair_server 1.1 && pair_server 1.2 --fail-health && pair_server 1.3 && pair_hosts &&
		m 1 install add web=1.0 -n site activate commit && m 1 start site && m 2 start site && await pair_both_up && settled 1.0
}

shown()
{
	m 2 show redundancy -n site >out && in_order out 'Hardware Mode = Duplex' 'Communications = Up' 'Current Processor Information' \
		'Standby Location = member 2 (two)' 'Current Software state = STANDBY HOT$' 'Image Version = web 1.0, generation 1$' \
		'Peer Processor Information' 'Active Location = member 1 (one)' 'Current Software state = ACTIVE$'
}

three_steps()
{
	add_step && activate_step && commit_step && settled 1.1 && return
	cat out
	return 1
}

add_step()
{
	m 1 install add web=1.1 -n site >out 2>&1 && in_order out 'Starting initial file syncing' 'Copying .* from member 1 to member 2' \
		'Finished copying to member 2' 'Performing Add on all members' 'Finished Add on member 1' 'Finished Add on member 2' \
		'Add: Passed on \[1 2\]' 'SUCCESS: install_add' && pair_is 2 added 'web 1.0'
}

activate_step()
{
	m 1 install activate issu -n site >out 2>&1 && in_order out 'STAGE 0: Initial System Level Sanity Check' 'Standby Hot state ---$' \
		'STAGE 1: Installing software on Standby' 'install_remote: Passed on \[2\]' 'STAGE 2: Restarting Standby' \
		'Finished wait for Standby to reach terminal' 'STAGE 3: Installing software on Active' 'install_active: Passed on \[1\]' \
		'STAGE 4: Restarting Active' 'SUCCESS: install_activate' &&
		redundancy 1 'e["hot"] and r["active"] == 2 and r["switch_overs"] == 1 and r["last_switch_over_reason"] == "install activate"' &&
		redundancy 2 'one["operation_state"] == two["operation_state"] == "activated"'
}

commit_step()
{
	m 1 install commit -n site >out 2>&1 && in_order out 'STAGE 0' 'install_commit_2: Passed on \[2\]' 'STAGE 1: Dispatching the commit' \
		'install_commit_remote: Passed on \[1\]' 'SUCCESS: install_commit'
}

# the archive came from member 1: the other one has never heard of the channel
fetched_once()
{
	! m 2 channel list | grep . && [ ! -e "$T/m2/index" ]
}

back_by_itself()
{
	must_fail 4 m 2 install add web=1.2 -n site activate issu commit -c "$T/ch" || { cat out err; return 1; }
	grep -q 'undone on both members' err && settled 1.1 && redundancy 2 'r["standby_failures"] == 1 and r["switch_overs"] == 1'
}

by_abort()
{
	m 2 install add web=1.3 -n site -c "$T/ch" && m 2 install activate issu -n site && m 1 install abort issu -n site >out 2>&1 || return 1
	settled 1.1
}

one_shot()
{
	m 1 install add "web=$1" -n site activate issu commit && settled "$1"
}

away()
{
	pair_cut
	m 1 show redundancy -n site >out && in_order out "Communications = Down ('two' at" 'Standby Location = member 2' \
		'Current Software state = unknown (' || return 1
	must_fail 1 m 1 install add web=1.1 -n site || return 1
	grep -q 'member 2' err || return 1
	pair_mend
	settled 1.3
}

# upgrade_and MS COMMAND...: an upgrade in the background, and after MS milliseconds something happens to it
upgrade_and()
{
	upgrade_ms=$1
	shift
	m 1 install add web=1.1 -n site activate issu commit >upgrade.out 2>&1 &
	upgrade_pid=$!
	sleep "$(printf '%d.%03d' $((upgrade_ms / 1000)) $((upgrade_ms % 1000)))"
	"$@" || return 1
}

# Active on both, and not committed: nobody decided before the one who would have died.
uncommitted()
{
	pair_is 1 activated 'web 1.1' && pair_is 2 activated 'web 1.1' && pair_both_up
}

# Whichever of the two versions it came to, both have it; then back to 1.3 for the next one.
agreed()
{
	await either || { cat upgrade.out; m 1 show issu state detail; m 2 show issu state detail; tail -n 5 "$T"/agent?.log; return 1; }
	! uncommitted >/dev/null 2>&1 || m 1 install commit -n site >again.out 2>&1 || { cat again.out; return 1; }
	! at_rest 1.1 >/dev/null 2>&1 || one_shot 1.3 >again.out 2>&1 || { cat again.out; return 1; }
}

either()
{
	at_rest 1.1 || at_rest 1.3 || uncommitted
}

link_cut()
{
	for cut_ms in 100 300 500 800; do
		upgrade_and $cut_ms pair_cut || return 1
		wait "$upgrade_pid"
		cut_code=$?
		pair_mend
		echo "link cut after $cut_ms ms: exit code $cut_code" >>codes
		case $cut_code in 0 | 1 | 4 | 5) ;; *) cat upgrade.out; return 1 ;; esac
		agreed || { echo "cut after $cut_ms ms"; return 1; }
	done
}

command_killed()
{
	for kill_ms in 150 350 550 800; do
		upgrade_and $kill_ms kill_command || return 1
		wait "$upgrade_pid" 2>/dev/null
		echo "command killed after $kill_ms ms: $(tail -n 1 upgrade.out)" >>codes
		agreed || { echo "killed after $kill_ms ms"; return 1; }
	done
}

kill_command()
{
	for kill_pid in $(ip netns pids "$pair_net-1"); do
		! tr '\0' ' ' <"/proc/$kill_pid/cmdline" 2>/dev/null | grep -q 'slipway install add' || kill -9 "$kill_pid"
	done
}

# agent_killed N: and started again, as what watches it would
agent_killed()
{
	for agent_ms in 250 600; do
		upgrade_and $agent_ms pair_agent_killed "$1" || return 1
		pair_agent "$1" || return 1
		wait "$upgrade_pid"
		agent_code=$?
		echo "agent $1 killed after $agent_ms ms: exit code $agent_code" >>codes
		case $agent_code in 0 | 1 | 4 | 5) ;; *) cat upgrade.out; return 1 ;; esac
		agreed || { echo "killed after $agent_ms ms"; return 1; }
	done
}

t 'two hosts, a first version on both' first
[ "$test_failed" = 0 ] || { tail -n 20 "$T"/agent?.log | diag; done_testing; exit; }
t 'each shows both' shown
t 'add, activate, commit, and nobody notices' loaded three_steps
diag <load.out
t 'fetched once' fetched_once
t 'a version that fails its health check goes back by itself' loaded back_by_itself
t 'begun on one member, aborted from the other' loaded by_abort
t 'in one shot' loaded one_shot 1.3
t 'a link that is down' loaded away
t 'the link is cut at any time' loaded link_cut
t 'the command is killed at any time' loaded command_killed
t 'the agent of the other member is killed' loaded agent_killed 2
t 'the agent of this member is killed' loaded agent_killed 1
diag <codes
diag <load.out
done_testing
