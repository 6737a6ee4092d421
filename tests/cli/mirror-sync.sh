# SPDX-License-Identifier: Apache-2.0
# channel create and sync: following channels of servers that behave, and of such that do not.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/upstream.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3

# large NAME VERSION BYTES: a package that cannot be packed to less
large()
{
	mkdir -p st/share
	python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(sys.argv[1]).randbytes(int(sys.argv[2])))' "$1" "$3" >st/share/x
	package st "$1" "$2"
}

# same: the mirror holds and serves what the upstream has
same()
{
	diff -r -x .slipway -x .slipway.lock -x shards up M/content/tools
}

# no_half: no metadata that clients see name a package with other bytes, or (with `all`) one that is not there
consistent()
{
	python3 - "$@" <<'END'
import hashlib, json, os, sys
tree, names = sys.argv[1], sys.argv[2:]
for sub in os.listdir(tree):
    path = os.path.join(tree, sub, "repodata.json")
    if sub.startswith(".") or not os.path.exists(path):
        continue
    doc = json.load(open(path))
    for section in ("packages", "packages.conda"):
        for fn, r in doc[section].items():
            file = os.path.join(tree, sub, fn)
            if "all" in names:
                assert os.path.exists(file), file
            if os.path.exists(file):
                assert hashlib.sha256(open(file, "rb").read()).hexdigest() == r["sha256"], file
END
}

small_package a 1
small_package b 1
large big 1 300000
"$SLIPWAY" -q channel publish up --shards a-1-0.tar.bz2 b-1-0.tar.bz2 big-1-0.tar.bz2
upstream one
upstream two

# -- beginning -------------------------------------------------------------------------------------------------------
t 'makes a mirror' runs "$SLIPWAY" mirror init M --name m --host mirror.example
t 'whose options are explained' has '^#bulkBackoffFactor: 1.5' M/mirror.yaml
t 'refuses to make it again' must_fail 1 "$SLIPWAY" mirror init M --name m --host mirror.example
t 'a mirror needs a name' must_fail 2 "$SLIPWAY" mirror init N --host x
t 'refuses an unknown kind' must_fail 2 "$SLIPWAY" channel create M/tools --kind cargo
t 'makes a channel' runs "$SLIPWAY" channel create M/tools --kind conda --from "$one" --from "$two" --download HISTORIC
t 'refuses to make it again' must_fail 1 "$SLIPWAY" channel create M/tools --kind conda
t 'a dry run' runs "$SLIPWAY" channel sync M/tools --dry-run
t 'tells what would come' has '3 packages (0.3 MB); 0 are held (0.0 MB), 3 would be fetched' err
t 'and brings nothing' test ! -e M/content/tools/noarch
t 'follows' runs "$SLIPWAY" channel sync M/tools
t 'all of it' same
t 'and metadata name what is there' consistent M/content/tools all
t 'once more' runs "$SLIPWAY" channel sync M/tools
t 'there is nothing new' has 'nothing new' err
t 'and nothing comes twice' [ "$(grep -c 'big-1.* 200' one.log)" = 1 ]
t 'pointers are asked for with what is known of them' has 'repodata.json.zst - 304' one.log
small_package a 2
"$SLIPWAY" -q channel publish up a-2-0.tar.bz2
t 'what is new' runs "$SLIPWAY" channel sync M/tools
t 'comes' same
t 'and only that' [ "$(grep -c 'big-1.* 200' one.log)" = 1 ]
t 'an unknown channel' must_fail 1 "$SLIPWAY" channel sync M/other
t 'is told how to be made' has 'slipway channel create M/other' err

