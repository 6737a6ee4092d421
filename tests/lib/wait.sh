# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For scripts that begin what takes a while to be there. $T is a folder of theirs.
#
#	await COMMAND...         until it succeeds, at most 30 seconds; then what it said last
#	free_port [ADDRESS]      a port that nobody listens on, of 127.0.0.1 where none is given
await()
{
	await_n=0
	until "$@" >"$T/.await" 2>&1; do
		await_n=$((await_n + 1))
		[ "$await_n" -lt 300 ] || { echo "waited in vain for: $*"; cat "$T/.await"; return 1; }
		sleep 0.1
	done
}

free_port()
{
	python3 -c 'import socket, sys; s = socket.socket(); s.bind((sys.argv[1], 0)); print(s.getsockname()[1])' "${1:-127.0.0.1}"
}
