// SPDX-License-Identifier: Apache-2.0
/*
 * What the processes of a sandbox hold, as its pid 1 finds it in /proc: files without a name, and memory where no control group counts it.
 *
 * They are hostile: a thread may have a table of open files of its own, the first thread of a process may have ended (its /proc/PID is
 * empty then), and there may be very many of anything, so that no table here is shorter than what it is to hold.
 *
 * Memory, each page once:
 *
 *	1. the file systems in memory, and segments of System V: the kernel's own sums
 *	2. nameless files in memory (memfd) that are open: their blocks
 *	3. what is mapped besides: of each process its part (Pss) of private pages, swapped ones too, and of shared ones that are not in 1 or 2
 *
 * 3 makes the kernel walk over page tables, so it is done where what processes have, shared pages counted for each, is over the limit.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/vec.h"
#include "sandbox/box.h"

enum { PROC_FILE_MAX = 8 << 20, INODES_MAX = 1 << 20, COMPARE_MAX = 64 };

/* ---- walking over /proc ---- */

/* Next entry that is a number, or NULL. */
static const char *next_number(DIR *d)
{
	struct dirent *entry;
	while (d && (entry = readdir(d)))
		if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
			return entry->d_name;
	return NULL;
}

static DIR *open_folder(int dir_fd, const char *path)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d && fd >= 0)
		close(fd);
	return d;
}

static void cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}
#define auto_dir cleanup_with(cleanup_dir) DIR

/* Next process but ourselves, pid 1. */
static const char *next_process(DIR *proc)
{
	const char *pid;
	while ((pid = next_number(proc)) && strcmp(pid, "1") == 0)
		;
	return pid;
}

static int number_of(const char *digits)
{
	struct str s = str_c(digits);
	uint64_t n;
	return str_take_u64(&s, &n) && n <= INT32_MAX ? (int)n : 0;
}

/* Whether both have one and the same; false also where the kernel does not compare. */
static bool is_same(int a, int b, int what)
{
	return syscall(SYS_kcmp, a, b, what, 0, 0) == 0;
}

/* Told of each open file: an entry of an open folder /proc/…/fd. */
typedef void fd_fn(void *ctx, int dir_fd, const char *name);

static void each_fd_of(int proc_fd, const char *pid, fd_fn *fn, void *ctx)
{
	char path[300];
	snprintf(path, sizeof(path), "%.200s/task", pid);
	auto_dir *tasks = open_folder(proc_fd, path);
	const char *tid;
	int before = 0;
	while ((tid = next_number(tasks))) {
		int id = number_of(tid);
		if (before && is_same(before, id, KCMP_FILES))
			continue;
		before = id;
		snprintf(path, sizeof(path), "%.200s/fd", tid);
		auto_dir *fds = open_folder(dirfd(tasks), path);
		const char *name;
		while ((name = next_number(fds)))
			fn(ctx, dirfd(fds), name);
	}
}

static void each_fd(fd_fn *fn, void *ctx)
{
	auto_dir *proc = open_folder(AT_FDCWD, "/proc");
	const char *pid;
	while ((pid = next_process(proc)))
		each_fd_of(dirfd(proc), pid, fn, ctx);
}

struct open_files {
	struct map seen; /* inodes */
	uint64_t bytes;
	dev_t device;	/* of memfd; 0: what is looked for is on disk */
	long root_type; /* of its file system */
};

/* A file that holds something, the first time. Too many to tell are too much. */
static void count_file(struct open_files *f, const struct stat *st)
{
	uint64_t used = (uint64_t)st->st_blocks * 512;
	if (used == 0 || f->bytes == UINT64_MAX || map_get_id(&f->seen, st->st_ino))
		return;
	*map_put_id(&f->seen, st->st_ino) = 1;
	f->bytes = f->seen.n > INODES_MAX ? UINT64_MAX : f->bytes + used;
}

/* ---- files without a name ---- */

static void count_hidden(void *ctx, int dir_fd, const char *name)
{
	struct open_files *f = ctx;
	struct stat st;
	struct statfs fs;
	if (fstatat(dir_fd, name, &st, 0) < 0 || !S_ISREG(st.st_mode) || st.st_nlink > 0)
		return;
	auto_fd file = openat(dir_fd, name, O_PATH | O_CLOEXEC);
	if (file >= 0 && fstatfs(file, &fs) == 0 && fs.f_type == f->root_type)
		count_file(f, &st);
}

uint64_t box_disk_hidden(void)
{
	struct open_files f = {.seen = MAP_INIT};
	struct statfs root;
	if (statfs("/", &root) < 0)
		return 0;
	f.root_type = root.f_type;
	each_fd(count_hidden, &f);
	map_release(&f.seen);
	return f.bytes;
}

