// SPDX-License-Identifier: Apache-2.0
/* Codes, enrolment, renewal, revocation, rights: with a clock that the tests turn. */
#include "lib/test.h"
#include "mirror/mirror.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "mirror/code.h"

static const int64_t day = 86400000;
static struct clock_fake now;
static struct arena arena;
static struct str hosts[] = {{"mirror.customer.com", 19}};
static const struct mirror_authority_opts authority = {{"your-mirror", 11}, hosts, 1, false, false};

static struct mirror_clients *reopen(void)
{
	struct err e = ERR_INIT;
	struct mirror_clients *c;
	CHECK_MSG(mirror_clients_open(test_tmp(), &now.base, &c, &e) == 0, "%s", e.msg);
	return c;
}

static struct mirror_clients *fresh(void)
{
	struct err e = ERR_INIT;
	now = clock_fake_at(1000, 1795000000000);
	CHECK_MSG(mirror_authority_make(test_tmp(), &authority, &now.base, &e) >= 0, "%s", e.msg);
	return reopen();
}

static void pass(int64_t ms)
{
	now.now_ms += ms;
	now.wall_ms += ms;
}

static const char *new_code(struct mirror_clients *c, const char *name)
{
	struct err e = ERR_INIT;
	struct mirror_code code;
	CHECK_MSG(mirror_code_new(c, &(struct mirror_code_opts){.name = str_c(name)}, &arena, &code, &e) == 0, "%s",
		  e.msg);
	return code.text.p;
}

struct host {
	struct pki_key *key;
	const char *machine, *name;
	struct str certificate;
	uint8_t fingerprint[SHA256_SIZE];
};

static struct host new_host(const char *machine, const char *name)
{
	struct err e = ERR_INIT;
	struct host h = {.machine = machine, .name = name};
	CHECK_MSG(pki_key_new(PKI_EC_P256, &h.key, &e) == 0, "%s", e.msg);
	return h;
}

static struct str body(const struct host *h, const char *code)
{
	struct err e = ERR_INIT;
	struct str csr;
	auto_buf b = BUF_INIT(1 << 16);
	struct jw w = JW_INIT(&b, 0);
	CHECK(pki_request_new(h->key, str_c(h->name), &arena, &csr, &e) == 0);
	jw_object(&w);
	if (code)
		jw_kv_c(&w, "code", code);
	jw_kv_c(&w, "machine", h->machine);
	jw_kv_str(&w, "request", csr);
	jw_object_end(&w);
	return arena_str(&arena, buf_str(&b));
}

static struct str word(const struct mirror_reply *r, const char *key)
{
	struct err e = ERR_INIT;
	struct str s = STR_NONE;
	const struct json *j = json_parse(&arena, r->body, "reply", &e);
	CHECK_MSG(j, "%s", e.msg);
	(void)json_opt_str(j, key, &s, &e);
	return s;
}

static void took(struct host *h, const struct mirror_reply *r)
{
	struct err e = ERR_INIT;
	auto_ptr(pki_cert) c = NULL;
	h->certificate = word(r, "certificate");
	CHECK_MSG(pki_cert_read(h->certificate, "reply", &c, &e) == 0, "%s", e.msg);
	CHECK(pki_cert_is_of(c, h->key));
	pki_cert_fingerprint(c, h->fingerprint);
}

static struct mirror_reply try_enroll(struct mirror_clients *c, const struct host *h, const char *code)
{
	struct err e = ERR_INIT;
	struct mirror_reply r;
	struct mirror_call call = {.body = body(h, code), .address = STR("10.0.0.1")};
	pass(60000); /* so that the tests are not too often */
	CHECK_MSG(mirror_enroll(c, &call, &arena, &r, &e) == 0, "%s", e.msg);
	return r;
}

static void enroll(struct mirror_clients *c, struct host *h, const char *code)
{
	struct mirror_reply r = try_enroll(c, h, code);
	CHECK_MSG(r.status == 200, "%d %.*s", r.status, STR_ARG(r.body));
	took(h, &r);
}

static struct mirror_reply renew(struct mirror_clients *c, const struct host *h)
{
	struct err e = ERR_INIT;
	struct mirror_reply r;
	struct mirror_call call = {.body = body(h, NULL), .address = STR("10.0.0.1"), .certificate = h->fingerprint};
	pass(60000);
	CHECK_MSG(mirror_renew(c, &call, &arena, &r, &e) == 0, "%s", e.msg);
	return r;
}

/* Who it is; "" where nobody. */
static const char *who(struct mirror_clients *c, const struct host *h)
{
	struct err e = ERR_INIT;
	struct mirror_who w;
	int rc = mirror_who(c, h->fingerprint, &arena, &w, &e);
	CHECK_MSG(rc >= 0, "%s", e.msg);
	CHECK(rc || e.msg[0]);
	return rc ? w.name.p : "";
}

