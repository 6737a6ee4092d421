# SPDX-License-Identifier: Apache-2.0
# What cannot be written to standard output is an error of every command, whatever it prints.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2
[ -w /dev/full ] || skip_all 'no /dev/full'

into_full() # COMMAND...: its standard output is full; it exits with 1 and says so once
{
	"$@" >/dev/full 2>err
	test_rc=$?
	echo "exit status $test_rc"
	cat err
	[ $test_rc = 1 ] && [ "$(grep -c 'write standard output: No space left on device' err)" = 1 ]
}

into_closed_pipe() # COMMAND...: who reads has gone; exit 1, no message
{
	{
		until [ -e gone ]; do sleep 0.1; done
		"$@" 2>err
		echo $? >status
	} | {
		exec <&-
		: >gone
	}
	cat status err
	[ "$(cat status)" = 1 ] && [ ! -s err ]
}

small_package x 1
"$SLIPWAY" channel publish ch x-1-0.tar.bz2 2>/dev/null
"$SLIPWAY" channel add ./ch --name local 2>/dev/null

"$SLIPWAY" --help | sed -n '/^Commands:/,/^$/ s/^  \([a-z]*\) *\([a-z]*\)  .*/\1 \2/p' | sed 's/ $//' >commands
t 'there are commands' test -s commands
while read -r command; do
	# shellcheck disable=SC2086 # a noun and a verb
	t "full: $command --help" into_full "$SLIPWAY" $command --help
done <commands
t 'full: --help' into_full "$SLIPWAY" --help
t 'full: --version' into_full "$SLIPWAY" --version
t 'full: help env' into_full "$SLIPWAY" help env
t 'full: a plan' into_full "$SLIPWAY" env create -n e x --dry-run
t 'full: a plan, carried out' into_full "$SLIPWAY" env create -n e x
t 'tells that it was' has 'the change was made all the same' err
t 'and it was' runs "$SLIPWAY" env packages -n e
t 'full: a table' into_full "$SLIPWAY" env list
t 'a query says nothing of changes' hasnt 'the change was made' err
t 'full: JSON' into_full "$SLIPWAY" env list --json
t 'full: channel list' into_full "$SLIPWAY" channel list
t 'full: search' into_full "$SLIPWAY" search x
t 'full: solve' into_full "$SLIPWAY" solve x
t 'full: export' into_full "$SLIPWAY" env export -n e
t 'full: version compare' into_full "$SLIPWAY" version compare 1 2
usage_error_into_full()
{
	"$SLIPWAY" env packages --json >/dev/full
	[ $? = 2 ]
}
nowhere()
{
	"$SLIPWAY" --help >&-
	[ $? = 1 ]
}
t 'full: an error as JSON keeps its exit code' usage_error_into_full
t 'a closed standard output' nowhere
t 'a reader that has seen enough is no error to speak of' into_closed_pipe "$SLIPWAY" --help

done_testing
