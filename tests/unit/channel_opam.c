// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "channel/opam.h"
#include "channel/package.h"

static struct arena a;
static struct err e;

static const char *in_tmp(const char *name)
{
	return arena_printf(&a, "%s/%s", test_tmp(), name);
}

static const char *put(const char *name, const char *text)
{
	char *folder = arena_strdup(&a, str_c(in_tmp(name)));
	*strrchr(folder, '/') = '\0';
	CHECK_INT(fs_mkdirs(AT_FDCWD, folder, 0755, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp(name), text, strlen(text), 0, &e), 0);
	return in_tmp(name);
}

static const struct channel_kind *opam(void)
{
	return channel_kind(STR("opam"));
}

#define MD5 "0123456789abcdef0123456789abcdef"
#define SHA MD5 MD5

/* -- opam files ---------------------------------------------------------------------------------------------------- */

static struct opam_file read_file(const char *text)
{
	struct opam_file f;
	CHECK_MSG(opam_file_read(&a, str_c(text), "opam", &f, &e) == 0, "%s", e.msg);
	return f;
}

TEST(sources_among_everything_else)
{
	struct opam_file f = read_file(
		"opam-version: \"2.0\" # url { src: \"no\" }\n(* url { (* nested *) src: \"no\" } *)\n"
		"name: \"x\" version: \"1.0\"\n"
		"synopsis: \"url { src: \\\"no\\\" }\"\n"
		"description: \"\"\"\nurl {\n  src: \"no\"\n}\n\"\"\"\n"
		"depends: [ \"ocaml\" {>= \"4.0\" & (os = \"linux\" | url)} \"y\" {with-test} ]\n"
		"build: [ [make \"url\"] {os != \"win32\"} ]\n"
		"available: arch != \"x\" & !(os = \"win32\")\n"
		"flags: light-uninstall\n"
		"url {\n  src: \"https://h/x.tar.gz\"\n  mirrors: [ \"https://m/x\" ]\n  checksum: [ \"md5=" MD5
		"\" \"sha256=" SHA "\" \"crc=1\" \"sha512=12\" ]\n}\n"
		"extra-source \"p.patch\" {\n  src: \"https://h/p\" checksum: \"" MD5 "\"\n}\n"
		"extra-source \"q\" { checksum: \"sha512=" SHA SHA "\" src: \"git+https://h/q\" }\n"
		"x-field: [ a [1 2] url ]\n");
	CHECK(str_eq(f.name, STR("x")) && str_eq(f.version, STR("1.0")));
	CHECK_INT(f.sources, 3);
	CHECK(str_eq(f.source[0].src, STR("https://h/x.tar.gz")));
	CHECK_INT(f.source[0].checksums, 2);
	CHECK_STR(arena_strdup(&a, opam_cache_path(&a, opam_best(&f.source[0]))), "cache/sha256/01/" SHA);
	CHECK_STR(arena_strdup(&a, opam_cache_path(&a, opam_best(&f.source[1]))), "cache/md5/01/" MD5);
	CHECK_STR(arena_strdup(&a, opam_cache_path(&a, opam_best(&f.source[2]))), "cache/sha512/01/" SHA SHA);
	CHECK(f.has_flags && !f.has_mirrors);
}

