// SPDX-License-Identifier: Apache-2.0
/*
 * A scripted HTTP server on loopback for unit tests: each connection gets the next answer of a list, whole or cut off,
 * and what was asked is kept.
 *
 *	struct http_answer answers[] = {{.status = 503}, {.body = "hello"}};
 *	struct http_server s = http_start(answers, 2);
 *	... http_url(&s, "/file") ...
 *	http_stop(&s); CHECK_STR(...)   s.log->request[i] holds the i-th request's head
 *
 * One request a connection ("Connection: close"), so that the order of answers is the order of requests.
 */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HTTP_MAX_REQUESTS = 64, HTTP_HEAD = 2048 };

struct http_answer {
	int status;	     /* 0: 200, or 206 where a range is asked for and `ranges` */
	const char *headers; /* further lines, each with "\r\n" */
	const char *body;
	size_t body_n;	       /* 0: strlen(body) */
	size_t cut_after;      /* closes after so many bytes of the body; 0: all of it */
	bool ranges, no_reply; /* no_reply: closes without a word */
};
struct http_log {
	unsigned n;
	char request[HTTP_MAX_REQUESTS][HTTP_HEAD];
};
struct http_server {
	pid_t pid;
	unsigned port;
	struct http_log *log; /* shared with the server's process */
	char url[128];
};

static void http_send(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
		if (done <= 0)
			return;
		p += done;
		n -= (size_t)done;
	}
}

static size_t http_range_start(const char *head)
{
	const char *range = strstr(head, "Range: bytes=");
	return range ? strtoul(range + 13, NULL, 10) : 0;
}

static void http_reply(int fd, const struct http_answer *a, const char *head)
{
	char line[1024];
	const char *body = a->body ? a->body : "";
	size_t n = a->body_n ? a->body_n : strlen(body), start = a->ranges ? http_range_start(head) : 0;
	if (a->no_reply)
		return;
	int status = a->status ? a->status : start ? 206 : 200;
	if (start > n)
		start = n;
	int len = snprintf(line, sizeof(line), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n%s",
			   status, n - start, a->headers ? a->headers : "");
	http_send(fd, line, (size_t)len);
	if (status == 206) {
		len = snprintf(line, sizeof(line), "Content-Range: bytes %zu-%zu/%zu\r\n", start, n - 1, n);
		http_send(fd, line, (size_t)len);
	}
	http_send(fd, "\r\n", 2);
	size_t send_n = a->cut_after && a->cut_after < n - start ? a->cut_after : n - start;
	if (status != 304)
		http_send(fd, body + start, send_n);
}

static void http_serve(int listener, const struct http_answer *answers, unsigned n, struct http_log *log)
{
	for (unsigned i = 0; i < HTTP_MAX_REQUESTS; i++) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			return;
		char *head = log->request[i];
		size_t at = 0;
		while (at < HTTP_HEAD - 1 && !strstr(head, "\r\n\r\n")) {
			ssize_t got = read(fd, head + at, HTTP_HEAD - 1 - at);
			if (got <= 0)
				break;
			at += (size_t)got;
			head[at] = '\0';
		}
		log->n = i + 1;
		http_reply(fd, &answers[i < n ? i : n - 1], head);
		shutdown(fd, SHUT_WR);
		close(fd);
	}
}

static struct http_server http_start(const struct http_answer *answers, unsigned n)
{
	struct http_server s = {0};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	s.log = mmap(NULL, sizeof(*s.log), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (listener < 0 || s.log == MAP_FAILED || bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(listener, 16) < 0 || getsockname(listener, (struct sockaddr *)&a, &len) < 0)
		test_fail(__FILE__, __LINE__, "start a server: %s", strerror(errno));
	s.port = ntohs(a.sin_port);
	s.pid = fork();
	if (s.pid == 0) {
		http_serve(listener, answers, n, s.log);
		_exit(0);
	}
	close(listener);
	return s;
}

static const char *http_url(struct http_server *s, const char *path)
{
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%u%s", s->port, path);
	return s->url;
}

static void http_stop(struct http_server *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
}
