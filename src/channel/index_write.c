// SPDX-License-Identifier: Apache-2.0
/* The end of making an index: ranks, order, and the file, written front to back and put in place by rename. */
#include <errno.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/sys.h"
#include "channel/index_build.h"

enum { OUT_BYTES = 256 * INDEX_BLOCK };
_Static_assert(OUT_BYTES % INDEX_BLOCK == 0, "whole blocks");

struct out {
	int fd;
	const char *name;
	char *p;
	size_t n;
	uint64_t at; /* of p in the file, a multiple of INDEX_BLOCK */
	VEC(uint64_t) sums;
};

static void out_release(struct out *o)
{
	free(o->p);
	vec_release(&o->sums);
}
#define auto_out cleanup_with(out_release) struct out

static int write_at(int fd, const char *p, size_t n, uint64_t at, const char *name, struct err *e)
{
	for (size_t done = 0; done < n;) {
		ssize_t k = sys_pwrite(fd, p + done, n - done, (off_t)(at + done));
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return err_sys(e, "write '%s'", name);
		done += (size_t)k;
	}
	return 0;
}

static void out_sums(struct out *o, size_t n)
{
	for (size_t i = 0; i < n; i += INDEX_BLOCK)
		vec_push(&o->sums, XXH3_64bits(o->p + i, INDEX_BLOCK));
}

/* Writes what is gathered, filled up to a whole block. */
static int out_flush(struct out *o, struct err *e)
{
	size_t n = (o->n + INDEX_BLOCK - 1) / INDEX_BLOCK * INDEX_BLOCK;
	memset(o->p + o->n, 0, n - o->n);
	out_sums(o, n);
	if (write_at(o->fd, o->p, n, o->at, o->name, e) < 0)
		return -1;
	o->at += n;
	o->n = 0;
	return 0;
}

static int out_put(struct out *o, const void *p, size_t n, struct err *e)
{
	const char *from = p;
	while (n > 0) {
		size_t k = OUT_BYTES - o->n < n ? OUT_BYTES - o->n : n;
		memcpy(o->p + o->n, from, k);
		o->n += k;
		from += k;
		n -= k;
		if (o->n == OUT_BYTES && out_flush(o, e) < 0)
			return -1;
	}
	return 0;
}

static int out_section(struct out *o, struct ix_section *s, const void *p, size_t n, size_t size, struct err *e)
{
	static const char zero[8];
	if (o->n % 8 && out_put(o, zero, 8 - o->n % 8, e) < 0)
		return -1;
	*s = (struct ix_section){.at = o->at + o->n, .n = n};
	return out_put(o, p, n * size, e);
}

/* The cold section is in its place already; its checksums are not. */
static int sum_cold(struct index_builder *b, struct out *o, struct err *e)
{
	uint64_t bytes = b->cold.count * sizeof(struct ix_cold);
	if (cold_flush(b, e) < 0)
		return -1;
	cold_release(&b->cold);
	for (uint64_t done = 0; done < bytes;) {
		size_t want = bytes - done < OUT_BYTES ? (size_t)(bytes - done) : OUT_BYTES;
		ssize_t n = pread(b->fd, o->p, want, (off_t)(o->at));
		if (n != (ssize_t)want)
			return n < 0 ? err_sys(e, "read '%s'", b->tmp)
				     : err_new(e, ERR_FAILED, "read '%s': it has become shorter", b->tmp);
		size_t whole = (want + INDEX_BLOCK - 1) / INDEX_BLOCK * INDEX_BLOCK;
		memset(o->p + want, 0, whole - want);
		out_sums(o, whole);
		o->at += whole;
		done += want;
	}
	return 0;
}

/* -- order ------------------------------------------------------------------------------------------------------- */

struct ranked {
	const struct version *v;
	uint32_t id;
};

static int ranked_cmp(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	return pkg_conda.version_cmp(x->v, y->v);
}

/* Each distinct version is parsed once; equal ones get the same rank, what is no version gets 0. */
static void rank_versions(struct index_builder *b)
{
	auto_arena a = ARENA_INIT;
	auto_free struct ranked *r = xcalloc(b->versions.n + 1, sizeof(*r));
	size_t n = 0;
	for (size_t i = 0; i < b->versions.n; i++) {
		struct err ignored = ERR_INIT;
		const struct version *v =
			pkg_conda.version_parse(&a, pool_get(&b->pool, b->versions.v[i].str), &ignored);
		if (v)
			r[n++] = (struct ranked){.v = v, .id = (uint32_t)i};
	}
	qsort(r, n, sizeof(*r), ranked_cmp);
	uint32_t rank = 0;
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || pkg_conda.version_cmp(r[i - 1].v, r[i].v) != 0)
			rank++;
		b->versions.v[r[i].id].rank = rank;
	}
}

