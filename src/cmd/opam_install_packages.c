// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: from a plan's actions, or from what is installed, to the packages that build_opam works through. */
#include "base/map.h"
#include "cmd/opam_install.h"

/* == opam files ========================================================================================================== */

/* The opam file of a repository, and where its extra files lie, or will. */
static int find_opam(struct plan *p, const char *nv, struct build_opam_package *ret, struct str *ret_text,
		     struct err *e)
{
	const struct opam_as_repo *r;
	struct oi_pkg id;
	if (p->source && opam_index_find(p->source, ret->name, ret->version, &id))
		return opam_index_text(p->source, id, arena_of(p), ret_text, e); /* it is not going to be built */
	if (!opam_as_find(p->x, ret->name, ret->version, &r, &id))
		return err_new(e, ERR_NOT_FOUND, "no opam file of '%s' in the repositories", nv);
	struct opam_index_pkg about = opam_index_pkg(r->index, id);
	ret->files = r->dir ? arena_printf(arena_of(p), "%s/%.*s/%s/files", r->dir, STR_ARG(about.folder), nv)
			    : arena_printf(arena_of(p), "%s/%s", p->files, nv);
	return opam_index_text(r->index, id, arena_of(p), ret_text, e);
}

static int read_installed_opam(struct plan *p, struct str name, struct str version, struct build_opam_package *ret,
			       struct err *e)
{
	const char *nv = arena_printf(arena_of(p), "%.*s.%.*s", STR_ARG(name), STR_ARG(version));
	ret->name = name;
	ret->version = version;
	return env_opam_installed_package(p->x->s, arena_of(p), str_c(nv), &ret->opam, e);
}

/* As the first repository has it that has it. */
static int read_opam(struct plan *p, struct str name, struct str version, struct build_opam_package *ret, struct err *e)
{
	struct arena *a = arena_of(p);
	struct pkg_opam_doc *d = arena_new(a, struct pkg_opam_doc);
	struct pkg_opam *opam = arena_new(a, struct pkg_opam);
	const char *nv = arena_printf(a, "%.*s.%.*s", STR_ARG(name), STR_ARG(version));
	struct err why = ERR_INIT;
	struct str text;
	ret->name = name;
	ret->version = version;
	ret->opam = opam;
	if (find_opam(p, nv, ret, &text, e) < 0)
		return -1;
	pkg_opam_read(a, text, arena_printf(a, "%s/opam", nv), d, &why);
	pkg_opam_package(a, d, opam, &why); /* what is wrong with a field that is not used here stops nothing */
	return 0;
}

/* == actions as packages ================================================================================================= */

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
		if (read_installed_opam(p, act->name, act->before, &old, e) < 0)
			return -1;
		vec_push(&p->packages, old);
	}
	bool from_switch = goes;
	if (!goes && read_opam(p, act->name, act->version, &new, e) < 0) {
		if (act->kind != OPAM_RECOMPILE || e->code != ERR_NOT_FOUND) /* the repository may have it no more */
			return -1;
		*e = ERR_INIT;
		from_switch = true;
	}
	if (from_switch && read_installed_opam(p, act->name, act->version, &new, e) < 0)
		return -1;
	*ret = p->packages.n;
	vec_push(&p->packages, new);
	return 0;
}

/* --deps-only: what needs nothing else goes from the plan; what is left keeps its order. */
void opam_install_leave_out_asked(struct plan *p)
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
		act.why = ""; /* opam tells no cause then */
		act.causes_n = 0;
		if (now[i] != SIZE_MAX)
			p->actions[now[i]] = act;
	}
	p->actions_n = n;
}

int opam_install_packages(struct plan *p, struct err *e)
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

/* == without a solver: what is named of what is installed, with what uses it ============================================== */

int opam_install_members(struct plan *p, struct env_opam_member **ret, struct err *e)
{
	if (env_opam_members(p->x->s, p->vars, &p->state, arena_of(p), ret, e) < 0)
		return -1;
	for (size_t i = 0; i < p->state.installed.n; i++)
		if (is_asked(p, (*ret)[i].name))
			(*ret)[i].fate = p->w->act == REMOVE ? ENV_OPAM_GOES : ENV_OPAM_ANEW;
	env_opam_spread(*ret, p->state.installed.n);
	return 0;
}

