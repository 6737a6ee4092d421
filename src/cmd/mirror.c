// SPDX-License-Identifier: Apache-2.0
/* mirror init. */
#include "cmd/change.h"
#include "mirror/mirror.h"

static int init(struct cmd_context *c, const struct cmd_list *words, const char *name, const char *host, struct err *e)
{
	auto_answer a = {0};
	if (words->n != 1 || !name || !host)
		return err_new(e, ERR_USAGE,
			       "make which mirror? as in: slipway mirror init /srv/mirror --name your-mirror --host "
			       "mirror.customer.com");
	const struct mirror_init o = {.name = str_c(name), .host = str_c(host)};
	if (!c->dry_run && mirror_init(words->v[0], &o, e) < 0)
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	cmd_say(c, "%s mirror '%s' in '%s'; its options are explained in '%s/mirror.yaml'",
		c->dry_run ? "would make" : "made", name, words->v[0], words->v[0]);
	if (!c->json)
		return CMD_OK;
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", "init");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "folder", words->v[0]);
	jw_kv_c(w, "name", name);
	jw_kv_c(w, "host", host);
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
