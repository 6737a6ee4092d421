// SPDX-License-Identifier: Apache-2.0
/* What an archive may and may not do: each hostile one is refused with its reason and leaves nothing outside. */
#include <fcntl.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/zip.h"
#include "lib/test.h"
#include "store/tree.h"
#include "lib/archive.h"

static struct err e;

/* An empty folder. */
static int tmp_dir(const char *name)
{
	int fd = fs_open_dir_make(AT_FDCWD, test_tmp(), &e);
	CHECK_INT(fs_remove_tree(fd, name, &e), 0);
	int dir = fs_open_dir_make(fd, name, &e);
	CHECK(dir >= 0);
	close(fd);
	return dir;
}

static struct store_limits limits = {1 << 20, 1000, 4096};

/* Unpacks tar blocks into an empty folder "t"; 0 or -1 with e. */
static int unpack(int dir, struct buf *tar)
{
	struct tree t;
	tar_end(tar);
	tree_init(&t, dir, &limits, "x.tar");
	int r = tree_add_tar(&t, istream_mem(buf_str(tar), "x.tar"), &e);
	r = r < 0 ? r : tree_finish(&t, &e);
	tree_release(&t);
	return r;
}

static void check_refused(struct buf *tar, enum err_code code, const char *why)
{
	auto_fd dir = tmp_dir("t");
	e = ERR_INIT;
	CHECK_INT(unpack(dir, tar), -1);
	CHECK_MSG(e.code == code && strstr(e.msg, why), "code %d: %s", (int)e.code, e.msg);
	for (const char *c = e.msg; *c; c++)
		CHECK_MSG((unsigned char)*c >= ' ', "a control byte in: %s", e.msg);
	/* nothing beside the folder */
	auto_fs_list l = {0};
	CHECK_INT(fs_list(AT_FDCWD, test_tmp(), 10, &l, &e), 0);
	CHECK_INT(l.n, 1);
	CHECK_INT(fs_exists(dir, TREE_MARKER), 0);
}

static void check_accepted(struct buf *tar, const char *listing)
{
	auto_fd dir = tmp_dir("t");
	CHECK_MSG(unpack(dir, tar) == 0, "%s", e.msg);
	auto_buf b = BUF_INIT(1 << 20);
	CHECK_INT(fs_read(dir, TREE_MARKER, &b, &e), 0);
	struct str s = buf_str(&b), line;
	CHECK(str_take_until(&s, '\n', &line));
	CHECK_STR(s.p, listing);
	auto_buf why = BUF_INIT(1000);
	CHECK_MSG(tree_verify(dir, &why, &e) == 0, "%s", why.p);
}

TEST(plain_package)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_file(&tar, "bin/tool", 0775, "run");
	tar_dir(&tar, "empty/");
	tar_file(&tar, "lib/data", 0600, "");
	tar_link(&tar, "lib/link", "../bin/tool");
	tar_hard_link(&tar, "lib/same", "bin/tool");
	auto_fd dir = tmp_dir("t");
	CHECK_MSG(unpack(dir, &tar) == 0, "%s", e.msg);
	struct stat st, other;
	CHECK_INT(fstatat(dir, "bin/tool", &st, 0), 0);
	CHECK_INT(st.st_mode & 07777, 0755);
	CHECK_INT(st.st_mtime, 1000);
	CHECK_INT(st.st_size, 3);
	CHECK_INT(fstatat(dir, "lib/same", &other, AT_SYMLINK_NOFOLLOW), 0);
	CHECK_INT(other.st_ino, st.st_ino);
	CHECK_INT(fstatat(dir, "lib/data", &st, 0), 0);
	CHECK_INT(st.st_mode & 07777, 0644);
	auto_buf b = BUF_INIT(1 << 20);
	CHECK_INT(fs_read(dir, TREE_MARKER, &b, &e), 0);
	/* the sum of the listing (xxh3 by xxhsum -H2), then 4 files and links, 3 bytes stored */
	CHECK_MSG(strstr(b.p, " 4 3\n") != NULL, "%s", b.p);
	CHECK_MSG(strstr(b.p, "l lib/link\t../bin/tool\n") != NULL, "%s", b.p);
	CHECK_MSG(strstr(b.p, "d empty\n") != NULL, "%s", b.p);
	CHECK_MSG(strstr(b.p, "f 644 0 99aa06d3014798d86001c324468d497f lib/data\n") != NULL, "%s", b.p);
}

