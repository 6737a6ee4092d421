// SPDX-License-Identifier: Apache-2.0
/* One order to one member; what is known of the two, and told. */
#include <poll.h>
#include <stdio.h>

#include "pair/coordinate.h"
#include "pair/reconcile.h"
#include "pair/role.h"

enum { LOOK_EVERY_MS = 200 };

/* -- telling -------------------------------------------------------------------------------------------------------- */

static const struct clock *clock_of(const struct coordinator *k)
{
	return k->clock ? k->clock : &clock_system;
}

void coordinate_tell(struct coordinator *k, enum upgrade_event_kind kind, uint32_t member, int64_t number, bool done,
		     const char *text, const struct err *failure)
{
	const struct upgrade_event v = {
		.kind = kind,
		.number = number,
		.member = member,
		.done = done,
		.text = text,
		.failure = failure,
		.at_ms = clock_of(k)->wall_ms(clock_of(k)),
	};
	if (k->event)
		k->event(k->ctx, &v);
}

void coordinate_note(struct coordinator *k, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(4096);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	coordinate_tell(k, UPGRADE_EVENT_NOTE, 0, 0, false, b.p, NULL);
}

/* Of what a member tells while it carries an order out: the stages and steps are told by whoever gives the orders. */
static void on_event(void *ctx, const struct upgrade_event *v)
{
	struct coordinator *k = ctx;
	if (k->event && (v->kind == UPGRADE_EVENT_NOTE || v->kind == UPGRADE_EVENT_STATE))
		k->event(k->ctx, v);
}

/* -- members -------------------------------------------------------------------------------------------------------- */

bool coordinate_reaches(const struct coordinator *k, uint32_t n)
{
	return k->m[n] && !k->lost[n];
}

uint32_t coordinate_standby(const struct coordinator *k)
{
	return k->role.active == 1 ? 2 : 1;
}

static int no_answer(const struct coordinator *k, uint32_t n, struct err *e)
{
	return err_new(e, ERR_NETWORK, "member %u does not answer%s%.*s", n, k->why[n].n ? ": " : "",
		       STR_ARG(k->why[n]));
}

/* Without the "member 2: " that it may begin with. */
static const char *cause(const struct err *e, uint32_t n)
{
	char own[16];
	int k = snprintf(own, sizeof(own), "member %u: ", n);
	return strncmp(e->msg, own, (size_t)k) == 0 ? e->msg + k : e->msg;
}

void coordinate_unname(uint32_t n, struct err *e)
{
	const char *rest = cause(e, n);
	memmove(e->msg, rest, strlen(rest) + 1);
}

void coordinate_lose(struct coordinator *k, uint32_t n, const struct err *e)
{
	k->lost[n] = true;
	k->why[n] = member_why(&k->arena, n, e);
}

/* After a call: one that broke off says nothing of what was done. */
static int came_back(struct coordinator *k, uint32_t n, int rc, struct err *e)
{
	if (rc >= 0)
		return rc;
	if (!k->m[n]->local && e->code == ERR_NETWORK) {
		coordinate_lose(k, n, e);
		return no_answer(k, n, e);
	}
	return member_err(n, e);
}

/* The higher epoch is right, and told to who did not hear of it, or cannot read what it knew. */
static int agree_on_roles(struct coordinator *k, const uint64_t *epoch, const bool *damaged, struct err *e)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (coordinate_reaches(k, n) && (epoch[n] < k->role.epoch || damaged[n]) &&
		    came_back(k, n, k->m[n]->ops->role_set(k->m[n], &k->role, e), e) < 0) {
			if (!k->lost[n])
				return -1;
			*e = ERR_INIT;
		}
	return 0;
}

