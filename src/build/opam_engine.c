// SPDX-License-Identifier: Apache-2.0
/*
 * The order of work on opam packages: a graph of steps, and threads that take what can be done.
 *
 *	FETCH  at once
 *	BUILD  after its own FETCH and the INSTALL of what it needs
 *	INSTALL after its own BUILD, and the REMOVE of what has its name
 *	REMOVE after the REMOVE of all that need it, and the FETCH of what takes its place, so that nothing goes that cannot come again
 *
 * The calling thread fetches; the others build, install and remove, of the last two one at a time. What fails takes all that waits for
 * it with it; the rest goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "base/work.h"
#include "build/opam.h"

enum { JOBS_MAX = 64, STEP_MS = 100, OPEN_ARCHIVES_MAX = 256, FETCH_TEXT_MAX = ERR_MSG_SIZE + 512 };

enum node_state { WAITING, READY, RUNNING, DONE, FAILED, ABORTED };
struct node {
	enum build_opam_step step;
	enum node_state state;
	size_t package;
	unsigned waits;	  /* for so many that are not DONE */
	VEC(size_t) then; /* what waits for it */
};
struct archives {
	struct opam_archive *v;
	size_t n, left; /* left: not fetched yet */
	struct graph *graph;
	size_t package, node;
	bool failed;
};
struct graph {
	struct opam_run *r;
	const struct build_opam_opts *o;
	VEC(struct node) nodes;
	size_t *of[4]; /* node + 1 of a step and package; 0: there is none */
	struct archives *archives, *removals;
	struct opam_fetcher fetcher;
	size_t open_archives;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t unfinished;
	bool changing; /* somebody installs or removes */
	bool stopped;  /* nothing is begun any more */
	pthread_mutex_t telling;
	VEC(struct build_opam_failure) failures;
};

/* == the graph ========================================================================================================= */

static size_t add_node(struct graph *g, enum build_opam_step step, size_t package)
{
	*vec_add(&g->nodes) = (struct node){.step = step, .package = package, .state = WAITING};
	g->of[step][package] = g->nodes.n;
	return g->nodes.n - 1;
}

static void add_edge(struct graph *g, size_t before, size_t after)
{
	if (before == 0 || after == 0) /* numbers as in `of` */
		return;
	vec_push(&g->nodes.v[before - 1].then, after - 1);
	g->nodes.v[after - 1].waits++;
}

static void add_nodes(struct graph *g)
{
	for (size_t i = 0; i < g->o->n; i++) {
		const struct build_opam_package *p = &g->o->packages[i];
		if (p->install && p->opam->sources && !g->r->reuse.v[i].expected)
			add_node(g, BUILD_OPAM_FETCH, i);
		if (p->install) {
			add_node(g, BUILD_OPAM_BUILD, i);
			add_node(g, BUILD_OPAM_INSTALL, i);
		}
		if (p->remove)
			add_node(g, BUILD_OPAM_REMOVE, i);
	}
}

static void add_edges(struct graph *g)
{
	size_t *fetch = g->of[BUILD_OPAM_FETCH], *build = g->of[BUILD_OPAM_BUILD], *install = g->of[BUILD_OPAM_INSTALL];
	size_t *removal = g->of[BUILD_OPAM_REMOVE];
	auto_map by_name = MAP_INIT;
	for (size_t i = 0; i < g->o->n; i++)
		if (g->o->packages[i].install)
			*map_put(&by_name, g->o->packages[i].name) = i + 1;
	for (size_t i = 0; i < g->o->n; i++) {
		const struct build_opam_package *p = &g->o->packages[i];
		add_edge(g, fetch[i], build[i]);
		add_edge(g, build[i], install[i]);
		const uint64_t *next = p->remove ? map_get(&by_name, p->name) : NULL;
		if (next) {
			add_edge(g, removal[i], install[*next - 1]);
			add_edge(g, fetch[*next - 1], removal[i]);
		}
		for (size_t k = 0; k < p->n_needs; k++) {
			if (p->needs[k] >= g->o->n || p->needs[k] == i)
				continue;
			add_edge(g, install[p->needs[k]], build[i]);
			if (!p->remove) /* what goes for its sake */
				add_edge(g, removal[p->needs[k]], build[i]);
			if (p->remove)
				add_edge(g, removal[i], removal[p->needs[k]]);
		}
	}
}

