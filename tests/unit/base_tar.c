// SPDX-License-Identifier: Apache-2.0
#include "base/tar.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/test.h"

static int to_buf(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	buf_put(ctx, p, n);
	return 0;
}

static void put(struct tar_writer *w, struct tar_entry en, const char *content)
{
	struct err e = ERR_INIT;
	en.size = strlen(content);
	CHECK_INT(tar_put(w, &en, &e), 0);
	CHECK_INT(tar_write(w, content, en.size, &e), 0);
}

/* What the archive says, one line an entry; the error's message at its end where there is one. */
static void list(struct str bytes, struct buf *out)
{
	struct err e = ERR_INIT;
	auto_ptr(istream) s = istream_mem(bytes, "x.tar");
	auto_ptr(tar_reader) r = tar_reader_new(s, "x.tar");
	struct tar_entry en;
	int rc;
	while ((rc = tar_next(r, &en, &e)) > 0) {
		buf_printf(out, "%d %s %s %o %llu:%llu %lld %llu", en.kind, en.path.p, en.target.p, en.mode,
			   (unsigned long long)en.uid, (unsigned long long)en.gid, (long long)en.mtime_s,
			   (unsigned long long)en.size);
		for (size_t i = 0; i < en.n_xattrs; i++)
			buf_printf(out, " %s=%s", en.xattrs[i].name.p, en.xattrs[i].value.p);
		char c[64];
		ssize_t n = tar_read(r, c, sizeof(c), &e);
		buf_printf(out, " '%.*s'\n", n < 0 ? 0 : (int)n, c);
	}
	if (rc == 0)
		rc = tar_drain(r, &e);
	if (rc < 0)
		buf_put_c(out, e.msg);
}

TEST(what_is_written_reads_back)
{
	auto_buf b = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20), want = BUF_INIT(1 << 20);
	struct tar_writer w = {.sink = to_buf, .ctx = &b};
	struct err e = ERR_INIT;
	char longer[201];
	memset(longer, 'n', 200);
	longer[200] = '\0';
	const struct tar_xattr x[] = {{STR("security.capability"), STR("abc")}, {STR("user.x"), STR("")}};
	put(&w, (struct tar_entry){.kind = TAR_DIR, .path = STR("d/"), .mode = 01777, .mtime_s = 7}, "");
	put(&w, (struct tar_entry){.path = STR("d/f"), .mode = 04755, .uid = 1000, .gid = 100, .mtime_s = -5}, "hello");
	put(&w, (struct tar_entry){.kind = TAR_SYMLINK, .path = STR("d/l"), .target = str_c(longer), .mode = 0777}, "");
	put(&w, (struct tar_entry){.path = str_c(longer), .mode = 0600, .uid = 3000000000, .xattrs = x, .n_xattrs = 2},
	    "");
	put(&w, (struct tar_entry){.kind = TAR_HARD_LINK, .path = STR("h"), .target = STR("d/f"), .mode = 0755}, "");
	put(&w, (struct tar_entry){.path = STR("\xc3\xa4"), .mode = 0644, .mtime_s = 1LL << 40}, "x");
	CHECK_INT(tar_end(&w, &e), 0);
	CHECK_INT(b.n % TAR_BLOCK, 0);
	list(buf_str(&b), &out);
	buf_put_c(&want, "3 d/  1777 0:0 7 0 ''\n0 d/f  4755 1000:100 -5 5 'hello'\n");
	buf_printf(&want, "2 d/l %s 777 0:0 0 0 ''\n0 %s  600 3000000000:0 0 0 security.capability=abc user.x= ''\n",
		   longer, longer);
	buf_put_c(&want, "1 h d/f 755 0:0 0 0 ''\n0 \xc3\xa4  644 0:0 1099511627776 1 'x'\n");
	CHECK_STR(out.p, want.p);
	auto_buf cut = BUF_INIT(1 << 20);
	list(str_of(b.p, 3 * TAR_BLOCK + 10), &cut);
	CHECK(strstr(cut.p, "'x.tar' is truncated: it ends inside entry 2"));
}

