// SPDX-License-Identifier: Apache-2.0
/* What a copy takes: names in their order, digests, what is refused, and what changes under our hands. */
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "build/source.h"

static struct arena arena;
static struct err err;

static void put(int dir, const char *path, const char *text)
{
	auto_fd fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0);
	CHECK_INT(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int a_tree(void)
{
	int dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(dir >= 0);
	CHECK_INT(mkdirat(dir, "d", 0755), 0);
	CHECK_INT(mkdirat(dir, "d/sub", 0755), 0);
	CHECK_INT(mkdirat(dir, ".git", 0755), 0);
	put(dir, "d/sub/c", "abc");
	put(dir, "d/b", "");
	put(dir, "d/B", "x");
	put(dir, "d/.git", "a file of that name");
	put(dir, ".git/HEAD", "y");
	CHECK_INT(fchmodat(dir, "d/B", 0700, 0), 0);
	CHECK_INT(symlinkat("../x", dir, "d/l"), 0);
	return dir;
}

static struct source walk(int dir, struct str word, struct str exclude)
{
	struct source s;
	CHECK_INT(source_walk(dir,
			      &(struct source_opts){.words = &word,
						    .n_words = 1,
						    .excludes = &exclude,
						    .n_excludes = exclude.n ? 1 : 0,
						    .cancel_fd = -1},
			      &arena, &s, &err),
		  0);
	return s;
}

TEST(names_in_byte_order_folders_first)
{
	auto_fd dir = a_tree();
	struct source s = walk(dir, STR("./d//"), STR(".git"));
	static const char *const want[] = {"d", "d/B", "d/b", "d/l", "d/sub", "d/sub/c"};
	CHECK_INT(s.n, 6);
	for (size_t i = 0; i < 6; i++)
		CHECK_STR(s.entries[i].path.p, want[i]);
	CHECK_INT(s.entries[0].depth, 0);
	CHECK_INT(s.entries[5].depth, 2);
	CHECK(s.entries[1].exec && !s.entries[2].exec);
	CHECK_INT(s.entries[3].kind, SOURCE_LINK);
	CHECK_STR(s.entries[3].target.p, "../x");
	char hex[SHA256_HEX_SIZE];
	hex_encode(s.entries[5].sha256, SHA256_SIZE, hex);
	CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(the_folder_itself)
{
	auto_fd dir = a_tree();
	struct source s = walk(dir, STR("."), STR_NONE);
	CHECK_INT(s.n_items, 1);
	CHECK_STR(s.entries[0].path.p, "");
	CHECK_INT(s.entries[0].kind, SOURCE_DIR);
	CHECK_STR(s.entries[1].path.p, ".git");
	CHECK_STR(s.entries[2].path.p, ".git/HEAD");
	CHECK_INT(walk(dir, STR(""), STR_NONE).n, s.n);
}

static void refused(int dir, struct str word, enum err_code code, const char *text)
{
	struct source s;
	CHECK_INT(source_walk(dir, &(struct source_opts){.words = &word, .n_words = 1, .cancel_fd = -1}, &arena, &s,
			      &err),
		  -1);
	CHECK_INT(err.code, code);
	CHECK(strstr(err.msg, text));
}

TEST(what_is_refused)
{
	auto_fd dir = a_tree();
	refused(dir, STR("nope"), ERR_NOT_FOUND, "Source path \"nope\" not found");
	refused(dir, STR("d/nope/x"), ERR_NOT_FOUND, "Source path \"d/nope/x\" not found");
	refused(dir, STR("d/../d"), ERR_INPUT, "can't use .. in source paths (in \"d/../d\")");
	refused(dir, STR("d/b/x"), ERR_INPUT, "Not a directory: d/b");
	CHECK_INT(symlinkat("d", dir, "link"), 0);
	refused(dir, STR("link/b"), ERR_INPUT, "Not a directory: link");
	CHECK_INT(mkfifoat(dir, "d/pipe", 0600), 0);
	refused(dir, STR("d"), ERR_INPUT, "unsupported file type of 'd/pipe'");
}

TEST(a_pile_of_folders)
{
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd at = dup(dir);
	for (int i = 0; i < SOURCE_DEPTH_MAX + 2; i++) {
		CHECK_INT(mkdirat(at, "d", 0700), 0);
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		CHECK(next >= 0);
		close(at);
		at = next;
	}
	refused(dir, STR("."), ERR_LIMIT, "folders in each other");
}

TEST(many_files_by_several_threads)
{
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char name[16], hex[SHA256_HEX_SIZE];
	for (int i = 0; i < 1500; i++) {
		snprintf(name, sizeof(name), "%d", i);
		put(dir, name, "abc");
	}
	struct source s = walk(dir, STR("."), STR_NONE);
	CHECK_INT(s.n, 1501);
	for (size_t i = 1; i < s.n; i++) {
		hex_encode(s.entries[i].sha256, SHA256_SIZE, hex);
		CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	}
}

TEST(a_file_that_changes_meanwhile)
{
	auto_fd dir = a_tree();
	struct source s = walk(dir, STR("d/B"), STR_NONE);
	auto_fd fd = source_entry_open(dir, &s.entries[0], &err);
	CHECK(fd >= 0);
	CHECK_INT(source_entry_check(fd, &s.entries[0], &err), 0);
	put(dir, "d/B", "longer");
	CHECK_INT(source_entry_check(fd, &s.entries[0], &err), -1);
	CHECK_INT(err.code, ERR_INPUT);
	CHECK(strstr(err.msg, "'d/B' was changed while it was copied"));
	CHECK_INT(unlinkat(dir, "d/B", 0), 0);
	CHECK_INT(symlinkat("/etc/passwd", dir, "d/B"), 0);
	CHECK_INT(source_entry_open(dir, &s.entries[0], &err), -1);
}

/* A store that lies in the context: whoever copies all of it does not copy that. */
TEST(folders_apart)
{
	auto_fd dir = a_tree();
	struct source s;
	struct str word = STR(".");
	auto_free char *sub = xasprintf("%s/d/sub", test_tmp()), *link = xasprintf("%s/way", test_tmp());
	const char *const apart[] = {"/nonexistent", link, NULL};
	CHECK_INT(symlink(sub, link), 0);
	struct source_opts o = {.words = &word, .n_words = 1, .apart = apart, .cancel_fd = -1};
	size_t all = walk(dir, word, STR_NONE).n;
	CHECK_INT(source_walk(dir, &o, &arena, &s, &err), 0);
	CHECK_INT(s.n, all - 2);
	for (size_t i = 0; i < s.n; i++)
		CHECK(!str_starts(s.entries[i].path, STR("d/sub")));
	word = STR("d/sub/c"); /* what is named is wanted */
	CHECK_INT(source_walk(dir, &o, &arena, &s, &err), 0);
	word = STR("./d/sub");
	CHECK_INT(source_walk(dir, &o, &arena, &s, &err), -1);
	CHECK(err.code == ERR_INPUT && strstr(err.msg, "'d/sub' is the folder of Slipway itself"));
}

TEST(cancelled)
{
	auto_fd dir = a_tree();
	struct source s;
	int pipes[2];
	struct str word = STR(".");
	CHECK_INT(pipe(pipes), 0);
	CHECK_INT(source_walk(dir, &(struct source_opts){.words = &word, .n_words = 1, .cancel_fd = pipes[0]}, &arena,
			      &s, &err),
		  0);
	close(pipes[1]);
	CHECK_INT(source_walk(dir, &(struct source_opts){.words = &word, .n_words = 1, .cancel_fd = pipes[0]}, &arena,
			      &s, &err),
		  -1);
	CHECK_INT(err.code, ERR_BUSY);
}

TEST(a_walk_as_bytes)
{
	auto_fd dir = a_tree();
	struct source s = walk(dir, STR("."), STR_NONE), t;
	auto_buf b = BUF_INIT(1 << 20);
	source_put(&s, &b);
	CHECK_INT(source_take(buf_str(&b), &arena, &t, &err), 0);
	CHECK_INT(t.n, s.n);
	CHECK_INT(t.items[0].n, s.n);
	for (size_t i = 0; i < s.n; i++) {
		CHECK(str_eq(t.entries[i].path, s.entries[i].path));
		CHECK(str_eq(t.entries[i].target, s.entries[i].target));
		CHECK(memcmp(t.entries[i].sha256, s.entries[i].sha256, SHA256_SIZE) == 0);
	}
	for (size_t n = 0; n < b.n; n++)
		CHECK_INT(source_take(str_head(buf_str(&b), n), &arena, &t, &err), -1);
}
