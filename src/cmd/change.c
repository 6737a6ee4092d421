// SPDX-License-Identifier: Apache-2.0
#include "cmd/change.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "cmd/catalogues.h"
#include "cmd/change_show.h"
#include "cmd/env_opam.h"
#include "cmd/plan.h"
#include "cmd/snapshots.h"
#include "cmd/takeout.h"

enum { MAX_SPEC_FILE = 256 << 20 };

/* -- what is asked for -------------------------------------------------------------------------------------------- */

static void put_asked(struct jw *w, const void *ctx, size_t i)
{
	const struct cmd_asked *x = (const struct cmd_asked *)ctx + i;
	jw_kv_str(w, "spec", x->spec);
	jw_kv_str(w, "recipe", x->recipe);
}

int cmd_no_solution(struct cmd_context *c, const struct solve_result *r)
{
	auto_buf text = BUF_INIT(BUF_MAX);
	auto_answer a = {0};
	solve_explain(r, &text);
	bool says_so = str_starts(buf_str(&text), STR("no solution"));
	bool several = false;
	vec_foreach(x, &c->asked)
		several |= !str_eq(x->recipe, c->asked.v[0].recipe);
	cmd_warn(c, "%s%s", says_so ? "" : "no solution: ", text.p);
	vec_foreach(x, &c->asked)
		if (several)
			cmd_say(c, "'%.*s' stands in 'to:%.*s'", STR_ARG(x->spec), STR_ARG(x->recipe));
	if (!c->json)
		return CMD_NO_SOLUTION;
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "error", "no solution");
	jw_kv_c(w, "code", err_code_name(ERR_NO_SOLUTION));
	jw_kv_int(w, "exit", CMD_NO_SOLUTION);
	jw_kv_str(w, "explanation", buf_str(&text));
	jw_kv_list(w, "suggestions", r->suggestions, r->suggestions_n);
	if (several)
		jw_kv_objects(w, "asked", c->asked.n, put_asked, c->asked.v);
	cmd_answer_print(c, &a);
	return CMD_NO_SOLUTION;
}

int cmd_no_solution_for(struct cmd_context *c, const struct str *why, size_t n, int exit)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	auto_answer a = {0};
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "\n  - %.*s", STR_ARG(why[i]));
	cmd_warn(c, "no solution:%s", b.n ? b.p : " what was asked for cannot be had together");
	if (!c->json)
		return exit;
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "error", "no solution");
	jw_kv_c(w, "code", err_code_name(ERR_NO_SOLUTION));
	jw_kv_int(w, "exit", exit);
	jw_kv_list(w, "why", why, n);
	cmd_answer_print(c, &a);
	return exit;
}

/* The files that a recipe names lie where it lies, and are read with it: from here on it says all by itself. */
static int read_components(struct cmd_context *c, const char *recipe, struct env_spec_file *f, struct err *e)
{
	enum { COMPONENT_MAX = 1 << 20 };
	struct env_component *v = arena_array(&c->arena, struct env_component, f->components_n);
	const char *slash = strrchr(recipe, '/');
	int dir_n = slash ? (int)(slash + 1 - recipe) : 0;
	for (uint32_t i = 0; i < f->components_n; i++) {
		auto_buf b = BUF_INIT(COMPONENT_MAX);
		struct component ignored;
		v[i] = f->components[i];
		const char *name = arena_strdup(&c->arena, v[i].name), *where = recipe;
		if (v[i].path.n) {
			bool is_absolute = v[i].path.p[0] == '/';
			where = arena_printf(&c->arena, "%.*s%.*s", is_absolute ? 0 : dir_n, recipe,
					     STR_ARG(v[i].path));
			if (fs_read(AT_FDCWD, where, &b, e) < 0)
				return err_ctx(e, "component '%s' of '%s'", name, recipe);
			v[i].text = arena_str(&c->arena, buf_str(&b));
			v[i].path = STR_NONE;
		}
		if (component_read(&c->arena, v[i].text, name, where, &ignored, e) < 0)
			return err_ctx(e, "component '%s'", name);
	}
	f->components = v;
	return 0;
}

static int read_plan(struct cmd_context *c, struct str env, struct env_spec_file *ret, struct err *e)
{
	struct cmd_plan p;
	if (cmd_plan_read(c, env, &p, e) < 0)
		return -1;
	*ret = p.lock;
	return 0;
}

