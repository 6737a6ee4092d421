# SPDX-License-Identifier: Apache-2.0
# Plans that an operator signs with keys of their own and a mirror carries: a host that is held to them changes to what is signed and to nothing
# else. The mirror is stolen here: whoever has it has its disk, its authority and its TLS key, and changes what it serves.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
need python3
trap '"$SLIPWAY" -q mirror stop "$T/m" >/dev/null 2>&1; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

# pack NAME VERSION [CONTENT]
pack()
{
	rm -rf st && mkdir -p st/share && echo "${3:-$1 $2}" >"st/share/$1"
	"$SLIPWAY" -q pack conda -o pkgs --compression-level 1 --noarch generic --name "$1" --version "$2" st >/dev/null
}
# on HOST COMMAND...: with the root folder of that host
on()
{
	SLIPWAY_ROOT=$T/$1
	shift
	"$SLIPWAY" "$@"
	set -- $?
	SLIPWAY_ROOT=$T/app1
	return "$1"
}
# packages ENV: of app1
packages()
{
	"$SLIPWAY" env packages -n "$1" --json | python3 -c 'import json, sys; print(*sorted(p["name"] + p["version"] for p in json.load(sys.stdin)["packages"]))'
}
# lock FILE SPEC...: what the solver answers, exact
lock()
{
	lock_to=$1
	shift
	on build -q env create -n step -c "$M/site" "$@" && on build env export -n step >"$lock_to" && on build -q env remove -n step
}
SLIPWAY_ROOT=$T/app1
export SLIPWAY_ROOT

