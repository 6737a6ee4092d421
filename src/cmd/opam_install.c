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
	vec_release(&p->sources);
	vec_release(&p->simulated);
	opam_index_free(p->source);
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

/* What sources define that are only looked at, as a repository, with pins of these versions. */
static int open_sources(struct plan *p, struct err *e)
{
	struct arena *a = arena_of(p);
	struct opam_index_file *v = arena_array(a, struct opam_index_file, p->sources.n + 1);
	for (size_t i = 0; i < p->state.pinned.n; i++)
		vec_push(&p->simulated, p->state.pinned.v[i]);
	for (size_t i = 0; i < p->sources.n; i++) {
		const struct opam_definition *d = &p->sources.v[i];
		auto_buf b = BUF_INIT(PKG_OPAM_FILE_MAX);
		opam_definition_print(a, d, STR_NONE, &b);
		v[i] = (struct opam_index_file){d->name, d->version, arena_str(a, buf_str(&b))};
		vec_push(&p->simulated, str_c(arena_printf(a, "%.*s.%.*s", STR_ARG(d->name), STR_ARG(d->version))));
	}
	return opam_index_of(v, p->sources.n, &p->source, e);
}

static int open_needs(struct plan *p, struct err *e)
{
	if (p->simulate && p->sources.n && open_sources(p, e) < 0)
		return -1;
	const struct channel_needs_opts o = {.variables = p->variables.v,
					     .variables_n = p->variables.n,
					     .pinned = p->source ? p->simulated.v : p->state.pinned.v,
					     .pinned_n = p->source ? p->simulated.n : p->state.pinned.n,
					     .installed = p->state.installed.v,
					     .installed_n = p->state.installed.n,
					     .asked = p->names.v,
					     .asked_n = p->names.n,
					     .with_test = p->w->with_test,
					     .with_doc = p->w->with_doc,
					     .ask_system = p->system.depexts ? build_depexts_has : NULL,
					     .system_ctx = p->system.depexts};
	struct opam_index **v = arena_array(arena_of(p), struct opam_index *, p->x->repos_n + 1);
	size_t n = 0;
	if (p->source)
		v[n++] = p->source;
	for (size_t i = 0; i < p->x->repos_n; i++)
		v[n++] = p->x->repos[i].index;
	return channel_needs_open_opam(v, n, &o, &p->needs, e);
}

static int open_all(struct plan *p)
{
	struct err e = ERR_INIT;
	return p->needs || (open_repos(p, &e) == 0 && open_needs(p, &e) == 0) ? OPAM_OK : opam_as_fail(p->x, &e);
}

