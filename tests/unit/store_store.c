// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/work.h"
#include "store/internal.h"
#include "store/store.h"
#include "store/tree.h"

#include "lib/archive.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

static struct err e;

static int root(void)
{
	int fd = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static struct store *open_store(void)
{
	struct store *s = NULL;
	auto_fd fd = root();
	CHECK_MSG(store_open(fd, 0, &s, &e) == 0, "%s", e.msg);
	return s;
}

/* A blob as a download brings it in; its digest in sha. */
static void add_bytes(struct store *s, struct str bytes, uint8_t sha[SHA256_SIZE])
{
	uint64_t size;
	auto_fd fd = -1;
	sha256(bytes.p, bytes.n, sha);
	CHECK_MSG(store_partial_open(s, sha, &fd, &size, &e) == 0, "%s", e.msg);
	CHECK_INT(size, 0);
	CHECK_INT(write(fd, bytes.p, bytes.n), bytes.n);
	CHECK_MSG(store_partial_commit(s, sha, fd, &e) == 0, "%s", e.msg);
	CHECK_INT(store_has_blob(s, sha), 1);
}

/* A small good package; n makes them differ. */
static void make_package(struct buf *out, int n)
{
	auto_buf info = BUF_INIT(BUF_MAX);
	auto_buf pkg = BUF_INIT(BUF_MAX);
	char name[64];
	tar_file(&info, "info/index.json", 0644, "{}");
	tar_end(&info);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "lib/%d/file%d", n, i);
		tar_file(&pkg, name, 0644, "some text");
	}
	tar_end(&pkg);
	conda_put(out, "x-1-0", buf_str(&info), buf_str(&pkg));
}

static void add_package(struct store *s, int n, uint8_t sha[SHA256_SIZE])
{
	auto_buf b = BUF_INIT(BUF_MAX);
	make_package(&b, n);
	add_bytes(s, buf_str(&b), sha);
}

static size_t count_in(const char *folder)
{
	auto_fd fd = root();
	auto_fs_list l = {0};
	CHECK_MSG(fs_list(fd, folder, 1000, &l, &e) == 0, "%s", e.msg);
	return l.n;
}

TEST(formats_by_name)
{
	CHECK_INT(store_format_of(STR("x-1-0.conda")), STORE_CONDA);
	CHECK_INT(store_format_of(STR("x-1-0.tar.bz2")), STORE_TAR_BZ2);
	CHECK_INT(store_format_of(STR("x-1-0.zip")), STORE_FORMAT_UNKNOWN);
}

