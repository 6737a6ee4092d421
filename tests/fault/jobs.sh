#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Submitting, running and cancelling a job fail, and the process vanishes, at each state-changing call in turn. Each time:
# no job is half there, the next worker brings each to one end, and its log says so once. What is handed over to Slurm runs once.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
need python3
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT

before()
{
	rm -rf "$SLIPWAY_ROOT" ran
	"$SLIPWAY" -q jobs || return 1
	case $scenario in
	submit) ;;
	*) "$SLIPWAY" -q job submit --pool P --detach -- sh -c 'echo ran >>ran; echo hello' >/dev/null ;;
	esac
}

operation()
{
	case $scenario in
	submit) "$SLIPWAY" -q job submit --pool P --detach -- sh -c 'echo ran >>ran; echo hello' >said 2>&1 ;;
	work) work ;;
	cancel) "$SLIPWAY" -q job cancel 1 >said 2>&1 ;;
	esac
}

# all_ended: no job waits or runs
all_ended()
{
	[ -z "$(FAULT='' "$SLIPWAY" -q jobs 2>&1)" ]
}

ended_or_gone()
{
	all_ended || ! kill -0 "$pid" 2>/dev/null
}

# A worker until all jobs have ended, or it has gone away.
work()
{
	"$SLIPWAY" worker --pool P >said 2>&1 &
	pid=$!
	await ended_or_gone || return 1
	kill -TERM "$pid" 2>/dev/null
	wait "$pid"
	work_rc=$?
	pid=
	return $work_rc
}

# What there is after a fault: whole, and brought to an end by the next worker.
after()
{
	FAULT='' "$SLIPWAY" jobs --all --json >listed || { echo 'the queue cannot be read'; return 1; }
	"$SLIPWAY" -q job submit --pool P --detach -- echo next >/dev/null || { echo 'nothing can be submitted'; return 1; }
	work || { echo 'the next worker fails'; cat said; return 1; }
	"$SLIPWAY" jobs --all --json >listed || return 1
	python3 - "$SLIPWAY_ROOT/build" "$scenario" <<'EOF' || return 1
import json, os, sys
build, scenario = sys.argv[1:]
jobs = json.load(open("listed"))["jobs"]
assert jobs, "no job is there"
for j in jobs:
    assert j["state"] in ("passed", "cancelled"), j
    assert j["state"] == "passed" or scenario == "cancel" or "went away" in j["why"], j
    log = open("%s/log/%d" % (build, j["job"])).read()
    word = "Job succeeded" if j["state"] == "passed" else "Job cancelled"
    assert log.rstrip().split("\n")[-1].split(": ", 1)[1].startswith(word), log
    closing = [l for l in log.split("\n") if ": " + word in l]
    assert len(closing) == 1, log
    assert "Waiting for resource in pool P" in log, log
left = [n for n in os.listdir(build + "/job")]
assert not left, left
EOF
}

