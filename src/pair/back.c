// SPDX-License-Identifier: Apache-2.0
/*
 * Going back on both members, and what is done where nobody goes on with an operation any more.
 *
 * The member that does not carry the traffic goes back first; then the traffic moves to it; then the other one. A traffic driver that fails
 * is told and does not keep a member from going back: the new version must go whatever becomes of the requests.
 */
#include <stdio.h>

#include "pair/coordinate.h"
#include "pair/reconcile.h"

struct back {
	struct coordinator *k;
	const struct coordinate_back *b;
	enum phase phase[PAIR_MEMBERS + 1];
	bool begun;	  /* on one of them the new version runs, or may */
	struct err first; /* what went wrong first */
};

static void went_wrong(struct back *w, const struct err *e)
{
	if (!w->first.code)
		w->first = *e;
}

static bool is_back(const struct back *w, uint32_t n)
{
	return coordinate_reaches(w->k, n) && w->phase[n] == PHASE_NONE;
}

/* A failure of the drivers: told, and left. */
static void try_traffic(struct back *w, enum traffic_verb verb, uint32_t n)
{
	struct err e = ERR_INIT;
	if (coordinate_traffic(w->k, verb, n, &e) < 0)
		coordinate_note(w->k, "%s; going back goes on", e.msg);
}

static void move_away(struct back *w, uint32_t n)
{
	struct coordinator *k = w->k;
	struct err e = ERR_INIT;
	uint32_t other = 3 - n;
	if (k->role.active != n) {
		try_traffic(w, TRAFFIC_DRAIN, n);
		return;
	}
	if (!is_back(w, other) || !k->st[other].healthy || k->st[other].idle)
		return; /* there is nobody better */
	try_traffic(w, TRAFFIC_ACTIVE, other);
	if (coordinate_switch_over(k, other, w->b->by_timer ? "auto abort timer" : "install abort", &e) < 0)
		coordinate_note(k, "%s; going back goes on", e.msg);
	try_traffic(w, TRAFFIC_DRAIN, n);
}

static void bring_back_in(struct back *w, uint32_t n)
{
	struct err e = ERR_INIT;
	if (coordinate_wait_healthy(w->k, n, &e) < 0)
		coordinate_note(w->k, "%s", e.msg);
	else
		try_traffic(w, TRAFFIC_READY, n);
}

static int order_abort(struct back *w, uint32_t n, struct err *e)
{
	enum phase p = w->phase[n];
	const struct upgrade_request q = {
		.verb = UPGRADE_ABORT,
		.issu = true,
		.operation_id = arena_strdup(&w->k->arena, w->k->st[n].operation_id),
		.keep_state = w->b->keep_state,
		.by_timer = w->b->by_timer &&
			    (p == PHASE_ACTIVATED || p == PHASE_ACTIVATING || p == PHASE_STANDBY_ACTIVATED),
	};
	return coordinate_order(w->k, n, &q, e);
}

/* Neither goes back any more once one has decided. */
static int refuse_decided(const struct back *w, struct err *e)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (w->phase[n] == PHASE_COMMITTING)
			return err_new(e, ERR_UNCERTAIN,
				       "member %u has decided to commit: neither can go back any more", n);
	return 0;
}

static int refuse_alone(const struct back *w, uint32_t n, struct err *e)
{
	if (phase_may_go_alone(w->phase[n]) || coordinate_reaches(w->k, 3 - n))
		return 0;
	return err_new(
		e, ERR_UNCERTAIN,
		"member %u has promised to commit, and only member %u, which does not answer, knows whether it was "
		"decided; where that one is gone for good, 'slipway pair leave' makes member %u free to abort or commit",
		n, 3 - n, n);
}

