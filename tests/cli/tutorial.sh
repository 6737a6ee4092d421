# SPDX-License-Identifier: Apache-2.0
# The tutorials: their commands run, and print what the pages show.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need cc curl python3

shows()
{
	python3 "$SOURCE_ROOT/tests/lib/transcript.py" "$SOURCE_ROOT/doc/$1" "$SLIPWAY" "$SOURCE_ROOT"
}
t 'tutorial-upgrade.md' shows tutorial-upgrade.md

# and a page that shows something else is noticed
mkdir -p "$T/examples" "$T/doc"
printf '```console\n$ echo 1 2\n1 3\n$ slipway show version | head -n 1\nslipway 0\n```\n' >wrong.md
t 'a page that shows something else' must_fail 1 python3 "$SOURCE_ROOT/tests/lib/transcript.py" wrong.md "$SLIPWAY" "$T"
t 'is told with the line' has '^-1 3$' out
t 'and the command' has '^. echo 1 2$' out

done_testing
