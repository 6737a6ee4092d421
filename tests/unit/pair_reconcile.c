// SPDX-License-Identifier: Apache-2.0
/*
 * What becomes of an operation on two members. A small model checker plays both members' steps over the real table of states and the real
 * reconcile, from the first add, with the coordinator on either member, dying or cut off from the other one between any two writes to
 * disk, orders arriving whose answers are lost, steps that fail, aborts that get stuck, timers that ring, and each member going alone
 * at any time that nobody holds it.
 *
 * The invariant, in every state that can be reached:
 *	1. never has one member committed what the other one has aborted;
 *	2. a member that has decided (committing) has the other one's promise: prepared, committing or committed;
 *	3. nothing contradicts itself (RECONCILE_PERSON);
 *	4. with the link back and nobody in the middle, settling ends, in one agreed version on both;
 *	5. alone, a member comes to rest, and waits in nothing but added, activated, prepared or committing.
 */
#include "lib/test.h"

#include "pair/reconcile.h"
#include "upgrade/machine.h"

enum verb { ADD, ARM, ACTIVATE, STANDBY_DONE, PREPARE, DECIDE, COMMIT, WITHDRAW, ABORT };
enum script { IDLE, ADDS, ACTIVATION, COMMIT_BOTH, BACK, WITHDRAWAL, FINISH, FINISH_OTHER, SCRIPTS };

/* Members are 0 and 1 here. */
struct world {
	enum phase phase[2], outcome[2]; /* outcome: UNKNOWN, ABORTED, COMMITTED */
	enum script script;		 /* IDLE: no coordinator */
	unsigned pos, home, first, cut;	 /* first: the active one; of BACK and FINISH…: whose turn comes first */
};
struct step {
	unsigned who;
	enum verb verb;
};

static unsigned pack(const struct world *w)
{
	unsigned v = w->script;
	v = v << 3 | w->pos;
	v = v << 1 | w->home;
	v = v << 1 | w->first;
	v = v << 1 | w->cut;
	for (int i = 0; i < 2; i++)
		v = (v << 4 | w->phase[i]) << 2 | (w->outcome[i] - PHASE_COMMITTED);
	return v;
}
enum { WORLDS = 1 << 21 };

static struct world unpack(unsigned v)
{
	struct world w;
	for (int i = 1; i >= 0; i--) {
		w.outcome[i] = (enum phase)(PHASE_COMMITTED + (v & 3));
		w.phase[i] = (enum phase)(v >> 2 & 15);
		v >>= 6;
	}
	w.cut = v & 1;
	w.first = v >> 1 & 1;
	w.home = v >> 2 & 1;
	w.pos = v >> 3 & 7;
	w.script = (enum script)(v >> 6);
	return w;
}

static bool step_of(const struct world *w, struct step *ret)
{
	unsigned a = w->first, s = !a;
	const struct step steps[SCRIPTS][6] = {
		[ADDS] = {{0, ADD}, {1, ADD}},
		[ACTIVATION] = {{a, ARM}, {s, ARM}, {s, ACTIVATE}, {a, STANDBY_DONE}, {a, ACTIVATE}},
		[COMMIT_BOTH] = {{s, PREPARE}, {a, DECIDE}, {s, COMMIT}, {a, COMMIT}},
		[BACK] = {{a, ABORT}, {s, ABORT}},
		[WITHDRAWAL] = {{a, WITHDRAW}},
		[FINISH] = {{a, COMMIT}},
		[FINISH_OTHER] = {{s, COMMIT}, {a, COMMIT}},
	};
	static const unsigned lengths[SCRIPTS] = {
		[ADDS] = 2,	  [ACTIVATION] = 5, [COMMIT_BOTH] = 4,	[BACK] = 2,
		[WITHDRAWAL] = 1, [FINISH] = 1,	    [FINISH_OTHER] = 2,
	};
	if (w->pos >= lengths[w->script])
		return false;
	*ret = steps[w->script][w->pos];
	return true;
}

