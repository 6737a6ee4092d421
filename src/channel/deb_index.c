// SPDX-License-Identifier: Apache-2.0
/*
 * A suite, written: its indexes stream from the old ones to new ones; each is put under its digest (by-hash) and linked from
 * its own name; Release names them and is signed, last.
 *
 * What a Release of before names stays under by-hash: a client in the middle of an update has read that Release. The text of
 * each is kept in .slipway/deb/SUITE/MILLISECONDS, named by when it was superseded; what none of them names is removed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/compress.h"
#include "base/fs.h"
#include "base/sys.h"
#include "base/work.h"
#include "channel/deb.h"
#include "channel/openpgp.h"

enum {
	WRITE_SIZE = 256 << 10,
	XZ_FAST_FROM = 8 << 20, /* a larger index is packed faster: at its usual level xz takes 0.35 s for each MB */
	XZ_FAST = 2,
	XZ_USUAL = 6,
	GZIP_LEVEL = 6,
	GENERATIONS_MIN = 3,
	GENERATIONS_MAX = 50,
	LIST_MAX = 1 << 20,
};
#define GENERATION_MS (INT64_C(24) * 3600 * 1000)
#define HISTORY ".slipway/deb/"

/* == the state of a suite ========================================================================================= */

static struct deb_entry *put_entry(struct deb_made *m, struct str path)
{
	uint64_t *place = map_get(&m->by_path, path);
	if (!place) {
		struct deb_entry *x = vec_add(&m->entry);
		x->path = arena_str(m->a, path);
		*map_put(&m->by_path, x->path) = m->entry.n;
		return x;
	}
	return &m->entry.v[*place - 1];
}

int deb_made_open(struct deb_made *m, bool anew, struct err *e)
{
	m->dir = arena_printf(m->a, "dists/%.*s/", STR_ARG(m->suite));
	if (m->t->dir < 0)
		return 0; /* a dry run, where there is no folder yet */
	int rc = deb_release_read(m->t->dir, m->dir, NULL, m->a, &m->old, e);
	if (rc < 0)
		return err_ctx(e, "the channel's own metadata cannot be read; mend or remove them");
	m->had = rc > 0;
	if (!m->o->signer && m->old.signed_in_one)
		return err_new(e, ERR_USAGE, "suite '%.*s' is signed; say with which key it is to be signed again",
			       STR_ARG(m->suite));
	if (m->had && m->old.n == 0 && deb_value(m->old.text, "MD5Sum").n > 0)
		return err_new(e, ERR_UNSUPPORTED, "'%sRelease' names files by MD5 alone", m->dir);
	m->from = &m->old;
	for (size_t i = 0; !anew && i < m->old.n; i++) {
		struct deb_entry *x = put_entry(m, m->old.entry[i].path);
		x->size = m->old.entry[i].size;
		x->digest = m->old.entry[i].digest;
	}
	m->changed = anew;
	return 0;
}

void deb_made_release(struct deb_made *m)
{
	deb_release_release(&m->old);
	vec_release(&m->entry);
	map_release(&m->by_path);
}

bool deb_base_split(struct str path, struct str *component, struct str *platform)
{
	ptrdiff_t slash = str_rfind(path, '/');
	if (slash < 0)
		return false;
	struct str name = str_skip(path, (size_t)slash + 1), dir = str_head(path, (size_t)slash);
	slash = str_rfind(dir, '/');
	if (slash < 1 || !str_starts(name, STR("Packages")))
		return false;
	*component = str_head(dir, (size_t)slash);
	*platform = str_skip(dir, (size_t)slash + 1);
	return str_take_str(platform, STR("binary-")) && platform->n > 0;
}

/* == writing one index ============================================================================================ */

struct out {
	int fd;
	size_t staged;
	uint64_t size;
	struct digest *digest;
	struct buf pending; /* of the plain one */
	/* a packing of it */
	enum compress_kind kind;
	int from_fd;
	uint64_t from_size;
};

static void out_release(struct out *w)
{
	cleanup_fd(&w->fd);
	digest_free(w->digest);
	buf_release(&w->pending);
}
#define auto_out cleanup_with(out_release) struct out

