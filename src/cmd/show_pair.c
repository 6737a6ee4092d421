// SPDX-License-Identifier: Apache-2.0
/* show redundancy, show boot system: what the two members of a pair are like; a host that is no member is shown as a system of one. */
#include "cmd/show_pair.h"

#include "cmd/change.h"
#include "pair/pair.h"
#include "version.h"

#define RULE "-----------------------------------------"

struct pair_shown {
	struct str *env; /* none: the hosts alone */
	struct pair_status *status;
	size_t n; /* at least 1 */
};

/* -- asking --------------------------------------------------------------------------------------------------------- */

static int ask(struct cmd_context *c, struct str env, struct pair_status *ret, struct err *e)
{
	const struct upgrade_services *services;
	struct err none = ERR_INIT;
	cmd_want_config(c);
	if (cmd_need_services(c, STR_NONE, &services, &none) < 0)
		services = NULL;
	const struct pair_opts o = {
		.local =
			{
				.state = c->state,
				.env = env,
				.services = services,
				.root_fd = c->root_fd,
				.root_path = c->root_path,
				.autostart_elsewhere = c->config.autostart_ignored,
			},
	};
	return pair_status(&o, &c->arena, env, ret, e);
}

int cmd_pair_members(struct cmd_context *c, struct str env, struct pair_status *ret, struct err *e)
{
	int paired = cmd_is_paired(c, e);
	return paired > 0 && ask(c, env, ret, e) < 0 ? -1 : paired;
}

int64_t cmd_first_timer(const struct pair_status *s, struct str operation_id, int64_t left_ms)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		const struct pair_member_status *m = &s->member[n];
		bool counts = m->reachable && m->timer_left_ms >= 0 && str_eq(m->operation_id, operation_id);
		if (counts && left_ms > m->timer_left_ms)
			left_ms = m->timer_left_ms;
	}
	return left_ms;
}

/* The environment that is named, else every one; where there is none yet, the hosts. */
static int ask_each(struct cmd_context *c, const char *name, struct pair_shown *ret, struct err *e)
{
	struct upgrade_status there;
	struct str one;
	if (cmd_need_state(c, true, e) < 0)
		return -1;
	if (name &&
	    (cmd_the_environment(c, name, &one, e) < 0 || upgrade_status(c->state, &c->arena, one, &there, e) < 0))
		return -1;
	ret->env = &one;
	ret->n = 1;
	if (!name && cmd_all_environments(c, &ret->env, &ret->n, e) < 0)
		return -1;
	if (ret->n == 0) {
		one = STR_NONE;
		ret->env = &one;
		ret->n = 1;
	}
	struct str *env = arena_array(&c->arena, struct str, ret->n);
	ret->status = arena_array(&c->arena, struct pair_status, ret->n);
	for (size_t i = 0; i < ret->n; i++) {
		env[i] = ret->env[i];
		if (ask(c, env[i], &ret->status[i], e) < 0)
			return -1;
	}
	ret->env = env;
	return 0;
}

uint32_t cmd_show_member(struct cmd_context *c, bool *ret_joined)
{
	struct pair p;
	struct err damaged = ERR_INIT; /* said by those commands that need it */
	bool is = pair_read(c->root_fd, &c->arena, &p, &damaged) == 1;
	*ret_joined = is && p.joined;
	return is ? p.self : 1;
}

/* -- words ---------------------------------------------------------------------------------------------------------- */

/* "4 minutes", "1 hour, 12 minutes", "3 days, 2 hours" */
static const char *long_time(struct cmd_context *c, int64_t ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {{"day", 86400000}, {"hour", 3600000}, {"minute", 60000}, {"second", 1000}};
	for (size_t i = 0; i < 3; i++) {
		long long many = ms / units[i].ms, rest = ms % units[i].ms / units[i + 1].ms;
		if (!many)
			continue;
		return rest ? arena_printf(&c->arena, "%lld %s%s, %lld %s%s", many, units[i].name, many == 1 ? "" : "s",
					   rest, units[i + 1].name, rest == 1 ? "" : "s")
			    : arena_printf(&c->arena, "%lld %s%s", many, units[i].name, many == 1 ? "" : "s");
	}
	return arena_printf(&c->arena, "%lld second%s", (long long)(ms / 1000), ms / 1000 == 1 ? "" : "s");
}

