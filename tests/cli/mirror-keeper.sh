# SPDX-License-Identifier: Apache-2.0
# What the keeper of a mirror sees: snapshots of all clients, an exact second environment made of one, clients that go.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need curl openssl python3
trap '"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

# pack NAME VERSION [OPTION...]
pack()
{
	rm -rf st && mkdir -p st/share && echo "$*" >"st/share/$1"
	pack_n=$1 pack_v=$2
	shift 2
	"$SLIPWAY" -q pack conda -o "pkgs${pack_into-}" --compression-level 1 --name "$pack_n" --version "$pack_v" "$@" st >/dev/null
}
# member KEY: of the JSON object in ./out
member()
{
	python3 -c 'import json, sys; v = json.load(open("out"))[sys.argv[1]]; print(json.dumps(v) if isinstance(v, (dict, list)) else v)' "$1"
}
as()
{
	as_who=$1
	shift
	SLIPWAY_ROOT="$T/$as_who" "$SLIPWAY" "$@"
}
# get WHO OPTION...: with the certificate of a client
get()
{
	get_who=$1
	shift
	curl -sS --fail-with-body --cacert m/pki/ca.pem --cert "$(ls "$T/$get_who"/mirror/*/client.pem)" "$@"
}

"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
for c in site large; do "$SLIPWAY" -q channel create "m/$c" --kind conda --type local; done
pack web 1.0 --noarch generic
pack tool 1.0
pack both 1.0
pack both 1.0 --noarch generic
"$SLIPWAY" -q channel publish m/content/site pkgs/*
pack_into=2 pack web 1.0 --noarch generic # the same name, other bytes
"$SLIPWAY" -q channel publish m/content/large pkgs2/*
t 'start' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror status --json m
M=https://localhost:$(member port)
for host in app1 app2; do
	runs "$SLIPWAY" mirror enroll m --name $host
	t "enroll $host" runs as $host enroll --code "$(cat out)" "$M"
	as $host -q spot --updates="$M"
done

# -- of all clients -------------------------------------------------------------------------------------------------------
t 'nothing yet' runs "$SLIPWAY" mirror snapshots m
t 'is said' has 'no snapshots' err
t 'an environment of app1' runs as app1 env create -n step -c "$M/site" -c "$M/large" web tool both
pack web 2.0 --noarch generic
pack tool 2.0
"$SLIPWAY" -q channel publish m/content/site pkgs/web-2.0-0.conda pkgs/tool-2.0-0.conda
t 'a later one of app2' runs as app2 env create -n step -c "$M/large" -c "$M/site" web tool
t 'the keeper lists' runs "$SLIPWAY" mirror snapshots m
t 'both' sh -c 'grep -q "app1 *step *after" out && grep -q "app2 *step *after" out'
t 'of one' runs "$SLIPWAY" mirror snapshots m list --client app2 --json
t 'only' sh -c 'grep -q "\"app2\"" out && ! grep -q "\"app1\"" out'
t 'in the folder itself' sh -c 'cd m && "$SLIPWAY" mirror snapshots --client app1 | grep -q step'
t 'one is shown' runs "$SLIPWAY" mirror snapshots m show app1/step
t 'in names, versions, channels' sh -c "! grep -vE '^(snapshot 1|environment step|when after [a-z]+|channel https://[^ @]+|package [a-z]+ [0-9.]+ [0-9a-z_]+ [a-z0-9-]+ [0-9]+)$' out"
t 'by its client alone' runs "$SLIPWAY" mirror snapshots m show app1
t 'two clients are compared' runs "$SLIPWAY" mirror snapshots m diff app1/step app2/step
t 'by package' sh -c 'grep -q "^tool *1.0 .*2.0" out && grep -q "^both *1.0" out'
t 'as JSON' sh -c '"$SLIPWAY" mirror snapshots m diff app1 app2 --json | python3 -c "
import json, sys
v = {d[\"name\"]: (d[\"old\"], d[\"new\"]) for d in json.load(sys.stdin)[\"differences\"]}
assert v == {\"both\": (\"1.0\", \"\"), \"tool\": (\"1.0\", \"2.0\"), \"web\": (\"1.0\", \"1.0\")}, v"'
t 'two times of one' runs "$SLIPWAY" mirror snapshots m diff app1/step app1/step@2999-01-01
t 'are the same' has 'both say the same' err
t 'nothing of then' must_fail 1 "$SLIPWAY" mirror snapshots m show app1/step@2001-01-01
t 'nobody of that name' must_fail 1 "$SLIPWAY" mirror snapshots m show app9
t 'tells how to go on' has "'slipway mirror snapshots' lists" err
t 'no such number' must_fail 1 "$SLIPWAY" mirror snapshots m show 999
t 'no time' must_fail 2 "$SLIPWAY" mirror snapshots m show app1@yesterday
t 'a wrong verb' must_fail 2 "$SLIPWAY" mirror snapshots m shew app1
t 'one snapshot is too few' must_fail 2 "$SLIPWAY" mirror snapshots m diff app1
t 'no mirror' must_fail 1 "$SLIPWAY" mirror snapshots pkgs

# -- an exact second environment -------------------------------------------------------------------------------------------
t 'a recipe of it' sh -c '"$SLIPWAY" mirror snapshots m show app1/step --recipe >app1.spr'
ln -s "$SLIPWAY" spot
t 'applied on app2' sh -c 'SLIPWAY_ROOT=$T/app2 ./spot --apply=app1.spr --sync --syncmode=delete'
for host in app1 app2; do as $host env export -n step | grep -v '^requested\|^spec\|^channel' >$host.lock; done
t 'is exactly the same, by digest' sh -c 'grep -qi sha256 app1.lock && cmp app1.lock app2.lock'
t 'the keeper sees that' runs "$SLIPWAY" mirror snapshots m diff app1/step app2/step
t 'too' has 'both say the same' err
t 'a recovery' sh -c '"$SLIPWAY" mirror snapshots m show "$("$SLIPWAY" mirror snapshots m --client app2 --json | python3 -c "
import json, sys
print(json.load(sys.stdin)[\"snapshots\"][1][\"id\"])")" --recipe >back.spr && SLIPWAY_ROOT=$T/app2 ./spot --apply=back.spr --sync --syncmode=delete'
t 'has what was there' sh -c 'SLIPWAY_ROOT=$T/app2 "$SLIPWAY" env packages -n step >p && grep -q "tool *2.0" p && ! grep -q both p'

# -- a client writes only its own -------------------------------------------------------------------------------------------
printf 'snapshot 1\nenvironment step\nwhen now\nchannel https://m/c\npackage evil 6.6.6 0 noarch 1\n' >evil
"$SLIPWAY" mirror snapshots m --client app1 >before
first=$("$SLIPWAY" mirror snapshots m --client app1 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["snapshots"][0]["id"])')
for path in '/api/snapshots?client=app1' "/api/snapshots/$first" '/api/snapshots/app1' '/api/snapshots/../snapshots/app1' '/api/./snapshots/app1/step' \
	'/api/snapshots%2fapp1' '//api/snapshots' '/api/snapshots/%2e%2e/app1' "/api/snapshots/$first?client=app1" '/api/snapshots/;client=app1'; do
	get app2 -o got --path-as-is -H 'X-Client: app1' -H 'X-SSL-Client-S-DN: CN=app1' --data-binary @evil "$M$path" >/dev/null 2>&1
	for method in PUT DELETE PATCH; do
		get app2 -o got --path-as-is -X $method --data-binary @evil "$M$path" >/dev/null 2>&1
	done
done
t 'nothing of app1 changes' sh -c '"$SLIPWAY" mirror snapshots m --client app1 | cmp - before'
t 'nor is anything lost' "$SLIPWAY" mirror snapshots m show "$first"
t 'what app2 wrote is its own' sh -c '"$SLIPWAY" mirror snapshots m show app2/step | grep -q evil'
t 'it does not read another'\''s' must_fail 22 get app2 -o got "$M/api/snapshots/$first"
t 'nor list it' sh -c "get_it() { curl -sS --cacert m/pki/ca.pem --cert '$(ls "$T"/app2/mirror/*/client.pem)' \"\$@\"; }; get_it '$M/api/snapshots?client=app1' | python3 -c '
import json, sys
assert $first not in [s[\"id\"] for s in json.load(sys.stdin)[\"snapshots\"]]'"
t 'nobody writes without a certificate' must_fail 22 curl -sS --fail-with-body --cacert m/pki/ca.pem --data-binary @evil "$M/api/snapshots"
t 'nor with one of its own making' sh -c 'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout own.pem -out own.crt -subj /CN=app1 2>/dev/null &&
	cat own.crt >>own.pem && ! curl -sS --fail-with-body --cacert m/pki/ca.pem --cert own.pem --data-binary @evil '"$M/api/snapshots"
t 'more than may be' sh -c 'head -c 9000000 /dev/zero >zero && ! curl -sS --fail-with-body --cacert m/pki/ca.pem --cert '"$(ls "$T"/app2/mirror/*/client.pem)"' --data-binary @zero '"$M/api/snapshots"
t 'app1 is as it was' sh -c '"$SLIPWAY" mirror snapshots m --client app1 | cmp - before'

# -- so many, so long --------------------------------------------------------------------------------------------------------
sed -i 's,^\( *\)#* *perEnvironment:.*,\1perEnvironment: 2,' m/mirror.yaml
t 'fewer are kept' runs "$SLIPWAY" mirror restart m
for v in 1 2 3 4; do
	printf 'snapshot 1\nenvironment many\nwhen now\nchannel https://m/c\npackage p %s 0 noarch 1\n' $v >s$v
	get app2 -o got --data-binary @s$v "$M/api/snapshots"
done
t 'the newest two' sh -c '"$SLIPWAY" mirror snapshots m -n many | grep -c many | grep -qx 2'

# -- who goes ------------------------------------------------------------------------------------------------------------------
t 'would remove' runs "$SLIPWAY" mirror clients m remove app2 --dry-run
t 'did not' sh -c '"$SLIPWAY" mirror clients m | grep -q app2'
t 'remove' runs "$SLIPWAY" mirror clients m remove app2
t 'its snapshots are gone' sh -c '! "$SLIPWAY" mirror snapshots m | grep -q app2'
t 'its certificate is refused' must_fail 22 get app2 "$M/api/snapshots"
t 'for nginx, too' sh -c "openssl crl -in m/pki/crl.pem -noout -text | grep -q 'Serial Number'"
t 'nobody is there to remove' must_fail 1 "$SLIPWAY" mirror clients m remove app2
runs "$SLIPWAY" mirror enroll m
t 'the machine may come again' runs as app2 enroll --code "$(cat out)" --name app7 "$M"
t 'by another name' sh -c '"$SLIPWAY" mirror clients m | grep -q "^app7 .*enrolled"'
t 'stop' runs "$SLIPWAY" mirror stop m

done_testing
