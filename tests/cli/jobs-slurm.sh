#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Jobs on machines that Slurm keeps: the real slurmctld and slurmd of the distribution, on this machine.
. "${SOURCE_ROOT:-.}/tests/lib/test.sh"
. "$SOURCE_ROOT/tests/lib/wait.sh"
. "$SOURCE_ROOT/tests/lib/rootfs.sh"
. "$SOURCE_ROOT/tests/lib/slurm.sh"
need_slurm
need python3 git
trap 'leave_slurm; chmod -R u+w "$T" 2>/dev/null; rm -rf "$T"' EXIT
mkdir -p "$SLIPWAY_ROOT"
cat >"$SLIPWAY_ROOT/config.yml" <<E
pools:
  builds: {backend: slurm, near-wait: 1}
  small: {backend: slurm, partition: builds, cpus: 2, nice: 5}
  wrong: {backend: slurm, colour: red}
  nowhere: {backend: slurm, partition: nowhere}
E

# submit [OPTION...] -- COMMAND...: not followed; its number is $id
submit()
{
	id=$("$SLIPWAY" -q job submit --pool builds --detach "$@")
}

# is ID PATTERN: a line of show
is()
{
	"$SLIPWAY" job show "$1" | grep -e "$2"
}

# remote ID: its number there, without our asking for it
remote()
{
	squeue -h -t all -o '%i %j' | sed -n "s/ slipway-$1-[0-9a-f]*\$//p"
}

slurm_starts()
{
	own_accounts && own_slurm && return 0
	slurm_logs
	return 1
}

follows()
{
	runs "$SLIPWAY" job submit --pool builds --env GREETING='it'\''s "$HOME" %j' -- sh -c 'echo "$GREETING"; echo on $SLURM_JOB_ID.; pwd; exit 0' || return 1
	sed 's/^2[0-9-]* [0-9:.]*: /TIME: /; s/node[12]/NODE/' out >got
	cat >want <<-E
		TIME: Waiting for resource in pool builds
		TIME: Got resource from pool builds
		Building on NODE
		it's "\$HOME" %j
		on .
		$T
		Job succeeded
		TIME: Job succeeded
	E
	diff -u want got
}

t 'Slurm starts on one machine' slurm_starts
t 'a job runs, its log is followed, nothing of Slurm is in its environment' follows
t 'its exit code is ours' must_fail 7 "$SLIPWAY" job submit --pool builds -- sh -c 'exit 7'
t 'the log says so' has 'Job failed: ' out
t 'so does a signal' must_fail 1 sh -c '"$SLIPWAY" job submit --pool builds -- sh -c "kill -9 \$\$" >out; [ $? = 137 ] && exit 1'
t 'a job with a time limit' must_fail 1 sh -c '"$SLIPWAY" job submit --pool builds --time-limit 1 -- sleep 60 >log; grep "longer than" log && exit 1'

# -- workers
workers_of()
{
	runs "$SLIPWAY" worker list && has '^builds *node1 ' out && has '^builds *node2 ' out
}
t 'its nodes are workers' workers_of
drains()
{
	"$SLIPWAY" worker pause builds/node1 2>&1 || "$SLIPWAY" worker pause --pool builds node1 || return 1
	sinfo -h -N -n node1 -o %T | grep drain
}
t 'one is paused' drains
on_node2()
{
	"$SLIPWAY" job submit --pool builds -- true >out && has '^Building on node2$' out
}
t 'jobs go elsewhere' on_node2
resumes()
{
	"$SLIPWAY" worker resume --pool builds node1 && sinfo -h -N -n node1 -o %T | grep idle
}
t 'and it goes on' resumes

# -- where its hint was built last
near()
{
	"$SLIPWAY" job submit --pool builds --cache-hint H -- true >out && node=$(sed -n 's/^Building on //p' out) || return 1
	for near_n in 1 2 3; do
		"$SLIPWAY" job submit --pool builds --cache-hint H -- true >out && has "^Building on $node\$" out || return 1
	done
}
t 'a job goes where its hint is' near
far()
{
	# both places are taken: Slurm may choose
	for _ in 1 2; do
		scontrol show nodes >/dev/null
		sbatch --parsable -p builds -o /dev/null --nodelist "$node" --wrap 'sleep 8' >>busy || return 1
	done
	await sh -c 'squeue -h -t R -n wrap -o %i | grep -c . | grep -qx 2' &&
		"$SLIPWAY" job submit --pool builds --cache-hint H -- true >out && hasnt "^Building on $node\$" out
	far_rc=$?
	# shellcheck disable=SC2046 # a list
	scancel $(cat busy)
	return $far_rc
}
t 'but does not wait for it' far

