// SPDX-License-Identifier: Apache-2.0
/* Archives of opam packages, from a cache or from where they lie (build/opam_source.h). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam_source.h"

enum { WAIT_MS = 50, CANDIDATES_MAX = 256 };

int opam_fetcher_init(struct opam_fetcher *t, const struct opam_cache *cache, const struct str *mirrors,
		      size_t n_mirrors, unsigned parallel, struct progress *progress, struct err *e)
{
	*t = (struct opam_fetcher){.cache = cache, .mirrors = mirrors, .n_mirrors = n_mirrors};
	struct transfer_opts o = TRANSFER_OPTS_INIT;
	o.max_parallel = parallel;
	o.progress = progress;
	return transfer_new(&o, &t->transfer, e);
}

static void drop(struct opam_fetch *f)
{
	cleanup_fd(&f->partial);
	for (size_t i = 0; i < f->candidates.n; i++)
		free(f->candidates.v[i]);
	vec_release(&f->candidates);
}

void opam_fetcher_release(struct opam_fetcher *t)
{
	t->released = true;
	transfer_free(t->transfer);
	t->transfer = NULL;
	vec_foreach(f, &t->queue)
		drop(*f);
	vec_release(&t->queue);
}

static void add_candidate(struct opam_fetch *f, char *url)
{
	if (f->candidates.n < CANDIDATES_MAX)
		vec_push(&f->candidates, url);
	else
		free(url);
}

void opam_fetch_add(struct opam_fetcher *t, struct opam_fetch *f)
{
	f->fetcher = t;
	f->fd = f->partial = -1;
	f->from = NULL;
	f->err = ERR_INIT;
	for (size_t i = 0; f->n_sums && i < t->n_mirrors; i++) {
		char path[192];
		struct str base = t->mirrors[i];
		opam_digest_path(&f->sums[0], path);
		while (base.n && base.p[base.n - 1] == '/')
			base.n--;
		add_candidate(f, xasprintf("%.*s/%s", STR_ARG(base), path));
	}
	for (size_t i = 0; i < f->n_urls; i++)
		add_candidate(f, str_dup(f->urls[i]));
	vec_push(&t->queue, f);
}

static void end(struct opam_fetch *f)
{
	if (f->partial >= 0 && f->n_sums && f->err.code == ERR_VERIFY)
		opam_cache_discard(f->fetcher->cache, f->sums, f->n_sums);
	drop(f);
	f->done(f, f->ctx);
}

/* A digest that does not match says more than a server that has not got it; the first word of a kind counts. */
static void keep_error(struct opam_fetch *f, const struct err *why)
{
	if (f->err.code == ERR_NONE || (why->code == ERR_VERIFY && f->err.code != ERR_VERIFY) ||
	    f->err.code == ERR_NOT_FOUND)
		f->err = *why;
}

static void next_candidate(struct opam_fetch *f);

static void failed_here(struct opam_fetch *f, const struct err *why)
{
	keep_error(f, why);
	f->at++;
	next_candidate(f);
}

/* It goes into the cache, through a partial file that is ours. */
static bool is_cached(const struct opam_fetch *f)
{
	return f->n_sums && f->partial >= 0 && f->fetcher->cache->dir >= 0;
}

/* All bytes are in `fd`. */
static void came(struct opam_fetch *f, int fd)
{
	struct opam_fetcher *t = f->fetcher;
	struct err why = ERR_INIT;
	char shown[1024];
	transfer_shown_url(f->candidates.v[f->at], shown, sizeof(shown));
	int rc = opam_copy_checked(t->cache, fd, f->sums, f->n_sums, shown, &f->fd, &why);
	if (rc == 0 && f->partial >= 0 && sys_ftruncate(f->partial, 0) < 0)
		rc = err_sys(&why, "empty a partial download");
	if (rc == 0) {
		failed_here(f, &why);
		return;
	}
	/* what this machine cannot do it can from no other URL either */
	if (rc < 0 || (is_cached(f) && opam_cache_commit(t->cache, f->partial, f->sums, f->n_sums, &why) < 0)) {
		cleanup_fd(&f->fd);
		f->err = why;
		end(f);
		return;
	}
	if (f->n_sums && f->at < t->n_mirrors) { /* which archive of it is no news */
		auto_free char *mirror = str_dup(t->mirrors[f->at]);
		transfer_shown_url(mirror, shown, sizeof(shown));
	}
	f->from = xstrdup(shown);
	f->err = ERR_INIT;
	end(f);
}

