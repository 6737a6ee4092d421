// SPDX-License-Identifier: Apache-2.0
/* env create, env update, apply. */
#include "cmd/change.h"

#include "cmd/env_opam.h"

void cmd_change_args_release(struct cmd_change_args *a)
{
	vec_release(&a->words);
	vec_release(&a->remove);
	vec_release(&a->options.solve.channels);
}

/* Of install add without -n: what the recipe names, where that is there or nothing is; else the only one. */
static int name_to_add_to(struct cmd_context *c, const struct cmd_change_args *a, const struct env_spec_file *file,
			  struct str *ret, struct err *e)
{
	struct str *all;
	size_t n;
	if (a->name || !file->name.n)
		return cmd_the_environment(c, a->name, ret, e);
	if (cmd_all_environments(c, &all, &n, e) < 0)
		return -1;
	bool there = n == 0;
	for (size_t i = 0; i < n; i++)
		there |= str_eq(all[i], file->name);
	*ret = file->name;
	return there ? env_name_check(*ret, e) : cmd_the_environment(c, NULL, ret, e);
}

static int name_of(struct cmd_context *c, const struct cmd_change_args *a, const struct env_spec_file *file,
		   struct str *ret, struct err *e)
{
	*ret = a->name ? str_c(a->name) : file->name;
	if (!ret->n)
		return err_new(e, ERR_USAGE, "which environment? name it with -n NAME%s",
			       c->cmd->verb ? "" : ", as in: slipway apply tools.spr -n copy");
	return env_name_check(*ret, e);
}

/* -- the new state, solved for ------------------------------------------------------------------------------------- */

/* Returns an exit code, CMD_OK with *target filled. */
static int solve_for_conda(struct cmd_context *c, const struct cmd_change_args *a, const struct env_spec_file *file,
			   const struct env_spec_file *before, struct cmd_opened *opened, struct env_spec_file *target,
			   struct err *e)
{
	struct str *now, *specs;
	size_t now_n, specs_n;
	struct solve_request q;
	struct solve_result r;
	const struct str *fallback = file->channels_n ? file->channels : before->channels;
	size_t fallback_n = file->channels_n ? file->channels_n : before->channels_n;
	struct env_change ch = {.remove = a->remove.v, .remove_n = a->remove.n, .all = a->all};
	if (cmd_gather_specs(c, file, &a->words, &now, &now_n, e) < 0)
		return cmd_fail(c, e);
	ch.specs = now;
	ch.specs_n = now_n;
	if (env_change_specs(&c->arena, before, &ch, &specs, &specs_n, e) < 0 ||
	    cmd_open_channels(c, &a->options.solve, fallback, fallback_n, specs, specs_n, opened, e) < 0 ||
	    cmd_request(c, opened, &q, e) < 0)
		return cmd_fail(c, e);
	env_change_hold(&c->arena, before, &ch, &q);
	q.specs = specs;
	q.specs_n = specs_n;
	int rc = cmd_run_solve(c, opened, &q, &r, e);
	if (rc > 0)
		return cmd_no_solution(c, &r);
	if (rc < 0 || env_change_check(&ch, target->name, &r, e) < 0)
		return cmd_fail(c, e);
	cmd_lock_of_result(c, &r, opened, target);
	target->specs = specs;
	target->specs_n = (uint32_t)specs_n;
	target->variables = file->variables_n ? file->variables : before->variables;
	target->variables_n = file->variables_n ? file->variables_n : before->variables_n;
	target->components = file->components_n ? file->components : before->components;
	target->components_n = file->components_n ? file->components_n : before->components_n;
	return CMD_OK;
}

static int solve_for(struct cmd_context *c, const struct cmd_change_args *a, const struct env_spec_file *file,
		     const struct env_spec_file *before, struct cmd_opened *opened, struct env_spec_file *target,
		     struct cmd_env_opam **ret, struct err *e)
{
	auto_env_part conda = {0};
	auto_env_part opam = {0};
	cmd_env_apart(c, a, file, before, &conda, &opam);
	int code = solve_for_conda(c, &conda.args, &conda.file, &conda.before, opened, target, e);
	if (code != CMD_OK || !cmd_env_has_opam(&opam))
		return code;
	if (cmd_env_opam_is_asked(&opam))
		return cmd_env_opam_solve(c, &opam, target, ret, e);
	cmd_env_opam_keep(c, &opam, target);
	return CMD_OK;
}

