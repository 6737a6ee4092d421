// SPDX-License-Identifier: Apache-2.0
/* What OBuilder prints, for the same data: its specs, headings, Dockerfiles, recipes. */
#include <time.h>

#include "build/spec.h"

#include "lib/test.h"

static void parse_at(struct arena *a, const char *text, struct build_spec *ret, int line)
{
	struct err e = ERR_INIT;
	if (spec_parse(str_c(text), "f", a, ret, &e) < 0)
		test_fail(__FILE__, line, "%s", e.msg);
}

static void check_print(const char *text, const char *want, int line)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX), again = BUF_INIT(BUF_MAX);
	struct build_spec s;
	parse_at(&a, text, &s, line);
	spec_print(&s, &b);
	test_check_str(__FILE__, line, "printed", b.p, want);
	parse_at(&a, b.p, &s, line);
	spec_print(&s, &again);
	test_check_str(__FILE__, line, "printed again", again.p, want);
}
#define PRINTS(z, want) check_print(z, want, __LINE__)
#define PRINTS_ITSELF(z) check_print(z, z, __LINE__)

static void check_heading(const char *workdir, const char *op, const char *want, int line)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct build_spec s;
	parse_at(&a, arena_printf(&a, "((build tools ((from b))) (from b) %s)", op), &s, line);
	struct spec_context c = {.workdir = str_c(workdir)};
	spec_print_op(&s.ops[0], workdir ? &c : NULL, &b);
	test_check_str(__FILE__, line, "heading", b.p, want);
}
#define HEADING(workdir, op, want) check_heading(workdir, op, want, __LINE__)

TEST(spec)
{
	PRINTS_ITSELF(
		"((build tools\n"
		"        ((from base)\n"
		"         (run (shell \"make tools\"))))\n"
		" (from base)\n"
		" (comment \"A test comment\")\n"
		" (workdir /src)\n"
		" (run (shell \"a command\"))\n"
		" (run (cache (a (target /data)) (b (target /srv)))\n"
		"      (secrets (a (target /run/secrets/a)) (b (target /b)))\n"
		"      (shell \"a very very very very very very very very very very very very very very very long "
		"command\"))\n"
		" (copy (src a b) (dst c))\n"
		" (copy (src a b) (dst c) (exclude .git _build))\n"
		" (copy (from (build tools)) (src binary) (dst /usr/local/bin/))\n"
		" (env DEBUG 1)\n"
		" (user (uid 1) (gid 2))\n"
		")");
	PRINTS("((from b))", "((from b)\n)");
	/* one order of fields, no more quotes than are needed, no comments, no default */
	PRINTS("((from \"b\") ; x\n (copy (exclude x) (dst \"y\") (src \"a b\") (from context)) (user (uid 007) (gid 0))"
	       "(shell) (run (shell x) (network host host) (cache (c (target /c) (buildkit_options ((a b) (c \"\")))))))",
	       "((from b)\n"
	       " (copy (src \"a b\") (dst y) (exclude x))\n"
	       " (user (uid 7) (gid 0))\n"
	       " (shell)\n"
	       " (run (cache (c (target /c) (buildkit_options ((a b) (c \"\")))))\n"
	       "      (network host host)\n"
	       "      (shell x))\n"
	       ")");
}

TEST(lines)
{
	PRINTS_ITSELF("((from b)\n"
		      " (run (network host)\n"
		      "      (shell  \"one\\\n"
		      "             \\n  \\\"two\\\" \\\\\\\n"
		      "             \\n\\195\\188\"))\n"
		      ")");
	/* a line's end at the end alone is none */
	PRINTS("((from b) (run (shell \"one\\n\")))", "((from b)\n (run (shell \"one\\n\"))\n)");
	PRINTS("((from b) (run (shell \"\\none\")))", "((from b)\n (run (shell  \"\\\n             \\none\"))\n)");
}