/* The order, as of the table of states. */
static void fire(struct world *w, unsigned m, enum op_event v)
{
	struct err e = ERR_INIT;
	enum op_state next;
	CHECK_MSG(machine_next((enum op_state)w->phase[m], v, STR("web"), &next, &e) == 0, "member %u: %s", m, e.msg);
	w->phase[m] = (enum phase)next;
}

static void end(struct world *w, unsigned m, enum op_event v, enum phase outcome)
{
	fire(w, m, v);
	CHECK_INT(w->phase[m], PHASE_NONE);
	w->outcome[m] = outcome;
}

enum done { MORE, DONE, FAILED };

/* One write to disk of a step on a member. */
static enum done advance(struct world *w, unsigned m, enum verb v, bool fails)
{
	enum phase p = w->phase[m];
	if (p == PHASE_ABORTING) { /* of its own failure, or what was asked for */
		if (fails)
			return fire(w, m, OP_ABORT_STUCK), FAILED;
		return end(w, m, OP_ABORT_DONE, PHASE_ABORTED), v == ABORT ? DONE : FAILED;
	}
	switch (v) {
	case ADD:
		if (p == PHASE_NONE)
			return fails ? FAILED : (fire(w, m, OP_DO_ADD), MORE);
		return fails ? (fire(w, m, OP_FAILURE), MORE) : (fire(w, m, OP_ADD_DONE), DONE);
	case ARM:
		return fails ? FAILED : (fire(w, m, OP_DO_ARM), DONE);
	case STANDBY_DONE:
		return fails ? FAILED : (fire(w, m, OP_DO_STANDBY_DONE), DONE);
	case ACTIVATE:
		fire(w, m, OP_DO_MOVE);
		return fails ? (fire(w, m, OP_FAILURE), MORE) : (fire(w, m, OP_ACTIVATE_DONE), DONE);
	case PREPARE:
		return fails ? FAILED : (fire(w, m, OP_DO_PREPARE), DONE);
	case DECIDE:
		return fails ? FAILED : (fire(w, m, OP_DO_DECIDE), DONE);
	case WITHDRAW:
		return fails ? FAILED : (fire(w, m, OP_DO_WITHDRAW), DONE);
	case COMMIT:
		if (fails)
			return FAILED;
		if (p != PHASE_COMMITTING)
			return fire(w, m, OP_DO_FINISH), MORE;
		return end(w, m, OP_COMMIT_DONE, PHASE_COMMITTED), DONE;
	case ABORT:
		if (p == PHASE_NONE)
			return DONE;
		CHECK(p != PHASE_COMMITTING); /* the table would finish it */
		return fire(w, m, OP_DO_ABORT), MORE;
	}
	return FAILED;
}

/* -- what is explored ----------------------------------------------------------------------------------------------- */

struct search {
	uint8_t *seen;
	unsigned *queue;
	size_t n;
	unsigned long acts[RECONCILE_ACTS];
	size_t rest, waits;
};

static const char *text(const struct world *w)
{
	static char out[256];
	snprintf(out, sizeof(out), "%s/%s and %s/%s, script %d at %u, home %u, first %u, cut %u",
		 phase_name(w->phase[0]), phase_name(w->outcome[0]), phase_name(w->phase[1]), phase_name(w->outcome[1]),
		 w->script, w->pos, w->home, w->first, w->cut);
	return out;
}

static void check_invariant(const struct world *w)
{
	for (int m = 0; m < 2; m++) {
		enum phase mine = w->phase[m] == PHASE_NONE ? w->outcome[m] : w->phase[m];
		enum phase other = w->phase[!m] == PHASE_NONE ? w->outcome[!m] : w->phase[!m];
		bool promised = other == PHASE_PREPARED || other == PHASE_COMMITTING || other == PHASE_COMMITTED;
		CHECK_MSG(mine != PHASE_COMMITTED || other != PHASE_ABORTED, "one committed, one aborted: %s", text(w));
		CHECK_MSG((mine != PHASE_COMMITTING && mine != PHASE_COMMITTED) || promised,
			  "decided without a promise: %s", text(w));
	}
}

