// SPDX-License-Identifier: Apache-2.0
/* jobs, job log|show|cancel|submit: the queue of ROOT/build. */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>

#include "base/fs.h"
#include "cmd/change.h"
#include "cmd/job.h"

enum { LOG_JSON_MAX = 64 << 20, DAY_S = 24 * 3600 };

/* -- the queue ------------------------------------------------------------------------------------------------------- */

static int read_pool(struct cmd_context *c, const struct config_pool *from, struct job_pool_config *ret, struct err *e)
{
	struct job_setting *settings = arena_array(&c->arena, struct job_setting, from->settings_n + 1);
	for (size_t i = 0; i < from->settings_n; i++)
		settings[i] = (struct job_setting){from->settings[i].name, from->settings[i].value};
	*ret = (struct job_pool_config){.name = from->name.s,
					.capacity = from->capacity,
					.here = from->automatic,
					.settings = settings,
					.n_settings = from->settings_n};
	if (job_name_check(ret->name, "pool", e) < 0)
		return err_ctx(e, "%s:%u", from->name.file, from->name.line);
	if (!from->backend.file || str_eq_c(from->backend.s, "embedded"))
		return 0;
	ret->backend = job_backend_find(from->backend.s);
	return ret->backend ? 0
			    : err_new(e, ERR_USAGE, "%s:%u: no backend '%.*s'; there are embedded and slurm",
				      from->backend.file, from->backend.line, STR_ARG(from->backend.s));
}

int cmd_open_queue(struct cmd_context *c, struct job_queue **ret, struct err *e)
{
	if (cmd_need_root(c, e) < 0 || cmd_need_config(c, e) < 0)
		return -1;
	struct job_pool_config *pools = arena_array(&c->arena, struct job_pool_config, c->config.pools_n + 1);
	for (size_t i = 0; i < c->config.pools_n; i++)
		if (read_pool(c, &c->config.pools[i], &pools[i], e) < 0)
			return -1;
	const char *dir = arena_printf(&c->arena, "%s/build", c->root_path);
	return job_queue_open(dir, pools, c->config.pools_n, ret, e);
}

void cmd_hints_pruned(struct cmd_context *c, int64_t before_ms)
{
	auto_ptr(job_queue) q = NULL;
	struct err e = ERR_INIT;
	if (cmd_need_root(c, &e) < 0 || !fs_exists(c->root_fd, "build/jobs.db"))
		return;
	if (cmd_open_queue(c, &q, &e) < 0 || job_hints_pruned(q, str_c(c->root_path), before_ms, &e) < 0)
		cmd_warn(c, "the queue takes what was removed for cached still: %s", e.msg);
}

int cmd_job_id(const char *word, uint64_t *ret, struct err *e)
{
	return str_to_u64(str_c(word), ret) && *ret && *ret <= INT64_MAX
		       ? 0
		       : err_new(e, ERR_USAGE, "'%s' is no number of a job; 'slipway jobs' lists them", word);
}

/* -- showing --------------------------------------------------------------------------------------------------------- */

void cmd_put_job(struct jw *w, const struct job_info *j)
{
	jw_kv_int(w, "job", (int64_t)j->id);
	jw_kv_str(w, "pool", j->pool);
	jw_kv_str(w, "client", j->client);
	jw_kv_c(w, "state", job_state_name(j->state));
	jw_kv_c(w, "waits_for", job_wait_name(j->wait));
	jw_kv_int(w, "before", j->before);
	jw_kv_str(w, "title", j->title);
	jw_kv_str(w, "cache_hint", j->hint);
	jw_kv_bool(w, "cached", j->warm);
	jw_kv_bool(w, "urgent", j->urgent);
	jw_kv_bool(w, "cancelling", j->cancelling);
	jw_kv_str(w, "folder", j->dir);
	jw_kv_str(w, "worker", j->worker);
	jw_kv_str(w, "host", j->host);
	jw_kv_str(w, "remote", j->remote);
	jw_kv_int(w, "losses", j->losses);
	jw_kv_str(w, "why", j->why);
	jw_key(w, "exit_code");
	if (job_has_ended(j->state))
		jw_int(w, job_exit_code(j));
	else
		jw_null(w);
	jw_kv_int(w, "submitted_ms", j->submitted_ms);
	jw_kv_int(w, "started_ms", j->started_ms);
	jw_kv_int(w, "ended_ms", j->ended_ms);
	jw_kv_int(w, "estimate_ms", j->estimate_ms);
}

