# SPDX-License-Identifier: Apache-2.0
# Builds as jobs: slipway build --pool.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
need python3 git

"$SLIPWAY" build --check >can 2>&1 || skip_all "kernel: no sandboxes here: $(tail -n 1 can)"
worker=
trap '[ -z "$worker" ] || kill -9 "$worker" 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
rootfs_tar base.tar none
t 'a base image' runs "$SLIPWAY" image import base base.tar
mkdir -p src/sub
echo one >src/sub/file
chmod 640 src/sub/file
ln -s sub/file src/link
touch -d '2020-01-02 03:04:05Z' src/sub/file src/sub
cat >job.spec <<'EOF'
((from base)
 (copy (src .) (dst /src))
 (run (shell "cat /src/link /src/sub/file; echo built")))
EOF
stamps='^[0-9]\{4\}-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]\.[0-9][0-9]'

t '--detach without a pool' must_fail 2 "$SLIPWAY" build -f job.spec --detach src
t 'says so' has 'go with --pool' err
t '--secret-env of a job' must_fail 2 "$SLIPWAY" build -f job.spec --pool P --secret-env a=HOME src
t 'a context that is not there' must_fail 1 "$SLIPWAY" build -f job.spec --pool P nosuch
t 'leaves no job' test "$("$SLIPWAY" jobs --all --json | tr -d ' \n')" = '{"jobs":[]}'
mkdir -p around/sub
echo a >around/file
t 'a context with the root in it' must_fail 2 "$SLIPWAY" --root around/root build -f job.spec --pool P --detach around
t 'is refused, with what to do' has "the root, where the job gets its copy, is in the context '.*/around': '.*/around/root'; take" err
t 'so it is by --dry-run' must_fail 2 "$SLIPWAY" --root around/root build -f job.spec --pool P --dry-run around
t 'leaves no job' test "$("$SLIPWAY" --root around/root jobs --all --json | tr -d ' \n')" = '{"jobs":[]}'
t 'nor a copy' test ! -e around/root/build/job/1
t 'nor a log' test ! -e around/root/build/log/1
t 'nor a number' test "$(ls -A around/root/build/log)" = ''
t 'a folder of a similar name is another one' runs "$SLIPWAY" --root around-root build -f job.spec --pool P --detach around
plans()
{
	runs "$SLIPWAY" build -f job.spec --pool P --dry-run --urgent --client alice src || return 1
	has '^would be submitted, before all that is not urgent:$' out && has '^title  *build -f job.spec$' out && has '^pool  *P$' out &&
		has '^client  *alice$' out && has '^cache hint  *base-' out && hasnt '^folder' out && has '^runs on  *nobody yet; start a worker' out || return 1
	runs "$SLIPWAY" build -f job.spec --pool P --dry-run --json src && python3 -c '
import json
p = json.load(open("out"))
assert p["dry_run"] and p["pool"] == "P" and p["cache_hint"].startswith("base-") and p["title"] == "build -f job.spec", p'
}
t '--dry-run: what would be submitted' plans
t '--dry-run of a job' runs "$SLIPWAY" job submit --dry-run --pool P -C src -- echo a b
t 'tells its words and folder' sh -c "grep -q '^title  *echo a b$' out && grep -q '^folder  *$T/src$' out"
t 'nothing was' test "$("$SLIPWAY" jobs --all --json | tr -d ' \n')" = '{"jobs":[]}'
# a folder that is gone has no name
mkdir gone
t 'a store whose place has no name' must_fail 1 sh -c 'cd gone && rmdir ../gone && "$SLIPWAY" build -f ../job.spec --pool P --store s --detach'
t 'submitted, not followed' runs "$SLIPWAY" build -f job.spec --pool P --detach src
id=$(cat out)
t 'no worker: it says how to begin one' has 'no worker serves pool .P.; start one: slipway worker --pool P' err
"$SLIPWAY" job show "$id" --json >shown
t 'a build has no folder of its own' must_fail 1 sh -c "'$SLIPWAY' job show $id | grep '^folder'"
t 'a cache hint of its own' grep -q '"cache_hint": "base-' shown
# what was submitted is built, whatever happens to the folder
rm -rf src/sub
echo two >src/link.new
cp job.spec kept.spec
echo '((from nothing))' >job.spec
"$SLIPWAY" worker --pool P >w.out 2>&1 &
worker=$!
t 'built, and followed' runs "$SLIPWAY" job log "$id" --follow
sed "s/$stamps/TS/" out >log
t 'the header' grep -q '^TS: New job: build' log
t 'how to reproduce it' grep -q '^To reproduce locally:$' log
t 'the hint' grep -q '^TS: Using cache hint "base-' log
t 'the spec' grep -q '^((from base)$' log
t 'waits' test "$(grep -n 'Waiting for resource in pool P\|Waiting for worker…\|Got resource from pool P\|^Building on\|^(from base)\|^Job succeeded\|^TS: Job succeeded' log | cut -d: -f2- | tr '\n' '|')" = \
	"TS: Waiting for resource in pool P|TS: Waiting for worker…|TS: Got resource from pool P|Building on $(uname -n)|(from base)|Job succeeded|TS: Job succeeded|"
