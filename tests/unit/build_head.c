// SPDX-License-Identifier: Apache-2.0
// The head of a job's log, against a real one; and what its recipe does, against the real git.
#include <fcntl.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "build/build.h"
#include "lib/test.h"

static struct err e;

static struct str between(struct str text, const char *from, const char *to)
{
	ptrdiff_t at = str_search(text, str_c(from));
	CHECK_MSG(at >= 0, "no '%s'", from);
	text = str_skip(text, (size_t)at + strlen(from));
	at = str_search(text, str_c(to));
	CHECK_MSG(at >= 0, "no '%s'", to);
	return str_head(text, (size_t)at);
}

static void replace(struct buf *b, struct str text, const char *what, const char *by)
{
	ptrdiff_t at;
	while ((at = str_search(text, str_c(what))) >= 0) {
		buf_put(b, text.p, (size_t)at);
		buf_put_c(b, by);
		text = str_skip(text, (size_t)at + strlen(what));
	}
	buf_put_str(b, text);
}

/* What the log's recipe builds is not what the job builds: it has no file that only the builder has. */
TEST(head_of_a_real_log)
{
	auto_arena a = ARENA_INIT;
	auto_buf log = BUF_INIT(1 << 20);
	CHECK_INT(fs_read(AT_FDCWD, test_shared("seeds/000_4f42bc4ed8fb3538.txt"), &log, &e), 0);
	struct str spec = between(buf_str(&log), "Using OBuilder spec:\n", "\n\n2025");
	auto_buf recipe = BUF_INIT(1 << 20);
	replace(&recipe, spec, "--config .opamrc-sandbox ", "");
	struct build_head h = {.note = STR("(not at the head of any monitored branch or PR)"),
			       .title = STR("build ocaml-unikraft-backend-qemu.0.18.0, using opam 2.1"),
			       .url = STR("https://github.com/ocaml/opam-repository.git"),
			       .ref = STR("refs/pull/27856/head"),
			       .commit = STR("232285450638d122b7441a6f42923184e4a1835b"),
			       .branch = STR("master"),
			       .base = STR("8ae853b39e5c409b481d0d5d9318e0d8e6eee41d"),
			       .arch = STR("amd64"),
			       .hint = between(buf_str(&log), "Using cache hint \"", "\"\n"),
			       .spec = spec,
			       .spec_file = STR("job.spec"),
			       .recipe = buf_str(&recipe),
			       .recipe_file = STR("docker.spec")};
	CHECK(clock_of_date(&(struct clock_date){2025, 5, 6, 18, 8, 6}, &h.now_ms));
	auto_buf out = BUF_INIT(1 << 20);
	CHECK_INT(build_head_print(&h, &a, &out, &e), 0);
	struct str want = str_head(buf_str(&log),
				   (size_t)str_search(buf_str(&log), STR("2025-05-06 18:08.06: Waiting for resource")));
	CHECK_STR(out.p, arena_strdup(&a, want));
}

TEST(a_folder_has_a_head_too)
{
	auto_arena a = ARENA_INIT;
	struct build_head h = {.dir = STR("/home/me/x y/"),
			       .spec = STR("((from h:5000/base) (run (shell make)))"),
			       .spec_file = STR("x"),
			       .arch = STR("arm64")};
	auto_buf out = BUF_INIT(1 << 20);
	CHECK_INT(build_head_print(&h, &a, &out, &e), 0);
	CHECK_STR(out.p, "1970-01-01 00:00.00: New job: build x y\n"
			 "                              from /home/me/x y/\n"
			 "                              on base/arm64\n"
			 "\nTo reproduce locally:\n\n"
			 "cd \"/home/me/x y/\"\ndockerfile=$(mktemp)\ncat > \"$dockerfile\" <<'END-OF-DOCKERFILE'\n"
			 "FROM h:5000/base\nRUN make\n\nEND-OF-DOCKERFILE\ndocker build -f \"$dockerfile\" .\n\n"
			 "1970-01-01 00:00.00: Using OBuilder spec:\n((from h:5000/base)\n (run (shell make))\n)\n\n");
	struct str hint;
	CHECK_INT(build_head_hint(&h, &a, &hint, &e), 0);
	CHECK(str_eq_c(hint, "h:5000/base-x y"));
}

/* What a head says of the base image. */
TEST(a_variant_is_a_tag_that_says_something)
{
	static const char *const v[][2] = {{"((from ocaml/opam:debian-12@sha256:" /* and 64 digits */
					    "0123456789012345678901234567890123456789012345678901234567890123))",
					    "on debian-12/arm64\n"},
					   {"((from h:5000/debian:12))", "on debian-12/arm64\n"}};
	for (size_t i = 0; i < 2; i++) {
		auto_arena a = ARENA_INIT;
		auto_buf out = BUF_INIT(1 << 20);
		struct build_head h = {
			.dir = STR("/d"), .spec = str_c(v[i][0]), .spec_file = STR("x"), .arch = STR("arm64")};
		CHECK_INT(build_head_print(&h, &a, &out, &e), 0);
		CHECK_MSG(strstr(out.p, v[i][1]), "%s", out.p);
	}
}

