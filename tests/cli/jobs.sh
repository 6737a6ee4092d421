# SPDX-License-Identifier: Apache-2.0
# The queue of jobs with real workers: logs, capacity, fairness, affinity, deaths of every process, cancelling, draining.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need python3

workers=
trap 'for p in $workers; do kill -9 "$p" 2>/dev/null; done; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
DB=$SLIPWAY_ROOT/build/jobs.db

# worker NAME [OPTION...]: begins one of pool P and waits until it is there; its pid is $pid
worker()
{
	name=$1
	shift
	"$SLIPWAY" worker --pool P --name "$name" "$@" >"$T/$name.out" 2>"$T/$name.err" &
	pid=$!
	workers="$workers $pid"
	await is_there "$name"
}

is_there()
{
	"$SLIPWAY" worker list | grep -q "^P *$1 *\(ready\|paused\)"
}

# gone PID: it has ended
gone()
{
	! kill -0 "$1" 2>/dev/null
}

# submit [OPTION...] -- COMMAND...: in pool P, not followed; its number is $id
submit()
{
	id=$("$SLIPWAY" -q job submit --pool P --detach "$@")
}

# is ID STATE
is()
{
	"$SLIPWAY" job show "$1" --json | grep -q "\"state\": \"$2\""
}

field()
{
	"$SLIPWAY" job show "$1" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$2"
}

# code N COMMAND...: it ends with that code, which may be one that a signal would give
code()
{
	want=$1
	shift
	"$@"
	test $? = "$want"
}

# runs_on ID WORKER
runs_on()
{
	is "$1" running && test "$(field "$1" worker)" = "$2"
}

stamps='^[0-9]\{4\}-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]\.[0-9][0-9]: '
plain() # the log without its moments
{
	"$SLIPWAY" job log "$1" | sed "s/$stamps/TS: /"
}

# -- a job waits, runs, passes -----------------------------------------------------------------------------------------


t 'without a pool' must_fail 2 "$SLIPWAY" job submit -- true
t 'a pool is asked for' has '\-\-pool NAME' err
t 'a wrong name' must_fail 2 "$SLIPWAY" job submit --pool a/b -- true
t 'no command' must_fail 2 "$SLIPWAY" job submit --pool P
submit -- sh -c 'echo one; echo two >&2; printf %s "$SLIPWAY_JOB"'
t 'a job waits for a worker' is 1 waiting
t 'and says so' runs "$SLIPWAY" jobs
t 'in the list' has 'waiting (no worker)' out
submit -- sh -c 'exit 7'
t 'the next one is behind it' runs "$SLIPWAY" jobs
t 'in the list' has 'queued (1 before)' out
cat >want <<'EOF'
TS: Waiting for resource in pool P
TS: Waiting for worker…
EOF
plain 1 >got
t 'the log of one that waits' diff want got
plain 2 >got
t 'of one behind it' diff - got <<'EOF'
TS: Waiting for resource in pool P
EOF
t 'environments are not for everybody' test "$(find "$SLIPWAY_ROOT/build" -maxdepth 1 -name 'jobs.db*' -perm /007)" = ''
worker w1
w1=$pid
t 'a worker takes both' await is 2 failed
cat >want <<EOF
TS: Waiting for resource in pool P
TS: Waiting for worker…
TS: Got resource from pool P
Building on $(uname -n)
one
two
1
Job succeeded
TS: Job succeeded
EOF
plain 1 >got
t 'the log, whole' diff want got
t 'follow one that has passed' runs "$SLIPWAY" job log 1 --follow
t 'follow one that failed' must_fail 7 "$SLIPWAY" job log 2 --follow
"$SLIPWAY" job log 2 >got
t 'says how' has 'Job failed: exit code 7' got
t 'in both voices' test "$(grep -c 'Job failed: exit code 7$' got)" = 2
t 'submitted and followed: its exit code' must_fail 5 "$SLIPWAY" job submit --pool P -- sh -c 'echo here; exit 5'
t 'its output' has '^here$' out
t 'a signal' code 143 "$SLIPWAY" job submit --pool P -- sh -c 'kill -TERM $$'
t 'what cannot be run' must_fail 127 "$SLIPWAY" job submit --pool P -- /no/such/program
t 'says so' has "run '/no/such/program': No such file" out
t 'too long' must_fail 1 "$SLIPWAY" job submit --pool P --time-limit 1 -- sleep 60.$$
t 'says so' has 'Job failed: it ran longer than 1 s' out
t 'no such job' must_fail 1 "$SLIPWAY" job log 999
t 'the list of all' runs "$SLIPWAY" jobs --all
t 'has the failed one' has '2  failed (7)' out

