# SPDX-License-Identifier: Apache-2.0
# channel add, list, remove, refresh: what is kept, and in which order.
# shellcheck shell=sh
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

mkdir -p a/noarch b/noarch
for ch in a b; do
	echo '{"packages":{"x-1-0.tar.bz2":{"name":"x","version":"1","build":"0","build_number":0,"depends":[]}}}' \
		>$ch/noarch/repodata.json
done

t 'nothing is kept at first' runs "$SLIPWAY" channel list
t 'and it says how to begin' has 'channel add' err
t 'adds a folder' runs "$SLIPWAY" channel add ./a --name first
t 'adds another before it' runs "$SLIPWAY" channel add ./b --name second --first
t 'lists them, best first' runs "$SLIPWAY" channel list
t 'in that order' test "$(awk 'NR > 1 { printf "%s ", $2 }' out)" = 'second first '
t 'lists as JSON' runs "$SLIPWAY" channel list --json
t 'with names' has '"name": "first"' out
t 'a kept name is a channel' runs "$SLIPWAY" solve -c first --subdir noarch x
t 'without -c the kept ones are asked' runs "$SLIPWAY" solve --subdir noarch x
t 'and the first of them answers' has '/b/noarch' out
t 'refreshes all' runs "$SLIPWAY" channel refresh
t 'and tells how many packages' has 'second .*noarch .*1 ' out
t 'refreshes as JSON' runs "$SLIPWAY" channel refresh --json
t 'that is nothing but JSON' python3 -c 'import json; assert len(json.load(open("out"))["channels"]) == 4'
t 'a dry run removes nothing' runs "$SLIPWAY" channel remove first --dry-run
t 'so that it is there' runs "$SLIPWAY" solve -c first --subdir noarch x
t 'removes one' runs "$SLIPWAY" channel remove first
t 'that is gone then' must_fail 2 "$SLIPWAY" solve -c first --subdir noarch x
t 'and says what a bare name needs' has channel_alias err
t 'and how to keep one of that name' has 'channel add --name first' err
t 'keeps it again' runs "$SLIPWAY" channel add ./a --name first
t 'a kept name in a spec' runs "$SLIPWAY" solve -c ./b --subdir noarch first::x
t 'is that channel' has '/a/noarch' out
t 'whatever it was called before' runs "$SLIPWAY" solve -c ./a --subdir noarch first::x
t 'in brackets too' runs "$SLIPWAY" solve -c ./b --subdir noarch 'x[channel=first]'
t 'a folder in a spec' runs "$SLIPWAY" solve -c ./b --subdir noarch ./a::x
t 'is that folder' has '/a/noarch' out
t 'an environment of such a spec' runs "$SLIPWAY" env create -n e -c ./b --subdir noarch --dry-run first::x
t 'removes one by its folder, as add took it' runs "$SLIPWAY" channel remove ./a
t 'refuses what is not kept' must_fail 1 "$SLIPWAY" channel remove first
t 'refuses a name with a space' must_fail 2 "$SLIPWAY" channel add ./a --name 'two words'
t 'hides a password' runs "$SLIPWAY" channel add https://me:secret@127.0.0.1:1/x --name private
t 'in the list too' runs "$SLIPWAY" channel list
t 'everywhere' hasnt secret out
done_testing
