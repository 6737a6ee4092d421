// SPDX-License-Identifier: Apache-2.0
/*
 * install: add, activate, commit, abort, rollback, label, remove inactive, auto-abort-timer stop; clear install state.
 *
 * Each begins with a line of when, ends with SUCCESS or FAILED, and returns when the environment is at rest.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "cmd/change.h"
#include "cmd/plan.h"
#include "cmd/show_pair.h"

struct install_args {
	const char *name, *auto_abort;
	int64_t wait_s;
	bool override_frozen, keep_state, stop_at_deprecated;
	struct cmd_list words;
};

/* One command at work. */
struct install {
	struct cmd_context *c;
	const struct install_args *a;
	const char *title; /* "install_activate"; NULL: told in a line or two */
	const char *doing; /* "Activating ISSU" */
	bool started;
	bool pair; /* this host is a member of one */
	bool own;  /* of this host alone, on a member of a pair too: each numbers and labels its own generations */
	struct str name;
	struct env_info info; /* no name: its first version is being added */
	struct env_hold *hold;
	struct cmd_upgrade u;
};

/* -- beginning and end -------------------------------------------------------------------------------------------- */

static bool is_shown(const struct cmd_context *c)
{
	return !c->json && !c->quiet && !c->dry_run;
}

static void show_start(struct cmd_context *c, const char *title, const char *doing)
{
	auto_buf date = BUF_INIT(100);
	clock_put_date(&date, clock_wall_ms());
	if (is_shown(c))
		out_line(&c->out, "%s: START %s", title, date.p);
	if (is_shown(c) && doing)
		out_line(&c->out, "%s: %s", title, doing);
	if (is_shown(c))
		c->last_line_of = title;
	out_flush(&c->out);
}

static int show_end(struct cmd_context *c, const char *title, int code)
{
	auto_buf date = BUF_INIT(100);
	clock_put_date(&date, clock_wall_ms());
	if (is_shown(c) && code == CMD_OK)
		out_line(&c->out, "SUCCESS: %s %s", title, date.p);
	else if (is_shown(c))
		out_line(&c->out, "FAILED: %s exit(%d) %s", title, code, date.p);
	return code;
}

/* On a member of a pair the other one is held too, when it comes to it, in their order. */
static int hold_here_or_on_both(struct install *in, struct err *e)
{
	struct cmd_context *c = in->c;
	int64_t wait_ms = cmd_wait_ms(in->a->wait_s);
	cmd_want_config(c);
	cmd_upgrade_begin(&in->u, c, in->name, NULL, in->title != NULL);
	int pair = cmd_is_paired(c, e);
	in->pair = pair > 0;
	if (pair < 0 || c->dry_run)
		return pair < 0 ? -1 : 0;
	int both = in->own ? 0 : cmd_upgrade_pair(&in->u, wait_ms, e);
	if (both < 0 || cmd_need_store(c, e) < 0)
		return -1;
	if (both)
		return 0;
	if (env_hold(c->state, in->name, wait_ms, &in->hold, e) < 0)
		return -1;
	cmd_upgrade_begin(&in->u, c, in->name, in->hold, in->title != NULL);
	return 0;
}

/* Reads what there is, settled where it may be changed. */
static int begin(struct install *in, struct err *e)
{
	struct cmd_context *c = in->c;
	if (cmd_need_state(c, c->dry_run, e) < 0 || cmd_the_environment(c, in->a->name, &in->name, e) < 0)
		return -1;
	struct upgrade_status there; /* before a lock of a name that is none is left */
	if (upgrade_status(c->state, &c->arena, in->name, &there, e) < 0)
		return -1;
	if (in->title)
		show_start(c, in->title, in->doing);
	in->started = true;
	if (hold_here_or_on_both(in, e) < 0)
		return -1;
	in->u.show_stages = true;
	if (cmd_upgrade_settle(&in->u, e) < 0)
		return -1;
	return env_find(c->state, &c->arena, in->name, &in->info, e) < 0 ? -1 : 0;
}

/* What became of it, as JSON; nothing without --json. */
static int answer(struct install *in, const char *operation, struct err *e)
{
	struct cmd_context *c = in->c;
	struct upgrade_status s;
	struct env_info info;
	auto_answer a = {0};
	if (!c->json)
		return 0;
	if (upgrade_find_status(c->state, &c->arena, in->name, &s, e) < 0 ||
	    env_find(c->state, &c->arena, in->name, &info, e) < 0)
		return -1;
	struct jw *w = cmd_answer(&a);
	jw_kv_str(w, "environment", in->name);
	jw_kv_c(w, "operation", operation);
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_str(w, "state", s.state);
	jw_kv_int(w, "current", info.current);
	jw_kv_int(w, "committed", info.committed);
	jw_kv_int(w, "timer_left_ms", s.timer_left_ms);
	jw_kv_c(w, "next", cmd_typed(c, s.next.p));
	jw_kv_c(w, "back", s.back.n ? cmd_typed(c, s.back.p) : "");
	cmd_put_checks(w, &in->u);
	return cmd_answer_print(c, &a);
}

