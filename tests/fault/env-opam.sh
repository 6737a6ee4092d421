#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# An environment of opam packages is made and changed while calls fail, and the process vanishes, at each state-changing call in turn. Each time:
# the environment is wholly what it was or wholly what it is to be, and runs; what is noted as built is there and whole; the next command works, and leaves
# nothing of the one that was cut off.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm # nothing here depends on the disk, and the many syncs take time there
	export TMPDIR
fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/opam-repo.sh"
need tar
opam_repo || exit 1
"$SLIPWAY" -q channel add opam repo && "$SLIPWAY" -q env create -n e --opam --disable-sandboxing base-x.1 || exit 1
cp -a root kept

# state: the tool's answer, or what is wrong
state()
{
	FAULT='' "$SLIPWAY" env list >said.list 2>&1 || { cat said.list; return; }
	FAULT='' "$SLIPWAY" env run -n e base-tool 2>&1 || echo "does not run"
}

change()
{
	"$SLIPWAY" env update -n e -j 1 --opam --disable-sandboxing base-x.2 hello
}

whole()
{
	for kept in root/opam/kept/*; do
		case ${kept##*/} in *[!0-9a-f]*) continue ;; esac # a temporary file of one that was cut off
		read -r digest _ <"$kept" || { echo "torn: $kept"; return 1; }
		[ -d "root/store/tree/$digest" ] || { echo "noted, and not there: $kept"; return 1; }
	done
	"$SLIPWAY" env check -n e >said.check 2>&1 && "$SLIPWAY" -q store verify || { cat said.check; return 1; }
}

# after RC
after()
{
	now=$(state)
	case $1 in
	0) [ "$now" = 'tool 2' ] ;;
	1 | 4) [ "$now" = 'tool 1' ] && [ -s said ] ;;
	5 | 99) [ "$now" = 'tool 1' ] || [ "$now" = 'tool 2' ] ;;
	*) false ;;
	esac || { echo "exit $1, and there is: $now"; return 1; }
	FAULT='' whole && FAULT='' change >said.again 2>&1 || { echo 'does not work afterwards:'; cat said.again; return 1; }
	[ "$(state)" = 'tool 2' ] && FAULT='' whole && [ ! -e root/opam/work ] && FAULT='' "$SLIPWAY" env run -n e hello >/dev/null ||
		{ echo 'is not what it is to be'; ls root/opam; return 1; }
}

rm -f count
FAULT=count:$T/count change >said 2>&1 || { cat said; exit 1; }
calls=$(awk '{ n += $1 } END { print n }' count)
t 'a change changes something' [ "${calls:-0}" -gt 100 ]

# In steps: each call is one of several hundred, most of them of what opam-install.sh and env.sh sweep; another start with each mode.
sweep()
{
	n=$2
	while [ "$n" -le "$calls" ]; do
		rm -rf root
		cp -a kept root
		FAULT=$1:$n change >said 2>&1
		after $? || { echo "$1:$n"; cat said; return 1; }
		n=$((n + STEP))
	done
}
STEP=${STEP:-13}
t 'calls fail' sweep fail 1
t 'it stops at calls' sweep stop 4
done_testing
