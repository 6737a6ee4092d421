# SPDX-License-Identifier: Apache-2.0
# Each operation on layers fails, and the process vanishes, at each of its state-changing calls in turn. Each time: all that is there is whole
# and lies on what is there, what was there before still is, the same operation then succeeds, and nothing is left behind. Then a disk
# that is full, and one that loses its power. The same on btrfs, of subvolumes, and on xfs, of copies that share their blocks.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm # in memory: where it lies does not matter
	export TMPDIR
fi
case ${1-} in
--private) SOURCE_ROOT=$2 ;;
*)
	# mounts of our own, which end with us
	if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
		exec unshare -m sh "$0" --private "${SOURCE_ROOT:-$(pwd)}"
	fi
	;;
esac
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build-fault}
op=$BUILD_ROOT/tests/fault_layer
fsdown=$BUILD_ROOT/tests/fsdown
D=$T/layers
old=00000000-0000-0000-0000-000000000000

# states of DIR, each made by these operations, one a line
state()
{
	case $1 in
	empty) ;;
	one) echo 'sync 1' ;;
	two) echo 'sync 1' && echo 'make 2 1' ;;
	cache) echo 'cache c' && echo 'cache c' ;;
	deep) echo 'sync 1' && echo 'make 2 1' ;;
	many) yes 'cache c' | head -n 11 ;;
	full) echo 'sync 1' && echo 'sync 2 1' && echo 'make 3 1' && echo 'cache c' ;;
	booted) echo 'sync 1' && echo 'make 2 1' && echo 'make 3 2' && echo 'cache c' ;;
	esac
}

