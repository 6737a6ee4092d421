// SPDX-License-Identifier: Apache-2.0
/*
 * One-time codes, and what strangers and clients send: bytes in, bytes out. Each request is one transaction: the code is spent, the record
 * is there and the certificate is kept, or nothing is; who did not get the answer asks again with the same key and gets the same
 * certificate.
 */
#include <stdio.h>
#include <sys/random.h>

#include "base/json.h"
#include "mirror/clients.h"
#include "mirror/code.h"

enum { OPEN_CODES_MAX = 10000, KEEP_CODES_DAYS = 30, MACHINE_MAX = 128, DAY_MS = 86400000, NUMBER_TRIES = 100 };

/* -- codes -------------------------------------------------------------------------------------------------------- */

static int one_int(struct mirror_clients *c, const char *text, int64_t arg, int64_t *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(c->db, text, &q, e) < 0)
		return -1;
	sql_bind_int(q, 1, arg);
	int rc = sql_step(q, e);
	*ret = rc > 0 ? sql_int(q, 0) : 0;
	return rc;
}

static int free_number(struct mirror_clients *c, uint32_t *ret, struct err *e)
{
	for (int i = 0; i < NUMBER_TRIES; i++) {
		uint32_t n;
		int64_t taken;
		if (getrandom(&n, sizeof(n), 0) != sizeof(n))
			return err_sys(e, "make a code");
		*ret = n >> 8;
		int rc = one_int(c, "SELECT 1 FROM enroll_code WHERE number = ?1", *ret, &taken, e);
		if (rc <= 0)
			return rc;
	}
	return err_new(e, ERR_LIMIT, "no number is free for a code; codes go %d days after their end", KEEP_CODES_DAYS);
}

static void secret_digest(const struct code *code, uint8_t ret[SHA256_SIZE])
{
	sha256(code->secret, CODE_SECRET, ret);
}

static int insert_code(struct mirror_clients *c, struct code *code, const struct mirror_code_opts *o, int64_t now_ms,
		       int64_t until_ms, struct err *e)
{
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	int64_t open;
	if (sql_run(c->db, e, "DELETE FROM enroll_code WHERE until_ms < ?1", "i",
		    now_ms - KEEP_CODES_DAYS * (int64_t)DAY_MS) < 0 ||
	    one_int(c, "SELECT count(*) FROM enroll_code WHERE used_ms = 0 AND until_ms > ?1", now_ms, &open, e) < 0)
		return -1;
	if (open >= OPEN_CODES_MAX)
		return err_new(e, ERR_LIMIT, "%lld codes are open, no more than %d may be", (long long)open,
			       OPEN_CODES_MAX);
	if (free_number(c, &code->number, e) < 0)
		return -1;
	secret_digest(code, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	return sql_run(c->db, e,
		       "INSERT INTO enroll_code (number, secret, name, grp, made_ms, until_ms, tries_left)"
		       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		       "isssiii", (int64_t)code->number, str_c(hex), o->name, o->group.n ? o->group : STR("default"),
		       now_ms, until_ms, (int64_t)MIRROR_CODE_TRIES);
}

int mirror_code_new(struct mirror_clients *c, const struct mirror_code_opts *o, struct arena *a,
		    struct mirror_code *ret, struct err *e)
{
	struct code code;
	uint8_t pin[SHA256_SIZE];
	int64_t now_ms = c->clock->wall_ms(c->clock);
	int64_t life_s = o->life_s ? o->life_s : MIRROR_CODE_LIFE_S;
	if ((o->name.n && pki_name_check(o->name, e) < 0) || (o->group.n && clients_check_group(o->group, e) < 0))
		return -1;
	if (life_s < 1 || life_s > KEEP_CODES_DAYS * (int64_t)86400)
		return err_new(e, ERR_USAGE, "a code lives from 1 second to %d days", KEEP_CODES_DAYS);
	if (getrandom(code.secret, CODE_SECRET, 0) != CODE_SECRET)
		return err_sys(e, "make a code");
	CLIENTS_HOLD(c);
	if (clients_need_authority(c, e) < 0)
		return -1;
	pki_cert_fingerprint(c->authority.cert, pin);
	memcpy(code.pin, pin, CODE_PIN);
	if (sql_begin(c->db, e) < 0 ||
	    sql_end(c->db, insert_code(c, &code, o, now_ms, now_ms + life_s * 1000, e), e) < 0)
		return -1;
	*ret = (struct mirror_code){code_text(a, &code), now_ms + life_s * 1000};
	return 0;
}

/* -- replies ------------------------------------------------------------------------------------------------------ */

/* What came in, and what is known of it so far. */
struct asked {
	struct mirror_clients *c;
	struct arena *a;
	struct mirror_reply *reply;
	int64_t now_ms;
	struct str code, machine, name;
	struct pki_request *request;
	char key[SHA256_HEX_SIZE]; /* the digest of the request's public key */
};

static void asked_release(struct asked *q)
{
	pki_request_free(q->request);
}

/* Good words for the other side; 1: this is the reply, and nothing is left to do. */
__attribute__((format(printf, 4, 5))) static int refuse(struct asked *q, int status, const char *word, const char *fmt,
							...)
{
	auto_buf text = BUF_INIT(ERR_MSG_SIZE);
	auto_buf b = BUF_INIT(ERR_MSG_SIZE * 8);
	struct jw w = JW_INIT(&b, 0);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	jw_object(&w);
	jw_kv_str(&w, "error", str_c(word));
	jw_kv_str(&w, "message", buf_str(&text));
	if (q->reply->retry_after_s)
		jw_kv_int(&w, "retry_after_s", q->reply->retry_after_s);
	jw_object_end(&w);
	buf_put_char(&b, '\n');
	q->reply->status = status;
	q->reply->body = arena_str(q->a, buf_str(&b));
	return 1;
}

struct issued {
	struct str name, group, pem;
	int64_t from_ms, until_ms;
};

static int accept(struct asked *q, const struct issued *x, struct err *e)
{
	auto_buf b = BUF_INIT(PKI_BUNDLE_MAX * 4);
	struct jw w = JW_INIT(&b, 0);
	const struct str *patterns;
	size_t n;
	if (clients_rights(q->c, x->name, x->group, q->a, &patterns, &n, e) < 0)
		return -1;
	jw_object(&w);
	jw_kv_str(&w, "name", x->name);
	jw_kv_str(&w, "group", x->group);
	jw_kv_str(&w, "certificate", x->pem);
	jw_kv_str(&w, "authorities", str_c(q->c->authority.bundle));
	jw_kv_int(&w, "from_ms", x->from_ms);
	jw_kv_int(&w, "until_ms", x->until_ms);
	jw_kv_list(&w, "channels", patterns, n);
	jw_object_end(&w);
	buf_put_char(&b, '\n');
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "a reply that is too long");
	q->reply->status = 200;
	q->reply->body = arena_str(q->a, buf_str(&b));
	q->reply->client = arena_str(q->a, x->name);
	return 0;
}

