// SPDX-License-Identifier: Apache-2.0
/*
 * Packages by name and by what they provide, and formulas over them turned into clauses: a conjunction of "one of these, where
 * those are there". Sets are small in real archives; CLAUSES_MAX bounds what a hostile formula can multiply into.
 */
#include "channel/needs.h"

#include <stdlib.h>

enum { CLAUSES_MAX = 1000, GIVEN_MAX = 8, SET_MAX = 20000 };

int needs_add(struct channel_needs *n, const struct needs_package *p, struct err *e)
{
	if (n->package.n >= NEEDS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d packages", NEEDS_MAX);
	struct needs_package *x = vec_add(&n->package);
	*x = *p;
	x->added = (uint32_t)n->package.n - 1;
	return 0;
}

void needs_provide(struct channel_needs *n, struct str name, struct str version)
{
	vec_push(&n->provided, ((struct needs_provided){name, version, (uint32_t)n->package.n - 1}));
}

/* -- index ---------------------------------------------------------------------------------------------------------- */

static int cmp_package(const void *a, const void *b, void *ctx)
{
	const struct channel_needs *n = ctx;
	const struct needs_package *x = a, *y = b;
	int c = str_cmp(x->c.name, y->c.name);
	if (c)
		return c;
	if (x->class != y->class)
		return x->class < y->class ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	c = n->ops->cmp(y->c.version, x->c.version);
	return c ? c : (x->added > y->added) - (x->added < y->added);
}

/* By name; of one name as the packages stand. */
static int cmp_provided(const void *a, const void *b)
{
	const struct needs_provided *x = a, *y = b;
	int c = str_cmp(x->name, y->name);
	return c ? c : (x->package > y->package) - (x->package < y->package);
}

static void note_first(struct map *m, struct str name, size_t place)
{
	uint64_t *v = map_put(m, name);
	if (!*v)
		*v = place + 1;
}

/* One that several indexes list counts once. */
static void drop_copies(struct channel_needs *n)
{
	size_t k = 0;
	for (size_t i = 0; i < n->package.n; i++) {
		const struct needs_package *p = &n->package.v[i], *last = k ? &n->package.v[k - 1] : NULL;
		bool same = last && str_eq(last->c.name, p->c.name) && str_eq(last->c.key, p->c.key);
		n->number.v[p->added] = (uint32_t)(same ? k - 1 : k);
		if (!same)
			n->package.v[k++] = *p;
	}
	n->package.n = k;
}

static void make_groups(struct channel_needs *n)
{
	uint32_t first = 0;
	for (uint32_t i = 0; i < n->package.n; i++) {
		const struct needs_package *f = &n->package.v[first], *p = &n->package.v[i];
		if (!str_eq(f->c.name, p->c.name) || f->class != p->class)
			first = i;
		n->package.v[i].c.first = first;
		n->package.v[first].c.n = i + 1 - first;
		note_first(&n->by_name, p->c.name, i);
	}
	vec_foreach(p, &n->package)
		p->c.n = n->package.v[p->c.first].c.n;
}

void needs_index_sorted(struct channel_needs *n)
{
	vec_reserve(&n->number, n->package.n + 1);
	for (; n->number.n < n->package.n; n->number.n++)
		n->number.v[n->number.n] = (uint32_t)n->number.n;
	make_groups(n);
}

void needs_index(struct channel_needs *n)
{
	if (n->package.n)
		qsort_r(n->package.v, n->package.n, sizeof(*n->package.v), cmp_package, n);
	vec_reserve(&n->number, n->package.n + 1);
	n->number.n = n->package.n;
	drop_copies(n);
	make_groups(n);
	vec_foreach(p, &n->provided)
		p->package = n->number.v[p->package];
	vec_sort(&n->provided, cmp_provided);
	for (size_t i = 0; i < n->provided.n; i++)
		note_first(&n->by_provided, n->provided.v[i].name, i);
}

/* -- sets ----------------------------------------------------------------------------------------------------------- */

static bool has(struct channel_set s, uint32_t package)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.v[i] == package)
			return true;
	return false;
}

