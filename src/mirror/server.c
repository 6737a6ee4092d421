// SPDX-License-Identifier: Apache-2.0
#include "mirror/server.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/fs.h"

enum {
	HOUR_MS = 3600000,
	RELOAD_HOURS = 12,
	STOP_GRACE_MS = 10000,
	RETIRE_GRACE_MS = 600000,
	TAKE_OVER_MS = RETIRE_GRACE_MS + 30000,
	FORMER_STEP_MS = 200,
	FORMER_STOP_MS = 3000,
	CLOCK_LOOK_MS = 5000,
	CLOCK_STEP_MS = 60000, /* less is none */
	PEM_MAX = 256 << 10,
	FILES_OWN = 256,
	TROUBLES = 20, /* lines a second of those who are refused in handshakes */
};
#define LOCK "state/server.lock"

/* -- readers -------------------------------------------------------------------------------------------------------- */

struct mirror_reader *server_reader_take(struct server *s, struct err *e)
{
	struct mirror_reader *r = NULL;
	pthread_mutex_lock(&s->readers_mutex);
	if (s->readers.n)
		r = vec_pop(&s->readers);
	pthread_mutex_unlock(&s->readers_mutex);
	if (!r && mirror_reader_new(s->mirror, &r, e) < 0)
		return NULL;
	return r;
}

void server_reader_put(struct server *s, struct mirror_reader *r)
{
	pthread_mutex_lock(&s->readers_mutex);
	vec_push(&s->readers, r);
	pthread_mutex_unlock(&s->readers_mutex);
}

/* -- listening sockets ---------------------------------------------------------------------------------------------- */

static int bind_address(const struct addrinfo *at, struct str where, struct err *e)
{
	const int on = 1;
	auto_fd fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "make a socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, SOMAXCONN) < 0) {
		if (errno == EACCES)
			return err_new(
				e, ERR_FAILED,
				"listen at '%.*s': ports below 1024 are for root; 'slipway mirror install-service' shows the "
				"ways to serve at 443 as another user",
				STR_ARG(where));
		err_sys(e, "listen at '%.*s'", STR_ARG(where));
		return e->sys == EADDRINUSE ? err_ctx(e, "another program has the port; change it in mirror.yaml") : -1;
	}
	return steal_fd(&fd);
}

/* "HOST:PORT", "[ADDRESS]:PORT". */
static int bind_to(struct str where, struct err *e)
{
	char host[256], port[16];
	struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
	ptrdiff_t colon = str_rfind(where, ':');
	struct str name = colon < 0 ? STR_NONE : str_head(where, (size_t)colon);
	if (name.n >= 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
		name = str_of(name.p + 1, name.n - 2);
	snprintf(host, sizeof(host), "%.*s", STR_ARG(name));
	snprintf(port, sizeof(port), "%.*s", STR_ARG(str_skip(where, (size_t)(colon + 1))));
	int rc = colon < 0 ? EAI_NONAME : getaddrinfo(host[0] ? host : NULL, port, &want, &found);
	if (rc != 0)
		return err_new(e, ERR_INPUT, "listen at '%.*s': %s; write ADDRESS:PORT in mirror.yaml", STR_ARG(where),
			       gai_strerror(rc));
	int fd = bind_address(found, where, e);
	freeaddrinfo(found);
	return fd;
}

static void add_socket(struct control_sockets *v, int fd, const char *name)
{
	v->fd[v->n] = fd;
	snprintf(v->name[v->n++], CONTROL_NAME_MAX, "%s", name);
}

/* Those of systemd where it has passed some (they are the service's), else the configured ones; the admin port is the last. */
static int open_sockets(struct server *s, struct err *e)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	int inherited[CONTROL_SOCKETS_MAX - 1];
	int n = httpd_inherited(inherited, CONTROL_SOCKETS_MAX - 1, e);
	for (int i = 0; i < n; i++)
		add_socket(&s->sockets, inherited[i], "service");
	int fd = n == 0 ? bind_to(config->server.listen, e) : 0;
	if (n < 0 || fd < 0)
		return -1;
	if (n == 0)
		add_socket(&s->sockets, fd, "service");
	fd = bind_to(config->server.admin, e);
	if (fd < 0)
		return -1;
	add_socket(&s->sockets, fd, "admin");
	return 0;
}

