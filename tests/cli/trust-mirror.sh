# SPDX-License-Identifier: Apache-2.0
# Signed channels through mirrors and proxies: what a keeper signed is carried on as it is by who has no key; a mirror verifies as it follows; what
# clients of it take, recipes too, is what the keeper signed, whoever has the mirror, its TLS key included.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
. "$SOURCE_ROOT/tests/lib/serve.sh"
need curl openssl python3 bzip2
trap 'serve_end; "$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

keeper()
{
	"$SLIPWAY" --root "$T/keeper" channel "$@"
}
member()
{
	python3 -c 'import json, sys; v = json.load(open("out"))[sys.argv[1]]; print(json.dumps(v) if isinstance(v, (dict, list)) else v)' "$1"
}

small_package x 1
small_package x 2
small_package y 1
mkdir up
keeper publish up/tools x-1-0.tar.bz2 2>/dev/null
keeper sign --create up/tools 2>/dev/null
cp up/tools/tuf/metadata/1.root.json root.json
serve "$T/up"

# -- a mirror that follows
t 'a mirror' runs "$SLIPWAY" mirror init m --name your-mirror --host localhost
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
t 'a channel that follows' runs "$SLIPWAY" channel create m/tools --kind conda --from "$URL/tools" --tuf-root root.json
t 'sync' runs "$SLIPWAY" channel sync m/tools
same()
{
	for same_f in timestamp.json 1.root.json 2.snapshot.json 2.targets.json; do
		cmp "up/tools/tuf/metadata/$same_f" "m/content/tools/tuf/metadata/$same_f" || return 1
	done
}
t 'carries what signs it, unchanged' same
targets_carried()
{
	(cd m/content/tools/tuf/targets && find . -type f) >carried.list
	[ -s carried.list ] && while read -r f; do
		cmp "up/tools/tuf/targets/$f" "m/content/tools/tuf/targets/$f" || return 1
	done <carried.list
}
t 'and its targets' targets_carried
t 'pointers were asked for as signed' hasnt 'GET /tools/noarch/repodata' requests
t 'again' runs "$SLIPWAY" channel sync m/tools
t 'nothing new' has 'unchanged\|up to date\|nothing new' err
"$SLIPWAY" --root keeper tuf renew up/tools/tuf/metadata timestamp --keys keeper/keys/tuf 2>/dev/null
t 'only signed again' runs "$SLIPWAY" channel sync m/tools
t 'is carried too' cmp up/tools/tuf/metadata/timestamp.json m/content/tools/tuf/metadata/timestamp.json
t 'prune' runs "$SLIPWAY" channel prune m/tools
t 'leaves it' targets_carried

# -- upstream is stolen
cp -r up/tools saved
cp -r m/content/tools/tuf carried
refuses()
{
	must_fail 1 "$SLIPWAY" channel sync m/tools && has "$1" err && diff -r carried m/content/tools/tuf && cmp saved/noarch/repodata.json m/content/tools/noarch/repodata.json
}
keeper publish up/tools x-2-0.tar.bz2 2>/dev/null
cp -r up/tools new
echo '{}' >evil.json
find up/tools/tuf/targets -type f -exec cp evil.json {} \;
t 'other pointers: nothing is switched' refuses 'repodata.json'
rm -rf up/tools && cp -r new up/tools
rm up/tools/tuf/metadata/timestamp.json
t 'no signatures: nothing is switched' refuses 'nothing unsigned is taken'
rm -rf up/tools && cp -r new up/tools
python3 - <<'X'
import json
p = "up/tools/tuf/metadata/timestamp.json"
b = json.load(open(p))
b["signatures"][0]["sig"] = "00" * 64
json.dump(b, open(p, "w"))
X
t 'a wrong signature: nothing is switched' refuses 'timestamp.json'
rm -rf up/tools && cp -r new up/tools
t 'the real one is followed' runs "$SLIPWAY" channel sync m/tools
t 'as it is' cmp up/tools/tuf/metadata/timestamp.json m/content/tools/tuf/metadata/timestamp.json
rm -rf carried && cp -r m/content/tools/tuf carried
rm -rf up/tools && cp -r saved up/tools
rm -rf saved && cp -r new saved
t 'rollback: nothing is switched' refuses 'was at version'
rm -rf up/tools && cp -r new up/tools

