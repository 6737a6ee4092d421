// SPDX-License-Identifier: Apache-2.0
#include "mirror/clients.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/vec.h"

enum { RIGHTS_MAX = 256, PATTERN_MAX = 256, REASON_MAX = 512, CRL_DAYS = 7, DAY_MS = 86400000 };
#define CRL_END "-----END X509 CRL-----"

/* Digests, serial numbers and fingerprints in hexadecimal. A code is kept as the SHA-256 of its secret. */
static const char *const schema[] = {
	"CREATE TABLE enroll_code (number INTEGER PRIMARY KEY, secret TEXT NOT NULL, name TEXT NOT NULL, grp TEXT NOT NULL,"
	" made_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, tries_left INTEGER NOT NULL,"
	" used_ms INTEGER NOT NULL DEFAULT 0, client INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE client (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, machine TEXT NOT NULL UNIQUE,"
	" grp TEXT NOT NULL, enrolled_ms INTEGER NOT NULL, renewed_ms INTEGER NOT NULL DEFAULT 0,"
	" revoked_ms INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '');"
	"CREATE TABLE certificate (serial TEXT PRIMARY KEY, client INTEGER NOT NULL, fingerprint TEXT NOT NULL UNIQUE,"
	" key TEXT NOT NULL, authority TEXT NOT NULL, pem TEXT NOT NULL, issued_ms INTEGER NOT NULL,"
	" not_before_ms INTEGER NOT NULL, not_after_ms INTEGER NOT NULL, revoked_ms INTEGER NOT NULL DEFAULT 0,"
	" replaces TEXT NOT NULL DEFAULT '') WITHOUT ROWID;"
	"CREATE INDEX certificate_client ON certificate (client);"
	"CREATE TABLE client_right (holder TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, pattern TEXT NOT NULL,"
	" PRIMARY KEY (holder, name, at)) WITHOUT ROWID;"
	"INSERT INTO client_right VALUES ('group', 'default', 0, '*');"
	"CREATE TABLE enroll_crl (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);"
	"INSERT INTO enroll_crl VALUES (1, 1);",
};

struct seen {
	struct mirror_who who;
	int64_t from_ms, until_ms;
	const char *refused; /* NULL: it is good */
};

/* -- opening ------------------------------------------------------------------------------------------------------ */

void clients_lock(struct mirror_clients *c)
{
	pthread_mutex_lock(&c->mutex);
}

void clients_unlock(struct mirror_clients **c)
{
	pthread_mutex_unlock(&(*c)->mutex);
}

int mirror_clients_open(const char *dir, const struct clock *clock, struct mirror_clients **ret, struct err *e)
{
	auto_ptr(mirror_clients) c = xcalloc(1, sizeof(*c));
	auto_free char *path = xasprintf("%s/state/mirror.db", dir);
	pthread_mutex_init(&c->mutex, NULL);
	c->authority = AUTHORITY_INIT;
	c->clock = clock;
	c->limiter = limiter_new();
	c->mirror_fd = fs_open_dir(AT_FDCWD, dir, e);
	if (c->mirror_fd < 0 || authority_open(c->mirror_fd, &c->authority, e) < 0 ||
	    fs_mkdirs(c->mirror_fd, "state", 0700, e) < 0 || sql_open(path, 0, &c->db, e) < 0 ||
	    sql_part(c->db, "enroll", schema, sizeof(schema) / sizeof(*schema), e) < 0 || clients_write_crl(c, e) < 0)
		return err_ctx(e, "clients of the mirror '%s'", dir);
	*ret = steal_ptr(&c);
	return 0;
}

void mirror_clients_free(struct mirror_clients *c)
{
	if (!c)
		return;
	sql_close(c->db);
	cleanup_fd(&c->mirror_fd);
	authority_release(&c->authority);
	limiter_free(c->limiter);
	map_release(&c->by_fingerprint);
	arena_release(&c->arena);
	pthread_mutex_destroy(&c->mutex);
	free(c);
}

int clients_need_authority(struct mirror_clients *c, struct err *e)
{
	auto_authority now = AUTHORITY_INIT;
	if (authority_open(c->mirror_fd, &now, e) < 0)
		return -1;
	struct authority old = c->authority;
	c->authority = now;
	now = old;
	return 0;
}

void clients_changed(struct mirror_clients *c)
{
	c->loaded = false;
}

/* -- rights ------------------------------------------------------------------------------------------------------- */

