// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: install, reinstall, remove, upgrade: what is asked for, the plan, consent. */
#include "cmd/opam_install.h"

#include <stdlib.h>

static void plan_release(struct plan *p)
{
	opam_system_close(&p->system);
	channel_needs_free(p->needs);
	vec_release(&p->asked);
	vec_release(&p->names);
	vec_release(&p->mirrors);
	vec_release(&p->packages);
	if (p->vars)
		env_opam_vars_free(p->vars);
}

/* == reading ============================================================================================================= */

/* A repository in git or a folder has its mirrors, where they are relative, beside it. */
static void add_mirrors(struct plan *p, const struct opam_as_repo *r)
{
	struct str base = r->url;
	(void)(str_take_str(&base, STR("git+")) || str_take_str(&base, STR("file://")));
	struct pkg_opam_strs more = opam_index_mirrors(r->index, base, arena_of(p));
	for (size_t i = 0; i < more.n; i++)
		vec_push(&p->mirrors, more.v[i]);
}

static int read_switch(struct plan *p, struct err *e)
{
	struct opam_as *x = p->x;
	struct arena *a = arena_of(p);
	if (env_opam_config_read(x->o, a, &p->config, e) < 0 || env_opam_state_read(x->s, a, &p->state, e) < 0 ||
	    env_opam_repos(x->o, a, &p->repo, &p->repo_n, e) < 0 || env_opam_vars_new(x->o, x->s, a, &p->vars, e) < 0)
		return -1;
	p->files = arena_printf(a, "%s/.opam-switch/slipway-files", env_opam_prefix(x->s));
	struct pkg_opam_host h = env_opam_host(p->vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	p->variables = env_opam_host_variables(&h, a);
	return 0;
}

/* What removes alone asks no repository. */
static int open_repos(struct plan *p, struct err *e)
{
	if (opam_as_open_repos(p->x, e) < 0)
		return -1;
	for (size_t i = 0; i < p->x->repos_n; i++)
		add_mirrors(p, &p->x->repos[i]);
	return 0;
}

static int open_system(struct plan *p)
{
	struct err e = ERR_INIT;
	struct pkg_opam_doc d;
	if (env_opam_switch_config(p->x->s, arena_of(p), &d, &e) < 0)
		return opam_as_fail(p->x, &e);
	if (p->w->act == REMOVE)
		return OPAM_OK;
	int code = opam_system_open(&p->system, p->x, &p->w->system, &p->config.doc, &d, p->vars);
	if (code == OPAM_OK && opam_system_changed(&p->system, p->vars, &p->state, &e) < 0)
		return opam_as_fail(p->x, &e);
	return code;
}

/* == planning ============================================================================================================ */

static bool is_installed(const struct plan *p, struct str name)
{
	return env_opam_version_in(&p->state.installed, name).p != NULL;
}

static int open_needs(struct plan *p, struct err *e)
{
	const struct channel_needs_opts o = {.variables = p->variables.v,
					     .variables_n = p->variables.n,
					     .pinned = p->state.pinned.v,
					     .pinned_n = p->state.pinned.n,
					     .installed = p->state.installed.v,
					     .installed_n = p->state.installed.n,
					     .asked = p->names.v,
					     .asked_n = p->names.n,
					     .with_test = p->w->with_test,
					     .with_doc = p->w->with_doc,
					     .ask_system = p->system.depexts ? build_depexts_has : NULL,
					     .system_ctx = p->system.depexts};
	struct opam_index **v = arena_array(arena_of(p), struct opam_index *, p->x->repos_n);
	for (size_t i = 0; i < p->x->repos_n; i++)
		v[i] = p->x->repos[i].index;
	return channel_needs_open_opam(v, p->x->repos_n, &o, &p->needs, e);
}

static bool is_known(const struct plan *p, struct str name)
{
	struct oi_name id;
	for (size_t i = 0; i < p->x->repos_n; i++)
		if (opam_index_find_name(p->x->repos[i].index, name, &id))
			return true;
	return env_opam_version_in(&p->state.installed, name).p != NULL;
}

/* The names in "dune.3.0" or "dune>=3". */
static int read_words(struct plan *p)
{
	struct err e = ERR_INIT;
	for (size_t i = 0; i < p->w->words.n; i++) {
		const struct pkg_need *need;
		if (pkg_opam_spec_parse(arena_of(p), str_c(p->w->words.v[i]), &need, &e) < 0)
			return opam_as_say(p->x, OPAM_USAGE, "%s", e.msg);
		vec_push(&p->asked, str_c(p->w->words.v[i]));
		vec_push(&p->names, need->name);
	}
	return OPAM_OK;
}

/* --restore */
static void ask_for_lost(struct plan *p)
{
	struct pkg_opam_strs lost = opam_install_lost(arena_of(p), &p->state);
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < lost.n; i++) {
		struct str name, version;
		(void)env_opam_split(lost.v[i], &name, &version);
		buf_printf(&b, "%s%.*s", i ? ", " : "", STR_ARG(name));
		if (!is_asked(p, name)) {
			vec_push(&p->asked, lost.v[i]);
			vec_push(&p->names, name);
		}
	}
	if (lost.n)
		opam_as_put(p->x, "Packages to be restored: { %s }\n", b.p);
	else
		opam_as_put(p->x, "No packages to restore found\n");
}

