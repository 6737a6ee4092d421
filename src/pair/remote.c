// SPDX-License-Identifier: Apache-2.0
/*
 * The other member over the link: each call is one question, and what it tells before its answer.
 */
#include "base/clock.h"
#include "pair/copy.h"
#include "pair/message.h"

enum { ANSWER_MS = 24 * 60 * 60 * 1000 };

struct remote {
	struct member m;
	struct link *link;
	bool held;
	bool has_recipe; /* the other side has the recipe of this digest */
	uint8_t recipe[SHA256_SIZE];
};

static struct remote *remote_of(struct member *m)
{
	return (struct remote *)m; /* m is its first member */
}

static void on_event(void *ctx, const struct json *event)
{
	struct remote *r = ctx;
	struct upgrade_event v;
	struct err failure, ignored;
	/* "alive", and what newer versions tell */
	if (!r->m.event || message_read_event(event, &v, &failure, &ignored) < 0)
		return;
	v.member = r->m.number;
	r->m.event(r->m.ctx, &v);
}

static void tell(struct remote *r, const char *text)
{
	if (r->m.event)
		r->m.event(r->m.ctx, &(struct upgrade_event){.kind = UPGRADE_EVENT_NOTE,
							     .member = r->m.number,
							     .text = text,
							     .at_ms = clock_wall_ms()});
}

/* -- questions ------------------------------------------------------------------------------------------------------ */

/* One question; its members are written between begin and ask. */
struct question {
	struct buf b;
	struct jw w;
};
static void question_release(struct question *q)
{
	buf_release(&q->b);
}
#define auto_question cleanup_with(question_release) struct question

static struct jw *begin(struct question *q, const char *ask)
{
	q->b = BUF_INIT(WIRE_JSON_MAX);
	q->w = JW_INIT(&q->b, 0);
	jw_object(&q->w);
	jw_kv_c(&q->w, "ask", ask);
	return &q->w;
}

static int ask_bytes(struct remote *r, struct question *q, struct str bytes, struct arena *a, struct wire_message *ret,
		     struct err *e)
{
	jw_object_end(&q->w);
	if (q->b.overflow)
		return err_new(e, ERR_LIMIT, "what member %u is asked is too long", r->m.number);
	/* that nobody answers any more shows within LINK_SILENT_MS, however long an order takes */
	return link_call(r->link, buf_str(&q->b), bytes, ANSWER_MS, on_event, r, a, ret, e) < 0
		       ? member_err(r->m.number, e)
		       : 0;
}

static int ask(struct remote *r, struct question *q, struct arena *a, struct wire_message *ret, struct err *e)
{
	return ask_bytes(r, q, STR_NONE, a, ret, e);
}

/* Nothing but done or not. */
static int ask_plain(struct remote *r, struct question *q, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct wire_message m;
	return ask(r, q, &a, &m, e);
}

static int bad_answer(struct remote *r, struct err *e)
{
	return member_err(r->m.number, e);
}

/* -- what may be asked of anybody ----------------------------------------------------------------------------------- */

static int remote_look(struct member *m, struct arena *a, struct str env, struct pair_member_status *ret, struct err *e)
{
	struct remote *r = remote_of(m);
	auto_question q = {0};
	struct wire_message answer;
	const struct json *status;
	jw_kv_opt(begin(&q, "look"), "env", env);
	if (ask(r, &q, a, &answer, e) < 0)
		return -1;
	if (message_get_object(answer.json, "status", &status, e) < 0 || message_read_status(status, ret, e) < 0)
		return bad_answer(r, e);
	ret->number = m->number;
	ret->local = false;
	ret->reachable = true;
	return 0;
}

static int remote_outcome(struct member *m, struct arena *a, struct str env, struct str id, struct str *ret,
			  bool *ret_held, struct err *e)
{
	struct remote *r = remote_of(m);
	auto_question q = {0};
	struct wire_message answer;
	bool held = false;
	struct jw *w = begin(&q, "outcome");
	jw_kv_str(w, "env", env);
	jw_kv_str(w, "id", id);
	if (ask(r, &q, a, &answer, e) < 0)
		return -1;
	if (json_get_str(answer.json, "outcome", ret, e) < 0 || json_opt_bool(answer.json, "held", &held, e) < 0)
		return bad_answer(r, e);
	*ret_held = held;
	return 0;
}

