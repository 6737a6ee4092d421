# SPDX-License-Identifier: Apache-2.0
# Base images: every kind of source, what is in them afterwards, names and digests, what is given out again, and archives that
# are made to do harm.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
need python3 tar gzip xz zstd bzip2
oci=$SOURCE_ROOT/tests/lib/oci.py

rootfs_tar root.tar || exit 1
"$SLIPWAY" image import probe root.tar >out 2>err ||
	{ grep -q 'cannot be unpacked here' err && skip_all "kernel: $(cat err)"; cat err; exit 1; }

count()
{
	find "$1" -mindepth 1 -maxdepth 1 | wc -l
}
image()
{
	"$SLIPWAY" image "$@"
}
# says FILE TEXT: some line of it has TEXT
says()
{
	grep -qF -- "$2" "$1" || { cat "$1"; return 1; }
}
# tree_of IMAGE FILE: what is in it, an entry a line, sorted
tree_of()
{
	"$SLIPWAY" build export "$1" -o "$1.tree.tar" 2>/dev/null && tar --numeric-owner --full-time -tvf "$1.tree.tar" | LC_ALL=C sort >"$2"
}
# member IMAGE JSON-EXPRESSION: of `image show --json`
member()
{
	image show "$1" --json | python3 -c "import json, sys; j = json.load(sys.stdin); print($2)"
}

# -- tar, of every packing, and folders
tree_of probe probe.tree
for packing in gz xz zst bz2; do
	case $packing in gz) gzip -k root.tar ;; xz) xz -0 -k root.tar ;; zst) zstd -q -1 root.tar ;; bz2) bzip2 -k root.tar ;; esac
	t "a tar packed as $packing" image import "as-$packing" "root.tar.$packing"
	tree_of "as-$packing" "as-$packing.tree"
	t 'has the same tree' diff probe.tree "as-$packing.tree"
done
pipe()
{
	image import piped - <root.tar.gz
}
t 'from standard input' pipe
tree_of piped piped.tree
t 'the same tree' diff probe.tree piped.tree
t 'a pipe, not a file' sh -c 'cat root.tar.zst | "$SLIPWAY" image import piped2 -'
nameless()
{
	must_fail 2 image import - <root.tar.gz
}
t 'standard input without a name' nameless
t 'owners of the tar' grep -q '1000/1000 .* home/builder/' probe.tree
t 'modes of the tar' grep -q '^drwxrwxrwt .* tmp/' probe.tree
t 'links of the tar' grep -q '^l.* bin -> usr/bin' probe.tree
mkdir -p folder/etc folder/suid
rootfs folder >/dev/null
cp folder/usr/bin/true folder/suid/tool
chmod 6755 folder/suid/tool
ln folder/etc/passwd folder/etc/passwd.again
ln -s /etc folder/etc-link
mkfifo folder/pipe
touch -d @12345 folder/etc/hostname
t 'a folder' image import folder
tree_of folder folder.tree
t 'set-user-id bits stay' grep -q '^-rwsr-sr-x .* suid/tool' folder.tree
t 'hard links stay' grep -q ' etc/passwd.again link to etc/passwd' folder.tree
t 'pipes stay' grep -q '^p.* pipe' folder.tree
t 'times stay' grep -q '1970-01-01 03:25:45 etc/hostname' folder.tree
t 'the folder keeps its own name' image show folder