# -- cancelled
cancels()
{
	submit -- sh -c 'trap "echo ended in order; exit 0" TERM; echo begun; sleep 60 & wait' &&
		await sh -c "\"\$SLIPWAY\" job log $id | grep '^begun'" && "$SLIPWAY" job cancel "$id" && await is "$id" 'cancelled' &&
		await sh -c "\"\$SLIPWAY\" job log $id | grep '^ended in order'" && squeue -h -t R -j "$(remote "$id")" -o %T | hasnt . -
}
t 'a running job is cancelled, and may end in order' cancels

# -- a node dies: the job runs once more elsewhere; Slurm's word of what ended is lost soon
lost()
{
	submit -- sh -c 'echo run; [ -e again ] && exit 5; touch again; sleep 60' && await sh -c "\"\$SLIPWAY\" job log $id | grep '^run'" || return 1
	dead=$("$SLIPWAY" job log "$id" | sed -n 's/^Building on //p')
	kill_node "$dead"
	must_fail 5 "$SLIPWAY" job log "$id" --follow || { slurm_logs; return 1; }
	[ "$(grep -c '^run$' out)" = 2 ] && has "went away" out && has 'Job failed' out && [ "$(sed -n 's/^Building on //p' out | sort -u | grep -c .)" = 2 ]
}
t 'a node dies: its job runs once more on another one' lost
t 'that node is no worker now' sh -c '"$SLIPWAY" worker list | grep "^builds *'"\$0"' " | grep -v ready' "$dead"
t 'it comes back' start_node "$dead"

# -- the submitter is killed while Slurm takes the job
# killer WHEN: an sbatch in $T/WHEN that kills who called it, before, after or long before the real one does its work
killer()
{
	mkdir -p "$1" && sbatch=$(command -v sbatch) || return 1
	{
		printf '#!/bin/sh\n'
		case $1 in
		before) printf 'kill -9 "$PPID"\n' ;;
		after) printf '"%s" "$@" >/dev/null\nkill -9 "$PPID"\n' "$sbatch" ;;
		late) printf 'cat >"%s/late.in"\nkill -9 "$PPID"\nsleep 2\n"%s" "$@" <"%s/late.in" >"%s/late.id"\n' "$T" "$sbatch" "$T" "$T" ;;
		silent) printf '"%s" "$@" >/dev/null\necho "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2\nexit 1\n' "$sbatch" ;;
		esac
	} >"$1/sbatch" && chmod +x "$1/sbatch"
}
# killed WHEN: submits so, and shows the job until it has ended; it ran once
killed()
{
	killer "$1" && rm -f once || return 1
	killed_rc=0
	PATH=$T/$1:$PATH "$SLIPWAY" -q job submit --pool builds --detach -- sh -c 'sleep 1; echo ran >>once' >said 2>&1 || killed_rc=$?
	[ "$killed_rc" = 137 ] || { cat said; return 1; }
	id=$("$SLIPWAY" jobs --all --last 1 --json | sed -n 's/^ *"job": \([0-9]*\),/\1/p')
	[ "$1" != after ] || [ "$(squeue -h -o %j | grep -c "^slipway-$id-")" = 1 ] || return 1
	"$SLIPWAY" job log "$id" --follow >out && has 'Job succeeded' out || return 1
	[ "$1" != late ] || { await test -s late.id && await sh -c "squeue -h -t all -j '$(cat late.id)' -o %T | grep FAILED"; } || return 1
	[ "$(grep -c ran once)" = 1 ]
}
t 'its submitter is killed when Slurm has the job: the job is found' killed after
t 'nothing of it is left' sh -c '! ls -d "$SLIPWAY_ROOT"/build/job/* 2>/dev/null'
t 'it is killed before Slurm has it: the next one hands it over' killed before
t 'Slurm gets it after that: it runs once' killed late
# cancelled by somebody else then
killed_cancel()
{
	killer after
	PATH=$T/after:$PATH "$SLIPWAY" -q job submit --pool builds --detach -- sleep 60 >said 2>&1
	id=$("$SLIPWAY" jobs --last 1 --json | sed -n 's/^ *"job": \([0-9]*\),/\1/p')
	rm -rf after
	"$SLIPWAY" job cancel "$id" && await is "$id" cancelled && ! squeue -h -t R,PD -o %j | grep "^slipway-$id-"
}
t 'such a job is cancelled in Slurm too' killed_cancel
silent()
{
	killer silent && rm -f once || return 1
	PATH=$T/silent:$PATH runs "$SLIPWAY" job submit --pool builds -- sh -c 'echo ran >>once' && has 'Job succeeded' out && [ "$(grep -c ran once)" = 1 ]
}
t 'Slurm takes it, but does not answer in time: it is found' silent

