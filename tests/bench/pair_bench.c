// SPDX-License-Identifier: Apache-2.0
/*
 * Archives from one member's store to the other's, over TLS on the loopback interface: one large, and many small ones.
 *
 *	build/tests/pair_bench [large | small]
 *
 * A test of the harness, so that it has two members; it prints MB/s and the processor time of both sides.
 */
#include "lib/test.h"
#include "lib/pairs.h"

#include <sys/resource.h>
#include <time.h>

#include "pair/copy.h"
#include "pair/session.h"

enum { LARGE_BYTES = 512 << 20, SMALL = 2000, SMALL_BYTES = 40000 };

static struct err e;

#define OK(call) CHECK_MSG((e = ERR_INIT, (call) == 0), "%s", e.msg)

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double used_s(int who)
{
	struct rusage u;
	getrusage(who, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void put_blob(struct store *s, const char *bytes, size_t n, uint8_t sha[SHA256_SIZE])
{
	uint64_t have;
	auto_fd fd = -1;
	sha256(bytes, n, sha);
	OK(store_partial_open(s, sha, &fd, &have, &e));
	OK(fs_write_all(fd, bytes, n, "blob", &e));
	OK(store_partial_commit(s, sha, fd, &e));
}

static struct env_spec_file make_lock(struct store *s, struct arena *a, uint32_t n, size_t size)
{
	struct env_lock_package *p = arena_array(a, struct env_lock_package, n);
	uint64_t *bytes = xcalloc(size / 8, 8);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t x = i + 88172645463325252;
		for (size_t k = 0; k < size / 8; k++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			bytes[k] = x;
		}
		put_blob(s, (const char *)bytes, size / 8 * 8, p[i].record.sha256);
		p[i].record.has_sha256 = true;
		p[i].record.fn = STR("archive");
	}
	free(bytes);
	return (struct env_spec_file){.packages = p, .packages_n = n, .is_lock = true};
}

static void serve(struct pairs *p)
{
	auto_ptr(env_state) st = NULL;
	auto_ptr(link) l = NULL;
	const struct pair_opts o = {.local = {.root_fd = p->root_fd[2], .root_path = p->root[2]}};
	int fd = accept4(p->listen_fd[2], NULL, NULL, SOCK_CLOEXEC);
	CHECK(fd >= 0);
	OK(env_state_open(p->root_fd[2], p->root[2], 0, &st, &e));
	struct pair_opts mine = o;
	mine.local.state = st;
	OK(link_accept(p->root_fd[2], &p->pair[2], fd, 5000, &l, &e));
	OK(session_run(l, &mine, &e));
}

static void measure(const char *name, uint32_t n, size_t size)
{
	auto_arena a = ARENA_INIT;
	auto_pairs p = {0};
	auto_ptr(store) s = NULL;
	struct link *l = NULL;
	struct copy_report report;
	struct wire_message m;
	pairs_open(&p);
	OK(store_open(p.root_fd[1], 0, &s, &e));
	struct env_spec_file lock = make_lock(s, &a, n, size);
	pid_t child = fork();
	if (child == 0) {
		serve(&p);
		_exit(0);
	}
	OK(link_connect(p.root_fd[1], &p.pair[1], 5000, &l, &e));
	OK(link_call(l, STR("{\"ask\":\"hold\",\"env\":\"web\",\"wait_ms\":0}"), STR_NONE, 5000, NULL, NULL, &a, &m,
		     &e));
	double before = used_s(RUSAGE_SELF), began = now_s();
	OK(copy_send(l, &lock, s, NULL, NULL, &report, &e));
	double took = now_s() - began, here = used_s(RUSAGE_SELF) - before;
	link_free(l);
	CHECK(waitpid(child, NULL, 0) == child);
	double mb = (double)report.bytes / 1e6;
	printf("# %s: %u archives, %.0f MB in %.3f s: %.0f MB/s; processor: sending %.3f s, taking %.3f s\n", name,
	       report.archives, mb, took, mb / took, here, used_s(RUSAGE_CHILDREN));
	fflush(stdout);
	CHECK_INT(report.archives, n);
}

TEST(large)
{
	measure("one large archive", 1, LARGE_BYTES);
}

TEST(small)
{
	measure("many small archives", SMALL, SMALL_BYTES);
}
