// SPDX-License-Identifier: Apache-2.0
#include "solve/explain.h"

#include "solve/run.h"

enum {
	TRY_CONFLICTS = 3000,
	ALL_CONFLICTS = 30000,
	PROOF_CONFLICTS = 50000,
	EDGES_MAX = 20000,
	LINES_MAX = 24,
	DEPTH_MAX = 6,
	SPECS_SHOWN = 3
};

/* "cand needs spec", or with ban "cand tolerates only spec"; cand WORLD_NONE: it was asked for. */
struct edge {
	uint32_t cand, spec;
	bool ban;
};
struct explainer {
	struct world *p;
	struct arena *a;
	VEC(struct edge) edge; /* by candidate */
	VEC(uint32_t) refused; /* candidates with a dependency that cannot be read */
	struct map shown;      /* specs that have their lines already */
	unsigned lines;
};
/* Several specs on one name. */
struct set {
	uint32_t name, n;
	const uint32_t *spec;
	bool ban;
};

/* -- which specs are to blame ------------------------------------------------------------------------------------- */

/* Those that a refutation uses, as a first step. */
static uint32_t core_of_proof(struct world *p, const uint32_t *want, uint32_t n, uint32_t *core)
{
	struct run run;
	struct err ignored = ERR_INIT;
	uint32_t k = 0;
	if (run_solve(&run, p, want, n, true, PROOF_CONFLICTS, &ignored) == 1) {
		const struct cdcl_why *why;
		size_t why_n = cdcl_proof(run.s, &why);
		for (uint32_t i = 0; i < n; i++) {
			bool used = false;
			for (size_t w = 0; w < why_n && !used; w++)
				used = why[w].kind == CDCL_IMPLIES && why[w].a == run.root &&
				       why[w].b < run.spec_of.n && run.spec_of.v[why[w].b] == want[i];
			if (used)
				core[k++] = want[i];
		}
	}
	run_release(&run);
	if (!k)
		memcpy(core, want, n * sizeof(*core));
	return k ? k : n;
}

/* Leaves out what can be left out. Gives up, with what is left so far, when it takes too long. */
static uint32_t find_core(struct world *p, const uint32_t *want, uint32_t n, uint32_t *core)
{
	auto_free uint32_t *trial = xcalloc(n + 1u, sizeof(*trial));
	uint64_t spent = 0;
	n = core_of_proof(p, want, n, core);
	for (uint32_t i = 0; i < n && n > 1 && spent < ALL_CONFLICTS;) {
		struct run run;
		struct err ignored = ERR_INIT;
		uint32_t k = 0;
		for (uint32_t j = 0; j < n; j++)
			if (j != i)
				trial[k++] = core[j];
		int rc = run_solve(&run, p, trial, k, false, TRY_CONFLICTS, &ignored);
		spent += cdcl_stats(run.s).conflicts;
		run_release(&run);
		if (rc == 1) {
			memcpy(core, trial, k * sizeof(*core));
			n = k;
		} else {
			i++;
		}
	}
	return n;
}

/* -- the refutation as edges -------------------------------------------------------------------------------------- */

static int by_cand(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;
	if (x->cand != y->cand)
		return x->cand < y->cand ? -1 : 1;
	if (x->spec != y->spec)
		return x->spec < y->spec ? -1 : 1;
	return (int)x->ban - (int)y->ban;
}

static void read_proof(struct explainer *x, struct run *run)
{
	const struct cdcl_why *why;
	size_t n = cdcl_proof(run->s, &why), kept = 0;
	for (size_t i = 0; i < n; i++) {
		uint32_t a = why[i].a, b = why[i].b;
		if (why[i].kind == CDCL_REFUSED && a < run->cand_of.n && run->cand_of.v[a] != WORLD_NONE)
			vec_push(&x->refused, run->cand_of.v[a]);
		if (why[i].kind != CDCL_IMPLIES || b >= run->spec_of.n || run->spec_of.v[b] == WORLD_NONE)
			continue;
		uint32_t spec = run->spec_of.v[b];
		vec_push(&x->edge, ((struct edge){run->cand_of.v[a], spec, x->p->spec.v[spec].ban == b}));
	}
	vec_sort(&x->edge, by_cand);
	for (size_t i = 0; i < x->edge.n; i++)
		if (!kept || by_cand(&x->edge.v[i], &x->edge.v[kept - 1]) != 0)
			x->edge.v[kept++] = x->edge.v[i];
	x->edge.n = kept;
}

