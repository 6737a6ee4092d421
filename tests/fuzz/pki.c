// SPDX-License-Identifier: Apache-2.0
/*
 * What strangers send: requests, certificates, bundles, lists of revoked ones. The first byte chooses; the rest is PEM, or DER that is put
 * into PEM here so that a fuzzer need not find base64. What is taken can be signed, and what was signed is good.
 */
#include "base/buf.h"
#include "pki/pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t now = 1795000000000;
static struct pki_key *key;
static struct pki_cert *ca;

static void need_authority(void)
{
	struct err e = ERR_INIT;
	if (!ca && (pki_key_new(PKI_ED25519, &key, &e) < 0 ||
		    pki_authority_new(key, &(struct pki_authority_opts){.name = STR("fuzz")}, now, &ca, &e) < 0))
		panic("%s", e.msg);
}

static struct str pem_of(struct arena *a, const char *word, struct str der)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	auto_buf b = BUF_INIT(1 << 16);
	buf_printf(&b, "-----BEGIN %s-----\n", word);
	for (size_t i = 0; i < der.n; i += 3) {
		const uint8_t *p = (const uint8_t *)der.p + i;
		size_t n = der.n - i;
		uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
		buf_put_char(&b, digits[v >> 18]);
		buf_put_char(&b, digits[v >> 12 & 63]);
		buf_put_char(&b, n > 1 ? digits[v >> 6 & 63] : '=');
		buf_put_char(&b, n > 2 ? digits[v & 63] : '=');
		if (i % 48 == 45)
			buf_put_char(&b, '\n');
	}
	buf_printf(&b, "\n-----END %s-----\n", word);
	return arena_str(a, buf_str(&b));
}

static void request(struct str pem)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(pki_request) r = NULL;
	auto_ptr(pki_cert) c = NULL;
	struct err e = ERR_INIT;
	if (pki_request_read(pem, &r, &e) < 0) {
		if (!e.msg[0] || (e.code != ERR_INPUT && e.code != ERR_LIMIT))
			panic("a failure of another kind: %s", e.msg);
		return;
	}
	if (pki_request_name(r).n && pki_name_check(pki_request_name(r), &e) < 0)
		panic("a name that is none: %s", e.msg);
	if (pki_sign_client(ca, key, r, STR("client"), 0, now, &c, &e) < 0)
		panic("what was taken cannot be signed: %s", e.msg);
}

static void certificate(struct str der)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(pki_cert) c = NULL;
	auto_ptr(pki_cert) again = NULL;
	struct pki_cert_info i;
	struct err e = ERR_INIT;
	uint8_t one[SHA256_SIZE], two[SHA256_SIZE];
	if (pki_cert_read_der(der, "input", &c, &e) < 0)
		return;
	if (pki_cert_read(pki_cert_pem(c, &a), "again", &again, &e) < 0)
		panic("what was read does not come back: %s", e.msg);
	pki_cert_fingerprint(c, one);
	pki_cert_fingerprint(again, two);
	if (memcmp(one, two, sizeof(one)) != 0)
		panic("it comes back as another one");
	if (pki_cert_info(c, &a, &i, &e) == 0)
		for (size_t k = 0; k < i.subject.n; k++)
			if ((unsigned char)i.subject.p[k] < ' ')
				panic("a name that cannot be shown");
	struct pki_verify v = {.anchors = pki_cert_pem(ca, &a), .purpose = PKI_SERVER, .host = "a.b"};
	if (pki_verify(c, &v, now, &e) == 0)
		panic("a forged certificate");
}

static void bundle(struct str text)
{
	auto_arena a = ARENA_INIT;
	struct str out, mine = pki_bundle_begin(ca, &a);
	struct pki_cert *all[PKI_BUNDLE_CERTS];
	size_t n;
	struct err e = ERR_INIT;
	if (pki_bundle_merge(mine, text, now, &a, &out, &e) < 0)
		return;
	if (pki_bundle_read(out, all, &n, &e) < 0)
		panic("a merged bundle cannot be read: %s", e.msg);
	for (size_t i = 0; i < n; i++)
		pki_cert_free(all[i]);
	if (n != 1)
		panic("a stranger's authority is trusted");
}

static void crl(struct str pem)
{
	auto_arena a = ARENA_INIT;
	struct pki_crl_info i;
	struct err e = ERR_INIT;
	if (pki_crl_read(pem, ca, &a, &i, &e) == 0)
		panic("a forged list of revoked certificates");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	if (!size || size > 8192)
		return 0;
	need_authority();
	struct str rest = str_of((const char *)data + 1, size - 1);
	switch (data[0] % 8) {
	case 0:
		request(rest);
		break;
	case 1:
		request(pem_of(&a, "CERTIFICATE REQUEST", rest));
		break;
	case 2:
		certificate(rest);
		break;
	case 3:
		bundle(rest);
		break;
	case 4:
		bundle(pem_of(&a, "CERTIFICATE", rest));
		break;
	case 5:
		crl(pem_of(&a, "X509 CRL", rest));
		break;
	case 6: {
		struct err e = ERR_INIT;
		auto_ptr(pki_key) k = NULL;
		(void)pki_key_read(rest, "input", &k, &e);
		break;
	}
	default: {
		struct err e = ERR_INIT;
		bool is_address;
		(void)pki_host_check(rest, &is_address, &e);
		(void)pki_name_check(rest, &e);
	}
	}
	return 0;
}
