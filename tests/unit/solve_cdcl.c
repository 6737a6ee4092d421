// SPDX-License-Identifier: Apache-2.0
/* The engine against a brute-force oracle on small random worlds. */
#include "lib/test.h"
#include "solve/cdcl.h"
#include "solve/optimum.h"

enum { GROUPS = 6, SIZE = 4, DEPS = 3, ROOTS = 3, AIMS = 3, NO_GROUP = UINT32_MAX };

/* Candidate k of group g is number g*SIZE+k; a set of candidates is a bit mask. */
struct need {
	uint32_t set;
	bool ban;
	uint32_t cond; /* only if one of these is installed as well; 0: always */
};
struct world {
	int size[GROUPS];
	struct need deps[GROUPS * SIZE][DEPS];
	int deps_n[GROUPS * SIZE];
	uint32_t root[ROOTS];
	int root_group[ROOTS];
	int root_n;
	uint32_t root_ban;
	uint32_t refused;
};
struct run {
	const struct world *w;
	struct cdcl *s;
	struct optimum *o; /* NULL: no best is looked for */
	uint32_t root, first[GROUPS];
	unsigned expanded;
};

static uint64_t seed;
static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

static uint32_t some_of(const struct world *w, int g)
{
	uint32_t set = 0;
	for (int k = 0; k < w->size[g]; k++)
		if (rnd(5) < 3)
			set |= 1u << (g * SIZE + k);
	return set;
}

static void make_world(struct world *w)
{
	memset(w, 0, sizeof(*w));
	int groups = 4 + (int)rnd(GROUPS - 3);
	for (int g = 0; g < groups; g++)
		w->size[g] = 2 + (int)rnd(SIZE - 1);
	for (int g = 0; g < groups; g++)
		for (int k = 0; k < w->size[g]; k++) {
			int c = g * SIZE + k;
			w->deps_n[c] = (int)rnd(DEPS + 1);
			for (int d = 0; d < w->deps_n[c]; d++) {
				struct need *n = &w->deps[c][d];
				n->ban = rnd(3) == 0;
				n->set = some_of(w, (int)rnd((uint32_t)groups));
				if (!n->ban && rnd(5) == 0)
					n->set |= some_of(w, (int)rnd((uint32_t)groups)); /* of two groups */
				if (!n->ban && rnd(6) == 0)
					n->cond = some_of(w, (int)rnd((uint32_t)groups));
			}
			if (rnd(20) == 0)
				w->refused |= 1u << c;
		}
	w->root_n = 1 + (int)rnd(ROOTS);
	for (int i = 0; i < w->root_n; i++) {
		w->root_group[i] = (int)rnd((uint32_t)groups);
		w->root[i] = some_of(w, w->root_group[i]);
	}
	if (rnd(3) == 0)
		w->root_ban = some_of(w, (int)rnd((uint32_t)groups));
}

/* Groups are brought in when they are spoken of. */
static uint32_t vars_of(struct run *r, uint32_t set, uint32_t *vars)
{
	uint32_t n = 0;
	for (int c = 0; c < GROUPS * SIZE; c++)
		if (set >> c & 1 && r->first[c / SIZE] == NO_GROUP) {
			r->first[c / SIZE] = cdcl_add_group(r->s, (uint32_t)r->w->size[c / SIZE]);
			optimum_add(r->o, r->first[c / SIZE], (uint32_t)r->w->size[c / SIZE]);
		}
	for (int c = 0; c < GROUPS * SIZE; c++)
		if (set >> c & 1)
			vars[n++] = r->first[c / SIZE] + (uint32_t)c % SIZE;
	return n;
}

static int expand(void *ctx, uint32_t var, struct err *e)
{
	struct run *r = ctx;
	uint32_t v[GROUPS * SIZE];
	(void)e;
	if (var == r->root) {
		for (int i = 0; i < r->w->root_n; i++)
			cdcl_imply(r->s, var, cdcl_add_choice(r->s, v, vars_of(r, r->w->root[i], v)));
		if (r->w->root_ban)
			cdcl_imply(r->s, var, cdcl_add_ban(r->s, v, vars_of(r, r->w->root_ban, v)));
		return 0;
	}
	r->expanded++;
	for (int c = 0; c < GROUPS * SIZE; c++) {
		if (r->first[c / SIZE] == NO_GROUP || r->first[c / SIZE] + (uint32_t)c % SIZE != var ||
		    c % SIZE >= r->w->size[c / SIZE])
			continue;
		if (r->w->refused >> c & 1)
			cdcl_refuse(r->s, var);
		for (int d = 0; d < r->w->deps_n[c]; d++) {
			const struct need *n = &r->w->deps[c][d];
			uint32_t k = vars_of(r, n->set, v);
			uint32_t gate = n->ban ? cdcl_add_ban(r->s, v, k) : cdcl_add_choice(r->s, v, k);
			if (n->cond) {
				k = vars_of(r, n->cond, v);
				cdcl_imply_if(r->s, var, (uint32_t[]){cdcl_add_witness(r->s, v, k)}, 1, gate);
			} else {
				cdcl_imply(r->s, var, gate);
			}
		}
	}
	return 0;
}

