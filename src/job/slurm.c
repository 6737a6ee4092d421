// SPDX-License-Identifier: Apache-2.0
/*
 * A pool that Slurm serves (doc/decisions/0074-slurm.md), by its commands: sbatch, squeue, sacct, scancel, sinfo, scontrol.
 *
 *	pools:
 *	  builds: {backend: slurm, partition: ci, account: x, qos: x, constraint: x, cpus: 2, memory: 4G, nice: 1000, near-wait: 60}
 *
 * How a job ended is known from, in this order: what squeue has (for some minutes: MinJobAge), what the job's script wrote beside the log, what
 * sacct's database has, what sacct reads from the file of completed jobs. Of what none of these knows it is said that it was lost.
 */
#include "job/slurm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "base/sys.h"
#include "base/vec.h"

enum {
	COMMAND_MS = 60000,  /* Slurm's own commands give up after some ten seconds */
	ACCOUNTS_MS = 15000, /* where slurmdbd is away sacct does not */
	WORDS_MAX = 32,
	ENV_MAX = 512,
	NICE_DEFAULT = 1000,
	NEAR_WAIT_S = 60,
};

/* -- running its commands ------------------------------------------------------------------------------------------ */

/* This process may itself be in a job, or its user have views of his own: what Slurm's commands would take from that is left out. */
static const char *const *environment(struct arena *a)
{
	static const char *const dropped[] = {"SLURM_", "SBATCH_",   "SQUEUE_", "SACCT_", "SCANCEL_",
					      "SINFO_", "SCONTROL_", "LC_",	"LANG="};
	static const char *const kept[] = {"SLURM_CONF=", "SLURM_JWT=", "SLURM_CONF_SERVER="};
	VEC(const char *) v = {0};
	for (char **p = environ; *p && v.n < ENV_MAX; p++) {
		bool drop = false;
		for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++)
			drop |= str_starts(str_c(*p), str_c(dropped[i]));
		for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
			drop &= !str_starts(str_c(*p), str_c(kept[i]));
		if (!drop)
			*vec_add(&v) = *p;
	}
	*vec_add(&v) = "SLURM_TIME_FORMAT=%s";
	*vec_add(&v) = "LC_ALL=C";
	*vec_add(&v) = NULL;
	const char *const *ret = arena_copy(a, v.v, v.n, sizeof(*v.v));
	vec_release(&v);
	return ret;
}

/* The first line of what it complained of, without its own name before it. */
static struct str complaint(struct str text)
{
	struct str line = STR("it does not say why");
	while (str_take_line(&text, &line) && str_trim(line).n == 0)
		;
	line = str_trim(line);
	ptrdiff_t at = str_search(line, STR("error: "));
	return str_head(at >= 0 ? str_skip(line, (size_t)at + 7) : line, 500);
}

/* Exit status 0; else ERR_NETWORK where Slurm cannot be reached, or ERR_FAILED with its words. */
static int call(const char *const *argv, struct str input, struct arena *a, struct buf *out, struct err *e)
{
	auto_buf errout = BUF_INIT(1 << 16);
	struct proc_opts o = {.argv = argv,
			      .envp = environment(a),
			      .input = input,
			      .out = out,
			      .errout = &errout,
			      .deadline_ms = strcmp(argv[0], "sacct") == 0 ? ACCOUNTS_MS : COMMAND_MS};
	int rc = proc_run(&o, e);
	if (rc < 0 && e->sys == ENOENT)
		return err_new(e, ERR_NOT_FOUND,
			       "there is no '%s' on this machine; install Slurm's commands (Debian: slurm-client)",
			       argv[0]);
	if (rc < 0)
		return -1;
	if (out->overflow)
		return err_new(e, ERR_LIMIT, "'%s' answers with more than %d bytes", argv[0], (int)out->max);
	if (rc == 0)
		return 0;
	struct str why = complaint(buf_str(&errout));
	bool away = str_search(why, STR("nable to contact")) >= 0 || str_search(why, STR("onnection refused")) >= 0 ||
		    str_search(why, STR("timed out")) >= 0;
	return err_new(e, away ? ERR_NETWORK : ERR_FAILED, "%s: %.*s", argv[0], STR_ARG(why));
}

