// SPDX-License-Identifier: Apache-2.0
/*
 * The engine's state is a trail of literals with levels and reasons, as in any clause-learning solver. What is its own:
 *
 * - Clauses of two literals are edges of an implication graph; "at most one of a group" is not stored at all.
 * - Clauses are added in the middle of a search, when a candidate is expanded. Where such a clause follows from decisions
 *   of a lower level than the present one, its literal is remembered in `late`, and is put back after each jump to a
 *   level at which it still follows.
 */
#include "solve/cdcl.h"

#include "base/vec.h"

typedef uint32_t lit; /* 2*var, or 2*var+1 for "not var" */
#define POS(v) ((lit)(v) << 1)
#define NEG(v) (((lit)(v) << 1) | 1)
#define VAR(l) ((l) >> 1)
#define IS_NEG(l) ((l)&1)

enum kind { CANDIDATE, CHOICE, BAN, WITNESS };
enum { NONE = UINT32_MAX };

/* A reason is 0 (a decision), an edge (the literal that implies, tagged) or a clause (its place in `mem`). */
typedef uint32_t reason;
#define EDGE(l) (((reason)(l) << 1) | 1)
#define CLAUSE(at) ((reason)(at) << 1)
#define IS_EDGE(r) ((r)&1)

struct variable {
	uint32_t level;
	reason reason;
	uint32_t group; /* candidate: its group; choice: the group of all its candidates, or NONE */
	int8_t value;	/* 0 open, 1 true, -1 false */
	uint8_t kind;
	bool expanded, seen, supposed;
};
struct group {
	uint32_t first, n, chosen;
	double activity;
};
struct choice {
	uint32_t var, at, n; /* candidates in pref[at .. at+n) */
	uint32_t sorted;     /* of these, how many are in final order */
};
struct edge {
	lit to;
	uint32_t next;
};
struct edges {
	uint32_t head, tail;
};
struct watch {
	uint32_t clause, next;
	lit blocker;
};
/* mem: [size, tag, lits...]; tag is the choice's variable, or LEARNT | number of the learnt clause */
#define LEARNT 0x80000000u
#define DEAD 0x80000000u /* in size */
struct late {
	lit lit;
	reason reason;
	uint32_t level;
};
struct mark {
	uint32_t trail, gates, open, supposed;
};
struct conflict {
	uint32_t clause; /* 0: a and b */
	lit a, b;
	bool is;
};
struct step { /* of a proof */
	reason reason;
	lit lit; /* what it implied, or for conflicts its other literal */
};
struct learnt {
	uint32_t clause, glue;
	uint32_t steps, steps_n;
};

struct cdcl {
	struct cdcl_ops ops;
	VEC(struct variable) var;
	VEC(struct group) group;
	VEC(struct choice) choice;
	VEC(uint32_t) choice_of; /* by variable */
	VEC(uint32_t) pref;
	VEC(struct edge) edge;
	VEC(struct edges) out; /* by literal: what it implies */
	VEC(struct watch) watch;
	VEC(uint32_t) watched; /* by literal: clauses to look at when it becomes false */
	uint32_t free_watch;
	VEC(uint32_t) mem;
	VEC(lit) trail;
	VEC(uint32_t) gates;	/* choices that are true, in that order */
	VEC(struct mark) marks; /* by level */
	VEC(struct late) late;
	VEC(struct learnt) learnt;
	VEC(lit) clause; /* being learnt */
	VEC(struct step) steps;
	VEC(struct step) now; /* of the clause being learnt */
	VEC(struct cdcl_why) why;
	VEC(uint32_t) alive;	/* learnt clauses not thrown away */
	VEC(uint32_t) supposed; /* variables to be false, as far as var.supposed says so still */
	VEC(uint32_t) core;
	uint32_t turned; /* so many of them are taken from the last to the first: what was supposed last rests on what came before */
	uint32_t at_supposed;  /* those before it are false */
	uint32_t first_chosen; /* the level of the first decision that is no supposition; NONE */
	struct conflict conflict;
	size_t head, grow;   /* trail: up to where propagated, expanded */
	uint32_t open;	     /* gates before this one are satisfied */
	uint32_t root_gates; /* gates of the root itself */
	double bump;
	size_t reduce_at;
	bool proof, active;
	struct cdcl_stats stats;
};

struct cdcl *cdcl_new(const struct cdcl_ops *ops)
{
	struct cdcl *s = xcalloc(1, sizeof(*s));
	s->ops = *ops;
	s->bump = 1;
	s->reduce_at = 4000;
	s->free_watch = NONE;
	s->first_chosen = NONE;
	vec_push(&s->mem, 0); /* place 0 is no clause */
	return s;
}

void cdcl_free(struct cdcl *s)
{
	if (!s)
		return;
	vec_release(&s->var);
	vec_release(&s->group);
	vec_release(&s->choice);
	vec_release(&s->choice_of);
	vec_release(&s->pref);
	vec_release(&s->edge);
	vec_release(&s->out);
	vec_release(&s->watch);
	vec_release(&s->watched);
	vec_release(&s->mem);
	vec_release(&s->trail);
	vec_release(&s->gates);
	vec_release(&s->marks);
	vec_release(&s->late);
	vec_release(&s->learnt);
	vec_release(&s->clause);
	vec_release(&s->steps);
	vec_release(&s->now);
	vec_release(&s->why);
	vec_release(&s->alive);
	vec_release(&s->supposed);
	vec_release(&s->core);
	free(s);
}

