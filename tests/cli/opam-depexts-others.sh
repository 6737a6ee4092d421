# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015,SC2016,SC2086 # what is shown where one fails succeeds; scripts of others; lists
# Packages of the system where it is not Debian's: by the real rpm with dnf, and with zypper, each in a folder of its own; what the real opam says and
# does is compared. Of Alpine's apk, which Debian does not have, there is a stand-in with what apk prints. A mount of
# /etc/os-release in a namespace of the test's own makes this machine one of those.
if [ -z "${DEPEXTS_INSIDE:-}" ]; then
	inside=-m
	[ "$(id -u)" = 0 ] || inside=-rm
	unshare $inside true 2>/dev/null && DEPEXTS_INSIDE=1 exec unshare $inside sh "$0"
fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/rpms.sh"
[ -n "${DEPEXTS_INSIDE:-}" ] || skip_all 'kernel: no namespaces'
need dnf zypper rpm rpmbuild createrepo_c
mount --bind /etc/os-release /etc/os-release 2>/dev/null || skip_all 'kernel: no mounts in a namespace'
umount /etc/os-release

OPAMROOT=$T/or OPAMROOTISOK=1 LC_ALL=C OPAMCOLOR=never OPAMJOBS=1 OPAMCONFIRMLEVEL=unsafe-yes
export OPAMROOT OPAMROOTISOK LC_ALL OPAMCOLOR OPAMJOBS OPAMCONFIRMLEVEL
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG OPAMYES OPAMNO OPAMCLI OPAMNODEPEXTS OPAMASSUMEDEPEXTS
mkdir -p repo bin rpms system tools
ln -s "$SLIPWAY" bin/opam
echo 'opam-version: "2.0"' >repo/repo
conf()
{
	mkdir -p "repo/packages/$1/$1.1"
	printf '%s\n' 'opam-version: "2.0"' 'flags: conf' "depexts: $2" >"repo/packages/$1/$1.1/opam"
}
conf conf-a '[["rpm-a"] {os-family = "fedora"} ["rpm-a" "rpm-b"] {os-family = "suse"} ["apk-a" "apk-b"] {os-distribution = "alpine"}]'
conf conf-n '[["nonesuch"] {os-family != "fedora"}]'
conf conf-fails '["nonesuch" "rpm-a"]'
conf conf-epel '["epel-release" "rpm-b"]'
conf conf-provided '["pkgconfig(rpm-a)"]'
conf conf-tagged '["apk-c@edge"]'

for name in rpm-a rpm-b epel-release; do
	mkdir -p "build/$name"
	{
		rpm_spec $name 1 1 'BuildArch: noarch' "Provides: pkgconfig($name)"
		printf '%%prep\n%%build\n%%install\nmkdir -p %%{buildroot}/opt\ntouch %%{buildroot}/opt/%s\n%%files\n/opt/%s\n' $name $name
	} >build/$name/spec
	rpm_build "$T/build/$name" "$T/build/$name/spec" && find build/$name/out -name '*.rpm' -exec mv {} rpms/ \; || skip_all 'build: rpmbuild cannot make packages here'
done
createrepo_c -q rpms || exit 1

# The real programs, with a root of their own.
cat >dnf.conf <<X
[main]
gpgcheck=0
plugins=0
[x]
name=x
baseurl=file://$T/rpms
X
mkdir -p dnf.state
tool()
{
	{ echo '#!/bin/sh'; echo "exec $2 \"\$@\""; } >"tools/$1"
	chmod +x "tools/$1"
}
tool dnf "/usr/bin/dnf --installroot=$T/system --releasever=1 -c $T/dnf.conf --setopt=reposdir=$T/none --setopt=cachedir=$T/dnf.state --setopt=persistdir=$T/dnf.state --setopt=logdir=$T/dnf.state"
tool rpm "/usr/bin/rpm --root $T/system"
tool zypper "/usr/bin/zypper --root $T/system"
PATH=$T/tools:$PATH
opam_here=$(command -v opam)

# on ID VERSION [ID_LIKE]: this is such a system
on()
{
	printf 'ID=%s\nVERSION_ID=%s\n' "$1" "$2" >release
	[ -z "${3:-}" ] || printf 'ID_LIKE="%s"\n' "$3" >>release
	umount /etc/os-release 2>/dev/null
	cp release "release.$1" && mount --bind "release.$1" /etc/os-release || exit 1
	rm -rf or or.clean
	OPAMYES=1 bin/opam init --bare --no-setup -k local default repo >made 2>&1 && OPAMYES=1 bin/opam switch create sw --empty >>made 2>&1 || { cat made; exit 1; }
	cp -a or or.clean
}

# both ARGUMENTS...: opam's and our doing in the same situation; times and speeds aside
both()
{
	for who in theirs ours; do
		program=$opam_here
		[ $who = theirs ] || program=bin/opam
		[ -n "$program" ] || continue
		fresh
		"$program" "$@" >$who.out 2>$who.err </dev/null
		echo $? >$who.code
		rpm -qa --qf '%{NAME}\n' | sort >$who.system
		sed -i 's/^  *\(dnf\|zypper\)/    \1/; /^- Last metadata/d; /^- x  /d' $who.err $who.out
	done
	[ -n "$opam_here" ] || { echo 'no opam to compare with'; return 77; }
	for what in out err code system; do diff theirs.$what ours.$what || return 1; done
}
with=''
fresh()
{
	rm -rf or system && mkdir system && cp -a or.clean or
	[ ! -e zypper.clean ] || cp -a zypper.clean/. system/
	[ -z "$with" ] || /usr/bin/rpm --root "$T/system" --nodeps -i $with 2>/dev/null
}

