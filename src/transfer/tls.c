// SPDX-License-Identifier: Apache-2.0
/*
 * Why a server's certificate was refused. libcurl says little more than that it was; so a callback of libssl's, which decides nothing, notes
 * each certificate as it is looked at. What it notes into belongs to the engine, because connections outlive requests.
 */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "transfer/job.h"

#define CRYPTO(X)                                                                                                      \
	X(, ASN1_STRING_get0_data)                                                                                     \
	X(, ASN1_STRING_length)                                                                                        \
	X(, ASN1_TIME_to_tm)                                                                                           \
	X(, GENERAL_NAMES_free)                                                                                        \
	X(, OPENSSL_sk_num)                                                                                            \
	X(, OPENSSL_sk_value)                                                                                          \
	X(, X509_NAME_get_text_by_NID)                                                                                 \
	X(, X509_NAME_oneline)                                                                                         \
	X(, X509_STORE_CTX_get0_cert)                                                                                  \
	X(, X509_STORE_CTX_get_current_cert)                                                                           \
	X(, X509_STORE_CTX_get_error)                                                                                  \
	X(, X509_STORE_CTX_get_ex_data)                                                                                \
	X(, X509_get0_notAfter)                                                                                        \
	X(, X509_get0_notBefore)                                                                                       \
	X(, X509_get_ext_d2i)                                                                                          \
	X(, X509_get_issuer_name)                                                                                      \
	X(, X509_get_subject_name)                                                                                     \
	X(, X509_verify_cert_error_string)
#define SSLS(X)                                                                                                        \
	X(, SSL_CTX_get_ex_data)                                                                                       \
	X(, SSL_CTX_get_verify_mode)                                                                                   \
	X(, SSL_CTX_set_ex_data)                                                                                       \
	X(, SSL_CTX_set_verify)                                                                                        \
	X(, SSL_get_SSL_CTX)                                                                                           \
	X(, SSL_get_ex_data_X509_STORE_CTX_idx)                                                                        \
	X(, SSL_get_servername)
#define SONAME_OF(name, version) "lib" name ".so." #version
#define SONAME(name, version) SONAME_OF(name, version)
DL_LIBRARY(crypto, SONAME("crypto", OPENSSL_SHLIB_VERSION), CRYPTO, NULL);
DL_LIBRARY(ssl, SONAME("ssl", OPENSSL_SHLIB_VERSION), SSLS, NULL);

enum { NAME_SIZE = 256, NAMES_SHOWN = 8 };

struct shown {
	char subject[NAME_SIZE], issuer[NAME_SIZE];
	int64_t from_ms, until_ms;
};
struct tls_seen {
	char host[NAME_SIZE]; /* that was asked for by name; "" an address */
	struct shown leaf, bad;
	int error; /* of `bad`; X509_V_OK: of none */
	struct buf names;
};

/* -- noting ------------------------------------------------------------------------------------------------------- */

/* Others' words in our messages: in one line. */
static void clean(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f || *s == '\'')
			*s = '?';
}

static void note_name(char out[NAME_SIZE], const X509_NAME *n)
{
	if (crypto.X509_NAME_get_text_by_NID(n, NID_commonName, out, NAME_SIZE) <= 0)
		(void)crypto.X509_NAME_oneline(n, out, NAME_SIZE);
	clean(out);
}

static int64_t time_of(const ASN1_TIME *t)
{
	struct tm tm;
	return t && crypto.ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) * 1000 : 0;
}

static void note_certificate(struct shown *s, X509 *x)
{
	note_name(s->subject, crypto.X509_get_subject_name(x));
	note_name(s->issuer, crypto.X509_get_issuer_name(x));
	s->from_ms = time_of(crypto.X509_get0_notBefore(x));
	s->until_ms = time_of(crypto.X509_get0_notAfter(x));
}

static void note_one(struct buf *b, const GENERAL_NAME *g)
{
	char text[NAME_SIZE] = "";
	const ASN1_STRING *s = g->type == GEN_DNS ? g->d.dNSName : g->type == GEN_IPADD ? g->d.iPAddress : NULL;
	if (!s)
		return;
	const unsigned char *p = crypto.ASN1_STRING_get0_data(s);
	int n = crypto.ASN1_STRING_length(s);
	if (g->type == GEN_DNS)
		snprintf(text, sizeof(text), "%.*s", n < NAME_SIZE ? n : NAME_SIZE - 1, (const char *)p);
	else if (n == 4 || n == 16)
		(void)inet_ntop(n == 4 ? AF_INET : AF_INET6, p, text, sizeof(text));
	clean(text);
	if (text[0])
		buf_printf(b, "%s'%s'", b->n ? ", " : "", text);
}

static void note_names(struct buf *b, const X509 *x)
{
	GENERAL_NAMES *all = crypto.X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	int n = all ? crypto.OPENSSL_sk_num((const OPENSSL_STACK *)all) : 0;
	buf_clear(b);
	for (int i = 0; i < n && i < NAMES_SHOWN; i++)
		note_one(b, crypto.OPENSSL_sk_value((const OPENSSL_STACK *)all, i));
	if (n > NAMES_SHOWN)
		buf_put_c(b, " and others");
	if (all)
		crypto.GENERAL_NAMES_free(all);
}

