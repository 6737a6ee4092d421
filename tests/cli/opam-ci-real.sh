# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015,SC2016,SC2317 # texts for other shells; functions that are called by t; what is shown where one of them fails always succeeds
# `slipway opam ci` for real: an image with OCaml, a local repository with the sources of a program and of what it needs, the job of a CI that builds them in
# sandboxes, and the same job again, which is there already. Jobs that fail, that are killed, that run at the same time; a job of the queue.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need python3
. "$SOURCE_ROOT/tests/lib/opam-real.sh"
. "$SOURCE_ROOT/tests/lib/opam-image.sh"

# put NAME VERSION [LINE]...
put()
{
	mkdir -p "repo/packages/$1/$1.$2"
	f=repo/packages/$1/$1.$2/opam
	{
		printf 'opam-version: "2.0"\n'
		shift 2
		printf '%s\n' "$@"
	} >"$f"
}
put bad 1 'build: ["sh" "-c" "echo it is bad; exit 3"]' 'x-ci-accept-failures: ["debian-12" "other"]'
put worse 1 'build: ["false"]' 'x-ci-accept-failures: ["alpine-3.20"]'
put user 1 'depends: ["bad" "cmdliner"]'
put torn 1 'depends: ["cmdliner" {< "0.1"}]'
put slow 1 "build: [\"sleep\" \"77.$$\"]"
put nap 1 "build: [\"sh\" \"-c\" \"sleep 66.$$ || true\"]" # until it is killed
put beside 1 'build: ["true"]'
put reach 1 'build: ["sh" "-c" "[ $(grep -c : /proc/net/dev) = 1 ] && ! touch /home/opam/x"]'
put tested 1 'build: ["true"]' 'run-test: ["sh" "-c" "echo tests ran; [ %{version}% = 1 ]"]' 'depends: ["many" {with-test}]'
put tested 2 'build: ["true"]' 'run-test: ["sh" "-c" "echo tests ran; [ %{version}% = 1 ]"]' 'depends: ["many" {with-test}]'
put many 1 'build: ["true"]'
put many 2 'build: ["true"]'
put many 3 'build: ["true"]'
put bound 1 'depends: ["many" {>= "2"}]' 'build: ["true"]'
put needs-tested 1 'depends: ["tested" {= "1"}]' 'run-test: ["true"]'
put needs-needs 1 'depends: ["needs-tested"]' 'build: ["false"]'
put needs-other 1 'depends: ["tested" {>= "2"}]'

ci()
{
	"$SLIPWAY" opam ci --repo repo "$@"
}
# in_order FILE LINE...: these lines (basic patterns) in this order
in_order()
{
	in_order_file=$1 in_order_at=0
	shift
	for i; do
		n=$(tail -n "+$((in_order_at + 1))" "$in_order_file" | grep -n -m 1 -x -- "$i" | cut -d : -f 1)
		[ -n "$n" ] || { echo "not in order: $i"; cat "$in_order_file"; return 1; }
		in_order_at=$((in_order_at + n))
	done
}
STAMP='[0-9-]* [0-9:.]*'

# -- the job
t 'a job' eval 'ci greet.1 >out 2>err || { cat out err; false; }'
t 'tells its steps, its plan, its work and its end' in_order out \
	"$STAMP: New job: build greet.1, using opam 2.1" \
	" *on debian-12-ocaml-4.13/amd64" \
	'To reproduce locally:' \
	"$STAMP: Using cache hint \"ocaml/opam:debian-12-ocaml-4.13-greet.1\"" \
	"$STAMP: Using OBuilder spec:" \
	'(from ocaml/opam:debian-12-ocaml-4.13)' \
	"$STAMP ---> using \"[0-9a-f]*\" from cache" \
	'/home/opam: (run (shell "sudo ln -f /usr/bin/opam-2.1 /usr/bin/opam"))' \
	"$STAMP ---> saved as \"[0-9a-f]*\"" \
	'Configuring from /home/opam/.opamrc-sandbox, then /home/opam/.opamrc, and finally from built-in defaults.' \
	"Set to 'builtin-0install' the field solver in global configuration" \
	'# system               arch=x86_64 os=linux os-distribution=debian os-version=12' \
	'/home/opam: (copy (src .) (dst opam-repository/))' \
	'\[default\] Initialised' \
	'greet is now pinned to version 1' \
	'greet.1 is not installed. Install it? \[Y/n\] y' \
	'The following actions will be performed:' \
	'  - install fmt        0.9.0  \[required by greet\]' \
	'  - install greet      1\*' \
	'===== 6 to install =====' \
	'-> retrieved fmt.0.9.0  (.*)' \
	'-> installed ocamlfind.1.9.6' \
	'-> installed greet.1' \
	'Done.' \
	"$STAMP ---> saved as \"[0-9a-f]*\"" \
	'Job succeeded' \
	"$STAMP: Job succeeded"
