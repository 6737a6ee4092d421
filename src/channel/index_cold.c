// SPDX-License-Identifier: Apache-2.0
/* The cold section while the index is made: written in place through a few windows. */
#include <errno.h>
#include <stdlib.h>

#include "base/sys.h"
#include "channel/index_build.h"

void cold_init(struct cold *c)
{
	*c = (struct cold){0};
	for (int i = 0; i < COLD_WINDOWS; i++)
		c->w[i].number = UINT64_MAX;
}

void cold_release(struct cold *c)
{
	for (int i = 0; i < COLD_WINDOWS; i++)
		free(c->w[i].p);
	cold_init(c);
}

static int window_write(struct index_builder *b, struct cold_window *w, struct err *e)
{
	uint64_t at = w->number * COLD_WINDOW_BYTES, end = b->cold.count * sizeof(struct ix_cold);
	size_t n = end - at < COLD_WINDOW_BYTES ? (size_t)(end - at) : COLD_WINDOW_BYTES;
	for (size_t done = 0; done < n;) {
		ssize_t k = sys_pwrite(b->fd, w->p + done, n - done, (off_t)(INDEX_BLOCK + at + done));
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return err_sys(e, "write '%s'", b->tmp);
		done += (size_t)k;
	}
	w->dirty = false;
	return 0;
}

static int window_load(struct index_builder *b, struct cold_window *w, uint64_t number, struct err *e)
{
	if (!w->p)
		w->p = xmalloc(COLD_WINDOW_BYTES);
	if (w->dirty && window_write(b, w, e) < 0)
		return -1;
	w->number = UINT64_MAX;
	ssize_t n = pread(b->fd, w->p, COLD_WINDOW_BYTES, (off_t)(INDEX_BLOCK + number * COLD_WINDOW_BYTES));
	if (n < 0)
		return err_sys(e, "read '%s'", b->tmp);
	memset(w->p + n, 0, (size_t)(COLD_WINDOW_BYTES - n));
	w->number = number;
	return 0;
}

int cold_put(struct index_builder *b, uint32_t slot, const struct ix_cold *v, struct err *e)
{
	struct cold *c = &b->cold;
	uint64_t at = (uint64_t)slot * sizeof(*v), number = at / COLD_WINDOW_BYTES;
	struct cold_window *w = NULL, *oldest = &c->w[0];
	for (int i = 0; i < COLD_WINDOWS && !w; i++) {
		if (c->w[i].number == number)
			w = &c->w[i];
		else if (c->w[i].used < oldest->used)
			oldest = &c->w[i];
	}
	if (!w) {
		w = oldest;
		if (window_load(b, w, number, e) < 0)
			return -1;
	}
	if (slot >= c->count)
		c->count = (uint64_t)slot + 1;
	memcpy(w->p + at % COLD_WINDOW_BYTES, v, sizeof(*v));
	w->dirty = true;
	w->used = ++c->clock;
	return 0;
}

int cold_flush(struct index_builder *b, struct err *e)
{
	for (int i = 0; i < COLD_WINDOWS; i++)
		if (b->cold.w[i].dirty && window_write(b, &b->cold.w[i], e) < 0)
			return -1;
	return 0;
}