static bool is_active(const struct pair_status *s, uint32_t number)
{
	return s->role.active == number;
}

/* For how long a member has been what it is: since the last switch-over, or since it was started. */
static int64_t in_state_ms(const struct pair_status *s, const struct pair_member_status *m)
{
	int64_t since = s->role.since_ms ? m->wall_ms - s->role.since_ms : m->uptime_ms;
	return since < 0 ? 0 : since < m->uptime_ms ? since : m->uptime_ms;
}

static const char *state_word(const struct pair_status *s, uint32_t number)
{
	const struct pair_member_status *m = &s->member[number];
	if (!m->reachable)
		return "unknown";
	return is_active(s, number) ? "ACTIVE" : s->hot ? "STANDBY HOT" : "STANDBY COLD";
}

static const char *state_text(struct cmd_context *c, const struct pair_status *s, uint32_t number)
{
	const struct pair_member_status *m = &s->member[number];
	const char *word = state_word(s, number);
	struct str why = !m->reachable ? m->why : is_active(s, number) ? STR_NONE : s->cold;
	return why.n ? arena_printf(&c->arena, "%s (%.*s)", word, STR_ARG(why)) : word;
}

static const char *mode_word(const struct pair_status *s)
{
	return !s->pair.joined ? "simplex" : s->hot ? "hot standby" : "cold standby";
}

static const char *name_of(struct cmd_context *c, const struct pair_status *s, uint32_t number)
{
	struct str name = s->pair.host[number].name;
	return name.n ? arena_printf(&c->arena, "member %u (%.*s)", number, STR_ARG(name))
		      : arena_printf(&c->arena, "member %u", number);
}

static const char *version_text(struct cmd_context *c, const struct pair_member_status *m)
{
	return m->current ? arena_printf(&c->arena, "%.*s, generation %u%s", STR_ARG(m->running_version), m->current,
					 m->current == m->committed ? "" : " (uncommitted)")
			  : "none";
}

static void field(struct cmd_context *c, const char *name, const char *value)
{
	out_line(&c->out, "%31s = %s", name, value);
}

static void field_number(struct cmd_context *c, const char *name, uint64_t value)
{
	field(c, name, arena_printf(&c->arena, "%llu", (unsigned long long)value));
}

static void title(struct cmd_context *c, const char *text)
{
	out_line(&c->out, "%s", text);
	out_line(&c->out, RULE);
}

/* -- show redundancy ------------------------------------------------------------------------------------------------ */

static void system_text(struct cmd_context *c, const struct pair_status *s)
{
	const struct pair_member_status *peer = &s->member[3 - s->pair.self];
	title(c, "Redundant System Information :");
	field(c, "Available system uptime", long_time(c, s->member[s->pair.self].uptime_ms));
	field_number(c, "Switchovers system experienced", s->role.switch_overs);
	field_number(c, "Standby failures", s->role.standby_failures);
	field(c, "Last switchover reason",
	      s->role.reason.n ? arena_printf(&c->arena, "%.*s", STR_ARG(s->role.reason)) : "none");
	out_line(&c->out, "%s", "");
	field(c, "Hardware Mode", s->pair.joined ? "Duplex" : "Simplex");
	field(c, "Configured Redundancy Mode", s->pair.joined ? "hot standby" : "simplex");
	field(c, "Operating Redundancy Mode", mode_word(s));
	if (!s->pair.joined)
		field(c, "Communications", "Down (this host is in no pair; 'slipway pair init' begins one)");
	else if (peer->reachable)
		field(c, "Communications", "Up");
	else
		field(c, "Communications", arena_printf(&c->arena, "Down (%.*s)", STR_ARG(peer->why)));
	out_line(&c->out, "%s", "");
}