TEST(umask_changes_nothing)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_file(&tar, "d/x", 0755, "run");
	auto_fd dir = tmp_dir("t");
	umask(077);
	CHECK_INT(unpack(dir, &tar), 0);
	struct stat st;
	CHECK_INT(fstatat(dir, "d/x", &st, 0), 0);
	CHECK_INT(st.st_mode & 07777, 0755);
	CHECK_INT(fstatat(dir, "d", &st, 0), 0);
	CHECK_INT(st.st_mode & 07777, 0755);
}

TEST(dot_slash_and_repeated_folders_are_fine)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_dir(&tar, "./");
	tar_dir(&tar, "./a/");
	tar_file(&tar, "./a/f", 0644, "");
	tar_dir(&tar, "a");
	check_accepted(&tar, "d a\nf 644 0 99aa06d3014798d86001c324468d497f a/f\n");
}

TEST(set_id_bits_are_dropped)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_file(&tar, "x", 06755, "");
	auto_fd dir = tmp_dir("t");
	CHECK_INT(unpack(dir, &tar), 0);
	struct stat st;
	CHECK_INT(fstatat(dir, "x", &st, 0), 0);
	CHECK_INT(st.st_mode & 07777, 0755);
}

TEST(names_in_utf8)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_pax(&tar, "path",
		STR("gr\xc3\xbc\xc3\x9f"
		    "e/\xe4\xbd\xa0"));
	tar_file(&tar, "short", 0644, "");
	check_accepted(&tar, "d gr\xc3\xbc\xc3\x9f"
			     "e\n"
			     "f 644 0 99aa06d3014798d86001c324468d497f gr\xc3\xbc\xc3\x9f"
			     "e/\xe4\xbd\xa0\n");
}

TEST(paths_that_leave)
{
	static const char *const bad[] = {"/etc/x", "../x", "a/../../x", "a/..", "..", "a//b", "a/./b"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		auto_buf tar = BUF_INIT(BUF_MAX);
		tar_file(&tar, bad[i], 0644, "x");
		check_refused(&tar, ERR_INPUT, "leaves the package");
		auto_buf folder = BUF_INIT(BUF_MAX);
		tar_dir(&folder, bad[i]);
		check_refused(&folder, ERR_INPUT, "leaves the package");
		auto_buf link = BUF_INIT(BUF_MAX);
		tar_link(&link, bad[i], "x");
		check_refused(&link, ERR_INPUT, "leaves the package");
	}
}

TEST(names_with_control_bytes)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_file(&tar, "a\nb", 0644, "x");
	check_refused(&tar, ERR_INPUT, "control bytes");
	auto_buf esc = BUF_INIT(BUF_MAX);
	tar_file(&esc, "\x1b[2J", 0644, "x");
	check_refused(&esc, ERR_INPUT, "control bytes");
	auto_buf target = BUF_INIT(BUF_MAX);
	tar_link(&target, "l", "a\tb");
	check_refused(&target, ERR_INPUT, "control bytes");
}

TEST(nothing_is_written_through_a_link)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_dir(&tar, "real");
	tar_link(&tar, "door", "real");
	tar_file(&tar, "door/x", 0644, "x");
	check_refused(&tar, ERR_INPUT, "behind a symbolic link");
	auto_buf deep = BUF_INIT(BUF_MAX);
	tar_link(&deep, "a/door", "..");
	tar_file(&deep, "a/door/b/c", 0644, "x");
	check_refused(&deep, ERR_INPUT, "behind a symbolic link");
	auto_buf over = BUF_INIT(BUF_MAX);
	tar_link(&over, "x", "y");
	tar_file(&over, "x", 0644, "x");
	check_refused(&over, ERR_INPUT, "comes twice");
	auto_buf hard = BUF_INIT(BUF_MAX);
	tar_link(&hard, "x", "y");
	tar_hard_link(&hard, "z", "x");
	check_refused(&hard, ERR_INPUT, "no earlier file");
	auto_buf below = BUF_INIT(BUF_MAX);
	tar_file(&below, "x", 0644, "x");
	tar_file(&below, "x/y", 0644, "x");
	check_refused(&below, ERR_INPUT, "below a file");
}

