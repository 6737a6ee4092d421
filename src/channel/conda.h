// SPDX-License-Identifier: Apache-2.0
#pragma once
/* conda: the parts of the kind of conda channels (kind_conda.c). Private to channel/. */
#include "base/stream.h"
#include "channel/kind.h"
#include "channel/window.h"

int conda_walk_new(int folder_fd, const struct channel_walk_opts *o, struct channel_walk **ret, struct err *e);
int conda_walk_next(struct channel_walk *w, channel_item_fn *fn, void *ctx, struct err *e);
void conda_walk_free(struct channel_walk *w);
int conda_learn(const struct channel_came *c, struct str path, channel_item_fn *fn, void *ctx, struct err *e);
int conda_rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		  const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e);
int conda_remove(const char *folder, const struct str *paths, size_t n, enum channel_removal how, struct str reason,
		 const struct channel_make_opts *o, struct err *e);

/* The subdirs that are wanted: those named and noarch, or every one that is known. */
struct conda_subdirs {
	struct str *v; /* NUL-terminated */
	size_t n;
	bool named;
};
struct conda_subdirs conda_subdirs(struct arena *a, const struct channel_walk_opts *o);
/* A subdir's repodata.json, or what unpacks to it. 1; 0: there is none. `where` is for messages and must live as long. */
int conda_repodata(int folder_fd, struct arena *a, struct str subdir, struct istream **ret, struct err *e);
/* What a record says, as an item; false where it is none that can be had (no name, a file name that leads elsewhere). */
bool conda_item(struct arena *a, struct str subdir, struct str base_url, enum repodata_section section, struct str key,
		struct str record, struct channel_item *ret);
/* info.base_url of a document, unescaped; "" where there is none. */
struct str conda_base_url(struct arena *a, struct str info);
