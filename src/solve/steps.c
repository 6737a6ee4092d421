// SPDX-License-Identifier: Apache-2.0
/*
 * opam's actions: what is taken away and what is put in place first, as two vertices for a package that changes, ordered by what
 * needs what and what conflicts; then such pairs made one; then causes, and an order to print them in.
 */
#include <stdlib.h>

#include "base/map.h"
#include "base/vec.h"
#include "pkg/pkg.h"
#include "solve/ocaml.h"
#include "solve/solve.h"

enum { NONE = UINT32_MAX, CAUSES_DEPTH_MAX = 100, CIRCLES_MAX = 10 };

VEC_TYPE(number_vec, uint32_t);
struct vertex {
	enum solve_step_kind kind;
	uint32_t package, before;
	struct str name;		/* as opam's solver has it: encoded */
	uint32_t number, number_before; /* of the versions, as opam's solver has them */
	struct number_vec in, out;
	enum solve_cause cause;
	uint32_t depth;
	struct number_vec causes; /* vertices */
	bool asked, on_path;
};
struct edge {
	uint32_t user, used;
};
VEC_TYPE(edge_vec, struct edge);
struct planning {
	struct channel_needs *needs;
	struct arena *a;
	uint32_t count;
	uint8_t *after, *rm, *in; /* by package */
	struct edge_vec edges;	  /* all that order tells, among packages that are of interest */
	struct edge_vec building; /* the same without what is needed for building alone */
	struct edge_vec conflicts;
	VEC(struct vertex) v;
	uint32_t *removal, *install; /* by package: its vertex */
	enum solve_step_order order;
};

static void planning_release(struct planning *p)
{
	vec_foreach(v, &p->v) {
		vec_release(&v->in);
		vec_release(&v->out);
		vec_release(&v->causes);
	}
	vec_release(&p->v);
	vec_release(&p->edges);
	vec_release(&p->building);
	vec_release(&p->conflicts);
}

static const struct channel_candidate *candidate(const struct planning *p, uint32_t package)
{
	return channel_needs_candidate(p->needs, package);
}

/* -- what changes --------------------------------------------------------------------------------------------------- */

struct telling {
	struct planning *p;
	struct edge_vec *to;
	uint32_t user;
	enum channel_need_kind kind;
};

static int tell(void *ctx, const struct channel_need *need, struct err *e)
{
	struct telling *t = ctx;
	struct planning *p = t->p;
	(void)e;
	if (need->kind != t->kind)
		return 0;
	for (size_t i = 0; i < need->one.n; i++) {
		uint32_t used = need->one.v[i];
		bool there = p->after[used] || candidate(p, used)->installed;
		if (there && used != t->user)
			vec_push(t->to, ((struct edge){t->user, used}));
	}
	return 0;
}

static int read_edges(struct planning *p, struct err *e)
{
	for (uint32_t i = 0; i < p->count; i++) {
		if (!p->after[i] && !candidate(p, i)->installed)
			continue;
		struct telling all = {p, &p->edges, i, CHANNEL_WISH}, run = {p, &p->building, i, CHANNEL_WISH},
			       ban = {p, &p->conflicts, i, CHANNEL_BAN};
		if (channel_needs_order(p->needs, i, true, tell, &all, e) < 0 ||
		    channel_needs_order(p->needs, i, false, tell, &run, e) < 0 ||
		    channel_needs_tell(p->needs, i, tell, &ban, e) < 0)
			return -1;
	}
	return 0;
}

/* What stays, but depends on something that does not, is built once more; and so on. */
static void find_recompiled(struct planning *p)
{
	for (bool more = true; more;) {
		more = false;
		vec_foreach(x, &p->building) {
			bool changes = p->rm[x->used] || p->in[x->used];
			if (!changes || p->rm[x->user] || p->in[x->user] || !p->after[x->user])
				continue;
			p->rm[x->user] = p->in[x->user] = 1;
			more = true;
		}
	}
}

/* -- names and numbers of opam's solver ----------------------------------------------------------------------------- */

/* opam 2.1 encodes each name, later ones do so only where it is not plain: for names that there are, the same. */
static struct str encode(struct arena *a, struct str name)
{
	auto_buf b = BUF_INIT(4096);
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			     (c && strchr("@/+().-", c));
		if (plain)
			buf_put(&b, &c, 1);
		else
			buf_printf(&b, "%%%02x", (unsigned char)c);
	}
	return arena_str(a, buf_str(&b));
}

