// SPDX-License-Identifier: Apache-2.0
/* Laying packages out: every rule on trees made by hand. */
#include "lib/test.h"

#include <dirent.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/json.h"
#include "env/layout.h"

/* == a store and its packages ===================================================================================== */
struct package {
	struct env_lock_package *lock;
	struct buf paths; /* the members of info/paths.json so far */
	char dir[768];
};
struct world {
	char root[512], prefix[768];
	int root_fd;
	struct env_lock_package lock[16];
	struct package package[16];
	struct env_spec_file target;
	const struct env_spec_file *before;
	struct str history;
	struct env_opts opts;
	struct store *store;
	struct arena arena;
	struct link_report report;
	struct err err;
	char notes[4096];
	struct progress progress;
};

static void note(struct progress *p, const struct progress_event *ev)
{
	struct world *w = p->ctx;
	if (ev->kind == PROGRESS_NOTE)
		snprintf(w->notes + strlen(w->notes), sizeof(w->notes) - strlen(w->notes), "%s\n", ev->text);
}

static void mkdirs(const char *path)
{
	struct err e = ERR_INIT;
	CHECK_MSG(fs_mkdirs(AT_FDCWD, path, 0755, &e) == 0, "%s", e.msg);
}

static void put(const char *path, const void *p, size_t n, mode_t mode)
{
	char dir[PATH_MAX];
	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = '\0';
	mkdirs(dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
	CHECK_MSG(fd >= 0 && write(fd, p, n) == (ssize_t)n && fchmod(fd, mode) == 0, "write %s", path);
	close(fd);
}

static void world_clear(struct world *w)
{
	for (size_t i = 0; i < sizeof(w->package) / sizeof(*w->package); i++) {
		if (w->package[i].paths.p)
			buf_release(&w->package[i].paths);
	}
	store_free(w->store);
	cleanup_fd(&w->root_fd);
	arena_release(&w->arena);
}
#define auto_world cleanup_with(world_clear) struct world

static void world_at(struct world *w, const char *store_root, const char *env_root)
{
	if (w->store)
		world_clear(w);
	memset(w, 0, sizeof(*w));
	snprintf(w->root, sizeof(w->root), "%s", store_root);
	snprintf(w->prefix, sizeof(w->prefix), "%s/env/e/1", env_root);
	mkdirs(w->prefix);
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/store/tree", store_root);
	mkdirs(path);
	w->root_fd = open(w->root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	CHECK_MSG(store_open(w->root_fd, 0, &w->store, &w->err) == 0, "%s", w->err.msg);
	w->progress = (struct progress){.event = note, .ctx = w};
	w->opts.progress = &w->progress;
	w->target.packages = w->lock;
}

static void world(struct world *w)
{
	world_at(w, test_tmp(), test_tmp());
}

static struct package *package(struct world *w, const char *name, const char *version)
{
	uint32_t i = w->target.packages_n++;
	struct package *p = &w->package[i];
	struct pkg_record *r = &w->lock[i].record;
	char hex[SHA256_HEX_SIZE];
	p->lock = &w->lock[i];
	p->paths = BUF_INIT(1 << 20);
	r->name = str_c(arena_strdup(&w->arena, str_c(name)));
	r->version = str_c(arena_strdup(&w->arena, str_c(version)));
	r->build = STR("0");
	r->fn = str_c(arena_printf(&w->arena, "%s-%s-0.conda", name, version));
	r->channel = STR("https://example.org/ch");
	r->subdir = STR("linux-64");
	r->url = str_c(arena_printf(&w->arena, "https://example.org/ch/linux-64/%.*s", STR_ARG(r->fn)));
	r->has_sha256 = true;
	r->timestamp_ms = 1700000000000;
	sha256(r->fn.p, r->fn.n, r->sha256);
	hex_encode(r->sha256, SHA256_SIZE, hex);
	char dir[768];
	snprintf(dir, sizeof(dir), "%s/store/tree/%s", w->root, hex);
	memcpy(p->dir, dir, sizeof(dir));
	mkdirs(p->dir);
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/info/index.json", p->dir);
	put(path, "{}", 2, 0644);
	return p;
}

/* more: members of the path's entry, ",\"no_link\":true" */
static void listed(struct package *p, const char *path, const char *type, const void *data, size_t n, const char *more)
{
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	sha256(data, n, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	buf_printf(&p->paths, "%s{\"_path\":\"%s\",\"path_type\":\"%s\",\"sha256\":\"%s\",\"size_in_bytes\":%zu%s}",
		   p->paths.n ? "," : "", path, type, hex, n, more);
}

static void file_bytes(struct package *p, const char *path, const void *data, size_t n, mode_t mode, const char *more)
{
	char full[2 * PATH_MAX];
	snprintf(full, sizeof(full), "%s/%s", p->dir, path);
	put(full, data, n, mode);
	listed(p, path, "hardlink", data, n, more);
}

static void file(struct package *p, const char *path, const char *text)
{
	file_bytes(p, path, text, strlen(text), 0644, "");
}

static void softlink(struct package *p, const char *path, const char *target)
{
	char full[2 * PATH_MAX];
	snprintf(full, sizeof(full), "%s/%s", p->dir, path);
	unlink(full);		/* from a round before */
	put(full, "", 0, 0644); /* its folder */
	unlink(full);
	CHECK(symlink(target, full) == 0);
	listed(p, path, "softlink", "", 0, "");
}

static void info(struct package *p, const char *name, const char *text)
{
	char full[2 * PATH_MAX];
	snprintf(full, sizeof(full), "%s/info/%s", p->dir, name);
	put(full, text, strlen(text), 0644);
}

static int lay_out(struct world *w)
{
	for (uint32_t i = 0; i < w->target.packages_n; i++) {
		struct package *p = &w->package[i];
		if (!p->paths.p || p->paths.n == 0)
			continue;
		char *text = xasprintf("{\"paths_version\":1,\"paths\":[%s]}", p->paths.p);
		info(p, "paths.json", text);
		free(text);
	}
	auto_fd fd = open(w->prefix, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	struct link_job job = {.prefix_fd = fd,
			       .prefix = w->prefix,
			       .store = w->store,
			       .target = &w->target,
			       .before = w->before,
			       .history = w->history,
			       .requested_by = "slipway env create",
			       .opts = &w->opts};
	w->err = ERR_INIT;
	return link_all(&job, &w->arena, &w->report, &w->err);
}

static void lay_out_ok(struct world *w)
{
	CHECK_MSG(lay_out(w) == 0, "%s", w->err.msg);
}

static void lay_out_fails(struct world *w, enum err_code code, const char *word)
{
	CHECK(lay_out(w) < 0);
	CHECK_MSG(strstr(w->err.msg, word), "'%s' not in: %s", word, w->err.msg);
	CHECK_STR(err_code_name(w->err.code), err_code_name(code));
}

static char *slurp(struct world *w, const char *path, size_t *n)
{
	char full[2 * PATH_MAX];
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(1 << 26);
	snprintf(full, sizeof(full), "%s/%s", w->prefix, path);
	CHECK_MSG(fs_read(AT_FDCWD, full, &b, &e) == 0, "%s", e.msg);
	if (n)
		*n = b.n;
	return arena_strdup(&w->arena, buf_str(&b));
}

static struct stat lstat_of(const char *dir, const char *path)
{
	char full[2 * PATH_MAX];
	struct stat st = {0};
	snprintf(full, sizeof(full), "%s/%s", dir, path);
	CHECK_MSG(lstat(full, &st) == 0, "no '%s'", path);
	return st;
}

static bool there(struct world *w, const char *path)
{
	char full[2 * PATH_MAX];
	struct stat st;
	snprintf(full, sizeof(full), "%s/%s", w->prefix, path);
	return lstat(full, &st) == 0;
}

static const struct json *record(struct world *w, const char *name)
{
	char path[256];
	struct err e = ERR_INIT;
	size_t n;
	snprintf(path, sizeof(path), "conda-meta/%s.json", name);
	const char *text = slurp(w, path, &n);
	const struct json *j = json_parse(&w->arena, str_of(text, n), path, &e);
	CHECK_MSG(j, "%s", e.msg);
	return j;
}

static const struct json *record_path(struct world *w, const char *name, const char *path)
{
	const struct json *list = json_get(json_get(record(w, name), "paths_data"), "paths");
	for (uint32_t i = 0; list && i < list->n; i++) {
		if (str_eq_c(json_get(&list->item[i], "_path")->string, path))
			return &list->item[i];
	}
	return NULL;
}

static const char *member(const struct json *j, const char *key)
{
	const struct json *v = j ? json_get(j, key) : NULL;
	return v && v->type == JSON_STRING ? v->string.p : NULL;
}

static const char *hex_of(struct world *w, const char *text, size_t n)
{
	uint8_t digest[SHA256_SIZE];
	char *hex = arena_alloc(&w->arena, SHA256_HEX_SIZE);
	sha256(text, n, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	return hex;
}

/* == links and copies ============================================================================================= */
TEST(files_links_and_folders)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	file_bytes(p, "bin/tool", "#!/bin/sh\n", 10, 0755, "");
	file(p, "lib/a/libx.so.1", "library");
	softlink(p, "lib/a/libx.so", "libx.so.1");
	file(p, "etc/a.conf", "x=1");
	file_bytes(p, "share/own", "own", 3, 0644, ",\"no_link\":true");
	buf_printf(&p->paths, ",{\"_path\":\"var/empty\",\"path_type\":\"directory\"}");
	lay_out_ok(&w);
	CHECK_STR(slurp(&w, "lib/a/libx.so", NULL), "library");
	CHECK(S_ISLNK(lstat_of(w.prefix, "lib/a/libx.so").st_mode));
	CHECK(S_ISDIR(lstat_of(w.prefix, "var/empty").st_mode));
	CHECK_INT(lstat_of(w.prefix, "bin/tool").st_mode & 0777, 0755);
	struct stat from = lstat_of(p->dir, "lib/a/libx.so.1"), to = lstat_of(w.prefix, "lib/a/libx.so.1");
	bool linked = from.st_ino == to.st_ino;
	if (linked) { /* hard links: what may be written to is not shared */
		CHECK_INT(w.report.linked, 2);
		CHECK_INT(w.report.copied, 2);
	}
	CHECK(lstat_of(p->dir, "etc/a.conf").st_ino != lstat_of(w.prefix, "etc/a.conf").st_ino);
	CHECK(lstat_of(p->dir, "share/own").st_ino != lstat_of(w.prefix, "share/own").st_ino);
	CHECK_INT(lstat_of(p->dir, "share/own").st_mtim.tv_nsec, lstat_of(w.prefix, "share/own").st_mtim.tv_nsec);
	CHECK_INT(w.report.files, 5);
	CHECK_INT(json_get(json_get(record(&w, "a-1.0-0"), "link"), "type")->integer, linked ? 1 : 3);
	CHECK(!there(&w, "conda-meta/.probe"));
	CHECK(!there(&w, "info"));
	CHECK_STR(w.notes, "");
}

TEST(copy_never_links)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	file_bytes(p, "bin/tool", "text", 4, 0755, "");
	w.opts.copy = true;
	lay_out_ok(&w);
	CHECK_INT(w.report.copied, 1);
	CHECK_INT(lstat_of(p->dir, "bin/tool").st_nlink, 1);
	CHECK_INT(lstat_of(w.prefix, "bin/tool").st_mode & 0777, 0755);
	CHECK(!w.report.copied_why.p);
}

TEST(modes_do_not_depend_on_the_umask)
{
	for (unsigned mask = 0; mask <= 077; mask += 077) {
		auto_world w = {0};
		world(&w);
		snprintf(w.prefix, sizeof(w.prefix), "%s/env/e/%u", test_tmp(), mask + 2);
		mkdirs(w.prefix);
		struct package *p = package(&w, "a", "1.0");
		file_bytes(p, "bin/tool", "x", 1, 0755, "");
		file(p, "share/data", "y");
		w.opts.copy = true;
		umask(mask);
		lay_out_ok(&w);
		umask(022);
		CHECK_INT(lstat_of(w.prefix, "bin/tool").st_mode & 0777, 0755);
		CHECK_INT(lstat_of(w.prefix, "share/data").st_mode & 0777, 0644);
	}
}

TEST(another_file_system_means_copies_and_one_note)
{
	auto_world w = {0};
	struct stat here, shm;
	char other[] = "/dev/shm/slipway-test.XXXXXX";
	if (stat(test_tmp(), &here) < 0 || stat("/dev/shm", &shm) < 0 || here.st_dev == shm.st_dev || !mkdtemp(other))
		SKIP("no second file system in /dev/shm");
	world_at(&w, test_tmp(), other);
	struct package *p = package(&w, "a", "1.0");
	file(p, "x", "1");
	file(p, "y", "2");
	int r = lay_out(&w);
	struct err e = w.err;
	char *x = r == 0 ? slurp(&w, "x", NULL) : NULL;
	fs_remove_tree(AT_FDCWD, other, &w.err);
	CHECK_MSG(r == 0, "%s", e.msg);
	CHECK_STR(x, "1");
	CHECK_INT(w.report.copied, 2);
	CHECK_MSG(w.report.copied_why.p && strstr(w.report.copied_why.p, "one file system"), "no reason");
	CHECK(strstr(w.notes, "they are copied") && strchr(w.notes, '\n') == strrchr(w.notes, '\n'));
}

TEST(a_file_with_too_many_links_is_copied)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	char source[2 * PATH_MAX], other[PATH_MAX];
	int error = 0;
	file(p, "x", "1");
	file(p, "y", "2");
	snprintf(source, sizeof(source), "%s/x", p->dir);
	for (int i = 0; i < 70000 && error == 0; i++) {
		snprintf(other, sizeof(other), "%s/links%d", w.root, i / 1000);
		if (i % 1000 == 0)
			mkdir(other, 0755);
		snprintf(other, sizeof(other), "%s/links%d/%d", w.root, i / 1000, i);
		error = link(source, other) < 0 ? errno : 0;
	}
	if (error != EMLINK)
		SKIP("the file system has no limit near 65000 links");
	lay_out_ok(&w);
	CHECK_INT(w.report.copied, 1);
	CHECK_INT(w.report.linked, 1);
	CHECK(!w.report.copied_why.p);
	CHECK_STR(slurp(&w, "x", NULL), "1");
}

TEST(a_link_listed_as_a_file_stays_a_link)
{
	for (int copy = 0; copy < 2; copy++) {
		auto_world w = {0};
		world(&w);
		snprintf(w.prefix, sizeof(w.prefix), "%s/env/e/%d", test_tmp(), copy);
		mkdirs(w.prefix);
		struct package *p = package(&w, "a", "1.0");
		softlink(p, "lib/l", "real");
		file(p, "lib/real", "1");
		for (char *at = strstr(p->paths.p, "softlink"); at; at = NULL)
			memcpy(at, "hardlink", 8);
		w.opts.copy = copy;
		lay_out_ok(&w);
		CHECK(S_ISLNK(lstat_of(w.prefix, "lib/l").st_mode));
		CHECK_STR(slurp(&w, "lib/l", NULL), "1");
	}
}

TEST(a_file_that_the_tree_lacks_names_package_and_path)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	listed(p, "lib/gone", "hardlink", "x", 1, "");
	lay_out_fails(&w, ERR_NOT_FOUND, "package 'a-1.0-0.conda': 'lib/gone'");
}

/* == placeholders ================================================================================================= */
#define HOLDER                                                                                                         \
	"/opt/placeholder/placehold_placehold_placehold_placehold_placehold_placehold_placehold_placehold_placehold"

TEST(text_files_get_the_prefix)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	const char *text = "a=" HOLDER "/lib\nb=" HOLDER HOLDER "\n";
	file_bytes(p, "bin/conf", text, strlen(text), 0755,
		   ",\"prefix_placeholder\":\"" HOLDER "\",\"file_mode\":\"text\"");
	lay_out_ok(&w);
	size_t n;
	const char *got = slurp(&w, "bin/conf", &n);
	CHECK_STR(got, arena_printf(&w.arena, "a=%s/lib\nb=%s%s\n", w.prefix, w.prefix, w.prefix));
	CHECK_INT(lstat_of(w.prefix, "bin/conf").st_mode & 0777, 0755);
	const struct json *j = record_path(&w, "a-1.0-0", "bin/conf");
	CHECK_STR(member(j, "sha256_in_prefix"), hex_of(&w, got, n));
	CHECK_STR(member(j, "sha256"), hex_of(&w, text, strlen(text)));
	CHECK_STR(member(j, "prefix_placeholder"), HOLDER);
	CHECK_INT(json_get(j, "size_in_bytes")->integer, (int64_t)n);
	CHECK_INT(w.report.patched, 1);
	CHECK_INT(lstat_of(p->dir, "bin/conf").st_size, (int64_t)strlen(text));
}

