// SPDX-License-Identifier: Apache-2.0
/*
 * OpenSSL behind tls.h. It reads and writes the socket through a BIO of our own: its own one writes with write(2), which ends the process
 * (SIGPIPE) where the other side is gone, and forgets the errno.
 */
#include "pair/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/dl.h"

#define CRYPTO(X)                                                                                                      \
	X(, ASN1_INTEGER_set_uint64)                                                                                   \
	X(, ASN1_TIME_set_string)                                                                                      \
	X(, BIO_clear_flags)                                                                                           \
	X(, BIO_ctrl)                                                                                                  \
	X(, BIO_free)                                                                                                  \
	X(, BIO_get_data)                                                                                              \
	X(, BIO_meth_new)                                                                                              \
	X(, BIO_meth_set_ctrl)                                                                                         \
	X(, BIO_meth_set_read_ex)                                                                                      \
	X(, BIO_meth_set_write_ex)                                                                                     \
	X(, BIO_new)                                                                                                   \
	X(, BIO_new_mem_buf)                                                                                           \
	X(, BIO_s_mem)                                                                                                 \
	X(, BIO_set_data)                                                                                              \
	X(, BIO_set_flags)                                                                                             \
	X(, BIO_set_init)                                                                                              \
	X(, CRYPTO_free)                                                                                               \
	X(, ERR_clear_error)                                                                                           \
	X(, ERR_peek_last_error)                                                                                       \
	X(, ERR_reason_error_string)                                                                                   \
	X(, EVP_PKEY_Q_keygen)                                                                                         \
	X(, EVP_PKEY_free)                                                                                             \
	X(, PEM_read_bio_PrivateKey)                                                                                   \
	X(, PEM_read_bio_X509)                                                                                         \
	X(, PEM_write_bio_PrivateKey)                                                                                  \
	X(, PEM_write_bio_X509)                                                                                        \
	X(, X509_NAME_add_entry_by_txt)                                                                                \
	X(, X509_STORE_CTX_get0_cert)                                                                                  \
	X(, X509_STORE_CTX_set_error)                                                                                  \
	X(, X509_check_private_key)                                                                                    \
	X(, X509_free)                                                                                                 \
	X(, X509_get_serialNumber)                                                                                     \
	X(, X509_get_subject_name)                                                                                     \
	X(, X509_getm_notAfter)                                                                                        \
	X(, X509_getm_notBefore)                                                                                       \
	X(, X509_new)                                                                                                  \
	X(, X509_set_issuer_name)                                                                                      \
	X(, X509_set_pubkey)                                                                                           \
	X(, X509_set_version)                                                                                          \
	X(, X509_sign)                                                                                                 \
	X(, i2d_X509)
#define SSLS(X)                                                                                                        \
	X(, SSL_CTX_ctrl)                                                                                              \
	X(, SSL_CTX_free)                                                                                              \
	X(, SSL_CTX_new)                                                                                               \
	X(, SSL_CTX_set_cert_verify_callback)                                                                          \
	X(, SSL_CTX_set_ciphersuites)                                                                                  \
	X(, SSL_CTX_set_num_tickets)                                                                                   \
	X(, SSL_CTX_set_options)                                                                                       \
	X(, SSL_CTX_set_verify)                                                                                        \
	X(, SSL_CTX_use_PrivateKey)                                                                                    \
	X(, SSL_CTX_use_certificate)                                                                                   \
	X(, SSL_do_handshake)                                                                                          \
	X(, SSL_free)                                                                                                  \
	X(, SSL_get0_peer_certificate)                                                                                 \
	X(, SSL_get_error)                                                                                             \
	X(, SSL_new)                                                                                                   \
	X(, SSL_read_ex)                                                                                               \
	X(, SSL_set_accept_state)                                                                                      \
	X(, SSL_set_bio)                                                                                               \
	X(, SSL_set_connect_state)                                                                                     \
	X(, SSL_shutdown)                                                                                              \
	X(, SSL_write_ex)                                                                                              \
	X(, TLS_method)
#define SONAME_OF(name, version) "lib" name ".so." #version
#define SONAME(name, version) SONAME_OF(name, version)

static int prepare(struct err *e);
DL_LIBRARY(crypto, SONAME("crypto", OPENSSL_SHLIB_VERSION), CRYPTO, prepare);
DL_LIBRARY(ssl, SONAME("ssl", OPENSSL_SHLIB_VERSION), SSLS, NULL);

enum { PEM_MAX = 64 << 10, CERTIFICATES_MAX = 16 << 10, ALERT_BASE = SSL_AD_REASON_OFFSET, LAST_WORD_MS = 500 };

