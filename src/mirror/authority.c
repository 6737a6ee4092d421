// SPDX-License-Identifier: Apache-2.0
#include "mirror/authority.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "mirror/mirror.h"

enum { SMALL_FILE = 64, LOCK_MS = 10000 };

static int put(int dir_fd, const char *path, struct str text, struct err *e)
{
	return fs_replace(dir_fd, path, text.p, text.n, FS_REPLACE_SYNC, e);
}

static int open_pki(int mirror_fd, bool make, struct err *e)
{
	int fd = make ? fs_open_dir_make(mirror_fd, "pki", e) : fs_open_dir(mirror_fd, "pki", e);
	return fd < 0 ? err_ctx(e, "the mirror's authority") : fd;
}

/* -- one authority ------------------------------------------------------------------------------------------------ */

static int load_cert(int dir_fd, const char *path, struct pki_cert **ret, struct err *e)
{
	auto_buf b = BUF_INIT(PKI_BUNDLE_MAX);
	return fs_read(dir_fd, path, &b, e) < 0 ? -1 : pki_cert_read(buf_str(&b), path, ret, e);
}

/* 1; 0: it is not there. */
static int load_pair(int dir_fd, const char *key_path, const char *cert_path, struct pki_key **ret_key,
		     struct pki_cert **ret_cert, struct err *e)
{
	auto_ptr(pki_key) key = NULL;
	auto_ptr(pki_cert) cert = NULL;
	if (!fs_exists(dir_fd, key_path) || !fs_exists(dir_fd, cert_path))
		return 0;
	if (pki_key_load(dir_fd, key_path, &key, e) < 0 || load_cert(dir_fd, cert_path, &cert, e) < 0)
		return err_ctx(e, "pki");
	if (!pki_cert_is_of(cert, key))
		return err_new(e, ERR_VERIFY,
			       "'pki/%s' and 'pki/%s' do not belong together: restore both from a backup", key_path,
			       cert_path);
	*ret_key = steal_ptr(&key);
	*ret_cert = steal_ptr(&cert);
	return 1;
}

int authority_other(const struct authority *a, unsigned number, struct pki_cert **ret_cert, struct pki_key **ret_key,
		    struct err *e)
{
	char key[SMALL_FILE], cert[SMALL_FILE];
	snprintf(key, sizeof(key), "authority-%u.key", number);
	snprintf(cert, sizeof(cert), "authority-%u.crt", number);
	return load_pair(a->dir_fd, key, cert, ret_key, ret_cert, e);
}

