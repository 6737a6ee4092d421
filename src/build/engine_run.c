// SPDX-License-Identifier: Apache-2.0
/* (run …): a command in a sandbox. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "build/engine.h"

struct run {
	struct engine *g;
	const struct spec_op *op;
	const struct spec_context *context;
	struct sandbox_opts box; /* but for its root and log */
	struct str *cache_names;
	struct sandbox_mount *mounts; /* of the caches: target is there */
};

/* -- secrets ------------------------------------------------------------------------------------------------------------ */

/* DIR/key: made by the first who needs it. */
static int load_key(struct engine *g, struct err *e)
{
	int dir_fd = layers_dirfd(g->o->layers);
	struct err why = ERR_INIT;
	for (int tries = 0; !g->key_loaded && tries < 2; tries++) {
		auto_buf b = BUF_INIT(sizeof(g->key.bytes));
		int rc = fs_read(dir_fd, "key", &b, &why);
		if (rc == 0 && b.n == sizeof(g->key.bytes)) {
			memcpy(g->key.bytes, b.p, b.n);
			g->key_loaded = true;
			break;
		}
		if (rc == 0 || why.code != ERR_NOT_FOUND)
			return err_new(e, ERR_INPUT, "'%s/key' is not readable as a key of %zu bytes: remove it",
				       layers_path(g->o->layers), sizeof(g->key.bytes));
		if (getrandom(g->key.bytes, sizeof(g->key.bytes), 0) != (ssize_t)sizeof(g->key.bytes))
			return err_sys(e, "random bytes");
		if (fs_replace(dir_fd, "key", g->key.bytes, sizeof(g->key.bytes), FS_REPLACE_SECRET | FS_REPLACE_EXCL,
			       &why) < 0 &&
		    why.code != ERR_EXISTS)
			return *e = why, -1;
	}
	return g->key_loaded ? 0 : err_new(e, ERR_FAILED, "'%s/key' comes and goes", layers_path(g->o->layers));
}

static const struct build_secret *secret_of(const struct engine *g, struct str id)
{
	for (size_t i = 0; i < g->o->n_secrets; i++)
		if (str_eq(g->o->secrets[i].id, id))
			return &g->o->secrets[i];
	return NULL;
}

static int resolve_secrets(struct engine *g, const struct stage *s, const struct spec_op *op, struct step_run *id,
			   struct run *r, struct err *e)
{
	struct step_secret *v = arena_array(g->a, struct step_secret, op->n_secrets);
	struct sandbox_secret *boxed = arena_array(g->a, struct sandbox_secret, op->n_secrets);
	for (size_t i = 0; i < op->n_secrets; i++) {
		const struct build_secret *secret = secret_of(g, op->secrets[i].id);
		if (!secret)
			return engine_failed(
				g, "Couldn't find value for requested secret '%.*s'; give it as --secret %.*s=FILE",
				STR_ARG(op->secrets[i].id), STR_ARG(op->secrets[i].id));
		struct str target = spec_context_path(&s->context, op->secrets[i].target, g->a);
		v[i] = (struct step_secret){target, secret->value};
		boxed[i] = (struct sandbox_secret){target.p, secret->value};
	}
	if (op->n_secrets && load_key(g, e) < 0)
		return -1;
	id->secrets = v;
	id->n_secrets = r->box.n_secrets = op->n_secrets;
	id->key = &g->key;
	r->box.secrets = boxed;
	return 0;
}

/* -- what else the step gets ------------------------------------------------------------------------------------------------ */

static void resolve_caches(struct engine *g, const struct stage *s, const struct spec_op *op, struct step_run *id,
			   struct run *r)
{
	struct step_mount *v = arena_array(g->a, struct step_mount, op->n_caches);
	r->mounts = arena_array(g->a, struct sandbox_mount, op->n_caches);
	for (size_t i = 0; i < op->n_caches; i++) {
		v[i] = (struct step_mount){op->caches[i].id,
					   spec_context_path(&s->context, op->caches[i].target, g->a)};
		r->mounts[i].target = v[i].target.p;
	}
	id->caches = v;
	id->n_caches = op->n_caches;
}

