// SPDX-License-Identifier: Apache-2.0
/* mirror list: the packages behind the counts of a channel, and why one list has them and another has not. */
#include "base/clock.h"
#include "cmd/change.h"
#include "mirror/mirror.h"

enum { LIMIT = 1000, LIMIT_MAX = 1000000 };

struct list_args {
	const char *platform;
	int64_t offset, limit;
	struct cmd_list words;
};

static void put_row(struct jw *w, const void *ctx, size_t i)
{
	mirror_row_json(w, (const struct mirror_row *)ctx + i);
}

static void put_counts(struct jw *w, const struct mirror_rows_result *r)
{
	jw_key(w, "counts");
	jw_object(w);
	for (int i = 0; i < MIRROR_ROWS; i++)
		jw_kv_int(w, mirror_rows_name((enum mirror_rows)i), (int64_t)r->count[i]);
	jw_object_end(w);
}

static int answer(struct cmd_context *c, const struct mirror_channel *ch, const struct mirror_rows_opts *o,
		  const struct mirror_channel_status *st, const struct mirror_rows_result *r)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_str(w, "channel", ch->name);
	jw_kv_str(w, "platform", o->platform);
	jw_kv_int(w, "synced_ms", st->synced_ms);
	jw_kv_int(w, "tried_ms", st->tried_ms);
	jw_kv_str(w, "message", st->good ? STR_NONE : st->message);
	jw_kv_opt(w, "unread", r->unread);
	put_counts(w, r);
	if (o->max) {
		jw_kv_c(w, "list", mirror_rows_name(o->which));
		jw_kv_int(w, "offset", (int64_t)o->offset);
		jw_kv_objects(w, "packages", r->n, put_row, r->v);
	}
	return cmd_answer_print(c, &a);
}

static void say_dates(struct cmd_context *c, const struct mirror_channel *ch, const struct mirror_channel_status *st)
{
	auto_buf b = BUF_INIT(200);
	if (ch->type == MIRROR_LOCAL)
		return;
	if (st->synced_ms)
		clock_put_table(&b, st->synced_ms);
	cmd_say(c, "good as of %s", b.n ? b.p : "never: 'slipway channel sync' brings it up to date");
	if (!st->good && st->tried_ms)
		cmd_say(c, "the last try failed: %.*s", STR_ARG(st->message));
}

static int show_counts(struct cmd_context *c, const struct mirror_rows_result *r)
{
	static const char *const what[MIRROR_ROWS] = {"what the channel tells of",
						      "of these, what is here",
						      "of these, what is not here",
						      "could not be had",
						      "here, but named no longer",
						      "of what is told, what a client is offered as newest",
						      "of what is told, what it is not offered"};
	static const char *const titles[] = {"List", "Packages", ""};
	struct out_table t = {.titles = titles, .columns = 3, .right = 1 << 1, .whole = 1 | 1 << 1};
	for (int i = 0; i < MIRROR_ROWS; i++) {
		out_table_cell(&t, "%s", mirror_rows_name((enum mirror_rows)i));
		out_table_cell(&t, "%llu", (unsigned long long)r->count[i]);
		out_table_cell(&t, "%s", what[i]);
	}
	out_table_print(&c->out, &t);
	return CMD_OK;
}

static int show_rows(struct cmd_context *c, const struct mirror_rows_opts *o, const struct mirror_rows_result *r)
{
	static const char *const titles[] = {"Path", "Version", "Platform", "Not here because", "Not offered because"};
	struct out_table t = {.titles = titles, .columns = 5, .whole = 1};
	for (size_t i = 0; i < r->n; i++) {
		const struct mirror_row *x = &r->v[i];
		out_table_cell(&t, "%.*s", STR_ARG(x->path));
		out_table_cell(&t, "%.*s", STR_ARG(x->version));
		out_table_cell(&t, "%.*s", STR_ARG(x->platform));
		out_table_cell(&t, "%.*s", STR_ARG(x->why_not_here));
		out_table_cell(&t, "%.*s", STR_ARG(x->why_not_offered));
	}
	if (r->n)
		out_table_print(&c->out, &t);
	cmd_say(c, "%zu of %llu packages", r->n, (unsigned long long)r->count[o->which]);
	if (o->offset + r->n < r->count[o->which])
		cmd_say(c, "the next ones: --offset %llu", (unsigned long long)o->offset + r->n);
	return CMD_OK;
}

/* [DIR] CHANNEL [LIST] */
static int list(struct cmd_context *c, struct list_args *a, struct err *e)
{
	const struct cmd_list *w = &a->words;
	struct mirror_rows_opts o = {.platform = str_c(a->platform ? a->platform : ""), .offset = (uint64_t)a->offset};
	auto_ptr(mirror) m = NULL;
	auto_ptr(mirror_reader) reader = NULL;
	struct mirror_rows_result rows;
	struct mirror_channel_status st;
	size_t n = w->n;
	bool named = n > 1 && mirror_rows_find(str_c(w->v[n - 1]), &o.which);
	size_t before = n - named; /* DIR CHANNEL, or CHANNEL */
	if (a->offset < 0 || a->limit < 1 || a->limit > LIMIT_MAX)
		return err_new(e, ERR_USAGE, "--offset is 0 or more, --limit 1 to %d", LIMIT_MAX);
	if (n == 0)
		return err_new(e, ERR_USAGE, "which channel? as in: slipway mirror list /srv/mirror tools missing");
	if (before > 2 || (before == 2 && n == 3 && !named))
		return err_new(e, ERR_USAGE,
			       "'%s' is no list; there are told, held, missing, damaged, gone, offered, others",
			       w->v[n - 1]);
	if (before == 1 && strchr(w->v[0], '/'))
		return err_new(
			e, ERR_USAGE,
			"which channel? as in: slipway mirror list %s NAME; 'slipway mirror status' tells of all",
			w->v[0]);
	o.max = named ? (uint64_t)a->limit : 0;
	if (mirror_open(before == 2 ? w->v[0] : ".", &m, e) < 0)
		return -1;
	const char *name = w->v[before - 1];
	const struct mirror_channel *ch = mirror_channel(m, str_c(name));
	if (!ch)
		return err_new(e, ERR_NOT_FOUND,
			       "the mirror '%s' has no channel '%s'; 'slipway channel create' makes one", mirror_dir(m),
			       name);
	if (mirror_reader_new(m, &reader, e) < 0 || mirror_channel_dates(reader, ch, &c->arena, &st, e) < 0 ||
	    mirror_channel_rows(reader, ch, &o, &c->arena, &rows, e) < 0)
		return -1;
	if (c->json)
		return answer(c, ch, &o, &st, &rows);
	say_dates(c, ch, &st);
	if (rows.unread.n)
		cmd_warn(c, "the channel's metadata cannot be read, so that not all is told: %.*s",
			 STR_ARG(rows.unread));
	return named ? show_rows(c, &o, &rows) : show_counts(c, &rows);
}

int cmd_mirror_list(struct cmd_context *c, int argc, char **argv)
{
	struct list_args a = {.limit = LIMIT};
	const struct cmd_option options[] = {{0, "platform", CMD_TEXT, &a.platform},
					     {0, "offset", CMD_NUMBER, &a.offset},
					     {0, "limit", CMD_NUMBER, &a.limit},
					     {0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	int code = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	code = code < 0 ? -1 : c->help ? cmd_help(c) : list(c, &a, &e);
	vec_release(&a.words);
	return code < 0 ? cmd_fail(c, &e) : code;
}