static void refused(const struct mirror_reply *r, int status, const char *error)
{
	CHECK_MSG(r->status == status && str_eq_c(word(r, "error"), error), "%d %.*s", r->status, STR_ARG(r->body));
	CHECK(word(r, "message").n > 0 && !word(r, "certificate").n);
}

static size_t clients(struct mirror_clients *c, struct mirror_client **ret)
{
	struct err e = ERR_INIT;
	size_t n;
	CHECK_MSG(mirror_client_list(c, &arena, ret, &n, &e) == 0, "%s", e.msg);
	return n;
}

/* -- codes -------------------------------------------------------------------------------------------------------- */

TEST(a_code_comes_back)
{
	struct code c = {.number = 0xabcdef}, again;
	struct err e = ERR_INIT;
	for (size_t i = 0; i < CODE_PIN; i++)
		c.pin[i] = (uint8_t)(i * 37 + 200);
	for (size_t i = 0; i < CODE_SECRET; i++)
		c.secret[i] = (uint8_t)(i * 91 + 5);
	struct str text = code_text(&arena, &c);
	CHECK_INT(text.n, 8 * 6 + 7);
	CHECK(code_parse(text, &again, &e) == 0);
	CHECK(memcmp(c.pin, again.pin, CODE_PIN) == 0 && memcmp(c.secret, again.secret, CODE_SECRET) == 0 &&
	      c.number == again.number);
	/* as people write */
	char *loose = arena_strdup(&arena, text);
	for (char *p = loose; *p; p++)
		*p = *p == '-' ? ' ' : *p == '0' ? 'O' : *p == '1' ? 'l' : *p >= 'a' ? (char)(*p - 32) : *p;
	CHECK_MSG(code_parse(str_c(loose), &again, &e) == 0, "%s: %s", loose, e.msg);
	CHECK(memcmp(c.secret, again.secret, CODE_SECRET) == 0);
	/* each slip of the hand is seen */
	for (size_t i = 0; i < text.n; i++) {
		char *slip = arena_strdup(&arena, text);
		if (slip[i] == '-')
			continue;
		slip[i] = slip[i] == 'z' ? 'y' : 'z';
		CHECK(code_parse(str_c(slip), &again, &e) < 0);
		CHECK_INT(e.code, ERR_USAGE);
		CHECK(!strstr(e.msg, slip));
	}
	CHECK(code_parse(str_head(text, text.n - 1), &again, &e) < 0);
	CHECK(code_parse(str_c(arena_printf(&arena, "%s0", text.p)), &again, &e) < 0);
	CHECK(code_parse(STR(""), &again, &e) < 0);
	arena_release(&arena);
}

TEST(only_the_digest_of_a_secret_is_kept)
{
	auto_ptr(mirror_clients) c = fresh();
	struct code code;
	struct err e = ERR_INIT;
	const char *text = new_code(c, "");
	CHECK(code_parse(str_c(text), &code, &e) == 0);
	mirror_clients_free(steal_ptr(&c)); /* so that all is in the file itself */
	auto_fd dir = fs_open_dir(AT_FDCWD, test_tmp(), &e);
	auto_buf b = BUF_INIT(1 << 24);
	CHECK(fs_read(dir, "state/mirror.db", &b, &e) == 0);
	char hex[2 * CODE_SECRET + 1];
	hex_encode(code.secret, CODE_SECRET, hex);
	CHECK(str_search(buf_str(&b), str_c(hex)) < 0);
	CHECK(str_search(buf_str(&b), str_of((const char *)code.secret, CODE_SECRET)) < 0);
	CHECK(str_search(buf_str(&b), str_c(text)) < 0);
	CHECK(str_search(buf_str(&b), STR("enroll_code")) >= 0);
	arena_release(&arena);
}

/* -- enrolment ---------------------------------------------------------------------------------------------------- */

TEST(a_machine_enrolls)
{
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1");
	struct mirror_client *list;
	struct err e = ERR_INIT;
	enroll(c, &h, new_code(c, ""));
	CHECK_STR(who(c, &h), "app1");
	CHECK_INT(clients(c, &list), 1);
	CHECK(str_eq(list[0].name, STR("app1")) && str_eq(list[0].group, STR("default")) &&
	      str_eq(list[0].machine, STR("m1")));
	CHECK_INT(list[0].until_ms, now.wall_ms + 90 * day);
	/* the certificate is one of the authority's */
	struct mirror_authority_info a;
	auto_ptr(pki_cert) cert = NULL;
	CHECK_MSG(mirror_authority_show(test_tmp(), &arena, &a, &e) == 0, "%s", e.msg);
	CHECK(pki_cert_read(h.certificate, "it", &cert, &e) == 0);
	struct pki_verify v = {.anchors = a.bundle, .purpose = PKI_CLIENT};
	CHECK_MSG(pki_verify(cert, &v, now.wall_ms, &e) == 0, "%s", e.msg);
	/* the code holds its fingerprint */
	struct code code;
	CHECK(code_parse(str_c(new_code(c, "")), &code, &e) == 0);
	CHECK(memcmp(code.pin, a.authority.fingerprint, CODE_PIN) == 0);
	/* a stranger is nobody */
	struct host other = new_host("m2", "app2");
	CHECK_STR(who(c, &other), "");
	pki_key_free(h.key);
	pki_key_free(other.key);
	arena_release(&arena);
}

