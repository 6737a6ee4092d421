// SPDX-License-Identifier: Apache-2.0
#include "tuf/meta.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/vec.h"
#include "tuf/canonical.h"

enum {
	SIGNATURES_MAX = 512,
	KEYIDS_MAX = 64, /* of one role */
	KEYID_BYTES_MAX = 256,
	NAME_MAX_BYTES = 1024, /* of a role */
	SIG_BYTES_MAX = 4096,
	BITS_MAX = 32,
};

const char *const meta_kind_name[META_KINDS] = {"root", "timestamp", "snapshot", "targets"};

bool meta_is_top_level(struct str role)
{
	for (int i = 0; i < META_KINDS; i++)
		if (str_eq_c(role, meta_kind_name[i]))
			return true;
	return false;
}

/* -- small readers -------------------------------------------------------------------------------------------------- */

static const struct json *need(const struct json *j, const char *key, enum json_type type, struct err *e)
{
	static const char *const names[] = {"null",	"true or false", "an integer", "a number",
					    "a string", "a list",	 "an object"};
	const struct json *v = json_get(j, key);
	if (!v)
		err_new(e, ERR_INPUT, "%s: offset %zu: '%s' is missing", j->where, j->offset, key);
	else if (v->type != type)
		err_new(e, ERR_INPUT, "%s: offset %zu: '%s' is not %s", v->where, v->offset, key, names[type]);
	return v && v->type == type ? v : NULL;
}

static int need_version(const struct json *j, int64_t *ret, struct err *e)
{
	const struct json *v = need(j, "version", JSON_INT, e);
	if (!v)
		return -1;
	if (v->integer < 1)
		return err_new(e, ERR_INPUT, "%s: offset %zu: a version is 1 or more", v->where, v->offset);
	*ret = v->integer;
	return 0;
}

/* A list of strings of at most max elements (ERR_LIMIT). */
static int read_strings(struct arena *a, const struct json *list, uint32_t max, const struct str **ret, uint32_t *ret_n,
			struct err *e)
{
	if (list->n > max)
		return err_new(e, ERR_LIMIT, "%s: offset %zu: %" PRIu32 " elements, at most %" PRIu32 " are read",
			       list->where, list->offset, list->n, max);
	struct str *v = arena_array(a, struct str, list->n);
	for (uint32_t i = 0; i < list->n; i++) {
		if (list->item[i].type != JSON_STRING)
			return err_new(e, ERR_INPUT, "%s: offset %zu: not a string", list->where, list->item[i].offset);
		v[i] = list->item[i].string;
	}
	*ret = v;
	*ret_n = list->n;
	return 0;
}

static bool two_digits(struct str s, size_t at, int *ret)
{
	const char *p = s.p + at;
	if (p[0] < '0' || p[0] > '9' || p[1] < '0' || p[1] > '9')
		return false;
	*ret = (p[0] - '0') * 10 + (p[1] - '0');
	return true;
}

bool tuf_time(struct str s, int64_t *ret_ms)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:ddZ";
	struct clock_date d;
	int century, year;
	if (s.n != sizeof(shape) - 1)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (shape[i] != 'd' && s.p[i] != shape[i])
			return false;
	if (!two_digits(s, 0, &century) || !two_digits(s, 2, &year) || !two_digits(s, 5, &d.month) ||
	    !two_digits(s, 8, &d.day) || !two_digits(s, 11, &d.hour) || !two_digits(s, 14, &d.minute) ||
	    !two_digits(s, 17, &d.second) || d.second > 59)
		return false;
	d.year = century * 100 + year;
	return clock_of_date(&d, ret_ms);
}

/* -- digests --------------------------------------------------------------------------------------------------------- */

