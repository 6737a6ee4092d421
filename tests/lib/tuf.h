// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * A repository that its own keeper signed, a client of it, and a server between them that lies as it is told to.
 *
 *	struct world w = world_new();                       keys, first metadata, a client that trusts its root; time stands
 *	world_publish(&w, "a.txt", "content");              one target of its own
 *	CHECK(world_refresh(&w, &e) == 0);
 *	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 2", "\"version\": 9");     another text, signed by the real keys
 *	w.serve_as = "2.snapshot.json", w.instead = "1.snapshot.json";                              one file for another
 *
 * Everything lies below test_tmp(): N/metadata/, N/keys/, N/trusted/.
 */
#include <fcntl.h>

#include "base/digest.h"
#include "base/fs.h"
#include "tuf/keeper.h"
#include "tuf/tuf.h"

enum { WORLD_DAY_S = 86400 };

struct world {
	int repo_fd, keys_fd, trusted_fd;
	struct clock_fake clock;
	const char *serve_as, *instead; /* asked for the first, the second is served; NULL instead: it is not there */
	const char *endless;		/* this one never ends */
	size_t asked_n;			/* of the client */
	char asked[64][128];
	uint64_t most_bytes; /* that it would take of `endless` */
};

static inline int world_fetch(void *ctx, const char *name, struct buf *ret, struct err *e)
{
	struct world *w = ctx;
	if (w->asked_n < 64)
		snprintf(w->asked[w->asked_n++], sizeof(w->asked[0]), "%s", name);
	if (w->endless && strcmp(name, w->endless) == 0) {
		w->most_bytes = ret->max;
		while (!ret->overflow)
			buf_put_c(ret, "                                ");
		return 0;
	}
	if (w->serve_as && strcmp(name, w->serve_as) == 0) {
		if (!w->instead)
			return err_new(e, ERR_NOT_FOUND, "not there");
		name = w->instead;
	}
	return fs_read(w->repo_fd, name, ret, e);
}

static inline struct tuf_keeper *world_keeper(struct world *w)
{
	struct tuf_keeper_opts o = TUF_KEEPER_OPTS_INIT;
	struct tuf_keeper *k = NULL;
	struct err e = ERR_INIT;
	o.dir_fd = w->repo_fd;
	o.keys_fd = &w->keys_fd, o.keys_n = 1;
	o.clock = &w->clock.base;
	CHECK_MSG(tuf_keeper_open(&o, &k, &e) == 0, "%s", e.msg);
	return k;
}

static inline struct tuf_commit world_commit(struct tuf_keeper *k, struct arena *a)
{
	struct tuf_commit done;
	struct err e = ERR_INIT;
	CHECK_MSG(tuf_keeper_commit(k, a, &done, &e) == 0, "%s", e.msg);
	return done;
}

/* A folder of the newest world. */
static int world_number;
static inline int world_dir(const char *name)
{
	auto_free char *path = xasprintf("%s/%d/%s", test_tmp(), world_number, name);
	struct err e = ERR_INIT;
	int fd = fs_open_dir_make(AT_FDCWD, path, &e);
	CHECK_MSG(fd >= 0, "%s", e.msg);
	return fd;
}

/* n new keys for a role, of the next commit. */
static inline void world_rotate(struct world *w, struct tuf_keeper *k, struct arena *a, const char *role, size_t n,
				int64_t threshold)
{
	struct tuf_public_key key[8];
	struct err e = ERR_INIT;
	for (size_t i = 0; i < n; i++)
		CHECK_MSG(tuf_key_make(i % 2 ? TUF_ECDSA_P256 : TUF_ED25519, w->keys_fd, a, &key[i], &e) == 0, "%s",
			  e.msg);
	struct tuf_role_plan p = {key, n, threshold, 0};
	CHECK_MSG(tuf_keeper_role(k, str_c(role), &p, &e) == 0, "%s", e.msg);
}

static inline void world_delegate(struct world *w, struct tuf_keeper *k, struct arena *a, const char *role,
				  const char *pattern, bool terminating)
{
	struct tuf_public_key key;
	struct str path = str_c(pattern);
	struct err e = ERR_INIT;
	CHECK_MSG(tuf_key_make(TUF_ED25519, w->keys_fd, a, &key, &e) == 0, "%s", e.msg);
	struct tuf_delegation d = {str_c(role), {&key, 1, 1, 0}, &path, 1, terminating};
	CHECK_MSG(tuf_keeper_delegate(k, STR("targets"), &d, &e) == 0, "%s", e.msg);
}

static inline struct tuf_file world_file(const char *path, const char *content)
{
	struct tuf_file f = {.path = str_c(path), .length = strlen(content)};
	sha256(content, strlen(content), f.sha256);
	return f;
}

static inline void world_list(struct tuf_keeper *k, const char *role, const char *path, const char *content)
{
	struct tuf_file f = world_file(path, content);
	struct err e = ERR_INIT;
	CHECK_MSG(tuf_keeper_set_targets(k, str_c(role), &f, 1, &e) == 0, "%s", e.msg);
}

static inline void world_publish(struct world *w, const char *path, const char *content)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(tuf_keeper) k = world_keeper(w);
	world_list(k, "targets", path, content);
	world_commit(k, &a);
}

