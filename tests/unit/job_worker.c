// SPDX-License-Identifier: Apache-2.0
/* A worker of this process, where the kernel gives it less than it asks for. */
#include "lib/test.h"

#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "job/queue.h"

static unsigned refusals; /* so many more calls fail */

/* In place of the library's. */
int pidfd_open(pid_t pid, unsigned flags)
{
	if (refusals == 0)
		return (int)syscall(SYS_pidfd_open, pid, flags);
	refusals--;
	errno = EMFILE;
	return -1;
}

static struct job_queue *open_queue(void)
{
	struct err e = ERR_INIT;
	struct job_queue *q;
	auto_free char *dir = xasprintf("%s/build", test_tmp());
	CHECK_MSG(job_queue_open(dir, NULL, 0, &q, &e) == 0, "%s", e.msg);
	return q;
}

/* Its pid in a file, and more, if it is there for long enough. */
static uint64_t submit(struct job_queue *q)
{
	static const char *const argv[] = {"sh", "-c", "echo $$ >>pids; sleep 1; echo done >>pids", NULL};
	static const char *const envp[] = {"PATH=/usr/bin:/bin", NULL};
	struct err e = ERR_INIT;
	uint64_t id;
	struct job_spec s = {.pool = STR("P"), .client = STR("u"), .argv = argv, .envp = envp, .dir = test_tmp()};
	CHECK_MSG(job_submit(q, &s, &id, &e) == 0, "%s", e.msg);
	return id;
}

static struct job_info get(struct job_queue *q, uint64_t id)
{
	static struct arena a;
	struct err e = ERR_INIT;
	struct job_info j;
	CHECK_MSG(job_get(q, id, &a, &j, &e) == 0, "%s", e.msg);
	return j;
}

/* Drains the worker when two runs have ended. */
static void say(void *ctx, const char *line)
{
	static unsigned ended;
	(void)ctx;
	if (strstr(line, "has ended") && ++ended == 2)
		raise(SIGTERM);
}

static void work(struct job_queue *q)
{
	struct err e = ERR_INIT;
	struct job_worker_opts o = {
		.pool = STR("P"), .name = STR("w"), .host = STR("h"), .store = STR("s"), .capacity = 1, .say = say};
	CHECK_MSG(job_worker_run(q, &o, &e) == 0, "%s", e.msg);
}

TEST(a_runner_that_cannot_be_watched_is_ended)
{
	auto_ptr(job_queue) q = open_queue();
	auto_buf b = BUF_INIT(1000);
	auto_free char *path = xasprintf("%s/pids", test_tmp());
	struct err e = ERR_INIT;
	uint64_t id = submit(q);
	alarm(20);
	refusals = 1;
	work(q); /* the first end of it is a loss: it is queued again */
	CHECK_INT(get(q, id).losses, 1);
	CHECK_INT(get(q, id).state, JOB_PASSED);
	CHECK_INT(fs_read(AT_FDCWD, path, &b, &e), 0);
	CHECK_MSG(str_ends(buf_str(&b), STR("\ndone\n")) && str_search(buf_str(&b), STR("done")) == (ptrdiff_t)b.n - 5,
		  "%s", b.p);
}
