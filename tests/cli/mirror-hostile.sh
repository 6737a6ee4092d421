# SPDX-License-Identifier: Apache-2.0
# What is hostile to a mirror: upstreams that lie in their metadata, and what is given to its commands.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3 zstd

servers_end()
{
	for pid in *.pid; do
		[ ! -f "$pid" ] || kill "$(cat "$pid")" 2>/dev/null
	done
	chmod -R u+w "$T" 2>/dev/null
	rm -rf "$T"
}
trap servers_end EXIT

# upstream NAME: serves the folder NAME; its address is in $NAME
upstream()
{
	mkdir -p "$1"
	touch "$1.faults"
	python3 "$SOURCE_ROOT/tests/lib/upstream.py" "$1" "$1.faults" "$1.log" >"$1.port" 2>/dev/null &
	echo $! >"$1.pid"
	await test -s "$1.port"
	eval "$1=http://127.0.0.1:$(cat "$1.port")"
}
# repodata FOLDER INFO RECORD: noarch/repodata.json of one package, x-1-0.tar.bz2 unless RECORD has "fn"
repodata()
{
	mkdir -p "$1/noarch"
	python3 - "$@" >"$1/noarch/repodata.json" <<'END'
import json, sys
folder, info, record = sys.argv[1:]
r = {"name": "x", "version": "1", "build": "0", "build_number": 0, "depends": [], "subdir": "noarch", **json.loads(record)}
print(json.dumps({"info": {"subdir": "noarch", **json.loads(info)}, "packages": {r.pop("fn", "x-1-0.tar.bz2"): r}, "packages.conda": {}}))
END
}
# nothing_came CHANNEL
nothing_came()
{
	! find "M/content/$1" -type f | grep -E 'bz2|packages/|pool/|cache/' || return 1
}

small_package x 1
"$SLIPWAY" -q mirror init M --name m --host mirror.example
"$SLIPWAY" -q channel create M/vault --kind conda --type local --private
"$SLIPWAY" -q channel publish M/content/vault x-1-0.tar.bz2
upstream up
t 'addresses of upstreams, which may hold passwords, are for the mirror alone' [ "$(stat -c %a M/mirror.yaml M/channels/vault.yaml | sort -u)" = 600 ]

# -- places that metadata lead to --------------------------------------------------------------------------------------
repodata up "{\"base_url\": \"file://$T/M/content/vault/noarch/\"}" '{}'
"$SLIPWAY" -q channel create M/file --kind conda --from "$up" --download HISTORIC
t 'metadata that lead among files of this machine' runs "$SLIPWAY" channel sync M/file
t 'are refused' has 'which is on no server: refused' err
t 'and nothing of them comes' nothing_came file
repodata up '{"base_url": "../../M/content/vault/noarch/"}' '{}'
"$SLIPWAY" -q channel create M/out --kind conda --from "$T/up" --download HISTORIC
t 'metadata that lead out of a folder' runs "$SLIPWAY" channel sync M/out
t 'are refused as well' has "out of the upstream's folder" err
t 'and bring nothing' nothing_came out
repodata up '{"base_url": "gopher://127.0.0.1/"}' '{}'
"$SLIPWAY" -q channel create M/gopher --kind conda --from "$up" --download HISTORIC
t 'another scheme' runs "$SLIPWAY" channel sync M/gopher
t 'is refused' has 'which is on no server: refused' err
mkdir -p up/simple/foo
printf '{"meta":{"api-version":"1.0"},"name":"foo","files":[{"filename":"foo-1.tar.gz","url":"file://%s","hashes":{}}]}' \
	"$T/M/pki/authority-1.key" >up/simple/foo/index.html
"$SLIPWAY" -q channel create M/py --kind pypi --from "$up" --package foo --download HISTORIC
t 'a page that names the authority'\''s key' runs "$SLIPWAY" channel sync M/py
t 'does not get it' nothing_came py

