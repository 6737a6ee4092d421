// SPDX-License-Identifier: Apache-2.0
/* Archives of opam packages: what a cache may and may not do, and where one is fetched from. */
#include <fcntl.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam_source.h"
#include "lib/test.h"
#include "lib/http.h"
#include "lib/archive.h"
#include "store/store.h"

static struct err e;
static const char text[] = "what an archive holds\n";

static struct digest_value sum(enum digest_kind kind, const char *bytes)
{
	struct digest_value v = {.kind = kind, .known = true};
	auto_ptr(digest) d = digest_new(kind);
	digest_update(d, bytes, strlen(bytes));
	digest_final(d, v.bytes);
	return v;
}

static struct opam_cache open_cache(void)
{
	static char path[300];
	struct opam_cache c;
	int dir = fs_open_dir_make(AT_FDCWD, test_tmp(), &e);
	int scratch = fs_open_dir_make(dir, "scratch", &e);
	close(dir);
	snprintf(path, sizeof(path), "%s/cache", test_tmp());
	CHECK_MSG(opam_cache_open(&c, path, scratch, &e) == 0, "%s", e.msg);
	return c;
}

static void close_cache(struct opam_cache *c)
{
	opam_cache_close(c);
	cleanup_fd(&c->scratch_dir);
}

static void put(struct opam_cache *c, const char *bytes, const struct digest_value *sums, size_t n)
{
	auto_fd fd = -1;
	CHECK_INT(opam_cache_begin(c, sums, n, &fd, &e), 1);
	CHECK_INT(fs_write_all(fd, bytes, strlen(bytes), "x", &e), 0);
	CHECK_MSG(opam_cache_commit(c, fd, sums, n, &e) == 0, "%s", e.msg);
}

static void check_holds(int fd, const char *bytes)
{
	char got[256] = {0};
	CHECK(fd >= 0);
	CHECK_INT(read(fd, got, sizeof(got) - 1), strlen(bytes));
	CHECK_STR(got, bytes);
}

