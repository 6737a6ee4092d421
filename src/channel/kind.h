// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * kind: what a kind of channel is made of. Private to channel/: one row for each (kind.c), its functions in a file of its own
 * (kind_conda.c, kind_deb.c …). What each does is told in channel.h, section 6; a function that is NULL is answered with
 * "a KIND channel cannot be …".
 */
#include "base/map.h"
#include "base/vec.h"
#include "channel/channel.h"

struct needs_ops;
struct channel_kind {
	const char *name;
	/* The kind of a tree has such a file: paths apart by blanks, '*' for one part of a path. */
	const char *marks;
	const char *packages; /* how files that are published to it end, apart by blanks */
	enum channel_signing signing;
	enum channel_file (*file)(struct str path);
	const char *(*type)(struct str path); /* NULL: by the ending, as kind.c knows it */
	int (*index)(struct str folder, struct str accept, struct arena *a, struct str *ret); /* NULL: no folders */
	/* A walk is a struct that begins with a struct channel_walk. */
	int (*walk_new)(int folder_fd, const struct channel_walk_opts *o, struct channel_walk **ret, struct err *e);
	int (*walk_next)(struct channel_walk *w, channel_item_fn *fn, void *ctx, struct err *e);
	void (*walk_free)(struct channel_walk *w);
	bool (*address)(struct str path, struct arena *a, struct channel_item *ret); /* NULL: by the path */
	bool (*path_digest)(struct str path, struct digest_value *ret);		     /* NULL: no path tells one */
	int (*learn)(const struct channel_came *c, struct str path, channel_item_fn *fn, void *ctx,
		     struct err *e); /* NULL: nothing is told */
	int (*publish)(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		       struct progress *p, struct err *e);
	int (*rewrite)(int from_fd, const struct channel_walk_opts *from, const char *folder,
		       const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e);
	const struct needs_ops *needs; /* NULL: what its packages need is not known here */
	int (*remove)(const char *folder, const struct str *paths, size_t n, enum channel_removal how,
		      struct str reason, const struct channel_make_opts *o, struct err *e);
};
struct channel_walk {
	const struct channel_kind *kind;
	bool leads_away; /* channel_walk_leads_away */
};

extern const struct channel_kind kind_conda, kind_deb, kind_opam, kind_plan, kind_pypi, kind_rpm, kind_takeout;
/* A file of metadata, unpacked however it is packed, as its first bytes tell; at most `max` bytes. `path` must outlive the stream. */
int kind_open_packed(int dir, const char *path, uint64_t max, struct istream **ret, struct err *e);
/* True where the item is among those that are wanted: names are globs. */
bool walk_wants_name(const struct channel_walk_opts *o, struct str name);
bool walk_wants(const struct str *wanted, size_t n, struct str what);
