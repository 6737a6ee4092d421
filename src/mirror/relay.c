// SPDX-License-Identifier: Apache-2.0
/*
 * Requests for files that are still on their way from an upstream. All who ask for the same file share one fetch and one growing
 * reply. A fetch wakes the relay's thread from the fetching one, which must not be held up; the thread looks what there is to see.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/map.h"
#include "mirror/server.h"

enum { WAITING_MAX = 20000 };

struct waiting {
	struct httpd_req *req;
	char type[128];
	const char *cache_control;
};
struct flight {
	struct relay *relay;
	struct mirror_fetch *fetch;
	char *key;
	struct httpd_stream *stream; /* NULL until there is something to send */
	VEC(struct waiting) waiting; /* for that */
	bool woken, ended;
};
struct relay {
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	pthread_t thread;
	struct server_log *log;
	bool stop;
	VEC(struct flight *) flights;
	struct map by_key; /* → struct flight * */
	size_t waiting_n;
};

/* -- answers -------------------------------------------------------------------------------------------------------- */

static int status_of(const struct err *e)
{
	return e->code == ERR_NOT_FOUND	    ? 404
	       : e->sys == ENOSPC	    ? 507
	       : e->code == ERR_LIMIT	    ? 507
	       : e->code == ERR_UNSUPPORTED ? 501
					    : 502;
}

static void refuse(struct waiting *w, const struct err *e)
{
	int status = status_of(e);
	httpd_reply_error(w->req, status, "%s",
			  status == 404 ? "no upstream has such a file"
			  : e->msg[0]	? e->msg
					: "no upstream answers");
}

static void send_stream(struct flight *f, struct waiting *w)
{
	const struct httpd_head head = {.type = w->type, .cache_control = w->cache_control};
	httpd_reply_stream(w->req, &head, f->stream);
}

/* With the mutex. */
static void answer_waiting(struct flight *f, const struct err *failure)
{
	vec_foreach(w, &f->waiting) {
		if (f->stream)
			send_stream(f, w);
		else
			refuse(w, failure);
	}
	f->relay->waiting_n -= f->waiting.n;
	vec_clear(&f->waiting);
}

/* Nothing is said before something is there: what fails at once is a 404 or 502, not a reply that breaks off. */
static void begin_stream(struct flight *f, const struct mirror_fetch_view *v)
{
	int fd = fcntl(v->fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0)
		f->stream = httpd_stream_new(fd, v->size   ? (int64_t)v->size
						 : v->done ? (int64_t)v->ready
							   : HTTPD_SIZE_UNKNOWN);
}

/* The disk's fault, not an upstream's. */
static bool is_ours(const struct err *e)
{
	return e->sys != 0 && e->code != ERR_NETWORK && e->code != ERR_VERIFY;
}

/* With the mutex. */
static void look(struct flight *f)
{
	struct mirror_fetch_view v = {.fd = -1};
	mirror_fetch_look(f->fetch, &v);
	bool good = v.whole;
	if (!f->stream && (v.ready > 0 || good))
		begin_stream(f, &v);
	if (f->stream) {
		httpd_stream_advance(f->stream, v.ready);
		if (v.done || v.whole)
			httpd_stream_end(f->stream, good);
	}
	if (f->stream || v.done)
		answer_waiting(f, &v.err);
	f->ended = v.done;
	if (v.done && v.err.code != ERR_NONE && v.err.code != ERR_NOT_FOUND)
		server_say(f->relay->log, is_ours(&v.err) ? LOG_LEVEL_ERROR : LOG_LEVEL_NOTE, "'%s' %s: %s", f->key,
			   v.whole ? "was passed on but not kept" : "could not be had", v.err.msg);
}

/* -- the thread ----------------------------------------------------------------------------------------------------- */

static void wake(void *ctx)
{
	struct flight *f = ctx;
	pthread_mutex_lock(&f->relay->mutex);
	f->woken = true;
	pthread_cond_signal(&f->relay->wake);
	pthread_mutex_unlock(&f->relay->mutex);
}

/* Out of the table, with the mutex; left and freed without it, since leaving waits for a call of `wake` that is under way. */
static void forget(struct relay *x, size_t i)
{
	struct flight *f = x->flights.v[i];
	x->flights.v[i] = vec_pop(&x->flights);
	(void)map_remove(&x->by_key, str_c(f->key));
	pthread_mutex_unlock(&x->mutex);
	if (f->fetch)
		mirror_fetch_leave(f->fetch, f);
	if (f->stream)
		httpd_stream_unref(f->stream);
	vec_release(&f->waiting);
	free(f->key);
	free(f);
	pthread_mutex_lock(&x->mutex);
}

static bool look_at_woken(struct relay *x)
{
	for (size_t i = 0; i < x->flights.n; i++) {
		struct flight *f = x->flights.v[i];
		if (!f->woken || (!f->fetch && !f->ended))
			continue;
		f->woken = false;
		if (f->fetch)
			look(f);
		if (f->ended)
			forget(x, i);
		return true;
	}
	return false;
}

