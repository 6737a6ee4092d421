// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"
#include "tuf/canonical.h"
#include "tuf/meta.h"

static const char *canonical(const char *text)
{
	static char out[4096];
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(sizeof(out) - 1);
	struct err e = ERR_INIT;
	const struct json *j = json_parse(&a, str_c(text), "text", &e);
	CHECK_MSG(j, "%s", e.msg);
	if (canonical_put(&b, j, &e) < 0)
		return NULL;
	memcpy(out, b.p, b.n + 1);
	return out;
}

TEST(canonical_json_has_no_space_and_sorted_keys)
{
	CHECK_STR(canonical(" { \"b\" : [ 1, -2 , true,false,null ], \"a\" : \"x\" } "),
		  "{\"a\":\"x\",\"b\":[1,-2,true,false,null]}");
	CHECK_STR(canonical("{\"A\":1,\"a\":2,\"\\u00e9\":3,\"_\":4}"), "{\"A\":1,\"_\":4,\"a\":2,\"\xc3\xa9\":3}");
}

TEST(canonical_json_escapes_quote_and_backslash_alone)
{
	CHECK_STR(canonical("\"a\\\"b\\\\c\\nd\\/e\\u0001\""), "\"a\\\"b\\\\c\nd/e\x01\"");
	CHECK_STR(canonical("\"\""), "\"\"");
}

TEST(canonical_json_refuses_what_has_no_such_form)
{
	CHECK(!canonical("1.5"));
	CHECK(!canonical("1e3"));
	CHECK(!canonical("99999999999999999999"));
	CHECK(!canonical("{\"a\":{\"k\":1,\"l\":2,\"k\":3}}"));
}

static bool matches(const char *pattern, const char *path)
{
	return path_matches(str_c(pattern), str_c(path));
}

TEST(path_patterns_stay_in_their_component)
{
	CHECK(matches("*", "file"));
	CHECK(!matches("*", "dir/file"));
	CHECK(matches("*/*", "dir/file"));
	CHECK(!matches("*/*", "a/b/c"));
	CHECK(matches("a/*.zip", "a/x.zip"));
	CHECK(!matches("a/*.zip", "a/x/y.zip"));
	CHECK(matches("foo-?.tgz", "foo-1.tgz"));
	CHECK(!matches("foo-?.tgz", "foo-12.tgz"));
	CHECK(!matches("foo-?", "foo-/"));
	CHECK(!matches("README.md", "README.MD"));
	CHECK(matches("*ab*ab*", "xababx"));
	CHECK(!matches("*ab*abc", "xababx"));
	CHECK(matches("", ""));
	CHECK(!matches("", "a"));
	CHECK(matches("**", "abc"));
	CHECK(!matches("*", "abc/"));
}

TEST(path_patterns_know_sets)
{
	CHECK(matches("v[0-9].txt", "v7.txt"));
	CHECK(!matches("v[0-9].txt", "vx.txt"));
	CHECK(matches("v[!0-9].txt", "vx.txt"));
	CHECK(!matches("v[!0-9]x", "v/x"));
	CHECK(matches("[]a]", "]"));
	CHECK(matches("[a-]", "-"));
	CHECK(matches("[", "["));
	CHECK(matches("[abc", "[abc"));
	CHECK(matches("[a/b]", "[a/b]")); /* a set ends with its component */
}

TEST(path_patterns_of_many_stars_take_no_long_time)
{
	char pattern[400], path[2000];
	memset(path, 'a', sizeof(path) - 1), path[sizeof(path) - 1] = '\0';
	for (size_t i = 0; i + 2 < sizeof(pattern); i += 2)
		memcpy(pattern + i, "*a", 2);
	memcpy(pattern + sizeof(pattern) - 2, "b", 2);
	CHECK(!matches(pattern, path));
}

