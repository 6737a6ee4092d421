// SPDX-License-Identifier: Apache-2.0
#include "pair/session.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "pair/copy.h"
#include "pair/message.h"
#include "version.h"

enum {
	HELD_MS =
		24 * 60 * 60 * 1000, /* the one who asks may be at work on its own host; that it is gone shows before */
	HOLD_SLICE_MS = 1000,
	ENV_NAME_MAX = 64,
};

struct session {
	struct link *link;
	bool gone; /* what was said could not be sent */
	struct member *m;
	const struct pair_opts *o;
	bool held;
	char env[ENV_NAME_MAX + 1]; /* that is held */
	struct store *store, *own_store;
	struct copy copying;
	struct arena recipe_arena;
	struct env_spec_file recipe;
	bool has_recipe;
	struct arena person_arena; /* whoever asks, as the other member names them */
	struct buf coming;	   /* of a recipe that is not whole yet */
	size_t coming_size;
};

/* What one question is worked on with. */
struct asked {
	struct session *s;
	const struct wire_message *m;
	struct arena *a;
	struct jw *w;	   /* members of the answer */
	struct buf *bytes; /* of the answer */
};

/* -- saying --------------------------------------------------------------------------------------------------------- */

/* To somebody who is gone nothing is said, and nothing else changes before what goes on is at its end. */
static void say(struct session *s, struct str json, struct str bytes)
{
	struct err ignored = ERR_INIT;
	s->gone = s->gone || link_put(s->link, json, bytes, &ignored) < 0;
}