/* Dependencies in a circle (those that are `post`, say) would wait for each other for ever: the edge that closes one is let go. */
static void free_one(struct graph *g)
{
	for (size_t i = 0; i < g->nodes.n; i++)
		if (g->nodes.v[i].state == WAITING && g->nodes.v[i].step != BUILD_OPAM_INSTALL) {
			g->nodes.v[i].waits = 0;
			g->nodes.v[i].state = READY;
			return;
		}
}

/* == with the lock held ================================================================================================ */

static void make_ready(struct node *n)
{
	if (n->state == WAITING && n->waits == 0)
		n->state = READY;
}

static void finish(struct graph *g, size_t number, enum node_state state)
{
	VEC(size_t) todo = {0};
	vec_push(&todo, number);
	g->nodes.v[number].state = state;
	g->unfinished--;
	while (todo.n) {
		struct node *n = &g->nodes.v[vec_pop(&todo)];
		for (size_t i = 0; i < n->then.n; i++) {
			struct node *next = &g->nodes.v[n->then.v[i]];
			if (next->waits)
				next->waits--;
			if (n->state == DONE) {
				make_ready(next);
			} else if (next->state == WAITING || next->state == READY) {
				next->state = ABORTED;
				g->unfinished--;
				vec_push(&todo, n->then.v[i]);
			}
		}
	}
	vec_release(&todo);
	pthread_cond_broadcast(&g->changed);
}

static bool is_change(const struct node *n)
{
	return n->step == BUILD_OPAM_INSTALL || n->step == BUILD_OPAM_REMOVE;
}

/* Something that can be done now: changes of the prefix first, as others wait for them. -1: nothing. */
static ptrdiff_t take(struct graph *g)
{
	ptrdiff_t found = -1;
	for (size_t i = 0; i < g->nodes.n && !g->stopped; i++) {
		struct node *n = &g->nodes.v[i];
		if (n->state != READY || n->step == BUILD_OPAM_FETCH || (is_change(n) && g->changing))
			continue;
		if (found < 0 || (is_change(n) && !is_change(&g->nodes.v[found])))
			found = (ptrdiff_t)i;
	}
	return found;
}

/* == telling =========================================================================================================== */

static void tell(struct graph *g, const struct build_opam_event *v)
{
	pthread_mutex_lock(&g->telling);
	if (g->o->tell)
		g->o->tell(g->o->ctx, v);
	pthread_mutex_unlock(&g->telling);
}

static void close_archives(struct archives *s)
{
	for (size_t i = 0; i < s->n; i++) {
		cleanup_fd(&s->v[i].fetch.fd);
		free(s->v[i].fetch.from);
		s->v[i].fetch.from = NULL;
	}
}

/* In the caller's arena, which outlives the thread's. With `telling` and the state held by nobody of this thread, `lock` held. */
static void keep_failure(struct graph *g, const struct build_opam_failure *f)
{
	struct arena *a = g->r->arena;
	struct build_opam_failure k = *f;
	const char **texts[] = {&k.why, &k.command, &k.dir, &k.out_file, &k.env_file, &k.ended};
	pthread_mutex_lock(&g->r->state); /* other threads' work goes into that arena too */
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (*texts[i])
			*texts[i] = arena_strdup(a, str_c(*texts[i]));
	pthread_mutex_unlock(&g->r->state);
	vec_push(&g->failures, k);
}

/* == fetching =========================================================================================================== */

