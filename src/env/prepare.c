// SPDX-License-Identifier: Apache-2.0
/*
 * Brings every package of a plan into the store: downloads on this thread's event loop, verification and unpacking on a
 * pool of threads as each download ends.
 *
 * A package whose SHA-256 is not known beforehand (@EXPLICIT lists, old channels) is downloaded under a stand-in digest,
 * that of its URL, and gets its real one when it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/stream.h"
#include "base/url.h"
#include "base/vec.h"
#include "base/work.h"
#include "env/env.h"

enum { BUSY_POLL_MS = 200, BUSY_WAIT_MS = 15 * 60 * 1000, MAX_INDEX_JSON = 16 << 20 };

struct prepare;
struct item {
	struct prepare *p;
	struct pkg_record *record;
	struct transfer_request request;
	char *url;
	int fd;
	uint8_t key[SHA256_SIZE]; /* the partial file's name: the digest, or the stand-in */
	bool is_stand_in, is_busy;
	struct arena arena; /* what completing the record read; joined into the caller's at the end */
};
struct prepare {
	struct store *store;
	struct transfer *transfer;
	const struct env_opts *opts;
	struct work *work;
	struct arena *arena;
	struct item *items;
	size_t n;
	struct err failure; /* the first of the downloads that failed */
};

static void tell(struct item *it, enum progress_kind kind, const char *phase, const char *text)
{
	char fn[256];
	snprintf(fn, sizeof(fn), "%.*s", STR_ARG(it->record->fn));
	progress_send(it->p->opts->progress, (struct progress_event){.kind = kind,
								     .phase = phase,
								     .id = fn,
								     .text = text,
								     .done = it->record->size,
								     .total = it->record->size});
}

/* -- on the pool's threads ----------------------------------------------------------------------------------------- */

/* A record that came from a bare URL learns the rest from the package itself. */
static int complete_record(struct item *it, struct err *e)
{
	auto_buf text = BUF_INIT(MAX_INDEX_JSON);
	struct pkg_record *r = it->record, inside = {0};
	if (r->depends || r->constrains || r->timestamp_ms || r->license.n)
		return 0;
	auto_fd tree = store_tree_open(it->p->store, r->sha256, e);
	if (tree < 0)
		return -1;
	if (!fs_exists(tree, "info/index.json"))
		return 0;
	if (fs_read(tree, "info/index.json", &text, e) < 0)
		return -1;
	const struct json *j = json_parse(&it->arena, arena_str(&it->arena, buf_str(&text)), "info/index.json", e);
	if (!j || pkg_record_read(&it->arena, j, &inside, e) < 0)
		return -1;
	if (!str_eq(inside.name, r->name) || !str_eq(inside.version, r->version) || !str_eq(inside.build, r->build))
		return err_new(e, ERR_VERIFY, "info/index.json says %.*s-%.*s-%.*s; do not use this file",
			       STR_ARG(inside.name), STR_ARG(inside.version), STR_ARG(inside.build));
	inside.channel = r->channel;
	inside.fn = r->fn;
	inside.url = r->url;
	inside.size = r->size;
	if (r->subdir.n)
		inside.subdir = r->subdir;
	inside.has_sha256 = true;
	memcpy(inside.sha256, r->sha256, SHA256_SIZE);
	inside.has_md5 = r->has_md5;
	memcpy(inside.md5, r->md5, MD5_SIZE);
	*r = inside;
	return 0;
}

static int unpack_job(void *ctx, struct err *e)
{
	struct item *it = ctx;
	struct store_limits limits = STORE_LIMITS_DEFAULT;
	tell(it, PROGRESS_BEGIN, "unpack", NULL);
	if (store_unpack(it->p->store, it->record->sha256, store_format_of(it->record->fn), &limits, e) < 0 ||
	    complete_record(it, e) < 0) {
		err_ctx(e, "'%.*s'", STR_ARG(it->record->fn));
		tell(it, PROGRESS_FAILED, "unpack", e->msg);
		return -1;
	}
	tell(it, PROGRESS_DONE, "unpack", NULL);
	return 0;
}

