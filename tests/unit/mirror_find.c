// SPDX-License-Identifier: Apache-2.0
/* What a client asks for: held, wanted, nobody's; and fetches that several wait for. */
#include "lib/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "base/fs.h"
#include "lib/http.h"
#include "base/sql.h"
#include "mirror/mirror.h"

struct world {
	struct mirror *m;
	struct mirror_reader *r;
};

static struct world open_proxy(const char *url)
{
	struct world w;
	struct err e = ERR_INIT;
	const struct mirror_init init = {.name = STR("m"), .host = STR("h")};
	const struct str from[] = {str_c(url)};
	const struct mirror_create p = {.type = MIRROR_PROXY, .kind = channel_kind(STR("conda")), .from = {from, 1}},
				   l = {.type = MIRROR_LOCAL, .kind = channel_kind(STR("conda"))},
				   f = {.type = MIRROR_FOLLOW, .kind = channel_kind(STR("conda")), .from = {from, 1}};
	CHECK_MSG(mirror_init(test_tmp(), &init, &e) == 0, "%s", e.msg);
	CHECK_MSG(mirror_create(test_tmp(), STR("p"), &p, &e) == 0, "%s", e.msg);
	CHECK_MSG(mirror_create(test_tmp(), STR("l"), &l, &e) == 0, "%s", e.msg);
	CHECK_MSG(mirror_create(test_tmp(), STR("f"), &f, &e) == 0, "%s", e.msg);
	CHECK_MSG(mirror_open(test_tmp(), &w.m, &e) == 0, "%s", e.msg);
	CHECK_MSG(mirror_reader_new(w.m, &w.r, &e) == 0, "%s", e.msg);
	return w;
}

static void close_world(struct world *w)
{
	mirror_reader_free(w->r);
	mirror_close(w->m);
}

static struct mirror_found find(struct world *w, const char *channel, const char *path)
{
	struct mirror_found f;
	struct err e = ERR_INIT;
	CHECK_MSG(mirror_find(w->r, str_c(channel), str_c(path), &f, &e) == 0, "%s", e.msg);
	return f;
}

static void count(void *ctx)
{
	atomic_fetch_add((atomic_int *)ctx, 1);
}

static struct mirror_fetch_view fetch(struct world *w, const struct mirror_found *f, char *body, size_t size)
{
	struct mirror_fetch *x;
	struct mirror_fetch_view v = {0};
	struct err e = ERR_INIT;
	atomic_int told = 0;
	CHECK_MSG(mirror_fetch_begin(w->r, f, count, &told, &x, &e) == 0, "%s", e.msg);
	while (!v.done)
		mirror_fetch_wait(x, v.ready, &v);
	ssize_t n = v.err.code == ERR_NONE ? pread(v.fd, body, size - 1, 0) : 0;
	CHECK(n >= 0);
	body[n] = '\0';
	mirror_fetch_leave(x, &told);
	CHECK(atomic_load(&told) > 0);
	return v;
}

TEST(what_no_channel_has_is_nobodys)
{
	struct world w = open_proxy("http://127.0.0.1:9");
	CHECK_INT(find(&w, "other", "noarch/a-1-0.conda").answer, MIRROR_NONE);
	CHECK_INT(find(&w, "p", "noarch/a.exe").answer, MIRROR_NONE);
	CHECK_INT(find(&w, "p", ".slipway/channel.yaml").answer, MIRROR_NONE);
	CHECK_INT(find(&w, "p", "../mirror.yaml").answer, MIRROR_NONE);
	CHECK_INT(find(&w, "p", "noarch/../../state/mirror.db").answer, MIRROR_NONE);
	CHECK_INT(find(&w, "l", "noarch/a-1-0.conda").answer, MIRROR_NONE);
	CHECK_INT(find(&w, "f", "noarch/a-1-0.conda").answer, MIRROR_NONE); /* no metadata tell of it */
	CHECK_INT(find(&w, "p", "noarch/a-1-0.conda").answer, MIRROR_WANTED);
	close_world(&w);
}

