// SPDX-License-Identifier: Apache-2.0
/* show install summary, show install log, show issu state detail, show version: of one environment, or of all. */
#include <stdio.h>

#include "cmd/change.h"
#include "cmd/show_pair.h"
#include "version.h"

#define RULE "--------------------------------------------------------------------------------"

struct show_args {
	const char *name;
	struct cmd_list words;
};
struct shown { /* which environments */
	struct str *name;
	size_t n;
};

static int choose(struct cmd_context *c, const struct show_args *a, struct shown *ret, struct err *e)
{
	struct upgrade_status s;
	if (cmd_need_state(c, true, e) < 0)
		return -1;
	if (!a->name)
		return cmd_all_environments(c, &ret->name, &ret->n, e);
	ret->name = arena_array(&c->arena, struct str, 1);
	ret->n = 1;
	return cmd_the_environment(c, a->name, &ret->name[0], e) < 0
		       ? -1
		       : upgrade_status(c->state, &c->arena, ret->name[0], &s, e);
}

static int generations_of(struct cmd_context *c, struct str name, struct env_generation_info **ret, size_t *ret_n,
			  struct err *e)
{
	struct err gone = ERR_INIT;
	*ret_n = 0;
	if (env_generations(c->state, &c->arena, name, ret, ret_n, &gone) == 0)
		return 0;
	*ret_n = 0;
	return gone.code == ERR_NOT_FOUND ? 0 : (*e = gone, -1);
}

static const char *timer_text(struct cmd_context *c, const struct upgrade_status *s)
{
	auto_buf b = BUF_INIT(100);
	if (s->timer_stopped)
		return "stopped";
	if (s->timer_left_ms < 0)
		return "inactive";
	if (s->timer_left_ms == 0)
		return "ended: the next command, or the agent, goes back";
	cmd_put_countdown(&b, s->timer_left_ms);
	return arena_printf(&c->arena, "automatic, remaining time before rollback: %s", b.p);
}

static void put_time(struct jw *w, const char *key, int64_t ms)
{
	auto_buf b = BUF_INIT(64);
	clock_put_iso(&b, ms);
	jw_kv_c(w, key, b.p);
}

/* 2019-02-08:09:28:32 */
static const char *start_time(struct cmd_context *c, int64_t ms)
{
	auto_buf b = BUF_INIT(64);
	clock_put_table(&b, ms);
	char *text = arena_strdup(&c->arena, buf_str(&b)), *space = strchr(text, ' ');
	if (space)
		*space = ':';
	return text;
}

/* -- show install summary ------------------------------------------------------------------------------------------- */

/* Both run the same, in the same state: one table is for both. */
static bool is_same(const struct pair_status *p)
{
	const struct pair_member_status *x = &p->member[1], *y = &p->member[2];
	auto_arena a = ARENA_INIT;
	return x->reachable && y->reachable && !pair_runs_other(&a, x, y).n && str_eq(x->state, y->state) &&
	       (x->current == x->committed) == (y->current == y->committed);
}

/* The other member, where it is not as this one: what runs there, from afar. */
static void other_member(struct cmd_context *c, const struct pair_status *p)
{
	struct out *o = &c->out;
	const struct pair_member_status *m = &p->member[3 - p->pair.self];
	out_line(o, "[ Member %u ] in state '%.*s'", m->number, STR_ARG(m->reachable ? m->state : STR("unknown")));
	if (!m->reachable)
		out_line(o, "does not answer: %.*s", STR_ARG(m->why));
	else if (m->current)
		out_line(o, "ENV   %c   %u  %.*s", m->current == m->committed ? ENV_COMMITTED : ENV_UNCOMMITTED,
			 m->current, STR_ARG(m->running_version));
	if (m->reachable && m->committed && m->current != m->committed)
		out_line(o, "ENV   %c   %u", ENV_DEACTIVATED, m->committed);
	out_line(o, RULE);
}

static void put_member(struct jw *w, const void *ctx, size_t i)
{
	const struct pair_member_status *m = (const struct pair_member_status *)ctx + 1 + i;
	jw_kv_int(w, "member", m->number);
	jw_kv_bool(w, "reachable", m->reachable);
	jw_kv_opt(w, "why", m->why);
	jw_kv_str(w, "state", m->state);
	jw_kv_str(w, "version", m->running_version);
	jw_kv_int(w, "generation", m->current);
	jw_kv_int(w, "committed", m->committed);
	jw_kv_int(w, "timer_left_ms", m->timer_left_ms);
}