TEST(binary_files_keep_their_size)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	static const char data[] = "\177ELF\0" HOLDER "/lib:" HOLDER "/lib64\0after\0" HOLDER;
	file_bytes(p, "lib/x.so", data, sizeof(data) - 1, 0644,
		   ",\"prefix_placeholder\":\"" HOLDER "\",\"file_mode\":\"binary\"");
	lay_out_ok(&w);
	size_t n, at = 5;
	const char *got = slurp(&w, "lib/x.so", &n);
	CHECK_INT(n, sizeof(data) - 1);
	const char *want = arena_printf(&w.arena, "%s/lib:%s/lib64", w.prefix, w.prefix);
	CHECK(strcmp(got + at, want) == 0);
	for (at += strlen(want); at < sizeof("\177ELF\0" HOLDER "/lib:" HOLDER "/lib64"); at++)
		CHECK_INT(got[at - 1 + 1] && at < sizeof("\177ELF\0" HOLDER "/lib:" HOLDER "/lib64") - 1, 0);
	CHECK(memcmp(got + sizeof("\177ELF\0" HOLDER "/lib:" HOLDER "/lib64"), "after", 6) == 0);
	CHECK_STR(got + sizeof("\177ELF\0" HOLDER "/lib:" HOLDER "/lib64\0after"), w.prefix);
	CHECK_STR(member(record_path(&w, "a-1.0-0", "lib/x.so"), "sha256_in_prefix"), hex_of(&w, got, n));
}

