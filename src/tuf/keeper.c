// SPDX-License-Identifier: Apache-2.0
#include "tuf/keeper.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/fs.h"

enum {
	NAMES_MAX = 1 << 22,
	ROLE_NAME_MAX = 128,
	ROLES_MAX = 100000,
	ROOT_DAYS = 365,
	TARGETS_DAYS = 90,
	PASSPHRASE_MAX = 1000
};
static const int64_t default_days[META_KINDS] = {ROOT_DAYS, 7, 14, TARGETS_DAYS};

/* -- what is there ---------------------------------------------------------------------------------------------------- */

int keeper_read(struct tuf_keeper *k, enum meta_kind kind, const char *file, struct meta **ret, struct err *e)
{
	auto_buf bytes = BUF_INIT(KEEPER_BYTES_MAX);
	if (fs_read(k->o.dir_fd, file, &bytes, e) < 0)
		return -1;
	return meta_parse(kind, buf_str(&bytes), file, ret, e);
}

static int read_version(struct tuf_keeper *k, enum meta_kind kind, struct str role, int64_t version, struct meta **ret,
			struct err *e)
{
	char file[FILE_NAME_SIZE];
	snprintf(file, sizeof(file), "%" PRId64 ".%.*s.json", version, STR_ARG(role));
	return keeper_read(k, kind, file, ret, e);
}

/* NULL in *ret where nothing waits. */
static int read_staged(struct tuf_keeper *k, enum meta_kind kind, struct str role, int64_t version, struct meta **ret,
		       struct err *e)
{
	char file[FILE_NAME_SIZE];
	auto_ptr(meta) m = NULL;
	snprintf(file, sizeof(file), STAGED_DIR "/%.*s.json", STR_ARG(role));
	if (!fs_exists(k->o.dir_fd, file))
		return 0;
	if (keeper_read(k, kind, file, &m, e) < 0)
		return err_ctx(e, "what waits for signatures");
	if (m->version == version)
		*ret = steal_ptr(&m); /* else it is of before another one was published */
	return 0;
}

