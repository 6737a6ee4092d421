// SPDX-License-Identifier: Apache-2.0
/* This host as a member: its own state.db, its own services, its own copy of the role. */
#include <stdio.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"
#include "pair/config.h"
#include "pair/member.h"
#include "pair/role.h"
#include "version.h"

enum { LOOK_AT_TRAFFIC_MS = 2000 };

struct local {
	struct member m;       /* first */
	struct upgrade_opts o; /* hold and env: of what is held */
	char *env;
	struct env_hold *hold;
	int role_fd;			   /* its lock; -1: not held */
	const char *own_who, *own_command; /* where nobody else asks */
	struct store *own_store;	   /* where the caller has none: the agent serves many who need none */
	/* What was laid out is compared once for a generation: whoever waits for health looks often. */
	struct {
		uint32_t generation;
		bool managed;
	} compared;
};

void member_free(struct member *m)
{
	if (m)
		m->ops->free(m);
}

int member_err(uint32_t number, struct err *e)
{
	char own[16];
	int n = snprintf(own, sizeof(own), "member %u", number);
	bool named = strncmp(e->msg, own, (size_t)n) == 0 && (e->msg[n] == ':' || e->msg[n] == ' ');
	return named ? -1 : err_ctx(e, "%s", own);
}

struct str member_why(struct arena *a, uint32_t number, const struct err *e)
{
	char own[16];
	int n = snprintf(own, sizeof(own), "member %u", number);
	const char *rest = e->msg + n, *end;
	if (strncmp(e->msg, own, (size_t)n) != 0)
		rest = e->msg;
	else if (strncmp(rest, ": ", 2) == 0)
		rest += 2;
	else if (strncmp(rest, " (", 2) == 0 && (end = strstr(rest, "') at ")))
		return str_c(arena_printf(a, "%.*s%s", (int)(end - rest - 1), rest + 2, end + 2));
	else
		rest = e->msg;
	return str_c(arena_strdup(a, str_c(rest)));
}

static struct local *of(struct member *m)
{
	return (struct local *)m;
}

static void on_event(void *ctx, const struct upgrade_event *v)
{
	const struct local *l = ctx;
	struct upgrade_event told = *v;
	told.member = l->m.number;
	if (l->m.event)
		l->m.event(l->m.ctx, &told);
}

/* -- what it is like ------------------------------------------------------------------------------------------------ */

static void note_difference(void *ctx, const char *path, const char *what, const char *detail, struct str package)
{
	bool *managed = ctx;
	(void)path, (void)detail, (void)package;
	if (strcmp(what, "added") != 0) /* files of nobody are taken along */
		*managed = false;
}

static int compare(struct local *l, struct str env, uint32_t generation, bool *ret, struct err *e)
{
	*ret = true;
	if (!generation)
		return 0;
	if (l->compared.generation == generation && l->env && str_eq_c(env, l->env)) {
		*ret = l->compared.managed;
		return 0;
	}
	if (env_differences(l->o.state, env, generation, false, note_difference, ret, e) < 0)
		return -1;
	if (l->env && str_eq_c(env, l->env)) {
		l->compared.generation = generation;
		l->compared.managed = *ret;
	}
	return 0;
}

static const struct service_status *running(const struct service_status *s, size_t n, struct str env, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(s[i].env, env) && str_eq(s[i].name, name))
			return &s[i];
	return NULL;
}

