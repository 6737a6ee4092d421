# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# The program called as opam: roots and switches that it makes and that Debian's opam makes, each read by the other.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need opam
REAL=$(command -v opam)
OPAMROOTISOK=1 OPAMROOT=$T/theirs OPAMNOENVNOTICE=0
export OPAMROOTISOK OPAMROOT
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMYES OPAMUTF8
mkdir bin
ln -s "$SLIPWAY" bin/opam
ln -s "$SLIPWAY" bin/opam-2.1
opam()
{
	"$T/bin/opam" "$@"
}

# package NAME VERSION [LINE]...
package()
{
	dir=repo/packages/$1/$1.$2
	mkdir -p "$dir"
	{
		printf 'opam-version: "2.0"\nsynopsis: "About %s"\nmaintainer: "a@example.org"\n' "$1"
		shift 2
		printf '%s\n' "$@"
	} >"$dir/opam"
}
mkdir -p repo
echo 'opam-version: "2.0"' >repo/repo
package tool 1.0 'authors: ["A" "B"]' \
	'build: ["sh" "-c" "echo echo tool > tool; echo x > data; mkdir -p d; echo y > d/y; echo \"bin: \\\"tool\\\" {\\\"tool-%{version}%\\\"} share: [\\\"data\\\" \\\"?none\\\"] doc: \\\"d/y\\\" {\\\"sub/y\\\"}\" > tool.install"]'
package tool 2.0 'homepage: "https://example.org"' \
	'build: ["sh" "-c" "echo echo two > tool; echo \"bin: \\\"tool\\\"\" > tool.install; printf \"opam-version: \\\"2.0\\\"\\nvariables { word: \\\"said\\\" yes: true }\\n\" > tool.config"]'
package user 1 'depends: ["tool" {>= "1.0"}]' 'install: ["sh" "-c" "mkdir -p %{lib}%/user && echo m > %{lib}%/user/META"]' \
	'setenv: [[USER_HOME = "%{prefix}%/user"] [PATH += "%{lib}%/user"]]' 'x-ci-accept-failures: ["debian-12" "other"]'