static int cmp_version(const void *a, const void *b)
{
	return pkg_opam_version_cmp(*(const struct str *)a, *(const struct str *)b);
}

VEC_TYPE(str_vec, struct str);
struct mentioned {
	struct arena *a;
	struct str_vec *version; /* by name */
};

static void mention(void *ctx, size_t name, struct str version)
{
	struct mentioned *m = ctx;
	struct str_vec *v = &m->version[name];
	if (!v->n || !str_eq(v->v[v->n - 1], version))
		vec_push(v, arena_str(m->a, version));
}

/* Versions are numbered from 1, all that there are and all that formulas speak of. */
static uint32_t number_of(struct planning *p, struct str_vec *said, uint32_t package)
{
	const struct channel_candidate *c = candidate(p, package), *one;
	uint32_t number = 0;
	for (uint32_t i = c->first; i < c->first + c->n; i++) {
		one = candidate(p, i);
		if (one->installed || channel_needs_is_available(p->needs, i))
			vec_push(said, one->version);
	}
	vec_sort(said, cmp_version);
	for (size_t i = 0; i < said->n && pkg_opam_version_cmp(said->v[i], c->version) <= 0; i++)
		number += i == 0 || pkg_opam_version_cmp(said->v[i - 1], said->v[i]) != 0;
	return number;
}

static int number(struct planning *p, struct err *e)
{
	size_t n = p->v.n;
	auto_arena texts = ARENA_INIT;
	struct mentioned m = {&texts, arena_array(&texts, struct str_vec, n + 1)};
	struct str *names = arena_array(&texts, struct str, n + 1);
	auto_map place = MAP_INIT;
	size_t names_n = 0;
	vec_foreach(v, &p->v) {
		uint64_t *at = map_put(&place, candidate(p, v->package)->name);
		if (!*at) {
			names[names_n++] = candidate(p, v->package)->name;
			*at = names_n;
		}
	}
	int rc = p->order == SOLVE_IN_ORDER ? channel_needs_mentions(p->needs, names, names_n, mention, &m, e) : 0;
	vec_foreach(v, &p->v) {
		const uint64_t *at = map_get(&place, candidate(p, v->package)->name);
		v->number = p->order == SOLVE_IN_ORDER ? number_of(p, &m.version[*at - 1], v->package)
						       : UINT32_MAX - v->package; /* they stand newest first */
		if (p->order == SOLVE_IN_ORDER && v->before != NONE)
			v->number_before = number_of(p, &m.version[*at - 1], v->before);
	}
	for (size_t i = 0; i < names_n; i++)
		vec_release(&m.version[i]);
	return rc;
}

/* -- the graph ------------------------------------------------------------------------------------------------------ */

static int cmp_package(const struct vertex *x, const struct vertex *y)
{
	int c = str_cmp(x->name, y->name);
	return c ? c : (x->number > y->number) - (x->number < y->number);
}

static int cmp_vertex(const void *a, const void *b, void *ctx)
{
	const struct planning *p = ctx;
	const struct vertex *x = &p->v.v[*(const uint32_t *)a], *y = &p->v.v[*(const uint32_t *)b];
	return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : cmp_package(x, y);
}

static bool has(const struct number_vec *v, uint32_t x)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->v[i] == x)
			return true;
	return false;
}

static void connect(struct planning *p, uint32_t from, uint32_t to)
{
	if (from == NONE || to == NONE || from == to)
		return;
	struct vertex *f = &p->v.v[from], *t = &p->v.v[to];
	for (size_t i = 0; i < f->out.n; i++)
		if (f->out.v[i] == to)
			return;
	vec_push(&f->out, to);
	vec_push(&t->in, from);
}

static uint32_t add_vertex(struct planning *p, enum solve_step_kind kind, uint32_t package)
{
	struct vertex *v = vec_add(&p->v);
	*v = (struct vertex){.kind = kind, .package = package, .before = NONE};
	v->name = encode(p->a, candidate(p, package)->name);
	return (uint32_t)p->v.n - 1;
}

static uint32_t removed_of_group(const struct planning *p, uint32_t package)
{
	const struct channel_candidate *c = candidate(p, package);
	for (uint32_t i = c->first; i < c->first + c->n; i++)
		if (p->rm[i])
			return i;
	return NONE;
}

