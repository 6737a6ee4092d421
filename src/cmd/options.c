// SPDX-License-Identifier: Apache-2.0
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"

static const struct cmd_option *find(const struct cmd_option *list, struct str name, char letter)
{
	for (; list->name; list++)
		if (letter ? list->letter == letter : str_eq_c(name, list->name))
			return list;
	return NULL;
}

static int unknown(struct cmd_context *c, const char *word, struct err *e)
{
	return err_new(e, ERR_USAGE, "unknown option '%s'; 'slipway %s%s%s%s--help' lists the options", word,
		       c->cmd->noun, c->cmd->verb ? " " : "", c->cmd->verb ? c->cmd->verb : "",
		       c->cmd->noun[0] ? " " : "");
}

static int store_value(const struct cmd_option *o, const char *value, struct err *e)
{
	switch (o->kind) {
	case CMD_FLAG:
		*(bool *)o->value = true;
		return 0;
	case CMD_TEXT:
		*(const char **)o->value = value;
		return 0;
	case CMD_LIST:
		vec_push((struct cmd_list *)o->value, value);
		return 0;
	case CMD_NUMBER:
		if (str_to_i64(str_c(value), o->value))
			return 0;
		return err_new(e, ERR_USAGE, "--%s wants a number, not '%s'", o->name, value);
	}
	return 0;
}

struct cursor {
	int argc, at;
	char **argv;
};

static const char *next_word(struct cursor *c)
{
	return c->at < c->argc ? c->argv[c->at++] : NULL;
}

static int take_value(const struct cmd_option *o, const char *shown, const char *attached, struct cursor *at,
		      struct err *e)
{
	const char *value = attached;
	if (o->kind == CMD_FLAG)
		return attached ? err_new(e, ERR_USAGE, "'%s' takes no value", shown) : store_value(o, NULL, e);
	if (!value)
		value = next_word(at);
	if (!value)
		return err_new(e, ERR_USAGE, "'%s' wants a value", shown);
	return store_value(o, value, e);
}

static int long_option(struct cmd_context *c, const struct cmd_option *own, const struct cmd_option *common,
		       const char *word, struct cursor *at, struct err *e)
{
	const char *equals = strchr(word, '=');
	struct str name = str_of(word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2));
	const struct cmd_option *o = find(own, name, 0);
	if (!o)
		o = find(common, name, 0);
	return o ? take_value(o, word, equals ? equals + 1 : NULL, at, e) : unknown(c, word, e);
}

/* -nNAME, -n NAME, and flags together: -qv */
static int short_options(struct cmd_context *c, const struct cmd_option *own, const struct cmd_option *common,
			 const char *word, struct cursor *at, struct err *e)
{
	for (const char *p = word + 1; *p; p++) {
		const struct cmd_option *o = find(own, STR(""), *p);
		if (!o)
			o = find(common, STR(""), *p);
		if (!o)
			return unknown(c, word, e);
		if (o->kind != CMD_FLAG)
			return take_value(o, word, p[1] ? p + 1 : NULL, at, e);
		if (store_value(o, NULL, e) < 0)
			return -1;
	}
	return 0;
}

#define COMMON_OPTIONS(c)                                                                                              \
	{                                                                                                              \
		{0, "root", CMD_TEXT, &(c)->root_option}, {0, "json", CMD_FLAG, &(c)->json},                           \
			{0, "dry-run", CMD_FLAG, &(c)->dry_run}, {'q', "quiet", CMD_FLAG, &(c)->quiet},                \
			{'v', "verbose", CMD_FLAG, &(c)->verbose}, {0, "offline", CMD_FLAG, &(c)->offline},            \
			{0, "no-color", CMD_FLAG, &(c)->no_colour}, {0, "progress-fd", CMD_NUMBER, &(c)->progress_fd}, \
			{'h', "help", CMD_FLAG, &(c)->help},                                                           \
		{                                                                                                      \
			0, NULL, CMD_FLAG, NULL                                                                        \
		}                                                                                                      \
	}

