// SPDX-License-Identifier: Apache-2.0
/*
 * Caches of steps: cache/<name>/<n>/, whose highest n is the state. Who has taken state n gives back n+1, if n is still the highest: the
 * rename onto that name works for the first who tries. Who has taken a state holds it, so that no number comes again meanwhile.
 *
 * With overlay a state is what one step changed, on top of the states before it, so that taking and giving back cost the same whatever is in
 * the cache; now and then they are made into one tree. Old states go as soon as nobody has them and no newer one lies on them.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"
#include "base/vec.h"
#include "layer/internal.h"

struct cache_name {
	char s[LAYER_CACHE_NAME_MAX + 1];
};
struct layer_cache {
	struct layers *l;
	struct cache_name name;
	uint64_t taken; /* state; 0: there was none */
	struct place tmp;
	struct arena a;
	struct sandbox_root root;
	int lock, hold;
};
VEC_TYPE(numbers, uint64_t);

static void numbers_release(struct numbers *n)
{
	vec_release(n);
}
#define auto_numbers cleanup_with(numbers_release) struct numbers

static struct place place_state(const struct cache_name *name, uint64_t n)
{
	return place_of("cache/%s/%" PRIu64, name->s, n);
}

/* "c-" and the name, in which what is not a letter, a digit, '.', '_' or '-' is %xx. */
static int escape(struct str name, struct cache_name *ret, struct err *e)
{
	auto_buf b = BUF_INIT(LAYER_CACHE_NAME_MAX);
	buf_put_c(&b, "c-");
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		if ((c < 0x80 && isalnum(c)) || c == '.' || c == '_' || c == '-')
			buf_put_char(&b, (char)c);
		else
			buf_printf(&b, "%%%02x", c);
	}
	if (name.n == 0 || memchr(name.p, '\0', name.n))
		return err_new(e, ERR_USAGE, "a cache needs a name");
	if (b.overflow)
		return err_new(e, ERR_LIMIT,
			       "the name of cache '%.40s…' is too long: %d bytes, other characters than "
			       "letters, digits, '.', '_' and '-' count three",
			       name.p, LAYER_CACHE_NAME_MAX - 2);
	snprintf(ret->s, sizeof(ret->s), "%s", b.p);
	return 0;
}

static bool unescape(struct str s, struct arena *a, struct str *ret)
{
	char *out = arena_alloc(a, s.n + 1);
	size_t n = 0;
	if (!str_take_str(&s, STR("c-")))
		return false;
	while (s.n > 0) {
		uint8_t c = (uint8_t)s.p[0];
		bool hex = c == '%';
		if (hex && !str_unhex(str_head(str_skip(s, 1), 2), &c, 1))
			return false;
		s = str_skip(s, hex ? 3 : 1);
		out[n++] = (char)c;
	}
	out[n] = '\0';
	*ret = str_of(out, n);
	return n > 0;
}

