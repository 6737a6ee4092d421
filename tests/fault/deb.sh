#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Publishing into a signed Debian archive, and taking out of one, fails and
# vanishes at each of its state-changing calls in turn. Each time clients see
# one complete, signed state, and the same command then succeeds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
op=$BUILD_ROOT/tests/fault_deb
command -v gpg >/dev/null || skip_all "there is no gpg here"

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
	rm -rf "$T/root"
	cp -r "$T/$1" "$T/root"
}

# either WANTED OTHER: lists of packages
either()
{
	# shellcheck disable=SC2086
	"$op" "$T/root" published $1 >/dev/null || "$op" "$T/root" published $2 || { echo "the archive is damaged"; return 1; }
}

# sweep MODE FROM BEFORE AFTER OPERATION...
sweep()
{
	mode=$1 from=$2 before=$3 after=$4
	shift 4
	fresh "$from" || return 1
	rm -f "$T/count"
	FAULT=count:$T/count "$op" "$T/root" "$@" || { echo "fails without a fault"; return 1; }
	calls=$(cat "$T/count")
	[ "$calls" -ge 8 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		fresh "$from" || return 1
		FAULT=$mode:$n "$op" "$T/root" "$@" >"$T/said" 2>&1
		# shellcheck disable=SC2086
		{ said $? "$mode" && either "$before" "$after"; } || { echo "$mode:$n"; return 1; }
		# a removal that was done finds nothing to remove any more
		"$op" "$T/root" "$@" >"$T/said" 2>&1 || grep -q 'no index lists' "$T/said" || { cat "$T/said"; echo "$mode:$n, again"; return 1; }
		# shellcheck disable=SC2086
		{ "$op" "$T/root" published $after && "$op" "$T/root" clean; } || { echo "$mode:$n, after it"; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

mkdir "$T/none"
t 'packages and a key' "$op" "$T/none" packages
cp -r "$T/none" "$T/one"
t 'the first package' "$op" "$T/one" publish 1
t 'what is published is seen' "$op" "$T/one" published 1
t 'what is not, too' must_fail 1 "$op" "$T/one" published 1 3
cp -r "$T/one" "$T/two"
t 'the second' "$op" "$T/two" publish 2
for mode in fail stop; do
	t "the first publication, $mode" sweep "$mode" none '' 1 publish 1
	t "a publication, $mode" sweep "$mode" one 1 '1 2' publish 2
	t "a removal, $mode" sweep "$mode" two '1 2' 1 remove 2
done
done_testing
