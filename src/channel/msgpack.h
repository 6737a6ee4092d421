// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * msgpack: reads msgpack (the shards of CEP 16) token by token. Private to channel/.
 *
 * Every length is checked against the bytes that are left before anybody uses it: a map or list never claims more
 * elements than there are bytes.
 */
#include "base/buf.h"
#include "base/err.h"

enum mp_type { MP_NIL, MP_BOOL, MP_UINT, MP_INT, MP_FLOAT, MP_STR, MP_BIN, MP_ARRAY, MP_MAP, MP_EXT };
struct mp {
	const uint8_t *start, *p, *end;
	const char *where; /* the document's name, for messages */
};
struct mp_token {
	enum mp_type type;
	union {
		bool boolean;
		uint64_t uint;
		int64_t sint;
		double number;
		struct str bytes; /* MP_STR, MP_BIN, MP_EXT */
		uint32_t n;	  /* MP_ARRAY: elements, MP_MAP: pairs; they follow */
	};
};
struct mp mp_of(struct str bytes, const char *where);
int mp_read(struct mp *m, struct mp_token *ret, struct err *e);
int mp_skip(struct mp *m, struct err *e);
int mp_map(struct mp *m, uint32_t *n, struct err *e); /* nil is an empty map */
/* while ((rc = mp_key(m, &n, &key, e)) > 0) … goes through the pairs of a map: the next key, whose value is next; 0: there are no more. */
int mp_key(struct mp *m, uint32_t *n, struct str *ret, struct err *e);
int mp_array(struct mp *m, uint32_t *n, struct err *e);
int mp_str(struct mp *m, struct str *ret, struct err *e); /* nil is STR_NONE */
/* The value as JSON text, appended. */
int mp_json(struct mp *m, struct buf *b, struct err *e);
int mp_bad(const struct mp *m, const char *what, struct err *e);
