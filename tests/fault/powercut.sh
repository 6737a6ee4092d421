#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The power goes while the install commands are at work, in an environment with a component that has state and
# configuration, and in one without. Each time, on the file system as it comes up again: one of the two versions is current and
# whole, the committed one is known, an operation that is under way has its timer, nothing is left behind, and going on works.
# A command that had ended well has done it for good. Where the power went the host comes up in another boot, with an id of its own.
#
#	killed     the whole tree of processes, at each system call that changes something (tests/lib/killat.c)
#	failed     at each of them the call fails, and everything goes on: once, or as on a disk that has filled up
#	plain      killed, and with them an ext4 file system, with what its disk had (tests/lib/fsdown.c)
#	logflush   the same, its journal written: names are there, data that nobody synced are not
#	replayed   the command runs to its end on a disk that logs; then that disk as it was after each write, and with only some of
#	           the writes since its last flush (tests/lib/blocklog.c)
#
# That each of them would find a mistake is shown with one: FAULT=nosync, FAULT=torn (base/sys.h).
#
#	POWERCUT=full      every point in place of some, and more commands; takes half an hour of processor time
#	POWERCUT=full:RE   those tests alone whose name matches
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
	;;
esac
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/upgrades.sh"
need tar bzip2
BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build-fault}
killat=$BUILD_ROOT/tests/killat fsdown=$BUILD_ROOT/tests/fsdown blocklog=$BUILD_ROOT/tests/blocklog
wallclock=$BUILD_ROOT/tests/libwallclock.so program=$SLIPWAY
M=$T/m # all that there is of the host, on the disk whose power goes
SLIPWAY_ROOT=$M/root
export SLIPWAY_ROOT
case ${POWERCUT-} in
full | full:*) full=1 ;;
*) full='' ;;
esac

# -- the host as it is before each cut ------------------------------------------------------------------------------

# keep STATE: the host as it is now, to go back to
keep()
{
	rm -rf "kept/$kind-$1"
	mkdir -p "kept/$kind-$1"
	cp -a "$M/." "kept/$kind-$1/"
}

wipe()
{
	chmod -R u+w "$M" && rm -rf "$M"
	mkdir "$M"
}

make_states()
{
	wipe
	host_empty || return 1
	keep empty
	host_one || return 1
	keep one
	"$SLIPWAY" -q install add web=2 || return 1
	keep added
	"$SLIPWAY" -q install activate || return 1
	echo new >"$M/host/data/db"
	keep activated
	"$SLIPWAY" -q install commit || return 1
	keep two
}

# -- what a cut left ------------------------------------------------------------------------------------------------

# go_on: from wherever it is to version 2, committed; then nothing is left of the cut in the store either
go_on()
{
	case $1 in
	*' none') "$SLIPWAY" -q install add web=2 -n e activate commit ;;
	*' added') "$SLIPWAY" -q install activate -n e && "$SLIPWAY" -q install commit -n e ;;
	*' activated') "$SLIPWAY" -q install commit -n e ;;
	esac >said.on 2>&1 || { cat said.on; return 1; }
	now=$(at)
	[ "$now" = '2/2 none' ] || { echo "goes on to $now"; return 1; }
	"$SLIPWAY" -q install remove inactive -n e && "$SLIPWAY" -q store gc && at >/dev/null && clean "$now" || return 1
	for f in "$M"/root/store/tmp/* "$M"/root/store/unsynced/* "$M"/root/index/*/*.tmp; do
		[ ! -e "$f" ] || { echo "left for ever: $f"; return 1; }
	done
}

