// SPDX-License-Identifier: Apache-2.0
#include "build/spec.h"

#include "lib/test.h"

static void parse_at(struct arena *a, struct str text, struct build_spec *ret, int line)
{
	struct err e = ERR_INIT;
	if (spec_parse(text, "f", a, ret, &e) < 0)
		test_fail(__FILE__, line, "%s", e.msg);
}
#define PARSE(a, z, ret) parse_at((a), STR(z), (ret), __LINE__)

static void check_rejected(struct str text, bool of_build, const char *msg, int line)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct build_spec s;
	if (of_build)
		parse_at(&a, text, &s, line);
	if (of_build ? !spec_check_build(&s, "f", &e) : !spec_parse(text, "f", &a, &s, &e))
		test_fail(__FILE__, line, "'%.*s' was accepted", STR_ARG(text));
	test_check_str(__FILE__, line, "message", e.msg, msg);
	test_check_int(__FILE__, line, "code", e.code, ERR_INPUT);
}
#define REJECTED(z, msg) check_rejected(STR(z), false, "f:" msg, __LINE__)
#define REJECTED_OP(z, msg) check_rejected(STR("((from b)\n" z ")"), false, "f:" msg, __LINE__)
#define NO_BUILD(z, msg) check_rejected(STR("((from b)\n" z ")"), true, "f:" msg, __LINE__)

TEST(every_stanza)
{
	auto_arena a = ARENA_INIT;
	struct build_spec s;
	PARSE(&a,
	      "((build tools ((from golang) (run (shell \"make tools\"))))\n"
	      " (from base@sha256:00)\n"
	      " (comment \"a comment\") (workdir /src) (shell /bin/sh -c) (env A \"b c\") (user (uid 1) (gid 2))\n"
	      " (run (shell cmd) (secrets (s (target /s))) (network host)\n"
	      "      (cache (c (target /c)) (d (target /d) (buildkit_options ((mode 0777) (x \"\"))))))\n"
	      " (copy (exclude .git _build) (dst d/) (src a b) (from (build tools)))\n"
	      " (copy (from context) (src .) (dst /x)) (user (name Zaphod)))",
	      &s);
	CHECK(str_eq_c(s.from, "base@sha256:00") && s.from_at.line == 2 && s.from_at.column == 2);
	CHECK(s.n_stages == 1 && str_eq_c(s.stages[0].name, "tools") && str_eq_c(s.stages[0].spec.from, "golang"));
	CHECK_INT(s.n_ops, 9);
	CHECK(s.ops[0].kind == SPEC_COMMENT && str_eq_c(s.ops[0].text, "a comment"));
	CHECK(s.ops[1].kind == SPEC_WORKDIR && str_eq_c(s.ops[1].text, "/src"));
	CHECK(s.ops[2].kind == SPEC_SHELL && s.ops[2].n_words == 2 && str_eq_c(s.ops[2].words[1], "-c"));
	CHECK(s.ops[3].kind == SPEC_ENV && str_eq_c(s.ops[3].env.name, "A") && str_eq_c(s.ops[3].env.value, "b c"));
	CHECK(s.ops[4].kind == SPEC_USER && s.ops[4].user.uid == 1 && s.ops[4].user.gid == 2 && !s.ops[4].user.name.p);
	const struct spec_op *run = &s.ops[5];
	CHECK(run->kind == SPEC_RUN && str_eq_c(run->text, "cmd") && run->n_networks == 1 && run->n_secrets == 1);
	CHECK(run->n_caches == 2 && str_eq_c(run->caches[1].target, "/d") && run->caches[1].n_options == 2);
	CHECK(str_eq_c(run->caches[1].options[0].value, "0777") && run->at.line == 4 && run->at.column == 2);
	const struct spec_op *copy = &s.ops[6];
	CHECK(copy->kind == SPEC_COPY && copy->n_words == 2 && copy->n_excludes == 2 && str_eq_c(copy->dst, "d/"));
	CHECK(str_eq_c(copy->from_stage, "tools") && !s.ops[7].from_stage.p);
	CHECK(str_eq_c(s.ops[8].user.name, "Zaphod"));
}

