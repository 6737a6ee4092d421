// SPDX-License-Identifier: Apache-2.0
/* 5.6.7: who signs for a path; and 5.7: whether a file is what they signed. */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/digest.h"
#include "tuf/client.h"

enum { DELEGATIONS = 32, CHUNK = 1 << 17, CUSTOM_MAX = 1 << 20 };

/* A role that may have the path: looked at in order, by whoever delegated to it. */
struct candidate {
	struct str role;
	struct meta *by;
	const struct meta_role *who;
};

struct search {
	struct tuf_client *c;
	struct str path;
	char digest[SHA256_HEX_SIZE]; /* of the path */
	uint8_t digest_bytes[SHA256_SIZE];
	VEC(struct candidate) todo; /* the last is next */
	VEC(struct str) seen;
};

static void search_release(struct search *s)
{
	vec_release(&s->todo);
	vec_release(&s->seen);
}
#define auto_search cleanup_with(search_release) struct search

static bool delegates(const struct meta_delegation *d, const struct search *s)
{
	for (uint32_t i = 0; i < d->path_n; i++)
		if (path_matches(d->path[i], s->path))
			return true;
	for (uint32_t i = 0; i < d->hash_prefix_n; i++)
		if (str_starts(str_c(s->digest), d->hash_prefix[i]))
			return true;
	return false;
}

/* TAP 15: the first bits of the path's digest are the number of its bin. */
static struct str bin_of(struct tuf_client *c, const struct meta *m, const struct search *s)
{
	const uint8_t *d = s->digest_bytes;
	uint32_t first = (uint32_t)d[0] << 24 | (uint32_t)d[1] << 16 | (uint32_t)d[2] << 8 | d[3];
	int digits = (int)((m->bins.bits + 3) / 4);
	return str_c(arena_printf(&c->arena, "%.*s-%0*" PRIx32, STR_ARG(m->bins.prefix), digits,
				  (uint32_t)(first >> (32 - m->bins.bits))));
}

/* The roles that m delegates the path to, behind what waits already; a terminating one ends the search behind itself. */
static void add_delegations(struct search *s, struct meta *m)
{
	if (m->bins.bits) {
		vec_clear(&s->todo);
		*vec_add(&s->todo) = (struct candidate){bin_of(s->c, m, s), m, &m->bins.role};
		return;
	}
	size_t n = 0;
	while (n < m->delegation_n) {
		const struct meta_delegation *d = &m->delegation[n++];
		if (!d->terminating || !delegates(d, s))
			continue;
		vec_clear(&s->todo);
		break;
	}
	while (n-- > 0)
		if (delegates(&m->delegation[n], s))
			*vec_add(&s->todo) = (struct candidate){m->delegation[n].name, m, &m->delegation[n].role};
}

static bool was_seen(const struct search *s, struct str role)
{
	vec_foreach(r, &s->seen)
		if (str_eq(*r, role))
			return true;
	return false;
}

/* One that this process loaded already has to be signed for whoever asks now, too. */
static int load(struct search *s, const struct candidate *k, struct meta **ret, struct err *e)
{
	struct tuf_client *c = s->c;
	struct loaded *slot = NULL;
	struct err other = ERR_INIT;
	struct meta *m;
	vec_foreach(d, &c->delegated)
		if (str_eq(d->role, k->role))
			slot = d;
	if (slot && meta_verify(slot->meta, k->by, k->who, &other) == 0) {
		*ret = slot->meta;
		return 0;
	}
	if (client_load_targets(c, k->role, k->by, k->who, &m, e) < 0)
		return -1;
	if (!slot)
		slot = vec_add(
			&c->delegated); /* two parents that differ on a role cannot both be right: the metadata is one file */
	else
		meta_free(slot->meta);
	*slot = (struct loaded){arena_str(&c->arena, k->role), m};
	*ret = m;
	return 0;
}

static int take_target(struct tuf_client *c, struct str role, struct str path, const struct json *j,
		       struct tuf_target *ret, struct err *e)
{
	auto_buf url = BUF_INIT(1 << 16);
	struct tuf_target t = {.path = arena_str(&c->arena, path), .role = arena_str(&c->arena, role)};
	struct meta_hashes h;
	int64_t length;
	ptrdiff_t slash = str_rfind(path, '/');
	if (json_get_int(j, "length", &length, e) < 0 || meta_hashes_read(j, false, &h, e) < 0)
		return -1;
	if (!h.has_sha256 && !h.has_sha512)
		return err_new(e, ERR_UNSUPPORTED, "none of its digests is of a known kind (sha256, sha512)");
	t.length = (uint64_t)length;
	t.has_sha256 = h.has_sha256, t.has_sha512 = h.has_sha512;
	memcpy(t.sha256, h.sha256, sizeof(t.sha256));
	memcpy(t.sha512, h.sha512, sizeof(t.sha512));
	put_quoted(&url, str_head(path, (size_t)(slash + 1)), true);
	if (c->root->consistent_snapshot && !c->o.plain_urls) {
		buf_put_hex(&url, h.has_sha256 ? h.sha256 : h.sha512, h.has_sha256 ? SHA256_SIZE : SHA512_SIZE);
		buf_put_char(&url, '.');
	}
	put_quoted(&url, str_skip(path, (size_t)(slash + 1)), true);
	if (url.overflow)
		return err_new(e, ERR_LIMIT, "its path is too long");
	t.url_path = arena_strdup(&c->arena, buf_str(&url));
	if (json_get(j, "custom")) {
		auto_buf custom = BUF_INIT(CUSTOM_MAX);
		struct jw w = JW_INIT(&custom, 0);
		jw_value(&w, json_get(j, "custom"));
		if (!custom.overflow)
			t.custom = arena_str(&c->arena, buf_str(&custom));
	}
	*ret = t;
	return 1;
}

