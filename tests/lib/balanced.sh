# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Helpers for scripts that move traffic with the real HAProxy: two of the example servers behind it, and upgrades of one of them.
# The caller has $SOURCE_ROOT, $BUILD_ROOT and a folder $T, and calls `put_down` at its end.
#
#	balanced [EXTRA LINE FOR THE BACKEND]     HAProxy on 127.0.0.1:$front, its socket at $T/h.sock, servers web1 and web2 (version 1)
#	upgrade MEMBER VERSION                    drain, stop, start, ready
#	move VERB MEMBER MS                       tests/lib/traffic.c with $T/pair.yml
front=$((14000 + $$ % 5000 * 3)) # below those that connections are made from
. "$SOURCE_ROOT/tests/lib/wait.sh"
load="$BUILD_ROOT/tests/load"
haproxy_pid='' web1_pid='' web2_pid='' # also read by eval below

move()
{
	"$BUILD_ROOT/tests/traffic" "$T/pair.yml" 1 "$@"
}

answers()
{
	curl -sf -m 5 "http://127.0.0.1:$1/health"
}

# serve MEMBER VERSION: ends by itself after two minutes
serve()
{
	"$BUILD_ROOT/tests/webd" --listen $((front + $1)) --version "$2" --grace 200 --crash 120000 >>"$T/webd.log" 2>&1 &
	eval "web$1_pid=$!"
	await answers $((front + $1))
}

unserve()
{
	eval "unserve_pid=\$web$1_pid"
	kill "$unserve_pid" && { wait "$unserve_pid" || :; }
	eval "web$1_pid="
}

haproxy_up()
{
	haproxy -db -f "$T/haproxy.cfg" >>"$T/haproxy.log" 2>&1 &
	haproxy_pid=$!
	await answers "$front"
}

haproxy_down()
{
	kill -9 "$haproxy_pid" && { wait "$haproxy_pid" 2>/dev/null || :; }
	haproxy_pid=''
}

balanced()
{
	cat >"$T/haproxy.cfg" <<-X
		global
			stats socket $T/h.sock mode 600 level admin
			nbthread 2
		defaults
			mode http
			timeout connect 5s
			timeout client 30s
			timeout server 30s
			retries 0
		frontend front
			bind 127.0.0.1:$front
			option idle-close-on-response
			default_backend web
		backend web
			balance roundrobin
			option httpchk GET /health
			default-server check inter 200ms fall 2 rise 1 ${1:-}
			server web1 127.0.0.1:$((front + 1))
			server web2 127.0.0.1:$((front + 2))
	X
	cat >"$T/pair.yml" <<-X
		traffic:
		- haproxy: {socket: $T/h.sock, backend: web, servers: {1: web1, 2: web2}}
	X
	serve 1 1 && serve 2 1 && haproxy_up
}

upgrade()
{
	move drain "$1" 15000 && unserve "$1" && serve "$1" "$2" && move ready "$1" 15000
}

put_down()
{
	for put_pid in $haproxy_pid $web1_pid $web2_pid; do
		kill -9 "$put_pid" 2>/dev/null || :
	done
}