/* -- certificates --------------------------------------------------------------------------------------------------- */

static int read_pem(struct server *s, struct arena *a, struct str configured, const char *own, struct str *ret,
		    struct err *e)
{
	auto_buf b = BUF_INIT(PEM_MAX);
	int rc = configured.n ? fs_read(AT_FDCWD, configured.p, &b, e) : fs_read(s->mirror->dir_fd, own, &b, e);
	*ret = arena_str(a, buf_str(&b));
	return rc;
}

/* The mirror's own certificate is made, and renewed before it ends. */
static int make_certificate(struct server *s, struct err *e)
{
	return mirror_config(s->mirror)->server.certificate.n ? 0 : mirror_authority_keep(s->mirror, s->clock, e);
}

static int read_tls(struct server *s, struct arena *a, struct httpd_tls *ret, struct err *e)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	*ret = (struct httpd_tls){.client = HTTPD_CLIENT_OPTIONAL};
	return read_pem(s, a, config->server.certificate, "pki/server.pem", &ret->cert_pem, e) < 0 ||
			       read_pem(s, a, config->server.key, "pki/server.key", &ret->key_pem, e) < 0 ||
			       read_pem(s, a, config->server.client_ca, "pki/ca.pem", &ret->ca_pem, e) < 0
		       ? -1
		       : 0;
}

static int reload(struct server *s, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct httpd_tls tls;
	if (make_certificate(s, e) < 0 || read_tls(s, &a, &tls, e) < 0)
		return -1;
	for (size_t i = 0; i < s->service_n; i++)
		if (httpd_reload(s->httpd, i, &tls, e) < 0)
			return -1;
	server_log_reopen(s->log);
	server_say(s->log, LOG_LEVEL_NOTE, "certificates read again");
	return 0;
}

/* -- orders --------------------------------------------------------------------------------------------------------- */

static void wake(struct server *s)
{
	(void)!write(s->wake, &(uint64_t){1}, sizeof(uint64_t)); /* style: allow sys: no state */
}

/* Orders come while the main thread may be at the end. */
static int with_server(struct server *s, struct buf *b, struct err *e)
{
	pthread_mutex_lock(&s->ending_mutex);
	int rc = !s->httpd ? err_new(e, ERR_BUSY, "the server stops") : b ? admin_status(s, b, e) : reload(s, e);
	pthread_mutex_unlock(&s->ending_mutex);
	return rc;
}

static int reload_ordered(void *ctx, struct err *e)
{
	return with_server(ctx, NULL, e);
}

static void stop(void *ctx)
{
	struct server *s = ctx;
	atomic_store(&s->stop, true);
	wake(s);
}

static void retire(void *ctx)
{
	struct server *s = ctx;
	atomic_store(&s->retire, true);
	wake(s);
}

