// SPDX-License-Identifier: Apache-2.0
#include "pair/message.h"

#include "pair/role.h"

static const char *const verbs[] = {
	[UPGRADE_ADD] = "add",
	[UPGRADE_ACTIVATE] = "activate",
	[UPGRADE_COMMIT] = "commit",
	[UPGRADE_ABORT] = "abort",
	[UPGRADE_ROLLBACK] = "rollback",
	[UPGRADE_STOP_TIMER] = "stop-timer",
	[UPGRADE_REMOVE_INACTIVE] = "remove-inactive",
	[UPGRADE_CLEAR] = "clear",
	[UPGRADE_ARM] = "arm",
	[UPGRADE_STANDBY_DONE] = "standby-done",
	[UPGRADE_PREPARE] = "prepare",
	[UPGRADE_DECIDE] = "decide",
	[UPGRADE_WITHDRAW] = "withdraw",
};
static const char *const steps[] = {
	[TRAFFIC_NOTHING] = "nothing",
	[TRAFFIC_CHECK_OTHER] = "check-other",
	[TRAFFIC_SET_READY] = "set-ready",
	[TRAFFIC_SET_DRAIN] = "set-drain",
	[TRAFFIC_SET_MAINT] = "set-maint",
	[TRAFFIC_WAIT_UP] = "wait-up",
	[TRAFFIC_WAIT_FIT] = "wait-fit",
	[TRAFFIC_WAIT_POOL] = "wait-pool",
	[TRAFFIC_WAIT_IDLE] = "wait-idle",
	[TRAFFIC_WEIGHT_ACTIVE] = "weight-active",
	[TRAFFIC_WEIGHT_STANDBY] = "weight-standby",
	[TRAFFIC_WAIT_ADDRESS] = "wait-address",
	[TRAFFIC_WAIT_NO_ADDRESS] = "wait-no-address",
	[TRAFFIC_RUN_DRAIN] = "run-drain",
	[TRAFFIC_RUN_READY] = "run-ready",
	[TRAFFIC_RUN_ACTIVE] = "run-active",
};
static const char *const events[] = {
	[UPGRADE_EVENT_START] = "start",   [UPGRADE_EVENT_STAGE] = "stage",   [UPGRADE_EVENT_BEGIN] = "begin",
	[UPGRADE_EVENT_MEMBER] = "member", [UPGRADE_EVENT_FINISH] = "finish", [UPGRADE_EVENT_STATE] = "state",
	[UPGRADE_EVENT_NOTE] = "note",	   [UPGRADE_EVENT_TIMER] = "timer",   [UPGRADE_EVENT_END] = "end",
};
/* what history may call a change in one go */
static const char *const operations[] = {"create", "update", "apply", "rollback"};

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

static int find_word(const char *const *words, size_t n, const char *what, struct str word, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (words[i] && str_eq_c(word, words[i]))
			return (int)i;
	return err_new(e, ERR_UNSUPPORTED, "'%.*s' is no %s that this version knows", STR_ARG(str_head(word, 64)),
		       what);
}

/* -- single members ------------------------------------------------------------------------------------------------- */

int message_get_number(const struct json *j, const char *key, int64_t min, int64_t max, int64_t *ret, struct err *e)
{
	int64_t v;
	if (json_get_int(j, key, &v, e) < 0)
		return -1;
	if (v < min || v > max)
		return err_new(e, ERR_INPUT, "message: '%s' is %lld, which is not within %lld and %lld", key,
			       (long long)v, (long long)min, (long long)max);
	*ret = v;
	return 0;
}

static int get_u32(const struct json *j, const char *key, uint32_t max, uint32_t *ret, struct err *e)
{
	int64_t v;
	if (message_get_number(j, key, 0, max, &v, e) < 0)
		return -1;
	*ret = (uint32_t)v;
	return 0;
}

static int get_u64(const struct json *j, const char *key, uint64_t *ret, struct err *e)
{
	int64_t v;
	if (message_get_number(j, key, 0, INT64_MAX, &v, e) < 0)
		return -1;
	*ret = (uint64_t)v;
	return 0;
}