static uint32_t level_now(const struct cdcl *s)
{
	return (uint32_t)s->marks.n;
}

static int value(const struct cdcl *s, lit l)
{
	int v = s->var.v[VAR(l)].value;
	return IS_NEG(l) ? -v : v;
}

static uint32_t add_variables(struct cdcl *s, uint32_t n, enum kind kind, uint32_t group)
{
	uint32_t first = (uint32_t)s->var.n;
	if (n >= (UINT32_MAX >> 3) - first)
		panic("solver: too many variables");
	vec_reserve(&s->var, first + n);
	vec_reserve(&s->choice_of, first + n);
	vec_reserve(&s->out, 2 * ((size_t)first + n));
	vec_reserve(&s->watched, 2 * ((size_t)first + n));
	for (uint32_t i = 0; i < n; i++) {
		s->var.v[first + i] = (struct variable){.group = group, .kind = (uint8_t)kind};
		s->choice_of.v[first + i] = NONE;
	}
	for (size_t l = 2 * (size_t)first; l < 2 * ((size_t)first + n); l++) {
		s->out.v[l] = (struct edges){NONE, NONE};
		s->watched.v[l] = NONE;
	}
	s->var.n = s->choice_of.n = first + n;
	s->out.n = s->watched.n = 2 * ((size_t)first + n);
	return first;
}

/* Makes `l` true. False where it is false already: the caller has a conflict. */
static bool assign(struct cdcl *s, lit l, reason why, uint32_t level)
{
	struct variable *v = &s->var.v[VAR(l)];
	if (v->value)
		return (v->value > 0) == !IS_NEG(l);
	v->value = IS_NEG(l) ? -1 : 1;
	v->reason = why;
	v->level = level;
	vec_push(&s->trail, l);
	if (!IS_NEG(l)) {
		if (v->kind == CANDIDATE)
			s->group.v[v->group].chosen = VAR(l);
		else if (v->kind == CHOICE)
			vec_push(&s->gates, VAR(l));
	}
	return true;
}

static void clash(struct cdcl *s, uint32_t clause, lit a, lit b)
{
	if (!s->conflict.is)
		s->conflict = (struct conflict){clause, a, b, true};
}

/* A literal that follows from what was decided at `level`, though that may lie behind us. */
static void assign_late(struct cdcl *s, lit l, reason why, uint32_t level)
{
	if (level < level_now(s))
		vec_push(&s->late, ((struct late){l, why, level}));
	if (!assign(s, l, why, level))
		clash(s, IS_EDGE(why) ? 0 : why >> 1, l, IS_EDGE(why) ? (why >> 1) ^ 1 : 0);
}

static void edge_put(struct cdcl *s, lit from, lit to)
{
	uint32_t at = (uint32_t)s->edge.n;
	vec_push(&s->edge, ((struct edge){to, NONE}));
	struct edges *o = &s->out.v[from];
	if (o->head == NONE)
		o->head = at;
	else
		s->edge.v[o->tail].next = at;
	o->tail = at;
}

/* The clause "not from, or to". */
static void add_edge(struct cdcl *s, lit from, lit to)
{
	edge_put(s, from, to);
	edge_put(s, to ^ 1, from ^ 1);
	s->stats.clauses++;
	const struct variable *f = &s->var.v[VAR(from)], *t = &s->var.v[VAR(to)];
	if (value(s, from) > 0)
		assign_late(s, to, EDGE(from), f->level);
	else if (value(s, to) < 0 && (!f->value || f->level > t->level))
		assign_late(s, from ^ 1, EDGE(to ^ 1), s->var.v[VAR(to)].level);
}

static void watch_put(struct cdcl *s, lit l, uint32_t clause, lit blocker)
{
	uint32_t at = s->free_watch;
	if (at == NONE) {
		at = (uint32_t)s->watch.n;
		(void)vec_add(&s->watch);
	} else {
		s->free_watch = s->watch.v[at].next;
	}
	s->watch.v[at] = (struct watch){clause, s->watched.v[l], blocker};
	s->watched.v[l] = at;
}

/* The places of the two literals that stay open longest come first: true before open before false at a high level. */
static void watch_best(struct cdcl *s, lit *c, uint32_t n)
{
	for (uint32_t k = 0; k < 2; k++) {
		uint32_t best = k;
		uint64_t best_key = 0;
		for (uint32_t i = k; i < n; i++) {
			int v = value(s, c[i]);
			uint64_t key = v > 0 ? UINT64_MAX : v == 0 ? UINT64_MAX - 1 : s->var.v[VAR(c[i])].level + 1ull;
			if (key > best_key) {
				best_key = key;
				best = i;
				if (key == UINT64_MAX)
					break;
			}
		}
		lit t = c[k];
		c[k] = c[best];
		c[best] = t;
	}
}

/* Stores a clause of two literals or more; returns its place. */
static uint32_t clause_put(struct cdcl *s, const lit *c, uint32_t n, uint32_t tag)
{
	uint32_t at = (uint32_t)s->mem.n;
	if (s->mem.n + n + 2 >= UINT32_MAX >> 2)
		panic("solver: too many clauses");
	vec_reserve(&s->mem, s->mem.n + n + 2);
	s->mem.v[at] = n;
	s->mem.v[at + 1] = tag;
	memcpy(&s->mem.v[at + 2], c, n * sizeof(*c));
	s->mem.n += n + 2;
	s->stats.clauses++;
	return at;
}

