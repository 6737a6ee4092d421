#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Debian archives of our own, used by the real apt: in a folder of its own, by HTTP and as files.
# shellcheck disable=SC2015 # in a test any failure is one
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/signed.sh"
for program in apt-get dpkg-deb dpkg-scanpackages gpg gpgv python3; do
	command -v $program >/dev/null || skip_all "there is no $program here"
done
export SLIPWAY_ROOT="$T/root"
ours=$(dpkg --print-architecture)

# deb NAME VERSION ARCH [FIELD…]: builds $T/debs/NAME_VERSION_ARCH.deb
deb()
{
	name=$1 version=$2 arch=$3
	shift 3
	rm -rf "$T/pkg"
	mkdir -p "$T/pkg/DEBIAN" "$T/pkg/usr/share/$name" "$T/debs"
	head -c 30000 /dev/urandom | od -x >"$T/pkg/usr/share/$name/content"
	{
		printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: Tests <tests@example.org>\n' "$name" "$version" "$arch"
		for field; do printf '%s\n' "$field"; done
		printf 'Description: %s of the tests\n It has a longer text.\n' "$name"
	} >"$T/pkg/DEBIAN/control"
	dpkg-deb --root-owner-group -b -Z"${packing:-xz}" "$T/pkg" "$T/debs/${name}_${version#*:}_$arch.deb" >/dev/null
}

# apt_folder URL [OPTION]: an apt that knows this source alone
apt_folder()
{
	rm -rf "$T/apt"
	mkdir -p "$T/apt/etc/apt.conf.d" "$T/apt/etc/preferences.d" "$T/apt/etc/trusted.gpg.d" "$T/apt/etc/auth.conf.d" \
		"$T/apt/state/lists/partial" "$T/apt/cache/archives/partial" "$T/apt/log"
	: >"$T/apt/state/status"
	echo "deb [${2:-signed-by=$T/ch/key.asc}] $1 stable main" >"$T/apt/etc/sources.list"
	cat >"$T/apt/conf" <<-X
		Dir "$T/apt";
		Dir::Etc "$T/apt/etc";
		Dir::State "$T/apt/state";
		Dir::State::status "$T/apt/state/status";
		Dir::Cache "$T/apt/cache";
		Dir::Log "$T/apt/log";
		Dir::Bin::methods "/usr/lib/apt/methods";
		APT::Architecture "$ours";
		APT::Architectures { "$ours"; };
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::http::Proxy "DIRECT";
		Acquire::Retries "0";
		Debug::NoLocking "true";
	X
}
run_apt()
{
	APT_CONFIG=$T/apt/conf http_proxy='' LC_ALL=C.UTF-8 apt-get -q "$@"
}
show() # the newest version that apt knows of NAME
{
	APT_CONFIG=$T/apt/conf LC_ALL=C.UTF-8 apt-cache show "$1" | sed -n 's/^Version: //p' | sort -V | tail -1
}

fingerprint()
{
	"$SLIPWAY" channel key "$T/ch" >"$T/key" && [ "$(wc -c <"$T/key")" = 41 ] && [ -s "$T/ch/key.asc" ] && [ -s "$T/ch/key.gpg" ] &&
		"$SLIPWAY" channel key | cmp - "$T/key"
}

