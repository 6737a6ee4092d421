# SPDX-License-Identifier: Apache-2.0
# channel sync --file: of a large channel, what a list of specs needs, for several Pythons and platforms.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/serve.sh"

# pack_one SUBDIR NAME VERSION [OPTION...]
pack_one()
{
	rm -rf st && mkdir -p st/share && echo "$1 $2 $3" >"st/share/$2"
	pack_subdir=$1 pack_n=$2 pack_v=$3
	shift 3
	mkdir -p "pkgs/$pack_subdir"
	"$SLIPWAY" -q pack conda -o "pkgs/$pack_subdir" --compression-level 1 --name "$pack_n" --version "$pack_v" --subdir "$pack_subdir" "$@" st >/dev/null
}
large()
{
	for p in linux-64 linux-aarch64; do
		for v in 3.9.18 3.10.13 3.11.5; do pack_one $p python "$v" || return 1; done
		pack_one $p base 1.0 && pack_one $p base 1.1 && pack_one $p mamba 1.5 --depends 'base >=1' &&
			pack_one $p unused 1 && pack_one $p numeric 2.0 --depends 'python >=3.10' --depends base || return 1
	done
	pack_one noarch sardana 3.2 --depends 'python >=3.9' --depends 'taurus' --noarch generic &&
		pack_one noarch taurus 4.7 --depends 'base <1.1' --noarch generic && pack_one noarch extra 1 --noarch generic || return 1
	"$SLIPWAY" -q channel publish large pkgs/*/*.conda
}
t 'a large channel' large
# the channel says otherwise than the package, as large channels do where a package was wrong
sed -i 's/"base <1.1"/"base <1.1","python <3.11"/' large/noarch/repodata.json
rm large/noarch/repodata.json.zst
serve large
cat >specs.txt <<'X'
# We want to be able to install mamba
mamba
# Default packages for a sardana environment
python=3.9 sardana
X

sync()
{
	runs "$SLIPWAY" channel sync --from "$URL" --platform linux-64 "$@"
}
in_small()
{
	(cd small && find . -name '*.conda' | sed 's,^\./,,' | LC_ALL=C sort) >is
	printf '%s\n' "$@" >wanted
	diff wanted is
}
t 'a dry run' sync --file specs.txt --dry-run small
t 'makes nothing' test ! -e small
t 'tells what it would' has "would download $URL/linux-64/mamba-1.5-0.conda" err
t 'a small one is made' sync --file specs.txt small
t 'saying what it does' has 'Processing list of specs for linux-64' err
t 'line by line' has "Processing 'python=3.9 sardana' for linux-64" err
t 'with which command' has "Run 'slipway solve --json --override-channels -c $URL --platform linux-64 mamba' for linux-64" err
t 'how much is new' has '6 new packages to upload for linux-64 list of specs' err
t 'from where' has "Downloading $URL/noarch/sardana-3.2-0.conda" err
t 'to where' has 'Uploading sardana-3.2-0.conda to small' err
t 'both versions of what two lines want' in_small linux-64/base-1.0-0.conda linux-64/base-1.1-0.conda linux-64/mamba-1.5-0.conda \
	linux-64/python-3.9.18-0.conda noarch/sardana-3.2-0.conda noarch/taurus-4.7-0.conda
t 'listed as the large one lists it' has '"python <3.11"' small/noarch/repodata.json
t 'nothing is left beside' test ! -e small/.incoming

# same SPEC...: the same answer from both channels
same()
{
	for c in "$URL" ./small; do
		"$SLIPWAY" solve --override-channels --json -c "$c" --platform linux-64 "$@" | tr -d ' \n' | grep -o '"fn":"[^"]*"' >"from$(basename "$c")" || return 1
	done
	diff "from$(basename "$URL")" fromsmall
}
t 'it answers as the large one does' same mamba
t 'for the other line, too' same python=3.9 sardana

t 'a second time' sync --file specs.txt small
t 'nothing is new' has '0 new packages' err
t 'nothing is fetched' must_fail 1 grep Downloading.http err

echo 'numeric' >>specs.txt
t 'several Pythons' sync --file specs.txt --python 3.10,3.11 small
t 'are lines of their own' has "Processing 'python=3.11 numeric' for linux-64" err
t 'but where a line names one' has "Processing 'python=3.9 sardana' for linux-64" err
t 'only what is new is fetched' has '3 new packages' err

t 'another platform' sync --file specs.txt --python 3.10 --platform linux-64,linux-aarch64 --json small
t 'counts its own' has '"linux-aarch64/numeric-2.0-0.conda"' out
t 'not what both share' must_fail 1 grep -q noarch/ out

printf 'mamba\n' >specs.txt
t 'what no line needs' sync --file specs.txt --prune --platform linux-64 small
t 'is removed' has 'Removing linux-64/numeric-2.0-0.conda from small' err
t 'but what another platform may need' test -e small/noarch/sardana-3.2-0.conda
t 'both platforms' sync --file specs.txt --prune --platform linux-64,linux-aarch64 small
t 'leave what they need' in_small linux-64/base-1.1-0.conda linux-64/mamba-1.5-0.conda linux-aarch64/base-1.1-0.conda linux-aarch64/mamba-1.5-0.conda

printf 'mamba\npython=3.11 sardana\n' >specs.txt
t 'a line without a solution' must_fail 3 "$SLIPWAY" channel sync --from "$URL" --platform linux-64 --file specs.txt --prune small
t 'is named' has "'python=3.11 sardana' has no solution for linux-64" err
t 'and keeps what is there' in_small linux-64/base-1.1-0.conda linux-64/mamba-1.5-0.conda linux-aarch64/base-1.1-0.conda linux-aarch64/mamba-1.5-0.conda

ln -s "$SLIPWAY" sync-channel
"$SLIPWAY" -q channel add --name conda-forge "$URL"
"$SLIPWAY" -q channel add --name mini-conda-forge ./mini 2>err
printf 'mamba\n' >maxiv_package_specs.txt
t 'by its other name' runs ./sync-channel --file maxiv_package_specs.txt
t 'it finds its channels' has 'Uploading mamba-1.5-0.conda to mini-conda-forge' err
printf "mamba 'base >=1\n" >specs.txt
t 'a bad line' must_fail 1 "$SLIPWAY" channel sync --from "$URL" --file specs.txt small
t 'is told by its number' has 'specs.txt:1' err
t 'a channel on a server' must_fail 2 "$SLIPWAY" channel sync --from "$URL" --file maxiv_package_specs.txt https://example.org/x


# a mirror's channel tells of more than it holds
of_mirror()
{
	"$SLIPWAY" -q mirror init m --name m --host m.example && "$SLIPWAY" -q channel create m/own --kind conda &&
		"$SLIPWAY" -q channel create m/large --kind conda --type mirror --from "$URL" --platform linux-64 --download ON_DEMAND
}
printf 'mamba\n' >specs.txt
t 'a mirror' of_mirror
t 'whose channel has nothing' must_fail 1 "$SLIPWAY" channel sync --from m/large --file specs.txt m/content/mini
t 'is brought up to date first' has 'slipway channel sync m/large' err
t 'as it says' runs "$SLIPWAY" channel sync m/large
t 'and holds no package' test -z "$(find m/content/large -name '*.conda')"
t 'is what a small one is made of' runs "$SLIPWAY" channel sync --from m/large --file specs.txt --platform linux-64 m/content/mini
t 'which fetches what is needed' has 'Downloading linux-64/mamba-1.5-0.conda' err
t 'and no more' sh -c '(cd m/content/large && find . -name "*.conda" | LC_ALL=C sort) >is && (cd m/content/mini && find . -name "*.conda" | LC_ALL=C sort) | diff - is'
t 'by its folder, too' runs "$SLIPWAY" channel sync --from m/content/large --file specs.txt --platform linux-64 m/content/mini
t 'a channel that it does not have' must_fail 1 "$SLIPWAY" channel sync --from m/larg --file specs.txt m/content/mini
t 'is missed' has "has no channel 'larg'" err

# what is published into a mirror by its name is what it serves
t 'publish by the name in a mirror' runs "$SLIPWAY" channel publish m/own pkgs/noarch/extra-1-0.conda
t 'puts it where it is served' test -e m/content/own/noarch/extra-1-0.conda -a ! -e m/own
t 'yank, too' runs "$SLIPWAY" channel yank m/own noarch/extra-1-0.conda
t 'not into what follows another' must_fail 2 "$SLIPWAY" channel publish m/large pkgs/noarch/extra-1-0.conda
t 'nor by its folder' must_fail 2 "$SLIPWAY" channel publish m/content/large pkgs/noarch/extra-1-0.conda
t 'nor into a name that is none' must_fail 1 "$SLIPWAY" channel publish m/onw pkgs/noarch/extra-1-0.conda
t 'one that is not there' must_fail 1 "$SLIPWAY" channel publish m/own 'none/*.conda'
t 'is missed by its name' has "no file 'none/" err
"$SLIPWAY" -q channel create m/recipes --kind takeout
t 'packages are not promoted to another kind' must_fail 2 "$SLIPWAY" channel promote large m/recipes extra
t 'nor into the mirror itself' must_fail 2 "$SLIPWAY" channel publish m pkgs/noarch/extra-1-0.conda

done_testing
