// SPDX-License-Identifier: Apache-2.0
/*
 * A commit: what has to be new is made in memory, in the order in which one lists the other, and written in the order in which readers may
 * see it. A root that is not signed enough, or under which something would not verify, waits; then all is made under the old one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/sys.h"
#include "tuf/keeper.h"

enum { TIMESTAMP_DAYS = 7, SNAPSHOT_DAYS = 14, TARGETS_DAYS = 90 };

static void drop(struct meta **m)
{
	meta_free(*m);
	*m = NULL;
}

static int64_t expiry(const struct tuf_keeper *k, int64_t days)
{
	int64_t now_s = k->now_ms / 1000;
	return (now_s + days * (DAY_MS / 1000)) * 1000;
}

/* Less than half of its life is left. */
static bool is_due(const struct tuf_keeper *k, const struct meta *m, int64_t days)
{
	return m->expires_ms - k->now_ms < days * DAY_MS / 2;
}

static bool verifies(const struct meta *m, struct authority a)
{
	struct err other = ERR_INIT;
	return meta_verify(m, a.by, a.who, &other) == 0;
}

/* -- root ------------------------------------------------------------------------------------------------------------ */

static void put_root_members(const struct tuf_keeper *k, struct buf *keys, struct buf *roles)
{
	struct jw w = JW_INIT(keys, 1);
	const struct plan *all[META_KINDS];
	for (int i = 0; i < META_KINDS; i++)
		all[i] = &k->plan[i];
	put_keys(&w, all, META_KINDS);
	w = JW_INIT(roles, 1);
	jw_object(&w);
	for (int i = 0; i < META_KINDS; i++) {
		jw_key(&w, meta_kind_name[i]);
		jw_object(&w);
		put_plan(&w, &k->plan[i]);
		jw_object_end(&w);
	}
	jw_object_end(&w);
}

static int root_body(struct tuf_keeper *k, struct buf *body, struct err *e)
{
	auto_buf keys = BUF_INIT(KEEPER_BYTES_MAX), roles = BUF_INIT(KEEPER_BYTES_MAX);
	for (int i = 0; i < META_KINDS; i++)
		if (!k->plan[i].threshold)
			return err_new(e, ERR_USAGE,
				       "the first root wants keys for root, targets, snapshot and timestamp");
	put_root_members(k, &keys, &roles);
	const struct member v[] = {
		{"consistent_snapshot", STR("true")}, {"keys", buf_str(&keys)}, {"roles", buf_str(&roles)}};
	compose_body(body, META_ROOT, k->root_staged ? k->root_staged : k->root, (k->root ? k->root->version : 0) + 1,
		     expiry(k, k->plan[META_ROOT].days), v, sizeof(v) / sizeof(v[0]));
	return 0;
}

static void text_of(const struct meta *m, struct buf *b)
{
	struct jw w = JW_INIT(b, 1);
	jw_value(&w, m->body);
}

/* The new root, where there is to be one: complete in root_next, else in root_waiting. */
static int make_root(struct tuf_keeper *k, struct err *e)
{
	auto_buf body = BUF_INIT(KEEPER_BYTES_MAX);
	auto_ptr(meta) m = NULL, shape = NULL;
	const struct meta *before = NULL;
	struct authority v[2];
	size_t n = 0;
	bool due = k->root && is_due(k, k->root, k->plan[META_ROOT].days);
	bool fresh = k->plan_changed || k->renew_root;
	if (!fresh && k->root_staged) {
		before = k->root_staged;
		text_of(before, &body);
	} else if (fresh || due) {
		if (root_body(k, &body, e) < 0)
			return -1;
	} else if (!k->root) {
		return err_new(e, ERR_NOT_FOUND, "there is no root here; 'slipway tuf create' makes one");
	} else {
		return 0;
	}
	/* without signatures first: who signs stands in it */
	if (compose(k, META_ROOT, buf_str(&body), NULL, NULL, 0, &shape, e) < 0)
		return -1;
	v[n++] = (struct authority){shape, &shape->role[META_ROOT]};
	if (k->root)
		v[n++] = (struct authority){k->root, &k->root->role[META_ROOT]};
	if (compose(k, META_ROOT, buf_str(&body), before, v, n, &m, e) < 0)
		return -1;
	bool complete = true;
	for (size_t i = 0; i < n; i++)
		complete &= verifies(m, v[i]);
	if (complete)
		k->root_next = steal_ptr(&m);
	else if (fresh || before || m->sig_n) /* one that is only due waits for who has a key of it */
		k->root_waiting = steal_ptr(&m);
	return 0;
}