deb one 1.0-1 "$ours" 'Depends: two (>= 1)'
packing=gzip deb two 1:2.0 all
packing=zstd deb other 3 riscv64
t 'without a key nothing is published' must_fail 2 "$SLIPWAY" channel publish "$T/ch" "$T"/debs/*.deb
t 'it says how to make one' has 'slipway channel key' err
t 'nothing is there' test ! -e "$T/ch"
t 'a key is made, and shown again' fingerprint
t 'it lies outside the channel' test -d "$T/root/keys/openpgp"

# An agent that is just ending: it takes a connection, and closes it.
agent_ends()
{
	socket=$(gpgconf --homedir "$T/root/keys/openpgp" --list-dirs agent-socket) && gpgconf --homedir "$T/root/keys/openpgp" --create-socketdir 2>/dev/null
	timeout 30 python3 - "$socket" "$T/listens" <<-'END' &
		import os, socket, sys
		s = socket.socket(socket.AF_UNIX)
		if os.path.exists(sys.argv[1]):
		    os.unlink(sys.argv[1])
		s.bind(sys.argv[1])
		s.listen(5)
		open(sys.argv[2], 'w').close()
		for _ in range(3):
		    s.accept()[0].close()
		os.unlink(sys.argv[1])
	END
	ends=$!
	tries=0
	while [ ! -e "$T/listens" ] && [ $((tries += 1)) -lt 100 ]; do sleep 0.1; done
	"$SLIPWAY" channel key | cmp - "$T/key" && wait "$ends"
}
t 'a signature waits for an agent that is ending' agent_ends
t 'packages are published' "$SLIPWAY" channel publish "$T/ch" "$T"/debs/*.deb
t 'in the pool' test -f "$T/ch/pool/main/o/one/one_1.0-1_$ours.deb" -a -f "$T/ch/pool/main/t/two/two_2.0_all.deb"
t 'gpgv takes the signature' gpgv --keyring "$T/ch/key.gpg" "$T/ch/dists/stable/InRelease"
t 'that of Release too' gpgv --keyring "$T/ch/key.gpg" "$T/ch/dists/stable/Release.gpg" "$T/ch/dists/stable/Release"
t 'packages for all stand in each index' grep -q '^Package: two' "$T/ch/dists/stable/main/binary-$ours/Packages"
t 'in that of riscv64 too' grep -q '^Package: two' "$T/ch/dists/stable/main/binary-riscv64/Packages"

# -- apt ---------------------------------------------------------------------------------------------------------------

serve()
{
	cat >"$T/serve.py" <<-'X'
		import http.server, os, sys
		class H(http.server.SimpleHTTPRequestHandler):
		    protocol_version = 'HTTP/1.1'
		    def log_message(self, *a):
		        with open(sys.argv[2], 'a') as f: f.write(self.command + ' ' + self.path + ' ' + str(self.headers.get('Range')) + '\n')
		    def do_GET(self):
		        path = self.translate_path(self.path)
		        start = self.headers.get('Range')
		        if not os.path.isfile(path) or not start: return super().do_GET()
		        at = int(start.split('=')[1].split('-')[0]); size = os.path.getsize(path)
		        if at >= size: self.send_response(416); self.send_header('Content-Length', '0'); self.end_headers(); return
		        self.send_response(206); self.send_header('Content-Range', f'bytes {at}-{size-1}/{size}')
		        self.send_header('Content-Length', str(size - at)); self.end_headers()
		        with open(path, 'rb') as f: f.seek(at); self.wfile.write(f.read())
		        self.log_message()
		os.chdir(sys.argv[1])
		s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), H)
		print(s.server_address[1], flush=True)
		s.serve_forever()
	X
	python3 "$T/serve.py" "$T/ch" "$T/requests" >"$T/port" &
	server=$!
	trap 'kill $server 2>/dev/null; rm -rf "$T"' EXIT
	while [ ! -s "$T/port" ]; do sleep 0.1; done # style: a server that starts
	url=http://127.0.0.1:$(cat "$T/port")
}
serve

used_by_apt()
{
	apt_folder "$1" && run_apt update >out 2>&1 || { cat out; return 1; }
	! grep -E '^(W|E|Err)' out || return 1
	[ "$(show one)" = 1.0-1 ] && [ "$(show two)" = 1:2.0 ] || { echo "versions: $(show one), $(show two)"; return 1; }
	run_apt install -y --download-only one >out 2>&1 || { cat out; return 1; }
	# a file: source is used in place
	case $1 in http*) [ -s "$T/apt/cache/archives/one_1.0-1_$ours.deb" ] && [ -s "$T/apt/cache/archives/two_1%3a2.0_all.deb" ] ;; esac
}
t 'apt uses it by HTTP' used_by_apt "$url"
t 'it asks by digest' grep -q 'by-hash/SHA256' "$T/requests"
t 'apt uses it as files' used_by_apt "file:$T/ch"

resumed()
{
	apt_folder "$url" && run_apt update >out 2>&1 && cp "$T/debs/one_1.0-1_$ours.deb" whole &&
		head -c 5000 whole >"$T/apt/cache/archives/partial/one_1.0-1_$ours.deb" &&
		: >"$T/requests" && run_apt install -y --download-only one >out 2>&1 &&
		cmp whole "$T/apt/cache/archives/one_1.0-1_$ours.deb" && grep 'one_1.0-1.*bytes=' "$T/requests"
}
t 'a download goes on where it broke off' resumed

# -- more packages, the same ones, others -------------------------------------------------------------------------------

in_release()
{
	sha256sum "$T/ch/dists/stable/InRelease"
}
again()
{
	in_release >before && "$SLIPWAY" channel publish "$T/ch" "$T"/debs/*.deb && in_release | cmp - before
}
t 'published again, nothing changes' again

not_read_again()
{
	touch -r "$T/debs/one_1.0-1_$ours.deb" stamp
	cp "$T/debs/one_1.0-1_$ours.deb" same.deb
	# another content of the same size and time is taken for the same: it is not read again
	size=$(wc -c <same.deb)
	dd if=/dev/zero of=same.deb bs=1 seek=$((size - 10)) count=10 conv=notrunc 2>/dev/null
	touch -r stamp same.deb
	again && "$SLIPWAY" channel publish "$T/ch" same.deb && in_release | cmp - before
}
t 'what is listed is not read again' not_read_again

renewed()
{
	in_release >before && "$SLIPWAY" channel publish --valid-for 7 "$T/ch" && ! in_release | cmp -s - before && grep '^Valid-Until: ' "$T/ch/dists/stable/Release"
}
t 'without packages the date is renewed' renewed

packed_again()
{
	cp "$T/debs/one_1.0-1_$ours.deb" keep.deb
	deb one 1.0-1 "$ours" 'Depends: two (>= 1)'
	must_fail 1 "$SLIPWAY" channel publish "$T/ch" "$T/debs/one_1.0-1_$ours.deb" && has 'other content' err &&
		in_release >before && mv keep.deb "$T/debs/one_1.0-1_$ours.deb"
}
t 'other content under the same name is refused' packed_again

mkdir later
deb one 1.1-1 "$ours"
mv "$T/debs/one_1.1-1_$ours.deb" later/
t 'a new version is published' "$SLIPWAY" channel publish "$T/ch" later/*.deb
updated()
{
	run_apt update >out 2>&1 && ! grep -E '^(W|E|Err)' out && [ "$(show one)" = 1.1-1 ]
}
t 'apt sees it' updated

t 'indexes of before are there still' sh -c "[ \$(ls '$T/ch/dists/stable/main/binary-$ours/by-hash/SHA256' | wc -l) = 7 ]"

# apt compares whole seconds: what is published twice within one has different ones
at_once()
{
	seconds=
	for n in 1 2 3; do
		deb "quick$n" 1 "$ours" && mv "$T/debs/quick${n}_1_$ours.deb" later/ &&
			"$SLIPWAY" channel publish "$T/ch" "later/quick${n}_1_$ours.deb" >/dev/null || return 1
		seconds="$seconds $(stat -c %Y "$T/ch/dists/stable/InRelease")"
	done
	# shellcheck disable=SC2086 # words
	[ "$(printf '%s\n' $seconds | sort -un | wc -l)" = 3 ] && rm -f later/quick*
}
t 'three publications in a second have three times' at_once

refused()
{
	cp -r "$T/ch" "$T/forged"
	sed -i 's/^Label.*/&x/; s/^Codename: stable/Codename: stablf/' "$T/forged/dists/stable/InRelease"
	apt_folder "file:$T/forged" && ! run_apt update >out 2>&1 && grep -q 'BADSIG\|invalid' out
}
t 'apt refuses it when it is changed' refused