static void put_members(struct jw *w, int paired, const struct pair_status *p)
{
	if (!paired)
		return;
	jw_kv_int(w, "active", p->role.active);
	jw_kv_objects(w, "members", PAIR_MEMBERS, put_member, p->member);
}

static bool has_its_own(const struct env_generation_info *g, size_t n)
{
	bool any = false;
	for (size_t i = 0; i < n; i++)
		any |= g[i].state == ENV_INACTIVE || g[i].label.n;
	return any;
}

/* `self`: of the table of both members, whose numbers it has; else 0. */
static void summary_table(struct cmd_context *c, struct str name, const struct upgrade_status *s,
			  const struct env_generation_info *g, size_t n, const char *members, uint32_t self)
{
	struct out *o = &c->out;
	out_line(o, "[ Member %s ] Installed Package(s) Information: %.*s", members, STR_ARG(name));
	out_line(o, "State (St): I - Inactive, U - Activated & Uncommitted,");
	out_line(o, "            C - Activated & Committed, D - Deactivated & Uncommitted");
	out_line(o, RULE);
	out_line(o, "Type  St  Generation/Version");
	out_line(o, RULE);
	for (size_t i = 0; i < n; i++)
		out_line(o, "ENV   %c   %u%s%.*s%s  %.*s", (char)g[i].state, g[i].number, g[i].label.n ? " (" : "",
			 STR_ARG(g[i].label), g[i].label.n ? ")" : "", STR_ARG(g[i].version));
	if (self && has_its_own(g, n))
		out_line(o, "Numbers, labels and inactive generations are those of member %u: each has its own", self);
	out_line(o, RULE);
	out_line(o, "Auto abort timer: %s", timer_text(c, s));
	out_line(o, RULE);
}

static void put_generation(struct jw *w, const void *ctx, size_t i)
{
	const struct env_generation_info *g = ctx;
	const char state[2] = {(char)g[i].state, '\0'};
	jw_kv_int(w, "generation", g[i].number);
	jw_kv_c(w, "state", state);
	jw_kv_str(w, "version", g[i].version);
	jw_kv_str(w, "label", g[i].label);
	jw_kv_int(w, "packages", g[i].packages_n);
	put_time(w, "made", g[i].made_ms);
}

static void put_timer(struct jw *w, const struct upgrade_status *s)
{
	jw_kv_c(w, "timer", s->timer_stopped ? "stopped" : s->timer_left_ms < 0 ? "inactive" : "automatic");
	jw_kv_int(w, "timer_left_ms", s->timer_left_ms);
}

static int show_summary(struct cmd_context *c, struct str name, struct jw *w, struct err *e)
{
	struct upgrade_status s;
	struct env_generation_info *g = NULL;
	struct pair_status p;
	size_t n;
	int paired = cmd_pair_members(c, name, &p, e);
	if (paired < 0 || upgrade_status(c->state, &c->arena, name, &s, e) < 0 ||
	    generations_of(c, name, &g, &n, e) < 0)
		return -1;
	if (paired)
		s.timer_left_ms = cmd_first_timer(&p, s.id, s.timer_left_ms);
	if (!w) {
		bool same = paired && is_same(&p);
		summary_table(c, name, &s, g, n,
			      same			   ? "1 2"
			      : paired && p.pair.self == 2 ? "2"
							   : "1",
			      same ? p.pair.self : 0);
		if (paired && !same)
			other_member(c, &p);
		return 0;
	}
	jw_kv_str(w, "environment", name);
	jw_kv_str(w, "state", s.state);
	jw_kv_objects(w, "generations", n, put_generation, g);
	put_timer(w, &s);
	put_members(w, paired, &p);
	return 0;
}

/* -- show install log ----------------------------------------------------------------------------------------------- */

struct log {
	struct env_history_entry *h;
	struct env_operation_step **steps;
	size_t *steps_n;
	size_t n;
};