struct tls {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	const uint8_t *pin;
	bool any, pinned, eof, ended, broken;
	int io_errno;
	short wants;
	uint8_t peer[SHA256_SIZE], want[SHA256_SIZE];
	bool refused; /* by our own look at the certificate */
};

/* Runs in dl_load; the functions are there already. */
static BIO_METHOD *socket_method;
static int socket_write(BIO *b, const char *p, size_t n, size_t *ret);
static int socket_read(BIO *b, char *p, size_t n, size_t *ret);
static long socket_ctrl(BIO *b, int cmd, long number, void *p);

static int prepare(struct err *e)
{
	socket_method = crypto.BIO_meth_new(BIO_TYPE_DESCRIPTOR | BIO_TYPE_SOURCE_SINK | 0x7f, "socket");
	if (!socket_method || !crypto.BIO_meth_set_write_ex(socket_method, socket_write) ||
	    !crypto.BIO_meth_set_read_ex(socket_method, socket_read) ||
	    !crypto.BIO_meth_set_ctrl(socket_method, socket_ctrl))
		return err_new(e, ERR_FAILED, "libcrypto cannot be prepared");
	return 0;
}

static int load(struct err *e)
{
	return dl_load(&crypto_library, e) < 0 || dl_load(&ssl_library, e) < 0 ? -1 : 0;
}

/* -- the socket ------------------------------------------------------------------------------------------------------- */

static int socket_done(BIO *b, struct tls *t, ssize_t done, int again, size_t *ret)
{
	if (done > 0) {
		*ret = (size_t)done;
		return 1;
	}
	if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		crypto.BIO_set_flags(b, again | BIO_FLAGS_SHOULD_RETRY);
	else if (done < 0)
		t->io_errno = errno;
	else
		t->eof = true;
	return 0;
}

