// SPDX-License-Identifier: Apache-2.0
/*
 * blocklog: a disk that remembers every write and every flush, and makes the disks that a power cut may leave.
 *
 *	blocklog serve IMAGE LOG FOLDER             FOLDER/disk is IMAGE; what is written to it goes to LOG as well
 *	blocklog count LOG [BYTES]                  the number of records, in its first BYTES
 *	blocklog flushes LOG                        the numbers of those that are flushes
 *	blocklog replay LOG IMAGE N whole|some SEED
 *
 * serve goes to the background when FOLDER is mounted, and ends when that is unmounted. A loop device on FOLDER/disk, with direct I/O,
 * carries a file system; a record is in LOG before the kernel hears that it was written. replay writes the first N records
 * into IMAGE, a copy of what the disk was in the beginning: the whole of them, or of those behind the last flush
 * only some, which SEED chooses block by block of 4096 bytes, as a disk does that may write in any order until it is
 * told to flush.
 *
 * The FUSE protocol itself (linux/fuse.h), of which one file needs little.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROOT = 1, DISK = 2, WRITE_MAX = 1 << 17, REQUEST_MAX = WRITE_MAX + (1 << 13), BLOCK = 4096 };
enum record_kind { RECORD_WRITE = 1, RECORD_FLUSH = 2 };

struct record {
	uint64_t at;
	uint32_t n, kind; /* n bytes follow */
};

static int fuse_fd, image_fd, log_fd;
static uint64_t image_size;

static void stop(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void stop(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "blocklog: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(1);
}

static uint64_t number(const char *s)
{
	char *end;
	uint64_t n = strtoull(s, &end, 10);
	if (*end || !*s)
		stop("'%s' is no number", s);
	return n;
}

/* -- the disk ---------------------------------------------------------------------------------------------------- */

static void append(enum record_kind kind, uint64_t at, const void *p, uint32_t n)
{
	struct record r = {at, n, kind};
	if (write(log_fd, &r, sizeof(r)) != sizeof(r) || (n && write(log_fd, p, n) != (ssize_t)n))
		stop("write the log: %s", strerror(errno));
}

static void answer(uint64_t unique, int error, const void *p, size_t n)
{
	static char out[sizeof(struct fuse_out_header) + WRITE_MAX];
	struct fuse_out_header h = {.len = (uint32_t)(sizeof(h) + n), .error = error, .unique = unique};
	memcpy(out, &h, sizeof(h));
	if (n)
		memcpy(out + sizeof(h), p, n);
	if (write(fuse_fd, out, h.len) < 0 && errno != ENOENT) /* ENOENT: whoever asked was interrupted */
		stop("answer: %s", strerror(errno));
}

static struct fuse_attr attributes(uint64_t node)
{
	bool disk = node == DISK;
	return (struct fuse_attr){
		.ino = node,
		.size = disk ? image_size : 0,
		.blocks = disk ? image_size / 512 : 0,
		.mode = disk ? S_IFREG | 0600 : S_IFDIR | 0700,
		.nlink = disk ? 1 : 2,
		.blksize = BLOCK,
	};
}

static void do_init(const struct fuse_in_header *h, const struct fuse_init_in *in)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = in->max_readahead,
		.flags = in->flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES),
		.max_background = 16,
		.congestion_threshold = 12,
		.max_write = WRITE_MAX,
		.max_pages = WRITE_MAX / BLOCK,
		.time_gran = 1,
	};
	answer(h->unique, 0, &out, sizeof(out));
}

static void do_read(const struct fuse_in_header *h, const struct fuse_read_in *in)
{
	static char bytes[WRITE_MAX];
	ssize_t n = pread(image_fd, bytes, in->size < sizeof(bytes) ? in->size : sizeof(bytes), (off_t)in->offset);
	answer(h->unique, n < 0 ? -errno : 0, bytes, n < 0 ? 0 : (size_t)n);
}

static void do_write(const struct fuse_in_header *h, const struct fuse_write_in *in)
{
	struct fuse_write_out out = {.size = in->size};
	if (pwrite(image_fd, in + 1, in->size, (off_t)in->offset) != (ssize_t)in->size) {
		answer(h->unique, -EIO, NULL, 0);
		return;
	}
	append(RECORD_WRITE, in->offset, in + 1, in->size);
	answer(h->unique, 0, &out, sizeof(out));
}

static void do_lookup(const struct fuse_in_header *h, const char *name)
{
	struct fuse_entry_out out = {.nodeid = DISK, .attr_valid = 3600, .entry_valid = 3600, .attr = attributes(DISK)};
	bool there = h->nodeid == ROOT && strcmp(name, "disk") == 0;
	answer(h->unique, there ? 0 : -ENOENT, &out, there ? sizeof(out) : 0);
}