/* What the environment consists of now. 1: read; 0: there is no such environment. */
static int read_before(struct cmd_context *c, struct str name, struct env_spec_file *ret, struct err *e)
{
	struct env_info info;
	int rc = env_find(c->state, &c->arena, name, &info, e);
	if (rc <= 0)
		return rc;
	return env_generation_lock(c->state, &c->arena, name, 0, ret, e) < 0 ? -1 : 1;
}

static int check_presence(struct str name, bool there, bool is_update, struct err *e)
{
	if (there && !is_update)
		return err_new(e, ERR_EXISTS,
			       "environment '%.*s' is there already; 'slipway env update -n %.*s' changes it, "
			       "'slipway env remove -n %.*s' removes it",
			       STR_ARG(name), STR_ARG(name), STR_ARG(name));
	if (!there && is_update)
		return err_new(e, ERR_NOT_FOUND, "no environment '%.*s'; 'slipway env list' shows what there is",
			       STR_ARG(name));
	return 0;
}

/* A lock says exactly what there is to be: nothing can be asked for beside it. */
static int check_lock_alone(const struct cmd_change_args *a, const struct env_spec_file *file, struct err *e)
{
	if (file->is_lock && (a->words.n || a->all || a->remove.n))
		return err_new(e, ERR_USAGE,
			       "'%s' holds exact packages; leave out specs, --all and --remove, or name them in a "
			       "second command",
			       a->file);
	return 0;
}

/* A dry run changes nothing, so it holds nothing: it needs no right to write, and waits for nobody. What is for both members of a pair
 * holds the two when it comes to it, in their order. */
static int open_and_hold(struct cmd_context *c, const struct cmd_change_args *a, struct str name, bool is_install,
			 struct env_hold **ret, struct err *e)
{
	if (cmd_need_state(c, c->dry_run, e) < 0)
		return -1;
	int both = is_install ? cmd_is_paired(c, e) : 0;
	return c->dry_run || both ? (both < 0 ? -1 : 0)
				  : env_hold(c->state, name, cmd_wait_ms(a->options.wait_s), ret, e);
}

/* What another command left in the middle is settled; what is still under way refuses this one before anything is solved. */
static int begin_upgrade(struct cmd_context *c, const struct cmd_change_args *a, struct str name, struct env_hold *hold,
			 const char *operation, struct cmd_upgrade *u, struct err *e)
{
	const struct upgrade_request q = {.verb = UPGRADE_ADD, .operation = operation};
	cmd_want_config(c);
	cmd_upgrade_begin(u, c, name, hold, operation == NULL);
	if (!c->dry_run && !hold && cmd_upgrade_pair(u, cmd_wait_ms(a->options.wait_s), e) < 0)
		return -1;
	int paired = hold ? cmd_is_paired(c, e) : 0;
	if (paired < 0)
		return -1;
	if (paired)
		cmd_say(c,
			"note: this changes '%.*s' on this member of the pair alone; 'slipway install add ... -n %.*s' "
			"changes both",
			STR_ARG(name), STR_ARG(name));
	return cmd_upgrade_settle(u, e) < 0 ? -1 : upgrade_may(&u->o, &q, e);
}