/* -- the others -------------------------------------------------------------------------------------------------------- */

struct next {
	enum meta_kind kind;
	const struct meta *now, *staged;
	const struct member *member;
	size_t member_n;
	bool changed;
	int64_t days;
};

/* Signs by `who`, and by `also` where that has keys here: so that it verifies before and after a change of root. NULL where nothing is to be new. */
static int make_next(struct tuf_keeper *k, const struct next *x, struct authority who, const struct authority *also,
		     struct meta **ret, struct err *e)
{
	auto_buf body = BUF_INIT(KEEPER_BYTES_MAX);
	struct authority v[2] = {who};
	const struct meta *before = NULL;
	bool due = !x->now || is_due(k, x->now, x->days) || !verifies(x->now, who);
	*ret = NULL;
	if (!x->changed && x->staged) {
		before = x->staged;
		text_of(before, &body);
	} else if (x->changed || due) {
		compose_body(&body, x->kind, x->staged ? x->staged : x->now, (x->now ? x->now->version : 0) + 1,
			     expiry(k, x->days), x->member, x->member_n);
	} else {
		return 0;
	}
	if (body.overflow)
		return err_new(e, ERR_LIMIT, "a new %s would be too large", meta_kind_name[x->kind]);
	if (also)
		v[1] = *also;
	return compose(k, x->kind, buf_str(&body), before, v, also ? 2 : 1, ret, e);
}

/* For snapshot and timestamp: one that is only due is left to who has its keys. */
static int make_online(struct tuf_keeper *k, const struct next *x, struct authority who, const struct authority *also,
		       struct meta **ret, struct err *e)
{
	if (make_next(k, x, who, also, ret, e) < 0)
		return -1;
	if (*ret && !x->changed && x->now && verifies(x->now, who) && !verifies(*ret, who))
		drop(ret);
	return 0;
}

static struct authority top(struct meta *root, enum meta_kind kind)
{
	return (struct authority){root, &root->role[kind]};
}

static int make_role(struct tuf_keeper *k, struct kept_role *r, struct meta *root, struct err *e)
{
	auto_ptr(meta) m = NULL;
	struct member v[2];
	struct authority who, old;
	struct next x = {META_TARGETS, r->now, r->staged, v, 0, r->targets.p || r->delegations.p || r->renew,
			 TARGETS_DAYS};
	bool also = r->parent < 0 && k->root && root != k->root;
	if (!keeper_authority(k, r, root, &who))
		return 0; /* nobody delegates to it any more */
	if (also)
		old = top(k->root, META_TARGETS);
	x.days = keeper_days(who.who, x.days);
	if (r->targets.p)
		v[x.member_n++] = (struct member){"targets", r->targets};
	else if (!r->now)
		v[x.member_n++] = (struct member){"targets", STR("{}")};
	if (r->delegations.p)
		v[x.member_n++] = (struct member){"delegations", r->delegations};
	if (make_next(k, &x, who, also ? &old : NULL, &m, e) < 0)
		return err_ctx(e, "role '%.*s'", STR_ARG(r->name));
	if (m && verifies(m, who))
		r->next = steal_ptr(&m);
	else if (m && (x.changed || r->staged || m->sig_n || !r->now))
		r->waiting = steal_ptr(&m);
	return 0;
}