static bool is_valid(const struct world *w, uint32_t in)
{
	for (int i = 0; i < w->root_n; i++)
		if (!(w->root[i] & in))
			return false;
	if (w->root_ban & in || w->refused & in)
		return false;
	for (int g = 0; g < GROUPS; g++)
		if (__builtin_popcount(in >> (g * SIZE) & ((1u << SIZE) - 1)) > 1)
			return false;
	for (int c = 0; c < GROUPS * SIZE; c++) {
		if (!(in >> c & 1))
			continue;
		for (int d = 0; d < w->deps_n[c]; d++) {
			const struct need *n = &w->deps[c][d];
			if (n->ban ? (n->set & in) != 0 : !(n->set & in) && (!n->cond || n->cond & in))
				return false;
		}
	}
	return true;
}

/* How good a solution is for root i: the place of its candidate. */
static int place(const struct world *w, uint32_t in, int i)
{
	return __builtin_ctz(w->root[i] & in);
}

static bool dominates(const struct world *w, uint32_t a, uint32_t b)
{
	bool better = false;
	for (int i = 0; i < w->root_n; i++) {
		if (place(w, a, i) > place(w, b, i))
			return false;
		better |= place(w, a, i) < place(w, b, i);
	}
	return better;
}

/* Whether a comes before b when the roots are looked at in order. */
static bool lexically_before(const struct world *w, uint32_t a, uint32_t b)
{
	for (int i = 0; i < w->root_n; i++)
		if (place(w, a, i) != place(w, b, i))
			return place(w, a, i) < place(w, b, i);
	return false;
}

static uint32_t next_set(const struct world *w, int *at)
{
	uint32_t in = 0;
	for (int g = 0; g < GROUPS; g++)
		if (at[g])
			in |= 1u << (g * SIZE + at[g] - 1);
	for (int g = 0; g < GROUPS; g++) {
		if (++at[g] <= w->size[g])
			return in;
		at[g] = 0;
	}
	at[0] = -1; /* the last one */
	return in;
}

static uint32_t check_best(const struct world *w, uint32_t found, bool lexical)
{
	int at[GROUPS] = {0};
	uint32_t any = 0;
	while (at[0] >= 0) {
		uint32_t in = next_set(w, at);
		if (!is_valid(w, in))
			continue;
		any = in;
		if (!found)
			break;
		CHECK_MSG(!dominates(w, in, found), "a better solution was passed over");
		CHECK_MSG(!lexical || !lexically_before(w, in, found), "the first root is not best");
	}
	return any;
}

static uint32_t set_of(const struct run *r)
{
	uint32_t in = 0;
	for (int c = 0; c < GROUPS * SIZE; c++)
		if (c % SIZE < r->w->size[c / SIZE] && r->first[c / SIZE] != NO_GROUP &&
		    cdcl_is_true(r->s, r->first[c / SIZE] + (uint32_t)c % SIZE))
			in |= 1u << c;
	return in;
}

static void run_world(const struct world *w, bool proof, unsigned *solved, unsigned *conflicts)
{
	struct run r = {.w = w};
	struct cdcl_ops ops = {.ctx = &r, .expand = expand};
	auto_ptr(cdcl) s = cdcl_new(&ops);
	struct err e = ERR_INIT;
	r.s = s;
	r.root = cdcl_add_group(s, 1);
	for (int g = 0; g < GROUPS; g++)
		r.first[g] = cdcl_add_group(s, (uint32_t)w->size[g]);
	if (proof)
		cdcl_record_proof(s);
	int rc = cdcl_solve(s, r.root, 100000, &e);
	CHECK_MSG(rc >= 0, "%s", e.msg);
	*conflicts += (unsigned)cdcl_stats(s).conflicts;
	if (rc == 1) {
		const struct cdcl_why *why;
		CHECK_INT(check_best(w, 0, false), 0);
		if (proof)
			CHECK(cdcl_proof(s, &why) > 0);
		return;
	}
	uint32_t in = set_of(&r);
	CHECK(is_valid(w, in));
	check_best(w, in, true);
	++*solved;
}

