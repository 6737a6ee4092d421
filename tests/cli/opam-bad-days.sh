# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# Bad days of opam install: archives that lead out, two runs at once on one cache, runs that are killed, a full disk.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need python3

OPAMYES=1 OPAMROOTISOK=1 LC_ALL=C
export OPAMYES OPAMROOTISOK LC_ALL
unset OPAMROOT OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG
ln -s "$SLIPWAY" opam
mkdir -p repo/packages
echo 'opam-version: "2.0"' >repo/repo

package()
{
	mkdir -p "repo/packages/$1/$1.$2"
	{
		echo 'opam-version: "2.0"'
		cat
	} >"repo/packages/$1/$1.$2/opam"
}

python3 - <<'END'
import io, tarfile
def tar(name, entries):
    with tarfile.open(name, 'w:gz') as t:
        for path, kind, text in entries:
            i = tarfile.TarInfo(path)
            if kind == 'file':
                i.size = len(text)
                t.addfile(i, io.BytesIO(text.encode()))
            else:
                i.type, i.linkname = {'link': tarfile.SYMTYPE, 'hard': tarfile.LNKTYPE, 'fifo': tarfile.FIFOTYPE}[kind], text
                t.addfile(i)
tar('up.tgz', [('x/../../../../../../out', 'file', 'x')])
tar('absolute.tgz', [('/tmp/slipway-opam-out', 'file', 'x')])
tar('link.tgz', [('x/l', 'link', '../../../..'), ('x/l/out', 'file', 'x')])
tar('etc.tgz', [('x/l', 'link', '/etc')])
tar('hard.tgz', [('x/l', 'hard', '/etc/passwd')])
tar('fifo.tgz', [('x/l', 'fifo', '')])
tar('good.tgz', [('good-1/data', 'file', 'y' * 300000)])
open('cut.tgz', 'wb').write(open('good.tgz', 'rb').read()[:200])
import stat, zipfile
def zip(name, entries):
    with zipfile.ZipFile(name, 'w', zipfile.ZIP_DEFLATED) as z:
        for path, kind, text in entries:
            i = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            i.create_system = 3
            i.external_attr = ({'file': stat.S_IFREG | 0o644, 'exec': stat.S_IFREG | 0o755, 'link': stat.S_IFLNK | 0o777}[kind]) << 16
            i.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(i, text)
