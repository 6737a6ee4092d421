# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# A Slurm of our own on this machine: munged, slurmctld and two slurmd, all below $T, on free ports of 127.0.0.1. It tracks processes by /proc
# and needs neither control groups nor systemd. Sourced, after lib/wait.sh. Everything it starts is ended by id.
#
#	need_slurm               skips the script where it cannot run
#	own_accounts             before it: slurmdbd and its MariaDB, for sacct
#	forget_accounts          they are empty
#	own_slurm                starts it: pool "builds" of node1 and node2, two jobs each; $SLURM_CONF leads all commands there
#	kill_node node1          as if its power were cut: the daemon and everything that runs on it
#	start_node node1         it comes back
#	kill_slurmctld, start_slurmctld
#	leave_slurm              at the end (EXIT)

slurm_nodes='node1 node2'
slurm_programs=/usr/sbin:/sbin

need_slurm()
{
	PATH=$PATH:$slurm_programs
	need munged slurmctld slurmd slurmdbd mariadbd mariadb mariadb-install-db sbatch squeue sacct sacctmgr scontrol scancel sinfo
}

slurm_conf()
{
	# A requeued job waits until its credential would have expired: 5 seconds are the least.
	cat <<-X
		ClusterName=test
		SlurmctldHost=$slurm_host(127.0.0.1)
		SlurmctldPort=$(free_port)
		SlurmUser=$(id -un)
		SlurmdUser=$(id -un)
		AuthType=auth/munge
		AuthInfo=socket=$slurm/munge.socket,cred_expire=5
		CredType=cred/munge
		StateSaveLocation=$slurm/state
		SlurmdSpoolDir=$slurm/%n
		SlurmctldPidFile=$slurm/slurmctld.pid
		SlurmdPidFile=$slurm/%n.pid
		SlurmctldLogFile=$slurm/slurmctld.log
		SlurmdLogFile=$slurm/%n.log
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		SwitchType=switch/none
		MpiDefault=none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_CPU
		SchedulerType=sched/backfill
		SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
		JobAcctGatherType=jobacct_gather/none
		JobCompType=jobcomp/filetxt
		JobCompLoc=$slurm/completed
		AccountingStorageType=accounting_storage/${slurm_accounts:-none}
		SlurmctldParameters=node_reg_mem_percent=1
		SlurmdParameters=config_overrides
		SlurmdTimeout=2
		MessageTimeout=2
		TCPTimeout=1
		KillWait=4
		ReturnToService=2
		MinJobAge=${slurm_forgets_s:-300}
	X
	if [ -n "${slurmdbd_port-}" ]; then
		printf '%s\n' AccountingStorageHost=localhost "AccountingStoragePort=$slurmdbd_port" "AccountingStoragePass=$slurm/munge.socket"
	fi
	for slurm_node in $slurm_nodes; do
		echo "NodeName=$slurm_node NodeAddr=127.0.0.1 NodeHostname=$slurm_host Port=$(free_port) CPUs=2 Feature=on_$slurm_node"
	done
	echo "PartitionName=builds Nodes=ALL Default=YES MaxTime=INFINITE State=UP"
}