static int opt_bool(const struct json *j, const char *key, bool *ret, struct err *e)
{
	*ret = false;
	return json_opt_bool(j, key, ret, e) < 0 ? -1 : 0;
}

/* What moves the cursor or rings the bell is no text. */
static bool is_control(char c)
{
	unsigned char u = (unsigned char)c;
	return (u < 0x20 && u != '\n' && u != '\t') || u == 0x7f;
}

/* For people: it may be shown on a terminal. */
static int opt_text(const struct json *j, const char *key, struct str *ret, struct err *e)
{
	*ret = STR("");
	if (json_opt_str(j, key, ret, e) < 0)
		return -1;
	if (ret->n > MESSAGE_TEXT_MAX)
		return err_new(e, ERR_LIMIT, "message: '%s' has %zu bytes, more than %d", key, ret->n,
			       MESSAGE_TEXT_MAX);
	for (size_t i = 0; i < ret->n; i++)
		if (is_control(ret->p[i]))
			return err_new(e, ERR_INPUT, "message: '%s' holds a control character", key);
	return 0;
}

int message_get_text(const struct json *j, const char *key, struct str *ret, struct err *e)
{
	return json_get_str(j, key, ret, e) < 0 ? -1 : opt_text(j, key, ret, e);
}

/* The longest part, of at most `max` bytes, that is whole characters. */
static struct str cut_to(struct str s, size_t max)
{
	struct str cut = str_head(s, max);
	while (cut.n < s.n && cut.n && ((unsigned char)s.p[cut.n] & 0xc0) == 0x80)
		cut.n--;
	return cut;
}

/* '?' for what whoever reads it refuses: a service may say anything. */
static void put_text(struct jw *w, const char *key, struct str s)
{
	auto_buf clean = BUF_INIT(2 * MESSAGE_TEXT_MAX);
	struct str cut = cut_to(s, MESSAGE_TEXT_MAX);
	for (size_t i = 0; i < cut.n; i++)
		buf_put_char(&clean, is_control(cut.p[i]) ? '?' : cut.p[i]);
	jw_kv_str(w, key, buf_str(&clean));
}

static void put_text_opt(struct jw *w, const char *key, struct str s)
{
	if (s.n)
		put_text(w, key, s);
}

int message_get_object(const struct json *j, const char *key, const struct json **ret, struct err *e)
{
	if (json_opt_object(j, key, ret, e) < 0)
		return -1;
	return *ret ? 0 : err_new(e, ERR_INPUT, "message: '%s' is missing", key);
}

static int check_id(const char *key, struct str id, struct err *e)
{
	return id.n == MESSAGE_ID_HEX && str_is_hex(id)
		       ? 0
		       : err_new(e, ERR_INPUT, "message: '%s' is not %d hexadecimal digits", key, MESSAGE_ID_HEX);
}

int message_get_id(const struct json *j, const char *key, struct str *ret, struct err *e)
{
	return json_get_str(j, key, ret, e) < 0 ? -1 : check_id(key, *ret, e);
}

int message_get_digest(const struct json *j, const char *key, uint8_t ret[SHA256_SIZE], struct err *e)
{
	struct str s;
	if (json_get_str(j, key, &s, e) < 0)
		return -1;
	return str_is_hex(s) && str_unhex(s, ret, SHA256_SIZE)
		       ? 0
		       : err_new(e, ERR_INPUT, "message: '%s' is not a SHA-256 in lower-case hexadecimal digits", key);
}

void message_put_failure(struct jw *w, const struct err *e)
{
	put_text(w, "error", str_c(e->msg[0] ? e->msg : "failed without a word"));
	jw_kv_c(w, "code", err_code_name(e->code == ERR_NONE ? ERR_FAILED : e->code));
}

/* -- requests ------------------------------------------------------------------------------------------------------- */

static void put_flag(struct jw *w, const char *key, bool v)
{
	if (v)
		jw_kv_bool(w, key, v);
}

