// SPDX-License-Identifier: Apache-2.0
/*
 * Plans of the verbs as arrays of steps, and their carrying out.
 *
 * Order: the one who takes over is ready, and known to be, before the other lets go; the other is drained before anything is moved
 * away from it. At no time would nobody answer. Drivers act in the order of the configuration; `ready` in the reverse one, so that
 * what was closed last is opened first.
 */
#include <poll.h>
#include <stdio.h>

#include "base/proc.h"
#include "pair/traffic_drivers.h"

enum { POLL_MS = 20, ASK_MS = 2000, UNDO_MS = 5000, IDLE_LOOKS = 2, COMMAND_OUT_MAX = 4096, POOL_MS = 500 };

struct plan {
	struct arena *a;
	const struct traffic_config *c;
	struct traffic_step *step;
	size_t n;
};

/* == plan ========================================================================================================= */
static const char *step_words(enum traffic_step_kind k)
{
	switch (k) {
	case TRAFFIC_CHECK_OTHER:
		return "another server takes requests without";
	case TRAFFIC_WAIT_UP:
		return "wait until requests go to";
	case TRAFFIC_WAIT_FIT:
		return "wait until it is fit to take over:";
	case TRAFFIC_WAIT_POOL:
		return "wait until no old connection is kept to";
	case TRAFFIC_WAIT_IDLE:
		return "wait until nothing is in flight on";
	case TRAFFIC_NOTHING:
	case TRAFFIC_SET_READY:
	case TRAFFIC_SET_DRAIN:
	case TRAFFIC_SET_MAINT:
	case TRAFFIC_WEIGHT_ACTIVE:
	case TRAFFIC_WEIGHT_STANDBY:
	case TRAFFIC_WAIT_ADDRESS:
	case TRAFFIC_WAIT_NO_ADDRESS:
	case TRAFFIC_RUN_DRAIN:
	case TRAFFIC_RUN_READY:
	case TRAFFIC_RUN_ACTIVE:
		break;
	}
	return "";
}

static int verb_of(enum traffic_step_kind k)
{
	return k == TRAFFIC_RUN_DRAIN ? TRAFFIC_DRAIN : k == TRAFFIC_RUN_READY ? TRAFFIC_READY : TRAFFIC_ACTIVE;
}

static void put_command(struct buf *b, const struct traffic_driver *d, enum traffic_step_kind k, uint32_t member)
{
	buf_put_c(b, "command: run");
	for (const char *const *p = d->argv[verb_of(k)]; *p; p++)
		if (strcmp(*p, "{member}") == 0)
			buf_printf(b, " %u", member);
		else
			buf_printf(b, " %s", *p);
}

static struct str step_text(struct arena *a, const struct traffic_driver *d, enum traffic_step_kind k, uint32_t member)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	switch (d->kind) {
	case TRAFFIC_HAPROXY:
		buf_printf(&b, "haproxy '%.*s': ", STR_ARG(d->backend));
		if (k == TRAFFIC_SET_READY || k == TRAFFIC_SET_DRAIN || k == TRAFFIC_SET_MAINT)
			buf_printf(&b, "set server %.*s/%.*s state %s", STR_ARG(d->backend), STR_ARG(d->server[member]),
				   k == TRAFFIC_SET_READY   ? "ready"
				   : k == TRAFFIC_SET_DRAIN ? "drain"
							    : "maint");
		else
			buf_printf(&b, "%s '%.*s'", step_words(k), STR_ARG(d->server[member]));
		break;
	case TRAFFIC_KEEPALIVED:
		buf_printf(&b, "keepalived '%.*s': member %u: ", STR_ARG(d->address), member);
		if (k == TRAFFIC_WEIGHT_ACTIVE || k == TRAFFIC_WEIGHT_STANDBY)
			buf_printf(&b, "write %d to %.*s",
				   (int)(k == TRAFFIC_WEIGHT_ACTIVE ? d->weight_active : d->weight_standby),
				   STR_ARG(d->track_file));
		else
			buf_printf(&b, "wait until the address is %s %.*s",
				   k == TRAFFIC_WAIT_ADDRESS ? "on" : "no longer on", STR_ARG(d->interface));
		break;
	case TRAFFIC_COMMAND:
		put_command(&b, d, k, member);
		break;
	}
	return arena_str(a, buf_str(&b));
}