static void on_event(void *ctx, const struct upgrade_event *v)
{
	struct session *s = ctx;
	auto_buf b = BUF_INIT(WIRE_JSON_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	message_put_event(&w, v);
	jw_object_end(&w);
	say(s, buf_str(&b), STR_NONE);
}

/* -- what questions name -------------------------------------------------------------------------------------------- */

static int need_env(const struct asked *q, struct str *ret, struct err *e)
{
	return json_get_str(q->m->json, "env", ret, e) < 0 ? -1 : env_name_check(*ret, e);
}

static int need_store(struct session *s, struct err *e)
{
	if (!s->store && !s->o->local.store && store_open(s->o->local.root_fd, 0, &s->own_store, e) < 0)
		return -1;
	s->store = s->own_store ? s->own_store : s->o->local.store;
	s->copying.store = s->store;
	s->copying.root_fd = s->o->local.root_fd;
	s->copying.root_path = s->o->local.root_path;
	s->copying.reserve_bytes = upgrade_reserve_bytes(&s->o->local);
	return 0;
}

static void forget_recipe(struct session *s)
{
	arena_release(&s->recipe_arena);
	s->recipe = (struct env_spec_file){0};
	s->has_recipe = false;
}

/* -- answers: nothing need be held ---------------------------------------------------------------------------------- */

static int answer_look(const struct asked *q, struct err *e)
{
	struct pair_member_status status = {0};
	struct str env = STR_NONE;
	if (json_get(q->m->json, "env") && need_env(q, &env, e) < 0)
		return -1;
	if (q->s->m->ops->look(q->s->m, q->a, env, &status, e) < 0)
		return -1;
	status.number = q->s->m->number;
	jw_key(q->w, "status");
	jw_object(q->w);
	message_put_status(q->w, &status);
	jw_object_end(q->w);
	return 0;
}

static int answer_outcome(const struct asked *q, struct err *e)
{
	struct str env, id, outcome = STR_NONE;
	bool held = false;
	if (need_env(q, &env, e) < 0 || message_get_id(q->m->json, "id", &id, e) < 0 ||
	    q->s->m->ops->outcome(q->s->m, q->a, env, id, &outcome, &held, e) < 0)
		return -1;
	jw_kv_str(q->w, "outcome", outcome);
	jw_kv_bool(q->w, "held", held);
	return 0;
}

static int answer_role(const struct asked *q, struct err *e)
{
	struct pair_role role = {0};
	if (q->s->m->ops->role_get(q->s->m, q->a, &role, e) < 0)
		return -1;
	jw_key(q->w, "role");
	jw_object(q->w);
	message_put_role(q->w, &role);
	jw_object_end(q->w);
	return 0;
}

/* -- holding -------------------------------------------------------------------------------------------------------- */

static void release(struct session *s)
{
	if (s->held)
		s->m->ops->release(s->m);
	s->held = false;
	s->env[0] = '\0';
}

static int hold_env(struct session *s, struct str env, int64_t wait_ms, struct err *e)
{
	return s->m->ops->hold(s->m, env, wait_ms, e);
}

static int hold_role(struct session *s, struct str env, int64_t wait_ms, struct err *e)
{
	(void)env;
	return s->m->ops->hold_role(s->m, wait_ms, e);
}

typedef int hold_fn(struct session *s, struct str env, int64_t wait_ms, struct err *e);

/* In slices: for somebody who is gone, which shows when something is said, nobody waits. */
static int hold(struct session *s, hold_fn *once, struct str env, int64_t wait_ms, struct err *e)
{
	int64_t until = clock_mono_ms() + wait_ms;
	for (;;) {
		int64_t left = until - clock_mono_ms();
		int64_t slice = left < 0 ? 0 : left < HOLD_SLICE_MS ? left : HOLD_SLICE_MS;
		struct err why = ERR_INIT;
		if (once(s, env, slice, &why) == 0)
			return 0;
		say(s, STR("{\"event\":\"waiting\"}"), STR_NONE);
		if (why.code != ERR_BUSY || slice == left || left <= 0 || s->gone) {
			*e = why;
			return -1;
		}
	}
}

static int answer_hold(const struct asked *q, struct err *e)
{
	struct session *s = q->s;
	struct str env;
	int64_t wait_ms;
	if (need_env(q, &env, e) < 0 ||
	    message_get_number(q->m->json, "wait_ms", 0, MESSAGE_WAIT_MAX_MS, &wait_ms, e) < 0)
		return -1;
	if (s->held)
		return err_new(e, ERR_FAILED, "'%s' is held already over this link", s->env);
	arena_release(&s->person_arena);
	s->m->who = s->m->command = NULL;
	if (message_read_person(q->m->json, &s->person_arena, 3 - s->m->number, &s->m->who, &s->m->command, e) < 0)
		return -1;
	if (hold(s, hold_env, env, wait_ms, e) < 0)
		return -1;
	s->held = true;
	memcpy(s->env, env.p, env.n); /* bounded by its check */
	s->env[env.n] = '\0';
	return 0;
}

static int answer_hold_role(const struct asked *q, struct err *e)
{
	int64_t wait_ms;
	return message_get_number(q->m->json, "wait_ms", 0, MESSAGE_WAIT_MAX_MS, &wait_ms, e) < 0
		       ? -1
		       : hold(q->s, hold_role, STR_NONE, wait_ms, e);
}

static int answer_release(const struct asked *q, struct err *e)
{
	(void)e;
	release(q->s);
	return 0;
}

/* -- recipe and archives -------------------------------------------------------------------------------------------- */

static const char *environment(const char *name)
{
	return getenv(name);
}

/* The rule of whoever applies a recipe here: one that asks for something has to fit together, and to fit this host. */
static int check_fits(struct session *s, struct arena *a, struct err *e)
{
	const struct env_spec_file *f = &s->recipe;
	struct str *problems, subdir = f->subdir.n ? f->subdir : channel_host_subdir();
	struct pkg_record *virtuals;
	size_t virtuals_n;
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	if (!f->is_lock || f->is_url_list)
		return err_new(e, ERR_INPUT, "the recipe is not a lock");
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (!f->packages[i].record.has_sha256)
			return err_new(e, ERR_INPUT, "the recipe has no SHA-256 for '%.*s'",
				       STR_ARG(f->packages[i].record.fn));
	if (channel_virtual(a, subdir, environment, &virtuals, &virtuals_n, e) < 0)
		return -1;
	size_t n = env_lock_problems(f, subdir, virtuals, virtuals_n, a, &problems);
	if (n == 0 || f->specs_n == 0)
		return 0;
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i ? "; " : "", STR_ARG(problems[i]));
	return err_new(e, ERR_INPUT, "the recipe does not fit together, or does not fit this host: %s", b.p);
}