static int read_roles(struct coordinator *k, struct err *e)
{
	uint64_t epoch[PAIR_MEMBERS + 1] = {0};
	struct str drained[PAIR_MEMBERS + 1] = {STR_NONE};
	struct pair_role roles[PAIR_MEMBERS + 1] = {{0}};
	bool damaged[PAIR_MEMBERS + 1] = {false}, known[PAIR_MEMBERS + 1] = {false}, any = false;
	struct err why = ERR_INIT;
	k->role = (struct pair_role){.active = 1};
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct pair_role r = {0};
		if (!coordinate_reaches(k, n))
			continue;
		if (came_back(k, n, k->m[n]->ops->role_get(k->m[n], &k->arena, &r, e), e) < 0) {
			if (!k->lost[n] && e->code != ERR_INPUT)
				return -1;
			damaged[n] = !k->lost[n];
			why = damaged[n] ? *e : why;
			*e = ERR_INIT;
			continue;
		}
		any = known[n] = true;
		roles[n] = r;
		epoch[n] = r.epoch;
		for (uint32_t i = 1; i <= PAIR_MEMBERS; i++) /* who missed that one was put in again does no harm */
			drained[i] = r.drained[i].n ? r.drained[i] : drained[i];
		if (r.active && r.epoch >= k->role.epoch)
			k->role = r;
	}
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (known[n] && known[3 - n] && role_is_beyond(epoch[n], epoch[3 - n])) {
			damaged[n] = true;
			k->role = roles[3 - n];
			(void)err_new(&why, ERR_INPUT, "member %u: switch-over %llu cannot be", n,
				      (unsigned long long)epoch[n]);
		}
	if (why.code != ERR_NONE && !any) {
		*e = why;
		return -1;
	}
	if (why.code != ERR_NONE)
		coordinate_note(k, "%s: it is written anew from the other one's", why.msg);
	memcpy(k->role.drained, drained, sizeof(drained));
	if (k->role.active > PAIR_MEMBERS)
		return err_new(e, ERR_INPUT, "member %u is said to be active; members are 1 and 2", k->role.active);
	return agree_on_roles(k, epoch, damaged, e);
}

int coordinate_begin(struct coordinator *k, struct err *e)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		if (!coordinate_reaches(k, n))
			continue;
		k->m[n]->event = on_event;
		k->m[n]->ctx = k;
	}
	return read_roles(k, e);
}

int coordinate_hold_roles(struct coordinator *k, int64_t wait_ms, struct err *e)
{
	if (k->holds_roles)
		return 0;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		if (!coordinate_reaches(k, n) || came_back(k, n, k->m[n]->ops->hold_role(k->m[n], wait_ms, e), e) == 0)
			continue;
		/* gone: what follows sees it; a slipway that has no such lock yet: the other member's is enough for both */
		if (!k->lost[n] && e->code != ERR_UNSUPPORTED)
			return -1;
		*e = ERR_INIT;
	}
	k->holds_roles = true;
	return read_roles(k, e);
}

int coordinate_look(struct coordinator *k, uint32_t n, struct err *e)
{
	auto_arena a = ARENA_INIT; /* whoever waits for health looks often */
	struct pair_member_status s = {.number = n};
	if (!coordinate_reaches(k, n))
		return no_answer(k, n, e);
	if (came_back(k, n, k->m[n]->ops->look(k->m[n], &a, k->env, &s, e), e) < 0)
		return -1;
	arena_release(&k->st_arena[n]);
	arena_join(&k->st_arena[n], &a);
	k->st[n] = s;
	k->looked[n] = true;
	return 0;
}

int coordinate_order(struct coordinator *k, uint32_t n, const struct upgrade_request *q, struct err *e)
{
	if (!coordinate_reaches(k, n))
		return no_answer(k, n, e);
	return came_back(k, n, k->m[n]->ops->run(k->m[n], q, e), e);
}

int coordinate_step(struct coordinator *k, uint32_t n, enum upgrade_verb verb, struct err *e)
{
	const struct upgrade_request q = {.verb = verb, .operation_id = k->id, .issu = true};
	return coordinate_order(k, n, &q, e);
}