# judge ENDED: the host as it came up again. ENDED: the command had said that it was done
judge()
{
	now=$(at)
	[ -z "$1" ] || [ "$now" = "$becomes" ] || { echo "it had ended well, and is: $now"; return 1; }
	[ "$recipe:$rc" != failed:4 ] || [ "$now" = "$back" ] || { echo "it had gone back, it said, and is: $now"; return 1; }
	"$SLIPWAY" install label committed x -n e >said.settled 2>&1 || : # the least that changes something
	now=$(at)
	case $now in
	*' needs-manual-abort') "$SLIPWAY" install abort issu -n e >said.abort 2>&1 || { cat said.abort; return 1; } ; now=$(at) ;;
	esac
	[ "$now" = "$was" ] || [ "$now" = "$becomes" ] || [ "$now" = "$back" ] || { echo "settled: $now"; cat said.settled; return 1; }
	if ! clean "$now" || ! host_is "$now"; then
		echo "settled at $now"
		return 1
	fi
	[ $((points % 3)) != 0 ] || go_on "$now" || { echo "from $now it does not go on"; return 1; }
}

# -- cuts -----------------------------------------------------------------------------------------------------------

# Of each recipe: lay_down brings the host into its state, cut_at N runs "$@" and takes the power, and the host comes up again.
# It leaves 0 in $rc where the command had ended well.
begin()
{
	if on_disk; then
		umount "$M" 2>/dev/null || :
		cp --sparse=always "$kind-$from.img" disk.img && mount -o loop,noatime disk.img "$M"
	else
		wipe
		cp -a "kept/$kind-$from/." "$M/"
	fi
}

# on_disk: the recipe wants one
on_disk()
{
	[ "$recipe" != killed ] && [ "$recipe" != failed ]
}

cut_at()
{
	n=$1 side=$2
	shift 2
	"$killat" "$n" "$side" env FAULT="$mistake" "$@" >said 2>&1
	rc=$?
	case $recipe:$rc in
	*:0 | *:137) ;;
	failed:1 | failed:4 | failed:5) ;;
	*) echo "exit status $rc:"; cat said; return 1 ;;
	esac
	on_disk || return 0
	"$fsdown" "$M" "$recipe" && umount "$M" && mount -o loop,noatime disk.img "$M" && another_boot
}

# another_boot: what the kernel says of it; the clocks go on
another_boot()
{
	cat /proc/sys/kernel/random/uuid >boot_id
}

# swept COMMAND...: one command, cut at every STEPth call
swept()
{
	begin || return 2
	"$killat" -c made 0 "${sides%% *}" "$@" >said 2>&1 || { echo 'fails without a cut:'; cat said; return 1; }
	now=$(at)
	[ "$now" = "$becomes" ] || { echo "without a cut: $now"; return 1; }
	calls=$(cat made)
	[ "$calls" -ge 5 ] || { echo "only $calls calls are counted"; return 1; }
	for side in $sides; do
		k=$first
		# beyond the last one: the command ends, and then the power goes
		while [ "$k" -le $((calls + step)) ]; do
			begin && cut_at "$k" "$side" "$@" || return 2
			points=$((points + 1))
			ended=
			[ "$rc" != 0 ] || ended=1
			judge "$ended" >damage 2>&1 || { echo "damage, $side call $k of $calls:"; cat damage; return 1; }
			k=$((k + step))
		done
		first=$((first % step + 1))
	done
}

# -- a disk that logs -----------------------------------------------------------------------------------------------

record()
{
	umount "$M" 2>/dev/null || :
	cp --sparse=always "$kind-$from.img" disk.img
	"$blocklog" serve disk.img log fuse || return 1
	loop=$(losetup -f --show --direct-io=on fuse/disk) || { umount fuse; return 1; }
	mount -o noatime "$loop" "$M"
	rc=0
	env FAULT="$mistake" "$@" >said 2>&1 || rc=1
	ended_bytes=$(stat -c %s log)
	[ -z "$mistake" ] || sleep 6 # what nobody syncs is written some time
	umount "$M"
	losetup -d "$loop"
	umount fuse
	[ "$rc" = 0 ] || { cat said; return 1; }
}

# one_state N whole|some SEED: is the disk as it was after N records sound?
one_state()
{
	cp --sparse=always "$kind-$from.img" crash.img && "$blocklog" replay log crash.img "$1" "$2" "$3" || return 2
	points=$((points + 1))
	another_boot
	mount -o loop,noatime crash.img "$M" || { echo "damage: record $1, $2 of them: the file system does not mount"; return 1; }
	ended=
	[ "$1" -lt "$ended_at" ] || ended=1
	if ! judge "$ended" >damage 2>&1; then
		echo "damage, record $1 of $records (the command ended at $ended_at), $2 of them, seed $3:"
		cat damage
		bad=1
	fi
	umount "$M"
	[ "$bad" = 0 ]
}

