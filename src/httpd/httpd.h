// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * httpd: an HTTP server. Connections, TLS, client certificates, ranges, conditional requests, files, replies that still grow.
 * It knows nothing of channels: a handler decides what a path means. Why it is built as it is: doc/decisions/0060-http-server.md.
 *
 *	struct httpd_listen at[] = {{.fd = -1, .address = "127.0.0.1", .port = 8080}};
 *	struct httpd_opts o = {.listen = at, .listen_n = 1, .handler = on_request, .ctx = &site};
 *	auto_ptr(httpd) h = NULL;
 *	if (httpd_start(&o, &h, e) < 0) ...            threads of its own; the caller goes on
 *	...
 *	httpd_stop(h, 30000);                          finishes what runs, at most so long; then httpd_free
 *
 *	static void on_request(struct httpd_req *r, void *ctx)
 *	{
 *		struct site *s = ctx;
 *		if (httpd_reply_path(r, &(struct httpd_head){.cache_control = "max-age=60"}, s->dir_fd, httpd_path(r).p) == 0)
 *			return;                        answered: the file, a range of it, 304, 404, 405, 416
 *	}
 *
 * THE HANDLER is called on a serving thread when a request is there (with its body, if it has one). It must not wait: a thread
 * serves thousands of connections; files are read on it, too, so a slow disk wants more threads. It answers each request exactly once by one of the httpd_reply functions, now, or later from
 * any thread. `struct httpd_req *` is the handler's until it has replied; a reply function takes it, whatever it returns
 * (httpd_reply_path with HTTPD_NO_FILE excepted). Nothing of the request may be used after that. That the client is gone meanwhile
 * makes no difference to the handler: httpd_is_gone says so, for who wants to spare work; replying to it is harmless.
 *
 * WHAT A HANDLER NEVER SEES: requests that are malformed, oversized or ambiguous (two lengths, a length and chunks, folded
 * headers, bare CR or LF, no Host), a path with NUL, broken escapes, control bytes, invalid UTF-8 or "..". They are answered
 * with 400, 413, 414, 417, 431, 501 or 505 and the connection is closed.
 *
 * GET and HEAD are the same to a handler: the body of the reply is left out for HEAD. Replies with a body of known
 * size answer If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, Range (several too: multipart/byteranges) and If-Range by
 * themselves, where the reply is a 200 to GET or HEAD and has an etag or a time.
 *
 * THREADS. All functions on a server or a request may be called from any thread. Strings and headers of a request
 * live as long as the handler holds the request. What a reply is given is copied, but file descriptors, which it takes.
 *
 * HTTP/1.0, HTTP/1.1 (keep-alive; pipelined requests are answered in order), and HTTP/2 over TLS by ALPN. TLS 1.2 and 1.3.
 * libssl, libcrypto and libnghttp2 are opened when the first listener with TLS is; without libnghttp2 there is no HTTP/2.
 *
 * LIMITS are options with defaults (0 takes the default), each named with its unit below.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

struct httpd;
struct httpd_req;
struct httpd_stream;

/* -- certificates ------------------------------------------------------------------------------------------------------- */

enum httpd_client_cert {
	HTTPD_CLIENT_NONE,     /* not asked for */
	HTTPD_CLIENT_OPTIONAL, /* asked for; one that does not verify ends the handshake, none is fine */
	HTTPD_CLIENT_REQUIRED, /* none, or one that does not verify, ends the handshake */
};

/* The certificate that a client has shown and that has verified: chain, dates, purpose, CRL, `allow`. */
struct httpd_client {
	uint8_t sha256[SHA256_SIZE]; /* of its DER */
	const char *cn;		     /* common name of its subject; "" where it has none, or one with a NUL */
	const char *serial;	     /* lower-case hex without leading zeros */
	int64_t not_after_ms;	     /* wall clock */
};