/* -- the verbs that the machine knows ------------------------------------------------------------------------------- */

/* What would be done, for --dry-run: the checks too. */
static int plan(struct install *in, const struct upgrade_request *q, struct err *e)
{
	struct cmd_context *c = in->c;
	struct upgrade_status s;
	if (upgrade_may(&in->u.o, q, e) < 0 || upgrade_status(c->state, &c->arena, in->name, &s, e) < 0 ||
	    ((q->verb == UPGRADE_ACTIVATE || q->verb == UPGRADE_COMMIT) && cmd_upgrade_checks(&in->u, q, e) < 0))
		return -1;
	if (q->verb == UPGRADE_ACTIVATE)
		cmd_say(c, "generation %u becomes current, uncommitted, in place of %u", s.to, s.from);
	else if (q->verb == UPGRADE_COMMIT)
		cmd_say(c, "generation %u becomes the committed one, in place of %u", s.to, s.from);
	else if (q->verb == UPGRADE_STOP_TIMER && s.timer_stopped)
		cmd_say(c, "the auto-abort timer is stopped already");
	else if (q->verb == UPGRADE_STOP_TIMER)
		cmd_say(c, "the auto-abort timer stops: generation %u may run uncommitted for as long as wanted", s.to);
	else if (s.in_progress)
		cmd_say(c, "from state '%.*s' back to generation %u", STR_ARG(s.state), s.from);
	else
		cmd_say(c, "no install operation is in progress");
	return 0;
}

static int run_verb(struct install *in, const struct upgrade_request *q, const char *operation, struct err *e)
{
	cmd_if_interrupted(in->c,
			   "'slipway show issu state detail -n %.*s' shows the state; the next command that "
			   "changes '%.*s' finishes or undoes what was begun",
			   STR_ARG(in->name), STR_ARG(in->name));
	int rc = in->c->dry_run ? plan(in, q, e) : cmd_upgrade_run(&in->u, q, e);
	return rc < 0 ? -1 : answer(in, operation, e);
}

typedef int install_fn(struct install *in, struct err *e);

static int run(struct cmd_context *c, const struct cmd_option *options, int argc, char **argv, struct install_args *a,
	       const char *title, install_fn *fn)
{
	struct install in = {.c = c, .a = a, .title = title};
	struct err e = ERR_INIT;
	int code = CMD_OK;
	if (cmd_parse(c, options, false, argc, argv, &a->words, &e) < 0) {
		code = cmd_fail(c, &e);
	} else if (c->help) {
		code = cmd_help(c);
	} else {
		if (fn(&in, &e) < 0)
			code = cmd_fail(c, &e);
		if (title && in.started)
			show_end(c, title, code);
	}
	env_release(in.hold);
	vec_release(&a->words);
	return code;
}

static bool take_word(const struct install_args *a, size_t *at, const char *word)
{
	if (*at >= a->words.n || strcmp(a->words.v[*at], word) != 0)
		return false;
	++*at;
	return true;
}

static int no_more_words(const struct install *in, size_t at, struct err *e)
{
	const struct cmd *cmd = in->c->cmd;
	return at < in->a->words.n
		       ? err_new(e, ERR_USAGE,
				 "unexpected word '%s'; 'slipway %s %s --help' shows which words there are, in "
				 "which order",
				 in->a->words.v[at], cmd->noun, cmd->verb)
		       : 0;
}

static int read_timer(const struct install_args *a, size_t *at, int64_t *ret_ms, struct err *e)
{
	uint64_t minutes;
	*ret_ms = 0;
	if (a->auto_abort && cmd_parse_duration(a->auto_abort, "--auto-abort", ret_ms, e) < 0)
		return -1;
	if (!take_word(a, at, "auto-abort-timer"))
		return 0;
	if (*at >= a->words.n || !str_to_u64(str_c(a->words.v[*at]), &minutes) || !minutes || minutes > 30 * 24 * 60)
		return err_new(e, ERR_USAGE,
			       "auto-abort-timer wants minutes, from 1 to 43200; --auto-abort takes 90s or 2h");
	++*at;
	*ret_ms = (int64_t)minutes * 60000;
	return 0;
}