struct channel_set needs_find(const struct channel_needs *n, struct arena *a, const struct pkg_need *name,
			      bool provided)
{
	VEC(uint32_t) found = {0};
	const uint64_t *place = map_get(&n->by_name, name->name);
	for (size_t i = place ? *place - 1 : n->package.n; i < n->package.n; i++) {
		const struct channel_candidate *c = &n->package.v[i].c;
		if (!str_eq(c->name, name->name))
			break;
		if (pkg_range_has(name->range, c->version, n->ops->cmp))
			vec_push(&found, (uint32_t)i);
	}
	place = provided ? map_get(&n->by_provided, name->name) : NULL;
	for (size_t i = place ? *place - 1 : n->provided.n; i < n->provided.n && found.n < SET_MAX; i++) {
		const struct needs_provided *p = &n->provided.v[i];
		if (!str_eq(p->name, name->name))
			break;
		if (name->range && (!p->version.p || !pkg_range_has(name->range, p->version, n->ops->cmp)))
			continue;
		if (!has((struct channel_set){found.v, found.n}, p->package))
			vec_push(&found, p->package);
	}
	if (n->ops->prefer && found.n > 1)
		n->ops->prefer(n, name->name, found.v, found.n);
	struct channel_set ret = {vec_copy(&found, a), found.n};
	vec_release(&found);
	return ret;
}

static struct channel_set unite(struct arena *a, struct channel_set x, struct channel_set y)
{
	uint32_t *v = arena_array(a, uint32_t, x.n + y.n + 1);
	struct channel_set ret = {v, 0};
	for (size_t i = 0; i < x.n; i++)
		v[ret.n++] = x.v[i];
	for (size_t i = 0; i < y.n; i++)
		if (!has(x, y.v[i]))
			v[ret.n++] = y.v[i];
	return ret;
}

/* Those of x that are (or are not) in y. */
static struct channel_set narrow(struct arena *a, struct channel_set x, struct channel_set y, bool in)
{
	uint32_t *v = arena_array(a, uint32_t, x.n + 1);
	struct channel_set ret = {v, 0};
	for (size_t i = 0; i < x.n; i++)
		if (has(y, x.v[i]) == in)
			v[ret.n++] = x.v[i];
	return ret;
}

/* -- clauses -------------------------------------------------------------------------------------------------------- */

struct clause {
	struct channel_set one;
	struct channel_set given[GIVEN_MAX];
	size_t given_n;
};
struct clauses {
	struct clause *v;
	size_t n;
};
struct making {
	struct channel_needs *n;
	struct arena *a;
	bool provided;
	unsigned depth;
	struct err *e;
};

static int too_much(struct making *m)
{
	return err_new(m->e, ERR_LIMIT, "a formula of more than %d clauses", CLAUSES_MAX);
}

static int concat(struct making *m, struct clauses x, struct clauses y, struct clauses *ret)
{
	*ret = (struct clauses){arena_array(m->a, struct clause, x.n + y.n + 1), x.n + y.n};
	if (ret->n > CLAUSES_MAX)
		return too_much(m);
	if (x.n)
		memcpy(ret->v, x.v, x.n * sizeof(*x.v));
	if (y.n)
		memcpy(ret->v + x.n, y.v, y.n * sizeof(*y.v));
	return 0;
}

static int give(struct making *m, struct clause *c, const struct clause *more)
{
	if (c->given_n + more->given_n > GIVEN_MAX)
		return too_much(m);
	memcpy(c->given + c->given_n, more->given, more->given_n * sizeof(*more->given));
	c->given_n += more->given_n;
	return 0;
}

/* Every clause of the one with every clause of the other. */
static int multiply(struct making *m, struct clauses x, struct clauses y, struct clauses *ret)
{
	if (x.n * y.n > CLAUSES_MAX)
		return too_much(m);
	*ret = (struct clauses){arena_array(m->a, struct clause, x.n * y.n + 1), 0};
	for (size_t i = 0; i < x.n; i++)
		for (size_t k = 0; k < y.n; k++) {
			struct clause *c = &ret->v[ret->n++];
			*c = x.v[i];
			c->one = unite(m->a, x.v[i].one, y.v[k].one);
			if (give(m, c, &y.v[k]) < 0)
				return -1;
		}
	return 0;
}

/* What a formula of names alone is one of; with, without and or. */
static int set_of(struct making *m, const struct pkg_need *f, struct channel_set *ret)
{
	struct channel_set x, y;
	if (f->op == PKG_NEED_NAME) {
		*ret = needs_find(m->n, m->a, f, m->provided);
		return 0;
	}
	if (f->op != PKG_NEED_WITH && f->op != PKG_NEED_WITHOUT && f->op != PKG_NEED_OR)
		return err_new(m->e, ERR_UNSUPPORTED, "a formula that names one package holds a condition");
	if (++m->depth > 2 * PKG_NEED_DEPTH_MAX)
		return too_much(m);
	if (set_of(m, f->left, &x) < 0 || set_of(m, f->right, &y) < 0)
		return -1;
	m->depth--;
	*ret = f->op == PKG_NEED_OR ? unite(m->a, x, y) : narrow(m->a, x, y, f->op == PKG_NEED_WITH);
	return 0;
}