static void resolve_env(struct engine *g, const struct stage *s, struct step_run *id, struct run *r)
{
	size_t n = s->context.n_env;
	struct step_pair *v = arena_array(g->a, struct step_pair, n);
	for (size_t i = 0; i < n; i++)
		v[i] = (struct step_pair){s->context.env[i].name, s->context.env[i].value};
	n = step_env(v, n);
	const char **envp = arena_array(g->a, const char *, n + 1);
	for (size_t i = 0; i < n; i++)
		envp[i] = arena_printf(g->a, "%s=%s", v[i].name.p, v[i].value.p);
	id->env = v;
	id->n_env = n;
	r->box.envp = envp;
}

static void resolve_argv(struct engine *g, const struct stage *s, const struct spec_op *op, struct run *r)
{
	size_t n = s->context.n_shell;
	const char **argv = arena_array(g->a, const char *, n + 2);
	for (size_t i = 0; i < n; i++)
		argv[i] = s->context.shell[i].p;
	argv[n] = op->text.p;
	r->box.argv = argv;
}

/* -- in the runner ------------------------------------------------------------------------------------------------------------- */

struct taken {
	struct layer_cache **v;
	size_t n;
};
static void taken_release(struct taken *t)
{
	for (size_t i = 0; i < t->n; i++)
		layer_cache_drop(t->v[i]);
}
#define auto_taken cleanup_with(taken_release) struct taken

static int take_caches(struct run *r, struct taken *t, struct err *e)
{
	const struct spec_op *op = r->op;
	struct layers *l = r->g->o->layers;
	t->v = arena_array(r->g->a, struct layer_cache *, op->n_caches);
	for (size_t i = 0; i < op->n_caches; i++) {
		const char *target = r->mounts[i].target;
		if (layer_cache_take(l, op->caches[i].id, r->box.uid, r->box.gid, &t->v[i], e) < 0)
			return err_ctx(e, "cache '%.*s'", STR_ARG(op->caches[i].id));
		t->n++;
		layer_cache_mount(t->v[i], &r->mounts[i]);
		r->mounts[i].target = target;
	}
	r->box.mounts = r->mounts;
	r->box.n_mounts = op->n_caches;
	return 0;
}

/* Whether the step went well or not: what it downloaded serves the next try. */
static int give_back_caches(struct run *r, struct taken *t, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; i < t->n; i++) {
		struct layer_cache *c = t->v[i];
		t->v[i] = NULL;
		if (layer_cache_give_back(c, e) < 0)
			rc = err_ctx(e, "cache '%.*s'", STR_ARG(r->op->caches[i].id));
	}
	return rc;
}

static int work(void *ctx, struct layer_work *w, int cancel_fd, struct share_outcome *ret, struct err *e)
{
	struct run *r = ctx;
	struct sandbox_result *res = &ret->result;
	auto_taken caches = {0};
	r->box.root = *layer_work_root(w);
	r->box.out_fd = layer_work_log_fd(w);
	r->box.cancel_fd = cancel_fd;
	if (take_caches(r, &caches, e) < 0 || sandbox_run(&r->box, res, e) < 0 || give_back_caches(r, &caches, e) < 0)
		return -1;
	if (res->end == SANDBOX_CANCELLED) {
		ret->end = SHARE_CANCELLED;
		return 0;
	}
	if (res->end != SANDBOX_EXITED || res->code != 0) {
		ret->end = SHARE_STOPPED;
		return 0;
	}
	ret->end = SHARE_SAVED;
	return layer_work_commit(w, engine_about(r->g->a, r->op, r->context, res), e);
}

/* -- how it ended ----------------------------------------------------------------------------------------------------------------- */

static void put_argv(struct buf *b, const char *const *argv)
{
	for (size_t i = 0; argv[i]; i++) {
		buf_put_c(b, i ? " \"" : "\"");
		buf_put_shown_lines(b, str_c(argv[i])); /* it goes to a terminal */
		buf_put_char(b, '"');
	}
}

