// SPDX-License-Identifier: Apache-2.0
/* Keys, certificates, an authority; openssl(1) is the second opinion on all that is written. */
#include "lib/test.h"
#include "pki/pki.h"

#include <fcntl.h>

#include "base/fs.h"
#include "base/proc.h"

static const int64_t now = 1795000000000; /* 2026-11-18 */
static const int64_t day = 86400000;
static struct arena arena;

static struct str host_names[] = {{"mirror.customer.com", 19}, {"10.0.0.7", 8}};
static const struct pki_names names = {host_names, 2};

struct ca {
	struct pki_key *key;
	struct pki_cert *cert;
};

static struct ca make_ca(enum pki_kind kind, const struct pki_names *constraints, int64_t at)
{
	struct err e = ERR_INIT;
	struct ca ca;
	CHECK_MSG(pki_key_new(kind, &ca.key, &e) == 0, "%s", e.msg);
	CHECK_MSG(pki_authority_new(ca.key,
				    &(struct pki_authority_opts){.name = STR("your-mirror"), .names = constraints}, at,
				    &ca.cert, &e) == 0,
		  "%s", e.msg);
	return ca;
}

static void free_ca(struct ca *ca)
{
	pki_key_free(ca->key);
	pki_cert_free(ca->cert);
}

static struct pki_request *make_request(enum pki_kind kind, const char *name)
{
	struct err e = ERR_INIT;
	auto_ptr(pki_key) k = NULL;
	struct pki_request *r = NULL;
	struct str pem;
	CHECK(pki_key_new(kind, &k, &e) == 0);
	CHECK(pki_request_new(k, str_c(name), &arena, &pem, &e) == 0);
	CHECK_MSG(pki_request_read(pem, &r, &e) == 0, "%s", e.msg);
	return r;
}

static struct pki_cert *make_client(const struct ca *ca, enum pki_kind kind, const char *name, unsigned days,
				    int64_t at)
{
	struct err e = ERR_INIT;
	auto_ptr(pki_request) r = make_request(kind, name);
	struct pki_cert *c = NULL;
	CHECK_MSG(pki_sign_client(ca->cert, ca->key, r, str_c(name), days, at, &c, &e) == 0, "%s", e.msg);
	return c;
}

static struct pki_cert *make_server(const struct ca *ca, int64_t at)
{
	struct err e = ERR_INIT;
	auto_ptr(pki_key) k = NULL;
	struct pki_cert *c = NULL;
	CHECK(pki_key_new(PKI_EC_P256, &k, &e) == 0);
	CHECK_MSG(pki_sign_server(ca->cert, ca->key, k, &names, 0, at, &c, &e) == 0, "%s", e.msg);
	return c;
}

/* -- the second opinion ------------------------------------------------------------------------------------------- */

static void put(const char *name, struct str text)
{
	struct err e = ERR_INIT;
	auto_fd dir = fs_open_dir(AT_FDCWD, test_tmp(), &e);
	CHECK_MSG(fs_replace(dir, name, text.p, text.n, 0, &e) == 0, "%s", e.msg);
}

/* The exit code; what it says in `out`. */
static int openssl(struct buf *out, const char *command)
{
	struct err e = ERR_INIT;
	const char *const look[] = {"sh", "-c", "command -v openssl >/dev/null", NULL};
	if (proc_run(&(struct proc_opts){.argv = look}, &e) != 0)
		SKIP("no openssl(1)");
	const char *const argv[] = {"sh", "-c", command, NULL};
	buf_clear(out);
	int rc = proc_run(
		&(struct proc_opts){.argv = argv, .cwd = test_tmp(), .out = out, .errout = out, .deadline_ms = 60000},
		&e);
	CHECK_MSG(rc >= 0, "%s", e.msg);
	return rc;
}

#define HAS(b, text) CHECK_MSG(str_search(buf_str(b), STR(text)) >= 0, "no '%s' in: %s", text, (b)->p)

