// SPDX-License-Identifier: Apache-2.0
/* (copy …): files of the context, or of a stage that was built before. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "build/copy.h"
#include "build/engine.h"

enum { LIST_MAX = 1 << 30 };

struct copying {
	struct engine *g;
	const struct spec_op *op;
	const struct spec_context *context;
	struct source source;
	const struct layer_id *stage; /* NULL: from the context */
	struct copy copy;
	int feed_to; /* in the process that reads */
	int list_fd; /* a stage's walk comes back through it */
	int cancel_fd; /* ends what is done in a stage: the build's own, and in the runner that of all who want the step */
	struct arena *walk_arena;
};

static const struct scope *stage_of(const struct stage *s, struct str name)
{
	const struct scope *k = s->scope;
	while (k && !str_eq(k->name, name))
		k = k->outer;
	return k;
}

struct source_opts engine_source(const struct spec_op *op)
{
	return (struct source_opts){.words = op->words,
				    .n_words = op->n_words,
				    .excludes = op->excludes,
				    .n_excludes = op->n_excludes,
				    .cancel_fd = -1};
}

/* -- in a stage's root --------------------------------------------------------------------------------------------------------- */

static int in_stage(struct copying *c, const int *fds, size_t n_fds, sandbox_fn *fn, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_fd hold = -1;
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	if (layer_hold(c->g->o->layers, c->stage, &a, &o.root, &hold, e) < 0)
		return err_ctx(e, "stage '%.*s'", STR_ARG(c->op->from_stage));
	o.cancel_fd = c->cancel_fd;
	return sandbox_call(&o, fds, n_fds, fn, c, e);
}

static int walk_stage_fn(void *ctx, struct err *e)
{
	struct copying *c = ctx;
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(LIST_MAX);
	struct source found;
	struct source_opts what = engine_source(c->op);
	auto_fd root = fs_open_dir(AT_FDCWD, "/", e);
	if (root < 0 || source_walk(root, &what, &a, &found, e) < 0)
		return -1;
	for (size_t i = 0; i < found.n; i++)
		found.entries[i].dev = found.entries[i].ino = 0;
	source_put(&found, &b);
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "the list of what is to be copied is longer than %d bytes", LIST_MAX);
	return fs_write_all(c->list_fd, b.p, b.n, "the list of what is to be copied", e);
}

static int walk_stage(struct copying *c, struct err *e)
{
	auto_fd fd = memfd_create("copy", MFD_CLOEXEC);
	struct stat st;
	if (fd < 0)
		return err_sys(e, "memory for a list");
	c->list_fd = fd;
	if (in_stage(c, &fd, 1, walk_stage_fn, e) < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "a list in memory");
	void *p = st.st_size ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
	if (p == MAP_FAILED)
		return err_sys(e, "a list in memory");
	int rc = source_take(str_of(p, (size_t)st.st_size), c->g->a, &c->source, e);
	if (p)
		munmap(p, (size_t)st.st_size);
	return rc;
}

int engine_walk_layer(const struct build_opts *o, const struct layer_id *id, const struct spec_op *op, struct arena *a,
		      struct source *ret, struct err *e)
{
	struct engine g = {.o = o, .a = a};
	struct copying c = {.g = &g, .op = op, .stage = id, .cancel_fd = o->cancel_fd};
	if (walk_stage(&c, e) < 0)
		return -1;
	*ret = c.source;
	return 0;
}

static int feed_stage_fn(void *ctx, struct err *e)
{
	const struct copying *c = ctx;
	auto_fd root = fs_open_dir(AT_FDCWD, "/", e);
	if (root < 0)
		return -1;
	copy_feed(&c->source, root, c->feed_to);
	return 0;
}

/* -- in the runner -------------------------------------------------------------------------------------------------------------- */

static int write_fn(void *ctx, struct err *e)
{
	const struct copying *c = ctx;
	return copy_write(&c->copy, e);
}

/* A process of its own, which ends when nobody takes its files any more. */
static _Noreturn void feed(struct copying *c, int to_fd, int cancel_fd)
{
	struct err e = ERR_INIT;
	c->feed_to = to_fd;
	c->cancel_fd = cancel_fd;
	if (!c->stage)
		copy_feed(&c->source, c->g->context_fd, to_fd);
	else if (in_stage(c, &to_fd, 1, feed_stage_fn, &e) < 0)
		(void)send(to_fd, &e, sizeof(e), MSG_NOSIGNAL);
	_exit(0);
}

static int work(void *ctx, struct layer_work *w, int cancel_fd, struct share_outcome *ret, struct err *e)
{
	struct copying *c = ctx;
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	int pair[2];
	if (copy_pair(pair, e) < 0)
		return -1;
	auto_fd taking = pair[0];
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		feed(c, pair[1], cancel_fd);
	}
	close(pair[1]);
	if (pid < 0)
		return err_sys(e, "start a process that reads");
	c->copy.feed_fd = taking;
	o.root = *layer_work_root(w);
	o.cancel_fd = cancel_fd;
	int rc = sandbox_call(&o, &taking, 1, write_fn, c, e);
	cleanup_fd(&taking);
	waitpid(pid, NULL, 0);
	struct pollfd cancelled = {.fd = cancel_fd, .events = POLLIN};
	if (rc < 0 && poll(&cancelled, 1, 0) > 0)
		ret->end = SHARE_CANCELLED;
	if (rc < 0)
		return ret->end == SHARE_CANCELLED ? 0 : -1;
	ret->end = SHARE_SAVED;
	return layer_work_commit(w, engine_about(c->g->a, c->op, c->context, NULL), e);
}