static void processor_text(struct cmd_context *c, const struct pair_status *s, uint32_t number, struct str env)
{
	const struct pair_member_status *m = &s->member[number];
	const char *which = m->local ? "Current" : "Peer";
	title(c, env.n ? arena_printf(&c->arena, "%s Processor Information : environment %.*s", which, STR_ARG(env))
		       : arena_printf(&c->arena, "%s Processor Information :", which));
	field(c, is_active(s, number) ? "Active Location" : "Standby Location", name_of(c, s, number));
	field(c, "Current Software state", state_text(c, s, number));
	if (m->reachable) {
		field(c, "Uptime in current state", long_time(c, in_state_ms(s, m)));
		if (env.n)
			field(c, "Image Version", version_text(c, m));
		field(c, "Operation", m->state.n ? arena_printf(&c->arena, "%.*s", STR_ARG(m->state)) : "none");
		if (m->traffic.n)
			field(c, "Traffic", arena_printf(&c->arena, "%.*s", STR_ARG(m->traffic)));
		if (!m->healthy && m->unhealthy.n)
			field(c, "Health", arena_printf(&c->arena, "%.*s", STR_ARG(m->unhealthy)));
		field(c, "Slipway", arena_printf(&c->arena, "%.*s", STR_ARG(m->agent_version)));
		field(c, "BOOT",
		      m->current ? arena_printf(&c->arena, "%.*s, generation %u;", STR_ARG(env), m->current) : "none");
	}
	out_line(&c->out, "%s", "");
}

static void redundancy_text(struct cmd_context *c, const struct pair_shown *x)
{
	system_text(c, &x->status[0]);
	for (size_t i = 0; i < x->n; i++) {
		const struct pair_status *s = &x->status[i];
		processor_text(c, s, s->pair.self, x->env[i]);
		if (s->pair.joined)
			processor_text(c, s, 3 - s->pair.self, x->env[i]);
	}
}

struct put_ctx {
	struct cmd_context *c;
	const struct pair_status *s;
};

/* Members of one status, by number; a system of one has one. */
static uint32_t number_of(const struct pair_status *s, size_t i)
{
	return s->pair.joined ? (uint32_t)i + 1 : s->pair.self;
}

static void put_member(struct jw *w, const void *ctx, size_t i)
{
	const struct put_ctx *p = ctx;
	uint32_t number = number_of(p->s, i);
	const struct pair_member_status *m = &p->s->member[number];
	jw_kv_int(w, "member", number);
	jw_kv_str(w, "name", p->s->pair.host[number].name);
	jw_kv_bool(w, "local", m->local);
	jw_kv_bool(w, "reachable", m->reachable);
	jw_kv_c(w, "software_state", state_word(p->s, number));
	if (!m->reachable) {
		jw_kv_str(w, "why", m->why);
		return;
	}
	jw_kv_int(w, "state_ms", in_state_ms(p->s, m));
	jw_kv_str(w, "version", m->running_version);
	jw_kv_int(w, "generation", m->current);
	jw_kv_int(w, "committed", m->committed);
	jw_kv_str(w, "operation_state", m->state);
	jw_kv_str(w, "operation_id", m->operation_id);
	jw_kv_bool(w, "healthy", m->healthy);
	jw_kv_str(w, "unhealthy", m->unhealthy);
	jw_kv_str(w, "traffic", m->traffic);
	jw_kv_str(w, "slipway", m->agent_version);
	jw_kv_bool(w, "managed", m->managed);
	jw_kv_bool(w, "autostart", m->autostart);
	jw_kv_bool(w, "stopped", m->current && m->idle);
	jw_kv_str(w, "not_started", m->not_started);
	jw_kv_str(w, "autostart_cure", m->autostart_cure);
	jw_kv_int(w, "uptime_ms", m->uptime_ms);
	jw_kv_int(w, "timer_left_ms", m->timer_left_ms);
	jw_kv_int(w, "free_bytes", (int64_t)m->free_bytes);
	jw_kv_int(w, "total_bytes", (int64_t)m->total_bytes);
}

static size_t members_n(const struct pair_status *s)
{
	return s->pair.joined ? PAIR_MEMBERS : 1;
}

struct put_shown {
	struct cmd_context *c;
	const struct pair_shown *x;
};

