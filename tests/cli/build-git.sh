#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds of git repositories: on disk, by git's own server, over HTTP; and the head of a job's log.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
need git python3
servers=
# shellcheck disable=SC2086 # a list of ids
trap 'kill $servers 2>/dev/null; wait; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=t GIT_COMMITTER_NAME=t EMAIL=t@localhost
export GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM GIT_AUTHOR_NAME GIT_COMMITTER_NAME EMAIL

"$SLIPWAY" build --check >can 2>&1 || skip_all "kernel: no sandboxes here ($(tail -n 1 can))"
rootfs_tar base.tar || exit 1
"$SLIPWAY" image import base base.tar >import.log 2>&1 || { cat import.log >&2; exit 1; }
cat >job.spec <<'E'
((from base)
 (copy (src .) (dst /src/))
 (run (shell "cd /src && ls -A && cat *")))
E

git init -q -b master x && cd x || exit 1
echo a >a && git add . && git commit -qm first
git checkout -q -b pull && echo c >c && git add . && git commit -qm 'adds c'
git update-ref refs/pull/1/head HEAD
git checkout -q master && git branch -q -D pull
cd ..
pull=$(git -C x rev-parse refs/pull/1/head) master=$(git -C x rev-parse master)
url=file://$T/x

builds_merged()
{
	runs "$SLIPWAY" build -f job.spec --git "$url#refs/pull/1/head" --onto master || return 1
	short=$(git -C x rev-parse --short master)
	{
		echo "Fetching $url#refs/pull/1/head"
		echo "HEAD is now at $short first"
		echo "Updating $short..$(git -C x rev-parse --short refs/pull/1/head)"
		printf 'Fast-forward\n c | 1 +\n 1 file changed, 1 insertion(+)\n create mode 100644 c\n\n(from base)\n'
	} >want
	head -n 9 out | diff -u want - && printf 'a\nc\na\nc\n' >want && sed -n '/^\/: (run/,/--->/p' out | sed '1d;$d' | diff -u want -
}

builds_again()
{
	mv x away
	runs "$SLIPWAY" build -f job.spec --git "$url#refs/pull/1/head" --commit "$pull" --onto master --merge-base "$master"
	rc=$?
	mv away x
	[ "$rc" = 0 ] && has '^All commits already cached$' out && [ "$(grep -c '\-\-\-> using' out)" = 3 ]
}

t 'merges a pull request and builds it, without .git' builds_merged
t 'asks no server for what it has' builds_again
t 'leaves no working tree' sh -c '[ -z "$(ls -A root/build/git/tmp)" ]'
t 'a dry run runs nothing' runs "$SLIPWAY" build --dry-run -f job.spec --git "$url"
t 'with --quiet, git is quiet, too' sh -c '"$SLIPWAY" build -q -f job.spec --git "$0" | grep -qx "[0-9a-f]\{64\}"' "$url"
t 'with --json, it speaks on standard error' sh -c '"$SLIPWAY" build --json -f job.spec --git "$0" 2>err | python3 -m json.tool >out && grep -q "^HEAD is now" err' "$url"

# -- servers
port=$(free_port)
git daemon --export-all --base-path="$T" --listen=127.0.0.1 --port="$port" --reuseaddr >daemon.log 2>&1 &
servers="$servers $!"
git -C x update-server-info
http=$(free_port)
python3 -m http.server -b 127.0.0.1 "$http" >http.log 2>&1 &
servers="$servers $!"
t 'git daemon answers' await git ls-remote "git://127.0.0.1:$port/x"
t 'builds from git://' sh -c '"$SLIPWAY" build -f job.spec --git "git://127.0.0.1:$0/x#refs/pull/1/head" >out && grep -q "^HEAD is now at .* adds c$" out' "$port"
t 'the web server answers' await git ls-remote "http://127.0.0.1:$http/x/.git"
t 'builds from http://' sh -c '"$SLIPWAY" build -f job.spec --git "http://127.0.0.1:$0/x/.git" >out && grep -q "^HEAD is now at .* first$" out' "$http"
t 'offline asks nobody' must_fail 1 "$SLIPWAY" --offline build -f job.spec --git "http://127.0.0.1:$http/x/.git"

# -- a submodule of a server's repository cannot lead to this machine's files
git init -q -b master outer && cd outer && git -c protocol.file.allow=always submodule -q add "$url" sub && git commit -qm sub && cd .. || exit 1
t 'submodules of a repository on disk come along' sh -c '
	"$SLIPWAY" build -f job.spec --git "file://$T/outer" >out 2>&1; grep -q "Submodule path .sub.: checked out" out && grep -q "^sub$" out'
t 'those of a server may not be files here' sh -c '! "$SLIPWAY" build -f job.spec --git "git://127.0.0.1:$0/outer" >out 2>&1' "$port"
t 'in words of git' has "transport 'file' not allowed" out

# -- what cannot be
t 'a conflict is told in words of git' sh -c '
	cd x && git checkout -q -b clash && echo x >c && git add . && git commit -qm clash && git checkout -q master && cd .. &&
	! "$SLIPWAY" build -f job.spec --git "$0#refs/pull/1/head" --onto clash >out 2>err && grep -q "^CONFLICT" out && grep -q "cannot\|merge" err' "$url"
t 'no such reference' must_fail 1 "$SLIPWAY" build -f job.spec --git "$url#nothing"
t 'says which' has "has no 'nothing'" err
t 'no such commit' must_fail 1 "$SLIPWAY" build -f job.spec --git "$url" --commit 0123456789012345678901234567890123456789
t 'a command in place of a URL' must_fail 2 "$SLIPWAY" build -f job.spec --git 'ext::sh -c touch% /tmp/x'
t 'an option in place of a URL' must_fail 2 "$SLIPWAY" build -f job.spec --git=--upload-pack=touch
t 'an option in place of a reference' must_fail 2 "$SLIPWAY" build -f job.spec --git "$url#--upload-pack=touch"
t 'a repository and a folder' must_fail 2 "$SLIPWAY" build -f job.spec --git "$url" .
t 'a commit of no repository' must_fail 2 "$SLIPWAY" build -f job.spec --commit "$pull" .
t 'a password in the URL' must_fail 2 "$SLIPWAY" build -f job.spec --git 'https://me:secret@h/x'
t 'is not shown' hasnt secret err
t 'leaves no working tree either' sh -c '[ -z "$(ls -A root/build/git/tmp)" ]'

# -- the head
heads()
{
	runs "$SLIPWAY" build --header --title 'build it' --variant v-1 --note '(a note)' --dry-run -f job.spec --git "$url#refs/pull/1/head" \
		--onto master || return 1
	sed -n 1,4p out | sed 's/^2[0-9-]* [0-9:.]*: /TIME: /; s,/[^ ]*$,/ARCH,' >got
	{
		echo '(a note)'
		echo 'TIME: New job: build it'
		printf '%30sfrom %s#refs/pull/1/head (%s)\n' '' "$url" "$pull"
		printf '%30son v-1/ARCH\n' ''
	} | sed 's,/[^ ]*$,/ARCH,' | diff -u - got && has '^git merge --no-edit '"$master" out && has ': Using OBuilder spec:$' out
}
t 'the head of a log' heads
t 'the recipe of another spec' sh -c '
	echo "((from other))" >other.spec; "$SLIPWAY" build --header --recipe other.spec --dry-run -f job.spec . >out && grep -q "^FROM other$" out'
t 'that is none' sh -c '
	echo "((from other)" >other.spec; ! "$SLIPWAY" build --header --recipe other.spec --dry-run -f job.spec . 2>err && grep -q "other.spec:1" err'

done_testing