int meta_hashes_read(const struct json *j, bool optional, struct meta_hashes *ret, struct err *e)
{
	const struct json *h = json_get(j, "hashes");
	*ret = (struct meta_hashes){0};
	if (!h && optional)
		return 0;
	h = need(j, "hashes", JSON_OBJECT, e);
	if (!h)
		return -1;
	if (h->n == 0)
		return err_new(e, ERR_INPUT, "%s: offset %zu: 'hashes' is empty", h->where, h->offset);
	ret->any = true;
	for (uint32_t i = 0; i < h->n; i++) {
		const struct json_member *m = &h->member[i];
		struct digest_value v = {0};
		bool is256 = str_eq(m->key, STR("sha256")), is512 = str_eq(m->key, STR("sha512"));
		if (m->value.type != JSON_STRING ||
		    ((is256 || is512) && !digest_parse(is256 ? DIGEST_SHA256 : DIGEST_SHA512, m->value.string, &v)))
			return err_new(e, ERR_INPUT, "%s: offset %zu: '%.*s' is no such digest in hex", h->where,
				       m->value.offset, STR_ARG(m->key));
		if (is256)
			ret->has_sha256 = true, memcpy(ret->sha256, v.bytes, SHA256_SIZE);
		if (is512)
			ret->has_sha512 = true, memcpy(ret->sha512, v.bytes, SHA512_SIZE);
	}
	return 0;
}

int meta_hashes_check(const struct meta_hashes *h, struct str bytes, struct err *e)
{
	uint8_t got[DIGEST_MAX];
	if (h->any && !h->has_sha256 && !h->has_sha512)
		return err_new(e, ERR_UNSUPPORTED, "none of its digests is of a known kind (sha256, sha512)");
	if (h->has_sha256) {
		sha256(bytes.p, bytes.n, got);
		if (memcmp(got, h->sha256, SHA256_SIZE) != 0)
			return err_new(e, ERR_VERIFY, "its SHA-256 is not the one that was signed");
	}
	if (h->has_sha512) {
		auto_ptr(digest) d = digest_new(DIGEST_SHA512);
		digest_update(d, bytes.p, bytes.n);
		digest_final(d, got);
		if (memcmp(got, h->sha512, SHA512_SIZE) != 0)
			return err_new(e, ERR_VERIFY, "its SHA-512 is not the one that was signed");
	}
	return 0;
}

/* -- signatures, keys, roles ----------------------------------------------------------------------------------------- */

static int read_signatures(struct meta *m, struct err *e)
{
	const struct json *list = need(m->json, "signatures", JSON_ARRAY, e);
	if (!list)
		return -1;
	if (list->n > SIGNATURES_MAX)
		return err_new(e, ERR_LIMIT, "%s: %" PRIu32 " signatures, at most %d are read", m->where, list->n,
			       SIGNATURES_MAX);
	m->sig = arena_array(&m->arena, struct meta_sig, list->n);
	for (; m->sig_n < list->n; m->sig_n++) {
		struct meta_sig *s = &m->sig[m->sig_n];
		const struct json *j = &list->item[m->sig_n];
		if (json_get_str(j, "keyid", &s->keyid, e) < 0 || json_get_str(j, "sig", &s->hex, e) < 0)
			return -1;
		for (uint32_t i = 0; i < m->sig_n; i++)
			if (str_eq(m->sig[i].keyid, s->keyid))
				return err_new(e, ERR_INPUT, "%s: two signatures have the keyid '%.*s'", m->where,
					       STR_ARG(s->keyid));
	}
	return 0;
}