static inline void world_trust(struct world *w, const char *root)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	CHECK_MSG(fs_read(w->repo_fd, root, &b, &e) == 0, "%s", e.msg);
	CHECK_MSG(tuf_client_init(w->trusted_fd, buf_str(&b), &e) == 0, "%s", e.msg);
}

static inline struct world world_new(void)
{
	static const char *const roles[] = {"root", "targets", "snapshot", "timestamp"};
	world_number++;
	struct world w = {.repo_fd = world_dir("metadata"),
			  .keys_fd = world_dir("keys"),
			  .trusted_fd = world_dir("trusted"),
			  .clock = clock_fake_at(0, (int64_t)1800000000 * 1000)};
	auto_arena a = ARENA_INIT;
	auto_ptr(tuf_keeper) k = world_keeper(&w);
	for (size_t i = 0; i < 4; i++)
		world_rotate(&w, k, &a, roles[i], 1, 1);
	world_commit(k, &a);
	world_trust(&w, "1.root.json");
	return w;
}

static inline struct tuf_client_opts world_opts(struct world *w)
{
	struct tuf_client_opts o = TUF_CLIENT_OPTS_INIT;
	o.dir_fd = w->trusted_fd;
	o.fetch = world_fetch, o.fetch_ctx = w;
	o.clock = &w->clock.base;
	return o;
}

/* A whole client: open, refresh, and look for a target where `path` is one. 0, or 1 where nobody signs for it. */
static inline int world_look(struct world *w, const char *path, struct tuf_target *ret, struct err *e)
{
	auto_ptr(tuf_client) c = NULL;
	struct tuf_client_opts o = world_opts(w);
	struct tuf_target t = {0};
	w->asked_n = 0;
	if (tuf_client_open(&o, &c, e) < 0 || tuf_client_refresh(c, e) < 0)
		return -1;
	int rc = path ? tuf_client_target(c, str_c(path), &t, e) : 1;
	if (ret) {
		*ret = t;
		ret->path = ret->role = STR_NONE, ret->url_path = NULL; /* they went with the client */
	}
	return rc < 0 ? -1 : rc == 0;
}

static inline int world_refresh(struct world *w, struct err *e)
{
	return world_look(w, NULL, NULL, e);
}

static inline int64_t world_trusted(struct world *w, enum meta_kind kind)
{
	auto_buf b = BUF_INIT(1 << 20);
	auto_free char *name = xasprintf("%s.json", meta_kind_name[kind]);
	auto_ptr(meta) m = NULL;
	struct err e = ERR_INIT;
	if (fs_read(w->trusted_fd, name, &b, &e) < 0 || meta_parse(kind, buf_str(&b), name, &m, &e) < 0)
		return 0;
	return m->version;
}

/* Writes file `to`: the body of `file` with one text in place of another (of all that follow each other in pairs), signed by what keys there are of
 * the role in the newest root (or of the delegation in `by`). */
static inline void world_forge_to(struct world *w, enum meta_kind kind, const char *file, const char *to,
				  const char *by, const char *role, const char *const *pairs)
{
	struct tuf_keeper k = {.o = {.dir_fd = w->repo_fd, .keys_fd = &w->keys_fd, .keys_n = 1}};
	auto_ptr(meta) m = NULL, forged = NULL, parent = NULL, root = NULL;
	char last[32] = "1.root.json", next[32] = "2.root.json";
	for (int n = 3; fs_exists(w->repo_fd, next); n++) {
		memcpy(last, next, sizeof(last));
		snprintf(next, sizeof(next), "%d.root.json", n);
	}
	auto_buf body = BUF_INIT(1 << 20);
	struct jw jw = JW_INIT(&body, 1);
	struct err e = ERR_INIT;
	CHECK_MSG(keeper_read(&k, kind, file, &m, &e) == 0, "%s", e.msg);
	CHECK_MSG(keeper_read(&k, META_ROOT, last, &root, &e) == 0, "%s", e.msg);
	struct authority who = {root, &root->role[kind]};
	if (by) {
		CHECK_MSG(keeper_read(&k, META_TARGETS, by, &parent, &e) == 0, "%s", e.msg);
		who = (struct authority){parent, NULL};
		for (uint32_t i = 0; i < parent->delegation_n; i++)
			if (str_eq_c(parent->delegation[i].name, role))
				who.who = &parent->delegation[i].role;
		CHECK(who.who);
	}
	jw_value(&jw, m->body);
	for (; *pairs; pairs += 2) {
		char *at = strstr(body.p, pairs[0]);
		CHECK_MSG(at, "'%s' is not in '%s': %s", pairs[0], file, body.p);
		auto_free char *all =
			xasprintf("%.*s%s%s", (int)(at - body.p), body.p, pairs[1], at + strlen(pairs[0]));
		buf_clear(&body);
		buf_put_c(&body, all);
	}
	CHECK_MSG(compose(&k, kind, buf_str(&body), NULL, &who, 1, &forged, &e) == 0, "%s", e.msg);
	CHECK_MSG(fs_replace(w->repo_fd, to, forged->bytes.p, forged->bytes.n, 0, &e) == 0, "%s", e.msg);
}

#define world_forge(w, kind, file, ...)                                                                                \
	world_forge_to(w, kind, file, file, NULL, NULL, (const char *const[]){__VA_ARGS__, NULL})
