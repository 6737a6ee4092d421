// SPDX-License-Identifier: Apache-2.0
/*
 * One operation on layers a run, for the sweeps in layer.sh:
 *
 *	fault_layer DIR make N [PARENT]    layer N, with files of its own
 *	fault_layer DIR sync N [PARENT]    the same, and then all are synced
 *	fault_layer DIR cache NAME         takes a cache, counts in it, gives it back
 *	fault_layer DIR drop NAME          takes it, counts, and drops it
 *	fault_layer DIR forget NAME        removes a cache
 *	fault_layer DIR remove N           a layer
 *	fault_layer DIR gc                 all that nobody uses, caches too
 *	fault_layer DIR check N...         these are there; everything that is there is whole, and lies on what is there
 *	fault_layer DIR count NAME N       the cache has counted so far
 *	fault_layer DIR clean              nothing half-made is left, once something was begun
 *
 * $LAYERS says how they are kept, $FOLD after how many layers their folders are made one. Exits 0, or 1 with a message. What a step writes is written past the fault seam.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "layer/internal.h"

enum { SIZE = 70000, SMALL = 4 };

static struct err err;
static struct arena a;
static struct layers *l;

static int say(void)
{
	printf("%s\n", err.msg);
	return 1;
}

static struct layer_id id_of(const char *n)
{
	struct layer_id id;
	snprintf(id.hex, sizeof(id.hex), "%064lx", strtoul(n, NULL, 10));
	return id;
}

static const char *writable(const struct sandbox_root *r)
{
	return r->dir ? r->dir : r->upper;
}

static int put(const char *dir, const char *name, char c, size_t size)
{
	static char bytes[SIZE];
	const char *path = arena_printf(&a, "%s/%s", dir, name);
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	memset(bytes, c, size);
	ssize_t n = fd < 0 ? -1 : write(fd, bytes, size);
	if (n >= 0 && (size_t)n < size)
		errno = ENOSPC;
	return n != (ssize_t)size ? err_sys(&err, "write '%s'", path) : 0;
}

static int make(const char *n, const char *parent)
{
	struct layer_work *w;
	struct layer_id id = id_of(n), below = id_of(parent ? parent : "0");
	if (layer_begin(l, &id, parent ? &below : NULL, &w, &err) < 0)
		return err.code == ERR_EXISTS ? 0 : -1;
	const char *dir = writable(layer_work_root(w));
	int r = put(dir, n, n[0], SIZE);
	for (int i = 0; r == 0 && i < SMALL; i++)
		r = put(dir, arena_printf(&a, "%s.%d", n, i), n[0], 100);
	if (r < 0) {
		layer_work_abort(w);
		return -1;
	}
	return layer_work_commit(w, STR("words"), &err);
}

/* The number that a cache holds: a file of so many bytes, topmost first. */
static long counted(const struct sandbox_root *r)
{
	struct stat st;
	if (r->dir)
		return stat(arena_printf(&a, "%s/n", r->dir), &st) == 0 ? (long)st.st_size : 0;
	if (r->upper && stat(arena_printf(&a, "%s/n", r->upper), &st) == 0)
		return (long)st.st_size;
	for (size_t i = 0; i < r->n_lower; i++)
		if (stat(arena_printf(&a, "%s/n", r->lower[i]), &st) == 0)
			return (long)st.st_size;
	return 0;
}

static int cache(const char *op, const char *name, const char *want)
{
	struct layer_cache *c;
	struct sandbox_mount m = {0};
	if (layer_cache_take(l, str_c(name), 0, 0, &c, &err) < 0)
		return -1;
	layer_cache_mount(c, &m);
	const struct sandbox_root plain = {.dir = m.source}, *r = m.root ? m.root : &plain;
	long n = counted(r);
	int bad = 0;
	if (want && n != strtol(want, NULL, 10))
		bad = err_new(&err, ERR_VERIFY, "the cache has counted to %ld, not %s", n, want);
	else if (!want)
		bad = put(writable(r), "n", 'n', (size_t)n + 1);
	if (bad == 0 && strcmp(op, "cache") == 0)
		return layer_cache_give_back(c, &err) < 0 ? -1 : 0;
	layer_cache_drop(c);
	return bad;
}

/* checking */

static int check_file(const struct sandbox_root *r, const char *name, char c, size_t size)
{
	static char bytes[SIZE + 1];
	ssize_t n = -1;
	for (size_t i = 0; n < 0 && i < (r->dir ? 1 : r->n_lower); i++) {
		auto_fd fd = open(arena_printf(&a, "%s/%s", r->dir ? r->dir : r->lower[i], name), O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));
	}
	if (n != (ssize_t)size)
		return err_new(&err, ERR_VERIFY, "file '%s' has %zd bytes, not %zu", name, n, size);
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != c)
			return err_new(&err, ERR_VERIFY, "file '%s' is damaged at %zu", name, i);
	return 0;
}