package cc 5 'flags: compiler' 'depends: ["ccbase" {post}]'
package ccbase 5 'build: ["sh" "-c" "printf \"opam-version: \\\"2.0\\\"\\nvariables { native: true word: \\\"w\\\" }\\n\" > ccbase.config"]'
package alone 0.1 'description: """
Several
lines"""'

package Wide 1~beta 'homepage: "h"' 'doc: "d"' \
	'depends: ["tool" {>= "1.0" & < "3.0"} "user" {with-test & >= "1"} "alone" {with-doc} ("cc" | "nosuch" {>= "2"})]' 'conflicts: ["zzz" "yyy" {< "2"}]' \
	'description: "One\n\nTwo"' 'url { src: "https://example.org/wide-1.tar.gz"' 'checksum: ["md5=00bc7eb2772a28530f7365a7040f0c4f"' \
	'"sha256=a4737a2fc44aaeedca46ec6134c07013d5cf44039a988a6e79a40715a53e4360"] }'
package elsewhere 1 'available: os = "win32"'
package elsewhere 0.9 'available: os != "win32"'

# both COMMAND...: the same exit code, standard output and standard error of both, but for what they call themselves
both()
{
	"$REAL" "$@" >their.out 2>their.err
	their=$?
	opam "$@" >our.out 2>our.err
	our=$?
	crashed "$our" && cat our.err && return 1
	[ "$their" = "$our" ] || { echo "exit status $our, theirs is $their"; cat our.err; return 1; }
	sed -i '/^# opam-version/d; /^# solver/d; /-criteria  /d; /^opam-version /d; /^PKG:opamfile/d; /^PKG:build-id/d' their.out our.out
	diff -u their.out our.out && diff -u their.err our.err
}

# agree WHAT: all that can be asked about the root
agree()
{
	set -f
	for args in 'list' 'list -s' 'list --installed-roots' 'list --pinned -s' 'list --columns name,version -s' 'list tool' \
		'list -i t*' 'list nosuch' 'list -a' 'list -A' 'list t*' 'list tool.2*' 'list -s tool' 'list tool user' 'list -A tool' \
		'remove nosuch' 'remove nosuch user' 'reinstall nosuch' 'upgrade nosuch' 'env' 'env --shell=csh' 'env --shell=fish' 'env --sexp' 'env --check' 'env --set-root' \
		'var' 'var prefix' 'var stublibs' 'var nosuch' 'var tool:lib' 'var tool:installed' 'var nosuch:x' 'var os-family' 'var sys-ocaml-arch' 'var sys-ocaml-cc' 'var sys-ocaml-libc' 'var sys-ocaml-version' 'var user:depends' 'var tool:word' 'config expand %{prefix}%:%{tool:installed?yes:no}%:%{nosuch}%' \
		'switch' 'switch list -s' 'switch show' 'switch set nosuch' 'show -f version: user' 'show -f x-ci-accept-failures: user' \
		'show -f x-ci-accept-failures: tool' 'show -f depends user' 'show -f name,synopsis tool' 'show tool' 'show alone' 'show Wide' 'show -f depends: Wide' 'show -f depends,conflicts Wide' \
		'show nosuch' 'show -f nosuch tool' 'show -f description: alone' 'config report' 'option' 'option jobs' 'option nosuch' \
		'repository' 'repository -s' 'repository --all' 'pin' 'pin -s'; do
		# shellcheck disable=SC2086
		t "$1: opam $args" both $args
	done
	set +f
}

# -- a root of theirs, read by us ------------------------------------------------------------------------------------------
"$REAL" init -n -y --bare --disable-sandboxing --bypass-checks -k local default "$T/repo" >log 2>&1 || cat log >&2
"$REAL" switch create one --empty -y >log 2>&1
"$REAL" install -y user >log 2>&1 || cat log >&2
"$REAL" install -y cc >log 2>&1 || cat log >&2
"$REAL" switch create two --empty --no-switch -y >log 2>&1
agree theirs
t 'a report' runs opam config report
t 'tells what the compiler has' has '^# ccbase:native  *true$' out
t 'pins of theirs' "$REAL" pin add -k version -yn tool 1.0
t 'are read' both pin
t 'in the list too' both list
t 'and lifted' prints 'Ok, tool is no longer pinned locally (version 1.0)' opam pin remove tool -n
t 'so that they know' both pin

# -- a root of ours, read by them ------------------------------------------------------------------------------------------
OPAMROOT=$T/ours
t 'nothing before init' must_fail 50 opam var prefix
t 'as they say' has 'Opam has not been initialised' err
t 'init' runs opam init -n -y --bare --disable-sandboxing -k local default "$T/repo"
t 'says what is fetched' has '^\[default\] Initialised$' out
t 'a second one does nothing' prints 'Opam has already been initialized.' opam init -n -y default "$T/repo"
t 'no switch at first' must_fail 50 opam list
t 'what there is can be listed without' sh -c '"$0" list -A -s | grep -qx Wide' "$T/bin/opam"
t 'and is told by the noun' prints tool,user eval '"$SLIPWAY" opam list -A -s | grep -x -e tool -e user | paste -sd ,'
t 'which knows how to go on' eval 'must_fail 50 "$SLIPWAY" opam install tool; has "slipway opam switch create NAME --empty" err'
t 'and what opam has not' must_fail 2 "$SLIPWAY" opam nosuch
t 'a switch that is not there is not removed' must_fail 5 opam switch remove nosuch
t 'help' eval 'opam help | grep -q "opam init" && "$SLIPWAY" opam pin --help | grep -q "opam init" && "$SLIPWAY" help opam pin | grep -q "opam init"'
t 'nothing is said of the environment unasked' eval '[ -z "$(OPAMNOENVNOTICE=1 opam switch create none --empty --no-switch)" ] && opam switch remove none -y >/dev/null'
t 'makes a switch' prints '# Run eval $(opam env --switch=one) to update the current shell environment' opam switch create one --empty
t 'once' must_fail 2 opam switch create one --empty
t 'they list it' both switch
agree 'ours, empty'
t 'they install into it' runs "$REAL" install -y user
t 'and see it in the plan' sh -c '"$0" install --show-actions user 2>&1 | grep -qi "already installed"' "$REAL"
agree 'ours, with packages'
t 'the other name' prints one "$T/bin/opam-2.1" switch show
t 'pins a version' prints 'tool is now pinned to version 1.0' opam pin add -k version -yn tool.1.0 1.0
t 'they see the pin' both pin
t 'they follow it' sh -c '"$0" install --show-actions user tool | grep -q "downgrade tool 2.0 to 1.0"' "$REAL"
t 'no version that is not there' must_fail 5 opam pin add -k version -yn tool 9
t 'says so' has 'Package tool has no known version 9 in the repositories' err
t 'unpins' runs opam unpin tool
t 'sets an option' prints "Set to 'builtin-dummy-0install-solver' the field solver in global configuration" opam option solver=builtin-dummy-0install-solver
t 'they read it' both option solver
t 'takes it back' prints 'Reverted field solver in global configuration' opam option solver=
t 'refuses nonsense' must_fail 2 opam option depext=perhaps
t 'nothing was written' both option depext
t 'another version beside it' runs opam switch create two --empty
t 'chosen' both switch
t 'and back' prints '# Run eval $(opam env) to update the current shell environment' opam switch set one
t 'removed when one says so' sh -c 'echo n | "$0" switch remove two >out; test $? = 10' "$T/bin/opam"
t 'or -y' runs opam switch remove two -y
t 'they know' both switch

# -- repositories -------------------------------------------------------------------------------------------------------------
cp -R repo other
cp -R other/packages/alone/alone.0.1 other/packages/alone/alone.0.2
t 'an address of a folder beside' prints '[default] Initialised' opam repository set-url --strict default other
t 'both have it' both repository --all
t 'they find what is new' sh -c '"$0" show -f all-versions alone | grep -qx "0.1  0.2"' "$REAL"
t 'so do we' both show alone
t 'no folder' must_fail 40 opam repository set-url --strict default nowhere
t 'the address stays' both repository --all
t 'no such repository' both repository set-url --strict nosuch other
t 'an update without change' sh -c '"$0" update | grep -qx "\[default\] no changes from file://$1/other"' "$T/bin/opam" "$T"
package later 1
cp -R repo/packages/later other/packages/
t 'an update' runs opam update
t 'they have it' sh -c '"$0" show -f version later | grep -qx 1' "$REAL"
rm -r other/packages
t 'one that broke' must_fail 40 opam update
t 'what was there stays' prints 1 opam show -f version later
mkdir -p repo2/packages/more/more.1
cp repo/packages/tool/tool.1.0/opam repo2/packages/more/more.1/opam
t 'one more' runs opam repository add second "$T/repo2"
t 'is found by both' both show -f version more
t 'first in its switch' both repository
t 'and goes' runs opam repository remove --all second
t 'for both' both repository --all

# -- formats -------------------------------------------------------------------------------------------------------------------
sed -i '/^opam-root-version/d' "$OPAMROOT/config"
mkdir -p other/packages/alone/alone.0.3
cp repo/packages/alone/alone.0.1/opam other/packages/alone/alone.0.3/opam
echo 'jobs: 4 solver-criteria: "-removed"' >rc
t 'a root of 2.0 becomes one of 2.1' runs opam init --reinit --config rc -ni -y
t 'told' has '^Format upgrade done\.$' out
t 'asked' has '^Continue? \[Y/n\] y$' out
t 'with the settings of the file' sh -c '"$0" option jobs | grep -qx 4' "$REAL"
t 'and its repositories brought up to date' sh -c '"$0" show -f all-versions alone | grep -qx 0.3' "$REAL"
t 'not if one says no' sh -c 'sed -i /^opam-root-version/d "$OPAMROOT/config"; echo n | "$0" init --reinit --config rc -ni >out; test $? = 10' \
	"$T/bin/opam"
t 'then nothing is changed' sh -c '! grep -q opam-root-version "$OPAMROOT/config"'

# -- locks and bad days ----------------------------------------------------------------------------------------------------------
python3 - "$OPAMROOT/config.lock" <<'P' &
import fcntl, os, sys, time
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX)
open("locked", "w").close()
time.sleep(30)
P
holder=$!
tries=0
while [ ! -e locked ] && [ $tries -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
t 'locked by another' must_fail 15 opam option --safe jobs=2
t 'may be read' prints one opam switch show
kill "$holder"
wait "$holder" 2>/dev/null
t 'and goes on when it is free' runs opam option --safe jobs=2
t 'an unknown command' must_fail 2 opam nosuch
t 'an unknown option' must_fail 2 opam list --nosuch
cp "$OPAMROOT/one/.opam-switch/switch-state" state
echo 'installed: ["x.1" ' >"$OPAMROOT/one/.opam-switch/switch-state"
t 'a damaged state' must_fail 30 opam list
t 'is told with its place' has 'switch-state:' err
cp state "$OPAMROOT/one/.opam-switch/switch-state"
t 'the version' prints 2.1.6 opam --version
t 'evaluated by a shell' sh -c 'eval "$("$0" env)"; test "$USER_HOME" = "$OPAM_SWITCH_PREFIX/user"' "$T/bin/opam"
done_testing