static struct traffic_step step_of(struct arena *a, const struct traffic_config *c, enum traffic_step_kind k,
				   uint32_t driver, uint32_t member)
{
	const struct traffic_driver *d = &c->driver[driver];
	return (struct traffic_step){.kind = k,
				     .driver = driver,
				     .member = member,
				     .on = d->kind == TRAFFIC_KEEPALIVED ? member : 0,
				     .text = step_text(a, d, k, member)};
}

static void add(struct plan *p, enum traffic_step_kind k, uint32_t driver, uint32_t member)
{
	p->step[p->n++] = step_of(p->a, p->c, k, driver, member);
}

static void plan_haproxy(struct plan *p, uint32_t driver, enum traffic_verb verb, uint32_t member, uint32_t other)
{
	bool share_active = p->c->driver[driver].share_active;
	if (verb == TRAFFIC_DRAIN) {
		add(p, TRAFFIC_CHECK_OTHER, driver, member);
		add(p, TRAFFIC_SET_DRAIN, driver, member);
		add(p, TRAFFIC_WAIT_IDLE, driver, member);
	} else if (verb == TRAFFIC_READY && share_active) {
		add(p, TRAFFIC_WAIT_FIT, driver, member);
	} else {
		add(p, TRAFFIC_WAIT_POOL, driver, member);
		add(p, TRAFFIC_SET_READY, driver, member);
		add(p, TRAFFIC_WAIT_UP, driver, member);
	}
	if (verb == TRAFFIC_ACTIVE && share_active) {
		add(p, TRAFFIC_SET_DRAIN, driver, other);
		add(p, TRAFFIC_WAIT_IDLE, driver, other);
	}
}

/* Draining a member is giving the address to the other; `ready` leaves it where it is. */
static void plan_keepalived(struct plan *p, uint32_t driver, enum traffic_verb verb, uint32_t member, uint32_t other)
{
	uint32_t taker = verb == TRAFFIC_ACTIVE ? member : other, giver = verb == TRAFFIC_ACTIVE ? other : member;
	if (verb == TRAFFIC_READY)
		return;
	add(p, TRAFFIC_WEIGHT_ACTIVE, driver, taker);
	add(p, TRAFFIC_WEIGHT_STANDBY, driver, giver);
	add(p, TRAFFIC_WAIT_ADDRESS, driver, taker);
	add(p, TRAFFIC_WAIT_NO_ADDRESS, driver, giver);
}

static void plan_driver(struct plan *p, uint32_t driver, enum traffic_verb verb, uint32_t member)
{
	uint32_t other = member == 1 ? 2 : 1;
	switch (p->c->driver[driver].kind) {
	case TRAFFIC_HAPROXY:
		plan_haproxy(p, driver, verb, member, other);
		break;
	case TRAFFIC_KEEPALIVED:
		plan_keepalived(p, driver, verb, member, other);
		break;
	case TRAFFIC_COMMAND:
		add(p,
		    verb == TRAFFIC_DRAIN   ? TRAFFIC_RUN_DRAIN
		    : verb == TRAFFIC_READY ? TRAFFIC_RUN_READY
					    : TRAFFIC_RUN_ACTIVE,
		    driver, member);
		break;
	}
}

void traffic_plan(struct arena *a, const struct traffic_config *c, enum traffic_verb verb, uint32_t member,
		  struct traffic_step **ret, size_t *ret_n)
{
	struct plan p = {.a = a, .c = c, .step = arena_array(a, struct traffic_step, TRAFFIC_STEPS_MAX)};
	for (uint32_t i = 0; i < c->n; i++)
		plan_driver(&p, verb == TRAFFIC_READY ? c->n - 1 - i : i, verb, member);
	*ret = p.step;
	*ret_n = p.n;
}