static void clause_watch(struct cdcl *s, uint32_t at)
{
	const lit *c = &s->mem.v[at + 2];
	watch_put(s, c[0], at, c[1]);
	watch_put(s, c[1], at, c[0]);
}

/* Clauses of any length made of variables that may have values already. */
static void add_clause(struct cdcl *s, const lit *c, uint32_t n, uint32_t tag)
{
	uint32_t at = clause_put(s, c, n, tag);
	lit *l = &s->mem.v[at + 2];
	if (n == 1) {
		assign_late(s, l[0], CLAUSE(at), 0);
		return;
	}
	watch_best(s, l, n);
	clause_watch(s, at);
	if (value(s, l[0]) > 0 || value(s, l[1]) >= 0)
		return;
	uint32_t level = s->var.v[VAR(l[1])].level;
	if (value(s, l[0]) == 0)
		assign_late(s, l[0], CLAUSE(at), level);
	else
		clash(s, at, 0, 0);
}

uint32_t cdcl_add_group(struct cdcl *s, uint32_t n)
{
	uint32_t first = add_variables(s, n, CANDIDATE, (uint32_t)s->group.n);
	vec_push(&s->group, ((struct group){.first = first, .n = n, .chosen = NONE}));
	return first;
}

uint32_t cdcl_add_choice(struct cdcl *s, const uint32_t *vars, uint32_t n)
{
	uint32_t group = n ? s->var.v[vars[0]].group : NONE;
	for (uint32_t i = 1; i < n && group != NONE; i++)
		if (s->var.v[vars[i]].group != group)
			group = NONE;
	uint32_t v = add_variables(s, 1, CHOICE, group);
	s->choice_of.v[v] = (uint32_t)s->choice.n;
	vec_push(&s->choice, ((struct choice){.var = v, .at = (uint32_t)s->pref.n, .n = n}));
	vec_reserve(&s->pref, s->pref.n + n);
	if (n)
		memcpy(&s->pref.v[s->pref.n], vars, n * sizeof(*vars));
	s->pref.n += n;
	vec_clear(&s->clause);
	vec_push(&s->clause, NEG(v));
	for (uint32_t i = 0; i < n; i++)
		vec_push(&s->clause, POS(vars[i]));
	add_clause(s, s->clause.v, n + 1, v);
	return v;
}

uint32_t cdcl_add_ban(struct cdcl *s, const uint32_t *vars, uint32_t n)
{
	uint32_t v = add_variables(s, 1, BAN, NONE);
	for (uint32_t i = 0; i < n; i++)
		add_edge(s, POS(v), NEG(vars[i]));
	return v;
}

uint32_t cdcl_add_witness(struct cdcl *s, const uint32_t *vars, uint32_t n)
{
	uint32_t v = add_variables(s, 1, WITNESS, NONE);
	for (uint32_t i = 0; i < n; i++)
		add_edge(s, POS(vars[i]), POS(v));
	return v;
}

void cdcl_imply(struct cdcl *s, uint32_t var, uint32_t gate)
{
	add_edge(s, POS(var), POS(gate));
}

void cdcl_imply_if(struct cdcl *s, uint32_t var, const uint32_t *witness, uint32_t n, uint32_t gate)
{
	vec_clear(&s->clause);
	vec_push(&s->clause, NEG(var));
	vec_push(&s->clause, POS(gate));
	for (uint32_t i = 0; i < n; i++)
		vec_push(&s->clause, NEG(witness[i]));
	add_clause(s, s->clause.v, n + 2, gate);
}

void cdcl_refuse(struct cdcl *s, uint32_t var)
{
	lit c = NEG(var);
	add_clause(s, &c, 1, var);
}

bool cdcl_is_true(const struct cdcl *s, uint32_t var)
{
	return s->var.v[var].value > 0;
}

/* -- propagation -------------------------------------------------------------------------------------------------- */

static bool propagate_group(struct cdcl *s, lit p)
{
	const struct group *g = &s->group.v[s->var.v[VAR(p)].group];
	uint32_t first = g->first, n = g->n, level = level_now(s);
	for (uint32_t v = first; v < first + n; v++)
		if (v != VAR(p) && s->var.v[v].value >= 0 && !assign(s, NEG(v), EDGE(p), level)) {
			clash(s, 0, NEG(v), p ^ 1);
			return false;
		}
	return true;
}

static bool propagate_edges(struct cdcl *s, lit p)
{
	uint32_t level = level_now(s);
	for (uint32_t i = s->out.v[p].head; i != NONE; i = s->edge.v[i].next)
		if (!assign(s, s->edge.v[i].to, EDGE(p), level)) {
			clash(s, 0, s->edge.v[i].to, p ^ 1);
			return false;
		}
	return true;
}

/* Finds another literal to watch in place of c[1], which became false. */
static bool rewatch(const struct cdcl *s, lit *c, uint32_t n)
{
	for (uint32_t k = 2; k < n; k++)
		if (value(s, c[k]) >= 0) {
			lit t = c[1];
			c[1] = c[k];
			c[k] = t;
			return true;
		}
	return false;
}

