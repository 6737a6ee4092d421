#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The power goes while a signed Debian archive is published into, and while a mirror takes over a change of one: processes die at a
# state-changing system call and with them an ext4 file system, with what its disk had (plain), or its journal written, so that names are there
# whose data nobody synced (logflush). As it comes up again clients see one complete, signed state; a command that had ended well has
# done it for good; else the same one does. EVERY=1 for each call, not one of thirteen.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm # the disks that lose their power are files: where those lie does not matter
	export TMPDIR
fi
case ${1-} in
--private) SOURCE_ROOT=$2 ;;
*)
	# mounts of our own, which end with us
	if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
		exec unshare -m sh "$0" --private "${SOURCE_ROOT:-$(pwd)}"
	fi
	skip_mounts=1
	;;
esac
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
[ -z "${skip_mounts-}" ] || skip_all 'kernel does not let us mount'
command -v gpg >/dev/null || skip_all 'there is no gpg here'
command -v mkfs.ext4 >/dev/null || skip_all 'no mkfs.ext4'
BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build-fault}
killat=$BUILD_ROOT/tests/killat fsdown=$BUILD_ROOT/tests/fsdown op=$BUILD_ROOT/tests/fault_kind
M=$T/m EVERY=${EVERY:-13}
mkdir -p "$M" debs
trap 'umount "$M" 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
"$killat" 1 before mkdir x; [ $? = 137 ] || skip_all 'kernel does not let us trace'

truncate -s 96M before.img
mkfs.ext4 -q -F -b 4096 -N 8192 -m 0 -J size=4 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard before.img
mount -o loop before.img "$M" 2>/dev/null || skip_all 'kernel has no loop device for us'

"$BUILD_ROOT/tests/fault_deb" debs packages || exit 1
{
	mkdir "$M/p" && "$SLIPWAY" -q channel key "$M/p" && "$SLIPWAY" -q channel publish "$M/p" debs/1.deb && cp -r "$M/p" up && cp up/key.asc keyring &&
		"$SLIPWAY" -q mirror init "$M/mirror" --name m --host h &&
		sed -i 's/^#bulkBackoffFactor: .*/bulkBackoffFactor: 0/; s/^#bulkParallel: .*/bulkParallel: 1/; s/^#*reserve: .*/reserve: 1 MB/' "$M/mirror/mirror.yaml" &&
		"$SLIPWAY" -q channel create "$M/mirror/c" --kind deb --suite stable --from "$T/up" --keyring "$T/keyring" --download HISTORIC &&
		"$SLIPWAY" -q channel sync "$M/mirror/c" && "$SLIPWAY" -q channel publish up debs/2.deb && sync -f "$M"
} >made 2>&1 || { fail 'an archive, and a mirror of it'; diag <made; done_testing; }
umount "$M"
gpgconf --homedir root/keys/openpgp --kill all 2>/dev/null
cp -a root keys

publish()
{
	tree=$M/p
	set -- "$SLIPWAY" -q channel publish "$M/p" debs/2.deb
	"$run" "$@"
}
follow()
{
	tree=$M/mirror/content/c
	set -- "$SLIPWAY" -q channel sync "$M/mirror/c"
	"$run" "$@"
}
whole()
{
	KEYRING=$T/keyring "$op" deb check "$tree" "$@"
}
listed()
{
	whole 0 | sed -n 's/ packages are listed//p'
}
whole_run()
{
	"$@"
}
counted()
{
	"$killat" -c calls 0 before "$@"
}
cut_run()
{
	"$killat" "$n" before env FAULT="$mistake" "$@" >said 2>&1
}
begin()
{
	umount "$M" 2>/dev/null
	rm -rf root && cp -a keys root && # gpg's agent dies with the others, as in another boot
		cp --sparse=always before.img disk.img && mount -o loop,noatime disk.img "$M"
}

# cuts COMMAND plain|logflush [MISTAKE]
cuts()
{
	command=$1 how=$2 mistake=${3-} points=0
	begin || return 2
	run=counted
	"$command" >said 2>&1 || { echo 'fails without a cut:'; cat said; return 2; }
	calls=$(cat calls) after=$(listed)
	begin
	run=true
	"$command"
	before=$(listed)
	if [ "$before" -ge "$after" ] || [ "$calls" -le 30 ]; then
		echo "$before to $after packages, $calls calls"
		return 2
	fi
	n=1
	# beyond the last one: the command ends, and then the power goes
	while [ "$n" -lt $((calls + EVERY)) ]; do
		begin || return 2
		run=cut_run
		"$command"
		rc=$?
		[ $rc = 0 ] || [ $rc = 137 ] || { echo "exit status $rc"; cat said; return 2; }
		"$fsdown" "$M" "$how" && umount "$M" && mount -o loop,noatime disk.img "$M" || return 2
		points=$((points + 1))
		[ $rc = 0 ] || also=$before
		[ $rc != 0 ] || also=$after
		# shellcheck disable=SC2154 # set above
		whole "$after" "$also" >judged || { echo "damage, call $n of $calls, $rc:"; cat judged; return 1; }
		run=whole_run
		{ "$command" && whole "$after"; } >judged 2>&1 || { echo "damage, from call $n of $calls it does not go on:"; cat judged; return 1; }
		n=$((n + EVERY))
	done
	echo "$points cuts of $calls calls"
}
finds()
{
	cuts "$@" >found
	{ [ $? = 1 ] && grep -q '^damage' found; } || { echo 'not found:'; cat found; return 1; }
}

begin
if ! "$fsdown" "$M" plain 2>/dev/null; then
	skip_all 'kernel does not shut ext4 down'
fi
for how in plain logflush; do
	t "publishing, $how" cuts publish $how
	t "following, $how" cuts follow $how
done
EVERY=1000
t 'that a program does not sync is found' finds publish plain nosync
done_testing
