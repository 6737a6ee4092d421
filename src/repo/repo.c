// SPDX-License-Identifier: Apache-2.0
#include "repo/repo.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"

enum { STEP_MS = 500, CHUNK = 1 << 14 };

struct repo {
	struct repo_opts o;
	char *metadata_url, *targets_url, *label;
	struct tuf_client *client;
};

/* -- one file ---------------------------------------------------------------------------------------------------------- */

static void request_done(struct transfer_request *r, void *ctx)
{
	(void)r;
	*(bool *)ctx = true;
}

/* Slow retrieval: a server that gives less than 1 KB a second over all, after its time of grace, is as good as none. */
static int run_in_time(struct transfer *t, const struct transfer_request *r, const bool *done, int64_t patience_ms,
		       struct err *e)
{
	int64_t until_ms = clock_mono_ms() + patience_ms + (int64_t)r->max_bytes;
	while (!*done) {
		if (transfer_step(t, STEP_MS, e) < 0)
			return transfer_cancel(t), -1;
		if (*done || clock_mono_ms() < until_ms)
			continue;
		char shown[512];
		transfer_shown_url(r->url, shown, sizeof(shown));
		transfer_cancel(t);
		return err_new(
			e, ERR_NETWORK,
			"download '%s': slower than 1 KB a second; the server, or who stands before it, holds it back",
			shown);
	}
	return 0;
}

int repo_get(struct transfer *t, const char *url, int fd, uint64_t max_bytes, int64_t patience_ms, struct err *e)
{
	bool done = false;
	struct transfer_request r = {
		.url = url, .fd = fd, .max_bytes = max_bytes, .vouched = true, .done = request_done, .ctx = &done};
	transfer_add(t, &r);
	if (run_in_time(t, &r, &done, patience_ms, e) < 0)
		return -1;
	if (r.err.code == ERR_NONE)
		return 0;
	*e = r.err;
	if (r.status == 403)
		e->code = ERR_NOT_FOUND;
	return -1;
}

static int read_all(int fd, struct buf *ret, struct err *e)
{
	auto_free char *chunk = xmalloc(CHUNK);
	for (off_t at = 0;;) {
		ssize_t n = pread(fd, chunk, CHUNK, at);
		if (n < 0)
			return err_sys(e, "read a download");
		if (n == 0 || ret->overflow)
			return 0;
		buf_put(ret, chunk, (size_t)n);
		at += n;
	}
}

int repo_get_text(struct transfer *t, const char *url, int64_t patience_ms, struct buf *ret, struct err *e)
{
	auto_fd fd = memfd_create("metadata", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "memory for a download");
	return repo_get(t, url, fd, ret->max, patience_ms, e) < 0 ? -1 : read_all(fd, ret, e);
}

/* -- a repository ------------------------------------------------------------------------------------------------------ */

static char *below(const char *base, const char *name)
{
	size_t n = strlen(base);
	return xasprintf("%s%s%s", base, n && base[n - 1] == '/' ? "" : "/", name);
}

static int64_t patience(const struct repo *t)
{
	return t->o.patience_ms > 0 ? t->o.patience_ms : REPO_PATIENCE_MS;
}

static int no_network(struct err *e)
{
	return err_new(e, ERR_NETWORK, "nothing is asked of the network");
}

static int fetch(void *ctx, const char *name, struct buf *ret, struct err *e)
{
	struct repo *t = ctx;
	if (t->o.fetch) {
		if (t->o.fetch(t->o.fetch_ctx, name, ret, e) < 0)
			return -1;
	} else {
		auto_free char *url = below(t->metadata_url, name);
		if (!t->o.transfer)
			return no_network(e);
		if (repo_get_text(t->o.transfer, url, patience(t), ret, e) < 0)
			return -1;
	}
	if (t->o.came && !ret->overflow)
		t->o.came(t->o.came_ctx, name, buf_str(ret));
	return 0;
}

