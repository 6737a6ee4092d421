// SPDX-License-Identifier: Apache-2.0
/* Caches of steps, on every backend. */
#include "lib/layers.h"

static struct layers *l;
static struct err e;

static struct layer_cache *take(const char *name)
{
	struct layer_cache *c;
	e = ERR_INIT;
	CHECK_MSG(layer_cache_take(l, str_c(name), 0, 0, &c, &e) == 0, "%s", e.msg);
	return c;
}

static int give_back(struct layer_cache *c)
{
	e = ERR_INIT;
	int r = layer_cache_give_back(c, &e);
	CHECK_MSG(r >= 0, "%s", e.msg);
	return r;
}

static struct sandbox_root root_of(const struct layer_cache *c)
{
	struct sandbox_mount m = {0};
	layer_cache_mount(c, &m);
	CHECK(!m.readonly && (m.source != NULL) != (m.root != NULL));
	return m.root ? *m.root : (struct sandbox_root){.dir = m.source};
}

static void in(const struct layer_cache *c, test_step *step)
{
	struct sandbox_root r = root_of(c);
	test_in(&r, step);
}

static unsigned turn;

static void write_text(const char *path, unsigned n)
{
	char text[32];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	snprintf(text, sizeof(text), "%u", n);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) > 0);
	close(fd);
}

static unsigned read_number(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return 0;
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return (unsigned)strtoul(text, NULL, 10);
}

/* Of all that turn t leaves: its number, a file of its own in place of that of t-3, a folder replaced now and then. */
static void step_turn(void)
{
	char name[32];
	CHECK_INT(read_number("number"), turn - 1);
	write_text("number", turn);
	snprintf(name, sizeof(name), "file-%u", turn);
	write_text(name, turn);
	snprintf(name, sizeof(name), "file-%u", turn - 3);
	CHECK(turn <= 3 || unlink(name) == 0);
	if (turn % 4 == 0) {
		(void)unlink("folder/inner");
		(void)rmdir("folder");
		CHECK(access("folder", F_OK) < 0);
		CHECK(mkdir("folder", 0755) == 0);
		CHECK(access("folder/inner", F_OK) < 0);
	} else if (turn % 4 == 1 && turn > 4) {
		write_text("folder/inner", turn);
	}
}

static void step_look(void)
{
	char name[32];
	CHECK_INT(read_number("number"), turn);
	for (unsigned i = 1; i <= turn; i++) {
		snprintf(name, sizeof(name), "file-%u", i);
		CHECK_INT(read_number(name), i + 2 < turn ? 0 : i);
	}
	if (turn >= 5)
		CHECK_INT(read_number("folder/inner"), turn % 4 == 0 ? 0 : turn / 4 * 4 + 1);
}

static void check_turns(enum where where)
{
	struct layer_cache_info *v;
	size_t n;
	auto_arena a = ARENA_INIT;
	l = test_layers(where);
	for (turn = 1; turn <= 30; turn++) {
		struct layer_cache *c = take("opam");
		in(c, step_turn);
		CHECK_INT(give_back(c), 1);
		CHECK_INT(test_count(l, "tmp"), 0);
		CHECK(test_count(l, "cache/c-opam") <= 12);
	}
	turn = 30;
	struct layer_cache *c = take("opam");
	in(c, step_look);
	layer_cache_drop(c);
	CHECK_INT(test_count(l, "tmp"), 0);
	CHECK(layer_caches(l, &a, &v, &n, &e) == 0);
	CHECK_INT(n, 1);
	CHECK(str_eq_c(v[0].name, "opam"));
	CHECK(v[0].bytes > 1000 && v[0].bytes < 1 << 20);
	layers_close(l);
}

TEST(overlay_takes_turns)
{
	check_turns(ON_OVERLAY);
}
TEST(copy_takes_turns)
{
	check_turns(ON_COPY);
}
TEST(btrfs_takes_turns)
{
	check_turns(ON_BTRFS);
}
TEST(xfs_takes_turns)
{
	check_turns(ON_XFS);
}

