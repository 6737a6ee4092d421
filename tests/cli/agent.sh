# SPDX-License-Identifier: Apache-2.0
# The agent and the services that it runs, from the command line.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need tar bzip2 python3

sw()
{
	"$SLIPWAY" "$@"
}

port=$(free_port)

# server VERSION [OPTION]: a package with the example server
server()
{
	mkdir -p stage/bin stage/share/slipway/component
	printf '#!/bin/sh\nexec "%s" "$@"\n' "$BUILD_ROOT/tests/webd" >stage/bin/web
	chmod +x stage/bin/web
	cat >stage/share/slipway/component/web.yml <<-X
		services:
		  web:
		    command: [bin/web, --version, '$1', --crash, '200000'${2:+, $2}]
		    ready: notify
		    sockets: {http: '127.0.0.1:$port', health: private}
		    health:
		      probes: [{http: {address: health, path: /health}}]
	X
	package stage web "$1"
}

# begin_agent: until it answers
begin_agent()
{
	"$SLIPWAY" agent >>log 2>&1 &
	agent=$!
	await sw status || { cat log; return 1; }
}

# ended PID: within 10 s
ended()
{
	tail --pid="$1" -f /dev/null &
	wait $!
	! kill -0 "$1" 2>/dev/null
}

# gone PID: ended, whether or not somebody has asked how
gone()
{
	[ -z "$(readlink "/proc/$1/exe")" ]
}

pid_of_web()
{
	sw status --json | sed -n 's/^ *"pid": \([0-9]*\),$/\1/p' | sed -n 2p
}

# answers VERSION: what serves
answers()
{
	got=$(python3 -c "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:$port/').read().decode().split()[0])")
	[ "$got" = "$1" ] || { echo "'$got' serves, not '$1'"; return 1; }
}