struct words {
	const char *v[WORDS_MAX + 1];
	size_t n;
};

static void add(struct words *w, const char *word)
{
	if (w->n == WORDS_MAX)
		panic("too many words for Slurm");
	w->v[w->n++] = word;
}

/* -- submitting ---------------------------------------------------------------------------------------------------- */

static struct str partition_of(const struct job_pool_config *pool)
{
	struct str p = job_pool_setting(pool, "partition");
	return p.n ? p : pool->name;
}

/* Where the hint was built last, if the job can start there now. Else wherever Slurm likes, with a preference where the node has its own name
 * for a feature: a job never waits for a cache. */
static void add_near(struct words *w, const struct job_pool_config *pool, struct str near, struct arena *a)
{
	if (near.n == 0)
		return;
	struct words q = {.v = {"sinfo", "--noheader", "--Node", arena_printf(a, "--nodes=%.*s", STR_ARG(near)),
				arena_printf(a, "--partition=%.*s", STR_ARG(partition_of(pool))),
				"--format=" SLURM_SINFO_FORMAT},
			  .n = 6};
	auto_buf out = BUF_INIT(SLURM_ANSWER_MAX);
	struct err ignored = ERR_INIT;
	struct slurm_node node;
	if (call(q.v, STR_NONE, a, &out, &ignored) < 0)
		return;
	struct str left = buf_str(&out);
	uint64_t cpus = 1;
	str_to_u64(job_pool_setting(pool, "cpus"), &cpus);
	while (slurm_take_node(&left, &node)) {
		if (!str_eq(node.name, near) || node.state != JOB_WORKER_READY)
			continue;
		if (node.idle >= cpus)
			add(w, arena_printf(a, "--nodelist=%.*s", STR_ARG(near)));
		else if (str_search(str_c(arena_printf(a, ",%.*s,", STR_ARG(node.features))),
				    str_c(arena_printf(a, ",%.*s,", STR_ARG(near)))) >= 0)
			add(w, arena_printf(a, "--prefer=%.*s", STR_ARG(near)));
		return;
	}
}

static int add_settings(struct words *w, const struct job_pool_config *pool, struct arena *a, struct err *e)
{
	static const struct {
		const char *name, *option;
	} known[] = {{"account", "account"},	{"qos", "qos"},	   {"constraint", "constraint"},
		     {"cpus", "cpus-per-task"}, {"memory", "mem"}, {"reservation", "reservation"},
		     {"partition", NULL},	{"nice", NULL},	   {"near-wait", NULL}};
	for (size_t i = 0; i < pool->n_settings; i++) {
		const struct job_setting *s = &pool->settings[i];
		size_t k = 0;
		while (k < sizeof(known) / sizeof(known[0]) && !str_eq_c(s->name, known[k].name))
			k++;
		if (k == sizeof(known) / sizeof(known[0]))
			return err_new(e, ERR_USAGE, "pool '%.*s': a pool of Slurm has no '%.*s'", STR_ARG(pool->name),
				       STR_ARG(s->name));
		if (known[k].option)
			add(w, arena_printf(a, "--%s=%.*s", known[k].option, STR_ARG(s->value)));
	}
	return 0;
}

/* Ordinary users may only lower what they submit: all but what is urgent is lowered. */
static int add_nice(struct words *w, const struct job_pool_config *pool, bool urgent, struct arena *a, struct err *e)
{
	struct str text = job_pool_setting(pool, "nice");
	uint64_t nice = NICE_DEFAULT;
	if (text.n && (!str_to_u64(text, &nice) || nice > 2147483645))
		return err_new(e, ERR_USAGE, "pool '%.*s': 'nice' is a number from 0 on, not '%.*s'",
			       STR_ARG(pool->name), STR_ARG(text));
	add(w, arena_printf(a, "--nice=%llu", urgent ? 0ull : (unsigned long long)nice));
	return 0;
}

/* Its key is in it: two queues may have the same numbers. */
static const char *name_of_job(const struct job_info *job, const struct job_command *cmd, const char *option,
			       struct arena *a)
{
	return arena_printf(a, "%s=slipway-%llu-%s", option, (unsigned long long)job->id, cmd->key);
}