bool traffic_step_at(struct arena *a, const struct traffic_config *c, enum traffic_step_kind kind, uint32_t driver,
		     uint32_t member, struct traffic_step *ret)
{
	static const enum traffic_step_kind last[] = {[TRAFFIC_HAPROXY] = TRAFFIC_WAIT_IDLE,
						      [TRAFFIC_KEEPALIVED] = TRAFFIC_WAIT_NO_ADDRESS,
						      [TRAFFIC_COMMAND] = TRAFFIC_RUN_ACTIVE};
	static const enum traffic_step_kind first[] = {[TRAFFIC_HAPROXY] = TRAFFIC_CHECK_OTHER,
						       [TRAFFIC_KEEPALIVED] = TRAFFIC_WEIGHT_ACTIVE,
						       [TRAFFIC_COMMAND] = TRAFFIC_RUN_DRAIN};
	if (driver >= c->n || member < 1 || member > TRAFFIC_MEMBERS)
		return false;
	enum traffic_driver_kind k = c->driver[driver].kind;
	if (kind < first[k] || kind > last[k])
		return false;
	*ret = step_of(a, c, kind, driver, member);
	return true;
}

/* == steps ======================================================================================================== */
struct doing {
	const struct traffic_driver *d;
	const struct traffic_step *s;
	const struct clock *clock;
	int64_t begun_ms, deadline_ms;
	uint32_t looks; /* in a row that found it idle */
	struct str seen;
	struct arena arena;
};

static int64_t now_ms(const struct doing *w)
{
	return w->clock->mono_ms(w->clock);
}

/* Until when one question may take: HAProxy answers at once, or not at all. */
static int64_t ask_until(const struct doing *w)
{
	int64_t t = now_ms(w) + ASK_MS;
	return t < w->deadline_ms ? t : w->deadline_ms;
}

static int look(struct doing *w, uint32_t member, struct haproxy_server *ret, struct err *e)
{
	return haproxy_look(w->d, &w->arena, member, w->clock, ask_until(w), ret, e);
}

static int check_other(struct doing *w, struct err *e)
{
	struct haproxy_server own, other;
	uint32_t o = w->s->member == 1 ? 2 : 1;
	if (look(w, w->s->member, &own, e) < 0 || look(w, o, &other, e) < 0)
		return -1;
	if ((own.admin & (HAPROXY_MAINT | HAPROXY_DRAIN)) != 0)
		return 0; /* it takes none itself */
	if (other.up && other.weight > 0 && (other.admin & (HAPROXY_MAINT | HAPROXY_DRAIN)) == 0)
		return 0;
	return err_new(e, ERR_FAILED,
		       "'%.*s' is the last that answers: '%.*s' is '%.*s'%s; bring that one up first "
		       "('set server %.*s/%.*s state ready')",
		       STR_ARG(w->d->server[w->s->member]), STR_ARG(w->d->server[o]), STR_ARG(other.status),
		       (other.admin & HAPROXY_MAINT)   ? ", in maintenance"
		       : (other.admin & HAPROXY_DRAIN) ? ", drained"
		       : other.weight == 0	       ? ", of weight 0"
						       : "",
		       STR_ARG(w->d->backend), STR_ARG(w->d->server[o]));
}

static int set_state(struct doing *w, const char *word, enum traffic_step_kind *ret_undo, struct err *e)
{
	struct haproxy_server now;
	if (look(w, w->s->member, &now, e) < 0)
		return -1;
	enum traffic_step_kind was = (now.admin & HAPROXY_MAINT)   ? TRAFFIC_SET_MAINT
				     : (now.admin & HAPROXY_DRAIN) ? TRAFFIC_SET_DRAIN
								   : TRAFFIC_SET_READY;
	int r = haproxy_set(w->d, w->s->member, word, w->clock, ask_until(w), e);
	/* what was asked may have been obeyed though the answer was lost */
	if ((r == 0 || e->code != ERR_FAILED) && was != w->s->kind)
		*ret_undo = was;
	return r;
}