static int read_keys(struct meta *m, const struct json *parent, struct err *e)
{
	const struct json *keys = need(parent, "keys", JSON_OBJECT, e);
	if (!keys)
		return -1;
	m->key = arena_array(&m->arena, struct meta_key, keys->n);
	m->key_n = keys->n;
	for (uint32_t i = 0; i < keys->n; i++) {
		struct meta_key *k = &m->key[i];
		const struct json *j = &keys->member[i].value, *value;
		k->id = keys->member[i].key;
		if (k->id.n == 0 || k->id.n > KEYID_BYTES_MAX)
			return err_new(e, ERR_LIMIT, "%s: offset %zu: a keyid has 1 to %d bytes", j->where, j->offset,
				       KEYID_BYTES_MAX);
		if (json_get_str(j, "keytype", &k->keytype, e) < 0 ||
		    json_get_str(j, "scheme", &k->scheme_name, e) < 0 || !(value = need(j, "keyval", JSON_OBJECT, e)))
			return -1;
		k->scheme = scheme_of(k->keytype, k->scheme_name);
		const struct json *public = json_get(value, "public");
		if (public && public->type == JSON_STRING)
			k->public = public->string; /* other kinds of keys may have it otherwise */
	}
	return 0;
}

static int read_role(struct meta *m, const struct json *j, struct meta_role *ret, struct err *e)
{
	const struct json *ids, *threshold;
	if (!(ids = need(j, "keyids", JSON_ARRAY, e)) || !(threshold = need(j, "threshold", JSON_INT, e)) ||
	    read_strings(&m->arena, ids, KEYIDS_MAX, &ret->keyid, &ret->keyid_n, e) < 0)
		return -1;
	ret->json = j;
	ret->threshold = threshold->integer;
	if (ret->threshold < 1)
		return err_new(e, ERR_INPUT, "%s: offset %zu: a threshold is 1 or more", j->where, threshold->offset);
	for (uint32_t i = 0; i < ret->keyid_n; i++)
		for (uint32_t k = 0; k < i; k++)
			if (str_eq(ret->keyid[i], ret->keyid[k]))
				return err_new(e, ERR_INPUT, "%s: offset %zu: the keyid '%.*s' stands twice in a role",
					       j->where, ids->offset, STR_ARG(ret->keyid[i]));
	return 0;
}

/* -- the four kinds -------------------------------------------------------------------------------------------------- */

static int read_root(struct meta *m, struct err *e)
{
	const struct json *roles = need(m->body, "roles", JSON_OBJECT, e);
	if (!roles || read_keys(m, m->body, e) < 0 ||
	    json_opt_bool(m->body, "consistent_snapshot", &m->consistent_snapshot, e) < 0)
		return -1;
	for (int i = 0; i < META_KINDS; i++) {
		const struct json *j = need(roles, meta_kind_name[i], JSON_OBJECT, e);
		if (!j || read_role(m, j, &m->role[i], e) < 0)
			return -1;
	}
	return 0;
}

static int read_file(const struct json_member *from, struct meta_file *f, struct err *e)
{
	f->name = from->key;
	f->length = -1;
	if (from->value.type != JSON_OBJECT)
		return err_new(e, ERR_INPUT, "%s: offset %zu: '%.*s' is not an object", from->value.where,
			       from->value.offset, STR_ARG(f->name));
	if (need_version(&from->value, &f->version, e) < 0 || json_opt_int(&from->value, "length", &f->length, e) < 0 ||
	    meta_hashes_read(&from->value, true, &f->hashes, e) < 0)
		return -1;
	if (f->length < 0 && json_get(&from->value, "length"))
		return err_new(e, ERR_INPUT, "%s: '%.*s' has a length below 0", from->value.where, STR_ARG(f->name));
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct meta_file *x = a, *y = b;
	return str_cmp(x->name, y->name);
}

static int read_files(struct meta *m, struct err *e)
{
	const struct json *files = need(m->body, "meta", JSON_OBJECT, e);
	if (!files)
		return -1;
	m->file = arena_array(&m->arena, struct meta_file, files->n);
	m->file_n = files->n;
	for (uint32_t i = 0; i < files->n; i++)
		if (read_file(&files->member[i], &m->file[i], e) < 0)
			return -1;
	if (m->file_n)
		qsort(m->file, m->file_n, sizeof(*m->file), by_name);
	if (m->kind == META_TIMESTAMP && (m->file_n != 1 || !str_eq(m->file[0].name, STR("snapshot.json"))))
		return err_new(e, ERR_INPUT, "%s: 'meta' holds something else than 'snapshot.json'", m->where);
	return 0;
}