/* A step on a full disk may not even have been able to say so. */
static const char *disk_words(struct engine *g)
{
	enum { LITTLE = 64 << 10 };
	struct statvfs v;
	if (fstatvfs(layers_dirfd(g->o->layers), &v) < 0 ||
	    (v.f_bavail * v.f_frsize >= LITTLE && (v.f_favail || !v.f_files)))
		return "";
	return arena_printf(g->a, "; the file system of '%s' is full: 'slipway build gc' makes room",
			    layers_path(g->o->layers));
}

/* What a command that cannot start another one says is seldom why. */
static const char *process_words(struct engine *g)
{
	const char *words = engine_refused(g, &g->ret->result);
	return words ? arena_printf(g->a, "; it %s", words) : "";
}

static int tell_failure(struct engine *g, const struct run *r)
{
	const struct sandbox_result *res = &g->ret->result;
	const struct sandbox_limits *l = &g->o->limits;
	auto_buf b = BUF_INIT(1 << 20);
	put_argv(&b, r->box.argv);
	switch (res->end) {
	case SANDBOX_EXITED:
		return engine_failed(g, "%s failed with exit status %d%s%s", b.p, res->code, process_words(g),
				     disk_words(g));
	case SANDBOX_SIGNALLED:
		return engine_failed(g, "%s failed with signal %d (%s)%s%s", b.p, res->code, strsignal(res->code),
				     process_words(g), disk_words(g));
	case SANDBOX_TIME:
		return engine_failed(g, "%s was ended: it took longer than %lld s", b.p, (long long)l->time_ms / 1000);
	case SANDBOX_MEMORY:
		return engine_failed(g, "%s was ended: it needed more than %llu MB of memory", b.p,
				     (unsigned long long)(l->memory_bytes / 1000000));
	case SANDBOX_DISK:
		return engine_failed(g, "%s was ended: it wrote more than %llu MB", b.p,
				     (unsigned long long)(l->disk_bytes / 1000000));
	case SANDBOX_OUTPUT:
		return engine_failed(g, "%s was ended: it printed more than %llu MB", b.p,
				     (unsigned long long)(r->box.limits.output_bytes / 1000000));
	case SANDBOX_CANCELLED:
		break;
	}
	return engine_failed(g, "%s was ended", b.p);
}

int engine_run(struct engine *g, struct stage *s, const struct spec_op *op, struct err *e)
{
	struct run r = {.g = g, .op = op, .context = &s->context, .box = SANDBOX_OPTS_INIT};
	struct step_run id = {
		.on = {.layer = &s->at, .uid = s->context.user.uid, .gid = s->context.user.gid, .machine = g->machine},
		.workdir = s->context.workdir,
		.command = op->text,
		.shell = s->context.shell,
		.n_shell = s->context.n_shell,
		.network_host = op->n_networks > 0,
	};
	struct layer_id layer;
	int rc = resolve_secrets(g, s, op, &id, &r, e);
	if (rc != 0)
		return rc;
	resolve_caches(g, s, op, &id, &r);
	resolve_env(g, s, &id, &r);
	resolve_argv(g, s, op, &r);
	r.box.cwd = s->context.workdir.p;
	r.box.uid = id.on.uid;
	r.box.gid = id.on.gid;
	r.box.network_host = id.network_host;
	r.box.home = true;
	r.box.fast_sync = !g->o->no_fast_sync;
	r.box.nested = g->o->nested;
	r.box.limits = g->o->limits;
	if (!r.box.limits.output_bytes)
		r.box.limits.output_bytes = BUILD_OUTPUT_MAX;
	step_id_run(&id, &layer);
	rc = engine_step(g, s, op, &layer, work, &r, e);
	return rc == 1 && g->ret->end == BUILD_FAILED && !g->ret->failure.n ? tell_failure(g, &r) : rc;
}