/* The names in "dune.3.0" or "dune>=3". */
static int read_words(struct plan *p)
{
	struct err e = ERR_INIT;
	const struct wanted *w = p->w;
	for (size_t i = 0; i < w->words.n; i++) {
		const struct pkg_need *need;
		if (opam_is_source(w->words.v[i]) && w->act == INSTALL) {
			bool simulate = w->show || w->dry_run || w->deps_only || w->check || w->system.depext_only;
			size_t first = p->sources.n;
			int code = opam_as_pin_all(p->x, w->words.v[i], simulate, &p->sources);
			if (code != OPAM_OK)
				return code;
			for (size_t k = first; k < p->sources.n; k++) {
				vec_push(&p->asked, p->sources.v[k].name);
				vec_push(&p->names, p->sources.v[k].name);
			}
			if (simulate)
				p->simulate = true;
			continue;
		}
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
					    .asked_n = asked->n,
					    .names = p->names.v,
					    .names_n = p->names.n,
					    .upgrade = p->w->act == UPGRADE && p->everything,
					    .best_effort = p->w->best_effort,
					    .oldest = oldest,
					    .keep = keep,
					    .invariant = &invariant,
					    .invariant_n = invariant.n > 0,
					    .depth_first = str_eq(solver, STR("builtin-0install"))};
	int rc = opam_plan(&r, arena_of(p), &p->actions, &p->actions_n, &why, &why_n, &e);
	if (rc < 0)
		return opam_as_fail(p->x, &e);
	return rc == 0		   ? OPAM_OK
	       : rc == 2	   ? opam_as_circles(p->x, why, why_n)
	       : p->system.missing ? opam_system_no_solution(&p->system)
				   : opam_as_no_solution(p->x, p->w->act == UPGRADE, why, why_n);
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

/* Whether what is installed is what a word asks for. A name that is pinned asks for that version. */
static bool is_met(const struct plan *p, size_t i)
{
	struct str name = p->names.v[i], now = env_opam_version_in(&p->state.installed, name);
	struct str pinned = env_opam_version_in(&p->state.pinned, name);
	const struct pkg_need *need;
	auto_arena a = ARENA_INIT;
	struct err ignored = ERR_INIT; /* read_words took it */
	if (!now.p || pkg_opam_spec_parse(&a, p->asked.v[i], &need, &ignored) < 0)
		return false;
	if (!need->range && pinned.p)
		return str_eq(now, pinned);
	return pkg_range_has(need->range, now, pkg_opam_version_cmp);
}

/* What is there already is said; how much is not. */
static size_t tell_installed(struct plan *p)
{
	size_t missing = 0;
	for (size_t i = p->names.n; i-- > 0;) { /* as opam does: the last first */
		struct str version = env_opam_version_in(&p->state.installed, p->names.v[i]);
		if (!is_met(p, i))
			missing++;
		else if (!p->w->deps_only && !p->w->check)
			opam_as_note(p->x, "NOTE", "Package %.*s is already installed (current version is %.*s).",
				     STR_ARG(p->names.v[i]), STR_ARG(version));
	}
	return missing;
}

/* == the commands =========================================================================================================== */

/* Each word that asks for what is not to be had is told. */
static int refuse_words(struct plan *p, struct str (*refuses)(struct channel_needs *needs, struct str asked,
							      struct str name, struct arena *a))
{
	int code = OPAM_OK;
	for (size_t i = 0; i < p->asked.n; i++) {
		struct str no = refuses(p->needs, p->asked.v[i], p->names.v[i], arena_of(p));
		if (!no.p)
			continue;
		code = opam_system_check(&p->system, p->needs, &p->asked.v[i], 1); /* says it where that is why */
		if (code == OPAM_OK)
			code = opam_as_say(p->x, OPAM_NOT_FOUND, "%.*s", STR_ARG(no));
	}
	return code;
}

static int plan_found(struct plan *p, const struct str_vec *asked)
{
	struct err e = ERR_INIT;
	int code = find_solution(p, asked, wants_oldest("OPAMCRITERIA"), false);
	if (code != OPAM_OK)
		return code;
	if (p->w->deps_only)
		opam_install_leave_out_asked(p);
	if (opam_install_packages(p, &e) < 0 || opam_as_check_repos(p->x, &e) < 0)
		return opam_as_fail(p->x, &e);
	if (p->packages.n && !p->w->system.depext_only && !p->w->check)
		opam_install_show_actions(p);
	return OPAM_OK;
}

static int check_installed(struct plan *p)
{
	int code = open_all(p);
	if (code == OPAM_OK)
		code = refuse_words(p, opam_plan_unknown);
	return code == OPAM_OK ? opam_install_check(p) : code;
}

static int plan_install(struct plan *p)
{
	int code = open_all(p);
	if (code == OPAM_OK)
		code = refuse_words(p, opam_plan_unknown);
	if (code != OPAM_OK)
		return code;
	p->found = tell_installed(p) > 0;
	for (size_t i = 0; i < p->names.n; i++) {
		struct str name = p->names.v[i], pinned = env_opam_version_in(&p->state.pinned, name);
		if (pinned.p && str_eq(name, p->asked.v[i]))
			p->asked.v[i] = str_c(arena_printf(arena_of(p), "%.*s=%.*s", STR_ARG(name), STR_ARG(pinned)));
	}
	code = p->w->deps_only ? OPAM_OK : refuse_words(p, opam_plan_unavailable);
	return code == OPAM_OK && p->found ? plan_found(p, &p->asked) : code;
}

/* What a formula asks for, and none of what is installed and stays meets. */
struct broken {
	struct plan *p;
	const struct map *gone;
	const struct pkg_need *formula;
};

static int find_broken(void *ctx, const struct channel_need *need, struct err *e)
{
	struct broken *b = ctx;
	(void)e;
	for (size_t i = 0; i < need->one.n; i++) {
		const struct channel_candidate *c = channel_needs_candidate(b->p->needs, need->one.v[i]);
		if (c->installed && !map_get(b->gone, c->name))
			return 0;
	}
	if (need->kind == CHANNEL_NEED && !b->formula)
		b->formula = need->formula;
	return 0;
}

/* The invariant must hold without what goes. */
static int keep_invariant(struct plan *p)
{
	struct map gone = MAP_INIT;
	struct err e = ERR_INIT;
	struct str text;
	if (opam_as_invariant(p->x, arena_of(p), &text, &e) < 0)
		return opam_as_fail(p->x, &e);
	int code = text.n && p->packages.n ? open_all(p) : OPAM_OK;
	vec_foreach(b, &p->packages)
		if (!b->install)
			*map_put(&gone, b->name) = 1;
	struct broken b = {.p = p, .gone = &gone};
	if (gone.n && text.n && code == OPAM_OK && channel_needs_ask(p->needs, text, find_broken, &b, &e) < 0)
		code = opam_as_fail(p->x, &e);
	map_release(&gone);
	if (!b.formula)
		return code;
	auto_buf words = BUF_INIT(1 << 16);
	opam_plan_formula(b.formula, &words);
	opam_as_put(
		p->x,
		"  * Incompatible packages:\n    - (invariant) -> %s\n    - (request)\n    You can temporarily relax "
		"the switch invariant with `--update-invariant'\n\nNo solution found, exiting\n",
		words.p);
	return OPAM_NO_SOLUTION;
}

/* "x and y", as they were asked for; of what is not installed. How many. */
static size_t list_missing(struct plan *p, struct buf *b)
{
	size_t missing = 0, said = 0;
	for (size_t i = 0; i < p->names.n; i++)
		missing += !is_installed(p, p->names.v[i]);
	for (size_t i = 0; i < p->names.n; i++)
		if (!is_installed(p, p->names.v[i])) {
			buf_put_c(b, !said ? "" : said + 1 == missing ? " and " : ", ");
			buf_put_str(b, p->asked.v[i]);
			said++;
		}
	return missing;
}

static bool agree_to_install(struct plan *p)
{
	auto_buf b = BUF_INIT(1 << 20);
	size_t missing = list_missing(p, &b);
	return !missing || opam_as_confirm(p->x, true, "%s %s not installed. Install %s?", b.p,
					   missing == 1 ? "is" : "are", missing == 1 ? "it" : "them");
}

static int plan_removal(struct plan *p)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	size_t kept = 0, missing = list_missing(p, &b);
	int code = missing ? open_all(p) : OPAM_OK; /* whether there is such a thing at all */
	if (code == OPAM_OK && missing)
		code = refuse_words(p, opam_plan_unavailable);
	if (code != OPAM_OK)
		return code;
	if (missing)
		opam_as_note(p->x, "NOTE", "%s %s not installed.\n", b.p, missing == 1 ? "is" : "are");
	for (size_t i = 0; i < p->names.n; i++)
		if (is_installed(p, p->names.v[i]))
			p->names.v[kept++] = p->names.v[i];
	p->names.n = kept;
	if ((p->w->act != REMOVE && open_repos(p, &e) < 0) || opam_install_users(p, &e) < 0)
		return opam_as_fail(p->x, &e);
	code = p->w->act == REMOVE ? keep_invariant(p) : OPAM_OK;
	if (p->packages.n && code == OPAM_OK)
		opam_install_show_removals(p);
	return code;
}

