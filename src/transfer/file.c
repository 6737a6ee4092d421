// SPDX-License-Identifier: Apache-2.0
/* file:// requests: no library, no loop. Their validator is inode, size and time of the file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/url.h"
#include "transfer/job.h"

enum { BLOCK = 256 << 10 };

static int copy(struct job *j, int in, struct err *e)
{
	auto_free char *block = xmalloc(BLOCK);
	for (;;) {
		ssize_t n = read(in, block, BLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read");
		if (n == 0)
			return 0;
		if (job_write(j, block, (size_t)n, e) < 0)
			return -1;
	}
}

static int open_file(struct job *j, const char *path, struct stat *st, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		err_sys(e, "open '%s'", path);
		if (e->sys == ENOTDIR)
			e->code = ERR_NOT_FOUND;
		return -1;
	}
	if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode)) {
		close(fd);
		return err_new(e, ERR_INPUT, "'%s' is not a regular file", path);
	}
	j->status = 0;
	return fd;
}

enum job_verdict job_copy_file(struct job *j)
{
	auto_buf path = BUF_INIT(URL_MAX);
	struct transfer_request *r = j->r;
	struct stat st;
	char etag[sizeof(r->etag)];
	if (url_file_path(str_c(r->url), &path, &r->err) < 0)
		return JOB_FAILED;
	auto_fd in = open_file(j, path.p, &st, &r->err);
	if (in < 0)
		return JOB_FAILED;
	snprintf(etag, sizeof(etag), "\"%llx-%llx-%llx.%lx\"", (unsigned long long)st.st_ino,
		 (unsigned long long)st.st_size, (unsigned long long)st.st_mtim.tv_sec,
		 (unsigned long)st.st_mtim.tv_nsec);
	if (strcmp(etag, r->etag) == 0) {
		r->status = 304;
		return JOB_GOOD;
	}
	memcpy(r->etag, etag, sizeof(etag));
	r->last_modified[0] = '\0';
	r->have = 0;
	if (job_truncate(j, &r->err) < 0 || copy(j, in, &r->err) < 0)
		return JOB_FAILED;
	return job_check_body(j) == JOB_GOOD ? JOB_GOOD : JOB_FAILED;
}