static int prepare_rights(struct mirror_clients *c, sql_query **ret, struct err *e)
{
	return sql_prepare(c->db, "SELECT pattern FROM client_right WHERE holder = ?1 AND name = ?2 ORDER BY at", ret,
			   e);
}

static int patterns_of(sql_query *q, const char *holder, struct str name, struct arena *a, const struct str **ret,
		       size_t *ret_n, struct err *e)
{
	VEC(struct str) list = {0};
	int rc;
	sql_reset(q);
	sql_bind_str(q, 1, str_c(holder));
	sql_bind_str(q, 2, name);
	while ((rc = sql_step(q, e)) > 0)
		vec_push(&list, sql_str(q, 0, a));
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	return rc;
}

int clients_rights(struct mirror_clients *c, struct str name, struct str group, struct arena *a, const struct str **ret,
		   size_t *ret_n, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (prepare_rights(c, &q, e) < 0 || patterns_of(q, "client", name, a, ret, ret_n, e) < 0)
		return -1;
	return *ret_n ? 0 : patterns_of(q, "group", group, a, ret, ret_n, e);
}

static bool may_get(const struct mirror_who *who, struct str channel)
{
	bool yes = false;
	for (size_t i = 0; i < who->patterns_n; i++) {
		struct str p = who->patterns[i];
		bool not_this = str_take_char(&p, '!');
		if (!str_glob(p, channel))
			continue;
		if (not_this)
			return false;
		yes = true;
	}
	return yes;
}

bool mirror_may(const struct mirror_who *who, enum mirror_act act, struct str what)
{
	switch (act) {
	case MIRROR_GET:
		return may_get(who, what);
	case MIRROR_STORE_SNAPSHOT:
	case MIRROR_READ_SNAPSHOT:
		return who->name.n && str_eq(who->name, what);
	}
	return false;
}

static int check_pattern(struct str p, struct err *e)
{
	bool ok = p.n && p.n <= PATTERN_MAX && !str_eq(p, STR("!"));
	for (size_t i = 0; ok && i < p.n; i++)
		ok = p.p[i] > ' ' && p.p[i] <= '~';
	return ok ? 0
		  : err_new(e, ERR_USAGE, "'%.*s' is no pattern of channels (up to %d characters, no blanks)",
			    STR_ARG(str_head(p, 100)), PATTERN_MAX);
}

int clients_check_group(struct str group, struct err *e)
{
	return pki_name_check(group, e) < 0 ? err_ctx(e, "group") : 0;
}

static int write_rights(struct mirror_clients *c, const char *holder, struct str name, const struct str *patterns,
			size_t n, struct err *e)
{
	if (sql_run(c->db, e, "DELETE FROM client_right WHERE holder = ?1 AND name = ?2", "ss", str_c(holder), name) <
	    0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (sql_run(c->db, e, "INSERT INTO client_right VALUES (?1, ?2, ?3, ?4)", "ssis", str_c(holder), name,
			    (int64_t)i, patterns[i]) < 0)
			return -1;
	return 0;
}

/* 1; 0: there is none. */
static int find_client(struct mirror_clients *c, struct str name, int64_t *ret_id, int64_t *ret_revoked_ms,
		       struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(c->db, "SELECT id, revoked_ms FROM client WHERE name = ?1", &q, e) < 0)
		return -1;
	sql_bind_str(q, 1, name);
	int rc = sql_step(q, e);
	*ret_id = rc > 0 ? sql_int(q, 0) : 0;
	*ret_revoked_ms = rc > 0 ? sql_int(q, 1) : 0;
	return rc;
}

static int no_client(struct str name, struct err *e)
{
	return err_new(e, ERR_NOT_FOUND, "no client '%.*s' is enrolled; 'slipway mirror clients' lists them",
		       STR_ARG(str_head(name, 100)));
}

int mirror_rights_set(struct mirror_clients *c, enum mirror_holder holder, struct str name, const struct str *patterns,
		      size_t n, struct err *e)
{
	int64_t id, revoked_ms;
	const char *word = holder == MIRROR_GROUP ? "group" : "client";
	if (n > RIGHTS_MAX)
		return err_new(e, ERR_LIMIT, "%zu patterns, more than %d", n, RIGHTS_MAX);
	for (size_t i = 0; i < n; i++)
		if (check_pattern(patterns[i], e) < 0)
			return -1;
	if (clients_check_group(name, e) < 0)
		return -1;
	CLIENTS_HOLD(c);
	clients_changed(c);
	if (sql_begin(c->db, e) < 0)
		return -1;
	int rc = holder == MIRROR_CLIENT ? find_client(c, name, &id, &revoked_ms, e) : 1;
	if (rc == 0)
		rc = no_client(name, e);
	if (rc > 0)
		rc = write_rights(c, word, name, patterns, n, e);
	return sql_end(c->db, rc, e);
}