"$SLIPWAY" -q mirror init m --name your-mirror --host localhost || exit 1
sed -i 's,^\( *\)#* *listen:.*,\1listen: 127.0.0.1:0,; s,^\( *\)#* *admin:.*,\1admin: 127.0.0.1:0,; s,^#* *log:.*,log: file,' m/mirror.yaml
"$SLIPWAY" -q channel create m/site --kind conda --type local
t 'a channel of plans' runs "$SLIPWAY" channel create m/plan --kind plan --type local
pack web 1.0
pack web 1.1
pack db 1.0
pack db 1.1
"$SLIPWAY" -q channel publish m/content/site pkgs/*.conda || exit 1
"$SLIPWAY" -q mirror start m || exit 1
M=https://localhost:$("$SLIPWAY" mirror status --json m | python3 -c 'import json, sys; print(json.load(sys.stdin)["port"])')
for host in app1 app2 build; do
	"$SLIPWAY" -q mirror enroll m --name $host >code && on $host -q enroll --code - "$M" <code && on $host -q spot --updates="$M" || exit 1
done
lock one.spr web=1.0 db=1.0
lock two.spr web=1.1 db=1.1

# -- the operator ---------------------------------------------------------------------------------------------------------------
t 'no repository of plans' must_fail 1 "$SLIPWAY" plan sign op one.spr --keys opkeys --host app1
t 'says how one is made' has 'slipway tuf create' err
t 'a repository' runs "$SLIPWAY" tuf create op/metadata --keys opkeys --expires timestamp=30 --expires snapshot=30
t 'a plan of no host' must_fail 2 "$SLIPWAY" plan sign op one.spr --keys opkeys -n step
t 'a plan without packages' sh -c 'printf "recipe 1\nname step\nspec web\n" >specs.spr; ! "$SLIPWAY" plan sign op specs.spr --keys opkeys --host app1 2>err && grep -q "env export" err'
t 'a dry run' runs "$SLIPWAY" plan sign op one.spr --keys opkeys -n step --host app1 --dry-run
t 'writes nothing' test ! -e op/plans
t 'sign' runs "$SLIPWAY" plan sign op one.spr --keys opkeys -n step --host app1
t 'says for how many' has "signed for 1 host: 'step', 2 packages" err
printf '# a group\napp2\napp3\n' >group
t 'for a group, from a file' runs "$SLIPWAY" plan sign op two.spr --keys opkeys -n step --hosts group --json
t 'as JSON' has '"app3"' out
t 'again' runs "$SLIPWAY" plan sign op two.spr --keys opkeys -n step --hosts group
t 'changes nothing' has 'nothing changed' err
t 'publish, dry' runs "$SLIPWAY" plan publish op m/content/plan --dry-run
t 'brings nothing' test ! -e m/content/plan/metadata/timestamp.json
t 'publish into a mirror' must_fail 2 "$SLIPWAY" plan publish op m
t 'publish' runs "$SLIPWAY" plan publish op m/plan
t 'says until when' has 'hosts take these plans until' err
t 'a channel of plans is published to by its own command' must_fail 1 "$SLIPWAY" channel publish m/content/plan one.spr
t 'which is named' has 'slipway plan publish' err
t 'no key is there' sh -c '! find m -name "*.pem" | xargs grep -l PRIVATE | grep content'
cp -r m/content/plan published.1

# -- a host ------------------------------------------------------------------------------------------------------------------------
t 'before it trusts anybody' must_fail 1 "$SLIPWAY" plan show -n step
t 'it says what to do' has 'slipway plan trust' err
t 'trust, dry' runs "$SLIPWAY" plan trust op/metadata/1.root.json --dry-run
t 'keeps nothing' test ! -e app1/plan
t 'trust' runs "$SLIPWAY" plan trust op/metadata/1.root.json
t 'as it is enrolled' has "plans for 'app1'" err
t 'show' runs "$SLIPWAY" plan show -n step
t 'is the lock' has '"name":"web","version":"1.0"' out
t 'none for another environment' must_fail 1 "$SLIPWAY" plan show -n other
t 'says for which there is one' has "there are some for 'step'" err
echo 'require_signed_plan: [step]' >app1/config.yml
t 'what is not signed' must_fail 1 "$SLIPWAY" env create -n step -c "$M/site" web=1.1
t 'is refused, with what is' has 'web 1.0 0 is signed, not 1.1 0' err
t 'what is left out too' has 'db 1.0 is missing' err
t 'and nothing is there' must_fail 1 "$SLIPWAY" env packages -n step
t 'a dry run is refused as well' must_fail 1 "$SLIPWAY" apply two.spr -n step --dry-run
t 'prepare too' must_fail 1 "$SLIPWAY" prepare two.spr -n step
t 'other environments are free' runs "$SLIPWAY" env create -n other -c "$M/site" web=1.1
t 'the solver'\''s answer, where it is what is signed' runs "$SLIPWAY" env create -n step -c "$M/site" web=1.0 db=1.0
t 'verify' runs "$SLIPWAY" plan verify -n step
t 'says so' has "is what is signed for 'app1'" err
t 'what else is asked for' must_fail 1 "$SLIPWAY" env update -n step web=1.1
t 'a recipe that differs' must_fail 1 "$SLIPWAY" plan verify -n step two.spr
t 'a list of addresses' sh -c 'printf "@EXPLICIT\n%s/site/noarch/web-1.1-0.conda\n" "$1" >list.txt; ! "$SLIPWAY" apply list.txt -n step 2>err && grep -q "is signed" err' - "$M"
t 'is refused when its digests are known' test "$(packages step)" = 'db1.0 web1.0'
printf 'variable X="1"\n' >>one.spr
t 'a variable more' must_fail 1 "$SLIPWAY" apply one.spr -n step
t 'is something else' has 'variables are other ones' err
sed -i '$d' one.spr
"$SLIPWAY" -q plan sign op two.spr --keys opkeys -n step --host app1 && "$SLIPWAY" -q plan publish op m/content/plan || exit 1
cp -r m/content/plan published.2
t 'the next plan' runs "$SLIPWAY" prepare plan:step
t 'is prepared' test "$(packages step)" = 'db1.0 web1.0'
t 'and applied, offline' runs "$SLIPWAY" spot --offline --apply=plan:step
t 'to the end' test "$(packages step)" = 'db1.1 web1.1'
t 'the version before, by rollback' must_fail 1 "$SLIPWAY" install rollback -n step
t 'is not signed any more' has 'web 1.1 0 is signed, not 1.0 0' err
t 'another environment goes where it likes' runs "$SLIPWAY" env update -n other db=1.0

# -- stolen ------------------------------------------------------------------------------------------------------------------------------
# serve FOLDER: as the plans that the mirror has now
serve()
{
	rm -rf m/content/plan/metadata m/content/plan/targets && cp -r "$1/metadata" "$1/targets" m/content/plan/
}
refused()
{
	must_fail 1 "$SLIPWAY" apply "$1" -n step
}
t 'the mirror gives an older plan: rolled back' serve published.1
t 'is refused' refused one.spr
t 'as what it is' has 'would go back\|was at version' err
t 'nor shown' must_fail 1 "$SLIPWAY" plan show -n step
t 'a plan signed by keys of the thief' sh -c '"$SLIPWAY" -q tuf create evil/metadata --keys evilkeys && "$SLIPWAY" -q plan sign evil one.spr --keys evilkeys -n step --host app1 && rm -rf m/content/plan/metadata m/content/plan/targets && cp -r evil/metadata evil/targets m/content/plan'
t 'is refused too' refused one.spr
t 'for its signatures' has 'sign' err
serve published.2
pack web 1.2
"$SLIPWAY" -q channel publish m/content/site pkgs/web-1.2-0.conda
lock three.spr web=1.2 db=1.1
"$SLIPWAY" -q plan sign op three.spr --keys opkeys -n step --host app2 && "$SLIPWAY" -q plan publish op m/content/plan || exit 1
serve published.2 && cp -r op/metadata op/targets m/content/plan/ && cp -r m/content/plan published.3
on app2 -q plan trust op/metadata/1.root.json
echo 'require_signed_plan: "*"' >app2/config.yml
t 'a host'\''s plan is its own' sh -c '"$1" --root "$2/app2" plan show -n step | grep -q "\"version\":\"1.2\""' - "$SLIPWAY" "$T"
t 'the plan of another host' sh -c 'for f in m/content/plan/targets/app1/*; do cp "$(grep -l "\"version\":\"1.2\"" m/content/plan/targets/app2/*)" new && mv new "$f"; done; rm -r app1/plan/kept'
t 'is refused' refused three.spr
t 'for its bytes' has 'not what was signed\|has [0-9]* bytes' err
t 'plans come over HTTPS' must_fail 2 "$SLIPWAY" plan trust op/metadata/1.root.json --url http://x
serve published.3
t 'that host'\''s lock' refused three.spr
t 'is not this one'\''s' has 'web 1.1 0 is signed, not 1.2 0' err
t 'a renewed certificate cannot rename a host' sh -c 'grep -q "\"host\": \"app1\"" app1/plan/plan.json'
# the packages: what the plan and the channel say is no longer the same
pack web 1.2 evil
"$SLIPWAY" -q channel publish --replace m/content/site pkgs/web-1.2-0.conda
t 'a package of other bytes, and its channel says so' must_fail 1 on app2 apply plan:step --refresh
t 'is refused by the plan' has 'other bytes' err
t 'the channel names it no more' runs "$SLIPWAY" channel yank m/content/site noarch/web-1.2-0.conda --reason gone
t 'what only the plan names' must_fail 1 on app2 apply plan:step --refresh
t 'is refused' has 'does not have' err
t 'plans are withheld' rm -r m/content/plan/metadata m/content/plan/targets
t 'a host notices' must_fail 1 "$SLIPWAY" apply plan:step
t 'and is told that they must be there' has 'timestamp.json' err
t 'it runs what it ran' test "$(packages step)" = 'db1.1 web1.1'
serve published.3
"$SLIPWAY" -q mirror stop m
t 'the mirror is away: what was verified before is good' runs "$SLIPWAY" plan verify -n step
t 'and a note says so' has 'verified before is used' err

# -- time, keys -----------------------------------------------------------------------------------------------------------------------------
cp -r op stale
"$SLIPWAY" -q tuf renew stale/metadata timestamp snapshot targets --keys opkeys --time 2020-01-01T00:00:00Z
t 'the host of a folder' on app3 plan trust op/metadata/1.root.json --host app3 --url "file://$T/op"
t 'has its plan' on app3 plan show -n step
sed 's,/op",/stale",' app3/plan/plan.json >pin && cp pin app3/plan/plan.json
t 'an expired one' must_fail 1 on app3 plan show -n step
t 'is refused with its date' has 'expired at 2020' err
sed 's,/stale",/op",' app3/plan/plan.json >pin && cp pin app3/plan/plan.json
"$SLIPWAY" -q tuf rotate op/metadata targets --keys opkeys && "$SLIPWAY" -q plan sign op one.spr --keys opkeys -n step --host app3
t 'new keys, announced by the old ones' runs on app3 plan show -n step
t 'another root' must_fail 1 on app3 plan trust evil/metadata/1.root.json --host app3
t 'is not taken in passing' has '[-]-replace' err
t 'publish from an old copy' must_fail 1 "$SLIPWAY" plan publish published.1 m/content/plan
t 'is refused by the folder itself' has 'no next state' err
t 'publish what is new' runs "$SLIPWAY" plan publish op m/content/plan
t 'scrub' runs "$SLIPWAY" channel scrub m/plan
# another mirror follows the channel
t 'a mirror of the mirror' runs "$SLIPWAY" channel create m/follow --kind plan --type mirror --download HISTORIC --from "$T/m/content/plan"
t 'follows' runs "$SLIPWAY" channel sync m/follow
t 'whole' sh -c 'cd m/content/follow && for f in metadata/*.json targets/app*/*.spr; do cmp "$f" "../plan/$f" || exit 1; done'
# in two steps
t 'a generation that was added' sh -c 'rm app1/config.yml; "$SLIPWAY" -q install add one.spr -n step --offline'
echo 'require_signed_plan: [step]' >app1/config.yml
t 'is activated only if it is signed' must_fail 1 "$SLIPWAY" install activate -n step --offline
t 'else it says what is' has 'is signed, not' err
t 'and gives up' runs "$SLIPWAY" install abort -n step

done_testing