static void put_environment(struct jw *w, const void *ctx, size_t i)
{
	const struct put_shown *p = ctx;
	const struct put_ctx one = {p->c, &p->x->status[i]};
	jw_kv_str(w, "environment", p->x->env[i]);
	jw_kv_bool(w, "hot", one.s->hot);
	jw_kv_str(w, "cold", one.s->cold);
	jw_kv_objects(w, "members", members_n(one.s), put_member, &one);
}

static int redundancy_json(struct cmd_context *c, const struct pair_shown *x)
{
	const struct pair_status *s = &x->status[0];
	const struct pair_member_status *peer = &s->member[3 - s->pair.self];
	const struct put_shown all = {c, x};
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "slipway", SLIPWAY_VERSION);
	jw_kv_int(w, "uptime_ms", s->member[s->pair.self].uptime_ms);
	jw_kv_int(w, "switch_overs", (int64_t)s->role.switch_overs);
	jw_kv_int(w, "standby_failures", (int64_t)s->role.standby_failures);
	jw_kv_str(w, "last_switch_over_reason", s->role.reason);
	jw_kv_c(w, "hardware_mode", s->pair.joined ? "duplex" : "simplex");
	jw_kv_c(w, "redundancy_mode", mode_word(s));
	jw_kv_bool(w, "communications", s->pair.joined && peer->reachable);
	jw_kv_str(w, "communications_why", s->pair.joined ? peer->why : STR("this host is in no pair"));
	jw_kv_int(w, "member", s->pair.self);
	jw_kv_int(w, "active", s->role.active);
	jw_kv_int(w, "epoch", (int64_t)s->role.epoch);
	jw_kv_objects(w, "environments", x->n, put_environment, &all);
	return cmd_answer_print(c, &a);
}

/* -- show boot system ----------------------------------------------------------------------------------------------- */

/* The first environment whose services do not start there; else the first one that was asked for. */
static const struct pair_member_status *at_boot(const struct pair_shown *x, uint32_t number)
{
	for (size_t k = 0; k < x->n; k++)
		if (!x->status[k].member[number].autostart)
			return &x->status[k].member[number];
	return &x->status[0].member[number];
}

static void manual_boot(struct cmd_context *c, const struct pair_shown *x, uint32_t number)
{
	const struct pair_member_status *m = at_boot(x, number);
	out_line(&c->out, "Manual Boot = %s", m->autostart ? "no" : "yes");
	if (!m->autostart && m->not_started.n)
		out_line(&c->out, "    %.*s; %s", STR_ARG(m->not_started),
			 cmd_typed(c, arena_strdup(&c->arena, m->autostart_cure)));
}

static void not_committed(struct cmd_context *c, struct str env, uint32_t committed)
{
	const char *text = arena_printf(&c->arena,
					"%.*s: not committed; 'slipway install commit -n %.*s' keeps it, the timer or "
					"'slipway install abort issu -n %.*s' goes back to generation %u",
					STR_ARG(env), STR_ARG(env), STR_ARG(env), committed);
	out_line(&c->out, "    %s", cmd_typed(c, text));
}

/* After 'stop', and until 'start', a boot brings nothing of it up either. */
static bool is_stopped(const struct pair_member_status *m)
{
	return m->reachable && m->current && m->idle;
}

static void not_started(struct cmd_context *c, struct str env)
{
	const char *text =
		arena_printf(&c->arena,
			     "%.*s: its services are stopped, none of them starts at boot; 'slipway start %.*s' "
			     "starts them, then and at boot",
			     STR_ARG(env), STR_ARG(env));
	out_line(&c->out, "    %s", cmd_typed(c, text));
}

