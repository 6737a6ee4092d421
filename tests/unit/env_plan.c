// SPDX-License-Identifier: Apache-2.0
/* Plans: what changes, in which steps. */
#include "lib/envs.h"

static struct env_plan planned(struct envs *w, const struct env_lock_package *to, uint32_t to_n,
			       const struct env_lock_package *from, uint32_t from_n, bool use_store)
{
	struct env_plan plan;
	const struct env_spec_file target = {.packages = to, .packages_n = to_n};
	const struct env_spec_file before = {.packages = from, .packages_n = from_n, .is_lock = true};
	CHECK_MSG(env_plan(&target, from ? &before : NULL, use_store ? w->store : NULL, &w->arena, &plan, &w->err) == 0,
		  "%s", w->err.msg);
	CHECK(plan.target.is_lock);
	return plan;
}

/* "download a, link b, ..." */
static const char *steps(struct envs *w, const struct env_plan *p)
{
	static const char *const kinds[] = {"download", "unpack", "build", "link", "remove", "run"};
	auto_buf b = BUF_INIT(10000);
	for (size_t i = 0; i < p->steps_n; i++) {
		const struct env_step *s = &p->steps[i];
		const struct env_spec_file *f = s->kind == ENV_STEP_REMOVE ? &p->before : &p->target;
		buf_printf(&b, "%s%s %.*s", i ? ", " : "", kinds[s->kind],
			   STR_ARG(f->packages[s->package].record.name));
	}
	return arena_strdup(&w->arena, buf_str(&b));
}

TEST(a_new_environment)
{
	auto_envs w = {0};
	envs_open(&w);
	struct env_lock_package to[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "b", "1")};
	struct env_plan p = planned(&w, to, 2, NULL, 0, true);
	CHECK(p.added_n == 2 && p.removed_n == 0 && p.kept_n == 0 && p.changed_n == 0);
	CHECK_STR(steps(&w, &p), "download a, download b, unpack a, unpack b, link a, link b");
	CHECK_INT(p.download_bytes, to[0].record.size + to[1].record.size);
	p = planned(&w, to, 0, NULL, 0, true);
	CHECK_INT(p.steps_n, 0);
}

TEST(a_change_names_what_differs)
{
	auto_envs w = {0};
	envs_open(&w);
	struct env_lock_package from[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "b", "1"),
					  envs_simple(&w, "c", "1")};
	struct env_lock_package to[] = {envs_simple(&w, "d", "1"), from[2], envs_simple(&w, "a", "2")};
	struct env_plan p = planned(&w, to, 3, from, 3, false);
	CHECK(p.added_n == 1 && p.added[0] == 0);
	CHECK(p.kept_n == 1 && p.kept[0] == 1);
	CHECK(p.removed_n == 1 && p.removed[0] == 1);
	CHECK(p.changed_n == 1 && p.changed[0].from == 0 && p.changed[0].to == 2);
	CHECK_STR(steps(&w, &p), "download d, download c, download a, unpack d, unpack c, unpack a, "
				 "link d, link c, link a, remove b");
}

TEST(the_store_saves_steps)
{
	auto_envs w = {0};
	envs_open(&w);
	struct env_lock_package to[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "b", "1"),
					envs_simple(&w, "c", "1")};
	envs_change(&w, "e", "create", to, 1); /* a: the tree */
	CHECK_INT(store_add_file(w.store, AT_FDCWD, arena_printf(&w.arena, "%s/ch/noarch/b-1-0.conda", w.root),
				 to[1].record.sha256, NULL, &w.err),
		  0); /* b: the blob */
	struct env_plan p = planned(&w, to, 3, NULL, 0, true);
	CHECK_STR(steps(&w, &p), "download c, unpack b, unpack c, link a, link b, link c");
	CHECK_INT(p.download_bytes, to[2].record.size);
	to[0].record.has_sha256 = false; /* nobody knows which one it is */
	p = planned(&w, to, 1, NULL, 0, true);
	CHECK_STR(steps(&w, &p), "download a, unpack a, link a");
}

TEST(opam_packages_are_built)
{
	auto_envs w = {0};
	envs_open(&w);
	struct env_lock_package to[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "b", "1")};
	to[1].record.name = STR("opam:b");
	to[1].record.has_sha256 = false;
	struct env_plan p = planned(&w, to, 2, NULL, 0, true);
	CHECK_STR(steps(&w, &p), "download a, unpack a, build opam:b, link a, link opam:b");
	CHECK_INT(p.download_bytes, to[0].record.size);
	struct env_lock_package from =
		to[1]; /* the key is in the build: the same one is the same package, built or not */
	from.record.has_sha256 = true;
	p = planned(&w, to, 2, &from, 1, true);
	CHECK(p.kept_n == 1 && p.changed_n == 0 && p.added_n == 1);
	from.record.build = STR("h0");
	p = planned(&w, to, 2, &from, 1, true);
	CHECK(p.kept_n == 0 && p.changed_n == 1);
}

TEST(another_digest_is_another_package)
{
	auto_envs w = {0};
	envs_open(&w);
	struct env_lock_package from = envs_simple(&w, "a", "1"), to = from;
	to.record.sha256[0] ^= 1;
	struct env_plan p = planned(&w, &to, 1, &from, 1, false);
	CHECK_INT(p.changed_n, 1);
	to = from;
	to.record.channel = STR("https://elsewhere.org/ch"); /* a mirror's copy is the same */
	p = planned(&w, &to, 1, &from, 1, false);
	CHECK_INT(p.kept_n, 1);
}

