// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <fcntl.h>
#include <time.h>

#include "base/compress.h"
#include "base/fs.h"
#include "channel/deb.h"

static struct err e;

/* -- files ---------------------------------------------------------------------------------------------------------- */

static enum channel_file what(const char *path)
{
	return channel_kind_file(channel_kind(STR("deb")), str_c(path));
}

TEST(files_of_an_archive)
{
	static const char *const pointers[] = {
		"dists/bookworm/InRelease", "dists/a/b/Release", "dists/x/Release.gpg", "InRelease", "Release",
		"flat/Release.gpg"};
	static const char *const named[] = {
		"dists/x/main/binary-amd64/Packages",
		"dists/x/main/binary-amd64/Packages.xz",
		"dists/x/main/binary-amd64/Release",
		"dists/x/main/source/Sources.gz",
		"dists/x/main/source/Release",
		"dists/x/main/Contents-amd64.gz",
		"dists/x/main/i18n/Translation-en.bz2",
		"dists/x/main/dep11/Components-amd64.yml.gz",
		"dists/x/main/binary-amd64/by-hash/SHA256/6777ea16514725f9427f48c240d92e0a6b8496138e37a1491d8597e66774e309",
		"Packages.gz",
		"by-hash/MD5Sum/f230d61d720e789abf5df55d6026230c",
	};
	static const char *const packages[] = {"pool/main/a/a/a_1_amd64.deb", "pool/x.udeb", "pool/main/a/a_1.dsc",
					       "pool/main/a/a_1.orig.tar.xz", "a_1_all.deb"};
	static const char *const none[] = {"dists/x/main/binary-amd64/passwords",
					   "pool/main/Packages",
					   "README",
					   "dists/x/main/binary-amd64/by-hash/SHA256/6777",
					   "dists/../x.deb",
					   ".slipway/lock",
					   "dists/x/Packages.exe"};
	for (size_t i = 0; i < sizeof(pointers) / sizeof(*pointers); i++)
		CHECK_MSG(what(pointers[i]) == CHANNEL_FILE_POINTER, "%s", pointers[i]);
	for (size_t i = 0; i < sizeof(named) / sizeof(*named); i++)
		CHECK_MSG(what(named[i]) == CHANNEL_FILE_NAMED, "%s", named[i]);
	for (size_t i = 0; i < sizeof(packages) / sizeof(*packages); i++)
		CHECK_MSG(what(packages[i]) == CHANNEL_FILE_PACKAGE, "%s", packages[i]);
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		CHECK_MSG(what(none[i]) == CHANNEL_FILE_NONE, "%s", none[i]);
	CHECK_STR(channel_kind_type(channel_kind(STR("deb")), STR("a.deb")), "application/vnd.debian.binary-package");
}

/* -- stanzas -------------------------------------------------------------------------------------------------------- */

/* Gives what it is asked for a few bytes at a time. */
struct slow {
	struct istream base;
	struct str left;
	size_t step;
};

static ssize_t slow_read(struct istream *s, void *p, size_t n, struct err *err)
{
	struct slow *w = (struct slow *)s;
	struct str head = str_head(w->left, n < w->step ? n : w->step);
	(void)err;
	if (head.n)
		memcpy(p, head.p, head.n);
	w->left = str_skip(w->left, head.n);
	return (ssize_t)head.n;
}

static void slow_free(struct istream *s)
{
	(void)s;
}

static struct istream *slow(struct str s, size_t step)
{
	static const struct istream_ops ops = {slow_read, slow_free};
	struct slow *w = xcalloc(1, sizeof(*w));
	w->base = (struct istream){.ops = &ops, .name = "slow"};
	w->left = s;
	w->step = step;
	return &w->base;
}

TEST(stanzas_come_one_by_one)
{
	static const char text[] = "\n\nA: 1\nB: 2\n more\n\n\n\nA: 3\n\nA: 4";
	for (size_t step = 1; step < sizeof(text); step++) {
		auto_ptr(istream) in = slow(str_of(text, sizeof(text) - 1), step);
		auto_deb_reader r;
		struct str s;
		deb_reader_init(&r, in);
		CHECK_INT(deb_next(&r, &s, &e), 1);
		CHECK(str_eq_c(s, "A: 1\nB: 2\n more\n"));
		CHECK(str_eq_c(deb_value(s, "b"), "2\n more"));
		CHECK_INT(deb_next(&r, &s, &e), 1);
		CHECK(str_eq_c(s, "A: 3\n"));
		CHECK_INT(deb_next(&r, &s, &e), 1);
		CHECK(str_eq_c(s, "A: 4\n"));
		CHECK_INT(deb_next(&r, &s, &e), 0);
		CHECK_INT(deb_next(&r, &s, &e), 0);
	}
}

