// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: a plan is carried out by build_opam, and told in opam's words as it goes. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/map.h"
#include "cmd/opam_install.h"
#include "cmd/opam_repos.h"

static void tell(void *ctx, const struct build_opam_event *v)
{
	struct plan *p = ctx;
	struct opam_as *x = p->x;
	const struct build_opam_package *b = v->package;
	bool utf8 = opam_as_utf8();
	if (v->failure) {
		out_flush(&x->c->out);
		opam_as_say(x, 0, "%s", v->failure);
		return;
	}
	switch (v->step) {
	case BUILD_OPAM_FETCH:
		opam_as_put(x, "%s retrieved %.*s.%.*s  (", utf8 ? "\xe2\xac\x87" : "->", STR_ARG(b->name),
			    STR_ARG(b->version));
		if (v->extras)
			opam_as_put(x, "%zu extra sources)\n", v->extras);
		else
			opam_as_put(x, "%s)\n", v->from ? v->from : "cached");
		break;
	case BUILD_OPAM_BUILD:
		if (x->verbosity && b->opam->build.n)
			opam_as_put(x, "%s compiled  %.*s.%.*s\n", utf8 ? "\xce\xbb" : "->", STR_ARG(b->name),
				    STR_ARG(b->version));
		break;
	case BUILD_OPAM_INSTALL:
		opam_as_put(x, "%s installed %.*s.%.*s%s\n", utf8 ? "\xe2\x88\x97" : "->", STR_ARG(b->name),
			    STR_ARG(b->version), v->reused ? "  (built before)" : "");
		break;
	case BUILD_OPAM_REMOVE:
		opam_as_put(x, "%s removed   %.*s.%.*s\n", utf8 ? "\xe2\x8a\x98" : "->", STR_ARG(b->name),
			    STR_ARG(b->version));
		break;
	}
	out_flush(&x->c->out);
}

static int check_out(void *ctx, const char *url, const char *dest, struct err *e)
{
	return opam_as_checkout(((struct plan *)ctx)->x, url, dest, e);
}

/* Where packages that were built before are kept; NULL: nowhere. That there is no place is no reason not to build. */
static const char *kept_folder(struct plan *p)
{
	struct cmd_context *c = p->x->c;
	const char *said = p->w->kept ? p->w->kept : getenv("SLIPWAY_OPAM_KEPT");
	struct err ignored = ERR_INIT;
	if (said && *said)
		return strcmp(said, "none") == 0 ? NULL : said;
	return cmd_need_root(c, &ignored) < 0 || !cmd_opam_may_keep(c)
		       ? NULL
		       : arena_printf(arena_of(p), "%s/" CMD_OPAM_KEPT, c->root_path);
}

static int make_build_opts(struct plan *p, struct build_opam_opts *o)
{
	*o = BUILD_OPAM_OPTS_INIT;
	o->root = p->x->o;
	o->sw = p->x->s;
	o->packages = p->packages.v;
	o->n = p->packages.n;
	o->mirrors = p->mirrors.v;
	o->n_mirrors = p->mirrors.n;
	o->with_test = p->w->with_test;
	o->with_doc = p->w->with_doc;
	o->keep_build_dir = p->w->keep;
	const char *precise = getenv("OPAMPRECISETRACKING"), *jobs = getenv("OPAMJOBS"),
		   *downloads = getenv("OPAMDOWNLOADJOBS");
	uint64_t n;
	o->precise_tracking = precise && *precise && strcmp(precise, "0") != 0 && strcmp(precise, "false") != 0;
	o->jobs = p->w->jobs > 0				    ? (unsigned)p->w->jobs
		  : jobs && str_to_u64(str_c(jobs), &n) && n < 1000 ? (unsigned)n
								    : 0;
	o->download_jobs = p->w->download_jobs > 0				       ? (unsigned)p->w->download_jobs
			   : downloads && str_to_u64(str_c(downloads), &n) && n < 1000 ? (unsigned)n
										       : 0;
	o->kept = kept_folder(p);
	o->anew = p->w->anew || p->w->act == REINSTALL;
	o->limits.memory_bytes = (uint64_t)p->w->memory_mb * 1000000;
	o->limits.time_ms = p->w->time_s * 1000;
	/* a root that opam made says by its wrappers whether there is to be a sandbox */
	bool is_opams = faccessat(env_opam_fd(p->x->o), "opam-init/init.sh", F_OK, 0) == 0;
	o->no_sandbox = p->w->no_sandbox || (is_opams && !pkg_opam_get(&p->config.doc, "wrap-build-commands"));
	o->tell = tell;
	o->checkout = check_out;
	o->ctx = p;
	return 0;
}