TEST(broken_opam_files)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{"a: \"b", "opam:1:4: a string does not end"},
		{"\n(* x", "opam:2:1: a comment"},
		{"url { src: \"x\"", "not closed"},
		{"a: [", "not closed"},
		{"a: ]", "opam:1:4: "},
		{"}", "opam:1:1: "},
		{"x-field: { a: 1 }", "opam:1:10: "},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct opam_file f;
		CHECK_MSG(opam_file_read(&a, str_c(bad[i].text), "opam", &f, &e) < 0, "%s", bad[i].text);
		CHECK_INT(e.code, ERR_INPUT);
		CHECK_MSG(strstr(e.msg, bad[i].says), "%s", e.msg);
	}
	auto_buf b = BUF_INIT(BUF_MAX);
	struct opam_file f;
	for (int i = 0; i < 300; i++)
		buf_put_c(&b, "extra-source \"x\" { }\n");
	CHECK_INT(opam_file_read(&a, buf_str(&b), "opam", &f, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	buf_clear(&b);
	for (int i = 0; i < 1000000; i++)
		buf_put_c(&b, "[(");
	CHECK_INT(opam_file_read(&a, buf_str(&b), "opam", &f, &e), -1);
	read_file("");
	CHECK_INT(read_file("url: \"x\" src: \"y\" checksum: \"" MD5 "\"").sources, 0);
}

TEST(names)
{
	CHECK(pkg_opam_name_is_good(STR("base-bigarray")) && pkg_opam_name_is_good(STR("0install")) &&
	      pkg_opam_name_is_good(STR("_a+")));
	CHECK(!pkg_opam_name_is_good(STR("")) && !pkg_opam_name_is_good(STR("1")) &&
	      !pkg_opam_name_is_good(STR("a.b")) && !pkg_opam_name_is_good(STR("a/b")) &&
	      !pkg_opam_name_is_good(STR("-a")));
	CHECK(pkg_opam_version_is_good(STR("1.0~beta+x_1-2")) && !pkg_opam_version_is_good(STR("")) &&
	      !pkg_opam_version_is_good(STR("a/b")));
}

TEST(paths)
{
	const struct channel_kind *k = opam();
	CHECK_INT(channel_kind_file(k, STR("repo")), CHANNEL_FILE_POINTER);
	CHECK_INT(channel_kind_file(k, STR("index.tar.gz")), CHANNEL_FILE_POINTER);
	CHECK_INT(channel_kind_file(k, STR("packages/x/x.1/opam")), CHANNEL_FILE_NAMED);
	CHECK_INT(channel_kind_file(k, STR("cache/md5/01/" MD5)), CHANNEL_FILE_PACKAGE);
	CHECK_INT(channel_kind_file(k, STR("cache/sha256/01/" SHA)), CHANNEL_FILE_PACKAGE);
	CHECK_INT(channel_kind_file(k, STR("cache/sha256/01/" MD5)), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR("cache/md5/02/" MD5)), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR("cache/sha1/01/" MD5)), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR("archives/x.1+opam.tar.gz")), CHANNEL_FILE_PACKAGE);
	CHECK_INT(channel_kind_file(k, STR("x")), CHANNEL_FILE_NONE);
	CHECK(channel_kind_of_package(STR("x.1/opam")) == k && channel_kind_of_package(STR("x.1.opam")) == k);
}

/* -- repositories -------------------------------------------------------------------------------------------------- */

static struct buf told = {buf_empty, 0, 0, BUF_MAX, false};

static int tell(void *ctx, const struct channel_item *i, struct err *err)
{
	(void)ctx, (void)err;
	buf_printf(&told, "%.*s%s%.*s%s%.*s %.*s.%.*s\n", STR_ARG(i->path), i->copy_of.n ? " of " : "",
		   STR_ARG(i->copy_of), i->url.n ? " < " : "", STR_ARG(i->url), STR_ARG(i->name), STR_ARG(i->version));
	return 0;
}

static const char *walk_all(const char *folder, const char *name)
{
	struct str names[] = {str_c(name)};
	struct channel_walk_opts o = {.names = names, .names_n = name ? 1 : 0};
	auto_ptr(channel_walk) w = NULL;
	auto_fd dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;
	CHECK_INT(channel_walk_new(opam(), dir, &o, &w, &e), 0);
	buf_release(&told);
	told = BUF_INIT(BUF_MAX);
	CHECK_INT(channel_walk_next(w, tell, NULL, &e), 1);
	CHECK_STR(told.p, "repo .\nindex.tar.gz .\n");
	buf_clear(&told);
	rc = channel_walk_next(w, tell, NULL, &e);
	CHECK(rc < 0 || channel_walk_next(w, tell, NULL, &e) == 0);
	return rc < 0 ? e.msg : told.p;
}