int mirror_rights_list(struct mirror_clients *c, struct arena *a, struct mirror_rights **ret, size_t *ret_n,
		       struct err *e)
{
	auto_ptr(sql_query) holders = NULL, rights = NULL;
	VEC(struct mirror_rights) list = {0};
	int rc;
	CLIENTS_HOLD(c);
	if (sql_prepare(c->db, "SELECT DISTINCT holder, name FROM client_right ORDER BY holder, name", &holders, e) <
		    0 ||
	    prepare_rights(c, &rights, e) < 0)
		return -1;
	while ((rc = sql_step(holders, e)) > 0) {
		bool group = str_eq_c(sql_view(holders, 0), "group");
		struct mirror_rights *r = vec_add(&list);
		*r = (struct mirror_rights){group ? MIRROR_GROUP : MIRROR_CLIENT, sql_str(holders, 1, a), NULL, 0};
		if ((rc = patterns_of(rights, group ? "group" : "client", r->name, a, &r->patterns, &r->patterns_n,
				      e)) < 0)
			break;
	}
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	return rc;
}

/* -- who is it ---------------------------------------------------------------------------------------------------- */

static const char *why_refused(int64_t certificate_revoked_ms, int64_t client_revoked_ms)
{
	if (client_revoked_ms)
		return "was revoked: ask the mirror's operator for a new code, and enroll again";
	return certificate_revoked_ms ? "was replaced by a newer one, or revoked: enroll again" : NULL;
}

/* Patterns of the client that the row is of. Those of a group are read once for all of it. */
static int load_who(struct mirror_clients *c, sql_query *row, sql_query *rights, struct map *groups,
		    struct mirror_who *ret, struct err *e)
{
	*ret = (struct mirror_who){.name = sql_str(row, 5, &c->arena), .group = sql_str(row, 6, &c->arena)};
	if (patterns_of(rights, "client", ret->name, &c->arena, &ret->patterns, &ret->patterns_n, e) < 0)
		return -1;
	if (ret->patterns_n)
		return 0;
	const uint64_t *known = map_get(groups, ret->group);
	if (!known) {
		struct mirror_who *g = arena_new(&c->arena, struct mirror_who);
		if (patterns_of(rights, "group", ret->group, &c->arena, &g->patterns, &g->patterns_n, e) < 0)
			return -1;
		*map_put(groups, ret->group) = (uintptr_t)g;
		known = map_get(groups, ret->group);
	}
	const struct mirror_who *g = (const struct mirror_who *)(uintptr_t)*known;
	ret->patterns = g->patterns;
	ret->patterns_n = g->patterns_n;
	return 0;
}

static int load_rows(struct mirror_clients *c, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	auto_ptr(sql_query) rights = NULL;
	auto_map groups = MAP_INIT;
	struct mirror_who who = {0};
	int rc;
	if (prepare_rights(c, &rights, e) < 0 ||
	    sql_prepare(
		    c->db,
		    "SELECT x.fingerprint, x.not_before_ms, x.not_after_ms, x.revoked_ms, c.revoked_ms, c.name, c.grp"
		    " FROM certificate x JOIN client c ON c.id = x.client ORDER BY c.id",
		    &q, e) < 0)
		return -1;
	while ((rc = sql_step(q, e)) > 0) {
		struct seen *s = arena_new(&c->arena, struct seen);
		s->from_ms = sql_int(q, 1);
		s->until_ms = sql_int(q, 2);
		s->refused = why_refused(sql_int(q, 3), sql_int(q, 4));
		if (!str_eq(who.name, sql_view(q, 5)) && load_who(c, q, rights, &groups, &who, e) < 0)
			return -1;
		s->who = who;
		*map_put(&c->by_fingerprint, sql_str(q, 0, &c->arena)) = (uintptr_t)s;
	}
	return rc;
}

/* Has another process changed anything since? It costs less than a system call's worth of work on a mapped page. */
static int data_version(struct mirror_clients *c, int64_t *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(c->db, "PRAGMA data_version", &q, e) < 0 || sql_step(q, e) < 0)
		return -1;
	*ret = sql_int(q, 0);
	return 0;
}

