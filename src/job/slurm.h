// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * slurm: what Slurm's commands are given and what they answer, without running them (job/slurm.c does). Their output is outside data: a line
 * that is not as asked for is passed over, a number or word that cannot be is none.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "job/job.h"

enum {
	SLURM_ANSWER_MAX = 16 << 20,
	SLURM_END_MAX = 256,
	SLURM_NO_LOG = 75,    /* exit status of the job's script: the node does not see the log */
	SLURM_TWICE = 76,     /* it was lost twice */
	SLURM_NO_FOLDER = 77, /* nor the folder */
	SLURM_NOT_IT = 78     /* its claim is another one's, or cannot be made */
};

/* The script of a job: sh's, all words quoted. */
void slurm_script(const struct job_pool_config *pool, const struct job_info *job, const struct job_command *cmd,
		  struct buf *b);

/* sbatch --parsable: "17" or "17;cluster". */
bool slurm_parse_submitted(struct str answer, struct str *ret_id);

/* squeue with this format, and SLURM_TIME_FORMAT=%s: one line a job. */
#define SLURM_SQUEUE_FORMAT                                                                                            \
	"JobID:24|,State:24|,exit_code:16|,RestartCnt:16|,StartTime:24|,EndTime:24|,BatchHost:256|,ReqNodes:256|,Reason:200|"
/* Sets what is known of the job with that id; false where the line is not of any, or not as asked for. */
struct slurm_row {
	struct str id, state, host, reason;
	struct str wants;	      /* the node that it waits for, where it waits for one alone */
	uint64_t status, restarts;    /* status: as wait(2) has it */
	int64_t started_ms, ended_ms; /* 0: not known */
};
bool slurm_take_row(struct str *answer, struct slurm_row *ret);
/* sacct --parsable2 --noheader -o JobIDRaw,State,ExitCode,NodeList,Start,End; ExitCode is "CODE:SIGNAL", State may be "CANCELLED by 0". */
bool slurm_take_account(struct str *answer, struct slurm_row *ret);
/* sacct --completion --parsable2 --noheader: JobID, UID, name, partition, nodes, NodeList, State, End. */
bool slurm_take_completion(struct str *answer, struct slurm_row *ret);
void slurm_apply(const struct slurm_row *r, struct job_info *job, struct arena *a);

/* LOG.end, which the script leaves: "EXIT_STATUS SECONDS [late]\n". */
bool slurm_parse_end(struct str text, int *ret_code, bool *ret_late);

/* sinfo -h -N -o SLURM_SINFO_FORMAT: one line a node. */
#define SLURM_SINFO_FORMAT "%N|%T|%C|%H|%f"
struct slurm_node {
	struct str name, features;
	enum job_worker_state state;
	bool paused;
	uint64_t cpus, busy, idle;
	int64_t since_ms;
};
bool slurm_take_node(struct str *answer, struct slurm_node *ret);