static int read_recipe(struct session *s, struct arena *a, struct err *e)
{
	forget_recipe(s);
	struct str text = arena_str(&s->recipe_arena, buf_str(&s->coming));
	buf_release(&s->coming);
	if (env_file_read(&s->recipe_arena, text, "recipe", &s->recipe, e) < 0 || check_fits(s, a, e) < 0) {
		forget_recipe(s);
		return -1;
	}
	s->has_recipe = true;
	return 0;
}

static int answer_recipe(const struct asked *q, struct err *e)
{
	struct session *s = q->s;
	int64_t at, size;
	struct str bytes = q->m->bytes;
	if (message_get_number(q->m->json, "size", 1, MESSAGE_RECIPE_MAX, &size, e) < 0 ||
	    message_get_number(q->m->json, "at", 0, size, &at, e) < 0)
		return -1;
	if (at == 0) {
		buf_release(&s->coming);
		s->coming = BUF_INIT(MESSAGE_RECIPE_MAX);
		s->coming_size = (size_t)size;
	}
	if ((size_t)at != s->coming.n || (size_t)size != s->coming_size || bytes.n == 0 ||
	    bytes.n > (size_t)(size - at))
		return err_new(e, ERR_INPUT, "message: %zu bytes of a recipe at %lld of %lld do not go on at %zu",
			       bytes.n, (long long)at, (long long)size, s->coming.n);
	buf_put_str(&s->coming, bytes);
	return s->coming.n == s->coming_size ? read_recipe(s, q->a, e) : 0;
}

static int answer_have(const struct asked *q, struct err *e)
{
	return need_store(q->s, e) < 0 ? -1 : copy_have(q->s->store, q->m->bytes, q->bytes, e);
}

static int answer_put(const struct asked *q, struct err *e)
{
	return need_store(q->s, e) < 0 ? -1 : copy_take(&q->s->copying, q->m, e);
}

/* -- orders --------------------------------------------------------------------------------------------------------- */

/* An ADD: what its recipe comes to here. */
struct addition {
	struct session *s;
	struct env_plan plan;
	struct env_spec_file before;
	struct arena *a;
};

/* What did not come over the link, because the other store has it no longer, is fetched where the recipe says. */
static int fetch(void *ctx, struct err *e)
{
	struct addition *x = ctx;
	struct transfer_opts t = TRANSFER_OPTS_INIT;
	auto_ptr(transfer) transfer = NULL;
	bool lacks = false;
	for (size_t i = 0; i < x->plan.steps_n; i++)
		lacks |= x->plan.steps[i].kind == ENV_STEP_DOWNLOAD;
	if (lacks && transfer_new(&t, &transfer, e) < 0)
		return -1;
	struct env_opts o = x->s->o->local.env_opts;
	o.progress = NULL;
	return env_prepare(x->s->store, transfer, &x->plan, &o, x->a, e);
}

static int plan_addition(struct addition *x, struct upgrade_request *q, struct err *e)
{
	struct session *s = x->s;
	struct err gone = ERR_INIT;
	bool has = false;
	if (!s->has_recipe)
		return err_new(e, ERR_INPUT, "nothing to add: no recipe came before");
	if (need_store(s, e) < 0)
		return -1;
	if (s->o->local.state)
		has = env_generation_lock(s->o->local.state, x->a, str_c(s->env), 0, &x->before, &gone) == 0;
	if (!has && gone.code != ERR_NONE && gone.code != ERR_NOT_FOUND) {
		*e = gone;
		return -1;
	}
	if (env_plan(&s->recipe, has ? &x->before : NULL, s->store, x->a, &x->plan, e) < 0)
		return -1;
	q->plan = &x->plan;
	q->prepare = fetch;
	q->prepare_ctx = x;
	return 0;
}

static int read_request(const struct asked *q, struct addition *x, struct upgrade_request *ret, struct err *e)
{
	*x = (struct addition){.s = q->s, .a = q->a};
	if (message_read_request(q->m->json, q->a, ret, e) < 0)
		return -1;
	return ret->verb == UPGRADE_ADD ? plan_addition(x, ret, e) : 0;
}