TEST(a_code_is_good_once)
{
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1"), other = new_host("m2", "app2"), other_key = new_host("m1", "app1");
	struct mirror_client *list;
	const char *code = new_code(c, "");
	enroll(c, &h, code);
	struct mirror_reply r = try_enroll(c, &other, code);
	refused(&r, 403, "code-used");
	r = try_enroll(c, &other_key, code);
	refused(&r, 403, "code-used");
	/* but who did not get the answer asks again, and gets the same */
	struct str first = h.certificate;
	enroll(c, &h, code);
	CHECK(str_eq(first, h.certificate));
	CHECK_INT(clients(c, &list), 1);
	pki_key_free(h.key);
	pki_key_free(other.key);
	pki_key_free(other_key.key);
	arena_release(&arena);
}

TEST(a_code_ends_after_a_day)
{
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1");
	const char *code = new_code(c, ""), *late = new_code(c, "");
	pass(day - 120000);
	enroll(c, &h, code);
	pass(120000);
	struct host other = new_host("m2", "app2");
	struct mirror_reply r = try_enroll(c, &other, late);
	refused(&r, 403, "code-over");
	pass(-2 * day); /* the clock is set back: it is good again, and nothing is lost */
	enroll(c, &other, late);
	pki_key_free(h.key);
	pki_key_free(other.key);
	arena_release(&arena);
}

static const char *wrong_secret(const char *text)
{
	struct code code;
	struct err e = ERR_INIT;
	CHECK(code_parse(str_c(text), &code, &e) == 0);
	code.secret[0] ^= 1;
	return code_text(&arena, &code).p;
}

TEST(wrong_tries_are_counted)
{
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1");
	const char *code = new_code(c, ""), *other = new_code(c, "");
	for (int i = 0; i < MIRROR_CODE_TRIES; i++) {
		struct mirror_reply r = try_enroll(c, &h, wrong_secret(code));
		refused(&r, 403, "bad-code");
	}
	struct mirror_reply r = try_enroll(c, &h, code);
	refused(&r, 403, "bad-code");
	mirror_clients_free(steal_ptr(&c));
	c = reopen();
	r = try_enroll(c, &h, code);
	refused(&r, 403, "bad-code");
	enroll(c, &h, other); /* which nobody has tried */
	pki_key_free(h.key);
	arena_release(&arena);
}

TEST(tries_from_one_address_are_bounded)
{
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1");
	struct err e = ERR_INIT;
	struct mirror_reply r;
	const char *code = new_code(c, "");
	struct mirror_call bad = {.body = STR("{}"), .address = STR("10.0.0.1")};
	struct mirror_call good = {.body = body(&h, code), .address = STR("10.0.0.1")};
	int n = 0;
	do {
		CHECK(mirror_enroll(c, &bad, &arena, &r, &e) == 0);
		n++;
	} while (r.status == 400 && n < 100);
	refused(&r, 429, "too-often");
	CHECK_INT(n, 11);
	CHECK(r.retry_after_s > 0 && r.retry_after_s < 60);
	CHECK(mirror_enroll(c, &good, &arena, &r, &e) == 0);
	CHECK_INT(r.status, 429);
	good.address = STR("10.0.0.2"); /* others are not held up */
	CHECK(mirror_enroll(c, &good, &arena, &r, &e) == 0);
	CHECK_INT(r.status, 200);
	now.now_ms += 60000;
	bad.address = STR("10.0.0.1");
	CHECK(mirror_enroll(c, &bad, &arena, &r, &e) == 0);
	CHECK_INT(r.status, 400);
	pki_key_free(h.key);
	arena_release(&arena);
}

/* Whoever has one IPv6 address has 2^64 of them. */
TEST(tries_from_one_network_are_bounded)
{
	auto_ptr(mirror_clients) c = fresh();
	struct err e = ERR_INIT;
	struct mirror_reply r;
	int n = 0;
	do {
		struct mirror_call bad = {.body = STR("{}"),
					  .address = str_c(arena_printf(&arena, "2001:db8:0:7:%x::%x", n, n + 1))};
		CHECK(mirror_enroll(c, &bad, &arena, &r, &e) == 0);
		n++;
	} while (r.status == 400 && n < 100);
	refused(&r, 429, "too-often");
	CHECK_INT(n, 11);
	struct mirror_call other = {.body = STR("{}"), .address = STR("2001:db8:0:8::1")};
	CHECK(mirror_enroll(c, &other, &arena, &r, &e) == 0);
	CHECK_INT(r.status, 400);
	arena_release(&arena);
}

