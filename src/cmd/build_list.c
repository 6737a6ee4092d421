// SPDX-License-Identifier: Apache-2.0
/* build list, build log: what the steps of builds left. */
#include <errno.h>
#include <unistd.h>

#include "cmd/change.h"
#include "cmd/layers.h"

enum { SHOWN_ID = 12, LOG_JSON_MAX = 64 << 20 };

/* The operation that made it; of a base image what its maker said. */
static struct str words_of(struct cmd_context *c, const struct layer_info *info)
{
	struct err none = ERR_INIT;
	const struct json *about = info->about.n ? json_parse(&c->arena, info->about, "about", &none) : NULL;
	struct str words = about ? json_text(about, "words") : STR_NONE;
	return words.n ? words : info->about;
}

/* -- list ----------------------------------------------------------------------------------------------------------------- */

static void put_layer(struct jw *w, struct cmd_context *c, const struct layer_info *info)
{
	jw_object(w);
	jw_kv_c(w, "id", info->id.hex);
	jw_key(w, "parent");
	jw_c(w, info->parent.hex[0] ? info->parent.hex : NULL);
	jw_kv_int(w, "created_ms", info->created_ms);
	jw_kv_int(w, "used_ms", info->used_ms);
	jw_kv_int(w, "bytes", (int64_t)info->bytes);
	jw_kv_str(w, "words", words_of(c, info));
	jw_object_end(w);
}

static int print_json(struct cmd_context *c, const struct layer_info *v, size_t n)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_key(w, "layers");
	jw_array(w);
	for (size_t i = 0; i < n; i++)
		put_layer(w, c, &v[i]);
	jw_array_end(w);
	return cmd_answer_print(c, &a);
}

/* On one line: runs of white space, and the spec's line ends, are a space. */
static const char *on_a_line(struct arena *a, struct str s)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	bool space = false;
	for (size_t i = 0; i < s.n; i++) {
		bool white = s.p[i] == ' ' || s.p[i] == '\n' || s.p[i] == '\t';
		if (!white)
			buf_put_char(&b, s.p[i]);
		else if (!space)
			buf_put_char(&b, ' ');
		space = white;
	}
	return arena_strdup(a, buf_str(&b));
}

static int list(struct cmd_context *c, const char *store, struct err *e)
{
	static const char *const titles[] = {"Id", "Used (UTC)", "Size", "Step"};
	struct out_table t = {.titles = titles, .columns = 4, .right = 1 << 2, .whole = 1 << 0};
	auto_ptr(layers) l = NULL;
	struct layer_info *v;
	size_t n;
	if (cmd_need_layers(c, store, &l, e) < 0 || layers_list(l, &c->arena, &v, &n, e) < 0)
		return cmd_fail(c, e);
	if (c->json)
		return print_json(c, v, n);
	for (size_t i = 0; i < n; i++) {
		auto_buf used = BUF_INIT(64), size = BUF_INIT(64);
		clock_put_table(&used, v[i].used_ms);
		out_put_size(&size, v[i].bytes);
		out_table_cell(&t, "%.*s", SHOWN_ID, v[i].id.hex);
		out_table_cell(&t, "%s", used.p);
		out_table_cell(&t, "%s", size.p);
		out_table_cell(&t, "%s", on_a_line(&c->arena, words_of(c, &v[i])));
	}
	if (n)
		out_table_print(&c->out, &t);
	else
		cmd_say(c, "nothing was built here");
	return CMD_OK;
}

/* -- log ------------------------------------------------------------------------------------------------------------------ */

/* The only layer whose id begins so. */
static int find_layer(struct cmd_context *c, struct layers *l, const char *prefix, struct layer_id *ret, struct err *e)
{
	if (strlen(prefix) < CMD_LAYER_PREFIX_MIN)
		return err_new(e, ERR_USAGE, "'%s': give at least %d digits of the id", prefix, CMD_LAYER_PREFIX_MIN);
	int got = cmd_find_layer(c, l, str_c(prefix), ret, e);
	return got == 0	 ? err_new(e, ERR_NOT_FOUND,
				   "no step has an id that begins with '%s'; 'slipway build list' shows them", prefix)
	       : got < 0 ? -1
			 : 0;
}

static int print_log(struct cmd_context *c, const struct layer_id *id, int fd, struct err *e)
{
	auto_answer a = {0};
	auto_buf text = BUF_INIT(LOG_JSON_MAX);
	char chunk[1 << 16];
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read the log of '%s'", id->hex), cmd_fail(c, e);
		if (n == 0)
			break;
		if (c->json)
			buf_put(&text, chunk, (size_t)n);
		else
			out_put(&c->out, str_of(chunk, (size_t)n));
	}
	if (!c->json)
		return CMD_OK;
	if (text.overflow) {
		err_new(e, ERR_LIMIT, "the log of '%.12s' has more than %d MiB, too much for JSON; leave out --json",
			id->hex, LOG_JSON_MAX >> 20);
		return cmd_fail(c, e);
	}
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "id", id->hex);
	jw_kv_str(w, "text", buf_str(&text));
	return cmd_answer_print(c, &a);
}

static int show_log(struct cmd_context *c, const char *store, const struct cmd_list *words, struct err *e)
{
	auto_ptr(layers) l = NULL;
	struct layer_id id;
	if (words->n != 1) {
		err_new(e, ERR_USAGE, "the log of which step? as in: slipway build log 1f2e3d4c");
		return cmd_fail(c, e);
	}
	if (cmd_need_layers(c, store, &l, e) < 0 || find_layer(c, l, words->v[0], &id, e) < 0)
		return cmd_fail(c, e);
	auto_fd fd = layer_open_log(l, &id, e);
	return fd < 0 ? cmd_fail(c, e) : print_log(c, &id, fd, e);
}

/* -- commands --------------------------------------------------------------------------------------------------------------- */

int cmd_build_list(struct cmd_context *c, int argc, char **argv)
{
	const char *store = NULL;
	struct cmd_list words = {0};
	const struct cmd_option options[] = {{0, "store", CMD_TEXT, &store}, {0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	if (rc == 0 && words.n)
		rc = err_new(&e, ERR_USAGE, "unexpected word '%s'", words.v[0]);
	vec_release(&words);
	if (rc < 0)
		return cmd_fail(c, &e);
	return c->help ? cmd_help(c) : list(c, store, &e);
}

int cmd_build_log(struct cmd_context *c, int argc, char **argv)
{
	const char *store = NULL;
	struct cmd_list words = {0};
	const struct cmd_option options[] = {{0, "store", CMD_TEXT, &store}, {0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : show_log(c, store, &words, &e);
	vec_release(&words);
	return code;
}