static int read_delegation(struct meta *m, const struct json *j, struct meta_delegation *d, struct err *e)
{
	const struct json *paths = NULL, *prefixes = NULL, *terminating;
	if (json_get_str(j, "name", &d->name, e) < 0 || read_role(m, j, &d->role, e) < 0 ||
	    !(terminating = need(j, "terminating", JSON_BOOL, e)) || json_opt_array(j, "paths", &paths, e) < 0 ||
	    json_opt_array(j, "path_hash_prefixes", &prefixes, e) < 0)
		return -1;
	d->terminating = terminating->boolean;
	if (d->name.n == 0 || d->name.n > NAME_MAX_BYTES || meta_is_top_level(d->name))
		return err_new(e, ERR_INPUT, "%s: offset %zu: '%.*s' cannot be the name of a delegated role", j->where,
			       j->offset, STR_ARG(d->name));
	if (!paths == !prefixes)
		return err_new(e, ERR_INPUT, "%s: role '%.*s' wants 'paths' or 'path_hash_prefixes', one of them",
			       j->where, STR_ARG(d->name));
	if (paths)
		return read_strings(&m->arena, paths, UINT32_MAX, &d->path, &d->path_n, e);
	return read_strings(&m->arena, prefixes, UINT32_MAX, &d->hash_prefix, &d->hash_prefix_n, e);
}

