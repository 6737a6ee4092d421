# SPDX-License-Identifier: Apache-2.0
# Traffic is moved between two servers by the real HAProxy and the real keepalived, and nobody who asks notices.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build}
. "$SOURCE_ROOT/tests/lib/balanced.sh"
PATH=$PATH:/usr/sbin:/sbin

state_is()
{
	state=$(TRAFFIC_QUIET=1 move state "$1" 5000)
	[ "$state" = "$2" ] || { echo "state of member $1 is '$state', not '$2'"; return 1; }
}

nothing_failed()
{
	cat "$1"
	grep -q '"failed": 0,' "$1"
}

nets_down() { :; } # until there are some
trap 'put_down; nets_down; rm -rf "$T"' EXIT

# == HAProxy
ten_upgrades()
{
	"$load" -c 8 -p 5 -d 100 "127.0.0.1:$front" >load.out &
	load_pid=$!
	v=1
	while [ $v -le 5 ]; do
		v=$((v + 1))
		upgrade 1 $v && upgrade 2 $v && continue
		kill "$load_pid"
		return 1
	done
	kill "$load_pid"
	wait "$load_pid"
	ok=$?
	cp load.out upgrades.out
	[ $ok = 0 ] && nothing_failed load.out
}

# in_flight MS: a request that takes that long is being answered by server 1
in_flight()
{
	# other requests, so that it is the turn of 1
	move drain 2 5000 && move_wait=$1 || return 1
	curl -s -m 60 "http://127.0.0.1:$front/sleep/$move_wait" >/dev/null &
	slow_pid=$!
	sleep 0.5
	move ready 2 5000
}

drain_never()
{
	in_flight 4000 || return 1
	must_fail 1 move drain 1 700 || return 1
	cat err
	grep -q "haproxy 'web': wait until nothing is in flight on 'web1': not in time (1 in flight, 0 queued); give it" err &&
		grep -q "undo: haproxy 'web': set server web/web1 state ready" err && state_is 1 carries && wait "$slow_pid"
}

drain_and_die()
{
	in_flight 6000 || return 1
	(sleep 1; kill -9 "$haproxy_pid") &
	must_fail 5 move drain 1 10000 || return 1
	cat err
	wait "$slow_pid"
	grep -q "is HAProxy running, with" err && grep -q 'could not be undone: ' err
}


last_one()
{
	move drain 1 5000 && state_is 1 drained && must_fail 1 move drain 2 5000 || return 1
	grep -q "'web2' is the last that answers: 'web1' is 'DRAIN', drained; bring" err && state_is 2 carries &&
		move drain 1 5000 && move ready 1 5000 && state_is 1 carries
}

last_one_is_down()
{
	unserve 2
	await state_is 2 down && must_fail 1 move drain 1 5000 && grep -q "'web2' is 'DOWN'" err && serve 2 9 &&
		move ready 2 10000
}

never_up()
{
	move drain 2 5000 && unserve 2 || return 1
	await state_is 2 down && must_fail 1 move ready 2 1000 || return 1
	grep -q "wait until requests go to 'web2': not in time (DOWN" err && state_is 2 down && serve 2 9 && move ready 2 10000
}

one_active()
{
	sed 's/servers:/share: active, servers:/' "$T/pair.yml" >one.yml && mv one.yml "$T/pair.yml" || return 1
	"$load" -c 8 -p 5 -d 100 "127.0.0.1:$front" >load.out &
	load_pid=$!
	move active 1 10000 && state_is 1 carries && state_is 2 standby && move ready 2 5000 && move active 2 10000 &&
		state_is 1 standby && state_is 2 carries && move active 1 10000
	ok=$?
	kill "$load_pid"
	wait "$load_pid" && [ $ok = 0 ] && nothing_failed load.out
}

