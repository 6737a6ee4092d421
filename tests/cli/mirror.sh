# SPDX-License-Identifier: Apache-2.0
# A private mirror and the patch tool: channels served over HTTPS on an authority of its own, enrolment, recipes, snapshots, a restart
# that cuts nothing.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need curl openssl python3
trap '"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

# pack NAME VERSION [OPTION...]
pack()
{
	rm -rf st && mkdir -p st/share && echo "$1 $2" >"st/share/$1"
	pack_n=$1 pack_v=$2
	shift 2
	"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --noarch generic --name "$pack_n" --version "$pack_v" "$@" st >/dev/null
}
# member KEY: of the JSON object in ./out
member()
{
	python3 -c 'import json, sys; v = json.load(open("out"))[sys.argv[1]]; print(json.dumps(v) if isinstance(v, (dict, list)) else v)' "$1"
}

t 'a mirror' runs "$SLIPWAY" mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,' m/mirror.yaml
sed -i 's,^#* *log:.*,log: file,' m/mirror.yaml
t 'a channel' runs "$SLIPWAY" channel create m/site --kind conda --type local
t 'a name where the mirror answers itself' must_fail 2 "$SLIPWAY" channel create m/api --kind conda --type local
t 'is refused' has 'answers there itself' err
t 'one that follows nobody' must_fail 2 "$SLIPWAY" channel create m/lost --kind conda --type mirror
t 'is asked whom' has '[-]-from' err
t 'and nothing is left of it' test ! -e m/content/lost
t 'a private one' runs "$SLIPWAY" channel create m/vault --kind conda --type local --private
t 'one with recipes' runs "$SLIPWAY" channel create m/takeout --kind takeout --type local
pack web 1.0
pack web 1.1
pack secret 1.0
t 'publish' runs "$SLIPWAY" channel publish m/content/site pkgs/web-1.0-0.conda pkgs/web-1.1-0.conda
t 'publish what is private' runs "$SLIPWAY" channel publish m/content/vault pkgs/secret-1.0-0.conda
t 'it does not run' must_fail 1 "$SLIPWAY" mirror status m
t 'start' runs "$SLIPWAY" mirror start m
t 'says where' has "mirror 'your-mirror' serves at port" err
t 'it runs' runs "$SLIPWAY" mirror status --json m
port=$(member port) admin=http://127.0.0.1:$(member admin_port) pid=$(member pid)
M=https://localhost:$port
t 'a second start' runs "$SLIPWAY" mirror start m
t 'is the same server' has "process $pid" err
get()
{
	curl -sS --fail-with-body --cacert m/pki/ca.pem "$@"
}

t 'a server beside it' must_fail 1 "$SLIPWAY" mirror serve m
t 'is told how to go on' has 'slipway mirror restart' err
t 'a list of a mirror' must_fail 2 "$SLIPWAY" mirror list ./m
t 'is asked of which channel' has 'slipway mirror list ./m NAME' err
t 'a mirror alone' must_fail 2 "$SLIPWAY" mirror revoke ./m
t 'is nobody to revoke' has 'slipway mirror revoke ./m NAME' err
t 'a code for a server that is not at 443' runs "$SLIPWAY" mirror enroll m
t 'says where it is' has "https://localhost:[0-9]" err
t 'init without a name' must_fail 2 "$SLIPWAY" mirror init other --host localhost
t 'is asked for it' has '[-]-name' err

# -- plain clients ------------------------------------------------------------------------------------------------------
t 'a file' get -o got "$M/site/noarch/web-1.1-0.conda"
t 'is that file' cmp got m/content/site/noarch/web-1.1-0.conda
t 'a range of it' sh -c "curl -sS --cacert m/pki/ca.pem -r 10-19 $M/site/noarch/web-1.1-0.conda | cmp - - </dev/null 2>/dev/null; curl -sS --cacert m/pki/ca.pem -r 10-19 $M/site/noarch/web-1.1-0.conda | wc -c | grep -qx 10"
t 'metadata' get -D head -o got "$M/site/noarch/repodata.json"
etag=$(tr -d '\r' <./head | sed -n 's/^[Ee][Tt]ag: //p')
t 'unchanged' sh -c "curl -sS --cacert m/pki/ca.pem -o /dev/null -w '%{http_code}' -H 'If-None-Match: $etag' $M/site/noarch/repodata.json | grep -qx 304"
t 'as 004 has it' get -o got "$M/get/site/noarch/repodata.json"
t 'not the keys' must_fail 22 get --path-as-is "$M/site/../../pki/server.key"
t 'nor what is the keeper'\''s own' must_fail 22 get "$M/site/.slipway/lock"
t 'nor a channel that is not there' must_fail 22 get "$M/elsewhere/noarch/repodata.json"
t 'nor without its authority' must_fail 60 curl -sS "$M/site/noarch/repodata.json"
t 'no TLS 1.1' must_fail 35 get --tls-max 1.1 "$M/site/noarch/repodata.json"
t 'the private one is refused' must_fail 22 get "$M/vault/noarch/repodata.json"
t 'with the way in' has 'slipway enroll' out

