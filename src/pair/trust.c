// SPDX-License-Identifier: Apache-2.0
/* What ROOT/pair/ says, and how it comes to say it. */
#include "pair/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"
#include "pair/endpoint.h"

enum { FILE_MAX = 64 << 10, NAME_MAX_BYTES = 64, FORMAT = 1, FILES_MAX = 1000, LOCK_WAIT_MS = 20000 };

/* -- reading ---------------------------------------------------------------------------------------------------------- */

static int read_text(int root_fd, const char *path, struct arena *a, struct str *ret, struct err *e)
{
	auto_buf b = BUF_INIT(FILE_MAX);
	if (fs_read(root_fd, path, &b, e) < 0)
		return -1;
	*ret = arena_str(a, buf_str(&b));
	return 0;
}

/* 1; 0: it is not there. */
static int read_file(int root_fd, const char *path, struct arena *a, const struct json **ret, struct err *e)
{
	struct str text;
	struct err gone = ERR_INIT;
	int64_t format;
	if (read_text(root_fd, path, a, &text, &gone) < 0)
		return gone.code == ERR_NOT_FOUND ? 0 : (*e = gone, -1);
	*ret = json_parse(a, text, path, e);
	if (!*ret || json_get_int(*ret, "format", &format, e) < 0)
		return -1;
	if (format != FORMAT)
		return err_new(e, ERR_UNSUPPORTED, "'%s' has format %lld, not %d; use the slipway that wrote it", path,
			       (long long)format, FORMAT);
	return 1;
}

/* -- what it says ------------------------------------------------------------------------------------------------------ */

static int check_name(struct str name, struct err *e)
{
	bool ok = name.n && name.n <= NAME_MAX_BYTES;
	for (size_t i = 0; ok && i < name.n; i++) {
		char c = name.p[i];
		ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		     (i && (c == '.' || c == '-' || c == '_'));
	}
	return ok ? 0
		  : err_new(e, ERR_USAGE,
			    "'%.*s' is no name for a member: up to %d letters, digits, '.', '-', '_'; give one with --name",
			    STR_ARG(str_head(name, 100)), NAME_MAX_BYTES);
}

int trust_check_host(const struct pair_host *h, struct err *e)
{
	struct endpoint at;
	return check_name(h->name, e) < 0 || endpoint_parse(h->address, &at, e) < 0 ? -1 : 0;
}

static int read_hex(const struct json *j, const char *key, struct str *ret_text, uint8_t ret[SHA256_SIZE],
		    struct err *e)
{
	if (json_get_str(j, key, ret_text, e) < 0)
		return -1;
	return str_unhex(*ret_text, ret, SHA256_SIZE)
		       ? 0
		       : err_new(e, ERR_INPUT, "%s: '%s' is no SHA-256 in hexadecimal", j->where, key);
}

static int read_host(const struct json *j, struct pair_host *ret, uint8_t fingerprint[SHA256_SIZE], struct err *e)
{
	if (json_get_str(j, "name", &ret->name, e) < 0 || json_get_str(j, "address", &ret->address, e) < 0 ||
	    read_hex(j, "fingerprint", &ret->fingerprint, fingerprint, e) < 0)
		return -1;
	return trust_check_host(ret, e) < 0 ? err_ctx(e, "%s", j->where) : 0;
}

static int read_both(int root_fd, struct arena *a, struct trust *ret, struct err *e)
{
	const struct json *self, *peer;
	int64_t number;
	struct str invited;
	int rc = read_file(root_fd, "pair/self", a, &self, e);
	if (rc <= 0)
		return rc;
	if (json_get_int(self, "number", &number, e) < 0)
		return -1;
	if (number < 1 || number > PAIR_MEMBERS)
		return err_new(e, ERR_INPUT, "pair/self: there is no member %lld", (long long)number);
	struct pair *p = &ret->pair;
	p->self = (uint32_t)number;
	if (read_host(self, &p->host[p->self], ret->own, e) < 0 ||
	    (number == 2 && read_hex(self, "invited_by", &invited, ret->invited_by, e) < 0))
		return -1;
	rc = read_file(root_fd, "pair/peer", a, &peer, e);
	if (rc < 0 || (rc && read_host(peer, &p->host[3 - p->self], ret->pin, e) < 0))
		return -1;
	p->joined = rc;
	return 1;
}

int trust_read(int root_fd, struct arena *a, struct trust *ret, struct err *e)
{
	*ret = (struct trust){0};
	int rc = read_both(root_fd, a, ret, e);
	return rc < 0 ? err_ctx(e,
				"what this host knows of its pair; if it is lost, 'slipway pair leave' and pair again")
		      : rc;
}