static void one_back(struct back *w, uint32_t n)
{
	struct coordinator *k = w->k;
	struct err e = ERR_INIT;
	bool told = w->b->step && w->phase[n] != PHASE_NONE;
	if (refuse_alone(w, n, &e) < 0) {
		w->first = e; /* says more than that nobody answers */
		return;
	}
	if (told)
		coordinate_tell(k, UPGRADE_EVENT_MEMBER, n, 0, false, w->b->step, NULL);
	if (w->begun && k->st[n].current != k->st[n].committed)
		move_away(w, n);
	int rc = w->phase[n] == PHASE_NONE ? 0 : order_abort(w, n, &e);
	if (told)
		coordinate_tell(k, UPGRADE_EVENT_MEMBER, n, 0, true, w->b->step, rc < 0 ? &e : NULL);
	if (rc < 0) {
		went_wrong(w, &e);
		return;
	}
	w->phase[n] = PHASE_NONE;
	if (w->begun)
		bring_back_in(w, n);
}

static int look_at_both(struct back *w, struct err *e)
{
	struct coordinator *k = w->k;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct err gone = ERR_INIT;
		if (coordinate_look(k, n, &gone) < 0) {
			if (coordinate_reaches(k, n)) {
				*e = gone;
				return -1;
			}
			went_wrong(w, &gone);
			continue;
		}
		if (phase_parse(k->st[n].state, &w->phase[n], e) < 0)
			return member_err(n, e);
		w->begun |= phase_has_begun(w->phase[n]);
	}
	return 0;
}

int coordinate_go_back(struct coordinator *k, const struct coordinate_back *b, struct err *e)
{
	struct back w = {.k = k, .b = b};
	bool moves = k->moves_traffic;
	if (look_at_both(&w, e) < 0 || refuse_decided(&w, e) < 0)
		return coordinate_uncertain(k, e);
	w.begun |= moves; /* one that went back by itself may have been drained */
	if (w.begun && coordinate_hold_roles(k, k->role_wait_ms, e) < 0)
		return -1; /* as it is: whoever asked asks again */
	k->moves_traffic = true;
	const uint32_t order[] = {coordinate_standby(k), k->role.active};
	for (size_t i = 0; i < PAIR_MEMBERS; i++)
		if (coordinate_reaches(k, order[i]))
			one_back(&w, order[i]);
	k->moves_traffic = moves;
	if (!w.first.code)
		return 0;
	*e = w.first;
	return coordinate_uncertain(k, e);
}

/* -- nobody goes on with it ------------------------------------------------------------------------------------------ */

struct settling {
	struct coordinator *k;
	struct coordinate_one_shot one_shot;
	enum reconcile_act act[PAIR_MEMBERS + 1];
	enum phase phase[PAIR_MEMBERS + 1], other[PAIR_MEMBERS + 1];
	bool rung;
};

/* As what the other one knows the operation of n. */
static int ask_other(struct settling *s, uint32_t n, struct err *e)
{
	struct coordinator *k = s->k;
	uint32_t other = 3 - n;
	struct str word = STR_NONE;
	bool ignored; /* it is held, by whoever asks */
	s->other[n] = PHASE_UNKNOWN;
	if (!coordinate_reaches(k, other) || s->phase[n] == PHASE_NONE)
		return 0;
	if (k->m[other]->ops->outcome(k->m[other], &k->arena, k->env, k->st[n].operation_id, &word, &ignored, e) < 0) {
		if (e->code != ERR_NETWORK || k->m[other]->local)
			return member_err(other, e);
		coordinate_lose(k, other, e);
		*e = ERR_INIT;
		return 0;
	}
	return phase_parse(word, &s->other[n], e);
}

