// SPDX-License-Identifier: Apache-2.0
/*
 * Packing, step by step: open the folder, learn what the package is, look at every file, complete info/, write beside the
 * output, put it in its place. Nothing is written before all of the folder was looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/pack.h"

enum { RECIPE_MAX = 1 << 20, INDEX_JSON_MAX = 16 << 20 };
#define RECIPE_NAME "pack.yml"
#define INDEX_NAME "info/index.json"

static int read_recipe(const struct pack_opts *o, struct staged *s, struct pack_meta *m, struct err *e)
{
	auto_buf text = BUF_INIT(RECIPE_MAX);
	const char *where = o->recipe;
	int dirfd = AT_FDCWD;
	if (!where) {
		if (!fs_exists(s->dirfd, RECIPE_NAME))
			return 0;
		where = s->skip = RECIPE_NAME;
		dirfd = s->dirfd;
	}
	return fs_read(dirfd, where, &text, e) < 0 ? -1 : recipe_read(s->a, buf_str(&text), where, m, e);
}

/* Returns 1 where the folder has an index.json of its own, 0 where the package is described otherwise. */
static int find_meta(const struct pack_opts *o, struct staged *s, struct pack_meta *m, struct err *e)
{
	struct str text;
	*m = (struct pack_meta){.build_number = -1};
	if (fs_exists(s->dirfd, INDEX_NAME)) {
		if (!meta_is_empty(&o->meta) || o->recipe || fs_exists(s->dirfd, RECIPE_NAME))
			return err_new(e, ERR_USAGE,
				       "'%s' holds an " INDEX_NAME
				       ", which says what the package is: name, version and the "
				       "like cannot be given beside it (remove one of them)",
				       o->staged);
		m->prefix = o->meta.prefix;
		return staged_info_read(s, INDEX_NAME, INDEX_JSON_MAX, &text, e) < 0 ||
				       meta_from_index(s->a, text, m, e) < 0
			       ? -1
			       : 1;
	}
	if (read_recipe(o, s, m, e) < 0)
		return -1;
	meta_merge(m, &o->meta);
	return meta_finish(s->a, m, e) < 0 ? -1 : 0;
}

static int write_out(const struct pack_opts *o, struct staged *s, const char *stem, const char *fn,
		     struct pack_result *ret, struct err *e)
{
	auto_fd out = fs_open_dir_make(AT_FDCWD, o->out_dir, e);
	if (out < 0)
		return -1;
	auto_free char *temporary = xasprintf(".%s.%ld.tmp", fn, (long)getpid());
	struct package_target t = {
		.dirfd = out,
		.name = temporary,
		.stem = stem,
		.format = o->format,
		.level = o->level,
		.time_s = o->time_s,
		.progress = o->progress,
	};
	if (sys_unlinkat(out, temporary, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s'", temporary);
	if (package_write(s, &t, &ret->size, ret->sha256, e) < 0) {
		sys_unlinkat(out, temporary, 0);
		return -1;
	}
	if (sys_renameat(out, temporary, out, fn) < 0) {
		err_sys(e, "rename '%s' to '%s'", temporary, fn);
		sys_unlinkat(out, temporary, 0);
		return -1;
	}
	return fs_sync_dir(out, ".", e);
}

static int pack(const struct pack_opts *o, struct staged *s, struct pack_result *ret, struct err *e)
{
	struct pack_meta m;
	int has_index = find_meta(o, s, &m, e);
	if (has_index < 0)
		return -1;
	s->prefix = m.prefix;
	s->drop_compiled = str_eq_c(m.noarch, "python") && !fs_exists(s->dirfd, "info/paths.json");
	if (staged_scan(s, e) < 0 || meta_complete(s, &m, has_index, o->time_s, e) < 0)
		return -1;
	if (s->pkg.n == 0)
		progress_send(o->progress, (struct progress_event){.kind = PROGRESS_NOTE,
								   .phase = "pack",
								   .id = o->staged,
								   .text = "the package holds no files"});
	const char *stem = arena_printf(s->a, "%.*s-%.*s-%.*s", STR_ARG(m.name), STR_ARG(m.version), STR_ARG(m.build));
	const char *fn = arena_printf(s->a, "%s.%s", stem, o->format == PACK_CONDA ? "conda" : "tar.bz2");
	*ret = (struct pack_result){
		.path = strcmp(o->out_dir, ".") == 0 ? fn : arena_printf(s->a, "%s/%s", o->out_dir, fn),
		.name = m.name,
		.version = m.version,
		.build = m.build,
		.subdir = m.subdir,
		.files = s->pkg.n,
		.content_bytes = s->content_bytes,
		.prefix_files = s->prefix_files,
	};
	if (o->dry_run)
		return 0;
	return write_out(o, s, stem, fn, ret, e) < 0 ? err_ctx(e, "pack '%s'", ret->path) : 0;
}

static int check_opts(const struct pack_opts *o, struct err *e)
{
	int most = o->format == PACK_CONDA ? 22 : 9;
	if (o->level < 0 || o->level > most)
		return err_new(e, ERR_USAGE, "compression level %d is not one of 1 to %d", o->level, most);
	if (o->time_s > INT64_C(0x1ffffffff))
		return err_new(e, ERR_USAGE, "time %lld is out of range", (long long)o->time_s);
	return 0;
}

int pack_conda(const struct pack_opts *o, struct arena *a, struct pack_result *ret, struct err *e)
{
	if (check_opts(o, e) < 0)
		return -1;
	cleanup_with(staged_release) struct staged s = {
		.dirfd = fs_open_dir(AT_FDCWD, o->staged, e), .folder = o->staged, .a = a};
	return s.dirfd < 0 ? err_ctx(e, "staged folder") : pack(o, &s, ret, e);
}