static void worlds(uint64_t from, unsigned n, bool proof)
{
	unsigned solved = 0, conflicts = 0;
	for (unsigned i = 0; i < n; i++) {
		struct world w;
		seed = from + i;
		rnd(2);
		make_world(&w);
		run_world(&w, proof, &solved, &conflicts);
	}
	printf("# %u of %u worlds have a solution, %u conflicts\n", solved, n, conflicts);
	CHECK(solved > n / 10 && solved < n - n / 10);
	CHECK(conflicts > n / 4);
}

TEST(random_worlds_agree_with_brute_force)
{
	worlds(1, 6000, false);
}

TEST(random_worlds_with_proof)
{
	worlds(100000, 2000, true);
}

/* Costs that a candidate has by its place in its group, and its group. */
static uint32_t cost_of(int c, unsigned aim)
{
	static const uint32_t by_place[AIMS][SIZE] = {{0, 0, 1, 0}, {0, 1, 2, 7}, {1, 1, 1, 0}};
	return aim == 0 && c / SIZE % 2 ? 0 : by_place[aim][c % SIZE] * (aim == 1 && c / SIZE == 3 ? 3 : 1);
}

static uint32_t cost_of_var(void *ctx, unsigned aim, uint32_t var)
{
	const struct run *r = ctx;
	for (int g = 0; g < GROUPS; g++)
		if (r->first[g] != NO_GROUP && var >= r->first[g] && var < r->first[g] + (uint32_t)r->w->size[g])
			return cost_of(g * SIZE + (int)(var - r->first[g]), aim);
	return 0;
}

static uint64_t cost_of_set(uint32_t in)
{
	uint64_t sum[AIMS] = {0};
	for (int c = 0; c < GROUPS * SIZE; c++)
		for (unsigned aim = 0; aim < AIMS && in >> c & 1; aim++)
			sum[aim] += cost_of(c, aim);
	return sum[0] << 40 | sum[1] << 20 | sum[2];
}

struct best {
	struct run r;
	uint32_t in;
	unsigned times;
};
static void note_best(void *ctx)
{
	struct best *b = ctx;
	uint32_t in = set_of(&b->r);
	CHECK_MSG(!b->times || cost_of_set(in) <= cost_of_set(b->in), "what was found later is worse");
	b->in = in;
	b->times++;
}

static uint64_t least_cost(const struct world *w)
{
	int at[GROUPS] = {0};
	uint64_t least = UINT64_MAX;
	while (at[0] >= 0) {
		uint32_t in = next_set(w, at);
		if (cost_of_set(in) < least && is_valid(w, in))
			least = cost_of_set(in);
	}
	return least;
}

static uint32_t cost_in_best(void *ctx, unsigned aim, uint32_t var)
{
	return cost_of_var(&((struct best *)ctx)->r, aim, var);
}

static bool find_best(const struct world *w)
{
	struct best b = {.r = {.w = w}};
	struct cdcl_ops ops = {.ctx = &b.r, .expand = expand};
	auto_ptr(cdcl) s = b.r.s = cdcl_new(&ops);
	cleanup_with(optimum_release) struct optimum o = {
		.s = s, .aims = AIMS, .cost = cost_in_best, .found = note_best, .ctx = &b};
	struct err e = ERR_INIT;
	b.r.o = &o;
	for (int g = 0; g < GROUPS; g++)
		b.r.first[g] = NO_GROUP;
	b.r.root = cdcl_add_group(s, 1);
	if (cdcl_solve(s, b.r.root, 100000, &e) != 0)
		return false;
	CHECK_INT(optimum_find(&o, 100000, &e), 0);
	CHECK(is_valid(w, b.in));
	CHECK_INT(cost_of_set(b.in), least_cost(w));
	return true;
}

TEST(best_by_aims_agrees_with_brute_force)
{
	unsigned solved = 0;
	for (unsigned i = 0; i < 2000; i++) {
		struct world w;
		seed = 300000 + i;
		rnd(2);
		make_world(&w);
		solved += find_best(&w);
	}
	CHECK(solved > 500);
}

