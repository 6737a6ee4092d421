// SPDX-License-Identifier: Apache-2.0
#include "cmd/catalogues.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "cmd/takeout.h"

enum { ANSWER_MAX = 16 << 20, PATH_MAX_BYTES = 4096 };

static const char *environment(const char *name)
{
	return getenv(name);
}

/* -- what this host is ---------------------------------------------------------------------------------------------- */

struct str cmd_why_not_os(struct cmd_context *c, struct str ranges)
{
	struct channel_os os;
	struct str why;
	struct err e = ERR_INIT;
	if (!ranges.n)
		return STR("");
	if (channel_os_host(&c->arena, environment, &os, &e) < 0)
		return arena_str(&c->arena, str_c(e.msg));
	(void)channel_os_meets(&os, ranges, &c->arena, &why);
	return why;
}

int cmd_check_os(struct cmd_context *c, struct str recipe, struct str ranges, struct err *e)
{
	struct str why = cmd_why_not_os(c, ranges);
	return why.n ? err_new(e, ERR_UNSUPPORTED, "'%.*s': %.*s; ask for a recipe for this system", STR_ARG(recipe),
			       STR_ARG(why))
		     : 0;
}

/* -- asking --------------------------------------------------------------------------------------------------------- */

/* 1; 0: there is nobody to ask (offline, a folder, none set). */
static int ask(struct cmd_context *c, const struct json **ret, struct err *e)
{
	auto_buf b = BUF_INIT(ANSWER_MAX), path = BUF_INIT(PATH_MAX_BYTES);
	struct channel_os os;
	struct str updates;
	if (c->offline || cmd_updates(c, &updates, e) <= 0 || !str_starts(updates, STR("http")))
		return 0;
	if (channel_os_host(&c->arena, environment, &os, e) < 0)
		return -1;
	buf_printf(&path, "api/catalogue?platform=%.*s&", STR_ARG(os.subdir));
	channel_os_put(&os, &path);
	if (cmd_updates_get(c, updates, path.p, 0, NULL, &b, e) < 0)
		return -1;
	*ret = json_parse(&c->arena, arena_str(&c->arena, buf_str(&b)), "the mirror's answer", e);
	return *ret ? 1 : -1;
}

void cmd_catalogues_json(struct cmd_context *c, struct jw *w)
{
	const struct json *j = NULL, *list = NULL;
	struct err e = ERR_INIT;
	int rc = ask(c, &j, &e);
	if (rc > 0 && json_opt_array(j, "catalogues", &list, &e) >= 0 && list) {
		jw_key(w, "catalogues");
		jw_value(w, list);
	} else if (rc < 0)
		jw_kv_c(w, "catalogues_error", e.msg);
}

/* -- telling -------------------------------------------------------------------------------------------------------- */

static void put_when(struct buf *b, int64_t wall_ms)
{
	if (wall_ms)
		clock_put_table(b, wall_ms);
	else
		buf_put_c(b, "never");
}

/* What the mirror cannot vouch for is said, with dates: nobody shall take an old list for "nothing new". */
static void say_one(struct cmd_context *c, const struct json *k, struct str platform)
{
	struct str state = json_text(k, "state"), channel = json_text(k, "channel");
	auto_buf synced = BUF_INIT(64), tried = BUF_INIT(64);
	put_when(&synced, json_number(k, "synced_ms"));
	put_when(&tried, json_number(k, "tried_ms"));
	if (str_eq(state, STR("no-platform")))
		cmd_warn(c, "channel '%.*s' has nothing for %.*s, as of %s", STR_ARG(channel), STR_ARG(platform),
			 synced.p);
	else if (str_eq(state, STR("no-os")))
		cmd_warn(c, "channel '%.*s' has nothing for this system: %.*s", STR_ARG(channel),
			 STR_ARG(json_text(k, "message")));
	else if (str_eq(state, STR("never")))
		cmd_warn(c, "channel '%.*s' was never brought up to date by the mirror", STR_ARG(channel));
	else if (str_eq(state, STR("empty")))
		cmd_warn(c, "channel '%.*s' is empty, as of %s", STR_ARG(channel), synced.p);
	else if (str_eq(state, STR("stale")))
		cmd_warn(c, "channel '%.*s' is as of %s: the mirror has not brought it up to date since",
			 STR_ARG(channel), synced.p);
	else if (str_eq(state, STR("failed")))
		cmd_warn(c, "channel '%.*s' is as of %s: what the mirror tried at %s failed: %.*s", STR_ARG(channel),
			 synced.p, tried.p, STR_ARG(json_text(k, "message")));
	else if (!str_eq(state, STR("good")))
		cmd_warn(c, "channel '%.*s' is '%.*s', as of %s", STR_ARG(channel), STR_ARG(state), synced.p);
}

void cmd_catalogues_say(struct cmd_context *c)
{
	const struct json *j = NULL, *list = NULL;
	struct err e = ERR_INIT;
	if (c->json)
		return;
	int rc = ask(c, &j, &e);
	if (rc == 0)
		return;
	if (rc < 0 || json_opt_array(j, "catalogues", &list, &e) < 0 || !list) {
		cmd_warn(c, "the mirror does not tell how current its channels are: %s",
			 e.code != ERR_NONE ? e.msg : "its answer has no catalogues");
		return;
	}
	for (uint32_t i = 0; i < list->n; i++)
		say_one(c, &list->item[i], channel_host_subdir());
}