wrong_names()
{
	sed 's/web2}/web3}/' "$T/pair.yml" >"$T/wrong.yml"
	must_fail 1 "$BUILD_ROOT/tests/traffic" "$T/wrong.yml" 1 drain 1 2000 && grep -q "has no server 'web/web3'" err || return 1
	sed 's/backend: web/backend: wbe/' "$T/pair.yml" >"$T/wrong.yml"
	must_fail 1 "$BUILD_ROOT/tests/traffic" "$T/wrong.yml" 1 drain 1 2000 && cat err && grep -q "it says " err
}

not_admin()
{
	haproxy_down
	sed -i 's/level admin/level operator/' "$T/haproxy.cfg"
	haproxy_up && must_fail 1 move drain 1 2000 && grep -q "needs 'level admin'" err
}

if ! command -v haproxy >/dev/null || ! command -v curl >/dev/null; then
	skip 'moves traffic with HAProxy' 'no haproxy or no curl: tools/packages test'
elif ! balanced; then
	cat "$T"/*.log | diag
	fail 'HAProxy in front of two servers'
else
	t 'both carry traffic' state_is 2 carries
	t 'ten upgrades of two servers, nothing lost' ten_upgrades
	diag <upgrades.out
	t 'a server that never drains is put back' drain_never
	t 'the last one is not drained' last_one
	t 'nor is it when the other is down' last_one_is_down
	t 'a server that is not up is not ready' never_up
	t 'names that HAProxy does not know' wrong_names
	t 'one active at a time, moved under load' one_active
	sed -i 's/share: active, //' "$T/pair.yml"
	move ready 1 5000 2>/dev/null && move ready 2 5000 2>/dev/null
	t 'HAProxy dies in the middle of a drain' drain_and_die
	haproxy_pid=''
	haproxy_up
	t 'a socket without the right to change anything' not_admin
fi

# == keepalived: two members and a client, each with a network of its own
net=slipway-$$
nets_down()
{
	for pid in "$T"/*.pid; do
		kill -9 "$(cat "$pid" 2>/dev/null)" 2>/dev/null || :
	done
	for n in c 1 2; do
		ip netns del "$net-$n" 2>/dev/null || :
	done
}

in_net()
{
	in_net_name=$1
	shift
	ip netns exec "$net-$in_net_name" "$@"
}

nets_up()
{
	for n in c 1 2; do
		ip netns add "$net-$n" && in_net $n ip link set lo up || return 1
	done
	in_net c ip link add br0 type bridge && in_net c ip link set br0 up && in_net c ip addr add 10.0.0.1/24 dev br0 || return 1
	for n in 1 2; do
		in_net c ip link add "p$n" type veth peer name eth0 netns "$net-$n" && in_net c ip link set "p$n" master br0 up &&
			in_net $n ip addr add "10.0.0.1$n/24" dev eth0 && in_net $n ip link set eth0 up || return 1
	done
}

# The example server on all addresses, by the socket it is given.
listen='import os, socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("", 8080)); s.listen(1024)
os.dup2(s.fileno(), 3); os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid())); os.execv(sys.argv[1], sys.argv[1:])'

member_up()
{
	cat >"$T/vrrp$1.conf" <<-X
		global_defs {
			vrrp_version 3
			router_id member$1
		}
		vrrp_track_file slipway {
			file "$T/vrrp$1"
		}
		vrrp_instance slipway {
			state BACKUP
			interface eth0
			virtual_router_id 51
			priority 100
			advert_int 0.1
			track_file {
				slipway weight 1
			}
			virtual_ipaddress {
				10.0.0.100/24
			}
		}
	X
	cat >"$T/pair$1.yml" <<-X
		traffic:
		- keepalived: {track-file: $T/vrrp$1, weights: {active: 100, standby: 0}, address: 10.0.0.100, interface: eth0}
	X
	printf '#!/bin/sh\nexec ip netns exec %s %s %s %s "$@"\n' "$net-$1" "$BUILD_ROOT/tests/traffic" "$T/pair$1.yml" "$1" >"$T/member$1"
	chmod +x "$T/member$1"
	echo 0 >"$T/vrrp$1"
	in_net "$1" python3 -c "$listen" "$BUILD_ROOT/tests/webd" --version "m$1" --crash 100000 >"$T/webd$1.log" 2>&1 &
	echo $! >"$T/webd$1.pid"
	in_net "$1" keepalived -n -P -l -f "$T/vrrp$1.conf" -p "$T/keepalived$1.pid" -r "$T/keepalived$1.vrrp.pid" >"$T/keepalived$1.log" 2>&1 &
	await in_net c curl -sf -m 5 "http://10.0.0.1$1:8080/health"
}

address_count()
{
	for n in 1 2; do
		in_net $n ip -4 -o addr show dev eth0
	done | grep -c '10\.0\.0\.100/'
}

# by_member SELF WORDS...
by_member()
{
	TRAFFIC_PEER=$T/member$((3 - $1))
	export TRAFFIC_PEER
	by_self=$1
	shift
	"$T/member$by_self" "$@"
}

carried_by()
{
	state=$("$T/member$1" state "$1" 5000) && other=$("$T/member$((3 - $1))" state $((3 - $1)) 5000)
	[ "$state $other $(address_count)" = 'carries standby 1' ] || { echo "$1: $state, the other: $other"; return 1; }
}

asks()
{
	in_net c "$load" -c 4 -k 0 -p 5 -d 1 10.0.0.100:8080 >load.out && nothing_failed load.out && grep -q "\"m$1\"" load.out &&
		! grep -q "\"m$((3 - $1))\"" load.out
}

address_moves()
{
	by_member 1 active 1 10000 && carried_by 1 && asks 1 && by_member 1 drain 1 10000 && carried_by 2 && asks 2 &&
		by_member 1 ready 1 1000 && carried_by 2 && by_member 1 active 1 10000 && carried_by 1 && asks 1
}

# both can answer, nobody is asked to be quiet: what is in flight at that moment may be lost, nothing else
moves_under_load()
{
	in_net c "$load" -c 8 -k 0 -p 20 -t 5000 -d 60 10.0.0.100:8080 >moves.out &
	load_pid=$!
	for to in 2 1 2 1; do
		sleep 0.5
		by_member 1 active $to 10000 || return 1
		carried_by $to || return 1
	done
	sleep 0.3
	# the client itself, not the one that waits for it
	for pid in $(in_net c sh -c "ip netns pids $net-c"); do
		grep -q load "/proc/$pid/comm" && kill "$pid"
	done
	wait $load_pid
	failed=$(sed 's/.*"failed": \([0-9]*\).*/\1/' moves.out)
	[ "$failed" -le 32 ]
}

stays_away()
{
	kill -9 "$(cat "$T/keepalived2.vrrp.pid")" "$(cat "$T/keepalived2.pid")"
	TRAFFIC_PEER=$T/member2 must_fail 1 by_member 1 drain 1 1500 || return 1
	cat err
	grep -q 'member 2: wait until the address is on eth0: not in time (it is not there); see whether keepalived' err &&
		[ "$(cat "$T/vrrp1") $(cat "$T/vrrp2")" = '100 0' ] && carried_by 1 && asks 1
}

if ! command -v keepalived >/dev/null || ! command -v ip >/dev/null || ! command -v python3 >/dev/null; then
	skip 'moves an address with keepalived' 'no keepalived, ip or python3: tools/packages test'
elif ! nets_up >nets.log 2>&1; then
	skip 'moves an address with keepalived' "no networks of our own here: $(tail -n 1 nets.log)"
elif ! member_up 1 || ! member_up 2; then
	cat "$T"/*.log | diag
	fail 'two members with keepalived'
else
	t 'an address moves, and is on one member only' address_moves
	t 'and under load' moves_under_load
	diag <moves.out
	t 'an address that nobody takes comes back' stays_away
fi

done_testing