/* When a formula holds, as alternatives of what must be there: of each clause its `given` alone counts. */
static int when(struct making *m, const struct pkg_need *f, struct clauses *ret)
{
	struct clauses x, y;
	struct channel_set set;
	if (f->op != PKG_NEED_AND && f->op != PKG_NEED_OR) {
		if (set_of(m, f, &set) < 0)
			return -1;
		*ret = (struct clauses){arena_array(m->a, struct clause, 1), 1};
		ret->v[0] = (struct clause){.given = {set}, .given_n = 1};
		return 0;
	}
	if (++m->depth > 2 * PKG_NEED_DEPTH_MAX)
		return too_much(m);
	if (when(m, f->left, &x) < 0 || when(m, f->right, &y) < 0)
		return -1;
	m->depth--;
	return f->op == PKG_NEED_OR ? concat(m, x, y, ret) : multiply(m, x, y, ret);
}

static int clauses_of(struct making *m, const struct pkg_need *f, struct clauses *ret);

/* "a if b else c": a where b is; and one of c and b. */
static int clauses_of_if(struct making *m, const struct pkg_need *f, struct clauses *ret)
{
	struct clauses x, y, both;
	if (clauses_of(m, f->left, &x) < 0 || when(m, f->right, &y) < 0 || multiply(m, x, y, &both) < 0)
		return -1;
	*ret = both;
	if (!f->otherwise)
		return 0;
	const struct pkg_need or = {.op = PKG_NEED_OR, .left = f->otherwise, .right = f->right};
	return clauses_of(m, & or, &x) < 0 ? -1 : concat(m, both, x, ret);
}

static int clauses_of(struct making *m, const struct pkg_need *f, struct clauses *ret)
{
	struct clauses x, y;
	if (++m->depth > 2 * PKG_NEED_DEPTH_MAX)
		return too_much(m);
	int rc = 0;
	*ret = (struct clauses){0};
	switch (f->op) {
	case PKG_NEED_NAME:
	case PKG_NEED_WITH:
	case PKG_NEED_WITHOUT:
		*ret = (struct clauses){arena_array(m->a, struct clause, 1), 1};
		rc = set_of(m, f, &ret->v[0].one);
		break;
	case PKG_NEED_AND:
	case PKG_NEED_OR:
		rc = clauses_of(m, f->left, &x) < 0 || clauses_of(m, f->right, &y) < 0 ? -1
		     : f->op == PKG_NEED_AND					       ? concat(m, x, y, ret)
										       : multiply(m, x, y, ret);
		break;
	case PKG_NEED_IF:
		rc = clauses_of_if(m, f, ret);
		break;
	case PKG_NEED_UNLESS:
		rc = err_new(m->e, ERR_UNSUPPORTED, "'unless' is for conflicts alone");
		break;
	}
	m->depth--;
	return rc;
}

/* -- telling -------------------------------------------------------------------------------------------------------- */

int needs_tell_never(const struct pkg_need *formula, channel_need_fn *fn, void *ctx, struct err *e)
{
	const struct channel_need need = {.kind = CHANNEL_NEED, .formula = formula};
	return fn(ctx, &need, e);
}

static int tell_clause(const struct clause *c, enum channel_need_kind kind, const struct pkg_need *f,
		       channel_need_fn *fn, void *ctx, struct err *e)
{
	const struct channel_need need = {
		.kind = kind, .one = c->one, .given = c->given, .given_n = c->given_n, .formula = f};
	return fn(ctx, &need, e);
}

static int tell_clauses(struct clauses x, enum channel_need_kind kind, const struct pkg_need *f, channel_need_fn *fn,
			void *ctx, struct err *e)
{
	for (size_t i = 0; i < x.n; i++)
		if (tell_clause(&x.v[i], kind, f, fn, ctx, e) < 0)
			return -1;
	return 0;
}

/* A conjunction's parts each by themselves, so that messages name the part. Long ones lean to the left. */
int needs_tell(struct channel_needs *n, const struct pkg_need *f, enum channel_need_kind kind, channel_need_fn *fn,
	       void *ctx, struct err *e)
{
	VEC(const struct pkg_need *) parts = {0};
	int rc = 0;
	for (; f && f->op == PKG_NEED_AND; f = f->left)
		vec_push(&parts, f->right);
	if (f)
		vec_push(&parts, f);
	while (rc == 0 && parts.n) {
		auto_arena a = ARENA_INIT;
		struct err why = ERR_INIT;
		struct making m = {.n = n, .a = &a, .provided = true, .e = &why};
		struct clauses x;
		f = vec_pop(&parts);
		if (clauses_of(&m, f, &x) == 0)
			rc = tell_clauses(x, kind, f, fn, ctx, e);
		else if (kind == CHANNEL_NEED)
			rc = needs_tell_never(f, fn, ctx, e);
	}
	vec_release(&parts);
	return rc;
}

