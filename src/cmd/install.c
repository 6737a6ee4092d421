// SPDX-License-Identifier: Apache-2.0
/* install rollback, install remove inactive: going back, and letting go of what one could go back to. */
#include <stdio.h>

#include "cmd/change.h"

struct install_args {
	const char *name;
	int64_t wait_s;
	bool override_frozen;
	struct cmd_list words;
};

/* From which generation a change made `of`; 0 none. Rollbacks make nothing. */
static uint32_t made_from(const struct env_history_entry *h, size_t n, uint32_t of)
{
	for (size_t i = n; i-- > 0;)
		if (h[i].to == of && str_eq(h[i].result, STR("done")) && !str_eq(h[i].operation, STR("rollback")))
			return h[i].from < of ? h[i].from : 0;
	return 0;
}

/* "rollback", "rollback to 3", "rollback 3" */
static int wanted_generation(struct cmd_context *c, const struct install_args *a, struct str name,
			     const struct env_info *info, uint32_t *ret, struct err *e)
{
	struct env_history_entry *h;
	size_t n;
	uint64_t number;
	size_t at = a->words.n && strcmp(a->words.v[0], "to") == 0 ? 1 : 0;
	if (a->words.n > at + 1 || (at && a->words.n == 1))
		return err_new(e, ERR_USAGE, "rollback to which generation? as in: slipway install rollback -n %s to 3",
			       a->name);
	if (a->words.n > at) {
		if (!str_to_u64(str_c(a->words.v[at]), &number) || !number || number >= UINT32_MAX)
			return err_new(e, ERR_USAGE, "'%s' is not a generation; 'slipway env history -n %s' lists them",
				       a->words.v[at], a->name);
		*ret = (uint32_t)number;
		return 0;
	}
	/* Without a number: one change back. What the current one was made from, or where that was removed, what that one was
	 * made from. */
	if (env_history(c->state, &c->arena, name, &h, &n, e) < 0)
		return -1;
	for (uint32_t from = made_from(h, n, info->current); from; from = made_from(h, n, from)) {
		struct env_spec_file lock;
		struct err gone = ERR_INIT;
		if (env_generation_lock(c->state, &c->arena, name, from, &lock, &gone) < 0)
			continue;
		*ret = from;
		return 0;
	}
	return err_new(e, ERR_NOT_FOUND,
		       "environment '%s' has nothing to go back to from generation %u; 'slipway env history -n %s' "
		       "lists what is kept, 'slipway install rollback -n %s to N' goes to any of it",
		       a->name, info->current, a->name, a->name);
}

/* Nothing without --json. */
static int rollback_json(struct cmd_context *c, struct str name, uint32_t from, uint32_t to, const struct env_plan *p)
{
	auto_answer answer = {0};
	if (!c->json)
		return 0;
	struct jw *w = cmd_answer(&answer);
	jw_kv_str(w, "environment", name);
	jw_kv_c(w, "operation", "rollback");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_int(w, "from", from);
	jw_kv_int(w, "to", to);
	jw_kv_int(w, "added", p ? (int64_t)p->added_n : 0);
	jw_kv_int(w, "changed", p ? (int64_t)p->changed_n : 0);
	jw_kv_int(w, "removed", p ? (int64_t)p->removed_n : 0);
	return cmd_answer_print(c, &answer);
}

static int rollback(struct cmd_context *c, const struct install_args *a, struct err *e)
{
	struct env_info info;
	struct env_spec_file before, target;
	struct env_plan plan;
	uint32_t to = 0;
	auto_ptr(env_hold) hold = NULL;
	struct env_opts o = {.command = c->command_line, .clock = &clock_system};
	if (cmd_hold(c, a->name, a->wait_s, &info, &hold, e) < 0 ||
	    (!a->override_frozen && env_refuse_frozen(c->state, info.name, e) < 0) ||
	    wanted_generation(c, a, info.name, &info, &to, e) < 0)
		return -1;
	if (to == info.current) {
		cmd_say(c, "'%s' is at generation %u already", a->name, to);
		return rollback_json(c, info.name, to, to, NULL);
	}
	if (env_generation_lock(c->state, &c->arena, info.name, 0, &before, e) < 0 ||
	    env_generation_lock(c->state, &c->arena, info.name, to, &target, e) < 0 ||
	    env_plan(&target, &before, NULL, &c->arena, &plan, e) < 0)
		return -1;
	cmd_say(c, "generation %u -> %u: %zu to add, %zu to change, %zu to remove", info.current, to, plan.added_n,
		plan.changed_n, plan.removed_n);
	if (!c->dry_run && cmd_make_current(c, hold, to, "rollback", &o, e) < 0)
		return -1;
	if (!c->dry_run)
		cmd_say(c, "'%s' is at generation %u again", a->name, to);
	return rollback_json(c, info.name, info.current, to, &plan);
}

