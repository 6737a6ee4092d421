// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * server (private to mirror): one process that serves a mirror and keeps it up to date.
 *
 *	serving threads (httpd)    handler.c: channels; api.c: what Slipway's own clients ask; admin.c: the admin port
 *	    │ what has to be fetched first
 *	relay.c, one thread        wakes who waits for a file of an upstream; the fetching is mirror_fetch's
 *	server.c, the main thread  signals, certificates, orders of control.c; waits for the end
 *	admin.c, two threads       what the admin port tells: one for watchers, one for pages
 *	tender, one thread         mirror_tend: syncs, bulk downloads, scrub; it has others
 *
 * A handler never waits: what is held is answered at once, what is not is handed to the relay.
 */
#include <pthread.h>

#include "base/vec.h"
#include "httpd/httpd.h"
#include "mirror/control.h"
#include "mirror/internal.h"

struct admin;
struct relay;
struct server_log;
enum { DB_TROUBLE_MAX = 2048 };

/* A channel as handlers see it. */
struct served {
	const struct mirror_channel *channel;
	int tree_fd;
	/* what api.c has counted; with readers_mutex */
	bool counted;
	int64_t counted_ms;
	uint64_t expected;
};
struct server {
	struct mirror *mirror;
	int state_fd;
	const struct clock *clock;
	struct mirror_clients *clients;
	struct mirror_snapshots *snapshots; /* one thread at a time: */
	pthread_mutex_t snapshots_mutex;
	struct served *served; /* as many as the configuration has channels */
	struct httpd *httpd;
	size_t service_n; /* listeners of the service; the one behind them is the admin port's */
	struct relay *relay;
	struct admin *admin;
	pthread_mutex_t db_mutex;
	char db_trouble[DB_TROUBLE_MAX]; /* what the last look at mirror.db found; "": nothing */
	struct control *control;
	pid_t successor; /* that was ordered to take over; 0: none. The thread of orders alone */
	bool successor_failed;
	struct server_log *log;
	int64_t started_ms;	      /* wall */
	pthread_mutex_t ending_mutex; /* of httpd's end, for orders */
	pthread_mutex_t readers_mutex;
	VEC(struct mirror_reader *) readers; /* that nobody uses just now */
	int wake;			     /* an eventfd: something is to be looked at: */
	atomic_bool stop, retire, reopen;
	atomic_bool tending_ended, tending_stop;
	atomic_uint_fast64_t trouble_s; /* the second that `troubles` counts */
	atomic_uint troubles;
	struct control_sockets sockets; /* copies of the listening ones, for the process that takes this one's place */
	pthread_t tender;
	bool tends;
};

/* A reader for the time of one request; it goes back by server_reader_put. NULL with *e. */
struct mirror_reader *server_reader_take(struct server *s, struct err *e);
void server_reader_put(struct server *s, struct mirror_reader *r);

/* Who asks: 1; 0: nobody that is known, and *e says why; -1. */
int server_who(struct server *s, const struct httpd_req *r, struct arena *a, struct mirror_who *ret, struct err *e);

void handler_on_request(struct httpd_req *r, void *server);
int handler_on_body(struct httpd_req *r, struct httpd_body *body, void *server);
/* True where the path is the API's, and it has been answered. */
bool api_answer(struct server *s, struct httpd_req *r);
int admin_new(struct server *s, struct admin **ret, struct err *e);
/* After httpd_stop, while s->httpd is there. */
void admin_free(struct admin *x);
DEFINE_AUTO(struct admin *, admin, admin_free);
void admin_answer(struct server *s, struct httpd_req *r);
/* Private to admin.c and admin_pages.c: */
bool admin_page(struct server *s, struct httpd_req *r); /* true where the path is a page's, and it has been answered */
int admin_channel(struct server *s, const struct mirror_channel *c, bool counts, struct arena *a,
		  struct mirror_channel_status *ret, struct err *e);
uint64_t admin_free_bytes(const struct server *s, uint64_t *ret_all);
/* The object that 'status' tells. */
int admin_status(struct server *s, struct buf *b, struct err *e);

/* -- what is on its way from an upstream ----------------------------------------------------------------------------- */
int relay_new(struct server_log *log, struct relay **ret, struct err *e);
/* Takes the request: it is answered as soon as there is something to say. */
void relay_request(struct relay *x, struct mirror_reader *reader, const struct mirror_found *f, struct httpd_req *r,
		   const struct httpd_head *head);
size_t relay_count(struct relay *x); /* files under way that somebody waits for */
/* Of each, at most `max`: "CHANNEL/PATH", and how many wait for its first byte. Not to call the relay from fn. */
void relay_each(struct relay *x, size_t max, void (*fn)(void *ctx, const char *path, size_t waiting), void *ctx);
void relay_free(struct relay *x);
DEFINE_AUTO(struct relay *, relay, relay_free);

/* -- what is written down (log.c) ------------------------------------------------------------------------------------ */
enum server_level { LOG_LEVEL_ERROR, LOG_LEVEL_NOTE };
int server_log_open(const struct mirror *m, bool foreground, struct server_log **ret, struct err *e);
void server_log_reopen(struct server_log *l); /* after somebody has moved the files away */
void server_log_free(struct server_log *l);
/* Errors are mailed, too, where that is configured: at most so many mails an hour, each with all that came since. */
void server_say(struct server_log *l, enum server_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void server_log_record(struct server_log *l, const struct httpd_record *r);
uint64_t server_log_errors(const struct server_log *l);