static int by_start(const void *x, const void *y)
{
	const struct env_operation_step *a = x, *b = y;
	return a->started_ms != b->started_ms ? (a->started_ms < b->started_ms ? -1 : 1)
	       : a->ended_ms != b->ended_ms   ? (a->ended_ms > b->ended_ms ? -1 : 1)
					      : str_cmp(a->name, b->name);
}

/* The steps of an operation are shown with the last line of its history. */
static int read_log(struct cmd_context *c, struct str name, struct log *l, struct err *e)
{
	if (env_history(c->state, &c->arena, name, &l->h, &l->n, e) < 0)
		return -1;
	l->steps = arena_array(&c->arena, struct env_operation_step *, l->n);
	l->steps_n = arena_array(&c->arena, size_t, l->n);
	for (size_t i = 0; i < l->n; i++) {
		bool last = l->h[i].operation_id.n > 0;
		for (size_t k = i + 1; k < l->n; k++)
			last &= !str_eq(l->h[k].operation_id, l->h[i].operation_id);
		l->steps_n[i] = 0;
		if (last &&
		    env_operation_steps(c->state, &c->arena, l->h[i].operation_id, &l->steps[i], &l->steps_n[i], e) < 0)
			return -1;
		if (l->steps_n[i]) /* a stage is written at its end */
			qsort(l->steps[i], l->steps_n[i], sizeof(**l->steps), by_start);
	}
	return 0;
}

static void log_text(struct cmd_context *c, struct str name, const struct log *l)
{
	struct out *o = &c->out;
	bool joined;
	out_line(o, "[ Member %u ] Install log: %.*s", cmd_show_member(c, &joined), STR_ARG(name));
	for (size_t i = 0; i < l->n; i++) {
		const struct env_history_entry *h = &l->h[i];
		out_line(o, "%s %.*s %.*s: %u -> %u, %.*s", start_time(c, h->at_ms), STR_ARG(h->who),
			 STR_ARG(h->operation), h->from, h->to, STR_ARG(h->result));
		out_line(o, "    %.*s", STR_ARG(h->command));
		for (size_t k = 0; k < l->steps_n[i]; k++) {
			const struct env_operation_step *s = &l->steps[i][k];
			auto_buf took = BUF_INIT(64);
			out_put_duration(&took, s->ended_ms - s->started_ms);
			out_line(o, "    %s  %.*s (%s): %.*s", start_time(c, s->started_ms), STR_ARG(s->name), took.p,
				 STR_ARG(s->result));
		}
	}
}

static void put_step(struct jw *w, const void *ctx, size_t i)
{
	const struct env_operation_step *s = ctx;
	jw_kv_str(w, "name", s[i].name);
	jw_kv_int(w, "member", s[i].member);
	jw_kv_str(w, "result", s[i].result);
	put_time(w, "started", s[i].started_ms);
	put_time(w, "ended", s[i].ended_ms);
	jw_kv_int(w, "took_ms", s[i].ended_ms - s[i].started_ms);
}

static void put_entry(struct jw *w, const void *ctx, size_t i)
{
	const struct log *l = ctx;
	const struct env_history_entry *h = &l->h[i];
	put_time(w, "at", h->at_ms);
	jw_kv_str(w, "who", h->who);
	jw_kv_str(w, "operation", h->operation);
	jw_kv_int(w, "from", h->from);
	jw_kv_int(w, "to", h->to);
	jw_kv_str(w, "result", h->result);
	jw_kv_str(w, "command", h->command);
	jw_kv_objects(w, "steps", l->steps_n[i], put_step, l->steps[i]);
}

static int show_log(struct cmd_context *c, struct str name, struct jw *w, struct err *e)
{
	struct log l = {0};
	if (read_log(c, name, &l, e) < 0)
		return -1;
	if (!w) {
		log_text(c, name, &l);
		return 0;
	}
	jw_kv_str(w, "environment", name);
	jw_kv_objects(w, "log", l.n, put_entry, &l);
	return 0;
}

/* -- of both members ------------------------------------------------------------------------------------------------ */

static bool is_step(const struct env_operation_step *s, const char *name)
{
	return str_eq_c(s->name, name);
}

