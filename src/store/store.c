// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/fs.h"
#include "base/sys.h"
#include "store/internal.h"
#include "store/tree.h"

enum {
	USE_STAMP_S = 60, /* a tree's last use is kept no more exactly than this */
	TELL_AFTER_MS = 1000,
	LOCKS_MAX = 4 << 20,
	UUID_SIZE = 36,
	MOUNT_ID_UNIQUE = 0x4000, /* STATX_MNT_ID_UNIQUE of newer headers */
};

/* names */

struct blob_name blob_name(const uint8_t sha256[SHA256_SIZE])
{
	struct blob_name n;
	hex_encode(sha256, SHA256_SIZE, n.hex);
	memcpy(n.dir, n.hex, 2);
	n.dir[2] = '\0';
	snprintf(n.path, sizeof(n.path), "%s/%s", n.dir, n.hex + 2);
	return n;
}

struct tmp_name tmp_name(const char *hex, const char *suffix)
{
	struct tmp_name n;
	snprintf(n.s, sizeof(n.s), "%.64s.%s", hex, suffix);
	return n;
}

enum store_format store_format_of(struct str file_name)
{
	if (str_ends(file_name, STR(".conda")))
		return STORE_CONDA;
	if (str_ends(file_name, STR(".tar.bz2")))
		return STORE_TAR_BZ2;
	return STORE_FORMAT_UNKNOWN;
}

static int must_write(const struct store *s, struct err *e)
{
	return s->read_only ? err_new(e, ERR_FAILED, "the store is open for reading only") : 0;
}

/* what may not be on disk yet: "BOOT-ID-MOUNT.KIND.HEX" */

