// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * RPM packages in memory, as small as they can be:
 *
 *	struct rpm_made r = {0};
 *	rpm_made_text(&r, 1000, "name"); rpm_made_u32(&r, 1009, 42);
 *	rpm_made_put(&file, &r, STR("payload"));
 */
#include "base/buf.h"

struct rpm_made {
	struct buf index, store;
	unsigned n;
};

static inline void rpm_made_be(struct buf *b, uint64_t v, unsigned bytes)
{
	while (bytes-- > 0)
		buf_put_char(b, (char)(v >> (8 * bytes)));
}

static inline void rpm_made_entry(struct rpm_made *r, uint32_t tag, uint32_t type, uint32_t count)
{
	if (r->n++ == 0)
		r->index = r->store = BUF_INIT(BUF_MAX);
	rpm_made_be(&r->index, tag, 4);
	rpm_made_be(&r->index, type, 4);
	rpm_made_be(&r->index, r->store.n, 4);
	rpm_made_be(&r->index, count, 4);
}

static inline void rpm_made_text(struct rpm_made *r, uint32_t tag, const char *text)
{
	rpm_made_entry(r, tag, 6, 1);
	buf_put(&r->store, text, strlen(text) + 1);
}

/* `texts`: one after the other, each with its NUL, n of them. */
static inline void rpm_made_texts(struct rpm_made *r, uint32_t tag, struct str texts, uint32_t n)
{
	rpm_made_entry(r, tag, 8, n);
	buf_put_str(&r->store, texts);
}

static inline void rpm_made_u32(struct rpm_made *r, uint32_t tag, uint32_t v)
{
	rpm_made_entry(r, tag, 4, 1);
	rpm_made_be(&r->store, v, 4);
}

static inline void rpm_made_header(struct buf *b, const struct rpm_made *r)
{
	buf_put(b, "\x8e\xad\xe8\x01\0\0\0\0", 8);
	rpm_made_be(b, r->n, 4);
	rpm_made_be(b, r->n ? r->store.n : 0, 4);
	if (r->n) {
		buf_put_str(b, buf_str(&r->index));
		buf_put_str(b, buf_str(&r->store));
	}
}

static inline void rpm_made_put(struct buf *b, const struct rpm_made *r, struct str payload)
{
	static const struct rpm_made signature;
	static const char lead[96] = {'\xed', '\xab', '\xee', '\xdb', 3};
	buf_put(b, lead, sizeof(lead));
	rpm_made_header(b, &signature);
	rpm_made_header(b, r);
	buf_put_str(b, payload);
}

static inline void rpm_made_release(struct rpm_made *r)
{
	if (r->n) {
		buf_release(&r->index);
		buf_release(&r->store);
	}
}

/* What every package has. */
static inline void rpm_made_named(struct rpm_made *r, const char *name, const char *version, const char *arch)
{
	rpm_made_text(r, 1000, name);
	rpm_made_text(r, 1001, version);
	rpm_made_text(r, 1002, "1");
	rpm_made_text(r, 1022, arch);
	rpm_made_text(r, 1044, "x.src.rpm");
}
