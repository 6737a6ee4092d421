# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For tests that build: after tests/lib/test.sh and rootfs.sh.
#
#	need_builds                skips the script where no sandbox can be had
#	builds_base [NAME...]      imports the small root file system of rootfs.sh, as `base` and as these names
#	ends 'CODE...' COMMAND...  exits with one of these statuses, which is left in $rc; output and errors as they came in ./out
#	builds_one_id              are there no ids but one? Then everything in a root belongs to whoever looks
#	builds_remove              removes all images, layers and caches, so that files of other ids are gone before the script's folder is
#	builds_clean ROOT          nothing but layers is left: no mount, no process in a sandbox, nothing half made

need_builds()
{
	[ "$(id -u)" = 0 ] || unshare -Ur true 2>/dev/null || skip_all 'kernel: no user namespaces'
}

builds_base()
{
	rootfs_tar "$T/base.tar" || return 1
	for builds_i in base "$@"; do
		runs "$SLIPWAY" image import "$builds_i" "$T/base.tar" || return 1
	done
}

ends()
{
	builds_codes=$1
	shift
	"$@" >out 2>&1 </dev/null
	rc=$?
	case " $builds_codes " in *" $rc "*) return 0 ;; esac
	echo "exit status $rc, not one of $builds_codes: $*"
	tail -n 50 out
	return 1
}

builds_one_id()
{
	"$SLIPWAY" --json build --check | grep -q '"id_range": *false'
}

builds_remove()
{
	"$SLIPWAY" --json image list | sed -n 's/^ *"name": *"\(.*\)",*$/\1/p' >images
	while read -r builds_i; do
		runs "$SLIPWAY" image remove "$builds_i" || return 1
	done <images
	runs "$SLIPWAY" build gc --older-than 0s --caches || return 1
	find "$SLIPWAY_ROOT/build/layer" "$SLIPWAY_ROOT/build/cache" -mindepth 1 -maxdepth 1 >left
	[ ! -s left ] || { cat left; return 1; }
}

builds_clean()
{
	if grep -F "$1" /proc/self/mountinfo; then
		echo 'a mount is left'
		return 1
	fi
	for builds_i in /proc/[0-9]*; do
		case $(readlink "$builds_i/root" 2>/dev/null) in
		"$1"*) echo "a process is left: $(tr '\0' ' ' <"$builds_i/cmdline")"; return 1 ;;
		esac
	done
}
