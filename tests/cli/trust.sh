# SPDX-License-Identifier: Apache-2.0
# Signed channels end to end: a keeper publishes and signs; a host has pinned the root; between them a server, which somebody steals with all that is
# on it, its name and its TLS key (so what it serves, and how, is his; the signing keys are not). He can refuse, and nothing else. Each attack of
# section 1.5.2 of the specification of TUF goes through the commands that people use.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/serve.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need python3
mkdir -p "$SLIPWAY_ROOT"
printf 'remote_read_timeout_secs: 4\nremote_silence_secs: 4\nremote_max_retries: 1\n' >"$SLIPWAY_ROOT/config.yml"

keeper()
{
	"$SLIPWAY" --root "$T/keeper" channel "$@"
}

host()
{
	"$SLIPWAY" "$@"
}

refresh()
{
	host channel refresh tools
}

# the server's folder is what the keeper has, or what a thief makes of it
good()
{
	rm -rf srv && mkdir srv && cp -r ch srv/tools
}

# steal COMMAND...: the server is as good, then the command changes it, inside its channel
steal()
{
	good && (cd srv/tools && "$@")
}

# refused WORD...: the host refuses, says each of these, and has what it had
refused()
{
	cp -r "$SLIPWAY_ROOT/trust" trust.before
	must_fail 1 refresh || return 1
	for refused_word; do
		has "$refused_word" err || return 1
	done
	if ! host channel refresh tools --offline >offline 2>&1 || ! host solve --json 'x >=1' --offline >solved 2>&1 ||
		! grep -q '"version": *"2"' solved; then
		cat offline solved
		return 1
	fi
	rm -rf trust.before
}

meta=tuf/metadata
small_package x 1
small_package x 2
t 'publish' runs keeper publish ch x-1-0.tar.bz2
t 'not signed yet' must_fail 2 keeper sign ch
t 'says how to begin' has 'channel sign --create ch' err
t 'a dry run' runs keeper sign --create ch --dry-run
t 'makes nothing' [ ! -e ch/tuf ]
t 'sign' runs keeper sign --create ch
t 'with keys of the keeper' [ "$(find keeper/keys/tuf -name '*.pem' -perm 600 | wc -l)" = 4 ]
t 'says what clients pin' has '1.root.json' err
t 'again is nothing' runs keeper sign ch
t 'as it says' has 'nothing changed' err
t 'not created twice' must_fail 1 keeper sign --create ch
t 'pointers are targets' grep -q '"noarch/repodata.json"' ch/$meta/2.targets.json
t 'packages are not' hasnt 'x-1-0.tar.bz2' ch/$meta/2.targets.json
cp ch/$meta/1.root.json root.json

good
serve "$T/srv"
t 'add' runs host channel add --name tools "$URL/tools" --tuf-root root.json
t 'tells keys and digest' has "sha256 $(sha256sum <root.json | cut -d' ' -f1)" err
t 'refresh' runs refresh
t 'the root is asked for first' grep -q 'tuf/metadata/2.root.json 404' requests
t 'pointers come under their digest' grep -q 'tuf/targets/noarch/[0-9a-f]*.repodata.json.zst 200' requests
t 'and in no other way' hasnt ' /tools/noarch/repodata' requests
: >requests
t 'again' runs refresh
t 'fetches no pointer' hasnt 'tuf/targets' requests
t 'publish more' runs keeper publish ch x-2-0.tar.bz2
t 'is signed at once' grep -q '"version": 3' ch/$meta/timestamp.json
good
t 'the host sees it' runs refresh
t 'env create' runs host env create -n e x
t 'with the package' [ -e "$SLIPWAY_ROOT/env/e/current/share/x" ] || find "$SLIPWAY_ROOT" -name x | head
t 'pins are listed' runs host channel trust
t 'with versions and a date' has "$URL/tools  *1 *[0-9]" out
t 'as JSON' runs host channel trust --json
t 'too' has '"expired": *false' out
cp -r ch old
cp -r keeper keeper.old

