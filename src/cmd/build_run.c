// SPDX-License-Identifier: Apache-2.0
#include "cmd/build_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fs.h"
#include "cmd/change.h"
#include "cmd/layers.h"

enum { UNSET = -1, TAIL_BYTES = 8 << 10, SECRET_BYTES_MAX = 1 << 20 };

void cmd_build_options_release(struct cmd_build_options *a)
{
	vec_release(&a->secrets);
	vec_release(&a->secrets_env);
	vec_release(&a->left_out);
}

/* -- what was asked for ------------------------------------------------------------------------------------------------ */

/* ID=VALUE, of --secret and --secret-env. */
static int split(const char *word, const char *option, struct str *ret_id, struct str *ret_value, struct err *e)
{
	struct str rest = str_c(word);
	if (!str_take_until(&rest, '=', ret_id) || !ret_id->n || !rest.n)
		return err_new(e, ERR_USAGE, "%s '%s': write it as ID=%s", option, word,
			       strcmp(option, "--secret") == 0 ? "FILE" : "VARIABLE");
	*ret_value = rest;
	return 0;
}

static int secret_of_file(struct cmd_context *c, const char *word, struct build_secret *ret, struct err *e)
{
	struct str path;
	auto_buf b = BUF_INIT(SECRET_BYTES_MAX);
	if (split(word, "--secret", &ret->id, &path, e) < 0)
		return -1;
	if (fs_read_any(AT_FDCWD, path.p, &b, e) < 0)
		return err_ctx(e, "secret '%.*s'", STR_ARG(ret->id));
	ret->value = arena_str(&c->arena, buf_str(&b));
	return 0;
}

static int secret_of_variable(const char *word, struct build_secret *ret, struct err *e)
{
	struct str name;
	if (split(word, "--secret-env", &ret->id, &name, e) < 0)
		return -1;
	ret->value = str_c(getenv(name.p));
	return ret->value.p ? 0 : err_new(e, ERR_USAGE, "secret '%.*s': '%s' is not set", STR_ARG(ret->id), name.p);
}

static int secrets_of(struct cmd_context *c, const struct cmd_build_options *a, struct build_opts *o, struct err *e)
{
	struct build_secret *v = arena_array(&c->arena, struct build_secret, a->secrets.n + a->secrets_env.n);
	for (size_t i = 0; i < a->secrets.n; i++)
		if (secret_of_file(c, a->secrets.v[i], &v[o->n_secrets++], e) < 0)
			return -1;
	for (size_t i = 0; i < a->secrets_env.n; i++)
		if (secret_of_variable(a->secrets_env.v[i], &v[o->n_secrets++], e) < 0)
			return -1;
	o->secrets = v;
	return 0;
}

static int size_of(const char *option, const char *text, uint64_t *ret, struct err *e)
{
	if (!text || config_size(str_c(text), ret))
		return 0;
	return err_new(e, ERR_USAGE, "%s wants a size like 500MB or 2GiB, not '%s'", option, text);
}

/* What the configuration says holds where the command line says nothing. */
static int limits_of(struct cmd_context *c, const struct cmd_build_options *a, struct build_opts *o, struct err *e)
{
	if (a->processes < UNSET || !a->processes || a->processes > INT32_MAX || a->time_s < UNSET || !a->time_s ||
	    a->time_s > INT32_MAX)
		return err_new(e, ERR_USAGE, "--processes and --time want a number from 1 on");
	if (a->fast_sync && a->no_fast_sync)
		return err_new(e, ERR_USAGE, "--fast-sync and --no-fast-sync contradict each other");
	if (cmd_need_config(c, e) < 0)
		return -1;
	const struct config_build *b = &c->config.build;
	o->limits = (struct sandbox_limits){
		.memory_bytes = b->memory_bytes,
		.disk_bytes = b->disk_bytes,
		.processes = (uint32_t)(a->processes != UNSET ? a->processes : (int64_t)b->processes),
		.time_ms = (a->time_s != UNSET ? a->time_s : (int64_t)b->time_s) * 1000,
	};
	o->no_fast_sync = a->no_fast_sync || (b->no_fast_sync && !a->fast_sync);
	o->nested = a->nested;
	if (size_of("--memory", a->memory, &o->limits.memory_bytes, e) < 0)
		return -1;
	return size_of("--disk", a->disk, &o->limits.disk_bytes, e);
}

int cmd_build_opts(struct cmd_context *c, const struct cmd_build_options *a, struct build_opts *o, struct err *e)
{
	if (a->network && strcmp(a->network, "none") != 0 && strcmp(a->network, "host") != 0)
		return err_new(e, ERR_USAGE, "--network is 'host' (steps that ask for it have it) or 'none'");
	*o = BUILD_OPTS_INIT;
	if (limits_of(c, a, o, e) < 0)
		return -1;
	o->name = str_c(a->tag);
	o->no_network = a->network && strcmp(a->network, "none") == 0;
	o->no_replay = a->no_replay;
	o->no_cache = a->no_cache;
	o->dry_run = c->dry_run;
	return secrets_of(c, a, o, e);
}