static int out_begin(struct deb_made *m, struct out *w, struct err *e)
{
	*w = (struct out){.fd = -1, .digest = digest_new(DIGEST_SHA256), .pending = BUF_INIT(BUF_MAX)};
	w->fd = m->t->dry_run ? -1 : staging_begin(m->t, &w->staged, e);
	return w->fd < 0 && !m->t->dry_run ? -1 : 0;
}

static int out_write(void *ctx, const void *p, size_t n, struct err *e)
{
	struct out *w = ctx;
	digest_update(w->digest, p, n);
	w->size += n;
	return w->fd < 0 ? 0 : fs_write_all(w->fd, p, n, "an index", e);
}

static int out_flush(struct out *w, struct err *e)
{
	int rc = w->pending.n ? out_write(w, w->pending.p, w->pending.n, e) : 0;
	buf_clear(&w->pending);
	return rc;
}

static int out_stanza(struct out *w, struct str stanza, struct err *e)
{
	buf_put_str(&w->pending, stanza);
	buf_put_char(&w->pending, '\n');
	return w->pending.n < WRITE_SIZE ? 0 : out_flush(w, e);
}

/* Names what was written by its digest, links it from its own name, and has Release name it. */
static int out_end(struct deb_made *m, struct out *w, const char *path, struct err *e)
{
	struct deb_entry new = {.path = str_c(path), .size = w->size, .digest = {.kind = DIGEST_SHA256, .known = true}};
	digest_final(w->digest, new.digest.bytes);
	struct deb_entry *x = put_entry(m, new.path);
	const char *full = arena_printf(m->a, "%s%s", m->dir, path);
	const char *by_hash = arena_printf(m->a, "%s%s", m->dir, deb_by_hash(m->a, &new));
	bool same = x->size == new.size &&memcmp(&x->digest, &new.digest, sizeof(new.digest)) == 0;
	x->size = new.size;
	x->digest = new.digest;
	if (m->t->dry_run || (same && fs_exists(m->t->dir, by_hash) && fs_exists(m->t->dir, full)))
		return 0;
	m->changed |= !same;
	fs_write_behind(w->fd);
	return staging_name(m->t, w->staged, by_hash, e) < 0 ? -1 : staging_link(m->t, full, by_hash, e);
}

static int pack(void *ctx, struct err *e)
{
	struct out *w = ctx;
	auto_free char *piece = xmalloc(WRITE_SIZE);
	int level = w->kind == COMPRESS_GZIP ? GZIP_LEVEL : w->from_size >= XZ_FAST_FROM ? XZ_FAST : XZ_USUAL;
	auto_ptr(compress) c = compress_new(w->kind, level, out_write, w);
	for (uint64_t at = 0; at < w->from_size;) {
		ssize_t n = pread(w->from_fd, piece, WRITE_SIZE, (off_t)at);
		if (n <= 0)
			return n < 0 ? err_sys(e, "read an index") : err_new(e, ERR_FAILED, "an index became shorter");
		if (compress_put(c, piece, (size_t)n, e) < 0)
			return -1;
		at += (uint64_t)n;
	}
	return compress_end(c, e);
}

/* The packings of a plain index that was written, at the same time. */
static int write_packings(struct deb_made *m, const struct out *plain, struct str base, struct err *e)
{
	static const enum compress_kind kinds[] = {COMPRESS_GZIP, COMPRESS_XZ};
	enum { N = sizeof(kinds) / sizeof(*kinds) };
	auto_out first = {.fd = -1}, second = {.fd = -1};
	struct out *out[N] = {&first, &second};
	auto_ptr(work) w = work_new(N);
	for (size_t i = 0; i < N; i++) {
		if (out_begin(m, out[i], e) < 0)
			return -1;
		out[i]->kind = kinds[i];
		out[i]->from_fd = plain->fd;
		out[i]->from_size = plain->size;
		work_submit(w, pack, out[i]);
	}
	if (work_wait(w, e) < 0)
		return -1;
	for (size_t i = 0; i < N; i++)
		if (out_end(m, out[i], arena_printf(m->a, "%.*s%s", STR_ARG(base), compress_ending(kinds[i])), e) < 0)
			return -1;
	return 0;
}