# -- arbitrary software
put_evil()
{
	find . -name '*repodata.json*' -exec sh -c 'echo "[]" >"$1"' _ {} \;
}
steal put_evil
small_package y 1
t 'a newer state' runs keeper publish ch y-1-0.tar.bz2
sign_with_own_keys()
{
	rm -rf tuf && "$SLIPWAY" --root "$T/thief" channel sign --create . 2>/dev/null
}
steal sign_with_own_keys
t 'arbitrary software: signed with his own keys' refused 'signed' "channel '$URL/tools'"
steal put_evil
t 'arbitrary software: other metadata' refused 'repodata.json'
good
t 'taken' runs refresh

# -- wrong package under the right name
wrong_package()
{
	rm -rf "$SLIPWAY_ROOT/store"
	must_fail 1 host env create -n wrong x && has 'sha256\|digest\|SHA-256\|bytes' err
}
bigger()
{
	cp noarch/y-1-0.tar.bz2 noarch/x-2-0.tar.bz2
}
steal bigger
t 'wrong package: another under its name' wrong_package
t 'makes no environment' must_fail 1 host env packages -n wrong

# -- rollback
cp -r ch ch.now
rm -rf srv && mkdir srv && cp -r old srv/tools
t 'rollback: yesterday, whole and signed' refused 'timestamp.json' 'was at version'
older_snapshot()
{
	cp ../../old/$meta/timestamp.json $meta/
}
steal older_snapshot
t 'rollback: yesterday'"'"'s timestamp' refused 'would go back to'

# -- freeze: what is signed has expired, and nothing newer comes
t 'a short life' runs "$SLIPWAY" --root keeper tuf renew ch/$meta timestamp --keys keeper/keys/tuf --time 2020-01-01T00:00:00Z
good
t 'freeze: what has expired' refused 'timestamp.json' 'expired at 2020-' 'stale or kept from renewal'
t 'the held one says until when it is good' has 'good until' err
rm -rf ch && cp -r ch.now ch
t 'the keeper signs again' runs "$SLIPWAY" --root keeper tuf renew ch/$meta timestamp --keys keeper/keys/tuf
good
t 'taken' runs refresh

