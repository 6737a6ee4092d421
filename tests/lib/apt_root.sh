# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# A system of Debian packages in a folder: the real apt and dpkg, with their state, sources and files there, so that this machine is left alone.
#
#	apt_deb NAME VERSION [FIELD...]     makes debs/NAME_VERSION_all.deb; scripts of it come from ./NAME.postinst
#	apt_root DIR SOURCE                 an empty system, whose apt knows that line of sources.list; APT_CONFIG and DPKG_ADMINDIR name it
#	apt_has NAME                        it is installed there
#
# dpkg wants to be root: of a user namespace will do.

apt_deb()
{
	rm -rf deb.tmp
	mkdir -p deb.tmp/DEBIAN "deb.tmp/usr/share/$1" debs || return 1
	echo "$1" >"deb.tmp/usr/share/$1/name"
	[ ! -e "$1.postinst" ] || install -m 755 "$1.postinst" deb.tmp/DEBIAN/postinst
	apt_deb=debs/$1_$2_all.deb
	printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Tests <tests@example.org>\n' "$1" "$2" >deb.tmp/DEBIAN/control
	shift 2
	for apt_field; do printf '%s\n' "$apt_field"; done >>deb.tmp/DEBIAN/control
	printf 'Description: for tests\n' >>deb.tmp/DEBIAN/control
	dpkg-deb --root-owner-group -b deb.tmp "$apt_deb" >/dev/null
}

apt_root()
{
	rm -rf "$1"
	mkdir -p "$1/var/lib/dpkg/info" "$1/var/lib/dpkg/updates" "$1/var/lib/dpkg/triggers" "$1/var/lib/apt/lists/partial" \
		"$1/var/cache/apt/archives/partial" "$1/etc/apt/apt.conf.d" "$1/etc/apt/preferences.d" "$1/etc/apt/trusted.gpg.d" "$1/var/log/apt"
	: >"$1/var/lib/dpkg/status"
	echo "$2" >"$1/etc/apt/sources.list"
	cat >"$1/apt.conf" <<-X
		Dir "$1";
		Dir::State::status "$1/var/lib/dpkg/status";
		Dir::Bin::methods "/usr/lib/apt/methods";
		DPkg::Options { "--root=$1"; "--log=$1/dpkg.log"; "--force-script-chrootless"; };
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "0";
	X
	APT_CONFIG=$1/apt.conf DPKG_ADMINDIR=$1/var/lib/dpkg
	export APT_CONFIG DPKG_ADMINDIR
}

apt_has()
{
	dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q 'ok installed$'
}
