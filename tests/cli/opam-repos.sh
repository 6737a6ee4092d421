# SPDX-License-Identifier: Apache-2.0
# channel add opam: repositories that are kept, brought up to date, and what is wrong in them.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/serve.sh"

# opam_file NAME.VERSION TEXT
opam_file()
{
	mkdir -p "repo/packages/${1%%.*}/$1" && printf 'opam-version: "2.0"\n%s\n' "$2" >"repo/packages/${1%%.*}/$1/opam"
}
opam_file a.1 'depends: ["b"]'
opam_file a.2 'depends: ["b" {>= "1"}]'
opam_file b.1 ''
printf 'opam-version: "2.0"\n' >repo/repo
tar -C repo -czf repo.tar.gz packages repo
mkdir srv
tar -C repo -czf srv/index.tar.gz packages repo
serve srv

refreshed() # NAME PACKAGES NAMES LEFT-OUT
{
	"$SLIPWAY" channel refresh "$1" >out 2>err && grep -Eq "^$1 +opam +$2 +$3 +$4\$" out
}

t 'adds a folder' runs "$SLIPWAY" channel add opam ./repo --name folder
t 'and says what it is' has "added opam repository 'folder': file://" err
t 'adds a tar before it' runs "$SLIPWAY" channel add opam repo.tar.gz --name tar --first
t 'adds a server' runs "$SLIPWAY" channel add opam "$URL" --name server
t 'lists them in order' runs "$SLIPWAY" channel list
t 'the tar first' grep -Eq '^ +1 +tar +file://.*/repo.tar.gz +opam$' out
t 'the server last' grep -Eq '^ +3 +server +http://[^ ]* +opam$' out
t 'tells programs of which kind they are' runs "$SLIPWAY" channel list --json
t 'opam' has '"kind": "opam"' out
for kept in folder tar server; do
	t "indexes the $kept" refreshed $kept 3 2 0
done
t 'all of them without a word' runs "$SLIPWAY" channel refresh
t 'three' [ "$(grep -c ' opam ' out)" = 3 ]
t 'commands for conda packages pass them over' must_fail 2 "$SLIPWAY" search b
t 'and say so' has 'no channel to look in' err

# what changed
opam_file c.1 'depends: ["a"'
opam_file a.3 ''
t 'a broken file is told' refreshed folder 5 3 1
t 'with file, line and column' grep -Eq 'packages/c/c.1/opam:[0-9]+:[0-9]+: ' err
t 'once' refreshed folder 5 3 1
t 'not again' [ ! -s err ]
t 'but listed' runs "$SLIPWAY" channel list
t 'with its place' grep -Eq "1 malformed record of 'folder' left out; the first is packages/c/c.1/opam:" out
t 'the tar is as it was' refreshed tar 3 2 0
tar -C repo -czf repo.tar.gz packages repo
tar -C repo -czf srv/index.tar.gz packages repo
touch -d "@$(($(date +%s) + 5))" srv/index.tar.gz # servers tell seconds
t 'until it changes' refreshed tar 5 3 1
t 'so the server' refreshed server 5 3 1
rm -rf repo/packages/c
t 'mended' refreshed folder 4 2 0

# damage
idx=$(echo "$SLIPWAY_ROOT"/index/*repo/opam.full.idx)
t 'an index that is cut' truncate -s 1000 "$idx"
t 'is made anew' refreshed folder 4 2 0
rm -f "$SLIPWAY_ROOT"/index/*repo/opam.*.texts
t 'and one without its texts' refreshed folder 4 2 0
t 'nothing else stays behind' [ "$(find "$SLIPWAY_ROOT"/index/*repo -type f | wc -l)" = 3 ]

# several at once, on what is there and on nothing
at_once()
{
	for i in 1 2 3 4; do
		"$SLIPWAY" channel refresh folder >"out.$i" 2>&1 &
	done
	wait
	for i in 1 2 3 4; do
		grep -Eq '^folder +opam +'"$1"' ' "out.$i" || { cat "out.$i"; return 1; }
	done
}
opam_file d.1 ''
# the server is waited for, too
serve_end
t 'four see what is new' at_once 5
rm -rf "$SLIPWAY_ROOT"/index/*repo
t 'four begin together' at_once 5
t 'and leave one index' [ "$(find "$SLIPWAY_ROOT"/index/*repo -type f | wc -l)" = 3 ]

# what cannot be
t 'git is not fetched' must_fail 1 "$SLIPWAY" channel add opam git+https://127.0.0.1:1/x
t 'and what to do is said' has 'clone it, and give the folder' err
t 'roots of trust are for others' must_fail 2 "$SLIPWAY" channel add opam ./repo --tuf-root x.json
mkdir empty
t 'keeps a folder that is none' runs "$SLIPWAY" channel add opam ./empty --name empty
t 'which then says what it lacks' must_fail 1 "$SLIPWAY" channel refresh empty
t 'by name' has 'it has neither packages/ nor index.tar.gz' err
t 'offline, what is held is there' runs "$SLIPWAY" --offline channel refresh folder
t 'removes one' runs "$SLIPWAY" channel remove folder
t 'and knows it no more' must_fail 1 "$SLIPWAY" channel remove folder
done_testing