static int remote_role_get(struct member *m, struct arena *a, struct pair_role *ret, struct err *e)
{
	struct remote *r = remote_of(m);
	auto_question q = {0};
	struct wire_message answer;
	const struct json *role;
	(void)begin(&q, "role");
	if (ask(r, &q, a, &answer, e) < 0)
		return -1;
	if (message_get_object(answer.json, "role", &role, e) < 0 || message_read_role(role, ret, e) < 0)
		return bad_answer(r, e);
	return 0;
}

/* -- holding -------------------------------------------------------------------------------------------------------- */

static int remote_hold(struct member *m, struct str env, int64_t wait_ms, struct err *e)
{
	struct remote *r = remote_of(m);
	auto_question q = {0};
	struct jw *w = begin(&q, "hold");
	jw_kv_str(w, "env", env);
	jw_kv_int(w, "wait_ms", wait_ms < MESSAGE_WAIT_MAX_MS ? wait_ms : MESSAGE_WAIT_MAX_MS);
	message_put_person(w, m->who, m->command);
	if (ask_plain(r, &q, e) < 0)
		return -1;
	r->held = true;
	return 0;
}

static int remote_hold_role(struct member *m, int64_t wait_ms, struct err *e)
{
	auto_question q = {0};
	jw_kv_int(begin(&q, "hold-role"), "wait_ms", wait_ms < MESSAGE_WAIT_MAX_MS ? wait_ms : MESSAGE_WAIT_MAX_MS);
	return ask_plain(remote_of(m), &q, e);
}

/* Where this does not get through, the end of the link says it. */
static void remote_release(struct member *m)
{
	struct remote *r = remote_of(m);
	auto_question q = {0};
	struct err ignored = ERR_INIT;
	if (!r->held)
		return;
	r->held = false;
	(void)begin(&q, "release");
	(void)ask_plain(r, &q, &ignored);
}

/* -- recipe and archives -------------------------------------------------------------------------------------------- */

/* The recipe in pieces, unless it is what the other side got last. */
static int send_recipe(struct remote *r, const struct env_spec_file *f, struct err *e)
{
	auto_buf text = BUF_INIT(MESSAGE_RECIPE_MAX);
	uint8_t digest[SHA256_SIZE];
	env_file_write_spr(f, &text);
	if (text.overflow)
		return err_new(e, ERR_LIMIT, "the recipe is larger than %d MiB, too large for a pair",
			       MESSAGE_RECIPE_MAX >> 20);
	sha256(text.p, text.n, digest);
	if (r->has_recipe && memcmp(digest, r->recipe, SHA256_SIZE) == 0)
		return 0;
	r->has_recipe = false;
	for (size_t at = 0; at < text.n;) {
		auto_arena a = ARENA_INIT;
		auto_question q = {0};
		struct wire_message m;
		size_t n = text.n - at < WIRE_BYTES_MAX ? text.n - at : WIRE_BYTES_MAX;
		struct jw *w = begin(&q, "recipe");
		jw_kv_int(w, "at", (int64_t)at);
		jw_kv_int(w, "size", (int64_t)text.n);
		if (ask_bytes(r, &q, str_of(text.p + at, n), &a, &m, e) < 0)
			return -1;
		at += n;
	}
	r->has_recipe = true;
	memcpy(r->recipe, digest, SHA256_SIZE);
	return 0;
}

static int remote_copy(struct member *m, const struct env_spec_file *lock, struct store *from, struct err *e)
{
	struct remote *r = remote_of(m);
	struct copy_report report = {0};
	auto_buf b = BUF_INIT(4096);
	if (copy_send(r->link, lock, from, on_event, r, &report, e) < 0)
		return member_err(m->number, e);
	buf_printf(&b, "%u archive%s (%.1f MiB) copied to member %u", report.archives, report.archives == 1 ? "" : "s",
		   (double)report.bytes / (1 << 20), m->number);
	if (report.archives)
		tell(r, b.p);
	buf_clear(&b);
	buf_printf(
		&b,
		"%u archive%s of it ('%.*s' is the first) %s no longer in this host's store: member %u fetches what it "
		"lacks from the channel",
		report.lacking, report.lacking == 1 ? "" : "s", STR_ARG(report.first_lacking),
		report.lacking == 1 ? "is" : "are", m->number);
	if (report.lacking)
		tell(r, b.p);
	return 0;
}

