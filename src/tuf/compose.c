// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/map.h"
#include "tuf/canonical.h"
#include "tuf/keeper.h"

enum { KEY_BYTES_MAX = 64 << 10, KEYID_MAX = 128 };

/* -- keys ------------------------------------------------------------------------------------------------------------ */

int tuf_key_parse(struct arena *a, struct str json, const char *where, struct tuf_public_key *ret, struct err *e)
{
	auto_arena scratch = ARENA_INIT;
	auto_buf text = BUF_INIT(KEY_BYTES_MAX), canonical = BUF_INIT(KEY_BYTES_MAX);
	const struct json *value = NULL;
	struct str keytype, scheme, public;
	uint8_t id[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	const struct json *j = json_parse(&scratch, json, where, e);
	if (!j || json_get_str(j, "keytype", &keytype, e) < 0 || json_get_str(j, "scheme", &scheme, e) < 0 ||
	    json_opt_object(j, "keyval", &value, e) < 0)
		return -1;
	if (!value)
		return err_new(e, ERR_INPUT, "%s: it has no 'keyval'", where);
	if (json_get_str(value, "public", &public, e) < 0)
		return -1;
	auto_ptr(public_key) loaded = public_key_load(scheme_of(keytype, scheme), public);
	if (!loaded)
		return err_new(e, ERR_INPUT, "%s: no public key of a kind that is known", where);
	struct jw w = JW_INIT(&text, 0);
	jw_object(&w);
	jw_kv_str(&w, "keytype", keytype);
	jw_kv_str(&w, "scheme", scheme);
	jw_key(&w, "keyval");
	jw_object(&w);
	jw_kv_str(&w, "public", public);
	jw_object_end(&w);
	jw_object_end(&w);
	j = json_parse(&scratch, buf_str(&text), where, e);
	if (!j || canonical_put(&canonical, j, e) < 0)
		return -1;
	sha256(canonical.p, canonical.n, id);
	hex_encode(id, sizeof(id), hex);
	ret->keyid = arena_str(a, str_c(hex));
	ret->json = arena_str(a, buf_str(&text));
	return 0;
}

static int public_of(const struct secret_key *key, enum tuf_key_type type, struct arena *a, struct tuf_public_key *ret,
		     struct err *e)
{
	auto_buf public = BUF_INIT(KEY_BYTES_MAX), json = BUF_INIT(KEY_BYTES_MAX);
	struct jw w = JW_INIT(&json, 0);
	if (secret_key_put_public(key, &public, e) < 0)
		return -1;
	jw_object(&w);
	jw_kv_c(&w, "keytype", type == TUF_ED25519 ? "ed25519" : "ecdsa");
	jw_kv_c(&w, "scheme", type == TUF_ED25519 ? "ed25519" : "ecdsa-sha2-nistp256");
	jw_key(&w, "keyval");
	jw_object(&w);
	jw_kv_str(&w, "public", buf_str(&public));
	jw_object_end(&w);
	jw_object_end(&w);
	return tuf_key_parse(a, buf_str(&json), "a new key", ret, e);
}

int tuf_key_make(enum tuf_key_type type, int dir_fd, struct arena *a, struct tuf_public_key *ret, struct err *e)
{
	return tuf_key_make_encrypted(type, STR_NONE, dir_fd, a, ret, e);
}

int tuf_key_make_encrypted(enum tuf_key_type type, struct str passphrase, int dir_fd, struct arena *a,
			   struct tuf_public_key *ret, struct err *e)
{
	auto_ptr(secret_key) key = NULL;
	auto_buf pem = BUF_INIT(KEY_BYTES_MAX);
	if (secret_key_make(type == TUF_ED25519 ? SCHEME_ED25519 : SCHEME_ECDSA_P256, &key, e) < 0 ||
	    public_of(key, type, a, ret, e) < 0 || secret_key_put_pem(key, passphrase, &pem, e) < 0)
		return -1;
	auto_free char *name = xasprintf("%.*s.pem", STR_ARG(ret->keyid));
	int rc = fs_replace(dir_fd, name, pem.p, pem.n, FS_REPLACE_SYNC | FS_REPLACE_EXCL | FS_REPLACE_SECRET, e);
	explicit_bzero(pem.p, pem.n);
	return rc;
}

/* A keyid comes out of metadata and is to be a file name. */
static bool is_plain(struct str keyid)
{
	for (size_t i = 0; i < keyid.n; i++)
		if (!isalnum((unsigned char)keyid.p[i]))
			return false;
	return keyid.n > 0 && keyid.n <= KEYID_MAX;
}

/* Asked for once a keeper. */
static int passphrase_of(struct tuf_keeper *k, const char *name, struct str *ret, struct err *e)
{
	if (!k->o.passphrase)
		return err_new(e, ERR_USAGE, "it has a passphrase, and nobody here says it");
	if (!k->passphrase.n && k->o.passphrase->ask(k->o.passphrase->ctx, name, &k->passphrase, e) < 0)
		return -1;
	*ret = buf_str(&k->passphrase);
	return ret->n ? 0 : err_new(e, ERR_USAGE, "an empty passphrase");
}

static int read_secret(struct tuf_keeper *k, int dir_fd, const char *name, struct secret_key **ret, struct err *e)
{
	struct str passphrase = STR_NONE;
	auto_buf pem = BUF_INIT(KEY_BYTES_MAX);
	struct stat st;
	if (fstatat(dir_fd, name, &st, 0) < 0)
		return err_sys(e, "stat key '%s'", name);
	if (st.st_mode & 077)
		return err_new(e, ERR_FAILED,
			       "others can read the private key '%s': chmod 600 it, or make a new one and rotate",
			       name);
	int rc = fs_read(dir_fd, name, &pem, e) < 0 ? -1 : 1;
	if (rc > 0 && secret_key_is_encrypted(buf_str(&pem)))
		rc = passphrase_of(k, name, &passphrase, e) < 0 ? -1 : 1;
	if (rc > 0)
		rc = secret_key_read(buf_str(&pem), passphrase, ret, e) < 0 ? -1 : 1;
	explicit_bzero(pem.p, pem.n);
	return rc < 0 ? err_ctx(e, "key '%s'", name) : 1;
}

int secret_find(struct tuf_keeper *k, struct str keyid, struct secret_key **ret, struct err *e)
{
	if (!is_plain(keyid))
		return 0;
	auto_free char *name = xasprintf("%.*s.pem", STR_ARG(keyid));
	for (size_t i = 0; i < k->o.keys_n; i++)
		if (fs_exists(k->o.keys_fd[i], name))
			return ret ? read_secret(k, k->o.keys_fd[i], name, ret, e) : 1;
	return 0;
}

/* -- a body ------------------------------------------------------------------------------------------------------------ */

static const struct member *replaced(struct str key, const struct member *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_c(key, v[i].key))
			return &v[i];
	return NULL;
}

