// SPDX-License-Identifier: Apache-2.0
/* What all steps of one run of build_opam share. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam.h"

enum { TOPS_MAX = 32, JOBS_MAX = 64, MOUNTS_TEXT_MAX = 16 << 20 };

/* Inside a container or a step of a build: pid 1 is not the machine's. */
static bool is_inside(void)
{
	enum { FIRST_PID_NAMESPACE = 0xEFFFFFFC };
	struct stat st;
	return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino != (ino_t)FIRST_PID_NAMESPACE;
}

/* A sandbox is wanted: can it be had? Where not, a step of a build and a container confine already. */
static int choose_confinement(struct opam_run *r, struct err *e)
{
	struct sandbox_can can;
	r->confined = false;
	if (r->o->no_sandbox)
		return 0;
	sandbox_probe(&can);
	r->confined = can.run;
	if (can.run || is_inside())
		return 0;
	ptrdiff_t line = str_find(str_c(can.why), '\n');
	return err_new(e, ERR_UNSUPPORTED,
		       "no sandbox can be had for commands of packages (%.*s); --disable-sandboxing does without",
		       line < 0 ? (int)strlen(can.why) : (int)line, can.why);
}

/* The folder of "/" that a line of mountinfo is about. */
static bool take_top(struct str line, struct str *ret)
{
	struct str word, point = STR_NONE;
	for (int i = 0; i < 5; i++)
		if (!str_take_word(&line, &word))
			return false;
		else
			point = word;
	if (!str_take_char(&point, '/') || point.n == 0)
		return false;
	struct str top;
	*ret = str_take_until(&point, '/', &top) ? top : point;
	return str_find(*ret, '\\') < 0;
}

static int find_tops(struct opam_run *r, struct err *e)
{
	static const char *const others[] = {"proc", "sys", "dev", "run", "tmp"};
	auto_buf b = BUF_INIT(MOUNTS_TEXT_MAX);
	if (fs_read_any(AT_FDCWD, "/proc/self/mountinfo", &b, e) < 0)
		return -1;
	const char **tops = arena_array(r->arena, const char *, TOPS_MAX);
	struct str text = buf_str(&b), line, top;
	while (str_take_line(&text, &line)) {
		bool is_known = !take_top(line, &top);
		for (size_t i = 0; i < sizeof(others) / sizeof(*others) && !is_known; i++)
			is_known = str_eq_c(top, others[i]);
		for (size_t i = 0; i < r->n_tops && !is_known; i++)
			is_known = str_eq_c(top, tops[i] + 1);
		const char *path = is_known ? NULL : arena_printf(r->arena, "/%.*s", STR_ARG(top));
		struct stat st;
		if (path && r->n_tops < TOPS_MAX && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
			tops[r->n_tops++] = path;
	}
	r->tops = tops;
	return 0;
}

static unsigned count_jobs(const struct build_opam_opts *o)
{
	cpu_set_t set;
	int n = o->jobs					       ? (int)(o->jobs > JOBS_MAX ? JOBS_MAX : o->jobs)
		: sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
							       : 1;
	return n < 1 ? 1 : n > JOBS_MAX ? JOBS_MAX : (unsigned)n;
}

static int open_folders(struct opam_run *r, struct err *e)
{
	const struct build_opam_opts *o = r->o;
	const char *root = env_opam_path(o->root);
	int meta_fd = env_opam_meta_fd(o->sw);
	r->log_dir = o->log_dir ? o->log_dir : arena_printf(r->arena, "%s/log", root);
	if (fs_mkdirs(AT_FDCWD, r->log_dir, 0755, e) < 0)
		return err_ctx(e, "folder of logs");
	/* the switch is ours: whatever lies there was left by a run that was killed */
	if (fs_remove_tree(meta_fd, ".slipway", e) < 0 || opam_left_clear(r, e) < 0)
		return -1;
	r->scratch_fd = fs_open_dir_make(meta_fd, ".slipway", e);
	r->builds_fd = r->scratch_fd < 0 ? -1 : fs_open_dir_make(meta_fd, "build", e);
	if (r->builds_fd < 0)
		return err_ctx(e, "switch '%s'", r->prefix);
	const char *cache = o->cache ? o->cache : arena_printf(r->arena, "%s/download-cache", root);
	return opam_cache_open(&r->cache, cache, r->scratch_fd, e);
}

int opam_run_begin(struct opam_run *r, const struct build_opam_opts *o, struct arena *a, struct err *e)
{
	*r = (struct opam_run){.o = o,
			       .arena = a,
			       .prefix = env_opam_prefix(o->sw),
			       .scratch_fd = -1,
			       .builds_fd = -1,
			       .jobs = count_jobs(o),
			       .cache = {.dir = -1},
			       .state = PTHREAD_MUTEX_INITIALIZER};
	r->meta = arena_printf(a, "%s/.opam-switch", r->prefix);
	r->scratch = arena_printf(a, "%s/.slipway", r->meta);
	if (choose_confinement(r, e) < 0 || (r->confined && find_tops(r, e) < 0))
		return -1;
	return open_folders(r, e) < 0 ? -1 : opam_reuse_begin(r, e);
}

void opam_run_end(struct opam_run *r)
{
	struct err ignored = ERR_INIT; /* the next run removes it */
	opam_reuse_end(r);
	opam_cache_close(&r->cache);
	if (r->scratch_fd >= 0)
		fs_remove_tree(env_opam_meta_fd(r->o->sw), ".slipway", &ignored);
	cleanup_fd(&r->scratch_fd);
	cleanup_fd(&r->builds_fd);
	pthread_mutex_destroy(&r->state);
}
