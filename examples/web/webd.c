// SPDX-License-Identifier: Apache-2.0
/*
 * webd: a small HTTP/1.1 server that can be upgraded without losing a request. It shows what a service does for that, and serves Slipway's own tests.
 *
 *	webd [--listen PORT] [--version TEXT | --version-file FILE] [--grace MS] [--slow-start MS] [--fail-health] [--crash MS]
 *
 *	GET /            VERSION PID
 *	GET /sleep/MS    the same, later
 *	GET /health      200 "healthy", or 503
 *
 * Sockets come from LISTEN_FDS (sd_listen_fds(3)); the one named "health" answers for this process alone. It says READY=1 when it can
 * serve, and STOPPING=1 when it no longer accepts (sd_notify(3)).
 *
 * At SIGTERM it closes its listening sockets (whoever holds them open elsewhere gets what is in their queues), answers what has been
 * asked, each answer with "Connection: close", and leaves when no connection is left. A kept connection without a request is not closed
 * at once, because a request may be on its way to it at this very moment, and nobody could say then whether it has been carried out: it
 * gets the grace time to ask once more. Clients that ask less often than that must be ready for a connection that is closed while idle.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef WEBD_VERSION
#define WEBD_VERSION "0"
#endif

enum { CONNECTIONS_MAX = 4096, LISTENERS_MAX = 16, REQUEST_MAX = 8192, ANSWER_MAX = 512, LINGER_MS = 1000 };
enum what { LISTENER, SIGNALS, CONNECTION };
/* READS a request; LATER: the answer has its time; WRITES it; LINGERS: all is said, waits for the other side's end */
enum phase { FREE, READS, LATER, WRITES, LINGERS };

struct source { /* what epoll points to */
	enum what what;
	int fd;
};
struct connection {
	struct source source;
	enum phase phase;
	bool close_after;
	int64_t at_ms; /* LATER: answer; LINGERS: give up; READS while draining: close */
	size_t in_n, out_n, out_at;
	char in[REQUEST_MAX], out[ANSWER_MAX];
};

static struct source listeners[LISTENERS_MAX], signals_source;
static unsigned listeners_n, connections_n;
static struct connection *connections[CONNECTIONS_MAX];
static char version[64] = WEBD_VERSION;
static int epoll_fd;
static bool draining, fail_health;
static long grace_ms = 2000, slow_start_ms, crash_ms;

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("webd: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	exit(1);
}

static long number(const char *text)
{
	long n = 0;
	if (!*text)
		die("a number is missing");
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > 100000000)
			die("'%s' is no number", text);
		n = n * 10 + (*text - '0');
	}
	return n;
}

/* == what the supervisor is told ================================================================================== */
static void notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t n = path ? strlen(path) : 0;
	if (n == 0 || n >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path, n);
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	if (path[0] == '@') {
		a.sun_path[0] = '\0';
		length--;
	}
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		(void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&a, length);
		close(fd);
	}
}

/* == connections ================================================================================================== */
static void watch(struct source *s, uint32_t events, int op)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};
	if (epoll_ctl(epoll_fd, op, s->fd, &ev) < 0)
		die("epoll_ctl: %s", strerror(errno));
}

/* Freed at the end of the turn, because events of this turn may still point here. */
static void drop(struct connection *c)
{
	if (c->source.fd >= 0)
		close(c->source.fd);
	c->source.fd = -1;
	c->phase = FREE;
}

static void sweep(void)
{
	for (unsigned i = 0; i < connections_n;) {
		if (connections[i]->phase != FREE) {
			i++;
			continue;
		}
		free(connections[i]);
		connections[i] = connections[--connections_n];
	}
}

/* Nothing that the other side has still sent may turn our last words into a reset: so read on until it closes. */
static void linger(struct connection *c)
{
	shutdown(c->source.fd, SHUT_WR);
	c->phase = LINGERS;
	c->at_ms = now_ms() + LINGER_MS;
	watch(&c->source, EPOLLIN, EPOLL_CTL_MOD);
}

static void take_request(struct connection *c);

