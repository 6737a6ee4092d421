// SPDX-License-Identifier: Apache-2.0
#include "solve/why_not.h"

#include <stdlib.h>

#include "base/map.h"
#include "base/vec.h"
#include "pkg/pkg.h"

enum { CONFLICTS_MAX = 8, LINKS_MAX = 40, NODES_MAX = 4000, TEXT_MAX = 2000, NONE = UINT32_MAX };

/* Links by the same names from the same link: what any of their needs allows. */
struct link {
	uint32_t parent, depth;
	uint32_t from;		     /* WHY_ASKED, WHY_INVARIANT: where the chain begins */
	struct str name;	     /* of its packages; what is missing */
	VEC(uint32_t) set;	     /* packages, ascending, each once */
	const struct pkg_need *lack; /* of these there are none */
};
struct telling {
	struct channel_needs *needs;
	struct arena *a;
	struct why_edge *edge; /* by owner */
	size_t edges;
	VEC(struct link) link;
	struct map by_names; /* "parent names" → 1 + link */
	uint32_t *reached;   /* by package: the first link that allows it */
	uint8_t *told;	     /* by edge */
	VEC(struct solve_conflict) conflict;
};

static const struct channel_candidate *candidate(const struct telling *t, uint32_t package)
{
	return channel_needs_candidate(t->needs, package);
}

/* -- links ---------------------------------------------------------------------------------------------------------------- */

static int by_owner(const void *a, const void *b)
{
	const struct why_edge *x = a, *y = b;
	return (x->owner > y->owner) - (x->owner < y->owner);
}