TEST(openssl_verifies_what_is_signed)
{
	static const enum pki_kind kinds[] = {PKI_EC_P256, PKI_ED25519, PKI_RSA_3072};
	auto_buf out = BUF_INIT(1 << 20);
	for (size_t i = 0; i < 3; i++) {
		struct ca ca = make_ca(kinds[i], &names, now);
		auto_ptr(pki_cert) server = make_server(&ca, now);
		auto_ptr(pki_cert) client = make_client(&ca, kinds[i], "app1.elsewhere.org", 0, now);
		put("ca.pem", pki_cert_pem(ca.cert, &arena));
		put("server.pem", pki_cert_pem(server, &arena));
		put("client.pem", pki_cert_pem(client, &arena));
#define AT " -attime 1795000000 -x509_strict -check_ss_sig -auth_level 2 -CAfile ca.pem "
		CHECK_MSG(openssl(&out, "openssl verify -purpose sslserver -verify_hostname mirror.customer.com" AT
					"server.pem") == 0,
			  "%s", out.p);
		CHECK_MSG(openssl(&out, "openssl verify -purpose sslserver -verify_ip 10.0.0.7" AT "server.pem") == 0,
			  "%s", out.p);
		CHECK_MSG(openssl(&out, "openssl verify -purpose sslclient" AT "client.pem") == 0, "%s", out.p);
		CHECK(openssl(&out, "openssl verify -purpose sslserver" AT "client.pem") != 0);
		CHECK(openssl(&out, "openssl verify -purpose sslclient" AT "server.pem") != 0);
		CHECK(openssl(&out, "openssl verify -verify_hostname other.customer.com" AT "server.pem") != 0);
		/* a client cannot sign for others */
		CHECK(openssl(&out, "openssl verify -attime 1795000000 -CAfile client.pem server.pem") != 0);
		free_ca(&ca);
	}
	arena_release(&arena);
}

TEST(openssl_reads_the_authority)
{
	auto_buf out = BUF_INIT(1 << 20);
	struct ca ca = make_ca(PKI_EC_P256, &names, now);
	put("ca.pem", pki_cert_pem(ca.cert, &arena));
	CHECK_INT(openssl(&out, "openssl x509 -in ca.pem -noout -text -fingerprint -sha256"), 0);
	HAS(&out, "Subject: CN = your-mirror authority 2026-11-18");
	HAS(&out, "CA:TRUE, pathlen:0");
	HAS(&out, "Certificate Sign, CRL Sign");
	HAS(&out, "DNS:mirror.customer.com");
	HAS(&out, "IP:10.0.0.7/255.255.255.255");
	HAS(&out, "Not Before: Nov 17 ");
	uint8_t fingerprint[SHA256_SIZE];
	pki_cert_fingerprint(ca.cert, fingerprint);
	CHECK_MSG(str_search(buf_str(&out), pki_fingerprint_text(&arena, fingerprint)) >= 0, "another fingerprint: %s",
		  out.p);
	free_ca(&ca);
	arena_release(&arena);
}

TEST(openssl_reads_the_client_and_the_request)
{
	auto_buf out = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	struct ca ca = make_ca(PKI_EC_P256, NULL, now);
	auto_ptr(pki_cert) c = make_client(&ca, PKI_ED25519, "app1", 0, now);
	put("client.pem", pki_cert_pem(c, &arena));
	CHECK_INT(openssl(&out, "openssl x509 -in client.pem -noout -text"), 0);
	HAS(&out, "Subject: CN = app1\n");
	HAS(&out, "TLS Web Client Authentication");
	HAS(&out, "CA:FALSE");
	HAS(&out, "Not After : Feb 16 "); /* 90 days */
	struct pki_cert_info info;
	CHECK(pki_cert_info(c, &arena, &info, &e) == 0);
	CHECK_INT(info.serial.n, 2 * PKI_SERIAL_SIZE);
	CHECK_INT(info.not_after_ms, now + 90 * day);
	auto_ptr(pki_key) k = NULL;
	struct str pem;
	CHECK(pki_key_new(PKI_RSA_3072, &k, &e) == 0 && pki_request_new(k, STR("app2"), &arena, &pem, &e) == 0);
	put("req.pem", pem);
	CHECK_MSG(openssl(&out, "openssl req -in req.pem -noout -verify -subject") == 0, "%s", out.p);
	HAS(&out, "CN = app2");
	free_ca(&ca);
	arena_release(&arena);
}

