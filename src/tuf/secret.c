// SPDX-License-Identifier: Apache-2.0
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/dl.h"
#include "tuf/crypto.h"

#define CRYPTO(X)                                                                                                      \
	X(, BIO_ctrl)                                                                                                  \
	X(, BIO_free)                                                                                                  \
	X(, BIO_new)                                                                                                   \
	X(, BIO_new_mem_buf)                                                                                           \
	X(, BIO_s_mem)                                                                                                 \
	X(, ERR_clear_error)                                                                                           \
	X(, EVP_DigestSign)                                                                                            \
	X(, EVP_DigestSignInit)                                                                                        \
	X(, EVP_MD_CTX_free)                                                                                           \
	X(, EVP_MD_CTX_new)                                                                                            \
	X(, EVP_PKEY_CTX_set_rsa_padding)                                                                              \
	X(, EVP_PKEY_CTX_set_rsa_pss_saltlen)                                                                          \
	X(, EVP_PKEY_Q_keygen)                                                                                         \
	X(, EVP_PKEY_free)                                                                                             \
	X(, EVP_PKEY_get_raw_public_key)                                                                               \
	X(, EVP_PKEY_is_a)                                                                                             \
	X(, EVP_PKEY2PKCS8)                                                                                            \
	X(, EVP_aes_256_cbc)                                                                                           \
	X(, EVP_sha256)                                                                                                \
	X(, PEM_read_bio_PrivateKey)                                                                                   \
	X(, PEM_write_bio_PKCS8)                                                                                       \
	X(, PEM_write_bio_PUBKEY)                                                                                      \
	X(, PEM_write_bio_PrivateKey)                                                                                  \
	X(, PKCS5_pbe2_set_scrypt)                                                                                     \
	X(, PKCS8_PRIV_KEY_INFO_free)                                                                                  \
	X(, PKCS8_set0_pbe)                                                                                            \
	X(, X509_ALGOR_free)                                                                                           \
	X(, X509_SIG_free)
#define SONAME_OF(version) "libcrypto.so." #version
#define SONAME(version) SONAME_OF(version)
DL_LIBRARY(crypto, SONAME(OPENSSL_SHLIB_VERSION), CRYPTO, NULL);

enum { PEM_MAX = 64 << 10, SIG_MAX = 4096, SHA256_BYTES = 32, PASSPHRASE_MAX = 1000 };
enum { SALT = 16, SCRYPT_N = 1 << 14, SCRYPT_R = 8, SCRYPT_P = 1 };

struct secret_key {
	EVP_PKEY *pkey;
};

static int failed(const char *what, struct err *e)
{
	crypto.ERR_clear_error();
	return err_new(e, ERR_FAILED, "libcrypto cannot %s", what);
}

/* Nobody is asked for anything here. */
static int give_passphrase(char *to, int size, int rwflag, void *ctx)
{
	const struct str *p = ctx;
	(void)rwflag;
	if (!p->n || p->n > (size_t)size)
		return -1;
	memcpy(to, p->p, p->n);
	return (int)p->n;
}

bool secret_key_is_encrypted(struct str pem)
{
	return str_search(pem, STR("-----BEGIN ENCRYPTED PRIVATE KEY-----")) >= 0 ||
	       str_search(pem, STR("Proc-Type: 4,ENCRYPTED")) >= 0;
}

int secret_key_make(enum tuf_scheme scheme, struct secret_key **ret, struct err *e)
{
	if (dl_load(&crypto_library, e) < 0)
		return -1;
	EVP_PKEY *pkey = scheme == SCHEME_ED25519 ? crypto.EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
						  : crypto.EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	if (!pkey)
		return failed("make a key", e);
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->pkey = pkey;
	return 0;
}

int secret_key_read(struct str pem, struct str passphrase, struct secret_key **ret, struct err *e)
{
	if (dl_load(&crypto_library, e) < 0)
		return -1;
	BIO *bio = pem.n <= PEM_MAX ? crypto.BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
	EVP_PKEY *pkey = bio ? crypto.PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, &passphrase) : NULL;
	crypto.BIO_free(bio);
	crypto.ERR_clear_error();
	if (!pkey)
		return passphrase.n ? err_new(e, ERR_VERIFY, "its passphrase is another one")
				    : err_new(e, ERR_INPUT, "not a private key in PEM without a passphrase");
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->pkey = pkey;
	return 0;
}

void secret_key_free(struct secret_key *k)
{
	if (!k)
		return;
	crypto.EVP_PKEY_free(k->pkey);
	free(k);
}