static size_t first_of(const struct telling *t, uint32_t owner)
{
	size_t low = 0, high = t->edges;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (t->edge[mid].owner < owner)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static void put_lack(const struct pkg_need *f, struct buf *b)
{
	static const char *const words[] = {[PKG_EXACTLY] = "=", [PKG_OTHER] = "!=", [PKG_BELOW] = "<",
					    [PKG_UP_TO] = "<=",	 [PKG_ABOVE] = ">",  [PKG_FROM] = ">="};
	if (f && f->op == PKG_NEED_NAME && f->range && f->range->op < PKG_BOTH && words[f->range->op])
		buf_printf(b, "%.*s %s %.*s", STR_ARG(f->name), words[f->range->op], STR_ARG(f->range->version));
	else if (f)
		pkg_need_format(f, b);
}

/* The part of an edge that begins at v[i]: packages of one name. */
static struct why_edge part_of(const struct telling *t, const struct why_edge *e, size_t i)
{
	struct why_edge part = *e;
	part.v = e->v + i;
	for (part.n = 0; i + part.n < e->n && candidate(t, part.v[part.n])->first == candidate(t, part.v[0])->first;)
		part.n++;
	return part;
}

static uint32_t link_for(struct telling *t, const struct why_edge *e, uint32_t parent)
{
	auto_buf name = BUF_INIT(TEXT_MAX);
	auto_buf key = BUF_INIT(2 * TEXT_MAX);
	if (e->n)
		buf_put_str(&name, candidate(t, e->v[0])->name);
	else
		put_lack(e->formula, &name);
	uint32_t from = parent == NONE ? e->owner : t->link.v[parent].from;
	buf_printf(&key, "%u %u %.*s", parent, from, (int)name.n, name.n ? name.p : "");
	struct str known = arena_str(t->a, buf_str(&key));
	uint64_t *place = map_get(&t->by_names, known);
	if (place)
		return (uint32_t)*place - 1;
	struct link *l = vec_add(&t->link);
	*l = (struct link){.parent = parent,
			   .depth = parent == NONE ? 1 : t->link.v[parent].depth + 1,
			   .from = from,
			   .name = arena_str(t->a, buf_str(&name)),
			   .lack = e->n ? NULL : e->formula};
	*map_put(&t->by_names, known) = t->link.n;
	return (uint32_t)t->link.n - 1;
}

static void allow(struct link *l, const struct why_edge *e)
{
	for (size_t i = 0; i < e->n; i++)
		vec_push(&l->set, e->v[i]);
	vec_sort(&l->set, by_number);
	size_t kept = 0;
	for (size_t i = 0; i < l->set.n; i++)
		if (!kept || l->set.v[kept - 1] != l->set.v[i])
			l->set.v[kept++] = l->set.v[i];
	l->set.n = kept;
}

/* From what was asked for to what is needed because of it. */
static void follow(struct telling *t)
{
	VEC(uint32_t) todo = {0}; /* packages that were reached */
	const uint32_t roots[] = {WHY_INVARIANT, WHY_ASKED};
	size_t done = 0;
	for (size_t r = 0; r < 2; r++)
		vec_push(&todo, roots[r]);
	while (done < todo.n && t->link.n < NODES_MAX) {
		uint32_t owner = todo.v[done++], parent = owner >= WHY_INVARIANT ? NONE : t->reached[owner];
		for (size_t i = first_of(t, owner); i < t->edges && t->edge[i].owner == owner; i++) {
			const struct why_edge *e = &t->edge[i];
			if (e->ban || (!e->n && !e->formula) ||
			    (parent != NONE && t->link.v[parent].depth >= LINKS_MAX))
				continue;
			struct why_edge part = *e;
			for (size_t at = 0; at == 0 || at < e->n; at += part.n) {
				part = e->n ? part_of(t, e, at) : *e;
				uint32_t link = link_for(t, &part, parent);
				allow(&t->link.v[link], &part);
				for (size_t k = 0; k < part.n; k++)
					if (t->reached[part.v[k]] == NONE) {
						t->reached[part.v[k]] = link;
						vec_push(&todo, part.v[k]);
					}
				if (!part.n)
					break;
			}
		}
	}
	vec_release(&todo);
}

/* -- words ------------------------------------------------------------------------------------------------------------------ */

static int by_version(const void *a, const void *b, void *ctx)
{
	const struct telling *t = ctx;
	struct str x = candidate(t, *(const uint32_t *)a)->version, y = candidate(t, *(const uint32_t *)b)->version;
	int c = pkg_opam_version_cmp(x, y);
	return c ? c : str_cmp(x, y);
}

static bool is_in(const struct link *l, uint32_t package)
{
	return l->set.n && bsearch(&package, l->set.v, l->set.n, sizeof(package), by_number) != NULL;
}

/* The versions of a name that a link allows, among all that there are: "lib", "lib >= 2", "lib (= 1 | >= 3)". */
static void put_versions(struct telling *t, const struct link *l, uint32_t first, struct buf *b)
{
	uint32_t n = candidate(t, first)->n;
	uint32_t *v = arena_array(t->a, uint32_t, n);
	auto_buf ranges = BUF_INIT(TEXT_MAX);
	unsigned count = 0;
	bool joined = false;
	for (uint32_t i = 0; i < n; i++)
		v[i] = first + i;
	qsort_r(v, n, sizeof(*v), by_version, t);
	for (uint32_t i = 0, k; i < n; i = k + 1) {
		for (k = i; k < n && is_in(l, v[k]); k++)
			;
		if (k == i)
			continue;
		const char *sep = count++ ? " | " : "";
		struct str low = candidate(t, v[i])->version, end = k < n ? candidate(t, v[k])->version : STR_NONE;
		if (i == 0 && k == n)
			continue;
		if (i == 0)
			buf_printf(&ranges, "%s< %.*s", sep, STR_ARG(end));
		else if (k == n)
			buf_printf(&ranges, "%s>= %.*s", sep, STR_ARG(low));
		else if (k == i + 1)
			buf_printf(&ranges, "%s= %.*s", sep, STR_ARG(low));
		else
			buf_printf(&ranges, "%s>= %.*s & < %.*s", sep, STR_ARG(low), STR_ARG(end));
		joined |= i > 0 && k < n && k > i + 1;
	}
	joined |= count > 1;
	buf_put_str(b, candidate(t, first)->name);
	if (ranges.n)
		buf_printf(b, joined ? " (%.*s)" : " %.*s", (int)ranges.n, ranges.p);
}

static struct str link_text(struct telling *t, const struct link *l)
{
	auto_buf b = BUF_INIT(2 * TEXT_MAX);
	if (!l->set.n)
		return l->name;
	put_versions(t, l, candidate(t, l->set.v[0])->first, &b);
	return arena_str(t->a, buf_str(&b));
}

static struct solve_chain chain_of(struct telling *t, uint32_t link)
{
	struct solve_chain c = {.invariant = t->link.v[link].from == WHY_INVARIANT, .n = t->link.v[link].depth};
	struct str *v = arena_array(t->a, struct str, c.n);
	for (size_t i = c.n; i-- > 0; link = t->link.v[link].parent)
		v[i] = link_text(t, &t->link.v[link]);
	c.link = v;
	return c;
}

/* -- what is in the way ------------------------------------------------------------------------------------------------------ */

static struct solve_conflict *add_conflict(struct telling *t, enum solve_conflict_kind kind, struct str name)
{
	if (t->conflict.n == CONFLICTS_MAX)
		return NULL;
	struct solve_conflict *c = vec_add(&t->conflict);
	*c = (struct solve_conflict){.kind = kind, .name = name};
	return c;
}

static void add_pair(struct telling *t, enum solve_conflict_kind kind, struct str name, uint32_t one, uint32_t other)
{
	struct solve_conflict *c = add_conflict(t, kind, name);
	if (!c)
		return;
	c->chain[0] = chain_of(t, one);
	c->chain[1] = chain_of(t, other);
	c->chains = 2;
}

/* The name of a link, by its first package; NONE: there is none. */
static uint32_t name_of(const struct telling *t, const struct link *l)
{
	return l->set.n ? candidate(t, l->set.v[0])->first : NONE;
}

static bool meet(const struct link *a, const struct link *b)
{
	for (size_t i = 0, k = 0; i < a->set.n && k < b->set.n;) {
		if (a->set.v[i] == b->set.v[k])
			return true;
		if (a->set.v[i] < b->set.v[k])
			i++;
		else
			k++;
	}
	return false;
}

/* Two chains that want different versions of one name: for each name the two that are shortest together. */
static void find_disagreements(struct telling *t)
{
	auto_free uint8_t *told = xcalloc((size_t)channel_needs_count(t->needs) + 1, 1);
	for (;;) {
		uint32_t best = NONE, one = 0, other = 0;
		for (uint32_t i = 0; i < t->link.n; i++) {
			uint32_t name = name_of(t, &t->link.v[i]);
			if (name == NONE || told[name])
				continue;
			for (uint32_t k = i + 1; k < t->link.n; k++)
				if (name_of(t, &t->link.v[k]) == name && !meet(&t->link.v[i], &t->link.v[k]) &&
				    t->link.v[i].depth + t->link.v[k].depth < best) {
					best = t->link.v[i].depth + t->link.v[k].depth;
					one = i;
					other = k;
				}
		}
		if (best == NONE || t->conflict.n == CONFLICTS_MAX)
			return;
		uint32_t name = name_of(t, &t->link.v[one]);
		told[name] = 1;
		add_pair(t, SOLVE_DISAGREE, candidate(t, name)->name, one, other);
	}
}

/* A package of one chain bans all that another chain would take. */
static void find_bans(struct telling *t)
{
	struct map told = MAP_INIT;
	for (size_t i = 0; i < t->edges; i++) {
		const struct why_edge *e = &t->edge[i];
		if (!e->ban || (e->owner < WHY_INVARIANT && t->reached[e->owner] == NONE))
			continue;
		for (size_t k = 0; k < e->n; k++) {
			uint32_t other = t->reached[e->v[k]],
				 one = e->owner < WHY_INVARIANT ? t->reached[e->owner] : other;
			if (other == NONE || (one == other && e->owner < WHY_INVARIANT))
				continue;
			uint32_t low = one < other ? one : other, high = one < other ? other : one;
			struct str key = str_c(arena_printf(t->a, "%u %u", low, high));
			if (!map_get(&told, key)) {
				*map_put(&told, key) = 1;
				add_pair(t, SOLVE_INCOMPATIBLE, STR_NONE, one, other);
			}
		}
	}
	map_release(&told);
}

/* Why nothing fits: the name is not known, no version fits, or those that do cannot be had here. */
static bool find_lack(struct telling *t, const struct link *l, struct solve_conflict *c)
{
	uint32_t count = channel_needs_count(t->needs);
	if (!l->set.n) {
		c->lack = SOLVE_LACK_NAME;
		for (uint32_t i = 0; i < count && l->lack && l->lack->op == PKG_NEED_NAME; i += candidate(t, i)->n)
			if (str_eq(candidate(t, i)->name, l->lack->name))
				c->lack = SOLVE_LACK_VERSION;
		return true;
	}
	for (size_t i = 0; i < l->set.n; i++)
		if (candidate(t, l->set.v[i])->installed || channel_needs_is_available(t->needs, l->set.v[i]))
			return false;
	uint32_t best = l->set.v[0];
	for (size_t i = 1; i < l->set.n; i++)
		if (by_version(&l->set.v[i], &best, t) > 0)
			best = l->set.v[i];
	c->lack = SOLVE_LACK_HERE;
	c->several = l->set.n > 1;
	auto_buf b = BUF_INIT(TEXT_MAX);
	c->pinned = channel_needs_unavailable(t->needs, best, &b);
	c->available = arena_str(t->a, buf_str(&b));
	return true;
}

static void find_lacks(struct telling *t)
{
	for (uint32_t i = 0; i < t->link.n; i++) {
		struct solve_conflict found = {.kind = SOLVE_MISSING};
		if (!find_lack(t, &t->link.v[i], &found))
			continue;
		struct solve_conflict *c = add_conflict(t, SOLVE_MISSING, STR_NONE);
		if (!c)
			return;
		*c = found;
		c->chain[0] = chain_of(t, i);
		c->chains = 1;
	}
}

/* Where the invariant by itself asks for what cannot be had, nothing else of it matters. */
static void drop_behind_lacks(struct telling *t)
{
	bool lacks = false;
	size_t n = 0;
	vec_foreach(c, &t->conflict)
		lacks |= c->kind == SOLVE_MISSING && c->chain[0].invariant;
	for (size_t i = 0; lacks && i < t->conflict.n; i++) {
		const struct solve_conflict *c = &t->conflict.v[i];
		if (c->kind == SOLVE_MISSING || !(c->chain[0].invariant || c->chain[1].invariant))
			t->conflict.v[n++] = *c;
	}
	if (lacks)
		t->conflict.n = n;
}

/* -- telling ------------------------------------------------------------------------------------------------------------------ */

/* "app needs lib >= 2, which needs comp >= 3" */
static void put_needs(const struct solve_chain *c, struct buf *b)
{
	if (c->invariant)
		buf_put_c(b, c->n > 1 ? "the invariant asks for " : "");
	for (size_t i = 0; i < c->n; i++)
		buf_printf(b, "%s%.*s", i == 0 ? "" : i == 1 ? " needs " : ", which needs ", STR_ARG(c->link[i]));
	if (c->n == 1)
		buf_put_c(b, c->invariant ? " is the invariant" : " was asked for");
}

static void put_lack_of(const struct solve_conflict *c, struct buf *b)
{
	struct str last = c->chain[0].link[c->chain[0].n - 1];
	if (c->lack == SOLVE_LACK_NAME)
		buf_printf(b, ", but there is no package '%.*s'", STR_ARG(last));
	else if (c->lack == SOLVE_LACK_VERSION)
		buf_put_c(b, ", but there is no such version");
	else if (c->pinned.n)
		buf_printf(b, ", but it is pinned to %.*s", STR_ARG(c->pinned));
	else
		buf_printf(b, ", which is not available here: %s%.*s", c->several ? "its newest wants " : "it wants ",
			   STR_ARG(c->available.n ? c->available : STR("what cannot be read")));
}

static struct str end_of(const struct solve_chain *c)
{
	return c->link[c->n - 1];
}

static struct str say(struct telling *t, const struct solve_conflict *c)
{
	auto_buf b = BUF_INIT(16 * TEXT_MAX);
	if (c->kind == SOLVE_INCOMPATIBLE)
		buf_printf(&b, "%.*s cannot be with %.*s: ", STR_ARG(end_of(&c->chain[0])),
			   STR_ARG(end_of(&c->chain[1])));
	put_needs(&c->chain[0], &b);
	if (c->kind == SOLVE_MISSING)
		put_lack_of(c, &b);
	else {
		buf_put_c(&b, c->kind == SOLVE_DISAGREE ? ", but " : ", and ");
		put_needs(&c->chain[1], &b);
	}
	return arena_str(t->a, buf_str(&b));
}

static void put_chain(const struct solve_chain *c, struct buf *b)
{
	buf_printf(b, "\n    - %s", c->invariant ? "(invariant) -> " : "");
	for (size_t i = 0; i < c->n; i++)
		buf_printf(b, "%s%.*s", i ? " -> " : "", STR_ARG(c->link[i]));
}

/* opam sorts them as texts. Of what was asked for and lacks something itself, it names only what it lacks. */
static void put_chains(const struct solve_conflict *c, struct buf *b)
{
	struct buf text[2] = {BUF_INIT(16 * TEXT_MAX), BUF_INIT(16 * TEXT_MAX)};
	for (size_t i = 0; i < c->chains; i++) {
		struct solve_chain chain = c->chain[i];
		if (c->kind == SOLVE_MISSING && chain.n + chain.invariant == 2) {
			chain.link += !chain.invariant;
			chain.n -= !chain.invariant;
			chain.invariant = false;
		}
		put_chain(&chain, &text[i]);
	}
	bool turned = str_cmp(buf_str(&text[1]), buf_str(&text[0])) < 0;
	for (size_t i = 0; i < c->chains; i++)
		buf_put_str(b, buf_str(&text[c->chains == 2 && turned ? 1 - i : i]));
	buf_release(&text[0]);
	buf_release(&text[1]);
}

void solve_conflict_in_opam(const struct solve_conflict *c, bool first_of_invariant, struct buf *b)
{
	if (c->kind == SOLVE_DISAGREE)
		buf_printf(b, "No agreement on the version of %.*s:", STR_ARG(c->name));
	else
		buf_put_c(b, c->kind == SOLVE_MISSING ? "Missing dependency:" : "Incompatible packages:");
	put_chains(c, b);
	if (c->kind != SOLVE_MISSING) {
		if (first_of_invariant && (c->chain[0].invariant || c->chain[1].invariant))
			buf_put_c(b, "\n    You can temporarily relax the switch invariant with `--update-invariant'");
		return;
	}
	if (c->lack == SOLVE_LACK_NAME)
		buf_put_c(b, "\n    unknown package");
	else if (c->lack == SOLVE_LACK_VERSION)
		buf_put_c(b, "\n    no matching version");
	else if (c->pinned.n)
		buf_printf(b, "\n    not available because the package is pinned to version %.*s", STR_ARG(c->pinned));
	else
		buf_printf(b, "\n    unmet availability conditions%s'%.*s'", c->several ? ", e.g. " : ": ",
			   STR_ARG(c->available));
}

static void release(struct telling *t)
{
	vec_foreach(l, &t->link)
		vec_release(&l->set);
	vec_release(&t->link);
	map_release(&t->by_names);
	free(t->reached);
	vec_release(&t->conflict);
}

void why_not(struct channel_needs *needs, struct why_edge *edge, size_t n, struct arena *a,
	     struct solve_needs_result *ret)
{
	size_t count = channel_needs_count(needs);
	cleanup_with(
		release) struct telling t = {.needs = needs, .a = a, .edge = edge, .edges = n, .by_names = MAP_INIT};
	t.reached = xreallocarray(NULL, count + 1, sizeof(*t.reached));
	memset(t.reached, 0xff, (count + 1) * sizeof(*t.reached));
	if (n)
		qsort(edge, n, sizeof(*edge), by_owner);
	follow(&t);
	find_disagreements(&t);
	find_bans(&t);
	find_lacks(&t);
	drop_behind_lacks(&t);
	struct str *why = arena_array(a, struct str, t.conflict.n + 1);
	for (size_t i = 0; i < t.conflict.n; i++)
		why[i] = say(&t, &t.conflict.v[i]);
	ret->conflicts_n = t.conflict.n;
	ret->conflict = vec_copy(&t.conflict, a);
	ret->why = why;
	ret->why_n = t.conflict.n;
}