/* opam's CI asks for lower bounds so; of a reinstallation the criteria for fixing up count. */
static bool wants_oldest(const char *variable)
{
	const char *said = getenv(variable);
	return said && strstr(said, "+count[version-lag,solution]");
}

static int find_solution_once(struct plan *p, const struct str_vec *asked, bool oldest, bool keep)
{
	struct str invariant;
	struct err e = ERR_INIT;
	const struct str *why = NULL;
	size_t why_n = 0;
	struct str solver = pkg_opam_text(pkg_opam_get(&p->config.doc, "solver"));
	if (opam_as_invariant(p->x, arena_of(p), &invariant, &e) < 0)
		return opam_as_fail(p->x, &e);
	const struct opam_plan_request r = {.needs = p->needs,
					    .asked = asked->v,
					    .names = p->names.v,
					    .asked_n = asked->n,
					    .oldest = oldest,
					    .keep = keep,
					    .invariant = &invariant,
					    .invariant_n = invariant.n > 0,
					    .depth_first = str_eq(solver, STR("builtin-0install"))};
	int rc = opam_plan(&r, arena_of(p), &p->actions, &p->actions_n, &why, &why_n, &e);
	if (rc < 0)
		return opam_as_fail(p->x, &e);
	return rc == 0		   ? OPAM_OK
	       : p->system.missing ? opam_system_no_solution(&p->system)
				   : opam_as_no_solution(p->x, why, why_n);
}

/* The system is asked what it offers when a plan wants some of it; where it does not, another plan is looked for. */
static int find_solution(struct plan *p, const struct str_vec *asked, bool oldest, bool keep)
{
	struct opam_system *s = &p->system;
	for (int turn = 0;; turn++) {
		struct err e = ERR_INIT;
		int code = opam_system_check(s, p->needs, asked->v, asked->n);
		if (code == OPAM_OK)
			code = find_solution_once(p, asked, oldest, keep);
		if (code != OPAM_OK || !opam_system_is_lacking(p->needs, p->actions, p->actions_n))
			return code;
		int rc = opam_system_look(s, &e);
		if (rc == 0 && turn < SYSTEM_TURNS)
			return OPAM_OK;
		if (rc > 0 && turn == SYSTEM_TURNS)
			rc = err_new(&e, ERR_LIMIT, "after %d plans there are still system packages that nobody offers",
				     turn);
		if (rc < 0)
			return opam_as_fail(p->x, &e);
		opam_system_note(s, p->needs, p->actions, p->actions_n);
		channel_needs_system_changed(p->needs);
	}
}

