// SPDX-License-Identifier: Apache-2.0
/* channel promote, prune and scrub. */
#include <stdio.h>

#include "cmd/change.h"
#include "cmd/channel_sign.h"
#include "cmd/channel_sync.h"

enum { DAMAGED_SHOWN = 20 };

static double mb(uint64_t bytes)
{
	return (double)bytes / 1e6;
}

/* -- promote ------------------------------------------------------------------------------------------------------- */

static const char *folder_of(const struct cmd_target *t, const char *word, struct err *e)
{
	if (t->folder && (!t->channel || t->channel->type == MIRROR_LOCAL))
		return t->folder;
	err_new(e, ERR_USAGE,
		t->folder ? "'%s' follows another channel: packages are promoted between local ones"
			  : "'%s' is a mirror: name a channel of it, as %s/NAME",
		word, word);
	return NULL;
}

static int promote(struct cmd_context *c, const struct cmd_list *words, bool replace, struct err *e)
{
	auto_target from = {0}, to = {0};
	struct mirror_list done;
	if (words->n < 3)
		return err_new(
			e, ERR_USAGE,
			"promote what from where to where? as in: slipway channel promote M/test M/release tool=2.0");
	if (cmd_target(c, words->v[0], &from, e) < 0)
		return -1;
	struct err none = ERR_INIT;
	const char *target = words->v[1];
	if (cmd_target(c, target, &to, &none) == 0)
		target = folder_of(&to, target, e);
	else if (none.code != ERR_NOT_FOUND || to.m) /* a folder that is no channel yet becomes one */
		return *e = none, -1;
	const char *source = target ? folder_of(&from, words->v[0], e) : NULL;
	if (!source)
		return -1;
	if (to.kind && to.kind != from.kind)
		return err_new(e, ERR_USAGE, "'%s' is a %s channel, the packages of '%s' are those of a %s channel",
			       words->v[1], channel_kind_name(to.kind), words->v[0], channel_kind_name(from.kind));
	struct str *specs = arena_array(&c->arena, struct str, words->n);
	for (size_t i = 2; i < words->n; i++)
		specs[i - 2] = str_c(words->v[i]);
	const struct mirror_channel *ch = to.channel;
	const struct channel_signer signer = {ch && ch->sign_home.n ? ch->sign_home.p : NULL,
					      ch ? ch->sign_key.p : NULL};
	struct channel_make_opts make = {.signer = ch && ch->sign_key.n ? &signer : NULL,
					 .shards = ch && ch->shards,
					 .suite = ch && ch->suites.n ? ch->suites.v[0] : STR_NONE};
	struct cmd_seal seal = {.c = c, .kind = from.kind};
	cmd_seal_with(&seal, &make);
	const struct mirror_promote o = {.specs = specs,
					 .specs_n = words->n - 2,
					 .dry_run = c->dry_run,
					 .replace = replace,
					 .make = &make,
					 .progress = &c->progress};
	cmd_progress_begin(c);
	int rc = mirror_promote(from.kind, source, target, &o, &c->arena, &done, e);
	cmd_progress_end(c);
	if (rc < 0)
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	cmd_say(c, "%s%zu package%s from '%s' to '%s'", c->dry_run ? "would promote " : "promoted ", done.n,
		done.n == 1 ? "" : "s", words->v[0], words->v[1]);
	if (!c->json)
		return CMD_OK;
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", "promote");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "from", words->v[0]);
	jw_kv_c(w, "to", words->v[1]);
	jw_kv_list(w, "packages", done.v, done.n);
	return cmd_answer_print(c, &a);
}

int cmd_channel_promote(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_list words = {0};
	struct err e = ERR_INIT;
	bool replace = false;
	const struct cmd_option options[] = {{0, "replace", CMD_FLAG, &replace}, {0, NULL, CMD_FLAG, NULL}};
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	int code = rc < 0				 ? cmd_fail(c, &e)
		   : c->help				 ? cmd_help(c)
		   : promote(c, &words, replace, &e) < 0 ? cmd_fail(c, &e)
							 : CMD_OK;
	vec_release(&words);
	return code;
}

/* -- prune and scrub ----------------------------------------------------------------------------------------------- */

struct kept {
	const char *name;
	bool scrub;
	struct mirror_prune_result p;
	struct mirror_scrub_result r;
};
VEC_TYPE(kept_vec, struct kept);