static void transfer_done(struct transfer_request *r, void *ctx)
{
	struct opam_fetch *f = ctx;
	f->fetcher->active--;
	if (f->fetcher->released) {
		drop(f);
		return;
	}
	if (r->err.code != ERR_NONE) {
		struct err why = r->err;
		failed_here(f, &why);
		return;
	}
	came(f, f->partial);
}

/* A path, where the URL is one of this machine; NULL: it is none. */
static const char *local_path(const char *url)
{
	struct str s = str_c(url);
	if (str_take_str(&s, STR("file://")))
		return s.n && s.p[0] == '/' ? s.p : NULL;
	return url[0] == '/' ? url : NULL;
}

static void take_local(struct opam_fetch *f, const char *path)
{
	struct err why = ERR_INIT;
	struct stat st;
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(&why, "open '%s'", path);
	} else if (S_ISDIR(st.st_mode) && f->n_sums == 0) {
		f->fd = steal_fd(&fd);
		f->is_folder = true;
		f->from = xstrdup(f->candidates.v[f->at]);
		f->err = ERR_INIT;
		end(f);
		return;
	} else if (!S_ISREG(st.st_mode)) {
		err_new(&why, ERR_INPUT, "'%s' is %s", path,
			S_ISDIR(st.st_mode) ? "a folder, and has no checksum" : "no file");
	} else if (f->partial >= 0 && f->n_sums &&
		   f->fetcher->cache->dir >= 0) { /* through the cache, like any other */
		int copy;
		int rc = opam_copy_checked(f->fetcher->cache, fd, f->sums, f->n_sums, path, &copy, &why);
		if (rc > 0) {
			auto_fd checked = copy;
			auto_free char *piece = xmalloc(OPAM_PIECE);
			ssize_t n = 0;
			bool good = sys_ftruncate(f->partial, 0) == 0 && lseek(f->partial, 0, SEEK_SET) == 0;
			while (good && (n = read(checked, piece, OPAM_PIECE)) > 0)
				good = fs_write_all(f->partial, piece, (size_t)n, path, &why) == 0;
			if (good && n == 0) {
				came(f, f->partial);
				return;
			}
			if (why.code == ERR_NONE)
				err_sys(&why, "copy '%s'", path);
		}
	} else {
		came(f, fd);
		return;
	}
	failed_here(f, &why);
}

static bool is_versioned(struct str url)
{
	return str_starts(url, STR("git+")) || str_starts(url, STR("git://"));
}

/* Not beside the downloads: packages of such sources are few. */
static void check_out(struct opam_fetch *f, const char *url)
{
	struct opam_fetcher *t = f->fetcher;
	struct err why = ERR_INIT;
	auto_free char *dest = xasprintf("%s/checkout-%u", t->scratch, t->checkouts++);
	if (t->checkout(t->checkout_ctx, url, dest, &why) < 0 || (f->fd = fs_open_dir(AT_FDCWD, dest, &why)) < 0) {
		failed_here(f, &why);
		return;
	}
	f->is_folder = true;
	f->from = xstrdup(url);
	f->err = ERR_INIT;
	end(f);
}

