// SPDX-License-Identifier: Apache-2.0
/* Opam packages of environments: the switch where they are built, and what is kept of it. */
#include "build/opam_workshop.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/sys.h"
#include "store/store.h"

enum { NAME_MAX_ENV = 64, NUMBER_MAX = 10, KEPT_MAX = 256, KEPT_FILES_MAX = 1000000, ROOT_WAIT_MS = 60000 };

/*
 * ROOT/env/NAME/N is at most so long, and the prefix that packages are built for just as long: a shorter path takes its place with slashes behind it.
 * The words in it are for whoever meets it in a file.
 */
static char *prefix_of(const char *root_path, const char *dir)
{
	auto_buf b = BUF_INIT(16384);
	size_t n = strlen(root_path) + strlen("/env/") + NAME_MAX_ENV + 1 + NUMBER_MAX;
	buf_printf(&b, "%s/work/built-for-environments", dir);
	while (b.n < n)
		buf_put_char(&b, '_');
	return xstrdup(b.p);
}

/* The root that says what the host is like. */
static int open_root(struct build_workshop *w, struct err *e)
{
	const char *path = arena_printf(&w->arena, "%s/root", w->dir);
	if (!fs_exists(w->fd, "root/config")) {
		auto_fd lock = fs_lock(w->fd, ".root.lock", ROOT_WAIT_MS, e);
		if (lock < 0 || (!fs_exists(w->fd, "root/config") && env_opam_init(path, NULL, NULL, 0, e) < 0))
			return -1;
	}
	return env_opam_open(path, &w->root, e) < 0 || env_opam_vars_new(w->root, NULL, &w->arena, &w->vars, e) < 0 ? -1
														    : 0;
}

/* What a killed process built in, unless another one does now. */
static int remove_left_over(struct build_workshop *w, struct err *e)
{
	struct err busy = ERR_INIT;
	if (!fs_exists(w->fd, "work"))
		return 0;
	auto_fd lock = fs_lock(w->fd, ".lock", 0, &busy);
	if (lock < 0)
		return busy.code == ERR_BUSY ? 0 : (*e = busy, -1);
	return fs_remove_tree(w->fd, "work", e);
}

int build_workshop_open(int root_fd, const char *root_path, struct build_workshop **ret, struct err *e)
{
	auto_ptr(build_workshop) w = xcalloc(1, sizeof(*w));
	w->dir = xasprintf("%s/opam", root_path);
	w->prefix = prefix_of(root_path, w->dir);
	w->fd = fs_open_dir_make(root_fd, "opam", e);
	if (w->fd < 0 || remove_left_over(w, e) < 0 || open_root(w, e) < 0)
		return err_ctx(e, "opam packages of environments");
	*ret = steal_ptr(&w);
	return 0;
}

void build_workshop_free(struct build_workshop *w)
{
	if (!w)
		return;
	env_opam_vars_free(w->vars);
	env_opam_free(w->root);
	cleanup_fd(&w->fd);
	arena_release(&w->arena);
	free(w->prefix);
	free(w->dir);
	free(w);
}

struct pkg_opam_host build_workshop_host(struct build_workshop *w)
{
	return env_opam_host(w->vars, STR_NONE, STR_NONE, NULL, NULL, 0);
}

/* == what is kept ======================================================================================================== */

static void kept_path(const uint8_t key[SHA256_SIZE], char out[80])
{
	memcpy(out, "kept/", 5);
	hex_encode(key, SHA256_SIZE, out + 5);
}

/* 1: read, and in the store; 0: it is not, or what is there says nothing. */
static int read_kept(int fd, const char *path, struct store *store, struct build_made *ret, struct err *e)
{
	auto_buf b = BUF_INIT(KEPT_MAX);
	struct err mine = ERR_INIT;
	struct str line, hex;
	uint64_t size;
	ret->kept = false;
	if (fs_read(fd, path, &b, &mine) < 0)
		return mine.code == ERR_NOT_FOUND || mine.code == ERR_LIMIT ? 0 : (*e = mine, -1);
	struct str text = buf_str(&b);
	if (!str_take_line(&text, &line) || !str_take_until(&line, ' ', &hex) || !str_to_u64(line, &size) ||
	    !str_unhex(hex, ret->sha256, SHA256_SIZE) || !store_has_tree(store, ret->sha256))
		return 0; /* torn by a power cut, or collected: it is built again */
	ret->size = size;
	ret->kept = true;
	return 1;
}

