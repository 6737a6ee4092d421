// SPDX-License-Identifier: Apache-2.0
/* pair init, join, show, leave: two hosts that know each other. */
#include <stdio.h>

#include "cmd/change.h"
#include "pair/pair.h"

enum { INVITATION_MAX = 4096 };

struct pair_args {
	const char *name, *listen;
	bool force;
	struct cmd_list words;
};

/* What the agent says of it: nothing where none runs. */
struct agent_side {
	bool runs;
	struct str version, listens, why;
};

/* -- the agent ---------------------------------------------------------------------------------------------------------- */

/* It begins or ends to listen. What comes of it is told, and no failure: the pair is on disk, and the agent tries again. */
static int tell_agent(struct cmd_context *c, bool *ret_listens, struct err *e)
{
	auto_ptr(agent_client) client = NULL;
	struct err why = ERR_INIT;
	*ret_listens = false;
	if (agent_connect(c->root_fd, c->root_path, &client, &why) == 0 && agent_pair_changed(client, &why) == 0)
		*ret_listens = true;
	else if (why.code == ERR_NOT_FOUND)
		cmd_say(c,
			"no agent runs here yet, and the other member reaches this host through it: start 'slipway agent'");
	else if (why.code == ERR_UNSUPPORTED)
		return *e = why, err_ctx(e, "the agent is of another version; restart it");
	else
		cmd_say(c, "the agent does not listen yet, and tries again: %s", why.msg);
	return 0;
}

static void ask_agent(struct cmd_context *c, struct agent_side *ret)
{
	auto_ptr(agent_client) client = NULL;
	struct agent_status s;
	struct err why = ERR_INIT;
	*ret = (struct agent_side){0};
	if (agent_connect(c->root_fd, c->root_path, &client, &why) == 0 &&
	    agent_status(client, &c->arena, &s, &why) == 0)
		*ret = (struct agent_side){true, s.version, s.pair.address, s.pair.why};
	else
		ret->why = arena_str(&c->arena, str_c(why.msg));
}

/* -- init ----------------------------------------------------------------------------------------------------------------- */

static void put_host(struct jw *w, uint32_t number, const struct pair_host *h)
{
	jw_kv_int(w, "member", number);
	jw_kv_str(w, "name", h->name);
	jw_kv_str(w, "address", h->address);
	jw_kv_opt(w, "fingerprint", h->fingerprint);
}

/* May it be done? As it is now; the change looks again. */
static int check_alone(struct cmd_context *c, bool init, struct err *e)
{
	struct pair p;
	int rc = pair_read(c->root_fd, &c->arena, &p, e);
	bool fine = rc == 0 || (rc > 0 && !p.joined && (p.self == 1) == init);
	if (rc < 0 || fine)
		return rc < 0 ? -1 : 0;
	return err_new(e, ERR_EXISTS, "this host is member %u of a pair already; 'slipway pair leave' first", p.self);
}

static int init_answer(struct cmd_context *c, const struct pair *p, const struct pair_host *h,
		       const struct pair_invitation *i, bool listens)
{
	auto_buf b = BUF_INIT(65536);
	if (!c->json) {
		buf_printf(&b, "%.*s\n", STR_ARG(i->text));
		return c->dry_run ? CMD_OK : cmd_print(c, &b);
	}
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "pair init");
	jw_kv_bool(w, "dry_run", c->dry_run);
	put_host(w, 1, c->dry_run ? h : &p->host[1]);
	if (!c->dry_run) {
		jw_kv_str(w, "invitation", i->text);
		jw_kv_int(w, "until_ms", i->until_ms);
		jw_kv_bool(w, "listens", listens);
	}
	return cmd_answer_print(c, &answer);
}

