#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The making of an authority, enrolment, renewal, revocation and a change of
# authorities fail, and the process vanishes, at each state-changing call. Each
# time: no code is spent without a record, none makes two, whoever was trusted
# is trusted, and the same again succeeds.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
op=$BUILD_ROOT/tests/fault_enroll
d=$T/d

empty()
{
	rm -rf "$d" && mkdir "$d"
}

made()
{
	empty && "$op" "$d" make && cp "$d/pki/ca.pem" "$d/first.pem" && "$op" "$d" code && "$op" "$d" key m1 &&
		"$op" "$d" key m2 && cp -R "$d" "$T/made"
}

with_code()
{
	rm -rf "$d" && cp -R "$T/made" "$d"
}

enrolled()
{
	with_code && "$op" "$d" enroll m1
}

announced()
{
	with_code && "$op" "$d" announce
}

after_make()
{
	"$op" "$d" make && "$op" "$d" make && "$op" "$d" code && "$op" "$d" enroll m1 && "$op" "$d" known m1
}

# after_enroll: the code has made a record or it has not; it makes it now, for this machine and for no other
after_enroll()
{
	if "$op" "$d" records 1; then
		"$op" "$d" enroll m2 && { echo "a code is good twice"; return 1; }
	else
		"$op" "$d" records 0 || return 1
	fi
	"$op" "$d" enroll m1 && "$op" "$d" records 1 && "$op" "$d" known m1 || return 1
	"$op" "$d" enroll m2 && { echo "a code is good twice"; return 1; }
	"$op" "$d" records 1
}

after_renew()
{
	"$op" "$d" known m1 || { echo "what was good is lost"; return 1; }
	"$op" "$d" renew m1 && "$op" "$d" records 1 && "$op" "$d" later m1 && cp "$d/m1.new" "$d/m1.crt" && "$op" "$d" later m1
}

after_revoke()
{
	"$op" "$d" revoke m1 && "$op" "$d" unknown m1 && "$op" "$d" listed 1
}

# after_remove: it is as it was, or gone with its certificate in the list
after_remove()
{
	if "$op" "$d" records 1; then
		"$op" "$d" known m1 && "$op" "$d" remove m1 || return 1
	fi
	"$op" "$d" records 0 && "$op" "$d" unknown m1 && "$op" "$d" listed 1
}

after_announce()
{
	"$op" "$d" trusted && "$op" "$d" announce && "$op" "$d" trusted && "$op" "$d" switch && "$op" "$d" trusted
}

after_switch()
{
	# done, or to be done again: then there is nothing to switch to, or there is
	"$op" "$d" trusted || { echo "the server is not trusted any more"; return 1; }
	case $(cat "$d/pki/current") in
	1) "$op" "$d" switch ;;
	2) "$op" "$d" make ;;
	esac && "$op" "$d" trusted && [ "$(cat "$d/pki/current")" = 2 ] && "$op" "$d" code && "$op" "$d" enroll m1 && "$op" "$d" known m1
}

# sweep MODE BEFORE AFTER OPERATION...
sweep()
{
	mode=$1 before=$2 after=$3
	shift 3
	$before >/dev/null || return 1
	rm -f "$T/count"
	FAULT=count:$T/count "$op" "$d" "$@" || { echo "fails without a fault"; return 1; }
	calls=$(cat "$T/count")
	[ "$calls" -ge 1 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		$before >/dev/null || return 1
		FAULT=$mode:$n "$op" "$d" "$@" >"$T/said" 2>&1
		rc=$?
		case $mode:$rc in
		stop:99 | fail:0) ;;
		fail:1) [ -s "$T/said" ] || { echo "fails without a word"; return 1; } ;;
		*) echo "$mode:$n: exit status $rc"; cat "$T/said"; return 1 ;;
		esac
		$after >"$T/after" 2>&1 || { echo "$mode:$n"; cat "$T/said" "$T/after"; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

# -- a host's side, over TLS

server=
port=
# serve DAYS: as many days from now; always on the same port
serve()
{
	[ -z "$server" ] || { kill "$server" && wait "$server"; }
	rm -f "$d/port"
	PORT=$port OFFSET_DAYS=$1 "$op" "$d" serve &
	server=$!
	i=0
	until [ -s "$d/port" ]; do
		i=$((i + 1))
		[ "$i" -lt 200 ] || { echo "the server does not start"; return 1; }
		sleep 0.05
	done
	port=$(cat "$d/port")
}

hosted()
{
	rm -rf "$T/root" && empty && OFFSET_DAYS=-61 "$op" "$d" make && mkdir "$T/root" && serve -61
}

new_host()
{
	rm -rf "$T/root" && mkdir "$T/root" && OFFSET_DAYS=-61 "$op" "$d" revoke here 2>/dev/null
	OFFSET_DAYS=-61 "$op" "$d" code_for here
}

# after_here: it is enrolled or not, and the same code brings it to an end
after_here()
{
	"$op" "$d" here "$T/root" && "$op" "$d" reach "$T/root" && "$op" "$d" records 1 || return 1
	[ ! -e "$(echo "$T"/root/mirror/*/pending.key)" ] || { echo "something is left behind"; return 1; }
}

old_host()
{
	rm -rf "$T/root" && cp -R "$T/kept" "$T/root"
}

# after_again: what it has opens the door at each moment
after_again()
{
	"$op" "$d" reach "$T/root" || return 1
	"$op" "$d" again "$T/root" >"$T/again" || grep -q 'not over yet' "$T/again" || { cat "$T/again"; return 1; }
	"$op" "$d" reach "$T/root" && "$op" "$d" records 1
}

t 'a mirror' made
for mode in fail stop; do
	t "its authority, $mode" sweep "$mode" empty after_make make
	t "enrolment, $mode" sweep "$mode" with_code after_enroll enroll m1
	t "renewal, $mode" sweep "$mode" enrolled after_renew renew m1
	t "revocation, $mode" sweep "$mode" enrolled after_revoke revoke m1
	t "removal, $mode" sweep "$mode" enrolled after_remove remove m1
	t "a new authority is announced, $mode" sweep "$mode" with_code after_announce announce
	t "it takes over, $mode" sweep "$mode" announced after_switch switch
done

t 'a mirror that serves' hosted
for mode in fail stop; do
	t "a host enrolls, $mode" sweep "$mode" new_host after_here here "$T/root"
done
t 'a host that is due' eval 'new_host >/dev/null && "$op" "$d" here "$T/root" && cp -R "$T/root" "$T/kept" && serve 0'
for mode in fail stop; do
	t "a host renews, $mode" sweep "$mode" old_host after_again again "$T/root"
done
[ -z "$server" ] || kill "$server"
done_testing
