// SPDX-License-Identifier: Apache-2.0
/*
 * repodata.json (CEPs 15, 36, 42, 48) into an index builder, in one pass, through a window.
 */
#include <stdlib.h>

#include "channel/index_build.h"
#include "channel/window.h"

/* Up to here a timestamp counts seconds: in milliseconds it would be before 1978-01-11. */
#define TIMESTAMP_SECONDS_MAX UINT64_C(253402300799)

/* -- records ----------------------------------------------------------------------------------------------------- */

struct entry {
	struct index_builder *b;
	const char *bad; /* what is wrong with it, and in which member */
	struct str bad_key;
	bool first, v3, is_end;
	struct str key; /* file name, or stem under v3 */
	bool key_escaped, escaped;
	struct str name, version, build, depends, constrains; /* raw */
	struct str v3_ext;
	struct build_record r;
};

static void extra_raw(struct entry *en, struct str key, struct str value)
{
	struct buf *x = &en->b->extra;
	if (x->n > 1)
		buf_put_char(x, ',');
	/* the key with its quotes, as it stands in the window */
	buf_put(x, key.p - 1, key.n + 2);
	buf_put_char(x, ':');
	buf_put_str(x, value);
}

static bool member_text(struct scan *s, struct entry *en, struct str *ret)
{
	s->escaped = false;
	if (!scan_string(s, ret))
		return false;
	en->escaped |= s->escaped;
	return true;
}

static bool member_list(struct scan *s, struct str *ret)
{
	char c = scan_peek(s);
	if (c != '[' && c != 'n')
		return scan_bad(s, "expected a list of dependencies");
	return scan_value(s, ret);
}

static bool member_flag(struct scan *s, struct entry *en, struct str key)
{
	struct str value;
	if (!scan_value(s, &value))
		return false;
	if (str_eq(value, STR("null")))
		return true;
	if (key.p[0] == 's' && value.n == en->b->subdir.n + 2 &&
	    str_eq(str_head(str_skip(value, 1), value.n - 2), en->b->subdir)) {
		en->r.flags |= IX_SUBDIR;
		return true;
	}
	if (key.p[0] == 'n' && str_eq(value, STR("\"python\"")))
		en->r.flags |= IX_NOARCH_PYTHON;
	if (key.p[0] == 't' && !str_eq(value, STR("\"\"")) && !str_eq(value, STR("[]")))
		en->r.flags |= IX_TRACK_FEATURES;
	extra_raw(en, key, value);
	return true;
}

static bool member_timestamp(struct scan *s, struct entry *en)
{
	uint64_t v;
	bool has;
	if (!scan_number(s, &v, &has))
		return false;
	if (!has)
		return true;
	en->r.flags |= IX_HAS_TIMESTAMP;
	if (v <= TIMESTAMP_SECONDS_MAX && v > 0) {
		en->r.flags |= IX_SECONDS;
		v *= 1000;
	}
	en->r.timestamp = v;
	return v >> 48 ? scan_bad(s, "timestamp is too large") : true;
}

static bool member_number(struct scan *s, struct entry *en, uint64_t *ret, uint32_t flag)
{
	bool has;
	if (!scan_number(s, ret, &has))
		return false;
	if (has)
		en->r.flags |= flag;
	return true;
}

static bool member_digest(struct scan *s, struct entry *en, uint8_t *out, size_t n, uint32_t flag)
{
	bool has;
	if (!scan_hex(s, out, n, &has))
		return false;
	if (has)
		en->r.flags |= flag;
	return true;
}

static inline bool key_is(struct str key, const char *word)
{
	return memcmp(key.p, word, key.n) == 0;
}