static void put_file_entry(struct jw *w, const struct meta *m)
{
	uint8_t digest[SHA256_SIZE];
	sha256(m->bytes.p, m->bytes.n, digest);
	jw_object(w);
	jw_kv_int(w, "version", m->version);
	jw_kv_int(w, "length", (int64_t)m->bytes.n);
	jw_key(w, "hashes");
	jw_object(w);
	jw_kv_hex(w, "sha256", digest, sizeof(digest));
	jw_object_end(w);
	jw_object_end(w);
}

static int make_snapshot(struct tuf_keeper *k, struct meta *root, struct err *e)
{
	auto_buf files = BUF_INIT(KEEPER_BYTES_MAX);
	auto_map seen = MAP_INIT;
	struct jw w = JW_INIT(&files, 1);
	const struct json *old = k->snapshot ? json_get(k->snapshot->body, "meta") : NULL;
	bool changed = k->renew_snapshot, also = k->root && root != k->root;
	struct authority before = also ? top(k->root, META_SNAPSHOT) : (struct authority){0};
	jw_object(&w);
	vec_foreach(r, &k->role) {
		const struct meta *m = r->next ? r->next : r->now;
		changed |= r->next != NULL;
		if (!m)
			continue;
		struct str name = str_c(arena_printf(&k->arena, "%.*s.json", STR_ARG(r->name)));
		*map_put(&seen, name) = 1;
		jw_key_str(&w, name);
		put_file_entry(&w, m);
	}
	for (uint32_t i = 0; old && i < old->n; i++) { /* a role that was listed stays listed */
		if (map_get(&seen, old->member[i].key))
			continue;
		jw_key_str(&w, old->member[i].key);
		jw_value(&w, &old->member[i].value);
	}
	jw_object_end(&w);
	const struct member v = {"meta", buf_str(&files)};
	struct authority who = top(root, META_SNAPSHOT);
	struct next x = {META_SNAPSHOT, k->snapshot, NULL, &v, 1, changed, keeper_days(who.who, SNAPSHOT_DAYS)};
	return make_online(k, &x, who, also ? &before : NULL, &k->snapshot_next, e);
}

static int make_timestamp(struct tuf_keeper *k, struct meta *root, struct err *e)
{
	auto_buf files = BUF_INIT(KEEPER_BYTES_MAX);
	struct jw w = JW_INIT(&files, 1);
	const struct meta *m = k->snapshot_next ? k->snapshot_next : k->snapshot;
	bool also = k->root && root != k->root;
	struct authority before = also ? top(k->root, META_TIMESTAMP) : (struct authority){0};
	jw_object(&w);
	jw_key(&w, "snapshot.json");
	put_file_entry(&w, m);
	jw_object_end(&w);
	const struct member v = {"meta", buf_str(&files)};
	struct authority who = top(root, META_TIMESTAMP);
	struct next x = {META_TIMESTAMP,
			 k->timestamp,
			 NULL,
			 &v,
			 1,
			 k->snapshot_next || k->renew_timestamp,
			 keeper_days(who.who, TIMESTAMP_DAYS)};
	return make_online(k, &x, who, also ? &before : NULL, &k->timestamp_next, e);
}

/* -- is it all there? ------------------------------------------------------------------------------------------------------ */

static void forget_next(struct tuf_keeper *k)
{
	drop(&k->snapshot_next);
	drop(&k->timestamp_next);
	vec_foreach(r, &k->role) {
		drop(&r->next);
		drop(&r->waiting);
	}
}

static bool stands(const struct meta *next, const struct meta *now, struct authority who)
{
	const struct meta *m = next ? next : now;
	return m && verifies(m, who);
}

static int make_all(struct tuf_keeper *k, struct meta *root, struct err *e)
{
	for (size_t i = 0; i < k->role.n; i++)
		if (make_role(k, &k->role.v[i], root, e) < 0)
			return -1;
	const struct kept_role *targets = &k->role.v[0];
	if (!targets->next && !targets->now)
		return 0; /* nothing to list */
	return make_snapshot(k, root, e) < 0 || make_timestamp(k, root, e) < 0 ? -1 : 0;
}

