// SPDX-License-Identifier: Apache-2.0
/*
 * The client's workflow; numbers are those of section 5 of the specification. What is in the folder was verified when it was put there, and is
 * verified again under the root of now before it counts: what does not verify any more is as if it were not there.
 */
#include "tuf/client.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/sys.h"

#define ROOT_BYTES ((uint64_t)512 << 10)
#define TIMESTAMP_BYTES ((uint64_t)16 << 10)
#define SNAPSHOT_BYTES ((uint64_t)2 << 20)
#define TARGETS_BYTES ((uint64_t)32 << 20)
enum { ROOT_ROTATIONS = 256, FILE_NAME_MAX = 240 };

/* -- files --------------------------------------------------------------------------------------------------------------- */

/* "../a" → "..%2Fa.json": a name that stays in its folder, whatever the role is called. */
static int put_file_name(struct buf *b, struct str role, struct err *e)
{
	put_quoted(b, role, false);
	buf_put_c(b, ".json");
	if (b->overflow || b->n > FILE_NAME_MAX)
		return err_new(e, ERR_LIMIT, "the name of the role '%.*s' is too long for a file", STR_ARG(role));
	return 0;
}

static uint64_t limit_of(const struct tuf_client *c, enum meta_kind kind)
{
	const struct tuf_limits *l = &c->o.limits;
	switch (kind) {
	case META_ROOT:
		return l->root_bytes ? l->root_bytes : ROOT_BYTES;
	case META_TIMESTAMP:
		return l->timestamp_bytes ? l->timestamp_bytes : TIMESTAMP_BYTES;
	case META_SNAPSHOT:
		return l->snapshot_bytes ? l->snapshot_bytes : SNAPSHOT_BYTES;
	case META_TARGETS:
	case META_KINDS:
		break;
	}
	return l->targets_bytes ? l->targets_bytes : TARGETS_BYTES;
}

static int persist(struct tuf_client *c, struct str role, const struct meta *m, struct err *e)
{
	auto_buf name = BUF_INIT(FILE_NAME_MAX + 1);
	if (c->o.keep_nothing)
		return 0;
	if (put_file_name(&name, role, e) < 0 ||
	    fs_replace(c->o.dir_fd, name.p, m->bytes.p, m->bytes.n, FS_REPLACE_SYNC, e) < 0)
		return err_ctx(e, "keep the metadata of '%.*s'", STR_ARG(role));
	return 0;
}