int repo_open(const struct repo_opts *o, struct repo **ret, struct err *e)
{
	auto_ptr(repo) t = xcalloc(1, sizeof(*t));
	char shown[512];
	t->o = *o;
	t->metadata_url = xstrdup(o->metadata_url ? o->metadata_url : "");
	t->targets_url = xstrdup(o->targets_url ? o->targets_url : "");
	transfer_shown_url(t->metadata_url, shown, sizeof(shown));
	t->label = o->label ? xstrdup(o->label) : xasprintf("metadata of '%s'", shown);
	struct tuf_client_opts c = TUF_CLIENT_OPTS_INIT;
	c.dir_fd = o->dir_fd;
	c.fetch = fetch;
	c.fetch_ctx = t;
	c.clock = o->clock;
	c.limits = o->limits;
	c.wait_ms = o->wait_ms;
	c.keep_nothing = o->keep_nothing;
	c.plain_urls = o->plain_urls;
	if (tuf_client_open(&c, &t->client, e) < 0)
		return err_ctx(e, "%s", t->label);
	*ret = steal_ptr(&t);
	return 0;
}

void repo_free(struct repo *t)
{
	if (!t)
		return;
	tuf_client_free(t->client);
	free(t->metadata_url);
	free(t->targets_url);
	free(t->label);
	free(t);
}

/* ERR_NOT_FOUND is of a file that there has to be: what was signed once does not become unsigned. */
static int lacking(struct err *e)
{
	if (e->code == ERR_NOT_FOUND) {
		struct err cause = *e;
		err_new(e, ERR_VERIFY,
			"%s; its root is pinned here, so nothing unsigned is taken: its keeper has to serve the signed metadata again",
			cause.msg);
	}
	return -1;
}

int repo_refresh(struct repo *t, struct err *e)
{
	if (tuf_client_refresh(t->client, e) == 0)
		return 0;
	(void)lacking(e);
	return err_ctx(e, "%s", t->label);
}

struct tuf_trusted repo_state(const struct repo *t)
{
	return tuf_client_trusted(t->client);
}

int repo_held(struct repo *t, struct tuf_trusted *ret, struct err *e)
{
	return tuf_client_held(t->client, ret, e) < 0 ? err_ctx(e, "%s", t->label) : 0;
}

void repo_let_go(struct repo *t)
{
	tuf_client_let_go(t->client);
}

int repo_target(struct repo *t, struct str path, struct tuf_target *ret, struct err *e)
{
	int rc = tuf_client_target(t->client, path, ret, e);
	return rc < 0 ? err_ctx(e, "%s", t->label) : rc;
}

void repo_paths(struct repo *t, struct arena *a, struct str **ret, size_t *ret_n)
{
	tuf_client_paths(t->client, a, ret, ret_n);
}

char *repo_target_url(const struct repo *t, const struct tuf_target *target)
{
	return below(t->targets_url, target->url_path);
}

int repo_fetch(struct repo *t, const struct tuf_target *target, int fd, struct err *e)
{
	auto_free char *url = repo_target_url(t, target);
	if (!t->o.transfer)
		return no_network(e);
	if (repo_get(t->o.transfer, url, fd, target->length ? target->length : 1, patience(t), e) < 0 ||
	    tuf_target_check_fd(target, fd, e) < 0)
		return err_ctx(e, "%s: '%.*s'", t->label, STR_ARG(target->path));
	return 0;
}

int repo_read(struct repo *t, struct str path, struct buf *ret, struct err *e)
{
	struct tuf_target target;
	int rc = repo_target(t, path, &target, e);
	if (rc <= 0)
		return rc;
	if (target.length > ret->max - ret->n)
		return err_new(e, ERR_LIMIT, "%s: '%.*s' is longer than %zu bytes", t->label, STR_ARG(path), ret->max);
	auto_fd fd = memfd_create("target", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "memory for a download");
	return repo_fetch(t, &target, fd, e) < 0 || read_all(fd, ret, e) < 0 ? -1 : 1;
}