void message_put_request(struct jw *w, const struct upgrade_request *q)
{
	jw_kv_c(w, "verb", verbs[q->verb]);
	put_flag(w, "issu", q->issu);
	put_flag(w, "then_activate", q->then_activate);
	put_flag(w, "then_commit", q->then_commit);
	put_flag(w, "keep_state", q->keep_state);
	put_flag(w, "stop_at_deprecated", q->stop_at_deprecated);
	put_flag(w, "by_timer", q->by_timer);
	put_flag(w, "lays_out_anew", q->lays_out_anew);
	put_flag(w, "paired", q->paired);
	if (q->timer_ms)
		jw_kv_int(w, "timer_ms", q->timer_ms);
	if (q->generation)
		jw_kv_int(w, "generation", q->generation);
	if (q->operation)
		jw_kv_c(w, "operation", q->operation);
	if (q->operation_id)
		jw_kv_c(w, "operation_id", q->operation_id);
}

static int read_flags(const struct json *j, struct upgrade_request *q, struct err *e)
{
	return opt_bool(j, "issu", &q->issu, e) < 0 || opt_bool(j, "then_activate", &q->then_activate, e) < 0 ||
			       opt_bool(j, "then_commit", &q->then_commit, e) < 0 ||
			       opt_bool(j, "keep_state", &q->keep_state, e) < 0 ||
			       opt_bool(j, "stop_at_deprecated", &q->stop_at_deprecated, e) < 0 ||
			       opt_bool(j, "by_timer", &q->by_timer, e) < 0 ||
			       opt_bool(j, "lays_out_anew", &q->lays_out_anew, e) < 0 ||
			       opt_bool(j, "paired", &q->paired, e) < 0
		       ? -1
		       : 0;
}

int message_read_request(const struct json *j, struct arena *a, struct upgrade_request *ret, struct err *e)
{
	struct upgrade_request q = {0};
	struct str verb, operation = STR_NONE, id = STR_NONE;
	int known;
	if (json_get_str(j, "verb", &verb, e) < 0 || (known = find_word(verbs, COUNT(verbs), "order", verb, e)) < 0 ||
	    read_flags(j, &q, e) < 0 || json_opt_str(j, "operation", &operation, e) < 0 ||
	    json_opt_str(j, "operation_id", &id, e) < 0)
		return -1;
	q.verb = (enum upgrade_verb)known;
	if (json_get(j, "timer_ms") && message_get_number(j, "timer_ms", 0, MESSAGE_TIMER_MAX_MS, &q.timer_ms, e) < 0)
		return -1;
	if (json_get(j, "generation") && get_u32(j, "generation", UINT32_MAX, &q.generation, e) < 0)
		return -1;
	if (operation.n) {
		if ((known = find_word(operations, COUNT(operations), "operation", operation, e)) < 0)
			return -1;
		q.operation = operations[known];
	}
	if (id.n && check_id("operation_id", id, e) < 0)
		return -1;
	q.operation_id = id.n ? arena_strdup(a, id) : NULL;
	*ret = q;
	return 0;
}

/* -- what a member is like ------------------------------------------------------------------------------------------ */

void message_put_status(struct jw *w, const struct pair_member_status *s)
{
	jw_kv_int(w, "number", s->number);
	put_text(w, "agent_version", s->agent_version);
	put_text(w, "running_version", s->running_version);
	put_text(w, "state", s->state);
	put_text_opt(w, "operation_id", s->operation_id);
	put_text_opt(w, "recipe", s->recipe);
	jw_kv_int(w, "current", s->current);
	jw_kv_int(w, "committed", s->committed);
	jw_kv_bool(w, "managed", s->managed);
	jw_kv_bool(w, "autostart", s->autostart);
	put_text_opt(w, "not_started", s->not_started);
	put_text_opt(w, "autostart_cure", s->autostart_cure);
	jw_kv_bool(w, "healthy", s->healthy);
	put_text_opt(w, "unhealthy", s->unhealthy);
	put_flag(w, "idle", s->idle);
	if (s->leaving)
		jw_kv_int(w, "leaving", s->leaving);
	jw_kv_int(w, "free_bytes", (int64_t)(s->free_bytes & INT64_MAX));
	jw_kv_int(w, "total_bytes", (int64_t)(s->total_bytes & INT64_MAX));
	jw_kv_int(w, "free_inodes", (int64_t)(s->free_inodes & INT64_MAX));
	jw_kv_int(w, "wall_ms", s->wall_ms);
	jw_kv_int(w, "uptime_ms", s->uptime_ms);
	jw_kv_int(w, "timer_left_ms", s->timer_left_ms);
	put_text_opt(w, "traffic", s->traffic);
	put_text_opt(w, "root", s->root);
}

