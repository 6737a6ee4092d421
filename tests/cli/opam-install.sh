# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# Called as opam: install, reinstall, remove of packages from a local repository: what is printed, what lies in the prefix, what fails
# and what goes on then, in a sandbox and without.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need tar make patch

OPAMROOT=$T/r OPAMYES=1 OPAMROOTISOK=1 LC_ALL=C
export OPAMROOT OPAMYES OPAMROOTISOK LC_ALL
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG
ln -s "$SLIPWAY" opam
echo outside >outside
mkdir -p repo/packages src
echo 'opam-version: "2.0"' >repo/repo

# package NAME VERSION <opam file
package()
{
	mkdir -p "repo/packages/$1/$1.$2"
	{
		echo 'opam-version: "2.0"'
		cat
	} >"repo/packages/$1/$1.$2/opam"
}

# sums FILE: its checksums, as a list
sums()
{
	echo "[\"md5=$(md5sum <"$1" | cut -d ' ' -f 1)\" \"sha512=$(sha512sum <"$1" | cut -d ' ' -f 1)\"]"
}

mkdir src/hello-1.0
printf '#!/bin/sh\necho hello from here\n' >src/hello-1.0/hello.sh
# shellcheck disable=SC2016 # a makefile
printf 'all: hello.sh\n\tsed s/here/$(WHERE)/ hello.sh >hello\n\tchmod +x hello\n' >src/hello-1.0/Makefile
echo 'v=%{version}% n=%{name}% base=%{base-x:installed}% no=%{none:installed}% lib=%{base-x:lib}%' >src/hello-1.0/conf.txt.in
tar -C src -czf hello.tar.gz hello-1.0
mkdir -p repo/packages/hello/hello.1.0/files
cat >repo/packages/hello/hello.1.0/files/more.patch <<'END'
--- a/hello.sh
+++ b/hello.sh
@@ -1,2 +1,3 @@
 #!/bin/sh
 echo hello from here
+echo patched
END
echo 'extra source' >extra.txt
package base-x 1 <<END
build: [["sh" "-c" "echo 'lib: [\"META\"] bin: [\"tool\" {\"base-tool\"}]' > base-x.install; echo m > META; echo '#!/bin/sh' > tool"]]
END
package hello 1.0 <<END
depends: ["base-x"]
patches: ["more.patch" "absent.patch" {os = "none"}]
extra-files: [["more.patch" "md5=$(md5sum <repo/packages/hello/hello.1.0/files/more.patch | cut -d ' ' -f 1)"]]
substs: ["conf.txt"]
build: [
  [make "-j" jobs "WHERE=%{name}%"]
  ["sh" "-c" "env | sort > env.txt"]
  ["false"] {os = "none"}
]
run-test: ["sh" "-c" "echo tested > tested.txt"]
install: [
  ["mkdir" "-p" bin "%{doc}%/hello"]
  ["cp" "hello" bin]
  ["sh" "-c" "cp conf.txt env.txt extra.txt %{doc}%/hello; [ ! -f tested.txt ] || cp tested.txt %{doc}%/hello"]
]
url { src: "file://$T/hello.tar.gz" checksum: $(sums hello.tar.gz) }
extra-source "extra.txt" { src: "file://$T/extra.txt" checksum: $(sums extra.txt) }
END
package bad 1 <<END
depends: ["base-x"]
build: ["sh" "-c" "echo one; echo two >&2; exit 3"]
END
package after-bad 1 <<END
depends: ["bad"]
END
package badinst 1 <<END
install: ["sh" "-c" "mkdir -p %{lib}%/badinst; touch %{lib}%/badinst/x; exit 7"]
END
package missing 1 <<END
url { src: "file://$T/nowhere.tar.gz" checksum: $(sums hello.tar.gz) }
END
package wrong 1 <<END
url { src: "file://$T/extra.txt" checksum: $(sums hello.tar.gz) }
END
package all 1 <<END
depends: ["hello" "after-bad" "badinst" "missing" "wrong"]
END
package reach 1 <<END
build: [
  ["sh" "-c" "for f in $T/outside $T/r/config %{prefix}%/new %{prefix}%/.opam-switch/new; do echo x 2>/dev/null >>\$f && echo wrote \$f; done; :"]
  ["sh" "-c" "! grep -v -e lo: -e face -e Inter /proc/net/dev"]
]
install: ["sh" "-c" "echo x 2>/dev/null >>%{prefix}%/.opam-switch/new && exit 1; mkdir -p %{share}%/reach && echo y >%{share}%/reach/y"]
END
package slow 1 <<END
build: ["sleep" "60"]
END

