// SPDX-License-Identifier: Apache-2.0
/* A lock against itself and against the host: locks are text, and people merge text by hand. */
#include "base/map.h"
#include "base/vec.h"
#include "env/env.h"

enum { CONDITION_DEPTH_MAX = 64 };

struct checking {
	struct arena *arena;
	struct map by_name; /* → record */
	VEC(struct str) problems;
};

static const struct pkg_record *find(const struct checking *k, struct str name)
{
	const uint64_t *slot = map_get(&k->by_name, name);
	return slot ? (const struct pkg_record *)(uintptr_t)*slot : NULL;
}

static void add(struct checking *k, const struct pkg_record *r)
{
	*map_put(&k->by_name, r->name) = (uint64_t)(uintptr_t)r;
}

static bool is_met(const struct checking *k, const struct spec_condition *c, unsigned depth)
{
	const struct pkg_record *r;
	if (depth > CONDITION_DEPTH_MAX)
		return false;
	switch (c->op) {
	case SPEC_CONDITION_AND:
		return is_met(k, c->left, depth + 1) && is_met(k, c->right, depth + 1);
	case SPEC_CONDITION_OR:
		return is_met(k, c->left, depth + 1) || is_met(k, c->right, depth + 1);
	case SPEC_CONDITION_SPEC:
		break;
	}
	r = find(k, spec_name(c->spec));
	return r && pkg_conda.spec_match(c->spec, r);
}

/* What cannot be read (channels hold such things) or names no single package says nothing here, as in the solver. */
static const struct spec *read_spec(struct checking *k, struct str text)
{
	struct err ignored = ERR_INIT;
	const struct spec *s = pkg_conda.spec_parse(k->arena, text, SPEC_DEPENDENCY, &ignored);
	if (!s || !spec_name(s).n || spec_channel(s).n)
		return NULL;
	const struct spec_condition *c = spec_condition(s);
	return c && !is_met(k, c, 0) ? NULL : s;
}

static void check_spec(struct checking *k, const struct pkg_record *r, struct str text, bool needs)
{
	const struct spec *s = read_spec(k, text);
	const struct pkg_record *there = s ? find(k, spec_name(s)) : NULL;
	if (!s || (there && pkg_conda.spec_match(s, there)) || (!there && !needs))
		return;
	struct str name = spec_name(s);
	bool is_virtual = str_starts(name, STR("__"));
	const char *text_of = there ? arena_printf(k->arena, "%s %.*s %.*s", is_virtual ? "here is" : "the lock has",
						   STR_ARG(there->name), STR_ARG(there->version))
			      : is_virtual ? "this host has none"
					   : "the lock has none";
	*vec_add(&k->problems) =
		str_c(arena_printf(k->arena, "%.*s %.*s %s '%.*s': %s", STR_ARG(r->name), STR_ARG(r->version),
				   needs ? "needs" : "does not go with anything but", STR_ARG(text), text_of));
}

static void check_package(struct checking *k, const struct pkg_record *r, struct str subdir)
{
	if (r->subdir.n && !str_eq_c(r->subdir, "noarch") && !str_eq(r->subdir, subdir))
		*vec_add(&k->problems) =
			str_c(arena_printf(k->arena, "%.*s %.*s is for %.*s, not %.*s", STR_ARG(r->name),
					   STR_ARG(r->version), STR_ARG(r->subdir), STR_ARG(subdir)));
	for (uint32_t i = 0; i < r->depends_n; i++)
		check_spec(k, r, r->depends[i], true);
	for (uint32_t i = 0; i < r->constrains_n; i++)
		check_spec(k, r, r->constrains[i], false);
}

size_t env_lock_problems(const struct env_spec_file *lock, struct str subdir, const struct pkg_record *virtuals,
			 size_t virtuals_n, struct arena *a, struct str **ret)
{
	struct checking k = {.arena = a, .by_name = MAP_INIT};
	for (size_t i = 0; i < virtuals_n; i++)
		add(&k, &virtuals[i]);
	for (uint32_t i = 0; i < lock->packages_n; i++)
		add(&k, &lock->packages[i].record);
	for (uint32_t i = 0; i < lock->packages_n; i++)
		if (!pkg_is_opam(lock->packages[i].record.name,
				 NULL)) /* their formulas are their repository's to know */
			check_package(&k, &lock->packages[i].record, subdir);
	size_t n = k.problems.n;
	*ret = vec_copy(&k.problems, a);
	vec_release(&k.problems);
	map_release(&k.by_name);
	return n;
}
