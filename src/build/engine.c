// SPDX-License-Identifier: Apache-2.0
/* From a spec to its last layer, an operation after the other. */
#include "build/engine.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "build/anew.h"
#include "build/process.h"
#include "image/image.h"

enum { LINE_MAX_BYTES = 4 << 20, WORDS_MAX = 16 << 10, TRIES = 100 };

const char *build_kind_name(enum build_kind k)
{
	static const char *const names[] = {[BUILD_FROM] = "from", [BUILD_RUN] = "run", [BUILD_COPY] = "copy"};
	return names[k];
}

/* -- the log ------------------------------------------------------------------------------------------------------------ */

static void say(struct engine *g, enum build_tag tag, struct str text)
{
	if (g->o->log)
		g->o->log(g->o->log_ctx, tag, text);
}

static void note(struct engine *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void note(struct engine *g, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	say(g, BUILD_NOTE, buf_str(&b));
}

static void output_of_step(void *ctx, struct str text)
{
	say(ctx, BUILD_OUTPUT, text);
}

static void note_of_step(void *ctx, const char *text)
{
	say(ctx, BUILD_NOTE, str_c(text));
}

int engine_failed(struct engine *g, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	g->ret->end = BUILD_FAILED;
	g->ret->failure = arena_str(g->a, buf_str(&b));
	return 1;
}

static struct str words_of(struct arena *a, const struct spec_op *op)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	spec_print_op(op, NULL, &b);
	return arena_str(a, str_head(buf_str(&b), WORDS_MAX));
}

/* "NAME=VALUE", as images have it. */
static struct str *env_of(struct arena *a, const struct spec_context *c)
{
	struct str *env = arena_array(a, struct str, c->n_env + 1);
	for (size_t i = 0; i < c->n_env; i++)
		env[i] = str_c(arena_printf(a, "%s=%s", c->env[i].name.p, c->env[i].value.p));
	return env;
}

static struct str user_of(struct arena *a, const struct spec_context *c)
{
	return c->user.name.n ? c->user.name : str_c(arena_printf(a, "%u:%u", c->user.uid, c->user.gid));
}

static void put_about(struct arena *a, const struct spec_op *op, const struct spec_context *c,
		      const struct sandbox_result *r, struct buf *b)
{
	struct jw w = JW_INIT(b, 0);
	jw_object(&w);
	jw_kv_c(&w, "kind", spec_kind_name(op->kind));
	jw_kv_str(&w, "words", words_of(a, op));
	if (r) {
		jw_kv_int(&w, "wall_us", r->wall_us);
		jw_kv_int(&w, "cpu_us", r->cpu_us);
		jw_kv_int(&w, "peak_bytes", (int64_t)r->peak_bytes);
	}
	if (c) {
		jw_kv_list(&w, "env", env_of(a, c), c->n_env);
		jw_kv_str(&w, "user", user_of(a, c));
		jw_kv_str(&w, "workdir", c->workdir);
	}
	jw_object_end(&w);
}

struct str engine_about(struct arena *a, const struct spec_op *op, const struct spec_context *c,
			const struct sandbox_result *r)
{
	auto_buf b = BUF_INIT(LAYER_ABOUT_MAX);
	put_about(a, op, c, r, &b);
	if (b.overflow) { /* there may be more variables than a description holds */
		buf_clear(&b);
		put_about(a, op, NULL, r, &b);
	}
	return arena_str(a, buf_str(&b));
}

static int config_of(const struct json *j, struct arena *a, struct image_config *ret, struct err *e)
{
	const struct json *env;
	if (json_opt_array(j, "env", &env, e) < 0 || json_opt_str(j, "user", &ret->user, e) < 0 ||
	    json_opt_str(j, "workdir", &ret->workdir, e) < 0)
		return -1;
	struct str *v = arena_array(a, struct str, (env ? env->n : 0) + 1);
	for (size_t i = 0; env && i < env->n; i++) {
		if (env->item[i].type != JSON_STRING)
			return err_new(e, ERR_INPUT, "'env' holds something else than strings");
		v[ret->n_env++] = env->item[i].string;
	}
	ret->env = v;
	return env != NULL;
}

