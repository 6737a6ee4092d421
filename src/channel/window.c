// SPDX-License-Identifier: Apache-2.0
#include "channel/window.h"

#include <stdlib.h>

enum {
	WINDOW_BYTES = 512 << 10,
	PROGRESS_BYTES = 8 << 20,
};

void window_init(struct window *w, struct istream *in, struct progress *progress)
{
	*w = (struct window){.in = in, .cap = WINDOW_BYTES, .progress = progress};
	w->buf = xmalloc(w->cap + SCAN_PAD);
	w->p = w->end = w->buf;
	memset(w->end, '"', SCAN_PAD);
}

void window_release(struct window *w)
{
	free(w->buf);
}
/* Moves what is left to the front and reads more behind it. */
static int window_fill(struct window *w, struct err *e)
{
	size_t left = (size_t)(w->end - w->p);
	w->base += (uint64_t)(w->p - w->buf);
	memmove(w->buf, w->p, left);
	if (left > w->cap / 2) {
		if (w->cap >= WINDOW_MAX)
			return err_new(e, ERR_LIMIT, "%s: offset %llu: one record of more than %d MiB", w->in->name,
				       (unsigned long long)w->base, WINDOW_MAX >> 20);
		w->cap *= 2;
		w->buf = xrealloc(w->buf, w->cap + SCAN_PAD);
	}
	ssize_t n = istream_read(w->in, w->buf + left, w->cap - left, e);
	if (n < 0)
		return -1;
	w->eof = n == 0;
	w->p = w->buf;
	w->end = w->buf + left + n;
	memset(w->end, '"', SCAN_PAD);
	if (w->base - w->reported >= PROGRESS_BYTES) {
		w->reported = w->base;
		progress_send(w->progress,
			      (struct progress_event){
				      .kind = PROGRESS_UPDATE, .phase = "index", .id = w->in->name, .done = w->base});
	}
	return 0;
}

int window_bad_at(struct window *w, const char *p, const char *what, struct err *e)
{
	return err_new(e, ERR_INPUT, "%s: offset %llu: %s", w->in->name,
		       (unsigned long long)(w->base + (uint64_t)(p - w->buf)), what);
}

int window_ctx_at(struct window *w, const char *p, struct err *e)
{
	return err_ctx(e, "%s: offset %llu", w->in->name, (unsigned long long)(w->base + (uint64_t)(p - w->buf)));
}

int window_scan(struct window *w, scan_fn *fn, void *ctx, struct err *e)
{
	for (;;) {
		struct scan s = {.p = w->p, .end = w->end};
		if (fn(&s, ctx)) {
			w->p += s.p - w->p;
			return 0;
		}
		if (s.rc == SCAN_BAD)
			return window_bad_at(w, s.p, s.what, e);
		if (w->eof)
			return window_bad_at(w, w->end, "the file ends too early: it is truncated", e);
		if (window_fill(w, e) < 0)
			return -1;
	}
}

bool scan_open(struct scan *s, void *ctx)
{
	(void)ctx;
	return scan_char(s, '{', "expected '{'");
}

/* The next key of an object with its colon, or the object's end. */
struct key_scan {
	bool first, is_end;
	struct str key; /* raw */
};
static bool scan_key(struct scan *s, void *ctx)
{
	struct key_scan *k = ctx;
	k->is_end = false;
	if (scan_peek(s) == '}') {
		s->p++;
		k->is_end = true;
		return true;
	}
	if (!k->first && !scan_char(s, ',', "expected ',' or '}'"))
		return false;
	return scan_string(s, &k->key) && scan_char(s, ':', "expected ':'");
}

bool scan_one_value(struct scan *s, void *ctx)
{
	return scan_value(s, ctx);
}

/* A string, bracket or comma of a value that is skipped. */
struct skip {
	uint64_t depth;
};
static bool scan_skip(struct scan *s, void *ctx)
{
	struct skip *k = ctx;
	struct str ignored;
	const char *from = s->p;
	while (s->p < s->end && s->p - from < WINDOW_BYTES / 4) {
		char c = *s->p;
		if (c == '"') {
			const char *at = s->p;
			if (!scan_string(s, &ignored)) {
				s->p = at;
				return at > from ? true : scan_more(s);
			}
			continue;
		}
		s->p++;
		if (c == '{' || c == '[')
			k->depth++;
		else if ((c == '}' || c == ']') && --k->depth == 0)
			return true;
	}
	return s->p > from ? true : scan_more(s);
}

static bool scan_start(struct scan *s, void *ctx)
{
	char *c = ctx;
	*c = scan_peek(s);
	return s->p < s->end ? true : scan_more(s);
}

