// SPDX-License-Identifier: Apache-2.0
/*
 * Names with parts: package files, entry points, first lines. What is taken apart is put together again to the same; a
 * script that is made for an entry point has the lines it is meant to have and no more.
 */
#include "base/fs.h"
#include "env/layout.h"
#include "pkg/pkg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good, const char *what, struct str s)
{
	if (!good)
		panic("%s: '%.*s'", what, STR_ARG(s));
}

static void check_filename(struct arena *a, struct str s)
{
	struct str name, version, build, ext;
	if (!pkg_filename_split(s, &name, &version, &build, &ext))
		return;
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_str(&b, name);
	buf_put_char(&b, '-');
	buf_put_str(&b, version);
	buf_put_char(&b, '-');
	buf_put_str(&b, build);
	buf_put_char(&b, '.');
	buf_put_str(&b, ext);
	must(str_eq(buf_str(&b), s), "a file name in parts", s);
	must(name.n && version.n && build.n && str_find(version, '-') < 0 && str_find(build, '-') < 0, "a part", s);
	/* what the checks let through cannot leave a folder, and means the same in a spec */
	struct err e = ERR_INIT;
	if (pkg_name_check(name, &e) < 0 || pkg_build_check(build, &e) < 0 || pkg_version_check(version, &e) < 0)
		return;
	must(fs_path_is_inside(s) && str_find(s, '/') < 0, "leads out", s);
	struct pkg_record r = {.name = name, .version = version, .build = build};
	char *text = arena_printf(a, "%.*s==%.*s=%.*s", STR_ARG(name), STR_ARG(version), STR_ARG(build));
	const struct spec *spec = pkg_conda.spec_parse(a, str_c(text), SPEC_REQUEST, &e);
	must(spec != NULL, e.msg, s);
	must(pkg_conda.spec_match(spec, &r), "no match for itself", s);
}

static size_t lines(struct str s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == '\n';
	return n;
}

static void check_entry_point(struct str s)
{
	struct str program, target, text;
	struct err e = ERR_INIT;
	auto_buf known = BUF_INIT(BUF_MAX), b = BUF_INIT(BUF_MAX);
	if (pkg_entry_point_parse(s, &program, &target, &e) < 0) {
		must(e.msg[0], "no reason", s);
		return;
	}
	must(fs_path_is_inside(program) && str_find(program, '/') < 0, "a program's name", program);
	entry_point_text(STR("m:f"), "/opt/x", "bin/python3.9", &known);
	entry_point_text(target, "/opt/x", "bin/python3.9", &b);
	text = buf_str(&b);
	must(lines(text) == lines(buf_str(&known)), "more lines than there should be", text);
	must(str_starts(text, STR("#!/opt/x/bin/python3.9\n")), "another first line", text);
	for (size_t i = 0; i < target.n; i++)
		must(!strchr("'\"\\();#", target.p[i]) || target.p[i] == '\0', "code in an entry point", target);
}

/* "interpreter arguments": what prefix_shebang makes of it is a line, or the two of the trick, that fits. */
static void check_first_line(struct str s)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct str interpreter, args = STR_NONE;
	if (!str_starts(s, STR("/")) || str_find(s, '\n') >= 0)
		return;
	if (str_take_until(&s, ' ', &interpreter))
		args = s;
	else
		interpreter = s;
	prefix_shebang(interpreter, args, &b);
	struct str text = buf_str(&b), first = STR_NONE;
	must(str_starts(text, STR("#!/")) && str_take_line(&text, &first), "no first line", buf_str(&b));
	must(first.n <= SHEBANG_MAX || str_starts(first, STR("#!/usr/bin/env ")), "too long", first);
	must(lines(text) == (text.n > 0), "lines", buf_str(&b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct str s = str_of((const char *)data, size);
	struct err e = ERR_INIT;
	if (size > 4000)
		return 0;
	must((pkg_subdir_check(s, &e) < 0) == (e.msg[0] != '\0'), "no reason", s);
	must(!pkg_subdir_known(s) || e.code == ERR_NONE, "known, but no platform", s);
	check_filename(&a, s);
	check_entry_point(s);
	check_first_line(s);
	return 0;
}