int build_config(struct layers *l, const struct layer_id *id, struct arena *a, struct image_config *ret, struct err *e)
{
	struct layer_info info;
	struct err none = ERR_INIT;
	*ret = (struct image_config){0};
	int r = layer_find(l, id, a, &info, e);
	if (r <= 0)
		return r;
	const struct json *j = json_parse(a, info.about, "about", &none);
	return j && j->type == JSON_OBJECT && config_of(j, a, ret, &none) > 0;
}

const char *engine_refused(const struct engine *g, const struct sandbox_result *r)
{
	if (r->forks_refused == 0)
		return NULL;
	/* whose limit it was: another build's, where that one's runner was followed */
	return g->o->limits.processes == 0
		       ? "wanted more processes than it may have"
		       : arena_printf(g->a, "wanted more processes than it may have: %u", g->o->limits.processes);
}

/* -- one step ------------------------------------------------------------------------------------------------------------- */

static struct build_step *add_step(struct engine *g, const struct stage *s, enum build_kind kind, struct str words,
				   uint32_t line)
{
	struct build_step *t = vec_add(&g->steps);
	t->kind = kind;
	t->words = words;
	t->stage = s->name;
	t->line = line;
	return t;
}

static struct build_step *add_op(struct engine *g, const struct stage *s, const struct spec_op *op)
{
	return add_step(g, s, op->kind == SPEC_RUN ? BUILD_RUN : BUILD_COPY, words_of(g->a, op), op->at.line);
}

/* A dry run: is it there? */
static int look_up(struct engine *g, struct stage *s, const struct spec_op *op, const struct layer_id *id,
		   struct err *e)
{
	struct layer_info info;
	struct build_step *t = add_op(g, s, op);
	int rc = s->known && id ? layer_find(g->o->layers, id, g->a, &info, e) : 0;
	if (rc < 0)
		return -1;
	t->known = s->known && id;
	t->cached = rc == 1;
	if (t->known)
		t->id = s->at = *id;
	s->known = t->known;
	if (t->cached)
		note(g, "---> using \"%s\" from cache", id->hex);
	else
		note(g, "---> would run");
	return 0;
}

/* The stage stands on this layer now. 1, 0 it is not there (any more), -1. */
static int stand_on(struct engine *g, struct stage *s, const struct layer_id *id, struct err *e)
{
	struct err why = ERR_INIT;
	auto_fd hold = layer_keep(g->o->layers, id, &why);
	if (hold < 0) {
		*e = why;
		return why.code == ERR_NOT_FOUND ? 0 : -1;
	}
	if (s->hold >= 0)
		close(s->hold);
	s->hold = steal_fd(&hold);
	s->at = *id;
	return 1;
}

/* Between two steps a gc of everything may take the layer away that was just found or made: then once more. */
static int find_or_make(struct engine *g, struct stage *s, const struct share_opts *o, struct share_outcome *out,
			struct err *e)
{
	for (int i = 0; i < TRIES; i++) {
		int rc = share_step(o, g->a, out, e);
		if (rc < 0 || (out->end != SHARE_FOUND && out->end != SHARE_SAVED))
			return rc;
		rc = stand_on(g, s, o->id, e);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
		note(g, "---> \"%s\" was removed by another command meanwhile", o->id->hex);
	}
	return err_new(e, ERR_BUSY, "layer '%s' is removed by another command each time it is made", o->id->hex);
}

static void tell_progress(struct engine *g, const struct build_step *t, enum progress_kind kind, const char *text)
{
	progress_send(g->o->progress,
		      (struct progress_event){.kind = kind, .phase = "step", .id = t->words.p, .text = text});
}

