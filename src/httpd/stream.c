// SPDX-License-Identifier: Apache-2.0
/* Growing replies: how much is there, and who waits for more. Lock order: a stream's, then a worker's mail. */
#include "httpd/server.h"

struct httpd_stream {
	atomic_uint holders;
	atomic_size_t readers;
	int fd;
	int64_t size;
	pthread_mutex_t lock;
	uint64_t available;
	bool ended, failed;
	struct httpd_req *waiting;
};

struct httpd_stream *httpd_stream_new(int fd, int64_t size_bytes)
{
	struct httpd_stream *s = xcalloc(1, sizeof(*s));
	atomic_init(&s->holders, 1);
	s->fd = fd;
	s->size = size_bytes < 0 ? HTTPD_SIZE_UNKNOWN : size_bytes;
	pthread_mutex_init(&s->lock, NULL);
	return s;
}

struct httpd_stream *httpd_stream_ref(struct httpd_stream *s)
{
	atomic_fetch_add(&s->holders, 1);
	return s;
}

void httpd_stream_unref(struct httpd_stream *s)
{
	if (!s || atomic_fetch_sub(&s->holders, 1) != 1)
		return;
	cleanup_fd(&s->fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void unlink_waiting(struct httpd_stream *s, struct httpd_req *r)
{
	*(r->wait_prev ? &r->wait_prev->wait_next : &s->waiting) = r->wait_next;
	if (r->wait_next)
		r->wait_next->wait_prev = r->wait_prev;
	r->wait_prev = r->wait_next = NULL;
	r->waiting = false;
}

/* Under the lock. */
static void wake_all(struct httpd_stream *s)
{
	while (s->waiting) {
		struct httpd_req *r = s->waiting;
		unlink_waiting(s, r);
		atomic_fetch_add(&r->holders, 1);
		worker_mail(r->w, r, MAIL_WAKE);
	}
}

void httpd_stream_advance(struct httpd_stream *s, uint64_t available_bytes)
{
	pthread_mutex_lock(&s->lock);
	if (s->size >= 0 && available_bytes > (uint64_t)s->size)
		available_bytes = (uint64_t)s->size;
	if (available_bytes > s->available && !s->ended) {
		s->available = available_bytes;
		wake_all(s);
	}
	pthread_mutex_unlock(&s->lock);
}

void httpd_stream_end(struct httpd_stream *s, bool good)
{
	pthread_mutex_lock(&s->lock);
	if (!s->ended) {
		s->ended = true;
		s->failed = !good || (s->size >= 0 && s->available < (uint64_t)s->size);
		wake_all(s);
	}
	pthread_mutex_unlock(&s->lock);
}

size_t httpd_stream_readers(const struct httpd_stream *s)
{
	return atomic_load(&s->readers);
}

int64_t stream_available(struct httpd_stream *s, struct httpd_req *r, uint64_t at, uint64_t n, bool *ret_end)
{
	int64_t available = 0;
	*ret_end = false;
	pthread_mutex_lock(&s->lock);
	if (s->failed)
		available = -1;
	else if (at < s->available)
		available = (int64_t)(n < s->available - at ? n : s->available - at);
	else if (s->ended)
		*ret_end = true;
	else if (!r->waiting) {
		r->waiting = true;
		r->wait_prev = NULL;
		r->wait_next = s->waiting;
		if (s->waiting)
			s->waiting->wait_prev = r;
		s->waiting = r;
	}
	pthread_mutex_unlock(&s->lock);
	return available;
}

bool stream_has_failed(struct httpd_stream *s)
{
	pthread_mutex_lock(&s->lock);
	bool failed = s->failed;
	pthread_mutex_unlock(&s->lock);
	return failed;
}

void stream_leave(struct httpd_stream *s, struct httpd_req *r)
{
	pthread_mutex_lock(&s->lock);
	if (r->waiting)
		unlink_waiting(s, r);
	pthread_mutex_unlock(&s->lock);
}

int stream_fd(const struct httpd_stream *s)
{
	return s->fd;
}

int64_t stream_size(const struct httpd_stream *s)
{
	return s->size;
}

void stream_reader(struct httpd_stream *s, int change)
{
	atomic_fetch_add(&s->readers, (size_t)change);
}