static void visit(struct search *s, struct world w)
{
	struct step ignored;
	if (w.script != IDLE && !step_of(&w, &ignored))
		w.script = IDLE;
	if (w.script == IDLE)
		w.pos = w.home = w.first = w.cut = 0;
	unsigned v = pack(&w);
	CHECK(v < WORLDS);
	if (s->seen[v])
		return;
	check_invariant(&w);
	s->seen[v] = 1;
	s->queue[s->n++] = v;
}

static bool is_held(const struct world *w, unsigned m)
{
	return w->script != IDLE && (m == w->home || !w->cut);
}

/* The far end of a dead link finishes what it was told, or any part of it, or nothing; then lets go. */
static void with_the_far_end(struct search *s, struct world w, const struct step *p, bool ends)
{
	for (unsigned fails = 0; fails < 8; fails++) {
		struct world x = w;
		for (unsigned i = 0; i < 3; i++) {
			struct world y = x;
			y.cut = 1;
			y.script = ends ? IDLE : y.script;
			visit(s, y);
			if (w.cut || p->who == w.home || advance(&x, p->who, p->verb, fails >> i & 1) != MORE)
				i = 3;
		}
		x.cut = 1;
		x.script = ends ? IDLE : x.script;
		visit(s, x);
	}
}

static void begin(struct search *s, struct world w, enum script script, unsigned first)
{
	w.script = script;
	w.first = first;
	w.pos = w.cut = 0;
	for (w.home = 0; w.home < 2; w.home++)
		visit(s, w);
}

/* A step failed, or nobody answers any more. */
static struct world after_failure(struct world w, bool network)
{
	bool goes_back = w.script == ADDS || w.script == ACTIVATION;
	if (goes_back || (w.script == BACK && w.pos == 0)) { /* the other one all the same */
		w.pos = w.script == BACK ? 1 : 0;
		w.script = BACK;
		return w;
	}
	if (w.script == COMMIT_BOTH && w.pos == 1 && !network) {
		w.script = WITHDRAWAL;
		w.first = !w.first;
		w.pos = 0;
		return w;
	}
	w.script = IDLE;
	return w;
}

static void go_on(struct search *s, struct world w)
{
	struct step p;
	CHECK(step_of(&w, &p));
	if (!w.cut)
		with_the_far_end(s, w, &p, false);
	with_the_far_end(s, w, &p, true); /* the coordinator dies */
	if (w.cut && p.who != w.home) {
		visit(s, after_failure(w, true));
		return;
	}
	/* going back alone is not for who has promised */
	if (w.script == BACK && w.cut && !phase_may_go_alone(w.phase[p.who])) {
		w.script = IDLE;
		visit(s, w);
		return;
	}
	for (int fails = 0; fails < 2; fails++) {
		struct world x = w;
		enum done d = advance(&x, p.who, p.verb, fails);
		if (d == FAILED) {
			visit(s, after_failure(x, false));
			continue;
		}
		x.pos += d == DONE;
		visit(s, x);
	}
}

static struct reconcile_view view_of(const struct world *w, unsigned m, bool reachable, bool rung, bool whole)
{
	return (struct reconcile_view){
		.own = w->phase[m],
		.other = w->phase[!m] == PHASE_NONE ? w->outcome[!m] : w->phase[!m],
		.reachable = reachable,
		.timer_rung = rung,
		.whole_or_not = whole,
	};
}

