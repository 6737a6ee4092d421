// SPDX-License-Identifier: Apache-2.0
#include "git/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/sys.h"
#include "base/vec.h"

enum { DIGEST_DIGITS = 32, ENTRIES_MAX = 100000 };

const char *git_cache_name(struct str url, struct arena *a)
{
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	sha256(url.p, url.n, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	struct str name = git_name(url, a);
	return arena_printf(a, "%.*s-%.*s", STR_ARG(name), DIGEST_DIGITS, hex);
}

static bool is_cache_name(struct str s)
{
	uint8_t digest[DIGEST_DIGITS / 2];
	return s.n > DIGEST_DIGITS + 1 && s.p[0] != '.' && s.p[s.n - DIGEST_DIGITS - 1] == '-' &&
	       str_unhex(str_skip(s, s.n - DIGEST_DIGITS), digest, sizeof(digest));
}

/* Opens and locks the file that tells of a use. The fd, -1 with errno (EWOULDBLOCK: in use). */
static int lock_use(const char *path, int how)
{
	for (;;) {
		auto_fd fd = sys_openat(AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0 || fs_flock(fd, how) < 0)
			return -1;
		if (fs_is_still(AT_FDCWD, path, fd)) /* who removes it has its lock as well */
			return steal_fd(&fd);
	}
}

int git_cache_use(const char *path, struct str url, struct err *e)
{
	auto_free char *use = xasprintf("%s.use", path);
	struct stat st;
	auto_fd fd = lock_use(use, LOCK_SH);
	if (fd < 0)
		return err_sys(e, "lock '%s'", use);
	if (fstat(fd, &st) == 0 && (size_t)st.st_size != url.n && sys_pwrite(fd, url.p, url.n, 0) != (ssize_t)url.n)
		return err_sys(e, "write '%s'", use);
	const struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
	(void)sys_futimens(fd, now); /* a hint for who removes what is old */
	return steal_fd(&fd);
}

/* -- keeping house ------------------------------------------------------------------------------------------------- */

static int add_bytes(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)dirfd, (void)name, (void)rel, (void)e;
	*(uint64_t *)ctx += (uint64_t)st->st_blocks * 512;
	return 0;
}

static void read_use(int dir, const char *name, struct arena *a, struct git_cache_info *ret)
{
	auto_buf b = BUF_INIT(GIT_URL_MAX);
	struct err ignored = ERR_INIT;
	struct stat st;
	const char *use = arena_printf(a, "%s.use", name);
	if (fs_read(dir, use, &b, &ignored) == 0 && git_check_url(buf_str(&b), &ignored) == 0)
		ret->url = arena_str(a, buf_str(&b));
	if (fstatat(dir, use, &st, AT_SYMLINK_NOFOLLOW) == 0)
		ret->used_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

int git_caches(const char *cache_dir, struct arena *a, struct git_cache_info **ret, size_t *ret_n, struct err *e)
{
	auto_fs_list list = {0};
	struct err missing = ERR_INIT;
	size_t n = 0;
	*ret = NULL;
	*ret_n = 0;
	auto_fd dir = fs_open_dir(AT_FDCWD, cache_dir, &missing);
	if (dir < 0)
		return missing.code == ERR_NOT_FOUND ? 0 : (*e = missing, -1);
	if (fs_list(dir, ".", ENTRIES_MAX, &list, e) < 0)
		return err_ctx(e, "list '%s'", cache_dir);
	struct git_cache_info *v = arena_array(a, struct git_cache_info, list.n + 1);
	for (size_t i = 0; i < list.n; i++) {
		struct stat st;
		struct err gone = ERR_INIT;
		if (!is_cache_name(str_c(list.name[i])) || fstatat(dir, list.name[i], &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISDIR(st.st_mode))
			continue;
		struct str name = arena_str(a, str_c(list.name[i]));
		v[n] = (struct git_cache_info){.name = name, .url = name, .used_ms = (int64_t)st.st_mtim.tv_sec * 1000};
		read_use(dir, name.p, a, &v[n]);
		(void)fs_walk(dir, name.p, add_bytes, &v[n].bytes, &gone); /* files come and go in it */
		n++;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

int git_cache_is_free(const char *cache_dir, struct str name, struct err *e)
{
	auto_free char *use = xasprintf("%s/%.*s.use", cache_dir, STR_ARG(name));
	auto_fd fd = open(use, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 1 : err_sys(e, "open '%s'", use);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 1;
	return errno == EWOULDBLOCK ? 0 : err_sys(e, "lock '%s'", use);
}

int git_cache_take_away(const char *cache_dir, struct str name, struct git_scratch *ret, struct err *e)
{
	auto_free char *path = xasprintf("%s/%.*s", cache_dir, STR_ARG(name));
	auto_free char *use = xasprintf("%s.use", path), *lock_path = xasprintf("%s.lock", path);
	auto_fd lock = lock_use(use, LOCK_EX | LOCK_NB);
	if (lock < 0)
		return errno == EWOULDBLOCK ? 0 : err_sys(e, "lock '%s'", use);
	if (git_scratch_open(cache_dir, ret, e) < 0)
		return -1;
	if (sys_renameat(AT_FDCWD, path, AT_FDCWD, ret->path) < 0) {
		err_sys(e, "remove '%s'", path);
		git_scratch_release(ret);
		return -1;
	}
	/* nobody fetches who does not use it; what stays of the two is empty, and taken by who comes next */
	(void)sys_unlinkat(AT_FDCWD, lock_path, 0);
	(void)sys_unlinkat(AT_FDCWD, use, 0);
	return 1;
}
