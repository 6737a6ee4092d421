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

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "agent/units.h"

enum {
	QUICK_MS = 90000,
	SETTLED_MS = 500,
	AGAIN_MS = 200,
	STOP_TRIES = 3,
	SHOWN_MAX = 8 << 20,
	SHOWN_AT_ONCE = 50,
	ENVIRON_MAX = 4 << 20,
};

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

static bool is_alive(const struct shown *x)
{
	return x->active.n && !str_eq_c(x->active, "inactive") && !str_eq_c(x->active, "failed");
}

/* Of at most SHOWN_AT_ONCE units: what systemctl prints has an empty line between two of them. */
static int show_some(const struct systemd *s, struct arena *a, const struct unit *u, size_t n, struct shown *ret,
		     struct err *e)
{
	const char *words[CTL_WORDS_MAX] = {
		"show",
		"--property=Id,ActiveState,Result,ExecMainStatus,MainPID,NRestarts,StateChangeTimestampMonotonic"};
	auto_buf out = BUF_INIT(SHOWN_MAX);
	size_t at = 0;
	for (size_t i = 0; i < n; i++)
		words[2 + i] = u[i].name;
	if (ctl_run(s, words, QUICK_MS, &out, e) < 0)
		return -1;
	struct str text = str_c(arena_strdup(a, buf_str(&out))), line;
	while (at < n && str_take_line(&text, &line)) {
		if (line.n)
			read_property(&ret[at], line);
		else
			at++;
	}
	return at + 1 < n ? err_new(e, ERR_FAILED, "systemctl show tells of %zu units, not of %zu", at + 1, n) : 0;
}

/* One for each unit. */
static int show_all(const struct systemd *s, struct arena *a, const struct unit_list *units, struct shown **ret,
		    struct err *e)
{
	*ret = arena_array(a, struct shown, units->n);
	for (size_t i = 0; i < units->n; i += SHOWN_AT_ONCE) {
		size_t n = units->n - i < SHOWN_AT_ONCE ? units->n - i : SHOWN_AT_ONCE;
		if (show_some(s, a, &units->v[i], n, *ret + i, e) < 0)
			return -1;
	}
	return 0;
}

/* Of two units of a service, left by somebody who was in the middle of a hand-over: of two that run the one that came, else the one that
 * runs, else the one that a boot starts. */
static struct service_status either(const struct systemd *s, const struct unit *first, const bool alive[2],
				    const struct service_status x[2])
{
	bool at_boot = units_starts_at_boot(s, first), both = alive[0] && alive[1];
	bool second = alive[0] == alive[1] ? at_boot == both : alive[1];
	struct service_status r = x[second];
	if (alive[0] || alive[1])
		r.state = SERVICE_HANDING_OVER;
	return r;
}