/* What `put` writes, appended. */
static int put_bio(const struct secret_key *k, int (*put)(BIO *bio, const EVP_PKEY *k), struct buf *b, struct err *e)
{
	BIO *bio = crypto.BIO_new(crypto.BIO_s_mem());
	char *text;
	bool good = bio && put(bio, k->pkey) == 1;
	if (good) {
		long n = crypto.BIO_ctrl(bio, BIO_CTRL_INFO, 0, &text);
		buf_put(b, text, (size_t)n);
	}
	crypto.BIO_free(bio);
	return good ? 0 : failed("write a key", e);
}

static int put_private(BIO *bio, const EVP_PKEY *k)
{
	return crypto.PEM_write_bio_PrivateKey(bio, k, NULL, NULL, 0, NULL, NULL);
}

static int put_public(BIO *bio, const EVP_PKEY *k)
{
	return crypto.PEM_write_bio_PUBKEY(bio, k);
}

/* scrypt with 16 MiB, which is what libcrypto takes without being told to. */
static X509_SIG *encrypt(const struct secret_key *k, struct str passphrase)
{
	static const unsigned char *const any_salt = NULL;
	PKCS8_PRIV_KEY_INFO *plain = crypto.EVP_PKEY2PKCS8(k->pkey);
	X509_ALGOR *how = crypto.PKCS5_pbe2_set_scrypt(crypto.EVP_aes_256_cbc(), any_salt, SALT, NULL, SCRYPT_N,
						       SCRYPT_R, SCRYPT_P);
	X509_SIG *ret = plain && how ? crypto.PKCS8_set0_pbe(passphrase.p, (int)passphrase.n, plain, how) : NULL;
	if (!ret)
		crypto.X509_ALGOR_free(how); /* else it belongs to ret */
	crypto.PKCS8_PRIV_KEY_INFO_free(plain);
	return ret;
}

static int put_encrypted(const struct secret_key *k, struct str passphrase, struct buf *b, struct err *e)
{
	BIO *bio = crypto.BIO_new(crypto.BIO_s_mem());
	X509_SIG *sealed = encrypt(k, passphrase);
	bool good = bio && sealed && crypto.PEM_write_bio_PKCS8(bio, sealed) == 1;
	if (good) {
		char *text;
		long n = crypto.BIO_ctrl(bio, BIO_CTRL_INFO, 0, &text);
		buf_put(b, text, (size_t)n);
	}
	crypto.X509_SIG_free(sealed);
	crypto.BIO_free(bio);
	return good ? 0 : failed("encrypt a key", e);
}

int secret_key_put_pem(const struct secret_key *k, struct str passphrase, struct buf *b, struct err *e)
{
	if (passphrase.n > PASSPHRASE_MAX)
		return err_new(e, ERR_LIMIT, "a passphrase longer than %d bytes", PASSPHRASE_MAX);
	return passphrase.n ? put_encrypted(k, passphrase, b, e) : put_bio(k, put_private, b, e);
}

int secret_key_put_public(const struct secret_key *k, struct buf *b, struct err *e)
{
	uint8_t raw[32];
	size_t n = sizeof(raw);
	if (!crypto.EVP_PKEY_is_a(k->pkey, "ED25519"))
		return put_bio(k, put_public, b, e);
	if (crypto.EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) != 1)
		return failed("tell a public key", e);
	buf_put_hex(b, raw, n);
	return 0;
}

static bool sign(EVP_MD_CTX *ctx, const struct secret_key *k, enum tuf_scheme scheme, struct str message, uint8_t *sig,
		 size_t *n)
{
	EVP_PKEY_CTX *how = NULL; /* belongs to ctx */
	const EVP_MD *md = scheme == SCHEME_ED25519 ? NULL : crypto.EVP_sha256();
	if (crypto.EVP_DigestSignInit(ctx, &how, md, NULL, k->pkey) != 1)
		return false;
	if (scheme == SCHEME_RSA_PSS && (crypto.EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) != 1 ||
					 crypto.EVP_PKEY_CTX_set_rsa_pss_saltlen(how, SHA256_BYTES) != 1))
		return false;
	return crypto.EVP_DigestSign(ctx, sig, n, (const unsigned char *)message.p, message.n) == 1;
}

int secret_key_sign(const struct secret_key *k, enum tuf_scheme scheme, struct str message, struct buf *b,
		    struct err *e)
{
	uint8_t sig[SIG_MAX];
	size_t n = sizeof(sig);
	EVP_MD_CTX *ctx = crypto.EVP_MD_CTX_new();
	if (!ctx)
		panic("out of memory");
	bool good = sign(ctx, k, scheme, message, sig, &n);
	crypto.EVP_MD_CTX_free(ctx);
	if (!good)
		return failed("sign with that key", e);
	buf_put_hex(b, sig, n);
	return 0;
}