unsigned()
{
	must_fail 2 "$SLIPWAY" channel publish --unsigned "$T/ch" later/*.deb && has 'is signed' err &&
		"$SLIPWAY" channel publish --unsigned --suite test --component extra "$T/plain" "$T"/debs/*.deb &&
		[ ! -e "$T/plain/dists/test/InRelease" ] && [ -s "$T/plain/dists/test/extra/binary-$ours/Packages.xz" ]
}
t 'unsigned only where it was so from the start' unsigned

# -- an update in the middle of publications ---------------------------------------------------------------------------

loop()
{
	apt_folder "$url" && mkdir -p loop
	i=1
	while [ $i -le 12 ]; do
		deb looping 1.$i "$ours"
		mv "$T/debs/looping_1.${i}_$ours.deb" loop/
		i=$((i + 1))
	done
	(
		for file in loop/*.deb; do "$SLIPWAY" channel publish "$T/ch" "$file" || exit 1; done
		: >loop/done
	) >loop/said 2>&1 &
	updates=0
	while [ ! -e loop/done ] && [ $updates -lt 200 ]; do
		run_apt update >out 2>&1 && ! grep -E '^(W|E|Err)' out || { cat out loop/said; wait $!; return 1; }
		updates=$((updates + 1))
	done
	wait $! && run_apt update >out 2>&1 && [ "$(show looping)" = 1.12 ] && [ $updates -gt 3 ] || { echo "$updates updates"; cat loop/said; return 1; }
	echo "$updates updates"
}
t 'apt never sees a mismatch' loop

# -- what other tools make of the same packages -------------------------------------------------------------------------

cat >compare.py <<'X'
import sys
def read(path):
    out = {}
    for stanza in open(path, encoding='utf-8').read().strip().split('\n\n'):
        fields, last = {}, None
        for line in stanza.split('\n'):
            if line[:1] in ' \t': fields[last] += '\n' + line
            else:
                last, value = line.split(':', 1)
                fields[last] = value.strip()
        key = fields['Package'], fields['Version'], fields['Architecture']
        for other in ('MD5sum', 'SHA1', 'SHA512', 'Filename', 'Description-md5'): fields.pop(other, None)
        out[key] = fields
    return out
ours, theirs = read(sys.argv[1]), read(sys.argv[2])
assert set(ours) == set(theirs), set(ours) ^ set(theirs)
for key in ours: assert ours[key] == theirs[key], (key, ours[key], theirs[key])
print(len(ours), 'packages')
X
# same FOLDER TOOL…: what we make of the packages of a folder is what the tool makes, but for what we leave out
same()
{
	folder=$1
	shift
	rm -rf "$T/same" && "$SLIPWAY" channel publish --unsigned "$T/same" "$folder"/*.deb && "$@" "$folder" >theirs &&
		cat "$T"/same/dists/stable/main/binary-*/Packages >ours && python3 compare.py ours theirs
}
t 'dpkg-scanpackages lists the same' same "$T/debs" dpkg-scanpackages -m
if command -v apt-ftparchive >/dev/null; then
	t 'apt-ftparchive lists the same' same "$T/debs" apt-ftparchive packages
