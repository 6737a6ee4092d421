# SPDX-License-Identifier: Apache-2.0
# The first version on a pair behind HAProxy, where nothing has ever answered: with issu and without, committed and aborted; versions while
# the services do not run; and a member that was drained by a command that died before it was put in again.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build}
pair_more_traffic="- command: {activate: [/bin/true], drain: [/bin/true], ready: [$T/ready, '{member}'], state: [/bin/echo, unknown]}"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/pair.sh"
need ip haproxy curl tar bzip2
trap 'pair_down; rm -rf "$T"' EXIT
pair_nets >nets.log 2>&1 || { pair_down; skip_all "kernel: no networks of our own here: $(tail -n 1 nets.log)"; }

# Where the test wants it, whoever makes a member ready dies before it is: HAProxy comes after this driver.
cat >"$T/ready" <<-X
	#!/bin/sh
	rm "$T/die-before-\$1" 2>/dev/null && kill -9 \$PPID
	exit 0
X
chmod +x "$T/ready"

# quick WORDS...: on member 1, well before what waits for a server that never answers gives up
quick()
{
	quick_begin=$(date +%s)
	m 1 "$@" >out 2>&1 || { cat out; return 1; }
	[ $(($(date +%s) - quick_begin)) -lt 30 ] || { echo "it took $(($(date +%s) - quick_begin)) s"; cat out; return 1; }
}

hosts()
{
	pair_server 1.0 && pair_server 1.1 && pair_server 1.2 && pair_hosts
}

not_drained()
{
	in_net c python3 - <<-'X'
		import socket, sys
		s = socket.create_connection(("10.0.0.1", 9999))
		s.sendall(b"show servers state web\n")
		text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
		servers = [line.split() for line in text.splitlines() if line[:1].isdigit() and " web" in line]
		print(text)
		assert len(servers) == 2 and all(x[6] == "0" for x in servers), "some are in drain or maintenance"
	X
}

gone()
{
	! m 1 show version -n site >/dev/null 2>&1 && ! m 2 show version -n site >/dev/null 2>&1 && not_drained
}

with_issu()
{
	quick install add web=1.0 -n site && quick install activate issu -n site && has "nothing of 'site' runs on either member yet" out &&
		hasnt 'traffic: ' out && pair_is 1 activated 'web 1.0' && pair_is 2 activated 'web 1.0'
}

aborted()
{
	quick install abort issu -n site && gone
}

started()
{
	m 1 start site && m 2 start site && await pair_both_up && in_net c curl -sf 10.0.0.1/
}

# One that is started already when it is aborted leaves nothing to answer, and nothing drained.
started_and_aborted()
{
	quick install add web=1.0 -n site activate && started && aborted
}

first_with_issu()
{
	quick install add web=1.0 -n site activate issu commit && pair_versions 'web 1.0' 'web 1.0' && started
}

next_version()
{
	pair_load
	m 1 install add "web=$1" -n site activate issu commit >out 2>&1
	next_code=$?
	pair_unload || { cat load.out; return 1; }
	[ "$next_code" = 0 ] && pair_versions "web $1" "web $1" && await pair_both_up && return
	cat out
	return 1
}

# Both stopped: nothing is moved; one stopped: refused, because the other one would take nothing over.
stopped()
{
	m 2 stop site && m 1 install add web=1.2 -n site && must_fail 1 m 1 install activate issu -n site || return 1
	has "member 2: standby is in Standby Hot state: .*its services are not started; 'slipway start site' there" err || return 1
	m 1 stop site && quick install activate issu commit -n site && pair_versions 'web 1.2' 'web 1.2' && started
}

removed()
{
	m 1 stop site && m 2 stop site && m 1 -q env remove -n site && m 2 -q env remove -n site && gone
}

first_without()
{
	quick install add web=1.0 -n site activate commit && pair_versions 'web 1.0' 'web 1.0' && started
}

# dies_before N: an abort whose command dies when all that is left is to make member N ready
dies_before()
{
	if ! m 1 install add web=1.1 -n site >out 2>&1 || ! m 1 install activate issu -n site >>out 2>&1; then
		cat out
		return 1
	fi
	pair_load
	touch "$T/die-before-$1"
	m 1 install abort issu -n site >out 2>&1
	dies_code=$?
	if [ "$dies_code" != 137 ] || [ -e "$T/die-before-$1" ]; then
		echo "exit code $dies_code"
		cat out
		return 1
	fi
	await pair_both_up && await pair_versions 'web 1.0' 'web 1.0' && not_drained && hasnt drained_ "$T/m1/pair/role" "$T/m2/pair/role"
	dies_code=$?
	pair_unload || { cat load.out; return 1; }
	return "$dies_code"
}

# A one-shot whose command dies when both run the new version, and before it is committed: whole or not at all.
one_shot_dies()
{
	one_shot_active=$(m 1 show redundancy --json | sed -n 's/.*"active": \([12]\),.*/\1/p')
	pair_load
	touch "$T/die-before-$one_shot_active"
	m "$1" install add web=1.1 -n site -c "$T/ch" activate issu commit >out 2>&1
	one_shot_code=$?
	if [ "$one_shot_code" != 137 ] || [ -e "$T/die-before-$one_shot_active" ]; then
		echo "exit code $one_shot_code"
		cat out
		return 1
	fi
	await pair_versions 'web 1.0' 'web 1.0' && await pair_both_up && not_drained
	one_shot_code=$?
	pair_unload || { cat load.out; return 1; }
	return "$one_shot_code"
}

# Nothing is to be done here: what of the other one?
other_is_down()
{
	m 1 install add web=1.0 -n site >out 2>&1 && has "'site' is like that already on both members: nothing to do" out &&
		m 1 install abort issu -n site >out 2>&1 && has 'no install operation is in progress on either member: nothing to abort' out || return 1
	pair_cut
	must_fail 1 m 1 install add web=1.0 -n site && has "'site' is like that already on member 1; member 2 does not answer: .*; nothing changed" err &&
		m 1 install abort issu -n site >out 2>&1 && has 'no install operation is in progress on member 1: nothing to abort; member 2 could not be asked (.*): if it' out
	other_code=$?
	pair_mend
	return "$other_code"
}

other_has_another()
{
	m 2 env update -n site web=1.2 -c "$T/ch" >out 2>&1 || { cat out; return 1; }
	must_fail 1 m 1 install add web=1.0 -n site && has "'site' is like that already on member 1, but member 2 runs 'web 1.2'; nothing changed; 'slipway env export" err &&
		m 2 env update -n site web=1.0 -c "$T/ch" && pair_versions 'web 1.0' 'web 1.0'
}

t 'two hosts' hosts
[ "$test_failed" = 0 ] || { cat "$T"/*.log | tail -n 40 | diag; done_testing; exit; }
t 'a first version, with issu' with_issu
t 'and aborted' aborted
t 'aborted when it is started' started_and_aborted
t 'again, committed' first_with_issu
t 'and upgraded, nothing lost' next_version 1.1
t 'a version while the services are stopped' stopped
t 'all is removed' removed
t 'a first version, without issu' first_without
t 'and upgraded, nothing lost' next_version 1.1
t 'and back, nothing lost' next_version 1.0
t 'who aborts dies before member 1 is ready again' dies_before 1
t 'who aborts dies before member 2 is ready again' dies_before 2
t 'a one-shot dies before it is committed' one_shot_dies 1
t 'and begun on the other member' one_shot_dies 2
t 'nothing is to be done, and the other one does not answer' other_is_down
t 'or runs something else' other_has_another
tail -n 30 "$T"/agent?.log | grep -e 'out of the traffic' | diag
done_testing