struct key {
	uint64_t major, timestamp; /* smaller is better */
	uint32_t build_number, slot;
};
struct key_ctx {
	const struct index_builder *b;
};

static int key_cmp(const void *pa, const void *pb, void *ctx)
{
	const struct key *x = pa, *y = pb;
	const struct index_builder *b = ((struct key_ctx *)ctx)->b;
	if (x->major != y->major)
		return x->major < y->major ? -1 : 1;
	if (x->build_number != y->build_number)
		return x->build_number < y->build_number ? -1 : 1;
	if (x->timestamp != y->timestamp)
		return x->timestamp < y->timestamp ? -1 : 1;
	int c = str_cmp(pool_get(&b->pool, b->rec.v[x->slot].build), pool_get(&b->pool, b->rec.v[y->slot].build));
	return c ? c : x->slot < y->slot ? -1 : 1;
}

static struct key key_of(const struct index_builder *b, uint32_t slot)
{
	const struct ix_hot *h = &b->rec.v[slot];
	uint64_t features = h->flags & IX_TRACK_FEATURES ? 1 : 0;
	uint64_t timestamp = (uint64_t)h->timestamp_high << 32 | h->timestamp_low;
	return (struct key){.major = features << 32 | (UINT32_MAX - b->versions.v[h->version].rank),
			    .timestamp = UINT64_MAX - timestamp,
			    .build_number = UINT32_MAX - h->build_number,
			    .slot = slot};
}

/* order[i] is the slot of package i: by name, each name's packages best first. */
static uint32_t *order_packages(struct index_builder *b)
{
	uint32_t *order = xcalloc(b->rec.n + 1, sizeof(*order)), at = 0, largest = 0;
	struct key_ctx ctx = {.b = b};
	vec_foreach(h, &b->rec)
		b->names.v[h->name].count++;
	vec_foreach(n, &b->names) {
		n->first = at;
		at += n->count;
		if (n->count > largest)
			largest = n->count;
		n->count = 0;
		n->whole = !b->partial || n->whole & IX_WHOLE ? IX_WHOLE : 0;
	}
	for (uint32_t slot = 0; slot < b->rec.n; slot++) {
		struct ix_name_entry *n = &b->names.v[b->rec.v[slot].name];
		order[n->first + n->count++] = slot;
	}
	auto_free struct key *keys = xcalloc((size_t)largest + 1, sizeof(*keys));
	vec_foreach(n, &b->names) {
		for (uint32_t i = 0; i < n->count; i++)
			keys[i] = key_of(b, order[n->first + i]);
		qsort_r(keys, n->count, sizeof(*keys), key_cmp, &ctx);
		for (uint32_t i = 0; i < n->count; i++)
			order[n->first + i] = keys[i].slot;
	}
	return order;
}

/* -- sections ---------------------------------------------------------------------------------------------------- */

static int put_hot(struct index_builder *b, struct out *o, struct ix_section *s, const uint32_t *order, struct err *e)
{
	if (out_section(o, s, NULL, 0, sizeof(struct ix_hot), e) < 0)
		return -1;
	s->n = b->rec.n;
	for (size_t i = 0; i < b->rec.n; i++)
		if (out_put(o, &b->rec.v[order[i]], sizeof(struct ix_hot), e) < 0)
			return -1;
	return 0;
}

static int put_name_hash(struct index_builder *b, struct out *o, struct ix_header *h, struct err *e)
{
	uint32_t cap = 16;
	while (cap < b->names.n + b->names.n / 2)
		cap *= 2;
	auto_free uint32_t *slot = xcalloc(cap, sizeof(*slot));
	for (uint32_t i = 0; i < b->names.n; i++) {
		struct str name = pool_get(&b->pool, b->names.v[i].str);
		uint32_t at = (uint32_t)XXH3_64bits_withSeed(name.p, name.n, h->hash_seed) & (cap - 1);
		while (slot[at])
			at = (at + 1) & (cap - 1);
		slot[at] = i + 1;
	}
	return out_section(o, &h->section[IX_NAME_HASH], slot, cap, sizeof(*slot), e);
}

static int odd_cmp(const void *a, const void *b)
{
	const struct ix_odd_entry *x = a, *y = b;
	return x->package < y->package ? -1 : x->package > y->package;
}

static int put_odd(struct index_builder *b, struct out *o, struct ix_section *s, const uint32_t *order, struct err *e)
{
	auto_free struct ix_odd_entry *odd = xcalloc(b->odd.n + 1, sizeof(*odd));
	if (b->odd.n > 0) {
		auto_free uint32_t *package = xcalloc(b->rec.n + 1, sizeof(*package));
		for (uint32_t i = 0; i < b->rec.n; i++)
			package[order[i]] = i;
		for (size_t i = 0; i < b->odd.n; i++)
			odd[i] = (struct ix_odd_entry){.package = package[b->odd.v[i].slot], .str = b->odd.v[i].fn};
		qsort(odd, b->odd.n, sizeof(*odd), odd_cmp);
	}
	return out_section(o, s, odd, b->odd.n, sizeof(*odd), e);
}

