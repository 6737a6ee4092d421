# SPDX-License-Identifier: Apache-2.0
# Two members in networks of their own, an address that keepalived moves between them, clients that ask it all the time, over kept
# connections and new ones: upgrades that are committed, that fail and go back, that are aborted. No request fails, and
# the address is on one of them.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build}
pair_front=keepalived
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/pair.sh"
need ip keepalived nft curl tar bzip2 python3
trap 'pair_down; rm -rf "$T"' EXIT
pair_nets >nets.log 2>&1 || { pair_down; skip_all "kernel: no networks of our own here: $(tail -n 1 nets.log)"; }

# at_rest VERSION ACTIVE: on both, in no operation; this member is the active one for both, has the address, and the other one has not
at_rest()
{
	pair_versions "web $1" "web $1" && pair_both_up && pair_has_address "$2" && ! pair_has_address $((3 - $2)) || return 1
	for at_rest_n in 1 2; do
		m "$at_rest_n" show redundancy -n site --json >r.json && has "\"active\": $2," r.json && has '"hot": true' r.json || return 1
	done
}

first()
{
	pair_server 1.0 && pair_server 1.1 && pair_server 1.2 --fail-health && pair_hosts &&
		m 1 install add web=1.0 -n site activate commit && m 1 start site && m 2 start site && await at_rest 1.0 1
}

# When each has it, and from when to when both did.
watch_addresses()
{
	for watch_n in 1 2; do
		in_net "$watch_n" ip -ts -o monitor address >"address$watch_n" &
	done
}

overlap()
{
	python3 - <<-'X'
		import re
		from datetime import datetime
		events = []
		for n in 1, 2:
		    for line in open(f"address{n}"):
		        if "10.0.0.100/24" in line and "eth0" in line:
		            at = re.match(r"\[([^\]]*)\]", line).group(1)
		            events.append((datetime.fromisoformat(at).timestamp(), n, 0 if "Deleted" in line else 1))
		has, since, longest, hole = {1}, None, 0, 0
		for at, n, there in sorted(events):
		    if since and len(has) == 2: longest = max(longest, at - since)
		    if since and len(has) == 0: hole = max(hole, at - since)
		    has = has | {n} if there else has - {n}
		    since = at
		print(f"the address moved {len(events) // 2} times; on both for at most {longest * 1000:.0f} ms, on none for at most {hole * 1000:.0f} ms")
		assert len(events) >= 8 and longest < 1 and hole < 1, events
	X
}

loaded()
{
	pair_load -t 3000
	"$@"
	loaded_code=$?
	pair_unload || { echo "requests failed:"; cat load.out; return 1; }
	echo "$1: $(cat load.out)" >>figures
	return "$loaded_code"
}

up()
{
	m 1 install add "web=$1" -n site activate issu >out 2>&1 && pair_is 1 activated "web $1" && pair_is 2 activated "web $1" &&
		m 1 install commit -n site >>out 2>&1 && await at_rest "$1" "$2" && return
	cat out
	return 1
}

goes_back()
{
	must_fail 4 m 2 install add web=1.2 -n site activate issu commit -c "$T/ch" || { cat out err; return 1; }
	grep -q 'undone on both members' err && await at_rest 1.1 2
}

by_abort()
{
	m 2 install add web=1.0 -n site -c "$T/ch" >out 2>&1 && m 2 install activate issu -n site >>out 2>&1 && pair_has_address 1 &&
		! pair_has_address 2 && m 1 install abort issu -n site >>out 2>&1 && await at_rest 1.1 2 && return
	cat out
	return 1
}

rounds()
{
	up 1.0 1 && up 1.1 2 && by_abort && up 1.0 1 && up 1.1 2
}

# A keepalived that is dead takes no address: the standby's version is undone, the active one keeps the address and answers.
nobody_takes()
{
	kill -9 "$(cat "$T/keepalived1.vrrp.pid")" "$(cat "$T/keepalived1.pid")"
	must_fail 4 m 2 install add web=1.0 -n site activate issu commit -c "$T/ch" || { cat out err; return 1; }
	has 'wait until the address is on eth0: not in time' err && pair_versions 'web 1.1' 'web 1.1' && pair_has_address 2
}

t 'two hosts, a first version on both' first
[ "$test_failed" = 0 ] || { cat "$T"/*.log | tail -n 40 | diag; done_testing; exit; }
t 'what is asked of the old member when the address has moved gets there' pair_keep_old
watch_addresses
t 'an upgrade, and nobody notices' loaded up 1.1 2
t 'a version that fails its health check goes back by itself' loaded goes_back
t 'begun on one member, aborted from the other' loaded by_abort
t 'again and again' loaded rounds
t 'one has the address' overlap
overlap 2>&1 | diag
diag <figures
t 'an address that nobody takes' loaded nobody_takes
done_testing
