# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015 # what is shown where one of them fails always succeeds
# Opam packages that mean harm: sources with links that lead out, builds that leave links or pipes where files are read, packages that write over
# the files of others.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/opam-repo.sh"
need git patch

OPAMYES=1 OPAMROOTISOK=1 OPAMROOT=$T/r
export OPAMYES OPAMROOTISOK OPAMROOT
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8
ln -s "$SLIPWAY" opam
mkdir -p repo/packages outside/folder
echo 'opam-version: "2.0"' >repo/repo

# what a package must neither change nor read
echo 'v=%{version}%' >outside/file.in
echo secret >outside/folder/secret
cp -r outside outside.before
untouched()
{
	diff -r outside.before outside
}

# sources by git: links in them are as their author made them
mkdir linked
(
	cd linked && git init -q . && ln -s "$T/outside" up && ln -s "$T/outside/folder" folder && ln -s "$T/outside/file.in" copy.in && mkdir real &&
		echo real >real/file && ln -s real inner && echo '%{name}%' >real/in.in && git add -A && git -c user.name=a -c user.email=a@b commit -qm sources
) || exit 1
mkdir plain-1 && echo a >plain-1/a && tar -czf plain.tgz plain-1
echo data >data
sum=sha256=$(sha256sum <data | cut -d ' ' -f 1)
git_package()
{
	{
		echo "url { src: \"git+file://$T/linked\" ${2-} }"
		cat
	} | opam_package "$1" 1
}
git_package part-up 'subpath: "up/folder"' </dev/null
git_package part-link 'subpath: "folder"' </dev/null
git_package extra-source-up <<END
extra-source "up/out" { src: "file://$T/data" checksum: "$sum" }
END
git_package extra-file-up <<END
extra-files: [["up/out" "$sum"]]
END
mkdir -p repo/packages/extra-file-up/extra-file-up.1/files/up && cp data repo/packages/extra-file-up/extra-file-up.1/files/up/out
git_package subst-up <<'END'
substs: ["up/file"]
END
git_package subst-read <<'END'
substs: ["copy"]
END
opam_package patched 1 <<END
url { src: "file://$T/plain.tgz" checksum: "sha256=$(sha256sum <plain.tgz | cut -d ' ' -f 1)" }
patches: ["link.patch"]
substs: ["up/file"]
END
mkdir repo/packages/patched/patched.1/files
printf '%s\n' 'diff --git a/up b/up' 'new file mode 120000' '--- /dev/null' '+++ b/up' '@@ -0,0 +1 @@' "+$T/outside" '\ No newline at end of file' >repo/packages/patched/patched.1/files/link.patch
# links that stay inside are as good as any
git_package inner-part 'subpath: "inner/.."' </dev/null
git_package inner <<END
substs: ["inner/in"]
extra-source "inner/extra" { src: "file://$T/data" checksum: "$sum" }
install: [["mkdir" "-p" "%{share}%/inner"] ["cp" "real/in" "real/extra" "%{share}%/inner"]]
END
for kind in install config; do
	opam_package "link-$kind" 1 <<END
build: [["ln" "-s" "$T/outside/folder/secret" "link-$kind.$kind"]]
END
	opam_package "pipe-$kind" 1 <<END
build: [["mkfifo" "pipe-$kind.$kind"]]
END
done

t 'a root is made' ./opam init --bare --no-setup -k local default repo
t 'with a switch' ./opam switch create sw --empty
# refused PACKAGE WORDS: that failed, says so, and nothing outside was touched
refused()
{
	timeout 60 ./opam install "$1" >out 2>&1
	[ $? = 31 ] && grep -q "$2" out && untouched || { cat out; return 1; }
}
t 'a part of the sources behind a link that leads out' refused part-up "subpath 'up/folder': folder 'up' leads out"
t 'one that is such a link' refused part-link "have no folder 'folder'"
t 'one whose name leads out' refused inner-part 'leads out of the sources'
t 'an extra source behind a link' refused extra-source-up "folder 'up' leads out"
t 'a file of the repository behind a link' refused extra-file-up "folder 'up' leads out"
t 'a file to fill in behind a link' refused subst-up 'leads out'
t 'one that is a link to elsewhere' refused subst-read 'leads out'
t 'one behind a link that a patch makes' refused patched 'leads out'
t 'a .install file that is a link to elsewhere' refused link-install "'link-install.install' is a link that leads out"
t 'a .config file that is one' refused link-config "'link-config.config' is a link that leads out"
t 'a .install file that is a pipe' refused pipe-install 'is a pipe'
t 'a .config file that is one' refused pipe-config 'is a pipe'
t 'links inside of the sources are followed' ./opam install inner
t 'to read and to write' prints "inner
data" cat r/sw/share/inner/in r/sw/share/inner/extra