static void send_out(struct connection *c)
{
	ssize_t n = send(c->source.fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		watch(&c->source, EPOLLOUT, EPOLL_CTL_MOD);
		return;
	}
	if (n < 0) {
		drop(c);
		return;
	}
	c->out_at += (size_t)n;
	if (c->out_at < c->out_n) {
		watch(&c->source, EPOLLOUT, EPOLL_CTL_MOD);
	} else if (c->close_after) {
		linger(c);
	} else {
		c->phase = READS;
		c->at_ms = now_ms() + grace_ms;
		watch(&c->source, EPOLLIN, EPOLL_CTL_MOD);
		take_request(c); /* the next one may have come with it */
	}
}

static void answer(struct connection *c, int status, const char *text)
{
	c->close_after |= draining;
	c->out_n = (size_t)snprintf(c->out, sizeof(c->out),
				    "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n%s",
				    status,
				    status == 200   ? "OK"
				    : status == 503 ? "Service Unavailable"
						    : "Bad Request",
				    strlen(text), c->close_after ? "Connection: close\r\n" : "", text);
	c->out_at = 0;
	c->phase = WRITES;
	send_out(c);
}

static void answer_version(struct connection *c)
{
	char text[128];
	snprintf(text, sizeof(text), "%s %d\n", version, (int)getpid());
	answer(c, 200, text);
}

static bool asks_to_close(const char *head)
{
	static const char word[] = "\r\nconnection: close\r\n";
	return strcasestr(head, word) != NULL;
}

/* One whole request (without a body) from what has been read, if there is one. */
static void take_request(struct connection *c)
{
	c->in[c->in_n] = '\0';
	char *end = strstr(c->in, "\r\n\r\n");
	if (!end) {
		if (c->in_n + 1 == sizeof(c->in)) {
			c->close_after = true;
			answer(c, 400, "too long\n");
		}
		return;
	}
	char head[REQUEST_MAX], path[200];
	size_t n = (size_t)(end - c->in) + 4;
	memcpy(head, c->in, n);
	head[n] = '\0';
	memmove(c->in, c->in + n, c->in_n - n);
	c->in_n -= n;
	c->close_after = asks_to_close(head);
	if (sscanf(head, "GET %199s HTTP/1.", path) != 1) {
		c->close_after = true;
		answer(c, 400, "what?\n");
	} else if (strncmp(path, "/health", 7) == 0) {
		answer(c, fail_health ? 503 : 200, fail_health ? "ill\n" : "healthy\n");
	} else if (strncmp(path, "/sleep/", 7) == 0 && strspn(path + 7, "0123456789") == strlen(path + 7) && path[7]) {
		c->phase = LATER;
		c->at_ms = now_ms() + number(path + 7);
		watch(&c->source, 0, EPOLL_CTL_MOD);
	} else {
		answer_version(c);
	}
}

static void on_connection(struct connection *c, uint32_t events)
{
	if (c->phase == WRITES && events & EPOLLOUT) {
		send_out(c);
		return;
	}
	if (c->phase == LATER || c->phase == FREE) {
		if (c->phase == LATER && events & (EPOLLHUP | EPOLLERR))
			drop(c);
		return;
	}
	char *to = c->phase == LINGERS ? c->in : c->in + c->in_n;
	size_t room = c->phase == LINGERS ? sizeof(c->in) : sizeof(c->in) - 1 - c->in_n;
	ssize_t n = recv(c->source.fd, to, room, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(c);
	} else if (c->phase == READS) {
		c->in_n += (size_t)n;
		take_request(c);
	}
}

static void on_listener(struct source *s)
{
	while (connections_n < CONNECTIONS_MAX) {
		int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) /* EAGAIN: another process on the same socket was faster */
			return;
		const int on = 1;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		struct connection *c = calloc(1, sizeof(*c));
		if (!c)
			die("out of memory");
		c->source = (struct source){CONNECTION, fd};
		c->phase = READS;
		c->at_ms = now_ms() + grace_ms;
		connections[connections_n++] = c;
		watch(&c->source, EPOLLIN, EPOLL_CTL_ADD);
	}
}

/* == time ========================================================================================================= */
static void drain(void)
{
	draining = true;
	for (unsigned i = 0; i < listeners_n; i++)
		close(listeners[i].fd);
	listeners_n = 0;
	notify("STOPPING=1");
	for (unsigned i = 0; i < connections_n; i++)
		if (connections[i]->phase == READS)
			connections[i]->at_ms = now_ms() + grace_ms;
}