static int answer_preflight(const struct asked *q, struct err *e)
{
	struct upgrade_request r;
	struct addition x;
	struct upgrade_check *checks = NULL;
	size_t n = 0;
	if (read_request(q, &x, &r, e) < 0 || q->s->m->ops->preflight(q->s->m, &r, q->a, &checks, &n, e) < 0)
		return -1;
	message_put_checks(q->w, checks, n);
	return 0;
}

static int answer_run(const struct asked *q, struct err *e)
{
	struct upgrade_request r;
	struct addition x;
	if (read_request(q, &x, &r, e) < 0)
		return -1;
	if (r.verb == UPGRADE_ROLLBACK || (r.verb == UPGRADE_ADD && (!r.paired || !r.operation_id)))
		return err_new(e, ERR_INPUT, "this is no order to one of a pair: it would change member %u alone",
			       q->s->m->number);
	int rc = q->s->m->ops->run(q->s->m, &r, e);
	if (rc < 0 && q->s->o->seat)
		q->s->o->seat->failed = true;
	return rc;
}

static int answer_settle(const struct asked *q, struct err *e)
{
	int rc = q->s->m->ops->settle(q->s->m, e);
	if (rc < 0)
		return -1;
	jw_kv_bool(q->w, "settled", rc > 0);
	return 0;
}

static int answer_traffic(const struct asked *q, struct err *e)
{
	struct traffic_step step;
	enum traffic_step_kind undo = TRAFFIC_NOTHING;
	int64_t wait_ms;
	if (message_read_step(q->m->json, &step, e) < 0 ||
	    message_get_number(q->m->json, "wait_ms", 0, MESSAGE_WAIT_MAX_MS, &wait_ms, e) < 0)
		return -1;
	step.on = q->s->m->number;
	if (q->s->m->ops->traffic(q->s->m, &step, wait_ms, &undo, e) < 0)
		return -1;
	jw_kv_c(q->w, "undo", message_step_word(undo));
	return 0;
}

static int answer_set_role(const struct asked *q, struct err *e)
{
	const struct json *j;
	struct pair_role role;
	if (message_get_object(q->m->json, "role", &j, e) < 0 || message_read_role(j, &role, e) < 0)
		return -1;
	return q->s->m->ops->role_set(q->s->m, &role, e);
}

static int answer_log(const struct asked *q, struct err *e)
{
	struct str id;
	struct env_operation_step step;
	if (message_get_id(q->m->json, "id", &id, e) < 0 || message_read_log(q->m->json, &step, e) < 0)
		return -1;
	return q->s->m->ops->log ? q->s->m->ops->log(q->s->m, id, &step, e) : 0;
}

/* ------------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	bool needs_hold;
	int (*answer)(const struct asked *q, struct err *e);
} questions[] = {
	{"hold-role", true, answer_hold_role}, {"have", true, answer_have},
	{"hold", false, answer_hold},	       {"log", true, answer_log},
	{"look", false, answer_look},	       {"outcome", false, answer_outcome},
	{"preflight", true, answer_preflight}, {"put", true, answer_put},
	{"recipe", true, answer_recipe},       {"release", false, answer_release},
	{"role", false, answer_role},	       {"run", true, answer_run},
	{"set-role", true, answer_set_role},   {"settle", true, answer_settle},
	{"traffic", true, answer_traffic},
};

static int work_on(const struct asked *q, struct err *e)
{
	struct str ask;
	if (json_get_str(q->m->json, "ask", &ask, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++) {
		if (!str_eq_c(ask, questions[i].name))
			continue;
		if (questions[i].needs_hold && !q->s->held)
			return err_new(e, ERR_FAILED, "'%s' needs an environment that is held", questions[i].name);
		return questions[i].answer(q, e);
	}
	return err_new(e, ERR_UNSUPPORTED, "'%.*s' is nothing that slipway %s can be asked", STR_ARG(str_head(ask, 64)),
		       SLIPWAY_VERSION);
}

static void tell_room(const struct session *s, struct err *e)
{
	auto_free char *cause = xstrdup(e->msg);
	err_new(e, e->code, "%s; make room on member %u: 'slipway store gc' frees what nothing uses", cause,
		s->m->number);
}

/* The answer to one question: what it asked for, or why not. */
static void answer(struct session *s, struct arena *a, const struct wire_message *m)
{
	auto_buf b = BUF_INIT(WIRE_JSON_MAX), bytes = BUF_INIT(WIRE_BYTES_MAX);
	struct jw w = JW_INIT(&b, 0);
	struct err why = ERR_INIT;
	const struct asked q = {.s = s, .m = m, .a = a, .w = &w, .bytes = &bytes};
	jw_object(&w);
	int rc = work_on(&q, &why);
	jw_object_end(&w);
	if (rc == 0 && (b.overflow || bytes.overflow))
		rc = err_new(&why, ERR_LIMIT, "the answer is too long");
	if (rc < 0) {
		if (why.sys == ENOSPC || why.sys == EDQUOT) /* which does not go over the link */
			tell_room(s, &why);
		if (why.code == ERR_NETWORK) /* over the link that word means the link */
			why.code = ERR_FAILED;
		buf_clear(&b);
		buf_clear(&bytes);
		w = JW_INIT(&b, 0);
		jw_object(&w);
		message_put_failure(&w, &why);
		jw_object_end(&w);
	}
	say(s, buf_str(&b), buf_str(&bytes));
}