# -- mix and match: of one state this, of another that
small_package z 1
t 'a newer state' runs keeper publish ch z-1-0.tar.bz2
mix_snapshot()
{
	# shellcheck disable=SC2012 # names of our own
	newest=$(ls $meta/*.snapshot.json | sort -V | tail -1)
	cp ../../old/$meta/3.snapshot.json "$newest"
}
steal mix_snapshot
t 'mix and match: an old snapshot for the new one' refused 'snapshot.json'
mix_targets()
{
	# shellcheck disable=SC2012
	newest=$(ls $meta/*.targets.json | sort -V | tail -1)
	cp ../../old/$meta/3.targets.json "$newest"
}
steal mix_targets
t 'mix and match: old targets for the new ones' refused 'targets.json'
good
t 'taken' runs refresh
small_package z 2
t 'a newer state' runs keeper publish ch z-2-0.tar.bz2
all_pointers_old()
{
	for f in tuf/targets/noarch/*.repodata.json.zst tuf/targets/noarch/*.repodata.json; do
		cp noarch/x-1-0.tar.bz2 "$f"
	done
}
steal all_pointers_old
t 'mix and match: other pointers' refused 'repodata.json'

# -- removal of signatures
no_signatures()
{
	rm -rf tuf
}
steal no_signatures
t 'removal: no metadata' refused 'timestamp.json' 'nothing unsigned is taken'
strip()
{
	python3 - <<-'X'
		import json
		b = json.load(open("tuf/metadata/timestamp.json"))
		b["signatures"] = []
		json.dump(b, open("tuf/metadata/timestamp.json", "w"))
	X
}
steal strip
t 'removal: no signatures' refused 'timestamp.json' 'sign'
no_pointer()
{
	find tuf/targets -type f -delete
}
steal no_pointer
t 'removal: what was signed is gone' refused 'repodata.json'
good
t 'all is well again' runs refresh

# -- keys: below the threshold; rotation; fast-forward
"$SLIPWAY" tuf key --keys second >second.pub 2>/dev/null
t 'targets need two' runs "$SLIPWAY" tuf rotate ch/$meta targets --keys keeper/keys/tuf --keys second --key second.pub --new-keys 1 --threshold 2
t 'one key alone' runs keeper publish ch --replace x-1-0.tar.bz2
good
t 'taken' runs refresh
echo two >two && mkdir -p w/share && echo w >w/share/w && package w w 1
t 'publish with one of two' runs keeper publish ch w-1-0.tar.bz2
t 'tells who is missing' has 'has 1 of 2 signatures' err
t 'and how to go on' has 'tuf sign ch/tuf/metadata' err
good
t 'clients see the state of before' runs refresh
t 'whole' must_fail 3 host solve w --json
force_staged()
{
	# the thief has the one key that is online, and the online ones of snapshot and timestamp
	cp $meta/.staged/targets.json "$meta/$(($(sed -n 's/.*"version": \([0-9]*\).*/\1/p' $meta/.staged/targets.json | tail -1))).targets.json"
}
steal force_staged
t 'key compromise below the threshold: not led to' runs refresh
t 'and not seen' must_fail 3 host solve w --json
t 'the other one signs elsewhere' runs "$SLIPWAY" tuf sign ch/$meta --keys second
t 'and it is put in place here' runs keeper sign ch
good
t 'clients see it' runs refresh
t 'now' runs host solve w --json
fast_forward()
{
	# who has the timestamp key drives its version up, and snapshot's
	for i in 1 2 3 4 5; do
		"$SLIPWAY" tuf renew $meta snapshot timestamp --keys "$T/keeper/keys/tuf" >/dev/null 2>&1 || return 1
	done
}
steal fast_forward
t 'fast-forward: taken, since it is signed' runs refresh
good
t 'then the real one looks old' must_fail 1 refresh
t 'as it is' has 'would go back to' err
t 'the keeper rotates both keys' runs "$SLIPWAY" tuf rotate ch/$meta timestamp --keys keeper/keys/tuf
t 'and the other' runs "$SLIPWAY" tuf rotate ch/$meta snapshot --keys keeper/keys/tuf
good
t 'and the host comes back by itself' runs refresh
t 'root 4' host channel trust --json
t 'the old keys are worth nothing' [ "$(find keeper/keys/tuf -name '*.pem' | wc -l)" -ge 6 ]

# -- endless, slow
serve_end
cat >bad.py <<'X'
import http.server, os, sys, time, functools
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass
    def do_GET(self):
        how = open("how").read().strip()
        if how.split(":")[0] not in self.path:
            return super().do_GET()
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(400):
                self.wfile.write(b" " * (65536 if how.endswith("endless") else 30))
                time.sleep(0 if how.endswith("endless") else 0.2)
        except OSError:
            pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), functools.partial(Handler, directory=sys.argv[1]))
server.serve_forever()
X
echo none >how
python3 bad.py "$T/srv" "${URL##*:}" &
serve_pid=$!
i=0
until python3 -c 'import socket,sys; socket.create_connection(("127.0.0.1", int(sys.argv[1])))' "${URL##*:}" 2>/dev/null || [ $i = 50 ]; do
	sleep 0.1
	i=$((i + 1))
done
t 'the bad server is good at first' runs refresh
echo timestamp.json:endless >how
t 'endless data: metadata' refused 'timestamp.json' '16384'
small_package v 1
t 'a newer state' runs keeper publish ch --tuf-keys keeper/keys/tuf --tuf-keys second v-1-0.tar.bz2
good
echo repodata.json:endless >how
t 'endless data: a pointer' refused 'repodata.json'
echo timestamp.json:slow >how
t 'slow retrieval: metadata' refused 'timestamp.json'
echo none >how
t 'good again' runs refresh

# -- the network is away
serve_end
t 'offline' runs host solve x --offline
t 'tells until when it is good' has 'offline: what is held was signed, and is good until' err
t 'a refresh that nobody answers' must_fail 1 refresh
t 'tells so too' has 'what is held was signed, and is good until' err