static void put_state(struct buf *b, const struct job_info *j)
{
	buf_put_c(b, j->cancelling && !job_has_ended(j->state) ? "cancelling" : job_state_name(j->state));
	if (j->state == JOB_WAITING)
		buf_printf(b, " (%s)", job_wait_name(j->wait));
	else if (j->state == JOB_QUEUED && j->before)
		buf_printf(b, " (%u before)", (unsigned)j->before);
	else if (j->state == JOB_FAILED && j->code >= 0)
		buf_printf(b, " (%d)", j->code);
}

static void put_time(struct buf *b, const struct job_info *j)
{
	int64_t now = clock_wall_ms();
	int64_t from = j->started_ms ? j->started_ms : j->submitted_ms;
	out_put_duration(b, (j->ended_ms ? j->ended_ms : now) - from);
}

static int print_jobs(struct cmd_context *c, const struct job_info *v, size_t n)
{
	static const char *const titles[] = {"Job", "State", "Pool", "Client", "Worker", "Time", "Title"};
	struct out_table t = {.titles = titles, .columns = 7, .right = 1 << 0 | 1 << 5, .whole = 1 << 0 | 1 << 1};
	for (size_t i = 0; i < n; i++) {
		auto_buf state = BUF_INIT(100), time = BUF_INIT(100);
		put_state(&state, &v[i]);
		put_time(&time, &v[i]);
		out_table_cell(&t, "%llu", (unsigned long long)v[i].id);
		out_table_cell(&t, "%s", state.p);
		out_table_cell(&t, "%.*s", STR_ARG(v[i].pool));
		out_table_cell(&t, "%.*s%s", STR_ARG(v[i].client), v[i].urgent ? " (urgent)" : "");
		out_table_cell(&t, "%.*s", STR_ARG(v[i].worker));
		out_table_cell(&t, "%s", time.p);
		out_table_cell(&t, "%.*s", STR_ARG(v[i].title));
	}
	out_table_print(&c->out, &t);
	return CMD_OK;
}

struct jobs_args {
	const char *pool, *client;
	bool all;
	int64_t last;
	struct cmd_list words;
};

static void put_nth(struct jw *w, const void *ctx, size_t i)
{
	const struct job_info *v = ctx;
	cmd_put_job(w, &v[i]);
}

static int list(struct cmd_context *c, const struct jobs_args *a, struct err *e)
{
	auto_ptr(job_queue) q = NULL;
	struct job_filter f = {.pool = str_c(a->pool ? a->pool : ""),
			       .client = str_c(a->client ? a->client : ""),
			       .ended = a->all || a->last > 0,
			       .max = a->last > 0 ? (size_t)a->last : 0};
	struct job_info *v;
	size_t n;
	if (a->last < 0)
		return err_new(e, ERR_USAGE, "--last is a number from 1 on");
	if (cmd_open_queue(c, &q, e) < 0 || job_list(q, &f, &c->arena, &v, &n, e) < 0)
		return -1;
	if (c->json) {
		auto_answer answer = {0};
		jw_kv_objects(cmd_answer(&answer), "jobs", n, put_nth, v);
		return cmd_answer_print(c, &answer);
	}
	if (!n)
		cmd_say(c,
			f.ended ? "no jobs" : "no job waits or runs; 'slipway jobs --all' lists those that have ended");
	return n ? print_jobs(c, v, n) : CMD_OK;
}

