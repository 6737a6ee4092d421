// SPDX-License-Identifier: Apache-2.0
#include "httpd/syntax.h"
#include "lib/test.h"

static const struct http_limits limits = {.head_bytes = 4096, .headers = 10, .target_bytes = 200};
static struct arena a;

/* Of a head whose lines end with \n here: the status, 0 where it is good. */
static int head_of_bytes(const char *p, size_t n, struct http_head *ret)
{
	char *copy = arena_alloc(&a, n + 1);
	memcpy(copy, p, n);
	return http_parse_head(copy, n, &limits, &a, ret);
}

static int head(const char *lines, struct http_head *ret)
{
	auto_buf b = BUF_INIT(1 << 20);
	for (; *lines; lines++) {
		if (*lines == '\n')
			buf_put_c(&b, "\r");
		buf_put(&b, lines, 1);
	}
	return head_of_bytes(b.p, b.n, ret);
}

static int status(const char *lines)
{
	struct http_head h;
	return head(lines, &h);
}

TEST(reads_a_head)
{
	struct http_head h;
	CHECK_INT(head("GET /a%20b/./c//d?q=1&r HTTP/1.1\nHOST: x:80\nIf-None-Match:\t\"a\" \nEmpty:\n\n", &h), 0);
	CHECK(str_eq(h.method, STR("GET")));
	CHECK(str_eq(h.path, STR("/a b/c/d")));
	CHECK(str_eq(h.query, STR("q=1&r")));
	CHECK(str_eq(h.host, STR("x:80")));
	CHECK_INT(h.version, 11);
	CHECK_INT(h.header_n, 3);
	CHECK(str_eq(h.header[1].name, STR("if-none-match")));
	CHECK(str_eq(h.header[1].value, STR("\"a\"")));
	CHECK(str_eq(h.header[2].value, STR("")));
	CHECK(h.keep_alive);
}

TEST(keeps_alive_as_the_version_says)
{
	struct http_head h;
	CHECK_INT(head("GET / HTTP/1.1\nHost: x\nConnection: TE, Close\n\n", &h), 0);
	CHECK(!h.keep_alive);
	CHECK_INT(head("GET / HTTP/1.0\n\n", &h), 0);
	CHECK(!h.keep_alive);
	CHECK_INT(head("GET / HTTP/1.0\nConnection: keep-alive\n\n", &h), 0);
	CHECK(h.keep_alive);
}

TEST(takes_the_absolute_form)
{
	struct http_head h;
	CHECK_INT(head("GET http://mirror:8080/x HTTP/1.1\nHost: other\n\n", &h), 0);
	CHECK(str_eq(h.path, STR("/x")));
	CHECK(str_eq(h.host, STR("mirror:8080")));
	CHECK_INT(status("GET ftp://mirror/x HTTP/1.1\nHost: x\n\n"), 400);
	CHECK_INT(status("GET http:///x HTTP/1.1\nHost: x\n\n"), 400);
	CHECK_INT(status("GET x HTTP/1.1\nHost: x\n\n"), 400);
}

TEST(refuses_request_lines)
{
	CHECK_INT(status("GET / HTTP/1.1 \nHost: x\n\n"), 400);
	CHECK_INT(status("GET  / HTTP/1.1\nHost: x\n\n"), 400);
	CHECK_INT(status(" GET / HTTP/1.1\nHost: x\n\n"), 400);
	CHECK_INT(status("GET /\nHost: x\n\n"), 400);
	CHECK_INT(status("G(T / HTTP/1.1\nHost: x\n\n"), 400);
	CHECK_INT(status("GET / HTTP/2.0\nHost: x\n\n"), 505);
	CHECK_INT(status("GET / HTTP/0.9\nHost: x\n\n"), 505);
	CHECK_INT(status("GET / http/1.1\nHost: x\n\n"), 400);
	CHECK_INT(status("GET / HTTP/1.10\nHost: x\n\n"), 400);
	CHECK_INT(status("GET /#x HTTP/1.1\nHost: x\n\n"), 400);
	CHECK_INT(status("GET /\t HTTP/1.1\nHost: x\n\n"), 400);
	CHECK_INT(status("OPTIONS * HTTP/1.1\nHost: x\n\n"), 0);
	CHECK_INT(status("GET * HTTP/1.1\nHost: x\n\n"), 400);
}

TEST(refuses_headers)
{
	CHECK_INT(status("GET / HTTP/1.1\n\n"), 400);
	CHECK_INT(status("GET / HTTP/1.1\nHost: x\nHost: x\n\n"), 400);
	CHECK_INT(status("GET / HTTP/1.1\nHost: a b\n\n"), 400);
	CHECK_INT(status("GET / HTTP/1.1\nHost: a/b\n\n"), 400);
	CHECK_INT(status("GET / HTTP/1.1\nHost : x\n\n"), 400);
	CHECK_INT(status("GET / HTTP/1.1\nHost: x\n folded\n\n"), 400);
	CHECK_INT(status("GET / HTTP/1.1\nHost: x\nno colon\n\n"), 400);
	CHECK_INT(status("GET / HTTP/1.1\nHost: x\n: empty\n\n"), 400);
	CHECK_INT(status("GET / HTTP/1.1\nHost: x\nA: b\x01\n\n"), 400);
	CHECK_INT(status("GET / HTTP/1.1\nHost: x\nExpect: miracles\n\n"), 417);
	struct http_head h;
	CHECK_INT(head_of_bytes("GET / HTTP/1.1\nHost: x\r\n\r\n", 27, &h), 400);
	CHECK_INT(head_of_bytes("GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", 33, &h), 400);
	CHECK_INT(head_of_bytes("GET / HTTP/1.1\r\nHost: x\0\r\n\r\n", 29, &h), 400);
}

