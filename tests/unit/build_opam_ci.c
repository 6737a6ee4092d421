// SPDX-License-Identifier: Apache-2.0
// The spec of a CI's job for an opam package, against a real log.
#include <fcntl.h>

#include "base/clock.h"
#include "base/fs.h"
#include "build/build.h"
#include "lib/test.h"

static struct err e;

#define DIGEST "1b8db2464075e045f2710c633c15ec40916e273f0dea1055c6f56c58e621387a"

static struct build_opam_ci seed_job(void)
{
	return (struct build_opam_ci){.package = STR("ocaml-unikraft-backend-qemu.0.18.0"),
				      .base = STR("ocaml/opam:debian-12-ocaml-5.3@sha256:" DIGEST),
				      .distribution = STR("debian-12"),
				      .opam = STR("2.1")};
}

static struct str spec_of(const struct build_opam_ci *j, struct arena *a)
{
	auto_buf b = BUF_INIT(1 << 20);
	CHECK_MSG(build_opam_ci_spec(j, a, &b, &e) == 0, "%s", e.msg);
	return arena_str(a, buf_str(&b));
}

/* Head, recipe and spec, from nothing but the words that a person says: all that stands in the log before it waits for a worker. */
TEST(the_head_of_a_real_log)
{
	auto_arena a = ARENA_INIT;
	auto_buf log = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
	struct build_opam_ci seed = seed_job(), docker = seed;
	struct str commit = STR("232285450638d122b7441a6f42923184e4a1835b");
	docker.docker = true;
	CHECK_INT(fs_read(AT_FDCWD, test_shared("seeds/000_4f42bc4ed8fb3538.txt"), &log, &e), 0);
	struct build_head h = {.note = STR("(not at the head of any monitored branch or PR)"),
			       .title = build_opam_ci_title(&seed, &a),
			       .url = STR("https://github.com/ocaml/opam-repository.git"),
			       .ref = STR("refs/pull/27856/head"),
			       .commit = commit,
			       .branch = STR("master"),
			       .base = STR("8ae853b39e5c409b481d0d5d9318e0d8e6eee41d"),
			       .arch = STR("amd64"),
			       .hint = build_opam_ci_hint(&seed, commit, &a),
			       .spec = spec_of(&seed, &a),
			       .spec_file = STR("job.spec"),
			       .recipe = spec_of(&docker, &a),
			       .recipe_file = STR("docker.spec")};
	CHECK(clock_of_date(&(struct clock_date){2025, 5, 6, 18, 8, 6}, &h.now_ms));
	CHECK_MSG(build_head_print(&h, &a, &out, &e) == 0, "%s", e.msg);
	ptrdiff_t end = str_search(buf_str(&log), STR("2025-05-06 18:08.06: Waiting for resource"));
	CHECK(end > 0);
	CHECK_STR(out.p, arena_strdup(&a, str_head(buf_str(&log), (size_t)end)));
}

static size_t count(struct str text, const char *what)
{
	size_t n = 0;
	for (ptrdiff_t at; (at = str_search(text, str_c(what))) >= 0; n++)
		text = str_skip(text, (size_t)at + strlen(what));
	return n;
}

