# SPDX-License-Identifier: Apache-2.0
# An upgrade on two members: two agents on two addresses of the loopback interface, each with services of its own, from either of them.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/hosts.sh"
need bzip2 python3

# web VERSION [PROBE]: a package with a service, whose health is asked of PROBE
web()
{
	mkdir -p stage/bin stage/share/slipway/component stage/share/web
	printf '#!/bin/sh\nexec sleep 100000\n' >stage/bin/web
	printf '#!/bin/sh\n%s\n' "${2:-true}" >stage/bin/probe
	chmod +x stage/bin/web stage/bin/probe
	echo "$1" >stage/share/web/version
	cat >stage/share/slipway/component/web.yml <<X
services:
  web:
    command: [bin/web]
    stop-timeout: 1s
    start-timeout: 3s
    health:
      interval: 100ms
      probes: [{command: [bin/probe]}]
X
	package stage web "$1"
}
web 1.0
web 1.1
# shellcheck disable=SC2016 # it expands there
web 1.2 'case $0 in */h1/*) exit 1;; esac'
web 1.3 "until test -e $T/go; do sleep 0.1; done"
web 1.4
"$SLIPWAY" -q channel publish ch ./*.tar.bz2

# are STATE VERSION: both members, and what each runs
are()
{
	for m in 1 2; do
		on "$m" show issu state detail -n web --json >is && on "$m" show version -n web --json >v || return 1
		python3 -c '
import json, sys
s = json.load(open("is"))["environments"][0]
v = json.load(open("v"))["environments"][0]
is_ = [s["state"], v["version"]]
assert is_ == sys.argv[2:], "member %s: %s" % (sys.argv[1], is_)' "$m" "$1" "web $2" || return 1
		on "$m" status --json >st || return 1
		python3 -c '
import json, sys
g = json.load(open("v"))["environments"][0]["generation"]
s = json.load(open("st"))["services"]
assert [x["generation"] for x in s if x["state"] == "running"] == [g], s' || return 1
	done
}

state_is()
{
	on "$1" show issu state detail -n web --json >is
	python3 -c 'import json, sys; s = json.load(open("is"))["environments"][0]["state"]; assert s == sys.argv[1], s' "$2"
}

# say PATTERN...: lines of the last command, in this order
say()
{
	python3 - "$@" <<'X'
import sys
lines = open("out").read().split("\n")
at = 0
for want in sys.argv[1:]:
    while at < len(lines) and want not in lines[at]:
        at += 1
    assert at < len(lines), "'%s' is missing, or in another place, in:\n%s" % (want, "\n".join(lines))
    at += 1
X
}

for h in 1 2; do
	mkdir -p "h$h"
	printf 'autostart: ignore\nreserve: 1 MB\n' >"h$h/config.yml"
	on "$h" -q channel add "$T/ch" --name ch
done
at1=127.0.0.2:$(free_port 127.0.0.2)
at2=127.0.0.3:$(free_port 127.0.0.3)
t 'two agents' begin_agent 1
t 'two agents, the other one' begin_agent 2
join()
{
	on 1 -q pair init --name one --listen "$at1" >invitation && on 2 -q pair join - --name two --listen "$at2" <invitation
}
t 'a pair' join

# -- a first version --------------------------------------------------------------------------------------------------
first()
{
	on 1 install add web=1.0 -n web activate commit >out && on 1 start web && on 2 start web && are none 1.0
}
t 'a first version gets to both members in one shot' first
t 'its lines are those of the document' say '--- Starting initial file syncing ---' '[1]: Copying' \
	'[2]: Finished copying to member 2' 'Finished initial file syncing' '--- Starting Add ---' \
	'Performing Add on all members' '  [1] Add package(s) on member 1' '  [1] Finished Add on member 1' \
	'  [2] Add package(s) on member 2' '  [2] Finished Add on member 2' 'Checking status of Add on [1 2]' \
	'Add: Passed on [1 2]' 'Finished Add' 'NOTE: Going to start Oneshot ISSU install process' \
	'STAGE 0: Initial System Level Sanity Check before starting ISSU' 'SUCCESS: install_add_activate_commit'

# -- three steps ------------------------------------------------------------------------------------------------------
added()
{
	on 2 install add web=1.1 >out && are added 1.0
}
t 'add on one of them is add on both' added
roots()
{
	on 2 show version -n web >out && say "[1] $T/h1: " "[2] $T/h2: "
}
t 'show version has the root of each' roots
activated()
{
	on 1 install activate issu --progress-fd 3 3>events >out && sleep 1.1 && are activated 1.1
}
t 'activate, from the other one' activated
t 'the stages, standby first' say 'STAGE 0: Initial System Level Sanity Check before starting ISSU' \
	'--- Verifying install_issu supported ---' '--- Verifying standby is in Standby Hot state ---' \
	'--- Verifying booted from the valid media ---' '--- Verifying AutoBoot mode is enabled ---' \
	'Finished Initial System Level Sanity Check' 'STAGE 1: Installing software on Standby' \
	'--- Starting install_remote ---' 'Performing install_remote on member 2' \
	'  [2] install_remote package(s) on member 2' 'will expire in 7200 seconds' \
	'  [2] Finished install_remote on member 2' 'install_remote: Passed on [2]' 'Finished install_remote' \
	'STAGE 2: Restarting Standby' '--- Starting standby reload ---' 'Finished standby reload' \
	'--- Starting wait for Standby to reach terminal redundancy state ---' \
	'Finished wait for Standby to reach terminal redundancy state' 'STAGE 3: Installing software on Active' \
	'  [1] install_active package(s) on member 1' 'install_active: Passed on [1]' \
	'STAGE 4: Restarting Active (switchover to standby)' '--- Starting active reload ---' \
	'SUCCESS: install_activate'
events()
{
	python3 -c '
import json
v = [json.loads(l) for l in open("events")]
v = [x for x in v if x["event"] == "upgrade"]
assert [x["stage"] for x in v if x["kind"] == "stage"] == [0, 1, 2, 3, 4], v
assert [x["member"] for x in v if x["kind"] == "member" and x["text"] == "install_remote"] == [2, 2], v
assert v[-1]["kind"] == "end" and "failure" not in v[-1], v'
}
t 'as events, too' events
shown()
{
	on 2 show issu state detail -n web >out && say 'Operating mode: pair, member 2 is active, terminal state reached' \
		"Member 1: activated state, runs 'web 1.1' (generation 2, uncommitted)" "Member 2: activated state" &&
		on 1 show install summary -n web >out && say '[ Member 1 2 ] Installed Package(s)' 'ENV   U   2  web 1.1' 'Auto abort timer: automatic'
}
t 'what is shown of both' shown
# What each has in its own log is shown of both, on either: who was which, the switch-over, and the timer that ends first.
shown_alike()
{
	for m in 1 2; do
		on "$m" show issu state detail -n web >out && say 'Activate location standby member 2  ' 'Switchover  ' \
			'State transition: Added -> Standby activated -> Active switched-over' \
			'remaining time before rollback: 01:59:' || return 1
		on "$m" status >out && say "operation of 'web': activated; auto-abort timer: 01:59:" || return 1
		on "$m" show redundancy -n web --json >red || return 1
		python3 -c '
import json, time
x = json.load(open("red"))
for m in x["environments"][0]["members"]:
    assert m["state_ms"] < 600000 < m["uptime_ms"] or m["uptime_ms"] < 600000, m' || return 1
	done
	on 1 show issu state detail -n web | grep -q '^Activate location active member 1  '
}
t 'alike on both' shown_alike
committed()
{
	on 1 install commit >out && are none 1.1 && say '--- Starting install_commit_2 ---' '[2] Finished install_commit_2 on member 2' \
		'STAGE 1: Dispatching the commit command to remote' '--- Starting install_commit_remote ---' \
		'install_commit_remote: Passed on [1]' 'SUCCESS: install_commit'
}
t 'commit on both' committed
# Either has the stages with their times, and who asked where.
logged()
{
	for m in 1 2; do
		on "$m" show install log -n web --json >log.json || return 1
		python3 -c '
import json, sys
log = json.load(open("log.json"))["environments"][0]["log"]
who = {x["operation"]: x["who"] for x in log if x["to"] == 2}
other = " (member %d)" % (3 - int(sys.argv[1]))
assert [who[k].endswith(other) for k in ("add", "activate", "commit")] == ([True, False, False] if sys.argv[1] == "1" else [False, True, True]), who
assert not any(x["command"].endswith("slipway agent") for x in log), log
steps = [s for s in log[-1]["steps"] if s["name"].startswith("STAGE")]
assert [s["name"] for s in steps] == ["STAGE 1: install_remote", "STAGE 2: standby reload",
    "STAGE 2: wait for Standby to reach terminal redundancy state", "STAGE 3: install_active", "STAGE 4: active reload",
    "STAGE 0: install_commit_2", "STAGE 1: install_commit_remote"], steps
assert all(s["result"] == "passed" and s["took_ms"] >= 0 for s in steps) and sum(s["took_ms"] for s in steps) > 0, steps' "$m" || return 1
	done
}
t 'the log on both has who and how long' logged
aborted()
{
	on 1 -q install add web=1.4 && on 1 -q install activate issu && are activated 1.4 && on 2 install abort issu >out && are none 1.1
}
t 'abort on both' aborted

# -- one of them stopped ----------------------------------------------------------------------------------------------
cold='standby is in Standby Hot state'
# refuses MEMBER WORDS...: for the standby's sake, dry and in earnest, with the command that mends it
refuses()
{
	refuses_on=$1
	shift
	must_fail 1 on "$refuses_on" "$@" --dry-run --json && grep -q "$cold.*services are not started; 'slipway[^']* start web' there" out &&
		must_fail 1 on "$refuses_on" "$@" --dry-run && grep -q "$cold: .*its services are not started" err && ! grep -q "$cold: passed" err &&
		must_fail 1 on "$refuses_on" "$@" && grep -q "$cold: .*its services are not started" err
}
standby_stopped()
{
	on 1 show redundancy -n web --json >red &&
		standby=$(python3 -c 'import json; print(3 - json.load(open("red"))["active"])') && on "$standby" stop web
}
cold_is_told()
{
	standby_stopped && on 1 -q install add web=1.4 && refuses 1 install activate issu && refuses 2 install activate commit
}
t 'a standby that is stopped is not hot, in a dry run neither' cold_is_told
boot_told()
{
	on 1 show boot system -n web >out && say "Manual Boot = no" && [ "$(grep -c 'web: its services are stopped, none of them starts at boot' out)" = 1 ] &&
		on 1 show boot system -n web --json >boots &&
		python3 -c '
import json, sys
v = json.load(open("boots"))["environments"][0]["members"]
assert [m["member"] for m in v if m["stopped"]] == [int(sys.argv[1])], v' "$standby"
}
t 'show boot system says what does not start' boot_told
# A refusal for another reason complains of nothing else.
only_the_reason()
{
	for m in 1 2; do
		must_fail 1 on "$m" install add web=1.2 && ! grep -q AutoBoot err && must_fail 1 on "$m" install add web=1.2 --dry-run &&
			! grep -q AutoBoot err || return 1
	done
}
t 'a second add is refused for what it is' only_the_reason
not_committed()
{
	on 1 install activate && on 1 show issu state detail -n web >out &&
		say 'State transition: Added -> Standby activated -> Active activated' && refuses 1 install commit && refuses 2 install commit &&
		state_is 1 activated && on 1 install rollback --dry-run >out 2>&1 &&
		say "an install operation is in state 'activated': to go back is to abort it"
}
t 'nor for a commit, whose switch-over there was none' not_committed
# By choice of whoever stopped both.
both_stopped()
{
	on $((3 - standby)) stop web && on 1 install commit --dry-run >out 2>&1 && say "$cold: passed" && on 2 install commit >out &&
		say "$cold" 'SUCCESS: install_commit' && state_is 1 none && state_is 2 none && on 1 start web && on 2 start web
}
t 'with both stopped it is committed' both_stopped
one_shot_dry()
{
	on 1 install add web=1.1 activate issu commit --dry-run >out 2>&1 && say "check $cold: passed" 'becomes current and committed' && are none 1.4
}
t 'a dry run of one shot has the checks of activate' one_shot_dry
one_shot_refused()
{
	on "$standby" stop web && refuses 1 install add web=1.1 activate issu && state_is 1 none && state_is 2 none && on "$standby" start web &&
		on 1 -q install rollback && are none 1.1
}
t 'which refuse it before anything is added' one_shot_refused
t 'with nothing under way abort says so' sh -c '"$0" --root "$1/h1" install abort issu | grep "nothing to abort"' "$SLIPWAY" "$T"
t 'commit of nothing is refused' must_fail 1 on 1 install commit
t 'with the reason' has 'nothing is uncommitted' err
timer_stops()
{
	on 1 -q install add web=1.4 && on 1 -q install activate issu && on 1 -q install auto-abort-timer stop || return 1
	for m in 1 2; do
		on "$m" show install summary -n web | grep -q 'timer: stopped' || return 1
		on "$m" status >out && say 'auto-abort timer: stopped' || return 1
	done
	on 2 install auto-abort-timer stop >out && say 'stopped already on both members' 'SUCCESS: auto_abort' || return 1
	! grep 'Failed' out && on 1 -q install abort issu && are none 1.1
}
t 'the timer is stopped on both' timer_stops
rolled_back()
{
	on 1 -q install add web=1.4 activate issu commit && are none 1.4 && on 2 install rollback to 2 >out && are none 1.1 &&
		! grep 'will expire' out
}
t 'back to an earlier generation by its recipe, on both' rolled_back
again()
{
	on 1 install rollback to 2 2>err && has '^nothing to do: .* generation 2 already, as generation [0-9]*$' err &&
		on 1 install rollback to 2 --json >out && has '"to": 2' out && has '"current": [3-9]' out && are none 1.1
}
t 'what runs on both already is not made anew' again
further()
{
	on 1 install rollback --dry-run 2>err >out && has 'generation [0-9]* -> 1:' err && has 'a copy of generation 1, becomes current' err &&
		on 1 install rollback --json >out 2>err && has '"to": 1' out && has '"current": [3-9]' out &&
		are none 1.0 || return 1
	for m in 1 2; do
		must_fail 1 on "$m" install rollback && has 'nothing to go back to' err || return 1
	done
	on 2 install rollback to 2 2>err && has 'generation 2 again, on both members: here as generation' err && are none 1.1
}
t 'one more goes one more back, and does not go forward again' further
patched()
{
	on 1 env export -n web >now.spr && printf 'recipe 1\nname web\nchannel %s\nspec web=1.4\n' "$T/ch" >patch.spr &&
		on 1 spot --prepare=patch.spr --environment=web && are none 1.1 && on 1 spot --apply=patch.spr --environment=web >out && are none 1.4 &&
		on 2 spot --apply=now.spr --environment=web && are none 1.1
}
t 'spot --apply patches both, in one shot' patched
t 'an environment is changed on one member alone, and that is said' sh -c '"$0" --root "$1/h1" env create -n own 2>&1 | grep "on this member of the pair alone"' "$SLIPWAY" "$T"
labelled()
{
	on 2 install label 4 keep 2>err && has 'on this member alone' err && on 2 show install summary >out &&
		has '^Numbers, labels and inactive generations are those of member 2' out &&
		on 1 install remove inactive -n web --dry-run 2>err && has '^member 2: would remove its own .* but for those with a label there' err &&
		on 2 -q install label 4 ''
}
t 'a label is one member'"'"'s, which is said' labelled
inactive()
{
	on 1 -q install remove inactive -n web && [ "$(find h1/env/web -maxdepth 1 -name '[0-9]*' | wc -l)" = 1 ] &&
		[ "$(find h2/env/web -maxdepth 1 -name '[0-9]*' | wc -l)" = 1 ]
}
t 'inactive ones are removed on both' inactive

# -- what fails -------------------------------------------------------------------------------------------------------
sick()
{
	must_fail 4 on 1 install add web=1.2 -n web activate issu commit && has 'undone on both members: member 1' err && are none 1.1
}
t 'a version that is sick on one member is left on both' sick
hang()
{
	rm -f go
	on 1 -q install add web=1.3 -n web || return 1
	setsid "$SLIPWAY" --root "$T/h$1" install activate issu -n web --wait 30 >out 2>err &
	command=$!
	await state_is 1 activating
	sleep 0.3
}
killed()
{
	hang 1 || return 1
	kill -9 "$command"
	wait "$command" 2>/dev/null
	touch go
	await are none 1.1
}
t 'the command is killed in the middle: the agents take both back' killed
agent_dies()
{
	hang 1 || return 1
	kill -9 "$agent2"
	touch go
	wait "$command" && return 1
	has 'member 2' err && begin_agent 2 && await are none 1.1
}
t 'the agent of the other member dies in the middle: both go back' agent_dies
alone()
{
	on 1 -q install add web=1.4 -n web && on 1 -q install activate issu -n web && are activated 1.4 || return 1
	kill -9 "$agent2"
	on 1 show issu state detail -n web >out && has '^Next: .*install abort issu' out && hasnt '^Back' out || return 1
	must_fail 1 on 1 install commit -n web && has 'member 2 does not answer' err || return 1
	must_fail 5 on 1 install abort issu -n web && has "member 1 runs 'web 1.1'" err && has 'member 2 does not answer' err || return 1
	state_is 1 none && begin_agent 2 && await are none 1.1
}
t 'without the other one only abort is possible, and the other one follows' alone
# Member 2 is held, so that its agent cannot settle it at once.
left_over()
{
	on 1 -q install add web=1.4 -n web && on 1 -q install activate issu -n web && are activated 1.4 || return 1
	kill -9 "$agent2"
	must_fail 5 on 1 install abort issu -n web || return 1
	python3 -c 'import fcntl, time
f = open("h2/env/.web.lock", "a")
fcntl.flock(f, fcntl.LOCK_EX)
open("locked", "w").close()
time.sleep(60)' &
	holder=$!
	await test -e locked && begin_agent 2 && await left_over_is_told
	told=$?
	kill "$holder"
	[ "$told" = 0 ] && await are none 1.1
}
left_over_is_told()
{
	on 1 show issu state detail -n web >out && has 'No ISSU operation is in progress' out && has '^Member 2: activated state' out &&
		has '^Next: .*install abort issu -n web$' out
}
t 'what is left over on the other member is told with the command that goes on' left_over
rings()
{
	on 1 -q install add web=1.4 -n web && on 2 -q install activate issu -n web --auto-abort 2s && await are none 1.1 &&
		on 1 show install log -n web >out && grep -q 'auto-abort' out
}
t 'the timer takes both back' rings

on 1 -q agent stop --services
on 2 -q agent stop --services
kill "$agent1" "$agent2" 2>/dev/null
done_testing
