// SPDX-License-Identifier: Apache-2.0
/* A real repository, made by another program: accepted at its time, and refused where a byte of it is another. */
#include <fcntl.h>

#include "base/fs.h"
#include "base/vec.h"
#include "lib/test.h"
#include "tuf/tuf.h"

struct real {
	int meta_fd;
	const char *damaged; /* this file gets another byte */
	VEC(char *) asked;
};

static int fetch(void *ctx, const char *name, struct buf *ret, struct err *e)
{
	struct real *r = ctx;
	vec_push(&r->asked, xstrdup(name));
	if (fs_read(r->meta_fd, name, ret, e) < 0)
		return -1;
	char *version = strstr(ret->p, "\"expires\": \"2044");
	if (r->damaged && strcmp(r->damaged, name) == 0 && version)
		version[15] = '5';
	return 0;
}

static int64_t time_of(const char *dir)
{
	auto_free char *path = xasprintf("%s/faketime", dir);
	auto_buf b = BUF_INIT(64);
	struct err e = ERR_INIT;
	int64_t t;
	CHECK(fs_read(AT_FDCWD, path, &b, &e) == 0 && b.n >= 19);
	b.p[10] = 'T', b.p[19] = 'Z'; /* "2025-02-09 09:17:23+00:00" */
	CHECK(tuf_time(str_of(b.p, 20), &t));
	return t;
}

static int try(const char *damaged, int64_t after_ms, struct err *e)
{
	const char *dir = test_shared("data/tuf/tuf-on-ci-0.11");
	auto_free char *meta = xasprintf("%s/metadata", dir), *first = xasprintf("%s/initial_root.json", dir);
	auto_buf root = BUF_INIT(1 << 20);
	auto_fd trusted = fs_open_dir_make(AT_FDCWD, test_tmp(), e);
	struct real r = {.meta_fd = fs_open_dir(AT_FDCWD, meta, e), .damaged = damaged};
	struct clock_fake clock = clock_fake_at(0, time_of(dir) + after_ms);
	struct tuf_client_opts o = TUF_CLIENT_OPTS_INIT;
	auto_ptr(tuf_client) c = NULL;
	struct tuf_target t;
	CHECK(r.meta_fd >= 0 && fs_read(AT_FDCWD, first, &root, e) == 0);
	CHECK_MSG(tuf_client_init(trusted, buf_str(&root), e) == 0, "%s", e->msg);
	o.dir_fd = trusted, o.fetch = fetch, o.fetch_ctx = &r, o.clock = &clock.base;
	CHECK_MSG(tuf_client_open(&o, &c, e) == 0, "%s", e->msg);
	int rc = tuf_client_refresh(c, e);
	if (rc == 0)
		rc = tuf_client_target(c, STR("delegatedrole/artifact"), &t, e) == 1 ? 0 : -1;
	if (rc == 0) {
		auto_free char *file = xasprintf("%s/targets/%s", dir, t.url_path);
		auto_fd fd = open(file, O_RDONLY | O_CLOEXEC);
		CHECK_INT(fd >= 0, true);
		CHECK(str_eq(t.role, STR("delegatedrole")));
		CHECK_MSG(tuf_target_check_fd(&t, fd, e) == 0, "%s", e->msg);
		CHECK_INT(r.asked.n, 5);
		CHECK_STR(r.asked.v[0], "2.root.json");
		CHECK_STR(r.asked.v[1], "timestamp.json");
		CHECK_STR(r.asked.v[4], "2.delegatedrole.json");
	}
	vec_foreach(name, &r.asked)
		free(*name);
	vec_release(&r.asked);
	close(r.meta_fd);
	return rc;
}

TEST(a_real_repository_is_accepted_at_its_time)
{
	struct err e = ERR_INIT;
	CHECK_MSG(try(NULL, 0, &e) == 0, "%s", e.msg);
}

TEST(a_real_repository_is_refused_when_it_expired)
{
	struct err e = ERR_INIT;
	CHECK(try(NULL, (int64_t)20 * 366 * 86400 * 1000, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_MSG(strstr(e.msg, "expired at 2044"), "%s", e.msg);
}

TEST(a_real_repository_is_refused_with_another_byte)
{
	static const char *const names[] = {"timestamp.json", "2.snapshot.json", "1.targets.json",
					    "2.delegatedrole.json"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct err e = ERR_INIT;
		CHECK(try(names[i], 0, &e) < 0);
		CHECK_INT(e.code, ERR_VERIFY);
		CHECK_MSG(strstr(e.msg, names[i]), "%s", e.msg);
	}
}
