# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2015,SC2119,SC2120 # what is shown where one of them fails always succeeds; the sweep gives arguments
# Packages that were built before: while one is kept, used, kept anew, and while what is kept is collected, calls fail, and the process vanishes. Each time:
# what is kept is whole or is not there, the switch has all that it says, the next one works, and nothing half-made outlives `opam cache --gc`.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm # in memory: where it lies does not matter
	export TMPDIR
fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need python3
OPAMROOT=$T/r OPAMYES=1 OPAMROOTISOK=1 LC_ALL=C
export OPAMROOT OPAMYES OPAMROOTISOK LC_ALL
unset OPAMSWITCH OPAM_SWITCH_PREFIX OPAMUTF8 LANG SLIPWAY_OPAM_KEPT
ln -s "$SLIPWAY" opam
kept=$SLIPWAY_ROOT/opam/built
mkdir -p repo/packages/x/x.1 x-1
echo 'opam-version: "2.0"' >repo/repo
echo data >x-1/data
tar -czf x.tgz x-1
cat >repo/packages/x/x.1/opam <<END
opam-version: "2.0"
build: ["sh" "-c" "echo 'share: [\"data\"]' > x.install"]
install: ["sh" "-c" "mkdir -p %{bin}%; echo 'echo hi' > %{bin}%/x; chmod +x %{bin}%/x; ln -s x %{bin}%/y"]
url { src: "file://$T/x.tgz" checksum: "sha256=$(sha256sum <x.tgz | cut -d ' ' -f 1)" }
END
./opam init --bare --no-setup -k local default repo >/dev/null && ./opam switch create sw --empty >/dev/null || exit 1
cp -a r fresh

install()
{
	./opam install -j 1 --disable-sandboxing "$@" x
}
collect()
{
	"$SLIPWAY" opam cache --gc "$@"
}
install >said 2>&1 || { cat said; exit 1; }
cp -a "$kept" full

# What is kept holds what its key and list say.
cat >whole.py <<'END'
import hashlib, os, sys
top = sys.argv[1] + '/pkg'
sha = lambda b: hashlib.sha256(b).hexdigest()
for key in os.listdir(top) if os.path.isdir(top) else []:
    d = '%s/%s/' % (top, key)
    assert sha(open(d + 'key', 'rb').read()) == key, key
    first, lines = open(d + 'list', 'rb').read().split(b'\n', 1)
    assert sha(lines).encode() == first, 'list'
    seen = set()  # folders aside: those above them are made with them
    for line in lines.decode().splitlines():
        what, path = line.split('\t')
        kind, *rest = what.split(' ')
        at = d + 'files/' + path
        if kind != 'D':
            seen.add(path)
        if kind == 'F':
            b = open(at, 'rb').read()
            assert (oct(os.stat(at).st_mode & 0o777)[2:], str(len(b)), sha(b)) == tuple(rest), line
        else:
            assert os.readlink(at) == rest[0] if kind == 'L' else os.path.isdir(at), line
    there = {os.path.relpath(os.path.join(a, n), d + 'files') for a, b, c in os.walk(d + 'files') for n in c}
    assert there == seen, (there, seen)
END

is_there()
{
	[ "$(r/sw/bin/x)" = hi ] && [ "$(r/sw/bin/y)" = hi ] && [ "$(cat r/sw/share/x/data)" = data ]
}

after()
{
	python3 whole.py "$kept" || return 1
	./opam list --installed --short >listed 2>said2 || { echo 'the switch cannot be read'; cat said2; return 1; }
	! grep -qx x listed || is_there || { echo 'installed, and not there'; return 1; }
	rm -rf r
	cp -a fresh r
	install >said2 2>&1 && is_there || { echo 'the next one installs nothing'; cat said2; return 1; }
	python3 whole.py "$kept" && [ "$(find "$kept/pkg" -mindepth 1 -maxdepth 1 | wc -l)" = 1 ] || { echo 'the next one keeps nothing'; return 1; }
	collect --older-than 9d >said2 2>&1 || { cat said2; return 1; }
	[ -z "$(find "$kept/tmp" "$kept/busy" -mindepth 1)" ] && [ ! -e r/sw/.opam-switch/.slipway ] || { echo 'something is left'; find "$kept" r/sw/.opam-switch; return 1; }
}

# sweep MODE FIRST STEP KEPT COMMAND...: from a fresh switch, and what is kept as in that folder
sweep()
{
	mode=$1 n=$2 step=$3 before=$4
	shift 4
	calls=
	while [ -z "$calls" ] || [ "$n" -le "$calls" ]; do
		rm -rf r "$kept"
		cp -a fresh r
		[ ! -d "$before" ] || cp -a "$before" "$kept"
		if [ -z "$calls" ]; then
			rm -f count
			FAULT=count:$T/count "$@" >said 2>&1 || { echo 'fails without a fault'; cat said; return 1; }
			calls=$(awk '{ n += $1 } END { print n }' count)
			[ "$calls" -ge 5 ] || { echo "only $calls calls are counted"; return 1; }
			continue
		fi
		FAULT=$mode:$n "$@" >said 2>&1
		rc=$?
		[ "$rc" -lt 128 ] && after || { echo "$mode:$n of $calls, exit status $rc"; cat said; return 1; }
		n=$((n + step))
	done
}

# In steps, as most calls are those that opam-install.sh sweeps; another start with each mode.
STEP=${STEP:-11}
first=1
for mode in fail stop; do
	t "kept, $mode" sweep $mode $first "$STEP" none install
	t "used, $mode" sweep $mode $first "$STEP" full install
	t "kept anew, $mode" sweep $mode $((first + 1)) "$STEP" full install --build-anew
	t "collected, $mode" sweep $mode 1 1 full collect --older-than 0s
	first=$((first + 2 % STEP))
done
done_testing