TEST(a_proxy_fetches_once_and_keeps)
{
	const struct http_answer answers[] = {{.body = "package"}, {.status = 404, .body = "none"}};
	struct http_server s = http_start(answers, 2);
	char body[100];
	struct world w = open_proxy(http_url(&s, "/x"));
	struct mirror_found f = find(&w, "p", "noarch/a-1-0.conda");
	struct mirror_fetch_view v = fetch(&w, &f, body, sizeof(body));
	CHECK_MSG(v.err.code == ERR_NONE, "%s", v.err.msg);
	CHECK_STR(body, "package");
	CHECK_INT(v.size, 7);
	f = find(&w, "p", "noarch/a-1-0.conda");
	CHECK_INT(f.answer, MIRROR_HELD);
	CHECK_INT(f.size, 7);
	CHECK(!f.stale && f.etag[0] == '"');
	close(f.fd);
	f = find(&w, "p", "noarch/b-1-0.conda");
	v = fetch(&w, &f, body, sizeof(body));
	CHECK_INT(v.err.code, ERR_NOT_FOUND);
	CHECK_INT(find(&w, "p", "noarch/b-1-0.conda").answer, MIRROR_WANTED);
	http_stop(&s);
	CHECK(strstr(s.log->request[0], "GET /x/noarch/a-1-0.conda "));
	CHECK_INT(s.log->n, 2);
	close_world(&w);
}

TEST(several_wait_for_one_request)
{
	const struct http_answer answers[] = {{.body = "package"}};
	struct http_server s = http_start(answers, 1);
	struct err e = ERR_INIT;
	struct world w = open_proxy(http_url(&s, ""));
	struct mirror_found f = find(&w, "p", "noarch/a-1-0.conda");
	struct mirror_fetch *x[8];
	int told[8];
	for (int i = 0; i < 8; i++)
		CHECK(mirror_fetch_begin(w.r, &f, NULL, &told[i], &x[i], &e) == 0);
	for (int i = 0; i < 8; i++) {
		struct mirror_fetch_view v = {0};
		while (!v.done)
			mirror_fetch_wait(x[i], v.ready, &v);
		CHECK_MSG(v.err.code == ERR_NONE && v.ready == 7, "%s", v.err.msg);
	}
	for (int i = 0; i < 8; i++)
		mirror_fetch_leave(x[i], &told[i]);
	http_stop(&s);
	CHECK_INT(s.log->n, 1);
	close_world(&w);
}

/* A caller's lock, held when it is told and when it looks. */
static struct {
	pthread_mutex_t mutex;
	atomic_int told;
	struct mirror_fetch *x;
} caller = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void tell_caller(void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&caller.told, 1);
	pthread_mutex_lock(&caller.mutex);
	pthread_mutex_unlock(&caller.mutex);
}

TEST(who_is_told_may_look_under_a_lock_of_its_own)
{
	const struct http_answer answers[] = {{.body = "package"}};
	struct http_server s = http_start(answers, 1);
	struct err e = ERR_INIT;
	struct world w = open_proxy(http_url(&s, ""));
	struct mirror_found f = find(&w, "p", "noarch/a-1-0.conda");
	struct mirror_fetch_view v = {0};
	alarm(20); /* where the two wait for each other */
	pthread_mutex_lock(&caller.mutex);
	CHECK(mirror_fetch_begin(w.r, &f, tell_caller, &caller, &caller.x, &e) == 0);
	while (!atomic_load(&caller.told))
		usleep(1000);
	mirror_fetch_look(caller.x, &v);
	pthread_mutex_unlock(&caller.mutex);
	while (!v.done)
		mirror_fetch_wait(caller.x, v.ready, &v);
	CHECK_MSG(v.err.code == ERR_NONE, "%s", v.err.msg);
	mirror_fetch_leave(caller.x, &caller);
	http_stop(&s);
	close_world(&w);
}