# boot: another one begins
boot()
{
	[ -e "$D/boot" ] || return 0
	printf %s "$old" >"$D/boot"
	for m in "$D"/unsynced/*; do
		[ ! -e "$m" ] || mv "$m" "$D/unsynced/$old.${m#*unsynced/*.}" || return 1
	done
}

# Kept, so that each point of a sweep begins with a copy of it.
before()
{
	rm -rf "$D" || return 1
	if [ "$LAYERS" = btrfs ]; then # no copy has its subvolumes
		state "$1" >"$T/words"
		while read -r words; do
			# shellcheck disable=SC2086 # words
			"$op" "$D" $words || return 1
		done <"$T/words"
		[ "$1" != booted ] || boot
		return
	fi
	if [ ! -d "$T/kept-$LAYERS-$1" ]; then
		[ "$1" = empty ] || state "$1" | while read -r words; do
			# shellcheck disable=SC2086 # words
			"$op" "$D" $words || exit 1
		done || return 1
		[ "$1" != booted ] || boot || return 1
		mkdir -p "$D"
		cp -a "$D" "$T/kept-$LAYERS-$1"
		return
	fi
	cp -a "$T/kept-$LAYERS-$1" "$D"
}

# sweep MODE STATE KEPT WANTED OPERATION...: KEPT is there after a fault, WANTED after the second try; lists of layers, "c=N" a count
sweep()
{
	mode=$1 state=$2 kept=$3 wanted=$4
	shift 4
	before "$state" || return 1
	rm -f "$T/count"
	FAULT=count:$T/count "$op" "$D" "$@" || { echo "fails without a fault"; return 1; }
	calls=$(tail -n 1 "$T/count")
	[ "$calls" -ge 3 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		before "$state" || return 1
		FAULT=$mode:$n "$op" "$D" "$@" >"$T/said" 2>&1
		rc=$?
		case $mode:$rc in
		stop:99 | *:0 | *:1) ;;
		*) echo "$mode:$n: exit status $rc"; cat "$T/said"; return 1 ;;
		esac
		[ "$rc" != 1 ] || [ -s "$T/said" ] || { echo "$mode:$n: fails without a word"; return 1; }
		# a call whose failure does no harm may be passed over, but then the work is done
		[ "$rc" != 0 ] || is_there "$wanted" || { echo "$mode:$n: says done, and is not"; return 1; }
		is_there "$kept" || { echo "$mode:$n: the old state is lost"; return 1; }
		"$op" "$D" "$@" || { echo "$mode:$n: does not work afterwards"; return 1; }
		case $wanted in
		c=*) ;; # counts once more where the first try was done
		*) is_there "$wanted" || { echo "$mode:$n: does not do it afterwards"; return 1; } ;;
		esac
		"$op" "$D" clean || { echo "$mode:$n: leaves something behind"; return 1; }
		[ "$mode" = fail ] || { boot && "$op" "$D" check && "$op" "$D" clean; } || { echo "$mode:$n: not whole after a boot"; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

# is_there LIST
is_there()
{
	case $1 in
	c=*) "$op" "$D" count c "${1#c=}" ;;
	c~*) # this or one more
		"$op" "$D" count c "${1#c~}" >/dev/null || "$op" "$D" count c "$((${1#c~} + 1))"
		;;
	*)
		# shellcheck disable=SC2086 # a list
		"$op" "$D" check $1
		;;
	esac
}

sweeps()
{
	LAYERS=$1
	export LAYERS
	for mode in fail stop; do
		FOLD=2
		export FOLD
		[ "$LAYERS" != overlay ] || t "a chain made short, $mode" sweep "$mode" deep '1 2' '1 2 3' make 3 2
		unset FOLD
		[ "$LAYERS" = overlay ] || t "$LAYERS: the first layer, $mode" sweep "$mode" empty '' 1 make 1
		t "$LAYERS: a layer, $mode" sweep "$mode" one 1 '1 2' make 2 1
		t "$LAYERS: a layer and a sync, $mode" sweep "$mode" two '1 2' '1 2 3' sync 3 2
		t "$LAYERS: a cache, $mode" sweep "$mode" one 1 c=1 cache c
		t "$LAYERS: another state of it, $mode" sweep "$mode" cache 'c~2' c=3 cache c
		[ "$LAYERS" != overlay ] || t "$LAYERS: many states made one, $mode" sweep "$mode" many 'c~11' c=12 cache c
		t "$LAYERS: a cache that is dropped, $mode" sweep "$mode" cache c=2 c=2 drop c
		t "$LAYERS: a cache removed, $mode" sweep "$mode" cache '' c=0 forget c
		t "$LAYERS: a layer removed, $mode" sweep "$mode" full '1 2' '1 2' remove 3
		t "$LAYERS: gc, $mode" sweep "$mode" full '' '' gc
		t "$LAYERS: the next boot, $mode" sweep "$mode" booted 1 '1 4' make 4 1
	done
}

sweeps copy
unset LAYERS
"$op" "$T/probe" check >/dev/null || fail 'opens a folder'
grep -q overlay "$T/probe/backend" && sweeps overlay

# -- disks of our own -------------------------------------------------------------------------------------------------
[ "$(id -u)" = 0 ] || { skip 'a full disk' 'kernel: only root may mount'; done_testing; }
unset LAYERS

# full_disk KIND: makes layers until there is no room; then what is there is whole, and gc makes room
full_disk()
{
	mkdir -p "$T/small"
	mount -t tmpfs -o size=3m none "$T/small" || return 1
	D=$T/small/layers
	LAYERS=$1 "$op" "$D" sync 1 || return 1
	n=2
	while "$op" "$D" make "$n" 1 >"$T/said"; do
		n=$((n + 1))
		[ "$n" -lt 100 ] || { echo 'it is never full'; return 1; }
	done
	grep -q 'No space left' "$T/said" || { cat "$T/said"; return 1; }
	"$op" "$D" cache c >"$T/said" && "$op" "$D" cache c >"$T/said" && "$op" "$D" cache c >"$T/said"
	"$op" "$D" check 1 2 && [ -z "$(ls "$D/tmp")" ] && "$op" "$D" remove 2 && "$op" "$D" make "$n" 1 &&
		"$op" "$D" check 1 3 "$n" && "$op" "$D" gc && "$op" "$D" clean
	rc=$?
	umount "$T/small"
	D=$T/layers
	return "$rc"
}
t 'a full disk, copies' full_disk copy
t 'a full disk, overlays' full_disk overlay

# on_disk KIND LAYERS: all of it on such a file system
on_disk()
{
	PATH=$PATH:/usr/sbin:/sbin
	command -v "mkfs.$1" >/dev/null || { skip "layers on $1" "file system: no mkfs.$1"; return; }
	truncate -s 400M "$T/disk" && mkdir -p "$T/m"
	if ! "mkfs.$1" -q "$T/disk" >"$T/said" 2>&1 || ! mount -o loop "$T/disk" "$T/m" 2>>"$T/said"; then
		skip "layers on $1" "kernel: no $1, or no loop device"
		return
	fi
	D=$T/m/layers
	rm -rf "$T"/kept-*
	t "on $1" true
	sweeps "$2"
	unset LAYERS
	D=$T/layers
	umount "$T/m" && rm -f "$T/disk"
}
on_disk btrfs btrfs
on_disk xfs copy

# power_cut MKFS SYNCED HOW: a disk loses its power when so many of five layers were synced (tests/lib/fsdown.c)
power_cut()
{
	truncate -s 200M "$T/disk" && "$1" -q "$T/disk" >/dev/null 2>&1 && mkdir -p "$T/m" || return 1
	mount -o loop "$T/disk" "$T/m" || { echo "file system: '$1' cannot be mounted"; return 77; }
	D=$T/m/layers
	"$op" "$D" sync 1 || return 1
	n=1
	while [ "$n" -lt 5 ]; do
		verb='make'
		[ "$((n + 1))" -gt "$2" ] || verb='sync'
		"$op" "$D" "$verb" "$((n + 1))" "$n" && "$op" "$D" cache c || return 1
		n=$((n + 1))
	done
	"$fsdown" "$T/m" "$3" || return 1
	umount "$T/m"
	mount -o loop "$T/disk" "$T/m" || return 1
	boot
	synced=$(seq 1 "$2")
	# shellcheck disable=SC2086 # a list
	"$op" "$D" check $synced && "$op" "$D" make 9 1 && "$op" "$D" cache c && "$op" "$D" check 9 && "$op" "$D" clean
	rc=$?
	[ "$rc" = 0 ] || ls "$D" "$D/layer" "$D/unsynced"
	umount "$T/m"
	rm -f "$T/disk"
	D=$T/layers
	return "$rc"
}
nosync()
{
	FAULT=nosync
	export FAULT
	power_cut mkfs.ext4 3 "$1"
	rc=$?
	unset FAULT
	[ "$rc" = 77 ] && return 77
	[ "$rc" != 0 ]
}
if command -v mkfs.ext4 >/dev/null || [ -x /sbin/mkfs.ext4 ]; then
	PATH=$PATH:/usr/sbin:/sbin
	for how in plain logflush; do
		for synced in 1 2 3 5; do
			t "a power cut, $how, $synced of 5 synced" power_cut mkfs.ext4 "$synced" "$how"
		done
		t "a sync that does nothing would be found, $how" nosync "$how"
	done
else
	skip 'a power cut' 'file system: no mkfs.ext4'
fi
umount "$T/m" 2>/dev/null
done_testing