/* What was laid out may be what was signed once, and is no longer. */
static int is_signed(struct install *in, uint32_t generation, struct err *e)
{
	struct cmd_context *c = in->c;
	struct env_spec_file lock;
	if (!c->config.require_signed_plan.n || !generation)
		return 0;
	return env_generation_lock(c->state, &c->arena, in->name, generation, &lock, e) < 0
		       ? -1
		       : cmd_plan_check(c, in->name, &lock, NULL, NULL, e);
}

static int is_added_signed(struct install *in, struct err *e)
{
	struct upgrade_status s;
	return upgrade_status(in->c->state, &in->c->arena, in->name, &s, e) < 0 ? -1 : is_signed(in, s.to, e);
}

static int activate(struct install *in, struct err *e)
{
	struct upgrade_request q = {.verb = UPGRADE_ACTIVATE, .stop_at_deprecated = in->a->stop_at_deprecated};
	size_t at = 0;
	q.issu = take_word(in->a, &at, "issu");
	in->doing = q.issu ? "Activating ISSU" : "Activating PACKAGE";
	if (read_timer(in->a, &at, &q.timer_ms, e) < 0)
		return -1;
	q.then_commit = take_word(in->a, &at, "commit");
	return no_more_words(in, at, e) < 0 || begin(in, e) < 0 ||
			       (!in->a->override_frozen && in->info.name.n &&
				env_refuse_frozen(in->c->state, in->name, e) < 0) ||
			       is_added_signed(in, e) < 0
		       ? -1
		       : run_verb(in, &q, "activate", e);
}

int cmd_install_activate(struct cmd_context *c, int argc, char **argv)
{
	struct install_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, "auto-abort", CMD_TEXT, &a.auto_abort},
		{0, "stop-at-deprecated", CMD_FLAG, &a.stop_at_deprecated},
		{0, "override-frozen", CMD_FLAG, &a.override_frozen},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, "install_activate", activate);
}

/* Nothing is uncommitted, because the timer was there first: says so. */
static int tell_timer(struct install *in, struct err *e)
{
	struct cmd_context *c = in->c;
	struct err ignored = ERR_INIT;
	struct upgrade_status s;
	struct env_history_entry *h;
	size_t n;
	auto_buf date = BUF_INIT(100);
	if (upgrade_find_status(c->state, &c->arena, in->name, &s, &ignored) < 0 || s.in_progress ||
	    env_history(c->state, &c->arena, in->name, &h, &n, &ignored) < 0)
		return -1;
	while (n && str_starts(h[n - 1].result, STR("refused")))
		n--;
	if (!n || !str_eq(h[n - 1].operation, STR("auto-abort")))
		return -1;
	clock_put_date(&date, h[n - 1].at_ms);
	auto_free char *refusal = xstrdup(e->msg);
	return err_new(e, e->code, "%s; the auto-abort timer ended before: back on generation %u since %s", refusal,
		       h[n - 1].to, date.p);
}

static bool is_in_progress(const struct install *in)
{
	struct err ignored = ERR_INIT;
	struct upgrade_status s;
	return upgrade_find_status(in->c->state, &in->c->arena, in->name, &s, &ignored) < 0 || s.in_progress;
}

static int commit(struct install *in, struct err *e)
{
	const struct upgrade_request q = {.verb = UPGRADE_COMMIT};
	in->doing = "Committing ISSU";
	if (no_more_words(in, 0, e) < 0 || begin(in, e) < 0)
		return -1;
	if (run_verb(in, &q, "commit", e) == 0)
		return 0;
	bool refused = e->code == ERR_FAILED;
	(void)tell_timer(in, e);
	if (refused && in->u.settled && !is_in_progress(in)) /* by this very command */
		e->code = ERR_ROLLED_BACK;
	return -1;
}

int cmd_install_commit(struct cmd_context *c, int argc, char **argv)
{
	struct install_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, "install_commit", commit);
}

static int abort_it(struct install *in, struct err *e)
{
	struct upgrade_request q = {.verb = UPGRADE_ABORT, .keep_state = in->a->keep_state};
	size_t at = 0;
	q.issu = take_word(in->a, &at, "issu");
	in->doing = "Abort type ISSU";
	return no_more_words(in, at, e) < 0 || begin(in, e) < 0 ? -1 : run_verb(in, &q, "abort", e);
}

int cmd_install_abort(struct cmd_context *c, int argc, char **argv)
{
	struct install_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, "keep-state", CMD_FLAG, &a.keep_state},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, "install_abort", abort_it);
}