# what is kept of a package is what it put there, not what a later one made of it
opam_package victim 1 <<'END'
install: [["sh" "-c" "mkdir -p %{bin}% && printf '#!/bin/sh\\necho good\\n' >%{bin}%/victim && chmod 755 %{bin}%/victim"]]
END
opam_package poison 1 <<'END'
depends: ["victim"]
install: [["sh" "-c" "printf '#!/bin/sh\\necho poisoned\\n' >%{bin}%/victim"]]
END
t 'a repository is kept' "$SLIPWAY" channel add opam repo
t 'an environment has a package that writes over files of another' "$SLIPWAY" env create -n one --opam poison
t 'which it does' prints poisoned "$SLIPWAY" env run -n one victim
t 'another has the other package alone' "$SLIPWAY" env create -n two --opam victim
t 'as that is' prints good "$SLIPWAY" env run -n two victim
again()
{
	./opam update && ./opam install poison && [ "$(r/sw/bin/victim)" = poisoned ] && ./opam remove poison victim && ./opam install victim >out &&
		grep -q 'built before' out && [ "$(r/sw/bin/victim)" = good ] || { cat out; return 1; }
}
t 'so it is in a switch' again
# what packages say to shells: opam's strings have their own backslashes
opam_package shells 1 <<'END'
setenv: [["A;touch injected;B" = "x"] [GOOD = "$(touch injected) `touch injected` ' ; touch injected ; ' \" & touch injected\nx' !! \\"] [LINES = "a\nb"]]
build-env: [["C;touch injected" = "x"]]
END
t 'the repository is read again' ./opam update
t 'a package with variables for shells' ./opam install shells
# the value it has then, as that of every shell
# shellcheck disable=SC2016 # for those shells
in_shell()
{
	if [ "$1" = fish ]; then
		set -- fish 'eval (./opam env --shell=fish | string collect); printenv GOOD'
	else
		set -- "$1" "eval \"\$(./opam env --shell=$1)\"; printenv GOOD"
	fi
	HOME=$T "$1" -c "$2" >out 2>err
	printf '%s\n' '$(touch injected) `touch injected` '\'' ; touch injected ; '\'' " & touch injected' "x' !! \\" >expected
	cmp expected out && [ ! -e injected ] || { cat out err; ls; return 1; }
}
for shell in sh bash zsh fish; do
	! command -v "$shell" >/dev/null || t "$shell runs nothing of it, and has its value" in_shell "$shell"
done
t 'for what can say all' runs ./opam env --sexp
t 'what is no name of a variable is left out' hasnt 'touch injected;B' out
t 'for csh' runs ./opam env --shell=csh
t 'a line end is written as it wants it' has "^setenv LINES 'a\\\\$" out
t 'a shell that is none' must_fail 2 ./opam env --shell=powershell
t 'is told' has "invalid value 'powershell'" err