# -- a build: its source is fetched on the node, its layers are in the root
builds()
{
	"$SLIPWAY" build --check >can 2>&1 || { echo "kernel: no sandboxes here ($(tail -n 1 can))"; return 77; }
	rootfs_tar base.tar && runs "$SLIPWAY" image import base base.tar || return 1
	(
		GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=t GIT_COMMITTER_NAME=t EMAIL=t@localhost
		export GIT_CONFIG_GLOBAL GIT_AUTHOR_NAME GIT_COMMITTER_NAME EMAIL
		git init -q -b master x && cd x && echo a >a && git add . && git commit -q -m first
	) || return 1
	echo '((from base) (copy (src .) (dst /src/)) (run (shell "cat /src/a")))' >job.spec
	runs "$SLIPWAY" build --pool builds -f job.spec --git "file://$T/x#master" || return 1
	sed 's/^2[0-9-]* [0-9:.]*: /TIME: /; s/^2[0-9-]* [0-9:.]* -/TIME -/; s/node[12]/NODE/; s/[0-9a-f]\{40,\}/ID/g; s/now at [0-9a-f]* /now at C /' out |
		sed -n '/^TIME: Waiting/,$p' >got
	cat >want <<-E
		TIME: Waiting for resource in pool builds
		TIME: Got resource from pool builds
		Building on NODE
		Fetching file://$T/x#master
		HEAD is now at C first

		(from base)
		TIME ---> using "ID" from cache

		/: (copy (src .) (dst /src/))
		TIME ---> saved as "ID"

		/: (run (shell "cat /src/a"))
		a
		TIME ---> saved as "ID"
		Got: "ID"
		Job succeeded
		TIME: Job succeeded
	E
	diff -u want got && has 'New job: build' out && has '^To reproduce locally:$' out && has 'Using cache hint "base-x-' out
}
t 'a build of a repository, log and all' builds

# -- Slurm's answers that are none
t 'no such partition' must_fail 1 "$SLIPWAY" job submit --pool nowhere -- true
t 'in words of Slurm' has 'nvalid partition' err
t 'an unknown setting' must_fail 2 "$SLIPWAY" job submit --pool wrong -- true
t 'is named' has "has no 'colour'" err
t 'settings reach Slurm' sh -c '
	id=$("$SLIPWAY" -q job submit --pool small --detach -- sleep 5) && squeue -h -o "%j %C %y" | grep "^slipway-$id-[0-9a-f]* 2 5$"; rc=$?
	"$SLIPWAY" job cancel "$id"; exit $rc'
# Slurm forgets job $id: a controller without its state
forget()
{
	slurm_jobs=$(remote "$id")
	kill_slurmctld
	rm -rf "$slurm/state" && mkdir "$slurm/state" && start_slurmctld && ! squeue -h -j "$slurm_jobs" 2>/dev/null | grep .
}
left=$SLIPWAY_ROOT/build/log
has_ended()
{
	sacct -c -n -P | cut -d '|' -f 3,7 | grep -x "slipway-$id-[0-9a-f]*|$1"
}
forgotten()
{
	submit -- sh -c 'exit 3' && await has_ended FAILED && forget && is "$id" 'failed' && is "$id" '3$'
}
accounted()
{
	submit -- sh -c 'exit 4' && await has_ended FAILED && await sh -c "sacct -n -P -X -o JobName,ExitCode | grep -x 'slipway-$id-[0-9a-f]*|4:0'" &&
		rm "$left/$id.end" && forget && is "$id" 'failed' && is "$id" '4$'
}
completed()
{
	submit -- true && await has_ended COMPLETED && rm "$left/$id.end" && forget && forget_accounts && is "$id" 'passed'
}
unknown()
{
	submit -- sh -c 'echo run >>ran' && await has_ended COMPLETED && rm "$left/$id.end" "$slurm/completed" && forget && forget_accounts &&
		runs "$SLIPWAY" job log "$id" --follow && [ "$(grep -c . ran)" = 2 ] && has 'went away' out
}
t 'what Slurm has forgotten is known from what the job left' forgotten
t 'which is gone then' sh -c '! ls "$SLIPWAY_ROOT"/build/log/*.end 2>/dev/null'
t 'else from the accounts' accounted
t 'else from the list of completed jobs' completed
t 'what nobody knows is lost, and runs once more' unknown
kill_slurmctld
t 'Slurm is away: a submission says so' must_fail 1 "$SLIPWAY" job submit --pool builds -- true
t 'by its reason' has 'contact' err
PATH=$(dirname "$SLIPWAY"):/nonexistent
t 'no Slurm here' must_fail 1 "$SLIPWAY" job submit --pool builds -- /bin/true
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
t 'says what to install' has 'slurm-client' err

done_testing
