// SPDX-License-Identifier: Apache-2.0
/* Archives of tar: whatever is read of one is written, and reads back the same. The sum of each header is made right first, so that what stands
 * behind it is reached. */
#include "base/tar.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void sum_again(char *head)
{
	unsigned sum = 0;
	memset(head + 148, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += (unsigned char)head[i];
	for (size_t i = 6; i-- > 0; sum >>= 3)
		head[148 + i] = (char)('0' + (sum & 7));
}

static int to_buf(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	buf_put(ctx, p, n);
	return 0;
}

static void same(const struct tar_entry *en, struct str written)
{
	struct err e = ERR_INIT;
	struct tar_entry again;
	auto_ptr(istream) in = istream_mem(written, "again");
	auto_ptr(tar_reader) r = tar_reader_new(in, "again");
	if (tar_next(r, &again, &e) != 1)
		panic("what was written does not read back: %s", e.msg);
	bool good = again.kind == en->kind && str_eq(again.path, en->path) && str_eq(again.target, en->target) &&
		    again.mode == en->mode && again.uid == en->uid && again.gid == en->gid && again.size == en->size &&
		    again.mtime_s == en->mtime_s && again.n_xattrs == en->n_xattrs;
	for (size_t i = 0; good && i < en->n_xattrs; i++)
		good = str_eq(again.xattrs[i].name, en->xattrs[i].name) &&
		       str_eq(again.xattrs[i].value, en->xattrs[i].value);
	if (!good)
		panic("'%s' reads back as something else", tar_shown(en->path).s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	auto_buf copy = BUF_INIT(1 << 24);
	buf_put(&copy, data, size);
	for (size_t at = 0; at + TAR_BLOCK <= copy.n; at += TAR_BLOCK)
		if (copy.p[at])
			sum_again(copy.p + at);
	auto_ptr(istream) in = istream_mem(buf_str(&copy), "fuzz");
	auto_ptr(tar_reader) r = tar_reader_new(in, "fuzz");
	struct tar_entry en;
	int rc;
	uint64_t content = 0;
	while ((rc = tar_next(r, &en, &e)) > 0) {
		auto_buf out = BUF_INIT(1 << 24);
		struct tar_writer w = {.sink = to_buf, .ctx = &out};
		char piece[512];
		ssize_t n;
		if (strlen(en.path.p) != en.path.n || strlen(en.target.p) != en.target.n)
			panic("a name with a NUL");
		bool written = tar_put(&w, &en, &e) == 0;
		while ((n = tar_read(r, piece, sizeof(piece), &e)) > 0) {
			content += (uint64_t)n;
			if (written && tar_write(&w, piece, (size_t)n, &e) < 0)
				panic("%s", e.msg);
		}
		if (n < 0)
			return 0;
		if (written)
			same(&en, buf_str(&out));
	}
	if (content > size)
		panic("more content than there is");
	if (rc < 0 && (e.code == ERR_NONE || !strstr(e.msg, "fuzz")))
		panic("no cause in '%s'", e.msg);
	return 0;
}