# -- what is told
t 'a list of one' must_fail 2 image list base
t 'is another command' has "unexpected word 'base'" err
t 'a list' runs image list
t 'has all of them' has as-zst out
t 'as JSON' sh -c '"$SLIPWAY" image list --json | python3 -c "import json, sys; assert len(json.load(sys.stdin)[\"images\"]) >= 7"'
t 'the digest is that of the file' test "$(member probe 'j["digests"][0]')" = "sha256:$(sha256sum root.tar | cut -d' ' -f1)"
t 'the same file makes the same layer' image import again root.tar
t 'at once' test "$(member again 'j["layer"]')" = "$(member probe 'j["layer"]')"
t 'a PATH is there where the image has none' test "$(member probe 'j["env"][0].split("=")[0]')" = PATH
t 'a variable without a name' must_fail 2 image import env root.tar --env =1
t 'variables of the command line' image import env root.tar --env A=1 -e B=2
t 'are added' test "$(member env 'j["env"][-2:]')" = "['A=1', 'B=2']"
t 'an image that is not there' must_fail 1 image show prove
t 'says what is near' says err "there is 'probe'"
t 'and how to import it' says err "'slipway image import prove FILE'"
t 'and how to fetch it' says err "'skopeo copy docker://prove oci:FOLDER'"
pinned=sha256:1b8db2464075e045f2710c633c15ec40916e273f0dea1055c6f56c58e621387a
t 'one that is pinned' must_fail 1 image show "ocaml/opam:debian-12-ocaml-5.3@$pinned"
t 'is fetched by its digest alone, with all platforms' says err "'skopeo copy --all docker://ocaml/opam@$pinned oci:FOLDER'"
t 'no such file' must_fail 1 image import x not-there
t 'neither' must_fail 2 image import
t 'a name that is none' must_fail 2 image import 'a b' root.tar
t 'a name that leads out' must_fail 2 image import '../x' root.tar
t 'a dry run' image import dry root.tar --dry-run
t 'makes nothing' must_fail 1 image show dry

# -- OCI
mkdir one two three
mkdir -p one/etc one/gone one/opaque/sub one/link-to && echo 1 >one/etc/a && echo 1 >one/gone/x && echo 1 >one/opaque/old && echo 1 >one/opaque/sub/old
echo 1 >one/replaced && ln -s link-to one/way && echo base >one/kept && chmod 700 one/etc
mkdir -p two/etc two/opaque/sub two/way two/replaced && echo 2 >two/etc/b && : >two/.wh.gone && echo 2 >two/opaque/new && : >two/opaque/.wh..wh..opq
: >two/opaque/sub/.wh.nothing && echo 2 >two/way/behind && echo 2 >two/replaced/inside && chmod 755 two/etc
echo 3 >three/etc.txt && mkdir three/etc && : >three/etc/.wh.a
pack()
{
	tar -C "$1" --sort=name --mtime=@9 --numeric-owner --owner=0 --group=0 -cf "$1.tar" .
}
pack one
# without the folder 'way': what lies behind a link of a lower layer
tar -C two --sort=name --mtime=@9 --numeric-owner --owner=0 --group=0 --no-recursion -cf two.tar . ./.wh.gone ./etc ./etc/b ./opaque/sub \
	./opaque/sub/.wh.nothing ./opaque/new ./opaque ./opaque/.wh..wh..opq ./replaced ./replaced/inside ./way/behind