static int read_texts(const struct json *j, struct pair_member_status *s, struct err *e)
{
	if (opt_text(j, "agent_version", &s->agent_version, e) < 0 ||
	    opt_text(j, "running_version", &s->running_version, e) < 0 || opt_text(j, "state", &s->state, e) < 0 ||
	    opt_text(j, "operation_id", &s->operation_id, e) < 0 || opt_text(j, "unhealthy", &s->unhealthy, e) < 0 ||
	    opt_text(j, "not_started", &s->not_started, e) < 0 ||
	    opt_text(j, "autostart_cure", &s->autostart_cure, e) < 0 || opt_text(j, "traffic", &s->traffic, e) < 0 ||
	    opt_text(j, "root", &s->root, e) < 0)
		return -1;
	uint8_t digest[SHA256_SIZE];
	if (json_get(j, "recipe") &&
	    (message_get_digest(j, "recipe", digest, e) < 0 || json_get_str(j, "recipe", &s->recipe, e) < 0))
		return -1;
	return s->operation_id.n ? check_id("operation_id", s->operation_id, e) : 0;
}

int message_read_status(const struct json *j, struct pair_member_status *ret, struct err *e)
{
	struct pair_member_status s = {.reachable = true};
	if (read_texts(j, &s, e) < 0 || get_u32(j, "number", PAIR_MEMBERS, &s.number, e) < 0 ||
	    get_u32(j, "current", UINT32_MAX, &s.current, e) < 0 ||
	    get_u32(j, "committed", UINT32_MAX, &s.committed, e) < 0 || opt_bool(j, "managed", &s.managed, e) < 0 ||
	    opt_bool(j, "autostart", &s.autostart, e) < 0 || opt_bool(j, "healthy", &s.healthy, e) < 0 ||
	    opt_bool(j, "idle", &s.idle, e) < 0 ||
	    (json_get(j, "leaving") && get_u32(j, "leaving", INT32_MAX, &s.leaving, e) < 0) ||
	    get_u64(j, "free_bytes", &s.free_bytes, e) < 0 || get_u64(j, "total_bytes", &s.total_bytes, e) < 0 ||
	    get_u64(j, "free_inodes", &s.free_inodes, e) < 0 ||
	    message_get_number(j, "wall_ms", 0, INT64_MAX, &s.wall_ms, e) < 0 ||
	    message_get_number(j, "uptime_ms", 0, INT64_MAX, &s.uptime_ms, e) < 0 ||
	    message_get_number(j, "timer_left_ms", -1, INT64_MAX, &s.timer_left_ms, e) < 0)
		return -1;
	*ret = s;
	return 0;
}

/* -- who carries the traffic ---------------------------------------------------------------------------------------- */

void message_put_role(struct jw *w, const struct pair_role *r)
{
	jw_kv_int(w, "epoch", (int64_t)(r->epoch & INT64_MAX));
	jw_kv_int(w, "active", r->active);
	jw_kv_int(w, "since_ms", r->since_ms);
	put_text(w, "reason", r->reason);
	jw_kv_int(w, "switch_overs", (int64_t)(r->switch_overs & INT64_MAX));
	jw_kv_int(w, "standby_failures", (int64_t)(r->standby_failures & INT64_MAX));
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		put_text_opt(w, role_drained_keys[n], r->drained[n]);
}

