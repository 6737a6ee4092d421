// SPDX-License-Identifier: Apache-2.0
/* conda-meta/: what conda, mamba and pixi read of an environment (CEP 32); its history: history.c. */
#include <fcntl.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/sys.h"
#include "env/activate.h"
#include "env/layout.h"

enum { LINK_HARD = 1, LINK_COPY = 3 };

/* Keys that the record itself decides; the channel's other members are handed on. */
static const char *const own_keys[] = {
	"build",
	"build_number",
	"channel",
	"constrains",
	"depends",
	"extracted_package_dir",
	"features",
	"files",
	"fn",
	"license",
	"license_family",
	"link",
	"md5",
	"name",
	"noarch",
	"package_tarball_full_path",
	"paths_data",
	"python_site_packages_path",
	"requested_spec",
	"requested_specs",
	"sha256",
	"size",
	"slipway_executables",
	"subdir",
	"timestamp",
	"track_features",
	"url",
	"version",
};

/* Nothing is synced here: the generation is not in use before the whole file system is. */
static int write_new(int dirfd, const char *path, const struct buf *b, struct err *e)
{
	auto_fd fd = sys_openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(e, "create '%s'", path);
	if (fs_write_all(fd, b->p, b->n, path, e) < 0)
		return -1;
	fs_write_behind(fd);
	return 0;
}

/* == the record of a package ====================================================================================== */
static bool is_own(struct str key)
{
	for (size_t i = 0; i < sizeof(own_keys) / sizeof(*own_keys); i++) {
		if (str_eq_c(key, own_keys[i]))
			return true;
	}
	return false;
}

/* Readers refuse what is not an absolute URL. */
static void put_url(struct jw *w, const struct pkg_record *r)
{
	auto_buf url = BUF_INIT(1 << 20);
	if (str_search(r->url, STR("://")) > 0) {
		jw_kv_str(w, "url", r->url);
		return;
	}
	buf_put_c(&url, str_search(r->channel, STR("://")) > 0 ? "" : "file:///");
	buf_put_str(&url, r->channel);
	buf_printf(&url, "/%.*s/%.*s", STR_ARG(r->subdir), STR_ARG(r->fn));
	jw_kv_str(w, "url", buf_str(&url));
}

static void put_repodata(struct jw *w, const struct pkg_record *r)
{
	jw_kv_str(w, "name", r->name);
	jw_kv_str(w, "version", r->version);
	jw_kv_str(w, "build", r->build);
	jw_kv_int(w, "build_number", (int64_t)r->build_number);
	jw_kv_str(w, "channel", r->channel);
	jw_kv_str(w, "subdir", r->subdir);
	jw_kv_str(w, "fn", r->fn);
	put_url(w, r);
	if (r->has_sha256)
		jw_kv_hex(w, "sha256", r->sha256, SHA256_SIZE);
	if (r->has_md5)
		jw_kv_hex(w, "md5", r->md5, MD5_SIZE);
	if (r->size > 0)
		jw_kv_int(w, "size", (int64_t)r->size);
	if (r->timestamp_ms > 0)
		jw_kv_int(w, "timestamp", (int64_t)r->timestamp_ms);
	jw_kv_list(w, "depends", r->depends, r->depends_n);
	jw_kv_list(w, "constrains", r->constrains, r->constrains_n);
	jw_kv_opt(w, "noarch", r->noarch);
	jw_kv_opt(w, "track_features", r->track_features);
	jw_kv_opt(w, "features", r->features);
	jw_kv_opt(w, "license", r->license);
	jw_kv_opt(w, "license_family", r->license_family);
	jw_kv_opt(w, "python_site_packages_path", r->python_site_packages_path);
	pkg_record_put_extra(w, r->extra_json, is_own);
}

static const char *type_name(enum path_type t)
{
	static const char *const names[] = {"hardlink", "softlink", "directory", "pyc_file", "unix_python_entry_point"};
	return names[t];
}