static int socket_write(BIO *b, const char *p, size_t n, size_t *ret)
{
	struct tls *t = crypto.BIO_get_data(b);
	crypto.BIO_clear_flags(b, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
	return socket_done(b, t, send(t->fd, p, n, MSG_NOSIGNAL), BIO_FLAGS_WRITE, ret);
}

static int socket_read(BIO *b, char *p, size_t n, size_t *ret)
{
	struct tls *t = crypto.BIO_get_data(b);
	crypto.BIO_clear_flags(b, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
	return socket_done(b, t, recv(t->fd, p, n, 0), BIO_FLAGS_READ, ret);
}

static long socket_ctrl(BIO *b, int cmd, long number, void *p)
{
	const struct tls *t = crypto.BIO_get_data(b);
	(void)number;
	(void)p;
	return cmd == BIO_CTRL_FLUSH || (cmd == BIO_CTRL_EOF && t && t->eof);
}

/* -- keys and certificates ---------------------------------------------------------------------------------------------- */

static void free_key(EVP_PKEY *k)
{
	crypto.EVP_PKEY_free(k);
}
static void free_certificate(X509 *x)
{
	crypto.X509_free(x);
}
static void free_bio(BIO *b)
{
	crypto.BIO_free(b);
}
DEFINE_AUTO(EVP_PKEY *, key, free_key);
DEFINE_AUTO(X509 *, certificate, free_certificate);
DEFINE_AUTO(BIO *, bio, free_bio);

static int failed(struct err *e, enum err_code code, const char *what)
{
	const char *why = crypto.ERR_reason_error_string(crypto.ERR_peek_last_error());
	crypto.ERR_clear_error();
	return err_new(e, code, "%s: %s", what, why ? why : "libcrypto does not say why");
}

static struct str bio_text(struct arena *a, BIO *b)
{
	char *p = NULL;
	long n = crypto.BIO_ctrl(b, BIO_CTRL_INFO, 0, (char *)&p);
	return n > 0 && p ? arena_str(a, str_of(p, (size_t)n)) : STR_NONE;
}

static BIO *bio_of(struct str pem)
{
	return pem.n <= PEM_MAX ? crypto.BIO_new_mem_buf(pem.n ? pem.p : "", (int)pem.n) : NULL;
}

/* A key with a pass phrase is none of ours: nobody is asked for it. */
static int no_pass_phrase(char *p, int n, int writing, void *ctx)
{
	(void)p, (void)n, (void)writing, (void)ctx;
	return -1;
}

static EVP_PKEY *read_key(struct str pem)
{
	auto_ptr(bio) b = bio_of(pem);
	return b ? crypto.PEM_read_bio_PrivateKey(b, NULL, no_pass_phrase, NULL) : NULL;
}

static X509 *read_certificate(struct str pem)
{
	auto_ptr(bio) b = bio_of(pem);
	return b ? crypto.PEM_read_bio_X509(b, NULL, no_pass_phrase, NULL) : NULL;
}

static int digest_of(X509 *x, uint8_t ret[SHA256_SIZE])
{
	unsigned char *der = NULL;
	int n = crypto.i2d_X509(x, &der);
	if (n <= 0)
		return -1;
	sha256(der, (size_t)n, ret);
	crypto.CRYPTO_free(der, __FILE__, __LINE__);
	return 0;
}

/* Nobody reads the name and the dates; they are what the format asks for. "Without a well-defined end": RFC 5280, 4.1.2.5. */
static X509 *sign(EVP_PKEY *key)
{
	auto_ptr(certificate) x = crypto.X509_new();
	uint64_t serial;
	if (!x || getrandom(&serial, sizeof(serial), 0) != sizeof(serial))
		return NULL;
	X509_NAME *name = crypto.X509_get_subject_name(x);
	bool ok = crypto.X509_set_version(x, X509_VERSION_3) &&
		  crypto.ASN1_INTEGER_set_uint64(crypto.X509_get_serialNumber(x), (serial >> 1) + 1) &&
		  crypto.X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"slipway member",
						    -1, -1, 0) &&
		  crypto.X509_set_issuer_name(x, name) &&
		  crypto.ASN1_TIME_set_string(crypto.X509_getm_notBefore(x), "20000101000000Z") &&
		  crypto.ASN1_TIME_set_string(crypto.X509_getm_notAfter(x), "99991231235959Z") &&
		  crypto.X509_set_pubkey(x, key) && crypto.X509_sign(x, key, NULL) > 0;
	return ok ? steal_ptr(&x) : NULL;
}

int tls_identity_new(struct arena *a, struct tls_identity *ret, struct err *e)
{
	if (load(e) < 0)
		return -1;
	auto_ptr(key) key = crypto.EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	auto_ptr(certificate) x = key ? sign(key) : NULL;
	auto_ptr(bio) key_text = crypto.BIO_new(crypto.BIO_s_mem());
	auto_ptr(bio) text = crypto.BIO_new(crypto.BIO_s_mem());
	if (!x || !key_text || !text ||
	    !crypto.PEM_write_bio_PrivateKey(key_text, key, NULL, NULL, 0, no_pass_phrase, NULL) ||
	    !crypto.PEM_write_bio_X509(text, x))
		return failed(e, ERR_FAILED, "make a key and a certificate");
	ret->key = bio_text(a, key_text);
	ret->certificate = bio_text(a, text);
	return 0;
}

int tls_identity_check(const struct tls_identity *id, struct err *e)
{
	if (load(e) < 0)
		return -1;
	auto_ptr(key) key = read_key(id->key);
	auto_ptr(certificate) x = read_certificate(id->certificate);
	if (!key || !x)
		return failed(e, ERR_INPUT, key ? "read the certificate" : "read the key");
	if (!crypto.X509_check_private_key(x, key))
		return failed(e, ERR_INPUT, "the key is not the certificate's");
	return 0;
}

int tls_fingerprint(struct str pem, const char *where, uint8_t ret[SHA256_SIZE], struct err *e)
{
	if (load(e) < 0)
		return -1;
	auto_ptr(certificate) x = read_certificate(pem);
	if (!x || digest_of(x, ret) < 0) {
		failed(e, ERR_INPUT, "read the certificate");
		return err_ctx(e, "%s", where);
	}
	return 0;
}

/* -- handshake -------------------------------------------------------------------------------------------------------- */

/* In place of a chain of authorities: is it the certificate that is known? */
static int on_certificate(X509_STORE_CTX *c, void *ctx)
{
	struct tls *t = ctx;
	X509 *x = crypto.X509_STORE_CTX_get0_cert(c);
	bool read = x && digest_of(x, t->peer) == 0;
	t->pinned = read && t->pin && memcmp(t->peer, t->want, SHA256_SIZE) == 0;
	t->refused = !read || !(t->pinned || t->any);
	crypto.X509_STORE_CTX_set_error(c, t->refused ? X509_V_ERR_CERT_UNTRUSTED : X509_V_OK);
	return !t->refused;
}

static int set_up(struct tls *t, const struct tls_opts *o, struct err *e)
{
	auto_ptr(key) key = read_key(o->identity.key);
	auto_ptr(certificate) x = read_certificate(o->identity.certificate);
	t->ctx = ssl.SSL_CTX_new(ssl.TLS_method());
	if (!key || !x || !t->ctx)
		return failed(e, ERR_INPUT, key ? x ? "TLS" : "read the certificate" : "read the key");
	ssl.SSL_CTX_set_options(t->ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	ssl.SSL_CTX_ctrl(t->ctx, SSL_CTRL_SET_SESS_CACHE_MODE, SSL_SESS_CACHE_OFF, NULL);
	ssl.SSL_CTX_ctrl(t->ctx, SSL_CTRL_SET_MAX_CERT_LIST, CERTIFICATES_MAX, NULL);
	ssl.SSL_CTX_ctrl(t->ctx, SSL_CTRL_MODE, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER,
			 NULL);
	ssl.SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	ssl.SSL_CTX_set_cert_verify_callback(t->ctx, on_certificate, t);
	bool ok = ssl.SSL_CTX_ctrl(t->ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, NULL) &&
		  ssl.SSL_CTX_ctrl(t->ctx, SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_3_VERSION, NULL) &&
		  ssl.SSL_CTX_set_num_tickets(t->ctx, 0) &&
		  ssl.SSL_CTX_set_ciphersuites(
			  t->ctx, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256") &&
		  ssl.SSL_CTX_use_certificate(t->ctx, x) && ssl.SSL_CTX_use_PrivateKey(t->ctx, key);
	t->ssl = ok ? ssl.SSL_new(t->ctx) : NULL;
	BIO *b = t->ssl ? crypto.BIO_new(socket_method) : NULL;
	if (!b)
		return failed(e, ERR_FAILED, "TLS");
	crypto.BIO_set_data(b, t);
	crypto.BIO_set_init(b, 1);
	ssl.SSL_set_bio(t->ssl, b, b);
	if (o->server)
		ssl.SSL_set_accept_state(t->ssl);
	else
		ssl.SSL_set_connect_state(t->ssl);
	return 0;
}

static int not_the_one(const struct tls *t, struct err *e)
{
	char shown[SHA256_HEX_SIZE], known[SHA256_HEX_SIZE];
	hex_encode(t->peer, SHA256_SIZE, shown);
	hex_encode(t->want, SHA256_SIZE, known);
	return t->pin ? err_new(e, ERR_VERIFY,
				"the other side's certificate has the fingerprint %s, where %s is known: it is somebody "
				"else",
				shown, known)
		      : err_new(e, ERR_VERIFY, "a stranger, whose certificate has the fingerprint %s", shown);
}

/* What the other side calls what it does not like. */
static int told(int alert, struct err *e)
{
	switch (alert) {
	case SSL_AD_BAD_CERTIFICATE:
	case SSL_AD_UNSUPPORTED_CERTIFICATE:
	case SSL_AD_CERTIFICATE_REVOKED:
	case SSL_AD_CERTIFICATE_EXPIRED:
	case SSL_AD_CERTIFICATE_UNKNOWN:
	case SSL_AD_UNKNOWN_CA:
	case SSL_AD_ACCESS_DENIED:
	case SSL_AD_CERTIFICATE_REQUIRED:
		err_new(e, ERR_VERIFY, "the other side does not know this host's certificate");
		e->sys = EKEYREJECTED;
		return -1;
	case SSL_AD_PROTOCOL_VERSION:
		return err_new(e, ERR_INPUT, "the other side speaks no TLS 1.3");
	default:
		return err_new(e, ERR_INPUT, "the other side ended TLS with alert %d", alert);
	}
}

/* After a call of libssl that did not succeed and will not. */
static int broken(struct tls *t, struct err *e)
{
	unsigned long code = crypto.ERR_peek_last_error();
	int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
	t->broken = true;
	if (t->refused)
		return not_the_one(t, e);
	if (t->io_errno) {
		err_errno(e, t->io_errno, "the other side is gone");
		e->code = ERR_NETWORK;
		return -1;
	}
	if (reason > ALERT_BASE)
		return told(reason - ALERT_BASE, e);
	if (t->eof)
		return err_new(e, ERR_NETWORK, "the other side is gone, without a word");
	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		return err_new(e, ERR_VERIFY, "the other side shows no certificate");
	return failed(e, ERR_INPUT, "TLS");
}

static int handshake(struct tls *t, int64_t until_ms, struct err *e)
{
	int64_t begin = clock_mono_ms();
	for (;;) {
		crypto.ERR_clear_error();
		int rc = ssl.SSL_do_handshake(t->ssl);
		if (rc == 1)
			return 0;
		int why = ssl.SSL_get_error(t->ssl, rc);
		if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
			return broken(t, e);
		int64_t left = until_ms - clock_mono_ms();
		struct pollfd p = {.fd = t->fd, .events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT};
		if (left <= 0)
			return err_new(e, ERR_NETWORK, "no handshake within %lld ms", (long long)(until_ms - begin));
		if (poll(&p, 1, left > 1000 ? 1000 : (int)left) < 0 && errno != EINTR)
			return err_sys(e, "wait for the other side");
	}
}

/* So that the other side reads why: a socket that is closed with something unread in it takes back what was written last. */
static void let_it_read(const struct tls *t)
{
	char rest[4096];
	int64_t until = clock_mono_ms() + LAST_WORD_MS, left;
	size_t n = 0;
	(void)shutdown(t->fd, SHUT_WR);
	while ((left = until - clock_mono_ms()) > 0 &&
	       n < CERTIFICATES_MAX * 4) { /* poll takes less than nothing for ever */
		struct pollfd p = {.fd = t->fd, .events = POLLIN};
		if (poll(&p, 1, (int)left) <= 0)
			return;
		ssize_t got = recv(t->fd, rest, sizeof(rest), 0);
		if (got <= 0)
			return;
		n += (size_t)got;
	}
}

int tls_open(int fd, const struct tls_opts *o, int64_t until_ms, struct tls **ret, struct err *e)
{
	auto_fd own = fd;
	if (load(e) < 0)
		return -1;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(e, "use a socket");
	auto_ptr(tls) t = xcalloc(1, sizeof(*t));
	t->fd = steal_fd(&own);
	t->pin = o->pin ? t->want : NULL;
	t->any = o->any;
	t->wants = POLLIN;
	if (o->pin)
		memcpy(t->want, o->pin, SHA256_SIZE);
	if (set_up(t, o, e) < 0 || handshake(t, until_ms, e) < 0) {
		t->broken = true;
		if (o->server)
			let_it_read(t);
		return -1;
	}
	*ret = steal_ptr(&t);
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	if (t->ssl && !t->broken) {
		crypto.ERR_clear_error();
		(void)ssl.SSL_shutdown(t->ssl);
	}
	if (t->ssl)
		ssl.SSL_free(t->ssl);
	if (t->ctx)
		ssl.SSL_CTX_free(t->ctx);
	cleanup_fd(&t->fd);
	free(t);
}

int tls_fd(const struct tls *t)
{
	return t->fd;
}

bool tls_is_pinned(const struct tls *t)
{
	return t->pinned;
}

const uint8_t *tls_peer_fingerprint(const struct tls *t)
{
	return t->peer;
}

int tls_peer_certificate(struct tls *t, struct arena *a, struct str *ret_pem, struct err *e)
{
	X509 *x = ssl.SSL_get0_peer_certificate(t->ssl);
	auto_ptr(bio) b = crypto.BIO_new(crypto.BIO_s_mem());
	if (!x || !b || !crypto.PEM_write_bio_X509(b, x))
		return failed(e, ERR_INPUT, "the other side's certificate");
	*ret_pem = bio_text(a, b);
	return 0;
}

/* -- bytes ------------------------------------------------------------------------------------------------------------ */

/* Of a call that did nothing: 0, it can be tried again; -1. */
static ssize_t later(struct tls *t, struct err *e)
{
	int why = ssl.SSL_get_error(t->ssl, 0);
	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
		t->wants = why == SSL_ERROR_WANT_WRITE ? POLLIN | POLLOUT : POLLIN;
		return 0;
	}
	t->ended |= why == SSL_ERROR_ZERO_RETURN;
	return t->ended ? err_new(e, ERR_NETWORK, "the other side is gone") : broken(t, e);
}

ssize_t tls_send(struct tls *t, const char *p, size_t n, struct err *e)
{
	size_t done = 0;
	crypto.ERR_clear_error();
	if (!ssl.SSL_write_ex(t->ssl, p, n, &done))
		return later(t, e);
	t->wants = POLLIN;
	return (ssize_t)done;
}

ssize_t tls_recv(struct tls *t, char *p, size_t n, bool *ret_end, struct err *e)
{
	size_t done = 0;
	struct err gone = ERR_INIT;
	crypto.ERR_clear_error();
	if (ssl.SSL_read_ex(t->ssl, p, n, &done)) {
		t->wants = POLLIN;
		return (ssize_t)done;
	}
	ssize_t rc = later(t, &gone);
	*ret_end = t->ended;
	if (rc < 0 && !t->ended)
		*e = gone;
	return t->ended ? 0 : rc;
}

short tls_wants(const struct tls *t)
{
	return t->wants;
}
