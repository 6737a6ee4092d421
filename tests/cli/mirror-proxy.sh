# SPDX-License-Identifier: Apache-2.0
# A proxy and a mirror served while their upstreams misbehave: one request upstream however many wait, streamed while stored, what is held
# is good without anybody, and nothing wrong is given out as whole.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/upstream.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3 curl

# large NAME BYTES: a package that cannot be packed to less
large()
{
	mkdir -p st/share
	python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(sys.argv[1]).randbytes(int(sys.argv[2])))' "$1" "$2" >st/share/x
	package st "$1" 1
}
for n in one two three four five; do
	large $n 400000
done
small_package small 1
t 'an upstream channel' "$SLIPWAY" -q channel publish up ./*.tar.bz2
rm -f ./*.tar.bz2
upstream main
upstream spare
main=${main:-} spare=${spare:-}

"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
t 'a proxy' runs "$SLIPWAY" channel create m/far --kind conda --type proxy --from "$main" --from "$spare"
sed -i 's,^#* *refresh:.*,refresh: 1s,' m/channels/far.yaml
t 'start' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror status --json m
M=https://localhost:$(python3 -c 'import json; print(json.load(open("out"))["port"])')/far
get()
{
	curl -sS --fail --max-time 60 --cacert m/pki/ca.pem "$@"
}
# breaks: no whole file, whether it fails at once or in the middle
breaks()
{
	! get "$@"
}
# asked PATH: how often the upstreams were
asked()
{
	cat main.log spare.log | grep -c "^/$1 "
}

t 'metadata through it' get -o got "$M/noarch/repodata.json"
t 'are those of the upstream' cmp got up/noarch/repodata.json

echo '*/one-1-0.tar.bz2 slow 200000' >main.faults
for i in 1 2 3 4 5 6 7 8; do
	get -o "one.$i" "$M/noarch/one-1-0.tar.bz2" &
	eval "c$i=\$!"
done
sleep 1
t 'many wait for one file' get -o one.late "$M/noarch/one-1-0.tar.bz2"
for i in 1 2 3 4 5 6 7 8; do
	eval "wait \$c$i" || echo "client $i" >>failed
done
t 'all have it' test ! -e failed
all_whole()
{
	for i in 1 2 3 4 5 6 7 8 late; do
		cmp "one.$i" up/noarch/one-1-0.tar.bz2 || return 1
	done
}
t 'whole' all_whole
t 'by one request' test "$(asked noarch/one-1-0.tar.bz2)" = 1
t 'from now on it is here' get -o got "$M/noarch/one-1-0.tar.bz2"
t 'nobody was asked' test "$(asked noarch/one-1-0.tar.bz2)" = 1

: >main.faults
echo '*/two-1-0.tar.bz2 slow 100000' >main.faults
get -o two "$M/noarch/two-1-0.tar.bz2" &
two=$!
is_streamed()
{
	await test -s two && ! cmp -s two up/noarch/two-1-0.tar.bz2
}
t 'it is streamed while it comes' is_streamed
t 'to its end' wait $two
t 'whole too' cmp two up/noarch/two-1-0.tar.bz2

echo '*/three-1-0.tar.bz2 cut 150000' >main.faults
t 'an upstream that breaks off in the middle' get -o three "$M/noarch/three-1-0.tar.bz2"
t 'is gone on from by another' cmp three up/noarch/three-1-0.tar.bz2
t 'from where it was' grep -q '^/noarch/three-1-0.tar.bz2 bytes=' spare.log

t 'its metadata are looked at' runs "$SLIPWAY" channel sync m/far
t 'packages are left until somebody asks' test ! -e m/content/far/noarch/four-1-0.tar.bz2
printf '*/four-1-0.tar.bz2 corrupt\n' >main.faults
cp main.faults spare.faults
t 'wrong bytes' breaks -o four "$M/noarch/four-1-0.tar.bz2"
t 'are never whole' sh -c '! test -e m/content/far/noarch/four-1-0.tar.bz2'
: >main.faults
: >spare.faults
t 'right ones later' get -o four "$M/noarch/four-1-0.tar.bz2"
t 'are' cmp four up/noarch/four-1-0.tar.bz2

# -- catalogues: what the mirror cannot vouch for is told, with dates
"$SLIPWAY" -q channel create m/copy --kind conda --type mirror --from "$main" >/dev/null 2>&1
"$SLIPWAY" -q channel create m/gone --kind conda --type mirror --from http://127.0.0.1:9 >/dev/null 2>&1
mkdir -p rec && printf 'recipe 1\nname x\nchannel far\nspec small\n' >rec/x.spr
"$SLIPWAY" -q channel create m/takeout --kind takeout --type local && "$SLIPWAY" -q channel publish m/content/takeout rec/x.spr
runs "$SLIPWAY" mirror restart m
runs "$SLIPWAY" mirror enroll m --name app1
t 'enroll' runs "$SLIPWAY" enroll --code "$(cat out)" "${M%/far}"
says()
{
	runs "$SLIPWAY" spot --updates="${M%/far}" --list && has "$1" err
}
t 'a channel that never came' await says "'gone' is as of never: what the mirror tried at 20.* failed: "
says_nothing_of()
{
	runs "$SLIPWAY" spot --updates="${M%/far}" --list && hasnt "'$1'" err
}
t 'nothing is said of one whose packages are for everybody' await says_nothing_of copy
t 'it is told with an update, too' sh -c "'$SLIPWAY' spot --prepare=to:x.spr 2>&1 | grep -q \"'gone' is as of never\""

t 'what is not there' must_fail 22 get -o none "$M/noarch/none-1-0.tar.bz2"
t 'what no such channel has' must_fail 22 get -o none "$M/etc/passwd"

kill "$(cat main.pid)" "$(cat spare.pid)"
rm -f ./*.pid
sleep 1.2
t 'nobody is there: metadata' get -o got "$M/noarch/repodata.json"
t 'are what they were' cmp got up/noarch/repodata.json
t 'what is held is served' get -o got "$M/noarch/one-1-0.tar.bz2"
t 'what is not is refused at once' must_fail 22 get --max-time 40 -o none "$M/noarch/five-1-0.tar.bz2"
t 'the server lives' runs "$SLIPWAY" mirror status m

done_testing
