// SPDX-License-Identifier: Apache-2.0
/* What a change asks for: the specs of before and those of now, what is held where it is, and what is to go. */
#include "env/env.h"

static bool spec_is_for(struct arena *a, struct str spec, struct str name)
{
	struct err ignored = ERR_INIT;
	const struct spec *s = pkg_conda.spec_parse(a, spec, SPEC_REQUEST, &ignored);
	return s && str_casecmp(spec_name(s), name) == 0;
}

static bool is_taken_out(const struct env_change *ch, struct str name)
{
	for (size_t i = 0; i < ch->remove_n; i++)
		if (str_eq_c(name, ch->remove[i]))
			return true;
	return false;
}

static int check_removals(const struct env_spec_file *before, const struct env_change *ch, struct err *e)
{
	for (size_t k = 0; k < ch->remove_n; k++) {
		bool there = false;
		for (uint32_t i = 0; i < before->packages_n; i++)
			there |= str_eq_c(before->packages[i].record.name, ch->remove[k]);
		if (!there)
			return err_new(e, ERR_NOT_FOUND, "there is no package '%s' to remove", ch->remove[k]);
	}
	return 0;
}

/* 1 where the spec of before does not count any more. */
static int is_replaced(struct arena *a, struct str spec, const struct env_change *ch, struct err *e)
{
	for (size_t i = 0; i < ch->specs_n; i++) {
		const struct spec *s = pkg_conda.spec_parse(a, ch->specs[i], SPEC_REQUEST, e);
		if (!s)
			return -1;
		if (spec_name(s).n && spec_is_for(a, spec, spec_name(s)))
			return 1;
	}
	for (size_t i = 0; i < ch->remove_n; i++)
		if (spec_is_for(a, spec, str_c(ch->remove[i])))
			return 1;
	return 0;
}

int env_change_specs(struct arena *a, const struct env_spec_file *before, const struct env_change *ch, struct str **ret,
		     size_t *ret_n, struct err *e)
{
	if (check_removals(before, ch, e) < 0)
		return -1;
	*ret = arena_array(a, struct str, before->specs_n + ch->specs_n);
	*ret_n = 0;
	for (uint32_t i = 0; i < before->specs_n; i++) {
		int replaced = is_replaced(a, before->specs[i], ch, e);
		if (replaced < 0)
			return -1;
		if (!replaced)
			(*ret)[(*ret_n)++] = before->specs[i];
	}
	for (size_t i = 0; i < ch->specs_n; i++)
		(*ret)[(*ret_n)++] = ch->specs[i];
	return 0;
}

void env_change_hold(struct arena *a, const struct env_spec_file *before, const struct env_change *ch,
		     struct solve_request *q)
{
	struct pkg_record *installed = arena_array(a, struct pkg_record, before->packages_n);
	struct str *names = arena_array(a, struct str, ch->specs_n);
	struct err ignored = ERR_INIT;
	for (uint32_t i = 0; i < before->packages_n; i++)
		installed[i] = before->packages[i].record;
	for (size_t i = 0; i < ch->specs_n; i++) {
		const struct spec *s = pkg_conda.spec_parse(a, ch->specs[i], SPEC_REQUEST, &ignored);
		if (s && spec_name(s).n)
			names[q->update_names_n++] = spec_name(s);
	}
	q->installed = installed;
	q->installed_n = before->packages_n;
	q->update_names = names;
	q->update_all = ch->all;
}

int env_change_check(const struct env_change *ch, struct str env, const struct solve_result *r, struct err *e)
{
	for (size_t i = 0; i < r->packages_n; i++) {
		struct str name = r->packages[i].record.name;
		if (is_taken_out(ch, name))
			return err_new(e, ERR_FAILED,
				       "'%.*s' cannot be removed: something else in the environment needs it; "
				       "'slipway why -n %.*s %.*s' shows what",
				       STR_ARG(name), STR_ARG(env), STR_ARG(name));
	}
	return 0;
}

void env_remember_requested(struct arena *a, struct env_spec_file *f)
{
	if (f->specs_n)
		return;
	struct str *names = arena_array(a, struct str, f->packages_n);
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (f->packages[i].requested)
			names[f->specs_n++] = f->packages[i].record.name;
	f->specs = names;
}
