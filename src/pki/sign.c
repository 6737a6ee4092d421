// SPDX-License-Identifier: Apache-2.0
/* An authority of one's own: its certificate, what it signs, what it takes back. */
#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/buf.h"
#include "base/clock.h"
#include "pki/crypto.h"

enum { DAY_MS = 86400000, EXTENSION_MAX = 16384, CRL_ENTRIES_MAX = 200000 };
/* RFC 6761: no machine is ever called so. A client's own name is its CN, and no DNS name; but where a certificate has no DNS name, some
 * programs hold its CN against the constraints of the authority. So each has one, which the authority permits. */
#define CLIENT_DOMAIN "client.invalid"

static void free_extension(X509_EXTENSION *x)
{
	crypto.X509_EXTENSION_free(x);
}
DEFINE_AUTO(X509_EXTENSION *, extension, free_extension);

/* `value` in libcrypto's own language (x509v3_config(5)): nothing of it may come from outside unchecked. */
static bool extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	crypto.X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	auto_ptr(extension) ext = crypto.X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	return ext && crypto.X509_add_ext(x, ext, -1);
}

static int random_serial(ASN1_INTEGER *serial, struct err *e)
{
	uint8_t bytes[PKI_SERIAL_SIZE];
	do { /* a first byte of 0 would be dropped, and all serials are to be as long */
		if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
			return err_sys(e, "make a serial number");
	} while (!bytes[0]);
	return crypto.ASN1_STRING_set(serial, bytes, sizeof(bytes))
		       ? 0
		       : crypto_failed(e, ERR_FAILED, "make a serial number");
}

static bool set_dates(X509 *x, int64_t from_ms, int64_t until_ms)
{
	char from[TIME_TEXT_SIZE], until[TIME_TEXT_SIZE];
	time_text(from_ms, from);
	time_text(until_ms, until);
	return crypto.ASN1_TIME_set_string_X509(crypto.X509_getm_notBefore(x), from) &&
	       crypto.ASN1_TIME_set_string_X509(crypto.X509_getm_notAfter(x), until);
}

static bool set_cn(X509 *x, struct str cn)
{
	return crypto.X509_NAME_add_entry_by_txt(crypto.X509_get_subject_name(x), "CN", MBSTRING_UTF8,
						 (const unsigned char *)cn.p, (int)cn.n, -1, 0);
}

/* What all have; the issuer's name, extensions and the signature come after. */
static int begin(struct str cn, EVP_PKEY *key, int64_t from_ms, int64_t until_ms, X509 **ret, struct err *e)
{
	auto_ptr(x509) x = crypto.X509_new();
	if (!x || !crypto.X509_set_version(x, X509_VERSION_3) || !set_cn(x, cn) || !set_dates(x, from_ms, until_ms) ||
	    !crypto.X509_set_pubkey(x, key))
		return crypto_failed(e, ERR_FAILED, "begin a certificate");
	if (random_serial(crypto.X509_get_serialNumber(x), e) < 0)
		return -1;
	*ret = steal_ptr(&x);
	return 0;
}

/* -- the authority ------------------------------------------------------------------------------------------------ */

static int put_names(struct buf *b, const struct pki_names *names, const char *dns, const char *address,
		     const char *mask4, const char *mask6, size_t *ret_addresses, struct err *e)
{
	*ret_addresses = 0;
	if (!names->n || names->n > PKI_NAMES_MAX)
		return err_new(e, ERR_USAGE, "a server needs 1 to %d names and addresses", PKI_NAMES_MAX);
	for (size_t i = 0; i < names->n; i++) {
		bool is_address;
		struct str s = names->v[i];
		if (pki_host_check(s, &is_address, e) < 0)
			return -1;
		*ret_addresses += is_address;
		buf_printf(b, "%s%s%.*s%s", b->n ? "," : "", is_address ? address : dns, STR_ARG(s),
			   !is_address		   ? ""
			   : str_find(s, ':') >= 0 ? mask6
						   : mask4);
	}
	return 0;
}

