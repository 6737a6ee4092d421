// SPDX-License-Identifier: Apache-2.0
/*
 * Connections. One question at a time on each; what it asks for may take as long as a service's own limits allow, and goes on where the
 * one who asked is gone. A connection over which an environment was named is what its client is alive by: when it ends, the
 * environment is looked at, and settled where it was left in the middle of something.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/sys.h"
#include "agent/internal.h"

enum {
	BACKLOG = 64,
	PATIENCE_MS = 10000, /* for the rest of a message, and for answers to be taken */
	BUSY_LOOK_MS = 50,
	BUSY_MAX_MS = 10 * 60 * 1000,
	NAMED_MAX = 64, /* environments of one connection */
};

struct connection {
	struct agent *agent;
	struct connection *next;
	struct wire *wire;
	struct loop_watch *watch, *patience;
	struct request *asked; /* not answered yet */
	VEC(char *) named;
};

struct request {
	struct agent *agent;
	struct request *next;
	struct connection *from; /* NULL: gone */
	const struct question *question;
	struct loop_watch *again;
	int64_t until_ms;
	struct arena arena;
	struct str env, service;
	uint32_t generation;
	struct service_ref ref;
	struct err failure;
};

struct question {
	const char *name;
	bool env, service, generation; /* what it has to name */
	void (*ask)(struct request *r);
};

/* -- ends ----------------------------------------------------------------------------------------------------------- */

static void connection_close(struct connection *c)
{
	struct agent *g = c->agent;
	struct connection **at = &g->connections;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	g->connections_n--;
	if (c->asked)
		c->asked->from = NULL;
	loop_remove(c->watch);
	loop_remove(c->patience);
	wire_free(c->wire);
	vec_foreach(env, &c->named) {
		watch_look(g, str_c(*env), true);
		free(*env);
	}
	vec_release(&c->named);
	free(c);
}

static void on_impatience(void *ctx, enum loop_events events)
{
	struct connection *c = ctx;
	(void)events;
	c->patience = NULL;
	connection_close(c);
}

/* After anything was read or written. */
static void rearm(struct connection *c)
{
	bool waits = wire_is_partial(c->wire) || wire_has_queue(c->wire);
	loop_fd_events(c->watch, wire_wants(c->wire));
	if (!waits) {
		loop_remove(c->patience);
		c->patience = NULL;
	} else if (!c->patience) {
		c->patience = loop_timer(c->agent->loop, loop_now_ms(c->agent->loop) + PATIENCE_MS, on_impatience, c);
	}
}

static void request_free(struct request *r)
{
	struct request **at = &r->agent->requests;
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	if (r->from)
		r->from->asked = NULL;
	loop_remove(r->again);
	arena_release(&r->arena);
	free(r);
}

static void put_failure(struct buf *b, const struct err *failure)
{
	struct jw w = JW_INIT(b, 0);
	jw_object(&w);
	if (failure) {
		jw_kv_c(&w, "error", failure->msg);
		jw_kv_c(&w, "code", err_code_name(failure->code));
	}
	jw_object_end(&w);
}

/* It is written, and the next question read, when the loop says that it can be. */
static void send_text(struct connection *c, struct str text)
{
	struct err e = ERR_INIT;
	if (wire_put(c->wire, text, STR_NONE, &e) < 0)
		connection_close(c);
	else
		rearm(c);
}

static void answer_text(struct request *r, struct str text)
{
	struct connection *c = r->from;
	request_free(r);
	if (c)
		send_text(c, text);
}

static void answer(struct request *r, const struct err *failure)
{
	auto_buf b = BUF_INIT(65536);
	put_failure(&b, failure);
	answer_text(r, buf_str(&b));
}

/* -- what is asked ---------------------------------------------------------------------------------------------------- */

static void on_again(void *ctx, enum loop_events events)
{
	struct request *r = ctx;
	(void)events;
	r->again = NULL;
	r->question->ask(r);
}