static bool propagate_clauses(struct cdcl *s, lit p)
{
	lit no = p ^ 1;
	uint32_t *link = &s->watched.v[no], level = level_now(s);
	while (*link != NONE) {
		uint32_t at = *link;
		struct watch *w = &s->watch.v[at];
		if (value(s, w->blocker) > 0) {
			link = &w->next;
			continue;
		}
		uint32_t n = s->mem.v[w->clause];
		lit *c = &s->mem.v[w->clause + 2];
		if (n & DEAD) {
			*link = w->next;
			w->next = s->free_watch;
			s->free_watch = at;
			continue;
		}
		if (c[0] == no) {
			c[0] = c[1];
			c[1] = no;
		}
		w->blocker = c[0];
		if (value(s, c[0]) <= 0 && rewatch(s, c, n)) {
			*link = w->next;
			w->next = s->watched.v[c[1]];
			s->watched.v[c[1]] = at;
			continue;
		}
		if (!assign(s, c[0], CLAUSE(w->clause), level)) {
			clash(s, w->clause, 0, 0);
			return false;
		}
		link = &w->next;
	}
	return true;
}

static int expand(struct cdcl *s, uint32_t v, struct err *e)
{
	s->var.v[v].expanded = true;
	return s->ops.expand(s->ops.ctx, v, e);
}

/* Until nothing more follows, expanding what has become true. s->conflict tells of a conflict. */
static int propagate(struct cdcl *s, struct err *e)
{
	while (!s->conflict.is) {
		if (s->head < s->trail.n) {
			lit p = s->trail.v[s->head++];
			s->stats.propagations++;
			if (!IS_NEG(p) && s->var.v[VAR(p)].kind == CANDIDATE && !propagate_group(s, p))
				break;
			if (!propagate_edges(s, p) || !propagate_clauses(s, p))
				break;
		} else if (s->grow < s->trail.n) {
			lit p = s->trail.v[s->grow++];
			const struct variable *v = &s->var.v[VAR(p)];
			if (!IS_NEG(p) && v->kind == CANDIDATE && !v->expanded && expand(s, VAR(p), e) < 0)
				return -1;
		} else {
			break;
		}
	}
	return 0;
}

/* Back to a level; what follows at that level from clauses added since is put in place again. */
static void jump(struct cdcl *s, uint32_t level)
{
	if (level >= level_now(s))
		return;
	struct mark m = s->marks.v[level];
	while (s->trail.n > m.trail) {
		lit l = vec_pop(&s->trail);
		struct variable *v = &s->var.v[VAR(l)];
		v->value = 0;
		if (!IS_NEG(l) && v->kind == CANDIDATE)
			s->group.v[v->group].chosen = NONE;
	}
	s->gates.n = m.gates;
	s->open = m.open;
	s->at_supposed = m.supposed;
	s->marks.n = level;
	if (s->first_chosen != NONE && s->first_chosen > level)
		s->first_chosen = NONE;
	if (s->head > s->trail.n)
		s->head = s->trail.n;
	if (s->grow > s->trail.n)
		s->grow = s->trail.n;
	size_t kept = 0;
	for (size_t i = 0; i < s->late.n; i++) {
		struct late l = s->late.v[i];
		if (l.level > level)
			continue;
		if (!assign(s, l.lit, l.reason, l.level))
			clash(s, IS_EDGE(l.reason) ? 0 : l.reason >> 1, l.lit,
			      IS_EDGE(l.reason) ? (l.reason >> 1) ^ 1 : 0);
		if (l.level < level) /* at its own level it is on the trail for good */
			s->late.v[kept++] = l;
	}
	s->late.n = kept;
}

/* -- learning ----------------------------------------------------------------------------------------------------- */

/* The false literals of a conflict or of a reason, without the one that was implied. */
struct lits {
	const lit *p;
	uint32_t n;
	lit pair[2];
};

static void lits_of_reason(const struct cdcl *s, reason r, lit implied, struct lits *l)
{
	if (IS_EDGE(r)) {
		l->pair[0] = (r >> 1) ^ 1;
		l->pair[1] = implied;
		l->p = l->pair;
		l->n = implied == NONE ? 1 : 2;
		return;
	}
	l->p = &s->mem.v[(r >> 1) + 2];
	l->n = s->mem.v[r >> 1] & ~DEAD;
}

static void lits_of_conflict(const struct cdcl *s, const struct conflict *c, struct lits *l)
{
	if (c->clause) {
		lits_of_reason(s, CLAUSE(c->clause), NONE, l);
		return;
	}
	l->pair[0] = c->a;
	l->pair[1] = c->b;
	l->p = l->pair;
	l->n = 2;
}

static uint32_t conflict_level(const struct cdcl *s)
{
	struct lits l;
	uint32_t level = 0;
	lits_of_conflict(s, &s->conflict, &l);
	for (uint32_t i = 0; i < l.n; i++)
		if (s->var.v[VAR(l.p[i])].level > level)
			level = s->var.v[VAR(l.p[i])].level;
	return level;
}

static void note(struct cdcl *s, reason r, lit l)
{
	if (s->proof)
		vec_push(&s->now, ((struct step){r, l}));
}

static void bump(struct cdcl *s, uint32_t var)
{
	uint32_t g = s->var.v[var].group;
	if (g == NONE)
		return;
	s->active = true;
	if ((s->group.v[g].activity += s->bump) > 1e100) {
		vec_foreach(it, &s->group)
			it->activity *= 1e-100;
		s->bump *= 1e-100;
	}
}