TEST(a_name_twice_is_refused)
{
	auto_envs w = {0};
	struct env_plan plan;
	envs_open(&w);
	struct env_lock_package to[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "a", "2")};
	const struct env_spec_file target = {.packages = to, .packages_n = 2};
	CHECK_INT(env_plan(&target, NULL, NULL, &w.arena, &plan, &w.err), -1);
	CHECK_INT(w.err.code, ERR_INPUT);
	CHECK(strstr(w.err.msg, "'a' is there twice"));
}

TEST(settings_count_as_a_difference)
{
	struct str c1[] = {STR("x"), STR("y")}, c2[] = {STR("y"), STR("x")};
	struct env_variable v1 = {STR("A"), STR("1")}, v2 = {STR("A"), STR("2")};
	struct env_lock_package p1 = {.requested = true, .requested_spec = STR("a")}, p2 = p1, p3 = p1;
	p1.record.name = p2.record.name = p3.record.name = STR("a");
	p2.requested = false;
	p3.requested_spec = STR("a >=1");
	const struct env_spec_file x = {
		.channels = c1, .channels_n = 2, .variables = &v1, .variables_n = 1, .packages = &p1, .packages_n = 1};
	struct env_spec_file y = x;
	CHECK(env_same_settings(&x, &y));
	y.channels = c2;
	CHECK(!env_same_settings(&x, &y));
	y = x;
	y.variables = &v2;
	CHECK(!env_same_settings(&x, &y));
	y = x;
	y.specs = c1;
	y.specs_n = 1;
	CHECK(!env_same_settings(&x, &y));
	y = x;
	y.packages = &p2;
	CHECK(!env_same_settings(&x, &y));
	y.packages = &p3;
	CHECK(!env_same_settings(&x, &y));
}

static const char *problems(struct envs *w, const struct env_lock_package *p, uint32_t n)
{
	const struct pkg_record virtuals[] = {{.name = STR("__glibc"), .version = STR("2.36")}};
	const struct env_spec_file lock = {.packages = p, .packages_n = n, .is_lock = true};
	auto_buf b = BUF_INIT(10000);
	struct str *list;
	size_t found = env_lock_problems(&lock, STR("linux-64"), virtuals, 1, &w->arena, &list);
	for (size_t i = 0; i < found; i++)
		buf_printf(&b, "%.*s\n", STR_ARG(list[i]));
	return arena_strdup(&w->arena, buf_str(&b));
}

TEST(a_lock_that_does_not_fit_together)
{
	auto_envs w = {0};
	envs_open(&w);
	struct env_lock_package p[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "b", "1"), envs_simple(&w, "c", "3")};
	const struct str good[] = {STR("b"),	  STR("c >=2,<4"), STR("__glibc >=2.17"), STR("x[when=\"y\"]"),
				   STR("ch::zz"), STR(">=1 <"),	   STR("C 3.*")};
	const struct str bad[] = {STR("b >1"),
				  STR("d"),
				  STR("__glibc >=3"),
				  STR("__cuda"),
				  STR("b[when=\"c>=4\"]"),
				  STR("e[when=\"b and c>=3\"]")};
	const struct str constrains[] = {STR("b <1"), STR("z 7"), STR("c >=3")};
	p[0].record.depends = good;
	p[0].record.depends_n = sizeof(good) / sizeof(*good);
	CHECK_STR(problems(&w, p, 3), "");
	p[1].record.depends = bad;
	p[1].record.depends_n = sizeof(bad) / sizeof(*bad);
	p[2].record.constrains = constrains;
	p[2].record.constrains_n = sizeof(constrains) / sizeof(*constrains);
	p[2].record.subdir = STR("osx-arm64");
	CHECK_STR(problems(&w, p, 3), "b 1 needs 'b >1': the lock has b 1\n"
				      "b 1 needs 'd': the lock has none\n"
				      "b 1 needs '__glibc >=3': here is __glibc 2.36\n"
				      "b 1 needs '__cuda': this host has none\n"
				      "b 1 needs 'e[when=\"b and c>=3\"]': the lock has none\n"
				      "c 3 is for osx-arm64, not linux-64\n"
				      "c 3 does not go with anything but 'b <1': the lock has b 1\n");
}

TEST(a_lock_is_known_by_what_it_lays_out)
{
	struct env_lock_package v[2] = {{.record = {.sha256 = {1}}}, {.record = {.sha256 = {2}}}};
	struct env_lock_package turned[2] = {v[1], v[0]};
	struct env_component c = {.name = STR("web"), .text = STR("services: {}")};
	struct env_spec_file x = {.packages = v, .packages_n = 2, .components = &c, .components_n = 1}, y = x;
	uint8_t one[SHA256_SIZE], other[SHA256_SIZE];
	y.packages = turned;
	y.specs = &c.name;
	y.specs_n = 1;
	env_lock_digest(&x, one);
	env_lock_digest(&y, other);
	CHECK(memcmp(one, other, SHA256_SIZE) == 0);
	y.components_n = 0;
	env_lock_digest(&y, other);
	CHECK(memcmp(one, other, SHA256_SIZE) != 0);
	y = x;
	y.packages_n = 1;
	env_lock_digest(&y, other);
	CHECK(memcmp(one, other, SHA256_SIZE) != 0);
}