int cmd_read_spec_file(struct cmd_context *c, const char *path, struct env_spec_file *ret, struct err *e)
{
	auto_buf text = BUF_INIT(MAX_SPEC_FILE);
	bool is_stdin = strcmp(path, "-") == 0;
	if (cmd_is_plan(path))
		return read_plan(c, str_skip(str_c(path), 5), ret, e);
	if (cmd_is_takeout(path))
		return cmd_takeout_read(c, path, ret, e) < 0 ? -1 : cmd_mirrored_file(c, ret, e);
	if (fs_read_any(AT_FDCWD, is_stdin ? "/dev/stdin" : path, &text, e) < 0)
		return -1;
	if (env_file_read(&c->arena, arena_str(&c->arena, buf_str(&text)), is_stdin ? "standard input" : path, ret, e) <
	    0)
		return -1;
	for (uint32_t i = 0; i < ret->notes_n; i++)
		cmd_say(c, "note: %.*s", STR_ARG(ret->notes[i]));
	if (cmd_check_os(c, str_c(path), ret->os, e) < 0)
		return -1;
	return read_components(c, path, ret, e) < 0 ? -1 : cmd_mirrored_file(c, ret, e);
}

int cmd_gather_specs(struct cmd_context *c, const struct env_spec_file *file, const struct cmd_list *words,
		     struct str **ret, size_t *ret_n, struct err *e)
{
	*ret = arena_array(&c->arena, struct str, file->specs_n + words->n);
	*ret_n = 0;
	for (uint32_t i = 0; i < file->specs_n; i++)
		(*ret)[(*ret_n)++] = file->specs[i];
	vec_foreach(w, words)
		(*ret)[(*ret_n)++] = str_c(*w);
	for (size_t i = 0; i < *ret_n; i++) {
		if (str_starts((*ret)[i], STR("opam:")))
			return err_new(e, ERR_USAGE, "'%.*s' is an opam package: 'slipway opam solve' solves for those",
				       STR_ARG((*ret)[i]));
		const struct spec *s = pkg_conda.spec_parse(&c->arena, (*ret)[i], SPEC_REQUEST, e);
		if (!s) {
			e->code = ERR_USAGE; /* malformed or too long: what was asked is wrong */
			return -1;
		}
		if (!spec_name(s).n)
			return err_new(e, ERR_USAGE,
				       "spec '%.*s' does not name one package, and nothing says which of those that "
				       "fit is meant; give a name ('slipway search' lists what fits)",
				       STR_ARG((*ret)[i]));
	}
	return 0;
}

int cmd_hold(struct cmd_context *c, const char *name, int64_t wait_s, struct env_info *info, struct env_hold **ret,
	     struct err *e)
{
	auto_ptr(env_hold) hold = NULL;
	*ret = NULL;
	if (!name)
		return err_new(e, ERR_USAGE, "which environment? name it with -n NAME; 'slipway env list' shows them");
	if (cmd_need_state(c, c->dry_run, e) < 0 || env_get(c->state, &c->arena, str_c(name), info, e) < 0)
		return -1;
	if (c->dry_run)
		return 0;
	if (env_hold(c->state, str_c(name), cmd_wait_ms(wait_s), &hold, e) < 0 ||
	    env_get(c->state, &c->arena, str_c(name), info, e) < 0)
		return -1;
	*ret = steal_ptr(&hold);
	return 0;
}

void cmd_lock_of_result(struct cmd_context *c, const struct solve_result *r, const struct cmd_opened *o,
			struct env_spec_file *ret)
{
	struct env_lock_package *packages = arena_array(&c->arena, struct env_lock_package, r->packages_n);
	struct str *channels = arena_array(&c->arena, struct str, o->channels_n);
	for (size_t i = 0; i < r->packages_n; i++) {
		packages[i].record = r->packages[i].record;
		packages[i].requested = r->packages[i].requested;
		packages[i].requested_spec = r->packages[i].requested_by;
	}
	for (size_t i = 0; i < o->channels_n; i++)
		channels[i] = o->channels[i].shown;
	ret->packages = packages;
	ret->packages_n = (uint32_t)r->packages_n;
	ret->channels = channels;
	ret->channels_n = (uint32_t)o->channels_n;
	ret->subdir = o->subdir;
	ret->is_lock = true;
}

/* -- carrying it out ------------------------------------------------------------------------------------------------ */

/* A hard link shares its file with the store: what was changed in place there is damaged here too. */
static int mend_store(struct cmd_context *c, const struct env_plan *plan, struct err *e)
{
	for (uint32_t i = 0; i < plan->target.packages_n; i++) {
		const struct pkg_record *r = &plan->target.packages[i].record;
		if (r->has_sha256 && store_has_tree(c->store, r->sha256) && store_mend_tree(c->store, r->sha256, e) < 0)
			return -1;
	}
	return 0;
}