t 'opam had sandboxes of its own' hasnt 'No sandbox can be had' out
runs_there()
{
	ci --json greet.1 >json 2>err && python3 -c '
import json
j = json.load(open("json"))["jobs"][0]
assert j["end"] == "done" and all(s["cached"] for s in j["steps"]), j
text = j["spec"].rstrip()
open("run.spec", "w").write(text[:-1] + " (run (shell \"$(opam var bin)/greet Debian; opam list -s\")))")' &&
		"$SLIPWAY" build -f run.spec --leave-out .git repo >run 2>&1 && grep -qxF 'hello Debian' run && grep -qxF fmt run
}
t 'the program runs' runs_there

# -- again
again()
{
	from=$(date +%s%N)
	ci greet.1 >out 2>err || return 1
	ms=$((($(date +%s%N) - from) / 1000000))
	echo "# the same job again: $ms ms"
	[ "$(grep -c '> saved as ' out)" = 0 ] && [ "$ms" -lt 1000 ] && grep -qx 'Job succeeded' out && grep -qxF -- '-> installed greet.1' out
}
t 'the same job again takes less than a second' again

# -- jobs that fail
fails()
{
	! ci "$@" >out 2>err && grep -qx 'Job failed: exit status 1' out
}
t 'a package that fails where it may' fails bad.1
t 'is said to be one' in_order out "A package failed and has been disabled for CI using the 'x-ci-accept-failures' field."
t 'why it failed is there' grep -q '^# it is bad$' out
t 'it is not its own dependency' hasnt '^opam-repo-ci detected' out
t 'a package that may fail elsewhere' fails worse.1
t 'is not said to be one' hasnt '^A package failed and' out
t 'a package whose dependency fails' fails user.1
t 'says which' in_order out '.*ERROR while compiling bad.1 .*' "A package failed and has been disabled for CI using the 'x-ci-accept-failures' field." \
	'opam-repo-ci detected dependencies failing:  bad.1'
t 'what cannot be had together' fails torn.1
t 'is explained' grep -q 'cmdliner' out
t 'with the status of opam' eval 'ci --json torn.1 2>/dev/null | grep -q "\"status\": *20"'

# -- what a package can reach
t 'a package that finds no network and no way out of its folder' eval 'ci reach.1 >out 2>err || { cat out err; false; }'

# -- tests
t 'a package with tests' eval 'ci --with-tests tested.1 >out 2>err || { cat out err; false; }'
t 'what is built anew is kept anew, where a layer below has it' hasnt 'Not kept' out
t 'its steps up to there are those of the package alone' eval 'ci tested.1 >out 2>&1 && hasnt "> saved as " out'
t 'tests that fail' fails --with-tests tested.2
t 'are there to be read' grep -q 'tests ran' out

t 'what they need was installed before' in_order out '-> installed many.3' '#.*tests ran'

# -- lower bounds
t 'lower bounds' eval 'ci --lower-bounds bound.1 >out 2>err || { cat out err; false; }'
t 'the newest first, then the oldest' in_order out "$STAMP: New job: build bound.1, lower-bounds, using opam 2.1" '-> installed many.3' \
	'/home/opam: (env OPAMCRITERIA +removed,+count\[version-lag,solution\])' '  - downgrade many  3 to 2 \[required by bound\]' '-> installed many.2' \
	'-> installed bound.1' 'Job succeeded'