TEST(a_prefix_too_long_for_a_binary_says_how_long_it_may_be)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	file_bytes(p, "lib/x.so", "x/short\0", 8, 0644, ",\"prefix_placeholder\":\"/short\",\"file_mode\":\"binary\"");
	lay_out_fails(&w, ERR_INPUT, "package 'a-1.0-0.conda': 'lib/x.so': the prefix");
	CHECK(strstr(w.err.msg, "at most 6 fit"));
}

TEST(a_digest_of_a_link_is_that_of_its_target)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	softlink(p, "lib/l", "../share/./conf");
	softlink(p, "lib/gone", "nothing");
	file_bytes(p, "share/conf", HOLDER, strlen(HOLDER), 0644, ",\"prefix_placeholder\":\"" HOLDER "\"");
	lay_out_ok(&w);
	CHECK_STR(member(record_path(&w, "a-1.0-0", "lib/l"), "sha256_in_prefix"),
		  hex_of(&w, w.prefix, strlen(w.prefix)));
	CHECK_STR(member(record_path(&w, "a-1.0-0", "lib/gone"), "sha256_in_prefix"), NULL);
}

/* == what packages say ============================================================================================ */
TEST(old_packages_have_files_has_prefix_and_no_link)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	file(p, "bin/x", "#!/opt/anaconda1anaconda2anaconda3/bin/sh\n");
	file(p, "bin/y y", "see /build/root\n");
	file(p, "bin/z", "z");
	file(p, "bin/unlisted", "u");
	softlink(p, "bin/l", "z");
	buf_release(&p->paths);
	info(p, "files", "bin/x\nbin/y y\nbin/z\nbin/l\ninfo/index.json\n");
	info(p, "has_prefix", "bin/x\n/build/root text \"bin/y y\"\n");
	info(p, "no_link", "bin/z\n");
	lay_out_ok(&w);
	char *interpreter = arena_printf(&w.arena, "#!%s/bin/sh\n", w.prefix);
	CHECK_STR(slurp(&w, "bin/x", NULL), interpreter);
	CHECK_STR(slurp(&w, "bin/y y", NULL), arena_printf(&w.arena, "see %s\n", w.prefix));
	CHECK(!there(&w, "bin/unlisted"));
	CHECK(S_ISLNK(lstat_of(w.prefix, "bin/l").st_mode));
	CHECK_INT(lstat_of(p->dir, "bin/z").st_nlink, 1);
	CHECK_STR(member(record_path(&w, "a-1.0-0", "bin/z"), "sha256_in_prefix"), hex_of(&w, "z", 1));
}