static int judge(struct settling *s, uint32_t n, struct err *e)
{
	struct coordinator *k = s->k;
	if (ask_other(s, n, e) < 0)
		return -1;
	const struct reconcile_view v = {
		.own = s->phase[n],
		.other = s->other[n],
		.reachable = coordinate_reaches(k, 3 - n),
		.timer_rung = k->st[n].timer_left_ms == 0,
		.whole_or_not = (s->one_shot.activate && s->phase[n] == PHASE_ADDED) ||
				(s->one_shot.commit && s->phase[n] == PHASE_ACTIVATED),
	};
	/* what is the other member's alone is its own to settle */
	bool stranger = n != k->self && s->other[n] == PHASE_UNKNOWN;
	s->act[n] = stranger ? RECONCILE_NOTHING : reconcile(&v);
	s->rung |= v.timer_rung && s->act[n] == RECONCILE_GO_BACK && s->phase[n] == PHASE_ACTIVATED;
	return 0;
}

static int look_and_judge(struct settling *s, struct err *e)
{
	struct coordinator *k = s->k;
	s->rung = false;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		s->act[n] = RECONCILE_NOTHING;
		s->phase[n] = PHASE_NONE;
		if (coordinate_reaches(k, n) && coordinate_look(k, n, e) < 0) {
			if (coordinate_reaches(k, n))
				return -1;
			*e = ERR_INIT;
		}
		if (coordinate_reaches(k, n) && phase_parse(k->st[n].state, &s->phase[n], e) < 0)
			return member_err(n, e);
	}
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (coordinate_reaches(k, n) && judge(s, n, e) < 0)
			return -1;
	return 0;
}

static int settle_back(struct settling *s, struct err *e)
{
	struct coordinator *k = s->k;
	const struct coordinate_back b = {.by_timer = s->rung};
	if (s->rung)
		coordinate_note(k, "the auto-abort timer has ended: both members go back");
	else
		coordinate_note(k, "an operation was interrupted (member 1: '%s', member 2: '%s'): it is undone",
				phase_name(s->phase[1]), phase_name(s->phase[2]));
	struct err why = ERR_INIT;
	if (coordinate_go_back(k, &b, &why) == 0)
		return 0;
	if (coordinate_reaches(k, 1) && coordinate_reaches(k, 2)) {
		*e = why;
		return -1;
	}
	coordinate_note(k, "%s", why.msg); /* here it is done; the other one does it when it can be reached */
	return coordinate_look(k, k->self, e) < 0 || !str_eq(k->st[k->self].state, STR("none")) ? (*e = why, -1) : 0;
}

/* A member that broke off is looked at as one that does not answer, in the next round. */
static int settled(struct settling *s, int rc, struct err *e)
{
	if (rc == 0)
		return 1;
	if (!coordinate_reaches(s->k, 1) || !coordinate_reaches(s->k, 2)) {
		*e = ERR_INIT;
		return 1;
	}
	return coordinate_uncertain(s->k, e);
}

static int settle_by_steps(struct settling *s, uint32_t n, struct err *e)
{
	struct coordinator *k = s->k;
	struct reconcile_step step[RECONCILE_STEPS_MAX];
	size_t steps_n = reconcile_steps(s->act[n], s->phase[n], s->other[n], step);
	int rc = 0;
	k->id = arena_strdup(&k->arena, k->st[n].operation_id);
	for (size_t i = 0; i < steps_n && rc == 0; i++)
		rc = coordinate_step(k, step[i].other ? 3 - n : n, step[i].verb, e);
	return settled(s, rc, e);
}

static int settle_commit(struct settling *s, uint32_t n, struct err *e)
{
	struct coordinator *k = s->k;
	coordinate_note(k, "a commit was decided and not finished (member 1: '%s', member 2: '%s'): it is finished",
			phase_name(s->phase[1]), phase_name(s->phase[2]));
	return settle_by_steps(s, n, e);
}

static int settle_withdraw(struct settling *s, uint32_t n, struct err *e)
{
	struct coordinator *k = s->k;
	coordinate_note(k, "member %u had promised to commit, and nothing was decided: it takes that back", n);
	return settle_by_steps(s, n, e);
}