/* -- orders --------------------------------------------------------------------------------------------------------- */

static int remote_preflight(struct member *m, const struct upgrade_request *request, struct arena *a,
			    struct upgrade_check **ret, size_t *ret_n, struct err *e)
{
	struct remote *r = remote_of(m);
	auto_question q = {0};
	struct wire_message answer;
	int failed = 0;
	if (request->plan && send_recipe(r, &request->plan->target, e) < 0)
		return -1;
	message_put_request(begin(&q, "preflight"), request);
	if (ask(r, &q, a, &answer, e) < 0)
		return -1;
	if (message_read_checks(answer.json, a, ret, ret_n, e) < 0)
		return bad_answer(r, e);
	for (size_t i = 0; i < *ret_n; i++) {
		(*ret)[i].member = m->number;
		failed += (*ret)[i].finding.n > 0 && !(*ret)[i].advice;
	}
	return failed;
}

static int remote_log(struct member *m, struct str id, const struct env_operation_step *s, struct err *e)
{
	struct remote *r = remote_of(m);
	auto_question q = {0};
	struct jw *w = begin(&q, "log");
	jw_kv_str(w, "id", id);
	message_put_log(w, s);
	return ask_plain(r, &q, e);
}

static int remote_run(struct member *m, const struct upgrade_request *request, struct err *e)
{
	struct remote *r = remote_of(m);
	auto_question q = {0};
	if (request->plan && send_recipe(r, &request->plan->target, e) < 0)
		return -1;
	message_put_request(begin(&q, "run"), request);
	return ask_plain(r, &q, e);
}

static int remote_settle(struct member *m, struct err *e)
{
	struct remote *r = remote_of(m);
	auto_arena a = ARENA_INIT;
	auto_question q = {0};
	struct wire_message answer;
	bool settled = false;
	(void)begin(&q, "settle");
	if (ask(r, &q, &a, &answer, e) < 0)
		return -1;
	return json_opt_bool(answer.json, "settled", &settled, e) < 0 ? bad_answer(r, e) : settled;
}

static int remote_traffic(struct member *m, const struct traffic_step *s, int64_t wait_ms,
			  enum traffic_step_kind *ret_undo, struct err *e)
{
	struct remote *r = remote_of(m);
	auto_arena a = ARENA_INIT;
	auto_question q = {0};
	struct wire_message answer;
	struct str undo;
	struct jw *w = begin(&q, "traffic");
	message_put_step(w, s);
	jw_kv_int(w, "wait_ms", wait_ms < 0 ? 0 : wait_ms < MESSAGE_WAIT_MAX_MS ? wait_ms : MESSAGE_WAIT_MAX_MS);
	if (ask(r, &q, &a, &answer, e) < 0)
		return -1;
	if (json_get_str(answer.json, "undo", &undo, e) < 0 || message_read_step_word(undo, ret_undo, e) < 0)
		return bad_answer(r, e);
	return 0;
}

static int remote_role_set(struct member *m, const struct pair_role *role, struct err *e)
{
	auto_question q = {0};
	struct jw *w = begin(&q, "set-role");
	jw_key(w, "role");
	jw_object(w);
	message_put_role(w, role);
	jw_object_end(w);
	return ask_plain(remote_of(m), &q, e);
}

static void remote_free(struct member *m)
{
	struct remote *r = remote_of(m);
	link_free(r->link);
	free(r);
}

struct member *member_remote(struct link *l, uint32_t number)
{
	static const struct member_ops ops = {
		.look = remote_look,
		.outcome = remote_outcome,
		.hold = remote_hold,
		.release = remote_release,
		.preflight = remote_preflight,
		.log = remote_log,
		.copy = remote_copy,
		.run = remote_run,
		.settle = remote_settle,
		.traffic = remote_traffic,
		.hold_role = remote_hold_role,
		.role_get = remote_role_get,
		.role_set = remote_role_set,
		.free = remote_free,
	};
	struct remote *r = xcalloc(1, sizeof(*r));
	r->m = (struct member){.ops = &ops, .number = number};
	r->link = l;
	return &r->m;
}
