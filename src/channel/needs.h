// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * needs: what the kinds whose packages need each other share (deb_needs.c, rpm_needs.c, opam_needs.c). Private to channel/.
 *
 * A kind's `open` adds packages (needs_add) and what they provide (needs_provide), then calls needs_index, which sorts them: what
 * was numbered by the order of adding is known by needs_number from then on.
 */
#include "base/map.h"
#include "base/vec.h"
#include "channel/kind.h"
#include "pkg/pkg.h"

enum { NEEDS_MAX = 1 << 21 /* packages */ };

struct needs_package {
	struct channel_candidate c;
	uint32_t class; /* of one name two with different ones can be installed together (rpm: i686 beside x86_64) */
	uint32_t rank;	/* the lower, the more it is preferred, before the version counts */
	uint32_t added; /* the how manieth */
};
struct needs_provided {
	struct str name, version; /* version.p NULL: it tells none */
	uint32_t package;
};
struct channel_needs {
	const struct channel_kind *kind;
	const struct needs_ops *ops;
	struct arena arena;
	struct str platform;
	bool weak;
	VEC(struct needs_package) package;
	VEC(struct needs_provided) provided;
	VEC(uint32_t) number;		 /* by the order of adding */
	struct map by_name, by_provided; /* → place + 1 of the first */
};
struct needs_ops {
	size_t size; /* of a struct that begins with struct channel_needs */
	pkg_version_cmp_fn *cmp;
	int (*open)(struct channel_needs *n, int folder_fd, const struct channel_walk_opts *from,
		    const struct channel_needs_opts *o, struct err *e);
	int (*parse)(struct channel_needs *n, struct arena *a, struct str text, const struct pkg_need **ret,
		     struct err *e);
	int (*tell)(struct channel_needs *n, uint32_t package, channel_need_fn *fn, void *ctx, struct err *e);
	int (*files)(struct channel_needs *n, uint32_t package, channel_item_fn *fn, void *ctx, struct err *e);
	/* NULL: everything is available; nothing is told. */
	bool (*is_available)(struct channel_needs *n, uint32_t package);
	struct str (*unavailable)(struct channel_needs *n, uint32_t package, struct buf *b);
	bool (*lacks_system)(struct channel_needs *n, uint32_t package);
	int (*messages)(struct channel_needs *n, uint32_t package, struct arena *a, const struct str **ret,
			size_t *ret_n, struct err *e);
	int (*order)(struct channel_needs *n, uint32_t package, bool building, channel_need_fn *fn, void *ctx,
		     struct err *e);
	int (*mentions)(struct channel_needs *n, const struct str *names, size_t names_n, channel_mention_fn *fn,
			void *ctx, struct err *e);
	/* Puts the packages that meet a name in order of preference; NULL: own name first, then as they stand. */
	void (*prefer)(const struct channel_needs *n, struct str name, uint32_t *v, size_t count);
	struct str (*host)(void);
	void (*release)(struct channel_needs *n);
};
extern const struct needs_ops deb_needs, rpm_needs, opam_needs;
/* Of opam's kind, with the indexes that somebody opened. */
int opam_needs_fill(struct channel_needs *n, const struct opam_index *const *v, size_t count,
		    const struct channel_needs_opts *o, struct err *e);

int needs_add(struct channel_needs *n, const struct needs_package *p, struct err *e);
/* Of the one that was added last. */
void needs_provide(struct channel_needs *n, struct str name, struct str version);
void needs_index(struct channel_needs *n);
/* The same where they were added in order, each once. */
void needs_index_sorted(struct channel_needs *n);
/* Packages by name and range; `provided`: and those that provide it. In the arena. */
struct channel_set needs_find(const struct channel_needs *n, struct arena *a, const struct pkg_need *name,
			      bool provided);

/*
 * A formula told as needs, or as bans of what it holds for (`self`, the package itself and all of its group, is never banned;
 * UINT32_MAX: none). `provided`: whether bans look at what packages provide as well.
 */
int needs_tell(struct channel_needs *n, const struct pkg_need *formula, enum channel_need_kind kind,
	       channel_need_fn *fn, void *ctx, struct err *e);
/* Each name of a formula by itself, as a wish for the packages that meet it. */
int needs_tell_names(struct channel_needs *n, const struct pkg_need *formula, channel_need_fn *fn, void *ctx,
		     struct err *e);
int needs_tell_ban(struct channel_needs *n, const struct pkg_need *formula, uint32_t self, bool provided,
		   channel_need_fn *fn, void *ctx, struct err *e);
/* "This can never be had." */
int needs_tell_never(const struct pkg_need *formula, channel_need_fn *fn, void *ctx, struct err *e);
