# SPDX-License-Identifier: Apache-2.0
# A server keeps several channels up to date at once: one that takes hours keeps no other from its turn, and all of them together
# download no faster than the limit.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need python3 curl
trap '"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; [ -z "${upstream-}" ] || kill "$upstream" 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

# pack NAME BYTES
pack()
{
	rm -rf st && mkdir -p st && head -c "$2" /dev/urandom >"st/$1"
	"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --noarch generic --name "$1" --version 1.0 st >/dev/null
}
wants='import json, sys; v = {c["channel"]: c for c in json.load(sys.stdin)["channels"]}'
# soon CONDITION: on the channels as the admin port tells of them
soon()
{
	for _ in $(seq 200); do
		curl -sS "$A/?format=json" | python3 -c "$wants; sys.exit(not ($1))" && return
		sleep 0.1
	done
	curl -sS "$A/?format=json"
	return 1
}

pack big 2000000
pack one 3000000
pack two 3000000
pack small 1000
for c in big one two small; do "$SLIPWAY" -q channel publish "up/$c" "pkgs/$c-1.0-0.conda"; done
echo '*big-1.0-0.conda slow 40000' >faults
python3 "$SOURCE_ROOT/tests/lib/upstream.py" up faults log >port 2>/dev/null &
upstream=$!
until [ -s port ]; do sleep 0.05; done
"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,; s,^#*reserve:.*,reserve: 0 MB,' m/mirror.yaml
sed -i 's,^#*bulkDownloadSpeedInMbitPerSecond:.*,bulkDownloadSpeedInMbitPerSecond: 16,; s,^#*bulkBackoffFactor:.*,bulkBackoffFactor: 0,' m/mirror.yaml
"$SLIPWAY" -q channel create m/big --kind conda --type mirror --from "http://127.0.0.1:$(cat port)/big" --download HISTORIC
"$SLIPWAY" -q channel create m/small --kind conda --type mirror --from "http://127.0.0.1:$(cat port)/small" --download HISTORIC
t 'plain HTTP from another host' must_fail 1 "$SLIPWAY" channel create m/open --kind conda --type mirror --from http://tools.example.org/x
t 'is refused, and what to do' has 'over plain HTTP; use https://, or set' err
t 'before there is such a channel' test ! -e m/channels/open.yaml
: >keys.asc
t 'but not where what comes is verified' runs "$SLIPWAY" channel create m/debs --kind deb --type proxy --from http://deb.example.org/debian --keyring keys.asc
rm m/channels/debs.yaml
t 'start' runs "$SLIPWAY" mirror start m
A=http://127.0.0.1:$("$SLIPWAY" mirror status --json m | python3 -c 'import json, sys; print(json.load(sys.stdin)["admin_port"])')
t 'a small channel has its turn' soon 'v["small"]["synced_ms"] and v["small"]["held"] == 1'
t 'while a large one is under way' soon 'not v["big"]["synced_ms"]'
t 'stop in the middle' runs "$SLIPWAY" mirror stop m
echo >faults
"$SLIPWAY" -q channel create m/one --kind conda --type mirror --from "http://127.0.0.1:$(cat port)/one" --download HISTORIC
"$SLIPWAY" -q channel create m/two --kind conda --type mirror --from "http://127.0.0.1:$(cat port)/two" --download HISTORIC
"$SLIPWAY" -q channel sync m/big --limit 0
begun=$(date +%s%N)
"$SLIPWAY" -q mirror start m
A=http://127.0.0.1:$("$SLIPWAY" mirror status --json m | python3 -c 'import json, sys; print(json.load(sys.stdin)["admin_port"])')
t 'two more at once' soon 'v["one"]["held"] == 1 and v["two"]["held"] == 1'
took=$((($(date +%s%N) - begun) / 1000000))
t "6 MB at 2 MB a second, in $took ms" test "$took" -ge 2500
t 'stop' runs "$SLIPWAY" mirror stop m

done_testing
