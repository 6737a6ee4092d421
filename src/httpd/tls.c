// SPDX-License-Identifier: Apache-2.0
/*
 * OpenSSL, opened when the first listener with TLS is made. Its bytes go through a BIO of our own: it gathers several records into one send, never
 * blocks a write (so that SSL_write never has to be repeated), and does not ask the kernel again for what it has said it has not.
 *
 * A certificate of a client whose chain has verified is remembered by the SHA-256 of its DER for REMEMBER_S, so that the next
 * handshakes of that client spare the chain; that the client holds the key is proven each time. Dates, and `allow`, are looked at each time.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>
#include <time.h>

#include "base/dl.h"
#include "httpd/server.h"

#define CRYPTO(X)                                                                                                      \
	X(, ASN1_STRING_get0_data)                                                                                     \
	X(, ASN1_STRING_length)                                                                                        \
	X(, ASN1_TIME_to_tm)                                                                                           \
	X(, BIO_clear_flags)                                                                                           \
	X(, BIO_free)                                                                                                  \
	X(, BIO_get_data)                                                                                              \
	X(, BIO_meth_new)                                                                                              \
	X(, BIO_meth_set_ctrl)                                                                                         \
	X(, BIO_meth_set_read_ex)                                                                                      \
	X(, BIO_meth_set_write_ex)                                                                                     \
	X(, BIO_new)                                                                                                   \
	X(, BIO_new_mem_buf)                                                                                           \
	X(, BIO_set_data)                                                                                              \
	X(, BIO_set_flags)                                                                                             \
	X(, BIO_set_init)                                                                                              \
	X(, BN_bn2hex)                                                                                                 \
	X(, BN_free)                                                                                                   \
	X(, CRYPTO_free)                                                                                               \
	X(, ASN1_INTEGER_to_BN)                                                                                        \
	X(, ERR_clear_error)                                                                                           \
	X(, ERR_peek_last_error)                                                                                       \
	X(, ERR_reason_error_string)                                                                                   \
	X(, EVP_PKEY_free)                                                                                             \
	X(, OPENSSL_sk_new_null)                                                                                       \
	X(, OPENSSL_sk_pop_free)                                                                                       \
	X(, OPENSSL_sk_push)                                                                                           \
	X(, PEM_read_bio_PrivateKey)                                                                                   \
	X(, PEM_read_bio_X509)                                                                                         \
	X(, PEM_read_bio_X509_CRL)                                                                                     \
	X(, X509_CRL_free)                                                                                             \
	X(, X509_NAME_dup)                                                                                             \
	X(, X509_NAME_free)                                                                                            \
	X(, X509_NAME_ENTRY_get_data)                                                                                  \
	X(, X509_NAME_get_entry)                                                                                       \
	X(, X509_NAME_get_index_by_NID)                                                                                \
	X(, X509_STORE_CTX_get0_cert)                                                                                  \
	X(, X509_STORE_CTX_get_error)                                                                                  \
	X(, X509_STORE_CTX_get_ex_data)                                                                                \
	X(, X509_STORE_CTX_set_error)                                                                                  \
	X(, X509_STORE_add_cert)                                                                                       \
	X(, X509_STORE_add_crl)                                                                                        \
	X(, X509_STORE_set_flags)                                                                                      \
	X(, X509_free)                                                                                                 \
	X(, X509_get0_notAfter)                                                                                        \
	X(, X509_get_issuer_name)                                                                                      \
	X(, X509_get_serialNumber)                                                                                     \
	X(, X509_get_subject_name)                                                                                     \
	X(, X509_verify_cert)                                                                                          \
	X(, X509_verify_cert_error_string)                                                                             \
	X(, i2d_X509)
#define SSLS(X)                                                                                                        \
	X(, SSL_CTX_check_private_key)                                                                                 \
	X(, SSL_CTX_ctrl)                                                                                              \
	X(, SSL_CTX_free)                                                                                              \
	X(, SSL_CTX_get_cert_store)                                                                                    \
	X(, SSL_CTX_new)                                                                                               \
	X(, SSL_CTX_set_alpn_select_cb)                                                                                \
	X(, SSL_CTX_set_cert_verify_callback)                                                                          \
	X(, SSL_CTX_set_cipher_list)                                                                                   \
	X(, SSL_CTX_set_ciphersuites)                                                                                  \
	X(, SSL_CTX_set_client_CA_list)                                                                                \
	X(, SSL_CTX_set_default_read_buffer_len)                                                                       \
	X(, SSL_CTX_set_num_tickets)                                                                                   \
	X(, SSL_CTX_set_options)                                                                                       \
	X(, SSL_CTX_set_session_id_context)                                                                            \
	X(, SSL_CTX_set_timeout)                                                                                       \
	X(, SSL_CTX_set_verify)                                                                                        \
	X(, SSL_CTX_use_PrivateKey)                                                                                    \
	X(, SSL_CTX_use_certificate)                                                                                   \
	X(, SSL_do_handshake)                                                                                          \
	X(, SSL_free)                                                                                                  \
	X(, SSL_get0_alpn_selected)                                                                                    \
	X(, SSL_get0_peer_certificate)                                                                                 \
	X(, SSL_get_error)                                                                                             \
	X(, SSL_get_ex_data_X509_STORE_CTX_idx)                                                                        \
	X(, SSL_get_rbio)                                                                                              \
	X(, SSL_new)                                                                                                   \
	X(, SSL_read_ex)                                                                                               \
	X(, SSL_session_reused)                                                                                        \
	X(, SSL_set_accept_state)                                                                                      \
	X(, SSL_set_bio)                                                                                               \
	X(, SSL_shutdown)                                                                                              \
	X(, SSL_write_ex)                                                                                              \
	X(, TLS_server_method)
#define SONAME_OF(name, version) "lib" name ".so." #version
#define SONAME(name, version) SONAME_OF(name, version)

static int prepare(struct err *e);
DL_LIBRARY(crypto, SONAME("crypto", OPENSSL_SHLIB_VERSION), CRYPTO, prepare);
DL_LIBRARY(ssl, SONAME("ssl", OPENSSL_SHLIB_VERSION), SSLS, NULL);

enum { PEM_MAX = 1 << 20, REMEMBER_S = 600, REMEMBERED = 4096, TICKETS_S = 24 * 3600 };

struct remembered {
	uint8_t sha256[SHA256_SIZE];
	int64_t until_s;
};

struct tls_ctx {
	atomic_uint holders;
	SSL_CTX *ctx;
	enum httpd_client_cert client;
	bool (*allow)(const struct httpd_client *c, void *ctx);
	void *allow_ctx;
	bool http2;
	pthread_mutex_t lock;
	struct remembered *known; /* by the first bytes of the digest; the last one wins */
};