/* The highest N of N.root.json; 0 none. */
static int last_root(struct tuf_keeper *k, int64_t *ret, struct err *e)
{
	auto_fs_list l = {0};
	if (fs_list(k->o.dir_fd, ".", NAMES_MAX, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++) {
		struct str name = str_c(l.name[i]);
		uint64_t n;
		if (str_take_u64(&name, &n) && str_eq(name, STR(".root.json")) && n <= INT64_MAX && (int64_t)n > *ret)
			*ret = (int64_t)n;
	}
	return 0;
}

/* One step back is fine: a keeper that was killed has published a root, and not yet what its new keys sign. */
static int verify_top(struct tuf_keeper *k, const struct meta *m, struct err *e)
{
	struct err other = ERR_INIT;
	if (k->root_before && meta_verify(m, k->root_before, &k->root_before->role[m->kind], &other) == 0)
		return 0;
	return meta_verify(m, k->root, &k->root->role[m->kind], e);
}

static int load_root(struct tuf_keeper *k, struct err *e)
{
	int64_t n = 0;
	if (last_root(k, &n, e) < 0)
		return -1;
	if (n > 0 && (read_version(k, META_ROOT, STR("root"), n, &k->root, e) < 0 ||
		      meta_verify(k->root, k->root, &k->root->role[META_ROOT], e) < 0))
		return -1;
	if (n > 1 && read_version(k, META_ROOT, STR("root"), n - 1, &k->root_before, e) < 0)
		return -1;
	return read_staged(k, META_ROOT, STR("root"), n + 1, &k->root_staged, e);
}

/* What is listed is what was signed, whoever may sign it now. */
static int check_listed(const struct meta *m, const struct meta_file *f, struct err *e)
{
	if (m->version != f->version || (f->length >= 0 && (uint64_t)f->length != m->bytes.n))
		return err_new(e, ERR_VERIFY, "%s: not the version or length that is listed", m->where);
	return meta_hashes_check(&f->hashes, m->bytes, e) < 0 ? err_ctx(e, "%s", m->where) : 0;
}

static int load_snapshot(struct tuf_keeper *k, struct err *e)
{
	if (!k->root || !fs_exists(k->o.dir_fd, "timestamp.json"))
		return 0;
	if (keeper_read(k, META_TIMESTAMP, "timestamp.json", &k->timestamp, e) < 0 ||
	    verify_top(k, k->timestamp, e) < 0 ||
	    read_version(k, META_SNAPSHOT, STR("snapshot"), k->timestamp->file[0].version, &k->snapshot, e) < 0 ||
	    check_listed(k->snapshot, &k->timestamp->file[0], e) < 0 || verify_top(k, k->snapshot, e) < 0)
		return -1;
	return 0;
}

static struct kept_role *keeper_role(struct tuf_keeper *k, struct str name)
{
	vec_foreach(r, &k->role)
		if (str_eq(r->name, name))
			return r;
	return NULL;
}

static const struct meta_role *delegated(const struct meta *m, struct str name)
{
	for (uint32_t i = 0; m && i < m->delegation_n; i++)
		if (str_eq(m->delegation[i].name, name))
			return &m->delegation[i].role;
	return NULL;
}

bool keeper_authority(struct tuf_keeper *k, const struct kept_role *r, struct meta *root, struct authority *ret)
{
	if (r->parent < 0) {
		*ret = (struct authority){root, &root->role[META_TARGETS]};
		return true;
	}
	const struct kept_role *p = &k->role.v[r->parent];
	struct meta *by = p->next ? p->next : p->now;
	*ret = (struct authority){by, delegated(by, r->name)};
	return ret->who != NULL;
}

static int load_role(struct tuf_keeper *k, struct str name, ptrdiff_t parent, struct err *e)
{
	auto_free char *file = xasprintf("%.*s.json", STR_ARG(name));
	const struct meta_file *f = k->snapshot ? meta_file_find(k->snapshot, str_c(file)) : NULL;
	struct kept_role *r = vec_add(&k->role);
	*r = (struct kept_role){.name = arena_str(&k->arena, name), .parent = parent};
	if (k->role.n > ROLES_MAX)
		return err_new(e, ERR_LIMIT, "more than %d roles", ROLES_MAX);
	if (f && (read_version(k, META_TARGETS, name, f->version, &r->now, e) < 0 || check_listed(r->now, f, e) < 0))
		return -1;
	if (r->now && parent < 0 && verify_top(k, r->now, e) < 0)
		return -1;
	return read_staged(k, META_TARGETS, name, f ? f->version + 1 : 1, &r->staged, e);
}

static bool is_role_name(struct str s)
{
	bool good = s.n > 0 && s.n <= ROLE_NAME_MAX && isalnum((unsigned char)s.p[0]) && !meta_is_top_level(s);
	for (size_t i = 0; i < s.n; i++)
		good &= isalnum((unsigned char)s.p[i]) || strchr("._-", s.p[i]);
	return good;
}

static int load_roles(struct tuf_keeper *k, struct err *e)
{
	if (load_role(k, STR("targets"), -1, e) < 0)
		return -1;
	for (size_t i = 0; i < k->role.n; i++) {
		const struct meta *m = k->role.v[i].now;
		if (m && m->bins.bits)
			return err_new(e, ERR_UNSUPPORTED,
				       "role '%.*s' delegates to hashed bins, which are read and not kept here",
				       STR_ARG(k->role.v[i].name));
		for (uint32_t d = 0; m && d < m->delegation_n; d++) {
			struct str name = m->delegation[d].name;
			if (!is_role_name(name))
				return err_new(e, ERR_UNSUPPORTED,
					       "the role '%.*s' cannot be kept here: its name is no file name",
					       STR_ARG(name));
			if (!keeper_role(k, name) && load_role(k, name, (ptrdiff_t)i, e) < 0)
				return -1;
		}
	}
	return 0;
}

/* -- plans -------------------------------------------------------------------------------------------------------------- */

int64_t keeper_days(const struct meta_role *who, int64_t otherwise)
{
	const struct json *j = json_get(who->json, EXPIRY_FIELD);
	return j && j->type == JSON_INT && j->integer > 0 && j->integer < 36500 ? j->integer : otherwise;
}

static void plan_of(struct tuf_keeper *k, struct meta *by, const struct meta_role *who, int64_t days, struct plan *ret)
{
	const struct json *keys =
		json_get(by->kind == META_ROOT ? by->body : json_get(by->body, "delegations"), "keys");
	vec_clear(&ret->key);
	for (uint32_t i = 0; i < who->keyid_n; i++)
		for (uint32_t j = 0; keys && j < keys->n; j++) {
			if (!str_eq(keys->member[j].key, who->keyid[i]))
				continue;
			auto_buf text = BUF_INIT(KEEPER_BYTES_MAX);
			struct jw w = JW_INIT(&text, 0);
			jw_value(&w, &keys->member[j].value);
			*vec_add(&ret->key) = (struct tuf_public_key){arena_str(&k->arena, who->keyid[i]),
								      arena_str(&k->arena, buf_str(&text))};
		}
	ret->threshold = who->threshold;
	ret->days = keeper_days(who, days);
}

static int take_plan(struct tuf_keeper *k, const struct tuf_role_plan *p, int64_t days, struct plan *ret, struct err *e)
{
	if (p->threshold < 1 || (uint64_t)p->threshold > p->key_n)
		return err_new(e, ERR_USAGE, "a threshold of %" PRId64 " with %zu keys", p->threshold, p->key_n);
	if (p->expiry_days < 0 || p->expiry_days >= 36500)
		return err_new(e, ERR_USAGE, "a role expires after 1 to 36499 days, not %" PRId64, p->expiry_days);
	vec_clear(&ret->key);
	for (size_t i = 0; i < p->key_n; i++) {
		for (size_t j = 0; j < i; j++)
			if (str_eq(p->key[j].keyid, p->key[i].keyid))
				return err_new(e, ERR_USAGE, "the key '%.*s' twice in one role",
					       STR_ARG(p->key[i].keyid));
		*vec_add(&ret->key) = (struct tuf_public_key){arena_str(&k->arena, p->key[i].keyid),
							      arena_str(&k->arena, p->key[i].json)};
	}
	ret->threshold = p->threshold;
	if (p->expiry_days)
		ret->days = p->expiry_days;
	else if (!ret->days)
		ret->days = days;
	return 0;
}

static int kind_of(struct str role)
{
	for (int i = 0; i < META_KINDS; i++)
		if (str_eq_c(role, meta_kind_name[i]))
			return i;
	return -1;
}

int tuf_keeper_role(struct tuf_keeper *k, struct str role, const struct tuf_role_plan *p, struct err *e)
{
	int kind = kind_of(role);
	if (kind < 0)
		return err_new(e, ERR_USAGE, "'%.*s' is no top-level role: root, targets, snapshot, timestamp",
			       STR_ARG(role));
	if (take_plan(k, p, default_days[kind], &k->plan[kind], e) < 0)
		return err_ctx(e, "role '%.*s'", STR_ARG(role));
	k->plan_changed = true;
	return 0;
}

static int no_role(struct str role, struct err *e)
{
	return err_new(e, ERR_NOT_FOUND, "there is no role '%.*s'; 'slipway tuf show' lists them", STR_ARG(role));
}

int tuf_keeper_plan(struct tuf_keeper *k, struct str role, struct tuf_role_plan *ret, struct err *e)
{
	struct plan of_role = {0}, *p = &of_role;
	struct authority a;
	int kind = kind_of(role);
	const struct kept_role *r = keeper_role(k, role);
	if (kind >= 0)
		p = &k->plan[kind];
	else if (!r || !keeper_authority(k, r, k->root, &a))
		return no_role(role, e);
	else
		plan_of(k, a.by, a.who, TARGETS_DAYS, p);
	*ret = (struct tuf_role_plan){vec_copy(&p->key, &k->arena), p->key.n, p->threshold, p->days};
	if (p == &of_role)
		vec_release(&of_role.key);
	return 0;
}

/* -- delegations ---------------------------------------------------------------------------------------------------------- */

/* The delegations that a role will have: those to come, else those it has. */
static const struct json *delegations_of(const struct kept_role *r, struct arena *a, struct err *e)
{
	if (r->delegations.p)
		return json_parse(a, r->delegations, "delegations", e);
	const struct meta *m = r->staged ? r->staged : r->now;
	return m ? json_get(m->body, "delegations") : NULL;
}

static void put_delegation(struct jw *w, const struct tuf_delegation *d, const struct plan *p)
{
	jw_object(w);
	jw_kv_str(w, "name", d->name);
	put_plan(w, p);
	jw_kv_bool(w, "terminating", d->terminating);
	jw_kv_list(w, "paths", d->path, d->path_n);
	jw_object_end(w);
}

/* The old ones in their order, the new one in its place or last; the keys of both. */
static void put_delegations(struct jw *w, const struct json *old, const struct tuf_delegation *d, const struct plan *p)
{
	const struct json *keys = json_get(old, "keys"), *roles = json_get(old, "roles");
	bool there = false;
	jw_object(w);
	jw_key(w, "keys");
	jw_object(w);
	for (uint32_t i = 0; keys && i < keys->n; i++) {
		bool again = false;
		vec_foreach(k, &p->key)
			again |= str_eq(k->keyid, keys->member[i].key);
		if (again)
			continue;
		jw_key_str(w, keys->member[i].key);
		jw_value(w, &keys->member[i].value);
	}
	vec_foreach(k, &p->key) {
		jw_key_str(w, k->keyid);
		jw_raw(w, k->json);
	}
	jw_object_end(w);
	jw_key(w, "roles");
	jw_array(w);
	for (uint32_t i = 0; roles && i < roles->n; i++) {
		struct str name = STR_NONE;
		struct err other = ERR_INIT;
		if (json_get_str(&roles->item[i], "name", &name, &other) == 0 && str_eq(name, d->name)) {
			put_delegation(w, d, p);
			there = true;
		} else {
			jw_value(w, &roles->item[i]);
		}
	}
	if (!there)
		put_delegation(w, d, p);
	jw_array_end(w);
	jw_object_end(w);
}

static int delegate(struct tuf_keeper *k, size_t parent, const struct tuf_delegation *d, struct plan *p, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf text = BUF_INIT(KEEPER_BYTES_MAX);
	struct err bad = ERR_INIT;
	struct kept_role *r = &k->role.v[parent];
	struct jw w = JW_INIT(&text, 1);
	const struct json *old = delegations_of(r, &a, &bad);
	const struct meta_role *before = delegated(r->now, d->name);
	if (bad.code)
		return *e = bad, -1;
	if (before)
		p->days = keeper_days(before, 0);
	if (take_plan(k, &d->role, TARGETS_DAYS, p, e) < 0)
		return err_ctx(e, "role '%.*s'", STR_ARG(d->name));
	put_delegations(&w, old, d, p);
	if (text.overflow)
		return err_new(e, ERR_LIMIT, "too many delegations");
	r->delegations = arena_str(&k->arena, buf_str(&text));
	if (!keeper_role(k, d->name))
		*vec_add(&k->role) =
			(struct kept_role){.name = arena_str(&k->arena, d->name), .parent = (ptrdiff_t)parent};
	return 0;
}

int tuf_keeper_delegate(struct tuf_keeper *k, struct str parent, const struct tuf_delegation *d, struct err *e)
{
	struct plan p = {0};
	const struct kept_role *r = keeper_role(k, parent), *there = keeper_role(k, d->name);
	if (!r)
		return no_role(parent, e);
	if (!is_role_name(d->name))
		return err_new(e, ERR_USAGE, "a role is named by letters, digits, '.', '_' and '-', not '%.*s'",
			       STR_ARG(d->name));
	if (there && there->parent != r - k->role.v)
		return err_new(e, ERR_EXISTS, "another role delegates to '%.*s' already", STR_ARG(d->name));
	if (d->path_n == 0)
		return err_new(e, ERR_USAGE, "role '%.*s': for which paths?", STR_ARG(d->name));
	int rc = delegate(k, (size_t)(r - k->role.v), d, &p, e);
	vec_release(&p.key);
	return rc;
}

int tuf_keeper_delegation(struct tuf_keeper *k, struct str role, struct str *ret_parent, struct tuf_delegation *ret,
			  struct err *e)
{
	const struct kept_role *r = keeper_role(k, role);
	if (!r || r->parent < 0)
		return no_role(role, e);
	const struct kept_role *p = &k->role.v[r->parent];
	for (uint32_t i = 0; p->now && i < p->now->delegation_n; i++) {
		const struct meta_delegation *d = &p->now->delegation[i];
		if (!str_eq(d->name, role))
			continue;
		if (!d->path_n)
			return err_new(e, ERR_UNSUPPORTED,
				       "role '%.*s' is delegated by digests of paths, which are not kept here",
				       STR_ARG(role));
		*ret_parent = p->name;
		*ret = (struct tuf_delegation){
			.name = r->name, .path = d->path, .path_n = d->path_n, .terminating = d->terminating};
		return tuf_keeper_plan(k, role, &ret->role, e);
	}
	return no_role(role, e);
}

/* -- targets ---------------------------------------------------------------------------------------------------------------- */

static int by_path(const void *a, const void *b)
{
	const struct tuf_file *x = a, *y = b;
	return str_cmp(x->path, y->path);
}

static bool has_custom(const struct json *j, struct str custom)
{
	auto_arena a = ARENA_INIT;
	auto_buf text = BUF_INIT(KEEPER_BYTES_MAX), wanted = BUF_INIT(KEEPER_BYTES_MAX);
	struct err other = ERR_INIT;
	struct jw w = JW_INIT(&text, 0), v = JW_INIT(&wanted, 0);
	const struct json *there = json_get(j, "custom"), *own = json_parse(&a, custom, "custom", &other);
	if (!there || !own)
		return false;
	jw_value(&w, there);
	jw_value(&v, own);
	return str_eq(buf_str(&text), buf_str(&wanted));
}

static bool is_same(const struct json *j, const struct tuf_file *f)
{
	struct meta_hashes h;
	struct err other = ERR_INIT;
	int64_t length;
	return j && json_get_int(j, "length", &length, &other) == 0 && (uint64_t)length == f->length &&
	       meta_hashes_read(j, false, &h, &other) == 0 && h.has_sha256 &&
	       memcmp(h.sha256, f->sha256, sizeof(h.sha256)) == 0 && (!f->custom.n || has_custom(j, f->custom));
}

static void put_target(struct jw *w, const struct tuf_file *f, const struct json *before)
{
	jw_key_str(w, f->path);
	if (is_same(before, f)) { /* with what others wrote there */
		jw_value(w, before);
		return;
	}
	jw_object(w);
	jw_kv_int(w, "length", (int64_t)f->length);
	jw_key(w, "hashes");
	jw_object(w);
	jw_kv_hex(w, "sha256", f->sha256, sizeof(f->sha256));
	jw_object_end(w);
	if (f->custom.n) {
		jw_key(w, "custom");
		jw_raw(w, f->custom);
	}
	jw_object_end(w);
}

int tuf_keeper_set_targets(struct tuf_keeper *k, struct str role, const struct tuf_file *v, size_t n, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_map before = MAP_INIT;
	auto_buf text = BUF_INIT(KEEPER_BYTES_MAX);
	struct jw w = JW_INIT(&text, 1);
	struct kept_role *r = keeper_role(k, role);
	struct tuf_file *sorted = arena_copy(&a, v, n, sizeof(*v));
	if (!r)
		return no_role(role, e);
	const struct meta *base = r->staged ? r->staged : r->now;
	const struct json *old = base ? base->targets : NULL;
	for (uint32_t i = 0; old && i < old->n; i++)
		*map_put(&before, old->member[i].key) = i + 1;
	if (n)
		qsort(sorted, n, sizeof(*sorted), by_path);
	bool same = old && old->n == n;
	jw_object(&w);
	for (size_t i = 0; i < n; i++) {
		const uint64_t *at = map_get(&before, sorted[i].path);
		const struct json *j = at ? &old->member[*at - 1].value : NULL;
		if (sorted[i].path.n == 0 || (i > 0 && str_eq(sorted[i].path, sorted[i - 1].path)))
			return err_new(e, ERR_USAGE, "target '%.*s': no path, or twice", STR_ARG(sorted[i].path));
		same &= is_same(j, &sorted[i]);
		put_target(&w, &sorted[i], j);
	}
	jw_object_end(&w);
	if (text.overflow)
		return err_new(e, ERR_LIMIT, "too many targets for one role: delegate some");
	if (!same)
		r->targets = arena_str(&k->arena, buf_str(&text));
	else
		r->targets = STR_NONE;
	return 0;
}

int tuf_keeper_targets(struct tuf_keeper *k, struct str role, struct arena *a, struct tuf_file **ret, size_t *ret_n,
		       struct err *e)
{
	const struct kept_role *r = keeper_role(k, role);
	if (!r)
		return no_role(role, e);
	const struct meta *m = r->staged ? r->staged : r->now;
	*ret_n = 0;
	*ret = arena_array(a, struct tuf_file, m ? m->targets->n : 0);
	for (uint32_t i = 0; m && i < m->targets->n; i++) {
		const struct json_member *t = &m->targets->member[i];
		struct tuf_file *f = &(*ret)[*ret_n];
		struct meta_hashes h;
		int64_t length;
		if (json_get_int(&t->value, "length", &length, e) < 0 || meta_hashes_read(&t->value, false, &h, e) < 0)
			return -1;
		*f = (struct tuf_file){.path = arena_str(a, t->key), .length = (uint64_t)length};
		memcpy(f->sha256, h.sha256, sizeof(f->sha256));
		*ret_n += h.has_sha256;
	}
	if (*ret_n)
		qsort(*ret, *ret_n, sizeof(**ret), by_path);
	return 0;
}

int tuf_keeper_renew(struct tuf_keeper *k, struct str role, struct err *e)
{
	int kind = kind_of(role);
	struct kept_role *r = keeper_role(k, role);
	if (r)
		r->renew = true;
	else if (kind < 0)
		return no_role(role, e);
	k->renew_root |= kind == META_ROOT;
	k->renew_snapshot |= kind == META_SNAPSHOT;
	k->renew_timestamp |= kind == META_TIMESTAMP;
	return 0;
}

/* -- the keeper --------------------------------------------------------------------------------------------------------------- */

int tuf_keeper_open(const struct tuf_keeper_opts *o, struct tuf_keeper **ret, struct err *e)
{
	auto_ptr(tuf_keeper) k = xcalloc(1, sizeof(*k));
	k->o = *o;
	k->passphrase = BUF_INIT(PASSPHRASE_MAX);
	k->lock_fd = fs_lock(o->dir_fd, ".lock", o->wait_ms, e);
	if (k->lock_fd < 0)
		return err_ctx(e, "hold the metadata");
	if (load_root(k, e) < 0 || load_snapshot(k, e) < 0 || load_roles(k, e) < 0)
		return -1;
	struct meta *root = k->root_staged ? k->root_staged : k->root;
	for (int i = 0; root && i < META_KINDS; i++)
		plan_of(k, root, &root->role[i], default_days[i], &k->plan[i]);
	*ret = steal_ptr(&k);
	return 0;
}

void tuf_keeper_free(struct tuf_keeper *k)
{
	if (!k)
		return;
	struct meta *const all[] = {k->root,	  k->root_before,  k->root_staged,   k->snapshot,      k->timestamp,
				    k->root_next, k->root_waiting, k->snapshot_next, k->timestamp_next};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		meta_free(all[i]);
	vec_foreach(r, &k->role) {
		meta_free(r->now);
		meta_free(r->staged);
		meta_free(r->next);
		meta_free(r->waiting);
	}
	vec_release(&k->role);
	for (int i = 0; i < META_KINDS; i++)
		vec_release(&k->plan[i].key);
	if (k->passphrase.p)
		explicit_bzero(k->passphrase.p, k->passphrase.n);
	buf_release(&k->passphrase);
	arena_release(&k->arena);
	cleanup_fd(&k->lock_fd);
	free(k);
}

static void put_status(struct tuf_keeper *k, struct arena *a, struct str role, struct str parent,
		       const struct meta *now, const struct meta *staged, struct authority by,
		       struct tuf_role_status *ret)
{
	struct err other = ERR_INIT;
	*ret = (struct tuf_role_status){.role = arena_str(a, role), .parent = arena_str(a, parent)};
	if (now) {
		ret->version = now->version;
		ret->expires_ms = now->expires_ms;
		ret->targets = now->targets ? now->targets->n : 0;
	}
	ret->threshold = by.who ? by.who->threshold : 0;
	for (uint32_t i = 0; by.who && i < by.who->keyid_n; i++) {
		ret->keys++;
		ret->keys_here += secret_find(k, by.who->keyid[i], NULL, &other) > 0;
	}
	if (staged) {
		ret->staged_version = staged->version;
		ret->staged_signatures = by.who ? meta_signatures(staged, by.by, by.who) : 0;
	}
}

void tuf_keeper_status(struct tuf_keeper *k, struct arena *a, struct tuf_role_status **ret, size_t *ret_n)
{
	const struct meta *now[META_KINDS] = {k->root, k->timestamp, k->snapshot, NULL};
	struct tuf_role_status *v = arena_array(a, struct tuf_role_status, k->role.n + META_KINDS);
	size_t n = 0;
	for (int i = 0; i < META_TARGETS; i++) {
		struct meta *by = i == META_ROOT && k->root_staged ? k->root_staged : k->root;
		struct authority who = {by, by ? &by->role[i] : NULL};
		put_status(k, a, str_c(meta_kind_name[i]), STR(""), now[i], i == META_ROOT ? k->root_staged : NULL, who,
			   &v[n++]);
	}
	vec_foreach(r, &k->role) {
		struct authority who = {NULL, NULL};
		if (k->root)
			(void)keeper_authority(k, r, k->root, &who);
		put_status(k, a, r->name, r->parent < 0 ? STR("") : k->role.v[r->parent].name, r->now, r->staged, who,
			   &v[n++]);
	}
	*ret = v;
	*ret_n = n;
}