static int cmp_parts(struct str name, struct str version, struct str platform, const struct deb_addition *x)
{
	int c = str_cmp(name, x->name);
	c = c ? c : pkg_deb_version_cmp(version, x->version);
	c = c ? c : str_cmp(version, x->version); /* "1.0" and "1.00" */
	return c ? c : str_cmp(platform, x->platform);
}

int deb_addition_cmp(const void *a, const void *b)
{
	const struct deb_addition *x = a;
	return cmp_parts(x->name, x->version, x->platform, b);
}

static bool is_replaced(const struct str v[4], const struct deb_addition *add, size_t n)
{
	const struct deb_addition key = {.name = v[0], .version = v[1], .platform = v[2]};
	return n > 0 && bsearch(&key, add, n, sizeof(*add), deb_addition_cmp);
}

static int merge(struct out *w, struct istream *in, deb_keep_fn *keep, void *ctx, const struct deb_addition *add,
		 size_t n, struct err *e)
{
	static const char *const names[] = {"Package", "Version", "Architecture", "Filename"};
	auto_deb_reader r;
	struct str stanza, v[4];
	size_t next = 0;
	int rc = 0;
	deb_reader_init(&r, in);
	while (in && (rc = deb_next(&r, &stanza, e)) > 0) {
		deb_fields(stanza, names, v, 4);
		int kept = is_replaced(v, add, n) ? 0 : keep ? keep(ctx, stanza, v, e) : 1;
		if (kept < 0)
			return -1;
		for (; kept && next < n && cmp_parts(v[0], v[1], v[2], &add[next]) > 0; next++)
			if (out_stanza(w, add[next].stanza, e) < 0)
				return -1;
		if (kept && out_stanza(w, stanza, e) < 0)
			return -1;
	}
	for (; rc == 0 && next < n; next++)
		rc = out_stanza(w, add[next].stanza, e);
	return rc < 0 ? -1 : out_flush(w, e);
}

int deb_made_index(struct deb_made *m, struct str base, struct istream *in, deb_keep_fn *keep, void *ctx,
		   const struct deb_addition *add, size_t n, struct err *e)
{
	auto_out plain = {.fd = -1};
	if (out_begin(m, &plain, e) < 0 || merge(&plain, in, keep, ctx, add, n, e) < 0)
		return -1;
	if (m->t->dry_run)
		return 0;
	return out_end(m, &plain, arena_strdup(m->a, base), e) < 0 ? -1 : write_packings(m, &plain, base, e);
}

int deb_made_text(struct deb_made *m, const char *path, struct str text, struct err *e)
{
	auto_out w = {.fd = -1};
	if (out_begin(m, &w, e) < 0 || out_write(&w, text.p, text.n, e) < 0)
		return -1;
	return m->t->dry_run ? 0 : out_end(m, &w, path, e);
}

/* == Release ====================================================================================================== */

static int cmp_entry(const void *a, const void *b)
{
	return str_cmp(((const struct deb_entry *)a)->path, ((const struct deb_entry *)b)->path);
}