replayed()
{
	bad=0
	record "$@" || return 2
	records=$("$blocklog" count log) ended_at=$("$blocklog" count log "$ended_bytes")
	[ "$ended_at" -ge 5 ] || { echo "only $ended_at records"; return 1; }
	k=$first
	while [ "$k" -le "$records" ]; do
		one_state "$k" whole 0 || return
		k=$((k + step))
	done
	# each time that much may have been written and little flushed
	k=0
	for flush in $("$blocklog" flushes log); do
		k=$((k + 1))
		[ $((k % flush_step)) = 0 ] || continue
		for seed in $seeds; do
			one_state $((flush - 1)) some "$seed" || return
		done
	done
}

# -- what is swept --------------------------------------------------------------------------------------------------

# case_of NAME: sets from, was, becomes, back and command
case_of()
{
	back='1/1 none'
	case $1 in
	add) from=one was='1/1 none' becomes='1/1 added' command='install add web=2' ;;
	activate) from=added was='1/1 added' becomes='2/1 activated' command='install activate issu' ;;
	commit) from=activated was='2/1 activated' becomes='2/2 none' command='install commit' ;;
	abort) from=activated was='2/1 activated' becomes='1/1 none' command='install abort issu' ;;
	rollback) from=two was='2/2 none' becomes='1/1 none' back=$was command='install rollback to 1' ;;
	remove) from=two was='2/2 none' becomes='2/2 none' back=$was command='install remove inactive' ;;
	one-shot) from=one was='1/1 none' becomes='2/2 none' command='install add web=2 activate issu commit' ;;
	first) from=empty was='none/none none' becomes='1/1 none' back=$was command='install add web=1 -n e activate commit' ;;
	update) from=one was='1/1 none' becomes='2/2 none' command='env update -n e web=2' ;;
	esac
}

# sweep RECIPE CASE: the command of a case
sweep()
{
	recipe=$1 mistake=${3-}
	case_of "$2"
	points=0
	# shellcheck disable=SC2086 # a list of words
	if [ "$recipe" = replayed ]; then
		replayed "$SLIPWAY" $command
	else
		swept "$SLIPWAY" $command
	fi
	sweep_rc=$?
	umount "$M" 2>/dev/null || :
	echo "$recipe $points" >>points
	return $sweep_rc
}

# finds RECIPE CASE MISTAKE: a program with that mistake does damage, and the sweep says so
finds()
{
	sweep "$@" >found 2>&1
	if [ $? != 1 ] || ! grep -q '^damage' found; then
		echo 'not found:'
		cat found
		return 1
	fi
}

wanted()
{
	case ${POWERCUT-} in
	full:*) echo "$1" | grep -q -e "${POWERCUT#full:}" ;;
	esac
}

# set_steps RECIPE: how many of the points
set_steps()
{
	sides=before first=1 seeds=1
	if [ -n "$full" ]; then
		step=1 flush_step=1 seeds='1 2 3'
		[ "$1" != killed ] || sides='before after'
		[ "$1" != failed ] || sides='EIO ENOSPC full'
		return
	fi
	case $1 in
	killed) step=4 ;;
	failed) step=6 sides='EIO full' ;;
	plain | logflush) step=13 ;;
	replayed) step=17 flush_step=7 ;;
	esac
	[ "$kind" = component ] || step=$((4 * step))
}

sweep_kind()
{
	kind=$1
	make_states || { fail "$kind: make the states to begin with"; return; }
	cases='add activate commit abort rollback remove'
	[ -z "$full" ] || cases="$cases one-shot first update"
	for recipe in $recipes; do
		! on_disk || make_images || { fail "$kind: make disks"; return; }
		for name in $cases; do
			wanted "$kind: $name, $recipe" || continue
			set_steps "$recipe"
			t "$kind: $name, $recipe" sweep "$recipe" "$name"
		done
	done
}

