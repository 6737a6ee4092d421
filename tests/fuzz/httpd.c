// SPDX-License-Identifier: Apache-2.0
/*
 * What a client of the server may send: a head, then a chunked body; its path, ranges, dates and entity tags. What was taken has one meaning: a path has
 * no way out and is its own normal form, ranges lie inside the file and are no more than it, chunks read the same in one piece and byte by
 * byte, a date that is written again reads the same.
 */
#include "base/buf.h"
#include "httpd/syntax.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good, const char *what, struct str s)
{
	if (!good)
		panic("%s: '%.*s'", what, STR_ARG(s));
}

static void check_path(struct str raw, struct arena *a)
{
	struct str path, again, escaped;
	if (!http_path(raw, a, &path))
		return;
	must(path.n > 0 && path.p[0] == '/' && path.p[path.n] == '\0' && strlen(path.p) == path.n, "no whole string",
	     raw);
	must(str_search(path, STR("//")) < 0 && str_search(path, STR("/./")) < 0 && str_search(path, STR("/../")) < 0 &&
		     !str_ends(path, STR("/..")) && !str_ends(path, STR("/.")),
	     "not normal", path);
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < path.n; i++)
		buf_printf(&b, path.p[i] == '/' ? "/" : "%%%02x", (unsigned char)path.p[i]);
	escaped = buf_str(&b);
	must(http_path(escaped, a, &again) && str_eq(path, again), "another path when escaped", path);
}

static void check_ranges(struct str value, uint64_t size)
{
	struct http_range r[HTTP_RANGES_MAX];
	uint64_t sum = 0;
	int n = http_ranges(value, size, r);
	for (int i = 0; i < n; i++) {
		must(r[i].n > 0 && r[i].from < size && r[i].n <= size - r[i].from, "a range outside", value);
		sum += r[i].n;
	}
	must(sum <= size, "more than the whole", value);
}

/* Returns the bytes behind it, -1 refused, -2 not at its end. */
static int64_t unchunk(struct str in, size_t step, struct buf *out)
{
	struct http_chunks k = {0};
	while (in.n) {
		struct str part = str_head(in, step), data;
		int more;
		in = str_skip(in, part.n);
		while ((more = http_chunk(&k, &part, &data)) == 1)
			buf_put_str(out, data);
		if (more < 0)
			return -1;
		if (k.at == CHUNK_DONE)
			return (int64_t)(part.n + in.n);
	}
	return -2;
}

static void check_chunks(struct str in)
{
	auto_buf whole = BUF_INIT(BUF_MAX), single = BUF_INIT(BUF_MAX);
	int64_t x = unchunk(in, in.n, &whole), y = unchunk(in, 1, &single);
	must(x == y && (x < 0 || str_eq(buf_str(&whole), buf_str(&single))), "two readings of chunks", in);
	must(x != -1 || whole.n <= in.n, "more than came", in);
}

static void check_date(struct str s)
{
	int64_t t, again;
	char out[HTTP_DATE_SIZE];
	if (!http_parse_date(s, &t))
		return;
	http_date(t, out);
	must(http_parse_date(str_c(out), &again) && (again == t || t > 253402300799), "another date when written again",
	     s);
}

static void check_head(const struct http_head *h, struct arena *a)
{
	struct str length = STR_NONE, encoding = STR_NONE;
	must(str_eq(h->path, STR("*")) || h->path.p[0] == '/', "a path", h->target);
	for (size_t i = 0; i < h->header_n; i++) {
		struct httpd_header f = h->header[i];
		must(http_is_token(f.name) && !memchr(f.value.p, '\n', f.value.n) &&
			     !memchr(f.value.p, '\r', f.value.n) && !memchr(f.value.p, '\0', f.value.n),
		     "a header", f.name);
		if (str_eq(f.name, STR("content-length")))
			length = f.value;
		if (str_eq(f.name, STR("transfer-encoding")))
			encoding = f.value;
		check_ranges(f.value, 1000);
		check_ranges(f.value, 0);
		check_date(f.value);
		if (http_etag_listed(f.value, STR("\"a\""), false))
			must(http_etag_listed(f.value, STR("\"a\""), true), "strong but not weak", f.value);
	}
	must(!(length.p && encoding.p), "two lengths", h->target);
	must(!encoding.p == !h->chunked, "chunks", encoding);
	struct str ignored;
	http_unescape(h->query, a, &ignored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct http_limits limits = {.head_bytes = 4096, .headers = 20, .target_bytes = 1024};
	auto_arena a = ARENA_INIT;
	struct str in = str_of((const char *)data, size);
	struct http_head h;
	size_t scanned = 0, n = http_head_end(in, &scanned);
	check_path(in, &a);
	check_ranges(in, 1 << 20);
	check_date(in);
	check_chunks(in);
	if (!n)
		return 0;
	/* found as well when it comes byte by byte */
	scanned = 0;
	for (size_t i = 1; i < n; i++)
		must(http_head_end(str_head(in, i), &scanned) == 0, "an end before the end", in);
	must(http_head_end(str_head(in, n), &scanned) == n, "the end missed", in);
	if (http_parse_head(arena_strdup(&a, str_head(in, n)), n, &limits, &a, &h) == 0)
		check_head(&h, &a);
	check_chunks(str_skip(in, n));
	return 0;
}
