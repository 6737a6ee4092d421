// SPDX-License-Identifier: Apache-2.0
#include <sys/wait.h>

#include "job/slurm.h"

/* -- the script ---------------------------------------------------------------------------------------------------- */

/* A word for sh. */
static void quote(struct str word, struct buf *b)
{
	buf_put_c(b, "'");
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] == '\'')
			buf_put_c(b, "'\\''");
		else
			buf_put_char(b, word.p[i]);
	}
	buf_put_c(b, "'");
}

/*
 * Slurm queues a job again by itself when its node dies; the first thing its second run does is to make that the last time.
 * The log, not Slurm's own output file, is appended to by the script: patterns in its name would mean something to Slurm.
 * TERM goes to every process of the job; the shell outlives it, to write down how the command ended.
 * What has no log cannot say why: its exit status does. Nor may it say anything who is not the one that runs the job (job/hand_over.c).
 */
static const char script_head[] = "(: >>\"$log\") 2>/dev/null || exit 75\n"
				  "ln -s \"$SLURM_JOB_ID\" \"$claim\" 2>/dev/null ||\n"
				  "\t[ \"$(readlink \"$claim\")\" = \"$SLURM_JOB_ID\" ] || exit 78\n"
				  "exec >>\"$log\" 2>&1\n"
				  "trap : TERM INT HUP\n"
				  "say() { echo \"$(date -u '+%Y-%m-%d %H:%M.%S'): $1\"; }\n"
				  "if [ \"${SLURM_RESTART_COUNT:-0}\" -gt 0 ]; then\n"
				  "\tscontrol update JobId=\"$SLURM_JOB_ID\" Requeue=0\n"
				  "\tsay 'Lost the worker; the job was queued once more'\n"
				  "fi\n"
				  "if [ \"${SLURM_RESTART_COUNT:-0}\" -gt 1 ]; then\n"
				  "\tsay 'Lost two workers; the job is given up'\n"
				  "\texit 76\n"
				  "fi\n"
				  "rm -f \"$log.end\"\n"
				  "say \"Got resource from pool $pool\"\n"
				  "echo \"Building on $SLURMD_NODENAME\"\n"
				  "cd \"$dir\" || exit 77\n"
				  "begun=$(date +%s)\n";
/* written aside: what has the name is whole */
static const char script_tail[] =
	"rc=$? took=$(($(date +%s) - begun)) late=\n"
	"[ \"$limit\" = 0 ] || [ \"$took\" -lt \"$limit\" ] || case $rc in 124 | 137) late=' late' ;; esac\n"
	"echo \"$rc $took$late\" >\"$log.end.new\" && mv \"$log.end.new\" \"$log.end\"\n"
	"exit \"$rc\"\n";

static void put_setting(struct buf *b, const char *name, struct str value)
{
	buf_printf(b, "%s=", name);
	quote(value, b);
	buf_put_c(b, "\n");
}

static int64_t seconds_of(int64_t ms)
{
	return ms / 1000 + (ms % 1000 > 0);
}

void slurm_script(const struct job_pool_config *pool, const struct job_info *job, const struct job_command *cmd,
		  struct buf *b)
{
	int64_t limit_s = cmd->time_ms > 0 ? seconds_of(cmd->time_ms) : 0;
	buf_printf(b, "#!/bin/sh\n# job %llu of slipway\n", (unsigned long long)job->id);
	put_setting(b, "log", str_c(cmd->log));
	put_setting(b, "claim", str_c(cmd->claim));
	put_setting(b, "dir", str_c(cmd->dir));
	put_setting(b, "pool", pool->name);
	buf_printf(b, "limit=%lld\n", (long long)limit_s);
	buf_put_c(b, script_head);
	if (limit_s > 0)
		buf_printf(b, "timeout -k %lld %lld ", (long long)(cmd->grace_ms > 0 ? seconds_of(cmd->grace_ms) : 10),
			   (long long)limit_s);
	buf_put_c(b, "env -i --"); /* a variable's name may begin with '-' */
	for (size_t i = 0; cmd->envp && cmd->envp[i]; i++) {
		buf_put_c(b, " \\\n\t");
		quote(str_c(cmd->envp[i]), b);
	}
	/* through sh: a command may have a '=' in its name, which env would take for a variable */
	buf_put_c(b, " \\\n\t/bin/sh -c 'exec \"$@\"' sh");
	for (size_t i = 0; cmd->argv[i]; i++) {
		buf_put_c(b, " \\\n\t");
		quote(str_c(cmd->argv[i]), b);
	}
	buf_put_c(b, " </dev/null\n");
	buf_put_c(b, script_tail);
}