int message_read_role(const struct json *j, struct pair_role *ret, struct err *e)
{
	struct pair_role r = {0};
	int64_t active;
	if (get_u64(j, "epoch", &r.epoch, e) < 0 || message_get_number(j, "active", 1, PAIR_MEMBERS, &active, e) < 0 ||
	    message_get_number(j, "since_ms", 0, INT64_MAX, &r.since_ms, e) < 0 ||
	    opt_text(j, "reason", &r.reason, e) < 0 || get_u64(j, "switch_overs", &r.switch_overs, e) < 0 ||
	    get_u64(j, "standby_failures", &r.standby_failures, e) < 0)
		return -1;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (opt_text(j, role_drained_keys[n], &r.drained[n], e) < 0 ||
		    (r.drained[n].n && env_name_check(r.drained[n], e) < 0))
			return -1;
	r.active = (uint32_t)active;
	*ret = r;
	return 0;
}

/* -- checks --------------------------------------------------------------------------------------------------------- */

static void put_check(struct jw *w, const void *ctx, size_t i)
{
	const struct upgrade_check *c = ctx;
	put_text(w, "name", c[i].name);
	put_text_opt(w, "finding", c[i].finding);
	put_text_opt(w, "cure", c[i].cure);
	if (c[i].advice)
		jw_kv_bool(w, "advice", true);
}

void message_put_checks(struct jw *w, const struct upgrade_check *v, size_t n)
{
	jw_kv_objects(w, "checks", n < MESSAGE_CHECKS_MAX ? n : MESSAGE_CHECKS_MAX, put_check, v);
}

int message_read_checks(const struct json *j, struct arena *a, struct upgrade_check **ret, size_t *ret_n, struct err *e)
{
	const struct json *list;
	if (json_opt_array(j, "checks", &list, e) < 0)
		return -1;
	size_t n = list ? list->n : 0;
	if (n > MESSAGE_CHECKS_MAX)
		return err_new(e, ERR_LIMIT, "message: %zu checks are more than %d", n, MESSAGE_CHECKS_MAX);
	struct upgrade_check *v = arena_array(a, struct upgrade_check, n);
	for (size_t i = 0; i < n; i++)
		if (opt_text(&list->item[i], "name", &v[i].name, e) < 0 ||
		    opt_text(&list->item[i], "finding", &v[i].finding, e) < 0 ||
		    opt_text(&list->item[i], "cure", &v[i].cure, e) < 0 ||
		    opt_bool(&list->item[i], "advice", &v[i].advice, e) < 0)
			return -1;
	*ret = v;
	*ret_n = n;
	return 0;
}

/* -- histories ------------------------------------------------------------------------------------------------------ */

enum { PERSON_MAX = 256, COMMAND_MAX = 4096, STAGE_MAX = 128 };

void message_put_person(struct jw *w, const char *who, const char *command)
{
	if (who)
		put_text(w, "who", cut_to(str_c(who), PERSON_MAX));
	if (command)
		put_text(w, "command", cut_to(str_c(command), COMMAND_MAX));
}

/* Cut, and not refused: what is only for a history keeps nobody from working, and bytes that are no UTF-8 get longer on their way. */
int message_read_person(const struct json *j, struct arena *a, uint32_t member, const char **ret_who,
			const char **ret_command, struct err *e)
{
	struct str who = STR_NONE, command = STR_NONE;
	if (opt_text(j, "who", &who, e) < 0 || opt_text(j, "command", &command, e) < 0)
		return -1;
	if (who.n)
		*ret_who = arena_printf(a, "%.*s (member %u)", STR_ARG(cut_to(who, PERSON_MAX)), member);
	if (command.n)
		*ret_command = arena_strdup(a, cut_to(command, COMMAND_MAX));
	return 0;
}

void message_put_log(struct jw *w, const struct env_operation_step *s)
{
	put_text(w, "name", s->name);
	put_text(w, "result", s->result);
	jw_kv_int(w, "started_ms", s->started_ms);
	jw_kv_int(w, "ended_ms", s->ended_ms);
}