/* Both are held, by nobody else: what settling begins. *ret_first as in struct world. */
static enum script settling(const struct world *w, bool rung, bool whole, unsigned *ret_first, struct search *s)
{
	static const struct {
		enum reconcile_act act;
		enum script script;
	} order[] = {{RECONCILE_COMMIT_OTHER, FINISH_OTHER},
		     {RECONCILE_COMMIT, FINISH},
		     {RECONCILE_GO_BACK, BACK},
		     {RECONCILE_WITHDRAW, WITHDRAWAL}};
	enum reconcile_act act[2];
	for (unsigned m = 0; m < 2; m++) {
		struct reconcile_view v = view_of(w, m, true, rung, whole);
		act[m] = reconcile(&v);
		s->acts[act[m]]++;
		CHECK_MSG(act[m] != RECONCILE_PERSON, "member %u contradicts the other: %s", m, text(w));
		CHECK_MSG(act[m] != RECONCILE_WAIT, "member %u waits for nobody: %s", m, text(w));
	}
	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++)
		for (unsigned m = 0; m < 2; m++)
			if (act[m] == order[i].act) {
				*ret_first = m;
				return order[i].script;
			}
	return IDLE;
}

static void go_alone(struct search *s, const struct world *w, unsigned m)
{
	for (int i = 0; i < 4; i++) {
		struct reconcile_view v = view_of(w, m, false, i & 1, i & 2);
		enum reconcile_act act = reconcile(&v);
		if (act == RECONCILE_NOTHING || act == RECONCILE_WAIT)
			continue;
		CHECK_MSG(act == RECONCILE_GO_BACK && phase_may_go_alone(v.own), "alone: %s", text(w));
		for (int fails = 0; fails < 2; fails++) {
			struct world x = *w;
			advance(&x, m, ABORT, fails);
			visit(s, x);
		}
	}
}

static void explore(struct search *s, struct world w)
{
	unsigned first;
	for (unsigned m = 0; m < 2; m++)
		if (!is_held(&w, m))
			go_alone(s, &w, m);
	if (w.script != IDLE) {
		go_on(s, w);
		return;
	}
	bool quiet = true;
	for (int i = 0; i < 4; i++) {
		enum script script = settling(&w, i & 1, i & 2, &first, s);
		quiet &= i > 0 || script == IDLE;
		if (script == BACK)
			begin(s, w, script, !first); /* in either order */
		if (script != IDLE)
			begin(s, w, script, first);
	}
	if (!quiet) /* whoever asks for something settles first */
		return;
	for (first = 0; first < 2; first++) {
		if (w.phase[0] == PHASE_NONE && w.outcome[0] == PHASE_UNKNOWN && w.outcome[1] == PHASE_UNKNOWN)
			begin(s, w, ADDS, first);
		if (w.phase[0] == PHASE_ADDED)
			begin(s, w, ACTIVATION, first);
		if (w.phase[0] == PHASE_ACTIVATED)
			begin(s, w, COMMIT_BOTH, first);
		if (w.phase[0] != PHASE_NONE)
			begin(s, w, BACK, first);
	}
}

/* -- where it ends -------------------------------------------------------------------------------------------------- */

static void settles_to_one_version(struct search *s, struct world w, bool rung)
{
	struct world start = w;
	unsigned first;
	w.script = IDLE;
	for (int round = 0; round < 8; round++) {
		struct step p;
		w.script = settling(&w, rung, false, &first, s);
		w.first = first;
		w.pos = 0;
		if (w.script == IDLE) {
			bool none = w.phase[0] == PHASE_NONE && w.phase[1] == PHASE_NONE;
			bool committed = w.outcome[0] == PHASE_COMMITTED || w.outcome[1] == PHASE_COMMITTED;
			CHECK_MSG(none ? !committed || w.outcome[0] == w.outcome[1] : w.phase[0] == w.phase[1],
				  "settled to two versions: %s", text(&w));
			CHECK_MSG(none || w.phase[0] == PHASE_ADDED || (w.phase[0] == PHASE_ACTIVATED && !rung),
				  "no rest: %s", text(&w));
			s->rest++;
			return;
		}
		while (step_of(&w, &p)) {
			enum done d = advance(&w, p.who, p.verb, false);
			CHECK_MSG(d != FAILED, "settling fails: %s", text(&w));
			w.pos += d == DONE;
		}
	}
	test_fail(__FILE__, __LINE__, "does not settle: %s", text(&start));
}