# -- what is downloaded before it is asked for ------------------------------------------------------------------------
t 'RELEASED' runs "$SLIPWAY" channel create M/rel --kind conda --from "$one"
t 'leaves what is older' runs "$SLIPWAY" channel sync M/rel --json
t 'until it is asked for' has '"on_demand": *4' out
t 'but has its metadata' cmp up/noarch/repodata.json M/content/rel/noarch/repodata.json
small_package c 1
"$SLIPWAY" -q channel publish up c-1-0.tar.bz2
t 'and brings what is new' runs "$SLIPWAY" channel sync M/rel
t 'alone' [ "$(echo M/content/rel/noarch/*.bz2)" = M/content/rel/noarch/c-1-0.tar.bz2 ]
t 'ON_DEMAND' runs "$SLIPWAY" channel create M/ond --kind conda --from "$one" --download ON_DEMAND
t 'brings metadata alone' runs "$SLIPWAY" channel sync M/ond
t 'and no package' test ! -e M/content/ond/noarch/c-1-0.tar.bz2
"$SLIPWAY" -q channel sync M/tools
t 'a part of a channel' runs "$SLIPWAY" channel create M/part --kind conda --from "$one" --package 'b*' --download HISTORIC
t 'is followed' runs "$SLIPWAY" channel sync M/part --json
t 'what another channel holds is linked' has '"linked": *2' out
t 'and not fetched' has '"fetched": *0' out
t 'and is the same file' [ "$(stat -c %i M/content/part/noarch/b-1-0.tar.bz2)" = "$(stat -c %i M/content/tools/noarch/b-1-0.tar.bz2)" ]
t 'its metadata name it alone' consistent M/content/part all
t 'and no other' hasnt '"a-1-0' M/content/part/noarch/repodata.json
t 'all channels of a mirror at once' runs "$SLIPWAY" channel sync M

# -- upstreams that misbehave -----------------------------------------------------------------------------------------
# fresh: the same channel from the beginning
fresh()
{
	rm -rf M/content/tools M/content/part M/content/rel M/content/ond M/channels/part.yaml M/channels/rel.yaml M/channels/ond.yaml M/state
	: >one.log
	: >two.log
}
# others FAULT...: one behaves so; all comes all the same, the rest from two
others()
{
	fresh
	echo "$*" >one.faults
	"$SLIPWAY" -q channel sync M/tools --limit 0 >out 2>err || { cat err one.log two.log; return 1; }
	same || { cat err one.log two.log; return 1; }
	: >one.faults
}
sed -i 's/^#stallTimeout: .*/stallTimeout: 2 s/; s/^#bulkBackoffFactor: .*/bulkBackoffFactor: 0/; s/^#connectTimeout: .*/connectTimeout: 2 s/' M/mirror.yaml
for how in missing error corrupt long endless silent 'cut 1000' 'slow 500' down; do
	t "$how: another one helps" others "*big* $how"
done
t 'one that is away altogether' others '* down'
t 'in the middle of a file' others '*big* cut 100000'
t 'the next goes on where it stopped' has 'big-1-0.tar.bz2 bytes=[1-9][0-9]*- 206' two.log
t 'endless metadata are cut off' others '*zst once endless'

fresh
echo '*big* corrupt' | tee one.faults >two.faults
t 'a package that is damaged everywhere' runs "$SLIPWAY" channel sync M/tools --limit 0
t 'is told at the end' has "big-1-0.tar.bz2' could not be had" err
t 'with the reason' has 'SHA-256 is not the published one' err
t 'and stops no other' test -f M/content/tools/noarch/c-1-0.tar.bz2
t 'metadata are switched' test -f M/content/tools/noarch/repodata.json
t 'no damaged bytes are to be seen' test ! -e M/content/tools/noarch/big-1-0.tar.bz2
: >one.faults
: >two.faults
t 'when it is mended' runs "$SLIPWAY" channel sync M/tools
t 'it comes' same
fresh
echo '*big* missing' | tee one.faults >two.faults
echo 'whenIncomplete: wait' >>M/channels/tools.yaml
t 'where a channel waits for it' must_fail 1 "$SLIPWAY" channel sync M/tools --limit 0
t 'clients see nothing of it' test ! -e M/content/tools/noarch/repodata.json
t 'but the rest is there' test -f M/content/tools/noarch/c-1-0.tar.bz2
sed -i '/^whenIncomplete/d' M/channels/tools.yaml
: >one.faults
: >two.faults
t 'and the next sync goes on' runs "$SLIPWAY" channel sync M/tools --limit 0
t 'from there' [ "$(cat one.log two.log | grep -c 'c-1-0.* 200')" = 1 ]
t 'to the end' same
small_package d 1
"$SLIPWAY" -q channel publish up d-1-0.tar.bz2
echo '*' down | tee one.faults >two.faults
cp -r M/content/tools before
t 'offline' must_fail 1 "$SLIPWAY" channel sync M/tools
t 'what is held stays' diff -r -x .slipway before M/content/tools
: >one.faults
: >two.faults
echo '*d-1-0* down' | tee one.faults >two.faults
sed -i 's/^#slowUpstream.*/&/' M/mirror.yaml
t 'a package that nobody answers for' must_fail 1 "$SLIPWAY" channel sync M/tools
t 'leaves the state of before' cmp before/noarch/repodata.json M/content/tools/noarch/repodata.json
: >one.faults
: >two.faults
t 'and comes later' runs "$SLIPWAY" channel sync M/tools
t 'with all' same

