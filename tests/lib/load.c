// SPDX-License-Identifier: Apache-2.0
/*
 * load: asks a server over HTTP/1.1 and counts exactly what is not answered.
 *
 *	load [-c CLIENTS] [-k KEPT] [-d SECONDS] [-p PAUSE_MS] [-t TIMEOUT_MS] HOST:PORT[/PATH]
 *
 * CLIENTS (16) ask one request after the other, PAUSE_MS (10) after each answer, for SECONDS (5); KEPT of them (half) over one connection that
 * they keep as long as the server does, the others over a new one each time. After SIGINT or SIGTERM it ends as if the time were
 * over. Prints one line:
 *
 *	{"requests": 4711, "failed": 0, "longest_gap_ms": 17.2, "p50_ms": 0.3, "p99_ms": 1.9, "reconnects": 3, "answers": {"1.0": 4000, "1.1": 711}, "why": {}}
 *
 * failed: not answered with 200, whole, within TIMEOUT_MS (10000), whatever the reason; "why" counts them by it. A kept connection that the server
 * closes while nothing is asked is opened again and counts under reconnects, as does one closed after "Connection: close"; one that is
 * closed after a request was sent has failed it. The gap is the longest time of one client between two good answers. "answers" counts the first
 * word of the answers. The exit code is 0 where nothing failed, else 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 1000, ANSWER_MAX = 16384, WORDS_MAX = 16, WORD_MAX = 32 };
enum phase { PAUSES, CONNECTS, ASKS, DONE };

struct client {
	enum phase phase;
	bool kept, reused;
	int fd;
	int64_t next_us, asked_us, last_good_us;
	size_t n;
	char answer[ANSWER_MAX];
};
struct count {
	char word[WORD_MAX];
	long n;
};

static struct client *clients;
static struct count answers[WORDS_MAX], why[WORDS_MAX];
static uint32_t *latency_us;
static size_t latency_n, latency_cap;
static long requests, failures, reconnects;
static int64_t longest_gap_us, end_us;
static int epoll_fd;
static struct sockaddr_in address;
static char request[600], host[100];
static long clients_n = 16, kept_n = -1, seconds = 5, pause_ms = 10, timeout_ms = 10000;
static volatile sig_atomic_t stop;

static void on_signal(int signo)
{
	(void)signo;
	stop = 1;
}

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what)
{
	fprintf(stderr, "load: %s\n", what);
	exit(2);
}

static void count(struct count *list, const char *word, size_t n)
{
	if (n >= WORD_MAX)
		n = WORD_MAX - 1;
	for (int i = 0; i < WORDS_MAX; i++) {
		if (list[i].n == 0) {
			for (size_t k = 0; k < n; k++)
				list[i].word[k] = word[k] < ' ' || word[k] > '~' || word[k] == '"' || word[k] == '\\'
							  ? '?'
							  : word[k];
			list[i].word[n] = '\0';
		}
		if (strlen(list[i].word) == n && memcmp(list[i].word, word, n) == 0) {
			list[i].n++;
			return;
		}
	}
	list[WORDS_MAX - 1].n++;
}

static void watch(struct client *c, uint32_t events, int op)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};
	if (epoll_ctl(epoll_fd, op, c->fd, &ev) < 0)
		die("epoll_ctl failed");
}

static void shut(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->reused = false;
}

static void rest(struct client *c)
{
	c->phase = PAUSES;
	c->next_us = now_us() + pause_ms * 1000;
}

static void fail(struct client *c, const char *reason)
{
	requests++;
	failures++;
	count(why, reason, strlen(reason));
	shut(c);
	rest(c);
}

static void good(struct client *c, const char *body, size_t n, bool closes)
{
	int64_t now = now_us();
	size_t word = 0;
	requests++;
	while (word < n && body[word] > ' ')
		word++;
	count(answers, body, word);
	if (now - c->last_good_us > longest_gap_us)
		longest_gap_us = now - c->last_good_us;
	c->last_good_us = now;
	if (latency_n == latency_cap) {
		latency_cap = latency_cap ? latency_cap * 2 : 65536;
		latency_us = realloc(latency_us, latency_cap * sizeof(*latency_us));
		if (!latency_us)
			die("out of memory");
	}
	latency_us[latency_n++] = (uint32_t)(now - c->asked_us);
	if (c->kept && closes)
		reconnects++;
	if (c->kept && !closes)
		c->reused = true;
	else
		shut(c);
	rest(c);
}

static void ask(struct client *c)
{
	size_t n = strlen(request);
	c->phase = ASKS;
	c->n = 0;
	if (send(c->fd, request, n, MSG_NOSIGNAL) != (ssize_t)n)
		fail(c, errno == EPIPE || errno == ECONNRESET ? "reset before the answer" : "send");
	else
		watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static void begin(struct client *c)
{
	char probe;
	if (c->fd >= 0) {
		/* what the server has said meanwhile can only be that it goes */
		ssize_t n = recv(c->fd, &probe, 1, MSG_PEEK | MSG_DONTWAIT);
		if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
			shut(c);
			reconnects++;
		}
	}
	c->asked_us = now_us();
	if (c->fd >= 0) {
		ask(c);
		return;
	}
	const int on = 1;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("no more sockets");
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->phase = CONNECTS;
	if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno != EINPROGRESS) {
		if (errno == EADDRNOTAVAIL)
			die("no ports are left for new connections: this is the load's own failure, ask less often");
		fail(c, errno == ECONNREFUSED ? "refused" : "connect");
		return;
	}
	watch(c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void connected(struct client *c)
{
	int error = 0;
	socklen_t n = sizeof(error);
	(void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
	if (error)
		fail(c, error == ECONNREFUSED ? "refused" : error == ECONNRESET ? "reset while connecting" : "connect");
	else
		ask(c);
}

/* The value of a header, or NULL. */
static const char *header(const char *head, const char *name)
{
	const char *at = strcasestr(head, name);
	return at ? at + strlen(name) : NULL;
}

static void answered(struct client *c)
{
	ssize_t n = recv(c->fd, c->answer + c->n, sizeof(c->answer) - 1 - c->n, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		fail(c, c->n	 ? "cut off"
			: n == 0 ? (c->reused ? "kept connection closed" : "closed without answer")
				 : "reset before the answer");
		return;
	}
	c->n += (size_t)n;
	c->answer[c->n] = '\0';
	char *end = strstr(c->answer, "\r\n\r\n");
	if (!end) {
		if (c->n + 1 == sizeof(c->answer))
			fail(c, "no end of head");
		return;
	}
	end[2] = '\0';
	const char *length = header(c->answer, "\r\ncontent-length: ");
	const char *connection = header(c->answer, "\r\nconnection: ");
	size_t body = length ? (size_t)strtoul(length, NULL, 10) : 0, have = c->n - (size_t)(end + 4 - c->answer);
	bool closes = connection && strncasecmp(connection, "close", 5) == 0;
	int status = 0;
	end[2] = '\r';
	if (!length || sscanf(c->answer, "HTTP/1.1 %d", &status) != 1) {
		fail(c, "not understood");
	} else if (have >= body) {
		char text[32];
		snprintf(text, sizeof(text), "status %d", status);
		if (status == 200)
			good(c, end + 4, body, closes);
		else
			fail(c, text);
	} else if (c->n + 1 == sizeof(c->answer)) {
		fail(c, "too long");
	}
}

static int on_time(void)
{
	int64_t now = now_us(), next = end_us > now ? end_us : now + 1000000;
	for (long i = 0; i < clients_n; i++) {
		struct client *c = &clients[i];
		int64_t at = c->phase == PAUSES ? c->next_us : c->asked_us + timeout_ms * 1000;
		if (c->phase == DONE)
			continue;
		if (c->phase == PAUSES && now >= end_us) {
			shut(c);
			c->phase = DONE;
			continue;
		}
		if (at > now) {
			next = at < next ? at : next;
			continue;
		}
		if (c->phase == PAUSES)
			begin(c);
		else
			fail(c, "no answer in time");
		next = now;
	}
	return next <= now ? 0 : (int)((next - now + 999) / 1000);
}

static bool all_done(void)
{
	for (long i = 0; i < clients_n; i++)
		if (clients[i].phase != DONE)
			return false;
	return true;
}

static void run(void)
{
	struct epoll_event ev[64];
	while (!all_done()) {
		if (stop)
			end_us = 0;
		int wait_ms = on_time();
		int n = epoll_wait(epoll_fd, ev, 64, wait_ms);
		for (int i = 0; i < n; i++) {
			struct client *c = ev[i].data.ptr;
			if (c->phase == CONNECTS)
				connected(c);
			else if (c->phase == ASKS)
				answered(c);
			else if (c->phase == PAUSES && c->fd >= 0) { /* the server goes: not told again */
				shut(c);
				reconnects++;
			}
		}
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static double percentile_ms(double p)
{
	return latency_n ? latency_us[(size_t)((double)(latency_n - 1) * p)] / 1000.0 : 0;
}

static void put_counts(const char *name, const struct count *list)
{
	printf(", \"%s\": {", name);
	for (int i = 0; i < WORDS_MAX && list[i].n; i++)
		printf("%s\"%s\": %ld", i ? ", " : "", i == WORDS_MAX - 1 ? "other" : list[i].word, list[i].n);
	putchar('}');
}

static void report(void)
{
	qsort(latency_us, latency_n, sizeof(*latency_us), by_size);
	printf("{\"requests\": %ld, \"failed\": %ld, \"longest_gap_ms\": %.1f, \"p50_ms\": %.2f, \"p99_ms\": %.2f, "
	       "\"reconnects\": %ld",
	       requests, failures, (double)longest_gap_us / 1000, percentile_ms(0.5), percentile_ms(0.99), reconnects);
	put_counts("answers", answers);
	put_counts("why", why);
	puts("}");
}

static void read_address(const char *text)
{
	const char *colon = strchr(text, ':'), *path = strchr(text, '/');
	size_t n = colon ? (size_t)(colon - text) : 0;
	if (!colon || n >= sizeof(host) || (path && path < colon))
		die("the address is HOST:PORT[/PATH], with a number for HOST");
	memcpy(host, text, n);
	host[n] = '\0';
	address =
		(struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10))};
	if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &address.sin_addr) != 1)
		die("the host must be an IPv4 address or localhost");
	snprintf(request, sizeof(request), "GET %.400s HTTP/1.1\r\nHost: %s\r\n\r\n", path ? path : "/", host);
}

