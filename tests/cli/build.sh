# SPDX-License-Identifier: Apache-2.0
# slipway build: what is cached and what is not, copies, secrets, limits, what is refused, and the answers for programs.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need python3
. "$SOURCE_ROOT/tests/lib/specs.sh"

build()
{
	"$SLIPWAY" build "$@"
}
# cached N: of the last build's steps so many were, and all others ran
cached()
{
	[ "$(grep -c '> using ' out)" = "$1" ] || { cat out; return 1; }
}
# prints_last FILE TEXT: the text is a line of it
line()
{
	grep -qxF -- "$2" "$1" || { cat "$1"; return 1; }
}

# -- what is new and what is not
mkdir ctx
echo one >ctx/file
spec a.spec '(workdir /w)' '(copy (src .) (dst ./))' '(run (shell "cat file; echo ran >>ran"))' '(run (shell "cat ran"))'
t 'a build' runs build -f a.spec ctx
t 'nothing of it was there' cached 1
t 'it printed' line out ran
first=$(id_in out)
t 'again' runs build -f a.spec ctx
t 'all is there' cached 4
t 'what it printed too' line out one
t 'the same result' test "$first" = "$(id_in out)"
t 'without its id at the end' runs build --no-result -f a.spec ctx
t 'there is none' hasnt '^Got: ' out
t 'without it' runs build --no-replay -f a.spec ctx
t 'it is not shown' hasnt '^one$' out
touch ctx/file
t 'a file that was only touched' runs build -f a.spec ctx
t 'changes nothing' cached 4
chmod +x ctx/file
t 'one that can be executed now' runs build -f a.spec ctx
t 'is copied anew' cached 1
chmod -x ctx/file
echo two >ctx/file
t 'one with another content' runs build -f a.spec ctx
t 'too' cached 1
echo one >ctx/file
ln -s file ctx/link
t 'and one that is there in addition' runs build -f a.spec ctx
t 'too' cached 1
ln -sfn nowhere ctx/link
t 'a link to another place' runs build -f a.spec ctx
t 'too' cached 1
rm ctx/link
t 'all as it was' runs build -f a.spec ctx
t 'is there' cached 4
mkdir -p ctx/out/d
echo x >ctx/out/d/f
t 'a folder more' runs build -f a.spec --leave-out out ctx
t 'that is left out' cached 4
t 'is not copied' runs build -f a.spec --leave-out out/d ctx
t 'what is around it is' cached 1
rm -r ctx/out

t 'notes have a time' has '^20[0-9][0-9]-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]\.[0-6][0-9] ---> using "[0-9a-f]\{64\}" from cache$' out
headings()
{
	awk '/^\/(w)?: / { n++; if (before != "") bad = 1 } { before = $0 } END { exit !(n == 4 && !bad) }' out
}
t 'headings an empty line before them' headings

spec env1.spec '(env A 1)' '(env B 2)' '(run (shell "echo $A $B"))'
spec env2.spec '(env B 2)' '(env A 1)' '(run (shell "echo $A $B"))'
spec env3.spec '(env B 3)' '(env A 1)' '(run (shell "echo $A $B"))'
runs build -f env1.spec >/dev/null
t 'the order of env does not count' runs build -f env2.spec
t 'for nothing is run' cached 2
t 'its values do' runs build -f env3.spec
t 'they are new' cached 1
for op in '(shell /bin/sh -c)' '(user (uid 1000) (gid 1000))' '(workdir /elsewhere)'; do
	spec other.spec "$op" '(env A 1)' '(env B 2)' '(run (shell "echo $A $B"))'
	t "$op" runs build -f other.spec
	t 'counts' cached 1
done
spec comment.spec '(comment "new")' '(env A 1)' '(env B 2)' '(run (shell "echo $A $B"))'
t 'a comment' runs build -f comment.spec
t 'does not' cached 2

# An image of the same content by another name
"$SLIPWAY" -q image import alias base.tar >/dev/null
sed 's/from base/from alias/' env1.spec >alias.spec
t 'another name of the image' runs build -f alias.spec
t 'does not count either' cached 2

