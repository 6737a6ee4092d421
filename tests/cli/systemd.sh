# SPDX-License-Identifier: Apache-2.0
# Services and timers on a host without an agent, where systemd runs them: a real systemd, the manager of a user.
. "${SOURCE_ROOT:-.}/tests/lib/systemd.sh"
if [ -z "${OWN_RUN-}" ] && can_own_run; then in_own_run "$0"; fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
[ -n "${OWN_RUN-}" ] || skip_all 'kernel: this user cannot mount in a namespace of its own'
need tar bzip2 python3 unshare systemctl systemd-run

sw()
{
	"$SLIPWAY" "$@"
}

leave()
{
	[ -z "${web_load-}" ] || kill "$web_load" 2>/dev/null
	leave_systemd
	rm -rf "$T"
}
trap leave EXIT
own_systemd || skip_all "$own_systemd_why"

# -- what it runs -------------------------------------------------------------------------------------------------------

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
other=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# server VERSION PORT [OPTION]: a package with the example server
server()
{
	mkdir -p stage/bin stage/share/slipway/component
	printf '#!/bin/sh\nexec "%s" "$@"\n' "$BUILD_ROOT/tests/webd" >stage/bin/web
	chmod +x stage/bin/web
	cat >stage/share/slipway/component/web.yml <<-X
		services:
		  web:
		    command: [bin/web, --version, '$1', --crash, '300000'${3:+, $3}]
		    ready: notify
		    sockets: {http: '127.0.0.1:$2', health: private}
		    health:
		      interval: 200ms
		      probes: [{http: {address: health, path: /health}}, {http: {address: http, path: /health}}]
	X
	package stage web "$1"
}

answers()
{
	got=$(python3 -c "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:${2:-$port}/').read().decode().split()[0])")
	[ "$got" = "$1" ] || { echo "'$got' serves, not '$1'"; return 1; }
}

answers_soon()
{
	for _ in $(seq 400); do
		answers "$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	answers "$@"
}

timers()
{
	systemctl --user list-units --all --plain --no-legend 'slipway-e:auto-abort-*.timer'
}

# Requests on new connections until it is killed: a line for each that failed.
begin_load()
{
	python3 -u - "$port" >load 2>&1 <<-'X' &
		import socket, sys, time
		n = 0
		while True:
		    try:
		        with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as s:
		            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		            got = b""
		            while part := s.recv(4096):
		                got += part
		        if not got.startswith(b"HTTP/1.1 200"):
		            print("failed", got)
		    except OSError as e:
		        print("failed", e)
		    n += 1
		    print("done", n)
		    time.sleep(0.002)
	X
	web_load=$!
}

end_load()
{
	kill "$web_load"
	wait "$web_load" 2>/dev/null
	web_load=
	grep -q '^done 20$' load || { echo 'there was no load'; return 1; }
	hasnt failed load
}