/* The first of the environment's services that should run and does not, or is not healthy. */
static int look_at_services(struct local *l, struct arena *a, const struct env_info *info,
			    struct pair_member_status *ret, struct err *e)
{
	const struct service_decl **d;
	struct component *c;
	struct service_status *s = NULL;
	size_t c_n, d_n, s_n = 0;
	const char *prefix = arena_printf(a, "%s/env/%.*s/%u", l->o.root_path, STR_ARG(info->name), info->current);
	if (!info->current)
		return 0;
	if (component_read_all(a, prefix, &c, &c_n, e) < 0 || component_services(a, c, c_n, &d, &d_n, e) < 0)
		return -1;
	ret->idle = d_n && !info->started;
	if (!info->started)
		return 0;
	if (d_n && !l->o.services) {
		ret->unhealthy = STR("nothing here runs services: 'slipway agent' does");
		return 0;
	}
	if (d_n && l->o.services->status(l->o.services->ctx, a, &s, &s_n, e) < 0)
		return -1;
	for (size_t i = 0; i < s_n; i++)
		ret->leaving += str_eq(s[i].env, info->name) ? s[i].leaving : 0;
	for (size_t i = 0; i < d_n && !ret->unhealthy.n; i++) {
		const struct service_status *x = running(s, s_n, info->name, d[i]->name);
		if (!x || x->state != SERVICE_RUNNING)
			ret->unhealthy = str_c(arena_printf(a, "service '%.*s' is %s%s%.*s", STR_ARG(d[i]->name),
							    x ? service_state_name(x->state) : "not running",
							    x && x->why.n ? ": " : "", x ? (int)x->why.n : 0,
							    x ? x->why.p : ""));
	}
	return 0;
}

