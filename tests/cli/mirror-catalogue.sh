# SPDX-License-Identifier: Apache-2.0
# What a client is offered depends on its platform and its operating system. Once clients of one version were told "up to date" because
# their catalogue was empty while those of the version before and after were filled: no catalogue, an empty one, a stale one, and one whose
# sync failed are four different answers here, with dates, and none of them is "nothing to do".
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need curl openssl python3
trap '"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; [ -z "${holder-}" ] || kill "$holder" 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

pack()
{
	rm -rf st && mkdir -p st/share && echo "$*" >"st/share/$1"
	pack_n=$1 pack_v=$2
	shift 2
	"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --name "$pack_n" --version "$pack_v" "$@" st >/dev/null
}
member()
{
	python3 -c 'import json, sys; v = json.load(open("out"))[sys.argv[1]]; print(json.dumps(v) if isinstance(v, (dict, list)) else v)' "$1"
}
# state CHANNEL QUERY STATE: what the mirror answers
state()
{
	curl -sS --cacert m/pki/ca.pem -o answer "$M/api/catalogue?$2" || return
	python3 - "$1" "$3" <<-'Y'
		import json, sys
		v = {k["channel"]: k for k in json.load(open("answer"))["catalogues"]}[sys.argv[1]]
		assert v["state"] == sys.argv[2], v
	Y
}

subdir=$("$SLIPWAY" version --json | python3 -c 'import json, sys; print(json.load(sys.stdin).get("platform", ""))' 2>/dev/null)
[ -n "$subdir" ] || case $(uname -m) in x86_64) subdir=linux-64 ;; *) subdir=linux-$(uname -m) ;; esac
pack web 1.0 --noarch generic
pack tool 1.0 --subdir "$subdir"
pack other 1.0 --subdir osx-arm64
"$SLIPWAY" -q channel publish four pkgs/tool-1.0-0.conda pkgs/web-1.0-0.conda
"$SLIPWAY" -q channel publish five pkgs/other-1.0-0.conda pkgs/web-1.0-0.conda # nothing for this platform, though there is a folder for it
mkdir -p "five/$subdir" && echo '{"info": {"subdir": "'"$subdir"'"}, "packages": {}, "packages.conda": {}}' >"five/$subdir/repodata.json"
mkdir -p empty/noarch && echo '{"info": {"subdir": "noarch"}, "packages": {}, "packages.conda": {}}' >empty/noarch/repodata.json
"$SLIPWAY" -q channel publish stale pkgs/web-1.0-0.conda
"$SLIPWAY" -q channel publish fails pkgs/web-1.0-0.conda
"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
for c in four five empty stale fails; do
	"$SLIPWAY" -q channel create "m/$c" --kind conda --type mirror --from "$T/$c"
	"$SLIPWAY" -q channel sync "m/$c"