static int parse_options(const struct cmd_context *c, const struct cmd_change_options *co, struct env_opts *o,
			 struct err *e)
{
	if (co->clobber && strcmp(co->clobber, "warn") != 0 && strcmp(co->clobber, "refuse") != 0)
		return err_new(e, ERR_USAGE, "--clobber is 'warn' or 'refuse', not '%s'", co->clobber);
	if (co->sync_mode && strcmp(co->sync_mode, "delete") != 0 && strcmp(co->sync_mode, "keep") != 0)
		return err_new(e, ERR_USAGE, "--syncmode is 'delete' or 'keep', not '%s'", co->sync_mode);
	if (co->sync_mode && !co->sync)
		return err_new(e, ERR_USAGE, "--syncmode says how to --sync: give both, or neither");
	o->clobber = co->clobber && strcmp(co->clobber, "refuse") == 0 ? ENV_CLOBBER_REFUSE : ENV_CLOBBER_WARN;
	o->allow_scripts = co->allow_scripts;
	o->no_pyc = co->no_pyc;
	o->copy = co->copy || c->config.always_copy;
	o->sync_delete = co->sync && (!co->sync_mode || strcmp(co->sync_mode, "delete") == 0);
	return 0;
}

static struct str subdir_here(const struct cmd_context *c, const struct cmd_change_options *options)
{
	return options->solve.subdir  ? str_c(options->solve.subdir)
	       : c->config.subdir.s.n ? c->config.subdir.s
				      : channel_host_subdir();
}

/* A lock may have been merged by hand. A recipe that does not fit together is refused; of a list of URLs, which is there to
 * get exactly these files (CEP 23: no solver), it is said; and so of a recipe without specs, which is what an environment that
 * was made of such a list exports. */
static int check_given(struct cmd_context *c, const struct cmd_change *ch, const struct env_spec_file *lock,
		       struct err *e)
{
	struct pkg_record *virtuals;
	struct str *problems, subdir = subdir_here(c, ch->options);
	size_t virtuals_n;
	if (cmd_virtuals(c, subdir, &virtuals, &virtuals_n, e) < 0)
		return -1;
	size_t n = env_lock_problems(lock, subdir, virtuals, virtuals_n, &c->arena, &problems);
	for (size_t i = 0; i < n; i++)
		cmd_warn(c, "%.*s", STR_ARG(problems[i]));
	if (n == 0 || lock->is_url_list || lock->specs_n == 0)
		return 0;
	return err_new(e, ERR_INPUT,
		       "the recipe's packages do not go together, or not with this host (see above); make it anew with "
		       "'slipway env export', or apply its URLs as an @EXPLICIT list, which is not refused");
}

/* From the plan to packages in the store: what is long. */
struct preparation {
	struct cmd_context *c;
	const struct cmd_change *ch;
	struct env_plan *plan;
	const struct env_opts *o;
	const struct cmd_upgrade *u;
};

static const char *as_it_was(const struct cmd_change *ch)
{
	return ch->before ? "is as it was" : "was not made";
}

static int prepare(void *ctx, struct err *e)
{
	struct preparation *p = ctx;
	struct cmd_context *c = p->c;
	if (cmd_upgrade_unchanged(p->u, e) < 0 || (p->ch->options->sync && mend_store(c, p->plan, e) < 0))
		return -1;
	cmd_if_interrupted(c, "nothing changed: '%.*s' %s; the same command goes on where this stopped",
			   STR_ARG(p->ch->name), as_it_was(p->ch));
	if (p->ch->opam && cmd_env_opam_make(c, p->ch->opam, p->plan, p->ch->options, e) < 0)
		return -1;
	cmd_progress_begin(c);
	int rc = env_prepare(c->store, c->offline ? NULL : c->transfer, p->plan, p->o, &c->arena, e);
	if (rc == 0 && p->ch->given && p->plan->target.is_url_list)
		rc = check_given(c, p->ch, &p->plan->target, e);
	if (rc == 0 && p->plan->target.is_url_list) /* whose digests are known only now */
		rc = cmd_plan_check(c, p->ch->name, &p->plan->target, p->ch->before, p->ch->options, e);
	if (p->ch->install)
		cmd_progress_end(c); /* its lines come now */
	cmd_if_interrupted(c,
			   "nothing changed: '%.*s' %s; its packages are kept, and the same command goes on with them",
			   STR_ARG(p->ch->name), as_it_was(p->ch));
	return rc;
}