TEST(refuses_two_meanings_of_a_body)
{
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nContent-Length: 3\n\n"), 0);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n"), 0);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nContent-Length: 3\nContent-Length: 3\n\n"), 400);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nContent-Length: 3, 3\n\n"), 400);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nContent-Length: +3\n\n"), 400);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nContent-Length: 0x3\n\n"), 400);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nContent-Length: -1\n\n"), 400);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nContent-Length: 18446744073709551616\n\n"), 400);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nContent-Length: 9223372036854775808\n\n"), 400);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nContent-Length: 3\nTransfer-Encoding: chunked\n\n"), 400);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nContent-Length: 3\n\n"), 400);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n"), 400);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nTransfer-Encoding: gzip, chunked\n\n"), 501);
	CHECK_INT(status("POST / HTTP/1.1\nHost: x\nTransfer-Encoding: xchunked\n\n"), 501);
	CHECK_INT(status("POST / HTTP/1.0\nTransfer-Encoding: chunked\n\n"), 400);
}

TEST(bounds_a_head)
{
	auto_buf b = BUF_INIT(1 << 20);
	buf_put_c(&b, "GET / HTTP/1.1\nHost: x\n");
	for (int i = 0; i < 9; i++)
		buf_printf(&b, "a%d: b\n", i);
	buf_put_c(&b, "\n");
	CHECK_INT(status(b.p), 0);
	buf_truncate(&b, b.n - 1);
	buf_put_c(&b, "more: c\n\n");
	CHECK_INT(status(b.p), 431);
	buf_clear(&b);
	buf_printf(&b, "GET /%0195d HTTP/1.1\nHost: x\n\n", 0);
	CHECK_INT(status(b.p), 0);
	buf_clear(&b);
	buf_printf(&b, "GET /%0200d HTTP/1.1\nHost: x\n\n", 0);
	CHECK_INT(status(b.p), 414);
	buf_clear(&b);
	buf_printf(&b, "GET / HTTP/1.1\nHost: x\nA: %04096d\n\n", 0);
	CHECK_INT(status(b.p), 431);
}

static bool path_is(const char *raw, const char *want)
{
	struct str s;
	bool good = http_path(str_c(raw), &a, &s);
	return want ? good && str_eq_c(s, want) && strlen(s.p) == s.n : !good;
}

TEST(normalises_paths)
{
	CHECK(path_is("/", "/"));
	CHECK(path_is("//", "/"));
	CHECK(path_is("/.", "/"));
	CHECK(path_is("/./", "/"));
	CHECK(path_is("/a/", "/a/"));
	CHECK(path_is("/a/.", "/a/"));
	CHECK(path_is("/a//./b", "/a/b"));
	CHECK(path_is("/...", "/..."));
	CHECK(path_is("/..a/b..", "/..a/b.."));
	CHECK(path_is("/%C3%A4+b%2Bc%25", "/\xc3\xa4+b+c%"));
	CHECK(path_is("/a%2fb", "/a/b"));
	CHECK(path_is("/pkg_1%3a2.0_amd64.deb", "/pkg_1:2.0_amd64.deb"));
}

TEST(refuses_paths_in_every_disguise)
{
	static const char *const bad[] = {
		"",
		"a",
		"/..",
		"/../etc/passwd",
		"/a/../../b",
		"/a/..",
		"/a/../",
		"/%2e%2e/etc",
		"/%2e./x",
		"/.%2E/x",
		"/a%2f..%2fb",
		"/a/%2e%2e%2fb",
		"/..%2f",
		"/%2e%2e%2f%2e%2e",
		"/%",
		"/%2",
		"/%zz",
		"/%0",
		"/a%00b",
		"/%00",
		"/a%0ab",
		"/%0d",
		"/%7f",
		"/\x01",
		"/%c0%ae%c0%ae/x",
		"/%e0%80%ae/",
		"/%ff",
		"/%c2%85",
		"/%ed%a0%80",
		"/%u002e",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!path_is(bad[i], NULL))
			CHECK_STR(bad[i], "refused");
	CHECK(path_is("/%252e%252e/x", "/%2e%2e/x")); /* decoded once: a name */
}

/* Feeds the body in pieces of `step` bytes. -1: refused, -2: not at its end. */
static int chunks(const char *in, size_t step, struct buf *out)
{
	struct http_chunks k = {0};
	struct str all = str_c(in);
	while (all.n) {
		struct str part = str_head(all, step), data;
		int more;
		all = str_skip(all, part.n);
		while ((more = http_chunk(&k, &part, &data)) == 1)
			buf_put_str(out, data);
		if (more < 0)
			return -1;
		if (k.at == CHUNK_DONE)
			return (int)(part.n + all.n); /* what follows */
	}
	return -2;
}

