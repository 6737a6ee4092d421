// SPDX-License-Identifier: Apache-2.0
/* Bundles of authorities, and how one announces the next. */
#include "base/buf.h"
#include "pki/crypto.h"

enum { SIGNATURE_MAX = 512 };
#define ANNOUNCED "announced-by: "
#define BEGIN "-----BEGIN CERTIFICATE-----"
/* What is signed begins so, so that it can be taken for nothing else that the key signs. */
#define PURPOSE "slipway: this authority follows mine\n"

struct entry {
	struct pki_cert *cert;
	struct str proof; /* of its line, without the word before it; empty: none */
	struct pki_cert_info info;
	bool trusted;
};
struct bundle {
	struct entry v[PKI_BUNDLE_CERTS];
	size_t n;
	struct arena arena;
};

static void bundle_release(struct bundle *b)
{
	for (size_t i = 0; i < b->n; i++)
		pki_cert_free(b->v[i].cert);
	arena_release(&b->arena);
	b->n = 0;
}
#define auto_bundle cleanup_with(bundle_release) struct bundle

static void free_md_ctx(EVP_MD_CTX *c)
{
	crypto.EVP_MD_CTX_free(c);
}
DEFINE_AUTO(EVP_MD_CTX *, md_ctx, free_md_ctx);

/* -- one announces another ---------------------------------------------------------------------------------------- */

static void announced_text(const struct pki_cert *next, struct buf *b)
{
	uint8_t fingerprint[SHA256_SIZE];
	pki_cert_fingerprint(next, fingerprint);
	buf_put_c(b, PURPOSE);
	buf_put_hex(b, fingerprint, SHA256_SIZE);
}

static int sign(EVP_PKEY *key, const struct pki_cert *next, struct buf *ret, struct err *e)
{
	unsigned char out[SIGNATURE_MAX];
	size_t n = sizeof(out);
	auto_buf text = BUF_INIT(256);
	auto_ptr(md_ctx) c = crypto.EVP_MD_CTX_new();
	announced_text(next, &text);
	if (!c || crypto.EVP_DigestSignInit(c, NULL, key_md(key), NULL, key) != 1 ||
	    crypto.EVP_DigestSign(c, out, &n, (const unsigned char *)text.p, text.n) != 1)
		return crypto_failed(e, ERR_FAILED, "announce an authority");
	buf_put_hex(ret, out, n);
	return 0;
}

/* Whether `by` wrote this line before `next`. */
static bool announced(const struct entry *by, const struct entry *next)
{
	uint8_t who[SHA256_SIZE], signature[SIGNATURE_MAX];
	struct str line = next->proof, first;
	if (!str_take_word(&line, &first) || !str_unhex(first, who, SHA256_SIZE) ||
	    memcmp(who, by->info.fingerprint, SHA256_SIZE) != 0)
		return false;
	line = str_trim(line);
	if (line.n % 2 || line.n > 2 * sizeof(signature) || !str_unhex(line, signature, line.n / 2))
		return false;
	auto_buf text = BUF_INIT(256);
	auto_ptr(md_ctx) c = crypto.EVP_MD_CTX_new();
	EVP_PKEY *key = crypto.X509_get0_pubkey(by->cert->p);
	announced_text(next->cert, &text);
	bool ok = c && crypto.EVP_DigestVerifyInit(c, NULL, key_md(key), NULL, key) == 1 &&
		  crypto.EVP_DigestVerify(c, signature, line.n / 2, (const unsigned char *)text.p, text.n) == 1;
	crypto.ERR_clear_error();
	return ok;
}

/* -- reading ------------------------------------------------------------------------------------------------------ */

/* An authority, and signed by itself with something that is taken. */
static int check_authority(struct entry *x, struct arena *a, struct err *e)
{
	if (pki_cert_info(x->cert, a, &x->info, e) < 0)
		return -1;
	if (!x->info.authority)
		return err_new(e, ERR_INPUT, "certificate '%.*s' is no authority's", STR_ARG(x->info.subject));
	if (crypto.X509_verify(x->cert->p, crypto.X509_get0_pubkey(x->cert->p)) != 1)
		return crypto_failed(e, ERR_INPUT, "certificate '%.*s' is not signed by itself",
				     STR_ARG(x->info.subject));
	return 0;
}

static bool has(const struct bundle *b, const struct entry *x)
{
	for (size_t i = 0; i < b->n; i++)
		if (memcmp(b->v[i].info.fingerprint, x->info.fingerprint, SHA256_SIZE) == 0)
			return true;
	return false;
}

static int read_bundle(struct str text, struct bundle *b, struct err *e)
{
	struct str proof = STR_NONE, before = text, line;
	if (text.n > PKI_BUNDLE_MAX)
		return err_new(e, ERR_LIMIT, "a bundle of %zu bytes, more than %d", text.n, PKI_BUNDLE_MAX);
	for (; str_take_line(&text, &line); before = text) {
		if (str_starts(line, STR(ANNOUNCED)))
			proof = str_skip(line, sizeof(ANNOUNCED) - 1);
		if (!str_starts(line, STR(BEGIN)))
			continue;
		if (b->n == PKI_BUNDLE_CERTS)
			return err_new(e, ERR_LIMIT, "more than %d authorities", PKI_BUNDLE_CERTS);
		struct entry *x = &b->v[b->n];
		*x = (struct entry){.proof = proof};
		if (pki_cert_read(before, "authority", &x->cert, e) < 0)
			return -1;
		b->n++;
		if (check_authority(x, &b->arena, e) < 0)
			return -1;
		proof = STR_NONE;
	}
	return b->n ? 0 : err_new(e, ERR_INPUT, "there is no certificate (PEM) in it");
}