/* n pigeons in n-1 holes: candidate h of group p is "pigeon p sits in hole h". Hard, and must end. */
struct pigeons {
	struct cdcl *s;
	uint32_t n, root, first;
};
static int expand_pigeons(void *ctx, uint32_t var, struct err *e)
{
	struct pigeons *p = ctx;
	uint32_t v[64];
	(void)e;
	if (var == p->root) {
		for (uint32_t i = 0; i < p->n; i++) {
			for (uint32_t h = 0; h + 1 < p->n; h++)
				v[h] = p->first + i * (p->n - 1) + h;
			cdcl_imply(p->s, var, cdcl_add_choice(p->s, v, p->n - 1));
		}
		return 0;
	}
	uint32_t me = (var - p->first) / (p->n - 1), hole = (var - p->first) % (p->n - 1), k = 0;
	for (uint32_t i = 0; i < p->n; i++)
		if (i != me)
			v[k++] = p->first + i * (p->n - 1) + hole;
	cdcl_imply(p->s, var, cdcl_add_ban(p->s, v, k));
	return 0;
}

static int solve_pigeons(uint32_t n, uint64_t limit, struct err *e)
{
	struct pigeons p = {.n = n};
	struct cdcl_ops ops = {.ctx = &p, .expand = expand_pigeons};
	auto_ptr(cdcl) s = p.s = cdcl_new(&ops);
	p.root = cdcl_add_group(s, 1);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t f = cdcl_add_group(s, n - 1);
		if (i == 0)
			p.first = f;
	}
	return cdcl_solve(s, p.root, limit, e);
}

TEST(pigeons_do_not_fit)
{
	struct err e = ERR_INIT;
	CHECK_INT(solve_pigeons(7, 1000000, &e), 1);
}

TEST(gives_up_at_the_limit)
{
	struct err e = ERR_INIT;
	CHECK_INT(solve_pigeons(12, 50, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
}

/* A hard sudoku: candidate d of group 9*row+column is the digit d+1 there. */
struct sudoku {
	struct cdcl *s;
	uint32_t root, first;
	const char *given;
};
static int expand_sudoku(void *ctx, uint32_t var, struct err *e)
{
	struct sudoku *u = ctx;
	uint32_t v[81];
	(void)e;
	if (var == u->root) {
		for (uint32_t cell = 0; cell < 81; cell++) {
			for (uint32_t d = 0; d < 9; d++)
				v[d] = u->first + cell * 9 + d;
			bool given = u->given[cell] != '.';
			uint32_t from = given ? (uint32_t)(u->given[cell] - '1') : 0;
			cdcl_imply(u->s, var, cdcl_add_choice(u->s, v + from, given ? 1 : 9));
		}
		return 0;
	}
	uint32_t cell = (var - u->first) / 9, d = (var - u->first) % 9, n = 0;
	for (uint32_t o = 0; o < 81; o++) {
		bool box = o / 27 == cell / 27 && o % 9 / 3 == cell % 9 / 3;
		if (o != cell && (box || o / 9 == cell / 9 || o % 9 == cell % 9))
			v[n++] = u->first + o * 9 + d;
	}
	cdcl_imply(u->s, var, cdcl_add_ban(u->s, v, n));
	return 0;
}

TEST(sudoku)
{
	struct sudoku u = {.given =
				   "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4.."};
	struct cdcl_ops ops = {.ctx = &u, .expand = expand_sudoku};
	struct err e = ERR_INIT;
	char is[82] = "";
	auto_ptr(cdcl) s = u.s = cdcl_new(&ops);
	u.root = cdcl_add_group(s, 1);
	for (uint32_t cell = 0; cell < 81; cell++) {
		uint32_t f = cdcl_add_group(s, 9);
		u.first = cell ? u.first : f;
	}
	CHECK_INT(cdcl_solve(s, u.root, 1000000, &e), 0);
	printf("# %u conflicts\n", (unsigned)cdcl_stats(s).conflicts);
	for (uint32_t i = 0; i < 81 * 9; i++)
		if (cdcl_is_true(s, u.first + i))
			is[i / 9] = (char)('1' + i % 9);
	CHECK_STR(is, "812753649943682175675491283154237896369845721287169534521974368438526917796318452");
}

/* What is never considered is never expanded. */
TEST(expands_only_what_is_needed)
{
	struct world w = {.size = {4, 4, 4}, .root = {0xf}, .root_n = 1};
	w.deps_n[0] = 1;
	w.deps[0][0].set = 0xf0;
	struct run r = {.w = &w};
	struct cdcl_ops ops = {.ctx = &r, .expand = expand};
	struct err e = ERR_INIT;
	auto_ptr(cdcl) s = r.s = cdcl_new(&ops);
	r.root = cdcl_add_group(s, 1);
	for (int g = 0; g < 3; g++)
		r.first[g] = cdcl_add_group(s, 4);
	CHECK_INT(cdcl_solve(s, r.root, 10, &e), 0);
	CHECK(cdcl_is_true(s, r.first[0]) && cdcl_is_true(s, r.first[1]));
	CHECK_INT(r.expanded, 2);
}
