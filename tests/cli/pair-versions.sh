# SPDX-License-Identifier: Apache-2.0
# Two members with slipways of different versions: one that understands this one upgrades with it, whoever asks; one that does not is refused
# before anything changes, and the cure that it names works.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build}
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/pair.sh"
need ip haproxy curl tar bzip2
trap 'pair_down; rm -rf "$T"' EXIT
pair_nets >nets.log 2>&1 || { pair_down; skip_all "kernel: no networks of our own here: $(tail -n 1 nets.log)"; }
later=$BUILD_ROOT/tests/slipway-later apart=$BUILD_ROOT/tests/slipway-apart
own=$("$SLIPWAY" --version | sed 's/^slipway //')

# becomes N PROGRAM: the slipway of member N is another one from here on; its services run on
becomes()
{
	eval "pair_program$1=\$2"
	pair_agent_killed "$1"
	pair_agent "$1"
}

# versions ONE TWO: of slipway, as each member shows them of both
versions()
{
	for versions_n in 1 2; do
		m $versions_n show redundancy -n site >out && has "Slipway = $1\$" out && has "Slipway = $2\$" out || return 1
	done
}

# one_upgrade N VERSION: begun on that member, in three steps, and nobody who asks notices
one_upgrade()
{
	pair_load
	m "$1" install add "web=$2" -n site -c "$T/ch" >up.out 2>&1 && m "$1" install activate issu -n site >>up.out 2>&1 &&
		m "$1" install commit -n site >>up.out 2>&1
	one_code=$?
	pair_unload || { cat load.out; return 1; }
	[ "$one_code" = 0 ] && pair_versions "web $2" "web $2" && await pair_both_up && return
	cat up.out
	return 1
}

both_own()
{
	pair_server 1.0 && pair_server 1.1 && pair_server 1.2 && pair_hosts && m 1 install add web=1.0 -n site activate commit &&
		m 1 start site && m 2 start site && await pair_both_up && versions "$own" "$own"
}

understood()
{
	becomes 2 "$later" && versions "$own" 0.9.0 && one_upgrade 1 1.1 && one_upgrade 2 1.2
}

aborted()
{
	m 2 install add web=1.1 -n site -c "$T/ch" && m 2 install activate issu -n site && m 1 install abort issu -n site &&
		pair_versions 'web 1.2' 'web 1.2'
}

says_both()
{
	has "slipway 0.95.0" "$1" && has "slipway $own" "$1" && has 'they do not understand each other; install slipway 0.95.0 on both' "$1"
}

# From either side, in the words of either.
refused()
{
	becomes 2 "$apart" && must_fail 1 m 1 install add web=1.1 -n site && says_both err && has 'nothing changed' err &&
		must_fail 1 m 2 install add web=1.1 -n site -c "$T/ch" && says_both err && must_fail 1 m 1 install activate issu -n site &&
		pair_versions 'web 1.2' 'web 1.2' && m 1 show redundancy -n site >out && says_both out && m 2 pair show >out && says_both out
}

# What was added while they understood each other: neither goes on with it alone.
refused_in_the_middle()
{
	becomes 2 "$later" && m 1 install add web=1.1 -n site && becomes 2 "$apart" && must_fail 1 m 1 install activate issu -n site &&
		says_both err && pair_is 1 added 'web 1.2' && pair_is 2 added 'web 1.2'
}

cured()
{
	becomes 1 "$apart" && versions 0.95.0 0.95.0 && m 1 install activate issu commit -n site && pair_versions 'web 1.1' 'web 1.1' &&
		await pair_both_up && one_upgrade 2 1.2
}

t 'two hosts with this version' both_own
[ "$test_failed" = 0 ] || { tail -n 20 "$T"/agent?.log | diag; done_testing; exit; }
t 'one is of a later version: upgrades from either, nothing lost' understood
t 'and an abort' aborted
t 'one that does not understand the other is refused, and nothing changes' refused
t 'nor does an upgrade go on that was begun before' refused_in_the_middle
t 'the same on both, as it said' cured
done_testing
