# SPDX-License-Identifier: Apache-2.0
# Every command answers --json with one object, on standard output alone, and its page says what is in it. A command that is
# new in the table fails here until it is in call() too.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need bzip2 python3

# call COMMAND: sets the words that a good call of it has, without --json, and members that its object must have.
call()
{
	case $1 in
	solve) words='solve -c ./ch x' has='packages subdir' ;;
	search) words='search -c ./ch x' has=packages ;;
	why) words='why -n e x' has=chains ;;
	'env create') words='env create -n new -c ./ch x' has='environment operation dry_run added generation' ;;
	'env update') words='env update -n e -c ./ch x=1' has='environment operation dry_run changed generation' ;;
	'env list') words='env list' has=environments ;;
	'env packages') words='env packages -n e' has=packages ;;
	'env history') words='env history -n e' has='generations history' ;;
	'env run') words='env run -n e --dry-run --json -- x' has='environment prefix command' ;;
	'env activate') words='env activate -n e' has='environment shell text' ;;
	'env wrap') words="env wrap -n e --dir $T/bin tool" has='environment dry_run wrappers' ;;
	'env export') words='env export -n e' has='environment format text' ;;
	'env check') words='env check -n e' has=differences ;;
	'env remove') words='env remove -n e' has='environment operation dry_run generations' ;;
	apply) words='apply list -n e' has='environment operation dry_run' ;;
	'install add') words='install add x=1 -n e' has='environment operation dry_run added generation activated' ;;
	prepare) words='prepare list -n e' has='environment operation dry_run' ;;
	spot) words="spot --updates=$T/ch" has='operation dry_run url' ;;
	'install activate') words='install activate issu -n e' has='environment operation state committed next' ;;
	'install commit') words='install commit -n e' has='environment operation state committed next' ;;
	'install abort') words='install abort issu -n e' has='environment operation state committed next' ;;
	'install auto-abort-timer') words='install auto-abort-timer stop -n e' has='environment operation state timer_left_ms' ;;
	'install label') words='install label 1 good -n e' has='environment operation dry_run generation label' ;;
	'show boot') words='show boot system' has='slipway cure environments' ;;
	'show install') words='show install summary -n e' has='slipway environments' ;;
	'show issu') words='show issu state detail' has='slipway environments' ;;
	'show redundancy') words='show redundancy' has='slipway hardware_mode communications active environments' ;;
	'show version') words='show version' has='slipway environments members' ;;
	'clear install') words='clear install state -n e' has='environment operation state next' ;;
	'install rollback') words='install rollback -n e' has='environment operation from to current' ;;
	'install remove') words='install remove inactive -n e' has='environment operation dry_run removed freed_bytes' ;;
	start) words='start e --dry-run' has='environment operation dry_run' ;;
	stop) words='stop e --dry-run' has='environment operation dry_run' ;;
	status) words=status has='agent version pid since_ms services operations workers' ;;
	agent) words='agent --print-unit' has=unit ;;
	jobs) words='jobs --all' has=jobs ;;
	'job submit') words='job submit --json --pool p --detach -- true' has='job pool client state waits_for before title exit_code' ;;
	'job log') words='job log 1' has='job state log' ;;
	'job show') words='job show 1' has='job pool client state waits_for worker host losses why exit_code submitted_ms started_ms ended_ms' ;;
	'job cancel') words='job cancel --dry-run 1' has='cancelled dry_run' ;;
	'job rate') words='job rate --pool p alice 2' has='operation dry_run pool client rate' ;;
	worker) words='worker --pool q --dry-run' has='pool worker capacity dry_run' ;;
	'worker list') words='worker list' has=workers ;;
	'worker pause') words='worker pause --dry-run w' has='operation dry_run worker' ;;
	'worker resume') words='worker resume --dry-run w' has='operation dry_run worker' ;;
	'worker drain') words='worker drain --dry-run w' has='operation dry_run worker' ;;
	'worker forget') words='worker forget --dry-run w' has='operation dry_run worker' ;;
	'channel add') words='channel add ./ch --name c' has='operation dry_run name url' ;;
	'channel list') words='channel list' has=channels ;;
	'channel remove') words='channel remove c' has='operation dry_run name url' ;;
	'channel refresh') words='channel refresh ./ch' has=channels ;;
	'channel trust') words='channel trust' has=channels ;;
	'channel sign') words="channel sign $T/signed --tuf-keys $T/signed.keys" has='operation dry_run folder waits signed' ;;
	'channel publish') words='channel publish ./new x-1-0.tar.bz2' has='operation dry_run folder kind files' ;;
	'channel yank') words='channel yank ./yanked noarch/x-1-0.tar.bz2' has='operation dry_run folder kind paths' ;;
	'channel key') words='channel key --ed25519' has='key home made' ;;
	'channel promote') words='channel promote ./ch ./promoted x=1' has='operation dry_run from to packages' ;;
	'channel prune') words='channel prune ./plain' has='operation dry_run channels' ;;
	'channel scrub') words='channel scrub ./plain' has='operation dry_run channels' ;;
	'channel create') words="channel create $T/made --kind conda" has='operation dry_run channel kind type' ;;
	'mirror init') words="mirror init $T/another --name m --host h" has='operation dry_run folder name host' ;;
	'channel sync') words='channel sync --from ./ch --file specs ./small' has='operation dry_run folder lines packages new removed unsolved answered_otherwise' ;;
	enroll) words=enroll has='operation dry_run mirrors' ;;
	'mirror serve') words="mirror serve --dry-run $T/mirror" has='operation dry_run dir runs' ;;
	'mirror start') words="mirror start $T/mirror" has='operation dir runs name host version pid since_ms port admin_port connections requests fetches troubles' ;;
	'mirror stop') words="mirror stop $T/idle" has='operation dir runs' ;;
	'mirror restart') words="mirror restart $T/mirror" has='operation dir runs pid' ;;
	'mirror upgrade') words="mirror upgrade --dry-run $T/mirror" has='operation dry_run dir runs' ;;
	'mirror reload') words="mirror reload $T/mirror" has='operation dir runs' ;;
	'mirror status') words="mirror status $T/mirror" has='dir runs pid port troubles' ;;
	'mirror list') words="mirror list $T/mirror takeout held" has='channel counts list offset packages' ;;
	'mirror install-service') words="mirror install-service --systemd --user u --to $T/units $T/mirror" has='operation dir' ;;
	'snapshot list') words='snapshot list' has=snapshots ;;
	'snapshot show') words='snapshot show 1' has='environment packages text' ;;
	'snapshot diff') words='snapshot diff 1 1' has=differences ;;
	'mirror enroll') words="mirror enroll $T/mirror" has='operation dry_run code until_ms host' ;;
	'mirror clients') words="mirror clients $T/mirror" has=clients ;;
	'mirror revoke') words="mirror revoke $T/mirror x --dry-run" has='operation dry_run name' ;;
	'mirror rights') words="mirror rights $T/mirror --group g a*" has='operation dry_run name' ;;
	'mirror snapshots') words="mirror snapshots $T/mirror" has=snapshots ;;
	'mirror authority') words="mirror authority $T/mirror" has='authority fingerprint until_ms server bundle' ;;
	'plan sign') words='plan sign op lock.spr --keys opkeys -n e --host h' has='operation dry_run repository environment packages hosts signed' ;;
	'plan publish') words='plan publish op plans' has='operation dry_run folder files bytes version expires' ;;
	'plan trust') words='plan trust op/metadata/1.root.json --host h --replace' has='operation dry_run host root' ;;
	'plan show') words='plan show -n e' has='host environment url sha256 version expires made_ms packages text' ;;
	'plan verify') words='plan verify -n e' has='host environment url sha256 version expires made_ms packages' ;;
	'image import') words='image import made root.tar' has='operation dry_run name layer digests layers bytes source env' ;;
	'image list') words='image list' has=images ;;
	'image show') words='image show base' has='name layer digests layers bytes source env' ;;
	'image remove') words='image remove base' has='operation dry_run name layers layers_stay bytes' ;;
	'build export') words='build export base -o base.tar' has='operation dry_run layer format file bytes' ;;
	'store gc') words='store gc' has='blobs trees' ;;
	'store verify') words='store verify' has='damaged repaired' ;;
	'store size') words='store size' has='blobs trees opam_packages' ;;
	'pair init') words='pair init --name one --listen 127.0.0.1:7' has='operation dry_run member name address fingerprint invitation until_ms listens' ;;
	'pair join') words="pair join --dry-run --name two --listen 127.0.0.2:7 $invitation" has='operation dry_run member name address' ;;
	'pair show') words='pair show' has='self joined members link' ;;
	'pair leave') words='pair leave' has='operation dry_run changed' ;;
	tuf) words='tuf renew repository timestamp --keys keys' has='operation dry_run repository signed new_keys' ;;
	'opam ci') words="opam ci --repo $T/opam --on ocaml/opam:debian-12-ocaml-5.3 --dry-run x.1" has='jobs dry_run' ;;
	'opam solve') words='opam solve --repo ./opam x' has='actions best' ;;
	'pack conda') words='pack conda --name p --version 1 stage' has='path name version build sha256' ;;
	build) words='build --check' has='run overlay user_namespace id_range idmapped cgroup_memory cgroup_pids seccomp why' ;;
	'build list') words='build list' has=layers ;;
	'build log') words="build log $(cat layer)" has='id text' ;;
	'build gc') words='build gc --dry-run' has='operation dry_run removed freed_bytes kept_bytes kept' ;;
	'build cache') words='build cache list' has=caches ;;
	'opam cache') words='opam cache' has='operation dry_run folder packages bytes' ;;
	'opam install') words="opam install --root $T/or --dry-run x" has='operation dry_run actions' ;;
	'opam reinstall') words="opam reinstall --root $T/or --dry-run -y x" has='operation dry_run actions' ;;
	'opam remove') words="opam remove --root $T/or --dry-run x" has='operation dry_run actions' ;;
	'version compare') words='version compare 1 2' has='a b order' ;;
	'spec match') words='spec match x>=1 x 1.0 0' has=match ;;
	'spec show') words='spec show x>=1' has='name version' ;;
	*)
		echo "nobody told this test how to call 'slipway $1'"
		return 1
		;;
	esac
}