/* -- what others see of it ------------------------------------------------------------------------------------------ */

static void sit_down(struct pair_seat *seat)
{
	static const uint64_t one = 1;
	if (!seat)
		return;
	seat->since_ms = clock_mono_ms();
	bool was_new = atomic_exchange(&seat->state, PAIR_SEAT_IDLE) == PAIR_SEAT_NEW;
	if (was_new && seat->wake_fd >= 0)
		(void)!write(seat->wake_fd, &one, sizeof(one));
}

/* False: it was taken meanwhile. */
static bool get_up(struct pair_seat *seat)
{
	int idle = PAIR_SEAT_IDLE;
	return !seat || atomic_compare_exchange_strong(&seat->state, &idle, PAIR_SEAT_AT_WORK);
}

static int take(struct session *s, struct arena *a, struct wire_message *m, struct err *e)
{
	int64_t idle_ms = s->o->idle_ms ? s->o->idle_ms : PAIR_IDLE_MS;
	if (s->held)
		return link_take(s->link, HELD_MS, a, m, e);
	sit_down(s->o->seat);
	int rc = link_take(s->link, idle_ms, a, m, e);
	return rc > 0 && !get_up(s->o->seat) ? err_new(e, ERR_NETWORK, "the other member has too many connections")
					     : rc;
}

static int serve(struct session *s, struct err *e)
{
	for (;;) {
		auto_arena a = ARENA_INIT;
		struct wire_message m;
		int rc = take(s, &a, &m, e);
		if (rc <= 0)
			return rc;
		answer(s, &a, &m);
		if (s->gone)
			return err_new(e, ERR_NETWORK, "the other member is gone");
	}
}

int session_serve(struct link *l, struct member *m, const struct pair_opts *o, struct err *e)
{
	struct session s = {.link = l, .m = m, .o = o, .copying = {.fd = -1}, .coming = BUF_INIT(MESSAGE_RECIPE_MAX)};
	m->event = on_event;
	m->ctx = &s;
	int rc = serve(&s, e);
	m->event = NULL;
	release(&s);
	copy_release(&s.copying);
	forget_recipe(&s);
	m->who = m->command = NULL;
	arena_release(&s.person_arena);
	buf_release(&s.coming);
	store_free(s.own_store);
	return rc;
}

int session_run(struct link *l, const struct pair_opts *o, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(member) m = NULL;
	struct pair p;
	struct pair_opts mine = *o;
	int rc = pair_read(o->local.root_fd, &a, &p, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_NOT_FOUND, "this host is no member of a pair any more");
	if (!mine.local.env_opts.who)
		mine.local.env_opts.who = arena_printf(&a, "member %u", 3 - p.self);
	return member_local(&mine, p.self, &m, e) < 0 ? -1 : session_serve(l, m, &mine, e);
}