TEST(a_stanza_has_a_limit)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	while (b.n < DEB_STANZA_MAX + (1 << 20))
		buf_put_c(&b, "Field: value\n");
	auto_ptr(istream) in = istream_mem(buf_str(&b), "large");
	auto_deb_reader r;
	struct str s;
	deb_reader_init(&r, in);
	CHECK_INT(deb_next(&r, &s, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
}

TEST(dates_there_and_back)
{
	int64_t ms;
	CHECK(deb_date_parse(STR("Sat, 11 Jul 2026 10:16:37 UTC"), &ms));
	CHECK_INT(ms, INT64_C(1783764997000));
	auto_buf b = BUF_INIT(100);
	deb_date_put(&b, ms);
	CHECK_STR(b.p, "Sat, 11 Jul 2026 10:16:37 UTC");
	CHECK(!deb_date_parse(STR("Sat, 11 Jul 2026 10:16 UTC"), &ms));
	CHECK(!deb_date_parse(STR("Sat, 11 Ulj 2026 10:16:37 UTC"), &ms));
	CHECK(!deb_date_parse(STR("Sat, 99 Jul 2026 10:16:37 UTC"), &ms));
	CHECK(!deb_date_parse(STR(""), &ms));
}

/* -- a walk --------------------------------------------------------------------------------------------------------- */

#define SUM "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void put(const char *path, struct str text)
{
	char full[512], *slash;
	CHECK_INT(mkdir(test_tmp(), 0700) == 0 || errno == EEXIST, 1);
	snprintf(full, sizeof(full), "%s/%s", test_tmp(), path);
	slash = strrchr(full, '/');
	*slash = '\0';
	CHECK_INT(fs_mkdirs(AT_FDCWD, full, 0755, &e), 0);
	*slash = '/';
	CHECK_INT(fs_replace(AT_FDCWD, full, text.p, text.n, 0, &e), 0);
}

static void put_index(struct buf *release, const char *path, struct str text)
{
	uint8_t sum[SHA256_SIZE];
	char full[512];
	sha256(text.p, text.n, sum);
	buf_put_char(release, ' ');
	buf_put_hex(release, sum, sizeof(sum));
	buf_printf(release, " %zu %s\n", text.n, path);
	snprintf(full, sizeof(full), "dists/s/%s", path);
	put(full, text);
}

static struct buf told;

static int tell(void *ctx, const struct channel_item *item, struct err *err)
{
	(void)ctx;
	(void)err;
	if (item->what == CHANNEL_FILE_PACKAGE)
		buf_printf(&told, "%.*s %.*s %.*s %.*s %llu%s\n", STR_ARG(item->name), STR_ARG(item->version),
			   STR_ARG(item->platform), STR_ARG(item->path), (unsigned long long)item->size,
			   item->digest.known ? "" : " unknown");
	else
		buf_printf(&told, "%.*s%s%s\n", STR_ARG(item->path), item->optional ? "" : " needed",
			   item->copy_of.p ? " copy" : "");
	return 0;
}

static int walk(struct channel_walk_opts *o)
{
	static const struct str suite[] = {STR("s")};
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_ptr(channel_walk) w = NULL;
	int rc;
	told = BUF_INIT(1 << 20);
	if (!o->suites) {
		o->suites = suite;
		o->suites_n = 1;
	}
	if (channel_walk_new(channel_kind(STR("deb")), dir, o, &w, &e) < 0)
		return -1;
	while ((rc = channel_walk_next(w, tell, NULL, &e)) > 0)
		buf_put_c(&told, "--\n");
	return rc;
}

#define STANZA(name, arch, file)                                                                                       \
	"Package: " name "\nVersion: 1.0-1\nArchitecture: " arch "\nDescription: " name "\n more\nFilename: " file     \
	"\nSize: 7\nSHA256: " SUM "\n\n"
#define POINTERS "dists/s/InRelease\ndists/s/Release\ndists/s/Release.gpg\n--\n"

static void make_archive(const char *more)
{
	auto_buf release = BUF_INIT(1 << 20), packed = BUF_INIT(1 << 20);
	buf_printf(&release, "Suite: s\n%sArchitectures: all amd64\nComponents: main\nSHA256:\n", more);
	put_index(&release, "main/binary-amd64/Packages",
		  STR(STANZA("a", "amd64", "pool/main/a/a/a_1.0-1_amd64.deb")
			      STANZA("b", "all", "./pool/b_1.0-1_all.deb")));
	CHECK_INT(compress_str(COMPRESS_XZ, 0, STR(STANZA("arm", "arm64", "pool/main/a/arm.deb")), &packed, &e), 0);
	put_index(&release, "main/binary-arm64/Packages.xz", buf_str(&packed));
	put_index(&release, "main/source/Sources",
		  STR("Package: a\nVersion: 1.0-1\nDirectory: pool/main/a/a\nChecksums-Sha256:\n " SUM " 5 a.dsc\n " SUM
		      " 6 a.tar.xz\n"));
	put_index(&release, "main/i18n/Translation-en", STR("Package: a\n"));
	put("dists/s/Release", buf_str(&release));
}

TEST(a_walk_from_release_to_packages)
{
	struct str amd64 = STR("amd64");
	make_archive("");
	CHECK_MSG(walk(&(struct channel_walk_opts){.platforms = &amd64, .platforms_n = 1}) == 0, "%s", e.msg);
	CHECK_STR(told.p,
		  POINTERS "dists/s/main/binary-amd64/Packages\n--\n"
			   "a 1.0-1 amd64 pool/main/a/a/a_1.0-1_amd64.deb 7\nb 1.0-1 all pool/b_1.0-1_all.deb 7\n--\n");
	buf_release(&told);
}

TEST(all_of_it_and_extras_and_by_hash)
{
	struct str extras = STR("*/i18n/Translation-en*");
	make_archive("Acquire-By-Hash: yes\n");
	struct channel_walk_opts o = {.sources = true, .extras = &extras, .extras_n = 1};
	CHECK_MSG(walk(&o) == 0, "%s", e.msg);
	CHECK(strstr(told.p, "dists/s/main/binary-arm64/Packages.xz copy\n"));
	CHECK(strstr(told.p, "dists/s/main/binary-arm64/by-hash/SHA256/"));
	CHECK(strstr(told.p, "dists/s/main/i18n/Translation-en copy\n"));
	CHECK(strstr(told.p, "arm 1.0-1 arm64 pool/main/a/arm.deb 7\n"));
	CHECK(strstr(told.p, "a 1.0-1 source pool/main/a/a/a.dsc 5\na 1.0-1 source pool/main/a/a/a.tar.xz 6\n"));
	buf_release(&told);
}

TEST(names_components_and_architectures_are_chosen)
{
	struct str b = STR("b*"), other = STR("contrib"), riscv = STR("riscv64");
	make_archive("");
	CHECK_INT(walk(&(struct channel_walk_opts){.names = &b, .names_n = 1}), 0);
	CHECK(strstr(told.p, "--\nb 1.0-1 all pool/b_1.0-1_all.deb 7\n--\n"));
	buf_release(&told);
	CHECK_INT(walk(&(struct channel_walk_opts){.components = &other, .components_n = 1}), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK(strstr(e.msg, "its components are 'main'"));
	buf_release(&told);
	CHECK_INT(walk(&(struct channel_walk_opts){.platforms = &riscv, .platforms_n = 1}), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	buf_release(&told);
}

TEST(what_is_missing_changed_or_old_is_refused)
{
	CHECK_INT(mkdir(test_tmp(), 0700) == 0 || errno == EEXIST, 1);
	CHECK_INT(walk(&(struct channel_walk_opts){0}), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	buf_release(&told);
	make_archive("Valid-Until: Sat, 11 Jul 2015 10:16:37 UTC\n");
	CHECK_INT(walk(&(struct channel_walk_opts){0}), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	buf_release(&told);
	CHECK_INT(walk(&(struct channel_walk_opts){.expired = true}), 0);
	buf_release(&told);
	put("dists/s/main/binary-amd64/Packages", STR("Package: evil\n"));
	CHECK_INT(walk(&(struct channel_walk_opts){.expired = true}), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	buf_release(&told);
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(fs_remove_tree(dir, "dists/s/main/binary-amd64", &e), 0);
	CHECK_INT(walk(&(struct channel_walk_opts){.expired = true}), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	buf_release(&told);
	/* unsigned, where a signature is wanted */
	CHECK_INT(walk(&(struct channel_walk_opts){.expired = true, .keyring = "/dev/null"}), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	buf_release(&told);
}

TEST(hostile_stanzas_are_refused)
{
	static const char *const bad[] = {
		STANZA("a", "amd64", "../../etc/passwd"),
		STANZA("a", "amd64", "/etc/passwd"),
		STANZA("a", "amd64", "pool//x.deb"),
		"Package: a\nVersion: 1\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 1\n",
		"Package: a\nVersion: 1\nArchitecture: amd64\nFilename: pool/a.deb\nSize: -1\nSHA256: " SUM "\n",
		"Package: a\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 1\nSHA256: " SUM "\n",
		"Package: a\nVersion: 1\nArchitecture: amd64\nSize: 1\nSHA256: " SUM "\n",
		"what\n",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_buf release = BUF_INIT(1 << 20);
		buf_put_c(&release, "SHA256:\n");
		put_index(&release, "main/binary-amd64/Packages", str_c(bad[i]));
		put("dists/s/Release", buf_str(&release));
		CHECK_MSG(walk(&(struct channel_walk_opts){0}) == -1, "%s", bad[i]);
		CHECK_INT(e.code, ERR_INPUT);
		buf_release(&told);
	}
	put("dists/s/Release", STR("SHA256:\n 12 34 main/binary-amd64/Packages\n"));
	CHECK_INT(walk(&(struct channel_walk_opts){0}), -1);
	CHECK_INT(e.code, ERR_INPUT);
	buf_release(&told);
	put("dists/s/Release", STR("SHA256:\n " SUM " 5 ../main/binary-amd64/Packages\n"));
	CHECK_INT(walk(&(struct channel_walk_opts){0}), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	buf_release(&told);
	CHECK_INT(walk(&(struct channel_walk_opts){.suites = &STR("../x"), .suites_n = 1}), -1);
	CHECK_INT(e.code, ERR_USAGE);
}

TEST(an_index_does_not_unpack_beyond_what_release_says)
{
	auto_buf release = BUF_INIT(1 << 20), packed = BUF_INIT(1 << 20), zeros = BUF_INIT(BUF_MAX);
	while (zeros.n < 8 << 20)
		buf_put_c(&zeros, "Field: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
	CHECK_INT(compress_str(COMPRESS_XZ, 0, buf_str(&zeros), &packed, &e), 0);
	buf_put_c(&release, "SHA256:\n " SUM " 100 main/binary-amd64/Packages\n");
	put_index(&release, "main/binary-amd64/Packages.xz", buf_str(&packed));
	put("dists/s/Release", buf_str(&release));
	CHECK_INT(walk(&(struct channel_walk_opts){0}), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	buf_release(&told);
}

TEST(a_flat_repository)
{
	auto_buf release = BUF_INIT(1 << 20);
	static const char text[] = STANZA("a", "amd64", "./a_1.0-1_amd64.deb");
	uint8_t sum[SHA256_SIZE];
	sha256(text, sizeof(text) - 1, sum);
	buf_put_c(&release, "SHA256:\n ");
	buf_put_hex(&release, sum, sizeof(sum));
	buf_printf(&release, " %zu ./Packages\n", sizeof(text) - 1);
	put("Release", buf_str(&release));
	put("Packages", str_of(text, sizeof(text) - 1));
	CHECK_MSG(walk(&(struct channel_walk_opts){.suites = &STR("./"), .suites_n = 1}) == 0, "%s", e.msg);
	CHECK_STR(told.p, "InRelease\nRelease\nRelease.gpg\n--\nPackages\n--\na 1.0-1 amd64 a_1.0-1_amd64.deb 7\n--\n");
	buf_release(&told);
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(channel_kind_of(dir) == channel_kind(STR("deb")));
}