static const struct edge *edges_of(const struct explainer *x, uint32_t cand, uint32_t *n)
{
	size_t lo = 0, hi = x->edge.n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (x->edge.v[mid].cand < cand)
			lo = mid + 1;
		else
			hi = mid;
	}
	*n = 0;
	while (lo + *n < x->edge.n && x->edge.v[lo + *n].cand == cand)
		++*n;
	return x->edge.n ? &x->edge.v[lo] : NULL;
}

/* -- sets of candidates ------------------------------------------------------------------------------------------- */

static bool spec_has(struct world *p, uint32_t spec, uint32_t cand)
{
	const struct world_spec *s = world_members(p, spec);
	uint32_t lo = 0, hi = s->member_n;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		if (s->member[mid] < cand)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->member_n && s->member[lo] == cand;
}

static bool set_has(struct world *p, const struct set *s, uint32_t cand)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (spec_has(p, s->spec[i], cand))
			return true;
	return false;
}

static bool set_has_spec(const struct set *s, uint32_t spec)
{
	for (uint32_t i = 0; i < s->n; i++)
		if (s->spec[i] == spec)
			return true;
	return false;
}

static bool disjoint(struct world *p, const struct set *s, uint32_t spec)
{
	const struct world_spec *o = world_members(p, spec);
	for (uint32_t i = 0; i < o->member_n; i++)
		if (set_has(p, s, o->member[i]))
			return false;
	return true;
}

/* Whether a spec takes something away from the set. */
static bool narrows(struct world *p, const struct set *s, uint32_t spec)
{
	for (uint32_t i = 0; i < s->n; i++) {
		const struct world_spec *of = world_members(p, s->spec[i]);
		for (uint32_t k = 0; k < of->member_n; k++)
			if (!spec_has(p, spec, of->member[k]))
				return true;
	}
	return false;
}

/* -- words -------------------------------------------------------------------------------------------------------- */

/* "numpy 1.20.1", "numpy 1.20.1, 1.20.2", "numpy 1.16.0 … 1.20.2". The candidates are of one name, best first. */
static void put_versions(const struct explainer *x, const uint32_t *cand, uint32_t n, bool *many, struct buf *b)
{
	struct str last = STR_NONE, text[2] = {STR_NONE, STR_NONE};
	uint32_t distinct = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct str v = x->p->version.v[x->p->cand.v[cand[i]].version].text;
		if (i && str_eq(v, last))
			continue;
		last = v;
		text[distinct ? 1 : 0] = v;
		distinct++;
	}
	buf_put_str(b, x->p->name.v[x->p->cand.v[cand[0]].name].text);
	*many = distinct > 1;
	if (distinct > 1) {
		buf_printf(b, " %.*s%s%.*s", STR_ARG(text[1]), distinct == 2 ? ", " : " … ", STR_ARG(text[0]));
		return;
	}
	buf_printf(b, " %.*s", STR_ARG(text[0]));
}

/* "python 3.6.*, 3.7.* or 3.8.*" */
static void put_set(const struct explainer *x, const struct set *s, struct buf *b)
{
	struct str name = x->p->name.v[s->name].text;
	for (uint32_t i = 0; i < s->n; i++) {
		struct str t = x->p->spec.v[s->spec[i]].text;
		if (i == SPECS_SHOWN && s->n > SPECS_SHOWN + 1) {
			buf_printf(b, " or %u others", s->n - i);
			return;
		}
		if (i && str_starts(t, name) && t.n > name.n)
			t = str_trim(str_skip(t, name.n));
		buf_put_c(b, i == 0 ? "" : i + 1 == s->n ? " or " : ", ");
		buf_put_str(b, t);
	}
}

static struct str take_text(const struct explainer *x, const struct buf *b)
{
	return arena_str(x->a, buf_str(b));
}

VEC_TYPE(reasons, struct solve_reason);

static void add_reason(struct explainer *x, struct reasons *to, struct str text, struct reasons *child)
{
	struct solve_reason *r = vec_add(to);
	r->text = text;
	x->lines++;
	if (child && child->n) {
		r->child = vec_copy(child, x->a);
		r->child_n = (uint32_t)child->n;
	}
}

