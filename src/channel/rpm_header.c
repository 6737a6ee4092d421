// SPDX-License-Identifier: Apache-2.0
#include "channel/rpm_header.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/map.h"

/* rpm's own bounds are 65,535 tags and 256 MiB */
enum {
	LEAD_SIZE = 96,
	LEAD_SOURCE = 1,
	INTRO_SIZE = 16,
	ENTRY_SIZE = 16,
	TAGS_MAX = 65535,
	SIG_MAX = 16 << 20,
	STORE_MAX = 256 << 20,
	TEXTS_MAX = 4 << 20
};
enum tag_type {
	T_CHAR = 1,
	T_INT8 = 2,
	T_INT16 = 3,
	T_INT32 = 4,
	T_INT64 = 5,
	T_STRING = 6,
	T_BIN = 7,
	T_STRINGS = 8,
	T_I18N = 9
};

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int read_at(int fd, void *p, size_t n, uint64_t at, const char *what, struct err *e)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = pread(fd, (char *)p + done, n - done, (off_t)(at + done));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(e, "read '%s'", what);
		if (r == 0)
			return err_new(e, ERR_INPUT, "'%s' is no whole rpm package: it ends at byte %llu", what,
				       (unsigned long long)(at + done));
		done += (size_t)r;
	}
	return 0;
}

/* One of both headers, at *at, which is moved behind it. */
static int read_tags(int fd, const char *what, uint64_t *at, uint64_t size, uint32_t max, struct arena *a,
		     struct rpm_tags *ret, struct err *e)
{
	static const uint8_t magic[4] = {0x8e, 0xad, 0xe8, 0x01};
	uint8_t intro[INTRO_SIZE];
	if (read_at(fd, intro, sizeof(intro), *at, what, e) < 0)
		return -1;
	if (memcmp(intro, magic, sizeof(magic)) != 0)
		return err_new(e, ERR_INPUT, "'%s' is no rpm package: no header at byte %llu", what,
			       (unsigned long long)*at);
	uint32_t n = be32(intro + 8), store = be32(intro + 12);
	if (n > TAGS_MAX || store > max)
		return err_new(e, ERR_LIMIT, "'%s' has a header of %u tags and %u bytes: more than %d and %u", what, n,
			       store, TAGS_MAX, max);
	uint64_t all = (uint64_t)n * ENTRY_SIZE + store;
	if (*at + INTRO_SIZE + all > size)
		return err_new(e, ERR_INPUT, "'%s' is no whole rpm package: its header does not end in it", what);
	uint8_t *p = arena_alloc(a, (size_t)all + 1);
	if (read_at(fd, p, (size_t)all, *at + INTRO_SIZE, what, e) < 0)
		return -1;
	*ret = (struct rpm_tags){p, n, str_of((const char *)p + (size_t)n * ENTRY_SIZE, store)};
	*at += INTRO_SIZE + all;
	return 0;
}

/* Two readers must not see two packages in one header. */
static int check_tags(const struct rpm_tags *t, const char *what, struct err *e)
{
	auto_map seen = MAP_INIT;
	for (uint32_t i = 0; i < t->n; i++) {
		const uint8_t *entry = t->index + (size_t)i * ENTRY_SIZE;
		uint64_t *times = map_put_id(&seen, be32(entry));
		if ((*times)++)
			return err_new(e, ERR_INPUT, "'%s' has tag %u twice in one header", what, be32(entry));
		if (be32(entry + 4) == T_STRINGS && be32(entry + 12) > TEXTS_MAX)
			return err_new(e, ERR_LIMIT, "'%s': tag %u has %u texts: more than %d", what, be32(entry),
				       be32(entry + 12), TEXTS_MAX);
		if (be32(entry + 8) > t->store.n)
			return err_new(e, ERR_INPUT, "'%s': tag %u lies outside its header", what, be32(entry));
	}
	return 0;
}

