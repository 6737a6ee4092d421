// SPDX-License-Identifier: Apache-2.0
#include "cmd/opam_repos.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"

enum { REPOS_MAX = 100 };

void cmd_opam_repos_release(struct cmd_opam_repos *r)
{
	for (size_t i = 0; i < r->n; i++)
		opam_index_free(r->index[i]);
	*r = (struct cmd_opam_repos){0};
}

int cmd_opam_parse(struct cmd_context *c, struct str text, struct channel *ret, struct err *e)
{
	if (str_starts(text, STR("git+")) || str_starts(text, STR("git:")) || str_starts(text, STR("ssh:")) ||
	    str_starts(text, STR("hg+")) || str_starts(text, STR("darcs+")))
		return err_new(e, ERR_UNSUPPORTED, "'%.*s' is not fetched here; clone it, and give the folder",
			       STR_ARG(text));
	struct cmd_channel *kept;
	size_t n;
	if (cmd_channels_read(c, &kept, &n, e) < 0)
		return -1;
	bool known = false;
	for (size_t i = 0; i < n; i++)
		known |= str_eq(kept[i].name, text);
	if (!known && str_find(text, '/') < 0 && fs_exists(AT_FDCWD, arena_strdup(&c->arena, text)))
		text = str_c(arena_printf(&c->arena, "./%.*s",
					  STR_ARG(text))); /* a tar is no folder, which would be known as one */
	if (cmd_channel_parse(c, text, ret, e) == 0)
		return 0;
	if (!known && e->code == ERR_USAGE && text.n && str_find(text, '/') < 0 && str_find(text, ':') < 0)
		return err_new(
			e, ERR_USAGE,
			"there is no folder or tar '%.*s', and no opam repository is kept under that name; 'slipway channel "
			"add opam --name %.*s URL-or-folder' keeps one, 'slipway channel list' shows them",
			STR_ARG(text), STR_ARG(text));
	return -1;
}

static int open_one(struct cmd_context *c, struct str name, enum channel_refresh_flags flags,
		    struct cmd_opam_repos *ret, struct err *e)
{
	struct channel *ch = &ret->channel[ret->n];
	if (cmd_opam_parse(c, name, ch, e) < 0)
		return -1;
	for (size_t i = 0; i < ret->n; i++)
		if (str_eq(ret->channel[i].url, ch->url))
			return 0;
	if (channel_opam_open(&c->cache, ch, flags | (c->offline ? CHANNEL_OFFLINE : 0), &ret->index[ret->n], e) < 0)
		return -1;
	ret->n++;
	return 0;
}

/* Nobody named it now. */
static void tell_kept(struct str name, struct err *e)
{
	struct err was = *e;
	err_new(e, was.code, "%s; it is kept as '%.*s', which 'slipway channel remove' would forget", was.msg,
		STR_ARG(name));
	e->sys = was.sys;
}

int cmd_opam_open(struct cmd_context *c, const char *const *names, size_t n, enum channel_refresh_flags flags,
		  struct cmd_opam_repos *ret, struct err *e)
{
	struct cmd_channel *kept = NULL;
	size_t kept_n = 0;
	int rc = 0;
	if (n > REPOS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d opam repositories", REPOS_MAX);
	if (cmd_need_root(c, e) < 0 || cmd_need_cache(c, e) < 0 ||
	    (n == 0 && cmd_channels_of(c, true, &kept, &kept_n, e) < 0))
		return -1;
	if (n + kept_n == 0)
		return err_new(
			e, ERR_USAGE,
			"no opam repository to look in; name one with --repo, or keep one with 'slipway channel add "
			"opam URL-or-folder'");
	*ret = (struct cmd_opam_repos){.channel = arena_array(&c->arena, struct channel, n + kept_n),
				       .index = arena_array(&c->arena, struct opam_index *, n + kept_n)};
	cmd_progress_begin(c);
	for (size_t i = 0; rc == 0 && i < n + kept_n; i++) {
		rc = open_one(c, n ? str_c(names[i]) : kept[i].name, flags, ret, e);
		if (rc < 0 && !n)
			tell_kept(kept[i].name, e);
	}
	cmd_progress_end(c);
	return rc;
}

struct str cmd_opam_similar(const struct cmd_opam_repos *r, struct str name)
{
	struct str best = STR_NONE;
	unsigned most = name.n < 4 ? 1 : name.n < 8 ? 2 : 3;
	for (size_t i = 0; i < r->n; i++) {
		uint32_t n = opam_index_info(r->index[i]).names;
		for (uint32_t k = 0; k < n; k++) {
			struct str s = opam_index_name(r->index[i], (struct oi_name){k});
			unsigned d = str_distance(name, s);
			bool begins = name.n && s.n && s.p[0] == name.p[0]; /* few mistype the first letter */
			if (d > most || (d == most && best.n && (!begins || best.p[0] == name.p[0])))
				continue;
			best = s;
			most = d;
		}
	}
	return best;
}

uint32_t cmd_opam_left_out(struct cmd_context *c, const struct channel *ch, struct str *first)
{
	struct err ignored = ERR_INIT;
	auto_ptr(opam_index) ix = NULL;
	if (cmd_need_cache(c, &ignored) < 0 || !fs_exists(c->root_fd, arena_printf(&c->arena, "index/%s", ch->id)) ||
	    channel_opam_open(&c->cache, ch, CHANNEL_OFFLINE, &ix, &ignored) < 0)
		return 0;
	uint32_t n = opam_index_info(ix).problems;
	if (n)
		*first = arena_str(&c->arena, opam_index_problem(ix, 0));
	return n;
}

bool cmd_opam_may_keep(struct cmd_context *c)
{
	struct err ignored = ERR_INIT;
	return fs_mkdirs(c->root_fd, CMD_OPAM_KEPT, 0755, &ignored) == 0 &&
	       faccessat(c->root_fd, CMD_OPAM_KEPT, W_OK | X_OK, AT_EACCESS) == 0;
}