/* -- the socket ------------------------------------------------------------------------------------------------------------ */

static BIO_METHOD *socket_method;

static int socket_write(BIO *b, const char *p, size_t n, size_t *ret)
{
	conn_tx(crypto.BIO_get_data(b), p, n);
	*ret = n;
	return 1;
}

static int socket_read(BIO *b, char *p, size_t n, size_t *ret)
{
	struct conn *c = crypto.BIO_get_data(b);
	crypto.BIO_clear_flags(b, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
	if (c->drained) {
		crypto.BIO_set_flags(b, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
		return 0;
	}
	ssize_t got;
	do
		got = recv(c->fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	if (got > 0) {
		c->drained = (size_t)got < n && !c->hung_up;
		*ret = (size_t)got;
		return 1;
	}
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		c->drained = true;
		crypto.BIO_set_flags(b, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
	}
	return 0;
}

static long socket_ctrl(BIO *b, int cmd, long number, void *p)
{
	(void)b, (void)number, (void)p;
	return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP;
}

static int prepare(struct err *e)
{
	socket_method = crypto.BIO_meth_new(BIO_TYPE_DESCRIPTOR | BIO_TYPE_SOURCE_SINK | 0x7e, "connection");
	if (!socket_method || !crypto.BIO_meth_set_write_ex(socket_method, socket_write) ||
	    !crypto.BIO_meth_set_read_ex(socket_method, socket_read) ||
	    !crypto.BIO_meth_set_ctrl(socket_method, socket_ctrl))
		return err_new(e, ERR_FAILED, "libcrypto cannot be prepared");
	return 0;
}

/* -- a client's certificate -------------------------------------------------------------------------------------------------- */

void peer_cert_drop(struct peer_cert *p)
{
	if (p && atomic_fetch_sub(&p->holders, 1) == 1)
		free(p);
}

static void name_cn(X509_NAME *name, char *out, size_t size)
{
	out[0] = '\0';
	int at = name ? crypto.X509_NAME_get_index_by_NID(name, NID_commonName, -1) : -1;
	if (at < 0)
		return;
	ASN1_STRING *s = crypto.X509_NAME_ENTRY_get_data(crypto.X509_NAME_get_entry(name, at));
	int n = crypto.ASN1_STRING_length(s);
	const unsigned char *p = crypto.ASN1_STRING_get0_data(s);
	if (n <= 0 || (size_t)n >= size || memchr(p, 0, (size_t)n))
		return;
	memcpy(out, p, (size_t)n);
	out[n] = '\0';
}

static bool cert_sha256(X509 *x, uint8_t out[SHA256_SIZE])
{
	unsigned char *der = NULL;
	int n = crypto.i2d_X509(x, &der);
	if (n > 0)
		sha256(der, (size_t)n, out);
	crypto.CRYPTO_free(der, __FILE__, __LINE__);
	return n > 0;
}

static void cert_serial(X509 *x, char out[48])
{
	BIGNUM *n = crypto.ASN1_INTEGER_to_BN(crypto.X509_get_serialNumber(x), NULL);
	char *hex = n ? crypto.BN_bn2hex(n) : NULL, *p = hex;
	size_t i = 0;
	while (p && *p == '0' && p[1])
		p++;
	for (; p && *p && i < 47; p++, i++)
		out[i] = (char)(*p >= 'A' && *p <= 'F' ? *p | 0x20 : *p);
	out[i] = '\0';
	crypto.CRYPTO_free(hex, __FILE__, __LINE__);
	crypto.BN_free(n);
}

static struct peer_cert *cert_read(X509 *x)
{
	struct peer_cert *p = xcalloc(1, sizeof(*p));
	struct tm tm;
	atomic_init(&p->holders, 1);
	name_cn(crypto.X509_get_subject_name(x), p->cn, sizeof(p->cn));
	cert_serial(x, p->serial);
	if (!cert_sha256(x, p->client.sha256) || crypto.ASN1_TIME_to_tm(crypto.X509_get0_notAfter(x), &tm) != 1) {
		free(p);
		return NULL;
	}
	p->client.not_after_ms = (int64_t)timegm(&tm) * 1000;
	p->client.cn = p->cn;
	p->client.serial = p->serial;
	return p;
}

static struct remembered *slot_of(struct tls_ctx *t, const uint8_t digest[SHA256_SIZE])
{
	return &t->known[(digest[0] << 8 | digest[1]) % REMEMBERED];
}

static bool is_known(struct tls_ctx *t, const struct peer_cert *p, int64_t now_s)
{
	pthread_mutex_lock(&t->lock);
	const struct remembered *k = slot_of(t, p->client.sha256);
	bool known = k->until_s > now_s && memcmp(k->sha256, p->client.sha256, SHA256_SIZE) == 0;
	pthread_mutex_unlock(&t->lock);
	return known;
}

static void remember(struct tls_ctx *t, const struct peer_cert *p, int64_t now_s)
{
	int64_t until = now_s + REMEMBER_S, end = p->client.not_after_ms / 1000;
	pthread_mutex_lock(&t->lock);
	struct remembered *k = slot_of(t, p->client.sha256);
	memcpy(k->sha256, p->client.sha256, SHA256_SIZE);
	k->until_s = until < end ? until : end;
	pthread_mutex_unlock(&t->lock);
}

static void trouble(struct conn *c, X509 *x, const char *why)
{
	char subject[256] = "", issuer[256] = "", text[900];
	if (x) {
		name_cn(crypto.X509_get_subject_name(x), subject, sizeof(subject));
		name_cn(crypto.X509_get_issuer_name(x), issuer, sizeof(issuer));
		snprintf(text, sizeof(text), "certificate of '%s', issued by '%s', refused: %s", subject, issuer, why);
	} else {
		snprintf(text, sizeof(text), "TLS handshake failed: %s", why);
	}
	server_trouble(c->w->h, &c->peer, text);
}

static bool is_allowed(struct conn *c, struct tls_ctx *t, const struct peer_cert *p, X509 *x)
{
	if (!t->allow || t->allow(&p->client, t->allow_ctx))
		return true;
	trouble(c, x, "not allowed here");
	return false;
}

/* In place of the library's own verification, which it calls where the certificate is not known. */
static int verify(X509_STORE_CTX *store, void *arg)
{
	struct tls_ctx *t = arg;
	SSL *s = crypto.X509_STORE_CTX_get_ex_data(store, ssl.SSL_get_ex_data_X509_STORE_CTX_idx());
	struct conn *c = crypto.BIO_get_data(ssl.SSL_get_rbio(s));
	X509 *x = crypto.X509_STORE_CTX_get0_cert(store);
	int64_t now_s = time(NULL);
	struct peer_cert *p = cert_read(x);
	if (!p) {
		crypto.X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
		return 0;
	}
	bool good = is_known(t, p, now_s);
	if (good) {
		crypto.X509_STORE_CTX_set_error(store, X509_V_OK);
	} else if (crypto.X509_verify_cert(store) == 1) {
		good = true;
		remember(t, p, now_s);
	} else {
		trouble(c, x, crypto.X509_verify_cert_error_string(crypto.X509_STORE_CTX_get_error(store)));
	}
	if (good && !is_allowed(c, t, p, x)) {
		crypto.X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REVOKED);
		good = false;
	}
	if (good) {
		peer_cert_drop(c->cert);
		c->cert = p;
	} else {
		peer_cert_drop(p);
	}
	return good;
}

/* -- contexts ----------------------------------------------------------------------------------------------------------------------- */

static int choose_protocol(SSL *s, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
			   unsigned in_n, void *arg)
{
	static const unsigned char known[] = "\x02h2\x08http/1.1";
	const struct tls_ctx *t = arg;
	(void)s;
	for (size_t k = t->http2 ? 0 : 3; k < sizeof(known) - 1; k += known[k] + 1U)
		for (unsigned i = 0; i < in_n && in[i] && i + in[i] < in_n; i += in[i] + 1U)
			if (in[i] == known[k] && memcmp(in + i + 1, known + k + 1, known[k]) == 0) {
				*out = known + k + 1;
				*out_n = known[k];
				return SSL_TLSEXT_ERR_OK;
			}
	return SSL_TLSEXT_ERR_NOACK;
}

static int fail(struct err *e, const char *what)
{
	unsigned long code = crypto.ERR_peek_last_error();
	const char *why = code ? crypto.ERR_reason_error_string(code) : NULL;
	crypto.ERR_clear_error();
	return err_new(e, ERR_INPUT, "%s: %s", what, why ? why : "not usable");
}

static BIO *open_pem(struct str pem)
{
	return pem.n <= PEM_MAX ? crypto.BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
}

/* Whether a text was read to its end. Where it breaks off in the middle of something, what stands there would be left out unseen: an authority, or
 * a list of revoked certificates. */
static bool is_read(void)
{
	return ERR_GET_REASON(crypto.ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

static int use_own(SSL_CTX *ctx, const struct httpd_tls *t, struct err *e)
{
	BIO *b = open_pem(t->cert_pem);
	X509 *x = b ? crypto.PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	bool good = x && ssl.SSL_CTX_use_certificate(ctx, x) == 1;
	crypto.X509_free(x);
	while (good && (x = crypto.PEM_read_bio_X509(b, NULL, NULL, NULL)))
		if (ssl.SSL_CTX_ctrl(ctx, SSL_CTRL_CHAIN_CERT, 0, x) != 1) { /* takes it */
			crypto.X509_free(x);
			good = false;
		}
	crypto.BIO_free(b);
	if (!good || !is_read())
		return fail(e, "the server's certificate");
	crypto.ERR_clear_error();
	b = open_pem(t->key_pem);
	EVP_PKEY *key = b ? crypto.PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)(uintptr_t) "") : NULL;
	good = key && ssl.SSL_CTX_use_PrivateKey(ctx, key) == 1 && ssl.SSL_CTX_check_private_key(ctx) == 1;
	crypto.EVP_PKEY_free(key);
	crypto.BIO_free(b);
	return good ? 0 : fail(e, "the server's private key");
}

static int use_crls(X509_STORE *store, struct str pem, struct err *e)
{
	BIO *b = open_pem(pem);
	X509_CRL *crl;
	bool any = false, good = true;
	while (b && good && (crl = crypto.PEM_read_bio_X509_CRL(b, NULL, NULL, NULL))) {
		good = any = crypto.X509_STORE_add_crl(store, crl) == 1;
		crypto.X509_CRL_free(crl);
	}
	crypto.BIO_free(b);
	if (!any || !good || !is_read())
		return fail(e, "the revocation list");
	crypto.ERR_clear_error();
	crypto.X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
	return 0;
}

static void free_name(void *p)
{
	crypto.X509_NAME_free(p);
}

static int use_authorities(SSL_CTX *ctx, const struct httpd_tls *t, struct err *e)
{
	X509_STORE *store = ssl.SSL_CTX_get_cert_store(ctx);
	BIO *b = open_pem(t->ca_pem);
	OPENSSL_STACK *names = crypto.OPENSSL_sk_new_null();
	X509 *x;
	bool any = false, good = true;
	while (b && names && good && (x = crypto.PEM_read_bio_X509(b, NULL, NULL, NULL))) {
		X509_NAME *name = crypto.X509_NAME_dup(crypto.X509_get_subject_name(x));
		good = any = crypto.X509_STORE_add_cert(store, x) == 1 && name &&
			     crypto.OPENSSL_sk_push(names, name) > 0;
		if (!good)
			crypto.X509_NAME_free(name);
		crypto.X509_free(x);
	}
	crypto.BIO_free(b);
	if (!any || !is_read()) {
		crypto.OPENSSL_sk_pop_free(names, free_name);
		return fail(e, "the authority of client certificates");
	}
	crypto.ERR_clear_error();
	ssl.SSL_CTX_set_client_CA_list(ctx, (STACK_OF(X509_NAME) *)names);
	return t->crl_pem.n ? use_crls(store, t->crl_pem, e) : 0;
}

static bool set_strength(SSL_CTX *ctx, const struct httpd_tls *t)
{
	ssl.SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
					     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF |
					     (t->no_resumption ? SSL_OP_NO_TICKET : 0));
	/* the chain is what the PEM says: else it would be built, and verified, in each handshake, of the authorities of clients */
	ssl.SSL_CTX_ctrl(ctx, SSL_CTRL_MODE,
			 SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN, NULL);
	ssl.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF,
			 NULL); /* tickets: nothing is kept here */
	ssl.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_READ_AHEAD, 1, NULL);
	ssl.SSL_CTX_set_num_tickets(ctx, t->no_resumption ? 0 : 1);
	ssl.SSL_CTX_set_timeout(ctx, TICKETS_S);
	return ssl.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL) == 1 &&
	       ssl.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_GROUPS_LIST, 0, (void *)(uintptr_t) "X25519:P-256:P-384") == 1 &&
	       ssl.SSL_CTX_set_ciphersuites(
		       ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") == 1 &&
	       ssl.SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
	       ssl.SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"httpd", 5) == 1;
}