static int open_partial(struct opam_fetch *f, struct err *e)
{
	const struct opam_cache *c = f->fetcher->cache;
	if (f->n_sums && c->dir >= 0)
		return opam_cache_begin(c, f->sums, f->n_sums, &f->partial, e);
	f->partial = sys_openat(c->scratch_dir, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	return f->partial < 0 ? err_sys(e, "make a file for '%s'", f->label) : 1;
}

/* Candidate f->at, or the end. The partial file is ours. */
static void next_candidate(struct opam_fetch *f)
{
	if (f->at >= f->candidates.n) {
		if (f->err.code == ERR_NONE)
			err_new(&f->err, ERR_NOT_FOUND, "'%s' has no URL", f->label);
		end(f);
		return;
	}
	const char *url = f->candidates.v[f->at], *path = local_path(url);
	struct stat st;
	struct err why = ERR_INIT;
	if (path) {
		take_local(f, path);
		return;
	}
	if (is_versioned(str_c(url)) && f->fetcher->checkout) {
		check_out(f, url);
		return;
	}
	if (!str_starts(str_c(url), STR("http://")) && !str_starts(str_c(url), STR("https://"))) {
		err_new(&why, ERR_UNSUPPORTED,
			"'%s': neither http, https nor a file; version control is not fetched from here", url);
		failed_here(f, &why);
		return;
	}
	if (fstat(f->partial, &st) < 0) {
		err_sys(&why, "look at the download of '%s'", f->label);
		failed_here(f, &why);
		return;
	}
	f->request = (struct transfer_request){
		.url = url,
		.label = f->label,
		.fd = f->partial,
		.have = f->n_sums ? (uint64_t)st.st_size : 0,
		.max_bytes = OPAM_ARCHIVE_MAX,
		.digest = f->n_sums ? opam_best_digest(f->sums, f->n_sums) : NULL,
		.vouched = f->n_sums == 0,
		.done = transfer_done,
		.ctx = f,
	};
	f->fetcher->active++;
	transfer_add(f->fetcher->transfer, &f->request);
}

/* A run that was killed may have had it all. */
static bool take_left(struct opam_fetch *f)
{
	struct stat st;
	struct err why = ERR_INIT;
	if (!is_cached(f) || fstat(f->partial, &st) < 0 || st.st_size == 0 ||
	    opam_copy_checked(f->fetcher->cache, f->partial, f->sums, f->n_sums, f->label, &f->fd, &why) <= 0)
		return false;
	if (opam_cache_commit(f->fetcher->cache, f->partial, f->sums, f->n_sums, &why) < 0) {
		cleanup_fd(&f->fd);
		f->err = why;
	}
	end(f);
	return true;
}

/* 1 begun (or ended), 0 somebody else downloads it. */
static int begin(struct opam_fetch *f)
{
	struct err why = ERR_INIT;
	int rc = f->n_sums ? opam_cache_take(f->fetcher->cache, f->sums, f->n_sums, &f->fd, &why) : 0;
	if (rc == 0)
		rc = open_partial(f, &why);
	else if (rc > 0)
		return end(f), 1;
	if (rc < 0) {
		f->err = why;
		return end(f), 1;
	}
	if (rc == 0)
		return 0;
	/* whoever had the lock may have finished between the look and the lock */
	if (f->waits && f->n_sums && opam_cache_take(f->fetcher->cache, f->sums, f->n_sums, &f->fd, &why) > 0) {
		opam_cache_discard(f->fetcher->cache, f->sums, f->n_sums);
		return end(f), 1;
	}
	f->at = 0;
	if (!take_left(f))
		next_candidate(f);
	return 1;
}

int opam_fetch_step(struct opam_fetcher *t, int wait_ms, struct err *e)
{
	for (size_t i = 0; i < t->queue.n;) {
		struct opam_fetch *f = t->queue.v[i];
		if (!begin(f)) {
			f->waits = true;
			i++;
			continue;
		}
		memmove(&t->queue.v[i], &t->queue.v[i + 1], (t->queue.n - i - 1) * sizeof(*t->queue.v));
		t->queue.n--;
	}
	if (t->queue.n && (wait_ms < 0 || wait_ms > WAIT_MS))
		wait_ms = WAIT_MS;
	if (t->active) {
		if (transfer_step(t->transfer, wait_ms, e) < 0)
			return -1;
	} else if (t->queue.n && wait_ms > 0) {
		poll(NULL, 0, wait_ms); /* somebody else's download */
	}
	return t->active || t->queue.n;
}