/* Takes in the literals of one clause of the resolution; returns how many are of the conflict's level. */
static uint32_t resolve(struct cdcl *s, const struct lits *l, lit implied, uint32_t level)
{
	uint32_t open = 0;
	for (uint32_t i = 0; i < l->n; i++) {
		struct variable *v = &s->var.v[VAR(l->p[i])];
		if (l->p[i] == implied || v->seen)
			continue;
		if (v->level == 0) {
			note(s, 0, l->p[i]); /* true from the beginning: its own proof is looked up at the end */
			continue;
		}
		v->seen = true;
		if (v->level == level)
			open++;
		else
			vec_push(&s->clause, l->p[i]);
	}
	return open;
}

/* A literal is superfluous where the others imply it by one step. */
static bool is_superfluous(struct cdcl *s, lit l)
{
	reason r = s->var.v[VAR(l)].reason;
	struct lits of;
	if (!r)
		return false;
	lits_of_reason(s, r, l ^ 1, &of);
	for (uint32_t i = 0; i < of.n; i++) {
		const struct variable *v = &s->var.v[VAR(of.p[i])];
		if (of.p[i] != (l ^ 1) && !v->seen && v->level)
			return false;
	}
	note(s, r, l ^ 1);
	if (s->proof)
		for (uint32_t i = 0; i < of.n; i++)
			if (!s->var.v[VAR(of.p[i])].level)
				note(s, 0, of.p[i]);
	return true;
}

/* Makes s->clause the learnt clause, the asserting literal first. */
static void analyse(struct cdcl *s)
{
	struct lits l;
	uint32_t level = level_now(s);
	size_t at = s->trail.n;
	lit p = NONE;
	vec_clear(&s->clause);
	vec_push(&s->clause, NONE);
	lits_of_conflict(s, &s->conflict, &l);
	note(s, s->conflict.clause ? CLAUSE(s->conflict.clause) : EDGE(l.p[1] ^ 1), l.p[0]);
	uint32_t open = resolve(s, &l, NONE, level);
	for (;;) {
		do
			p = s->trail.v[--at];
		while (!s->var.v[VAR(p)].seen || s->var.v[VAR(p)].level != level);
		if (--open == 0)
			break;
		reason r = s->var.v[VAR(p)].reason;
		note(s, r, p);
		lits_of_reason(s, r, p, &l);
		open += resolve(s, &l, p, level);
		s->var.v[VAR(p)].seen = false;
	}
	s->clause.v[0] = p ^ 1;
	size_t n = 1;
	VEC(lit) gone = {0};
	for (size_t i = 1; i < s->clause.n; i++) {
		lit c = s->clause.v[i];
		if (is_superfluous(s, c))
			vec_push(&gone, c);
		else
			s->clause.v[n++] = c;
	}
	s->clause.n = n;
	vec_foreach(c, &s->clause)
		s->var.v[VAR(*c)].seen = false;
	vec_foreach(c, &gone)
		s->var.v[VAR(*c)].seen = false;
	vec_release(&gone);
}

/* In how many levels the clause's literals lie: the fewer, the more it is worth. */
static uint32_t glue_of(struct cdcl *s)
{
	uint32_t glue = 0;
	for (size_t i = 0; i < s->clause.n; i++) {
		uint32_t level = s->var.v[VAR(s->clause.v[i])].level;
		bool new = true;
		for (size_t k = 0; k < i && k < 64 && new; k++)
			new = s->var.v[VAR(s->clause.v[k])].level != level;
		glue += new;
	}
	return glue;
}

static int by_glue(const void *a, const void *b, void *ctx)
{
	const struct cdcl *s = ctx;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	uint32_t gx = s->learnt.v[x].glue, gy = s->learnt.v[y].glue;
	return gx != gy ? (gx > gy) - (gx < gy) : (x < y) - (x > y);
}

/* Forgets half of the learnt clauses: those that span many levels, the oldest first. Their place stays used. */
static void reduce(struct cdcl *s)
{
	size_t kept = 0;
	qsort_r(s->alive.v, s->alive.n, sizeof(*s->alive.v), by_glue, s);
	for (size_t i = 0; i < s->alive.n; i++) {
		struct learnt *l = &s->learnt.v[s->alive.v[i]];
		lit first = s->mem.v[l->clause + 2];
		bool used = value(s, first) > 0 && s->var.v[VAR(first)].reason == CLAUSE(l->clause);
		if (i < s->alive.n / 2 || l->glue <= 2 || used)
			s->alive.v[kept++] = s->alive.v[i];
		else
			s->mem.v[l->clause] |= DEAD;
	}
	s->alive.n = kept;
	s->reduce_at = kept + 4000 + s->stats.conflicts / 64;
}