static const char *end_words(enum share_end end)
{
	switch (end) {
	case SHARE_FOUND:
		return "cached";
	case SHARE_SAVED:
		return "saved";
	case SHARE_CANCELLED:
		return "cancelled";
	case SHARE_STOPPED:
	case SHARE_FAILED:
	case SHARE_NONE:
		break;
	}
	return "failed";
}

/* The first step of a stage may have been, or be now, run anew. What is built on it follows by its id. */
static int take_anew(struct engine *g, struct stage *s, struct layer_id *id, bool *ret_is_new, struct err *e)
{
	*ret_is_new = false;
	if (s->begun)
		return 0;
	s->begun = true;
	if (!g->o->no_cache)
		return anew_find(g->o->layers, id, e);
	if (g->o->dry_run) {
		s->known = false;
		return 0;
	}
	vec_foreach(p, &g->anew) { /* two stages begin alike */
		if (strcmp(p->id.hex, id->hex) == 0) {
			*id = p->now;
			return 0;
		}
	}
	struct anew_pair p = {.id = *id};
	if (anew_make(id, e) < 0)
		return -1;
	p.now = *id;
	vec_push(&g->anew, p);
	*ret_is_new = true;
	return 0;
}

int engine_step(struct engine *g, struct stage *s, const struct spec_op *op, const struct layer_id *by_content,
		share_work_fn *work, void *ctx, struct err *e)
{
	bool is_new = false;
	struct layer_id now = by_content ? *by_content : (struct layer_id){""}, *id = by_content ? &now : NULL;
	if (id && take_anew(g, s, id, &is_new, e) < 0)
		return err_ctx(e, "%s:%u:%u", g->o->file, op->at.line, op->at.column);
	struct share_outcome out = {0};
	struct share_opts o = {
		.layers = g->o->layers,
		.id = id,
		.parent = &s->at,
		.work = work,
		.ctx = ctx,
		.output = output_of_step,
		.note = note_of_step,
		.log_ctx = g,
		.cancel_fd = g->o->cancel_fd,
		.no_replay = g->o->no_replay,
	};
	if (g->o->dry_run)
		return look_up(g, s, op, id, e);
	int64_t start_ms = clock_mono_ms();
	struct build_step *t = add_op(g, s, op);
	tell_progress(g, t, PROGRESS_BEGIN, NULL);
	int rc = find_or_make(g, s, &o, &out, e);
	bool well = rc == 0 && (out.end == SHARE_FOUND || out.end == SHARE_SAVED);
	tell_progress(g, t, well ? PROGRESS_DONE : PROGRESS_FAILED, rc == 0 ? end_words(out.end) : e->msg);
	if (rc < 0)
		return -1;
	t->wall_ms = clock_mono_ms() - start_ms;
	t->id = *id;
	t->known = true;
	t->cached = out.end == SHARE_FOUND;
	t->result = out.result;
	const char *refused = out.end == SHARE_SAVED ? engine_refused(g, &out.result) : NULL;
	if (refused) /* a shell that tries again may well come through, only later */
		note(g, "the step %s", refused);
	switch (out.end) {
	case SHARE_FOUND:
	case SHARE_SAVED:
		note(g, out.end == SHARE_FOUND ? "---> using \"%s\" from cache" : "---> saved as \"%s\"", id->hex);
		g->made |= out.end == SHARE_SAVED;
		return is_new ? anew_keep(g->o->layers, by_content, id, e) : 0;
	case SHARE_STOPPED:
		g->ret->end = BUILD_FAILED;
		g->ret->result = out.result;
		return 1;
	case SHARE_CANCELLED:
		g->ret->end = BUILD_CANCELLED;
		return 1;
	case SHARE_FAILED:
	case SHARE_NONE:
		break;
	}
	*e = out.err;
	return err_ctx(e, "%s:%u:%u", g->o->file, op->at.line, op->at.column);
}