static int sockets(void *ctx, struct control_sockets *ret, struct err *e)
{
	struct server *s = ctx;
	int rc = 0;
	pthread_mutex_lock(&s->ending_mutex);
	for (int i = 0; i < s->sockets.n && rc == 0; i++) {
		int fd = fcntl(s->sockets.fd[i], F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			rc = err_sys(e, "copy a socket");
		else
			add_socket(ret, fd, s->sockets.name[i]);
	}
	if (s->sockets.n == 0)
		rc = err_new(e, ERR_BUSY, "the server stops");
	pthread_mutex_unlock(&s->ending_mutex);
	return rc;
}

/* Whether the process that was to take this one's place has ended without doing so. */
static void look_at_successor(struct server *s)
{
	int how;
	if (s->successor > 0 && waitpid(s->successor, &how, WNOHANG) > 0) {
		s->successor = 0;
		s->successor_failed = true;
		server_say(s->log, LOG_LEVEL_ERROR, "the process that was to take over has ended; this one goes on");
	}
}

static int status(void *ctx, struct buf *b, struct err *e)
{
	look_at_successor(ctx);
	return with_server(ctx, b, e);
}

/* The thread of orders alone comes here. */
static int succeed(void *ctx, const char *program, struct err *e)
{
	struct server *s = ctx;
	const char *argv[] = {program, "mirror", "serve", "--take-over", mirror_dir(s->mirror), NULL};
	posix_spawnattr_t how;
	sigset_t none, all;
	look_at_successor(s);
	if (s->successor > 0)
		return err_new(e, ERR_BUSY, "a process that is to take over begins already");
	if (program[0] != '/')
		return err_new(e, ERR_INPUT, "'%s' is no path of a program", program);
	sigemptyset(&none);
	sigfillset(&all);
	s->successor_failed = false;
	posix_spawnattr_init(&how);
	posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&how, &none);
	posix_spawnattr_setsigdefault(&how, &all);
	errno = posix_spawn(&s->successor, program, NULL, &how, (char *const *)(uintptr_t)argv, environ);
	posix_spawnattr_destroy(&how);
	if (errno == 0)
		return 0;
	s->successor = 0;
	return err_sys(e, "start '%s'", program);
}

static const struct control_handlers orders = {.status = status,
					       .reload = reload_ordered,
					       .stop = stop,
					       .sockets = sockets,
					       .succeed = succeed,
					       .retire = retire};

/* -- keeping it up to date ------------------------------------------------------------------------------------------ */

static void tell(struct progress *p, const struct progress_event *ev)
{
	struct server *s = p->ctx;
	/* one download among many is told of by the sync that it was for */
	if (!ev->phase || strcmp(ev->phase, "download") == 0)
		return;
	if (ev->kind == PROGRESS_NOTE)
		server_say(s->log, LOG_LEVEL_NOTE, "%s: %s", ev->id ? ev->id : "", ev->text ? ev->text : "");
	else if (ev->kind == PROGRESS_FAILED)
		server_say(s->log, LOG_LEVEL_ERROR, "%s: %s", ev->id ? ev->id : "", ev->text ? ev->text : "");
}

static void *tend(void *arg)
{
	struct server *s = arg;
	struct progress progress = {.event = tell, .ctx = s};
	struct err e = ERR_INIT;
	if (mirror_tend(s->mirror, &s->tending_stop, &progress, &e) < 0) {
		server_say(s->log, LOG_LEVEL_ERROR, "channels are not kept up to date any more: %s", e.msg);
		atomic_store(&s->tending_ended, true);
	}
	return NULL;
}

static int start_tender(struct server *s, struct err *e)
{
	errno = pthread_create(&s->tender, NULL, tend, s);
	s->tends = errno == 0;
	return s->tends ? 0 : err_sys(e, "start a thread");
}

/* -- beginning ------------------------------------------------------------------------------------------------------ */

static int open_channels(struct server *s, struct err *e)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	s->served = xcalloc(config->channels_n + 1, sizeof(*s->served));
	for (size_t i = 0; i < config->channels_n; i++)
		s->served[i].tree_fd = -1;
	for (size_t i = 0; i < config->channels_n; i++) {
		s->served[i] = (struct served){.channel = &config->channels[i],
					       .tree_fd = mirror_tree(s->mirror, &config->channels[i], e)};
		if (s->served[i].tree_fd < 0)
			return err_ctx(e, "channel '%.*s'", STR_ARG(config->channels[i].name));
	}
	return 0;
}

/* Thousands of connections, each with a file, are more than a process may have at first. */
static void allow_files(void)
{
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur == l.rlim_max)
		return;
	l.rlim_cur = l.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &l);
}

static void on_record(const struct httpd_record *rec, void *ctx)
{
	server_log_record(((struct server *)ctx)->log, rec);
}