# -- a client -------------------------------------------------------------------------------------------------------------
t 'an unknown authority' must_fail 1 "$SLIPWAY" env create -n x -c "$M/site" web=1.0
t 'is named' has 'certificate' err
runs "$SLIPWAY" mirror enroll m --name app1
code=$(cat out)
t 'enroll' runs "$SLIPWAY" enroll --code "$code" "$M"
t 'only once' must_fail 1 env SLIPWAY_ROOT="$T/other" "$SLIPWAY" enroll --code "$code" "$M"
t 'one record' sh -c "'$SLIPWAY' mirror clients m --json | grep -c '\"name\": *\"app1\"' | grep -qx 1"
ln -s "$SLIPWAY" spot
t 'the patch tool' runs ./spot --updates="$M" --ping
t 'is known by name' has "enrolled there as 'app1'" out
t 'nothing but HTTPS' must_fail 2 ./spot --updates=http://localhost:1
t 'its mirrors' runs ./spot --mirrors
t 'the one in use' has "100 .*your-mirror .*$M .*\[X\]" out
t 'an environment' runs "$SLIPWAY" env create -n step -c "$M/site" web=1.0
t 'with what is private' runs "$SLIPWAY" env create -n v -c "$M/vault" secret
t 'which is removed' runs "$SLIPWAY" env remove -n v

# -- recipes --------------------------------------------------------------------------------------------------------------
printf 'recipe 1\nname step\nchannel site\nspec web=1.1\n' >step-1.1.spr
printf '# web 1.1\nFaster.\n# web 1.0\nThe first one.\n' >step-1.1.md
printf 'recipe 1\nchannel vault\nspec secret\n' >addon-7.0.1.spr
t 'publish recipes' runs "$SLIPWAY" channel publish m/takeout --into step/core step-1.1.spr step-1.1.md
t 'and a customer'\''s own' runs "$SLIPWAY" channel publish m/content/takeout --into customer/acme/addon/7.0 addon-7.0.1.spr
t 'what there is' runs ./spot --list
t 'is listed' has 'to:step/core/step-1.1.spr' out
t 'snapshot' runs ./spot --snapshot="$T/before.spr"
t 'prepare' runs ./spot --prepare=to:step/core/step-1.1.spr,to:customer/acme/addon/7.0/addon-7.0.1.spr
t 'shows what is new' has 'Faster' err
t 'and not what is there' must_fail 1 grep -q 'The first one' err
t 'changes nothing' sh -c "'$SLIPWAY' env packages -n step | grep -q 'web .*1.0'"
t 'apply, offline' runs ./spot --offline --apply=to:step/core/step-1.1.spr,to:customer/acme/addon/7.0/addon-7.0.1.spr
t 'has both' sh -c "'$SLIPWAY' env packages -n step >p && grep -q 'web .*1.1' p && grep -q secret p"
t 'fallback' runs ./spot --apply="$T/before.spr" --sync --syncmode=delete
t 'has what was there' sh -c "'$SLIPWAY' env packages -n step >p && grep -q 'web .*1.0' p && ! grep -q secret p"
t 'no such recipe' must_fail 1 ./spot --apply=to:step/core/step-9.spr
t 'is told with the next step' has 'spot --list' err
t 'withdrawn' runs "$SLIPWAY" channel yank m/content/takeout --reason 'loses data' step/core/step-1.1.spr
t 'is refused' must_fail 1 ./spot --apply=to:step/core/step-1.1.spr
t 'and why' has 'loses data' err

# -- snapshots ------------------------------------------------------------------------------------------------------------
t 'snapshots' runs "$SLIPWAY" snapshot list -n step --json
last=$(python3 -c 'import json; v = json.load(open("out"))["snapshots"]; print(v[0]["id"])')
first=$(python3 -c 'import json; v = json.load(open("out"))["snapshots"]; print(v[-1]["id"])')
t 'before and after' has '"before"' out
t 'one of them' runs "$SLIPWAY" snapshot show "$last"
t 'says names, versions, channels' sh -c "! grep -vE '^(snapshot 1|environment [a-z]+|when (before|after) [a-z]+|when now|channel https://[^ @]+|package [a-z]+ [0-9.]+ [0-9a-z_]+ noarch [0-9]+)$' out"
t 'a second environment' sh -c "'$SLIPWAY' snapshot show $last --recipe >second.spr && '$SLIPWAY' -q apply second.spr -n second"
t 'is the same' sh -c "'$SLIPWAY' env packages -n second | grep -q 'web .*1.0'"
t 'what differs' runs "$SLIPWAY" snapshot diff "$first" "$last"
SLIPWAY_ROOT=$T/app2
runs "$SLIPWAY" mirror enroll m --name app2
t 'another client' runs "$SLIPWAY" enroll --code "$(cat out)" "$M"
t 'of the same mirror' runs "$SLIPWAY" spot --updates="$M" --ping
t 'sees none of them' must_fail 1 "$SLIPWAY" snapshot show "$last"
t 'and is told where to look' has 'slipway snapshot list' err
t 'has none' runs "$SLIPWAY" snapshot list
t 'is revoked' runs "$SLIPWAY" mirror revoke m app2 --reason 'sold'
t 'at once' must_fail 1 "$SLIPWAY" search --refresh -c "$M/vault" secret
t 'and told so' sh -c "'$SLIPWAY' spot --ping | grep -q revoked"
SLIPWAY_ROOT=$T/root

