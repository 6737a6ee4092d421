// SPDX-License-Identifier: Apache-2.0
/*
 * The chains of requirements that lead to a package: a walk backwards from it, breadth first, so that the shortest chains
 * come first. Each chain visits a package at most once.
 */
#include "base/map.h"
#include "base/vec.h"
#include "solve/solve.h"

enum { CHAINS_MAX = 1000, STEPS_MAX = 100000, NONE = UINT32_MAX };

struct need { /* `by` needs a package, in the words of `spec` */
	uint32_t by;
	struct str spec;
	uint32_t next;
};
struct step {
	uint32_t record, need, before; /* before: the step from which this one was reached */
};
struct whys {
	const struct pkg_record *r;
	size_t n;
	struct map by_name; /* record + 1 */
	uint32_t *first;    /* by record: needs */
	VEC(struct need) need;
	VEC(struct step) step;
	VEC(struct str) out;
	struct arena *a;
};

/* "opam:dune (>= 3.0)", "opam:dune.3.0" */
static struct str opam_name_of(struct str text)
{
	size_t n = strlen("opam:");
	while (n < text.n && !strchr(" .(<>=!", text.p[n]))
		n++;
	return str_head(text, n);
}

static struct str name_of_spec(struct arena *a, struct str text)
{
	if (str_starts(text, STR("opam:")))
		return opam_name_of(text);
	struct err ignored = ERR_INIT;
	const struct spec *s = pkg_conda.spec_parse(a, text, SPEC_DEPENDENCY, &ignored);
	return s ? spec_name(s) : STR_NONE;
}

static void read_needs(struct whys *w)
{
	auto_arena tmp = ARENA_INIT;
	for (size_t i = 0; i < w->n; i++) {
		w->first[i] = NONE;
		*map_put(&w->by_name, w->r[i].name) = i + 1;
	}
	for (size_t i = w->n; i-- > 0;)
		for (uint32_t d = 0; d < w->r[i].depends_n; d++) {
			struct str name = name_of_spec(&tmp, w->r[i].depends[d]);
			const uint64_t *to = name.p ? map_get(&w->by_name, name) : NULL;
			if (!to || !*to || *to - 1 == i)
				continue;
			vec_push(&w->need, ((struct need){(uint32_t)i, w->r[i].depends[d], w->first[*to - 1]}));
			w->first[*to - 1] = (uint32_t)w->need.n - 1;
		}
}

static bool in_chain(const struct whys *w, uint32_t step, uint32_t record)
{
	for (uint32_t s = step; s != NONE; s = w->step.v[s].before)
		if (w->step.v[s].record == record)
			return true;
	return false;
}

/* "sardana 3.3.6 → taurus >=5 → taurus 5.1 → ..." from the asked-for package down to the one in question. */
static void put_chain(struct whys *w, uint32_t step, struct str asked)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_printf(&b, "'%.*s' was asked for: ", STR_ARG(asked));
	for (uint32_t s = step; s != NONE; s = w->step.v[s].before) {
		const struct pkg_record *r = &w->r[w->step.v[s].record];
		buf_printf(&b, "%.*s %.*s", STR_ARG(r->name), STR_ARG(r->version));
		if (w->step.v[s].need != NONE)
			buf_printf(&b, " needs %.*s: ", STR_ARG(w->need.v[w->step.v[s].need].spec));
	}
	vec_push(&w->out, arena_str(w->a, buf_str(&b)));
}

static void put_asked(struct whys *w, uint32_t step, const struct str *specs, const struct str *names, size_t specs_n,
		      unsigned max)
{
	for (size_t i = 0; i < specs_n && w->out.n < max; i++)
		if (str_eq(names[i], w->r[w->step.v[step].record].name))
			put_chain(w, step, specs[i]);
}

int solve_why(const struct pkg_record *records, size_t n, const struct str *specs, size_t specs_n, struct str name,
	      unsigned max, struct arena *a, const struct str **ret, size_t *ret_n, struct err *e)
{
	struct whys w = {.r = records, .n = n, .a = a};
	auto_arena tmp = ARENA_INIT;
	auto_free uint32_t *first = xcalloc(n + 1, sizeof(*first));
	struct str *names = arena_array(&tmp, struct str, specs_n + 1);
	w.first = first;
	if (n > UINT32_MAX / 2)
		return err_new(e, ERR_LIMIT, "%zu records are too many", n);
	read_needs(&w);
	for (size_t i = 0; i < specs_n; i++)
		names[i] = name_of_spec(&tmp, specs[i]);
	const uint64_t *at = map_get(&w.by_name, name);
	if (at && *at)
		vec_push(&w.step, ((struct step){(uint32_t)*at - 1, NONE, NONE}));
	max = max && max < CHAINS_MAX ? max : CHAINS_MAX;
	for (size_t i = 0; i < w.step.n && w.out.n < max; i++) {
		put_asked(&w, (uint32_t)i, specs, names, specs_n, max);
		for (uint32_t k = w.first[w.step.v[i].record]; k != NONE && w.step.n < STEPS_MAX; k = w.need.v[k].next)
			if (!in_chain(&w, (uint32_t)i, w.need.v[k].by))
				vec_push(&w.step, ((struct step){w.need.v[k].by, k, (uint32_t)i}));
	}
	int rc = at && *at ? 0 : err_new(e, ERR_NOT_FOUND, "'%.*s' is not installed", STR_ARG(name));
	*ret_n = w.out.n;
	*ret = vec_copy(&w.out, a);
	map_release(&w.by_name);
	vec_release(&w.need);
	vec_release(&w.step);
	vec_release(&w.out);
	return rc;
}