int window_skip_value(struct window *w, struct err *e)
{
	struct skip k = {0};
	struct str ignored;
	char c;
	if (window_scan(w, scan_start, &c, e) < 0)
		return -1;
	if (c != '{' && c != '[')
		return window_scan(w, scan_one_value, &ignored, e);
	do {
		if (window_scan(w, scan_skip, &k, e) < 0)
			return -1;
	} while (k.depth > 0);
	return 0;
}

static int skip_space(struct window *w, struct err *e)
{
	for (;;) {
		while (w->p < w->end && (*w->p == ' ' || *w->p == '\n' || *w->p == '\r' || *w->p == '\t'))
			w->p++;
		if (w->p < w->end || w->eof)
			return 0;
		if (window_fill(w, e) < 0)
			return -1;
	}
}

/* -- members ------------------------------------------------------------------------------------------------------- */

static int each_member(struct window *w, window_member_fn *fn, void *ctx, struct err *e)
{
	struct key_scan k = {.first = true};
	if (window_scan(w, scan_open, NULL, e) < 0)
		return -1;
	for (;;) {
		if (window_scan(w, scan_key, &k, e) < 0)
			return -1;
		if (k.is_end)
			return 0;
		k.first = false;
		if (fn(ctx, w, k.key, e) < 0)
			return -1;
	}
}

int window_document(struct window *w, window_member_fn *fn, void *ctx, struct err *e)
{
	if (skip_space(w, e) < 0)
		return -1;
	if (w->p == w->end)
		return 0;
	if (*w->p != '{')
		return window_bad_at(w, w->p, "this is no repodata: expected '{'; check the channel's address", e);
	if (each_member(w, fn, ctx, e) < 0 || skip_space(w, e) < 0)
		return -1;
	return w->p == w->end ? 0 : window_bad_at(w, w->p, "more text after the end of the document", e);
}

struct v3_reader {
	window_member_fn *fn;
	void *ctx;
};

static int take_v3(void *ctx, struct window *w, struct str key, struct err *e)
{
	const struct v3_reader *r = ctx;
	bool known = str_eq(key, STR("conda")) || str_eq(key, STR("tar.bz2"));
	return known ? r->fn(r->ctx, w, key, e) : window_skip_value(w, e);
}

int window_v3(struct window *w, window_member_fn *fn, void *ctx, struct err *e)
{
	struct v3_reader r = {fn, ctx};
	return each_member(w, take_v3, &r, e);
}

/* -- the document in parts ----------------------------------------------------------------------------------------- */

struct record_scan {
	bool first, is_end;
	struct str key, value;
};

static bool scan_record(struct scan *s, void *ctx)
{
	struct record_scan *r = ctx;
	struct key_scan k = {.first = r->first};
	if (!scan_key(s, &k))
		return false;
	r->is_end = k.is_end;
	r->key = k.key;
	return k.is_end || scan_value(s, &r->value);
}

static int visit_records(struct window *w, enum repodata_section section, const struct repodata_visit *v, struct err *e)
{
	struct record_scan r = {.first = true};
	struct str null;
	if (skip_space(w, e) < 0)
		return -1;
	if (w->p < w->end && *w->p == 'n')
		return window_scan(w, scan_one_value, &null, e);
	if (window_scan(w, scan_open, NULL, e) < 0)
		return -1;
	for (;;) {
		if (window_scan(w, scan_record, &r, e) < 0)
			return -1;
		if (r.is_end)
			return 0;
		r.first = false;
		if (v->record(v->ctx, section, r.key, r.value, e) < 0)
			return window_ctx_at(w, r.key.p, e);
	}
}

static int visit_v3(void *ctx, struct window *w, struct str key, struct err *e)
{
	return visit_records(w, str_eq(key, STR("conda")) ? REPODATA_V3_CONDA : REPODATA_V3_PACKAGES, ctx, e);
}

static int visit_member(void *ctx, struct window *w, struct str key, struct err *e)
{
	const struct repodata_visit *v = ctx;
	struct str value;
	if (str_eq(key, STR("packages")))
		return visit_records(w, REPODATA_PACKAGES, v, e);
	if (str_eq(key, STR("packages.conda")))
		return visit_records(w, REPODATA_CONDA, v, e);
	if (str_eq(key, STR("v3")))
		return window_v3(w, visit_v3, ctx, e);
	if (!v->member)
		return window_skip_value(w, e);
	/* the window may move below the key while the value is brought in */
	auto_free char *name = str_dup(key);
	return window_scan(w, scan_one_value, &value, e) < 0 ? -1 : v->member(v->ctx, str_c(name), value, e);
}

int repodata_visit(struct istream *in, const struct repodata_visit *v, struct progress *p, struct err *e)
{
	struct repodata_visit copy = *v;
	auto_window w = {0};
	window_init(&w, in, p);
	return window_document(&w, visit_member, &copy, e);
}
