# SPDX-License-Identifier: Apache-2.0
# A hand-over under systemd: the new version starts on the open sockets, beside the old one. Under load all the time, with versions that
# take long to start, with commands that are killed, with units that an earlier slipway wrote.
# SLIPWAY_ROUNDS (4): upgrades and aborts under load; 100 is what is promised. SLIPWAY_KILLS (45): every how many system calls a command is
# killed; 1 is all of them.
. "${SOURCE_ROOT:-.}/tests/lib/systemd.sh"
if [ -z "${OWN_RUN-}" ] && can_own_run; then in_own_run "$0"; fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
[ -n "${OWN_RUN-}" ] || skip_all 'kernel: this user cannot mount in a namespace of its own'
need tar bzip2 python3 unshare systemctl systemd-run
rounds=${SLIPWAY_ROUNDS:-4} stride=${SLIPWAY_KILLS:-45}
load_pid=''

leave()
{
	[ -z "$load_pid" ] || kill "$load_pid" 2>/dev/null
	leave_systemd
	rm -rf "$T"
}
trap leave EXIT
own_systemd || skip_all "$own_systemd_why"

sw()
{
	"$SLIPWAY" "$@"
}

free_port()
{
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
port=$(free_port) other=$(free_port) units=$HOME/.config/systemd/user

# server VERSION SOCKETS [OPTION] [PROBE]: a package with the example server
server()
{
	mkdir -p stage/bin stage/share/slipway/component
	printf '#!/bin/sh\nexec "%s" "$@"\n' "$BUILD_ROOT/tests/webd" >stage/bin/web
	chmod +x stage/bin/web
	cat >stage/share/slipway/component/web.yml <<-X
		services:
		  web:
		    command: [bin/web, --version, '$1', --crash, '600000'${3:+, $3}]
		    ready: notify
		    sockets: {$2, health: private}
		    health:
		      interval: 200ms
		      probes: [{http: {address: health, path: /health}}, {http: {address: '127.0.0.1:$port', path: /health}}${4:+, $4}]
	X
	package stage web "$1"
}

# job VERSION: a package with a service that must never run twice
job()
{
	mkdir -p stage/bin stage/share/slipway/component
	cat >stage/bin/job <<-X
		#!/bin/sh
		exec 9>"$T/job.lock"
		flock -n 9 || { echo twice >>"$T/twice"; exit 3; }
		trap 'sleep 0.3; exit 0' TERM
		echo $1 >"$T/job"
		while :; do sleep 0.05 9>&-; done
	X
	chmod +x stage/bin/job
	printf 'services: {job: {command: [bin/job]}, last: {command: [/bin/sleep, 3600], after: [job]}}\n' >stage/share/slipway/component/job.yml
	package stage job "$1"
}

answers()
{
	got=$(python3 -c "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:${2:-$port}/').read().decode().split()[0])")
	[ "$got" = "$1" ] || { echo "'$got' serves, not '$1'"; return 1; }
}

answers_soon()
{
	for _ in $(seq 100); do
		answers "$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	answers "$@"
}

begin_load()
{
	"$BUILD_ROOT/tests/load" -d 600 "127.0.0.1:$port" >load.out 2>&1 &
	load_pid=$!
	sleep 0.2
}

# end_load WHAT MAX_MS: nothing failed, and nobody waited longer
end_load()
{
	sleep 0.2
	kill "$load_pid"
	wait "$load_pid"
	load_rc=$?
	load_pid=''
	echo "# $1: $(cat load.out)" >&3
	[ "$load_rc" = 0 ] || { cat load.out; return 1; }
	grep -q '"failed": 0,' load.out && ! grep -q '"requests": 0,' load.out || return 1
	gap=$(sed 's/.*"longest_gap_ms": \([0-9]*\).*/\1/' load.out)
	[ "$gap" -lt "$2" ] || { echo "the longest gap was $gap ms"; return 1; }
}

# alone ENV SERVICE UNIT: this unit runs, a boot starts it, and of the service there is no other one
alone()
{
	# shellcheck disable=SC2046 # one line a unit
	set -- "$1" "$2" "$3" $(systemctl --user list-units --all --plain --no-legend "slipway-$1-$2.service" "slipway-$1-$2@*.service" |
		awk '$3 != "inactive" { print $1 }')
	[ "$#${4-}" = "4$3" ] || { echo "not '$3' alone: $*"; return 1; }
	[ "$(show "$3" ActiveState)" = active ] || { echo "$3 is $(show "$3" ActiveState)"; return 1; }
	[ "$(unit "$1" "$2")" = "$3" ] || { echo "a boot starts '$(unit "$1" "$2")'"; return 1; }
	files=$(cd "$units" && ls -d "slipway-$1-$2"[.@]*service)
	[ "$files" = "$3" ] || { echo "units: $files"; return 1; }
}

# no_leftovers: no private socket of a version that does not run, neither as a unit nor as a file
no_leftovers()
{
	n=${1##*@} n=${n%.service}
	set -- "$units"/slipway-e-web-health*.socket
	[ "$*" = "$units/slipway-e-web-health@$n.socket" ] || { echo "sockets: $*"; return 1; }
	set -- "$SLIPWAY_ROOT"/run/e/web/*.sock
	[ "$*" = "$SLIPWAY_ROOT/run/e/web/health.$n.sock" ] || { echo "files: $*"; return 1; }
}

exec 3>&2
http="http: '127.0.0.1:$port'"
server 1 "$http"
server 2 "$http"
server 11 "$http" "--slow-start, '2000'"
server 12 "$http" "--slow-start, '2000'"
server 3 "$http, more: '127.0.0.1:$other'"
server 4 "www: '127.0.0.1:$port'"
server 5 "$http" --fail-health
server 6 "$http" '' '{command: [/bin/false]}'
job 1
job 2
mkdir -p "$SLIPWAY_ROOT"
echo 'services: systemd-user' >"$SLIPWAY_ROOT/config.yml"
t 'a channel' runs sw channel publish ch ./*.tar.bz2
t 'an environment' sw env create -n e -c ch web=1
python3 -c "import socket, time; s = socket.create_server(('127.0.0.1', $port)); print(flush=True); time.sleep(600)" >taken &
taken_pid=$!
for _ in $(seq 50); do [ -s taken ] || sleep 0.1; done
t 'a port that is taken' must_fail 1 sw start e
t 'is told of' has "unit 'slipway-e-web-http.socket' is failed: resources; 'journalctl --user -u slipway-e-web-http.socket'" err
t 'and no unit is left' test -z "$(find "$units" -name 'slipway-e-*')"
kill "$taken_pid"
wait "$taken_pid" 2>/dev/null
t 'its service' runs sw start e
t 'one unit' alone e web slipway-e-web@1.service

# -- load --

begin_load
t 'a version that starts slowly' runs sw install add web=11 -n e -c ch activate issu
t 'serves' answers 11
t 'alone' alone e web slipway-e-web@2.service
t 'abort' runs sw install abort issu -n e
t 'the old one serves' answers 1
t 'nobody waited for the start' end_load 'a slow start, and back' 1000
t 'and nothing is left of it' no_leftovers slipway-e-web@1.service
t 'slowly there' runs sw install add web=11 -n e -c ch activate issu commit
begin_load
t 'and from slow to slow' runs sw install add web=12 -n e -c ch activate issu commit
t 'nobody waited for the start' end_load 'from a slow start to another' 1000
t 'quick ones' runs sw install add web=1 -n e -c ch activate issu commit

many()
{
	i=0 version=1
	while [ "$i" -lt "$rounds" ]; do
		i=$((i + 1))
		sw install add "web=$((3 - version))" -n e -c ch activate issu || return 1
		if [ $((i % 2)) = 1 ]; then
			sw install abort issu -n e || return 1
		else
			sw install commit -n e || return 1
			version=$((3 - version))
		fi
		[ $((i % 10)) != 0 ] || sw install remove inactive -n e || return 1
	done
}
begin_load
t "$rounds upgrades, half of them aborted" runs many
t 'no request failed, and nobody waited long' end_load "$rounds upgrades, half of them aborted" 1000
last=$(unit e web)
t 'one unit is left' alone e web "$last"
t 'and its socket' no_leftovers "$last"

begin_load
t 'what does not become healthy' must_fail 4 sw install add web=5 -n e -c ch activate issu
t 'leaves the old one running' has 'runs on' err
t 'which is the one that ran' alone e web "$last"
t 'and is asked all the time' end_load 'a version that is not healthy' 1000
t 'nothing is left of it' no_leftovers "$last"

begin_load
t 'what is found to be ill when it serves alone' must_fail 4 sw install add web=6 -n e -c ch activate issu
t 'gives way to the old one' has 'the old version was started again' err
t 'which runs alone' alone e web "$last"
t 'and nobody noticed' end_load 'back when the old one had gone' 1000

begin_load
t 'another socket' runs sw install add web=3 -n e -c ch activate issu
t 'is answered' answers 3 "$other"
t 'abort' runs sw install abort issu -n e
t 'closes it' must_fail 1 answers 3 "$other"
t 'while the first one stays' end_load 'a further socket, and back' 1000
begin_load
t 'the address under another name' runs sw install add web=4 -n e -c ch activate issu
t 'answers' answers 4
t 'abort' runs sw install abort issu -n e
kill "$load_pid"
wait "$load_pid" 2>/dev/null
load_pid=''
t 'is a socket that had to be closed' test ! -e "$units/slipway-e-web-www.socket"
t 'the old one is back' alone e web "$last"

# -- killed --

# settled: what a command that was killed left comes to rest, at the version that was committed
settled()
{
	sw agent settle -n e || return 1
	sw show issu state detail -n e | grep -q 'No .* operation is in progress' || sw -q install abort issu -n e || return 1
	alone e web "$last" && no_leftovers "$last"
}

# A systemctl that kills who called it, before or after it has done its Nth change.
mkdir bin
cat >bin/systemctl <<'X'
#!/bin/sh
case $3 in show) exec "$REAL" "$@" ;; esac
n=$(($(cat "$T/calls") + 1))
echo "$n" >"$T/calls"
[ "$n$WHEN" != "${AT}before" ] || { kill -9 $PPID; exit 1; }
"$REAL" "$@"
rc=$?
[ "$n$WHEN" != "${AT}after" ] || kill -9 $PPID
exit "$rc"
X
chmod +x bin/systemctl
REAL=$(command -v systemctl)
export REAL

# killed AT before|after COMMAND...: fails where it has come to its end, before it was killed
killed()
{
	echo 0 >calls
	AT=$1 WHEN=$2
	export AT WHEN
	shift 2
	PATH="$T/bin:$PATH" "$@" >killed.out 2>&1
	[ $? = 137 ]
}

two=0
sweep()
{
	for when in $2; do
		at=0
		while at=$((at + 1)); do
			sw -q install add web=2 -n e -c ch || return 1
			case $1 in
			activate) killed "$at" "$when" "$SLIPWAY" install activate issu -n e || { sw -q install abort issu -n e; break; } ;;
			abort)
				sw -q install activate issu -n e || return 1
				killed "$at" "$when" "$SLIPWAY" install abort issu -n e || break
				;;
			esac
			[ "$(systemctl --user list-units --plain --no-legend 'slipway-e-web@*.service' | wc -l)" != 2 ] || two=$((two + 1))
			settled || { echo "$1, killed $when call $at"; return 1; }
			points=$((points + 1))
		done
	done
}
version=1
answers 1 >/dev/null 2>&1 || { sw -q install add web=1 -n e -c ch activate issu commit; last=$(unit e web); }
points=0
begin_load
t 'an activation, killed before and after each change of systemd' sweep activate 'before after'
t 'an abort, killed after each' sweep abort after
t 'nobody noticed' end_load "$points commands killed at a call of systemctl" 2000
t 'some had left two versions running' test "$two" -gt 0
echo "# killed at $points calls, $two of them with both versions running" >&3

# At system calls, those of systemctl too.
sweep_calls()
{
	sw -q install add web=2 -n e -c ch || return 1
	"$BUILD_ROOT/tests/killat" -c count 0 after "$SLIPWAY" install activate issu -n e >/dev/null 2>&1
	sw -q install abort issu -n e || return 1
	all=$(cat count) at=$stride points=0
	while [ "$at" -le "$all" ]; do
		sw -q install add web=2 -n e -c ch || return 1
		"$BUILD_ROOT/tests/killat" "$at" after "$SLIPWAY" install activate issu -n e >/dev/null 2>&1
		settled || { echo "killed after system call $at of $all"; return 1; }
		at=$((at + stride)) points=$((points + 1))
	done
}
begin_load
t "an activation, killed after every ${stride}th system call" sweep_calls
t 'nobody noticed' end_load "$points of $all system calls" 2000

# -- the power is cut in the middle --

sw -q install add web=2 -n e -c ch
both()
{
	for at in $(seq 20); do
		killed "$at" after "$SLIPWAY" install activate issu -n e || return 1
		[ "$(systemctl --user list-units --plain --no-legend 'slipway-e-web@*.service' | wc -l)" != 2 ] || return 0
		sw -q agent settle -n e && sw -q install add web=2 -n e -c ch || return 1
	done
	return 1
}
t 'killed while both run' both
t 'the power is cut' kill_manager
t 'a boot' start_manager
settled_alone()
{
	for _ in $(seq 100); do
		! alone e web "$last" >/dev/null || return 0
		sleep 0.1
	done
	alone e web "$last"
}
t 'comes to one version' settled_alone
t 'the old one' answers_soon 1

# -- units of an earlier slipway --

# earlier: as it wrote them
earlier()
{
	n=${last#*@} n=${n%.service}
	sw -q stop e || return 1
	mark="[X-Slipway]
Root=$SLIPWAY_ROOT
Environment=e
Service=web
Generation=$n"
	cat >"$units/slipway-e-web.service" <<-X
		[Unit]
		Description=web of environment e
		After=network.target
		Requires=slipway-e-web-http.socket slipway-e-web-health.socket
		After=slipway-e-web-http.socket slipway-e-web-health.socket
		StartLimitIntervalSec=0

		[Service]
		Type=notify
		ExecStart="$SLIPWAY_ROOT/env/e/$n/bin/web" "--version" "1"
		Environment="SLIPWAY_GENERATION=$n"
		Sockets=slipway-e-web-http.socket slipway-e-web-health.socket
		Restart=on-failure
		KillMode=mixed

		[Install]
		WantedBy=default.target

		$mark
	X
	for socket in "http 127.0.0.1:$port BindIPv6Only=ipv6-only" "health $SLIPWAY_ROOT/run/e/web/health.sock SocketMode=0600"; do
		# shellcheck disable=SC2086 # three words
		set -- $socket
		cat >"$units/slipway-e-web-$1.socket" <<-X
			[Unit]
			Description=Socket $1 for web of environment e

			[Socket]
			ListenStream=$2
			$3
			FileDescriptorName=$1
			Service=slipway-e-web.service
			Backlog=4096

			[Install]
			WantedBy=sockets.target

			$mark
		X
	done
	systemctl --user daemon-reload &&
		systemctl --user enable --quiet slipway-e-web.service slipway-e-web-http.socket slipway-e-web-health.socket &&
		systemctl --user start slipway-e-web.service
}
t 'units of an earlier slipway' earlier
t 'run' alone e web slipway-e-web.service
t 'and are known' sw -q start e
sw -q install add web=11 -n e -c ch
begin_load
t 'they are handed over' runs sw install activate issu -n e
t 'and are gone' alone e web "$(unit e web)"
t 'with their private sockets' test ! -e "$units/slipway-e-web-health.socket"
t 'abort' runs sw install abort issu -n e
t 'is as any other' alone e web "$last"
t 'nobody waited for the start' end_load 'from units of an earlier slipway' 1000
t 'once more' earlier
sw -q install add web=2 -n e -c ch
begin_load
t 'a command that is killed there' killed 3 after "$SLIPWAY" install activate issu -n e
t 'is settled' settled
t 'and nobody noticed' end_load 'killed there' 1000
t 'stop' runs sw stop e
t 'no unit is left' test -z "$(find "$units" -name 'slipway-e-*')"

# -- what does not share --

t 'a service that must not run twice' sw env create -n j -c ch job=1
t 'starts' runs sw start j
t 'and another one after it' prints "network.target slipway-j-job.target" sed -n 's/^After=//p' "$units/slipway-j-last@1.service"
t 'is restarted' runs sw install add job=2 -n j -c ch activate issu commit
t 'as the new version' prints 2 cat job
t 'by a unit of its own' alone j job slipway-j-job@2.service
t 'and never ran twice' test ! -e twice
t 'nor where nothing is to be done' runs sw start j
t 'stop' runs sw stop j
t 'faultless units' hasnt 'Unknown\|Failed to parse\|ignoring' manager.log

done_testing
