# SPDX-License-Identifier: Apache-2.0
# channel publish: packages made here become a channel that solve reads.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

# package NAME VERSION [OPTION...]: pkgs/NAME-VERSION-0.conda
package()
{
	rm -rf st && mkdir -p st/share && echo "$1 $2" >"st/share/$1"
	pack_n=$1 pack_v=$2
	shift 2
	"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --name "$pack_n" --version "$pack_v" "$@" st >/dev/null
}

t 'packs' package lib 1.0
t 'packs a second version' package lib 1.1
t 'packs what needs it' package tool 2.0 --depends 'lib >=1' --noarch generic
t 'a dry run' runs "$SLIPWAY" channel publish --dry-run ./channel pkgs/lib-1.0-0.conda
t 'makes no channel' test ! -e channel
t 'publishes' runs "$SLIPWAY" channel publish ./channel pkgs/lib-1.0-0.conda pkgs/tool-2.0-0.conda
t 'into the folder of the platform' test -f channel/noarch/tool-2.0-0.conda
for f in noarch/repodata.json noarch/repodata.json.zst; do
	t "writes $f" test -s "channel/$f"
done
# picks VERSION: the version of lib that solve takes for tool
picks()
{
	runs "$SLIPWAY" solve --json -c ./channel tool || return 1
	tr -d ' \n' <out >flat
	has "\"name\":\"lib\",\"version\":\"$1\"" flat
}
t 'solve reads it' picks 1.0
t 'what is published later' runs "$SLIPWAY" channel publish ./channel pkgs/lib-1.1-0.conda
t 'is seen' picks 1.1
cp -r channel before
t 'publishing again' runs "$SLIPWAY" channel publish ./channel pkgs/lib-1.0-0.conda pkgs/lib-1.1-0.conda pkgs/tool-2.0-0.conda
t 'changes nothing' diff -r -x .slipway.lock before channel
t 'the metadata anew' runs "$SLIPWAY" channel publish ./channel
t 'is the same' diff -r -x .slipway.lock before channel

t 'other content' package lib 1.0 --summary changed
t 'under a name that is taken is refused' must_fail 1 "$SLIPWAY" channel publish ./channel pkgs/lib-1.0-0.conda
t 'and named' has 'lib-1.0-0.conda' err
t 'leaves the channel as it was' diff -r -x .slipway.lock before channel
t 'unless it is to be replaced' runs "$SLIPWAY" channel publish --replace ./channel pkgs/lib-1.0-0.conda

head -c 300 pkgs/lib-1.1-0.conda >lib-3.0-0.conda
t 'a truncated package is refused' must_fail 1 "$SLIPWAY" channel publish ./channel lib-3.0-0.conda
t 'by name' has 'lib-3.0-0.conda' err
cp pkgs/lib-1.1-0.conda lib-3.0-0.conda
t 'so is one under a wrong name' must_fail 1 "$SLIPWAY" channel publish ./channel lib-3.0-0.conda
t 'what stands in the way is shown' must_fail 3 "$SLIPWAY" solve -c ./channel tool 'lib>=2'

done_testing