/* The archive "archive\n" by two digests. */
static const char with_archive[] =
	"opam-version: \"2.0\"\nurl {\n  src: \"https://h/x.tar.gz\"\n  checksum: [ \"md5=%s\" \"sha256=%s\" ]\n}\n";

static const char *opam_of(const char *archive)
{
	uint8_t digest[DIGEST_MAX];
	char md5[65], sha[65];
	auto_ptr(digest) d = digest_new(DIGEST_MD5);
	digest_update(d, archive, strlen(archive));
	digest_final(d, digest);
	hex_encode(digest, MD5_SIZE, md5);
	sha256(archive, strlen(archive), digest);
	hex_encode(digest, SHA256_SIZE, sha);
	return arena_printf(&a, with_archive, md5, sha);
}

static int publish(const char *one, const char *two, bool replace)
{
	const char *files[] = {one, two};
	struct channel_make_opts o = {.replace = replace};
	return channel_kind_publish(opam(), in_tmp("c"), files, two ? 2 : 1, &o, NULL, &e);
}

static size_t count(const char *folder, const char *what)
{
	struct opam_repo r;
	size_t n = 0;
	auto_fd dir = open(in_tmp(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(opam_repo_load(dir, &a, &r, &e), 1);
	for (size_t i = 0; i < r.n; i++)
		for (size_t k = 0; k < r.package[i].n; k++)
			n += str_search(r.package[i].entry[k].path, str_c(what)) >= 0 ||
			     str_search(r.package[i].entry[k].text, str_c(what)) >= 0;
	return n;
}

TEST(publish_and_again)
{
	put("in/x.1.0/opam", opam_of("archive\n"));
	put("in/x.1.0/files/sub/patch", "a patch");
	const char *archive = put("x.tar.gz", "archive\n");
	CHECK_MSG(publish(in_tmp("in"), archive, false) == 0, "%s", e.msg);
	CHECK_INT(count("c", "packages/x/x.1.0/"), 2);
	CHECK_INT(count("c", "a patch"), 1);
	const char *told_of = walk_all(in_tmp("c"), NULL);
	CHECK_MSG(strstr(told_of, "cache/sha256/") && strstr(told_of, "cache/md5/") &&
			  strstr(told_of, " of cache/sha256/"),
		  "%s", told_of);
	auto_buf before = BUF_INIT(BUF_MAX), after = BUF_INIT(BUF_MAX);
	CHECK_INT(fs_read(AT_FDCWD, in_tmp("c/index.tar.gz"), &before, &e), 0);
	CHECK_INT(publish(in_tmp("in"), NULL, false), 0);
	CHECK_INT(fs_read(AT_FDCWD, in_tmp("c/index.tar.gz"), &after, &e), 0);
	CHECK(str_eq(buf_str(&before), buf_str(&after)));
	/* another version, named by its file, or inside */
	CHECK_MSG(publish(put("x.1.1.opam", "opam-version: \"2.0\"\n"), NULL, false) == 0, "%s", e.msg);
	CHECK_INT(publish(put("src/opam", "name: \"x\" version: \"1.2\"\n"), NULL, false), 0);
	CHECK_INT(publish(put("src/y.opam", "version: \"1\"\n"), NULL, false), 0);
	CHECK_INT(count("c", "/opam"), 4);
	/* changed, it must be meant */
	put("in/x.1.0/opam", "opam-version: \"2.0\"\n");
	CHECK_INT(publish(in_tmp("in/x.1.0"), NULL, false), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	CHECK_INT(fs_remove_tree(AT_FDCWD, in_tmp("in/x.1.0/files"), &e), 0);
	CHECK_INT(publish(in_tmp("in/x.1.0/opam"), NULL, true), 0);
	CHECK_INT(count("c", "patch"), 0);
	CHECK_INT(count("c", "/opam"), 4);
}

TEST(what_is_not_published)
{
	static const struct {
		const char *path, *text, *says;
	} bad[] = {
		{"d/opam", "opam-version: \"2.0\"", "what package is"},
		{"x.opam", "opam-version: \"2.0\"", "what package is"},
		{"x.1.opam", "version: \"2\"", "says that it is '2'"},
		{"x.1.opam", "name: \"y\"", "says that it is 'y'"},
		{"1.1.opam", "", "what package is"},
		{"x.1.opam", "a: [", "not closed"},
		{"x.tar.gz", "archive\n", "no opam file of the channel has a checksum"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CHECK_MSG(publish(put(bad[i].path, bad[i].text), NULL, false) < 0, "%s", bad[i].path);
		CHECK_MSG(strstr(e.msg, bad[i].says), "%s", e.msg);
		CHECK(!fs_exists(AT_FDCWD, in_tmp("c/index.tar.gz")));
	}
	CHECK_INT(fs_mkdirs(AT_FDCWD, in_tmp("empty"), 0755, &e), 0);
	CHECK_INT(publish(in_tmp("empty"), NULL, false), -1);
	/* one digest right, the other not */
	char *lies = arena_strdup(&a, str_c(opam_of("archive\n")));
	char *sha = strstr(lies, "sha256=") + 7;
	*sha = *sha == '0' ? '1' : '0';
	CHECK_INT(publish(put("x.1.opam", lies), put("x.tar.gz", "archive\n"), false), -1);
	CHECK_INT(e.code, ERR_VERIFY);
}

static int keep_x(void *ctx, const struct channel_item *i, struct err *err)
{
	(void)err;
	(*(unsigned *)ctx)++;
	return str_eq(i->name, STR("x"));
}

TEST(a_part_of_another)
{
	struct channel_make_opts o = {0};
	struct channel_walk_opts from = {0};
	unsigned asked = 0;
	put("up/repo", "opam-version: \"2.0\"\nbrowse: \"https://h\"");
	put("up/packages/x/x.1/opam", opam_of("archive\n"));
	put("up/packages/x/x.1/files/p", "patch");
	put("up/packages/y/y.1/opam", "opam-version: \"2.0\"\n");
	put("up/packages/y/bad/opam", "opam-version: \"2.0\"\n");
	auto_fd up = open(in_tmp("up"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_MSG(channel_kind_rewrite(opam(), up, &from, in_tmp("c"), &o, keep_x, &asked, &e) == 0, "%s", e.msg);
	CHECK_INT(asked, 2);
	CHECK_INT(count("c", "packages/"), 2);
	auto_buf repo = BUF_INIT(BUF_MAX);
	CHECK_INT(fs_read(AT_FDCWD, in_tmp("c/repo"), &repo, &e), 0);
	CHECK_STR(repo.p, "opam-version: \"2.0\"\nbrowse: \"https://h\"\narchive-mirrors: \"cache\"\n");
	struct opam_repo r;
	auto_fd made = open(in_tmp("c"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(opam_repo_load(made, &a, &r, &e), 1);
	CHECK(str_eq(r.repo, buf_str(&repo)));
	CHECK_STR(walk_all(in_tmp("up"), "y"), "");
}

TEST(yank_and_drop)
{
	struct channel_make_opts o = {0};
	struct str path[] = {STR("packages/x/x.1/opam")};
	put("in/x.1/opam", opam_of("archive\n"));
	put("in/x.2/opam", opam_of("archive\n"));
	put("in/x.3/opam", "flags: [light-uninstall]\nbuild: []\n");
	put("in/x.4/opam", "flags: plugin");
	CHECK_INT(publish(in_tmp("in"), put("x.tar.gz", "archive\n"), false), 0);
	const char *cached = arena_strdup(&a, str_head(str_c(walk_all(in_tmp("c"), NULL)), 80));
	CHECK_MSG(fs_exists(AT_FDCWD, in_tmp(arena_printf(&a, "c/%s", cached))), "%s", cached);
	CHECK_INT(channel_kind_remove(opam(), in_tmp("c"), path, 1, CHANNEL_YANK, STR("why"), &o, &e), 0);
	CHECK_INT(count("c", "# why\nflags: avoid-version\n"), 1);
	path[0] = STR("packages/x/x.3/opam");
	CHECK_INT(channel_kind_remove(opam(), in_tmp("c"), path, 1, CHANNEL_YANK, STR_NONE, &o, &e), 0);
	CHECK_INT(count("c", "flags: [avoid-version light-uninstall]\nbuild: []\n"), 1);
	path[0] = STR("packages/x/x.4");
	CHECK_INT(channel_kind_remove(opam(), in_tmp("c"), path, 1, CHANNEL_YANK, STR_NONE, &o, &e), 0);
	CHECK_INT(count("c", "flags: [avoid-version plugin]"), 1);
	/* the archive stays as long as another package has it */
	path[0] = STR("packages/x/x.1/opam");
	CHECK_INT(channel_kind_remove(opam(), in_tmp("c"), path, 1, CHANNEL_DROP, STR_NONE, &o, &e), 0);
	CHECK_INT(count("c", "x.1/"), 0);
	CHECK(fs_exists(AT_FDCWD, in_tmp(arena_printf(&a, "c/%s", cached))));
	CHECK_INT(channel_kind_remove(opam(), in_tmp("c"), path, 1, CHANNEL_DROP, STR_NONE, &o, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	path[0] = str_c(cached);
	CHECK_INT(channel_kind_remove(opam(), in_tmp("c"), path, 1, CHANNEL_DROP, STR_NONE, &o, &e), 0);
	CHECK(!fs_exists(AT_FDCWD, in_tmp("c/cache")));
}

TEST(hostile_archives)
{
	put("c/index.tar.gz", "no gzip");
	CHECK(strstr(walk_all(in_tmp("c"), NULL), "index.tar.gz"));
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_INT(publish(put("x.1.opam", ""), NULL, false), -1);
	CHECK(strstr(e.msg, "mend or remove it"));
}

/* -- the real one -------------------------------------------------------------------------------------------------- */

struct counts {
	size_t files, sources, cached, bad;
};

static int count_file(void *ctx, struct str path, struct str text, struct err *err)
{
	struct counts *c = ctx;
	auto_arena mine = ARENA_INIT;
	struct opam_file f;
	(void)err;
	if (!str_ends(path, STR("/opam")))
		return 0;
	c->files++;
	if (opam_file_read(&mine, text, "opam", &f, &e) < 0) {
		c->bad++;
		printf("# %.*s: %s\n", STR_ARG(path), e.msg);
	}
	for (size_t i = 0; i < f.sources; i++) {
		c->sources++;
		c->cached += f.source[i].src.n > 0 && opam_best(&f.source[i]);
	}
	return 0;
}

TEST(the_opam_repository)
{
	int fd = open(test_shared("data/opam/opam-files-2026.tar.zst"), O_RDONLY | O_CLOEXEC);
	auto_ptr(istream) in = istream_zstd(istream_fd(fd, "opam-files"));
	struct counts c = {0};
	CHECK_INT(package_tar_each(in, OPAM_FILE_MAX, count_file, &c, &e), 0);
	CHECK_INT(c.files, 18793);
	CHECK_INT(c.bad, 0);
	CHECK_INT(c.sources, 18932);
	printf("# %zu of %zu archives can be cached\n", c.cached, c.sources);
	CHECK(c.cached > 18500);
}
