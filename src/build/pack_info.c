// SPDX-License-Identifier: Apache-2.0
/* The files of info/ (CEP 34): what is there is checked and kept, what is missing is written. */
#include "base/fs.h"
#include "base/map.h"
#include "build/pack.h"
#include "channel/channel.h"
#include "pkg/pkg.h"

enum { PATHS_JSON_MAX = 256 << 20, SMALL_MAX = 16 << 20 };

/* == what describes the package =================================================================================== */
static int entry_point_check(struct str text, struct err *e)
{
	struct str name, target;
	if (pkg_entry_point_parse(text, &name, &target, e) == 0)
		return 0;
	e->code = ERR_USAGE;
	return -1;
}

static int specs_check(const char *what, struct pack_list list, struct str own_name, bool *ret_python, struct err *e)
{
	auto_arena a = ARENA_INIT;
	for (size_t i = 0; i < list.n; i++) {
		const struct spec *s = pkg_conda.spec_parse(&a, list.v[i], SPEC_REQUEST, e);
		if (!s)
			return err_ctx(e, "%s", what);
		if (spec_channel(s).n > 0)
			return err_new(e, ERR_USAGE, "%s: '%.*s' names a channel, which a package cannot", what,
				       STR_ARG(list.v[i]));
		if (spec_name(s).n == 0)
			return err_new(e, ERR_USAGE, "%s: '%.*s' does not name a package", what, STR_ARG(list.v[i]));
		if (ret_python && str_eq(spec_name(s), own_name))
			return err_new(e, ERR_USAGE, "%s: '%.*s' is the package itself", what, STR_ARG(list.v[i]));
		if (ret_python && str_eq_c(spec_name(s), "python"))
			*ret_python = true;
	}
	return 0;
}

static int python_check(const struct pack_meta *m, bool needs_python, struct err *e)
{
	bool is_python = str_eq_c(m->noarch, "python");
	if (is_python && !needs_python)
		return err_new(e, ERR_USAGE, "a noarch Python package must depend on 'python'; add it to its depends");
	if (!is_python && m->entry_points.n > 0)
		return err_new(e, ERR_USAGE,
			       "entry points are for noarch Python packages; for others put the program into bin/");
	for (size_t i = 0; i < m->entry_points.n; i++)
		if (entry_point_check(m->entry_points.v[i], e) < 0)
			return -1;
	if (m->python_site_packages_path.n > 0 && !fs_path_is_inside(m->python_site_packages_path))
		return err_new(e, ERR_USAGE, "python_site_packages_path '%.*s' is not a folder inside a prefix",
			       STR_ARG(m->python_site_packages_path));
	return 0;
}

static int prefix_check(struct str prefix, struct err *e)
{
	if (prefix.n == 0)
		return 0;
	if (prefix.p[0] != '/' || prefix.n < 2 || prefix.p[prefix.n - 1] == '/' ||
	    !fs_path_is_inside(str_skip(prefix, 1)))
		return err_new(e, ERR_USAGE, "prefix '%.*s' is not an absolute path without '/' at its end",
			       STR_ARG(prefix));
	return 0;
}

static int subdir_finish(struct pack_meta *m, struct err *e)
{
	bool noarch = m->noarch.n > 0 || str_eq_c(m->subdir, "noarch");
	if (noarch && m->noarch.n == 0)
		m->noarch = STR("generic");
	if (noarch && !str_eq_c(m->noarch, "python") && !str_eq_c(m->noarch, "generic"))
		return err_new(e, ERR_USAGE, "noarch is 'python' or 'generic', not '%.*s'", STR_ARG(m->noarch));
	if (m->subdir.n == 0)
		m->subdir = noarch ? STR("noarch") : channel_host_subdir();
	if (noarch && !str_eq_c(m->subdir, "noarch"))
		return err_new(e, ERR_USAGE, "a noarch package is for subdir 'noarch', not '%.*s'", STR_ARG(m->subdir));
	return pkg_subdir_check(m->subdir, e);
}