/* "Activate location standby" and "… active" say which member that was. Who was active has both in its log. */
static struct str located(struct cmd_context *c, const struct env_operation_step *s, uint32_t self, bool was_active)
{
	bool standby = is_step(s, "Activate location standby"), active = is_step(s, "Activate location active");
	if (!standby && !active)
		return s->name;
	return str_c(
		arena_printf(&c->arena, "%.*s member %u", STR_ARG(s->name), standby && was_active ? 3 - self : self));
}

/* What the two did, of which each has its own part in its log: the switch-over is in the role that both know. */
static void complete_steps(struct cmd_context *c, struct upgrade_status *s, const struct pair_status *p)
{
	struct env_operation_step *v = arena_array(&c->arena, struct env_operation_step, s->steps_n + 1);
	bool was_active = str_eq(s->state, STR("standby-activated")), both = true;
	size_t n = 0;
	for (size_t i = 0; i < s->steps_n; i++)
		was_active |= is_step(&s->steps[i], "Activate location active");
	bool switched = s->steps_n && p->role.since_ms >= s->steps[0].started_ms && p->role.switch_overs;
	const char *last = switched ? "switched-over" : "activated";
	const struct env_operation_step over = {.name = STR("Switchover"),
						.result = STR("passed"),
						.started_ms = p->role.since_ms,
						.ended_ms = p->role.since_ms};
	for (size_t i = 0; i < s->steps_n; i++) {
		if (switched && s->steps[i].started_ms > over.started_ms) {
			v[n++] = over;
			switched = false;
		}
		v[n] = s->steps[i];
		v[n++].name = located(c, &s->steps[i], p->pair.self, was_active);
	}
	if (switched)
		v[n++] = over;
	for (uint32_t k = 1; k <= PAIR_MEMBERS; k++)
		both &= p->member[k].reachable && str_eq(p->member[k].state, STR("activated"));
	if (both)
		s->transition = str_c(arena_printf(&c->arena, "Added -> Standby activated -> Active %s", last));
	s->steps = v;
	s->steps_n = n;
	if (n)
		s->last_operation = v[n - 1].name;
}

/* -- show issu state detail ----------------------------------------------------------------------------------------- */

/* At rest: nobody is, nor should be, in the middle of anything. */
static bool is_terminal(const struct upgrade_status *s)
{
	return str_eq(s->state, STR("none")) || str_eq(s->state, STR("added")) || str_eq(s->state, STR("activated"));
}

static void member_lines(struct cmd_context *c, const struct pair_status *p)
{
	for (uint32_t n = 1; p && n <= PAIR_MEMBERS; n++) {
		const struct pair_member_status *m = &p->member[n];
		if (m->reachable)
			out_line(&c->out, "Member %u: %.*s state, runs '%.*s' (generation %u%s)%s%.*s", n,
				 STR_ARG(m->state), STR_ARG(m->running_version), m->current,
				 m->current == m->committed ? "" : ", uncommitted",
				 m->healthy ? "" : "; not healthy: ", STR_ARG(m->unhealthy));
		else
			out_line(&c->out, "Member %u: does not answer: %.*s", n, STR_ARG(m->why));
	}
}

/* The other member is in the middle of what this one has no part of any more: settled by whatever command comes next. */
static bool is_left_over_there(const struct pair_status *p)
{
	const struct pair_member_status *m = &p->member[3 - p->pair.self];
	return m->reachable && m->state.n && !str_eq(m->state, STR("none"));
}

