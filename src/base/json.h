// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * json: RFC 8259, both ways.
 *
 * Reading small documents (package metadata, state, up to tens of MiB): json_parse makes a tree in an arena.
 * The tree is checked (depth ≤ 128, UTF-8, sizes) and keeps each value's offset for messages. Objects keep their order;
 * of a key that comes twice the last one counts. (The mapped index has a streaming scanner of its own in channel/.)
 *
 *	const struct json *j = json_parse(&arena, text, "info/index.json", e);      NULL on error
 *	struct str name;
 *	if (json_get_str(j, "name", &name, e) < 0) ...            "info/index.json: offset 17: 'name' is not a string"
 *
 * Numbers without fraction and exponent that fit are JSON_INT, exactly; others are JSON_DOUBLE. A text of 1 GiB is the
 * largest accepted, and four million values: half a gigabyte at most beside the text, which callers bound.
 *
 * Writing: a struct jw appends to a buf, puts commas itself, escapes, and indents where asked.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum json_type { JSON_NULL, JSON_BOOL, JSON_INT, JSON_DOUBLE, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
	enum json_type type;
	uint32_t n;	   /* elements of an array, members of an object */
	size_t offset;	   /* in the text, for messages */
	const char *where; /* the document's name, for messages */
	union {
		bool boolean;
		int64_t integer;
		double number;
		struct str string;		  /* unescaped, NUL-terminated */
		const struct json *item;	  /* array: n values */
		const struct json_member *member; /* object: n members in their order */
	};
};
struct json_member {
	struct str key;
	struct json value;
};

/* The value of a number of that grammar, for another reader of it. NULL where it is good, else what is wrong with it: more
 * than 1024 characters, or beyond what a double holds. */
const char *json_double(struct str text, double *ret);

#define JSON_TEXT_MAX ((size_t)1 << 30)
const struct json *json_parse(struct arena *a, struct str text, const char *where, struct err *e);
/* The same, and faster: strings stay in the text, which is changed and must live as long as they do; those with escapes go
 * to an arena of their own, so that they can outlive the tree as the others can. */
const struct json *json_parse_in_place(struct arena *a, struct arena *strings, char *text, size_t n, const char *where,
				       struct err *e);
/* A member of an object; NULL where it is absent (or j is no object). */
const struct json *json_get(const struct json *j, const char *key);
/* Typed members. The plain ones fail where the member is absent or of another type; the _opt ones return 0 and leave *ret
 * as it was where it is absent or null, 1 where it was read. */
int json_get_str(const struct json *j, const char *key, struct str *ret, struct err *e);
int json_get_int(const struct json *j, const char *key, int64_t *ret, struct err *e);
int json_opt_str(const struct json *j, const char *key, struct str *ret, struct err *e);
int json_opt_int(const struct json *j, const char *key, int64_t *ret, struct err *e);
int json_opt_bool(const struct json *j, const char *key, bool *ret, struct err *e);
/* For what a program of ours has answered: "" or 0 where it is absent, or of another type. */
struct str json_text(const struct json *j, const char *key);
int64_t json_number(const struct json *j, const char *key);
/* An array or object member: absent or null gives NULL in *ret. */
int json_opt_array(const struct json *j, const char *key, const struct json **ret, struct err *e);
int json_opt_object(const struct json *j, const char *key, const struct json **ret, struct err *e);

struct jw {
	struct buf *b;
	int indent; /* spaces a level; 0 writes one line */
	unsigned depth;
	bool need_comma, after_key;
};
#define JW_INIT(buffer, indent_spaces) ((struct jw){.b = (buffer), .indent = (indent_spaces)})
void jw_object(struct jw *w); /* { */
void jw_object_end(struct jw *w);
void jw_array(struct jw *w); /* [ */
void jw_array_end(struct jw *w);
void jw_key(struct jw *w, const char *key);
void jw_key_str(struct jw *w, struct str key);
void jw_str(struct jw *w, struct str s); /* invalid UTF-8 becomes U+FFFD */
void jw_c(struct jw *w, const char *s);	 /* NULL writes null */
void jw_int(struct jw *w, int64_t v);
void jw_double(struct jw *w, double v); /* what is not finite becomes null */
void jw_bool(struct jw *w, bool v);
void jw_null(struct jw *w);
void jw_raw(struct jw *w, struct str json); /* text that is JSON already */
void jw_value(struct jw *w, const struct json *v);
/* key and value at once */
void jw_kv_str(struct jw *w, const char *key, struct str s);
void jw_kv_c(struct jw *w, const char *key, const char *s);
void jw_kv_int(struct jw *w, const char *key, int64_t v);
void jw_kv_bool(struct jw *w, const char *key, bool v);
void jw_kv_opt(struct jw *w, const char *key, struct str s); /* nothing at all where s is empty */
void jw_kv_list(struct jw *w, const char *key, const struct str *v, size_t n);
/* "key": [{…}, …] of n objects; put writes the members of the i-th. */
void jw_kv_objects(struct jw *w, const char *key, size_t n, void (*put)(struct jw *w, const void *ctx, size_t i),
		   const void *ctx);
void jw_kv_hex(struct jw *w, const char *key, const uint8_t *p, size_t n);
