// SPDX-License-Identifier: Apache-2.0
/*
 * Joining. Member 2 makes its key, notes whose invitation it follows, looks at the certificate of whoever answers, and only then says the
 * secret. Member 1 pins the certificate of who knows it, and answers. Then member 2 pins member 1's, and both are members.
 *
 * Where the answer is lost, member 1 has joined and member 2 does not know. The same command again comes to the same, with the same key:
 * who shows the certificate that is pinned already, and knows the secret, is answered again.
 */
#include "pair/join.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "pair/endpoint.h"

enum { JOIN_PROTOCOL = 1, JOIN_JSON_MAX = 8192, JOIN_WAIT_MS = 15000, LAST_WAIT_MS = 2000 };

/* -- at member 1 -------------------------------------------------------------------------------------------------------- */

int join_parse(const struct json *j, struct join_request *ret, struct err *e)
{
	int64_t protocol;
	struct str secret;
	*ret = (struct join_request){0};
	if (json_get_int(j, "join", &protocol, e) < 0)
		return -1;
	if (protocol != JOIN_PROTOCOL)
		return err_new(e, ERR_UNSUPPORTED,
			       "joining by protocol %lld is not known; install the same slipway on both",
			       (long long)protocol);
	if (json_get_str(j, "secret", &secret, e) < 0 || json_get_str(j, "name", &ret->host.name, e) < 0 ||
	    json_get_str(j, "address", &ret->host.address, e) < 0)
		return -1;
	if (!str_unhex(secret, ret->secret, INVITATION_SECRET))
		return err_new(e, ERR_INPUT, "message: 'secret' is none");
	return trust_check_host(&ret->host, e);
}

/* No shorter for a guess that begins well. */
static bool is_same(const uint8_t *a, const uint8_t *b, size_t n)
{
	unsigned differ = 0;
	for (size_t i = 0; i < n; i++)
		differ |= a[i] ^ b[i];
	return !differ;
}

static int check_secret(int root_fd, struct trust_open *open, const struct join_request *q, bool known, struct err *e)
{
	uint8_t digest[SHA256_SIZE];
	int64_t left = open->until_ms - clock_wall_ms();
	sha256(q->secret, sizeof(q->secret), digest);
	if (known) /* it was told the secret before; neither time nor tries end what is agreed */
		return is_same(digest, open->secret, SHA256_SIZE)
			       ? 0
			       : err_new(e, ERR_VERIFY, "this is not the invitation that was used");
	if (open->tries_left <= 0)
		return err_new(
			e, ERR_VERIFY,
			"the invitation is spent: there were %d wrong secrets; make another one with 'slipway pair "
			"init' on member 1",
			TRUST_TRIES);
	if (left <= 0 || left > 2 * PAIR_INVITATION_MS) /* or the clock was set back */
		return err_new(e, ERR_VERIFY,
			       "the invitation has expired; make another one with 'slipway pair init' on member 1");
	if (is_same(digest, open->secret, SHA256_SIZE))
		return 0;
	open->tries_left--;
	if (trust_write_open(root_fd, open, e) < 0)
		return -1;
	return err_new(e, ERR_VERIFY, "a wrong secret; %lld more and the invitation is spent",
		       (long long)open->tries_left);
}

static int check_who(const struct trust *t, const uint8_t fingerprint[SHA256_SIZE], const struct join_request *q,
		     struct err *e)
{
	const struct pair *p = &t->pair;
	if (p->self != 1)
		return err_new(e, ERR_VERIFY, "this host is member 2: member 1 invites");
	if (p->joined && !is_same(fingerprint, t->pin, SHA256_SIZE))
		return err_new(e, ERR_VERIFY, "the invitation was used already, by '%.*s'", STR_ARG(p->host[2].name));
	if (is_same(fingerprint, t->own, SHA256_SIZE))
		return err_new(e, ERR_VERIFY, "that is this host itself");
	if (str_eq(q->host.address, p->host[1].address))
		return err_new(e, ERR_USAGE, "both members would have the address %.*s; give another one with --listen",
			       STR_ARG(q->host.address));
	return 0;
}

/* With the lock held: 0 and *t as it is then, or why not. What was not written for certain is ERR_UNCERTAIN. */
static int take_in(int root_fd, struct arena *a, struct link *l, const struct join_request *q, struct trust *t,
		   struct err *e)
{
	struct tls *tls = link_tls(l);
	const uint8_t *fingerprint = tls_peer_fingerprint(tls);
	struct trust_open open;
	struct str certificate;
	int rc = trust_read(root_fd, a, t, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_VERIFY, "this host is in no pair any more");
	if (check_who(t, fingerprint, q, e) < 0)
		return -1;
	rc = trust_read_open(root_fd, a, &open, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_VERIFY, "there is no invitation");
	if (check_secret(root_fd, &open, q, t->pair.joined, e) < 0 || tls_peer_certificate(tls, a, &certificate, e) < 0)
		return -1;
	if (trust_write_peer(root_fd, &q->host, fingerprint, certificate, e) == 0)
		return 0;
	e->code = ERR_UNCERTAIN;
	return err_ctx(e, "member 1");
}

