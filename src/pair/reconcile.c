// SPDX-License-Identifier: Apache-2.0
#include "pair/reconcile.h"

static const char *const names[PHASES] = {
	[PHASE_NONE] = "none",
	[PHASE_ADDING] = "adding",
	[PHASE_ADDED] = "added",
	[PHASE_ACTIVATING] = "activating",
	[PHASE_STANDBY_ACTIVATED] = "standby-activated",
	[PHASE_ACTIVATED] = "activated",
	[PHASE_PREPARED] = "prepared",
	[PHASE_COMMITTING] = "committing",
	[PHASE_ABORTING] = "aborting",
	[PHASE_NEEDS_ABORT] = "needs-manual-abort",
	[PHASE_COMMITTED] = "committed",
	[PHASE_ABORTED] = "aborted",
	[PHASE_UNKNOWN] = "unknown",
};

const char *phase_name(enum phase p)
{
	return names[p];
}

int phase_parse(struct str name, enum phase *ret, struct err *e)
{
	for (int i = 0; i < PHASES; i++) {
		if (!str_eq_c(name, names[i]))
			continue;
		*ret = (enum phase)i;
		return 0;
	}
	return err_new(e, ERR_UNSUPPORTED, "an operation is in state '%.*s', which this slipway does not know",
		       STR_ARG(name));
}

bool phase_has_begun(enum phase p)
{
	return p != PHASE_NONE && p != PHASE_ADDING && p != PHASE_ADDED && p < PHASE_STATES;
}

bool phase_may_go_alone(enum phase p)
{
	return p != PHASE_PREPARED && p != PHASE_COMMITTING;
}

/* Nobody answers. */
static enum reconcile_act alone(const struct reconcile_view *v)
{
	switch (v->own) {
	case PHASE_ADDING:
	case PHASE_ACTIVATING:
	case PHASE_STANDBY_ACTIVATED:
	case PHASE_ABORTING:
	case PHASE_NEEDS_ABORT:
		return RECONCILE_GO_BACK;
	case PHASE_ADDED:
		return v->whole_or_not ? RECONCILE_GO_BACK : RECONCILE_WAIT;
	case PHASE_ACTIVATED:
		return v->whole_or_not || v->timer_rung ? RECONCILE_GO_BACK : RECONCILE_WAIT;
	case PHASE_PREPARED:
	case PHASE_COMMITTING:
		return RECONCILE_WAIT;
	case PHASE_NONE:
	case PHASE_COMMITTED:
	case PHASE_ABORTED:
	case PHASE_UNKNOWN:
	case PHASES:
		break;
	}
	return RECONCILE_NOTHING;
}

/* At rest on the uncommitted version, or before it: only in step with the other one. */
static enum reconcile_act at_rest(const struct reconcile_view *v)
{
	if (v->other == PHASE_COMMITTING || v->other == PHASE_COMMITTED)
		return v->own == PHASE_ACTIVATED ? RECONCILE_COMMIT : RECONCILE_PERSON;
	if (v->whole_or_not || (v->own == PHASE_ACTIVATED && v->timer_rung))
		return RECONCILE_GO_BACK;
	if (v->own == PHASE_ACTIVATED && v->other == PHASE_PREPARED)
		return RECONCILE_NOTHING; /* the other one withdraws */
	return v->own == v->other ? RECONCILE_NOTHING : RECONCILE_GO_BACK;
}

static enum reconcile_act prepared(const struct reconcile_view *v)
{
	switch (v->other) {
	case PHASE_COMMITTING:
	case PHASE_COMMITTED:
		return RECONCILE_COMMIT;
	case PHASE_ACTIVATED:
	case PHASE_PREPARED:
		return RECONCILE_WITHDRAW;
	case PHASE_UNKNOWN: /* it knew once: it has lost its state, and with it what it decided */
	case PHASE_NONE:
	case PHASES:
		return RECONCILE_PERSON;
	case PHASE_ADDING:
	case PHASE_ADDED:
	case PHASE_ACTIVATING:
	case PHASE_STANDBY_ACTIVATED:
	case PHASE_ABORTING:
	case PHASE_NEEDS_ABORT:
	case PHASE_ABORTED:
		break;
	}
	return RECONCILE_GO_BACK;
}

static enum reconcile_act decided(const struct reconcile_view *v)
{
	switch (v->other) {
	case PHASE_PREPARED:
	case PHASE_ACTIVATED:
		return RECONCILE_COMMIT_OTHER;
	case PHASE_COMMITTING:
	case PHASE_COMMITTED:
		return RECONCILE_COMMIT;
	case PHASE_NONE:
	case PHASE_ADDING:
	case PHASE_ADDED:
	case PHASE_ACTIVATING:
	case PHASE_STANDBY_ACTIVATED:
	case PHASE_ABORTING:
	case PHASE_NEEDS_ABORT:
	case PHASE_ABORTED:
	case PHASE_UNKNOWN:
	case PHASES:
		break;
	}
	return RECONCILE_PERSON;
}

enum reconcile_act reconcile(const struct reconcile_view *v)
{
	if (v->own == PHASE_NONE)
		return RECONCILE_NOTHING;
	if (v->held)
		return RECONCILE_WAIT;
	if (!v->reachable)
		return alone(v);
	switch (v->own) {
	case PHASE_ADDED:
	case PHASE_ACTIVATED:
		return at_rest(v);
	case PHASE_PREPARED:
		return prepared(v);
	case PHASE_COMMITTING:
		return decided(v);
	case PHASE_ADDING:
	case PHASE_ACTIVATING:
	case PHASE_STANDBY_ACTIVATED:
	case PHASE_ABORTING:
	case PHASE_NEEDS_ABORT:
		return v->other == PHASE_COMMITTING || v->other == PHASE_COMMITTED ? RECONCILE_PERSON
										   : RECONCILE_GO_BACK;
	case PHASE_NONE:
	case PHASE_COMMITTED:
	case PHASE_ABORTED:
	case PHASE_UNKNOWN:
	case PHASES:
		break;
	}
	return RECONCILE_NOTHING;
}

static size_t put_commit(bool other, enum phase p, struct reconcile_step *ret)
{
	size_t n = 0;
	if (p == PHASE_ACTIVATED)
		ret[n++] = (struct reconcile_step){other, UPGRADE_PREPARE};
	ret[n++] = (struct reconcile_step){other, UPGRADE_COMMIT};
	return n;
}

size_t reconcile_steps(enum reconcile_act act, enum phase own, enum phase other,
		       struct reconcile_step ret[RECONCILE_STEPS_MAX])
{
	size_t n = 0;
	switch (act) {
	case RECONCILE_WITHDRAW:
		ret[n++] = (struct reconcile_step){false, UPGRADE_WITHDRAW};
		break;
	case RECONCILE_COMMIT_OTHER:
		n = put_commit(true, other, ret);
		n += put_commit(false, own, ret + n);
		break;
	case RECONCILE_COMMIT:
		n = put_commit(false, own, ret);
		break;
	case RECONCILE_NOTHING:
	case RECONCILE_WAIT:
	case RECONCILE_GO_BACK:
	case RECONCILE_PERSON:
	case RECONCILE_ACTS:
		break;
	}
	return n;
}
