# SPDX-License-Identifier: Apache-2.0
# What is held of a channel: made once, made anew when the channel or the index changes, and said when it cannot be.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

mkdir -p c/noarch
metadata()
{
	sep=
	printf '{"packages.conda":{'
	for v; do
		printf '%s"x-%s-0.conda":{"name":"x","version":"%s","build":"0","build_number":0,"subdir":"noarch"}' "$sep" "$v" "$v"
		sep=,
	done
	printf '}}'
}

# finds VERSION
finds()
{
	"$SLIPWAY" solve --json -c ./c --subdir linux-64 x >out 2>err && grep -q "\"fn\": \"x-$1-0.conda\"" out
}

index()
{
	find "$SLIPWAY_ROOT/index" -name noarch.full.idx
}

inode()
{
	stat -c %i "$(index)"
}

metadata 1 >c/noarch/repodata.json
t 'a folder is a channel' finds 1
before=$(inode)
t 'again' finds 1
t 'the index was not made again' test "$before" = "$(inode)"
metadata 1 2 >c/noarch/repodata.json
t 'a change is seen' finds 2

printf '{"packages.conda":{"x-3' >c/noarch/repodata.json
t 'metadata that are cut are refused' must_fail 1 "$SLIPWAY" solve -c ./c --subdir linux-64 x
t 'the file and the place are named' has "c/noarch/repodata.json: offset 23: the file ends too early" err
t 'what to do is said' has '--offline' err
t 'what is held serves on' "$SLIPWAY" solve --offline -c ./c --subdir linux-64 x
metadata 1 2 >c/noarch/repodata.json
t 'until they are mended' finds 2

printf XXXXXXXXXXXXXXXX | dd of="$(index)" bs=1 seek=4200 conv=notrunc 2>/dev/null
t 'a damaged index is refused' must_fail 1 "$SLIPWAY" solve -c ./c --subdir linux-64 x
t 'that is said' has 'run the command again' err
t 'and it is made anew' finds 2
printf X | dd of="$(index)" bs=1 seek=40 conv=notrunc 2>/dev/null
t 'a damaged header is made anew at once' finds 2

# one malformed record does not take a channel from everybody
odd='"y-1-0.conda":{"name":"y","build":"0"},"y\u001b-2-0.conda":{"name":"y","version":2}'
metadata 1 2 3 | sed "s/{\"packages.conda\":{/&$odd,/" >c/noarch/repodata.json
t 'the others are found' finds 3
t 'it is said which is not' has "2 malformed records of '.*/c/noarch' were left out; the first is 'y-1-0.conda' (record has no version)" err
t 'again' finds 3
t 'it is said once' hasnt malformed err
t 'what was left out is not there' must_fail 3 "$SLIPWAY" solve -c ./c --subdir linux-64 y
"$SLIPWAY" channel add ./c --name odd >out 2>err
t 'list tells of it' sh -c '"$SLIPWAY" channel list >out 2>err && grep -q "2 malformed records of .odd. left out; the first is noarch/.y-1-0.conda." out'
t 'as JSON too' sh -c '"$SLIPWAY" channel list --json >out 2>err && grep -q "\"left_out\": 2" out'
t 'refresh counts them' sh -c '"$SLIPWAY" channel refresh --json >out 2>err && grep -q "\"left_out\": 2" out'
metadata 1 2 3 >c/noarch/repodata.json
t 'and they are forgotten with the next index' sh -c '"$SLIPWAY" channel refresh >/dev/null 2>&1 && "$SLIPWAY" channel list --json >out 2>err && grep -q "\"left_out\": 0" out'
"$SLIPWAY" channel remove odd >out 2>err

t 'a channel that is not there lists what was tried' must_fail 1 "$SLIPWAY" solve -c ./nothing --subdir linux-64 x
t 'with its files' has 'nothing/noarch/repodata.json' err
t 'a bare name needs an alias' must_fail 2 "$SLIPWAY" solve -c nothing --subdir linux-64 x

done_testing