static int init(struct cmd_context *c, const struct pair_args *a, struct err *e)
{
	struct pair_host h = {.name = str_c(a->name), .address = str_c(a->listen)};
	struct pair_invitation i = {0};
	struct pair p = {0};
	bool listens = false;
	if (a->words.n)
		return err_new(e, ERR_USAGE, "'%s' is one word too many; as in: slipway pair init --listen 10.0.0.1",
			       a->words.v[0]);
	if (cmd_need_root(c, e) < 0 || pair_host_complete(&c->arena, STR_NONE, &h, e) < 0 ||
	    check_alone(c, true, e) < 0)
		return -1;
	if (c->dry_run) {
		cmd_say(c, "would make this host member 1 of a pair: '%.*s' at %.*s", STR_ARG(h.name),
			STR_ARG(h.address));
		return init_answer(c, &p, &h, &i, false);
	}
	if (pair_init(c->root_fd, &h, &c->arena, &i, e) < 0)
		return -1;
	cmd_changed(c);
	if (pair_read(c->root_fd, &c->arena, &p, e) < 0 || tell_agent(c, &listens, e) < 0)
		return -1;
	cmd_say(c, "this host is member 1 of a pair: '%.*s' at %.*s", STR_ARG(h.name), STR_ARG(h.address));
	cmd_say(c, "on the other host, once, within %d minutes: slipway pair join, and this line:",
		PAIR_INVITATION_MS / 60000);
	return init_answer(c, &p, &h, &i, listens);
}

/* -- join ----------------------------------------------------------------------------------------------------------------- */

/* '-': from standard input, where nobody sees it in the list of processes. */
static int read_invitation(struct cmd_context *c, const struct pair_args *a, struct str *ret, struct err *e)
{
	char text[INVITATION_MAX];
	if (a->words.n != 1)
		return err_new(
			e, ERR_USAGE,
			"join by which invitation? as in: slipway pair join INVITATION, the line that 'slipway pair "
			"init' printed on the other host");
	if (strcmp(a->words.v[0], "-") != 0) {
		*ret = str_c(a->words.v[0]);
		return 0;
	}
	size_t n = fread(text, 1, sizeof(text), stdin);
	*ret = arena_str(&c->arena, str_of(text, n));
	return 0;
}

static int join_answer(struct cmd_context *c, const struct pair *p, const struct pair_host *h, bool listens)
{
	auto_answer answer = {0};
	if (!c->json)
		return CMD_OK;
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "pair join");
	jw_kv_bool(w, "dry_run", c->dry_run);
	put_host(w, 2, c->dry_run ? h : &p->host[2]);
	if (!c->dry_run) {
		jw_key(w, "peer");
		jw_object(w);
		put_host(w, 1, &p->host[1]);
		jw_object_end(w);
		jw_kv_bool(w, "listens", listens);
	}
	return cmd_answer_print(c, &answer);
}

static int join(struct cmd_context *c, const struct pair_args *a, struct err *e)
{
	struct pair_host h = {.name = str_c(a->name), .address = str_c(a->listen)};
	struct str invitation;
	struct pair p = {0};
	bool listens = false;
	if (read_invitation(c, a, &invitation, e) < 0 || cmd_need_root(c, e) < 0)
		return -1;
	if (!invitation.n)
		return err_new(e, ERR_USAGE, "the invitation is empty");
	if (pair_host_complete(&c->arena, invitation, &h, e) < 0)
		return -1;
	if (c->dry_run) {
		if (check_alone(c, false, e) < 0)
			return -1;
		cmd_say(c, "would make this host member 2 of a pair: '%.*s' at %.*s", STR_ARG(h.name),
			STR_ARG(h.address));
		return join_answer(c, &p, &h, false);
	}
	if (pair_join(c->root_fd, &h, invitation, e) < 0)
		return -1;
	cmd_changed(c);
	if (pair_read(c->root_fd, &c->arena, &p, e) < 0 || tell_agent(c, &listens, e) < 0)
		return -1;
	cmd_say(c, "this host is member 2 of a pair: '%.*s' at %.*s", STR_ARG(h.name), STR_ARG(h.address));
	cmd_say(c, "member 1 is '%.*s' at %.*s", STR_ARG(p.host[1].name), STR_ARG(p.host[1].address));
	return join_answer(c, &p, &h, listens);
}

/* -- show ----------------------------------------------------------------------------------------------------------------- */

static const char *why_alone(const struct pair *p)
{
	return p->self == 1
		       ? "nobody has joined yet; 'slipway pair init' makes another invitation"
		       : "joining was not brought to its end; run 'slipway pair join' with the same invitation again, or "
			 "'slipway pair leave'";
}

