#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A build of a git repository fails, and the process vanishes, at each state-changing call of its own in turn. Each time: the next build has the
# right tree, whatever is in the cache, and no working tree is left.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
need git
GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=t GIT_COMMITTER_NAME=t EMAIL=t@localhost
export GIT_CONFIG_GLOBAL GIT_AUTHOR_NAME GIT_COMMITTER_NAME EMAIL
"$SLIPWAY" build --check >can 2>&1 || skip_all "kernel: no sandboxes here ($(tail -n 1 can))"
rootfs_tar base.tar || exit 1
"$SLIPWAY" image import base base.tar >/dev/null 2>&1 || exit 1
git init -q -b master x && cd x || exit 1
echo a >a && git add . && git commit -qm first && git checkout -q -b pull && echo c >c && git add . && git commit -qm second && git checkout -q master
cd ..
echo '((from base) (copy (src .) (dst /src/)) (run (shell "cd /src && ls -A && cat *")))' >job.spec
dir=$SLIPWAY_ROOT/build

# nothing is run: the sweep is of the source alone
operation()
{
	"$SLIPWAY" build --dry-run -f job.spec --git "file://$T/x#pull" --onto master >said 2>&1
}

after()
{
	"$SLIPWAY" build -f job.spec --git "file://$T/x#pull" --onto master >log 2>&1 || return 1
	[ "$(sed -n '/^\/: (run/,/--->/p' log | sed '1d;$d')" = "$(printf 'a\nc\na\nc')" ] || { echo 'another tree'; return 1; }
	[ -z "$(ls -A "$dir/git/tmp")" ] || { echo 'left:'; ls -AR "$dir/git/tmp"; return 1; }
	[ -z "$(find "$dir/git" -maxdepth 1 -name '*.new')" ] || { echo 'left:'; ls -A "$dir/git"; return 1; }
}

# sweep MODE
sweep()
{
	rm -rf "$dir/git" count
	(FAULT=count:$T/count && export FAULT && operation) || { echo 'fails without a fault'; cat said; return 1; }
	calls=$(sort -n count | tail -n 1)
	[ "$calls" -ge 5 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		rm -rf "$dir/git"
		(FAULT=$1:$n && export FAULT && operation)
		rc=$?
		case $1:$rc in
		stop:99 | fail:0 | fail:1) ;;
		*) echo "$1:$n: exit status $rc"; cat said; return 1 ;;
		esac
		[ "$1:$rc" != fail:1 ] || grep -q '^slipway: ' said || { echo "$1:$n: fails without a word"; cat said; return 1; }
		after || { echo "$1:$n of $calls: see above"; cat log; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

t 'fail' sweep fail
t 'stop' sweep stop

# removal MODE: a copy of the repository goes, or stays as it was; either way the next build is right, and whoever removes it then can
removal()
{
	rm -rf "$dir/git" kept count
	operation || { cat said; return 1; }
	cp -a "$dir/git" kept
	(FAULT=count:$T/count && export FAULT && "$SLIPWAY" build cache remove "file://$T/x" >said 2>&1) || { cat said; return 1; }
	calls=$(sort -n count | tail -n 1)
	[ "$calls" -ge 8 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		rm -rf "$dir/git" && cp -a kept "$dir/git"
		(FAULT=$1:$n && export FAULT && "$SLIPWAY" build cache remove "file://$T/x" >said 2>&1)
		rc=$?
		case $1:$rc in
		stop:99 | fail:0 | fail:1) ;;
		*) echo "$1:$n: exit status $rc"; cat said; return 1 ;;
		esac
		[ "$1:$rc" != fail:1 ] || grep -q '^slipway: ' said || { echo "$1:$n: fails without a word"; cat said; return 1; }
		after || { echo "$1:$n of $calls: see above"; cat log; return 1; }
		"$SLIPWAY" build cache remove "file://$T/x" >said 2>&1 || { echo "$1:$n: cannot be removed afterwards"; cat said; return 1; }
		[ "$(ls "$dir/git")" = tmp ] || { echo "$1:$n: left:"; ls "$dir/git"; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}
t 'a removal, fail' removal fail
t 'a removal, stop' removal stop
done_testing