make_images()
{
	wipe
	[ ! -e "$kind-two.img" ] || return 0
	for state in empty one added activated two; do
		truncate -s 1600M "$kind-$state.img" && # upgrades want a GiB to be free
			mkfs.ext4 -q -F -b 4096 -N 16384 -m 0 -J size=4 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard "$kind-$state.img" &&
			mount -o loop "$kind-$state.img" "$M" && cp -a "kept/$kind-$state/." "$M/" && umount "$M" || return 1
	done
}

# can_cut: the recipes that this machine allows
can_cut()
{
	recipes=''
	if "$killat" 1 before mkdir x; [ $? = 137 ] && [ ! -e x ]; then
		recipes='killed failed'
	else
		skip 'processes are killed at each call' 'kernel does not let us trace'
		return
	fi
	if [ "$(id -u)" != 0 ] || ! unshare -m true 2>/dev/null; then
		skip 'file systems lose their power' 'kernel does not let us mount'
		return
	fi
	cat /proc/sys/kernel/random/boot_id >boot_id
	mount --bind boot_id /proc/sys/kernel/random/boot_id || { skip 'file systems lose their power' 'kernel lets nobody say which boot it is'; return; }
	mkdir -p "$M" fuse
	truncate -s 16M try.img
	mkfs.ext4 -q -F try.img || { skip 'file systems lose their power' 'no mkfs.ext4'; return; }
	if ! mount -o loop try.img "$M" 2>/dev/null; then
		skip 'file systems lose their power' 'kernel has no loop device for us'
		return
	fi
	if "$fsdown" "$M" plain 2>/dev/null; then
		recipes="$recipes plain logflush"
	else
		skip 'file systems lose their power' 'kernel does not shut ext4 down'
	fi
	umount "$M"
	if "$blocklog" serve try.img log fuse 2>/dev/null; then
		umount fuse
		recipes="$recipes replayed"
	else
		skip 'a disk that logs' 'kernel has no FUSE for us'
	fi
}

# rings RECIPE: an activation whose timer ends while there is no power is undone by whatever comes first afterwards
rings()
{
	recipe=$1 mistake='' kind=component
	case_of activate
	begin && cut_at 0 before "$SLIPWAY" install activate issu --auto-abort 2s || return 1
	[ "$(at)" = '2/1 activated' ] || { at; return 1; }
	sleep 2.1
	"$SLIPWAY" install label committed x -n e >said 2>&1
	now=$(at)
	umount "$M" 2>/dev/null || :
	[ "$now" = '1/1 none' ] || { echo "$now"; cat said; return 1; }
	has 'timer has ended' said
}

# later BOOT_S WALL_S: from now on the program runs that much later by the clock that counts from the boot, and by the one on the wall
later()
{
	printf '#!/bin/sh\nexec unshare -T -f --boottime %s --monotonic %s env LD_PRELOAD="%s" WALLCLOCK=%s "%s" "$@"\n' \
		"$1" "$1" "$wallclock" "$2" "$program" >later
	chmod +x later
	SLIPWAY=$T/later
}

# runs_on LEAST MOST: the new version does, after a command that changes something, and so many minutes are left
runs_on()
{
	"$SLIPWAY" install label committed x -n e >said 2>&1
	[ "$(at)" = '2/1 activated' ] || { at; cat said; return 1; }
	"$SLIPWAY" show issu state detail -n e --json >left.json || return 1
	left=$(sed -n 's/^ *"timer_left_ms": \(-*[0-9]*\),*$/\1/p' left.json)
	{ [ "$left" -le $(($2 * 60000)) ] && [ "$left" -gt $(($1 * 60000)) ]; } || { echo "left: $left ms, not $1 to $2 minutes"; return 1; }
}

went_back()
{
	"$SLIPWAY" install label committed x -n e >said 2>&1
	now=$(at)
	[ "$now" = '1/1 none' ] || { echo "$now"; cat said; return 1; }
	has 'timer has ended' said && at >/dev/null && clean "$now" && host_is "$now"
}

