// SPDX-License-Identifier: Apache-2.0
/* What arrives, on its way into the file: offsets, limits, digest. */
#include <errno.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "transfer/job.h"

enum { BLOCK = 256 << 10, LOOK_EACH = 1 << 20 };
static const uint64_t default_max_bytes = (uint64_t)64 << 30;

/* What is to be found in the body, or !known. */
static struct digest_value expected(const struct transfer_request *r)
{
	const uint8_t *told = r->sha256 ? r->sha256 : r->md5;
	struct digest_value v = {.kind = r->sha256 ? DIGEST_SHA256 : DIGEST_MD5, .known = told != NULL};
	if (told)
		memcpy(v.bytes, told, digest_size(v.kind));
	else if (r->digest)
		v = *r->digest;
	return v;
}

static bool has_digest(const struct transfer_request *r)
{
	return r->sha256 || r->md5 || (r->digest && r->digest->known);
}

static void new_digest(struct job *j)
{
	digest_free(j->digest);
	j->digest = has_digest(j->r) ? digest_new(expected(j->r).kind) : NULL;
}

int job_truncate(struct job *j, struct err *e)
{
	j->at = j->r->have = 0;
	new_digest(j);
	return sys_ftruncate(j->r->fd, 0) < 0 ? err_sys(e, "truncate the partial file") : 0;
}

static int begin_anew(struct job *j, struct err *e)
{
	memcpy(j->r->etag, j->held_etag, sizeof(j->r->etag));
	memcpy(j->r->last_modified, j->held_last_modified, sizeof(j->r->last_modified));
	return job_truncate(j, e);
}

static int hash_what_is_there(struct job *j, struct err *e)
{
	auto_free char *block = xmalloc(BLOCK);
	for (uint64_t at = 0; at < j->r->have;) {
		uint64_t want = j->r->have - at;
		ssize_t n = pread(j->r->fd, block, want < BLOCK ? (size_t)want : BLOCK, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read the partial file");
		if (n == 0)
			return begin_anew(j, e); /* shorter than was said */
		digest_update(j->digest, block, (size_t)n);
		at += (uint64_t)n;
	}
	return 0;
}

int job_prepare_body(struct job *j, struct err *e)
{
	struct transfer_request *r = j->r;
	bool resumable = has_digest(r) || (r->etag[0] && r->etag[0] != 'W');
	if (!r->have || !resumable || (r->size && r->have > r->size))
		return begin_anew(j, e);
	new_digest(j);
	if (j->digest && hash_what_is_there(j, e) < 0)
		return -1;
	j->at = r->have;
	return 0;
}

/* What nobody told the size of may have none. */
static int check_space(struct job *j, size_t n, struct err *e)
{
	struct transfer *t = j->t;
	t->unlooked_bytes += n;
	if (!t->o.leave_bytes || t->unlooked_bytes < LOOK_EACH)
		return 0;
	t->unlooked_bytes = 0;
	return fs_check_space(j->r->fd, t->o.leave_bytes, e);
}

int job_write(struct job *j, const void *p, size_t n, struct err *e)
{
	const char *at = p;
	uint64_t max = j->r->max_bytes ? j->r->max_bytes : default_max_bytes;
	if (j->r->size && n > j->r->size - j->at)
		return err_new(e, ERR_VERIFY, "it is longer than the %llu bytes that were published",
			       (unsigned long long)j->r->size);
	if (n > max - j->at)
		return err_new(e, ERR_LIMIT, "it is longer than %llu bytes, the most that is accepted here",
			       (unsigned long long)max);
	if (check_space(j, n, e) < 0)
		return -1;
	if (j->digest)
		digest_update(j->digest, p, n);
	while (n) {
		ssize_t done = sys_pwrite(j->r->fd, at, n, (off_t)j->at);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_sys(e, "write");
		at += done;
		n -= (size_t)done;
		j->at += (uint64_t)done;
	}
	return 0;
}

enum job_verdict job_check_body(struct job *j)
{
	uint8_t got[DIGEST_MAX];
	struct transfer_request *r = j->r;
	if (r->size && j->at < r->size) {
		err_new(&r->err, ERR_NETWORK, "it ended after %llu of %llu bytes", (unsigned long long)j->at,
			(unsigned long long)r->size);
		return JOB_TRY_AGAIN;
	}
	if (!j->digest)
		return JOB_GOOD;
	static const char *const names[DIGEST_KINDS] = {"SHA-256", "MD5", "SHA-512", "SHA-1"};
	const struct digest_value want = expected(r);
	size_t n = digest_final(j->digest, got);
	if (memcmp(got, want.bytes, n) == 0)
		return JOB_GOOD;
	err_new(&r->err, ERR_VERIFY,
		"its %s is not the published one; the file on the server is damaged or was replaced: refresh the channel, "
		"or tell its keeper",
		names[want.kind]);
	return JOB_START_OVER;
}
