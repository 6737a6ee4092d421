// SPDX-License-Identifier: Apache-2.0
/* What jobs.db remembers, with workers of this process and a clock that is turned. */
#include "lib/test.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "job/rows.h"

static struct clock_fake now;

static struct job_queue *open_queue(void)
{
	static char dir[300];
	struct err e = ERR_INIT;
	struct job_queue *q;
	snprintf(dir, sizeof(dir), "%s/build", test_tmp());
	CHECK_MSG(job_queue_open(dir, NULL, 0, &q, &e) == 0, "%s", e.msg);
	if (!now.wall_ms)
		now = clock_fake_at(1000, 1746554886000);
	q->clock = &now.base;
	return q;
}

static uint64_t submit(struct job_queue *q, const char *client, const char *hint)
{
	static const char *const argv[] = {"true", NULL}, *const envp[] = {"A=b", NULL};
	struct err e = ERR_INIT;
	uint64_t id;
	struct job_spec s = {
		.pool = STR("P"), .client = str_c(client), .hint = str_c(hint), .argv = argv, .envp = envp, .dir = "/"};
	CHECK_MSG(job_submit(q, &s, &id, &e) == 0, "%s", e.msg);
	return id;
}

static struct queue_worker join(struct job_queue *q, const char *name, uint32_t capacity)
{
	struct err e = ERR_INIT;
	struct queue_worker w = {.pool = STR("P"),
				 .name = str_c(name),
				 .host = STR("h"),
				 .store = str_c(name),
				 .capacity = capacity,
				 .lock_fd = -1};
	CHECK_MSG(queue_join(q, &w, &e) == 0, "%s", e.msg);
	return w;
}

static char key[64][33];

/* 0: nothing now */
static uint64_t take(struct job_queue *q, const struct queue_worker *w, bool *ret_warm)
{
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	struct queue_taken t;
	int64_t again;
	int rc = queue_take(q, w, &a, &t, &again, &e);
	CHECK_MSG(rc >= 0, "%s", e.msg);
	if (rc == 0)
		return 0;
	if (ret_warm)
		*ret_warm = t.info.warm;
	CHECK_STR(t.cmd.argv[0], "true");
	CHECK_STR(t.cmd.envp[0], "A=b");
	memcpy(key[t.info.id], t.key, 33);
	return t.info.id;
}

static void end(struct job_queue *q, uint64_t id, int64_t after_ms, int code)
{
	struct err e = ERR_INIT;
	struct queue_end x = {.kind = QUEUE_EXIT, .code = code};
	now.wall_ms += after_ms;
	CHECK_MSG(queue_end(q, id, key[id], &x, &e) == 0, "%s", e.msg);
}

static struct job_info get(struct job_queue *q, uint64_t id)
{
	static struct arena a;
	struct err e = ERR_INIT;
	struct job_info j;
	CHECK_MSG(job_get(q, id, &a, &j, &e) == 0, "%s", e.msg);
	return j;
}

TEST(hints_are_remembered)
{
	auto_ptr(job_queue) q = open_queue();
	struct err e = ERR_INIT;
	bool warm = true;
	struct queue_worker w1 = join(q, "w1", 1);
	submit(q, "u", "a");
	end(q, take(q, &w1, &warm), 9000, 0);
	CHECK(!warm);
	CHECK_INT(queue_leave(q, &w1, &e), 0);
	job_queue_close(q);
	q = open_queue();
	/* w2 comes first, and would get it */
	struct queue_worker w2 = join(q, "w2", 1);
	w1 = join(q, "w1", 1);
	uint64_t id = submit(q, "u", "a");
	CHECK_INT(take(q, &w2, NULL), 0);
	CHECK_INT(take(q, &w1, &warm), id);
	CHECK(warm);
	end(q, id, 1000, 0);
	/* its cache was pruned */
	now.wall_ms += 1;
	CHECK_INT(job_hints_pruned(q, STR("w1"), now.wall_ms, &e), 0);
	id = submit(q, "u", "a");
	CHECK_INT(take(q, &w2, &warm), id);
	CHECK(!warm);
	CHECK_INT(get(q, id).estimate_ms, 9000); /* as measured */
}

