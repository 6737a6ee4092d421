// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "lib/test.h"
#include "channel/deb.h"
#include "lib/deb.h"

static struct err e;
static struct arena arena;

static const char *in_tmp(const char *name)
{
	CHECK_INT(mkdir(test_tmp(), 0700) == 0 || errno == EEXIST, 1);
	return arena_printf(&arena, "%s/%s", test_tmp(), name);
}

static const char *make(const char *name, const char *version, const char *arch, const char *more)
{
	auto_buf b = BUF_INIT(1 << 20);
	const char *path = in_tmp(arena_printf(&arena, "%s_%s_%s.deb", name, version, arch));
	const char *control =
		arena_printf(&arena, "Package: %s\nVersion: %s\nArchitecture: %s\n%sDescription: of the tests\n more\n",
			     name, version, arch, more);
	deb_put(&b, str_c(control));
	CHECK_INT(fs_replace(AT_FDCWD, path, b.p, b.n, 0, &e), 0);
	return path;
}

static const struct channel_kind *deb(void)
{
	return channel_kind(STR("deb"));
}

static int64_t now_ms = INT64_C(1800000000000);

static int publish_to(const char *suite, const char *const *files, size_t n, bool replace)
{
	const struct channel_make_opts o = {.now_ms = now_ms, .suite = str_c(suite), .replace = replace};
	now_ms += 1000;
	return channel_kind_publish(deb(), in_tmp("ch"), files, n, &o, NULL, &e);
}

static void publish(const char *file)
{
	CHECK_MSG(publish_to("", &file, 1, false) == 0, "%s", e.msg);
}

static struct str slurp(const char *path)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	CHECK_MSG(fs_read(AT_FDCWD, in_tmp(path), &b, &e) == 0, "%s", e.msg);
	return arena_str(&arena, buf_str(&b));
}

static bool lists(const char *path, const char *what)
{
	return str_search(slurp(path), str_c(what)) >= 0;
}

/* "name version" of each stanza, in order. */
static const char *names(const char *path)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	auto_ptr(istream) in = istream_mem(slurp(path), "index");
	auto_deb_reader r;
	struct str s;
	deb_reader_init(&r, in);
	while (deb_next(&r, &s, &e) > 0)
		buf_printf(&b, "%.*s %.*s\n", STR_ARG(deb_value(s, "Package")), STR_ARG(deb_value(s, "Version")));
	return arena_strdup(&arena, buf_str(&b));
}

#define AMD64 "ch/dists/stable/main/binary-amd64/Packages"
#define ALL "ch/dists/stable/main/binary-all/Packages"
#define ARM64 "ch/dists/stable/main/binary-arm64/Packages"

/* Whatever InRelease or Release names is there and what it says, and every package too. */
static int tell(void *ctx, const struct channel_item *item, struct err *err)
{
	size_t *packages = ctx;
	(void)err;
	if (item->what == CHANNEL_FILE_PACKAGE) {
		struct stat st;
		CHECK_INT(stat(in_tmp(arena_printf(&arena, "ch/%.*s", STR_ARG(item->path))), &st), 0);
		CHECK_INT((uint64_t)st.st_size, item->size);
		++*packages;
	} else if (item->what == CHANNEL_FILE_NAMED) {
		struct str text = slurp(arena_printf(&arena, "ch/%.*s", STR_ARG(item->path)));
		uint8_t sum[SHA256_SIZE];
		sha256(text.p, text.n, sum);
		CHECK_INT(memcmp(sum, item->digest.bytes, SHA256_SIZE), 0);
	}
	return 0;
}