static int check_layer(const struct layer_info *top)
{
	struct sandbox_root r;
	int hold;
	if (layer_hold(l, &top->id, &a, &r, &hold, &err) < 0)
		return -1;
	struct layer_info at = *top;
	for (;;) {
		char n[24];
		snprintf(n, sizeof(n), "%lu", strtoul(at.id.hex + 48, NULL, 16));
		if (check_file(&r, n, n[0], SIZE) < 0)
			return err_ctx(&err, "layer %s", n);
		for (int i = 0; i < SMALL; i++)
			if (check_file(&r, arena_printf(&a, "%s.%d", n, i), n[0], 100) < 0)
				return err_ctx(&err, "layer %s", n);
		if (!*at.parent.hex)
			break;
		struct layer_id parent = at.parent;
		int there = layer_find(l, &parent, &a, &at, &err);
		if (there <= 0)
			return there < 0 ? -1 : err_new(&err, ERR_VERIFY, "the parent of a layer is gone");
	}
	close(hold);
	return 0;
}

static int check(char **wanted)
{
	struct layer_info *v;
	size_t n;
	if (layers_list(l, &a, &v, &n, &err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (check_layer(&v[i]) < 0)
			return -1;
	for (; *wanted; wanted++) {
		struct layer_info info;
		struct layer_id id = id_of(*wanted);
		int r = layer_find(l, &id, &a, &info, &err);
		if (r <= 0)
			return r < 0 ? -1 : err_new(&err, ERR_NOT_FOUND, "layer %s is not there", *wanted);
	}
	return 0;
}

static int is_empty(const char *folder)
{
	auto_fs_list list = {0};
	if (fs_list(layers_dirfd(l), folder, 1000, &list, &err) < 0)
		return -1;
	return list.n ? err_new(&err, ERR_EXISTS, "'%s/%s' is left behind", folder, list.name[0]) : 0;
}

static int clean(void)
{
	struct layer_work *w;
	struct layer_id id = id_of("999");
	auto_fs_list list = {0};
	if (layer_begin(l, &id, NULL, &w, &err) < 0)
		return -1;
	layer_work_abort(w);
	if (fs_list(layers_dirfd(l), ".", 1000, &list, &err) < 0)
		return -1;
	return is_empty("tmp");
}

static int gc(void)
{
	struct layer_gc r;
	const struct layer_gc_opts o = {.older_than_ms = -1, .max_bytes = 0, .caches = true};
	return layers_gc(l, &o, &a, &r, &err);
}

static int gone(int rc)
{
	return rc < 0 && err.code == ERR_NOT_FOUND ? 0 : rc; /* the try before was done with it */
}

int main(int argc, char **argv)
{
	enum layer_backend kind = LAYER_AUTO;
	const char *op = argc > 2 ? argv[2] : "", *arg = argc > 3 ? argv[3] : NULL, *more = argc > 4 ? argv[4] : NULL;
	struct layer_id id = id_of(arg ? arg : "0");
	int r = 2;
	if (getenv("LAYERS") && !layer_backend_parse(str_c(getenv("LAYERS")), &kind))
		return 2;
	if (getenv("FOLD"))
		overlay_fold_at = (unsigned)strtoul(getenv("FOLD"), NULL, 10);
	if (argc < 3 || layers_open(argv[1], kind, &l, &err) < 0)
		return say();
	if (strcmp(op, "make") == 0)
		r = make(arg, more);
	else if (strcmp(op, "sync") == 0)
		r = make(arg, more) < 0 ? -1 : layers_sync(l, &err);
	else if (strcmp(op, "cache") == 0 || strcmp(op, "drop") == 0 || strcmp(op, "count") == 0)
		r = cache(op, arg, more);
	else if (strcmp(op, "forget") == 0)
		r = gone(layer_cache_remove(l, str_c(arg), &err));
	else if (strcmp(op, "remove") == 0)
		r = gone(layer_remove(l, &id, &err));
	else if (strcmp(op, "gc") == 0)
		r = gc();
	else if (strcmp(op, "check") == 0)
		r = check(argv + 3);
	else if (strcmp(op, "clean") == 0)
		r = clean();
	layers_close(l);
	arena_release(&a);
	return r < 0 ? say() : r;
}