/* -- a stage ---------------------------------------------------------------------------------------------------------------- */

static int begin_on(struct engine *g, struct stage *s, const struct build_spec *spec, struct err *e)
{
	struct image img;
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	int64_t start_ms = clock_mono_ms();
	spec_print_from(spec, &b);
	say(g, BUILD_HEADING, buf_str(&b));
	if (image_find(g->o->layers, spec->from, g->a, &img, e) < 0)
		return err_ctx(e, "%s:%u", g->o->file, spec->from_at.line);
	struct build_step *t = add_step(g, s, BUILD_FROM, arena_str(g->a, buf_str(&b)), spec->from_at.line);
	t->known = t->cached = true;
	t->id = img.layer;
	t->wall_ms = clock_mono_ms() - start_ms;
	note(g, "---> using \"%s\" from cache", img.layer.hex);
	if (stand_on(g, s, &img.layer, e) <= 0)
		return err_ctx(e, "%s:%u", g->o->file, spec->from_at.line);
	s->known = true;
	s->context = spec_context_of(img.config.env, img.config.n_env, g->a);
	return 0;
}

static int operate(struct engine *g, struct stage *s, const struct spec_op *op, struct err *e)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	spec_print_op(op, &s->context, &b);
	say(g, BUILD_HEADING, buf_str(&b));
	switch (op->kind) {
	case SPEC_RUN:
		return engine_run(g, s, op, e);
	case SPEC_COPY:
		return engine_copy(g, s, op, e);
	case SPEC_COMMENT:
	case SPEC_WORKDIR:
	case SPEC_SHELL:
	case SPEC_ENV:
	case SPEC_USER:
		break;
	}
	spec_context_step(&s->context, op, g->a);
	return 0;
}

/* The parser bounds how deep stages lie in each other. */
static int build_spec(struct engine *g, const struct build_spec *spec, struct str name, const struct scope *scope,
		      struct scope *ret, struct err *e)
{
	struct stage s = {.name = name, .scope = scope, .hold = -1};
	for (size_t i = 0; i < spec->n_stages; i++) {
		const struct spec_stage *inner = &spec->stages[i];
		struct scope *built = arena_new(g->a, struct scope);
		auto_buf b = BUF_INIT(LINE_MAX_BYTES);
		spec_print_stage(inner, &b);
		say(g, BUILD_HEADING, buf_str(&b));
		int rc = build_spec(g, &inner->spec, inner->name, s.scope, built, e);
		if (rc != 0)
			return rc;
		note(g, "--> finished \"%.*s\"", STR_ARG(inner->name));
		built->outer = s.scope;
		s.scope = built;
	}
	int rc = begin_on(g, &s, spec, e);
	for (size_t i = 0; rc == 0 && i < spec->n_ops; i++)
		rc = operate(g, &s, &spec->ops[i], e);
	if (s.hold >= 0)
		vec_push(&g->holds, s.hold);
	*ret = (struct scope){.name = name, .id = s.at, .known = s.known, .context = s.context};
	return rc;
}

/* -- a build ------------------------------------------------------------------------------------------------------------------- */

/* What would be refused half-way is refused at once. */
static int check_networks(const struct build_opts *o, const struct build_spec *s, struct err *e)
{
	for (size_t i = 0; i < s->n_stages; i++)
		if (check_networks(o, &s->stages[i].spec, e) < 0)
			return -1;
	for (size_t i = 0; i < s->n_ops; i++)
		if (s->ops[i].kind == SPEC_RUN && s->ops[i].n_networks && o->no_network)
			return err_new(e, ERR_USAGE,
				       "%s:%u:%u: the step asks for the host's network, which --network=none forbids",
				       o->file, s->ops[i].at.line, s->ops[i].at.column);
	return 0;
}