static int finish(struct arena *a, struct pack_meta *m, struct err *e)
{
	bool python = false;
	if (m->name.n == 0 || m->version.n == 0)
		return err_new(e, ERR_USAGE,
			       "the package's %s is not known; give --name and --version, or put a pack.yml with them "
			       "(or an info/index.json) into the folder",
			       m->name.n == 0 ? "name" : "version");
	if (str_find(m->version, '-') >= 0)
		return err_new(e, ERR_USAGE,
			       "version '%.*s' holds a '-', which separates it from the build in a file's name",
			       STR_ARG(m->version));
	if (m->build_number < 0)
		m->build_number = 0;
	if (m->build_number > UINT32_MAX)
		return err_new(e, ERR_USAGE, "build number %lld is out of range", (long long)m->build_number);
	if (subdir_finish(m, e) < 0)
		return -1;
	if (m->build.n == 0)
		m->build = str_c(arena_printf(a, "%s%lld", str_eq_c(m->noarch, "python") ? "py_" : "",
					      (long long)m->build_number));
	if (pkg_name_check(m->name, e) < 0 || pkg_version_check(m->version, e) < 0 ||
	    pkg_build_check(m->build, e) < 0 || specs_check("depends", m->depends, m->name, &python, e) < 0 ||
	    specs_check("constrains", m->constrains, m->name, NULL, e) < 0 ||
	    specs_check("run_exports", m->run_exports, m->name, NULL, e) < 0 ||
	    specs_check("run_exports_strong", m->run_exports_strong, m->name, NULL, e) < 0 ||
	    python_check(m, python, e) < 0)
		return -1;
	return prefix_check(m->prefix, e);
}

/* Whatever is wrong here, somebody said it. */
int meta_finish(struct arena *a, struct pack_meta *m, struct err *e)
{
	if (finish(a, m, e) == 0)
		return 0;
	e->code = ERR_USAGE;
	return -1;
}

/* == a folder that has its own index.json ========================================================================= */
static int index_specs(struct arena *a, const struct json *j, const char *key, struct err *e)
{
	const struct json *list;
	if (json_opt_array(j, key, &list, e) < 0)
		return -1;
	for (uint32_t i = 0; list && i < list->n; i++) {
		if (list->item[i].type != JSON_STRING)
			return err_new(e, ERR_INPUT, "info/index.json: '%s' holds something that is not a text", key);
		if (!pkg_conda.spec_parse(a, list->item[i].string, SPEC_DEPENDENCY, e))
			return err_ctx(e, "info/index.json: '%s'", key);
	}
	return 0;
}

int meta_from_index(struct arena *a, struct str text, struct pack_meta *m, struct err *e)
{
	const struct json *j = json_parse(a, text, "info/index.json", e);
	const struct json *noarch = j ? json_get(j, "noarch") : NULL;
	if (!j)
		return -1;
	if (j->type != JSON_OBJECT)
		return err_new(e, ERR_INPUT, "info/index.json is not an object");
	if (json_get_str(j, "name", &m->name, e) < 0 || json_get_str(j, "version", &m->version, e) < 0 ||
	    json_get_str(j, "build", &m->build, e) < 0 || json_get_int(j, "build_number", &m->build_number, e) < 0 ||
	    json_opt_str(j, "subdir", &m->subdir, e) < 0)
		return -1;
	if (noarch && noarch->type == JSON_STRING)
		m->noarch = noarch->string;
	if (m->build_number < 0 || m->build_number > UINT32_MAX)
		return err_new(e, ERR_INPUT, "info/index.json: 'build_number' is out of range");
	if (m->subdir.n == 0)
		return err_new(e, ERR_INPUT, "info/index.json names no 'subdir'; add it, as \"subdir\": \"linux-64\"");
	if (pkg_name_check(m->name, e) < 0 || !pkg_conda.version_parse(a, m->version, e) ||
	    pkg_build_check(m->build, e) < 0 || pkg_subdir_check(m->subdir, e) < 0)
		return err_ctx(e, "info/index.json");
	if (index_specs(a, j, "depends", e) < 0 || index_specs(a, j, "constrains", e) < 0)
		return -1;
	return prefix_check(m->prefix, e);
}

