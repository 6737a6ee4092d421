// SPDX-License-Identifier: Apache-2.0
#include "pki/crypto.h"

#include <stdio.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"

#define SONAME_OF(version) "libcrypto.so." #version
#define SONAME(version) SONAME_OF(version)
struct crypto_api crypto;
DL_LIBRARY_OF(crypto, SONAME(OPENSSL_SHLIB_VERSION), CRYPTO_FUNCTIONS, NULL);

int crypto_load(struct err *e)
{
	return dl_load(&crypto_library, e);
}

int crypto_failed(struct err *e, enum err_code code, const char *fmt, ...)
{
	const char *why = crypto.ERR_reason_error_string(crypto.ERR_peek_last_error());
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	crypto.ERR_clear_error();
	return why ? err_new(e, code, "%s: %s", b.p, why) : err_new(e, code, "%s", b.p);
}

BIO *bio_of(struct str pem, size_t max)
{
	return pem.n <= max ? crypto.BIO_new_mem_buf(pem.n ? pem.p : "", (int)pem.n) : NULL;
}

BIO *bio_new(void)
{
	BIO *b = crypto.BIO_new(crypto.BIO_s_mem());
	if (!b)
		panic("out of memory");
	return b;
}

struct str bio_text(BIO *b)
{
	char *p = NULL;
	long n = crypto.BIO_ctrl(b, BIO_CTRL_INFO, 0, (char *)&p);
	return n > 0 && p ? str_of(p, (size_t)n) : STR_NONE;
}

int no_pass_phrase(char *p, int n, int writing, void *ctx)
{
	(void)p, (void)n, (void)writing, (void)ctx;
	return -1;
}

struct pki_cert *cert_of(X509 *x)
{
	struct pki_cert *c = xmalloc(sizeof(*c));
	c->p = x;
	return c;
}

bool signature_is_taken(int nid)
{
	switch (nid) {
	case NID_ecdsa_with_SHA256:
	case NID_ecdsa_with_SHA384:
	case NID_ecdsa_with_SHA512:
	case NID_sha256WithRSAEncryption:
	case NID_sha384WithRSAEncryption:
	case NID_sha512WithRSAEncryption:
	case NID_ED25519:
		return true;
	default:
		return false;
	}
}

struct str name_cn(struct arena *a, const X509_NAME *n)
{
	unsigned char *text = NULL;
	int at = crypto.X509_NAME_get_index_by_NID(n, NID_commonName, -1);
	if (at < 0 || crypto.X509_NAME_get_index_by_NID(n, NID_commonName, at) >= 0)
		return STR_NONE;
	int len = crypto.ASN1_STRING_to_UTF8(&text, crypto.X509_NAME_ENTRY_get_data(crypto.X509_NAME_get_entry(n, at)));
	struct str s = len > 0 ? arena_str(a, str_of((const char *)text, (size_t)len)) : STR_NONE;
	crypto.CRYPTO_free(text, __FILE__, __LINE__);
	crypto.ERR_clear_error();
	return s;
}

struct str serial_text(struct arena *a, const ASN1_INTEGER *serial)
{
	size_t n = (size_t)crypto.ASN1_STRING_length(serial);
	char *hex = arena_alloc(a, 2 * n + 1);
	hex_encode(crypto.ASN1_STRING_get0_data(serial), n, hex);
	return str_c(hex);
}

int time_ms(const ASN1_TIME *t, int64_t *ret)
{
	struct tm tm;
	if (!t || !crypto.ASN1_TIME_to_tm(t, &tm)) {
		crypto.ERR_clear_error();
		return -1;
	}
	*ret = (int64_t)timegm(&tm) * 1000;
	return 0;
}

void time_text(int64_t ms, char out[TIME_TEXT_SIZE])
{
	auto_buf b = BUF_INIT(64);
	clock_put_iso(&b, ms < 0 ? 0 : ms); /* 2026-11-21T04:41:44Z */
	size_t n = 0;
	for (size_t i = 0; i < b.n && n < TIME_TEXT_SIZE - 1; i++)
		if ((b.p[i] >= '0' && b.p[i] <= '9') || b.p[i] == 'Z')
			out[n++] = b.p[i];
	out[n] = '\0';
}