static int stop_timer(struct install *in, struct err *e)
{
	const struct upgrade_request q = {.verb = UPGRADE_STOP_TIMER};
	size_t at = 0;
	if (!take_word(in->a, &at, "stop"))
		return err_new(e, ERR_USAGE, "what about the timer? as in: slipway install auto-abort-timer stop");
	return no_more_words(in, at, e) < 0 || begin(in, e) < 0 ? -1 : run_verb(in, &q, "auto-abort-timer stop", e);
}

int cmd_install_timer(struct cmd_context *c, int argc, char **argv)
{
	struct install_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, "auto_abort_timer_stop", stop_timer);
}

static int clear_state(struct install *in, struct err *e)
{
	const struct upgrade_request q = {.verb = UPGRADE_CLEAR};
	size_t at = 0;
	if (!take_word(in->a, &at, "state"))
		return err_new(e, ERR_USAGE, "clear what? as in: slipway clear install state");
	return no_more_words(in, at, e) < 0 || begin(in, e) < 0 ? -1 : run_verb(in, &q, "clear install state", e);
}

int cmd_clear_install(struct cmd_context *c, int argc, char **argv)
{
	struct install_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, "clear_install_state", clear_state);
}

/* -- rollback ------------------------------------------------------------------------------------------------------- */

/* A number, a label or "committed". */
static int read_generation(struct install *in, const char *word, uint32_t *ret, struct err *e)
{
	struct err why = ERR_INIT;
	uint64_t number;
	bool is_number = str_to_u64(str_c(word), &number);
	struct str label = str_c(word);
	if (is_number ? !number || number >= UINT32_MAX : env_name_check(label, &why) < 0)
		return err_new(e, ERR_USAGE, "'%s' is not a generation; 'slipway env history -n %.*s' lists them", word,
			       STR_ARG(in->name));
	return env_find_generation(in->c->state, in->name, label, ret, e);
}

/* "rollback", "rollback to 3", "rollback 3", "rollback to committed"; with an upgrade under way it goes where that came from. */
static int wanted_generation(struct install *in, const struct upgrade_status *s, uint32_t *ret, struct err *e)
{
	const struct install_args *a = in->a;
	size_t at = a->words.n && strcmp(a->words.v[0], "to") == 0 ? 1 : 0;
	if (a->words.n > at + 1 || (at && a->words.n == 1))
		return err_new(e, ERR_USAGE,
			       "rollback to which generation? as in: slipway install rollback -n %.*s to 3",
			       STR_ARG(in->name));
	if (a->words.n > at)
		return read_generation(in, a->words.v[at], ret, e);
	if (s->in_progress) {
		*ret = s->from;
		return 0;
	}
	return env_generation_before(in->c->state, in->name, in->info.current, ret, e);
}

/* Nothing without --json. On a pair what runs then has a number of its own: a copy of `to`. */
static int rollback_json(struct install *in, uint32_t from, uint32_t to, const struct env_plan *p, struct err *e)
{
	struct cmd_context *c = in->c;
	struct env_info info;
	auto_answer a = {0};
	if (!c->json)
		return 0;
	if (env_find(c->state, &c->arena, in->name, &info, e) < 0)
		return -1;
	struct jw *w = cmd_answer(&a);
	jw_kv_str(w, "environment", in->name);
	jw_kv_c(w, "operation", "rollback");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_int(w, "from", from);
	jw_kv_int(w, "to", to);
	jw_kv_int(w, "added", p ? (int64_t)p->added_n : 0);
	jw_kv_int(w, "changed", p ? (int64_t)p->changed_n : 0);
	jw_kv_int(w, "removed", p ? (int64_t)p->removed_n : 0);
	jw_kv_int(w, "current", info.current);
	cmd_put_checks(w, &in->u);
	return cmd_answer_print(c, &a);
}

struct rollback_prepare {
	struct install *in;
	struct env_plan *plan;
};

/* On a pair: its packages may be in no store any more. */
static int prepare_rollback(void *ctx, struct err *e)
{
	struct rollback_prepare *r = ctx;
	struct cmd_context *c = r->in->c;
	if (cmd_upgrade_unchanged(&r->in->u, e) < 0 || (!c->offline && cmd_need_transfer(c, e) < 0))
		return -1;
	return env_prepare(c->store, c->offline ? NULL : c->transfer, r->plan, &r->in->u.o.env_opts, &c->arena, e);
}