static int look(struct search *s, struct tuf_target *ret, struct err *e)
{
	unsigned max = s->c->o.limits.delegations ? s->c->o.limits.delegations : DELEGATIONS;
	while (s->todo.n) {
		struct candidate k = vec_pop(&s->todo);
		struct meta *m = s->c->targets;
		if (was_seen(s, k.role))
			continue;    /* 5.6.7.1 */
		if (s->seen.n > max) /* targets itself is none */
			return err_new(e, ERR_LIMIT, "more than %u roles are delegated to", max);
		vec_push(&s->seen, k.role);
		if (k.by && load(s, &k, &m, e) < 0)
			return -1;
		const struct json *j = meta_target_find(m, s->path);
		if (j)
			return take_target(s->c, k.role, s->path, j, ret, e);
		add_delegations(s, m);
	}
	return 0;
}

int tuf_client_target(struct tuf_client *c, struct str path, struct tuf_target *ret, struct err *e)
{
	auto_search s = {.c = c, .path = path};
	if (!c->fresh)
		return err_new(e, ERR_FAILED, "target '%.*s': the metadata was not refreshed", STR_ARG(path));
	sha256(path.p, path.n, s.digest_bytes);
	hex_encode(s.digest_bytes, SHA256_SIZE, s.digest);
	*vec_add(&s.todo) = (struct candidate){STR("targets"), NULL, NULL};
	int rc = look(&s, ret, e);
	return rc < 0 ? err_ctx(e, "target '%.*s'", STR_ARG(path)) : rc;
}

void tuf_client_paths(struct tuf_client *c, struct arena *a, struct str **ret, size_t *ret_n)
{
	uint32_t n = c->targets ? c->targets->targets->n : 0;
	*ret = arena_array(a, struct str, (size_t)n + 1);
	for (*ret_n = 0; *ret_n < n; ++*ret_n)
		(*ret)[*ret_n] = arena_str(a, c->targets->targets->member[*ret_n].key);
}

/* -- 5.7 ---------------------------------------------------------------------------------------------------------------------- */

static int wrong_length(const struct tuf_target *t, uint64_t got, struct err *e)
{
	return err_new(e, ERR_VERIFY, "target '%.*s': has %" PRIu64 " bytes%s, not the %" PRIu64 " that were signed",
		       STR_ARG(t->path), got, got > t->length ? " or more" : "", t->length);
}

static int check_digest(const struct tuf_target *t, struct digest *d, const uint8_t *want, size_t n, struct err *e)
{
	uint8_t got[DIGEST_MAX];
	digest_final(d, got);
	if (memcmp(got, want, n) == 0)
		return 0;
	return err_new(e, ERR_VERIFY, "target '%.*s': its content is not what was signed", STR_ARG(t->path));
}

int tuf_target_check_fd(const struct tuf_target *t, int fd, struct err *e)
{
	auto_ptr(digest) d256 = digest_new(DIGEST_SHA256), d512 = digest_new(DIGEST_SHA512);
	auto_free uint8_t *chunk = xmalloc(CHUNK);
	uint64_t at = 0;
	for (;;) {
		ssize_t n = pread(fd, chunk, CHUNK, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read target '%.*s'", STR_ARG(t->path));
		if (n == 0)
			break;
		at += (uint64_t)n;
		if (at > t->length)
			return wrong_length(t, at, e);
		if (t->has_sha256)
			digest_update(d256, chunk, (size_t)n);
		if (t->has_sha512)
			digest_update(d512, chunk, (size_t)n);
	}
	if (at != t->length)
		return wrong_length(t, at, e);
	if (t->has_sha256 && check_digest(t, d256, t->sha256, SHA256_SIZE, e) < 0)
		return -1;
	return t->has_sha512 ? check_digest(t, d512, t->sha512, SHA512_SIZE, e) : 0;
}

int tuf_target_check(const struct tuf_target *t, struct str bytes, struct err *e)
{
	struct meta_hashes h = {.any = true, .has_sha256 = t->has_sha256, .has_sha512 = t->has_sha512};
	memcpy(h.sha256, t->sha256, sizeof(h.sha256));
	memcpy(h.sha512, t->sha512, sizeof(h.sha512));
	if (bytes.n != t->length)
		return wrong_length(t, bytes.n, e);
	return meta_hashes_check(&h, bytes, e) < 0 ? err_ctx(e, "target '%.*s'", STR_ARG(t->path)) : 0;
}
