// SPDX-License-Identifier: Apache-2.0
#include "cmd/upgrade.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/change.h"
#include "cmd/show_pair.h"
#include "cmd/upgrade_show.h"

/* Whether it is systemd where no agent runs: as configured, or because it runs this host and there is a manager for this user. What
 * an agent left running is an agent's. */
static bool is_systemds(struct cmd_context *c, struct str env)
{
	struct err ignored = ERR_INIT;
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	if (c->config.services == CONFIG_SERVICES_AGENT)
		return false;
	if (c->config.services != CONFIG_SERVICES_AUTO)
		return true;
	if (!systemd_booted() || agent_left_services(c->root_fd, env, &ignored))
		return false;
	auto_free char *manager = xasprintf("%s/systemd/private", runtime ? runtime : "");
	return geteuid() == 0 || (runtime && access(manager, F_OK) == 0);
}

static bool is_of_user(const struct cmd_context *c)
{
	return c->config.services == CONFIG_SERVICES_SYSTEMD_USER ||
	       (c->config.services == CONFIG_SERVICES_AUTO && geteuid() != 0);
}

static int open_systemd(struct cmd_context *c, struct err *e)
{
	auto_free char *program = realpath("/proc/self/exe", NULL);
	const struct systemd_opts o = {
		.root_fd = c->root_fd,
		.root_path = c->root_path,
		.program = program ? program : "/usr/bin/slipway",
		.of_user = is_of_user(c),
	};
	return c->systemd || systemd_open(&o, &c->systemd, e) == 0 ? 0 : -1;
}

int cmd_need_services(struct cmd_context *c, struct str env, const struct upgrade_services **ret, struct err *e)
{
	struct err none = ERR_INIT;
	*ret = &c->services;
	if (c->agent || agent_connect(c->root_fd, c->root_path, &c->agent, &none) == 0) {
		if (env.n && agent_working(c->agent, env, e) < 0)
			return -1;
		c->services = agent_services(c->agent);
		return 0;
	}
	if (cmd_need_config(c, e) < 0)
		return -1;
	if (none.code == ERR_NOT_FOUND && is_systemds(c, env)) {
		if (open_systemd(c, e) < 0)
			return -1;
		c->services = systemd_services(c->systemd);
		return 0;
	}
	*e = none;
	return -1;
}

const struct upgrade_services *cmd_services(struct cmd_context *c, struct str env)
{
	const struct upgrade_services *s;
	struct err e = ERR_INIT;
	if (cmd_need_services(c, env, &s, &e) == 0)
		return s;
	if (e.code != ERR_NOT_FOUND)
		cmd_warn(c, "%s; services stay as they are", e.msg);
	return NULL;
}

int cmd_refuse_agent(struct cmd_context *c, struct err *e)
{
	if (!is_systemds(c, STR_NONE))
		return 0;
	return open_systemd(c, e) < 0 ? -1 : systemd_refuse_agent(c->systemd, e);
}

int cmd_stop_services(struct cmd_context *c, struct str env, struct err *e)
{
	const struct upgrade_services *s = cmd_services(c, env);
	return s ? agent_stop_env(c->state, s, c->root_path, env, NULL, NULL, e) : 0;
}

const char *cmd_who(struct cmd_context *c)
{
	const char *sudo = getenv("SUDO_USER");
	uid_t uid = getuid();
	if (uid == 0 && sudo && sudo[0])
		return sudo;
	const struct passwd *p = getpwuid(uid);
	return p ? arena_strdup(&c->arena, str_c(p->pw_name)) : arena_printf(&c->arena, "%u", (unsigned)uid);
}

/* -- showing ------------------------------------------------------------------------------------------------------ */

static bool has_begun_to_change(const struct upgrade_event *v)
{
	return v->kind == UPGRADE_EVENT_BEGIN && strcmp(v->text, "Add") != 0 &&
	       strcmp(v->text, "initial file syncing") != 0;
}