static void boot_text(struct cmd_context *c, const struct pair_shown *x)
{
	const struct pair_status *s = &x->status[0];
	for (size_t i = 0; i < members_n(s); i++) {
		uint32_t number = number_of(s, i);
		const struct pair_member_status *m = &s->member[number];
		out_line(&c->out, RULE);
		out_line(&c->out, "%s", name_of(c, s, number));
		out_line(&c->out, RULE);
		if (!m->reachable) {
			out_line(&c->out, "not reachable: %.*s", STR_ARG(m->why));
			continue;
		}
		out_line(&c->out, "Current Boot Variables:");
		for (size_t k = 0; k < x->n; k++)
			if (x->status[k].member[number].current)
				out_line(&c->out, "BOOT variable = %.*s, generation %u;", STR_ARG(x->env[k]),
					 x->status[k].member[number].current);
		out_line(&c->out, "%s", "");
		manual_boot(c, x, number);
		for (size_t k = 0; k < x->n; k++) {
			const struct pair_member_status *v = &x->status[k].member[number];
			if (is_stopped(v))
				not_started(c, x->env[k]);
			if (v->current && v->current != v->committed)
				not_committed(c, x->env[k], v->committed);
		}
		out_line(&c->out, "%s", "");
	}
}

static int boot_json(struct cmd_context *c, const struct pair_shown *x)
{
	const struct put_shown all = {c, x};
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "slipway", SLIPWAY_VERSION);
	jw_kv_str(w, "cure", at_boot(x, x->status[0].pair.self)->autostart_cure);
	jw_kv_objects(w, "environments", x->n, put_environment, &all);
	return cmd_answer_print(c, &a);
}

/* -- space ---------------------------------------------------------------------------------------------------------- */

static void put_space(struct jw *w, const void *ctx, size_t i)
{
	const struct put_ctx *p = ctx;
	uint32_t number = number_of(p->s, i);
	const struct pair_member_status *m = &p->s->member[number];
	jw_kv_int(w, "member", number);
	jw_kv_bool(w, "reachable", m->reachable);
	if (!m->reachable) {
		jw_kv_str(w, "why", m->why);
		return;
	}
	jw_kv_int(w, "total_bytes", (int64_t)m->total_bytes);
	jw_kv_int(w, "free_bytes", (int64_t)m->free_bytes);
}

int cmd_show_space(struct cmd_context *c, struct jw *w, struct err *e)
{
	struct pair_status s;
	const struct put_ctx ctx = {c, &s};
	if (ask(c, STR_NONE, &s, e) < 0)
		return -1;
	if (w) {
		jw_kv_objects(w, "members", members_n(&s), put_space, &ctx);
		return 0;
	}
	for (size_t i = 0; i < members_n(&s); i++) {
		uint32_t number = number_of(&s, i);
		const struct pair_member_status *m = &s.member[number];
		struct str where = m->root.n ? m->root : STR("its root");
		if (m->reachable)
			out_line(&c->out, "[%u] %.*s: %llu bytes total (%llu bytes free)", number, STR_ARG(where),
				 (unsigned long long)m->total_bytes, (unsigned long long)m->free_bytes);
		else
			out_line(&c->out, "[%u] not reachable: %.*s", number, STR_ARG(m->why));
	}
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------------- */

static int run(struct cmd_context *c, int argc, char **argv, const char *word,
	       void (*text)(struct cmd_context *c, const struct pair_shown *x),
	       int (*json)(struct cmd_context *c, const struct pair_shown *x))
{
	const char *name = NULL;
	struct cmd_list words = {0};
	struct pair_shown x = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {{'n', "name", CMD_TEXT, &name}, {0, NULL, CMD_FLAG, NULL}};
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	bool good = word ? words.n == 1 && strcmp(words.v[0], word) == 0 : words.n == 0;
	vec_release(&words);
	if (rc == 0 && c->help)
		return cmd_help(c);
	if (rc == 0 && !good)
		rc = word ? err_new(&e, ERR_USAGE, "show what? as in: slipway show boot %s", word)
			  : err_new(&e, ERR_USAGE, "'slipway show redundancy' takes no further words");
	if (rc < 0 || ask_each(c, name, &x, &e) < 0)
		return cmd_fail(c, &e);
	if (c->json)
		return json(c, &x);
	text(c, &x);
	out_flush(&c->out);
	return CMD_OK;
}

int cmd_show_redundancy(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, NULL, redundancy_text, redundancy_json);
}

int cmd_show_boot(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, "system", boot_text, boot_json);
}