TEST(many_machines_behind_one_address)
{
	auto_ptr(mirror_clients) c = fresh();
	struct err e = ERR_INIT;
	struct mirror_reply r;
	for (int i = 0; i < 25; i++) {
		struct host h = new_host(arena_printf(&arena, "m%d", i), arena_printf(&arena, "app%d", i));
		struct mirror_call call = {.body = body(&h, new_code(c, "")), .address = STR("10.0.0.1")};
		CHECK(mirror_enroll(c, &call, &arena, &r, &e) == 0);
		CHECK_INT(r.status, 200);
		pki_key_free(h.key);
	}
	arena_release(&arena);
}

TEST(hostile_bodies)
{
	static const struct {
		const char *body;
		int status;
		const char *error;
	} bad[] = {
		{"", 400, "malformed"},
		{"[]", 400, "malformed"},
		{"{\"code\": 1}", 400, "malformed"},
		{"{\"code\":\"x\",\"request\":\"y\"}", 400, "malformed"},
		{"{\"code\":\"x\",\"request\":\"y\",\"machine\":\"../x\"}", 400, "malformed"},
		{"{\"code\":\"x\",\"request\":\"y\",\"machine\":\"m\",\"name\":\"a b\"}", 400, "bad-name"},
		{"{\"code\":\"x\",\"request\":\"y\",\"machine\":\"m\"}", 400, "bad-request"},
	};
	auto_ptr(mirror_clients) c = fresh();
	struct err e = ERR_INIT;
	struct mirror_reply r;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct mirror_call call = {.body = str_c(bad[i].body), .address = STR("x")};
		pass(60000);
		CHECK_MSG(mirror_enroll(c, &call, &arena, &r, &e) == 0, "%s", e.msg);
		refused(&r, bad[i].status, bad[i].error);
	}
	struct host h = new_host("m1", "app1");
	r = try_enroll(c, &h, "0000");
	refused(&r, 400, "malformed-code");
	auto_buf big = BUF_INIT(1 << 20);
	while (big.n <= MIRROR_CALL_MAX)
		buf_put_char(&big, ' ');
	struct mirror_call call = {.body = buf_str(&big), .address = STR("x")};
	CHECK(mirror_enroll(c, &call, &arena, &r, &e) == 0);
	refused(&r, 413, "too-large");
	pki_key_free(h.key);
	arena_release(&arena);
}

/* -- one record a machine, one machine a name ----------------------------------------------------------------------- */

TEST(a_machine_has_one_record)
{
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1");
	struct mirror_client *list;
	enroll(c, &h, new_code(c, ""));
	struct host before = h;
	h.name = "other"; /* it keeps the name that its snapshots are stored under */
	enroll(c, &h, new_code(c, ""));
	CHECK_INT(clients(c, &list), 1);
	CHECK_STR(who(c, &h), "app1");
	CHECK_STR(who(c, &before), ""); /* its first certificate is replaced */
	enroll(c, &h, new_code(c, "renamed"));
	CHECK_INT(clients(c, &list), 1);
	CHECK_STR(who(c, &h), "renamed");
	pki_key_free(h.key);
	arena_release(&arena);
}

TEST(nobody_takes_the_place_of_another)
{
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1"), thief = new_host("m1", "x"), namesake = new_host("m2", "app1");
	struct mirror_client *list;
	enroll(c, &h, new_code(c, ""));
	struct mirror_reply r = try_enroll(c, &thief, new_code(c, "")); /* claims to be that machine */
	refused(&r, 409, "machine-known");
	r = try_enroll(c, &namesake, new_code(c, ""));
	refused(&r, 409, "name-taken");
	struct host alike = new_host("m3", "APP1");
	r = try_enroll(c, &alike, new_code(c, "")); /* which people would take for it */
	refused(&r, 409, "name-taken");
	pki_key_free(alike.key);
	CHECK_STR(who(c, &h), "app1");
	/* unless the operator says so: installed anew, or another machine in its place */
	enroll(c, &thief, new_code(c, "app1"));
	CHECK_STR(who(c, &thief), "app1");
	CHECK_STR(who(c, &h), "");
	enroll(c, &namesake, new_code(c, "app1"));
	CHECK_STR(who(c, &namesake), "app1");
	CHECK_STR(who(c, &thief), "");
	CHECK_INT(clients(c, &list), 1);
	CHECK(str_eq(list[0].machine, STR("m2")));
	pki_key_free(h.key);
	pki_key_free(thief.key);
	pki_key_free(namesake.key);
	arena_release(&arena);
}

