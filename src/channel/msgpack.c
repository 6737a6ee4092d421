// SPDX-License-Identifier: Apache-2.0
#include "channel/msgpack.h"

#include <math.h>

#include "channel/scan.h"

enum { MP_DEPTH_MAX = 64 };

struct mp mp_of(struct str bytes, const char *where)
{
	const uint8_t *p = (const uint8_t *)bytes.p;
	return (struct mp){.start = p, .p = p, .end = p + bytes.n, .where = where};
}

int mp_bad(const struct mp *m, const char *what, struct err *e)
{
	return err_new(e, ERR_INPUT, "%s: offset %zu: %s", m->where, (size_t)(m->p - m->start), what);
}

static bool take_be(struct mp *m, unsigned n, uint64_t *ret)
{
	if ((size_t)(m->end - m->p) < n)
		return false;
	uint64_t v = 0;
	for (unsigned i = 0; i < n; i++)
		v = v << 8 | m->p[i];
	m->p += n;
	*ret = v;
	return true;
}

static int set_bytes(struct mp *m, enum mp_type type, uint64_t n, struct mp_token *t, struct err *e)
{
	if (n > (size_t)(m->end - m->p))
		return mp_bad(m, "a text is longer than the file: it is truncated", e);
	*t = (struct mp_token){.type = type, .bytes = str_of((const char *)m->p, n)};
	m->p += n;
	return 0;
}

static int set_count(struct mp *m, enum mp_type type, uint64_t n, struct mp_token *t, struct err *e)
{
	if (n > (size_t)(m->end - m->p) / (type == MP_MAP ? 2 : 1))
		return mp_bad(m, "more elements than the file has bytes: it is truncated", e);
	*t = (struct mp_token){.type = type, .n = (uint32_t)n};
	return 0;
}

static double double_of(uint64_t bits, bool is_double)
{
	double d;
	float f;
	uint32_t half = (uint32_t)bits;
	memcpy(&d, &bits, sizeof(d));
	memcpy(&f, &half, sizeof(f));
	return is_double ? d : (double)f;
}

static int64_t sign_extend(uint64_t v, unsigned bytes)
{
	unsigned shift = 64 - 8 * bytes;
	return (int64_t)(v << shift) >> shift;
}

/* Lead bytes 0xc4 to 0xdf, after their own payload number v has been read. */
static int read_sized(struct mp *m, uint8_t lead, uint64_t v, struct mp_token *t, struct err *e)
{
	switch (lead) {
	case 0xc4 ... 0xc6:
		return set_bytes(m, MP_BIN, v, t, e);
	case 0xc7 ... 0xc9:
		return set_bytes(m, MP_EXT, v + 1, t, e);
	case 0xca ... 0xcb:
		*t = (struct mp_token){.type = MP_FLOAT, .number = double_of(v, lead == 0xcb)};
		return 0;
	case 0xcc ... 0xcf:
		*t = (struct mp_token){.type = MP_UINT, .uint = v};
		return 0;
	case 0xd0 ... 0xd3:
		*t = (struct mp_token){.type = MP_INT, .sint = sign_extend(v, 1u << (lead - 0xd0))};
		if (t->sint >= 0)
			*t = (struct mp_token){.type = MP_UINT, .uint = (uint64_t)t->sint};
		return 0;
	case 0xd9 ... 0xdb:
		return set_bytes(m, MP_STR, v, t, e);
	case 0xdc ... 0xdd:
		return set_count(m, MP_ARRAY, v, t, e);
	default:
		return set_count(m, MP_MAP, v, t, e);
	}
}

int mp_read(struct mp *m, struct mp_token *t, struct err *e)
{
	/* bytes of the number that follows lead bytes 0xc0 to 0xdf; 0: none */
	static const uint8_t sizes[32] = {0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8,
					  1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};
	uint64_t v = 0;
	if (m->p == m->end)
		return mp_bad(m, "the file ends too early: it is truncated", e);
	uint8_t lead = *m->p++;
	if (lead < 0x80)
		*t = (struct mp_token){.type = MP_UINT, .uint = lead};
	else if (lead < 0x90)
		return set_count(m, MP_MAP, lead & 0xf, t, e);
	else if (lead < 0xa0)
		return set_count(m, MP_ARRAY, lead & 0xf, t, e);
	else if (lead < 0xc0)
		return set_bytes(m, MP_STR, lead & 0x1f, t, e);
	else if (lead >= 0xe0)
		*t = (struct mp_token){.type = MP_INT, .sint = (int8_t)lead};
	else if (lead == 0xc0)
		*t = (struct mp_token){.type = MP_NIL};
	else if (lead == 0xc1)
		return mp_bad(m, "byte 0xc1 does not exist in msgpack", e);
	else if (lead == 0xc2 || lead == 0xc3)
		*t = (struct mp_token){.type = MP_BOOL, .boolean = lead == 0xc3};
	else if (lead >= 0xd4 && lead <= 0xd8)
		return set_bytes(m, MP_EXT, 1 + (UINT64_C(1) << (lead - 0xd4)), t, e);
	else if (!take_be(m, sizes[lead - 0xc0], &v))
		return mp_bad(m, "the file ends too early: it is truncated", e);
	else
		return read_sized(m, lead, v, t, e);
	return 0;
}