/* ---- memory ---- */

static void count_memfd(void *ctx, int dir_fd, const char *name)
{
	struct open_files *f = ctx;
	struct stat st;
	if (fstatat(dir_fd, name, &st, 0) == 0 && S_ISREG(st.st_mode) && st.st_dev == f->device)
		count_file(f, &st);
}

void box_memory_begin(struct box_memory *m)
{
	struct stat st;
	auto_fd fd = memfd_create("", MFD_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0) {
		m->memfd_device = st.st_dev;
		snprintf(m->memfd_device_words, sizeof(m->memfd_device_words), "%02x:%02x", major(st.st_dev),
			 minor(st.st_dev));
	}
	m->fs_fd[0] = open("/dev", O_PATH | O_CLOEXEC);
	m->fs_fd[1] = open("/dev/shm", O_PATH | O_CLOEXEC);
}

static uint64_t of_file_systems(const struct box_memory *m)
{
	uint64_t bytes = 0;
	struct statfs fs;
	for (size_t i = 0; i < BOX_MEMORY_FS; i++)
		if (m->fs_fd[i] >= 0 && fstatfs(m->fs_fd[i], &fs) == 0 && fs.f_blocks >= fs.f_bfree)
			bytes += (uint64_t)(fs.f_blocks - fs.f_bfree) * (uint64_t)fs.f_bsize;
	return bytes;
}

/* Of segments, which live without any process; their ids, which are their inodes. */
static uint64_t of_system_v(struct map *ids, struct buf *b)
{
	enum { ID = 1, RESIDENT = 14, SWAPPED = 15, COLUMNS };
	struct err e = ERR_INIT;
	uint64_t bytes = 0;
	buf_clear(b);
	if (fs_read(AT_FDCWD, "/proc/sysvipc/shm", b, &e) < 0)
		return 0;
	struct str text = buf_str(b), line;
	while (str_take_until(&text, '\n', &line)) {
		uint64_t v[COLUMNS] = {0};
		struct str word;
		for (int n = 0; n < COLUMNS && str_take_word(&line, &word); n++)
			if (!str_to_u64(word, &v[n]))
				v[n] = 0; /* a heading; a key may be negative */
		bytes += v[RESIDENT] + v[SWAPPED];
		*map_put_id(ids, v[ID]) = 1;
	}
	return bytes;
}

/* "KEY   N kB" among lines, in bytes. */
static uint64_t kb_of(struct str text, const char *key)
{
	struct str line, word;
	uint64_t n;
	while (str_take_until(&text, '\n', &line))
		if (str_take_str(&line, str_c(key)))
			return str_take_word(&line, &word) && str_to_u64(word, &n) ? n * 1024 : 0;
	return 0;
}

struct used {
	int pid;
	uint64_t private_bytes, shared_bytes;
	char path[64]; /* below /proc: PID, or a thread of it where the first one has ended */
};

struct memory {
	const struct box_memory *m;
	struct open_files files;
	struct map system_v;
	VEC(struct used) processes;
	struct buf text; /* of files in /proc */
};

static bool read_status(struct memory *w, int proc_fd, struct used *u)
{
	char path[80];
	struct err e = ERR_INIT;
	snprintf(path, sizeof(path), "%.63s/status", u->path);
	buf_clear(&w->text);
	if (fs_read(proc_fd, path, &w->text, &e) < 0)
		return false;
	struct str text = buf_str(&w->text);
	u->private_bytes = kb_of(text, "RssAnon:") + kb_of(text, "VmSwap:");
	u->shared_bytes = kb_of(text, "RssShmem:");
	return u->private_bytes + u->shared_bytes > 0;
}

/* What forked without memory of its own has its parent's; such processes come one after the other. */
static bool is_counted(const struct memory *w, const struct used *u)
{
	unsigned tries = 0;
	for (size_t i = w->processes.n; i > 0 && tries < COMPARE_MAX; i--) {
		const struct used *other = &w->processes.v[i - 1];
		if (other->private_bytes != u->private_bytes || other->shared_bytes != u->shared_bytes)
			continue;
		tries++;
		if (is_same(other->pid, u->pid, KCMP_VM))
			return true;
	}
	return false;
}