else
	skip 'apt-ftparchive lists the same' 'there is no apt-ftparchive here (apt-utils)'
fi
mkdir real
if (cd real && apt-get -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= download hello bc cowsay tzdata libzstd1) >out 2>&1; then
	t 'so it does of real packages' same "$T/real" dpkg-scanpackages -m
elif [ -n "${CI:-}" ]; then
	t "packages of this machine's archive" sh -c "cat out; false"
else
	skip 'so it does of real packages' "this machine's archive is out of reach"
fi

# -- a small channel ------------------------------------------------------------------------------------------------------

small()
{
	deb app 1 "$ours" 'Depends: two (>= 1), looping (<< 1.5) | nothing' &&
		deb odd 1 "$ours" 'Depends: absent' || return 1
	"$SLIPWAY" channel publish "$T/ch" "$T/debs/app_1_$ours.deb" "$T/debs/odd_1_$ours.deb" && printf '# what is wanted\napp (>= 1),\n' >wanted &&
		"$SLIPWAY" channel sync --from "$T/ch" --file wanted --platform "$ours" "$T/small" 2>said && grep -q "3 new packages to upload for $ours list of specs" said &&
		gpgv --keyring "$T/ch/key.gpg" "$T/small/dists/stable/InRelease" || { cat said; return 1; }
	(cd "$T/small" && find pool -name '*.deb' | sort) >files
	printf 'pool/main/a/app/app_1_%s.deb\npool/main/l/looping/looping_1.4_%s.deb\npool/main/t/two/two_2.0_all.deb\n' "$ours" "$ours" | cmp - files
}
t 'what a package needs makes a small channel' small
small_again()
{
	sha256sum "$T/small/dists/stable/main/binary-$ours/Packages" >sum &&
		"$SLIPWAY" --json channel sync --from "$T/ch" --file wanted --platform "$ours" "$T/small" >answer && grep -q '"new": \[\]' answer && sha256sum -c sum &&
		apt_folder "file:$T/small" && run_apt update >out 2>&1 && [ "$(show app)" = 1 ] && [ "$(show looping)" = 1.4 ]
}
t 'apt uses it, and made again it is the same' small_again
nothing()
{
	printf 'two\nunknown | app (>> 1)\nodd\n' >wanted && must_fail 3 "$SLIPWAY" channel sync --prune --from "$T/ch" --file wanted "$T/small" && has 'nothing for' err &&
		has 'odd 1 needs absent, which is not there' err && has 'nothing is pruned' err && [ -e "$T/small/pool/main/a/app/app_1_$ours.deb" ]
}
t 'what cannot be had is told, and the others are done' nothing
pruned()
{
	echo two >wanted && runs "$SLIPWAY" channel sync --prune --from "$T/ch" --file wanted "$T/small" && has "Removing pool/main/a/app/app_1_$ours.deb" err &&
		(cd "$T/small" && find pool -name '*.deb') >files && [ "$(cat files)" = pool/main/t/two/two_2.0_all.deb ] &&
		run_apt update >out 2>&1 && [ "$(show two)" = 1:2.0 ] && [ -z "$(show app)" ]
}
t 'and goes where no line needs it' pruned
wrong()
{
	printf '\n# x\ntwo (>> 1\n' >wanted && must_fail 1 "$SLIPWAY" channel sync --from "$T/ch" --file wanted "$T/small" && has 'wanted:3: .*not closed' err
}
t 'a wrong line is told with its number' wrong