# -- reverse dependencies
t 'reverse dependencies' eval 'ci --reverse-dependencies --list tested.1 >out 2>err || { cat err; false; }'
t 'are those that go with it' eval '[ "$(tr "\n" " " <out)" = "needs-needs.1 needs-tested.1 " ]'
t 'one of them cannot be built' eval '"$SLIPWAY" opam ci --repo repo --reverse-dependencies tested.1 >out 2>err; [ $? = 1 ]'
jobs()
{
	grep -E 'New job|^Job ' out | sed 's/.*New job: //' | tr '\n' '|' >said
	[ "$(cat said)" = "build tested.1, using opam 2.1|Job succeeded|test needs-needs.1 with tested.1, using opam 2.1|Job failed: exit status 1|test needs-tested.1 with tested.1, using opam 2.1|Job succeeded|" ] ||
		{ cat said; return 1; }
}
t 'there is a job each' jobs
t 'and what they share was run once' eval '[ "$(grep -c "^tested is now pinned" out)" = 3 ] && [ "$(grep -A 1 "^tested is now pinned" out | grep -c "> saved")" = 0 ]'
t 'which failed is said at the end' eval 'grep -q "1 of 3 jobs failed" err && grep -q "  test needs-needs.1 with tested.1" err'

# -- two at once
"$SLIPWAY" opam ci --repo repo cmdliner.1.1.1 >out1 2>&1 &
p1=$!
"$SLIPWAY" opam ci --repo repo ocamlfind.1.9.6 >out2 2>&1 &
p2=$!
t 'two jobs at once' eval 'wait $p1 || { cat out1; false; }'
t 'both' eval 'wait $p2 || { cat out2; false; }'
t 'one is as good as if it had been alone' grep -qxF -- '-> installed cmdliner.1.1.1' out1
t 'the other, too' grep -qxF -- '-> installed ocamlfind.1.9.6' out2

# -- two that wait for the same step, another one beside them; who began the step is killed
"$SLIPWAY" opam ci --repo repo nap.1 >out1 2>&1 &
p1=$!
t 'a job in a long step' await pgrep -f "^sleep 66.$$"
"$SLIPWAY" opam ci --repo repo nap.1 >out2 2>&1 &
p2=$!
"$SLIPWAY" opam ci --repo repo beside.1 >out3 2>&1 &
p3=$!
t 'the same job again follows it' await grep -q 'Processing actions' out2
kill -9 $p1
wait $p1 2>/dev/null
sleep 1 # time for its end to take the step along
t 'the first is killed, and its step goes on for the other' eval 'kill "$(pgrep -f "^sleep 66.$$")" && wait $p2 || { cat out2; false; }'
t 'to its end' in_order out2 '-> installed nap.1' 'Job succeeded'
t 'a job of another package does not notice' eval 'wait $p3 || { cat out3; false; }'
t 'and is whole' in_order out3 '-> installed beside.1' 'Job succeeded'
t 'what was built is there for the next' eval 'ci nap.1 >out 2>&1 && hasnt "> saved as " out && grep -qxF -- "-> installed nap.1" out'

# -- killed
"$SLIPWAY" opam ci --repo repo slow.1 >out 2>&1 &
p=$!
t 'a job that takes long' await pgrep -f "^sleep 77.$$"
kill -9 $p
wait $p 2>/dev/null
t 'killed, leaves no process' await sh -c "! pgrep -f '^sleep 77.$$'"
"$SLIPWAY" opam ci --repo repo slow.1 >out 2>&1 &
p=$!
t 'and can be run again' await pgrep -f "^sleep 77.$$"
kill -TERM $p
wait $p
t 'a signal ends it' test $? = 143
t 'with all that it ran' await sh -c "! pgrep -f '^sleep 77.$$'"

# -- through the queue
mkdir -p "$SLIPWAY_ROOT"
printf 'pools:\n  own: {capacity: 2, auto: true}\n' >"$SLIPWAY_ROOT/config.yml"
t 'a job of a pool' eval 'ci --pool own greet.1 >out 2>err || { cat out err; false; }'
t 'waits for its turn' in_order out "$STAMP: New job: build greet.1, using opam 2.1" "$STAMP: Waiting for resource in pool own" "$STAMP: Got resource from pool own" \
	'Building on .*' '(from ocaml/opam:debian-12-ocaml-4.13)' '-> installed greet.1' 'Job succeeded' "$STAMP: Job succeeded"
t 'finds what was built' hasnt '> saved as ' out
t 'and ends as the log of a CI does' hasnt '^Got: ' out
t 'is listed' eval '"$SLIPWAY" jobs --all | grep -q "build greet.1, using opam 2.1"'
t 'and its log kept' eval '"$SLIPWAY" job log 1 >log && diff out log'
t 'one that fails' must_fail 1 "$SLIPWAY" opam ci --repo repo --pool own bad.1

done_testing