static int load(struct mirror_clients *c, struct err *e)
{
	int64_t version;
	if (data_version(c, &version, e) < 0)
		return -1;
	if (c->loaded && version == c->data_version)
		return 0;
	map_release(&c->by_fingerprint);
	arena_release(&c->arena);
	c->loaded = false;
	if (load_rows(c, e) < 0)
		return -1;
	c->data_version = version;
	c->loaded = true;
	return 0;
}

int mirror_who(struct mirror_clients *c, const uint8_t *fingerprint, struct arena *a, struct mirror_who *ret,
	       struct err *e)
{
	char hex[SHA256_HEX_SIZE];
	int64_t now_ms = c->clock->wall_ms(c->clock);
	*ret = (struct mirror_who){0};
	if (!fingerprint) {
		err_new(e, ERR_VERIFY, "this needs a client certificate: enroll this host ('slipway enroll')");
		return 0;
	}
	hex_encode(fingerprint, SHA256_SIZE, hex);
	CLIENTS_HOLD(c);
	if (load(c, e) < 0)
		return -1;
	const uint64_t *at = map_get(&c->by_fingerprint, str_c(hex));
	const struct seen *s = at ? (const struct seen *)(uintptr_t)*at : NULL;
	const char *why = !s			  ? "is none that this mirror knows: enroll again"
			  : s->refused		  ? s->refused
			  : now_ms >= s->until_ms ? "has expired: enroll again"
			  : now_ms < s->from_ms	  ? "is not good yet: the mirror's clock is wrong"
						  : NULL;
	if (why) {
		err_new(e, ERR_VERIFY, "the certificate %.16s… %s%.*s%s%s", hex, s ? "of client '" : "",
			STR_ARG(s ? s->who.name : STR_NONE), s ? "' " : "", why);
		return 0;
	}
	struct str *patterns = arena_copy(a, s->who.patterns, s->who.patterns_n, sizeof(struct str));
	for (size_t i = 0; i < s->who.patterns_n; i++)
		patterns[i] = arena_str(a, patterns[i]);
	*ret = (struct mirror_who){arena_str(a, s->who.name), arena_str(a, s->who.group), patterns, s->who.patterns_n};
	return 1;
}

int mirror_client_list(struct mirror_clients *c, struct arena *a, struct mirror_client **ret, size_t *ret_n,
		       struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	VEC(struct mirror_client) list = {0};
	int rc;
	CLIENTS_HOLD(c);
	if (sql_prepare(
		    c->db,
		    "SELECT c.name, c.machine, c.grp, c.reason, c.enrolled_ms, c.renewed_ms, c.revoked_ms,"
		    " x.serial, x.fingerprint, x.not_after_ms FROM client c LEFT JOIN certificate x ON x.serial ="
		    " (SELECT serial FROM certificate WHERE client = c.id ORDER BY revoked_ms > 0, not_after_ms DESC,"
		    " issued_ms DESC, serial LIMIT 1) ORDER BY c.name",
		    &q, e) < 0)
		return -1;
	while ((rc = sql_step(q, e)) > 0)
		*vec_add(&list) = (struct mirror_client){
			.name = sql_str(q, 0, a),
			.machine = sql_str(q, 1, a),
			.group = sql_str(q, 2, a),
			.reason = sql_str(q, 3, a),
			.enrolled_ms = sql_int(q, 4),
			.renewed_ms = sql_int(q, 5),
			.revoked_ms = sql_int(q, 6),
			.serial = sql_str(q, 7, a),
			.fingerprint = sql_str(q, 8, a),
			.until_ms = sql_int(q, 9),
		};
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	return rc;
}

/* -- revoking ----------------------------------------------------------------------------------------------------- */

static int count_crl(struct mirror_clients *c, struct err *e)
{
	return sql_changed(c->db) == 0 ? 0 : sql_run(c->db, e, "UPDATE enroll_crl SET number = number + 1", "");
}

int clients_revoke_all(struct mirror_clients *c, int64_t client, struct str but, struct str also, int64_t now_ms,
		       struct err *e)
{
	return sql_run(c->db, e,
		       "UPDATE certificate SET revoked_ms = ?4 WHERE client = ?1 AND serial <> ?2 AND serial <> ?3 AND"
		       " revoked_ms = 0",
		       "issi", client, but, also, now_ms) < 0
		       ? -1
		       : count_crl(c, e);
}