/* Under that root a reader would find everything signed. */
static bool is_whole(struct tuf_keeper *k, struct meta *root)
{
	const struct kept_role *targets = &k->role.v[0];
	return stands(targets->next, targets->now, top(root, META_TARGETS)) &&
	       stands(k->snapshot_next, k->snapshot, top(root, META_SNAPSHOT)) &&
	       stands(k->timestamp_next, k->timestamp, top(root, META_TIMESTAMP));
}

/* -- writing ------------------------------------------------------------------------------------------------------------------ */

static int put(struct tuf_keeper *k, const char *file, const struct meta *m, struct err *e)
{
	return k->o.dry_run ? 0 : fs_replace(k->o.dir_fd, file, m->bytes.p, m->bytes.n, FS_REPLACE_SYNC, e);
}

static int put_version(struct tuf_keeper *k, struct str role, const struct meta *m, struct err *e)
{
	char file[FILE_NAME_SIZE];
	snprintf(file, sizeof(file), "%" PRId64 ".%.*s.json", m->version, STR_ARG(role));
	return put(k, file, m, e);
}

static int put_staged(struct tuf_keeper *k, struct str role, const struct meta *m, struct err *e)
{
	char file[FILE_NAME_SIZE];
	snprintf(file, sizeof(file), STAGED_DIR "/%.*s.json", STR_ARG(role));
	if (k->o.dry_run)
		return 0;
	return fs_mkdirs(k->o.dir_fd, STAGED_DIR, 0755, e) < 0 ? -1 : put(k, file, m, e);
}

