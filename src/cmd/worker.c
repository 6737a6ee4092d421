// SPDX-License-Identifier: Apache-2.0
/* worker, worker list|pause|resume|drain|forget: who runs the jobs of a pool. */
#include <stdio.h>
#include <sys/utsname.h>

#include "cmd/change.h"
#include "cmd/job.h"

enum {
	DEFAULT_DRAIN_S = 600,
	DEFAULT_BEAT_S = 10,
	NAMES_TRIED = 100,
	DAY_S = 24 * 3600,
	MIB = 1 << 20,
	LOG_MAX_MIB = 65536
};

struct worker_args {
	const char *pool, *name, *store;
	int64_t capacity, drain_s, beat_s, log_mib;
	struct cmd_list words;
};

static void say_line(void *ctx, const char *line)
{
	struct cmd_context *c = ctx;
	if (!c->quiet && !c->json)
		cmd_warn(c, "worker: %s", line);
}

static struct str host_name(struct cmd_context *c)
{
	struct utsname u;
	return uname(&u) == 0 ? arena_str(&c->arena, str_c(u.nodename)) : STR("localhost");
}

/* The host's, as far as it may be a name. */
static const char *default_name(struct cmd_context *c, struct str host, int i)
{
	auto_buf b = BUF_INIT(JOB_NAME_MAX - 4);
	for (size_t k = 0; k < host.n; k++) {
		char h = host.p[k];
		bool good = (h >= 'a' && h <= 'z') || (h >= 'A' && h <= 'Z') || (h >= '0' && h <= '9') ||
			    (k && (h == '.' || h == '-'));
		buf_put_char(&b, good ? h : '_');
	}
	return i ? arena_printf(&c->arena, "%s-%d", b.p, i + 1) : arena_strdup(&c->arena, buf_str(&b));
}

/* Without --name: the host's name, or the first numbered one that is free. */
static int run_named(struct cmd_context *c, struct job_queue *q, const struct worker_args *a, struct job_worker_opts *o,
		     struct err *e)
{
	if (a->name) {
		o->name = str_c(a->name);
		return job_worker_run(q, o, e);
	}
	for (int i = 0; i < NAMES_TRIED; i++) {
		*e = ERR_INIT;
		o->name = str_c(default_name(c, o->host, i));
		if (job_worker_run(q, o, e) == 0)
			return 0;
		if (e->code != ERR_BUSY)
			return -1;
	}
	return -1;
}

static int check_args(const struct worker_args *a, struct err *e)
{
	if (a->words.n)
		return err_new(e, ERR_USAGE,
			       "unexpected word '%s'; slipway worker --pool NAME, or worker list, pause, ...",
			       a->words.v[0]);
	if (!a->pool)
		return err_new(e, ERR_USAGE, "name the pool to work for: --pool NAME");
	if (a->capacity < 1 || a->capacity > JOB_CAPACITY_MAX)
		return err_new(e, ERR_USAGE, "--capacity is 1 to %d", JOB_CAPACITY_MAX);
	if (a->drain_s < 0 || a->drain_s > DAY_S)
		return err_new(e, ERR_USAGE, "--drain-timeout is 0 to %d seconds", DAY_S);
	if (a->beat_s < 0 || a->beat_s > DAY_S)
		return err_new(e, ERR_USAGE, "--heartbeat is 0 to %d seconds", DAY_S);
	return a->log_mib < 1 || a->log_mib > LOG_MAX_MIB
		       ? err_new(e, ERR_USAGE, "--log-limit is 1 to %d MiB", LOG_MAX_MIB)
		       : 0;
}

static int work(struct cmd_context *c, const struct worker_args *a, struct err *e)
{
	auto_ptr(job_queue) q = NULL;
	auto_free char *store = a->store ? realpath(a->store, NULL) : NULL;
	if (check_args(a, e) < 0 || cmd_open_queue(c, &q, e) < 0)
		return -1;
	if (a->store && !store)
		return err_sys(e, "folder '%s'", a->store);
	const char *setenv[] = {store ? arena_printf(&c->arena, "SLIPWAY_ROOT=%s", store) : NULL, NULL};
	struct job_worker_opts o = {
		.pool = str_c(a->pool),
		.host = host_name(c),
		.store = str_c(store ? store : c->root_path),
		.capacity = (uint32_t)a->capacity,
		.drain_ms = a->drain_s * 1000,
		.beat_ms = a->beat_s * 1000,
		.log_max_bytes = a->log_mib * MIB,
		.setenv = setenv,
		.say = say_line,
		.ctx = c,
	};
	o.name = str_c(a->name ? a->name : default_name(c, o.host, 0));
	cmd_say(c, c->dry_run ? "would work for pool '%s', %lld at once" : "working for pool '%s', %lld at once",
		a->pool, (long long)a->capacity);
	if (!c->dry_run && run_named(c, q, a, &o, e) < 0)
		return -1;
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "pool", a->pool);
	jw_kv_str(w, "worker", o.name);
	jw_kv_int(w, "capacity", a->capacity);
	jw_kv_bool(w, "dry_run", c->dry_run);
	return c->json ? cmd_answer_print(c, &answer) : CMD_OK;
}

