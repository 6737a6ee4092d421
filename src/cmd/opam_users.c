// SPDX-License-Identifier: Apache-2.0
#include "cmd/opam_users.h"

#include <fcntl.h>

#include "base/fs.h"
#include "cmd/opam_repos.h"
#include "solve/solve.h"

enum { FACTS_MAX = 1 << 20 };

VEC_TYPE(users_texts, struct str);
struct facts {
	struct buf said;
	struct users_texts installed, variables, compilers;
};
static void facts_release(struct facts *f)
{
	buf_release(&f->said);
	vec_release(&f->installed);
	vec_release(&f->variables);
	vec_release(&f->compilers);
}

static void take_log(void *ctx, enum build_tag tag, struct str text)
{
	struct facts *f = ctx;
	if (tag == BUILD_OUTPUT)
		buf_put_str(&f->said, text);
}

/* What decides which OCaml there is must stay: the switch is made for it. */
static bool is_compiler(struct str package)
{
	static const char *const names[] = {"ocaml.", "ocaml-base-compiler.", "ocaml-variants.", "ocaml-system.",
					    "ocaml-compiler."};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_starts(package, str_c(names[i])))
			return true;
	return false;
}

static void take_facts(struct facts *f)
{
	struct str rest = buf_str(&f->said), line;
	while (str_take_line(&rest, &line)) {
		if (str_take_str(&line, STR("installed "))) {
			vec_push(&f->installed, line);
			if (is_compiler(line))
				vec_push(&f->compilers, line);
		} else if (str_take_str(&line, STR("var ")) && line.n && line.p[line.n - 1] != '=') {
			vec_push(&f->variables, line);
		}
	}
}

static int ask_image(struct cmd_context *c, const struct cmd_opam_users *o, struct facts *f, struct err *e)
{
	auto_buf spec = BUF_INIT(FACTS_MAX);
	struct build_opts b = BUILD_OPTS_INIT;
	struct build_result r;
	buf_printf(
		&spec,
		"((from %.*s)\n (user (uid 1000) (gid 1000))\n (workdir /home/opam)\n"
		" (run (shell \"opam=/usr/bin/opam-%.*s; for p in $($opam list --installed --short --columns=package);"
		" do echo \\\"installed $p\\\"; done; for v in arch os os-distribution os-family os-version "
		"sys-ocaml-version sys-ocaml-arch sys-ocaml-system; do echo \\\"var $v=$($opam var $v 2>/dev/null)\\\"; done;"
		" echo \\\"var opam-version=$($opam --version)\\\"\")))\n",
		STR_ARG(o->base), STR_ARG(o->opam));
	b.layers = o->layers;
	b.text = buf_str(&spec);
	b.file = "questions to the image";
	b.log = take_log;
	b.log_ctx = f;
	if (build_run(&b, &c->arena, &r, e) < 0)
		return err_ctx(e, "ask the image's opam what there is");
	take_facts(f);
	if (r.end != BUILD_DONE || !f->variables.n)
		return err_new(e, ERR_FAILED, "the opam of image '%.*s' does not tell what there is: %.*s",
			       STR_ARG(o->base), STR_ARG(str_trim(buf_str(&f->said))));
	return 0;
}

static int split(struct str package, struct str *ret_name, struct str *ret_version, struct err *e)
{
	*ret_version = package;
	return str_take_until(ret_version, '.', ret_name)
		       ? 0
		       : err_new(e, ERR_USAGE, "'%.*s' has no version", STR_ARG(package));
}

int cmd_opam_users(struct cmd_context *c, const struct cmd_opam_users *o, struct solve_user **ret, size_t *ret_n,
		   struct err *e)
{
	auto_opam_repos repos = {0};
	auto_fd folder = -1;
	cleanup_with(facts_release) struct facts f = {.said = BUF_INIT(FACTS_MAX)};
	struct solve_users_request r = {0};
	if (split(o->package, &r.name, &r.version, e) < 0 || ask_image(c, o, &f, e) < 0)
		return -1;
	if (o->keep_index) {
		if (cmd_opam_open(c, &o->repo, 1, 0, &repos, e) < 0)
			return -1;
		r.index = repos.index;
		r.n = repos.n;
	} else if ((folder = fs_open_dir(AT_FDCWD, o->repo, e)) < 0) {
		return -1;
	}
	r.folder_fd = folder;
	r.opts = (struct channel_needs_opts){.variables = f.variables.v,
					     .variables_n = f.variables.n,
					     .pinned = &o->package,
					     .pinned_n = 1,
					     .installed = f.installed.v,
					     .installed_n = f.installed.n};
	r.with = f.compilers.v;
	r.with_n = f.compilers.n;
	return solve_users(&r, &c->arena, ret, ret_n, e);
}