static int revoke_client(struct mirror_clients *c, struct str name, struct str reason, int64_t now_ms, struct err *e)
{
	int64_t id, revoked_ms;
	int rc = find_client(c, name, &id, &revoked_ms, e);
	if (rc <= 0)
		return rc < 0 ? -1 : no_client(name, e);
	if (revoked_ms)
		return 0;
	return sql_run(c->db, e, "UPDATE client SET revoked_ms = ?2, reason = ?3 WHERE id = ?1", "iis", id, now_ms,
		       reason) < 0
		       ? -1
		       : clients_revoke_all(c, id, STR_NONE, STR_NONE, now_ms, e);
}

int mirror_client_revoke(struct mirror_clients *c, struct str name, struct str reason, struct err *e)
{
	int64_t now_ms = c->clock->wall_ms(c->clock);
	if (reason.n > REASON_MAX)
		return err_new(e, ERR_LIMIT, "a reason of %zu bytes, more than %d", reason.n, REASON_MAX);
	CLIENTS_HOLD(c);
	clients_changed(c);
	if (sql_begin(c->db, e) < 0 || sql_end(c->db, revoke_client(c, name, reason, now_ms, e), e) < 0)
		return -1;
	if (clients_write_crl(c, e) < 0)
		return err_ctx(e,
			       "'%.*s' is revoked, but the list for other programs is not written; it is tried again "
			       "when the mirror starts",
			       STR_ARG(name));
	return 0;
}

int clients_move_snapshots(struct mirror_clients *c, struct str from, struct str to, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(c->db, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'snapshot'", &q, e) < 0)
		return -1;
	int rc = sql_step(q, e);
	return rc <= 0 ? rc : sql_run(c->db, e, "UPDATE snapshot SET client = ?2 WHERE client = ?1", "ss", from, to);
}

static int remove_client(struct mirror_clients *c, struct str name, int64_t now_ms, struct err *e)
{
	int64_t id, revoked_ms;
	int rc = find_client(c, name, &id, &revoked_ms, e);
	if (rc <= 0)
		return rc < 0 ? -1 : no_client(name, e);
	/* its certificates stay, without an owner, so that the list names them until they are over */
	return clients_revoke_all(c, id, STR_NONE, STR_NONE, now_ms, e) < 0 ||
			       sql_run(c->db, e, "UPDATE certificate SET client = 0 WHERE client = ?1", "i", id) < 0 ||
			       sql_run(c->db, e, "UPDATE enroll_code SET client = 0 WHERE client = ?1", "i", id) < 0 ||
			       sql_run(c->db, e, "DELETE FROM client_right WHERE holder = 'client' AND name = ?1", "s",
				       name) < 0 ||
			       sql_run(c->db, e, "DELETE FROM client WHERE id = ?1", "i", id) < 0
		       ? -1
		       : 0;
}

int mirror_client_remove(struct mirror_clients *c, struct str name, struct err *e)
{
	int64_t now_ms = c->clock->wall_ms(c->clock);
	CLIENTS_HOLD(c);
	clients_changed(c);
	if (sql_begin(c->db, e) < 0 || sql_end(c->db, remove_client(c, name, now_ms, e), e) < 0)
		return -1;
	if (clients_write_crl(c, e) < 0)
		return err_ctx(
			e,
			"'%.*s' is removed, but the list of revoked certificates for other programs is not written; it "
			"is tried again when the mirror starts",
			STR_ARG(name));
	return 0;
}

/* -- the list of revoked ones -------------------------------------------------------------------------------------- */

static int crl_number(struct mirror_clients *c, int64_t *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(c->db, "SELECT number FROM enroll_crl", &q, e) < 0 || sql_step(q, e) < 0)
		return -1;
	*ret = sql_int(q, 0);
	return 0;
}

/* Those of one authority that are not over by themselves. */
static int revoked_of(struct mirror_clients *c, const struct pki_cert *ca, int64_t now_ms, struct arena *a,
		      struct pki_crl_opts *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	VEC(struct pki_revoked) list = {0};
	char hex[SHA256_HEX_SIZE];
	uint8_t fingerprint[SHA256_SIZE];
	int rc;
	pki_cert_fingerprint(ca, fingerprint);
	hex_encode(fingerprint, SHA256_SIZE, hex);
	if (sql_prepare(c->db,
			"SELECT serial, revoked_ms FROM certificate WHERE authority = ?1 AND revoked_ms > 0 AND"
			" not_after_ms > ?2 ORDER BY serial",
			&q, e) < 0)
		return -1;
	sql_bind_str(q, 1, str_c(hex));
	sql_bind_int(q, 2, now_ms - DAY_MS);
	while ((rc = sql_step(q, e)) > 0)
		*vec_add(&list) = (struct pki_revoked){sql_str(q, 0, a), sql_int(q, 1)};
	ret->v = vec_copy(&list, a);
	ret->n = list.n;
	vec_release(&list);
	return rc;
}