/* Who is refused in a handshake never gets to ask for anything: the keeper hears of it here. */
static void on_trouble(struct str peer, const char *what, void *ctx)
{
	struct server *s = ctx;
	uint64_t second = (uint64_t)(s->clock->mono_ms(s->clock) / 1000);
	if (atomic_exchange(&s->trouble_s, second) != second) {
		unsigned more = atomic_exchange(&s->troubles, 0);
		if (more > TROUBLES)
			server_say(s->log, LOG_LEVEL_NOTE, "%u more handshakes failed", more - TROUBLES);
	}
	if (atomic_fetch_add(&s->troubles, 1) < TROUBLES) /* nobody fills the log with them */
		server_say(s->log, LOG_LEVEL_NOTE, "%.*s: %s", STR_ARG(peer), what);
}

/* Each may have a file open beside it. */
static uint32_t allowed_connections(struct server *s)
{
	struct rlimit l;
	int64_t wanted = mirror_config(s->mirror)->server.connections;
	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur == RLIM_INFINITY)
		return (uint32_t)wanted;
	int64_t files = (int64_t)l.rlim_cur, most = files > 4 * FILES_OWN ? (files - FILES_OWN) / 2 : files / 4 + 1;
	if (most < wanted)
		server_say(
			s->log, LOG_LEVEL_NOTE,
			"at most %lld connections, not %lld: the process may open %lld files; raise LimitNOFILE or 'ulimit -n'",
			(long long)most, (long long)wanted, (long long)files);
	return (uint32_t)(most < wanted ? most : wanted);
}

/* 0 would be httpd's own default. */
static uint32_t bounded_ms(int64_t ms)
{
	return ms < 1 ? 1 : ms > INT32_MAX ? INT32_MAX : (uint32_t)ms;
}

static int start_httpd(struct server *s, struct err *e)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	auto_arena a = ARENA_INIT;
	struct httpd_tls tls;
	struct httpd_listen at[CONTROL_SOCKETS_MAX];
	uint32_t connections = allowed_connections(s);
	int64_t per_address = config->server.per_address;
	if (read_tls(s, &a, &tls, e) < 0)
		return -1;
	for (int i = 0; i < s->sockets.n; i++) {
		bool admin = strcmp(s->sockets.name[i], "admin") == 0;
		at[i] = (struct httpd_listen){.fd = fcntl(s->sockets.fd[i], F_DUPFD_CLOEXEC, 0),
					      .tls = admin ? NULL : &tls};
		if (at[i].fd < 0)
			return err_sys(e, "copy a socket");
		s->service_n += !admin;
	}
	const struct httpd_opts o = {
		.listen = at,
		.listen_n = (size_t)s->sockets.n,
		.handler = handler_on_request,
		.body = handler_on_body,
		.record = on_record,
		.trouble = on_trouble,
		.ctx = s,
		.clock = s->clock,
		.threads = (unsigned)config->server.threads,
		.connections = connections,
		.connections_per_peer = per_address ? (uint32_t)per_address : connections / 4 + 1,
		.header_ms = bounded_ms(config->server.header_ms),
		.idle_ms = bounded_ms(config->server.idle_ms),
		.stall_ms = bounded_ms(config->server.stall_ms),
	};
	return httpd_start(&o, &s->httpd, e);
}