pack three
gzip -k one.tar
zstd -q two.tar
python3 "$oci" layout lay tag=v1 user=builder env=X=1 one.tar.gz two.tar.zst three.tar >digest || exit 1
t 'an OCI layout' image import lay
t 'is named after its folder and tag' image show lay:v1
t 'has three layers' test "$(member lay:v1 'j["layers"]')" = 3
t 'and its configuration' test "$(member lay:v1 'j["env"][0] + " " + j["user"]')" = "X=1 builder"
t 'and the digest of its manifest' test "$(member lay:v1 'j["digests"][0]')" = "$(cat digest)"
"$SLIPWAY" build export lay:v1 2>/dev/null | tar -xf - -C "$T" --one-top-level=lay.tree
t 'what was taken away is gone' test ! -e lay.tree/gone
t 'a file too' test ! -e lay.tree/etc/a
t 'what was in an opaque folder, too' test ! -e lay.tree/opaque/old
t 'and below it' test ! -e lay.tree/opaque/sub/old
t 'but not what the layer itself brings' test "$(cat lay.tree/opaque/new)" = 2
t 'no mark is left' test -z "$(find lay.tree -name '.wh*')"
t 'what other layers have stays' test "$(cat lay.tree/kept lay.tree/etc/b)" = "base
2"
t 'a folder takes the place of a file' test "$(cat lay.tree/replaced/inside)" = 2
t 'behind a link of a lower layer' test "$(cat lay.tree/link-to/behind)" = 2
t 'which stays one' test "$(readlink lay.tree/way)" = link-to
t 'the mode of a folder is the last one' test "$(stat -c %a lay.tree/etc)" = 755
layers=$(count "$SLIPWAY_ROOT/build/layer")
python3 "$oci" layout other name=docker.io/library/shares:2 one.tar.gz two.tar.zst >/dev/null
t 'an image that shares layers' image import other
t 'is found by the short form of its name' image show shares:2
t 'and takes no layer more' test "$(count "$SLIPWAY_ROOT/build/layer")" = "$layers"
t 'an OCI archive' sh -c 'tar -C lay -cf lay.oci . && "$SLIPWAY" image import archive lay.oci'
t 'packed, too' sh -c 'gzip -k lay.oci && "$SLIPWAY" image import packed lay.oci.gz'
t 'through a pipe' sh -c '"$SLIPWAY" image import through - <lay.oci'
python3 "$oci" saved saved.tar saved/image:3 one.tar three.tar
t 'an archive of docker save' image import saved.tar
t 'has its name' test "$(member saved/image:3 'j["env"][0]')" = SAVED=yes
t 'makes one layer more, the other is shared' test "$(count "$SLIPWAY_ROOT/build/layer")" = $((layers + 1))
python3 "$oci" layout lay tag=v2 nested=yes one.tar.gz >nested || exit 1
t 'two in one layout' must_fail 2 image import several lay
t 'are told' says err 'say which one with --tag'
t '--tag' image import several lay --tag v2
t 'the digest of an index finds it' image show "anything@$(cat nested)"
t 'a name with its digest' image show "lay:v1@$(cat digest)"
t 'a digest alone' image show "@$(cat digest)"
t 'a name with another digest' must_fail 1 image show "lay:v1@sha256:$(printf 0 | sha256sum | cut -d' ' -f1)"
t 'says both' says err "image 'lay:v1' is here as $(cat digest), not as sha256:"
t 'an import that has to be another one' must_fail 1 image import "pinned@$(cat nested)" lay --tag v1
t 'says so' says err ', not sha256:'
t 'and is not made' must_fail 1 image show pinned
t 'one that is the one' image import "pinned@$(cat digest)" lay --tag v1
python3 "$oci" layout strange arch=s390x one.tar.gz >/dev/null
t 'an image for another machine' must_fail 1 image import strange
t 'is told' says err 'linux/s390x'
t 'and taken where somebody says so' image import strange --platform linux/s390x
t 'a configuration that says another one than is wanted' must_fail 1 image import saved.tar --platform linux/s390x
t 'is told, too' says err ', and what is wanted is linux/s390x'

# -- many layers
mkdir many
n=0
while [ $n -lt 40 ]; do
	echo $n >many/f
	echo $n >"many/n$n"
	tar -C many --mtime=@9 --owner=0 --group=0 -cf many.$n.tar f "n$n"
	n=$((n + 1))
done
# shellcheck disable=SC2046 # a list of names
python3 "$oci" layout manyl tag=x $(seq -f many.%g.tar 0 39) >/dev/null
t '40 layers' image import many manyl
t 'are 32 here' test "$(member many 'j["layers"]')" = 32
"$SLIPWAY" build export many 2>/dev/null | tar -xf - --one-top-level=many.tree
t 'with everything in them' test "$(count many.tree)" = 41
t 'the last one on top' test "$(cat many.tree/f)" = 39

