# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# A whole machine for tests: a kernel that boots from a disk of its own, and can lose its power. QEMU, without KVM.
#
#	guest_image             makes ./disk: this system's own programs and libraries, slipway, webd, and what ./files holds
#	boot                    power on; returns when the machine takes commands. A machine that dies at boot gets one more try
#	guest 'COMMAND'         runs one line of shell there; its output, its exit code; 255: the machine does not answer
#	power_cut               as kill -9: what was not on the disk is lost
#	guest_clock SECONDS     the next boot finds the clock (of the battery) there: seconds since 1970
#
# $guest_init is process 1: systemd, or /guest/init, a script that runs /etc/rc.local. ./files are laid into the root folder as they are.
# GUEST_KERNEL is the kernel's image (tools/guest-kernel; ./check sets it). The machine has one processor, its loopback, and no other network.
guest_init=/lib/systemd/systemd
GUEST_MEMORY=384
GUEST_BOOT_SECONDS=400 # on a busy machine; a quiet one needs 3
GUEST_IDLE_SECONDS=30 # so long without work only a machine waits that will not come up
GUEST_COMMAND_SECONDS=400
BUILD_ROOT=${BUILD_ROOT:-$SOURCE_ROOT/build}
guest_pid=
guest_n=0
guest_base=
exec 8>&2 # t() shows what a failed test has said; what is told here is told in any case

guest_need()
{
	[ "$(uname -m)" = x86_64 ] || skip_all 'kernel: the machines of this test are x86_64'
	need qemu-system-x86_64 mke2fs ip tar bzip2 ldd
	GUEST_KERNEL=${GUEST_KERNEL:-$("$SOURCE_ROOT/tools/guest-kernel" 2>/dev/null)}
	[ -r "$GUEST_KERNEL" ] || skip_all "no kernel to boot ('tools/guest-kernel' fetches one)"
	[ -x /lib/systemd/systemd ] || skip_all 'no /lib/systemd/systemd'
	trap 'power_cut; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
}

# -- the disk -------------------------------------------------------------------------------------------------------------

guest_programs='bash cat cp date env grep head ip kill ln ls mkdir mount ps rm sed seq setsid sh sleep stty sync systemctl systemd-run
	journalctl tail tee test touch umount'
guest_daemons='systemd systemd-journald systemd-shutdown'
guest_units='basic emergency final local-fs local-fs-pre multi-user network paths reboot rescue shutdown slices sockets swap sysinit
	timers umount'
# what slipway asks for when it needs it
guest_libraries='libarchive.so.13 libcrypto.so.3 libssl.so.3 libcurl.so.4 libsqlite3.so.0 libyaml-0.so.2 libz.so.1 libzstd.so.1 libbz2.so.1.0'

# guest_copy FILE [AS]: a program or library and all that it is linked with
guest_copy()
{
	mkdir -p "$T/tree/$(dirname "${2:-$1}")"
	cp -L "$1" "$T/tree/${2:-$1}"
	ldd "$1" 2>/dev/null | grep -o '/[^ ]*' >>"$T/linked"
}