static int run_rollback(struct install *in, uint32_t to, bool in_progress, struct env_plan *p, struct err *e)
{
	struct rollback_prepare prepare = {in, p};
	struct upgrade_request q = {
		.verb = UPGRADE_ROLLBACK,
		.generation = to,
		.operation = in_progress || in->u.paired ? NULL : "rollback",
		.keep_state = in->a->keep_state,
	};
	if (in->u.paired) { /* each member numbers its own generations: the recipe is what both have */
		q.issu = true;
		q.plan = in_progress ? NULL : p;
		q.prepare = prepare_rollback;
		q.prepare_ctx = &prepare;
	}
	if (!in->c->dry_run)
		return cmd_upgrade_run(&in->u, &q, e);
	return upgrade_may(&in->u.o, &q, e) < 0 || (!in_progress && cmd_upgrade_checks(&in->u, &q, e) < 0) ? -1 : 0;
}

/* Both members run what that generation consists of: as a copy of it, perhaps. */
static int runs_already(struct install *in, const struct env_plan *p, bool *ret, struct err *e)
{
	struct pair_status s;
	*ret = false;
	if (!in->pair || p->added_n || p->changed_n || p->removed_n)
		return 0;
	if (cmd_pair_members(in->c, in->name, &s, e) < 0)
		return -1;
	const struct pair_member_status *x = &s.member[1], *y = &s.member[2];
	*ret = x->reachable && y->reachable && x->recipe.n && str_eq(x->recipe, y->recipe);
	return 0;
}

static void say_rolled_back(struct install *in, uint32_t to, bool in_progress)
{
	struct cmd_context *c = in->c;
	bool copies = in->pair && !in_progress;
	struct err ignored = ERR_INIT;
	struct env_info now = {0};
	if (c->dry_run && copies)
		cmd_say(c, "a new generation on each member, a copy of generation %u, becomes current and committed",
			to);
	else if (!c->dry_run && copies && env_find(c->state, &c->arena, in->name, &now, &ignored) > 0)
		cmd_say(c, "'%.*s' runs the packages of generation %u again, on both members: here as generation %u",
			STR_ARG(in->name), to, now.current);
	else if (!c->dry_run)
		cmd_say(c, "'%.*s' is at generation %u again", STR_ARG(in->name), to);
}

static int rollback_to(struct install *in, uint32_t to, bool in_progress, struct err *e)
{
	struct cmd_context *c = in->c;
	struct env_spec_file before, target;
	struct env_plan p;
	bool runs = false;
	if (env_generation_lock(c->state, &c->arena, in->name, 0, &before, e) < 0 ||
	    env_generation_lock(c->state, &c->arena, in->name, to, &target, e) < 0 ||
	    env_plan(&target, &before, in->u.paired ? c->store : NULL, &c->arena, &p, e) < 0 ||
	    (!in_progress && runs_already(in, &p, &runs, e) < 0))
		return -1;
	if (runs) {
		cmd_say(c, "nothing to do: '%.*s' runs the packages of generation %u already, as generation %u",
			STR_ARG(in->name), to, in->info.current);
		return rollback_json(in, in->info.current, to, &p, e);
	}
	cmd_say(c, "generation %u -> %u: %zu to add, %zu to change, %zu to remove", in->info.current, to, p.added_n,
		p.changed_n, p.removed_n);
	if (run_rollback(in, to, in_progress, &p, e) < 0)
		return -1;
	say_rolled_back(in, to, in_progress);
	return rollback_json(in, in->info.current, to, &p, e);
}

static int rollback(struct install *in, struct err *e)
{
	struct cmd_context *c = in->c;
	struct upgrade_status s;
	uint32_t to = 0;
	if (begin(in, e) < 0 || upgrade_status(c->state, &c->arena, in->name, &s, e) < 0)
		return -1;
	if (!in->info.name.n)
		return err_new(
			e, ERR_NOT_FOUND,
			"environment '%.*s' has no version yet to go back to; 'slipway install abort -n %.*s' undoes the "
			"add",
			STR_ARG(in->name), STR_ARG(in->name));
	if ((!in->a->override_frozen && env_refuse_frozen(c->state, in->name, e) < 0) ||
	    wanted_generation(in, &s, &to, e) < 0)
		return -1;
	const struct upgrade_request q = {.verb = UPGRADE_ROLLBACK, .generation = to};
	if (s.in_progress && upgrade_may(&in->u.o, &q, e) < 0) /* before a plan is told */
		return -1;
	if (to == in->info.current && !s.in_progress) {
		cmd_say(c, "'%.*s' is at generation %u already", STR_ARG(in->name), to);
		return rollback_json(in, to, to, NULL, e);
	}
	if (!s.in_progress && is_signed(in, to, e) < 0) /* an upgrade that fails goes back whatever is signed */
		return -1;
	if (c->dry_run && s.in_progress)
		cmd_say(c,
			"an install operation is in state '%.*s': to go back is to abort it, and is checked by nothing",
			STR_ARG(s.state));
	return rollback_to(in, to, s.in_progress, e);
}