/* Whoever mistypes -n shall see it. */
static int tell_new(struct cmd_context *c, struct str name, struct err *e)
{
	enum { MAX_SHOWN = 10 };
	struct env_info *v;
	size_t n;
	auto_buf b = BUF_INIT(4096);
	if (env_list(c->state, &c->arena, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n && i < MAX_SHOWN; i++)
		buf_printf(&b, "%s'%.*s'", i ? ", " : "", STR_ARG(v[i].name));
	cmd_say(c, "note: '%.*s' is a new environment%s%s%s", STR_ARG(name), n ? ", beside " : "", n ? b.p : "",
		n > MAX_SHOWN ? ", ..." : "");
	return 0;
}

/* install add makes and changes; create only makes, update only changes. */
static int change_by_specs(struct cmd_context *c, const struct cmd_change_args *a, const char *operation,
			   const struct cmd_install *in)
{
	struct err e = ERR_INIT;
	struct cmd_upgrade u;
	struct env_spec_file file = {0}, before = {0}, target = {0};
	struct str name;
	auto_opened opened = {0};
	auto_ptr(cmd_env_opam) opam = NULL;
	auto_ptr(env_hold) hold = NULL;
	if ((a->file && cmd_read_spec_file(c, a->file, &file, &e) < 0) || check_lock_alone(a, &file, &e) < 0 ||
	    (in ? name_to_add_to(c, a, &file, &name, &e) : name_of(c, a, &file, &name, &e)) < 0 ||
	    open_and_hold(c, a, name, in != NULL, &hold, &e) < 0 ||
	    begin_upgrade(c, a, name, hold, in ? NULL : operation, &u, &e) < 0)
		return cmd_fail(c, &e);
	int there = read_before(c, name, &before, &e);
	if (there < 0 || (!in && check_presence(name, there, strcmp(operation, "update") == 0, &e) < 0) ||
	    (there && !a->options.override_frozen && env_refuse_frozen(c->state, name, &e) < 0))
		return cmd_fail(c, &e);
	if (in && !there && tell_new(c, name, &e) < 0)
		return cmd_fail(c, &e);
	struct cmd_change ch = {
		.name = name,
		.operation = operation,
		.before = there ? &before : NULL,
		.target = &target,
		.options = &a->options,
		.install = in,
	};
	int code = CMD_OK;
	if (cmd_check_platform(c, &a->options, &file, &e) < 0)
		return cmd_fail(c, &e);
	ch.given = file.is_lock;
	if (file.is_lock)
		target = file;
	target.name = name;
	if (!file.is_lock) {
		env_remember_requested(&c->arena, &before);
		code = solve_for(c, a, &file, &before, &opened, &target, &opam, &e);
	} else if (cmd_env_opam_exact(c, &target, &opam, &e) < 0) {
		return cmd_fail(c, &e);
	}
	ch.opam = opam;
	if (code == CMD_OK && opam && in && u.paired) {
		err_new(&e, ERR_UNSUPPORTED,
			"opam packages are built where they are to be, which two hosts at once do not do yet; 'slipway env update -n %.*s' "
			"changes this member, and the same there the other",
			STR_ARG(name));
		return cmd_fail(c, &e);
	}
	return code == CMD_OK ? cmd_carry_out(c, &ch, &u, &e) : code;
}

int cmd_install_change(struct cmd_context *c, const struct cmd_change_args *a, const struct cmd_install *in)
{
	return change_by_specs(c, a, "add", in);
}

static int run_change(struct cmd_context *c, const struct cmd_option *options, int argc, char **argv,
		      struct cmd_change_args *a, const char *operation)
{
	struct err e = ERR_INIT;
	bool is_update = strcmp(operation, "update") == 0;
	int code;
	if (cmd_parse(c, options, false, argc, argv, &a->words, &e) < 0)
		code = cmd_fail(c, &e);
	else if (c->help)
		code = cmd_help(c);
	else if (cmd_change_check(c, &a->options, &e) < 0)
		code = cmd_fail(c, &e);
	else if (is_update && !a->words.n && !a->file && !a->all && !a->remove.n) {
		err_new(&e, ERR_USAGE, "nothing to update: name specs, or use --all, --remove NAME or -f FILE");
		code = cmd_fail(c, &e);
	} else
		code = change_by_specs(c, a, operation, NULL);
	cmd_change_args_release(a);
	return code;
}

int cmd_env_create(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_change_args a = {.options.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		CMD_SOLVE_OPTIONS(&a.options.solve), CMD_CHANGE_OPTIONS(&a.options), {'n', "name", CMD_TEXT, &a.name},
		{'f', "file", CMD_TEXT, &a.file},    {0, "opam", CMD_FLAG, &a.opam}, {0, NULL, CMD_FLAG, NULL},
	};
	return run_change(c, options, argc, argv, &a, "create");
}

int cmd_env_update(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_change_args a = {.options.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		CMD_SOLVE_OPTIONS(&a.options.solve), CMD_CHANGE_OPTIONS(&a.options),
		{'n', "name", CMD_TEXT, &a.name},    {'f', "file", CMD_TEXT, &a.file},
		{0, "all", CMD_FLAG, &a.all},	     {0, "override-frozen", CMD_FLAG, &a.options.override_frozen},
		{0, "remove", CMD_LIST, &a.remove},  {0, "opam", CMD_FLAG, &a.opam},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run_change(c, options, argc, argv, &a, "update");
}

/* -- apply -------------------------------------------------------------------------------------------------------- */

static int apply(struct cmd_context *c, const struct cmd_change_args *a, struct err *e)
{
	struct env_spec_file file = {0}, before = {0}, target = {0};
	struct str name;
	auto_opened opened = {0};
	auto_ptr(cmd_env_opam) opam = NULL;
	auto_ptr(env_hold) hold = NULL;
	struct cmd_upgrade u;
	if (a->words.n != 1) {
		err_new(e, ERR_USAGE, "which recipe? as in: slipway %s tools.spr -n copy",
			a->options.prepare_only ? "prepare" : "apply");
		return cmd_fail(c, e);
	}
	if (cmd_read_spec_file(c, a->words.v[0], &file, e) < 0 || name_of(c, a, &file, &name, e) < 0 ||
	    open_and_hold(c, a, name, false, &hold, e) < 0 || begin_upgrade(c, a, name, hold, "apply", &u, e) < 0)
		return cmd_fail(c, e);
	int there = read_before(c, name, &before, e);
	if (there < 0 || (there && !a->options.override_frozen && env_refuse_frozen(c->state, name, e) < 0))
		return cmd_fail(c, e);
	struct env_spec_file nothing_asked = before;
	struct cmd_change ch = {
		.name = name,
		.operation = "apply",
		.before = there ? &before : NULL,
		.target = &target,
		.options = &a->options,
	};
	if (!file.is_lock && !file.specs_n) {
		err_new(e, ERR_INPUT, "'%s' names neither packages nor specs; a recipe comes from 'slipway env export'",
			a->words.v[0]);
		return cmd_fail(c, e);
	}
	if (cmd_check_platform(c, &a->options, &file, e) < 0)
		return cmd_fail(c, e);
	target = file;
	target.name = name;
	ch.given = file.is_lock;
	if (!file.is_lock) {
		struct cmd_change_args specs_only = *a;
		specs_only.words = (struct cmd_list){0};
		nothing_asked.specs_n = 0; /* the recipe says all that is wanted */
		int code = solve_for(c, &specs_only, &file, &nothing_asked, &opened, &target, &opam, e);
		if (code != CMD_OK)
			return code;
	} else if (cmd_env_opam_exact(c, &target, &opam, e) < 0) {
		return cmd_fail(c, e);
	}
	ch.opam = opam;
	return cmd_carry_out(c, &ch, &u, e);
}

static int run_apply(struct cmd_context *c, int argc, char **argv, bool prepare_only)
{
	struct cmd_change_args a = {.options = {.wait_s = CMD_DEFAULT_WAIT_S, .prepare_only = prepare_only}};
	const struct cmd_option options[] = {
		CMD_SOLVE_OPTIONS(&a.options.solve),
		CMD_CHANGE_OPTIONS(&a.options),
		{'n', "name", CMD_TEXT, &a.name},
		{0, "override-frozen", CMD_FLAG, &a.options.override_frozen},
		{0, "sync", CMD_FLAG, &a.options.sync},
		{0, "syncmode", CMD_TEXT, &a.options.sync_mode},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int code = cmd_parse(c, options, false, argc, argv, &a.words, &e) < 0 ? cmd_fail(c, &e)
		   : c->help						      ? cmd_help(c)
		   : cmd_change_check(c, &a.options, &e) < 0		      ? cmd_fail(c, &e)
									      : apply(c, &a, &e);
	cmd_change_args_release(&a);
	return code;
}

int cmd_apply(struct cmd_context *c, int argc, char **argv)
{
	return run_apply(c, argc, argv, false);
}

int cmd_prepare(struct cmd_context *c, int argc, char **argv)
{
	return run_apply(c, argc, argv, true);
}