/* A removal and an installation of one name are one step, which comes after what either comes after. */
static void make_graph(struct planning *p)
{
	p->removal = arena_array(p->a, uint32_t, p->count + 1);
	p->install = arena_array(p->a, uint32_t, p->count + 1);
	memset(p->removal, 0xff, (p->count + 1) * sizeof(*p->removal));
	memset(p->install, 0xff, (p->count + 1) * sizeof(*p->install));
	for (uint32_t i = 0; i < p->count; i++)
		if (p->in[i]) {
			uint32_t old = removed_of_group(p, i), v = add_vertex(p, SOLVE_INSTALL, i);
			p->install[i] = v;
			if (old == NONE)
				continue;
			p->v.v[v].before = old;
			bool newer = pkg_opam_version_cmp(candidate(p, old)->version, candidate(p, i)->version) < 0;
			p->v.v[v].kind = old == i ? SOLVE_RECOMPILE : newer ? SOLVE_UPGRADE : SOLVE_DOWNGRADE;
			p->removal[old] = v;
		}
	for (uint32_t i = 0; i < p->count; i++)
		if (p->rm[i] && p->removal[i] == NONE)
			p->removal[i] = add_vertex(p, SOLVE_REMOVE, i);
}

/* A removal that is nothing else: of one that is a part of a change nothing comes after it but that. */
static uint32_t removal_alone(const struct planning *p, uint32_t package)
{
	uint32_t v = p->rm[package] ? p->removal[package] : NONE;
	return v != NONE && p->v.v[v].kind == SOLVE_REMOVE ? v : NONE;
}

static void add_edges(struct planning *p)
{
	vec_foreach(x, &p->edges) {
		if (p->rm[x->user] && p->rm[x->used])
			connect(p, removal_alone(p, x->user), p->removal[x->used]);
		if (p->in[x->user])
			connect(p, p->in[x->used] ? p->install[x->used] : removal_alone(p, x->used),
				p->install[x->user]);
	}
	vec_foreach(x, &p->conflicts) {
		if (p->rm[x->user] && p->in[x->used])
			connect(p, removal_alone(p, x->user), p->install[x->used]);
		else if (p->rm[x->used] && p->in[x->user])
			connect(p, removal_alone(p, x->used), p->install[x->user]);
	}
}

static void sort_sets(struct planning *p)
{
	vec_foreach(v, &p->v) {
		if (v->in.n)
			qsort_r(v->in.v, v->in.n, sizeof(*v->in.v), cmp_vertex, p);
		if (v->out.n)
			qsort_r(v->out.v, v->out.n, sizeof(*v->out.v), cmp_vertex, p);
	}
}

/* -- causes --------------------------------------------------------------------------------------------------------- */

static bool is_change(enum solve_step_kind k)
{
	return k == SOLVE_UPGRADE || k == SOLVE_DOWNGRADE;
}

/* Why `v` may be there: `because` was, which comes after it (`before`), or before it. */
static enum solve_cause direct_cause(const struct vertex *v, bool before, const struct vertex *because)
{
	bool puts = because->kind == SOLVE_INSTALL || is_change(because->kind);
	if (before && (v->kind == SOLVE_INSTALL || is_change(v->kind)) && puts)
		return SOLVE_REQUIRED_BY;
	if (!before && ((is_change(v->kind) && puts) || v->kind == SOLVE_RECOMPILE))
		return SOLVE_USES;
	if (before && (v->kind == SOLVE_REMOVE || is_change(v->kind)) && because->kind == SOLVE_REMOVE)
		return SOLVE_USES;
	if (before && v->kind == SOLVE_REMOVE)
		return SOLVE_CONFLICTS_WITH;
	if (before && (v->kind == SOLVE_INSTALL || is_change(v->kind)) && because->kind == SOLVE_RECOMPILE)
		return SOLVE_REQUIRED_BY;
	return is_change(v->kind) ? SOLVE_UPSTREAM : SOLVE_UNKNOWN;
}

static void set_cause(struct vertex *v, enum solve_cause cause, uint32_t because, uint32_t depth)
{
	v->cause = cause;
	v->depth = depth;
	vec_clear(&v->causes);
	if (because != NONE)
		vec_push(&v->causes, because);
}