# -- given out
t 'a tar' "$SLIPWAY" build export folder -o folder.1.tar
t 'imported again' image import folder2 folder.1.tar
t 'and given out' "$SLIPWAY" build export folder2 -o folder.2.tar
t 'has the same bytes' cmp folder.1.tar folder.2.tar
t 'an OCI archive' "$SLIPWAY" build export lay:v1 --format oci -o lay.1.oci
t 'imported again' image import given lay.1.oci
t 'and given out' "$SLIPWAY" build export given --format tar -o given.tar
"$SLIPWAY" build export lay:v1 -o lay.1.tar 2>/dev/null
t 'is the same tree' cmp given.tar lay.1.tar
t 'with the same configuration' test "$(member given 'str(j["env"]) + j["user"]')" = "$(member lay:v1 'str(j["env"]) + j["user"]')"
t 'by the id of a layer' "$SLIPWAY" build export "$(member given 'j["layer"][:12]')" -o by-id.tar
t 'the same' cmp by-id.tar given.tar
t 'SOURCE_DATE_EPOCH' sh -c 'SOURCE_DATE_EPOCH=1 "$SLIPWAY" build export folder -o epoch.tar'
t 'is the latest time' sh -c '! tar --full-time -tvf epoch.tar | grep -v 1970-01-01'
t 'JSON' sh -c '"$SLIPWAY" build export folder -o j.tar --json | python3 -c "import json, os, sys; assert json.load(sys.stdin)[\"bytes\"] == os.path.getsize(\"j.tar\")"'
t 'what is not there' must_fail 1 "$SLIPWAY" build export nothing-there -o x.tar
t 'writes no file' test ! -e x.tar
t 'another format' must_fail 2 "$SLIPWAY" build export folder -o x.tar --format zip
t 'a folder that cannot be written' must_fail 1 "$SLIPWAY" build export folder -o not/there.tar
if command -v skopeo >/dev/null; then
	t 'skopeo reads it' skopeo inspect oci-archive:lay.1.oci
	t 'and copies it' skopeo copy -q oci-archive:lay.1.oci oci:copied:tag
	t 'what skopeo writes is read' image import copied
	"$SLIPWAY" build export copied:tag -o copied.tar 2>/dev/null
	t 'and is the same tree' cmp copied.tar lay.1.tar
	t 'as for Docker' skopeo copy -q oci-archive:lay.1.oci docker-archive:docker.tar:local/name:4
	t 'too' image import docker.tar
	"$SLIPWAY" build export local/name:4 -o docker.1.tar 2>/dev/null
	t 'the same tree' cmp docker.1.tar lay.1.tar
else
	skip 'skopeo reads it' 'no skopeo'
fi
if command -v umoci >/dev/null; then
	umoci init --layout um 2>/dev/null && umoci new --image um:made 2>/dev/null
	umoci insert --rootless --image um:made folder/etc /etc 2>um.err
	umoci insert --rootless --image um:made folder/usr /usr 2>>um.err
	t 'what umoci writes' image import um
	"$SLIPWAY" build export um:made 2>/dev/null | tar -tf - >um.list
	t 'is unpacked' grep -qx usr/bin/bash um.list
	umoci insert --rootless --image um:made --whiteout /usr/bin/bash 2>/dev/null
	t 'with what it takes away' sh -c '"$SLIPWAY" image import um && ! "$SLIPWAY" build export um:made 2>/dev/null | tar -tf - | grep -qx usr/bin/bash'
else
	skip 'what umoci writes' 'no umoci'
fi