/* `p` NULL: this host is no member of a pair. */
static void detail_text(struct cmd_context *c, const struct upgrade_status *s, const struct pair_status *p)
{
	struct out *o = &c->out;
	if (!s->in_progress) {
		out_line(o, "%.*s: No ISSU operation is in progress", STR_ARG(s->env));
		if (p && !p->hot) /* here, that is */
			member_lines(c, p);
		if (p && is_left_over_there(p))
			out_line(o, "Next: %s",
				 cmd_typed(c, arena_printf(&c->arena, "slipway install abort issu -n %.*s",
							   STR_ARG(s->env))));
		return;
	}
	out_line(o, "Operation type: %s ISSU", s->one_shot ? "One-shot" : "Step-by-step");
	out_line(o, "Install type : Environment '%.*s', generation %u -> %u", STR_ARG(s->env), s->from, s->to);
	out_line(o, "Current state : %.*s state", STR_ARG(s->title));
	out_line(o, "Last operation: %.*s", STR_ARG(s->last_operation));
	out_line(o, "%s", "");
	out_line(o, "Completed operations:");
	out_line(o, "%s", "");
	out_line(o, "%-55s %s", "Operation", "Start time");
	out_line(o, RULE);
	for (size_t i = 0; i < s->steps_n; i++)
		out_line(o, "%-55.*s %s", STR_ARG(s->steps[i].name), start_time(c, s->steps[i].started_ms));
	out_line(o, "%s", "");
	out_line(o, "State transition: %.*s", STR_ARG(s->transition));
	out_line(o, "%s", "");
	out_line(o, "Auto abort timer: %s", timer_text(c, s));
	out_line(o, "Running version: %.*s", STR_ARG(s->running_version));
	if (p)
		out_line(o, "Operating mode: pair, member %u is active, terminal state %s", p->role.active,
			 p->hot && is_terminal(s) ? "reached" : "not reached");
	else
		out_line(o, "Operating mode: single host, terminal state %s",
			 is_terminal(s) ? "reached" : "not reached");
	member_lines(c, p);
	out_line(o, "Next: %s", cmd_typed(c, s->next.p));
	if (s->back.n)
		out_line(o, "Back: %s", cmd_typed(c, s->back.p));
}

/* Without the other one only going back is possible. */
static void only_back(struct upgrade_status *s, const struct pair_status *p)
{
	if (!s->paired || !s->back.n || p->member[3 - p->pair.self].reachable)
		return;
	s->next = s->back;
	s->back = STR_NONE;
}

static int show_detail(struct cmd_context *c, struct str name, struct jw *w, struct err *e)
{
	struct upgrade_status s;
	struct pair_status p;
	int paired = cmd_pair_members(c, name, &p, e);
	if (paired < 0 || upgrade_status(c->state, &c->arena, name, &s, e) < 0)
		return -1;
	if (paired) {
		s.timer_left_ms = cmd_first_timer(&p, s.id, s.timer_left_ms);
		only_back(&s, &p);
	}
	if (paired && s.in_progress && s.paired)
		complete_steps(c, &s, &p);
	if (!w) {
		detail_text(c, &s, paired ? &p : NULL);
		return 0;
	}
	jw_kv_str(w, "environment", name);
	jw_kv_bool(w, "in_progress", s.in_progress);
	jw_kv_bool(w, "one_shot", s.one_shot);
	jw_kv_str(w, "state", s.state);
	jw_kv_str(w, "last_operation", s.last_operation);
	jw_kv_str(w, "transition", s.transition);
	jw_kv_objects(w, "steps", s.steps_n, put_step, s.steps);
	put_timer(w, &s);
	jw_kv_str(w, "running_version", s.running_version);
	jw_kv_int(w, "from", s.from);
	jw_kv_int(w, "to", s.to);
	jw_kv_bool(w, "terminal", is_terminal(&s) && (!paired || p.hot));
	put_members(w, paired, &p);
	jw_kv_c(w, "next", cmd_typed(c, s.next.p));
	jw_kv_c(w, "back", s.back.n ? cmd_typed(c, s.back.p) : "");
	return 0;
}

/* -- show version --------------------------------------------------------------------------------------------------- */

