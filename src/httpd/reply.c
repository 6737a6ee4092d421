// SPDX-License-Identifier: Apache-2.0
/*
 * What is answered: conditions (RFC 9110, 13.2.2), ranges, the lines of the head; and the body, piece by piece. The building runs on the handler's
 * thread, the sending on the worker's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

#include "httpd/server.h"

/* The body that a reply would have, whole. */
struct whole {
	const char *mem;
	uint64_t size;
	bool unsized;
	const char *type;
	struct str etag;
	int64_t mtime_s;
	struct str date; /* of mtime_s, where somebody has it */
};

void reply_release(struct httpd_req *r)
{
	struct reply *p = &r->reply;
	if (p->stream) {
		stream_leave(p->stream, r);
		stream_reader(p->stream, -1);
		atomic_fetch_sub(&r->h->streams, 1);
		httpd_stream_unref(p->stream);
	}
	cleanup_fd(&p->fd);
	cached_drop(p->file);
	buf_release(&p->head);
	p->stream = NULL;
	p->file = NULL;
}

/* -- lines ------------------------------------------------------------------------------------------------------------------ */

static void put_line(struct buf *b, struct str name, struct str value)
{
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] < 0x20 && value.p[i] != '\t')
			return; /* it would begin a line of its own */
	buf_put_str(b, name);
	buf_put(b, ": ", 2);
	buf_put_str(b, value);
	buf_put(b, "\r\n", 2);
}

static void put_line_c(struct buf *b, const char *name, const char *value)
{
	if (value)
		put_line(b, str_c(name), str_c(value));
}

static void put_number(struct buf *b, const char *name, uint64_t n)
{
	char digits[24];
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	put_line(b, str_c(name), str_of(digits + at, sizeof(digits) - at));
}

static void put_common(struct buf *b, const struct httpd_head *head, const struct whole *w)
{
	char date[HTTP_DATE_SIZE];
	if (w->etag.n)
		put_line(b, STR("ETag"), w->etag);
	if (w->date.n) {
		put_line(b, STR("Last-Modified"), w->date);
	} else if (w->mtime_s) {
		http_date(w->mtime_s, date);
		put_line(b, STR("Last-Modified"), str_c(date));
	}
	put_line_c(b, "Cache-Control", head->cache_control);
	put_line_c(b, "Location", head->location);
	for (size_t i = 0; i < head->more_n; i++)
		if (http_is_token(head->more[i].name))
			put_line(b, head->more[i].name, head->more[i].value);
}

/* -- conditions --------------------------------------------------------------------------------------------------------------- */

static bool date_header(const struct httpd_req *r, const char *name, int64_t *ret)
{
	struct str s;
	return httpd_header(r, name, &s) && http_parse_date(s, ret);
}

/* 0: go on; 304 or 412. */
static int conditions(const struct httpd_req *r, const struct whole *w)
{
	struct str list;
	int64_t t;
	if (r->head.header_n == 0)
		return 0;
	if (httpd_header(r, "if-match", &list)) {
		if (!http_etag_listed(list, w->etag, false))
			return 412;
	} else if (w->mtime_s && date_header(r, "if-unmodified-since", &t) && w->mtime_s > t) {
		return 412;
	}
	if (httpd_header(r, "if-none-match", &list))
		return http_etag_listed(list, w->etag, true) ? 304 : 0;
	return w->mtime_s && date_header(r, "if-modified-since", &t) && w->mtime_s <= t ? 304 : 0;
}

static bool range_holds(const struct httpd_req *r, const struct whole *w)
{
	struct str s;
	int64_t t;
	if (!httpd_header(r, "if-range", &s))
		return true;
	if (s.n && (s.p[0] == '"' || str_starts(s, STR("W/"))))
		return w->etag.n && !str_starts(w->etag, STR("W/")) && str_eq(s, w->etag);
	return w->mtime_s && http_parse_date(s, &t) && t == w->mtime_s;
}

