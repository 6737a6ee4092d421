// SPDX-License-Identifier: Apache-2.0
/* Is this certificate good, for this, now; and in words: which one, by whom, for which host, why not, what to do. */
#include "base/buf.h"
#include "base/clock.h"
#include "pki/crypto.h"

enum { SECURITY_LEVEL = 2 }; /* of libcrypto: 112 bits; no SHA-1 */

static void free_store(X509_STORE *s)
{
	crypto.X509_STORE_free(s);
}
static void free_ctx(X509_STORE_CTX *c)
{
	crypto.X509_STORE_CTX_free(c);
}
static void free_crl(X509_CRL *c)
{
	crypto.X509_CRL_free(c);
}
DEFINE_AUTO(X509_STORE *, store, free_store);
DEFINE_AUTO(X509_STORE_CTX *, ctx, free_ctx);
DEFINE_AUTO(X509_CRL *, crl, free_crl);

static int add_anchors(X509_STORE *store, struct str anchors, struct err *e)
{
	struct pki_cert *all[PKI_BUNDLE_CERTS];
	size_t n;
	if (pki_bundle_read(anchors, all, &n, e) < 0)
		return err_ctx(e, "trusted authorities");
	bool ok = true;
	for (size_t i = 0; i < n; i++) {
		ok = ok && crypto.X509_STORE_add_cert(store, all[i]->p);
		pki_cert_free(all[i]);
	}
	return ok ? 0 : crypto_failed(e, ERR_FAILED, "use the trusted authorities");
}

/* All lists of the text. One that breaks off is no end of it. */
static int add_crls(X509_STORE *store, struct str pem, struct err *e)
{
	auto_ptr(bio) b = bio_of(pem, PKI_CRL_MAX);
	bool any = false;
	for (;;) {
		auto_ptr(crl) crl = b ? crypto.PEM_read_bio_X509_CRL(b, NULL, no_pass_phrase, NULL) : NULL;
		if (!crl && any && ERR_GET_REASON(crypto.ERR_peek_last_error()) == PEM_R_NO_START_LINE)
			break;
		if (!crl || !crypto.X509_STORE_add_crl(store, crl))
			return crypto_failed(e, ERR_INPUT, "this is no list of revoked certificates (PEM)");
		any = true;
	}
	crypto.ERR_clear_error();
	return 0;
}

static int set_up(X509_STORE_CTX *ctx, const struct pki_verify *v, int64_t now_ms, struct err *e)
{
	X509_VERIFY_PARAM *p = crypto.X509_STORE_CTX_get0_param(ctx);
	bool is_address = false;
	bool ok = crypto.X509_STORE_CTX_set_purpose(ctx, v->purpose == PKI_SERVER ? X509_PURPOSE_SSL_SERVER
										  : X509_PURPOSE_SSL_CLIENT);
	crypto.X509_VERIFY_PARAM_set_auth_level(p, SECURITY_LEVEL);
	crypto.X509_VERIFY_PARAM_set_time(p, (time_t)(now_ms / 1000));
	ok = ok && crypto.X509_VERIFY_PARAM_set_flags(p, X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE |
								 (v->crl.n ? X509_V_FLAG_CRL_CHECK : 0));
	if (v->host && pki_host_check(str_c(v->host), &is_address, e) < 0)
		return -1;
	if (v->host)
		ok = ok && (is_address ? crypto.X509_VERIFY_PARAM_set1_ip_asc(p, v->host)
				       : crypto.X509_VERIFY_PARAM_set1_host(p, v->host, 0));
	return ok ? 0 : crypto_failed(e, ERR_FAILED, "look at a certificate");
}

/* -- in words ----------------------------------------------------------------------------------------------------- */

