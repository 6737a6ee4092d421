// SPDX-License-Identifier: Apache-2.0
/*
 * What versions and specs cost, in nanoseconds of processor time a call.
 *
 *	build/tests/pkg_bench [FILE...]       FILEs: one dependency a line; without them a few typical ones
 *
 * The best of several rounds counts. Bars: version_parse 200, version_cmp 30, spec_parse 1000, spec_match_version 50.
 */
#include <stdio.h>
#include <time.h>

#include "base/vec.h"
#include "pkg/pkg.h"

enum { ROUNDS = 7, CALLS = 200000, LINES_MAX = 1 << 20 };

static const char *const some_versions[] = {
	"1.26.4", "3.9.18", "2.7.18",  "1.1.1k",     "2021.4.0", "0.10.9.2", "1.0.0rc1", "2.0.0.post1",
	"12.4",	  "3.12.0", "2024a",   "1.21.5",     "8.5.0",	 "9e",	     "1.8",	 "3.0.0",
	"1.4.52", "5.2.10", "2!1.0.3", "3.0+sirius", "0.4.1dev", "10.2.0",   "20210324", "1.2.13",
};
static const char *const some_specs[] = {
	"numpy >=1.8,<2",
	"python >=3.9,<3.10.0a0",
	"openssl",
	"libgcc-ng >=7.3.0",
	"python_abi 3.9.* *_cp39",
	"zlib 1.2.*",
	"mkl >=2021.2.0,<2022.0a0",
	"blas 1.0 mkl",
	"libzlib >=1.2.13,<1.3.0a0",
	"setuptools",
	"xz >=5.2.6,<6.0a0",
	"ncurses >=6.4",
};
enum { VERSIONS = sizeof(some_versions) / sizeof(*some_versions), SPECS = sizeof(some_specs) / sizeof(*some_specs) };

static VEC(struct str) versions, specs;
static volatile unsigned sink;

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void report(const char *what, double best, double bar)
{
	printf("%-40s %8.1f ns   bar %5.0f   %s\n", what, best, bar, best <= bar ? "met" : "MISSED");
}

static const struct version *parse_version(struct arena *a, struct str s)
{
	struct err e = ERR_INIT;
	const struct version *v = pkg_conda.version_parse(a, s, &e);
	if (!v)
		panic("%s", e.msg);
	return v;
}

static const struct spec *parse_spec(struct arena *a, struct str s)
{
	struct err e = ERR_INIT;
	const struct spec *p = pkg_conda.spec_parse(a, s, SPEC_DEPENDENCY, &e);
	if (!p)
		panic("%s", e.msg);
	return p;
}

static double version_parse(void)
{
	auto_arena a = ARENA_INIT;
	double from = now_ns();
	for (size_t i = 0; i < CALLS; i++)
		sink += parse_version(&a, versions.v[i % versions.n]) != NULL;
	return now_ns() - from;
}

static double spec_parse(void)
{
	auto_arena a = ARENA_INIT;
	double from = now_ns();
	for (size_t i = 0; i < CALLS; i++)
		sink += parse_spec(&a, specs.v[i % specs.n]) != NULL;
	return now_ns() - from;
}

static double usual_spec_parse(void)
{
	auto_arena a = ARENA_INIT;
	double from = now_ns();
	for (size_t i = 0; i < CALLS; i++)
		sink += parse_spec(&a, STR("numpy >=1.8,<2")) != NULL;
	return now_ns() - from;
}

static double version_cmp(void)
{
	auto_arena a = ARENA_INIT;
	const struct version **v = arena_array(&a, const struct version *, versions.n);
	for (size_t i = 0; i < versions.n; i++)
		v[i] = parse_version(&a, versions.v[i]);
	double from = now_ns();
	for (size_t i = 0; i < CALLS; i++)
		sink += pkg_conda.version_cmp(v[i % versions.n], v[(i * 7 + 3) % versions.n]) < 0;
	return now_ns() - from;
}

static double match_version(void)
{
	auto_arena a = ARENA_INIT;
	const struct version **v = arena_array(&a, const struct version *, versions.n);
	const struct spec **s = arena_array(&a, const struct spec *, specs.n);
	for (size_t i = 0; i < versions.n; i++)
		v[i] = parse_version(&a, versions.v[i]);
	for (size_t i = 0; i < specs.n; i++)
		s[i] = parse_spec(&a, specs.v[i]);
	double from = now_ns();
	for (size_t i = 0; i < CALLS; i++)
		sink += pkg_conda.spec_match_version(s[i % specs.n], v[(i * 7 + 3) % versions.n],
						     versions.v[(i * 7 + 3) % versions.n]);
	return now_ns() - from;
}

static void measure(const char *what, double (*run)(void), double bar)
{
	double best = 0;
	for (int i = 0; i < ROUNDS; i++) {
		double t = run() / CALLS;
		if (i == 0 || t < best)
			best = t;
	}
	report(what, best, bar);
}

static void read_specs(const char *path)
{
	char line[4096];
	FILE *f = fopen(path, "re");
	if (!f)
		panic("open '%s'", path);
	while (specs.n < LINES_MAX && fgets(line, sizeof(line), f)) {
		struct str s = str_trim(str_c(line));
		if (s.n)
			vec_push(&specs, str_c(str_dup(s)));
	}
	fclose(f);
}

int main(int argc, char **argv)
{
	for (size_t i = 0; i < VERSIONS; i++)
		vec_push(&versions, str_c(some_versions[i]));
	for (int i = 1; i < argc; i++)
		read_specs(argv[i]);
	for (size_t i = 0; argc == 1 && i < SPECS; i++)
		vec_push(&specs, str_c(some_specs[i]));
	if (specs.n == 0)
		panic("no specs");
	printf("%zu versions, %zu specs\n", versions.n, specs.n);
	measure("version_parse", version_parse, 200);
	measure("version_cmp", version_cmp, 30);
	measure("spec_parse", spec_parse, 1000);
	measure("spec_parse 'numpy >=1.8,<2'", usual_spec_parse, 1000);
	measure("spec_match_version", match_version, 50);
	return 0;
}