# -- a user who is not root
if [ "$(id -u)" = 0 ]; then
	mkdir plain && chmod 755 "$T" && cp "$SLIPWAY" plain/slipway && cp root.tar plain && rootfs plain/folder >/dev/null && chown -R 65534:65534 plain
	as_nobody()
	{
		setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$T/plain" "$T/plain/slipway" --root "$T/plain/root" "$@"
	}
	if as_nobody image import a plain/root.tar >out 2>err; then
		pass 'an unprivileged user'
		t 'has one id, and is told' says err 'this user has one id'
		t 'can give it out' as_nobody build export a -o plain/a.tar
		t 'everything is there' sh -c 'tar -tf plain/a.tar | grep -qx usr/bin/bash'
		t 'and belongs to root' sh -c '! tar --numeric-owner -tvf plain/a.tar | grep -v " 0/0 "'
		t 'a folder of his own' as_nobody image import plain/folder
		as_nobody build export folder -o plain/f.tar 2>/dev/null
		t 'belongs to root, too' sh -c '! tar --numeric-owner -tvf plain/f.tar | grep -v " 0/0 "'
		mkdir -m 700 plain/folder/closed
		t 'a folder with what he may not read' must_fail 1 as_nobody image import plain/folder
		t 'says what to do' says err "plain/folder/closed': this user may not; as root, 'tar -C plain/folder"
		rmdir plain/folder/closed
		t 'is another layer than that of root' test "$(as_nobody image show a --json | grep '"layer"')" != "$(image show probe --json | grep '"layer"')"
		t 'goes' as_nobody image remove folder
	else
		skip 'an unprivileged user' "kernel: $(head -n 1 err)"
	fi
fi

# ranges of ids, in a mount namespace of their own: the machine's /etc stays as it is
subuid()
{
	if ! command -v newuidmap >/dev/null; then
		echo 'build: no newuidmap'
		return 77
	fi
	unshare -m true 2>/dev/null || { echo 'kernel: no mount namespaces'; return 77; }
	printf '65534:300000:65536\nnobody:300000:65536\n' >subid && chmod 644 subid
	unshare -m sh -c "mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work &&
		mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc &&
		cp subid /etc/subuid && cp subid /etc/subgid &&
		setpriv --reuid 65534 --regid 65534 --clear-groups plain/slipway --root plain/ranges image import a root.tar.gz 2>err &&
		setpriv --reuid 65534 --regid 65534 --clear-groups plain/slipway --root plain/ranges build export a -o plain/ranges.tar" || { cat err; return 1; }
	tar --numeric-owner -tvf plain/ranges.tar | grep -q '1000/1000 .* home/builder/'
}
if [ "$(id -u)" = 0 ] && [ -e plain/root ]; then
	chmod 644 root.tar.gz
	t 'a user with ranges of ids has the owners of the archive' subuid
	[ ! -d plain/ranges ] || t 'as somebody else on disk' sh -c 'find plain/ranges/build/layer -uid 300999 -path "*home/builder" | grep -q .'
fi
caps()
{
	python3 -c "
import tarfile
with tarfile.open('caps.tar', 'w', format=tarfile.PAX_FORMAT) as t:
    i = tarfile.TarInfo('ping')
    i.mode = 0o755
    i.pax_headers = {'SCHILY.xattr.security.capability': '\x01\x00\x00\x02\x00 \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00', 'SCHILY.xattr.user.note': 'kept', 'SCHILY.xattr.trusted.overlay.opaque': 'y'}
    t.addfile(i)" && "$SLIPWAY" image import caps caps.tar && "$SLIPWAY" build export caps -o caps.out && python3 -c "
import tarfile
h = tarfile.open('caps.out').getmember('ping').pax_headers
assert 'SCHILY.xattr.trusted.overlay.opaque' not in h, h
assert h.get('SCHILY.xattr.user.note', 'kept') == 'kept', h
assert 'SCHILY.xattr.security.capability' in h or $(id -u) != 0, h"
}
t 'capabilities of files stay, marks of overlays do not' caps

# -- killed
mkdir big && head -c 30000000 /dev/urandom >big/noise && n=0
while [ $n -lt 400 ]; do
	echo $n >big/f$n
	n=$((n + 1))
