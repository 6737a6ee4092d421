# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2086 # lists of words
# A channel of opam packages, published with 'channel publish' and read by opam, in a root of its own.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/signed.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need python3 tar

# package NAME VERSION [LINE]...: in/NAME.VERSION/opam, and its archive NAME-VERSION.tar.gz
package()
{
	name=$1 version=$2
	shift 2
	mkdir -p "$name-$version" "in/$name.$version"
	printf 'install:\n\tmkdir -p $(PREFIX)/share/%s\n\techo %s >$(PREFIX)/share/%s/version\n' "$name" "$version" "$name" \
		>"$name-$version/Makefile"
	tar -czf "$name-$version.tar.gz" "$name-$version"
	{
		echo 'opam-version: "2.0"'
		echo 'synopsis: "a test" maintainer: "a@example.org" authors: "a" homepage: "https://example.org" bug-reports: "a"'
		printf '%s\n' "$@"
		echo 'install: [make "install" "PREFIX=%{prefix}%"]'
		echo 'url {'
		echo "  src: \"https://nowhere.invalid/$name-$version.tar.gz\""
		echo "  checksum: [ \"md5=$(md5sum <"$name-$version.tar.gz" | cut -d ' ' -f 1)\""
		echo "    \"sha256=$(sha256sum <"$name-$version.tar.gz" | cut -d ' ' -f 1)\" ]"
		echo '}'
	} >"in/$name.$version/opam"
}
package hello 1.0
package hello 1.1 'depends: ["lib" {>= "2"}]'
package lib 2.0
mkdir -p in/conf-x.1
echo 'opam-version: "2.0" synopsis: "nothing" maintainer: "a@example.org"' >in/conf-x.1/opam

t 'a dry run' runs "$SLIPWAY" channel publish --dry-run --kind opam ch in hello-1.0.tar.gz
t 'makes nothing' test ! -e ch
t 'publishes a folder and archives' runs "$SLIPWAY" channel publish --kind opam ch in ./*.tar.gz
t 'as an index' sh -c 'tar -tzf ch/index.tar.gz | grep -qx packages/hello/hello.1.0/opam'
t 'that holds what was given' sh -c 'tar -xOzf ch/index.tar.gz packages/hello/hello.1.0/opam | cmp - in/hello.1.0/opam'
t 'and archives under each checksum' test "$(find ch/cache -type f | wc -l)" = 6
t 'that are one file each' test "$(find ch/cache -type f -links 2 | wc -l)" = 6
cp ch/index.tar.gz before
t 'publishing again' runs "$SLIPWAY" channel publish ch in/*/opam
t 'gives the same index' cmp before ch/index.tar.gz
t 'the kind is seen by the files' sh -c '"$SLIPWAY" channel publish --json --dry-run new in/lib.2.0/opam lib-2.0.tar.gz | grep -q "\"kind\": \"opam\""'
t 'a broken opam file' sh -c 'mkdir -p bad/b.1; echo "url { src: " >bad/b.1/opam'
t 'is refused' must_fail 1 "$SLIPWAY" channel publish ch bad/b.1/opam
t 'with its place' has 'bad/b.1/opam:2:1: the file ends too early' err
t 'and changes nothing' cmp before ch/index.tar.gz

cp -r ch own
t 'pointers are signed as TUF does' signs_pointers own repo index.tar.gz
package late 1
t 'another publication' runs "$SLIPWAY" channel publish own in/late.1/opam late-1.tar.gz
t 'signs the new ones' signs_pointers own repo index.tar.gz
rm -rf in/late.1 late-1*

command -v opam >/dev/null || { skip 'opam reads it' 'no opam'; done_testing; exit; }
export OPAMROOT="$T/opam" OPAMYES=1 OPAMNODEPEXTS=1 OPAMROOTISOK=1 OPAMCOLOR=never OPAMNOENVNOTICE=1 OPAMSWITCH=e OPAMFETCH=curl OPAMRETRIES=1
python3 "$SOURCE_ROOT/tests/lib/simple_index.py" "$T/ch" "$T/port" "$T/log" &
server=$!
trap 'kill $server 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
await test -s port || { fail 'a server'; done_testing; exit; }
url=http://127.0.0.1:$(cat port)
opam_() { runs timeout 120 opam "$@"; }
OPAMSWITCH='' opam init --bare --disable-sandboxing --no-setup "$url" >said 2>&1 || { diag <said; fail 'opam init'; done_testing; exit; }
t 'and asked for the index alone' test "$(cut -d ' ' -f 2 log | sort -u)" = /index.tar.gz
OPAMSWITCH='' opam switch create e --empty >/dev/null 2>&1
t 'opam lists what is there' opam_ list -A --short --columns name
t 'all of it' test "$(sort -u out | tr '\n' ' ')" = 'conf-x hello lib '
t 'shows versions' opam_ show -f all-versions hello
t 'both' has '1.0.*1.1' out
t 'installs the newest and what it needs' opam_ install hello
t 'that' test "$(cat opam/e/share/hello/version)$(cat opam/e/share/lib/version)" = 1.12.0
t 'from the cache' test "$(grep -c '^200 /cache/' log)" = 2
t 'what has no archive too' opam_ install conf-x
t 'takes a source' opam_ source hello.1.0 --dir=src
t 'unpacked' test -s src/Makefile

package hello 1.2
t 'another is published' runs "$SLIPWAY" channel publish ch in/hello.1.2/opam hello-1.2.tar.gz
t 'opam hears of it' opam_ update
t 'and upgrades' opam_ upgrade hello
t 'to it' test "$(cat opam/e/share/hello/version)" = 1.2
t 'yanks it' runs "$SLIPWAY" channel yank --reason 'it is bad' ch packages/hello/hello.1.2/opam
t 'opam hears of that' opam_ update
t 'takes it away' opam_ remove hello
t 'and prefers another' opam_ install hello
t 'the one before' test "$(cat opam/e/share/hello/version)" = 1.1
t 'drops it' runs "$SLIPWAY" channel yank --drop ch packages/hello/hello.1.2/opam
t 'with its archive' test "$(find ch/cache -type f | wc -l)" = 6
t 'opam hears of that too' opam_ update
t 'and knows it no more' must_fail 5 opam install hello.1.2
cp -r ch/cache kept
find ch/cache -type f -exec sh -c 'for f; do echo x >>"$f"; done' sh {} +
opam_ remove hello lib
rm -rf opam/download-cache
t 'an archive that changed' must_fail 40 opam install hello
t 'is no archive' sh -c '! test -e opam/e/share/hello/version'
done_testing