static void on_event(void *ctx, const struct upgrade_event *v)
{
	struct cmd_upgrade *u = ctx;
	struct cmd_context *c = u->c;
	if (has_begun_to_change(v) && !u->signals_wait) {
		cmd_signals_wait(&u->signals);
		u->signals_wait = true;
	}
	if (u->paired && v->kind == UPGRADE_EVENT_BEGIN && strcmp(v->text, "Add") == 0)
		cmd_if_interrupted(
			c,
			"nothing that runs has changed; 'slipway show issu state detail -n %.*s' tells whether the add "
			"is undone, or done on both members",
			STR_ARG(u->o.env));
	if (v->kind == UPGRADE_EVENT_END && !v->failure)
		cmd_changed(c);
	u->show |= u->show_stages && v->kind == UPGRADE_EVENT_STAGE;
	upgrade_send(u, v);
	if (u->show && !c->json && !c->quiet)
		upgrade_show(u, v);
	else if (v->kind == UPGRADE_EVENT_NOTE && v->member && u->paired && !str_starts(str_c(v->text), STR("member ")))
		cmd_say(c, "note: member %u: %s", v->member, v->text);
	else if (v->kind == UPGRADE_EVENT_NOTE)
		cmd_say(c, "note: %s", v->text);
}

/* -- running ------------------------------------------------------------------------------------------------------ */

void cmd_upgrade_begin(struct cmd_upgrade *u, struct cmd_context *c, struct str env, struct env_hold *hold, bool show)
{
	*u = (struct cmd_upgrade){
		.c = c,
		.show = show,
		.o =
			{
				.state = c->state,
				.hold = hold,
				.env = env,
				.store = c->store,
				.services = hold ? cmd_services(c, env) : NULL,
				.env_opts =
					{
						.clock = &clock_system,
						.command = c->command_line,
						.who = cmd_who(c),
					},
				.root_fd = c->root_fd,
				.root_path = c->root_path,
				.reserve_bytes = c->config.reserve_bytes,
				.autostart_elsewhere = c->config.autostart_ignored,
				.event = on_event,
				.ctx = u,
			},
	};
}

int cmd_is_paired(struct cmd_context *c, struct err *e)
{
	struct pair p;
	int member = cmd_need_root(c, e) < 0 ? -1 : pair_read(c->root_fd, &c->arena, &p, e);
	return member > 0 ? p.joined : member;
}

int cmd_upgrade_pair(struct cmd_upgrade *u, int64_t wait_ms, struct err *e)
{
	int paired = cmd_is_paired(u->c, e);
	if (paired <= 0)
		return paired;
	u->paired = true;
	u->wait_ms = wait_ms;
	u->o.services = cmd_services(u->c, u->o.env);
	return 1;
}

static uint32_t current_of(const struct cmd_upgrade *u)
{
	struct env_info i;
	struct err gone = ERR_INIT;
	return env_get(u->c->state, &u->c->arena, u->o.env, &i, &gone) < 0 ? 0 : i.current;
}

int cmd_upgrade_unchanged(const struct cmd_upgrade *u, struct err *e)
{
	return !u->paired || current_of(u) == u->seen
		       ? 0
		       : err_new(e, ERR_BUSY, "'%.*s' was changed by another command meanwhile; ask for it again",
				 STR_ARG(u->o.env));
}

static void let_signals_go_on(struct cmd_upgrade *u)
{
	if (u->signals_wait)
		cmd_signals_go_on(&u->signals);
	u->signals_wait = false;
}

int cmd_upgrade_settle(struct cmd_upgrade *u, struct err *e)
{
	const struct pair_opts both = {.local = u->o, .wait_ms = u->wait_ms};
	bool shown = u->show;
	if (!u->o.hold && !u->paired)
		return 0;
	u->show = false; /* it belongs to another command */
	int rc = u->paired ? pair_settle(&both, e) : upgrade_settle(&u->o, e);
	u->show = shown;
	u->seen = current_of(u);
	u->settled = rc > 0;
	let_signals_go_on(u);
	return rc < 0 ? -1 : 0;
}

