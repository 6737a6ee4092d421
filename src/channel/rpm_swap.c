// SPDX-License-Identifier: Apache-2.0
/*
 * A signed repository has two pointers, repomd.xml and its signature, which must change at once, or whoever is killed between
 * leaves what no client takes. So the whole folder repodata is made anew beside the old one, of links to the same files, and
 * both change places in one call.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/sys.h"
#include "channel/rpm_write.h"

enum { ENTRIES_MAX = 100000 };
#define NEXT ".slipway.repodata"

static bool is_pointer(struct str name)
{
	return str_eq(name, STR("repomd.xml")) || str_eq(name, STR("repomd.xml.asc"));
}

static int link_all(int from, int to, struct err *e)
{
	auto_fs_list l = {0};
	if (fs_list(from, ".", ENTRIES_MAX, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++)
		if (!is_pointer(str_c(l.name[i])) && sys_linkat(from, l.name[i], to, l.name[i], 0) < 0)
			return err_sys(e, "link 'repodata/%s'", l.name[i]);
	return 0;
}

static int make_next(struct staging *t, struct str repomd, struct str signature, struct err *e)
{
	auto_fd old = fs_open_dir_make(t->dir, "repodata", e);
	auto_fd next = old < 0 ? -1 : fs_open_dir_make(t->dir, NEXT, e);
	if (next < 0 || link_all(old, next, e) < 0 ||
	    fs_replace(next, "repomd.xml", repomd.p, repomd.n, FS_REPLACE_SYNC, e) < 0 ||
	    fs_replace(next, "repomd.xml.asc", signature.p, signature.n, FS_REPLACE_SYNC, e) < 0)
		return -1;
	return sys_fsync(next) < 0 ? err_sys(e, "sync '" NEXT "'") : 0;
}

/* Where a file system cannot do it at once: as close after each other as can be. */
static int one_by_one(struct staging *t, struct err *e)
{
	if (sys_renameat(t->dir, NEXT "/repomd.xml.asc", t->dir, RPM_SIGNATURE) < 0 ||
	    sys_renameat(t->dir, NEXT "/repomd.xml", t->dir, RPM_REPOMD) < 0)
		return err_sys(e, "put '%s/" RPM_REPOMD "' in place", t->folder);
	return 0;
}

int rpm_swap_clean(struct staging *t, struct err *e)
{
	return fs_remove_tree(t->dir, NEXT, e);
}

int rpm_swap(struct staging *t, struct str repomd, struct str signature, struct err *e)
{
	if (rpm_swap_clean(t, e) < 0 || make_next(t, repomd, signature, e) < 0)
		return -1;
	if (sys_renameat2(t->dir, NEXT, t->dir, "repodata", RENAME_EXCHANGE) < 0) {
		if (errno != EINVAL && errno != ENOSYS)
			return err_sys(e, "put '%s/repodata' in place", t->folder);
		if (one_by_one(t, e) < 0)
			return -1;
	}
	/* the old one stays until the next publication: a web server that has just found it still looks for a file in it */
	return fs_sync_dir(t->dir, "repodata", e) < 0 ? -1 : fs_sync_dir(t->dir, ".", e);
}
