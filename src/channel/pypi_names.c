// SPDX-License-Identifier: Apache-2.0
/* Names of Python projects (PEP 503), and what the names of their files say (PEP 427, 625 and what was before). */
#include "channel/pypi.h"
#include "pkg/pkg.h"

enum { NAME_BYTES_MAX = 200, FILENAME_MAX_BYTES = 255 };

static bool is_separator(char c)
{
	return c == '-' || c == '_' || c == '.';
}

struct str pypi_normal(struct arena *a, struct str name)
{
	char *p = arena_alloc(a, name.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		if (is_separator(c)) {
			if (n == 0 || p[n - 1] != '-' || !is_separator(name.p[i - 1]))
				p[n++] = '-';
			continue;
		}
		p[n++] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	p[n] = '\0';
	return str_of(p, n);
}

bool pypi_is_name(struct str name)
{
	if (name.n == 0 || name.n > NAME_BYTES_MAX || name.p[0] == '-' || name.p[name.n - 1] == '-')
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		if (!letter && (c != '-' || name.p[i - 1] == '-'))
			return false;
	}
	return true;
}

/* A file name that a folder can hold and a page can tell. */
static bool is_good(struct str fn)
{
	if (fn.n == 0 || fn.n > FILENAME_MAX_BYTES || fn.p[0] == '.')
		return false;
	for (size_t i = 0; i < fn.n; i++)
		if ((unsigned char)fn.p[i] <= ' ' || (unsigned char)fn.p[i] >= 0x7f || fn.p[i] == '/' ||
		    fn.p[i] == '\\')
			return false;
	return true;
}

static bool is_project(struct arena *a, struct str text, struct str project, struct pypi_filename *ret)
{
	struct str normal = pypi_normal(a, text);
	if (!pypi_is_name(normal) || (project.p && !str_eq(normal, project)))
		return false;
	ret->project = normal;
	return true;
}

/* name-version[-build]-python-abi-platform.whl */
static bool read_wheel(struct arena *a, struct str s, struct str project, struct pypi_filename *ret)
{
	struct str part[6], rest = s;
	size_t n = 0;
	while (n < 6 && str_take_until(&rest, '-', &part[n]))
		n++;
	if (n == 6)
		return false;
	part[n++] = rest;
	if (n < 5 || (n == 6 && (part[2].n == 0 || part[2].p[0] < '0' || part[2].p[0] > '9')))
		return false;
	for (size_t i = 0; i < n; i++)
		if (part[i].n == 0)
			return false;
	ret->form = PYPI_WHEEL;
	ret->version = part[1];
	ret->platform = part[n - 1];
	return is_project(a, part[0], project, ret);
}

/* Names may hold '-': which one ends it is told by the project, or else it is the last (PEP 625 has no other). */
static bool read_name_version(struct arena *a, struct str s, struct str project, struct pypi_filename *ret)
{
	ptrdiff_t last = str_rfind(s, '-');
	for (size_t i = project.p || last < 0 ? 1 : (size_t)last; i + 1 < s.n; i++)
		if (s.p[i] == '-' && is_project(a, str_head(s, i), project, ret)) {
			ret->version = str_skip(s, i + 1);
			return true;
		}
	return false;
}

bool pypi_filename_read(struct arena *a, struct str fn, struct str project, struct pypi_filename *ret)
{
	static const struct {
		const char *ext;
		enum pypi_form form;
	} forms[] = {
		{".tar.gz", PYPI_SDIST}, {".zip", PYPI_SDIST},	 {".tar.bz2", PYPI_SDIST}, {".tgz", PYPI_SDIST},
		{".tar.xz", PYPI_SDIST}, {".tar.Z", PYPI_SDIST}, {".tar", PYPI_SDIST},	   {".egg", PYPI_OTHER},
		{".exe", PYPI_OTHER},	 {".msi", PYPI_OTHER},	 {".rpm", PYPI_OTHER},	   {".deb", PYPI_OTHER},
		{".dmg", PYPI_OTHER},
	};
	*ret = (struct pypi_filename){.form = PYPI_OTHER};
	if (!is_good(fn))
		return false;
	if (str_ends(fn, STR(".whl")))
		return read_wheel(a, str_head(fn, fn.n - 4), project, ret);
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		struct str ext = str_c(forms[i].ext);
		if (!str_ends(fn, ext))
			continue;
		ret->form = forms[i].form;
		if (!read_name_version(a, str_head(fn, fn.n - ext.n), project, ret))
			return false;
		/* name-version-py3.11.egg, name-1.0.win32.exe: for whom it is stands behind */
		ptrdiff_t more = str_find(ret->version, '-');
		if (ret->form == PYPI_OTHER)
			ret->version = more > 0 && str_eq_c(ext, ".egg") ? str_head(ret->version, (size_t)more)
									 : STR_NONE;
		return true;
	}
	return false;
}

int pypi_file_cmp(const void *x, const void *y)
{
	const struct pypi_file *a = x, *b = y;
	int c = !!a->order - !!b->order;
	if (!c && a->order)
		c = pep440_cmp(a->order, b->order);
	return c ? c : str_cmp(a->filename, b->filename);
}

struct digest_value pypi_digest(const struct pypi_hash *hash, size_t n)
{
	static const struct {
		const char *name;
		enum digest_kind kind;
	} kinds[] = {{"sha256", DIGEST_SHA256}, {"sha512", DIGEST_SHA512}, {"sha1", DIGEST_SHA1}, {"md5", DIGEST_MD5}};
	struct digest_value v = {0};
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
		for (size_t i = 0; i < n; i++)
			if (str_eq_c(hash[i].kind, kinds[k].name) && digest_parse(kinds[k].kind, hash[i].hex, &v))
				return v;
	return (struct digest_value){0};
}
