// SPDX-License-Identifier: Apache-2.0
/*
 * Packing, step by step: open the folder, learn what the package is, look at every file, complete info/, write beside the
 * output, put it in its place. Nothing is written before all of the folder was looked at.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
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
	int rc = o->recipe ? fs_read_any(dirfd, where, &text, e) : fs_read(dirfd, where, &text, e);
	return rc < 0 ? -1 : recipe_read(s->a, buf_str(&text), where, m, e);
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

/*
 * The file to write to, which becomes the package by rename. Its name is the same each time, so that what a dead process
 * left is written over; its lock keeps two processes apart. Who waited at the door while the other renamed holds what is the
 * package now, and must not touch it.
 */
static int open_temporary(int out, const char *name, struct err *e)
{
	struct stat mine, there;
	auto_fd fd = sys_openat(out, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
	if (fd < 0 || fstat(fd, &mine) < 0)
		return err_sys(e, "create '%s'", name);
	if (!S_ISREG(mine.st_mode))
		return err_new(e, ERR_FAILED, "'%s' is in the way and no file; remove it", name);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstatat(out, name, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
	    there.st_ino != mine.st_ino || there.st_dev != mine.st_dev)
		return err_new(e, ERR_BUSY, "another process is writing the same package; try again when it is done");
	if (sys_ftruncate(fd, 0) < 0 || sys_fchmod(fd, 0644) < 0)
		return err_sys(e, "create '%s'", name);
	return steal_fd(&fd);
}

static int write_and_rename(const struct staged *s, const struct package_target *t, int out, const char *fn,
			    struct pack_result *ret, struct err *e)
{
	if (package_write(s, t, &ret->size, ret->sha256, e) < 0)
		return -1;
	return sys_renameat(out, t->what, out, fn) < 0 ? err_sys(e, "rename '%s' to '%s'", t->what, fn) : 0;
}

static int write_out(const struct pack_opts *o, struct staged *s, const char *stem, const char *fn,
		     struct pack_result *ret, struct err *e)
{
	auto_fd out = fs_open_dir_make(AT_FDCWD, o->out_dir, e);
	if (out < 0)
		return -1;
	auto_free char *temporary = xasprintf(".%s.tmp", fn);
	auto_fd fd = open_temporary(out, temporary, e);
	if (fd < 0)
		return -1;
	struct package_target t = {
		.fd = fd,
		.what = temporary,
		.stem = stem,
		.format = o->format,
		.level = o->level,
		.time_s = o->time_s,
		.progress = o->progress,
	};
	if (write_and_rename(s, &t, out, fn, ret, e) < 0) {
		sys_unlinkat(out, temporary, 0);
		return -1;
	}
	if (fs_sync_dir(out, ".", e) == 0)
		return 0;
	e->code = ERR_UNCERTAIN;
	return err_ctx(e, "it is there, but may be gone after a power cut; pack again");
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