TEST(stages_in_scope)
{
	auto_arena a = ARENA_INIT;
	struct build_spec s;
	PARSE(&a,
	      "((build a ((from x)))"
	      " (build b ((build c ((from x) (copy (from (build a)) (src .) (dst /))))"
	      "           (from x) (copy (from (build c)) (src .) (dst /)) (copy (from (build a)) (src .) (dst /))))"
	      " (from x) (copy (from (build b)) (src .) (dst /)))",
	      &s);
	REJECTED("((build tools ((from b))) (from b) (copy (from (build tols)) (src .) (dst /)))",
		 "1:55: no stage 'tols' is built before this; did you mean 'tools'?");
	REJECTED("((build a ((build c ((from x))) (from x))) (from x) (copy (from (build c)) (src .) (dst /)))",
		 "1:72: no stage 'c' is built before this; there are: a");
	REJECTED("((build a ((from x) (copy (from (build a)) (src .) (dst /)))) (from x))",
		 "1:40: no stage 'a' is built before this; a stage is written (build NAME (…)) before (from …)");
}

TEST(malformed_specs)
{
	REJECTED("", "1:1: the file is empty; a spec begins with ((from IMAGE)");
	REJECTED(" \n", "1:1: the file is empty; a spec begins with ((from IMAGE)");
	REJECTED("spec", "1:1: a spec is a list, ((from IMAGE) (run …) …); here is the word 'spec'");
	REJECTED("()", "1:1: (from IMAGE) is missing: the image that the build begins with");
	REJECTED("(from base)",
		 "1:1: a spec is a list of its operations, ((from IMAGE) (run …) …); here is (from …): put "
		 "parentheses round the whole");
	REJECTED("((run (shell x)))",
		 "1:2: (from IMAGE) is missing: it stands before the first operation; here is (run …)");
	REJECTED("((build a ((from x))))", "1:1: (from IMAGE) is missing: the image that the build begins with");
	REJECTED("((from))", "1:2: an image is one word, or a string in quotes: (from …); here is none");
	REJECTED("((from a b))", "1:10: an image is one word, or a string in quotes: (from …); here are more");
	REJECTED("((from (a)))", "1:8: an image is one word, or a string in quotes; here is (a)");
	REJECTED("((from \"\"))", "1:8: the image's name is empty");
	REJECTED("((build a (from x)) (from x))",
		 "1:11: a spec is a list of its operations, ((from IMAGE) (run …) …); here is (from …): put "
		 "parentheses round the whole");
	REJECTED("((build a (from x) (run (shell y))) (from x))",
		 "1:2: a stage is (build NAME ((from IMAGE) …)): its operations are in parentheses of their own");
	REJECTED("((from a)\n (from b))",
		 "2:2: a second (from …); another stage is written (build NAME (…)) before the first");
	REJECTED("((from a)\n (build b ((from c))))", "2:2: (build …) comes after (from …); stages stand before it");
}

