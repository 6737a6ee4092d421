# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Builds on bad days: full and read-only disks, other file systems, strange contexts, clocks that jump, builders that are killed.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
. "$SOURCE_ROOT/tests/lib/builds.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need_builds
t 'has a base image' builds_base
mounted=
trap 'for d in $mounted; do umount -l "$d" 2>/dev/null; done; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

build()
{
	ends 0 "$SLIPWAY" build "$@"
}

nothing_left()
{
	builds_clean "$1" || return 1
	left=$(ls "$1/build/tmp")
	[ -z "$left" ] || { echo "left in tmp: $left"; return 1; }
}

# Contexts.
mkdir -p odd/deep
cat >odd.spec <<'END'
((from base) (copy (src .) (dst /odd)) (run (shell "cd /odd && find . | LC_ALL=C sort | tr '\\n' '|'; ls -i a hard | cut -d' ' -f1 | uniq | wc -l; stat -c '%s %b' sparse | sed 's/ .* //'")))
END
(
	cd odd || exit 1
	printf x >"$(printf 'new\nline')"
	printf x >"$(printf 'bad\377utf8')"
	printf x >' blank '
	printf x >'-rf'
	printf x >"\"quotes\"\\"
	printf x >a
	ln a hard
	ln -s . self
	ln -s loop2 loop1
	ln -s loop1 loop2
	ln -s ../../../etc/passwd out
	truncate -s 100M sparse
	mkdir -p empty deep/deeper && ln -s .. deep/deeper/up
	name=$(printf '%0255d' 0)
	printf x >"$name"
) || exit 1
t 'strange names, links in circles, a file with a hole' build -f odd.spec odd
t 'are as they were' has 'hard' out
cp out before
t 'and the same again is cached' build -f odd.spec odd
t 'with the same ids' [ "$(grep -c 'from cache' out)" = 3 ]

i=0
while [ "$i" -lt 400 ]; do
	mkdir "odd/long$i" 2>/dev/null
	i=$((i + 1))
done
path=odd/chain
while [ "${#path}" -lt 3800 ]; do
	mkdir -p "$path"
	path=$path/ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
done
t 'folders as deep as a path goes' build -f odd.spec odd
rm -rf odd/chain odd/long*

mkdir special
mkfifo special/pipe
t 'a pipe in the context' must_fail 1 "$SLIPWAY" build -f odd.spec special
t 'is named' has 'pipe' err
rm special/pipe
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("special/socket")'
t 'a socket' must_fail 1 "$SLIPWAY" build -f odd.spec special
t 'is named' has 'socket' err
rm special/socket
if [ "$(id -u)" = 0 ] && mknod special/device c 1 3 2>/dev/null; then
	t 'a device' must_fail 1 "$SLIPWAY" build -f odd.spec special
	t 'is named' has 'device' err
	rm special/device
fi
t 'a context that is not there' must_fail 1 "$SLIPWAY" build -f odd.spec nowhere
t 'nothing is left' nothing_left "$SLIPWAY_ROOT"


mkdir holes
truncate -s 8M holes/all && truncate -s 8M holes/some
echo middle | dd of=holes/some bs=1M seek=3 conv=notrunc status=none
echo end | dd of=holes/some bs=1M seek=7 conv=notrunc status=none
cat >holes.spec <<'END'
((from base) (copy (src .) (dst /h)) (run (shell "cd /h; sha256sum all some; stat -c %s all some; test $(stat -c %b some) -lt 4000 && echo holes")))
END
t 'files with holes' build -f holes.spec holes
t 'are whole' has "$(sha256sum <holes/some | cut -c1-64)" out
t 'and the other' has "$(sha256sum <holes/all | cut -c1-64)" out
t 'and have holes' has '^holes$' out

# Clocks that are set while a step runs, by ten years: what takes time is timed by the clock that nobody sets.
WALLCLOCK=${BUILD_ROOT:-$SOURCE_ROOT/build}/tests/libwallclock.so
at_clock()
{
	WALLCLOCK_FILE=$T/clock LD_PRELOAD=$WALLCLOCK timeout 30 "$SLIPWAY" "$@"
}
# stepped BEFORE AFTER CODE WORDS...: a build begins at one clock and ends at another
stepped()
{
	echo "$1" >clock
	after=$2
	code=$3
	shift 3
	: >out
	{ at_clock build -f step.spec "$@" >out 2>&1; echo $? >stepped.code; } &
	await grep -q '^begun$' out
	echo "$after" >clock
	wait $!
	[ "$(cat stepped.code)" = "$code" ] || { echo "exit status $(cat stepped.code)"; cat out; return 1; }
}
if grep -q __asan_init "$SLIPWAY"; then
	skip 'a clock that is set' 'build with a sanitizer: takes no library along'
else
	echo '((from base) (run (shell "echo begun; sleep 1; echo ended")))' >step.spec
	t 'a clock that is set forward ends no step' stepped 0 315360000 0 --time 20
	t 'which is saved' has 'saved as' out
	layer=$(sed -n 's/.*saved as "\(.*\)".*/\1/p' out)
	echo 0 >clock
	t 'a layer from the future is found' sh -c '"$SLIPWAY" build -f step.spec >out 2>&1 && grep -q "using \"$1\" from cache" out' sh "$layer"
	t 'is listed' sh -c '"$SLIPWAY" build list | grep -q "$1"' sh "$(echo "$layer" | cut -c 1-12)"
	t 'is not old' sh -c '"$SLIPWAY" build gc --older-than 1h >out && "$SLIPWAY" build list | grep -q "$1"' sh "$(echo "$layer" | cut -c 1-12)"
	t 'and can be removed' sh -c '"$SLIPWAY" build gc --max-size 1 >out && ! "$SLIPWAY" build list | grep -q "$1"' sh "$(echo "$layer" | cut -c 1-12)"
	echo '((from base) (run (shell "echo begun; sleep 25; echo ended")))' >step.spec
	t 'one that is set back lets none take longer' stepped 0 -315360000 1 --time 1
	t 'which is told' has 'it took longer than 1 s' out
	t 'nothing is left' nothing_left "$SLIPWAY_ROOT"