/* Of several causes the nearest; of such that are as near all, the last that was found first. */
static void merge_cause(struct vertex *v, enum solve_cause cause, uint32_t because, uint32_t depth)
{
	if (v->cause == SOLVE_UNKNOWN || depth < v->depth) {
		set_cause(v, cause, because, depth);
		return;
	}
	if (v->depth < depth)
		return;
	if (v->cause == cause && cause != SOLVE_UPSTREAM && cause != SOLVE_REQUESTED) {
		struct number_vec all = {0};
		vec_push(&all, because);
		vec_foreach(x, &v->causes)
			if (!has(&all, *x))
				vec_push(&all, *x);
		/* what was there is turned round and goes in front */
		vec_clear(&v->causes);
		for (size_t i = all.n; i-- > 1;)
			vec_push(&v->causes, all.v[i]);
		vec_push(&v->causes, because);
		vec_release(&all);
	} else if (v->cause == SOLVE_REQUESTED || v->cause == SOLVE_UPSTREAM) {
		set_cause(v, cause, because, depth);
	}
}

struct spreading {
	struct planning *p;
	uint8_t *known;
};

static void spread(struct spreading *s, uint32_t at, uint32_t depth);

static void spread_to(struct spreading *s, uint32_t at, bool before, uint32_t depth)
{
	struct planning *p = s->p;
	const struct vertex *from = &p->v.v[at];
	size_t n = before ? from->in.n : from->out.n;
	for (size_t i = 0; i < n; i++) {
		uint32_t to = before ? p->v.v[at].in.v[i] : p->v.v[at].out.v[i];
		struct vertex *v = &p->v.v[to];
		if (v->on_path)
			continue;
		enum solve_cause cause = direct_cause(v, before, &p->v.v[at]);
		if (cause == SOLVE_UNKNOWN)
			continue;
		uint32_t because = cause == SOLVE_UPSTREAM ? NONE : at;
		if (s->known[to]) {
			merge_cause(v, cause, because, depth);
		} else {
			set_cause(v, cause, because, depth);
			s->known[to] = 1;
			spread(s, to, depth + 1);
		}
	}
}

static void spread(struct spreading *s, uint32_t at, uint32_t depth)
{
	if (depth > CAUSES_DEPTH_MAX)
		return;
	bool was = s->p->v.v[at].on_path;
	s->p->v.v[at].on_path = true;
	spread_to(s, at, true, depth);
	spread_to(s, at, false, depth);
	s->p->v.v[at].on_path = was;
}

static void spread_from(struct spreading *s, const struct number_vec *roots, enum solve_cause cause)
{
	struct planning *p = s->p;
	struct number_vec sorted = {0};
	vec_foreach(r, roots)
		vec_push(&sorted, *r);
	for (size_t i = 1; i < sorted.n; i++) /* by name: there are few */
		for (size_t k = i; k && cmp_package(&p->v.v[sorted.v[k]], &p->v.v[sorted.v[k - 1]]) < 0; k--) {
			uint32_t t = sorted.v[k];
			sorted.v[k] = sorted.v[k - 1];
			sorted.v[k - 1] = t;
		}
	vec_foreach(r, &sorted) {
		set_cause(&p->v.v[*r], cause, NONE, 0);
		s->known[*r] = 1;
		p->v.v[*r].on_path = true;
	}
	vec_foreach(r, &sorted)
		spread(s, *r, 1);
	vec_foreach(v, &p->v)
		v->on_path = false;
	vec_release(&sorted);
}

static void find_causes(struct planning *p)
{
	struct spreading s = {p, arena_array(p->a, uint8_t, p->v.n + 1)};
	struct number_vec roots = {0};
	bool any = false;
	vec_foreach(v, &p->v)
		any |= v->asked;
	for (uint32_t i = 0; i < p->v.n; i++)
		if (any ? p->v.v[i].asked : p->v.v[i].kind == SOLVE_UPGRADE)
			vec_push(&roots, i);
	spread_from(&s, &roots, SOLVE_REQUESTED);
	/* changes that are left, and have no change before them */
	vec_clear(&roots);
	for (uint32_t i = 0; i < p->v.n; i++) {
		bool first = is_change(p->v.v[i].kind) && !s.known[i];
		vec_foreach(x, &p->v.v[i].in)
			first &= !is_change(p->v.v[*x].kind);
		if (first)
			vec_push(&roots, i);
	}
	spread_from(&s, &roots, SOLVE_UNKNOWN);
	vec_release(&roots);
}

/* -- order ---------------------------------------------------------------------------------------------------------- */

static uint32_t hash_of(const struct vertex *v)
{
	static const char *const tags[] = {"Remove", "Change", "Reinstall", "Change", "Install"};
	uint32_t h = ocaml_hash_pair(v->name, v->number);
	if (is_change(v->kind))
		return ocaml_hash_change("Change", v->kind == SOLVE_UPGRADE ? "Up" : "Down",
					 ocaml_hash_pair(v->name, v->number_before), h);
	return ocaml_hash_variant(tags[v->kind], h);
}

