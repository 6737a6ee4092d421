// SPDX-License-Identifier: Apache-2.0
/*
 * Channels of signed plans: what hosts are to run, as their operator signed it somewhere else (doc/formats/plan.md). A repository of The Update
 * Framework as plain files, metadata/ and targets/, which `slipway plan publish` copies in, and which is served without a key. Nothing is
 * verified here but digests: who trusts it is a host, by the root that it was given.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "channel/kind.h"

enum { META_MAX = 32 << 20, TARGET_MAX = 256 << 20, ROOTS_MAX = 4096 };
#define TIMESTAMP "metadata/timestamp.json"

static enum channel_file plan_file(struct str path)
{
	struct str name = path;
	if (str_eq(path, STR(TIMESTAMP)))
		return CHANNEL_FILE_POINTER;
	if (str_take_str(&name, STR("metadata/"))) {
		uint64_t version;
		bool good = str_find(name, '/') < 0 && str_take_u64(&name, &version) && name.p[0] == '.' &&
			    str_ends(name, STR(".json"));
		return good ? CHANNEL_FILE_NAMED : CHANNEL_FILE_NONE;
	}
	return str_take_str(&name, STR("targets/")) && str_ends(name, STR(".spr")) ? CHANNEL_FILE_PACKAGE
										   : CHANNEL_FILE_NONE;
}

static const char *plan_type(struct str path)
{
	return str_ends(path, STR(".spr")) ? "text/plain; charset=utf-8" : NULL;
}

/* -- following ------------------------------------------------------------------------------------------------------ */

enum stage { ROOTS, STAMP, SNAPSHOT, ROLES, PLANS, END };
struct plan_walk {
	struct channel_walk base;
	struct arena arena;
	int dir;
	enum stage stage;
	uint32_t root; /* that was asked for last */
	VEC(const char *) roles;
};

static int walk_new(int folder_fd, const struct channel_walk_opts *o, struct channel_walk **ret, struct err *e)
{
	int dir = fcntl(folder_fd, F_DUPFD_CLOEXEC, 0);
	(void)o; /* a plan is there as a whole */
	if (dir < 0)
		return err_sys(e, "open the channel's folder");
	struct plan_walk *w = xcalloc(1, sizeof(*w));
	w->dir = dir;
	*ret = &w->base;
	return 0;
}

static void walk_free(struct channel_walk *base)
{
	struct plan_walk *w = (struct plan_walk *)base;
	cleanup_fd(&w->dir);
	vec_release(&w->roles);
	arena_release(&w->arena);
	free(w);
}

static int need_object(const struct json *j, const char *key, const struct json **ret, struct err *e)
{
	*ret = NULL;
	if (json_opt_object(j, key, ret, e) < 0)
		return -1;
	return *ret ? 0 : err_new(e, ERR_INPUT, "%s: offset %zu: no '%s'", j->where, j->offset, key);
}

/* The member "signed" of a file of the folder. */
static const struct json *read_signed(struct plan_walk *w, const char *path, struct err *e)
{
	auto_buf b = BUF_INIT(META_MAX);
	const struct json *ret = NULL;
	if (fs_read(w->dir, path, &b, e) < 0)
		return NULL;
	const struct json *j = json_parse(&w->arena, arena_str(&w->arena, buf_str(&b)), path, e);
	return j && need_object(j, "signed", &ret, e) == 0 ? ret : NULL;
}

/* "metadata/VERSION.ROLE.json", by an entry of a member "meta". */
static const char *path_of(struct plan_walk *w, const struct json_member *m, struct err *e)
{
	int64_t version;
	if (json_get_int(&m->value, "version", &version, e) < 0)
		return NULL;
	const char *path = arena_printf(&w->arena, "metadata/%lld.%.*s", (long long)version, STR_ARG(m->key));
	if (version > 0 && channel_path_is_normal(str_c(path)) && plan_file(str_c(path)) == CHANNEL_FILE_NAMED)
		return path;
	err_new(e, ERR_INPUT, "%s: offset %zu: '%.*s' is no name of metadata", m->value.where, m->value.offset,
		STR_ARG(m->key));
	return NULL;
}

static int tell_meta(struct plan_walk *w, const char *of, bool keep, channel_item_fn *fn, void *ctx, struct err *e)
{
	const struct json *meta, *j = read_signed(w, of, e);
	if (!j || need_object(j, "meta", &meta, e) < 0)
		return -1;
	for (uint32_t i = 0; i < meta->n; i++) {
		const char *path = path_of(w, &meta->member[i], e);
		const struct channel_item item = {.path = str_c(path), .what = CHANNEL_FILE_NAMED};
		if (!path || fn(ctx, &item, e) < 0)
			return -1;
		if (keep || i == 0)
			vec_push(&w->roles, path);
	}
	return 0;
}

