// SPDX-License-Identifier: Apache-2.0
#include "tuf/canonical.h"

#include <inttypes.h>
#include <stdlib.h>

static void put_string(struct buf *b, struct str s)
{
	buf_put_char(b, '"');
	for (size_t i = 0, from = 0; i <= s.n; i++) {
		if (i < s.n && s.p[i] != '"' && s.p[i] != '\\')
			continue;
		buf_put(b, s.p + from, i - from);
		from = i;
		if (i < s.n)
			buf_put_char(b, '\\');
	}
	buf_put_char(b, '"');
}

static int by_key(const void *a, const void *b)
{
	const struct json_member *x = *(const struct json_member *const *)a, *y = *(const struct json_member *const *)b;
	return str_cmp(x->key, y->key);
}

static int put_object(struct buf *b, const struct json *j, struct err *e)
{
	auto_free const struct json_member **sorted = xcalloc((size_t)j->n + 1, sizeof(const struct json_member *));
	for (uint32_t i = 0; i < j->n; i++)
		sorted[i] = &j->member[i];
	qsort(sorted, j->n, sizeof(const struct json_member *), by_key);
	buf_put_char(b, '{');
	for (uint32_t i = 0; i < j->n; i++) {
		if (i > 0 && str_eq(sorted[i]->key, sorted[i - 1]->key))
			return err_new(e, ERR_INPUT, "%s: offset %zu: an object has '%.*s' twice", j->where, j->offset,
				       STR_ARG(sorted[i]->key));
		if (i > 0)
			buf_put_char(b, ',');
		put_string(b, sorted[i]->key);
		buf_put_char(b, ':');
		if (canonical_put(b, &sorted[i]->value, e) < 0)
			return -1;
	}
	buf_put_char(b, '}');
	return 0;
}

static int put_array(struct buf *b, const struct json *j, struct err *e)
{
	buf_put_char(b, '[');
	for (uint32_t i = 0; i < j->n; i++) {
		if (i > 0)
			buf_put_char(b, ',');
		if (canonical_put(b, &j->item[i], e) < 0)
			return -1;
	}
	buf_put_char(b, ']');
	return 0;
}

/* As deep as the parser lets it be: 128. */
int canonical_put(struct buf *b, const struct json *j, struct err *e)
{
	switch (j->type) {
	case JSON_NULL:
		buf_put_c(b, "null");
		return 0;
	case JSON_BOOL:
		buf_put_c(b, j->boolean ? "true" : "false");
		return 0;
	case JSON_INT:
		buf_printf(b, "%" PRId64, j->integer);
		return 0;
	case JSON_DOUBLE:
		return err_new(e, ERR_INPUT, "%s: offset %zu: a number that is no 64-bit integer cannot be signed",
			       j->where, j->offset);
	case JSON_STRING:
		put_string(b, j->string);
		return 0;
	case JSON_ARRAY:
		return put_array(b, j, e);
	case JSON_OBJECT:
		return put_object(b, j, e);
	}
	return 0;
}