static void agent_text(struct buf *b, const struct agent_side *s)
{
	buf_put_c(b, "  agent        ");
	if (!s->runs)
		buf_printf(b, "%.*s\n", STR_ARG(s->why));
	else if (s->listens.n)
		buf_printf(b, "%.*s, listens on %.*s\n", STR_ARG(s->version), STR_ARG(s->listens));
	else
		buf_printf(b, "%.*s, does not listen%s%.*s\n", STR_ARG(s->version), s->why.n ? ": " : "",
			   STR_ARG(s->why));
}

static void host_text(struct buf *b, const struct pair *p, uint32_t number)
{
	const struct pair_host *h = &p->host[number];
	buf_printf(b, "member %u%s: %.*s\n", number, number == p->self ? " (this host)" : "", STR_ARG(h->name));
	buf_printf(b, "  address      %.*s\n", STR_ARG(h->address));
	buf_printf(b, "  fingerprint  %.*s\n", STR_ARG(h->fingerprint));
}

static void show_text(struct buf *b, const struct pair *p, const struct agent_side *s, const struct pair_link *l)
{
	for (uint32_t i = 1; i <= PAIR_MEMBERS; i++) {
		if (i != p->self && !p->joined)
			continue;
		host_text(b, p, i);
		if (i == p->self)
			agent_text(b, s);
		else if (l->up)
			buf_printf(b, "  agent        %.*s\n", STR_ARG(l->version));
	}
	if (!p->joined)
		buf_printf(b, "link: none: %s\n", why_alone(p));
	else if (!l->up)
		buf_printf(b, "link: down: %.*s\n", STR_ARG(l->why));
	else
		buf_printf(b, "link: up; round trip %.1f ms; its clock is %.1f s %s\n", (double)l->round_trip_us / 1000,
			   (double)llabs(l->skew_ms) / 1000, l->skew_ms < 0 ? "behind" : "ahead");
}

static int show_json(struct cmd_context *c, const struct pair *p, const struct agent_side *s, const struct pair_link *l)
{
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_int(w, "self", p->self);
	jw_kv_bool(w, "joined", p->joined);
	jw_key(w, "members");
	jw_array(w);
	for (uint32_t i = 1; i <= PAIR_MEMBERS; i++) {
		if (i != p->self && !p->joined)
			continue;
		jw_object(w);
		put_host(w, i, &p->host[i]);
		jw_kv_opt(w, "agent", i == p->self ? s->version : l->version);
		if (i == p->self) {
			jw_kv_bool(w, "listens", s->listens.n > 0);
			jw_kv_opt(w, "why", s->why);
		}
		jw_object_end(w);
	}
	jw_array_end(w);
	jw_key(w, "link");
	jw_object(w);
	jw_kv_bool(w, "up", l->up);
	if (l->up) {
		jw_kv_int(w, "round_trip_us", l->round_trip_us);
		jw_kv_int(w, "clock_skew_ms", l->skew_ms);
	} else {
		jw_kv_str(w, "why", p->joined ? l->why : str_c(why_alone(p)));
	}
	jw_object_end(w);
	return cmd_answer_print(c, &answer);
}

static int show(struct cmd_context *c, const struct pair_args *a, struct err *e)
{
	struct pair p;
	struct agent_side s;
	struct pair_link l = {0};
	auto_buf b = BUF_INIT(BUF_MAX);
	if (a->words.n)
		return err_new(e, ERR_USAGE, "'%s' is one word too many; as in: slipway pair show", a->words.v[0]);
	int rc = cmd_need_root(c, e) < 0 ? -1 : pair_read(c->root_fd, &c->arena, &p, e);
	if (rc <= 0)
		return rc < 0 ? -1
			      : err_new(e, ERR_NOT_FOUND,
					"this host is in no pair; 'slipway pair init' begins one, 'slipway pair join' enters "
					"another host's");
	ask_agent(c, &s);
	if (p.joined)
		(void)!pair_probe(c->root_fd, &p, &c->arena, &l);
	if (c->json)
		return show_json(c, &p, &s, &l);
	show_text(&b, &p, &s, &l);
	return cmd_print(c, &b);
}