/* The key, then the certificate: what is left of the last time is used. */
static int make_authority(const struct authority *a, unsigned number, const struct pki_authority_opts *o,
			  enum pki_kind kind, int64_t now_ms, struct pki_cert **ret_cert, struct pki_key **ret_key,
			  struct err *e)
{
	char key_path[SMALL_FILE], cert_path[SMALL_FILE];
	auto_arena arena = ARENA_INIT;
	auto_ptr(pki_key) key = NULL;
	auto_ptr(pki_cert) cert = NULL;
	int rc = authority_other(a, number, ret_cert, ret_key, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	snprintf(key_path, sizeof(key_path), "authority-%u.key", number);
	snprintf(cert_path, sizeof(cert_path), "authority-%u.crt", number);
	if (fs_exists(a->dir_fd, key_path)
		    ? pki_key_load(a->dir_fd, key_path, &key, e) < 0
		    : pki_key_new(kind, &key, e) < 0 || pki_key_save(a->dir_fd, key_path, key, e) < 0)
		return -1;
	if (pki_authority_new(key, o, now_ms, &cert, e) < 0 ||
	    put(a->dir_fd, cert_path, pki_cert_pem(cert, &arena), e) < 0)
		return -1;
	*ret_key = steal_ptr(&key);
	*ret_cert = steal_ptr(&cert);
	return 0;
}

/* -- opening ------------------------------------------------------------------------------------------------------ */

static int read_number(struct authority *a, struct err *e)
{
	auto_buf b = BUF_INIT(SMALL_FILE);
	uint64_t n;
	if (fs_read(a->dir_fd, "current", &b, e) < 0)
		return -1;
	if (!str_to_u64(str_trim(buf_str(&b)), &n) || !n || n > AUTHORITY_NUMBERS)
		return err_new(e, ERR_INPUT, "'pki/current' holds no number");
	a->number = (unsigned)n;
	return 0;
}

static int set_current(struct authority *a, unsigned number, struct err *e)
{
	char text[SMALL_FILE];
	int n = snprintf(text, sizeof(text), "%u\n", number);
	return put(a->dir_fd, "current", str_of(text, (size_t)n), e);
}

static int load_current(struct authority *a, struct err *e)
{
	uint8_t fingerprint[SHA256_SIZE];
	auto_buf b = BUF_INIT(PKI_BUNDLE_MAX);
	int rc = read_number(a, e) < 0 ? -1 : authority_other(a, a->number, &a->cert, &a->key, e);
	if (rc < 0)
		return -1;
	if (!rc)
		return err_new(e, ERR_NOT_FOUND, "'pki/authority-%u.key' or .crt is missing: restore it from a backup",
			       a->number);
	if (fs_read(a->dir_fd, "ca.pem", &b, e) < 0)
		return -1;
	pki_cert_fingerprint(a->cert, fingerprint);
	hex_encode(fingerprint, SHA256_SIZE, a->fingerprint);
	a->bundle = buf_steal(&b);
	return 0;
}

int authority_open(int mirror_fd, struct authority *ret, struct err *e)
{
	auto_authority a = AUTHORITY_INIT;
	struct err why = ERR_INIT;
	a.dir_fd = open_pki(mirror_fd, false, &why);
	if (a.dir_fd >= 0 && load_current(&a, &why) == 0) {
		*ret = a;
		a = AUTHORITY_INIT;
		return 0;
	}
	if (why.code == ERR_NOT_FOUND && (a.dir_fd < 0 || !fs_exists(a.dir_fd, "current")))
		return err_new(e, ERR_NOT_FOUND, "the mirror has no authority yet; 'slipway mirror init' makes it");
	*e = why;
	return -1;
}

void authority_release(struct authority *a)
{
	cleanup_fd(&a->dir_fd);
	pki_key_free(a->key);
	pki_cert_free(a->cert);
	free(a->bundle);
	*a = AUTHORITY_INIT;
}

/* -- making, renewing, changing ----------------------------------------------------------------------------------- */

static struct pki_authority_opts opts_of(const struct mirror_authority_opts *o, const struct pki_names *names)
{
	return (struct pki_authority_opts){.name = o->name, .names = o->unconstrained ? NULL : names};
}

static int make_first(struct authority *a, const struct mirror_authority_opts *o, int64_t now_ms, struct err *e)
{
	auto_arena arena = ARENA_INIT;
	auto_ptr(pki_key) key = NULL;
	auto_ptr(pki_cert) cert = NULL;
	struct pki_names names = {o->names, o->names_n};
	struct pki_authority_opts want = opts_of(o, &names);
	return make_authority(a, 1, &want, o->rsa ? PKI_RSA_3072 : PKI_EC_P256, now_ms, &cert, &key, e) < 0 ||
			       put(a->dir_fd, "ca.pem", pki_bundle_begin(cert, &arena), e) < 0 ||
			       set_current(a, 1, e) < 0
		       ? -1
		       : 0;
}

static bool same_names(const struct pki_cert_info *i, const struct mirror_authority_opts *o)
{
	bool same = i->names_n == o->names_n;
	for (size_t k = 0; same && k < o->names_n; k++)
		same = str_casecmp(i->names[k], o->names[k]) == 0;
	return same;
}

/* 1: of the authority in use, for these names, and not to be renewed yet. */
static int server_is_good(const struct authority *a, const struct pki_key *key, const struct pki_cert *cert,
			  const struct mirror_authority_opts *o, int64_t now_ms, struct err *e)
{
	auto_arena arena = ARENA_INIT;
	struct pki_cert_info i;
	struct err ignored = ERR_INIT;
	struct pki_verify v = {.anchors = pki_cert_pem(a->cert, &arena), .purpose = PKI_SERVER};
	if (pki_cert_info(cert, &arena, &i, e) < 0)
		return -1;
	return pki_cert_is_of(cert, key) && same_names(&i, o) && !pki_is_due(i.not_before_ms, i.not_after_ms, now_ms) &&
	       pki_verify(cert, &v, now_ms, &ignored) == 0;
}

/* The key stays: whoever pinned it need not care. 1: it is another certificate than before. */
static int renew_server(const struct authority *a, const struct mirror_authority_opts *o, int64_t now_ms, struct err *e)
{
	auto_arena arena = ARENA_INIT;
	auto_ptr(pki_key) key = NULL;
	auto_ptr(pki_cert) old = NULL;
	auto_ptr(pki_cert) made = NULL;
	struct pki_names names = {o->names, o->names_n};
	bool has_key = fs_exists(a->dir_fd, "server.key");
	if (has_key ? pki_key_load(a->dir_fd, "server.key", &key, e) < 0
		    : pki_key_new(o->rsa ? PKI_RSA_3072 : PKI_EC_P256, &key, e) < 0 ||
			      pki_key_save(a->dir_fd, "server.key", key, e) < 0)
		return -1;
	if (fs_exists(a->dir_fd, "server.pem")) {
		int rc = load_cert(a->dir_fd, "server.pem", &old, e) < 0 ? -1
									 : server_is_good(a, key, old, o, now_ms, e);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
	if (pki_sign_server(a->cert, a->key, key, &names, 0, now_ms, &made, e) < 0 ||
	    put(a->dir_fd, "server.pem", pki_cert_pem(made, &arena), e) < 0)
		return e->code != ERR_VERIFY
			       ? err_ctx(e, "the mirror's own certificate")
			       : err_ctx(e, "the mirror's own certificate cannot be made ('slipway mirror authority "
					    "announce', then 'switch', where mirror.yaml names another host)");
	return 1;
}

int mirror_authority_make(const char *dir, const struct mirror_authority_opts *o, const struct clock *clock,
			  struct err *e)
{
	auto_fd mirror_fd = fs_open_dir(AT_FDCWD, dir, e);
	auto_authority a = AUTHORITY_INIT;
	int64_t now_ms = clock->wall_ms(clock);
	a.dir_fd = mirror_fd < 0 ? -1 : open_pki(mirror_fd, true, e);
	if (a.dir_fd < 0)
		return -1;
	auto_fd lock = fs_lock(a.dir_fd, "lock", LOCK_MS, e);
	if (lock < 0 || (!fs_exists(a.dir_fd, "current") && make_first(&a, o, now_ms, e) < 0) ||
	    load_current(&a, e) < 0)
		return -1;
	return renew_server(&a, o, now_ms, e);
}

/* Under the lock it is read again: another command may have changed it before we had that. */
static int open_to_change(const char *dir, struct authority *ret, int *ret_lock, struct err *e)
{
	auto_fd mirror_fd = fs_open_dir(AT_FDCWD, dir, e);
	auto_authority before = AUTHORITY_INIT;
	if (mirror_fd < 0 || authority_open(mirror_fd, &before, e) < 0)
		return -1;
	auto_fd lock = fs_lock(before.dir_fd, "lock", LOCK_MS, e);
	if (lock < 0 || authority_open(mirror_fd, ret, e) < 0)
		return -1;
	*ret_lock = steal_fd(&lock);
	return 0;
}

int mirror_authority_announce(const char *dir, const struct mirror_authority_opts *o, const struct clock *clock,
			      struct err *e)
{
	auto_arena arena = ARENA_INIT;
	auto_fd lock = -1;
	auto_authority a = AUTHORITY_INIT;
	auto_ptr(pki_key) key = NULL;
	auto_ptr(pki_cert) cert = NULL;
	int64_t now_ms = clock->wall_ms(clock);
	struct pki_names names = {o->names, o->names_n};
	struct pki_authority_opts want = opts_of(o, &names);
	struct str bundle;
	if (open_to_change(dir, &a, &lock, e) < 0 ||
	    make_authority(&a, a.number + 1, &want, o->rsa ? PKI_RSA_3072 : PKI_EC_P256, now_ms, &cert, &key, e) < 0)
		return -1;
	struct str pem = pki_cert_pem(cert, &arena);
	if (str_search(str_c(a.bundle), pem) >= 0)
		return 0; /* it was announced already */
	if (pki_bundle_announce(str_c(a.bundle), a.cert, a.key, cert, &arena, &bundle, e) < 0)
		return -1;
	return put(a.dir_fd, "ca.pem", bundle, e) < 0 ? -1 : 1;
}

/* The new one first: who reads the bundle only for the one in use takes the first. What is over goes. */
static int reorder(const struct authority *a, const struct pki_cert *next, int64_t now_ms, struct arena *arena,
		   struct str *ret, struct err *e)
{
	struct str all = str_c(a->bundle);
	ptrdiff_t at = str_search(all, pki_cert_pem(next, arena));
	ptrdiff_t line = at < 0 ? -1 : str_search(all, STR("announced-by: "));
	if (at < 0 || line < 0)
		return err_new(e, ERR_NOT_FOUND,
			       "no authority was announced; 'slipway mirror authority announce' first");
	return pki_bundle_merge(all, all, now_ms, arena, ret, e);
}

int mirror_authority_switch(const char *dir, const struct mirror_authority_opts *o, const struct clock *clock,
			    struct err *e)
{
	auto_arena arena = ARENA_INIT;
	auto_fd lock = -1;
	auto_authority a = AUTHORITY_INIT, switched = AUTHORITY_INIT;
	auto_ptr(pki_key) key = NULL;
	auto_ptr(pki_cert) cert = NULL;
	int64_t now_ms = clock->wall_ms(clock);
	struct str bundle;
	if (open_to_change(dir, &a, &lock, e) < 0)
		return -1;
	int rc = authority_other(&a, a.number + 1, &cert, &key, e);
	if (rc < 0)
		return -1;
	if (!rc)
		return err_new(e, ERR_NOT_FOUND,
			       "no authority was announced; 'slipway mirror authority announce' first");
	if (reorder(&a, cert, now_ms, &arena, &bundle, e) < 0 || put(a.dir_fd, "ca.pem", bundle, e) < 0 ||
	    set_current(&a, a.number + 1, e) < 0)
		return -1;
	auto_fd mirror_fd = fs_open_dir(AT_FDCWD, dir, e);
	return mirror_fd < 0 || authority_open(mirror_fd, &switched, e) < 0 || renew_server(&switched, o, now_ms, e) < 0
		       ? -1
		       : 0;
}

int mirror_authority_show(const char *dir, struct arena *arena, struct mirror_authority_info *ret, struct err *e)
{
	auto_fd mirror_fd = fs_open_dir(AT_FDCWD, dir, e);
	auto_authority a = AUTHORITY_INIT;
	auto_ptr(pki_cert) server = NULL;
	if (mirror_fd < 0 || authority_open(mirror_fd, &a, e) < 0 ||
	    pki_cert_info(a.cert, arena, &ret->authority, e) < 0)
		return -1;
	ret->bundle = arena_str(arena, str_c(a.bundle));
	return load_cert(a.dir_fd, "server.pem", &server, e) < 0 || pki_cert_info(server, arena, &ret->server, e) < 0
		       ? -1
		       : 0;
}

/* -- of a mirror that is configured --------------------------------------------------------------------------------- */

/* Of a host that is written with a port the name alone. */
static struct str without_port(struct str host)
{
	struct str s = host, six;
	ptrdiff_t at = str_rfind(host, ':');
	if (str_take_char(&s, '[') && str_take_until(&s, ']', &six))
		return six;
	return at >= 0 && str_find(host, ':') == at ? str_head(host, (size_t)at) : host;
}

static struct mirror_authority_opts configured(const struct mirror *m, struct str *host)
{
	const struct mirror_config *c = mirror_config(m);
	*host = without_port(c->host);
	return (struct mirror_authority_opts){.name = c->name, .names = host, .names_n = 1};
}

int mirror_authority_check(struct str name, struct str host, struct err *e)
{
	bool is_address;
	return pki_name_check(name, e) < 0 || pki_host_check(without_port(host), &is_address, e) < 0 ? -1 : 0;
}

int mirror_authority_keep(const struct mirror *m, const struct clock *clock, struct err *e)
{
	struct str host;
	struct mirror_authority_opts o = configured(m, &host);
	return mirror_authority_make(mirror_dir(m), &o, clock, e);
}

int mirror_authority_change(const struct mirror *m, bool announce, const struct clock *clock, struct err *e)
{
	struct str host;
	struct mirror_authority_opts o = configured(m, &host);
	return announce ? mirror_authority_announce(mirror_dir(m), &o, clock, e)
			: mirror_authority_switch(mirror_dir(m), &o, clock, e);
}