/* What has to be there besides, for tests or by other criteria, and then all that plan_removal has of a reinstallation. */
static int plan_anew(struct plan *p, bool oldest)
{
	struct err e = ERR_INIT;
	struct str_vec asked = {0};
	size_t n = p->state.installed.n, names = p->names.n;
	struct env_opam_member *v;
	int opened = open_all(p);
	if (opened != OPAM_OK || opam_install_members(p, &v, &e) < 0)
		return opened != OPAM_OK ? opened : opam_as_fail(p->x, &e);
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
	for (size_t i = 0; i < p->names.n; i++)
		missing += !is_installed(p, p->names.v[i]);
	int code = missing ? open_all(p) : OPAM_OK;
	if (code == OPAM_OK && missing)
		code = refuse_words(p, opam_plan_unavailable);
	if (code == OPAM_OK && !agree_to_install(p))
		code = OPAM_ABORTED;
	if (code != OPAM_OK || missing)
		return code != OPAM_OK ? code : missing == p->names.n ? plan_install(p) : plan_anew(p, false);
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

/* Nothing was found to upgrade: what might have been. */
static void tell_up_to_date(struct plan *p)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct str_vec base = {0};
	for (size_t i = 0; i < p->state.compiler.n; i++) {
		struct str name, version;
		if (env_opam_split(p->state.compiler.v[i], &name, &version))
			vec_push(&base, name);
	}
	opam_plan_up_to_date(p->needs, p->everything ? NULL : p->names.v, p->everything ? 0 : p->names.n, base.v,
			     base.n, true, p->x->verbosity > 0, &b);
	opam_as_put(p->x, "%s", b.p);
	vec_release(&base);
}