TEST(copy_breaks_at_the_margin)
{
	/* the last field may end in column 77, no further: then each field has its line */
	PRINTS_ITSELF("((from b)\n"
		      " (copy (src 3456789 123456789 123456789 123456789 123456789 12345) (dst cccc))\n"
		      ")");
	PRINTS("((from b) (copy (src 3456789 123456789 123456789 123456789 123456789 12345) (dst ccccc)))",
	       "((from b)\n"
	       " (copy (src 3456789 123456789 123456789 123456789 123456789 12345)\n"
	       "       (dst ccccc))\n"
	       ")");
	PRINTS("((from b) (copy (src 3456789 123456789 123456789 123456789 123456789 123456) (dst ccccc)))",
	       "((from b)\n"
	       " (copy (src 3456789 123456789 123456789 123456789 123456789 123456)\n"
	       "       (dst ccccc))\n"
	       ")");
	HEADING("/home/opam", "(copy (from (build tools)) (src binary other) (dst /usr/local/bin/))",
		"/home/opam: (copy (from (build tools))\n"
		"                  (src binary other)\n"
		"                  (dst /usr/local/bin/))");
}

TEST(headings)
{
	HEADING("/", "(workdir /home/opam)", "/: (workdir /home/opam)");
	HEADING(NULL, "(run (network host) (shell x))", "(run (network host)\n     (shell x))");
	HEADING("/home/opam", "(run (network host) (shell \"opam init\"))",
		"/home/opam: (run (network host)\n"
		"                 (shell \"opam init\"))");
	HEADING("/w", "(run (shell \"a\\nb\"))",
		"/w: (run (shell  \"a\\\n"
		"                \\nb\"))");
	HEADING("/", "(env MSG \"a b \\\"q\\\" \\\\ c\")", "/: (env MSG \"a b \\\"q\\\" \\\\ c\")");
	/* a folder's name that leaves no room: the fields begin on a line of their own */
	HEADING("/123456789/123456789/123456789/123456789/123456789/123456789/1234", "(run (shell x))",
		"/123456789/123456789/123456789/123456789/123456789/123456789/1234: (run \n"
		"  (shell x))");
}

TEST(other_headings)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct build_spec s;
	parse_at(&a, "((build \"d v\xc3\xbc\" ((from x))) (from \"a b\"))", &s, __LINE__);
	spec_print_stage(&s.stages[0], &b);
	buf_put_char(&b, '\n');
	spec_print_from(&s, &b);
	CHECK_STR(b.p, "(build \"d v\\195\\188\" …)\n(from \"a b\")");
}

/* -- Dockerfiles --------------------------------------------------------------------------------------------------- */

static void check_docker(const char *text, enum spec_docker_flags flags, const char *want, int line)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	struct build_spec s;
	parse_at(&a, text, &s, line);
	if (spec_dockerfile(&s, "f", flags, &b, &e) < 0)
		test_check_str(__FILE__, line, "error", e.msg, want);
	else
		test_check_str(__FILE__, line, "Dockerfile", b.p, want);
}
#define DOCKER(z, flags, want) check_docker(z, flags, want, __LINE__)

static const char test_spec[] = "((from base) (comment \"A test comment\") (workdir /src) (run (shell command1))\n"
				"(shell /bin/sh -c) (run (cache (a (target /data)) (b (target /srv)))\n"
				"                        (secrets (s (target /s) (buildkit_options ((mode 0400)))))\n"
				"                        (shell \"command2 &&\n          command3\"))\n"
				"(copy (src a b) (dst c)) (copy (src a b) (dst c) (exclude .git _build))\n"
				"(env DEBUG 1) (env ESCAPE \"\\\"quote\\\\sla\\\\sh\\\"\") (user (uid 1) (gid 2))\n"
				"(copy (src a b) (dst c)))";