# -- environment, folder, stdin, leftovers -----------------------------------------------------------------------------

mkdir folder
SECRET=s HOME=$HOME "$SLIPWAY" -q job submit --pool P -C folder --env A=b -- sh -c 'pwd; echo "A=$A S=$SECRET"; cat; (sleep 77.'$$' & )' >out 2>&1
t 'its folder' has "^$T/folder$" out
t 'its environment, and no more' has '^A=b S=$' out
t 'leaves nothing behind' must_fail 1 pgrep -xf "sleep 77.$$"

# -- cancelling --------------------------------------------------------------------------------------------------------

submit -- sh -c 'trap "echo caught; exit 0" TERM; sleep 100 & wait'
running=$id
await is "$running" running
submit -- true
t 'cancel one that waits' runs "$SLIPWAY" job cancel "$id"
t 'it is cancelled at once' is "$id" cancelled
t 'cancel one that runs' runs "$SLIPWAY" job cancel "$running"
t 'ends it' await is "$running" cancelled
plain "$running" >got
t 'it was asked first' has '^caught$' got
t 'its log ends so' test "$(tail -n 1 got)" = 'TS: Job cancelled: by root' -o "$(tail -n 1 got)" = "TS: Job cancelled: by $(id -un)"
t 'its code' code 130 "$SLIPWAY" job log "$running" --follow
t 'once more is fine' runs "$SLIPWAY" job cancel "$running"

# -- several followers, and a submitter that goes ----------------------------------------------------------------------

submit -- sh -c 'for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done; exit 3'
"$SLIPWAY" job log "$id" --follow >f1 2>&1 &
p1=$!
"$SLIPWAY" job log "$id" --follow >f2 2>&1 &
p2=$!
wait "$p1"
t 'a follower ends with the job, with its code' test $? = 3
wait "$p2"
t 'the other one too' test $? = 3
t 'both saw the same' diff f1 f2
t 'all of it' test "$(grep -c '^line' f1)" = 5
"$SLIPWAY" job submit --pool P -- sh -c 'sleep 0.5; echo done' >/dev/null 2>&1 &
p1=$!
await sh -c "'$SLIPWAY' jobs | grep -q running"
kill -9 "$p1"
last=$("$SLIPWAY" jobs --last 1 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["jobs"][0]["job"])')
t 'a submitter that is killed leaves its job' await is "$last" passed
"$SLIPWAY" job submit --pool P -- sleep 100 >fo 2>&1 &
p1=$!
await sh -c "'$SLIPWAY' jobs | grep -q running"
kill -INT "$p1"
wait "$p1"
t 'one that is interrupted cancels it' test $? = 130
t 'and says so' has 'Job cancelled: by its submitter' fo

# -- deaths ------------------------------------------------------------------------------------------------------------