TEST(a_package_without_a_list_is_taken_as_it_is)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	file(p, "lib/x", "x");
	softlink(p, "lib/l", "x");
	buf_release(&p->paths);
	lay_out_ok(&w);
	CHECK_STR(slurp(&w, "lib/l", NULL), "x");
	CHECK(!there(&w, "info"));
	CHECK(record_path(&w, "a-1.0-0", "lib/x"));
}

TEST(hostile_paths_are_refused)
{
	static const char *const bad[] = {
		"../x", "/etc/x",    "a/../../x", "conda-meta/x.json", "conda-meta", "a//b",
		"./x",	"a/\\u0001", "",	  ".slipway-tree",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_world w = {0};
		world(&w);
		struct package *p = package(&w, "a", "1.0");
		listed(p, bad[i], "hardlink", "x", 1, "");
		CHECK_MSG(lay_out(&w) < 0, "'%s' is taken", bad[i]);
		CHECK_MSG(strstr(w.err.msg, "package 'a-1.0-0.conda'"), "%s", w.err.msg);
		CHECK_INT(w.err.code, ERR_INPUT);
	}
}

TEST(other_members_of_paths_json_are_checked)
{
	static const struct {
		const char *more, *word;
	} bad[] = {
		{",\"file_mode\":\"odd\"", "file_mode 'odd'"},
		{",\"sha256\":\"12\"", "sha256 is not one"},
		{",\"size_in_bytes\":-1", "negative"},
		{",\"path_type\":\"device\"", "path_type 'device'"},
		{",\"no_link\":7", "no_link"},
		{",\"prefix_placeholder\":\"a\\u0000b\"", "holds a NUL"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_world w = {0};
		world(&w);
		struct package *p = package(&w, "a", "1.0");
		file_bytes(p, "x", "x", 1, 0644, bad[i].more);
		CHECK_MSG(lay_out(&w) < 0, "'%s' is taken", bad[i].more);
		CHECK_MSG(strstr(w.err.msg, bad[i].word), "%s", w.err.msg);
	}
}

TEST(one_package_may_not_have_two_things_at_a_path)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	file(p, "x", "x");
	file(p, "x", "x");
	lay_out_ok(&w);
	CHECK_INT(w.report.files, 1);
	world(&w);
	snprintf(w.prefix, sizeof(w.prefix), "%s/env/e/2", test_tmp());
	mkdirs(w.prefix);
	p = package(&w, "b", "1.0");
	file(p, "x", "x");
	listed(p, "x", "hardlink", "y", 1, "");
	lay_out_fails(&w, ERR_INPUT, "package 'b-1.0-0.conda' has two different things at 'x'");
}

