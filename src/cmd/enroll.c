// SPDX-License-Identifier: Apache-2.0
/* enroll: this host and the mirrors that know it. */
#include <errno.h>
#include <stdio.h>

#include "cmd/change.h"
#include "cmd/channel_trust.h"
#include "cmd/enrolled.h"
#include "cmd/plan.h"
#include "mirror/mirror.h"

enum { CODE_MAX = 4096 };

struct enroll_args {
	const char *code, *name, *forget, *plan_root;
	bool renew;
	struct cmd_list words;
};

/* -- for every command that downloads -------------------------------------------------------------------------------- */

struct enrolled {
	struct cmd_context *c;
	struct mirror_enrolled *v;
	size_t n;
	struct transfer_trust *trust; /* one each */
	bool *looked_at;	      /* whether it is time for another certificate */
	struct transfer_opts opts;
};

static void renew_if_due(struct enrolled *x, size_t i)
{
	struct mirror_here here = {x->c->root_fd, x->c->root_path, &clock_system, &x->opts};
	struct err e = ERR_INIT;
	if (x->looked_at[i])
		return;
	x->looked_at[i] = true;
	int rc = mirror_renew_here(&here, &x->v[i], false, &e);
	if (rc < 0)
		cmd_warn(x->c, "%s", e.msg);
	if (clock_wall_ms() < x->v[i].until_ms || rc > 0)
		return;
	cmd_warn(
		x->c,
		"the certificate of this host at '%.*s' has expired: ask the mirror's operator for a code, and 'slipway enroll' "
		"again; until then there is only what everybody may have",
		STR_ARG(x->v[i].id));
	x->trust[i].client_cert = x->trust[i].client_key = NULL; /* with it there would not be even that */
}

static const struct transfer_trust *trust_of(void *ctx, const char *url)
{
	struct enrolled *x = ctx;
	const struct mirror_enrolled *m = mirror_enrolled_at(x->v, x->n, str_c(url));
	if (!m)
		return NULL;
	renew_if_due(x, (size_t)(m - x->v));
	return &x->trust[m - x->v];
}

/* The mirror's authority may have changed, and announced it. */
static bool distrusted(void *ctx, const char *url)
{
	struct enrolled *x = ctx;
	struct mirror_here here = {x->c->root_fd, x->c->root_path, &clock_system, &x->opts};
	const struct mirror_enrolled *m = mirror_enrolled_at(x->v, x->n, str_c(url));
	struct err ignored = ERR_INIT;
	return m && mirror_learn_here(&here, m, &ignored) > 0;
}

int cmd_trust_enrolled(struct cmd_context *c, struct transfer_opts *o, struct err *e)
{
	struct enrolled *x = arena_new(&c->arena, struct enrolled);
	struct err ignored = ERR_INIT;
	if (c->root_fd < 0 && cmd_need_root(c, &ignored) < 0)
		return 0; /* a command that keeps nothing */
	if (mirror_enrolled_list(c->root_fd, c->root_path, &c->arena, &x->v, &x->n, &ignored) < 0) {
		if (ignored.sys == EACCES)
			return 0; /* another user's: what is for everybody is for this one, too */
		*e = ignored;
		return -1;
	}
	if (!x->n)
		return 0;
	x->c = c;
	x->opts = *o;
	x->trust = arena_array(&c->arena, struct transfer_trust, x->n);
	x->looked_at = arena_array(&c->arena, bool, x->n);
	for (size_t i = 0; i < x->n; i++)
		x->trust[i] = (struct transfer_trust){.ca_file = x->v[i].ca_file,
						      .client_cert = x->v[i].client_file,
						      .client_key = x->v[i].client_file};
	o->trust_of = trust_of;
	o->distrusted = distrusted;
	o->trust_ctx = x;
	return 0;
}

/* -- answers ---------------------------------------------------------------------------------------------------------- */