TEST(links_that_leave)
{
	static const char *const bad[] = {"..", "../x", "a/../../x", "./..", "b/./../.."};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		auto_buf tar = BUF_INIT(BUF_MAX);
		tar_link(&tar, "l", bad[i]);
		check_refused(&tar, ERR_INPUT, "leaves the package");
	}
	auto_buf absolute = BUF_INIT(BUF_MAX);
	tar_link(&absolute, "l", "/etc/passwd");
	check_refused(&absolute, ERR_INPUT, "absolute target");
	auto_buf empty = BUF_INIT(BUF_MAX);
	tar_link(&empty, "l", "");
	check_refused(&empty, ERR_INPUT, "'l'");
	/* each inside by its letters, but the first leads up before the second's ".." count */
	auto_buf chain = BUF_INIT(BUF_MAX);
	tar_link(&chain, "x/y/up", "../..");
	tar_link(&chain, "out", "x/y/up/../..");
	check_refused(&chain, ERR_INPUT, "leaves the package");
	/* the same with the link made later */
	auto_buf later = BUF_INIT(BUF_MAX);
	tar_link(&later, "out", "x/y/up/../..");
	tar_link(&later, "x/y/up", "../..");
	check_refused(&later, ERR_INPUT, "leaves the package");
}

TEST(links_that_stay)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_link(&tar, "a/b/c", "../../d");
	tar_link(&tar, "a/e", "./b/../b/c");
	tar_link(&tar, "a/self", "self");
	tar_link(&tar, "dangling", "not/there");
	tar_link(&tar, "top", "a/..");
	check_accepted(&tar, "d a\nd a/b\nl a/b/c\t../../d\nl a/e\t./b/../b/c\nl a/self\tself\nl dangling\tnot/there\n"
			     "l top\ta/..\n");
}

TEST(hard_links_that_leave)
{
	static const char *const bad[] = {"/etc/passwd", "../x", "x", "d", "l", "nothing", ""};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		auto_buf tar = BUF_INIT(BUF_MAX);
		tar_dir(&tar, "d");
		tar_link(&tar, "l", "d");
		tar_hard_link(&tar, "x", bad[i]);
		check_refused(&tar, ERR_INPUT, "");
	}
	auto_buf twice = BUF_INIT(BUF_MAX);
	tar_file(&twice, "a", 0644, "x");
	tar_file(&twice, "b", 0644, "x");
	tar_hard_link(&twice, "b", "a");
	check_refused(&twice, ERR_INPUT, "comes twice");
}

TEST(devices_and_pipes)
{
	for (const char *type = "346"; *type; type++) {
		auto_buf tar = BUF_INIT(BUF_MAX);
		tar_put(&tar, &(struct tar_member){.name = "x", .type = *type, .mode = 0666});
		check_refused(&tar, ERR_INPUT, "device, pipe or socket");
	}
}

TEST(a_path_twice)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_file(&tar, "x", 0644, "1");
	tar_file(&tar, "./x", 0644, "2");
	check_refused(&tar, ERR_INPUT, "comes twice");
	auto_buf folder = BUF_INIT(BUF_MAX);
	tar_file(&folder, "x/y", 0644, "1");
	tar_file(&folder, "x", 0644, "2");
	check_refused(&folder, ERR_INPUT, "comes twice");
}

TEST(the_stores_own_name)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_file(&tar, TREE_MARKER, 0644, "forged");
	check_refused(&tar, ERR_INPUT, "keeps for itself");
	auto_buf below = BUF_INIT(BUF_MAX);
	tar_file(&below, TREE_MARKER "/x", 0644, "forged");
	check_refused(&below, ERR_INPUT, "keeps for itself");
}