# -- what a digest does not buy ----------------------------------------------------------------------------------------
mkdir -p own
"$SLIPWAY" -q channel publish own x-1-0.tar.bz2
"$SLIPWAY" -q channel create M/own --kind conda --from "$T/own" --download HISTORIC --private
"$SLIPWAY" -q channel sync M/own
repodata up '{}' "{\"sha256\": \"$(sha256sum x-1-0.tar.bz2 | cut -c1-64)\"}"
"$SLIPWAY" -q channel create M/guess --kind conda --from "$up" --download HISTORIC
t 'who knows the digest of a private package' runs "$SLIPWAY" channel sync M/guess
t 'is not given it' nothing_came guess

# -- what fills memory --------------------------------------------------------------------------------------------------
# a megabyte that unpacks to 280
mkdir -p opam
python3 -c '
import io, tarfile
with tarfile.open("opam/index.tar.gz", "w:gz", compresslevel=1) as t:
    for i in range(70):
        m = tarfile.TarInfo("packages/a/a.%d/opam" % i)
        m.size = 4000000
        t.addfile(m, io.BytesIO(b"#" * m.size))'
"$SLIPWAY" -q channel create M/opam --kind opam --from "$T/opam" --download HISTORIC
t 'an index that unpacks to more than a repository has' must_fail 1 "$SLIPWAY" channel sync M/opam
t 'is refused' has 'an opam repository of more than' err
mkdir -p takeout
python3 -c 'print("{\"takeout\": 1, \"x\": [" + "1," * 5000000 + "1], \"recipes\": []}")' >takeout/takeout.json
"$SLIPWAY" -q channel create M/takeout --kind takeout --from "$T/takeout" --download HISTORIC
t 'a list of millions of numbers' must_fail 1 "$SLIPWAY" channel sync M/takeout
t 'is refused as well' has 'more values than are accepted' err

# -- what fills a disk -------------------------------------------------------------------------------------------------
# squeezed COMMAND...: with M on a file system of 64 MB, of which 48 MB are to be left; then how much is left, in MB, is in ./left
squeezed()
{
	mkdir -p small
	unshare -rm sh -c 'mount -t tmpfs -o size=64m none small && cp -r M small/M && cd small &&
		sed -i "s/^#*reserve:.*/reserve: 48 MB/" M/mirror.yaml && rm -rf M/state/*.db* && "$@"
		status=$?; df -B1000000 --output=avail . | tail -n 1 >../left; exit $status' - "$@" >out 2>err
}
if unshare -rm mount -t tmpfs none M/log 2>/dev/null; then
	repodata up '{}' '{}'
	python3 -c '
import subprocess
p = subprocess.Popen(["zstd", "-q", "-c"], stdin=subprocess.PIPE, stdout=open("up/noarch/repodata.json.zst", "wb"))
p.stdin.write(b"{")
for i in range(200):
    p.stdin.write(b" " * 1000000)
p.stdin.write(b"}")
p.stdin.close()
p.wait()'
	"$SLIPWAY" -q channel create M/bomb --kind conda --from "$up" --download HISTORIC
	t 'metadata that unpack to more than there is room' must_fail 1 squeezed "$SLIPWAY" channel sync M/bomb
	t 'end there' has "unpack 'noarch/repodata.json.zst': no space" err
	t 'and say what makes room on a mirror' has "'slipway channel prune' .* make room" err
	t 'and leave the reserve' [ "$(cat left)" -ge 36 ]
	rm up/noarch/repodata.json.zst
	head -c 100 x-1-0.tar.bz2 >up/noarch/x-1-0.tar.bz2
	echo '*.bz2 endless' >up.faults
	t 'a package without a size or an end' must_fail 1 squeezed "$SLIPWAY" channel sync M/guess
	t 'is left where the reserve begins' has 'no space' err
	t 'which stays' [ "$(cat left)" -ge 36 ]
	: >up.faults
	full_publish()
	{
		unshare -rm sh -c 'mount -t tmpfs -o size=8k none small && "$@"' - "$SLIPWAY" channel publish small/ch x-1-0.tar.bz2 >out 2>err
	}
	t 'a channel of our own on a full disk' must_fail 1 full_publish
	t 'is told the same' has "'slipway channel prune' makes room" err
else
	skip 'what fills a disk' 'no file system can be mounted here'
fi

done_testing