static int forget(struct tuf_client *c, const char *name, struct err *e)
{
	if (!c->o.keep_nothing && sys_unlinkat(c->o.dir_fd, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s', whose keys are no longer good", name);
	return 0;
}

/* The file of the folder, verified; NULL in *ret where there is none, or what is there does not verify (any more). */
static int load_kept(struct tuf_client *c, enum meta_kind kind, struct str role, struct meta *by,
		     const struct meta_role *who, struct meta **ret, struct err *e)
{
	auto_buf name = BUF_INIT(FILE_NAME_MAX + 1), bytes = BUF_INIT(limit_of(c, kind));
	auto_ptr(meta) m = NULL;
	struct err bad = ERR_INIT;
	*ret = NULL;
	if (put_file_name(&name, role, e) < 0)
		return -1;
	if (fs_read(c->o.dir_fd, name.p, &bytes, &bad) < 0) {
		if (bad.code == ERR_NOT_FOUND || bad.code == ERR_LIMIT || bad.code == ERR_INPUT)
			return 0;
		*e = bad;
		return -1;
	}
	if (meta_parse(kind, buf_str(&bytes), name.p, &m, &bad) == 0 && meta_verify(m, by, who, &bad) == 0)
		*ret = steal_ptr(&m);
	return 0;
}

/* Fetches and parses "VERSION.ROLE.json", or "ROLE.json" where version is 0. At most max bytes come. */
static int fetch(struct tuf_client *c, enum meta_kind kind, struct str role, int64_t version, uint64_t max,
		 struct buf *bytes, char name[FILE_NAME_MAX + 32], struct err *e)
{
	auto_buf file = BUF_INIT(FILE_NAME_MAX + 1);
	if (put_file_name(&file, role, e) < 0)
		return -1;
	if (version > 0)
		snprintf(name, FILE_NAME_MAX + 32, "%" PRId64 ".%s", version, file.p);
	else
		snprintf(name, FILE_NAME_MAX + 32, "%s", file.p);
	uint64_t limit = limit_of(c, kind);
	*bytes = BUF_INIT(max < limit ? max : limit);
	int rc = c->o.fetch(c->o.fetch_ctx, name, bytes, e);
	if (rc == 0 && bytes->overflow)
		rc = err_new(e, ERR_LIMIT, "longer than %zu bytes", bytes->max);
	return rc < 0 ? err_ctx(e, "%s", name) : 0;
}

static int check_expiry(const struct tuf_client *c, const struct meta *m, struct err *e)
{
	auto_buf when = BUF_INIT(64), now = BUF_INIT(64);
	if (m->expires_ms > c->now_ms)
		return 0;
	clock_put_iso(&when, m->expires_ms);
	clock_put_iso(&now, c->now_ms);
	return err_new(e, ERR_VERIFY,
		       "%s: version %" PRId64
		       " expired at %s, and here it is %s; the repository is stale or kept from renewal, "
		       "or this machine's clock is wrong",
		       m->where, m->version, when.p, now.p);
}

static int check_version(const struct meta *m, int64_t want, struct err *e)
{
	if (m->version == want)
		return 0;
	return err_new(e, ERR_VERIFY, "%s: holds version %" PRId64 ", not %" PRId64, m->where, m->version, want);
}

static int rolled_back(const struct meta *m, struct str what, int64_t seen, int64_t now, struct err *e)
{
	return err_new(e, ERR_VERIFY,
		       "%s: '%.*s' was at version %" PRId64 " and would go back to %" PRId64
		       "; the server serves an old state, or somebody rolls it back",
		       m->where, STR_ARG(what), seen, now);
}

/* What the parent says of a file, before anything in it is believed. */
static int check_bytes(const struct meta_file *f, struct str bytes, const char *name, struct err *e)
{
	if (f->length >= 0 && (uint64_t)f->length != bytes.n)
		return err_new(e, ERR_VERIFY, "%s: has %zu bytes, not the %" PRId64 " that were signed", name, bytes.n,
			       f->length);
	return meta_hashes_check(&f->hashes, bytes, e) < 0 ? err_ctx(e, "%s", name) : 0;
}

static uint64_t max_of(const struct meta_file *f)
{
	return f->length >= 0 ? (uint64_t)f->length : UINT64_MAX;
}

static void replace(struct meta **at, struct meta *with)
{
	meta_free(*at);
	*at = with;
}

/* -- 5.3: root ------------------------------------------------------------------------------------------------------------ */

/* 5.3.11, before the new root is kept: a process that ends in between forgets too much, not too little. */
static int forget_rotated(struct tuf_client *c, struct meta *next, struct err *e)
{
	if (meta_keys_kept(c->root, next, META_TIMESTAMP) && meta_keys_kept(c->root, next, META_SNAPSHOT))
		return 0;
	return forget(c, "timestamp.json", e) < 0 || forget(c, "snapshot.json", e) < 0 ? -1 : 0;
}

/* The next version: 1 taken, 0 there is none. */
static int next_root(struct tuf_client *c, struct err *e)
{
	auto_buf bytes = BUF_INIT(0);
	auto_ptr(meta) m = NULL;
	char name[FILE_NAME_MAX + 32];
	struct err bad = ERR_INIT;
	if (c->root->version == INT64_MAX)
		return 0;
	if (fetch(c, META_ROOT, STR("root"), c->root->version + 1, UINT64_MAX, &bytes, name, &bad) < 0) {
		if (bad.code == ERR_NOT_FOUND)
			return 0; /* 5.3.3 */
		*e = bad;
		return -1;
	}
	if (meta_parse(META_ROOT, buf_str(&bytes), name, &m, e) < 0)
		return -1;
	if (meta_verify(m, c->root, &c->root->role[META_ROOT], e) < 0) /* 5.3.4 */
		return err_ctx(e, "by the keys of version %" PRId64, c->root->version);
	if (meta_verify(m, m, &m->role[META_ROOT], e) < 0)
		return err_ctx(e, "by its own keys");
	if (check_version(m, c->root->version + 1, e) < 0) /* 5.3.5 */
		return -1;
	if (forget_rotated(c, m, e) < 0 || persist(c, STR("root"), m, e) < 0) /* 5.3.7, 5.3.8 */
		return -1;
	replace(&c->root, steal_ptr(&m));
	return 1;
}

static int update_root(struct tuf_client *c, struct err *e)
{
	unsigned max = c->o.limits.root_rotations ? c->o.limits.root_rotations : ROOT_ROTATIONS;
	int rc = 1;
	for (unsigned n = 0; n < max && rc > 0; n++)
		rc = next_root(c, e);
	if (rc > 0)
		return err_new(e, ERR_LIMIT,
			       "the root of trust changed %u times; what came so far is kept, refresh again", max);
	return rc < 0 ? -1 : check_expiry(c, c->root, e); /* 5.3.10 */
}

/* -- 5.4: timestamp --------------------------------------------------------------------------------------------------------- */

static const struct meta_file *of_snapshot(const struct meta *timestamp)
{
	return &timestamp->file[0];
}

/* 5.4.3. The kept snapshot counts too: its timestamp may have been lost. 1: the new one is to be taken, 0: the old one is kept. */
static int is_newer(struct tuf_client *c, const struct meta *next, struct err *e)
{
	const struct meta *kept = c->timestamp;
	int64_t seen = c->snapshot ? c->snapshot->version : 0;
	if (kept && next->version < kept->version)
		return rolled_back(next, STR("timestamp.json"), kept->version, next->version, e);
	if (kept && next->version == kept->version)
		return 0;
	if (kept && of_snapshot(kept)->version > seen)
		seen = of_snapshot(kept)->version;
	if (of_snapshot(next)->version < seen)
		return rolled_back(next, STR("snapshot.json"), seen, of_snapshot(next)->version, e);
	return 1;
}

static int update_timestamp(struct tuf_client *c, struct err *e)
{
	auto_buf bytes = BUF_INIT(0);
	auto_ptr(meta) m = NULL, kept = NULL;
	const struct meta_role *role = &c->root->role[META_TIMESTAMP];
	char name[FILE_NAME_MAX + 32];
	if (load_kept(c, META_TIMESTAMP, STR("timestamp"), c->root, role, &kept, e) < 0)
		return -1;
	replace(&c->timestamp, steal_ptr(&kept));
	if (load_kept(c, META_SNAPSHOT, STR("snapshot"), c->root, &c->root->role[META_SNAPSHOT], &kept, e) < 0)
		return -1;
	replace(&c->snapshot, steal_ptr(&kept));
	if (fetch(c, META_TIMESTAMP, STR("timestamp"), 0, UINT64_MAX, &bytes, name, e) < 0 || /* 5.4.1 */
	    meta_parse(META_TIMESTAMP, buf_str(&bytes), name, &m, e) < 0 ||
	    meta_verify(m, c->root, role, e) < 0) /* 5.4.2 */
		return -1;
	int rc = is_newer(c, m, e);
	if (rc <= 0)
		return rc < 0 ? -1 : check_expiry(c, c->timestamp, e);
	if (check_expiry(c, m, e) < 0 || persist(c, STR("timestamp"), m, e) < 0) /* 5.4.4, 5.4.5 */
		return -1;
	replace(&c->timestamp, steal_ptr(&m));
	return 0;
}

/* -- 5.5: snapshot ---------------------------------------------------------------------------------------------------------- */

/* 5.5.5: no role goes back or goes away. */
static int check_roles_kept(const struct meta *kept, const struct meta *next, struct err *e)
{
	for (uint32_t i = 0; i < kept->file_n; i++) {
		const struct meta_file *old = &kept->file[i], *now = meta_file_find(next, old->name);
		if (!now)
			return err_new(e, ERR_VERIFY, "%s: '%.*s' was listed and is not any more", next->where,
				       STR_ARG(old->name));
		if (now->version < old->version)
			return rolled_back(next, old->name, old->version, now->version, e);
	}
	return 0;
}

static int update_snapshot(struct tuf_client *c, struct err *e)
{
	const struct meta_file *want = of_snapshot(c->timestamp);
	auto_buf bytes = BUF_INIT(0);
	auto_ptr(meta) m = NULL;
	char name[FILE_NAME_MAX + 32];
	struct err other = ERR_INIT;
	if (c->snapshot && c->snapshot->version == want->version &&
	    check_bytes(want, c->snapshot->bytes, "snapshot.json", &other) == 0)
		return check_expiry(c, c->snapshot, e);
	int64_t version = c->root->consistent_snapshot ? want->version : 0;
	if (fetch(c, META_SNAPSHOT, STR("snapshot"), version, max_of(want), &bytes, name, e) < 0 || /* 5.5.1 */
	    check_bytes(want, buf_str(&bytes), name, e) < 0 ||					    /* 5.5.2 */
	    meta_parse(META_SNAPSHOT, buf_str(&bytes), name, &m, e) < 0 ||
	    meta_verify(m, c->root, &c->root->role[META_SNAPSHOT], e) < 0 || /* 5.5.3 */
	    check_version(m, want->version, e) < 0)			     /* 5.5.4 */
		return -1;
	if (c->snapshot && check_roles_kept(c->snapshot, m, e) < 0)
		return -1;
	if (check_expiry(c, m, e) < 0 || persist(c, STR("snapshot"), m, e) < 0) /* 5.5.6, 5.5.7 */
		return -1;
	replace(&c->snapshot, steal_ptr(&m));
	return 0;
}

/* -- 5.6: targets ------------------------------------------------------------------------------------------------------------ */

static const struct meta_file *listed(const struct tuf_client *c, struct str role, struct err *e)
{
	auto_free char *name = xasprintf("%.*s.json", STR_ARG(role));
	const struct meta_file *f = meta_file_find(c->snapshot, str_c(name));
	if (!f)
		err_new(e, ERR_VERIFY, "snapshot.json: version %" PRId64 " does not list '%s'", c->snapshot->version,
			name);
	return f;
}

int client_load_targets(struct tuf_client *c, struct str role, struct meta *by, const struct meta_role *who,
			struct meta **ret, struct err *e)
{
	auto_buf bytes = BUF_INIT(0);
	auto_ptr(meta) m = NULL;
	char name[FILE_NAME_MAX + 32];
	struct err other = ERR_INIT;
	const struct meta_file *want = listed(c, role, e);
	if (!want || load_kept(c, META_TARGETS, role, by, who, &m, e) < 0)
		return -1;
	if (m && m->version == want->version && check_bytes(want, m->bytes, m->where, &other) == 0) {
		if (check_expiry(c, m, e) < 0)
			return -1;
		*ret = steal_ptr(&m);
		return 0;
	}
	meta_free(steal_ptr(&m));
	int64_t version = c->root->consistent_snapshot ? want->version : 0;
	if (fetch(c, META_TARGETS, role, version, max_of(want), &bytes, name, e) < 0 ||			    /* 5.6.1 */
	    check_bytes(want, buf_str(&bytes), name, e) < 0 ||						    /* 5.6.2 */
	    meta_parse(META_TARGETS, buf_str(&bytes), name, &m, e) < 0 || meta_verify(m, by, who, e) < 0 || /* 5.6.3 */
	    check_version(m, want->version, e) < 0 ||							    /* 5.6.4 */
	    check_expiry(c, m, e) < 0 || persist(c, role, m, e) < 0) /* 5.6.5, 5.6.6 */
		return -1;
	*ret = steal_ptr(&m);
	return 0;
}

static int update_targets(struct tuf_client *c, struct err *e)
{
	struct meta *m;
	if (client_load_targets(c, STR("targets"), c->root, &c->root->role[META_TARGETS], &m, e) < 0)
		return -1;
	replace(&c->targets, m);
	return 0;
}

/* -- the client -------------------------------------------------------------------------------------------------------------- */

static int read_root(struct str bytes, const char *where, struct meta **ret, struct err *e)
{
	auto_ptr(meta) m = NULL;
	if (meta_parse(META_ROOT, bytes, where, &m, e) < 0)
		return -1;
	if (meta_verify(m, m, &m->role[META_ROOT], e) < 0)
		return err_ctx(e, "by its own keys");
	*ret = steal_ptr(&m);
	return 0;
}

int tuf_root_read(struct str root, struct arena *a, struct tuf_root_info *ret, struct err *e)
{
	auto_ptr(meta) m = NULL;
	if (root.n > ROOT_BYTES)
		return err_new(e, ERR_LIMIT, "the root has %zu bytes, at most %" PRIu64 " are read", root.n,
			       ROOT_BYTES);
	if (read_root(root, "root.json", &m, e) < 0)
		return -1;
	const struct meta_role *own = &m->role[META_ROOT];
	struct str *keyid = arena_array(a, struct str, own->keyid_n + 1);
	for (uint32_t i = 0; i < own->keyid_n; i++)
		keyid[i] = arena_str(a, own->keyid[i]);
	*ret = (struct tuf_root_info){m->version, m->expires_ms, own->threshold, keyid, own->keyid_n};
	return 0;
}

static int hold(int dir_fd, int64_t wait_ms, struct err *e)
{
	int fd = fs_lock(dir_fd, ".lock", wait_ms, e);
	return fd < 0 ? err_ctx(e, "hold the folder of trusted metadata") : fd;
}

int tuf_client_init(int dir_fd, struct str root, struct err *e)
{
	static const char *const others[] = {"timestamp.json", "snapshot.json", "targets.json"};
	struct tuf_client c = {.o = {.dir_fd = dir_fd}};
	auto_ptr(meta) m = NULL;
	if (root.n > ROOT_BYTES)
		return err_new(e, ERR_LIMIT, "the root has %zu bytes, at most %" PRIu64 " are read", root.n,
			       ROOT_BYTES);
	if (read_root(root, "root.json", &m, e) < 0)
		return -1;
	if (dir_fd < 0)
		return 0;
	auto_fd lock = hold(dir_fd, 0, e);
	if (lock < 0)
		return -1;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (forget(&c, others[i], e) < 0)
			return -1;
	return persist(&c, STR("root"), m, e);
}

int tuf_client_open(const struct tuf_client_opts *o, struct tuf_client **ret, struct err *e)
{
	auto_buf bytes = BUF_INIT(ROOT_BYTES);
	auto_ptr(tuf_client) c = xcalloc(1, sizeof(*c));
	c->o = *o;
	c->lock_fd = hold(o->dir_fd, o->wait_ms, e);
	if (c->lock_fd < 0)
		return -1;
	if (fs_read(o->dir_fd, "root.json", &bytes, e) < 0)
		return err_ctx(e, "what is trusted to begin with; 'slipway tuf init ROOT.json' puts it there");
	if (read_root(buf_str(&bytes), "root.json", &c->root, e) < 0)
		return -1;
	*ret = steal_ptr(&c);
	return 0;
}

/* 5.1: one time for the whole refresh. */
int tuf_client_refresh(struct tuf_client *c, struct err *e)
{
	c->now_ms = c->o.clock->wall_ms(c->o.clock);
	c->fresh = false;
	vec_foreach(d, &c->delegated)
		meta_free(d->meta);
	vec_clear(&c->delegated);
	if (update_root(c, e) < 0 || update_timestamp(c, e) < 0 || update_snapshot(c, e) < 0 ||
	    update_targets(c, e) < 0)
		return -1;
	c->fresh = true;
	return 0;
}

void tuf_client_free(struct tuf_client *c)
{
	if (!c)
		return;
	meta_free(c->root);
	meta_free(c->timestamp);
	meta_free(c->snapshot);
	meta_free(c->targets);
	vec_foreach(d, &c->delegated)
		meta_free(d->meta);
	vec_release(&c->delegated);
	arena_release(&c->arena);
	cleanup_fd(&c->lock_fd);
	free(c);
}

int tuf_client_held(struct tuf_client *c, struct tuf_trusted *ret, struct err *e)
{
	struct meta **const to[] = {
		[META_TIMESTAMP] = &c->timestamp, [META_SNAPSHOT] = &c->snapshot, [META_TARGETS] = &c->targets};
	for (int i = META_ROOT + 1; i < META_KINDS; i++) {
		struct meta *m;
		if (load_kept(c, (enum meta_kind)i, str_c(meta_kind_name[i]), c->root, &c->root->role[i], &m, e) < 0)
			return -1;
		replace(to[i], m);
	}
	*ret = tuf_client_trusted(c);
	return 0;
}

void tuf_client_let_go(struct tuf_client *c)
{
	c->o.keep_nothing = true;
	cleanup_fd(&c->lock_fd);
}

struct tuf_trusted tuf_client_trusted(const struct tuf_client *c)
{
	const struct meta *all[] = {c->root, c->timestamp, c->snapshot, c->targets};
	struct tuf_trusted t = {0};
	int64_t *version[] = {&t.root, &t.timestamp, &t.snapshot, &t.targets};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!all[i])
			continue;
		*version[i] = all[i]->version;
		if (!t.expires_ms || all[i]->expires_ms < t.expires_ms)
			t.expires_ms = all[i]->expires_ms;
	}
	return t;
}