void coordinate_log(struct coordinator *k, const struct env_operation_step *s)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct err missed = ERR_INIT;
		if (coordinate_reaches(k, n) && k->m[n]->ops->log)
			(void)came_back(k, n, k->m[n]->ops->log(k->m[n], str_c(k->id), s, &missed), &missed);
	}
}

static int64_t wait_of(int64_t ms)
{
	return ms ? ms : COORDINATE_WAIT_MS;
}

int coordinate_wait_healthy(struct coordinator *k, uint32_t n, struct err *e)
{
	const struct clock *c = clock_of(k);
	int64_t until_ms = c->mono_ms(c) + wait_of(k->health_wait_ms);
	for (;;) {
		if (coordinate_look(k, n, e) < 0)
			return -1;
		/* a balancer that keeps connections must have none to a process that is about to end when requests come again */
		if (k->st[n].healthy && !k->st[n].leaving)
			return 0;
		if (c->mono_ms(c) >= until_ms && k->st[n].healthy) {
			coordinate_note(
				k, "member %u: what ran before has not ended yet; this goes on without waiting for it",
				n);
			return 0;
		}
		if (c->mono_ms(c) >= until_ms)
			return err_new(e, ERR_FAILED, "member %u does not get healthy: %.*s", n,
				       STR_ARG(k->st[n].unhealthy));
		(void)poll(NULL, 0, LOOK_EVERY_MS);
	}
}

/* -- traffic and roles ---------------------------------------------------------------------------------------------- */

static int on_member(void *ctx, const struct traffic_step *s, int64_t deadline_ms, struct err *e)
{
	struct coordinator *k = ctx;
	const struct clock *c = clock_of(k);
	enum traffic_step_kind ignored;
	int64_t wait_ms = deadline_ms - c->mono_ms(c);
	if (!coordinate_reaches(k, s->on))
		return no_answer(k, s->on, e);
	return came_back(k, s->on, k->m[s->on]->ops->traffic(k->m[s->on], s, wait_ms < 0 ? 0 : wait_ms, &ignored, e),
			 e);
}

static void on_traffic(void *ctx, const struct traffic_step *s, bool undo)
{
	coordinate_note(ctx, "traffic%s: %.*s", undo ? ", taken back" : "", STR_ARG(s->text));
}

/* That it is drained, on both, so that whoever finds it later puts it in again. The other one may be lost meanwhile. */
static int mark(struct coordinator *k, uint32_t n, struct str env, struct err *e)
{
	if (str_eq(k->role.drained[n], env))
		return 0;
	k->role.drained[n] = env;
	for (uint32_t i = 1; i <= PAIR_MEMBERS; i++) {
		struct err why = ERR_INIT;
		if (!coordinate_reaches(k, i) ||
		    came_back(k, i, k->m[i]->ops->role_set(k->m[i], &k->role, &why), &why) == 0 ||
		    (i != n && k->lost[i]))
			continue;
		*e = why;
		return -1;
	}
	return 0;
}

bool coordinate_is_drained(const struct coordinator *k, uint32_t n)
{
	return str_eq(k->role.drained[n], k->env);
}

/* Whoever dies between the two leaves a mark. */
static int drain_or_ready(struct coordinator *k, const struct traffic_opts *o, enum traffic_verb verb, uint32_t n,
			  int64_t deadline_ms, struct err *e)
{
	struct err ignored = ERR_INIT; /* what is marked, and is in, is put in once more */
	bool was = coordinate_is_drained(k, n);
	if (verb == TRAFFIC_DRAIN && mark(k, n, k->env, e) < 0)
		return -1;
	int rc = traffic_run(o, verb, n, deadline_ms, e);
	bool is_in = verb == TRAFFIC_DRAIN ? rc < 0 && !was && e->code != ERR_UNCERTAIN : rc == 0;
	if (is_in && coordinate_is_drained(k, n))
		(void)mark(k, n, STR_NONE, &ignored);
	return rc;
}