TEST(blob_lies_under_its_digest)
{
	auto_ptr(store) s = open_store();
	uint8_t sha[SHA256_SIZE], got[SHA256_SIZE];
	add_bytes(s, STR("abc"), sha);
	auto_buf path = BUF_INIT(10000);
	auto_buf want = BUF_INIT(10000);
	CHECK_INT(store_blob_path(s, sha, &path, &e), 0);
	buf_printf(&want, "%s/store/blob/sha256/ba/7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		   test_tmp());
	CHECK_STR(path.p, want.p);
	CHECK_INT(access(path.p, R_OK), 0);
	auto_fd fd = store_blob_open(s, sha, &e);
	CHECK_INT(sha256_fd(fd, got, &e), 0);
	CHECK_INT(memcmp(sha, got, sizeof(sha)), 0);
	sha[0] ^= 1;
	CHECK_INT(store_has_blob(s, sha), 0);
	CHECK_INT(store_blob_open(s, sha, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(count_in("store/tmp"), 0);
}

TEST(partial_download_goes_on_and_is_exclusive)
{
	auto_ptr(store) s = open_store();
	uint8_t sha[SHA256_SIZE];
	uint64_t size;
	sha256("abcdef", 6, sha);
	int fd = -1;
	CHECK_INT(store_partial_open(s, sha, &fd, &size, &e), 0);
	CHECK_INT(size, 0);
	CHECK_INT(write(fd, "abc", 3), 3);
	auto_fd other = -1;
	CHECK_INT(store_partial_open(s, sha, &other, &size, &e), -1);
	CHECK_INT(e.code, ERR_BUSY);
	close(fd); /* as if the process had died */
	CHECK_INT(store_partial_open(s, sha, &fd, &size, &e), 0);
	CHECK_INT(size, 3);
	CHECK_INT(write(fd, "def", 3), 3);
	CHECK_INT(store_partial_commit(s, sha, fd, &e), 0);
	close(fd);
	CHECK_INT(store_has_blob(s, sha), 1);
	/* what cannot become the blob is dropped */
	CHECK_INT(store_partial_open(s, sha, &fd, &size, &e), 0);
	CHECK_INT(size, 0);
	store_partial_discard(s, sha);
	CHECK_INT(store_partial_commit(s, sha, fd, &e), -1);
	close(fd);
	CHECK_INT(count_in("store/tmp"), 0);
}

TEST(add_file_checks_the_digest)
{
	auto_ptr(store) s = open_store();
	uint8_t want[SHA256_SIZE], got[SHA256_SIZE], zero[SHA256_SIZE] = {0};
	auto_fd fd = root();
	CHECK_INT(fs_replace(fd, "f", "abc", 3, 0, &e), 0);
	sha256("abd", 3, want);
	CHECK_INT(store_add_file(s, fd, "f", want, got, &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_INT(count_in("store/tmp"), 0);
	CHECK_INT(count_in("store/blob/sha256"), 0);
	sha256("abc", 3, want);
	CHECK_INT(store_add_file(s, fd, "f", zero, got, &e), -1); /* a digest like any other */
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_MSG(store_add_file(s, fd, "f", NULL, got, &e) == 0, "%s", e.msg);
	CHECK_INT(memcmp(want, got, sizeof(got)), 0);
	CHECK_INT(store_has_blob(s, want), 1);
	CHECK_INT(store_add_file(s, fd, "f", want, NULL, &e), 0);
	CHECK_INT(store_add_file(s, fd, "f", NULL, got, &e), 0);
	/* the file of the channel may be overwritten in place without harm to the blob */
	auto_fd f = openat(fd, "f", O_WRONLY | O_CLOEXEC);
	CHECK_INT(write(f, "xyz", 3), 3);
	auto_fd blob = store_blob_open(s, want, &e);
	CHECK_INT(sha256_fd(blob, got, &e), 0);
	CHECK_INT(memcmp(want, got, sizeof(got)), 0);
	CHECK_INT(store_add_file(s, fd, "none", NULL, got, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(store_add_file(s, fd, "store", NULL, got, &e), -1);
	CHECK_INT(mkfifoat(fd, "pipe", 0600), 0);
	CHECK_INT(store_add_file(s, fd, "pipe", NULL, got, &e), -1); /* without waiting for a writer */
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_INT(count_in("store/tmp"), 0);
}

TEST(unpack_makes_a_tree_once)
{
	auto_ptr(store) s = open_store();
	uint8_t sha[SHA256_SIZE];
	CHECK_INT(store_unpack(s, (uint8_t[SHA256_SIZE]){1}, STORE_CONDA, NULL, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	add_package(s, 1, sha);
	CHECK_INT(store_has_tree(s, sha), 0);
	CHECK_INT(store_tree_open(s, sha, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_MSG(store_unpack(s, sha, STORE_CONDA, NULL, &e) == 0, "%s", e.msg);
	CHECK_INT(store_has_tree(s, sha), 1);
	auto_fd tree = store_tree_open(s, sha, &e);
	CHECK(fs_exists(tree, "lib/1/file0"));
	CHECK(fs_exists(tree, "info/index.json"));
	CHECK_INT(store_unpack(s, sha, STORE_CONDA, NULL, &e), 0);
	CHECK_INT(count_in("store/tmp"), 0);
	auto_buf path = BUF_INIT(10000);
	CHECK_INT(store_tree_path(s, sha, &path, &e), 0);
	buf_put_c(&path, "/lib/1/file0");
	CHECK_INT(access(path.p, R_OK), 0);
}

TEST(refused_archive_leaves_nothing)
{
	auto_ptr(store) s = open_store();
	uint8_t sha[SHA256_SIZE];
	auto_buf tar = BUF_INIT(BUF_MAX);
	auto_buf packed = BUF_INIT(BUF_MAX);
	tar_file(&tar, "good/file", 0644, "x");
	tar_file(&tar, "../evil", 0644, "x");
	tar_end(&tar);
	pack_bz2(&packed, buf_str(&tar));
	add_bytes(s, buf_str(&packed), sha);
	CHECK_INT(store_unpack(s, sha, STORE_TAR_BZ2, NULL, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_MSG(strstr(e.msg, "'../evil'") != NULL, "%s", e.msg);
	CHECK_INT(store_has_tree(s, sha), 0);
	CHECK_INT(count_in("store/tmp"), 0);
	CHECK_INT(count_in("store"), 5); /* blob lock tmp tree unsynced */
	/* the wrong reader, and none */
	CHECK_INT(store_unpack(s, sha, STORE_CONDA, NULL, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	uint8_t text[SHA256_SIZE];
	add_bytes(s, STR("no archive at all"), text);
	CHECK_INT(store_unpack(s, text, STORE_FORMAT_UNKNOWN, NULL, &e), -1);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
	struct store_limits few = {1 << 20, 5, 100};
	add_package(s, 1, sha);
	CHECK_INT(store_unpack(s, sha, STORE_FORMAT_UNKNOWN, &few, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_INT(count_in("store/tmp"), 0);
	CHECK_INT(count_in("store/tree"), 0);
}

TEST(cut_package_is_refused)
{
	auto_ptr(store) s = open_store();
	auto_buf b = BUF_INIT(BUF_MAX);
	make_package(&b, 1);
	for (size_t n = 0; n < b.n; n += 97) {
		uint8_t sha[SHA256_SIZE];
		add_bytes(s, str_head(buf_str(&b), n), sha);
		CHECK_INT(store_unpack(s, sha, STORE_CONDA, NULL, &e), -1);
		CHECK_INT(e.code, ERR_INPUT);
	}
	CHECK_INT(count_in("store/tree"), 0);
}

TEST(what_a_dead_process_left_is_replaced)
{
	auto_ptr(store) s = open_store();
	uint8_t sha[SHA256_SIZE];
	add_package(s, 1, sha);
	struct tmp_name tmp = tmp_name(blob_name(sha).hex, "tree");
	auto_buf path = BUF_INIT(1000);
	auto_fd fd = root();
	buf_printf(&path, "store/tmp/%s/lib/1", tmp.s);
	CHECK_INT(fs_mkdirs(fd, path.p, 0755, &e), 0);
	buf_put_c(&path, "/half");
	CHECK_INT(fs_replace(fd, path.p, "x", 1, 0, &e), 0);
	CHECK_MSG(store_unpack(s, sha, STORE_CONDA, NULL, &e) == 0, "%s", e.msg);
	auto_fd tree = store_tree_open(s, sha, &e);
	CHECK(!fs_exists(tree, "lib/1/half"));
	CHECK(fs_exists(tree, "lib/1/file0"));
	CHECK_INT(count_in("store/tmp"), 0);
}

struct job {
	struct store *s;
	const uint8_t *sha;
};

static int unpack_job(void *ctx, struct err *err)
{
	struct job *j = ctx;
	return store_unpack(j->s, j->sha, STORE_CONDA, NULL, err);
}

TEST(several_threads_and_processes_at_once)
{
	enum { PACKAGES = 6, TIMES = 4 };
	static uint8_t sha[PACKAGES][SHA256_SIZE];
	static struct job job[PACKAGES * TIMES];
	struct store *s = open_store();
	for (int i = 0; i < PACKAGES; i++)
		add_package(s, i, sha[i]);
	store_free(s);
	pid_t child[3];
	for (int c = 0; c < 3; c++) {
		child[c] = fork();
		if (child[c] == 0) {
			struct store *mine = open_store();
			struct work *w = work_new(4);
			for (int i = 0; i < PACKAGES * TIMES; i++) {
				job[i] = (struct job){mine, sha[i % PACKAGES]};
				work_submit(w, unpack_job, &job[i]);
			}
			int r = work_wait(w, &e);
			if (r < 0)
				fprintf(stderr, "# %s\n", e.msg);
			work_free(w);
			store_free(mine);
			_exit(r < 0);
		}
	}
	for (int c = 0; c < 3; c++) {
		int status;
		CHECK_INT(waitpid(child[c], &status, 0), child[c]);
		CHECK_INT(status, 0);
	}
	s = open_store();
	CHECK_INT(store_verify(s, false, NULL, NULL, NULL, &e), 0);
	CHECK_INT(count_in("store/tree"), PACKAGES);
	CHECK_INT(count_in("store/tmp"), 0);
	store_free(s);
}

TEST(sync_forgets_its_records)
{
	auto_ptr(store) s = open_store();
	uint8_t sha[SHA256_SIZE];
	add_package(s, 1, sha);
	CHECK_INT(store_unpack(s, sha, STORE_CONDA, NULL, &e), 0);
	CHECK_INT(count_in("store/unsynced"), 2);
	CHECK_INT(store_sync(s, &e), 0);
	CHECK_INT(count_in("store/unsynced"), 0);
	CHECK_INT(store_sync(s, &e), 0);
}

/* Between the record and the name that it is for another process may sync: the record is not hers to forget. */
TEST(sync_keeps_the_record_of_what_has_no_name_yet)
{
	auto_ptr(store) s = open_store();
	auto_fd fd = root();
	uint8_t sha[SHA256_SIZE];
	add_package(s, 1, sha);
	CHECK_INT(store_sync(s, &e), 0);
	CHECK_INT(count_in("store/unsynced"), 0);
	auto_buf path = BUF_INIT(1000);
	buf_printf(&path, "store/unsynced/%s.tree.%s", s->boot_id, blob_name(sha).hex);
	CHECK_INT(fs_replace(fd, path.p, "", 0, 0, &e), 0);
	CHECK_INT(store_sync(s, &e), 0);
	CHECK_INT(count_in("store/unsynced"), 1);
	CHECK_INT(store_unpack(s, sha, STORE_CONDA, NULL, &e), 0);
	CHECK_INT(store_sync(s, &e), 0);
	CHECK_INT(count_in("store/unsynced"), 0);
}

static char note[512];
static void take_note(struct progress *p, const struct progress_event *ev)
{
	(void)p;
	if (ev->kind == PROGRESS_NOTE)
		snprintf(note, sizeof(note), "%s", ev->text);
}

/* Another process is at the same package; then it dies. */
TEST(who_is_waited_for_is_said)
{
	auto_ptr(store) s = open_store();
	struct progress p = {.event = take_note};
	auto_fd fd = root();
	uint8_t sha[SHA256_SIZE];
	int ready[2];
	char expected[64], c;
	add_package(s, 1, sha);
	auto_buf path = BUF_INIT(1000);
	buf_printf(&path, "store/tmp/%s", tmp_name(blob_name(sha).hex, "tree").s);
	CHECK_INT(fs_mkdirs(fd, path.p, 0755, &e), 0);
	CHECK_INT(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		int held = openat(fd, path.p, O_RDONLY | O_DIRECTORY);
		if (flock(held, LOCK_EX) == 0 && write(ready[1], "x", 1) == 1)
			poll(NULL, 0, 1600);
		kill(getpid(), SIGKILL);
	}
	CHECK_INT(read(ready[0], &c, 1), 1);
	store_tell(s, &p);
	CHECK_MSG(store_unpack(s, sha, STORE_CONDA, NULL, &e) == 0, "%s", e.msg);
	CHECK_INT(store_has_tree(s, sha), 1);
	snprintf(expected, sizeof(expected), "waiting for another process, %d (", (int)child);
	if (fs_exists(AT_FDCWD, "/proc/locks") && strchr(note, '('))
		CHECK_MSG(strstr(note, expected), "%s", note);
	CHECK_MSG(strstr(note, "that unpacks package"), "%s", note);
	CHECK_INT(waitpid(child, NULL, 0), child);
}

/* Renames the records, so that they look as if the power had gone since, or the disk been pulled. */
static void age_records(const char *id)
{
	auto_fd fd = root();
	auto_fs_list l = {0};
	CHECK_INT(fs_list(fd, "store/unsynced", 100, &l, &e), 0);
	for (size_t i = 0; i < l.n; i++) {
		auto_buf from = BUF_INIT(1000);
		auto_buf to = BUF_INIT(1000);
		buf_printf(&from, "store/unsynced/%s", l.name[i]);
		buf_printf(&to, "store/unsynced/%s.%s", id, strchr(l.name[i], '.') + 1);
		CHECK_INT(renameat(fd, from.p, fd, to.p), 0);
	}
}

static void only_what_is_whole_stays(bool same_boot)
{
	char id[BOOT_ID_MAX + 8] = "00000000-0000-0000-0000-000000000000-1";
	struct store *s = open_store();
	uint8_t good[SHA256_SIZE], bad[SHA256_SIZE];
	add_package(s, 1, good);
	add_package(s, 2, bad);
	CHECK_INT(store_unpack(s, good, STORE_CONDA, NULL, &e), 0);
	CHECK_INT(store_unpack(s, bad, STORE_CONDA, NULL, &e), 0);
	auto_buf path = BUF_INIT(1000);
	CHECK_INT(store_tree_path(s, bad, &path, &e), 0);
	buf_put_c(&path, "/lib/2/file7");
	CHECK_INT(truncate(path.p, 0), 0);
	buf_clear(&path);
	CHECK_INT(store_blob_path(s, bad, &path, &e), 0);
	CHECK_INT(truncate(path.p, 100), 0);
	store_free(s);
	s = open_store(); /* the same boot: the kernel still has everything, nothing is checked */
	CHECK_INT(store_has_tree(s, bad), 1);
	if (same_boot) /* "...-2a" and "...-2a0" are two */
		snprintf(id, sizeof(id), "%s0", s->boot_id);
	store_free(s);
	age_records(id);
	if (same_boot) { /* while somebody else is at work nothing is checked, nor waited for */
		auto_fd fd = root();
		auto_fd lock = openat(fd, "store/lock", O_RDWR | O_CLOEXEC);
		CHECK_INT(flock(lock, LOCK_SH), 0);
		s = open_store();
		CHECK_INT(store_has_tree(s, bad), 1);
		store_free(s);
	}
	s = open_store();
	CHECK_INT(store_has_tree(s, good), 1);
	CHECK_INT(store_has_blob(s, good), 1);
	CHECK_INT(store_has_tree(s, bad), 0);
	CHECK_INT(store_has_blob(s, bad), 0);
	CHECK_INT(count_in("store/unsynced"), 0);
	CHECK_INT(count_in("store/tmp"), 0);
	store_free(s);
}

TEST(size_adds_up)
{
	auto_ptr(store) s = open_store();
	uint8_t sha[SHA256_SIZE];
	struct store_usage u;
	CHECK_INT(store_size(s, &u, &e), 0);
	CHECK_INT(u.blobs + u.blob_bytes + u.trees + u.tree_bytes + u.tmp_bytes, 0);
	auto_buf b = BUF_INIT(BUF_MAX);
	make_package(&b, 1);
	add_bytes(s, buf_str(&b), sha);
	CHECK_INT(store_unpack(s, sha, STORE_CONDA, NULL, &e), 0);
	uint8_t other[SHA256_SIZE] = {9};
	uint64_t have;
	auto_fd part = -1;
	CHECK_INT(store_partial_open(s, other, &part, &have, &e), 0);
	CHECK_INT(write(part, "12345", 5), 5);
	CHECK_INT(store_size(s, &u, &e), 0);
	CHECK_INT(u.blobs, 1);
	CHECK_INT(u.blob_bytes, b.n);
	CHECK_INT(u.trees, 1);
	CHECK_INT(u.tree_bytes, 20 * strlen("some text") + strlen("{}"));
	CHECK_INT(u.tmp_bytes, 5);
}

TEST(gc_removes_what_nobody_keeps)
{
	auto_ptr(store) s = open_store();
	uint8_t sha[3][SHA256_SIZE];
	for (int i = 0; i < 3; i++) {
		add_package(s, i, sha[i]);
		if (i < 2)
			CHECK_INT(store_unpack(s, sha[i], STORE_CONDA, NULL, &e), 0);
	}
	uint8_t keep[2][SHA256_SIZE];
	int first = memcmp(sha[0], sha[2], SHA256_SIZE) < 0 ? 0 : 2;
	memcpy(keep[0], sha[first], SHA256_SIZE);
	memcpy(keep[1], sha[2 - first], SHA256_SIZE);
	struct store_gc_opts o = {.keep = (const uint8_t(*)[SHA256_SIZE])keep, .keep_n = 2, .min_age_s = 3600};
	struct store_usage u;
	CHECK_MSG(store_gc(s, &o, &u, &e) == 0, "%s", e.msg);
	CHECK_INT(u.trees + u.blobs, 0); /* all are young */
	o.min_age_s = 0;
	o.dry_run = true;
	o.keep_blobs = true;
	CHECK_INT(store_gc(s, &o, &u, &e), 0);
	CHECK_INT(u.trees, 1);
	CHECK_INT(u.blobs, 1);
	CHECK_INT(store_has_tree(s, sha[1]), 1);
	o.dry_run = false;
	CHECK_INT(store_gc(s, &o, &u, &e), 0);
	CHECK_INT(u.trees, 1);
	CHECK_INT(u.tree_bytes, 20 * strlen("some text") + strlen("{}"));
	CHECK_INT(store_has_tree(s, sha[0]), 1);
	CHECK_INT(store_has_tree(s, sha[1]), 0);
	CHECK_INT(store_has_blob(s, sha[0]), 1);
	CHECK_INT(store_has_blob(s, sha[1]), 0);
	CHECK_INT(store_has_blob(s, sha[2]), 1);
	o.keep_blobs = false;
	CHECK_INT(count_in("store/unsynced"), 3); /* of what is gone there is none */
	CHECK_INT(store_gc(s, &o, &u, &e), 0);
	CHECK_INT(u.blobs, 1);
	CHECK_INT(count_in("store/unsynced"), 2);
	CHECK_INT(store_has_blob(s, sha[0]), 0); /* its tree is there */
	CHECK_INT(store_has_blob(s, sha[2]), 1); /* wanted, not unpacked yet */
	CHECK_INT(store_has_tree(s, sha[0]), 1);
	CHECK_INT(count_in("store/tmp"), 0);
	CHECK_INT(store_verify(s, false, NULL, NULL, NULL, &e), 0);
}

TEST(gc_spares_what_is_used_and_what_is_written)
{
	auto_ptr(store) s = open_store();
	uint8_t sha[SHA256_SIZE], other[SHA256_SIZE] = {9};
	add_package(s, 1, sha);
	CHECK_INT(store_unpack(s, sha, STORE_CONDA, NULL, &e), 0);
	auto_buf path = BUF_INIT(1000);
	CHECK_INT(store_tree_path(s, sha, &path, &e), 0);
	struct timespec old[2] = {{1000, 0}, {1000, 0}};
	CHECK_INT(utimensat(AT_FDCWD, path.p, old, 0), 0);
	auto_fd used = store_tree_open(s, sha, &e);
	CHECK(used >= 0);
	struct store_gc_opts o = {.min_age_s = 3600};
	struct store_usage u;
	CHECK_INT(store_gc(s, &o, &u, &e), 0);
	CHECK_INT(store_has_tree(s, sha), 1);
	/* a running download is locked, a cut-off one is not */
	uint64_t have;
	auto_fd part = -1;
	CHECK_INT(store_partial_open(s, other, &part, &have, &e), 0);
	auto_fd fd = root();
	CHECK_INT(fs_mkdirs(fd, "store/tmp/x.tree/deep", 0755, &e), 0);
	o.min_age_s = 0;
	CHECK_INT(store_gc(s, &o, &u, &e), 0);
	CHECK_INT(count_in("store/tmp"), 1);
	cleanup_fd(&part);
	CHECK_INT(store_gc(s, &o, &u, &e), 0);
	CHECK_INT(count_in("store/tmp"), 0);
	CHECK_INT(store_has_tree(s, sha), 0);
	auto_ptr(store) second = open_store();
	CHECK(second != s);
	CHECK_INT(store_gc(s, &o, &u, &e), -1);
	CHECK_INT(e.code, ERR_BUSY);
}

TEST(gc_keeps_others_out_from_its_beginning)
{
	auto_ptr(store) s = open_store();
	CHECK_INT(store_gc_begin(s, &e), 0);
	CHECK_INT(store_gc_begin(s, &e), 0);
	int p[2];
	CHECK_INT(pipe(p), 0);
	pid_t child = fork();
	if (child == 0) {
		store_free(open_store()); /* waits */
		(void)!write(p[1], "x", 1);
		_exit(0);
	}
	close(p[1]);
	CHECK_INT(fcntl(p[0], F_SETFL, O_NONBLOCK), 0);
	char c;
	usleep(100000);
	CHECK_INT(read(p[0], &c, 1), -1);
	struct store_gc_opts o = {0};
	struct store_usage u;
	CHECK_INT(store_gc(s, &o, &u, &e), 0);
	int status;
	CHECK_INT(waitpid(child, &status, 0), child);
	CHECK_INT(status, 0);
	CHECK_INT(read(p[0], &c, 1), 1);
}

static int damages;
static void note_damage(void *ctx, const char *what, const char *why, bool mendable)
{
	bool *is_contradiction = ctx;
	CHECK_INT(mendable, !is_contradiction);
	CHECK_MSG(strstr(what, "tree ") || strstr(what, "blob "), "%s", what);
	CHECK(*why);
	damages++;
}

TEST(verify_finds_and_repairs)
{
	auto_ptr(store) s = open_store();
	uint8_t sha[2][SHA256_SIZE];
	for (int i = 0; i < 2; i++) {
		add_package(s, i, sha[i]);
		CHECK_INT(store_unpack(s, sha[i], STORE_CONDA, NULL, &e), 0);
	}
	CHECK_INT(store_verify(s, true, NULL, note_damage, NULL, &e), 0);
	auto_buf path = BUF_INIT(1000);
	CHECK_INT(store_tree_path(s, sha[1], &path, &e), 0);
	buf_put_c(&path, "/lib/1/file3");
	CHECK_INT(truncate(path.p, 3), 0);
	buf_clear(&path);
	CHECK_INT(store_blob_path(s, sha[0], &path, &e), 0);
	auto_fd fd = open(path.p, O_WRONLY | O_CLOEXEC);
	CHECK_INT(pwrite(fd, "!", 1, 50), 1);
	CHECK_INT(store_verify(s, false, NULL, note_damage, NULL, &e), 2);
	CHECK_INT(damages, 2);
	CHECK_INT(store_has_tree(s, sha[1]), 1);
	CHECK_INT(store_verify(s, true, NULL, note_damage, NULL, &e), 2);
	CHECK_INT(store_has_tree(s, sha[1]), 0);
	CHECK_INT(store_has_blob(s, sha[0]), 0);
	CHECK_INT(store_verify(s, true, NULL, note_damage, NULL, &e), 0);
	CHECK_INT(store_unpack(s, sha[1], STORE_CONDA, NULL, &e), 0); /* from its blob */
}

static void add_promise(struct store *s, const char *paths_json, uint8_t sha[SHA256_SIZE])
{
	auto_buf info = BUF_INIT(BUF_MAX);
	auto_buf pkg = BUF_INIT(BUF_MAX);
	auto_buf out = BUF_INIT(BUF_MAX);
	tar_file(&info, "info/index.json", 0644, "{}");
	tar_file(&info, "info/paths.json", 0644, paths_json);
	tar_end(&info);
	tar_file(&pkg, "bin/x", 0755, "abc");
	tar_link(&pkg, "bin/y", "x");
	tar_end(&pkg);
	conda_put(&out, "x-1-0", buf_str(&info), buf_str(&pkg));
	add_bytes(s, buf_str(&out), sha);
	CHECK_INT(store_unpack(s, sha, STORE_CONDA, NULL, &e), 0);
}

#define SHA_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

TEST(verify_finds_packages_that_contradict_themselves)
{
	static const char *const good[] = {
		"{\"paths\":[{\"_path\":\"bin/x\",\"sha256\":\"" SHA_OF_ABC "\",\"size_in_bytes\":3}]}",
		/* a link that is listed as what it leads to, what is not there, what says nothing, what nobody can read */
		("{\"paths\":[{\"_path\":\"bin/y\",\"size_in_bytes\":7},{\"_path\":\"gone\",\"size_in_bytes\":7},"
		 "{\"_path\":\"bin/x\"},{\"_path\":\"../x\",\"size_in_bytes\":7},7]}"),
		"{",
	};
	static const char *const bad[] = {
		"{\"paths\":[{\"_path\":\"bin/x\",\"size_in_bytes\":4}]}",
		"{\"paths\":[{\"_path\":\"bin/x\",\"path_type\":\"hardlink\",\"sha256\":\"00" SHA_OF_ABC "\"},"
		"{\"_path\":\"bin/x\",\"sha256\":\"aa7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}]}",
	};
	auto_ptr(store) s = open_store();
	uint8_t sha[SHA256_SIZE];
	bool contradiction = true;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		add_promise(s, good[i], sha);
	CHECK_INT(store_verify(s, false, NULL, note_damage, NULL, &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		add_promise(s, bad[i], sha);
	CHECK_INT(store_verify(s, false, NULL, note_damage, &contradiction, &e), 2);
	CHECK_INT(store_verify(s, true, NULL, note_damage, &contradiction, &e), 2);
	CHECK_INT(store_has_tree(s, sha), 1); /* fetched again it would be the same */
}

TEST(reading_only)
{
	auto_fd fd = root();
	struct store *r = NULL;
	struct store_usage u;
	uint8_t sha[SHA256_SIZE] = {0};
	CHECK_INT(store_open(fd, STORE_OPEN_RO, &r, &e), 0);
	CHECK_INT(store_has_tree(r, sha), 0);
	CHECK_INT(store_has_blob(r, sha), 0);
	CHECK_INT(store_size(r, &u, &e), 0);
	CHECK_INT(u.blobs, 0);
	CHECK_INT(store_verify(r, false, NULL, NULL, NULL, &e), 0);
	CHECK_INT(store_blob_open(r, sha, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(store_tree_open(r, sha, &e), -1);
	CHECK(!fs_exists(fd, "store"));
	store_free(r);
	auto_ptr(store) s = open_store();
	add_package(s, 1, sha);
	CHECK_INT(store_open(fd, STORE_OPEN_RO, &r, &e), 0);
	CHECK_INT(store_has_blob(r, sha), 1);
	CHECK_INT(store_unpack(r, sha, STORE_CONDA, NULL, &e), -1);
	struct store_gc_opts o = {0};
	CHECK_INT(store_gc(r, &o, &u, &e), -1);
	CHECK_INT(store_sync(r, &e), -1);
	CHECK_INT(store_add_file(r, fd, "x", NULL, sha, &e), -1);
	store_free(r);
}

/* real packages */

static void unpack_real(struct store *s, const char *path, uint8_t sha[SHA256_SIZE])
{
	CHECK_MSG(store_add_file(s, AT_FDCWD, path, NULL, sha, &e) == 0, "%s", e.msg);
	CHECK_MSG(store_unpack(s, sha, store_format_of(str_c(path)), NULL, &e) == 0, "%s", e.msg);
}

static int unpack_all(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *err)
{
	uint8_t sha[SHA256_SIZE];
	(void)rel;
	if (!S_ISREG(st->st_mode) || store_format_of(str_c(name)) == STORE_FORMAT_UNKNOWN)
		return 0;
	if (store_add_file(ctx, dirfd, name, NULL, sha, err) < 0)
		return -1;
	/* converted where links could not be read: its links have no target */
	if (strcmp(name, "zlib-1.2.11-h7b6447c_3.conda") == 0 || strcmp(name, "zlib-1.2.11-h1de35cc_3.conda") == 0) {
		CHECK_INT(store_unpack(ctx, sha, STORE_CONDA, NULL, err), -1);
		CHECK_MSG(strstr(err->msg, "is a symbolic link with an empty"), "%s", err->msg);
		return 0;
	}
	if (store_unpack(ctx, sha, store_format_of(str_c(name)), NULL, err) < 0)
		return err_ctx(err, "%s", name);
	auto_fd tree = store_tree_open(ctx, sha, err);
	CHECK_MSG(fs_exists(tree, "info/index.json"), "%s", name);
	return 0;
}

TEST(all_real_packages_unpack)
{
	const char *folder = test_shared("data/conda/packages");
	auto_ptr(store) s = open_store();
	CHECK_MSG(fs_walk(AT_FDCWD, folder, unpack_all, s, &e) == 0, "%s", e.msg);
	struct store_usage u;
	CHECK_INT(store_size(s, &u, &e), 0);
	CHECK(u.trees > 60);
	CHECK_INT(u.trees, u.blobs - 2);
	CHECK_INT(store_verify(s, false, NULL, NULL, NULL, &e), 0);
}

TEST(one_package_in_both_formats_gives_the_same_files)
{
	uint8_t conda[SHA256_SIZE], bz2[SHA256_SIZE];
	const char *a = test_shared("data/conda/packages/cph/mock-2.0.0-py37_1000.conda");
	const char *b = test_shared("data/conda/packages/cph/mock-2.0.0-py37_1000.tar.bz2");
	auto_ptr(store) s = open_store();
	unpack_real(s, a, conda);
	unpack_real(s, b, bz2);
	struct tree_summary x, y;
	auto_fd one = store_tree_open(s, conda, &e);
	auto_fd two = store_tree_open(s, bz2, &e);
	CHECK_INT(tree_read_summary(one, &x, &e), 0);
	CHECK_INT(tree_read_summary(two, &y, &e), 0);
	CHECK_INT(x.files, y.files);
	CHECK_INT(x.bytes, y.bytes);
	CHECK_INT(memcmp(x.listing, y.listing, SHA256_SIZE), 0);
}

TEST(after_a_power_cut_only_what_is_whole_stays)
{
	only_what_is_whole_stays(false);
}

/* A store that cannot be opened for want of descriptors takes nothing for damaged. */
TEST(a_process_short_of_descriptors_removes_nothing)
{
	uint8_t sha[SHA256_SIZE];
	struct rlimit before;
	auto_fd fd = root();
	unsigned failed = 0;
	bool opened = false;
	struct store *s = open_store();
	add_package(s, 1, sha);
	CHECK_INT(store_unpack(s, sha, STORE_CONDA, NULL, &e), 0);
	store_free(s);
	age_records("00000000-0000-0000-0000-000000000000-1");
	CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
	for (rlim_t n = (rlim_t)fd + 1; !opened && n < (rlim_t)fd + 100; n++) {
		struct rlimit few = {n, before.rlim_max};
		CHECK_INT(setrlimit(RLIMIT_NOFILE, &few), 0);
		opened = store_open(fd, 0, &s, &e) == 0;
		CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
		failed += !opened;
	}
	CHECK(opened && failed > 5);
	CHECK_INT(store_has_blob(s, sha), 1);
	CHECK_INT(store_has_tree(s, sha), 1);
	store_free(s);
}

TEST(after_another_mount_only_what_is_whole_stays)
{
	only_what_is_whole_stays(true);
}