/* These leave it open whether slurmctld has the job. */
static bool is_uncertain(const struct err *e)
{
	static const char *const words[] = {"timed out", "Zero Bytes", "receive failure", "shutdown failure",
					    "was killed"};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strstr(e->msg, words[i]))
			return true;
	return false;
}

static int submit(const struct job_pool_config *pool, const struct job_info *job, const struct job_command *cmd,
		  struct arena *a, struct str *ret_remote, struct err *e)
{
	struct words w = {.v = {"sbatch", "--parsable", "--output=/dev/null", "--error=/dev/null", "--input=/dev/null",
				"--export=ALL", "--requeue", "--chdir=/", "--ntasks=1", "--nodes=1"},
			  .n = 10};
	add(&w, name_of_job(job, cmd, "--job-name", a));
	add(&w, arena_printf(a, "--partition=%.*s", STR_ARG(partition_of(pool))));
	if (cmd->time_ms > 0) /* the script ends it in time; this is for when the script does not */
		add(&w, arena_printf(a, "--time=%lld", (long long)((cmd->time_ms + cmd->grace_ms) / 60000 + 2)));
	if (add_settings(&w, pool, a, e) < 0 || add_nice(&w, pool, job->urgent, a, e) < 0)
		return -1;
	add_near(&w, pool, job->near, a);
	auto_buf script = BUF_INIT(4 << 20);
	auto_buf out = BUF_INIT(SLURM_END_MAX);
	slurm_script(pool, job, cmd, &script);
	if (script.overflow)
		return err_new(e, ERR_LIMIT,
			       "the command and its environment make a script of more than 4 MiB, too long for Slurm");
	if (call(w.v, buf_str(&script), a, &out, e) < 0) {
		e->code = is_uncertain(e) ? ERR_UNCERTAIN : e->code;
		return -1;
	}
	struct str id;
	if (!slurm_parse_submitted(buf_str(&out), &id))
		return err_new(e, ERR_UNCERTAIN, "sbatch does not tell the job's number but '%.*s'",
			       STR_ARG(str_trim(buf_str(&out))));
	*ret_remote = arena_str(a, id);
	return 0;
}

/* -- what became of them ------------------------------------------------------------------------------------------- */

typedef bool take_fn(struct str *answer, struct slurm_row *ret);
#define SACCT                                                                                                          \
	"sacct", "--noheader", "--parsable2", "--allocations", "--format=JobIDRaw,State,ExitCode,NodeList,Start,End"

static int find(const struct job_pool_config *pool, const struct job_info *job, const struct job_command *cmd,
		struct arena *a, struct str *ret_remote, struct err *e)
{
	(void)pool;
	auto_buf out = BUF_INIT(SLURM_ANSWER_MAX);
	struct err ignored = ERR_INIT; /* not every Slurm keeps accounts */
	struct slurm_row r;
	const char *name = name_of_job(job, cmd, "--name", a);
	int64_t age_s = (clock_wall_ms() - job->submitted_ms) / 1000 + 3600;
	const char *since = arena_printf(a, "--starttime=now-%lld", (long long)(age_s > 0 ? age_s : 0));
	if (call((const char *const[]){"squeue", "--noheader", "--states=all", name, "--Format=" SLURM_SQUEUE_FORMAT,
				       NULL},
		 STR_NONE, a, &out, e) < 0)
		return -1;
	struct str answer = buf_str(&out);
	bool found = slurm_take_row(&answer, &r);
	if (!found) {
		buf_clear(&out);
		if (call((const char *const[]){SACCT, name, since, NULL}, STR_NONE, a, &out, &ignored) == 0) {
			answer = buf_str(&out);
			found = slurm_take_account(&answer, &r);
		}
	}
	if (found)
		*ret_remote = arena_str(a, r.id);
	return found;
}

static const char *ids_of(const struct job_info *job, const bool *known, size_t n, const char *option, struct arena *a)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < n; i++)
		if (!known[i] && job[i].remote.n)
			buf_printf(&b, "%s%.*s", b.n ? "," : "", STR_ARG(job[i].remote));
	return b.n ? arena_printf(a, "%s%s", option, b.p) : NULL;
}