TEST(reads_chunks)
{
	for (size_t step = 1; step < 40; step++) {
		auto_buf b = BUF_INIT(1000);
		CHECK_INT(chunks("3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\nT: u\r\n\r\nGET", step, &b), 3);
		CHECK_STR(b.p, "abc0123456789");
	}
}

TEST(refuses_chunks)
{
	static const char *const bad[] = {
		"\r\n",
		"x\r\n",
		"-1\r\n",
		"0x3\r\nabc",
		"3\nabc",
		"3\r\nabcd\r\n",
		"3\r\nabc\n0\r\n",
		"3 \r\nabc",
		"1000000000000000\r\n",
		";\r\n",
		"3\r\nabc\r\n\r\n",
		"0\r\n\n",
		"0\r\nA\n\r\n",
		"3;\x01\r\nabc",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_buf b = BUF_INIT(1000);
		if (chunks(bad[i], 7, &b) != -1)
			CHECK_STR(bad[i], "refused");
	}
}

static bool ranges_are(const char *value, uint64_t size, int want_n, uint64_t from, uint64_t n)
{
	struct http_range r[HTTP_RANGES_MAX] = {0};
	int got = http_ranges(str_c(value), size, r);
	return got == want_n && (got < 1 || (r[got - 1].from == from && r[got - 1].n == n));
}

TEST(reads_ranges)
{
	CHECK(ranges_are("bytes=0-0", 10, 1, 0, 1));
	CHECK(ranges_are("bytes=2-", 10, 1, 2, 8));
	CHECK(ranges_are("bytes=-3", 10, 1, 7, 3));
	CHECK(ranges_are("bytes=-30", 10, 1, 0, 10));
	CHECK(ranges_are("bytes=5-100", 10, 1, 5, 5));
	CHECK(ranges_are("Bytes= 0-1 , 4-5,", 10, 2, 4, 2));
	CHECK(ranges_are("bytes=9-9,10-", 10, 1, 9, 1));
	CHECK(ranges_are("bytes=10-", 10, 0, 0, 0));
	CHECK(ranges_are("bytes=-0", 10, 0, 0, 0));
	CHECK(ranges_are("bytes=0-", 0, 0, 0, 0));
	CHECK(ranges_are("bytes=5-4", 10, -1, 0, 0));
	CHECK(ranges_are("bytes=a-", 10, -1, 0, 0));
	CHECK(ranges_are("bytes=", 10, -1, 0, 0));
	CHECK(ranges_are("lines=0-1", 10, -1, 0, 0));
	CHECK(ranges_are("bytes=0-,0-", 10, -1, 0, 0));
	CHECK(ranges_are("bytes=0-18446744073709551615", 10, 1, 0, 10));
	CHECK(ranges_are("bytes=18446744073709551616-", 10, -1, 0, 0));
}

TEST(writes_and_reads_dates)
{
	char out[HTTP_DATE_SIZE];
	int64_t s;
	http_date(784111777, out);
	CHECK_STR(out, "Sun, 06 Nov 1994 08:49:37 GMT");
	http_date(951782400, out);
	CHECK_STR(out, "Tue, 29 Feb 2000 00:00:00 GMT");
	for (int64_t t = 0; t < 253402300800; t += 86399 * 37) {
		http_date(t, out);
		CHECK(http_parse_date(str_c(out), &s) && s == t);
	}
	CHECK(http_parse_date(STR("Sunday, 06-Nov-94 08:49:37 GMT"), &s) && s == 784111777);
	CHECK(http_parse_date(STR("Sun Nov  6 08:49:37 1994"), &s) && s == 784111777);
	CHECK(!http_parse_date(STR("Sun, 06 Nov 1994 08:49:37 CET"), &s));
	CHECK(!http_parse_date(STR("Sun, 06 Nov 1994 24:49:37 GMT"), &s));
	CHECK(!http_parse_date(STR("yesterday"), &s));
}

TEST(finds_entity_tags)
{
	CHECK(http_etag_listed(STR("*"), STR("\"a\""), false));
	CHECK(http_etag_listed(STR("\"x\", \"a\""), STR("\"a\""), false));
	CHECK(http_etag_listed(STR("\"a,b\",\"c\""), STR("\"c\""), false));
	CHECK(!http_etag_listed(STR("\"a,b\""), STR("\"b\""), true));
	CHECK(http_etag_listed(STR("W/\"a\""), STR("\"a\""), true));
	CHECK(!http_etag_listed(STR("W/\"a\""), STR("\"a\""), false));
	CHECK(!http_etag_listed(STR("\"a\""), STR("W/\"a\""), false));
	CHECK(!http_etag_listed(STR("a"), STR("\"a\""), true));
	CHECK(!http_etag_listed(STR(""), STR("\"a\""), true));
	CHECK(!http_etag_listed(STR("\"a"), STR("\"a\""), true));
}