t 'the steps' grep -q '^/: (run (shell "cat' log
t 'of what was submitted' test "$(grep -c '^one$' log)" = 2
t 'saved' grep -q '^TS ---> saved as' log
t 'its copy is gone' test ! -e "$SLIPWAY_ROOT/build/job/$id"
mkdir -p src/sub && echo one >src/sub/file && chmod 640 src/sub/file && rm src/link.new
t 'the same once more' runs "$SLIPWAY" build -f kept.spec --pool P src
mkdir -p src/out/d && echo x >src/out/d/f
t 'a folder that is left out' runs "$SLIPWAY" build -f kept.spec --pool P --leave-out out src
t 'changes nothing' hasnt '> saved as ' out
rm -r src/out
t 'is in the cache' test "$(grep -c -- '---> using .* from cache' out)" = 3
# a file that changes while it is copied; between two of its changes a copy may succeed
changes()
{
	mkdir -p moving && head -c 30000000 /dev/zero | tr '\0' x >moving/file || return 1
	python3 -c '
import os, itertools
for i in itertools.count(): os.utime("moving/file", ns=(i, i))' &
	changing=$!
	changes_rc=1
	for changes_n in $(seq 200); do # until it is at work: it began long ago, in 1970
		[ "$(stat -c %Y moving/file)" != 0 ] || break
		sleep 0.05
	done
	for changes_n in $(seq 40); do
		"$SLIPWAY" build -f kept.spec --pool nobody --detach moving >said 2>&1 || { changes_rc=0; break; }
	done
	kill "$changing"
	wait "$changing" 2>/dev/null
	has "'file': it was changed while it was copied; submit again when nothing writes there" said && return "$changes_rc"
}
t 'a file that is changed while it is copied is told' changes
t 'in place' runs "$SLIPWAY" build -f kept.spec --pool P --in-place src
sed 's/echo built/exit 3/' kept.spec >bad.spec
t 'one that fails' must_fail 1 "$SLIPWAY" build -f bad.spec --pool P src
t 'says so' has 'Job failed: exit code 1' out
printf 'pools:\n  own: {auto: true}\n' >"$SLIPWAY_ROOT/config.yml"
t 'a machine on its own' runs "$SLIPWAY" build -f kept.spec --pool own --cache-hint h --urgent --client c src
t 'the same log' has 'Got resource from pool own' out
"$SLIPWAY" jobs --last 1 --all --json >shown
t 'its options' sh -c 'grep -q "\"cache_hint\": \"h\"" shown && grep -q "\"urgent\": true" shown && grep -q "\"client\": \"c\"" shown'
# what gc takes is no longer cached
cached()
{
	"$SLIPWAY" jobs --last 1 --json | grep -q '"cached": true'
}
"$SLIPWAY" -q build -f kept.spec --pool P --cache-hint h src >out 2>&1
"$SLIPWAY" -q build -f kept.spec --pool P --cache-hint h src >out 2>&1
t 'where its hint was built' cached
t 'gc' runs "$SLIPWAY" build gc --max-size 0
"$SLIPWAY" -q build -f kept.spec --pool P --cache-hint h src >out 2>&1
t 'and what was built there is gone' must_fail 1 cached
# a commit of a repository, merged, as a continuous integration has it: the log has the parts of one, in their order
GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_COMMITTER_NAME=t EMAIL=t@localhost
export GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM GIT_AUTHOR_NAME GIT_COMMITTER_NAME EMAIL
git init -q -b master x
(cd x && echo a >a && git add . && git commit -qm first && git checkout -q -b pull && echo c >c && git add . && git commit -qm more &&
	git update-ref refs/pull/1/head HEAD && git checkout -q master && git branch -q -D pull) >said 2>&1 || cat said