TEST(limits_hold)
{
	auto_buf large = BUF_INIT(BUF_MAX);
	limits = (struct store_limits){5, 10, 100};
	tar_file(&large, "a", 0644, "123");
	tar_file(&large, "b", 0644, "456");
	check_refused(&large, ERR_LIMIT, "more than 5 bytes");
	auto_buf many = BUF_INIT(BUF_MAX);
	for (char name[8] = "a"; *name <= 'k'; ++*name)
		tar_file(&many, name, 0644, "");
	check_refused(&many, ERR_LIMIT, "more than 10 entries");
	auto_buf deep = BUF_INIT(BUF_MAX);
	tar_file(&deep, "1/2/3/4/5/6/7/8/9/10/x", 0644, "");
	check_refused(&deep, ERR_LIMIT, "more than 10 entries");
	auto_buf longest = BUF_INIT(BUF_MAX);
	char name[102];
	memset(name, 'a', sizeof(name));
	tar_pax(&longest, "path", str_of(name, 101));
	tar_file(&longest, "short", 0644, "");
	check_refused(&longest, ERR_LIMIT, "more than 100 bytes");
	limits = (struct store_limits){1 << 20, 1000, 4096};
	auto_buf depth = BUF_INIT(BUF_MAX);
	auto_buf path = BUF_INIT(BUF_MAX);
	for (int i = 0; i < TREE_DEPTH_MAX; i++)
		buf_put_c(&path, "d/");
	buf_put_c(&path, "x");
	tar_pax(&depth, "path", buf_str(&path));
	tar_file(&depth, "short", 0644, "");
	check_refused(&depth, ERR_LIMIT, "deeper than");
}

TEST(sizes_beyond_the_archive)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_put(&tar, &(struct tar_member){.name = "x", .type = '0', .mode = 0644, .size = 100000, .data = STR("x")});
	check_refused(&tar, ERR_INPUT, "x.tar");
	auto_buf huge = BUF_INIT(BUF_MAX);
	tar_put(&huge,
		&(struct tar_member){.name = "x", .type = '0', .mode = 0644, .size = 1ULL << 32, .data = STR("x")});
	check_refused(&huge, ERR_LIMIT, "more than 1048576 bytes");
	auto_buf pax = BUF_INIT(BUF_MAX);
	tar_pax(&pax, "size", STR("8000000000000000"));
	tar_file(&pax, "x", 0644, "x");
	check_refused(&pax, ERR_LIMIT, "more than 1048576 bytes");
}

TEST(a_file_may_be_as_large_as_the_limit)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	auto_buf data = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < limits.max_bytes; i++)
		buf_put(&data, &(char){(char)(i * 7)}, 1);
	tar_put(&tar, &(struct tar_member){.name = "x", .type = '0', .mode = 0644, .data = buf_str(&data)});
	auto_fd dir = tmp_dir("t");
	CHECK_MSG(unpack(dir, &tar) == 0, "%s", e.msg);
	auto_buf got = BUF_INIT(BUF_MAX);
	CHECK_INT(fs_read(dir, "x", &got, &e), 0);
	CHECK(str_eq(buf_str(&got), buf_str(&data)));
}

TEST(sparse_files)
{
	auto_buf one = BUF_INIT(BUF_MAX);
	static const char both[] = "26 GNU.sparse.size=200000\n30 GNU.sparse.map=100000,00005\n";
	tar_put(&one, &(struct tar_member){.name = "pax", .type = 'x', .mode = 0644, .data = str_c(both)});
	tar_file(&one, "x", 0644, "12345");
	check_refused(&one, ERR_INPUT, "x.tar");
}

TEST(rubbish)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	for (int i = 0; i < 3000; i++)
		buf_put_c(&tar, "rubbish");
	check_refused(&tar, ERR_INPUT, "bad tar data");
	auto_buf late = BUF_INIT(BUF_MAX);
	tar_file(&late, "a", 0644, "x");
	buf_put_str(&late, buf_str(&tar));
	check_refused(&late, ERR_INPUT, "bad tar data");
}

TEST(much_behind_the_end)
{
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_file(&tar, "a", 0644, "x");
	tar_end(&tar);
	for (int i = 0; i < 300000; i++)
		buf_put_c(&tar, "rubbish");
	check_refused(&tar, ERR_INPUT, "follow the end");
}