# -- a step that fails
spec bad.spec '(run (shell "echo good"))' '(run (shell "echo bad >/half; exit 31"))'
before=$(layers)
t 'a step that fails' must_fail 1 build -f bad.spec
t 'is told as OBuilder does' has '^Build step failed: "/usr/bin/env" "bash" "-c" "echo bad >/half; exit 31" failed with exit status 31$' err
t 'one before it is kept' test "$(layers)" = $((before + 1))
t 'nothing else' idle
t 'it is run again' must_fail 1 build -f bad.spec
t 'and the one before it not' cached 2
status()
{
	build --json -f bad.spec >answer 2>/dev/null
	python3 -c '
import json
a = json.load(open("answer"))
assert a["end"] == "failed" and a["status"] == 31 and a["id"] is None, a
assert [s["cached"] for s in a["steps"]] == [True, True, False], a
assert "exit status 31" in a["failure"], a'
}
t 'its status is in the answer' status
spec killed.spec '(run (shell "kill -9 $$"))'
t 'one that a signal ended' must_fail 1 build -f killed.spec
t 'is told as such' has 'failed with signal 9 (Killed)' err

# -- answers
answer()
{
	build --json -f a.spec ctx >answer && python3 -c '
import json, sys
a = json.load(open("answer"))
assert a["end"] == "done" and a["id"] == sys.argv[1], a
assert [s["kind"] for s in a["steps"]] == ["from", "copy", "run", "run"], a
assert all(s["cached"] for s in a["steps"]) and a["steps"][3]["line"] == 5, a
assert a["steps"][3]["words"] == "(run (shell \"cat ran\"))", a' "$first"
}
t 'as an object' answer
t 'with -q the id alone' prints "$first" build -q -f a.spec ctx
spec plan.spec '(run (shell "echo good"))' '(run (shell "echo planned"))' '(run (shell "echo after"))'
t 'a dry run' runs build --dry-run -f plan.spec
t 'tells what is there' cached 2
t 'and what would be run' test "$(grep -c 'would run' out)" = 2
t 'and runs nothing' hasnt '^planned' out
planned=$(build --dry-run --json -f plan.spec | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
t 'though it knows the ids' test "$planned" = "$(build -q -f plan.spec)"
build -q --progress-fd 3 -f plan.spec 3>events >/dev/null
t 'events for programs' has '"event":"done","phase":"step","id":"(run (shell .*planned.*))",.*"text":"cached"' events
echo '((build dev ((from base) (run (shell "echo never >/made")))) (from base) (copy (from (build dev)) (src /made) (dst /x)) (run (shell "cat /x")))' >staged.spec
t 'a dry run by way of a stage that is not built' runs build --dry-run -f staged.spec
t 'would run all of it' test "$(grep -c 'would run' out)" = 3
t 'list' runs build list
t 'has the steps' has "^$(echo "$first" | cut -c 1-12) .*(run (shell \"cat ran\"))" out
t 'a log' prints ran build log "$(echo "$first" | cut -c 1-10)"
t 'of nothing' must_fail 1 build log 0000000000
t 'says so' has "no step has an id that begins with '0000000000'" err
t 'from standard input' runs build -q -f - ctx <a.spec

# -- copies
mkdir -p tree/sub tree/.git
echo x >tree/sub/x
echo y >tree/.git/y
spec copy.spec '(user (uid 1000) (gid 1000))' '(workdir /home/builder)' '(copy (src tree) (dst there) (exclude .git))' '(copy (src tree/sub/x) (dst one/x))' \
	'(run (shell "find there one | sort; stat -c %u:%a there/sub one"))'
t 'copies' runs build -f copy.spec .
grep '^there\|^one' out >found
printf '%s\n' there there/sub there/sub/x one one/x | sort >want
t 'have all that was asked for' sh -c 'sort found | diff want -'
t 'are the user'"'"'s' has '^1000:755$' out
spec many.spec '(copy (src ctx tree) (dst /x))'
t 'several to what is no folder' must_fail 1 build -f many.spec .
t 'is refused' has "many.spec:2:2: several sources go into a folder" err
spec up.spec '(copy (src ../etc) (dst /x/))'
t 'a way out' must_fail 1 build -f up.spec ctx
t 'is refused' has '\.\.' err
ln -s /etc tree/out
spec out.spec '(copy (src tree/out/passwd) (dst /x/))'
t 'so is one through a link' must_fail 1 build -f out.spec .
t 'by name' has 'Not a directory: tree/out' err
rm tree/out
spec no-context.spec '(copy (src x) (dst /x))'
t 'a copy without a context' must_fail 2 build -f no-context.spec
t 'is told what to do' has 'name its folder' err
# Links of the image on the way: gone through inside it; links in the place of what is copied: replaced
spec links.spec '(run (shell "ln -s /victim /to; echo old >/victim; mkdir /d; ln -s /d /way; ln -s ../../../../.. /up"))' '(copy (src ctx/file) (dst /to))' \
	'(copy (src ctx/file) (dst /way/f))' '(copy (src ctx/file) (dst /up/inside))' '(run (shell "cat /victim; readlink /way; cat /d/f /inside"))'
t 'links of an image' runs build -f links.spec .
t 'are not written through' has '^old$' out
t 'lead nowhere else' test ! -e /inside
t 'and stay what they were' has '^/d$' out

# from a stage
cat >stage.spec <<'EOF'
((build one ((from base) (run (shell "mkdir -m 711 /o; echo 1 >/o/f; chmod 600 /o/f; ln -s f /o/l"))))
 (build two ((from base) (copy (from (build one)) (src /o) (dst /p)) (run (shell "ls /p; stat -c %a /p/f"))))
 (from base)
 (copy (from (build two)) (src /p/f /p/l) (dst /q/))
 (run (shell "cat /q/l")))
EOF
t 'copies from stages' runs build -f stage.spec
t 'bring what is there' has '^1$' out
t 'again' runs build -f stage.spec
t 'they are there' cached 8

# -- secrets
spec secret.spec '(user (uid 1000) (gid 1000))' '(run (secrets (token (target /run/token))) (shell "cat /run/token; stat -c %a:%u /run/token"))' '(run (shell "test ! -s /run/token"))'
echo sesame >token
t 'a secret' runs build -f secret.spec --secret token=token
t 'is there in its step' has '^sesame$' out
t 'for its user alone' has '^400:1000$' out
t 'and not after it' hasnt 'sesame.*sesame' out
spec secret1.spec '(run (secrets (token (target /run/token))) (shell "wc -c </run/token"))'
runs build -f secret1.spec --secret token=token >/dev/null
t 'the same value' runs build -f secret1.spec --secret token=token
t 'is cached' cached 2
TOKEN=other
export TOKEN
t 'another one' runs build -f secret1.spec --secret-env token=TOKEN
t 'is not' cached 1
t 'no value' must_fail 1 build -f secret1.spec
t 'fails the step' has "Build step failed: Couldn't find value for requested secret 'token'; give it as --secret token=FILE" err
runs build -f secret.spec --secret token=token >/dev/null
t 'it is in no layer' sh -c "! grep -rl sesame '$STORE'/layer/*/fs '$STORE'/layer/*/about"

# -- caches
spec cache.spec '(run (cache (c (target /c))) (shell "echo a >>/c/n; exit 1"))'
must_fail 1 build -f cache.spec >/dev/null
spec cache.spec '(run (cache (c (target /c))) (shell "cat /c/n"))'
t 'a cache is kept though the step failed' runs build -f cache.spec
t 'with what it has' has '^a$' out

# -- limits
spec sleep.spec '(run (shell "sleep 20"))'
t 'a limit of time' must_fail 1 build --time 1 -f sleep.spec
t 'is told' has 'was ended: it took longer than 1 s' err
t 'a size that is none' must_fail 2 build --memory much -f sleep.spec
t 'is refused' has "wants a size like 500MB or 2GiB, not 'much'" err
spec net.spec '(run (network host) (shell true))'
for limit in --processes=0 --time=0; do
	t "no limit is $limit" must_fail 2 build "$limit" -f net.spec
done
t 'no network' must_fail 2 build --network none -f net.spec
t 'is said before anything is run' has "net.spec:2:2: the step asks for the host's network" err

echo x >word
t 'a secret that nothing asks for' runs build --secret tokn=word -f cache.spec
t 'is mentioned' has "no step asks for the secret 'tokn'" out
# timeout forks once and gives up, where a shell tries again for seconds
spec forks.spec '(run (shell "exec timeout 9 true"))'
spec retry.spec '(run (shell "timeout 9 true || true"))'
if "$SLIPWAY" build --check | grep -q 'limit of processes .* yes'; then
	t 'a limit of processes' must_fail 1 build --processes 1 -f forks.spec
	t 'is told, whatever the command says' has '; it wanted more processes than it may have: 1$' err
	t 'a step that does without the process' runs build --processes 2 -f retry.spec
	t 'is told of it, too' has ' the step wanted more processes than it may have: 2$' out
else
	skip 'a limit of processes is told' 'kernel: no control group for processes'
fi
spec lost.spec '(copy (src nowhere) (dst /x))'
t 'a source that is not there' must_fail 1 build -f lost.spec tree
t 'is told with its place' has "Source path \"nowhere\" not found (lost.spec:2:2, in folder 'tree')" err

spec talks.spec '(run (shell "seq 1 5000; echo the reason; exit 3"))'
t 'quiet' must_fail 1 build -q -f talks.spec
t 'but for the end of what a failed step said' sh -c 'tail -n 2 err | head -n 1 | grep "^the reason" && ! grep -x 100 err && ! test -s out'

# -- a name for what was built
spec named.spec '(user (uid 1000) (gid 1000)) (env COLOUR blue) (workdir /opt/tool) (run (shell "id -u"))'
t 'the result gets a name' runs build -t tool:1 -f named.spec
t 'is told' has "^....-..-.. ..:..\\... ---> named 'tool:1'" out
printf '((from tool:1) (run (shell "pwd; echo $COLOUR")))' >onit.spec
t 'another spec begins on it' runs build -f onit.spec
t 'with its environment' has '^blue' out
t 'at / as every spec does' has '^/$' out
t 'its image knows user and folder' sh -c '"$SLIPWAY" image show tool:1 --json >json && grep -q "1000:1000" json && grep -q /opt/tool json'
t 'a name that cannot be' must_fail 2 build -t 'Tool name' -f named.spec
t 'a dry run names nothing' sh -c '"$SLIPWAY" build --dry-run -t other -f named.spec && ! "$SLIPWAY" image show other'

# -- run anew
cat >anew.spec <<'E'
((build one ((from base)
             (run (shell "cat /proc/sys/kernel/random/uuid >/u; cat /u"))
             (run (shell "cp /u /v"))))
 (from base)
 (run (shell "cat /proc/sys/kernel/random/uuid >/u; cat /u"))
 (copy (from (build one)) (src /v) (dst /v))
 (run (shell "cat /u /v")))
E
# uuid N: the N-th that was printed
uuid()
{
	grep '^[0-9a-f]*-[0-9a-f-]*$' out | sed -n "$1p"
}
t 'something random' runs build -t kept -f anew.spec
old=$(uuid 1) old_id=$(id_in out)
t 'two stages that begin alike have one' test "$(uuid 4)" = "$old"
t 'would run' runs build --no-cache --dry-run -f anew.spec
t 'all of it' test "$(grep -c 'would run' out)" = 5
t 'is there' runs build -f anew.spec
t 'as it was' test "$(uuid 1)" = "$old"
t 'anew' runs build --no-cache -f anew.spec
new=$(uuid 1) new_id=$(id_in out)
t 'it is another one' test -n "$new" -a "$new" != "$old"
t 'in all that is made of it' test "$(uuid 3)$(uuid 4)" = "$new$new"
t 'each step ran, but the one that the stages share' test "$(grep -c 'saved as' out)" = 4
t 'from now on' runs build -f anew.spec
t 'it is found' cached 7
t 'that one' test "$(uuid 1) $(id_in out)" = "$new $new_id"
t 'what has a name keeps what it has' "$SLIPWAY" image show kept --json
t 'the old one' sh -c '"$SLIPWAY" image show kept --json | grep -q "$1"' - "$old_id"
t 'and once more' runs build --no-cache -f anew.spec
t 'is another one again' test "$(uuid 1)" != "$new"
spec anew2.spec '(run (shell "cat /proc/sys/kernel/random/uuid >/u; cat /u"))' '(run (shell "echo more; cat /u"))'
newest=$(uuid 1)
t 'another spec that begins so' runs build -f anew2.spec
t 'finds it as well' test "$(uuid 1)" = "$newest"
mkdir -p some
spec copied.spec '(copy (src .) (dst /c/))' '(run (shell "cat /proc/sys/kernel/random/uuid"))'
t 'a copy first' runs build -f copied.spec some
first=$(uuid 1)
t 'anew' runs build --no-cache -f copied.spec some
t 'what follows it, too' test "$(uuid 1)" != "$first"
records()
{
	[ "$(find "$STORE/anew" -type f | wc -l)" = "$1" ]
}
t 'what was run anew is noted' records 2
t 'and forgotten' runs build gc --older-than 0s
t 'with what it made' records 1
t 'where nothing would come back in its place' runs build -q -f anew.spec
"$SLIPWAY" -q image remove kept >rm.log 2>&1 || cat rm.log
t 'without the name' runs build gc --older-than 0s
t 'all of it goes' records 0

# -- given out by its id
spec given.spec '(env AB "x y")' '(user (uid 7) (gid 8))' '(workdir /d)' '(run (shell "echo x >/tmp/x"))' '(env C after)'
t 'a step with variables' runs build -f given.spec
t 'is given out by its id' build export "$(id_in out)" --format oci -o given.oci
t 'is an image' "$SLIPWAY" image import given given.oci
"$SLIPWAY" image show given --json >given.json
config_is()
{
	python3 - "$1" <<'E' || { cat given.json; return 1; }
import json, sys
d = json.load(open('given.json'))
sys.exit(not eval(sys.argv[1]))
E
}
t 'with what held for the step' config_is '"AB=x y" in d["env"] and not [v for v in d["env"] if v.startswith("C=")]'
t 'who and where, too' config_is '(d["user"], d["workdir"]) == ("7:8", "/d")'
python3 -c 'print("((from base)" + "".join("(env V%d %s)" % (i, "x" * 4000) for i in range(20)) + "(run (shell \"echo many\")))")' >many.spec
t 'more variables than are noted' runs build -f many.spec
t 'are given out without them' build export "$(id_in out)" --format oci -o many.oci

# -- a log that is too long for one JSON text
runs build -q -f named.spec && id=$(tail -n 1 out)
truncate -s 65M "$SLIPWAY_ROOT/build/layer/$id/log"
t 'a log too long for JSON' must_fail 1 build log --json "$id"
t 'says what to do' has 'has more than 64 MiB, too much for JSON; leave out --json' err
t 'and is printed without' sh -c '"$SLIPWAY" build log "$1" | wc -c | grep -qx 68157440' - "$id"

# -- the root lies in the context: what is kept there is no part of it
mkdir around
echo one >around/one
"$SLIPWAY" --root around/root -q image import base base.tar >/dev/null
spec around.spec '(copy (src .) (dst /all/))' '(run (shell "ls -A /all"))'
t 'a context with the root in it' runs build --root around/root -f around.spec around
t 'is copied without it' sh -c 'grep -qx one out && ! grep -x root out'
t 'again' runs build --root around/root -f around.spec around
t 'what was built changes nothing' cached 3
mv around/root/build around/store
t 'nor does another store in there' runs build --root around/root --store around/store -f around.spec around
t 'change anything' cached 3
spec own.spec '(copy (src root) (dst /all))'
t 'the root by its name' must_fail 1 build --root around/root --store around/store -f own.spec around
t 'is refused' has "'root' is the folder of Slipway itself, where this build is kept" err

# -- what a failed command says of itself
spec steers.spec '(run (shell "false \027[2J\n\009x"))'
t 'a command with controls fails' must_fail 1 build -f steers.spec
t 'and steers no terminal' hasnt "$(printf '\033')" err
t 'it is shown' has 'x1b\[2J$' err

# -- mistakes
t 'no file' must_fail 2 build
t 'says how' has 'slipway build -f job.spec' err
t 'a file that is not there' must_fail 1 build -f nope.spec
printf '((from nothing:1) (run (shell true)))' >from.spec
t 'no such image' must_fail 1 build -f from.spec
t 'says how to get it' has 'image import' err
t 'two contexts' must_fail 2 build -f a.spec ctx tree
t 'a context that is not there' must_fail 1 build -f a.spec nowhere

t 'nothing is left behind' await idle
done_testing
