# SPDX-License-Identifier: Apache-2.0
# What show tells of a host that is in no pair; two that are one are those of pair-upgrade.sh.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3

small_package web 1
"$SLIPWAY" -q channel publish ch ./*.tar.bz2
"$SLIPWAY" -q env create -n site -c ./ch web
"$SLIPWAY" -q env create -n other -c ./ch web

t 'a host in no pair is a system of one' runs "$SLIPWAY" show redundancy -n site
t 'in the words of a redundant system' has 'Available system uptime = ' out
t 'with what it has been through' has 'Switchovers system experienced = 0' out
t 'and no reason' has 'Last switchover reason = none' out
t 'Simplex' has 'Hardware Mode = Simplex' out
t 'Down, with the reason' has "Communications = Down (this host is in no pair; 'slipway pair init' begins one)" out
t 'it is active itself' has 'Active Location = member 1' out
t 'as a state' has 'Current Software state = ACTIVE$' out
t 'with its version' has 'Image Version = web 1, generation 1' out
t 'and no peer' hasnt 'Peer Processor' out

both()
{
	"$SLIPWAY" show redundancy >out && has 'Information : environment other' out && has 'Information : environment site' out
}
t 'every environment where none is named' both

json()
{
	"$SLIPWAY" show redundancy --json >out && python3 -c '
import json
v = json.load(open("out"))
assert v["hardware_mode"] == "simplex" and v["active"] == 1 and not v["communications"], v
assert [e["environment"] for e in v["environments"]] == ["other", "site"], v
m, = v["environments"][1]["members"]
assert m["software_state"] == "ACTIVE" and m["generation"] == 1 and 0 < m["free_bytes"] < m["total_bytes"], m
'
}
t 'as JSON' json

t 'what starts at boot' runs "$SLIPWAY" show boot system -n site
t 'names the environment' has 'BOOT variable = site, generation 1;' out
t 'and whether somebody has to start it' has 'Manual Boot = ' out
t 'with why, and what this host needs' sh -c '! grep -q "Manual Boot = yes" out || grep -A1 "Manual Boot = yes" out | grep -q "^    .*boot.*; .*slipway agent"'
t 'show boot wants its word' must_fail 2 "$SLIPWAY" show boot
t 'show redundancy takes none' must_fail 2 "$SLIPWAY" show redundancy now
t 'an environment that is none' must_fail 1 "$SLIPWAY" show redundancy -n nowhere
t 'is named' has "'nowhere'" err
t 'show version tells of space' runs "$SLIPWAY" show version -n site
t 'total and free' has '^\[1\] .*: [0-9]* bytes total ([0-9]* bytes free)' out
done_testing