struct racer {
	struct mirror_clients *c;
	struct mirror_call call;
	struct arena arena;
	struct mirror_reply reply;
};

static void *race(void *ctx)
{
	struct racer *r = ctx;
	struct err e = ERR_INIT;
	CHECK_MSG(mirror_enroll(r->c, &r->call, &r->arena, &r->reply, &e) == 0, "%s", e.msg);
	return NULL;
}

/* With one code, from two processes' worth of connections and several threads. */
TEST(two_enrolments_at_once)
{
	enum { N = 8 };
	auto_ptr(mirror_clients) c = fresh();
	auto_ptr(mirror_clients) d = reopen();
	struct racer r[N];
	struct host h[N];
	pthread_t t[N];
	const char *code = new_code(c, "");
	struct mirror_client *list;
	int good = 0;
	for (size_t i = 0; i < N; i++) {
		h[i] = new_host(arena_printf(&arena, "m%zu", i), arena_printf(&arena, "app%zu", i));
		r[i] = (struct racer){.c = i % 2 ? c : d, .call = {.body = body(&h[i], code), .address = STR("1")}};
	}
	for (size_t i = 0; i < N; i++)
		CHECK(pthread_create(&t[i], NULL, race, &r[i]) == 0);
	for (size_t i = 0; i < N; i++) {
		CHECK(pthread_join(t[i], NULL) == 0);
		good += r[i].reply.status == 200;
		if (r[i].reply.status != 200)
			refused(&r[i].reply, 403, "code-used");
		arena_release(&r[i].arena);
		pki_key_free(h[i].key);
	}
	CHECK_INT(good, 1);
	CHECK_INT(clients(c, &list), 1);
	arena_release(&arena);
}

/* -- renewal ------------------------------------------------------------------------------------------------------ */

TEST(a_certificate_is_renewed)
{
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1");
	struct mirror_client *list;
	enroll(c, &h, new_code(c, ""));
	struct mirror_reply r = renew(c, &h);
	refused(&r, 409, "too-early");
	CHECK(r.retry_after_s > 50 * 86400 && r.retry_after_s < 61 * 86400);
	pass(61 * day);
	struct host old = h, next = h;
	struct err e = ERR_INIT;
	CHECK(pki_key_new(PKI_EC_P256, &next.key, &e) == 0); /* with a new key */
	memcpy(next.fingerprint, old.fingerprint, SHA256_SIZE);
	r = renew(c, &next);
	CHECK_INT(r.status, 200);
	struct str first = word(&r, "certificate");
	r = renew(c, &next); /* the answer was lost */
	CHECK_INT(r.status, 200);
	CHECK(str_eq(first, word(&r, "certificate")));
	CHECK_STR(who(c, &old), "app1"); /* until then the old one is needed */
	took(&next, &r);
	CHECK_STR(who(c, &next), "app1");
	CHECK_INT(clients(c, &list), 1);
	CHECK_INT(list[0].until_ms / day, (now.wall_ms + 90 * day) / day);
	pass(61 * day);
	CHECK_STR(who(c, &old), ""); /* over */
	r = renew(c, &old);
	refused(&r, 403, "expired");
	r = renew(c, &next);
	CHECK_INT(r.status, 200);
	struct host none = new_host("m1", "app1");
	r = renew(c, &none);
	refused(&r, 403, "unknown");
	struct mirror_call bare = {.body = body(&h, NULL), .address = STR("z")};
	CHECK(mirror_renew(c, &bare, &arena, &r, &e) == 0);
	refused(&r, 403, "unknown");
	pki_key_free(h.key);
	pki_key_free(next.key);
	pki_key_free(none.key);
	arena_release(&arena);
}

TEST(clocks_that_step)
{
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1");
	enroll(c, &h, new_code(c, ""));
	pass(-12 * 3600000); /* within the day that certificates begin early */
	CHECK_STR(who(c, &h), "app1");
	pass(-30 * day);
	CHECK_STR(who(c, &h), "");
	pass(30 * day + 12 * 3600000);
	CHECK_STR(who(c, &h), "app1");
	pass(400 * day); /* far ahead, and back: nothing was forgotten meanwhile */
	CHECK_STR(who(c, &h), "");
	CHECK(strlen(new_code(c, "x")) > 0);
	pass(-400 * day);
	CHECK_STR(who(c, &h), "app1");
	pki_key_free(h.key);
	arena_release(&arena);
}

/* -- revoking ----------------------------------------------------------------------------------------------------- */

