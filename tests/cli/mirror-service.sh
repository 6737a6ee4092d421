# SPDX-License-Identifier: Apache-2.0
# What starts a mirror at boot, run for what it is: the unit and the socket by a real systemd (the manager of a user), with a hand-over in
# the middle of a download; the init script with the exit codes that the Linux Standard Base has for it.
. "${SOURCE_ROOT:-.}/tests/lib/systemd.sh"
if [ -z "${OWN_RUN-}" ] && can_own_run; then in_own_run "$0"; fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need curl openssl python3
leave()
{
	"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1
	leave_systemd
	chmod -R u+w "$T" 2>/dev/null
	rm -rf "$T"
}
trap leave EXIT

# member KEY: of the status
member()
{
	"$SLIPWAY" mirror status --json m | python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}
get()
{
	curl -sS --fail-with-body --cacert m/pki/ca.pem "$@"
}
# code N COMMAND...: exits with N
code()
{
	want=$1
	shift
	"$@" >said 2>&1
	got=$?
	[ "$got" = "$want" ] || { echo "exit status $got"; cat said; return 1; }
}

"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
"$SLIPWAY" -q channel create m/site --kind conda --type local
mkdir st && head -c 20000000 /dev/urandom >st/big
"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --noarch generic --name big --version 1 st >/dev/null
"$SLIPWAY" -q channel publish m/content/site pkgs/big-1-0.conda
"$SLIPWAY" -q mirror install-service --systemd --to units0 m 2>/dev/null
"$SLIPWAY" -q mirror install-service --sysv --to init m 2>/dev/null
script=init/slipway-mirror-your-mirror unit=slipway-mirror-your-mirror

# -- the init script ----------------------------------------------------------------------------------------------------
mkdir bin
printf '#!/bin/sh\necho "$@" >>"%s/iptables.log"\n[ "$3" != -C ]\n' "$T" >bin/iptables
chmod +x bin/iptables
PATH=$T/bin:$PATH # never this machine's own
t 'it does not run: 3' code 3 $script status
t 'stop, all the same: 0' code 0 $script stop
t 'try-restart does nothing: 0' code 0 $script try-restart
t 'start: 0' code 0 $script start
t 'it runs: 0' code 0 $script status
t 'the port is led to it' has "^-t nat -A PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports $(member port)$" iptables.log
t 'and from this host' has '^-t nat -A OUTPUT -o lo -p tcp --dport 443' iptables.log
pid=$(member pid)
t 'start again: 0' code 0 $script start
t 'is the same server' test "$(member pid)" = "$pid"
t 'restart: 0' code 0 $script restart
t 'is another one' test "$(member pid)" != "$pid"
t 'reload: 0' code 0 $script reload
t 'force-reload: 0' code 0 $script force-reload
t 'try-restart: 0' code 0 $script try-restart
t 'stop: 0' code 0 $script stop
t 'it does not run any more: 3' code 3 $script status
t 'a wrong word: 2' code 2 $script frob
t 'no word: 2' code 2 $script
mv m/mirror.yaml kept
t 'not configured: 6' code 6 $script start
mv kept m/mirror.yaml
sed 's,^program=.*,program=/nowhere/slipway,' $script >gone
t 'not installed: 5' code 5 sh gone start
if command -v shellcheck >/dev/null; then t 'the script is a good one' shellcheck $script; fi

# -- systemd ------------------------------------------------------------------------------------------------------------
t 'the units are understood' sh -c 'command -v systemd-analyze >/dev/null || { echo "package: no systemd-analyze"; exit 77; }
	SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no "$PWD/units0/slipway-mirror-your-mirror.service" 2>said
	! grep "slipway-mirror-your-mirror" said | grep -v "User\|Unit not found\|not found"'
if [ -z "${OWN_RUN-}" ]; then
	skip 'a unit is served' 'kernel: this user cannot mount in a namespace of its own'
	done_testing
	exit
fi
if ! own_systemd 2>/dev/null; then
	skip 'a unit is served' "$own_systemd_why"
	done_testing
	exit
fi
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# a user's manager has no right to change users or to make a file system of its own
mkdir -p "$HOME/.config/systemd/user"
sed '/^User=/d; /^Protect/d; /^ReadWritePaths/d; /^Private/d; /^NoNewPrivileges/d; /^RestrictAddress/d; /network-online/d; /^LimitNOFILE/d' units0/$unit.service >"$HOME/.config/systemd/user/$unit.service"
sed "s/^ListenStream=.*/ListenStream=127.0.0.1:$port/" units0/$unit.socket >"$HOME/.config/systemd/user/$unit.socket"
M=https://localhost:$port
systemctl --user daemon-reload
t 'start' systemctl --user start $unit.socket $unit.service
t 'at the port that systemd holds' get -o got "$M/site/noarch/repodata.json"
t 'is active' prints active show $unit.service ActiveState
main=$(show $unit.service MainPID)
t 'the main process is the server' test "$main" = "$(member pid)"
get --limit-rate 8M -o got "$M/site/noarch/big-1-0.conda" &
transfer=$!
sleep 0.3
t 'restart in the middle of a download' runs "$SLIPWAY" mirror restart m
second=$(member pid)
t 'another process serves' test "$second" != "$main"
main_is()
{
	for _ in $(seq 100); do
		[ "$(show $unit.service MainPID)" = "$1" ] && [ "$(show $unit.service ActiveState)" = active ] && return
		sleep 0.1
	done
	systemctl --user status $unit.service
	return 1
}
t 'which systemd takes for the main one' main_is "$second"
t 'requests go on' get -o /dev/null "$M/site/noarch/repodata.json"
t 'the download' wait "$transfer"
t 'is whole' cmp got m/content/site/noarch/big-1-0.conda
t 'reload, as systemd does it' systemctl --user reload $unit.service
third=$(member pid)
t 'hands over, too' test "$third" != "$second"
t 'to what systemd watches' main_is "$third"
echo 'nonsense: 1' >>m/mirror.yaml
t 'a configuration that is wrong' must_fail 1 "$SLIPWAY" mirror restart m
t 'is told' has 'the server of before goes on: the new server ended' err
t 'and harms nobody' get -o /dev/null "$M/site/noarch/repodata.json"
t 'nor the unit' main_is "$third"
sed -i '/^nonsense/d' m/mirror.yaml
t 'mended' runs "$SLIPWAY" mirror restart m
fourth=$(member pid)
t 'it serves' main_is "$fourth"
t 'never once begun anew by systemd' prints 0 show $unit.service NRestarts
t 'stop' systemctl --user stop $unit.socket $unit.service
gone_soon()
{
	for _ in $(seq 100); do
		[ -d "/proc/$1" ] || return 0
		sleep 0.1
	done
	return 1
}
t 'ends it' gone_soon "$fourth"

done_testing
