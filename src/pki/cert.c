// SPDX-License-Identifier: Apache-2.0
/* Certificates: read, written, and what stands in them. */
#include <arpa/inet.h>

#include "base/clock.h"
#include "pki/crypto.h"

enum { INFO_NAMES_MAX = 256 };

static int check(X509 *x, const char *where, struct err *e)
{
	EVP_PKEY *k = crypto.X509_get0_pubkey(x);
	if (!k)
		return crypto_failed(e, ERR_INPUT, "%s: the key in the certificate cannot be read", where);
	return key_check(k, e) < 0 ? err_ctx(e, "%s", where) : 0;
}

int pki_cert_read(struct str pem, const char *where, struct pki_cert **ret, struct err *e)
{
	if (crypto_load(e) < 0)
		return -1;
	auto_ptr(bio) b = bio_of(pem, PKI_BUNDLE_MAX);
	if (!b)
		return err_new(e, ERR_LIMIT, "%s: certificates of %zu bytes, more than %d", where, pem.n,
			       PKI_BUNDLE_MAX);
	auto_ptr(x509) x = crypto.PEM_read_bio_X509(b, NULL, no_pass_phrase, NULL);
	if (!x)
		return crypto_failed(e, ERR_INPUT, "%s: there is no certificate (PEM) in it", where);
	if (check(x, where, e) < 0)
		return -1;
	*ret = cert_of(steal_ptr(&x));
	return 0;
}

int pki_cert_read_der(struct str der, const char *where, struct pki_cert **ret, struct err *e)
{
	if (crypto_load(e) < 0)
		return -1;
	if (der.n > PKI_PEM_MAX)
		return err_new(e, ERR_LIMIT, "%s: a certificate of %zu bytes, more than %d", where, der.n, PKI_PEM_MAX);
	const unsigned char *p = (const unsigned char *)der.p;
	auto_ptr(x509) x = der.n ? crypto.d2i_X509(NULL, &p, (long)der.n) : NULL;
	if (!x)
		return crypto_failed(e, ERR_INPUT, "%s: this is no certificate (DER)", where);
	if (check(x, where, e) < 0)
		return -1;
	*ret = cert_of(steal_ptr(&x));
	return 0;
}

struct str pki_cert_pem(const struct pki_cert *c, struct arena *a)
{
	auto_ptr(bio) b = bio_new();
	if (!crypto.PEM_write_bio_X509(b, c->p))
		panic("libcrypto cannot write a certificate");
	return arena_str(a, bio_text(b));
}

void pki_cert_fingerprint(const struct pki_cert *c, uint8_t ret[SHA256_SIZE])
{
	unsigned char *der = NULL;
	int n = crypto.i2d_X509(c->p, &der);
	if (n <= 0)
		panic("libcrypto cannot write a certificate");
	sha256(der, (size_t)n, ret);
	crypto.CRYPTO_free(der, __FILE__, __LINE__);
}

struct str pki_fingerprint_text(struct arena *a, const uint8_t fingerprint[SHA256_SIZE])
{
	static const char digits[] = "0123456789ABCDEF";
	char *p = arena_alloc(a, 3 * SHA256_SIZE);
	for (size_t i = 0; i < SHA256_SIZE; i++) {
		p[3 * i] = digits[fingerprint[i] >> 4];
		p[3 * i + 1] = digits[fingerprint[i] & 15];
		p[3 * i + 2] = i + 1 < SHA256_SIZE ? ':' : '\0';
	}
	return str_c(p);
}

bool pki_cert_is_of(const struct pki_cert *c, const struct pki_key *k)
{
	return crypto.EVP_PKEY_eq(crypto.X509_get0_pubkey(c->p), k->p) == 1;
}

void pki_cert_free(struct pki_cert *c)
{
	if (!c)
		return;
	crypto.X509_free(c->p);
	free(c);
}

/* -- what stands in it ------------------------------------------------------------------------------------------- */

