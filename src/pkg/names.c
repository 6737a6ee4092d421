// SPDX-License-Identifier: Apache-2.0
/* Names of packages, builds and subdirs (CEP 26), of files and entry points (CEP 34). */
#include "base/fs.h"
#include "pkg/pkg.h"

enum { NAME_MAX_CHARS = 64, BUILD_MAX_CHARS = 64, SUBDIR_MAX_CHARS = 32, FILENAME_MAX_CHARS = 211 };

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z');
}

static bool is_separator(char c)
{
	return c == '.' || c == '_' || c == '-';
}

static int bad(struct err *e, const char *what, struct str s, size_t at, const char *why)
{
	return err_new(e, ERR_INPUT, "%s '%.*s': %s at character %zu", what, (int)(s.n > 80 ? 80 : s.n), s.p ? s.p : "",
		       why, at + 1);
}

static int check_length(const char *what, struct str s, size_t max, struct err *e)
{
	if (s.n == 0)
		return err_new(e, ERR_INPUT, "empty %s", what);
	if (s.n > max)
		return err_new(e, ERR_LIMIT, "%s '%.*s…' has %zu characters; at most %zu are allowed", what, 40, s.p,
			       s.n, max);
	return 0;
}

int pkg_name_check(struct str name, struct err *e)
{
	if (check_length("package name", name, NAME_MAX_CHARS, e) < 0)
		return -1;
	/* a virtual package begins with two underscores, any other with a letter, a digit or one underscore */
	size_t i = name.p[0] == '_' ? 1 : 0;
	i += i && name.n > 1 && name.p[1] == '_' ? 1 : 0;
	if (i == name.n || !is_alnum(name.p[i]))
		return bad(e, "package name", name, i < name.n ? i : i - 1,
			   "must begin with a lower-case letter or a digit");
	for (; i < name.n; i++) {
		if (is_alnum(name.p[i]))
			continue;
		if (!is_separator(name.p[i]))
			return bad(e, "package name", name, i,
				   "only a-z, 0-9, '.', '_' and '-' are allowed; found another");
		if (i > 0 && is_separator(name.p[i - 1]))
			return bad(e, "package name", name, i, "two separators in a row");
	}
	return 0;
}

int pkg_build_check(struct str build, struct err *e)
{
	if (check_length("build string", build, BUILD_MAX_CHARS, e) < 0)
		return -1;
	for (size_t i = 0; i < build.n; i++) {
		char c = build.p[i];
		if (!is_alnum((char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c)) && c != '_' && c != '.' && c != '+')
			return bad(e, "build string", build, i,
				   "only letters, digits, '_', '.' and '+' are allowed; found another");
	}
	return 0;
}

int pkg_subdir_check(struct str subdir, struct err *e)
{
	if (check_length("subdir", subdir, SUBDIR_MAX_CHARS, e) < 0)
		return -1;
	if (str_eq_c(subdir, "noarch"))
		return 0;
	size_t dash = 0;
	for (size_t i = 0; i < subdir.n; i++) {
		if (subdir.p[i] == '-' && dash == 0 && i > 0)
			dash = i;
		else if (!is_alnum(subdir.p[i]))
			return bad(e, "subdir", subdir, i,
				   "expected 'noarch' or 'os-arch', such as 'linux-64'; found another character");
	}
	if (dash == 0 || dash + 1 == subdir.n)
		return err_new(e, ERR_INPUT, "subdir '%.*s': expected 'noarch' or 'os-arch', such as 'linux-64'",
			       STR_ARG(subdir));
	return 0;
}

bool pkg_subdir_known(struct str s)
{
	static const char *const known[] = {
		"noarch",
		"linux-64",
		"linux-32",
		"linux-aarch64",
		"linux-armv6l",
		"linux-armv7l",
		"linux-ppc64le",
		"linux-ppc64",
		"linux-riscv32",
		"linux-riscv64",
		"linux-loongarch64",
		"linux-s390x",
		"osx-64",
		"osx-arm64",
		"osx-32",
		"win-64",
		"win-32",
		"win-arm64",
		"freebsd-64",
		"freebsd-arm64",
		"netbsd-64",
		"emscripten-wasm32",
		"emscripten-32",
		"wasi-wasm32",
		"zos-z",
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (str_eq_c(s, known[i]))
			return true;
	return false;
}

bool pkg_filename_split(struct str fn, struct str *name, struct str *version, struct str *build, struct str *ext)
{
	struct str stem = fn;
	if (fn.n > FILENAME_MAX_CHARS)
		return false;
	if (str_ends(fn, STR(".conda")))
		stem.n -= 6;
	else if (str_ends(fn, STR(".tar.bz2")))
		stem.n -= 8;
	else
		return false;
	ptrdiff_t second = str_rfind(stem, '-');
	ptrdiff_t first = second > 0 ? str_rfind(str_head(stem, (size_t)second), '-') : -1;
	if (first <= 0 || second - first < 2 || (size_t)second + 1 >= stem.n || memchr(stem.p, '/', stem.n))
		return false;
	*name = str_head(stem, (size_t)first);
	*version = str_of(stem.p + first + 1, (size_t)(second - first - 1));
	*build = str_skip(stem, (size_t)second + 1);
	*ext = str_skip(fn, stem.n + 1);
	return true;
}

/* -- entry points ------------------------------------------------------------------------------------------------ */

static bool is_dotted_name(struct str s)
{
	bool start = true;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
		if (c == '.' ? start : !letter && (start || c < '0' || c > '9'))
			return false;
		start = c == '.';
	}
	return !start;
}

static bool is_file_name(struct str s)
{
	return s.n > 0 && s.n <= 255 && fs_path_is_inside(s) && str_find(s, '/') < 0;
}

int pkg_entry_point_parse(struct str text, struct str *ret_program, struct str *ret_target, struct err *e)
{
	struct str rest = text, name, module, function;
	if (!str_take_until(&rest, '=', &name))
		return err_new(e, ERR_INPUT, "entry point '%.*s' is not of the form 'program = module:function'",
			       STR_ARG(text));
	ptrdiff_t extras = str_find(rest, '[');
	struct str target = str_trim(extras < 0 ? rest : str_head(rest, (size_t)extras));
	name = str_trim(name);
	function = target;
	if (!is_file_name(name))
		return err_new(e, ERR_INPUT, "entry point '%.*s': its name is not that of a file", STR_ARG(text));
	if (!str_take_until(&function, ':', &module) || !is_dotted_name(str_trim(module)) ||
	    !is_dotted_name(str_trim(function)))
		return err_new(e, ERR_INPUT, "entry point '%.*s' does not name a function as 'module:function'",
			       STR_ARG(text));
	*ret_program = name;
	*ret_target = target;
	return 0;
}