# -- bad days ---------------------------------------------------------------------------------------------------------
fresh
echo '*big* slow 60000' | tee one.faults >two.faults
"$SLIPWAY" -q channel sync M/tools --limit 0 >/dev/null 2>&1 &
running=$!
await test -s M/content/tools/.slipway/lock
t 'two at once' must_fail 1 "$SLIPWAY" channel sync M/tools
t 'the second says who' has "process $running" err
sleep 1
kill -9 "$running"
wait "$running" 2>/dev/null
: >one.faults
: >two.faults
t 'after a kill' runs "$SLIPWAY" channel sync M/tools --limit 0
t 'it goes on where it stopped' has 'big-1-0.tar.bz2 bytes=[0-9]*- 206' one.log
t 'to the end' same
rm -rf M/state
t 'without its database' runs "$SLIPWAY" channel sync M/tools --json
t 'what is there is taken over' has '"fetched": *0' out
t 'all of it' same
sed -i 's/^#reserve: .*/reserve: 1000 TiB/' M/mirror.yaml
small_package f 1
"$SLIPWAY" -q channel publish up f-1-0.tar.bz2
t 'no space' must_fail 1 "$SLIPWAY" channel sync M/tools
t 'is told before anything comes' has 'beside a reserve' err
t 'and clients see the state of before' consistent M/content/tools all
sed -i 's/^reserve: .*/reserve: 1 MB/' M/mirror.yaml
t 'with space' runs "$SLIPWAY" channel sync M/tools
t 'it goes on' same
echo 'bulkSped: 1' >>M/mirror.yaml
t 'a wrong line of configuration' must_fail 1 "$SLIPWAY" channel sync M/tools
t 'is named' has "mirror.yaml:[0-9]*: unknown key 'bulkSped'" err