/* What is there already is said, and not asked for any more. */
static void tell_installed(struct plan *p)
{
	if (p->w->act == UPGRADE)
		return;
	for (size_t i = 0; i < p->names.n; i++) {
		struct str version = env_opam_version_in(&p->state.installed, p->names.v[i]);
		bool changes = false;
		for (size_t k = 0; k < p->actions_n; k++)
			changes = changes || str_eq(p->actions[k].name, p->names.v[i]);
		if (version.p && !changes)
			opam_as_note(p->x, "NOTE", "Package %.*s is already installed (current version is %.*s).",
				     STR_ARG(p->names.v[i]), STR_ARG(version));
	}
}

/* == the commands =========================================================================================================== */

static int plan_install(struct plan *p)
{
	struct err e = ERR_INIT;
	if (open_repos(p, &e) < 0 || open_needs(p, &e) < 0)
		return opam_as_fail(p->x, &e);
	for (size_t i = 0; i < p->names.n; i++) {
		struct str no = opam_plan_refuses(p->needs, p->asked.v[i], p->names.v[i], arena_of(p));
		if (no.p && p->w->act == UPGRADE && !is_known(p, p->names.v[i]))
			return opam_as_say(p->x, OPAM_NOT_FOUND, "%.*s unknown package", STR_ARG(p->names.v[i]));
		int refused = no.p ? opam_system_check(&p->system, p->needs, &p->asked.v[i], 1) : OPAM_OK;
		if (no.p)
			return refused ? refused : opam_as_say(p->x, OPAM_NOT_FOUND, "%.*s", STR_ARG(no));
	}
	int code = find_solution(p, &p->asked, wants_oldest("OPAMCRITERIA"), false);
	if (code != OPAM_OK)
		return code;
	tell_installed(p);
	if (p->w->deps_only)
		opam_install_leave_out_asked(p);
	if (opam_install_packages(p, &e) < 0 || opam_as_check_repos(p->x, &e) < 0)
		return opam_as_fail(p->x, &e);
	if (p->packages.n && !p->w->system.depext_only)
		opam_install_show_actions(p);
	return OPAM_OK;
}

static int plan_removal(struct plan *p)
{
	struct err e = ERR_INIT;
	size_t kept = 0;
	for (size_t i = 0; i < p->names.n; i++)
		if (is_installed(p, p->names.v[i]))
			p->names.v[kept++] = p->names.v[i];
		else
			opam_as_note(p->x, "NOTE", "%.*s is not installed.", STR_ARG(p->names.v[i]));
	p->names.n = kept;
	if ((p->w->act != REMOVE && open_repos(p, &e) < 0) || opam_install_users(p, &e) < 0)
		return opam_as_fail(p->x, &e);
	if (p->packages.n)
		opam_install_show_removals(p);
	return OPAM_OK;
}

/* What has to be there besides, for tests or by other criteria, and then all that plan_removal has of a reinstallation. */
static int plan_anew(struct plan *p, bool oldest)
{
	struct err e = ERR_INIT;
	struct str_vec asked = {0};
	size_t n = p->state.installed.n, names = p->names.n;
	struct env_opam_member *v;
	if (opam_install_members(p, &v, &e) < 0 || open_repos(p, &e) < 0 || open_needs(p, &e) < 0)
		return opam_as_fail(p->x, &e);
	opam_install_ask_as_installed(p, v, n, oldest, &asked);
	int code = find_solution(p, &asked, oldest, !oldest);
	p->names.n = names;
	vec_release(&asked);
	if (code != OPAM_OK)
		return code;
	opam_install_add_recompiles(p, v, n);
	if (opam_install_packages(p, &e) < 0 || opam_as_check_repos(p->x, &e) < 0)
		return opam_as_fail(p->x, &e);
	opam_install_show_actions(p);
	return OPAM_OK;
}