int cmd_install_rollback(struct cmd_context *c, int argc, char **argv)
{
	struct install_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, "keep-state", CMD_FLAG, &a.keep_state},
		{0, "override-frozen", CMD_FLAG, &a.override_frozen},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, NULL, rollback);
}

/* -- label ---------------------------------------------------------------------------------------------------------- */

static int label(struct install *in, struct err *e)
{
	struct cmd_context *c = in->c;
	const struct cmd_list *words = &in->a->words;
	uint32_t number;
	if (words->n != 2)
		return err_new(e, ERR_USAGE,
			       "label which generation, and how? as in: slipway install label 3 stable; an empty name "
			       "takes a label away");
	in->own = true;
	if (env_label_check(str_c(words->v[1]), e) < 0 || begin(in, e) < 0 ||
	    read_generation(in, words->v[0], &number, e) < 0)
		return -1;
	const struct env_history_entry x = {
		.at_ms = clock_wall_ms(),
		.operation = STR("label"),
		.command = str_c(c->command_line),
		.result = STR("done"),
		.from = number,
		.to = number,
		.who = str_c(in->u.o.env_opts.who),
	};
	if (!c->dry_run &&
	    (env_label(in->hold, number, str_c(words->v[1]), e) < 0 || env_history_add(in->hold, &x, e) < 0))
		return -1;
	if (words->v[1][0])
		cmd_say(c, "generation %u of '%.*s' is '%s'", number, STR_ARG(in->name), words->v[1]);
	else
		cmd_say(c, "generation %u of '%.*s' has no label", number, STR_ARG(in->name));
	if (in->pair)
		cmd_say(c,
			"on this member alone: the other one's 'remove inactive' and 'rollback to' know its own labels; "
			"label it there too");
	auto_answer a = {0};
	if (!c->json)
		return 0;
	struct jw *w = cmd_answer(&a);
	jw_kv_str(w, "environment", in->name);
	jw_kv_c(w, "operation", "label");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_int(w, "generation", number);
	jw_kv_c(w, "label", words->v[1]);
	return cmd_answer_print(c, &a);
}

int cmd_install_label(struct cmd_context *c, int argc, char **argv)
{
	struct install_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, NULL, label);
}

/* -- remove inactive ------------------------------------------------------------------------------------------------ */

static int add_size(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	uint64_t *sum = ctx;
	(void)dirfd, (void)name, (void)rel, (void)e;
	/* A file that has other links (the store's, another generation's) frees nothing. */
	if (S_ISDIR(st->st_mode) || st->st_nlink == 1)
		*sum += (uint64_t)st->st_blocks * 512;
	return 0;
}

struct removal {
	struct env_generation_info *v, *kept; /* kept: by their labels */
	size_t n, kept_n;
	uint64_t freed;
	bool is_one;   /* by its number, which is this member's alone */
	bool gives_up; /* the upgrade under way: what was added goes with it */
};

/* What was added and is not active goes with the operation, whatever its label: nobody can go back to what never ran. */
static int choose_removals(struct install *in, uint32_t number, struct removal *r, struct err *e)
{
	struct cmd_context *c = in->c;
	struct env_generation_info *all;
	struct upgrade_status s;
	size_t n;
	if (env_generations(c->state, &c->arena, in->name, &all, &n, e) < 0 ||
	    upgrade_status(c->state, &c->arena, in->name, &s, e) < 0)
		return -1;
	r->is_one = number;
	r->v = arena_array(&c->arena, struct env_generation_info, n);
	r->kept = arena_array(&c->arena, struct env_generation_info, n);
	for (size_t i = 0; i < n; i++) {
		if (number ? all[i].number != number : all[i].state != ENV_INACTIVE)
			continue;
		if (!number && all[i].label.n && !(s.in_progress && all[i].number == s.to)) {
			r->kept[r->kept_n++] = all[i];
			continue;
		}
		const char *dir = arena_printf(&c->arena, "env/%.*s/%u", STR_ARG(in->name), all[i].number);
		r->gives_up |= s.in_progress && all[i].number == s.to;
		if (fs_walk(c->root_fd, dir, add_size, &r->freed, e) < 0)
			return -1;
		r->v[r->n++] = all[i];
	}
	return 0;
}

