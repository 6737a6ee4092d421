// SPDX-License-Identifier: Apache-2.0
/* The cache of archives that opam runs share (build/opam_source.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam_source.h"

#define PARTIAL ".slipway"

static const char *digest_name(enum digest_kind kind)
{
	return kind == DIGEST_SHA512 ? "sha512" : kind == DIGEST_SHA256 ? "sha256" : "md5";
}

const struct digest_value *opam_best_digest(const struct digest_value *sums, size_t n)
{
	const struct digest_value *best = &sums[0];
	for (size_t i = 1; i < n; i++)
		if (digest_size(sums[i].kind) > digest_size(best->kind))
			best = &sums[i];
	return best;
}

void opam_digest_path(const struct digest_value *d, char out[192])
{
	char hex[2 * DIGEST_MAX + 1];
	hex_encode(d->bytes, digest_size(d->kind), hex);
	snprintf(out, 192, "%s/%.2s/%s", digest_name(d->kind), hex, hex);
}

static void partial_path(const struct digest_value *d, char out[192])
{
	char hex[2 * DIGEST_MAX + 1];
	hex_encode(d->bytes, digest_size(d->kind), hex);
	snprintf(out, 192, PARTIAL "/%s-%s", digest_name(d->kind), hex);
}

int opam_cache_open(struct opam_cache *c, const char *path, int scratch_dir, struct err *e)
{
	*c = (struct opam_cache){.path = path, .dir = -1, .scratch_dir = scratch_dir};
	if (!path)
		return 0;
	c->dir = fs_open_dir_make(AT_FDCWD, path, e);
	if (c->dir < 0 || fs_mkdirs(c->dir, PARTIAL, 0755, e) < 0) {
		cleanup_fd(&c->dir);
		return err_ctx(e, "cache of archives '%s'", path);
	}
	return 0;
}

void opam_cache_close(struct opam_cache *c)
{
	cleanup_fd(&c->dir);
}

/* == copies ========================================================================================================== */

static int scratch_file(const struct opam_cache *c, struct err *e)
{
	int fd = sys_openat(c->scratch_dir, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	for (unsigned i = 0; fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT) && i < 100; i++) {
		char name[64];
		snprintf(name, sizeof(name), ".archive-%d-%u", (int)getpid(), i);
		fd = sys_openat(c->scratch_dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0 && sys_unlinkat(c->scratch_dir, name, 0) < 0)
			cleanup_fd(&fd);
		else if (fd < 0 && errno == EEXIST)
			errno = ENOENT;
	}
	return fd < 0 ? err_sys(e, "make a file for an archive") : fd;
}

struct sums {
	struct digest *d[DIGEST_KINDS];
};
static void sums_release(struct sums *s)
{
	for (size_t i = 0; i < DIGEST_KINDS; i++)
		if (s->d[i])
			digest_free(s->d[i]);
}
#define auto_sums cleanup_with(sums_release) struct sums