TEST(malformed_operations)
{
	REJECTED_OP(
		"(frobnicate yes)",
		"2:2: there is no operation 'frobnicate'; there are: comment, workdir, shell, env, user, run, copy");
	REJECTED_OP("(cpoy (src a) (dst b))", "2:2: there is no operation 'cpoy'; did you mean 'copy'?");
	REJECTED_OP("(Run (shell x))", "2:2: there is no operation 'Run'; did you mean 'run'?");
	REJECTED_OP("run", "2:1: an operation is wanted, such as (run (shell \"COMMAND\")); here is the word 'run'");
	REJECTED_OP("()", "2:1: an operation is wanted, such as (run (shell \"COMMAND\")); here is an empty list");
	REJECTED_OP("(run \"make\")",
		    "2:6: 'run' takes fields in parentheses (cache network secrets shell); here is the word 'make'");
	REJECTED_OP("(run)", "2:1: this run has no command; write (run (shell \"COMMAND\"))");
	REJECTED_OP("(run (shell make all))",
		    "2:18: a command is one word, or a string in quotes: (shell \"…\"); here are more");
	REJECTED_OP("(run (shell a)\n(shell b))", "3:1: 'run' has a second (shell …); the first is at 2:6");
	REJECTED_OP("(run (shel a))", "2:7: 'run' has no field 'shel'; did you mean 'shell'?");
	REJECTED_OP("(run (quux a))", "2:7: 'run' has no field 'quux'; its fields are cache network secrets shell");
	REJECTED_OP("(run (cache c) (shell a))", "2:13: a cache is (NAME (target PATH)); here is the word 'c'");
	REJECTED_OP("(run (cache (c)) (shell a))", "2:13: cache 'c' has no target; write (c (target PATH))");
	REJECTED_OP("(run (secrets (s (target \"\"))) (shell a))", "2:18: the target of secret 's' is empty");
	REJECTED_OP("(run (cache (c (targt /x))) (shell a))",
		    "2:17: 'cache' has no field 'targt'; did you mean 'target'?");
	REJECTED_OP("(run (cache (c (target /x) (buildkit_options ((a))))) (shell a))",
		    "2:47: a build option is (NAME VALUE); here is (a)");
	REJECTED_OP("(run (cache (c (target /x) (buildkit_options (a b)))) (shell a))",
		    "2:47: a build option is (NAME VALUE); here is the word 'a'");
	REJECTED_OP("(run (cache (c (target /x) (buildkit_options a b))) (shell a))",
		    "2:46: the options are a list of their own: (buildkit_options ((NAME VALUE) …))");
	REJECTED_OP("(copy (src a))", "2:1: this copy has no 'dst'; write (copy (src PATH …) (dst PATH))");
	REJECTED_OP("(copy (dst a))", "2:1: this copy has no 'src'; write (copy (src PATH …) (dst PATH))");
	REJECTED_OP("(copy (src) (dst a))",
		    "2:7: this copy has no source; write (src PATH …), '.' for all of the context");
	REJECTED_OP("(copy (src a) (dst \"\"))", "2:15: the destination is empty");
	REJECTED_OP("(copy (from dev) (src a) (dst b))",
		    "2:13: a copy comes from 'context' or from (build STAGE); here is the word 'dev'");
	REJECTED_OP("(env A)", "2:1: 'env' takes a name and one value: (env NAME VALUE)");
	REJECTED_OP("(env A b c)",
		    "2:10: 'env' takes a name and one value: (env NAME VALUE); put a value of several words in quotes");
	REJECTED_OP("(env A=b c)", "2:6: a variable's name has no '='; write (env NAME VALUE)");
	REJECTED_OP("(env \"\" c)", "2:6: a variable's name is empty");
	REJECTED_OP("(user (uid 1))", "2:1: this user has no 'gid'; write (user (uid N) (gid N))");
	REJECTED_OP("(user (gid 1) (uid 1))", "2:7: 'uid' comes first: (user (uid N) (gid N))");
	REJECTED_OP("(user (uid root) (gid 0))", "2:12: a uid is a number from 0 to 4294967294; here is 'root'");
	REJECTED_OP("(user (uid 0) (gid 4294967295))",
		    "2:20: a gid is a number from 0 to 4294967294; here is '4294967295'");
	REJECTED_OP("(user (uid 0) (gid 0) (name x))", "2:23: a user has a name, or 'uid' and 'gid', not both");
	REJECTED_OP("(user root)", "2:7: 'user' takes fields in parentheses (uid gid name); here is the word 'root'");
	REJECTED_OP("(workdir)", "2:1: a folder is one word, or a string in quotes: (workdir …); here is none");
	REJECTED_OP("(workdir \"\")", "2:10: the folder to work in is empty");
	REJECTED_OP("(comment a b)",
		    "2:12: a comment is one word, or a string in quotes: (comment \"…\"); here are more");
	REJECTED_OP("(run (shell \"a\\000b\"))", "2:13: a command holds a NUL byte, which no program can be given");
}

TEST(what_a_build_wants)
{
	NO_BUILD("(copy (src a b) (dst c))",
		 "2:1: several sources go into a folder: write (dst c/), with a '/' at its end");
	NO_BUILD("(copy (src a/../b) (dst c))",
		 "2:1: '..' cannot be used in source paths ('a/../b'): nothing outside the context is copied");
	NO_BUILD(
		"(run (shell a) (network host none))",
		"2:16: there is no network 'none' here: write (network host) for the machine's own, or leave the field out "
		"for none");
	NO_BUILD("(user (name Zaphod))",
		 "2:1: a user by name is of Windows' containers; here write (user (uid N) (gid N))");
	NO_BUILD("(run (cache (c (target x))) (shell a))",
		 "2:13: the target of cache 'c' is to be a whole path: '/…', not 'x'");
	NO_BUILD("(run (secrets (c (target /x/../y))) (shell a))",
		 "2:15: the target of secret 'c' goes through '..'; write where it leads");
	check_rejected(STR("((build a ((from b) (copy (src ..) (dst c)))) (from b))"), true,
		       "f:1:21: '..' cannot be used in source paths ('..'): nothing outside the context is copied",
		       __LINE__);
}