static void check_two_at_once(enum where where)
{
	l = test_layers(where);
	turn = 1;
	struct layer_cache *first = take("x"), *second = take("x");
	in(first, step_turn);
	in(second, step_turn);
	CHECK_INT(give_back(second), 1);
	CHECK_INT(give_back(first), 0);
	turn = 2;
	first = take("x");
	second = take("x");
	struct layer_cache *third = take("x");
	in(first, step_turn);
	CHECK_INT(give_back(first), 1);
	in(second, step_turn); /* still of state 1 */
	CHECK_INT(give_back(second), 0);
	turn = 3;
	for (int i = 0; i < 20; i++) { /* states go, but not what the third works on */
		first = take("x");
		CHECK_INT(give_back(first), 1);
	}
	turn = 1;
	in(third, step_look);
	turn = 2;
	in(third, step_turn);
	CHECK_INT(give_back(third), 0);
	first = take("x");
	in(first, step_look);
	layer_cache_drop(first);
	CHECK_INT(test_count(l, "tmp"), 0);
	layers_close(l);
}

TEST(two_at_once_on_overlay)
{
	check_two_at_once(ON_OVERLAY);
}
TEST(two_at_once_on_copies)
{
	check_two_at_once(ON_COPY);
}
TEST(two_at_once_on_btrfs)
{
	check_two_at_once(ON_BTRFS);
}

TEST(an_empty_one_belongs_to_the_user)
{
	struct stat st;
	struct layer_cache *c;
	l = test_layers(ON_OVERLAY);
	CHECK(layer_cache_take(l, STR("mine"), 1000, 1001, &c, &e) == 0);
	struct sandbox_root r = root_of(c);
	CHECK(stat(r.dir, &st) == 0 && st.st_uid == 1000 && st.st_gid == 1001);
	CHECK_INT(give_back(c), 1);
	CHECK(layer_cache_take(l, STR("mine"), 0, 0, &c, &e) == 0);
	r = root_of(c);
	int mounted = 0;
	const char *at = test_mount(&r, &mounted);
	CHECK(stat(at, &st) == 0 && st.st_uid == 1000 && st.st_gid == 1001);
	CHECK(umount(at) == 0);
	layer_cache_drop(c);
	layers_close(l);
}

TEST(names)
{
	static const char *const names[] = {
		"a/../../b", "opam-archives", "with space", "\xc3\xa9t\xc3\xa9", "%41", "A", "..", "-"};
	struct layer_cache_info *v;
	size_t n;
	auto_arena a = ARENA_INIT;
	l = test_layers(ON_COPY);
	for (size_t i = 0; i < 8; i++)
		CHECK_INT(give_back(take(names[i])), 1);
	CHECK(fs_exists(layers_dirfd(l), "cache/c-a%2f..%2f..%2fb/1"));
	CHECK(layer_caches(l, &a, &v, &n, &e) == 0);
	CHECK_INT(n, 8);
	for (size_t i = 0; i < 8; i++) {
		bool there = false;
		for (size_t k = 0; k < n; k++)
			there = there || str_eq_c(v[k].name, names[i]);
		CHECK_MSG(there, "'%s' is not listed", names[i]);
	}
	char name[200];
	struct layer_cache *c;
	memset(name, 'n', sizeof(name));
	CHECK(layer_cache_take(l, str_of(name, LAYER_CACHE_NAME_MAX - 1), 0, 0, &c, &e) < 0);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK(layer_cache_take(l, STR(""), 0, 0, &c, &e) < 0 &&
	      layer_cache_take(l, str_of("a\0b", 3), 0, 0, &c, &e) < 0);
	CHECK_INT(e.code, ERR_USAGE);
	CHECK(layer_cache_take(l, str_of(name, LAYER_CACHE_NAME_MAX - 2), 0, 0, &c, &e) == 0);
	CHECK_INT(give_back(c), 1);
	layers_close(l);
}

