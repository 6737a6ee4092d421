// SPDX-License-Identifier: Apache-2.0
#include "cmd/channel_part.h"

#include <fcntl.h>

#include "base/json.h"
#include "cmd/channel_sign.h"
#include "cmd/channel_sync.h"

struct part {
	struct cmd_context *c;
	const struct cmd_part_args *a;
	const char *name; /* of the small channel, as it is shown */
	const struct channel_kind *kind;
};

/* -- told ----------------------------------------------------------------------------------------------------------- */

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void why(const struct mirror_small_told *t, struct buf *b)
{
	for (size_t i = 0; t->why && i < t->n; i++)
		buf_printf(b, "%s  %.*s", i ? "\n" : "", STR_ARG(t->why[i]));
}

static void say(void *ctx, const struct mirror_small_told *t)
{
	const struct part *p = ctx;
	struct cmd_context *c = p->c;
	struct str fn = str_skip(t->text, (size_t)(str_rfind(t->text, '/') + 1));
	auto_buf b = BUF_INIT(1 << 16);
	why(t, &b);
	switch (t->event) {
	case MIRROR_SMALL_CHECK:
		cmd_say(c, "Checking existing packages for %s/%.*s", p->name, STR_ARG(t->platform));
		break;
	case MIRROR_SMALL_LIST:
		cmd_say(c, "Processing list of specs for %.*s", STR_ARG(t->platform));
		break;
	case MIRROR_SMALL_LINE:
		cmd_say(c, "Processing '%.*s' for %.*s", STR_ARG(t->text), STR_ARG(t->platform));
		break;
	case MIRROR_SMALL_NONE:
		cmd_warn(c, "'%.*s' has no solution for %.*s:\n%s", STR_ARG(t->text), STR_ARG(t->platform),
			 b.p ? b.p : "");
		break;
	case MIRROR_SMALL_APART:
		cmd_say(c, "note: on one host of %.*s all lines together have no solution:\n%s", STR_ARG(t->platform),
			b.p ? b.p : "");
		break;
	case MIRROR_SMALL_NEW:
		cmd_say(c, "%zu new package%s to upload for %.*s list of specs", t->n, plural(t->n),
			STR_ARG(t->platform));
		break;
	case MIRROR_SMALL_FETCH:
		cmd_say(c, "%s %.*s", c->dry_run ? "would download" : "Downloading", STR_ARG(t->text));
		break;
	case MIRROR_SMALL_PUT:
		cmd_say(c, "%s %.*s to %s", c->dry_run ? "would upload" : "Uploading", STR_ARG(fn), p->name);
		break;
	case MIRROR_SMALL_REMOVE:
		cmd_say(c, "%s %.*s from %s", c->dry_run ? "would remove" : "Removing", STR_ARG(t->text), p->name);
		break;
	case MIRROR_SMALL_UNLIKE:
		cmd_warn(c, "'%.*s' for %.*s is answered otherwise by '%s' than by the channel it is made of",
			 STR_ARG(t->text), STR_ARG(t->platform), p->name);
		break;
	}
}

/* -- the answer ----------------------------------------------------------------------------------------------------- */

static void put_line(struct jw *w, const void *ctx, size_t i)
{
	const struct mirror_small_solution *v = (const struct mirror_small_solution *)ctx + i;
	jw_kv_str(w, "specs", v->text);
	jw_kv_str(w, "platform", v->platform);
	jw_kv_bool(w, "solved", v->solved);
	jw_kv_int(w, "packages", (int64_t)v->packages);
}

static int answer(struct part *p, const struct mirror_small_result *r)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", "sync");
	jw_kv_bool(w, "dry_run", p->c->dry_run);
	jw_kv_c(w, "folder", p->a->to);
	jw_kv_objects(w, "lines", r->solutions_n, put_line, r->solutions);
	jw_kv_int(w, "packages", (int64_t)r->packages);
	jw_kv_list(w, "new", r->added.v, r->added.n);
	jw_kv_list(w, "removed", r->removed.v, r->removed.n);
	jw_kv_int(w, "unsolved", (int64_t)r->unsolved);
	jw_kv_int(w, "answered_otherwise", (int64_t)r->unlike);
	return cmd_answer_print(p->c, &a);
}

/* -- doing it ------------------------------------------------------------------------------------------------------- */

static int run(struct part *p, const struct cmd_target *from, struct err *e)
{
	const struct cmd_part_args *a = p->a;
	struct cmd_context *c = p->c;
	struct mirror_small_line *lines;
	struct mirror_small_result r;
	struct channel_signer signer = {0};
	struct cmd_seal seal = {.c = c, .kind = p->kind};
	struct mirror_list suites, components;
	struct mirror_small_opts o = {.kind = p->kind,
				      .from = from->folder,
				      .to = a->to,
				      .m = from->m,
				      .channel = from->channel,
				      .file = a->file,
				      .strong = a->strong,
				      .alone = a->alone,
				      .prune = a->prune,
				      .dry_run = c->dry_run,
				      .say = say,
				      .ctx = p,
				      .progress = &c->progress};
	int is_signed = cmd_channel_signer(c, a->key, a->is_unsigned, p->kind, &signer, e);
	if (is_signed < 0 || mirror_small_read(a->file, p->kind, &c->arena, &lines, &o.lines_n, e) < 0 ||
	    cmd_part_split(c, a->platforms, "platform", &o.platforms, e) < 0 ||
	    cmd_part_split(c, a->ocaml, "ocaml", &o.ocaml, e) < 0 ||
	    cmd_part_split(c, a->variables, "variable", &o.variables, e) < 0 ||
	    cmd_part_split(c, a->suite, "suite", &suites, e) < 0 ||
	    cmd_part_split(c, a->component, "component", &components, e) < 0)
		return -1;
	o.walk = (struct channel_walk_opts){
		.suites = suites.v, .suites_n = suites.n, .components = components.v, .components_n = components.n};
	o.make.signer = is_signed ? &signer : NULL;
	cmd_seal_with(&seal, &o.make);
	o.lines = lines;
	if (!c->dry_run)
		cmd_if_interrupted(c, "'%s' lists what it listed before; the same command goes on from what came",
				   a->to);
	cmd_progress_begin(c);
	int rc = mirror_small(&o, &c->arena, &r, e);
	cmd_progress_end(c);
	if (rc < 0)
		return -1;
	if (r.changed)
		cmd_changed(c);
	if (r.unsolved && a->prune)
		cmd_warn(c, "nothing is pruned while a line has no solution");
	cmd_say(c, "%s%zu package%s in '%s', %zu of them new", c->dry_run ? "would list " : "", r.packages,
		plural(r.packages), a->to, r.added.n);
	if (c->json && answer(p, &r) != CMD_OK)
		return CMD_FAILED;
	return r.unsolved ? CMD_NO_SOLUTION : CMD_OK;
}

int cmd_channel_part(struct cmd_context *c, const struct cmd_part_args *a, struct err *e)
{
	struct part p = {.c = c, .a = a, .name = a->to};
	auto_target from = {0};
	if (!a->to)
		return err_new(e, ERR_USAGE,
			       "into which folder? as in: slipway channel sync --from %s --file %s FOLDER", a->from,
			       a->file);
	if (cmd_part_from(c, a, &from, e) < 0)
		return -1;
	p.kind = from.kind;
	return run(&p, &from, e);
}