static int removed_answer(struct install *in, const struct removal *r)
{
	struct cmd_context *c = in->c;
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_str(w, "environment", in->name);
	jw_kv_c(w, "operation", "remove inactive");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_int(w, "current", in->info.current);
	jw_key(w, "removed");
	jw_array(w);
	for (size_t i = 0; i < r->n; i++)
		jw_int(w, r->v[i].number);
	jw_array_end(w);
	jw_key(w, "kept_by_label");
	jw_array(w);
	for (size_t i = 0; i < r->kept_n; i++)
		jw_int(w, r->kept[i].number);
	jw_array_end(w);
	jw_kv_bool(w, "gives_up", r->gives_up);
	jw_kv_int(w, "freed_bytes", (int64_t)r->freed);
	return cmd_answer_print(c, &a);
}

static void say_removed(struct install *in, const struct removal *r)
{
	struct cmd_context *c = in->c;
	auto_buf list = BUF_INIT(BUF_MAX), size = BUF_INIT(64);
	bool joined;
	for (size_t i = 0; i < r->n; i++)
		buf_printf(&list, "%s%u", i ? ", " : "", r->v[i].number);
	cmd_say(c, "%s of '%.*s': %s; generation %u stays current",
		c->dry_run ? "would remove generations" : "removed generations", STR_ARG(in->name),
		r->n ? list.p : "none", in->info.current);
	if (r->gives_up)
		cmd_say(c, "%s: what was added is among them",
			c->dry_run ? "the upgrade under way would be given up" : "the upgrade under way is given up");
	for (size_t i = 0; i < r->kept_n; i++)
		cmd_say(c,
			"kept: generation %u, whose label is '%.*s'; 'slipway install remove inactive %u -n %.*s' removes it",
			r->kept[i].number, STR_ARG(r->kept[i].label), r->kept[i].number, STR_ARG(in->name));
	if (in->pair && !r->is_one)
		cmd_say(c,
			"member %u: %s its own inactive ones, but for those with a label there: each member has its own labels",
			3 - cmd_show_member(c, &joined), c->dry_run ? "would remove" : "removed");
	out_put_size(&size, r->freed);
	if (r->n)
		cmd_say(c, "%s: %s; packages that nothing uses any more stay in the store until 'slipway store gc'",
			c->dry_run ? "would be freed" : "freed", size.p);
}

static int refuse_in_use(struct install *in, uint32_t number, struct err *e)
{
	struct cmd_context *c = in->c;
	struct env_generation_info *g;
	size_t n;
	if (!number || (number != in->info.current && number != in->info.committed))
		return 0;
	if (env_generations(c->state, &c->arena, in->name, &g, &n, e) < 0)
		return -1;
	if (number == in->info.current)
		return err_new(e, ERR_FAILED, "generation %u of '%.*s' is the current one%s", number, STR_ARG(in->name),
			       n > 1 ? "; roll back to another one first" : ", and the only one");
	return err_new(e, ERR_FAILED,
		       "generation %u of '%.*s' is the committed one, which 'slipway install abort issu -n %.*s' goes "
		       "back to; 'slipway install commit -n %.*s' lets go of it",
		       number, STR_ARG(in->name), STR_ARG(in->name), STR_ARG(in->name));
}

/* "remove inactive [N]" */
static int remove_inactive(struct install *in, struct err *e)
{
	struct cmd_context *c = in->c;
	const struct cmd_list *words = &in->a->words;
	struct upgrade_request q = {.verb = UPGRADE_REMOVE_INACTIVE};
	struct removal r = {0};
	if (!words->n || strcmp(words->v[0], "inactive") != 0 || words->n > 2)
		return err_new(e, ERR_USAGE,
			       "remove which generations? as in: slipway install remove inactive -n NAME, or: "
			       "slipway install remove inactive 3 -n NAME");
	if (begin(in, e) < 0 || (words->n == 2 && read_generation(in, words->v[1], &q.generation, e) < 0))
		return -1;
	if (refuse_in_use(in, q.generation, e) < 0 || choose_removals(in, q.generation, &r, e) < 0)
		return -1;
	if (!c->dry_run)
		cmd_if_interrupted(c,
				   "'slipway env history -n %.*s' shows which generations are left; files of others go "
				   "with the next change",
				   STR_ARG(in->name));
	if (c->dry_run ? upgrade_may(&in->u.o, &q, e) < 0 : cmd_upgrade_run(&in->u, &q, e) < 0)
		return -1;
	say_removed(in, &r);
	return c->json ? removed_answer(in, &r) : 0;
}

int cmd_install_remove(struct cmd_context *c, int argc, char **argv)
{
	struct install_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, NULL, remove_inactive);
}

/* -- add ------------------------------------------------------------------------------------------------------------ */

static bool take_last(struct cmd_list *words, const char *word)
{
	if (!words->n || strcmp(words->v[words->n - 1], word) != 0)
		return false;
	words->n--;
	return true;
}