submit -- sh -c "echo run; sleep 60.$$"
await sh -c "'$SLIPWAY' job log $id | grep -q '^run$'"
kill -9 "$w1"
worker w2
w2=$pid
t 'a killed worker: the job is queued again, and runs elsewhere' await runs_on "$id" w2
plain "$id" >got
t 'its log says so' has '^TS: Worker w1 went away; waiting for resource in pool P once more$' got
t 'but not at once' test "$(pgrep -xfc "sleep 60.$$")" = 1
await sh -c "[ \$('$SLIPWAY' job log $id | grep -c '^run$') = 2 ]"
kill -9 "$w2"
worker w3
w3=$pid
t 'killed again: it is lost' await is "$id" lost
t 'its log says why' sh -c "'$SLIPWAY' job log $id | grep -q 'Job lost: worker w2 went away, the second one'"
t 'nothing of it runs' must_fail 1 pgrep -xf "sleep 60.$$"
t 'its code' must_fail 1 "$SLIPWAY" job log "$id" --follow
# the runner alone
submit -- sh -c "echo run; sleep 61.$$"
await is "$id" running
pkill -9 -P "$w3" slipway-job
t 'a killed runner: the job is queued again' await sh -c "'$SLIPWAY' job log $id | grep -q 'Worker w3 lost it; waiting for resource'"
await is "$id" running
await pgrep -xf "sleep 61.$$" >/dev/null # the queue says that it runs a moment before it does
t 'and runs once' test "$(pgrep -xfc "sleep 61.$$")" = 1
"$SLIPWAY" -q job cancel "$id"
await is "$id" cancelled
# both at once, and another boot
submit -- sh -c "sleep 62.$$"
await is "$id" running
kill -STOP "$w3"
pkill -9 -P "$w3" slipway-job
kill -9 "$w3"
await gone "$w3"
python3 - "$DB" <<'EOF'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE worker SET boot = 'another', pid = 1")
db.commit()
EOF
t 'a host that started anew: the job waits again' await is "$id" waiting
t 'nothing of it runs' must_fail 1 pgrep -xf "sleep 62.$$"
t 'workers of that time are gone' runs "$SLIPWAY" worker list
t 'all of them' test "$(grep -c gone out)" = 3
"$SLIPWAY" -q job cancel "$id"

# several that see it at once settle it once
for i in 1 2 3 4 5 6; do
	worker "x$i"
	submit -- sh -c "echo run; sleep 67.$$"
	await sh -c "'$SLIPWAY' job log $id | grep -q '^run$'"
	kill -9 "$pid"
	worker "y$i"
	await runs_on "$id" "y$i" || break
	"$SLIPWAY" -q job cancel "$id"
	await is "$id" cancelled
	kill -9 "$pid"
done >said 2>&1
t 'killed again and again, each time settled once' is "$id" cancelled
for i in 1 2 3 4 5 6; do "$SLIPWAY" -q worker forget "x$i" && "$SLIPWAY" -q worker forget "y$i"; done

# -- pausing, draining -------------------------------------------------------------------------------------------------

worker w4
w4=$pid
t 'pause' runs "$SLIPWAY" worker pause w4
submit -- echo paused
sleep 0.3
t 'nothing is taken' is "$id" waiting
t 'the reason' runs "$SLIPWAY" jobs
t 'is told' has 'waiting (paused)' out
kill -TERM "$w4"
t 'TERM drains' await gone "$w4"
worker w4
w4=$pid
sleep 0.2
t 'the pause outlives its restart' is "$id" waiting
t 'resume' runs "$SLIPWAY" worker resume w4
t 'goes on' await is "$id" passed
submit -- sh -c 'sleep 0.5; echo finished'
await is "$id" running
t 'drain' runs "$SLIPWAY" worker drain w4
submit -- echo later
t 'it ends' await gone "$w4"
t 'what ran was finished' is $((id - 1)) passed
t 'what waited waits' is "$id" waiting
t 'forget' runs "$SLIPWAY" worker forget w4
t 'is off the list' must_fail 1 sh -c "'$SLIPWAY' worker list | grep -q w4"
t 'drain of nobody' must_fail 1 "$SLIPWAY" worker drain w4
worker w5 --drain-timeout 1
w5=$pid
await is "$id" passed
t 'forget of one that is there' must_fail 1 "$SLIPWAY" worker forget w5
t 'the same name twice' must_fail 1 "$SLIPWAY" worker --pool P --name w5
submit -- sleep 63.$$
await is "$id" running
kill -TERM "$w5"
t 'time is over: it ends' await gone "$w5"
t 'the job is queued again' is "$id" waiting
t 'which is no loss' test "$(field "$id" losses)" = 0
"$SLIPWAY" -q job cancel "$id"