static int do_it(struct cmd_context *c, const struct cmd_change *ch, struct cmd_upgrade *u, struct env_plan *plan,
		 const struct env_opts *o, struct env_report *report, struct err *e)
{
	static const struct cmd_install in_one_go = {.activate = true, .commit = true};
	const struct cmd_install *in = ch->install ? ch->install : &in_one_go;
	struct preparation p = {c, ch, plan, o, u};
	const struct upgrade_request q = {
		.verb = UPGRADE_ADD,
		.issu = in->issu,
		.then_activate = in->activate,
		.then_commit = in->commit,
		.plan = plan,
		.prepare = prepare,
		.prepare_ctx = &p,
		.operation = ch->install ? NULL : ch->operation,
		.timer_ms = in->timer_ms,
		.stop_at_deprecated = in->stop_at_deprecated,
		.lays_out_anew = !ch->install,
		.report = report,
		.report_arena = &c->arena,
	};
	u->o.env_opts = *o;
	int rc = cmd_upgrade_run(u, &q, e);
	cmd_progress_end(c);
	if (rc < 0 && e->code != ERR_ROLLED_BACK && e->code != ERR_UNCERTAIN)
		cmd_say(c, "nothing changed: '%.*s' %s", STR_ARG(ch->name), as_it_was(ch));
	return rc;
}

/* The configured channels and those of the command line may have credentials that those of the plan, as locks name them,
 * have not. */
static int know_channels(struct cmd_context *c, const struct cmd_list *named, struct env_opts *o, struct err *e)
{
	struct cmd_channel *configured;
	struct channel ignored;
	size_t n;
	if (cmd_channels_read(c, &configured, &n, e) < 0)
		return -1;
	vec_foreach(name, named)
		if (cmd_channel_parse(c, str_c(*name), &ignored, e) < 0)
			return -1;
	for (size_t i = 0; i < n; i++)
		if (cmd_channel_parse(c, configured[i].name, &ignored, e) < 0)
			return -1;
	o->channels = c->named.v;
	o->channels_n = c->named.n;
	return 0;
}

/* Of a dry run: what would be checked before it is laid out. */
static int check_install(const struct cmd_install *in, struct cmd_upgrade *u, const struct env_plan *plan,
			 struct err *e)
{
	const struct upgrade_request q = {
		.verb = UPGRADE_ADD,
		.issu = in->issu,
		.then_activate = in->activate,
		.then_commit = in->commit,
		.plan = plan,
	};
	u->o.reserve_bytes = u->c->config.reserve_bytes;
	u->o.autostart_elsewhere = u->c->config.autostart_ignored;
	if (cmd_upgrade_checks(u, &q, e) < 0)
		return -1;
	if (in->activate)
		cmd_say(u->c,
			"when it is laid out it is checked by what it says of its own services and versions, and becomes "
			"current%s",
			in->commit ? " and committed" : ", uncommitted");
	return 0;
}

/* What is to be on both members is here: the other one is asked, too. */
static int is_same_there(struct cmd_context *c, const struct cmd_change *ch, struct cmd_upgrade *u, struct err *e)
{
	const struct pair_opts both = {.local = u->o};
	struct pair_status s;
	if (!ch->install || !u->paired)
		return 0;
	if (pair_status(&both, &c->arena, ch->name, &s, e) < 0)
		return -1;
	uint32_t self = s.pair.self, other = 3 - self;
	if (!s.pair.joined)
		return 0;
	if (!s.member[other].reachable)
		return err_new(
			e, ERR_NETWORK,
			"'%.*s' is like that already on member %u; member %u does not answer: %.*s; nothing changed",
			STR_ARG(ch->name), self, other, STR_ARG(s.member[other].why));
	struct str runs = pair_runs_other(&c->arena, &s.member[other], &s.member[self]);
	return runs.n ? err_new(e, ERR_FAILED,
				"'%.*s' is like that already on member %u, but member %u runs %.*s; nothing changed; 'slipway env "
				"export -n %.*s' on member %u and 'slipway apply' on member %u bring it there",
				STR_ARG(ch->name), self, other, STR_ARG(runs), STR_ARG(ch->name), self, other)
		      : 0;
}