int tls_ctx_new(const struct httpd_tls *o, struct tls_ctx **ret, struct err *e)
{
	if (dl_load(&crypto_library, e) < 0 || dl_load(&ssl_library, e) < 0)
		return err_ctx(e, "TLS");
	struct tls_ctx *t = xcalloc(1, sizeof(*t));
	atomic_init(&t->holders, 1);
	pthread_mutex_init(&t->lock, NULL);
	t->client = o->client;
	t->allow = o->allow;
	t->allow_ctx = o->allow_ctx;
	t->http2 = !o->no_http2 && h2_is_there();
	crypto.ERR_clear_error();
	t->ctx = ssl.SSL_CTX_new(ssl.TLS_server_method());
	int result = !t->ctx || !set_strength(t->ctx, o) ? fail(e, "TLS") : use_own(t->ctx, o, e);
	if (result == 0 && o->client != HTTPD_CLIENT_NONE) {
		t->known = xcalloc(REMEMBERED, sizeof(*t->known));
		result = use_authorities(t->ctx, o, e);
		ssl.SSL_CTX_set_verify(
			t->ctx,
			SSL_VERIFY_PEER | (o->client == HTTPD_CLIENT_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
			NULL);
		ssl.SSL_CTX_set_cert_verify_callback(t->ctx, verify, t);
	}
	if (result < 0) {
		tls_ctx_drop(t);
		return -1;
	}
	ssl.SSL_CTX_set_alpn_select_cb(t->ctx, choose_protocol, t);
	*ret = t;
	return 0;
}

struct tls_ctx *tls_ctx_hold(struct tls_ctx *t)
{
	if (t)
		atomic_fetch_add(&t->holders, 1);
	return t;
}

void tls_ctx_drop(struct tls_ctx *t)
{
	if (!t || atomic_fetch_sub(&t->holders, 1) != 1)
		return;
	if (t->ctx)
		ssl.SSL_CTX_free(t->ctx);
	pthread_mutex_destroy(&t->lock);
	free(t->known);
	free(t);
}

/* -- sessions --------------------------------------------------------------------------------------------------------------------------- */

SSL *tls_conn_open(struct conn *c, struct tls_ctx *t)
{
	SSL *s = ssl.SSL_new(t->ctx);
	BIO *b = s ? crypto.BIO_new(socket_method) : NULL;
	if (!b) {
		ssl.SSL_free(s);
		return NULL;
	}
	crypto.BIO_set_data(b, c);
	crypto.BIO_set_init(b, 1);
	ssl.SSL_set_bio(s, b, b);
	ssl.SSL_set_accept_state(s);
	return s;
}

void tls_conn_close(SSL *s, bool in_order)
{
	if (in_order) {
		crypto.ERR_clear_error();
		ssl.SSL_shutdown(s);
	} else {
		ssl.SSL_free(s);
	}
}

static enum tls_result result_of(struct conn *c, int rc)
{
	switch (ssl.SSL_get_error(c->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return TLS_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_EOF;
	default:
		return TLS_FAILED;
	}
}

/* A resumed session comes without `verify`: its certificate stands in the ticket. */
static bool resumed_is_good(struct conn *c)
{
	X509 *x = ssl.SSL_get0_peer_certificate(c->ssl);
	if (!x)
		return c->tls->client != HTTPD_CLIENT_REQUIRED;
	c->cert = cert_read(x);
	if (!c->cert)
		return false;
	if (c->cert->client.not_after_ms < (int64_t)time(NULL) * 1000) {
		trouble(c, x, "expired");
		return false;
	}
	return is_allowed(c, c->tls, c->cert, x);
}

enum tls_result tls_conn_handshake(struct conn *c)
{
	crypto.ERR_clear_error();
	int rc = ssl.SSL_do_handshake(c->ssl);
	if (rc != 1) {
		enum tls_result r = result_of(c, rc);
		if (r == TLS_AGAIN)
			return r;
		unsigned long code = crypto.ERR_peek_last_error();
		const char *why = code ? crypto.ERR_reason_error_string(code) : NULL;
		if (why &&
		    ERR_GET_REASON(code) != SSL_R_CERTIFICATE_VERIFY_FAILED) /* that one has been told, by name */
			trouble(c, NULL, why);
		return TLS_FAILED;
	}
	bool resumed = ssl.SSL_session_reused(c->ssl);
	if (resumed && c->tls->client != HTTPD_CLIENT_NONE && !resumed_is_good(c))
		return TLS_FAILED;
	COUNT(c->w, handshakes, 1);
	if (resumed)
		COUNT(c->w, resumed, 1);
	const unsigned char *p;
	unsigned n;
	ssl.SSL_get0_alpn_selected(c->ssl, &p, &n);
	c->is_h2 = n == 2 && memcmp(p, "h2", 2) == 0;
	return TLS_DONE;
}

enum tls_result tls_conn_read(struct conn *c, char *p, size_t n, size_t *ret_n)
{
	crypto.ERR_clear_error();
	int rc = ssl.SSL_read_ex(c->ssl, p, n, ret_n);
	return rc == 1 ? TLS_DONE : result_of(c, rc);
}

enum tls_result tls_conn_write(struct conn *c, const char *p, size_t n)
{
	size_t done;
	crypto.ERR_clear_error();
	int rc = ssl.SSL_write_ex(c->ssl, p, n, &done);
	return rc == 1 ? TLS_DONE : result_of(c, rc);
}