/* -- leave ---------------------------------------------------------------------------------------------------------------- */

/* The environment of an operation that both members are in the middle of; empty: there is none. */
static int find_paired_operation(struct cmd_context *c, struct str *ret, struct err *e)
{
	struct str *envs;
	size_t n;
	struct upgrade_status s;
	if (cmd_need_state(c, true, e) < 0 || env_operation_list(c->state, &c->arena, &envs, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (upgrade_status(c->state, &c->arena, envs[i], &s, e) < 0)
			return -1;
		if (s.paired)
			*ret = envs[i];
	}
	return 0;
}

/* With the other member there, what both are in the middle of is brought to one end first. Without it, leaving is the way out. */
static int refuse_in_the_middle(struct cmd_context *c, const struct pair *p, struct err *e)
{
	struct str env = STR_NONE;
	struct pair_link l = {0};
	if (find_paired_operation(c, &env, e) < 0)
		return -1;
	if (!env.n || pair_probe(c->root_fd, p, &c->arena, &l) < 0 || !l.up)
		return 0;
	return err_new(
		e, ERR_FAILED,
		"both members are in the middle of an upgrade of '%.*s': 'slipway install commit -n %.*s' or "
		"'slipway install abort issu -n %.*s' first; where the two contradict each other and neither does it, "
		"'slipway pair leave --force' on both, then one of these on each",
		STR_ARG(env), STR_ARG(env), STR_ARG(env));
}

static int leave(struct cmd_context *c, const struct pair_args *a, struct err *e)
{
	struct pair p = {0};
	struct err damaged = ERR_INIT;
	if (a->words.n)
		return err_new(e, ERR_USAGE, "'%s' is one word too many; as in: slipway pair leave", a->words.v[0]);
	if (cmd_need_root(c, e) < 0)
		return -1;
	int member = pair_read(c->root_fd, &c->arena, &p, &damaged); /* what is damaged can be left, too */
	const struct pair_host *other = &p.host[p.self ? 3 - p.self : 0];
	if (member > 0 && p.joined && !a->force && refuse_in_the_middle(c, &p, e) < 0)
		return -1;
	if (!c->dry_run) {
		if (pair_leave(c->root_fd, e) < 0)
			return -1;
		cmd_changed(c);
		auto_ptr(agent_client) client = NULL;
		if (agent_connect(c->root_fd, c->root_path, &client, &damaged) == 0)
			(void)!agent_pair_changed(client, &damaged);
	}
	if (member == 0)
		cmd_say(c, "this host is in no pair");
	else
		cmd_say(c, "%s this host's key and what it knows of the other member",
			c->dry_run ? "would forget" : "forgot");
	if (member > 0 && p.joined)
		cmd_say(c, "'%.*s' at %.*s still knows this host: run 'slipway pair leave' there, too",
			STR_ARG(other->name), STR_ARG(other->address));
	if (!c->json)
		return CMD_OK;
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "pair leave");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_bool(w, "changed", member != 0);
	return cmd_answer_print(c, &answer);
}

/* ------------------------------------------------------------------------------------------------------------------------- */

static int run(struct cmd_context *c, int argc, char **argv, bool host,
	       int (*fn)(struct cmd_context *c, const struct pair_args *a, struct err *e))
{
	struct pair_args a = {0};
	struct err e = ERR_INIT;
	const struct cmd_option with_host[] = {
		{0, "name", CMD_TEXT, &a.name},
		{0, "listen", CMD_TEXT, &a.listen},
		{0, NULL, CMD_FLAG, NULL},
	};
	const struct cmd_option with_force[] = {
		{0, "force", CMD_FLAG, &a.force},
		{0, NULL, CMD_FLAG, NULL},
	};
	const struct cmd_option *known = fn == leave ? with_force : host ? with_host : with_host + 2;
	int rc = cmd_parse(c, known, false, argc, argv, &a.words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : fn(c, &a, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
	vec_release(&a.words);
	return code;
}

int cmd_pair_init(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, true, init);
}

int cmd_pair_join(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, true, join);
}

int cmd_pair_show(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, false, show);
}

int cmd_pair_leave(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, false, leave);
}
