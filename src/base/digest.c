// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"

#define OPENSSL_SUPPRESS_DEPRECATED /* SHA256_Init: see sha256() */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <pthread.h>

#include "base/dl.h"

#define CRYPTO(X)                                                                                                      \
	X(, EVP_DigestFinal_ex)                                                                                        \
	X(, EVP_DigestInit_ex)                                                                                         \
	X(, EVP_DigestUpdate)                                                                                          \
	X(, EVP_MD_CTX_free)                                                                                           \
	X(, EVP_MD_CTX_new)                                                                                            \
	X(, EVP_MD_fetch)                                                                                              \
	X(, OSSL_LIB_CTX_new)                                                                                          \
	X(, SHA256_Final)                                                                                              \
	X(, SHA256_Init)                                                                                               \
	X(, SHA256_Update)
#define SONAME_OF(version) "libcrypto.so." #version
#define SONAME(version) SONAME_OF(version)
DL_LIBRARY(crypto, SONAME(OPENSSL_SHLIB_VERSION), CRYPTO, NULL);

struct digest {
	EVP_MD_CTX *ctx;
	enum digest_kind kind;
};

/* Fetched once, from a library context of our own: a fetch walks the providers under a lock, and the default context
 * would read the system's configuration file first. TLS keeps the default context and that file. */
static EVP_MD *md[DIGEST_KINDS];
static const struct {
	const char *name;
	size_t size;
} kinds[DIGEST_KINDS] = {
	[DIGEST_SHA256] = {"SHA256", SHA256_SIZE},
	[DIGEST_MD5] = {"MD5", MD5_SIZE},
	[DIGEST_SHA512] = {"SHA512", SHA512_SIZE},
	[DIGEST_SHA1] = {"SHA1", SHA1_SIZE},
};
static pthread_once_t md_once = PTHREAD_ONCE_INIT;

static void md_fetch(void)
{
	dl_need(&crypto_library);
	OSSL_LIB_CTX *lib = crypto.OSSL_LIB_CTX_new();
	for (size_t i = 0; i < DIGEST_KINDS; i++) {
		md[i] = crypto.EVP_MD_fetch(lib, kinds[i].name, NULL);
		if (!md[i])
			panic("libcrypto offers no digest that is called '%s'", kinds[i].name);
	}
}

struct digest *digest_new(enum digest_kind kind)
{
	pthread_once(&md_once, md_fetch);
	struct digest *d = xmalloc(sizeof(*d));
	*d = (struct digest){.ctx = crypto.EVP_MD_CTX_new(), .kind = kind};
	if (!d->ctx)
		panic("out of memory");
	digest_reset(d);
	return d;
}

void digest_update(struct digest *d, const void *p, size_t n)
{
	if (crypto.EVP_DigestUpdate(d->ctx, p, n) != 1)
		panic("libcrypto failed to digest");
}

size_t digest_final(struct digest *d, uint8_t *out)
{
	unsigned n = 0;
	if (crypto.EVP_DigestFinal_ex(d->ctx, out, &n) != 1)
		panic("libcrypto failed to digest");
	return n;
}

void digest_reset(struct digest *d)
{
	if (crypto.EVP_DigestInit_ex(d->ctx, md[d->kind], NULL) != 1)
		panic("libcrypto failed to start a digest");
}

void digest_free(struct digest *d)
{
	if (!d)
		return;
	crypto.EVP_MD_CTX_free(d->ctx);
	free(d);
}

/* Past the providers of libcrypto, whose set-up takes 0.8 ms: some commands need no more than a few short digests. */
void sha256(const void *p, size_t n, uint8_t out[SHA256_SIZE])
{
	SHA256_CTX c;
	dl_need(&crypto_library);
	if (crypto.SHA256_Init(&c) != 1 || crypto.SHA256_Update(&c, p, n) != 1 || crypto.SHA256_Final(out, &c) != 1)
		panic("libcrypto failed to digest");
}

int sha256_fd(int fd, uint8_t out[SHA256_SIZE], struct err *e)
{
	enum { CHUNK = 1 << 17 };
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	auto_free uint8_t *chunk = xmalloc(CHUNK);
	off_t at = 0;
	for (;;) {
		ssize_t n = pread(fd, chunk, CHUNK, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read for its digest");
		if (n == 0)
			break;
		digest_update(d, chunk, (size_t)n);
		at += n;
	}
	digest_final(d, out);
	return 0;
}

size_t digest_size(enum digest_kind kind)
{
	return kinds[kind].size;
}

bool digest_parse(enum digest_kind kind, struct str hex, struct digest_value *ret)
{
	struct digest_value v = {.kind = kind, .known = true};
	if (!str_unhex(hex, v.bytes, digest_size(kind)))
		return false;
	*ret = v;
	return true;
}

void hex_encode(const uint8_t *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * n] = '\0';
}
