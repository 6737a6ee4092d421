// SPDX-License-Identifier: Apache-2.0
/* The texts of opam files, packed together in blocks, which are added at the end of a file: what a reader knows of stays where it is. */
#include <errno.h>

#include "base/compress.h"
#include "base/sys.h"
#include "channel/intern.h"
#include "channel/opam_index.h"

enum { TEXT_LEVEL = 1 /* of zstd: the next ones gain 2 % and take half as long again */ };

static int write_block(struct oif_texts *t, struct err *e)
{
	if (t->plain.n == 0)
		return 0;
	buf_clear(&t->packed);
	if (compress_str(COMPRESS_ZSTD, TEXT_LEVEL, buf_str(&t->plain), &t->packed, e) < 0)
		return -1;
	struct oif_block b = {.at = t->at,
			      .packed = (uint32_t)t->packed.n,
			      .plain = (uint32_t)t->plain.n,
			      .sum = intern_hash(t->packed.p, t->packed.n, t->seed)};
	for (size_t done = 0; done < t->packed.n;) {
		ssize_t k = sys_pwrite(t->fd, t->packed.p + done, t->packed.n - done, (off_t)(t->at + done));
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return err_sys(e, "write the texts of an index");
		done += (size_t)k;
	}
	t->at += t->packed.n;
	vec_push(&t->block, b);
	buf_clear(&t->plain);
	return 0;
}

int oif_texts_put(struct oif_texts *t, struct str text, uint32_t *block, uint32_t *at, struct err *e)
{
	if (t->plain.n > 0 && t->plain.n + text.n > OPAM_TEXT_BLOCK && write_block(t, e) < 0)
		return -1;
	*block = (uint32_t)t->block.n;
	*at = (uint32_t)t->plain.n;
	buf_put_str(&t->plain, text);
	return t->plain.overflow ? err_new(e, ERR_LIMIT, "an opam file of more than %d MiB", OPAM_TEXT_MAX >> 20) : 0;
}

int oif_texts_end(struct oif_texts *t, struct err *e)
{
	return write_block(t, e);
}

void oif_texts_release(struct oif_texts *t)
{
	cleanup_fd(&t->fd);
	buf_release(&t->plain);
	buf_release(&t->packed);
	vec_release(&t->block);
}