static bool asks_for(const struct build_spec *s, struct str secret)
{
	for (size_t i = 0; i < s->n_stages; i++)
		if (asks_for(&s->stages[i].spec, secret))
			return true;
	for (size_t i = 0; i < s->n_ops; i++)
		for (size_t k = 0; k < s->ops[i].n_secrets; k++)
			if (str_eq(s->ops[i].secrets[k].id, secret))
				return true;
	return false;
}

/* Nothing wrong by itself, where one command line serves several specs; or a word mistyped. */
static void tell_unused_secrets(struct engine *g, const struct build_spec *spec)
{
	for (size_t i = 0; i < g->o->n_secrets; i++)
		if (!asks_for(spec, g->o->secrets[i].id))
			note(g, "no step asks for the secret '%.*s'", STR_ARG(g->o->secrets[i].id));
}

/* Layers are brought to disk behind the build's back: nobody waits for it, and until then a power cut costs no more than that they are made
 * again. */
static void sync_behind(struct engine *g)
{
	struct err unseen = ERR_INIT;
	if (fork() != 0)
		return;
	process_alone();
	layers_sync(g->o->layers, &unseen);
	_exit(0);
}

static void let_go(struct engine *g)
{
	vec_foreach(hold, &g->holds)
		close(*hold);
	vec_release(&g->holds);
}

/* The last stage as a base image: others begin on it with the environment that it ended in. */
static int name_result(struct engine *g, const struct build_spec *spec, const struct scope *last, struct err *e)
{
	const struct spec_context *c = &last->context;
	struct image base, img = {.name = g->o->name, .layer = last->id, .source = str_c(g->o->file)};
	if (image_find(g->o->layers, spec->from, g->a, &base, e) < 0)
		return -1;
	img.config = base.config;
	img.config.env = env_of(g->a, c);
	img.config.n_env = c->n_env;
	img.config.workdir = c->workdir;
	img.config.user = user_of(g->a, c);
	if (image_name(g->o->layers, &img, g->a, e) < 0)
		return err_ctx(e, "name the result '%.*s'", STR_ARG(g->o->name));
	g->made = false; /* a name is given to what is on disk */
	note(g, "---> named '%.*s'", STR_ARG(img.name));
	return 0;
}

static int run_spec(struct engine *g, const struct build_spec *spec, struct err *e)
{
	struct scope last = {0};
	int rc = build_spec(g, spec, STR_NONE, NULL, &last, e);
	if (rc == 0) {
		g->ret->end = BUILD_DONE;
		g->ret->id = last.id;
		g->ret->known = last.known;
		if (g->o->name.n && !g->o->dry_run)
			rc = name_result(g, spec, &last, e);
	}
	g->ret->steps = vec_copy(&g->steps, g->a);
	g->ret->n = g->steps.n;
	let_go(g);
	if (g->made) /* whatever became of the rest */
		sync_behind(g);
	return rc < 0 ? -1 : 0;
}

int build_read_spec(const char *path, struct buf *b, struct err *e)
{
	return spec_read(path, b, e);
}

int build_run(const struct build_opts *o, struct arena *a, struct build_result *ret, struct err *e)
{
	struct build_spec spec;
	struct utsname u;
	*ret = (struct build_result){0};
	if ((o->name.n && image_check_name(o->name, a, e) < 0) || spec_parse(o->text, o->file, a, &spec, e) < 0 ||
	    spec_check_build(&spec, o->file, e) < 0 || check_networks(o, &spec, e) < 0)
		return -1;
	uname(&u);
	auto_fd context_fd = o->context ? fs_open_dir(AT_FDCWD, o->context, e) : -1;
	if (o->context && context_fd < 0)
		return err_ctx(e, "the context '%s'", o->context);
	struct engine g = {
		.o = o, .a = a, .machine = arena_str(a, str_c(u.machine)), .context_fd = context_fd, .ret = ret};
	tell_unused_secrets(&g, &spec);
	int rc = run_spec(&g, &spec, e);
	vec_release(&g.steps);
	vec_release(&g.anew);
	return rc;
}