static void expect(struct world *w, const char *digest_of)
{
	uint8_t sha[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	struct err e = ERR_INIT;
	auto_ptr(sql) db = NULL;
	sha256(digest_of, strlen(digest_of), sha);
	hex_encode(sha, sizeof(sha), hex);
	auto_free char *insert =
		xasprintf("INSERT INTO file (channel, path, what, size, kind, digest, told, first, time_ms)"
			  " VALUES (7, 'noarch/a-1-0.conda', 3, 7, 0, x'%s', 1, 1, 0)",
			  hex);
	CHECK(sql_open(mirror_db_path(w->m), 0, &db, &e) == 0);
	CHECK_MSG(sql_run(db, &e, "INSERT OR IGNORE INTO channel (id, name, created_ms) VALUES (7, 'f', 0)", "") == 0,
		  "%s", e.msg);
	CHECK_MSG(sql_run(db, &e, insert, "") == 0, "%s", e.msg);
}

TEST(wrong_bytes_are_never_whole)
{
	const struct http_answer answers[] = {{.body = "pockage"}, {.body = "pockage"}, {.body = "package"}};
	struct http_server s = http_start(answers, 3);
	char body[100];
	struct world w = open_proxy(http_url(&s, ""));
	expect(&w, "package");
	struct mirror_found f = find(&w, "f", "noarch/a-1-0.conda");
	CHECK_INT(f.answer, MIRROR_WANTED);
	CHECK_INT(f.want_size, 7);
	CHECK(f.digest.known);
	struct mirror_fetch_view v = fetch(&w, &f, body, sizeof(body));
	CHECK_INT(v.err.code, ERR_VERIFY);
	CHECK_INT(v.ready, 0);
	CHECK_INT(find(&w, "f", "noarch/a-1-0.conda").answer, MIRROR_WANTED);
	v = fetch(&w, &f, body, sizeof(body));
	CHECK_MSG(v.err.code == ERR_NONE, "%s", v.err.msg);
	CHECK_STR(body, "package");
	f = find(&w, "f", "noarch/a-1-0.conda");
	CHECK_INT(f.answer, MIRROR_HELD);
	close(f.fd);
	http_stop(&s);
	close_world(&w);
}

TEST(an_old_pointer_is_served_while_it_is_asked_for)
{
	const struct http_answer answers[] = {{.body = "{}", .headers = "ETag: \"one\"\r\n"}, {.status = 304}};
	struct http_server s = http_start(answers, 2);
	char body[100];
	struct err e = ERR_INIT;
	struct world w = open_proxy(http_url(&s, ""));
	struct mirror_found f = find(&w, "p", "noarch/repodata.json");
	CHECK_INT(f.answer, MIRROR_WANTED);
	CHECK(fetch(&w, &f, body, sizeof(body)).err.code == ERR_NONE);
	CHECK_STR(body, "{}");
	f = find(&w, "p", "noarch/repodata.json");
	CHECK(f.answer == MIRROR_HELD && !f.stale);
	close(f.fd);
	auto_ptr(sql) db = NULL;
	CHECK(sql_open(mirror_db_path(w.m), 0, &db, &e) == 0);
	CHECK(sql_run(db, &e, "UPDATE pointer SET checked_ms = 1", "") == 0);
	f = find(&w, "p", "noarch/repodata.json");
	CHECK(f.answer == MIRROR_HELD && f.stale);
	close(f.fd);
	CHECK(mirror_fetch_begin(w.r, &f, NULL, NULL, NULL, &e) == 0);
	for (int i = 0; i < 200 && f.stale; i++) {
		usleep(20000);
		f = find(&w, "p", "noarch/repodata.json");
		close(f.fd);
	}
	CHECK(!f.stale && f.size == 2);
	http_stop(&s);
	CHECK(strstr(s.log->request[1], "If-None-Match: \"one\""));
	close_world(&w);
}

TEST(status_of_upstreams)
{
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	char body[100];
	struct mirror_upstream_status *v;
	struct mirror_channel_status st;
	size_t n;
	struct world w = open_proxy("http://127.0.0.1:9");
	const struct mirror_channel *c = mirror_channel(w.m, STR("p"));
	CHECK(mirror_upstreams(w.r, c, &a, &v, &n, &e) == 0);
	CHECK_INT(n, 1);
	CHECK(v[0].in_use && v[0].health == MIRROR_WELL);
	struct mirror_found f = find(&w, "p", "noarch/a-1-0.conda");
	CHECK_INT(fetch(&w, &f, body, sizeof(body)).err.code, ERR_NETWORK);
	for (int i = 0; i < 500 && v[0].health == MIRROR_WELL; i++) { /* nobody waits for it to be written down */
		usleep(10000);
		CHECK(mirror_upstreams(w.r, c, &a, &v, &n, &e) == 0);
	}
	CHECK_INT(v[0].health, MIRROR_LEFT);
	CHECK(v[0].error.n > 0);
	CHECK(mirror_channel_status(w.r, c, &a, &st, &e) == 0);
	CHECK_INT(st.expected, 0);
	close_world(&w);
}

static size_t descriptors(void)
{
	auto_fs_list list = {0};
	struct err e = ERR_INIT;
	CHECK(fs_list(AT_FDCWD, "/proc/self/fd", 1000, &list, &e) == 0);
	return list.n;
}

TEST(a_broken_database_costs_no_descriptors)
{
	const struct http_answer answers[] = {{.body = "{}"}};
	struct http_server s = http_start(answers, 1);
	char body[100];
	struct err e = ERR_INIT;
	struct world w = open_proxy(http_url(&s, ""));
	struct mirror_found f = find(&w, "p", "noarch/repodata.json");
	CHECK(fetch(&w, &f, body, sizeof(body)).err.code == ERR_NONE);
	auto_ptr(sql) db = NULL;
	CHECK(sql_open(mirror_db_path(w.m), 0, &db, &e) == 0);
	CHECK(sql_run(db, &e, "DROP TABLE pointer", "") == 0);
	size_t before = descriptors();
	for (int i = 0; i < 3; i++) {
		e = ERR_INIT;
		CHECK(mirror_find(w.r, STR("p"), STR("noarch/repodata.json"), &f, &e) < 0);
	}
	CHECK_INT(descriptors(), before);
	http_stop(&s);
	close_world(&w);
}

TEST(scrub_takes_want_of_descriptors_for_no_damage)
{
	const struct http_answer answers[] = {{.body = "package"}};
	struct http_server s = http_start(answers, 1);
	char body[100];
	auto_arena a = ARENA_INIT;
	struct world w = open_proxy(http_url(&s, ""));
	struct mirror_found f = find(&w, "p", "noarch/a-1-0.conda");
	CHECK(fetch(&w, &f, body, sizeof(body)).err.code == ERR_NONE);
	http_stop(&s);
	struct rlimit all, few;
	CHECK(getrlimit(RLIMIT_NOFILE, &all) == 0);
	int failed = 0, done = 0;
	for (int more = 0; !done && more < 40; more++) {
		struct mirror_scrub_result r;
		struct err e = ERR_INIT;
		few = (struct rlimit){(rlim_t)descriptors() + (rlim_t)more, all.rlim_max};
		CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
		int rc = mirror_scrub(w.m, mirror_channel(w.m, STR("p")), 0, NULL, &a, &r, &e);
		CHECK(setrlimit(RLIMIT_NOFILE, &all) == 0);
		failed += rc < 0;
		done = rc == 0;
		CHECK_MSG(r.damaged_n == 0, "with %d: '%.*s': %.*s", more, STR_ARG(r.damaged[0].path),
			  STR_ARG(r.damaged[0].reason));
	}
	CHECK(failed && done);
	f = find(&w, "p", "noarch/a-1-0.conda");
	CHECK_INT(f.answer, MIRROR_HELD);
	close(f.fd);
	close_world(&w);
}
