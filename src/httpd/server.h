// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * The inside of httpd: what its files share.
 *
 *	server.c   start, stop, reload, counters        worker.c  a serving thread: epoll, mail from other threads, time
 *	listen.c   sockets: made, inherited, handed on   conn.c    a connection: bytes in and out, plain or TLS; HTTP/1
 *	tls.c      OpenSSL                               h2.c      HTTP/2 on nghttp2
 *	request.c  what a handler sees of a request      reply.c   what it answers: conditions, ranges, heads
 *	file.c     the cache of open files               stream.c  growing replies
 *	syntax.c   grammar
 *
 * Who may touch what. A connection and everything of it belongs to one worker's thread. A request is shared: what the client sent does not
 * change once the handler has it; `reply` is the handler's until it has replied, then the worker's; `conn` is the worker's. A reply from another
 * thread comes as mail. A request has two holders at most at once: its connection, and the handler or the mail.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "httpd/httpd.h"
#include "httpd/syntax.h"

struct conn;
struct h2;
struct tls_ctx;
struct worker;
typedef struct ssl_st SSL;

enum {
	HEAD_MAX = 32 << 10,	    /* of a reply */
	ROUND_BYTES = 64 << 10,	    /* of a body that are encrypted or framed at once */
	TURN_BYTES = 1 << 20,	    /* that a connection may send before others have their turn */
	TX_BYTES = 256 << 10,	    /* a worker's buffer for what goes out */
	IN_BYTES = 16 << 10,	    /* read at once */
	FILE_MEMORY_MAX = 64 << 10, /* files up to this size are kept in memory */
};

struct peer {
	struct sockaddr_storage addr;
	char text[INET6_ADDRSTRLEN];
	uint32_t slot; /* of the counts per peer; UINT32_MAX: not counted */
};

/* -- replies ---------------------------------------------------------------------------------------------------------------- */

/* A piece of a body: bytes in memory, or of the source. */
struct segment {
	const char *mem; /* NULL: of the source */
	uint64_t at, n;
};

struct reply {
	int status;
	struct buf head; /* the lines of the head but the first, Date and Connection; "Name: value\r\n" */
	uint64_t length; /* of the body; not where unsized */
	bool unsized;	 /* grows to a size that nobody knows */
	bool no_body;	 /* HEAD, 304: nothing but the head */
	bool close;	 /* the connection ends with it */
	struct segment one, *seg;
	size_t seg_n, seg_at;
	int fd;		     /* the source: a file of our own, -1 */
	struct cached *file; /* or of the cache */
	struct httpd_stream *stream;
	/* while it is sent */
	bool begun, failed;
	uint64_t sent;
};

struct httpd_req {
	struct httpd *h;
	struct worker *w;
	atomic_uint holders;
	atomic_bool gone;
	bool in_handler, replied; /* the worker's, while it calls the handler */
	pthread_t thread;	  /* of the handler's call */
	struct arena a;
	struct http_head head;
	struct peer peer;
	struct peer_cert *cert;
	uint8_t listener;
	bool tls;
	/* the body */
	struct httpd_body want;
	struct buf body;
	uint64_t body_n;
	bool body_to_fd;
	struct reply reply;
	int64_t begin_ms, begin_wall_ms;
	/* mail */
	struct httpd_req *mail_next;
	enum mail { MAIL_NONE, MAIL_REPLY, MAIL_WAKE } mail;
	/* growing */
	struct httpd_req *wait_prev, *wait_next;
	atomic_bool waiting; /* in the list of its stream; under the stream's lock */
	/* the connection; NULL: gone */
	struct conn *conn;
	int32_t stream_id;		/* HTTP/2 */
	struct httpd_req *next, *prev;	/* of one HTTP/2 connection */
	bool deferred, submitted, done; /* submitted: the reply is the worker's now */
	/* HTTP/2: while the head comes */
	size_t header_cap, head_bytes;
	int refused; /* status */
	bool complete, sending;
};

/* request.c */
struct httpd_req *req_new(struct conn *c);
void req_drop(struct httpd_req *r);	      /* one holder less */
void req_call(struct httpd_req *r);	      /* calls the handler; then the reply is there, or comes as mail */
void req_done(struct httpd_req *r, bool cut); /* counts and records; once a request */
/* Its connection or stream is gone: records it if it is not done, and gives up the connection's hold. */
void req_leave(struct httpd_req *r);
/* Decides about a body that was announced: 0, or the status to refuse with. */
int req_body_plan(struct httpd_req *r);
int req_body_put(struct httpd_req *r, struct str data); /* 0, or the status to refuse with */

