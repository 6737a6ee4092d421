// SPDX-License-Identifier: Apache-2.0
#include "pair/copy.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "base/vec.h"
#include "pair/message.h"

enum { ANSWER_MS = 10 * 60 * 1000 };
#define ARCHIVE_MAX ((uint64_t)1 << 36)
#define MIB ((uint64_t)1 << 20)

static void put_u64(struct buf *b, uint64_t v)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		buf_put_char(b, (char)(v >> shift & 0xff));
}

static uint64_t get_u64(const char *p)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | (uint8_t)p[i];
	return v;
}

/* == who sends ====================================================================================================== */

struct wanted {
	const struct pkg_record *record;
	uint64_t have;
};
struct sending {
	struct link *link;
	struct store *from;
	link_event_fn *on_event;
	void *ctx;
	VEC(struct wanted) wanted;
	struct copy_report *report;
	uint64_t left; /* bytes that are still to be sent */
	unsigned unanswered;
	bool resumed;
	struct err failure; /* the first that the other side answered */
};

static int by_digest(const void *x, const void *y)
{
	const struct wanted *a = x, *b = y;
	return memcmp(a->record->sha256, b->record->sha256, SHA256_SIZE);
}

/* Each archive of the lock once. */
static int list_archives(struct sending *s, const struct env_spec_file *lock, struct err *e)
{
	for (uint32_t i = 0; i < lock->packages_n; i++) {
		const struct pkg_record *r = &lock->packages[i].record;
		if (!r->has_sha256)
			return err_new(e, ERR_INPUT, "'%.*s' has no SHA-256 to copy it by", STR_ARG(r->fn));
		vec_push(&s->wanted, ((struct wanted){.record = r}));
	}
	if (s->wanted.n)
		qsort(s->wanted.v, s->wanted.n, sizeof(*s->wanted.v), by_digest);
	size_t n = 0;
	for (size_t i = 0; i < s->wanted.n; i++)
		if (n == 0 || by_digest(&s->wanted.v[n - 1], &s->wanted.v[i]) != 0)
			s->wanted.v[n++] = s->wanted.v[i];
	s->wanted.n = n;
	return 0;
}

/* Asks what is there, for at most MESSAGE_DIGESTS_MAX at once. */
static int ask_have(struct sending *s, struct err *e)
{
	for (size_t at = 0; at < s->wanted.n;) {
		auto_arena a = ARENA_INIT;
		auto_buf digests = BUF_INIT(WIRE_BYTES_MAX);
		struct wire_message m;
		size_t n = s->wanted.n - at < MESSAGE_DIGESTS_MAX ? s->wanted.n - at : MESSAGE_DIGESTS_MAX;
		for (size_t i = 0; i < n; i++)
			buf_put(&digests, s->wanted.v[at + i].record->sha256, SHA256_SIZE);
		if (link_call(s->link, STR("{\"ask\":\"have\"}"), buf_str(&digests), ANSWER_MS, s->on_event, s->ctx, &a,
			      &m, e) < 0)
			return -1;
		if (m.bytes.n != n * 8)
			return err_new(e, ERR_INPUT, "the other member answers for %zu of %zu archives", m.bytes.n / 8,
				       n);
		for (size_t i = 0; i < n; i++)
			s->wanted.v[at + i].have = get_u64(m.bytes.p + 8 * i);
		at += n;
	}
	return 0;
}

/* The next answer; events that come before it are told. */
static int take_answer(struct sending *s, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct wire_message m;
	for (;;) {
		int rc = link_take(s->link, ANSWER_MS, &a, &m, e);
		if (rc <= 0)
			return rc < 0 ? -1 : err_new(e, ERR_NETWORK, "the other member ended the connection");
		if (!json_get(m.json, "event"))
			break;
		if (s->on_event)
			s->on_event(s->ctx, m.json);
	}
	s->unanswered--;
	if (!json_get(m.json, "error") || s->failure.code != ERR_NONE)
		return 0;
	return message_read_failure(m.json, &s->failure, e);
}

static int put_piece(struct sending *s, const struct pkg_record *r, uint64_t at, uint64_t size, struct str bytes,
		     struct err *e)
{
	auto_buf b = BUF_INIT(256);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_c(&w, "ask", "put");
	jw_kv_hex(&w, "blob", r->sha256, SHA256_SIZE);
	jw_kv_int(&w, "at", (int64_t)at);
	jw_kv_int(&w, "size", (int64_t)size);
	jw_kv_int(&w, "left", (int64_t)s->left);
	jw_object_end(&w);
	if (s->unanswered >= MESSAGE_WINDOW && take_answer(s, e) < 0)
		return -1;
	if (link_put(s->link, buf_str(&b), bytes, e) < 0)
		return -1;
	s->unanswered++;
	return 0;
}