static int by_str(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int refuse_twins(struct meta *m, struct err *e)
{
	struct str *name = arena_array(&m->arena, struct str, m->delegation_n);
	for (uint32_t i = 0; i < m->delegation_n; i++)
		name[i] = m->delegation[i].name;
	if (m->delegation_n)
		qsort(name, m->delegation_n, sizeof(*name), by_str);
	for (uint32_t i = 1; i < m->delegation_n; i++)
		if (str_eq(name[i], name[i - 1]))
			return err_new(e, ERR_INPUT, "%s: the role '%.*s' is delegated to twice", m->where,
				       STR_ARG(name[i]));
	return 0;
}

static int read_bins(struct meta *m, const struct json *j, struct err *e)
{
	const struct json *bits = need(j, "bit_length", JSON_INT, e);
	if (!bits || json_get_str(j, "name_prefix", &m->bins.prefix, e) < 0 || read_role(m, j, &m->bins.role, e) < 0)
		return -1;
	if (bits->integer < 1 || bits->integer > BITS_MAX)
		return err_new(e, ERR_INPUT, "%s: offset %zu: 'bit_length' is 1 to %d", j->where, bits->offset,
			       BITS_MAX);
	if (m->bins.prefix.n == 0 || m->bins.prefix.n > NAME_MAX_BYTES)
		return err_new(e, ERR_INPUT, "%s: offset %zu: 'name_prefix' has 1 to %d bytes", j->where, j->offset,
			       NAME_MAX_BYTES);
	m->bins.bits = bits->integer;
	return 0;
}

static int read_delegations(struct meta *m, const struct json *j, struct err *e)
{
	const struct json *roles = NULL, *bins = NULL;
	if (read_keys(m, j, e) < 0 || json_opt_array(j, "roles", &roles, e) < 0 ||
	    json_opt_object(j, "succinct_roles", &bins, e) < 0)
		return -1;
	if (!roles == !bins)
		return err_new(e, ERR_INPUT, "%s: delegations want 'roles' or 'succinct_roles', one of them", m->where);
	if (bins)
		return read_bins(m, bins, e);
	m->delegation = arena_array(&m->arena, struct meta_delegation, roles->n);
	m->delegation_n = roles->n;
	for (uint32_t i = 0; i < roles->n; i++)
		if (read_delegation(m, &roles->item[i], &m->delegation[i], e) < 0)
			return -1;
	return refuse_twins(m, e);
}

static int read_targets(struct meta *m, struct err *e)
{
	const struct json *delegations = NULL;
	m->targets = need(m->body, "targets", JSON_OBJECT, e);
	if (!m->targets || json_opt_object(m->body, "delegations", &delegations, e) < 0)
		return -1;
	for (uint32_t i = 0; i < m->targets->n; i++) {
		const struct json *t = &m->targets->member[i].value, *length = json_get(t, "length");
		struct meta_hashes h;
		if (!length || length->type != JSON_INT || length->integer < 0)
			return err_new(e, ERR_INPUT, "%s: target '%.*s' has no length", m->where,
				       STR_ARG(m->targets->member[i].key));
		if (meta_hashes_read(t, false, &h, e) < 0)
			return err_ctx(e, "target '%.*s'", STR_ARG(m->targets->member[i].key));
	}
	return delegations ? read_delegations(m, delegations, e) : 0;
}

/* -- reading one ------------------------------------------------------------------------------------------------------- */

static int read_common(struct meta *m, struct err *e)
{
	struct str type, version, expires, major;
	if (!(m->body = need(m->json, "signed", JSON_OBJECT, e)) || json_get_str(m->body, "_type", &type, e) < 0 ||
	    json_get_str(m->body, "spec_version", &version, e) < 0 || need_version(m->body, &m->version, e) < 0 ||
	    json_get_str(m->body, "expires", &expires, e) < 0 || read_signatures(m, e) < 0)
		return -1;
	if (!str_eq_c(type, meta_kind_name[m->kind]))
		return err_new(e, ERR_INPUT, "%s: its type is '%.*s', not '%s'", m->where, STR_ARG(type),
			       meta_kind_name[m->kind]);
	if (!str_take_until(&version, '.', &major) || !str_eq(major, STR("1")))
		return err_new(e, ERR_UNSUPPORTED, "%s: this program reads version 1 of TUF's specification", m->where);
	if (!tuf_time(expires, &m->expires_ms))
		return err_new(e, ERR_INPUT, "%s: 'expires' is no time like 2030-01-31T12:00:00Z", m->where);
	return 0;
}

/* Before anything is looked at twice: an object with a key twice would be two things. */
static int make_canonical(struct meta *m, struct err *e)
{
	auto_buf b = BUF_INIT(m->bytes.n), rest = BUF_INIT(m->bytes.n);
	const struct json *body = json_get(m->json, "signed");
	if (canonical_put(&rest, m->json, e) < 0 || (body && canonical_put(&b, body, e) < 0))
		return -1;
	m->canonical = arena_str(&m->arena, buf_str(&b));
	return b.overflow ? err_new(e, ERR_INPUT, "%s: it grew when it was put in order", m->where) : 0;
}

static int read_kind(struct meta *m, struct err *e)
{
	switch (m->kind) {
	case META_ROOT:
		return read_root(m, e);
	case META_TIMESTAMP:
	case META_SNAPSHOT:
		return read_files(m, e);
	case META_TARGETS:
		return read_targets(m, e);
	case META_KINDS:
		break;
	}
	panic("no such kind of metadata");
}

int meta_parse(enum meta_kind kind, struct str bytes, const char *where, struct meta **ret, struct err *e)
{
	auto_ptr(meta) m = xcalloc(1, sizeof(*m));
	m->kind = kind;
	m->where = arena_strdup(&m->arena, str_c(where));
	m->bytes = arena_str(&m->arena, bytes);
	m->json = json_parse(&m->arena, m->bytes, m->where, e);
	if (!m->json || make_canonical(m, e) < 0 || read_common(m, e) < 0 || read_kind(m, e) < 0)
		return -1;
	*ret = steal_ptr(&m);
	return 0;
}

void meta_free(struct meta *m)
{
	if (!m)
		return;
	for (uint32_t i = 0; i < m->key_n; i++)
		public_key_free(m->key[i].loaded);
	struct arena a = m->arena;
	free(m);
	arena_release(&a);
}

/* -- who signed it ---------------------------------------------------------------------------------------------------- */

struct public_key *meta_key_loaded(struct meta *by, struct str id)
{
	for (uint32_t i = 0; i < by->key_n; i++) {
		struct meta_key *k = &by->key[i];
		if (!str_eq(k->id, id))
			continue;
		if (!k->tried)
			k->loaded = public_key_load(k->scheme, k->public);
		k->tried = true;
		return k->loaded;
	}
	return NULL;
}

static bool signed_by(const struct meta *m, const struct public_key *k, struct str keyid)
{
	uint8_t sig[SIG_BYTES_MAX];
	for (uint32_t i = 0; i < m->sig_n; i++) {
		struct str hex = m->sig[i].hex;
		if (str_eq(m->sig[i].keyid, keyid))
			return hex.n > 0 && hex.n % 2 == 0 && hex.n / 2 <= sizeof(sig) &&
			       str_unhex(hex, sig, hex.n / 2) && public_key_verifies(k, m->canonical, sig, hex.n / 2);
	}
	return false;
}

static bool is_among(const struct public_key *k, uint8_t (*seen)[KEY_VALUE_SIZE], size_t n)
{
	uint8_t value[KEY_VALUE_SIZE];
	public_key_value(k, value);
	for (size_t i = 0; i < n; i++)
		if (memcmp(seen[i], value, KEY_VALUE_SIZE) == 0)
			return true;
	return false;
}

int64_t meta_signatures(const struct meta *m, struct meta *by, const struct meta_role *role)
{
	uint8_t seen[KEYIDS_MAX][KEY_VALUE_SIZE];
	int64_t n = 0;
	for (uint32_t i = 0; i < role->keyid_n; i++) {
		struct public_key *k = meta_key_loaded(by, role->keyid[i]);
		if (k && !is_among(k, seen, (size_t)n) && signed_by(m, k, role->keyid[i]))
			public_key_value(k, seen[n++]);
	}
	return n;
}

int meta_verify(const struct meta *m, struct meta *by, const struct meta_role *role, struct err *e)
{
	int64_t n = meta_signatures(m, by, role);
	if (n >= role->threshold)
		return 0;
	return err_new(e, ERR_VERIFY,
		       "%s: version %" PRId64 " has %" PRId64 " good signature%s of the keys that may sign it, %" PRId64
		       " are needed",
		       m->where, m->version, n, n == 1 ? "" : "s", role->threshold);
}

bool meta_keys_kept(struct meta *before, struct meta *after, enum meta_kind role)
{
	const struct meta_role *old = &before->role[role], *now = &after->role[role];
	for (uint32_t i = 0; i < old->keyid_n; i++) {
		struct public_key *k = meta_key_loaded(before, old->keyid[i]);
		uint8_t value[1][KEY_VALUE_SIZE];
		bool kept = !k;
		if (k)
			public_key_value(k, value[0]);
		for (uint32_t j = 0; j < now->keyid_n && !kept; j++) {
			struct public_key *other = meta_key_loaded(after, now->keyid[j]);
			kept = other && is_among(other, value, 1);
		}
		if (!kept)
			return false;
	}
	return true;
}

/* -- looking things up ------------------------------------------------------------------------------------------------- */

const struct meta_file *meta_file_find(const struct meta *m, struct str name)
{
	struct meta_file key = {.name = name};
	return m->file_n ? bsearch(&key, m->file, m->file_n, sizeof(*m->file), by_name) : NULL;
}

const struct json *meta_target_find(const struct meta *m, struct str path)
{
	for (uint32_t i = 0; i < m->targets->n; i++)
		if (str_eq(m->targets->member[i].key, path))
			return &m->targets->member[i].value;
	return NULL;
}