/* reply.c */
void reply_release(struct httpd_req *r);
void reply_error(struct httpd_req *r, int status, const char *text); /* as httpd_reply_error, on the worker, at once */
/* The next bytes of the body into p. >0; 0: at the end; -1: failed; -2: wait for the producer. */
ssize_t reply_read(struct httpd_req *r, char *p, size_t n);
bool reply_at_end(const struct reply *p);
/* The fd behind the segment that is next and how much of it may be sent now (0: wait, then waiting is set up); -1: none, it is memory. */
int reply_source(struct httpd_req *r, uint64_t *ret_at, uint64_t *ret_n, bool *ret_failed);
/* On the worker, before anything of it is sent: puts an error in its place where it cannot be sent. */
void reply_check(struct httpd_req *r);
void reply_advance(struct reply *p, uint64_t n);

/* -- file.c ------------------------------------------------------------------------------------------------------------------ */

struct files;
struct cached {
	atomic_uint holders;
	int fd;
	struct stat st;
	char *mem; /* the content, where it is small */
	struct str etag, date;
	char text[96];
	/* the cache's */
	struct cached *hash_next, *newer, *older;
	int dir_fd;
	uint64_t hash;
	bool listed;
	size_t path_n;
	char path[];
};
struct files *files_new(void);
void files_free(struct files *f);
/* 0, HTTPD_NO_FILE, or -1 with errno. */
int files_open(struct httpd *h, int dir_fd, const char *path, struct cached **ret);
void cached_drop(struct cached *c);
void file_tag(const struct stat *st, char out[64]);

/* -- stream.c ------------------------------------------------------------------------------------------------------------------ */

/* How much is there behind `at` (at most n), 0: r has been put into the list of those who wait; -1: failed. *ret_end: all is there, and at is its end. */
int64_t stream_available(struct httpd_stream *s, struct httpd_req *r, uint64_t at, uint64_t n, bool *ret_end);
void stream_leave(struct httpd_stream *s, struct httpd_req *r); /* not waiting any more */
bool stream_has_failed(struct httpd_stream *s);
int stream_fd(const struct httpd_stream *s);
int64_t stream_size(const struct httpd_stream *s);
void stream_reader(struct httpd_stream *s, int change);

/* -- tls.c ---------------------------------------------------------------------------------------------------------------------- */

struct peer_cert {
	atomic_uint holders;
	struct httpd_client client;
	char cn[256], serial[48];
};
void peer_cert_drop(struct peer_cert *p);
int tls_ctx_new(const struct httpd_tls *t, struct tls_ctx **ret, struct err *e);
void tls_ctx_drop(struct tls_ctx *t);
struct tls_ctx *tls_ctx_hold(struct tls_ctx *t);
/* The session of a connection; NULL: out of memory. */
SSL *tls_conn_open(struct conn *c, struct tls_ctx *t);
void tls_conn_close(SSL *s, bool in_order);
enum tls_result { TLS_DONE, TLS_AGAIN, TLS_EOF, TLS_FAILED };
/* TLS_DONE: c->cert, c->is_h2 are set. */
enum tls_result tls_conn_handshake(struct conn *c);
enum tls_result tls_conn_read(struct conn *c, char *p, size_t n, size_t *ret_n);
enum tls_result tls_conn_write(struct conn *c, const char *p, size_t n);

/* -- conn.c ----------------------------------------------------------------------------------------------------------------------- */

enum conn_state {
	CONN_HANDSHAKE,
	CONN_HEAD, /* reads a head, or waits for one */
	CONN_BODY,
	CONN_HANDLER, /* waits for the reply */
	CONN_SEND,
	CONN_DRAIN, /* all is said; reads what the client still sends, so that it reads what was said */
	CONN_H2,
};

struct conn {
	int fd;
	struct worker *w;
	uint8_t listener;
	bool drained;	 /* the kernel has nothing more to read until epoll says so */
	bool hung_up;	 /* the client will send nothing more */
	bool armed;	 /* epoll says when the kernel takes more */
	bool write_wait; /* the kernel takes nothing more until epoll says so */
	bool readied, in_idle, is_h2, dead, must_drain;
	enum conn_state state;
	struct conn *prev, *next, *idle_prev, *idle_next, *ready_next;
	SSL *ssl;
	struct tls_ctx *tls;
	struct peer_cert *cert;
	struct h2 *h2;
	struct peer peer;
	struct buf in; /* what has been read and not yet used, from in_at on */
	size_t in_at, scanned;
	struct buf out; /* what the kernel did not take, from out_at on */
	size_t out_at;
	struct httpd_req *req; /* HTTP/1: the one that is being served */
	struct http_chunks chunks;
	uint64_t body_left;
	uint32_t requests;
	int64_t deadline_ms;  /* 0: none */
	int unacknowledged;   /* bytes that the kernel held when it was last asked */
	int64_t rate_from_ms; /* begin of the interval over which the rate is looked at */
	uint64_t rate_bytes;
	uint64_t drain_left;
};