TEST(an_archive_has_the_names_of_opams_cache)
{
	struct opam_cache c = open_cache();
	struct digest_value sums[] = {sum(DIGEST_MD5, text), sum(DIGEST_SHA512, text), sum(DIGEST_SHA256, text)};
	char path[192], target[300] = {0};
	put(&c, text, sums, 3);
	for (size_t i = 0; i < 3; i++) {
		struct stat st;
		opam_digest_path(&sums[i], path);
		CHECK_INT(fstatat(c.dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
		CHECK_INT(S_ISREG(st.st_mode), i == 1);
		auto_fd fd = -1;
		CHECK_INT(opam_cache_take(&c, &sums[i], 1, &fd, &e), 1);
		check_holds(fd, text);
	}
	opam_digest_path(&sums[0], path);
	CHECK(readlinkat(c.dir, path, target, sizeof(target) - 1) > 0);
	CHECK(strncmp(target, "../../sha512/", 13) == 0);
	/* once more is fine */
	put(&c, text, sums, 3);
	auto_fd fd = -1;
	CHECK_INT(opam_cache_take(&c, sums, 3, &fd, &e), 1);
	close_cache(&c);
}

TEST(what_is_damaged_is_not_given_out_and_goes)
{
	struct opam_cache c = open_cache();
	struct digest_value good[] = {sum(DIGEST_SHA256, text), sum(DIGEST_MD5, text)};
	struct digest_value half[] = {sum(DIGEST_SHA256, text), sum(DIGEST_MD5, "something else")};
	char path[192];
	int fd = -1;
	put(&c, text, good, 1);
	CHECK_INT(opam_cache_take(&c, half, 2, &fd, &e), 0); /* one of two is not enough */
	CHECK_INT(fd, -1);
	put(&c, text, good, 2);
	opam_digest_path(&good[0], path);
	auto_fd w = openat(c.dir, path, O_WRONLY | O_TRUNC);
	CHECK_INT(fs_write_all(w, "bad", 3, "x", &e), 0);
	CHECK_INT(opam_cache_take(&c, good, 2, &fd, &e), 0);
	CHECK_INT(fd, -1);
	CHECK(!fs_exists(c.dir, path));
	close_cache(&c);
}

TEST(what_is_no_file_is_no_archive)
{
	struct opam_cache c = open_cache();
	struct digest_value s = sum(DIGEST_SHA256, text);
	char path[192], folder[192];
	int fd = -1;
	opam_digest_path(&s, path);
	snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
	CHECK_INT(fs_mkdirs(c.dir, folder, 0755, &e), 0);
	CHECK_INT(mkfifoat(c.dir, path, 0644), 0); /* nobody waits at it */
	CHECK_INT(opam_cache_take(&c, &s, 1, &fd, &e), 0);
	CHECK_INT(unlinkat(c.dir, path, 0), 0);
	CHECK_INT(symlinkat("/dev/zero", c.dir, path), 0);
	CHECK_INT(opam_cache_take(&c, &s, 1, &fd, &e), 0);
	put(&c, text, &s, 1);
	CHECK_INT(opam_cache_take(&c, &s, 1, &fd, &e), 1);
	close(fd);
	close_cache(&c);
}

TEST(bytes_that_change_behind_the_check_are_not_those_that_are_given)
{
	struct opam_cache c = open_cache();
	struct digest_value s = sum(DIGEST_SHA256, text);
	char path[192];
	auto_fd fd = -1;
	put(&c, text, &s, 1);
	CHECK_INT(opam_cache_take(&c, &s, 1, &fd, &e), 1);
	opam_digest_path(&s, path);
	auto_fd w = openat(c.dir, path, O_WRONLY | O_TRUNC);
	CHECK_INT(fs_write_all(w, "evil", 4, "x", &e), 0);
	check_holds(fd, text);
	close_cache(&c);
}

/* -- fetching -- */

static void ended(struct opam_fetch *f, void *ctx)
{
	(void)f;
	++*(unsigned *)ctx;
}

static void fetch_all(struct opam_cache *c, const struct str *mirrors, size_t mirrors_n, struct opam_fetch **v,
		      size_t n)
{
	struct opam_fetcher t;
	unsigned count = 0;
	CHECK_INT(opam_fetcher_init(&t, c, mirrors, mirrors_n, 4, NULL, &e), 0);
	for (size_t i = 0; i < n; i++) {
		v[i]->done = ended;
		v[i]->ctx = &count;
		opam_fetch_add(&t, v[i]);
	}
	int rc;
	while ((rc = opam_fetch_step(&t, 100, &e)) > 0)
		;
	CHECK_MSG(rc == 0, "%s", e.msg);
	CHECK_INT(count, n);
	opam_fetcher_release(&t);
}

static void release(struct opam_fetch *f)
{
	cleanup_fd(&f->fd);
	free(f->from);
	f->from = NULL;
}

/* Cancelled: one download is under way, one waits for it, one has not begun. */
TEST(what_has_not_ended_is_given_up)
{
	struct opam_cache c = open_cache();
	struct digest_value sums[] = {sum(DIGEST_SHA256, text)}, others[] = {sum(DIGEST_SHA256, "other")};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(a);
	auto_fd silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(silent, (struct sockaddr *)&a, size) == 0 && listen(silent, 4) == 0 &&
	      getsockname(silent, (struct sockaddr *)&a, &size) == 0);
	auto_free char *text_url = xasprintf("http://127.0.0.1:%u/x", ntohs(a.sin_port));
	struct str urls[] = {str_c(text_url), STR("/does/not/exist")};
	struct opam_fetcher t;
	unsigned count = 0;
	struct opam_fetch v[3];
	CHECK_INT(opam_fetcher_init(&t, &c, NULL, 0, 4, NULL, &e), 0);
	for (size_t i = 0; i < 3; i++) {
		v[i] = (struct opam_fetch){.label = "x.1",
					   .urls = urls,
					   .n_urls = 2,
					   .sums = i < 2 ? sums : others,
					   .n_sums = 1,
					   .done = ended,
					   .ctx = &count};
		opam_fetch_add(&t, &v[i]);
		if (i == 1)
			CHECK_INT(opam_fetch_step(&t, 10, &e), 1);
	}
	opam_fetcher_release(&t);
	CHECK_INT(count, 0);
	auto_fd again = -1;
	CHECK_INT(opam_cache_begin(&c, sums, 1, &again, &e), 1); /* nobody has it locked any more */
	close_cache(&c);
}

TEST(an_archive_is_fetched_once_and_then_cached)
{
	struct opam_cache c = open_cache();
	struct http_answer answers[] = {{.body = text}};
	struct http_server s = http_start(answers, 1);
	struct digest_value sums[] = {sum(DIGEST_MD5, text), sum(DIGEST_SHA256, text)};
	struct str url = str_c(http_url(&s, "/x.tar"));
	struct opam_fetch one = {.label = "x.1", .urls = &url, .n_urls = 1, .sums = sums, .n_sums = 2}, two = one;
	struct opam_fetch *both[] = {&one, &two};
	fetch_all(&c, NULL, 0, both, 2); /* the same archive twice in one run: the second waits for the first */
	CHECK_MSG(one.err.code == ERR_NONE, "%s", one.err.msg);
	CHECK(one.from && strstr(one.from, "/x.tar"));
	CHECK_STR(two.from, NULL);
	check_holds(one.fd, text);
	check_holds(two.fd, text);
	CHECK_INT(s.log->n, 1);
	auto_fs_list left = {0};
	CHECK_INT(fs_list(c.dir, ".slipway", 10, &left, &e), 0);
	CHECK_INT(left.n, 0);
	release(&one);
	release(&two);
	http_stop(&s);
	close_cache(&c);
}

TEST(mirrors_come_first_and_what_does_not_match_is_asked_for_elsewhere)
{
	struct opam_cache c = open_cache();
	struct http_answer answers[] = {{.status = 404}, {.body = "wrong"}, {.body = "wrong"}, {.body = text}};
	struct http_server s = http_start(answers, 4);
	struct digest_value sums[] = {sum(DIGEST_SHA256, text)};
	char mirror[200];
	snprintf(mirror, sizeof(mirror), "%s", http_url(&s, "/cache/"));
	struct str mirrors[] = {str_c(mirror)};
	char first[200], second[200];
	snprintf(first, sizeof(first), "%s", http_url(&s, "/first"));
	snprintf(second, sizeof(second), "%s", http_url(&s, "/second"));
	struct str urls[] = {str_c(first), str_c(second)};
	struct opam_fetch f = {.label = "x.1", .urls = urls, .n_urls = 2, .sums = sums, .n_sums = 1}, *v[] = {&f};
	fetch_all(&c, mirrors, 1, v, 1);
	CHECK_MSG(f.err.code == ERR_NONE, "%s", f.err.msg);
	check_holds(f.fd, text);
	CHECK(strncmp(s.log->request[0], "GET /cache/sha256/", 18) == 0);
	CHECK(strstr(s.log->request[1], "/first"));
	CHECK(strstr(s.log->request[3], "/second"));
	release(&f);
	http_stop(&s);
	close_cache(&c);
}

TEST(a_checksum_that_nobody_meets_is_what_is_told)
{
	struct opam_cache c = open_cache();
	char path[300];
	struct digest_value sums[] = {sum(DIGEST_SHA256, text), sum(DIGEST_MD5, "other")};
	snprintf(path, sizeof(path), "%s/file", test_tmp());
	int dir = fs_open_dir_make(AT_FDCWD, test_tmp(), &e);
	CHECK_INT(fs_replace(dir, "file", text, sizeof(text) - 1, 0, &e), 0);
	close(dir);
	struct str urls[] = {str_c(path), STR("/does/not/exist")};
	struct opam_fetch f = {.label = "x.1", .urls = urls, .n_urls = 2, .sums = sums, .n_sums = 2}, *v[] = {&f};
	fetch_all(&c, NULL, 0, v, 1);
	CHECK_INT(f.err.code, ERR_VERIFY);
	CHECK_MSG(strstr(f.err.msg, "md5="), "%s", f.err.msg);
	CHECK_INT(f.fd, -1);
	auto_fs_list left = {0};
	CHECK_INT(fs_list(c.dir, ".slipway", 10, &left, &e), 0);
	CHECK_INT(left.n, 0);
	f = (struct opam_fetch){.label = "x.1", .urls = urls, .n_urls = 1, .sums = sums, .n_sums = 1};
	fetch_all(&c, NULL, 0, v, 1);
	CHECK_MSG(f.err.code == ERR_NONE, "%s", f.err.msg);
	check_holds(f.fd, text);
	release(&f);
	close_cache(&c);
}

TEST(a_download_of_a_killed_run_is_gone_on_with)
{
	struct opam_cache c = open_cache();
	struct http_answer answers[] = {{.body = text, .ranges = true}};
	struct http_server s = http_start(answers, 1);
	struct digest_value sums[] = {sum(DIGEST_SHA256, text)};
	struct str url = str_c(http_url(&s, "/x.tar"));
	int fd;
	CHECK_INT(opam_cache_begin(&c, sums, 1, &fd, &e), 1);
	CHECK_INT(fs_write_all(fd, text, 10, "x", &e), 0);
	close(fd); /* as the kernel does */
	struct opam_fetch f = {.label = "x.1", .urls = &url, .n_urls = 1, .sums = sums, .n_sums = 1}, *v[] = {&f};
	fetch_all(&c, NULL, 0, v, 1);
	CHECK_MSG(f.err.code == ERR_NONE, "%s", f.err.msg);
	check_holds(f.fd, text);
	CHECK_MSG(strstr(s.log->request[0], "Range: bytes=10-"), "%s", s.log->request[0]);
	release(&f);
	http_stop(&s);
	close_cache(&c);
}

/* Processes that want the same archive at the same time: each gets it, none meets the others' links. */
TEST(many_processes_share_a_cache)
{
	enum { PROCESSES = 8, ROUNDS = 40 };
	struct digest_value sums[] = {sum(DIGEST_MD5, text), sum(DIGEST_SHA256, text), sum(DIGEST_SHA512, text)};
	char path[300];
	struct opam_cache first = open_cache();
	close_cache(&first);
	snprintf(path, sizeof(path), "%s/file", test_tmp());
	int dir = fs_open_dir_make(AT_FDCWD, test_tmp(), &e);
	CHECK_INT(fs_replace(dir, "file", text, sizeof(text) - 1, 0, &e), 0);
	close(dir);
	pid_t pid[PROCESSES];
	for (int i = 0; i < PROCESSES; i++) {
		pid[i] = fork();
		if (pid[i] != 0)
			continue;
		for (int k = 0; k < ROUNDS; k++) {
			struct opam_cache c = open_cache();
			struct str url = str_c(path);
			struct opam_fetch f = {.label = "x.1", .urls = &url, .n_urls = 1, .sums = sums, .n_sums = 3},
					  *v[] = {&f};
			fetch_all(&c, NULL, 0, v, 1);
			CHECK_MSG(f.err.code == ERR_NONE, "%s", f.err.msg);
			check_holds(f.fd, text);
			release(&f);
			/* somebody prunes it meanwhile */
			char name[192];
			opam_digest_path(&sums[k % 3], name);
			if (i == 0)
				unlinkat(c.dir, name, 0);
			close_cache(&c);
		}
		_exit(0);
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;
		CHECK_INT(waitpid(pid[i], &status, 0), pid[i]);
		CHECK_INT(status, 0);
	}
}

/* -- unpacking -- */

TEST(sources_are_unpacked_by_what_they_are)
{
	auto_buf tar = BUF_INIT(1 << 20);
	auto_buf packed = BUF_INIT(1 << 20);
	tar_file(&tar, "x-1/run.sh", 0755, "echo");
	tar_link(&tar, "x-1/link", "run.sh");
	tar_end(&tar);
	pack_bz2(&packed, buf_str(&tar));
	int tmp = fs_open_dir_make(AT_FDCWD, test_tmp(), &e);
	const struct buf *forms[] = {&tar, &packed};
	for (size_t i = 0; i < 2; i++) {
		struct stat st;
		auto_fd dir = fs_open_dir_make(tmp, i ? "b" : "a", &e);
		CHECK_INT(fs_replace(tmp, "archive", forms[i]->p, forms[i]->n, 0, &e), 0);
		auto_fd fd = openat(tmp, "archive", O_RDONLY);
		CHECK_MSG(store_unpack_into(dir, fd, NULL, "sources of x.1", &e) == 0, "%s", e.msg);
		CHECK_INT(fstatat(dir, "x-1/link", &st, 0), 0);
		CHECK_INT(st.st_mode & 0111, 0111);
		CHECK(!fs_exists(dir, ".slipway-tree"));
	}
	close(tmp);
}

TEST(sources_that_lead_out_are_refused)
{
	int tmp = fs_open_dir_make(AT_FDCWD, test_tmp(), &e);
	for (int i = 0; i < 4; i++) {
		auto_buf tar = BUF_INIT(1 << 20);
		if (i == 0) {
			tar_file(&tar, "../out", 0644, "x");
		} else if (i == 1) {
			tar_file(&tar, "/tmp/slipway-out", 0644, "x");
		} else if (i == 2) {
			tar_link(&tar, "x-1/link", "../../out");
		} else {
			tar_link(&tar, "x-1/link", ".");
			tar_file(&tar, "x-1/link/out", 0644, "x");
		}
		tar_end(&tar);
		char name[8];
		snprintf(name, sizeof(name), "%d", i);
		auto_fd dir = fs_open_dir_make(tmp, name, &e);
		CHECK_INT(fs_replace(tmp, "archive", tar.p, tar.n, 0, &e), 0);
		auto_fd fd = openat(tmp, "archive", O_RDONLY);
		e = ERR_INIT;
		CHECK_INT(store_unpack_into(dir, fd, NULL, "sources of x.1", &e), -1);
		CHECK_MSG(e.code == ERR_INPUT, "%s", e.msg);
		CHECK(!fs_exists(tmp, "out"));
	}
	close(tmp);
}