/* reinstall of what is not installed is an install, if that is wanted. */
static int plan_reinstall(struct plan *p)
{
	size_t missing = 0;
	for (size_t i = 0; i < p->names.n; i++) {
		if (is_installed(p, p->names.v[i]))
			continue;
		missing++;
		if (!opam_as_confirm(p->x, true, "%.*s is not installed. Install it?", STR_ARG(p->asked.v[i])))
			return OPAM_ABORTED;
	}
	if (missing)
		return plan_install(p);
	bool oldest = wants_oldest("OPAMFIXUPCRITERIA");
	return oldest || p->w->with_test || p->w->with_doc ? plan_anew(p, oldest) : plan_removal(p);
}

/* What was asked for and is installed from sources that have changed since: only that is asked for then. */
static bool changed_pins(struct plan *p)
{
	size_t n = 0;
	for (size_t i = 0; i < p->names.n; i++)
		if (is_installed(p, p->names.v[i]) && opam_as_pin_changed(p->x, p->names.v[i])) {
			p->names.v[n] = p->names.v[i];
			p->asked.v[n++] = p->names.v[i];
		}
	if (n)
		p->names.n = p->asked.n = n;
	return n > 0;
}

/* All that is installed, or what is named of it. */
static int plan_upgrade(struct plan *p)
{
	for (size_t i = 0; i < p->names.n; i++)
		if (!is_installed(p, p->names.v[i]) &&
		    !opam_as_confirm(p->x, true, "%.*s is not installed. Install it?", STR_ARG(p->asked.v[i])))
			return OPAM_ABORTED;
	for (size_t i = 0; i < p->state.installed.n && (p->w->words.n == 0 || p->w->all); i++) {
		struct str name, version;
		if (!env_opam_split(p->state.installed.v[i], &name, &version) || is_asked(p, name))
			continue;
		vec_push(&p->names, name);
		vec_push(&p->asked, name);
	}
	p->everything = p->w->words.n == 0;
	int code = plan_install(p);
	if (code == OPAM_OK && p->packages.n == 0)
		opam_as_put(p->x, "Already up-to-date.\n");
	return code;
}

static bool is_consent_needed(const struct plan *p)
{
	for (size_t i = 0; i < p->packages.n; i++)
		if (!is_asked(p, p->packages.v[i].name) || (p->packages.v[i].remove && p->w->act == INSTALL))
			return true;
	return false;
}

static int act(struct plan *p)
{
	struct err e = ERR_INIT;
	int code = opam_as_hold_switch(p->x);
	if (code == OPAM_OK)
		code = read_words(p);
	if (code != OPAM_OK)
		return code;
	if (read_switch(p, &e) < 0)
		return opam_as_fail(p->x, &e);
	if (p->w->restore)
		ask_for_lost(p);
	if (p->w->restore && p->names.n == 0)
		return opam_install_answer(p, NULL);
	code = open_system(p);
	if (code != OPAM_OK)
		return code;
	switch (p->w->act) {
	case INSTALL:
		code = changed_pins(p) ? plan_reinstall(p) : plan_install(p);
		break;
	case REINSTALL:
		code = plan_reinstall(p);
		break;
	case REMOVE:
		code = plan_removal(p);
		break;
	case UPGRADE:
		code = plan_upgrade(p);
		break;
	}
	if (p->w->check && code == OPAM_OK)
		return p->packages.n ? OPAM_OK : OPAM_FALSE;
	if (code != OPAM_OK)
		return code;
	if (p->packages.n == 0) {
		if (p->w->act != INSTALL)
			opam_as_put(p->x, "Nothing to do.\n");
		return opam_install_answer(p, NULL);
	}
	opam_system_find(&p->system, p->vars, p->packages.v, p->packages.n);
	if (p->w->show)
		return opam_install_answer(p, NULL);
	bool build = !p->w->dry_run && !p->w->system.depext_only;
	if (build && is_consent_needed(p) && !p->x->yes && !opam_as_confirm(p->x, true, "Do you want to continue?"))
		return OPAM_ABORTED;
	code = opam_system_first(&p->system);
	return code != OPAM_OK ? code : build ? opam_install_build(p) : opam_install_answer(p, NULL);
}

