// SPDX-License-Identifier: Apache-2.0
#include "job/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/sys.h"
#include "base/vec.h"

enum { CHUNK = 64 * 1024, CANNOT_RUN = 127, END_TRIES = 3, REAP_TRIES = 200, SPACE_LEFT = 2 << 20 };

extern char **environ;

struct run {
	struct job_queue *q;
	const struct queue_taken *t;
	const struct runner_opts *o;
	int control, report, log, out, signals;
	pid_t pid;
	int64_t logged, dropped;
	int lost_errno; /* of the first write to the log that failed */
	bool reaped, killed;
	int status;
	int64_t time_at, kill_at; /* monotonic; 0: never */
	struct queue_end end;	  /* why it is being ended; QUEUE_EXIT: it is not */
	bool orphaned;
};

/* -- the command ---------------------------------------------------------------------------------------------------- */

static bool is_name_of(const char *entry, const char *with)
{
	const char *eq = strchr(with, '=');
	size_t n = eq ? (size_t)(eq - with) + 1 : strlen(with);
	return strncmp(entry, with, n) == 0;
}

static void set_in(char ***v, size_t *n, char *entry)
{
	for (size_t i = 0; i < *n; i++)
		if (is_name_of((*v)[i], entry)) {
			(*v)[i] = entry;
			return;
		}
	(*v)[(*n)++] = entry;
}

/* What the job was submitted with, its number and key, and what the worker puts in its place. */
static char **environment(const struct run *r)
{
	size_t n = 0, more = 0;
	while (r->t->cmd.envp[n])
		n++;
	while (r->o->setenv && r->o->setenv[more])
		more++;
	char **v = xcalloc(n + more + 3, sizeof(*v));
	memcpy(v, r->t->cmd.envp, n * sizeof(*v));
	for (size_t i = 0; i < more; i++)
		set_in(&v, &n, xstrdup(r->o->setenv[i]));
	set_in(&v, &n, xasprintf("SLIPWAY_JOB=%llu", (unsigned long long)r->t->info.id));
	set_in(&v, &n, xasprintf("SLIPWAY_JOB_KEY=%s", r->t->key));
	return v;
}

_Noreturn static void be_command(const struct run *r, pid_t runner, int out)
{
	sigset_t none;
	int null = open("/dev/null", O_RDONLY);
	sigemptyset(&none);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL); /* style: allow process: in the child, before it becomes another program */
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != runner) /* it is dead already */
		_exit(CANNOT_RUN);
	dup2(null, 0);
	dup2(out, 1);
	dup2(out, 2);
	(void)close_range(3, ~0U, 0);
	char *const *argv = (char *const *)r->t->cmd.argv;
	environ = environment(r);
	if (!argv[0])
		errno = EINVAL;
	else if (chdir(r->t->cmd.dir) < 0)
		dprintf(1, "slipway: folder '%s': %s\n", r->t->cmd.dir, strerror(errno));
	else
		execvp(argv[0], argv);
	dprintf(1, "slipway: run '%s': %s\n", argv[0] ? argv[0] : "", strerror(errno));
	_exit(CANNOT_RUN);
}

static int start_command(struct run *r)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	pid_t self = getpid();
	r->pid = fork();
	if (r->pid == 0)
		be_command(r, self, p[1]);
	close(p[1]);
	r->out = p[0];
	(void)fcntl(r->out, F_SETFL, O_NONBLOCK);
	return r->pid < 0 ? -1 : 0;
}

/* -- its output ------------------------------------------------------------------------------------------------------ */

/* A log that cannot be written stops no job: what is missing is told at its end. */
static void log_bytes(struct run *r, const char *p, size_t n)
{
	int64_t max = r->o->log_max_bytes > 0 ? r->o->log_max_bytes : RUNNER_LOG_MAX;
	size_t room = r->logged < max ? (size_t)(max - r->logged) : 0;
	size_t take = n < room ? n : room;
	size_t done = 0;
	struct err full = ERR_INIT;
	/* the queue needs some room to write down how it ended */
	if (fs_check_space(r->log, SPACE_LEFT + n, &full) < 0) {
		r->lost_errno = full.sys;
		take = 0;
	}
	while (done < take) {
		ssize_t k = sys_write(r->log, p + done, take - done);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			r->lost_errno = errno;
			break;
		}
		done += (size_t)k;
	}
	r->logged += (int64_t)done;
	r->dropped += (int64_t)(n - done);
}

/* True at the end of it. */
static bool copy_output(struct run *r)
{
	static char chunk[CHUNK];
	for (int i = 0; i < 16; i++) {
		ssize_t n = read(r->out, chunk, sizeof(chunk));
		if (n < 0)
			return errno != EAGAIN && errno != EINTR;
		if (n == 0)
			return true;
		log_bytes(r, chunk, (size_t)n);
	}
	return false;
}