# -- stuck -------------------------------------------------------------------------------------------------------------

worker w6 --heartbeat 1
w6=$pid
submit -- sh -c "sleep 64.$$"
await is "$id" running
kill -STOP "$w6"
worker w7
w7=$pid
t 'a stuck worker is ended, its job queued again' await runs_on "$id" w7
await pgrep -xf "sleep 64.$$" >/dev/null # the queue says that it runs a moment before it does
t 'and runs once' test "$(pgrep -xfc "sleep 64.$$")" = 1
"$SLIPWAY" -q job cancel "$id"
await is "$id" cancelled
kill -TERM "$w7"
await gone "$w7"

# -- capacity, fairness, affinity --------------------------------------------------------------------------------------

mkdir running
for i in 1 2 3 4 5 6 7 8; do
	submit --client "c$((i % 2))" -- sh -c "touch running/$i; ls running | wc -l >>most; sleep 0.15; rm running/$i"
done
worker w8 --capacity 3
w8=$pid
t 'eight jobs, three at once' await is "$id" passed
await sh -c "[ -z \"\$('$SLIPWAY' -q jobs)\" ]"
t 'never more' test "$(sort -n most | tail -n 1)" = 3
kill -TERM "$w8"
await gone "$w8"
: >order
for i in 1 2 3 4; do submit --client alice -- sh -c "echo a >>order"; done
for i in 1 2 3 4; do submit --client bob -- sh -c "echo b >>order"; done
submit --client carol --urgent -- sh -c "echo c >>order"
worker w9
w9=$pid
await sh -c "[ \$(wc -l <order) = 9 ]"
t 'the urgent one first, then nobody far ahead' python3 - <<'EOF'
order = "".join(open("order").read().split())
assert order[0] == "c", order
ahead = [order[:n].count("a") - order[:n].count("b") for n in range(len(order))]
assert max(map(abs, ahead)) <= 2, order
EOF
kill -TERM "$w9"
await gone "$w9"
: >order
t 'a rate' runs "$SLIPWAY" job rate --pool P dora 3
t 'of nothing' must_fail 2 "$SLIPWAY" job rate --pool P dora 0
for i in 1 2 3 4 5 6; do
	submit --client dora -- sh -c "echo d >>order; sleep 0.05"
	submit --client emil -- sh -c "echo e >>order; sleep 0.05"
done
worker w10
w10=$pid
await sh -c "[ \$(wc -l <order) = 12 ]"
t 'three times as much for her' test "$(head -n 8 order | grep -c d)" -ge 5
kill -TERM "$w10"
await gone "$w10"
mkdir s1 s2
worker near --store s1
near=$pid
"$SLIPWAY" -q job submit --pool P --cache-hint h -- sh -c 'echo "$SLIPWAY_ROOT"; sleep 0.2' >out
t 'a worker with a store of its own' has "^$T/s1$" out
worker far --store s2
for i in 1 2 3 4; do
	"$SLIPWAY" -q job submit --pool P --cache-hint h -- sleep 0.05 >out
	field "$("$SLIPWAY" jobs --last 1 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["jobs"][0]["job"])')" worker
done >places
t 'jobs go where their hint was built' test "$(sort -u places)" = near
kill -9 "$near"
await gone "$near"
t 'and elsewhere when that is gone' runs "$SLIPWAY" -q job submit --pool P --cache-hint h -- true