/* By the length of the key, so that at most three comparisons are needed. */
static bool known_member(struct scan *s, struct entry *en, struct str key)
{
	struct build_record *r = &en->r;
	switch (key.n) {
	case 3:
		if (key_is(key, "md5"))
			return member_digest(s, en, r->cold.md5, MD5_SIZE, IX_HAS_MD5);
		break;
	case 4:
		if (key_is(key, "name"))
			return member_text(s, en, &en->name);
		if (key_is(key, "size"))
			return member_number(s, en, &r->cold.size, IX_HAS_SIZE);
		break;
	case 5:
		if (key_is(key, "build"))
			return member_text(s, en, &en->build);
		break;
	case 6:
		if (key_is(key, "sha256"))
			return member_digest(s, en, r->cold.sha256, SHA256_SIZE, IX_HAS_SHA256);
		if (key_is(key, "subdir") || key_is(key, "noarch"))
			return member_flag(s, en, key);
		break;
	case 7:
		if (key_is(key, "depends"))
			return member_list(s, &en->depends);
		if (key_is(key, "version"))
			return member_text(s, en, &en->version);
		break;
	case 9:
		if (key_is(key, "timestamp"))
			return member_timestamp(s, en);
		break;
	case 10:
		if (key_is(key, "constrains"))
			return member_list(s, &en->constrains);
		break;
	case 12:
		if (key_is(key, "build_number"))
			return member_number(s, en, &r->build_number, 0);
		break;
	case 14:
		if (key_is(key, "track_features"))
			return member_flag(s, en, key);
		break;
	case 17:
		if (key_is(key, "indexed_timestamp"))
			return member_number(s, en, &r->cold.indexed_ms, IX_HAS_INDEXED);
		break;
	default:
		break;
	}
	struct str value;
	if (!scan_value(s, &value))
		return false;
	/* what the program says itself about each record */
	if (!str_eq(key, STR("fn")) && !str_eq(key, STR("url")) && !str_eq(key, STR("channel")) &&
	    !str_eq(key, STR("v3")))
		extra_raw(en, key, value);
	return true;
}

/* One member's value. Where it is not what the member has to be, the record is bad but the document is not. */
static bool member(struct scan *s, struct entry *en, struct str key)
{
	const char *from = s->p;
	struct str ignored;
	if (known_member(s, en, key))
		return true;
	if (s->rc != SCAN_BAD)
		return false;
	en->bad = s->what;
	en->bad_key = key;
	s->p = from;
	s->rc = SCAN_OK;
	return scan_value(s, &ignored);
}

/* `"file name": {…}` with the comma before it, or the closing brace of them all. */
static bool scan_entry(struct scan *s, void *ctx)
{
	struct entry *en = ctx;
	uint32_t flags = en->r.flags & (IX_CONDA | IX_V3);
	en->r = (struct build_record){.flags = flags};
	en->name = en->version = en->build = en->depends = en->constrains = STR_NONE;
	en->escaped = false;
	en->bad = NULL;
	buf_clear(&en->b->extra);
	buf_put_char(&en->b->extra, '{');
	if (scan_peek(s) == '}') {
		s->p++;
		en->is_end = true;
		return true;
	}
	if (!en->first && !scan_char(s, ',', "expected ',' or '}'"))
		return false;
	s->escaped = false;
	if (!scan_string(s, &en->key))
		return false;
	en->key_escaped = s->escaped;
	if (!scan_char(s, ':', "expected ':'"))
		return false;
	if (scan_peek(s) != '{') {
		struct str ignored;
		en->bad = "not an object";
		en->bad_key = STR("record");
		return scan_value(s, &ignored);
	}
	s->p++;
	if (scan_peek(s) == '}' && s->p < s->end) {
		s->p++;
		return true;
	}
	do {
		struct str key;
		if (!scan_string(s, &key) || !scan_char(s, ':', "expected ':'"))
			return false;
		(void)scan_peek(s);
		if (!member(s, en, key))
			return false;
		if (scan_peek(s) == ',') {
			s->p++;
			continue;
		}
		return scan_char(s, '}', "expected ',' or '}'");
	} while (true);
}