done
tar -cf big.tar big
killed()
{
	for after in 0.002 0.005 0.01 0.02 0.04 0.08; do
		"$SLIPWAY" -q image import killed big.tar 2>/dev/null &
		sleep $after
		kill -9 $! 2>/dev/null
		wait $! 2>/dev/null
		if image show killed >/dev/null 2>&1; then
			"$SLIPWAY" build export killed 2>/dev/null | tar -xf - --one-top-level=killed.tree && cmp killed.tree/big/noise big/noise || return 1
			image remove killed 2>/dev/null
			rm -rf killed.tree
		fi
	done
}
t 'killed at any time it is there whole, or not at all' killed
t 'the same import then succeeds' image import killed big.tar
t 'and nothing half made is left' test "$(count "$SLIPWAY_ROOT/build/tmp")" = 0
t 'no process, and no mount' sh -c '! grep -q "$T" /proc/self/mounts'
t 'two at once' sh -c '"$SLIPWAY" -q image remove killed; "$SLIPWAY" -q image import k1 big.tar & "$SLIPWAY" -q image import k2 big.tar && wait $!'
t 'make one layer' test "$(member k1 'j["layer"]')" = "$(member k2 'j["layer"]')"

# -- a full disk
full()
{
	unshare -m true 2>/dev/null || { echo 'kernel: no mount namespaces'; return 77; }
	mkdir -p full
	unshare -m sh -c '
		mount -t tmpfs -o size=8m none full || exit 77
		"$SLIPWAY" image import --store full/build a root.tar 2>err && exit 1
		grep -qi "no space.*slipway build gc" err || { cat err; exit 1; }
		"$SLIPWAY" image import --store full/build b big.tar 2>err && exit 1
		grep -qi "no space" err || { cat err; exit 1; }
		"$SLIPWAY" image import --store full/build c one.tar 2>err || { cat err; exit 1; }
		[ "$(ls full/build/layer full/build/image | grep -c .)" = 4 ] || { ls full/build/layer full/build/image; exit 1; }
		[ -z "$(ls full/build/tmp)" ]'
}
if [ "$(id -u)" = 0 ]; then
	t 'a full disk is told of, and what fits then fits' full
fi

# -- harm
before=$(ls "$SLIPWAY_ROOT/build/layer" "$SLIPWAY_ROOT/build/image")
for kind in absolute dotdot hard-out hard-absolute hard-nothing hard-self hard-folder twice link-twice device below-file behind-nothing loop \
	deep long endless empty-link owner; do
	python3 "$oci" evil evil.tar $kind
	t "$kind" must_fail 1 image import evil evil.tar
	t 'names the archive' says err evil.tar
