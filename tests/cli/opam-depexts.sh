# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015,SC2016,SC2086,SC2094 # what is shown where one fails succeeds; scripts of others; lists; names of files
# Packages of the system that opam packages want: found, shown, asked about and installed by the real apt and dpkg, with a root of their own and an
# archive that `slipway channel publish` made. Where the real opam is here, both get the same command lines, and say and do the same.
if [ "$(id -u)" != 0 ] && [ -z "${DEPEXTS_INSIDE:-}" ] && unshare -rm true 2>/dev/null; then
	DEPEXTS_INSIDE=1 exec unshare -rm sh "$0"
fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/apt_root.sh"
need apt-get dpkg-deb apt-cache gpg python3
[ "$(id -u)" = 0 ] || skip_all 'kernel: no user namespaces'

OPAMROOT=$T/or OPAMROOTISOK=1 LC_ALL=C OPAMCOLOR=never OPAMJOBS=1
export OPAMROOT OPAMROOTISOK LC_ALL OPAMCOLOR OPAMJOBS
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG OPAMYES OPAMNO OPAMCONFIRMLEVEL OPAMCLI OPAMNODEPEXTS OPAMASSUMEDEPEXTS DEBIAN_FRONTEND
mkdir -p repo/packages bin
ln -s "$SLIPWAY" bin/opam
echo 'opam-version: "2.0"' >repo/repo

# package NAME VERSION FIELD...
package()
{
	package=repo/packages/$1/$1.$2/opam
	mkdir -p "${package%/*}"
	shift 2
	printf '%s\n' 'opam-version: "2.0"' "$@" >"$package"
}

# conf NAME VERSION DEPEXTS: it has nothing but system packages
conf()
{
	package "$1" "$2" 'flags: conf' "depexts: $3"
}
conf conf-a 1 '[["sys-a" "sys-b"] {os-family = "debian"} ["rpm-a"] {os-family = "fedora"} ["apk-a" "tagged@edge"] {os-distribution = "alpine"}]'
conf conf-b 1 '["virt-x" "sys-base"] {os-family = "debian" & os = "linux" & os-version != "0"}'
conf conf-old 1 '[["debian"] ["sys-a"]]'
conf conf-c 1 '[["sys-c++" "sys-1.5"] {os-distribution = "debian" | os-family = "debian"}]'
conf conf-n 1 '[["no-such"] {os-family = "debian"} ["also-none"] {arch != "none"}]'
package conf-n 0 'flags: conf'
conf conf-only-n 1 '["no-such"] {os-family = "debian"}'
conf conf-held 1 '["sys-held"]'
conf conf-fails 1 '["sys-fails"]'
conf conf-large 1 '["sys-large"]'
package conf-z 1 'flags: conf'
package top 1 'depends: ["conf-a" "conf-b"]'
package top-n 1 'depends: ["conf-n" "conf-a"]'
package top-only-n 1 'depends: ["conf-only-n"]'
package alt 1 'depends: ["conf-a" | "conf-z"]'
package broken 1 'depends: ["conf-a"]' 'build: ["false"]'
conf broken-too 1 '["sys-a" "sys-b"]'
echo 'build: ["false"]' >>repo/packages/broken-too/broken-too.1/opam

# the archive
printf '#!/bin/sh\necho in the postinst of sys-fails\nexit 3\n' >sys-fails.postinst
for name in sys-a sys-b sys-base sys-c++ sys-1.5 sys-fails; do apt_deb $name 1; done
apt_deb real-x 1 'Provides: virt-x (= 2), virt-y'
apt_deb sys-held 1 'Depends: nowhere-to-be-found'
"$SLIPWAY" channel key "$T/ch" >key 2>&1 || { cat key; skip_all 'build: no key can be made'; }
t 'an archive of system packages is published' "$SLIPWAY" channel publish "$T/ch" debs/*.deb
source_line="deb [signed-by=$T/ch/key.asc] file:$T/ch stable main"

# fresh [PACKAGE...]: a system with apt's lists and sys-base, and these; a root with a switch
fresh()
{
	rm -rf or sys
	if [ -e sys.clean ]; then
		cp -a sys.clean sys
	else
		apt_root "$T/sys" "$source_line"
		{ apt-get update && apt-get install -qq -yy sys-base; } >apt.log 2>&1 || { cat apt.log; return 1; }
		cp -a sys sys.clean
	fi
	[ $# = 0 ] || apt-get install -qq -yy "$@" >apt.log 2>&1 || { cat apt.log; return 1; }
	cp -a or.clean or
}
opam_here=$(command -v opam)
mkdir or.made && { OPAMYES=1 OPAMROOT=$T/or.new bin/opam init --bare --no-setup -k local default repo && OPAMYES=1 OPAMROOT=$T/or.new bin/opam switch create sw --empty; } >made 2>&1 &&
	mv or.new or.clean || { cat made; exit 1; }
sed -i "s|$T/or.new|$T/or|g" or.clean/config or.clean/sw/.opam-switch/switch-config or.clean/sw/.opam-switch/environment 2>/dev/null
t 'a system is made' fresh

# run WHO PROGRAM ARGUMENTS...: WHO.out, WHO.err, WHO.code, WHO.system: what is installed then, WHO.bypass
run()
{
	who=$1
	shift
	"$@" >"$who.out" 2>"$who.err" </dev/null
	echo $? >"$who.code"
	dpkg-query -W >"$who.system"
	grep depext-bypass "$OPAMROOT/sw/.opam-switch/switch-config" >"$who.bypass"
	# a command stands under its message by other rules; the cursor's place in dpkg's counting differs by what is timed
	sed -i 's/^\(# context  *\)2[^ ]*/\1/; s/^\(# [a-z]*-file\).*/\1/; s/^  *\(apt-get\|sudo\)/    \1/; s/\(Reading database ...\).*/\1/' "$who.err" "$who.out"
}