t 'a root is made' ./opam init --bare --no-setup -k local default repo
t 'and a switch' ./opam switch create sw --empty

installs()
{
	./opam install hello >out 2>err || { cat out err; return 1; }
	sed "s|$T|T|" out >got
	sed -n '/^->/!p' got | diff - /dev/fd/3 3<<'END' || { cat err; return 1; }
The following actions will be performed:
  - install base-x 1   [required by hello]
  - install hello  1.0
===== 2 to install =====

<><> Processing actions <><><><><><><><><><><><><><><><><><><><><><><><><><><><>
Done.
# Run eval $(opam env) to update the current shell environment
END
	grep -qx -e '-> retrieved hello.1.0  (T/hello.tar.gz)' got || grep -qx -e '-> retrieved hello.1.0  (file://T/hello.tar.gz)' got || { cat got; return 1; }
	[ "$(grep '^-> installed' got | tr '\n' ' ')" = '-> installed base-x.1 -> installed hello.1.0 ' ]
}
t 'a package and what it needs are installed' installs
t 'its program runs' eval '[ "$(r/sw/bin/hello)" = "hello from hello
patched" ]'
t 'variables are put into files' grep -qx "v=1.0 n=hello base=true no=false lib=$T/r/sw/lib/base-x" r/sw/doc/hello/conf.txt
t 'extra sources are there' grep -q 'extra source' r/sw/doc/hello/extra.txt
t 'nothing is tested unasked' must_fail 1 test -e r/sw/doc/hello/tested.txt
environment()
{
	for line in OPAM_PACKAGE_NAME=hello OPAM_PACKAGE_VERSION=1.0 "OPAM_SWITCH_PREFIX=$T/r/sw" OPAMSWITCH=sw CDPATH= MAKEFLAGS= \
		MAKELEVEL= OPAMCLI=2.0 "OPAMROOT=$T/r"; do
		grep -qx "$line" r/sw/doc/hello/env.txt || { echo "no $line"; cat r/sw/doc/hello/env.txt; return 1; }
	done
	grep -q "^PATH=$T/r/sw/bin:" r/sw/doc/hello/env.txt
}
t 'commands have the environment of opam' environment
t 'an .install file is followed' test -x r/sw/bin/base-tool -a -f r/sw/lib/base-x/META
t 'what was built is removed' eval '[ -z "$(ls r/sw/.opam-switch/build)" ]'
t 'and nothing is left in work' must_fail 1 test -e r/sw/.opam-switch/.slipway
t 'the archive is cached as opam does' eval "cmp hello.tar.gz \"\$(echo r/download-cache/sha512/*/\$(sha512sum <hello.tar.gz | cut -d ' ' -f 1))\"
	[ -L r/download-cache/md5/*/\$(md5sum <hello.tar.gz | cut -d ' ' -f 1) ]"
t 'it is listed' eval './opam list --installed --short | grep -x hello'
t 'what it put there is recorded' grep -q '"bin/hello"' r/sw/.opam-switch/install/hello.changes

again()
{
	./opam install hello >out 2>&1
	grep -q 'NOTE\] Package hello is already installed (current version is 1.0)' out
}
t 'a second time there is nothing to do' again

reinstalls()
{
	rm -f hello.tar.gz # the cache has it
	./opam reinstall base-x >out 2>err || { cat out err; return 1; }
	for line in '-> removed   hello.1.0' '-> removed   base-x.1' '-> retrieved hello.1.0  (cached)' '-> installed base-x.1' \
		'-> installed hello.1.0' '===== 2 to recompile ====='; do
		grep -qx -e "$line" out || { cat out err; return 1; }
	done
	r/sw/bin/hello >/dev/null
}
t 'what needs it is built again, from the cache' reinstalls
tests_run()
{
	./opam reinstall -t hello >out 2>&1 || { cat out; return 1; }
	grep -q tested r/sw/doc/hello/tested.txt
}
t 'tests run where they are asked for' tests_run

removes()
{
	./opam remove base-x >out 2>err || { cat out err; return 1; }
	grep '^->' out | diff - /dev/fd/3 3<<'END'
-> removed   hello.1.0
-> removed   base-x.1
END
	[ -z "$(find r/sw -path r/sw/.opam-switch -prune -o -type f -print)" ] || { find r/sw -type f; return 1; }
}
t 'what is removed takes with it what needs it' removes

fails()
{
	./opam install all >out 2>err
	[ $? = 31 ] || { cat out err; return 1; }
	sed -n '/Error report/,$p' out | diff - /dev/fd/3 3<<'END' || { cat err; return 1; }
<><> Error report <><><><><><><><><><><><><><><><><><><><><><><><><><><><><><><>
+- The following actions failed
| - fetch   hello   1.0
| - fetch   missing 1
| - fetch   wrong   1
| - build   bad     1
| - install badinst 1
+- 
+- The following changes have been performed (the rest was aborted)
| - install base-x 1
+- 
# Run eval $(opam env) to update the current shell environment
END
}
rm -rf r/download-cache
t 'what fails is told, and takes with it what needs it' fails
error_block()
{
	grep -q '^\[ERROR\] The compilation of bad.1 failed at "sh -c echo one; echo two >&2; exit 3".$' err &&
		grep -q '^#=== ERROR while compiling bad.1 ===*#$' err &&
		grep -q "^# path                 $T/r/sw/.opam-switch/build/bad.1\$" err &&
		grep -q '^# exit-code            3$' err && grep -q '^# two$' err &&
		grep -q 'checksum mismatch' err || { cat err; return 1; }
}
t 'with its output' error_block
aborted()
{
	"$SLIPWAY" opam install --root "$T/r" --switch sw -y after-bad >out 2>err
	[ $? = 31 ] && grep -A 2 'The following actions were aborted' out | grep -qx '| - install after-bad 1' || { cat out err; return 1; }
}
t 'by its own name it tells what was not begun' aborted
t 'its folder stays' test -d r/sw/.opam-switch/build/bad.1
t 'what failed to install leaves nothing' must_fail 1 test -e r/sw/lib/badinst

if command -v git >/dev/null; then
	mkdir work && (cd work && git init -q . && git config user.email a@b.invalid && git config user.name a &&
		echo 'one' >data && git add . && git commit -qm one && echo two >data && git commit -qam two)
	for v in 1 2; do
		package versioned $v <<END
install: ["sh" "-c" "mkdir -p %{share}%/versioned && cp data %{share}%/versioned"]
url { src: "git+file://$T/work#$(git -C work rev-parse HEAD~$((2 - v)))" }
END
	done
	./opam update >/dev/null 2>&1
	versioned()
	{
		./opam install versioned.1 >out 2>&1 && [ "$(cat r/sw/share/versioned/data)" = one ] || { cat out; return 1; }
		./opam install versioned.2 >out 2>&1 && [ "$(cat r/sw/share/versioned/data)" = two ] || { cat out; return 1; }
		grep -q 'upgrade versioned 1 to 2' out
	}
	t 'sources come out of git' versioned
fi

# -- what has to be there besides, before something is built anew
package dep 1 </dev/null
package dep 2 </dev/null
package dep 3 </dev/null
package check 1 </dev/null
package wants 1 <<END
depends: ["dep" {>= "2"} "check" {with-test}]
run-test: ["true"]
END
package cc 1 <<END
flags: compiler
END
package over 1 <<END
depends: ["wants" "dep"]
END
# actions FILE: what is to be done, a line each
actions()
{
	sed -n '/^The following actions will be performed/,/^=====/{/^  - /p;}' "$1" | sed 's/  */ /g'
}
./opam update >/dev/null 2>&1
tests_of_installed()
{
	./opam switch create again --empty --no-switch >/dev/null && ./opam install cc over --switch again >out 2>&1 && ./opam reinstall --with-test wants --switch again >out 2>&1 || { cat out; return 1; }
	[ "$(actions out)" = ' - install check 1 [required by wants]
 - recompile wants 1
 - recompile over 1 [uses wants]' ] || { cat out; return 1; }
}
./opam update >/dev/null
t 'what tests need is installed first' tests_of_installed
if command -v opam >/dev/null; then
	as_theirs()
	{
		OPAMROOT=$T/theirs && opam init --bare --disable-sandboxing --no-setup -k local default repo >/dev/null 2>&1 && opam switch create again --empty >/dev/null 2>&1 &&
			opam install cc over >/dev/null 2>&1 && opam reinstall --with-test wants >theirs.out 2>&1 || { cat theirs.out; return 1; }
		[ "$(actions theirs.out)" = "$(actions out)" ] || { cat theirs.out; return 1; }
	}
	t 'as opam does' eval '(as_theirs)'
fi
oldest()
{
	OPAMFIXUPCRITERIA='+removed,+count[version-lag,solution]' ./opam reinstall wants --switch again >out 2>&1 || { cat out; return 1; }
	[ "$(actions out | grep -v remove)" = ' - downgrade dep 3 to 2 [required by wants]
 - recompile wants 1' ] && [ "$(./opam list --switch again -s --columns package | tr "\n" " ")" = "cc.1 dep.2 wants.1 " ] || { cat out; return 1; }
}
t 'by the criteria of lower bounds the oldest is taken' oldest

# -- what an upgrade that fails takes along
package lost 1 </dev/null
package keeper 1 <<END
depends: ["lost"]
END
./opam update >/dev/null 2>&1
./opam switch create torn --empty --no-switch >/dev/null && ./opam install keeper --switch torn >/dev/null 2>&1
package lost 2 <<END
install: ["false"]
END
./opam update >/dev/null 2>&1
torn()
{
	OPAMSWITCH=torn ./opam "$@" >out 2>err
}
t 'an upgrade that fails' eval 'torn upgrade; [ $? = 31 ] && [ -z "$(./opam list --switch torn -s --columns package)" ]'
t 'says how to have again what it took along' has '^    opam install --restore$' err
rm -r repo/packages/lost/lost.2
./opam update >/dev/null 2>&1
if command -v opam >/dev/null; then
	rm -rf torn.r && cp -a r torn.r
	OPAMROOT=$T/torn.r OPAMSWITCH=torn opam install --restore --show-actions >theirs.out 2>&1
	t 'opam says of it' has '^Packages to be restored: { keeper }$' theirs.out
fi
t 'with that it is there' eval 'torn install --restore && [ "$(./opam list --switch torn -s --columns package | tr "\n" " ")" = "keeper.1 lost.1 " ]'
t 'and told' has '^Packages to be restored: { keeper }$' out
t 'once' eval 'torn install --restore && [ "$(cat out)" = "No packages to restore found" ]'

confined()
{
	./opam install reach >out 2>err || { cat out err; return 1; }
	[ "$(cat outside)" = outside ] && [ ! -e r/sw/new ] && [ ! -e r/sw/.opam-switch/new ] && [ -f r/sw/share/reach/y ]
}
if "$SLIPWAY" build --check >/dev/null 2>&1; then
	t 'commands write nowhere else' confined
	late()
	{
		./opam install --time-limit 1 slow >out 2>err
		[ $? = 31 ] && grep -q 'it took longer than 1 s' err
	}
	t 'and not for ever' late
else
	skip 'commands write nowhere else' 'kernel: no sandbox'
fi
done_testing