/* What to tell of it; `text` holds the failure, *ret_why why. */
static struct build_opam_event fetch_event(const struct archives *s, char text[FETCH_TEXT_MAX], const char **ret_why)
{
	const struct build_opam_package *p = &s->graph->o->packages[s->package];
	struct build_opam_event v = {.step = BUILD_OPAM_FETCH, .package = p};
	for (size_t i = 0; i < s->n; i++) {
		const struct opam_fetch *f = &s->v[i].fetch;
		if (f->err.code != ERR_NONE && !v.failure) {
			snprintf(text, FETCH_TEXT_MAX, "Failed to get %s%.*s%s of %.*s.%.*s: %s",
				 s->v[i].source->file.p ? "extra source \"" : "sources", STR_ARG(s->v[i].source->file),
				 s->v[i].source->file.p ? "\"" : "", STR_ARG(p->name), STR_ARG(p->version), f->err.msg);
			v.failure = text;
			*ret_why = f->err.msg;
		}
		if (!s->v[i].source->file.p)
			v.from = f->from;
		else if (f->from && !v.from && s->v[0].source->file.p) {
			v.from = f->from;
			v.extras = s->n > 1 ? s->n : 0;
		}
	}
	return v;
}

static void fetched_all(struct archives *s)
{
	struct graph *g = s->graph;
	const struct build_opam_package *p = &g->o->packages[s->package];
	char text[FETCH_TEXT_MAX];
	const char *why = NULL;
	struct build_opam_event v = fetch_event(s, text, &why);
	tell(g, &v);
	pthread_mutex_lock(&g->lock);
	if (v.failure)
		keep_failure(g, &(struct build_opam_failure){.step = BUILD_OPAM_FETCH, .package = p, .why = why});
	finish(g, s->node, v.failure ? FAILED : DONE);
	pthread_mutex_unlock(&g->lock);
	if (v.failure)
		close_archives(s);
}

static void fetched(struct opam_fetch *f, void *ctx)
{
	struct archives *s = ctx;
	struct graph *g = s->graph;
	/* descriptors are few: what lies in the cache is taken from there again when it is needed */
	if (f->fd >= 0 && f->n_sums && g->r->cache.dir >= 0 && g->open_archives >= OPEN_ARCHIVES_MAX)
		cleanup_fd(&f->fd);
	else
		g->open_archives++;
	if (--s->left == 0)
		fetched_all(s);
}

/* What is to be fetched of a package. */
static void list_archives(struct graph *g, struct archives *s, size_t package,
			  void (*done)(struct opam_fetch *f, void *ctx), struct arena *a)
{
	const struct build_opam_package *p = &g->o->packages[package];
	*s = (struct archives){.graph = g, .package = package};
	s->v = arena_array(a, struct opam_archive, p->opam->sources);
	s->n = s->left = p->opam->sources;
	for (size_t k = 0; k < s->n; k++) {
		const struct pkg_opam_source *src = &p->opam->source[k];
		struct str *urls = arena_array(a, struct str, 1 + src->mirrors.n);
		urls[0] = src->src;
		for (size_t m = 0; m < src->mirrors.n; m++)
			urls[1 + m] = src->mirrors.v[m];
		s->v[k].source = src;
		s->v[k].fetch = (struct opam_fetch){
			.label = arena_printf(a, "%.*s.%.*s%s%.*s", STR_ARG(p->name), STR_ARG(p->version),
					      src->file.p ? "/" : "", STR_ARG(src->file)),
			.urls = urls,
			.n_urls = 1 + src->mirrors.n,
			.sums = src->checksum,
			.n_sums = src->checksums,
			.done = done,
			.ctx = s,
			.fd = -1,
		};
	}
}

static void begin_fetches(struct graph *g)
{
	g->archives = arena_array(g->r->arena, struct archives, 2 * g->o->n);
	g->removals = g->archives + g->o->n;
	for (size_t i = 0; i < g->nodes.n; i++) {
		const struct node *n = &g->nodes.v[i];
		if (n->step != BUILD_OPAM_FETCH)
			continue;
		list_archives(g, &g->archives[n->package], n->package, fetched, g->r->arena);
		g->archives[n->package].node = i;
	}
	for (size_t i = 0; i < g->o->n; i++)
		for (size_t k = 0; k < g->archives[i].n; k++)
			opam_fetch_add(&g->fetcher, &g->archives[i].v[k].fetch);
}

static bool is_cancelled(const struct build_opam_opts *o)
{
	struct pollfd p = {.fd = o->cancel_fd, .events = POLLIN};
	return o->cancel_fd >= 0 && poll(&p, 1, 0) > 0;
}

/* == doing ============================================================================================================== */