static int read_piece(int fd, char *piece, size_t n, struct str name, struct err *e)
{
	for (size_t got = 0; got < n;) {
		ssize_t k = read(fd, piece + got, n - got);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? err_sys(e, "read '%.*s'", STR_ARG(name))
				     : err_new(e, ERR_VERIFY, "'%.*s' became shorter while it was read", STR_ARG(name));
		got += (size_t)k;
	}
	return 0;
}

static int send_archive(struct sending *s, const struct wanted *x, char *piece, struct err *e)
{
	auto_fd fd = store_blob_open(s->from, x->record->sha256, e);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (fd < 0)
		return -1;
	uint64_t at = size >= 0 && x->have <= (uint64_t)size ? x->have : 0;
	if (size < 0 || lseek(fd, (off_t)at, SEEK_SET) < 0)
		return err_sys(e, "seek in '%.*s'", STR_ARG(x->record->fn));
	s->resumed |= at > 0;
	do {
		size_t n = (uint64_t)size - at < MESSAGE_CHUNK ? (size_t)((uint64_t)size - at) : MESSAGE_CHUNK;
		if (read_piece(fd, piece, n, x->record->fn, e) < 0 ||
		    put_piece(s, x->record, at, (uint64_t)size, str_of(piece, n), e) < 0)
			return -1;
		at += n;
		s->left -= n < s->left ? n : s->left;
		s->report->bytes += n;
	} while (at < (uint64_t)size && s->failure.code == ERR_NONE);
	s->report->archives++;
	return 0;
}

/* How much that is in all, before the first piece. */
static void measure(struct sending *s)
{
	s->left = 0;
	for (size_t i = 0; i < s->wanted.n; i++) {
		const struct wanted *x = &s->wanted.v[i];
		struct err ignored = ERR_INIT; /* sending it tells */
		struct stat st;
		if (x->have == COPY_THERE || !store_has_blob(s->from, x->record->sha256))
			continue;
		auto_fd fd = store_blob_open(s->from, x->record->sha256, &ignored);
		if (fd >= 0 && fstat(fd, &st) == 0)
			s->left += (uint64_t)st.st_size - (x->have <= (uint64_t)st.st_size ? x->have : 0);
	}
}

static int send_each(struct sending *s, struct err *e)
{
	auto_free char *piece = xmalloc(MESSAGE_CHUNK);
	for (size_t i = 0; i < s->wanted.n && s->failure.code == ERR_NONE; i++) {
		const struct wanted *x = &s->wanted.v[i];
		if (x->have == COPY_THERE)
			continue;
		if (store_has_blob(s->from, x->record->sha256)) {
			if (send_archive(s, x, piece, e) < 0)
				return -1;
		} else if (s->report->lacking++ == 0) {
			s->report->first_lacking = x->record->fn;
		}
	}
	return 0;
}

/* Every answer is taken, also where what is sent cannot be read to its end here: the next question is answered by its own. */
static int send_all(struct sending *s, struct err *e)
{
	struct err gone = ERR_INIT;
	*s->report = (struct copy_report){0};
	s->failure = ERR_INIT;
	s->resumed = false;
	if (ask_have(s, e) < 0)
		return -1;
	measure(s);
	int rc = send_each(s, e);
	if (rc < 0 && e->code == ERR_NETWORK)
		return -1;
	while (s->unanswered)
		if (take_answer(s, &gone) < 0)
			return rc < 0 ? -1 : (*e = gone, -1);
	if (rc == 0 && s->failure.code != ERR_NONE)
		*e = s->failure;
	return rc < 0 || s->failure.code != ERR_NONE ? -1 : 0;
}

int copy_send(struct link *l, const struct env_spec_file *lock, struct store *from, link_event_fn *on_event, void *ctx,
	      struct copy_report *ret, struct err *e)
{
	struct sending s = {.link = l, .from = from, .on_event = on_event, .ctx = ctx, .report = ret};
	struct err why = ERR_INIT;
	int rc = list_archives(&s, lock, &why) < 0 ? -1 : send_all(&s, &why);
	/* what an earlier copy left was damaged: that is gone now, and all of it is sent */
	if (rc < 0 && s.failure.code == ERR_VERIFY && s.resumed && !s.unanswered) {
		why = ERR_INIT;
		rc = send_all(&s, &why);
	}
	if (rc < 0)
		*e = why;
	vec_release(&s.wanted);
	return rc;
}

/* == who takes ====================================================================================================== */

int copy_have(struct store *s, struct str digests, struct buf *ret, struct err *e)
{
	if (digests.n % SHA256_SIZE)
		return err_new(e, ERR_INPUT, "message: %zu bytes are no list of digests", digests.n);
	for (size_t at = 0; at < digests.n; at += SHA256_SIZE) {
		const uint8_t *sha = (const uint8_t *)digests.p + at;
		put_u64(ret,
			store_has_blob(s, sha) || store_has_tree(s, sha) ? COPY_THERE : store_partial_size(s, sha));
	}
	return 0;
}

void copy_release(struct copy *c)
{
	cleanup_fd(&c->fd);
	digest_free(c->digest);
	c->digest = NULL;
}