# -- a machine on its own ----------------------------------------------------------------------------------------------

printf 'pools:\n  own: {capacity: 1, auto: true}\n' >"$SLIPWAY_ROOT/config.yml"
t 'auto: the submitter runs it' runs "$SLIPWAY" job submit --pool own -- echo mine
t 'its output' has '^mine$' out
t 'its code' must_fail 4 "$SLIPWAY" job submit --pool own -- sh -c 'exit 4'
"$SLIPWAY" job submit --pool own -- sh -c 'sleep 0.4; date +%s%N >first' >/dev/null 2>&1 &
p1=$!
await sh -c "'$SLIPWAY' jobs | grep -q running"
t 'a second one waits' runs "$SLIPWAY" job submit --pool own -- sh -c 'test -s first'
wait "$p1"
"$SLIPWAY" job submit --pool own -- sleep 65.$$ >/dev/null 2>&1 &
p1=$!
await sh -c "'$SLIPWAY' jobs | grep -q running"
kill -9 "$p1"
t 'a submitter that is killed takes its job with it' await sh -c "[ -z \"\$('$SLIPWAY' -q jobs)\" ]"
t 'nothing of it runs' must_fail 1 pgrep -xf "sleep 65.$$"
t 'no job is left' runs "$SLIPWAY" jobs --all --json
t 'a submitter leaves no worker behind' test "$("$SLIPWAY" worker list --pool own --json | tr -d ' \n')" = '{"workers":[]}'

# -- a full disk --------------------------------------------------------------------------------------------------------

# In a mount namespace of its own; says on which line it stopped.
cat >full.sh <<'EOF'
set -eu
S=$SLIPWAY
mkdir -p small
mount -t tmpfs -o size=24m tmpfs small
export SLIPWAY_ROOT=$T/small/root
"$S" -q jobs
"$S" worker --pool F >w.out 2>&1 &
w=$!
trap 'kill -9 $w 2>/dev/null || :' EXIT
await() { n=0; until "$@" >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 150 ] || { echo "in vain: $*"; cat w.out; kill -9 $w; exit 1; }; sleep 0.1; done; }
# a job that prints more than there is room for passes, and says what is missing
"$S" -q job submit --pool F -- sh -c 'head -c 40000000 /dev/zero | tr "\\0" x; echo' >log || { echo 'no pass'; cat w.out; exit 1; }
tail -c 300 log | grep -q 'bytes are missing here: No space left' || { echo 'nothing is said to be missing'; tail -c 300 log; exit 1; }
tail -c 300 log | grep -q ': Job succeeded$'
: >small/root/build/log/1
id=$("$S" -q job submit --pool F --detach -- sleep 0.1)
await sh -c "'$S' job show $id | grep -q '^state *passed'"
# no room: nothing is taken until there is some
id=$("$S" -q job submit --pool F --detach -- sh -c 'sleep 1; echo late')
await sh -c "'$S' job show $id | grep -q '^state *running'"
next=$("$S" -q job submit --pool F --detach -- true)
dd if=/dev/zero of=small/fill bs=64k 2>/dev/null || true
await grep -q 'trying again' w.out
sleep 0.3
kill -0 $w
"$S" job show $next | grep -q '^state *passed' && { echo 'ran on a full disk'; exit 1; }
rm small/fill
await sh -c "'$S' job show $id | grep -q '^state *passed'"
await sh -c "'$S' job show $next | grep -q '^state *passed'"
grep -q 'all is well again' w.out
kill -TERM $w
wait $w
EOF
unshare='unshare -rm'
[ "$(id -u)" != 0 ] || unshare='unshare -m'
if $unshare true 2>/dev/null; then
	# shellcheck disable=SC2086 # a command and its option
	t 'a full disk: jobs end, workers live on' $unshare sh full.sh
else
	skip 'a full disk' 'kernel: no mount namespaces here'
fi

done_testing