int cmd_upgrade_run(struct cmd_upgrade *u, const struct upgrade_request *q, struct err *e)
{
	u->o.store = u->c->store;
	u->o.reserve_bytes = u->c->config.reserve_bytes;
	u->o.autostart_elsewhere = u->c->config.autostart_ignored;
	const struct pair_opts both = {.local = u->o, .wait_ms = u->wait_ms};
	int rc = u->paired ? pair_run(&both, q, e) : upgrade_run(&u->o, q, e);
	if (rc < 0 && u->signals_wait) /* what one of them finds, when it may come */
		cmd_if_interrupted(u->c, "it did not come to its end: %s; 'slipway show install log -n %.*s' tells it",
				   e->msg, STR_ARG(u->o.env));
	let_signals_go_on(u);
	return rc;
}

/* -- a dry run ------------------------------------------------------------------------------------------------------ */

static const char *check_text(struct cmd_context *c, const struct upgrade_check *k)
{
	const char *who = k->member ? arena_printf(&c->arena, "member %u: ", k->member) : "";
	return k->finding.n ? arena_printf(&c->arena, "%s%.*s: %s%.*s; %.*s", who, STR_ARG(k->name),
					   k->advice ? "advice: " : "", STR_ARG(k->finding), STR_ARG(k->cure))
			    : arena_printf(&c->arena, "%.*s: passed", STR_ARG(k->name));
}

/* Of a pair: those that both are asked for, in place of this host's own of that name. */
static int check_pair(struct cmd_upgrade *u, const struct upgrade_request *q, struct err *e)
{
	struct cmd_context *c = u->c;
	struct pair_status p;
	struct upgrade_check *v, *all;
	size_t n, all_n = 0;
	int paired = cmd_pair_members(c, u->o.env, &p, e);
	if (paired <= 0)
		return paired;
	(void)pair_checks(&p, u->o.env, &c->arena, &v, &n);
	all = arena_array(&c->arena, struct upgrade_check, n + u->checks_n);
	bool both = p.member[1].reachable && p.member[2].reachable; /* else nobody knows the rest */
	for (size_t i = 0; i < n; i++)
		if ((v[i].finding.n || both) && pair_check_counts(&p, &v[i], q))
			all[all_n++] = v[i];
	for (size_t i = 0; i < u->checks_n; i++)
		if (!str_eq(u->checks[i].name, STR(PAIR_CHECK_MEDIA)) &&
		    !str_eq(u->checks[i].name, STR(PAIR_CHECK_AUTOBOOT)))
			all[all_n++] = u->checks[i];
	u->checks = all;
	u->checks_n = all_n;
	return 0;
}

int cmd_upgrade_checks(struct cmd_upgrade *u, const struct upgrade_request *q, struct err *e)
{
	struct cmd_context *c = u->c;
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	struct upgrade_check *v = NULL;
	int failed = 0;
	if (!u->o.services) /* who would be asked, without telling that something changes */
		u->o.services = cmd_services(c, STR_NONE);
	if (q->verb != UPGRADE_COMMIT && upgrade_preflight(&u->o, q, &c->arena, &v, &u->checks_n, e) < 0)
		return -1;
	u->checks = v;
	if (check_pair(u, q, e) < 0)
		return -1;
	for (size_t i = 0; i < u->checks_n; i++) {
		const struct upgrade_check *k = &u->checks[i];
		cmd_say(c, "check %s", check_text(c, k));
		if (!k->finding.n || k->advice)
			continue;
		buf_printf(&b, "\n  %s", check_text(c, k));
		failed++;
	}
	return failed ? err_new(e, ERR_FAILED, "%d check%s failed, nothing changed%s", failed, failed == 1 ? "" : "s",
				c->json || c->quiet ? b.p : " (see above)")
		      : 0;
}

static void put_check(struct jw *w, const void *ctx, size_t i)
{
	const struct upgrade_check *k = ctx;
	if (k[i].member)
		jw_kv_int(w, "member", k[i].member);
	jw_kv_str(w, "name", k[i].name);
	jw_kv_bool(w, "passed", !k[i].finding.n);
	jw_kv_bool(w, "advice", k[i].advice);
	jw_kv_str(w, "finding", k[i].finding);
	jw_kv_str(w, "cure", k[i].cure);
}

void cmd_put_checks(struct jw *w, const struct cmd_upgrade *u)
{
	if (u->checks_n)
		jw_kv_objects(w, "checks", u->checks_n, put_check, u->checks);
}