static int open_parts(struct server *s, const char *dir, const struct mirror_serve_opts *o, struct err *e)
{
	s->clock = o->clock ? o->clock : &clock_system;
	s->started_ms = s->clock->wall_ms(s->clock);
	if (mirror_open(dir, &s->mirror, e) < 0)
		return -1;
	if (mirror_is_plain(s->mirror))
		return err_new(e, ERR_USAGE,
			       "'%s' is a folder that follows a channel, no mirror; 'slipway mirror init' makes one",
			       dir);
	s->state_fd = fs_open_dir(s->mirror->dir_fd, "state", e);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->state_fd < 0 || s->wake < 0)
		return s->wake < 0 ? err_sys(e, "make an eventfd") : -1;
	if (server_log_open(s->mirror, o->foreground, &s->log, e) < 0 || make_certificate(s, e) < 0 ||
	    mirror_clients_open(mirror_dir(s->mirror), s->clock, &s->clients, e) < 0 ||
	    mirror_snapshots_open(mirror_db_path(s->mirror), &s->snapshots, e) < 0 || open_channels(s, e) < 0 ||
	    relay_new(s->log, &s->relay, e) < 0 || admin_new(s, &s->admin, e) < 0)
		return -1;
	mirror_snapshots_configure(s->mirror, s->snapshots);
	return 0;
}

/* From the start of threads to the end all of them block what the main thread waits for. */
static int open_signals(sigset_t *before, struct err *e)
{
	sigset_t mine;
	sigemptyset(&mine);
	sigaddset(&mine, SIGTERM);
	sigaddset(&mine, SIGINT);
	sigaddset(&mine, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &mine, before);
	int fd = signalfd(-1, &mine, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_sys(e, "wait for signals") : fd;
}

static bool is_ending(struct server *s)
{
	return atomic_load(&s->stop) || atomic_load(&s->retire);
}

/* -- in the middle -------------------------------------------------------------------------------------------------- */

/* Whether mirror.db can be read: all of it, which takes seconds where it is large. */
static void look_at_db(struct server *s)
{
	char found[DB_TROUBLE_MAX] = "";
	struct err e = ERR_INIT;
	if (mirror_db_check(s->mirror, &e) < 0)
		snprintf(found, sizeof(found), "%s", e.msg);
	pthread_mutex_lock(&s->db_mutex);
	bool new = found[0] && !s->db_trouble[0];
	memcpy(s->db_trouble, found, sizeof(found));
	pthread_mutex_unlock(&s->db_mutex);
	if (new)
		server_say(s->log, LOG_LEVEL_ERROR, "%s", found);
}

/* A reload also makes new keys for session tickets, which must not get old. */
static void hourly(struct server *s, unsigned hours)
{
	struct err e = ERR_INIT;
	int made = make_certificate(s, &e);
	if (made > 0)
		server_say(s->log, LOG_LEVEL_NOTE, "the server's certificate was renewed");
	if (made < 0 || ((made > 0 || hours % RELOAD_HOURS == 0) && reload(s, &e) < 0))
		server_say(s->log, LOG_LEVEL_ERROR, "renew the server's certificate: %s", e.msg);
	if (mirror_clients_keep(s->clients, &e) < 0)
		server_say(s->log, LOG_LEVEL_ERROR, "%s", e.msg);
	look_at_db(s);
	int64_t gone;
	e = ERR_INIT;
	pthread_mutex_lock(&s->snapshots_mutex);
	if (mirror_snapshots_prune(s->snapshots, s->clock->wall_ms(s->clock), false, &gone, &e) < 0)
		server_say(s->log, LOG_LEVEL_ERROR, "remove snapshots that are over: %s", e.msg);
	pthread_mutex_unlock(&s->snapshots_mutex);
}

/* A clock that was set may have ended certificates, or begun none yet: what waits for its hour is done now. */
static void look_at_clock(struct server *s, int64_t *ahead_ms, unsigned hours)
{
	int64_t now = s->clock->wall_ms(s->clock) - s->clock->mono_ms(s->clock), step = now - *ahead_ms;
	*ahead_ms = now;
	if (step > -CLOCK_STEP_MS && step < CLOCK_STEP_MS)
		return;
	server_say(s->log, LOG_LEVEL_NOTE, "the clock was set by %lld s; certificates are looked at",
		   (long long)(step / 1000));
	hourly(s, hours);
}

static void take_signal(struct server *s, int signals)
{
	struct signalfd_siginfo info;
	struct err e = ERR_INIT;
	while (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo != SIGHUP)
			atomic_store(&s->stop, true);
		else if (reload(s, &e) < 0)
			server_say(s->log, LOG_LEVEL_ERROR, "read certificates again: %s", e.msg);
	}
}