int cmd_common_words(const char *word)
{
	struct cmd_context c;
	const struct cmd_option common[] = COMMON_OPTIONS(&c);
	const struct cmd_option *o;
	if (word[0] != '-' || !word[1] || strcmp(word, "--") == 0)
		return 0;
	if (word[1] == '-') {
		size_t n = strcspn(word + 2, "=");
		o = find(common, str_of(word + 2, n), 0);
		return !o ? 0 : o->kind == CMD_FLAG || word[2 + n] ? 1 : 2;
	}
	for (const char *p = word + 1; *p; p++) /* those with a letter are flags */
		if (!find(common, STR(""), *p))
			return 0;
	return 1;
}

int cmd_parse(struct cmd_context *c, const struct cmd_option *options, bool stop_at_word, int argc, char **argv,
	      struct cmd_list *rest, struct err *e)
{
	const struct cmd_option common[] = COMMON_OPTIONS(c);
	static const struct cmd_option none[] = {{0, NULL, CMD_FLAG, NULL}};
	struct cursor at = {argc, 0, argv};
	bool words_only = false;
	const char *word;
	while ((word = next_word(&at))) {
		int rc = 0;
		if (words_only || word[0] != '-' || !word[1]) {
			vec_push(rest, word);
			words_only |= stop_at_word;
		} else if (strcmp(word, "--") == 0) {
			words_only = true;
		} else if (word[1] == '-') {
			rc = long_option(c, options ? options : none, common, word, &at, e);
		} else {
			rc = short_options(c, options ? options : none, common, word, &at, e);
		}
		if (rc < 0)
			return -1;
	}
	const struct cmd_option *name = find(options ? options : none, STR_NONE, 'n');
	if (name && name->kind == CMD_TEXT)
		c->env_asked = *(const char **)name->value;
	if (c->no_colour)
		c->out.out_colour = c->out.err_colour = false;
	if (c->progress_fd >= 0 &&
	    out_set_progress_fd(&c->out, c->progress_fd > INT_MAX ? -1 : (int)c->progress_fd, e) < 0)
		return -1;
	return 0;
}

int64_t cmd_wait_ms(int64_t wait_s)
{
	enum { MAX_WAIT_S = 86400 };
	return wait_s < 0 ? 0 : (wait_s > MAX_WAIT_S ? MAX_WAIT_S : wait_s) * 1000;
}

int cmd_read_age(const char *option, const char *text, int64_t *ret_ms, struct err *e)
{
	enum { DAYS_MAX = 36500 };
	static const int64_t day_ms = (int64_t)24 * 3600 * 1000;
	static const struct {
		char letter;
		int64_t ms;
	} units[] = {{'s', 1000},
		     {'m', 60 * 1000},
		     {'h', 3600 * 1000},
		     {'d', 24 * 3600 * 1000},
		     {'w', 7 * 24 * 3600 * 1000}};
	struct str number = str_c(text);
	uint64_t n;
	for (size_t i = 0; number.n && i < sizeof(units) / sizeof(*units); i++) {
		if (number.p[number.n - 1] != units[i].letter)
			continue;
		if (!str_to_u64(str_head(number, number.n - 1), &n) || n > (uint64_t)(DAYS_MAX * day_ms / units[i].ms))
			break;
		*ret_ms = (int64_t)n * units[i].ms;
		return 0;
	}
	return err_new(e, ERR_USAGE, "%s wants an age like 12h, 7d or 4w, not '%s'", option, text);
}

int cmd_read_size(const char *option, const char *text, uint64_t *ret, struct err *e)
{
	if (!text || config_size(str_c(text), ret))
		return 0;
	return err_new(e, ERR_USAGE, "%s wants a size like 500MB or 20GiB, not '%s'", option, text);
}
