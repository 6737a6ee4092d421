// SPDX-License-Identifier: Apache-2.0
/*
 * Unpacks what it is given: the first byte chooses the format ('t' blocks of tar, 'b' tar.bz2, 'c' .conda, otherwise by
 * content). Besides not crashing: nothing appears beside the folder, what is accepted verifies, and no symbolic link of
 * it leads out, as the kernel sees it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "store/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good, const char *what, const struct err *e)
{
	if (!good)
		panic("%s: %s", what, e->msg);
}

static int links_stay_inside(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st,
			     struct err *e)
{
	(void)dirfd, (void)name;
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
	if (!S_ISLNK(st->st_mode))
		return 0;
	long fd = syscall(SYS_openat2, *(int *)ctx, rel, &how, sizeof(how));
	if (fd >= 0)
		close((int)fd);
	return fd < 0 && errno == EXDEV ? err_new(e, ERR_FAILED, "'%s' leads out", rel) : 0;
}

static void clear(const char *where, struct err *e)
{
	must(fs_remove_tree(AT_FDCWD, where, e) == 0, "remove", e);
}

/* One folder a process, in memory where there is such a place. */
static const char *scratch(void)
{
	static char path[64];
	if (!*path)
		snprintf(path, sizeof(path), "%s/slipway-fuzz.%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
			 (int)getpid());
	return path;
}

static int unpack(struct tree *t, uint8_t kind, struct str bytes, struct err *e)
{
	if (kind == 't')
		return tree_add_tar(t, istream_mem(bytes, "input"), e);
	auto_fd fd = memfd_create("input", MFD_CLOEXEC);
	must(fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n, "memfd", e);
	if (kind == 'z')
		return tree_add_zip(t, fd, e);
	return tree_add_archive(t, fd,
				kind == 'b'   ? STORE_TAR_BZ2
				: kind == 'c' ? STORE_CONDA
					      : STORE_FORMAT_UNKNOWN,
				e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct store_limits limits = {1 << 20, 200, 300};
	struct err e = ERR_INIT;
	struct tree t;
	auto_buf inside = BUF_INIT(1000);
	auto_buf why = BUF_INIT(10000);
	auto_fs_list l = {0};
	if (size < 1)
		return 0;
	clear(scratch(), &e);
	buf_printf(&inside, "%s/tree", scratch());
	auto_fd dir = fs_open_dir_make(AT_FDCWD, inside.p, &e);
	must(dir >= 0, "make", &e);
	tree_init(&t, dir, &limits, "input");
	int r = unpack(&t, data[0], str_of((const char *)data + 1, size - 1), &e);
	r = r < 0 ? r : tree_finish(&t, &e);
	tree_release(&t);
	must(r == 0 || (e.code != ERR_NONE && *e.msg), "no reason given", &e);
	must(fs_list(AT_FDCWD, scratch(), 10, &l, &e) == 0 && l.n == 1, "something appeared outside", &e);
	if (r == 0) {
		must(tree_verify(dir, &why, &e) == 0, why.p, &e);
		must(fs_walk(dir, ".", links_stay_inside, &dir, &e) == 0, "link", &e);
	}
	clear(scratch(), &e);
	return 0;
}