# is_object FILE MEMBER...: FILE is one JSON object that has them
is_object()
{
	python3 -c '
import json, sys
answer = json.load(open(sys.argv[1]))
assert isinstance(answer, dict), answer
missing = [m for m in sys.argv[2:] if m not in answer]
assert not missing, (missing, answer)
' "$@"
}

mkdir -p opam/packages/x/x.1
echo 'opam-version: "2.0"' >opam/packages/x/x.1/opam
"$SLIPWAY" -q tuf create repository --keys keys
mkdir mirror idle idle/state
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'name: m\nhost: localhost\nserver: {listen: "127.0.0.1:%s", admin: "127.0.0.1:0"}\n' "$port" >mirror/mirror.yaml
cp mirror/mirror.yaml idle
trap '"$SLIPWAY" -q mirror stop "$T/mirror" >/dev/null 2>&1; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
invitation=$("$SLIPWAY" -q --root other pair init --name other --listen 127.0.0.3:7)

# A root with an environment of two generations, and with a kept channel.
begin()
{
	rm -rf "$SLIPWAY_ROOT" new bin
	mkdir -p stage/share
	echo 1 >stage/share/p
	cp -r kept "$SLIPWAY_ROOT"
}
small_package x 1
mkdir -p st/bin
printf '#!/bin/sh\n' >st/bin/tool
chmod 755 st/bin/tool
package st x 2
"$SLIPWAY" channel publish ch x-1-0.tar.bz2 x-2-0.tar.bz2 2>/dev/null
"$SLIPWAY" channel publish yanked x-1-0.tar.bz2 2>/dev/null
echo x >specs
"$SLIPWAY" channel create plain --kind conda 2>/dev/null
"$SLIPWAY" channel publish plain x-1-0.tar.bz2 2>/dev/null
"$SLIPWAY" channel add ./ch --name c 2>/dev/null
"$SLIPWAY" env create -n e x=1 >/dev/null 2>&1
"$SLIPWAY" env export -n e --explicit >list
"$SLIPWAY" env update -n e x=2 >/dev/null 2>&1
{
	printf 'recipe 1\nchannel %s\nspec x\n' "$T/ch" >latest.spr && "$SLIPWAY" -q channel create mirror/takeout --kind takeout --type local &&
		"$SLIPWAY" -q channel publish mirror/content/takeout --into updates/mirror latest.spr && "$SLIPWAY" mirror start mirror && "$SLIPWAY" -q mirror enroll mirror --name x >code &&
		"$SLIPWAY" enroll --code - "https://localhost:$port" <code && "$SLIPWAY" spot --updates="https://localhost:$port" --snapshot=now.spr
} 2>said || cat said
{
	"$SLIPWAY" -q channel create signed --kind conda && "$SLIPWAY" -q channel publish signed x-1-0.tar.bz2 &&
		"$SLIPWAY" -q channel sign --create signed --tuf-keys signed.keys && "$SLIPWAY" -q channel trust ./signed signed/tuf/metadata/1.root.json
	"$SLIPWAY" env export -n e >lock.spr && "$SLIPWAY" -q tuf create op/metadata --keys opkeys && "$SLIPWAY" -q plan sign op lock.spr --keys opkeys -n e --host h &&
		"$SLIPWAY" -q channel create plans --kind plan && "$SLIPWAY" -q plan publish op plans &&
		"$SLIPWAY" -q plan trust op/metadata/1.root.json --host h --url "file://$T/plans"
} >said 2>&1 || cat said
{
	mkdir -p img/etc && tar -C img -cf root.tar . && "$SLIPWAY" -q image import base root.tar &&
		"$SLIPWAY" image show base --json | sed -n 's/^ *"layer": "\(.*\)".*/\1/p' >layer
} >said 2>&1 || cat said
"$SLIPWAY" -q job submit --pool p --detach -- true >said 2>&1 || cat said
{
	mkdir -p orepo/packages/x/x.1 && echo 'opam-version: "2.0"' | tee orepo/repo >orepo/packages/x/x.1/opam && mkdir as && ln -s "$SLIPWAY" as/opam &&
		as/opam init --root "$T/or" --bare --no-setup -k local default orepo &&
		as/opam switch --root "$T/or" create sw --empty && as/opam install --root "$T/or" x
} >said 2>&1 || cat said
mv "$SLIPWAY_ROOT" kept