typedef int install_fn(struct cmd_context *c, const struct install_args *a, struct err *e);

static int run(struct cmd_context *c, const struct cmd_option *options, int argc, char **argv, struct install_args *a,
	       install_fn *fn)
{
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a->words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : fn(c, a, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
	vec_release(&a->words);
	return code;
}

int cmd_install_rollback(struct cmd_context *c, int argc, char **argv)
{
	struct install_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, "override-frozen", CMD_FLAG, &a.override_frozen},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, rollback);
}

static int removed_answer(struct cmd_context *c, const struct env_info *info, uint32_t number,
			  const struct env_generation_info *v, size_t n)
{
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_str(w, "environment", info->name);
	jw_kv_c(w, "operation", "remove inactive");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_int(w, "current", info->current);
	jw_key(w, "removed");
	jw_array(w);
	for (size_t i = 0; i < n; i++)
		if (number ? v[i].number == number : !v[i].current)
			jw_int(w, v[i].number);
	jw_array_end(w);
	return cmd_answer_print(c, &answer);
}

static void say_removed(struct cmd_context *c, const struct env_info *info, uint32_t number,
			const struct env_generation_info *v, size_t n)
{
	auto_buf list = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < n; i++)
		if (number ? v[i].number == number : !v[i].current)
			buf_printf(&list, "%s%u", list.n ? ", " : "", v[i].number);
	cmd_say(c, "%s of '%.*s': %s; generation %u stays current",
		c->dry_run ? "would remove generations" : "removed generations", STR_ARG(info->name),
		list.n ? list.p : "none", info->current);
}

/* "remove inactive [N]" */
static int remove_inactive(struct cmd_context *c, const struct install_args *a, struct err *e)
{
	struct env_info info;
	struct env_spec_file lock;
	struct env_generation_info *generations;
	size_t n;
	uint64_t number = 0;
	auto_ptr(env_hold) hold = NULL;
	if (!a->words.n || strcmp(a->words.v[0], "inactive") != 0 || a->words.n > 2 ||
	    (a->words.n == 2 && (!str_to_u64(str_c(a->words.v[1]), &number) || !number || number >= UINT32_MAX)))
		return err_new(e, ERR_USAGE,
			       "remove which generations? as in: slipway install remove inactive -n NAME, or: "
			       "slipway install remove inactive 3 -n NAME");
	if (cmd_hold(c, a->name, a->wait_s, &info, &hold, e) < 0)
		return -1;
	if (number == info.current)
		return err_new(e, ERR_USAGE, "generation %u of '%s' is the current one; roll back to another one first",
			       info.current, a->name);
	if (number && env_generation_lock(c->state, &c->arena, info.name, (uint32_t)number, &lock, e) < 0)
		return -1;
	if (!c->dry_run)
		cmd_if_interrupted(c,
				   "'slipway env history -n %s' shows which generations are left; files of others go "
				   "with the next change",
				   a->name);
	if (env_generations(c->state, &c->arena, info.name, &generations, &n, e) < 0 ||
	    (!c->dry_run && env_remove_generation(hold, (uint32_t)number, e) < 0))
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	say_removed(c, &info, (uint32_t)number, generations, n);
	return c->json ? removed_answer(c, &info, (uint32_t)number, generations, n) : 0;
}

int cmd_install_remove(struct cmd_context *c, int argc, char **argv)
{
	struct install_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, remove_inactive);
}