TEST(openssl_takes_the_crl)
{
	auto_buf out = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	struct ca ca = make_ca(PKI_EC_P256, NULL, now);
	auto_ptr(pki_cert) gone = make_client(&ca, PKI_EC_P256, "gone", 0, now);
	auto_ptr(pki_cert) stays = make_client(&ca, PKI_EC_P256, "stays", 0, now);
	struct pki_cert_info info;
	struct str crl;
	CHECK(pki_cert_info(gone, &arena, &info, &e) == 0);
	struct pki_revoked revoked = {info.serial, now - 1000};
	struct pki_crl_opts o = {.v = &revoked, .n = 1, .number = 7, .next_ms = now + 7 * day};
	CHECK_MSG(pki_crl_new(ca.cert, ca.key, &o, now, &arena, &crl, &e) == 0, "%s", e.msg);
	put("ca.pem", pki_cert_pem(ca.cert, &arena));
	put("crl.pem", crl);
	put("gone.pem", pki_cert_pem(gone, &arena));
	put("stays.pem", pki_cert_pem(stays, &arena));
	CHECK_INT(openssl(&out, "openssl crl -in crl.pem -CAfile ca.pem -noout -text"), 0);
	HAS(&out, "verify OK");
	CHECK(openssl(&out, "openssl verify -attime 1795000000 -crl_check -CRLfile crl.pem -CAfile ca.pem gone.pem") !=
	      0);
	HAS(&out, "certificate revoked");
	CHECK_MSG(openssl(&out,
			  "openssl verify -attime 1795000000 -crl_check -CRLfile crl.pem -CAfile ca.pem stays.pem") ==
			  0,
		  "%s", out.p);

	struct pki_crl_info read;
	CHECK_MSG(pki_crl_read(crl, ca.cert, &arena, &read, &e) == 0, "%s", e.msg);
	CHECK_INT(read.n, 1);
	CHECK(str_eq(read.v[0].serial, info.serial));
	CHECK_INT(read.number, 7);
	CHECK_INT(read.next_ms, now + 7 * day);
	struct ca other = make_ca(PKI_EC_P256, NULL, now);
	CHECK(pki_crl_read(crl, other.cert, &arena, &read, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);

	struct pki_verify v = {.anchors = pki_cert_pem(ca.cert, &arena), .crl = crl, .purpose = PKI_CLIENT};
	CHECK(pki_verify(stays, &v, now, &e) == 0);
	CHECK(pki_verify(gone, &v, now, &e) < 0);
	CHECK_MSG(strstr(e.msg, "'gone'") && strstr(e.msg, "revoked"), "%s", e.msg);
	CHECK(pki_verify(stays, &v, now + 8 * day, &e) < 0); /* the list is too old */
	free_ca(&ca);
	free_ca(&other);
	arena_release(&arena);
}

TEST(every_list_counts)
{
	struct err e = ERR_INIT;
	struct ca old = make_ca(PKI_EC_P256, NULL, now), new = make_ca(PKI_ED25519, NULL, now);
	auto_ptr(pki_cert) gone = make_client(&new, PKI_EC_P256, "gone", 0, now);
	auto_ptr(pki_cert) stays = make_client(&new, PKI_EC_P256, "stays", 0, now);
	struct pki_cert_info info;
	struct str first, second;
	CHECK(pki_cert_info(gone, &arena, &info, &e) == 0);
	struct pki_revoked revoked = {info.serial, now - 1000};
	struct pki_crl_opts o = {.number = 1, .next_ms = now + 7 * day};
	CHECK(pki_crl_new(old.cert, old.key, &o, now, &arena, &first, &e) == 0);
	o.v = &revoked;
	o.n = 1;
	CHECK(pki_crl_new(new.cert, new.key, &o, now, &arena, &second, &e) == 0);
	struct pki_verify v = {.anchors = pki_cert_pem(new.cert, &arena),
			       .crl = str_c(arena_printf(&arena, "%s%s", first.p, second.p)),
			       .purpose = PKI_CLIENT};
	CHECK_MSG(pki_verify(stays, &v, now, &e) == 0, "%s", e.msg);
	CHECK(pki_verify(gone, &v, now, &e) < 0);
	CHECK_MSG(strstr(e.msg, "revoked"), "%s", e.msg);
	/* half of one is none */
	v.crl = str_head(v.crl, v.crl.n - 100);
	CHECK(pki_verify(gone, &v, now, &e) < 0);
	CHECK_INT(e.code, ERR_INPUT);
	free_ca(&old);
	free_ca(&new);
	arena_release(&arena);
}

/* -- keys --------------------------------------------------------------------------------------------------------- */

TEST(a_key_is_kept_for_its_owner)
{
	struct err e = ERR_INIT;
	auto_ptr(pki_key) k = NULL;
	auto_ptr(pki_key) again = NULL;
	struct stat st;
	uint8_t a[SHA256_SIZE], b[SHA256_SIZE];
	auto_fd dir = fs_open_dir(AT_FDCWD, test_tmp(), &e);
	CHECK(pki_key_new(PKI_EC_P256, &k, &e) == 0);
	CHECK(pki_key_save(dir, "k", k, &e) == 0);
	CHECK(fstatat(dir, "k", &st, 0) == 0 && (st.st_mode & 07777) == 0600);
	CHECK(pki_key_load(dir, "k", &again, &e) == 0);
	pki_key_digest(k, a);
	pki_key_digest(again, b);
	CHECK(memcmp(a, b, sizeof(a)) == 0);
	CHECK(fchmodat(dir, "k", 0640, 0) == 0);
	auto_ptr(pki_key) open = NULL;
	CHECK(pki_key_load(dir, "k", &open, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_MSG(strstr(e.msg, "chmod 600"), "%s", e.msg);
}

TEST(keys_that_are_not_taken)
{
	static const struct {
		const char *command, *why;
	} bad[] = {
		{"openssl genrsa 2048", "RSA key of 2048 bits"},
		{"openssl ecparam -name secp256k1 -genkey -noout", "secp256k1"},
		{"openssl ecparam -name prime256v1 -param_enc explicit -genkey -noout", "curve without a name"},
		{"openssl genpkey -algorithm X25519", "of this kind"},
		{"openssl genpkey -algorithm ed25519 -aes128 -pass pass:x", "without a pass phrase"},
		{"echo hello", "no private key"},
	};
	auto_buf out = BUF_INIT(1 << 20);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err e = ERR_INIT;
		auto_ptr(pki_key) k = NULL;
		auto_free char *command = xasprintf("%s 2>/dev/null", bad[i].command);
		CHECK_INT(openssl(&out, command), 0);
		CHECK(pki_key_read(buf_str(&out), "it", &k, &e) < 0);
		CHECK_INT(e.code, ERR_INPUT);
		CHECK_MSG(strstr(e.msg, bad[i].why), "%s: %s", bad[i].command, e.msg);
	}
}

/* -- requests of strangers ---------------------------------------------------------------------------------------- */

static void refuse(struct str pem, enum err_code code, const char *why)
{
	struct err e = ERR_INIT;
	auto_ptr(pki_request) r = NULL;
	CHECK(pki_request_read(pem, &r, &e) < 0);
	CHECK_MSG(strstr(e.msg, why), "%s", e.msg);
	CHECK_INT(e.code, code);
}

TEST(hostile_requests)
{
	static const struct {
		const char *command, *why;
	} bad[] = {
		{"openssl req -new -newkey rsa:2048 -nodes -subj /CN=x -keyout k", "RSA key of 2048 bits"},
		{"openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:secp256k1 -nodes -subj /CN=x -keyout k",
		 "secp256k1"},
		{"openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -sha1 -nodes -subj /CN=x -keyout k",
		 "signed in a way"},
		{"openssl req -x509 -newkey ed25519 -nodes -subj /CN=x -keyout k", "no request"},
	};
	auto_buf out = BUF_INIT(1 << 20);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_free char *command = xasprintf("%s 2>/dev/null", bad[i].command);
		CHECK_MSG(openssl(&out, command) == 0, "%s", bad[i].command);
		refuse(buf_str(&out), ERR_INPUT, bad[i].why);
	}
	refuse(STR(""), ERR_INPUT, "no request");
	refuse(STR("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"), ERR_INPUT,
	       "no request");
	auto_buf big = BUF_INIT(1 << 20);
	while (big.n <= PKI_PEM_MAX)
		buf_put_c(&big, "-----BEGIN CERTIFICATE REQUEST-----\n");
	refuse(buf_str(&big), ERR_LIMIT, "16384");
}

/* Each byte of the signed part changed, and it is refused. */
TEST(a_request_that_was_changed)
{
	auto_buf out = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	auto_ptr(pki_key) k = NULL;
	struct str pem;
	CHECK(pki_key_new(PKI_ED25519, &k, &e) == 0 && pki_request_new(k, STR("honest"), &arena, &pem, &e) == 0);
	char *text = arena_strdup(&arena, pem);
	size_t refused = 0, tried = 0;
	for (size_t i = sizeof("-----BEGIN CERTIFICATE REQUEST-----"); i < pem.n - 36; i++) {
		char was = text[i];
		auto_ptr(pki_request) r = NULL;
		if (was == '\n' || was == '=')
			continue;
		text[i] = was == 'A' ? 'B' : 'A';
		tried++;
		refused += pki_request_read(str_of(text, pem.n), &r, &e) < 0;
		if (r) /* the last bits of base64 mean nothing */
			CHECK(str_eq(pki_request_name(r), STR("honest")));
		text[i] = was;
	}
	CHECK_MSG(tried > 150 && refused >= tried - 1, "%zu of %zu", refused, tried);
	arena_release(&arena);
}

/* Only key and name are taken. */
TEST(what_a_request_asks_for_is_not_given)
{
	auto_buf out = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	auto_ptr(pki_request) r = NULL;
	auto_ptr(pki_cert) c = NULL;
	CHECK_INT(openssl(&out,
			  "openssl req -new -newkey ed25519 -nodes -keyout k -subj '/O=Evil/CN=app1' "
			  "-addext basicConstraints=critical,CA:TRUE -addext subjectAltName=DNS:mirror.customer.com "
			  "-addext extendedKeyUsage=serverAuth 2>/dev/null"),
		  0);
	CHECK_MSG(pki_request_read(buf_str(&out), &r, &e) == 0, "%s", e.msg);
	CHECK(str_eq(pki_request_name(r), STR("app1")));
	struct ca ca = make_ca(PKI_EC_P256, &names, now);
	CHECK_MSG(pki_sign_client(ca.cert, ca.key, r, STR("app1"), 0, now, &c, &e) == 0, "%s", e.msg);
	put("c.pem", pki_cert_pem(c, &arena));
	CHECK_INT(openssl(&out, "openssl x509 -in c.pem -noout -text"), 0);
	CHECK_MSG(str_search(buf_str(&out), STR("Evil")) < 0 && str_search(buf_str(&out), STR("customer.com")) < 0 &&
			  str_search(buf_str(&out), STR("CA:TRUE")) < 0 &&
			  str_search(buf_str(&out), STR("Server Auth")) < 0,
		  "%s", out.p);
	free_ca(&ca);
	arena_release(&arena);
}

TEST(a_name_that_is_none_is_not_proposed)
{
	auto_buf out = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	auto_ptr(pki_request) r = NULL;
	CHECK_INT(openssl(&out, "openssl req -new -newkey ed25519 -nodes -keyout k -subj '/CN=..\\/etc' 2>/dev/null"),
		  0);
	CHECK(pki_request_read(buf_str(&out), &r, &e) == 0);
	CHECK_INT(pki_request_name(r).n, 0);
}

TEST(names_of_hosts)
{
	static const char *const good[] = {"a", "mirror.customer.com", "10.0.0.1", "::1", "fe80::1", "a-b.c", "x2"};
	static const char *const bad[] = {"",	 ".",	 "a.",	"a..b",	     "-a",    "a-",  "*.b", "a,DNS:b",
					  "a b", "a\nb", "a_b", "300.1.2.3", "1.2.3", "a;b", "a/b", "::1%eth0"};
	struct err e = ERR_INIT;
	bool is_address;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		CHECK_MSG(pki_host_check(str_c(good[i]), &is_address, &e) == 0, "%s", e.msg);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_MSG(pki_host_check(str_c(bad[i]), &is_address, &e) < 0, "'%s' is taken", bad[i]);
}

/* -- who may vouch for whom --------------------------------------------------------------------------------------- */

TEST(an_authority_speaks_for_its_own_names_only)
{
	static struct str other[] = {{"www.bank.com", 12}};
	static struct str below[] = {{"eu.mirror.customer.com", 22}};
	static struct str address[] = {{"10.0.0.8", 8}};
	static struct str six[] = {{"::1", 3}};
	static struct str dns[] = {{"mirror.customer.com", 19}};
	static const struct pki_names only_dns = {dns, 1};
	struct err e = ERR_INIT;
	auto_ptr(pki_key) k = NULL;
	auto_ptr(pki_cert) c = NULL;
	struct ca ca = make_ca(PKI_EC_P256, &names, now), strict = make_ca(PKI_EC_P256, &only_dns, now);
	CHECK(pki_key_new(PKI_EC_P256, &k, &e) == 0);
	CHECK(pki_sign_server(ca.cert, ca.key, k, &(struct pki_names){other, 1}, 0, now, &c, &e) < 0);
	CHECK_MSG(e.code == ERR_VERIFY && strstr(e.msg, "other names"), "%s", e.msg);
	CHECK(pki_sign_server(ca.cert, ca.key, k, &(struct pki_names){address, 1}, 0, now, &c, &e) < 0);
	CHECK(pki_sign_server(strict.cert, strict.key, k, &(struct pki_names){address, 1}, 0, now, &c, &e) < 0);
	CHECK(pki_sign_server(strict.cert, strict.key, k, &(struct pki_names){six, 1}, 0, now, &c, &e) < 0);
	CHECK_MSG(pki_sign_server(ca.cert, ca.key, k, &(struct pki_names){below, 1}, 0, now, &c, &e) == 0, "%s", e.msg);
	free_ca(&ca);
	free_ca(&strict);
}

TEST(the_message_names_all)
{
	struct err e = ERR_INIT;
	struct ca ca = make_ca(PKI_EC_P256, NULL, now), other = make_ca(PKI_EC_P256, NULL, now);
	auto_ptr(pki_cert) c = make_server(&ca, now);
	struct pki_verify v = {
		.anchors = pki_cert_pem(ca.cert, &arena), .purpose = PKI_SERVER, .host = "mirror.customer.com"};
	CHECK_MSG(pki_verify(c, &v, now, &e) == 0, "%s", e.msg);
	v.host = "10.0.0.7";
	CHECK_MSG(pki_verify(c, &v, now, &e) == 0, "%s", e.msg);
	v.host = "mirror.elsewhere.com";
	CHECK(pki_verify(c, &v, now, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_MSG(strstr(e.msg, "certificate 'mirror.customer.com' of 'your-mirror authority 2026-11-18 ") &&
			  strstr(e.msg, "shown for 'mirror.elsewhere.com'"),
		  "%s", e.msg);
	CHECK_MSG(strstr(e.msg, "it is for 'mirror.customer.com', '10.0.0.7'"), "%s", e.msg);
	v.host = "mirror.customer.com";
	CHECK(pki_verify(c, &v, now + 366 * day, &e) < 0);
	CHECK_MSG(strstr(e.msg, "expired (good from 2026-11-17T") && strstr(e.msg, "here it is 2027-11-19"), "%s",
		  e.msg);
	CHECK(pki_verify(c, &v, now - 2 * day, &e) < 0);
	CHECK_MSG(strstr(e.msg, "set this host's clock"), "%s", e.msg);
	v.anchors = pki_cert_pem(other.cert, &arena);
	CHECK(pki_verify(c, &v, now, &e) < 0); /* the same name, another key */
	CHECK_MSG(strstr(e.msg, "none that is trusted here"), "%s", e.msg);
	v.anchors = pki_cert_pem(ca.cert, &arena);
	v.purpose = PKI_CLIENT;
	CHECK(pki_verify(c, &v, now, &e) < 0);
	free_ca(&ca);
	free_ca(&other);
	arena_release(&arena);
}

TEST(nothing_outlives_its_authority)
{
	struct err e = ERR_INIT;
	struct ca ca = make_ca(PKI_EC_P256, NULL, now);
	int64_t late = now + (PKI_AUTHORITY_DAYS - 10) * day;
	auto_ptr(pki_cert) c = make_client(&ca, PKI_EC_P256, "late", 0, late);
	struct pki_cert_info info;
	CHECK(pki_cert_info(c, &arena, &info, &e) == 0);
	CHECK_INT(info.not_after_ms, now + PKI_AUTHORITY_DAYS * day);
	auto_ptr(pki_request) r = make_request(PKI_EC_P256, "x");
	auto_ptr(pki_cert) none = NULL;
	CHECK(pki_sign_client(ca.cert, ca.key, r, STR("x"), 0, now + (PKI_AUTHORITY_DAYS + 1) * day, &none, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK(pki_sign_client(ca.cert, ca.key, r, STR("x"), 0, now - 3 * day, &none, &e) < 0); /* the clock went back */
	CHECK_MSG(strstr(e.msg, "set this host's clock"), "%s", e.msg);
	free_ca(&ca);
	arena_release(&arena);
}

TEST(when_to_renew)
{
	CHECK(!pki_is_due(0, 90 * day, 59 * day));
	CHECK(pki_is_due(0, 90 * day, 60 * day));
	CHECK(pki_is_due(0, 90 * day, 91 * day));
	CHECK(pki_is_due(0, 90 * day, -1));
}

/* -- a change of authorities --------------------------------------------------------------------------------------- */

static size_t count(struct str bundle)
{
	struct err e = ERR_INIT;
	struct pki_cert *all[PKI_BUNDLE_CERTS];
	size_t n;
	CHECK_MSG(pki_bundle_read(bundle, all, &n, &e) == 0, "%s", e.msg);
	for (size_t i = 0; i < n; i++)
		pki_cert_free(all[i]);
	return n;
}

static struct str merge(struct str mine, struct str theirs, int64_t at)
{
	struct err e = ERR_INIT;
	struct str out;
	CHECK_MSG(pki_bundle_merge(mine, theirs, at, &arena, &out, &e) == 0, "%s", e.msg);
	return out;
}

TEST(an_announced_authority_is_trusted)
{
	static const enum pki_kind kinds[] = {PKI_EC_P256, PKI_ED25519, PKI_RSA_3072};
	struct err e = ERR_INIT;
	for (size_t i = 0; i < 3; i++) {
		struct ca old = make_ca(kinds[i], NULL, now), next = make_ca(PKI_EC_P256, NULL, now + day);
		struct str mine = pki_bundle_begin(old.cert, &arena), both, out;
		CHECK_MSG(pki_bundle_announce(mine, old.cert, old.key, next.cert, &arena, &both, &e) == 0, "%s", e.msg);
		out = merge(mine, both, now);
		CHECK_INT(count(out), 2);
		auto_ptr(pki_cert) c = make_client(&next, PKI_EC_P256, "x", 0, now + day);
		struct pki_verify v = {.anchors = out, .purpose = PKI_CLIENT};
		CHECK_MSG(pki_verify(c, &v, now + day, &e) == 0, "%s", e.msg);
		/* when the old one is over, it goes */
		CHECK_INT(count(merge(out, both, now + PKI_AUTHORITY_DAYS * day + 1)), 1);
		/* other programs take it as it is */
		auto_buf said = BUF_INIT(1 << 20);
		put("both.pem", both);
		put("c.pem", pki_cert_pem(c, &arena));
		CHECK_MSG(openssl(&said, "openssl verify -attime 1795090000 -CAfile both.pem c.pem") == 0, "%s",
			  said.p);
		free_ca(&old);
		free_ca(&next);
	}
	arena_release(&arena);
}

TEST(an_authority_that_nobody_announced_is_not)
{
	struct err e = ERR_INIT;
	struct ca old = make_ca(PKI_EC_P256, NULL, now), evil = make_ca(PKI_EC_P256, NULL, now),
		  third = make_ca(PKI_EC_P256, NULL, now);
	struct str mine = pki_bundle_begin(old.cert, &arena), forged, chained;
	struct str theirs =
		str_c(arena_printf(&arena, "%.*s%.*s", STR_ARG(mine), STR_ARG(pki_bundle_begin(evil.cert, &arena))));
	CHECK_INT(count(merge(mine, theirs, now)), 1);
	/* announced by itself */
	CHECK(pki_bundle_announce(mine, evil.cert, evil.key, evil.cert, &arena, &forged, &e) == 0);
	CHECK_INT(count(merge(mine, forged, now)), 1);
	/* announced by one that is not trusted */
	CHECK(pki_bundle_announce(forged, evil.cert, evil.key, third.cert, &arena, &chained, &e) == 0);
	CHECK_INT(count(merge(mine, chained, now)), 1);
	/* the right line before another certificate */
	CHECK(pki_bundle_announce(mine, old.cert, old.key, third.cert, &arena, &chained, &e) == 0);
	ptrdiff_t at = str_search(chained, STR("announced-by"));
	struct str line = str_skip(chained, (size_t)at);
	line = str_head(line, (size_t)str_find(line, '\n') + 1);
	forged = str_c(arena_printf(&arena, "%.*s%.*s", STR_ARG(line), STR_ARG(pki_bundle_begin(evil.cert, &arena))));
	CHECK_INT(count(merge(mine, forged, now)), 1);
	CHECK_INT(count(merge(mine, chained, now)), 2);
	/* with the wrong key nothing is announced */
	CHECK(pki_bundle_announce(mine, old.cert, evil.key, third.cert, &arena, &chained, &e) < 0);
	free_ca(&old);
	free_ca(&evil);
	free_ca(&third);
	arena_release(&arena);
}

TEST(a_chain_of_changes)
{
	struct err e = ERR_INIT;
	struct ca ca[4];
	struct str b, first;
	ca[0] = make_ca(PKI_EC_P256, NULL, now);
	b = first = pki_bundle_begin(ca[0].cert, &arena);
	for (size_t i = 1; i < 4; i++) {
		ca[i] = make_ca(PKI_ED25519, NULL, now);
		CHECK(pki_bundle_announce(b, ca[i - 1].cert, ca[i - 1].key, ca[i].cert, &arena, &b, &e) == 0);
	}
	CHECK_INT(count(merge(first, b, now)), 4); /* who slept through three */
	uint8_t fingerprint[SHA256_SIZE];
	struct str out;
	pki_cert_fingerprint(ca[2].cert, fingerprint);
	CHECK(pki_bundle_pick(b, fingerprint, 13, now, &arena, &out, &e) == 0);
	CHECK_INT(count(out), 2); /* itself, and what it announced; not who came before */
	fingerprint[12] ^= 1;
	CHECK(pki_bundle_pick(b, fingerprint, 13, now, &arena, &out, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
	for (size_t i = 0; i < 4; i++)
		free_ca(&ca[i]);
	arena_release(&arena);
}

TEST(a_bundle_is_bounded)
{
	struct err e = ERR_INIT;
	struct pki_cert *all[PKI_BUNDLE_CERTS];
	size_t n;
	auto_buf b = BUF_INIT(1 << 20);
	struct ca ca = make_ca(PKI_EC_P256, NULL, now);
	for (int i = 0; i < PKI_BUNDLE_CERTS + 1; i++)
		buf_put_str(&b, pki_cert_pem(ca.cert, &arena));
	CHECK(pki_bundle_read(buf_str(&b), all, &n, &e) < 0);
	CHECK_INT(e.code, ERR_LIMIT);
	while (b.n <= PKI_BUNDLE_MAX)
		buf_put_c(&b, "# nothing\n");
	CHECK(pki_bundle_read(buf_str(&b), all, &n, &e) < 0);
	CHECK_INT(e.code, ERR_LIMIT);
	auto_ptr(pki_cert) leaf = make_client(&ca, PKI_EC_P256, "x", 0, now);
	CHECK(pki_bundle_read(pki_cert_pem(leaf, &arena), all, &n, &e) < 0);
	CHECK_MSG(strstr(e.msg, "no authority"), "%s", e.msg);
	free_ca(&ca);
	arena_release(&arena);
}
