// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "env/env.h"

static struct arena a;
static struct err e;

static struct str *texts(const char *const *words, size_t n)
{
	struct str *v = arena_array(&a, struct str, n);
	for (size_t i = 0; i < n; i++)
		v[i] = str_c(words[i]);
	return v;
}
#define TEXTS(...)                                                                                                     \
	texts((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static struct env_spec_file before(void)
{
	struct env_lock_package *two = arena_array(&a, struct env_lock_package, 2);
	two[0] = (struct env_lock_package){.record.name = STR("python"), .requested = true};
	two[1] = (struct env_lock_package){.record.name = STR("numpy")};
	return (struct env_spec_file){
		.specs = TEXTS("python=3.9", "numpy >=1.20", "c::H5Py"),
		.specs_n = 3,
		.packages = two,
		.packages_n = 2,
	};
}

static const char *merged(const struct env_change *ch)
{
	struct env_spec_file f = before();
	struct str *v;
	size_t n;
	auto_buf b = BUF_INIT(1000);
	if (env_change_specs(&a, &f, ch, &v, &n, &e) < 0)
		return e.msg;
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i ? "|" : "", STR_ARG(v[i]));
	return arena_printf(&a, "%.*s", STR_ARG(buf_str(&b)));
}

TEST(a_spec_takes_the_place_of_those_of_its_package)
{
	CHECK_STR(merged(&(struct env_change){0}), "python=3.9|numpy >=1.20|c::H5Py");
	CHECK_STR(merged(&(struct env_change){.specs = TEXTS("numpy=1.26", "zlib"), .specs_n = 2}),
		  "python=3.9|c::H5Py|numpy=1.26|zlib");
	CHECK_STR(merged(&(struct env_change){.specs = TEXTS("h5py[build=*mpi*]"), .specs_n = 1}),
		  "python=3.9|numpy >=1.20|h5py[build=*mpi*]");
}

TEST(what_goes_is_not_asked_for_any_more)
{
	const char *const numpy[] = {"numpy"}, *const none[] = {"nothing"};
	CHECK_STR(merged(&(struct env_change){.remove = numpy, .remove_n = 1}), "python=3.9|c::H5Py");
	CHECK_STR(merged(&(struct env_change){.remove = none, .remove_n = 1}),
		  "there is no package 'nothing' to remove");
	CHECK_INT(e.code, ERR_NOT_FOUND);
}

TEST(what_goes_stays_away)
{
	const char *const numpy[] = {"numpy"};
	const struct env_change ch = {.remove = numpy, .remove_n = 1};
	struct solve_package p = {.record.name = STR("numpy")};
	struct solve_result r = {.packages = &p, .packages_n = 1};
	CHECK_INT(env_change_check(&ch, STR("x"), &r, &e), -1);
	CHECK(strstr(e.msg, "'slipway why -n x numpy'"));
	p.record.name = STR("scipy");
	CHECK_INT(env_change_check(&ch, STR("x"), &r, &e), 0);
}

TEST(what_is_installed_is_held_but_for_what_is_named)
{
	struct env_spec_file f = before();
	struct solve_request q = SOLVE_REQUEST_INIT;
	env_change_hold(&a, &f, &(struct env_change){.specs = TEXTS("numpy=1.26"), .specs_n = 1}, &q);
	CHECK_INT(q.installed_n, 2);
	CHECK_INT(q.update_names_n, 1);
	CHECK(q.update_names_n && str_eq_c(q.update_names[0], "numpy"));
	CHECK(!q.update_all);
}

TEST(packages_that_were_asked_for_are_remembered)
{
	struct env_spec_file f = before();
	env_remember_requested(&a, &f);
	CHECK_INT(f.specs_n, 3);
	f.specs_n = 0;
	env_remember_requested(&a, &f);
	CHECK_INT(f.specs_n, 1);
	CHECK(str_eq_c(f.specs[0], "python"));
}