/* -- which environment -------------------------------------------------------------------------------------------- */

static bool is_listed(const struct env_info *v, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i].name, name))
			return true;
	return false;
}

static int by_name(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

int cmd_all_environments(struct cmd_context *c, struct str **ret, size_t *ret_n, struct err *e)
{
	struct env_info *v;
	struct str *busy;
	size_t n, busy_n;
	if (env_list(c->state, &c->arena, &v, &n, e) < 0 ||
	    env_operation_list(c->state, &c->arena, &busy, &busy_n, e) < 0)
		return -1;
	*ret = arena_array(&c->arena, struct str, n + busy_n);
	*ret_n = 0;
	for (size_t i = 0; i < n; i++)
		(*ret)[(*ret_n)++] = v[i].name;
	for (size_t i = 0; i < busy_n; i++)
		if (!is_listed(v, n, busy[i]))
			(*ret)[(*ret_n)++] = busy[i];
	if (*ret_n)
		qsort(*ret, *ret_n, sizeof(**ret), by_name);
	return 0;
}

int cmd_the_environment(struct cmd_context *c, const char *name, struct str *ret, struct err *e)
{
	enum { MAX_SHOWN = 10 };
	struct str *v;
	size_t n;
	auto_buf b = BUF_INIT(4096);
	if (name) {
		*ret = str_c(name);
		return env_name_check(*ret, e);
	}
	if (cmd_need_state(c, true, e) < 0 || cmd_all_environments(c, &v, &n, e) < 0)
		return -1;
	if (n == 1) {
		*ret = v[0];
		c->env_asked = arena_strdup(&c->arena, v[0]);
		return 0;
	}
	if (!n)
		return err_new(e, ERR_USAGE,
			       "no environment in '%s' yet; make one with: slipway install add SPEC -n NAME",
			       c->root_path);
	for (size_t i = 0; i < n && i < MAX_SHOWN; i++)
		buf_printf(&b, "%s%.*s", i ? ", " : ": ", STR_ARG(v[i]));
	return err_new(e, ERR_USAGE, "which environment? name it with -n NAME; there %s %zu%s%s", n == 1 ? "is" : "are",
		       n, b.n ? b.p : "", n > MAX_SHOWN ? ", ..." : "");
}

int cmd_refuse_in_progress(struct cmd_context *c, struct str env, struct env_hold *hold, struct err *e)
{
	struct upgrade_status s;
	struct cmd_upgrade u;
	cmd_upgrade_begin(&u, c, env, hold, false);
	if (cmd_upgrade_settle(&u, e) < 0 || upgrade_status(c->state, &c->arena, env, &s, e) < 0)
		return -1;
	return s.in_progress
		       ? err_new(e, ERR_FAILED,
				 "'%.*s' is in the middle of an upgrade, in state '%.*s'; '%.*s' goes on with it, "
				 "'slipway install abort issu -n %.*s' goes back",
				 STR_ARG(env), STR_ARG(s.state), STR_ARG(s.next), STR_ARG(env))
		       : 0;
}

/* -- times -------------------------------------------------------------------------------------------------------- */

int cmd_parse_duration(const char *text, const char *what, int64_t *ret_ms, struct err *e)
{
	static const struct {
		char letter;
		int64_t ms;
	} units[] = {{'s', 1000}, {'m', 60 * 1000}, {'h', 3600 * 1000}, {'d', 24 * 3600 * 1000}};
	const int64_t most = 30 * units[3].ms;
	struct str number = str_c(text);
	uint64_t n = 0;
	int64_t unit = 0;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (number.n && number.p[number.n - 1] == units[i].letter)
			unit = units[i].ms;
	if (!unit || !str_to_u64(str_head(number, number.n - 1), &n) || !n || n > (uint64_t)(most / unit))
		return err_new(e, ERR_USAGE, "%s is a time as 90s, 30m or 2h, from a second to 30 days; not '%s'", what,
			       text);
	*ret_ms = (int64_t)n * unit;
	return 0;
}

void cmd_put_countdown(struct buf *b, int64_t ms)
{
	long long s = (ms + 999) / 1000;
	buf_printf(b, "%02lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}