/* -- in the build --------------------------------------------------------------------------------------------------------------- */

static void id_of(struct engine *g, const struct stage *s, const struct copying *c, struct layer_id *ret)
{
	const struct source *v = &c->source;
	auto_arena a = ARENA_INIT;
	struct step_entry *entries = arena_array(&a, struct step_entry, v->n);
	for (size_t i = 0; i < v->n_items; i++) {
		const struct source_item *item = &v->items[i];
		for (size_t k = item->first; k < item->first + item->n; k++) {
			const struct source_entry *f = &v->entries[k];
			struct step_entry *t = &entries[k];
			t->kind = f->kind == SOURCE_DIR	   ? STEP_ENTRY_DIR
				  : f->kind == SOURCE_LINK ? STEP_ENTRY_LINK
				  : f->exec		   ? STEP_ENTRY_EXEC
							   : STEP_ENTRY_FILE;
			t->path = copy_place(v, item, f, c->copy.into, &a);
			t->target = f->target;
			memcpy(t->sha256, f->sha256, sizeof(t->sha256));
		}
	}
	struct step_copy id = {
		.on = {.layer = &s->at, .uid = c->copy.uid, .gid = c->copy.gid, .machine = g->machine},
		.dst = c->copy.dst,
		.into = c->copy.into,
		.entries = entries,
		.n_entries = v->n,
	};
	step_id_copy(&id, ret);
}

/* Which copy of which spec, and where it looked: words of a spec may stand in several. */
static int failed_at(struct engine *g, const struct copying *c, const struct err *e)
{
	const struct spec_op *op = c->op;
	if (c->stage)
		return engine_failed(g, "%s (%s:%u:%u, in stage '%.*s')", e->msg, g->o->file, op->at.line,
				     op->at.column, STR_ARG(op->from_stage));
	return engine_failed(g, "%s (%s:%u:%u, in folder '%s')", e->msg, g->o->file, op->at.line, op->at.column,
			     g->o->context);
}

static int walk(struct engine *g, struct copying *c, struct err *e)
{
	const struct spec_op *op = c->op;
	struct source_opts what = engine_source(op);
	int rc;
	what.cancel_fd = g->o->cancel_fd;
	what.apart = g->o->apart;
	if (c->stage)
		rc = walk_stage(c, e);
	else if (g->context_fd < 0)
		return err_new(e, ERR_USAGE, "%s:%u: the step copies from the context: name its folder", g->o->file,
			       op->at.line);
	else
		rc = source_walk(g->context_fd, &what, g->a, &c->source, e);
	struct pollfd cancelled = {.fd = g->o->cancel_fd, .events = POLLIN};
	if (rc < 0 && g->o->cancel_fd >= 0 && poll(&cancelled, 1, 0) > 0) {
		g->ret->end = BUILD_CANCELLED;
		return 1;
	}
	if (rc < 0 && (e->code == ERR_NOT_FOUND || e->code == ERR_INPUT))
		return failed_at(g, c, e);
	return rc;
}

/* In a dry run a stage may be one that is not built: which files it would have is not known then. */
static int can_be_read(const struct engine *g, const struct scope *from, struct err *e)
{
	struct layer_info info;
	if (!from || !g->o->dry_run)
		return 1;
	return from->known ? layer_find(g->o->layers, &from->id, g->a, &info, e) : 0;
}

int engine_copy(struct engine *g, struct stage *s, const struct spec_op *op, struct err *e)
{
	struct copying c = {.g = g, .op = op, .context = &s->context, .cancel_fd = g->o->cancel_fd};
	struct layer_id layer;
	const struct scope *from = op->from_stage.n ? stage_of(s, op->from_stage) : NULL;
	if (op->from_stage.n && !from)
		return err_new(e, ERR_INPUT, "%s:%u: there is no stage '%.*s' here", g->o->file, op->at.line,
			       STR_ARG(op->from_stage));
	int readable = can_be_read(g, from, e);
	if (readable <= 0)
		return readable < 0 ? -1 : engine_step(g, s, op, NULL, work, &c, e);
	c.stage = from ? &from->id : NULL;
	c.copy = (struct copy){
		.source = &c.source,
		.feed_fd = -1,
		.dst = spec_context_path(&s->context, op->dst, g->a),
		.into = op->dst.p[op->dst.n - 1] == '/',
		.uid = s->context.user.uid,
		.gid = s->context.user.gid,
	};
	int rc = walk(g, &c, e);
	if (rc != 0)
		return rc;
	id_of(g, s, &c, &layer);
	return engine_step(g, s, op, &layer, work, &c, e);
}
