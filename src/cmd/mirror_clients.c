// SPDX-License-Identifier: Apache-2.0
/* mirror enroll, clients, revoke, rights, authority: who may come in. */
#include <stdio.h>
#include <string.h>

#include "cmd/change.h"
#include "mirror/mirror.h"

struct clients_args {
	const char *name, *group, *client, *reason;
	int64_t hours;
	bool none;
	struct cmd_list words; /* DIR, then the rest */
};

struct clients_of {
	struct mirror *m;
	struct mirror_clients *clients;
};
static void clients_of_release(struct clients_of *x)
{
	mirror_clients_free(x->clients);
	mirror_close(x->m);
}
#define auto_clients cleanup_with(clients_of_release) struct clients_of

/* The authority is looked after on the way, so that a mirror that was made by hand has one. */
static int open_clients(const char *dir, struct clients_of *ret, struct err *e)
{
	return mirror_open(dir, &ret->m, e) < 0 || mirror_authority_keep(ret->m, &clock_system, e) < 0 ||
			       mirror_clients_open(mirror_dir(ret->m), &clock_system, &ret->clients, e) < 0
		       ? -1
		       : 0;
}

/* The folder before so many other words; the current one where it is left out. */
static const char *dir_of(const struct clients_args *a, size_t others)
{
	return a->words.n > others ? a->words.v[0] : ".";
}

static int need_words(const struct clients_args *a, size_t least, size_t most, const char *usage, struct err *e)
{
	if (a->words.n >= least && a->words.n <= most)
		return 0;
	return err_new(e, ERR_USAGE, "%s; as in: slipway mirror %s",
		       a->words.n < least ? "a word is missing" : "there are too many words", usage);
}

typedef int clients_verb(struct cmd_context *c, struct clients_args *a, struct err *e);

static int run(struct cmd_context *c, const struct cmd_option *options, struct clients_args *a, int argc, char **argv,
	       clients_verb *verb)
{
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a->words, &e) < 0 ? -1
		 : c->help						     ? cmd_help(c)
									     : verb(c, a, &e);
	vec_release(&a->words);
	return rc < 0 ? cmd_fail(c, &e) : rc;
}

/* -- enroll ------------------------------------------------------------------------------------------------------------ */

static int enroll(struct cmd_context *c, struct clients_args *a, struct err *e)
{
	auto_clients x = {0};
	struct mirror_code code = {0};
	auto_buf b = BUF_INIT(4096);
	if (need_words(a, 0, 1, "enroll [DIR] [--name NAME]", e) < 0 || open_clients(dir_of(a, 0), &x, e) < 0)
		return -1;
	const struct mirror_config *config = mirror_config(x.m);
	struct mirror_code_opts o = {.name = str_c(a->name ? a->name : ""),
				     .group = str_c(a->group ? a->group : ""),
				     .life_s = a->hours * 3600};
	if (c->dry_run)
		cmd_say(c, "would make a code for one machine");
	else if (mirror_code_new(x.clients, &o, &c->arena, &code, e) < 0)
		return -1;
	else
		cmd_changed(c);
	if (c->json) {
		auto_answer answer = {0};
		struct jw *w = cmd_answer(&answer);
		jw_kv_c(w, "operation", "mirror enroll");
		jw_kv_bool(w, "dry_run", c->dry_run);
		jw_kv_str(w, "code", code.text);
		jw_kv_int(w, "until_ms", code.until_ms);
		jw_kv_str(w, "host", config->host);
		return cmd_answer_print(c, &answer);
	}
	if (c->dry_run)
		return CMD_OK;
	buf_printf(&b, "%.*s\n", STR_ARG(code.text));
	auto_buf until = BUF_INIT(64);
	clock_put_table(&until, code.until_ms);
	cmd_say(c, "good for one machine, until %s UTC; on it: slipway enroll --code CODE https://%.*s", until.p,
		STR_ARG(config->host));
	ptrdiff_t colon = str_rfind(config->server.listen, ':');
	struct str port = colon < 0 ? STR_NONE : str_skip(config->server.listen, (size_t)colon + 1);
	if (port.n && !str_eq(port, STR("443")))
		cmd_say(c,
			"that is port 443; while nothing leads it here ('slipway mirror install-service'): https://%.*s:%.*s",
			STR_ARG(config->host), STR_ARG(port));
	return cmd_print(c, &b);
}

