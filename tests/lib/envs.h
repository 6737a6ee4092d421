// SPDX-License-Identifier: Apache-2.0
/*
 * Environments for tests of env/: a root, a folder of packages made on the spot, and the whole way of a change.
 *
 *	auto_envs w = {0};
 *	envs_open(&w);
 *	struct env_lock_package p[] = {envs_package(&w, "tool", "1", files, n), ...};
 *	envs_change(&w, "e", "create", p, 1)           hold, plan, prepare, lay out, switch; returns the generation
 *
 * A failure that the test did not ask for ends it.
 */
#pragma once

#include "lib/archive.h"
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "env/env.h"

struct envs {
	const char *name; /* before envs_open, where a test has several: the root's folder; NULL: "root" */
	char root[128];
	int root_fd;
	struct store *store;
	struct env_state *st;
	struct arena arena;
	struct err err;
	struct env_opts opts;
	struct env_report report;
};

static void envs_close(struct envs *w)
{
	env_state_free(steal_ptr(&w->st));
	store_free(steal_ptr(&w->store));
	if (w->root[0])
		cleanup_fd(&w->root_fd);
	arena_release(&w->arena);
}
#define auto_envs cleanup_with(envs_close) struct envs

static void envs_open(struct envs *w)
{
	w->opts = (struct env_opts){.command = "slipway test", .no_pyc = true, .threads = 2};
	snprintf(w->root, sizeof(w->root), "%s/%s", test_tmp(), w->name ? w->name : "root");
	w->root_fd = fs_open_dir_make(AT_FDCWD, w->root, &w->err);
	CHECK_MSG(w->root_fd >= 0 && store_open(w->root_fd, 0, &w->store, &w->err) == 0 &&
			  env_state_open(w->root_fd, w->root, 0, &w->st, &w->err) == 0,
		  "%s", w->err.msg);
}

/* As another process would find it. */
__attribute__((unused)) static void envs_reopen(struct envs *w)
{
	env_state_free(steal_ptr(&w->st));
	CHECK_MSG(env_state_open(w->root_fd, w->root, 0, &w->st, &w->err) == 0, "%s", w->err.msg);
}

struct envs_file {
	const char *path, *text; /* text "-> TARGET": a symbolic link; "LIE…": said to be a byte longer */
	bool exec, text_prefix;	 /* text_prefix: holds ENVS_PREFIX, which becomes the prefix */
};
#define ENVS_PREFIX "/build/placehold_placehold_placehold_placehold_placehold_placehold_placehold_placehold"

static void envs_add(struct buf *pkg, struct buf *paths, const struct envs_file *f)
{
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	buf_printf(paths, "%s{\"_path\":\"%s\",", paths->n ? "," : "", f->path);
	if (strncmp(f->text, "-> ", 3) == 0) {
		tar_link(pkg, f->path, f->text + 3);
		buf_put_c(paths, "\"path_type\":\"softlink\"}");
		return;
	}
	tar_file(pkg, f->path, f->exec ? 0755 : 0644, f->text);
	sha256(f->text, strlen(f->text), digest);
	hex_encode(digest, SHA256_SIZE, hex);
	buf_printf(paths, "\"path_type\":\"hardlink\",\"sha256\":\"%s\",\"size_in_bytes\":%zu", hex,
		   strlen(f->text) + (strncmp(f->text, "LIE", 3) == 0));
	if (f->text_prefix)
		buf_put_c(paths, ",\"file_mode\":\"text\",\"prefix_placeholder\":\"" ENVS_PREFIX "\"");
	buf_put_char(paths, '}');
}