const char *const *cmd_build_left_out(struct cmd_context *c, const struct cmd_build_options *a, const char *context)
{
	const char *const *apart = cmd_build_apart(c, a->store);
	const char **v;
	size_t n = 0;
	while (apart[n])
		n++;
	v = arena_array(&c->arena, const char *, n + a->left_out.n + 1);
	memcpy(v, apart, n * sizeof(*v));
	for (size_t i = 0; context && i < a->left_out.n; i++)
		v[n++] = arena_printf(&c->arena, "%s/%s", context, a->left_out.v[i]);
	return v;
}

/* -- the log -------------------------------------------------------------------------------------------------------------- */

/* It is the answer; beside a JSON one it is chatter, for who asks for it. */
void cmd_build_put_log(struct cmd_context *c, struct str s)
{
	if (c->json) {
		out_put_remark(&c->out, s);
		return;
	}
	out_put(&c->out, s);
	out_flush(&c->out);
}

static void put_stamp(struct buf *b)
{
	auto_buf iso = BUF_INIT(64);
	clock_put_table(&iso, clock_wall_ms()); /* 2025-05-06 18:20:11 */
	if (iso.n == 19)
		iso.p[16] = '.';
	buf_put_str(b, buf_str(&iso));
}

struct log {
	struct cmd_context *c;
	bool in_line;	 /* the last output had no line's end */
	struct buf tail; /* quiet: the last of what the step printed, which is all there is of one that fails */
};

static void log_release(struct log *log)
{
	buf_release(&log->tail);
}

static void keep_tail(struct log *log, enum build_tag tag, struct str text)
{
	struct buf *b = &log->tail;
	if (tag == BUILD_HEADING)
		buf_clear(b);
	if (tag != BUILD_OUTPUT)
		return;
	if (text.n > TAIL_BYTES)
		text = str_skip(text, text.n - TAIL_BYTES);
	if (b->n + text.n > 2 * TAIL_BYTES) {
		memmove(b->p, b->p + b->n - TAIL_BYTES, TAIL_BYTES);
		buf_truncate(b, TAIL_BYTES);
	}
	buf_put_str(b, text);
}

static void log_line(void *ctx, enum build_tag tag, struct str text)
{
	struct log *log = ctx;
	struct cmd_context *c = log->c;
	auto_buf b = BUF_INIT(BUF_MAX);
	bool colour = c->json ? c->out.err_colour : c->out.out_colour;
	if (c->quiet || (c->json && !c->verbose)) {
		keep_tail(log, tag, text);
		return;
	}
	if (tag != BUILD_OUTPUT && log->in_line)
		buf_put_char(&b, '\n');
	log->in_line = tag == BUILD_OUTPUT && text.n > 0 && text.p[text.n - 1] != '\n';
	switch (tag) {
	case BUILD_HEADING:
		buf_printf(&b, "\n%s", out_style(colour, OUT_BOLD));
		buf_put_str(&b, text);
		break;
	case BUILD_NOTE:
		buf_put_c(&b, out_style(colour, OUT_YELLOW));
		put_stamp(&b);
		buf_put_char(&b, ' ');
		buf_put_str(&b, text);
		break;
	case BUILD_OUTPUT:
		cmd_build_put_log(c, text);
		return;
	}
	buf_printf(&b, "%s\n", out_style(colour, OUT_PLAIN));
	cmd_build_put_log(c, buf_str(&b));
}

/* -- how it ended --------------------------------------------------------------------------------------------------------- */

static void put_step(struct jw *w, const void *ctx, size_t i)
{
	const struct build_step *t = (const struct build_step *)ctx + i;
	jw_kv_c(w, "kind", build_kind_name(t->kind));
	jw_kv_opt(w, "stage", t->stage);
	jw_kv_int(w, "line", t->line);
	jw_kv_str(w, "words", t->words);
	jw_key(w, "id");
	jw_c(w, t->known ? t->id.hex : NULL);
	jw_kv_bool(w, "cached", t->cached);
	jw_kv_int(w, "wall_ms", t->wall_ms);
	if (t->kind == BUILD_RUN && !t->cached && t->result.wall_us) {
		jw_kv_int(w, "cpu_ms", t->result.cpu_us / 1000);
		jw_kv_int(w, "peak_bytes", (int64_t)t->result.peak_bytes);
	}
}

static const char *end_name(enum build_end end)
{
	static const char *const names[] = {
		[BUILD_DONE] = "done", [BUILD_FAILED] = "failed", [BUILD_CANCELLED] = "cancelled"};
	return names[end];
}

void cmd_build_put_result(struct jw *w, struct cmd_context *c, const struct build_result *r)
{
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "end", end_name(r->end));
	jw_key(w, "id");
	jw_c(w, r->known ? r->id.hex : NULL);
	jw_kv_objects(w, "steps", r->n, put_step, r->steps);
	if (r->end == BUILD_FAILED) {
		jw_kv_str(w, "failure", r->failure);
		if (r->result.end == SANDBOX_EXITED && r->result.code)
			jw_kv_int(w, "status", r->result.code);
		else if (r->result.end == SANDBOX_SIGNALLED)
			jw_kv_int(w, "signal", r->result.code);
	}
}