# with_agent: until it answers
with_agent()
{
	timeout 20 "$SLIPWAY" -q agent &
	await "$SLIPWAY" status
}

answers()
{
	call "$1" || return 1
	begin
	case $1 in # what has to be done first
	'install activate' | 'install commit' | 'install auto-abort-timer') "$SLIPWAY" -q install add x=1 -n e || return 1 ;;
	esac
	case $1 in
	'pair show') "$SLIPWAY" -q pair init --name one --listen 127.0.0.1:7 >/dev/null || return 1 ;;
	'install commit' | 'install auto-abort-timer') "$SLIPWAY" -q install activate -n e || return 1 ;;
	esac
	[ "$1" != status ] || with_agent || return 1
	case $words in
	*--json*) ;;
	*) words="$words --json" ;;
	esac
	# shellcheck disable=SC2086 # words
	runs "$SLIPWAY" $words || return 1
	[ "$1" != status ] || "$SLIPWAY" -q agent stop
	[ ! -s err ] || {
		echo 'remarks beside the answer:'
		cat err
		return 1
	}
	# shellcheck disable=SC2086 # words
	is_object out $has
}

fails_in_json()
{
	# shellcheck disable=SC2086 # a noun and a verb
	must_fail 2 "$SLIPWAY" $1 --json --frobnicate && is_object out error code exit
}