static void wait_for_end(struct server *s, int signals)
{
	int64_t next_ms = clock_mono_ms() + HOUR_MS;
	int64_t ahead_ms = s->clock->wall_ms(s->clock) - s->clock->mono_ms(s->clock);
	unsigned hours = 0;
	look_at_db(s);
	while (!is_ending(s)) {
		struct pollfd p[] = {{.fd = s->wake, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
		int64_t left = next_ms - clock_mono_ms();
		(void)poll(p, 2, left < 0 ? 0 : left > CLOCK_LOOK_MS ? CLOCK_LOOK_MS : (int)left);
		look_at_clock(s, &ahead_ms, hours);
		uint64_t count;
		(void)!read(s->wake, &count, sizeof(count));
		take_signal(s, signals);
		if (clock_mono_ms() >= next_ms) {
			hourly(s, ++hours);
			next_ms = clock_mono_ms() + HOUR_MS;
		}
	}
}

/* -- the end -------------------------------------------------------------------------------------------------------- */

static void end(struct server *s)
{
	bool retires = atomic_load(&s->retire) && !atomic_load(&s->stop);
	server_say(s->log, LOG_LEVEL_NOTE,
		   retires ? "another process took over; what was asked for is answered" : "stops");
	atomic_store(&s->tending_stop, true);
	httpd_stop(s->httpd, retires ? RETIRE_GRACE_MS : STOP_GRACE_MS);
	if (s->tends)
		pthread_join(s->tender, NULL);
	/* whoever hears that it has ended finds the port free */
	pthread_mutex_lock(&s->ending_mutex);
	admin_free(s->admin);
	s->admin = NULL;
	control_sockets_release(&s->sockets);
	httpd_free(s->httpd);
	s->httpd = NULL;
	pthread_mutex_unlock(&s->ending_mutex);
}

static void server_release(struct server *s)
{
	if (s->httpd)
		httpd_stop(s->httpd, 0); /* handlers use what goes now */
	relay_free(s->relay);
	admin_free(s->admin);
	if (s->httpd)
		httpd_free(s->httpd);
	control_close(s->control);
	mirror_snapshots_free(s->snapshots);
	mirror_clients_free(s->clients);
	vec_foreach(r, &s->readers)
		mirror_reader_free(*r);
	vec_release(&s->readers);
	for (size_t i = 0; s->served && i < mirror_config(s->mirror)->channels_n; i++)
		cleanup_fd(&s->served[i].tree_fd);
	free(s->served);
	server_log_free(s->log);
	control_sockets_release(&s->sockets);
	cleanup_fd(&s->wake);
	cleanup_fd(&s->state_fd);
	mirror_close(s->mirror);
	pthread_mutex_destroy(&s->ending_mutex);
	pthread_mutex_destroy(&s->db_mutex);
	pthread_mutex_destroy(&s->readers_mutex);
	pthread_mutex_destroy(&s->snapshots_mutex);
}
#define auto_server cleanup_with(server_release) struct server

/* -- all of it ------------------------------------------------------------------------------------------------------ */

/* A third may take over from the second while the first still answers: the second does not wait then. Who is to stop waits some time, so
 * that the port is free when it has. */
static int wait_for_former(struct server *s, int conn, int signals, struct err *e)
{
	int64_t until_ms = clock_mono_ms() + TAKE_OVER_MS, stop_ms = 0;
	while (!atomic_load(&s->retire)) {
		int64_t now = clock_mono_ms();
		*e = (struct err)ERR_INIT;
		if (control_wait_end(conn, FORMER_STEP_MS, e) == 0)
			return 0;
		if (e->code != ERR_BUSY || now > until_ms)
			return -1;
		take_signal(s, signals);
		if (!stop_ms && atomic_load(&s->stop))
			stop_ms = now + FORMER_STOP_MS;
		if (stop_ms && now > stop_ms)
			break;
	}
	*e = (struct err)ERR_INIT;
	return 0;
}

/* What only one process may do waits until the one before has ended. */
static int take_lock(struct server *s, int conn, int signals, int *ret, struct err *e)
{
	auto_buf b = BUF_INIT(CONTROL_ANSWER_MAX);
	if (conn >= 0 &&
	    (control_say(conn, "ready", STOP_GRACE_MS, &b, e) < 0 || wait_for_former(s, conn, signals, e) < 0))
		return -1;
	if (is_ending(s))
		return 0;
	*ret = fs_lock(s->mirror->dir_fd, LOCK, conn >= 0 ? STOP_GRACE_MS : 0, e);
	if (*ret >= 0)
		return 0;
	if (e->code == ERR_BUSY)
		return err_new(
			e, ERR_BUSY,
			"a server of this mirror runs already: 'slipway mirror status' tells of it, 'slipway mirror restart' "
			"has a new one take over");
	return -1;
}

static int run(struct server *s, const struct mirror_serve_opts *o, int signals, struct err *e)
{
	auto_fd conn = -1, lock = -1;
	if (o->take_over && control_take(s->state_fd, &s->sockets, &conn, e) < 0)
		return -1;
	if (!o->take_over && (take_lock(s, -1, signals, &lock, e) < 0 || open_sockets(s, e) < 0))
		return -1;
	if (start_httpd(s, e) < 0 || control_listen(s->state_fd, &orders, s, &s->control, e) < 0)
		return -1;
	server_say(s->log, LOG_LEVEL_NOTE, "%s at port %u, admin port %u", o->take_over ? "took over" : "serves",
		   httpd_port(s->httpd, 0), httpd_port(s->httpd, s->service_n));
	if (o->ready)
		o->ready(o->ctx, httpd_port(s->httpd, 0), httpd_port(s->httpd, s->service_n));
	struct err late = ERR_INIT;
	if (o->take_over && take_lock(s, conn, signals, &lock, &late) < 0)
		server_say(s->log, LOG_LEVEL_ERROR, "the process of before: %s", late.msg);
	int rc = is_ending(s) ? 0 : start_tender(s, e);
	if (rc == 0)
		wait_for_end(s, signals);
	end(s);
	return rc;
}

int mirror_serve(const char *dir, const struct mirror_serve_opts *o, struct err *e)
{
	auto_server s = {.state_fd = -1, .wake = -1};
	sigset_t before;
	pthread_mutex_init(&s.ending_mutex, NULL);
	pthread_mutex_init(&s.db_mutex, NULL);
	pthread_mutex_init(&s.readers_mutex, NULL);
	pthread_mutex_init(&s.snapshots_mutex, NULL);
	allow_files();
	auto_fd signals = open_signals(&before, e);
	int rc = signals < 0 || open_parts(&s, dir, o, e) < 0 ? -1 : run(&s, o, signals, e);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* -- from outside --------------------------------------------------------------------------------------------------- */

static int open_state(const char *dir, struct err *e)
{
	auto_free char *path = xasprintf("%s/state", dir);
	int fd = fs_open_dir(AT_FDCWD, path, e);
	return fd < 0 ? err_ctx(e, "'%s' is no mirror that was ever started", dir) : fd;
}

int mirror_server_ask(const char *dir, const char *verb, struct buf *ret, struct err *e)
{
	auto_fd state = open_state(dir, e);
	return state < 0 ? -1 : control_ask(state, verb, STOP_GRACE_MS, ret, NULL, e);
}

int mirror_server_stop(const char *dir, int64_t wait_ms, struct err *e)
{
	auto_buf b = BUF_INIT(CONTROL_ANSWER_MAX);
	auto_fd conn = -1;
	auto_fd state = open_state(dir, e);
	if (state < 0 || control_ask(state, "stop", STOP_GRACE_MS, &b, &conn, e) < 0)
		return -1;
	return control_wait_end(conn, wait_ms, e);
}
