// SPDX-License-Identifier: Apache-2.0
/* Real channels: every solution is checked by rules that know nothing of how it was found. */
#include <fcntl.h>

#include "base/fs.h"
#include "base/stream.h"
#include "base/vec.h"
#include "solve/solve.h"
#include "lib/test.h"

struct channels {
	struct channel_index ci[4];
	size_t n;
};

static void add_index(struct channels *c, const char *json, const char *subdir)
{
	struct err e = ERR_INIT;
	char path[256];
	const char *from = test_shared(json);
	auto_fd fd = open(from, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	struct istream *in = istream_fd(steal_fd(&fd), from);
	snprintf(path, sizeof(path), "%s/%zu.idx", test_tmp(), c->n);
	auto_ptr(index_builder) b = index_builder_new(AT_FDCWD, path, str_c(subdir), &e);
	CHECK_MSG(b && index_builder_json(b, in, NULL, &e) == 0 && index_builder_finish(b, &e) == 0, "%s", e.msg);
	istream_free(in);
	struct channel_index *ci = &c->ci[c->n++];
	CHECK_MSG(index_open(AT_FDCWD, path, &ci->index, &e) == 0, "%s", e.msg);
	ci->channel.url = ci->channel.shown = ci->channel.name = STR("file:///channel");
	ci->subdir = str_c(subdir);
}

static void free_channels(struct channels *c)
{
	for (size_t i = 0; i < c->n; i++)
		index_free(c->ci[i].index);
}

static const struct pkg_record host[] = {
	{.name = STR("__unix"), .version = STR("0"), .build = STR("0")},
	{.name = STR("__linux"), .version = STR("5.10"), .build = STR("0")},
	{.name = STR("__glibc"), .version = STR("2.31"), .build = STR("0")},
	{.name = STR("__archspec"), .version = STR("1"), .build = STR("aarch64")},
};
enum { HOST_N = sizeof(host) / sizeof(host[0]) };

/* What the checker sees: the chosen records and the host's. */
struct world_view {
	const struct pkg_record *r[2048];
	size_t n;
};

static const struct pkg_record *by_name(const struct world_view *w, struct str name)
{
	for (size_t i = 0; i < w->n; i++)
		if (str_eq(w->r[i]->name, name))
			return w->r[i];
	return NULL;
}

static void check_specs(const struct world_view *w, const struct pkg_record *r, const struct str *texts, uint32_t n,
			bool constrains, struct arena *a)
{
	for (uint32_t i = 0; i < n; i++) {
		struct err e = ERR_INIT;
		const struct spec *s = pkg_conda.spec_parse(a, texts[i], SPEC_DEPENDENCY, &e);
		CHECK_MSG(s, "%s", e.msg);
		const struct pkg_record *is = by_name(w, spec_name(s));
		CHECK_MSG(is ? pkg_conda.spec_match(s, is) : constrains, "%.*s %.*s: '%.*s' does not hold",
			  STR_ARG(r->name), STR_ARG(r->version), STR_ARG(texts[i]));
	}
}

static void mark_needed(const struct world_view *w, const struct pkg_record *r, bool *needed, struct arena *a)
{
	for (uint32_t i = 0; i < r->depends_n; i++) {
		struct err e = ERR_INIT;
		const struct spec *s = pkg_conda.spec_parse(a, r->depends[i], SPEC_DEPENDENCY, &e);
		for (size_t k = 0; s && k < w->n; k++)
			if (str_eq(w->r[k]->name, spec_name(s)) && !needed[k]) {
				needed[k] = true;
				mark_needed(w, w->r[k], needed, a);
			}
	}
}

static void check_solution(const struct solve_request *r, const struct solve_result *res)
{
	static struct world_view w;
	static bool needed[2048];
	auto_arena a = ARENA_INIT;
	w.n = 0;
	memset(needed, 0, sizeof(needed));
	for (size_t i = 0; i < res->packages_n; i++) {
		CHECK_MSG(!by_name(&w, res->packages[i].record.name), "two of one name");
		w.r[w.n++] = &res->packages[i].record;
	}
	for (size_t i = 0; i < HOST_N; i++)
		w.r[w.n++] = &host[i];
	for (size_t i = 0; i < r->specs_n; i++) {
		struct err e = ERR_INIT;
		const struct spec *s = pkg_conda.spec_parse(&a, r->specs[i], SPEC_REQUEST, &e);
		const struct pkg_record *is = by_name(&w, spec_name(s));
		CHECK_MSG(is && pkg_conda.spec_match(s, is), "'%.*s' does not hold", STR_ARG(r->specs[i]));
		for (size_t k = 0; k < w.n; k++)
			if (w.r[k] == is && !needed[k]) {
				needed[k] = true;
				mark_needed(&w, is, needed, &a);
			}
	}
	for (size_t i = 0; i < res->packages_n; i++) {
		const struct pkg_record *p = w.r[i];
		CHECK_MSG(needed[i], "'%.*s' is needed by nothing", STR_ARG(p->name));
		check_specs(&w, p, p->depends, p->depends_n, false, &a);
		check_specs(&w, p, p->constrains, p->constrains_n, true, &a);
	}
}

static size_t run(const struct channels *c, const char *const *specs)
{
	auto_arena a = ARENA_INIT;
	struct str s[128];
	struct solve_request r = SOLVE_REQUEST_INIT;
	struct solve_result res;
	struct err e = ERR_INIT;
	for (; specs[r.specs_n]; r.specs_n++)
		s[r.specs_n] = str_c(specs[r.specs_n]);
	r.specs = s;
	r.indexes = c->ci;
	r.indexes_n = c->n;
	r.virtuals = host;
	r.virtuals_n = HOST_N;
	int rc = solve(&r, &a, &res, &e);
	CHECK_MSG(rc >= 0, "%s", e.msg);
	if (rc == 0)
		check_solution(&r, &res);
	return rc == 0 ? res.packages_n : 0;
}
#define SPECS(...) ((const char *const[]){__VA_ARGS__, NULL})

TEST(pair_of_2021)
{
	struct channels c = {0};
	add_index(&c, "data/conda/pair-2021-07-01/linux-aarch64-repodata.json", "linux-aarch64");
	add_index(&c, "data/conda/pair-2021-07-01/noarch-repodata.json", "noarch");
	CHECK_INT(run(&c, SPECS("anaconda")), 311);
	CHECK_INT(run(&c, SPECS("python", "scipy")), 24);
	CHECK(run(&c, SPECS("jupyterlab", "numpy<1.20")) > 50);
	CHECK(run(&c, SPECS("tensorflow", "python=3.8")) > 50);
	CHECK_INT(run(&c, SPECS("python=3.10")), 0);
	CHECK(run(&c, SPECS("python=3.7", "anaconda")) > 300);
	CHECK_INT(run(&c, SPECS("python=3.9", "anaconda=2020.11")), 0);
	free_channels(&c);
}

/* All packages of the noarch channel, one at a time. */
TEST(every_name_of_the_pair)
{
	struct channels c = {0};
	unsigned solved = 0;
	add_index(&c, "data/conda/pair-2021-07-01/linux-aarch64-repodata.json", "linux-aarch64");
	add_index(&c, "data/conda/pair-2021-07-01/noarch-repodata.json", "noarch");
	for (uint32_t i = 0; i < index_name_count(c.ci[0].index); i++) {
		char name[128];
		struct ix_pkg first;
		struct str n = index_name(c.ci[0].index, (struct ix_name){i});
		if (!n.n || !index_packages(c.ci[0].index, (struct ix_name){i}, &first))
			continue;
		snprintf(name, sizeof(name), "%.*s", STR_ARG(n));
		solved += run(&c, SPECS(name)) > 0;
	}
	printf("# %u names have a solution\n", solved);
	CHECK(solved > 600);
	free_channels(&c);
}

/* One byte of an index is wrong: the solve says so, or did not need it. */
TEST(damaged_index)
{
	struct channels c = {0};
	char path[256];
	unsigned told = 0;
	add_index(&c, "data/conda/pair-2021-07-01/linux-aarch64-repodata.json", "linux-aarch64");
	add_index(&c, "data/conda/pair-2021-07-01/noarch-repodata.json", "noarch");
	snprintf(path, sizeof(path), "%s/0.idx", test_tmp());
	for (unsigned i = 0; i < 150; i++) {
		auto_arena a = ARENA_INIT;
		struct solve_result res;
		struct err e = ERR_INIT;
		const struct str specs[] = {STR("jupyterlab"), STR("numpy")};
		struct solve_request r = {.indexes = c.ci, .indexes_n = c.n, .specs = specs, .specs_n = 2};
		auto_fd fd = open(path, O_RDWR | O_CLOEXEC);
		uint8_t byte;
		off_t at = 4096 + (off_t)i * 2311;
		r.virtuals = host;
		r.virtuals_n = HOST_N;
		CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
		byte ^= 1u << (i % 8);
		CHECK(pwrite(fd, &byte, 1, at) == 1);
		index_free(c.ci[0].index);
		c.ci[0].index = NULL;
		int rc = index_open(AT_FDCWD, path, &c.ci[0].index, &e);
		rc = rc < 0 ? rc : solve(&r, &a, &res, &e);
		if (rc < 0) {
			CHECK_MSG(e.code == ERR_VERIFY, "%s", e.msg);
			told++;
		} else {
			CHECK_INT(rc, 0);
			check_solution(&r, &res);
		}
		byte ^= 1u << (i % 8);
		CHECK(pwrite(fd, &byte, 1, at) == 1);
	}
	printf("# %u of 150 noticed\n", told);
	CHECK(told > 10);
	free_channels(&c);
}

/* This sudoku's boxes are numbered wrongly, so that nothing fits; rattler and a plain SAT solver say the same. */
TEST(sudoku_ends)
{
	struct channels c = {0};
	char names[81][32];
	const char *specs[82] = {NULL};
	add_index(&c, "data/conda/sudoku.json", "noarch");
	for (int i = 0; i < 81; i++) {
		snprintf(names[i], sizeof(names[i]), "sudoku_%d_%d", i / 9, i % 9);
		specs[i] = names[i];
	}
	CHECK_INT(run(&c, specs), 0);
	free_channels(&c);
}