static int on_time(void)
{
	int64_t now = now_ms(), next = now + 3600000;
	for (unsigned i = 0; i < connections_n; i++) {
		struct connection *c = connections[i];
		bool timed = c->phase == LATER || c->phase == LINGERS || (c->phase == READS && draining);
		if (timed && c->at_ms <= now) {
			if (c->phase == LATER)
				answer_version(c);
			else
				drop(c);
		} else if (timed && c->at_ms < next) {
			next = c->at_ms;
		}
	}
	return (int)(next - now);
}

static void serve(void)
{
	struct epoll_event ev[64];
	int64_t started = now_ms();
	while (!draining || connections_n > 0) {
		int wait_ms = on_time();
		sweep();
		if (draining && connections_n == 0)
			return;
		if (crash_ms > 0) {
			if (now_ms() - started >= crash_ms)
				kill(getpid(), SIGKILL);
			wait_ms = wait_ms < crash_ms ? wait_ms : (int)crash_ms;
		}
		int n = epoll_wait(epoll_fd, ev, 64, wait_ms);
		for (int i = 0; i < n; i++) {
			struct source *s = ev[i].data.ptr;
			if (s->what == SIGNALS) {
				struct signalfd_siginfo info;
				if (read(s->fd, &info, sizeof(info)) == (ssize_t)sizeof(info) && !draining)
					drain();
			} else if (s->what == CONNECTION) {
				on_connection((struct connection *)(void *)s, ev[i].events);
			} else if (!draining) {
				on_listener(s);
			}
		}
		sweep();
	}
}

/* == start ======================================================================================================== */
static void add_listener(int fd)
{
	if (listeners_n == LISTENERS_MAX)
		die("more than %d sockets", LISTENERS_MAX);
	/* shared with other versions, who all want it so */
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		die("socket %d: %s", fd, strerror(errno));
	listeners[listeners_n] = (struct source){LISTENER, fd};
	watch(&listeners[listeners_n], EPOLLIN, EPOLL_CTL_ADD);
	listeners_n++;
}

static void listen_on(long port)
{
	const int on = 1;
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, SOMAXCONN) < 0)
		die("listen on port %ld: %s", port, strerror(errno));
	add_listener(fd);
}

static void read_version(const char *path)
{
	FILE *f = fopen(path, "re");
	if (!f || !fgets(version, sizeof(version), f))
		die("read '%s': %s", path, f ? "empty" : strerror(errno));
	version[strcspn(version, "\r\n")] = '\0';
	fclose(f);
}

static const char *value(char **argv, int *i)
{
	if (!argv[*i + 1])
		die("'%s' needs a value", argv[*i]);
	return argv[++*i];
}

static void read_options(char **argv, long *port)
{
	for (int i = 1; argv[i]; i++) {
		if (strcmp(argv[i], "--listen") == 0)
			*port = number(value(argv, &i));
		else if (strcmp(argv[i], "--version") == 0)
			snprintf(version, sizeof(version), "%s", value(argv, &i));
		else if (strcmp(argv[i], "--version-file") == 0)
			read_version(value(argv, &i));
		else if (strcmp(argv[i], "--grace") == 0)
			grace_ms = number(value(argv, &i));
		else if (strcmp(argv[i], "--slow-start") == 0)
			slow_start_ms = number(value(argv, &i));
		else if (strcmp(argv[i], "--crash") == 0)
			crash_ms = number(value(argv, &i));
		else if (strcmp(argv[i], "--fail-health") == 0)
			fail_health = true;
		else
			die("unknown option '%s'", argv[i]);
	}
}

int main(int argc, char **argv)
{
	long port = 0;
	const char *fds = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	(void)argc;
	read_options(argv, &port);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	signals_source = (struct source){SIGNALS, signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
	if (epoll_fd < 0 || signals_source.fd < 0)
		die("start: %s", strerror(errno));
	watch(&signals_source, EPOLLIN, EPOLL_CTL_ADD);
	if (slow_start_ms > 0) {
		struct timespec t = {slow_start_ms / 1000, slow_start_ms % 1000 * 1000000};
		nanosleep(&t, NULL);
	}
	if (fds && pid && number(pid) == getpid())
		for (long i = 0; i < number(fds); i++)
			add_listener(3 + (int)i);
	if (port > 0)
		listen_on(port);
	if (listeners_n == 0)
		die("nothing to listen on: no LISTEN_FDS for this process and no --listen");
	notify("READY=1");
	printf("webd %s serves\n", version);
	fflush(stdout);
	serve();
	return 0;
}
