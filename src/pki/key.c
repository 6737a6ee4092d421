// SPDX-License-Identifier: Apache-2.0
/* Keys: made, read, written; which are taken; and what may be a name. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <stdio.h>

#include "base/fs.h"
#include "pki/crypto.h"

enum { RSA_MIN_BITS = 3072, RSA_MAX_BITS = 4096, LABEL_MAX = 63, HOST_MAX = 253, CLIENT_NAME_MAX = 64 };

static int check_group(EVP_PKEY *k, struct err *e)
{
	char group[64];
	int is_explicit = 0;
	size_t n = 0;
	if (!crypto.EVP_PKEY_get_group_name(k, group, sizeof(group), &n) ||
	    (crypto.EVP_PKEY_get_int_param(k, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit) &&
	     is_explicit == 1))
		return crypto_failed(e, ERR_INPUT, "a key on a curve without a name is not taken; P-256 is");
	if (strcmp(group, "prime256v1") != 0 && strcmp(group, "P-256") != 0 && strcmp(group, "secp384r1") != 0 &&
	    strcmp(group, "P-384") != 0)
		return err_new(e, ERR_INPUT, "a key on the curve '%s' is not taken; P-256 and P-384 are", group);
	return 0;
}

int key_check(EVP_PKEY *k, struct err *e)
{
	int bits = crypto.EVP_PKEY_get_bits(k);
	switch (crypto.EVP_PKEY_get_base_id(k)) {
	case EVP_PKEY_ED25519:
		return 0;
	case EVP_PKEY_EC:
		return check_group(k, e);
	case EVP_PKEY_RSA:
		return bits >= RSA_MIN_BITS && bits <= RSA_MAX_BITS
			       ? 0
			       : err_new(e, ERR_INPUT, "an RSA key of %d bits is not taken; it needs %d to %d", bits,
					 RSA_MIN_BITS, RSA_MAX_BITS);
	default:
		return err_new(e, ERR_INPUT,
			       "a key of this kind is not taken; EC P-256, P-384, Ed25519 and RSA of %d bits are",
			       RSA_MIN_BITS);
	}
}

const EVP_MD *key_md(EVP_PKEY *k)
{
	return crypto.EVP_PKEY_get_base_id(k) == EVP_PKEY_ED25519 ? NULL : crypto.EVP_sha256();
}

void key_digest(EVP_PKEY *k, uint8_t ret[SHA256_SIZE])
{
	unsigned char *der = NULL;
	int n = crypto.i2d_PUBKEY(k, &der);
	if (n <= 0)
		panic("libcrypto cannot write a public key");
	sha256(der, (size_t)n, ret);
	crypto.CRYPTO_free(der, __FILE__, __LINE__);
}

static struct pki_key *key_of(EVP_PKEY *p)
{
	struct pki_key *k = xmalloc(sizeof(*k));
	k->p = p;
	return k;
}

int pki_key_new(enum pki_kind kind, struct pki_key **ret, struct err *e)
{
	EVP_PKEY *p = NULL;
	if (crypto_load(e) < 0)
		return -1;
	switch (kind) {
	case PKI_EC_P256:
		p = crypto.EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
		break;
	case PKI_ED25519:
		p = crypto.EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
		break;
	case PKI_RSA_3072:
		p = crypto.EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)RSA_MIN_BITS);
		break;
	}
	if (!p)
		return crypto_failed(e, ERR_FAILED, "make a key");
	*ret = key_of(p);
	return 0;
}

int pki_key_read(struct str pem, const char *where, struct pki_key **ret, struct err *e)
{
	if (crypto_load(e) < 0)
		return -1;
	auto_ptr(bio) b = bio_of(pem, PKI_PEM_MAX);
	if (!b)
		return err_new(e, ERR_LIMIT, "%s: a key of %zu bytes, more than %d", where, pem.n, PKI_PEM_MAX);
	auto_ptr(key) p = crypto.PEM_read_bio_PrivateKey(b, NULL, no_pass_phrase, NULL);
	if (!p)
		return crypto_failed(e, ERR_INPUT, "%s: there is no private key (PEM, without a pass phrase) in it",
				     where);
	if (key_check(p, e) < 0)
		return err_ctx(e, "%s", where);
	*ret = key_of(steal_ptr(&p));
	return 0;
}

int pki_key_pem(const struct pki_key *k, struct arena *a, struct str *ret, struct err *e)
{
	auto_ptr(bio) b = bio_new();
	if (!crypto.PEM_write_bio_PKCS8PrivateKey(b, k->p, NULL, NULL, 0, no_pass_phrase, NULL))
		return crypto_failed(e, ERR_FAILED, "write a key");
	*ret = arena_str(a, bio_text(b));
	return 0;
}

int pki_key_save(int dir_fd, const char *path, const struct pki_key *k, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct str pem;
	return pki_key_pem(k, &a, &pem, e) < 0
		       ? -1
		       : fs_replace(dir_fd, path, pem.p, pem.n, FS_REPLACE_SYNC | FS_REPLACE_SECRET, e);
}

int pki_key_load(int dir_fd, const char *path, struct pki_key **ret, struct err *e)
{
	auto_buf b = BUF_INIT(PKI_PEM_MAX);
	struct stat st;
	if (fs_read(dir_fd, path, &b, e) < 0)
		return -1;
	if (fstatat(dir_fd, path, &st, 0) < 0)
		return err_sys(e, "open '%s'", path);
	if (st.st_mode & 077)
		return err_new(e, ERR_VERIFY,
			       "'%s' can be read by others (mode %04o): if nobody has it, 'chmod 600' it, else make "
			       "another key",
			       path, st.st_mode & 07777U);
	return pki_key_read(buf_str(&b), path, ret, e);
}

void pki_key_digest(const struct pki_key *k, uint8_t ret[SHA256_SIZE])
{
	key_digest(k->p, ret);
}

void pki_key_free(struct pki_key *k)
{
	if (!k)
		return;
	crypto.EVP_PKEY_free(k->p);
	free(k);
}

/* -- names ------------------------------------------------------------------------------------------------------- */