# -- other kinds -------------------------------------------------------------------------------------------------------
# What their walks tell is theirs to test; here: that all of it arrives.
python3 - <<'END'
import zipfile
z = zipfile.ZipFile("foo-1.0-py3-none-any.whl", "w")
z.writestr("foo.py", "x = 1\n")
z.writestr("foo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n")
z.writestr("foo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
z.writestr("foo-1.0.dist-info/RECORD", "")
z.close()
END
t 'an index of Python packages' runs "$SLIPWAY" channel publish --kind pypi index foo-1.0-py3-none-any.whl
sed -i '/^bulkSped/d' M/mirror.yaml
upstream three index
t 'is followed' runs "$SLIPWAY" channel create M/py --kind pypi --from "$three" --package foo --download HISTORIC
t 'by what leads to its files here' runs "$SLIPWAY" channel sync M/py
t 'all of them' diff -r -x .slipway -x .slipway.lock -x simple index M/content/py
t 'with pages' has 'foo-1.0-py3-none-any.whl' M/content/py/simple/foo/index.html
rm -rf M/content/py M/channels/py.yaml

# -- keeping house ----------------------------------------------------------------------------------------------------
sed -i '/^bulkSped/d' M/mirror.yaml
t 'scrubs' runs "$SLIPWAY" channel scrub M/tools
t 'and finds all as it was' has 'read [0-9]* files .*, 0 are damaged' err
rm -rf away && cp -r M/content/tools away
python3 -c 'import sys; f = open(sys.argv[1], "r+b"); f.seek(9); f.write(b"x")' M/content/tools/noarch/a-1-0.tar.bz2
rm M/content/tools/noarch/b-1-0.tar.bz2
t 'a byte that changed, and a file that went' must_fail 1 "$SLIPWAY" channel scrub M/tools
t 'are found' has '2 are damaged' err
t 'named' has "'noarch/a-1-0.tar.bz2' was set aside: its bytes are no longer" err
t 'and taken from clients' test ! -e M/content/tools/noarch/a-1-0.tar.bz2
: >one.log
t 'the next sync' runs "$SLIPWAY" channel sync M/tools
t 'brings them again' same
t 'and nothing else' [ "$(cat one.log two.log | grep -c 'tar.bz2.* 200')" = 2 ]
"$SLIPWAY" -q channel yank --drop up noarch/c-1-0.tar.bz2
t 'what upstream drops' runs "$SLIPWAY" channel sync M/tools
t 'is named no longer' hasnt '"c-1-0' M/content/tools/noarch/repodata.json
t 'prune' runs "$SLIPWAY" channel prune M/tools
t 'leaves it its grace' test -e M/content/tools/noarch/c-1-0.tar.bz2
echo 'grace: 0 s' >>M/channels/tools.yaml
t 'a dry run of it' runs "$SLIPWAY" channel prune M/tools --dry-run
t 'removes nothing' test -e M/content/tools/noarch/c-1-0.tar.bz2
t 'when that is over' runs "$SLIPWAY" channel prune M/tools
t 'it goes' test ! -e M/content/tools/noarch/c-1-0.tar.bz2
t 'and nothing that is named' consistent M/content/tools all

t 'a local channel' runs "$SLIPWAY" channel create M/test --kind conda
t 'and another' runs "$SLIPWAY" channel create M/release --kind conda
small_package t 1
small_package t 2
t 'is published to' runs "$SLIPWAY" channel publish M/content/test t-1-0.tar.bz2 t-2-0.tar.bz2 a-1-0.tar.bz2
t 'a dry run' runs "$SLIPWAY" channel promote M/test M/release t=2 --dry-run
t 'promotes nothing' test ! -e M/content/release/noarch/t-2-0.tar.bz2
t 'promotes' runs "$SLIPWAY" channel promote M/test M/release t=2
t 'what is meant' consistent M/content/release all
t 'alone' [ "$(cd M/content/release/noarch && echo *.bz2)" = t-2-0.tar.bz2 ]
t 'by a link' [ "$(stat -c %i M/content/release/noarch/t-2-0.tar.bz2)" = "$(stat -c %i M/content/test/noarch/t-2-0.tar.bz2)" ]
t 'what is not there' must_fail 1 "$SLIPWAY" channel promote M/test M/release t=3
t 'is told' has "no package 't=3'" err
t 'a local channel follows nothing' must_fail 2 "$SLIPWAY" channel sync M/test
t 'scrubs a local channel' runs "$SLIPWAY" channel scrub M/test
echo x >>M/content/release/noarch/t-2-0.tar.bz2
t 'and finds what is damaged' must_fail 1 "$SLIPWAY" channel scrub M/release

# -- a folder of its own ----------------------------------------------------------------------------------------------
t 'a plain folder' runs "$SLIPWAY" channel create plain --kind conda --from "$one"
t 'follows too' runs "$SLIPWAY" channel sync plain
t 'everything' same plain
t 'a folder follows a folder' runs "$SLIPWAY" channel create plain2 --kind conda --from plain
t 'as well' runs "$SLIPWAY" channel sync plain2
t 'everything there' same plain2
t 'what follows nothing' must_fail 2 "$SLIPWAY" channel sync up
done_testing