/* -- the tree ----------------------------------------------------------------------------------------------------- */

/* Who else wants something of this name that does not go with the set: "but python=3.9 was asked for". */
static void add_opponents(struct explainer *x, const struct set *s, struct reasons *to,
			  bool (*against)(struct world *, const struct set *, uint32_t))
{
	struct world *p = x->p;
	unsigned found = 0;
	for (size_t i = x->edge.n; i-- > 0 && found < 3;) { /* what was asked for comes last, so it is told first */
		const struct edge *o = &x->edge.v[i];
		auto_buf b = BUF_INIT(BUF_MAX);
		bool many;
		if (p->spec.v[o->spec].name != s->name || set_has_spec(s, o->spec) || !against(p, s, o->spec))
			continue;
		bool told = false;
		for (size_t k = i + 1; k < x->edge.n && !told; k++)
			told = x->edge.v[k].spec == o->spec && x->edge.v[k].ban == o->ban &&
			       x->edge.v[k].cand != WORLD_NONE && o->cand != WORLD_NONE;
		if (told)
			continue;
		if (o->cand == WORLD_NONE) {
			buf_printf(&b, "but %.*s %s", STR_ARG(p->spec.v[o->spec].text),
				   o->ban ? "must hold (a constraint)" : "was asked for");
		} else {
			VEC(uint32_t) who = {0};
			for (size_t k = 0; k < x->edge.n; k++)
				if (x->edge.v[k].spec == o->spec && x->edge.v[k].cand != WORLD_NONE &&
				    p->cand.v[x->edge.v[k].cand].name == p->cand.v[o->cand].name)
					vec_push(&who, x->edge.v[k].cand);
			buf_put_c(&b, "but ");
			put_versions(x, who.v, (uint32_t)who.n, &many, &b);
			buf_printf(&b, " %s %.*s",
				   o->ban ? (many ? "go only with" : "goes only with")
				   : many ? "need"
					  : "needs",
				   STR_ARG(p->spec.v[o->spec].text));
			vec_release(&who);
		}
		add_reason(x, to, take_text(x, &b), NULL);
		found++;
	}
	if (!found && against == disjoint)
		add_opponents(x, s, to, narrows); /* no single one is to blame, but several together */
}

/* What a candidate's edges ask for, as a key: candidates with the same names are told together. */
static uint64_t key_of(const struct explainer *x, uint32_t cand)
{
	uint32_t n;
	uint64_t key = 0;
	const struct edge *e = edges_of(x, cand, &n);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t name = ((uint64_t)x->p->spec.v[e[i].spec].name << 1) + e[i].ban + 1;
		key += name * 0x9e3779b97f4a7c15ull ^ (name << 17); /* a sum: the order does not matter */
	}
	return key;
}

static void add_set(struct explainer *x, const struct set *s, struct reasons *to, unsigned depth);

/* One line for each name that a group of candidates needs. */
static void add_group(struct explainer *x, const uint32_t *cand, uint32_t cand_n, struct reasons *to, unsigned depth)
{
	VEC(struct edge) e = {0};
	for (uint32_t i = 0; i < cand_n; i++) {
		uint32_t n;
		const struct edge *of = edges_of(x, cand[i], &n);
		for (uint32_t k = 0; k < n; k++)
			vec_push(&e, of[k]);
	}
	for (size_t i = 0; i < e.n; i++) {
		VEC(uint32_t) specs = {0};
		struct set s = {.name = x->p->spec.v[e.v[i].spec].name, .ban = e.v[i].ban};
		bool first = true, many;
		for (size_t k = 0; k < e.n; k++) {
			if (x->p->spec.v[e.v[k].spec].name != s.name || e.v[k].ban != s.ban)
				continue;
			first = first && k >= i;
			bool new = true;
			for (size_t j = 0; j < specs.n && new; j++)
				new = specs.v[j] != e.v[k].spec;
			if (new)
				vec_push(&specs, e.v[k].spec);
		}
		if (first && x->lines < LINES_MAX) {
			auto_buf b = BUF_INIT(BUF_MAX);
			struct reasons child = {0};
			s.spec = specs.v;
			s.n = (uint32_t)specs.n;
			put_versions(x, cand, cand_n, &many, &b);
			buf_put_c(&b, s.ban  ? (many ? " go only with " : " goes only with ")
				      : many ? " need "
					     : " needs ");
			put_set(x, &s, &b);
			x->lines++; /* this one, before its children are counted */
			add_set(x, &s, &child, depth + 1);
			x->lines--;
			add_reason(x, to, take_text(x, &b), &child);
			vec_release(&child);
		}
		vec_release(&specs);
	}
	vec_release(&e);
}