/* -- the body's pieces ---------------------------------------------------------------------------------------------------------- */

static void set_piece(struct reply *p, const struct whole *w, struct segment *s, uint64_t from, uint64_t n)
{
	*s = (struct segment){.mem = w->mem ? w->mem + from : NULL, .at = from, .n = n};
	p->length += n;
}

static void set_text(struct reply *p, struct segment *s, const char *text)
{
	*s = (struct segment){.mem = text, .n = strlen(text)};
	p->length += s->n;
}

static void set_parts(struct httpd_req *r, const struct whole *w, const struct http_range *range, int n)
{
	struct reply *p = &r->reply;
	uint64_t random = 0;
	char type[80];
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint64_t)(uintptr_t)r * 0x9e3779b97f4a7c15;
	p->seg_n = (size_t)n * 2 + 1;
	p->seg = arena_array(&r->a, struct segment, p->seg_n);
	for (int i = 0; i < n; i++) {
		set_text(p, &p->seg[i * 2],
			 arena_printf(&r->a,
				      "%s--%016llx\r\nContent-Type: %s\r\nContent-Range: bytes %llu-%llu/%llu\r\n\r\n",
				      i ? "\r\n" : "", (unsigned long long)random, w->type,
				      (unsigned long long)range[i].from,
				      (unsigned long long)(range[i].from + range[i].n - 1),
				      (unsigned long long)w->size));
		set_piece(p, w, &p->seg[i * 2 + 1], range[i].from, range[i].n);
	}
	set_text(p, &p->seg[n * 2], arena_printf(&r->a, "\r\n--%016llx--\r\n", (unsigned long long)random));
	snprintf(type, sizeof(type), "multipart/byteranges; boundary=%016llx", (unsigned long long)random);
	put_line_c(&p->head, "Content-Type", type);
}

/* Sets status and pieces for what the request asks of w; a Content-Type that is not its own too. */
static void set_ranges(struct httpd_req *r, const struct whole *w)
{
	struct reply *p = &r->reply;
	struct http_range range[HTTP_RANGES_MAX];
	struct str asked;
	int n = -1;
	if (r->head.header_n && str_eq(r->head.method, STR("GET")) && httpd_header(r, "range", &asked) &&
	    range_holds(r, w))
		n = http_ranges(asked, w->size, range);
	char text[80];
	if (n == 0) {
		p->status = 416;
		snprintf(text, sizeof(text), "bytes */%llu", (unsigned long long)w->size);
		put_line_c(&p->head, "Content-Range", text);
		return;
	}
	if (n > 1) {
		p->status = 206;
		set_parts(r, w, range, n);
		return;
	}
	put_line_c(&p->head, "Content-Type", w->type);
	p->seg = &p->one;
	p->seg_n = 1;
	if (n < 0) {
		set_piece(p, w, &p->one, 0, w->size);
		return;
	}
	p->status = 206;
	snprintf(text, sizeof(text), "bytes %llu-%llu/%llu", (unsigned long long)range[0].from,
		 (unsigned long long)(range[0].from + range[0].n - 1), (unsigned long long)w->size);
	put_line_c(&p->head, "Content-Range", text);
	set_piece(p, w, &p->one, range[0].from, range[0].n);
}

/* -- building ---------------------------------------------------------------------------------------------------------------------- */

static bool is_read(const struct httpd_req *r)
{
	return str_eq(r->head.method, STR("GET")) || str_eq(r->head.method, STR("HEAD"));
}