static int reopen(struct graph *g, struct archives *s, struct arena *a, struct opam_outcome *ret)
{
	struct err e = ERR_INIT;
	for (size_t i = 0; i < s->n; i++) {
		struct opam_fetch *f = &s->v[i].fetch;
		if (f->fd >= 0)
			continue;
		int rc = opam_cache_take(&g->r->cache, f->sums, f->n_sums, &f->fd, &e);
		if (rc > 0)
			continue;
		if (rc == 0)
			err_new(&e, ERR_NOT_FOUND,
				"the archive of '%s' has gone from the cache '%s' meanwhile; try again", f->label,
				g->r->cache.path);
		*ret = (struct opam_outcome){.failure = {.step = BUILD_OPAM_BUILD,
							 .package = &g->o->packages[s->package],
							 .why = arena_strdup(a, str_c(e.msg))}};
		return 1;
	}
	return 0;
}

static void fetched_late(struct opam_fetch *f, void *ctx)
{
	struct archives *s = ctx;
	(void)f;
	s->left--;
}

/* By the thread that needs it: what was to be found among what is kept and is not there any more or does not fit, and what is removed with its
 * sources at hand. 0, 1 with an outcome. */
static int fetch_late(struct graph *g, struct archives *s, size_t package, struct arena *a, struct opam_outcome *ret)
{
	struct err e = ERR_INIT;
	struct opam_fetcher t;
	char text[FETCH_TEXT_MAX];
	const char *why = NULL;
	int rc = opam_fetcher_init(&t, &g->r->cache, g->o->mirrors, g->o->n_mirrors, 1, NULL, &e);
	t.checkout = g->o->checkout;
	t.checkout_ctx = g->o->ctx;
	const char *scratch = arena_printf(a, "late-%zu", (size_t)(s - g->archives));
	t.scratch = arena_printf(a, "%s/%s", g->r->scratch, scratch);
	if (rc == 0 && sys_mkdirat(g->r->scratch_fd, scratch, 0755) < 0)
		rc = err_sys(&e, "make '%s'", t.scratch);
	pthread_mutex_lock(&g->r->state);
	list_archives(g, s, package, fetched_late, g->r->arena); /* closed with the graph */
	pthread_mutex_unlock(&g->r->state);
	for (size_t i = 0; rc == 0 && i < s->n; i++)
		opam_fetch_add(&t, &s->v[i].fetch);
	for (int more = 1; rc == 0 && more > 0 && s->n;) {
		more = is_cancelled(g->o) ? err_new(&e, ERR_FAILED, "cancelled") : opam_fetch_step(&t, STEP_MS, &e);
		rc = more < 0 ? -1 : 0;
	}
	struct build_opam_event v = fetch_event(s, text, &why);
	if (rc == 0 && !v.failure)
		tell(g, &v);
	opam_fetcher_release(&t);
	if (rc == 0 && !v.failure)
		return 0;
	*ret = (struct opam_outcome){.failure = {.step = BUILD_OPAM_FETCH, .package = &g->o->packages[package]}};
	ret->line = rc == 0 ? arena_strdup(a, str_c(text)) : NULL;
	ret->failure.why = arena_strdup(a, str_c(rc == 0 ? why : e.msg));
	return 1;
}

static int build(struct graph *g, size_t package, struct arena *a, struct opam_outcome *ret)
{
	const struct build_opam_package *p = &g->o->packages[package];
	struct archives *s = &g->archives[package];
	struct err e = ERR_INIT;
	int rc = opam_reuse_find(g->r, package, a, &e);
	if (rc < 0)
		*ret = (struct opam_outcome){
			.failure = {.step = BUILD_OPAM_BUILD, .package = p, .why = arena_strdup(a, str_c(e.msg))}};
	if (rc == 0) {
		rc = s->n == 0 && p->opam->sources ? fetch_late(g, s, package, a, ret) : reopen(g, s, a, ret);
		rc = rc ? rc : opam_step_build(g->r, p, s->v, s->n, a, ret);
	} else if (rc > 0) {
		rc = 0;
	}
	close_archives(s);
	return rc ? 1 : 0;
}