static void serve_one(const struct fuse_in_header *h)
{
	struct fuse_attr_out attr = {.attr_valid = 3600, .attr = attributes(h->nodeid)};
	struct fuse_open_out opened = {.open_flags = h->nodeid == DISK ? FOPEN_DIRECT_IO : 0};
	struct fuse_statfs_out fs = {.st = {.bsize = BLOCK, .frsize = BLOCK, .namelen = 255}};
	switch (h->opcode) {
	case FUSE_INIT:
		do_init(h, (const void *)(h + 1));
		break;
	case FUSE_LOOKUP:
		do_lookup(h, (const void *)(h + 1));
		break;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
		answer(h->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		answer(h->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
		do_read(h, (const void *)(h + 1));
		break;
	case FUSE_WRITE:
		do_write(h, (const void *)(h + 1));
		break;
	case FUSE_FSYNC:
		append(RECORD_FLUSH, 0, NULL, 0);
		answer(h->unique, 0, NULL, 0);
		break;
	case FUSE_STATFS:
		answer(h->unique, 0, &fs, sizeof(fs));
		break;
	case FUSE_READDIR:
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		answer(h->unique, 0, NULL, 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break; /* no answer is due */
	default:
		answer(h->unique, -ENOSYS, NULL, 0);
	}
}

static void serve(const char *image, const char *log, const char *folder)
{
	static _Alignas(8) char request[REQUEST_MAX];
	char options[128];
	struct stat st;
	image_fd = open(image, O_RDWR | O_CLOEXEC);
	log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (image_fd < 0 || log_fd < 0 || fuse_fd < 0 || fstat(image_fd, &st) < 0)
		stop("open '%s', '%s' and /dev/fuse: %s", image, log, strerror(errno));
	image_size = (uint64_t)st.st_size;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40700,user_id=0,group_id=0,allow_other", fuse_fd);
	if (mount("blocklog", folder, "fuse.blocklog", MS_NOSUID | MS_NODEV, options) < 0)
		stop("mount '%s': %s", folder, strerror(errno));
	pid_t pid = fork();
	if (pid != 0)
		_exit(pid < 0);
	for (;;) {
		ssize_t n = read(fuse_fd, request, sizeof(request));
		if (n < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
			continue;
		if (n < (ssize_t)sizeof(struct fuse_in_header))
			_exit(n < 0 && errno != ENODEV); /* ENODEV: unmounted */
		serve_one((const void *)request);
	}
}

/* -- the log ----------------------------------------------------------------------------------------------------- */

struct log {
	FILE *f;
	uint64_t left; /* bytes of it that count */
	struct record r;
	char bytes[WRITE_MAX];
};

static void log_open(struct log *l, const char *path, uint64_t bytes)
{
	l->f = fopen(path, "r");
	l->left = bytes;
	if (!l->f)
		stop("open '%s': %s", path, strerror(errno));
}

static bool log_next(struct log *l)
{
	if (l->left < sizeof(l->r) || fread(&l->r, sizeof(l->r), 1, l->f) != 1)
		return false;
	if (l->r.n > WRITE_MAX || l->left < sizeof(l->r) + l->r.n || (l->r.n && fread(l->bytes, l->r.n, 1, l->f) != 1))
		stop("the log is cut off");
	l->left -= sizeof(l->r) + l->r.n;
	return true;
}

static void count(const char *path, uint64_t bytes, bool flushes)
{
	static struct log l;
	uint64_t n = 0;
	log_open(&l, path, bytes);
	while (log_next(&l)) {
		n++;
		if (flushes && l.r.kind == RECORD_FLUSH)
			printf("%llu\n", (unsigned long long)n);
	}
	if (!flushes)
		printf("%llu\n", (unsigned long long)n);
}

/* Of the first n records: the last one that is a flush. */
static uint64_t last_flush(const char *path, uint64_t n)
{
	static struct log l;
	uint64_t found = 0;
	log_open(&l, path, UINT64_MAX);
	for (uint64_t i = 1; i <= n && log_next(&l); i++)
		if (l.r.kind == RECORD_FLUSH)
			found = i;
	fclose(l.f);
	return found;
}

/* splitmix64 */
static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void replay(const char *path, const char *image, uint64_t n, bool some, uint64_t seed)
{
	static struct log l;
	uint64_t safe = some ? last_flush(path, n) : n, i;
	int fd = open(image, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		stop("open '%s': %s", image, strerror(errno));
	log_open(&l, path, UINT64_MAX);
	for (i = 1; i <= n && log_next(&l); i++)
		for (uint32_t at = 0; at < l.r.n; at += BLOCK) {
			uint32_t size = l.r.n - at < BLOCK ? l.r.n - at : BLOCK;
			if (i > safe && random_next(&seed) & 1)
				continue;
			if (pwrite(fd, l.bytes + at, size, (off_t)(l.r.at + at)) != (ssize_t)size)
				stop("write '%s': %s", image, strerror(errno));
		}
	if (i <= n)
		stop("the log has %llu records, not %llu", (unsigned long long)i - 1, (unsigned long long)n);
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	if (strcmp(verb, "serve") == 0 && argc == 5)
		serve(argv[2], argv[3], argv[4]);
	else if (strcmp(verb, "count") == 0 && (argc == 3 || argc == 4))
		count(argv[2], argc == 4 ? number(argv[3]) : UINT64_MAX, false);
	else if (strcmp(verb, "flushes") == 0 && argc == 3)
		count(argv[2], UINT64_MAX, true);
	else if (strcmp(verb, "replay") == 0 && argc == 7)
		replay(argv[2], argv[3], number(argv[4]), strcmp(argv[5], "some") == 0, number(argv[6]));
	else
		stop("usage: blocklog serve|count|flushes|replay ...");
	return 0;
}