guest_libraries()
{
	for guest_f in $guest_libraries; do
		guest_copy "$(ldconfig -p | sed -n "s,^[[:space:]]*$guest_f .*x86-64.* => ,,p" | head -n 1)" "lib/x86_64-linux-gnu/$guest_f"
	done
	sort -u "$T/linked" | while read -r guest_f; do
		case $guest_f in
		*/ld-linux*) cp -L "$guest_f" "$T/tree/usr/lib64/" ;;
		*/systemd/*) mkdir -p "$T/tree/usr/lib/x86_64-linux-gnu/systemd" && cp -L "$guest_f" "$T/tree/usr/lib/x86_64-linux-gnu/systemd/" ;;
		*) cp -L "$guest_f" "$T/tree/usr/lib/x86_64-linux-gnu/" ;;
		esac
	done
}

# The hand of the test in the machine: commands come and answers go over its second serial line.
guest_shell()
{
	cat >"$T/tree/guest/shell" <<-'X'
		#!/bin/bash
		exec </dev/ttyS1 >/dev/ttyS1 2>&1
		stty raw -echo
		echo "@@ready"
		while read -r n command; do
			bash -c "$command" </dev/null
			echo "@@$n $?"
		done
	X
	chmod +x "$T/tree/guest/shell"
	cat >"$T/tree/usr/lib/systemd/system/guest-shell.service" <<-'X'
		[Unit]
		DefaultDependencies=no
		[Service]
		ExecStart=/guest/shell
		Environment=HOME=/root PATH=/guest:/usr/bin SLIPWAY_ROOT=/srv/slipway
		KillMode=process
	X
	mkdir -p "$T/tree/usr/lib/systemd/system/sysinit.target.wants"
	ln -s ../guest-shell.service "$T/tree/usr/lib/systemd/system/sysinit.target.wants/"
}

guest_systemd()
{
	for guest_f in $guest_daemons; do
		guest_copy "/lib/systemd/$guest_f" "lib/systemd/$guest_f"
	done
	for guest_f in $guest_units; do
		cp "/lib/systemd/system/$guest_f.target" "$T/tree/lib/systemd/system/"
	done
	cp /lib/systemd/system/systemd-journald*.s* /lib/systemd/system/systemd-reboot.service "$T/tree/lib/systemd/system/"
	mkdir -p "$T/tree/lib/systemd/system/sockets.target.wants"
	for guest_f in systemd-journald.socket systemd-journald-dev-log.socket; do
		ln -s "../$guest_f" "$T/tree/lib/systemd/system/sockets.target.wants/"
	done
	ln -s ../systemd-journald.service "$T/tree/lib/systemd/system/sysinit.target.wants/"
	ln -s multi-user.target "$T/tree/lib/systemd/system/default.target"
}

# Process 1 of a host without systemd: what has ended is waited for by bash itself.
guest_plain_init()
{
	cat >"$T/tree/guest/init" <<-'X'
		#!/bin/bash
		export PATH=/guest:/usr/bin HOME=/root SLIPWAY_ROOT=/srv/slipway
		mount -t devtmpfs dev /dev
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mount -t tmpfs run /run
		exec </dev/null >/dev/console 2>&1
		ip link set lo up
		setsid /guest/shell &
		[ ! -x /etc/rc.local ] || /etc/rc.local
		while :; do sleep 1; done
	X
	chmod +x "$T/tree/guest/init"
}

guest_image()
{
	: >"$T/linked"
	for guest_f in dev etc guest proc root run srv sys tmp usr/bin usr/lib/systemd/system usr/lib64 usr/lib/x86_64-linux-gnu var/log; do
		mkdir -p "$T/tree/$guest_f"
	done
	for guest_f in bin sbin lib lib64; do
		ln -s "usr/$guest_f" "$T/tree/$guest_f"
	done
	ln -s bin "$T/tree/usr/sbin"
	ln -s ../run "$T/tree/var/run"
	for guest_f in $guest_programs; do
		guest_copy "$(env which "$guest_f" 2>/dev/null || command -v "$guest_f")" "bin/$guest_f"
	done
	guest_copy "$SLIPWAY" guest/slipway
	guest_copy "$BUILD_ROOT/tests/webd" guest/webd
	guest_shell
	guest_plain_init
	guest_systemd
	guest_libraries
	echo root:x:0:0:root:/root:/bin/bash >"$T/tree/etc/passwd"
	echo root:x:0: >"$T/tree/etc/group"
	echo 0123456789abcdef0123456789abcdef >"$T/tree/etc/machine-id"
	echo 'ID=guest' >"$T/tree/etc/os-release"
	[ ! -d "$T/files" ] || cp -R "$T/files/." "$T/tree/"
	rm -f "$T/disk"
	mke2fs -q -t ext4 -E root_owner=0:0,lazy_itable_init=0 -d "$T/tree" "$T/disk" 512m >/dev/null && rm -rf "$T/tree"
}

# -- power ----------------------------------------------------------------------------------------------------------------

guest_clock()
{
	guest_base=$(date -u -d "@$1" +%Y-%m-%dT%H:%M:%S)
}

power_cut()
{
	[ -n "$guest_pid" ] || return 0
	kill -9 "$guest_pid" 2>/dev/null
	wait "$guest_pid" 2>/dev/null
	guest_pid=
	kill "$guest_cat" 2>/dev/null
	wait "$guest_cat" 2>/dev/null
	return 0
}

# guest_power_on WORDS: at the end of its kernel's command line
#
# maxcpus=2, though one processor is all it ever has: else TCG leaves the memory barriers out of the code that it makes of the guest's, and
# QEMU's other thread, which is the disk, at times misses that there is something to do for it. Then kernel and disk wait for each other.
guest_power_on()
{
	rm -f "$T/line.in" "$T/line.out"
	mkfifo "$T/line.in" "$T/line.out"
	: >"$T/said"
	qemu-system-x86_64 -M pc -cpu max -accel tcg -smp 1,maxcpus=2 -m "$GUEST_MEMORY" -nodefaults -no-reboot -display none -nic none \
		-kernel "$GUEST_KERNEL" \
		-append "root=/dev/nvme0n1 rw console=ttyS0 no_timer_check panic=-1 mitigations=off init=$guest_init $1" \
		-drive "file=$T/disk,format=raw,if=none,id=d,cache=writeback" -device nvme,drive=d,serial=d \
		-rtc "base=${guest_base:-utc},clock=host" \
		-serial "file:$T/console" -chardev "pipe,id=line,path=$T/line" -serial chardev:line >"$T/qemu" 2>&1 &
	guest_pid=$!
	cat "$T/line.out" >>"$T/said" &
	guest_cat=$!
	guest_base=
}

# Of processor time, since QEMU began.
guest_ticks()
{
	sed 's/.*) //' "/proc/$guest_pid/stat" 2>/dev/null | awk '{ print $12 + $13 }'
}

# guest_tell WHAT: what is wrong with the machine, and what is known of why
guest_tell()
{
	{
		echo "$1; its clock began at ${guest_again:-the time of day}; load here: $(cat /proc/loadavg)"
		echo "QEMU has used $(guest_ticks) ticks of processor time ($(getconf CLK_TCK) are a second), 5 s later $(sleep 5; guest_ticks)"
		tail -n 200 "$T/console" "$T/qemu"
	} | diag 2>&8
}

# guest_wait SECONDS PATTERN [IDLE]: until the machine has said a line that begins so; given up when it did nothing for IDLE seconds
guest_wait()
{
	guest_i=0
	guest_before=-1000
	while [ "$guest_i" -lt $(($1 * 10)) ]; do
		! grep -q "^$2" "$T/said" || return 0
		grep -qs '^State:.[^Z]' "/proc/$guest_pid/status" || return 1 # QEMU has ended: the kernel panicked
		if [ -n "${3-}" ] && [ $((guest_i % ($3 * 10))) = 0 ]; then
			guest_now=$(guest_ticks)
			[ "${guest_now:-0}" -ge $((guest_before + 10)) ] || return 1
			guest_before=${guest_now:-0}
		fi
		sleep 0.1
		guest_i=$((guest_i + 1))
	done
	return 1
}

boot()
{
	guest_again=$guest_base
	guest_idle=$GUEST_IDLE_SECONDS
	for guest_try in 'quiet loglevel=5' 'loglevel=7 systemd.log_level=info systemd.log_target=console systemd.show_status=yes'; do
		guest_base=$guest_again
		guest_power_on "$guest_try"
		! guest_wait "$GUEST_BOOT_SECONDS" @@ready "$guest_idle" || return 0
		guest_tell "the machine did not come up ($guest_try)"
		power_cut
		guest_idle=
	done
	return 1
}

guest()
{
	[ -n "$guest_pid" ] || { echo 'the machine is off'; return 255; }
	guest_n=$((guest_n + 1))
	: >"$T/said"
	printf '%s %s\n' "$guest_n" "$1" >"$T/line.in"
	guest_wait "$GUEST_COMMAND_SECONDS" "@@$guest_n " || { guest_tell "the machine does not answer: $1"; return 255; }
	sed "/^@@$guest_n /,\$d" "$T/said"
	return "$(sed -n "s/^@@$guest_n \([0-9]*\).*/\1/p" "$T/said")"
}