static int run(struct opam_as *x, enum act what, int argc, char **argv)
{
	struct wanted w = {.act = what};
	int code;
	const struct cmd_option own[] = {
		{'t', "with-test", CMD_FLAG, &w.with_test},
		{0, "build-test", CMD_FLAG, &w.with_test},
		{'d', "with-doc", CMD_FLAG, &w.with_doc},
		{0, "show-actions", CMD_FLAG, &w.show},
		{0, "show", CMD_FLAG, &w.show},
		{0, "dry-run", CMD_FLAG, &w.dry_run},
		{0, "deps-only", CMD_FLAG, &w.deps_only},
		{0, "check", CMD_FLAG, &w.check},
		{0, "restore", CMD_FLAG, &w.restore},
		{'a', "all", CMD_FLAG, &w.all},
		{0, "build-anew", CMD_FLAG, &w.anew},
		{0, "kept", CMD_TEXT, &w.kept},
		{'b', "keep-build-dir", CMD_FLAG, &w.keep},
		{'j', "jobs", CMD_NUMBER, &w.jobs},
		{0, "download-jobs", CMD_NUMBER, &w.download_jobs},
		{0, "no-depexts", CMD_FLAG, &w.system.no_depexts},
		{0, "assume-depexts", CMD_FLAG, &w.system.assume_depexts},
		{0, "depext-only", CMD_FLAG, &w.system.depext_only},
		{0, "disable-sandboxing", CMD_FLAG, &w.no_sandbox},
		{0, "memory-limit", CMD_NUMBER, &w.memory_mb},
		{0, "time-limit", CMD_NUMBER, &w.time_s},
		{0, NULL, CMD_FLAG, NULL},
	};
	if (!opam_as_parse(x, own, argc, argv, &w.words, &code))
		return code;
	if (w.restore && what != INSTALL)
		return opam_as_say(x, OPAM_USAGE, "--restore is for install");
	if (w.words.n == 0 && what != UPGRADE && !w.restore)
		return opam_as_say(x, OPAM_USAGE, "no package is named");
	w.dry_run = w.system.dry_run = w.dry_run || x->c->dry_run;
	cleanup_with(plan_release) struct plan p = {.x = x, .w = &w, .system = {.x = x}};
	code = act(&p);
	vec_release(&w.words);
	return code;
}

int opam_as_install(struct opam_as *x, int argc, char **argv)
{
	return run(x, INSTALL, argc, argv);
}
int opam_as_reinstall(struct opam_as *x, int argc, char **argv)
{
	return run(x, REINSTALL, argc, argv);
}
int opam_as_upgrade(struct opam_as *x, int argc, char **argv)
{
	return run(x, UPGRADE, argc, argv);
}
int opam_as_remove(struct opam_as *x, int argc, char **argv)
{
	return run(x, REMOVE, argc, argv);
}

/* -- by the program's own name ------------------------------------------------------------------------------------------- */

static int as_opam(struct cmd_context *c, int (*command)(struct opam_as *x, int argc, char **argv), const char *name,
		   int argc, char **argv)
{
	struct opam_as x = {.c = c, .command = name};
	int code = command(&x, argc, argv);
	opam_as_close_repos(&x);
	env_opam_switch_free(x.s);
	env_opam_free(x.o);
	return code;
}

int cmd_opam_install(struct cmd_context *c, int argc, char **argv)
{
	return as_opam(c, opam_as_install, "install", argc, argv);
}
int cmd_opam_reinstall(struct cmd_context *c, int argc, char **argv)
{
	return as_opam(c, opam_as_reinstall, "reinstall", argc, argv);
}
int cmd_opam_remove(struct cmd_context *c, int argc, char **argv)
{
	return as_opam(c, opam_as_remove, "remove", argc, argv);
}