/* NAME-VERSION-0.conda in the folder `ch/noarch` of the root, and the lock's line for it. */
static struct env_lock_package envs_package(struct envs *w, const char *name, const char *version,
					    const struct envs_file *files, size_t n)
{
	auto_buf info = BUF_INIT(BUF_MAX);
	auto_buf pkg = BUF_INIT(BUF_MAX);
	auto_buf paths = BUF_INIT(BUF_MAX);
	auto_buf out = BUF_INIT(BUF_MAX);
	struct arena *a = &w->arena;
	for (size_t i = 0; i < n; i++)
		envs_add(&pkg, &paths, &files[i]);
	tar_file(&info, "info/index.json", 0644,
		 arena_printf(a,
			      "{\"name\":\"%s\",\"version\":\"%s\",\"build\":\"0\",\"build_number\":7,"
			      "\"subdir\":\"noarch\",\"depends\":[\"base\"],\"license\":\"MIT\"}",
			      name, version));
	tar_file(&info, "info/paths.json", 0644, arena_printf(a, "{\"paths_version\":1,\"paths\":[%s]}", paths.p));
	tar_end(&info);
	tar_end(&pkg);
	const char *stem = arena_printf(a, "%s-%s-0", name, version);
	conda_put(&out, stem, buf_str(&info), buf_str(&pkg));
	const char *path = arena_printf(a, "%s/ch/noarch/%s.conda", w->root, stem);
	auto_fd dir = fs_open_dir_make(w->root_fd, "ch/noarch", &w->err);
	CHECK_MSG(dir >= 0 && fs_replace(AT_FDCWD, path, out.p, out.n, 0, &w->err) == 0, "%s", w->err.msg);
	struct env_lock_package p = {.requested = true, .requested_spec = str_c(arena_strdup(a, str_c(name)))};
	p.record = (struct pkg_record){
		.name = p.requested_spec,
		.version = str_c(arena_strdup(a, str_c(version))),
		.build = STR("0"),
		.channel = str_c(arena_printf(a, "file://%s/ch", w->root)),
		.subdir = STR("noarch"),
		.fn = str_c(arena_printf(a, "%s.conda", stem)),
		.url = str_c(arena_printf(a, "file://%s", path)),
		.size = out.n,
		.has_sha256 = true,
	};
	sha256(out.p, out.n, p.record.sha256);
	return p;
}

/* A package with one file share/NAME that holds VERSION. */
__attribute__((unused)) static struct env_lock_package envs_simple(struct envs *w, const char *name,
								   const char *version)
{
	const struct envs_file f = {arena_printf(&w->arena, "share/%s", name), version, false, false};
	return envs_package(w, name, version, &f, 1);
}

static struct env_hold *envs_hold(struct envs *w, const char *name)
{
	struct env_hold *h = NULL;
	CHECK_MSG(env_hold(w->st, str_c(name), 0, &h, &w->err) == 0, "%s", w->err.msg);
	return h;
}

/* Up to, not including, the switch. */
static uint32_t envs_lay_out(struct envs *w, struct env_hold *h, const char *name, const struct env_lock_package *p,
			     uint32_t n)
{
	const struct env_spec_file target = {.name = str_c(name), .packages = p, .packages_n = n, .is_lock = true};
	struct env_spec_file before = {0};
	struct env_info info;
	struct env_plan plan;
	struct err e = ERR_INIT;
	bool there = env_get(w->st, &w->arena, str_c(name), &info, &e) == 0;
	CHECK_MSG(!there || env_generation_lock(w->st, &w->arena, str_c(name), 0, &before, &w->err) == 0, "%s",
		  w->err.msg);
	CHECK_MSG(env_plan(&target, there ? &before : NULL, w->store, &w->arena, &plan, &w->err) == 0 &&
			  env_prepare(w->store, NULL, &plan, &w->opts, &w->arena, &w->err) == 0 &&
			  env_lay_out(w->store, h, &plan, &w->opts, &w->arena, &w->report, &w->err) == 0,
		  "%s", w->err.msg);
	return w->report.generation;
}

__attribute__((unused)) static uint32_t envs_change(struct envs *w, const char *name, const char *operation,
						    const struct env_lock_package *p, uint32_t n)
{
	auto_ptr(env_hold) h = envs_hold(w, name);
	uint32_t generation = envs_lay_out(w, h, name, p, n);
	CHECK_MSG(env_switch(h, generation, operation, &w->opts, &w->err) == 0, "%s", w->err.msg);
	return generation;
}

/* root/env/PATH; NULL where it is not there. */
__attribute__((unused)) static const char *envs_slurp(struct envs *w, const char *path)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	if (fs_read(w->root_fd, arena_printf(&w->arena, "env/%s", path), &b, &e) < 0)
		return NULL;
	return arena_strdup(&w->arena, buf_str(&b));
}

__attribute__((unused)) static void envs_put(struct envs *w, const char *path, const char *text, mode_t mode)
{
	auto_free char *full = xasprintf("%s/env/%s", w->root, path);
	auto_free char *dir = xstrdup(full);
	*strrchr(dir, '/') = '\0';
	CHECK_MSG(fs_mkdirs(AT_FDCWD, dir, 0755, &w->err) == 0, "%s", w->err.msg);
	unlink(full); /* never through a hard link into the store */
	int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, mode) == 0);
	close(fd);
}
