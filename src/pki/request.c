// SPDX-License-Identifier: Apache-2.0
/* Requests for certificates. What is read comes from strangers. */
#include "pki/crypto.h"

static void free_req(X509_REQ *r)
{
	crypto.X509_REQ_free(r);
}
DEFINE_AUTO(X509_REQ *, req, free_req);

int pki_request_new(const struct pki_key *k, struct str name, struct arena *a, struct str *ret_pem, struct err *e)
{
	if (pki_name_check(name, e) < 0)
		return -1;
	auto_ptr(req) r = crypto.X509_REQ_new();
	auto_ptr(bio) b = bio_new();
	bool ok = r && crypto.X509_REQ_set_version(r, X509_REQ_VERSION_1) &&
		  crypto.X509_NAME_add_entry_by_txt(crypto.X509_REQ_get_subject_name(r), "CN", MBSTRING_UTF8,
						    (const unsigned char *)name.p, (int)name.n, -1, 0) &&
		  crypto.X509_REQ_set_pubkey(r, k->p) && crypto.X509_REQ_sign(r, k->p, key_md(k->p)) > 0 &&
		  crypto.PEM_write_bio_X509_REQ(b, r);
	if (!ok)
		return crypto_failed(e, ERR_FAILED, "make a request for a certificate");
	*ret_pem = arena_str(a, bio_text(b));
	return 0;
}

/* The key before anything is computed with it: a modulus of a million bits is a way to keep a server busy. */
static int check(X509_REQ *r, struct err *e)
{
	EVP_PKEY *k = crypto.X509_REQ_get0_pubkey(r);
	if (!k)
		return crypto_failed(e, ERR_INPUT, "the key in the request cannot be read");
	if (key_check(k, e) < 0)
		return -1;
	if (!signature_is_taken(crypto.X509_REQ_get_signature_nid(r)))
		return err_new(
			e, ERR_INPUT,
			"the request is signed in a way that is not taken; SHA-256, SHA-384, SHA-512 and Ed25519 are");
	if (crypto.X509_REQ_verify(r, k) != 1)
		return crypto_failed(e, ERR_INPUT, "the request is not signed with the key that it shows");
	return 0;
}

int pki_request_read(struct str pem, struct pki_request **ret, struct err *e)
{
	struct err ignored = ERR_INIT;
	if (crypto_load(e) < 0)
		return -1;
	auto_ptr(bio) b = bio_of(pem, PKI_PEM_MAX);
	if (!b)
		return err_new(e, ERR_LIMIT, "a request of %zu bytes, more than %d", pem.n, PKI_PEM_MAX);
	auto_ptr(req) r = crypto.PEM_read_bio_X509_REQ(b, NULL, no_pass_phrase, NULL);
	if (!r)
		return crypto_failed(e, ERR_INPUT, "this is no request for a certificate (PKCS #10 in PEM)");
	if (check(r, e) < 0)
		return -1;
	struct pki_request *q = xcalloc(1, sizeof(*q));
	q->name = name_cn(&q->arena, crypto.X509_REQ_get_subject_name(r));
	if (pki_name_check(q->name, &ignored) < 0)
		q->name = STR_NONE;
	key_digest(crypto.X509_REQ_get0_pubkey(r), q->digest);
	q->r = steal_ptr(&r);
	*ret = q;
	return 0;
}

struct str pki_request_name(const struct pki_request *r)
{
	return r->name;
}

void pki_request_key_digest(const struct pki_request *r, uint8_t ret[SHA256_SIZE])
{
	memcpy(ret, r->digest, SHA256_SIZE);
}

void pki_request_free(struct pki_request *r)
{
	if (!r)
		return;
	crypto.X509_REQ_free(r->r);
	arena_release(&r->arena);
	free(r);
}