struct httpd_tls {
	struct str cert_pem; /* the server's certificate, then its intermediates */
	struct str key_pem;  /* its private key, not encrypted */
	struct str ca_pem;   /* authorities of client certificates; needed unless HTTPD_CLIENT_NONE */
	struct str crl_pem;  /* their revocation lists; empty: none is looked at */
	enum httpd_client_cert client;
	/* A last word on a certificate that has verified, at each handshake, resumed ones too: false ends it. On a serving thread: look it up in
	 * memory. A connection that is open already stays: who revokes rights at once asks in the handler, too. */
	bool (*allow)(const struct httpd_client *c, void *ctx); /* NULL: all */
	void *allow_ctx;
	bool no_resumption; /* every handshake is a full one */
	bool no_http2;
};

/* -- where it listens ------------------------------------------------------------------------------------------------------ */

struct httpd_listen {
	int fd; /* a bound, listening socket: taken (where httpd_start fails too), closed by httpd_free. -1: bind address and port */
	const char *address;	     /* numeric, "::1", "0.0.0.0"; NULL: every address of both families */
	uint16_t port;		     /* 0: any that is free, see httpd_port */
	const struct httpd_tls *tls; /* NULL: plain HTTP */
};

enum { HTTPD_LISTEN_MAX = 16 };
/* The sockets that systemd, or httpd_hand_over of a former process, has passed to this one (LISTEN_PID, LISTEN_FDS): stores
 * up to max of them, close-on-exec, in their order; 0 where there are none. */
int httpd_inherited(int *fds, size_t max, struct err *e);

/* -- the server -------------------------------------------------------------------------------------------------------------- */

struct httpd_record { /* one reply that has been sent, or cut off */
	struct str method,
		target;	 /* target: as the client wrote it, path and query; any bytes but blanks and line ends */
	struct str peer; /* "192.0.2.1", "2001:db8::1" */
	const struct httpd_client *client; /* NULL: none */
	struct str user_agent;
	int status;
	unsigned version;    /* 10, 11, 20 */
	bool cut;	     /* not all of it was sent */
	uint64_t body_bytes; /* sent of the body */
	int64_t wall_ms,
		duration_ms; /* when the request was there; from then until the last byte was handed to the kernel */
};

/* Asked when a request announces a body, before any of it is read (and before "100 Continue"). Returns 0 to take it, or the
 * status to refuse it with (403, 413, ...): the handler is not called then. */
struct httpd_body {
	uint64_t max_bytes; /* in: opts.body_bytes. More: 413. A body that stays in memory may have HTTPD_BODY_MEMORY_MAX at most */
	int fd; /* in: -1, the body is kept in memory. Else it is written there, from its position; stays the caller's */
};
enum { HTTPD_BODY_MEMORY_MAX = 16 << 20 };

struct httpd_opts {
	const struct httpd_listen *listen;
	size_t listen_n;
	void (*handler)(struct httpd_req *r, void *ctx);
	int (*body)(struct httpd_req *r, struct httpd_body *body,
		    void *ctx);					   /* NULL: bodies up to body_bytes, in memory */
	void (*record)(const struct httpd_record *rec, void *ctx); /* access log; on a serving thread; NULL: none */
	/* What an operator should know: a handshake that failed, with the certificate's subject and issuer and why. On a serving thread; NULL: none */
	void (*trouble)(struct str peer, const char *what, void *ctx);
	void *ctx;		   /* of the four */
	const struct clock *clock; /* NULL: clock_system */
	unsigned threads;	   /* 0: as many as processors */
	/* limits; 0: the default in brackets */
	uint32_t connections; /* [20,000]; for a new one the longest idle one is closed, else the slowest to say what it wants */
	uint32_t connections_per_peer; /* of one address (IPv6: of one /64) [none] */
	uint32_t header_bytes;	       /* of a request line with headers [16 KiB] */
	uint32_t headers;	       /* their number [100] */
	uint32_t target_bytes;	       /* of path and query [8 KiB] */
	uint64_t body_bytes;	       /* [64 KiB] */
	uint32_t streams;	       /* of one HTTP/2 connection at once [100] */
	uint32_t requests;	       /* of one connection; then it is closed in good order [none] */
	uint32_t header_ms;	       /* for a handshake, and for a request's headers from their first byte [15,000] */
	uint32_t idle_ms;	       /* between requests [75,000] */
	uint32_t stall_ms;	       /* without a byte of a body, or without the client taking one [60,000] */
	uint32_t rate_bytes;	       /* a second, that a client must give or take on average of each stall_ms [256] */
};

