// SPDX-License-Identifier: Apache-2.0
/*
 * The services of a host that systemd runs, as units. Rules: systemd.service(5), systemd.socket(5), systemd-run(1), sd_booted(3).
 *
 * What is in the unit files is what should run; what does run is asked of systemd, and its generation of the process itself, because a
 * command may have died between the file and the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/proc.h"
#include "agent/units.h"

enum { QUICK_MS = 90000, SETTLED_MS = 500, AGAIN_MS = 200, SHOWN_MAX = 8 << 20, ENVIRON_MAX = 4 << 20 };

bool systemd_booted(void)
{
	struct stat st;
	return lstat("/run/systemd/system/", &st) == 0 && S_ISDIR(st.st_mode);
}

int systemd_open(const struct systemd_opts *o, struct systemd **ret, struct err *e)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	bool has_config = config && config[0] == '/';
	if (o->of_user && !has_config && (!home || home[0] != '/'))
		return err_new(e, ERR_FAILED, "units of a user belong in ~/.config/systemd/user, but HOME is not set");
	struct systemd *s = xcalloc(1, sizeof(*s));
	s->root_fd = o->root_fd;
	s->unit_fd = -1;
	s->of_user = o->of_user;
	s->root_path = xstrdup(o->root_path);
	s->program = xstrdup(o->program);
	s->unit_path = !o->of_user  ? xstrdup("/etc/systemd/system")
		       : has_config ? xasprintf("%s/systemd/user", config)
				    : xasprintf("%s/.config/systemd/user", home);
	*ret = s;
	return 0;
}

void systemd_free(struct systemd *s)
{
	if (!s)
		return;
	cleanup_fd(&s->unit_fd);
	free(s->root_path);
	free(s->program);
	free(s->unit_path);
	free(s);
}

/* -- what runs ------------------------------------------------------------------------------------------------------ */

static enum service_state state_of(struct str active)
{
	static const struct {
		const char *word;
		enum service_state state;
	} states[] = {
		{"active", SERVICE_RUNNING},	    {"reloading", SERVICE_RUNNING}, {"activating", SERVICE_STARTING},
		{"deactivating", SERVICE_STOPPING}, {"failed", SERVICE_FAILED},
	};
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (str_eq_c(active, states[i].word))
			return states[i].state;
	return SERVICE_STOPPED;
}

/* The generation that a process was started from; 0: not known. */
static uint32_t generation_of(pid_t pid)
{
	char path[64];
	auto_buf b = BUF_INIT(ENVIRON_MAX);
	struct err e = ERR_INIT;
	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	if (fs_read(AT_FDCWD, path, &b, &e) < 0)
		return 0;
	struct str rest = buf_str(&b), word;
	while (str_take_until(&rest, '\0', &word) || (word = rest, rest = STR_NONE, word.n)) {
		uint64_t n;
		if (str_take_str(&word, STR("SLIPWAY_GENERATION=")) && str_to_u64(word, &n) && n <= UINT32_MAX)
			return (uint32_t)n;
	}
	return 0;
}

struct shown {
	struct str id, active, result, status;
	uint64_t pid, restarts, since_us;
};

static void read_property(struct shown *x, struct str line)
{
	struct str key, value = line;
	if (!str_take_until(&value, '=', &key))
		return;
	if (str_eq_c(key, "Id"))
		x->id = value;
	else if (str_eq_c(key, "ActiveState"))
		x->active = value;
	else if (str_eq_c(key, "Result"))
		x->result = value;
	else if (str_eq_c(key, "ExecMainStatus"))
		x->status = value;
	else if (str_eq_c(key, "MainPID"))
		(void)str_to_u64(value, &x->pid);
	else if (str_eq_c(key, "NRestarts"))
		(void)str_to_u64(value, &x->restarts);
	else if (str_eq_c(key, "StateChangeTimestampMonotonic"))
		(void)str_to_u64(value, &x->since_us);
}

static int64_t wall_of(uint64_t mono_us)
{
	const struct clock *c = &clock_system;
	return mono_us ? c->wall_ms(c) - (c->mono_ms(c) - (int64_t)(mono_us / 1000)) : 0;
}