sed 's,cat /src/link /src/sub/file,cat /src/a /src/c,' kept.spec >git.spec
t 'a pull request' runs "$SLIPWAY" build -f git.spec --pool P --git "file://$T/x#refs/pull/1/head" --onto master \
	--title 'build x.1, using make' --variant debian-12
cat >parts <<'EOF'
^[-0-9]* [0-9:]*\.[0-9]*: New job: build x.1, using make$
^ \{30\}from file://.*/x#refs/pull/1/head ([0-9a-f]\{40\})$
^ \{30\}on debian-12/
^To reproduce locally:$
^git merge --no-edit [0-9a-f]\{40\}$
^cat > ../Dockerfile <<'END-OF-DOCKERFILE'$
^END-OF-DOCKERFILE$
^docker build -f ../Dockerfile \.$
^[-0-9]* [0-9:]*\.[0-9]*: Using cache hint "base-.*-[0-9a-f]\{40\}"$
^[-0-9]* [0-9:]*\.[0-9]*: Using OBuilder spec:$
^((from base)$
^[-0-9]* [0-9:]*\.[0-9]*: Waiting for resource in pool P$
^[-0-9]* [0-9:]*\.[0-9]*: Waiting for worker…$
^[-0-9]* [0-9:]*\.[0-9]*: Got resource from pool P$
^Building on 
^HEAD is now at 
^Fast-forward$
^(from base)$
^[-0-9]* [0-9:]*\.[0-9]* ---> using "[0-9a-f]*" from cache$
^/: (copy (src \.) (dst /src))$
^[-0-9]* [0-9:]*\.[0-9]* ---> saved as "[0-9a-f]*"$
^/: (run (shell "cat /src/a /src/c; echo built"))$
^built$
^[-0-9]* [0-9:]*\.[0-9]* ---> saved as "[0-9a-f]*"$
^Job succeeded$
^[-0-9]* [0-9:]*\.[0-9]*: Job succeeded$
EOF
in_order()
{
	at=1
	while read -r part; do
		n=$(tail -n "+$at" out | grep -n -m 1 -- "$part" | cut -d: -f1)
		[ -n "$n" ] || { echo "not there: $part"; tail -n "+$at" out; return 1; }
		at=$((at + n))
	done <parts
	[ "$at" -gt "$(wc -l <out)" ]
}
t 'the parts of its log, in their order' in_order
# what the submitter may not do, the job may not
offline_id=$("$SLIPWAY" -q build --offline -f git.spec --pool P --git "file://$T/x#refs/pull/1/head" --detach)
t '--offline is the job'"'"'s, too' sh -c "python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(\"SELECT argv FROM job WHERE id = $offline_id\").fetchone()[0])' '$SLIPWAY_ROOT/build/jobs.db' | tr '\\0' '\\n' | grep -x -e --offline"
# cancelled in the middle of a step
sed "s/echo built/sleep 66.$$/" kept.spec >slow.spec
"$SLIPWAY" build -f slow.spec --pool P src >slow.out 2>&1 &
p=$!
await pgrep -xf "sleep 66.$$"
kill -INT "$p"
wait "$p"
t 'Ctrl-C cancels the build' test $? = 130
t 'and its step' must_fail 1 pgrep -xf "sleep 66.$$"
# the worker dies: the step is run again, elsewhere
"$SLIPWAY" build -f slow.spec --pool P --detach src >id 2>&1
await pgrep -xf "sleep 66.$$"
kill -9 "$worker"
t 'a killed worker: its step dies' await sh -c "! pgrep -xf 'sleep 66.$$'"
"$SLIPWAY" worker --pool P >w.out 2>&1 &
worker=$!
t 'another one builds it' await pgrep -xf "sleep 66.$$"
"$SLIPWAY" -q job cancel "$(head -n 1 id)"
t 'cancelled' await sh -c "'$SLIPWAY' job show $(head -n 1 id) | grep -q '^state *cancelled'"
t 'and its step' must_fail 1 pgrep -xf "sleep 66.$$"

done_testing