/* Threads serve when this returns; *ret is set before the first call of the handler. Of what o points at, the listeners and their certificates are
 * copied. */
int httpd_start(const struct httpd_opts *o, struct httpd **ret, struct err *e);
/* No new connections; idle ones are closed; requests that run, deferred ones too, have grace_ms to finish and are cut then. Waits
 * until all is done; the handler is not called afterwards. Not from the handler or another callback. Replies to requests still held are harmless. */
void httpd_stop(struct httpd *h, int64_t grace_ms);
/* Stops at once where it still runs; memory goes when the last request and stream have gone. */
void httpd_free(struct httpd *h);
DEFINE_AUTO(struct httpd *, httpd, httpd_free);

/* The port that a listener is bound to; 0 where it is no IP socket. */
uint16_t httpd_port(const struct httpd *h, size_t listener);
/* New certificate, key, authorities and lists for what connects from now on; connections stay. On failure the old ones serve on. */
int httpd_reload(struct httpd *h, size_t listener, const struct httpd_tls *tls, struct err *e);

/* Starts argv (argv[0] is a path) in a new process that inherits the listening sockets (LISTEN_FDS; httpd_inherited finds them there, in the order of opts.listen).
 * Both accept from then on, so that nothing is refused: when the new one is ready, httpd_stop this one. envp NULL: ours. Returns the child, which is
 * the caller's to reap. */
int httpd_hand_over(struct httpd *h, const char *const *argv, const char *const *envp, pid_t *ret, struct err *e);

struct httpd_counts {
	uint64_t connections, connections_tls,
		refused; /* accepted; of them with TLS; closed at once because of a limit */
	uint64_t open, idle,
		waiting; /* now: connections; those between requests; requests with their handler or a stream */
	uint64_t handshakes, resumed, handshakes_failed;
	uint64_t requests, http2; /* all; of them over HTTP/2 */
	uint64_t status[6];	  /* replies of 1xx to 5xx at [1] to [5] */
	uint64_t body_bytes;	  /* sent */
	uint64_t received_bytes;  /* bodies */
	uint64_t timeouts, malformed,
		cut;	  /* connections closed for slowness; bad requests; replies not sent to their end */
	uint64_t streams; /* now: growing replies that are not at their end */
	uint64_t file_hits, file_opens; /* of the cache behind httpd_reply_path */
};
void httpd_count(const struct httpd *h, struct httpd_counts *ret);

/* -- a request ----------------------------------------------------------------------------------------------------------------- */

struct httpd_header {
	struct str name, value;
};

struct str httpd_method(const struct httpd_req *r); /* "GET" */
/* Decoded, normalised: begins with '/', no empty and no "." parts, no "..", no control bytes, valid UTF-8, NUL-terminated. A '/' at its end is kept. */
struct str httpd_path(const struct httpd_req *r);
struct str httpd_query(const struct httpd_req *r); /* as sent, without '?'; empty where there is none */
/* A value of the query by its name, decoded ('+' is a blank): true where it is there. Bad escapes: false. ret lives as long as r. */
bool httpd_query_value(struct httpd_req *r, const char *name, struct str *ret);
/* The value of the first such header, name in lower case; false where there is none. */
bool httpd_header(const struct httpd_req *r, const char *name, struct str *ret);
const struct httpd_header *httpd_headers(const struct httpd_req *r, size_t *ret_n); /* names in lower case */
struct str httpd_host(const struct httpd_req *r); /* Host or :authority; empty for HTTP/1.0 without it */
struct str httpd_body(const struct httpd_req *r,
		      uint64_t *ret_n); /* bytes in memory (none where they went to an fd); their number in any case */