static void put_path(struct jw *w, const struct path_entry *en)
{
	jw_object(w);
	jw_kv_str(w, "_path", en->dest);
	jw_kv_c(w, "path_type", type_name(en->type));
	if (en->placeholder.n > 0) {
		jw_kv_str(w, "prefix_placeholder", en->placeholder);
		jw_kv_c(w, "file_mode", en->binary ? "binary" : "text");
	}
	if (en->no_link)
		jw_kv_bool(w, "no_link", true);
	if (en->has_sha256)
		jw_kv_hex(w, "sha256", en->sha256, SHA256_SIZE);
	if (en->has_sha256_prefix)
		jw_kv_hex(w, "sha256_in_prefix", en->sha256_prefix, SHA256_SIZE);
	if (en->has_size)
		jw_kv_int(w, "size_in_bytes", (int64_t)en->size);
	jw_object_end(w);
}

static void put_paths(struct jw *w, const struct link_pkg *p)
{
	jw_key(w, "files");
	jw_array(w);
	vec_foreach(en, &p->entries) {
		if (!en->lost && en->type != PATH_DIR)
			jw_str(w, en->dest);
	}
	jw_array_end(w);
	jw_key(w, "paths_data");
	jw_object(w);
	jw_kv_int(w, "paths_version", 1);
	jw_key(w, "paths");
	jw_array(w);
	vec_foreach(en, &p->entries) {
		if (!en->lost)
			put_path(w, en);
	}
	jw_array_end(w);
	jw_object_end(w);
}

/* For `env check`: paths.json tells no modes. Of what is not executable the mode is 0644. */
static void put_executables(struct jw *w, const struct link_pkg *p)
{
	jw_key(w, "slipway_executables");
	jw_array(w);
	vec_foreach(en, &p->entries) {
		if (!en->lost && ((en->type == PATH_HARD && en->exec) || en->type == PATH_ENTRY_POINT))
			jw_str(w, en->dest);
	}
	jw_array_end(w);
}

/* A path that another package has won is not in the record: whoever removes this package by its record must not take the
 * winner's file away. */
static void record_text(const struct link_pkg *p, struct str tree_path, struct str blob_path, bool hard, struct buf *b)
{
	struct jw w = JW_INIT(b, 0);
	jw_object(&w);
	put_repodata(&w, &p->record);
	if (p->lock->requested) {
		jw_kv_str(&w, "requested_spec", p->lock->requested_spec);
		jw_kv_list(&w, "requested_specs", &p->lock->requested_spec, 1);
	} else {
		jw_kv_list(&w, "requested_specs", NULL, 0);
	}
	jw_kv_str(&w, "extracted_package_dir", tree_path);
	jw_kv_str(&w, "package_tarball_full_path", blob_path);
	jw_key(&w, "link");
	jw_object(&w);
	jw_kv_str(&w, "source", tree_path);
	jw_kv_int(&w, "type", hard ? LINK_HARD : LINK_COPY);
	jw_object_end(&w);
	put_paths(&w, p);
	if (p->has_modes)
		put_executables(&w, p);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

static bool name_part_ok(struct str s)
{
	return s.n > 0 && s.n <= 128 && fs_path_is_inside(s) && str_find(s, '/') < 0;
}

int record_write(struct layer *l, const struct link_pkg *p, struct err *e)
{
	const struct pkg_record *r = &p->record;
	auto_buf text = BUF_INIT(BUF_MAX), tree = BUF_INIT(8192), blob = BUF_INIT(8192);
	if (!name_part_ok(r->name) || !name_part_ok(r->version) || !name_part_ok(r->build))
		return err_new(e, ERR_INPUT, "package '%.*s': its name, version or build is no part of a file name",
			       STR_ARG(r->fn));
	if (store_tree_path(l->job->store, r->sha256, &tree, e) < 0 ||
	    store_blob_path(l->job->store, r->sha256, &blob, e) < 0)
		return -1;
	record_text(p, buf_str(&tree), buf_str(&blob), atomic_load(&l->how) == PLACE_HARD, &text);
	auto_free char *path =
		xasprintf("conda-meta/%.*s-%.*s-%.*s.json", STR_ARG(r->name), STR_ARG(r->version), STR_ARG(r->build));
	return write_new(l->job->prefix_fd, path, &text, e);
}

/* == history ====================================================================================================== */
int record_history(struct layer *l, struct err *e)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	history_text(l, &b);
	return write_new(l->job->prefix_fd, "conda-meta/history", &b, e);
}