int rpm_header_read(int fd, const char *what, struct arena *a, struct rpm_header *ret, struct err *e)
{
	static const uint8_t magic[4] = {0xed, 0xab, 0xee, 0xdb};
	uint8_t lead[LEAD_SIZE];
	struct stat st;
	uint64_t at = LEAD_SIZE;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "look at '%s'", what);
	uint64_t size = (uint64_t)st.st_size;
	if (size < LEAD_SIZE)
		return err_new(e, ERR_INPUT, "'%s' is no rpm package", what);
	if (read_at(fd, lead, sizeof(lead), 0, what, e) < 0)
		return -1;
	if (memcmp(lead, magic, sizeof(magic)) != 0)
		return err_new(e, ERR_INPUT, "'%s' is no rpm package", what);
	if (lead[4] < 3 || lead[4] > 4)
		return err_new(e, ERR_UNSUPPORTED, "'%s' is of version %d of the rpm format: 3 and 4 are known", what,
			       lead[4]);
	if (read_tags(fd, what, &at, size, SIG_MAX, a, &ret->sig, e) < 0)
		return -1;
	at = (at + 7) / 8 * 8;
	ret->start = at;
	if (read_tags(fd, what, &at, size, STORE_MAX, a, &ret->main, e) < 0 || check_tags(&ret->sig, what, e) < 0 ||
	    check_tags(&ret->main, what, e) < 0)
		return -1;
	ret->end = at;
	uint64_t ignored;
	/* sources of old have no tag that says so; binaries that rpm did not make may lack the name of their source */
	ret->is_source = rpm_tag_int(&ret->main, RPM_SOURCEPACKAGE, 0, &ignored) ||
			 (!rpm_tag_str(&ret->main, RPM_SOURCERPM).p && lead[7] == LEAD_SOURCE);
	return 0;
}

/* -- tags ---------------------------------------------------------------------------------------------------------- */

struct entry {
	uint32_t type, count;
	struct str data; /* from its first byte to the end of the store */
};

static bool find(const struct rpm_tags *t, enum rpm_tag tag, struct entry *ret)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const uint8_t *p = t->index + (size_t)i * ENTRY_SIZE;
		if (be32(p) != (uint32_t)tag)
			continue;
		*ret = (struct entry){be32(p + 4), be32(p + 12), str_skip(t->store, be32(p + 8))};
		return ret->count > 0;
	}
	return false;
}

static bool take_text(struct str *data, struct str *ret)
{
	return str_take_until(data, '\0', ret);
}

struct str rpm_tag_str(const struct rpm_tags *t, enum rpm_tag tag)
{
	struct entry x;
	struct str s;
	bool is_text = find(t, tag, &x) && (x.type == T_STRING || x.type == T_STRINGS || x.type == T_I18N);
	return is_text && take_text(&x.data, &s) ? s : STR_NONE;
}

uint32_t rpm_tag_strs(const struct rpm_tags *t, enum rpm_tag tag, struct arena *a, const struct str **ret)
{
	struct entry x;
	/* a text has one byte at least, the one that ends it */
	if (!find(t, tag, &x) || (x.type != T_STRING && x.type != T_STRINGS) || x.count > x.data.n)
		return 0;
	struct str *v = arena_array(a, struct str, x.count);
	for (uint32_t i = 0; i < x.count; i++)
		if (!take_text(&x.data, &v[i]))
			return 0;
	*ret = v;
	return x.count;
}

struct rpm_ints rpm_tag_ints(const struct rpm_tags *t, enum rpm_tag tag)
{
	static const uint8_t sizes[] = {[T_CHAR] = 1, [T_INT8] = 1, [T_INT16] = 2, [T_INT32] = 4, [T_INT64] = 8};
	struct entry x;
	if (!find(t, tag, &x) || x.type >= sizeof(sizes) || !sizes[x.type] || x.count > x.data.n / sizes[x.type])
		return (struct rpm_ints){0};
	return (struct rpm_ints){(const uint8_t *)x.data.p, x.count, sizes[x.type]};
}

uint64_t rpm_ints_get(const struct rpm_ints *v, uint32_t i)
{
	uint64_t n = 0;
	for (unsigned k = 0; k < v->size; k++)
		n = n << 8 | v->p[(size_t)i * v->size + k];
	return n;
}

bool rpm_tag_int(const struct rpm_tags *t, enum rpm_tag tag, uint32_t i, uint64_t *ret)
{
	struct rpm_ints v = rpm_tag_ints(t, tag);
	if (i >= v.n)
		return false;
	*ret = rpm_ints_get(&v, i);
	return true;
}