static int tell_plan(struct plan_walk *w, const struct json_member *t, channel_item_fn *fn, void *ctx, struct err *e)
{
	const struct json *hashes;
	struct str hex;
	ptrdiff_t slash = str_rfind(t->key, '/');
	struct channel_item item = {
		.what = CHANNEL_FILE_PACKAGE, .name = t->key, .digest = {.kind = DIGEST_SHA256, .known = true}};
	int64_t size;
	if (json_get_int(&t->value, "length", &size, e) < 0 || need_object(&t->value, "hashes", &hashes, e) < 0 ||
	    json_get_str(hashes, "sha256", &hex, e) < 0)
		return -1;
	item.path = str_c(arena_printf(&w->arena, "targets/%.*s%.*s.%.*s", (int)(slash + 1), t->key.p, STR_ARG(hex),
				       STR_ARG(str_skip(t->key, (size_t)(slash + 1)))));
	item.size = (uint64_t)size;
	if (size < 0 || size > TARGET_MAX || !str_unhex(hex, item.digest.bytes, SHA256_SIZE) ||
	    !channel_path_is_normal(item.path) || plan_file(item.path) != CHANNEL_FILE_PACKAGE)
		return err_new(e, ERR_INPUT, "%s: offset %zu: '%.*s' is no plan", t->value.where, t->value.offset,
			       STR_ARG(t->key));
	return fn(ctx, &item, e);
}

static int tell_plans(struct plan_walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	vec_foreach(role, &w->roles) {
		const struct json *targets, *j = read_signed(w, *role, e);
		if (!j || need_object(j, "targets", &targets, e) < 0)
			return -1;
		for (uint32_t i = 0; i < targets->n; i++)
			if (tell_plan(w, &targets->member[i], fn, ctx, e) < 0)
				return -1;
	}
	return 0;
}

/* One root after the other, until there is no next one. */
static int next_root(struct plan_walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	char path[64];
	snprintf(path, sizeof(path), "metadata/%u.root.json", w->root);
	if (w->root > 0 && !fs_exists(w->dir, path)) {
		w->stage = STAMP;
		return 0;
	}
	if (w->root == ROOTS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d roots", ROOTS_MAX);
	snprintf(path, sizeof(path), "metadata/%u.root.json", ++w->root);
	const struct channel_item item = {.path = str_c(path), .what = CHANNEL_FILE_NAMED, .optional = w->root > 1};
	return fn(ctx, &item, e);
}

static int walk_next(struct channel_walk *base, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct plan_walk *w = (struct plan_walk *)base;
	const struct channel_item stamp = {.path = STR(TIMESTAMP), .what = CHANNEL_FILE_POINTER};
	int rc = 0;
	if (w->stage == ROOTS)
		rc = next_root(w, fn, ctx, e);
	if (rc < 0 || w->stage == ROOTS)
		return rc < 0 ? -1 : 1;
	const char *snapshot = w->roles.n ? w->roles.v[0] : NULL;
	switch (w->stage++) {
	case STAMP:
		return fn(ctx, &stamp, e) < 0 ? -1 : 1;
	case SNAPSHOT:
		return tell_meta(w, TIMESTAMP, false, fn, ctx, e) < 0 ? -1 : 1;
	case ROLES:
		vec_clear(&w->roles);
		if (!snapshot)
			return err_new(e, ERR_INPUT, TIMESTAMP ": names no snapshot");
		return tell_meta(w, snapshot, true, fn, ctx, e) < 0 ? -1 : 1;
	case PLANS:
		return tell_plans(w, fn, ctx, e) < 0 ? -1 : 1;
	case ROOTS:
	case END:
		break;
	}
	w->stage = END;
	return 0;
}

/* "targets/app1/DIGEST.step.spr" */
static bool plan_path_digest(struct str path, struct digest_value *ret)
{
	struct str name = str_skip(path, (size_t)(str_rfind(path, '/') + 1));
	*ret = (struct digest_value){.kind = DIGEST_SHA256, .known = true};
	return plan_file(path) == CHANNEL_FILE_PACKAGE && name.n > 2 * SHA256_SIZE && name.p[2 * SHA256_SIZE] == '.' &&
	       str_unhex(str_head(name, 2 * SHA256_SIZE), ret->bytes, SHA256_SIZE);
}

static int plan_learn(const struct channel_came *c, struct str path, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct plan_walk w = {.dir = c->folder};
	int rc = 0;
	if (!str_starts(path, STR("metadata/")) || str_ends(path, STR(".root.json")))
		return 0;
	const char *file = arena_strdup(&w.arena, path);
	if (plan_file(path) == CHANNEL_FILE_POINTER || str_ends(path, STR(".snapshot.json"))) {
		rc = tell_meta(&w, file, true, fn, ctx, e);
	} else {
		vec_push(&w.roles, file);
		rc = tell_plans(&w, fn, ctx, e);
	}
	vec_release(&w.roles);
	arena_release(&w.arena);
	return rc < 0 ? -1 : 0;
}

static int publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		   struct progress *progress, struct err *e)
{
	(void)files, (void)n, (void)o, (void)progress;
	return err_new(
		e, ERR_UNSUPPORTED,
		"plans are signed where their operator's keys are; 'slipway plan publish DIR %s' brings them here",
		folder);
}

const struct channel_kind kind_plan = {
	.name = "plan",
	.marks = TIMESTAMP,
	.packages = ".plan",
	.file = plan_file,
	.type = plan_type,
	.walk_new = walk_new,
	.walk_next = walk_next,
	.walk_free = walk_free,
	.path_digest = plan_path_digest,
	.learn = plan_learn,
	.publish = publish,
};