static size_t revoked_in_file(struct str *ret_serial)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	struct mirror_authority_info a;
	struct pki_crl_info i;
	auto_ptr(pki_cert) ca = NULL;
	auto_fd dir = fs_open_dir(AT_FDCWD, test_tmp(), &e);
	CHECK(fs_read(dir, "pki/crl.pem", &b, &e) == 0 && mirror_authority_show(test_tmp(), &arena, &a, &e) == 0);
	CHECK(pki_cert_read(a.bundle, "ca", &ca, &e) == 0);
	CHECK_MSG(pki_crl_read(buf_str(&b), ca, &arena, &i, &e) == 0, "%s", e.msg);
	CHECK(i.next_ms > now.wall_ms);
	if (i.n && ret_serial)
		*ret_serial = i.v[0].serial;
	return i.n;
}

static int lists_in_file(void)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	auto_fd dir = fs_open_dir(AT_FDCWD, test_tmp(), &e);
	CHECK(fs_read(dir, "pki/crl.pem", &b, &e) == 0);
	int n = 0;
	for (struct str s = buf_str(&b), line; str_take_line(&s, &line);)
		n += str_eq(line, STR("-----BEGIN X509 CRL-----"));
	return n;
}

static uint64_t file_inode(void)
{
	struct stat st;
	struct err e = ERR_INIT;
	auto_fd dir = fs_open_dir(AT_FDCWD, test_tmp(), &e);
	CHECK(fstatat(dir, "pki/crl.pem", &st, 0) == 0);
	return st.st_ino;
}