struct str httpd_peer(const struct httpd_req *r);		    /* numeric address, without port */
const struct httpd_client *httpd_client(const struct httpd_req *r); /* NULL: no certificate */
size_t httpd_listener(const struct httpd_req *r);		    /* which of opts.listen it came by */
bool httpd_is_tls(const struct httpd_req *r);
bool httpd_is_gone(const struct httpd_req *r); /* the client has left, or the server stops: an answer reaches nobody */

/* -- replies ------------------------------------------------------------------------------------------------------------------- */

/* What stands above a body. A zero is a good reply: 200, application/octet-stream. */
struct httpd_head {
	int status; /* 0: 200 */
	const char *type;
	const char *etag; /* as it goes out: "\"abc\"" or "W/\"abc\""; NULL: none (files: made of time and size) */
	int64_t mtime_s;  /* Last-Modified; 0: none (files: theirs) */
	const char *cache_control; /* NULL: none */
	const char *disposition;   /* Content-Disposition; NULL: none */
	const char *location;	   /* for 201 and 3xx; NULL: none */
	const struct httpd_header
		*more; /* further headers: none that the room makes itself (Content-Length, Date, ...) */
	size_t more_n;
};

/* Text, JSON, a page: copied. */
void httpd_reply_bytes(struct httpd_req *r, const struct httpd_head *head, struct str bytes);
/* A line of text that says what is wrong: "404 not found: 'x'\n". */
void httpd_reply_error(struct httpd_req *r, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A regular file below dir_fd, out of the cache of open files where it is there; '/' at the front of path is skipped. Every call looks at the
 * path anew (one fstatat): a file that was replaced, changed or removed is never served from the cache. Symbolic links that lead out
 * of dir_fd are refused. Returns 0: answered. HTTPD_NO_FILE: there is no such regular file; nothing was answered, r is still the caller's.
 * Other failures (permissions, no more descriptors) are answered with 403 or 500. dir_fd stays the caller's; needed for the call only. */
enum { HTTPD_NO_FILE = 1 };
int httpd_reply_path(struct httpd_req *r, const struct httpd_head *head, int dir_fd, const char *path);
/* A file that is open: size_bytes from offset 0, or what fstat says where size_bytes is -1. fd is taken. Closes the connection early where the file is
 * shorter than said. */
void httpd_reply_file(struct httpd_req *r, const struct httpd_head *head, int fd, int64_t size_bytes);

/*
 * A growing reply: the file is sent while somebody still writes it.
 *
 *	struct httpd_stream *s = httpd_stream_new(fd, size or HTTPD_SIZE_UNKNOWN);    fd is taken; only pread: the writer has its own
 *	httpd_reply_stream(r, &head, s);          any number of requests, before and after the end
 *	httpd_stream_advance(s, written);         from any thread: so many bytes from offset 0 on are readable now
 *	httpd_stream_end(s, true);                all is there; false: it failed, all who wait are cut off
 *	httpd_stream_unref(s);                    the producer's hold; those who read have theirs
 *
 * With a known size the reply has Content-Length and may be a range, sent as soon as its bytes are there; with an unknown one it is
 * chunked (HTTP/1.0: until the connection closes) and never a range. An end (true) before a known size is a failure. On failure the
 * connection of an HTTP/1 client is reset in the middle of the body and an HTTP/2 stream is reset, so that no client takes the part for the whole; who asks for it afterwards gets 502. A
 * client that waits for the producer is not slow: no limit of time holds for it; the producer has one of its own.
 */
#define HTTPD_SIZE_UNKNOWN ((int64_t)-1)
struct httpd_stream *httpd_stream_new(int fd, int64_t size_bytes);
void httpd_stream_advance(struct httpd_stream *s, uint64_t available_bytes); /* never goes back */
void httpd_stream_end(struct httpd_stream *s, bool good);
/* Requests that are being sent from it: a producer without readers may stop. */
size_t httpd_stream_readers(const struct httpd_stream *s);
struct httpd_stream *httpd_stream_ref(struct httpd_stream *s);
void httpd_stream_unref(struct httpd_stream *s);
DEFINE_AUTO(struct httpd_stream *, httpd_stream, httpd_stream_unref);
void httpd_reply_stream(struct httpd_req *r, const struct httpd_head *head, struct httpd_stream *s);