static struct service_status status_of(struct arena *a, const struct unit *u, const struct shown *x)
{
	struct service_status s = {
		.env = u->env,
		.name = u->service,
		.generation = u->generation,
		.state = state_of(x->active),
		.pid = (pid_t)x->pid,
		.since_ms = wall_of(x->since_us),
		.restarts = (uint32_t)x->restarts,
	};
	uint32_t really = s.pid ? generation_of(s.pid) : 0;
	if (really && really != s.generation) { /* somebody was in the middle of a hand-over */
		s.generation = really;
		s.state = SERVICE_HANDING_OVER;
	}
	if (s.state == SERVICE_FAILED)
		s.why = str_c(arena_printf(a, "%.*s, exit code %.*s", STR_ARG(x->result), STR_ARG(x->status)));
	return s;
}

static int show_units(const struct systemd *s, struct arena *a, const struct unit_list *units,
		      struct service_status **ret, size_t *ret_n, struct err *e)
{
	auto_buf out = BUF_INIT(SHOWN_MAX);
	*ret = arena_array(a, struct service_status, units->n);
	*ret_n = 0;
	vec_foreach(u, units) {
		struct shown x = {0};
		struct str text, line;
		if (units_is_socket(u))
			continue;
		const char *const words[] = {
			"show", u->name,
			"--property=Id,ActiveState,Result,ExecMainStatus,MainPID,NRestarts,StateChangeTimestampMonotonic",
			NULL};
		buf_clear(&out);
		if (ctl_run(s, words, QUICK_MS, &out, e) < 0)
			return -1;
		text = str_c(arena_strdup(a, buf_str(&out)));
		while (str_take_line(&text, &line))
			read_property(&x, line);
		(*ret)[(*ret_n)++] = status_of(a, u, &x);
	}
	return 0;
}

static int call_status(void *ctx, struct arena *a, struct service_status **ret, size_t *ret_n, struct err *e)
{
	struct systemd *s = ctx;
	auto_units units = {0};
	return units_list(s, a, STR_NONE, STR_NONE, &units, e) < 0 ? -1 : show_units(s, a, &units, ret, ret_n, e);
}

/* 1 and its status; 0: it has no unit */
static int one_status(struct systemd *s, struct arena *a, struct str env, struct str service,
		      struct service_status *ret, struct err *e)
{
	auto_units units = {0};
	struct service_status *v;
	size_t n;
	if (units_list(s, a, env, service, &units, e) < 0 || show_units(s, a, &units, &v, &n, e) < 0)
		return -1;
	if (n)
		*ret = v[0];
	return n > 0;
}

/* -- health ----------------------------------------------------------------------------------------------------------- */

struct asking {
	struct loop *loop;
	struct err *e;
	bool failed;
};

static void on_probe(void *ctx, const struct err *failure)
{
	struct asking *q = ctx;
	q->failed = failure != NULL;
	if (failure)
		*q->e = *failure;
	loop_stop(q->loop);
}

static int ask_one(const struct service_probe *p, const struct service_ref *r, struct err *e)
{
	auto_ptr(loop) l = NULL;
	auto_free char *own = NULL;
	struct err why = ERR_INIT;
	struct asking q = {.e = &why};
	if (p->kind != SERVICE_PROBE_COMMAND)
		own = xasprintf("%s/%.*s.sock", r->runtime_dir, STR_ARG(p->address));
	if (loop_new(&clock_system, &l, e) < 0)
		return -1;
	q.loop = l;
	struct probe_run *run = service_probe(l, p, r, own, r->decl->probe_timeout_ms, on_probe, &q);
	if (loop_run(l, e) < 0) {
		service_probe_cancel(run);
		return -1;
	}
	return q.failed ? (*e = why, -1) : 0;
}

static int ask_all(const struct service_ref *r, struct err *e)
{
	for (uint32_t i = 0; i < r->decl->probes_n; i++)
		if (ask_one(&r->decl->probes[i], r, e) < 0)
			return -1;
	return 0;
}

static void pause_ms(int64_t ms)
{
	(void)poll(NULL, 0, (int)ms);
}