import warnings
warnings.simplefilter('ignore')
zip('zipup.tgz', [('x/../../../../../../out', 'file', 'x')])
zip('zipabsolute.tgz', [('/tmp/slipway-opam-out', 'file', 'x')])
zip('ziplink.tgz', [('x/l', 'link', '../../../..'), ('x/l/out', 'file', 'x')])
zip('zipetc.tgz', [('x/l', 'link', '/etc')])
zip('ziptwice.tgz', [('x/a', 'file', '1'), ('x/a', 'file', '2')])
zip('zip.tgz', [('good-1/data', 'file', 'y' * 300000), ('good-1/run', 'exec', '#!/bin/sh\necho ran\n'), ('good-1/l', 'link', 'data')])
b = open('zip.tgz', 'rb').read()
open('zipcut.tgz', 'wb').write(b[:len(b) // 2])
i = b.index(b'PK\1\2')
open('zipbad.tgz', 'wb').write(b[:60] + bytes([b[60] ^ 255]) + b[61:])
END
for name in up absolute link etc hard fifo good cut zipup zipabsolute ziplink zipetc ziptwice zip zipcut zipbad; do
	package "$name" 1 <<END
build: ["sh" "-c" "[ ! -f data ] || cp data copy"]
install: ["sh" "-c" "mkdir -p %{share}%/$name; [ ! -f data ] || cp -a * %{share}%/$name"]
url { src: "file://$T/$name.tgz" checksum: "sha256=$(sha256sum <"$name.tgz" | cut -d ' ' -f 1)" }
END
done
package extra 1 <<END
extra-source "../../../../../out" { src: "file://$T/good.tgz" checksum: "sha256=$(sha256sum <good.tgz | cut -d ' ' -f 1)" }
END
package slow 1 <<'END'
build: ["sh" "-c" "echo $$ > pid; sleep 77"]
END
package dotinstall 1 <<'END'
build: ["sh" "-c" "echo x > x; echo 'bin: [\"x\" {\"../../../../out\"}]' > dotinstall.install"]
END

# root NAME: one with a switch, and the cache that all of them share
root()
{
	./opam init --root "$T/$1" --bare --no-setup -k local default repo >/dev/null &&
		./opam switch create --root "$T/$1" sw --empty >/dev/null && mkdir -p cache &&
		rm -rf "$1/download-cache" && ln -s "$T/cache" "$1/download-cache"
}
t 'a root is made' root r

refused()
{
	./opam install --root "$T/r" "$1" >out 2>&1
	[ $? = 31 ] && [ ! -e out-there ] && [ -z "$(find . -maxdepth 3 -name out ! -type f)" ] && grep -q "$2" out &&
		[ ! -e /tmp/slipway-opam-out ] || { cat out; return 1; }
}
t 'an archive with .. is refused' refused up 'is refused'
t 'one with an absolute path' refused absolute 'is refused'
t 'one that goes through a link' refused link 'is refused'
t 'one with a link to elsewhere' refused etc 'is refused'
t 'one with a hard link to elsewhere' refused hard 'is refused'
t 'one with a pipe' refused fifo 'is refused'
t 'one that is cut off' refused cut 'cut'
t 'a ZIP with ..' refused zipup 'is refused'
t 'one with an absolute path' refused zipabsolute 'is refused'
t 'one that goes through a link' refused ziplink 'is refused'
t 'one with a link to elsewhere' refused zipetc 'is refused'
t 'one that has a path twice' refused ziptwice 'is refused'
t 'one that is cut off' refused zipcut 'is refused'
t 'one that is damaged' refused zipbad 'is refused'
zipped()
{
	./opam install --root "$T/r" zip >out 2>&1 && cmp r/sw/share/zip/data r/sw/share/zip/l && [ "$(r/sw/share/zip/run)" = ran ] || { cat out; return 1; }
}
t 'a good one is unpacked' zipped
t 'an extra source that leads out' refused extra 'leads out'
t 'an .install file that leads out' refused dotinstall 'dotinstall'
t 'others are none the worse' ./opam install --root "$T/r" good

two_at_once()
{
	for round in 1 2 3; do
		rm -rf cache/* cache/.slipway
		for i in 1 2 3; do
			rm -rf "r$i"
			root "r$i" || return 1
		done
		pids=
		for i in 1 2 3; do
			SLIPWAY_OPAM_KEPT=none ./opam install --root "$T/r$i" good >"out$i" 2>&1 &
			pids="$pids $!"
		done
		for p in $pids; do
			wait "$p" || { cat out1 out2 out3; return 1; }
		done
		cmp good.tgz cache/sha256/*/* && [ -z "$(ls -A cache/.slipway)" ] && [ -f r3/sw/share/good/data ] || return 1
	done
}
t 'three runs share a cache' two_at_once

killed()
{
	./opam install --root "$T/r" slow >out 2>&1 &
	run=$!
	await test -f r/sw/.opam-switch/build/slow.1/pid || { cat out; kill -9 "$run"; return 1; }
	kill -9 "$run"
	wait "$run"
	[ "$(./opam list --root "$T/r" --installed --short 2>/dev/null | grep -c slow)" = 0 ]
}
nothing_sleeps()
{
	! pgrep -f '^sleep 77$' >/dev/null
}
if "$SLIPWAY" build --check >/dev/null 2>&1; then
	t 'a run is killed' killed
	t 'and its commands with it' await nothing_sleeps
	t 'the next one goes on' ./opam reinstall --root "$T/r" good
	t 'and leaves nothing of the killed one' must_fail 1 test -e r/sw/.opam-switch/.slipway
else
	skip 'a run is killed' 'kernel: no sandbox'
fi

# one after the other on one switch, whoever comes first
package nap 1 <<'END'
build: ["sleep" "2"]
END
same_switch()
{
	./opam update --root "$T/r" >/dev/null 2>&1
	./opam install --root "$T/r" nap >out1 2>&1 &
	first=$!
	await test -d r/sw/.opam-switch/build/nap.1 || return 1
	./opam install --root "$T/r" --safe zip >out3 2>&1
	[ $? = 15 ] || { cat out3; return 1; }
	./opam reinstall --root "$T/r" good >out2 2>&1 || { cat out2; return 1; }
	wait "$first" && grep -q 'Another process has locked .*waiting' out2 && grep -q 'lock acquired' out2 || { cat out1 out2; return 1; }
	[ "$(./opam list --root "$T/r" --installed --short 2>/dev/null | grep -cx -e nap -e good)" = 2 ]
}
t 'two runs on one switch wait for each other' same_switch

# three packages, killed while the second is built: the first stays, and is not built again
package chain-a 1 <<'END'
install: ["sh" "-c" "mkdir -p %{share}%/chain && date +%s%N >%{share}%/chain/a"]
END
package chain-b 1 <<'END'
depends: ["chain-a"]
build: ["sleep" "3"]
install: ["sh" "-c" "echo b >%{share}%/chain/b"]
END
package chain-c 1 <<'END'
depends: ["chain-b"]
install: ["sh" "-c" "echo c >%{share}%/chain/c"]
END
resumes()
{
	./opam update --root "$T/r" >/dev/null 2>&1
	SLIPWAY_OPAM_KEPT=none ./opam install --root "$T/r" chain-c >out 2>&1 &
	run=$!
	await test -d r/sw/.opam-switch/build/chain-b.1 || { cat out; kill -9 "$run"; return 1; }
	kill -9 "$run"
	wait "$run"
	cp r/sw/share/chain/a a.before
	[ "$(./opam list --root "$T/r" --installed --short 2>/dev/null | grep -c chain)" = 1 ] && [ ! -e r/sw/share/chain/b ] || return 1
	SLIPWAY_OPAM_KEPT=none ./opam install --root "$T/r" chain-c >out 2>&1 || { cat out; return 1; }
	cmp a.before r/sw/share/chain/a && ! grep -q 'installed chain-a' out && [ -f r/sw/share/chain/c ]
}
t 'a killed run is gone on with' resumes

# as somebody without rights, who gets a root and a place for what was built of his own
unprivileged()
{
	rm -rf plain && mkdir -p plain/home plain/repo && cp -r repo/. plain/repo && cp "$SLIPWAY" plain/opam && cp "$SLIPWAY" plain/slipway && cp ./*.tgz plain &&
		sed -i "s|file://$T/|file://$T/plain/|" plain/repo/packages/*/*/opam && chown -R 12345:12345 plain && chmod 755 "$T" || return 1
	as_user="setpriv --reuid 12345 --regid 12345 --clear-groups env -u SLIPWAY_ROOT HOME=$T/plain/home OPAMROOT=$T/plain/home/r"
	(
		cd plain || exit 1
		$as_user ./opam init --bare --no-setup -k local default repo && $as_user ./opam switch create sw --empty && $as_user ./opam install good zip &&
			$as_user ./opam remove good zip && $as_user ./opam install good zip
	) >out 2>&1 || { cat out; return 1; }
	[ "$(grep -c '(built before)' out)" = 2 ] && [ -f plain/home/r/sw/share/good/data ] && [ -d plain/home/.local/share/slipway/opam/built ] || { cat out; return 1; }
	[ -z "$(find plain/home ! -user 12345)" ]
}
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	if setpriv --reuid 12345 --regid 12345 --clear-groups "$SLIPWAY" build --check >/dev/null 2>&1; then
		t 'a user without rights installs, and installs again' unprivileged
	else
		skip 'a user without rights installs, and installs again' 'kernel: no sandbox for users without rights'
	fi
fi

cat >full.sh <<'END'
mkdir -p small && mount -t tmpfs -o size=700k tmpfs small &&
	./opam init --root "$T/small/r" --bare --no-setup -k local default repo >/dev/null &&
	./opam switch create --root "$T/small/r" sw --empty >/dev/null || exit 1
./opam install --root "$T/small/r" --disable-sandboxing good >out 2>&1
rc=$?
{ [ $rc = 31 ] || [ $rc = 40 ]; } && grep -qi 'no space' out || { cat out; exit 1; }
[ -z "$(./opam list --root "$T/small/r" --installed --short 2>/dev/null)" ] && [ ! -e small/r/sw/share/good/data ]
END
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
	t 'a full disk is told, and nothing is half installed' unshare -m sh full.sh
else
	skip 'a full disk is told' 'kernel: may not mount'
fi
done_testing
