# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Two members of a pair, each in a network of its own, and in a third one HAProxy and whoever asks. Networks are made on the spot and need
# nothing beyond this host. With pair_front=keepalived, set before, there is no HAProxy, and the address 10.0.0.100 moves between the two. The caller has $SOURCE_ROOT, $BUILD_ROOT, $SLIPWAY, a folder $T, and tests/lib/package.sh; `pair_down` at its end.
#
#	pair_nets            the networks: c (10.0.0.1), 1 (10.0.0.11) and 2 (10.0.0.12) for traffic; 10.1.0.1 and 10.1.0.2 between 1 and 2 for
#	                     the link alone. 1 where that is forbidden here
#	pair_hosts           roots $T/m1, $T/m2, agents, `pair init` and `pair join`, the servers in HAProxy
#	pair_server V [OPT]  a package web V of the example server, in the channel $T/ch
#	m N WORDS...         slipway on member N: $pair_programN, where it is set
#	pair_load, pair_unload             constant load on what is in front; what it came to is in $T/load.out
#	pair_cut, pair_mend                the link between the agents
#	pair_keep_old                      with keepalived: what a member does with packets of connections that the other one has (doc/formats/pair.md)
#	pair_both_up                       both take requests, as HAProxy sees it; with keepalived, one has the address and the other one has not
#	pair_versions ONE TWO              what each of them runs, at rest
. "$SOURCE_ROOT/tests/lib/wait.sh"
pair_net=slipway-pair-$$
pair_front=${pair_front:-haproxy}
pair_more_traffic=${pair_more_traffic:-} # another driver, a line of pair.yml
pair_address=10.0.0.1:80
[ "$pair_front" = haproxy ] || pair_address=10.0.0.100:8080
pair_load_pid='' pair_agent1_pid='' pair_agent2_pid='' pair_haproxy_pid=''
PATH=$PATH:/usr/sbin:/sbin

in_net()
{
	in_net_name=$1
	shift
	ip netns exec "$pair_net-$in_net_name" "$@"
}

m()
{
	m_n=$1
	shift
	eval "m_program=\${pair_program$m_n:-\$SLIPWAY}"
	# shellcheck disable=SC2154 # the line above
	ip netns exec "$pair_net-$m_n" env SLIPWAY_ROOT="$T/m$m_n" "$m_program" "$@"
}

pair_nets()
{
	for pair_n in c 1 2; do
		ip netns add "$pair_net-$pair_n" && in_net "$pair_n" ip link set lo up || return 1
	done
	# Clients that open a thousand connections a second would run out of ports before the old ones are a minute old.
	in_net c sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse; echo 10000 65000 >/proc/sys/net/ipv4/ip_local_port_range' || :
	in_net c ip link add br0 type bridge && in_net c ip link set br0 up && in_net c ip addr add 10.0.0.1/24 dev br0 || return 1
	for pair_n in 1 2; do
		in_net c ip link add "p$pair_n" type veth peer name eth0 netns "$pair_net-$pair_n" &&
			in_net c ip link set "p$pair_n" master br0 up &&
			in_net "$pair_n" ip addr add "10.0.0.1$pair_n/24" dev eth0 && in_net "$pair_n" ip link set eth0 up || return 1
	done
	in_net 1 ip link add link0 type veth peer name link0 netns "$pair_net-2" || return 1
	for pair_n in 1 2; do
		in_net "$pair_n" ip addr add "10.1.0.$pair_n/24" dev link0 && in_net "$pair_n" ip link set link0 up || return 1
	done
}

pair_cut()
{
	in_net 1 ip link set link0 down
}

pair_mend()
{
	in_net 1 ip link set link0 up
}

pair_both_up()
{
	m 1 show redundancy --json >"$T/both.json" || return 1
	pair_carry=$(grep -c '"traffic": "carries"' "$T/both.json")
	if [ "$pair_front" = haproxy ]; then
		[ "$pair_carry" = 2 ]
	else
		[ "$pair_carry $(grep -c '"traffic": "standby"' "$T/both.json")" = '1 1' ]
	fi
}

# pair_is N STATE VERSION: of its operation, and what runs
pair_is()
{
	m "$1" show issu state detail -n site --json >"$T/is.json" && m "$1" show version -n site --json >"$T/version.json" || return 1
	grep -q "\"state\": \"$2\"" "$T/is.json" && grep -q "\"version\": \"$3\"" "$T/version.json" && return
	echo "member $1 is not in state '$2' with '$3':"
	grep '"state"' "$T/is.json"
	grep '"version"' "$T/version.json"
	return 1
}

pair_versions()
{
	pair_is 1 none "$1" && pair_is 2 none "$2"
}

pair_server()
{
	mkdir -p stage/bin stage/share/slipway/component
	cp "$BUILD_ROOT/tests/webd" stage/bin/webd
	cat >stage/share/slipway/component/web.yml <<-X
		services:
		  web:
		    command: [bin/webd, --version, '$1', --grace, '200', --crash, '600000'${2:+, $2}]
		    ready: notify
		    sockets: {http: '0.0.0.0:8080', health: private}
		    stop-timeout: 5s
		    health:
		      interval: 200ms
		      probes: [{http: {address: health, path: /health}}, {http: {address: http, path: /health}}]
	X
	package stage web "$1" && "$SLIPWAY" -q channel publish "$T/ch" "web-$1-0.tar.bz2"
}

