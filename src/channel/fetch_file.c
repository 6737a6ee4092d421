// SPDX-License-Identifier: Apache-2.0
/* file:// without a fetcher: the body is the file itself, its validator is size, modification time and inode. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/url.h"
#include "channel/refresh.h"

static void get_file(struct channel_get *g)
{
	auto_buf path = BUF_INIT(URL_MAX);
	char etag[sizeof(g->etag)];
	struct stat st;
	g->state = GET_FAILED;
	if (url_file_path(str_c(g->url), &path, &g->err) < 0)
		return;
	auto_fd fd = open(path.p, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
		g->state = GET_MISSING;
		return;
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(&g->err, "open '%s'", path.p);
		return;
	}
	if (!S_ISREG(st.st_mode)) {
		err_new(&g->err, ERR_INPUT, "'%s' is not a file", path.p);
		return;
	}
	if ((uint64_t)st.st_size > g->max_bytes) {
		err_new(&g->err, ERR_LIMIT, "'%s' is larger than %llu bytes", path.p, (unsigned long long)g->max_bytes);
		return;
	}
	snprintf(etag, sizeof(etag), "%lld-%lld.%09ld-%llu", (long long)st.st_size, (long long)st.st_mtim.tv_sec,
		 st.st_mtim.tv_nsec, (unsigned long long)st.st_ino);
	g->max_age_s = 0;
	if (strcmp(etag, g->etag) == 0) {
		g->state = GET_UNCHANGED;
		return;
	}
	snprintf(g->etag, sizeof(g->etag), "%s", etag);
	g->last_modified[0] = '\0';
	if (g->fd >= 0)
		close(g->fd);
	g->fd = steal_fd(&fd);
	g->state = GET_DONE;
}

int cache_get(struct channel_cache *c, struct channel_get *const *gets, size_t n, struct err *e)
{
	auto_free struct channel_get **remote = xcalloc(n + 1, sizeof(*remote));
	size_t remote_n = 0;
	for (size_t i = 0; i < n; i++) {
		gets[i]->state = GET_PENDING;
		gets[i]->max_age_s = -1;
		bool is_signed = c->fetch && c->fetch->is_signed && c->fetch->is_signed(c->fetch, gets[i]->url);
		if (str_starts(str_c(gets[i]->url), STR("file://")) && !is_signed)
			get_file(gets[i]);
		else
			remote[remote_n++] = gets[i];
	}
	if (remote_n == 0)
		return 0;
	if (!c->fetch)
		return err_new(e, ERR_UNSUPPORTED, "a remote channel cannot be fetched here");
	return c->fetch->get(c->fetch, remote, remote_n, e);
}
