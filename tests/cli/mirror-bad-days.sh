# SPDX-License-Identifier: Apache-2.0
# Bad days of a mirror's server while it runs: a full disk, upstreams that lie about lengths, damaged files, kills, a clock that is set.
# What is held is served, what is wrong is never whole, and it goes on by itself. KILLS=60 for more of them.
case ${1-} in
--private) SOURCE_ROOT=$2 ;;
*)
	# mounts of our own, which end with us
	if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
		exec unshare -m sh "$0" --private "${SOURCE_ROOT:-$(pwd)}"
	fi
	;;
esac
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3 curl openssl
WALLCLOCK=${BUILD_ROOT:-$SOURCE_ROOT/build}/tests/libwallclock.so

servers_end()
{
	"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1
	[ ! -f up.pid ] || kill "$(cat up.pid)" 2>/dev/null
	umount -l "$T/m" 2>/dev/null
	chmod -R u+w "$T" 2>/dev/null
	rm -rf "$T"
}
trap servers_end EXIT

large()
{
	mkdir -p st/share
	python3 -c 'import random, sys; sys.stdout.buffer.write(random.Random(sys.argv[1]).randbytes(int(sys.argv[2])))' "$1" "$2" >st/share/x
	package st "$1" 1
}
for n in one two three four five six seven eight; do
	large $n 500000
done
t 'an upstream channel' "$SLIPWAY" -q channel publish up ./*.tar.bz2
touch faults
: >log
python3 "$SOURCE_ROOT/tests/lib/upstream.py" up faults log >up.port 2>/dev/null &
echo $! >up.pid
await test -s up.port
far=http://127.0.0.1:$(cat up.port)

mkdir m
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=24m none m 2>/dev/null; then
	small=1
else
	small=''
fi
"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
sed -i 's,^#* *reserve:.*,reserve: 1 MB,; s,^#* *bulkBackoffFactor:.*,bulkBackoffFactor: 0,; s,^#* *bulkDownloadSpeed.*,bulkDownloadSpeedInMbitPerSecond: 0,' m/mirror.yaml
"$SLIPWAY" -q channel create m/far --kind conda --platform noarch --type proxy --from "$far"
"$SLIPWAY" -q channel create m/copy --kind conda --platform noarch --from "$far" --download HISTORIC
sed -i 's,^#* *refresh:.*,refresh: 1000 h,' m/channels/copy.yaml
# started: where it is, in $M, and $pid
started()
{
	runs "$SLIPWAY" mirror start m && runs "$SLIPWAY" mirror status --json m || return 1
	M=https://localhost:$(python3 -c 'import json; print(json.load(open("out"))["port"])')
	pid=$(python3 -c 'import json; print(json.load(open("out"))["pid"])')
}
get()
{
	curl -sS --fail-with-body --max-time 30 --cacert m/pki/ca.pem "$@"
}
same()
{
	get -o got "$M/$1/noarch/$2-1-0.tar.bz2" && cmp got "up/noarch/$2-1-0.tar.bz2"
}
t 'a server' started
t 'metadata' get -o got "$M/far/noarch/repodata.json"
t 'a package' same far one
t 'the copy' await test -f m/content/copy/noarch/two-1-0.tar.bz2

# -- upstreams that lie about lengths ---------------------------------------------------------------------------------
# lies NAME WHAT: nobody gets a whole wrong file, and a right one later
lies()
{
	: >got
	echo "*/$1-1-0.tar.bz2 $2" >faults
	if get --max-time 20 -o got "$M/far/noarch/$1-1-0.tar.bz2" && ! cmp got "up/noarch/$1-1-0.tar.bz2"; then
		echo 'wrong bytes as a whole file'
		return 1
	fi
	[ ! -e "m/content/far/noarch/$1-1-0.tar.bz2" ] || cmp "m/content/far/noarch/$1-1-0.tar.bz2" "up/noarch/$1-1-0.tar.bz2" || return 1
	: >faults
	same far "$1"
}
again()
{
	i=0
	until "$@"; do
		i=$((i + 1))
		[ $i -lt 30 ] || return 1
		sleep 0.5
	done
}
t 'more than was said' again lies two long
t 'less than was said' again lies three 'cut 1000'
t 'no length and no end' again lies four endless
t 'other bytes' again lies five corrupt
t 'it lives' kill -0 "$pid"