/* -- answers ------------------------------------------------------------------------------------------------------- */

static bool is_number(struct str s)
{
	uint64_t n;
	return s.n < 20 && str_to_u64(s, &n);
}

bool slurm_parse_submitted(struct str answer, struct str *ret_id)
{
	struct str line, id;
	if (!str_take_line(&answer, &line) || str_trim(answer).n > 0)
		return false;
	line = str_trim(line);
	id = line;
	ptrdiff_t at = str_find(line, ';');
	if (at >= 0)
		id.n = (size_t)at;
	*ret_id = id;
	return is_number(id);
}

/* "N/A", "Unknown" and what is no date of these thousand years are none. */
static int64_t ms_of(struct str seconds)
{
	uint64_t s;
	return str_to_u64(seconds, &s) && s > 0 && s < 32503680000u ? (int64_t)s * 1000 : 0;
}

/* A name that can be shown and given to a command; else none. */
static struct str name_of(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= ' ' || c >= 0x7f || c == ',' || c == '[' || c == '\'' || c == '"' || (i == 0 && c == '-'))
			return STR("");
	}
	return str_eq(s, STR("n/a")) || str_eq(s, STR("(null)")) || s.n > 255 ? STR("") : s;
}

static size_t split(struct str line, struct str *part, size_t max)
{
	size_t n = 0;
	while (n < max && str_take_until(&line, '|', &part[n]))
		n++;
	if (n < max)
		part[n++] = line;
	return n;
}

bool slurm_take_row(struct str *answer, struct slurm_row *ret)
{
	enum { ID, STATE, STATUS, RESTARTS, START, END, HOST, WANTS, REASON, LAST, FIELDS };
	struct str line, part[FIELDS];
	while (str_take_line(answer, &line)) {
		struct slurm_row r = {0};
		size_t n = split(line, part, FIELDS);
		for (size_t i = 0; i < n; i++)
			part[i] = str_trim(part[i]);
		if (n != FIELDS || part[LAST].n > 0 || !is_number(part[ID]) || part[STATE].n == 0 ||
		    !str_to_u64(part[STATUS], &r.status) || !str_to_u64(part[RESTARTS], &r.restarts))
			continue;
		r.id = part[ID];
		r.state = part[STATE];
		r.host = name_of(part[HOST]);
		r.wants = name_of(part[WANTS]);
		r.started_ms = ms_of(part[START]);
		r.ended_ms = ms_of(part[END]);
		r.reason = part[REASON];
		*ret = r;
		return true;
	}
	return false;
}

/* "3:0": the exit code and the signal, as wait(2) packs them. */
static bool take_exit(struct str s, uint64_t *ret)
{
	struct str code;
	uint64_t c, sig;
	if (!str_take_until(&s, ':', &code) || !str_to_u64(code, &c) || !str_to_u64(s, &sig) || c > 255 || sig > 127)
		return false;
	*ret = c << 8 | sig;
	return true;
}

bool slurm_take_account(struct str *answer, struct slurm_row *ret)
{
	enum { ID, STATE, EXIT, NODES, START, END, FIELDS };
	struct str line, part[FIELDS], word;
	while (str_take_line(answer, &line)) {
		struct slurm_row r = {0};
		if (split(line, part, FIELDS) != FIELDS || !is_number(part[ID]) || !take_exit(part[EXIT], &r.status) ||
		    !str_take_word(&part[STATE], &word))
			continue;
		r.id = part[ID];
		r.state = word;
		r.host = name_of(part[NODES]);
		r.reason = STR("");
		r.started_ms = ms_of(part[START]);
		r.ended_ms = ms_of(part[END]);
		*ret = r;
		return true;
	}
	return false;
}