# The page's paragraph on --json names what is in the answer.
documented()
{
	# shellcheck disable=SC2086 # a noun and a verb
	"$SLIPWAY" $1 --help | sed -n '/^  --json/,/^  -[^-]/p' >page
	grep -q 'object as for' page && return 0
	for member in $has; do
		grep -q "\\b$member\\b" page || {
			echo "'$member' is not explained:"
			cat page
			return 1
		}
	done
}

"$SLIPWAY" --help | sed -n '/^Commands:/,/^$/ s/^  \([a-z-]*\) *\([a-z-]*\)  .*/\1 \2/p' | sed 's/ $//' >commands
t 'there are commands' test "$(wc -l <commands)" -gt 20
while read -r command <&3; do
	t "$command --json" answers "$command"
	t 'is in its page' documented "$command"
	t 'an error is an object too' fails_in_json "$command"
done 3<commands

begin
t 'a dry run changes nothing' runs "$SLIPWAY" env remove -n e --dry-run --json
t 'and says that it is one' has '"dry_run": true' out
t 'the environment is there' runs "$SLIPWAY" env packages -n e
t 'install remove, dry' runs "$SLIPWAY" install remove inactive -n e --dry-run --json
t 'tells which' is_object out removed
t 'env run, dry, runs nothing' runs "$SLIPWAY" env run -n e --dry-run -- touch ran
t 'indeed' test ! -e ran
t 'env wrap, dry, of no program' must_fail 1 "$SLIPWAY" env wrap -n e --dir nofolder --dry-run tol
mkdir taken && echo mine >taken/tool
t 'env wrap, dry, where something is in the way' must_fail 1 "$SLIPWAY" env wrap -n e --dir taken --dry-run tool
t 'names its folder' has "folder 'taken': 'tool' is there already" err
t 'env wrap of no program' must_fail 1 "$SLIPWAY" env wrap -n e --dir nofolder tol
t 'makes no folder' test ! -e nofolder
t 'env wrap, dry, makes no folder' runs "$SLIPWAY" env wrap -n e --dir nofolder --dry-run tool
t 'indeed' test ! -e nofolder

done_testing