# -- channels of its own, a proxy, recipes; clients
t 'a proxy' runs "$SLIPWAY" channel create m/far --kind conda --type proxy --from "$URL/tools"
t 'recipes' runs "$SLIPWAY" channel create m/takeout --kind takeout --type local
t 'one of its own' runs "$SLIPWAY" channel create m/site --kind conda --type local
"$SLIPWAY" --root keeper channel publish m/content/site y-1-0.tar.bz2 2>/dev/null
t 'is signed' runs "$SLIPWAY" channel sign --create m/site
t 'with keys of the mirror' [ "$(find m/keys/tuf -name '*.pem' | wc -l)" = 4 ]
printf 'recipe 1\nname tool\nchannel site\nspec y\n' >tool.spr
t 'publish a recipe' runs "$SLIPWAY" channel publish m/content/takeout --into step tool.spr
t 'sign the recipes' runs "$SLIPWAY" channel sign --create m/takeout
t 'start' runs "$SLIPWAY" mirror start m
runs "$SLIPWAY" mirror status --json m
M=https://localhost:$(member port)
runs "$SLIPWAY" mirror enroll m --name app1
t 'enroll' runs "$SLIPWAY" enroll --code "$(cat out)" "$M"
t 'pins the roots of signed channels' has "pinned the root of '$M/site'" err
t 'of recipes' has "pinned the root of '$M/takeout'" err
t 'of what it carries' has "pinned the root of '$M/tools'" err
t 'through a proxy' has "pinned the root of '$M/far'" err
t 'loudly' has 'nothing of that channel is taken unsigned' err
t 'refresh' runs "$SLIPWAY" channel refresh "$M/tools" "$M/far" "$M/site"
t 'env create from what is carried' runs "$SLIPWAY" env create -n e -c "$M/tools" 'x >=2'
t 'a target that the mirror has not brought comes on demand' curl -sS --fail --cacert m/pki/ca.pem -o got "$M/tools/tuf/targets/noarch/$(basename "$(find up/tools/tuf/targets -name '*.repodata.json' | head -1)")"
t 'and through the proxy' runs "$SLIPWAY" env create -n f -c "$M/far" 'x >=2'
t 'the mirror to take updates from' runs "$SLIPWAY" spot --updates="$M"
rm -rf "$SLIPWAY_ROOT/takeout"
t 'list' runs "$SLIPWAY" spot --list
t 'apply' runs "$SLIPWAY" spot --apply=to:step/tool.spr
keeper publish up/tools y-1-0.tar.bz2 2>/dev/null
t 'upstream goes on' runs "$SLIPWAY" channel sync m/tools
t 'and clients with it' runs "$SLIPWAY" channel refresh "$M/tools"

# -- upstream is down
serve_end
t 'a sync fails' must_fail 1 "$SLIPWAY" channel sync m/tools
t 'clients have what is held' runs "$SLIPWAY" channel refresh "$M/tools"
# a proxy has what somebody asked for; a client that comes new to it asks for a root that it does not have
mkdir -p "$T/late/mirror" && cp -r "$SLIPWAY_ROOT/mirror/." "$T/late/mirror/"
t 'one that comes new pins the root' runs "$SLIPWAY" --root "$T/late" channel trust "$M/far" root.json
t 'and has what the proxy holds' runs "$SLIPWAY" --root "$T/late" solve -c "$M/far" 'x >=2'

# -- the mirror is stolen, TLS key and all
cp -r m/content/takeout takeout.good
printf 'recipe 1\nname tool\nchannel site\nspec x\n' >m/content/takeout/step/tool.spr
evil=$(sha256sum <m/content/takeout/step/tool.spr | cut -d' ' -f1)
sed -i "s/$(sha256sum <tool.spr | cut -d' ' -f1)/$evil/" m/content/takeout/takeout.json
t 'other recipes: the list is the one that was signed' runs "$SLIPWAY" spot --list
rm -rf "$SLIPWAY_ROOT/takeout"
t 'and the recipe' must_fail 1 "$SLIPWAY" spot --apply=to:step/tool.spr --sync
find m/content/takeout/tuf/targets -type f -exec cp --remove-destination m/content/takeout/takeout.json {} \;
t 'another list under its name' must_fail 1 "$SLIPWAY" spot --list
t 'is refused' has 'takeout' err
rm -rf m/content/takeout/tuf
t 'no signatures' must_fail 1 "$SLIPWAY" spot --apply=to:step/tool.spr
t 'are refused' has 'nothing unsigned is taken' err
rm -rf m/content/takeout/* && cp -r takeout.good/. m/content/takeout/
t 'as it was' runs "$SLIPWAY" spot --list
t 'an unsigned channel beside signed recipes' runs "$SLIPWAY" channel trust --forget "$M/site"
t 'is not drawn in by them' must_fail 1 "$SLIPWAY" spot --apply=to:step/tool.spr
t 'with what to do' has "pin it with: slipway channel trust $M/site" err

done_testing
