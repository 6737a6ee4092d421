# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Small root file systems for tests, of this machine's own programs and their libraries: about 15 MB, made in some 0.1 s.
#
#	. "$SOURCE_ROOT/tests/lib/rootfs.sh"
#	rootfs DIR [PROGRAM...]             a folder: bash as sh and itself, env, coreutils, find, grep, sed, tar, and what is named
#	rootfs_tar FILE [COMPRESSION]       the same as a tar whose owners are root and, of its home, 1000; none, gz, xz, zst, bz2
#
# In it: root and `builder` (1000:1000, home /home/builder), /tmp 1777, /usr merged, /etc/os-release, empty /proc, /sys and /dev.
# A folder made by an unprivileged user belongs to that user; the tar does not.
rootfs_programs='bash sh env cat chgrp chmod chown cp cut date dd df du echo expr false find grep head id install link ln ls
	mkdir mkfifo mknod mktemp mv nproc od printf pwd readlink realpath rm rmdir sed seq sha256sum sleep sort stat sync tail tar
	tee test timeout touch tr true truncate tty uname uniq unlink wc whoami xargs yes'

# rootfs DIR [PROGRAM...]
rootfs()
{
	rootfs_dir=$1
	shift
	mkdir -p "$rootfs_dir/usr/bin" "$rootfs_dir/usr/sbin" "$rootfs_dir/usr/lib" "$rootfs_dir/etc" "$rootfs_dir/root" \
		"$rootfs_dir/home/builder" "$rootfs_dir/tmp" "$rootfs_dir/var/tmp" "$rootfs_dir/proc" "$rootfs_dir/sys" \
		"$rootfs_dir/dev" "$rootfs_dir/run" || return 1
	for rootfs_i in bin sbin lib lib32 lib64 libx32; do
		[ -L "/$rootfs_i" ] || continue
		mkdir -p "$rootfs_dir/usr/$rootfs_i"
		ln -sfn "usr/$rootfs_i" "$rootfs_dir/$rootfs_i" || return 1
	done
	# shellcheck disable=SC2086 # a list
	set -- "$@" $rootfs_programs
	rootfs_n=$#
	for rootfs_i; do
		for rootfs_p in "/usr/bin/$rootfs_i" "/bin/$rootfs_i" "/usr/sbin/$rootfs_i" "/sbin/$rootfs_i" ''; do
			[ -x "$rootfs_p" ] && break
		done
		[ -n "$rootfs_p" ] || { echo "rootfs: no program '$rootfs_i' on this machine"; return 1; }
		set -- "$@" "$rootfs_p"
	done
	shift "$rootfs_n"
	# the libraries of all programs, and the loader; what is no dynamic program has none
	for rootfs_ld in /lib64/ld-linux*.so.* /lib/ld-linux*.so.*; do
		[ ! -x "$rootfs_ld" ] || break
	done
	rootfs_libs=$(for rootfs_p; do "$rootfs_ld" --list "$rootfs_p"; done 2>/dev/null |
		sed -n 's/^[^/]*\(\/[^ :]*\) (0x.*/\1/p' | sed 's,^/usr/lib,/lib,' | LC_ALL=C sort -u)
	# shellcheck disable=SC2086 # names of libraries hold no blanks
	cp -L --parents --reflink=auto "$@" "$rootfs_ld" $rootfs_libs "$rootfs_dir" 2>"$rootfs_dir.log" ||
		{ cat "$rootfs_dir.log"; return 1; }
	rm "$rootfs_dir.log"
	printf '%s\n' 'root:x:0:0:root:/root:/bin/bash' 'builder:x:1000:1000::/home/builder:/bin/bash' >"$rootfs_dir/etc/passwd"
	printf '%s\n' 'root:x:0:' 'builder:x:1000:' >"$rootfs_dir/etc/group"
	printf '%s\n' 'ID=slipway-test' 'PRETTY_NAME="root file system of a test"' >"$rootfs_dir/etc/os-release"
	echo builder >"$rootfs_dir/etc/hostname"
	chmod 755 "$rootfs_dir" && chmod 700 "$rootfs_dir/root" && chmod 1777 "$rootfs_dir/tmp" "$rootfs_dir/var/tmp" || return 1
	[ "$(id -u)" != 0 ] || chown 1000:1000 "$rootfs_dir/home/builder"
}

# rootfs_tar FILE [COMPRESSION]
rootfs_tar()
{
	rootfs_tmp=$(mktemp -d "$T/rootfs.XXXXXX") || return 1
	rootfs "$rootfs_tmp" || return 1
	tar -C "$rootfs_tmp" --sort=name --numeric-owner --owner=0 --group=0 --exclude=./home/builder -cf "$1.tmp" . &&
		tar -C "$rootfs_tmp" --numeric-owner --owner=1000 --group=1000 -rf "$1.tmp" ./home/builder || return 1
	rm -rf "$rootfs_tmp"
	case ${2:-none} in
	none) mv "$1.tmp" "$1" && return 0 ;;
	gz) gzip -1 <"$1.tmp" >"$1" ;;
	xz) xz -0 <"$1.tmp" >"$1" ;;
	zst) zstd -q -1 <"$1.tmp" >"$1" ;;
	bz2) bzip2 -1 <"$1.tmp" >"$1" ;;
	*) echo "rootfs_tar: no compression '$2'"; return 1 ;;
	esac || return 1
	rm "$1.tmp"
}