static int cmp_str(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The components or the architectures that the indexes have, sorted. */
static void put_words(const struct deb_made *m, struct buf *b, bool platforms)
{
	VEC(struct str) v = {0};
	vec_foreach(x, &m->entry) {
		struct str component, platform;
		if (deb_base_split(x->path, &component, &platform) && (platforms || str_find(component, '/') < 0))
			vec_push(&v, platforms ? platform : component);
		else if (!platforms && deb_is_sources(x->path))
			vec_push(&v, str_head(x->path, (size_t)str_find(x->path, '/')));
	}
	vec_sort(&v, cmp_str);
	for (size_t i = 0; i < v.n; i++)
		if (i == 0 || !str_eq(v.v[i], v.v[i - 1]))
			buf_printf(b, " %.*s", STR_ARG(v.v[i]));
	vec_release(&v);
}

static void put_field(struct buf *b, const char *name, struct str given, struct str old, struct str otherwise)
{
	struct str value = given.n ? given : old.n ? old : otherwise;
	if (value.n)
		buf_printf(b, "%s: %.*s\n", name, STR_ARG(value));
}

static bool is_ours(struct str name)
{
	static const char *const ours[] = {"Origin",	  "Label",	     "Suite",	      "Codename",   "Date",
					   "Valid-Until", "Acquire-By-Hash", "Architectures", "Components", "MD5Sum",
					   "SHA1",	  "SHA256",	     "SHA512",	      "Signed-By"};
	for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		if (deb_name_eq(name, str_c(ours[i])))
			return true;
	return false;
}

static void put_section(const struct deb_made *m, struct buf *b, enum digest_kind kind, const char *name)
{
	bool begun = false;
	vec_foreach(x, &m->entry) {
		if (x->digest.kind != kind)
			continue;
		if (!begun)
			buf_printf(b, "%s:\n", name);
		begun = true;
		buf_put_char(b, ' ');
		buf_put_hex(b, x->digest.bytes, digest_size(kind));
		buf_printf(b, " %llu %.*s\n", (unsigned long long)x->size, STR_ARG(x->path));
	}
}

static void put_release(struct deb_made *m, struct buf *b)
{
	struct str text = m->from->text;
	struct deb_field f;
	put_field(b, "Origin", m->o->origin, deb_value(text, "Origin"), STR_NONE);
	put_field(b, "Label", m->o->label, deb_value(text, "Label"), STR_NONE);
	put_field(b, "Suite", STR_NONE, deb_value(text, "Suite"), m->suite);
	put_field(b, "Codename", STR_NONE, deb_value(text, "Codename"), m->suite);
	buf_put_c(b, "Date: ");
	deb_date_put(b, m->now_ms);
	if (m->o->valid_ms > 0) {
		buf_put_c(b, "\nValid-Until: ");
		deb_date_put(b, m->now_ms + m->o->valid_ms);
	}
	buf_put_c(b, "\nAcquire-By-Hash: yes\nArchitectures:");
	put_words(m, b, true);
	buf_put_c(b, "\nComponents:");
	put_words(m, b, false);
	buf_put_char(b, '\n');
	while (deb_take_field(&text, &f))
		if (!is_ours(f.name))
			buf_put_str(b, f.lines);
	vec_sort(&m->entry, cmp_entry);
	put_section(m, b, DIGEST_SHA256, "SHA256");
	put_section(m, b, DIGEST_SHA512, "SHA512");
}

/* Release, Release.gpg, and at the very last InRelease, which is the one that clients ask for. */
static int stage_release(struct deb_made *m, struct str text, struct err *e)
{
	auto_buf clear = BUF_INIT(DEB_RELEASE_MAX), apart = BUF_INIT(DEB_RELEASE_MAX);
	struct staging *t = m->t;
	if (m->signer && (openpgp_sign(m->signer, m->o->signer->key, OPENPGP_DETACHED, text, &apart, e) < 0 ||
			  openpgp_sign(m->signer, m->o->signer->key, OPENPGP_CLEAR, text, &clear, e) < 0))
		return -1;
	if (staging_put_pointer(t, arena_printf(m->a, "%sRelease", m->dir), text, e) < 0)
		return -1;
	if (!m->signer)
		return 0;
	return staging_put_pointer(t, arena_printf(m->a, "%sRelease.gpg", m->dir), buf_str(&apart), e) < 0 ||
			       staging_put_pointer(t, arena_printf(m->a, "%sInRelease", m->dir), buf_str(&clear), e) < 0
		       ? -1
		       : 0;
}

/* == generations ================================================================================================== */

struct generations {
	struct map kept;    /* paths under by-hash that somebody names */
	struct map folders; /* that may hold others */
};

static void generations_release(struct generations *g)
{
	map_release(&g->kept);
	map_release(&g->folders);
}

static void mark(struct deb_made *m, struct generations *g, const struct deb_entry *x, bool keep)
{
	struct str path = str_c(arena_printf(m->a, "%s%s", m->dir, deb_by_hash(m->a, x)));
	*map_put(&g->folders, str_head(path, (size_t)str_rfind(path, '/'))) = 1;
	if (keep)
		*map_put(&g->kept, path) = 1;
}

static int mark_text(struct deb_made *m, struct generations *g, struct str text, bool keep, struct err *e)
{
	auto_deb_release r = {0};
	if (deb_release_parse(m->a, text, "a Release of before", &r, e) < 0)
		return -1;
	for (size_t i = 0; i < r.n; i++)
		mark(m, g, &r.entry[i], keep);
	return 0;
}

/* Reads the Releases of before, oldest first, and forgets those that nobody can be reading any more. */
static int mark_history(struct deb_made *m, struct generations *g, const char *folder, struct err *e)
{
	auto_fs_list list = {0};
	struct err cause = ERR_INIT;
	if (fs_list(m->t->dir, folder, LIST_MAX, &list, &cause) < 0) {
		if (cause.code == ERR_NOT_FOUND)
			return 0;
		*e = cause;
		return -1;
	}
	for (size_t i = 0; i < list.n; i++) {
		uint64_t at;
		auto_buf text = BUF_INIT(DEB_RELEASE_MAX);
		const char *path = arena_printf(m->a, "%s/%s", folder, list.name[i]);
		if (!str_to_u64(str_c(list.name[i]), &at))
			continue;
		/* with the one that is about to be superseded */
		size_t newer = list.n - i;
		bool young = m->now_ms - (int64_t)at < GENERATION_MS && newer < GENERATIONS_MAX;
		bool keep = young || newer < GENERATIONS_MIN;
		if (fs_read(m->t->dir, path, &text, e) < 0 || mark_text(m, g, buf_str(&text), keep, e) < 0)
			return -1;
		if (!keep)
			staging_drop(m->t, path);
	}
	return 0;
}

static int drop_unnamed(struct deb_made *m, const struct generations *g, struct err *e)
{
	for (struct map_slot *s = NULL; (s = map_next(&g->folders, s));) {
		auto_fs_list list = {0};
		struct err ignored = ERR_INIT;
		const char *folder = arena_strdup(m->a, s->key);
		if (!fs_exists(m->t->dir, folder))
			continue;
		if (fs_list(m->t->dir, folder, LIST_MAX, &list, &ignored) < 0)
			return err_ctx(&ignored, "by-hash"), *e = ignored, -1;
		for (size_t i = 0; i < list.n; i++) {
			const char *path = arena_printf(m->a, "%s/%s", folder, list.name[i]);
			if (!map_get(&g->kept, str_c(path)))
				staging_drop(m->t, path);
		}
	}
	return 0;
}

static int supersede(struct deb_made *m, struct err *e)
{
	cleanup_with(generations_release) struct generations g = {0};
	const char *folder = arena_printf(m->a, HISTORY "%.*s", STR_ARG(m->suite));
	int64_t at = m->now_ms > 0 ? m->now_ms : 0;
	while (fs_exists(m->t->dir, arena_printf(m->a, "%s/%020lld", folder, (long long)at)))
		at++;
	if (m->had &&
	    staging_put_text(m->t, arena_printf(m->a, "%s/%020lld", folder, (long long)at), m->old.text, e) < 0)
		return -1;
	for (size_t i = 0; i < m->old.n; i++)
		mark(m, &g, &m->old.entry[i], true);
	vec_foreach(x, &m->entry)
		mark(m, &g, x, true);
	return mark_history(m, &g, folder, e) < 0 ? -1 : drop_unnamed(m, &g, e);
}

static bool says_other(const struct deb_made *m, const char *name, struct str given)
{
	return given.n > 0 && !str_eq(deb_value(m->old.text, name), given);
}

int deb_made_finish(struct deb_made *m, bool force, struct err *e)
{
	auto_buf text = BUF_INIT(DEB_RELEASE_MAX);
	if (m->t->dry_run)
		return 0;
	if (!force && m->had && !m->changed && !says_other(m, "Origin", m->o->origin) &&
	    !says_other(m, "Label", m->o->label) && (!m->signer || m->old.signed_in_one))
		return 0;
	put_release(m, &text);
	if (text.overflow)
		return err_new(e, ERR_LIMIT, "'%sRelease' would exceed %d MiB", m->dir, DEB_RELEASE_MAX >> 20);
	return supersede(m, e) < 0 ? -1 : stage_release(m, buf_str(&text), e);
}
