// SPDX-License-Identifier: Apache-2.0
#include "tuf/crypto.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/digest.h"
#include "base/dl.h"

#define CRYPTO(X)                                                                                                      \
	X(, BIO_free)                                                                                                  \
	X(, BIO_new_mem_buf)                                                                                           \
	X(, BN_bn2binpad)                                                                                              \
	X(, BN_free)                                                                                                   \
	X(, BN_num_bits)                                                                                               \
	X(, ERR_clear_error)                                                                                           \
	X(, EVP_DigestVerify)                                                                                          \
	X(, EVP_DigestVerifyInit)                                                                                      \
	X(, EVP_MD_CTX_free)                                                                                           \
	X(, EVP_MD_CTX_new)                                                                                            \
	X(, EVP_PKEY_CTX_set_rsa_padding)                                                                              \
	X(, EVP_PKEY_CTX_set_rsa_pss_saltlen)                                                                          \
	X(, EVP_PKEY_free)                                                                                             \
	X(, EVP_PKEY_get_bits)                                                                                         \
	X(, EVP_PKEY_get_bn_param)                                                                                     \
	X(, EVP_PKEY_get_group_name)                                                                                   \
	X(, EVP_PKEY_get_raw_public_key)                                                                               \
	X(, EVP_PKEY_is_a)                                                                                             \
	X(, EVP_PKEY_new_raw_public_key)                                                                               \
	X(, EVP_sha256)                                                                                                \
	X(, PEM_read_bio_PUBKEY)                                                                                       \
	X(, d2i_PUBKEY)
#define SONAME_OF(version) "libcrypto.so." #version
#define SONAME(version) SONAME_OF(version)
DL_LIBRARY(crypto, SONAME(OPENSSL_SHLIB_VERSION), CRYPTO, NULL);

enum { TEXT_MAX = 8192, RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, NUMBER_MAX = RSA_BITS_MAX / 8, P256_BYTES = 32 };

struct public_key {
	EVP_PKEY *pkey;
	enum tuf_scheme scheme;
	uint8_t value[KEY_VALUE_SIZE];
};

enum tuf_scheme scheme_of(struct str keytype, struct str scheme)
{
	static const struct {
		const char *keytype, *scheme;
		enum tuf_scheme is;
	} known[] = {
		{"ed25519", "ed25519", SCHEME_ED25519},
		{"ecdsa", "ecdsa-sha2-nistp256", SCHEME_ECDSA_P256},
		{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", SCHEME_ECDSA_P256},
		{"rsa", "rsassa-pss-sha256", SCHEME_RSA_PSS},
		{"rsa", "rsa-pkcs1v15-sha256", SCHEME_RSA_PKCS1},
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (str_eq_c(keytype, known[i].keytype) && str_eq_c(scheme, known[i].scheme))
			return known[i].is;
	return SCHEME_OTHER;
}

/* -- reading ---------------------------------------------------------------------------------------------------------- */

/* A PEM that says it is encrypted: nobody is asked for anything. */
static int no_passphrase(char *to, int size, int rwflag, void *ctx)
{
	(void)to, (void)size, (void)rwflag, (void)ctx;
	return -1;
}

static EVP_PKEY *read_pem(struct str text)
{
	BIO *bio = crypto.BIO_new_mem_buf(text.p, (int)text.n);
	EVP_PKEY *k = bio ? crypto.PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL) : NULL;
	crypto.BIO_free(bio);
	return k;
}

/* The point alone, uncompressed, in hex: as the first roots of Sigstore have it. */
static EVP_PKEY *read_point(struct str text)
{
	static const uint8_t head[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
				       0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
	uint8_t der[sizeof(head) + 1 + 2 * P256_BYTES];
	const uint8_t *at = der;
	memcpy(der, head, sizeof(head));
	if (!str_unhex(text, der + sizeof(head), 1 + 2 * P256_BYTES) || der[sizeof(head)] != 4)
		return NULL;
	return crypto.d2i_PUBKEY(NULL, &at, sizeof(der));
}

static EVP_PKEY *read_key(enum tuf_scheme scheme, struct str text)
{
	uint8_t raw[32];
	if (text.n > TEXT_MAX)
		return NULL;
	if (scheme == SCHEME_ED25519)
		return str_unhex(text, raw, sizeof(raw))
			       ? crypto.EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw, sizeof(raw))
			       : NULL;
	if (scheme == SCHEME_ECDSA_P256 && text.n == 2 * (1 + 2 * P256_BYTES))
		return read_point(text);
	return read_pem(text);
}

/* -- what key it is --------------------------------------------------------------------------------------------------- */

static bool add_number(struct digest *d, const EVP_PKEY *k, const char *name)
{
	uint8_t bytes[NUMBER_MAX];
	BIGNUM *n = NULL;
	if (crypto.EVP_PKEY_get_bn_param(k, name, &n) != 1)
		return false;
	bool good = crypto.BN_num_bits(n) <= RSA_BITS_MAX &&
		    crypto.BN_bn2binpad(n, bytes, sizeof(bytes)) == (int)sizeof(bytes);
	crypto.BN_free(n);
	if (good)
		digest_update(d, bytes, sizeof(bytes));
	return good;
}

static bool is_p256(const EVP_PKEY *k)
{
	char group[32];
	size_t n = 0;
	return crypto.EVP_PKEY_is_a(k, "EC") && crypto.EVP_PKEY_get_group_name(k, group, sizeof(group), &n) == 1 &&
	       strcmp(group, "prime256v1") == 0;
}

/* By the numbers of the key: a text may write the same key in several ways. */
static bool take_value(struct public_key *k)
{
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	bool good;
	if (k->scheme == SCHEME_ED25519) {
		uint8_t raw[32];
		size_t n = sizeof(raw);
		good = crypto.EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) == 1 && n == sizeof(raw);
		digest_update(d, "ed25519", 7);
		digest_update(d, raw, sizeof(raw));
	} else if (k->scheme == SCHEME_ECDSA_P256) {
		digest_update(d, "p256", 4);
		good = is_p256(k->pkey) && add_number(d, k->pkey, OSSL_PKEY_PARAM_EC_PUB_X) &&
		       add_number(d, k->pkey, OSSL_PKEY_PARAM_EC_PUB_Y);
	} else {
		int bits = crypto.EVP_PKEY_get_bits(k->pkey);
		digest_update(d, "rsa", 3);
		good = crypto.EVP_PKEY_is_a(k->pkey, "RSA") && bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX &&
		       add_number(d, k->pkey, OSSL_PKEY_PARAM_RSA_N) && add_number(d, k->pkey, OSSL_PKEY_PARAM_RSA_E);
	}
	uint8_t out[DIGEST_MAX];
	digest_final(d, out);
	memcpy(k->value, out, sizeof(k->value));
	return good;
}