/* The text of a raw string; what has escapes goes through the arena. */
static int plain(struct arena *a, struct str raw, bool escaped, struct str *ret, struct err *e)
{
	*ret = raw;
	if (!escaped || str_find(raw, '\\') < 0)
		return 0;
	auto_buf b = BUF_INIT(1 << 20);
	if (!scan_unescape(raw, &b) || b.overflow)
		return err_new(e, ERR_INPUT, "wrong escape in a string");
	*ret = arena_str(a, buf_str(&b));
	return 0;
}

static int take_record(struct entry *en, struct err *e)
{
	struct index_builder *b = en->b;
	struct build_record *r = &en->r;
	auto_arena a = ARENA_INIT;
	if (en->bad)
		return err_new(e, ERR_INPUT, "'%.*s': %s", STR_ARG(en->bad_key), en->bad);
	if (plain(&a, en->key, en->key_escaped, &r->fn, e) < 0 || plain(&a, en->name, en->escaped, &r->name, e) < 0 ||
	    plain(&a, en->version, en->escaped, &r->version, e) < 0 ||
	    plain(&a, en->build, en->escaped, &r->build, e) < 0)
		return -1;
	if (en->v3_ext.n)
		r->fn = str_c(arena_printf(&a, "%.*s.%.*s", STR_ARG(r->fn), STR_ARG(en->v3_ext)));
	r->flags &= ~(uint32_t)IX_CONDA;
	if (str_ends(r->fn, STR(".conda")))
		r->flags |= IX_CONDA;
	else if (!str_ends(r->fn, STR(".tar.bz2")))
		return 0; /* a kind of package that nobody can install yet */
	return build_list_json(b, en->depends, &r->depends, e) < 0 ||
			       build_list_json(b, en->constrains, &r->constrains, e) < 0 ||
			       build_extra(b, &r->extra, e) < 0
		       ? -1
		       : build_commit(b, r, e);
}

static int take_entry(struct entry *en, struct err *e)
{
	struct err why = ERR_INIT;
	return take_record(en, &why) == 0 ? 0 : build_leave_out(en->b, en->key, &why, e);
}

static int read_records(struct window *w, struct index_builder *b, struct str v3_ext, struct err *e)
{
	struct entry en = {.b = b, .first = true, .v3_ext = v3_ext, .r.flags = v3_ext.n ? IX_V3 : 0};
	if (window_scan(w, scan_open, NULL, e) < 0)
		return -1;
	for (;;) {
		if (window_scan(w, scan_entry, &en, e) < 0)
			return -1;
		if (en.is_end)
			return 0;
		en.first = false;
		if (take_entry(&en, e) < 0)
			return window_ctx_at(w, en.key.p, e);
	}
}

/* -- the rest of the document ------------------------------------------------------------------------------------ */

struct removed_scan {
	bool first, is_end, escaped;
	struct str fn;
};
static bool scan_removed(struct scan *s, void *ctx)
{
	struct removed_scan *r = ctx;
	if (scan_peek(s) == ']' && s->p < s->end) {
		s->p++;
		r->is_end = true;
		return true;
	}
	if (!r->first && !scan_char(s, ',', "expected ',' or ']'"))
		return false;
	s->escaped = false;
	if (!scan_string(s, &r->fn))
		return false;
	r->escaped = s->escaped;
	return true;
}

static bool scan_bracket(struct scan *s, void *ctx)
{
	(void)ctx;
	return scan_char(s, '[', "expected a list of file names");
}

static int read_removed(struct window *w, struct index_builder *b, struct err *e)
{
	struct removed_scan r = {.first = true};
	if (window_scan(w, scan_bracket, NULL, e) < 0)
		return -1;
	for (;;) {
		auto_arena a = ARENA_INIT;
		struct str fn;
		if (window_scan(w, scan_removed, &r, e) < 0)
			return -1;
		if (r.is_end)
			return 0;
		r.first = false;
		if (plain(&a, r.fn, r.escaped, &fn, e) < 0 || build_removed(b, fn, e) < 0)
			return window_ctx_at(w, r.fn.p, e);
	}
}