TEST(a_file_is_as_long_as_it_says)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct tar_writer w = {.sink = to_buf, .ctx = &b};
	struct err e = ERR_INIT;
	CHECK_INT(tar_put(&w, &(struct tar_entry){.path = STR("f"), .size = 3}, &e), 0);
	CHECK_INT(tar_write(&w, "abcd", 4, &e), -1);
	CHECK_INT(tar_write(&w, "ab", 2, &e), 0);
	CHECK_INT(tar_end(&w, &e), -1);
	CHECK_INT(tar_write(&w, "c", 1, &e), 0);
	CHECK_INT(tar_end(&w, &e), 0);
}

/* Archives of GNU tar, in each of its formats. */
TEST(gnu_tar)
{
	static const char *const formats[] = {"gnu", "pax", "ustar", "oldgnu"};
	char dir[] = "/tmp/slipway-tar.XXXXXX";
	CHECK(mkdtemp(dir));
	for (size_t i = 0; i < 4; i++) {
		auto_free char *cmd = xasprintf(
			"cd %s && mkdir -p d && printf hi >d/f && ln -sf f d/l && ln -f d/f d/h && n=$(printf "
			"'%%0120d' 7) && : >d/$n && tar --format=%s --sort=name --mtime=@9 --owner=0 "
			"--group=0 --mode=0755 -cf x.tar d && cat x.tar",
			dir, formats[i]);
		FILE *f = popen(cmd, "r");
		CHECK(f != NULL);
		auto_buf b = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
		char piece[4096];
		size_t n;
		while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
			buf_put(&b, piece, n);
		int status = pclose(f);
		if (strcmp(formats[i], "ustar") == 0 && status != 0)
			continue; /* a name of 120 bytes that it cannot split */
		CHECK_INT(status, 0);
		list(buf_str(&b), &out);
		CHECK(strstr(out.p, "3 d/  755 0:0 9 0 ''\n"));
		CHECK(strstr(out.p, "0 d/f  755 0:0 9 2 'hi'\n1 d/h d/f 755 0:0 9 0 ''\n2 d/l f 755 0:0 9 0 ''\n"));
		CHECK(strstr(out.p, "00000000000000000000000000000000007  755 0:0 9 0 ''\n"));
	}
	auto_free char *rm = xasprintf("rm -rf %s", dir);
	CHECK_INT(system(rm), 0);
}

TEST(what_is_refused)
{
	auto_buf out = BUF_INIT(1 << 20), zeros = BUF_INIT(1 << 20);
	list(STR(""), &out);
	CHECK_STR(out.p, "'x.tar' is empty: it is no tar archive");
	buf_clear(&out);
	for (int i = 0; i < TAR_BLOCK; i++)
		buf_put_char(&zeros, i == 3 ? 'x' : 0);
	list(buf_str(&zeros), &out);
	CHECK_STR(out.p, "'x.tar' is no tar archive");
	auto_buf b = BUF_INIT(1 << 20), pax = BUF_INIT(1 << 20);
	struct tar_writer w = {.sink = to_buf, .ctx = &b};
	put(&w, (struct tar_entry){.path = STR("a"), .mode = 0644}, "x");
	b.p[156] = 'S';
	buf_clear(&out);
	list(buf_str(&b), &out);
	CHECK_STR(out.p, "'x.tar' is no tar archive"); /* the sum is wrong now */
	static const char *const records[] = {"9 size=x\n",
					      "99 path=a\n",
					      "8 path=a\n",
					      "5 a=b\n",
					      "9999999999999999999999 a=b\n",
					      "22 GNU.sparse.major=1\n",
					      "6 a=b"};
	for (size_t i = 0; i < sizeof(records) / sizeof(*records); i++) {
		buf_clear(&b);
		w = (struct tar_writer){.sink = to_buf, .ctx = &b};
		put(&w, (struct tar_entry){.path = STR("pax"), .mode = 0644}, records[i]);
		b.p[156] = 'x'; /* type, and the sum with it */
		int digits = 6;
		unsigned sum = 'x' - '0';
		for (int k = 0; k < digits; k++)
			sum += (unsigned)(b.p[148 + k] - '0') << (3 * (5 - k));
		for (int k = digits - 1; k >= 0; k--, sum >>= 3)
			b.p[148 + k] = (char)('0' + (sum & 7));
		put(&w, (struct tar_entry){.path = STR("a"), .mode = 0644}, "x");
		buf_clear(&out);
		list(buf_str(&b), &out);
		CHECK(strstr(out.p, strstr(records[i], "sparse") ? "is a sparse file; make the archive without --sparse"
								 : "has a malformed extended header"));
	}
}