server 1.0
server 1.1
server 1.2 --fail-health
t 'a channel' runs sw channel publish ch ./*.tar.bz2
t 'an environment with a service' sw env create -n e -c ch web=1.0
t 'nothing runs without an agent' must_fail 1 sw start e
t 'which says what to do' has "no agent runs for '.*'; 'slipway agent' is it" err
t 'nor can be shown' must_fail 1 sw status
t 'nor stopped' must_fail 1 sw agent stop
t 'the agent begins' begin_agent
t 'there is one' must_fail 1 sw agent
t 'the second names the first' has "an agent runs already .* locked by process $agent" err
t 'no other verb' must_fail 2 sw agent dance
t 'options go with stop' must_fail 2 sw agent --services
t 'of which environment?' must_fail 2 sw start
t 'no such environment' must_fail 1 sw start none
t 'a dry run starts nothing' runs sw start e --dry-run
t 'and tells what it would start' has "^would start service 'web'$" err
t 'so nothing runs' runs sw status
t 'which is said' has '^no services run$' out
t 'start' runs sw start e
t 'tells each service' has "^starting service 'web'$" err
t 'status shows it' runs sw status
t 'as running' has '^e  *web  *running  *1 ' out
web=$(pid_of_web)
t 'a dry run of stop' runs sw stop e --dry-run
t 'tells what it would stop' has "^would stop service 'web'$" err
t 'and a dry run of start' runs sw start e --dry-run
t 'what runs is not to start' hasnt 'would start service' err
t 'it runs on' test "$(pid_of_web)" = "$web"
t 'starting twice is fine' runs sw start -n e
t 'and starts nothing' test "$(pid_of_web)" = "$web"
t 'stop' runs sw stop e
t 'and it has ended' gone "$web"
t 'start again' runs sw start e
web=$(pid_of_web)
t 'the agent ends' runs sw agent stop
t 'its process, too' ended "$agent"
t 'the service runs on' kill -0 "$web"
t 'another agent' begin_agent
t 'has it' test "$(pid_of_web)" = "$web"
kill -9 "$agent"
wait "$agent" 2>/dev/null
t 'after one that was killed, too' begin_agent
t 'it is the same' test "$(pid_of_web)" = "$web"
kill -TERM "$agent"
t 'a signal ends an agent' ended "$agent"
t 'not its services' kill -0 "$web"
begin_agent
t 'agent stop --services' runs sw agent stop --services
t 'ends both' gone "$web"
begin_agent
web=
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
	web=$(pid_of_web)
	[ -z "$web" ] || break
	sleep 0.2
done
t 'what was started is started with the agent' kill -0 "$web"
t 'stop is for good' runs sw stop e
sw agent stop --services
begin_agent
t 'the next agent runs nothing' runs sw status
t 'and says so' has '^no services run$' out
t 'the end' runs sw agent stop
# -- a component that is the recipe's own
mkdir -p stage/bin recipe
printf '#!/bin/sh\nexec "%s" "$@"\n' "$BUILD_ROOT/tests/webd" >stage/bin/front
chmod +x stage/bin/front
package stage front 1
t 'a package without a component' runs sw channel publish ch front-1-0.tar.bz2
front() # VERSION
{
	cat >recipe/front.yml <<-X
		services:
		  front:
		    command: [bin/front, --version, '$1']
		    ready: notify
		    sockets: {http: '127.0.0.1:$port'}
	X
}
front A
printf 'recipe 2\nchannel ch\nspec front\ncomponent front=front.yml\n' >recipe/front.spr
begin_agent
t 'a recipe with a component' runs sw env create -n r -f recipe/front.spr
t 'which starts' runs sw start r
t 'and answers' answers A
t 'export' sh -c '"$1" env export -n r >r.spr' sh "$SLIPWAY"
t 'has it inside' has '^component front="services:' r.spr
t 'another format' runs sw env export -n r --explicit
t 'says that it has not' has 'note: only a .spr holds the 1 component of this' err
t 'it is exact' runs sw apply r.spr -n r
t 'so that nothing is to do' has 'nothing to do' err
front B
t 'another text' runs sw env update -n r -f recipe/front.spr
t 'is another version of the service' answers B
t 'an update without a recipe' runs sw env update -n r -c ch front
t 'keeps it' answers B
t 'a recipe of before' runs sw install add r.spr activate issu commit -n r
t 'brings the old one back' answers A
sed -e '/^component/d' -e 's/^recipe 2/recipe 1/' r.spr >none.spr
t 'a lock without it' runs sw apply none.spr -n r
t 'has none' must_fail 1 answers A
t 'nor has the prefix' test ! -e root/env/r/current/share/slipway/component/front.yml
t 'what is wrong in it' must_fail 1 sh -c 'echo "services: [" >recipe/front.yml && "$SLIPWAY" env update -n r -f recipe/front.spr'
t 'is named with its place' has "component 'front': recipe/front.yml:2: " err
t 'one that is not there' must_fail 1 sh -c 'rm recipe/front.yml && "$SLIPWAY" env update -n r -f recipe/front.spr'
t 'too' has "component 'front' of 'recipe/front.spr': open 'recipe/front.yml': No such file" err
t 'the agent of the recipe ends' runs sw agent stop --services

# -- upgrades, under load
begin_agent
sw -q channel add ./ch --name ch
t 'start the old version' runs sw start e
"$BUILD_ROOT/tests/load" -c 8 -d 100 "127.0.0.1:$port" >load.out &
load=$!
t 'add' runs sw install add web=1.1 -n e
t 'changes nothing that runs' answers 1.0
t 'activate' runs sw install activate issu -n e
t 'hands over' answers 1.1
t 'status tells of the operation' runs sw status
t 'and its timer' has "^operation of 'e': activated; auto-abort timer: 01:59:" out
t 'abort' runs sw install abort issu -n e
t 'hands back' answers 1.0
t 'in one' runs sw install add web=1.1 activate issu commit -n e
t 'the new version serves' answers 1.1
t 'one that is not well' must_fail 4 sw install add web=1.2 activate issu commit -n e
t 'its history' runs sw env history -n e
t 'says that it failed' has '  *add  *3  *4  *failed: back on generation' out
t 'not that it was activated' hasnt ' activate  *[0-9]*  *4  *done' out
t 'goes back by itself' answers 1.1
t 'no operation is left' runs sw show issu state detail -n e
t 'which is said' has 'No .*operation is in progress' out
t 'rollback' runs sw install rollback to 1 -n e
t 'serves the old version' answers 1.0
t 'add once more' runs sw install add web=1.1 -n e
t 'with a short timer' runs sw install activate issu --auto-abort 3s -n e
t 'it serves' answers 1.1
t 'until nobody came' await answers 1.0
t 'history says who it was' sh -c '"$1" show install log -n e 2>&1 | grep timer' sh "$SLIPWAY"
kill -TERM "$load"
t 'no request was lost' wait "$load"
sed 's/^/# /' load.out
t 'an environment goes with its services' runs sw env remove -n e
t 'none of them runs' runs sw status
t 'says status' has '^no services run$' out
t 'the end of all' runs sw agent stop --services

t 'a unit for systemd' runs sw agent --print-unit
t 'starts this program' has "^ExecStart=.*slipway agent --root \".*/root\"$" out
t 'and leaves services alone' has '^KillMode=process$' out
if command -v systemd-analyze >/dev/null; then
	cp out slipway-agent.service
	t 'systemd reads it' systemd-analyze verify ./slipway-agent.service
fi

done_testing
