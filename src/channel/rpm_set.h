// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * rpm_set: the packages that a repository is to have: some of those that metadata list, whose records are taken over byte for
 * byte, and new ones. Memory holds paths and digests alone; records go from file to file.
 *
 *	rpm_set_read(&s, folder_fd, decide, ctx, e)	what is listed, and what of it stays
 *	rpm_set_add(&s, path, hex, &texts, e)		a new one
 *	rpm_set_commit(&s, &opts, &old, e)		metadata, signed; the staging is committed
 */
#include "base/map.h"
#include "channel/rpm_record.h"
#include "channel/rpm_write.h"

struct rpm_known {
	struct str path, pkgid;
	uint64_t size;
	int64_t mtime_s;
	uint32_t uses; /* in the first of a pkgid: how many with it stay */
	bool keep;
};
struct rpm_fresh {
	struct str path;
	char hex[SHA256_HEX_SIZE];
	uint64_t at[RPM_FILES]; /* in the scratch file */
	size_t n[RPM_FILES];
};
struct rpm_set {
	struct staging *t;
	struct arena arena;
	int from_fd; /* of the tree that records are taken over from */
	struct rpm_repomd from;
	bool drop_base; /* packages are looked for here, wherever upstream has them */
	struct buf namespaces;
	VEC(struct rpm_known) known;
	VEC(struct rpm_fresh) fresh;
	struct map by_path, by_pkgid, fresh_by_path; /* → place + 1, of several the first */
	size_t kept;
	int scratch;
	uint64_t scratch_n;
	VEC(const struct rpm_data *) carried; /* data of other types, whose files are in place or staged */
};
void rpm_set_init(struct rpm_set *s, struct staging *t);
void rpm_set_release(struct rpm_set *s);
#define auto_rpm_set cleanup_with(rpm_set_release) struct rpm_set

/* Of each listed package: 1 it stays, 0 it goes. */
typedef int rpm_decide_fn(void *ctx, const struct rpm_package *p, struct err *e);
int rpm_set_read(struct rpm_set *s, int from_fd, const struct rpm_repomd *from, rpm_decide_fn *decide, void *ctx,
		 struct err *e);
void rpm_set_drop(struct rpm_set *s, size_t known);
int rpm_set_add(struct rpm_set *s, struct str path, const char *hex, const struct rpm_texts *texts, struct err *e);
/* Groups, advisories and modules, by the file's name: comps*.xml, updateinfo*.xml, modules*.yaml. After `carried` is filled. */
bool rpm_is_extra(struct str path);
int rpm_extra_add(struct rpm_set *s, const char *file, int64_t now_s, bool dry_run, struct err *e);
/* Seconds since 1970 for what is made now. */
int64_t rpm_now_s(const struct channel_make_opts *o);
/* `old`: what the folder has now; where nothing changes, nothing is written. */
int rpm_set_commit(struct rpm_set *s, const struct channel_make_opts *o, const struct rpm_repomd *old, struct err *e);
