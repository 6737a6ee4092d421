#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A client's and a keeper's commands fail, and the process vanishes, at each of their state-changing calls in turn. Each time: what a client
# trusts is whole and no older than before; a client, new or known, finds the old state or the new one; the same command then succeeds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

tuf()
{
	"$SLIPWAY" -q tuf "$@"
}

client()
{
	tuf --metadata-dir "$1" --metadata-url "file://$T/repo/metadata" refresh
}

version()
{
	grep -o '"version": [0-9]*' "$1" | head -n 1 | grep -o '[0-9]*$'
}

mkdir -p tree repo fresh
echo one >tree/a
tuf create repo/metadata --keys keys || exit 1
tuf publish repo/metadata --keys keys --from tree --target-dir repo/targets || exit 1
tuf --metadata-dir known init repo/metadata/1.root.json || exit 1
tuf --metadata-dir fresh init repo/metadata/1.root.json || exit 1
client known || exit 1
echo two >new.a
mv new.a tree/a # not in place: what was published is a link to the old one
cp -r repo repo.old
cp -r known known.old
cp -r fresh fresh.old
cp -r keys keys.old

begin()
{
	rm -rf repo known fresh keys got
	cp -r repo.old repo
	cp -r known.old known
	cp -r fresh.old fresh
	cp -r keys.old keys
}

# found CLIENT: it refreshes, and what it finds is one of both states, whole
found()
{
	tuf --metadata-dir "$1" --metadata-url "file://$T/repo/metadata" --target-name a --target-base-url "file://$T/repo/targets" \
		--target-dir got download || return 1
	case $(cat got/a) in
	one | two) ;;
	*) echo "got $(cat got/a)"; return 1 ;;
	esac
}

# what is judged after each fault in an operation: NAME_op, NAME_after, NAME_done (of the command run again)
refresh_before()
{
	begin && cp -r repo.new/. repo
}
refresh_op()
{
	client known
}
refresh_after()
{
	for role in root timestamp snapshot targets; do
		[ -s "known/$role.json" ] || { echo "$role: lost"; return 1; }
		[ "$(version "known/$role.json")" -ge "$(version "known.old/$role.json")" ] || { echo "$role: older"; return 1; }
	done
	client known && [ "$(version known/targets.json)" = "$(version repo/metadata/3.targets.json)" ]
}

init_before()
{
	begin
}
init_op()
{
	tuf --metadata-dir known init repo/metadata/1.root.json
}
init_after()
{
	init_op && client known
}

publish_before()
{
	begin
}
publish_op()
{
	tuf publish repo/metadata --keys keys --from tree --target-dir repo/targets
}
publish_after()
{
	found known && found fresh && publish_op && found known && [ "$(cat got/a)" = two ]
}

rotate_before()
{
	begin
}
rotate_op()
{
	tuf rotate repo/metadata timestamp --keys keys
}
rotate_after()
{
	found known && found fresh && rotate_op && found known && found fresh
}

create_before()
{
	begin && rm -rf repo/metadata keys
}
create_op()
{
	tuf create repo/metadata --keys keys
}
# half a repository is not a repository: the next create makes one, or says that there is one
create_after()
{
	create_op >again 2>&1 || grep -q 'is a repository already' again || { cat again; return 1; }
	tuf renew repo/metadata --keys keys && tuf show repo/metadata >/dev/null && tuf --metadata-dir new init repo/metadata/1.root.json &&
		client new
}

# sweep MODE NAME
sweep()
{
	"$2_before" || return 1
	rm -f count
	FAULT=count:$T/count "$2_op" >said 2>&1 || { echo 'fails without a fault'; cat said; return 1; }
	calls=$(tail -n 1 count)
	[ "$calls" -ge 5 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		"$2_before" || return 1
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

begin && publish_op && cp -r repo repo.new
for mode in fail stop; do
	for operation in init refresh create publish rotate; do
		t "$operation, $mode" sweep "$mode" "$operation"
	done
done
done_testing
