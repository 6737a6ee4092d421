# SPDX-License-Identifier: Apache-2.0
# Signed metadata through the whole program: people with keys in several places, a server over HTTP, a client that trusts one root; a server that is
# slow or without end; a real repository; another implementation on either side.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/serve.sh"
need python3

tuf()
{
	"$SLIPWAY" tuf "$@"
}

# client VERB OPTION...: the client with its folder ./trusted
client()
{
	verb=$1
	shift
	tuf --metadata-dir trusted --metadata-url "$URL/repo/metadata" "$@" "$verb"
}

download()
{
	for path; do
		set -- "$@" --target-name "$path"
		shift
	done
	client download --target-base-url "$URL/repo/targets" --target-dir got "$@"
}

asked()
{
	tr '\n' ' ' <requests >asked
	has "$1" asked
}

mkdir -p tree/linux-64 tree/.hidden repo
echo one >tree/linux-64/one.conda
echo top >tree/top
echo no >tree/.hidden/no

# -- one person
t 'no keys, no repository' must_fail 2 tuf create repo/metadata
t 'says what to say' has 'which keys?' err
t 'create' runs tuf create repo/metadata --keys online --keys root=safe --keys targets=safe --threshold root=2 --new-keys root=3
t 'the first of everything' [ "$(find repo/metadata -name '*.json' | wc -l)" = 4 ]
t 'root and targets in the safe' [ "$(find safe -name '*.pem' | wc -l)" = 4 ]
t 'the others online' [ "$(find online -name '*.pem' -perm 600 | wc -l)" = 2 ]
t 'not twice' must_fail 1 tuf create repo/metadata --keys online
t 'as it is one already' has 'is a repository already' err
t 'a slip of the pen is seen' must_fail 2 tuf create other --keys k --threshold rot=2
t 'and nothing was made' [ ! -e k ]
publish()
{
	runs tuf publish repo/metadata --keys safe --keys online --from tree --target-dir repo/targets
}
t 'publish' publish
t 'tells versions' has 'targets: version 2, good until' err
t 'again is nothing' publish
t 'and says so' has 'nothing changed' err
t 'show' runs tuf show repo/metadata --keys online
t 'has two of three' has 'root  *1 .* 2 of 3 ' out
t 'and two targets' has 'targets  *2 .* 1 of 1 *0 *2$' out
t 'dry run' runs tuf renew repo/metadata timestamp --keys online --dry-run
t 'would sign' has 'would sign timestamp: version 3' err
t 'and did not' hasnt '"version": 3' repo/metadata/timestamp.json

# -- a client
serve "$T"
t 'without a root there is no trust' must_fail 1 client refresh
mkdir trusted
t 'not even in a folder' must_fail 1 client refresh
t 'which says what to do' has "slipway tuf init ROOT.json" err
t 'nothing was asked' [ ! -s requests ]
t 'init' runs tuf --metadata-dir trusted init repo/metadata/1.root.json
t 'refresh' runs client refresh
t 'asks in order' asked '2.root.json 404 .*/timestamp.json 200 .*/2.snapshot.json 200 .*/2.targets.json 200'
: >requests
t 'download' runs download linux-64/one.conda top
t 'has them' cmp tree/linux-64/one.conda got/linux-64/one.conda
t 'asks for no metadata again' asked '^GET [^ ]*2.root.json 404 GET [^ ]*timestamp.json 200 GET [^ ]*targets/linux-64/[0-9a-f]*.one.conda 200 GET'
: >requests
t 'again' runs download linux-64/one.conda
t 'is there already' has 'is there already' err
t 'and not fetched' hasnt 'one.conda' requests
t 'a hidden file is no target' must_fail 1 download .hidden/no
t 'nobody signs for it' has 'nobody signs for it' err
t 'the first failure ends it' must_fail 1 download nobody linux-64/one.conda
echo evil >got/top
t 'another content is fetched again' runs download top
t 'and right' cmp tree/top got/top

