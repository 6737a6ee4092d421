// SPDX-License-Identifier: Apache-2.0
/* env run, activate, wrap: using what is there. */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "cmd/change.h"

struct use_args {
	const char *name, *dir, *shell;
	bool deactivate;
	struct cmd_list words;
};

static int would_run(struct cmd_context *c, struct str name, const struct cmd_list *words, struct err *e)
{
	auto_answer a = {0};
	struct env_info info;
	if (cmd_need_state(c, true, e) < 0 || env_get(c->state, &c->arena, name, &info, e) < 0)
		return -1;
	cmd_say(c, "would run '%s' in %.*s", words->v[0], STR_ARG(info.prefix));
	if (!c->json)
		return 0;
	struct jw *w = cmd_answer(&a);
	jw_kv_str(w, "environment", name);
	jw_kv_str(w, "prefix", info.prefix);
	jw_key(w, "command");
	jw_array(w);
	vec_foreach(word, words)
		jw_c(w, *word);
	jw_array_end(w);
	return cmd_answer_print(c, &a);
}

int cmd_env_run(struct cmd_context *c, int argc, char **argv)
{
	struct use_args a = {0};
	const struct cmd_option options[] = {{'n', "name", CMD_TEXT, &a.name}, {0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	struct str name;
	if (cmd_parse(c, options, true, argc, argv, &a.words, &e) < 0 || c->help) {
		vec_release(&a.words);
		return e.code != ERR_NONE ? cmd_fail(c, &e) : cmd_help(c);
	}
	if (cmd_need_name(a.name, &name, &e) == 0 && !a.words.n)
		err_new(&e, ERR_USAGE, "run what? as in: slipway env run -n %s -- python -V", a.name);
	if (e.code == ERR_NONE && c->dry_run) {
		int rc = would_run(c, name, &a.words, &e);
		vec_release(&a.words);
		return rc < 0 ? cmd_fail(c, &e) : CMD_OK;
	}
	if (e.code == ERR_NONE && cmd_need_state(c, true, &e) == 0) {
		vec_push(&a.words, NULL);
		(void)env_exec(c->state, name, (char *const *)(void *)a.words.v, &e);
	}
	vec_release(&a.words);
	return cmd_fail(c, &e);
}

int cmd_env_activate(struct cmd_context *c, int argc, char **argv)
{
	struct use_args a = {.shell = "posix"};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "shell", CMD_TEXT, &a.shell},
		{0, "deactivate", CMD_FLAG, &a.deactivate},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	struct str name;
	auto_buf b = BUF_INIT(BUF_MAX);
	auto_answer answer = {0};
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	vec_release(&a.words);
	if (rc < 0)
		return cmd_fail(c, &e);
	if (c->help)
		return cmd_help(c);
	if (cmd_need_name(a.name, &name, &e) < 0 || cmd_need_state(c, true, &e) < 0 ||
	    env_activate_text(c->state, name, a.shell, a.deactivate, &b, &e) < 0)
		return cmd_fail(c, &e);
	if (!c->json)
		return cmd_print(c, &b);
	struct jw *w = cmd_answer(&answer);
	jw_kv_str(w, "environment", name);
	jw_kv_c(w, "shell", a.shell);
	jw_kv_bool(w, "deactivate", a.deactivate);
	jw_kv_str(w, "text", buf_str(&b));
	return cmd_answer_print(c, &answer);
}

static int wrap_answer(struct cmd_context *c, const struct use_args *a)
{
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "environment", a->name);
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_key(w, "wrappers");
	jw_array(w);
	vec_foreach(word, &a->words)
		jw_c(w, arena_printf(&c->arena, "%s/%s", a->dir, *word));
	jw_array_end(w);
	return cmd_answer_print(c, &answer);
}

static int wrap(struct cmd_context *c, const struct use_args *a, struct err *e)
{
	struct str name;
	struct env_info info;
	if (cmd_need_name(a->name, &name, e) < 0)
		return -1;
	if (!a->words.n)
		return err_new(e, ERR_USAGE, "wrap which programs? as in: slipway env wrap -n %s python ipython",
			       a->name);
	if (cmd_need_state(c, true, e) < 0 || env_get(c->state, &c->arena, name, &info, e) < 0)
		return -1;
	auto_fd dir = open(a->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (env_wrap(c->state, name, dir, a->words.v, a->words.n, true, e) < 0)
		return e->code == ERR_EXISTS ? err_ctx(e, "folder '%s'", a->dir) : -1;
	if (!c->dry_run && dir < 0)
		dir = fs_open_dir_make(AT_FDCWD, a->dir, e);
	if (!c->dry_run)
		cmd_if_interrupted(c, "some of the wrappers may be there; the same command makes the others");
	if (!c->dry_run && (dir < 0 || env_wrap(c->state, name, dir, a->words.v, a->words.n, false, e) < 0))
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	vec_foreach(w, &a->words)
		cmd_say(c, "%s/%s %s '%s' of environment '%s'", a->dir, *w, c->dry_run ? "would run" : "runs", *w,
			a->name);
	return c->json ? wrap_answer(c, a) : 0;
}

int cmd_env_wrap(struct cmd_context *c, int argc, char **argv)
{
	struct use_args a = {.dir = "/usr/local/bin"};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "dir", CMD_TEXT, &a.dir},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : wrap(c, &a, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
	vec_release(&a.words);
	return code;
}