/* == paths that two packages bring ================================================================================ */
static void check_clobber(struct world *w, size_t i, const char *path, const char *winner, const char *loser)
{
	CHECK(i < w->report.clobbers_n);
	CHECK_STR(w->report.clobbers[i].path.p, path);
	CHECK_STR(w->report.clobbers[i].winner.p, arena_printf(&w->arena, "%s-1.0-0.conda", winner));
	CHECK_STR(w->report.clobbers[i].loser.p, arena_printf(&w->arena, "%s-1.0-0.conda", loser));
}

TEST(the_package_linked_last_has_a_path)
{
	auto_world w = {0};
	world(&w);
	file(package(&w, "a", "1.0"), "d/x", "from a");
	file(package(&w, "b", "1.0"), "d/x", "from b");
	file(package(&w, "c", "1.0"), "d/x", "from c");
	lay_out_ok(&w);
	CHECK_STR(slurp(&w, "d/x", NULL), "from c");
	CHECK_INT(w.report.clobbers_n, 2);
	check_clobber(&w, 0, "d/x", "c", "a");
	check_clobber(&w, 1, "d/x", "c", "b");
	CHECK(!record_path(&w, "a-1.0-0", "d/x") && record_path(&w, "c-1.0-0", "d/x"));
	CHECK_STR(w.notes, "1 path is brought by more than one package; the package linked last has it\n");
}

TEST(clobbering_can_be_refused)
{
	auto_world w = {0};
	world(&w);
	file(package(&w, "a", "1.0"), "x", "1");
	file(package(&w, "b", "1.0"), "x", "2");
	w.opts.clobber = ENV_CLOBBER_REFUSE;
	lay_out_fails(&w, ERR_EXISTS, "'x', by 'a-1.0-0.conda' and 'b-1.0-0.conda'");
	CHECK(!there(&w, "x"));
}

TEST(the_same_content_is_no_conflict)
{
	auto_world w = {0};
	world(&w);
	file(package(&w, "a", "1.0"), "x", "1");
	file(package(&w, "b", "1.0"), "x", "1");
	w.opts.clobber = ENV_CLOBBER_REFUSE;
	lay_out_ok(&w);
	CHECK_INT(w.report.clobbers_n, 1);
	CHECK(w.report.clobbers[0].same);
	CHECK_STR(w.notes, "");
}

TEST(a_file_and_a_folder_of_one_name)
{
	auto_world w = {0};
	world(&w);
	file(package(&w, "a", "1.0"), "x", "file");
	file(package(&w, "b", "1.0"), "x/one", "1");
	file(package(&w, "c", "1.0"), "x/two/deep", "2");
	lay_out_ok(&w);
	CHECK_STR(slurp(&w, "x/two/deep", NULL), "2");
	CHECK_INT(w.report.clobbers_n, 1);
	check_clobber(&w, 0, "x", "b", "a");
	CHECK(!record_path(&w, "a-1.0-0", "x"));
	world(&w);
	snprintf(w.prefix, sizeof(w.prefix), "%s/env/e/2", test_tmp());
	mkdirs(w.prefix);
	file(package(&w, "d", "1.0"), "x/one", "1");
	file(package(&w, "e", "1.0"), "x/two/deep", "2");
	file(package(&w, "f", "1.0"), "x", "file");
	lay_out_ok(&w);
	CHECK_STR(slurp(&w, "x", NULL), "file");
	CHECK_INT(w.report.clobbers_n, 2);
	check_clobber(&w, 0, "x/one", "f", "d");
	check_clobber(&w, 1, "x/two/deep", "f", "e");
	/* and back again */
	world(&w);
	snprintf(w.prefix, sizeof(w.prefix), "%s/env/e/3", test_tmp());
	mkdirs(w.prefix);
	file(package(&w, "g", "1.0"), "x/one", "1");
	file(package(&w, "h", "1.0"), "x", "file");
	file(package(&w, "i", "1.0"), "x/one", "3");
	lay_out_ok(&w);
	CHECK_STR(slurp(&w, "x/one", NULL), "3");
}

TEST(files_below_another_packages_folder_link_go_where_it_leads)
{
	auto_world w = {0};
	world(&w);
	file(package(&w, "a", "1.0"), "lib64/x.so", "x"); /* before the link is known in link order */
	struct package *b = package(&w, "b", "1.0");
	softlink(b, "lib64", "lib");
	file(b, "lib/b.so", "b");
	struct package *c = package(&w, "c", "1.0");
	file(c, "lib64/y.so", "y");
	softlink(c, "lib64/l.so", "y.so");
	lay_out_ok(&w);
	CHECK(S_ISLNK(lstat_of(w.prefix, "lib64").st_mode));
	CHECK(S_ISREG(lstat_of(w.prefix, "lib/x.so").st_mode));
	CHECK_STR(slurp(&w, "lib64/l.so", NULL), "y");
	CHECK_INT(w.report.clobbers_n, 0);
	CHECK(record_path(&w, "a-1.0-0", "lib/x.so") && !record_path(&w, "a-1.0-0", "lib64/x.so"));
}