static int put_crl(struct mirror_clients *c, unsigned number, struct pki_crl_opts *o, int64_t now_ms, struct arena *a,
		   struct buf *out, struct err *e)
{
	auto_ptr(pki_cert) ca = NULL;
	auto_ptr(pki_key) key = NULL;
	struct pki_cert_info info;
	struct str pem;
	int rc = authority_other(&c->authority, number, &ca, &key, e);
	if (rc <= 0)
		return rc;
	if (pki_cert_info(ca, a, &info, e) < 0)
		return -1;
	if (info.not_after_ms <= now_ms)
		return 0; /* what it signed is over, too */
	if (revoked_of(c, ca, now_ms, a, o, e) < 0 || pki_crl_new(ca, key, o, now_ms, a, &pem, e) < 0)
		return -1;
	buf_put_str(out, pem);
	return 0;
}

/* The next list of the text is this authority's current one, and good for some days. */
static bool is_current(struct str *lists, const struct pki_cert *ca, int64_t number, int64_t now_ms)
{
	auto_arena a = ARENA_INIT;
	struct pki_crl_info i;
	struct err ignored = ERR_INIT;
	ptrdiff_t end = str_search(*lists, STR(CRL_END));
	if (end < 0 || pki_crl_read(*lists, ca, &a, &i, &ignored) < 0)
		return false;
	*lists = str_skip(*lists, (size_t)end + sizeof(CRL_END) - 1);
	return i.number == (uint64_t)number && i.next_ms - now_ms > CRL_DAYS * (int64_t)DAY_MS / 2 &&
	       i.made_ms <= now_ms + DAY_MS;
}

/* Does what lies there hold a current list of each authority, as put_crl makes them? */
static bool crl_is_good(struct mirror_clients *c, int64_t number, int64_t now_ms)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(PKI_CRL_MAX);
	struct err ignored = ERR_INIT;
	if (fs_read(c->authority.dir_fd, "crl.pem", &b, &ignored) < 0)
		return false;
	struct str lists = buf_str(&b);
	for (unsigned i = 1; i <= c->authority.number + 1; i++) {
		auto_ptr(pki_cert) ca = NULL;
		auto_ptr(pki_key) key = NULL;
		struct pki_cert_info info;
		int rc = authority_other(&c->authority, i, &ca, &key, &ignored);
		if (rc < 0 || (rc > 0 && pki_cert_info(ca, &a, &info, &ignored) < 0))
			return false;
		if (rc > 0 && info.not_after_ms > now_ms && !is_current(&lists, ca, number, now_ms))
			return false;
	}
	return str_search(lists, STR(CRL_END)) < 0;
}

int clients_write_crl(struct mirror_clients *c, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf out = BUF_INIT(PKI_CRL_MAX);
	int64_t number, now_ms = c->clock->wall_ms(c->clock);
	auto_fd lock = fs_lock(c->authority.dir_fd, "crl.lock", 10000, e);
	if (lock < 0 || crl_number(c, &number, e) < 0)
		return -1;
	if (crl_is_good(c, number, now_ms))
		return 0;
	struct pki_crl_opts o = {.number = (uint64_t)number, .next_ms = now_ms + CRL_DAYS * (int64_t)DAY_MS};
	for (unsigned i = 1; i <= c->authority.number + 1; i++)
		if (put_crl(c, i, &o, now_ms, &a, &out, e) < 0)
			return err_ctx(e, "the list of revoked certificates");
	if (out.overflow)
		return err_new(e, ERR_LIMIT, "the list of revoked certificates is longer than %d bytes", PKI_CRL_MAX);
	return fs_replace(c->authority.dir_fd, "crl.pem", out.p, out.n, FS_REPLACE_SYNC, e);
}

int mirror_clients_keep(struct mirror_clients *c, struct err *e)
{
	CLIENTS_HOLD(c);
	return clients_need_authority(c, e) < 0 ? -1 : clients_write_crl(c, e);
}