/* Records that a blob or tree is about to get its name. */
static int unsynced_add(struct store *s, const char *kind, const char *hex, struct err *e)
{
	char name[BOOT_ID_MAX + 8 + HEX_SIZE];
	if (!*s->boot_id)
		return sys_syncfs(s->dir) < 0 ? err_sys(e, "sync store") : 0;
	snprintf(name, sizeof(name), "%s.%s.%.64s", s->boot_id, kind, hex);
	auto_fd fd = sys_openat(s->unsynced, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return fd < 0 ? err_sys(e, "create 'store/unsynced/%s'", name) : 0;
}

/* What a record says, apart. */
static bool record_read(const char *record, struct str *boot, struct str *kind, uint8_t sha[SHA256_SIZE])
{
	struct str left = str_c(record);
	return str_take_until(&left, '.', boot) && str_take_until(&left, '.', kind) &&
	       str_unhex(left, sha, SHA256_SIZE);
}

/* What a record of this boot names has its name already. Where it has not, another process is about to give it: that
 * comes after the sync, so the record must stay. */
static bool record_is_due(struct store *s, const char *record)
{
	struct str boot, kind;
	uint8_t sha[SHA256_SIZE];
	if (!record_read(record, &boot, &kind, sha) || !str_eq(boot, str_c(s->boot_id)))
		return false;
	return str_eq(kind, STR("blob")) ? store_has_blob(s, sha) : store_has_tree(s, sha);
}

int store_sync(struct store *s, struct err *e)
{
	auto_fs_list l = {0};
	size_t n = 0;
	if (must_write(s, e) < 0 || fs_list(s->unsynced, ".", STORE_FOLDER_MAX, &l, e) < 0)
		return -1;
	auto_free const char **due = xcalloc(l.n + 1, sizeof(*due));
	for (size_t i = 0; i < l.n; i++)
		if (record_is_due(s, l.name[i]))
			due[n++] = l.name[i];
	if (n == 0)
		return 0;
	if (sys_syncfs(s->dir) < 0)
		return err_sys(e, "sync store");
	for (size_t i = 0; i < n; i++)
		if (sys_unlinkat(s->unsynced, due[i], 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove 'store/unsynced/%s'", due[i]);
	return 0;
}

static bool is_stale(const struct store *s, const char *record)
{
	struct str rest = str_c(record);
	return !*s->boot_id || !str_take_str(&rest, str_c(s->boot_id)) || !str_starts(rest, STR("."));
}

int unsynced_forget(struct store *s, struct err *e)
{
	auto_fs_list l = {0};
	if (fs_list(s->unsynced, ".", STORE_FOLDER_MAX, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++)
		if (!is_stale(s, l.name[i]) && !record_is_due(s, l.name[i]) &&
		    sys_unlinkat(s->unsynced, l.name[i], 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove 'store/unsynced/%s'", l.name[i]);
	return 0;
}

/* One record of an earlier boot or mount: what it names is checked, and removed where it does not match. */
static int recover_one(struct store *s, const char *record, struct err *e)
{
	struct str boot, kind;
	uint8_t sha[SHA256_SIZE];
	auto_buf why = BUF_INIT(4096);
	int r = 0;
	if (record_read(record, &boot, &kind, sha)) {
		struct blob_name name = blob_name(sha);
		bool is_tree = str_eq(kind, STR("tree"));
		int bad = is_tree ? tree_check(s, name.hex, &why, e) : blob_check(s, &name, &why, e);
		if (bad < 0 && tree_is_shortage(errno))
			return -1;
		*e = ERR_INIT;
		if (bad != 0)
			r = is_tree ? tree_remove(s, name.hex, e) : blob_remove(s, &name, e);
	}
	if (r == 0 && sys_unlinkat(s->unsynced, record, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove 'store/unsynced/%s'", record);
	return r;
}

/* Of this boot, but of another mount. That may be one in another mount namespace, which lasts. */
static bool is_of_this_boot(const struct store *s, const char *record)
{
	return str_starts(str_c(record), str_head(str_c(s->boot_id), UUID_SIZE));
}

static int lock_store(struct store *s, int how, struct err *e)
{
	while (flock(s->lock, how) < 0)
		if (errno != EINTR)
			return err_sys(e, "lock 'store/lock'");
	return 0;
}

/* Checks what an earlier boot or mount left unsynced. Alone: another process may just have removed a damaged tree and
 * unpacked it anew, which must not be taken for the old one. Where all that is left is of this boot and somebody is at
 * work, they see the file system as it was written, or have looked already. */
static int unsynced_recover(struct store *s, struct err *e)
{
	size_t stale = 0, of_this_boot = 0;
	for (int alone = 0; alone < 2; alone++) {
		auto_fs_list l = {0};
		if (alone && stale == of_this_boot && flock(s->lock, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK || errno == EINTR ? 0 : err_sys(e, "lock 'store/lock'");
		if (alone && lock_store(s, LOCK_EX, e) < 0)
			return -1;
		if (fs_list(s->unsynced, ".", STORE_FOLDER_MAX, &l, e) < 0)
			return -1;
		for (size_t i = 0; i < l.n; i++) {
			stale += is_stale(s, l.name[i]);
			of_this_boot += is_stale(s, l.name[i]) && is_of_this_boot(s, l.name[i]);
			if (alone && is_stale(s, l.name[i]) && recover_one(s, l.name[i], e) < 0)
				return err_ctx(e, "check what was written before the last start of the system");
		}
		if (stale == 0)
			break;
	}
	return 0;
}

/* opening */

/* A disk that was pulled and came back has lost what was not on it, without a start of the system. 0 where the kernel does
 * not tell (before 5.8); from 6.8 on no number is used twice. */
static uint64_t mount_id(int fd)
{
	struct statx st = {0};
	if (statx(fd, "", AT_EMPTY_PATH, MOUNT_ID_UNIQUE, &st) == 0 && st.stx_mask & MOUNT_ID_UNIQUE)
		return st.stx_mnt_id;
	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) == 0 && st.stx_mask & STATX_MNT_ID)
		return st.stx_mnt_id;
	return 0;
}

/* Once the store's folder is open. */
static void read_boot_id(struct store *s)
{
	auto_buf b = BUF_INIT(BOOT_ID_MAX - 1);
	struct err ignored;
	if (fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &b, &ignored) < 0)
		return;
	struct str id = str_trim(buf_str(&b));
	if (id.n == UUID_SIZE)
		snprintf(s->boot_id, sizeof(s->boot_id), "%.*s-%llx", STR_ARG(id),
			 (unsigned long long)mount_id(s->dir));
}

static int open_for_reading(struct store *s)
{
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	if (s->dir < 0)
		return 0;
	s->blob = openat(s->dir, "blob/sha256", flags);
	s->tree = openat(s->dir, "tree", flags);
	s->tmp = openat(s->dir, "tmp", flags);
	s->unsynced = openat(s->dir, "unsynced", flags);
	return 0;
}

static int open_for_writing(struct store *s, struct err *e)
{
	if ((s->blob = fs_open_dir_make(s->dir, "blob/sha256", e)) < 0 ||
	    (s->tree = fs_open_dir_make(s->dir, "tree", e)) < 0 || (s->tmp = fs_open_dir_make(s->dir, "tmp", e)) < 0 ||
	    (s->unsynced = fs_open_dir_make(s->dir, "unsynced", e)) < 0)
		return -1;
	s->lock = sys_openat(s->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (s->lock < 0)
		return err_sys(e, "open 'store/lock'");
	if (unsynced_recover(s, e) < 0)
		return -1;
	return lock_store(s, LOCK_SH, e); /* waits while a gc decides; it removes things without the lock */
}

int store_open(int root_fd, enum store_open_flags flags, struct store **ret, struct err *e)
{
	auto_ptr(store) s = xcalloc(1, sizeof(*s));
	*s = (struct store){-1, -1, -1, -1, -1, -1, .read_only = flags & STORE_OPEN_RO};
	if (s->read_only) {
		s->dir = openat(root_fd, "store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (s->dir < 0 && errno != ENOENT)
			return err_sys(e, "open store");
		open_for_reading(s);
	} else {
		s->dir = fs_open_dir_make(root_fd, "store", e);
		if (s->dir >= 0)
			read_boot_id(s);
		if (s->dir < 0 || open_for_writing(s, e) < 0)
			return err_ctx(e, "open store");
	}
	*ret = steal_ptr(&s);
	return 0;
}

void store_tell(struct store *s, struct progress *p)
{
	s->progress = p;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	cleanup_fd(&s->blob);
	cleanup_fd(&s->tree);
	cleanup_fd(&s->tmp);
	cleanup_fd(&s->unsynced);
	cleanup_fd(&s->lock);
	cleanup_fd(&s->dir);
	free(s);
}

/* blobs */

int store_has_blob(struct store *s, const uint8_t sha256[SHA256_SIZE])
{
	struct blob_name n = blob_name(sha256);
	return s->blob >= 0 && faccessat(s->blob, n.path, F_OK, 0) == 0;
}

int store_blob_open(struct store *s, const uint8_t sha256[SHA256_SIZE], struct err *e)
{
	struct blob_name n = blob_name(sha256);
	int fd = -1;
	errno = ENOENT;
	if (s->blob >= 0)
		fd = openat(s->blob, n.path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "open blob '%s'", n.hex) : fd;
}

int lock_named(int dirfd, const char *name, int fd, struct err *e)
{
	if (fs_flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_sys(e, "lock '%s'", name);
	return fs_is_still(dirfd, name, fd);
}

int store_partial_open(struct store *s, const uint8_t sha256[SHA256_SIZE], int *ret_fd, uint64_t *ret_size,
		       struct err *e)
{
	struct blob_name n = blob_name(sha256);
	struct tmp_name part = tmp_name(n.hex, "part");
	if (must_write(s, e) < 0)
		return -1;
	for (;;) {
		auto_fd fd = sys_openat(s->tmp, part.s, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			return err_sys(e, "open partial download '%s'", part.s);
		int r = lock_named(s->tmp, part.s, fd, e);
		if (r < 0)
			return e->code == ERR_BUSY
				       ? err_new(e, ERR_BUSY, "another process downloads '%s' just now", n.hex)
				       : -1;
		if (r == 0)
			continue;
		off_t end = lseek(fd, 0, SEEK_END);
		if (end < 0)
			return err_sys(e, "seek in partial download '%s'", part.s);
		*ret_fd = steal_fd(&fd);
		*ret_size = (uint64_t)end;
		return 0;
	}
}

uint64_t store_partial_size(struct store *s, const uint8_t sha256[SHA256_SIZE])
{
	struct blob_name n = blob_name(sha256);
	struct tmp_name part = tmp_name(n.hex, "part");
	struct stat st;
	if (s->tmp < 0 || fstatat(s->tmp, part.s, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return 0;
	return (uint64_t)st.st_size;
}

/* Gives a file of tmp/ its name as a blob. */
static int blob_place(struct store *s, const struct blob_name *n, const char *tmp, struct err *e)
{
	if (unsynced_add(s, "blob", n->hex, e) < 0)
		return -1;
	if (sys_mkdirat(s->blob, n->dir, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "make folder 'store/blob/sha256/%s'", n->dir);
	if (sys_renameat(s->tmp, tmp, s->blob, n->path) < 0)
		return err_sys(e, "give blob '%s' its name", n->hex);
	return 0;
}

int store_partial_commit(struct store *s, const uint8_t sha256[SHA256_SIZE], int fd, struct err *e)
{
	struct blob_name n = blob_name(sha256);
	struct tmp_name part = tmp_name(n.hex, "part");
	struct stat held, named;
	if (must_write(s, e) < 0)
		return -1;
	if (fstat(fd, &held) < 0 || fstatat(s->tmp, part.s, &named, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "stat partial download '%s'", part.s);
	if (held.st_ino != named.st_ino || held.st_dev != named.st_dev)
		return err_new(e, ERR_FAILED, "partial download '%s' was replaced meanwhile", part.s);
	return blob_place(s, &n, part.s, e);
}

void store_partial_discard(struct store *s, const uint8_t sha256[SHA256_SIZE])
{
	struct blob_name n = blob_name(sha256);
	struct tmp_name part = tmp_name(n.hex, "part");
	if (s->tmp >= 0 && !s->read_only)
		(void)sys_unlinkat(s->tmp, part.s, 0);
}

/* Copies all of `from` to `to`; both stand at their start. */
static int copy_bytes(int from, int to, const char *path, struct err *e)
{
	enum { CHUNK = 1 << 17 };
	if (sys_ficlone(to, from) == 0)
		return 0;
	auto_free char *chunk = xmalloc(CHUNK);
	for (;;) {
		ssize_t n = read(from, chunk, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read '%s'", path);
		if (n == 0)
			return 0;
		if (fs_write_all(to, chunk, (size_t)n, path, e) < 0)
			return -1;
	}
}

static int check_digest(const char *path, const uint8_t *want, const uint8_t got[SHA256_SIZE], struct err *e)
{
	char a[SHA256_HEX_SIZE], b[SHA256_HEX_SIZE];
	if (!want || memcmp(want, got, SHA256_SIZE) == 0)
		return 0;
	hex_encode(want, SHA256_SIZE, a);
	hex_encode(got, SHA256_SIZE, b);
	return err_new(e, ERR_VERIFY, "'%s' has sha256 %s, not %s as its channel says; refresh the channel", path, b,
		       a);
}

/* The digest is taken of our copy, which nobody changes behind our back. */
static int add_copy(struct store *s, int from, int to, const char *tmp, const char *path, const uint8_t *want,
		    uint8_t got[SHA256_SIZE], struct err *e)
{
	if (copy_bytes(from, to, path, e) < 0 || sha256_fd(to, got, e) < 0 || check_digest(path, want, got, e) < 0)
		return -1;
	struct blob_name n = blob_name(got);
	if (store_has_blob(s, got))
		return sys_unlinkat(s->tmp, tmp, 0) < 0 ? err_sys(e, "remove '%s'", tmp) : 0;
	return blob_place(s, &n, tmp, e);
}

int store_add_file(struct store *s, int dirfd, const char *path, const uint8_t *want_sha256,
		   uint8_t ret_sha256[SHA256_SIZE], struct err *e)
{
	uint8_t got[SHA256_SIZE];
	if (must_write(s, e) < 0)
		return -1;
	auto_fd from = openat(dirfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC); /* a pipe too */
	if (from < 0)
		return err_sys(e, "open '%s'", path);
	struct stat st;
	if (fstat(from, &st) < 0 || !S_ISREG(st.st_mode))
		return err_new(e, ERR_INPUT, "'%s' is not a regular file", path);
	if (want_sha256 && store_has_blob(s, want_sha256)) {
		if (ret_sha256)
			memcpy(ret_sha256, want_sha256, SHA256_SIZE);
		return 0;
	}
	uint64_t unique; /* not our process number: others may share the store from another container */
	char tmp[64];
	if (getrandom(&unique, sizeof(unique), 0) != sizeof(unique))
		return err_sys(e, "get a random number");
	snprintf(tmp, sizeof(tmp), "add.%016llx", (unsigned long long)unique);
	auto_fd to = sys_openat(s->tmp, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (to < 0)
		return err_sys(e, "create 'store/tmp/%s'", tmp);
	int rc = flock(to, LOCK_EX | LOCK_NB) < 0 ? err_sys(e, "lock 'store/tmp/%s'", tmp)
						  : add_copy(s, from, to, tmp, path, want_sha256, got, e);
	if (rc < 0) {
		(void)sys_unlinkat(s->tmp, tmp, 0);
		return err_ctx(e, "add '%s' to the store", path);
	}
	if (ret_sha256)
		memcpy(ret_sha256, got, SHA256_SIZE);
	return 0;
}

static int put_path(struct store *s, const char *rest, struct buf *ret, struct err *e)
{
	char link[64], path[4096];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", s->dir);
	ssize_t n = s->dir < 0 ? -1 : readlink(link, path, sizeof(path));
	if (n < 0)
		return err_new(e, ERR_NOT_FOUND, "the store has no path");
	if ((size_t)n == sizeof(path))
		return err_new(e, ERR_LIMIT, "the store's path is too long");
	buf_put(ret, path, (size_t)n);
	buf_put_c(ret, rest);
	return 0;
}

int store_blob_path(struct store *s, const uint8_t sha256[SHA256_SIZE], struct buf *ret, struct err *e)
{
	char rest[HEX_SIZE + 32];
	snprintf(rest, sizeof(rest), "/blob/sha256/%s", blob_name(sha256).path);
	return put_path(s, rest, ret, e);
}

int store_tree_path(struct store *s, const uint8_t sha256[SHA256_SIZE], struct buf *ret, struct err *e)
{
	char rest[HEX_SIZE + 32];
	snprintf(rest, sizeof(rest), "/tree/%s", blob_name(sha256).hex);
	return put_path(s, rest, ret, e);
}

/* trees */

int store_has_tree(struct store *s, const uint8_t sha256[SHA256_SIZE])
{
	return s->tree >= 0 && faccessat(s->tree, blob_name(sha256).hex, F_OK, 0) == 0;
}

int store_tree_open(struct store *s, const uint8_t sha256[SHA256_SIZE], struct err *e)
{
	struct blob_name n = blob_name(sha256);
	auto_fd fd = -1;
	struct stat st;
	errno = ENOENT;
	if (s->tree >= 0)
		fd = openat(s->tree, n.hex, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open unpacked package '%s'", n.hex);
	/* its time says when it was last used, for gc: not worth a failure */
	if (!s->read_only && fstat(fd, &st) == 0 && st.st_mtime + USE_STAMP_S < time(NULL))
		(void)sys_futimens(fd, NULL);
	return steal_fd(&fd);
}

/* The process that has this file locked, as the kernel lists it; 0 where that cannot be told. */
static uint64_t lock_holder(int fd)
{
	auto_buf b = BUF_INIT(LOCKS_MAX);
	struct stat st;
	struct err ignored;
	if (fstat(fd, &st) < 0 || fs_read(AT_FDCWD, "/proc/locks", &b, &ignored) < 0)
		return 0;
	char place[64];
	snprintf(place, sizeof(place), "%02x:%02x:%llu", major(st.st_dev), minor(st.st_dev),
		 (unsigned long long)st.st_ino);
	struct str text = buf_str(&b), line, word[6];
	while (str_take_line(&text, &line)) {
		size_t n = 0;
		while (n < 6 && str_take_word(&line, &word[n]))
			n++;
		uint64_t pid;
		if (n == 6 && str_eq(word[1], STR("FLOCK")) && str_eq_c(word[5], place) && str_to_u64(word[4], &pid))
			return pid;
	}
	return 0;
}

static void tell_holder(struct store *s, int fd, const char *name)
{
	auto_buf command = BUF_INIT(64), text = BUF_INIT(512);
	struct err ignored;
	uint64_t pid = lock_holder(fd);
	char path[64];
	if (pid == (uint64_t)getpid())
		return; /* a thread of ours */
	snprintf(path, sizeof(path), "/proc/%llu/comm", (unsigned long long)pid);
	buf_printf(&text, "waiting for another process");
	if (pid && fs_read(AT_FDCWD, path, &command, &ignored) == 0)
		buf_printf(&text, ", %llu (%.*s)", (unsigned long long)pid, STR_ARG(str_trim(buf_str(&command))));
	buf_printf(&text, ", that unpacks package %.12s", name);
	progress_send(s->progress,
		      (struct progress_event){.kind = PROGRESS_NOTE, .phase = "unpack", .id = name, .text = text.p});
}

/* Waits as long as somebody else has it locked, and says who after a second. Whoever dies lets go of it. */
static int lock_patiently(struct store *s, int fd, const char *name, struct err *e)
{
	int64_t waited_ms = 0;
	int pause_ms = 1;
	bool told = false;
	while (flock(fd, LOCK_EX | (told ? 0 : LOCK_NB)) < 0) {
		if (errno != EINTR && errno != EWOULDBLOCK)
			return err_sys(e, "lock 'store/tmp/%s'", name);
		if (told || errno == EINTR)
			continue;
		if (waited_ms >= TELL_AFTER_MS) {
			tell_holder(s, fd, name);
			told = true;
			continue;
		}
		poll(NULL, 0, pause_ms);
		waited_ms += pause_ms;
		pause_ms = pause_ms < 16 ? pause_ms * 2 : 20;
	}
	return 0;
}

/* An empty folder in tmp/ that is locked by us; what a dead process left under the name is removed. 1 where another
 * process finished the tree while we waited for it. */
static int claim_folder(struct store *s, const char *name, const uint8_t sha256[SHA256_SIZE], int *ret_fd,
			struct err *e)
{
	for (;;) {
		bool fresh = sys_mkdirat(s->tmp, name, 0755) == 0;
		if (!fresh && errno != EEXIST)
			return err_sys(e, "make folder 'store/tmp/%s'", name);
		auto_fd fd = openat(s->tmp, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return err_sys(e, "open folder 'store/tmp/%s'", name);
		int r = lock_patiently(s, fd, name, e) < 0 ? -1 : lock_named(s->tmp, name, fd, e);
		if (r < 0)
			return -1;
		if (store_has_tree(s, sha256)) {
			if (r == 1)
				(void)fs_remove_tree(s->tmp, name, &(struct err){0});
			return 1;
		}
		if (r == 1 && fresh) {
			/* 0755 whatever the umask is */
			if (sys_fchmod(fd, 0755) < 0)
				return err_sys(e, "set the mode of 'store/tmp/%s'", name);
			*ret_fd = steal_fd(&fd);
			return 0;
		}
		if (r == 1 && fs_remove_tree(s->tmp, name, e) < 0)
			return -1;
	}
}

static int fill_and_place(struct store *s, int blob, int dir, const char *tmp, const struct blob_name *n,
			  enum store_format format, const struct store_limits *limits, struct err *e)
{
	struct tree t;
	tree_init(&t, dir, limits, n->hex);
	int r = tree_add_archive(&t, blob, format, e);
	r = r < 0 ? r : tree_finish(&t, e);
	tree_release(&t);
	if (r < 0 || unsynced_add(s, "tree", n->hex, e) < 0)
		return -1;
	if (sys_renameat(s->tmp, tmp, s->tree, n->hex) < 0)
		return err_sys(e, "give unpacked package '%s' its name", n->hex);
	return 0;
}

int store_unpack(struct store *s, const uint8_t sha256[SHA256_SIZE], enum store_format format,
		 const struct store_limits *limits, struct err *e)
{
	struct blob_name n = blob_name(sha256);
	struct tmp_name tmp = tmp_name(n.hex, "tree");
	if (store_has_tree(s, sha256))
		return 0;
	if (must_write(s, e) < 0)
		return -1;
	auto_fd blob = store_blob_open(s, sha256, e);
	if (blob < 0)
		return -1;
	auto_fd dir = -1;
	int r = claim_folder(s, tmp.s, sha256, &dir, e);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (fill_and_place(s, blob, dir, tmp.s, &n, format, limits ? limits : &STORE_LIMITS_DEFAULT, e) < 0) {
		(void)fs_remove_tree(s->tmp, tmp.s, &(struct err){0}); /* a crash leaves it too: the next one copes */
		return -1;
	}
	return 0;
}