static void put_mirror(struct jw *w, const void *ctx, size_t i)
{
	const struct mirror_enrolled *m = (const struct mirror_enrolled *)ctx + i;
	jw_kv_str(w, "host", m->id);
	jw_kv_str(w, "url", m->url);
	jw_kv_str(w, "name", m->name);
	jw_kv_str(w, "group", m->group);
	jw_kv_str(w, "authority", m->issuer);
	jw_kv_str(w, "serial", m->serial);
	jw_kv_int(w, "until_ms", m->until_ms);
	jw_kv_bool(w, "expired", clock_wall_ms() >= m->until_ms);
}

static int answer(struct cmd_context *c, const struct mirror_enrolled *v, size_t n)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", "enroll");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_objects(w, "mirrors", n, put_mirror, v);
	return cmd_answer_print(c, &a);
}

static int list(struct cmd_context *c, struct err *e)
{
	struct mirror_enrolled *v;
	size_t n;
	auto_buf b = BUF_INIT(1 << 20);
	if (cmd_need_root(c, e) < 0 || mirror_enrolled_list(c->root_fd, c->root_path, &c->arena, &v, &n, e) < 0)
		return -1;
	if (c->json)
		return answer(c, v, n);
	if (!n)
		cmd_say(c, "this host is enrolled at no mirror; 'slipway enroll --code CODE URL' enrolls it");
	for (size_t i = 0; i < n; i++) {
		buf_printf(&b, "%.*s  as %.*s  %s ", STR_ARG(v[i].url), STR_ARG(v[i].name),
			   clock_wall_ms() >= v[i].until_ms ? "expired" : "until");
		clock_put_table(&b, v[i].until_ms);
		buf_put_char(&b, '\n');
	}
	return cmd_print(c, &b);
}

/* -- changes ---------------------------------------------------------------------------------------------------------- */

/* '-': from standard input, where nobody sees it in the list of processes. */
static int read_code(struct cmd_context *c, const char *word, struct str *ret)
{
	char text[CODE_MAX];
	*ret = str_c(word);
	if (strcmp(word, "-") != 0)
		return 0;
	size_t n = fread(text, 1, sizeof(text), stdin);
	*ret = arena_str(&c->arena, str_of(text, n));
	return 0;
}

static int here(struct cmd_context *c, struct mirror_here *ret, struct transfer_opts *opts, struct err *e)
{
	if (cmd_need_root(c, e) < 0 || cmd_transfer_opts(c, opts, e) < 0)
		return -1;
	*ret = (struct mirror_here){c->root_fd, c->root_path, &clock_system, opts};
	return 0;
}

/* The root came by another way than the mirror; the name is the one that the mirror knows this host by now, and stays it in plans. */
static int trust_plans(struct cmd_context *c, const char *root, const struct mirror_enrolled *m, struct err *e)
{
	const char *url = arena_printf(&c->arena, "%.*s/plan", STR_ARG(m->url));
	if (plan_trust(c, root, m->name, url, false, e) < 0)
		return err_ctx(e, "this host is enrolled, but trusts no plans: 'slipway plan trust' takes the root");
	cmd_say(c, "plans for '%.*s' are those signed under '%s'", STR_ARG(m->name), root);
	return 0;
}

static int enroll(struct cmd_context *c, const struct enroll_args *a, struct err *e)
{
	struct mirror_enrolled m;
	struct mirror_here at;
	struct transfer_opts opts;
	struct str code;
	auto_buf until = BUF_INIT(64);
	if (!a->code)
		return err_new(
			e, ERR_USAGE,
			"enroll with which code? as in: slipway enroll --code CODE %s; the mirror's operator makes one "
			"('slipway mirror enroll')",
			a->words.v[0]);
	if (read_code(c, a->code, &code) < 0 || here(c, &at, &opts, e) < 0)
		return -1;
	if (c->dry_run) {
		cmd_say(c, "would enroll this host at '%s'", a->words.v[0]);
		return c->json ? answer(c, NULL, 0) : CMD_OK;
	}
	if (mirror_enroll_here(&at, str_c(a->words.v[0]), code, a->name ? str_c(a->name) : STR_NONE, &c->arena, &m, e) <
	    0)
		return -1;
	cmd_changed(c);
	clock_put_table(&until, m.until_ms);
	cmd_say(c, "this host is '%.*s' at %.*s, by a certificate of '%.*s' until %s UTC, which it renews by itself",
		STR_ARG(m.name), STR_ARG(m.url), STR_ARG(m.issuer), until.p);
	if (a->plan_root && trust_plans(c, a->plan_root, &m, e) < 0)
		return -1;
	cmd_trust_mirror(c, m.url);
	return c->json ? answer(c, &m, 1) : CMD_OK;
}