/* All who could write to it are dead. */
static void drain(struct run *r)
{
	do
		errno = 0;
	while (!copy_output(r) && errno != EAGAIN);
}

static void tell_dropped(struct run *r)
{
	char text[200];
	if (!r->dropped)
		return;
	int n = snprintf(text, sizeof(text), "\n[%lld bytes are missing here: %s]\n", (long long)r->dropped,
			 r->lost_errno ? strerror(r->lost_errno) : "the log is full");
	if (sys_write(r->log, text, (size_t)n) < 0)
		return;
}

/* -- ending it -------------------------------------------------------------------------------------------------------- */

static void begin_end(struct run *r, enum queue_end_kind kind, int code, int64_t grace_ms)
{
	if (r->kill_at)
		return;
	r->end = (struct queue_end){.kind = kind, .code = code};
	r->kill_at = clock_mono_ms() + grace_ms;
	if (!r->reaped)
		(void)kill(-r->pid, SIGTERM);
	if (!r->reaped)
		(void)kill(r->pid, SIGTERM);
}

/* Every descendant without a parent of its own becomes a child of this process. False where none is left. */
static bool kill_children(void)
{
	struct err ignored = ERR_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	struct str s, word;
	bool any = false;
	if (fs_read(AT_FDCWD, "/proc/thread-self/children", &b, &ignored) < 0)
		return false;
	s = buf_str(&b);
	while (str_take_word(&s, &word)) {
		uint64_t pid;
		if (str_to_u64(word, &pid) && pid > 1) {
			(void)kill((pid_t)pid, SIGKILL);
			any = true;
		}
	}
	return any;
}

/* The command's number is its process group's, too: what is left of that is killed while nobody else can have the number. */
static void reap(struct run *r)
{
	siginfo_t ended = {0};
	int status;
	while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid > 0) {
		bool is_command = ended.si_pid == r->pid;
		if (is_command)
			(void)kill(-r->pid, SIGKILL);
		if (waitpid(ended.si_pid, &status, 0) > 0 && is_command) {
			r->reaped = true;
			r->status = status;
		}
		ended.si_pid = 0;
	}
}

/* Nothing of the job is to be there when this process goes. */
static void end_all(struct run *r)
{
	for (int i = 0; i < REAP_TRIES; i++) {
		if (!r->reaped)
			(void)kill(-r->pid, SIGKILL);
		reap(r);
		if (!kill_children() && r->reaped)
			return;
		struct pollfd p = {.fd = r->signals, .events = POLLIN};
		struct signalfd_siginfo info;
		(void)poll(&p, 1, 20);
		while (read(r->signals, &info, sizeof(info)) > 0)
			continue;
	}
}

static void read_control(struct run *r)
{
	char word;
	ssize_t n = read(r->control, &word, 1);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		r->orphaned = true;
		close(r->control);
		r->control = -1;
		begin_end(r, QUEUE_GIVEN_BACK, 0, RUNNER_ORPHAN_GRACE_MS);
	} else if (n == 1) {
		begin_end(r, word == RUNNER_CANCEL ? QUEUE_CANCELLED : QUEUE_GIVEN_BACK, 0, r->t->cmd.grace_ms);
	}
}