done
"$SLIPWAY" -q channel create m/never --kind conda --type mirror --from "file://$T/nowhere"
"$SLIPWAY" -q channel create m/blank --kind conda --type local
"$SLIPWAY" -q channel create m/old --kind conda --type local
"$SLIPWAY" -q channel publish m/content/old pkgs/web-1.0-0.conda
echo 'os: debian >=10,<12; ubuntu 22.04' >>m/channels/old.yaml
"$SLIPWAY" -q channel create m/new --kind conda --type local
"$SLIPWAY" -q channel publish m/content/new pkgs/web-1.0-0.conda
echo 'os: bookworm; __glibc >=2.30' >>m/channels/new.yaml
"$SLIPWAY" -q channel create m/takeout --kind takeout --type local
printf 'recipe 1\nos debian >=12\nos __glibc >=2.30\nchannel four\nspec web\n' >twelve.spr
printf 'recipe 1\nos debian 11\nchannel four\nspec web\n' >eleven.spr
printf 'recipe 1\nos debian >=>\nchannel four\nspec web\n' >wrong.spr
t 'recipes for systems' runs "$SLIPWAY" channel publish m/content/takeout twelve.spr eleven.spr
t 'no range' must_fail 1 "$SLIPWAY" channel publish m/content/takeout wrong.spr
mv fails gone # its upstream is away from now on
# nobody brings this one up to date any more
python3 - <<'Y' &
import fcntl, time
f = open("m/content/stale/.slipway/lock", "r+")
fcntl.flock(f, fcntl.LOCK_EX)
open("held", "w").close()
time.sleep(600)
Y
holder=$!
until [ -e held ]; do sleep 0.05; done
python3 -c "
import sqlite3
db = sqlite3.connect('m/state/mirror.db')
db.execute(\"UPDATE channel SET synced_ms = 1700000000000, tried_ms = 1700000000000 WHERE name = 'stale'\")
db.commit()"
t 'start' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror status --json m
M=https://localhost:$(member port)
failed_soon()
{
	for _ in $(seq 100); do
		state fails "platform=$subdir" failed 2>/dev/null && return
		sleep 0.1
	done
	state fails "platform=$subdir" failed
}

# -- four answers, and the good one -----------------------------------------------------------------------------------------
t 'one whose sync failed' failed_soon
t 'one that was never had' state never "platform=$subdir" failed
t 'one that is good' state four "platform=$subdir" good
t 'one without this platform' state five "platform=$subdir" no-platform
t 'which another has' state five platform=osx-arm64 good
t 'one that is empty' state empty "platform=$subdir" empty
t 'one that is stale' state stale "platform=$subdir" stale
t 'one of our own, with nothing in it' state blank "platform=$subdir" empty
t 'for a system' state old "platform=$subdir&os=debian&version=11" good
t 'that another one has' state old "platform=$subdir&os=ubuntu&version=22.04" good
t 'and not for a newer one' state old "platform=$subdir&os=debian&version=12&codename=bookworm" no-os
t 'which is said' sh -c 'grep -q "it is for debian >=10,<12, ubuntu 22.04, and this host is debian 12" answer'
t 'by code name, and what the host has' state new "platform=$subdir&os=debian&version=12&codename=bookworm&virtual=__glibc%3D2.36%2C__linux%3D6.1" good
t 'or has not' state new "platform=$subdir&os=debian&version=12&codename=bookworm&virtual=__glibc%3D2.28" no-os
t 'who does not say what it is' state old "platform=$subdir" good
for bad in 'os=%3Cscript%3E' 'os=debian&version=%0a' 'virtual=__glibc' 'os=debian&virtual=a%3Db%3Dc%2C%2C' "os=$(printf '%0300d' 1)"; do
	t "nonsense: $bad" must_fail 22 curl -sS -f --cacert m/pki/ca.pem "$M/api/catalogue?platform=$subdir&$bad"
done

# -- what people are told ---------------------------------------------------------------------------------------------------
runs "$SLIPWAY" mirror enroll m --name app1
"$SLIPWAY" -q enroll --code "$(cat out)" "$M"
"$SLIPWAY" -q spot --updates="$M"
printf 'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n' >release
CONDA_OVERRIDE_GLIBC=2.36 SLIPWAY_OS_RELEASE=$T/release
export CONDA_OVERRIDE_GLIBC SLIPWAY_OS_RELEASE
t 'the list' runs "$SLIPWAY" spot --list
t 'no catalogue, with its date' has "channel 'five' has nothing for $subdir, as of 20" err
t 'a failed one, with its dates' has "channel 'fails' is as of 20.*: what the mirror tried at 20.* failed: " err
t 'one that never came' has "channel 'never' is as of never: what the mirror tried at 20" err
t 'an empty one' has "channel 'empty' is empty, as of 20" err
t 'a stale one' has "channel 'stale' is as of 2023-11-14 22:13:20: the mirror has not brought it up to date since" err
t 'one for other systems' has "channel 'old' has nothing for this system: it is for debian" err
t 'nothing of the good one' sh -c "! grep -q \"'four'\" err"
t 'a recipe for others' has 'to:eleven.spr .*not for this system: it is for debian 11' out
t 'one for this' sh -c '! grep "to:twelve.spr .*not for" out'
t 'as JSON' sh -c '"$SLIPWAY" spot --list --json | python3 -c "
import json, sys
v = json.load(sys.stdin)
assert {k[\"channel\"]: k[\"state\"] for k in v[\"catalogues\"]}[\"five\"] == \"no-platform\""'
t 'the channels' runs "$SLIPWAY" channel list
t 'say it as well' has "channel 'five' has nothing for $subdir" err
t 'a recipe for others is refused' must_fail 1 "$SLIPWAY" spot --apply=to:eleven.spr -n x
t 'and why' has 'it is for debian 11, and this host is debian 12' err
t 'a file of one, too' must_fail 1 "$SLIPWAY" apply eleven.spr -n x
t 'one for this system' runs "$SLIPWAY" spot --apply=to:twelve.spr -n x
t 'nothing to do' runs "$SLIPWAY" spot --apply=to:twelve.spr -n x
t 'is not said without what is not known' has "channel 'stale' is as of" err
t 'nor by another command' sh -c '"$SLIPWAY" env update -n x --all >err 2>&1; grep -q "0 to add, 0 to change" err && grep -q "stale. is as of" err'
printf 'ID=debian\nVERSION_ID="11"\n' >release
t 'another host' runs "$SLIPWAY" spot --list
t 'is told of its own' sh -c 'grep -q "to:twelve.spr .*not for this system: it is for debian >=12, and this host is debian 11" out && ! grep "to:eleven.spr .*not for" out'
t 'stop' runs "$SLIPWAY" mirror stop m
t 'a mirror that is away' runs "$SLIPWAY" spot --list
t 'is not taken for one without news' has 'does not tell how current' err

done_testing