static int is_running(struct systemd *s, const struct service_ref *r, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct service_status now = {0};
	if (one_status(s, &a, r->env, r->decl->name, &now, e) < 0)
		return -1;
	if (now.state == SERVICE_RUNNING && now.generation == r->generation)
		return 0;
	return err_new(e, ERR_FAILED,
		       "unit 'slipway-%.*s-%.*s' is %s%s%.*s; 'journalctl %s-u slipway-%.*s-%.*s' shows what it said",
		       STR_ARG(r->env), STR_ARG(r->decl->name), service_state_name(now.state), now.why.n ? ": " : "",
		       STR_ARG(now.why), s->of_user ? "--user " : "", STR_ARG(r->env), STR_ARG(r->decl->name));
}

/* It runs as this version, and its checks pass as often as declared; what has said that it is ready may fail no oftener than declared. */
static int wait_healthy(struct systemd *s, const struct service_ref *r, int64_t until_ms, struct err *e)
{
	const struct service_decl *d = r->decl;
	uint32_t passes = 0, failures = 0;
	if (d->ready == SERVICE_READY_STARTED)
		pause_ms(SETTLED_MS);
	for (;;) {
		struct err why = ERR_INIT;
		if (is_running(s, r, e) < 0)
			return -1;
		if (ask_all(r, &why) == 0)
			passes++, failures = 0;
		else
			passes = 0, failures++;
		if (passes >= d->probe_passes || (passes && !d->probes_n))
			return 0;
		if (failures && (clock_system.mono_ms(&clock_system) >= until_ms ||
				 (d->ready == SERVICE_READY_NOTIFY && failures >= d->probe_failures))) {
			*e = why;
			return err_ctx(e, "does not become healthy");
		}
		pause_ms(d->probe_interval_ms < AGAIN_MS ? d->probe_interval_ms : AGAIN_MS);
	}
}

/* -- start, hand-over, stop ------------------------------------------------------------------------------------------- */

static int64_t time_for(const struct service_decl *d)
{
	return d->start_timeout_ms + d->stop_timeout_ms + QUICK_MS;
}

static int may_run(const struct systemd *s, const struct service_ref *r, struct err *e)
{
	return s->of_user && r->decl->user.n
		       ? err_new(e, ERR_UNSUPPORTED, "it wants to run as user '%.*s': only root's systemd can do that",
				 STR_ARG(r->decl->user))
		       : 0;
}

/* The folder that SLIPWAY_RUNTIME_DIR names. */
static int make_runtime_dir(const struct systemd *s, struct service_ref *r, struct arena *a, struct err *e)
{
	const char *rel = arena_printf(a, "run/%.*s/%.*s", STR_ARG(r->env), STR_ARG(r->decl->name));
	r->runtime_dir = arena_printf(a, "%s/%s", s->root_path, rel);
	return fs_mkdirs(s->root_fd, rel, 0755, e);
}

/* Stops and forgets all units of a service. */
static int drop(struct systemd *s, struct arena *a, const struct unit_list *have, struct err *e)
{
	const char *words[CTL_WORDS_MAX] = {"stop", "--quiet"};
	const struct unit_list none = {0};
	size_t n = 2;
	vec_foreach(u, have)
		if (n + 1 < CTL_WORDS_MAX)
			words[n++] = u->name;
	if (n > 2 && ctl_run(s, words, 24 * 3600 * 1000, NULL, e) < 0)
		return -1;
	words[0] = "reset-failed";
	struct err ignored = ERR_INIT;
	(void)ctl_run(s, words, QUICK_MS, NULL, &ignored);
	return units_put(s, a, have, &none, e);
}

/* systemctl's "failed, see journal" gives way to what the unit itself is like. */
static int start_unit(struct systemd *s, const struct service_ref *r, const char *verb, struct err *e)
{
	auto_buf name = BUF_INIT(4096);
	struct err why = ERR_INIT;
	int64_t until_ms = clock_system.mono_ms(&clock_system) + r->decl->start_timeout_ms;
	service_unit_name(r, &name);
	buf_put_c(&name, ".service");
	if (ctl(s, time_for(r->decl), e, verb, name.p) < 0)
		return is_running(s, r, &why) < 0 ? (*e = why, -1) : -1;
	return wait_healthy(s, r, until_ms, e);
}