static void add_missing(struct explainer *x, const struct set *s, struct reasons *to)
{
	add_reason(x, to, explain_no_candidate(x->p, s->spec[0], x->a), NULL);
}

static bool is_refused(const struct explainer *x, uint32_t cand)
{
	for (size_t i = 0; i < x->refused.n; i++)
		if (x->refused.v[i] == cand)
			return true;
	return false;
}

/* The candidates of a set, in groups with the same kind of reasons. */
static void add_groups(struct explainer *x, const struct set *s, struct reasons *to, unsigned depth, bool *bare)
{
	const struct world_name *n = world_load(x->p, s->name);
	uint32_t first = n->first, count = n->n;
	auto_free uint64_t *key = xcalloc(count + 1u, sizeof(*key));
	auto_free bool *done = xcalloc(count + 1u, 1);
	*bare = false;
	for (uint32_t i = 0; i < count; i++) {
		key[i] = set_has(x->p, s, first + i) ? key_of(x, first + i) : 0;
		if (is_refused(x, first + i) && set_has(x->p, s, first + i)) {
			auto_buf b = BUF_INIT(BUF_MAX);
			bool many;
			put_versions(x, &(uint32_t){first + i}, 1, &many, &b);
			buf_put_c(&b, " has a dependency that cannot be read");
			if (!done[0])
				add_reason(x, to, take_text(x, &b), NULL);
			done[0] = true;
		} else if (!key[i] && set_has(x->p, s, first + i)) {
			*bare = true;
		}
	}
	memset(done, 0, count);
	for (uint32_t i = 0; i < count; i++) {
		VEC(uint32_t) group = {0};
		if (!key[i] || done[i] || x->lines >= LINES_MAX)
			continue;
		for (uint32_t k = i; k < count; k++)
			if (key[k] == key[i]) {
				done[k] = true;
				vec_push(&group, first + k);
			}
		add_group(x, group.v, (uint32_t)group.n, to, depth);
		vec_release(&group);
	}
}

static void add_set(struct explainer *x, const struct set *s, struct reasons *to, unsigned depth)
{
	bool bare = true, any = false;
	for (uint32_t i = 0; i < s->n && !s->ban; i++)
		any |= world_members(x->p, s->spec[i])->member_n > 0;
	if (!any && !s->ban) {
		add_missing(x, s, to);
		return;
	}
	bool shown = true;
	for (uint32_t i = 0; i < s->n; i++) {
		uint64_t *at = map_put_id(&x->shown, s->spec[i]);
		shown = shown && *at;
		*at = 1;
	}
	if (!s->ban && !shown && depth < DEPTH_MAX)
		add_groups(x, s, to, depth, &bare);
	if (bare && x->lines < LINES_MAX)
		add_opponents(x, s, to, disjoint);
}

/* One of what was asked for, with what hangs on it. */
static void add_root(struct explainer *x, uint32_t spec, struct reasons *to, struct reasons *plain)
{
	struct reasons child = {0};
	struct set s = {.name = x->p->spec.v[spec].name, .n = 1, .spec = &spec};
	auto_buf b = BUF_INIT(BUF_MAX);
	bool bare = true;
	x->lines++;
	if (!world_members(x->p, spec)->member_n) {
		x->lines--;
		add_reason(x, to, explain_no_candidate(x->p, spec, x->a), NULL);
		return;
	}
	*map_put_id(&x->shown, spec) = 1;
	add_groups(x, &s, &child, 1, &bare);
	x->lines--;
	buf_printf(&b, "%.*s was asked for", STR_ARG(x->p->spec.v[spec].text));
	if (child.n) {
		add_reason(x, to, take_text(x, &b), &child);
	} else {
		add_opponents(x, &s, &child, disjoint);
		add_reason(x, plain, take_text(x, &b), &child);
	}
	vec_release(&child);
}

