// SPDX-License-Identifier: Apache-2.0
/* What an upgrade asks for, and what opam says where there is nothing to upgrade. */
#include <stdlib.h>

#include "base/map.h"
#include "cmd/opam_plan.h"

/* -- what it asks for --------------------------------------------------------------------------------------------------- */

struct newer {
	struct channel_needs *needs;
	bool had, avoided; /* avoided: what is to be avoided will do, too */
};

static int find_newer(void *ctx, const struct channel_need *need, struct err *e)
{
	struct newer *n = ctx;
	(void)e;
	for (size_t i = 0; i < need->one.n; i++)
		n->had |= (n->avoided || !channel_needs_candidate(n->needs, need->one.v[i])->avoided) &&
			  channel_needs_is_available(n->needs, need->one.v[i]);
	return 0;
}

static bool can_be_had(struct channel_needs *needs, const char *asked, bool avoided)
{
	struct newer n = {.needs = needs, .avoided = avoided};
	struct err ignored = ERR_INIT; /* no such version */
	return channel_needs_ask(needs, str_c(asked), find_newer, &n, &ignored) == 0 && n.had;
}

struct str opam_plan_newer(struct channel_needs *needs, struct str name, struct str installed, bool strictly,
			   struct arena *a)
{
	const char *newer = arena_printf(a, "%.*s>%.*s", STR_ARG(name), STR_ARG(installed));
	const char *other = arena_printf(a, "%.*s!=%.*s", STR_ARG(name), STR_ARG(installed));
	const char *same = arena_printf(a, "%.*s=%.*s", STR_ARG(name), STR_ARG(installed));
	if (strictly && can_be_had(needs, newer, false))
		return str_c(newer);
	if (can_be_had(needs, same, true))
		return str_c(arena_printf(a, "%.*s>=%.*s", STR_ARG(name), STR_ARG(installed)));
	/* it is pinned to another, or no repository has it any more: it does not stay, where there is another */
	return can_be_had(needs, other, true) ? str_c(other) : name;
}

/* -- what is not upgraded, and why --------------------------------------------------------------------------------------- */

struct latest {
	struct str name;
	uint32_t package;
};
struct late { /* the newest version of something that is installed in another */
	uint32_t package;
	bool available;
	VEC(char *) why;
};
struct looking {
	struct channel_needs *needs;
	struct arena a;
	VEC(struct latest) latest; /* by name */
	VEC(struct late) late;
	uint32_t teller; /* whose formulas are being read */
	struct map seen; /* formulas, by their address */
};

static const struct channel_candidate *candidate(const struct looking *l, uint32_t package)
{
	return channel_needs_candidate(l->needs, package);
}

static void put_range(const struct pkg_range *r, bool inner, unsigned depth, struct buf *b)
{
	static const char *const words[] = {"<", "<=", "=", "!=", ">=", ">"};
	if (depth > PKG_NEED_DEPTH_MAX)
		return;
	if (r->op < PKG_BOTH) {
		buf_printf(b, "%s %.*s", words[r->op], STR_ARG(r->version));
		return;
	}
	bool brackets = r->op == PKG_EITHER || !inner;
	buf_put_c(b, brackets ? "(" : "");
	put_range(r->left, r->op == PKG_BOTH || r->left->op == PKG_EITHER, depth + 1, b);
	buf_put_c(b, r->op == PKG_BOTH ? " & " : " | ");
	put_range(r->right, r->op == PKG_BOTH || r->right->op == PKG_EITHER, depth + 1, b);
	buf_put_c(b, brackets ? ")" : "");
}

void opam_plan_formula(const struct pkg_need *need, struct buf *b)
{
	VEC(const struct pkg_need *) left = {0};
	const char *between = "";
	vec_push(&left, need);
	while (left.n) {
		const struct pkg_need *n = vec_pop(&left);
		if (n->op == PKG_NEED_NAME) {
			buf_printf(b, "%s%.*s%s", between, STR_ARG(n->name), n->range ? " " : "");
			if (n->range)
				put_range(n->range, false, 0, b);
			between = need->op == PKG_NEED_AND ? " & " : " | ";
		}
		if (n->right)
			vec_push(&left, n->right);
		if (n->left)
			vec_push(&left, n->left);
	}
	vec_release(&left);
}

/* A name in a formula of l->teller: whether it is what keeps a late one out. */
static void look_at_name(struct looking *l, const struct pkg_need *n, bool bans)
{
	struct str key = str_of((const char *)&n, sizeof(n)), teller = candidate(l, l->teller)->name;
	if ((!n->range && !bans) || map_get(&l->seen, key))
		return;
	*map_put(&l->seen, arena_str(&l->a, key)) = 1;
	vec_foreach(late, &l->late) {
		const struct channel_candidate *c = candidate(l, late->package);
		if (!str_eq(c->name, n->name) || str_eq(c->name, teller) ||
		    pkg_range_has(n->range, c->version, pkg_opam_version_cmp) != bans)
			continue;
		auto_buf b = BUF_INIT(1 << 16);
		buf_printf(&b, "    -- %.*s.%.*s is installed and %s %.*s%s", STR_ARG(teller),
			   STR_ARG(candidate(l, l->teller)->version), bans ? "conflicts with" : "requires",
			   STR_ARG(n->name), n->range ? " " : "");
		if (n->range)
			put_range(n->range, false, 0, &b);
		vec_push(&late->why, arena_strdup(&l->a, buf_str(&b)));
	}
}