static void apply_all(struct str answer, take_fn *take, struct job_info *job, bool *known, size_t n, struct arena *a)
{
	struct slurm_row r;
	while (take(&answer, &r)) {
		for (size_t i = 0; i < n; i++) {
			if (known[i] || !str_eq(job[i].remote, r.id))
				continue;
			slurm_apply(&r, &job[i], a);
			known[i] = true;
		}
	}
}

/* What the script wrote when the command had ended: better than Slurm's word where both are there, as it lasts. */
static void read_end(struct job_info *job, bool *known, struct arena *a)
{
	auto_buf b = BUF_INIT(SLURM_END_MAX);
	struct err ignored = ERR_INIT;
	int code;
	bool late;
	const char *path = arena_printf(a, "%.*s.end", STR_ARG(job->log));
	if (*known && !job_has_ended(job->state))
		return;
	if (*known && job->state == JOB_CANCELLED) { /* and ended in order */
		sys_unlinkat(AT_FDCWD, path, 0);
		return;
	}
	if (job->log.n == 0 || fs_read(AT_FDCWD, path, &b, &ignored) < 0 || !slurm_parse_end(buf_str(&b), &code, &late))
		return;
	job->state = code == 0 ? JOB_PASSED : JOB_FAILED;
	job->wait = JOB_WAIT_NONE;
	job->code = code;
	job->signal = 0;
	job->why = late ? STR("it ran longer than it may") : STR("");
	struct stat st;
	if (job->ended_ms == 0 && stat(path, &st) == 0)
		job->ended_ms = (int64_t)st.st_mtim.tv_sec * 1000;
	sys_unlinkat(AT_FDCWD, path, 0);
	*known = true;
}

/* It was to go where its cache is, that place went to another one meanwhile, and it waits: anywhere now. */
static void widen(const struct job_pool_config *pool, const struct job_info *job, struct arena *a)
{
	uint64_t wait_s = NEAR_WAIT_S;
	str_to_u64(job_pool_setting(pool, "near-wait"), &wait_s);
	if (job->state > JOB_WAITING || job->near.n == 0 ||
	    clock_wall_ms() - job->submitted_ms < (int64_t)(wait_s % (1 << 30)) * 1000)
		return;
	auto_buf out = BUF_INIT(1 << 16);
	struct err ignored = ERR_INIT; /* it waits on, then */
	const char *id = arena_printf(a, "JobId=%.*s", STR_ARG(job->remote));
	call((const char *const[]){"scontrol", "update", id, "ReqNodeList=", NULL}, STR_NONE, a, &out, &ignored);
}

static int poll_jobs(const struct job_pool_config *pool, struct job_info *job, size_t n, struct arena *a, struct err *e)
{
	bool *known = arena_array(a, bool, n ? n : 1);
	auto_buf out = BUF_INIT(SLURM_ANSWER_MAX);
	const char *ids = ids_of(job, known, n, "--jobs=", a);
	if (!ids)
		return 0;
	int rc = call((const char *const[]){"squeue", "--noheader", "--states=all", ids,
					    "--Format=" SLURM_SQUEUE_FORMAT, NULL},
		      STR_NONE, a, &out, e);
	if (rc < 0 && !strstr(e->msg, "Invalid job id")) /* all of one: none is known any more */
		return -1;
	if (rc == 0)
		apply_all(buf_str(&out), slurm_take_row, job, known, n, a);
	for (size_t i = 0; i < n; i++)
		read_end(&job[i], &known[i], a);
	static const char *const asked[][6] = {{SACCT}, {"sacct", "--noheader", "--parsable2", "--completion"}};
	static take_fn *const take[] = {slurm_take_account, slurm_take_completion};
	for (size_t i = 0; i < 2 && (ids = ids_of(job, known, n, "--jobs=", a)); i++) {
		struct words w = {0};
		struct err ignored = ERR_INIT; /* not every Slurm keeps accounts */
		for (size_t k = 0; asked[i][k]; k++)
			add(&w, asked[i][k]);
		add(&w, ids);
		buf_clear(&out);
		if (call(w.v, STR_NONE, a, &out, &ignored) == 0)
			apply_all(buf_str(&out), take[i], job, known, n, a);
	}
	for (size_t i = 0; i < n; i++) {
		if (known[i])
			widen(pool, &job[i], a);
		else if (job[i].remote.n) {
			job[i].state = JOB_LOST;
			job[i].why = STR("Slurm knows nothing of it any more");
		}
	}
	return 0;
}

