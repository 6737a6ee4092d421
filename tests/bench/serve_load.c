// SPDX-License-Identifier: Apache-2.0
/*
 * What wrk cannot ask of an HTTP server on 127.0.0.1; for tests/bench/serve. Each connection asks for PATH once.
 *
 *	serve_load handshakes PORT SECONDS PATH [CERT KEY]     full handshakes, one connection after the other on each of four threads
 *	serve_load resumed PORT SECONDS PATH [CERT KEY]        the same, resumed
 *	serve_load idle PORT COUNT PATH [tls]                  opens COUNT connections, prints, and holds them until its standard input ends
 *
 * Prints "DONE RESUMED FAILED".
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4 };

static const char *mode, *request_path;
static unsigned short port;
static double until;
static SSL_CTX *ctx;
static atomic_long done, resumed, failed;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(void)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int hear(int fd, SSL *s, char *p, int n)
{
	return s ? SSL_read(s, p, n) : (int)read(fd, p, (size_t)n);
}

/* Asks, and reads the whole answer, whose length its head says. */
static bool ask(int fd, SSL *s)
{
	char p[16384], request[256];
	int n = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", request_path);
	if ((s ? SSL_write(s, request, n) : (int)write(fd, request, (size_t)n)) != n)
		return false;
	long got = 0, want = -1;
	while (want < 0 || got < want) {
		if ((n = hear(fd, s, p + (want < 0 ? got : 0), (int)sizeof(p) - 1 - (int)(want < 0 ? got : 0))) <= 0)
			return false;
		got += n;
		if (want >= 0)
			continue;
		p[got] = '\0';
		const char *end = strstr(p, "\r\n\r\n"), *length = strstr(p, "ontent-Length: ");
		if (end && length)
			want = end + 4 - p + strtol(length + 15, NULL, 10);
	}
	return true;
}

static void *handshakes(void *arg)
{
	SSL_SESSION *session = NULL;
	(void)arg;
	while (now() < until) {
		int fd = dial();
		SSL *s = SSL_new(ctx);
		SSL_set_fd(s, fd);
		if (session && strcmp(mode, "resumed") == 0)
			SSL_set_session(s, session);
		if (fd >= 0 && SSL_connect(s) == 1 && ask(fd, s)) {
			done++;
			resumed += SSL_session_reused(s);
			SSL_SESSION_free(session);
			session = SSL_get1_session(s);
		} else {
			failed++;
		}
		SSL_set_shutdown(s, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
		SSL_free(s);
		if (fd >= 0) {
			struct linger reset = {1, 0}; /* no port is left waiting */
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
			close(fd);
		}
	}
	SSL_SESSION_free(session);
	return NULL;
}

static void idle(long count, bool tls)
{
	for (long i = 0; i < count; i++) {
		int fd = dial();
		SSL *s = tls ? SSL_new(ctx) : NULL;
		if (s)
			SSL_set_fd(s, fd);
		if (fd >= 0 && (!s || SSL_connect(s) == 1) && ask(fd, s))
			done++;
		else
			failed++;
	}
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	mode = argv[1];
	port = (unsigned short)strtoul(argv[2], NULL, 10);
	request_path = argv[4];
	ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set1_groups_list(ctx, "X25519");
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	if (strcmp(mode, "idle") == 0) {
		idle(strtol(argv[3], NULL, 10), argc > 5);
	} else {
		pthread_t t[THREADS];
		until = now() + strtod(argv[3], NULL);
		if (argc > 6 && (SSL_CTX_use_certificate_chain_file(ctx, argv[5]) != 1 ||
				 SSL_CTX_use_PrivateKey_file(ctx, argv[6], SSL_FILETYPE_PEM) != 1))
			return 2;
		for (int i = 0; i < THREADS; i++)
			pthread_create(&t[i], NULL, handshakes, NULL);
		for (int i = 0; i < THREADS; i++)
			pthread_join(t[i], NULL);
	}
	printf("%ld %ld %ld\n", done, resumed, failed);
	fflush(stdout);
	if (strcmp(mode, "idle") == 0)
		while (getchar() != EOF)
			;
	return 0;
}
