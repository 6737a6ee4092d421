// SPDX-License-Identifier: Apache-2.0
/* A channel's tree and its work folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"
#include "mirror/config.h"
#include "mirror/sync.h"

int place_find(struct place *p, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_run(p->db, e, "INSERT OR IGNORE INTO channel (name, created_ms) VALUES (?1, ?2)", "si", p->c->name,
		    clock_wall_ms()) < 0 ||
	    sql_prepare(p->db, "SELECT id FROM channel WHERE name = ?1", &q, e) < 0)
		return -1;
	sql_bind_str(q, 1, p->c->name);
	int rc = sql_step(q, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_FAILED, "mirror.db: a channel is missing");
	p->id = sql_int(q, 0);
	return 0;
}

int place_open(struct place *p, struct mirror *m, const struct mirror_channel *c, struct err *e)
{
	p->m = m;
	p->c = c;
	p->tree = mirror_tree(m, c, e);
	if (p->tree < 0)
		return -1;
	p->work = fs_open_dir_make(p->tree, WORK_FOLDER, e);
	if (p->work < 0)
		return -1;
	p->lock = fs_lock(p->work, "lock", 0, e);
	if (p->lock < 0)
		return e->code == ERR_BUSY ? err_ctx(e, "it is being worked at already, by the mirror's server perhaps")
					   : -1;
	return state_open(m, &p->db, e) < 0 || place_find(p, e) < 0 || fs_mkdirs(p->work, PARTIAL, 0700, e) < 0 ? -1
														: 0;
}

void place_release(struct place *p)
{
	sql_close(p->db);
	cleanup_fd(&p->tree);
	cleanup_fd(&p->work);
	cleanup_fd(&p->lock);
	p->db = NULL;
}

static int make_folder_of(int to, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return 0;
	auto_free char *folder = str_dup(str_of(path, (size_t)(slash - path)));
	return fs_mkdirs(to, folder, 0755, e);
}

int place_put(int from, const char *name, int to, const char *path, struct err *e)
{
	if (sys_renameat(from, name, to, path) == 0)
		return 0;
	if (errno != ENOENT)
		return err_sys(e, "put '%s' in place", path);
	if (make_folder_of(to, path, e) < 0)
		return -1;
	return sys_renameat(from, name, to, path) < 0 ? err_sys(e, "put '%s' in place", path) : 0;
}

static bool is_same_file(int from, const char *name, int to, const char *path)
{
	struct stat a, b;
	return fstatat(from, name, &a, AT_SYMLINK_NOFOLLOW) == 0 && fstatat(to, path, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int place_link(int from, const char *name, int to, const char *path, struct err *e)
{
	auto_free char *tmp = xasprintf("%s.slipway-link", path);
	if (is_same_file(from, name, to, path))
		return 0;
	if (make_folder_of(to, path, e) < 0)
		return -1;
	if (sys_linkat(from, name, to, tmp, 0) < 0) {
		if (errno != EEXIST)
			return err_sys(e, "link '%s'", path);
		if (sys_unlinkat(to, tmp, 0) < 0 || sys_linkat(from, name, to, tmp, 0) < 0)
			return err_sys(e, "link '%s'", path);
	}
	return sys_renameat(to, tmp, to, path) < 0 ? err_sys(e, "put '%s' in place", path) : 0;
}

void partial_name(struct str path, char ret[PARTIAL_NAME])
{
	uint8_t digest[SHA256_SIZE];
	sha256(path.p, path.n, digest);
	hex_encode(digest, (PARTIAL_NAME - 1) / 2, ret);
}

int partial_open(int work, const char *name, struct err *e)
{
	auto_free char *path = xasprintf(PARTIAL "/%s", name);
	int fd = sys_openat(work, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	return fd < 0 ? err_sys(e, "create '%s'", path) : fd;
}

int mirror_no_space(const struct mirror *m, const char *what, uint64_t bytes, uint64_t available, struct err *e)
{
	uint64_t reserve = m->config.reserve_bytes;
	err_new(e, ERR_FAILED,
		"no space for %s: %.1f MB are needed beside a reserve of %.1f MB, %.1f MB are free in '%s'; " MIRROR_CURE,
		what, (double)bytes / 1e6, (double)reserve / 1e6, (double)available / 1e6, mirror_dir(m));
	e->sys = ENOSPC;
	return -1;
}

int mirror_cure(const struct mirror *m, struct err *e)
{
	if ((e->sys != ENOSPC && e->sys != EDQUOT) || strstr(e->msg, "channel prune"))
		return -1;
	struct err own = *e;
	err_new(e, own.code, "%s, in '%s'; " MIRROR_CURE, own.msg, mirror_dir(m));
	e->sys = own.sys;
	return -1;
}