static int look_at_recipe(struct local *l, struct arena *a, struct str env, struct pair_member_status *ret,
			  struct err *e)
{
	struct env_spec_file lock;
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	if (env_generation_lock(l->o.state, a, env, ret->current, &lock, e) < 0)
		return -1;
	env_lock_digest(&lock, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	ret->recipe = arena_str(a, str_c(hex));
	return 0;
}

static int look_at_environment(struct local *l, struct arena *a, struct str env, struct pair_member_status *ret,
			       struct err *e)
{
	struct upgrade_status s;
	struct env_info info;
	ret->idle = true;
	int there = upgrade_find_status(l->o.state, a, env, &s, e);
	if (there <= 0) /* there may be none yet on this host */
		return there;
	ret->state = s.state;
	ret->operation_id = s.id;
	ret->running_version = s.running_version;
	ret->timer_left_ms = s.timer_left_ms;
	there = env_find(l->o.state, a, env, &info, e);
	if (there <= 0)
		return there;
	ret->current = info.current;
	ret->committed = info.committed;
	if (look_at_recipe(l, a, env, ret, e) < 0)
		return -1;
	if (compare(l, env, info.current, &ret->managed, e) < 0 || look_at_services(l, a, &info, ret, e) < 0)
		return -1;
	ret->healthy = ret->unhealthy.n == 0;
	return 0;
}

static int look_at_host(struct local *l, struct arena *a, struct pair_member_status *ret, struct err *e)
{
	struct statvfs v;
	struct timespec up;
	if (fstatvfs(l->o.root_fd, &v) < 0)
		return err_sys(e, "free space of '%s'", l->o.root_path);
	if (clock_gettime(CLOCK_BOOTTIME, &up) < 0)
		return err_sys(e, "read the clock");
	const struct clock *c = l->o.env_opts.clock ? l->o.env_opts.clock : &clock_system;
	ret->root = arena_str(a, str_c(l->o.root_path));
	ret->free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	ret->total_bytes = (uint64_t)v.f_blocks * v.f_frsize;
	ret->free_inodes = v.f_files ? v.f_favail : UINT64_MAX;
	ret->wall_ms = c->wall_ms(c);
	ret->uptime_ms = (int64_t)up.tv_sec * 1000 + up.tv_nsec / 1000000;
	return 0;
}

/* What cannot be asked is not known: that is no failure of the host. */
static int look_at_traffic(struct local *l, struct arena *a, struct str *ret, struct err *e)
{
	struct pair_config c;
	enum traffic_state s = TRAFFIC_IS_UNKNOWN;
	struct err ignored = ERR_INIT;
	if (pair_config_read(l->o.root_fd, l->o.root_path, a, &c, e) < 0)
		return -1;
	const struct traffic_opts t = {.config = &c.traffic, .self = l->m.number};
	if (!c.traffic.n)
		return 0;
	if (traffic_state(&t, l->m.number, clock_mono_ms() + LOOK_AT_TRAFFIC_MS, &s, &ignored) < 0)
		s = TRAFFIC_IS_UNKNOWN;
	*ret = str_c(traffic_state_name(s));
	return 0;
}

static int local_look(struct member *m, struct arena *a, struct str env, struct pair_member_status *ret, struct err *e)
{
	struct local *l = of(m);
	*ret = (struct pair_member_status){
		.number = m->number,
		.local = m->local,
		.reachable = true,
		.agent_version = STR(SLIPWAY_VERSION),
		.state = STR("none"),
		.managed = true,
		.healthy = true,
		.timer_left_ms = -1,
	};
	int starts = upgrade_autostart(&l->o, a, &ret->not_started, &ret->autostart_cure, e);
	ret->autostart = starts > 0;
	if (starts < 0 || look_at_host(l, a, ret, e) < 0 || look_at_traffic(l, a, &ret->traffic, e) < 0)
		return -1;
	return env.n ? look_at_environment(l, a, env, ret, e) : 0;
}

static int local_outcome(struct member *m, struct arena *a, struct str env, struct str id, struct str *ret,
			 bool *ret_held, struct err *e)
{
	struct local *l = of(m);
	int held = env_is_held(l->o.state, env, e);
	*ret_held = held > 0;
	return held < 0 ? -1 : upgrade_outcome(l->o.state, a, env, id, ret, e);
}

/* -- what is done with what is held --------------------------------------------------------------------------------- */

static void local_release(struct member *m)
{
	struct local *l = of(m);
	cleanup_fd(&l->role_fd);
	env_release(steal_ptr(&l->hold));
	free(steal_ptr(&l->env));
	l->o.hold = NULL;
	l->o.env = STR_NONE;
	l->compared.generation = 0;
}

static int local_hold(struct member *m, struct str env, int64_t wait_ms, struct err *e)
{
	struct local *l = of(m);
	if (l->hold)
		return err_new(e, ERR_USAGE, "member %u holds environment '%s' already", m->number, l->env);
	if (env_hold(l->o.state, env, wait_ms, &l->hold, e) < 0)
		return -1;
	l->o.env_opts.who = m->who ? m->who : l->own_who;
	l->o.env_opts.command = m->command ? m->command : l->own_command;
	l->env = str_dup(env);
	l->o.env = str_c(l->env);
	l->o.hold = l->hold;
	return 0;
}

static int need_hold(const struct local *l, struct err *e)
{
	return l->hold ? 0 : err_new(e, ERR_USAGE, "member %u holds no environment", l->m.number);
}

static int local_preflight(struct member *m, const struct upgrade_request *q, struct arena *a,
			   struct upgrade_check **ret, size_t *ret_n, struct err *e)
{
	struct local *l = of(m);
	struct upgrade_request mine = *q;
	mine.paired = true; /* what is asked of a person's request is asked of one of a pair */
	if (need_hold(l, e) < 0)
		return -1;
	int failed = upgrade_preflight(&l->o, &mine, a, ret, ret_n, e);
	for (size_t i = 0; failed >= 0 && i < *ret_n; i++)
		(*ret)[i].member = m->number;
	return failed;
}

/* The store that has them is its own. */
static int local_copy(struct member *m, const struct env_spec_file *lock, struct store *from, struct err *e)
{
	(void)m, (void)lock, (void)from, (void)e;
	return 0;
}

/* What lays a generation out takes it from the store. */
static int need_store(struct local *l, const struct upgrade_request *q, struct err *e)
{
	if (q->verb != UPGRADE_ADD || l->o.store)
		return 0;
	if (store_open(l->o.root_fd, 0, &l->own_store, e) < 0)
		return -1;
	l->o.store = l->own_store;
	return 0;
}

static int local_run(struct member *m, const struct upgrade_request *q, struct err *e)
{
	struct local *l = of(m);
	return need_hold(l, e) < 0 || need_store(l, q, e) < 0 ? -1 : upgrade_run(&l->o, q, e);
}

static int local_settle(struct member *m, struct err *e)
{
	struct local *l = of(m);
	return need_hold(l, e) < 0 ? -1 : upgrade_settle(&l->o, e);
}

/* -- traffic -------------------------------------------------------------------------------------------------------- */

/* A step comes from another process, whose configuration may be another one: it is made anew from this member's own. */
static int local_traffic(struct member *m, const struct traffic_step *s, int64_t wait_ms,
			 enum traffic_step_kind *ret_undo, struct err *e)
{
	struct local *l = of(m);
	auto_arena a = ARENA_INIT;
	struct pair_config c;
	struct traffic_step own;
	if (pair_config_read(l->o.root_fd, l->o.root_path, &a, &c, e) < 0)
		return -1;
	if (!traffic_step_at(&a, &c.traffic, s->kind, s->driver, s->member, &own))
		return err_new(e, ERR_INPUT,
			       "'%s/pair.yml' has no such step of traffic; it must be the same on both members",
			       l->o.root_path);
	if (own.on && own.on != m->number)
		return err_new(e, ERR_INPUT, "%.*s: this is for member %u, not for member %u", STR_ARG(own.text),
			       own.on, m->number);
	const struct traffic_opts t = {.config = &c.traffic, .self = m->number};
	return traffic_do(&t, &own, clock_mono_ms() + wait_ms, ret_undo, e);
}

static int local_hold_role(struct member *m, int64_t wait_ms, struct err *e)
{
	struct local *l = of(m);
	if (need_hold(l, e) < 0)
		return -1;
	if (l->role_fd < 0)
		l->role_fd = role_lock(l->o.root_fd, wait_ms, e);
	return l->role_fd < 0 ? -1 : 0;
}

static int local_role_get(struct member *m, struct arena *a, struct pair_role *ret, struct err *e)
{
	return role_read(of(m)->o.root_fd, a, ret, e);
}

static int local_role_set(struct member *m, const struct pair_role *r, struct err *e)
{
	return role_write(of(m)->o.root_fd, r, e);
}

static int local_log(struct member *m, struct str id, const struct env_operation_step *s, struct err *e)
{
	struct local *l = of(m);
	return need_hold(l, e) < 0 ? -1 : env_operation_log(l->hold, id, s, e);
}

static void local_free(struct member *m)
{
	local_release(m);
	store_free(of(m)->own_store);
	free(of(m));
}

int member_local(const struct pair_opts *o, uint32_t number, struct member **ret, struct err *e)
{
	static const struct member_ops ops = {
		.look = local_look,
		.outcome = local_outcome,
		.hold = local_hold,
		.release = local_release,
		.preflight = local_preflight,
		.copy = local_copy,
		.run = local_run,
		.settle = local_settle,
		.traffic = local_traffic,
		.hold_role = local_hold_role,
		.role_get = local_role_get,
		.role_set = local_role_set,
		.free = local_free,
		.log = local_log,
	};
	if (number < 1 || number > PAIR_MEMBERS)
		return err_new(e, ERR_USAGE, "there is no member %u; members are 1 and 2", number);
	struct local *l = xcalloc(1, sizeof(*l));
	*l = (struct local){.m = {.ops = &ops, .number = number, .local = true}, .o = o->local, .role_fd = -1};
	l->own_who = o->local.env_opts.who;
	l->own_command = o->local.env_opts.command;
	l->o.hold = NULL;
	l->o.event = on_event;
	l->o.ctx = l;
	*ret = &l->m;
	return 0;
}
