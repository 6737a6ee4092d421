# SPDX-License-Identifier: Apache-2.0
# Sandboxes on another machine than this one: control groups of the second kind alone, Linux 6.1, no overlay.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/guest.sh"
guest_need
need unshare awk setpriv

guest_programs="$guest_programs awk cut chmod chown dd find hostname id mknod readlink rmdir setpriv sort stat tr true unshare wc"
guest_init='/guest/init cgroup_no_v1=all'
mkdir -p files/etc files/guest "files$BUILD_ROOT/tests"
cp "$BUILD_ROOT/tests/sandbox_run" "$BUILD_ROOT/tests/sandbox_escape" files/guest/
cp "$BUILD_ROOT/tests/escape" "files$BUILD_ROOT/tests/"
cat >files/etc/rc.local <<'X'
#!/bin/sh
mount -t cgroup2 none /sys/fs/cgroup
chmod 1777 /tmp
X
chmod +x files/etc/rc.local
guest_image || exit 1

# passes PROGRAM [WORD]: every test of it that can be run there
passes()
{
	guest "TINY_ROOT=folder /guest/$1 ${2-}" >said || { diag <said; return 1; }
	! grep '^not ok' said && grep -q '^ok' said
}

t 'a machine' boot
t 'with control groups of the second kind alone' guest '[ "$(wc -l </proc/self/cgroup)" = 1 ] && grep -q "^0::/" /proc/self/cgroup'
t 'runs commands' passes sandbox_run
t 'lets none out' passes sandbox_escape
t 'limits memory and processes by group' guest_says '^memory pids$' 'cat /sys/fs/cgroup/cgroup.subtree_control'
t 'and leaves none' guest '[ -z "$(find /sys/fs/cgroup -name "slipway-*")" ]'
done_testing