static int cmp_first(const void *a, const void *b, void *ctx)
{
	const struct planning *p = ctx;
	return cmp_package(&p->v.v[*(const uint32_t *)a], &p->v.v[*(const uint32_t *)b]);
}

/* As the table of opam's graph is walked: filled with removals, then installations, by name; then made anew for what they are. */
static void walk_order(struct planning *p, uint32_t *walk)
{
	size_t n = p->v.n;
	uint32_t *sorted = arena_array(p->a, uint32_t, n + 1), *hash = arena_array(p->a, uint32_t, n + 1),
		 *order = arena_array(p->a, uint32_t, n + 1), k = 0;
	for (uint32_t i = 0; i < n; i++)
		if (p->v.v[i].kind == SOLVE_REMOVE)
			sorted[k++] = i;
	size_t removals = k;
	for (uint32_t i = 0; i < n; i++)
		if (p->v.v[i].kind != SOLVE_REMOVE)
			sorted[k++] = i;
	qsort_r(sorted, removals, sizeof(*sorted), cmp_first, p);
	qsort_r(sorted + removals, n - removals, sizeof(*sorted), cmp_first, p);
	for (size_t i = 0; i < n; i++) {
		const struct vertex *v = &p->v.v[sorted[i]];
		hash[i] = ocaml_hash_variant(v->kind == SOLVE_REMOVE ? "Remove" : "Install",
					     ocaml_hash_pair(v->name, v->number));
	}
	ocaml_table_order(hash, n, 97, order);
	for (size_t i = 0; i < n; i++)
		hash[i] = hash_of(&p->v.v[sorted[order[i]]]);
	uint32_t *again = arena_array(p->a, uint32_t, n + 1);
	ocaml_table_order(hash, n, n, again);
	for (size_t i = 0; i < n; i++)
		walk[i] = sorted[order[again[i]]];
}

static size_t in_order(struct planning *p, uint32_t *ret)
{
	size_t n = p->v.n;
	struct ocaml_edges *out = arena_array(p->a, struct ocaml_edges, n + 1);
	uint32_t *walk = arena_array(p->a, uint32_t, n + 1);
	for (size_t i = 0; i < n; i++)
		out[i] = (struct ocaml_edges){p->v.v[i].out.v, p->v.v[i].out.n};
	walk_order(p, walk);
	return ocaml_topological(out, walk, n, p->a, ret);
}

/* -- circles -------------------------------------------------------------------------------------------------------- */

/* The shortest way from a vertex back to it: from[v] is where it comes from. False: there is none. */
static bool find_circle(struct planning *p, uint32_t start, uint32_t *from)
{
	size_t head = 0;
	VEC(uint32_t) queue = {0};
	for (size_t i = 0; i < p->v.n; i++)
		from[i] = NONE;
	vec_push(&queue, start);
	while (head < queue.n && from[start] == NONE) {
		uint32_t at = queue.v[head++];
		vec_foreach(to, &p->v.v[at].out)
			if (from[*to] == NONE) {
				from[*to] = at;
				vec_push(&queue, *to);
			}
	}
	vec_release(&queue);
	return from[start] != NONE;
}

static void put_action(const struct planning *p, const struct vertex *v, struct buf *b)
{
	static const char *const words[] = {"remove", "downgrade", "recompile", "upgrade", "install"};
	const struct channel_candidate *c = candidate(p, v->package);
	buf_printf(b, "%s %.*s.%.*s", words[v->kind], STR_ARG(c->name), STR_ARG(c->version));
}

static struct str say_circle(struct planning *p, uint32_t start, const uint32_t *from, uint8_t *told)
{
	VEC(uint32_t) way = {0};
	auto_buf b = BUF_INIT(1 << 20);
	uint32_t at = start;
	do {
		vec_push(&way, at);
		told[at] = 1;
		at = from[at];
	} while (at != start);
	put_action(p, &p->v.v[start], &b);
	for (size_t i = way.n; i-- > 0;) {
		buf_put_c(&b, " -> ");
		put_action(p, &p->v.v[way.v[i]], &b);
	}
	vec_release(&way);
	return arena_str(p->a, buf_str(&b));
}