static const char *cure(int why, enum pki_purpose purpose)
{
	switch (why) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return purpose == PKI_SERVER ? "have the server's certificate renewed, or set this host's clock"
					     : "enroll the client again, or set this host's clock";
	case X509_V_ERR_CERT_NOT_YET_VALID:
	case X509_V_ERR_CRL_NOT_YET_VALID:
		return "set this host's clock";
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		return purpose == PKI_SERVER
			       ? "its authority is none that is trusted here: is it the right server, and has this host "
				 "enrolled there?"
			       : "its authority is none that is trusted here: enroll the client again";
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return "use one of the names that it is for, or have the server's certificate made for this one too";
	case X509_V_ERR_CERT_REVOKED:
		return "it was revoked: enroll again";
	case X509_V_ERR_CRL_HAS_EXPIRED:
		return "the list of revoked certificates is too old: have it made anew";
	case X509_V_ERR_PERMITTED_VIOLATION:
	case X509_V_ERR_EXCLUDED_VIOLATION:
		return "the authority was made for other names: make a new one that may speak for these";
	case X509_V_ERR_INVALID_PURPOSE:
		return "it was made for something else";
	default:
		return "have it made anew";
	}
}

static void put_life(struct buf *b, const struct pki_cert_info *i, int64_t now_ms)
{
	buf_put_c(b, " (good from ");
	clock_put_iso(b, i->not_before_ms);
	buf_put_c(b, " to ");
	clock_put_iso(b, i->not_after_ms);
	buf_put_c(b, "; here it is ");
	clock_put_iso(b, now_ms);
	buf_put_char(b, ')');
}

static void put_names(struct buf *b, const struct pki_cert_info *i)
{
	buf_put_c(b, " (it is for");
	for (size_t k = 0; k < i->names_n && k < 8; k++)
		buf_printf(b, "%s '%.*s'", k ? "," : "", STR_ARG(str_head(i->names[k], 255)));
	buf_put_c(b, i->names_n > 8 ? " and others)" : i->names_n ? ")" : " no host at all)");
}

static int refused(const struct pki_cert *c, const struct pki_verify *v, X509_STORE_CTX *ctx, int64_t now_ms,
		   struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	int why = crypto.X509_STORE_CTX_get_error(ctx);
	struct pki_cert at = {.p = crypto.X509_STORE_CTX_get_current_cert(ctx)};
	struct pki_cert_info i;
	if (pki_cert_info(at.p ? &at : c, &a, &i, e) < 0)
		return -1;
	buf_printf(&b, "certificate '%.*s' of '%.*s'", STR_ARG(str_head(i.subject, 200)),
		   STR_ARG(str_head(i.issuer, 200)));
	if (v->host)
		buf_printf(&b, " shown for '%s'", v->host);
	buf_printf(&b, ": %s", crypto.X509_verify_cert_error_string(why));
	if (why == X509_V_ERR_CERT_HAS_EXPIRED || why == X509_V_ERR_CERT_NOT_YET_VALID)
		put_life(&b, &i, now_ms);
	if (why == X509_V_ERR_HOSTNAME_MISMATCH || why == X509_V_ERR_IP_ADDRESS_MISMATCH)
		put_names(&b, &i);
	crypto.ERR_clear_error();
	return err_new(e, ERR_VERIFY, "%s; %s", b.p, cure(why, v->purpose));
}

int pki_verify(const struct pki_cert *c, const struct pki_verify *v, int64_t now_ms, struct err *e)
{
	auto_ptr(store) store = crypto.X509_STORE_new();
	auto_ptr(ctx) ctx = crypto.X509_STORE_CTX_new();
	if (!store || !ctx)
		panic("out of memory");
	if (add_anchors(store, v->anchors, e) < 0 || (v->crl.n && add_crls(store, v->crl, e) < 0))
		return -1;
	if (!crypto.X509_STORE_CTX_init(ctx, store, c->p, NULL))
		return crypto_failed(e, ERR_FAILED, "look at a certificate");
	if (set_up(ctx, v, now_ms, e) < 0)
		return -1;
	int rc = crypto.X509_verify_cert(ctx);
	if (rc != 1)
		return refused(c, v, ctx, now_ms, e);
	crypto.ERR_clear_error();
	return 0;
}
