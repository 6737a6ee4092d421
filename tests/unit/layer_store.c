// SPDX-License-Identifier: Apache-2.0
/*
 * Every backend shows what a plain folder shows after the same steps. The folder is the judge: steps are done in it and in layers, one on the
 * other, and after each the two are listed and compared.
 */
#include "layer/internal.h"
#include "lib/layers.h"

#define DO(call) CHECK_MSG((call) >= 0, "%s: %s", #call, strerror(errno))

static void put(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK_MSG(fd >= 0, "create '%s': %s", path, strerror(errno));
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	DO(fchmod(fd, mode));
	close(fd);
}

static void set_time(const char *path, time_t t)
{
	const struct timespec times[2] = {{.tv_sec = t}, {.tv_sec = t, .tv_nsec = 123456789}};
	DO(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW));
}

static void deep(int n)
{
	for (int i = 0; i < n; i++) {
		DO(mkdir("down", 0755));
		DO(chdir("down"));
	}
	put("bottom", "far down", 0644);
	DO(chdir("/"));
}

static void step_first(void)
{
	DO(mkdir("etc", 0755));
	DO(mkdir("etc/empty", 0700));
	DO(mkdir("tmp", 0755));
	DO(chmod("tmp", 01777));
	DO(mkdir("gone", 0755));
	DO(mkdir("gone/inner", 0755));
	put("gone/inner/file", "to be removed with its folder", 0644);
	DO(mkdir("again", 0755));
	put("again/old", "not to be seen again", 0644);
	DO(mkdir("becomes-file", 0755));
	put("becomes-file/x", "x", 0644);
	put("becomes-folder", "a file", 0644);
	DO(symlink("becomes-folder", "link-becomes-folder"));
	DO(symlink("/nowhere/at/all", "dangling"));
	DO(lchown("dangling", 12, 34));
	put("removed", "a file", 0644);
	put("appended", "begin ", 0640);
	put("replaced", "old", 0644);
	put("renamed", "under another name", 0600);
	put("etc/passwd", "root:x:0:0::/:/bin/sh\n", 0644);
	put("setuid", "program", 0644);
	DO(chown("setuid", 1, 2));
	DO(chmod("setuid", 06755));
	put("of-many", "1000:4242", 0444);
	DO(chown("of-many", 1000, 4242));
	DO(mkfifo("pipe", 0622));
	DO(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
	DO(mknod("block", S_IFBLK | 0660, makedev(7, 99)));
	put("name-1", "one file of three names", 0644);
	DO(link("name-1", "name-2"));
	DO(link("name-1", "etc/name-3"));
	put("other-1", "one of two", 0644);
	DO(link("other-1", "other-2"));
	put("with-attribute", "x", 0644);
	DO(setxattr("with-attribute", "user.note", "a\0b", 3, 0));
	DO(setxattr("etc", "user.folder", "yes", 3, 0));
	put("capable", "program", 0755);
	const unsigned char cap[20] = {1, 0, 0, 2, 0, 4};
	DO(setxattr("capable", "security.capability", cap, sizeof(cap), 0));
	put("line\nbreak", "newline", 0644);
	put("not-utf8-\xff\xfe", "bytes", 0644);
	char name[256];
	memset(name, 'n', 255);
	name[255] = '\0';
	put(name, "a long name", 0644);
	put("sparse", "begin", 0644);
	DO(truncate("sparse", 10 << 20));
	int fd = open("sparse", O_WRONLY);
	CHECK(pwrite(fd, "middle", 6, 5 << 20) == 6);
	close(fd);
	deep(60);
	set_time("etc/passwd", 1000000);
	set_time("dangling", 2000000);
	set_time("sparse", 3000000);
	set_time("gone", 4000000);
	set_time("tmp", 5000000);
	set_time("etc", 6000000);
	set_time("null", 7000000);
}

static void step_change(void)
{
	DO(unlink("removed"));
	DO(unlink("gone/inner/file"));
	DO(rmdir("gone/inner"));
	DO(rmdir("gone"));
	DO(unlink("again/old"));
	DO(rmdir("again"));
	DO(mkdir("again", 0750));
	put("again/new", "new", 0644);
	DO(unlink("becomes-file/x"));
	DO(rmdir("becomes-file"));
	put("becomes-file", "a file now", 0644);
	DO(unlink("becomes-folder"));
	DO(mkdir("becomes-folder", 0755));
	put("becomes-folder/y", "y", 0644);
	DO(unlink("link-becomes-folder"));
	DO(mkdir("link-becomes-folder", 0711));
	int fd = open("appended", O_WRONLY | O_APPEND);
	CHECK(write(fd, "and end", 7) == 7);
	close(fd);
	put("replaced.tmp", "new", 0755);
	DO(rename("replaced.tmp", "replaced"));
	DO(rename("renamed", "etc/renamed-now"));
	DO(chmod("etc/empty", 0777));
	DO(chown("of-many", 65534, 65534));
	DO(removexattr("with-attribute", "user.note"));
	DO(setxattr("with-attribute", "user.other", "z", 1, 0));
	DO(unlink("other-2"));
	DO(unlink("pipe"));
	DO(unlink("line\nbreak"));
	DO(truncate("sparse", 4 << 20));
	set_time("etc", 8000000);
}

static void step_back(void)
{
	DO(unlink("becomes-file"));
	DO(mkdir("becomes-file", 0755));
	put("becomes-file/z", "a folder again", 0644);
	DO(unlink("becomes-folder/y"));
	DO(rmdir("becomes-folder"));
	put("becomes-folder", "a file again", 0644);
	DO(unlink("again/new"));
	DO(rmdir("again"));
	put("removed", "here again", 0604);
	DO(mkdir("gone", 0755));
	put("gone/only", "this", 0644);
	DO(chmod("/", 0711));
	DO(chown("/", 5, 6));
	DO(setxattr("/", "user.root", "r", 1, 0));
}

static void step_nothing(void)
{
}

static void step_last(void)
{
	DO(mkdir("again", 0700));
	DO(mkdir("newest", 0755));
	put("newest/file", "x", 0644);
	DO(rename("newest", "newest-renamed"));
	DO(unlink("not-utf8-\xff\xfe"));
	DO(symlink("x", "not-utf8-\xff\xfe"));
	DO(unlink("name-1"));
}

static void check_against_folder(enum where where)
{
	static test_step *const steps[] = {step_first, step_change, step_back, step_nothing, step_last};
	char dir[200];
	struct layers *l = test_layers(where);
	snprintf(dir, sizeof(dir), "%s/plain", test_tmp());
	CHECK(mkdir(dir, 0755) == 0 && chmod(dir, 0755) == 0);
	const struct sandbox_root plain = {.dir = dir};
	char *before[5];
	for (unsigned i = 0; i < 5; i++) {
		struct layer_id id = test_id(i + 1);
		test_in(&plain, steps[i]);
		test_make(l, i + 1, i, steps[i]);
		before[i] = test_list(&plain);
		char *got = test_list_layer(l, &id);
		CHECK_STR(got, before[i]);
		free(got);
	}
	for (unsigned i = 0; i < 5; i++) { /* no step has changed those before it */
		struct layer_id id = test_id(i + 1);
		char *got = test_list_layer(l, &id);
		CHECK_STR(got, before[i]);
		free(got);
		free(before[i]);
	}
	CHECK_INT(test_count(l, "tmp"), 0);
	CHECK_INT(test_count(l, "layer"), 5);
	layers_close(l);
}

TEST(overlay_shows_what_a_folder_shows)
{
	check_against_folder(ON_OVERLAY);
}
/* Every second layer has the folders of those below it as one, with what they hide. */
TEST(folded_overlay_shows_what_a_folder_shows)
{
	overlay_fold_at = 2;
	check_against_folder(ON_OVERLAY);
}
TEST(more_folded_overlay_shows_what_a_folder_shows)
{
	overlay_fold_at = 3;
	check_against_folder(ON_OVERLAY);
}
TEST(wholly_folded_overlay_shows_what_a_folder_shows)
{
	overlay_fold_at = 1;
	check_against_folder(ON_OVERLAY);
}
TEST(copy_shows_what_a_folder_shows)
{
	check_against_folder(ON_COPY);
}
TEST(btrfs_shows_what_a_folder_shows)
{
	check_against_folder(ON_BTRFS);
}
TEST(xfs_shows_what_a_folder_shows)
{
	check_against_folder(ON_XFS);
}

static unsigned turn;

static void step_of_many(void)
{
	char name[32];
	snprintf(name, sizeof(name), "file-%u", turn);
	put(name, name, 0644);
	put("same", name, 0644);
	snprintf(name, sizeof(name), "file-%u", turn - 1);
	CHECK(turn == 1 || unlink(name) == 0);
}

static void step_look(void)
{
	char name[32], text[32] = "";
	struct stat st;
	for (unsigned i = 1; i <= turn; i++) {
		snprintf(name, sizeof(name), "file-%u", i);
		CHECK((stat(name, &st) == 0) == (i == turn));
	}
	int fd = open("same", O_RDONLY);
	CHECK(read(fd, text, sizeof(text) - 1) > 0);
	CHECK_STR(text, name);
}

static void check_many(enum where where, unsigned many)
{
	struct sandbox_root r;
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	int hold;
	struct layers *l = test_layers(where);
	for (turn = 1; turn <= many; turn++)
		test_make(l, turn, turn - 1, step_of_many);
	turn = many;
	struct layer_id id = test_id(many);
	CHECK_MSG(layer_hold(l, &id, &a, &r, &hold, &e) == 0, "%s", e.msg);
	CHECK_MSG(r.dir || r.n_lower <= 40, "%zu folders on each other", r.n_lower);
	test_in(&r, step_look);
	close(hold);
	layers_close(l);
}

TEST(overlay_of_150_layers)
{
	check_many(ON_OVERLAY, 150);
}
TEST(copy_of_120_layers)
{
	check_many(ON_COPY, 120);
}
TEST(btrfs_of_120_layers)
{
	check_many(ON_BTRFS, 120);
}