/* -- what is asked ------------------------------------------------------------------------------------------------ */

static bool is_machine(struct str s)
{
	bool ok = s.n && s.n <= MACHINE_MAX;
	for (size_t i = 0; ok && i < s.n; i++) {
		char c = s.p[i];
		ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
		     c == '-' || c == '_' || c == ':';
	}
	return ok;
}

/* 0; 1: refused. */
static int read_body(struct asked *q, struct str body, bool first_time)
{
	struct err e = ERR_INIT;
	struct str csr;
	uint8_t key[SHA256_SIZE];
	if (body.n > MIRROR_CALL_MAX)
		return refuse(q, 413, "too-large", "more than %d bytes", MIRROR_CALL_MAX);
	const struct json *j = json_parse(q->a, body, "request", &e);
	if (!j || json_get_str(j, "request", &csr, &e) < 0 ||
	    (first_time &&
	     (json_get_str(j, "code", &q->code, &e) < 0 || json_get_str(j, "machine", &q->machine, &e) < 0 ||
	      json_opt_str(j, "name", &q->name, &e) < 0)))
		return refuse(q, 400, "malformed", "%s", e.msg);
	if (first_time && !is_machine(q->machine))
		return refuse(q, 400, "malformed", "'machine' needs 1 to %d letters, digits, '.', '-', '_', ':'",
			      MACHINE_MAX);
	if (q->name.n && pki_name_check(q->name, &e) < 0)
		return refuse(q, 400, "bad-name", "%s", e.msg);
	if (pki_request_read(csr, &q->request, &e) < 0)
		return refuse(q, 400, "bad-request", "%s", e.msg);
	if (!q->name.n)
		q->name = pki_request_name(q->request);
	pki_request_key_digest(q->request, key);
	hex_encode(key, SHA256_SIZE, q->key);
	return 0;
}

