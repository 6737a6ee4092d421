// SPDX-License-Identifier: Apache-2.0
/* Layers made, found, held, lost and removed, by several processes, over a boot. */
#include <poll.h>
#include <sys/file.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "lib/layers.h"

static struct layers *l;
static struct err e;
static struct arena a;

static void open_layers(void)
{
	l = test_layers(ON_COPY);
	a = ARENA_INIT;
}

static void step_file(void)
{
	int fd = open("/file", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	CHECK(fd >= 0 && write(fd, "text", 4) == 4);
	close(fd);
}

static void make(unsigned n, unsigned parent)
{
	test_make(l, n, parent, step_file);
}

static int begin(unsigned n, unsigned parent, struct layer_work **ret)
{
	struct layer_id id = test_id(n), below = test_id(parent);
	e = ERR_INIT;
	return layer_begin(l, &id, parent ? &below : NULL, ret, &e);
}

/* In another process, which then ends without a word. */
static void elsewhere(void (*what)(struct layers *again))
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		what(test_again(l));
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK_INT(status, 0);
}

static void set_used(unsigned n, int64_t ms)
{
	struct layer_id id = test_id(n);
	char path[200];
	const struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};
	snprintf(path, sizeof(path), "layer/%s/about", id.hex);
	CHECK(utimensat(layers_dirfd(l), path, t, 0) == 0);
}

/* Layers leak no memory of theirs: the arena is this file's. */
static void done(void)
{
	arena_release(&a);
	layers_close(l);
}

TEST(found_with_what_its_maker_said)
{
	struct layer_info info;
	struct layer_id id = test_id(7);
	open_layers();
	CHECK_INT(layer_find(l, &id, &a, &info, &e), 0);
	int64_t before = clock_wall_ms();
	make(7, 0);
	make(8, 7);
	CHECK_INT(layer_find(l, &id, &a, &info, &e), 1);
	CHECK_STR(info.id.hex, id.hex);
	CHECK_STR(info.parent.hex, "");
	CHECK(str_eq_c(info.about, "made by a test"));
	CHECK(info.created_ms >= before && info.created_ms <= clock_wall_ms());
	CHECK(info.bytes >= 4 && info.bytes < 100000);
	CHECK_INT(info.depth, 0);
	struct layer_id child = test_id(8);
	CHECK_INT(layer_find(l, &child, &a, &info, &e), 1);
	CHECK_STR(info.parent.hex, id.hex);
	CHECK_INT(info.depth, 1);
	set_used(8, 5000);
	struct layer_info *v;
	size_t n;
	CHECK(layers_list(l, &a, &v, &n, &e) == 0 && n == 2);
	CHECK_STR(v[0].id.hex, child.hex);
	CHECK_INT(v[0].used_ms, 5000);
	CHECK_INT(layer_find(l, &child, &a, &info, &e), 1);
	CHECK(info.used_ms >= before);
	CHECK(layers_list(l, &a, &v, &n, &e) == 0 && v[0].used_ms > 5000);
	done();
}

TEST(too_many_words_are_refused)
{
	struct layer_work *w;
	char *words = xcalloc(1, LAYER_ABOUT_MAX + 1);
	open_layers();
	memset(words, 'x', LAYER_ABOUT_MAX + 1);
	CHECK(begin(1, 0, &w) == 0);
	CHECK(layer_work_commit(w, str_of(words, LAYER_ABOUT_MAX + 1), &e) < 0);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_INT(test_count(l, "layer") + test_count(l, "tmp") + test_count(l, "unsynced"), 0);
	CHECK(begin(1, 0, &w) == 0 && layer_work_commit(w, str_of(words, LAYER_ABOUT_MAX), &e) == 0);
	free(words);
	done();
}