/* 1: so it is. */
static int is_up(struct doing *w, bool drained_too, struct err *e)
{
	struct haproxy_server now;
	if (look(w, w->s->member, &now, e) < 0)
		return -1;
	w->seen = now.status;
	if ((now.admin & HAPROXY_MAINT) || (!drained_too && (now.admin & HAPROXY_DRAIN)))
		return err_new(e, ERR_FAILED,
			       "it is in %s meanwhile: somebody else has changed it, or the configuration has it so",
			       (now.admin & HAPROXY_MAINT) ? "maintenance" : "state drain");
	return now.up && (drained_too || now.weight > 0);
}

static int is_idle(struct doing *w, struct err *e)
{
	struct haproxy_server now;
	if (look(w, w->s->member, &now, e) < 0)
		return -1;
	if ((now.admin & (HAPROXY_DRAIN | HAPROXY_MAINT)) == 0)
		return err_new(e, ERR_FAILED,
			       "it is no longer drained: HAProxy was restarted, or somebody else has "
			       "changed it; try again");
	w->seen = str_c(arena_printf(&w->arena, "%llu in flight, %llu queued", (unsigned long long)now.in_flight,
				     (unsigned long long)now.queued));
	/* a request that was given to the server at this very moment is seen by the next look */
	w->looks = now.in_flight + now.queued == 0 ? w->looks + 1 : 0;
	return w->looks >= IDLE_LOOKS;
}

/* Whoever served before a restart has closed what HAProxy has kept to it, which HAProxy may not have seen yet. One that does not tell
 * (before 2.2), or a server that was not restarted and closes nothing, is not waited for. */
static int is_pool_empty(struct doing *w, struct err *e)
{
	struct haproxy_server now;
	uint64_t n = 0;
	struct err ignored = ERR_INIT;
	if (now_ms(w) - w->begun_ms >= POOL_MS)
		return 1;
	if (look(w, w->s->member, &now, e) < 0)
		return -1;
	if (!(now.admin & HAPROXY_DRAIN) || haproxy_kept(w->d, w->s->member, w->clock, ask_until(w), &n, &ignored) < 0)
		return 1;
	w->seen = str_c(arena_printf(&w->arena, "%llu connections are kept", (unsigned long long)n));
	return n == 0;
}

static int has_address(struct doing *w, bool wanted, struct err *e)
{
	int r = keepalived_has_address(w->d, e);
	w->seen = r == 1 ? STR("it is there") : STR("it is not there");
	return r < 0 ? -1 : (r == 1) == wanted;
}

static int is_fit(struct doing *w, struct err *e)
{
	return is_up(w, true, e);
}

static int takes_requests(struct doing *w, struct err *e)
{
	return is_up(w, false, e);
}

static int address_is_here(struct doing *w, struct err *e)
{
	return has_address(w, true, e);
}

static int address_is_not_here(struct doing *w, struct err *e)
{
	return has_address(w, false, e);
}

#define ASKS_HAPROXY "see whether the service answers HAProxy's health check"
#define ASKS_KEEPALIVED "see whether keepalived runs on both members, tracks this file with weight 1, and preempts"
/* What is waited for: whether it is so (1, 0), and what helps where it does not get so. */
static const struct wait {
	int (*is_so)(struct doing *w, struct err *e);
	const char *cure;
} waits[] = {
	[TRAFFIC_WAIT_UP] = {takes_requests, ASKS_HAPROXY},
	[TRAFFIC_WAIT_FIT] = {is_fit, ASKS_HAPROXY},
	[TRAFFIC_WAIT_POOL] = {is_pool_empty, ASKS_HAPROXY},
	[TRAFFIC_WAIT_IDLE] = {is_idle, "give it more time, or end what runs so long ('shutdown sessions server')"},
	[TRAFFIC_WAIT_ADDRESS] = {address_is_here, ASKS_KEEPALIVED},
	[TRAFFIC_WAIT_NO_ADDRESS] = {address_is_not_here, ASKS_KEEPALIVED},
};