# -- a server that lies about a target
lies()
{
	find repo/targets -name '*.top' -exec sh -c 'printf "%s" "$2" >"$1"' _ {} "$1" \;
	rm -f got/top
	must_fail 1 download top && [ ! -e got/top ] && [ -z "$(find got -name '.slipway*')" ]
}
t 'arbitrary software: other bytes' lies 'eve
'
t 'are refused' has 'its content is not what was signed' err
t 'endless data: more bytes' lies 'top and a lot more'
t 'are cut off' has 'longer than 4 bytes' err
t 'fewer bytes' lies 't'
t 'are too few' has "has 1 bytes, not the 4" err
rm -rf repo/targets
t 'put right by publish' publish

# -- time
t 'indefinite freeze: expired metadata' must_fail 1 client refresh --time 2099-01-01T00:00:00Z
t 'says what and since when' has 'expired at 2' err
t 'a wrong time is usage' must_fail 2 client refresh --time yesterday
t 'all is as before' runs client refresh

# -- several people
t 'a key of its own' runs tuf key --keys bob
mv out bob.pub
t 'a key of another kind' runs tuf key --keys carol --type ecdsa
mv out carol.pub
t 'root for Bob and Carol' runs tuf rotate repo/metadata root --keys safe --key bob.pub --key carol.pub --threshold 2
t 'waits for them' has 'root: version 2 has 0 of 2 signatures' err
t 'clients see nothing of it' runs client refresh
t 'version 1' has 'root 1,' err
t 'Bob signs' runs tuf sign repo/metadata --keys bob
t 'one of two' has 'has 1 of 2 signatures' err
mkdir -p none
t 'a folder without a repository' must_fail 1 tuf show none
t 'is told, with how to make one' has "'none' holds no signed metadata; 'slipway tuf create'" err
t 'show tells' runs tuf show repo/metadata
t 'what waits' has 'root .* version 2 waits: 1 signatures' out
t 'Carol signs' runs tuf sign repo/metadata --keys carol
t 'and it is there' has 'root: version 2, good until' err
t 'for clients too' runs client refresh
t 'version 2' has 'root 2,' err