int pair_listen_address(int root_fd, struct arena *a, struct str *ret, struct err *e)
{
	struct trust t;
	int rc = trust_read(root_fd, a, &t, e);
	if (rc <= 0)
		return rc;
	*ret = t.pair.host[t.pair.self].address;
	return t.pair.self == 1 || t.pair.joined;
}

int pair_read(int root_fd, struct arena *a, struct pair *ret, struct err *e)
{
	struct trust t;
	int rc = trust_read(root_fd, a, &t, e);
	if (rc > 0)
		*ret = t.pair;
	return rc;
}

int trust_identity(int root_fd, struct arena *a, struct tls_identity *ret, struct err *e)
{
	struct stat st;
	if (fstatat(root_fd, "pair/key.pem", &st, 0) < 0)
		return err_sys(e, "open 'pair/key.pem'");
	if (st.st_mode & 077)
		return err_new(
			e, ERR_VERIFY,
			"'pair/key.pem' can be read by others (mode %04o): if nobody has it, 'chmod 600' it, else "
			"'slipway pair leave' on both members and pair them again",
			st.st_mode & 07777U);
	return read_text(root_fd, "pair/key.pem", a, &ret->key, e) < 0 ||
			       read_text(root_fd, "pair/cert.pem", a, &ret->certificate, e) < 0
		       ? -1
		       : 0;
}

int trust_read_open(int root_fd, struct arena *a, struct trust_open *ret, struct err *e)
{
	const struct json *j;
	struct str secret;
	int rc = read_file(root_fd, "pair/invitation", a, &j, e);
	if (rc <= 0)
		return rc;
	return json_get_int(j, "until_ms", &ret->until_ms, e) < 0 ||
			       json_get_int(j, "tries_left", &ret->tries_left, e) < 0 ||
			       read_hex(j, "secret_sha256", &secret, ret->secret, e) < 0
		       ? -1
		       : 1;
}

/* -- writing ---------------------------------------------------------------------------------------------------------- */

int trust_lock(int root_fd, struct err *e)
{
	if (fs_mkdirs(root_fd, "pair", 0755, e) < 0)
		return -1;
	int fd = fs_lock(root_fd, "pair/lock", LOCK_WAIT_MS, e);
	return fd < 0 ? err_ctx(e, "another command works on this host's pair") : fd;
}

static int put_file(int root_fd, const char *path, struct str text, bool secret, struct err *e)
{
	return fs_replace(root_fd, path, text.p, text.n, FS_REPLACE_SYNC | (secret ? FS_REPLACE_SECRET : 0), e);
}

static void put_host(struct jw *w, const struct pair_host *h, const uint8_t fingerprint[SHA256_SIZE])
{
	jw_kv_int(w, "format", FORMAT);
	jw_kv_str(w, "name", h->name);
	jw_kv_str(w, "address", h->address);
	jw_kv_hex(w, "fingerprint", fingerprint, SHA256_SIZE);
}

int trust_write_self(int root_fd, uint32_t number, const struct pair_host *h, const uint8_t own[SHA256_SIZE],
		     const uint8_t invited_by[SHA256_SIZE], struct err *e)
{
	auto_buf b = BUF_INIT(FILE_MAX);
	struct jw w = JW_INIT(&b, 2);
	jw_object(&w);
	put_host(&w, h, own);
	jw_kv_int(&w, "number", number);
	if (number == 2)
		jw_kv_hex(&w, "invited_by", invited_by, SHA256_SIZE);
	jw_object_end(&w);
	buf_put_char(&b, '\n');
	return put_file(root_fd, "pair/self", buf_str(&b), false, e);
}

int trust_write_peer(int root_fd, const struct pair_host *h, const uint8_t fingerprint[SHA256_SIZE],
		     struct str certificate, struct err *e)
{
	auto_buf b = BUF_INIT(FILE_MAX);
	struct jw w = JW_INIT(&b, 2);
	jw_object(&w);
	put_host(&w, h, fingerprint);
	jw_kv_str(&w, "certificate", certificate);
	jw_object_end(&w);
	buf_put_char(&b, '\n');
	return b.overflow ? err_new(e, ERR_LIMIT, "the other member's certificate is too long")
			  : put_file(root_fd, "pair/peer", buf_str(&b), false, e);
}

