#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Publishing RPM packages, taking them out and taking over a part of another
# channel fail, and the process vanishes, at each of their state-changing calls in
# turn. Each time: the metadata are those of before or of after, whole and, where they
# are signed, with a good signature; what they list is there; and the same operation
# then succeeds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
op=$BUILD_ROOT/tests/fault_rpm
NOW=1700000000000
export NOW

# said RC MODE: the exit status is one that this fault may give, with a word
said()
{
	case $2:$1 in
	stop:99 | fail:0) ;;
	fail:1) [ -s "$T/said" ] || { echo "fails without a word"; return 1; } ;;
	*) echo "exit status $1"; cat "$T/said"; return 1 ;;
	esac
}

fresh()
{
	rm -rf "$T/c" "$T/d"
}

one()
{
	fresh && "$op" publish "$T/c" "$T/a.rpm"
}

two()
{
	one && "$op" publish "$T/c" "$T/b.rpm"
}

# lists CHANNEL: names of what it lists
lists()
{
	"$op" walk "$1" | awk '$1 == 3 { print $5 }' | tr '\n' ' '
}

# is CHANNEL LIST...: whole, and one of these lists
is()
{
	channel=$1
	shift
	if [ -e "$channel/repodata/repomd.xml" ]; then
		"$op" check "$channel" || return 1
		got=$(lists "$channel")
	else
		got=none
	fi
	for want; do
		[ "$got" != "$want" ] || return 0
	done
	echo "'$got' is listed"
	return 1
}

publish_first()
{
	"$op" publish "$T/c" "$T/a.rpm"
}

after_first()
{
	is "$T/c" none 'a ' && publish_first && is "$T/c" 'a ' && "$op" clean "$T/c"
}

publish_second()
{
	"$op" publish "$T/c" "$T/b.rpm"
}

after_second()
{
	is "$T/c" 'a ' 'a b ' && publish_second && is "$T/c" 'a b ' && "$op" clean "$T/c"
}

drop()
{
	"$op" drop "$T/c" Packages/a-1-1.noarch.rpm
}

# what is out already cannot be taken out again: that its file is gone is for the next to see to
after_drop()
{
	is "$T/c" 'a b ' 'b ' || return 1
	[ "$(lists "$T/c")" = 'b ' ] || drop || return 1
	is "$T/c" 'b ' && "$op" publish "$T/c" && "$op" clean "$T/c"
}

rewrite()
{
	"$op" rewrite "$T/c" "$T/d" b
}

# packages are for others to bring
lists_or_none()
{
	if [ -e "$T/d/repodata/repomd.xml" ]; then
		[ "$(lists "$T/d")" = 'b ' ]
	fi
}

after_rewrite()
{
	lists_or_none && rewrite && lists_or_none && "$op" clean "$T/d"
}

# sweep MODE BEFORE AFTER OPERATION
sweep()
{
	$2 || return 1
	rm -f "$T/count"
	FAULT=count:$T/count $4 || { echo "fails without a fault"; return 1; }
	calls=$(cat "$T/count")
	[ "$calls" -ge 8 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		$2 || return 1
		FAULT=$1:$n $4 >"$T/said" 2>&1
		{ said $? "$1" && $3; } || { echo "$1:$n"; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

# a signature belongs to what it signs
signed()
{
	SIGN="$T/key $(cat "$T/fingerprint")" KEYRING=$T/keyring
	export SIGN KEYRING
}

"$op" package "$T/a.rpm" a 1
"$op" package "$T/b.rpm" b 1
for mode in fail stop; do
	t "the first publication, $mode" sweep "$mode" fresh after_first publish_first
	t "a publication, $mode" sweep "$mode" one after_second publish_second
	t "packages are dropped, $mode" sweep "$mode" two after_drop drop
	t "a part of another channel, $mode" sweep "$mode" two after_rewrite rewrite
done
if "$op" key "$T/key" "$T/keyring" >"$T/fingerprint"; then
	signed
	for mode in fail stop; do
		t "the first signed publication, $mode" sweep "$mode" fresh after_first publish_first
		t "a signed publication, $mode" sweep "$mode" one after_second publish_second
	done
else
	skip "signed publications" "$(cat "$T/fingerprint")"
fi
done_testing