static int prune_one(struct cmd_context *c, struct mirror *m, const struct mirror_channel *ch, struct kept *k,
		     struct err *e)
{
	if (mirror_prune(m, ch, c->dry_run, &k->p, e) < 0)
		return -1;
	cmd_say(c, "%s: %s %llu files (%.1f MB); %llu that are named no longer stay for their grace", k->name,
		c->dry_run ? "would remove" : "removed", (unsigned long long)k->p.files, mb(k->p.bytes),
		(unsigned long long)k->p.waiting);
	return 0;
}

static int scrub_one(struct cmd_context *c, struct mirror *m, const struct mirror_channel *ch, struct kept *k,
		     struct err *e)
{
	if (mirror_scrub(m, ch, 0, NULL, &c->arena, &k->r, e) < 0)
		return -1;
	cmd_say(c, "%s: read %llu files (%.1f MB), %zu are damaged", k->name, (unsigned long long)k->r.files,
		mb(k->r.bytes), k->r.damaged_n);
	for (size_t i = 0; i < k->r.damaged_n && i < DAMAGED_SHOWN; i++)
		cmd_warn(c, "%s: '%.*s' was set aside: %.*s", k->name, STR_ARG(k->r.damaged[i].path),
			 STR_ARG(k->r.damaged[i].reason));
	if (k->r.damaged_n && ch->type == MIRROR_FOLLOW)
		cmd_say(c, "they come again with: slipway channel sync");
	return 0;
}

static void put_kept(struct jw *w, const void *ctx, size_t i)
{
	const struct kept *k = (const struct kept *)ctx + i;
	jw_kv_c(w, "channel", k->name);
	jw_kv_int(w, "files", (int64_t)(k->scrub ? k->r.files : k->p.files));
	jw_kv_int(w, "bytes", (int64_t)(k->scrub ? k->r.bytes : k->p.bytes));
	if (!k->scrub) {
		jw_kv_int(w, "waiting", (int64_t)k->p.waiting);
		return;
	}
	jw_key(w, "damaged");
	jw_array(w);
	for (size_t d = 0; d < k->r.damaged_n; d++) {
		jw_object(w);
		jw_kv_str(w, "path", k->r.damaged[d].path);
		jw_kv_str(w, "reason", k->r.damaged[d].reason);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static int keep_channel(struct cmd_context *c, struct cmd_target *t, const struct mirror_channel *ch, bool scrub,
			struct kept_vec *v, struct err *e)
{
	struct kept *k = vec_add(v);
	k->name = ch->name.n ? arena_strdup(&c->arena, ch->name) : t->folder;
	k->scrub = scrub;
	return scrub ? scrub_one(c, t->m, ch, k, e) : prune_one(c, t->m, ch, k, e);
}

static int keep(struct cmd_context *c, const struct cmd_list *words, bool scrub, struct kept_vec *v, struct err *e)
{
	const char *verb = scrub ? "scrub" : "prune";
	if (!words->n)
		return err_new(e, ERR_USAGE, "%s what? as in: slipway channel %s /srv/mirror/tools", verb, verb);
	for (size_t i = 0; i < words->n; i++) {
		auto_target t = {0};
		if (cmd_target(c, words->v[i], &t, e) < 0)
			return -1;
		if (!t.m)
			return err_new(
				e, ERR_USAGE,
				"'%s' is a folder that slipway does not keep; make it one that it does with: slipway channel "
				"create %s --kind %s",
				words->v[i], words->v[i], channel_kind_name(t.kind));
		const struct mirror_config *config = mirror_config(t.m);
		for (size_t k = 0; k < config->channels_n; k++)
			if ((!t.channel || t.channel == &config->channels[k]) &&
			    keep_channel(c, &t, &config->channels[k], scrub, v, e) < 0)
				return -1;
	}
	return 0;
}

static int run(struct cmd_context *c, int argc, char **argv, bool scrub)
{
	struct cmd_list words = {0};
	struct kept_vec v = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {{0, NULL, CMD_FLAG, NULL}};
	int code = CMD_OK, rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	if (rc == 0 && c->help)
		code = cmd_help(c);
	else if (rc < 0 || keep(c, &words, scrub, &v, &e) < 0)
		code = cmd_fail(c, &e);
	else if (c->json) {
		auto_answer a = {0};
		struct jw *w = cmd_answer(&a);
		jw_kv_c(w, "operation", scrub ? "scrub" : "prune");
		jw_kv_bool(w, "dry_run", c->dry_run);
		jw_kv_objects(w, "channels", v.n, put_kept, v.v);
		code = cmd_answer_print(c, &a);
	}
	vec_foreach(k, &v)
		if (k->r.damaged_n && code == CMD_OK)
			code = CMD_FAILED;
	vec_release(&v);
	vec_release(&words);
	return code;
}

int cmd_channel_prune(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, false);
}

int cmd_channel_scrub(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, true);
}