static int call_start(void *ctx, const struct service_ref *ref, struct err *e)
{
	struct systemd *s = ctx;
	auto_arena a = ARENA_INIT;
	auto_units have = {0};
	auto_units want = {0};
	struct service_ref r = *ref;
	struct service_status now = {0};
	struct err ignored = ERR_INIT;
	if (may_run(s, &r, e) < 0 || make_runtime_dir(s, &r, &a, e) < 0 ||
	    one_status(s, &a, r.env, r.decl->name, &now, e) < 0)
		return -1;
	if (now.state == SERVICE_RUNNING && now.generation == r.generation)
		return 0;
	if (now.state == SERVICE_RUNNING || now.state == SERVICE_HANDING_OVER)
		return err_new(e, ERR_EXISTS, "generation %u of it runs", now.generation);
	if (units_list(s, &a, r.env, r.decl->name, &have, e) < 0)
		return -1;
	units_make(s, &a, &r, &want);
	if (units_put(s, &a, &have, &want, e) == 0 && start_unit(s, &r, "start", e) == 0)
		return 0;
	if (e->code != ERR_EXISTS) /* another's */
		(void)drop(s, &a, &want, &ignored);
	return -1;
}

/* Those whose sockets are others, or none, in the other version: closed while nothing runs on them. */
static int close_sockets(const struct systemd *s, const struct unit_list *have, const struct unit_list *want,
			 const char *service, int64_t deadline_ms, struct err *e)
{
	const char *words[CTL_WORDS_MAX] = {"stop", "--quiet", service};
	size_t n = 3;
	vec_foreach(u, have) {
		const struct unit *v = units_find(want, u->name);
		if (units_is_socket(u) && (!v || !units_same_socket(u, v)) && n + 1 < CTL_WORDS_MAX)
			words[n++] = u->name;
	}
	return n > 3 ? ctl_run(s, words, deadline_ms, NULL, e) : 0;
}

static int change(struct systemd *s, struct arena *a, const struct service_ref *r, const struct unit_list *have,
		  const struct unit_list *want, struct err *e)
{
	if (close_sockets(s, have, want, want->v[0].name, time_for(r->decl), e) < 0 ||
	    units_put(s, a, have, want, e) < 0)
		return -1;
	return start_unit(s, r, "restart", e);
}

/* The version before, on the units that were there before. */
static int change_back(struct systemd *s, struct arena *a, const struct service_ref *r, const struct unit_list *had,
		       const struct unit_list *tried, struct err *e)
{
	const char *prefix;
	const struct service_decl *decl;
	struct service_ref old = *r;
	auto_units want = {0};
	old.generation = had->n ? had->v[had->n - 1].generation : 0;
	if (agent_find_service(a, s->root_path, r->env, old.generation, r->decl->name, &prefix, &decl, e) < 0)
		return -1;
	old.prefix = prefix;
	old.decl = decl;
	units_make(s, a, &old, &want);
	return change(s, a, &old, tried, &want, e);
}

static int call_hand_over(void *ctx, const struct service_ref *ref, struct err *e)
{
	struct systemd *s = ctx;
	auto_arena a = ARENA_INIT;
	auto_units have = {0};
	auto_units want = {0};
	struct service_ref r = *ref;
	struct err why = ERR_INIT, back = ERR_INIT;
	if (may_run(s, &r, e) < 0 || make_runtime_dir(s, &r, &a, e) < 0 ||
	    units_list(s, &a, r.env, r.decl->name, &have, e) < 0)
		return -1;
	units_make(s, &a, &r, &want);
	if (change(s, &a, &r, &have, &want, &why) == 0)
		return 0;
	*e = why;
	if (why.code == ERR_EXISTS || !have.n)
		return -1;
	e->code = change_back(s, &a, &r, &have, &want, &back) < 0 ? ERR_UNCERTAIN : ERR_ROLLED_BACK;
	return e->code == ERR_ROLLED_BACK
		       ? err_ctx(e, "the old version was started again")
		       : err_new(e, ERR_UNCERTAIN, "%s; and the old version did not come back: %s", why.msg, back.msg);
}