int cmd_mirror_enroll(struct cmd_context *c, int argc, char **argv)
{
	struct clients_args a = {0};
	const struct cmd_option options[] = {{0, "name", CMD_TEXT, &a.name},
					     {0, "group", CMD_TEXT, &a.group},
					     {0, "hours", CMD_NUMBER, &a.hours},
					     {0, NULL, CMD_FLAG, NULL}};
	return run(c, options, &a, argc, argv, enroll);
}

/* -- clients ----------------------------------------------------------------------------------------------------------- */

static const char *state_of(const struct mirror_client *x)
{
	return x->revoked_ms ? "revoked" : x->until_ms <= clock_wall_ms() ? "expired" : "enrolled";
}

static void put_client(struct jw *w, const void *ctx, size_t i)
{
	const struct mirror_client *x = (const struct mirror_client *)ctx + i;
	jw_kv_str(w, "name", x->name);
	jw_kv_str(w, "machine", x->machine);
	jw_kv_str(w, "group", x->group);
	jw_kv_c(w, "state", state_of(x));
	jw_kv_opt(w, "reason", x->reason);
	jw_kv_str(w, "serial", x->serial);
	jw_kv_str(w, "fingerprint", x->fingerprint);
	jw_kv_int(w, "enrolled_ms", x->enrolled_ms);
	jw_kv_int(w, "renewed_ms", x->renewed_ms);
	jw_kv_int(w, "until_ms", x->until_ms);
	jw_kv_int(w, "revoked_ms", x->revoked_ms);
}

static int done(struct cmd_context *c, const char *operation, const char *name)
{
	auto_answer answer = {0};
	if (!c->dry_run)
		cmd_changed(c);
	if (!c->json)
		return CMD_OK;
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", operation);
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "name", name);
	return cmd_answer_print(c, &answer);
}

/* Who comes by that name later sees nothing of it. */
static int remove_one(struct cmd_context *c, const char *dir, const char *name, struct err *e)
{
	auto_clients x = {0};
	auto_ptr(mirror_snapshots) s = NULL;
	int64_t n = 0;
	if (open_clients(dir, &x, e) < 0 || mirror_snapshots_open(mirror_db_path(x.m), &s, e) < 0)
		return -1;
	if (c->dry_run)
		cmd_say(c, "would remove '%s' and its snapshots", name);
	else if (mirror_client_revoke(x.clients, str_c(name), STR("removed"), e) < 0 ||
		 mirror_snapshots_forget(s, str_c(name), &n, e) < 0 ||
		 mirror_client_remove(x.clients, str_c(name), e) < 0)
		return -1;
	else
		cmd_say(c, "'%s' is removed, with %lld snapshots; its certificates are refused from now on", name,
			(long long)n);
	return done(c, "mirror clients remove", name);
}

static int clients(struct cmd_context *c, struct clients_args *a, struct err *e)
{
	auto_clients x = {0};
	struct mirror_client *v;
	size_t n = a->words.n;
	auto_buf b = BUF_INIT(BUF_MAX);
	if ((n == 2 || n == 3) && strcmp(a->words.v[n - 2], "remove") == 0)
		return remove_one(c, dir_of(a, 2), a->words.v[n - 1], e);
	if (need_words(a, 0, 1, "clients [DIR] [remove NAME]", e) < 0 || open_clients(dir_of(a, 0), &x, e) < 0 ||
	    mirror_client_list(x.clients, &c->arena, &v, &n, e) < 0)
		return -1;
	if (c->json) {
		auto_answer answer = {0};
		struct jw *w = cmd_answer(&answer);
		jw_kv_objects(w, "clients", n, put_client, v);
		return cmd_answer_print(c, &answer);
	}
	for (size_t i = 0; i < n; i++) {
		buf_printf(&b, "%-20.*s %-10.*s %-8s until ", STR_ARG(v[i].name), STR_ARG(v[i].group), state_of(&v[i]));
		clock_put_table(&b, v[i].until_ms);
		buf_printf(&b, "  machine %.16s%s%.*s\n", v[i].machine.p, v[i].reason.n ? "  " : "",
			   STR_ARG(v[i].reason));
	}
	if (!n)
		cmd_say(c, "no machine is enrolled; 'slipway mirror enroll DIR' makes a code for one");
	return cmd_print(c, &b);
}