static bool is_label(struct str s)
{
	if (!s.n || s.n > LABEL_MAX || s.p[0] == '-' || s.p[s.n - 1] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'))
			return false;
	}
	return true;
}

static bool is_address(struct str s)
{
	uint8_t out[16];
	char z[INET6_ADDRSTRLEN];
	if (!s.n || s.n >= sizeof(z) || memchr(s.p, '\0', s.n))
		return false;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	return inet_pton(AF_INET, z, out) == 1 || inet_pton(AF_INET6, z, out) == 1;
}

int pki_host_check(struct str host, bool *ret_is_address, struct err *e)
{
	struct str rest = host, label;
	*ret_is_address = is_address(host);
	if (*ret_is_address)
		return 0;
	bool ok = host.n > 0 && host.n <= HOST_MAX;
	bool digits = true; /* the last label: "300.1.2.3" is no name, but a wrong address */
	while (ok && str_take_until(&rest, '.', &label))
		ok = is_label(label);
	ok = ok && is_label(rest);
	for (size_t i = 0; ok && i < rest.n; i++)
		digits = digits && rest.p[i] >= '0' && rest.p[i] <= '9';
	return ok && !digits ? 0
			     : err_new(e, ERR_USAGE,
				       "'%.*s' is no host name and no address (letters, digits, '-' between dots)",
				       STR_ARG(str_head(host, 300)));
}

int pki_name_check(struct str name, struct err *e)
{
	bool ok = name.n && name.n <= CLIENT_NAME_MAX;
	for (size_t i = 0; ok && i < name.n; i++) {
		char c = name.p[i];
		ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		     (i && (c == '.' || c == '-' || c == '_'));
	}
	return ok ? 0
		  : err_new(e, ERR_USAGE,
			    "'%.*s' is no name: up to %d letters, digits, '.', '-', '_', the first a letter or "
			    "digit",
			    STR_ARG(str_head(name, 100)), CLIENT_NAME_MAX);
}
