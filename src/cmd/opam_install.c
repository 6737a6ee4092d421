// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: install, reinstall, remove: plan, consent, and what build_opam does of it, in opam's words. */
#include "cmd/opam_install.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/map.h"
#include "build/build.h"
#include "cmd/opam_as.h"
#include "cmd/opam_plan.h"
#include "cmd/opam_repos.h"
#include "cmd/opam_system.h"

static void plan_release(struct plan *p)
{
	opam_system_close(&p->system);
	channel_needs_free(p->needs);
	vec_release(&p->asked);
	vec_release(&p->names);
	vec_release(&p->variables);
	vec_release(&p->mirrors);
	vec_release(&p->packages);
	if (p->vars)
		env_opam_vars_free(p->vars);
}

/* == reading ============================================================================================================= */

/* archive-mirrors of a repository: absolute URLs, or relative to it. */
static void add_mirrors(struct plan *p, const struct opam_as_repo *r)
{
	struct pkg_opam_doc d;
	struct err ignored = ERR_INIT; /* a repository without such a file has none */
	struct str base = r->url;
	(void)(str_take_str(&base, STR("git+")) || str_take_str(&base, STR("file://")));
	pkg_opam_read(arena_of(p), opam_index_info(r->index).repo, "repo", &d, &ignored);
	for (const struct pkg_opam_value *v = pkg_opam_first(pkg_opam_get(&d, "archive-mirrors")); v; v = v->next) {
		struct str url = pkg_opam_text(v);
		if (url.n == 0)
			continue;
		bool whole = str_search(url, STR("://")) >= 0 || url.p[0] == '/';
		vec_push(&p->mirrors,
			 whole ? url : str_c(arena_printf(arena_of(p), "%.*s/%.*s", STR_ARG(base), STR_ARG(url))));
	}
}

/* What decides which packages there are: the host's variables, as the switch has them. */
static void read_variables(struct plan *p)
{
	static const char *const names[] = {"arch",
					    "os",
					    "os-distribution",
					    "os-family",
					    "os-version",
					    "opam-version",
					    "sys-ocaml-version",
					    "sys-ocaml-arch",
					    "sys-ocaml-cc",
					    "sys-ocaml-libc",
					    "sys-ocaml-system"};
	struct pkg_opam_host h = env_opam_host(p->vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct str value;
		if (h.variable(h.ctx, str_c(names[i]), &value))
			vec_push(&p->variables, str_c(arena_printf(arena_of(p), "%s=%.*s", names[i], STR_ARG(value))));
	}
}