TEST(removed_when_nobody_has_it)
{
	l = test_layers(ON_OVERLAY);
	CHECK(layer_cache_remove(l, STR("x"), &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(give_back(take("x")), 1);
	struct layer_cache *c = take("x");
	CHECK_INT(give_back(take("x")), 1); /* c is on the state before this */
	CHECK(layer_cache_remove(l, STR("x"), &e) < 0);
	CHECK_INT(e.code, ERR_BUSY);
	layer_cache_drop(c);
	e = ERR_INIT;
	CHECK_MSG(layer_cache_remove(l, STR("x"), &e) == 0, "%s", e.msg);
	CHECK_INT(test_count(l, "cache") + test_count(l, "tmp"), 0);
	turn = 1;
	c = take("x");
	in(c, step_turn);
	CHECK_INT(give_back(c), 1);
	layers_close(l);
}

TEST(a_killed_one_changes_nothing)
{
	l = test_layers(ON_OVERLAY);
	turn = 1;
	struct layer_cache *c = take("x");
	in(c, step_turn);
	CHECK_INT(give_back(c), 1);
	turn = 2;
	pid_t child = fork();
	if (child == 0) {
		l = test_again(l);
		c = take("x");
		in(c, step_turn);
		_exit(0);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK_INT(test_count(l, "tmp"), 1);
	layers_close(l);
	l = test_layers(ON_OVERLAY);
	c = take("x");
	turn = 1;
	in(c, step_look);
	CHECK_INT(test_count(l, "tmp"), 1); /* its own */
	turn = 2;
	in(c, step_turn);
	CHECK_INT(give_back(c), 1);
	layers_close(l);
}

/* gc and a boot */

static void check_boot(enum where where, size_t want)
{
	const char *old = "00000000-0000-0000-0000-000000000000";
	auto_fs_list marks = {0};
	struct layer_cache_info *v;
	size_t n;
	auto_arena a = ARENA_INIT;
	l = test_layers(where);
	for (turn = 1; turn <= 5; turn++) {
		struct layer_cache *c = take("x");
		in(c, step_turn);
		CHECK_INT(give_back(c), 1);
		if (turn == 4)
			CHECK(layers_sync(l, &e) == 0);
	}
	CHECK(fs_list(layers_dirfd(l), "unsynced", 1000, &marks, &e) == 0 && marks.n == 1);
	auto_free char *from = xasprintf("unsynced/%s", marks.name[0]);
	auto_free char *to = xasprintf("unsynced/%s%s", old, strchr(marks.name[0], '.'));
	CHECK(renameat(layers_dirfd(l), from, layers_dirfd(l), to) == 0);
	CHECK(fs_replace(layers_dirfd(l), "boot", old, strlen(old), 0, &e) == 0);
	layers_close(test_again(l));
	CHECK(layer_caches(l, &a, &v, &n, &e) == 0);
	CHECK_INT(n, want);
	struct layer_cache *c = take("x");
	turn = want ? 4 : 0;
	if (turn)
		in(c, step_look);
	layer_cache_drop(c);
	layers_close(l);
}

/* Of copies the state before is gone already: the cache is empty then. */
TEST(a_boot_goes_back_to_what_was_synced)
{
	check_boot(ON_OVERLAY, 1);
}
TEST(a_boot_drops_a_copy_that_was_not_synced)
{
	check_boot(ON_COPY, 0);
}

TEST(gc_takes_caches_where_asked)
{
	struct layer_gc r;
	auto_arena a = ARENA_INIT;
	l = test_layers(ON_OVERLAY);
	CHECK_INT(give_back(take("x")), 1);
	CHECK_INT(give_back(take("y")), 1);
	struct layer_gc_opts o = {.older_than_ms = -1, .max_bytes = 0};
	CHECK(layers_gc(l, &o, &a, &r, &e) == 0 && r.n == 0);
	o.caches = true;
	struct layer_cache *c = take("y");
	CHECK(layers_gc(l, &o, &a, &r, &e) == 0);
	CHECK_INT(r.n, 1);
	CHECK(str_eq_c(r.v[0].cache, "x"));
	CHECK_INT(give_back(c), 1);
	CHECK_INT(test_count(l, "cache"), 1);
	layers_close(l);
}
