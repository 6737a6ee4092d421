// SPDX-License-Identifier: Apache-2.0
/*
 * Laying packages out, for the sweep in link.sh:
 *
 *	fault_link ROOT fill         packages into the store
 *	fault_link ROOT lay N        lay them out as ROOT/env/N
 *	fault_link ROOT check N      ROOT/env/N holds what it has to hold, and the store is whole
 *	fault_link ROOT store        the store is whole
 *
 * Exits 0, or 1 with a message.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "env/link.h"
#include "lib/archive.h"

#define PART "_placeholder_placeholder_placeholder_placeholder_placeholder"
#define HOLDER "/build/" PART PART PART PART

enum { PACKAGES = 3 };

static const char *const names[PACKAGES] = {"python", "lib", "tool"};

static void add_files(unsigned i, struct buf *pkg)
{
	if (i == 0)
		tar_file(pkg, "bin/python3.9", 0755, "#!/bin/sh\nexit 1\n");
	if (i == 1) {
		tar_file(pkg, "lib/libx.so.1", 0644, "x" HOLDER "/lib");
		tar_link(pkg, "lib/libx.so", "libx.so.1");
		tar_file(pkg, "etc/x.conf", 0644, "prefix=" HOLDER "\n");
		tar_file(pkg, "share/both", 0644, "from lib");
	}
	if (i == 2) {
		tar_file(pkg, "site-packages/tool.py", 0644, "def run():\n    return 0\n");
		tar_file(pkg, "share/both", 0644, "from tool");
		tar_file(pkg, "share/own", 0644, "own");
	}
}

static const char *paths_of(unsigned i)
{
	static const char *const paths[PACKAGES] = {
		"{\"_path\":\"bin/python3.9\"}",
		"{\"_path\":\"lib/libx.so.1\",\"file_mode\":\"binary\",\"prefix_placeholder\":\"" HOLDER "\"},"
		"{\"_path\":\"lib/libx.so\",\"path_type\":\"softlink\"},"
		"{\"_path\":\"etc/x.conf\",\"prefix_placeholder\":\"" HOLDER "\"},"
		"{\"_path\":\"share/both\"}",
		"{\"_path\":\"site-packages/tool.py\"},{\"_path\":\"share/both\"},"
		"{\"_path\":\"share/own\",\"no_link\":true}",
	};
	return paths[i];
}

static void make_package(unsigned i, struct buf *out)
{
	auto_buf info = BUF_INIT(BUF_MAX);
	auto_buf pkg = BUF_INIT(BUF_MAX);
	auto_buf paths = BUF_INIT(BUF_MAX);
	buf_printf(&paths, "{\"paths_version\":1,\"paths\":[%s]}", paths_of(i));
	tar_file(&info, "info/index.json", 0644, "{}");
	tar_file(&info, "info/paths.json", 0644, paths.p);
	if (i == 2)
		tar_file(&info, "info/link.json", 0644,
			 "{\"noarch\":{\"type\":\"python\",\"entry_points\":[\"tool = tool:run\"]}}");
	tar_end(&info);
	add_files(i, &pkg);
	tar_end(&pkg);
	conda_put(out, names[i], buf_str(&info), buf_str(&pkg));
}

static void make_lock(struct env_lock_package *lock)
{
	for (unsigned i = 0; i < PACKAGES; i++) {
		auto_buf b = BUF_INIT(BUF_MAX);
		make_package(i, &b);
		struct pkg_record *r = &lock[i].record;
		r->name = r->fn = str_c(names[i]);
		r->version = STR("3.9");
		r->build = STR("0");
		r->channel = STR("https://example.org/ch");
		r->subdir = STR("noarch");
		r->has_sha256 = true;
		sha256(b.p, b.n, r->sha256);
	}
}

static int op_fill(struct store *s, int root, const char *n, struct err *e)
{
	(void)n;
	for (unsigned i = 0; i < PACKAGES; i++) {
		auto_buf b = BUF_INIT(BUF_MAX);
		uint8_t sha[SHA256_SIZE], got[SHA256_SIZE];
		make_package(i, &b);
		sha256(b.p, b.n, sha);
		if (fs_replace(root, "package", b.p, b.n, 0, e) < 0 ||
		    store_add_file(s, root, "package", sha, got, e) < 0 ||
		    store_unpack(s, sha, STORE_CONDA, NULL, e) < 0)
			return -1;
	}
	return 0;
}

static void damaged(void *ctx, const char *what, const char *why, bool mendable)
{
	(void)ctx, (void)mendable;
	printf("%s: %s\n", what, why);
}

static int op_store(struct store *s, int root, const char *n, struct err *e)
{
	(void)root, (void)n;
	int64_t bad = store_verify(s, false, NULL, damaged, NULL, e);
	return bad > 0 ? err_new(e, ERR_VERIFY, "the store is damaged") : (int)bad;
}

static int open_prefix(int root, const char *n, char path[4096], struct err *e)
{
	char link[64], rel[64];
	snprintf(rel, sizeof(rel), "env/%s", n);
	int fd = fs_open_dir_make(root, rel, e);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t got = fd < 0 ? -1 : readlink(link, path, 4095);
	if (got < 0)
		return -1;
	path[got] = '\0';
	return fd;
}

static int op_lay(struct store *s, int root, const char *n, struct err *e)
{
	char prefix[4096];
	auto_arena a = ARENA_INIT;
	struct env_lock_package lock[PACKAGES] = {0};
	const struct env_variable v = {STR("A"), STR("b")};
	const struct env_spec_file target = {
		.packages = lock, .packages_n = PACKAGES, .variables = &v, .variables_n = 1};
	const struct env_opts opts = {.no_pyc = true, .threads = 1};
	struct link_report report;
	make_lock(lock);
	auto_fd fd = open_prefix(root, n, prefix, e);
	struct link_job job = {.prefix_fd = fd, .prefix = prefix, .store = s, .target = &target, .opts = &opts};
	return fd < 0 ? -1 : link_all(&job, &a, &report, e);
}

static int expect(int fd, const char *path, const char *want, struct err *e)
{
	auto_buf b = BUF_INIT(1 << 20);
	if (fs_read(fd, path, &b, e) < 0)
		return -1;
	return strstr(b.p, want) ? 0 : err_new(e, ERR_VERIFY, "'%s' does not hold '%s'", path, want);
}

static int op_check(struct store *s, int root, const char *n, struct err *e)
{
	char prefix[4096];
	auto_fd fd = open_prefix(root, n, prefix, e);
	auto_fs_list meta = {0};
	if (fd < 0 || fs_list(fd, "conda-meta", 100, &meta, e) < 0)
		return -1;
	if (meta.n != PACKAGES + 3)
		return err_new(e, ERR_VERIFY, "conda-meta has %zu files", meta.n);
	if (expect(fd, "bin/python3.9", "exit 1", e) < 0 || expect(fd, "lib/libx.so", prefix, e) < 0 ||
	    expect(fd, "etc/x.conf", prefix, e) < 0 || expect(fd, "share/both", "from tool", e) < 0 ||
	    expect(fd, "share/own", "own", e) < 0 || expect(fd, "bin/tool", "from tool import run", e) < 0 ||
	    expect(fd, "lib/python3.9/site-packages/tool.py", "def run", e) < 0 ||
	    expect(fd, "conda-meta/state", "env_vars", e) < 0 ||
	    expect(fd, "conda-meta/history", "::tool-3.9-0\n", e) < 0 ||
	    expect(fd, "conda-meta/slipway-activate.sh", "export A='b'", e) < 0 ||
	    expect(fd, "conda-meta/tool-3.9-0.json", "unix_python_entry_point", e) < 0)
		return -1;
	return op_store(s, root, n, e);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(struct store *s, int root, const char *n, struct err *e);
	} ops[] = {{"fill", op_fill}, {"lay", op_lay}, {"check", op_check}, {"store", op_store}};
	struct err e = ERR_INIT;
	auto_ptr(store) s = NULL;
	if (argc < 3)
		return 2;
	auto_fd root = fs_open_dir(AT_FDCWD, argv[1], &e);
	int r = root < 0 || store_open(root, 0, &s, &e) < 0 ? -1 : 1;
	for (size_t i = 0; r > 0 && i < sizeof(ops) / sizeof(*ops); i++) {
		if (strcmp(argv[2], ops[i].name) == 0)
			r = ops[i].run(s, root, argc > 3 ? argv[3] : "", &e);
	}
	if (r < 0)
		printf("%s\n", e.msg);
	return r != 0;
}
