// SPDX-License-Identifier: Apache-2.0
/* What ROOT/pair/ says. */
#include "pair/trust.h"

#include <errno.h>
#include <stdio.h>

#include "base/fs.h"
#include "pair/endpoint.h"

enum { FILE_MAX = 64 << 10, NAME_MAX_BYTES = 64, FORMAT = 1 };

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
	struct endpoint addr;
	if (json_get_str(j, "name", &ret->name, e) < 0 || json_get_str(j, "address", &ret->address, e) < 0 ||
	    read_hex(j, "fingerprint", &ret->fingerprint, fingerprint, e) < 0)
		return -1;
	if (check_name(ret->name, e) < 0 || endpoint_parse(ret->address, &addr, e) < 0)
		return err_ctx(e, "%s", j->where);
	return 0;
}

static int read_both(int root_fd, struct arena *a, struct trust *ret, struct err *e)
{
	const struct json *self, *peer;
	uint8_t own[SHA256_SIZE];
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
	if (read_host(self, &p->host[p->self], own, e) < 0 ||
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