server 1.0 "$port"
server 1.1 "$port"
server 1.2 "$port" --fail-health
server 1.3 "$other"
server 1.4 "$port" "--slow-start, '3000'"
mkdir -p "$SLIPWAY_ROOT"
echo 'services: agent' >"$SLIPWAY_ROOT/config.yml"
t 'a channel' runs sw channel publish ch ./*.tar.bz2
t 'an environment with a service' sw env create -n e -c ch web=1.0
t 'told to leave it to an agent, nothing runs' must_fail 1 sw start e
t 'which says so' has "no agent runs for '.*'; 'slipway agent' is it" err
echo 'services: sometimes' >"$SLIPWAY_ROOT/config.yml"
t 'no such runner' must_fail 1 sw start e
t 'says which there are' has "config.yml:1: 'services' must be auto, agent, systemd or systemd-user" err
echo 'services: systemd-user' >"$SLIPWAY_ROOT/config.yml"
ln -s gone "$HOME/.config/systemd/user/other.target.wants" # somebody else's, which is none of our business
t 'systemd starts it' runs sw start e
t 'it answers' answers 1.0
t 'as a unit' prints active show slipway-e-web@1.service ActiveState
t 'that is there after a boot' prints enabled show slipway-e-web@1.service UnitFileState
t 'with its sockets' prints enabled show slipway-e-web-http.socket UnitFileState
t 'status' runs sw status
t 'says who runs it' has '^no agent; systemd runs the services and rings the timers$' out
t 'and what' has '^e  *web  *running  *1 ' out
t 'as JSON' runs sw status --json
t 'too' has '"services_by": "systemd"' out
t 'show redundancy' runs sw show redundancy -n e
t 'finds nothing wrong with it' hasnt 'Health = ' out
pid=$(show slipway-e-web@1.service MainPID)
t 'an agent has no place here' must_fail 1 sw agent
t 'which says who has' has "systemd runs service 'web' of environment 'e' here (slipway-e-web@1.service): 'slipway stop e' first" err
t 'show boot system' runs sw show boot system -n e
t 'finds it started at boot' has '^Manual Boot = no$' out
systemctl --user disable --quiet slipway-e-web@1.service
t 'show boot system' runs sw show boot system
t 'sees a unit that somebody disabled' has "^    service 'web' of 'e' is to run, and systemd has its unit disabled; 'systemctl --user enable slipway-e-web@1.service' enables it$" out
mv "$HOME/.config/systemd/user/slipway-e-web@1.service" kept
t 'show boot system' runs sw show boot system
t 'sees that there is none' has "^    service 'web' of 'e' is to run, and systemd has no unit of it; .*start e' makes one" out
mv kept "$HOME/.config/systemd/user/slipway-e-web@1.service"
systemctl --user enable --quiet slipway-e-web@1.service
t 'starting twice is fine' runs sw start e
t 'and changes nothing' prints "$pid" show slipway-e-web@1.service MainPID

t 'add' sw install add web=1.1 -n e -c ch
begin_load
sleep 0.3
t 'activate' runs sw install activate issu -n e
t 'the new version answers' answers 1.1
sleep 0.3
t 'and no request was lost' end_load
t 'the timer is one of systemd' sh -c "systemctl --user list-units --plain --no-legend 'slipway-e:auto-abort-*.timer' | grep -q waiting"
t 'what a boot begins with is there' sh -c 'ls "$HOME"/.config/systemd/user/default.target.wants/slipway-settle-*.service'
t 'the unit is of the new generation' prints slipway-e-web@2.service unit e web
t 'commit' sw install commit -n e
t 'ends the timer' test -z "$(timers)"

t 'add what does not become healthy' sw install add web=1.2 -n e -c ch
t 'it goes back by itself' must_fail 4 sw install activate issu -n e
t 'with the reason' has "web.*healthy" err
t 'the old version answers' answers 1.1
t 'its unit is back, too' prints slipway-e-web@2.service unit e web
t 'the timer is none any more' test -z "$(timers)"

t 'add a version on another port' sw install add web=1.3 -n e -c ch
rm "$HOME"/.config/systemd/user/default.target.wants/slipway-settle-* # as if the power had failed between unit and link
t 'activate with a short timer' sw install activate issu -n e --auto-abort 15s
t 'what a boot begins with is there again' sh -c 'ls "$HOME"/.config/systemd/user/default.target.wants/slipway-settle-*.service'
t 'it answers there' answers 1.3 "$other"
t 'the other port is closed' must_fail 1 answers 1.3 "$port"
t 'show tells what is left' runs sw show issu state detail -n e
t 'of the timer' has 'remaining time before rollback: 00:00:\(0[1-9]\|1[0-5]\)' out
t 'with nobody there it goes back' answers_soon 1.1
gone_back()
{
	for _ in $(seq 100); do
		sw show issu state detail -n e >out && grep -q 'No .* operation is in progress' out && return
		sleep 0.1
	done
	cat out
	return 1
}
t 'to a state of rest' gone_back
t 'history' runs sw env history -n e
t 'says that it was the timer' has 'auto-abort' out

t 'once more' sw install add web=1.3 -n e -c ch
t 'activated' sw install activate issu -n e --auto-abort 600s # longer than a busy machine takes to go down and come up
t 'the host goes down' stop_manager
t 'nothing answers' must_fail 1 answers 1.3 "$other"
t 'and comes up' start_manager
t 'with its services' answers_soon 1.3 "$other"
timer_is_back()
{
	for _ in $(seq 100); do
		[ -z "$(timers)" ] || return 0
		sleep 0.1
	done
	systemctl --user --no-pager status 'slipway-*'
	return 1
}
t 'and the timer' timer_is_back
t 'abort' sw install abort issu -n e
t 'the old version answers' answers 1.1
t 'the timer is gone' test -z "$(timers)"

t 'a command that dies in the middle' sw install add web=1.4 -n e -c ch
"$SLIPWAY" install activate issu -n e --auto-abort 600s >/dev/null 2>&1 &
killed=$!
for _ in $(seq 300); do
	ls "$HOME/.config/systemd/user/slipway-e-web@"[3-9]* >/dev/null 2>&1 && break
	sleep 0.02
done
kill -9 "$killed"
wait "$killed" 2>/dev/null
t 'is brought to rest' runs sw agent settle -n e
t 'which is said' has 'note: \|at rest' err
t 'the old version answers' answers_soon 1.1
t 'of the old generation' prints slipway-e-web@2.service unit e web
t 'all of them' runs sw agent settle --json
t 'as JSON' has '"operation": "agent settle"' out
t 'what is no environment any more is at rest' runs sw agent settle -n gone
t 'no other words' must_fail 2 sw agent -n e

sed -i 's/^Root=.*/Root=\/elsewhere/' "$HOME/.config/systemd/user/slipway-e-web@2.service"
t 'the unit of another root' must_fail 1 sw start e
t 'is left alone' has "is the unit of service 'web' of environment 'e' in '/elsewhere': give one of them another name" err
sed -i "s,^Root=.*,Root=$SLIPWAY_ROOT," "$HOME/.config/systemd/user/slipway-e-web@2.service"
mv "$HOME/.config/systemd/user/slipway-e-web@2.service" kept
mkfifo "$HOME/.config/systemd/user/slipway-e-web@2.service"
t 'what is no file in its place' must_fail 1 sw start e
t 'is told with its cure' has "slipway-e-web@2.service' was not written by slipway; move it away" err
mv kept "$HOME/.config/systemd/user/slipway-e-web@2.service"

t 'stop' runs sw stop e
t 'nothing answers' must_fail 1 answers 1.1
t 'no unit is left' test -z "$(find "$HOME/.config/systemd/user" -name 'slipway-e-*')"
t 'status' runs sw status
t 'says so' has '^no services run$' out
t 'the environment goes' sw env remove -n e
t 'faultless units' hasnt 'Unknown\|Failed to parse\|ignoring' manager.log

done_testing