static int read_switch(struct plan *p, struct err *e)
{
	struct opam_as *x = p->x;
	struct arena *a = arena_of(p);
	if (env_opam_config_read(x->o, a, &p->config, e) < 0 || env_opam_state_read(x->s, a, &p->state, e) < 0 ||
	    env_opam_repos(x->o, a, &p->repo, &p->repo_n, e) < 0 || env_opam_vars_new(x->o, x->s, a, &p->vars, e) < 0)
		return -1;
	p->files = arena_printf(a, "%s/.opam-switch/slipway-files", env_opam_prefix(x->s));
	read_variables(p);
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

/* The opam file of a repository, and where its extra files lie, or will. */
static int find_opam(struct plan *p, const char *nv, struct build_opam_package *ret, struct str *ret_text,
		     struct err *e)
{
	const struct opam_as_repo *r;
	struct oi_pkg id;
	if (!opam_as_find(p->x, ret->name, ret->version, &r, &id))
		return err_new(e, ERR_NOT_FOUND, "no opam file of '%s' in the repositories", nv);
	struct opam_index_pkg about = opam_index_pkg(r->index, id);
	ret->files = r->dir ? arena_printf(arena_of(p), "%s/%.*s/%s/files", r->dir, STR_ARG(about.folder), nv)
			    : arena_printf(arena_of(p), "%s/%s", p->files, nv);
	return opam_index_text(r->index, id, arena_of(p), ret_text, e);
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

/* Text of an opam file: installed, or the repository's. */
static int read_opam(struct plan *p, struct str name, struct str version, bool installed,
		     struct build_opam_package *ret, struct err *e)
{
	struct arena *a = arena_of(p);
	struct pkg_opam_doc *d = arena_new(a, struct pkg_opam_doc);
	struct pkg_opam *opam = arena_new(a, struct pkg_opam);
	const char *nv = arena_printf(a, "%.*s.%.*s", STR_ARG(name), STR_ARG(version));
	struct err why = ERR_INIT;
	ret->name = name;
	ret->version = version;
	ret->opam = opam;
	if (installed) {
		if (env_opam_installed_file(p->x->s, a, str_c(nv), d, &why) < 0 && why.code != ERR_NOT_FOUND)
			return *e = why, -1;
	} else {
		struct str text;
		if (find_opam(p, nv, ret, &text, e) < 0)
			return -1;
		pkg_opam_read(a, text, arena_printf(a, "%s/opam", nv), d, &why);
	}
	pkg_opam_package(a, d, opam, &why); /* what is wrong with a field that is not used here stops nothing */
	return 0;
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

/* Actions as packages: an upgrade is the old one removed and the new one installed. *ret: which installs. */
static int add_action(struct plan *p, const struct opam_action *act, size_t *ret, struct err *e)
{
	bool goes = act->kind == OPAM_REMOVE;
	struct build_opam_package new = {.install = !goes,
					 .remove = goes || act->kind == OPAM_RECOMPILE,
					 .requested = !goes && !p->everything && is_asked(p, act->name),
					 .keep_root = act->kind == OPAM_RECOMPILE};
	if (act->kind == OPAM_UPGRADE || act->kind == OPAM_DOWNGRADE) {
		struct build_opam_package old = {.remove = true, .keep_root = true};
		if (read_opam(p, act->name, act->before, true, &old, e) < 0)
			return -1;
		vec_push(&p->packages, old);
	}
	if (read_opam(p, act->name, act->version, goes, &new, e) < 0) {
		if (act->kind != OPAM_RECOMPILE || e->code != ERR_NOT_FOUND) /* the repository may have it no more */
			return -1;
		*e = ERR_INIT;
		if (read_opam(p, act->name, act->version, true, &new, e) < 0)
			return -1;
	}
	*ret = p->packages.n;
	vec_push(&p->packages, new);
	return 0;
}

/* --deps-only: what needs nothing else goes from the plan; what is left keeps its order. */
static void leave_out_asked(struct plan *p)
{
	size_t *now = arena_array(arena_of(p), size_t, p->actions_n + 1), n = 0;
	for (size_t i = 0; i < p->actions_n; i++)
		now[i] = is_asked(p, p->actions[i].name) ? SIZE_MAX : n++;
	for (size_t i = 0; i < p->actions_n; i++) {
		struct opam_action act = p->actions[i];
		size_t *after = arena_array(arena_of(p), size_t, act.after_n + 1), k = 0;
		for (size_t m = 0; m < act.after_n; m++)
			if (now[act.after[m]] != SIZE_MAX)
				after[k++] = now[act.after[m]];
		act.after = after;
		act.after_n = k;
		if (now[i] != SIZE_MAX)
			p->actions[now[i]] = act;
	}
	p->actions_n = n;
}

static int make_packages(struct plan *p, struct err *e)
{
	struct arena *a = arena_of(p);
	size_t *of = arena_array(a, size_t, p->actions_n);
	for (size_t i = 0; i < p->actions_n; i++)
		if (add_action(p, &p->actions[i], &of[i], e) < 0)
			return -1;
	for (size_t i = 0; i < p->actions_n; i++) {
		size_t *needs = arena_array(a, size_t, 2 * p->actions[i].after_n);
		struct build_opam_package *b = &p->packages.v[of[i]];
		if (p->actions[i].kind == OPAM_REMOVE) /* what comes before it needs it, not the other way round */
			continue;
		for (size_t k = 0; k < p->actions[i].after_n; k++) {
			const struct opam_action *used = &p->actions[p->actions[i].after[k]];
			size_t number = of[p->actions[i].after[k]];
			needs[b->n_needs++] = number;
			if (used->kind == OPAM_UPGRADE || used->kind == OPAM_DOWNGRADE)
				needs[b->n_needs++] = number - 1; /* its removal comes behind ours */
		}
		b->needs = needs;
		if (p->actions[i].kind == OPAM_UPGRADE || p->actions[i].kind == OPAM_DOWNGRADE) {
			p->packages.v[of[i] - 1].needs = needs;
			p->packages.v[of[i] - 1].n_needs = b->n_needs;
		}
	}
	return 0;
}

/* -- without a solver: what is removed, with what needs it --------------------------------------------------------------- */

/* It cannot be met any more without those that are gone. */
static bool is_unmet(const struct pkg_need *n, const struct map *gone, unsigned depth)
{
	if (!n || depth > PKG_NEED_DEPTH_MAX)
		return false;
	if (n->op == PKG_NEED_NAME)
		return map_get(gone, n->name) != NULL;
	if (n->op == PKG_NEED_OR)
		return is_unmet(n->left, gone, depth + 1) && is_unmet(n->right, gone, depth + 1);
	return is_unmet(n->left, gone, depth + 1) || is_unmet(n->right, gone, depth + 1);
}

static bool names_one(const struct pkg_need *n, const struct map *changed, unsigned depth)
{
	if (!n || depth > PKG_NEED_DEPTH_MAX)
		return false;
	if (n->op == PKG_NEED_NAME)
		return map_get(changed, n->name) != NULL;
	return names_one(n->left, changed, depth + 1) || names_one(n->right, changed, depth + 1);
}

/* Indexes of what the formula names among the packages. */
static void add_needs(const struct pkg_need *n, const struct map *at, size_t *v, size_t *count, size_t max,
		      unsigned depth)
{
	if (!n || depth > PKG_NEED_DEPTH_MAX)
		return;
	const uint64_t *i = n->op == PKG_NEED_NAME ? map_get(at, n->name) : NULL;
	if (i && *count < max)
		v[(*count)++] = (size_t)*i - 1;
	if (n->op == PKG_NEED_NAME)
		return;
	add_needs(n->left, at, v, count, max, depth + 1);
	add_needs(n->right, at, v, count, max, depth + 1);
}

static int needs_of(struct plan *p, const struct build_opam_package *b, const struct pkg_opam_expr *x,
		    const struct pkg_need **ret, struct err *e)
{
	struct pkg_opam_host h = env_opam_host(p->vars, b->name, b->version, b->opam->file, NULL, 0);
	*ret = NULL;
	return x ? pkg_opam_need_of(arena_of(p), x, &h, ret, e) : 0;
}

/* What is installed, and what becomes of it. */
enum fate { STAYS, GOES, ANEW };
struct here {
	struct build_opam_package b;
	const struct pkg_need *depends, *depopts;
	enum fate fate;
};

static int read_installed(struct plan *p, struct here *v, struct err *e)
{
	for (size_t i = 0; i < p->state.installed.n; i++) {
		struct str name, version;
		if (!env_opam_split(p->state.installed.v[i], &name, &version))
			return err_new(e, ERR_INPUT, "the switch has '%.*s' installed, which is no package",
				       STR_ARG(p->state.installed.v[i]));
		if (read_opam(p, name, version, true, &v[i].b, e) < 0 ||
		    needs_of(p, &v[i].b, v[i].b.opam->depends, &v[i].depends, e) < 0 ||
		    needs_of(p, &v[i].b, v[i].b.opam->depopts, &v[i].depopts, e) < 0)
			return -1;
		if (is_asked(p, name))
			v[i].fate = p->w->act == REMOVE ? GOES : ANEW;
	}
	return 0;
}

/* What cannot be without what goes, goes; what was built with something that goes or is built anew, is built anew. */
static void spread(struct here *v, size_t n)
{
	auto_map gone = MAP_INIT;
	auto_map changed = MAP_INIT;
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			if (v[i].fate == GOES)
				*map_put(&gone, v[i].b.name) = 1;
			if (v[i].fate != STAYS)
				*map_put(&changed, v[i].b.name) = 1;
		}
		for (size_t i = 0; i < n; i++) {
			enum fate was = v[i].fate;
			if (was != GOES && is_unmet(v[i].depends, &gone, 0))
				v[i].fate = GOES;
			else if (was == STAYS &&
				 (names_one(v[i].depends, &changed, 0) || names_one(v[i].depopts, &changed, 0)))
				v[i].fate = ANEW;
			more = more || v[i].fate != was;
		}
	}
}

/* Of what is installed those that are named, and what uses them. */
static int plan_with_users(struct plan *p, struct err *e)
{
	struct arena *a = arena_of(p);
	size_t n = p->state.installed.n;
	struct here *v = arena_array(a, struct here, n);
	auto_map at = MAP_INIT;
	if (read_installed(p, v, e) < 0)
		return -1;
	spread(v, n);
	for (size_t i = 0; i < n; i++) {
		struct build_opam_package b = v[i].b;
		if (v[i].fate == STAYS)
			continue;
		b.remove = true;
		b.install = b.keep_root = v[i].fate == ANEW;
		b.requested = b.install && is_asked(p, b.name);
		struct err ignored = ERR_INIT; /* the repository may have it no more */
		struct build_opam_package fresh = b;
		if (b.install && read_opam(p, b.name, b.version, false, &fresh, &ignored) == 0)
			b = fresh;
		vec_push(&p->packages, b);
		*map_put(&at, b.name) = p->packages.n;
	}
	for (size_t i = 0, k = 0; i < n; i++) {
		if (v[i].fate == STAYS)
			continue;
		struct build_opam_package *b = &p->packages.v[k++];
		size_t *needs = arena_array(a, size_t, p->packages.n * 2), max = p->packages.n * 2;
		add_needs(v[i].depends, &at, needs, &b->n_needs, max, 0);
		add_needs(v[i].depopts, &at, needs, &b->n_needs, max, 0);
		b->needs = needs;
	}
	return 0;
}

/* -- with a solver: what is built anew though its version stays --------------------------------------------------------- */

/* The solver's actions, and behind them those for what has to be built anew besides: what was asked for, and what uses it. */
struct anew {
	const struct here *of; /* NULL: it is not installed yet */
	bool solved, asked, user;
};

static bool names_it(const struct here *h, struct str name)
{
	auto_map one = MAP_INIT;
	*map_put(&one, name) = 1;
	return h && (names_one(h->depends, &one, 0) || names_one(h->depopts, &one, 0));
}

/* What the solver knows of the order is there. Else: first what is no user of what was asked for (its tests may need it), then that, then its users. */
static bool comes_before(const struct opam_action *j, const struct anew *first, const struct anew *then)
{
	if (j->kind == OPAM_REMOVE || (first->solved && then->solved))
		return false;
	if (!then->solved && first->solved && !first->user && !first->asked)
		return true;
	if (then->user && first->asked)
		return true;
	return names_it(then->of, j->name);
}

static void add_recompiles(struct plan *p, const struct here *v, size_t n)
{
	struct arena *a = arena_of(p);
	struct opam_action *all = arena_array(a, struct opam_action, p->actions_n + n);
	struct anew *w = arena_array(a, struct anew, p->actions_n + n);
	size_t count = p->actions_n;
	if (count)
		memcpy(all, p->actions, count * sizeof(*all));
	for (size_t i = 0; i < count; i++)
		w[i] = (struct anew){.solved = true};
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;
		bool asked = is_asked(p, v[i].b.name);
		while (k < count && !str_eq(all[k].name, v[i].b.name))
			k++;
		if (k == count && v[i].fate != ANEW)
			continue;
		if (k == count) {
			all[count] = (struct opam_action){.kind = OPAM_RECOMPILE,
							  .name = v[i].b.name,
							  .version = v[i].b.version,
							  .before = v[i].b.version,
							  .why = asked ? "" : "uses ",
							  .causes = p->names.v,
							  .causes_n = asked ? 0 : p->names.n};
			w[count++] = (struct anew){.of = &v[i]};
		}
		w[k].of = &v[i];
		w[k].asked = asked;
		w[k].user = v[i].fate == ANEW && !asked;
	}
	for (size_t k = 0; k < count; k++) {
		size_t *after = arena_array(a, size_t, all[k].after_n + count), m = all[k].after_n;
		if (m)
			memcpy(after, all[k].after, m * sizeof(*after));
		for (size_t j = 0; j < count; j++)
			if (j != k && comes_before(&all[j], &w[j], &w[k]))
				after[m++] = j;
		all[k].after = after;
		all[k].after_n = m;
	}
	p->actions = all;
	p->actions_n = count;
}

