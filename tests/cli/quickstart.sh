# SPDX-License-Identifier: Apache-2.0
# The tour, as a stranger runs it, and what it says about the machine's own configuration.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need cc python3

tour()
{
	"$SOURCE_ROOT/examples/quickstart.sh" "$T/tour dir" >tour.out 2>tour.err || { cat tour.out tour.err; return 1; }
}
unset PIP_INDEX_URL PIP_CONFIG_FILE CONDARC
t 'runs' tour
t 'makes the environment' has "'demo' is now at generation 1" tour.err
t 'updates it' has "'demo' is now at generation 2" tour.err
t 'rolls it back' has "'demo' is at generation 1 again" tour.err
grep '^counted by' tour.out >versions
printf 'counted by words, with libwords 1.%s\n' 0 1 0 >want
t 'the program runs in each' diff -u want versions
t 'shows the plan' has '^~ libwords *1.0 -> 1.1' tour.out
t 'shows the history' has 'rollback *2 *1 *done' tour.out
t 'says what to try next' has 'slipway why -n demo libwords' tour.out
t 'keeps nothing elsewhere' test -z "$(ls -A "$HOME")"
t 'runs again' tour
t 'and begins anew' test "$(grep -c ' create  *- *1 *done' tour.out)" = 2
mkdir other && touch other/mine
t 'a folder of somebody else' must_fail 1 "$SOURCE_ROOT/examples/quickstart.sh" other
t 'is refused' has "'other' is there and not mine" err
t 'and left alone' test -e other/mine

# what it says to try
SLIPWAY_ROOT="$T/tour dir/root"
export SLIPWAY_ROOT
cd "$T/tour dir" || exit 1
t 'why' runs "$SLIPWAY" why -n demo libwords
t 'export' runs "$SLIPWAY" env export -n demo
cp out demo.spr
t 'apply' runs "$SLIPWAY" apply demo.spr -n copy
echo 'one two' >text
t 'the copy runs' runs "$SLIPWAY" env run -n copy -- words text
t 'the same' has '^lines 1	words 2	' out
t 'an impossible request' must_fail 3 "$SLIPWAY" solve -c ./channel 'words>=2'
cd "$T" || exit 1

# what is configured
configured()
{
	"$SOURCE_ROOT/examples/configured.sh" >said 2>&1 || { cat said; return 1; }
}
t 'without configuration' configured
t 'says so' has 'No conda channel is configured' said
if command -v curl >/dev/null; then
	mkdir -p index/pip channels
	cp -R "$T/tour dir/channel" channels/site
	cat >"$HOME/.condarc" <<-Y
		channel_alias: file://$T/channels
		channels:
		  - nowhere
		  - site
	Y
	t 'with a channel that answers' configured
	t 'names it' has "names the conda channel 'site', and it answers" said
	t 'and not one that does not' hasnt nowhere said
	t 'says how to go on' has 'slipway env create -n real' said
	echo 'channels: [nowhere]' >"$HOME/.condarc"
	t 'with one that does not answer' configured
	t 'says that' has 'No conda channel is configured here that answers' said
	mkdir -p "$HOME/.config/pip"
	touch index/pip/index
	printf '[global]\nindex-url = file://name:secret@%s\n' "$T/index" >"$HOME/.config/pip/pip.conf"
	PIP_INDEX_URL=file://$T/index configured
	t 'names a Python index that answers' has 'names a Python index' said
	t 'secrets are not shown' hasnt secret said
else
	skip 'with a channel that answers' 'no curl'
fi

done_testing