# The process itself, so that it can be killed.
pair_agent()
{
	eval "m_program=\${pair_program$1:-\$SLIPWAY}"
	(exec ip netns exec "$pair_net-$1" env SLIPWAY_ROOT="$T/m$1" "$m_program" agent) >>"$T/agent$1.log" 2>&1 &
	eval "pair_agent$1_pid=$!"
	await m "$1" status
}

# As a power cut would: the agent and whatever it runs for others, not the services.
pair_agent_killed()
{
	eval "pair_killed=\$pair_agent$1_pid"
	kill -9 "$pair_killed" 2>/dev/null
	wait "$pair_killed" 2>/dev/null
	eval "pair_agent$1_pid="
}

pair_haproxy()
{
	cat >"$T/haproxy.cfg" <<-X
		global
			stats socket ipv4@10.0.0.1:9999 level admin
			nbthread 2
		defaults
			mode http
			timeout connect 5s
			timeout client 30s
			timeout server 30s
			retries 0
		frontend front
			bind 10.0.0.1:80
			option idle-close-on-response
			default_backend web
		backend web
			balance roundrobin
			option httpchk GET /health
			default-server check inter 100ms fall 2 rise 1
			server web1 10.0.0.11:8080
			server web2 10.0.0.12:8080
	X
	in_net c haproxy -db -f "$T/haproxy.cfg" >>"$T/haproxy.log" 2>&1 &
	pair_haproxy_pid=$!
}

# keepalived on member N, in a folder of its own: it wants files of its own in /run.
pair_keepalived()
{
	cat >"$T/keepalived$1.conf" <<-X
		global_defs {
			vrrp_version 3
			router_id member$1
		}
		vrrp_track_file slipway {
			file "$T/m$1/vrrp"
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
	[ "$1" = 1 ] && echo 100 >"$T/m$1/vrrp" || echo 0 >"$T/m$1/vrrp"
	in_net "$1" keepalived -n -P -l -f "$T/keepalived$1.conf" -p "$T/keepalived$1.pid" -r "$T/keepalived$1.vrrp.pid" >>"$T/keepalived$1.log" 2>&1 &
}

# The address stays on each, where nobody asks for it; packets of connections that began on the other one go there.
pair_keep_old()
{
	for pair_n in 1 2; do
		pair_mac=$(in_net $((3 - pair_n)) cat /sys/class/net/eth0/address)
		in_net "$pair_n" ip addr add 10.0.0.100/32 dev lo &&
			in_net "$pair_n" sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore; echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce' &&
			in_net "$pair_n" nft -f - <<-X || return 1
				table ip slipway {
					chain others {
						type filter hook prerouting priority mangle
						ip daddr 10.0.0.100 tcp flags & syn == 0 ct state { new, invalid } ether saddr != $pair_mac dup to 10.0.0.1$((3 - pair_n)) device eth0 counter drop
					}
				}
			X
	done
}

pair_has_address()
{
	in_net "$1" ip -4 -o addr show dev eth0 | grep -q '10\.0\.0\.100/'
}

pair_traffic()
{
	echo traffic:
	if [ "$pair_front" = haproxy ]; then
		echo "- haproxy: {socket: 'ipv4@10.0.0.1:9999', backend: web, servers: {1: web1, 2: web2}}"
	else
		echo "- keepalived: {track-file: $T/m$1/vrrp, weights: {active: 100, standby: 0}, address: 10.0.0.100, interface: eth0}"
	fi
}

pair_hosts()
{
	mkdir -p "$T/m1" "$T/m2"
	for pair_n in 1 2; do
		{ pair_traffic "$pair_n"; echo "$pair_more_traffic"; } >"$T/m$pair_n/pair.yml"
		echo 'autostart: ignore' >"$T/m$pair_n/config.yml" # these hosts do not boot
		pair_agent "$pair_n" || return 1
	done
	m 1 -q channel add "$T/ch" --name ch || return 1
	m 1 pair init --name one --listen 10.1.0.1 --json >"$T/invitation" || return 1
	pair_invitation=$(sed -n 's/.*"invitation": "\([^"]*\)".*/\1/p' "$T/invitation")
	m 2 -q pair join "$pair_invitation" --name two --listen 10.1.0.2 || return 1
	if [ "$pair_front" = haproxy ]; then
		pair_haproxy
	else
		pair_keepalived 1 && pair_keepalived 2 && await pair_has_address 1
	fi
}

pair_load()
{
	in_net c "$BUILD_ROOT/tests/load" -c 16 -p 5 -d 600 "$@" "$pair_address" >"$T/load.out" &
	pair_load_pid=$!
	sleep 0.3
}

# The load itself, not the one that waits for it.
pair_unload()
{
	sleep 0.3
	for pair_pid in $(ip netns pids "$pair_net-c"); do
		! grep -q '^load$' "/proc/$pair_pid/comm" || kill "$pair_pid"
	done
	wait "$pair_load_pid"
	pair_code=$?
	pair_load_pid=''
	return "$pair_code"
}

pair_down()
{
	for pair_n in c 1 2; do
		# shellcheck disable=SC2046 # numbers
		kill -9 $(ip netns pids "$pair_net-$pair_n" 2>/dev/null) 2>/dev/null || :
		ip netns del "$pair_net-$pair_n" 2>/dev/null || :
	done
}
