# SPDX-License-Identifier: Apache-2.0
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

t 'prints its version' runs "$SLIPWAY" --version
t 'the version is a number' has '^slipway [0-9.]*$' out
t 'prints its usage' runs "$SLIPWAY" --help
t 'usage goes to stdout' has '^usage:' out
t 'no command is a usage error' must_fail 2 "$SLIPWAY"
t 'an unknown command is a usage error' must_fail 2 "$SLIPWAY" frobnicate
t 'an unknown command is named' has "unknown command 'frobnicate'" err
t 'options of every command may stand before it' runs "$SLIPWAY" --root "$T/elsewhere" --json env list
t 'they count' has '^{' out
t 'before a command without a verb too' must_fail 2 "$SLIPWAY" --root="$T/elsewhere" solve
t 'an unknown command after options is named' must_fail 2 "$SLIPWAY" --root "$T/elsewhere" frobnicate
t 'and not the option' has "unknown command 'frobnicate'" err
t 'an unknown verb after options is named' must_fail 2 "$SLIPWAY" -q env frobnicate
t 'with its noun' has "'env' has no verb 'frobnicate'" err

done_testing
