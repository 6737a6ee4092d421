// SPDX-License-Identifier: Apache-2.0
/*
 * What has been unused longest goes first, children before parents.
 *
 * Everything that is there is put in the order of its last use. In that order each thing that nothing is made of goes, as long as something
 * asks for it: its age, or the bytes of all that is left. A parent whose last child goes, and which was used before that child, is due next: of
 * what may go it is the one unused longest. One that was used later comes up later.
 *
 * Descriptions are read before the house is held: that takes long, and others wait meanwhile. With it held, the names tell what came and went since, and
 * each thing that would go is looked at again: what was used since then stays.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/vec.h"
#include "layer/internal.h"

struct node {
	struct layer_gc_item item;
	struct node *parent;
	size_t children;
	bool stays, gone;
};
struct gc {
	struct layers *l;
	const struct layer_gc_opts *o;
	struct arena *a;
	struct node *v; /* by last use */
	size_t n;
	struct layer_vec known; /* layers, as they were before the house was held; caches likewise */
	struct layer_cache_info *caches;
	size_t n_caches;
	const struct layer_id *keep;
	size_t n_keep;
	uint64_t bytes; /* of all that is left */
	uint64_t want_free;
	VEC(struct layer_gc_item) done;
	VEC(struct place) away;
	uint64_t freed;
};

static void gc_release(struct gc *g)
{
	vec_release(&g->done);
	vec_release(&g->away);
	vec_release(&g->known);
}

const char *layer_gc_why_name(enum layer_gc_why why)
{
	static const char *const name[] = {
		[LAYER_GC_AGE] = "age",
		[LAYER_GC_SIZE] = "size",
		[LAYER_GC_SPACE] = "space",
		[LAYER_GC_DAMAGED] = "damaged",
	};
	return name[why];
}

static int compare_nodes(const void *a, const void *b)
{
	const struct node *x = a, *y = b;
	return x->item.used_ms < y->item.used_ms ? -1 : x->item.used_ms > y->item.used_ms;
}

/* everything that is there */

static void add_layers(struct gc *g, const struct layer_vec *layers, const struct layer_ids *bad)
{
	vec_foreach(id, bad)
		g->v[g->n++].item = (struct layer_gc_item){.id = *id, .why = LAYER_GC_DAMAGED};
	vec_foreach(i, layers) {
		struct layer_gc_item item = {.id = i->id, .used_ms = i->used_ms, .bytes = i->bytes};
		g->v[g->n++].item = item;
	}
}

static void add_others(struct gc *g)
{
	for (size_t i = 0; i < g->n_caches; i++) {
		const struct layer_cache_info *cache = &g->caches[i];
		g->v[g->n++].item =
			(struct layer_gc_item){.cache = cache->name, .used_ms = cache->used_ms, .bytes = cache->bytes};
	}
	for (size_t i = 0; i < g->o->n_others; i++) {
		const struct layer_gc_other *other = &g->o->others[i];
		g->v[g->n++].item =
			(struct layer_gc_item){.other = other->name, .used_ms = other->used_ms, .bytes = other->bytes};
	}
}

static bool is_layer(const struct node *n)
{
	return !n->item.cache.n && !n->item.other.n;
}

static void mark_damaged(struct node *n)
{
	n->item.why = LAYER_GC_DAMAGED;
}

/* Parents, children, and whose parent is not there. `layers` tells whose parent is whose. */
static void connect(struct gc *g, const struct layer_vec *layers)
{
	auto_map at = MAP_INIT;
	for (size_t i = 0; i < g->n; i++) {
		g->bytes += g->v[i].item.bytes;
		if (is_layer(&g->v[i]))
			*map_put(&at, str_c(g->v[i].item.id.hex)) = i + 1;
	}
	vec_foreach(i, layers) {
		struct node *n = &g->v[*map_get(&at, str_c(i->id.hex)) - 1];
		uint64_t *parent = *i->parent.hex ? map_get(&at, str_c(i->parent.hex)) : NULL;
		if (parent) {
			n->parent = &g->v[*parent - 1];
			n->parent->children++;
		} else if (*i->parent.hex) {
			mark_damaged(n);
		}
	}
	for (size_t i = 0; i < g->n_keep; i++) {
		uint64_t *k = map_get(&at, str_c(g->keep[i].hex));
		if (k)
			g->v[*k - 1].stays = true;
	}
}

/* What lies on something damaged is as useless. */
static void spread_damage(struct gc *g)
{
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < g->n; i++) {
			struct node *n = &g->v[i];
			if (n->parent && n->parent->item.why == LAYER_GC_DAMAGED && n->item.why != LAYER_GC_DAMAGED) {
				mark_damaged(n);
				more = true;
			}
		}
	}
}

static int read_before(struct gc *g, struct err *e)
{
	struct layer_ids bad = {0};
	int r = layers_read(g->l, g->a, NULL, &g->known, &bad, e);
	if (r == 0 && g->o->caches)
		r = layer_caches(g->l, g->a, &g->caches, &g->n_caches, e);
	vec_release(&bad);
	return r;
}