TEST(dockerfile)
{
	DOCKER(test_spec, 0,
	       "FROM base\n# A test comment\nWORKDIR /src\nRUN command1\nSHELL [ \"/bin/sh\", \"-c\" ]\n"
	       "RUN command2 && \\\n    command3\nCOPY a b c\nCOPY a b c\nENV DEBUG=\"1\"\n"
	       "ENV ESCAPE=\"\\\"quote\\\\sla\\\\sh\\\"\"\nUSER 1:2\nCOPY --chown=1:2 a b c\n");
	DOCKER(test_spec, SPEC_DOCKER_BUILDKIT,
	       "FROM base\n# A test comment\nWORKDIR /src\nRUN command1\nSHELL [ \"/bin/sh\", \"-c\" ]\n"
	       "RUN --mount=type=secret,id=s,target=/s,uid=0,mode=0400 --mount=type=cache,id=a,target=/data,uid=0 "
	       "--mount=type=cache,id=b,target=/srv,uid=0 command2 && \\\n    command3\n"
	       "COPY a b c\nCOPY a b c\nENV DEBUG=\"1\"\n"
	       "ENV ESCAPE=\"\\\"quote\\\\sla\\\\sh\\\"\"\nUSER 1:2\nCOPY --chown=1:2 a b c\n");
	DOCKER("((build tools ((from base) (user (uid 3) (gid 4)) (run (shell \"make tools\")))) (from base)"
	       "(copy (from (build tools)) (src binary) (dst /usr/local/bin/)))",
	       0,
	       "FROM base as tools\nUSER 3:4\nRUN make tools\n\nFROM base\nCOPY --from=tools binary /usr/local/bin/\n");
}

TEST(dockerfile_windows)
{
	DOCKER("((from base) (workdir C:/src) (shell C:/Windows/System32/cmd.exe /c) (run (shell \"a &&\n  b\"))\n"
	       "(env P \"`\\\\\") (user (name Zaphod)) (copy (src a) (dst c)))",
	       SPEC_DOCKER_WINDOWS,
	       "#escape=`\nFROM base\nWORKDIR C:/src\nSHELL [ \"C:/Windows/System32/cmd.exe\", \"/c\" ]\n"
	       "RUN a && `\n    b\nENV P=\"``\\\"\nUSER Zaphod\nCOPY a c\n");
	DOCKER("((from base) (run (cache (a (target /c))) (shell x)))", SPEC_DOCKER_WINDOWS | SPEC_DOCKER_BUILDKIT,
	       "f:1:14: BuildKit mounts belong to a user's number, and user 'ContainerAdministrator' has none; make a plain "
	       "Dockerfile, or write (user (uid N) (gid N))");
}

/* Where OBuilder writes what Docker reads as something else. */
TEST(dockerfile_is_safe)
{
	DOCKER("((from b) (comment \"a\\nRUN rm\") (shell \"a\\\"b\") (copy (src \"a b\" c) (dst d/)))", 0,
	       "FROM b\n# a\n# RUN rm\nSHELL [ \"a\\\"b\" ]\nCOPY [ \"a b\", \"c\", \"d/\" ]\n");
	DOCKER("((from b)\n (env A \"x\\ny\"))", 0,
	       "f:2:2: a Dockerfile has no form for a line's end in this, nor for blanks and controls in a name");
	DOCKER("((from \"b\\nRUN x\"))", 0, "f:1:2: a Dockerfile has no form for blanks and controls in a name");
	DOCKER("((from \"b as c\"))", 0, "f:1:2: a Dockerfile has no form for blanks and controls in a name");
	DOCKER("((from --platform=x))", 0, "f:1:2: a Dockerfile has no form for blanks and controls in a name");
	DOCKER("((build \"a b\" ((from b))) (from b))", 0,
	       "f:1:16: a Dockerfile has no form for blanks and controls in a name");
	DOCKER("((from b)\n (env \"A B\" x))", 0,
	       "f:2:2: a Dockerfile has no form for a line's end in this, nor for blanks and controls in a name");
	DOCKER("((from b) (shell \"\\027[2J\" \"a\\\\b\"))", 0, "FROM b\nSHELL [ \"\\u001b[2J\", \"a\\\\b\" ]\n");
	DOCKER("((from b) (copy (src --from=x) (dst y)) (copy (src [a]) (dst y)))", 0,
	       "FROM b\nCOPY [ \"--from=x\", \"y\" ]\nCOPY [ \"[a]\", \"y\" ]\n");
	DOCKER("((from b) (copy (src \"a\\012b\") (dst y)))", 0, "FROM b\nCOPY [ \"a\\u000cb\", \"y\" ]\n");
}

