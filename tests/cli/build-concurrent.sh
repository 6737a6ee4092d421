# SPDX-License-Identifier: Apache-2.0
# Several builds of the same steps at once: each step is run once, all see what it prints, it goes on as long as one of them wants it, and
# whatever is killed, the next build is right. A step waits for a file of the host's only through a cache folder that nobody else has: what it
# does is seen in its log.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need python3
. "$SOURCE_ROOT/tests/lib/specs.sh"

# start NAME SPEC: in the background, log in NAME.log, exit code in NAME.code, the process in $pid
start()
{
	rm -f "$1.pid" "$1.code" "$1.log" "$1.err"
	(
		env --default-signal=INT "$SLIPWAY" build -f "$2" >"$1.log" 2>"$1.err" &
		echo $! >"$1.pid"
		wait $!
		echo $? >"$1.code"
	) &
	await test -s "$1.pid"
	pid=$(cat "$1.pid")
}
# ends NAME CODE
ends()
{
	await test -s "$1.code" || return 1
	[ "$(cat "$1.code")" = "$2" ] || { echo "exit $(cat "$1.code")"; cat "$1.log" "$1.err"; return 1; }
}
shows()
{
	await grep -qx "$2" "$1.log"
}
# SIGINT is ignored in what a shell runs behind itself: so env.
#
# A step that prints its name, waits till it is let go (a process `sleep N.` of its own number is killed from outside), and ends with a code.
# The number makes it findable: the sandbox's processes are ours to see.
waiting()
{
	echo "(run (shell \"echo $1; sleep $2; echo $1 done; exit $3\"))"
}
processes()
{
	# shellcheck disable=SC2009 # by all of its words
	ps -eo pid=,args= | grep -x " *[0-9]* sleep $1" | sed 's/^ *//; s/ .*//'
}
let_go()
{
	await sh -c "ps -eo args= | grep -qx 'sleep $1'" || return 1
	# shellcheck disable=SC2046 # one or several
	kill $(processes "$1")
}
is_gone()
{
	await sh -c "! ps -eo args= | grep -qx 'sleep $1'"
}
count()
{
	grep -c "$1" "$2"
}
n=$(($$ % 10000))
secret=0
# a number of seconds that no other process sleeps
next()
{
	secret=$((secret + 1))
	nap=$((10000000 + n * 100 + secret))
}

# -- two builds of one step
next
spec ab.spec "$(waiting A $nap 0)" '(run (shell "echo B"))'
spec ac.spec "$(waiting A $nap 0)" '(run (shell "echo C"))'
start one ab.spec
t 'the first one runs the step' shows one A
start two ac.spec
t 'the second sees its output' shows two A
t 'it runs once' test "$(processes $nap | wc -l)" = 1
t 'and goes on' let_go $nap
t 'the first ends' ends one 0
t 'the second too' ends two 0
t 'both have all of its output' sh -c "grep -qx 'A done' one.log && grep -qx 'A done' two.log"
t 'each with its own second step' sh -c "grep -qx B one.log && grep -qx C two.log"
t 'the step is saved for both' test "$(count 'saved as' one.log) $(count 'saved as' two.log)" = '2 2'

# -- one that fails, for both
next
spec fail.spec "$(waiting F $nap 7)"
start one fail.spec
shows one F
start two fail.spec
shows two F
t 'a step that fails' let_go $nap
t 'fails for the one' ends one 1
t 'and for the other' ends two 1
t 'with the same words' sh -c "grep -q 'failed with exit status 7' one.err && grep -q 'failed with exit status 7' two.err"
t 'nothing is left' await idle

# -- fails at once: whoever comes at that moment has its output too
spec quick.spec '(run (shell "echo Q; exit 3"))'
for i in 1 2 3 4; do
	start "q$i" quick.spec
done
quick()
{
	for i in 1 2 3 4; do
		if ! ends "q$i" 1 || ! grep -qx Q "q$i.log" || ! grep -q 'exit status 3' "q$i.err"; then
			cat "q$i.log" "q$i.err"
			return 1
		fi
	done
}
t 'a step that fails at once, for four' quick

# -- cancelled
next
spec wait.spec "$(waiting W $nap 0)"
start one wait.spec
shows one W
kill -INT "$pid"
t 'one that is interrupted' ends one 130
t 'says what became of it' has 'interrupted; the step was ended and left nothing' one.err
t 'its step is ended' is_gone $nap
t 'nothing is left' await idle

next
spec wait.spec "$(waiting W $nap 0)"
start one wait.spec
first=$pid
shows one W
start two wait.spec
shows two W
kill -INT "$first"
t 'of two the first is interrupted' ends one 130
t 'the step goes on' test "$(processes $nap | wc -l)" = 1
let_go $nap
t 'for the second' ends two 0
t 'which has it all' grep -qx 'W done' two.log