int needs_tell_names(struct channel_needs *n, const struct pkg_need *formula, channel_need_fn *fn, void *ctx,
		     struct err *e)
{
	VEC(const struct pkg_need *) left = {0};
	int rc = 0;
	if (formula)
		vec_push(&left, formula);
	while (rc == 0 && left.n) {
		auto_arena a = ARENA_INIT;
		const struct pkg_need *f = vec_pop(&left);
		struct channel_need wish = {.kind = CHANNEL_WISH, .formula = f};
		if (f->op == PKG_NEED_NAME) {
			wish.one = needs_find(n, &a, f, true);
			rc = fn(ctx, &wish, e);
			continue;
		}
		if (f->right)
			vec_push(&left, f->right);
		if (f->left)
			vec_push(&left, f->left);
	}
	vec_release(&left);
	return rc;
}

/* "a unless b else c" banned: where a is, b must be; where b is, c must not. */
static int ban_unless(struct making *m, const struct pkg_need *f, channel_need_fn *fn, void *ctx)
{
	struct clauses x, y, z;
	struct clause none = {0};
	if (when(m, f->left, &x) < 0 || clauses_of(m, f->right, &y) < 0 || multiply(m, y, x, &z) < 0 ||
	    tell_clauses(z, CHANNEL_NEED, f, fn, ctx, m->e) < 0)
		return -1;
	if (!f->otherwise)
		return 0;
	if (when(m, f->otherwise, &x) < 0 || when(m, f->right, &y) < 0 || multiply(m, x, y, &z) < 0 ||
	    multiply(m, (struct clauses){&none, 1}, z, &x) < 0)
		return -1;
	return tell_clauses(x, CHANNEL_NEED, f, fn, ctx, m->e);
}

static int ban(struct making *m, const struct pkg_need *f, uint32_t self, channel_need_fn *fn, void *ctx)
{
	struct clauses x;
	struct channel_set set;
	if (f->op == PKG_NEED_UNLESS)
		return ban_unless(m, f, fn, ctx);
	if (f->op == PKG_NEED_AND)
		return when(m, f, &x) < 0 ? -1 : tell_clauses(x, CHANNEL_NEED, f, fn, ctx, m->e);
	if (set_of(m, f, &set) < 0)
		return -1;
	uint32_t *v = arena_array(m->a, uint32_t, set.n + 1);
	struct clause c = {.one = {v, 0}};
	for (size_t i = 0; i < set.n; i++)
		if (self == UINT32_MAX || m->n->package.v[set.v[i]].c.first != m->n->package.v[self].c.first)
			v[c.one.n++] = set.v[i];
	return c.one.n ? tell_clause(&c, CHANNEL_BAN, f, fn, ctx, m->e) : 0;
}

int needs_tell_ban(struct channel_needs *n, const struct pkg_need *f, uint32_t self, bool provided, channel_need_fn *fn,
		   void *ctx, struct err *e)
{
	VEC(const struct pkg_need *) parts = {0};
	int rc = 0;
	for (; f && f->op == PKG_NEED_OR; f = f->left)
		vec_push(&parts, f->right);
	if (f)
		vec_push(&parts, f);
	while (rc == 0 && parts.n) {
		auto_arena a = ARENA_INIT;
		struct making m = {.n = n, .a = &a, .provided = provided, .e = e};
		rc = ban(&m, vec_pop(&parts), self, fn, ctx);
		if (rc < 0 && (e->code == ERR_LIMIT || e->code == ERR_UNSUPPORTED)) {
			*e = ERR_INIT; /* a ban that nobody can read forbids nothing */
			rc = 0;
		}
	}
	vec_release(&parts);
	return rc;
}

/* -- public --------------------------------------------------------------------------------------------------------- */

static struct channel_needs *needs_new(const struct channel_kind *k, const struct channel_needs_opts *o)
{
	struct channel_needs *n = xcalloc(1, k->needs->size);
	n->kind = k;
	n->ops = k->needs;
	n->weak = o->weak;
	n->platform = arena_str(&n->arena, o->platform.n ? o->platform : k->needs->host());
	return n;
}

