// SPDX-License-Identifier: Apache-2.0
#include "job/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <time.h>

#include "base/fs.h"

enum { PROCESSES_MAX = 10000000, KILL_TRIES = 200 };

struct job_info row_read(const struct job_queue *q, sql_query *query, struct arena *a)
{
	int64_t state = sql_int(query, 6);
	return (struct job_info){
		.id = (uint64_t)sql_int(query, 0),
		.pool = sql_str(query, 1, a),
		.client = sql_str(query, 2, a),
		.hint = sql_str(query, 3, a),
		.title = sql_str(query, 4, a),
		.dir = sql_str(query, 5, a),
		.state = state == ROW_PREPARING ? JOB_QUEUED : (enum job_state)state,
		.urgent = sql_int(query, 7),
		.cancelling = sql_int(query, 8),
		.warm = sql_int(query, 9),
		.worker = sql_str(query, 10, a),
		.host = sql_str(query, 11, a),
		.code = (int)sql_int(query, 12),
		.signal = (int)sql_int(query, 13),
		.losses = (uint32_t)sql_int(query, 14),
		.why = sql_str(query, 15, a),
		.remote = sql_str(query, 16, a),
		.log = str_c(arena_printf(a, "%s/log/%lld", q->dir, (long long)sql_int(query, 0))),
		.submitted_ms = sql_int(query, 17),
		.started_ms = sql_int(query, 18),
		.ended_ms = sql_int(query, 19),
		.estimate_ms = sql_int(query, 20),
	};
}

const char *const *words_read(struct str packed, struct arena *a)
{
	VEC(const char *) v = {0};
	struct str word;
	while (str_take_until(&packed, '\0', &word))
		vec_push(&v, arena_strdup(a, word));
	vec_push(&v, NULL);
	const char *const *ret = vec_copy(&v, a);
	vec_release(&v);
	return ret;
}

int ids_read(sql_query *query, struct arena *a, uint64_t **ret, size_t *ret_n, struct err *e)
{
	VEC(uint64_t) v = {0};
	int rc;
	while ((rc = sql_step(query, e)) > 0)
		vec_push(&v, (uint64_t)sql_int(query, 0));
	*ret = vec_copy(&v, a);
	*ret_n = v.n;
	vec_release(&v);
	return rc;
}

int words_pack(struct buf *b, const char *const *words, const char *what, struct err *e)
{
	for (size_t i = 0; words && words[i]; i++)
		buf_put(b, words[i], strlen(words[i]) + 1);
	return b->overflow ? err_new(e, ERR_LIMIT, "%s is longer than %d bytes", what, JOB_COMMAND_MAX) : 0;
}

void end_put_why(struct buf *b, const struct job_info *j)
{
	if (j->why.n)
		buf_put_str(b, j->why);
	else if (j->signal > 0)
		buf_printf(b, "killed by signal %d", j->signal);
	else
		buf_printf(b, "exit code %d", j->code);
}

/* -- job/N.end ------------------------------------------------------------------------------------------------------ */

static const char *const end_names[] = {
	[QUEUE_EXIT] = "exit", [QUEUE_SIGNAL] = "signal", [QUEUE_CANCELLED] = "cancelled",
	[QUEUE_TIME] = "time", [QUEUE_BROKEN] = "broken", [QUEUE_GIVEN_BACK] = "given-back",
	[QUEUE_LOST] = "lost",
};

static void end_path(char out[40], uint64_t id)
{
	snprintf(out, 40, "job/%llu.end", (unsigned long long)id);
}

int queue_end_write(int dir_fd, uint64_t id, const struct queue_end *end, struct err *e)
{
	char path[40];
	auto_buf b = BUF_INIT(1000);
	end_path(path, id);
	buf_printf(&b, "%s %d %s\n", end_names[end->kind], end->code, end->why);
	return fs_replace(dir_fd, path, b.p, b.n, 0, e);
}

int queue_end_read(int dir_fd, uint64_t id, struct queue_end *ret, struct err *e)
{
	char path[40];
	auto_buf b = BUF_INIT(1000);
	struct str rest, kind, code;
	int64_t number;
	struct err why = ERR_INIT;
	end_path(path, id);
	if (fs_read(dir_fd, path, &b, &why) < 0) {
		if (why.code == ERR_NOT_FOUND)
			return 0;
		*e = why;
		return -1;
	}
	rest = buf_str(&b);
	if (!str_take_until(&rest, ' ', &kind) || !str_take_until(&rest, ' ', &code) || !str_to_i64(code, &number))
		return 0;
	for (size_t i = 0; i < sizeof(end_names) / sizeof(*end_names); i++) {
		if (!str_eq_c(kind, end_names[i]))
			continue;
		*ret = (struct queue_end){.kind = (enum queue_end_kind)i, .code = (int)number};
		rest = str_trim(rest);
		memcpy(ret->why, rest.p, rest.n < sizeof(ret->why) ? rest.n : sizeof(ret->why) - 1);
		return 1;
	}
	return 0;
}

void queue_forget_folder(struct job_queue *q, uint64_t id, bool ended)
{
	char path[40];
	struct err ignored = ERR_INIT;
	end_path(path, id);
	(void)fs_replace_clean(q->dir_fd, path, &ignored);
	(void)fs_remove_tree(q->dir_fd, path, &ignored);
	if (!ended)
		return;
	snprintf(path, sizeof(path), "job/%llu", (unsigned long long)id);
	(void)fs_remove_tree(q->dir_fd, path, &ignored);
	snprintf(path, sizeof(path), "job/%llu.claim", (unsigned long long)id);
	(void)fs_remove_tree(q->dir_fd, path, &ignored);
}

/* -- what a dead runner left ------------------------------------------------------------------------------------------ */

static bool has_key(const char *pid, struct str key)
{
	char path[300];
	struct err ignored = ERR_INIT;
	auto_buf b = BUF_INIT(4 << 20);
	snprintf(path, sizeof(path), "/proc/%s/environ", pid);
	return fs_read(AT_FDCWD, path, &b, &ignored) == 0 && str_search(buf_str(&b), key) >= 0;
}

int kill_hold(pid_t pid)
{
	int fd = pidfd_open(pid, 0);
	return fd < 0 && (errno == ENOSYS || errno == EPERM) ? KILL_BY_NUMBER : fd;
}

void kill_held(int held, pid_t pid)
{
	if (held >= 0)
		(void)pidfd_send_signal(held, SIGKILL, NULL, 0);
	else if (held == KILL_BY_NUMBER)
		(void)kill(pid, SIGKILL);
}

static bool kill_once(const char *word)
{
	struct err ignored = ERR_INIT;
	auto_fs_list list = {0};
	bool any = false;
	if (fs_list(AT_FDCWD, "/proc", PROCESSES_MAX, &list, &ignored) < 0)
		return false;
	for (size_t i = 0; i < list.n; i++) {
		uint64_t pid;
		if (!str_to_u64(str_c(list.name[i]), &pid) || pid <= 1 || pid == (uint64_t)getpid())
			continue;
		auto_fd held = kill_hold((pid_t)pid);
		if (!has_key(list.name[i], str_c(word)))
			continue;
		any = true;
		kill_held(held, (pid_t)pid);
	}
	return any;
}

void kill_by_key(const char *key)
{
	auto_free char *word = xasprintf("SLIPWAY_JOB_KEY=%s", key);
	for (int i = 0; *key && i < KILL_TRIES && kill_once(word); i++) {
		struct timespec t = {.tv_nsec = 10000000};
		nanosleep(&t, NULL); /* style: allow process: no child of this one: nothing tells when it is gone */
	}
}