TEST(damage_is_found)
{
	auto_fd dir = tmp_dir("t");
	auto_buf tar = BUF_INIT(BUF_MAX);
	tar_file(&tar, "bin/x", 0755, "text");
	tar_link(&tar, "l", "bin/x");
	CHECK_INT(unpack(dir, &tar), 0);
	auto_buf why = BUF_INIT(1000);
	CHECK_INT(tree_verify(dir, &why, &e), 0);
	auto_fd fd = openat(dir, "bin/x", O_WRONLY | O_CLOEXEC);
	CHECK_INT(pwrite(fd, "T", 1, 0), 1);
	CHECK_INT(tree_verify(dir, &why, &e), 1);
	CHECK_MSG(strstr(why.p, "bin/x") != NULL, "%s", why.p);
	CHECK_INT(pwrite(fd, "t", 1, 0), 1);
	CHECK_INT(tree_verify(dir, &why, &e), 0);
	CHECK_INT(fchmod(fd, 0700), 0);
	CHECK_INT(tree_verify(dir, &why, &e), 1);
	CHECK_INT(fchmod(fd, 0755), 0);
	auto_fd more = openat(dir, "new", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	CHECK(more >= 0);
	buf_clear(&why);
	CHECK_INT(tree_verify(dir, &why, &e), 1);
	CHECK_STR(why.p, "'new' is there and belongs to no package");
	CHECK_INT(unlinkat(dir, "new", 0), 0);
	CHECK_INT(unlinkat(dir, "l", 0), 0);
	buf_clear(&why);
	CHECK_INT(tree_verify(dir, &why, &e), 1);
	CHECK_STR(why.p, "'l' is missing");
	CHECK_INT(symlinkat("elsewhere", dir, "l"), 0);
	buf_clear(&why);
	CHECK_INT(tree_verify(dir, &why, &e), 1);
	CHECK_STR(why.p, "'l' is not what was unpacked");
	CHECK_INT(unlinkat(dir, TREE_MARKER, 0), 0);
	CHECK_INT(tree_verify(dir, &why, &e), 1);
}

/* .conda */

static int memory_file(struct str bytes)
{
	int fd = memfd_create("x", MFD_CLOEXEC);
	CHECK_INT(write(fd, bytes.p, bytes.n), bytes.n);
	return fd;
}

static int find_in(struct str bytes, struct zip_conda *z)
{
	auto_fd fd = memory_file(bytes);
	e = ERR_INIT;
	return zip_conda_find(fd, "x.conda", z, &e);
}

static void make_zip(struct zip_writer *z)
{
	zip_put(z, "metadata.json", STR("{}"));
	zip_put(z, "info-x.tar.zst", STR("INFO"));
	zip_put(z, "pkg-x.tar.zst", STR("PACKAGE"));
	zip_end(z);
}

TEST(zip_members_are_found)
{
	for (int i = 0; i < 2; i++) {
		auto_zip w = ZIP_WRITER_INIT;
		struct zip_conda z;
		char text[8] = {0};
		w.zip64 = i;
		make_zip(&w);
		CHECK_MSG(find_in(buf_str(&w.out), &z) == 0, "%s", e.msg);
		CHECK_INT(z.info.size, 4);
		CHECK_INT(z.pkg.size, 7);
		CHECK(memcmp(w.out.p + z.info.offset, "INFO", 4) == 0);
		auto_fd fd = memory_file(buf_str(&w.out));
		auto_ptr(istream) s = istream_range(fd, z.pkg, "x");
		CHECK_INT(istream_read_all(s, text, 7, &e), 0);
		CHECK_STR(text, "PACKAGE");
		CHECK_INT(istream_read(s, text, 1, &e), 0);
	}
}

TEST(zip_deflated_members_in_a_folder)
{
	/* "INFO" and "PACKAGE" as stored blocks of deflate */
	auto_zip w = ZIP_WRITER_INIT;
	struct zip_conda z;
	char text[8] = {0};
	w.method = 8;
	zip_put(&w, "home/x/info-x.tar.zst", str_of("\x01\x04\x00\xfb\xffINFO", 9));
	zip_put(&w, "home/x/pkg-x.tar.zst", str_of("\x01\x07\x00\xf8\xffPACKAGE", 12));
	zip_end(&w);
	CHECK_MSG(find_in(buf_str(&w.out), &z) == 0, "%s", e.msg);
	auto_fd fd = memory_file(buf_str(&w.out));
	auto_ptr(istream) s = istream_range(fd, z.pkg, "x");
	CHECK_INT(istream_read_all(s, text, 7, &e), 0);
	CHECK_STR(text, "PACKAGE");
	CHECK_INT(istream_read(s, text, 1, &e), 0);
	z.pkg.size--;
	auto_ptr(istream) cut = istream_range(fd, z.pkg, "x");
	CHECK_INT(istream_read_all(cut, text, 7, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	z.pkg.offset++;
	auto_ptr(istream) bad = istream_range(fd, z.pkg, "x");
	CHECK_INT(istream_read_all(bad, text, 7, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
}

TEST(zip_cut_or_changed_anywhere_is_refused_or_reads_the_same)
{
	for (int i = 0; i < 2; i++) {
		auto_zip w = ZIP_WRITER_INIT;
		struct zip_conda good, z;
		w.zip64 = i;
		make_zip(&w);
		CHECK_INT(find_in(buf_str(&w.out), &good), 0);
		for (size_t n = 0; n < w.out.n; n++) {
			CHECK_INT(find_in(str_head(buf_str(&w.out), n), &z), -1);
			CHECK_INT(e.code, ERR_INPUT);
		}
		for (size_t at = 0; at < w.out.n; at++) {
			for (int bit = 0; bit < 8; bit++) {
				w.out.p[at] ^= (char)(1 << bit);
				if (find_in(buf_str(&w.out), &z) == 0) {
					CHECK(z.info.offset + z.info.size <= w.out.n);
					CHECK(z.pkg.offset + z.pkg.size <= w.out.n);
				} else {
					CHECK(e.code == ERR_INPUT || e.code == ERR_LIMIT);
				}
				w.out.p[at] ^= (char)(1 << bit);
			}
		}
	}
}

TEST(zip_bytes_around_it_are_refused)
{
	auto_zip w = ZIP_WRITER_INIT;
	struct zip_conda z;
	make_zip(&w);
	auto_buf more = BUF_INIT(BUF_MAX);
	buf_put_str(&more, buf_str(&w.out));
	buf_put_c(&more, "x");
	CHECK_INT(find_in(buf_str(&more), &z), -1);
	buf_clear(&more);
	buf_put_c(&more, "in front");
	buf_put_str(&more, buf_str(&w.out));
	CHECK_INT(find_in(buf_str(&more), &z), -1);
	/* a second whole ZIP behind the first: a reader from the front sees another package */
	auto_zip v = ZIP_WRITER_INIT;
	make_zip(&v);
	buf_clear(&more);
	buf_put_str(&more, buf_str(&w.out));
	buf_put_str(&more, buf_str(&v.out));
	CHECK_INT(find_in(buf_str(&more), &z), -1);
	/* a comment, which may hide another end record */
	w.out.p[w.out.n - 2] = 4;
	buf_put_c(&w.out, "text");
	CHECK_INT(find_in(buf_str(&w.out), &z), -1);
}

static void check_bad_zip(struct zip_writer *w, const char *why)
{
	struct zip_conda z;
	zip_end(w);
	CHECK_INT(find_in(buf_str(&w->out), &z), -1);
	CHECK_MSG(strstr(e.msg, why) != NULL, "%s", e.msg);
	zip_release(w);
	*w = ZIP_WRITER_INIT;
}

TEST(zip_with_other_members_is_refused)
{
	auto_zip w = ZIP_WRITER_INIT;
	check_bad_zip(&w, "one info-");
	zip_put(&w, "info-x.tar.zst", STR("a"));
	check_bad_zip(&w, "one info-");
	zip_put(&w, "info-x.tar.zst", STR("a"));
	zip_put(&w, "pkg-x.tar.zst", STR("a"));
	zip_put(&w, "pkg-y.tar.zst", STR("b"));
	check_bad_zip(&w, "one info-");
	zip_put(&w, "info-x.tar.zst", STR("a"));
	zip_put(&w, "pkg-x.tar.zst", STR("a"));
	zip_put(&w, "pkg-x.tar.zst", STR("b"));
	check_bad_zip(&w, "twice");
	w.method = 12;
	zip_put(&w, "info-x.tar.zst", STR("a"));
	zip_put(&w, "pkg-x.tar.zst", STR("a"));
	check_bad_zip(&w, "neither stored");
	zip_put(&w, "info-x.tar.zst", STR("aaaa"));
	zip_put(&w, "pkg-x.tar.zst", STR("aaaa"));
	w.out.p[30] = 'I'; /* the local name */
	check_bad_zip(&w, "contradicts");
	zip_put(&w, "info-x.tar.zst", STR("aaaa"));
	zip_put(&w, "pkg-x.tar.zst", STR("aaaa"));
	w.out.p[18] = 3; /* the local size */
	check_bad_zip(&w, "contradicts");
	for (int i = 0; i < 65; i++) {
		char name[32];
		snprintf(name, sizeof(name), "f%d", i);
		zip_put(&w, name, STR(""));
	}
	check_bad_zip(&w, "more than 64");
}