fi

# Other file systems, full ones, ones that cannot be written to.
cat >two.spec <<'END'
((from base) (run (shell "echo one >/one; ln /one /hard; mkdir /d; chmod 2750 /d; chown 5:6 /d /one; ln -s one /l")) (run (shell "rm /hard; cat /one; stat -c '%n %a %u %g' /d /one; echo two >>/one; mv /d /e"))
 (run (shell "cat /one; ls -d /d /e /hard 2>&1; readlink /l")))
END
mkdir context

# on KIND MOUNT...: the folder $T/KIND is such a file system
on()
{
	mkdir -p "$T/$1"
	mounted="$T/$1 $mounted"
	shift
	"$@" >mount.log 2>&1
}

# agree ROOT: builds as on the file system of the tests
agree()
{
	"$SLIPWAY" --root "$1" image import base "$T/base.tar" >import.log 2>&1 || { cat import.log; return 1; }
	ends 0 "$SLIPWAY" --root "$1" build -f two.spec context || return 1
	sed -n '/---> \|^Got/!p' out >other.log
	diff -u own.log other.log || return 1
	ends 0 "$SLIPWAY" --root "$1" build -f two.spec context && [ "$(grep -c 'from cache' out)" = 4 ] && nothing_left "$1"
}
t 'here' build -f two.spec context
sed -n '/---> \|^Got/!p' out >own.log
t 'its log has what it printed' has '^/d 2750 [05] [06]' own.log

if [ "$(id -u)" = 0 ] && on tmpfs mount -t tmpfs -o size=200m tmpfs "$T/tmpfs"; then
	t 'the same on tmpfs' agree "$T/tmpfs/root"
	for kind in ext4 btrfs xfs; do
		command -v "mkfs.$kind" >/dev/null || { skip "the same on $kind" "build: no mkfs.$kind"; continue; }
		truncate -s 400M "$kind.img"
		if mkfs.$kind -q "$kind.img" >mkfs.log 2>&1 && on "$kind" mount -o loop "$kind.img" "$T/$kind"; then
			t "the same on $kind" agree "$T/$kind/root"
		else
			skip "the same on $kind" "kernel: no $kind, or no loop device"
		fi
	done

	on small mount -t tmpfs -o size=20m tmpfs "$T/small"
	t 'a disk that is nearly full' agree "$T/small/root"
	cat >fill.spec <<'END'
((from base) (run (shell "echo begun; head -c 100000000 /dev/zero >/big; echo status $?")) (run (shell "head -c 100000000 /dev/zero >/big2 || exit 7")))
END
	t 'is filled by a step' ends 1 "$SLIPWAY" --root "$T/small/root" build -f fill.spec context
	t 'which is told so' has 'No space left on device' out
	t 'nothing of it is left' nothing_left "$T/small/root"
	t 'and it has room again' agree "$T/small/root"
	head -c 100000000 /dev/zero >"$T/small/filler" 2>/dev/null
	t 'a disk that is full before' ends 1 "$SLIPWAY" --root "$T/small/root" build -f fill.spec context
	t 'is told' has 'file system of .* is full\|No space left on device; .*build gc. makes room' out
	t 'what is there is found all the same' ends 0 "$SLIPWAY" --root "$T/small/root" build -f two.spec context
	rm "$T/small/filler"
	t 'builds when there is room' agree "$T/small/root"
	t 'an import on a full disk' must_fail 1 sh -c 'head -c 100000000 /dev/zero >"$T/small/filler" 2>/dev/null; "$SLIPWAY" --root "$T/small/root" image import more "$T/base.tar" --env A=b'
	rm -f "$T/small/filler"
	t 'leaves nothing' nothing_left "$T/small/root"

	mount -o remount,ro "$T/ext4" 2>/dev/null && {
		t 'a root that cannot be written to: what is there' ends '0 1' "$SLIPWAY" --root "$T/ext4/root" build -f two.spec context
		t 'what is not there' must_fail 1 "$SLIPWAY" --root "$T/ext4/root" build -f fill.spec context
		t 'is told' has 'Read-only file system' err
	}
else
	skip 'other file systems' 'kernel: mounting needs root'
fi

# Two users at one root. Files of root are the owner's there: root, too, would build something else under the same id.
if [ "$(id -u)" = 0 ]; then
	chown 4711 "$SLIPWAY_ROOT/build"
	find "$SLIPWAY_ROOT" | sort >before
	for words in 'build -f two.spec context' 'build list' 'build gc --older-than 0s' 'image list' "image import more $T/base.tar"; do
		# shellcheck disable=SC2086 # words
		t "another user's root: $words" must_fail 1 "$SLIPWAY" $words
		t 'whose it is' has "/build' belongs to user '4711', and layers are one user's: run this as that user" err
	done
	t 'nothing has changed in it' sh -c 'find "$SLIPWAY_ROOT" | sort | diff before -'
	chown 0 "$SLIPWAY_ROOT/build"
	t 'its owner builds' build -f two.spec context
else
	skip "another user's root" 'kernel: only root may give a folder away'
fi

t 'all of it can be removed' builds_remove

done_testing
