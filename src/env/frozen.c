// SPDX-License-Identifier: Apache-2.0
/*
 * The mark that an environment is not to be changed (CEP 22): conda-meta/frozen of its current generation, empty or
 * {"message": "why"}. It is the user's own, so each generation hands it on to the next.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/json.h"
#include "env/state.h"

#define FROZEN "conda-meta/frozen"
enum { MAX_MARK = 64 << 10 };

/* The reason given, STR_NONE where there is none to be read: the mark counts all the same. */
static struct str reason_of(int prefix_fd, struct arena *a)
{
	auto_buf text = BUF_INIT(MAX_MARK);
	struct str reason = STR_NONE;
	struct err ignored = ERR_INIT;
	if (fs_read(prefix_fd, FROZEN, &text, &ignored) < 0 || !str_trim(buf_str(&text)).n)
		return STR_NONE;
	const struct json *j = json_parse(a, arena_str(a, buf_str(&text)), FROZEN, &ignored);
	if (!j || json_get_str(j, "message", &reason, &ignored) < 0)
		return STR_NONE;
	return str_trim(reason);
}

int env_refuse_frozen(struct env_state *st, struct str name, struct err *e)
{
	auto_arena a = ARENA_INIT;
	if (env_name_check(name, e) < 0)
		return -1;
	const char *dir_name = arena_strdup(&a, name);
	if (st->env_fd < 0 || !fs_exists(st->env_fd, dir_name))
		return 0;
	auto_fd dir = fs_open_dir(st->env_fd, dir_name, e);
	if (dir < 0)
		return -1;
	if (!state_current_link(dir))
		return 0;
	auto_fd prefix = fs_open_dir(dir, "current", e);
	if (prefix < 0)
		return -1;
	if (!fs_exists(prefix, FROZEN))
		return 0;
	struct str reason = reason_of(prefix, &a);
	return err_new(e, ERR_FAILED,
		       "environment '%s' is frozen%s%.*s; --override-frozen changes it all the same, at your own risk",
		       dir_name, reason.n ? ": " : "", STR_ARG(reason));
}

/* What of conda-meta/ is the user's own: the mark, what other clients are to keep as it is, when it was made. */
static const char *const handed_on[] = {FROZEN, "conda-meta/pinned", "conda-meta/created_at"};

static int hand_on(struct env_hold *h, int new_fd, const char *path, struct err *e)
{
	auto_buf text = BUF_INIT(MAX_MARK);
	auto_free char *from = xasprintf("current/%s", path);
	if (!fs_exists(h->dir_fd, from))
		return 0;
	if (fs_read(h->dir_fd, from, &text, e) < 0)
		return -1;
	return fs_replace(new_fd, path, text.p, text.n, 0, e);
}

int frozen_hand_on(struct env_hold *h, int new_fd, struct err *e)
{
	if (!state_current_link(h->dir_fd))
		return 0;
	for (size_t i = 0; i < sizeof(handed_on) / sizeof(*handed_on); i++)
		if (hand_on(h, new_fd, handed_on[i], e) < 0)
			return -1;
	return 0;
}