/* Another operation on the service, of somebody who may be gone, comes to its end by itself: it is waited for. */
static void on_done(void *ctx, const struct err *failure)
{
	struct request *r = ctx;
	struct loop *l = r->agent->loop;
	if (failure && failure->code == ERR_BUSY && loop_now_ms(l) < r->until_ms)
		r->again = loop_timer(l, loop_now_ms(l) + BUSY_LOOK_MS, on_again, r);
	else
		answer(r, failure);
}

/* What it is the agent reads itself. */
static int find_ref(struct request *r, struct err *e)
{
	if (r->ref.decl)
		return 0;
	r->ref.env = r->env;
	r->ref.generation = r->generation;
	return agent_find_service(&r->arena, r->agent->o->root_path, r->env, r->generation, r->service, &r->ref.prefix,
				  &r->ref.decl, e);
}

static void ask_start(struct request *r)
{
	struct err e = ERR_INIT;
	if (find_ref(r, &e) < 0)
		answer(r, &e);
	else
		service_start(r->agent->supervisor, &r->ref, on_done, r);
}

static void ask_hand_over(struct request *r)
{
	struct err e = ERR_INIT;
	if (find_ref(r, &e) < 0)
		answer(r, &e);
	else
		service_hand_over(r->agent->supervisor, &r->ref, on_done, r);
}

static void ask_stop(struct request *r)
{
	service_stop(r->agent->supervisor, r->env, r->service, on_done, r);
}

static void ask_check(struct request *r)
{
	service_check(r->agent->supervisor, r->env, r->service, on_done, r);
}

static void ask_working(struct request *r)
{
	answer(r, NULL);
}

static void ask_timer_changed(struct request *r)
{
	watch_look(r->agent, r->env, false);
	answer(r, NULL);
}

static void ask_pair_changed(struct request *r)
{
	struct err e = ERR_INIT;
	answer(r, callers_look(r->agent, &e) < 0 ? &e : NULL);
}