static int answer(struct link *l, const struct pair_host *self, struct err *e)
{
	auto_buf b = BUF_INIT(JOIN_JSON_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_int(&w, "joined", JOIN_PROTOCOL);
	jw_kv_str(&w, "name", self->name);
	jw_kv_str(&w, "address", self->address);
	jw_object_end(&w);
	return link_put(l, buf_str(&b), STR_NONE, e);
}

static int serve_join(int root_fd, struct arena *a, struct link *l, const struct json *j, struct str *ret_note,
		      struct err *e)
{
	struct join_request q;
	struct trust t;
	struct wire_message m;
	struct err gone = ERR_INIT;
	auto_fd lock = -1;
	int rc = join_parse(j, &q, e);
	if (rc == 0) {
		lock = trust_lock(root_fd, e);
		rc = lock < 0 ? -1 : take_in(root_fd, a, l, &q, &t, e);
	}
	cleanup_fd(&lock);
	if (rc == 0)
		rc = answer(l, &t.pair.host[1], e);
	else
		(void)!link_refuse(l, e);
	(void)!link_take(l, LAST_WAIT_MS, a, &m, &gone); /* until it has read that */
	if (rc < 0)
		return err_ctx(e, "somebody wants to join");
	*ret_note = str_c(arena_printf(a, "'%.*s' at %.*s has joined%s", STR_ARG(q.host.name), STR_ARG(q.host.address),
				       t.pair.joined ? ", again" : ""));
	return 0;
}

/* Strangers may come in only as long as nobody has joined and an invitation is there; how good it is they are told. */
static int read_who(int root_fd, struct arena *a, struct trust *t, struct tls_opts *ret, struct err *e)
{
	struct trust_open open;
	int rc = trust_read(root_fd, a, t, e);
	if (rc == 0)
		return err_new(e, ERR_NOT_FOUND, "this host is in no pair");
	if (rc < 0 || trust_identity(root_fd, a, &ret->identity, e) < 0)
		return -1;
	rc = t->pair.self == 1 && !t->pair.joined ? trust_read_open(root_fd, a, &open, e) : 0;
	ret->any = rc > 0;
	ret->pin = t->pair.joined ? t->pin : NULL;
	return rc < 0 ? -1 : 0;
}

int join_accept(int root_fd, int fd, int64_t wait_ms, struct arena *a, struct link **ret, struct str *ret_note,
		struct err *e)
{
	auto_fd own = fd;
	struct trust t;
	struct tls_opts o = {.server = true};
	struct tls *tls = NULL;
	struct wire_message m;
	int64_t until = clock_mono_ms() + wait_ms;
	if (read_who(root_fd, a, &t, &o, e) < 0 || tls_open(steal_fd(&own), &o, until, &tls, e) < 0)
		return -1;
	auto_ptr(link) l = link_over_tls(tls);
	int rc = link_take(l, until - clock_mono_ms(), a, &m, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_NETWORK, "the other side went away again");
	if (json_get(m.json, "join"))
		return serve_join(root_fd, a, l, m.json, ret_note, e);
	if (!tls_is_pinned(tls)) {
		err_new(e, ERR_VERIFY, "a stranger; who is invited runs 'slipway pair join'");
		(void)!link_refuse(l, e);
		(void)!link_take(l, LAST_WAIT_MS, a, &m, &(struct err){0});
		return -1;
	}
	if (link_answer_hello(l, m.json, e) < 0)
		return -1;
	*ret = steal_ptr(&l);
	return 1;
}

/* -- at member 2 -------------------------------------------------------------------------------------------------------- */

struct joining {
	int root_fd;
	struct arena *a;
	const struct pair_host *host;
	struct invitation invitation;
	struct tls_identity identity;
	uint8_t own[SHA256_SIZE];
	bool fresh; /* nobody can know its key yet */
	bool asked; /* member 1 may have taken this host in */
};

/* With what was begun before, where it is the same invitation; else anew. */
static int begin(struct joining *j, struct err *e)
{
	struct trust t;
	struct err useless = ERR_INIT;
	const struct pair *p = &t.pair;
	int rc = trust_read(j->root_fd, j->a, &t, e);
	if (rc < 0)
		return -1;
	bool same = rc && p->self == 2 && is_same(t.invited_by, j->invitation.fingerprint, SHA256_SIZE);
	if (rc && (p->self == 1 || (p->joined && !same)))
		return err_new(e, ERR_EXISTS, "this host is member %u of a pair already; 'slipway pair leave' first",
			       p->self);
	j->fresh = !same || trust_identity(j->root_fd, j->a, &j->identity, &useless) < 0 ||
		   tls_identity_check(&j->identity, &useless) < 0;
	memcpy(j->own, t.own, SHA256_SIZE);
	if (j->fresh && trust_begin(j->root_fd, j->a, &j->identity, j->own, e) < 0)
		return -1;
	return trust_write_self(j->root_fd, 2, j->host, j->own, j->invitation.fingerprint, e);
}

static void put_question(const struct joining *j, struct buf *b)
{
	struct jw w = JW_INIT(b, 0);
	jw_object(&w);
	jw_kv_int(&w, "join", JOIN_PROTOCOL);
	jw_kv_hex(&w, "secret", j->invitation.secret, INVITATION_SECRET);
	jw_kv_str(&w, "name", j->host->name);
	jw_kv_str(&w, "address", j->host->address);
	jw_object_end(&w);
}

static int read_answer(const struct json *j, struct pair_host *ret, struct err *e)
{
	int64_t protocol;
	return json_get_int(j, "joined", &protocol, e) < 0 || json_get_str(j, "name", &ret->name, e) < 0 ||
			       json_get_str(j, "address", &ret->address, e) < 0 || trust_check_host(ret, e) < 0
		       ? -1
		       : 0;
}

static int ask(struct joining *j, struct err *e)
{
	auto_buf b = BUF_INIT(JOIN_JSON_MAX);
	struct tls_opts o = {.identity = j->identity, .pin = j->invitation.fingerprint};
	struct endpoint at;
	struct tls *tls = NULL;
	struct wire_message m;
	struct pair_host host;
	struct str certificate;
	int64_t until = clock_mono_ms() + LINK_CONNECT_MS;
	int fd = -1;
	if (endpoint_parse(j->invitation.address, &at, e) < 0)
		return -1;
	if (endpoint_connect(&at, j->host->address, until, &fd, e) < 0)
		return err_ctx(e, "the agent of member 1 cannot be reached ('slipway agent' must run there)");
	if (tls_open(fd, &o, until, &tls, e) < 0)
		return -1;
	auto_ptr(link) l = link_over_tls(tls);
	put_question(j, &b);
	j->asked = true;
	if (link_call(l, buf_str(&b), STR_NONE, JOIN_WAIT_MS, NULL, NULL, j->a, &m, e) < 0)
		return -1;
	return read_answer(m.json, &host, e) < 0 || tls_peer_certificate(tls, j->a, &certificate, e) < 0
		       ? -1
		       : trust_write_peer(j->root_fd, &host, j->invitation.fingerprint, certificate, e);
}

/* What was begun is kept where member 1 may know its key: only with that one is the same command answered again. */
static int give_up(const struct joining *j, struct err *e)
{
	struct err ignored = ERR_INIT;
	bool refused = e->code == ERR_VERIFY || e->code == ERR_USAGE || e->code == ERR_UNSUPPORTED;
	if (e->sys == EKEYREJECTED)
		err_new(e, ERR_VERIFY,
			"member 1 takes in nobody new: another host has used the invitation, or the pair is no more");
	if (!j->asked || refused)
		return j->fresh ? (trust_forget(j->root_fd, &ignored), -1) : -1;
	e->code = ERR_UNCERTAIN;
	return err_ctx(e, "member 1 may have taken this host in; run the same command again");
}

int pair_join(int root_fd, const struct pair_host *host, struct str invitation, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct joining j = {.root_fd = root_fd, .a = &a, .host = host};
	if (invitation_parse(&a, invitation, &j.invitation, e) < 0 || trust_check_host(host, e) < 0)
		return -1;
	if (str_eq(host->address, j.invitation.address))
		return err_new(e, ERR_USAGE, "%.*s is member 1's address; give this host's with --listen",
			       STR_ARG(host->address));
	auto_fd lock = trust_lock(root_fd, e);
	if (lock < 0 || begin(&j, e) < 0)
		return -1;
	if (ask(&j, e) == 0)
		return 0;
	give_up(&j, e);
	return err_ctx(e, "join the pair of %.*s", STR_ARG(j.invitation.address));
}

/* -- what a person leaves out ------------------------------------------------------------------------------------------- */

int pair_host_complete(struct arena *a, struct str invitation, struct pair_host *h, struct err *e)
{
	struct invitation i;
	struct endpoint toward;
	char name[256] = "";
	if (invitation.n && (invitation_parse(a, invitation, &i, e) < 0 || endpoint_parse(i.address, &toward, e) < 0))
		return -1;
	if (!h->name.n && gethostname(name, sizeof(name) - 1) == 0)
		h->name = arena_str(a, str_c(name));
	return endpoint_complete(a, h->address, invitation.n ? &toward : NULL, &h->address, e) < 0
		       ? -1
		       : trust_check_host(h, e);
}

int pair_probe(int root_fd, const struct pair *p, struct arena *a, struct pair_link *ret)
{
	auto_ptr(link) l = NULL;
	struct err why = ERR_INIT;
	*ret = (struct pair_link){.up = link_connect(root_fd, p, LINK_CONNECT_MS, &l, &why) == 0};
	if (!ret->up) {
		ret->why = arena_str(a, str_c(why.msg));
		return 0;
	}
	const struct link_peer *peer = link_peer(l);
	ret->version = arena_str(a, peer->version);
	ret->round_trip_us = peer->round_trip_us;
	ret->skew_ms = peer->wall_ms - clock_wall_ms();
	return 1;
}