static int too_often(struct asked *q, struct str address)
{
	int64_t wait_s = limiter_take(q->c->limiter, address, q->c->clock->mono_ms(q->c->clock));
	if (!wait_s)
		return 0;
	q->reply->retry_after_s = wait_s;
	return refuse(q, 429, "too-often", "too many tries; wait %lld s", (long long)wait_s);
}

/* -- certificates ------------------------------------------------------------------------------------------------- */

static int issue(struct asked *q, int64_t client, struct str replaces, struct issued *x, struct err *e)
{
	struct mirror_clients *c = q->c;
	auto_ptr(pki_cert) cert = NULL;
	struct pki_cert_info i;
	char fingerprint[SHA256_HEX_SIZE];
	if (pki_sign_client(c->authority.cert, c->authority.key, q->request, x->name, 0, q->now_ms, &cert, e) < 0 ||
	    pki_cert_info(cert, q->a, &i, e) < 0)
		return -1;
	hex_encode(i.fingerprint, SHA256_SIZE, fingerprint);
	x->pem = pki_cert_pem(cert, q->a);
	x->from_ms = i.not_before_ms;
	x->until_ms = i.not_after_ms;
	return sql_run(c->db, e,
		       "INSERT INTO certificate (serial, client, fingerprint, key, authority, pem, issued_ms,"
		       " not_before_ms, not_after_ms, replaces) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
		       "sissssiiis", i.serial, client, str_c(fingerprint), str_c(q->key),
		       str_c(c->authority.fingerprint), x->pem, q->now_ms, i.not_before_ms, i.not_after_ms,
		       replaces) < 0
		       ? -1
		       : clients_revoke_all(c, client, i.serial, replaces, q->now_ms, e);
}

/* A certificate with that key that is still good, which the other side may not have received. 1; 0. */
static int issued_before(struct asked *q, int64_t client, struct str replaces, struct issued *x, struct err *e)
{
	auto_ptr(sql_query) s = NULL;
	if (sql_prepare(
		    q->c->db,
		    "SELECT pem, not_before_ms, not_after_ms FROM certificate WHERE client = ?1 AND key = ?2 AND"
		    " revoked_ms = 0 AND not_after_ms > ?3 AND replaces = ?4 AND authority = ?5 ORDER BY not_after_ms DESC",
		    &s, e) < 0)
		return -1;
	sql_bind_int(s, 1, client);
	sql_bind_str(s, 2, str_c(q->key));
	sql_bind_int(s, 3, q->now_ms);
	sql_bind_str(s, 4, replaces);
	sql_bind_str(s, 5, str_c(q->c->authority.fingerprint));
	int rc = sql_step(s, e);
	if (rc > 0) {
		x->pem = sql_str(s, 0, q->a);
		x->from_ms = sql_int(s, 1);
		x->until_ms = sql_int(s, 2);
	}
	return rc;
}

/* -- enrolment ---------------------------------------------------------------------------------------------------- */

struct code_row {
	uint8_t secret[SHA256_SIZE];
	struct str name, group;
	int64_t until_ms, tries_left, used_ms, client;
};
struct client_row {
	int64_t id, revoked_ms; /* id 0: there is none */
	struct str name, machine, group;
	struct str before; /* the name that it had */
};

static int find_code(struct asked *q, uint32_t number, struct code_row *ret, struct err *e)
{
	auto_ptr(sql_query) s = NULL;
	if (sql_prepare(
		    q->c->db,
		    "SELECT secret, name, grp, until_ms, tries_left, used_ms, client FROM enroll_code WHERE number = ?1",
		    &s, e) < 0)
		return -1;
	sql_bind_int(s, 1, number);
	int rc = sql_step(s, e);
	*ret = (struct code_row){0};
	if (rc <= 0)
		return rc;
	if (!str_unhex(sql_view(s, 0), ret->secret, SHA256_SIZE))
		return err_new(e, ERR_VERIFY, "mirror.db: the secret of code %u is none", number);
	ret->name = sql_str(s, 1, q->a);
	ret->group = sql_str(s, 2, q->a);
	ret->until_ms = sql_int(s, 3);
	ret->tries_left = sql_int(s, 4);
	ret->used_ms = sql_int(s, 5);
	ret->client = sql_int(s, 6);
	return 1;
}