TEST(a_heading_does_not_steer)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	auto_arena a = ARENA_INIT;
	struct build_spec s;
	parse_at(&a, "((from b) (workdir \"/a\\027[2J\\n\") (run (shell x)))", &s, __LINE__);
	struct spec_context c = spec_context_of(NULL, 0, &a);
	spec_context_step(&c, &s.ops[0], &a);
	spec_print_op(&s.ops[1], &c, &b);
	CHECK_STR(b.p, "/a\\x1b[2J\\x0a: (run (shell x))");
}

/* Ten thousand stages, and as many copies from the first of them: looked up without telling all of them each time. */
TEST(many_stages)
{
	enum { N = 8000 };
	struct timespec before, after;
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct build_spec s;
	buf_put_char(&b, '(');
	for (int i = 0; i < N; i++)
		buf_printf(&b, "(build stage%d ((from b)))", i);
	buf_put_c(&b, "(from b)");
	for (int i = 0; i < N; i++)
		buf_put_c(&b, "(copy (from (build stage0)) (src a) (dst b))");
	buf_put_char(&b, ')');
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	parse_at(&a, b.p, &s, __LINE__);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	CHECK_INT((intmax_t)s.n_ops, N);
	CHECK(after.tv_sec - before.tv_sec < 4); /* under sanitizers, too; it was 8 s without */
}

TEST(recipe)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	struct build_spec s;
	parse_at(&a, "((from b))", &s, __LINE__);
	struct spec_source git = {.url = STR("https://x.example/y/repo.git"),
				  .ref = STR("refs/pull/1/head"),
				  .commit = STR("0123456789abcdef"),
				  .merge_branch = STR("master"),
				  .merge_base = STR("fedc")};
	CHECK(spec_recipe(&s, "f", &git, &b, &e) == 0);
	CHECK_STR(b.p, "cd $(mktemp -d)\n"
		       "git clone --recursive \"https://x.example/y/repo.git\" && cd \"repo\" && git fetch origin "
		       "\"refs/pull/1/head\" && git reset --hard 01234567\n"
		       "git fetch origin master\ngit merge --no-edit fedc\n"
		       "cat > ../Dockerfile <<'END-OF-DOCKERFILE'\nFROM b\n\nEND-OF-DOCKERFILE\n"
		       "docker build -f ../Dockerfile .");
	buf_clear(&b);
	git.merge_branch = STR("a;rm$x");
	CHECK(spec_recipe(&s, "f", &git, &b, &e) == 0);
	CHECK(str_search(buf_str(&b), STR("\ngit fetch origin 'a;rm$x'\n")) > 0);
	buf_clear(&b);
	struct spec_source plain = {.url = STR("host:a'$b/"), .commit = STR("0123")};
	CHECK(spec_recipe(&s, "f", &plain, &b, &e) == 0);
	CHECK(str_starts(buf_str(&b),
			 STR("cd $(mktemp -d)\ngit clone --recursive 'host:a'\\''$b/' && cd 'a'\\''$b' && git "
			     "reset --hard 0123\ncat > ")));
	buf_clear(&b);
	CHECK(spec_recipe(&s, "f", &(struct spec_source){.dir = STR("/my dir")}, &b, &e) == 0);
	CHECK_STR(b.p, "cd \"/my dir\"\ndockerfile=$(mktemp)\ncat > \"$dockerfile\" <<'END-OF-DOCKERFILE'\nFROM b\n\n"
		       "END-OF-DOCKERFILE\ndocker build -f \"$dockerfile\" .");
}