/* For all that is announced, this archive or more. */
static int check_room(const struct copy *c, const uint8_t sha[SHA256_SIZE], uint64_t size, uint64_t left, struct err *e)
{
	struct statvfs v;
	uint64_t have = store_partial_size(c->store, sha), need = have <= size ? size - have : size;
	if (fstatvfs(c->root_fd, &v) < 0)
		return err_sys(e, "free space of '%s'", c->root_path);
	uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	if (left > need)
		need = left;
	if (free_bytes >= c->reserve_bytes && free_bytes - c->reserve_bytes >= need)
		return 0;
	return err_errno(
		e, ENOSPC,
		"%llu MiB are free in '%s', where %llu MiB are needed for what is to be copied and %llu MiB stay "
		"free",
		(unsigned long long)(free_bytes / MIB), c->root_path,
		(unsigned long long)(need / MIB + (need % MIB != 0)), (unsigned long long)(c->reserve_bytes / MIB));
}

/* What an earlier copy left counts, digest and all; more than there can be does not. */
static int open_partial(struct copy *c, const uint8_t sha[SHA256_SIZE], uint64_t size, struct err *e)
{
	uint64_t have;
	copy_release(c);
	if (store_partial_open(c->store, sha, &c->fd, &have, e) < 0)
		return -1;
	memcpy(c->sha256, sha, SHA256_SIZE);
	c->digest = digest_new(DIGEST_SHA256);
	c->at = 0;
	if (have > size && sys_ftruncate(c->fd, 0) < 0)
		return err_sys(e, "empty a partial archive");
	if (lseek(c->fd, 0, SEEK_SET) < 0)
		return err_sys(e, "seek in a partial archive");
	auto_free char *block = xmalloc(MESSAGE_CHUNK);
	while (have <= size && c->at < have) {
		size_t n = have - c->at < MESSAGE_CHUNK ? (size_t)(have - c->at) : MESSAGE_CHUNK;
		if (read_piece(c->fd, block, n, STR("partial archive"), e) < 0)
			return -1;
		digest_update(c->digest, block, n);
		c->at += n;
	}
	return 0;
}

static int finish(struct copy *c, struct err *e)
{
	uint8_t got[DIGEST_MAX];
	char hex[SHA256_HEX_SIZE];
	digest_final(c->digest, got);
	if (memcmp(got, c->sha256, SHA256_SIZE) == 0)
		return store_partial_commit(c->store, c->sha256, c->fd, e);
	store_partial_discard(c->store, c->sha256);
	hex_encode(c->sha256, SHA256_SIZE, hex);
	return err_new(e, ERR_VERIFY,
		       "what came for archive '%.12s' has another SHA-256; 'slipway store verify' on the "
		       "other member tells whether its copy is damaged",
		       hex);
}

static bool is_new(const struct copy *c, const uint8_t sha[SHA256_SIZE])
{
	return c->fd < 0 || memcmp(c->sha256, sha, SHA256_SIZE) != 0;
}

static int take_piece(struct copy *c, const uint8_t sha[SHA256_SIZE], uint64_t at, uint64_t size, struct str bytes,
		      struct err *e)
{
	if (is_new(c, sha) && open_partial(c, sha, size, e) < 0)
		return -1;
	/* also what was on its way when a piece before it failed */
	if (at != c->at || bytes.n > size - at || (bytes.n == 0 && at < size))
		return err_new(e, ERR_INPUT, "message: a piece of %zu bytes at %llu of %llu does not go on at %llu",
			       bytes.n, (unsigned long long)at, (unsigned long long)size, (unsigned long long)c->at);
	if (fs_write_all(c->fd, bytes.p, bytes.n, "partial archive", e) < 0)
		return -1;
	digest_update(c->digest, bytes.p, bytes.n);
	c->at += bytes.n;
	return c->at == size && finish(c, e) < 0 ? -1 : 0;
}

int copy_take(struct copy *c, const struct wire_message *m, struct err *e)
{
	uint8_t sha[SHA256_SIZE];
	int64_t at, size, left = 0;
	if (message_get_digest(m->json, "blob", sha, e) < 0 ||
	    message_get_number(m->json, "size", 0, ARCHIVE_MAX, &size, e) < 0 ||
	    message_get_number(m->json, "at", 0, size, &at, e) < 0 ||
	    (json_get(m->json, "left") && message_get_number(m->json, "left", 0, INT64_MAX, &left, e) < 0))
		return -1;
	if (store_has_blob(c->store, sha)) /* by somebody else meanwhile */
		return 0;
	if (is_new(c, sha) && check_room(c, sha, (uint64_t)size, (uint64_t)left, e) < 0)
		return -1;
	int rc = take_piece(c, sha, (uint64_t)at, (uint64_t)size, m->bytes, e);
	if (rc < 0 || c->at == (uint64_t)size)
		copy_release(c);
	return rc;
}