static int call_stop(void *ctx, struct str env, struct str service, struct err *e)
{
	struct systemd *s = ctx;
	auto_arena a = ARENA_INIT;
	auto_units have = {0};
	if (units_list(s, &a, env, service, &have, e) < 0)
		return -1;
	return have.n ? drop(s, &a, &have, e)
		      : err_new(e, ERR_NOT_FOUND, "service '%.*s' of '%.*s' has no unit", STR_ARG(service),
				STR_ARG(env));
}

static int call_check(void *ctx, struct str env, struct str service, struct err *e)
{
	struct systemd *s = ctx;
	auto_arena a = ARENA_INIT;
	struct service_status now;
	const char *prefix;
	const struct service_decl *decl;
	int rc = one_status(s, &a, env, service, &now, e);
	if (rc < 0)
		return -1;
	if (!rc)
		return err_new(e, ERR_NOT_FOUND, "it has no unit");
	if (agent_find_service(&a, s->root_path, env, now.generation, service, &prefix, &decl, e) < 0)
		return -1;
	struct service_ref r = {.env = env, .generation = now.generation, .prefix = prefix, .decl = decl};
	return make_runtime_dir(s, &r, &a, e) < 0 || is_running(s, &r, e) < 0 ? -1 : ask_all(&r, e);
}

/* -- the timer -------------------------------------------------------------------------------------------------------- */