# -- pins
mkdir -p plain
t 'an unsigned channel' must_fail 1 host channel trust --first-use "$T/plain"
t 'is told apart' has "is not signed" err
t 'forget' runs host channel trust --forget tools
t 'is gone' runs host channel trust
t 'as told' has "no channel's root is pinned" err
t 'not twice' must_fail 1 host channel trust --forget tools
t 'first use of a folder' runs host channel trust --first-use "$T/ch"
t 'warns' has 'taken from the server that it is to be checked by' err
t 'a pinned folder' runs host channel refresh "$T/ch"
rm -rf tampered && cp -r ch tampered
t 'pinned by hand' runs host channel trust "$T/tampered" root.json
rm -r tampered/tuf
t 'a folder without its signatures' must_fail 1 host channel refresh "$T/tampered"
t 'is refused too' has 'nothing unsigned is taken' err
t 'a root that is none' must_fail 1 host channel trust "$T/tampered" how

# -- a root in several hands, none of them at the keeper's
ceremony()
{
	for p in alice bob carol; do
		"$SLIPWAY" tuf key --keys $p-usb >$p.pub 2>/dev/null || return 1
	done
	keeper publish held x-1-0.tar.bz2 2>/dev/null &&
		"$SLIPWAY" tuf create held/$meta --keys held-keys --key root=alice.pub --key root=bob.pub --key root=carol.pub --threshold root=2 || return 1
	for p in alice carol; do
		[ ! -e held/$meta/1.root.json ] && rm -rf take && cp -r held/$meta take &&
			"$SLIPWAY" tuf sign take --keys $p-usb && cp take/.staged/* held/$meta/.staged/ || return 1
	done
	keeper sign held --tuf-keys held-keys && host channel trust "$T/held" held/$meta/1.root.json && host channel refresh "$T/held" &&
		"$SLIPWAY" tuf show held/$meta | grep '^root .* 2 of 3 '
}
t 'a ceremony: root 2 of 3, offline' ceremony
t 'the keeper alone changes nobody' runs "$SLIPWAY" tuf rotate held/$meta targets --keys held-keys
t 'it waits for them' has 'root: version 2 has 0 of 2 signatures' err

# -- a host that asks all the time while a keeper publishes and drops
asks()
{
	i=0
	while [ ! -e ended ] && [ $i -lt 400 ]; do
		rm -f solved.live
		"$SLIPWAY" --root "$T/asker" channel refresh "$T/live" >asked.live 2>&1 || { cat asked.live; return 1; }
		"$SLIPWAY" --root "$T/asker" solve -c "$T/live" --json --offline n >solved.live 2>&1 || { cat solved.live; return 1; }
		i=$((i + 1))
	done
	[ $i -gt 3 ]
}
busy()
{
	rm -f ended
	"$SLIPWAY" -q --root "$T/asker" channel trust "$T/live" live/tuf/metadata/1.root.json || return 1
	asks >asker.out 2>&1 &
	asker=$!
	for v in 2 3 4 5 6 7 8; do
		keeper publish live n-$v-0.tar.bz2 >publisher.out 2>&1 || { cat publisher.out; break; }
		[ $v -lt 4 ] || keeper yank --drop live noarch/n-$((v - 2))-0.tar.bz2 >publisher.out 2>&1 || { cat publisher.out; break; }
	done
	touch ended
	wait $asker || { cat asker.out; return 1; }
}
for v in 1 2 3 4 5 6 7 8; do
	small_package n $v
done
keeper publish live n-1-0.tar.bz2 2>/dev/null
keeper sign --create live 2>/dev/null
t 'publishing beside a host that asks all the time' busy
t 'what was signed at the end is what is there' runs "$SLIPWAY" --root "$T/asker" env create -n n -c "$T/live" 'n >=8'

# -- every kind
kinds()
{
	mkdir -p st/dist && (cd st && printf 'Metadata-Version: 2.1\nName: demo\nVersion: 1\n' >PKG-INFO && mkdir -p demo-1 && cp PKG-INFO demo-1/ && tar -czf ../demo-1.tar.gz demo-1) &&
		keeper publish py demo-1.tar.gz 2>/dev/null && keeper sign --create py && grep -q '"simple/demo/index' py/tuf/metadata/2.targets.json &&
		keeper yank --drop py packages/demo/demo-1.tar.gz && ! grep -q '"simple/demo/index' py/tuf/metadata/3.targets.json
}
t 'pages of a pypi channel are targets, and go with their project' kinds

done_testing
