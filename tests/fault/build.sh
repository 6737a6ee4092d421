# SPDX-License-Identifier: Apache-2.0
# A build of two steps fails, and each of its processes vanishes, at each state-changing call: in the client, in the runner of a step, in what
# writes a copy. Each time no half layer has a name: what is cached holds what it should, the next build is right, and nothing is left over. On the file system of the tests, on btrfs and on xfs.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need python3
. "$SOURCE_ROOT/tests/lib/specs.sh"

mkdir -p ctx/d
seq 1 20000 >ctx/d/long
ln -s long ctx/d/link
spec two.spec '(copy (src .) (dst /c/))' '(run (cache (k (target /k))) (shell "cat /c/n /c/d/link >/sum; echo x >>/k/x; echo ran"))'
spec three.spec '(copy (src .) (dst /c/))' '(run (cache (k (target /k))) (shell "cat /c/n /c/d/link >/sum; echo x >>/k/x; echo ran"))' \
	'(run (shell "sha256sum </sum; stat -c %a /c/d"))'

# whole N: a build without faults, on top of what the one with faults left, reads all of it
whole()
{
	want=$({ echo "$1"; cat ctx/d/long; } | sha256sum)
	if ! timeout 60 "$SLIPWAY" build -f three.spec ctx >out 2>err || ! grep -qxF "$want" out || ! grep -qx 755 out || ! grep -qx ran out; then
		echo 'the next build:'
		cat out err
		return 1
	fi
}

# fault KIND N: the exit status is left in ./rc
fault()
{
	echo "$1 $2" >ctx/n
	FAULT=$1:$2 timeout 60 "$SLIPWAY" build --no-cache -f two.spec ctx >faulted 2>&1
	echo $? >rc
	case $(cat rc) in
	0 | 1 | 99) ;;
	*) echo "exit status $(cat rc)"; cat faulted; return 1 ;;
	esac
	[ "$(cat rc)" != 0 ] || grep -q '^Got: "' faulted || { cat faulted; return 1; }
	whole "$1 $2" || { echo 'after:'; cat faulted; return 1; }
	await idle || { ls -lR "$STORE/run" "$STORE/tmp"; return 1; }
}

# sweep WORDS STRIDE: until so many in a row did not notice: clients and runners count each for itself
sweep()
{
	for kind in fail stop; do
		n=1
		unnoticed=0
		noticed=0
		while [ "$unnoticed" -lt 25 ]; do
			t "$1$kind at call $n" fault $kind $n
			[ "$test_failed" -lt 5 ] || break
			if [ "$(cat rc)" = 0 ]; then
				unnoticed=$((unnoticed + 1))
			else
				unnoticed=0
				noticed=$((noticed + 1))
			fi
			n=$((n + $2))
		done
		t "$1$kind: a sweep that meets something" test "$noticed" -gt 15
	done
}
sweep '' 1

# on_disk KIND STORE STRIDE: the same with the root on such a file system
disk=
trap '[ -z "$disk" ] || umount -l "$disk"; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
on_disk()
{
	command -v "mkfs.$1" >/dev/null || { skip "on $1" "file system: no mkfs.$1"; return; }
	mkdir -p "$T/$1" && truncate -s 4G "$T/$1.img" || exit 1
	if ! "mkfs.$1" -q "$T/$1.img" >said 2>&1 || ! mount -o loop "$T/$1.img" "$T/$1" 2>>said; then
		skip "on $1" "kernel: no $1, or no loop device"
		return
	fi
	disk=$T/$1
	SLIPWAY_ROOT=$disk/root
	STORE=$SLIPWAY_ROOT/build
	mkdir "$SLIPWAY_ROOT" && echo "build: {store: $2}" >"$SLIPWAY_ROOT/config.yml"
	t "an image on $1" runs "$SLIPWAY" image import base base.tar
	sweep "$1: " "$3"
	await umount "$disk" && disk= # what syncs behind the last build may still be at it
	rm "$T/$1.img"
}
if [ "$(id -u)" = 0 ]; then
	PATH=$PATH:/usr/sbin:/sbin
	on_disk btrfs btrfs 1
	on_disk xfs copy 5 # most calls copy the image, file by file
else
	skip 'on other file systems' 'kernel: only root may mount'
fi

done_testing