# -- what runs there ------------------------------------------------------------------------------------------------------

# guest_server VERSION [OPTION]: a package with the example server, on port 80, in ./files
guest_server()
{
	mkdir -p stage/bin stage/share/slipway/component files/guest
	printf '#!/bin/sh\nexec /guest/webd "$@"\n' >stage/bin/web
	chmod +x stage/bin/web
	cat >stage/share/slipway/component/web.yml <<-X
		services:
		  web:
		    command: [bin/web, --version, '$1'${2:+, $2}]
		    ready: notify
		    sockets: {http: '127.0.0.1:80', health: private}
		    health:
		      interval: 200ms
		      probes: [{http: {address: health, path: /health}}, {http: {address: http, path: /health}}]
	X
	package stage web "$1"
	mv "web-$1-0.tar.bz2" files/guest/
}

# left_between LEAST MOST: seconds of the auto-abort timer
left_between()
{
	guest 'slipway show issu state detail -n e' >shown || return 1
	left=$(sed -n 's/.*remaining time before rollback: \([0-9]*\):\([0-9]*\):\([0-9]*\).*/\1 \2 \3/p' shown |
		awk '{ print $1 * 3600 + $2 * 60 + $3 }')
	[ -n "$left" ] && [ "$left" -ge "$1" ] && [ "$left" -le "$2" ] && return 0
	echo "'$left' seconds are left, not $1 to $2"
	cat shown
	return 1
}