bool slurm_take_completion(struct str *answer, struct slurm_row *ret)
{
	enum { ID, UID, NAME, PARTITION, NODE_COUNT, NODES, STATE, END, FIELDS };
	struct str line, part[FIELDS], word;
	while (str_take_line(answer, &line)) {
		if (split(line, part, FIELDS) != FIELDS || !is_number(part[ID]) || !str_take_word(&part[STATE], &word))
			continue;
		*ret = (struct slurm_row){.id = part[ID],
					  .state = word,
					  .host = name_of(part[NODES]),
					  .reason = STR(""),
					  .ended_ms = ms_of(part[END])};
		/* it tells no exit code */
		if (!str_eq(word, STR("COMPLETED")))
			ret->status = 1 << 8;
		return true;
	}
	return false;
}

bool slurm_parse_end(struct str text, int *ret_code, bool *ret_late)
{
	struct str line;
	uint64_t code, took;
	if (!str_take_line(&text, &line) || !str_take_u64(&line, &code) || code > 255 || !str_take_char(&line, ' ') ||
	    !str_take_u64(&line, &took))
		return false;
	*ret_code = (int)code;
	*ret_late = str_eq(line, STR(" late"));
	return line.n == 0 || *ret_late;
}

/* -- states -------------------------------------------------------------------------------------------------------- */

static const struct state {
	const char *word;
	enum job_state state;
	const char *why;
} states[] = {
	{"PENDING", JOB_QUEUED, ""},
	{"REQUEUED", JOB_QUEUED, ""},
	{"REQUEUE_FED", JOB_QUEUED, ""},
	{"REQUEUE_HOLD", JOB_QUEUED, ""},
	{"RESV_DEL_HOLD", JOB_QUEUED, ""},
	{"SPECIAL_EXIT", JOB_QUEUED, ""},
	{"CONFIGURING", JOB_RUNNING, ""},
	{"RUNNING", JOB_RUNNING, ""},
	{"RESIZING", JOB_RUNNING, ""},
	{"SIGNALING", JOB_RUNNING, ""},
	{"STOPPED", JOB_RUNNING, ""},
	{"SUSPENDED", JOB_RUNNING, ""},
	{"STAGE_OUT", JOB_RUNNING, ""},
	{"COMPLETING", JOB_RUNNING, ""},
	{"COMPLETED", JOB_PASSED, ""},
	{"FAILED", JOB_FAILED, ""},
	{"CANCELLED", JOB_CANCELLED, ""},
	{"TIMEOUT", JOB_FAILED, "Slurm ended it: it ran longer than the partition or account allows"},
	{"DEADLINE", JOB_FAILED, "Slurm ended it: its deadline passed"},
	{"OUT_OF_MEMORY", JOB_FAILED, "Slurm ended it: it needed more memory than it was given"},
	{"NODE_FAIL", JOB_LOST, "the node went away"},
	{"BOOT_FAIL", JOB_LOST, "the node did not start"},
	{"PREEMPTED", JOB_LOST, "Slurm gave its place to another job"},
	{"REVOKED", JOB_LOST, "Slurm took it away"},
};

static const struct {
	const char *begins;
	enum job_wait wait;
} reasons[] = {
	{"JobHeld", JOB_WAIT_PAUSED},
	{"PartitionInactive", JOB_WAIT_PAUSED},
	{"PartitionDown", JOB_WAIT_PAUSED},
	{"NodeDown", JOB_WAIT_NO_WORKER},
	{"ReqNodeNotAvail", JOB_WAIT_NO_WORKER},
	{"Nodes_required", JOB_WAIT_NO_WORKER},
	{"Nodes required", JOB_WAIT_NO_WORKER},
	{"BadConstraints", JOB_WAIT_NO_WORKER},
	{"Resources", JOB_WAIT_BUSY},
};

static void apply_reason(struct str reason, struct job_info *job)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (str_starts(reason, str_c(reasons[i].begins))) {
			job->state = JOB_WAITING;
			job->wait = reasons[i].wait;
		}
	}
}