int coordinate_traffic(struct coordinator *k, enum traffic_verb verb, uint32_t n, struct err *e)
{
	const struct clock *c = clock_of(k);
	const struct traffic_opts o = {
		.config = k->traffic,
		.self = k->self,
		.clock = c,
		.on_member = on_member,
		.event = on_traffic,
		.ctx = k,
		.idle = k->st[n].idle,
	};
	if (!k->moves_traffic)
		return 0;
	if (k->traffic && k->traffic->n)
		return drain_or_ready(k, &o, verb, n, c->mono_ms(c) + wait_of(k->traffic_wait_ms), e);
	if (!k->said_no_traffic)
		coordinate_note(k, "no traffic drivers are configured in pair.yml: nothing is drained or moved");
	k->said_no_traffic = true;
	return 0;
}

int coordinate_switch_over(struct coordinator *k, uint32_t to, const char *reason, struct err *e)
{
	const struct clock *c = clock_of(k);
	struct pair_role r = k->role;
	if (r.active == to)
		return 0;
	r.epoch++;
	r.active = to;
	r.since_ms = c->wall_ms(c);
	r.reason = str_c(reason);
	r.switch_overs++;
	/* the new one first: the higher epoch is right */
	for (uint32_t i = 0; i < PAIR_MEMBERS; i++) {
		uint32_t n = i ? 3 - to : to;
		if (!coordinate_reaches(k, n))
			continue;
		if (came_back(k, n, k->m[n]->ops->role_set(k->m[n], &r, e), e) < 0)
			return -1;
		k->role = r;
	}
	return 0;
}

void coordinate_standby_failed(struct coordinator *k)
{
	struct pair_role r = k->role;
	r.standby_failures++;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct err missed = ERR_INIT; /* a count: what failed says itself what is to be done */
		if (coordinate_reaches(k, n) &&
		    came_back(k, n, k->m[n]->ops->role_set(k->m[n], &r, &missed), &missed) == 0)
			k->role = r;
	}
}

/* -- what is left, in words ----------------------------------------------------------------------------------------- */

static void put_member(struct coordinator *k, uint32_t n, struct buf *b)
{
	struct err gone = ERR_INIT;
	const struct pair_member_status *s = &k->st[n];
	bool answers = coordinate_look(k, n, &gone) == 0;
	buf_printf(b, "%smember %u ", b->n ? "; " : "", n);
	if (answers)
		buf_put_c(b, "runs ");
	else
		buf_printf(b, "does not answer (%.*s)%s", STR_ARG(k->why[n]),
			   k->looked[n] ? "; when it last did, it ran " : "");
	if (answers || k->looked[n])
		buf_printf(b, "'%.*s' (generation %u, state '%.*s')", STR_ARG(s->running_version), s->current,
			   STR_ARG(s->state));
}

/* The command that mends it, from the states of those that answer. */
static const char *mends(const struct coordinator *k)
{
	bool decided = false;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct err ignored = ERR_INIT;
		enum phase p = PHASE_NONE;
		if (k->looked[n] && phase_parse(k->st[n].state, &p, &ignored) == 0)
			decided |= !phase_may_go_alone(p);
	}
	return decided ? "install commit" : "install abort issu";
}

int coordinate_uncertain(struct coordinator *k, struct err *e)
{
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	auto_free char *cause = xstrdup(e->msg);
	bool all_answer = true;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		put_member(k, n, &b);
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		all_answer &= coordinate_reaches(k, n);
	return err_new(e, ERR_UNCERTAIN, "%s\n  %s\n  %s'slipway %s -n %.*s' %s", cause, b.p,
		       all_answer ? "" : "the agents go on when they reach each other; or then ",
		       k->again ? k->again : mends(k), STR_ARG(k->env),
		       k->again ? "does what is left of it" : "brings both to one version");
}

void coordinate_release(struct coordinator *k)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (k->m[n])
			k->m[n]->event = NULL;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		arena_release(&k->st_arena[n]);
	arena_release(&k->arena);
}