int opam_install_users(struct plan *p, struct err *e)
{
	struct arena *a = arena_of(p);
	size_t n = p->state.installed.n;
	struct env_opam_member *v;
	auto_map at = MAP_INIT;
	if (opam_install_members(p, &v, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct build_opam_package b = {.name = v[i].name, .version = v[i].version, .opam = v[i].opam};
		if (v[i].fate == ENV_OPAM_STAYS)
			continue;
		b.remove = true;
		b.install = b.keep_root = v[i].fate == ENV_OPAM_ANEW;
		b.requested = b.install && is_asked(p, b.name);
		struct err ignored = ERR_INIT; /* the repository may have it no more */
		struct build_opam_package fresh = b;
		if (b.install && read_opam(p, b.name, b.version, &fresh, &ignored) == 0)
			b = fresh;
		vec_push(&p->packages, b);
		*map_put(&at, b.name) = p->packages.n;
	}
	for (size_t i = 0, k = 0; i < n; i++) {
		if (v[i].fate == ENV_OPAM_STAYS)
			continue;
		struct build_opam_package *b = &p->packages.v[k++];
		size_t *needs = arena_array(a, size_t, p->packages.n);
		b->n_needs = env_opam_used(&v[i], &at, needs, p->packages.n);
		b->needs = needs;
	}
	return 0;
}

/* == with a solver: what is built anew though its version stays ========================================================== */

/* The solver's actions, and behind them those for what has to be built anew besides: what was asked for, and what uses it. */
struct anew {
	const struct env_opam_member *of; /* NULL: it is not installed yet */
	bool solved, asked, user;
};

/* What the solver knows of the order is there. Else: first what is no user of what was asked for (its tests may need it), then that, then its users. */
static bool comes_before(const struct opam_action *j, const struct anew *first, const struct anew *then)
{
	if (j->kind == OPAM_REMOVE || (first->solved && then->solved))
		return false;
	if (!then->solved && first->solved && !first->user && !first->asked)
		return true;
	if (then->user && first->asked)
		return true;
	return then->of && env_opam_uses(then->of, j->name);
}

/* Those that it names, of what was asked for or is built anew. */
static struct str *causes_of(struct plan *p, const struct env_opam_member *v, size_t n,
			     const struct env_opam_member *of, size_t *ret_n)
{
	struct str *causes = arena_array(arena_of(p), struct str, n + 1);
	*ret_n = 0;
	for (size_t i = 0; i < n; i++)
		if (&v[i] != of && v[i].fate == ENV_OPAM_ANEW && env_opam_uses(of, v[i].name))
			causes[(*ret_n)++] = v[i].name;
	return causes;
}

void opam_install_add_recompiles(struct plan *p, const struct env_opam_member *v, size_t n)
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
		bool asked = is_asked(p, v[i].name);
		while (k < count && !str_eq(all[k].name, v[i].name))
			k++;
		if (k == count && v[i].fate != ENV_OPAM_ANEW)
			continue;
		if (k == count) {
			all[count] = (struct opam_action){.kind = OPAM_RECOMPILE,
							  .name = v[i].name,
							  .version = v[i].version,
							  .before = v[i].version,
							  .why = asked ? "" : "uses "};
			if (!asked)
				all[count].causes = causes_of(p, v, n, &v[i], &all[count].causes_n);
			w[count++] = (struct anew){.of = &v[i]};
		}
		w[k].of = &v[i];
		w[k].asked = asked;
		w[k].user = v[i].fate == ENV_OPAM_ANEW && !asked;
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
void opam_install_ask_as_installed(struct plan *p, const struct env_opam_member *v, size_t n, bool oldest,
				   struct str_vec *asked)
{
	for (size_t i = 0; i < p->names.n; i++)
		if (env_opam_version_in(&p->state.installed, p->names.v[i]).p)
			ask_for(p, p->names.v[i], asked);
		else
			vec_push(asked, p->asked.v[i]);
	for (size_t i = 0; oldest && i < n; i++) {
		bool compiler = (v[i].opam->flags & PKG_OPAM_COMPILER) ||
				env_opam_version_in(&p->state.compiler, v[i].name).p;
		if (!compiler || is_asked(p, v[i].name))
			continue;
		ask_for(p, v[i].name, asked);
		vec_push(&p->names, v[i].name);
	}
}

struct pkg_opam_strs opam_install_lost(struct arena *a, const struct env_opam_state *s)
{
	struct str *v = arena_array(a, struct str, s->roots.n), name, version;
	size_t n = 0;
	for (size_t i = 0; i < s->roots.n; i++)
		if (env_opam_split(s->roots.v[i], &name, &version) && !env_opam_version_in(&s->installed, name).p)
			v[n++] = s->roots.v[i];
	return (struct pkg_opam_strs){v, n};
}