# Its processes have our $SLURM_CONF in their environment: slurmstepd and jobs are no children of ours. $1: only those on this node.
slurm_pids()
{
	grep -lzx "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ 2>/dev/null | while read -r slurm_environ; do
		[ -z "${1-}" ] || grep -qzx "SLURMD_NODENAME=$1" "$slurm_environ" 2>/dev/null || continue
		slurm_pid=${slurm_environ#/proc/}
		echo "${slurm_pid%/environ}"
	done
}

start_slurmctld()
{
	slurmctld -D -i >>"$slurm/slurmctld.out" 2>&1 &
	slurmctld_pid=$!
	await sinfo -h
}

kill_slurmctld()
{
	kill -9 "$slurmctld_pid"
	wait "$slurmctld_pid" 2>/dev/null
	slurmctld_pid=
}

start_node()
{
	SLURMD_NODENAME=$1 slurmd -D -N "$1" >>"$slurm/$1.out" 2>&1 &
	eval "slurm_pid_$1=$!"
	await node_is "$1" 'idle\|mixed\|allocated'
}

node_is()
{
	sinfo -h -N -n "$1" -o '%T' | grep -x "$2"
}

# These and what they began, whose environment may be another one.
slurm_families()
{
	{
		echo "$@"
		ps -e -o pid= -o ppid=
	} | awk 'NR == 1 { for (i = 1; i <= NF; i++) is[$i] = 1; next }
		{ parent[$1] = $2 }
		END {
			for (p in parent) {
				for (q = p; q > 1 && !(q in is); q = parent[q]);
				if (q in is) print p
			}
		}'
}

kill_node()
{
	# all at one moment: the job's script must not see that its command is gone
	# shellcheck disable=SC2046 # a list of ids
	set -- "$1" $(slurm_families $(slurm_pids "$1"))
	slurm_node=$1
	shift
	kill -STOP "$@" 2>/dev/null
	sleep 0.1
	kill -9 "$@" 2>/dev/null
	set -- "$slurm_node"
	eval "wait \$slurm_pid_$1" 2>/dev/null
	true
}

own_munge()
{
	slurm=$T/slurm slurm_host=$(hostname -s)
	[ ! -e "$slurm/munge.socket" ] || return 0
	mkdir -p "$slurm/state" && chmod 755 "$T" || return 1
	head -c 128 /dev/urandom >"$slurm/munge.key" && chmod 600 "$slurm/munge.key" || return 1
	# leave_slurm ends what has this in its environment
	export SLURM_CONF="$slurm/slurm.conf"
	munged -F --force --num-threads=1 --key-file="$slurm/munge.key" --socket="$slurm/munge.socket" --pid-file="$slurm/munged.pid" \
		--seed-file="$slurm/munge.seed" --log-file="$slurm/munged.log" >"$slurm/munged.out" 2>&1 &
	await test -S "$slurm/munge.socket"
}

own_accounts()
{
	own_munge && mkdir "$slurm/db" || return 1
	mariadb-install-db --no-defaults --datadir="$slurm/db" --auth-root-authentication-method=normal --skip-test-db --user="$(id -un)" \
		>"$slurm/db.out" 2>&1 || return 1
	slurm_db_port=$(free_port)
	mariadbd --no-defaults --datadir="$slurm/db" --port="$slurm_db_port" --bind-address=127.0.0.1 --socket="$slurm/db.socket" \
		--pid-file="$slurm/db.pid" --user="$(id -un)" --innodb-buffer-pool-size=32M --innodb-flush-log-at-trx-commit=0 \
		--skip-name-resolve >>"$slurm/db.out" 2>&1 &
	await mariadb --no-defaults -u root -S "$slurm/db.socket" -e \
		"CREATE OR REPLACE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'x'; GRANT ALL ON *.* TO 'slurm'@'127.0.0.1'" || return 1
	slurmdbd_port=$(free_port) slurm_accounts=slurmdbd
	# beside slurm.conf, which says no more than where Slurm is until own_slurm writes it
	echo "AuthInfo=socket=$slurm/munge.socket" >"$slurm/slurm.conf"
	(
		umask 077
		printf '%s\n' AuthType=auth/munge "AuthInfo=socket=$slurm/munge.socket" DbdHost=localhost "DbdPort=$slurmdbd_port" "SlurmUser=$(id -un)" \
			"LogFile=$slurm/slurmdbd.log" "PidFile=$slurm/slurmdbd.pid" StorageType=accounting_storage/mysql StorageHost=127.0.0.1 \
			"StoragePort=$slurm_db_port" StorageUser=slurm StoragePass=x StorageLoc=slurm >"$slurm/slurmdbd.conf"
	)
	slurm_conf >"$slurm/slurm.conf"
	slurmdbd -D >>"$slurm/slurmdbd.out" 2>&1 &
	await sacctmgr -n show stats && sacctmgr -i add cluster test >>"$slurm/slurmdbd.out" 2>&1
}

forget_accounts()
{
	mariadb --no-defaults -u root -S "$slurm/db.socket" slurm -e 'DELETE FROM test_job_table'
}

own_slurm()
{
	own_munge || return 1
	slurm_conf >"$slurm/slurm.conf"
	start_slurmctld || return 1
	for slurm_node in $slurm_nodes; do
		start_node "$slurm_node" || return 1
	done
}

# What its daemons said, where a test fails.
slurm_logs()
{
	tail -n "${1:-30}" "$slurm"/*.log "$slurm"/*.out 2>/dev/null
}

leave_slurm()
{
	[ -n "${SLURM_CONF-}" ] || return 0
	# shellcheck disable=SC2046 # a list of ids
	kill -9 $(slurm_families $(slurm_pids)) 2>/dev/null
	wait
}
