// SPDX-License-Identifier: Apache-2.0
#include "env/manifest.h"

#include "base/fs.h"
#include "base/json.h"

enum { MAX_RECORD = 256 << 20, MAX_RECORDS = 200000 };

void manifest_release(struct manifest *m)
{
	vec_release(&m->records);
	vec_release(&m->files);
	map_release(&m->by_path);
	arena_release(&m->arena);
}

static int add_path(struct manifest *m, const struct json *j, struct str package, struct err *e)
{
	struct owned f = {.package = package};
	struct str type = STR_NONE, sha = STR_NONE;
	int64_t size = 0;
	if (json_get_str(j, "_path", &f.path, e) < 0 || json_opt_str(j, "path_type", &type, e) < 0 ||
	    json_opt_str(j, "sha256_in_prefix", &sha, e) < 0)
		return -1;
	f.has_mode = str_eq(type, STR("hardlink")) || str_eq(type, STR("unix_python_entry_point"));
	f.softlink = str_eq(type, STR("softlink"));
	f.folder = str_eq(type, STR("directory"));
	/* Of a link, sha256 is what the package's author saw behind it, sha256_in_prefix what is behind it here. */
	if (!sha.n && !f.softlink && json_opt_str(j, "sha256", &sha, e) < 0)
		return -1;
	if (json_opt_int(j, "size_in_bytes", &size, e) > 0 && !json_get(j, "prefix_placeholder"))
		f.has_size = true;
	f.size = (uint64_t)size;
	f.has_sha256 = sha.n && str_unhex(sha, f.sha256, SHA256_SIZE);
	vec_push(&m->files, f);
	return 0;
}

/* Records from before this member, or of other programs, say nothing of modes. */
static int read_modes(struct manifest *m, const struct json *record, size_t first, struct err *e)
{
	const struct json *list;
	auto_map executables = MAP_INIT;
	if (json_opt_array(record, "slipway_executables", &list, e) < 0)
		return -1;
	for (uint32_t i = 0; list && i < list->n; i++)
		if (list->item[i].type == JSON_STRING)
			*map_put(&executables, list->item[i].string) = 1;
	for (size_t i = first; i < m->files.n; i++) {
		m->files.v[i].has_mode &= list != NULL;
		m->files.v[i].exec = map_get(&executables, m->files.v[i].path);
	}
	return 0;
}

static int read_record(struct manifest *m, int meta_fd, const char *name, struct err *e)
{
	auto_buf text = BUF_INIT(MAX_RECORD);
	const struct json *paths, *data;
	struct str package;
	if (fs_read(meta_fd, name, &text, e) < 0)
		return -1;
	const struct json *j = json_parse(&m->arena, arena_str(&m->arena, buf_str(&text)), name, e);
	if (!j || json_get_str(j, "name", &package, e) < 0 || json_opt_object(j, "paths_data", &data, e) < 0 ||
	    json_opt_array(data ? data : j, "paths", &paths, e) < 0)
		return -1;
	*vec_add(&m->records) =
		(struct manifest_record){str_c(arena_printf(&m->arena, "conda-meta/%s", name)), package};
	size_t first = m->files.n;
	for (uint32_t i = 0; paths && i < paths->n; i++)
		if (add_path(m, &paths->item[i], package, e) < 0)
			return -1;
	return read_modes(m, j, first, e);
}

int manifest_read(int dir_fd, struct manifest *m, struct err *e)
{
	auto_fs_list list = {0};
	auto_fd meta = fs_open_dir(dir_fd, "conda-meta", e);
	if (meta < 0 || fs_list(meta, ".", MAX_RECORDS, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++)
		if (str_ends(str_c(list.name[i]), STR(".json")) && read_record(m, meta, list.name[i], e) < 0)
			return err_ctx(e, "conda-meta/%s", list.name[i]);
	/* Of a path that two packages brought the record linked later is the one in place; either owns it. */
	for (size_t i = 0; i < m->files.n; i++) {
		uint64_t *slot = map_put(&m->by_path, m->files.v[i].path);
		if (!*slot)
			*slot = i + 1;
	}
	return 0;
}

bool manifest_is_noise(struct str rel)
{
	return str_starts(rel, STR("conda-meta/")) || str_eq(rel, STR("conda-meta")) ||
	       (str_ends(rel, STR(".pyc")) && str_search(rel, STR("__pycache__/")) >= 0);
}

struct owned *manifest_find(const struct manifest *m, struct str path)
{
	const uint64_t *slot = map_get(&m->by_path, path);
	return slot ? &m->files.v[*slot - 1] : NULL;
}

static struct str record_file(const struct pkg_record *r, struct arena *a)
{
	return str_c(arena_printf(a, "conda-meta/%.*s-%.*s-%.*s.json", STR_ARG(r->name), STR_ARG(r->version),
				  STR_ARG(r->build)));
}

void manifest_strangers(struct manifest *m, const struct env_spec_file *lock, manifest_stranger_fn *found, void *ctx)
{
	auto_map ours = MAP_INIT, here = MAP_INIT;
	vec_foreach(r, &m->records)
		*map_put(&here, r->file) = 1;
	for (uint32_t i = 0; i < lock->packages_n; i++) {
		const struct pkg_record *p = &lock->packages[i].record;
		struct manifest_record r = {record_file(p, &m->arena), p->name};
		*map_put(&ours, r.file) = 1;
		if (!map_get(&here, r.file))
			found(ctx, &r, false);
	}
	vec_foreach(r, &m->records)
		if (!map_get(&ours, r->file))
			found(ctx, r, true);
}