static int gather(struct gc *g, struct err *e)
{
	struct layer_vec layers = {0};
	struct layer_ids bad = {0};
	int r = layers_read(g->l, g->a, &g->known, &layers, &bad, e);
	if (r == 0) {
		g->v = arena_array(g->a, struct node, layers.n + bad.n + g->n_caches + g->o->n_others + 1);
		add_layers(g, &layers, &bad);
		add_others(g);
		if (g->n > 1)
			qsort(g->v, g->n, sizeof(*g->v), compare_nodes);
		connect(g, &layers);
		spread_damage(g);
	}
	vec_release(&layers);
	vec_release(&bad);
	return r;
}

/* choosing */

static bool is_due(struct gc *g, struct node *n)
{
	const struct layer_gc_opts *o = g->o;
	if (n->item.why == LAYER_GC_DAMAGED)
		return true;
	if (n->stays)
		return false;
	if (o->older_than_ms >= 0 && n->item.used_ms + o->older_than_ms <= o->now_ms)
		n->item.why = LAYER_GC_AGE;
	else if (g->bytes > o->max_bytes)
		n->item.why = LAYER_GC_SIZE;
	else if (g->freed < g->want_free)
		n->item.why = LAYER_GC_SPACE;
	else
		return false;
	return true;
}

/* Whether it was not used since it was read. */
static bool is_unused(struct gc *g, const struct node *n)
{
	struct stat st;
	struct layer_cache_info info;
	struct err ignored = ERR_INIT;
	struct place about = place_of("layer/%s/about", n->item.id.hex);
	if (n->item.other.n || n->item.why == LAYER_GC_DAMAGED)
		return true;
	if (n->item.cache.n)
		return cache_read(g->l, n->item.cache, g->a, &info, &ignored) > 0 && info.used_ms == n->item.used_ms;
	return fstatat(g->l->dir, about.s, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       about_used_ms(&st.st_mtim) == n->item.used_ms;
}

/* 1 it is away, 0 somebody uses it. */
static int take_away(struct gc *g, struct node *n, struct err *e)
{
	struct place gone = {""}, at = place_layer(&n->item.id);
	int r = n->item.other.n	  ? g->o->take_other(g->o->ctx, n->item.other, g->o->dry_run, e)
		: n->item.cache.n ? cache_take_away(g->l, n->item.cache, g->o->dry_run, &gone, e)
		: g->o->dry_run	  ? entry_is_free(g->l, &at, e)
				  : entry_unname(g->l, &at, &gone, e);
	if (r > 0 && *gone.s)
		vec_push(&g->away, gone);
	return r;
}

/* It, and those parents that nothing else keeps and that are due before what comes next. */
static int remove_from(struct gc *g, struct node *n, struct err *e)
{
	for (int64_t used = n->item.used_ms; n && !n->gone && n->children == 0; n = n->parent) {
		if (n->item.used_ms > used || !is_due(g, n))
			return 0;
		int r = is_unused(g, n) ? take_away(g, n, e) : 0;
		if (r <= 0)
			return r;
		n->gone = true;
		g->bytes -= n->item.bytes;
		g->freed += n->item.bytes;
		vec_push(&g->done, n->item);
		if (n->parent)
			n->parent->children--;
	}
	return 0;
}

static int space_wanted(struct gc *g, struct err *e)
{
	struct statvfs st;
	if (!g->o->keep_free_bytes)
		return 0;
	if (fstatvfs(g->l->dir, &st) < 0)
		return err_sys(e, "ask how much is free in '%s'", g->l->path);
	uint64_t is_free = (uint64_t)st.f_bavail * st.f_frsize;
	g->want_free = g->o->keep_free_bytes > is_free ? g->o->keep_free_bytes - is_free : 0;
	return 0;
}

static int choose(struct gc *g, struct err *e)
{
	g->keep = g->o->keep;
	g->n_keep = g->o->n_keep;
	if (g->o->names && g->o->names(g->o->ctx, g->l, g->a, &g->keep, &g->n_keep, e) < 0)
		return -1;
	if (gather(g, e) < 0 || space_wanted(g, e) < 0)
		return -1;
	for (size_t i = 0; i < g->n; i++)
		if (remove_from(g, &g->v[i], e) < 0)
			return -1;
	return 0;
}

int layers_gc(struct layers *l, const struct layer_gc_opts *o, struct arena *a, struct layer_gc *ret, struct err *e)
{
	cleanup_with(gc_release) struct gc g = {.l = l, .o = o, .a = a};
	if (!o->dry_run)
		tmp_clear(l);
	int r = read_before(&g, e) < 0 || house_hold(l, true, e) < 0 ? -1 : choose(&g, e);
	house_open(l);
	vec_foreach(gone, &g.away)
		entry_discard(l, gone);
	*ret = (struct layer_gc){
		.v = vec_copy(&g.done, a),
		.n = g.done.n,
		.freed_bytes = g.freed,
		.kept_bytes = g.bytes,
		.kept = g.n - g.done.n,
	};
	return r < 0 ? err_ctx(e, "remove old layers") : 0;
}
