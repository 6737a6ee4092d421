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

t 'a channel that is not there lists what was tried' must_fail 1 "$SLIPWAY" solve -c ./nothing --subdir linux-64 x
t 'with its files' has 'nothing/noarch/repodata.json' err
t 'a bare name needs an alias' must_fail 2 "$SLIPWAY" solve -c nothing --subdir linux-64 x

done_testing