/* For messages and lists: no control characters, whoever wrote the name. */
static struct str shown_name(struct arena *a, const X509_NAME *n)
{
	struct str cn = name_cn(a, n);
	if (cn.n) {
		for (size_t i = 0; i < cn.n; i++)
			if ((unsigned char)cn.p[i] < ' ' || cn.p[i] == 0x7f)
				((char *)cn.p)[i] = '?'; /* our own copy */
		return cn;
	}
	auto_ptr(bio) b = bio_new();
	(void)crypto.X509_NAME_print_ex(b, n, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
	return arena_str(a, str_head(bio_text(b), 512));
}

static struct str address_text(struct arena *a, const ASN1_OCTET_STRING *s)
{
	char text[INET6_ADDRSTRLEN];
	int n = crypto.ASN1_STRING_length(s);
	int family = n == 4 ? AF_INET : n == 16 ? AF_INET6 : AF_UNSPEC;
	return family != AF_UNSPEC && inet_ntop(family, crypto.ASN1_STRING_get0_data(s), text, sizeof(text))
		       ? arena_str(a, str_c(text))
		       : STR_NONE;
}

static struct str dns_text(struct arena *a, const ASN1_IA5STRING *s)
{
	struct str t = str_of((const char *)crypto.ASN1_STRING_get0_data(s), (size_t)crypto.ASN1_STRING_length(s));
	for (size_t i = 0; i < t.n; i++)
		if (t.p[i] <= ' ' || t.p[i] > '~')
			return STR_NONE;
	return arena_str(a, t);
}

static void read_names(const struct pki_cert *c, struct arena *a, struct pki_cert_info *ret)
{
	GENERAL_NAMES *all = crypto.X509_get_ext_d2i(c->p, NID_subject_alt_name, NULL, NULL);
	const OPENSSL_STACK *list = (const OPENSSL_STACK *)all;
	int n = all ? crypto.OPENSSL_sk_num(list) : 0;
	struct str *names = arena_array(a, struct str, (size_t)(n < INFO_NAMES_MAX ? n : INFO_NAMES_MAX));
	for (int i = 0; i < n && ret->names_n < INFO_NAMES_MAX; i++) {
		const GENERAL_NAME *g = crypto.OPENSSL_sk_value(list, i);
		struct str s = g->type == GEN_DNS     ? dns_text(a, g->d.dNSName)
			       : g->type == GEN_IPADD ? address_text(a, g->d.iPAddress)
						      : STR_NONE;
		if (s.n)
			names[ret->names_n++] = s;
	}
	ret->names = names;
	if (all)
		crypto.GENERAL_NAMES_free(all);
}

int pki_cert_info(const struct pki_cert *c, struct arena *a, struct pki_cert_info *ret, struct err *e)
{
	*ret = (struct pki_cert_info){
		.subject = shown_name(a, crypto.X509_get_subject_name(c->p)),
		.issuer = shown_name(a, crypto.X509_get_issuer_name(c->p)),
		.serial = serial_text(a, crypto.X509_get_serialNumber(c->p)),
		.authority = crypto.X509_check_ca(c->p) == 1,
	};
	if (time_ms(crypto.X509_get0_notBefore(c->p), &ret->not_before_ms) < 0 ||
	    time_ms(crypto.X509_get0_notAfter(c->p), &ret->not_after_ms) < 0)
		return err_new(e, ERR_INPUT, "certificate '%.*s': its dates cannot be read", STR_ARG(ret->subject));
	pki_cert_fingerprint(c, ret->fingerprint);
	key_digest(crypto.X509_get0_pubkey(c->p), ret->key);
	read_names(c, a, ret);
	crypto.ERR_clear_error();
	return 0;
}

bool pki_is_due(int64_t not_before_ms, int64_t not_after_ms, int64_t now_ms)
{
	return now_ms < not_before_ms || now_ms - not_before_ms >= (not_after_ms - not_before_ms) / 3 * 2;
}