static int wait_ms(const struct run *r)
{
	int64_t at = r->kill_at ? r->kill_at : r->time_at;
	int64_t left = at ? at - clock_mono_ms() : 60000;
	return left < 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

static void look_at_clock(struct run *r)
{
	int64_t now = clock_mono_ms();
	if (r->time_at && now >= r->time_at)
		begin_end(r, QUEUE_TIME, (int)(r->t->cmd.time_ms / 1000), r->t->cmd.grace_ms);
	if (r->kill_at && now >= r->kill_at && !r->killed && !r->reaped) {
		r->killed = true;
		(void)kill(-r->pid, SIGKILL);
		(void)kill(r->pid, SIGKILL);
	}
}

static void watch(struct run *r)
{
	bool eof = false;
	while (!r->reaped) {
		struct pollfd p[3] = {{.fd = r->control, .events = POLLIN},
				      {.fd = r->signals, .events = POLLIN},
				      {.fd = eof ? -1 : r->out, .events = POLLIN}};
		struct signalfd_siginfo info;
		if (poll(p, 3, wait_ms(r)) < 0 && errno != EINTR)
			break;
		if (p[0].revents)
			read_control(r);
		if (p[2].revents)
			eof = copy_output(r);
		while (read(r->signals, &info, sizeof(info)) > 0)
			continue;
		reap(r);
		look_at_clock(r);
	}
}

/* -- the process ------------------------------------------------------------------------------------------------------ */

static void set_end(struct run *r)
{
	if (r->end.kind != QUEUE_EXIT)
		return; /* it was told to end, and did: whatever it said then */
	if (WIFSIGNALED(r->status))
		r->end = (struct queue_end){.kind = QUEUE_SIGNAL, .code = WTERMSIG(r->status)};
	else
		r->end = (struct queue_end){.kind = QUEUE_EXIT, .code = WEXITSTATUS(r->status)};
}

/* A worker that is gone finds no report: the file is for whoever settles it. One that lives hears it twice. */
static void report(struct run *r)
{
	struct err e = ERR_INIT;
	for (int i = 0; i < END_TRIES && !r->orphaned; i++) {
		if (queue_end_write(r->q->dir_fd, r->t->info.id, &r->end, &e) == 0)
			break;
		struct timespec t = {.tv_nsec = 200000000};
		nanosleep(&t, NULL); /* style: allow process: a full disk tells nobody when there is room again */
	}
	if (write(r->report, &r->end, sizeof(r->end)) < 0)
		return;
}

static int cmp_fd(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Above all the lock of the worker, which is to be free when the worker is dead. */
static void keep_only(int *fds, size_t n)
{
	int next = 3;
	qsort(fds, n, sizeof(*fds), cmp_fd);
	for (size_t i = 0; i < n; i++) {
		if (fds[i] > next)
			(void)close_range((unsigned)next, (unsigned)fds[i] - 1, 0);
		if (fds[i] >= next)
			next = fds[i] + 1;
	}
	(void)close_range((unsigned)next, ~0U, 0);
}

static void prepare_process(struct run *r)
{
	int fds[] = {r->q->dir_fd, r->control, r->report, r->log};
	sigset_t all, child;
	keep_only(fds, sizeof(fds) / sizeof(*fds));
	setsid(); /* what a terminal sends to the worker is the worker's business */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "slipway-job");
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGABRT);
	sigdelset(&all, SIGBUS);
	sigprocmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	r->signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	(void)fcntl(r->control, F_SETFL, O_NONBLOCK);
}

_Noreturn static void be_runner(struct run *r)
{
	prepare_process(r);
	if (r->t->cmd.time_ms > 0)
		r->time_at = clock_mono_ms() + r->t->cmd.time_ms;
	if (r->signals < 0 || start_command(r) < 0) {
		r->end = (struct queue_end){.kind = QUEUE_BROKEN};
		snprintf(r->end.why, sizeof(r->end.why), "cannot start a process: %s", strerror(errno));
		report(r);
		_exit(0);
	}
	watch(r);
	end_all(r);
	drain(r);
	tell_dropped(r);
	set_end(r);
	report(r);
	queue_tell(r->q);
	_exit(0); /* the lock of the log goes with it */
}

/* The log, locked: by whoever starts the runner, and then by the runner alone. */
static int open_log(struct job_queue *q, uint64_t id, struct err *e)
{
	auto_fd fd = queue_log_open(q, id, e);
	if (fd < 0)
		return -1;
	int rc = queue_lock(fd, e);
	if (rc == 0)
		return err_new(e, ERR_BUSY, "job %llu still runs", (unsigned long long)id);
	return rc < 0 ? -1 : steal_fd(&fd);
}

int runner_start(struct job_queue *q, const struct queue_taken *t, const struct runner_opts *o, struct runner *ret,
		 struct err *e)
{
	int control[2], result[2];
	auto_fd log = open_log(q, t->info.id, e);
	if (log < 0)
		return -1;
	if (pipe2(control, O_CLOEXEC) < 0)
		return err_sys(e, "make a pipe");
	auto_fd control_r = control[0], control_w = control[1];
	if (pipe2(result, O_CLOEXEC) < 0)
		return err_sys(e, "make a pipe");
	auto_fd result_r = result[0], result_w = result[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, "start a process");
	if (pid == 0) {
		struct run r = {
			.q = q, .t = t, .o = o, .control = control_r, .report = result_w, .log = log, .out = -1};
		be_runner(&r);
	}
	*ret = (struct runner){
		.id = t->info.id, .pid = pid, .control_fd = steal_fd(&control_w), .report_fd = steal_fd(&result_r)};
	return 0;
}

void runner_tell(struct runner *r, enum runner_word word)
{
	char c = (char)word;
	r->told = true;
	if (write(r->control_fd, &c, 1) < 0)
		return; /* it has ended */
}

void runner_kill(struct runner *r)
{
	(void)kill(r->pid, SIGKILL);
	while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	cleanup_fd(&r->control_fd);
	cleanup_fd(&r->report_fd);
}

struct queue_end runner_result(struct runner *r)
{
	struct queue_end end;
	if (read(r->report_fd, &end, sizeof(end)) != (ssize_t)sizeof(end))
		end = (struct queue_end){.kind = QUEUE_LOST,
					 .why = "the process that ran it was killed, the second time"};
	end.why[sizeof(end.why) - 1] = '\0';
	cleanup_fd(&r->control_fd);
	cleanup_fd(&r->report_fd);
	return end;
}