static int renew(struct cmd_context *c, struct err *e)
{
	struct mirror_enrolled *v;
	struct mirror_here at;
	struct transfer_opts opts;
	size_t n;
	if (here(c, &at, &opts, e) < 0 || mirror_enrolled_list(c->root_fd, c->root_path, &c->arena, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (c->dry_run) {
			cmd_say(c, "would ask '%.*s' for a new certificate", STR_ARG(v[i].id));
			continue;
		}
		if (mirror_renew_here(&at, &v[i], true, e) < 0)
			return -1;
		cmd_changed(c);
		cmd_say(c, "the certificate of this host at '%.*s' is renewed", STR_ARG(v[i].id));
	}
	if (mirror_enrolled_list(c->root_fd, c->root_path, &c->arena, &v, &n, e) < 0)
		return -1;
	return c->json ? answer(c, v, n) : CMD_OK;
}

static int forget(struct cmd_context *c, const char *id, struct err *e)
{
	if (cmd_need_root(c, e) < 0)
		return -1;
	if (c->dry_run)
		cmd_say(c, "would forget the key and certificate for '%s'", id);
	else if (mirror_leave_here(c->root_fd, str_c(id), e) < 0)
		return -1;
	else
		cmd_say(c, "this host has forgotten its key for '%s'; the mirror forgets it by 'slipway mirror revoke'",
			id);
	if (!c->dry_run)
		cmd_changed(c);
	return c->json ? answer(c, NULL, 0) : CMD_OK;
}

static int choose(struct cmd_context *c, const struct enroll_args *a, struct err *e)
{
	if (a->words.n > 1)
		return err_new(e, ERR_USAGE, "'%s' is one word too many; as in: slipway enroll --code CODE URL",
			       a->words.v[1]);
	if ((a->words.n > 0) + a->renew + (a->forget != NULL) > 1)
		return err_new(e, ERR_USAGE, "only one of: a URL, --renew, --forget");
	if (a->plan_root && !(a->words.n && a->code))
		return err_new(e, ERR_USAGE,
			       "--plan-root goes with --code and a URL; 'slipway plan trust' takes a root later");
	if (a->forget)
		return forget(c, a->forget, e);
	if (a->renew)
		return renew(c, e);
	if (!a->words.n && a->code)
		return err_new(e, ERR_USAGE,
			       "enroll where? as in: slipway enroll --code CODE https://mirror.customer.com");
	return a->words.n ? enroll(c, a, e) : list(c, e);
}

int cmd_enroll(struct cmd_context *c, int argc, char **argv)
{
	struct enroll_args a = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {
		{0, "code", CMD_TEXT, &a.code},		  {0, "name", CMD_TEXT, &a.name},
		{0, "forget", CMD_TEXT, &a.forget},	  {0, "renew", CMD_FLAG, &a.renew},
		{0, "plan-root", CMD_TEXT, &a.plan_root}, {0, NULL, CMD_FLAG, NULL},
	};
	if (cmd_parse(c, options, false, argc, argv, &a.words, &e) < 0) {
		vec_release(&a.words);
		return cmd_fail(c, &e);
	}
	int rc = c->help ? cmd_help(c) : choose(c, &a, &e);
	vec_release(&a.words);
	return rc < 0 ? cmd_fail(c, &e) : rc;
}
