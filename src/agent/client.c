// SPDX-License-Identifier: Apache-2.0
/* Who talks to the agent: one question at a time; asked again of the next agent where the one before it ended. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "agent/internal.h"

enum { QUICK_MS = 30 * 1000, LONG_MS = 60 * 60 * 1000, LOOK_MS = 50 };

struct agent_client {
	int root_fd;
	char *root_path;
	struct wire *wire;
	VEC(char *) working; /* said again to the next agent */
};

void agent_socket_path(int root_fd, char ret[AGENT_PATH_SIZE])
{
	snprintf(ret, AGENT_PATH_SIZE, "/proc/self/fd/%d/" AGENT_SOCKET, root_fd);
}

static int open_wire(struct agent_client *c, struct err *e)
{
	struct sockaddr_un u = {.sun_family = AF_UNIX};
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, "make a socket");
	agent_socket_path(c->root_fd, u.sun_path);
	if (connect(fd, (struct sockaddr *)&u, sizeof(u)) < 0) {
		bool none = errno == ENOENT || errno == ECONNREFUSED;
		err_sys(e, "connect to the agent at '%s/" AGENT_SOCKET "'", c->root_path);
		return none ? err_new(e, ERR_NOT_FOUND, "no agent runs for '%s'; 'slipway agent' is it", c->root_path)
			    : -1;
	}
	c->wire = wire_new(steal_fd(&fd));
	return 0;
}

/* An answer is {} with what was asked for, or {"error": …, "code": …}. */
static int read_failure(const struct json *j, struct err *e)
{
	struct str text = STR_NONE, code = STR_NONE;
	int rc = json_opt_str(j, "error", &text, e);
	if (rc <= 0 || json_opt_str(j, "code", &code, e) < 0)
		return rc < 0 ? -1 : 0;
	enum err_code known = ERR_FAILED;
	for (int i = ERR_FAILED; i <= ERR_UNSUPPORTED; i++)
		if (str_eq_c(code, err_code_name((enum err_code)i)))
			known = (enum err_code)i;
	return err_new(e, known, "%.*s", STR_ARG(text));
}

/* *lost: it was not refused but not answered at all. */
static int ask_once(struct agent_client *c, struct str question, int64_t wait_ms, struct arena *a,
		    struct wire_message *ret, bool *lost, struct err *e)
{
	*lost = false;
	if (wire_call(c->wire, question, STR_NONE, wait_ms, a, ret, e) < 0) {
		*lost = true;
		wire_free(steal_ptr(&c->wire)); /* an answer that is late would be taken for the next one's */
		return err_ctx(e, "the agent of '%s'", c->root_path);
	}
	return read_failure(ret->json, e);
}

static void put_question(struct buf *b, const char *ask, struct str env, struct str service, uint32_t generation)
{
	struct jw w = JW_INIT(b, 0);
	jw_object(&w);
	jw_kv_c(&w, "ask", ask);
	jw_kv_opt(&w, "env", env);
	jw_kv_opt(&w, "service", service);
	if (generation)
		jw_kv_int(&w, "generation", generation);
	jw_object_end(&w);
}

static int open_again(struct agent_client *c, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct wire_message m;
	bool lost;
	if (open_wire(c, e) < 0)
		return -1;
	vec_foreach(env, &c->working) {
		auto_buf b = BUF_INIT(1024);
		put_question(&b, "working", str_c(*env), STR_NONE, 0);
		if (ask_once(c, buf_str(&b), QUICK_MS, &a, &m, &lost, e) < 0)
			return -1;
	}
	return 0;
}

static int wait_for_agent(struct agent_client *c, struct err *e)
{
	int64_t until = clock_mono_ms() + AGENT_BACK_MS;
	for (;;) {
		struct err why = ERR_INIT;
		if (open_again(c, &why) == 0)
			return 0;
		wire_free(steal_ptr(&c->wire));
		if (clock_mono_ms() >= until)
			return err_ctx(e, "no agent came back within %d s: start one, it goes on from here",
				       AGENT_BACK_MS / 1000);
		(void)poll(NULL, 0, LOOK_MS);
	}
}

/* What is asked may be asked again: starting what runs, stopping what does not and handing over twice come to the same. */
static int ask(struct agent_client *c, struct str question, int64_t wait_ms, struct arena *a, struct wire_message *ret,
	       struct err *e)
{
	bool lost = true;
	for (int tries = 0; tries < 5; tries++) {
		if (!c->wire && wait_for_agent(c, e) < 0)
			return -1;
		*e = (struct err){0};
		int rc = ask_once(c, question, wait_ms, a, ret, &lost, e);
		if (!lost || e->code != ERR_NETWORK)
			return rc;
	}
	return -1;
}