done
t 'a device below dev/ is left out' sh -c 'python3 -c "
import tarfile
with tarfile.open(\"dev.tar\", \"w\") as t:
    i = tarfile.TarInfo(\"dev/null\"); i.type = tarfile.CHRTYPE; i.devmajor = 1; i.devminor = 3; t.addfile(i)
" && "$SLIPWAY" image import dev dev.tar && "$SLIPWAY" image remove dev'
head -c 5000000 root.tar >cut.tar
t 'a tar that is cut off' must_fail 1 image import cut cut.tar
t 'says so' says err 'is truncated: it ends inside entry'
head -c 1000000 root.tar.gz >cut.tar.gz
t 'one that is packed' must_fail 1 image import cut cut.tar.gz
t 'says so, too' says err 'truncated'
: >empty
t 'an empty file' must_fail 1 image import empty
t 'is no archive' says err "'empty' is empty"
head -c 100000 /dev/zero | tr '\0' x >noise
t 'something else' must_fail 1 image import noise
t 'is none either' says err 'is no tar archive'
# sealed FOLDER: a fresh layout
sealed()
{
	rm -rf "$1"
	python3 "$oci" layout "$1" one.tar.gz three.tar >"$1.digest"
}
blob_of()
{
	python3 -c "
import json
m = json.load(open('$1/index.json'))['manifests'][0]['digest'][7:]
d = json.load(open('$1/blobs/sha256/' + m))
print('$1/blobs/sha256/' + {'manifest': m, 'config': d['config']['digest'][7:], 'layer': d['layers'][0]['digest'][7:]}['$2'])"
}
image remove lay:v1 >/dev/null 2>&1
for part in manifest config layer; do
	sealed bad
	blob=$(blob_of bad $part)
	printf X | dd of="$blob" bs=1 seek=30 conv=notrunc 2>/dev/null
	rm -rf "$SLIPWAY_ROOT.fresh"
	t "a $part with other bytes" must_fail 1 "$SLIPWAY" --root "$SLIPWAY_ROOT.fresh" image import bad
	t 'is damaged' grep -qE 'damaged|bad gzip data' err
	sealed bad
	printf X >>"$(blob_of bad $part)"
	t "a $part that is longer" must_fail 1 "$SLIPWAY" --root "$SLIPWAY_ROOT.fresh" image import bad
	t 'is damaged, too' grep -q damaged err
	sealed bad
	rm "$(blob_of bad $part)"
	t "a $part that is missing" must_fail 1 "$SLIPWAY" --root "$SLIPWAY_ROOT.fresh" image import bad
	t 'nothing is left' test "$(count "$SLIPWAY_ROOT.fresh/build/layer") $(count "$SLIPWAY_ROOT.fresh/build/tmp")" = "0 0"
done
sealed bad
python3 - <<'X'
import hashlib, json
index = json.load(open('bad/index.json'))
m = index['manifests'][0]
old = json.load(open('bad/blobs/sha256/' + m['digest'][7:]))
config = json.load(open('bad/blobs/sha256/' + old['config']['digest'][7:]))
config['rootfs']['diff_ids'][0] = 'sha256:' + '0' * 64
def put(value):
    data = json.dumps(value).encode()
    name = hashlib.sha256(data).hexdigest()
    open('bad/blobs/sha256/' + name, 'wb').write(data)
    return {'digest': 'sha256:' + name, 'size': len(data)}
old['config'].update(put(config))
m.update(put(old))
json.dump(index, open('bad/index.json', 'w'))
X
t 'a wrong diff_id' must_fail 1 image import bad
t 'is damaged' says err 'what is in it has another SHA-256'
printf '{"schemaVersion":2,"manifests":[' >bad/index.json
python3 -c "print('[' * 100000)" >>bad/index.json
t 'JSON that is deep' must_fail 1 image import bad
python3 -c "print('{\"manifests\": [' + ','.join(['{}'] * 2000) + ']}')" >bad/index.json
t 'an index that is long' must_fail 1 image import bad
t 'is refused' says err 'more than 1000'
head -c 5000000 /dev/zero >bad/index.json
t 'one that is large' must_fail 1 image import bad
t 'is refused, too' says err 'more than 4194304'
python3 -c "print('{\"manifests\": [{\"digest\": \"sha256:../../../../etc/passwd\", \"size\": 1}]}')" >bad/index.json
t 'a digest that is a path' must_fail 1 image import bad
after=$(ls "$SLIPWAY_ROOT/build/layer" "$SLIPWAY_ROOT/build/image")
t 'of all these nothing is left but the name that was removed' test "$(printf '%s\n' "$before" | grep -cv 'lay%3av1')" -ge "$(printf '%s\n' "$after" | wc -l)"
t 'nor anything half made' test -z "$(ls "$SLIPWAY_ROOT/build/tmp")"

# -- removed
t 'what would go' runs image remove probe --dry-run
t 'is still there' image show probe
t 'a layer that another image has' runs image remove again
t 'stays' says err '1 layer stays'
t 'another one goes' runs image remove folder
t 'with its layer' says err 'removed'
t 'is gone' must_fail 1 image show folder
t 'cannot go twice' must_fail 1 image remove folder
t 'by digest' image remove "@$(sha256sum root.tar.gz | sed 's/ .*//; s/^/sha256:/')"

done_testing