static int put_sections(struct index_builder *b, struct out *o, struct ix_header *h, struct err *e)
{
	struct ix_section *s = h->section;
	auto_free uint32_t *order = NULL;
	rank_versions(b);
	order = order_packages(b);
	s[IX_COLD] = (struct ix_section){.at = INDEX_BLOCK, .n = b->rec.n};
	if (put_hot(b, o, &s[IX_HOT], order, e) < 0 ||
	    out_section(o, &s[IX_NAMES], b->names.v, b->names.n, sizeof(*b->names.v), e) < 0 ||
	    put_name_hash(b, o, h, e) < 0 ||
	    out_section(o, &s[IX_VERSIONS], b->versions.v, b->versions.n, sizeof(*b->versions.v), e) < 0 ||
	    out_section(o, &s[IX_SPECS], b->specs.v, b->specs.n, sizeof(*b->specs.v), e) < 0 ||
	    out_section(o, &s[IX_LISTS], b->lists.v, b->lists.n, sizeof(*b->lists.v), e) < 0 ||
	    out_section(o, &s[IX_WORDS], b->words.v, b->words.n, sizeof(*b->words.v), e) < 0 ||
	    out_section(o, &s[IX_REMOVED], b->removed.v, b->removed.n, sizeof(*b->removed.v), e) < 0 ||
	    put_odd(b, o, &s[IX_ODD], order, e) < 0 || out_section(o, &s[IX_STRINGS], b->pool.p, b->pool.n, 1, e) < 0)
		return -1;
	return out_flush(o, e);
}

/* Behind the sections: the checksums of all blocks, and of these blocks of checksums in the header. */
static int put_sums(struct out *o, struct ix_header *h, struct err *e)
{
	VEC(uint64_t) sums = {.v = o->sums.v, .n = o->sums.n, .cap = o->sums.cap};
	size_t roots = (sums.n + INDEX_SUMS - 1) / INDEX_SUMS;
	int rc = 0;
	h->blocks = sums.n;
	h->sums_at = o->at;
	memset(&o->sums, 0, sizeof(o->sums));
	if (roots > INDEX_ROOTS)
		rc = err_new(e, ERR_LIMIT, "the index would exceed its limit of %llu MiB",
			     (unsigned long long)(INDEX_BYTES_MAX >> 20));
	if (rc == 0)
		rc = out_put(o, sums.v, sums.n * sizeof(uint64_t), e);
	if (rc == 0)
		rc = out_flush(o, e);
	if (rc == 0)
		memcpy(h->root, o->sums.v, roots * sizeof(uint64_t));
	vec_release(&sums);
	return rc;
}

static int put_header(struct out *o, struct ix_header *h, struct err *e)
{
	memset(o->p, 0, INDEX_BLOCK);
	h->bytes = o->at;
	h->sum = XXH3_64bits(h, sizeof(*h));
	memcpy(o->p, h, sizeof(*h));
	return write_at(o->fd, o->p, INDEX_BLOCK, 0, o->name, e);
}

/* What was needed only to find things again. */
static void drop_tables(struct index_builder *b)
{
	struct table *tables[] = {&b->name_table,  &b->version_table, &b->spec_table, &b->build_table,
				  &b->extra_table, &b->list_table,    &b->odd_table,  &b->twins};
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		table_release(tables[i]);
	memo_release(&b->memo);
}

int index_builder_finish(struct index_builder *b, struct err *e)
{
	auto_out o = {.fd = b->fd, .name = b->tmp, .p = xmalloc(OUT_BYTES), .at = INDEX_BLOCK};
	struct ix_header h = {.magic = INDEX_MAGIC,
			      .version = INDEX_VERSION,
			      .header_size = sizeof(h),
			      .hash_seed = b->seed,
			      .base_url = b->base_url,
			      .relation_base = b->relation_base,
			      .relation_overrides = b->relation_overrides,
			      .partial = b->partial,
			      .left_out = b->left_out,
			      .left_out_first = b->left_out_first};
	drop_tables(b);
	if (build_string(b, b->subdir, &h.subdir, e) < 0 || sum_cold(b, &o, e) < 0 || put_sections(b, &o, &h, e) < 0 ||
	    put_sums(&o, &h, e) < 0 || put_header(&o, &h, e) < 0)
		return -1;
	if (sys_fsync(b->fd) < 0)
		return err_sys(e, "sync '%s'", b->tmp);
	if (sys_renameat(b->dirfd, b->tmp, b->dirfd, b->path) < 0)
		return err_sys(e, "put '%s' in place", b->path);
	free(b->tmp);
	b->tmp = NULL;
	return 0;
}