/* "… activate [issu] [commit]", from the end. */
static int take_keywords(struct cmd_list *words, struct cmd_install *in, struct err *e)
{
	in->commit = take_last(words, "commit");
	in->issu = take_last(words, "issu");
	in->activate = take_last(words, "activate");
	for (size_t i = 1; i + 1 < words->n; i++)
		if (strcmp(words->v[i], "activate") == 0)
			return err_new(
				e, ERR_USAGE,
				"'%s' is no word that comes behind 'activate': what does is 'issu', 'commit' or 'issu "
				"commit', at the end; a package of the name 'activate' is asked for as 'activate=*'",
				words->v[words->n - 1]);
	if (!in->activate && (in->commit || in->issu))
		return err_new(e, ERR_USAGE,
			       "'%s' comes behind 'activate', as in: slipway install add FILE activate issu commit",
			       in->commit ? "commit" : "issu");
	return 0;
}

static int read_auto_abort(const char *text, struct cmd_install *in, struct err *e)
{
	if (text && !in->activate)
		return err_new(e, ERR_USAGE,
			       "--auto-abort is for what is activated, and this only adds: give it to 'slipway install "
			       "activate', or as in: slipway install add FILE activate issu --auto-abort %s",
			       text);
	return text ? cmd_parse_duration(text, "--auto-abort", &in->timer_ms, e) : 0;
}

static bool ends_in(const char *word, const char *end)
{
	size_t n = strlen(word), k = strlen(end);
	return n > k && strcmp(word + n - k, end) == 0;
}

static bool is_recipe(const char *word)
{
	struct stat st;
	return strcmp(word, "-") == 0 || ends_in(word, ".spr") || ends_in(word, ".yml") || ends_in(word, ".yaml") ||
	       ((word[0] == '/' || word[0] == '.') && stat(word, &st) == 0 && S_ISREG(st.st_mode));
}

/* "[file] RECIPE", or specs. */
static int take_recipe(struct cmd_change_args *a, struct err *e)
{
	struct cmd_list *words = &a->words;
	bool says_file = words->n && strcmp(words->v[0], "file") == 0 && words->n == 2;
	if (!a->file && (says_file || (words->n == 1 && is_recipe(words->v[0])))) {
		a->file = words->v[words->n - 1];
		words->n = 0;
	}
	if (!a->file && !words->n)
		return err_new(e, ERR_USAGE,
			       "add what? as in: slipway install add web.spr, or: slipway install add 'web=1.1'");
	for (size_t i = 0; i < words->n; i++)
		if (is_recipe(words->v[i]))
			return err_new(e, ERR_USAGE, "'%s' is a recipe; one recipe, or specs, or -f RECIPE and specs",
				       words->v[i]);
	return 0;
}

static int add(struct cmd_context *c, struct cmd_change_args *a, const char *auto_abort, struct cmd_install *in,
	       struct err *e)
{
	if (take_keywords(&a->words, in, e) < 0 || take_recipe(a, e) < 0 || cmd_change_check(c, &a->options, e) < 0 ||
	    read_auto_abort(auto_abort, in, e) < 0)
		return cmd_fail(c, e);
	if (cmd_need_state(c, c->dry_run, e) < 0)
		return cmd_fail(c, e);
	const char *title = !in->activate ? "install_add"
			    : in->commit  ? "install_add_activate_commit"
					  : "install_add_activate";
	show_start(c, title, in->issu ? "Adding ISSU" : "Adding PACKAGE");
	return show_end(c, title, cmd_install_change(c, a, in));
}

int cmd_install_add(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_change_args a = {.options.wait_s = CMD_DEFAULT_WAIT_S};
	struct cmd_install in = {0};
	const char *auto_abort = NULL;
	const struct cmd_option options[] = {
		CMD_SOLVE_OPTIONS(&a.options.solve),
		CMD_CHANGE_OPTIONS(&a.options),
		{'n', "name", CMD_TEXT, &a.name},
		{'f', "file", CMD_TEXT, &a.file},
		{0, "all", CMD_FLAG, &a.all},
		{0, "remove", CMD_LIST, &a.remove},
		{0, "opam", CMD_FLAG, &a.opam},
		{0, "override-frozen", CMD_FLAG, &a.options.override_frozen},
		{0, "auto-abort", CMD_TEXT, &auto_abort},
		{0, "stop-at-deprecated", CMD_FLAG, &in.stop_at_deprecated},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int code = cmd_parse(c, options, false, argc, argv, &a.words, &e) < 0 ? cmd_fail(c, &e)
		   : c->help						      ? cmd_help(c)
									      : add(c, &a, auto_abort, &in, &e);
	cmd_change_args_release(&a);
	return code;
}