TEST(a_log_is_followed_over_the_naming)
{
	struct layer_work *w;
	struct layer_id id = test_id(1);
	char text[100];
	open_layers();
	CHECK(layer_open_log(l, &id, &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK(begin(1, 0, &w) == 0);
	int fd = layer_open_log(l, &id, &e);
	CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 0);
	CHECK(write(layer_work_log_fd(w), "one ", 4) == 4);
	CHECK(read(fd, text, sizeof(text)) == 4);
	CHECK(write(layer_work_log_fd(w), "two", 3) == 3);
	CHECK(layer_work_commit(w, STR(""), &e) == 0);
	CHECK(read(fd, text, sizeof(text)) == 3);
	close(fd);
	fd = layer_open_log(l, &id, &e);
	CHECK(fd >= 0 && read(fd, text, sizeof(text)) == 7);
	close(fd);
	done();
}

TEST(an_aborted_one_leaves_nothing)
{
	struct layer_work *w;
	open_layers();
	make(1, 0);
	CHECK(begin(2, 1, &w) == 0);
	test_in(layer_work_root(w), step_file);
	layer_work_abort(w);
	CHECK_INT(test_count(l, "tmp"), 0);
	CHECK_INT(test_count(l, "layer"), 1);
	CHECK(!test_is_there(l, 2));
	done();
}

static void begin_and_die(struct layers *again)
{
	struct layer_id id = test_id(2), below = test_id(1);
	struct layer_work *w;
	CHECK(layer_begin(again, &id, &below, &w, &e) == 0);
	test_in(layer_work_root(w), step_file);
	_exit(0);
}

TEST(what_a_killed_one_left_is_cleared)
{
	struct layer_work *w;
	struct layer_id id = test_id(1);
	open_layers();
	make(1, 0);
	elsewhere(begin_and_die);
	CHECK_INT(test_count(l, "tmp"), 1);
	CHECK(!test_is_there(l, 2));
	struct layers *next = test_again(l);
	CHECK(layer_begin(next, &(struct layer_id){.hex = "33"}, &id, &w, &e) == 0);
	CHECK_INT(test_count(l, "tmp"), 1); /* the new one */
	layer_work_abort(w);
	layers_close(next);
	elsewhere(begin_and_die);
	CHECK(begin(2, 1, &w) == 0); /* this process has cleared already: it takes the dead one's place */
	CHECK(layer_work_commit(w, STR(""), &e) == 0);
	CHECK_INT(test_count(l, "tmp"), 0);
	layers_close(test_again(l));
	done();
}

static void expect_busy(struct layers *again)
{
	struct layer_id id = test_id(1);
	struct layer_work *w;
	CHECK(layer_begin(again, &id, NULL, &w, &e) < 0);
	CHECK_INT(e.code, ERR_BUSY);
	CHECK_INT(layer_wait(again, &id, 30, &e), 0);
	CHECK(layer_begin(again, &(struct layer_id){.hex = "other"}, NULL, &w, &e) ==
	      0); /* clears, but not what is alive */
	layer_work_abort(w);
}

TEST(one_makes_it_at_a_time)
{
	struct layer_work *w, *w2;
	struct layer_id id = test_id(1);
	open_layers();
	CHECK(begin(1, 0, &w) == 0);
	elsewhere(expect_busy);
	CHECK(layer_work_commit(w, STR(""), &e) == 0);
	CHECK_INT(layer_wait(l, &id, 0, &e), 1);
	CHECK(begin(1, 0, &w2) < 0);
	CHECK_INT(e.code, ERR_EXISTS);
	CHECK_INT(test_count(l, "tmp"), 0);
	CHECK(begin(3, 2, &w2) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(test_count(l, "tmp"), 0);
	done();
}

TEST(what_is_used_is_not_removed)
{
	struct layer_id one = test_id(1), two = test_id(2);
	struct sandbox_root r;
	struct layer_work *w;
	int hold;
	open_layers();
	make(1, 0);
	make(2, 1);
	CHECK(layer_remove(l, &one, &e) < 0);
	CHECK_INT(e.code, ERR_BUSY); /* it has a child */
	CHECK(layer_hold(l, &two, &a, &r, &hold, &e) == 0);
	CHECK(layer_remove(l, &two, &e) < 0);
	CHECK_INT(e.code, ERR_BUSY);
	close(hold);
	CHECK(begin(3, 2, &w) == 0);
	CHECK(layer_remove(l, &two, &e) < 0);
	CHECK_INT(e.code, ERR_BUSY); /* one is made of it */
	layer_work_abort(w);
	e = ERR_INIT;
	CHECK_MSG(layer_remove(l, &two, &e) == 0 && layer_remove(l, &one, &e) == 0, "%s", e.msg);
	CHECK(layer_remove(l, &one, &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(test_count(l, "layer") + test_count(l, "tmp"), 0);
	done();
}

/* As if this were another boot: what is marked was marked in the one before. */
static struct layers *boot(void)
{
	auto_fs_list marks = {0};
	const char *old = "00000000-0000-0000-0000-000000000000";
	CHECK(fs_list(layers_dirfd(l), "unsynced", 1000, &marks, &e) == 0);
	for (size_t i = 0; i < marks.n; i++) {
		auto_free char *from = xasprintf("unsynced/%s", marks.name[i]);
		auto_free char *to = xasprintf("unsynced/%s%s", old, strchr(marks.name[i], '.'));
		CHECK(renameat(layers_dirfd(l), from, layers_dirfd(l), to) == 0);
	}
	CHECK(fs_replace(layers_dirfd(l), "boot", old, strlen(old), 0, &e) == 0);
	return test_again(l);
}

TEST(a_boot_removes_what_was_not_synced)
{
	open_layers();
	make(1, 0);
	make(2, 1);
	CHECK_INT(test_count(l, "unsynced"), 2);
	CHECK(layers_sync(l, &e) == 0);
	CHECK_INT(test_count(l, "unsynced"), 0);
	make(3, 2);
	make(4, 3);
	make(5, 0);
	CHECK(test_is_there(l, 4));
	layers_close(boot());
	CHECK(test_is_there(l, 1) && test_is_there(l, 2));
	CHECK(!test_is_there(l, 3) && !test_is_there(l, 4) && !test_is_there(l, 5));
	CHECK_INT(test_count(l, "unsynced"), 0);
	CHECK_INT(test_count(l, "layer"), 2);
	make(3, 2);
	layers_close(test_again(l)); /* the same boot */
	CHECK(test_is_there(l, 3));
	done();
}

TEST(a_synced_layer_vouches_for_what_is_below_it)
{
	open_layers();
	make(1, 0);
	make(2, 1);
	make(3, 2);
	make(4, 1);
	/* the disk kept the removal of one mark only */
	auto_fs_list marks = {0};
	CHECK(fs_list(layers_dirfd(l), "unsynced", 1000, &marks, &e) == 0 && marks.n == 4);
	struct layer_id three = test_id(3);
	for (size_t i = 0; i < marks.n; i++) {
		auto_free char *path = xasprintf("unsynced/%s", marks.name[i]);
		CHECK(!strstr(path, three.hex) || unlinkat(layers_dirfd(l), path, 0) == 0);
	}
	layers_close(boot());
	CHECK(test_is_there(l, 1) && test_is_there(l, 2) && test_is_there(l, 3));
	CHECK(!test_is_there(l, 4));
	CHECK_INT(test_count(l, "unsynced"), 0);
	done();
}

TEST(marks_of_what_is_gone_go)
{
	open_layers();
	make(1, 0);
	make(2, 0);
	struct layer_id two = test_id(2);
	CHECK(layer_remove(l, &two, &e) == 0);
	CHECK_INT(test_count(l, "unsynced"), 2);
	CHECK(layers_sync(l, &e) == 0);
	CHECK_INT(test_count(l, "unsynced"), 0);
	done();
}

/* gc */

static struct layer_gc gc(struct layer_gc_opts o)
{
	struct layer_gc r;
	e = ERR_INIT;
	o.now_ms = 1000000;
	CHECK_MSG(layers_gc(l, &o, &a, &r, &e) == 0, "%s", e.msg);
	return r;
}
#define GC(...)                                                                                                        \
	({                                                                                                             \
		struct layer_gc_opts o = {.older_than_ms = -1, .max_bytes = UINT64_MAX};                               \
		__VA_ARGS__;                                                                                           \
		gc(o);                                                                                                 \
	})

static bool is_item(const struct layer_gc *r, size_t i, unsigned n, enum layer_gc_why why)
{
	struct layer_id id = test_id(n);
	return i < r->n && strcmp(r->v[i].id.hex, id.hex) == 0 && r->v[i].why == why;
}

/* 1 ← 2 ← 3 ← 4, 2 ← 5, and 6; used long ago in the order 2 1 3 6 4 5 */
static void make_some(void)
{
	static const unsigned order[] = {2, 1, 3, 6, 4, 5};
	open_layers();
	make(1, 0);
	make(2, 1);
	make(3, 2);
	make(4, 3);
	make(5, 2);
	make(6, 0);
	for (int i = 0; i < 6; i++)
		set_used(order[i], 100000 * (i + 1));
}

TEST(gc_by_age)
{
	make_some();
	struct layer_gc r = GC(o.older_than_ms = 450000,
			       o.dry_run = true); /* used at 550000 or before: 2 1 3 6 4, but 5 holds 1 and 2 */
	CHECK_INT(r.n, 3);
	CHECK(is_item(&r, 0, 6, LAYER_GC_AGE) && is_item(&r, 1, 4, LAYER_GC_AGE) && is_item(&r, 2, 3, LAYER_GC_AGE));
	CHECK_INT(test_count(l, "layer"), 6);
	struct layer_gc r2 = GC(o.older_than_ms = 450000);
	CHECK_INT(r2.n, 3);
	CHECK_INT(r2.freed_bytes, r.freed_bytes);
	CHECK(r2.freed_bytes > 0);
	CHECK_INT(test_count(l, "layer"), 3);
	CHECK_INT(test_count(l, "tmp"), 0);
	r = GC(o.older_than_ms = 0);
	CHECK_INT(r.n, 3);
	CHECK(is_item(&r, 0, 5, LAYER_GC_AGE) && is_item(&r, 1, 2, LAYER_GC_AGE) && is_item(&r, 2, 1, LAYER_GC_AGE));
	CHECK_INT(r.kept_bytes, 0);
	CHECK_INT(test_count(l, "layer"), 0);
	done();
}

TEST(gc_by_size_takes_the_longest_unused)
{
	make_some();
	struct layer_gc r = GC(o.dry_run = true);
	CHECK_INT(r.n, 0);
	uint64_t all = r.kept_bytes;
	r = GC(o.max_bytes = all - 1);
	CHECK_INT(r.n, 1);
	CHECK(is_item(&r, 0, 6, LAYER_GC_SIZE));
	r = GC(o.max_bytes = all / 6 * 4 - 1);
	CHECK_INT(r.n, 2);
	CHECK(is_item(&r, 0, 4, LAYER_GC_SIZE) && is_item(&r, 1, 3, LAYER_GC_SIZE));
	r = GC(o.max_bytes = 0);
	CHECK_INT(r.n, 3);
	CHECK_INT(test_count(l, "layer"), 0);
	done();
}

TEST(gc_keeps_what_has_a_name_and_what_is_used)
{
	struct layer_id keep = test_id(3), six = test_id(6);
	struct sandbox_root root;
	int hold;
	make_some();
	CHECK(layer_hold(l, &six, &a, &root, &hold, &e) == 0);
	struct layer_gc r = GC(o.max_bytes = 0, o.keep = &keep, o.n_keep = 1);
	CHECK_INT(r.n, 2);
	CHECK(is_item(&r, 0, 4, LAYER_GC_SIZE) && is_item(&r, 1, 5, LAYER_GC_SIZE));
	CHECK_INT(r.kept, 4);
	CHECK(test_is_there(l, 1) && test_is_there(l, 2) && test_is_there(l, 3) && test_is_there(l, 6));
	close(hold);
	done();
}

static int fds[2];

static void name_one(struct layers *again)
{
	struct err err = ERR_INIT;
	CHECK(layers_pause(again, &err) == 0 && write(fds[1], "x", 1) == 1);
	layers_go_on(again);
}

/* Somebody wants to give a name just then: that has to wait, or what is told here would not be all. */
static int names(void *ctx, struct layers *of, struct arena *in, const struct layer_id **ret, size_t *ret_n,
		 struct err *err)
{
	struct pollfd p = {.fd = fds[0], .events = POLLIN};
	pid_t *child = ctx;
	(void)of, (void)err;
	*child = fork();
	if (*child == 0) {
		name_one(test_again(l));
		_exit(0);
	}
	CHECK_INT(poll(&p, 1, 200), 0);
	struct layer_id *id = arena_array(in, struct layer_id, 1);
	*id = test_id(3);
	*ret = id;
	*ret_n = 1;
	return 0;
}

TEST(gc_asks_for_names_when_none_can_come)
{
	pid_t child;
	int status;
	char c;
	make_some();
	CHECK(pipe2(fds, O_CLOEXEC) == 0);
	struct layer_gc r = GC(o.max_bytes = 0, o.names = names, o.ctx = &child);
	CHECK_INT(r.n, 3);
	CHECK(test_is_there(l, 1) && test_is_there(l, 2) && test_is_there(l, 3) && !test_is_there(l, 6));
	CHECK(read(fds[0], &c, 1) == 1);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	done();
}

/* What happens between the reading of descriptions and the moment when gc alone may act. */
static void use_and_build_on(void)
{
	struct layer_info info;
	struct layer_id six = test_id(6);
	struct pollfd none = {.fd = -1};
	struct layers *again = test_again(l);
	auto_arena in = ARENA_INIT;
	CHECK(layers_pause(again, &e) == 0 && write(fds[1], "x", 1) == 1);
	(void)poll(&none, 1, 300); /* by then gc waits for the house */
	CHECK(layer_find(again, &six, &in, &info, &e) == 1);
	test_make(again, 7, 4, step_file); /* shared, as is the pause */
	layers_go_on(again);
	layers_close(again);
	_exit(0);
}

TEST(gc_sees_what_happens_while_it_reads)
{
	int status;
	char c;
	make_some();
	CHECK(pipe2(fds, O_CLOEXEC) == 0);
	pid_t child = fork();
	if (child == 0)
		use_and_build_on();
	CHECK(read(fds[0], &c, 1) == 1);
	struct layer_gc r = GC(o.older_than_ms = 0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK_INT(r.n, 1);
	CHECK(is_item(&r, 0, 5, LAYER_GC_AGE));
	CHECK_INT(r.kept, 6);
	CHECK(test_is_there(l, 6) && test_is_there(l, 7) && test_is_there(l, 4) && test_is_there(l, 1));
	done();
}

/* Descriptions, of which there may be thousands, are read before others have to wait: what changes in one of them afterwards is not seen. */
static int change_description(void *ctx, struct layers *of, struct arena *in, const struct layer_id **ret,
			      size_t *ret_n, struct err *err)
{
	struct layer_id six = test_id(6);
	char path[200];
	(void)ctx, (void)in, (void)err;
	snprintf(path, sizeof(path), "layer/%s/about", six.hex);
	auto_fd fd = openat(layers_dirfd(of), path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	CHECK(fd >= 0);
	*ret = NULL;
	*ret_n = 0;
	return 0;
}

TEST(gc_reads_before_others_wait)
{
	make_some();
	struct layer_gc r = GC(o.names = change_description);
	CHECK_INT(r.n, 0);
	CHECK_INT(r.kept, 6);
	done();
}

/* What else lies there goes as layers do: in the order of its use, unless somebody uses it. */
static int take_other(void *ctx, struct str name, bool dry_run, struct err *err)
{
	(void)ctx, (void)err;
	CHECK(!dry_run);
	return !str_eq_c(name, "used");
}

TEST(gc_of_other_things)
{
	static const struct layer_gc_other others[] = {{{"used", sizeof("used") - 1}, 50000, 1000},
						       {{"old", sizeof("old") - 1}, 150000, 1000},
						       {{"new", sizeof("new") - 1}, 900000, 1000}};
	make_some();
	struct layer_gc r = GC(o.older_than_ms = 450000, o.others = others, o.n_others = 3, o.take_other = take_other);
	CHECK_INT(r.n, 4);
	CHECK(str_eq_c(r.v[0].other, "old") && is_item(&r, 1, 6, LAYER_GC_AGE) && is_item(&r, 2, 4, LAYER_GC_AGE));
	CHECK_INT(r.kept, 5);
	CHECK(r.kept_bytes > 2000);
	r = GC(o.max_bytes = 0, o.others = others, o.n_others = 3, o.take_other = take_other);
	CHECK_INT(r.n, 5);
	CHECK(str_eq_c(r.v[4].other, "new") && r.v[4].why == LAYER_GC_SIZE);
	CHECK_INT(r.kept_bytes, 1000);
	done();
}

/* flock is a description's: what a child does with the one it inherits would take the lock of its parent away. */
TEST(a_child_has_a_house_lock_of_its_own)
{
	int status;
	open_layers();
	CHECK(layers_pause(l, &e) == 0);
	pid_t child = fork();
	if (child == 0) {
		CHECK(layers_pause(l, &e) == 0);
		layers_go_on(l);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	int fd = openat(layers_dirfd(l), "lock", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	layers_go_on(l);
	CHECK(flock(fd, LOCK_EX | LOCK_NB) == 0);
	close(fd);
	done();
}

TEST(gc_for_free_space)
{
	make_some();
	struct layer_gc r = GC(o.keep_free_bytes = 1);
	CHECK_INT(r.n, 0);
	r = GC(o.keep_free_bytes = UINT64_MAX / 2);
	CHECK_INT(r.n, 6);
	CHECK(r.v[0].why == LAYER_GC_SPACE);
	done();
}

TEST(gc_removes_what_is_damaged)
{
	char path[200];
	make_some();
	struct layer_id three = test_id(3), one = test_id(1);
	snprintf(path, sizeof(path), "layer/%s/about", three.hex);
	CHECK(unlinkat(layers_dirfd(l), path, 0) == 0);
	struct layer_gc r = GC(o.dry_run = false);
	CHECK_INT(r.n, 2); /* and 4, which is made of it */
	CHECK_INT(r.v[0].why, LAYER_GC_DAMAGED);
	CHECK(test_is_there(l, 5) && !test_is_there(l, 4));
	snprintf(path, sizeof(path), "%s/layer/%s", layers_path(l), one.hex);
	CHECK(fs_remove_tree(AT_FDCWD, path, &e) == 0);
	r = GC(o.dry_run = false);
	CHECK_INT(r.n, 2);
	CHECK_INT(test_count(l, "layer"), 1);
	done();
}

/* another user, through the sandbox */

static int write_as_user(void *ctx, struct err *err)
{
	(void)ctx, (void)err;
	CHECK(mkdir("/closed", 0700) == 0);
	int fd = open("/closed/file", O_WRONLY | O_CREAT, 0644);
	CHECK(fd >= 0 && write(fd, "text", 4) == 4);
	close(fd);
	(void)chown("/closed/file", 7, 8); /* where there are more ids than one */
	(void)chown("/closed", 7, 8);
	CHECK(chmod("/closed/file", 0) == 0 && chmod("/closed", 0) == 0);
	return 0;
}

static int change_as_user(void *ctx, struct err *err)
{
	(void)ctx, (void)err;
	CHECK(access("/closed/file", F_OK) == 0);
	CHECK(unlink("/closed/file") == 0 && mkdir("/new", 0755) == 0);
	return 0;
}

static int look_as_user(void *ctx, struct err *err)
{
	(void)ctx, (void)err;
	CHECK(access("/closed", F_OK) == 0 && access("/closed/file", F_OK) < 0 && access("/new", F_OK) == 0);
	return 0;
}

static void call(const struct sandbox_root *root, sandbox_fn *fn)
{
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	o.root = *root;
	e = ERR_INIT;
	CHECK_MSG(sandbox_call(&o, NULL, 0, fn, NULL, &e) == 0, "%s", e.msg);
}

static void work_as_user(const char *dir, enum layer_backend kind)
{
	struct layer_work *w;
	struct sandbox_root r;
	struct layer_cache *c;
	struct layer_id two = test_id(2);
	int hold;
	if (layers_open(dir, kind, &l, &e) < 0)
		_exit(e.code == ERR_UNSUPPORTED ? TEST_SKIPPED : (fprintf(stderr, "# %s\n", e.msg), 1));
	CHECK(begin(1, 0, &w) == 0);
	call(layer_work_root(w), write_as_user);
	CHECK_MSG(layer_work_commit(w, STR(""), &e) == 0, "%s", e.msg);
	CHECK_MSG(begin(2, 1, &w) == 0, "%s", e.msg);
	call(layer_work_root(w), change_as_user);
	CHECK_MSG(layer_work_commit(w, STR(""), &e) == 0, "%s", e.msg);
	CHECK(layer_hold(l, &two, &a, &r, &hold, &e) == 0);
	call(&r, look_as_user);
	close(hold);
	CHECK_MSG(layer_cache_take(l, STR("c"), 1000, 1000, &c, &e) == 0, "%s", e.msg);
	CHECK_INT(layer_cache_give_back(c, &e), 1);
	CHECK_MSG(begin(3, 2, &w) == 0, "%s", e.msg);
	layer_work_abort(w);
	struct layer_gc g = GC(o.max_bytes = 0, o.caches = true);
	CHECK_INT(g.n, 3);
	CHECK_INT(test_count(l, "tmp") + test_count(l, "layer") + test_count(l, "cache"), 0);
	_exit(0);
}

static void check_as_user(enum layer_backend kind)
{
	const char *dir = test_tmp();
	int status;
	CHECK(chmod(dir, 0777) == 0);
	pid_t child = fork();
	if (child == 0) {
		auto_free char *at = xasprintf("%s/mine", dir);
		if (geteuid() == 0)
			CHECK(setgid(65532) == 0 && setuid(65532) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0);
		work_as_user(at, kind);
	}
	CHECK(waitpid(child, &status, 0) == child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED)
		SKIP("kernel: no user namespaces for users, or no overlays in them");
	CHECK_INT(status, 0);
}

TEST(another_user_with_overlays)
{
	check_as_user(LAYER_OVERLAY);
}
TEST(another_user_with_copies)
{
	check_as_user(LAYER_COPY);
}

/* several processes at once */

static unsigned dice(unsigned *state, unsigned n)
{
	*state = *state * 1103515245 + 12345;
	return (*state >> 16) % n;
}

/* Layers 1 to 12, each n made of n/2; each holds a file of its number. */
static void work_at_random(struct layers *mine, unsigned seed)
{
	for (int i = 0; i < 150; i++) {
		unsigned n = 1 + dice(&seed, 12), what = dice(&seed, 10);
		struct layer_id id = test_id(n), below = test_id(n / 2);
		struct layer_work *w;
		struct err err = ERR_INIT;
		auto_arena mem = ARENA_INIT;
		struct layer_gc r;
		if (what < 7) {
			if (layer_begin(mine, &id, n > 1 ? &below : NULL, &w, &err) < 0) {
				CHECK_MSG(err.code == ERR_BUSY || err.code == ERR_EXISTS || err.code == ERR_NOT_FOUND,
					  "%s", err.msg);
				continue;
			}
			const struct sandbox_root *root = layer_work_root(w);
			auto_free char *path = xasprintf("%s/%u", root->dir ? root->dir : root->upper, n);
			int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
			CHECK_MSG(fd >= 0, "create '%s': %s", path, strerror(errno));
			close(fd);
			if (what == 6)
				layer_work_abort(w);
			else
				CHECK_MSG(layer_work_commit(w, STR(""), &err) == 0, "%s", err.msg);
		} else if (what == 7) {
			CHECK_MSG(layer_remove(mine, &id, &err) == 0 || err.code == ERR_BUSY ||
					  err.code == ERR_NOT_FOUND,
				  "%s", err.msg);
		} else if (what == 8) {
			const struct layer_gc_opts o = {.older_than_ms = -1, .max_bytes = dice(&seed, 40000)};
			CHECK_MSG(layers_gc(mine, &o, &mem, &r, &err) == 0, "%s", err.msg);
		} else {
			CHECK_MSG(layers_sync(mine, &err) == 0, "%s", err.msg);
		}
	}
}

static void check_at_random(enum where where)
{
	pid_t child[4];
	struct layer_info *v;
	size_t n;
	l = test_layers(where);
	for (unsigned i = 0; i < 4; i++) {
		child[i] = fork();
		if (child[i] == 0) {
			work_at_random(test_again(l), i * 7919 + 1);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		int status;
		CHECK(waitpid(child[i], &status, 0) == child[i]);
		CHECK_INT(status, 0);
	}
	CHECK(layers_list(l, &a, &v, &n, &e) == 0);
	for (size_t i = 0; i < n; i++) { /* each is whole, and so is all below it */
		struct sandbox_root r;
		struct err err = ERR_INIT;
		int hold, mounted = 0;
		unsigned long number = strtoul(v[i].id.hex + 32, NULL, 16);
		CHECK_MSG(layer_hold(l, &v[i].id, &a, &r, &hold, &err) == 0, "%s", err.msg);
		const char *at = test_mount(&r, &mounted);
		for (; number > 0; number /= 2) {
			auto_free char *path = xasprintf("%s/%lu", at, number);
			CHECK_MSG(access(path, F_OK) == 0, "'%s' is missing in %s", path, v[i].id.hex);
		}
		CHECK(!mounted || umount(at) == 0);
		close(hold);
	}
	struct layer_gc r = GC(o.max_bytes = 0);
	CHECK_INT(r.kept, 0);
	CHECK_INT(test_count(l, "layer") + test_count(l, "tmp"), 0);
	done();
}

TEST(many_at_once_on_overlay)
{
	check_at_random(ON_OVERLAY);
}
TEST(many_at_once_on_copies)
{
	check_at_random(ON_COPY);
}
