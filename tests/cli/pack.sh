# SPDX-License-Identifier: Apache-2.0
# pack conda: from a folder to a package that this program and others read.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"

mkdir -p st/bin st/lib
printf '#!/opt/a-long-enough-placeholder/bin/sh\necho hello\n' >st/bin/hello
chmod 755 st/bin/hello
echo data >st/lib/data

t 'a folder without a word about it is refused' must_fail 2 "$SLIPWAY" pack conda st
t 'and told how to mend it' has "name is not known; give --name and --version" err
t 'no folder' must_fail 2 "$SLIPWAY" pack conda
t 'a folder that is not there' must_fail 1 "$SLIPWAY" pack conda none --name x --version 1
t 'a format that is none' must_fail 2 "$SLIPWAY" pack conda st --name x --version 1 --format zip
t 'a time that is none' must_fail 2 env SOURCE_DATE_EPOCH=now "$SLIPWAY" pack conda st --name x --version 1
t 'a dry run' runs "$SLIPWAY" pack conda --dry-run --name hello --version 1.0 --noarch generic st
t 'writes nothing' test ! -e hello-1.0-0.conda
t 'packs' prints pkgs/hello-1.0-0.conda "$SLIPWAY" pack conda -o pkgs --name hello --version 1.0 --noarch generic \
	--prefix /opt/a-long-enough-placeholder --license MIT st
cp pkgs/hello-1.0-0.conda first.conda
t 'packs again' runs "$SLIPWAY" pack conda -o pkgs --json --name hello --version 1.0 --noarch generic \
	--prefix /opt/a-long-enough-placeholder --license MIT st
t 'the same bytes' cmp first.conda pkgs/hello-1.0-0.conda
t 'and tells their digest' has "\"sha256\": \"$(sha256sum <first.conda | cut -d' ' -f1)\"" out
t 'nothing else is left' test "$(ls -A pkgs)" = hello-1.0-0.conda

# what build tools and people read of it
mkdir -p lib/share lib/info/licenses
echo 1 >lib/share/x
echo text >lib/info/licenses/LICENSE
printf 'run_exports_strong: [ "librt >=1" ]\ndoc_url: https://example.org/doc\n' >lib/pack.yml
t 'run exports and addresses' runs "$SLIPWAY" pack conda --format tar.bz2 --name libx --version 1.2 --noarch generic \
	--run-exports 'libx >=1.2,<2' --run-exports 'liby' --dev-url https://example.org/git --license MIT lib
if command -v bzip2 >/dev/null; then
	t 'the package has them' runs tar -xOjf libx-1.2-0.tar.bz2 info/run_exports.json
	tr -d ' \n' <out >exports
	t 'both kinds' test "$(cat exports)" = '{"strong":["librt>=1"],"weak":["libx>=1.2,<2","liby"]}'
	t 'about.json' runs tar -xOjf libx-1.2-0.tar.bz2 info/about.json
	t 'has the addresses' has '"dev_url": "https://example.org/git"' out
	t 'of the file too' has '"doc_url": "https://example.org/doc"' out
	t 'the text of the license' prints text tar -xOjf libx-1.2-0.tar.bz2 info/licenses/LICENSE
else
	skip 'the package has them' 'no bzip2'
fi
t 'a run export that is no spec' must_fail 2 "$SLIPWAY" pack conda --name l --version 1 --run-exports '>=1' lib
echo '{}' >lib/info/run_exports.json
t 'run exports said twice' must_fail 2 "$SLIPWAY" pack conda --name l --version 1 lib
t 'tell where' has "'lib' holds an info/run_exports.json" err

# what others make of it
if command -v unzip >/dev/null; then
	t 'a whole ZIP' runs unzip -tq first.conda
	unzip -Z1 first.conda >members
	t 'metadata.json first' test "$(head -n 1 members)" = metadata.json
	t 'that says the format' runs unzip -p first.conda metadata.json
	t 'as 2' test "$(cat out)" = '{"conda_pkg_format_version": 2}'
else
	skip 'a whole ZIP' 'no unzip'
fi
t 'packs as tar.bz2' runs "$SLIPWAY" pack conda -o pkgs --format tar.bz2 --name hello --version 1.0 --build old_1 \
	--build-number 1 --noarch generic --prefix /opt/a-long-enough-placeholder st
if command -v bzip2 >/dev/null; then
	t 'tar reads it' runs tar -tjf pkgs/hello-1.0-old_1.tar.bz2
	t 'with its files' has '^bin/hello$' out
else
	skip 'tar reads it' 'no bzip2'
fi

# the way on
t 'is published' runs "$SLIPWAY" channel publish ./channel pkgs/hello-1.0-0.conda
t 'and installed' runs "$SLIPWAY" env create -n e -c ./channel hello
t 'its prefix replaced' has "^#!$SLIPWAY_ROOT/env/e/1/bin/sh" "$SLIPWAY_ROOT/env/e/current/bin/hello"

ln -s /etc/passwd st/lib/link
t 'a link out is refused' must_fail 1 "$SLIPWAY" pack conda -o bad --name hello --version 1.0 st
t 'by name' has "st/lib/link' is a link to '/etc/passwd'" err
t 'and nothing written' test ! -e bad

done_testing