static void ask_for(struct plan *p, struct str name, struct str_vec *asked)
{
	struct str version = env_opam_version_in(&p->state.installed, name);
	vec_push(asked, str_c(arena_printf(arena_of(p), "%.*s=%.*s", STR_ARG(name), STR_ARG(version))));
}

/* What is asked for at the version that it has; with the oldest of everything the compiler, too, for which the switch was made. */
static void ask_as_installed(struct plan *p, const struct here *v, size_t n, bool oldest, struct str_vec *asked)
{
	for (size_t i = 0; i < p->names.n; i++)
		ask_for(p, p->names.v[i], asked);
	for (size_t i = 0; oldest && i < n; i++) {
		bool compiler = (v[i].b.opam->flags & PKG_OPAM_COMPILER) ||
				env_opam_version_in(&p->state.compiler, v[i].b.name).p;
		if (!compiler || is_asked(p, v[i].b.name))
			continue;
		ask_for(p, v[i].b.name, asked);
		vec_push(&p->names, v[i].b.name);
	}
}

/* == doing ================================================================================================================= */

static void tell(void *ctx, const struct build_opam_event *v)
{
	struct plan *p = ctx;
	struct opam_as *x = p->x;
	const struct build_opam_package *b = v->package;
	bool utf8 = opam_as_utf8();
	if (v->failure) {
		out_flush(&x->c->out);
		opam_as_say(x, 0, "%s", v->failure);
		return;
	}
	switch (v->step) {
	case BUILD_OPAM_FETCH:
		opam_as_put(x, "%s retrieved %.*s.%.*s  (", utf8 ? "\xe2\xac\x87" : "->", STR_ARG(b->name),
			    STR_ARG(b->version));
		if (v->extras)
			opam_as_put(x, "%zu extra sources)\n", v->extras);
		else
			opam_as_put(x, "%s)\n", v->from ? v->from : "cached");
		break;
	case BUILD_OPAM_BUILD:
		if (x->verbosity)
			opam_as_put(x, "%s compiled  %.*s.%.*s\n", utf8 ? "\xce\xbb" : "->", STR_ARG(b->name),
				    STR_ARG(b->version));
		break;
	case BUILD_OPAM_INSTALL:
		opam_as_put(x, "%s installed %.*s.%.*s%s\n", utf8 ? "\xe2\x88\x97" : "->", STR_ARG(b->name),
			    STR_ARG(b->version), v->reused ? "  (built before)" : "");
		break;
	case BUILD_OPAM_REMOVE:
		opam_as_put(x, "%s removed   %.*s.%.*s\n", utf8 ? "\xe2\x8a\x98" : "->", STR_ARG(b->name),
			    STR_ARG(b->version));
		break;
	}
	out_flush(&x->c->out);
}

