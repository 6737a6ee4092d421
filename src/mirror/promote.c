// SPDX-License-Identifier: Apache-2.0
/* Packages from one local channel into another. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/vec.h"
#include "mirror/sync.h"

struct choosing {
	const struct mirror_promote *o;
	struct arena *a;
	VEC(struct str) paths;
	bool *used; /* of each spec */
};

/* "name", "name=version", or a path. */
static bool is_meant(struct str spec, const struct channel_item *it)
{
	struct str name;
	if (str_eq(spec, it->path))
		return true;
	struct str rest = spec;
	if (!str_take_until(&rest, '=', &name))
		return str_eq(spec, it->name);
	return str_eq(name, it->name) && str_eq(rest, it->version);
}

static int choose(void *ctx, const struct channel_item *it, struct err *e)
{
	struct choosing *x = ctx;
	bool meant = false;
	(void)e;
	if (it->what != CHANNEL_FILE_PACKAGE)
		return 0;
	for (size_t i = 0; i < x->o->specs_n; i++)
		if (is_meant(x->o->specs[i], it))
			meant = x->used[i] = true;
	if (meant)
		vec_push(&x->paths, arena_str(x->a, it->path));
	return 0;
}

/* Where it can be, the file is the same one there; then publishing finds it in its place, and copies nothing. */
static void link_first(int from, int to, struct str path)
{
	struct err ignored = ERR_INIT;
	if (!fs_exists(to, path.p))
		(void)place_link(from, path.p, to, path.p, &ignored);
}

static int publish(const struct channel_kind *k, const char *from, const char *to, const struct choosing *x,
		   int from_fd, struct err *e)
{
	const char **files = arena_array(x->a, const char *, x->paths.n + 1);
	for (size_t i = 0; i < x->paths.n; i++)
		files[i] = arena_printf(x->a, "%s/%.*s", from, STR_ARG(x->paths.v[i]));
	if (!x->o->dry_run) {
		auto_fd to_fd = fs_open_dir_make(AT_FDCWD, to, e);
		if (to_fd < 0)
			return -1;
		for (size_t i = 0; i < x->paths.n; i++)
			link_first(from_fd, to_fd, x->paths.v[i]);
	}
	struct channel_make_opts make = x->o->make ? *x->o->make : (struct channel_make_opts){0};
	make.dry_run = x->o->dry_run;
	make.replace = x->o->replace;
	return channel_kind_publish(k, to, files, x->paths.n, &make, x->o->progress, e);
}

int mirror_promote(const struct channel_kind *k, const char *from, const char *to, const struct mirror_promote *o,
		   struct arena *a, struct mirror_list *ret, struct err *e)
{
	struct choosing x = {.o = o, .a = a, .used = arena_array(a, bool, o->specs_n + 1)};
	const struct channel_walk_opts w = {.suites = o->make && o->make->suite.n ? &o->make->suite : NULL,
					    .suites_n = o->make && o->make->suite.n};
	auto_ptr(channel_walk) walk = NULL;
	auto_fd dir = fs_open_dir(AT_FDCWD, from, e);
	int rc = dir < 0 ? -1 : channel_walk_new(k, dir, &w, &walk, e);
	while (rc >= 0 && (rc = channel_walk_next(walk, choose, &x, e)) > 0)
		;
	for (size_t i = 0; i < o->specs_n && rc == 0; i++)
		if (!x.used[i])
			rc = err_new(e, ERR_NOT_FOUND, "no package '%.*s' in '%s'", STR_ARG(o->specs[i]), from);
	if (rc == 0)
		rc = publish(k, from, to, &x, dir, e);
	*ret = (struct mirror_list){vec_copy(&x.paths, a), x.paths.n};
	vec_release(&x.paths);
	return rc < 0 ? err_ctx(e, "promote from '%s' to '%s'", from, to) : 0;
}