TEST(nothing_is_written_through_a_link_that_leads_out)
{
	static const char *const targets[] = {"../../..", "/tmp", ".", "self/..", "dir/inner"};
	for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
		auto_world w = {0};
		world(&w);
		snprintf(w.prefix, sizeof(w.prefix), "%s/env/e/%zu", test_tmp(), i + 2);
		mkdirs(w.prefix);
		softlink(package(&w, "a", "1.0"), "dir", targets[i]);
		file(package(&w, "b", "1.0"), "dir/stolen", "x");
		lay_out_ok(&w);
		/* the folder is b's; the link loses. "." leads to the prefix itself, so that the file is there */
		CHECK(there(&w, "dir/stolen"));
		CHECK(access("/tmp/stolen", F_OK) < 0);
		if (strcmp(targets[i], ".") != 0) {
			CHECK(S_ISDIR(lstat_of(w.prefix, "dir").st_mode));
			check_clobber(&w, 0, "dir", "b", "a");
		}
	}
}

TEST(links_in_a_ring_end)
{
	auto_world w = {0};
	world(&w);
	struct package *a = package(&w, "a", "1.0");
	softlink(a, "x", "y");
	softlink(a, "y", "x");
	struct package *b = package(&w, "b", "1.0");
	file(b, "x/f", "1");
	file(b, "y/g", "1");
	lay_out_fails(&w, ERR_INPUT, "without end");
}

/* == noarch Python ================================================================================================ */
/* `python`: a package whose interpreter is the machine's. */
static void add_python(struct world *w, const char *site_packages)
{
	struct package *p = package(w, "python", "3.11.2");
	const char *script = "#!/bin/sh\nexec python3 \"$@\"\n";
	file_bytes(p, "bin/python3.11", script, strlen(script), 0755, "");
	if (site_packages)
		p->lock->record.python_site_packages_path = str_c(site_packages);
}

static struct package *noarch(struct world *w, const char *name)
{
	struct package *p = package(w, name, "1.0");
	p->lock->record.noarch = STR("python");
	info(p, "link.json",
	     "{\"noarch\":{\"type\":\"python\",\"entry_points\":[\"hello = hello.main:run\"]},"
	     "\"package_metadata_version\":1}");
	return p;
}

static bool machine_has_python(void)
{
	return system("python3 -c 'import py_compile' >/dev/null 2>&1") == 0;
}

TEST(noarch_python_modules_scripts_and_entry_points)
{
	auto_world w = {0};
	world(&w);
	add_python(&w, NULL);
	struct package *p = noarch(&w, "hello");
	const char *module = "import sys\ndef run():\n    print('hello', sys.argv[1])\n    return 3\n";
	file(p, "site-packages/hello/__init__.py", "");
	file(p, "site-packages/hello/main.py", module);
	file(p, "site-packages/hello/broken.py", "def (:\n");
	file(p, "site-packages/hello/data.txt", "d");
	file(p, "python-scripts/old", "#!/bin/sh\n");
	lay_out_ok(&w);
	CHECK_STR(slurp(&w, "lib/python3.11/site-packages/hello/main.py", NULL), module);
	CHECK_STR(slurp(&w, "bin/old", NULL), "#!/bin/sh\n");
	CHECK_INT(lstat_of(w.prefix, "bin/hello").st_mode & 0777, 0755);
	CHECK_STR(member(record_path(&w, "hello-1.0-0", "bin/hello"), "path_type"), "unix_python_entry_point");
	CHECK_STR(member(record_path(&w, "hello-1.0-0", "bin/hello"), "sha256"), NULL);
	if (!machine_has_python())
		SKIP("no python3 to compile with");
	CHECK_INT(w.report.compiled, 2);
	CHECK_INT(w.report.not_compiled, 1);
	const struct json *list = json_get(json_get(record(&w, "hello-1.0-0"), "paths_data"), "paths");
	unsigned compiled = 0;
	for (uint32_t i = 0; i < list->n; i++) {
		if (strcmp(member(&list->item[i], "path_type"), "pyc_file") != 0)
			continue;
		compiled++;
		CHECK(there(&w, member(&list->item[i], "_path")));
	}
	CHECK_INT(compiled, 2);
	char *run = arena_printf(&w.arena, "PYTHONPATH=%s/lib/python3.11/site-packages %s/bin/hello you >%s/out",
				 w.prefix, w.prefix, w.prefix);
	CHECK_INT(WEXITSTATUS(system(run)), 3);
	CHECK_STR(slurp(&w, "out", NULL), "hello you\n");
}

TEST(site_packages_may_be_elsewhere)
{
	auto_world w = {0};
	world(&w);
	add_python(&w, "lib/python3.11t/site-packages");
	file(noarch(&w, "hello"), "site-packages/hello.py", "");
	w.opts.no_pyc = true;
	lay_out_ok(&w);
	CHECK(there(&w, "lib/python3.11t/site-packages/hello.py"));
	CHECK_INT(w.report.compiled, 0);
	CHECK(!there(&w, "lib/python3.11t/site-packages/__pycache__"));
}

TEST(site_packages_outside_are_refused)
{
	static const char *const bad[] = {"../lib", "/usr/lib/python3", "conda-meta", "conda-meta/x"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_world w = {0};
		world(&w);
		add_python(&w, bad[i]);
		lay_out_fails(&w, ERR_INPUT, "python_site_packages_path");
	}
}

TEST(noarch_python_needs_a_python)
{
	auto_world w = {0};
	world(&w);
	file(noarch(&w, "hello"), "site-packages/hello.py", "");
	lay_out_fails(&w, ERR_INPUT, "has no 'python'");
}

TEST(entry_points_are_checked)
{
	static const char *const bad[] = {
		"no equals", "../x = a:b", "a/b = c:d", "x = a",    "x = a:b c", "x = a:b;import os",
		"x = a.:b",  "x = :b",	   " = a:b",	"x = 1a:b", ". = a:b",	 "x = a:b()",
	};
	struct str name, target;
	struct err e = ERR_INIT;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_MSG(pkg_entry_point_parse(str_c(bad[i]), &name, &target, &e) < 0, "'%s' is taken", bad[i]);
	CHECK(pkg_entry_point_parse(STR("a-b.c=m.n:f.g [extra]"), &name, &target, &e) == 0);
	CHECK(str_eq_c(name, "a-b.c") && str_eq_c(target, "m.n:f.g"));
}

