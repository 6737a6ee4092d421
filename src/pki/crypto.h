// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * crypto (private to pki): the functions of libcrypto in use, what owns its objects, and what its errors are called.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/dl.h"
#include "pki/pki.h"

#define CRYPTO_FUNCTIONS(X)                                                                                            \
	X(, ASN1_INTEGER_free)                                                                                         \
	X(, ASN1_INTEGER_get_uint64)                                                                                   \
	X(, ASN1_INTEGER_new)                                                                                          \
	X(, ASN1_INTEGER_set_uint64)                                                                                   \
	X(, ASN1_STRING_get0_data)                                                                                     \
	X(, ASN1_STRING_length)                                                                                        \
	X(, ASN1_STRING_set)                                                                                           \
	X(, ASN1_STRING_to_UTF8)                                                                                       \
	X(, ASN1_STRING_type)                                                                                          \
	X(, ASN1_TIME_free)                                                                                            \
	X(, ASN1_TIME_new)                                                                                             \
	X(, ASN1_TIME_set_string_X509)                                                                                 \
	X(, ASN1_TIME_to_tm)                                                                                           \
	X(, BIO_ctrl)                                                                                                  \
	X(, BIO_free)                                                                                                  \
	X(, BIO_new)                                                                                                   \
	X(, BIO_new_mem_buf)                                                                                           \
	X(, BIO_s_mem)                                                                                                 \
	X(, CRYPTO_free)                                                                                               \
	X(, ERR_clear_error)                                                                                           \
	X(, ERR_peek_last_error)                                                                                       \
	X(, ERR_reason_error_string)                                                                                   \
	X(, EVP_DigestSign)                                                                                            \
	X(, EVP_DigestSignInit)                                                                                        \
	X(, EVP_DigestVerify)                                                                                          \
	X(, EVP_DigestVerifyInit)                                                                                      \
	X(, EVP_MD_CTX_free)                                                                                           \
	X(, EVP_MD_CTX_new)                                                                                            \
	X(, EVP_PKEY_Q_keygen)                                                                                         \
	X(, EVP_PKEY_eq)                                                                                               \
	X(, EVP_PKEY_free)                                                                                             \
	X(, EVP_PKEY_get_base_id)                                                                                      \
	X(, EVP_PKEY_get_bits)                                                                                         \
	X(, EVP_PKEY_get_group_name)                                                                                   \
	X(, EVP_PKEY_get_int_param)                                                                                    \
	X(, EVP_sha256)                                                                                                \
	X(, GENERAL_NAMES_free)                                                                                        \
	X(, OPENSSL_sk_num)                                                                                            \
	X(, OPENSSL_sk_value)                                                                                          \
	X(, PEM_read_bio_PrivateKey)                                                                                   \
	X(, PEM_read_bio_X509)                                                                                         \
	X(, PEM_read_bio_X509_CRL)                                                                                     \
	X(, PEM_read_bio_X509_REQ)                                                                                     \
	X(, PEM_write_bio_PKCS8PrivateKey)                                                                             \
	X(, PEM_write_bio_X509)                                                                                        \
	X(, PEM_write_bio_X509_CRL)                                                                                    \
	X(, PEM_write_bio_X509_REQ)                                                                                    \
	X(, X509V3_EXT_conf_nid)                                                                                       \
	X(, X509V3_set_ctx)                                                                                            \
	X(, X509_CRL_add0_revoked)                                                                                     \
	X(, X509_CRL_add1_ext_i2d)                                                                                     \
	X(, X509_CRL_add_ext)                                                                                          \
	X(, X509_CRL_free)                                                                                             \
	X(, X509_CRL_get0_lastUpdate)                                                                                  \
	X(, X509_CRL_get0_nextUpdate)                                                                                  \
	X(, X509_CRL_get_REVOKED)                                                                                      \
	X(, X509_CRL_get_ext_d2i)                                                                                      \
	X(, X509_CRL_new)                                                                                              \
	X(, X509_CRL_set1_lastUpdate)                                                                                  \
	X(, X509_CRL_set1_nextUpdate)                                                                                  \
	X(, X509_CRL_set_issuer_name)                                                                                  \
	X(, X509_CRL_set_version)                                                                                      \
	X(, X509_CRL_sign)                                                                                             \
	X(, X509_CRL_sort)                                                                                             \
	X(, X509_CRL_verify)                                                                                           \
	X(, X509_EXTENSION_free)                                                                                       \
	X(, X509_NAME_ENTRY_get_data)                                                                                  \
	X(, X509_NAME_add_entry_by_txt)                                                                                \
	X(, X509_NAME_get_entry)                                                                                       \
	X(, X509_NAME_get_index_by_NID)                                                                                \
	X(, X509_NAME_print_ex)                                                                                        \
	X(, X509_REQ_free)                                                                                             \
	X(, X509_REQ_get0_pubkey)                                                                                      \
	X(, X509_REQ_get_signature_nid)                                                                                \
	X(, X509_REQ_get_subject_name)                                                                                 \
	X(, X509_REQ_new)                                                                                              \
	X(, X509_REQ_set_pubkey)                                                                                       \
	X(, X509_REQ_set_version)                                                                                      \
	X(, X509_REQ_sign)                                                                                             \
	X(, X509_REQ_verify)                                                                                           \
	X(, X509_REVOKED_free)                                                                                         \
	X(, X509_REVOKED_get0_revocationDate)                                                                          \
	X(, X509_REVOKED_get0_serialNumber)                                                                            \
	X(, X509_REVOKED_new)                                                                                          \
	X(, X509_REVOKED_set_revocationDate)                                                                           \
	X(, X509_REVOKED_set_serialNumber)                                                                             \
	X(, X509_STORE_CTX_free)                                                                                       \
	X(, X509_STORE_CTX_get0_param)                                                                                 \
	X(, X509_STORE_CTX_get_current_cert)                                                                           \
	X(, X509_STORE_CTX_get_error)                                                                                  \
	X(, X509_STORE_CTX_init)                                                                                       \
	X(, X509_STORE_CTX_new)                                                                                        \
	X(, X509_STORE_CTX_set_purpose)                                                                                \
	X(, X509_STORE_add_cert)                                                                                       \
	X(, X509_STORE_add_crl)                                                                                        \
	X(, X509_STORE_free)                                                                                           \
	X(, X509_STORE_new)                                                                                            \
	X(, X509_VERIFY_PARAM_set1_host)                                                                               \
	X(, X509_VERIFY_PARAM_set1_ip_asc)                                                                             \
	X(, X509_VERIFY_PARAM_set_auth_level)                                                                          \
	X(, X509_VERIFY_PARAM_set_flags)                                                                               \
	X(, X509_VERIFY_PARAM_set_time)                                                                                \
	X(, X509_add_ext)                                                                                              \
	X(, X509_check_ca)                                                                                             \
	X(, X509_free)                                                                                                 \
	X(, X509_get0_notAfter)                                                                                        \
	X(, X509_get0_notBefore)                                                                                       \
	X(, X509_get0_pubkey)                                                                                          \
	X(, X509_get_ext_d2i)                                                                                          \
	X(, X509_get_issuer_name)                                                                                      \
	X(, X509_get_serialNumber)                                                                                     \
	X(, X509_get_subject_name)                                                                                     \
	X(, X509_getm_notAfter)                                                                                        \
	X(, X509_getm_notBefore)                                                                                       \
	X(, X509_new)                                                                                                  \
	X(, X509_set_issuer_name)                                                                                      \
	X(, X509_set_pubkey)                                                                                           \
	X(, X509_set_subject_name)                                                                                     \
	X(, X509_set_version)                                                                                          \
	X(, X509_sign)                                                                                                 \
	X(, X509_verify)                                                                                               \
	X(, X509_verify_cert)                                                                                          \
	X(, X509_verify_cert_error_string)                                                                             \
	X(, d2i_X509)                                                                                                  \
	X(, i2d_PUBKEY)                                                                                                \
	X(, i2d_X509)