/* What is long, ahead of time: nothing but the store has changed. */
static int prepare_alone(struct cmd_context *c, const struct cmd_change *ch, struct cmd_upgrade *u,
			 struct env_plan *plan, struct env_opts *o, struct change_differences *found, struct err *e)
{
	struct preparation p = {c, ch, plan, o, u};
	if (know_channels(c, &ch->options->solve.channels, o, e) < 0 || prepare(&p, e) < 0 ||
	    store_sync(c->store, e) < 0)
		return cmd_fail(c, e);
	cmd_progress_end(c);
	cmd_changed(c);
	cmd_say(c, "all of it is here; nothing that is installed has changed");
	return c->json ? change_answer(c, ch, plan, found, NULL, u) : CMD_OK;
}

static int carry_out(struct cmd_context *c, const struct cmd_change *ch, struct cmd_upgrade *u,
		     struct change_differences *found, struct err *e)
{
	struct env_plan plan;
	struct env_report report = {0};
	struct env_opts o = u->o.env_opts;
	o.progress = &c->progress;
	if (cmd_need_config(c, e) < 0 || parse_options(c, ch->options, &o, e) < 0 ||
	    (c->dry_run ? cmd_need_store_to_read(c, e) : cmd_need_store(c, e)) < 0 ||
	    (!c->offline && cmd_need_transfer(c, e) < 0) ||
	    env_plan(ch->target, ch->before, c->store, &c->arena, &plan, e) < 0 ||
	    (ch->before && ch->options->sync && change_find_differences(c, ch->name, o.sync_delete, found, e) < 0))
		return cmd_fail(c, e);
	if (!c->json && !c->quiet)
		change_show_plan(c, &plan);
	bool same = ch->before && !plan.added_n && !plan.removed_n && !plan.changed_n && !found->found.n &&
		    env_same_settings(ch->before, &plan.target);
	if (same && is_same_there(c, ch, u, e) < 0)
		return cmd_fail(c, e);
	if (ch->before && !plan.added_n && !plan.removed_n && !plan.changed_n)
		cmd_catalogues_say(c);
	if (same)
		cmd_say(c, "'%.*s' is like that already%s: nothing to do", STR_ARG(ch->name),
			ch->install && u->paired ? " on both members" : "");
	if (!same && ch->given && !plan.target.is_url_list && check_given(c, ch, &plan.target, e) < 0)
		return cmd_fail(c, e);
	if (!same && !plan.target.is_url_list &&
	    cmd_plan_check(c, ch->name, &plan.target, ch->before, ch->options, e) < 0)
		return cmd_fail(c, e);
	if (!same && c->dry_run && ch->install && check_install(ch->install, u, &plan, e) < 0)
		return cmd_fail(c, e);
	if (same || c->dry_run)
		return c->json ? change_answer(c, ch, &plan, found, NULL, u) : CMD_OK;
	if (ch->options->prepare_only)
		return prepare_alone(c, ch, u, &plan, &o, found, e);
	if (know_channels(c, &ch->options->solve.channels, &o, e) < 0)
		return cmd_fail(c, e);
	if (ch->before)
		cmd_snapshot_store(c, ch->name, ch->before, MIRROR_SNAPSHOT_BEFORE, ch->operation);
	if (do_it(c, ch, u, &plan, &o, &report, e) < 0)
		return cmd_fail(c, e);
	cmd_snapshot_store(c, ch->name, &plan.target, MIRROR_SNAPSHOT_AFTER, ch->operation);
	change_show_result(c, ch, &report);
	return c->json ? change_answer(c, ch, &plan, found, &report, u) : CMD_OK;
}

int cmd_carry_out(struct cmd_context *c, const struct cmd_change *ch, struct cmd_upgrade *u, struct err *e)
{
	struct change_differences found = {.c = c};
	int code = carry_out(c, ch, u, &found, e);
	vec_release(&found.found);
	return code;
}

int cmd_change_check(struct cmd_context *c, const struct cmd_change_options *options, struct err *e)
{
	struct env_opts ignored;
	return parse_options(c, options, &ignored, e);
}

int cmd_check_platform(struct cmd_context *c, const struct cmd_change_options *options,
		       const struct env_spec_file *file, struct err *e)
{
	if (!file->is_lock || !file->subdir.n || str_eq(file->subdir, STR("noarch")))
		return 0;
	if (cmd_need_config(c, e) < 0)
		return -1;
	struct str here = subdir_here(c, options);
	return str_eq(here, file->subdir)
		       ? 0
		       : err_new(e, ERR_UNSUPPORTED,
				 "these are packages for '%.*s', and here is '%.*s'; to lay them out all the same: "
				 "--subdir %.*s",
				 STR_ARG(file->subdir), STR_ARG(here), STR_ARG(file->subdir));
}