/* == writing what is missing ====================================================================================== */
static void write_index(struct buf *b, const struct pack_meta *m, int64_t time_s)
{
	struct jw w = JW_INIT(b, 2);
	jw_object(&w);
	jw_kv_str(&w, "build", m->build);
	jw_kv_int(&w, "build_number", m->build_number);
	if (m->constrains.n > 0)
		jw_kv_list(&w, "constrains", m->constrains.v, m->constrains.n);
	jw_kv_list(&w, "depends", m->depends.v, m->depends.n);
	jw_kv_opt(&w, "license", m->license);
	jw_kv_opt(&w, "license_family", m->license_family);
	jw_kv_str(&w, "name", m->name);
	jw_kv_opt(&w, "noarch", m->noarch);
	jw_kv_opt(&w, "python_site_packages_path", m->python_site_packages_path);
	jw_kv_str(&w, "subdir", m->subdir);
	if (time_s >= 0)
		jw_kv_int(&w, "timestamp", time_s * 1000);
	jw_kv_opt(&w, "track_features", m->track_features);
	jw_kv_str(&w, "version", m->version);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

static void write_about(struct buf *b, const struct pack_meta *m)
{
	struct jw w = JW_INIT(b, 2);
	jw_object(&w);
	jw_kv_opt(&w, "description", m->description);
	jw_kv_opt(&w, "dev_url", m->dev_url);
	jw_kv_opt(&w, "doc_url", m->doc_url);
	jw_kv_opt(&w, "home", m->home);
	jw_kv_opt(&w, "license", m->license);
	jw_kv_opt(&w, "license_family", m->license_family);
	jw_kv_opt(&w, "summary", m->summary);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

static void write_run_exports(struct buf *b, const struct pack_meta *m)
{
	struct jw w = JW_INIT(b, 2);
	jw_object(&w);
	if (m->run_exports_strong.n)
		jw_kv_list(&w, "strong", m->run_exports_strong.v, m->run_exports_strong.n);
	if (m->run_exports.n)
		jw_kv_list(&w, "weak", m->run_exports.v, m->run_exports.n);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

static void write_link(struct buf *b, const struct pack_meta *m)
{
	struct jw w = JW_INIT(b, 2);
	jw_object(&w);
	jw_key(&w, "noarch");
	jw_object(&w);
	jw_kv_list(&w, "entry_points", m->entry_points.v, m->entry_points.n);
	jw_kv_c(&w, "type", "python");
	jw_object_end(&w);
	jw_kv_int(&w, "package_metadata_version", 1);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

static void write_paths(struct buf *b, const struct staged *s)
{
	static const char *const types[] = {
		[STAGED_FILE] = "hardlink", [STAGED_LINK] = "softlink", [STAGED_DIR] = "directory"};
	struct jw w = JW_INIT(b, 2);
	char hex[SHA256_HEX_SIZE];
	jw_object(&w);
	jw_key(&w, "paths");
	jw_array(&w);
	vec_foreach(f, &s->pkg) {
		jw_object(&w);
		jw_kv_str(&w, "_path", f->path);
		if (f->has_prefix)
			jw_kv_c(&w, "file_mode", f->binary ? "binary" : "text");
		jw_kv_c(&w, "path_type", types[f->kind]);
		if (f->has_prefix)
			jw_kv_str(&w, "prefix_placeholder", s->prefix);
		hex_encode(f->sha256, SHA256_SIZE, hex);
		jw_kv_c(&w, "sha256", hex);
		jw_kv_int(&w, "size_in_bytes", (int64_t)f->size);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_kv_int(&w, "paths_version", 1);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

static void write_files(struct buf *b, const struct staged *s)
{
	vec_foreach(f, &s->pkg) {
		if (f->kind == STAGED_DIR)
			continue;
		buf_put_str(b, f->path);
		buf_put_char(b, '\n');
	}
}

/* == checking what is there ======================================================================================= */
static int differs(const char *path, const char *why, struct err *e)
{
	return err_new(e, ERR_INPUT, "info/paths.json: '%s' %s; remove info/paths.json to have it written anew", path,
		       why);
}

static int path_check(const struct json *j, struct staged *s, const struct map *by_path, bool *seen, struct err *e)
{
	struct str path, sha = STR_NONE;
	int64_t size = -1;
	uint8_t want[SHA256_SIZE];
	if (json_get_str(j, "_path", &path, e) < 0 || json_opt_str(j, "sha256", &sha, e) < 0 ||
	    json_opt_int(j, "size_in_bytes", &size, e) < 0)
		return err_ctx(e, "info/paths.json");
	if (path.n > 1 && path.p[path.n - 1] == '/')
		path.n--;
	if (str_starts(path, STR("info/")))
		return 0;
	uint64_t *at = map_get(by_path, path);
	if (!at)
		return fs_path_is_inside(path) && fs_exists(s->dirfd, path.p)
			       ? 0 /* a folder that holds something */
			       : differs(path.p, "is not in the folder", e);
	const struct staged_file *f = &s->pkg.v[*at];
	seen[*at] = true;
	if (f->kind != STAGED_FILE)
		return 0;
	if (size >= 0 && (uint64_t)size != f->size)
		return differs(path.p, "has another size", e);
	if (sha.n > 0 && (!str_unhex(sha, want, SHA256_SIZE) || memcmp(want, f->sha256, SHA256_SIZE) != 0))
		return differs(path.p, "has another digest", e);
	return 0;
}

static int paths_check(struct staged *s, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_map by_path = MAP_INIT;
	const struct json *j, *list;
	struct str text;
	if (s->prefix.n > 0)
		return err_new(
			e, ERR_USAGE,
			"'%s' holds an info/paths.json, which says where a prefix is; remove it, or give no prefix",
			s->folder);
	if (staged_info_read(s, "info/paths.json", PATHS_JSON_MAX, &text, e) < 0)
		return -1;
	if (!(j = json_parse(&a, text, "info/paths.json", e)) || json_opt_array(j, "paths", &list, e) < 0)
		return -1;
	if (!list)
		return err_new(e, ERR_INPUT, "info/paths.json: no list 'paths'");
	vec_foreach(f, &s->pkg)
		*map_put(&by_path, f->path) = (uint64_t)(f - s->pkg.v);
	bool *seen = arena_array(&a, bool, s->pkg.n + 1);
	for (uint32_t i = 0; i < list->n; i++)
		if (path_check(&list->item[i], s, &by_path, seen, e) < 0)
			return -1;
	for (size_t i = 0; i < s->pkg.n; i++)
		if (!seen[i] && s->pkg.v[i].kind != STAGED_DIR)
			return differs(s->pkg.v[i].path.p, "is in the folder, but not in the list", e);
	return 0;
}

static int link_check(struct staged *s, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct json *j, *noarch, *list = NULL;
	struct str text, type = STR_NONE;
	if (staged_info_read(s, "info/link.json", SMALL_MAX, &text, e) < 0)
		return -1;
	if (!(j = json_parse(&a, text, "info/link.json", e)) || json_opt_object(j, "noarch", &noarch, e) < 0)
		return -1;
	if (noarch &&
	    (json_opt_str(noarch, "type", &type, e) < 0 || json_opt_array(noarch, "entry_points", &list, e) < 0))
		return -1;
	for (uint32_t i = 0; list && i < list->n; i++) {
		if (list->item[i].type != JSON_STRING)
			return err_new(e, ERR_INPUT,
				       "info/link.json: 'entry_points' holds something that is not a text");
		if (entry_point_check(list->item[i].string, e) < 0)
			return err_ctx(e, "info/link.json");
	}
	return 0;
}

/* The place of a noarch Python package's modules is known only where it is installed. */
static int layout_check(const struct staged *s, const struct pack_meta *m, struct err *e)
{
	vec_foreach(f, &s->pkg) {
		if (str_eq_c(m->noarch, "python") && str_starts(f->path, STR("lib/python")))
			return err_new(e, ERR_INPUT,
				       "'%s/%s': modules of a noarch Python package belong into site-packages/, its "
				       "scripts into python-scripts/",
				       s->folder, f->path.p);
	}
	return 0;
}

int meta_complete(struct staged *s, const struct pack_meta *m, bool has_index, int64_t time_s, struct err *e)
{
	auto_buf b = BUF_INIT(PATHS_JSON_MAX);
	if (layout_check(s, m, e) < 0)
		return -1;
	if (!has_index) {
		write_index(&b, m, time_s);
		staged_info_add(s, "info/index.json", &b);
	}
	if (staged_info_find(s, "info/link.json")) {
		if (m->entry_points.n > 0)
			return err_new(e, ERR_USAGE, "entry points are given, but '%s' holds an info/link.json",
				       s->folder);
		if (link_check(s, e) < 0)
			return -1;
	} else if (str_eq_c(m->noarch, "python")) {
		buf_clear(&b);
		write_link(&b, m);
		staged_info_add(s, "info/link.json", &b);
	}
	if (!staged_info_find(s, "info/about.json")) {
		buf_clear(&b);
		write_about(&b, m);
		staged_info_add(s, "info/about.json", &b);
	}
	if (m->run_exports.n || m->run_exports_strong.n) {
		if (staged_info_find(s, "info/run_exports.json"))
			return err_new(e, ERR_USAGE, "run exports are given, but '%s' holds an info/run_exports.json",
				       s->folder);
		buf_clear(&b);
		write_run_exports(&b, m);
		staged_info_add(s, "info/run_exports.json", &b);
	}
	if (!staged_info_find(s, "info/hash_input.json")) {
		buf_clear(&b);
		buf_put_c(&b, "{}\n");
		staged_info_add(s, "info/hash_input.json", &b);
	}
	if (staged_info_find(s, "info/paths.json")) {
		if (paths_check(s, e) < 0)
			return -1;
	} else {
		buf_clear(&b);
		write_paths(&b, s);
		if (b.overflow)
			return err_new(e, ERR_LIMIT, "the list of files is too long");
		staged_info_add(s, "info/paths.json", &b);
	}
	buf_clear(&b);
	write_files(&b, s);
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "the list of files is too long");
	staged_info_add(s, "info/files", &b);
	staged_sort(&s->info);
	return 0;
}