/* A member of an object whose text is whole and checked; STR_NONE where it is absent or no string. */
static int object_string(struct index_builder *b, struct str object, struct str key, uint32_t *ret, struct str *sub,
			 struct err *e)
{
	struct scan s = {.p = object.p, .end = object.p + object.n};
	struct str k, v;
	if (!scan_char(&s, '{', "") || scan_peek(&s) == '}')
		return 0;
	do {
		if (!scan_string(&s, &k) || !scan_char(&s, ':', "") || !scan_value(&s, &v))
			return 0;
		if (!str_eq(k, key))
			continue;
		if (sub) {
			*sub = v;
		} else if (v.n > 2 && v.p[0] == '"') {
			auto_buf text = BUF_INIT(1 << 16);
			if (!scan_unescape(str_of(v.p + 1, v.n - 2), &text) || text.overflow)
				return err_new(e, ERR_INPUT, "'%.*s' in 'info' is too long", STR_ARG(key));
			if (build_string(b, buf_str(&text), ret, e) < 0)
				return -1;
		}
	} while (scan_char(&s, ',', ""));
	return 0;
}

static int info_json(struct index_builder *b, struct str text, struct err *e)
{
	auto_buf copy = BUF_INIT(WINDOW_MAX);
	struct str relations = STR_NONE;
	buf_put_str(&copy, text);
	scan_pad(&copy);
	const char *bad = scan_check(buf_str(&copy));
	if (bad)
		return err_new(e, ERR_INPUT, "'info': %s", bad);
	text = buf_str(&copy);
	if (object_string(b, text, STR("base_url"), &b->base_url, NULL, e) < 0 ||
	    object_string(b, text, STR("channel_relations"), NULL, &relations, e) < 0)
		return -1;
	if (relations.n == 0 || relations.p[0] != '{')
		return 0;
	if (object_string(b, relations, STR("base"), &b->relation_base, NULL, e) < 0 ||
	    object_string(b, relations, STR("overrides"), &b->relation_overrides, NULL, e) < 0)
		return -1;
	return 0;
}

static int read_info(struct window *w, struct index_builder *b, struct err *e)
{
	struct str text;
	if (window_scan(w, scan_one_value, &text, e) < 0)
		return -1;
	if (text.p[0] != '{')
		return window_bad_at(w, text.p, "'info' is not an object", e);
	return info_json(b, text, e) < 0 ? window_ctx_at(w, text.p, e) : 0;
}

static int read_version(struct window *w, struct err *e)
{
	struct str text;
	uint64_t v;
	if (window_scan(w, scan_one_value, &text, e) < 0)
		return -1;
	if (str_eq(text, STR("null")))
		return 0;
	if (!str_to_u64(text, &v))
		return window_bad_at(w, text.p, "'repodata_version' is not a number", e);
	if (v <= 2)
		return 0;
	return err_new(e, ERR_UNSUPPORTED, "%s: repodata_version %llu is newer than this program, which reads 1 and 2",
		       w->in->name, (unsigned long long)v);
}

static int read_v3(void *ctx, struct window *w, struct str key, struct err *e)
{
	return read_records(w, ctx, str_eq(key, STR("conda")) ? STR("conda") : STR("tar.bz2"), e);
}

static int read_member(void *ctx, struct window *w, struct str key, struct err *e)
{
	struct index_builder *b = ctx;
	if (str_eq(key, STR("packages")) || str_eq(key, STR("packages.conda")))
		return read_records(w, b, STR_NONE, e);
	if (str_eq(key, STR("info")))
		return read_info(w, b, e);
	if (str_eq(key, STR("removed")))
		return read_removed(w, b, e);
	if (str_eq(key, STR("v3")))
		return window_v3(w, read_v3, b, e);
	if (str_eq(key, STR("repodata_version")))
		return read_version(w, e);
	return window_skip_value(w, e);
}

int index_builder_json(struct index_builder *b, struct istream *in, struct progress *p, struct err *e)
{
	auto_window w = {0};
	window_init(&w, in, p);
	return window_document(&w, read_member, b, e);
}
