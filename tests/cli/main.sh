# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

t 'prints its version' runs "$SLIPWAY" --version
t 'the version is a number' has '^slipway [0-9.]*$' out
t 'prints its usage' runs "$SLIPWAY" --help
t 'usage goes to stdout' has '^usage:' out
t 'no command is a usage error' must_fail 2 "$SLIPWAY"
t 'an unknown command is a usage error' must_fail 2 "$SLIPWAY" frobnicate
t 'an unknown command is named' has "unknown command 'frobnicate'" err

done_testing
