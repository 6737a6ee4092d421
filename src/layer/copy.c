// SPDX-License-Identifier: Apache-2.0
/* Each layer a whole tree, copied from its parent: reflinks where the file system has them, else the bytes. No hard links: a step that
 * writes into a file in place would write into its parent's. */
#include "base/fs.h"
#include "base/sys.h"
#include "layer/internal.h"

static int copy_probe(struct layers *l, const char *path, struct buf *why, struct err *e)
{
	(void)l, (void)path, (void)why, (void)e;
	return 1;
}

static int copy_root(struct layers *l, const char *path, struct arena *a, struct sandbox_root *ret, struct err *e)
{
	(void)e;
	*ret = (struct sandbox_root){.dir = arena_printf(a, "%s/%s/fs", l->path, path), .readonly = true};
	return 0;
}

static int copy_begin(struct layers *l, const char *path, const char *parent, struct arena *a, struct sandbox_root *ret,
		      struct err *e)
{
	struct place to = place_of("%s/fs", path);
	if (parent) {
		struct place from = place_of("%s/fs", parent);
		if (inside_copy(l, from.s, to.s, e) < 0)
			return -1;
	} else if (sys_mkdirat(l->dir, to.s, 0755) < 0 || sys_fchmodat(l->dir, to.s, 0755) < 0) {
		return err_sys(e, "make folder '%s/%s'", l->path, to.s);
	}
	if (copy_root(l, path, a, ret, e) < 0)
		return -1;
	ret->readonly = false;
	return 0;
}

static int copy_finish(struct layers *l, const char *path, uint64_t *ret_bytes, struct err *e)
{
	struct place fs = place_of("%s/fs", path);
	return inside_bytes(l, fs.s, false, ret_bytes, e);
}

static int copy_remove(struct layers *l, const char *path, struct err *e)
{
	return inside_remove(l, path, e);
}

const struct backend backend_copy = {
	.kind = LAYER_COPY,
	.name = "copy",
	.probe = copy_probe,
	.begin = copy_begin,
	.finish = copy_finish,
	.root = copy_root,
	.remove = copy_remove,
};