void conn_new(struct worker *w, int fd, uint8_t listener, struct tls_ctx *tls, const struct peer *peer);
void conn_events(struct conn *c, uint32_t events);
void conn_run(struct conn *c); /* goes on as far as it can; may free it */
void conn_free(struct conn *c);
void conn_time(struct conn *c);				/* looks at its deadlines */
void conn_end(struct conn *c);				/* all is said: in good order */
void conn_stop(struct conn *c, bool now);		/* the server stops */
void conn_replied(struct conn *c, struct httpd_req *r); /* r's reply is there */
void conn_woken(struct conn *c, struct httpd_req *r);	/* its stream has grown */
/* Bytes of the peer: >0, 0: at the end, -1: none now, -2: broken. */
ssize_t conn_read(struct conn *c, char *p, size_t n);
/* Gives bytes to the client, encrypted where it is TLS; they go out with conn_flush. False: broken. */
bool conn_put(struct conn *c, const char *p, size_t n);
/* False: broken. What the kernel does not take is kept: then write_wait is set. `more`: the kernel may wait for more. */
bool conn_flush(struct conn *c, bool more);
void conn_tx(struct conn *c, const char *p, size_t n); /* below TLS */
void conn_limit(struct conn *c, int64_t ms);	       /* from now; 0: none */
void conn_progress(struct conn *c, uint64_t n);	       /* n bytes came or went: time starts anew */

/* -- h2.c --------------------------------------------------------------------------------------------------------------------------- */

bool h2_is_there(void);
bool h2_open(struct conn *c);
void h2_close(struct conn *c);
bool h2_run(struct conn *c); /* false: the connection ends */
void h2_replied(struct conn *c, struct httpd_req *r);
void h2_woken(struct conn *c, struct httpd_req *r);
void h2_stop(struct conn *c);
bool h2_waits_for_client(const struct conn *c); /* rather than for a handler or a producer */

/* -- worker.c ------------------------------------------------------------------------------------------------------------------------- */

struct counts {
	atomic_uint_fast64_t connections, connections_tls, refused, handshakes, resumed, handshakes_failed, requests,
		http2, status[6], body_bytes, received_bytes, timeouts, malformed, cut;
	atomic_uint_fast64_t idle, waiting;
};
#define COUNT(w, what, by) atomic_fetch_add_explicit(&(w)->counts.what, (uint64_t)(by), memory_order_relaxed)

struct worker {
	struct httpd *h;
	pthread_t thread;
	bool started;
	int ep, wake_fd;
	char *tx;
	size_t tx_n;
	char *plain; /* ROUND_BYTES and some */
	struct conn *conns, *ready;
	struct conn *idle_first, *idle_last;
	struct conn *gone; /* freed at the end of the turn */
	size_t conn_n;
	int64_t now_ms, checked_ms, date_s;
	int64_t paused_until_ms; /* accepts nothing: no more descriptors */
	char date[HTTP_DATE_SIZE];
	bool stopping, accepts;
	int64_t stop_ms;
	struct counts counts;
	pthread_mutex_t mail_lock;
	struct httpd_req *mail_first, *mail_last;
	bool mail_closed;
};

void worker_init(struct worker *w, struct httpd *h);
int worker_start(struct worker *w, struct err *e);
void worker_release(struct worker *w);
void worker_ready(struct worker *w, struct conn *c); /* its turn comes again, after others */
/* From any thread; takes a hold of r that becomes the mail's. */
void worker_mail(struct worker *w, struct httpd_req *r, enum mail what);
void worker_wake(struct worker *w);
void worker_idle(struct worker *w, struct conn *c, bool idle);
int64_t worker_now(struct worker *w);

/* -- server.c, listen.c ------------------------------------------------------------------------------------------------------------------ */

struct listener {
	int fd;
	bool is_ip, is_tls;
	struct tls_ctx *tls; /* under tls_lock */
};

struct httpd {
	atomic_uint holders;
	struct httpd_opts o; /* with the defaults put in; listen, ctx as given */
	struct http_limits limits;
	struct listener listen[HTTPD_LISTEN_MAX];
	size_t listen_n;
	pthread_mutex_t tls_lock;
	struct worker *worker;
	unsigned worker_n;
	struct files *files;
	atomic_uint_fast64_t open, streams, file_hits, file_opens;
	atomic_uint *per_peer; /* PEER_SLOTS, where it is limited */
	uint64_t peer_seed;
	atomic_bool stopping;
	atomic_int_fast64_t stop_ms; /* when what runs is cut */
	bool stopped;
};
enum { PEER_SLOTS = 1 << 16 };

void httpd_drop(struct httpd *h);
int listen_open(const struct httpd_listen *l, int *ret_fd, struct err *e);
/* Whether the connection may come; counts it. */
bool peer_enter(struct httpd *h, struct peer *p);
void peer_leave(struct httpd *h, struct peer *p);
void peer_name(struct peer *p); /* sets its text */
void server_trouble(struct httpd *h, const struct peer *p, const char *what);