static int wait_until(struct doing *w, struct err *e)
{
	const struct wait *x = &waits[w->s->kind];
	for (;;) {
		struct err why = ERR_INIT;
		int r = x->is_so(w, &why);
		int64_t left = w->deadline_ms - now_ms(w);
		if (r > 0)
			return 0;
		/* a question that was cut short by the deadline says nothing about whom it was put to */
		if (r < 0 && (left > 0 || w->seen.n == 0 || why.code != ERR_NETWORK)) {
			*e = why;
			return -1;
		}
		if (left <= 0)
			return err_new(e, ERR_FAILED, "not in time (%.*s); %s", STR_ARG(w->seen), x->cure);
		(void)poll(NULL, 0, left < POLL_MS ? (int)left : POLL_MS);
		if (w->arena.total_bytes > 1 << 16) {
			char seen[100];
			snprintf(seen, sizeof(seen), "%.*s", STR_ARG(str_head(w->seen, sizeof(seen) - 1)));
			arena_release(&w->arena);
			w->seen = str_c(arena_strdup(&w->arena, str_c(seen)));
		}
	}
}

static int run_command(struct doing *w, const char *const *argv, struct buf *out, struct err *e)
{
	uint32_t n = 0;
	auto_buf said = BUF_INIT(COMMAND_OUT_MAX);
	int64_t left = w->deadline_ms - now_ms(w);
	while (argv[n])
		n++;
	const char **real = arena_array(&w->arena, const char *, n + 1);
	for (uint32_t i = 0; i < n; i++)
		real[i] = strcmp(argv[i], "{member}") == 0 ? arena_printf(&w->arena, "%u", w->s->member) : argv[i];
	if (left <= 0)
		return err_new(e, ERR_FAILED, "no time is left for it");
	struct proc_opts o = {.argv = real, .out = out ? out : &said, .errout = &said, .deadline_ms = left};
	int status = proc_run(&o, e);
	struct str line = str_trim(buf_str(&said)), first;
	if (status > 0) {
		if (!str_take_line(&line, &first))
			first = STR("nothing");
		return err_new(e, ERR_FAILED, "it ended with %d, having said '%.*s'; see why, and try again", status,
			       STR_ARG(str_head(first, 200)));
	}
	return status;
}

static int set_weight(struct doing *w, bool active, enum traffic_step_kind *ret_undo, struct err *e)
{
	bool changed = false;
	if (keepalived_set(w->d, active, &changed, e) < 0)
		return -1;
	if (changed)
		*ret_undo = active ? TRAFFIC_WEIGHT_STANDBY : TRAFFIC_WEIGHT_ACTIVE;
	return 0;
}

static int do_here(struct doing *w, enum traffic_step_kind *ret_undo, struct err *e)
{
	switch (w->s->kind) {
	case TRAFFIC_CHECK_OTHER:
		return check_other(w, e);
	case TRAFFIC_SET_READY:
		return set_state(w, "ready", ret_undo, e);
	case TRAFFIC_SET_DRAIN:
		return set_state(w, "drain", ret_undo, e);
	case TRAFFIC_SET_MAINT:
		return set_state(w, "maint", ret_undo, e);
	case TRAFFIC_WEIGHT_ACTIVE:
	case TRAFFIC_WEIGHT_STANDBY:
		return set_weight(w, w->s->kind == TRAFFIC_WEIGHT_ACTIVE, ret_undo, e);
	case TRAFFIC_RUN_DRAIN:
		*ret_undo = TRAFFIC_RUN_READY;
		return run_command(w, w->d->argv[TRAFFIC_DRAIN], NULL, e);
	case TRAFFIC_RUN_READY:
	case TRAFFIC_RUN_ACTIVE:
		return run_command(w, w->d->argv[verb_of(w->s->kind)], NULL, e);
	case TRAFFIC_WAIT_UP:
	case TRAFFIC_WAIT_FIT:
	case TRAFFIC_WAIT_POOL:
	case TRAFFIC_WAIT_IDLE:
	case TRAFFIC_WAIT_ADDRESS:
	case TRAFFIC_WAIT_NO_ADDRESS:
		return wait_until(w, e);
	case TRAFFIC_NOTHING:
		break;
	}
	return 0;
}

