#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Signing a plan, bringing it to a mirror, trusting a root and asking for a plan fail, and the process vanishes, at each of their state-changing
# calls in turn. Each time: a host, new or known, finds the plan of before or the one of now, whole; the same command then succeeds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

plan()
{
	"$SLIPWAY" -q plan "$@"
}

# on HOST COMMAND...
host()
{
	host_root=$1
	shift
	"$SLIPWAY" -q --root "$host_root" "$@"
}

recipe()
{
	printf 'recipe 1\nname step\nlock exact\npackage {"name":"web","version":"%s","build":"0","build_number":0,"fn":"web-%s-0.conda","subdir":"noarch","url":"file:///srv/site/noarch/web-%s-0.conda","channel":"file:///srv/site","sha256":"%064d"}\n' "$1" "$1" "$1" "$2"
}

recipe 1.0 1 >one.spr
recipe 1.1 2 >two.spr
mkdir served
"$SLIPWAY" -q tuf create op/metadata --keys keys && plan sign op one.spr --keys keys --host a && plan publish op served || exit 1
host known plan trust op/metadata/1.root.json --host a --url "file://$T/served" && host known plan show -n step >/dev/null || exit 1
mkdir fresh
for d in op served known fresh; do cp -r $d $d.old; done

begin()
{
	rm -rf op served known fresh
	for d in op served known fresh; do cp -r $d.old $d; done
}

# found HOST: one of both plans, whole
found()
{
	host "$1" plan show -n step >got 2>&1 || { cat got; return 1; }
	grep -q '"version":"1.[01]"' got || { echo 'no plan'; cat got; return 1; }
}
# both: a host that knows the plan of before, and one that comes now
both()
{
	found known && rm -rf fresh && host fresh plan trust op/metadata/1.root.json --host a --url "file://$T/served" && found fresh
}
newest()
{
	plan publish op served && both && grep -q '"version":"1.1"' got
}

sign_op()
{
	plan sign op two.spr --keys keys --host a
}
sign_after()
{
	both && sign_op && newest
}

publish_before()
{
	sign_op
}
publish_op()
{
	plan publish op served
}
publish_after()
{
	both && newest
}

# other keys: a root is published, too
rotated_before()
{
	"$SLIPWAY" -q tuf rotate op/metadata targets --keys keys
}
rotated_op()
{
	plan publish op served
}
rotated_after()
{
	both && sign_op && newest
}

first_before()
{
	rm -rf served && mkdir served
}
first_op()
{
	plan publish op served
}
first_after()
{
	first_op && both
}

trust_op()
{
	host fresh plan trust op/metadata/1.root.json --host a --url "file://$T/served"
}
trust_after()
{
	trust_op && found fresh
}

show_before()
{
	sign_op && plan publish op served
}
show_op()
{
	host known plan show -n step >/dev/null
}
show_after()
{
	found known && grep -q '"version":"1.1"' got
}

# sweep MODE NAME
sweep()
{
	begin && { ! command -v "$2_before" >/dev/null || "$2_before"; } || return 1
	rm -f count
	FAULT=count:$T/count "$2_op" >said 2>&1 || { echo 'fails without a fault'; cat said; return 1; }
	calls=$(tail -n 1 count)
	[ "$calls" -ge 5 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		begin && { ! command -v "$2_before" >/dev/null || "$2_before"; } || return 1
		rc=0
		FAULT=$1:$n "$2_op" >said 2>&1 || rc=$?
		case $1:$rc in
		stop:99 | fail:0) ;;
		fail:1 | fail:5) [ -s said ] || { echo "$1:$n fails without a word"; return 1; } ;;
		*) echo "$1:$n: exit status $rc"; cat said; return 1 ;;
		esac
		"$2_after" >judged 2>&1 || { echo "$1:$n"; cat judged; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

timestamp_before()
{
	"$SLIPWAY" -q tuf rotate op/metadata timestamp --keys keys
}
timestamp_op()
{
	plan publish op served
}
timestamp_after()
{
	both && sign_op && newest
}

for mode in fail stop; do
	for operation in sign publish rotated timestamp first trust show; do
		t "$operation, $mode" sweep "$mode" "$operation"
	done
done
done_testing