/* Critical: who does not understand it refuses all. It cannot vouch for anybody's bank. */
static int constrain(X509 *x, const struct pki_names *names, struct err *e)
{
	auto_buf permitted = BUF_INIT(EXTENSION_MAX);
	auto_buf all = BUF_INIT(EXTENSION_MAX);
	size_t addresses;
	if (put_names(&permitted, names, "permitted;DNS:", "permitted;IP:", "/255.255.255.255",
		      "/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &addresses, e) < 0)
		return -1;
	buf_printf(&all, "critical,%s,permitted;DNS:" CLIENT_DOMAIN, permitted.p);
	if (!addresses)
		buf_put_c(&all, ",excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:::/::");
	return extend(x, x, NID_name_constraints, all.p)
		       ? 0
		       : crypto_failed(e, ERR_FAILED, "constrain the authority to its names");
}

int pki_authority_new(const struct pki_key *k, const struct pki_authority_opts *o, int64_t now_ms,
		      struct pki_cert **ret, struct err *e)
{
	char day[TIME_TEXT_SIZE], hex[SHA256_HEX_SIZE];
	uint8_t digest[SHA256_SIZE];
	auto_ptr(x509) x = NULL;
	unsigned days = o->days ? o->days : PKI_AUTHORITY_DAYS;
	if (pki_name_check(o->name, e) < 0)
		return err_ctx(e, "name of the authority");
	time_text(now_ms, day);
	key_digest(k->p, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	/* At most 64 characters, and no two authorities have one name: some programs find an issuer by that alone. */
	auto_free char *cn = xasprintf("%.*s authority %.4s-%.2s-%.2s %.6s", STR_ARG(str_head(o->name, 32)), day,
				       day + 4, day + 6, hex);
	if (begin(str_c(cn), k->p, now_ms - PKI_EARLY_DAYS * (int64_t)DAY_MS, now_ms + days * (int64_t)DAY_MS, &x, e) <
	    0)
		return -1;
	if (!crypto.X509_set_issuer_name(x, crypto.X509_get_subject_name(x)) ||
	    !extend(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
	    !extend(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") ||
	    !extend(x, x, NID_subject_key_identifier, "hash"))
		return crypto_failed(e, ERR_FAILED, "make an authority");
	if (o->names && constrain(x, o->names, e) < 0)
		return -1;
	if (crypto.X509_sign(x, k->p, key_md(k->p)) <= 0)
		return crypto_failed(e, ERR_FAILED, "sign the authority");
	*ret = cert_of(steal_ptr(&x));
	return 0;
}

/* -- what it signs ------------------------------------------------------------------------------------------------ */

struct leaf {
	struct str cn;
	EVP_PKEY *key;
	const char *usage, *names; /* extended key usage; subject alternative names */
	enum pki_purpose purpose;
	unsigned days;
};

/* From a day ago until so many days on, within the authority's own life. */
static int leaf_dates(const struct pki_cert_info *ca, unsigned days, int64_t now_ms, int64_t *ret_from,
		      int64_t *ret_until, struct err *e)
{
	*ret_from = now_ms - PKI_EARLY_DAYS * (int64_t)DAY_MS;
	*ret_until = now_ms + days * (int64_t)DAY_MS;
	if (*ret_from < ca->not_before_ms)
		*ret_from = ca->not_before_ms;
	if (*ret_until > ca->not_after_ms)
		*ret_until = ca->not_after_ms;
	if (*ret_until > now_ms && *ret_from <= now_ms)
		return 0;
	auto_buf b = BUF_INIT(256);
	clock_put_iso(&b, ca->not_before_ms);
	buf_put_c(&b, " to ");
	clock_put_iso(&b, ca->not_after_ms);
	buf_put_c(&b, ", and here it is ");
	clock_put_iso(&b, now_ms);
	return err_new(e, ERR_VERIFY,
		       "the authority '%.*s' is good from %s: set this host's clock, or make another authority",
		       STR_ARG(ca->subject), b.p);
}

static int sign_leaf(const struct pki_cert *ca, const struct pki_key *ca_key, const struct leaf *l, int64_t now_ms,
		     struct pki_cert **ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(x509) x = NULL;
	struct pki_cert_info info;
	int64_t from, until;
	if (pki_cert_info(ca, &a, &info, e) < 0 || leaf_dates(&info, l->days, now_ms, &from, &until, e) < 0)
		return -1;
	if (!info.authority || !pki_cert_is_of(ca, ca_key))
		return err_new(e, ERR_VERIFY, "'%.*s' is no authority, or the key is not its own",
			       STR_ARG(info.subject));
	if (begin(l->cn, l->key, from, until, &x, e) < 0)
		return -1;
	if (!crypto.X509_set_issuer_name(x, crypto.X509_get_subject_name(ca->p)) ||
	    !extend(x, ca->p, NID_basic_constraints, "critical,CA:FALSE") ||
	    !extend(x, ca->p, NID_key_usage, "critical,digitalSignature") ||
	    !extend(x, ca->p, NID_ext_key_usage, l->usage) || !extend(x, ca->p, NID_subject_alt_name, l->names) ||
	    !extend(x, ca->p, NID_subject_key_identifier, "hash") ||
	    !extend(x, ca->p, NID_authority_key_identifier, "keyid:always") ||
	    crypto.X509_sign(x, ca_key->p, key_md(ca_key->p)) <= 0)
		return crypto_failed(e, ERR_FAILED, "sign the certificate of '%.*s'", STR_ARG(l->cn));
	auto_ptr(pki_cert) c = cert_of(steal_ptr(&x));
	struct pki_verify v = {.anchors = pki_cert_pem(ca, &a), .purpose = l->purpose};
	if (pki_verify(c, &v, now_ms, e) < 0) /* names that the authority may not speak for */
		return -1;
	*ret = steal_ptr(&c);
	return 0;
}

int pki_sign_server(const struct pki_cert *ca, const struct pki_key *ca_key, const struct pki_key *server,
		    const struct pki_names *names, unsigned days, int64_t now_ms, struct pki_cert **ret, struct err *e)
{
	auto_buf b = BUF_INIT(EXTENSION_MAX);
	size_t addresses;
	if (put_names(&b, names, "DNS:", "IP:", "", "", &addresses, e) < 0)
		return -1;
	struct leaf l = {
		.cn = str_head(names->v[0], 64),
		.key = server->p,
		.usage = "serverAuth",
		.names = b.p,
		.purpose = PKI_SERVER,
		.days = days ? days : PKI_SERVER_DAYS,
	};
	return sign_leaf(ca, ca_key, &l, now_ms, ret, e);
}

/* The DNS name of a client is made of its key, so that it needs no escaping: "k0123456789abcdef.client.invalid". */
int pki_sign_client(const struct pki_cert *ca, const struct pki_key *ca_key, const struct pki_request *r,
		    struct str name, unsigned days, int64_t now_ms, struct pki_cert **ret, struct err *e)
{
	char key[SHA256_HEX_SIZE], names[128];
	if (pki_name_check(name, e) < 0)
		return -1;
	hex_encode(r->digest, SHA256_SIZE, key);
	snprintf(names, sizeof(names), "DNS:k%.16s." CLIENT_DOMAIN, key);
	struct leaf l = {
		.cn = name,
		.key = crypto.X509_REQ_get0_pubkey(r->r),
		.usage = "clientAuth",
		.names = names,
		.purpose = PKI_CLIENT,
		.days = days ? days : PKI_CLIENT_DAYS,
	};
	return sign_leaf(ca, ca_key, &l, now_ms, ret, e);
}

/* -- what it takes back ------------------------------------------------------------------------------------------- */

static void free_crl(X509_CRL *c)
{
	crypto.X509_CRL_free(c);
}
static void free_revoked(X509_REVOKED *r)
{
	crypto.X509_REVOKED_free(r);
}
static void free_integer(ASN1_INTEGER *i)
{
	crypto.ASN1_INTEGER_free(i);
}
static void free_time(ASN1_TIME *t)
{
	crypto.ASN1_TIME_free(t);
}
DEFINE_AUTO(X509_CRL *, crl, free_crl);
DEFINE_AUTO(X509_REVOKED *, revoked, free_revoked);
DEFINE_AUTO(ASN1_INTEGER *, integer, free_integer);
DEFINE_AUTO(ASN1_TIME *, time, free_time);

static ASN1_TIME *time_of(int64_t ms)
{
	char text[TIME_TEXT_SIZE];
	ASN1_TIME *t = crypto.ASN1_TIME_new();
	time_text(ms, text);
	if (!t || !crypto.ASN1_TIME_set_string_X509(t, text))
		panic("libcrypto cannot write a date");
	return t;
}

static int add_revoked(X509_CRL *crl, const struct pki_revoked *v, struct err *e)
{
	uint8_t bytes[32];
	auto_ptr(revoked) r = crypto.X509_REVOKED_new();
	auto_ptr(integer) serial = crypto.ASN1_INTEGER_new();
	auto_ptr(time) at = time_of(v->at_ms);
	if (!v->serial.n || v->serial.n % 2 || v->serial.n > 2 * sizeof(bytes) ||
	    !str_unhex(v->serial, bytes, v->serial.n / 2))
		return err_new(e, ERR_INPUT, "'%.*s' is no serial number", STR_ARG(str_head(v->serial, 100)));
	if (!r || !serial || !crypto.ASN1_STRING_set(serial, bytes, (int)(v->serial.n / 2)) ||
	    !crypto.X509_REVOKED_set_serialNumber(r, serial) || !crypto.X509_REVOKED_set_revocationDate(r, at) ||
	    !crypto.X509_CRL_add0_revoked(crl, r))
		return crypto_failed(e, ERR_FAILED, "revoke a certificate");
	r = NULL; /* the list's */
	return 0;
}

static bool finish_crl(X509_CRL *crl, const struct pki_cert *ca, const struct pki_key *ca_key, uint64_t number)
{
	X509V3_CTX ctx;
	auto_ptr(integer) n = crypto.ASN1_INTEGER_new();
	crypto.X509V3_set_ctx(&ctx, ca->p, NULL, NULL, crl, 0);
	auto_ptr(extension) by = crypto.X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
	return n && by && crypto.X509_CRL_add_ext(crl, by, -1) && crypto.ASN1_INTEGER_set_uint64(n, number) &&
	       crypto.X509_CRL_add1_ext_i2d(crl, NID_crl_number, n, 0, 0) && crypto.X509_CRL_sort(crl) &&
	       crypto.X509_CRL_sign(crl, ca_key->p, key_md(ca_key->p)) > 0;
}

int pki_crl_new(const struct pki_cert *ca, const struct pki_key *ca_key, const struct pki_crl_opts *o, int64_t now_ms,
		struct arena *a, struct str *ret_pem, struct err *e)
{
	auto_ptr(crl) crl = crypto.X509_CRL_new();
	auto_ptr(time) made = time_of(now_ms);
	auto_ptr(time) next = time_of(o->next_ms);
	if (o->n > CRL_ENTRIES_MAX)
		return err_new(e, ERR_LIMIT, "%zu revoked certificates, more than %d", o->n, CRL_ENTRIES_MAX);
	if (!crl || !crypto.X509_CRL_set_version(crl, X509_CRL_VERSION_2) ||
	    !crypto.X509_CRL_set_issuer_name(crl, crypto.X509_get_subject_name(ca->p)) ||
	    !crypto.X509_CRL_set1_lastUpdate(crl, made) || !crypto.X509_CRL_set1_nextUpdate(crl, next))
		return crypto_failed(e, ERR_FAILED, "begin a list of revoked certificates");
	for (size_t i = 0; i < o->n; i++)
		if (add_revoked(crl, &o->v[i], e) < 0)
			return -1;
	auto_ptr(bio) b = bio_new();
	if (!finish_crl(crl, ca, ca_key, o->number) || !crypto.PEM_write_bio_X509_CRL(b, crl))
		return crypto_failed(e, ERR_FAILED, "sign the list of revoked certificates");
	*ret_pem = arena_str(a, bio_text(b));
	return 0;
}

static int read_entries(X509_CRL *crl, struct arena *a, struct pki_crl_info *ret, struct err *e)
{
	const OPENSSL_STACK *list = (const OPENSSL_STACK *)crypto.X509_CRL_get_REVOKED(crl);
	int n = list ? crypto.OPENSSL_sk_num(list) : 0;
	if (n > CRL_ENTRIES_MAX)
		return err_new(e, ERR_LIMIT, "%d revoked certificates, more than %d", n, CRL_ENTRIES_MAX);
	struct pki_revoked *v = arena_array(a, struct pki_revoked, (size_t)(n > 0 ? n : 0));
	for (int i = 0; i < n; i++) {
		const X509_REVOKED *r = crypto.OPENSSL_sk_value(list, i);
		v[i].serial = serial_text(a, crypto.X509_REVOKED_get0_serialNumber(r));
		if (time_ms(crypto.X509_REVOKED_get0_revocationDate(r), &v[i].at_ms) < 0)
			return err_new(e, ERR_INPUT, "a date in the list of revoked certificates cannot be read");
	}
	ret->v = v;
	ret->n = n > 0 ? (size_t)n : 0;
	return 0;
}

int pki_crl_read(struct str pem, const struct pki_cert *ca, struct arena *a, struct pki_crl_info *ret, struct err *e)
{
	if (crypto_load(e) < 0)
		return -1;
	auto_ptr(bio) b = bio_of(pem, PKI_CRL_MAX);
	if (!b)
		return err_new(e, ERR_LIMIT, "a list of revoked certificates of %zu bytes, more than %d", pem.n,
			       PKI_CRL_MAX);
	auto_ptr(crl) crl = crypto.PEM_read_bio_X509_CRL(b, NULL, no_pass_phrase, NULL);
	if (!crl)
		return crypto_failed(e, ERR_INPUT, "this is no list of revoked certificates (PEM)");
	if (crypto.X509_CRL_verify(crl, crypto.X509_get0_pubkey(ca->p)) != 1)
		return crypto_failed(e, ERR_VERIFY, "the list of revoked certificates is not this authority's");
	*ret = (struct pki_crl_info){0};
	auto_ptr(integer) number = crypto.X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
	if (number)
		(void)crypto.ASN1_INTEGER_get_uint64(&ret->number, number);
	if (time_ms(crypto.X509_CRL_get0_lastUpdate(crl), &ret->made_ms) < 0 ||
	    time_ms(crypto.X509_CRL_get0_nextUpdate(crl), &ret->next_ms) < 0)
		return err_new(e, ERR_INPUT, "the dates of the list of revoked certificates cannot be read");
	return read_entries(crl, a, ret, e);
}
