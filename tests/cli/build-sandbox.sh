# SPDX-License-Identifier: Apache-2.0
# slipway build against steps that want to get out, that want everything, and with a builder that is killed: as root and as a user without
# rights. What is tried inside, call by call: tests/unit/sandbox_escape.c.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
image_name=plain
. "$SOURCE_ROOT/tests/lib/specs.sh"
need setpriv unshare mount python3

if ! rootfs tools unshare mount umount mknod kill ps; then exit 1; fi
cp "$BUILD_ROOT/tests/escape" tools/escape
chmod 755 tools/escape
tar -C tools --numeric-owner --owner=0 --group=0 -cf tools.tar .
rm -rf tools
image_name=tools

# For a user without rights: another ROOT, the same image. One word before each command.
as=
start_as()
{
	as=$1
	$as "$SLIPWAY" -q image import tools "$T/tools.tar" >/dev/null
}
build()
{
	$as "$SLIPWAY" build "$@"
}
# nothing_runs WORD: no process of this machine has it among its words
nothing_runs()
{
	! grep -qsaF -- "$1" /proc/[0-9]*/cmdline
}

t 'without a place to try things' must_fail 1 env TMPDIR="$T/nowhere" "$SLIPWAY" build --check
t 'nothing can be had' hasnt 'yes$' out
t 'and it says what to do' has 'TMPDIR names another place' out

attacks()
{
	spec escape.spec '(run (shell "/escape"))' '(user (uid 1000) (gid 1000))' '(run (shell "/escape"))'
	t "$1: a step that tries all it can gets nowhere" runs build -f escape.spec
	t "$1: it did try" test "$(grep -c '^tried [0-9][0-9]' out)" = 2
	t "$1: and got nowhere" hasnt ESCAPED out

	spec bomb.spec '(run (shell "/escape bomb-on"))'
	t "$1: a fork bomb" must_fail 1 build --processes 80 --time 3 -f bomb.spec
	t "$1: is ended by time" has 'took longer than 3 s' err
	t "$1: and gone" await nothing_runs bomb-on

	spec hog.spec '(run (shell "/escape hogs"))'
	t "$1: a memory hog" must_fail 1 build --memory 64MiB --time 60 -f hog.spec
	t "$1: is ended" has 'more than 67 MB of memory' err

	spec disk.spec '(run (shell "while :; do dd if=/dev/zero bs=1M count=8 of=/f$((n += 1)) 2>/dev/null; done"))'
	t "$1: a disk hog" must_fail 1 build --disk 32MiB --time 60 -f disk.spec
	t "$1: is ended" has 'wrote more than 33 MB' err

	spec links.spec '(run (shell "ln -s ../../../../../../.. /top && ln -s ../../../../../tmp /up"))' \
		'(workdir /up/made-by-a-step)' '(run (shell "echo written >/top/made-by-a-step; pwd"))'
	t "$1: links that lead up" runs build -f links.spec
	t "$1: lead nowhere" test ! -e /made-by-a-step -a ! -e /tmp/made-by-a-step 

	spec kill.spec "(run (shell \"echo begun; (sleep 4711.$$ &) ; sleep 4711.$$\"))"
	(exec $as "$SLIPWAY" build -f kill.spec) >killed 2>&1 &
	builder=$!
	t "$1: a step runs" await grep -q '^begun' killed
	kill -9 "$builder"
	wait "$builder" 2>/dev/null
	t "$1: its builder killed, nothing of it runs" await nothing_runs "4711.$$"
	t "$1: nothing is mounted" hasnt "$T" /proc/self/mountinfo
	spec after.spec '(run (shell "echo after"))'
	t "$1: and the next build works" runs build -f after.spec

	spec nested.spec '(run (shell "unshare -Urmpf sh -c \"mount -t proc none /proc && mount -t tmpfs none /tmp && echo nested\""))'
	t "$1: no sandbox in a sandbox" must_fail 1 build -f nested.spec
}

start_as ''
attacks "$(id -un)"
if [ "$(id -u)" = 0 ]; then
	t 'root: but where asked' runs build --nested -f nested.spec
	t 'root: it is one' has '^nested$' out
	chmod 755 "$T"
	mkdir user
	chown 1000:1000 user
	chmod 644 tools.tar
	SLIPWAY_ROOT=$T/user/root
	export SLIPWAY_ROOT
	HOME=$T/user
	t 'a user without rights' start_as 'setpriv --reuid 1000 --regid 1000 --clear-groups'
	attacks user
	t 'user: but where asked' runs build --nested -f nested.spec
fi
done_testing
