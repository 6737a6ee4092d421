#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A sync of each kind that brings a change fails, and its process vanishes, at its state-changing calls in turn: what clients see then is the
# state of before or the new one, its signature good where the kind has one, and all that it names is there, whole; the same sync then
# brings the rest, and nothing half-made is left. (conda, and a first sync: mirror-sync.sh.) EVERY=1 for each call, not one of five.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
op=$BUILD_ROOT/tests/fault_kind
. "$SOURCE_ROOT/tests/lib/wait.sh"
need python3
EVERY=${EVERY:-5}

# pypi's index is answers of a server
touch faults
python3 "$SOURCE_ROOT/tests/lib/upstream.py" . faults log >port 2>/dev/null &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$T"' EXIT
await test -s port
far=http://127.0.0.1:$(cat port)/up

# what is published first, and then as well
in_pypi()
{
	python3 "$SOURCE_ROOT/tests/lib/wheel.py" in 'x==1' 'x==2' || return 1
	one=in/x-1-py3-none-any.whl two=in/x-2-py3-none-any.whl from=$far
}
in_opam()
{
	for v in 1 2; do
		echo "archive $v" >x-$v.tar.gz
		mkdir -p x.$v
		printf 'opam-version: "2.0"\nurl { src: "https://h.invalid/%s" checksum: "sha256=%s" }\n' $v \
			"$(sha256sum <x-$v.tar.gz | cut -d ' ' -f 1)" >x.$v/opam
	done
	one='--kind opam x.1/opam x-1.tar.gz' two='--kind opam x.2/opam x-2.tar.gz'
}
in_takeout()
{
	printf 'recipe 1\nchannel https://h.invalid/c\nspec x\n' >a.spr
	printf 'recipe 1\nchannel https://h.invalid/c\nspec y\n' >b.spr
	one=a.spr two=b.spr
}
in_rpm()
{
	"$BUILD_ROOT/tests/fault_rpm" package a.rpm a 1 && "$BUILD_ROOT/tests/fault_rpm" package b.rpm b 1 || return 1
	"$SLIPWAY" -q channel key up >/dev/null || return 1
	keyring=$T/keyring one=a.rpm two=b.rpm
}
in_deb()
{
	mkdir -p debs && "$BUILD_ROOT/tests/fault_deb" debs packages && "$SLIPWAY" -q channel key up >/dev/null || return 1
	keyring=$T/keyring one=debs/1.deb two=debs/2.deb more='--suite stable'
}

sync()
{
	"$SLIPWAY" -q channel sync M/c
}
whole()
{
	PLAIN=yes KEYRING=${keyring:-} "$op" "$kind" check M/content/c "$@"
}
listed()
{
	"$op" "$kind" check "$1" 0 | sed -n 's/ packages are listed//p'
}
begin()
{
	chmod -R u+w M 2>/dev/null
	rm -rf M && cp -r held M
}
# prepared: up1 and up2, and a mirror that holds the first
prepared()
{
	keyring='' more='' from=up
	rm -rf up up1 up2 held root && mkdir up && "in_$kind" || return 1
	# shellcheck disable=SC2086 # lists
	{
		"$SLIPWAY" -q channel publish up $one || return 1
		if [ -n "$keyring" ]; then
			cp up/key.asc keyring && more="$more --keyring $keyring"
		fi
		"$SLIPWAY" -q mirror init held --name m --host h
		sed -i 's/^#bulkBackoffFactor: .*/bulkBackoffFactor: 0/; s/^#bulkParallel: .*/bulkParallel: 1/' held/mirror.yaml
		"$SLIPWAY" -q channel create held/c --kind "$kind" --from "$from" $more --download HISTORIC && "$SLIPWAY" -q channel sync held/c || return 1
		"$SLIPWAY" -q channel publish up $two
	}
}

# sweep MODE
sweep()
{
	begin && rm -f count
	FAULT=count:$T/count sync || { echo 'fails without a fault'; return 1; }
	whole "$after" || return 1
	calls=$(awk '{ n += $1 } END { print n }' count)
	[ "$calls" -ge 15 ] || { echo "only $calls calls are counted"; return 1; }
	n=$2
	while [ "$n" -le "$calls" ]; do
		begin
		FAULT=$1:$n sync >said 2>&1
		rc=$?
		case $1:$rc in
		stop:99 | fail:0) ;;
		fail:1) [ -s said ] || { echo "call $n of $calls fails without a word"; return 1; } ;;
		*) echo "call $n of $calls: exit status $rc"; cat said; return 1 ;;
		esac
		whole "$before" "$after" >damage || { echo "after $1 at call $n of $calls:"; cat damage said; return 1; }
		{ sync && whole "$after" && [ -z "$(ls M/content/c/.slipway/partial)" ]; } >damage 2>&1 ||
			{ echo "after $1 at call $n of $calls it does not go on:"; cat damage; return 1; }
		n=$((n + EVERY))
	done
	echo "$calls calls"
}

for kind in deb rpm pypi opam takeout; do
	if ! prepared >prepare 2>&1; then
		fail "$kind: packages, and a mirror of the first"
		diag <prepare
		continue
	fi
	# a package for all architectures stands in the index of each
	before=1 after=2
	[ $kind != deb ] || before=$(listed held/content/c) after=$(listed up)
	t "$kind is killed" sweep stop 1
	t "$kind fails" sweep fail 2
done
done_testing
