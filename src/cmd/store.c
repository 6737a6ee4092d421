// SPDX-License-Identifier: Apache-2.0
/* store gc, verify, size. */
#include <stdio.h>

#include "base/fs.h"
#include "base/json.h"
#include "build/build.h"
#include "cmd/change.h"
#include "cmd/opam_repos.h"

struct store_args {
	bool repair, keep_blobs;
	int64_t min_age_s;
	struct cmd_list words;
};

/* What opam packages leave in a root beside the store: those that were built before, and the archives of their sources. */
struct opam_usage {
	uint64_t packages, package_bytes, archive_bytes;
};

static int add_file(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct opam_usage *u = ctx;
	(void)dirfd, (void)name, (void)rel, (void)e;
	u->archive_bytes += S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
	return 0;
}

static int measure_opam(struct cmd_context *c, struct opam_usage *u, struct err *e)
{
	struct build_opam_kept *v;
	size_t n;
	const char *kept = arena_printf(&c->arena, "%s/" CMD_OPAM_KEPT, c->root_path);
	if (build_opam_kept_list(kept, &c->arena, &v, &n, e) < 0)
		return -1;
	u->packages = n;
	for (size_t i = 0; i < n; i++)
		u->package_bytes += v[i].bytes;
	return fs_exists(c->root_fd, CMD_OPAM_ARCHIVES) ? fs_walk(c->root_fd, CMD_OPAM_ARCHIVES, add_file, u, e) : 0;
}

static void put_opam(struct cmd_context *c, const struct opam_usage *u, struct buf *b)
{
	if (u->packages) {
		buf_printf(b, "opam packages built before: %llu, ", (unsigned long long)u->packages);
		out_put_size(b, u->package_bytes);
		buf_printf(b, ", in '%s/" CMD_OPAM_KEPT "'; 'slipway opam cache --gc' frees\n", c->root_path);
	}
	if (u->archive_bytes) {
		buf_put_c(b, "sources of opam packages: ");
		out_put_size(b, u->archive_bytes);
		buf_printf(b, ", in '%s/" CMD_OPAM_ARCHIVES "', which may be removed\n", c->root_path);
	}
}

/* opam: NULL where it is not asked for. */
static int print_usage(struct cmd_context *c, const struct store_usage *u, const struct opam_usage *opam,
		       const char *what)
{
	auto_answer a = {0};
	auto_buf b = BUF_INIT(BUF_MAX);
	if (c->json) {
		struct jw *w = cmd_answer(&a);
		jw_kv_int(w, "blobs", (int64_t)u->blobs);
		jw_kv_int(w, "blob_bytes", (int64_t)u->blob_bytes);
		jw_kv_int(w, "trees", (int64_t)u->trees);
		jw_kv_int(w, "tree_bytes", (int64_t)u->tree_bytes);
		jw_kv_int(w, "tmp_bytes", (int64_t)u->tmp_bytes);
		if (opam) {
			jw_kv_int(w, "opam_packages", (int64_t)opam->packages);
			jw_kv_int(w, "opam_package_bytes", (int64_t)opam->package_bytes);
			jw_kv_int(w, "opam_archive_bytes", (int64_t)opam->archive_bytes);
		}
		return cmd_answer_print(c, &a);
	}
	buf_printf(&b, "%s%llu archive%s, ", what, (unsigned long long)u->blobs, u->blobs == 1 ? "" : "s");
	out_put_size(&b, u->blob_bytes);
	buf_printf(&b, "; %llu unpacked package%s, ", (unsigned long long)u->trees, u->trees == 1 ? "" : "s");
	out_put_size(&b, u->tree_bytes);
	buf_put_c(&b, "; half-done work, ");
	out_put_size(&b, u->tmp_bytes);
	buf_put_char(&b, '\n');
	if (opam)
		put_opam(c, opam, &b);
	return cmd_print(c, &b);
}

static int size(struct cmd_context *c, const struct store_args *a, struct err *e)
{
	struct store_usage u = {0};
	struct opam_usage opam = {0};
	(void)a;
	return store_size(c->store, &u, e) < 0 || measure_opam(c, &opam, e) < 0 ? cmd_fail(c, e)
										: print_usage(c, &u, &opam, "");
}

