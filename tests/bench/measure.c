// SPDX-License-Identifier: Apache-2.0
/*
 * measure: what a process costs, and how fast the file system makes hard links. For tests/bench/run only.
 *
 *	measure run REPORT CMD ARG…     runs CMD and writes "wall_s cpu_s peak_kb status" to REPORT
 *	measure link FROM TO JOBS       makes the tree TO of hard links to every file of the tree FROM with JOBS
 *	                                processes; prints the seconds that took, by the wall and of processor time
 *
 * It is a small program on purpose: the kernel counts the peak memory of the process that starts another as the other's
 * own, so a large starter would hide how little a small one needs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
	       (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

static int run(const char *report, char **argv)
{
	double start_s = now_s();
	pid_t child = fork();
	if (child < 0)
		return perror("measure: fork"), 1;
	if (child == 0) {
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	int status;
	struct rusage u;
	while (wait4(child, &status, 0, &u) < 0)
		if (errno != EINTR)
			return perror("measure: wait4"), 1;
	double wall_s = now_s() - start_s;
	FILE *f = fopen(report, "w");
	if (!f)
		return perror(report), 1;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	fprintf(f, "%.6f %.6f %ld %d\n", wall_s, cpu_s(&u), u.ru_maxrss, code);
	return fclose(f) == 0 ? 0 : 1;
}

/* Links the files of the folder FROM/dir into TO/dir; returns how many, -1 on failure. */
static long link_folder(int from, int to, const char *dir)
{
	int from_fd = openat(from, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int to_fd = openat(to, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = from_fd >= 0 && to_fd >= 0 ? fdopendir(from_fd) : NULL;
	if (!d)
		return -1;
	long files = 0;
	for (struct dirent *de; files >= 0 && (de = readdir(d));)
		if (de->d_type != DT_DIR)
			files = linkat(from_fd, de->d_name, to_fd, de->d_name, 0) < 0 ? -1 : files + 1;
	closedir(d);
	close(to_fd);
	return files;
}

static char **folders;
static size_t folders_n, folders_room;

static int collect(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type != FTW_D)
		return 0;
	if (folders_n == folders_room) {
		folders_room = folders_room ? 2 * folders_room : 256;
		folders = realloc(folders, folders_room * sizeof(*folders));
	}
	if (!folders || !(folders[folders_n] = strdup(path)))
		return -1;
	folders_n++;
	return 0;
}

/* Job k of n links the files of every n-th folder, and exits with 0 or 1. */
static pid_t start_job(int from, int to, size_t skip, size_t k, size_t n)
{
	pid_t child = fork();
	if (child != 0)
		return child;
	for (size_t i = k; i < folders_n; i += n) {
		const char *dir = folders[i] + skip;
		if (link_folder(from, to, *dir ? dir + 1 : ".") < 0) {
			perror(folders[i]);
			_exit(1);
		}
	}
	_exit(0);
}

static int link_all(const char *from, const char *to, size_t jobs)
{
	int from_fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (from_fd < 0 || nftw(from, collect, 32, FTW_PHYS) < 0)
		return perror(from), 1;
	int to_fd = mkdir(to, 0777) < 0 ? -1 : open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to_fd < 0)
		return perror(to), 1;
	double start_s = now_s();
	for (size_t i = 1; i < folders_n; i++)
		if (mkdirat(to_fd, folders[i] + strlen(from) + 1, 0777) < 0)
			return perror(folders[i]), 1;
	int failed = 0;
	for (size_t k = 0; k < jobs; k++)
		failed |= start_job(from_fd, to_fd, strlen(from), k, jobs) < 0;
	for (int status; wait(&status) > 0;)
		failed |= status != 0;
	double wall_s = now_s() - start_s;
	struct rusage u;
	getrusage(RUSAGE_CHILDREN, &u);
	printf("%.6f %.6f\n", wall_s, cpu_s(&u));
	return failed;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && strcmp(argv[1], "run") == 0)
		return run(argv[2], argv + 3);
	long jobs = argc == 5 ? strtol(argv[4], NULL, 10) : 0;
	if (jobs > 0 && jobs <= 64 && strcmp(argv[1], "link") == 0)
		return link_all(argv[2], argv[3], (size_t)jobs);
	fprintf(stderr, "usage: measure run REPORT CMD ARG... | measure link FROM TO JOBS\n");
	return 2;
}