static int check_out(void *ctx, const char *url, const char *dest, struct err *e)
{
	return opam_as_checkout(((struct plan *)ctx)->x, url, dest, e);
}

/* Where packages that were built before are kept; NULL: nowhere. That there is no place is no reason not to build. */
static const char *kept_folder(struct plan *p)
{
	struct cmd_context *c = p->x->c;
	const char *said = p->w->kept ? p->w->kept : getenv("SLIPWAY_OPAM_KEPT");
	struct err ignored = ERR_INIT;
	if (said && *said)
		return strcmp(said, "none") == 0 ? NULL : said;
	return cmd_need_root(c, &ignored) < 0 || !cmd_opam_may_keep(c)
		       ? NULL
		       : arena_printf(arena_of(p), "%s/" CMD_OPAM_KEPT, c->root_path);
}

static int make_build_opts(struct plan *p, struct build_opam_opts *o)
{
	*o = BUILD_OPAM_OPTS_INIT;
	o->root = p->x->o;
	o->sw = p->x->s;
	o->packages = p->packages.v;
	o->n = p->packages.n;
	o->mirrors = p->mirrors.v;
	o->n_mirrors = p->mirrors.n;
	o->with_test = p->w->with_test;
	o->with_doc = p->w->with_doc;
	o->keep_build_dir = p->w->keep;
	const char *precise = getenv("OPAMPRECISETRACKING"), *jobs = getenv("OPAMJOBS"),
		   *downloads = getenv("OPAMDOWNLOADJOBS");
	uint64_t n;
	o->precise_tracking = precise && *precise && strcmp(precise, "0") != 0 && strcmp(precise, "false") != 0;
	o->jobs = p->w->jobs > 0				    ? (unsigned)p->w->jobs
		  : jobs && str_to_u64(str_c(jobs), &n) && n < 1000 ? (unsigned)n
								    : 0;
	o->download_jobs = p->w->download_jobs > 0				       ? (unsigned)p->w->download_jobs
			   : downloads && str_to_u64(str_c(downloads), &n) && n < 1000 ? (unsigned)n
										       : 0;
	o->kept = kept_folder(p);
	o->anew = p->w->anew || p->w->act == REINSTALL;
	o->limits.memory_bytes = (uint64_t)p->w->memory_mb * 1000000;
	o->limits.time_ms = p->w->time_s * 1000;
	/* a root that opam made says by its wrappers whether there is to be a sandbox */
	bool is_opams = faccessat(env_opam_fd(p->x->o), "opam-init/init.sh", F_OK, 0) == 0;
	o->no_sandbox = p->w->no_sandbox || (is_opams && !pkg_opam_get(&p->config.doc, "wrap-build-commands"));
	o->tell = tell;
	o->checkout = check_out;
	o->ctx = p;
	return 0;
}

