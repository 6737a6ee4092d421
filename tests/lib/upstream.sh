# SPDX-License-Identifier: Apache-2.0
# upstream.sh: servers that misbehave as they are told (upstream.py), and the mirror at $T/m, both ended with the script. After wait.sh.

# upstream NAME [FOLDER]: serves it, else ./up; its faults are in NAME.faults, what was asked in NAME.log, its address in $NAME
upstream()
{
	: >"$1.log"
	touch "$1.faults"
	python3 "$SOURCE_ROOT/tests/lib/upstream.py" "${2:-up}" "$1.faults" "$1.log" >"$1.port" 2>/dev/null &
	echo $! >"$1.pid"
	await test -s "$1.port"
	eval "$1=http://127.0.0.1:$(cat "$1.port")"
}

servers_end()
{
	"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1
	for pid in *.pid; do
		[ ! -f "$pid" ] || kill "$(cat "$pid")" 2>/dev/null
	done
	chmod -R u+w "$T" 2>/dev/null
	rm -rf "$T"
}
trap servers_end EXIT