static int cancel(const struct job_pool_config *pool, const struct job_info *job, struct err *e)
{
	(void)pool;
	auto_arena a = ARENA_INIT;
	auto_buf out = BUF_INIT(1 << 16);
	if (job->remote.n == 0)
		return 0;
	int rc = call((const char *const[]){"scancel", arena_strdup(&a, job->remote), NULL}, STR_NONE, &a, &out, e);
	return rc < 0 && strstr(e->msg, "Invalid job id") ? 0 : rc;
}

/* -- its machines -------------------------------------------------------------------------------------------------- */

static int workers(const struct job_pool_config *pool, struct arena *a, struct job_worker **ret, size_t *ret_n,
		   struct err *e)
{
	auto_buf out = BUF_INIT(SLURM_ANSWER_MAX);
	uint64_t cpus = 1;
	if (job_pool_setting(pool, "cpus").n && (!str_to_u64(job_pool_setting(pool, "cpus"), &cpus) || cpus == 0))
		return err_new(e, ERR_USAGE, "pool '%.*s': 'cpus' is no number from 1 on", STR_ARG(pool->name));
	const char *partition = arena_printf(a, "--partition=%.*s", STR_ARG(partition_of(pool)));
	if (call((const char *const[]){"sinfo", "--noheader", "--Node", partition, "--format=" SLURM_SINFO_FORMAT,
				       NULL},
		 STR_NONE, a, &out, e) < 0)
		return -1;
	VEC(struct job_worker) v = {0};
	struct str left = buf_str(&out);
	struct slurm_node n;
	while (slurm_take_node(&left, &n)) {
		*vec_add(&v) = (struct job_worker){.pool = arena_str(a, pool->name),
						   .name = arena_str(a, n.name),
						   .host = arena_str(a, n.name),
						   .store = arena_str(a, n.name),
						   .state = n.state,
						   .paused = n.paused,
						   .capacity = (uint32_t)(n.cpus / cpus),
						   .running = (uint32_t)(n.busy / cpus),
						   .since_ms = n.since_ms};
	}
	*ret = vec_copy(&v, a);
	*ret_n = v.n;
	vec_release(&v);
	return 0;
}

static int change(const struct job_pool_config *pool, struct str worker, enum job_worker_change what, struct err *e)
{
	auto_arena a = ARENA_INIT;
	if (what == JOB_WORKER_FORGET)
		return err_new(e, ERR_UNSUPPORTED,
			       "Slurm keeps the list of its nodes itself: remove '%.*s' from slurm.conf",
			       STR_ARG(worker));
	if (job_name_check(worker, "worker", e) < 0)
		return -1;
	struct job_worker *w;
	size_t n, i = 0;
	if (workers(pool, &a, &w, &n, e) < 0)
		return -1;
	while (i < n && !str_eq(w[i].name, worker))
		i++;
	if (i == n)
		return err_new(e, ERR_NOT_FOUND, "pool '%.*s' has no worker '%.*s'", STR_ARG(pool->name),
			       STR_ARG(worker));
	bool resume = what == JOB_WORKER_RESUME;
	auto_buf out = BUF_INIT(1 << 16);
	const char *argv[] = {"scontrol",
			      "update",
			      arena_printf(&a, "NodeName=%.*s", STR_ARG(worker)),
			      resume ? "State=RESUME" : "State=DRAIN",
			      resume ? NULL : "Reason=drained by slipway",
			      NULL};
	if (resume && !w[i].paused && w[i].state != JOB_WORKER_GONE) /* Slurm calls that an error */
		return 0;
	return call(argv, STR_NONE, &a, &out, e);
}

const struct job_backend job_slurm = {.name = "slurm",
				      .poll_ms = 1000,
				      .submit = submit,
				      .find = find,
				      .poll = poll_jobs,
				      .cancel = cancel,
				      .workers = workers,
				      .change = change};