static int gc(struct cmd_context *c, const struct store_args *a, struct err *e)
{
	struct store_usage freed = {0};
	uint8_t(*keep)[SHA256_SIZE];
	size_t keep_n;
	if (store_gc_begin(c->store, e) < 0 || cmd_need_state(c, true, e) < 0 ||
	    env_digests_in_use(c->state, &c->arena, &keep, &keep_n, e) < 0)
		return cmd_fail(c, e);
	struct store_gc_opts o = {
		.min_age_s = a->min_age_s,
		.keep_blobs = a->keep_blobs,
		.dry_run = c->dry_run,
		.keep = (const uint8_t(*)[SHA256_SIZE])keep,
		.keep_n = keep_n,
	};
	if (!c->dry_run)
		cmd_if_interrupted(c, "what is in use is there; the same command frees the rest");
	if (store_gc(c->store, &o, &freed, e) < 0 || (!c->dry_run && build_workshop_tidy(c->root_fd, c->store, e) < 0))
		return cmd_fail(c, e);
	if (!c->dry_run)
		cmd_changed(c);
	return print_usage(c, &freed, NULL, c->dry_run ? "would free: " : "freed: ");
}

struct verification {
	struct cmd_context *c;
	struct jw *w;
	int64_t contradictions;
};

static void on_damage(void *ctx, const char *what, const char *why, bool mendable)
{
	struct verification *v = ctx;
	v->contradictions += !mendable;
	cmd_warn(v->c, "%s: %s", what, why);
	jw_object(v->w);
	jw_kv_c(v->w, "what", what);
	jw_kv_c(v->w, "why", why);
	jw_kv_bool(v->w, "mendable", mendable);
	jw_object_end(v->w);
}

static int verify(struct cmd_context *c, const struct store_args *a, struct err *e)
{
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	struct verification v = {.c = c, .w = w};
	jw_key(w, "damaged");
	jw_array(w);
	if (a->repair)
		cmd_if_interrupted(c, "what was found damaged so far is moved away; the same command goes on");
	cmd_progress_begin(c);
	int64_t n = store_verify(c->store, a->repair, &c->progress, on_damage, &v, e);
	cmd_progress_end(c);
	if (n < 0)
		return cmd_fail(c, e);
	jw_array_end(w);
	int64_t damaged = n - v.contradictions;
	jw_kv_bool(w, "repaired", damaged > 0 && a->repair);
	if (!n)
		cmd_say(c, "the store is whole");
	if (damaged && a->repair)
		cmd_say(c, "damaged and moved away, to be fetched again when needed: %lld", (long long)damaged);
	else if (damaged)
		cmd_say(c,
			"damaged: %lld; 'slipway store verify --repair' moves that away, so that it is fetched again",
			(long long)damaged);
	if (v.contradictions)
		cmd_say(c, "packages that contradict themselves, which no repair mends: %lld",
			(long long)v.contradictions);
	if (c->json)
		cmd_answer_print(c, &answer);
	return v.contradictions || (n && !a->repair) ? CMD_FAILED : CMD_OK;
}

typedef int store_fn(struct cmd_context *c, const struct store_args *a, struct err *e);

static int run(struct cmd_context *c, const struct cmd_option *options, int argc, char **argv, struct store_args *a,
	       store_fn *fn)
{
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a->words, &e);
	if (rc == 0 && a->words.n)
		rc = err_new(&e, ERR_USAGE, "unexpected word '%s'", a->words.v[0]);
	vec_release(&a->words);
	if (rc < 0)
		return cmd_fail(c, &e);
	if (c->help)
		return cmd_help(c);
	bool changes = fn == gc || a->repair;
	int rc_store = changes ? cmd_need_store(c, &e) : cmd_need_store_to_read(c, &e);
	return rc_store < 0 ? cmd_fail(c, &e) : fn(c, a, &e);
}

int cmd_store_gc(struct cmd_context *c, int argc, char **argv)
{
	struct store_args a = {0};
	const struct cmd_option options[] = {
		{0, "keep-archives", CMD_FLAG, &a.keep_blobs},
		{0, "min-age", CMD_NUMBER, &a.min_age_s},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, gc);
}

int cmd_store_size(struct cmd_context *c, int argc, char **argv)
{
	struct store_args a = {0};
	return run(c, NULL, argc, argv, &a, size);
}

int cmd_store_verify(struct cmd_context *c, int argc, char **argv)
{
	struct store_args a = {0};
	const struct cmd_option options[] = {
		{0, "repair", CMD_FLAG, &a.repair},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, options, argc, argv, &a, verify);
}