# -- hostile packages ---------------------------------------------------------------------------------------------------

refuses() # FILE WORD
{
	must_fail 1 "$SLIPWAY" channel publish "$T/ch" "$1" && has "$2" err && in_release | cmp - before
}
in_release >before
control() # TEXT: bad.deb with this control file
{
	rm -rf c && mkdir c && printf "%b" "$1" >c/control && tar -C c -cJf control.tar.xz control && echo 2.0 >debian-binary &&
		tar -cJf data.tar.xz -T /dev/null && rm -f bad.deb && ar qS bad.deb debian-binary control.tar.xz data.tar.xz
}
t 'no Debian package' refuses "$SOURCE_ROOT/tests/cli/deb.sh" 'no Debian package'
cp "$T/debs/two_2.0_all.deb" cut.deb
truncate -s 140 cut.deb
t 'a package that is cut' refuses cut.deb 'larger than the file'
command -v ar >/dev/null || { done_testing; exit; }
control 'Package: ../../evil\nVersion: 1\nArchitecture: all\n'
t 'a name that leads out' refuses bad.deb 'no good name'
control 'Package: evil\nVersion: ../1\nArchitecture: all\n'
t 'a version that leads out' refuses bad.deb 'no version'
control 'Package: evil\nVersion: 1\nArchitecture: ../all\n'
t 'an architecture that leads out' refuses bad.deb 'no good name or architecture'
control 'Package: evil\nVersion: 1\nArchitecture: all\nSource: ../../x\n'
t 'a source that leads out' refuses bad.deb 'its source'
control 'Package: evil\nVersion: 1\nArchitecture: all\n\nPackage: two\nVersion: 9\nArchitecture: all\nFilename: x\n'
t 'two stanzas in one' refuses bad.deb 'empty line'
fields()
{
	rm -rf c && mkdir c && { printf 'Package: evil\nVersion: 1\nArchitecture: all\n' && seq 1000000 | sed 's/.*/X&: 1/'; } >c/control &&
		tar -C c -cJf control.tar.xz control && rm -f bad.deb && ar qS bad.deb debian-binary control.tar.xz data.tar.xz
}
fields
t 'a million fields' refuses bad.deb 'too large'
sized()
{
	control 'Package: evil\nVersion: 1\nArchitecture: all\n' && sed -i 's/^\(control.tar.xz *[0-9]* *[0-9]* *[0-9]* *[0-9]* *\)[0-9]*/\19999999999/' bad.deb
}
sized
t 'a size that lies' refuses bad.deb 'no Debian package'
own_digest()
{
	control 'Package: odd\nVersion: 1\nArchitecture: all\nFilename: /etc/passwd\nSHA256: 00\nSize: 0\n' &&
		"$SLIPWAY" channel publish "$T/ch" bad.deb && grep -A9 '^Package: odd' "$T/ch/dists/stable/main/binary-all/Packages" >stanza &&
		[ "$(grep -c '^Filename: pool/main/o/odd/odd_1_all.deb' stanza)" = 1 ] && ! grep -q passwd stanza
}
t 'a package does not say its own file name' own_digest

# -- for Slipway's own clients --------------------------------------------------------------------------------------------
deb late 1 "$ours"
pointers='dists/stable/InRelease dists/stable/Release dists/stable/Release.gpg'
# shellcheck disable=SC2086 # a list
t 'pointers are signed as TUF does, too' signs_pointers "$T/ch" $pointers
t 'another publication' runs "$SLIPWAY" channel publish "$T/ch" "$T/debs/late_1_$ours.deb"
# shellcheck disable=SC2086 # a list
t 'signs the new ones' signs_pointers "$T/ch" $pointers
done_testing
