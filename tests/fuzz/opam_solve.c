// SPDX-License-Identifier: Apache-2.0
/*
 * A repository of small opam files, solved by each of the criteria. The first line is what is asked for, the second criteria in opam's words;
 * then come opam files, each behind a line "@NAME.VERSION". A solution must be told in steps; without one there must be words for why.
 */
#include "channel/channel.h"
#include "channel/opam_index.h"
#include "solve/solve.h"

enum { FILES_MAX = 40 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The files of the input; false: there are none that have a name. */
static bool read_files(struct str text, struct oif_inputs *in)
{
	struct str line;
	const char *begin = NULL;
	while (in->file.n < FILES_MAX && text.n) {
		const char *at = text.p;
		(void)str_take_line(&text, &line);
		if (!str_starts(line, STR("@")))
			continue;
		struct str version = str_skip(line, 1), name;
		if (begin)
			vec_last(&in->file)->text = str_of(begin, (size_t)(at - begin));
		begin = NULL;
		if (!str_take_until(&version, '.', &name) || !pkg_opam_name_is_good(name) ||
		    !pkg_opam_version_is_good(version))
			continue;
		*vec_add(&in->folder) = (struct oif_input_folder){
			.path = str_c(arena_printf(&in->arena, "packages/%.*s", STR_ARG(name)))};
		vec_last(&in->folder)->parent = (uint32_t)in->folder.n - 1;
		vec_push(&in->file, ((struct oif_input){.name = name,
							.version = version,
							.text = STR(""),
							.old = UINT32_MAX,
							.folder = (uint32_t)in->folder.n - 1}));
		begin = text.p;
	}
	if (begin)
		vec_last(&in->file)->text = str_of(begin, (size_t)(text.p + text.n - begin));
	return in->file.n > 0;
}

static void tell(const struct solve_needs_result *res)
{
	for (size_t i = 0; i < res->conflicts_n; i++) {
		auto_buf b = BUF_INIT(1 << 20);
		solve_conflict_in_opam(&res->conflict[i], true, &b);
		if (!b.n || !res->why[i].n)
			panic("a conflict without words");
	}
}

static void solve_one(struct channel_needs *n, const struct solve_needs_request *r, const struct str *names)
{
	auto_arena a = ARENA_INIT;
	struct solve_needs_result res;
	struct solve_steps steps;
	struct err e = ERR_INIT;
	int rc = solve_needs_by(n, r, &a, &res, &e);
	if (rc == 1)
		tell(&res);
	if (rc == 0 && solve_steps(n, res.package, res.n, names, 1, SOLVE_IN_ORDER, &a, &steps, &e) < 0 && !e.code)
		panic("no steps, and no word why");
}

static void solve_all(struct opam_index *ix, struct str asked, struct str name, const struct solve_aims *aims)
{
	const struct str system[] = {STR("libfoo"), STR("bar")};
	const struct str installed[] = {STR("a.1"), STR("b.1"), STR("gone.1")};
	for (int had = 0; had < 2; had++)
		for (int c = SOLVE_0INSTALL; c <= SOLVE_FIXUP; c++) {
			const struct channel_needs_opts o = {.installed = installed,
							     .installed_n = had ? 3 : 0,
							     .asked = &name,
							     .asked_n = 1,
							     .with_test = had,
							     .system = system,
							     .system_n = 2};
			struct solve_needs_request r = {.asked = &asked,
							.asked_n = 1,
							.criteria = (enum solve_criteria)c,
							.max_conflicts = 1000};
			auto_ptr(channel_needs) n = NULL;
			struct err e = ERR_INIT;
			if (channel_needs_open_opam(&ix, 1, &o, &n, &e) < 0)
				return;
			solve_one(n, &r, &name);
			if (c != SOLVE_NEWEST)
				continue;
			r.aims = aims->n ? aims : NULL;
			r.best_effort = true;
			solve_one(n, &r, &name);
			r.removed = &name;
			r.removed_n = had;
			r.invariant = &asked;
			r.invariant_n = 1;
			r.best_effort = false;
			solve_one(n, &r, &name);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_of((const char *)data, size), asked, criteria;
	auto_oif_inputs in = {.seed = 1};
	auto_arena a = ARENA_INIT;
	auto_ptr(opam_index) ix = NULL;
	const struct pkg_need *need;
	struct solve_aims aims = {0};
	struct err e = ERR_INIT;
	if (size > 1 << 14 || !str_take_line(&text, &asked) || !str_take_line(&text, &criteria))
		return 0;
	if (solve_aims_parse(criteria, &aims, &e) < 0)
		aims.n = 0;
	e = ERR_INIT;
	if (pkg_opam_spec_parse(&a, asked, &need, &e) < 0 || !read_files(text, &in) ||
	    oif_make_memory(&in, &ix, &e) < 0)
		return 0;
	solve_all(ix, asked, need->name, &aims);
	return 0;
}