static bool is_common(struct str key)
{
	return str_eq(key, STR("_type")) || str_eq(key, STR("spec_version")) || str_eq(key, STR("version")) ||
	       str_eq(key, STR("expires"));
}

void compose_body(struct buf *b, enum meta_kind kind, const struct meta *old, int64_t version, int64_t expires_ms,
		  const struct member *v, size_t n)
{
	struct jw w = JW_INIT(b, 1);
	auto_buf expires = BUF_INIT(64);
	clock_put_iso(&expires, expires_ms);
	jw_object(&w);
	jw_kv_c(&w, "_type", meta_kind_name[kind]);
	jw_kv_c(&w, "spec_version", "1.0.34");
	jw_kv_int(&w, "version", version);
	jw_kv_str(&w, "expires", buf_str(&expires));
	for (uint32_t i = 0; old && i < old->body->n; i++) { /* what others wrote there stays */
		const struct json_member *m = &old->body->member[i];
		if (is_common(m->key) || replaced(m->key, v, n))
			continue;
		jw_key_str(&w, m->key);
		jw_value(&w, &m->value);
	}
	for (size_t i = 0; i < n; i++) {
		jw_key(&w, v[i].key);
		jw_raw(&w, v[i].json);
	}
	jw_object_end(&w);
}

void put_plan(struct jw *w, const struct plan *p)
{
	jw_key(w, "keyids");
	jw_array(w);
	for (size_t i = 0; i < p->key.n; i++)
		jw_str(w, p->key.v[i].keyid);
	jw_array_end(w);
	jw_kv_int(w, "threshold", p->threshold);
	jw_kv_int(w, EXPIRY_FIELD, p->days);
}

void put_keys(struct jw *w, const struct plan *const *v, size_t n)
{
	auto_map seen = MAP_INIT;
	jw_object(w);
	for (size_t i = 0; i < n; i++)
		vec_foreach(key, &v[i]->key) {
			uint64_t *there = map_put(&seen, key->keyid);
			if (*there)
				continue;
			*there = 1;
			jw_key_str(w, key->keyid);
			jw_raw(w, key->json);
		}
	jw_object_end(w);
}

/* -- a signed file -------------------------------------------------------------------------------------------------------- */