static int ask_plain(struct agent_client *c, const char *what, struct str env, struct str service, uint32_t generation,
		     int64_t wait_ms, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(4096);
	struct wire_message m;
	struct err why = ERR_INIT;
	put_question(&b, what, env, service, generation);
	if (ask(c, buf_str(&b), wait_ms, &a, &m, &why) == 0)
		return 0;
	*e = why;
	return -1;
}

int agent_connect(int root_fd, const char *root_path, struct agent_client **ret, struct err *e)
{
	auto_ptr(agent_client) c = xcalloc(1, sizeof(*c));
	c->root_fd = root_fd;
	c->root_path = xstrdup(root_path);
	if (open_wire(c, e) < 0)
		return -1;
	*ret = steal_ptr(&c);
	return 0;
}

void agent_client_free(struct agent_client *c)
{
	if (!c)
		return;
	wire_free(c->wire);
	vec_foreach(env, &c->working)
		free(*env);
	vec_release(&c->working);
	free(c->root_path);
	free(c);
}

int agent_working(struct agent_client *c, struct str env, struct err *e)
{
	if (ask_plain(c, "working", env, STR_NONE, 0, QUICK_MS, e) < 0)
		return -1;
	vec_push(&c->working, str_dup(env));
	return 0;
}

int agent_pair_changed(struct agent_client *c, struct err *e)
{
	return ask_plain(c, "pair-changed", STR_NONE, STR_NONE, 0, QUICK_MS, e);
}

int agent_stop(struct agent_client *c, bool with_services, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(64);
	struct wire_message m;
	bool lost;
	put_question(&b, with_services ? "end-all" : "end", STR_NONE, STR_NONE, 0);
	if (!c->wire && open_wire(c, e) < 0)
		return -1;
	if (ask_once(c, buf_str(&b), LONG_MS, &a, &m, &lost, e) < 0)
		return -1;
	struct err gone = ERR_INIT; /* and now it lets go of everything: the end of the connection says that it has */
	struct pollfd p = {.fd = wire_fd(c->wire), .events = POLLIN};
	for (int64_t until = clock_mono_ms() + QUICK_MS; wire_pump(c->wire, &gone) == 0 && clock_mono_ms() < until;)
		(void)poll(&p, 1, LOOK_MS);
	return 0;
}

/* -- as the driver of an upgrade ----------------------------------------------------------------------------------- */

static int call_start(void *ctx, const struct service_ref *r, struct err *e)
{
	return ask_plain(ctx, "start", r->env, r->decl->name, r->generation, LONG_MS, e);
}

static int call_hand_over(void *ctx, const struct service_ref *r, struct err *e)
{
	return ask_plain(ctx, "hand-over", r->env, r->decl->name, r->generation, LONG_MS, e);
}

static int call_stop(void *ctx, struct str env, struct str service, struct err *e)
{
	return ask_plain(ctx, "stop", env, service, 0, LONG_MS, e);
}

static int call_check(void *ctx, struct str env, struct str service, struct err *e)
{
	return ask_plain(ctx, "check", env, service, 0, LONG_MS, e);
}

static int call_timer_changed(void *ctx, struct str env, struct err *e)
{
	return ask_plain(ctx, "timer-changed", env, STR_NONE, 0, QUICK_MS, e);
}

static int call_status(void *ctx, struct arena *a, struct service_status **ret, size_t *ret_n, struct err *e)
{
	struct agent_status s;
	if (agent_status(ctx, a, &s, e) < 0)
		return -1;
	*ret = s.services;
	*ret_n = s.services_n;
	return 0;
}

struct upgrade_services agent_services(struct agent_client *c)
{
	return (struct upgrade_services){
		.name = "agent",
		.start = call_start,
		.hand_over = call_hand_over,
		.stop = call_stop,
		.check = call_check,
		.status = call_status,
		.timer_changed = call_timer_changed,
		.ctx = c,
	};
}

/* -- status --------------------------------------------------------------------------------------------------------- */