static void tell_end(struct cmd_context *c, const struct build_result *r, bool tell_id, const struct log *log)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	bool colour = c->out.err_colour;
	if (r->end == BUILD_FAILED) {
		buf_put_str(&b, buf_str(&log->tail));
		if (b.n > 0 && b.p[b.n - 1] != '\n')
			buf_put_char(&b, '\n');
		buf_printf(&b, "%sBuild step failed: ", out_style(colour, OUT_RED));
		buf_put_str(&b, r->failure);
		buf_printf(&b, "%s\n", out_style(colour, OUT_PLAIN));
		out_put_remark(&c->out, buf_str(&b));
	} else if (r->end == BUILD_DONE && r->known && tell_id && !c->json) {
		buf_printf(&b, c->quiet ? "%s\n" : "Got: \"%s\"\n", r->id.hex);
		cmd_print(c, &b);
	}
}

/* -- running ----------------------------------------------------------------------------------------------------------------- */

static int signals_as_file(struct err *e)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_sys(e, "wait for signals") : fd;
}

int cmd_build_run(struct cmd_context *c, struct build_opts *o, bool tell_id, struct build_result *r, struct err *e)
{
	cleanup_with(log_release) struct log log = {.c = c, .tail = BUF_INIT(2 * TAIL_BYTES)};
	sigset_t before;
	auto_fd signals = signals_as_file(e);
	if (signals < 0)
		return -1;
	o->cancel_fd = signals;
	o->log = log_line;
	o->log_ctx = &log;
	if (c->progress_fd >= 0) { /* the log is what a person sees of it */
		cmd_progress_begin(c);
		o->progress = &c->progress;
	}
	cmd_signals_wait(&before);
	int rc = build_run(o, &c->arena, r, e);
	cmd_progress_end(c);
	if (rc == 0 && r->end == BUILD_CANCELLED)
		cmd_if_interrupted(c, "the step was ended and left nothing; the steps before it are kept");
	cmd_signals_go_on(&before); /* a signal that came acts now */
	if (rc < 0)
		return -1;
	if (log.in_line)
		cmd_build_put_log(c, STR("\n"));
	tell_end(c, r, tell_id, &log);
	return r->end == BUILD_DONE ? CMD_OK : CMD_FAILED;
}

/* -- as words -------------------------------------------------------------------------------------------------------------- */

static void add_word(struct cmd_context *c, struct cmd_list *words, const char *option, const char *value)
{
	if (value)
		vec_push(words, arena_printf(&c->arena, "--%s=%s", option, value));
}

static void add_number(struct cmd_context *c, struct cmd_list *words, const char *option, int64_t value)
{
	if (value != UNSET)
		vec_push(words, arena_printf(&c->arena, "--%s=%lld", option, (long long)value));
}

/* What the build is asked for, beside its spec and context: another process reads it, in another folder. */
int cmd_build_words(struct cmd_context *c, const struct cmd_build_options *a, struct cmd_list *words, struct err *e)
{
	if (a->secrets_env.n)
		return err_new(e, ERR_USAGE,
			       "--secret-env does not go with --pool: its value would have to be kept in the queue; "
			       "use --secret ID=FILE");
	for (size_t i = 0; i < a->secrets.n; i++) {
		struct str id, path;
		if (split(a->secrets.v[i], "--secret", &id, &path, e) < 0)
			return -1;
		auto_free char *whole = realpath(path.p, NULL);
		if (!whole)
			return err_sys(e, "secret '%.*s': '%s'", STR_ARG(id), path.p);
		vec_push(words, arena_printf(&c->arena, "--secret=%.*s=%s", STR_ARG(id), whole));
	}
	bool relative = a->store && a->store[0] != '/';
	auto_free char *here = relative ? getcwd(NULL, 0) : NULL;
	if (relative && !here)
		return err_sys(e, "--store '%s': the folder in which this is", a->store);
	add_word(c, words, "store", relative ? arena_printf(&c->arena, "%s/%s", here, a->store) : a->store);
	add_word(c, words, "tag", a->tag);
	add_word(c, words, "network", a->network);
	add_word(c, words, "memory", a->memory);
	add_word(c, words, "disk", a->disk);
	add_number(c, words, "processes", a->processes);
	add_number(c, words, "time", a->time_s);
	if (a->fast_sync)
		vec_push(words, "--fast-sync");
	if (a->no_fast_sync)
		vec_push(words, "--no-fast-sync");
	if (a->nested)
		vec_push(words, "--nested");
	if (a->no_replay)
		vec_push(words, "--no-replay");
	if (a->no_cache)
		vec_push(words, "--no-cache");
	for (size_t i = 0; i < a->left_out.n; i++)
		add_word(c, words, "leave-out", a->left_out.v[i]);
	if (c->offline)
		vec_push(words, "--offline");
	return 0;
}