static void find_process(struct memory *w, int proc_fd, const char *pid)
{
	struct used u = {.pid = number_of(pid)};
	snprintf(u.path, sizeof(u.path), "%.20s", pid);
	if (!read_status(w, proc_fd, &u)) {
		char path[40];
		snprintf(path, sizeof(path), "%.20s/task", pid);
		auto_dir *tasks = open_folder(proc_fd, path);
		const char *tid;
		bool found = false;
		while (!found && (tid = next_number(tasks))) {
			u.pid = number_of(tid);
			snprintf(u.path, sizeof(u.path), "%.20s/task/%.20s", pid, tid);
			found = read_status(w, proc_fd, &u);
		}
		if (!found)
			return;
	}
	if (!is_counted(w, &u))
		*vec_add(&w->processes) = u;
}

/* "START-END MODE OFFSET DEVICE INODE NAME" of smaps: what is mapped is memory, and not counted already. */
static bool is_uncounted(const struct memory *w, struct str line)
{
	struct str word, device, name;
	uint64_t inode;
	for (int i = 0; i < 3; i++)
		if (!str_take_word(&line, &word))
			return false;
	if (!str_take_word(&line, &device) || !str_eq_c(device, w->m->memfd_device_words) ||
	    !str_take_word(&line, &word) || !str_to_u64(word, &inode))
		return false;
	bool is_segment = str_take_word(&line, &name) && str_starts(name, STR("/SYSV"));
	return !map_get_id(is_segment ? &w->system_v : &w->files.seen, inode);
}

static void cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

/* Its part of memory shared with others, as far as that is not counted yet. */
static uint64_t shared_of(const struct memory *w, int proc_fd, const struct used *u)
{
	char text[4096];
	snprintf(text, sizeof(text), "%.63s/smaps", u->path);
	int fd = openat(proc_fd, text, O_RDONLY | O_CLOEXEC);
	cleanup_with(cleanup_file) FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
	if (!f && fd >= 0)
		close(fd);
	uint64_t bytes = 0;
	bool counts = false, at_start = true;
	while (f && fgets(text, sizeof(text), f)) {
		struct str line = str_c(text);
		bool was_start = at_start;
		at_start = str_ends(line, STR("\n"));
		if (!was_start)
			continue; /* of a long name */
		if (text[0] >= 'A' && text[0] <= 'Z')
			bytes += counts ? kb_of(line, "Pss:") : 0;
		else
			counts = is_uncounted(w, line);
	}
	return bytes;
}

/* Its part of what forked processes still share. Where the kernel does not tell, all. */
static uint64_t private_of(struct memory *w, int proc_fd, const struct used *u)
{
	char path[80];
	struct err e = ERR_INIT;
	snprintf(path, sizeof(path), "%.63s/smaps_rollup", u->path);
	buf_clear(&w->text);
	if (fs_read(proc_fd, path, &w->text, &e) < 0 || !strstr(w->text.p, "\nPss_Anon:"))
		return u->private_bytes;
	return kb_of(buf_str(&w->text), "Pss_Anon:") + kb_of(buf_str(&w->text), "SwapPss:");
}

static uint64_t of_processes(struct memory *w, int proc_fd, uint64_t limit)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < w->processes.n && bytes <= limit; i++) {
		const struct used *u = &w->processes.v[i];
		bytes += private_of(w, proc_fd, u);
		if (u->shared_bytes > 0)
			bytes += shared_of(w, proc_fd, u);
	}
	return bytes;
}

static void memory_release(struct memory *w)
{
	map_release(&w->files.seen);
	map_release(&w->system_v);
	vec_release(&w->processes);
	buf_release(&w->text);
}

static bool looks_over(const struct box_memory *m, uint64_t limit_bytes)
{
	cleanup_with(memory_release) struct memory w = {.m = m, .text = BUF_INIT(PROC_FILE_MAX)};
	w.files.device = m->memfd_device;
	each_fd(count_memfd, &w.files);
	uint64_t known = of_file_systems(m) + of_system_v(&w.system_v, &w.text);
	if (w.files.bytes > limit_bytes || known + w.files.bytes > limit_bytes)
		return true;
	uint64_t left = limit_bytes - known - w.files.bytes, most = 0;
	auto_dir *proc = open_folder(AT_FDCWD, "/proc");
	const char *pid;
	while ((pid = next_process(proc)))
		find_process(&w, dirfd(proc), pid);
	for (size_t i = 0; i < w.processes.n; i++)
		most += w.processes.v[i].private_bytes + w.processes.v[i].shared_bytes;
	return most > left && of_processes(&w, dirfd(proc), left) > left;
}

bool box_memory_is_over(const struct box_memory *m, uint64_t limit_bytes)
{
	enum { LOOKS = 3 }; /* what ends between the looks at two processes leaves a larger part to the second one */
	for (int i = 0; i < LOOKS; i++)
		if (!looks_over(m, limit_bytes))
			return false;
	return true;
}