static int show_units(const struct systemd *s, struct arena *a, const struct unit_list *units,
		      struct service_status **ret, size_t *ret_n, struct err *e)
{
	struct shown *shown;
	const struct unit **of = arena_array(a, const struct unit *, units->n);
	bool *alive = arena_array(a, bool, units->n);
	*ret = arena_array(a, struct service_status, units->n);
	*ret_n = 0;
	if (show_all(s, a, units, &shown, e) < 0)
		return -1;
	for (size_t i = 0; i < units->n; i++) {
		const struct unit *u = &units->v[i];
		size_t k = 0;
		if (!units_is_service(u))
			continue;
		struct service_status x = status_of(a, u, &shown[i]);
		while (k < *ret_n && !(str_eq((*ret)[k].env, u->env) && str_eq((*ret)[k].name, u->service)))
			k++;
		if (k == *ret_n) {
			(*ret)[k] = x;
			of[k] = u;
			alive[k] = is_alive(&shown[i]);
			++*ret_n;
			continue;
		}
		(*ret)[k] = either(s, of[k], (const bool[2]){alive[k], is_alive(&shown[i])},
				   (const struct service_status[2]){(*ret)[k], x});
		if ((*ret)[k].generation == u->generation)
			of[k] = u;
		alive[k] |= is_alive(&shown[i]);
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

/* Units that an earlier slipway wrote have their private sockets elsewhere. */
static char *private_path(const struct service_probe *p, const struct service_ref *r)
{
	char *path = service_private_path(r->runtime_dir, p->address, r->generation);
	if (fs_exists(AT_FDCWD, path))
		return path;
	free(path);
	return xasprintf("%s/%.*s.sock", r->runtime_dir, STR_ARG(p->address));
}

static int ask_one(const struct service_probe *p, const struct service_ref *r, struct err *e)
{
	auto_ptr(loop) l = NULL;
	auto_free char *own = p->kind != SERVICE_PROBE_COMMAND ? private_path(p, r) : NULL;
	struct err why = ERR_INIT;
	struct asking q = {.e = &why};
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

/* Over a private socket a version answers for itself; over a shared one, or by a command, whichever was faster. */
enum asked { ASK_PRIVATE = 1, ASK_SHARED = 2, ASK_ALL = 3 };

static bool is_of(const struct service_decl *d, const struct service_probe *p, enum asked which)
{
	bool is_private = false;
	for (uint32_t i = 0; p->kind != SERVICE_PROBE_COMMAND && i < d->sockets_n; i++)
		is_private |= d->sockets[i].is_private && str_eq(d->sockets[i].name, p->address);
	return (which & (is_private ? ASK_PRIVATE : ASK_SHARED)) != 0;
}

static int ask_all(const struct service_ref *r, enum asked which, struct err *e)
{
	for (uint32_t i = 0; i < r->decl->probes_n; i++)
		if (is_of(r->decl, &r->decl->probes[i], which) && ask_one(&r->decl->probes[i], r, e) < 0)
			return -1;
	return 0;
}

static void pause_ms(int64_t ms)
{
	(void)poll(NULL, 0, (int)ms);
}

static int not_running(const struct systemd *s, const char *unit, const struct service_status *now, struct err *e)
{
	return err_new(e, ERR_FAILED, "unit '%s' is %s%s%.*s; 'journalctl %s-u %s' shows what it said", unit,
		       service_state_name(now->state), now->why.n ? ": " : "", STR_ARG(now->why),
		       s->of_user ? "--user " : "", unit);
}

/* Whether this version runs, whatever else does. Where a socket could not be opened, it is that which is told of. */
static int is_running(struct systemd *s, const struct unit_list *units, const struct service_ref *r, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct shown *x;
	struct service_status now = {0};
	const struct unit *of = NULL;
	if (show_all(s, &a, units, &x, e) < 0)
		return -1;
	for (size_t i = 0; i < units->n; i++) {
		const struct unit *u = &units->v[i];
		if (!units_is_service(u) || u->generation != r->generation)
			continue;
		of = u;
		now = status_of(&a, u, &x[i]);
		if (now.state == SERVICE_RUNNING && now.generation == r->generation)
			return 0;
	}
	for (size_t i = 0; of && now.state == SERVICE_STOPPED && i < units->n; i++)
		if (units_is_socket(&units->v[i]) && str_eq_c(x[i].active, "failed")) {
			now.state = SERVICE_FAILED;
			now.why = x[i].result;
			of = &units->v[i];
		}
	return of ? not_running(s, of->name, &now, e)
		  : err_new(e, ERR_NOT_FOUND, "generation %u of it has no unit", r->generation);
}

/* It runs as this version, and its checks pass as often as declared; what has said that it is ready may fail no oftener than declared. */
static int wait_healthy(struct systemd *s, const struct unit_list *units, const struct service_ref *r, enum asked which,
			int64_t until_ms, struct err *e)
{
	const struct service_decl *d = r->decl;
	uint32_t passes = 0, failures = 0;
	if (d->ready == SERVICE_READY_STARTED && (which & ASK_PRIVATE))
		pause_ms(SETTLED_MS);
	for (;;) {
		struct err why = ERR_INIT;
		if (is_running(s, units, r, e) < 0)
			return -1;
		if (ask_all(r, which, &why) == 0)
			passes++, failures = 0;
		else
			passes = 0, failures++;
		if (passes >= d->probe_passes || (passes && !d->probes_n))
			return 0;
		if (failures && (clock_mono_ms() >= until_ms ||
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

/* Shared sockets stand first: their service, which requires them, stops in one transaction with them. Else what comes in at such a
 * socket could start it again, after its own stop. Of several sockets that still can happen: then systemctl fails, and is asked again. */
static int stop_units(const struct systemd *s, const struct unit_list *l, int64_t deadline_ms, struct err *e)
{
	const char *words[CTL_WORDS_MAX] = {"stop", "--quiet"};
	struct err ignored = ERR_INIT;
	size_t n = 2;
	for (int first = 1; first >= 0; first--)
		vec_foreach(u, l)
			if ((units_is_socket(u) && !units_is_private(u)) == first && n + 1 < CTL_WORDS_MAX)
				words[n++] = u->name;
	if (n == 2)
		return 0;
	for (int tries = STOP_TRIES; ctl_run(s, words, deadline_ms, NULL, e) < 0; pause_ms(AGAIN_MS))
		if (--tries == 0)
			return -1;
	words[0] = "reset-failed";
	(void)ctl_run(s, words, QUICK_MS, NULL, &ignored);
	return 0;
}

/* Stops and forgets all units of a service. */
static int drop(struct systemd *s, struct arena *a, const struct unit_list *have, struct err *e)
{
	const struct unit_list none = {0};
	return stop_units(s, have, 24 * 3600 * 1000, e) < 0 ? -1 : units_put(s, a, have, &none, e);
}

/* systemctl's "failed, see journal" gives way to what the unit itself is like. */
static int start_unit(struct systemd *s, const struct unit_list *units, const struct service_ref *r, enum asked which,
		      struct err *e)
{
	struct err why = ERR_INIT;
	int64_t until_ms = clock_mono_ms() + r->decl->start_timeout_ms;
	if (ctl(s, time_for(r->decl), e, "start", units->v[0].name) < 0)
		return is_running(s, units, r, &why) < 0 ? (*e = why, -1) : -1;
	return wait_healthy(s, units, r, which, until_ms, e);
}

/* -- hand-over -------------------------------------------------------------------------------------------------------- */
/*
 * By overlap: the new version starts on the open sockets, beside the old one; when it is ready, and healthy as far as it can be asked alone,
 * the old one is stopped with its signal and time. Else (declared so, or a socket of the same name is another one) the old one ends first; sockets
 * that stay are open all the time, and what comes in starts the new version already.
 *
 * Whoever dies in the middle leaves two units, which call_status tells as a hand-over; a hand-over to either ends it. What starts at a boot
 * is the old one until the new one serves alone.
 */
struct turn {
	struct systemd *s;
	struct arena *a;
	const struct service_ref *r;
	struct unit_list have, want;
	struct shown *shown; /* of each in have */
	bool old_was_stopped;
};
#define auto_turn cleanup_with(turn_release) struct turn

static void turn_release(struct turn *t)
{
	units_release(&t->have);
	units_release(&t->want);
}

static bool is_old(const struct turn *t, const struct unit *u)
{
	return units_is_service(u) && strcmp(u->name, t->want.v[0].name) != 0;
}

static int turn_open(struct turn *t, struct err *e)
{
	auto_buf after = BUF_INIT(1 << 16);
	if (units_list(t->s, t->a, t->r->env, t->r->decl->name, &t->have, e) < 0 ||
	    show_all(t->s, t->a, &t->have, &t->shown, e) < 0)
		return -1;
	vec_foreach(u, &t->have)
		if (t->r->decl->takeover == SERVICE_HAND_OVER_RESTART && units_is_service(u) &&
		    u->generation != t->r->generation)
			buf_printf(&after, " %s", u->name); /* else traffic might start it while the old one ends */
	units_make(t->s, t->a, t->r, buf_str(&after), &t->want);
	return 0;
}

/* The version that served, or was to: 0: none */
static uint32_t old_generation(const struct turn *t)
{
	const struct unit *old = NULL;
	for (size_t i = 0; i < t->have.n; i++)
		if (is_old(t, &t->have.v[i]) && (!old || is_alive(&t->shown[i])))
			old = &t->have.v[i];
	return old ? old->generation : 0;
}

/* A socket that systemd would have to open where the old version's still is. */
static bool is_taken(const struct turn *t, const struct unit *socket)
{
	vec_foreach(u, &t->have)
		if (units_is_socket(u) && !units_find(&t->want, u->name) && units_same_address(u, socket))
			return true;
	return false;
}

static bool may_overlap(const struct turn *t)
{
	bool runs = false;
	if (t->r->decl->takeover != SERVICE_HAND_OVER_SOCKETS)
		return false;
	for (size_t i = 0; i < t->have.n; i++) {
		const struct unit *u = &t->have.v[i], *v = units_find(&t->want, u->name);
		bool is_active = str_eq_c(t->shown[i].active, "active");
		runs |= is_old(t, u) && is_active;
		if (v && units_is_socket(u) && !units_is_private(u) && (!is_active || !units_same_socket(u, v)))
			return false;
	}
	vec_foreach(v, &t->want)
		if (units_is_socket(v) && !units_find(&t->have, v->name) && is_taken(t, v))
			return false;
	return runs;
}

/* Writes what the new version needs to be started. Of the sockets that are there none is touched while the old one serves from them. */
static int prepare(struct turn *t, bool overlap, struct err *e)
{
	auto_units now = {0};
	vec_foreach(v, &t->want) {
		const struct unit *u = units_find(&t->have, v->name);
		bool is_open = u && units_is_socket(u) && !units_is_private(u);
		if (!is_open || (!overlap && units_same_socket(u, v)))
			vec_push(&now, *v);
	}
	return units_add(t->s, t->a, &now, e);
}

/* The old version, and the sockets that the new one does not have, or not so. */
static int stop_old(struct turn *t, struct err *e)
{
	auto_units old = {0};
	vec_foreach(u, &t->have) {
		const struct unit *v = units_find(&t->want, u->name);
		if (is_old(t, u) || (units_is_socket(u) && (!v || !units_same_socket(u, v))))
			vec_push(&old, *u);
	}
	t->old_was_stopped = true;
	return stop_units(t->s, &old, 24 * 3600 * 1000, e);
}

/* The new version never served alone: it goes, and the old one has not noticed. */
static int take_back(struct turn *t, struct err *e)
{
	auto_units gone = {0};
	auto_units back = {0};
	vec_foreach(v, &t->want)
		if (v == t->want.v || units_is_private(v) || !units_find(&t->have, v->name))
			vec_push(&gone, *v);
	vec_foreach(u, &t->have)
		if (!units_find(&gone, u->name))
			vec_push(&back, *u);
	return stop_units(t->s, &gone, time_for(t->r->decl), e) < 0 ? -1
								    : units_take_back(t->s, t->a, &t->want, &back, e);
}

static int by_overlap(struct turn *t, struct err *e)
{
	const struct service_decl *d = t->r->decl;
	if (prepare(t, true, e) < 0 || start_unit(t->s, &t->want, t->r, ASK_PRIVATE, e) < 0 || stop_old(t, e) < 0)
		return -1;
	int64_t until_ms = clock_mono_ms() + d->start_timeout_ms;
	return wait_healthy(t->s, &t->want, t->r, ASK_SHARED, until_ms, e) < 0
		       ? -1
		       : units_put(t->s, t->a, &t->have, &t->want, e);
}

static int by_restart(struct turn *t, struct err *e)
{
	return prepare(t, false, e) < 0 || stop_old(t, e) < 0 || units_put(t->s, t->a, &t->have, &t->want, e) < 0
		       ? -1
		       : start_unit(t->s, &t->want, t->r, ASK_ALL, e);
}

/* The version before, whatever is left of it. */
static int change_back(struct systemd *s, struct arena *a, const struct service_ref *r, uint32_t generation,
		       struct err *e)
{
	const char *prefix;
	const struct service_decl *decl;
	struct service_ref old = *r;
	auto_turn t = {.s = s, .a = a, .r = &old};
	if (agent_find_service(a, s->root_path, r->env, generation, r->decl->name, &prefix, &decl, e) < 0)
		return -1;
	old.generation = generation;
	old.prefix = prefix;
	old.decl = decl;
	if (turn_open(&t, e) < 0)
		return -1;
	return may_overlap(&t) ? by_overlap(&t, e) : by_restart(&t, e);
}

/* What failed is undone as far as it got. */
static int turn_failed(struct turn *t, const struct err *why, struct err *e)
{
	struct err back = ERR_INIT;
	uint32_t old = old_generation(t);
	*e = *why;
	if (why->code == ERR_EXISTS) /* another's: nothing was done */
		return -1;
	if (!t->old_was_stopped) {
		if (take_back(t, &back) < 0)
			return err_new(e, ERR_UNCERTAIN, "%s; and it is not undone: %s", why->msg, back.msg);
		return old ? err_new(e, why->code, "%s; generation %u runs on", why->msg, old) : -1;
	}
	if (!old)
		return -1;
	e->code = change_back(t->s, t->a, t->r, old, &back) < 0 ? ERR_UNCERTAIN : ERR_ROLLED_BACK;
	return e->code == ERR_ROLLED_BACK
		       ? err_ctx(e, "the old version was started again")
		       : err_new(e, ERR_UNCERTAIN, "%s; and the old version did not come back: %s", why->msg, back.msg);
}

static int call_start(void *ctx, const struct service_ref *ref, struct err *e)
{
	struct systemd *s = ctx;
	auto_arena a = ARENA_INIT;
	struct service_ref r = *ref;
	struct service_status now = {0};
	struct err ignored = ERR_INIT;
	auto_turn t = {.s = s, .a = &a, .r = &r};
	if (may_run(s, &r, e) < 0 || make_runtime_dir(s, &r, &a, e) < 0 ||
	    one_status(s, &a, r.env, r.decl->name, &now, e) < 0)
		return -1;
	if (now.state == SERVICE_RUNNING && now.generation == r.generation)
		return 0;
	if (now.state == SERVICE_RUNNING || now.state == SERVICE_HANDING_OVER)
		return err_new(e, ERR_EXISTS, "generation %u of it runs", now.generation);
	if (turn_open(&t, e) < 0)
		return -1;
	if (old_generation(&t)
		    ? by_restart(&t, e) == 0
		    : units_put(s, &a, &t.have, &t.want, e) == 0 && start_unit(s, &t.want, &r, ASK_ALL, e) == 0)
		return 0;
	if (e->code != ERR_EXISTS) /* another's */
		(void)drop(s, &a, &t.want, &ignored);
	return -1;
}

static int call_hand_over(void *ctx, const struct service_ref *ref, struct err *e)
{
	struct systemd *s = ctx;
	auto_arena a = ARENA_INIT;
	struct service_ref r = *ref;
	struct err why = ERR_INIT;
	auto_turn t = {.s = s, .a = &a, .r = &r};
	if (may_run(s, &r, e) < 0 || make_runtime_dir(s, &r, &a, e) < 0 || turn_open(&t, e) < 0)
		return -1;
	if ((may_overlap(&t) ? by_overlap(&t, &why) : by_restart(&t, &why)) == 0)
		return 0;
	return turn_failed(&t, &why, e);
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
	auto_units units = {0};
	struct service_status now;
	const char *prefix;
	const struct service_decl *decl;
	int rc = one_status(s, &a, env, service, &now, e);
	if (rc < 0)
		return -1;
	if (!rc)
		return err_new(e, ERR_NOT_FOUND, "it has no unit");
	if (agent_find_service(&a, s->root_path, env, now.generation, service, &prefix, &decl, e) < 0 ||
	    units_list(s, &a, env, service, &units, e) < 0)
		return -1;
	struct service_ref r = {.env = env, .generation = now.generation, .prefix = prefix, .decl = decl};
	return make_runtime_dir(s, &r, &a, e) < 0 || is_running(s, &units, &r, e) < 0 ? -1 : ask_all(&r, ASK_ALL, e);
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
	const char *target = s->of_user ? "default" : "multi-user";
	auto_free char *name = xasprintf("slipway-settle-%08x.service", hash_of(s->root_path));
	auto_free char *link = xasprintf("%s.target.wants/%s", target, name);
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
	buf_printf(&b, " agent settle\nRestart=on-failure\nRestartSec=30\n\n[Install]\nWantedBy=%s.target\n", target);
	if (units_open(s, e) < 0)
		return -1;
	bool same = fs_read(s->unit_fd, name, &there, &gone) == 0 && str_eq(buf_str(&there), buf_str(&b));
	if (same && fs_exists(s->unit_fd, link))
		return 0;
	if (!same && fs_replace(s->unit_fd, name, b.p, b.n, FS_REPLACE_SYNC, e) < 0)
		return -1;
	return units_enable(s, name, e);
}

/* By two clocks: the one that stands still while the host sleeps, and the wall clock, which may be set. Whichever comes first, what is on
 * disk is looked at, and the timer is made anew where it has not ended. */
static int run_timer(const struct systemd *s, struct str env, int64_t left_ms, struct err *e)
{
	int64_t now_ms = clock_wall_ms();
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

static int call_starts_at_boot(void *ctx, struct arena *a, struct str env, struct str service, struct str *ret_finding,
			       struct str *ret_cure, struct err *e)
{
	struct systemd *s = ctx;
	auto_units units = {0};
	const struct unit *is = NULL;
	if (units_list(s, a, env, service, &units, e) < 0)
		return -1;
	vec_foreach(u, &units) {
		if (!units_is_service(u))
			continue;
		if (units_starts_at_boot(s, u))
			return 1;
		is = u;
	}
	*ret_finding = str_c(arena_printf(a, "service '%.*s' of '%.*s' is to run, and systemd has %s", STR_ARG(service),
					  STR_ARG(env), is ? "its unit disabled" : "no unit of it"));
	*ret_cure =
		is ? str_c(arena_printf(a, "'systemctl %senable %s' enables it", s->of_user ? "--user " : "", is->name))
		   : str_c(arena_printf(a, "'slipway start %.*s' makes one, and enables it", STR_ARG(env)));
	return 0;
}

struct upgrade_services systemd_services(struct systemd *s)
{
	return (struct upgrade_services){
		.name = "systemd",
		.starts_at_boot = call_starts_at_boot,
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
		if (units_is_service(u))
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