/* Stores s->clause and says what follows from it at once. */
static void learn(struct cdcl *s)
{
	uint32_t n = (uint32_t)s->clause.n, back = 0, number = (uint32_t)s->learnt.n, glue = glue_of(s);
	for (uint32_t i = 1; i < n; i++) {
		uint32_t level = s->var.v[VAR(s->clause.v[i])].level;
		if (level > back) {
			back = level;
			lit t = s->clause.v[1];
			s->clause.v[1] = s->clause.v[i];
			s->clause.v[i] = t;
		}
	}
	vec_foreach(c, &s->clause)
		bump(s, VAR(*c));
	s->bump *= 1 / 0.95;
	uint32_t at = clause_put(s, s->clause.v, n, LEARNT | number);
	struct learnt *l = vec_add(&s->learnt);
	*l = (struct learnt){at, glue, (uint32_t)s->steps.n, (uint32_t)s->now.n};
	vec_foreach(st, &s->now)
		vec_push(&s->steps, *st);
	vec_clear(&s->now);
	vec_push(&s->alive, number);
	s->stats.learnt++;
	s->conflict.is = false;
	jump(s, back);
	if (n > 1)
		clause_watch(s, at);
	if (!assign(s, s->mem.v[at + 2], CLAUSE(at), back))
		clash(s, at, 0, 0);
	if (s->alive.n > s->reduce_at && !s->conflict.is)
		reduce(s);
}

/* -- proof -------------------------------------------------------------------------------------------------------- */

void cdcl_record_proof(struct cdcl *s)
{
	s->proof = true;
}

struct proof {
	struct cdcl *s;
	VEC(uint32_t) todo; /* learnt clauses */
	VEC(uint32_t) vars; /* of level 0 */
	bool *learnt_seen, *var_seen;
};

static void why_edge(struct cdcl *s, lit from, lit to)
{
	enum kind f = s->var.v[VAR(from)].kind, t = s->var.v[VAR(to)].kind;
	uint32_t a = VAR(from), b = VAR(to);
	struct cdcl_why w = {CDCL_OTHER, a, b};
	if (f == CANDIDATE && t == CANDIDATE)
		w = (struct cdcl_why){CDCL_GROUP, a, b};
	else if (f == BAN || t == BAN) {
		uint32_t ban = f == BAN ? a : b, cand = f == BAN ? b : a;
		lit bl = f == BAN ? from : to, cl = f == BAN ? to : from;
		bool positive = IS_NEG(bl) == IS_NEG(cl); /* candidate → ban; otherwise ban → not candidate */
		if (!positive || (f == BAN && !IS_NEG(from)) || (t == BAN && IS_NEG(to)))
			w = (struct cdcl_why){CDCL_BANS, ban, cand};
		else
			w = (struct cdcl_why){CDCL_IMPLIES, cand, ban};
	} else if (f == CANDIDATE && t == CHOICE)
		w = (struct cdcl_why){CDCL_IMPLIES, a, b};
	else if (f == CHOICE && t == CANDIDATE)
		w = (struct cdcl_why){CDCL_IMPLIES, b, a};
	vec_push(&s->why, w);
}

static void proof_lit(struct proof *p, lit l)
{
	uint32_t v = VAR(l);
	if (!p->var_seen[v]) {
		p->var_seen[v] = true;
		vec_push(&p->vars, v);
	}
}

static void proof_reason(struct proof *p, reason r, lit l)
{
	struct cdcl *s = p->s;
	if (!r) {
		proof_lit(p, l);
		return;
	}
	if (IS_EDGE(r)) {
		why_edge(s, r >> 1, l);
		return;
	}
	uint32_t tag = s->mem.v[(r >> 1) + 1];
	if (tag & LEARNT) {
		if (!p->learnt_seen[tag & ~LEARNT]) {
			p->learnt_seen[tag & ~LEARNT] = true;
			vec_push(&p->todo, tag & ~LEARNT);
		}
	} else {
		bool choice = s->var.v[tag].kind == CHOICE;
		vec_push(&s->why, ((struct cdcl_why){choice ? CDCL_CHOICE : CDCL_REFUSED, tag, 0}));
	}
}

size_t cdcl_proof(struct cdcl *s, const struct cdcl_why **ret)
{
	struct proof p = {.s = s};
	struct lits l;
	vec_clear(&s->why);
	p.learnt_seen = xcalloc(s->learnt.n + 1, 1);
	p.var_seen = xcalloc(s->var.n + 1, 1);
	if (s->proof && s->conflict.is) {
		lits_of_conflict(s, &s->conflict, &l);
		proof_reason(&p, s->conflict.clause ? CLAUSE(s->conflict.clause) : EDGE(l.p[1] ^ 1), l.p[0]);
		for (uint32_t i = 0; i < l.n; i++)
			proof_lit(&p, l.p[i]);
	}
	while (p.todo.n || p.vars.n) {
		if (p.todo.n) {
			struct learnt d = s->learnt.v[vec_pop(&p.todo)];
			for (uint32_t i = 0; i < d.steps_n; i++)
				proof_reason(&p, s->steps.v[d.steps + i].reason, s->steps.v[d.steps + i].lit);
			continue;
		}
		const struct variable *v = &s->var.v[vec_pop(&p.vars)];
		lit is = v->value > 0 ? POS(v - s->var.v) : NEG(v - s->var.v);
		if (!v->value || !v->reason)
			continue;
		proof_reason(&p, v->reason, is);
		lits_of_reason(s, v->reason, is, &l);
		for (uint32_t i = 0; i < l.n; i++)
			proof_lit(&p, l.p[i]);
	}
	vec_release(&p.todo);
	vec_release(&p.vars);
	free(p.learnt_seen);
	free(p.var_seen);
	*ret = s->why.v;
	return s->why.n;
}

/* -- the search --------------------------------------------------------------------------------------------------- */