struct public_key *public_key_load(enum tuf_scheme scheme, struct str text)
{
	if (scheme == SCHEME_OTHER)
		return NULL;
	dl_need(&crypto_library);
	auto_ptr(public_key) k = xcalloc(1, sizeof(*k));
	k->scheme = scheme;
	k->pkey = read_key(scheme, text);
	bool good = k->pkey && take_value(k);
	crypto.ERR_clear_error(); /* what went wrong here is not what the thread's next caller asks for */
	return good ? steal_ptr(&k) : NULL;
}

void public_key_value(const struct public_key *k, uint8_t out[KEY_VALUE_SIZE])
{
	memcpy(out, k->value, KEY_VALUE_SIZE);
}

void public_key_free(struct public_key *k)
{
	if (!k)
		return;
	crypto.EVP_PKEY_free(k->pkey);
	free(k);
}

/* -- verifying -------------------------------------------------------------------------------------------------------- */

static bool verifies(EVP_MD_CTX *ctx, const struct public_key *k, struct str message, const uint8_t *sig, size_t sig_n)
{
	EVP_PKEY_CTX *how = NULL; /* belongs to ctx */
	const EVP_MD *md = k->scheme == SCHEME_ED25519 ? NULL : crypto.EVP_sha256();
	if (crypto.EVP_DigestVerifyInit(ctx, &how, md, NULL, k->pkey) != 1)
		return false;
	if (k->scheme == SCHEME_RSA_PSS && (crypto.EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) != 1 ||
					    crypto.EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_AUTO) != 1))
		return false;
	if (k->scheme == SCHEME_RSA_PKCS1 && crypto.EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PADDING) != 1)
		return false;
	return crypto.EVP_DigestVerify(ctx, sig, sig_n, (const unsigned char *)message.p, message.n) == 1;
}

bool public_key_verifies(const struct public_key *k, struct str message, const uint8_t *sig, size_t sig_n)
{
	EVP_MD_CTX *ctx = crypto.EVP_MD_CTX_new();
	if (!ctx)
		panic("out of memory");
	bool good = verifies(ctx, k, message, sig, sig_n);
	crypto.EVP_MD_CTX_free(ctx);
	crypto.ERR_clear_error();
	return good;
}