TEST(an_interpreter_that_cannot_run_is_only_noted)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "python", "3.11.2");
	file_bytes(p, "bin/python3.11", "\177ELF no such machine", 20, 0755, "");
	file(noarch(&w, "hello"), "site-packages/hello.py", "");
	lay_out_ok(&w);
	CHECK_INT(w.report.not_compiled, 1);
	CHECK_MSG(strstr(w.notes, "not compiled"), "%s", w.notes);
}

/* == scripts ====================================================================================================== */
TEST(scripts_are_not_run_unless_allowed)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	file(p, "bin/.a-post-link.sh", "touch $PREFIX/was-run\n");
	file(p, "bin/.b-post-link.sh", "exit 1\n"); /* of no package of that name */
	lay_out_ok(&w);
	CHECK(!there(&w, "was-run"));
	CHECK_INT(w.report.scripts_n, 1);
	CHECK_STR(w.report.scripts[0].p, "a: bin/.a-post-link.sh (not run: not allowed)");
}

TEST(allowed_scripts_run_in_the_activated_environment)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "2.5");
	p->lock->record.build_number = 7;
	file(p, "etc/conda/activate.d/a.sh", "export FROM_ACTIVATE=1\n");
	file(p, "bin/.a-pre-link.sh", "echo pre $PKG_NAME >>$PREFIX/.messages.txt\n");
	file(p, "bin/.a-post-link.sh",
	     "[[ $FROM_ACTIVATE = 1 ]] || return 1\n"
	     "case $PATH in $PREFIX/bin:*) ;; *) return 2 ;; esac\n"
	     "[ -z \"$ROOT_PREFIX\" ] || return 3\n"
	     "echo \"$PKG_NAME $PKG_VERSION $PKG_BUILDNUM $V\" >>$PREFIX/.messages.txt\n"
	     "return 0\n");
	const struct env_variable v = {STR("V"), STR("from state")};
	w.target.variables = &v;
	w.target.variables_n = 1;
	w.opts.allow_scripts = true;
	lay_out_ok(&w);
	CHECK_STR(w.report.messages.p, "pre a\na 2.5 7 from state\n");
	CHECK(!there(&w, ".messages.txt"));
	CHECK_INT(w.report.scripts_n, 2);
	CHECK_STR(w.report.scripts[1].p, "a: bin/.a-post-link.sh (run)");
}

TEST(a_failing_post_link_script_fails_the_lay_out)
{
	auto_world w = {0};
	world(&w);
	file(package(&w, "a", "1.0"), "bin/.a-post-link.sh", "echo first; echo no luck >&2; exit 9\n");
	w.opts.allow_scripts = true;
	lay_out_fails(&w, ERR_FAILED, "post-link script of package 'a-1.0-0.conda': it exits with 9: no luck");
}

TEST(a_script_that_writes_into_a_file_does_not_reach_the_store)
{
	auto_world w = {0};
	world(&w);
	struct package *a = package(&w, "a", "1.0");
	file(a, "bin/file", "old\n");
	file(package(&w, "b", "1.0"), "bin/.b-post-link.sh", "echo new >$PREFIX/bin/file\n");
	w.opts.allow_scripts = true;
	lay_out_ok(&w);
	CHECK_STR(slurp(&w, "bin/file", NULL), "new\n");
	char store[2 * PATH_MAX];
	auto_buf text = BUF_INIT(64);
	snprintf(store, sizeof(store), "%s/bin/file", a->dir);
	CHECK(fs_read(AT_FDCWD, store, &text, &w.err) == 0);
	CHECK_STR(text.p, "old\n");
}

/* == records ====================================================================================================== */
TEST(the_record_holds_what_the_channel_says)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	static const struct str depends[] = {{"b >=1", 5}, {"c", 1}};
	struct pkg_record *r = &p->lock->record;
	r->depends = depends;
	r->depends_n = 2;
	r->size = 1234;
	r->license = STR("MIT");
	r->has_md5 = true;
	r->extra_json = STR("\"arch\":\"x86_64\",\"platform\":null,\"files\":[\"/etc/passwd\"],\"app\":{\"x\":[1,2]}");
	p->lock->requested = true;
	p->lock->requested_spec = STR("a >=0.5");
	info(p, "index.json", "{\"depends\":[\"outdated\"]}");
	file(p, "x", "1");
	lay_out_ok(&w);
	const struct json *j = record(&w, "a-1.0-0");
	CHECK_STR(member(j, "channel"), "https://example.org/ch");
	CHECK_STR(member(j, "url"), "https://example.org/ch/linux-64/a-1.0-0.conda");
	CHECK_STR(member(j, "license"), "MIT");
	CHECK_STR(member(j, "arch"), "x86_64");
	CHECK_STR(member(j, "md5"), "00000000000000000000000000000000");
	CHECK_STR(json_get(j, "depends")->item[0].string.p, "b >=1");
	CHECK_INT(json_get(j, "size")->integer, 1234);
	CHECK_INT(json_get(j, "files")->n, 1);
	CHECK_STR(json_get(j, "files")->item[0].string.p, "x");
	CHECK_INT(json_get(json_get(j, "app"), "x")->n, 2);
	CHECK_STR(json_get(j, "requested_specs")->item[0].string.p, "a >=0.5");
	CHECK_STR(member(j, "extracted_package_dir"), p->dir);
	CHECK_STR(member(json_get(j, "link"), "source"), p->dir);
	CHECK(strstr(member(j, "package_tarball_full_path"), "/store/blob/sha256/"));
}