static bool is_satisfied(const struct cdcl *s, uint32_t gate)
{
	uint32_t g = s->var.v[gate].group;
	if (g != NONE) /* whatever is chosen in the group is one of ours, or there would have been a conflict */
		return s->group.v[g].chosen != NONE;
	const struct choice *c = &s->choice.v[s->choice_of.v[gate]];
	for (uint32_t i = 0; i < c->n; i++)
		if (s->var.v[s->pref.v[c->at + i]].value > 0)
			return true;
	return false;
}

/* How many candidates of a choice are open still; stops at `most`. */
static uint32_t count_open(const struct cdcl *s, uint32_t gate, uint32_t most)
{
	const struct choice *c = &s->choice.v[s->choice_of.v[gate]];
	uint32_t n = 0;
	for (uint32_t i = 0; i < c->n && n < most; i++)
		n += s->var.v[s->pref.v[c->at + i]].value == 0;
	return n;
}

static double activity_of(const struct cdcl *s, uint32_t gate)
{
	uint32_t g = s->var.v[gate].group;
	return g == NONE ? 0 : s->group.v[g].activity;
}

/* The choice to decide next, or NONE. */
static uint32_t next_choice(struct cdcl *s)
{
	while (s->open < s->gates.n && is_satisfied(s, s->gates.v[s->open]))
		s->open++;
	if (s->open >= s->gates.n)
		return NONE;
	uint32_t best = s->gates.v[s->open];
	if (!s->active || s->open < s->root_gates)
		return best;
	double activity = activity_of(s, best);
	uint32_t count = count_open(s, best, UINT32_MAX);
	for (size_t i = s->open + 1; i < s->gates.n && count > 1; i++) {
		uint32_t g = s->gates.v[i];
		double a = activity_of(s, g);
		if (a <= activity || is_satisfied(s, g))
			continue;
		uint32_t n = count_open(s, g, count);
		if (n >= count)
			continue;
		best = g;
		activity = a;
		count = n;
	}
	return best;
}

/* The best candidate left of a choice that is open. */
static uint32_t best_candidate(struct cdcl *s, uint32_t gate)
{
	struct choice *c = &s->choice.v[s->choice_of.v[gate]];
	for (uint32_t i = 0; i < c->n; i++) {
		uint32_t *p = &s->pref.v[c->at];
		if (i < c->sorted || !s->ops.order) {
			if (s->var.v[p[i]].value == 0)
				return p[i];
			continue;
		}
		uint32_t ranked = s->ops.order(s->ops.ctx, p + i, c->n - i);
		c = &s->choice.v[s->choice_of.v[gate]];
		c->sorted = i + ranked;
		i--;
	}
	panic("solver: a choice without candidates was not noticed");
}

static void decide_on(struct cdcl *s, lit l)
{
	vec_push(&s->marks, ((struct mark){(uint32_t)s->trail.n, (uint32_t)s->gates.n, s->open, s->at_supposed}));
	assign(s, l, 0, level_now(s));
	s->stats.decisions++;
}

/* Adds to the core the decisions that what is seen follows from: suppositions all of them. */
static void trace_core(struct cdcl *s)
{
	struct lits l;
	for (size_t at = s->trail.n; at-- > 0;) {
		struct variable *v = &s->var.v[VAR(s->trail.v[at])];
		if (!v->seen)
			continue;
		v->seen = false;
		if (!v->reason) {
			vec_push(&s->core, VAR(s->trail.v[at]));
			continue;
		}
		lits_of_reason(s, v->reason, s->trail.v[at], &l);
		for (uint32_t i = 0; i < l.n; i++)
			if (l.p[i] != s->trail.v[at] && s->var.v[VAR(l.p[i])].level > 0)
				s->var.v[VAR(l.p[i])].seen = true;
	}
}

/* `var` is true, though it is supposed to be false: because of which other suppositions? */
static void find_core(struct cdcl *s, uint32_t var)
{
	vec_clear(&s->core);
	vec_push(&s->core, var);
	s->var.v[var].seen = s->var.v[var].level > 0;
	trace_core(s);
}

static void find_core_of_conflict(struct cdcl *s)
{
	struct lits l;
	vec_clear(&s->core);
	lits_of_conflict(s, &s->conflict, &l);
	for (uint32_t i = 0; i < l.n; i++)
		if (s->var.v[VAR(l.p[i])].level > 0)
			s->var.v[VAR(l.p[i])].seen = true;
	trace_core(s);
}

/* The next supposition that is open is made so. 0: done, or gone back to where it can be; 1: none is open; 3: one cannot be. */
static int suppose(struct cdcl *s)
{
	for (; s->at_supposed < s->supposed.n; s->at_supposed++) {
		uint32_t at = s->at_supposed, var = s->supposed.v[at < s->turned ? s->turned - 1 - at : at];
		const struct variable *v = &s->var.v[var];
		if (!v->supposed || v->value < 0)
			continue;
		if (v->value == 0) {
			decide_on(s, NEG(var));
			return 0;
		}
		if (s->first_chosen != NONE) {
			jump(s, s->first_chosen - 1);
			return 0;
		}
		find_core(s, var);
		return 3;
	}
	return 1;
}