static int look_at(void *ctx, const struct channel_need *need, struct err *e)
{
	struct looking *l = ctx;
	VEC(const struct pkg_need *) left = {0};
	(void)e;
	if (need->formula)
		vec_push(&left, need->formula);
	while (left.n) {
		const struct pkg_need *n = vec_pop(&left);
		if (n->op == PKG_NEED_NAME)
			look_at_name(l, n, need->kind == CHANNEL_BAN);
		if (n->right)
			vec_push(&left, n->right);
		if (n->left)
			vec_push(&left, n->left);
	}
	vec_release(&left);
	return 0;
}

/* The newest version of a package's name; as later opams have it, what is to be avoided does not count. */
static uint32_t newest(const struct looking *l, uint32_t installed, bool old)
{
	const struct channel_candidate *c = candidate(l, installed);
	uint32_t best = installed;
	for (uint32_t i = c->first; i < c->first + c->n; i++)
		if ((old || !candidate(l, i)->avoided) &&
		    pkg_opam_version_cmp(candidate(l, i)->version, candidate(l, best)->version) > 0)
			best = i;
	return best;
}

/* Names as opam sorts them: whatever the case of letters, first. */
static int by_name(const void *x, const void *y)
{
	const struct latest *a = x, *b = y;
	int c = str_casecmp(a->name, b->name);
	return c ? c : str_cmp(a->name, b->name);
}

static void find_late(struct looking *l, const struct str *names, size_t n, bool old)
{
	struct map wanted = MAP_INIT;
	for (size_t i = 0; i < n; i++)
		*map_put(&wanted, names[i]) = 1;
	for (uint32_t i = 0; i < channel_needs_count(l->needs); i++)
		if (candidate(l, i)->installed && (!n || map_get(&wanted, candidate(l, i)->name)))
			vec_push(&l->latest, ((struct latest){candidate(l, i)->name, newest(l, i, old)}));
	vec_sort(&l->latest, by_name);
	vec_foreach(p, &l->latest)
		if (!candidate(l, p->package)->installed)
			vec_push(&l->late,
				 ((struct late){p->package, channel_needs_is_available(l->needs, p->package), {0}}));
	map_release(&wanted);
}

static void find_reasons(struct looking *l)
{
	struct err ignored = ERR_INIT; /* what cannot be told is no reason */
	vec_foreach(p, &l->latest) {
		l->teller = p->package;
		if (channel_needs_is_available(l->needs, p->package) || candidate(l, p->package)->installed)
			(void)channel_needs_tell(l->needs, p->package, look_at, l, &ignored);
	}
}

static void put_unavailable(const struct looking *l, struct buf *b)
{
	buf_put_c(b, "Everything as up-to-date as possible.\nThe following newer versions couldn't be installed:\n");
	vec_foreach(x, &l->late) {
		auto_buf filter = BUF_INIT(1 << 16);
		const struct channel_candidate *c = candidate(l, x->package);
		if (x->available)
			continue;
		struct str pinned = channel_needs_unavailable(l->needs, x->package, &filter);
		buf_printf(b, "  - %.*s.%.*s: ", STR_ARG(c->name), STR_ARG(c->version));
		if (pinned.n)
			buf_printf(b, "not available because the package is pinned to version %.*s\n", STR_ARG(pinned));
		else
			buf_printf(b, "unmet availability conditions: '%s'\n", filter.n ? filter.p : "");
	}
}

static bool is_base(struct str name, const struct str *base, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(base[i], name))
			return true;
	return false;
}

static void put_late(const struct looking *l, const struct str *base, size_t base_n, bool old, bool verbose,
		     struct buf *b)
{
	bool unavailable = false, headed = false;
	vec_foreach(x, &l->late)
		unavailable |= !x->available;
	if (unavailable && verbose)
		put_unavailable(l, b);
	else
		buf_printf(b, "Everything as up-to-date as possible%s\n",
			   old || unavailable ? " (run with --verbose to show unavailable upgrades)." : "");
	vec_foreach(x, &l->late) {
		const struct channel_candidate *c = candidate(l, x->package);
		if (!x->available || is_base(c->name, base, base_n))
			continue;
		if (!headed)
			buf_put_c(
				b,
				"\nThe following packages are not being upgraded because the new versions conflict with "
				"other installed packages:\n");
		headed = true;
		buf_printf(b, "  - %.*s.%.*s\n", STR_ARG(c->name), STR_ARG(c->version));
		vec_foreach(why, &x->why)
			buf_printf(b, "%s\n", *why);
	}
	const struct channel_candidate *first = candidate(l, l->late.v[0].package);
	buf_put_c(b, "However, you may \"opam upgrade\" these packages explicitly");
	if (!old)
		buf_printf(b, " at these versions (e.g. \"opam upgrade %.*s.%.*s\")", STR_ARG(first->name),
			   STR_ARG(first->version));
	buf_put_c(b, ", which will ask permission to downgrade or uninstall the conflicting packages.\n");
}

void opam_plan_up_to_date(struct channel_needs *needs, const struct str *names, size_t n, const struct str *base,
			  size_t base_n, bool old, bool verbose, struct buf *b)
{
	struct looking l = {.needs = needs, .a = ARENA_INIT, .seen = MAP_INIT};
	find_late(&l, names, n, old);
	if (l.late.n) {
		find_reasons(&l);
		put_late(&l, base, base_n, old, verbose, b);
	} else {
		buf_put_c(b, "Already up-to-date.\n");
	}
	vec_foreach(x, &l.late)
		vec_release(&x->why);
	vec_release(&l.late);
	vec_release(&l.latest);
	map_release(&l.seen);
	arena_release(&l.a);
}