static void rests_alone(struct search *s, struct world w, unsigned m)
{
	for (int round = 0; round < 4; round++) {
		struct reconcile_view v = view_of(&w, m, false, false, false);
		enum reconcile_act act = reconcile(&v);
		if (act == RECONCILE_GO_BACK) {
			advance(&w, m, ABORT, false);
			continue;
		}
		s->waits += act == RECONCILE_WAIT;
		CHECK_MSG(act == RECONCILE_WAIT ? v.own == PHASE_ADDED || v.own == PHASE_ACTIVATED ||
							  v.own == PHASE_PREPARED || v.own == PHASE_COMMITTING
						: act == RECONCILE_NOTHING && v.own == PHASE_NONE,
			  "member %u alone: %s", m, text(&w));
		return;
	}
	test_fail(__FILE__, __LINE__, "member %u alone does not rest: %s", m, text(&w));
}

TEST(one_version_on_both_whatever_dies)
{
	struct search s = {.seen = calloc(WORLDS, 1), .queue = calloc(WORLDS, sizeof(unsigned))};
	CHECK(s.seen && s.queue);
	visit(&s, (struct world){.outcome = {PHASE_UNKNOWN, PHASE_UNKNOWN}});
	for (size_t i = 0; i < s.n; i++)
		explore(&s, unpack(s.queue[i]));
	for (size_t i = 0; i < s.n; i++) {
		settles_to_one_version(&s, unpack(s.queue[i]), false);
		settles_to_one_version(&s, unpack(s.queue[i]), true);
		rests_alone(&s, unpack(s.queue[i]), 0);
		rests_alone(&s, unpack(s.queue[i]), 1);
	}
	printf("# %zu states of the two members and their coordinator, settled %zu times\n", s.n, s.rest);
	/* it went everywhere */
	CHECK(s.n > 1000 && s.waits > 100);
	for (int i = 0; i < RECONCILE_ACTS; i++)
		if (i != RECONCILE_PERSON && i != RECONCILE_WAIT)
			CHECK_MSG(s.acts[i] > 0, "act %d was never asked for", i);
	free(s.seen);
	free(s.queue);
}

/* Every view there is, whether any order of steps leads to it or not. */
TEST(every_combination_has_an_answer_that_keeps_the_rules)
{
	size_t n = 0;
	for (int i = 0; i < PHASE_STATES * PHASES * 16; i++) {
		const struct reconcile_view v = {
			.own = (enum phase)(i / 16 / PHASES),
			.other = (enum phase)(i / 16 % PHASES),
			.reachable = i & 1,
			.held = i & 2,
			.timer_rung = i & 4,
			.whole_or_not = i & 8,
		};
		enum reconcile_act act = reconcile(&v);
		bool decided_there = v.other == PHASE_COMMITTING || v.other == PHASE_COMMITTED;
		CHECK(act < RECONCILE_ACTS);
		n++;
		if (v.own == PHASE_NONE)
			CHECK_INT(act, RECONCILE_NOTHING);
		else if (v.held) /* rule 4 */
			CHECK_INT(act, RECONCILE_WAIT);
		else if (!v.reachable) /* rules 2 and 3 */
			CHECK(phase_may_go_alone(v.own) ? act != RECONCILE_COMMIT : act == RECONCILE_WAIT);
		else if (v.own == PHASE_COMMITTING) /* a decision is never left */
			CHECK(act == RECONCILE_COMMIT || act == RECONCILE_COMMIT_OTHER || act == RECONCILE_PERSON);
		else if (decided_there) /* nor gone against */
			CHECK(act == RECONCILE_COMMIT || act == RECONCILE_PERSON);
		else /* rule 1: nobody commits by himself */
			CHECK(act != RECONCILE_COMMIT && act != RECONCILE_COMMIT_OTHER);
		if (act == RECONCILE_WITHDRAW)
			CHECK_INT(v.own, PHASE_PREPARED);
	}
	CHECK_INT(n, PHASE_STATES * PHASES * 16);
}