int message_read_log(const struct json *j, struct env_operation_step *ret, struct err *e)
{
	*ret = (struct env_operation_step){0};
	if (opt_text(j, "name", &ret->name, e) < 0 || opt_text(j, "result", &ret->result, e) < 0 ||
	    message_get_number(j, "started_ms", 0, INT64_MAX, &ret->started_ms, e) < 0 ||
	    message_get_number(j, "ended_ms", 0, INT64_MAX, &ret->ended_ms, e) < 0)
		return -1;
	ret->result = cut_to(ret->result, ERR_MSG_SIZE);
	if (!str_starts(ret->name, STR("STAGE ")) || ret->name.n > STAGE_MAX)
		return err_new(e, ERR_INPUT, "message: this is no stage of an operation");
	return 0;
}

/* -- steps of traffic ----------------------------------------------------------------------------------------------- */

const char *message_step_word(enum traffic_step_kind k)
{
	return steps[k];
}

int message_read_step_word(struct str word, enum traffic_step_kind *ret, struct err *e)
{
	int known = find_word(steps, COUNT(steps), "step of traffic", word, e);
	if (known < 0)
		return -1;
	*ret = (enum traffic_step_kind)known;
	return 0;
}

void message_put_step(struct jw *w, const struct traffic_step *s)
{
	jw_kv_c(w, "step", steps[s->kind]);
	jw_kv_int(w, "driver", s->driver);
	jw_kv_int(w, "member", s->member);
}

int message_read_step(const struct json *j, struct traffic_step *ret, struct err *e)
{
	struct str word;
	struct traffic_step s = {0};
	int64_t member;
	if (json_get_str(j, "step", &word, e) < 0 || message_read_step_word(word, &s.kind, e) < 0 ||
	    get_u32(j, "driver", TRAFFIC_DRIVERS_MAX - 1, &s.driver, e) < 0 ||
	    message_get_number(j, "member", 1, TRAFFIC_MEMBERS, &member, e) < 0)
		return -1;
	s.member = (uint32_t)member;
	*ret = s;
	return 0;
}

/* -- events --------------------------------------------------------------------------------------------------------- */

void message_put_event(struct jw *w, const struct upgrade_event *v)
{
	jw_kv_c(w, "event", events[v->kind]);
	if (v->text)
		put_text(w, "text", str_c(v->text));
	if (v->number)
		jw_kv_int(w, "number", v->number);
	if (v->member)
		jw_kv_int(w, "member", v->member);
	put_flag(w, "done", v->done);
	jw_kv_int(w, "at_ms", v->at_ms);
	if (v->failure) {
		jw_key(w, "failure");
		jw_object(w);
		message_put_failure(w, v->failure);
		jw_object_end(w);
	}
}

int message_read_failure(const struct json *j, struct err *ret, struct err *e)
{
	struct str text, code = STR_NONE;
	enum err_code known = ERR_FAILED;
	if (opt_text(j, "error", &text, e) < 0 || json_opt_str(j, "code", &code, e) < 0)
		return -1;
	for (int i = ERR_FAILED; i <= ERR_UNSUPPORTED; i++)
		if (str_eq_c(code, err_code_name((enum err_code)i)))
			known = (enum err_code)i;
	*ret = ERR_INIT;
	(void)err_new(ret, known, "%.*s", STR_ARG(text));
	return 0;
}

int message_read_event(const struct json *j, struct upgrade_event *ret, struct err *failure, struct err *e)
{
	struct upgrade_event v = {0};
	struct str kind, text;
	const struct json *failed;
	int known;
	if (json_get_str(j, "event", &kind, e) < 0 ||
	    (known = find_word(events, COUNT(events), "event", kind, e)) < 0 || opt_text(j, "text", &text, e) < 0 ||
	    json_opt_object(j, "failure", &failed, e) < 0 || opt_bool(j, "done", &v.done, e) < 0 ||
	    json_opt_int(j, "number", &v.number, e) < 0 || json_opt_int(j, "at_ms", &v.at_ms, e) < 0 ||
	    (json_get(j, "member") && get_u32(j, "member", PAIR_MEMBERS, &v.member, e) < 0))
		return -1;
	v.kind = (enum upgrade_event_kind)known;
	v.text = text.n ? text.p : NULL;
	if (failed && message_read_failure(failed, failure, e) < 0)
		return -1;
	v.failure = failed ? failure : NULL;
	*ret = v;
	return 0;
}
