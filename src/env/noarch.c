// SPDX-License-Identifier: Apache-2.0
/* Noarch Python packages: CEP 17 (where site-packages is), CEP 20 (which packages), CEP 34 (entry points). */
#include "base/fs.h"
#include "env/layout.h"

#define SITE_PACKAGES STR("site-packages/")
#define PYTHON_SCRIPTS STR("python-scripts/")

/* "3.12.4" → 3, 12 */
static bool version_take(struct str v, unsigned *major, unsigned *minor)
{
	uint64_t a, b;
	if (!str_take_u64(&v, &a) || !str_take_char(&v, '.') || !str_take_u64(&v, &b) || a > 99 || b > 999)
		return false;
	*major = (unsigned)a;
	*minor = (unsigned)b;
	return true;
}

int python_find(const struct link_pkg *p, size_t n, struct arena *a, struct python_info *ret, struct err *e)
{
	*ret = (struct python_info){0};
	for (size_t i = 0; i < n; i++) {
		const struct pkg_record *r = &p[i].record;
		if (!str_eq_c(r->name, "python"))
			continue;
		struct str path = r->python_site_packages_path;
		if (path.n > 0 && path.p[path.n - 1] == '/')
			path.n--;
		if (path.n > 0 && (!fs_path_is_inside(path) || str_starts(path, STR("conda-meta"))))
			return err_new(e, ERR_INPUT,
				       "package '%.*s': python_site_packages_path '%.*s' is not a folder inside the "
				       "environment; a corrected package is needed",
				       STR_ARG(r->fn), STR_ARG(path));
		if (!version_take(r->version, &ret->major, &ret->minor))
			return err_new(e, ERR_INPUT, "package '%.*s': version '%.*s' does not begin with two numbers",
				       STR_ARG(r->fn), STR_ARG(r->version));
		if (path.n == 0)
			path = str_c(arena_printf(a, "lib/python%u.%u/site-packages", ret->major, ret->minor));
		ret->site_packages = path;
		ret->present = true;
		return 0;
	}
	return 0;
}

/* == entry points ================================================================================================= */
void entry_point_text(struct str target, const char *prefix, const char *python, struct buf *b)
{
	struct str function = target, module, first, rest;
	auto_buf interpreter = BUF_INIT(BUF_MAX);
	buf_printf(&interpreter, "%s/%s", prefix, python);
	prefix_shebang(buf_str(&interpreter), STR(""), b);
	str_take_until(&function, ':', &module);
	module = str_trim(module);
	function = rest = str_trim(function);
	if (!str_take_until(&rest, '.', &first))
		first = function;
	buf_put_c(b, "# Runs a console entry point of a noarch Python package; written when the environment was made.\n"
		     "import sys\n\n");
	buf_printf(b, "from %.*s import %.*s\n\n", STR_ARG(module), STR_ARG(first));
	buf_printf(b, "if __name__ == '__main__':\n    sys.exit(%.*s())\n", STR_ARG(function));
}

static int add_entry_points(struct link_pkg *p, struct err *e)
{
	for (uint32_t i = 0; i < p->entry_points_n; i++) {
		struct str name, target;
		if (pkg_entry_point_parse(p->entry_points[i], &name, &target, e) < 0)
			return -1;
		if (p->entries.n >= PATHS_MAX)
			return err_new(e, ERR_LIMIT, "more than %d paths", PATHS_MAX);
		struct path_entry *en = vec_add(&p->entries);
		en->type = PATH_ENTRY_POINT;
		en->path = en->dest = str_c(arena_printf(&p->arena, "bin/%.*s", STR_ARG(name)));
		en->target = target;
	}
	return 0;
}

/* == where the files go =========================================================================================== */
static int map_entry(struct link_pkg *p, struct path_entry *en, const struct python_info *py, struct err *e)
{
	struct str rest = en->path;
	if (str_take_str(&rest, SITE_PACKAGES)) {
		en->dest = str_c(arena_printf(&p->arena, "%.*s/%.*s", STR_ARG(py->site_packages), STR_ARG(rest)));
		en->compile = en->type == PATH_HARD && str_ends(rest, STR(".py"));
	} else if (str_take_str(&rest, PYTHON_SCRIPTS)) {
		en->dest = str_c(arena_printf(&p->arena, "bin/%.*s", STR_ARG(rest)));
	} else if (str_eq_c(rest, "site-packages")) {
		en->dest = py->site_packages;
	} else if (str_eq_c(rest, "python-scripts")) {
		en->dest = STR("bin");
	}
	if (en->dest.n > 4096)
		return err_new(e, ERR_LIMIT, "path '%.*s' becomes too long", STR_ARG(en->path));
	return 0;
}

int noarch_map(struct link_pkg *p, const struct python_info *py, struct err *e)
{
	if (!p->noarch_python)
		return 0;
	if (!py->present)
		return err_new(
			e, ERR_INPUT,
			"package '%.*s' is a noarch Python package, but the environment has no 'python': add it to "
			"what is asked for",
			STR_ARG(p->record.fn));
	vec_foreach(en, &p->entries) {
		if (map_entry(p, en, py, e) < 0)
			return err_ctx(e, "package '%.*s'", STR_ARG(p->record.fn));
	}
	return add_entry_points(p, e) < 0 ? err_ctx(e, "package '%.*s'", STR_ARG(p->record.fn)) : 0;
}
