# SPDX-License-Identifier: Apache-2.0
# The admin port: every count opens into its list, lists say why they differ, pages are valid HTML in which no text of others is markup,
# metrics are what Prometheus reads, and health says what is wrong.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need curl openssl python3
trap '"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

# pack NAME VERSION [OPTION...]
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
# counts LIST=N...: of the object in ./out
counts()
{
	python3 - "$@" <<-'Y'
		import json, sys
		have = json.load(open("out"))["counts"]
		want = {k: int(v) for k, v in (a.split("=") for a in sys.argv[1:])}
		got = {k: have[k] for k in want}
		assert got == want, got
	Y
}
# because PATH WORD: a row of ./out says so
because()
{
	python3 - "$@" <<-'Y'
		import json, sys
		row = {p["path"]: p for p in json.load(open("out"))["packages"]}[sys.argv[1]]
		why = row["why_not_here"] + "|" + row["why_not_offered"]
		assert sys.argv[2] in why, why
	Y
}

pack web 1.0 --noarch generic
pack web 1.1 --noarch generic
pack tool 1.0 --subdir linux-64
pack tool 2.0 --subdir osx-64
"$SLIPWAY" -q channel publish up pkgs/*.conda
"$SLIPWAY" -q mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,; s,^#* *reserve:.*,reserve: 0 MB,' m/mirror.yaml
"$SLIPWAY" -q channel create m/tools --kind conda --type mirror --from "$T/up" --download ON_DEMAND
"$SLIPWAY" -q channel create m/own --kind conda --type local
"$SLIPWAY" -q channel publish m/content/own pkgs/web-1.1-0.conda
"$SLIPWAY" -q channel create m/takeout --kind takeout --type local
printf 'recipe 1\nname step\nchannel own\nspec web\n' >a.spr
cp a.spr b.spr
"$SLIPWAY" -q channel publish m/content/takeout --into step a.spr b.spr
"$SLIPWAY" -q channel yank m/content/takeout --reason 'loses <b>data</b>' step/b.spr
# what others wrote must stay text
echo "description: '<script>alert(1)</script> & \"quoted\"'" >>m/channels/own.yaml
"$SLIPWAY" -q channel create m/lost --kind conda --type mirror --from "file://$T/nowhere/<i>x</i>"
"$SLIPWAY" -q channel sync m/tools

# -- the command ----------------------------------------------------------------------------------------------------------
t 'counts' runs "$SLIPWAY" mirror list m tools --json
t 'of each list' counts told=4 held=0 missing=4 damaged=0 gone=0 offered=3 others=1
t 'one of them' runs "$SLIPWAY" mirror list m tools missing --json
t 'says why' because noarch/web-1.1-0.conda 'on demand:'
t 'what is not offered' runs "$SLIPWAY" mirror list m tools others --json
t 'is superseded, by which' because noarch/web-1.0-0.conda 'superseded: by 1.1'
t 'for a platform' runs "$SLIPWAY" mirror list m tools others --platform linux-64 --json
t 'some are for another' because osx-64/tool-2.0-0.conda 'platform: it is for osx-64'
t 'which supersede nothing' counts offered=2 others=2
t 'of one'\''s own' runs "$SLIPWAY" mirror list m own --json
t 'are counted, too' counts told=1 held=1 missing=0 offered=1
t 'recipes' runs "$SLIPWAY" mirror list m takeout others --json
t 'are disabled, and why' because step/b.spr 'disabled: loses <b>data</b>'
t 'for people' runs "$SLIPWAY" mirror list m tools
t 'a table' has 'missing *4 ' out
t 'in the folder itself' sh -c 'cd m && "$SLIPWAY" mirror list own told | grep -q web-1.1'
t 'so many' sh -c '"$SLIPWAY" mirror list m tools told --limit 1 --offset 2 >rows 2>err && grep -c conda rows | grep -qx 1'
t 'and where others are' has "[-]-offset 3" err
t 'no such list' must_fail 2 "$SLIPWAY" mirror list m tools lost
t 'no such channel' must_fail 1 "$SLIPWAY" mirror list m frob
t 'no channel' must_fail 2 "$SLIPWAY" mirror list

# -- pages ------------------------------------------------------------------------------------------------------------------
t 'start' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror status --json m
A=http://127.0.0.1:$(member admin_port) M=https://localhost:$(member port)
tend_soon()
{
	for _ in $(seq 100); do
		curl -sS "$A/?format=json" | grep -q 'there is no conda channel' && return
		sleep 0.1
	done
	return 1
}
t 'the one that cannot be had is tried' tend_soon
curl -sS --cacert m/pki/ca.pem -o /dev/null "$M/tools/noarch/web-1.1-0.conda"
for _ in $(seq 50); do
	curl -sS "$A/list?channel=tools&list=held&format=json" -o out
	grep -q web-1.1 out && break
	sleep 0.1
done
t 'what a client asked for is held' grep -q web-1.1-0 out

# every count that a page shows is as long as its list
counts_are_lists()
{
	python3 - "$A" <<-'Y'
		import html, json, re, sys, urllib.request
		base, seen = sys.argv[1], 0
		for page in ("/", "/channel?name=tools", "/channel?name=own", "/channel?name=takeout", "/channel?name=tools&platform=linux-64", "/queue", "/storage"):
		    text = urllib.request.urlopen(base + page).read().decode()
		    for link, n in re.findall(r"<a href='(/list[^']*)'>(\d+)</a>", text):
		        got = json.load(urllib.request.urlopen(base + html.unescape(link) + "&format=json"))
		        assert got["count"] == int(n) == len(got["packages"]), (page, link, n, got)
		        seen += 1
		assert seen > 30, seen
	Y
}
t 'every count is as long as its list' counts_are_lists
for page in '' 'channel?name=own' 'channel?name=lost' 'list?channel=takeout&list=others' 'list?channel=tools&list=told&platform=%3Cscript%3E' upstreams queue clients storage; do
	curl -sS -D head -o "page" "$A/$page"
	t "/$page: no markup of others" sh -c '! grep -q "<script\|<i>x\|<b>data" page'
	t "/$page: a policy" sh -c "grep -qi \"^content-security-policy: default-src 'none'\" head"
	t "/$page: valid HTML" sh -c '/usr/bin/python3 -c "
import sys
try:
    import html5lib
except ImportError:
    print(\"package: no python3-html5lib\"); sys.exit(77)
html5lib.HTMLParser(strict=True).parse(open(\"page\", encoding=\"utf-8\").read())"'
done
t 'a description is shown' sh -c "curl -sS $A/ | grep -q '&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quoted'"
t 'no such page' must_fail 22 curl -sS -f "$A/nothing"
t 'no such channel there' must_fail 22 curl -sS -f "$A/list?channel=../etc"
t 'no such list there' must_fail 22 curl -sS -f "$A/list?channel=tools&list=frob"
t 'nothing is changed there' must_fail 22 curl -sS -f -X DELETE "$A/"

# -- for machines -----------------------------------------------------------------------------------------------------------
curl -sS "$A/metrics" -o metrics
if command -v promtool >/dev/null; then
	t 'promtool has nothing to say' sh -c 'promtool check metrics <metrics >said 2>&1 && [ ! -s said ]'
fi
t 'metrics are read by Prometheus'\''s own parser' sh -c '/usr/bin/python3 -c "
import sys
try:
    from prometheus_client.parser import text_string_to_metric_families as parse
except ImportError:
    print(\"package: no python3-prometheus-client\"); sys.exit(77)
got = {}
for family in parse(open(\"metrics\").read()):
    assert family.documentation and family.type in (\"counter\", \"gauge\"), family
    for s in family.samples:
        assert s.name.startswith(\"slipway_mirror_\") and (family.type == \"counter\") == s.name.endswith(\"_total\"), s
        got[s.name, s.labels.get(\"channel\")] = s.value
assert got[\"slipway_mirror_channel_packages\", \"tools\"] == 4, got
assert got[\"slipway_mirror_channel_sync_success\", \"lost\"] == 0 and got[\"slipway_mirror_channel_sync_success\", \"tools\"] == 1
assert got[\"slipway_mirror_healthy\", None] == 0
"'
t 'health' sh -c "curl -sS -o health -w '%{http_code}' $A/healthz | grep -qx 503"
t 'says what is wrong, since when' grep -q '^channel lost: the last sync failed; it was never brought up to date: ' health
t 'and of nothing else' sh -c '! grep -v "^channel lost" health'
rm m/channels/lost.yaml
sed -i 's,^reserve:.*,reserve: 1000 TB,' m/mirror.yaml
runs "$SLIPWAY" mirror restart m
# health PATTERN: soon; the server of before may answer a moment longer
health()
{
	for _ in $(seq 50); do
		curl -sS "$A/healthz" -o health
		grep -q "$1" health && return
		sleep 0.1
	done
	cat health
	return 1
}
t 'no space' health '^space: [0-9]* bytes are left, less than the reserve'
sed -i 's,^reserve:.*,reserve: 0 MB,' m/mirror.yaml
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 -keyout m/own.key -out m/own.crt -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null
cp m/mirror.yaml kept
sed -i '0,/^    #certificate:.*/s//    certificate: own.crt/; 0,/^    #key:.*/s//    key: own.key/; s/^#server:/server:/' m/mirror.yaml
runs "$SLIPWAY" mirror restart m
t 'a certificate that ends' health '^certificate: the server.s ends at .*; renew it'
cp kept m/mirror.yaml
runs "$SLIPWAY" mirror restart m
t 'all is well' health '^ok$'
t 'a slow page holds up neither clients nor watchers' sh -c 'for i in $(seq 40); do curl -sS -o /dev/null "'"$A"'/list?channel=tools" & done; for i in 1 2 3; do
	curl -sS -m 5 '"$A"'/healthz | grep -qx ok && curl -sS -m 5 --cacert m/pki/ca.pem -o /dev/null '"$M"'/own/noarch/repodata.json || exit 1; done; wait'
t 'stop' runs "$SLIPWAY" mirror stop m
# a page of the database is damaged
python3 - m/state/mirror.db <<'Y'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
(root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sync'").fetchone()
(size,) = db.execute("PRAGMA page_size").fetchone()
db.close()
with open(sys.argv[1], "r+b") as f:
    f.seek((root - 1) * size)
    f.write(b"\xff" * 64)
Y
t 'a damaged database' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror status --json m
A=http://127.0.0.1:$(member admin_port)
t 'is told' health '^database: .*damaged'
t 'stop again' runs "$SLIPWAY" mirror stop m

done_testing