/* What lies beside the opam files of what is installed, out of repositories that are tars. */
static int bring_files_of(struct plan *p, const struct opam_as_repo *repo, struct err *e)
{
	auto_map wanted = MAP_INIT;
	const struct opam_as_repo *r;
	struct oi_pkg id;
	for (size_t i = 0; i < p->packages.n; i++) {
		const struct build_opam_package *b = &p->packages.v[i];
		if (b->install && b->files && str_starts(str_c(b->files), str_c(p->files)) &&
		    opam_as_find(p->x, b->name, b->version, &r, &id) && r == repo)
			*map_put(&wanted, str_c(b->files + strlen(p->files) + 1)) = 1;
	}
	if (wanted.n == 0)
		return 0;
	auto_fd to = fs_open_dir_make(env_opam_meta_fd(p->x->s), "slipway-files", e);
	return to < 0 ? -1 : opam_as_extra_files(p->x, repo, &wanted, to, e);
}

static int bring_files(struct plan *p, struct err *e)
{
	if (fs_remove_tree(env_opam_meta_fd(p->x->s), "slipway-files", e) < 0)
		return -1;
	for (size_t i = 0; i < p->x->repos_n; i++)
		if (p->x->repos[i].tar && bring_files_of(p, &p->x->repos[i], e) < 0)
			return -1;
	return 0;
}