# -- Fedora's ---------------------------------------------------------------------------------------------------------------

on fedora 40
t 'dnf installs' both install conf-a
dnf()
{
	has '^+ /.*/tools/dnf "install" "-y" "rpm-a"$' ours.out && has '^+ /.*/tools/rpm "-q" "--whatprovides" "rpm-a"$' ours.out &&
		has '^-   rpm-a-1-1.noarch' ours.out && grep -qx rpm-a ours.system
}
t 'what opam would, and rpm confirms' dnf
with=rpms/rpm-a-1-1.noarch.rpm
t 'what is there is seen' both install conf-a
provided()
{
	fresh && runs bin/opam install conf-provided && hasnt 'system packages' out
}
t 'what a package provides is there, too' provided
with=''
t 'EPEL comes first' both install conf-epel
t 'a package that dnf does not know' both install conf-fails
t 'is no success' grep -qx 10 ours.code
t 'lists are fetched' both update --depexts
OPAMCONFIRMLEVEL=yes
t 'what to do by hand' both install conf-epel
OPAMCONFIRMLEVEL=unsafe-yes
on rocky 9.3 'rhel centos fedora'
t 'a relative of it' both install conf-epel

# -- SUSE's -----------------------------------------------------------------------------------------------------------------

on opensuse-leap 15.6 'suse opensuse'
fresh
{ zypper --non-interactive --quiet addrepo --no-gpgcheck "$T/rpms" x && zypper --non-interactive --quiet refresh; } >zypper.log 2>&1 || cat zypper.log
cp -a system zypper.clean
t 'zypper installs' both install conf-a
t 'as opam has it' has '^+ /.*/tools/zypper "--non-interactive" "install" "rpm-a" "rpm-b"$' ours.out
with="rpms/rpm-a-1-1.noarch.rpm rpms/rpm-b-1-1.noarch.rpm"
t 'what is there is seen by rpm' both install conf-a
with=''
t 'what it does not offer is unavailable' both install conf-n
t 'some of it' both install conf-fails
refreshed()
{
	fresh && runs bin/opam update --depexts && has '^+ /.*/tools/zypper "--non-interactive" "refresh"$' out
}
t 'lists are fetched by refresh, as by opam 2.1.6' refreshed
rm -rf zypper.clean

# -- Alpine's, by a stand-in of apk -------------------------------------------------------------------------------------------

on alpine 3.20
cat >tools/apk <<'X'
#!/bin/sh
# The stand-in of apk: it keeps names in a file, and prints what apk 2.14 prints.
db=$T/apk-stand-in
touch "$db"
command=$1
shift
case $command in
info) cat "$db" ;;
policy)
	for name; do
		case $name in apk-[abc]) ;; *) continue ;; esac
		printf '%s policy:\n  1.0-r0:\n' "$name"
		! grep -qx "$name" "$db" || echo '    lib/apk/db/installed'
		if [ "$name" = apk-c ]; then echo '    @edge https://apk.example/edge/main'; else echo '    https://apk.example/v3.20/main'; fi
	done
	;;
add)
	i=0
	for name; do
		printf '(%d/%d) Installing %s (1.0-r0)\n' $((i += 1)) $# "$name"
		echo "${name%@*}" >>"$db"
	done
	echo "OK: 10 MiB in $# packages"
	;;
update) echo 'fetch https://apk.example/v3.20/main/x86_64/APKINDEX.tar.gz' ;;
esac
X
chmod +x tools/apk
rm -f apk-stand-in
fresh_apk()
{
	rm -f apk-stand-in
	for name; do echo "$name" >>apk-stand-in; done
}
both_apk()
{
	present=$1
	shift
	for who in theirs ours; do
		program=$opam_here
		[ $who = theirs ] || program=bin/opam
		[ -n "$program" ] || continue
		fresh
		fresh_apk $present
		"$program" "$@" >$who.out 2>$who.err </dev/null
		echo $? >$who.code
		sort apk-stand-in >$who.system
	done
	[ -n "$opam_here" ] || { echo 'no opam to compare with'; return 77; }
	for what in out err code system; do diff theirs.$what ours.$what || return 1; done
}
t 'apk adds' both_apk '' install conf-a
t 'as opam has it' has '^+ /.*/tools/apk "add" "apk-a" "apk-b"$' ours.out
t 'some of it is there' both_apk 'musl apk-b' install conf-a
t 'of another release' both_apk '' install conf-tagged
t 'which is there' both_apk 'apk-c' install conf-tagged
t 'what it does not offer' both_apk '' install conf-n
t 'lists are fetched' both_apk '' update --depexts
OPAMCONFIRMLEVEL=yes
t 'what to do by hand' both_apk '' install conf-a

# -- nobody's -------------------------------------------------------------------------------------------------------------------

OPAMCONFIRMLEVEL=unsafe-yes
on plan9 4
unknown()
{
	both install conf-n
	has "External dependency handling not supported for OS family 'plan9'." ours.err && grep -qx 0 ours.code && diff theirs.out ours.out && diff theirs.err ours.err
}
t 'a family of which nothing is known' unknown
t 'has no lists' both update --depexts
umount /etc/os-release
done_testing