/* A short name for a ROOT: FNV-1a. */
static uint32_t hash_of(const char *root_path)
{
	uint32_t h = 2166136261U;
	for (const char *p = root_path; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619U;
	return h;
}

/* What a boot begins with: an enabled unit, written once. */
static int put_settle_unit(struct systemd *s, struct err *e)
{
	auto_free char *name = xasprintf("slipway-settle-%08x.service", hash_of(s->root_path));
	auto_buf b = BUF_INIT(1 << 16);
	auto_buf there = BUF_INIT(1 << 16);
	struct err gone = ERR_INIT;
	buf_printf(
		&b,
		"# Written by slipway; changes here are lost.\n[Unit]\nDescription=Slipway: brings to rest what a boot came "
		"into in %s\nAfter=network.target local-fs.target\n\n[Service]\nType=oneshot\nEnvironment=SLIPWAY_SERVICES=%s\nExecStart=",
		s->root_path, s->of_user ? "systemd-user" : "systemd");
	service_put_quoted(&b, str_c(s->program), true);
	buf_put_c(&b, " --root ");
	service_put_quoted(&b, str_c(s->root_path), true);
	buf_printf(&b, " agent settle\nRestart=on-failure\nRestartSec=30\n\n[Install]\nWantedBy=%s.target\n",
		   s->of_user ? "default" : "multi-user");
	if (units_open(s, e) < 0)
		return -1;
	if (fs_read(s->unit_fd, name, &there, &gone) == 0 && str_eq(buf_str(&there), buf_str(&b)))
		return 0;
	return fs_replace(s->unit_fd, name, b.p, b.n, FS_REPLACE_SYNC, e) < 0 ||
			       ctl(s, QUICK_MS, e, "daemon-reload") < 0 ||
			       ctl(s, QUICK_MS, e, "enable", "--quiet", name) < 0
		       ? -1
		       : 0;
}

/* By two clocks: the one that stands still while the host sleeps, and the wall clock, which may be set. Whichever comes first, what is on
 * disk is looked at, and the timer is made anew where it has not ended. */
static int run_timer(const struct systemd *s, struct str env, int64_t left_ms, struct err *e)
{
	int64_t now_ms = clock_system.wall_ms(&clock_system);
	auto_free char *unit = xasprintf("--unit=slipway-%.*s:auto-abort-%lld", STR_ARG(env), (long long)now_ms);
	auto_free char *active = xasprintf("--on-active=%lldms", (long long)left_ms);
	auto_free char *calendar = xasprintf("--on-calendar=@%lld", (long long)((now_ms + left_ms) / 1000 + 1));
	auto_free char *name = str_dup(env);
	auto_buf said = BUF_INIT(1 << 16);
	const char *argv[] = {
		"systemd-run",
		s->of_user ? "--user" : "--system",
		"--no-ask-password",
		"--quiet",
		"--collect",
		unit,
		active,
		calendar,
		"--timer-property=AccuracySec=1s",
		s->of_user ? "--setenv=SLIPWAY_SERVICES=systemd-user" : "--setenv=SLIPWAY_SERVICES=systemd",
		"--property=Restart=on-failure",
		"--property=RestartSec=30s",
		"--property=StartLimitIntervalSec=0",
		"--",
		s->program,
		"--root",
		s->root_path,
		"agent",
		"settle",
		"-n",
		name,
		NULL,
	};
	const struct proc_opts o = {.argv = argv, .out = &said, .errout = &said, .deadline_ms = QUICK_MS};
	int status = proc_run(&o, e);
	if (status < 0)
		return err_ctx(e, "systemd-run");
	struct str line = buf_str(&said);
	(void)str_take_line(&line, &line);
	return status ? err_new(e, ERR_FAILED, "the auto-abort timer is on disk, but systemd does not ring it: %.*s",
				STR_ARG(str_trim(line)))
		      : 0;
}

static int call_timer_changed(void *ctx, struct str env, struct err *e)
{
	struct systemd *s = ctx;
	auto_ptr(env_state) st = NULL;
	auto_free char *others = xasprintf("slipway-%.*s:auto-abort-*.timer", STR_ARG(env));
	int64_t left_ms;
	if (env_state_open(s->root_fd, s->root_path, ENV_STATE_RO, &st, e) < 0 ||
	    upgrade_timer_left(st, NULL, env, &left_ms, e) < 0)
		return -1;
	if (ctl(s, QUICK_MS, e, "stop", "--quiet", others) < 0)
		return -1;
	if (left_ms < 0)
		return 0;
	return put_settle_unit(s, e) < 0 ? -1 : run_timer(s, env, left_ms, e);
}

struct upgrade_services systemd_services(struct systemd *s)
{
	return (struct upgrade_services){
		.name = "systemd",
		.starts_at_boot = true,
		.one_at_a_time = true,
		.start = call_start,
		.hand_over = call_hand_over,
		.stop = call_stop,
		.check = call_check,
		.status = call_status,
		.timer_changed = call_timer_changed,
		.ctx = s,
	};
}

int systemd_refuse_agent(struct systemd *s, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_units units = {0};
	if (units_list(s, &a, STR_NONE, STR_NONE, &units, e) < 0)
		return -1;
	vec_foreach(u, &units)
		if (!units_is_socket(u))
			return err_new(
				e, ERR_EXISTS,
				"systemd runs service '%.*s' of environment '%.*s' here (%s): 'slipway stop %.*s' first, then "
				"'slipway agent', then 'slipway start %.*s'",
				STR_ARG(u->service), STR_ARG(u->env), u->name, STR_ARG(u->env), STR_ARG(u->env));
	return 0;
}

/* -- whose they are ----------------------------------------------------------------------------------------------------- */

int agent_left_services(int root_fd, struct str env, struct err *e)
{
	auto_fs_list names = {0};
	auto_free char *dir = xasprintf("run/%.*s", STR_ARG(env));
	auto_buf boot = BUF_INIT(100);
	if (!fs_exists(root_fd, dir))
		return 0;
	if (fs_list(root_fd, dir, 4096, &names, e) < 0 ||
	    fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &boot, e) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++) {
		auto_free char *path = xasprintf("%s/%s", dir, names.name[i]);
		auto_buf b = BUF_INIT(4 << 20);
		struct err gone = ERR_INIT;
		if (str_ends(str_c(path), STR(".json")) && fs_read(root_fd, path, &b, &gone) == 0 &&
		    str_search(buf_str(&b), str_trim(buf_str(&boot))) >= 0)
			return 1;
	}
	return 0;
}