# and to terminals: ESC, BEL and the like come as '?'
esc=$(printf '\033]52;c;aGk=\007')
opam_package screen 1 <<END
messages: ["$esc"]
build: ["sh" "-c" "printf '\\\\033[1mbold\\\\033]0;title\\\\007\\\\n'; exit 3" "$esc"]
END
opam_package malformed 1 <<'END'
build: ["x" = ]
END
t 'the repository is read anew' ./opam update
t 'messages of a package in a plan' runs "$SLIPWAY" opam solve --repo ./repo screen
quiet_terminal()
{
	! LC_ALL=C grep -q "$(printf '[\007\033]\\(]\\|$\\)')" "$@"
}
t 'do nothing to a terminal' quiet_terminal out
t 'they are there' has '?\]52;c;aGk=?' out
t 'a build that fails' must_fail 31 ./opam install screen
t 'shows its command and output' quiet_terminal out err
t 'with colours' grep -q "$(printf '\033\\[1mbold?\\]0;title?')" err
t 'a malformed opam file is said to be one' must_fail 5 ./opam install malformed
t 'in words' has 'malformed cannot be had: its opam file is malformed' err

# a name of some thousand bytes, of a file that cannot be had
opam_package long 1 <<END
extra-source "$(printf '%0100d/' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30)x" {
  src: "file://$T/nowhere" checksum: "sha256=$(printf '%064d' 0)"
}
END
t 'the repository is read for it' ./opam update
t 'a file of a long name that cannot be had' must_fail 40 ./opam install long
t 'is told as any other' has 'Failed to get extra source' err
t 'with the reason' has '^open .*: No such file' err

# a formula that names a package many times does not keep the others from counting
opam_package aa 1 </dev/null
opam_package bb 1 </dev/null
opam_package user 1 <<'END'
depends: ["bb" {= "1"} | "bb" {= "2"} | "bb" {= "3"} | "bb" {= "4"} | "bb" {= "5"} | "bb" {= "6"} "aa"]
END
in_order()
{
	./opam update && ./opam install user >out 2>err && ./opam remove aa bb >out 2>err || { cat out err; return 1; }
	[ "$(sed -n 's/.* removed  *//p' out | head -1)" = user.1 ] && has 'user 1 \[uses bb, aa\]' out || { cat out; return 1; }
}
t 'what names a package many times goes before all that it uses' in_order

# what it leaves in the prefix: names that nobody would give, folders deeper and paths longer than anybody looks
opam_package names 1 <<'END'
install: ["sh" "-c" "mkdir -p %{lib}%/names; cd %{lib}%/names; printf 'a\\nb\\0\\001\\r\\t\\177\\0\"\"\"\\0\\\\\\0x\"\"\"\\n' | xargs -0 touch"]
END
for kind in deep long; do
	[ $kind = deep ] && folder=d times=300 || folder=$(printf '%0200d' 0) times=25
	opam_package "leaves-$kind" 1 <<END
install: ["sh" "-c" "mkdir -p %{lib}%/leaves; cd %{lib}%/leaves; i=0; while [ \$i -lt $times ]; do mkdir $folder; cd $folder; i=\$((i+1)); done"]
END
done
t 'the repository is read once more' ./opam update
t 'a package with files of odd names' ./opam install names
t 'which are there' eval '[ "$(find r/sw/lib/names -type f -print0 | tr -dc "\000" | wc -c)" = 5 ]'
t 'is removed' ./opam remove names
t 'with them' eval '[ ! -e r/sw/lib/names ]'
for kind in deep long; do
	t "one with folders that are too $kind" must_fail 31 ./opam install leaves-$kind
	t 'leaves none of them' eval '[ ! -e r/sw/lib/leaves ]'
done
t 'and others can be installed' ./opam install --build-anew aa

# so many checksums that what a lock tells of them is long
opam_package sums 1 <<END
extra-source "data" { src: "file://$T/data" checksum: [ $(for i in $(seq 700); do echo "\"sha512=$(sha512sum <data | cut -d ' ' -f 1)\""; done) ] }
END
t 'the channel is read again' "$SLIPWAY" channel refresh
t 'an environment has a package with many checksums' "$SLIPWAY" env create -n sums --opam sums
again_elsewhere()
{
	"$SLIPWAY" env export -n sums >recipe && grep -q '"opam":{' recipe && "$SLIPWAY" env create -n same -f recipe >out 2>&1 || { cut -c 1-300 recipe out; return 1; }
}
t 'and its recipe makes another' again_elsewhere

done_testing