static void *run(void *arg)
{
	struct relay *x = arg;
	pthread_mutex_lock(&x->mutex);
	while (!x->stop)
		if (!look_at_woken(x))
			pthread_cond_wait(&x->wake, &x->mutex);
	while (x->flights.n) {
		struct flight *f = x->flights.v[0];
		struct err e = ERR_INIT;
		err_new(&e, ERR_FAILED, "the mirror stops");
		if (f->stream && !f->ended)
			httpd_stream_end(f->stream, false);
		answer_waiting(f, &e);
		forget(x, 0);
	}
	pthread_mutex_unlock(&x->mutex);
	return NULL;
}

int relay_new(struct server_log *log, struct relay **ret, struct err *e)
{
	struct relay *x = xcalloc(1, sizeof(*x));
	x->log = log;
	pthread_mutex_init(&x->mutex, NULL);
	pthread_cond_init(&x->wake, NULL);
	errno = pthread_create(&x->thread, NULL, run, x);
	if (errno) {
		free(x);
		return err_sys(e, "start a thread");
	}
	*ret = x;
	return 0;
}

void relay_free(struct relay *x)
{
	if (!x)
		return;
	pthread_mutex_lock(&x->mutex);
	x->stop = true;
	pthread_cond_signal(&x->wake);
	pthread_mutex_unlock(&x->mutex);
	pthread_join(x->thread, NULL);
	vec_release(&x->flights);
	map_release(&x->by_key);
	pthread_cond_destroy(&x->wake);
	pthread_mutex_destroy(&x->mutex);
	free(x);
}

size_t relay_count(struct relay *x)
{
	pthread_mutex_lock(&x->mutex);
	size_t n = x->flights.n;
	pthread_mutex_unlock(&x->mutex);
	return n;
}

void relay_each(struct relay *x, size_t max, void (*fn)(void *ctx, const char *path, size_t waiting), void *ctx)
{
	pthread_mutex_lock(&x->mutex);
	for (size_t i = 0; i < x->flights.n && i < max; i++)
		fn(ctx, x->flights.v[i]->key, x->flights.v[i]->waiting.n);
	pthread_mutex_unlock(&x->mutex);
}

/* -- who asks ------------------------------------------------------------------------------------------------------- */

/* With the mutex. */
static struct flight *add_flight(struct relay *x, const char *key)
{
	struct flight *f = xcalloc(1, sizeof(*f));
	f->relay = x;
	f->key = xstrdup(key);
	vec_push(&x->flights, f);
	*map_put(&x->by_key, str_c(f->key)) = (uint64_t)(uintptr_t)f;
	return f;
}

/* With the mutex. */
static void add_waiting(struct flight *f, struct httpd_req *r, const struct httpd_head *head)
{
	struct waiting *w = vec_add(&f->waiting);
	w->req = r;
	w->cache_control = head->cache_control;
	snprintf(w->type, sizeof(w->type), "%s", head->type);
	f->relay->waiting_n++;
}

/* With the mutex: true where the request is with a flight that there is. */
static bool join(struct relay *x, const char *key, struct httpd_req *r, const struct httpd_head *head)
{
	const uint64_t *there = map_get(&x->by_key, str_c(key));
	struct flight *f = there ? (struct flight *)(uintptr_t)*there : NULL; /* a map holds numbers */
	if (!f)
		return false;
	add_waiting(f, r, head);
	if (f->stream)
		answer_waiting(f, NULL);
	return true;
}

/* Without the mutex: the first notice may come before mirror_fetch_begin returns. */
static void begin(struct relay *x, struct flight *f, struct mirror_reader *reader, const struct mirror_found *found)
{
	struct mirror_fetch *fetch = NULL;
	struct err e = ERR_INIT;
	int rc = mirror_fetch_begin(reader, found, wake, f, &fetch, &e);
	pthread_mutex_lock(&x->mutex);
	if (rc < 0)
		answer_waiting(f, &e);
	f->fetch = fetch;
	f->woken = true;
	f->ended = rc < 0;
	pthread_cond_signal(&x->wake);
	pthread_mutex_unlock(&x->mutex);
}

void relay_request(struct relay *x, struct mirror_reader *reader, const struct mirror_found *found, struct httpd_req *r,
		   const struct httpd_head *head)
{
	struct flight *f = NULL;
	auto_free char *key = xasprintf("%.*s/%s", STR_ARG(found->channel->name), found->path);
	pthread_mutex_lock(&x->mutex);
	bool full = x->waiting_n >= WAITING_MAX, joined = !full && join(x, key, r, head);
	if (!full && !joined) {
		f = add_flight(x, key);
		add_waiting(f, r, head);
	}
	pthread_mutex_unlock(&x->mutex);
	if (full)
		httpd_reply_error(r, 503, "too many requests wait for upstreams; try again");
	if (f)
		begin(x, f, reader, found);
}