int cmd_mirror_clients(struct cmd_context *c, int argc, char **argv)
{
	struct clients_args a = {0};
	const struct cmd_option options[] = {{0, NULL, CMD_FLAG, NULL}};
	return run(c, options, &a, argc, argv, clients);
}

/* -- revoke ------------------------------------------------------------------------------------------------------------ */

static int revoke_one(struct cmd_context *c, struct clients_args *a, struct err *e)
{
	auto_clients x = {0};
	if (a->words.n == 1 && strchr(a->words.v[0], '/'))
		return err_new(e, ERR_USAGE,
			       "revoke whom? as in: slipway mirror revoke %s NAME; 'slipway mirror clients' lists them",
			       a->words.v[0]);
	if (need_words(a, 1, 2, "revoke [DIR] NAME", e) < 0 || open_clients(dir_of(a, 1), &x, e) < 0)
		return -1;
	const char *name = a->words.v[a->words.n - 1];
	if (c->dry_run)
		cmd_say(c, "would revoke '%s'", name);
	else if (mirror_client_revoke(x.clients, str_c(name), str_c(a->reason ? a->reason : ""), e) < 0)
		return -1;
	else
		cmd_say(c, "'%s' is refused from now on; a code made with --name %s lets a machine take its place",
			name, name);
	return done(c, "mirror revoke", name);
}

int cmd_mirror_revoke(struct cmd_context *c, int argc, char **argv)
{
	struct clients_args a = {0};
	const struct cmd_option options[] = {{0, "reason", CMD_TEXT, &a.reason}, {0, NULL, CMD_FLAG, NULL}};
	return run(c, options, &a, argc, argv, revoke_one);
}

/* -- rights ------------------------------------------------------------------------------------------------------------ */

static const char *holder_word(const struct mirror_rights *r)
{
	return r->holder == MIRROR_GROUP ? "group" : "client";
}

static void put_rights(struct jw *w, const void *ctx, size_t i)
{
	const struct mirror_rights *r = (const struct mirror_rights *)ctx + i;
	jw_kv_c(w, "holder", holder_word(r));
	jw_kv_str(w, "name", r->name);
	jw_kv_list(w, "patterns", r->patterns, r->patterns_n);
}

static int list_rights(struct cmd_context *c, const char *dir, struct err *e)
{
	auto_clients x = {0};
	auto_buf b = BUF_INIT(BUF_MAX);
	struct mirror_rights *v;
	size_t n;
	if (open_clients(dir, &x, e) < 0 || mirror_rights_list(x.clients, &c->arena, &v, &n, e) < 0)
		return -1;
	if (c->json) {
		auto_answer answer = {0};
		struct jw *w = cmd_answer(&answer);
		jw_kv_objects(w, "rights", n, put_rights, v);
		return cmd_answer_print(c, &answer);
	}
	for (size_t i = 0; i < n; i++) {
		buf_printf(&b, "%-6s %-20.*s", holder_word(&v[i]), STR_ARG(v[i].name));
		for (size_t k = 0; k < v[i].patterns_n; k++)
			buf_printf(&b, " %.*s", STR_ARG(v[i].patterns[k]));
		buf_put_c(&b, "\n");
	}
	if (!n)
		cmd_say(c, "no group and no machine may have a channel that is private");
	return cmd_print(c, &b);
}

static int rights(struct cmd_context *c, struct clients_args *a, struct err *e)
{
	auto_clients x = {0};
	if (!a->group && !a->client && !a->none && a->words.n <= 1)
		return list_rights(c, dir_of(a, 0), e);
	if (need_words(a, 1, 250, "rights DIR --group NAME PATTERN...", e) < 0 ||
	    open_clients(a->words.v[0], &x, e) < 0)
		return -1;
	if (!a->group == !a->client)
		return err_new(e, ERR_USAGE, "whose rights? one of --group NAME, --client NAME");
	size_t n = a->words.n - 1;
	struct str *patterns = arena_array(&c->arena, struct str, n);
	auto_buf list = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < n; i++) {
		patterns[i] = str_c(a->words.v[i + 1]);
		buf_printf(&list, "%s '%s'", i ? "," : "", a->words.v[i + 1]);
	}
	const char *name = a->group ? a->group : a->client, *holder = a->group ? "group" : "machine";
	if (a->none ? n > 0 : n == 0)
		return err_new(
			e, ERR_USAGE,
			"which channels? as in: slipway mirror rights %s --%s %s 'site*' '!site-test', or --none",
			a->words.v[0], a->group ? "group" : "client", name);
	if (!c->dry_run &&
	    mirror_rights_set(x.clients, a->group ? MIRROR_GROUP : MIRROR_CLIENT, str_c(name), patterns, n, e) < 0)
		return -1;
	cmd_say(c, "%s %s '%s' %s%s", c->dry_run ? "would let" : "from now on", holder, name,
		c->dry_run ? "have" : "may have",
		n	   ? list.p
		: a->group ? " no channel that is private"
			   : " what its group has");
	return done(c, "mirror rights", name);
}

