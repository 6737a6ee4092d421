// SPDX-License-Identifier: Apache-2.0
/*
 * One operation of a mirror's enrolment a run, for the sweep in enroll.sh:
 *
 *	fault_enroll DIR make | announce | switch
 *	fault_enroll DIR code            a code, into DIR/code
 *	fault_enroll DIR enroll M        machine M with DIR/code and the key DIR/M.key, which is made where it is missing
 *	fault_enroll DIR renew M         61 days later, with DIR/M.crt
 *	fault_enroll DIR revoke M
 *	fault_enroll DIR key M           only makes the key
 *	fault_enroll DIR records N       N machines are enrolled, each with one certificate of its own at most
 *	fault_enroll DIR known M | unknown M     what DIR/M.crt is good for; later M: 61 days later
 *	fault_enroll DIR listed N        so many are in the list of revoked ones
 *	fault_enroll DIR trusted         who trusted DIR/first.pem still trusts the server
 *
 * Exits 0, or 1 with a message; 2 where the mirror refuses. What the program keeps for itself it writes past the fault seam.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "mirror/mirror.h"

static struct clock_fake now;
static struct arena arena;
static const char *dir;
static struct str hosts[] = {{"mirror.customer.com", 19}};
static const struct mirror_authority_opts authority = {{"m", 1}, hosts, 1, false, false};

static int say(const struct err *e)
{
	printf("%s\n", e->msg);
	return 1;
}

static void put(const char *name, const char *suffix, struct str text)
{
	auto_free char *path = xasprintf("%s/%s%s", dir, name, suffix);
	FILE *f = fopen(path, "w");
	if (!f || fwrite(text.p, 1, text.n, f) != text.n || fclose(f) != 0)
		panic("write '%s'", path);
}

static struct str get(const char *name, const char *suffix)
{
	struct err e = ERR_INIT;
	auto_free char *path = xasprintf("%s/%s%s", dir, name, suffix);
	auto_buf b = BUF_INIT(1 << 20);
	if (fs_read(AT_FDCWD, path, &b, &e) < 0)
		panic("%s", e.msg);
	return arena_str(&arena, buf_str(&b));
}

static int make_key(const char *machine, struct pki_key **ret, struct err *e)
{
	auto_free char *path = xasprintf("%s/%s.key", dir, machine);
	struct str pem;
	if (access(path, R_OK) == 0)
		return pki_key_read(get(machine, ".key"), "key", ret, e);
	if (pki_key_new(PKI_EC_P256, ret, e) < 0 || pki_key_pem(*ret, &arena, &pem, e) < 0)
		return -1;
	put(machine, ".key", pem);
	return 0;
}

static int ask(const char *machine, bool renew)
{
	auto_ptr(pki_key) key = NULL;
	auto_ptr(pki_cert) cert = NULL;
	auto_ptr(mirror_clients) c = NULL;
	struct err e = ERR_INIT;
	struct str csr, pem;
	uint8_t fingerprint[SHA256_SIZE];
	auto_buf b = BUF_INIT(1 << 16);
	struct jw w = JW_INIT(&b, 0);
	struct mirror_reply r;
	if (make_key(machine, &key, &e) < 0 || pki_request_new(key, str_c(machine), &arena, &csr, &e) < 0)
		return say(&e);
	jw_object(&w);
	if (!renew)
		jw_kv_str(&w, "code", get("code", ""));
	jw_kv_c(&w, "machine", machine);
	jw_kv_str(&w, "request", csr);
	jw_object_end(&w);
	struct mirror_call call = {.body = buf_str(&b), .address = STR("x")};
	if (renew) {
		if (pki_cert_read(get(machine, ".crt"), "certificate", &cert, &e) < 0)
			return say(&e);
		pki_cert_fingerprint(cert, fingerprint);
		call.certificate = fingerprint;
		now.wall_ms += 61 * 86400000LL;
	}
	if (mirror_clients_open(dir, &now.base, &c, &e) < 0 ||
	    (renew ? mirror_renew(c, &call, &arena, &r, &e) : mirror_enroll(c, &call, &arena, &r, &e)) < 0)
		return say(&e);
	printf("%d %.*s", r.status, STR_ARG(r.body));
	if (r.status != 200)
		return 2;
	const struct json *j = json_parse(&arena, r.body, "reply", &e);
	if (!j || json_get_str(j, "certificate", &pem, &e) < 0)
		return say(&e);
	put(machine, renew ? ".new" : ".crt", pem);
	return 0;
}

static int known(const char *machine, bool want)
{
	auto_ptr(mirror_clients) c = NULL;
	auto_ptr(pki_cert) cert = NULL;
	struct err e = ERR_INIT;
	struct mirror_who who;
	uint8_t fingerprint[SHA256_SIZE];
	if (mirror_clients_open(dir, &now.base, &c, &e) < 0 ||
	    pki_cert_read(get(machine, ".crt"), "certificate", &cert, &e) < 0)
		return say(&e);
	pki_cert_fingerprint(cert, fingerprint);
	int rc = mirror_who(c, fingerprint, &arena, &who, &e);
	if (rc < 0)
		return say(&e);
	return (rc != 0) == want && (!rc || str_eq_c(who.name, machine))
		       ? 0
		       : (printf("%s is %.*s\n", machine, STR_ARG(who.name)), 1);
}

static int records(size_t n)
{
	auto_ptr(mirror_clients) c = NULL;
	struct err e = ERR_INIT;
	struct mirror_client *list;
	size_t got;
	if (mirror_clients_open(dir, &now.base, &c, &e) < 0 || mirror_client_list(c, &arena, &list, &got, &e) < 0)
		return say(&e);
	for (size_t i = 0; i < got; i++)
		if (!list[i].serial.n)
			return printf("a record without a certificate\n"), 1;
	return got == n ? 0 : (printf("%zu records\n", got), 1);
}

static int listed(size_t n)
{
	auto_ptr(pki_cert) ca = NULL;
	struct err e = ERR_INIT;
	struct pki_crl_info i;
	if (pki_cert_read(get("pki/ca", ".pem"), "ca", &ca, &e) < 0 ||
	    pki_crl_read(get("pki/crl", ".pem"), ca, &arena, &i, &e) < 0)
		return say(&e);
	return i.n == n ? 0 : (printf("%zu are listed\n", i.n), 1);
}

static int trusted(void)
{
	auto_ptr(pki_cert) server = NULL;
	struct err e = ERR_INIT;
	struct str bundle;
	if (pki_bundle_merge(get("first", ".pem"), get("pki/ca", ".pem"), now.wall_ms, &arena, &bundle, &e) < 0 ||
	    pki_cert_read(get("pki/server", ".pem"), "server", &server, &e) < 0)
		return say(&e);
	struct pki_verify v = {.anchors = bundle, .purpose = PKI_SERVER, .host = "mirror.customer.com"};
	return pki_verify(server, &v, now.wall_ms, &e) < 0 ? say(&e) : 0;
}

static int one_of_server(const char *word)
{
	auto_ptr(mirror_clients) c = NULL;
	struct err e = ERR_INIT;
	struct mirror_code code;
	if (strcmp(word, "make") == 0)
		return mirror_authority_make(dir, &authority, &now.base, &e) < 0 ? say(&e) : 0;
	if (strcmp(word, "announce") == 0)
		return mirror_authority_announce(dir, &authority, &now.base, &e) < 0 ? say(&e) : 0;
	if (strcmp(word, "switch") == 0)
		return mirror_authority_switch(dir, &authority, &now.base, &e) < 0 ? say(&e) : 0;
	if (strcmp(word, "trusted") == 0)
		return trusted();
	if (strcmp(word, "code") != 0)
		return 3;
	if (mirror_clients_open(dir, &now.base, &c, &e) < 0 ||
	    mirror_code_new(c, &(struct mirror_code_opts){.life_s = 0}, &arena, &code, &e) < 0)
		return say(&e);
	put("code", "", code.text);
	return 0;
}

static int revoke_client(const char *machine)
{
	auto_ptr(mirror_clients) c = NULL;
	struct err e = ERR_INIT;
	return mirror_clients_open(dir, &now.base, &c, &e) < 0 ||
			       mirror_client_revoke(c, str_c(machine), STR("why"), &e) < 0
		       ? say(&e)
		       : 0;
}

int main(int argc, char **argv)
{
	auto_ptr(pki_key) key = NULL;
	struct err e = ERR_INIT;
	now = clock_fake_at(1, 1795000000000);
	if (argc < 3)
		return 3;
	dir = argv[1];
	const char *word = argv[2], *what = argc > 3 ? argv[3] : "";
	if (strcmp(word, "enroll") == 0 || strcmp(word, "renew") == 0)
		return ask(what, word[0] == 'r');
	if (strcmp(word, "known") == 0 || strcmp(word, "unknown") == 0)
		return known(what, word[0] == 'k');
	if (strcmp(word, "later") == 0) {
		now.wall_ms += 61 * 86400000LL;
		return known(what, true);
	}
	if (strcmp(word, "records") == 0)
		return records((size_t)what[0] - '0');
	if (strcmp(word, "listed") == 0)
		return listed((size_t)what[0] - '0');
	if (strcmp(word, "revoke") == 0)
		return revoke_client(what);
	if (strcmp(word, "key") == 0)
		return make_key(what, &key, &e) < 0 ? say(&e) : 0;
	return one_of_server(word);
}