static int carry_out(struct plan *p)
{
	struct err e = ERR_INIT;
	struct build_opam_opts o;
	struct build_opam_result r;
	struct opam_as *x = p->x;
	make_build_opts(p, &o);
	opam_as_header(x, "Processing actions");
	out_flush(&x->c->out);
	int rc = bring_files(p, &e) < 0 ? -1 : build_opam(&o, arena_of(p), &r, &e);
	struct err ignored = ERR_INIT; /* the next run removes it */
	fs_remove_tree(env_opam_meta_fd(x->s), "slipway-files", &ignored);
	if (rc < 0)
		return opam_as_fail(x, &e);
	if (r.unconfined)
		opam_as_note(x, "NOTE",
			     "No sandbox can be had in here: commands ran without one, confined by what this runs in.");
	if (r.not_kept)
		opam_as_note(x, "NOTE", "Not kept to be used again: %s", r.not_kept);
	for (size_t i = 0; i < r.n_done; i++)
		if (r.done[i].step == BUILD_OPAM_INSTALL)
			opam_as_pin_installed(x, r.done[i].package->name);
	int code = r.n_failures ? opam_install_report(p, &r) : r.cancelled ? OPAM_ABORTED : OPAM_OK;
	if (opam_system_bypass(&p->system, p->packages.v, r.done, r.n_done, &e) < 0)
		return opam_as_fail(x, &e);
	if (code == OPAM_OK)
		opam_as_put(x, "Done.\n");
	opam_system_declared(&p->system, p->vars, r.failures, r.n_failures);
	opam_as_tell_eval(x, env_opam_switch_name(x->s));
	int printed = opam_install_answer(p, &r);
	return code ? code : printed;
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
		leave_out_asked(p);
	if (make_packages(p, &e) < 0 || opam_as_check_repos(p->x, &e) < 0)
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
	if ((p->w->act != REMOVE && open_repos(p, &e) < 0) || plan_with_users(p, &e) < 0)
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
	struct here *v = arena_array(arena_of(p), struct here, n);
	if (read_installed(p, v, &e) < 0 || open_repos(p, &e) < 0 || open_needs(p, &e) < 0)
		return opam_as_fail(p->x, &e);
	spread(v, n);
	ask_as_installed(p, v, n, oldest, &asked);
	int code = find_solution(p, &asked, oldest, !oldest);
	p->names.n = names;
	vec_release(&asked);
	if (code != OPAM_OK)
		return code;
	add_recompiles(p, v, n);
	if (make_packages(p, &e) < 0 || opam_as_check_repos(p->x, &e) < 0)
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
	return code != OPAM_OK ? code : build ? carry_out(p) : opam_install_answer(p, NULL);
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
	if (w.words.n == 0 && what != UPGRADE)
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