static void make_tree(struct explainer *x, const uint32_t *core, uint32_t n, bool hopeless, struct solve_result *res)
{
	struct reasons top = {0}, plain = {0}, all = {0};
	for (uint32_t i = 0; i < n && x->lines < LINES_MAX; i++)
		add_root(x, core[i], &top, &plain);
	if (!top.n) { /* nothing but specs against each other */
		struct reasons t = top;
		top = plain;
		plain = t;
		if (top.n && top.v[0].child_n) /* the others would say the same with the words changed about */
			top.n = 1;
	}
	if (top.n < n && x->lines >= LINES_MAX)
		add_reason(x, &top, STR("… and more of the kind"), NULL);
	add_reason(x, &all,
		   n == 1 || hopeless ? STR("no solution for what was asked:") : STR("these cannot be had together:"),
		   &top);
	res->explanation = all.v[0];
	vec_release(&top);
	vec_release(&plain);
	vec_release(&all);
}

/* Where a refutation is too long to be shown: only what it is about. */
static void make_list(struct explainer *x, const uint32_t *core, uint32_t n, struct solve_result *res)
{
	struct reasons all = {0}, top = {0};
	for (uint32_t i = 0; i < n && i < LINES_MAX; i++)
		add_reason(x, &top, x->p->spec.v[core[i]].text, NULL);
	if (n > LINES_MAX)
		add_reason(x, &top, STR("…"), NULL);
	add_reason(x, &all, STR("these cannot be had together, for reasons too long to tell:"), &top);
	res->explanation = all.v[0];
	vec_release(&top);
	vec_release(&all);
}

/* What matches nothing by itself is to blame in any case; no need to search. */
static uint32_t find_hopeless(struct world *p, const uint32_t *want, uint32_t want_n, uint32_t *core)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < want_n; i++)
		if (!world_members(p, want[i])->member_n && !spec_when(p->spec.v[want[i]].spec).n)
			core[n++] = want[i];
	return n;
}

int explain(struct world *p, const uint32_t *want, uint32_t want_n, struct arena *a, struct solve_result *res,
	    struct err *e)
{
	struct explainer x = {.p = p, .a = a};
	struct run run;
	struct err why = ERR_INIT;
	auto_free uint32_t *core = xcalloc(want_n + 1u, sizeof(*core));
	uint32_t n = find_hopeless(p, want, want_n, core);
	bool hopeless = n > 0;
	if (!n)
		n = find_core(p, want, want_n, core);
	int rc = run_solve(&run, p, core, n, true, PROOF_CONFLICTS, &why);
	if (rc == 1) {
		read_proof(&x, &run);
		if (x.edge.n > EDGES_MAX)
			make_list(&x, core, n, res);
		else
			make_tree(&x, core, n, hopeless, res);
	} else if (rc < 0 && why.code == ERR_LIMIT) {
		make_list(&x, core, n, res);
	}
	run_release(&run);
	vec_release(&x.edge);
	vec_release(&x.refused);
	map_release(&x.shown);
	if (rc < 0 && why.code != ERR_LIMIT) {
		*e = why;
		return -1;
	}
	return explain_suggest(p, want, want_n, core, n, a, res, e);
}

/* -- printing ----------------------------------------------------------------------------------------------------- */

static void put_reason(const struct solve_reason *r, struct buf *b, unsigned depth)
{
	for (uint32_t i = 0; i < r->child_n && depth < 32; i++) {
		buf_printf(b, "%*s- ", (int)depth * 2, "");
		buf_put_str(b, r->child[i].text);
		buf_put_c(b, "\n");
		put_reason(&r->child[i], b, depth + 1);
	}
}

void solve_explain(const struct solve_result *r, struct buf *b)
{
	buf_put_str(b, r->explanation.text);
	if (r->explanation.text.n)
		buf_put_c(b, "\n");
	put_reason(&r->explanation, b, 1);
	for (uint32_t i = 0; i < r->suggestions_n; i++)
		buf_printf(b, "%s%.*s\n",
			   i == 0 ? "this would work: " : "             or: ", STR_ARG(r->suggestions[i]));
}