TEST(stages_too_deep)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	struct build_spec s;
	for (int i = 0; i <= SPEC_STAGE_DEPTH_MAX; i++)
		buf_put_c(&b, "((build x ");
	buf_put_c(&b, "((from x))");
	for (int i = 0; i <= SPEC_STAGE_DEPTH_MAX; i++)
		buf_put_c(&b, ")(from x))");
	CHECK(spec_parse(buf_str(&b), "f", &a, &s, &e) < 0 && e.code == ERR_LIMIT);
	CHECK_STR(e.msg, "f:1:162: more than 16 stages in each other");
}

/* -- context ------------------------------------------------------------------------------------------------------- */

static struct spec_context context_after(struct arena *a, const char *ops, const struct str *env, size_t n)
{
	struct build_spec s;
	parse_at(a, str_c(arena_printf(a, "((from b) %s)", ops)), &s, __LINE__);
	struct spec_context c = spec_context_of(env, n, a);
	for (size_t i = 0; i < s.n_ops; i++)
		spec_context_step(&c, &s.ops[i], a);
	return c;
}

TEST(context)
{
	auto_arena a = ARENA_INIT;
	static const struct str env[] = {{"PATH=/bin", 9}, {"A=1=2", 5}, {"B", 1}};
	struct spec_context c = context_after(&a, "", env, 3);
	CHECK(str_eq_c(c.workdir, "/") && c.n_shell == 3 && str_eq_c(c.shell[0], "/usr/bin/env") && c.user.uid == 0);
	CHECK(c.n_env == 3 && str_eq_c(c.env[1].value, "1=2") && c.env[2].value.n == 0);
	c = context_after(&a, "(env A x) (env C y) (workdir /usr) (workdir local) (shell) (user (uid 3) (gid 4))", env,
			  3);
	CHECK_INT(c.n_env, 4);
	CHECK(str_eq_c(c.env[0].name, "C") && str_eq_c(c.env[1].name, "A") && str_eq_c(c.env[1].value, "x"));
	CHECK(str_eq_c(c.env[2].name, "PATH") && str_eq_c(c.env[3].name, "B"));
	CHECK(str_eq_c(c.workdir, "/usr/local") && c.n_shell == 0 && c.user.uid == 3 && c.user.gid == 4);
	c = context_after(&a, "(workdir a) (workdir ../b) (workdir c/)", env, 0);
	CHECK(str_eq_c(c.workdir, "/a/../b/c/") && str_eq_c(spec_context_path(&c, STR("x"), &a), "/a/../b/c/x"));
	CHECK(str_eq_c(spec_context_path(&c, STR("/x"), &a), "/x"));
}

TEST(many_variables)
{
	enum { N = 4000 };
	auto_arena a = ARENA_INIT;
	struct spec_op op = {.kind = SPEC_ENV};
	struct spec_context c = spec_context_of(NULL, 0, &a);
	for (size_t i = 0; i < 2 * N; i++) {
		op.env = (struct spec_pair){str_c(arena_printf(&a, "A%zu", i / 2)), i % 2 ? STR("new") : STR("old")};
		spec_context_step(&c, &op, &a);
	}
	CHECK_INT(c.n_env, N);
	CHECK(str_eq_c(c.env[0].name, "A3999") && str_eq_c(c.env[N - 1].name, "A0"));
	CHECK(str_eq_c(c.env[0].value, "new") && str_eq_c(c.env[N - 1].value, "new"));
	CHECK(c.room_env < 2 * N);
}

TEST(folders_without_end)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	struct build_spec s;
	buf_put_c(&b, "((from b)\n");
	for (size_t i = 0; i < 1000; i++)
		buf_put_c(&b, "(workdir abcdefg)\n");
	buf_put_c(&b, ")");
	parse_at(&a, buf_str(&b), &s, __LINE__);
	CHECK(spec_check_build(&s, "f", &e) < 0);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_STR(e.msg, "f:513:1: the folder to work in has a path of more than 4095 bytes; begin it with '/'");
}