static int forget_staged(struct tuf_keeper *k, struct str role, struct err *e)
{
	char file[FILE_NAME_SIZE];
	snprintf(file, sizeof(file), STAGED_DIR "/%.*s.json", STR_ARG(role));
	if (!k->o.dry_run && sys_unlinkat(k->o.dir_fd, file, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s'", file);
	return 0;
}

/* Readers have the new root before or after the new timestamp: both ways round must verify, or be short. */
static int put_pointers(struct tuf_keeper *k, struct err *e)
{
	bool early = !k->root || !is_whole(k, k->root);
	if (k->root_next && early && put_version(k, STR("root"), k->root_next, e) < 0)
		return -1;
	if (k->timestamp_next && put(k, "timestamp.json", k->timestamp_next, e) < 0)
		return -1;
	if (k->root_next && !early && put_version(k, STR("root"), k->root_next, e) < 0)
		return -1;
	return 0;
}

static int publish(struct tuf_keeper *k, struct err *e)
{
	vec_foreach(r, &k->role)
		if (r->next && put_version(k, r->name, r->next, e) < 0)
			return -1;
	if (k->snapshot_next && put_version(k, STR("snapshot"), k->snapshot_next, e) < 0)
		return -1;
	if (put_pointers(k, e) < 0 || (k->root_next && k->root_staged && forget_staged(k, STR("root"), e) < 0))
		return -1;
	vec_foreach(r, &k->role)
		if (r->next && r->staged && forget_staged(k, r->name, e) < 0)
			return -1;
	return 0;
}

/* What was made and cannot be published: for the next one with keys. */
static int stage(struct tuf_keeper *k, bool published, struct err *e)
{
	if (k->root_waiting && put_staged(k, STR("root"), k->root_waiting, e) < 0)
		return -1;
	vec_foreach(r, &k->role) {
		const struct meta *m = r->waiting ? r->waiting : published ? NULL : r->next;
		if (m && put_staged(k, r->name, m, e) < 0)
			return -1;
	}
	return 0;
}

/* -- telling, going on -------------------------------------------------------------------------------------------------------- */

static void tell(struct tuf_commit *ret, struct arena *a, struct str role, const struct meta *m, struct authority who,
		 bool staged)
{
	if (!m)
		return;
	ret->v[ret->n++] = (struct tuf_signed){
		.role = arena_str(a, role),
		.version = m->version,
		.expires_ms = m->expires_ms,
		.signatures = meta_signatures(m, who.by, who.who),
		.threshold = who.who->threshold,
		.staged = staged,
	};
}

static void tell_all(struct tuf_keeper *k, struct arena *a, struct meta *root, bool published, struct tuf_commit *ret)
{
	struct authority who;
	*ret = (struct tuf_commit){arena_array(a, struct tuf_signed, k->role.n * 2 + META_KINDS), 0};
	if (k->root_waiting)
		tell(ret, a, STR("root"), k->root_waiting, top(k->root_waiting, META_ROOT), true);
	if (k->root_next)
		tell(ret, a, STR("root"), k->root_next, top(k->root_next, META_ROOT), !published);
	vec_foreach(r, &k->role) {
		if (!root || !keeper_authority(k, r, root, &who))
			continue;
		tell(ret, a, r->name, r->next, who, !published);
		tell(ret, a, r->name, r->waiting, who, true);
	}
	if (!root)
		return;
	tell(ret, a, STR("snapshot"), k->snapshot_next, top(root, META_SNAPSHOT), !published);
	tell(ret, a, STR("timestamp"), k->timestamp_next, top(root, META_TIMESTAMP), !published);
}

static void advance(struct meta **at, struct meta **next)
{
	if (!*next)
		return;
	meta_free(*at);
	*at = steal_ptr(next);
}

static void go_on(struct tuf_keeper *k, bool published)
{
	if (published && k->root_next) {
		drop(&k->root_before);
		k->root_before = steal_ptr(&k->root);
		drop(&k->root_staged);
	}
	if (published) {
		advance(&k->root, &k->root_next);
		advance(&k->snapshot, &k->snapshot_next);
		advance(&k->timestamp, &k->timestamp_next);
	}
	advance(&k->root_staged, &k->root_waiting);
	vec_foreach(r, &k->role) {
		if (published && r->next)
			drop(&r->staged);
		advance(published ? &r->now : &r->staged, &r->next);
		advance(&r->staged, &r->waiting);
		r->targets = r->delegations = STR_NONE;
		r->renew = false;
	}
	drop(&k->root_next);
	forget_next(k);
	k->plan_changed = k->renew_root = k->renew_snapshot = k->renew_timestamp = false;
}

static bool is_anything(const struct tuf_keeper *k)
{
	bool any = k->root_next || k->snapshot_next || k->timestamp_next;
	vec_foreach(r, &k->role)
		any |= r->next != NULL;
	return any;
}

static int commit(struct tuf_keeper *k, struct arena *a, struct tuf_commit *ret, struct err *e)
{
	if (make_root(k, e) < 0)
		return -1;
	struct meta *root = k->root_next ? k->root_next : k->root;
	if (root && make_all(k, root, e) < 0)
		return -1;
	if (k->root_next && k->root && !is_whole(k, root)) { /* it waits for what has to be signed under it */
		forget_next(k);
		k->root_waiting = steal_ptr(&k->root_next);
		root = k->root;
		if (make_all(k, root, e) < 0)
			return -1;
	}
	bool published = root && is_whole(k, root);
	if (!published && k->root_next)
		k->root_waiting = steal_ptr(&k->root_next);
	if (stage(k, published, e) < 0 || (published && is_anything(k) && publish(k, e) < 0))
		return -1;
	tell_all(k, a, root, published, ret);
	if (!k->o.dry_run)
		go_on(k, published);
	return 0;
}

int tuf_keeper_commit(struct tuf_keeper *k, struct arena *a, struct tuf_commit *ret, struct err *e)
{
	k->now_ms = k->o.clock->wall_ms(k->o.clock);
	forget_next(k);
	drop(&k->root_next);
	drop(&k->root_waiting);
	return commit(k, a, ret, e);
}