static void find_circles(struct planning *p, struct solve_steps *ret)
{
	struct str *v = arena_array(p->a, struct str, CIRCLES_MAX);
	auto_free uint32_t *from = xcalloc(p->v.n + 1, sizeof(*from));
	auto_free uint8_t *told = xcalloc(p->v.n + 1, 1);
	*ret = (struct solve_steps){.circle = v};
	for (uint32_t i = 0; i < p->v.n && ret->circles < CIRCLES_MAX; i++)
		if (!told[i] && find_circle(p, i, from))
			v[ret->circles++] = say_circle(p, i, from, told);
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static int cmp_name(struct str x, struct str y)
{
	for (size_t i = 0; i < x.n && i < y.n; i++)
		if (lower(x.p[i]) != lower(y.p[i]))
			return (unsigned char)lower(x.p[i]) < (unsigned char)lower(y.p[i]) ? -1 : 1;
	return x.n != y.n ? (x.n < y.n ? -1 : 1) : str_cmp(x, y);
}

static int cmp_shown(const void *a, const void *b, void *ctx)
{
	const struct planning *p = ctx;
	const struct vertex *x = &p->v.v[*(const uint32_t *)a], *y = &p->v.v[*(const uint32_t *)b];
	return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1)
				  : cmp_name(candidate(p, x->package)->name, candidate(p, y->package)->name);
}

static void by_name(struct planning *p, uint32_t *ret)
{
	for (uint32_t i = 0; i < p->v.n; i++)
		ret[i] = i;
	if (p->v.n)
		qsort_r(ret, p->v.n, sizeof(*ret), cmp_shown, p);
}

/* -- all of it ------------------------------------------------------------------------------------------------------ */

static int put_steps(struct planning *p, struct solve_steps *ret)
{
	size_t n = p->v.n;
	struct solve_step *steps = arena_array(p->a, struct solve_step, n + 1);
	uint32_t *order = arena_array(p->a, uint32_t, n + 1), *place = arena_array(p->a, uint32_t, n + 1);
	if (in_order(p, order) < n) {
		find_circles(p, ret);
		return 1;
	}
	if (p->order == SOLVE_BY_NAME)
		by_name(p, order);
	for (size_t i = 0; i < n; i++)
		place[order[i]] = (uint32_t)i;
	for (size_t i = 0; i < n; i++) {
		const struct vertex *v = &p->v.v[order[i]];
		uint32_t *causes = arena_array(p->a, uint32_t, v->causes.n + 1);
		uint32_t *after = arena_array(p->a, uint32_t, v->in.n + 1);
		for (size_t k = 0; k < v->causes.n; k++)
			causes[k] = p->v.v[v->causes.v[k]].package;
		for (size_t k = 0; k < v->in.n; k++)
			after[k] = place[v->in.v[k]];
		steps[i] = (struct solve_step){.kind = v->kind,
					       .package = v->package,
					       .before = v->before == NONE ? v->package : v->before,
					       .cause = v->cause,
					       .causes = causes,
					       .causes_n = v->causes.n,
					       .after = after,
					       .after_n = v->in.n};
	}
	*ret = (struct solve_steps){.v = steps, .n = n};
	return 0;
}

static void note_asked(struct planning *p, const struct str *asked, size_t asked_n)
{
	auto_map names = MAP_INIT;
	for (size_t i = 0; i < asked_n; i++)
		*map_put(&names, asked[i]) = 1;
	vec_foreach(v, &p->v)
		v->asked = map_get(&names, candidate(p, v->package)->name) != NULL;
}

int solve_steps(struct channel_needs *needs, const uint32_t *solution, size_t n, const struct str *asked,
		size_t asked_n, enum solve_step_order order, struct arena *a, struct solve_steps *ret, struct err *e)
{
	cleanup_with(planning_release) struct planning p = {
		.needs = needs, .a = a, .count = channel_needs_count(needs), .order = order};
	p.after = arena_array(a, uint8_t, p.count + 1);
	p.rm = arena_array(a, uint8_t, p.count + 1);
	p.in = arena_array(a, uint8_t, p.count + 1);
	for (size_t i = 0; i < n; i++)
		p.after[solution[i]] = 1;
	for (uint32_t i = 0; i < p.count; i++) {
		bool before = candidate(&p, i)->installed;
		p.in[i] = p.after[i] && !before;
		p.rm[i] = before && !p.after[i];
	}
	if (read_edges(&p, e) < 0)
		return -1;
	find_recompiled(&p);
	make_graph(&p);
	if (number(&p, e) < 0)
		return -1;
	add_edges(&p);
	sort_sets(&p);
	note_asked(&p, asked, asked_n);
	find_causes(&p);
	return put_steps(&p, ret);
}