int cmd_jobs(struct cmd_context *c, int argc, char **argv)
{
	struct jobs_args a = {0};
	const struct cmd_option options[] = {
		{0, "pool", CMD_TEXT, &a.pool},	  {0, "client", CMD_TEXT, &a.client}, {'a', "all", CMD_FLAG, &a.all},
		{0, "last", CMD_NUMBER, &a.last}, {0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	if (rc == 0 && a.words.n)
		rc = err_new(&e, ERR_USAGE, "unexpected word '%s'; 'slipway job show N' shows one", a.words.v[0]);
	vec_release(&a.words);
	if (rc == 0 && c->help)
		return cmd_help(c);
	if (rc == 0)
		rc = list(c, &a, &e);
	return rc < 0 ? cmd_fail(c, &e) : rc;
}

/* -- following -------------------------------------------------------------------------------------------------------- */

struct reader {
	struct cmd_context *c;
	struct buf *into; /* NULL: printed */
	uint64_t shown;	  /* bytes */
};

static int write_log(void *ctx, struct str bytes, struct err *e)
{
	struct reader *r = ctx;
	r->shown += bytes.n;
	if (r->into) {
		buf_put_str(r->into, bytes);
		return r->into->overflow ? err_new(e, ERR_LIMIT, "the log is longer than %d bytes", LOG_JSON_MAX) : 0;
	}
	if (r->c->json) { /* the answer is JSON: the log is chatter */
		out_put_remark(&r->c->out, bytes);
		return 0;
	}
	out_put(&r->c->out, bytes);
	out_flush(&r->c->out);
	return r->c->out.failed ? err_errno(e, r->c->out.failed, "write the log") : 0;
}

static void say_wait(void *ctx, const struct job_info *j)
{
	struct reader *r = ctx;
	unsigned long long id = j->id;
	if (j->state != JOB_WAITING)
		return;
	if (j->wait == JOB_WAIT_NO_WORKER)
		cmd_say(r->c, "job %llu waits: no worker serves pool '%.*s'; start one: slipway worker --pool %.*s", id,
			STR_ARG(j->pool), STR_ARG(j->pool));
	else if (j->wait == JOB_WAIT_PAUSED)
		cmd_say(r->c,
			"job %llu waits: no worker of pool '%.*s' takes jobs; 'slipway worker list' shows them, 'slipway worker "
			"resume NAME' lets one go on",
			id, STR_ARG(j->pool));
}

struct log_args {
	bool follow;
	struct cmd_list words;
};

static int print_log(struct cmd_context *c, const struct log_args *a, struct err *e)
{
	auto_ptr(job_queue) q = NULL;
	auto_buf text = BUF_INIT(LOG_JSON_MAX);
	struct reader r = {.c = c, .into = c->json ? &text : NULL};
	struct job_follow_opts o = {.write = write_log,
				    .ctx = &r,
				    .wait = a->follow,
				    .cancel_fd = -1,
				    .on_wait = a->follow ? say_wait : NULL};
	struct job_info j;
	uint64_t id;
	if (a->words.n != 1)
		return err_new(e, ERR_USAGE, "name one job: slipway job log N");
	if (cmd_job_id(a->words.v[0], &id, e) < 0 || cmd_open_queue(c, &q, e) < 0)
		return -1;
	cmd_if_interrupted(c, "the job goes on; 'slipway job log %llu --follow' shows it again",
			   (unsigned long long)id);
	if (job_follow(q, id, &o, &c->arena, &j, e) < 0)
		return e->sys == EPIPE ? CMD_OK : -1;
	if (c->json) {
		auto_answer answer = {0};
		struct jw *w = cmd_answer(&answer);
		cmd_put_job(w, &j);
		jw_kv_str(w, "log", buf_str(&text));
		(void)cmd_answer_print(c, &answer);
	}
	return a->follow ? job_exit_code(&j) : CMD_OK;
}

int cmd_job_log(struct cmd_context *c, int argc, char **argv)
{
	struct log_args a = {0};
	const struct cmd_option options[] = {{'f', "follow", CMD_FLAG, &a.follow}, {0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	if (rc == 0 && c->help)
		rc = cmd_help(c);
	else if (rc == 0)
		rc = print_log(c, &a, &e);
	vec_release(&a.words);
	return rc < 0 ? cmd_fail(c, &e) : rc;
}

/* -- show, cancel ------------------------------------------------------------------------------------------------------ */

static void put_row(struct cmd_context *c, const char *name, struct str value)
{
	if (value.n)
		out_line(&c->out, "%-12s %.*s", name, STR_ARG(value));
}

static void put_moment(struct cmd_context *c, const char *name, int64_t ms)
{
	auto_buf b = BUF_INIT(100);
	if (!ms)
		return;
	clock_put_table(&b, ms);
	put_row(c, name, buf_str(&b));
}

static int show(struct cmd_context *c, const struct cmd_list *words, struct err *e)
{
	auto_ptr(job_queue) q = NULL;
	auto_buf state = BUF_INIT(300);
	struct job_info j;
	uint64_t id;
	struct job_filter none = {.pool = STR("-")};
	struct job_info *v;
	size_t n;
	if (words->n != 1)
		return err_new(e, ERR_USAGE, "name one job: slipway job show N");
	if (cmd_job_id(words->v[0], &id, e) < 0 || cmd_open_queue(c, &q, e) < 0 ||
	    job_list(q, &none, &c->arena, &v, &n, e) < 0 || job_get(q, id, &c->arena, &j, e) < 0)
		return -1;
	if (c->json) {
		auto_answer answer = {0};
		cmd_put_job(cmd_answer(&answer), &j);
		return cmd_answer_print(c, &answer);
	}
	put_state(&state, &j);
	out_line(&c->out, "%-12s %llu", "job", (unsigned long long)j.id);
	put_row(c, "state", buf_str(&state));
	put_row(c, "why", j.why);
	put_row(c, "title", j.title);
	put_row(c, "pool", j.pool);
	put_row(c, "client", j.client);
	put_row(c, "cache hint", j.hint);
	put_row(c, "folder", j.dir);
	put_row(c, "worker", j.worker);
	put_row(c, "host", j.host);
	put_row(c, "remote", j.remote);
	put_moment(c, "submitted", j.submitted_ms);
	put_moment(c, "started", j.started_ms);
	put_moment(c, "ended", j.ended_ms);
	if (j.losses)
		out_line(&c->out, "%-12s %u time%s", "lost", (unsigned)j.losses, j.losses == 1 ? "" : "s");
	return CMD_OK;
}

static const char *user_name(struct cmd_context *c)
{
	const struct passwd *p = getpwuid(geteuid());
	struct err ignored = ERR_INIT;
	return p && job_name_check(str_c(p->pw_name), "client", &ignored) == 0
		       ? arena_strdup(&c->arena, str_c(p->pw_name))
		       : arena_printf(&c->arena, "uid%u", (unsigned)geteuid());
}

static int cancel(struct cmd_context *c, const struct cmd_list *words, struct err *e)
{
	auto_ptr(job_queue) q = NULL;
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	const char *by = user_name(c);
	if (!words->n)
		return err_new(e, ERR_USAGE, "name the jobs: slipway job cancel N...");
	if (cmd_open_queue(c, &q, e) < 0)
		return -1;
	jw_key(w, "cancelled");
	jw_array(w);
	for (size_t i = 0; i < words->n; i++) {
		uint64_t id;
		enum job_state was;
		struct job_info j;
		if (cmd_job_id(words->v[i], &id, e) < 0 || job_get(q, id, &c->arena, &j, e) < 0)
			return -1;
		if (!c->dry_run && job_cancel(q, id, str_c(by), &was, e) < 0)
			return -1;
		bool ended = job_has_ended(j.state);
		if (ended)
			cmd_say(c, "job %llu has ended already: %s", (unsigned long long)id, job_state_name(j.state));
		else if (c->dry_run)
			cmd_say(c, "would cancel job %llu", (unsigned long long)id);
		else
			cmd_say(c, j.state == JOB_RUNNING ? "job %llu is being ended" : "job %llu is cancelled",
				(unsigned long long)id);
		if (!ended)
			jw_int(w, (int64_t)id);
		if (!c->dry_run)
			cmd_changed(c);
	}
	jw_array_end(w);
	jw_kv_bool(w, "dry_run", c->dry_run);
	return c->json ? cmd_answer_print(c, &answer) : CMD_OK;
}

typedef int words_fn(struct cmd_context *c, const struct cmd_list *words, struct err *e);

static int run_words(struct cmd_context *c, int argc, char **argv, words_fn *fn)
{
	struct cmd_list words = {0};
	const struct cmd_option options[] = {{0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	if (rc == 0 && c->help)
		rc = cmd_help(c);
	else if (rc == 0)
		rc = fn(c, &words, &e);
	vec_release(&words);
	return rc < 0 ? cmd_fail(c, &e) : rc;
}

int cmd_job_show(struct cmd_context *c, int argc, char **argv)
{
	return run_words(c, argc, argv, show);
}

int cmd_job_cancel(struct cmd_context *c, int argc, char **argv)
{
	return run_words(c, argc, argv, cancel);
}

/* -- rate -------------------------------------------------------------------------------------------------------------- */

static int set_rate(struct cmd_context *c, const char *pool, const struct cmd_list *words, struct err *e)
{
	auto_ptr(job_queue) q = NULL;
	char *end;
	if (words->n != 2 || !pool)
		return err_new(e, ERR_USAGE, "say whose and what: slipway job rate --pool NAME CLIENT NUMBER");
	double rate = strtod(words->v[1], &end);
	if (end == words->v[1] || *end || !(rate >= 0.001 && rate <= (double)JOB_RATE_MAX / 1000))
		return err_new(e, ERR_USAGE, "'%s' is no rate: 1 is everybody's at first, 2 twice as much, 0.5 half",
			       words->v[1]);
	if (cmd_open_queue(c, &q, e) < 0 ||
	    (!c->dry_run && job_client_rate(q, str_c(pool), str_c(words->v[0]), (uint32_t)(rate * 1000 + 0.5), e) < 0))
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	cmd_say(c, "%s rate of '%s' in pool '%s' is %g", c->dry_run ? "would be: the" : "the", words->v[0], pool, rate);
	if (!c->json)
		return CMD_OK;
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "job rate");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "pool", pool);
	jw_kv_c(w, "client", words->v[0]);
	jw_key(w, "rate");
	jw_double(w, rate);
	return cmd_answer_print(c, &answer);
}

int cmd_job_rate(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_list words = {0};
	const char *pool = NULL;
	const struct cmd_option options[] = {{0, "pool", CMD_TEXT, &pool}, {0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	if (rc == 0 && c->help)
		rc = cmd_help(c);
	else if (rc == 0)
		rc = set_rate(c, pool, &words, &e);
	vec_release(&words);
	return rc < 0 ? cmd_fail(c, &e) : rc;
}

/* -- submit ------------------------------------------------------------------------------------------------------------ */

/* What a command needs of its submitter's environment: not all of it, which may hold secrets, goes into the queue. */
static bool is_kept(const char *entry)
{
	static const char *const names[] = {"PATH=",	   "HOME=",	   "USER=",	"LOGNAME=", "SHELL=",
					    "TZ=",	   "TMPDIR=",	   "LANG=",	"LC_",	    "SLIPWAY_",
					    "http_proxy=", "https_proxy=", "no_proxy=", "SSL_CERT_"};
	if (strncmp(entry, "SLIPWAY_JOB", 11) == 0)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strncmp(entry, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static int make_environment(struct cmd_context *c, const struct cmd_job_options *o, const char *const **ret,
			    struct err *e)
{
	VEC(const char *) v = {0};
	for (char **p = environ; *p; p++)
		if (is_kept(*p) && strncmp(*p, "SLIPWAY_ROOT=", 13) != 0)
			vec_push(&v, *p);
	vec_push(&v, arena_printf(&c->arena, "SLIPWAY_ROOT=%s", c->root_path));
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < o->env.n; i++) {
		const char *word = o->env.v[i], *eq = strchr(word, '=');
		const char *value = eq ? eq + 1 : getenv(word);
		size_t n = eq ? (size_t)(eq - word) : strlen(word);
		if (!value || !n)
			rc = err_new(e, ERR_USAGE, "--env '%s': there is no such variable here; write NAME=VALUE",
				     word);
		else
			vec_push(&v, arena_printf(&c->arena, "%.*s=%s", (int)n, word, value));
	}
	vec_push(&v, NULL);
	*ret = arena_copy(&c->arena, v.v, v.n, sizeof(*v.v));
	vec_release(&v);
	return rc;
}

static const struct config_pool *configured(const struct cmd_context *c, struct str name)
{
	for (size_t i = 0; i < c->config.pools_n; i++)
		if (str_eq(c->config.pools[i].name.s, name))
			return &c->config.pools[i];
	return NULL;
}

/* Ctrl-C is read, so that the job is ended before this process goes. */
static int signals_fd(sigset_t *before, struct err *e)
{
	sigset_t ours;
	sigemptyset(&ours);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &ours, before) < 0)
		return err_sys(e, "block signals");
	int fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_sys(e, "make a descriptor of signals") : fd;
}

/* Follows to the end; the first signal cancels the job, the second leaves it to that. */
static int follow_own(struct cmd_context *c, struct job_queue *q, uint64_t id, int signals, struct job_info *ret,
		      struct err *e)
{
	struct reader r = {.c = c};
	struct job_follow_opts o = {
		.write = write_log, .ctx = &r, .wait = true, .cancel_fd = signals, .on_wait = say_wait};
	struct signalfd_siginfo info;
	enum job_state was;
	int rc = job_follow(q, id, &o, &c->arena, ret, e);
	if (rc == 0 || e->code != ERR_BUSY || read(signals, &info, sizeof(info)) <= 0)
		return rc;
	*e = ERR_INIT;
	cmd_say(c, "interrupted: job %llu is being ended; once more leaves it to that", (unsigned long long)id);
	if (job_cancel(q, id, STR("its submitter"), &was, e) < 0)
		return -1;
	o.from = r.shown;
	return job_follow(q, id, &o, &c->arena, ret, e);
}

static int run_here(struct cmd_context *c, struct job_queue *q, uint64_t id, struct str pool, struct err *e)
{
	struct utsname u;
	struct job_worker_opts o = {.pool = pool, .store = str_c(c->root_path)};
	o.host = uname(&u) == 0 ? arena_str(&c->arena, str_c(u.nodename)) : STR("localhost");
	return job_run_here(q, id, &o, e);
}

static int answer_job(struct cmd_context *c, const struct job_info *j, int code)
{
	auto_answer answer = {0};
	if (!c->json)
		return code;
	cmd_put_job(cmd_answer(&answer), j);
	(void)cmd_answer_print(c, &answer);
	return code;
}

static int detached(struct cmd_context *c, struct job_queue *q, uint64_t id, struct err *e)
{
	struct job_info j;
	struct reader r = {.c = c};
	if (job_get(q, id, &c->arena, &j, e) < 0)
		return -1;
	if (c->json)
		return answer_job(c, &j, CMD_OK);
	out_line(&c->out, "%llu", (unsigned long long)id);
	say_wait(&r, &j);
	cmd_say(c, "'slipway job log %llu --follow' shows it", (unsigned long long)id);
	return CMD_OK;
}

/* Who will run it, in words. */
static int who_runs(struct cmd_context *c, struct job_queue *q, const struct job_spec *s, struct str *ret,
		    struct err *e)
{
	struct job_worker *w;
	size_t n, ready = 0;
	if (job_workers(q, s->pool, &c->arena, &w, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		ready += w[i].state == JOB_WORKER_READY;
	const struct config_pool *p = configured(c, s->pool);
	const char *more = s->here ? "this command, when there is room, or " : "";
	const char *of = p && p->backend.file && !str_eq_c(p->backend.s, "embedded")
				 ? arena_printf(&c->arena, " of %.*s", STR_ARG(p->backend.s))
				 : "";
	*ret = str_c(n || s->here
			     ? arena_printf(&c->arena, "%s%zu of %zu worker%s%s", more, ready, n, n == 1 ? "" : "s", of)
			     : arena_printf(&c->arena, "nobody yet; start a worker: slipway worker --pool %.*s",
					    STR_ARG(s->pool)));
	return 0;
}

/* --dry-run */
static int show_plan(struct cmd_context *c, struct job_queue *q, const struct job_spec *s, struct err *e)
{
	struct str title = s->title, who;
	auto_answer answer = {0};
	auto_buf words = BUF_INIT(JOB_COMMAND_MAX);
	for (size_t i = 0; !s->title.n && s->argv[i]; i++)
		buf_printf(&words, "%s%s", i ? " " : "", s->argv[i]);
	title = s->title.n ? s->title : buf_str(&words);
	if (job_spec_check(s, e) < 0 || who_runs(c, q, s, &who, e) < 0)
		return -1;
	const struct {
		const char *name, *key;
		struct str value;
	} rows[] = {{"title", "title", title},
		    {"pool", "pool", s->pool},
		    {"client", "client", s->client},
		    {"cache hint", "cache_hint", s->hint},
		    {"folder", "folder", str_c(s->dir ? s->dir : "")},
		    {"runs on", "runs_on", who}};
	struct jw *w = cmd_answer(&answer);
	jw_kv_bool(w, "dry_run", true);
	if (!c->json)
		out_line(&c->out, "would be submitted%s:", s->urgent ? ", before all that is not urgent" : "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		jw_kv_str(w, rows[i].key, rows[i].value);
		if (!c->json)
			put_row(c, rows[i].name, rows[i].value);
	}
	jw_kv_bool(w, "urgent", s->urgent);
	return c->json ? cmd_answer_print(c, &answer) : CMD_OK;
}

static int submit_and_follow(struct cmd_context *c, const struct cmd_job_options *o, struct job_spec *s, struct err *e)
{
	auto_ptr(job_queue) q = NULL;
	sigset_t before;
	struct job_info j;
	uint64_t id;
	if (cmd_open_queue(c, &q, e) < 0 || make_environment(c, o, &s->envp, e) < 0)
		return -1;
	s->pool = str_c(o->pool);
	s->client = str_c(o->client ? o->client : user_name(c));
	s->hint = o->hint ? str_c(o->hint) : s->hint;
	s->urgent = o->urgent;
	const struct config_pool *p = configured(c, s->pool);
	s->here = p && p->automatic && !p->backend.file && !o->detach;
	if (c->dry_run)
		return show_plan(c, q, s, e);
	auto_fd signals = signals_fd(&before, e);
	if (signals < 0 || job_submit(q, s, &id, e) < 0)
		return -1;
	cmd_changed(c);
	if (o->detach)
		return detached(c, q, id, e);
	if ((s->here && run_here(c, q, id, s->pool, e) < 0) || follow_own(c, q, id, signals, &j, e) < 0)
		return err_ctx(e, "job %llu", (unsigned long long)id);
	return answer_job(c, &j, job_exit_code(&j));
}

int cmd_run_job(struct cmd_context *c, const struct cmd_job_options *o, struct job_spec *s)
{
	struct err e = ERR_INIT;
	int rc = o->pool ? submit_and_follow(c, o, s, &e)
			 : err_new(&e, ERR_USAGE, "name a pool: --pool NAME; any name will do, workers choose theirs");
	return rc < 0 ? cmd_fail(c, &e) : rc;
}

static int submit(struct cmd_context *c, struct cmd_job_options *o, const char *dir, const struct cmd_list *words)
{
	struct err e = ERR_INIT;
	struct job_spec s = {.title = str_c(o->title ? o->title : ""), .time_ms = o->time_s * 1000};
	auto_free char *folder = realpath(dir ? dir : ".", NULL);
	if (!words->n)
		err_new(&e, ERR_USAGE, "what is to run? slipway job submit --pool NAME -- COMMAND [ARGUMENT...]");
	else if (!folder)
		err_sys(&e, "folder '%s'", dir ? dir : ".");
	else if (o->time_s < 0 || o->time_s > 365 * DAY_S)
		err_new(&e, ERR_USAGE, "--time-limit is 1 to %d seconds", 365 * DAY_S);
	if (e.code || cmd_need_root(c, &e) < 0)
		return cmd_fail(c, &e);
	const char **argv = arena_array(&c->arena, const char *, words->n + 1);
	memcpy(argv, words->v, words->n * sizeof(*argv));
	s.argv = argv;
	s.dir = folder;
	return cmd_run_job(c, o, &s);
}

int cmd_job_submit(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_job_options o = {0};
	const char *dir = NULL;
	struct cmd_list words = {0};
	const struct cmd_option options[] = {
		CMD_JOB_OPTIONS(&o),
		{0, "title", CMD_TEXT, &o.title},
		{'C', "folder", CMD_TEXT, &dir},
		{0, "time-limit", CMD_NUMBER, &o.time_s},
		{0, "env", CMD_LIST, &o.env},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, true, argc, argv, &words, &e);
	if (rc < 0)
		rc = cmd_fail(c, &e);
	else
		rc = c->help ? cmd_help(c) : submit(c, &o, dir, &words);
	vec_release(&words);
	vec_release(&o.env);
	return rc;
}
