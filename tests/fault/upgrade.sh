#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The install commands fail, and the process vanishes, at each state-changing call, in an environment with a component that
# has state and configuration. Each time one of the two versions is current and whole, the committed one is known, the exit
# code is honest, nothing is left behind, and going on with the upgrade works.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then
	TMPDIR=/dev/shm # nothing here depends on the disk, and the many syncs take time there
	export TMPDIR
fi
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/package.sh"
need tar bzip2 python3

web()
{
	mkdir -p stage/share/slipway/component stage/share/web stage/bin
	printf '#!/bin/sh\ncat "%s/share/web/version"\n' "$PLACEHOLDER" >stage/bin/web
	chmod +x stage/bin/web
	echo "$1" >stage/share/web/version
	echo "workers: $1" >stage/share/web/web.conf
	cat >stage/share/slipway/component/web.yml <<X
state:
  data: {format: "1", path: $T/host/data}
configuration:
  $T/host/web.conf:
    default: share/web/web.conf
X
	package stage web "$1"
}

# keep NAME: the root and the host's own files as they are now, to go back to
keep()
{
	rm -rf "kept-$1"
	mkdir "kept-$1"
	cp -a root host "kept-$1/"
}

back_to()
{
	chmod -R u+w root 2>/dev/null
	rm -rf root host
	cp -a "kept-$1/." .
}