static int compare_numbers(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* The states that are there, lowest first. */
static int list_states(struct layers *l, const char *folder, struct numbers *ret, struct err *e)
{
	auto_fs_list list = {0};
	struct err missing = ERR_INIT;
	struct place at = place_of("cache/%s", folder);
	vec_clear(ret);
	if (fs_list(l->dir, at.s, FOLDER_MAX, &list, &missing) < 0) {
		if (missing.code == ERR_NOT_FOUND)
			return 0;
		*e = missing;
		return -1;
	}
	for (size_t i = 0; i < list.n; i++) {
		uint64_t n;
		if (str_to_u64(str_c(list.name[i]), &n) && n > 0)
			vec_push(ret, n);
	}
	vec_sort(ret, compare_numbers);
	return 0;
}

/* taking */

/* Holds the newest state; c->taken is 0 where there is none. */
static int hold_newest(struct layer_cache *c, struct err *e)
{
	for (;;) {
		auto_numbers n = {0};
		struct err gone = ERR_INIT;
		if (list_states(c->l, c->name.s, &n, e) < 0)
			return -1;
		c->taken = n.n ? *vec_last(&n) : 0;
		if (!c->taken)
			return 0;
		struct place at = place_state(&c->name, c->taken);
		c->hold = entry_hold(c->l, &at, &gone);
		if (c->hold >= 0)
			return 0;
		if (gone.code != ERR_NOT_FOUND) {
			*e = gone;
			return -1;
		}
	}
}

static int make_place(struct layer_cache *c, struct err *e)
{
	enum { TRIES = 1000 };
	for (int i = 0;; i++) {
		struct err busy = ERR_INIT;
		c->tmp = place_of("tmp/%s.%ld.%u", c->name.s, (long)getpid(), c->l->serial++);
		if (entry_make(c->l, &c->tmp, &c->lock, &busy) == 0)
			return 0;
		if (busy.code != ERR_BUSY || i == TRIES) {
			*e = busy;
			return -1;
		}
	}
}

static int make_tree(struct layer_cache *c, uid_t uid, gid_t gid, struct err *e)
{
	struct place parent = place_state(&c->name, c->taken), fs = place_of("%s/fs", c->tmp.s);
	if (c->l->ops->begin(c->l, c->tmp.s, c->taken ? parent.s : NULL, &c->a, &c->root, e) < 0)
		return -1;
	if (!c->taken && inside_chown(c->l, fs.s, uid, gid, e) < 0)
		return -1;
	return 0;
}

static void cache_free(struct layer_cache *c)
{
	cleanup_fd(&c->lock);
	cleanup_fd(&c->hold);
	arena_release(&c->a);
	free(c);
}
DEFINE_AUTO(struct layer_cache *, cache_memory, cache_free);

int layer_cache_take(struct layers *l, struct str name, uid_t uid, gid_t gid, struct layer_cache **ret, struct err *e)
{
	auto_ptr(cache_memory) c = xcalloc(1, sizeof(*c));
	*c = (struct layer_cache){.l = l, .lock = -1, .hold = -1};
	if (escape(name, &c->name, e) < 0)
		return -1;
	tmp_clear(l);
	if (hold_newest(c, e) < 0 || make_place(c, e) < 0)
		return err_ctx(e, "take cache '%.*s'", STR_ARG(name));
	if (make_tree(c, uid, gid, e) < 0) {
		entry_abandon(l, &c->tmp, c->lock);
		return err_ctx(e, "take cache '%.*s'", STR_ARG(name));
	}
	*ret = steal_ptr(&c);
	return 0;
}

void layer_cache_mount(const struct layer_cache *c, struct sandbox_mount *ret)
{
	ret->source = c->root.dir;
	ret->root = c->root.dir ? NULL : &c->root;
	ret->readonly = false;
}

void layer_cache_drop(struct layer_cache *c)
{
	auto_ptr(cache_memory) done = c;
	if (c)
		entry_abandon(c->l, &c->tmp, c->lock);
}

/* giving back */

/* Whether the tree of state n lies on that of state k. */
static int lies_on(struct layers *l, const struct cache_name *name, uint64_t n, uint64_t k, struct err *e)
{
	auto_buf b = BUF_INIT(LOWER_FILE_MAX);
	struct err missing = ERR_INIT;
	struct place list = place_of("cache/%s/%" PRIu64 "/lower", name->s, n);
	struct place line = place_of("cache/%s/%" PRIu64 "/fs\n", name->s, k);
	if (fs_read(l->dir, list.s, &b, &missing) < 0) {
		if (missing.code == ERR_NOT_FOUND)
			return 0;
		*e = missing;
		return -1;
	}
	return str_search(buf_str(&b), str_c(line.s)) >= 0;
}

VEC_TYPE(places, struct place);

/* With the house held: takes away the states that no one has and on which no kept one lies. */
static int take_old_away(struct layers *l, const struct cache_name *name, struct places *gone, struct err *e)
{
	auto_numbers states = {0}, kept = {0};
	if (list_states(l, name->s, &states, e) < 0)
		return -1;
	for (size_t i = states.n; i-- > 0;) {
		struct place at = place_state(name, states.v[i]), to;
		int needed = i + 1 == states.n;
		for (size_t k = 0; k < kept.n && needed == 0; k++)
			needed = lies_on(l, name, kept.v[k], states.v[i], e);
		int taken = needed == 0 ? entry_unname(l, &at, &to, e) : 0;
		if (needed < 0 || taken < 0)
			return -1;
		if (taken)
			vec_push(gone, to);
		else
			vec_push(&kept, states.v[i]);
	}
	return 0;
}

/* What cannot be removed now is when the next one is given back. */
static void remove_old(struct layers *l, const struct cache_name *name)
{
	struct err ignored = ERR_INIT;
	struct places gone = {0};
	if (house_hold(l, true, &ignored) == 0)
		(void)take_old_away(l, name, &gone, &ignored);
	house_open(l);
	vec_foreach(g, &gone)
		entry_discard(l, g);
	vec_release(&gone);
}

/* Whether what was taken is still the newest state. With the house held, that is decided by who gives the next one its name. */
static int is_first(struct layer_cache *c, struct err *e)
{
	auto_numbers states = {0};
	if (list_states(c->l, c->name.s, &states, e) < 0)
		return -1;
	return (states.n ? *vec_last(&states) : 0) == c->taken;
}

/* Where a backend tells only what is new: that and what there was, and now and then, because files go too, all that there is. */
static int measure(struct layer_cache *c, struct layer_info *info, struct err *e)
{
	enum { EVERY = 8 };
	struct layer_info before;
	auto_arena a = ARENA_INIT;
	struct place at = place_state(&c->name, c->taken), fs = place_of("%s/fs", c->tmp.s);
	if (c->taken % EVERY == 0)
		return inside_bytes(c->l, fs.s, false, &info->bytes, e);
	int r = about_read(c->l, &at, false, &a, &before, e);
	if (r > 0)
		info->bytes += before.bytes;
	return r < 0 ? -1 : 0;
}

static int give_back(struct layer_cache *c, struct err *e)
{
	struct layer_info info = {.created_ms = clock_wall_ms()};
	struct place folder = place_of("cache/%s", c->name.s), to = place_state(&c->name, c->taken + 1);
	struct place mark = place_of("%s.%" PRIu64, c->name.s, c->taken + 1);
	int r = is_first(c, e);
	if (r <= 0)
		return r;
	if (c->l->ops->finish(c->l, c->tmp.s, &info.bytes, e) < 0)
		return -1;
	if (c->l->ops->measure && measure(c, &info, e) < 0)
		return -1;
	if (c->l->ops->pack && c->l->ops->pack(c->l, c->tmp.s, &info.bytes, e) < 0)
		return -1;
	if (about_write(c->l, &c->tmp, &info, e) < 0)
		return -1;
	if (sys_mkdirat(c->l->dir, folder.s, 0700) < 0 && errno != EEXIST)
		return err_sys(e, "make folder '%s/%s'", c->l->path, folder.s);
	if (house_hold(c->l, false, e) < 0)
		return -1;
	r = is_first(c, e);
	if (r > 0)
		r = entry_name(c->l, &c->tmp, c->lock, &to, mark.s, e);
	house_open(c->l);
	return r;
}

int layer_cache_give_back(struct layer_cache *c, struct err *e)
{
	auto_ptr(cache_memory) done = c;
	int r = give_back(c, e);
	if (r <= 0)
		entry_abandon(c->l, &c->tmp, c->lock);
	if (r < 0)
		return err_ctx(e, "give back cache '%s'", c->name.s + 2);
	cleanup_fd(&c->hold);
	if (r > 0)
		remove_old(c->l, &c->name);
	return r;
}

/* keeping house */

static int cache_info(struct layers *l, const char *folder, struct arena *a, struct layer_cache_info *ret,
		      struct err *e)
{
	auto_numbers states = {0};
	if (!unescape(str_c(folder), a, &ret->name) || list_states(l, folder, &states, e) < 0)
		return -1;
	for (size_t i = 0; i < states.n; i++) {
		struct layer_info info;
		struct place at = place_of("cache/%s/%" PRIu64, folder, states.v[i]);
		int r = about_read(l, &at, false, a, &info, e);
		if (r < 0)
			return -1;
		if (r > 0) {
			ret->bytes += info.bytes;
			ret->used_ms = info.used_ms > ret->used_ms ? info.used_ms : ret->used_ms;
		}
	}
	return states.n > 0;
}

int cache_read(struct layers *l, struct str name, struct arena *a, struct layer_cache_info *ret, struct err *e)
{
	struct cache_name escaped;
	*ret = (struct layer_cache_info){0};
	return escape(name, &escaped, e) < 0 ? -1 : cache_info(l, escaped.s, a, ret, e);
}

int layer_caches(struct layers *l, struct arena *a, struct layer_cache_info **ret, size_t *ret_n, struct err *e)
{
	auto_fs_list list = {0};
	size_t n = 0;
	if (fs_list(l->dir, "cache", FOLDER_MAX, &list, e) < 0)
		return -1;
	struct layer_cache_info *v = arena_array(a, struct layer_cache_info, list.n + 1);
	for (size_t i = 0; i < list.n; i++) {
		struct err bad = ERR_INIT;
		v[n] = (struct layer_cache_info){0};
		int r = cache_info(l, list.name[i], a, &v[n], &bad);
		if (r > 0)
			n++;
		else if (r < 0 && bad.code != ERR_NONE) {
			*e = bad;
			return -1;
		}
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

VEC_TYPE(fds, int);

static void fds_release(struct fds *f)
{
	vec_foreach(fd, f)
		close(*fd);
	vec_release(f);
}

/* 1 every state is ours alone, 0 somebody has one. */
static int lock_states(struct layers *l, const struct cache_name *name, const struct numbers *n, struct fds *held,
		       struct err *e)
{
	for (size_t i = 0; i < n->n; i++) {
		struct place log = place_of("cache/%s/%" PRIu64 "/log", name->s, n->v[i]);
		int fd = openat(l->dir, log.s, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			return err_sys(e, "open '%s/%s'", l->path, log.s);
		vec_push(held, fd);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK || errno == EINTR ? 0 : err_sys(e, "lock '%s/%s'", l->path, log.s);
	}
	return 1;
}

/* 1 taken away, 0 somebody has it, -1 with ERR_NOT_FOUND: there is none. */
static int take_away(struct layers *l, const struct cache_name *name, bool dry_run, struct place *ret_gone,
		     struct err *e)
{
	cleanup_with(fds_release) struct fds held = {0};
	auto_numbers states = {0};
	struct place folder = place_of("cache/%s", name->s);
	if (list_states(l, name->s, &states, e) < 0)
		return -1;
	if (states.n == 0)
		return err_new(e, ERR_NOT_FOUND, "there is none");
	int r = lock_states(l, name, &states, &held, e);
	if (r <= 0 || dry_run)
		return r;
	return place_take_away(l, &folder, ret_gone, e) < 0 ? -1 : 1;
}

int cache_take_away(struct layers *l, struct str name, bool dry_run, struct place *ret_gone, struct err *e)
{
	struct cache_name escaped;
	struct err missing = ERR_INIT;
	if (escape(name, &escaped, e) < 0)
		return -1;
	int r = take_away(l, &escaped, dry_run, ret_gone, &missing);
	if (r < 0 && missing.code == ERR_NOT_FOUND)
		return 0;
	if (r < 0)
		*e = missing;
	return r;
}

int layer_cache_remove(struct layers *l, struct str name, struct err *e)
{
	struct cache_name escaped;
	struct place gone;
	if (escape(name, &escaped, e) < 0)
		return -1;
	tmp_clear(l);
	int r = house_hold(l, true, e) < 0 ? -1 : take_away(l, &escaped, false, &gone, e);
	house_open(l);
	if (r == 0)
		r = err_new(e, ERR_BUSY, "a step uses it; try again when that is done");
	if (r < 0)
		return err_ctx(e, "remove cache '%.*s'", STR_ARG(name));
	entry_discard(l, &gone);
	return 0;
}