static size_t check(void)
{
	auto_fd dir = open(in_tmp("ch"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_ptr(channel_walk) w = NULL;
	const struct channel_walk_opts o = {0};
	size_t n = 0;
	int rc;
	CHECK_MSG(channel_walk_new(deb(), dir, &o, &w, &e) == 0, "%s", e.msg);
	while ((rc = channel_walk_next(w, tell, &n, &e)) > 0)
		;
	CHECK_MSG(rc == 0, "%s", e.msg);
	return n;
}

TEST(each_architecture_has_its_packages_and_those_for_all)
{
	publish(make("b", "1.0", "all", ""));
	CHECK_STR(names(ALL), "b 1.0\n");
	publish(make("a", "1:2.0-1", "amd64", "Source: liba (3)\n"));
	CHECK_STR(names(AMD64), "a 1:2.0-1\nb 1.0\n");
	CHECK(lists(AMD64, "Filename: pool/main/liba/liba/a_2.0-1_amd64.deb\n"));
	publish(make("a", "1:2.0-1", "arm64", ""));
	CHECK_STR(names(ARM64), "a 1:2.0-1\nb 1.0\n");
	CHECK_STR(names(ALL), "b 1.0\n");
	publish(make("b", "0.9~rc1", "all", ""));
	CHECK_STR(names(AMD64), "a 1:2.0-1\nb 0.9~rc1\nb 1.0\n");
	CHECK(lists("ch/dists/stable/Release", "Architectures: all amd64 arm64\nComponents: main\n"));
	CHECK_INT(check(), 2 + 3 + 3);
}

TEST(the_order_of_publishing_does_not_matter)
{
	const char *files[] = {make("a", "1", "amd64", ""), make("b", "1", "all", ""), make("c", "10", "amd64", ""),
			       make("c", "9", "amd64", "")};
	CHECK_INT(publish_to("x", files, 4, false), 0);
	for (size_t i = 4; i-- > 0;)
		CHECK_INT(publish_to("y", &files[i], 1, false), 0);
	CHECK(str_eq(slurp("ch/dists/x/main/binary-amd64/Packages.xz"),
		     slurp("ch/dists/y/main/binary-amd64/Packages.xz")));
	CHECK(str_eq(slurp("ch/dists/x/main/binary-all/Packages.gz"), slurp("ch/dists/y/main/binary-all/Packages.gz")));
	CHECK_INT(check(), 2 * (1 + 4));
}

static size_t entries(const char *folder)
{
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	return fs_list(AT_FDCWD, in_tmp(folder), 10000, &list, &ignored) < 0 ? 0 : list.n;
}

TEST(what_nobody_names_any_more_goes_after_a_day)
{
	enum { EACH = 3 }; /* plain, gz, xz */
	publish(make("a", "1", "amd64", ""));
	for (int i = 2; i < 8; i++)
		publish(make("a", arena_printf(&arena, "%d", i), "amd64", ""));
	/* all of one day are kept, and the small Release that stays the same */
	CHECK_INT(entries("ch/dists/stable/main/binary-amd64/by-hash/SHA256"), 7 * EACH + 1);
	now_ms += INT64_C(25) * 3600 * 1000;
	publish(make("a", "8", "amd64", ""));
	CHECK_INT(entries("ch/.slipway/deb/stable"), 3);
	CHECK_INT(entries("ch/dists/stable/main/binary-amd64/by-hash/SHA256"), 4 * EACH + 1);
	CHECK_INT(check(), 8);
}

TEST(a_hundred_generations_in_a_day_are_bounded)
{
	const struct channel_make_opts o = {.now_ms = now_ms};
	publish(make("a", "1", "amd64", ""));
	for (int i = 0; i < 60; i++) {
		struct channel_make_opts later = o;
		later.now_ms += 1000 * i;
		CHECK_MSG(channel_kind_publish(deb(), in_tmp("ch"), NULL, 0, &later, NULL, &e) == 0, "%s", e.msg);
	}
	CHECK_INT(entries("ch/.slipway/deb/stable"), 50);
}

TEST(other_content_only_where_it_is_said)
{
	const char *file = make("a", "1", "amd64", "");
	publish(file);
	struct str before = slurp(AMD64);
	file = make("a", "1", "amd64", "Section: other\n");
	CHECK_INT(publish_to("", &file, 1, false), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	CHECK(str_eq(before, slurp(AMD64)));
	CHECK_MSG(publish_to("", &file, 1, true) == 0, "%s", e.msg);
	CHECK_STR(names(AMD64), "a 1\n");
	CHECK(lists(AMD64, "Section: other"));
	CHECK_INT(check(), 1);
	const char *twice[] = {file, file};
	CHECK_INT(publish_to("", twice, 2, false), -1);
	CHECK_INT(e.code, ERR_USAGE);
}

static int remove_from(const char *suite, const char *path, enum channel_removal how)
{
	const struct channel_make_opts o = {.now_ms = now_ms, .suite = str_c(suite)};
	struct str s = str_c(path);
	now_ms += 1000;
	return channel_kind_remove(deb(), in_tmp("ch"), &s, 1, how, STR_NONE, &o, &e);
}

TEST(packages_are_taken_out)
{
	const char *files[] = {make("a", "1", "amd64", ""), make("b", "1", "all", ""), make("c", "1", "arm64", "")};
	CHECK_INT(publish_to("stable", files, 3, false), 0);
	CHECK_INT(publish_to("next", files, 3, false), 0);
	CHECK_INT(remove_from("", "pool/main/x/x/x_1_all.deb", CHANNEL_DROP), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(remove_from("", "../x", CHANNEL_DROP), -1);
	CHECK_INT(e.code, ERR_USAGE);
	/* from one suite: another lists its file still */
	CHECK_MSG(remove_from("stable", "pool/main/b/b/b_1_all.deb", CHANNEL_DROP) == 0, "%s", e.msg);
	CHECK_STR(names(AMD64), "a 1\n");
	CHECK_STR(names(ARM64), "c 1\n");
	CHECK_STR(names(ALL), "");
	CHECK_STR(names("ch/dists/next/main/binary-all/Packages"), "b 1\n");
	check();
	CHECK_INT(remove_from("", "pool/main/b/b/b_1_all.deb", CHANNEL_DROP), 0);
	CHECK(!fs_exists(AT_FDCWD, in_tmp("ch/pool/main/b")));
	CHECK_INT(remove_from("", "pool/main/a/a/a_1_amd64.deb", CHANNEL_YANK), 0);
	CHECK(fs_exists(AT_FDCWD, in_tmp("ch/pool/main/a/a/a_1_amd64.deb")));
	CHECK_INT(check(), 2);
}

static int keep_b(void *ctx, const struct channel_item *item, struct err *err)
{
	(void)ctx;
	(void)err;
	CHECK(item->digest.known && item->path.n && item->size);
	return str_eq_c(item->name, "b");
}

TEST(a_part_of_another_archive)
{
	const char *files[] = {make("a", "1", "amd64", ""), make("b", "1", "all", ""), make("b", "2", "all", "")};
	const struct str amd64 = STR("amd64");
	const struct channel_walk_opts from = {.platforms = &amd64, .platforms_n = 1};
	const struct channel_make_opts o = {.now_ms = now_ms, .label = STR("part")};
	CHECK_INT(publish_to("", files, 3, false), 0);
	auto_fd dir = open(in_tmp("ch"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_MSG(channel_kind_rewrite(deb(), dir, &from, in_tmp("part"), &o, keep_b, NULL, &e) == 0, "%s", e.msg);
	CHECK_STR(names("part/dists/stable/main/binary-amd64/Packages"), "b 1\nb 2\n");
	/* byte for byte */
	CHECK(str_eq(slurp("part/dists/stable/main/binary-all/Packages"), slurp(ALL)));
	CHECK(lists("part/dists/stable/Release", "Label: part\nSuite: stable\n"));
	CHECK(!fs_exists(AT_FDCWD, in_tmp("part/pool")));
}

TEST(an_archive_that_another_tool_made)
{
	auto_buf release = BUF_INIT(1 << 20);
	static const char packages[] =
		"Package: a\nArchitecture: amd64\nVersion: 1\nFilename: pool/a.deb\nSize: 1\nSHA256: 00\n\n"
		"Package: z\nArchitecture: all\nVersion: 1\nFilename: pool/z.deb\nSize: 1\nSHA256: 00\n";
	uint8_t sum[SHA256_SIZE];
	sha256(packages, sizeof(packages) - 1, sum);
	buf_put_c(&release, "Origin: other\nSuite: stable\nCodename: thing\nVersion: 7\nSHA256:\n ");
	buf_put_hex(&release, sum, sizeof(sum));
	buf_printf(&release, " %zu main/binary-amd64/Packages\n", sizeof(packages) - 1);
	CHECK_INT(fs_mkdirs(AT_FDCWD, in_tmp("ch/dists/stable/main/binary-amd64"), 0755, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp(AMD64), packages, sizeof(packages) - 1, 0, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp("ch/dists/stable/Release"), release.p, release.n, 0, &e), 0);
	publish(make("m", "1", "arm64", ""));
	CHECK_STR(names(AMD64), "a 1\nz 1\n");
	CHECK_STR(names(ARM64), "m 1\nz 1\n");
	CHECK_STR(names(ALL), "z 1\n");
	CHECK(lists("ch/dists/stable/Release", "Origin: other\nSuite: stable\nCodename: thing\n"));
	CHECK(lists("ch/dists/stable/Release", "Version: 7\n"));
}

TEST(options_are_checked_and_a_dry_run_writes_nothing)
{
	const char *file = make("a", "1", "amd64", "");
	CHECK_INT(publish_to("../x", &file, 1, false), -1);
	CHECK_INT(e.code, ERR_USAGE);
	CHECK_INT(publish_to(".x", &file, 1, false), -1);
	struct channel_make_opts o = {.origin = STR("a\nSHA256: x")};
	CHECK_INT(channel_kind_publish(deb(), in_tmp("ch"), &file, 1, &o, NULL, &e), -1);
	CHECK_INT(e.code, ERR_USAGE);
	o = (struct channel_make_opts){.dry_run = true};
	CHECK_MSG(channel_kind_publish(deb(), in_tmp("none"), &file, 1, &o, NULL, &e) == 0, "%s", e.msg);
	CHECK(!fs_exists(AT_FDCWD, in_tmp("none")));
}

/* What the needs of a package come to, as text: "one|one given given", in the order in which they are told. */
static struct buf told;

static void put_set(struct channel_needs *n, struct channel_set s)
{
	for (size_t i = 0; i < s.n; i++) {
		const struct channel_candidate *c = channel_needs_candidate(n, s.v[i]);
		buf_printf(&told, "%s%.*s=%.*s", i ? "|" : "", STR_ARG(c->name), STR_ARG(c->version));
	}
}

static int tell_need(void *ctx, const struct channel_need *need, struct err *err)
{
	static const char *const kinds[] = {"", "?", "!"};
	(void)err;
	buf_put_c(&told, kinds[need->kind]);
	put_set(ctx, need->one);
	buf_put_c(&told, ";");
	return 0;
}

static const char *needs_of(struct channel_needs *n, const char *name, const char *version)
{
	buf_clear(&told);
	told.max = 1 << 20;
	for (uint32_t i = 0; i < channel_needs_count(n); i++) {
		const struct channel_candidate *c = channel_needs_candidate(n, i);
		if (str_eq_c(c->name, name) && str_eq_c(c->version, version))
			CHECK_MSG(channel_needs_tell(n, i, tell_need, n, &e) == 0, "%s", e.msg);
	}
	return told.n ? told.p : "";
}

static const char *asked(struct channel_needs *n, const char *text)
{
	buf_clear(&told);
	told.max = 1 << 20;
	return channel_needs_ask(n, str_c(text), tell_need, n, &e) < 0 ? NULL : told.p;
}

static struct channel_needs *needs_on(const char *platform)
{
	const struct channel_walk_opts from = {0};
	const struct channel_needs_opts o = {.platform = str_c(platform), .weak = true};
	struct channel_needs *n = NULL;
	auto_fd dir = open(in_tmp("ch"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_MSG(channel_needs_open(deb(), dir, &from, &o, &n, &e) == 0, "%s", e.msg);
	return n;
}

TEST(what_packages_need)
{
	const char *files[] = {
		make("app", "1", "amd64",
		     "Depends: tool (>= 2), mail, x:any | y, gone | other\nPre-Depends: base (<< 3)\n"
		     "Recommends: extra, nowhere\nConflicts: mta, app-old\nBreaks: tool (<< 2.10)\n"),
		make("app", "2", "arm64", "Depends: tool\n"),
		make("tool", "1", "amd64", ""),
		make("tool", "2.5~rc1", "amd64", ""),
		make("tool", "2.10", "amd64", "Depends: app, tool-data (= 2.10), absent (>= 9)\n"),
		make("tool-data", "2.10", "all", "Provides: tool-api (= 2), mail\n"),
		make("base", "2", "all", ""),
		make("base", "3", "all", ""),
		make("exim", "1", "amd64", "Priority: important\nProvides: mail (= 4), mta\nConflicts: mta\n"),
		make("zmail", "1", "amd64", "Provides: mail\nPriority: extra\n"),
		make("y", "1", "all", ""),
		make("x", "1", "amd64", ""),
		make("other", "1", "all", ""),
		make("extra", "1", "all", ""),
		make("bad", "1", "all", "Depends: y (>>>> 2)\n"),
	};
	CHECK_MSG(publish_to("", files, sizeof(files) / sizeof(*files), false) == 0, "%s", e.msg);
	auto_ptr(channel_needs) n = needs_on("amd64");
	CHECK_STR(needs_of(n, "app", "1"),
		  "base=2;tool=2.10|tool=2.5~rc1;exim=1|tool-data=2.10|zmail=1;x=1|y=1;other=1;"
		  "?extra=1;?;!exim=1;!tool=2.5~rc1|tool=1;");
	CHECK_STR(needs_of(n, "tool", "2.10"), "app=1;tool-data=2.10;;");
	/* what provides a name does not forbid itself */
	CHECK_STR(needs_of(n, "exim", "1"), "");
	CHECK_STR(needs_of(n, "y", "1"), "");
	/* what cannot be read can never be had */
	CHECK_STR(needs_of(n, "bad", "1"), ";");
	CHECK_STR(asked(n, "app=1"), "app=1;");
	CHECK_STR(asked(n, "mail (>= 3) | y"), "exim=1|y=1;");
	CHECK_STR(asked(n, "tool-api"), "tool-data=2.10;");
	CHECK(!asked(n, "nothing"));
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK(!asked(n, "mail (>= 5)"));
	CHECK(!asked(n, "mail (>= 5"));
	CHECK_INT(e.code, ERR_INPUT);
	auto_ptr(channel_needs) other = needs_on("arm64");
	CHECK_STR(needs_of(other, "app", "2"), ";");
	buf_release(&told);
}