static int find_client(struct asked *q, const char *column, struct str is, struct client_row *ret, struct err *e)
{
	auto_ptr(sql_query) s = NULL;
	auto_free char *text = xasprintf("SELECT id, revoked_ms, name, machine, grp FROM client WHERE %s = ?1", column);
	if (sql_prepare(q->c->db, text, &s, e) < 0)
		return -1;
	sql_bind_str(s, 1, is);
	int rc = sql_step(s, e);
	*ret = (struct client_row){0};
	if (rc > 0)
		*ret = (struct client_row){.id = sql_int(s, 0),
					   .revoked_ms = sql_int(s, 1),
					   .name = sql_str(s, 2, q->a),
					   .machine = sql_str(s, 3, q->a),
					   .group = sql_str(s, 4, q->a)};
	return rc < 0 ? -1 : 0;
}

/* Whether that client holds a certificate with the key of the request, which is signed with it: it is the same machine. */
static int has_key(struct asked *q, const struct client_row *r, struct err *e)
{
	auto_ptr(sql_query) s = NULL;
	if (!r->id || r->revoked_ms)
		return 0;
	if (sql_prepare(q->c->db, "SELECT 1 FROM certificate WHERE client = ?1 AND key = ?2 AND revoked_ms = 0", &s,
			e) < 0)
		return -1;
	sql_bind_int(s, 1, r->id);
	sql_bind_str(s, 2, str_c(q->key));
	return sql_step(s, e);
}

/* What is told to who has not the secret is the same whatever is wrong. A wrong try is counted, whatever comes. 0; 1: refused. */
static int check_code(struct asked *q, const struct code *code, struct code_row *row, struct err *e)
{
	uint8_t digest[SHA256_SIZE];
	int found = find_code(q, code->number, row, e);
	if (found < 0)
		return -1;
	secret_digest(code, digest);
	bool same = same_bytes(digest, row->secret, SHA256_SIZE) && found;
	if (found && !same && row->tries_left > 0 &&
	    sql_run(q->c->db, e, "UPDATE enroll_code SET tries_left = tries_left - 1 WHERE number = ?1", "i",
		    (int64_t)code->number) < 0)
		return -1;
	if (!same || row->tries_left <= 0)
		return refuse(
			q, 403, "bad-code",
			"this code is not known here, or was tried too often; the mirror's operator can make another one "
			"('slipway mirror enroll')");
	return 0;
}

/* The code is right. Whether it may still be used, and for whom: 0 and *r, the record that is to be replaced (id 0: a new one); 1. */
static int check_use(struct asked *q, const struct code_row *row, struct client_row *r, struct err *e)
{
	struct client_row by_machine, by_name, alike;
	struct str name = row->name.n ? row->name : q->name;
	if (row->until_ms <= q->now_ms)
		return refuse(q, 403, "code-over", "this code is over; ask for another one ('slipway mirror enroll')");
	if (!name.n)
		return refuse(q, 400, "bad-name", "this machine proposes no name; give one with --name");
	if (find_client(q, "machine", q->machine, &by_machine, e) < 0 ||
	    find_client(q, "name", name, &by_name, e) < 0 || find_client(q, "name COLLATE NOCASE", name, &alike, e) < 0)
		return -1;
	int same_key = has_key(q, &by_machine, e);
	if (same_key < 0)
		return -1;
	bool bound = row->name.n > 0;
	if (by_machine.id && !bound) { /* it keeps its name: what is stored under it stays its own */
		name = by_machine.name;
		by_name = by_machine;
	}
	if (by_name.id && by_machine.id && by_name.id != by_machine.id)
		return refuse(
			q, 409, "name-taken",
			"'%.*s' is another machine, and this one is enrolled as '%.*s': remove one of them on the "
			"mirror ('slipway mirror clients DIR remove %.*s')",
			STR_ARG(name), STR_ARG(by_machine.name), STR_ARG(by_machine.name));
	if (alike.id && !by_name.id && alike.id != by_machine.id)
		return refuse(q, 409, "name-taken",
			      "'%.*s' is another machine, from which people could not tell '%.*s': choose another name",
			      STR_ARG(alike.name), STR_ARG(name));
	if (by_name.id && !by_machine.id && !bound)
		return refuse(
			q, 409, "name-taken",
			"'%.*s' is another machine: choose a name with --name, or, if this one takes its place, ask for a "
			"code that is made for it ('slipway mirror enroll --name %.*s')",
			STR_ARG(name), STR_ARG(name));
	if (by_machine.id && !same_key && !(bound && by_name.id == by_machine.id))
		return refuse(
			q, 409, "machine-known",
			"this machine is enrolled as '%.*s' with another key: ask for a code that is made for it ('slipway "
			"mirror enroll --name %.*s')",
			STR_ARG(by_machine.name), STR_ARG(by_machine.name));
	*r = by_machine.id ? by_machine : by_name;
	r->before = r->name;
	r->name = name;
	return 0;
}

