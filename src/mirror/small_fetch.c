// SPDX-License-Identifier: Apache-2.0
/* A small channel's files that the large tree does not hold yet: several of them at a time. */
#include <pthread.h>

#include "base/clock.h"
#include "mirror/small.h"

enum { AT_ONCE = 8, TELL_MS = 100 };

struct slot {
	struct mirror_fetch *x; /* NULL: free */
	const struct small_file *file;
};
struct fetching {
	struct small *s;
	struct mirror_reader *r;
	pthread_mutex_t lock;
	pthread_cond_t more;
	bool woken;
	int64_t told_ms;
	struct slot slot[AT_ONCE];
	size_t n;
	struct err failure; /* the first one */
};

static void wake(void *ctx)
{
	struct fetching *f = ctx;
	pthread_mutex_lock(&f->lock);
	f->woken = true;
	pthread_cond_signal(&f->more);
	pthread_mutex_unlock(&f->lock);
}

static void tell(const struct fetching *f, enum progress_kind kind, const struct small_file *file, uint64_t done,
		 const char *text)
{
	progress_send(f->s->o->progress, (struct progress_event){.kind = kind,
								 .phase = "download",
								 .id = file->path.p,
								 .text = text,
								 .done = done,
								 .total = file->size});
}

static void leave(struct fetching *f, struct slot *k)
{
	mirror_fetch_leave(k->x, f);
	k->x = NULL;
	f->n--;
}

static void ended(struct fetching *f, struct slot *k, const struct mirror_fetch_view *view)
{
	const struct small_file *file = k->file;
	bool good = view->err.code == ERR_NONE;
	tell(f, good ? PROGRESS_DONE : PROGRESS_FAILED, file, view->ready, good ? NULL : view->err.msg);
	if (!good && f->failure.code == ERR_NONE) {
		f->failure = view->err;
		err_ctx(&f->failure, "fetch '%s'", file->path.p);
	}
	leave(f, k);
}

/* Whatever ended makes room. */
static void look(struct fetching *f)
{
	int64_t now = clock_system.mono_ms(&clock_system);
	bool due = now - f->told_ms >= TELL_MS;
	for (size_t i = 0; i < AT_ONCE; i++) {
		struct slot *k = &f->slot[i];
		struct mirror_fetch_view view;
		if (!k->x)
			continue;
		mirror_fetch_look(k->x, &view);
		if (view.done)
			ended(f, k, &view);
		else if (due)
			tell(f, PROGRESS_UPDATE, k->file, view.ready, NULL);
	}
	if (due)
		f->told_ms = now;
}

/* Until fewer than so many are under way. */
static void wait_for(struct fetching *f, size_t fewer)
{
	while (f->n >= fewer) {
		pthread_mutex_lock(&f->lock);
		while (!f->woken)
			pthread_cond_wait(&f->more, &f->lock);
		f->woken = false;
		pthread_mutex_unlock(&f->lock);
		look(f);
	}
}

static bool is_under_way(const struct fetching *f, const struct small_file *file)
{
	for (size_t i = 0; i < AT_ONCE; i++)
		if (f->slot[i].x && str_eq(f->slot[i].file->path, file->path))
			return true;
	return false;
}

static int begin(struct fetching *f, const struct small_file *file, struct err *e)
{
	struct small *s = f->s;
	struct mirror_found found;
	struct slot *k = f->slot;
	if (!f->r)
		return err_new(e, ERR_NOT_FOUND,
			       "'%s/%s' is not there, and '%s' follows nothing that it could be fetched from",
			       s->o->from, file->path.p, s->o->from);
	if (mirror_find(f->r, s->o->channel->name, file->path, &found, e) < 0)
		return -1;
	if (found.answer == MIRROR_HELD) {
		cleanup_fd(&found.fd);
		return 0;
	}
	if (found.answer == MIRROR_NONE)
		return err_new(e, ERR_NOT_FOUND, "nobody has '%s'", file->path.p);
	while (k->x)
		k++;
	small_say(s, (struct mirror_small_told){MIRROR_SMALL_FETCH, STR_NONE, file->path, NULL, 0});
	if (mirror_fetch_begin(f->r, &found, wake, f, &k->x, e) < 0)
		return -1;
	k->file = file;
	f->n++;
	tell(f, PROGRESS_BEGIN, file, 0, NULL);
	look(f); /* it may have ended before anybody was to be woken */
	return 0;
}

static int begin_package(struct fetching *f, const struct small_package *p, struct err *e)
{
	const struct small *s = f->s;
	for (size_t i = 0; i < p->files_n; i++) {
		const struct small_file *file = &p->files[i];
		if (file->copy_of.n || small_has_file(s->to, file) || small_has_file(s->from, file) ||
		    is_under_way(f, file))
			continue;
		wait_for(f, AT_ONCE);
		if (f->failure.code != ERR_NONE)
			return *e = f->failure, -1;
		if (begin(f, file, e) < 0)
			return -1;
	}
	return 0;
}

int small_fetch(struct small *s, struct mirror_reader *r, struct err *e)
{
	struct fetching f = {.s = s, .r = r, .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
	int rc = 0;
	for (size_t i = 0; i < s->package.n && rc == 0; i++)
		if (s->package.v[i].is_new)
			rc = begin_package(&f, &s->package.v[i], e);
	wait_for(&f, 1); /* what is under way is whole for the next run */
	if (rc == 0 && f.failure.code != ERR_NONE) {
		*e = f.failure;
		rc = -1;
	}
	pthread_cond_destroy(&f.more);
	pthread_mutex_destroy(&f.lock);
	return rc;
}
