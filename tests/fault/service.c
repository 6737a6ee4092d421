// SPDX-License-Identifier: Apache-2.0
/*
 * One turn of a service's life a run, for the sweep in service.sh:
 *
 *	fault_service ROOT PORT WEBD cycle     start generation 1, hand over to 2, restart by rule, stop
 *	fault_service ROOT PORT WEBD start     start generation 1 and leave it running
 *	fault_service ROOT PORT WEBD over      adopt, hand over to generation 2 and leave it running
 *	fault_service ROOT PORT WEBD settle    adopt what there is, see that what runs answers, stop it all; nothing is left
 *	fault_service ROOT PORT WEBD runs      the address answers
 *
 * Exits 0, or 1 with a message.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "service/service.h"

static struct arena arena;
static struct loop *loop;
static struct supervisor *sup;
static const char *root, *webd;
static unsigned port;

struct result {
	bool done, failed;
	struct err err;
};

static void on_done(void *ctx, const struct err *failure)
{
	struct result *r = ctx;
	r->done = true;
	r->failed = failure != NULL;
	if (failure)
		r->err = *failure;
}

static int wait_for(struct result *r, struct err *e)
{
	int64_t until = loop_now_ms(loop) + 20000;
	while (!r->done) {
		if (loop_now_ms(loop) > until)
			return err_new(e, ERR_FAILED, "nothing happens");
		if (loop_step(loop, 100, e) < 0)
			return -1;
	}
	if (r->failed)
		*e = r->err;
	return r->failed ? -1 : 0;
}

static int open_supervisor(struct err *e)
{
	char *run = arena_printf(&arena, "%s/run", root);
	auto_fd dir = fs_open_dir_make(AT_FDCWD, run, e);
	if (dir < 0 || loop_new(&clock_system, &loop, e) < 0)
		return -1;
	struct supervisor_opts o = {.loop = loop, .run_dirfd = dir, .run_path = run};
	return supervisor_new(&o, &sup, e);
}

static int web(uint32_t generation, struct service_ref *ret, struct err *e)
{
	struct component c;
	char *text = arena_printf(
		&arena,
		"services: {web: {command: ['%s', --version, mark-%u-%u, --crash, '60000', --grace, '50'], "
		"ready: notify, sockets: {http: '127.0.0.1:%u', health: private}, "
		"health: {probes: [{http: {address: health, path: /health}}, {tcp: http}]}}}",
		webd, port, generation, port);
	if (component_read(&arena, str_c(text), "web", "web.yml", &c, e) < 0)
		return -1;
	*ret = (struct service_ref){.env = STR("e"), .generation = generation, .prefix = root, .decl = c.services};
	return 0;
}

static int begin(uint32_t generation, struct err *e)
{
	struct result r = {0};
	struct service_ref s;
	if (web(generation, &s, e) < 0)
		return -1;
	service_hand_over(sup, &s, on_done, &r);
	return wait_for(&r, e);
}

static int stop(struct err *e)
{
	struct result r = {0};
	service_stop(sup, STR("e"), STR("web"), on_done, &r);
	return wait_for(&r, e);
}

static int answers(struct err *e)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	auto_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval t = {.tv_sec = 10};
	char text[200];
	const char *request = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || send(fd, request, strlen(request), MSG_NOSIGNAL) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0)
		return err_sys(e, "ask");
	ssize_t n = recv(fd, text, sizeof(text), 0);
	return n > 15 && memcmp(text, "HTTP/1.1 200 OK", 15) == 0 ? 0 : err_new(e, ERR_FAILED, "no good answer");
}

/* Processes whose command line holds our mark and the port. */
static int left_over(struct err *e)
{
	char mark[64];
	snprintf(mark, sizeof(mark), "mark-%u-", port);
	DIR *proc = opendir("/proc");
	struct dirent *d;
	int found = 0;
	while (proc && (d = readdir(proc))) {
		auto_buf b = BUF_INIT(4096);
		struct err ignored;
		char path[300];
		snprintf(path, sizeof(path), "/proc/%s/cmdline", d->d_name);
		if (d->d_name[0] < '1' || d->d_name[0] > '9' || fs_read(AT_FDCWD, path, &b, &ignored) < 0)
			continue;
		if (str_search(buf_str(&b), str_c(mark)) >= 0)
			found++;
	}
	closedir(proc);
	return found ? err_new(e, ERR_FAILED, "%d processes are left over", found) : 0;
}

static int settle(struct err *e)
{
	struct service_status *list;
	size_t n;
	if (supervisor_adopt(sup, e) < 0 || supervisor_status(sup, &arena, &list, &n, e) < 0)
		return -1;
	if (n > 0 && list[0].state == SERVICE_RUNNING && answers(e) < 0)
		return err_ctx(e, "it runs");
	if (stop(e) < 0)
		return err_ctx(e, "stop");
	struct err none;
	if (answers(&none) == 0)
		return err_new(e, ERR_FAILED, "somebody answers still");
	if (left_over(e) < 0)
		return -1;
	auto_fs_list files = {0};
	auto_fd dir = openat(AT_FDCWD, arena_printf(&arena, "%s/run/e", root), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open");
	if (fs_list(dir, ".", 100, &files, e) < 0)
		return -1;
	for (size_t i = 0; i < files.n; i++)
		if (!str_starts(str_c(files.name[i]), STR("web.log")) && !str_ends(str_c(files.name[i]), STR(".tmp")))
			return err_new(e, ERR_FAILED, "'%s' is left", files.name[i]);
	return 0;
}

static int run(const char *what, struct err *e)
{
	if (strcmp(what, "runs") == 0)
		return answers(e);
	if (open_supervisor(e) < 0)
		return -1;
	if (strcmp(what, "settle") == 0)
		return settle(e);
	if (strcmp(what, "start") == 0)
		return begin(1, e);
	if (strcmp(what, "over") == 0)
		return supervisor_adopt(sup, e) < 0 || begin(2, e) < 0 ? -1 : 0;
	if (strcmp(what, "cycle") == 0)
		return begin(1, e) < 0 || begin(2, e) < 0 || stop(e) < 0 ? -1 : 0;
	return err_new(e, ERR_USAGE, "what is '%s'?", what);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	uint64_t n;
	if (argc != 5 || !str_to_u64(str_c(argv[2]), &n))
		return 2;
	root = argv[1];
	port = (unsigned)n;
	webd = argv[3];
	int r = run(argv[4], &e);
	supervisor_free(sup);
	loop_free(loop);
	arena_release(&arena);
	if (r < 0)
		fprintf(stderr, "%s\n", e.msg);
	return r < 0;
}