int cmd_worker(struct cmd_context *c, int argc, char **argv)
{
	struct worker_args a = {.capacity = 1, .drain_s = DEFAULT_DRAIN_S, .beat_s = DEFAULT_BEAT_S, .log_mib = 64};
	const struct cmd_option options[] = {
		{0, "pool", CMD_TEXT, &a.pool},
		{0, "name", CMD_TEXT, &a.name},
		{0, "store", CMD_TEXT, &a.store},
		{0, "capacity", CMD_NUMBER, &a.capacity},
		{0, "drain-timeout", CMD_NUMBER, &a.drain_s},
		{0, "heartbeat", CMD_NUMBER, &a.beat_s},
		{0, "log-limit", CMD_NUMBER, &a.log_mib},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	if (rc == 0 && c->help)
		rc = cmd_help(c);
	else if (rc == 0)
		rc = work(c, &a, &e);
	vec_release(&a.words);
	return rc < 0 ? cmd_fail(c, &e) : rc;
}

/* -- list, change ----------------------------------------------------------------------------------------------------- */

static void put_worker(struct jw *w, const void *ctx, size_t i)
{
	const struct job_worker *v = (const struct job_worker *)ctx + i;
	jw_kv_str(w, "pool", v->pool);
	jw_kv_str(w, "worker", v->name);
	jw_kv_c(w, "state", job_worker_state_name(v->state));
	jw_kv_bool(w, "paused", v->paused);
	jw_kv_int(w, "running", v->running);
	jw_kv_int(w, "capacity", v->capacity);
	jw_kv_str(w, "host", v->host);
	jw_kv_str(w, "store", v->store);
	jw_kv_int(w, "pid", v->pid);
	jw_kv_int(w, "since_ms", v->since_ms);
}

static void print_workers(struct cmd_context *c, const struct job_worker *v, size_t n)
{
	static const char *const titles[] = {"Pool", "Worker", "State", "Running", "Capacity", "Host", "Since (UTC)"};
	struct out_table t = {.titles = titles, .columns = 7, .right = 1 << 3 | 1 << 4, .whole = 1 << 1 | 1 << 2};
	for (size_t i = 0; i < n; i++) {
		auto_buf since = BUF_INIT(100);
		clock_put_table(&since, v[i].since_ms);
		out_table_cell(&t, "%.*s", STR_ARG(v[i].pool));
		out_table_cell(&t, "%.*s", STR_ARG(v[i].name));
		out_table_cell(&t, "%s%s", job_worker_state_name(v[i].state),
			       v[i].paused && v[i].state == JOB_WORKER_GONE ? " (paused)" : "");
		out_table_cell(&t, "%u", (unsigned)v[i].running);
		out_table_cell(&t, "%u", (unsigned)v[i].capacity);
		out_table_cell(&t, "%.*s", STR_ARG(v[i].host));
		out_table_cell(&t, "%s", v[i].since_ms ? since.p : "");
	}
	out_table_print(&c->out, &t);
}

static int list(struct cmd_context *c, const struct worker_args *a, struct err *e)
{
	auto_ptr(job_queue) q = NULL;
	struct job_worker *v;
	size_t n;
	if (a->words.n)
		return err_new(e, ERR_USAGE, "unexpected word '%s'", a->words.v[0]);
	if (cmd_open_queue(c, &q, e) < 0 || job_workers(q, str_c(a->pool ? a->pool : ""), &c->arena, &v, &n, e) < 0)
		return -1;
	if (c->json) {
		auto_answer answer = {0};
		jw_kv_objects(cmd_answer(&answer), "workers", n, put_worker, v);
		return cmd_answer_print(c, &answer);
	}
	if (n)
		print_workers(c, v, n);
	else
		cmd_say(c, "no workers; 'slipway worker --pool NAME' is one");
	return CMD_OK;
}

static int change(struct cmd_context *c, const struct worker_args *a, enum job_worker_change what, struct err *e)
{
	static const char *const done[] = {
		[JOB_WORKER_PAUSE] = "takes no more jobs until 'slipway worker resume'",
		[JOB_WORKER_RESUME] = "takes jobs",
		[JOB_WORKER_DRAIN] = "finishes what it runs, and ends",
		[JOB_WORKER_FORGET] = "is forgotten",
	};
	auto_ptr(job_queue) q = NULL;
	if (a->words.n != 1)
		return err_new(e, ERR_USAGE, "name one worker: slipway worker %s NAME", c->cmd->verb);
	if (cmd_open_queue(c, &q, e) < 0)
		return -1;
	if (!c->dry_run && job_worker_change(q, str_c(a->pool ? a->pool : ""), str_c(a->words.v[0]), what, e) < 0)
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	cmd_say(c, "worker '%s' %s%s", a->words.v[0], c->dry_run ? "would be changed: " : "", done[what]);
	if (!c->json)
		return CMD_OK;
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", arena_printf(&c->arena, "worker %s", c->cmd->verb));
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "worker", a->words.v[0]);
	return cmd_answer_print(c, &answer);
}

static int run_change(struct cmd_context *c, int argc, char **argv, int what)
{
	struct worker_args a = {0};
	const struct cmd_option options[] = {{0, "pool", CMD_TEXT, &a.pool}, {0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	if (rc == 0 && c->help)
		rc = cmd_help(c);
	else if (rc == 0)
		rc = what < 0 ? list(c, &a, &e) : change(c, &a, (enum job_worker_change)what, &e);
	vec_release(&a.words);
	return rc < 0 ? cmd_fail(c, &e) : rc;
}

int cmd_worker_list(struct cmd_context *c, int argc, char **argv)
{
	return run_change(c, argc, argv, -1);
}

int cmd_worker_pause(struct cmd_context *c, int argc, char **argv)
{
	return run_change(c, argc, argv, JOB_WORKER_PAUSE);
}

int cmd_worker_resume(struct cmd_context *c, int argc, char **argv)
{
	return run_change(c, argc, argv, JOB_WORKER_RESUME);
}

int cmd_worker_drain(struct cmd_context *c, int argc, char **argv)
{
	return run_change(c, argc, argv, JOB_WORKER_DRAIN);
}

int cmd_worker_forget(struct cmd_context *c, int argc, char **argv)
{
	return run_change(c, argc, argv, JOB_WORKER_FORGET);
}