static int on_certificate(int good, X509_STORE_CTX *ctx)
{
	const SSL *s = crypto.X509_STORE_CTX_get_ex_data(ctx, ssl.SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_seen *seen = s ? ssl.SSL_CTX_get_ex_data(ssl.SSL_get_SSL_CTX(s), 0) : NULL;
	X509 *x = crypto.X509_STORE_CTX_get_current_cert(ctx);
	if (!seen || !x)
		return good;
	X509 *leaf = crypto.X509_STORE_CTX_get0_cert(ctx);
	if (leaf && (!good || x == leaf)) {
		const char *host = ssl.SSL_get_servername(s, TLSEXT_NAMETYPE_host_name);
		snprintf(seen->host, sizeof(seen->host), "%s", host ? host : "");
		note_certificate(&seen->leaf, leaf);
		note_names(&seen->names, leaf);
		seen->error = X509_V_OK;
	}
	if (!good) {
		note_certificate(&seen->bad, x);
		seen->error = crypto.X509_STORE_CTX_get_error(ctx);
	}
	return good;
}

static CURLcode on_context(CURL *easy, void *context, void *seen)
{
	SSL_CTX *c = context;
	(void)easy;
	if (ssl.SSL_CTX_get_verify_mode(c) != SSL_VERIFY_NONE && ssl.SSL_CTX_set_ex_data(c, 0, seen))
		ssl.SSL_CTX_set_verify(c, ssl.SSL_CTX_get_verify_mode(c), on_certificate);
	return CURLE_OK;
}

/* Only where the library that libcurl speaks by is the one that this was made for. */
static bool is_openssl(const struct curl_api *c)
{
	struct err ignored = ERR_INIT;
	const curl_version_info_data *v = c->version_info(CURLVERSION_NOW);
	return v && v->ssl_version && str_starts(str_c(v->ssl_version), STR("OpenSSL/3")) &&
	       dl_load(&crypto_library, &ignored) == 0 && dl_load(&ssl_library, &ignored) == 0;
}

void tls_watch(struct job *j)
{
	struct transfer *t = j->t;
	if (strncasecmp(j->r->url, "https:", 6) != 0 || !is_openssl(t->curl))
		return;
	if (!t->seen) {
		t->seen = xcalloc(1, sizeof(*t->seen));
		t->seen->names = BUF_INIT(4096);
	}
	t->curl->easy_setopt(j->easy, CURLOPT_SSL_CTX_FUNCTION, on_context);
	t->curl->easy_setopt(j->easy, CURLOPT_SSL_CTX_DATA, (void *)t->seen);
}

void tls_forget(struct transfer *t)
{
	if (!t->seen)
		return;
	buf_release(&t->seen->names);
	free(t->seen);
	t->seen = NULL;
}

/* -- saying ------------------------------------------------------------------------------------------------------- */

static const char *cure(int error, bool own_authority)
{
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return "have the server's certificate renewed, or set this host's clock";
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return "set this host's clock, or the server's";
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		return own_authority
			       ? "its authority is not the one that this host knows: is it the right server? If its authority was made "
				 "anew, enroll again ('slipway enroll')"
			       : "is it the right server? If it has an authority of its own, enroll this host there ('slipway "
				 "enroll'), or have the system trust it";
	default:
		return "have the server's keeper look at its certificate";
	}
}

static void put_life(struct buf *b, const struct shown *s, int64_t now_ms)
{
	buf_put_c(b, " (good from ");
	clock_put_iso(b, s->from_ms);
	buf_put_c(b, " to ");
	clock_put_iso(b, s->until_ms);
	buf_put_c(b, "; here it is ");
	clock_put_iso(b, now_ms);
	buf_put_char(b, ')');
}

/* The host of the URL as it was asked for; brackets of an IPv6 address go. */
static struct str host_of(const char *url)
{
	struct str s = str_c(url), rest;
	ptrdiff_t at = str_search(s, STR("://"));
	s = at < 0 ? s : str_skip(s, (size_t)at + 3);
	s = str_head(s, strcspn(s.p, "/?#"));
	at = str_rfind(s, '@');
	s = str_skip(s, (size_t)(at + 1));
	rest = s;
	if (str_take_char(&rest, '[') && (at = str_find(rest, ']')) >= 0)
		return str_head(rest, (size_t)at);
	at = str_find(s, ':');
	return at < 0 ? s : str_head(s, (size_t)at);
}

bool tls_why(struct job *j, struct err *e)
{
	const struct tls_seen *seen = j->t->seen;
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	struct str host = host_of(j->r->url);
	if (!seen || !seen->leaf.subject[0] || (seen->host[0] && str_casecmp(str_c(seen->host), host) != 0))
		return false;
	bool dates = seen->error == X509_V_ERR_CERT_HAS_EXPIRED || seen->error == X509_V_ERR_CERT_NOT_YET_VALID;
	const struct shown *s = dates ? &seen->bad : &seen->leaf; /* it may be an authority's that is over */
	buf_printf(&b, "the certificate '%s' of '%s', shown for '%.*s': ", s->subject, s->issuer, STR_ARG(host));
	if (seen->error == X509_V_OK) { /* the chain is good, so it is libcurl that did not like the name */
		buf_printf(&b,
			   "it is not for that name, but for %s; use one of these, or have it made for this one too",
			   seen->names.n ? seen->names.p : "none at all");
		return err_new(e, ERR_NETWORK, "%s", b.p) < 0;
	}
	buf_put_c(&b, crypto.X509_verify_cert_error_string(seen->error));
	if (dates)
		put_life(&b, s, clock_wall_ms());
	return err_new(e, ERR_NETWORK, "%s; %s", b.p, cure(seen->error, j->own_authority)) < 0;
}