TEST(times_are_of_one_shape)
{
	int64_t t;
	CHECK(tuf_time(STR("1970-01-01T00:00:00Z"), &t));
	CHECK_INT(t, 0);
	CHECK(tuf_time(STR("2044-08-10T10:05:04Z"), &t));
	CHECK_INT(t, 2354436304000);
	CHECK(tuf_time(STR("2024-02-29T23:59:59Z"), &t));
	CHECK(tuf_time(STR("1900-01-01T00:00:00Z"), &t));
	CHECK_INT(t, -2208988800000);
	static const char *const wrong[] = {
		"2023-02-29T00:00:00Z",	     "2100-02-29T00:00:00Z",
		"2024-13-01T00:00:00Z",	     "2024-00-01T00:00:00Z",
		"2024-01-32T00:00:00Z",	     "2024-01-01T24:00:00Z",
		"2024-01-01T00:60:00Z",	     "2024-01-01T00:00:60Z",
		"2024-01-01 00:00:00Z",	     "2024-01-01T00:00:00",
		"2024-01-01T00:00:00+00:00", "2024-01-01T00:00:00.5Z",
		"2024-1-01T00:00:00Z",	     "",
		"9999-99-99T99:99:99Z",
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_MSG(!tuf_time(str_c(wrong[i]), &t), "%s", wrong[i]);
}

static const char *quoted(const char *s, bool keep_slash)
{
	static char out[256];
	auto_buf b = BUF_INIT(sizeof(out) - 1);
	put_quoted(&b, str_c(s), keep_slash);
	memcpy(out, b.p, b.n + 1);
	return out;
}

TEST(names_are_quoted_for_urls_and_files)
{
	CHECK_STR(quoted("../delegatedrole", false), "..%2Fdelegatedrole");
	CHECK_STR(quoted("?#%\xc3\xa9 ", false), "%3F%23%25%C3%A9%20");
	CHECK_STR(quoted("a/b c", true), "a/b%20c");
	CHECK_STR(quoted("Az09_.-~", false), "Az09_.-~");
}

/* -- keys ---------------------------------------------------------------------------------------------------------- */

static const char p256_pem[] = "-----BEGIN PUBLIC KEY-----\n"
			       "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEu+ebm3VUg6U2b0IIeR6NFZU7uxkL\n"
			       "R1sVLxV8SEW7G+AMXMasEQf5daxfwVMP1kuEkhGs3mBYLkYXlWDh9BNSxg==\n"
			       "-----END PUBLIC KEY-----\n";
static const char p256_point[] =
	"04bbe79b9b755483a5366f4208791e8d15953bbb190b475b152f157c4845bb1be00c5cc6ac1107f975ac5fc1530f"
	"d64b849211acde60582e46179560e1f41352c6";

static struct public_key *load(const char *keytype, const char *scheme, const char *text)
{
	return public_key_load(scheme_of(str_c(keytype), str_c(scheme)), str_c(text));
}

TEST(one_key_written_in_two_ways_has_one_value)
{
	uint8_t a[KEY_VALUE_SIZE], b[KEY_VALUE_SIZE];
	auto_ptr(public_key) pem = load("ecdsa", "ecdsa-sha2-nistp256", p256_pem);
	auto_ptr(public_key) point = load("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", p256_point);
	CHECK(pem && point);
	public_key_value(pem, a);
	public_key_value(point, b);
	CHECK(memcmp(a, b, sizeof(a)) == 0);
}

TEST(what_is_no_key_of_its_scheme_is_none)
{
	CHECK(!load("rsa", "rsassa-pss-sha256", p256_pem));
	CHECK(!load("ed25519", "ed25519", p256_pem));
	CHECK(!load("ed25519", "ed25519", "00"));
	CHECK(!load("ecdsa", "ecdsa-sha2-nistp256", ""));
	CHECK(!load("ecdsa", "ecdsa-sha2-nistp256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"));
	CHECK(!load("sphincs", "sphincs-shake-128s", "00"));
	CHECK(!load("ecdsa", "ed25519", p256_pem));
}

/* the third test of RFC 8032, 7.1 */
TEST(ed25519_signature_of_the_rfc)
{
	auto_ptr(public_key)
		k = load("ed25519", "ed25519", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
	uint8_t sig[64];
	CHECK(k);
	CHECK(str_unhex(
		STR("6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c"
		    "15e9716ed28dc027beceea1ec40a"),
		sig, sizeof(sig)));
	CHECK(public_key_verifies(k, STR("\xaf\x82"), sig, sizeof(sig)));
	CHECK(!public_key_verifies(k, STR("\xaf\x83"), sig, sizeof(sig)));
	CHECK(!public_key_verifies(k, STR("\xaf\x82"), sig, sizeof(sig) - 1));
	sig[0] ^= 1;
	CHECK(!public_key_verifies(k, STR("\xaf\x82"), sig, sizeof(sig)));
}

static const char rsa_pem[] = "-----BEGIN PUBLIC KEY-----\n"
			      "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvY3lQVodd2zxmu2pstDk\n"
			      "L9nthsY2A3XUHjNCnDcbosV9RWFGegZbPxyeHXpEayR2YDgTuvErDpZWnenJ00oy\n"
			      "sl+HdHfeEmcr7nq33Sf4vRU5lkDT03julIxFpQ+5GWEWrCw+HIbNmxIecIyxEzdw\n"
			      "YMCVwlCg6yzgV3aM4z1oKXr6aacBBxjJ6uSxMlPtV4dEuOt6nGPSya9YKPK7J71R\n"
			      "Hvqlm8DHt1hdb/hQwi0sQBqujIDHtOH9tjo3qH6dXdZfpWTvh6LgIUS4vAq4T3/J\n"
			      "cBkCm+gIJ84Z+IwahKfcBNPG/qHaNv67JMpW4Qm+Qd3ji54F7lJqU3c6O2SH7I8W\n"
			      "nQIDAQAB\n"
			      "-----END PUBLIC KEY-----\n";
static const char rsa_small_pem[] = "-----BEGIN PUBLIC KEY-----\n"
				    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDyBHHE4WWHv1DyvOEwC19hFeg9\n"
				    "kbBHNHLBSbIfQKnUGmrPQhJv2F68BYAIai/0dPPCAyZasAusQryjPN+i3WcjwyaX\n"
				    "cn1Fvqwdbitaot7U9ZnXvFiGlW9RBPmUqSKFQzpO9Y6izhbNW/ylHN/tFxSkRaOT\n"
				    "ZZd1qlgzmh0HpTCX7QIDAQAB\n"
				    "-----END PUBLIC KEY-----\n";
static const char rsa_pss[] =
	"56edfa8702f98f80998afea175c130b3f12f0356882f1f8b582d46cf17dd4ab31a86dcfabb53e473f2175220df72b215b99b"
	"8550dca210b384133d22cd435a11774b1820ba9468e8f811e1d95ecbad35d0e02837d250d27cbeb881ac4f51f10f71822f55"
	"84f1396cfd7b00300d36308a8e2d0b58dc20833cc0e9bbc5c0afc62d75a0d8f6154022ee78f64f17a70cecf494e5d9e86960"
	"e2d56eb3c0d4f4c5588315d294cd4e1086bf47eb207b252965c3f3657f6da99dba578b1e7e6ab03c32b050116bc545b4ef1b"
	"87dc2c0ff139b1d333c3a421e374cdbbc97ed41c8dd8b784930e7b82ef2125d7dc1c8cc3eec0f8c07f80b4a0fc2a0d9035f5"
	"0b94b111115b";
static const char rsa_pkcs1[] =
	"301fa4c546a41046293743cb40ae22e082895c069d0ba8b49ee1b507b55deef51c02ef05b7c015757aacca571abfb66e094c"
	"c191bf63ad6a35a1c1edbb754af006f406cfb8d0df561618b2023159721f42de02fddde78b0cb44fac612c33f29d77f2e8df"
	"418384c2319383c8e447b16c884dbc33a90896c97295464f5571eaf0275212ba5c3833f24de54a9d9a6b61b9f23170196ca2"
	"d90d1f99023998ece64edf6082b0021f01fb9046171a5024d16e385b69519dd1838034b60b42f7cd51359461909aeb903993"
	"c9ecf6b71a02c9554d75e500589a8d765477ddca9c8d3a0e2af9bed69790e9857069d2b144ec3de3808979a850d7d475c691"
	"ef04a4562df1";

static bool rsa_verifies(const char *scheme, const char *hex)
{
	auto_ptr(public_key) k = load("rsa", scheme, rsa_pem);
	uint8_t sig[256];
	CHECK(k && str_unhex(str_c(hex), sig, sizeof(sig)));
	return public_key_verifies(k, STR("signed text"), sig, sizeof(sig));
}

/* by openssl dgst -sha256, with -sigopt rsa_padding_mode:pss and without */
TEST(rsa_signatures_are_of_their_scheme)
{
	CHECK(rsa_verifies("rsassa-pss-sha256", rsa_pss));
	CHECK(rsa_verifies("rsa-pkcs1v15-sha256", rsa_pkcs1));
	CHECK(!rsa_verifies("rsassa-pss-sha256", rsa_pkcs1));
	CHECK(!rsa_verifies("rsa-pkcs1v15-sha256", rsa_pss));
}

TEST(one_rsa_key_in_two_schemes_is_one_key)
{
	uint8_t a[KEY_VALUE_SIZE], b[KEY_VALUE_SIZE];
	auto_ptr(public_key) pss = load("rsa", "rsassa-pss-sha256", rsa_pem);
	auto_ptr(public_key) pkcs1 = load("rsa", "rsa-pkcs1v15-sha256", rsa_pem);
	public_key_value(pss, a);
	public_key_value(pkcs1, b);
	CHECK(memcmp(a, b, sizeof(a)) == 0);
}

TEST(an_rsa_key_of_1024_bits_is_none)
{
	CHECK(!load("rsa", "rsassa-pss-sha256", rsa_small_pem));
}