/* What a name is good for goes with the machine: whoever is given that name next must not find it. */
static int rename_all(struct asked *q, struct str from, struct str to, struct err *e)
{
	struct sql *db = q->c->db;
	return sql_run(db, e, "DELETE FROM client_right WHERE holder = 'client' AND name = ?1", "s", to) < 0 ||
			       sql_run(db, e, "UPDATE client_right SET name = ?2 WHERE holder = 'client' AND name = ?1",
				       "ss", from, to) < 0 ||
			       clients_move_snapshots(q->c, from, to, e) < 0
		       ? -1
		       : 0;
}

static int put_record(struct asked *q, struct client_row *r, const struct code_row *row, struct err *e)
{
	if (r->id && !str_eq(r->before, r->name) && rename_all(q, r->before, r->name, e) < 0)
		return -1;
	if (r->id)
		return sql_run(
			q->c->db, e,
			"UPDATE client SET name = ?2, machine = ?3, grp = ?4, enrolled_ms = ?5, revoked_ms = 0, reason = ''"
			" WHERE id = ?1",
			"isssi", r->id, r->name, q->machine, row->group, q->now_ms);
	if (sql_run(q->c->db, e, "INSERT INTO client (name, machine, grp, enrolled_ms) VALUES (?1, ?2, ?3, ?4)", "sssi",
		    r->name, q->machine, row->group, q->now_ms) < 0)
		return -1;
	r->id = sql_last_id(q->c->db);
	return 0;
}

/* The answer got lost: the same code, machine and key again. 0 and the reply, or 1: refused. */
static int enrolled_already(struct asked *q, const struct code_row *row, struct err *e)
{
	struct client_row r;
	struct issued x = {0};
	if (find_client(q, "machine", q->machine, &r, e) < 0)
		return -1;
	int rc = r.id && r.id == row->client && !r.revoked_ms ? issued_before(q, r.id, STR_NONE, &x, e) : 0;
	if (rc < 0)
		return -1;
	if (!rc)
		return refuse(q, 403, "code-used",
			      "this code was used already; ask for another one ('slipway mirror enroll')");
	x.name = r.name;
	x.group = r.group;
	return accept(q, &x, e);
}

static int enroll(struct asked *q, struct err *e)
{
	struct code code;
	struct code_row row;
	struct client_row r = {0};
	struct issued x = {0};
	struct err said = ERR_INIT;
	if (code_parse(q->code, &code, &said) < 0)
		return refuse(q, 400, "malformed-code", "%s", said.msg);
	int rc = check_code(q, &code, &row, e);
	if (rc != 0)
		return rc;
	if (row.used_ms)
		return enrolled_already(q, &row, e);
	rc = check_use(q, &row, &r, e);
	if (rc != 0)
		return rc;
	if (put_record(q, &r, &row, e) < 0)
		return -1;
	x.name = r.name;
	x.group = row.group;
	if (issue(q, r.id, STR_NONE, &x, e) < 0 ||
	    sql_run(q->c->db, e, "UPDATE enroll_code SET used_ms = ?2, client = ?3 WHERE number = ?1", "iii",
		    (int64_t)code.number, q->now_ms, r.id) < 0)
		return -1;
	return accept(q, &x, e);
}

/* -- renewal ------------------------------------------------------------------------------------------------------ */

struct shown {
	struct str serial, authority, name, group;
	int64_t client, from_ms, until_ms, revoked_ms, client_revoked_ms;
};

static int find_shown(struct asked *q, const uint8_t *fingerprint, struct shown *ret, struct err *e)
{
	auto_ptr(sql_query) s = NULL;
	char hex[SHA256_HEX_SIZE];
	hex_encode(fingerprint, SHA256_SIZE, hex);
	if (sql_prepare(
		    q->c->db,
		    "SELECT x.serial, x.authority, c.name, c.grp, c.id, x.not_before_ms, x.not_after_ms, x.revoked_ms,"
		    " c.revoked_ms FROM certificate x JOIN client c ON c.id = x.client WHERE x.fingerprint = ?1",
		    &s, e) < 0)
		return -1;
	sql_bind_str(s, 1, str_c(hex));
	int rc = sql_step(s, e);
	if (rc > 0)
		*ret = (struct shown){
			.serial = sql_str(s, 0, q->a),
			.authority = sql_str(s, 1, q->a),
			.name = sql_str(s, 2, q->a),
			.group = sql_str(s, 3, q->a),
			.client = sql_int(s, 4),
			.from_ms = sql_int(s, 5),
			.until_ms = sql_int(s, 6),
			.revoked_ms = sql_int(s, 7),
			.client_revoked_ms = sql_int(s, 8),
		};
	return rc;
}