# both ARGUMENTS...: opam's and our doing in the same situation; ours is left
both()
{
	if [ -n "$opam_here" ]; then
		fresh $with && eval "$before" && run theirs "$opam_here" "$@" || return 1
	fi
	fresh $with && eval "$before" && run ours bin/opam "$@" || return 1
	[ -n "$opam_here" ] || { echo 'no opam to compare with'; return 77; }
	for what in out err code system bypass; do
		diff "theirs.$what" "ours.$what" || return 1
	done
}
with='' before=:
OPAMCONFIRMLEVEL=unsafe-yes
export OPAMCONFIRMLEVEL

t 'wanted packages are installed first' both install top
installed()
{
	has 'The following system packages will first need to be installed:' ours.out && has '^    sys-a sys-b virt-x$' ours.out &&
		has '^+ /usr/bin/apt-get "install" "-qq" "-yy" "sys-a" "sys-b" "virt-x"$' ours.out && has '^- Setting up sys-a (1)' ours.out &&
		apt_has sys-a && apt_has real-x && ! apt_has sys-c++
}
t 'by apt-get, shown as opam does' installed
t 'names in lists of their own' both install conf-old conf-b
t 'names with dots and pluses' both install conf-c
before='OPAMROOT=$OPAMROOT bin/opam install conf-a >/dev/null'
t 'what is there is not asked for' both reinstall conf-a
before='bin/opam install conf-a >/dev/null && apt-get remove -qq -yy sys-a >/dev/null 2>&1'
t 'what is gone since is warned of' both install conf-b
t 'and brought back by reinstall' both reinstall conf-a
before=: with='sys-a sys-b real-x'
t 'nothing is asked where all is there' both install top
with=sys-a
t 'what is missing alone is installed' both install conf-a
with=''
t 'only what can be had is chosen' both install top-n
t 'what needs nothing is preferred' both install alt
t 'a package that nobody offers: the one asked for' both install conf-only-n
t 'several of them' both install conf-n.1
t 'the one it depends on' both install top-only-n
t 'installed all the same with --no-depexts' both install --no-depexts conf-n.1
export OPAMNODEPEXTS=1
t 'with OPAMNODEPEXTS in the environment' both install conf-n.1
unset OPAMNODEPEXTS
t 'built without: what is overridden is kept' both install --assume-depexts top
t 'as the switch says' has 'depext-bypass: ."sys-a" "sys-b" "virt-x".' ours.bypass
export OPAMASSUMEDEPEXTS=1
t 'the same by OPAMASSUMEDEPEXTS' both install conf-b
unset OPAMASSUMEDEPEXTS
t 'system packages alone' both install --depext-only top
t 'when they are there' eval "with='sys-a sys-b real-x' both install --depext-only top"
t 'a plan shows nothing of them' both install --show-actions top
before='bin/opam option depext-bypass+=\[\"sys-a\"\ \"sys-c\"\] >/dev/null'
t 'what is bypassed is not asked for' both install conf-a
before='bin/opam option --global depext=false >/dev/null'
t 'switched off by an option' both install conf-a
t 'what was declared is said where the build fails then' both install broken-too
before='bin/opam option --global depext-run-installs=false >/dev/null'
t 'installed by a person, who is not here' both install conf-a
before='bin/opam option --global depext-cannot-install=true >/dev/null'
t 'where nothing may be installed, nothing is offered' both install conf-a
before='rm -f sys/var/lib/apt/lists/*Packages* sys/var/lib/apt/lists/*Release sys/var/cache/apt/*.bin'
t 'without lists nothing is offered' both install conf-a
before=:
t 'apt that cannot install' both install conf-held
t 'exits as opam does' grep -qx 10 ours.code
t 'a maintainer script that fails' both install conf-fails
t 'its words are shown' has '^- in the postinst of sys-fails' ours.out
t 'for system packages alone it is no failure' both install --depext-only conf-held
t 'lists are fetched' both update --depexts
t 'by apt-get' has '^+ /usr/bin/apt-get "update"$' ours.out
before='echo "deb [trusted=yes] file:/nonexistent ./" >sys/etc/apt/sources.list'
t 'lists that cannot be had' both update --depexts
t 'are fatal' grep -qx 99 ours.code
before=:
export OPAMCONFIRMLEVEL=yes
t 'yes is not enough for a package manager' both install conf-a
t 'the command is told' has '^    apt-get install sys-a sys-b$' ours.out
unset OPAMCONFIRMLEVEL
export OPAMYES=1
t 'nor is OPAMYES' both install top
unset OPAMYES
t 'without a terminal it is no' both install conf-a
export OPAMCONFIRMLEVEL=no
t 'no is no' both install top
export OPAMCONFIRMLEVEL=unsafe-yes
t 'an option wins over the environment' both install --confirm-level=no conf-a
export OPAMCLI=2.0 OPAMYES=1
cli()
{
	both install conf-a
	diff theirs.out ours.out && diff theirs.system ours.system
}
t 'opam 2.0 had no such thing' cli
unset OPAMCLI OPAMYES
t 'asked for together with their opposite' both install conf-b
alone()
{
	fresh && must_fail 2 bin/opam install --depext-only --no-depexts top && has "can't be used together" err
}
t '--depext-only without depexts is refused' alone