/* The other jobs go on where the first one ends. */
TEST(jobs_share_their_first_steps)
{
	auto_arena a = ARENA_INIT;
	struct build_opam_ci j = seed_job();
	struct str first = spec_of(&j, &a), common = str_head(first, first.n - strlen(")\n"));
	j.with_tests = true;
	struct str s = spec_of(&j, &a);
	CHECK(str_starts(s, common));
	s = str_skip(s, common.n);
	CHECK(str_starts(
		s, STR(" (run (network host)\n      (shell \"(opam reinstall --with-test "
		       "ocaml-unikraft-backend-qemu.0.18.0) || true\"))\n (run (shell  \"opam reinstall --with-test "
		       "--verbose ocaml-unikraft-backend-qemu.0.18.0;\\\n")));
	CHECK(str_eq_c(build_opam_ci_title(&j, &a), "test ocaml-unikraft-backend-qemu.0.18.0, using opam 2.1"));

	j.reverse_dependency = STR("user.1~rc+2");
	s = spec_of(&j, &a);
	CHECK(str_starts(s, common));
	s = str_skip(s, common.n);
	CHECK_INT(count(s, "opam reinstall user.1~rc+2;"), 1);
	CHECK_INT(count(s, "(opam reinstall --with-test user.1~rc+2) || true"), 1);
	CHECK_INT(count(s, "opam reinstall --with-test --verbose user.1~rc+2;"), 1);
	CHECK_INT(count(s, "test \\\"$pkg\\\" != 'user.1~rc+2'"), 2);
	CHECK_INT(count(s, "unikraft"), 0);
	CHECK(str_eq_c(build_opam_ci_title(&j, &a),
		       "test user.1~rc+2 with ocaml-unikraft-backend-qemu.0.18.0, using opam 2.1"));
	CHECK(str_eq_c(build_opam_ci_hint(&j, STR_NONE, &a), "ocaml/opam:debian-12-ocaml-5.3@sha256:" DIGEST
							     "-ocaml-unikraft-backend-qemu.0.18.0-user.1~rc+2"));

	j = seed_job();
	j.lower_bounds = true;
	s = spec_of(&j, &a);
	CHECK(str_starts(s, common));
	s = str_skip(s, common.n);
	CHECK(str_starts(s, STR(" (env OPAMCRITERIA +removed,+count[version-lag,solution])\n (env OPAMFIXUPCRITERIA "
				"+removed,+count[version-lag,solution])\n (env OPAMUPGRADECRITERIA "
				"+removed,+count[version-lag,solution])\n (run (cache (opam-archives ")));
	CHECK(str_eq_c(build_opam_ci_title(&j, &a),
		       "build ocaml-unikraft-backend-qemu.0.18.0, lower-bounds, using opam 2.1"));
}

TEST(special_cases)
{
	auto_arena a = ARENA_INIT;
	struct build_opam_ci j = seed_job();
	j.package = STR("ocaml-variants.5.3.0+options");
	j.opam = STR("2.5");
	j.linux32 = true;
	struct str s = spec_of(&j, &a);
	CHECK_INT(count(s, "opam reinstall --update-invariant ocaml-variants.5.3.0+options;"), 1);
	CHECK_INT(count(s, "sudo ln -f /usr/bin/opam-2.5 /usr/bin/opam"), 1);
	CHECK_INT(count(s, "\n (shell /usr/bin/linux32 /bin/sh -c)\n (user "), 1);
	j.docker = true;
	CHECK_INT(count(spec_of(&j, &a), ".opamrc"), 0);
	CHECK(str_eq_c(build_opam_ci_distribution(STR("debian-12-ocaml-5.3")), "debian-12"));
	CHECK(str_eq_c(build_opam_ci_distribution(STR("debian-12")), "debian-12"));
}

/* Whatever is said stands in a command of a shell. */
TEST(words_are_held_to_names)
{
	static const char *const packages[] = {"fmt",	 "fmt.",      "",	   ".1",	 "fmt.1;id", "fmt.1 2",
					       "f'mt.1", "fmt.$(id)", "fmt.1\n(x", "fmt.1/../x", "12.3"};
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	for (size_t i = 0; i < sizeof(packages) / sizeof(*packages); i++) {
		struct build_opam_ci j = seed_job();
		j.package = str_c(packages[i]);
		e = ERR_INIT;
		CHECK_MSG(build_opam_ci_spec(&j, &a, &b, &e) < 0 && e.code == ERR_USAGE, "%s", packages[i]);
		j.package = seed_job().package;
		j.reverse_dependency = str_c(packages[i]);
		e = ERR_INIT;
		CHECK_MSG(i == 2 || (build_opam_ci_spec(&j, &a, &b, &e) < 0 && e.code == ERR_USAGE), "%s", packages[i]);
	}
	static const char *const words[] = {"", "a b", "x\";id;\"", "$(id)", "-x", "x'", "x/y"};
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		struct build_opam_ci j = seed_job();
		j.distribution = str_c(words[i]);
		e = ERR_INIT;
		CHECK_MSG(build_opam_ci_spec(&j, &a, &b, &e) < 0 && e.code == ERR_USAGE, "%s", words[i]);
		j.distribution = seed_job().distribution;
		j.opam = str_c(words[i]);
		e = ERR_INIT;
		CHECK_MSG(build_opam_ci_spec(&j, &a, &b, &e) < 0 && e.code == ERR_USAGE, "%s", words[i]);
	}
}