static int check_shown(struct asked *q, const struct shown *s)
{
	int64_t due_ms = s->from_ms + (s->until_ms - s->from_ms) / 3 * 2;
	if (s->revoked_ms || s->client_revoked_ms)
		return refuse(
			q, 403, "revoked",
			"the certificate of '%.*s' was revoked: ask the mirror's operator for a new code, and enroll again",
			STR_ARG(s->name));
	if (s->until_ms <= q->now_ms)
		return refuse(q, 403, "expired", "the certificate of '%.*s' has expired: enroll again",
			      STR_ARG(s->name));
	if (pki_is_due(s->from_ms, s->until_ms, q->now_ms) || !str_eq(s->authority, str_c(q->c->authority.fingerprint)))
		return 0;
	q->reply->retry_after_s = (due_ms - q->now_ms + 999) / 1000;
	return refuse(q, 409, "too-early", "two thirds of the certificate's life are not over yet");
}

/* The one that was shown stays good to its end: the answer may get lost. All others of this client go. */
static int renew(struct asked *q, const uint8_t *fingerprint, struct err *e)
{
	struct shown s = {0};
	struct issued x = {0};
	int rc = fingerprint ? find_shown(q, fingerprint, &s, e) : 0;
	if (rc < 0)
		return -1;
	if (!rc)
		return refuse(q, 403, "unknown", "%s",
			      fingerprint ? "the certificate is none that this mirror knows: enroll again"
					  : "renewal needs the present client certificate");
	q->reply->client = s.name;
	rc = check_shown(q, &s);
	if (rc != 0)
		return rc;
	x.name = s.name;
	x.group = s.group;
	rc = issued_before(q, s.client, s.serial, &x, e);
	if (rc < 0)
		return -1;
	if (rc)
		return accept(q, &x, e);
	if (issue(q, s.client, s.serial, &x, e) < 0 ||
	    sql_run(q->c->db, e, "UPDATE client SET renewed_ms = ?2 WHERE id = ?1", "ii", s.client, q->now_ms) < 0)
		return -1;
	return accept(q, &x, e);
}

/* -- both --------------------------------------------------------------------------------------------------------- */

static int transact(struct asked *q, const struct mirror_call *call, bool first_time, struct err *e)
{
	struct mirror_clients *c = q->c;
	struct err later = ERR_INIT;
	CLIENTS_HOLD(c);
	if (clients_need_authority(c, e) < 0 || sql_begin(c->db, e) < 0)
		return -1;
	clients_changed(c);
	int rc = first_time ? enroll(q, e) : renew(q, call->certificate, e);
	if (sql_end(c->db, rc, e) < 0)
		return -1;
	/* it is tried again by the next that opens, and by mirror_clients_keep */
	(void)clients_write_crl(c, &later);
	return 0;
}

static int answer(struct mirror_clients *c, const struct mirror_call *call, bool first_time, struct arena *a,
		  struct mirror_reply *ret, struct err *e)
{
	cleanup_with(
		asked_release) struct asked q = {.c = c, .a = a, .reply = ret, .now_ms = c->clock->wall_ms(c->clock)};
	*ret = (struct mirror_reply){0};
	clients_lock(c);
	int rc = too_often(&q, call->address);
	clients_unlock(&c);
	if (rc || read_body(&q, call->body, first_time))
		return 0;
	if (transact(&q, call, first_time, e) == 0) {
		clients_lock(c);
		if (ret->status == 200)
			limiter_give(c->limiter, call->address);
		clients_unlock(&c);
		return 0;
	}
	ret->retry_after_s = 0;
	refuse(&q, 500, "failed", "the mirror failed; its log says why. Try again");
	return err_ctx(e, "%s", first_time ? "enroll a client" : "renew a client's certificate");
}

int mirror_enroll(struct mirror_clients *c, const struct mirror_call *call, struct arena *a, struct mirror_reply *ret,
		  struct err *e)
{
	return answer(c, call, true, a, ret, e);
}

int mirror_renew(struct mirror_clients *c, const struct mirror_call *call, struct arena *a, struct mirror_reply *ret,
		 struct err *e)
{
	return answer(c, call, false, a, ret, e);
}