TEST(a_revoked_client_is_refused_at_once)
{
	auto_ptr(mirror_clients) c = fresh();
	auto_ptr(mirror_clients) server = reopen(); /* as another process */
	struct host h = new_host("m1", "app1");
	struct err e = ERR_INIT;
	struct mirror_client *list;
	struct str serial;
	enroll(c, &h, new_code(c, ""));
	CHECK_STR(who(server, &h), "app1");
	CHECK_INT(revoked_in_file(NULL), 0);
	CHECK_MSG(mirror_client_revoke(c, STR("app1"), STR("stolen"), &e) == 0, "%s", e.msg);
	CHECK_STR(who(server, &h), "");
	CHECK_STR(who(c, &h), "");
	CHECK_INT(revoked_in_file(&serial), 1);
	CHECK_INT(clients(c, &list), 1);
	CHECK(str_eq(list[0].reason, STR("stolen")) && list[0].revoked_ms == now.wall_ms &&
	      str_eq(serial, list[0].serial));
	struct mirror_reply r = renew(server, &h);
	refused(&r, 403, "revoked");
	CHECK(mirror_client_revoke(c, STR("app1"), STR("again"), &e) == 0);
	CHECK(mirror_client_revoke(c, STR("nobody"), STR(""), &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	/* it comes back only where the operator means it */
	r = try_enroll(c, &h, new_code(c, ""));
	refused(&r, 409, "machine-known");
	enroll(c, &h, new_code(c, "app1"));
	CHECK_STR(who(server, &h), "app1");
	/* what is over by itself need not be listed */
	pass(95 * day);
	CHECK(mirror_clients_keep(server, &e) == 0);
	CHECK_INT(revoked_in_file(NULL), 0);
	pki_key_free(h.key);
	arena_release(&arena);
}

/* -- rights ------------------------------------------------------------------------------------------------------- */

static bool may(struct mirror_clients *c, const struct host *h, enum mirror_act act, const char *what)
{
	struct err e = ERR_INIT;
	struct mirror_who w;
	CHECK_INT(mirror_who(c, h->fingerprint, &arena, &w, &e), 1);
	return mirror_may(&w, act, str_c(what));
}

/* Nor its snapshots. */
TEST(who_is_given_a_name_of_before_has_not_its_rights)
{
	auto_ptr(mirror_clients) c = fresh();
	auto_ptr(mirror_snapshots) s = NULL;
	struct host h = new_host("m1", "app1"), next = new_host("m2", "app1");
	const struct str vault = STR("vault");
	const char *db = arena_printf(&arena, "%s/state/mirror.db", test_tmp());
	struct mirror_snapshot_info *list;
	struct err e = ERR_INIT;
	size_t n;
	int64_t id;
	enroll(c, &h, new_code(c, ""));
	CHECK_INT(mirror_rights_set(c, MIRROR_CLIENT, STR("app1"), &vault, 1, &e), 0);
	CHECK_INT(mirror_rights_set(c, MIRROR_GROUP, STR("default"), NULL, 0, &e), 0);
	CHECK_MSG(mirror_snapshots_open(db, &s, &e) == 0, "%s", e.msg);
	CHECK_MSG(mirror_snapshots_put(s, STR("app1"), STR("snapshot 1\nenvironment x\nwhen now\n"), 1, &id, &e) == 0,
		  "%s", e.msg);
	enroll(c, &h, new_code(c, "renamed"));
	enroll(c, &next, new_code(c, ""));
	CHECK_STR(who(c, &next), "app1");
	CHECK(!may(c, &next, MIRROR_GET, "vault"));
	CHECK(may(c, &h, MIRROR_GET, "vault"));
	CHECK_INT(mirror_snapshots_list(s, STR("app1"), STR_NONE, 10, &arena, &list, &n, &e), 0);
	CHECK_INT(n, 0);
	CHECK_INT(mirror_snapshots_list(s, STR("renamed"), STR_NONE, 10, &arena, &list, &n, &e), 0);
	CHECK_INT(n, 1);
	pki_key_free(h.key);
	pki_key_free(next.key);
	arena_release(&arena);
}

TEST(rights)
{
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1");
	struct err e = ERR_INIT;
	static const struct str some[] = {{"customer-*", 10}, {"!*-secret", 9}, {"main", 4}}, own[] = {{"one", 3}};
	enroll(c, &h, new_code(c, ""));
	CHECK(may(c, &h, MIRROR_GET, "anything"));
	CHECK_MSG(mirror_rights_set(c, MIRROR_GROUP, STR("default"), some, 3, &e) == 0, "%s", e.msg);
	CHECK(may(c, &h, MIRROR_GET, "customer-a") && may(c, &h, MIRROR_GET, "main"));
	CHECK(!may(c, &h, MIRROR_GET, "customer-secret") && !may(c, &h, MIRROR_GET, "other") &&
	      !may(c, &h, MIRROR_GET, ""));
	CHECK(mirror_rights_set(c, MIRROR_CLIENT, STR("app1"), own, 1, &e) == 0);
	CHECK(may(c, &h, MIRROR_GET, "one") && !may(c, &h, MIRROR_GET, "main"));
	CHECK(mirror_rights_set(c, MIRROR_CLIENT, STR("app1"), NULL, 0, &e) == 0);
	CHECK(may(c, &h, MIRROR_GET, "main"));
	CHECK(mirror_rights_set(c, MIRROR_GROUP, STR("default"), NULL, 0, &e) == 0);
	CHECK(!may(c, &h, MIRROR_GET, "main"));
	CHECK(mirror_rights_set(c, MIRROR_CLIENT, STR("nobody"), own, 1, &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	static const struct str blank[] = {{"a b", 3}};
	CHECK(mirror_rights_set(c, MIRROR_GROUP, STR("g"), blank, 1, &e) < 0);
	CHECK(may(c, &h, MIRROR_STORE_SNAPSHOT, "app1"));
	CHECK(!may(c, &h, MIRROR_STORE_SNAPSHOT, "app2") && !may(c, &h, MIRROR_READ_SNAPSHOT, "app2"));
	struct mirror_who nobody = {0};
	CHECK(!mirror_may(&nobody, MIRROR_STORE_SNAPSHOT, STR("")) && !mirror_may(&nobody, MIRROR_GET, STR("x")));
	pki_key_free(h.key);
	arena_release(&arena);
}

/* -- the authority ------------------------------------------------------------------------------------------------ */

TEST(making_again_changes_nothing)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror_clients) c = fresh();
	struct mirror_authority_info a, b;
	struct mirror_authority_opts o = authority;
	CHECK(mirror_authority_show(test_tmp(), &arena, &a, &e) == 0);
	CHECK_INT(mirror_authority_make(test_tmp(), &o, &now.base, &e), 0);
	CHECK(mirror_authority_show(test_tmp(), &arena, &b, &e) == 0);
	CHECK(memcmp(a.server.fingerprint, b.server.fingerprint, SHA256_SIZE) == 0);
	pass(250 * day); /* the server's is due, and its key stays */
	CHECK_INT(mirror_authority_make(test_tmp(), &o, &now.base, &e), 1);
	CHECK(mirror_authority_show(test_tmp(), &arena, &b, &e) == 0);
	CHECK(memcmp(a.server.fingerprint, b.server.fingerprint, SHA256_SIZE) != 0);
	CHECK(memcmp(a.server.key, b.server.key, SHA256_SIZE) == 0);
	CHECK(memcmp(a.authority.fingerprint, b.authority.fingerprint, SHA256_SIZE) == 0);
	static struct str elsewhere[] = {{"mirror.elsewhere.org", 20}};
	o.names = elsewhere;
	CHECK(mirror_authority_make(test_tmp(), &o, &now.base, &e) < 0);
	CHECK_MSG(e.code == ERR_VERIFY && strstr(e.msg, "other names") && strstr(e.msg, "authority announce"), "%s",
		  e.msg);
	CHECK_MSG(mirror_authority_announce(test_tmp(), &o, &now.base, &e) == 1, "%s", e.msg);
	CHECK_MSG(mirror_authority_switch(test_tmp(), &o, &now.base, &e) == 0, "%s", e.msg);
	CHECK(mirror_authority_show(test_tmp(), &arena, &b, &e) == 0);
	CHECK(b.server.names_n == 1 && str_eq(b.server.names[0], elsewhere[0]));
	arena_release(&arena);
}

TEST(a_new_authority_takes_over)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror_clients) c = fresh();
	struct host h = new_host("m1", "app1"), late = new_host("m2", "app2");
	struct mirror_authority_info a, b;
	struct str trusted;
	enroll(c, &h, new_code(c, ""));
	CHECK(mirror_authority_show(test_tmp(), &arena, &a, &e) == 0);
	CHECK(mirror_authority_switch(test_tmp(), &authority, &now.base, &e) < 0);
	CHECK_MSG(e.code == ERR_NOT_FOUND && strstr(e.msg, "announce"), "%s", e.msg);
	pass(10 * day);
	CHECK(mirror_clients_keep(c, &e) == 0);
	CHECK_INT(mirror_authority_announce(test_tmp(), &authority, &now.base, &e), 1);
	CHECK_INT(mirror_authority_announce(test_tmp(), &authority, &now.base, &e), 0);
	CHECK_MSG(mirror_authority_switch(test_tmp(), &authority, &now.base, &e) == 0, "%s", e.msg);
	CHECK(mirror_authority_show(test_tmp(), &arena, &b, &e) == 0);
	CHECK(memcmp(a.authority.fingerprint, b.authority.fingerprint, SHA256_SIZE) != 0);
	/* other programs want a list of each authority that clients have, or may have, a certificate of */
	CHECK(mirror_clients_keep(c, &e) == 0);
	CHECK_INT(lists_in_file(), 2);
	/* the client of before renews at once, learns the new one, and gets a certificate of it */
	CHECK_STR(who(c, &h), "app1");
	struct mirror_reply r = renew(c, &h);
	CHECK_MSG(r.status == 200, "%.*s", STR_ARG(r.body));
	took(&h, &r);
	CHECK_STR(who(c, &h), "app1");
	CHECK_MSG(pki_bundle_merge(a.bundle, word(&r, "authorities"), now.wall_ms, &arena, &trusted, &e) == 0, "%s",
		  e.msg);
	struct pki_verify v = {.anchors = trusted, .purpose = PKI_CLIENT};
	auto_ptr(pki_cert) cert = NULL;
	CHECK(pki_cert_read(h.certificate, "it", &cert, &e) == 0);
	CHECK_MSG(pki_verify(cert, &v, now.wall_ms, &e) == 0, "%s", e.msg);
	struct pki_cert_info i;
	CHECK(pki_cert_info(cert, &arena, &i, &e) == 0);
	CHECK(str_eq(i.issuer, b.authority.subject));
	/* who enrolls now believes the new one */
	enroll(c, &late, new_code(c, ""));
	/* of one that is over there is none, and nothing is written anew for that each time */
	pass(3645 * day);
	CHECK_MSG(mirror_clients_keep(c, &e) == 0, "%s", e.msg);
	CHECK_INT(lists_in_file(), 1);
	uint64_t was = file_inode();
	CHECK(mirror_clients_keep(c, &e) == 0);
	CHECK(file_inode() == was);
	pass(-3645 * day);
	CHECK_INT(mirror_authority_make(test_tmp(), &authority, &now.base, &e), 0);
	pki_key_free(h.key);
	pki_key_free(late.key);
	arena_release(&arena);
}

