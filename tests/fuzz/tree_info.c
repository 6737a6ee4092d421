// SPDX-License-Identifier: Apache-2.0
/*
 * What an unpacked package says of itself in info/, where it is to be linked. Input: files, each '=PATH' on a line and then its lines; 'l'
 * before the path makes a symbolic link. Whatever they say: every path has one place inside, nothing is a file and a folder.
 */
#include "base/fs.h"
#include "env/layout.h"
#include "index_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good, const char *what, struct str s)
{
	if (!good)
		panic("%s: '%.*s'", what, STR_ARG(s));
}

static void write_file(int tree, struct str path, struct str text)
{
	struct err e = ERR_INIT;
	bool link = str_take_str(&path, STR("l "));
	if (!fs_path_is_inside(path) || path.n > 200)
		return;
	auto_free char *name = str_dup(path), *dir = str_dup(path), *target = str_dup(str_trim(text));
	char *slash = strrchr(dir, '/');
	if (slash) {
		*slash = '\0';
		if (fs_mkdirs(tree, dir, 0755, &e) < 0)
			return;
	}
	if (link)
		(void)symlinkat(target, tree, name);
	else
		(void)fs_replace(tree, name, text.p, text.n, 0, &e);
}

static void write_files(int tree, struct str text)
{
	struct str line, path = STR_NONE, from = text;
	while (from.n) {
		struct str rest = from;
		if (!str_take_line(&rest, &line))
			return;
		from = rest;
		if (!str_take_str(&line, STR("=")))
			continue;
		path = line;
		struct str body = rest;
		while (rest.n && rest.p[0] != '=')
			(void)str_take_line(&rest, &line);
		write_file(tree, path, str_head(body, body.n - rest.n));
		from = rest;
	}
}

static void check(struct link_pkg *p)
{
	struct err e = ERR_INIT;
	struct clobber_dir *dirs;
	auto_arena a = ARENA_INIT;
	const struct python_info py = {.present = true, .major = 3, .minor = 9, .site_packages = STR("lib/site")};
	vec_foreach(en, &p->entries)
		must(fs_path_is_inside(en->path) && !str_starts(en->path, STR("conda-meta/")), "a path", en->path);
	if (noarch_map(p, &py, &e) < 0)
		return;
	auto_ptr(clobber) t = clobber_new(p, 1, &a);
	if (clobber_plan(t, ENV_CLOBBER_WARN, &e) < 0)
		return;
	size_t n = clobber_dirs(t, &a, &dirs);
	for (size_t i = 0; i < n; i++) /* the first is the prefix itself */
		must((i == 0 ? dirs[i].path.n == 0 : fs_path_is_inside(dirs[i].path)) && !clobber_find(t, dirs[i].path),
		     "a folder", dirs[i].path);
	vec_foreach(en, &p->entries)
		must(en->type == PATH_DIR || en->lost || clobber_find(t, en->dest) == en, "a file", en->dest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct env_lock_package lock = {.record = {.name = STR("x"),
						   .version = STR("1"),
						   .build = STR("0"),
						   .subdir = STR("noarch"),
						   .fn = STR("x-1-0.conda")}};
	struct link_pkg p = {.lock = &lock};
	auto_fd tree = fs_open_dir_make(fuzz_dir(), "tree", &e);
	if (tree < 0)
		panic("%s", e.msg);
	write_files(tree, str_of((const char *)data, size));
	if (paths_read(tree, &p, &e) == 0)
		check(&p);
	else
		must(e.msg[0], "no reason", STR("refused"));
	link_pkg_clear(&p);
	if (fs_remove_tree(fuzz_dir(), "tree", &e) < 0)
		panic("%s", e.msg);
	return 0;
}