# By nobody's hand but the agent's.
agent_goes_back()
{
	"$SLIPWAY" agent >agent.log 2>&1 &
	agent=$!
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
		now=$(at)
		[ "$now" != '1/1 none' ] || break
		sleep 0.2
	done
	"$SLIPWAY" agent stop >>said 2>&1
	wait "$agent"
	[ "$now" = '1/1 none' ] && has 'timer has ended' agent.log && clean "$now" && host_is "$now" && return
	echo "$now"
	cat agent.log
	return 1
}

# in_one_boot: the clock on the wall means nothing
in_one_boot()
{
	later 1200 36000 && runs_on 38 40 || return 1
	later 2400 -36000 && runs_on 18 20 || return 1
	later 3660 -36000 && went_back
}

# in_another_boot: half an hour later, whose uptime begins anew; then its own clock counts, and the one on the wall may step
in_another_boot()
{
	begun=$((5 - up))
	later "$begun" 1800 && another_boot && runs_on 28 30 || return 1
	later $((begun + 600)) -36000 && runs_on 18 20 || return 1
	later $((begun + 1860)) -36000 && went_back
}

# in_the_past: whose clock has forgotten the time gets no more than there was
in_the_past()
{
	begun=$((5 - up))
	later "$begun" -360000 && another_boot && runs_on 58 60 || return 1
	later $((begun + 3660)) -360000 && went_back
}

# too_late: it ended while there was no power, and whoever comes first sees to it
too_late()
{
	later $((5 - up)) 3660 && another_boot && went_back
}

too_late_for_the_agent()
{
	later $((5 - up)) 3660 && another_boot && agent_goes_back
}

# boots RECIPE WHICH: an activation with an hour, then the power goes, and it is that time
boots()
{
	recipe=$1 mistake='' kind=component
	SLIPWAY=$program
	unshare -T -f --boottime 1 true 2>/dev/null || { echo 'kernel has no time namespaces'; return 77; }
	case_of activate
	begin && cut_at 0 before "$SLIPWAY" install activate issu --auto-abort 1h || return 1
	up=$(cut -d. -f1 /proc/uptime)
	"$2"
	boots_rc=$?
	SLIPWAY=$program
	umount "$M" 2>/dev/null || :
	return "$boots_rc"
}

# Each recipe with a program that it must catch.
catches()
{
	kind=component
	for recipe in $recipes; do
		sides=before first=1 step=20 flush_step=1 seeds='1 2'
		[ "$recipe" != killed ] || step=1
		[ "$recipe" != failed ] || step=1 sides=EIO
		case $recipe in
		killed) t 'killed: a rename in two steps is found' finds killed activate torn ;;
		failed) t 'failed: a program that takes what failed for done is found' finds failed activate deaf ;;
		*) t "$recipe: a program that does not sync is found" finds "$recipe" add nosync ;;
		esac
	done
}

main()
{
	: >points
	can_cut
	[ -n "$recipes" ] || done_testing
	FAULT=x "$SLIPWAY" --root "$T/x" channel add x >said 2>&1
	grep -q "FAULT='x'" said || { fail "'$SLIPWAY' is of the fault build"; diag <said; done_testing; }
	sweep_kind component
	sweep_kind no-component
	for recipe in $recipes; do
		[ "$recipe" = replayed ] || [ "$recipe" = failed ] || ! wanted "timer, $recipe" || t "a timer that ends without power, $recipe" rings "$recipe"
	done
	for recipe in $recipes; do
		wanted "timer, $recipe" || continue
		case $recipe in
		replayed | failed) ;;
		killed) t 'a timer counts from the boot, whatever the clock on the wall says' boots killed in_one_boot ;;
		*)
			for which in in_another_boot in_the_past too_late too_late_for_the_agent; do
				t "a timer after the power went, $recipe: $which" boots "$recipe" "$which"
			done
			;;
		esac
	done
	! wanted mistakes || catches
	echo "# points: $(awk '{ n[$1] += $2; all += $2 } END { for (r in n) printf "%s %d, ", r, n[r]; print "all", all + 0 }' points)"
	done_testing
}
main