static const struct clock *clock_of(const struct traffic_opts *o)
{
	return o->clock ? o->clock : &clock_system;
}

int traffic_do(const struct traffic_opts *o, const struct traffic_step *s, int64_t deadline_ms,
	       enum traffic_step_kind *ret_undo, struct err *e)
{
	struct doing w = {.d = &o->config->driver[s->driver], .s = s, .clock = clock_of(o), .deadline_ms = deadline_ms};
	w.begun_ms = now_ms(&w);
	*ret_undo = TRAFFIC_NOTHING;
	int r = do_here(&w, ret_undo, e);
	arena_release(&w.arena);
	return r < 0 ? err_ctx(e, "%.*s", STR_ARG(s->text)) : 0;
}

/* == verbs ======================================================================================================== */
static int carry_out(const struct traffic_opts *o, const struct traffic_step *s, int64_t deadline_ms,
		     enum traffic_step_kind *ret_undo, struct err *e)
{
	if (s->on == 0 || s->on == o->self)
		return traffic_do(o, s, deadline_ms, ret_undo, e);
	*ret_undo = s->kind == TRAFFIC_WEIGHT_ACTIVE	? TRAFFIC_WEIGHT_STANDBY
		    : s->kind == TRAFFIC_WEIGHT_STANDBY ? TRAFFIC_WEIGHT_ACTIVE
							: TRAFFIC_NOTHING;
	if (!o->on_member) {
		*ret_undo = TRAFFIC_NOTHING;
		return err_new(e, ERR_FAILED,
			       "%.*s: this is for member %u alone, and there is no link to it; run it there",
			       STR_ARG(s->text), s->on);
	}
	return o->on_member(o->ctx, s, deadline_ms, e);
}

/* Last thing first; goes on where one fails. The first failure is left in *why. */
static int undo(const struct traffic_opts *o, struct arena *a, const struct traffic_step *step,
		const enum traffic_step_kind *back, size_t n, struct err *why)
{
	int64_t deadline_ms = clock_of(o)->mono_ms(clock_of(o)) + UNDO_MS;
	int r = 0;
	while (n-- > 0) {
		struct traffic_step s;
		enum traffic_step_kind ignored;
		struct err e = ERR_INIT;
		if (back[n] == TRAFFIC_NOTHING)
			continue;
		s = step_of(a, o->config, back[n], step[n].driver, step[n].member);
		if (o->event)
			o->event(o->ctx, &s, true);
		if (carry_out(o, &s, deadline_ms, &ignored, &e) < 0 && r == 0) {
			*why = e;
			r = -1;
		}
	}
	return r;
}

static bool sets(enum traffic_step_kind k)
{
	return (k >= TRAFFIC_SET_READY && k <= TRAFFIC_SET_MAINT) || k == TRAFFIC_WEIGHT_ACTIVE ||
	       k == TRAFFIC_WEIGHT_STANDBY || k >= TRAFFIC_RUN_DRAIN;
}

int traffic_run(const struct traffic_opts *o, enum traffic_verb verb, uint32_t member, int64_t deadline_ms,
		struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct traffic_step *step;
	enum traffic_step_kind back[TRAFFIC_STEPS_MAX] = {TRAFFIC_NOTHING};
	size_t n;
	if (member < 1 || member > TRAFFIC_MEMBERS)
		return err_new(e, ERR_USAGE, "there is no member %u; members are 1 and 2", member);
	traffic_plan(&a, o->config, verb, member, &step, &n);
	for (size_t i = 0; i < n; i++) {
		struct err why = ERR_INIT;
		if (o->idle && !sets(step[i].kind))
			continue;
		if (o->event)
			o->event(o->ctx, &step[i], false);
		if (carry_out(o, &step[i], deadline_ms, &back[i], e) == 0)
			continue;
		if (undo(o, &a, step, back, i + 1, &why) == 0)
			return -1;
		auto_free char *first = xstrdup(e->msg);
		return err_new(e, ERR_UNCERTAIN, "%s; and it could not be undone: %s", first, why.msg);
	}
	return 0;
}

