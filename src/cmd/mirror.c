// SPDX-License-Identifier: Apache-2.0
/* mirror init. */
#include "cmd/change.h"
#include "mirror/mirror.h"

/* What tells this mirror's authority from all others: for people who compare it. */
static int make_authority(const char *dir, struct arena *a, struct str *ret, struct err *e)
{
	auto_ptr(mirror) m = NULL;
	struct mirror_authority_info i;
	if (mirror_open(dir, &m, e) < 0 || mirror_authority_keep(m, &clock_system, e) < 0 ||
	    mirror_authority_show(dir, a, &i, e) < 0)
		return -1;
	*ret = pki_fingerprint_text(a, i.authority.fingerprint);
	return 0;
}

static int init(struct cmd_context *c, const struct cmd_list *words, const char *name, const char *host, struct err *e)
{
	auto_answer a = {0};
	if (words->n != 1 || !name || !host)
		return err_new(
			e, ERR_USAGE,
			"%s? as in: slipway mirror init /srv/mirror --name your-mirror --host mirror.customer.com",
			words->n == 0  ? "make it in which folder"
			: words->n > 1 ? "in which one folder"
			: !name	       ? "what is it called (--name)"
				       : "by which host name will clients reach it (--host)");
	const struct mirror_init o = {.name = str_c(name), .host = str_c(host)};
	struct str fingerprint = STR_NONE;
	if (mirror_authority_check(o.name, o.host, e) < 0)
		return -1;
	if (!c->dry_run &&
	    (mirror_init(words->v[0], &o, e) < 0 || make_authority(words->v[0], &c->arena, &fingerprint, e) < 0))
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	cmd_say(c, "%s mirror '%s' in '%s'; its options are explained in '%s/mirror.yaml'",
		c->dry_run ? "would make" : "made", name, words->v[0], words->v[0]);
	if (fingerprint.n)
		cmd_say(c, "its authority has the SHA-256 %.*s", STR_ARG(fingerprint));
	if (!c->json)
		return CMD_OK;
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", "init");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "folder", words->v[0]);
	jw_kv_c(w, "name", name);
	jw_kv_c(w, "host", host);
	jw_kv_opt(w, "fingerprint", fingerprint);
	return cmd_answer_print(c, &a);
}

int cmd_mirror_init(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_list words = {0};
	struct err e = ERR_INIT;
	const char *name = NULL, *host = NULL;
	const struct cmd_option options[] = {
		{0, "name", CMD_TEXT, &name}, {0, "host", CMD_TEXT, &host}, {0, NULL, CMD_FLAG, NULL}};
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	int code = rc < 0				 ? cmd_fail(c, &e)
		   : c->help				 ? cmd_help(c)
		   : init(c, &words, name, host, &e) < 0 ? cmd_fail(c, &e)
							 : CMD_OK;
	vec_release(&words);
	return code;
}
