// SPDX-License-Identifier: Apache-2.0
/*
 * An HTTPS server on loopback for unit tests, in a thread of the test: one request a connection, answered by a function.
 *
 *	struct tlsd *s = tlsd_start(cert_pem, key_pem, ca_pem, answer, ctx);      ca_pem "": client certificates are not asked for
 *	… "https://localhost:PORT", PORT is s->port …
 *	tlsd_stop(s);
 *
 * A client may show a certificate; one that is not of ca_pem ends the handshake.
 */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/digest.h"

enum { TLSD_REQUEST_MAX = 1 << 18 };

struct tlsd_request {
	char method[16], path[1024];
	struct str body;
	bool certified;
	uint8_t certificate[SHA256_SIZE]; /* of the client's DER */
};
/* The status; the answer's body into b. */
typedef int tlsd_answer(const struct tlsd_request *r, struct buf *b, void *ctx);

static unsigned tlsd_port; /* to listen on; 0: any that is free */

struct tlsd {
	int fd;
	unsigned port;
	SSL_CTX *ssl;
	pthread_t thread;
	atomic_bool stop;
	tlsd_answer *answer;
	void *ctx;
	unsigned requests;
};

static bool tlsd_read(SSL *s, struct buf *in, struct tlsd_request *r)
{
	char chunk[4096];
	for (;;) {
		char *end = strstr(in->p, "\r\n\r\n");
		if (end) {
			size_t head = (size_t)(end - in->p) + 4, length = 0;
			const char *at = strcasestr(in->p, "\r\nContent-Length:");
			if (at && at < end)
				length = strtoul(at + 17, NULL, 10);
			if (in->n - head >= length) {
				r->body = str_of(in->p + head, length);
				return sscanf(in->p, "%15s %1023s", r->method, r->path) == 2;
			}
		}
		int n = SSL_read(s, chunk, sizeof(chunk));
		if (n <= 0)
			return false;
		buf_put(in, chunk, (size_t)n);
		if (in->overflow)
			return false;
	}
}

static void tlsd_serve(struct tlsd *d, SSL *s)
{
	auto_buf in = BUF_INIT(TLSD_REQUEST_MAX);
	auto_buf body = BUF_INIT(TLSD_REQUEST_MAX);
	auto_buf out = BUF_INIT(TLSD_REQUEST_MAX * 2);
	struct tlsd_request r = {0};
	X509 *x = SSL_get1_peer_certificate(s);
	unsigned n = 0;
	if (x)
		r.certified = X509_digest(x, EVP_sha256(), r.certificate, &n) == 1;
	X509_free(x);
	if (!tlsd_read(s, &in, &r))
		return;
	d->requests++;
	int status = d->answer(&r, &body, d->ctx);
	buf_printf(&out, "HTTP/1.1 %d x\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status, body.n);
	buf_put_str(&out, buf_str(&body));
	SSL_write(s, out.p, (int)out.n);
	SSL_shutdown(s);
}

/* So that the alert is read: a socket that is closed with something unread in it takes back what was written last. */
static void tlsd_linger(int fd)
{
	char rest[4096];
	shutdown(fd, SHUT_WR);
	while (recv(fd, rest, sizeof(rest), 0) > 0)
		;
}

static void *tlsd_run(void *ctx)
{
	struct tlsd *d = ctx;
	while (!d->stop) {
		struct pollfd p = {.fd = d->fd, .events = POLLIN};
		if (poll(&p, 1, 50) <= 0)
			continue;
		int fd = accept(d->fd, NULL, NULL);
		SSL *s = SSL_new(d->ssl);
		struct timeval wait = {.tv_sec = 5};
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
		SSL_set_fd(s, fd);
		if (SSL_accept(s) == 1)
			tlsd_serve(d, s);
		else
			tlsd_linger(fd);
		SSL_free(s);
		close(fd);
	}
	return NULL;
}

static X509 *tlsd_cert(const char *pem)
{
	BIO *b = BIO_new_mem_buf(pem, -1);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);
	BIO_free(b);
	return x;
}

static struct tlsd *tlsd_start(const char *cert, const char *key, const char *ca, tlsd_answer *answer, void *ctx)
{
	struct tlsd *d = calloc(1, sizeof(*d));
	signal(SIGPIPE, SIG_IGN); /* a client that is gone */
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)tlsd_port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int yes = 1;
	socklen_t n = sizeof(at);
	*d = (struct tlsd){.answer = answer, .ctx = ctx, .ssl = SSL_CTX_new(TLS_server_method())};
	BIO *b = BIO_new_mem_buf(key, -1);
	EVP_PKEY *k = PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
	X509 *x = tlsd_cert(cert);
	BIO_free(b);
	bool good = SSL_CTX_use_certificate(d->ssl, x) == 1 && SSL_CTX_use_PrivateKey(d->ssl, k) == 1;
	X509_free(x);
	EVP_PKEY_free(k);
	if (ca[0]) {
		b = BIO_new_mem_buf(ca, -1);
		while ((x = PEM_read_bio_X509(b, NULL, NULL, NULL))) {
			good = good && X509_STORE_add_cert(SSL_CTX_get_cert_store(d->ssl), x) == 1;
			X509_free(x);
		}
		BIO_free(b);
		SSL_CTX_set_verify(d->ssl, SSL_VERIFY_PEER, NULL);
	}
	d->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(d->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	good = good && bind(d->fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(d->fd, 16) == 0 &&
	       getsockname(d->fd, (struct sockaddr *)&at, &n) == 0 &&
	       pthread_create(&d->thread, NULL, tlsd_run, d) == 0;
	if (!good) {
		fprintf(stderr, "# the test's server cannot start\n");
		abort();
	}
	d->port = ntohs(at.sin_port);
	return d;
}

static void tlsd_stop(struct tlsd *d)
{
	d->stop = true;
	pthread_join(d->thread, NULL);
	close(d->fd);
	SSL_CTX_free(d->ssl);
	free(d);
}
