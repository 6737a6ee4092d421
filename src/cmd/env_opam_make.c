// SPDX-License-Identifier: Apache-2.0
/* Opam packages of environments: building those that the store has not, and telling how that goes. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "cmd/env_opam_internal.h"

enum { OUTPUT_MAX = 64 << 20, OUTPUT_LINES = 12, BUILD_WAIT_MS = 6 * 3600 * 1000 };

static void tell(void *ctx, const struct build_opam_event *v)
{
	struct cmd_env_opam *oe = ctx;
	const struct build_opam_package *p = v->package;
	if (v->failure)
		cmd_warn(oe->c, "%s", v->failure);
	else if (v->step == BUILD_OPAM_FETCH && v->from)
		cmd_say(oe->c, "fetched %.*s.%.*s", STR_ARG(p->name), STR_ARG(p->version));
	else if (v->step == BUILD_OPAM_INSTALL)
		cmd_say(oe->c, "built %.*s.%.*s", STR_ARG(p->name), STR_ARG(p->version));
}

static struct pkg_opam_strs read_mirrors(struct cmd_env_opam *oe)
{
	struct arena *a = &oe->c->arena;
	VEC(struct str) list = {0};
	for (size_t i = 0; i < oe->repos.n; i++) {
		struct pkg_opam_strs more = opam_index_mirrors(oe->repos.index[i], oe->repos.channel[i].url, a);
		for (size_t k = 0; k < more.n; k++)
			vec_push(&list, more.v[k]);
	}
	struct pkg_opam_strs ret = {vec_copy(&list, a), list.n};
	vec_release(&list);
	return ret;
}

/* The end of what the command printed. */
static void show_output(struct cmd_context *c, const char *path)
{
	auto_buf text = BUF_INIT(OUTPUT_MAX);
	struct err ignored = ERR_INIT; /* a log that is too long or gone is named all the same */
	struct str line;
	size_t lines = 0, n = 0;
	if (!path || fs_read(AT_FDCWD, path, &text, &ignored) < 0)
		return;
	for (struct str rest = buf_str(&text); str_take_line(&rest, &line);)
		lines++;
	for (struct str rest = buf_str(&text); str_take_line(&rest, &line); n++)
		if (n + OUTPUT_LINES >= lines)
			cmd_warn(c, "  | %.*s", STR_ARG(str_head(line, 400)));
}

/* What the package's author says that it needs of the system: the usual reason. */
static void show_depexts(struct cmd_env_opam *oe, const struct build_opam_package *p)
{
	struct arena *a = &oe->c->arena;
	struct pkg_opam_host h = build_opam_set_host(oe->set);
	auto_buf b = BUF_INIT(1 << 16);
	for (size_t i = 0; i < p->opam->depexts.n; i++) {
		const struct pkg_opam_line *l = &p->opam->depexts.v[i];
		for (size_t k = 0; pkg_opam_holds(a, l->filter, &h) && k < l->n; k++)
			buf_printf(&b, "%s%.*s", b.n ? ", " : "", STR_ARG(l->arg[k].text));
	}
	if (b.n)
		cmd_warn(oe->c, "'%.*s' says that it needs packages of the system: %s", STR_ARG(p->name), b.p);
}

static int failed(struct cmd_env_opam *oe, const struct build_opam_result *r, struct err *e)
{
	struct cmd_context *c = oe->c;
	const struct build_opam_failure *f = &r->failures[0];
	static const char *const doing[] = {"its sources could not be had", "it does not build", "it does not install",
					    ""};
	if (f->why)
		return err_new(e, ERR_FAILED, "'opam:%.*s' %.*s: %s: %s", STR_ARG(f->package->name),
			       STR_ARG(f->package->version), doing[f->step], f->why);
	show_output(c, f->out_file);
	show_depexts(oe, f->package);
	return err_new(e, ERR_FAILED, "'opam:%.*s' %.*s: %s: '%s' ended with code %d%s%s; all that it printed: '%s'",
		       STR_ARG(f->package->name), STR_ARG(f->package->version), doing[f->step], f->command, f->code,
		       f->ended ? ": " : "", f->ended ? f->ended : "", f->out_file);
}

static void fill_plan(const struct cmd_env_opam *oe, struct env_plan *plan)
{
	size_t n;
	const struct build_made *v = build_opam_set_made(oe->set, &n);
	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < plan->target.packages_n; k++) {
			struct pkg_record *r =
				(struct pkg_record *)&plan->target.packages[k].record; /* the plan's own copy */
			struct str name;
			if (!pkg_is_opam(r->name, &name) || !str_eq(name, v[i].package.name))
				continue;
			memcpy(r->sha256, v[i].sha256, SHA256_SIZE);
			r->has_sha256 = v[i].kept;
			r->size = v[i].size;
		}
}

/* One process builds at a time; who comes second may find the same built. */
static int make(struct cmd_env_opam *oe, const struct build_opam_opts *o, struct build_opam_result *ret, struct err *e)
{
	struct cmd_context *c = oe->c;
	struct err busy = ERR_INIT;
	if (build_opam_set_make(oe->set, o, 0, ret, &busy) == 0)
		return 0;
	if (busy.code != ERR_BUSY)
		return *e = busy, -1;
	cmd_say(c, "waiting for another command that builds opam packages");
	return build_opam_set_make(oe->set, o, BUILD_WAIT_MS, ret, e);
}

int cmd_env_opam_make(struct cmd_context *c, struct cmd_env_opam *oe, struct env_plan *plan,
		      const struct cmd_change_options *co, struct err *e)
{
	struct build_opam_opts o = BUILD_OPAM_OPTS_INIT;
	struct build_opam_result r = {0};
	size_t n, missing = 0;
	const struct build_made *v = build_opam_set_made(oe->set, &n);
	for (size_t i = 0; i < n; i++)
		missing += !v[i].kept;
	if (missing) {
		cmd_say(c, "building %zu opam package%s from sources", missing, missing == 1 ? "" : "s");
		struct pkg_opam_strs mirrors = read_mirrors(oe);
		o.mirrors = mirrors.v;
		o.n_mirrors = mirrors.n;
		o.jobs = co->jobs > 0 ? (unsigned)co->jobs : 0;
		o.no_sandbox = co->no_sandbox;
		o.tell = tell;
		o.ctx = oe;
		if (make(oe, &o, &r, e) < 0)
			return -1;
		if (r.unconfined)
			cmd_say(c,
				"note: no sandbox can be had in here: commands ran without one, confined by what this runs in");
		if (r.n_failures)
			return failed(oe, &r, e);
	}
	fill_plan(oe, plan);
	return 0;
}