/* 0: decided, 1: everything is decided, 2: the candidate had to be expanded first, 3: s->core cannot be. */
static int decide(struct cdcl *s, struct err *e)
{
	int rc = suppose(s);
	if (rc != 1)
		return rc;
	uint32_t gate = s->ops.next ? s->ops.next(s->ops.ctx) : next_choice(s);
	if (gate == NONE)
		return 1;
	uint32_t v = best_candidate(s, gate);
	if (!s->var.v[v].expanded)
		return expand(s, v, e) < 0 ? -1 : 2;
	decide_on(s, POS(v));
	if (s->first_chosen == NONE)
		s->first_chosen = level_now(s);
	return 0;
}

static int search(struct cdcl *s, uint64_t max_conflicts, struct err *e)
{
	for (;;) {
		if (propagate(s, e) < 0)
			return -1;
		if (s->conflict.is) {
			jump(s, conflict_level(s));
			if (level_now(s) == 0)
				return 1;
			if (++s->stats.conflicts > max_conflicts)
				return err_new(e, ERR_LIMIT,
					       "gave up after %llu conflicts; ask for more exact versions",
					       (unsigned long long)max_conflicts);
			analyse(s);
			learn(s);
			continue;
		}
		int rc = decide(s, e);
		if (rc < 0 || rc == 1)
			return rc < 0 ? -1 : 0;
		if (rc == 3)
			return 2;
	}
}

int cdcl_solve(struct cdcl *s, uint32_t root, uint64_t max_conflicts, struct err *e)
{
	add_clause(s, (lit[]){POS(root)}, 1, root);
	s->var.v[root].expanded = true;
	if (!s->conflict.is && s->ops.expand(s->ops.ctx, root, e) < 0)
		return -1;
	for (size_t i = 0; i < s->trail.n; i++)
		for (uint32_t k = s->out.v[s->trail.v[i]].head; VAR(s->trail.v[i]) == root && k != NONE;
		     k = s->edge.v[k].next)
			s->root_gates += s->var.v[VAR(s->edge.v[k].to)].kind == CHOICE;
	return search(s, max_conflicts, e);
}

void cdcl_suppose_not(struct cdcl *s, uint32_t var)
{
	if (!s->var.v[var].supposed)
		vec_push(&s->supposed, var);
	s->var.v[var].supposed = true;
}

void cdcl_suppose_no_more(struct cdcl *s, uint32_t var)
{
	s->var.v[var].supposed = false;
}

int cdcl_again(struct cdcl *s, uint64_t max_conflicts, struct err *e)
{
	size_t kept = 0;
	jump(s, 0);
	for (size_t i = 0; i < s->supposed.n; i++)
		if (s->var.v[s->supposed.v[i]].supposed)
			s->supposed.v[kept++] = s->supposed.v[i];
	s->supposed.n = s->turned = (uint32_t)kept;
	s->at_supposed = 0;
	return search(s, max_conflicts, e);
}

void cdcl_back(struct cdcl *s)
{
	jump(s, 0);
}

int cdcl_fixed(const struct cdcl *s, uint32_t var)
{
	const struct variable *v = &s->var.v[var];
	return v->level == 0 ? v->value : 0;
}

size_t cdcl_core(const struct cdcl *s, const uint32_t **ret)
{
	*ret = s->core.v;
	return s->core.n;
}

/* Supposes all of v[0..n) but one: 1 where that cannot be as far as one sees without a search, and s->core has those that it takes; 0; -1. */
static int test_core(struct cdcl *s, const uint32_t *v, size_t n, size_t but, struct err *e)
{
	jump(s, 0);
	for (size_t i = 0; i <= n; i++) {
		if (propagate(s, e) < 0)
			return -1;
		if (s->conflict.is) {
			find_core_of_conflict(s);
			s->conflict.is = false;
			jump(s, 0);
			return 1;
		}
		if (i == n || i == but || s->var.v[v[i]].value < 0)
			continue;
		if (s->var.v[v[i]].value > 0) {
			find_core(s, v[i]);
			return 1;
		}
		decide_on(s, NEG(v[i]));
	}
	return 0;
}

int cdcl_narrow(struct cdcl *s, uint32_t *v, size_t *n, struct err *e)
{
	for (size_t i = *n; i-- > 0;) {
		int rc = test_core(s, v, *n, i, e);
		if (rc < 0)
			return -1;
		if (!rc || !s->core.n)
			continue;
		size_t kept = 0, before = 0; /* in their order: those behind i were tried */
		for (size_t k = 0; k < *n; k++) {
			bool in = false;
			for (size_t c = 0; c < s->core.n && !in; c++)
				in = s->core.v[c] == v[k];
			if (in) {
				v[kept++] = v[k];
				before += k < i;
			}
		}
		i = before;
		*n = kept;
	}
	jump(s, 0);
	return 0;
}

void cdcl_calm(struct cdcl *s)
{
	vec_foreach(g, &s->group)
		g->activity = 0;
	s->active = false;
}

uint32_t cdcl_chosen(const struct cdcl *s, uint32_t gate)
{
	const struct choice *c = &s->choice.v[s->choice_of.v[gate]];
	for (uint32_t i = 0; i < c->n; i++)
		if (s->var.v[s->pref.v[c->at + i]].value > 0)
			return s->pref.v[c->at + i];
	return NONE;
}

struct cdcl_stats cdcl_stats(const struct cdcl *s)
{
	struct cdcl_stats st = s->stats;
	st.variables = s->var.n;
	return st;
}