TEST(a_record_without_a_url_gets_its_channels)
{
	auto_world w = {0};
	world(&w);
	struct package *p = package(&w, "a", "1.0");
	p->lock->record.url = STR_NONE;
	file(p, "x", "1");
	lay_out_ok(&w);
	CHECK_STR(member(record(&w, "a-1.0-0"), "url"), "https://example.org/ch/linux-64/a-1.0-0.conda");
}

TEST(history_and_state)
{
	auto_world w = {0};
	world(&w);
	struct clock_fake clock = clock_fake_at(0, 1763700000000);
	struct str specs[] = {STR("a >=1"),
			      STR("b[version='>=1',build=\"x*\"]"),
			      STR("ch::c=2[extras=[x,y]]"),
			      STR("d[flags=['cuda:*']]"),
			      STR("e[build='x*']"),
			      STR("f[build=\"^\\d\"]"),
			      STR("not' a \"spec")};
	const struct env_variable v = {STR("X"), STR("y")};
	file(package(&w, "a", "1.0"), "x", "1");
	w.target.specs = specs;
	w.target.specs_n = 7;
	w.target.variables = &v;
	w.target.variables_n = 1;
	w.opts.clock = &clock.base;
	lay_out_ok(&w);
	const char *history = slurp(&w, "conda-meta/history", NULL);
	CHECK_MSG(strstr(history, "==> 2025-11-21 04:40:00 <==\n# cmd: slipway env create\n# slipway version: ") ==
			  history,
		  "%s", history);
	const char *asked = strstr(history, "\n+https://example.org/ch/linux-64::a-1.0-0\n");
	CHECK(asked);
	CHECK_STR(strstr(asked, "# "),
		  "# update specs: ['a >=1', \"b[version='>=1',build='x*']\", \"ch::c[version='=2']\", 'd', "
		  "\"e[build='x*']\", 'f[build=\"^\\\\d\"]', \"not' a \\\"spec\"]\n");
	CHECK(strstr(slurp(&w, "conda-meta/state", NULL), "\"env_vars\": {\n    \"X\": \"y\""));
}

/* Others replay it; so it goes on from what they wrote, and has each change once. */
TEST(history_goes_on)
{
	auto_world w = {0};
	world(&w);
	struct clock_fake clock = clock_fake_at(0, 1763700000000);
	struct str old_specs[] = {STR("a"), STR("B >=1"), STR("nameless-is-skipped ==="),
				  STR("https://example.org/ch::b=2")};
	struct str specs[] = {STR("a=2")};
	struct env_spec_file before = {.specs = old_specs, .specs_n = 4};
	file(package(&w, "a", "2.0"), "x", "1");
	file(package(&w, "c", "1.0"), "y", "1");
	file(package(&w, "d", "1.0"), "z", "1");
	w.target.specs = specs;
	w.target.specs_n = 1;
	w.opts.clock = &clock.base;
	w.before = &before;
	w.history = STR("==> 2025-01-01 00:00:00 <==\n# cmd: x\n+https://example.org/ch/linux-64::a-1.0-0\n"
			"+https://example.org/ch/linux-64::b-2-0\n+https://example.org/ch/linux-64::c-1.0-0\n"
			"+https://example.org/ch/linux-64::d-1.0-0\n+named/linux-64::gone-1-0\n"
			"==> 2025-01-02 00:00:00 <==\n-named/linux-64::gone-1-0\n"
			"-https://example.org/ch/linux-64::c-1.0-0\n+named/linux-64::c-1.0-0\n"
			"-named/linux-64::d-1.0-0\n-\n+ \nnonsense");
	lay_out_ok(&w);
	const char *text = slurp(&w, "conda-meta/history", NULL);
	CHECK(strncmp(text, w.history.p, w.history.n) == 0);
	const char *last = strstr(text, "\nnonsense\n==> 2025-11-21 04:40:00 <==\n# cmd: slipway env create\n");
	CHECK_MSG(last, "%s", text);
	CHECK_STR(strstr(last, "\n-"), "\n-https://example.org/ch/linux-64::a-1.0-0\n"
				       "-https://example.org/ch/linux-64::b-2-0\n"
				       "+https://example.org/ch/linux-64::d-1.0-0\n"
				       "+https://example.org/ch/linux-64::a-2.0-0\n"
				       "# remove specs: ['b']\n# update specs: ['a=2']\n");
}

TEST(an_environment_without_packages_is_one)
{
	auto_world w = {0};
	world(&w);
	lay_out_ok(&w);
	const char *text = slurp(&w, "conda-meta/history", NULL);
	CHECK_MSG(strncmp(text, "==> ", 4) == 0 && !strstr(text, "specs"), "%s", text);
}

TEST(threads_do_not_change_what_is_written)
{
	static char first[1 << 16];
	for (unsigned threads = 1; threads <= 3; threads++) {
		auto_world w = {0};
		world(&w);
		snprintf(w.prefix, sizeof(w.prefix), "%s/env/e/1", test_tmp());
		for (unsigned i = 0; i < 4; i++) {
			char name[8], path[64];
			snprintf(name, sizeof(name), "p%u", i);
			struct package *p = package(&w, name, "1.0");
			for (unsigned k = 0; k < 1200; k++) {
				snprintf(path, sizeof(path), "lib/d%u/f%u", k % 7, k);
				if (threads == 1)
					file(p, path, name);
				else
					listed(p, path, "hardlink", name, strlen(name), "");
			}
		}
		w.opts.threads = threads;
		lay_out_ok(&w);
		CHECK_INT(w.report.files, 1200);
		CHECK_INT(w.report.clobbers_n, 3600);
		const char *text = slurp(&w, "conda-meta/p3-1.0-0.json", NULL);
		if (threads == 1)
			snprintf(first, sizeof(first), "%s", text);
		CHECK(strncmp(first, text, sizeof(first) - 1) == 0);
		fs_remove_tree(AT_FDCWD, w.prefix, &w.err);
	}
}