struct signing {
	struct tuf_keeper *k;
	const struct meta *unsigned_meta; /* for its canonical form */
	struct jw w;
	struct map seen; /* keyids */
};

static void put_sig(struct signing *s, struct str keyid, struct str hex)
{
	*map_put(&s->seen, keyid) = 1;
	jw_object(&s->w);
	jw_kv_str(&s->w, "keyid", keyid);
	jw_kv_str(&s->w, "sig", hex);
	jw_object_end(&s->w);
}

static int sign_as(struct signing *s, struct authority a, struct str keyid, struct err *e)
{
	auto_ptr(secret_key) secret = NULL;
	auto_buf hex = BUF_INIT(1 << 14);
	struct str text = s->unsigned_meta->canonical;
	struct public_key *public = meta_key_loaded(a.by, keyid);
	enum tuf_scheme scheme = SCHEME_OTHER;
	uint8_t sig[1 << 12];
	for (uint32_t i = 0; i < a.by->key_n; i++)
		if (str_eq(a.by->key[i].id, keyid))
			scheme = a.by->key[i].scheme;
	if (!public || map_get(&s->seen, keyid))
		return 0;
	int rc = secret_find(s->k, keyid, &secret, e);
	if (rc <= 0)
		return rc;
	if (secret_key_sign(secret, scheme, text, &hex, e) < 0)
		return err_ctx(e, "key '%.*s'", STR_ARG(keyid));
	if (hex.n / 2 > sizeof(sig) || !str_unhex(buf_str(&hex), sig, hex.n / 2) ||
	    !public_key_verifies(public, text, sig, hex.n / 2))
		return err_new(e, ERR_VERIFY, "the file '%.*s.pem' holds another key than its name says",
			       STR_ARG(keyid));
	put_sig(s, keyid, buf_str(&hex));
	return 0;
}

/* Those of before that are of a key that may sign; what is signed is the same. */
static void keep_signatures(struct signing *s, const struct meta *before, const struct authority *v, size_t n)
{
	for (uint32_t i = 0; before && i < before->sig_n; i++)
		for (size_t a = 0; a < n; a++)
			for (uint32_t j = 0; j < v[a].who->keyid_n; j++)
				if (str_eq(v[a].who->keyid[j], before->sig[i].keyid) &&
				    !map_get(&s->seen, before->sig[i].keyid))
					put_sig(s, before->sig[i].keyid, before->sig[i].hex);
}

static int put_signatures(struct signing *s, const struct meta *before, const struct authority *v, size_t n,
			  struct err *e)
{
	jw_array(&s->w);
	keep_signatures(s, before, v, n);
	for (size_t a = 0; a < n; a++)
		for (uint32_t i = 0; i < v[a].who->keyid_n; i++)
			if (sign_as(s, v[a], v[a].who->keyid[i], e) < 0)
				return -1;
	jw_array_end(&s->w);
	return 0;
}

static int put_file(struct signing *s, const struct meta *before, const struct authority *v, size_t n, struct err *e)
{
	jw_object(&s->w);
	jw_key(&s->w, "signatures");
	int rc = put_signatures(s, before, v, n, e);
	jw_key(&s->w, "signed");
	jw_value(&s->w, s->unsigned_meta->body);
	jw_object_end(&s->w);
	buf_put_char(s->w.b, '\n');
	return rc;
}

static int too_large(enum meta_kind kind, struct err *e)
{
	return err_new(e, ERR_LIMIT, "a new %s would have more than %zu bytes", meta_kind_name[kind], KEEPER_BYTES_MAX);
}

int compose(struct tuf_keeper *k, enum meta_kind kind, struct str body, const struct meta *before,
	    const struct authority *v, size_t n, struct meta **ret, struct err *e)
{
	auto_buf text = BUF_INIT(KEEPER_BYTES_MAX);
	auto_ptr(meta) bare = NULL;
	auto_free char *where = xasprintf("the next %s", meta_kind_name[kind]);
	buf_put_c(&text, "{\"signatures\":[],\"signed\":");
	buf_put_str(&text, body);
	buf_put_c(&text, "}");
	if (text.overflow)
		return too_large(kind, e);
	if (meta_parse(kind, buf_str(&text), where, &bare, e) < 0)
		return -1;
	buf_clear(&text);
	struct signing s = {.k = k, .unsigned_meta = bare, .w = JW_INIT(&text, 1)};
	int rc = put_file(&s, before, v, n, e);
	map_release(&s.seen);
	if (rc < 0)
		return -1;
	return text.overflow ? too_large(kind, e) : meta_parse(kind, buf_str(&text), where, ret, e);
}
