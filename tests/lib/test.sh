# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Helpers for tests in POSIX sh; TAP on stdout. A script begins with
#
#	. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
#
# and ends with `done_testing`. $SLIPWAY is the program, $T a fresh folder that
# is removed at the end, $SLIPWAY_ROOT a root inside it, $SHARED the folder of
# real third-party data (need_shared PATH skips where it is missing).
#
#	t 'lists nothing at first' "$SLIPWAY" env list       passes if it exits 0
#	t 'refuses no name' must_fail 2 "$SLIPWAY" env       exit code 2, no crash
#	t 'says so' grep -q "no environment 'x'" err         of the last must_fail
#	skip 'runs rpmbuild' 'no rpmbuild'                   one skipped test
#	skip_all 'needs user namespaces'                     the whole script
#
# Output of a failing test is shown as diagnostics. A command that dies of a
# signal or a sanitizer fails the test whatever code was expected.
set -u
SOURCE_ROOT=${SOURCE_ROOT:-$(pwd)}
SLIPWAY=${SLIPWAY:-$SOURCE_ROOT/build/slipway}
SHARED=${SLIPWAY_SHARED:-$SOURCE_ROOT/../shared}
T=$(mktemp -d "${TMPDIR:-/tmp}/slipway-test.XXXXXX") || exit 1
trap 'chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
trap 'exit 1' INT TERM HUP
SLIPWAY_ROOT=$T/root
HOME=$T/home
LC_ALL=C.UTF-8
SLIPWAY_SERVICES=agent # never this machine's own systemd
export SLIPWAY_SERVICES SOURCE_ROOT SLIPWAY SHARED SLIPWAY_ROOT HOME LC_ALL T
unset XDG_DATA_HOME XDG_CONFIG_HOME XDG_CACHE_HOME http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
mkdir -p "$HOME"
cd "$T" || exit 1
test_n=0 test_failed=0

# Diagnostics go to standard error, where meson's --print-errorlogs finds them.
diag()
{
	sed 's/^/# /' >&2
}

# pass NAME, fail NAME
pass()
{
	test_n=$((test_n + 1))
	echo "ok $test_n $1"
}

fail()
{
	test_n=$((test_n + 1))
	test_failed=$((test_failed + 1))
	echo "not ok $test_n $1"
}

# t NAME COMMAND...: one test; passes if the command succeeds. Exit code 77 skips it, with the first line as reason.
t()
{
	test_name=$1
	shift
	if "$@" >"$T/.out" 2>&1; then
		pass "$test_name"
	else
		test_rc=$?
		if [ "$test_rc" = 77 ]; then
			skip "$test_name" "$(head -n 1 "$T/.out")"
			return
		fi
		fail "$test_name"
		{
			echo "$test_name: exit status $test_rc: $*"
			cat "$T/.out"
		} | diag
	fi
}

skip()
{
	test_n=$((test_n + 1))
	echo "ok $test_n $1 # SKIP $2"
}

skip_all()
{
	[ "$test_n" = 0 ] || { echo "# skip_all after the first test"; exit 1; }
	echo "1..0 # SKIP $*"
	exit 0
}

# need COMMAND...: skip the script where a command is missing.
need()
{
	for test_c; do
		command -v "$test_c" >/dev/null || skip_all "no $test_c"
	done
}

# need_shared PATH...: skip the script where real data are missing.
need_shared()
{
	for test_c; do
		[ -e "$SHARED/$test_c" ] || skip_all "no shared data '$test_c' (set SLIPWAY_SHARED)"
	done
}

# crashed CODE: is it the exit code of a signal (128 and up) or of a sanitizer (99)?
crashed()
{
	[ "$1" -ge 128 ] || [ "$1" = 99 ]
}

# must_fail CODE COMMAND...: exits with exactly CODE; stdout in ./out, stderr in ./err.
must_fail()
{
	test_want=$1
	shift
	"$@" >out 2>err
	test_rc=$?
	[ "$test_rc" = "$test_want" ] && ! crashed "$test_rc" && return 0
	crashed "$test_rc" && echo "crashed with status $test_rc"
	echo "exit status $test_rc, not $test_want: $*"
	cat out err
	return 1
}

# runs COMMAND...: exits 0; stdout in ./out, stderr in ./err.
runs()
{
	must_fail 0 "$@"
}

# prints TEXT COMMAND...: exits 0 and its stdout is TEXT.
prints()
{
	test_text=$1
	shift
	runs "$@" || return 1
	printf '%s\n' "$test_text" | diff -u - out
}

# has PATTERN FILE: FILE has a line that matches; else shows FILE.
has()
{
	grep -q -e "$1" "$2" || { echo "no line matches '$1':"; cat "$2"; return 1; }
}

# hasnt PATTERN FILE
hasnt()
{
	! grep -e "$1" "$2"
}

done_testing()
{
	echo "1..$test_n"
	[ "$test_failed" = 0 ]
	exit
}