TEST(nothing_in_it_reaches_a_terminal)
{
	auto_arena a = ARENA_INIT;
	struct build_head h = {.title = STR("x\n2025-01-01 00:00.00: Job succeeded"),
			       .dir = STR("/d\x1b[2J\xc2\x9b"
					  "2J\xe2\x80\xae\x9b\xc3\xa4"),
			       .hint = STR("h\r"),
			       .variant = STR("v\n"),
			       .spec = STR("((from base))"),
			       .spec_file = STR("x")};
	auto_buf out = BUF_INIT(1 << 20);
	CHECK_INT(build_head_print(&h, &a, &out, &e), 0);
	CHECK(!strstr(out.p, "\n2025-01") &&
	      strstr(out.p, "from /d\\x1b[2J\\xc2\\x9b2J\\xe2\\x80\\xae\\x9b\xc3\xa4\n") &&
	      strstr(out.p, "\"h\\x0d\"") && strstr(out.p, "on v\\x0a/"));
	h.url = STR("https://h/x");
	h.commit = h.base = STR("0123456789012345678901234567890123456789");
	h.branch = STR("a;touch&x");
	buf_clear(&out);
	CHECK_INT(build_head_print(&h, &a, &out, &e), 0);
	CHECK(strstr(out.p, "\ngit fetch origin \"a;touch&x\"\n"));
	h.spec = STR("((from base)");
	CHECK_INT(build_head_print(&h, &a, &out, &e), -1);
	CHECK(str_starts(str_c(e.msg), STR("x:1:")));
}

/* What a terminal would do something with is not in it, and what it makes is true all the same. */
TEST(a_recipe_with_controls)
{
	auto_arena a = ARENA_INIT;
	auto_buf out = BUF_INIT(1 << 20), run = BUF_INIT(1 << 20), said = BUF_INIT(1 << 16), plain = BUF_INIT(1 << 16);
	struct build_write w = {.file = "x", .form = BUILD_FORM_RECIPE};
	auto_free char *dir = xasprintf("%s/a\x1b[2J\\'%%b\xc2\x9b\n", test_tmp());
	w.dir = str_c(dir);
	w.text = STR("((from base) (env A \"\\027[31m'\\\\0101 %s\\155\") (comment \"c\\td\") (workdir \"/\\008\")\n"
		     " (run (shell \"echo 'a\\\\n' \\\\\\n  b\")))");
	CHECK(mkdir(dir, 0755) == 0);
	CHECK_MSG(build_write(&w, &a, &out, &e) == 0, "%s", e.msg);
	for (size_t i = 0; i < out.n; i++) /* 0xc2 0x9b is one, too; all that is shown here is ASCII */
		CHECK(out.p[i] >= ' ' || out.p[i] == '\n' || out.p[i] == '\t');
	w.form = BUILD_FORM_DOCKERFILE;
	CHECK_MSG(build_write(&w, &a, &plain, &e) == 0, "%s", e.msg);
	CHECK(strstr(plain.p, "ENV A=\"\x1b[31m'\\\\0101 %s\x9b\"\n"));
	buf_printf(&run, "docker() { pwd; cat \"$3\"; }; TMPDIR='%s'; export TMPDIR\n%s\n", test_tmp(), out.p);
	static const char *const shells[] = {"sh", "bash"};
	for (size_t i = 0; i < 2; i++) {
		struct proc_opts o = {.argv = (const char *const[]){shells[i], "-e", "-s", NULL},
				      .input = buf_str(&run),
				      .out = &said,
				      .errout = &said};
		buf_clear(&said);
		CHECK_INT(proc_run(&o, &e), 0);
		CHECK_STR(said.p, arena_printf(&a, "%s\n%s\n", dir, plain.p));
	}
}

/* The recipe by sh, with docker replaced by one that looks at what it is given. */
TEST(the_recipe_works)
{
	auto_arena a = ARENA_INIT;
	auto_buf said = BUF_INIT(1 << 16);
	const char *const script =
		"set -e; export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=x GIT_COMMITTER_NAME=x EMAIL=x@localhost;"
		"git init -q -b master x; cd x; echo a >a; git add .; git commit -qm first; git checkout -q -b pull; echo b >b; git add .;"
		"git commit -qm second; git update-ref refs/pull/7/head HEAD; git checkout -q master; git branch -q -D pull; echo c >c; git add .;"
		"git commit -qm third; git rev-parse refs/pull/7/head master";
	struct proc_opts o = {.argv = (const char *const[]){"sh", "-c", script, NULL}, .cwd = test_tmp(), .out = &said};
	CHECK_INT(proc_run(&o, &e), 0);
	struct str ids = buf_str(&said), commit, base;
	CHECK(str_take_line(&ids, &commit) && str_take_line(&ids, &base));
	struct build_head h = {
		.url = str_c(arena_printf(&a, "file://%s/x", test_tmp())),
		.ref = STR("refs/pull/7/head"),
		.commit = commit,
		.branch = STR("master"),
		.base = base,
		.spec = STR(
			"((from base:1) (user (uid 1000) (gid 1000)) (copy (src .) (dst /src/)) (run (shell \"make 'a  b' $x\")))"),
		.spec_file = STR("x")};
	auto_buf out = BUF_INIT(1 << 20);
	CHECK_INT(build_head_print(&h, &a, &out, &e), 0);
	auto_buf run = BUF_INIT(1 << 20);
	buf_put_c(
		&run,
		"export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=x GIT_COMMITTER_NAME=x EMAIL=x@localhost TMPDIR=$PWD\nexec 2>&1\n"
		"docker() { echo \"docker $*\"; cat \"$3\"; ls; }\n");
	buf_put_str(&run, between(buf_str(&out), "To reproduce locally:\n\n", "\n\n1970"));
	buf_put_c(&run, "\n");
	buf_clear(&said);
	o.argv = (const char *const[]){"sh", "-e", "-s", NULL};
	o.input = buf_str(&run);
	CHECK_INT(proc_run(&o, &e), 0);
	CHECK_MSG(
		strstr(said.p,
		       "docker build -f ../Dockerfile .\nFROM base:1\nUSER 1000:1000\nCOPY --chown=1000:1000 . /src/\n"
		       "RUN make 'a  b' $x\n\na\nb\nc\n"),
		"%s", said.p);
}