# sweep MODE SCENARIO
sweep()
{
	mode=$1 scenario=$2
	before || return 1
	rm -f count
	(FAULT=count:$T/count && export FAULT && operation) || { echo 'fails without a fault'; cat said; return 1; }
	calls=$(sort -n count | tail -n 1)
	[ "$calls" -ge 2 ] || { echo "only $calls calls are counted"; return 1; }
	n=1
	while [ "$n" -le "$calls" ]; do
		before || return 1
		(FAULT=$mode:$n && export FAULT && operation)
		rc=$?
		case $mode:$rc in
		stop:99 | stop:0 | fail:0 | fail:1) ;;
		*) echo "$mode:$n: exit status $rc"; cat said; return 1 ;;
		esac
		[ "$mode:$rc" != fail:1 ] || [ -s said ] || { echo "$mode:$n: fails without a word"; return 1; }
		after || { echo "$mode:$n of $calls: see above"; cat listed; cat "$SLIPWAY_ROOT"/build/log/*; return 1; }
		[ "$scenario" != submit ] || [ "$rc" != 0 ] || grep -q ran ran || { echo "$mode:$n: says submitted, and is not"; return 1; }
		n=$((n + 1))
	done
	echo "$calls calls"
}

# A Slurm of a few lines: sbatch runs the job at once.
slurm()
{
	rm -rf bin far && mkdir bin far && echo 0 >far/n || return 1
	cat >bin/sbatch <<-'X'
		#!/bin/sh
		n=$(($(cat far/n) + 1))
		echo "$n" >far/n
		for w; do case $w in --job-name=*) echo "${w#*=}" >"far/$n.name" ;; esac; done
		SLURM_JOB_ID=$n SLURMD_NODENAME=node sh -s >/dev/null 2>&1
		echo "$?" >"far/$n.rc"
		echo "$n"
	X
	cat >bin/squeue <<-'X'
		#!/bin/sh
		for w; do case $w in --name=*) name=${w#*=} ;; --jobs=*) jobs=,${w#*=}, ;; esac; done
		for f in far/*.name; do
			n=${f#far/} n=${n%.name}
			[ "$(cat "$f")" = "${name-}" ] || case ${jobs-} in *,$n,*) ;; *) continue ;; esac
			rc=$(cat "far/$n.rc") state=COMPLETED
			[ "$rc" = 0 ] || state=FAILED
			echo "$n|$state|$((rc * 256))|0|0|0|node||None|"
		done 2>/dev/null
	X
	printf '#!/bin/sh\nexit 1\n' | tee bin/sacct >bin/sinfo
	printf '#!/bin/sh\nexit 0\n' >bin/scancel
	chmod +x bin/*
}

# Handed over once, brought to its end by the next command.
after_hand_over()
{
	"$SLIPWAY" -q jobs >listed || { echo 'the queue cannot be read'; return 1; }
	"$SLIPWAY" jobs --all --json >listed || return 1
	python3 - "$SLIPWAY_ROOT/build" "$1" <<'EOF'
import json, os, sys
build, rc = sys.argv[1:]
jobs = json.load(open("listed"))["jobs"]
ran = open("ran").read().count("ran") if os.path.exists("ran") else 0
assert len(jobs) <= 1, jobs
states = [j["state"] for j in jobs]
assert ran == states.count("passed"), (ran, jobs)
assert rc != "0" or ran == 1, jobs
for j in jobs:
    assert j["state"] == "passed" or (j["state"] in ("failed", "cancelled") and j["why"]), j
assert not os.listdir(build + "/job"), os.listdir(build + "/job")
EOF
}

# hand_over MODE
hand_over()
(
	PATH=$T/bin:$PATH calls=0 n=0 fault=count:$T/count
	while [ "$n" -le "$calls" ]; do
		rm -rf "$SLIPWAY_ROOT" ran count
		mkdir -p "$SLIPWAY_ROOT" && echo 'pools: {F: {backend: slurm}}' >"$SLIPWAY_ROOT/config.yml" && slurm && "$SLIPWAY" -q jobs || return 1
		rc=0
		FAULT=$fault "$SLIPWAY" -q job submit --pool F --detach -- sh -c 'echo ran >>ran' >said 2>&1 || rc=$?
		case $1:$rc in
		stop:99 | stop:0 | fail:0 | fail:1) ;;
		*) echo "$fault: exit status $rc"; cat said; return 1 ;;
		esac
		after_hand_over "$rc" || { echo "$fault: see above"; cat said listed; cat "$SLIPWAY_ROOT"/build/log/*; return 1; }
		[ "$n" != 0 ] || calls=$(sort -n count | tail -n 1)
		n=$((n + 1)) fault=$1:$n
	done
	echo "$calls calls"
	[ "$calls" -ge 5 ]
)

for mode in fail stop; do
	t "hand over, $mode" hand_over "$mode"
	t "submit, $mode" sweep "$mode" submit
	t "work, $mode" sweep "$mode" work
	t "cancel, $mode" sweep "$mode" cancel
done
done_testing