static enum op_event event_of(enum upgrade_verb v)
{
	return v == UPGRADE_PREPARE    ? OP_DO_PREPARE
	       : v == UPGRADE_COMMIT   ? OP_DO_FINISH
	       : v == UPGRADE_WITHDRAW ? OP_DO_WITHDRAW
				       : OP_EVENTS;
}

/* As the machine has it, until the work that the state names is done. */
static void take_step(enum phase *p, enum op_event v, const char *what)
{
	struct err e = ERR_INIT;
	enum op_state next;
	CHECK_MSG(*p < PHASE_STATES && v < OP_EVENTS, "%s: no step", what);
	CHECK_MSG(machine_next((enum op_state) * p, v, STR("e"), &next, &e) == 0, "%s: %s", what, e.msg);
	if (next == OP_COMMITTING)
		CHECK(machine_next(next, OP_COMMIT_DONE, STR("e"), &next, &e) == 0);
	*p = (enum phase)next;
}

/* Whatever view there is: what it is answered with is a way through the machine, on either member. */
TEST(every_step_that_is_answered_is_legal_in_the_machine)
{
	size_t steps_n = 0;
	for (int i = 0; i < PHASE_STATES * PHASES * 4; i++) {
		enum phase own = (enum phase)(i / 4 / PHASES), other = (enum phase)(i / 4 % PHASES);
		const struct reconcile_view v = {
			.own = own, .other = other, .reachable = true, .timer_rung = i & 1, .whole_or_not = i & 2};
		struct reconcile_step step[RECONCILE_STEPS_MAX];
		enum reconcile_act act = reconcile(&v);
		size_t n = reconcile_steps(act, own, other, step);
		auto_free char *what = xasprintf("'%s' against '%s'", phase_name(own), phase_name(other));
		CHECK((n > 0) ==
		      (act == RECONCILE_WITHDRAW || act == RECONCILE_COMMIT || act == RECONCILE_COMMIT_OTHER));
		for (size_t j = 0; j < n; j++, steps_n++)
			take_step(step[j].other ? &other : &own, event_of(step[j].verb), what);
		if (n)
			CHECK_MSG(own == (act == RECONCILE_WITHDRAW ? PHASE_ACTIVATED : PHASE_NONE), "%s ends in '%s'",
				  what, phase_name(own));
		if (act == RECONCILE_COMMIT_OTHER)
			CHECK_INT(other, PHASE_NONE);
		if (act == RECONCILE_GO_BACK)
			CHECK_MSG(machine_allows((enum op_state)own, OP_DO_ABORT) && own != PHASE_COMMITTING, "%s",
				  what);
	}
	CHECK(steps_n > 20);
}

TEST(states_have_the_names_of_the_machine)
{
	CHECK_INT(PHASE_STATES, OP_STATES);
	for (int i = 0; i < PHASES; i++) {
		struct err e = ERR_INIT;
		enum phase p;
		CHECK_INT(phase_parse(str_c(phase_name((enum phase)i)), &p, &e), 0);
		CHECK_INT(p, i);
		if (i < OP_STATES)
			CHECK_STR(phase_name((enum phase)i), op_state_name((enum op_state)i));
	}
	struct err e = ERR_INIT;
	enum phase p;
	CHECK_INT(phase_parse(STR("sleeping"), &p, &e), -1);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
}