/* == for wrappers ================================================================================================= */
int record_activation(struct layer *l, struct err *e)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	if (activation_file_text(l->job->prefix_fd, l->job->prefix, &b, e) < 0)
		return -1;
	return write_new(l->job->prefix_fd, ACTIVATION_FILE, &b, e);
}

/* == state ======================================================================================================== */
static bool has_variable(const struct env_spec_file *t, struct str name)
{
	for (uint32_t i = 0; t && i < t->variables_n; i++)
		if (str_eq(t->variables[i].name, name))
			return true;
	return false;
}

/* Variables that others have set in the generation before (as 'conda env config vars set' does) go along. */
static void put_variables_of_others(struct jw *w, const struct link_job *job, struct arena *a)
{
	struct err ignored = ERR_INIT;
	const struct json *vars = NULL;
	const struct json *j = job->state.n ? json_parse(a, job->state, "state", &ignored) : NULL;
	if (!j || json_opt_object(j, "env_vars", &vars, &ignored) <= 0)
		return;
	for (uint32_t i = 0; i < vars->n; i++) {
		const struct json_member *m = &vars->member[i];
		if (m->value.type != JSON_STRING || has_variable(job->before, m->key) ||
		    has_variable(job->target, m->key))
			continue;
		jw_key_str(w, m->key);
		jw_value(w, &m->value);
	}
}

int record_state(struct layer *l, struct err *e)
{
	const struct env_spec_file *t = l->job->target;
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct jw w = JW_INIT(&b, 2);
	jw_object(&w);
	jw_key(&w, "env_vars");
	jw_object(&w);
	size_t before = b.n;
	for (uint32_t i = 0; i < t->variables_n; i++) {
		jw_key_str(&w, t->variables[i].name);
		jw_str(&w, t->variables[i].value);
	}
	put_variables_of_others(&w, l->job, &a);
	if (b.n == before)
		return 0;
	jw_object_end(&w);
	jw_object_end(&w);
	buf_put_char(&b, '\n');
	return write_new(l->job->prefix_fd, "conda-meta/state", &b, e);
}

/* == components =================================================================================================== */
int record_components(struct layer *l, struct err *e)
{
	const struct env_spec_file *t = l->job->target;
	if (t->components_n && fs_mkdirs(l->job->prefix_fd, COMPONENT_DIR, 0755, e) < 0)
		return -1;
	for (uint32_t i = 0; i < t->components_n; i++) {
		const struct env_component *c = &t->components[i];
		auto_free char *path = xasprintf(COMPONENT_DIR "/%.*s.yml", STR_ARG(c->name));
		auto_buf b = BUF_INIT(BUF_MAX);
		struct err why = ERR_INIT;
		if (!c->text.n)
			return err_new(e, ERR_INPUT,
				       "component '%.*s' of the recipe names file '%.*s', which was not read with it",
				       STR_ARG(c->name), STR_ARG(c->path));
		buf_put_str(&b, c->text);
		if (write_new(l->job->prefix_fd, path, &b, &why) == 0)
			continue;
		*e = why;
		return why.code == ERR_EXISTS
			       ? err_new(e, ERR_EXISTS,
					 "component '%.*s' of the recipe is one of a package, too: give it another name",
					 STR_ARG(c->name))
			       : -1;
	}
	return 0;
}