TEST(a_pause_is_remembered)
{
	auto_ptr(job_queue) q = open_queue();
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct job_worker *v;
	size_t n;
	struct queue_flags f;
	struct queue_worker w = join(q, "w", 2);
	CHECK_INT(job_worker_change(q, STR(""), STR("w"), JOB_WORKER_PAUSE, &e), 0);
	CHECK_INT(job_worker_change(q, STR("P"), STR("w"), JOB_WORKER_DRAIN, &e), 0);
	CHECK(queue_flags(q, &w, &f, &e) == 0 && f.paused && f.draining);
	CHECK_INT(job_worker_change(q, STR("P"), STR("w"), JOB_WORKER_FORGET, &e), -1);
	CHECK_INT(e.code, ERR_BUSY);
	CHECK_INT(queue_leave(q, &w, &e), 0);
	CHECK(job_workers(q, STR(""), &a, &v, &n, &e) == 0 && n == 1);
	CHECK_INT(v[0].state, JOB_WORKER_GONE);
	w = join(q, "w", 2);
	CHECK(queue_flags(q, &w, &f, &e) == 0 && f.paused && !f.draining);
	CHECK_INT(job_worker_change(q, STR("P"), STR("w"), JOB_WORKER_RESUME, &e), 0);
	CHECK_INT(queue_leave(q, &w, &e), 0);
	w = join(q, "w", 2);
	CHECK(queue_flags(q, &w, &f, &e) == 0 && !f.paused);
	CHECK_INT(queue_leave(q, &w, &e), 0);
	e = ERR_INIT;
	CHECK_INT(job_worker_change(q, STR("P"), STR("w"), JOB_WORKER_FORGET, &e), 0);
	CHECK_INT(job_worker_change(q, STR("P"), STR("w"), JOB_WORKER_FORGET, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
}

TEST(what_a_job_waits_for)
{
	auto_ptr(job_queue) q = open_queue();
	struct err e = ERR_INIT;
	uint64_t one = submit(q, "u", ""), two = submit(q, "u", "");
	CHECK_INT(get(q, one).state, JOB_WAITING);
	CHECK_INT(get(q, one).wait, JOB_WAIT_NO_WORKER);
	CHECK_INT(get(q, two).state, JOB_QUEUED);
	CHECK_INT(get(q, two).before, 1);
	struct queue_worker w = join(q, "w", 1);
	CHECK_INT(take(q, &w, NULL), one);
	CHECK_INT(get(q, two).wait, JOB_WAIT_BUSY);
	CHECK_INT(job_worker_change(q, STR("P"), STR("w"), JOB_WORKER_PAUSE, &e), 0);
	CHECK_INT(get(q, two).wait, JOB_WAIT_PAUSED);
	end(q, one, 10, 3);
	CHECK_INT(get(q, one).state, JOB_FAILED);
	CHECK_INT(get(q, one).code, 3);
	struct job_info j = get(q, one);
	CHECK_INT(job_exit_code(&j), 3);
}

/* w1 has the cache of hint "a", which spares it 8 s of 10, and runs a job of it for 2 s; w2 is free, and leaves the next ones to w1. */
static void w1_is_busy(struct job_queue *q, const struct queue_worker *w1)
{
	submit(q, "u", "a");
	end(q, take(q, w1, NULL), 10000, 0);
	submit(q, "u", "a");
	end(q, take(q, w1, NULL), 2000, 0);
	submit(q, "u", "a");
	CHECK_INT(take(q, w1, NULL), 3);
}

TEST(one_that_was_left_to_a_worker_is_cancelled)
{
	auto_ptr(job_queue) q = open_queue();
	struct err e = ERR_INIT;
	enum job_state was;
	struct queue_worker w1 = join(q, "w1", 1);
	w1_is_busy(q, &w1);
	struct queue_worker w2 = join(q, "w2", 1);
	uint64_t one = submit(q, "u", "a"), two = submit(q, "u", "a");
	CHECK_INT(take(q, &w2, NULL), 0);
	CHECK_INT(job_cancel(q, one, STR("u"), &was, &e), 0);
	CHECK_INT(get(q, one).state, JOB_CANCELLED);
	CHECK_INT(take(q, &w2, NULL), 0); /* the other one is w1's still */
	CHECK_INT(get(q, two).before, 0);
	end(q, 3, 2000, 0);
	CHECK_INT(take(q, &w1, NULL), two);
	end(q, two, 2000, 0);
	CHECK_INT(take(q, &w1, NULL), 0);
}

TEST(what_was_left_to_a_worker_goes_elsewhere_when_it_pauses)
{
	auto_ptr(job_queue) q = open_queue();
	struct err e = ERR_INIT;
	struct queue_worker w1 = join(q, "w1", 1);
	w1_is_busy(q, &w1);
	struct queue_worker w2 = join(q, "w2", 1);
	uint64_t one = submit(q, "u", "a"), two = submit(q, "u", "a");
	CHECK_INT(take(q, &w2, NULL), 0);
	CHECK_INT(job_worker_change(q, STR("P"), STR("w1"), JOB_WORKER_PAUSE, &e), 0);
	CHECK_INT(take(q, &w2, NULL), one);
	/* with nobody left, the rest waits until one goes on */
	CHECK_INT(job_worker_change(q, STR("P"), STR("w2"), JOB_WORKER_PAUSE, &e), 0);
	end(q, one, 1000, 0);
	CHECK_INT(get(q, two).wait, JOB_WAIT_PAUSED);
	CHECK_INT(job_worker_change(q, STR("P"), STR("w2"), JOB_WORKER_RESUME, &e), 0);
	CHECK_INT(take(q, &w2, NULL), two);
}

TEST(what_is_given_back_keeps_its_place)
{
	auto_ptr(job_queue) q = open_queue();
	struct err e = ERR_INIT;
	struct queue_worker w = join(q, "w", 1);
	struct queue_end back = {.kind = QUEUE_GIVEN_BACK};
	uint64_t one = submit(q, "u", ""), two = submit(q, "u", "");
	CHECK_INT(take(q, &w, NULL), one);
	CHECK_INT(queue_end(q, one, key[one], &back, &e), 0);
	CHECK_INT(get(q, one).losses, 0);
	CHECK_INT(get(q, two).before, 1);
	CHECK_INT(take(q, &w, NULL), one);
}

TEST(a_run_ends_once)
{
	auto_ptr(job_queue) q = open_queue();
	struct err e = ERR_INIT;
	struct queue_worker w = join(q, "w", 1), v = join(q, "v", 1);
	uint64_t id = submit(q, "u", "");
	CHECK_INT(take(q, &w, NULL), id);
	char first[33];
	memcpy(first, key[id], 33);
	/* w is gone: its lock is free */
	close(w.lock_fd);
	w.lock_fd = -1;
	CHECK_INT(queue_settle(q, &e), 0);
	CHECK_INT(get(q, id).state, JOB_WAITING);
	CHECK_INT(get(q, id).losses, 1);
	CHECK_INT(take(q, &v, NULL), id);
	/* it comes back from wherever it was: that run is over */
	struct queue_end x = {.kind = QUEUE_EXIT, .code = 0};
	CHECK_INT(queue_end(q, id, first, &x, &e), 0);
	CHECK_INT(get(q, id).state, JOB_RUNNING);
	end(q, id, 10, 0);
	CHECK_INT(get(q, id).state, JOB_PASSED);
	end(q, id, 10, 1);
	CHECK_INT(get(q, id).state, JOB_PASSED);
}

TEST(an_end_that_was_written_down_is_no_loss)
{
	auto_ptr(job_queue) q = open_queue();
	struct err e = ERR_INIT;
	struct queue_worker w = join(q, "w", 1);
	struct queue_end x = {.kind = QUEUE_EXIT, .code = 4}, y;
	uint64_t id = submit(q, "u", "");
	CHECK_INT(take(q, &w, NULL), id);
	CHECK_INT(queue_end_write(q->dir_fd, id, &x, &e), 0);
	CHECK_INT(queue_end_read(q->dir_fd, id, &y, &e), 1);
	CHECK_INT(y.code, 4);
	cleanup_fd(&w.lock_fd);
	CHECK_INT(queue_settle(q, &e), 0);
	CHECK_INT(get(q, id).state, JOB_FAILED);
	CHECK_INT(get(q, id).code, 4);
	CHECK_INT(queue_end_read(q->dir_fd, id, &y, &e), 0);
}

TEST(old_jobs_go)
{
	auto_ptr(job_queue) q = open_queue();
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	struct job_info j;
	struct queue_worker w = join(q, "w", 1);
	uint64_t id = submit(q, "u", "");
	uint64_t waits = submit(q, "u", "");
	CHECK_INT(take(q, &w, NULL), id);
	end(q, id, 10, 0);
	now.wall_ms += (int64_t)(QUEUE_KEEP_DAYS - 1) * 24 * 3600 * 1000;
	submit(q, "u", "");
	CHECK_INT(get(q, id).state, JOB_PASSED);
	CHECK(fs_exists(q->dir_fd, "log/1"));
	now.wall_ms += (int64_t)2 * 24 * 3600 * 1000;
	submit(q, "u", "");
	CHECK_INT(job_get(q, id, &a, &j, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK(!fs_exists(q->dir_fd, "log/1"));
	CHECK_INT(get(q, waits).state, JOB_WAITING);
}

TEST(limits)
{
	auto_ptr(job_queue) q = open_queue();
	auto_buf big = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	uint64_t id;
	while (big.n <= JOB_HEADER_MAX)
		buf_put_c(&big, "0123456789abcdef");
	const char *const argv[] = {big.p, NULL}, *const none[] = {NULL};
	struct job_spec s = {.pool = STR("P"), .client = STR("u"), .argv = argv, .envp = none, .dir = "/"};
	CHECK_INT(job_submit(q, &s, &id, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	s.argv = none;
	s.header = buf_str(&big);
	CHECK_INT(job_submit(q, &s, &id, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	s.header = STR_NONE;
	s.hint = str_head(buf_str(&big), JOB_HINT_MAX + 1);
	CHECK_INT(job_submit(q, &s, &id, &e), -1);
	s.hint = STR("a\nb");
	CHECK_INT(job_submit(q, &s, &id, &e), -1);
	s.hint = STR_NONE;
	s.client = STR("../x");
	CHECK_INT(job_submit(q, &s, &id, &e), -1);
	s.client = STR("u");
	s.pool = STR("");
	CHECK_INT(job_submit(q, &s, &id, &e), -1);
	CHECK_INT(e.code, ERR_USAGE);
}

static int refuse(void *ctx, uint64_t id, const char *folder, struct job_spec *s, struct err *e)
{
	bool *called = ctx;
	struct stat st;
	(void)id;
	(void)s;
	*called = stat(folder, &st) == 0;
	return err_new(e, ERR_FAILED, "no");
}

TEST(what_cannot_be_prepared_is_no_job)
{
	auto_ptr(job_queue) q = open_queue();
	static const char *const none[] = {NULL};
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct job_info *v;
	size_t n;
	bool called = false;
	uint64_t id;
	struct job_spec s = {
		.pool = STR("P"), .client = STR("u"), .argv = none, .envp = none, .prepare = refuse, .ctx = &called};
	CHECK_INT(job_submit(q, &s, &id, &e), -1);
	CHECK(called);
	struct job_filter all = {.ended = true};
	e = ERR_INIT;
	CHECK(job_list(q, &all, &a, &v, &n, &e) == 0 && n == 0);
	CHECK(!fs_exists(q->dir_fd, "job/1"));
	CHECK(!fs_exists(q->dir_fd, "log/1"));
}

/* -- a scheduler of another kind ----------------------------------------------------------------------------------- */

static struct {
	unsigned submitted, cancelled;
	bool lost, uncertain, knows; /* what it says of a job */
	char key[64];		     /* of the latest one */
	void (*before_answer)(void); /* what another process does meanwhile, once */
} far;

static void meanwhile(void)
{
	void (*fn)(void) = far.before_answer;
	far.before_answer = NULL;
	if (fn)
		fn();
}

static int far_submit(const struct job_pool_config *pool, const struct job_info *job, const struct job_command *cmd,
		      struct arena *a, struct str *ret_remote, struct err *e)
{
	(void)pool, (void)job;
	*ret_remote = str_c(arena_printf(a, "%u", ++far.submitted));
	far.lost = false;
	snprintf(far.key, sizeof(far.key), "%s", cmd->key);
	meanwhile();
	return far.uncertain ? err_new(e, ERR_UNCERTAIN, "no answer") : 0;
}

static int far_find(const struct job_pool_config *pool, const struct job_info *job, const struct job_command *cmd,
		    struct arena *a, struct str *ret_remote, struct err *e)
{
	(void)pool, (void)job, (void)e;
	if (far.knows)
		*ret_remote = str_c(arena_printf(a, "%u", far.submitted));
	return far.knows && strcmp(cmd->key, far.key) == 0;
}

static int far_poll(const struct job_pool_config *pool, struct job_info *job, size_t n, struct arena *a, struct err *e)
{
	(void)pool, (void)a, (void)e;
	for (size_t i = 0; i < n; i++)
		job[i].state = far.lost ? JOB_LOST : JOB_RUNNING;
	meanwhile();
	return 0;
}

static int far_cancel(const struct job_pool_config *pool, const struct job_info *job, struct err *e)
{
	(void)pool, (void)e;
	CHECK_INT(job->remote.n, 1);
	far.cancelled++;
	return 0;
}

static const struct job_backend far_backend = {.name = "far",
					       .poll_ms = 1000,
					       .submit = far_submit,
					       .find = far_find,
					       .poll = far_poll,
					       .cancel = far_cancel};

static struct job_queue *open_far(void)
{
	static const struct job_pool_config pool = {.name = {"P", 1}, .backend = &far_backend};
	struct err e = ERR_INIT;
	struct job_queue *q;
	auto_free char *dir = xasprintf("%s/build", test_tmp());
	CHECK_MSG(job_queue_open(dir, &pool, 1, &q, &e) == 0, "%s", e.msg);
	return q;
}

static void list_jobs(void)
{
	auto_ptr(job_queue) q = open_far();
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct job_filter open = {0};
	struct job_info *v;
	size_t n;
	CHECK_MSG(job_list(q, &open, &a, &v, &n, &e) == 0, "%s", e.msg);
}

static void cancel_first(void)
{
	auto_ptr(job_queue) q = open_far();
	struct err e = ERR_INIT;
	enum job_state was;
	CHECK_MSG(job_cancel(q, 1, STR("u"), &was, &e) == 0, "%s", e.msg);
}

TEST(a_lost_job_is_handed_over_once_however_many_see_it)
{
	auto_ptr(job_queue) q = open_far();
	uint64_t id = submit(q, "u", "");
	far.lost = true;
	far.before_answer = list_jobs;
	list_jobs();
	CHECK_INT(far.submitted, 2);
	CHECK_INT(get(q, id).losses, 1);
	CHECK(str_eq(get(q, id).remote, STR("2")));
}

TEST(a_lost_job_that_is_cancelled_is_not_handed_over_again)
{
	auto_ptr(job_queue) q = open_far();
	uint64_t id = submit(q, "u", "");
	cancel_first();
	CHECK_INT(far.cancelled, 1);
	far.lost = true;
	list_jobs();
	CHECK_INT(far.submitted, 1);
	CHECK_INT(get(q, id).state, JOB_CANCELLED);
}

TEST(cancelled_while_it_is_handed_over)
{
	auto_ptr(job_queue) q = open_far();
	far.before_answer = cancel_first;
	uint64_t id = submit(q, "u", "");
	CHECK_INT(far.cancelled, 1); /* over there, by who handed it over */
	CHECK(get(q, id).cancelling);
	far.lost = true;
	list_jobs();
	CHECK_INT(get(q, id).state, JOB_CANCELLED);
	CHECK_INT(far.submitted, 1);
}

static void be_gone(void)
{
	_exit(0);
}

/* The submitter is killed when the backend has its job, or almost. */
static void submit_and_be_gone(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		auto_ptr(job_queue) q = open_far();
		far.before_answer = be_gone;
		submit(q, "u", "");
	}
	CHECK_INT(waitpid(pid, NULL, 0), pid);
}

/* What the submitter, another process, gave to the backend, which this one plays on. */
static void backend_remembers(struct job_queue *q, bool has_it)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct job_command cmd;
	CHECK(queue_read_command(q, 1, &a, &cmd, &e) == 0 && strlen(cmd.key) == QUEUE_KEY_SIZE - 1);
	snprintf(far.key, sizeof(far.key), "%s", cmd.key);
	far.submitted = 1;
	far.knows = has_it;
}

TEST(a_job_whose_submitter_was_killed_is_found_by_its_key)
{
	auto_ptr(job_queue) q = open_far();
	submit_and_be_gone();
	CHECK_INT(get(q, 1).state, JOB_QUEUED);
	backend_remembers(q, true);
	list_jobs();
	CHECK_INT(far.submitted, 1);
	CHECK(str_eq(get(q, 1).remote, STR("1")));
}

TEST(what_the_backend_never_got_is_handed_over_anew)
{
	auto_ptr(job_queue) q = open_far();
	submit_and_be_gone();
	backend_remembers(q, false);
	char late[64], path[300], to[8];
	memcpy(late, far.key, sizeof(late));
	list_jobs();
	CHECK_INT(far.submitted, 2);
	CHECK(str_eq(get(q, 1).remote, STR("2")));
	CHECK(strcmp(late, far.key) != 0);
	/* should the first one come after all, it finds its claim made */
	snprintf(path, sizeof(path), "%s/build/job/1.claim/%s", test_tmp(), late);
	CHECK_INT(readlink(path, to, sizeof(to)), 1);
	list_jobs();
	CHECK_INT(far.submitted, 2);
}

TEST(what_runs_already_is_found_by_its_claim)
{
	auto_ptr(job_queue) q = open_far();
	submit_and_be_gone();
	backend_remembers(q, false);
	char path[300];
	snprintf(path, sizeof(path), "%s/build/job/1.claim/%s", test_tmp(), far.key);
	CHECK_INT(symlink("17", path), 0);
	list_jobs();
	CHECK_INT(far.submitted, 1);
	CHECK(str_eq(get(q, 1).remote, STR("17")));
}

TEST(a_job_whose_submitter_was_killed_can_be_cancelled)
{
	auto_ptr(job_queue) q = open_far();
	submit_and_be_gone();
	backend_remembers(q, false);
	cancel_first();
	CHECK_INT(get(q, 1).state, JOB_CANCELLED);
	CHECK_INT(far.submitted, 1);
	CHECK(!fs_exists(q->dir_fd, "job/1.claim"));
}

TEST(a_job_whose_submitter_was_killed_can_be_cancelled_over_there)
{
	auto_ptr(job_queue) q = open_far();
	submit_and_be_gone();
	backend_remembers(q, true);
	cancel_first();
	CHECK_INT(far.cancelled, 1);
	CHECK(get(q, 1).cancelling);
}

TEST(a_backend_that_does_not_answer_is_asked_again)
{
	auto_ptr(job_queue) q = open_far();
	far.uncertain = true;
	uint64_t id = submit(q, "u", "");
	CHECK(str_eq(get(q, id).remote, STR("")));
	far.uncertain = false;
	far.knows = true;
	list_jobs();
	CHECK_INT(far.submitted, 1);
	CHECK(str_eq(get(q, id).remote, STR("1")));
}

/* From here on no row can be written. */
static void lock_database(void)
{
	struct err e = ERR_INIT;
	auto_ptr(job_queue) q = open_far();
	CHECK_MSG(sql_run(q->db, &e,
			  "CREATE TRIGGER t BEFORE UPDATE OF remote ON job BEGIN SELECT RAISE(FAIL, 'full'); END",
			  "") == 0,
		  "%s", e.msg);
}

TEST(a_number_that_cannot_be_written_down_is_found_again)
{
	auto_ptr(job_queue) q = open_far();
	struct err e = ERR_INIT;
	far.before_answer = lock_database;
	uint64_t id = submit(q, "u", "");
	CHECK(str_eq(get(q, id).remote, STR("")));
	CHECK_INT(far.cancelled, 0);
	CHECK_INT(sql_run(q->db, &e, "DROP TRIGGER t", ""), 0);
	far.knows = true;
	list_jobs();
	CHECK_INT(far.submitted, 1);
	CHECK(str_eq(get(q, id).remote, STR("1")));
}