static int copy(int from, int to, struct sums *s, const char *what, struct err *e)
{
	auto_free char *piece = xmalloc(OPAM_PIECE);
	uint64_t at = 0;
	for (;;) {
		ssize_t n = pread(from, piece, OPAM_PIECE, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read '%s'", what);
		if (n == 0)
			return 0;
		at += (uint64_t)n;
		if (at > OPAM_ARCHIVE_MAX)
			return err_new(e, ERR_LIMIT, "'%s' has more than %d bytes", what, OPAM_ARCHIVE_MAX);
		for (size_t i = 0; i < DIGEST_KINDS; i++)
			if (s->d[i])
				digest_update(s->d[i], piece, (size_t)n);
		if (fs_write_all(to, piece, (size_t)n, what, e) < 0)
			return -1;
	}
}

static int compare(const struct sums *s, const struct digest_value *sums, size_t n, const char *what, struct err *e)
{
	uint8_t got[DIGEST_KINDS][DIGEST_MAX];
	for (size_t i = 0; i < DIGEST_KINDS; i++)
		if (s->d[i])
			digest_final(s->d[i], got[i]);
	for (size_t i = 0; i < n; i++) {
		size_t size = digest_size(sums[i].kind);
		char want[2 * DIGEST_MAX + 1], hex[2 * DIGEST_MAX + 1];
		if (memcmp(sums[i].bytes, got[sums[i].kind], size) == 0)
			continue;
		hex_encode(sums[i].bytes, size, want);
		hex_encode(got[sums[i].kind], size, hex);
		err_new(e, ERR_VERIFY, "checksum mismatch for %s: expected %s=%s, got %s=%s", what,
			digest_name(sums[i].kind), want, digest_name(sums[i].kind), hex);
		return 0;
	}
	return 1;
}

int opam_copy_checked(const struct opam_cache *c, int fd, const struct digest_value *sums, size_t n, const char *what,
		      int *ret_fd, struct err *e)
{
	auto_sums s = {{0}};
	for (size_t i = 0; i < n; i++)
		if (!s.d[sums[i].kind])
			s.d[sums[i].kind] = digest_new(sums[i].kind);
	auto_fd to = scratch_file(c, e);
	if (to < 0 || copy(fd, to, &s, what, e) < 0)
		return -1;
	if (lseek(to, 0, SEEK_SET) < 0)
		return err_sys(e, "rewind '%s'", what);
	int rc = compare(&s, sums, n, what, e);
	if (rc > 0)
		*ret_fd = steal_fd(&to);
	return rc;
}

/* == names =========================================================================================================== */

int opam_cache_take(const struct opam_cache *c, const struct digest_value *sums, size_t n, int *ret_fd, struct err *e)
{
	for (size_t i = 0; c->dir >= 0 && i < n; i++) {
		char path[192];
		struct stat st;
		struct err why = ERR_INIT;
		opam_digest_path(&sums[i], path);
		auto_fd fd = openat(c->dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
			continue; /* nothing, or nothing that an archive can be: downloaded anew */
		int rc = opam_copy_checked(c, fd, sums, n, path, ret_fd, &why);
		if (rc > 0)
			return 1;
		if (rc < 0 && why.code != ERR_LIMIT)
			return *e = why, -1;
		/* Damaged, or not what all of the digests speak of: the next one to ask is not to meet it either. Whoever put a
		 * good one there meanwhile loses it, and downloads it again. */
		if (sys_unlinkat(c->dir, path, 0) < 0 && errno != ENOENT && errno != EROFS && errno != EACCES)
			return err_sys(e, "remove '%s/%s', which is damaged", c->path, path);
	}
	return 0;
}

int opam_cache_begin(const struct opam_cache *c, const struct digest_value *sums, size_t n, int *ret_fd, struct err *e)
{
	char path[192];
	partial_path(opam_best_digest(sums, n), path);
	for (unsigned tries = 0; tries < 100; tries++) {
		struct stat mine, there;
		auto_fd fd = sys_openat(c->dir, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
		if (fd < 0)
			return err_sys(e, "make '%s/%s'", c->path, path);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? 0 : err_sys(e, "lock '%s/%s'", c->path, path);
		if (fstat(fd, &mine) < 0 || !S_ISREG(mine.st_mode))
			return err_new(e, ERR_INPUT, "'%s/%s' is no file: remove it", c->path, path);
		/* whoever had the lock has given the file its name, or removed it */
		if (fstatat(c->dir, path, &there, AT_SYMLINK_NOFOLLOW) < 0 || there.st_ino != mine.st_ino ||
		    there.st_dev != mine.st_dev)
			continue;
		*ret_fd = steal_fd(&fd);
		return 1;
	}
	return 0;
}

void opam_cache_discard(const struct opam_cache *c, const struct digest_value *sums, size_t n)
{
	char path[192];
	partial_path(opam_best_digest(sums, n), path);
	sys_unlinkat(c->dir, path, 0);
}

static int make_folder_of(const struct opam_cache *c, const char *path, struct err *e)
{
	char folder[192];
	snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
	return fs_mkdirs(c->dir, folder, 0755, e);
}

/* Another name: a link to the file. That somebody else makes the same at the same time is fine; what is there and leads elsewhere is
 * replaced at once. */
static int add_link(const struct opam_cache *c, const struct digest_value *d, const char *target, struct err *e)
{
	char path[192], to[256], there[256], tmp[192];
	opam_digest_path(d, path);
	snprintf(to, sizeof(to), "../../%s", target);
	if (make_folder_of(c, path, e) < 0)
		return -1;
	for (unsigned i = 0; i < 1000; i++) {
		if (sys_symlinkat(to, c->dir, path) == 0)
			return 0;
		if (errno != EEXIST)
			return err_sys(e, "make '%s/%s'", c->path, path);
		ssize_t n = readlinkat(c->dir, path, there, sizeof(there));
		if (n == (ssize_t)strlen(to) && memcmp(there, to, (size_t)n) == 0)
			return 0;
		snprintf(tmp, sizeof(tmp), PARTIAL "/link-%d-%p-%u", (int)getpid(), (const void *)d, i);
		if (sys_symlinkat(to, c->dir, tmp) < 0)
			continue; /* the name of one that was killed, or what was there has gone */
		if (sys_renameat(c->dir, tmp, c->dir, path) == 0)
			return 0;
		err_sys(e, "make '%s/%s'", c->path, path);
		sys_unlinkat(c->dir, tmp, 0);
		return -1;
	}
	return err_new(e, ERR_FAILED, "'%s/%s' comes and goes", c->path, path);
}

int opam_cache_commit(const struct opam_cache *c, int fd, const struct digest_value *sums, size_t n, struct err *e)
{
	const struct digest_value *best = opam_best_digest(sums, n);
	char from[192], path[192];
	partial_path(best, from);
	opam_digest_path(best, path);
	if (make_folder_of(c, path, e) < 0)
		return -1;
	if (sys_fsync(fd) < 0)
		return err_sys(e, "write '%s/%s' to disk", c->path, from);
	if (sys_renameat(c->dir, from, c->dir, path) < 0)
		return err_sys(e, "rename '%s/%s' to '%s'", c->path, from, path);
	struct err ignored = ERR_INIT; /* by that name it is there; by others it is only found sooner */
	for (size_t i = 0; i < n; i++)
		if (&sums[i] != best &&
		    (sums[i].kind != best->kind || memcmp(sums[i].bytes, best->bytes, DIGEST_MAX) != 0))
			add_link(c, &sums[i], path, &ignored);
	return 0;
}