int main(int argc, char **argv)
{
	int o;
	while ((o = getopt(argc, argv, "c:k:d:p:t:")) != -1) {
		long *to = o == 'c'   ? &clients_n
			   : o == 'k' ? &kept_n
			   : o == 'd' ? &seconds
			   : o == 'p' ? &pause_ms
				      : &timeout_ms;
		if (o == '?')
			return 2;
		*to = strtol(optarg, NULL, 10);
	}
	if (optind + 1 != argc || clients_n < 1 || clients_n > CLIENTS_MAX)
		die("usage: load [-c CLIENTS] [-k KEPT] [-d SECONDS] [-p PAUSE_MS] [-t TIMEOUT_MS] HOST:PORT[/PATH]");
	if (kept_n < 0)
		kept_n = clients_n / 2;
	read_address(argv[optind]);
	struct sigaction a = {.sa_handler = on_signal};
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	clients = calloc((size_t)clients_n, sizeof(*clients));
	if (epoll_fd < 0 || !clients)
		die("start failed");
	int64_t now = now_us();
	end_us = now + seconds * 1000000;
	for (long i = 0; i < clients_n; i++) /* not all at once */
		clients[i] = (struct client){.kept = i < kept_n,
					     .fd = -1,
					     .last_good_us = now,
					     .next_us = now + i * pause_ms * 1000 / clients_n};
	run();
	report();
	for (long i = 0; i < clients_n; i++)
		shut(&clients[i]);
	free(clients);
	free(latency_us);
	return failures > 0;
}