/* == state ======================================================================================================== */
const char *traffic_state_name(enum traffic_state s)
{
	static const char *const name[] = {"unknown", "down", "drained", "draining", "standby", "carries"};
	return name[s];
}

static int haproxy_state(struct doing *w, enum traffic_state *ret, struct err *e)
{
	struct haproxy_server now;
	if (look(w, w->s->member, &now, e) < 0)
		return -1;
	if ((now.admin & (HAPROXY_MAINT | HAPROXY_DRAIN)) || now.weight == 0)
		*ret = !now.up && !(now.admin & HAPROXY_MAINT)		    ? TRAFFIC_IS_DOWN
		       : now.in_flight + now.queued > 0			    ? TRAFFIC_IS_DRAINING
		       : w->d->share_active && !(now.admin & HAPROXY_MAINT) ? TRAFFIC_IS_STANDBY
									    : TRAFFIC_IS_DRAINED;
	else
		*ret = now.up ? TRAFFIC_CARRIES : TRAFFIC_IS_DOWN;
	return 0;
}

static int command_state(struct doing *w, enum traffic_state *ret, struct err *e)
{
	auto_buf out = BUF_INIT(COMMAND_OUT_MAX);
	if (run_command(w, w->d->argv[TRAFFIC_VERBS], &out, e) < 0)
		return -1;
	struct str word = str_trim(buf_str(&out));
	for (int i = TRAFFIC_IS_UNKNOWN; i <= TRAFFIC_CARRIES; i++)
		if (str_eq_c(word, traffic_state_name((enum traffic_state)i))) {
			*ret = (enum traffic_state)i;
			return 0;
		}
	return err_new(e, ERR_INPUT, "it must print one of unknown, down, drained, draining, standby, carries");
}

static int state_of(const struct traffic_opts *o, struct doing *w, enum traffic_state *ret, struct err *e)
{
	int r;
	switch (w->d->kind) {
	case TRAFFIC_HAPROXY:
		return haproxy_state(w, ret, e) < 0
			       ? err_ctx(e, "haproxy '%.*s': state of member %u", STR_ARG(w->d->backend), w->s->member)
			       : 0;
	case TRAFFIC_KEEPALIVED:
		*ret = TRAFFIC_IS_UNKNOWN;
		if (w->s->member != o->self)
			return 0;
		r = keepalived_has_address(w->d, e);
		*ret = r == 1 ? TRAFFIC_CARRIES : TRAFFIC_IS_STANDBY;
		return r < 0 ? err_ctx(e, "keepalived '%.*s'", STR_ARG(w->d->address)) : 0;
	case TRAFFIC_COMMAND:
		return command_state(w, ret, e) < 0 ? err_ctx(e, "command '%s'", w->d->argv[TRAFFIC_VERBS][0]) : 0;
	}
	return 0;
}

int traffic_state(const struct traffic_opts *o, uint32_t member, int64_t deadline_ms, enum traffic_state *ret,
		  struct err *e)
{
	enum traffic_state best = TRAFFIC_IS_UNKNOWN;
	bool down = false;
	if (member < 1 || member > TRAFFIC_MEMBERS)
		return err_new(e, ERR_USAGE, "there is no member %u; members are 1 and 2", member);
	for (uint32_t i = 0; i < o->config->n; i++) {
		enum traffic_state s = TRAFFIC_IS_UNKNOWN;
		const struct traffic_step about = {.driver = i, .member = member};
		struct doing w = {
			.d = &o->config->driver[i], .s = &about, .clock = clock_of(o), .deadline_ms = deadline_ms};
		int r = state_of(o, &w, &s, e);
		arena_release(&w.arena);
		if (r < 0)
			return -1;
		down = down || s == TRAFFIC_IS_DOWN;
		best = s > best ? s : best;
	}
	*ret = down && best != TRAFFIC_CARRIES ? TRAFFIC_IS_DOWN : best;
	return 0;
}