make_states()
{
	web 1
	web 2
	"$SLIPWAY" -q channel publish ch ./*.tar.bz2 && mkdir host || return 1
	"$SLIPWAY" -q channel add ./ch --name ch || return 1
	keep empty
	"$SLIPWAY" -q install add web=1 -n e activate commit || return 1
	mkdir host/data
	echo old >host/data/db
	keep one
	"$SLIPWAY" -q install add web=2 || return 1
	keep added
	"$SLIPWAY" -q install activate || return 1
	echo new >host/data/db
	keep activated
	"$SLIPWAY" -q install commit || return 1
	keep two
}

# at: "current/committed state", each as a version: what is there now, or what is wrong with it
at()
{
	"$SLIPWAY" show install summary --json >is.summary 2>said.show || { cat said.show; return; }
	python3 - is.summary root <<'X'
import json, os, sys
root = sys.argv[2]
answer = json.load(open(sys.argv[1]))["environments"]
env = [e for e in answer if e["environment"] == "e"]
if not env:
    print("none/none none")
    sys.exit()
version = {"C": "none", "U": "none", "D": "none"}
for g in env[0]["generations"]:
    if g["state"] in version:
        version[g["state"]] = g["version"].split()[-1]
current = version["C"] if version["U"] == "none" else version["U"]
committed = version["C"] if version["C"] != "none" else version["D"]
link = os.path.join(root, "env/e/current")
if os.path.lexists(link):
    runs = open(os.path.join(link, "share/web/version")).read().strip()
    if runs != current:
        current = "%s (its link: %s)" % (current, runs)
elif current != "none":
    current += " (no link)"
print("%s/%s %s" % (current, committed, env[0]["state"]))
X
}

# settled: what the next command that changes something makes of it; label is the least of them
settled()
{
	"$SLIPWAY" install label committed x -n e >said.settled 2>&1
}

# clean: no folder without a row, no row without a folder, no checkpoint without an operation, files as they were laid out
clean()
{
	"$SLIPWAY" show install summary --json >is.summary || return 1
	python3 - is.summary root <<'X' || return 1
import json, os, sys
root = sys.argv[2]
env = [e for e in json.load(open(sys.argv[1]))["environments"] if e["environment"] == "e"]
rows = sorted(str(g["generation"]) for e in env for g in e["generations"])
folder = os.path.join(root, "env/e")
folders = sorted(f for f in (os.listdir(folder) if os.path.isdir(folder) else []) if f != "current")
assert rows == folders, ("rows", rows, "folders", folders)
state = env[0]["state"] if env else "none"
kept = os.path.join(root, "checkpoint/e")
assert state not in ("none", "added") or not os.path.exists(kept), (state, os.listdir(kept))
assert not os.path.exists("host/data.slipway-restore")
X
	[ ! -e root/env/e/current ] || "$SLIPWAY" env check -n e >said.check 2>&1 || { cat said.check; return 1; }
}

# host_is VERSION: configuration and state go with the version that runs; a rollback from what was committed leaves the state
host_is()
{
	case $1 in
	1/*) grep -q 'workers: 1' host/web.conf && { [ "$from" != one ] && [ "$from" != added ] && [ "$from" != activated ] || grep -q old host/data/db; } ;;
	2/*) grep -q 'workers: 2' host/web.conf ;;
	none/*) [ ! -e host/web.conf ] ;;
	esac || { echo "at $1 the host has:"; cat host/web.conf host/data/db; return 1; }
}

# sweep MODE STATE OLD NEW COMMAND...: OLD and NEW as `at` says them
sweep()
{
	mode=$1 from=$2 was=$3 becomes=$4
	shift 4
	back_to "$from"
	rm -f count
	FAULT=count:$T/count "$@" >said 2>&1 || { echo "fails without a fault:"; cat said; return 1; }
	[ "$(at)" = "$becomes" ] || { echo "without a fault: $(at)"; return 1; }
	calls=$(head -n 1 count)
	[ "$calls" -ge 3 ] || { echo "only $calls calls are counted"; return 1; }
	n=1 not_begun=0
	while [ "$n" -le "$calls" ]; do
		back_to "$from"
		FAULT=$mode:$n "$@" >said 2>&1
		rc=$?
		one "$@" || { echo "at $mode:$n of $calls, exit $rc:"; cat said; return 1; }
		n=$((n + 1))
	done
	echo "$calls points" >>"$T/points"
	case "$mode $*" in
	fail*' install abort'*) [ "$not_begun" -gt 0 ] || { echo 'an abort that cannot even be noted does not say what to do'; return 1; } ;;
	esac
}

# one COMMAND...: what the command left, that ended with $rc
one()
{
	now=$(at)
	case $rc in
	0) [ "$now" = "$becomes" ] || { echo "says done: $now"; return 1; } ;;
	1)
		[ "$now" = "$was" ] || { echo "says that nothing changed: $now"; return 1; }
		! grep -q "going back did not begin.*'slipway install abort issu -n e' tries again" said || not_begun=$((not_begun + 1))
		;;
	4) [ "$now" = "$back" ] || { echo "says that it went back: $now"; return 1; } ;;
	5 | 99) ;;
	*) echo "exit status $rc"; return 1 ;;
	esac
	[ "$rc" = 99 ] || [ -s said ] || { echo "ends without a word"; return 1; }
	settled || true
	now=$(at)
	case $now in
	*' needs-manual-abort') # said so, and is done as it says
		grep -q "install abort issu -n e' tries again" said said.settled || { echo "no word of it"; return 1; }
		"$SLIPWAY" install abort issu -n e >said.abort 2>&1 || { cat said.abort; return 1; }
		now=$(at)
		;;
	esac
	# what was activated before this command may have been left by going back
	[ "$now" = "$was" ] || [ "$now" = "$becomes" ] || [ "$now" = "$back" ] || { echo "settled: $now"; cat said.settled; return 1; }
	clean || { echo "settled at $now, not clean"; return 1; }
	host_is "$now" || return 1
	[ $((n % 3)) != 1 ] || go_on || { echo "from $now it does not go on"; return 1; }
}

# go_on: from wherever it is to version 2, committed
go_on()
{
	case $(at) in
	*' none') "$SLIPWAY" -q install add web=2 -n e activate commit ;;
	*' added') "$SLIPWAY" -q install activate -n e && "$SLIPWAY" -q install commit -n e ;;
	*' activated') "$SLIPWAY" -q install commit -n e ;;
	esac >said.on 2>&1 || { cat said.on; return 1; }
	[ "$(at)" = '2/2 none' ] || { echo "goes on to $(at)"; return 1; }
	clean && "$SLIPWAY" -q store verify
}

main()
{
	make_states || { fail 'make the states to begin with'; done_testing; }
	for mode in ${MODES:-fail stop}; do
		back='1/1 none'
		t "add, $mode" sweep "$mode" one '1/1 none' '1/1 added' "$SLIPWAY" install add web=2
		t "activate, $mode" sweep "$mode" added '1/1 added' '2/1 activated' "$SLIPWAY" install activate issu
		t "commit, $mode" sweep "$mode" activated '2/1 activated' '2/2 none' "$SLIPWAY" install commit
		t "abort, $mode" sweep "$mode" activated '2/1 activated' '1/1 none' "$SLIPWAY" install abort issu
		t "abort in added, $mode" sweep "$mode" added '1/1 added' '1/1 none' "$SLIPWAY" install abort issu
		t "one shot, $mode" sweep "$mode" one '1/1 none' '2/2 none' "$SLIPWAY" install add web=2 activate issu commit
		t "env update, $mode" sweep "$mode" one '1/1 none' '2/2 none' "$SLIPWAY" env update -n e web=2
		t "remove inactive in added, $mode" sweep "$mode" added '1/1 added' '1/1 none' "$SLIPWAY" install remove inactive
		back='2/2 none'
		t "rollback, $mode" sweep "$mode" two '2/2 none' '1/1 none' "$SLIPWAY" install rollback to 1
		t "remove inactive, $mode" sweep "$mode" two '2/2 none' '2/2 none' "$SLIPWAY" install remove inactive
		[ "$mode" = stop ] || continue
		back='none/none none'
		t "a first version, $mode" sweep "$mode" empty 'none/none none' '1/1 none' \
			"$SLIPWAY" install add web=1 -n e activate commit
	done
	echo "# $(awk '{n += $1} END {print n}' "$T/points") points"
	done_testing
}
main