static int read_service(const struct json *j, struct service_status *ret, struct err *e)
{
	struct str state;
	int64_t generation = 0, pid = 0, restarts = 0, leaving = 0;
	if (json_get_str(j, "env", &ret->env, e) < 0 || json_get_str(j, "name", &ret->name, e) < 0 ||
	    json_get_str(j, "state", &state, e) < 0 || json_get_int(j, "generation", &generation, e) < 0 ||
	    json_opt_int(j, "pid", &pid, e) < 0 || json_get_int(j, "since_ms", &ret->since_ms, e) < 0 ||
	    json_opt_int(j, "restarts", &restarts, e) < 0 || json_opt_str(j, "why", &ret->why, e) < 0 ||
	    json_opt_int(j, "leaving", &leaving, e) < 0)
		return -1;
	ret->leaving = (uint32_t)leaving;
	ret->generation = (uint32_t)generation;
	ret->pid = (pid_t)pid;
	ret->restarts = (uint32_t)restarts;
	for (int i = SERVICE_STOPPED; i <= SERVICE_FAILED; i++) {
		if (str_eq_c(state, service_state_name((enum service_state)i))) {
			ret->state = (enum service_state)i;
			return 0;
		}
	}
	return err_new(e, ERR_INPUT, "'%.*s' is no state of a service", STR_ARG(state));
}

static int read_timer(const struct json *j, struct agent_timer *ret, struct err *e)
{
	ret->left_ms = -1;
	return json_get_str(j, "env", &ret->env, e) < 0 || json_get_str(j, "state", &ret->state, e) < 0 ||
			       json_opt_int(j, "left_ms", &ret->left_ms, e) < 0
		       ? -1
		       : 0;
}

static int read_worker(const struct json *j, struct agent_worker *ret, struct err *e)
{
	int64_t pid = 0;
	if (json_get_str(j, "env", &ret->env, e) < 0 || json_opt_str(j, "why", &ret->why, e) < 0 ||
	    json_opt_int(j, "pid", &pid, e) < 0 || json_opt_int(j, "since_ms", &ret->since_ms, e) < 0)
		return -1;
	ret->pid = (pid_t)pid;
	return 0;
}

static int read_pair(const struct json *j, struct agent_pair *ret, struct err *e)
{
	int64_t connections = 0;
	if (json_opt_str(j, "address", &ret->address, e) < 0 || json_opt_str(j, "why", &ret->why, e) < 0 ||
	    json_opt_int(j, "connections", &connections, e) < 0)
		return -1;
	ret->connections = (uint32_t)connections;
	return 0;
}

static int read_status(const struct json *j, struct arena *a, struct agent_status *ret, struct err *e)
{
	const struct json *services, *timers, *workers, *pair;
	int64_t pid;
	if (json_get_str(j, "version", &ret->version, e) < 0 || json_get_int(j, "pid", &pid, e) < 0 ||
	    json_get_int(j, "since_ms", &ret->since_ms, e) < 0 || json_opt_array(j, "services", &services, e) < 0 ||
	    json_opt_array(j, "timers", &timers, e) < 0 || json_opt_array(j, "workers", &workers, e) < 0 ||
	    json_opt_object(j, "pair", &pair, e) < 0 || (pair && read_pair(pair, &ret->pair, e) < 0))
		return -1;
	ret->pid = (pid_t)pid;
	ret->services_n = services ? services->n : 0;
	ret->timers_n = timers ? timers->n : 0;
	ret->workers_n = workers ? workers->n : 0;
	ret->services = arena_array(a, struct service_status, ret->services_n);
	ret->timers = arena_array(a, struct agent_timer, ret->timers_n);
	ret->workers = arena_array(a, struct agent_worker, ret->workers_n);
	for (size_t i = 0; i < ret->services_n; i++)
		if (read_service(&services->item[i], &ret->services[i], e) < 0)
			return -1;
	for (size_t i = 0; i < ret->timers_n; i++)
		if (read_timer(&timers->item[i], &ret->timers[i], e) < 0)
			return -1;
	for (size_t i = 0; i < ret->workers_n; i++)
		if (read_worker(&workers->item[i], &ret->workers[i], e) < 0)
			return -1;
	return 0;
}

int agent_status(struct agent_client *c, struct arena *a, struct agent_status *ret, struct err *e)
{
	auto_buf b = BUF_INIT(64);
	struct wire_message m;
	struct err why = ERR_INIT;
	put_question(&b, "status", STR_NONE, STR_NONE, 0);
	*ret = (struct agent_status){0};
	if (ask(c, buf_str(&b), QUICK_MS, a, &m, &why) == 0 && read_status(m.json, a, ret, &why) == 0)
		return 0;
	*e = why;
	return -1;
}