# guest_says PATTERN COMMAND: it prints a line that matches
guest_says()
{
	guest "$2" >shown || { cat shown; return 1; }
	has "$1" shown
}

# Programs in the machine for what is asked for often.
#	answers VERSION [SECONDS]    the server of that version does, at last
#	at-rest [SECONDS]            no operation goes on, at last
#	agent-runs                   an agent does, at last
#	clock-by SECONDS             sets the clock
guest_helpers()
{
	mkdir -p files/guest
	cat >files/guest/answers <<-'X'
		#!/bin/bash
		while ((SECONDS <= ${2:-1})); do
			got=
			if exec 3<>/dev/tcp/127.0.0.1/80; then
				printf 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
				got=$(tail -n 1 <&3)
				exec 3>&-
			fi 2>/dev/null
			[ "${got%% *}" != "$1" ] || exit 0
			sleep 0.2
		done
		echo "'$got' serves, not '$1'"
		exit 1
	X
	cat >files/guest/at-rest <<-'X'
		#!/bin/bash
		while ((SECONDS <= ${1:-1})); do
			slipway show issu state detail -n e >/tmp/state && grep -q 'No .* operation is in progress' /tmp/state && exit 0
			sleep 0.5
		done
		cat /tmp/state
		exit 1
	X
	cat >files/guest/agent-runs <<-'X'
		#!/bin/bash
		while ((SECONDS <= 120)); do
			slipway status 2>&1 | tee /tmp/status | grep -q '^agent ' && exit 0
			sleep 0.5
		done
		cat /tmp/status /var/log/agent
		exit 1
	X
	cat >files/guest/clock-by <<-'X'
		#!/bin/bash
		date -s "@$(($(date +%s) + $1))"
	X
	chmod +x files/guest/*
}
