// SPDX-License-Identifier: Apache-2.0
/*
 * One operation of a mirror's enrolment a run, for the sweep in enroll.sh:
 *
 *	fault_enroll DIR make | announce | switch
 *	fault_enroll DIR code            a code, into DIR/code; code_for M: for that machine
 *	fault_enroll DIR enroll M        machine M with DIR/code and the key DIR/M.key, which is made where it is missing
 *	fault_enroll DIR renew M         61 days later, with DIR/M.crt
 *	fault_enroll DIR revoke M | remove M
 *	fault_enroll DIR key M           only makes the key
 *	fault_enroll DIR records N       N machines are enrolled, each with one certificate of its own at most
 *	fault_enroll DIR known M | unknown M     what DIR/M.crt is good for; later M: 61 days later
 *	fault_enroll DIR listed N        so many are in the list of revoked ones
 *	fault_enroll DIR trusted         who trusted DIR/first.pem still trusts the server
 *	fault_enroll DIR serve           over TLS, its port into DIR/port, until it is killed; PORT in the environment: on that
 *	fault_enroll DIR here ROOT       enrolls the host whose folder ROOT is, with DIR/code, at the server
 *	fault_enroll DIR again ROOT      asks it for another certificate
 *	fault_enroll DIR reach ROOT      what ROOT holds opens the server's door
 *
 * OFFSET_DAYS in the environment: what is added to the clock. Exits 0, or 1 with a message; 2 where the mirror refuses. What the program keeps for itself it writes past the fault seam.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fs.h"
#include "base/json.h"
#include "lib/tlsd.h"
#include "mirror/mirror.h"

static struct clock_fake now;
static struct arena arena;
static const char *dir;
static struct str hosts[] = {{"localhost", 9}};
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
	struct pki_verify v = {.anchors = bundle, .purpose = PKI_SERVER, .host = "localhost"};
	return pki_verify(server, &v, now.wall_ms, &e) < 0 ? say(&e) : 0;
}

/* -- over TLS ------------------------------------------------------------------------------------------------------- */

static int answer(const struct tlsd_request *r, struct buf *b, void *ctx)
{
	struct mirror_clients *c = ctx;
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	struct mirror_reply reply;
	struct mirror_who who;
	struct mirror_call call = {
		.body = r->body, .address = STR(""), .certificate = r->certified ? r->certificate : NULL};
	char caller[32];
	static unsigned n; /* each from an address of its own: nothing is too often */
	snprintf(caller, sizeof(caller), "%u", n++);
	call.address = str_c(caller);
	if (strcmp(r->path, "/pki/ca.pem") == 0)
		return buf_put_str(b, get("pki/ca", ".pem")), 200;
	if (strcmp(r->path, "/door") == 0)
		return mirror_who(c, call.certificate, &a, &who, &e) > 0 ? 200 : 403;
	if ((strcmp(r->path, "/enroll") == 0 ? mirror_enroll : mirror_renew)(c, &call, &a, &reply, &e) < 0)
		panic("%s", e.msg);
	buf_put_str(b, reply.body);
	return reply.status;
}

static int serve(void)
{
	struct mirror_clients *c;
	struct err e = ERR_INIT;
	sigset_t end;
	int got;
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, NULL); /* for all its threads */
	if (mirror_clients_open(dir, &now.base, &c, &e) < 0)
		return say(&e);
	if (getenv("PORT"))
		tlsd_port = (unsigned)strtoul(getenv("PORT"), NULL, 10);
	struct tlsd *d = tlsd_start(get("pki/server", ".pem").p, get("pki/server", ".key").p, get("pki/ca", ".pem").p,
				    answer, c);
	auto_free char *port = xasprintf("%u\n", d->port);
	put("port.new", "", str_c(port));
	auto_free char *from = xasprintf("%s/port.new", dir);
	auto_free char *to = xasprintf("%s/port", dir);
	if (rename(from, to) < 0)
		panic("write '%s'", to);
	sigwait(&end, &got);
	tlsd_stop(d);
	mirror_clients_free(c);
	return 0;
}

static int as_host(const char *word, const char *root)
{
	struct err e = ERR_INIT;
	struct transfer_opts opts = TRANSFER_OPTS_INIT;
	struct mirror_enrolled m, *v;
	size_t n;
	opts.retries = UINT32_MAX;
	auto_fd root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct mirror_here here = {root_fd, root, &clock_system, &opts};
	const char *url = arena_printf(&arena, "https://localhost:%.*s", STR_ARG(str_trim(get("port", ""))));
	if (strcmp(word, "here") == 0)
		return mirror_enroll_here(&here, str_c(url), get("code", ""), STR("here"), &arena, &m, &e) < 0 ? say(&e)
													       : 0;
	if (mirror_enrolled_list(root_fd, root, &arena, &v, &n, &e) < 0)
		return say(&e);
	if (n != 1)
		return printf("enrolled at %zu mirrors\n", n), 1;
	if (strcmp(word, "again") == 0)
		return mirror_renew_here(&here, &v[0], true, &e) < 0 ? say(&e) : 0;
	auto_ptr(transfer) t = NULL;
	auto_fd fd = memfd_create("out", MFD_CLOEXEC);
	struct transfer_trust trust = {
		.ca_file = v[0].ca_file, .client_cert = v[0].client_file, .client_key = v[0].client_file};
	struct transfer_request r = {.url = arena_printf(&arena, "%s/door", url), .fd = fd, .trust = &trust};
	if (transfer_new(&opts, &t, &e) < 0)
		return say(&e);
	transfer_add(t, &r);
	if (transfer_run(t, &e) < 0)
		return say(&e);
	return r.err.code == ERR_NONE ? 0 : say(&r.err);
}

static int one_of_server(const char *word, const char *name)
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
	if (strcmp(word, "serve") == 0)
		return serve();
	if (strcmp(word, "code") != 0 && strcmp(word, "code_for") != 0)
		return 3;
	if (mirror_clients_open(dir, &now.base, &c, &e) < 0 ||
	    mirror_code_new(c, &(struct mirror_code_opts){.name = str_c(name)}, &arena, &code, &e) < 0)
		return say(&e);
	put("code", "", code.text);
	return 0;
}

static int revoke_client(const char *machine, bool remove)
{
	auto_ptr(mirror_clients) c = NULL;
	struct err e = ERR_INIT;
	if (mirror_clients_open(dir, &now.base, &c, &e) < 0)
		return say(&e);
	int rc = remove ? mirror_client_remove(c, str_c(machine), &e)
			: mirror_client_revoke(c, str_c(machine), STR("why"), &e);
	return rc < 0 ? say(&e) : 0;
}

int main(int argc, char **argv)
{
	auto_ptr(pki_key) key = NULL;
	struct err e = ERR_INIT;
	const char *offset = getenv("OFFSET_DAYS");
	now = clock_fake_at(1, clock_wall_ms() + (offset ? strtoll(offset, NULL, 10) : 0) * 86400000);
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
	if (strcmp(word, "here") == 0 || strcmp(word, "again") == 0 || strcmp(word, "reach") == 0)
		return as_host(word, what);
	if (strcmp(word, "records") == 0)
		return records((size_t)what[0] - '0');
	if (strcmp(word, "listed") == 0)
		return listed((size_t)what[0] - '0');
	if (strcmp(word, "revoke") == 0 || strcmp(word, "remove") == 0)
		return revoke_client(what, word[2] == 'm');
	if (strcmp(word, "key") == 0)
		return make_key(what, &key, &e) < 0 ? say(&e) : 0;
	return one_of_server(word, what);
}