# -- passphrases
echo 'correct horse' >pass
echo 'another' >wrong
t 'a key with a passphrase' runs tuf key --keys vault --encrypt --passphrase-file pass
mv out vault.pub
t 'is encrypted' grep -q 'BEGIN ENCRYPTED PRIVATE KEY' vault/*.pem
if command -v openssl >/dev/null; then
	t 'as openssl reads it' openssl pkey -in "$(echo vault/*.pem)" -passin file:pass -noout
fi
tuf create sealed --keys vault2 --encrypt --passphrase-file pass >/dev/null 2>&1
t 'a repository of such keys' [ -e sealed/1.root.json ]
t 'signs with it' runs tuf renew sealed timestamp --keys vault2 --passphrase-file pass
t 'from the environment too' env SLIPWAY_TUF_PASSPHRASE='correct horse' "$SLIPWAY" tuf renew sealed timestamp --keys vault2
t 'not with another one' must_fail 1 tuf renew sealed timestamp --keys vault2 --passphrase-file wrong
t 'as it says' has 'passphrase is another one' err
no_terminal()
{
	setsid -w "$SLIPWAY" tuf renew sealed timestamp --keys vault2 </dev/null
}
if command -v setsid >/dev/null; then
	t 'and not without' must_fail 2 no_terminal
	t 'which says how' has '[-]-passphrase-file FILE, in SLIPWAY_TUF_PASSPHRASE' err
fi

# -- channels
t 'delegate' runs tuf delegate repo/metadata noarch --keys online --keys safe --under noarch
mkdir tree/noarch
echo n >tree/noarch/n
t 'add a target' runs tuf add-target repo/metadata noarch/n --keys online --from tree --role noarch --target-dir repo/targets
t 'targets did not change for it' hasnt 'targets:' err
t 'download it' runs download noarch/n
t 'signed by that role' has "signed by 'noarch'" err
t 'rotate its key' runs tuf rotate repo/metadata noarch --keys online --keys safe
t 'still there' runs download noarch/n
t 'remove the target' runs tuf remove-target repo/metadata noarch/n --keys online --role noarch
t 'gone' must_fail 1 download noarch/n
t 'not twice' must_fail 1 tuf remove-target repo/metadata noarch/n --keys online --role noarch
t 'names it' has "does not list 'noarch/n'" err
t 'an unknown role' must_fail 1 tuf publish repo/metadata --keys online --from tree --role nobody
t 'renew what has no key here' must_fail 1 tuf renew repo/metadata targets --keys online
t 'names the signatures that lack' has 'targets: version .* has 0 of 1' err

# -- time goes by
later=$(($(date +%s) + 350 * 86400))
later=$(date -u -d "@$later" +%Y-%m-%dT%H:%M:%SZ)
cp -r repo/metadata aged
t 'renewed by a timer' runs tuf renew aged --keys online --time "$later"
t 'timestamp and snapshot' has 'timestamp: version' err
t 'and told what only others can' has "root expires at .*, and its keys are not here" err
t 'of targets too' has "targets expires at" err
t 'not of what is here' hasnt 'noarch expires' err

# -- keys stolen
t 'other timestamp keys' runs tuf rotate repo/metadata timestamp --keys online --keys bob --keys carol
t 'taken' runs client refresh
t 'root 3' has 'root 3,' err

# -- the repository below the tree that it signs for
mkdir -p all/linux-64
echo x >all/linux-64/x
tuf create all/tuf/metadata --keys allkeys >/dev/null 2>&1
t 'publish what it lies in' runs tuf publish all/tuf/metadata --keys allkeys --from all --target-dir all/tuf/targets
t 'itself is no target' runs tuf publish all/tuf/metadata --keys allkeys --from all --target-dir all/tuf/targets
t 'so nothing changes' has 'nothing changed' err

# -- the network
cat >bad.py <<'X'
import http.server, os, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass
    def do_GET(self):
        how, name = self.path.strip("/").split("/")
        if name.endswith(".root.json"):
            self.send_response(404)
            self.end_headers()
            if how == "page":
                self.endless(b"x" * 65536, 0)
            return
        self.send_response(200)
        self.end_headers()
        if how == "slow":
            self.endless(b" " * 40, 0.2)
        self.endless(b" " * 65536, 0)
    def endless(self, what, pause):
        try:
            for _ in range(4000):
                self.wfile.write(what)
                time.sleep(pause)
        except OSError:
            pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
open("bad.new", "w").write(str(server.server_address[1]))
os.rename("bad.new", "bad.port")
server.serve_forever()
X
serve_end
python3 bad.py &
serve_pid=$!
i=0
until [ -s bad.port ] || [ "$i" -ge 100 ]; do
	sleep 0.1
	i=$((i + 1))
done
bad()
{
	must_fail 1 timeout 60 "$SLIPWAY" tuf --metadata-dir trusted --metadata-url "http://127.0.0.1:$(cat bad.port)/$1" --patience 1 refresh
}
cp -r trusted before
t 'endless data: metadata without end' bad endless
t 'is cut off' has 'timestamp.json: .*16384' err
t 'endless data: an error page without end' bad page
t 'is not read to its end' has 'timestamp.json' err
t 'slow retrieval' bad slow
t 'is given up' has 'slower than 1 KB a second' err
t 'what is trusted stays' diff -r -x .lock before trusted
serve_end

# -- a real repository, of another program
real()
{
	[ -d "$SHARED/data/tuf/tuf-on-ci-0.11" ] || { echo 'no real repository here'; return 77; }
	r=$SHARED/data/tuf/tuf-on-ci-0.11
	tuf --metadata-dir real init "$r/initial_root.json" &&
		runs tuf --metadata-dir real --metadata-url "file://$r/metadata" --time 2025-02-09T09:17:23Z \
			--target-name "$(cat "$r/targetpath")" --target-base-url "file://$r/targets" --target-dir realgot download &&
		[ -s "realgot/$(cat "$r/targetpath")" ]
}
t 'a real repository' real

# -- python-tuf, where it can be had
python=${SLIPWAY_PYTHON_TUF:-none}/bin/python
peer()
{
	"$python" -c 'import tuf.ngclient, cryptography' 2>/dev/null || { echo 'no python-tuf (SLIPWAY_PYTHON_TUF)'; return 77; }
	"$python" "$@"
}
cat >theirs.py <<'X'
# client: takes our repository
import os, sys
from tuf.ngclient import Updater
url, root, path = sys.argv[1:]
os.makedirs("theirs", exist_ok=True)
os.makedirs("theirs-got", exist_ok=True)
u = Updater("theirs", url + "/repo/metadata/", "theirs-got", url + "/repo/targets/", bootstrap=open(root, "rb").read())
u.refresh()
info = u.get_targetinfo(path)
assert info, "not found"
print(u.download_target(info))
X
cat >make.py <<'X'
# repository: keys of each kind, a delegation, hashed bins
import os, sys
from datetime import datetime, timedelta, timezone
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import *
os.makedirs("their/metadata", exist_ok=True)
os.makedirs("their/targets", exist_ok=True)
expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=9)
signers = {"root": CryptoSigner.generate_rsa(), "targets": CryptoSigner.generate_ecdsa(), "snapshot": CryptoSigner.generate_ed25519(),
           "timestamp": CryptoSigner.generate_rsa(scheme="rsa-pkcs1v15-sha256"), "dir": CryptoSigner.generate_ed25519()}
root = Root(expires=expires)
for role in ["root", "targets", "snapshot", "timestamp"]:
    root.add_key(signers[role].public_key, role)
targets, bins, direct = Targets(expires=expires), {}, Targets(expires=expires)
succinct = SuccinctRoles([], 1, 3, "bin")
direct.delegations = Delegations({}, None, succinct)
direct.add_key(signers["dir"].public_key)
targets.delegations = Delegations({}, {"direct": DelegatedRole("direct", [], 1, True, ["b/*"])})
targets.add_key(signers["dir"].public_key, "direct")
for name in succinct.get_roles():
    bins[name] = Targets(expires=expires)
def add(role, path, data):
    info = TargetFile.from_data(path, data, ["sha512"])
    role.targets[path] = info
    folder, base = os.path.split(path)
    os.makedirs("their/targets/" + folder, exist_ok=True)
    open("their/targets/%s/%s.%s" % (folder, info.hashes["sha512"], base), "wb").write(data)
add(targets, "a", b"a")
for i in range(20):
    path = "b/%d \u00e9" % i
    add(bins[succinct.get_role_for_target(path)], path, b"%d" % i)
snapshot, timestamp = Snapshot(expires=expires), Timestamp(expires=expires)
def put(name, signed, signer):
    m = Metadata(signed)
    m.sign(signer)
    m.to_file("their/metadata/" + name)
for name, role in bins.items():
    put("1.%s.json" % name, role, signers["dir"])
    snapshot.meta[name + ".json"] = MetaFile(1)
snapshot.meta["direct.json"] = MetaFile(1)
put("1.direct.json", direct, signers["dir"])
put("1.targets.json", targets, signers["targets"])
put("1.snapshot.json", snapshot, signers["snapshot"])
put("timestamp.json", timestamp, signers["timestamp"])
put("1.root.json", root, signers["root"])
X
serve "$T"
t 'python-tuf takes ours' peer theirs.py "$URL" repo/metadata/1.root.json linux-64/one.conda
t 'tuf makes one' peer make.py
theirs()
{
	[ -d their/metadata ] || { echo 'no python-tuf (SLIPWAY_PYTHON_TUF)'; return 77; }
	tuf --metadata-dir t2 init their/metadata/1.root.json || return 1
	set -- --target-name a
	for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do
		set -- "$@" --target-name "b/$n é"
	done
	runs tuf --metadata-dir t2 --metadata-url "$URL/their/metadata" --target-base-url "$URL/their/targets" --target-dir g2 "$@" download &&
		[ "$(cat 'g2/b/17 é')" = 17 ] && [ "$(find g2 -type f | wc -l)" = 21 ]
}
t 'and we take that: RSA, hashed bins, SHA-512' theirs

done_testing