/* Commands that remove see the sources, where these can be had. */
static int take_away(struct graph *g, size_t package, struct arena *a, struct opam_outcome *ret)
{
	const struct build_opam_package *p = &g->o->packages[package];
	const struct pkg_opam *o = p->opam;
	struct archives *s = &g->removals[package];
	struct opam_outcome ignored = {0};
	if (o && o->remove.n && o->sources && !(o->flags & PKG_OPAM_LIGHT_UNINSTALL) &&
	    fetch_late(g, s, package, a, &ignored) != 0)
		close_archives(s), s->n = 0;
	int rc = opam_step_remove(g->r, p, s->v, s->n, a, ret);
	close_archives(s);
	return rc;
}

static int do_step(struct graph *g, const struct node *n, struct arena *a, struct opam_outcome *ret)
{
	const struct build_opam_package *p = &g->o->packages[n->package];
	switch (n->step) {
	case BUILD_OPAM_BUILD:
		return build(g, n->package, a, ret);
	case BUILD_OPAM_INSTALL:
		return g->r->reuse.v[n->package].found ? opam_step_lay(g->r, p, a, ret)
						       : opam_step_install(g->r, p, a, ret);
	case BUILD_OPAM_REMOVE:
		return take_away(g, n->package, a, ret);
	case BUILD_OPAM_FETCH:
		break;
	}
	panic("a step of no kind");
}

/* One step; the lock is held before and after. */
static void do_node(struct graph *g, size_t number)
{
	struct node n = g->nodes.v[number];
	auto_arena a = ARENA_INIT;
	struct opam_outcome out = {0};
	g->nodes.v[number].state = RUNNING;
	g->changing = g->changing || is_change(&n);
	pthread_mutex_unlock(&g->lock);
	int rc = do_step(g, &n, &a, &out);
	struct build_opam_event v = {
		.step = n.step, .package = &g->o->packages[n.package], .reused = g->r->reuse.v[n.package].found};
	if (rc)
		v.failure = out.line ? out.line : out.failure.why;
	if (rc || n.step == BUILD_OPAM_REMOVE)
		opam_reuse_forget(g->r, n.package);
	if (rc || n.step != BUILD_OPAM_BUILD || !v.reused)
		tell(g, &v);
	pthread_mutex_lock(&g->lock);
	if (is_change(&n))
		g->changing = false;
	if (rc)
		keep_failure(g, &out.failure);
	finish(g, number, rc ? FAILED : DONE);
}

static int work_loop(void *ctx, struct err *e)
{
	struct graph *g = ctx;
	(void)e;
	pthread_mutex_lock(&g->lock);
	while (g->unfinished && !g->stopped) {
		ptrdiff_t next = take(g);
		if (next >= 0)
			do_node(g, (size_t)next);
		else
			pthread_cond_wait(&g->changed, &g->lock);
	}
	pthread_mutex_unlock(&g->lock);
	return 0;
}

/* == the whole =========================================================================================================== */

static void stop(struct graph *g)
{
	pthread_mutex_lock(&g->lock);
	g->stopped = true;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->lock);
}

/* Nothing runs, nothing is ready, and yet there is something to do. With the lock held. */
static bool is_stuck(const struct graph *g)
{
	for (size_t i = 0; i < g->nodes.n; i++)
		if (g->nodes.v[i].state == READY || g->nodes.v[i].state == RUNNING)
			return false;
	return g->unfinished > 0;
}

static void wait_some(struct graph *g)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)STEP_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&g->lock);
	if (g->unfinished && is_stuck(g)) {
		free_one(g);
		pthread_cond_broadcast(&g->changed);
	}
	if (g->unfinished)
		pthread_cond_timedwait(&g->changed, &g->lock, &until);
	pthread_mutex_unlock(&g->lock);
}

static int follow(struct graph *g, struct build_opam_result *ret, struct err *e)
{
	bool fetching = true;
	for (;;) {
		pthread_mutex_lock(&g->lock);
		bool over = g->unfinished == 0;
		pthread_mutex_unlock(&g->lock);
		if (over)
			return 0;
		if (is_cancelled(g->o)) {
			ret->cancelled = true;
			stop(g);
			return 0;
		}
		int rc = fetching ? opam_fetch_step(&g->fetcher, STEP_MS, e) : 0;
		if (rc < 0) {
			stop(g);
			return -1;
		}
		fetching = rc > 0;
		if (!fetching)
			wait_some(g);
	}
}

