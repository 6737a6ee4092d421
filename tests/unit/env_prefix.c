// SPDX-License-Identifier: Apache-2.0
/* Placeholders in content, and first lines. */
#include "lib/test.h"

#include "env/layout.h"

static int to_buf(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	buf_put(ctx, p, n);
	return 0;
}

typedef int replace_fn(struct str, struct str, struct str, prefix_sink_fn *, void *, struct err *);

static const char *replaced(replace_fn *fn, struct str in, const char *placeholder, const char *prefix, size_t *n)
{
	static struct buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	buf_clear(&b);
	CHECK_MSG(fn(in, str_c(placeholder), str_c(prefix), to_buf, &b, &e) == 0, "%s", e.msg);
	if (n)
		*n = b.n;
	return b.p;
}

static const char *text(const char *in, const char *prefix)
{
	return replaced(prefix_text, str_c(in), "/OLD", prefix, NULL);
}

/* A prefix of n bytes. */
static const char *long_prefix(size_t n)
{
	static char p[512];
	memset(p, 'p', n);
	p[0] = '/';
	p[n] = '\0';
	return p;
}

TEST(text_without_a_placeholder_stays)
{
	CHECK_STR(text("#!/bin/sh\nx\n", "/new"), "#!/bin/sh\nx\n");
	CHECK_STR(text("", "/new"), "");
	CHECK_STR(replaced(prefix_text, STR("abc"), "", "/new", NULL), "abc");
}

TEST(every_occurrence_is_replaced)
{
	CHECK_STR(text("/OLD/OLD x/OLD", "/n"), "/n/n x/n");
	CHECK_STR(text("a\n/OLD", "/longer/one"), "a\n/longer/one");
	CHECK_STR(text("/OL/OLD", "/n"), "/OL/n");
}

TEST(a_short_first_line_stays_a_plain_one)
{
	CHECK_STR(text("#!/OLD/bin/python -u\nimport x\n/OLD\n", "/new"), "#!/new/bin/python -u\nimport x\n/new\n");
	CHECK_STR(text("#! /OLD/bin/perl\n", "/new"), "#!/new/bin/perl\n");
	CHECK_STR(text("#!/OLD/bin/sh\r\nx", "/new"), "#!/new/bin/sh\nx");
}

TEST(a_line_of_127_bytes_is_read_by_every_kernel)
{
	char want[1024];
	const char *prefix = long_prefix(127 - strlen("#!/bin/sh"));
	snprintf(want, sizeof(want), "#!%s/bin/sh\n", prefix);
	CHECK_STR(text("#!/OLD/bin/sh\n", prefix), want);
	CHECK_STR(text("#!/OLD/bin/sh\n", long_prefix(128 - strlen("#!/bin/sh"))), "#!/usr/bin/env sh\n");
}

TEST(a_long_first_line_finds_another_way)
{
	char want[1024];
	const char *prefix = long_prefix(200);
	CHECK_STR(text("#!/OLD/bin/perl\nx\n", prefix), "#!/usr/bin/env perl\nx\n");
	CHECK_STR(text("#!/OLD/bin/perl -w\nx\n", prefix), "#!/usr/bin/env -S perl -w\nx\n");
	snprintf(want, sizeof(want), "#!/bin/sh\n'''exec' \"%s/bin/python3.9\" -u \"$0\" \"$@\" #'''\nx\n", prefix);
	CHECK_STR(text("#!/OLD/bin/python3.9 -u\nx\n", prefix), want);
}

TEST(a_prefix_with_spaces_finds_another_way)
{
	CHECK_STR(text("#!/OLD/bin/python\n", "/my \"$home\""),
		  "#!/bin/sh\n'''exec' \"/my \\\"\\$home\\\"/bin/python\" \"$0\" \"$@\" #'''\n");
	CHECK_STR(text("#!/OLD/bin/node\n", "/my home"), "#!/usr/bin/env node\n");
	CHECK_STR(text("#!/usr/bin/env python\n/OLD\n", "/my home"), "#!/usr/bin/env python\n/my home\n");
}

TEST(the_trick_runs_in_the_shell_and_in_python)
{
	char dir[256], script[512], command[1024];
	struct buf b = BUF_INIT(4096);
	if (system("python3 -c 'import sys' >/dev/null 2>&1") != 0)
		SKIP("no python3");
	snprintf(dir, sizeof(dir), "%s/a b'c$d", test_tmp());
	CHECK(mkdir(dir, 0755) == 0);
	snprintf(script, sizeof(script), "%s/python3", dir);
	snprintf(command, sizeof(command), "ln -s \"$(command -v python3)\" \"%s/a b'c\\$d/python3\"", test_tmp());
	CHECK(system(command) == 0);
	prefix_shebang(str_c(script), STR(""), &b);
	buf_put_c(&b, "import sys\nsys.exit(40 + len(sys.argv))\n");
	snprintf(script, sizeof(script), "%s/script", test_tmp());
	FILE *f = fopen(script, "w");
	CHECK(f && fwrite(b.p, 1, b.n, f) == b.n && fclose(f) == 0 && chmod(script, 0755) == 0);
	snprintf(command, sizeof(command), "%s one", script);
	CHECK_INT(WEXITSTATUS(system(command)), 42);
	buf_release(&b);
}

TEST(binary_strings_are_filled_up)
{
	size_t n;
	const char *got = replaced(prefix_binary, STR("a\0/OLD/x:/OLD/y\0b/OLD\0c"), "/OLD", "/n", &n);
	CHECK_INT(n, sizeof("a\0/OLD/x:/OLD/y\0b/OLD\0c") - 1);
	CHECK(memcmp(got, "a\0/n/x:/n/y\0\0\0\0\0b/n\0\0\0c", n) == 0);
}

TEST(a_binary_string_may_end_with_the_file)
{
	size_t n;
	const char *got = replaced(prefix_binary, STR("x/OLD/y"), "/OLD", "/n", &n);
	CHECK(n == 7 && memcmp(got, "x/n/y\0\0", 7) == 0);
	got = replaced(prefix_binary, STR("none"), "/OLD", "/much/too/long", &n);
	CHECK(n == 4 && memcmp(got, "none", 4) == 0);
	got = replaced(prefix_binary, STR("/OLD"), "/OLD", "/new", &n);
	CHECK(n == 4 && memcmp(got, "/new", 4) == 0);
}

TEST(a_placeholder_of_one_byte_cannot_fill_the_disk)
{
	struct buf in = BUF_INIT(1 << 26), out = BUF_INIT((size_t)1 << 30);
	struct err e = ERR_INIT;
	for (unsigned i = 0; i < 1 << 20; i++)
		buf_put_char(&in, '/');
	CHECK(prefix_text(buf_str(&in), STR("/"), str_c(long_prefix(400)), to_buf, &out, &e) < 0);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK(out.n < 80 << 20);
	buf_release(&in);
	buf_release(&out);
}
