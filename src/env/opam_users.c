// SPDX-License-Identifier: Apache-2.0
/* What of an opam switch's packages uses what, and what that means for those that go or are built anew (env/env.h). */
#include "base/map.h"
#include "env/opam.h"

/* == formulas ============================================================================================================ */

/* It uses one of those that are gone (of v, by 1 + number); as in opam, that something else would do in its place does not count. */
static bool uses_gone(const struct pkg_need *n, const struct env_opam_member *v, const struct map *gone, unsigned depth)
{
	if (!n || depth > PKG_NEED_DEPTH_MAX)
		return false;
	if (n->op == PKG_NEED_NAME) {
		const uint64_t *at = map_get(gone, n->name);
		return at && pkg_range_has(n->range, v[*at - 1].version, pkg_opam_version_cmp);
	}
	return uses_gone(n->left, v, gone, depth + 1) || uses_gone(n->right, v, gone, depth + 1);
}

static bool names_one(const struct pkg_need *n, const struct map *changed, unsigned depth)
{
	if (!n || depth > PKG_NEED_DEPTH_MAX)
		return false;
	if (n->op == PKG_NEED_NAME)
		return map_get(changed, n->name) != NULL;
	return names_one(n->left, changed, depth + 1) || names_one(n->right, changed, depth + 1);
}

struct numbers {
	const struct map *at;
	size_t *v, n, max;
};

/* Each once, however often it is named. */
static void add_number(struct numbers *l, struct str name)
{
	const uint64_t *at = map_get(l->at, name);
	for (size_t i = 0; at && i < l->n; i++)
		if (l->v[i] == (size_t)*at - 1)
			return;
	if (at && l->n < l->max)
		l->v[l->n++] = (size_t)*at - 1;
}

static void add_numbers(struct numbers *l, const struct pkg_need *n, unsigned depth)
{
	if (!n || depth > PKG_NEED_DEPTH_MAX)
		return;
	if (n->op == PKG_NEED_NAME) {
		add_number(l, n->name);
		return;
	}
	add_numbers(l, n->left, depth + 1);
	add_numbers(l, n->right, depth + 1);
}

/* == members ============================================================================================================= */

static int needs_of(struct env_opam_vars *vars, const struct env_opam_member *m, const struct pkg_opam_expr *x,
		    bool all, struct arena *a, const struct pkg_need **ret, struct err *e)
{
	static const struct env_opam_local said[] = {{STR("build"), STR("true")}, {STR("post"), STR("true")}};
	struct pkg_opam_host h = env_opam_host(vars, m->name, m->version, m->opam->file, said, all ? 2 : 0);
	*ret = NULL;
	return x ? pkg_opam_need_of(a, x, &h, ret, e) : 0;
}

int env_opam_installed_package(struct env_opam_switch *s, struct arena *a, struct str nv, const struct pkg_opam **ret,
			       struct err *e)
{
	struct pkg_opam_doc *d = arena_new(a, struct pkg_opam_doc);
	struct pkg_opam *opam = arena_new(a, struct pkg_opam);
	struct err why = ERR_INIT;
	if (env_opam_installed_file(s, a, nv, d, &why) < 0 && why.code != ERR_NOT_FOUND)
		return *e = why, -1;
	pkg_opam_package(a, d, opam, &why); /* what is wrong with a field that is not used here stops nothing */
	*ret = opam;
	return 0;
}

int env_opam_members(struct env_opam_switch *s, struct env_opam_vars *vars, const struct env_opam_state *st,
		     struct arena *a, struct env_opam_member **ret, struct err *e)
{
	struct env_opam_member *v = arena_array(a, struct env_opam_member, st->installed.n);
	for (size_t i = 0; i < st->installed.n; i++) {
		if (!env_opam_split(st->installed.v[i], &v[i].name, &v[i].version))
			return err_new(e, ERR_INPUT, "the switch has '%.*s' installed, which is no package",
				       STR_ARG(st->installed.v[i]));
		if (env_opam_installed_package(s, a, st->installed.v[i], &v[i].opam, e) < 0 ||
		    needs_of(vars, &v[i], v[i].opam->depends, true, a, &v[i].all, e) < 0 ||
		    needs_of(vars, &v[i], v[i].opam->depends, false, a, &v[i].depends, e) < 0 ||
		    needs_of(vars, &v[i], v[i].opam->depopts, false, a, &v[i].depopts, e) < 0)
			return -1;
	}
	*ret = v;
	return 0;
}

void env_opam_spread(struct env_opam_member *v, size_t n)
{
	auto_map gone = MAP_INIT;
	auto_map changed = MAP_INIT;
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			if (v[i].fate == ENV_OPAM_GOES)
				*map_put(&gone, v[i].name) = i + 1;
			if (v[i].fate != ENV_OPAM_STAYS)
				*map_put(&changed, v[i].name) = 1;
		}
		for (size_t i = 0; i < n; i++) {
			enum env_opam_fate was = v[i].fate;
			if (was != ENV_OPAM_GOES && uses_gone(v[i].all, v, &gone, 0))
				v[i].fate = ENV_OPAM_GOES;
			else if (was == ENV_OPAM_STAYS &&
				 (names_one(v[i].depends, &changed, 0) || names_one(v[i].depopts, &changed, 0)))
				v[i].fate = ENV_OPAM_ANEW;
			more = more || v[i].fate != was;
		}
	}
}

bool env_opam_uses(const struct env_opam_member *m, struct str name)
{
	auto_map one = MAP_INIT;
	*map_put(&one, name) = 1;
	return names_one(m->depends, &one, 0) || names_one(m->depopts, &one, 0);
}

size_t env_opam_used(const struct env_opam_member *m, const struct map *at, size_t *v, size_t max)
{
	struct numbers l = {.at = at, .v = v, .max = max};
	add_numbers(&l, m->fate == ENV_OPAM_GOES ? m->all : m->depends, 0);
	add_numbers(&l, m->depopts, 0);
	return l.n;
}