/* All that is installed, or what is named of it: each newer than it is, if that can be. */
static int plan_upgrade(struct plan *p)
{
	struct str_vec asked = {0};
	int code = open_all(p);
	if (code == OPAM_OK)
		code = refuse_words(p, opam_plan_unavailable);
	if (code != OPAM_OK)
		return code;
	bool wanted = agree_to_install(p);
	p->everything = p->w->words.n == 0 || p->w->all;
	for (size_t i = 0; i < p->names.n; i++) {
		struct str name = p->names.v[i], now = env_opam_version_in(&p->state.installed, name);
		bool pinned = env_opam_version_in(&p->state.pinned, name).p;
		if (now.p && str_eq(name, p->asked.v[i]))
			vec_push(&asked, opam_plan_newer(p->needs, name, now, !pinned && !p->w->all, arena_of(p)));
		else if (now.p || wanted)
			vec_push(&asked, p->asked.v[i]);
	}
	for (size_t i = 0; i < p->state.installed.n && p->everything; i++) {
		struct str name, version;
		if (env_opam_split(p->state.installed.v[i], &name, &version) && !is_asked(p, name))
			vec_push(&asked, opam_plan_newer(p->needs, name, version, false, arena_of(p)));
	}
	p->found = true;
	code = plan_found(p, &asked);
	vec_release(&asked);
	if (code == OPAM_OK && p->packages.n == 0 && !p->w->check)
		tell_up_to_date(p);
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
	if (p->w->words.n && p->names.n == 0) { /* sources that define nothing */
		opam_as_put(p->x, "Nothing to do\n");
		return opam_install_answer(p, NULL);
	}
	if (read_switch(p, &e) < 0)
		return opam_as_fail(p->x, &e);
	if (p->w->restore)
		ask_for_lost(p);
	if (p->w->restore && p->names.n == 0)
		return opam_install_answer(p, NULL);
	code = open_system(p);
	if (code != OPAM_OK)
		return code;
	if (p->w->check && p->w->act == INSTALL)
		return check_installed(p);
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
	if (p->w->check && p->w->act == UPGRADE && code == OPAM_OK)
		return p->packages.n ? OPAM_OK : OPAM_FALSE;
	if (code != OPAM_OK)
		return code;
	if (p->packages.n == 0) {
		if (p->w->act != INSTALL || p->found)
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
		{0, "best-effort", CMD_FLAG, &w.best_effort},
		{0, "build-anew", CMD_FLAG, &w.anew},
		{0, "kept", CMD_TEXT, &w.kept},
		{'b', "keep-build-dir", CMD_FLAG, &w.keep},
		{'j', "jobs", CMD_NUMBER, &w.jobs},
		{0, "download-jobs", CMD_NUMBER, &w.download_jobs},
		{0, "ignore-pin-depends", CMD_FLAG, &x->ignore_pin_depends},
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
	if (w.words.n == 0 && what == INSTALL && !w.restore)
		return opam_as_usage(x, "required argument PACKAGES is missing");
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
	struct opam_as x = {.c = c, .command = name, .by_noun = true};
	return opam_as_end(&x, command(&x, argc, argv));
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