/* Of an environment whose first version is not active yet. */
static int version_added(struct cmd_context *c, const struct upgrade_status *s, struct str *ret, struct err *e)
{
	struct env_generation_info *g;
	size_t n;
	if (generations_of(c, s->env, &g, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (g[i].number == s->to)
			*ret = g[i].version;
	return 0;
}

static int show_one_version(struct cmd_context *c, struct str name, struct jw *w, struct err *e)
{
	struct upgrade_status s;
	struct env_info info;
	if (upgrade_status(c->state, &c->arena, name, &s, e) < 0 || env_find(c->state, &c->arena, name, &info, e) < 0)
		return -1;
	if (!w && !info.current) {
		struct str added = STR_NONE;
		if (version_added(c, &s, &added, e) < 0)
			return -1;
		out_line(&c->out, "%.*s: no version yet (%.*s%s%.*s)", STR_ARG(name), STR_ARG(s.state),
			 added.n ? ": " : "", STR_ARG(added));
		return 0;
	}
	if (!w) {
		out_line(&c->out, "%.*s: generation %u%s: %.*s", STR_ARG(name), info.current,
			 info.current == info.committed ? "" : " (uncommitted)", STR_ARG(s.running_version));
		return 0;
	}
	jw_kv_str(w, "environment", name);
	jw_kv_int(w, "generation", info.current);
	jw_kv_int(w, "committed", info.committed);
	jw_kv_str(w, "version", s.running_version);
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------------- */

typedef int show_fn(struct cmd_context *c, struct str name, struct jw *w, struct err *e);

static int show_each(struct cmd_context *c, const struct shown *shown, show_fn *fn, struct err *e)
{
	auto_answer a = {0};
	struct jw *w = c->json ? cmd_answer(&a) : NULL;
	if (w) {
		jw_kv_c(w, "slipway", SLIPWAY_VERSION);
		jw_key(w, "environments");
		jw_array(w);
	}
	for (size_t i = 0; i < shown->n; i++) {
		if (w)
			jw_object(w);
		else if (i && fn != show_one_version && fn != show_detail)
			out_line(&c->out, "%s", "");
		if (fn(c, shown->name[i], w, e) < 0)
			return -1;
		if (w)
			jw_object_end(w);
	}
	if (w)
		jw_array_end(w);
	if (fn == show_one_version && cmd_show_space(c, w, e) < 0)
		return -1;
	if (!w) {
		out_flush(&c->out);
		return 0;
	}
	return cmd_answer_print(c, &a);
}

/* `words` are what has to stand behind the command's own; the first of several rows that fits is shown. */
struct row {
	const char *words[2];
	show_fn *fn;
};

static const struct row *find_row(const struct row *rows, const struct cmd_list *words)
{
	for (; rows->fn; rows++) {
		size_t n = 0;
		while (n < 2 && rows->words[n] && n < words->n && strcmp(rows->words[n], words->v[n]) == 0)
			n++;
		if (n == words->n && (n == 2 || !rows->words[n]))
			return rows;
	}
	return NULL;
}

static int run(struct cmd_context *c, int argc, char **argv, const struct row *rows, const char *usage)
{
	struct show_args a = {0};
	const struct cmd_option options[] = {{'n', "name", CMD_TEXT, &a.name}, {0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	struct shown shown = {0};
	const struct row *row = NULL;
	int code = CMD_OK, rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	if (rc == 0 && c->help) {
		vec_release(&a.words);
		return cmd_help(c);
	}
	if (rc == 0)
		row = find_row(rows, &a.words);
	if (rc == 0 && !row)
		rc = err_new(&e, ERR_USAGE, "%s", usage);
	if (rc < 0 || choose(c, &a, &shown, &e) < 0 || show_each(c, &shown, row->fn, &e) < 0)
		code = cmd_fail(c, &e);
	else if (!shown.n)
		cmd_say(c, "no environments in '%s' yet; make one with: slipway install add SPEC -n NAME",
			c->root_path);
	vec_release(&a.words);
	return code;
}

int cmd_show_install(struct cmd_context *c, int argc, char **argv)
{
	static const struct row rows[] = {{{"summary", NULL}, show_summary},
					  {{"log", NULL}, show_log},
					  {{"issu", "history"}, show_log},
					  {{NULL, NULL}, NULL}};
	return run(c, argc, argv, rows, "show what? as in: slipway show install summary, or: slipway show install log");
}

int cmd_show_issu(struct cmd_context *c, int argc, char **argv)
{
	static const struct row rows[] = {
		{{"state", "detail"}, show_detail}, {{"state", NULL}, show_detail}, {{NULL, NULL}, NULL}};
	return run(c, argc, argv, rows, "show what? as in: slipway show issu state detail");
}

int cmd_show_version(struct cmd_context *c, int argc, char **argv)
{
	static const struct row rows[] = {{{NULL, NULL}, show_one_version}, {{NULL, NULL}, NULL}};
	if (!c->json && !c->quiet && argc == 0)
		out_line(&c->out, "slipway %s", SLIPWAY_VERSION);
	return run(c, argc, argv, rows, "'slipway show version' takes no further words");
}
