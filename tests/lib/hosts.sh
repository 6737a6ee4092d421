# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# Hosts on addresses of the loopback interface, each with its own root $T/hN and agent. After tests/lib/test.sh and wait.sh.
#
#	on N WORDS...        slipway on host N
#	begin_agent N        until it answers; its process in $agentN, what it says in logN. What starts it at boot is not to be looked for,
#	                     unless the host has a config.yml that says something else
on()
{
	on_host=$1
	shift
	"$SLIPWAY" --root "$T/h$on_host" "$@"
}

# In a session of its own: what ends the script's processes by their group does not end it.
begin_agent()
{
	mkdir -p "$T/h$1"
	[ -e "$T/h$1/config.yml" ] || echo 'autostart: ignore' >"$T/h$1/config.yml"
	setsid "$SLIPWAY" --root "$T/h$1" agent 2>>"$T/log$1" &
	eval "agent$1=$!"
	await on "$1" status || { cat "$T/log$1"; return 1; }
}