static void build(struct httpd_req *r, const struct httpd_head *head, const struct whole *w)
{
	struct reply *p = &r->reply;
	p->status = head->status ? head->status : 200;
	bool plain = p->status == 200 && is_read(r);
	int other = plain && (w->etag.n || w->mtime_s) ? conditions(r, w) : 0;
	buf_reserve(&p->head, 480);
	if (other) {
		p->status = other;
	} else if (w->unsized) {
		p->unsized = true;
		p->seg = &p->one;
		p->seg_n = 1;
		p->one = (struct segment){.n = UINT64_MAX};
		put_line_c(&p->head, "Content-Type", w->type);
	} else if (plain && (w->etag.n || w->mtime_s || p->stream)) {
		put_line(&p->head, STR("Accept-Ranges"), STR("bytes"));
		set_ranges(r, w);
	} else {
		p->seg = &p->one;
		p->seg_n = 1;
		set_piece(p, w, &p->one, 0, w->size);
		if (w->size)
			put_line_c(&p->head, "Content-Type", w->type);
	}
	put_common(&p->head, head, w);
	if (p->status != 416 && !other)
		put_line_c(&p->head, "Content-Disposition", head->disposition);
	bool bare = p->status == 304 || p->status == 204 || p->status < 200;
	if (!bare && !p->unsized)
		put_number(&p->head, "Content-Length", p->length);
	p->no_body = bare || str_eq(r->head.method, STR("HEAD"));
	if (p->no_body)
		p->seg_n = 0;
}

/* Hands it to the worker; the handler's hold goes with it. */
static void submit(struct httpd_req *r)
{
	if (pthread_equal(pthread_self(), r->thread) && r->in_handler) {
		r->replied = true;
		req_drop(r);
		return;
	}
	worker_mail(r->w, r, MAIL_REPLY);
}

static struct whole whole_of(const struct httpd_head *head, uint64_t size)
{
	return (struct whole){.size = size,
			      .type = head->type ? head->type : "application/octet-stream",
			      .etag = str_c(head->etag),
			      .mtime_s = head->mtime_s};
}

void httpd_reply_bytes(struct httpd_req *r, const struct httpd_head *head, struct str bytes)
{
	struct whole w = whole_of(head, bytes.n);
	struct str copy = arena_str(&r->a, bytes);
	w.mem = copy.p;
	build(r, head, &w);
	submit(r);
}

static void build_error(struct httpd_req *r, int status, const char *text)
{
	const struct httpd_header allow = {STR("Allow"), STR("GET, HEAD")};
	struct httpd_head head = {
		.status = status, .type = "text/plain; charset=utf-8", .more = &allow, .more_n = status == 405};
	struct whole w = whole_of(&head, 0);
	w.mem = arena_printf(&r->a, "%d %s%s%s\n", status, http_reason(status), *text ? ": " : "", text);
	w.size = strlen(w.mem);
	build(r, &head, &w);
}

void httpd_reply_error(struct httpd_req *r, int status, const char *fmt, ...)
{
	auto_buf text = BUF_INIT(4096);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	build_error(r, status, text.p);
	submit(r);
}

void reply_error(struct httpd_req *r, int status, const char *text)
{
	build_error(r, status, text);
}

int httpd_reply_path(struct httpd_req *r, const struct httpd_head *head, int dir_fd, const char *path)
{
	struct cached *file;
	int found = files_open(r->h, dir_fd, path, &file);
	if (found == HTTPD_NO_FILE)
		return HTTPD_NO_FILE;
	if (found < 0) {
		build_error(r, errno == EACCES || errno == EPERM ? 403 : 500, "");
	} else if (!is_read(r)) {
		cached_drop(file);
		build_error(r, 405, "");
	} else {
		struct whole w = whole_of(head, (uint64_t)file->st.st_size);
		w.mem = file->mem;
		if (!head->etag)
			w.etag = file->etag;
		if (!head->mtime_s) {
			w.mtime_s = file->st.st_mtim.tv_sec;
			w.date = file->date;
		}
		r->reply.file = file;
		build(r, head, &w);
	}
	submit(r);
	return 0;
}

void httpd_reply_file(struct httpd_req *r, const struct httpd_head *head, int fd, int64_t size_bytes)
{
	struct stat st;
	char tag[64];
	r->reply.fd = fd;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		build_error(r, 500, "");
		submit(r);
		return;
	}
	struct whole w = whole_of(head, (uint64_t)(size_bytes < 0 ? st.st_size : size_bytes));
	file_tag(&st, tag);
	if (!head->etag)
		w.etag = str_c(tag);
	if (!head->mtime_s)
		w.mtime_s = st.st_mtim.tv_sec;
	build(r, head, &w);
	submit(r);
}