static void put_services(struct jw *w, const struct service_status *s, size_t n)
{
	jw_key(w, "services");
	jw_array(w);
	for (size_t i = 0; i < n; i++) {
		jw_object(w);
		jw_kv_str(w, "env", s[i].env);
		jw_kv_str(w, "name", s[i].name);
		jw_kv_int(w, "generation", s[i].generation);
		jw_kv_c(w, "state", service_state_name(s[i].state));
		jw_kv_int(w, "pid", s[i].pid);
		jw_kv_int(w, "since_ms", s[i].since_ms);
		jw_kv_int(w, "restarts", s[i].restarts);
		jw_kv_opt(w, "why", s[i].why);
		jw_kv_int(w, "leaving", s[i].leaving);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void ask_status(struct request *r)
{
	const struct agent *g = r->agent;
	auto_buf b = BUF_INIT(WIRE_JSON_MAX);
	struct jw w = JW_INIT(&b, 0);
	struct service_status *s;
	size_t n;
	struct err e = ERR_INIT;
	if (supervisor_status(g->supervisor, &r->arena, &s, &n, &e) < 0) {
		answer(r, &e);
		return;
	}
	jw_object(&w);
	jw_kv_c(&w, "version", g->o->version);
	jw_kv_int(&w, "pid", getpid());
	jw_kv_int(&w, "since_ms", g->since_ms);
	put_services(&w, s, n);
	watch_put_status(g, &w);
	callers_put_status(g, &w);
	jw_object_end(&w);
	if (b.overflow) {
		err_new(&e, ERR_LIMIT, "there is more to tell than %d bytes", WIRE_JSON_MAX);
		answer(r, &e);
		return;
	}
	answer_text(r, buf_str(&b));
}

static void ask_end(struct request *r)
{
	struct agent *g = r->agent;
	agent_say(g->o, "ends, as it was told to; services run on");
	answer(r, NULL);
	loop_stop(g->loop);
}

static void on_stopped(void *ctx, const struct err *failure)
{
	struct request *r = ctx;
	struct agent *g = r->agent;
	if (failure && !r->failure.code)
		r->failure = *failure;
	if (--g->stopping_n > 0)
		return;
	answer(r, r->failure.code ? &r->failure : NULL);
	loop_stop(g->loop);
}

static void ask_end_all(struct request *r)
{
	struct agent *g = r->agent;
	struct service_status *s;
	size_t n;
	struct err e = ERR_INIT;
	if (g->stopping_n)
		err_new(&e, ERR_BUSY, "the agent is ending already");
	if (e.code || supervisor_status(g->supervisor, &r->arena, &s, &n, &e) < 0) {
		answer(r, &e);
		return;
	}
	agent_say(g->o, "ends, with all services, as it was told to");
	g->stopping_n = n + 1;
	for (size_t i = 0; i < n; i++)
		service_stop(g->supervisor, s[i].env, s[i].name, on_stopped, r);
	on_stopped(r, NULL);
}

static const struct question questions[] = {
	{"start", true, true, true, ask_start},	       {"hand-over", true, true, true, ask_hand_over},
	{"stop", true, true, false, ask_stop},	       {"check", true, true, false, ask_check},
	{"status", false, false, false, ask_status},   {"timer-changed", true, false, false, ask_timer_changed},
	{"working", true, false, false, ask_working},  {"end", false, false, false, ask_end},
	{"end-all", false, false, false, ask_end_all}, {"pair-changed", false, false, false, ask_pair_changed},
};

static const struct question *find_question(struct str name)
{
	for (size_t i = 0; i < sizeof(questions) / sizeof(*questions); i++)
		if (str_eq_c(name, questions[i].name))
			return &questions[i];
	return NULL;
}

static int note_name(struct connection *c, struct str env, struct err *e)
{
	vec_foreach(known, &c->named)
		if (str_eq_c(env, *known))
			return 0;
	if (c->named.n == NAMED_MAX)
		return err_new(e, ERR_LIMIT, "more than %d environments over one connection", NAMED_MAX);
	vec_push(&c->named, str_dup(env));
	return 0;
}

static int read_request(struct request *r, const struct json *j, struct err *e)
{
	struct str ask;
	int64_t generation = 0;
	if (json_get_str(j, "ask", &ask, e) < 0)
		return -1;
	const struct question *q = r->question = find_question(ask);
	if (!q)
		return err_new(e, ERR_UNSUPPORTED, "this agent does not know what '%.*s' is; it is version %s",
			       STR_ARG(str_head(ask, 40)), r->agent->o->version);
	if ((q->env && (json_get_str(j, "env", &r->env, e) < 0 || env_name_check(r->env, e) < 0 ||
			note_name(r->from, r->env, e) < 0)) ||
	    (q->service && json_get_str(j, "service", &r->service, e) < 0) ||
	    (q->generation && json_get_int(j, "generation", &generation, e) < 0))
		return -1;
	if (q->generation && (generation < 1 || generation >= UINT32_MAX))
		return err_new(e, ERR_INPUT, "%lld is no generation", (long long)generation);
	r->generation = (uint32_t)generation;
	return 0;
}

/* -- connections ------------------------------------------------------------------------------------------------------ */

static int take(struct connection *c, struct arena *a, const struct json **ret, struct err *e)
{
	struct wire_message m;
	int rc = wire_take(c->wire, a, &m, e);
	if (rc > 0)
		*ret = m.json;
	return rc;
}

/* False where nothing was there; else the connection may be gone. */
static bool take_one(struct connection *c)
{
	struct request *r;
	const struct json *j = NULL;
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	int rc = take(c, &a, &j, &e);
	if (rc == 0)
		return false;
	if (rc < 0) { /* it gets to know why, if it still listens */
		auto_buf b = BUF_INIT(65536);
		struct err ignored = ERR_INIT;
		put_failure(&b, &e);
		(void)!wire_put(c->wire, buf_str(&b), STR_NONE, &ignored);
		(void)!wire_pump(c->wire, &ignored);
		connection_close(c);
		return true;
	}
	r = xcalloc(1, sizeof(*r));
	*r = (struct request){.agent = c->agent, .next = c->agent->requests, .from = c, .arena = a};
	a = ARENA_INIT;
	r->until_ms = loop_now_ms(c->agent->loop) + BUSY_MAX_MS;
	c->agent->requests = r;
	c->asked = r;
	if (read_request(r, j, &e) < 0)
		answer(r, &e);
	else
		r->question->ask(r);
	return true;
}

static void on_ready(void *ctx, enum loop_events events)
{
	struct connection *c = ctx;
	struct err e = ERR_INIT;
	(void)events;
	int rc = wire_pump(c->wire, &e);
	/* one question at a time: who asks on without having heard is no client of ours */
	if ((c->asked && wire_is_partial(c->wire)) || (rc < 0 && !wire_is_partial(c->wire))) {
		connection_close(c);
		return;
	}
	if (c->asked || !take_one(c))
		rearm(c);
}

/* root, and whose agent it is */
static bool may_ask(int fd)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

/* Where there are too many: the one that has done nothing for longest, if it has named no environment. */
static bool make_room(struct agent *g)
{
	struct connection *idle = NULL;
	if (g->connections_n < AGENT_CONNECTIONS_MAX)
		return true;
	for (struct connection *c = g->connections; c; c = c->next) /* newest first */
		if (!c->asked && !c->named.n)
			idle = c;
	if (idle)
		connection_close(idle);
	return idle != NULL;
}

static void on_connection(void *ctx, enum loop_events events)
{
	struct agent *g = ctx;
	(void)events;
	auto_fd fd = accept4(g->socket_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 || !may_ask(fd) || !make_room(g))
		return;
	struct connection *c = xcalloc(1, sizeof(*c));
	c->agent = g;
	c->wire = wire_new(steal_fd(&fd));
	c->watch = loop_fd(g->loop, wire_fd(c->wire), LOOP_IN, on_ready, c);
	c->next = g->connections;
	g->connections = c;
	g->connections_n++;
}

int serve_open(struct agent *g, struct err *e)
{
	struct sockaddr_un u = {.sun_family = AF_UNIX};
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "make a socket");
	/* of an agent that was killed: the lock is ours */
	if (sys_unlinkat(g->o->root_fd, AGENT_SOCKET, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s/" AGENT_SOCKET "'", g->o->root_path);
	agent_socket_path(g->o->root_fd, u.sun_path);
	mode_t before = umask(0177);
	int rc = bind(fd, (struct sockaddr *)&u, sizeof(u));
	umask(before);
	if (rc < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(e, "listen on '%s/" AGENT_SOCKET "'", g->o->root_path);
	g->socket_fd = steal_fd(&fd);
	g->listening = loop_fd(g->loop, g->socket_fd, LOOP_IN, on_connection, g);
	return 0;
}

void serve_shut(struct agent *g)
{
	loop_remove(g->listening);
	g->listening = NULL;
	if (g->socket_fd >= 0)
		(void)sys_unlinkat(g->o->root_fd, AGENT_SOCKET, 0);
	cleanup_fd(&g->socket_fd);
}

void serve_close(struct agent *g)
{
	while (g->requests)
		request_free(g->requests);
	while (g->connections) {
		struct err ignored = ERR_INIT;
		(void)!wire_pump(g->connections->wire, &ignored); /* a last answer */
		vec_foreach(env, &g->connections->named)
			free(*env);
		vec_clear(&g->connections->named); /* nobody looks any more */
		connection_close(g->connections);
	}
}