static void *switch_it(void *ret)
{
	struct err e = ERR_INIT;
	*(int *)ret = mirror_authority_switch(test_tmp(), &authority, &now.base, &e);
	return NULL;
}

TEST(two_switches_at_once_are_one)
{
	struct err e = ERR_INIT;
	pthread_t thread[2];
	int rc[2];
	mirror_clients_free(fresh());
	CHECK_INT(mirror_authority_announce(test_tmp(), &authority, &now.base, &e), 1);
	int dir = fs_open_dir(AT_FDCWD, test_tmp(), &e), lock = fs_lock(dir, "pki/lock", 0, &e);
	CHECK_MSG(lock >= 0, "%s", e.msg);
	for (int i = 0; i < 2; i++)
		CHECK_INT(pthread_create(&thread[i], NULL, switch_it, &rc[i]), 0);
	usleep(200000); /* both wait for their turn */
	close(lock);
	for (int i = 0; i < 2; i++)
		CHECK_INT(pthread_join(thread[i], NULL), 0);
	CHECK_INT(rc[0] + rc[1], -1); /* the later one finds that nothing is announced any more */
	close(dir);
	arena_release(&arena);
}

TEST(without_an_authority)
{
	struct err e = ERR_INIT;
	struct mirror_clients *c;
	CHECK(mirror_clients_open(test_tmp(), &clock_system, &c, &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_MSG(strstr(e.msg, "'slipway mirror init'"), "%s", e.msg);
}