# -- the server -----------------------------------------------------------------------------------------------------------
t 'health' sh -c "curl -sS $admin/healthz | grep -qx ok"
t 'metrics' sh -c "curl -sS $admin/metrics | grep -q '^slipway_mirror_requests_total [1-9]'"
t 'pages' sh -c "curl -sS $admin/ | grep -q site && curl -sS $admin/clients | grep -q app1"
t 'not for a page that has its own name point there' sh -c "curl -sS -o got -w '%{http_code}' -H 'Host: evil.example' $admin/clients | grep -qx 403 && ! grep app1 got"
t 'but by a name of this machine' sh -c "curl -sS -H 'Host: localhost:1' $admin/clients | grep -q app1"
t 'nothing can be changed there' must_fail 22 curl -sS -f -X POST "$admin/"
head -c 20000000 /dev/urandom >big && rm -rf st && mkdir st && cp big st/big
"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --noarch generic --name big --version 1 st >/dev/null
t 'a large file' runs "$SLIPWAY" channel publish m/content/site pkgs/big-1-0.conda
get --limit-rate 8M -o got "$M/site/noarch/big-1-0.conda" &
transfer=$!
sleep 0.5
t 'restart in its middle' runs "$SLIPWAY" mirror restart m
runs "$SLIPWAY" mirror status --json m
t 'is another process' test "$(member pid)" != "$pid"
t 'at the same port' test "$(member port)" = "$port"
t 'what was under way' wait "$transfer"
t 'is whole' cmp got m/content/site/noarch/big-1-0.conda
t 'requests go on' get -o /dev/null "$M/site/noarch/repodata.json"
echo 'nonsense: 1' >>m/mirror.yaml
t 'a configuration that is wrong' must_fail 1 "$SLIPWAY" mirror restart m
t 'is told by line' has 'mirror.yaml:[0-9]*: unknown key' err
t 'and harms nobody' get -o /dev/null "$M/site/noarch/repodata.json"
sed -i '/^nonsense/d' m/mirror.yaml
rm -rf st && mkdir -p st/bin && cp "$SLIPWAY" st/bin/slipway
"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --name slipway --version 9.9 st >/dev/null
"$SLIPWAY" -q channel publish m/content/site pkgs/slipway-9.9-0.conda
printf 'recipe 1\nname mirror\nchannel site\nspec slipway\n' >latest.spr
t 'its own software' runs "$SLIPWAY" channel publish m/content/takeout --into updates/mirror latest.spr
t 'upgrade' runs "$SLIPWAY" mirror upgrade m
runs "$SLIPWAY" mirror status --json m
t 'is the program that came' test "$(readlink "/proc/$(member pid)/exe")" = "$(readlink -f root/env/mirror/current)/bin/slipway"
t 'at the same port still' test "$(member port)" = "$port"
printf '#!/bin/sh\necho it is broken >&2\nexit 1\n' >st/bin/slipway
"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --name slipway --version 10.0 st >/dev/null
"$SLIPWAY" -q channel publish m/content/site pkgs/slipway-10.0-0.conda
printf 'recipe 1\nname mirror\nchannel site\nspec slipway=10\n' >latest.spr
t 'software that does not run' runs "$SLIPWAY" channel publish m/content/takeout --into updates/mirror latest.spr
t 'does not take over' must_fail 1 "$SLIPWAY" mirror upgrade m
t 'which is told, with the way back' has 'install rollback -n mirror' err
t 'and the one of before serves' get -o /dev/null "$M/site/noarch/repodata.json"
t 'a request is in the log' has '"GET /site/noarch/repodata.json" 200' m/log/access.log
t 'reload' runs "$SLIPWAY" mirror reload m
t 'stop' runs "$SLIPWAY" mirror stop m
t 'refuses' must_fail 7 get "$M/site/noarch/repodata.json"
t 'again' runs "$SLIPWAY" mirror stop m
t 'a change without the mirror' runs "$SLIPWAY" apply second.spr -n third
t 'asks once for the place of its snapshots' [ "$(grep -c 'did not take the thin snapshot' err)" = 1 ]

# -- at boot --------------------------------------------------------------------------------------------------------------
t 'a unit' runs "$SLIPWAY" mirror install-service --systemd --user mirrorsw --to units m
t 'serves it' has "^ExecStart=.* mirror serve $T/m$" units/slipway-mirror-your-mirror.service
t 'at its port' has '^ListenStream=443$' units/slipway-mirror-your-mirror.socket
t 'an init script' runs "$SLIPWAY" mirror install-service --sysv --user mirrorsw --to init m
t 'that a shell reads' sh -n init/slipway-mirror-your-mirror
t 'a line for cron' runs "$SLIPWAY" mirror install-service --cron m
t 'starts it' has "^@reboot .* mirror start $T/m$" out

done_testing
