// SPDX-License-Identifier: Apache-2.0
#pragma once
/* rpm_make: the metadata of an RPM repository written: packages put in, taken out, or taken over from another tree. */
#include "channel/rpm_record.h"
#include "channel/rpm_repo.h"

int rpm_publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		struct progress *p, struct err *e);
int rpm_rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e);
int rpm_remove(const char *folder, const struct str *paths, size_t n, enum channel_removal how, struct str reason,
	       const struct channel_make_opts *o, struct err *e);

/* By architecture (noarch is always wanted), name, and whether it is a source. */
bool rpm_wants(const struct channel_walk_opts *o, const struct rpm_package *p);
/* As walks tell of it; its version is "epoch:version-release", without an epoch of 0. */
struct channel_item rpm_item(struct arena *a, const struct rpm_package *p);
