# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# A systemd of our own, the manager of a user: its own units, its own runtime folder below $T, its own control group. $HOME is ours. Sourced.
# /run must be ours, too, and say that systemd runs the host: a script begins with
#
#	if [ -z "${OWN_RUN-}" ] && can_own_run; then in_own_run "$0" "$@"; fi

can_own_run()
{
	unshare -m --propagation private mount -t tmpfs none /run 2>/dev/null
}

in_own_run()
{
	export OWN_RUN=1
	# shellcheck disable=SC2016 # of the inner shell
	exec unshare -m --propagation private sh -c 'mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec sh "$@"' sh "$@"
}

# own_systemd: makes and starts it; fails with the reason in $own_systemd_why.
own_systemd()
{
	own_manager=/lib/systemd/systemd own_manager_pid=''
	own_systemd_why="no $own_manager"
	[ -x "$own_manager" ] || return 1
	export XDG_RUNTIME_DIR="$T/runtime" SYSTEMD_UNIT_PATH="$T/runtime/systemd/transient:$HOME/.config/systemd/user:$T/units"
	unset DBUS_SESSION_BUS_ADDRESS SLIPWAY_SERVICES
	mkdir -m 700 "$XDG_RUNTIME_DIR"
	mkdir -p "$T/units" "$HOME/.config/systemd/user"
	own_systemd_why='no units of systemd'
	cp /usr/lib/systemd/user/*.target /usr/lib/systemd/user/systemd-exit.service "$T/units" || return 1
	own_groups=
	for group in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
		[ -w "$group/cgroup.procs" ] && mkdir "$group/slipway-test.$$" 2>/dev/null && own_groups="$own_groups $group/slipway-test.$$"
	done
	own_systemd_why='kernel: no control group of our own'
	[ -n "$own_groups" ] || return 1
	own_systemd_why='kernel: no systemd of our own can run here'
	start_manager >"$T/manager.why" 2>&1 || { cat "$T/manager.why" >&2; return 1; }
}

start_manager()
{
	# shellcheck disable=SC2016 # of the inner shell
	setsid sh -c '
		for group in '"$own_groups"'; do
			echo $$ >"$group/cgroup.procs" || exit 1
		done
		exec env SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=info "$0" --user
	' "$own_manager" >>"$T/manager.log" 2>&1 &
	own_manager_pid=$!
	for _ in $(seq 100); do
		[ "$(systemctl --user is-system-running 2>/dev/null)" != running ] || return 0
		sleep 0.1
	done
	cat "$T/manager.log"
	return 1
}

stop_manager()
{
	systemctl --user start --no-block exit.target
	wait "$own_manager_pid"
}

# The power is cut: nothing is told, nothing ends by itself.
kill_manager()
{
	for group in $own_groups; do
		[ ! -e "$group/cgroup.kill" ] || echo 1 >"$group/cgroup.kill"
	done
	wait "$own_manager_pid" 2>/dev/null
	rm -rf "$T/runtime/systemd"
}

# Whatever is left of it.
leave_systemd()
{
	[ -z "${own_manager_pid-}" ] || stop_manager >/dev/null 2>&1
	for group in ${own_groups-}; do
		[ ! -e "$group/cgroup.kill" ] || echo 1 >"$group/cgroup.kill"
		sleep 0.1
		find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
	done
}

# show UNIT PROPERTY: its value
show()
{
	systemctl --user show --value --property="$2" "$1"
}

# unit ENV SERVICE: the unit that a boot starts
unit()
{
	for link in "$HOME/.config/systemd/user/default.target.wants/slipway-$1-$2"[@.]*; do
		[ ! -h "$link" ] || echo "${link##*/}"
	done
}