next
spec wait.spec "$(waiting W $nap 0)"
start one wait.spec
first=$pid
shows one W
start two wait.spec
shows two W
kill -TERM "$first"
ends one 143
kill -INT "$pid"
t 'both are interrupted' ends two 130
t 'then the step is ended' is_gone $nap
t 'nothing is left' await idle

# -- a new one, while the old one is being cancelled: it waits, and runs the step anew
next
spec wait.spec "$(waiting W $nap 0)"
start one wait.spec
shows one W
kill -INT "$pid"
start two wait.spec
shows two W
ends one 130
t 'a new one runs it anew' let_go $nap
t 'and ends well' ends two 0

# -- one that failed, and its replacement, and one who attaches to that
next
spec again.spec "$(waiting R $nap 9)"
start one again.spec
shows one R
let_go $nap
ends one 1
start two again.spec
shows two R
start three again.spec
shows three R
kill -INT "$(cat two.pid)"
ends two 130
t 'who followed a second try' let_go $nap
t 'has its end' ends three 1
t 'its own words' has 'failed with exit status 9' three.err

# -- kill -9
next
spec nine.spec "$(waiting K $nap 0)"
start one nine.spec
shows one K
kill -9 "$pid"
t 'a killed client' ends one 137
t 'ends its step' is_gone $nap
t 'leaves nothing' await idle
start one nine.spec
first=$pid
shows one K
start two nine.spec
shows two K
kill -9 "$first"
ends one 137
t 'of two clients the first is killed' test "$(processes $nap | wc -l)" = 1
let_go $nap
t 'the other has the step' ends two 0

# the runner: the process that is named in no pid file, and is the sandbox's ancestor
next
spec runner.spec "$(waiting U $nap 0)"
runner_of()
{
	python3 - "$1" "$2" <<'EOF'
import os, sys
def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
pid, client = int(sys.argv[1]), int(sys.argv[2])
while parent(pid) not in (client, 1):
    pid = parent(pid)
print(pid)
EOF
}
start one runner.spec
first=$pid
shows one U
start two runner.spec
shows two U
runner=$(runner_of "$(processes $nap)" "$first")
t 'the runner is killed' kill -9 "$runner"
t 'its client says so' ends one 1
t 'in words' has 'the process that ran the step was killed; build again' one.err
t 'the other one runs the step itself' await grep -q 'was killed; starting again' two.log
t 'anew' let_go $nap
t 'and has it' ends two 0
t 'nothing is left' await idle

# -- many at once, of the same three steps
spec many.spec '(run (shell "echo 1"))' '(run (shell "echo 2"))' '(run (shell "echo 3; sleep 0.2"))'
before=$(layers)
for i in 1 2 3 4 5 6 7 8; do
	start "m$i" many.spec
done
all()
{
	for i in 1 2 3 4 5 6 7 8; do
		if ! ends "m$i" 0 || [ "$(grep -cx '[123]' "m$i.log")" != 3 ]; then
			cat "m$i.log" "m$i.err"
			return 1
		fi
	done
}
t 'eight builds at once' all
t 'make three layers' test "$(layers)" = $((before + 3))
t 'and leave nothing' await idle

# -- kill -9 at random moments, of client and runner: what is there is whole, and the next build is right
spec random.spec '(run (shell "echo a >/a; sleep 0.02; echo b >/b"))' '(run (shell "cat /a /b >/ab; sleep 0.02"))' '(run (shell "cat /ab"))'
# A sanitized program waits for its child that looks for leaks: for ever, where that is the one that is hit.
deaths()
(
	ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
	export ASAN_OPTIONS
	for i in $(seq 1 25); do
		sed "s/echo a/echo a$i/" random.spec >r.spec
		start "r$i" r.spec
		python3 -c "import time; time.sleep($i * 0.004)"
		if [ $((i % 2)) = 0 ]; then
			kill -9 "$pid" 2>/dev/null
		else
			# shellcheck disable=SC2046 # none or several
			kill -9 $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) 2>/dev/null
		fi
		await test -s "r$i.code"
		if ! "$SLIPWAY" build -f r.spec >out 2>err || ! grep -qx "a$i" out || ! grep -qx b out; then
			cat out err
			return 1
		fi
	done
)
t 'deaths at any moment' deaths
t 'leave nothing for long' await idle

# -- what it holds on to: a lock of the caller's shell, its pipes
next
spec pipe.spec "$(waiting P $nap 0)"
start one pipe.spec
shows one P
(
	exec 9>lock
	env --default-signal=INT "$SLIPWAY" build -f pipe.spec 9>&9 >p.log 2>&1 &
	echo $! >p.pid
	wait $!
)  &
shows p P
kill -INT "$(cat p.pid)"
t 'one who cancels leaves its files' await flock -n lock true
let_go $nap
ends one 0

done_testing