# -- a full disk ------------------------------------------------------------------------------------------------------
# stores N [FILES]: a thin snapshot, and its id
stores()
{
	said=said thin=thin
	[ $# = 1 ] || said=said.$2 thin=thin.$2
	printf 'snapshot 1\nenvironment e\nchannel https://h.invalid/c\npackage x %s 0 noarch 1\n' "$1" >"$thin"
	get --cert root/mirror/*/client.pem --data-binary @"$thin" -w '%{http_code}\n' -o "$said" "$M/api/snapshots" && cat "$said"
}
kept()
{
	get --cert root/mirror/*/client.pem -o said "$M/api/snapshots" && python3 -c 'import json; print(len(json.load(open("said"))["snapshots"]))'
}
fills()
{
	n=1
	while [ $n -lt 2000 ] && stores "1.$n" >stored 2>&1; do
		n=$((n + 1))
	done
	grep -q '^507' stored || { echo "after $n of them:"; cat stored said; return 1; }
}
if [ -n "$small" ]; then
	runs "$SLIPWAY" mirror enroll m --name app0
	"$SLIPWAY" -q enroll --code "$(cat out)" "$M"
	t 'a thin snapshot' stores 1.0
	runs "$SLIPWAY" mirror enroll m --name app1
	code=$(cat out)
	dd if=/dev/zero of=m/filler bs=64k 2>/dev/null
	dd if=/dev/zero bs=4k oflag=append conv=notrunc of=m/filler 2>/dev/null
	t 'on a full disk what is held is served' same far one
	t 'and metadata' get -o got "$M/copy/noarch/repodata.json"
	t 'what is not is refused' must_fail 22 get -w '%{http_code}' -o said "$M/far/noarch/six-1-0.tar.bz2"
	t 'by 507' has '^507' out
	t 'with the reason' has 'space' said
	t 'a sync' must_fail 1 "$SLIPWAY" channel sync m/copy
	t 'says so' has 'is full' err
	t 'an enrolment fails' must_fail 1 "$SLIPWAY" enroll --code "$code" "$M"
	t 'by a message' test -s err
	t 'a snapshot is refused some time' fills
	t 'with the reason' has 'is full' said
	t 'the server lives' kill -0 "$pid"
	t 'and tells its health' sh -c "! curl -sS --fail http://127.0.0.1:\$(\"$SLIPWAY\" mirror status --json m | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"admin_port\"])')/healthz"
	rm m/filler
	t 'with space again it goes on by itself' again same far six
	t 'the same server' kill -0 "$pid"
	t 'what snapshots there were are there' sh -c "[ '$(kept)' = $n ]"
	t 'one more' stores 2.0
	t 'the code is good still' runs "$SLIPWAY" enroll --code "$code" "$M"
	t 'for one client' sh -c "\"$SLIPWAY\" mirror clients m --json | grep -c '\"name\": *\"app1\"' | grep -qx 1"
	t 'a sync goes on' runs "$SLIPWAY" channel sync m/copy
	t 'nothing was lost' sh -c 'for f in up/noarch/*.bz2; do cmp "$f" "m/content/copy/noarch/${f##*/}" || exit 1; done'
else
	skip 'a full disk' 'needs root and mounts'
fi

# -- damaged on disk --------------------------------------------------------------------------------------------------
t 'digests are known' runs "$SLIPWAY" channel sync m/far
python3 -c 'f = open("m/content/far/noarch/one-1-0.tar.bz2", "r+b"); f.seek(1000); b = f.read(1); f.seek(1000); f.write(bytes([b[0] ^ 1]))'
t 'a bit that turned' must_fail 1 "$SLIPWAY" channel scrub m/far
t 'is found' has "one-1-0.tar.bz2' was set aside" err
t 'and the file fetched again' same far one

# -- two at once --------------------------------------------------------------------------------------------------------
echo '*/seven* slow 200000' >faults
rm -f m/content/copy/noarch/seven-1-0.tar.bz2
: >log
"$SLIPWAY" -q channel sync m/copy >/dev/null 2>&1 &
running=$!
await grep -q seven log
t 'two syncs at once' must_fail 1 "$SLIPWAY" channel sync m/copy
t 'the second says who' has "process $running" err
t 'a restart meanwhile' runs "$SLIPWAY" mirror restart m
: >faults
wait $running
t 'the first is through' same copy seven

# -- kills --------------------------------------------------------------------------------------------------------------
KILLS=${KILLS:-6}
whole()
{
	python3 - m/content/copy m/content/far <<'END'
import hashlib, json, os, sys
for tree in sys.argv[1:]:
    doc = json.load(open(tree + "/noarch/repodata.json"))
    for name, r in doc["packages"].items():
        path = tree + "/noarch/" + name
        if os.path.exists(path):
            assert hashlib.sha256(open(path, "rb").read()).hexdigest() == r["sha256"], path
END
}
killed()
{
	n=0
	while [ "$n" -lt "$KILLS" ]; do
		n=$((n + 1))
		started || { cat err; return 1; }
		rm -f m/content/far/noarch/*.bz2 m/content/copy/noarch/[s-t]*.bz2
		"$SLIPWAY" -q mirror enroll m --name "killed$n" >code 2>/dev/null || return 1
		(SLIPWAY_ROOT=$T/k$n "$SLIPWAY" -q enroll --code "$(cat code)" "$M" >/dev/null 2>&1) &
		"$SLIPWAY" -q channel sync m/copy >/dev/null 2>&1 &
		sync=$!
		(stores "3.$n" "$n" >"stored.$n" 2>&1) &
		for p in one two three four five; do
			get -o "kill.$p" "$M/far/noarch/$p-1-0.tar.bz2" >/dev/null 2>&1 &
		done
		sleep "0.$(((n * 37) % 90 + 10))"
		kill -9 "$pid"
		[ $((n % 2)) = 0 ] || kill -9 $sync
		wait $sync 2>/dev/null
		whole || { echo "after kill $n"; return 1; }
	done
}
t "$KILLS kills among downloads, fetches, syncs and enrolments" killed
t 'it starts' started
db_is_well()
{
	command -v sqlite3 >/dev/null || { echo 'no sqlite3'; return 77; }
	for d in m/state/*.db; do
		[ "$(sqlite3 "$d" 'PRAGMA integrity_check')" = ok ] || return 1
	done
}
t 'its databases are whole' db_is_well
once_each()
{
	runs "$SLIPWAY" mirror clients m --json && python3 -c '
import json
v = json.load(open("out"))["clients"]
names = [c["name"] for c in v]
assert len(names) == len(set(names)), names'
}
t 'each client is there once' once_each
# who was told that a snapshot is stored finds it
snapshots_are_kept()
{
	kept >number || return 1
	python3 -c '
import glob, json
held = {x["id"] for x in json.load(open("said"))["snapshots"]}
for f in glob.glob("stored.*"):
    text = open(f).read()
    if text.startswith("200"):
        assert json.loads(text.split("\n", 1)[1])["id"] in held, f'
}
[ -z "$small" ] || t 'and each snapshot that was stored' snapshots_are_kept
t 'enrolled or not, a code enrols' sh -c "SLIPWAY_ROOT=$T/k1 \"$SLIPWAY\" -q enroll --code \"\$(\"$SLIPWAY\" -q mirror enroll m --name killed1)\" $M"
t 'once' once_each
t 'a sync brings what is missing' runs "$SLIPWAY" channel sync m/copy
t 'all of it' sh -c 'for f in up/noarch/*.bz2; do cmp "$f" "m/content/copy/noarch/${f##*/}" || exit 1; done'
t 'a package on demand' same far eight
find m/content -path '*partial/*' -type f -exec touch -d '9 days ago' {} +
"$SLIPWAY" -q channel prune m/copy && "$SLIPWAY" -q channel prune m/far
t 'nothing is left of them' sh -c '[ -z "$(find m/content -path "*partial/*" -type f)" ]'

# -- the clock ----------------------------------------------------------------------------------------------------------
until_of()
{
	openssl s_client -connect "${M#https://}" -servername localhost </dev/null 2>/dev/null | openssl x509 -noout -enddate
}
clock_is_set()
{
	"$SLIPWAY" -q mirror stop m
	echo 0 >clock
	WALLCLOCK_FILE=$T/clock LD_PRELOAD=$WALLCLOCK "$SLIPWAY" mirror start m >/dev/null 2>err || { cat err; return 1; }
	started || return 1
	before=$(until_of)
	echo $((400 * 86400)) >clock
	await grep -q 'the clock was set by 345' m/log/mirror.log || return 1
	i=0
	while [ "$(until_of)" = "$before" ]; do
		i=$((i + 1))
		[ $i -lt 50 ] || { echo "the certificate is that of before: $before"; return 1; }
		sleep 0.1
	done
	get -k -o got "$M/far/noarch/one-1-0.tar.bz2" && cmp got up/noarch/one-1-0.tar.bz2 || return 1
	echo 0 >clock
	await grep -q 'the clock was set by -345' m/log/mirror.log || return 1
	again get -o got "$M/far/noarch/repodata.json" && same far two
}
if grep -q __asan_init "$SLIPWAY"; then
	skip 'a clock that is set' 'build with a sanitizer: takes no library along'
elif [ -f "$WALLCLOCK" ]; then
	t 'a clock that is set by a year, and back' clock_is_set
else
	skip 'a clock that is set' 'no libwallclock here'
fi
"$SLIPWAY" -q mirror stop m

# -- whom it connects to ------------------------------------------------------------------------------------------------
only_upstreams()
{
	strace -f -qq -e trace=connect -o traced "$SLIPWAY" mirror serve m >served 2>&1 &
	tracer=$!
	await "$SLIPWAY" mirror status m >/dev/null 2>&1
	runs "$SLIPWAY" mirror status --json m
	M=https://localhost:$(python3 -c 'import json; print(json.load(open("out"))["port"])')
	rm -f m/content/far/noarch/three-1-0.tar.bz2
	same far three || { kill $tracer; return 1; }
	same copy one || return 1
	"$SLIPWAY" -q mirror stop m
	wait $tracer
	grep -q "htons($(cat up.port))" traced || { echo 'nothing was traced'; cat traced; return 1; }
	! grep 'AF_INET' traced | grep -v "htons($(cat up.port)), sin_addr=inet_addr(\"127.0.0.1\")"
}
if ! command -v strace >/dev/null; then
	skip 'it connects to nobody else' 'no strace'
elif ! strace -f -qq -o traced true 2>/dev/null; then
	skip 'it connects to nobody else' 'kernel: nothing may be traced here'
else
	t 'it connects to its upstreams and to nobody else' only_upstreams
fi
done_testing