# -- a person at a terminal -------------------------------------------------------------------------------------------------

# at_terminal KEYS PROGRAM ARGUMENTS...: what a terminal shows; each question gets the next key. A session's first process stays
# while the terminal is read, as a shell does: its end would throw away what the kernel has not yet brought to the other side.
at_terminal()
{
	timeout 60 python3 - "$@" <<'PY' | sed 's/\(Reading database ...\).*/\1/'
import os, pty, re, signal, sys
keys, argv = list(sys.argv[1]), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    child = os.fork()
    if child == 0:
        os.environ['TERM'], os.environ['COLUMNS'] = 'dumb', '400'
        os.execv(argv[0], argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, status = os.waitpid(child, 0)
    os.write(1, b'code %d\n' % os.waitstatus_to_exitcode(status))
    signal.pause()  # until the other side is closed
said, answered = b'', 0
while not re.search(rb'^code -?[0-9]+\r\n$', said, re.M):
    try:
        piece = os.read(fd, 65536)
    except OSError:
        break
    if not piece:
        break
    said += piece
    questions = len(re.findall(rb'\[(?:Y/n|y/N)\] ', said))
    if questions > answered:
        answered = questions
        import time
        time.sleep(0.2)  # what is typed before the program reads is thrown away
        os.write(fd, keys.pop(0).encode() if keys else b'\x03')
os.close(fd)
os.waitpid(pid, 0)
sys.stdout.write(said.decode().replace('\r', ''))
PY
}

# asked KEYS ARGUMENTS...: the same of both, by a person
asked()
{
	keys=$1
	shift
	if [ -n "$opam_here" ]; then
		fresh && at_terminal "$keys" "$opam_here" "$@" >theirs.tty || return 1
	fi
	fresh && at_terminal "$keys" "$T/bin/opam" "$@" >ours.tty || return 1
	[ -n "$opam_here" ] || { echo 'no opam to compare with'; return 77; }
	diff theirs.tty ours.tty
}
unset OPAMCONFIRMLEVEL
t 'a person agrees' asked y install conf-a
t 'and it is done' apt_has sys-a
t 'a person does it by hand, and is not done' asked 'nyny' install conf-a
t 'which is seen' has 'The following remain to be installed: sys-a sys-b' ours.tty
t 'goes on all the same' asked 'nny' install conf-a
t 'the switch keeps that' has 'depext-bypass' or/sw/.opam-switch/switch-config
t 'a person gives up' asked 'nnn' install conf-a
t 'with 10' has '^code 10$' ours.tty

# -- bad days ----------------------------------------------------------------------------------------------------------------

export OPAMCONFIRMLEVEL=unsafe-yes
opam_here='' with=''

# stand_in NAME <SCRIPT: a program of that name before all others; stood_in takes it away
stand_in()
{
	mkdir -p stand-in
	{ echo '#!/bin/sh'; cat; } >"stand-in/$1"
	chmod +x "stand-in/$1"
}
# ours CODE ARGUMENTS...: with the stand-ins, in a fresh system
ours()
{
	code=$1
	shift
	fresh && PATH=$T/stand-in:$PATH run ours bin/opam "$@"
	[ "$(cat ours.code)" = "$code" ] && return
	echo "exit code $(cat ours.code)"
	cat ours.out ours.err
	return 1
}
untouched()
{
	! apt_has sys-a && OPAMROOT=$T/or bin/opam list -s >list && ! grep conf list
}

stand_in apt-cache <<'X'
echo asked >>"$T/asked"
exec /usr/bin/apt-cache "$@"
X
not_asked()
{
	with='sys-a sys-b real-x'
	fresh $with && PATH=$T/stand-in:$PATH bin/opam install top >/dev/null && [ ! -e asked ] || return 1
	ours 0 install alt && [ ! -e asked ] || return 1
	ours 0 install top && [ "$(wc -l <asked)" = 1 ]
}
t 'apt-cache is asked where something is missing alone, and once' not_asked
stand_in apt-cache <<'X'
kill -9 $$
X
t 'apt-cache is killed: apt-get decides' ours 0 install conf-a
t 'that is said' has "'apt-cache' was killed by signal 9" ours.err
stand_in apt-cache <<'X'
head -c 300000 /dev/urandom
X
t 'it prints garbage: nothing is offered' ours 5 install conf-a
stand_in dpkg-query <<'X'
echo 'database is broken' >&2; exit 2
X
rm stand-in/apt-cache
t 'dpkg-query fails: all of it is asked for' ours 0 install top
t 'and why' has "'dpkg-query' failed with exit code 2: database is broken" ours.err
rm stand-in/dpkg-query
stand_in apt-get <<'X'
printf 'begun \033[31m\001\nhalf a line'; kill -9 $$
X
t 'apt-get is killed' ours 10 install conf-a
t 'nothing was changed' untouched
killed()
{
	has "failed: '.*apt-get' was killed by signal 9" ours.err && has '^- begun ?.31m?$' ours.out && has '^- half a line$' ours.out
}
t 'what it said stands in lines, without controls' killed
rm stand-in/apt-get
nowhere()
{
	mkdir -p few && for i in env sh cat ls tar cp rm mkdir uname; do ln -sf "$(command -v $i)" few/; done
	fresh && PATH=$T/few run ours "$T/bin/opam" install conf-a
	[ "$(cat ours.code)" = 99 ] && has '^Fatal error: "apt-get": command not found.$' ours.err
}
t 'there is no apt-get' nowhere

# not from the beginning: one package with a hundred thousand of them, and opam 2.1 fails whatever it is asked for
conf evil-option 1 '["-oDir::Etc=/x" "sys-a"]'
conf evil-minus 1 '["sys-base-"]'
conf evil-file 1 '["./x.deb" "sys a" "$(touch evil)" "a;b" "\027[31m"]'
conf many 1 "[$(seq -f '"package-%.0f"' 100000 | tr '\n' ' ')]"
fresh && bin/opam update >updated 2>&1 || cat updated
mv or.clean or.first && cp -a or or.clean
evil()
{
	for name in evil-option evil-minus evil-file; do
		ours 5 install $name && has 'cannot be the name of a system package' ours.err && hasnt "$(printf '\033')" ours.err && [ ! -e evil ] &&
			apt_has sys-base || return 1
	done
}
t 'names that apt would take for something else are refused' evil
many()
{
	ours 30 install many && has '100000 system packages are wanted, more than 10000' ours.err
}
t 'a hundred thousand names' many
t 'all of them without' ours 0 install --no-depexts many
rm -rf or.clean repo/packages/many && mv or.first or.clean

head -c 3000000 /dev/urandom >large
apt_deb sys-large 1
mkdir -p deb.tmp/usr/share/sys-large && cp large deb.tmp/usr/share/sys-large/ && dpkg-deb --root-owner-group -b deb.tmp debs/sys-large_2_all.deb >/dev/null &&
	sed -i 's/^Version: 1/Version: 2/' deb.tmp/DEBIAN/control && dpkg-deb --root-owner-group -b deb.tmp debs/sys-large_2_all.deb >/dev/null
full()
{
	"$SLIPWAY" channel publish "$T/ch" debs/sys-large_2_all.deb >published 2>&1 || { cat published; return 1; }
	rm -rf sys.clean && fresh || return 1
	unshare -m sh -c 'mount -t tmpfs -o size=2m none "$T/sys/usr" && bin/opam install conf-large' >out 2>err
	[ $? = 10 ] && has 'No space left on device' out && has 'System package install failed with exit code 100' err && ! apt_has sys-large &&
		bin/opam list -s >list && ! grep conf list || { cat out err; return 1; }
}
if unshare -m true 2>/dev/null; then
	t 'a disk that is full' full
else
	skip 'a disk that is full' 'kernel: no mount namespaces'
fi
to_nowhere()
{
	fresh
	! bin/opam install conf-a >/dev/full 2>err
}
t 'output that cannot be written is a failure' to_nowhere

# -- who is not root -----------------------------------------------------------------------------------------------------------

stand_in sudo <<'X'
echo "the stand-in of sudo: $*"
X
as_user()
{
	fresh && cp -r repo or sys stand-in user/ && ln -sf "$SLIPWAY" user/opam && chown -R 1000:1000 user && chmod 755 "$T" || return 1
	PATH=$1 OPAMROOT=$T/user/or HOME=$T/user setpriv --reuid 1000 --regid 1000 --clear-groups "$2" install conf-a >out 2>err </dev/null
}
sudo()
{
	mkdir -p user && as_user "$T/user/stand-in:$PATH" "$T/user/opam" || { cat out err; return 1; }
	has '^+ /.*/stand-in/sudo "apt-get" "install" "-qq" "-yy" "sys-a" "sys-b"$' out && has '^- the stand-in of sudo: apt-get install -qq -yy sys-a sys-b$' out || return 1
	sed "s|$T||" out >ours.sudo
	rm -rf user && mkdir user
	real=$(command -v opam) || return 0
	as_user "$T/user/stand-in:$PATH" "$real" || { cat out err; return 1; }
	sed "s|$T||" out | diff - ours.sudo
}
su()
{
	rm -rf user && mkdir user && rm stand-in/sudo
	stand_in su <<-'X'
		echo "the stand-in of su: $1 $2 $3"
	X
	as_user "$T/user/stand-in:/usr/bin:/bin" "$T/user/opam" || { cat out err; return 1; }
	has '^- the stand-in of su: root -c apt-get install -qq -yy sys-a sys-b$' out
}
if [ -n "${DEPEXTS_INSIDE:-}" ]; then
	skip 'through sudo' 'build: only root can become somebody else'
else
	t 'through sudo' sudo
	command -v sudo >/dev/null || t 'or su' su
fi
rm -rf stand-in

# -- as data --------------------------------------------------------------------------------------------------------------------

fresh
as_json()
{
	"$SLIPWAY" opam install --json --dry-run top >out 2>err || { cat err; return 1; }
	python3 - out <<'PY'
import json
d = json.load(open('out'))
assert d['system_packages'] == [
    {'name': 'sys-a', 'status': 'wanted', 'packages': ['conf-a']}, {'name': 'sys-b', 'status': 'wanted', 'packages': ['conf-a']},
    {'name': 'sys-base', 'status': 'installed', 'packages': ['conf-b']}, {'name': 'virt-x', 'status': 'wanted', 'packages': ['conf-b']}], d
PY
}
t 'one plan with the rest' as_json
json_refused()
{
	must_fail 10 env OPAMCONFIRMLEVEL=no "$SLIPWAY" opam install --json conf-a && python3 -c 'import json; assert json.load(open("out"))["exit"] == 10'
}
t 'a refusal is an object, too' json_refused
solve()
{
	prints 'The following actions would be performed:
=== install 1 package
  - install conf-a 1

The following system packages are needed:
    apk-a tagged@edge' "$SLIPWAY" opam solve --repo repo --depexts --distribution alpine-3.20 conf-a || return 1
	runs "$SLIPWAY" opam solve --repo repo --json top && python3 -c '
import json
assert [(p["name"], p["packages"]) for p in json.load(open("out"))["system_packages"]] == [
    ("sys-a", ["conf-a"]), ("sys-b", ["conf-a"]), ("sys-base", ["conf-b"]), ("virt-x", ["conf-b"])]' || return 1
	runs "$SLIPWAY" opam solve --repo repo --depexts conf-z && has '^No system packages are needed.$' out || return 1
	must_fail 2 "$SLIPWAY" opam solve --repo repo --distribution windows-11 alt
}
t 'of any distribution, without asking one' solve

done_testing