int build_workshop_kept(struct build_workshop *w, struct store *store, const uint8_t key[SHA256_SIZE],
			struct build_made *ret, struct err *e)
{
	char path[80];
	kept_path(key, path);
	return read_kept(w->fd, path, store, ret, e);
}

int build_workshop_tidy(int root_fd, struct store *store, struct err *e)
{
	auto_fs_list list = {0};
	struct err why = ERR_INIT;
	struct build_made ignored;
	auto_fd fd = fs_exists(root_fd, "opam") ? fs_open_dir(root_fd, "opam", e) : -1;
	if (fd < 0)
		return fs_exists(root_fd, "opam") ? -1 : 0;
	auto_fd lock = fs_lock(fd, ".lock", 0, &why);
	if (lock < 0)
		return why.code == ERR_BUSY ? 0 : (*e = why, -1);
	if (fs_remove_tree(fd, "work", e) < 0)
		return -1;
	if (!fs_exists(fd, "kept"))
		return 0;
	if (fs_list(fd, "kept", KEPT_FILES_MAX, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++) {
		auto_free char *path = xasprintf("kept/%s", list.name[i]);
		int there = read_kept(fd, path, store, &ignored, e);
		bool is_key = strlen(list.name[i]) == SHA256_HEX_SIZE - 1; /* else a killed process was writing it */
		if (there < 0)
			return -1;
		if ((!there || !is_key) && sys_unlinkat(fd, path, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s'", path);
	}
	return 0;
}

int build_workshop_keys(struct build_workshop *w, struct store *store, struct build_made *v, size_t n, struct err *e)
{
	struct pkg_opam_host h = build_workshop_host(w);
	for (size_t i = 0; i < n; i++) {
		if (!v[i].package.opam) /* what it was made of is known from when it was */
			continue;
		if (opam_key(&h, w->prefix, v, i, e) < 0 || build_workshop_kept(w, store, v[i].key, &v[i], e) < 0)
			return -1;
	}
	return 0;
}

static int note_kept(struct build_workshop *w, const struct build_made *p, struct err *e)
{
	char path[80], hex[SHA256_HEX_SIZE];
	auto_buf b = BUF_INIT(KEPT_MAX);
	kept_path(p->key, path);
	hex_encode(p->sha256, SHA256_SIZE, hex);
	buf_printf(&b, "%s %llu\n", hex, (unsigned long long)p->size);
	return fs_mkdirs(w->fd, "kept", 0755, e) < 0 ? -1 : fs_replace(w->fd, path, b.p, b.n, FS_REPLACE_SYNC, e);
}

/* == the switch ========================================================================================================== */

static void switch_release(struct workshop_switch *s)
{
	struct err ignored = ERR_INIT; /* else whoever builds next does it */
	env_opam_switch_free(s->sw);
	env_opam_free(s->root);
	cleanup_fd(&s->work_fd);
	if (s->lock_fd >= 0)
		(void)fs_remove_tree(s->w->fd, "work", &ignored);
	cleanup_fd(&s->lock_fd);
}

static int switch_open(struct workshop_switch *s, int64_t wait_ms, struct err *e)
{
	const char *path = arena_printf(&s->w->arena, "%s/work", s->w->dir), *name = strrchr(s->w->prefix, '/') + 1;
	s->lock_fd = fs_lock(s->w->fd, ".lock", wait_ms, e);
	if (s->lock_fd < 0)
		return err_ctx(e, "another environment's opam packages are being built");
	if (fs_remove_tree(s->w->fd, "work", e) < 0 || env_opam_init(path, NULL, NULL, 0, e) < 0 ||
	    env_opam_open(path, &s->root, e) < 0 || env_opam_switch_create(s->root, name, true, e) < 0 ||
	    env_opam_switch_open(s->root, name, &s->sw, e) < 0 || env_opam_switch_lock(s->sw, true, wait_ms, e) < 0)
		return -1;
	s->work_fd = fs_open_dir(s->w->fd, "work", e);
	return s->work_fd < 0 ? -1 : 0;
}

/* == making ============================================================================================================== */

/* Those that are to be built, and which of the others these stand on, near or far. */
static bool *find_needed(const struct build_made *v, size_t n, struct arena *a)
{
	bool *needed = arena_array(a, bool, n + 1);
	for (size_t i = n; i-- > 0;) {
		needed[i] |= !v[i].kept;
		for (size_t k = 0; needed[i] && k < v[i].package.n_needs; k++)
			needed[v[i].package.needs[k]] = true;
	}
	return needed;
}

/* Of what is to be built, with numbers among themselves. */
static size_t choose(const struct build_made *v, size_t n, struct arena *a, struct build_opam_package *ret)
{
	size_t *number = arena_array(a, size_t, n + 1), count = 0;
	for (size_t i = 0; i < n; i++) {
		const struct build_opam_package *p = &v[i].package;
		if (v[i].kept)
			continue;
		size_t *needs = arena_array(a, size_t, p->n_needs + 1), m = 0;
		for (size_t k = 0; k < p->n_needs; k++)
			if (!v[p->needs[k]].kept)
				needs[m++] = number[p->needs[k]];
		number[i] = count;
		ret[count] = *p;
		ret[count].install = true;
		ret[count].needs = needs;
		ret[count++].n_needs = m;
	}
	return count;
}

/*
 * What a package put into the switch is taken into the store when it has been installed, before anything else is: a later package may
 * write over its files, and what is kept under its key is for environments, too, that have not got that later one.
 */
struct keeper {
	struct workshop_switch *s;
	struct store *store;
	const struct build_opam_opts *o; /* of the caller */
	struct build_made *v;
	size_t n;
	bool *made; /* of v */
	struct err err;
};

/* One at a time, on any thread; nothing changes the switch meanwhile. */
static void keep_installed(void *ctx, const struct build_opam_event *event)
{
	struct keeper *k = ctx;
	bool is_installed = event->step == BUILD_OPAM_INSTALL && !event->failure;
	for (size_t i = 0; is_installed && i < k->n; i++) {
		struct build_made *p = &k->v[i];
		struct err e = ERR_INIT;
		if (p->kept || !str_eq(p->package.name, event->package->name))
			continue;
		k->made[i] = workshop_keep(k->s, k->store, p, &e) == 0;
		if (k->made[i] || k->err.code != ERR_NONE)
			continue;
		err_ctx(&e, "keep '%.*s.%.*s'", STR_ARG(p->package.name), STR_ARG(p->package.version));
		k->err = e;
	}
	if (k->o->tell)
		k->o->tell(k->o->ctx, event);
}

static int keeper_checkout(void *ctx, const char *url, const char *dest, struct err *e)
{
	const struct keeper *k = ctx;
	return k->o->checkout(k->o->ctx, url, dest, e);
}

/* A key may only lead to what is on disk. */
static int note_done(struct keeper *k, struct err *e)
{
	if (store_sync(k->store, e) < 0)
		return -1;
	for (size_t i = 0; i < k->n; i++)
		if (k->made[i] && note_kept(k->s->w, &k->v[i], e) < 0)
			return -1;
	return k->err.code == ERR_NONE ? 0 : (*e = k->err, -1);
}

int build_workshop_make(struct build_workshop *w, struct store *store, const struct build_opam_opts *o, int64_t wait_ms,
			struct build_made *v, size_t n, struct arena *a, struct build_opam_result *ret, struct err *e)
{
	cleanup_with(switch_release) struct workshop_switch s = {.w = w, .lock_fd = -1, .work_fd = -1};
	*ret = (struct build_opam_result){0};
	if (switch_open(&s, wait_ms, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) /* who held the lock may have built the same */
		if (!v[i].kept && build_workshop_kept(w, store, v[i].key, &v[i], e) < 0)
			return -1;
	const bool *needed = find_needed(v, n, a);
	struct build_opam_package *packages = arena_array(a, struct build_opam_package, n + 1);
	struct build_opam_opts mine = *o;
	mine.n = choose(v, n, a, packages);
	if (mine.n == 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (needed[i] && v[i].kept && workshop_lay(&s, store, &v[i], e) < 0)
			return err_ctx(e, "lay '%.*s.%.*s'", STR_ARG(v[i].package.name), STR_ARG(v[i].package.version));
	mine.root = s.root;
	mine.sw = s.sw;
	mine.packages = packages;
	mine.cache = arena_printf(a, "%s/download-cache", w->dir);
	mine.log_dir = arena_printf(a, "%s/log", w->dir);
	struct keeper k = {
		.s = &s, .store = store, .o = o, .v = v, .n = n, .made = arena_array(a, bool, n), .err = ERR_INIT};
	mine.tell = keep_installed;
	mine.checkout = o->checkout ? keeper_checkout : NULL;
	mine.ctx = &k;
	return build_opam(&mine, a, ret, e) < 0 || note_done(&k, e) < 0 ? -1 : 0;
}
