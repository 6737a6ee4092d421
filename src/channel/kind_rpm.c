// SPDX-License-Identifier: Apache-2.0
/* Channels of RPM packages: repodata/repomd.xml and what it names (repomd; dnf, yum, zypper). */
#include "channel/needs.h"
#include "channel/rpm_make.h"

/* == files ========================================================================================================= */

static const char *rpm_type(struct str path)
{
	return str_eq_c(path, RPM_KEY) ? "application/pgp-keys" : NULL;
}

/* == following ===================================================================================================== */

enum stage { STAGE_POINTERS, STAGE_DATA, STAGE_PACKAGES, STAGE_OVER };

struct rpm_walk {
	struct channel_walk walk;
	int folder_fd;
	const struct channel_walk_opts *o;
	enum stage stage;
	struct arena arena;
	struct rpm_repomd repomd;
	channel_item_fn *fn; /* of the stage */
	void *ctx;
};

static int rpm_walk_new(int folder_fd, const struct channel_walk_opts *o, struct channel_walk **ret, struct err *e)
{
	(void)e;
	struct rpm_walk *w = xcalloc(1, sizeof(*w));
	w->folder_fd = folder_fd;
	w->o = o;
	*ret = &w->walk;
	return 0;
}

static void rpm_walk_free(struct channel_walk *walk)
{
	struct rpm_walk *w = (struct rpm_walk *)walk;
	arena_release(&w->arena);
	free(w);
}

static int tell_pointers(struct rpm_walk *w, struct err *e)
{
	struct channel_item item = {.path = STR(RPM_REPOMD), .what = CHANNEL_FILE_POINTER};
	if (w->fn(w->ctx, &item, e) < 0)
		return -1;
	item.path = STR(RPM_SIGNATURE);
	item.optional = !w->o->keyring;
	if (w->fn(w->ctx, &item, e) < 0)
		return -1;
	item.path = STR(RPM_KEY);
	item.optional = true;
	return w->fn(w->ctx, &item, e);
}

/* Other forms of what the XML files tell, and differences between packages: a client can do without. */
static bool is_optional(struct str type)
{
	return str_ends(type, STR("_db")) || str_ends(type, STR("_zck")) || str_eq(type, STR("prestodelta")) ||
	       str_eq(type, STR("deltainfo"));
}

static int tell_data(struct rpm_walk *w, struct err *e)
{
	int rc = rpm_repomd_read(w->folder_fd, w->o->keyring, &w->arena, &w->repomd, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_NOT_FOUND, "there is no '" RPM_REPOMD "'");
	if (!rpm_repomd_find(&w->repomd, "primary"))
		return err_new(e, ERR_INPUT, "'" RPM_REPOMD "' names no primary metadata");
	for (size_t i = 0; i < w->repomd.n; i++) {
		const struct rpm_data *d = &w->repomd.data[i];
		struct channel_item item = {.path = d->path,
					    .url = d->url,
					    .size = d->size,
					    .digest = d->digest,
					    .what = CHANNEL_FILE_NAMED,
					    .optional = is_optional(d->type),
					    .time_ms = d->time_s * 1000};
		w->walk.leads_away |= d->url.n > 0;
		if (w->fn(w->ctx, &item, e) < 0)
			return -1;
	}
	return 0;
}

static int tell_package(void *ctx, const struct rpm_package *p, struct err *e)
{
	struct rpm_walk *w = ctx;
	auto_arena a = ARENA_INIT;
	if (!rpm_wants(w->o, p))
		return 0;
	w->walk.leads_away |= p->url.n > 0;
	struct channel_item item = rpm_item(&a, p);
	return w->fn(w->ctx, &item, e);
}

static int tell_packages(struct rpm_walk *w, struct err *e)
{
	auto_ptr(istream) in = NULL;
	if (rpm_data_open(w->folder_fd, rpm_repomd_find(&w->repomd, "primary"), &in, e) < 0)
		return -1;
	return rpm_primary_read(in, NULL, tell_package, w, e);
}

static int rpm_walk_next(struct channel_walk *walk, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct rpm_walk *w = (struct rpm_walk *)walk;
	int (*const tell[])(struct rpm_walk * w, struct err * e) = {tell_pointers, tell_data, tell_packages};
	if (w->stage == STAGE_OVER)
		return 0;
	w->fn = fn;
	w->ctx = ctx;
	return tell[w->stage++](w, e) < 0 ? -1 : 1;
}

/* == passing on ==================================================================================================== */

struct learning {
	channel_item_fn *fn;
	void *ctx;
};

static int learn_package(void *ctx, const struct rpm_package *p, struct err *e)
{
	const struct learning *l = ctx;
	auto_arena a = ARENA_INIT;
	struct channel_item item = rpm_item(&a, p);
	return l->fn(l->ctx, &item, e);
}

static int learn_repomd(const struct channel_came *c, channel_item_fn *fn, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct rpm_repomd r;
	if (rpm_repomd_read(c->folder, NULL, &a, &r, e) <= 0)
		return -1;
	for (size_t i = 0; i < r.n; i++) {
		const struct channel_item item = {.path = r.data[i].path,
						  .url = r.data[i].url,
						  .size = r.data[i].size,
						  .digest = r.data[i].digest,
						  .what = CHANNEL_FILE_NAMED};
		if (fn(ctx, &item, e) < 0)
			return -1;
	}
	return 0;
}

/* Of the files that repomd.xml names, only primary tells of packages; its name says so, whatever stands before and behind. */
static int rpm_learn(const struct channel_came *c, struct str path, channel_item_fn *fn, void *ctx, struct err *e)
{
	auto_ptr(istream) in = NULL;
	struct learning l = {fn, ctx};
	if (str_eq_c(path, RPM_REPOMD))
		return learn_repomd(c, fn, ctx, e);
	if (!str_starts(path, STR("repodata/")) || str_search(path, STR("primary.xml")) < 0 ||
	    str_ends(path, STR(".zck")))
		return 0;
	auto_free char *name = str_dup(path);
	return kind_open_packed(c->folder, name, RPM_OPEN_MAX, &in, e) < 0 ||
			       rpm_primary_read(in, NULL, learn_package, &l, e) < 0
		       ? -1
		       : 0;
}

const struct channel_kind kind_rpm = {
	.name = "rpm",
	.packages = ".rpm",
	.signing = CHANNEL_SIGNING_OPTIONAL,
	.marks = RPM_REPOMD,
	.file = rpm_file,
	.type = rpm_type,
	.walk_new = rpm_walk_new,
	.walk_next = rpm_walk_next,
	.walk_free = rpm_walk_free,
	.learn = rpm_learn,
	.publish = rpm_publish,
	.rewrite = rpm_rewrite,
	.remove = rpm_remove,
	.needs = &rpm_needs,
};