/* Something of the package failed: what did not come to pass of it is no news. */
static bool has_failed(const struct graph *g, const struct build_opam_package *p)
{
	for (size_t i = 0; i < g->failures.n; i++)
		if (g->failures.v[i].package == p)
			return true;
	return false;
}

static void collect(struct graph *g, struct arena *a, struct build_opam_result *ret)
{
	struct build_opam_action *done = arena_array(a, struct build_opam_action, g->nodes.n);
	struct build_opam_action *aborted = arena_array(a, struct build_opam_action, g->nodes.n);
	for (size_t i = 0; i < g->nodes.n; i++) {
		const struct node *n = &g->nodes.v[i];
		struct build_opam_action act = {n->step, &g->o->packages[n->package]};
		if (n->state == DONE && is_change(n))
			done[ret->n_done++] = act;
		else if (n->state != DONE && n->state != FAILED && is_change(n) && !has_failed(g, act.package))
			aborted[ret->n_aborted++] = act;
	}
	ret->done = done;
	ret->aborted = aborted;
	ret->failures = vec_copy(&g->failures, a);
	ret->n_failures = g->failures.n;
}

static void graph_release(struct graph *g)
{
	for (size_t i = 0; g->archives && i < 2 * g->o->n; i++)
		close_archives(&g->archives[i]);
	for (size_t i = 0; i < g->nodes.n; i++)
		vec_release(&g->nodes.v[i].then);
	vec_release(&g->nodes);
	vec_release(&g->failures);
	pthread_mutex_destroy(&g->lock);
	pthread_mutex_destroy(&g->telling);
	pthread_cond_destroy(&g->changed);
}

static int run_graph(struct graph *g, struct arena *a, struct build_opam_result *ret, struct err *e)
{
	for (int i = 0; i < 4; i++)
		g->of[i] = arena_array(a, size_t, g->o->n);
	add_nodes(g);
	add_edges(g);
	g->unfinished = g->nodes.n;
	for (size_t i = 0; i < g->nodes.n; i++)
		if (g->nodes.v[i].step == BUILD_OPAM_FETCH)
			g->nodes.v[i].state = RUNNING;
		else
			make_ready(&g->nodes.v[i]);
	begin_fetches(g);
	auto_ptr(work) threads = work_new(g->r->jobs);
	for (unsigned i = 0; i < g->r->jobs; i++)
		work_submit(threads, work_loop, g);
	int rc = follow(g, ret, e);
	struct err ignored = ERR_INIT;
	work_wait(threads, &ignored); /* loops do not fail */
	collect(g, a, ret);
	return rc;
}

int build_opam(const struct build_opam_opts *o, struct arena *a, struct build_opam_result *ret, struct err *e)
{
	struct opam_run r;
	*ret = (struct build_opam_result){0};
	if (opam_run_begin(&r, o, a, e) < 0) {
		opam_run_end(&r);
		return -1;
	}
	struct graph g = {.r = &r,
			  .o = o,
			  .lock = PTHREAD_MUTEX_INITIALIZER,
			  .telling = PTHREAD_MUTEX_INITIALIZER,
			  .changed = PTHREAD_COND_INITIALIZER};
	int rc = opam_fetcher_init(&g.fetcher, &r.cache, o->mirrors, o->n_mirrors,
				   o->download_jobs ? o->download_jobs : 3, o->progress, e);
	g.fetcher.checkout = o->checkout;
	g.fetcher.checkout_ctx = o->ctx;
	g.fetcher.scratch = r.scratch;
	if (rc == 0)
		rc = run_graph(&g, a, ret, e);
	ret->unconfined = !o->no_sandbox && !r.confined;
	ret->n_reused = r.reuse.n_reused;
	ret->n_kept = r.reuse.n_kept;
	ret->not_kept = r.reuse.not_kept;
	opam_fetcher_release(&g.fetcher);
	graph_release(&g);
	opam_run_end(&r);
	return rc;
}