static void apply_end(const struct slurm_row *r, struct job_info *job)
{
	int status = (int)(r->status & 0xffff);
	if (job->state != JOB_FAILED || job->why.n > 0)
		return;
	if (WIFSIGNALED(status))
		job->signal = WTERMSIG(status);
	else
		job->code = WEXITSTATUS(status);
	if (job->code == SLURM_NO_LOG)
		job->why =
			STR("the node does not see the log: the root has to be on a file system that all nodes share");
	else if (job->code == SLURM_NOT_IT)
		job->why = STR(
			"the node cannot make a symbolic link in the root's build/job, which keeps a job from running twice");
	else if (job->code == SLURM_TWICE)
		job->state = JOB_LOST;
	else if (job->code == SLURM_NO_FOLDER)
		job->why = STR("the node does not see the job's folder");
}

void slurm_apply(const struct slurm_row *r, struct job_info *job, struct arena *a)
{
	const struct state *s = NULL;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (str_eq(r->state, str_c(states[i].word)))
			s = &states[i];
	if (!s) /* a newer Slurm: it is still there */
		return;
	job->state = s->state;
	job->wait = JOB_WAIT_NONE;
	job->code = -1;
	job->signal = 0;
	job->why = str_c(s->why);
	if (r->restarts > job->losses)
		job->losses = r->restarts > 1000 ? 1000 : (uint32_t)r->restarts;
	if (s->state == JOB_QUEUED) {
		apply_reason(r->reason, job);
		job->near = arena_str(a, r->wants);
		return;
	}
	if (r->host.n > 0)
		job->worker = job->host = arena_str(a, r->host);
	if (r->started_ms > 0)
		job->started_ms = r->started_ms;
	if (!job_has_ended(s->state))
		return;
	job->ended_ms = r->ended_ms;
	if (s->state == JOB_PASSED)
		job->code = 0;
	apply_end(r, job);
}

/* -- nodes --------------------------------------------------------------------------------------------------------- */

/* "1/1/0/2": allocated, idle, other, total. */
static bool take_cpus(struct str s, struct slurm_node *n)
{
	uint64_t v[4] = {0};
	for (size_t i = 0; i < 4; i++)
		if (!str_take_u64(&s, &v[i]) || (i < 3 && !str_take_char(&s, '/')) || v[i] > 1 << 20)
			return false;
	n->busy = v[0];
	n->idle = v[1];
	n->cpus = v[3];
	return s.n == 0;
}

static enum job_worker_state node_state(struct str word, bool *paused)
{
	static const struct {
		const char *word;
		enum job_worker_state state;
		bool paused;
	} known[] = {
		{"idle", JOB_WORKER_READY, false},	{"mixed", JOB_WORKER_READY, false},
		{"allocated", JOB_WORKER_READY, false}, {"completing", JOB_WORKER_READY, false},
		{"planned", JOB_WORKER_READY, false},	{"draining", JOB_WORKER_DRAINING, true},
		{"drained", JOB_WORKER_PAUSED, true},	{"maint", JOB_WORKER_PAUSED, true},
		{"reserved", JOB_WORKER_PAUSED, false}, {"inval", JOB_WORKER_STUCK, false},
		{"error", JOB_WORKER_STUCK, false},	{"blocked", JOB_WORKER_STUCK, false},
	};
	bool silent = str_ends(word, STR("*"));
	while (word.n > 0 && !(word.p[word.n - 1] >= 'a' && word.p[word.n - 1] <= 'z'))
		word.n--;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (str_eq(word, str_c(known[i].word))) {
			*paused = known[i].paused;
			return silent && known[i].state == JOB_WORKER_READY ? JOB_WORKER_STUCK : known[i].state;
		}
	}
	return JOB_WORKER_GONE;
}

bool slurm_take_node(struct str *answer, struct slurm_node *ret)
{
	enum { NAME, STATE, CPUS, SINCE, FEATURES, FIELDS };
	struct str line, part[FIELDS];
	while (str_take_line(answer, &line)) {
		struct slurm_node n = {0};
		if (split(line, part, FIELDS) != FIELDS || name_of(part[NAME]).n == 0 || !take_cpus(part[CPUS], &n))
			continue;
		n.name = part[NAME];
		n.state = node_state(part[STATE], &n.paused);
		n.since_ms = ms_of(part[SINCE]);
		n.features = part[FEATURES];
		*ret = n;
		return true;
	}
	return false;
}
