#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The commands that change environments, channels and the store fail, and the
# process vanishes, at each state-changing call. Each time: the environment is
# wholly what it was or wholly what it is to be, and runs; list and history
# answer; the exit code is honest; the same command then succeeds.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm # nothing here depends on the disk, and the many syncs take time there
	export TMPDIR
fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need tar bzip2

# stage NAME VERSION: a program that prints VERSION through a library's file
tool()
{
	mkdir -p stage/bin
	printf '#!/bin/sh\ncat "%s/lib/data"\n' "$PLACEHOLDER" >stage/bin/tool
	echo "$1" >stage/bin/note
	chmod +x stage/bin/tool
	package stage tool "$1" "lib =$1"
	mkdir -p stage/lib
	echo "$1" >stage/lib/data
	ln -s data stage/lib/link
	package stage lib "$1"
}

# keep NAME: the root and the channel as they are now, to go back to
keep()
{
	rm -rf "kept-$1"
	mkdir "kept-$1"
	cp -a root ch "kept-$1/" 2>/dev/null || cp -a ch "kept-$1/"
}

back_to()
{
	chmod -R u+w root 2>/dev/null
	rm -rf root ch
	cp -a "kept-$1/." .
}

make_states()
{
	tool 1
	"$SLIPWAY" -q channel publish ch ./*.tar.bz2 || return 1
	rm ./*.tar.bz2
	keep nothing
	"$SLIPWAY" -q env create -n e -c ch tool=1 || return 1
	keep one
	echo polluted >root/env/e/1/lib/polluted
	rm root/env/e/1/lib/data
	echo damaged >root/env/e/1/lib/data
	"$SLIPWAY" env export -n e >e.spr || return 1
	keep damaged
	back_to one
	mkdir new
	(cd new && tool 2) || return 1
	"$SLIPWAY" -q channel publish ch new/*.tar.bz2 || return 1
	keep published
	"$SLIPWAY" -q env update -n e tool=2 || return 1
	keep two
	"$SLIPWAY" -q env update -n e tool=1 && "$SLIPWAY" -q install remove inactive -n e || return 1
	keep garbage
}

# state: what e is now: a version, 'none', or what is wrong with it
state()
{
	"$SLIPWAY" env list >said.list 2>&1 || { echo env list fails: && cat said.list; return; }
	"$SLIPWAY" env history -n e >said.history 2>&1 || grep -q 'no environment' said.history ||
		{ echo env history fails: && cat said.history; return; }
	if ! grep -q '^e ' said.list; then
		echo none
		return
	fi
	"$SLIPWAY" env run -n e -- tool 2>&1 || echo "does not run"
}

# whole: nothing of e is missing, changed or added, and the store is whole
whole()
{
	"$SLIPWAY" env check -n e >said.check 2>&1 || { cat said.check; return 1; }
	"$SLIPWAY" -q store verify
}

# linked: the same, as wrappers and what is on a PATH see it
linked()
{
	if [ -L root/env/e/current ]; then
		root/env/e/current/bin/tool 2>&1
	else
		echo none
	fi
}

# judge RC OLD NEW: is what is there now what the exit code says?
judge()
{
	now=$(state) link=$(linked)
	case $1 in
	0) [ "$now:$link" = "$3:$3" ] || { echo "says done, and e is: $now, by its link: $link"; return 1; } ;;
	1 | 4)
		[ "$now:$link" = "$2:$2" ] ||
			{ echo "says that it failed (exit $1), and e is: $now, by its link: $link"; return 1; }
		[ -s said ] || { echo "fails without a word"; return 1; }
		;;
	5 | 99)
		for is in "$now" "$link"; do
			[ "$is" = "$2" ] || [ "$is" = "$3" ] || { echo "after exit $1, e is: $is"; return 1; }
		done
		;;
	*) echo "exit status $1"; return 1 ;;
	esac
}

# again OLD NEW COMMAND...: the command once more, without a fault
again()
{
	old=$1 new=$2
	shift 2
	"$@" >said.again 2>&1 && return 0
	# done already, though nobody was told: then it must say so, and it must be so
	[ "$old" != "$new" ] && [ "$(state)" = "$new" ] &&
		grep -q -e 'is there already' -e 'no environment' said.again && return 0
	echo "does not work afterwards:"
	cat said.again
	return 1
}

# sweep MODE STATE OLD NEW COMMAND...
sweep()
{
	mode=$1 from=$2 was=$3 becomes=$4
	shift 4
	back_to "$from"
	rm -f count
	FAULT=count:$T/count "$@" >said 2>&1 || { echo "fails without a fault:"; cat said; return 1; }
	calls=$(head -n 1 count)
	[ "$calls" -ge 3 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		back_to "$from"
		FAULT=$mode:$n "$@" >said 2>&1
		rc=$?
		[ "$mode:$rc" != stop:0 ] || [ "$n" -ge $((calls - 2)) ] || { echo "$mode:$n: does not stop"; return 1; }
		judge "$rc" "$was" "$becomes" || { echo "at $mode:$n of $calls:"; cat said; return 1; }
		again "$was" "$becomes" "$@" || { echo "after $mode:$n of $calls, which said:"; cat said; return 1; }
		now=$(state):$(linked)
		[ "$now" = "$becomes:$becomes" ] || { echo "after $mode:$n of $calls and once more: $now"; return 1; }
		[ "$becomes" != none ] || [ ! -e root/env/e ] || { echo "after $mode:$n of $calls: files are left"; return 1; }
		[ "$becomes" = none ] || whole || { echo "after $mode:$n of $calls: not whole"; return 1; }
		n=$((n + 1))
	done
}

# squeeze OLD NEW COMMAND...: with ever more room left on the disk
squeeze()
{
	was=$1 becomes=$2 failures=0
	shift 2
	for room in 0 4 8 12 16 20 24 28 32 40 48 56 64 80 96 128 160 192 256 512; do
		head -c "$((($(df --output=avail -k root | tail -n 1) - room) * 1024))" /dev/zero >root/fill
		"$@" >said 2>&1
		rc=$?
		judge "$rc" "$was" "$becomes" || { echo "with $room KiB:"; cat said; return 1; }
		rm root/fill
		[ "$rc" != 0 ] || break
		grep -q 'No space left\|disk is full' said || { echo "with $room KiB, another reason:"; cat said; return 1; }
		failures=$((failures + 1))
	done
	[ "$failures" -gt 3 ] && [ "$rc" = 0 ] && whole
}

# In a file system of 2 MiB of its own
full_disk()
{
	back_to published
	mkdir -p root
	mount -t tmpfs -o size=2m none root || return 1
	squeeze none 1 "$SLIPWAY" env create -n e -c ch tool=1 &&
		squeeze 1 2 "$SLIPWAY" env update -n e tool=2
}

run_full_disk()
{
	mkdir -p mounted
	unshare -rm mount -t tmpfs none mounted 2>/dev/null ||
		{ echo 'kernel does not let us mount in a namespace of our own'; return 77; }
	unshare -rm sh "$SOURCE_ROOT/tests/fault/env.sh" --full-disk "$T"
}

main()
{
	make_states || { fail 'make the states to begin with'; done_testing; }
	for mode in fail stop; do
		t "env create, $mode" sweep "$mode" nothing none 1 "$SLIPWAY" env create -n e -c ch tool=1
		t "env update, $mode" sweep "$mode" published 1 2 "$SLIPWAY" env update -n e tool=2
		t "install rollback, $mode" sweep "$mode" two 2 1 "$SLIPWAY" install rollback -n e to 1
		t "env remove, $mode" sweep "$mode" two 2 none "$SLIPWAY" env remove -n e
		t "apply --sync --syncmode=delete, $mode" sweep "$mode" damaged damaged 1 \
			"$SLIPWAY" apply e.spr -n e --sync --syncmode=delete
		t "channel publish, $mode" sweep "$mode" one 1 1 "$SLIPWAY" channel publish ch new/tool-2-0.tar.bz2 new/lib-2-0.tar.bz2
		t "store gc, $mode" sweep "$mode" garbage 1 1 "$SLIPWAY" store gc
	done
	t 'a disk that is full' run_full_disk
	done_testing
}

case ${1-} in
--full-disk)
	trap - EXIT
	cd "$2" || exit 1
	rm -rf "$T"
	T=$2 SLIPWAY_ROOT=$2/root
	full_disk
	;;
*) main ;;
esac