int channel_needs_open(const struct channel_kind *k, int folder_fd, const struct channel_walk_opts *from,
		       const struct channel_needs_opts *o, struct channel_needs **ret, struct err *e)
{
	if (!k->needs)
		return err_new(e, ERR_USAGE, "what packages of a %s channel need is not told by its metadata", k->name);
	auto_ptr(channel_needs) n = needs_new(k, o);
	if (k->needs->open(n, folder_fd, from, o, e) < 0)
		return -1;
	*ret = steal_ptr(&n);
	return 0;
}

int channel_needs_open_opam(struct opam_index *const *v, size_t count, const struct channel_needs_opts *o,
			    struct channel_needs **ret, struct err *e)
{
	auto_ptr(channel_needs) n = needs_new(channel_kind(STR("opam")), o);
	if (opam_needs_fill(n, (const struct opam_index *const *)v, count, o, e) < 0)
		return -1;
	*ret = steal_ptr(&n);
	return 0;
}

uint32_t channel_needs_count(const struct channel_needs *n)
{
	return (uint32_t)n->package.n;
}

const struct channel_candidate *channel_needs_candidate(const struct channel_needs *n, uint32_t package)
{
	return &n->package.v[package].c;
}

struct str channel_needs_platform(const struct channel_needs *n)
{
	return n->platform;
}

struct asking {
	channel_need_fn *fn;
	void *ctx;
	size_t found;
};

static int asked(void *ctx, const struct channel_need *need, struct err *e)
{
	struct asking *a = ctx;
	a->found += need->one.n;
	return a->fn(a->ctx, need, e);
}

int channel_needs_ask(struct channel_needs *n, struct str text, channel_need_fn *fn, void *ctx, struct err *e)
{
	const struct pkg_need *f;
	struct asking a = {fn, ctx, 0};
	if (n->ops->parse(n, &n->arena, arena_str(&n->arena, text), &f, e) < 0 ||
	    needs_tell(n, f, CHANNEL_NEED, asked, &a, e) < 0)
		return -1;
	return a.found ? 0
		       : err_new(e, ERR_NOT_FOUND, "there is nothing for '%.*s' on %.*s", STR_ARG(text),
				 STR_ARG(n->platform));
}

int channel_needs_tell(struct channel_needs *n, uint32_t package, channel_need_fn *fn, void *ctx, struct err *e)
{
	return n->ops->tell(n, package, fn, ctx, e);
}

int channel_needs_files(struct channel_needs *n, uint32_t package, channel_item_fn *fn, void *ctx, struct err *e)
{
	return n->ops->files(n, package, fn, ctx, e);
}

bool channel_needs_is_available(struct channel_needs *n, uint32_t package)
{
	return !n->ops->is_available || n->ops->is_available(n, package);
}

struct str channel_needs_unavailable(struct channel_needs *n, uint32_t package, struct buf *b)
{
	return n->ops->unavailable ? n->ops->unavailable(n, package, b) : STR_NONE;
}

bool channel_needs_lacks_system(struct channel_needs *n, uint32_t package)
{
	return n->ops->lacks_system && n->ops->lacks_system(n, package);
}

int channel_needs_messages(struct channel_needs *n, uint32_t package, struct arena *a, const struct str **ret,
			   size_t *ret_n, struct err *e)
{
	*ret_n = 0;
	return n->ops->messages ? n->ops->messages(n, package, a, ret, ret_n, e) : 0;
}

int channel_needs_order(struct channel_needs *n, uint32_t package, bool building, channel_need_fn *fn, void *ctx,
			struct err *e)
{
	return n->ops->order ? n->ops->order(n, package, building, fn, ctx, e) : 0;
}

int channel_needs_mentions(struct channel_needs *n, const struct str *names, size_t names_n, channel_mention_fn *fn,
			   void *ctx, struct err *e)
{
	return n->ops->mentions ? n->ops->mentions(n, names, names_n, fn, ctx, e) : 0;
}

struct str channel_needs_key(const struct channel_kind *k, struct arena *a, const struct channel_item *item)
{
	return k->needs == &opam_needs
		       ? str_c(arena_printf(a, "%.*s.%.*s", STR_ARG(item->name), STR_ARG(item->version)))
		       : item->path;
}

struct str channel_needs_host(const struct channel_kind *k)
{
	return k->needs ? k->needs->host() : STR_NONE;
}

void channel_needs_free(struct channel_needs *n)
{
	if (!n)
		return;
	if (n->ops->release)
		n->ops->release(n);
	vec_release(&n->package);
	vec_release(&n->provided);
	vec_release(&n->number);
	map_release(&n->by_name);
	map_release(&n->by_provided);
	arena_release(&n->arena);
	free(n);
}
