// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/enrolled.h"
#include "cmd/pinned.h"

/* -- where things are -------------------------------------------------------------------------------------------- */

static char *default_root(void)
{
	const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	if (geteuid() == 0)
		return xstrdup("/var/lib/slipway");
	if (xdg && xdg[0] == '/')
		return xasprintf("%s/slipway", xdg);
	return home && home[0] == '/' ? xasprintf("%s/.local/share/slipway", home) : NULL;
}

static char *root_as_asked(struct cmd_context *c)
{
	const char *env = getenv("SLIPWAY_ROOT");
	if (c->root_option)
		return xstrdup(c->root_option);
	return env && env[0] ? xstrdup(env) : default_root();
}

int cmd_need_root(struct cmd_context *c, struct err *e)
{
	if (c->root_fd >= 0)
		return 0;
	auto_free char *asked = root_as_asked(c);
	if (!asked || !asked[0])
		return err_new(e, ERR_USAGE, "no place to keep things: set HOME or SLIPWAY_ROOT, or use --root DIR");
	c->root_fd = fs_open_dir_make(AT_FDCWD, asked, e);
	if (c->root_fd < 0)
		return err_ctx(e, "root '%s' (SLIPWAY_ROOT or --root chooses another)", asked);
	c->root_path = realpath(asked, NULL);
	return c->root_path ? 0 : err_sys(e, "root '%s'", asked);
}

int cmd_need_config(struct cmd_context *c, struct err *e)
{
	if (c->config_loaded)
		return 0;
	if (cmd_need_root(c, e) < 0)
		return -1;
	struct config_sources s = {.root = c->root_path, .etc = "/etc", .environment = getenv};
	if (config_load(&c->arena, &s, &c->config, e) < 0)
		return -1;
	for (size_t i = 0; i < c->config.warnings_n; i++)
		cmd_warn(c, "%s", c->config.warnings[i]);
	c->config_loaded = true;
	return 0;
}

void cmd_want_config(struct cmd_context *c)
{
	struct err bad = ERR_INIT;
	if (cmd_need_config(c, &bad) < 0)
		cmd_warn(c, "%s; nothing is configured until that is mended", bad.msg);
}

/* -- what commands share ------------------------------------------------------------------------------------------ */

int cmd_need_store(struct cmd_context *c, struct err *e)
{
	if (c->store)
		return 0;
	if (cmd_need_root(c, e) < 0 || store_open(c->root_fd, 0, &c->store, e) < 0)
		return -1;
	store_tell(c->store, &c->progress);
	return 0;
}

bool cmd_may_not_write(const struct err *e)
{
	return e->sys == EACCES || e->sys == EPERM || e->sys == EROFS;
}

int cmd_need_store_to_read(struct cmd_context *c, struct err *e)
{
	struct err why = ERR_INIT;
	if (cmd_need_store(c, &why) == 0)
		return 0;
	if (c->root_fd >= 0 && cmd_may_not_write(&why))
		return store_open(c->root_fd, STORE_OPEN_RO, &c->store, e);
	*e = why;
	return -1;
}

int cmd_need_name(const char *name, struct str *ret, struct err *e)
{
	if (!name)
		return err_new(e, ERR_USAGE, "which environment? name it with -n NAME; 'slipway env list' shows them");
	*ret = str_c(name);
	return env_name_check(*ret, e);
}

int cmd_need_state(struct cmd_context *c, bool read_only, struct err *e)
{
	if (c->state)
		return 0;
	if (cmd_need_root(c, e) < 0)
		return -1;
	return env_state_open(c->root_fd, c->root_path, read_only ? ENV_STATE_RO : 0, &c->state, e);
}

int cmd_transfer_opts(struct cmd_context *c, struct transfer_opts *ret, struct err *e)
{
	const struct config *f = &c->config;
	if (cmd_need_config(c, e) < 0)
		return -1;
	*ret = TRANSFER_OPTS_INIT;
	ret->progress = &c->progress;
	ret->connect_timeout_ms = f->connect_timeout_s > 0 ? f->connect_timeout_s * 1000 : 0;
	ret->stall_timeout_ms = f->read_timeout_s > 0 ? f->read_timeout_s * 1000 : 0;
	ret->silence_ms = f->silence_s > 0 ? f->silence_s * 1000 : 0;
	if (f->max_retries >= 0)
		ret->retries = f->max_retries > 0 ? (unsigned)f->max_retries : UINT32_MAX;
	return 0;
}

int cmd_need_transfer(struct cmd_context *c, struct err *e)
{
	struct transfer_opts o;
	if (c->transfer)
		return 0;
	if (cmd_transfer_opts(c, &o, e) < 0 || cmd_trust_enrolled(c, &o, e) < 0 || cmd_pinned_load(c, e) < 0)
		return -1;
	cmd_pinned_guard(c, &o);
	return transfer_new(&o, &c->transfer, e);
}

/* -- one request ----------------------------------------------------------------------------------------------------- */

/* Where the URL lies in a signed channel: what was signed instead. */
static int as_signed(struct cmd_context *c, struct transfer_request *r, struct tuf_target *t, struct err *e)
{
	struct str path;
	struct cmd_pinned *p = cmd_pinned_at(c, str_c(r->url), &path);
	if (!p)
		return 0;
	int rc = cmd_pinned_find(c, p, str_c(r->url), path, t, &r->url, e);
	if (rc == 0)
		return err_new(e, ERR_NOT_FOUND, "channel '%.*s': nobody signs for '%.*s'", STR_ARG(p->url),
			       STR_ARG(path));
	r->sha256 = t->sha256;
	r->size = t->length;
	return rc < 0 ? -1 : 0;
}