int mp_skip(struct mp *m, struct err *e)
{
	struct mp_token t;
	for (uint64_t left = 1; left > 0; left--) {
		if (mp_read(m, &t, e) < 0)
			return -1;
		if (t.type == MP_ARRAY)
			left += t.n;
		else if (t.type == MP_MAP)
			left += 2 * (uint64_t)t.n;
	}
	return 0;
}

int mp_map(struct mp *m, uint32_t *n, struct err *e)
{
	struct mp_token t;
	if (mp_read(m, &t, e) < 0)
		return -1;
	if (t.type != MP_MAP && t.type != MP_NIL)
		return mp_bad(m, "expected a map", e);
	*n = t.type == MP_MAP ? t.n : 0;
	return 0;
}

int mp_key(struct mp *m, uint32_t *n, struct str *ret, struct err *e)
{
	if (*n == 0)
		return 0;
	--*n;
	return mp_str(m, ret, e) < 0 ? -1 : 1;
}

int mp_array(struct mp *m, uint32_t *n, struct err *e)
{
	struct mp_token t;
	if (mp_read(m, &t, e) < 0)
		return -1;
	if (t.type != MP_ARRAY && t.type != MP_NIL)
		return mp_bad(m, "expected a list", e);
	*n = t.type == MP_ARRAY ? t.n : 0;
	return 0;
}

int mp_str(struct mp *m, struct str *ret, struct err *e)
{
	struct mp_token t;
	if (mp_read(m, &t, e) < 0)
		return -1;
	if (t.type != MP_STR && t.type != MP_NIL)
		return mp_bad(m, "expected a text", e);
	*ret = t.type == MP_STR ? t.bytes : STR_NONE;
	return 0;
}

static int json_value(struct mp *m, struct buf *b, unsigned depth, struct err *e);

static int json_map(struct mp *m, uint32_t n, struct buf *b, unsigned depth, struct err *e)
{
	buf_put_char(b, '{');
	for (uint32_t i = 0; i < n; i++) {
		struct str key;
		if (mp_str(m, &key, e) < 0)
			return -1;
		if (i > 0)
			buf_put_char(b, ',');
		scan_put_string(b, key);
		buf_put_char(b, ':');
		if (json_value(m, b, depth + 1, e) < 0)
			return -1;
	}
	buf_put_char(b, '}');
	return 0;
}

static int json_list(struct mp *m, uint32_t n, struct buf *b, unsigned depth, struct err *e)
{
	buf_put_char(b, '[');
	for (uint32_t i = 0; i < n; i++) {
		if (i > 0)
			buf_put_char(b, ',');
		if (json_value(m, b, depth + 1, e) < 0)
			return -1;
	}
	buf_put_char(b, ']');
	return 0;
}

static void json_bytes(struct buf *b, struct str bytes)
{
	buf_put_char(b, '"');
	buf_put_hex(b, (const uint8_t *)bytes.p, bytes.n);
	buf_put_char(b, '"');
}

static int json_value(struct mp *m, struct buf *b, unsigned depth, struct err *e)
{
	struct mp_token t;
	if (depth > MP_DEPTH_MAX)
		return mp_bad(m, "nested too deep", e);
	if (mp_read(m, &t, e) < 0)
		return -1;
	switch (t.type) {
	case MP_NIL:
		buf_put_c(b, "null");
		break;
	case MP_BOOL:
		buf_put_c(b, t.boolean ? "true" : "false");
		break;
	case MP_UINT:
		buf_printf(b, "%llu", (unsigned long long)t.uint);
		break;
	case MP_INT:
		buf_printf(b, "%lld", (long long)t.sint);
		break;
	case MP_FLOAT:
		if (isfinite(t.number))
			buf_printf(b, "%.17g", t.number);
		else
			buf_put_c(b, "null");
		break;
	case MP_STR:
		scan_put_string(b, t.bytes);
		break;
	case MP_BIN:
	case MP_EXT:
		json_bytes(b, t.bytes); /* as the digests of repodata.json are written */
		break;
	case MP_ARRAY:
		return json_list(m, t.n, b, depth, e);
	case MP_MAP:
		return json_map(m, t.n, b, depth, e);
	}
	return b->overflow ? mp_bad(m, "value is too large", e) : 0;
}

int mp_json(struct mp *m, struct buf *b, struct err *e)
{
	return json_value(m, b, 0, e);
}