struct crypto_api {
	CRYPTO_FUNCTIONS(DL_POINTER)
};
extern struct crypto_api crypto;
int crypto_load(struct err *e);

struct pki_key {
	EVP_PKEY *p;
};
struct pki_cert {
	X509 *p;
};

struct pki_request {
	X509_REQ *r;
	struct arena arena;
	struct str name;
	uint8_t digest[SHA256_SIZE];
};

static inline void free_key(EVP_PKEY *k)
{
	crypto.EVP_PKEY_free(k);
}
static inline void free_x509(X509 *x)
{
	crypto.X509_free(x);
}
static inline void free_bio(BIO *b)
{
	crypto.BIO_free(b);
}
DEFINE_AUTO(EVP_PKEY *, key, free_key);
DEFINE_AUTO(X509 *, x509, free_x509);
DEFINE_AUTO(BIO *, bio, free_bio);

/* "what: libcrypto's reason"; its queue of errors is empty afterwards. */
int crypto_failed(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* For reading; NULL where the text is longer than max. */
BIO *bio_of(struct str pem, size_t max);
BIO *bio_new(void);
struct str bio_text(BIO *b); /* as long as b */
/* A key with a pass phrase is none of ours: nobody is asked for it. */
int no_pass_phrase(char *p, int n, int writing, void *ctx);
struct pki_cert *cert_of(X509 *x); /* takes x */

/* ERR_INPUT where keys like this one are not taken. Before anything is computed with it. */
int key_check(EVP_PKEY *k, struct err *e);
/* The digest to sign with: none for Ed25519, which has its own. */
const EVP_MD *key_md(EVP_PKEY *k);
void key_digest(EVP_PKEY *k, uint8_t ret[SHA256_SIZE]);
bool signature_is_taken(int nid);
/* The common name; empty where there is none, or more than one. */
struct str name_cn(struct arena *a, const X509_NAME *n);
struct str serial_text(struct arena *a, const ASN1_INTEGER *serial);
int time_ms(const ASN1_TIME *t, int64_t *ret);
/* "20261121044144Z" */
enum { TIME_TEXT_SIZE = 16 };
void time_text(int64_t ms, char out[TIME_TEXT_SIZE]);
