# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
# ./check believes tools/count-tap; so do we only after this.
unset CI

# program NAME RESULT LINE...: one entry of meson's log
program()
{
	printf '=================================== %d/9 ===================================\n' 1
	printf 'test:         slipway:%s\nstart time:   01:02:03\nresult:       %s\ncommand:      x\n' "$1" "$2"
	shift 2
	[ $# = 0 ] || printf -- '----------------------------------- stdout -----------------------------------\n'
	[ $# = 0 ] || printf '%s\n' "$@"
	printf '==============================================================================\n\n'
}

# counts NUMBERS: the last line of the count of ./log
counts()
{
	"$SOURCE_ROOT/tools/count-tap" log >counted
	tail -n 1 counted | grep -qx "$1" || { cat counted; return 1; }
}

program 'unit / a' 'exit status 0' 'ok 1 x' 'ok 2 y' '1..2' >log
program 'unit / b' 'exit status 0' 'ok 1 x' '1..1' >>log
t 'counts what passes' counts '3 0 0'
program 'unit / c' 'exit status 1' 'ok 1 x' 'not ok 2 y' 'not ok 3 z' '1..3' >>log
t 'counts each failure' counts '4 2 0'
t 'names a failure' has '^FAIL unit / c: not ok 2 y' counted
program 'unit / said' 'exit status 1' 'not ok 1 x' '1..1' \
	'----------------------------------- stderr -----------------------------------' '# x.c:1: why' >log
program 'unit / quiet' 'exit status 0' 'ok 1 x' '1..1' \
	'----------------------------------- stderr -----------------------------------' '# chatter' >>log
t 'counts past what programs say' counts '1 1 0'
t 'shows what a failing program said' has '^    # x.c:1: why' counted
t 'and not what a good one did' hasnt 'chatter' counted
program 'unit / c' 'exit status 1' 'ok 1 w' 'ok 2 w' 'ok 3 w' 'ok 4 x' 'not ok 5 y' 'not ok 6 z' '1..6' >log
program 'unit / d' 'killed by signal 11 SIGSEGV' >>log
t 'a crash without output is a failure' counts '4 3 0'
program 'unit / e' 'exit status 0' 'ok 1 x' >>log
t 'a missing plan is a failure' counts '5 4 0'
program 'unit / f' 'exit status 0' 'ok 1 x' '1..2' >>log
t 'a test that did not run is a failure' counts '6 5 0'
program 'unit / g' 'exit status 0' 'ok 1 x # SKIP no bwrap' '1..1' >log
t 'counts a skip' counts '0 0 1'
t 'says why' has '^SKIP unit / g: ok 1 x (no bwrap)' counted
program 'unit / h' 'exit status 0' '1..0 # SKIP no shared data' >>log
t 'counts a skipped program' counts '0 0 2'
program 'unit / i' 'exit status 0' 'ok 1 x # SKIP file system has no reflinks' '1..1' >>log
CI=true
export CI
t 'CI takes no excuse but the kernel and the file system' counts '0 2 1'

done_testing