void httpd_reply_stream(struct httpd_req *r, const struct httpd_head *head, struct httpd_stream *s)
{
	int64_t size = stream_size(s);
	struct whole w = whole_of(head, size < 0 ? 0 : (uint64_t)size);
	w.unsized = size < 0;
	r->reply.stream = httpd_stream_ref(s);
	stream_reader(s, 1);
	atomic_fetch_add(&r->h->streams, 1);
	build(r, head, &w);
	submit(r);
}

/* -- sending: on the worker ------------------------------------------------------------------------------------------------------------ */

void reply_check(struct httpd_req *r)
{
	struct reply *p = &r->reply;
	bool too_large = p->head.overflow || p->head.n > HEAD_MAX - 256;
	if (!too_large && (!p->stream || !stream_has_failed(p->stream)))
		return;
	reply_release(r);
	*p = (struct reply){.fd = -1, .head = BUF_INIT(HEAD_MAX), .close = p->close};
	build_error(r, too_large ? 500 : 502, too_large ? "the head of the reply is too large" : "");
}

static void skip_empty(struct reply *p)
{
	while (p->seg_at < p->seg_n && p->seg[p->seg_at].n == 0)
		p->seg_at++;
}

bool reply_at_end(const struct reply *p)
{
	size_t at = p->seg_at;
	while (at < p->seg_n && p->seg[at].n == 0)
		at++;
	return at >= p->seg_n;
}

void reply_advance(struct reply *p, uint64_t n)
{
	struct segment *s = &p->seg[p->seg_at];
	if (s->mem)
		s->mem += n;
	s->at += n;
	if (s->n != UINT64_MAX) /* unsized */
		s->n -= n;
	p->sent += n;
}

int reply_source(struct httpd_req *r, uint64_t *ret_at, uint64_t *ret_n, bool *ret_failed)
{
	struct reply *p = &r->reply;
	*ret_failed = false;
	skip_empty(p);
	*ret_n = 0;
	if (p->seg_at >= p->seg_n || p->seg[p->seg_at].mem)
		return -1;
	struct segment *s = &p->seg[p->seg_at];
	*ret_at = s->at;
	*ret_n = s->n;
	if (!p->stream)
		return p->file ? p->file->fd : p->fd;
	bool end;
	int64_t there = stream_available(p->stream, r, s->at, s->n, &end);
	*ret_failed = there < 0;
	*ret_n = there < 0 ? 0 : (uint64_t)there;
	if (end)
		s->n = 0;
	return end ? -1 : stream_fd(p->stream);
}

ssize_t reply_read(struct httpd_req *r, char *p, size_t n)
{
	struct reply *re = &r->reply;
	size_t got = 0;
	while (got < n) {
		uint64_t at, there;
		bool failed;
		if (got && re->stream && re->seg_at < re->seg_n && !re->seg[re->seg_at].mem)
			break; /* it is asked for more when this has gone */
		int fd = reply_source(r, &at, &there, &failed);
		if (failed)
			return -1;
		if (reply_at_end(re))
			break;
		if (fd < 0) {
			const struct segment *s = &re->seg[re->seg_at];
			size_t take = s->n < n - got ? (size_t)s->n : n - got;
			memcpy(p + got, s->mem, take);
			reply_advance(re, take);
			got += take;
			continue;
		}
		if (there == 0)
			return got ? (ssize_t)got : -2;
		ssize_t done = pread(fd, p + got, there < n - got ? (size_t)there : n - got, (off_t)at);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return -1; /* shorter than it was said */
		reply_advance(re, (uint64_t)done);
		got += (size_t)done;
	}
	return (ssize_t)got;
}
