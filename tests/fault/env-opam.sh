#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# A repository of opam packages is kept, an environment of its packages made, changed and taken back while calls fail, and the process vanishes, at
# state-changing calls. Each time: the environment is wholly what it was or wholly what it is to be, and runs; what is noted as built is there and whole; the next command works, and leaves
# nothing of the one that was cut off.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm # nothing here depends on the disk, and the many syncs take time there
	export TMPDIR
fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/opam-repo.sh"
need tar
opam_repo || exit 1
"$SLIPWAY" -q channel add opam repo && cp -a root kept-channel && "$SLIPWAY" -q env create -n e --opam --disable-sandboxing base-x.1 || exit 1
cp -a root kept-one
"$SLIPWAY" -q env update -n e --opam --disable-sandboxing base-x.2 hello && cp -a root kept-two || exit 1
mkdir kept-none

# state: the tool's answer, "none", or what is wrong
state()
{
	FAULT='' "$SLIPWAY" env list >said.list 2>&1 || { cat said.list; return; }
	grep -q '^e ' said.list || { echo none; return; }
	FAULT='' "$SLIPWAY" env run -n e base-tool 2>&1 || echo "does not run"
}

add()
{
	"$SLIPWAY" channel add opam repo
}
create()
{
	"$SLIPWAY" env create -n e -j 1 --opam --disable-sandboxing base-x.1
}
change()
{
	"$SLIPWAY" env update -n e -j 1 --opam --disable-sandboxing base-x.2 hello
}
back()
{
	"$SLIPWAY" install rollback -n e 1
}

whole()
{
	for kept in root/opam/kept/*; do
		case ${kept##*/} in *[!0-9a-f]*) continue ;; esac # none, or a temporary file of one that was cut off
		read -r digest _ <"$kept" || { echo "torn: $kept"; return 1; }
		[ -d "root/store/tree/$digest" ] || { echo "noted, and not there: $kept"; return 1; }
	done
	[ "$(state)" = none ] || "$SLIPWAY" env check -n e >said.check 2>&1 || { cat said.check; return 1; }
	"$SLIPWAY" -q store verify
}

# after RC COMMAND OLD NEW
after()
{
	now=$(state)
	case $1 in
	0) [ "$now" = "$4" ] ;;
	1 | 4) [ "$now" = "$3" ] && [ -s said ] ;;
	5 | 99) [ "$now" = "$3" ] || [ "$now" = "$4" ] ;;
	*) false ;;
	esac || { echo "exit $1, and there is: $now"; return 1; }
	FAULT='' whole || return 1
	# what was done is not done again; another one that builds clears up
	again=$2
	case $2:$now in create:"$4" | back:"$4") again=change ;; esac
	FAULT='' $again >said.again 2>&1 || { [ "$again" = create ] && grep -q "'e' is there already" said.again; } ||
		{ echo 'does not work afterwards:'; cat said.again; return 1; } # the next one may have settled it as made
	[ "$again" != "$2" ] || [ "$(state)" = "$4" ] && FAULT='' whole && [ ! -e root/opam/work ] || { echo 'is not what it is to be'; ls root/opam; return 1; }
	case $again in
	change) FAULT='' "$SLIPWAY" env run -n e hello >/dev/null ;;
	add) FAULT='' create >said.again 2>&1 && [ "$(state)" = 'tool 1' ] || { cat said.again; return 1; } ;;
	esac
}

# sweep MODE FIRST STEP KEPT COMMAND OLD NEW
sweep()
{
	mode=$1 n=$2 step=$3 kept_as=$4
	shift 4
	rm -rf root count
	cp -a "kept-$kept_as" root
	FAULT=count:$T/count "$1" >said 2>&1 || { cat said; return 1; }
	calls=$(awk '{ n += $1 } END { print n }' count)
	[ "$calls" -ge 5 ] || { echo "only $calls calls are counted"; return 1; }
	while [ "$n" -le "$calls" ]; do
		rm -rf root
		cp -a "kept-$kept_as" root
		FAULT=$mode:$n "$1" >said 2>&1
		after $? "$@" || { echo "$mode:$n of $calls"; cat said; return 1; }
		n=$((n + step))
	done
}
# In steps: each call is one of several hundred, most of them of what opam-install.sh and env.sh sweep; another start with each mode.
STEP=${STEP:-17}
first=1
for mode in fail stop; do
	t "a repository is kept, $mode" sweep $mode 1 1 none add none none
	t "an environment is made, $mode" sweep $mode $first "$STEP" channel create none 'tool 1'
	t "it is changed, $mode" sweep $mode $first "$STEP" one change 'tool 1' 'tool 2'
	t "it is taken back, $mode" sweep $mode 1 2 two back 'tool 2' 'tool 1'
	first=$((first + 4))
done
done_testing