int cmd_mirror_rights(struct cmd_context *c, int argc, char **argv)
{
	struct clients_args a = {0};
	const struct cmd_option options[] = {{0, "group", CMD_TEXT, &a.group},
					     {0, "client", CMD_TEXT, &a.client},
					     {0, "none", CMD_FLAG, &a.none},
					     {0, NULL, CMD_FLAG, NULL}};
	return run(c, options, &a, argc, argv, rights);
}

/* -- authority --------------------------------------------------------------------------------------------------------- */

static void put_cert(struct cmd_context *c, struct buf *b, const char *what, const struct pki_cert_info *i)
{
	buf_printf(b, "%s '%.*s', good until ", what, STR_ARG(i->subject));
	clock_put_table(b, i->not_after_ms);
	buf_printf(b, "\n  SHA-256 %s\n", pki_fingerprint_text(&c->arena, i->fingerprint).p);
}

static int show_authority(struct cmd_context *c, const char *dir, struct err *e)
{
	struct mirror_authority_info i;
	auto_buf b = BUF_INIT(1 << 20);
	if (mirror_authority_show(dir, &c->arena, &i, e) < 0)
		return -1;
	if (c->json) {
		auto_answer answer = {0};
		struct jw *w = cmd_answer(&answer);
		jw_kv_str(w, "authority", i.authority.subject);
		jw_kv_hex(w, "fingerprint", i.authority.fingerprint, SHA256_SIZE);
		jw_kv_int(w, "until_ms", i.authority.not_after_ms);
		jw_kv_str(w, "server", i.server.subject);
		jw_kv_hex(w, "server_fingerprint", i.server.fingerprint, SHA256_SIZE);
		jw_kv_int(w, "server_until_ms", i.server.not_after_ms);
		jw_kv_str(w, "bundle", i.bundle);
		return cmd_answer_print(c, &answer);
	}
	put_cert(c, &b, "authority", &i.authority);
	put_cert(c, &b, "server", &i.server);
	return cmd_print(c, &b);
}

static int authority(struct cmd_context *c, struct clients_args *a, struct err *e)
{
	auto_clients x = {0};
	const char *last = a->words.n ? a->words.v[a->words.n - 1] : "";
	bool announce = strcmp(last, "announce") == 0, verb = announce || strcmp(last, "switch") == 0;
	struct err other = ERR_INIT;
	if (need_words(a, 0, 1 + verb, "authority [DIR] [announce|switch]", e) < 0 ||
	    mirror_open(dir_of(a, verb), &x.m, e) < 0)
		return -1;
	/* where it may not speak for the mirror's present name, this is what mends it */
	if (mirror_authority_keep(x.m, &clock_system, &other) < 0 && other.code != ERR_VERIFY)
		return *e = other, -1;
	if (verb && c->dry_run)
		cmd_say(c, announce ? "would make another authority and announce it"
				    : "would have the announced authority sign");
	else if (verb && mirror_authority_change(x.m, announce, &clock_system, e) < 0)
		return -1;
	else if (verb) {
		cmd_changed(c);
		cmd_say(c, "%s",
			announce
				? "clients take it in by themselves; give other programs 'pki/ca.pem' again, then 'slipway mirror "
				  "authority switch'"
				: "the new authority signs from now on; 'slipway mirror reload' has the mirror show its new "
				  "certificate");
	}
	return show_authority(c, mirror_dir(x.m), e);
}

int cmd_mirror_authority(struct cmd_context *c, int argc, char **argv)
{
	struct clients_args a = {0};
	const struct cmd_option options[] = {{0, NULL, CMD_FLAG, NULL}};
	return run(c, options, &a, argc, argv, authority);
}