int trust_write_open(int root_fd, const struct trust_open *o, struct err *e)
{
	auto_buf b = BUF_INIT(FILE_MAX);
	struct jw w = JW_INIT(&b, 2);
	jw_object(&w);
	jw_kv_int(&w, "format", FORMAT);
	jw_kv_hex(&w, "secret_sha256", o->secret, SHA256_SIZE);
	jw_kv_int(&w, "until_ms", o->until_ms);
	jw_kv_int(&w, "tries_left", o->tries_left);
	jw_object_end(&w);
	buf_put_char(&b, '\n');
	return put_file(root_fd, "pair/invitation", buf_str(&b), true, e);
}

static int remove_one(int dir_fd, const char *name, struct err *e)
{
	return sys_unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? err_sys(e, "remove 'pair/%s'", name) : 0;
}

/* Whatever else was kept with the pair (who carries the traffic) goes as well; the lock stays, others may wait for it. */
int trust_forget(int root_fd, struct err *e)
{
	auto_fs_list all = {0};
	auto_fd dir_fd = fs_open_dir(root_fd, "pair", e);
	if (dir_fd < 0 || remove_one(dir_fd, "self", e) < 0 || fs_sync_dir(root_fd, "pair", e) < 0 ||
	    fs_list(root_fd, "pair", FILES_MAX, &all, e) < 0)
		return -1;
	for (size_t i = 0; i < all.n; i++)
		if (strcmp(all.name[i], "lock") != 0 && remove_one(dir_fd, all.name[i], e) < 0)
			return -1;
	return fs_sync_dir(root_fd, "pair", e);
}

int trust_begin(int root_fd, struct arena *a, struct tls_identity *ret, uint8_t ret_fingerprint[SHA256_SIZE],
		struct err *e)
{
	return trust_forget(root_fd, e) < 0 || tls_identity_new(a, ret, e) < 0 ||
			       tls_fingerprint(ret->certificate, "the new certificate", ret_fingerprint, e) < 0 ||
			       put_file(root_fd, "pair/key.pem", ret->key, true, e) < 0 ||
			       put_file(root_fd, "pair/cert.pem", ret->certificate, false, e) < 0
		       ? -1
		       : 0;
}

/* -- init, leave -------------------------------------------------------------------------------------------------------- */

/* Only a member 1 whom nobody has joined may invite again. */
static int may_invite(const struct trust *t, struct err *e)
{
	const struct pair *p = &t->pair;
	const struct pair_host *other = &p->host[3 - p->self];
	if (p->self == 1 && !p->joined)
		return 0;
	if (p->joined)
		return err_new(e, ERR_EXISTS,
			       "this host is member %u of a pair with '%.*s' already; 'slipway pair leave' first",
			       p->self, STR_ARG(other->name));
	return err_new(
		e, ERR_EXISTS,
		"this host has begun to join a pair: 'slipway pair join' with the same invitation goes on, 'slipway "
		"pair leave' ends it");
}

static int new_invitation(int root_fd, const struct pair_host *host, const uint8_t own[SHA256_SIZE], struct arena *a,
			  struct pair_invitation *ret, struct err *e)
{
	struct invitation i = {.address = host->address};
	struct trust_open open = {.until_ms = clock_wall_ms() + PAIR_INVITATION_MS, .tries_left = TRUST_TRIES};
	memcpy(i.fingerprint, own, SHA256_SIZE);
	if (getrandom(i.secret, sizeof(i.secret), 0) != sizeof(i.secret))
		return err_sys(e, "make a secret");
	sha256(i.secret, sizeof(i.secret), open.secret);
	if (trust_write_open(root_fd, &open, e) < 0)
		return -1;
	*ret = (struct pair_invitation){invitation_text(a, &i), open.until_ms};
	return 0;
}

int pair_init(int root_fd, const struct pair_host *host, struct arena *a, struct pair_invitation *ret, struct err *e)
{
	struct trust t;
	struct tls_identity id;
	struct pair_invitation made;
	if (trust_check_host(host, e) < 0)
		return -1;
	auto_fd lock = trust_lock(root_fd, e);
	int rc = lock < 0 ? -1 : trust_read(root_fd, a, &t, e);
	if (rc < 0 || (rc && may_invite(&t, e) < 0) || (rc && trust_identity(root_fd, a, &id, e) < 0) ||
	    (!rc && trust_begin(root_fd, a, &id, t.own, e) < 0))
		return -1;
	if (new_invitation(root_fd, host, t.own, a, &made, e) < 0 ||
	    trust_write_self(root_fd, 1, host, t.own, NULL, e) < 0)
		return -1;
	*ret = made;
	return 0;
}

int pair_leave(int root_fd, struct err *e)
{
	struct stat st;
	if (fstatat(root_fd, "pair", &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	auto_fd lock = trust_lock(root_fd, e);
	return lock < 0 ? -1 : trust_forget(root_fd, e);
}