static int contradiction(struct settling *s, uint32_t n, struct err *e)
{
	return err_new(
		e, ERR_UNCERTAIN,
		"the members contradict each other: '%s' on member %u, where member %u has '%s'; 'slipway pair leave --force' on "
		"both, then 'slipway install commit -n %.*s' or 'slipway install abort issu -n %.*s' on each, decide by hand",
		phase_name(s->phase[n]), n, 3 - n, phase_name(s->other[n]), STR_ARG(s->k->env), STR_ARG(s->k->env));
}

static int settle_by(struct settling *s, uint32_t n, struct err *e)
{
	switch (s->act[n]) {
	case RECONCILE_GO_BACK:
		return settle_back(s, e) < 0 ? -1 : 1;
	case RECONCILE_WITHDRAW:
		return settle_withdraw(s, n, e);
	case RECONCILE_COMMIT:
	case RECONCILE_COMMIT_OTHER:
		return settle_commit(s, n, e);
	case RECONCILE_PERSON:
		return contradiction(s, n, e);
	case RECONCILE_NOTHING:
	case RECONCILE_WAIT:
	case RECONCILE_ACTS:
		break;
	}
	return 0;
}

/* 1: something was done; 0: nothing is to be. */
static int settle_once(struct settling *s, struct err *e)
{
	static const enum reconcile_act order[] = {RECONCILE_PERSON, RECONCILE_COMMIT_OTHER, RECONCILE_COMMIT,
						   RECONCILE_GO_BACK, RECONCILE_WITHDRAW};
	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++)
		for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
			if (coordinate_reaches(s->k, n) && s->act[n] == order[i])
				return settle_by(s, n, e);
	return 0;
}

static void tell_waiting(struct settling *s)
{
	struct coordinator *k = s->k;
	uint32_t n = k->self;
	if (s->act[n] != RECONCILE_WAIT || phase_may_go_alone(s->phase[n]))
		return;
	coordinate_note(
		k,
		"member %u is in state '%s' and waits for member %u, which does not answer (%.*s); 'slipway install "
		"commit -n %.*s' finishes it when it does",
		n, phase_name(s->phase[n]), 3 - n, STR_ARG(k->why[3 - n]), STR_ARG(k->env));
}

/* Both rest, and nobody works on it: one that was drained by somebody who died then gets requests again. */
static void bring_both_in(struct settling *s)
{
	struct coordinator *k = s->k;
	bool moves = k->moves_traffic;
	k->moves_traffic = true;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct err e = ERR_INIT;
		if (!coordinate_is_drained(k, n) || !coordinate_reaches(k, n))
			continue;
		coordinate_note(k, "member %u was taken out of the traffic, and nobody put it in again", n);
		if (!k->st[n].healthy)
			coordinate_note(k, "it is not healthy: %.*s; it is put in when it is",
					STR_ARG(k->st[n].unhealthy));
		else if (coordinate_hold_roles(k, 0, &e) < 0) /* somebody works on another environment */
			break;
		else if (coordinate_traffic(k, TRAFFIC_READY, n, &e) < 0)
			coordinate_note(k, "%s", e.msg);
	}
	k->moves_traffic = moves;
}

int coordinate_settle(struct coordinator *k, struct coordinate_one_shot one_shot, struct err *e)
{
	enum { ROUNDS = 8 }; /* no order of steps needs more than three */
	struct settling s = {.k = k, .one_shot = one_shot};
	int done = 0;
	if (coordinate_begin(k, e) < 0)
		return -1;
	for (int i = 0; i < ROUNDS; i++) {
		int rc = look_and_judge(&s, e) < 0 ? -1 : settle_once(&s, e);
		if (rc < 0)
			return -1;
		if (rc == 0) {
			tell_waiting(&s);
			bring_both_in(&s);
			return done;
		}
		done = 1;
	}
	err_new(e, ERR_UNCERTAIN, "the members do not come to rest");
	return coordinate_uncertain(k, e);
}