/* What lies beside the opam files of what is installed, out of repositories that are tars. */
static int bring_files_of(struct plan *p, const struct opam_as_repo *repo, struct err *e)
{
	auto_map wanted = MAP_INIT;
	const struct opam_as_repo *r;
	struct oi_pkg id;
	for (size_t i = 0; i < p->packages.n; i++) {
		const struct build_opam_package *b = &p->packages.v[i];
		if (b->install && b->files && str_starts(str_c(b->files), str_c(p->files)) &&
		    opam_as_find(p->x, b->name, b->version, &r, &id) && r == repo)
			*map_put(&wanted, str_c(b->files + strlen(p->files) + 1)) = 1;
	}
	if (wanted.n == 0)
		return 0;
	auto_fd to = fs_open_dir_make(env_opam_meta_fd(p->x->s), "slipway-files", e);
	return to < 0 ? -1 : opam_as_extra_files(p->x, repo, &wanted, to, e);
}

static int bring_files(struct plan *p, struct err *e)
{
	if (fs_remove_tree(env_opam_meta_fd(p->x->s), "slipway-files", e) < 0)
		return -1;
	for (size_t i = 0; i < p->x->repos_n; i++)
		if (p->x->repos[i].tar && bring_files_of(p, &p->x->repos[i], e) < 0)
			return -1;
	return 0;
}

/* Where something failed: how to have again what it took along. */
static void tell_lost(struct plan *p)
{
	struct env_opam_state now;
	struct err ignored = ERR_INIT;
	if (env_opam_state_read(p->x->s, arena_of(p), &now, &ignored) < 0 ||
	    opam_install_lost(arena_of(p), &now).n == 0)
		return;
	out_flush(&p->x->c->out);
	auto_free char *text = xasprintf("\nYou can retry to install your package selection with:\n"
					 "    %s install --restore\n",
					 p->x->c->cmd->run ? "slipway opam" : "opam");
	out_put_remark(&p->x->c->out, str_c(text));
}

int opam_install_build(struct plan *p)
{
	struct err e = ERR_INIT;
	struct build_opam_opts o;
	struct build_opam_result r;
	struct opam_as *x = p->x;
	make_build_opts(p, &o);
	opam_as_header(x, "Processing actions");
	out_flush(&x->c->out);
	int rc = bring_files(p, &e) < 0 ? -1 : build_opam(&o, arena_of(p), &r, &e);
	struct err ignored = ERR_INIT; /* the next run removes it */
	fs_remove_tree(env_opam_meta_fd(x->s), "slipway-files", &ignored);
	if (rc < 0)
		return opam_as_fail(x, &e);
	if (r.unconfined)
		opam_as_note(x, "NOTE",
			     "No sandbox can be had in here: commands ran without one, confined by what this runs in.");
	if (r.not_kept)
		opam_as_note(x, "NOTE", "Not kept to be used again: %s", r.not_kept);
	for (size_t i = 0; i < r.n_done; i++)
		if (r.done[i].step == BUILD_OPAM_INSTALL)
			opam_as_pin_installed(x, r.done[i].package->name);
	int code = r.n_failures ? opam_install_report(p, &r) : r.cancelled ? OPAM_ABORTED : OPAM_OK;
	if (opam_system_bypass(&p->system, p->packages.v, r.done, r.n_done, &e) < 0)
		return opam_as_fail(x, &e);
	if (code == OPAM_OK)
		opam_as_put(x, "Done.\n");
	opam_system_declared(&p->system, p->vars, r.failures, r.n_failures);
	if (code != OPAM_OK)
		tell_lost(p);
	opam_install_messages(p, &r);
	opam_as_tell_eval(x, env_opam_switch_name(x->s));
	int printed = opam_install_answer(p, &r);
	return code ? code : printed;
}
