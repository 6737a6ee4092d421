// SPDX-License-Identifier: Apache-2.0
/*
 * The cache of open files. Each request looks at its path with one fstatat; what the cache holds counts only while device, inode, size and both times are the
 * same. So it spares open, fstat and close, and for small files the reading, but never serves what is no longer there.
 *
 * A file that changed in place within the granularity of the clock that stamps it would look unchanged: what is younger than YOUNG_MS is
 * not kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "base/map.h"
#include "httpd/server.h"

enum { SHARDS = 16, BUCKETS = 128, SHARD_MAX = 64, YOUNG_MS = 50 };

struct shard {
	pthread_mutex_t lock;
	struct cached *bucket[BUCKETS], *newest, *oldest;
	unsigned n;
};

struct files {
	struct shard shard[SHARDS];
};

struct files *files_new(void)
{
	struct files *f = xcalloc(1, sizeof(*f));
	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_init(&f->shard[i].lock, NULL);
	return f;
}

void cached_drop(struct cached *c)
{
	if (!c || atomic_fetch_sub(&c->holders, 1) != 1)
		return;
	cleanup_fd(&c->fd);
	free(c->mem);
	free(c);
}

static void unlink_from_order(struct shard *s, struct cached *c)
{
	*(c->newer ? &c->newer->older : &s->newest) = c->older;
	*(c->older ? &c->older->newer : &s->oldest) = c->newer;
}

static void link_newest(struct shard *s, struct cached *c)
{
	c->newer = NULL;
	c->older = s->newest;
	*(s->newest ? &s->newest->newer : &s->oldest) = c;
	s->newest = c;
}

/* Under the lock; the shard's hold goes. */
static void forget(struct shard *s, struct cached *c)
{
	struct cached **at = &s->bucket[c->hash / SHARDS % BUCKETS];
	while (*at != c)
		at = &(*at)->hash_next;
	*at = c->hash_next;
	unlink_from_order(s, c);
	s->n--;
	cached_drop(c);
}

void files_free(struct files *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < SHARDS; i++) {
		while (f->shard[i].newest)
			forget(&f->shard[i], f->shard[i].newest);
		pthread_mutex_destroy(&f->shard[i].lock);
	}
	free(f);
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       same_time(&a->st_mtim, &b->st_mtim) && same_time(&a->st_ctim, &b->st_ctim);
}

static struct cached *find(struct shard *s, uint64_t hash, int dir_fd, struct str path)
{
	struct cached *c = s->bucket[hash / SHARDS % BUCKETS];
	while (c && (c->hash != hash || c->dir_fd != dir_fd || !str_eq(str_of(c->path, c->path_n), path)))
		c = c->hash_next;
	return c;
}

static int open_below(int dir_fd, const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	int fd = -1;
	for (int i = 0; i < 8 && fd < 0; i++) { /* EAGAIN: something was renamed meanwhile */
		fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
		if (fd < 0 && errno != EAGAIN)
			break;
	}
	if (fd < 0 && errno == ENOSYS) /* before Linux 5.6: no links at the end, and the folders are the site's own */
		fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	if (fd < 0 && (errno == EXDEV || errno == ELOOP))
		errno = EACCES;
	return fd;
}

void file_tag(const struct stat *st, char out[64])
{
	snprintf(out, 64, "\"%llx-%llx\"",
		 (unsigned long long)st->st_mtim.tv_sec * 1000000000ULL + (unsigned long long)st->st_mtim.tv_nsec,
		 (unsigned long long)st->st_size);
}

/* The content of a small file; none where it changes meanwhile: then it is sent from the descriptor. */
static void read_small(struct cached *c)
{
	struct stat after;
	size_t size = (size_t)c->st.st_size;
	char *p = xmalloc(size + 1);
	if (pread(c->fd, p, size + 1, 0) == (ssize_t)size && fstat(c->fd, &after) == 0 && same_file(&c->st, &after)) {
		c->mem = p;
		cleanup_fd(&c->fd);
	} else {
		free(p);
	}
}

static struct cached *cached_new(int fd, const struct stat *st, uint64_t hash, int dir_fd, struct str path)
{
	struct cached *c = xcalloc(1, sizeof(*c) + path.n + 1);
	atomic_init(&c->holders, 1);
	c->fd = fd;
	c->st = *st;
	c->hash = hash;
	c->dir_fd = dir_fd;
	c->path_n = path.n;
	memcpy(c->path, path.p, path.n);
	file_tag(st, c->text);
	c->etag = str_c(c->text);
	http_date(st->st_mtim.tv_sec, c->text + 64);
	c->date = str_c(c->text + 64);
	if (st->st_size <= FILE_MEMORY_MAX)
		read_small(c);
	return c;
}

static void keep(struct shard *s, struct cached *c)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	int64_t age_ms = (now.tv_sec - c->st.st_ctim.tv_sec) * 1000 + (now.tv_nsec - c->st.st_ctim.tv_nsec) / 1000000;
	if (age_ms >= 0 && age_ms < YOUNG_MS)
		return;
	struct cached *was = find(s, c->hash, c->dir_fd, str_of(c->path, c->path_n));
	if (was)
		forget(s, was);
	if (s->n >= SHARD_MAX)
		forget(s, s->oldest);
	struct cached **bucket = &s->bucket[c->hash / SHARDS % BUCKETS];
	c->hash_next = *bucket;
	*bucket = c;
	link_newest(s, c);
	s->n++;
	atomic_fetch_add(&c->holders, 1);
}

static struct cached *take_kept(struct shard *s, uint64_t hash, int dir_fd, struct str path, const struct stat *st)
{
	pthread_mutex_lock(&s->lock);
	struct cached *c = find(s, hash, dir_fd, path);
	if (c && !same_file(&c->st, st)) {
		forget(s, c);
		c = NULL;
	}
	if (c) {
		atomic_fetch_add_explicit(&c->holders, 1, memory_order_relaxed);
		if (s->newest != c) {
			unlink_from_order(s, c);
			link_newest(s, c);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return c;
}

static int no_file(void)
{
	return errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG ? HTTPD_NO_FILE : -1;
}

int files_open(struct httpd *h, int dir_fd, const char *path, struct cached **ret)
{
	while (*path == '/')
		path++;
	struct str key = str_c(path);
	uint64_t hash = hash_bytes(key.p, key.n) ^ (uint64_t)(unsigned)dir_fd * 0x9e3779b97f4a7c15;
	struct shard *s = &h->files->shard[hash % SHARDS];
	struct stat st;
	if (!*path)
		return HTTPD_NO_FILE;
	if (fstatat(dir_fd, path, &st, 0) < 0)
		return no_file();
	if (!S_ISREG(st.st_mode))
		return HTTPD_NO_FILE;
	*ret = take_kept(s, hash, dir_fd, key, &st);
	if (*ret) {
		atomic_fetch_add_explicit(&h->file_hits, 1, memory_order_relaxed);
		return 0;
	}
	auto_fd fd = open_below(dir_fd, path);
	if (fd < 0)
		return no_file();
	if (fstat(fd, &st) < 0)
		return -1;
	if (!S_ISREG(st.st_mode))
		return HTTPD_NO_FILE;
	atomic_fetch_add_explicit(&h->file_opens, 1, memory_order_relaxed);
	*ret = cached_new(steal_fd(&fd), &st, hash, dir_fd, key);
	pthread_mutex_lock(&s->lock);
	keep(s, *ret);
	pthread_mutex_unlock(&s->lock);
	return 0;
}