int pki_bundle_read(struct str text, struct pki_cert *ret[PKI_BUNDLE_CERTS], size_t *ret_n, struct err *e)
{
	auto_bundle b = {.n = 0};
	if (read_bundle(text, &b, e) < 0)
		return -1;
	for (size_t i = 0; i < b.n; i++)
		ret[i] = steal_ptr(&b.v[i].cert);
	*ret_n = b.n;
	return 0;
}

/* -- writing ------------------------------------------------------------------------------------------------------ */

static void put_entry(struct buf *b, struct arena *a, const struct pki_cert *c, struct str proof)
{
	if (proof.n)
		buf_printf(b, ANNOUNCED "%.*s\n", STR_ARG(str_trim(proof)));
	buf_put_str(b, pki_cert_pem(c, a));
}

struct str pki_bundle_begin(const struct pki_cert *ca, struct arena *a)
{
	return pki_cert_pem(ca, a);
}

int pki_bundle_announce(struct str bundle, const struct pki_cert *by, const struct pki_key *by_key,
			const struct pki_cert *next, struct arena *a, struct str *ret, struct err *e)
{
	auto_buf out = BUF_INIT(PKI_BUNDLE_MAX);
	auto_buf proof = BUF_INIT(4096);
	auto_bundle b = {.n = 0};
	uint8_t fingerprint[SHA256_SIZE];
	if (read_bundle(bundle, &b, e) < 0)
		return -1;
	pki_cert_fingerprint(by, fingerprint);
	buf_put_hex(&proof, fingerprint, SHA256_SIZE);
	buf_put_char(&proof, ' ');
	if (!pki_cert_is_of(by, by_key))
		return err_new(e, ERR_VERIFY, "the key is not this authority's");
	if (sign(by_key->p, next, &proof, e) < 0)
		return -1;
	for (size_t i = 0; i < b.n; i++)
		put_entry(&out, a, b.v[i].cert, b.v[i].proof);
	put_entry(&out, a, next, buf_str(&proof));
	if (out.overflow || b.n == PKI_BUNDLE_CERTS)
		return err_new(e, ERR_LIMIT, "more than %d authorities", PKI_BUNDLE_CERTS);
	*ret = arena_str(a, buf_str(&out));
	return 0;
}

/* Until nothing is added: one that was announced may have announced the next. */
static void spread_trust(struct bundle *b)
{
	bool more = true;
	while (more) {
		more = false;
		for (size_t i = 0; i < b->n; i++)
			for (size_t k = 0; k < b->n && !b->v[i].trusted; k++)
				if (b->v[k].trusted && announced(&b->v[k], &b->v[i]))
					more = b->v[i].trusted = true;
	}
}

static bool is_over(const struct entry *x, int64_t now_ms)
{
	return x->info.not_after_ms <= now_ms;
}

/* The trusted ones; the expired ones only where there are no others. */
static int put_trusted(const struct bundle *b, int64_t now_ms, struct arena *a, struct str *ret, struct err *e)
{
	auto_buf out = BUF_INIT(PKI_BUNDLE_MAX);
	bool any = false;
	for (size_t i = 0; i < b->n; i++)
		any |= b->v[i].trusted && !is_over(&b->v[i], now_ms);
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].trusted && (!any || !is_over(&b->v[i], now_ms)))
			put_entry(&out, a, b->v[i].cert, b->v[i].proof);
	if (out.overflow)
		return err_new(e, ERR_LIMIT, "the authorities take more than %d bytes", PKI_BUNDLE_MAX);
	*ret = arena_str(a, buf_str(&out));
	return 0;
}

int pki_bundle_merge(struct str mine, struct str theirs, int64_t now_ms, struct arena *a, struct str *ret,
		     struct err *e)
{
	auto_bundle own = {.n = 0};
	auto_bundle b = {.n = 0};
	if (read_bundle(mine, &own, e) < 0 || read_bundle(theirs, &b, e) < 0)
		return -1;
	for (size_t i = 0; i < b.n; i++)
		b.v[i].trusted = has(&own, &b.v[i]);
	for (size_t i = 0; i < own.n; i++) {
		if (has(&b, &own.v[i]))
			continue;
		if (b.n == PKI_BUNDLE_CERTS)
			return err_new(e, ERR_LIMIT, "more than %d authorities", PKI_BUNDLE_CERTS);
		own.v[i].trusted = true;
		b.v[b.n++] = own.v[i]; /* its texts stay in own's arena, which lives as long */
		own.v[i].cert = NULL;
	}
	spread_trust(&b);
	return put_trusted(&b, now_ms, a, ret, e);
}

int pki_bundle_pick(struct str bundle, const uint8_t *prefix, size_t prefix_n, int64_t now_ms, struct arena *a,
		    struct str *ret, struct err *e)
{
	auto_bundle b = {.n = 0};
	bool any = false;
	if (read_bundle(bundle, &b, e) < 0)
		return -1;
	for (size_t i = 0; i < b.n; i++)
		any |= b.v[i].trusted = memcmp(b.v[i].info.fingerprint, prefix, prefix_n) == 0;
	if (!any)
		return err_new(e, ERR_VERIFY, "none of %zu authorities has the fingerprint that is known", b.n);
	spread_trust(&b);
	return put_trusted(&b, now_ms, a, ret, e);
}