int cmd_fetch(struct cmd_context *c, struct transfer_request *r, struct buf *ret, struct err *e)
{
	auto_fd fd = memfd_create("download", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "memory for a download");
	if (c->offline && !str_starts(str_c(r->url), STR("file:")))
		return err_new(e, ERR_NETWORK, "--offline: nothing is asked of '%s'", r->url);
	struct tuf_target target = {0};
	if (cmd_need_transfer(c, e) < 0 || (!r->sha256 && as_signed(c, r, &target, e) < 0))
		return -1;
	r->fd = fd;
	r->max_bytes = ret->max - ret->n ? ret->max - ret->n : 1;
	transfer_add(c->transfer, r);
	if (transfer_run(c->transfer, e) < 0)
		return -1;
	if (target.has_sha256 && r->err.code == ERR_NOT_FOUND)
		r->err.code = ERR_VERIFY; /* it was signed, so it has to be there */
	if (r->err.code != ERR_NONE)
		return *e = r->err, -1;
	for (off_t at = 0;;) {
		char chunk[1 << 14];
		ssize_t n = pread(fd, chunk, sizeof(chunk), at);
		if (n < 0)
			return err_sys(e, "read a download");
		if (n == 0 || ret->overflow)
			return 0;
		buf_put(ret, chunk, (size_t)n);
		at += n;
	}
}

/* -- metadata through transfer -------------------------------------------------------------------------------------- */

struct fetched {
	struct channel_get *get;
	struct transfer_request request;
	struct tuf_target target; /* of a signed channel */
};

static void give_back(struct fetched *f)
{
	struct channel_get *g = f->get;
	const struct transfer_request *r = &f->request;
	g->err = r->err;
	if (f->target.has_sha256) { /* its validator is what was signed; that it is not there is no answer */
		g->state = r->err.code == ERR_NONE ? GET_DONE : GET_FAILED;
		return;
	}
	memcpy(g->etag, r->etag, sizeof(g->etag));
	memcpy(g->last_modified, r->last_modified, sizeof(g->last_modified));
	g->max_age_s = r->max_age_s;
	g->state = r->err.code == ERR_NOT_FOUND ? GET_MISSING
		   : r->err.code != ERR_NONE	? GET_FAILED
		   : r->status == 304		? GET_UNCHANGED
						: GET_DONE;
}

/* 1: *ret is a request to be made; 0: g is answered. */
static size_t ask(struct cmd_context *c, struct channel_get *g, struct fetched *ret)
{
	struct str path;
	struct transfer_request *r = &ret->request;
	struct cmd_pinned *p = g->sha256 ? NULL : cmd_pinned_at(c, str_c(g->url), &path);
	*ret = (struct fetched){.get = g};
	*r = (struct transfer_request){.url = g->url, .fd = g->fd, .max_bytes = g->max_bytes, .sha256 = g->sha256};
	if (p) {
		r->sha256 = ret->target.sha256;
		int rc = cmd_pinned_ask(c, g, p, path, &ret->target, &r->url);
		r->size = ret->target.length;
		return rc > 0;
	}
	memcpy(r->etag, g->etag, sizeof(r->etag));
	memcpy(r->last_modified, g->last_modified, sizeof(r->last_modified));
	return 1;
}

static int fetch_all(struct channel_fetch *f, struct channel_get *const *gets, size_t n, struct err *e)
{
	struct cmd_context *c = f->ctx;
	auto_arena a = ARENA_INIT;
	struct fetched *all = arena_array(&a, struct fetched, n);
	if (cmd_need_transfer(c, e) < 0)
		return -1;
	size_t asked = 0;
	for (size_t i = 0; i < n; i++) /* what is signed first: that has requests of its own */
		asked += ask(c, gets[i], &all[asked]);
	for (size_t i = 0; i < asked; i++)
		transfer_add(c->transfer, &all[i].request);
	if (transfer_run(c->transfer, e) < 0)
		return -1;
	for (size_t i = 0; i < asked; i++)
		give_back(&all[i]);
	return 0;
}

enum { DEFAULT_MAX_AGE_S = 60 };

int cmd_need_cache(struct cmd_context *c, struct err *e)
{
	if (cmd_pinned_load(c, e) < 0)
		return -1;
	c->fetch = (struct channel_fetch){.get = fetch_all, .ctx = c};
	cmd_pinned_guard_metadata(&c->fetch);
	c->cache = (struct channel_cache){
		.root_fd = c->root_fd,
		.fetch = &c->fetch,
		.clock = &clock_system,
		.progress = &c->progress,
		.default_max_age_s = DEFAULT_MAX_AGE_S,
	};
	return 0;
}

void cmd_context_release(struct cmd_context *c)
{
	cmd_progress_end(c);
	cmd_pinned_release(c);
	agent_client_free(c->agent);
	systemd_free(c->systemd);
	transfer_free(c->transfer);
	store_free(c->store);
	env_state_free(c->state);
	cleanup_fd(&c->root_fd);
	free(c->root_path);
	vec_release(&c->named);
	vec_release(&c->asked);
	arena_release(&c->arena);
}
