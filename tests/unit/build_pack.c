// SPDX-License-Identifier: Apache-2.0
#include "build/build.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/zip.h"
#include "build/pack.h"
#include "lib/test.h"
#include "store/store.h"

static struct arena a;

static const char *in_tmp(const char *path)
{
	return arena_printf(&a, "%s/%s", test_tmp(), path);
}

static void put_bytes(const char *path, const void *p, size_t n, mode_t mode)
{
	struct err e = ERR_INIT;
	const char *full = in_tmp(path);
	const char *dir = arena_strdup(&a, str_head(str_c(full), (size_t)str_rfind(str_c(full), '/')));
	CHECK_INT(fs_mkdirs(AT_FDCWD, dir, 0755, &e), 0);
	if (fs_replace(AT_FDCWD, full, p, n, 0, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	CHECK_INT(chmod(full, mode), 0);
}

static void put(const char *path, const char *text)
{
	put_bytes(path, text, strlen(text), 0644);
}

static struct pack_opts opts(void)
{
	struct pack_opts o = PACK_OPTS_INIT;
	o.staged = in_tmp("st");
	o.out_dir = in_tmp("out");
	o.level = 1;
	o.meta.name = STR("tool");
	o.meta.version = STR("1.0");
	o.meta.subdir = STR("linux-64");
	return o;
}

static struct pack_result pack_ok(const struct pack_opts *o)
{
	struct err e = ERR_INIT;
	struct pack_result r = {0};
	if (pack_conda(o, &a, &r, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	return r;
}

/* Fails with this code and a message that holds `part`; leaves nothing in out/. */
static void pack_fails(const struct pack_opts *o, enum err_code code, const char *part)
{
	struct err e = ERR_INIT;
	struct pack_result r;
	CHECK_MSG(pack_conda(o, &a, &r, &e) < 0, "no error about '%s'", part);
	CHECK_MSG(strstr(e.msg, part), "'%s' does not hold '%s'", e.msg, part);
	CHECK_INT(e.code, code);
	auto_fs_list l = {0};
	if (fs_exists(AT_FDCWD, in_tmp("out"))) {
		CHECK_INT(fs_list(AT_FDCWD, in_tmp("out"), 10, &l, &e), 0);
		CHECK_INT(l.n, 0);
	}
}

/* What the store, which refuses much, makes of a package: the fd of its tree. */
static int unpack(const char *path)
{
	struct err e = ERR_INIT;
	struct store *s;
	uint8_t digest[SHA256_SIZE];
	CHECK_INT(fs_mkdirs(AT_FDCWD, in_tmp("root"), 0755, &e), 0);
	int root = fs_open_dir(AT_FDCWD, in_tmp("root"), &e);
	if (store_open(root, 0, &s, &e) < 0 || store_add_file(s, AT_FDCWD, path, NULL, digest, &e) < 0 ||
	    store_unpack(s, digest, store_format_of(str_c(path)), NULL, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	int tree = store_tree_open(s, digest, &e);
	store_free(s);
	close(root);
	return tree;
}

static const char *text_at(int dirfd, const char *path)
{
	auto_buf b = BUF_INIT(1 << 24);
	struct err e = ERR_INIT;
	if (fs_read(dirfd, path, &b, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	return arena_strdup(&a, buf_str(&b));
}

static const struct json *json_at(int dirfd, const char *path)
{
	struct err e = ERR_INIT;
	const struct json *j = json_parse(&a, str_c(text_at(dirfd, path)), path, &e);
	CHECK_MSG(j, "%s", e.msg);
	return j;
}

static const char *member(const struct json *j, const char *key)
{
	const struct json *v = json_get(j, key);
	return v && v->type == JSON_STRING ? v->string.p : NULL;
}

static const struct json *path_entry(const struct json *paths, const char *path)
{
	const struct json *list = json_get(paths, "paths");
	for (uint32_t i = 0; i < list->n; i++)
		if (strcmp(member(&list->item[i], "_path"), path) == 0)
			return &list->item[i];
	return NULL;
}

static void link_to(const char *target, const char *path)
{
	CHECK_INT(symlink(target, in_tmp(path)), 0);
}

static void stage(void)
{
	put("st/bin/tool", "#!/opt/ph/bin/sh\n");
	CHECK_INT(chmod(in_tmp("st/bin/tool"), 0775), 0);
	put_bytes("st/lib/libtool.so.1", "x\0/opt/ph/lib\0y", 15, 0600);
	put("st/share/plain", "/opt/p");
	link_to("libtool.so.1", "st/lib/libtool.so");
	link_to("/opt/ph/lib/libtool.so.1", "st/share/lib");
	link_to("nowhere", "st/share/dangling");
	CHECK_INT(mkdir(in_tmp("st/empty"), 0700), 0);
}

static void check_tree(int tree)
{
	char target[100] = {0};
	struct stat st;
	const struct json *index = json_at(tree, "info/index.json"), *paths = json_at(tree, "info/paths.json");
	CHECK_STR(member(index, "name"), "tool");
	CHECK_STR(member(index, "build"), "0");
	CHECK_STR(json_get(index, "depends")->item[0].string.p, "lib >=1");
	CHECK(!json_get(index, "timestamp"));
	CHECK_STR(text_at(tree, "info/files"), "bin/tool\nlib/libtool.so\nlib/libtool.so.1\nshare/dangling\n"
					       "share/lib\nshare/plain\n");
	CHECK_INT(json_get(paths, "paths")->n, 7);
	const struct json *tool = path_entry(paths, "bin/tool"), *so = path_entry(paths, "lib/libtool.so.1");
	CHECK_STR(member(tool, "file_mode"), "text");
	CHECK_STR(member(tool, "prefix_placeholder"), "/opt/ph");
	CHECK_STR(member(so, "file_mode"), "binary");
	CHECK_INT(json_get(so, "size_in_bytes")->integer, 15);
	CHECK(!json_get(path_entry(paths, "share/plain"), "file_mode"));
	CHECK_STR(member(path_entry(paths, "lib/libtool.so"), "path_type"), "softlink");
	CHECK_STR(member(path_entry(paths, "lib/libtool.so"), "sha256"), member(so, "sha256"));
	CHECK_STR(member(path_entry(paths, "share/lib"), "sha256"), member(so, "sha256"));
	CHECK_INT(json_get(path_entry(paths, "share/dangling"), "size_in_bytes")->integer, 0);
	CHECK_STR(member(path_entry(paths, "empty"), "path_type"), "directory");
	CHECK(!path_entry(paths, "share"));
	CHECK(readlinkat(tree, "share/lib", target, sizeof(target) - 1) > 0);
	CHECK_STR(target, "../lib/libtool.so.1");
	CHECK_INT(fstatat(tree, "bin/tool", &st, 0), 0);
	CHECK_INT(st.st_mode & 07777, 0755);
	CHECK_INT(st.st_mtime, 315532800);
	CHECK_INT(fstatat(tree, "lib/libtool.so.1", &st, 0), 0);
	CHECK_INT(st.st_mode & 07777, 0644);
}

TEST(a_folder_becomes_a_package_in_both_formats)
{
	static const struct str depends = STR("lib >=1");
	struct pack_opts o = opts();
	stage();
	o.meta.depends = (struct pack_list){&depends, 1};
	o.meta.prefix = STR("/opt/ph");
	struct pack_result r = pack_ok(&o);
	CHECK_STR(r.path, in_tmp("out/tool-1.0-0.conda"));
	CHECK_INT(r.files, 7);
	CHECK_INT(r.prefix_files, 2);
	auto_fd tree = unpack(r.path);
	check_tree(tree);
	o.format = PACK_TAR_BZ2;
	r = pack_ok(&o);
	CHECK_STR(r.path, in_tmp("out/tool-1.0-0.tar.bz2"));
	auto_fd old = unpack(r.path);
	check_tree(old);
}

TEST(the_same_folder_gives_the_same_bytes)
{
	struct pack_opts o = opts();
	stage();
	o.meta.prefix = STR("/opt/ph");
	struct pack_result one = pack_ok(&o);
	struct timespec past[2] = {{1, 0}, {1, 0}};
	CHECK_INT(utimensat(AT_FDCWD, in_tmp("st/bin/tool"), past, 0), 0);
	CHECK_INT(chmod(in_tmp("st/bin/tool"), 0700), 0);
	struct pack_result two = pack_ok(&o);
	CHECK(memcmp(one.sha256, two.sha256, SHA256_SIZE) == 0);
	CHECK_INT(one.size, two.size);
	o.time_s = 1700000000;
	two = pack_ok(&o);
	CHECK(memcmp(one.sha256, two.sha256, SHA256_SIZE) != 0);
	auto_fd tree = unpack(two.path);
	CHECK_INT(json_get(json_at(tree, "info/index.json"), "timestamp")->integer, 1700000000000);
}

TEST(long_and_foreign_names_are_kept)
{
	char deep[600] = "st";
	struct pack_opts o = opts();
	for (int i = 0; i < 5; i++)
		strncat(deep,
			"/"
			"0123456789012345678901234567890123456789012345678901234567890123456789"
			"01234567890123456789012345678901234567\xc3\xa9",
			sizeof(deep) - strlen(deep) - 1);
	put(deep, "deep");
	const char *half = arena_printf(&a, "st/%s/%s", "a123456789a123456789a123456789a123456789a123456789a123456789",
					"b123456789b123456789b123456789b123456789b123456789b123456789b123456789");
	put(half, "half");
	link_to(deep + 3, "st/link");
	auto_fd tree = unpack(pack_ok(&o).path);
	CHECK_STR(text_at(tree, deep + 3), "deep");
	CHECK_STR(text_at(tree, half + 3), "half");
	CHECK_STR(text_at(tree, "link"), "deep");
}

TEST(a_prefix_across_two_pieces_is_seen)
{
	struct pack_opts o = opts();
	auto_buf b = BUF_INIT(1 << 20);
	for (size_t i = 0; i < (1 << 18) - 3; i++)
		buf_put_char(&b, 'x');
	buf_put_c(&b, "/opt/ph");
	put("st/big", b.p);
	put("st/cut", "/opt/p");
	o.meta.prefix = STR("/opt/ph");
	CHECK_INT(pack_ok(&o).prefix_files, 1);
}

TEST(a_recipe_says_what_the_package_is)
{
	struct pack_opts o = opts();
	put("st/site-packages/m/__init__.py", "def main(): pass\n");
	put("st/site-packages/m/__pycache__/x.cpython-311.pyc", "x");
	put("st/info/licenses/LICENSE", "free");
	put("st/pack.yml", "name: greet\nversion: '1.10'\nbuild_number: 2\nnoarch: python\ndepends:\n  - python >=3.9\n"
			   "entry_points: ['hello = m:main']\nlicense: MIT\nsummary: 'says: hello'\n");
	o.meta = (struct pack_meta){.build_number = -1, .license = STR("Apache-2.0")};
	struct pack_result r = pack_ok(&o);
	CHECK_STR(r.path, in_tmp("out/greet-1.10-py_2.conda"));
	CHECK_INT(r.files, 1);
	auto_fd tree = unpack(r.path);
	const struct json *index = json_at(tree, "info/index.json"), *link = json_at(tree, "info/link.json");
	CHECK_STR(member(index, "subdir"), "noarch");
	CHECK_STR(member(index, "noarch"), "python");
	CHECK_STR(member(index, "license"), "Apache-2.0");
	CHECK_INT(json_get(index, "build_number")->integer, 2);
	CHECK_STR(member(json_get(link, "noarch"), "type"), "python");
	CHECK_STR(json_get(json_get(link, "noarch"), "entry_points")->item[0].string.p, "hello = m:main");
	CHECK_STR(member(json_at(tree, "info/about.json"), "summary"), "says: hello");
	CHECK_STR(text_at(tree, "info/licenses/LICENSE"), "free");
	CHECK(!fs_exists(tree, "pack.yml"));
}

TEST(a_bad_recipe_is_named_with_its_line)
{
	struct pack_opts o = opts();
	put("st/pack.yml", "name: greet\nversoin: 1\n");
	pack_fails(&o, ERR_INPUT, "pack.yml:2: unknown key 'versoin'");
	put("st/pack.yml", "name: greet\ndepends: python\n");
	pack_fails(&o, ERR_INPUT, "pack.yml:2: 'depends' must be a list");
	put("st/pack.yml", "build_number: -1\n");
	pack_fails(&o, ERR_INPUT, "pack.yml:1: 'build_number' must be a number");
	put("st/pack.yml", "- a\n");
	pack_fails(&o, ERR_INPUT, "pack.yml:1:");
}

#define INDEX "{\"name\":\"t\",\"version\":\"1\",\"build\":\"h_0\",\"build_number\":0,\"depends\":[\"a\"]"

TEST(a_folder_may_hold_its_own_metadata)
{
	struct pack_opts o = opts();
	put("st/info/index.json", INDEX ",\"subdir\":\"noarch\",\"extra\":1}");
	put("st/info/repodata_record.json", "{}");
	put("st/x", "x");
	pack_fails(&o, ERR_USAGE, "cannot be given beside it");
	o.meta = PACK_OPTS_INIT.meta;
	auto_fd tree = unpack(pack_ok(&o).path);
	CHECK_STR(text_at(tree, "info/index.json"), INDEX ",\"subdir\":\"noarch\",\"extra\":1}");
	CHECK(!fs_exists(tree, "info/repodata_record.json"));
	CHECK_STR(text_at(tree, "info/files"), "x\n");
}

TEST(its_list_of_files_is_compared)
{
	struct pack_opts o = opts();
	o.meta = PACK_OPTS_INIT.meta;
	put("st/info/index.json", INDEX ",\"subdir\":\"noarch\"}");
	put("st/x", "x");
	put("st/info/paths.json", "{\"paths_version\":1,\"paths\":[]}");
	pack_fails(&o, ERR_INPUT, "'x' is in the folder, but not in the list");
	put("st/info/paths.json", "{\"paths_version\":1,\"paths\":[{\"_path\":\"y\"}]}");
	pack_fails(&o, ERR_INPUT, "'y' is not in the folder");
	put("st/info/paths.json", "{\"paths\":[{\"_path\":\"x\",\"size_in_bytes\":2}]}");
	pack_fails(&o, ERR_INPUT, "'x' has another size");
	put("st/info/paths.json", "{\"paths\":[{\"_path\":\"x\",\"sha256\":\"00\"}]}");
	pack_fails(&o, ERR_INPUT, "'x' has another digest");
	const char *good = "{\"paths\":[{\"_path\":\"x\",\"prefix_placeholder\":\"/ph\",\"size_in_bytes\":1}]}";
	put("st/info/paths.json", good);
	o.meta.prefix = STR("/opt");
	pack_fails(&o, ERR_USAGE, "give no prefix");
	o.meta.prefix = STR_NONE;
	auto_fd tree = unpack(pack_ok(&o).path);
	CHECK_STR(text_at(tree, "info/paths.json"), good);
}

TEST(bad_metadata_of_its_own_is_refused)
{
	struct pack_opts o = opts();
	o.meta = PACK_OPTS_INIT.meta;
	put("st/info/index.json", "{");
	pack_fails(&o, ERR_INPUT, "info/index.json");
	put("st/info/index.json", INDEX "}");
	pack_fails(&o, ERR_INPUT, "names no 'subdir'");
	put("st/info/index.json", "{\"name\":\"../x\",\"version\":\"1\",\"build\":\"0\",\"build_number\":0}");
	pack_fails(&o, ERR_INPUT, "subdir");
	put("st/info/index.json", INDEX ",\"subdir\":\"noarch\"}");
	put("st/info/link.json", "{\"noarch\":{\"type\":\"python\",\"entry_points\":[\"../x=m:f\"]}}");
	pack_fails(&o, ERR_USAGE, "info/link.json: entry point '../x=m:f'");
}

TEST(what_no_package_may_hold_is_refused)
{
	struct pack_opts o = opts();
	put("st/x", "x");
	static const struct {
		const char *path, *part;
	} files[] = {
		{"st/conda-meta/history", "conda-meta/"},
		{"st/.slipway-tree", "reserved"},
		{"st/info/notes.txt", "info/ may hold"},
		{"st/bad\nname", "no package may hold"},
		{"st/\xff", "not UTF-8"},
	};
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		struct err e = ERR_INIT;
		put(files[i].path, "x");
		pack_fails(&o, ERR_INPUT, files[i].part);
		CHECK_INT(fs_remove_tree(AT_FDCWD, in_tmp(files[i].path), &e), 0);
		if (i == 0)
			CHECK_INT(fs_remove_tree(AT_FDCWD, in_tmp("st/conda-meta"), &e), 0);
	}
	CHECK_INT(mkfifo(in_tmp("st/pipe"), 0600), 0);
	pack_fails(&o, ERR_INPUT, "device, pipe or socket");
	CHECK_INT(unlink(in_tmp("st/pipe")), 0);
	link_to("/etc/passwd", "st/link");
	pack_fails(&o, ERR_INPUT, "outside of the package");
	CHECK_INT(unlink(in_tmp("st/link")), 0);
	link_to("a/../../x", "st/link");
	pack_fails(&o, ERR_INPUT, "leads out of the package");
	CHECK_INT(unlink(in_tmp("st/link")), 0);
	link_to("../x", "st/info/files");
	pack_fails(&o, ERR_INPUT, "neither a file nor a folder");
}

TEST(what_is_said_is_checked)
{
	static const struct str python = STR("python >=3.9"), self = STR("tool"), bad = STR("a >=="),
				other = STR("c::a");
	static const struct str point = STR("x = m:f"), no_point = STR("x");
	struct pack_opts o = opts();
	put("st/x", "x");
#define WITH(change, code, part)                                                                                       \
	do {                                                                                                           \
		o = opts();                                                                                            \
		change;                                                                                                \
		pack_fails(&o, code, part);                                                                            \
	} while (0)
	WITH(o.meta.name = STR_NONE, ERR_USAGE, "name is not known");
	WITH(o.meta.version = STR_NONE, ERR_USAGE, "version is not known");
	WITH(o.meta.name = STR("Tool"), ERR_USAGE, "Tool");
	WITH(o.meta.version = STR("1-0"), ERR_USAGE, "1-0");
	WITH(o.meta.build = STR("a-b"), ERR_USAGE, "a-b");
	WITH(o.meta.subdir = STR("../x"), ERR_USAGE, "subdir");
	WITH(o.meta.noarch = STR("perl"), ERR_USAGE, "'python' or 'generic'");
	WITH(o.meta.noarch = STR("generic"), ERR_USAGE, "for subdir 'noarch'");
	WITH((o.meta.subdir = STR_NONE, o.meta.noarch = STR("python")), ERR_USAGE, "must depend on 'python'");
	WITH((o.meta.depends = (struct pack_list){&bad, 1}), ERR_USAGE, "depends");
	WITH((o.meta.depends = (struct pack_list){&self, 1}), ERR_USAGE, "the package itself");
	WITH((o.meta.constrains = (struct pack_list){&other, 1}), ERR_USAGE, "names a channel");
	WITH((o.meta.entry_points = (struct pack_list){&point, 1}), ERR_USAGE, "noarch Python");
	WITH((o.meta.subdir = STR_NONE, o.meta.noarch = STR("python"), o.meta.depends = (struct pack_list){&python, 1},
	      o.meta.entry_points = (struct pack_list){&no_point, 1}),
	     ERR_USAGE, "program = module:function");
	WITH(o.meta.prefix = STR("opt"), ERR_USAGE, "absolute path");
	WITH(o.meta.prefix = STR("/opt/"), ERR_USAGE, "absolute path");
	WITH(o.level = 23, ERR_USAGE, "level");
	WITH(o.staged = in_tmp("none"), ERR_NOT_FOUND, "staged folder");
	WITH(o.recipe = in_tmp("none.yml"), ERR_NOT_FOUND, "none.yml");
	put("st/lib/python3.11/site-packages/m.py", "");
	WITH((o.meta.subdir = STR_NONE, o.meta.noarch = STR("python"), o.meta.depends = (struct pack_list){&python, 1}),
	     ERR_INPUT, "belong into site-packages/");
}

TEST(a_dry_run_writes_nothing)
{
	struct pack_opts o = opts();
	put("st/x", "x");
	o.dry_run = true;
	CHECK_STR(pack_ok(&o).path, in_tmp("out/tool-1.0-0.conda"));
	CHECK(!fs_exists(AT_FDCWD, in_tmp("out")));
}

static int new_file(const char *name)
{
	int fd = open(in_tmp(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	CHECK(fd >= 0);
	return fd;
}

TEST(sizes_of_64_bits_are_read_back)
{
	struct err e = ERR_INIT;
	struct zip_conda z;
	uint64_t size;
	uint8_t digest[SHA256_SIZE];
	put("st/x", "x");
	cleanup_with(staged_release) struct staged s = {
		.dirfd = fs_open_dir(AT_FDCWD, in_tmp("st"), &e), .folder = "st", .a = &a};
	CHECK_INT(staged_scan(&s, &e), 0);
	struct package_target t = {.fd = new_file("big.conda"),
				   .what = "big.conda",
				   .stem = "big-1-0",
				   .level = 1,
				   .time_s = -1,
				   .zip64 = true};
	if (package_write(&s, &t, &size, digest, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	auto_fd fd = t.fd;
	if (zip_conda_find(fd, "big.conda", &z, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	CHECK(z.pkg.size > 0 && z.pkg.size < size);
	auto_ptr(istream) in = istream_zstd(istream_range(fd, z.pkg, "pkg"));
	char head[512];
	CHECK_INT(istream_read_all(in, head, sizeof(head), &e), 0);
	CHECK_STR(head, "x");
}

TEST(what_changes_meanwhile_is_noticed)
{
	struct err e = ERR_INIT;
	uint64_t size;
	uint8_t digest[SHA256_SIZE];
	put("st/x", "one");
	cleanup_with(staged_release) struct staged s = {
		.dirfd = fs_open_dir(AT_FDCWD, in_tmp("st"), &e), .folder = "st", .a = &a};
	CHECK_INT(staged_scan(&s, &e), 0);
	put("st/x", "two");
	struct package_target t = {
		.fd = new_file("x.conda"), .what = "x.conda", .stem = "x-1-0", .level = 1, .time_s = -1};
	CHECK_INT(package_write(&s, &t, &size, digest, &e), -1);
	CHECK(strstr(e.msg, "changed while it was packed"));
	close(t.fd);
}

TEST(two_do_not_write_one_package)
{
	struct pack_opts o = opts();
	struct err e = ERR_INIT;
	struct pack_result r;
	put("st/x", "x");
	put("out/.tool-1.0-0.conda.tmp", "left by a dead process");
	auto_fd held = open(in_tmp("out/.tool-1.0-0.conda.tmp"), O_RDWR | O_CLOEXEC);
	CHECK_INT(flock(held, LOCK_EX), 0);
	CHECK_INT(pack_conda(&o, &a, &r, &e), -1);
	CHECK_INT(e.code, ERR_BUSY);
	CHECK_INT(flock(held, LOCK_UN), 0);
	close(unpack(pack_ok(&o).path));
	CHECK(!fs_exists(AT_FDCWD, in_tmp("out/.tool-1.0-0.conda.tmp")));
}