/* Of our copy, which nobody changes behind our back. One that is wrong harms nobody under its own digest, and gc takes it. */
static int check_md5(struct store *s, const uint8_t sha256[SHA256_SIZE], const char *path, const uint8_t *want,
		     struct err *e)
{
	char block[65536];
	uint8_t got[DIGEST_MAX];
	auto_fd fd = store_blob_open(s, sha256, e);
	auto_ptr(digest) d = digest_new(DIGEST_MD5);
	ssize_t n;
	if (fd < 0)
		return -1;
	while ((n = read(fd, block, sizeof(block))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			digest_update(d, block, (size_t)n);
	if (n < 0)
		return err_sys(e, "read '%s'", path);
	digest_final(d, got);
	return memcmp(got, want, MD5_SIZE) == 0
		       ? 0
		       : err_new(e, ERR_VERIFY, "'%s': its MD5 is not the published one", path);
}

static int local_job(void *ctx, struct err *e)
{
	struct item *it = ctx;
	struct pkg_record *r = it->record;
	auto_buf path = BUF_INIT(URL_MAX);
	if (url_file_path(r->url, &path, e) < 0)
		return -1;
	if (store_add_file(it->p->store, AT_FDCWD, path.p, r->has_sha256 ? r->sha256 : NULL, r->sha256, e) < 0)
		return -1;
	if (!r->has_sha256 && r->has_md5 && check_md5(it->p->store, r->sha256, path.p, r->md5, e) < 0)
		return -1;
	r->has_sha256 = true;
	return unpack_job(it, e);
}

/* -- downloads --------------------------------------------------------------------------------------------------- */

static int name_download(struct item *it, struct err *e)
{
	char path[32];
	if (!it->is_stand_in)
		return store_partial_commit(it->p->store, it->key, it->fd, e);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", it->fd);
	if (store_add_file(it->p->store, AT_FDCWD, path, NULL, it->record->sha256, e) < 0)
		return -1;
	it->record->has_sha256 = true;
	store_partial_discard(it->p->store, it->key);
	return 0;
}

static void download_done(struct transfer_request *q, void *ctx)
{
	struct item *it = ctx;
	struct prepare *p = it->p;
	struct err err = q->err;
	if (err.code == ERR_NONE && name_download(it, &err) == 0)
		work_submit(p->work, unpack_job, it);
	else if (p->failure.code == ERR_NONE)
		p->failure = err;
	cleanup_fd(&it->fd);
}

/* 1: under way or there already; 0: another process downloads it just now. */
static int begin_download(struct item *it, struct err *e)
{
	struct pkg_record *r = it->record;
	uint64_t have = 0;
	if (!it->is_stand_in && store_has_blob(it->p->store, it->key)) {
		work_submit(it->p->work, unpack_job, it);
		return 1;
	}
	struct err err = ERR_INIT;
	if (store_partial_open(it->p->store, it->key, &it->fd, &have, &err) < 0) {
		if (err.code == ERR_BUSY)
			return 0;
		*e = err;
		return -1;
	}
	it->request = (struct transfer_request){
		.url = it->url,
		.fd = it->fd,
		.have = have,
		.size = r->size,
		.sha256 = r->has_sha256 ? r->sha256 : NULL,
		.md5 = r->has_md5 ? r->md5 : NULL,
		.done = download_done,
		.ctx = it,
	};
	transfer_add(it->p->transfer, &it->request);
	return 1;
}

/* Large packages first: the pool has work early, and the last download is a short one. */
static int by_size(const void *x, const void *y)
{
	const struct item *const *a = x, *const *b = y;
	uint64_t m = (*a)->record->size, n = (*b)->record->size;
	return m > n ? -1 : m < n ? 1 : str_cmp((*a)->record->fn, (*b)->record->fn);
}

static int begin_item(struct item *it, struct err *e)
{
	struct pkg_record *r = it->record;
	if (r->has_sha256 && store_has_tree(it->p->store, r->sha256))
		return complete_record(it, e) < 0 ? err_ctx(e, "'%.*s'", STR_ARG(r->fn)) : 0;
	if (pkg_is_opam(r->name, NULL))
		return err_new(e, ERR_NOT_FOUND, "'%.*s' has not been built here", STR_ARG(r->name));
	if (store_format_of(r->fn) == STORE_FORMAT_UNKNOWN)
		return err_new(e, ERR_UNSUPPORTED, "'%.*s' is neither a .conda nor a .tar.bz2 file", STR_ARG(r->fn));
	if (r->has_sha256 && store_has_blob(it->p->store, r->sha256)) {
		work_submit(it->p->work, unpack_job, it);
		return 0;
	}
	if (str_starts(r->url, STR("file://"))) {
		work_submit(it->p->work, local_job, it);
		return 0;
	}
	if (!it->p->transfer)
		return err_new(e, ERR_NOT_FOUND, "'%.*s' is not in the store, and this command is offline",
			       STR_ARG(r->fn));
	it->is_stand_in = !r->has_sha256;
	if (it->is_stand_in)
		sha256(r->url.p, r->url.n, it->key);
	else
		memcpy(it->key, r->sha256, SHA256_SIZE);
	int rc = begin_download(it, e);
	it->is_busy = rc == 0;
	return rc < 0 ? -1 : 0;
}

/* Waits for packages that another process is downloading, and takes them over when it gave up. */
static int wait_for_busy(struct prepare *p, struct err *e)
{
	for (int64_t waited = 0;; waited += BUSY_POLL_MS) {
		size_t busy = 0;
		for (size_t i = 0; i < p->n; i++) {
			if (!p->items[i].is_busy)
				continue;
			int rc = begin_download(&p->items[i], e);
			if (rc < 0)
				return -1;
			p->items[i].is_busy = rc == 0;
			busy += rc == 0;
		}
		if (p->transfer && transfer_run(p->transfer, e) < 0)
			return -1;
		if (!busy || p->failure.code != ERR_NONE)
			return 0;
		if (waited > BUSY_WAIT_MS)
			return err_new(
				e, ERR_BUSY,
				"another slipway has been downloading the same packages for 15 minutes; try again when it is done");
		poll(NULL, 0, BUSY_POLL_MS);
	}
}

static int run(struct prepare *p, struct item **order, struct err *e)
{
	for (size_t i = 0; i < p->n; i++)
		if (begin_item(order[i], e) < 0)
			return -1;
	if (p->transfer && transfer_run(p->transfer, e) < 0)
		return -1;
	if (wait_for_busy(p, e) < 0)
		return -1;
	if (p->failure.code != ERR_NONE) {
		*e = p->failure;
		return -1;
	}
	return 0;
}

static void make_items(struct prepare *p, struct env_plan *plan, struct item **order)
{
	for (size_t i = 0; i < p->n; i++) {
		struct pkg_record *r = (struct pkg_record *)&plan->target.packages[i].record; /* env_plan's own copy */
		struct str url = plan->private_urls[i];
		if (str_eq(url, r->url))
			url = channel_private_url(p->arena, p->opts->channels, p->opts->channels_n, url);
		p->items[i] = (struct item){.p = p, .record = r, .fd = -1, .url = arena_strdup(p->arena, url)};
		order[i] = &p->items[i];
	}
	if (p->n > 1)
		qsort(order, p->n, sizeof(*order), by_size);
}

int env_prepare(struct store *store, struct transfer *transfer, struct env_plan *plan, const struct env_opts *o,
		struct arena *a, struct err *e)
{
	struct prepare p = {.store = store, .transfer = transfer, .opts = o, .arena = a, .n = plan->target.packages_n};
	auto_ptr(work) work = work_new(o->threads);
	struct item **order = arena_array(a, struct item *, p.n);
	p.work = work;
	p.items = arena_array(a, struct item, p.n);
	make_items(&p, plan, order);
	int rc = run(&p, order, e);
	if (rc < 0 && transfer)
		transfer_cancel(transfer);
	struct err unpack = ERR_INIT;
	if (work_wait(work, &unpack) < 0 && rc == 0) {
		*e = unpack;
		rc = -1;
	}
	for (size_t i = 0; i < p.n; i++) {
		cleanup_fd(&p.items[i].fd);
		arena_join(a, &p.items[i].arena);
	}
	return rc;
}
