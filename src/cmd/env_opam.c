// SPDX-License-Identifier: Apache-2.0
/* Opam packages of environments: from specs, or from a lock, to packages with their keys. What builds them: env_opam_make.c. */
#include "cmd/env_opam.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "base/url.h"
#include "cmd/env_opam_internal.h"

enum { KEY_SHOWN = 16 };
VEC_TYPE(str_vec, struct str);

void cmd_env_opam_free(struct cmd_env_opam *oe)
{
	if (!oe)
		return;
	build_workshop_free(oe->workshop);
	channel_needs_free(oe->needs);
	cmd_opam_repos_release(&oe->repos);
	vec_release(&oe->chosen);
	map_release(&oe->by_name);
	free(oe);
}

/* == kinds apart ========================================================================================================= */

static bool is_opams(struct str s)
{
	return str_starts(s, STR("opam:"));
}

static const struct str *of_kind(struct cmd_context *c, const struct str *v, uint32_t n, bool opam, uint32_t *ret_n)
{
	struct str *out = arena_array(&c->arena, struct str, n + 1);
	*ret_n = 0;
	for (uint32_t i = 0; i < n; i++)
		if (is_opams(v[i]) == opam)
			out[(*ret_n)++] = v[i];
	return out;
}

static void part_of_file(struct cmd_context *c, const struct env_spec_file *f, bool opam, struct env_spec_file *ret)
{
	struct env_lock_package *packages = arena_array(&c->arena, struct env_lock_package, f->packages_n + 1);
	*ret = *f;
	ret->specs = of_kind(c, f->specs, f->specs_n, opam, &ret->specs_n);
	ret->channels = of_kind(c, f->channels, f->channels_n, opam, &ret->channels_n);
	ret->packages_n = 0;
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (pkg_is_opam(f->packages[i].record.name, NULL) == opam)
			packages[ret->packages_n++] = f->packages[i];
	ret->packages = packages;
}

void env_opam_part(struct cmd_context *c, const struct env_spec_file *f, struct env_spec_file *ret)
{
	part_of_file(c, f, true, ret);
}

static void part_of_list(struct cmd_context *c, const struct cmd_list *all, bool all_opam, bool opam,
			 struct cmd_list *ret)
{
	vec_foreach(x, all) {
		bool says_so = is_opams(str_c(*x));
		if ((says_so || all_opam) == opam)
			vec_push(ret, all_opam && !says_so ? arena_printf(&c->arena, "opam:%s", *x) : *x);
	}
}

static void part_of(struct cmd_context *c, const struct cmd_change_args *a, const struct env_spec_file *file,
		    const struct env_spec_file *before, bool opam, struct cmd_env_part *ret)
{
	*ret = (struct cmd_env_part){.args = *a};
	ret->args.words = ret->args.remove = ret->args.options.solve.channels = (struct cmd_list){0};
	part_of_list(c, &a->words, a->opam, opam, &ret->args.words);
	part_of_list(c, &a->remove, a->opam, opam, &ret->args.remove);
	part_of_list(c, &a->options.solve.channels, false, opam, &ret->args.options.solve.channels);
	part_of_file(c, file, opam, &ret->file);
	part_of_file(c, before, opam, &ret->before);
}

void cmd_env_part_release(struct cmd_env_part *p)
{
	cmd_change_args_release(&p->args);
}

void cmd_env_apart(struct cmd_context *c, const struct cmd_change_args *a, const struct env_spec_file *file,
		   const struct env_spec_file *before, struct cmd_env_part *conda, struct cmd_env_part *opam)
{
	part_of(c, a, file, before, false, conda);
	part_of(c, a, file, before, true, opam);
}

bool cmd_env_has_opam(const struct cmd_env_part *p)
{
	return p->args.words.n || p->args.remove.n || p->file.specs_n || p->before.specs_n || p->before.packages_n;
}

/* == opening ============================================================================================================= */

/* The kept channel that a lock names by its URL, which may have credentials there that it has not here. */
static const char *kept_name(struct cmd_context *c, struct str shown)
{
	struct cmd_channel *v;
	struct channel ch;
	struct err ignored = ERR_INIT; /* then it is tried as it stands */
	size_t n;
	if (cmd_channels_of(c, true, &v, &n, &ignored) < 0)
		return arena_strdup(&c->arena, shown);
	for (size_t i = 0; i < n; i++)
		if (cmd_opam_parse(c, v[i].name, &ch, &ignored) == 0 && str_eq(ch.shown, shown))
			return arena_strdup(&c->arena, v[i].name);
	return arena_strdup(&c->arena, shown);
}

static void add_channels(struct cmd_context *c, const struct str *v, uint32_t n, struct cmd_list *names)
{
	for (uint32_t i = 0; i < n; i++)
		vec_push(names, kept_name(c, str_skip(v[i], 5)));
}

/* Those of the command line, then of the file, else of the environment; where there is none, those that are kept. */
static int open_repos(struct cmd_env_opam *oe, const struct cmd_solve_options *o, const struct env_spec_file *file,
		      const struct env_spec_file *before, struct err *e)
{
	struct cmd_context *c = oe->c;
	struct cmd_list names = {0};
	vec_foreach(x, &o->channels)
		vec_push(&names, *x + 5);
	if (!o->override_channels && file->channels_n)
		add_channels(c, file->channels, file->channels_n, &names);
	else if (!o->override_channels)
		add_channels(c, before->channels, before->channels_n, &names);
	int rc = cmd_opam_open(c, names.v, names.n, o->refresh ? CHANNEL_FORCE : 0, &oe->repos, e);
	vec_release(&names);
	return rc;
}

/* What decides which packages there are. */
static void read_variables(struct cmd_env_opam *oe, struct str_vec *out)
{
	static const char *const names[] = {"arch",
					    "os",
					    "os-distribution",
					    "os-family",
					    "os-version",
					    "sys-ocaml-version",
					    "sys-ocaml-arch",
					    "sys-ocaml-cc",
					    "sys-ocaml-libc",
					    "sys-ocaml-system"};
	struct pkg_opam_host h = build_workshop_host(oe->workshop);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct str value;
		if (h.variable(h.ctx, str_c(names[i]), &value))
			vec_push(out, str_c(arena_printf(&oe->c->arena, "%s=%.*s", names[i], STR_ARG(value))));
	}
	vec_push(out, STR("opam-version=" ENV_OPAM_VERSION));
}

int env_opam_needs(struct cmd_env_opam *oe, const struct env_spec_file *before, struct channel_needs **ret,
		   struct err *e)
{
	struct str_vec variables = {0}, installed = {0};
	read_variables(oe, &variables);
	for (uint32_t i = 0; before && i < before->packages_n; i++) {
		const struct pkg_record *r = &before->packages[i].record;
		vec_push(&installed, str_c(arena_printf(&oe->c->arena, "%.*s.%.*s", STR_ARG(str_skip(r->name, 5)),
							STR_ARG(r->version))));
	}
	const struct channel_needs_opts o = {.variables = variables.v,
					     .variables_n = variables.n,
					     .installed = installed.v,
					     .installed_n = installed.n};
	int rc = channel_needs_open_opam(oe->repos.index, oe->repos.n, &o, ret, e);
	vec_release(&variables);
	vec_release(&installed);
	return rc;
}

int env_opam_begin(struct cmd_context *c, const struct cmd_solve_options *o, const struct env_spec_file *file,
		   const struct env_spec_file *before, struct cmd_env_opam **ret, struct err *e)
{
	auto_ptr(cmd_env_opam) oe = xcalloc(1, sizeof(*oe));
	oe->c = c;
	if (cmd_need_root(c, e) < 0 || (c->dry_run ? cmd_need_store_to_read(c, e) : cmd_need_store(c, e)) < 0 ||
	    open_repos(oe, o, file, before, e) < 0 ||
	    build_workshop_open(c->root_fd, c->root_path, &oe->workshop, e) < 0 ||
	    env_opam_needs(oe, NULL, &oe->needs, e) < 0)
		return -1;
	*ret = steal_ptr(&oe);
	return 0;
}

static int check_indexes(const struct cmd_env_opam *oe, struct err *e)
{
	for (size_t i = 0; i < oe->repos.n; i++)
		if (opam_index_check(oe->repos.index[i], e) < 0)
			return -1;
	return 0;
}

/* == choosing ============================================================================================================ */

static struct str bare(struct str spec)
{
	return is_opams(spec) ? str_skip(spec, 5) : spec;
}

int env_opam_name(struct cmd_context *c, struct str spec, struct str *ret, struct err *e)
{
	const struct pkg_need *need;
	if (pkg_opam_spec_parse(&c->arena, bare(spec), &need, e) < 0) {
		e->code = ERR_USAGE;
		return -1;
	}
	*ret = need->name;
	return 0;
}

static bool is_removed(const struct cmd_env_part *p, struct str name)
{
	vec_foreach(x, &p->args.remove)
		if (str_eq(bare(str_c(*x)), name))
			return true;
	return false;
}

/* Specs of before that still count, then those of now: *ret_old of the former. ERR_NOT_FOUND where what is to go is not there. */
static int gather(struct cmd_context *c, const struct cmd_env_part *p, struct str **ret, size_t *ret_n, size_t *ret_old,
		  struct err *e)
{
	size_t max = p->before.specs_n + p->file.specs_n + p->args.words.n, now_n = 0, n = 0;
	struct str *now = arena_array(&c->arena, struct str, max + 1),
		   *all = arena_array(&c->arena, struct str, max + 1);
	auto_map said = MAP_INIT;
	for (uint32_t i = 0; i < p->file.specs_n; i++)
		now[now_n++] = p->file.specs[i];
	vec_foreach(word, &p->args.words)
		now[now_n++] = str_c(*word);
	for (size_t i = 0; i < now_n; i++) {
		struct str name;
		if (env_opam_name(c, now[i], &name, e) < 0)
			return -1;
		*map_put(&said, name) = 1;
	}
	vec_foreach(x, &p->args.remove) {
		bool there = false;
		for (uint32_t i = 0; i < p->before.packages_n; i++)
			there |= str_eq(bare(p->before.packages[i].record.name), bare(str_c(*x)));
		if (!there)
			return err_new(e, ERR_NOT_FOUND, "there is no package '%s' to remove", *x);
	}
	for (uint32_t i = 0; i < p->before.specs_n; i++) {
		struct str name;
		if (env_opam_name(c, p->before.specs[i], &name, e) < 0)
			return -1;
		if (!map_get(&said, name) && !is_removed(p, name))
			all[n++] = p->before.specs[i];
	}
	*ret_old = n;
	for (size_t i = 0; i < now_n; i++)
		all[n++] = now[i];
	*ret = all;
	*ret_n = n;
	return 0;
}

/* What is not asked for anew stays at its version, if it can: `fixed` says "=VERSION" for it. */
static struct str fixed(struct cmd_context *c, const struct env_spec_file *before, struct str spec)
{
	struct str name;
	struct err ignored = ERR_INIT; /* it was read before */
	if (env_opam_name(c, spec, &name, &ignored) < 0)
		return spec;
	for (uint32_t i = 0; i < before->packages_n; i++)
		if (str_eq(bare(before->packages[i].record.name), name))
			return str_c(arena_printf(&c->arena, "%.*s.%.*s", STR_ARG(name),
						  STR_ARG(before->packages[i].record.version)));
	return bare(spec);
}

struct knowing {
	struct channel_needs *needs;
	bool any, available;
};
static int look(void *ctx, const struct channel_need *need, struct err *e)
{
	struct knowing *k = ctx;
	(void)e;
	k->any |= need->one.n > 0;
	for (size_t i = 0; i < need->one.n; i++)
		k->available |= channel_needs_is_available(k->needs, need->one.v[i]) ||
				channel_needs_candidate(k->needs, need->one.v[i])->installed;
	return 0;
}

/* A name or version that there is not is said as such, before anything is solved. */
int env_opam_check(struct cmd_context *c, struct channel_needs *needs, const struct str *specs, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		struct knowing k = {.needs = needs};
		struct str name;
		struct err mine = ERR_INIT;
		if (env_opam_name(c, specs[i], &name, e) < 0)
			return -1;
		if (channel_needs_ask(needs, name, look, &k, &mine) < 0)
			return mine.code != ERR_NOT_FOUND
				       ? (*e = mine, -1)
				       : err_new(e, ERR_NOT_FOUND,
						 "no package 'opam:%.*s' in the environment's opam repositories; "
						 "'slipway channel refresh' brings them up to date",
						 STR_ARG(name));
		k = (struct knowing){.needs = needs};
		if (channel_needs_ask(needs, bare(specs[i]), look, &k, &mine) < 0 && mine.code != ERR_NOT_FOUND)
			return *e = mine, -1;
		if (!k.any)
			return err_new(e, ERR_NOT_FOUND, "package 'opam:%.*s' has no version for '%.*s'", STR_ARG(name),
				       STR_ARG(bare(specs[i])));
		if (!k.available)
			return err_new(e, ERR_NOT_FOUND,
				       "'opam:%.*s' is not available on this host: its field 'available' says so",
				       STR_ARG(bare(specs[i])));
	}
	return 0;
}

static int no_solution(struct cmd_context *c, const struct solve_needs_result *r)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	auto_answer a = {0};
	for (size_t i = 0; i < r->why_n; i++)
		buf_printf(&b, "\n  - %.*s", STR_ARG(r->why[i]));
	cmd_warn(c, "no solution:%s", b.n ? b.p : " what was asked for cannot be had together");
	if (!c->json)
		return CMD_NO_SOLUTION;
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "error", "no solution");
	jw_kv_c(w, "code", err_code_name(ERR_NO_SOLUTION));
	jw_kv_int(w, "exit", CMD_NO_SOLUTION);
	jw_kv_list(w, "why", r->why, r->why_n);
	cmd_answer_print(c, &a);
	return CMD_NO_SOLUTION;
}

/* 0; 1: no solution. */
static int find_solution(struct cmd_env_opam *oe, const struct cmd_env_part *p, const struct str *specs, size_t n,
			 size_t old, struct channel_needs *needs, struct solve_needs_result *ret, struct err *e)
{
	struct cmd_context *c = oe->c;
	struct str *asked = arena_array(&c->arena, struct str, n + 1);
	struct solve_needs_request q = {.asked = asked, .asked_n = n, .criteria = SOLVE_NEWEST};
	for (size_t i = 0; i < n; i++)
		asked[i] = i < old && !p->args.all ? fixed(c, &p->before, specs[i]) : bare(specs[i]);
	int rc = solve_needs_by(needs, &q, &c->arena, ret, e);
	if (rc <= 0 || old == 0 || p->args.all)
		return rc;
	for (size_t i = 0; i < old; i++) /* then with other versions of what was there */
		asked[i] = bare(specs[i]);
	return solve_needs_by(needs, &q, &c->arena, ret, e);
}

static void choose(struct cmd_env_opam *oe, struct str name, struct str version, const struct pkg_record *before)
{
	vec_push(&oe->chosen, ((struct chosen){.name = name, .version = version, .before = before}));
	*map_put(&oe->by_name, name) = oe->chosen.n;
}

static const struct pkg_record *record_of(const struct env_spec_file *f, struct str name, struct str version)
{
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (str_eq(bare(f->packages[i].record.name), name) && str_eq(f->packages[i].record.version, version))
			return &f->packages[i].record;
	return NULL;
}

/* == what they need ====================================================================================================== */

/* Which of the repositories' packages they are. */
static void number(struct cmd_env_opam *oe)
{
	uint32_t n = channel_needs_count(oe->needs);
	for (uint32_t i = 0; i < n; i++) {
		const struct channel_candidate *c = channel_needs_candidate(oe->needs, i);
		const uint64_t *at = map_get(&oe->by_name, c->name);
		if (at && *at && str_eq(oe->chosen.v[*at - 1].version, c->version)) {
			oe->chosen.v[*at - 1].id = i;
			oe->chosen.v[*at - 1].known = true;
		}
	}
}

static struct str name_in_depends(struct str text)
{
	size_t n = 0;
	text = bare(text);
	while (n < text.n && !strchr(" (<>=!", text.p[n]))
		n++;
	return str_head(text, n);
}

static struct chosen *chosen_named(struct cmd_env_opam *oe, struct str name)
{
	const uint64_t *at = map_get(&oe->by_name, name);
	return at && *at ? &oe->chosen.v[*at - 1] : NULL;
}

/* What was built with something that no repository has any more stays as it is, too: it cannot be built again. */
static void spread_gone(struct cmd_env_opam *oe)
{
	for (bool more = true; more;) {
		more = false;
		vec_foreach(x, &oe->chosen) {
			for (uint32_t i = 0; x->known && x->before && i < x->before->depends_n; i++) {
				const struct chosen *used = chosen_named(oe, name_in_depends(x->before->depends[i]));
				more |= used && !used->known;
				x->known = x->known && !(used && !used->known);
			}
		}
	}
}

struct telling {
	struct cmd_env_opam *oe;
	struct str_vec depends;
	struct chosen *self;
};

static struct chosen *chosen_in(struct cmd_env_opam *oe, const struct channel_set *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct chosen *x = chosen_named(oe, channel_needs_candidate(oe->needs, s->v[i])->name);
		if (x && x->known && x->id == s->v[i])
			return x;
	}
	return NULL;
}

/* "opam:ocaml (>= 4.08 & < 5)" of the formula for whoever asks why. */
static int tell_need(void *ctx, const struct channel_need *need, struct err *e)
{
	struct telling *t = ctx;
	auto_buf b = BUF_INIT(1 << 16);
	(void)e;
	for (size_t i = 0; i < need->given_n; i++)
		if (!chosen_in(t->oe, &need->given[i]))
			return 0;
	struct chosen *used = need->kind == CHANNEL_NEED ? chosen_in(t->oe, &need->one) : NULL;
	if (!used || used == t->self)
		return 0;
	if (need->formula)
		pkg_need_format(need->formula, &b);
	bool is_it = str_starts(buf_str(&b), used->name);
	vec_push(&t->depends, str_c(is_it ? arena_printf(&t->oe->c->arena, "opam:%s", b.p)
					  : arena_printf(&t->oe->c->arena, "opam:%.*s", STR_ARG(used->name))));
	return 0;
}

static int read_depends(struct cmd_env_opam *oe, struct err *e)
{
	vec_foreach(x, &oe->chosen) {
		struct telling t = {.oe = oe, .self = x};
		if (!x->known) {
			x->depends = x->before ? x->before->depends : NULL;
			x->depends_n = x->before ? x->before->depends_n : 0;
			continue;
		}
		int rc = channel_needs_tell(oe->needs, x->id, tell_need, &t, e);
		x->depends = vec_copy(&t.depends, &oe->c->arena);
		x->depends_n = t.depends.n;
		vec_release(&t.depends);
		if (rc < 0)
			return -1;
	}
	return 0;
}

static void reach(struct cmd_env_opam *oe, struct str name)
{
	VEC(struct chosen *) open = {0};
	struct chosen *x = chosen_named(oe, name);
	for (vec_push(&open, x); open.n;) {
		x = vec_pop(&open);
		if (!x || x->reached)
			continue;
		x->reached = true;
		for (size_t i = 0; i < x->depends_n; i++)
			vec_push(&open, chosen_named(oe, name_in_depends(x->depends[i])));
	}
	vec_release(&open);
}

/* What nobody needs any more goes. */
static int drop_unreached(struct cmd_env_opam *oe, const struct str *specs, size_t n, struct err *e)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		struct str name;
		if (env_opam_name(oe->c, specs[i], &name, e) < 0)
			return -1;
		reach(oe, name);
	}
	map_release(&oe->by_name);
	oe->by_name = (struct map)MAP_INIT;
	vec_foreach(x, &oe->chosen)
		if (x->reached) {
			oe->chosen.v[kept] = *x;
			*map_put(&oe->by_name, x->name) = ++kept;
		}
	oe->chosen.n = kept;
	return 0;
}

/* == as packages to be made ============================================================================================== */

/* In the order of work, each with the numbers of what it is built on. Those of no repository come first: they are not built. */
static int put_in_order(struct cmd_env_opam *oe, struct err *e)
{
	struct arena *a = &oe->c->arena;
	size_t n = oe->chosen.n, ids_n = 0, at = 0;
	uint32_t *ids = arena_array(a, uint32_t, n + 1);
	struct solve_steps steps;
	oe->v = arena_array(a, struct build_made, n + 1);
	oe->of = arena_array(a, const struct chosen *, n + 1);
	vec_foreach(x, &oe->chosen)
		if (x->known)
			ids[ids_n++] = x->id;
		else
			oe->of[at++] = x;
	size_t first = at;
	if (solve_steps(oe->needs, ids, ids_n, NULL, 0, SOLVE_IN_ORDER, a, &steps, e) < 0)
		return -1;
	for (size_t i = 0; i < steps.n; i++) {
		struct str name = channel_needs_candidate(oe->needs, steps.v[i].package)->name;
		size_t *needs = arena_array(a, size_t, steps.v[i].after_n + 1);
		oe->of[at] = chosen_named(oe, name);
		for (size_t k = 0; k < steps.v[i].after_n; k++)
			needs[k] = first + steps.v[i].after[k];
		oe->v[at].package.needs = needs;
		oe->v[at++].package.n_needs = steps.v[i].after_n;
	}
	oe->n = at;
	return 0;
}

/* A package of the lock that no repository has any more. */
static int take_as_it_was(struct cmd_env_opam *oe, const struct chosen *x, struct build_made *m, struct err *e)
{
	const struct pkg_record *r = x->before;
	if (!r || !r->has_sha256 || !store_has_tree(oe->c->store, r->sha256))
		return err_new(e, ERR_NOT_FOUND,
			       "'opam:%.*s' %.*s is in none of the opam repositories, nor was it built here; name a "
			       "repository that has it, or ask for another version",
			       STR_ARG(x->name), STR_ARG(x->version));
	memcpy(m->sha256, r->sha256, SHA256_SIZE);
	m->size = r->size;
	m->kept = true;
	return env_opam_said(oe->c, r, NULL, m->key, e);
}

static int read_file(struct cmd_env_opam *oe, const struct chosen *x, struct build_made *m, struct err *e)
{
	struct arena *a = &oe->c->arena;
	struct oi_pkg p;
	const struct opam_index *ix = channel_needs_opam(oe->needs, x->id, &p);
	struct pkg_opam_doc *d = arena_new(a, struct pkg_opam_doc);
	struct pkg_opam *opam = arena_new(a, struct pkg_opam);
	struct err ignored = ERR_INIT; /* what is wrong with a field that is not used here stops nothing */
	struct str text;
	size_t k = 0;
	while (k < oe->repos.n && oe->repos.index[k] != ix)
		k++;
	if (k == oe->repos.n)
		return err_new(e, ERR_NOT_FOUND, "no opam file of '%.*s'", STR_ARG(x->name));
	const struct channel *ch = &oe->repos.channel[k];
	struct opam_index_pkg about = opam_index_pkg(ix, p);
	if (opam_index_text(ix, p, a, &text, e) < 0)
		return -1;
	pkg_opam_read(a, text, arena_printf(a, "%.*s/opam", STR_ARG(about.key)), d, &ignored);
	pkg_opam_package(a, d, opam, &ignored);
	m->package.opam = opam;
	auto_buf path = BUF_INIT(16384);
	if (ch->is_folder && url_file_path(ch->url, &path, &ignored) == 0)
		m->package.files =
			arena_printf(a, "%s/%.*s/%.*s/files", path.p, STR_ARG(about.folder), STR_ARG(about.key));
	else if (opam->extra_files)
		return err_new(
			e, ERR_UNSUPPORTED,
			"'opam:%.*s' %.*s has files beside its opam file, which only a repository that is a folder here "
			"gives",
			STR_ARG(x->name), STR_ARG(x->version));
	oe->channel_of[m - oe->v] = ch;
	return 0;
}

static int by_needed_name(const void *x, const void *y, void *ctx)
{
	const struct build_made *v = ctx;
	return str_cmp(v[*(const size_t *)x].package.name, v[*(const size_t *)y].package.name);
}

/* What it was built with must be what is to be there. */
static int check_gone(struct cmd_env_opam *oe, struct err *e)
{
	for (size_t i = 0; i < oe->n; i++)
		for (size_t k = 0; !oe->v[i].package.opam && k < oe->of[i]->depends_n; k++) {
			uint8_t was[SHA256_SIZE];
			const struct chosen *used = chosen_named(oe, name_in_depends(oe->of[i]->depends[k]));
			size_t at = 0;
			while (at < oe->n && oe->of[at] != used)
				at++;
			if (!used || at == oe->n)
				continue;
			if (used->before && env_opam_said(oe->c, used->before, NULL, was, e) < 0)
				return -1;
			if (!used->before || memcmp(was, oe->v[at].key, SHA256_SIZE) != 0)
				return err_new(
					e, ERR_NOT_FOUND,
					"'opam:%.*s' %.*s is in none of the opam repositories any more, and would have to be built again "
					"with another 'opam:%.*s'",
					STR_ARG(oe->of[i]->name), STR_ARG(oe->of[i]->version), STR_ARG(used->name));
		}
	return 0;
}

/* Opam files, keys, and what is built already. */
static int describe(struct cmd_env_opam *oe, struct err *e)
{
	oe->channel_of = arena_array(&oe->c->arena, const struct channel *, oe->n + 1);
	for (size_t i = 0; i < oe->n; i++) {
		struct build_made *m = &oe->v[i];
		m->package.name = oe->of[i]->name;
		m->package.version = oe->of[i]->version;
		if ((oe->of[i]->known ? read_file(oe, oe->of[i], m, e) : take_as_it_was(oe, oe->of[i], m, e)) < 0)
			return -1;
	}
	for (size_t i = 0; i < oe->n; i++)
		if (oe->v[i].package.n_needs > 1)
			qsort_r((size_t *)oe->v[i].package.needs, oe->v[i].package.n_needs, sizeof(size_t),
				by_needed_name, oe->v);
	return check_indexes(oe, e) < 0 || build_workshop_keys(oe->workshop, oe->c->store, oe->v, oe->n, e) < 0
		       ? -1
		       : check_gone(oe, e);
}

/* == as a lock =========================================================================================================== */

static struct str said_of(struct cmd_env_opam *oe, const struct build_made *m)
{
	auto_buf b = BUF_INIT(1 << 16);
	struct jw w = JW_INIT(&b, 0);
	uint8_t sum[SHA256_SIZE];
	build_opam_file_digest(m->package.opam->file, sum);
	jw_object(&w);
	jw_kv_hex(&w, "file", sum, SHA256_SIZE);
	jw_kv_hex(&w, "key", m->key, SHA256_SIZE);
	jw_key(&w, "sources");
	jw_array(&w);
	for (size_t i = 0; i < m->package.opam->sources; i++) {
		const struct pkg_opam_source *s = &m->package.opam->source[i];
		static const char *const kinds[] = {"sha256", "md5", "sha512", "sha1"};
		for (size_t k = 0; k < s->checksums; k++) {
			char hex[2 * DIGEST_MAX + 1];
			hex_encode(s->checksum[k].bytes, digest_size(s->checksum[k].kind), hex);
			jw_c(&w, arena_printf(&oe->c->arena, "%s=%s", kinds[s->checksum[k].kind], hex));
		}
	}
	jw_array_end(&w);
	jw_object_end(&w);
	return str_c(arena_printf(&oe->c->arena, "\"opam\":%s", b.p));
}

int env_opam_said(struct cmd_context *c, const struct pkg_record *r, uint8_t *file, uint8_t *key, struct err *e)
{
	struct str text =
		str_c(arena_printf(&c->arena, "{%.*s}", (int)r->extra_json.n, r->extra_json.n ? r->extra_json.p : ""));
	const struct json *j = json_parse(&c->arena, text, "the lock", e), *o = NULL;
	const struct {
		const char *name;
		uint8_t *to;
	} v[] = {{"file", file}, {"key", key}};
	if (!j || json_opt_object(j, "opam", &o, e) < 0)
		return -1;
	for (size_t i = 0; i < 2; i++) {
		struct str hex = STR_NONE;
		if (v[i].to && (!o || json_opt_str(o, v[i].name, &hex, e) < 0 || !str_unhex(hex, v[i].to, SHA256_SIZE)))
			return err_new(
				e, ERR_INPUT,
				"package '%.*s' of the lock does not say of what it is made; export the recipe again",
				STR_ARG(r->name));
	}
	return 0;
}

static void fill_record(struct cmd_env_opam *oe, size_t i, struct pkg_record *r)
{
	struct arena *a = &oe->c->arena;
	const struct build_made *m = &oe->v[i];
	const struct chosen *x = oe->of[i];
	char key[SHA256_HEX_SIZE];
	if (!m->package.opam) {
		*r = *x->before;
		return;
	}
	const struct channel *ch = oe->channel_of[i];
	hex_encode(m->key, SHA256_SIZE, key);
	*r = (struct pkg_record){
		.name = str_c(arena_printf(a, "opam:%.*s", STR_ARG(x->name))),
		.version = x->version,
		.build = str_c(arena_printf(a, "h%.*s", KEY_SHOWN, key)),
		.channel = ch->shown,
		.subdir = channel_host_subdir(),
		.url = str_c(arena_printf(a, "%.*s/packages/%.*s/%.*s.%.*s/opam", STR_ARG(ch->shown), STR_ARG(x->name),
					  STR_ARG(x->name), STR_ARG(x->version))),
		.size = m->size,
		.has_sha256 = m->kept,
		.license = m->package.opam->license.n ? m->package.opam->license.v[0] : STR_NONE,
		.depends = x->depends,
		.depends_n = (uint32_t)x->depends_n,
		.extra_json = said_of(oe, m),
	};
	r->fn = str_c(
		arena_printf(a, "opam-%.*s-%.*s-%.*s.conda", STR_ARG(x->name), STR_ARG(x->version), STR_ARG(r->build)));
	if (m->kept)
		memcpy(r->sha256, m->sha256, SHA256_SIZE);
}

/* The packages behind those that the target has. */
static void add_packages(struct cmd_env_opam *oe, const struct str *specs, size_t specs_n, struct env_spec_file *target)
{
	struct arena *a = &oe->c->arena;
	struct env_lock_package *v = arena_array(a, struct env_lock_package, target->packages_n + oe->n + 1);
	auto_map asked = MAP_INIT;
	struct err ignored = ERR_INIT; /* they were read above */
	for (size_t i = 0; i < specs_n; i++) {
		struct str name;
		if (env_opam_name(oe->c, specs[i], &name, &ignored) == 0)
			*map_put(&asked, name) = i + 1;
	}
	if (target->packages_n)
		memcpy(v, target->packages, target->packages_n * sizeof(*v));
	for (size_t i = 0; i < oe->n; i++) {
		struct env_lock_package *p = &v[target->packages_n + i];
		const uint64_t *at = map_get(&asked, oe->of[i]->name);
		*p = (struct env_lock_package){.requested = at != NULL,
					       .requested_spec = at ? specs[*at - 1] : STR_NONE};
		fill_record(oe, i, &p->record);
	}
	target->packages = v;
	target->packages_n += (uint32_t)oe->n;
}

static void add_texts(struct arena *a, const struct str **v, uint32_t *n, const struct str *more, size_t more_n)
{
	struct str *all = arena_array(a, struct str, *n + more_n + 1);
	for (uint32_t i = 0; i < *n; i++)
		all[i] = (*v)[i];
	for (size_t i = 0; i < more_n; i++)
		all[*n + i] = more[i];
	*v = all;
	*n += (uint32_t)more_n;
}

static void add_repos(struct cmd_env_opam *oe, struct env_spec_file *target)
{
	struct str *v = arena_array(&oe->c->arena, struct str, oe->repos.n + 1);
	for (size_t i = 0; i < oe->repos.n; i++)
		v[i] = str_c(arena_printf(&oe->c->arena, "opam:%.*s", STR_ARG(oe->repos.channel[i].shown)));
	add_texts(&oe->c->arena, &target->channels, &target->channels_n, v, oe->repos.n);
}

/* == the two ways ======================================================================================================== */

/* What was to go must not be there for something else. */
static int check_removed(struct cmd_env_opam *oe, const struct cmd_env_part *p, struct str env, struct err *e)
{
	vec_foreach(x, &oe->chosen)
		if (is_removed(p, x->name))
			return err_new(e, ERR_FAILED,
				       "'opam:%.*s' cannot be removed: something else in the environment needs it; "
				       "'slipway why -n %.*s opam:%.*s' shows what",
				       STR_ARG(x->name), STR_ARG(env), STR_ARG(x->name));
	return 0;
}

static int settle(struct cmd_env_opam *oe, const struct str *specs, size_t specs_n, struct err *e)
{
	number(oe);
	spread_gone(oe);
	return read_depends(oe, e) < 0 || drop_unreached(oe, specs, specs_n, e) < 0 || put_in_order(oe, e) < 0 ||
			       describe(oe, e) < 0
		       ? -1
		       : 0;
}

/* Minutes that many could do without. */
static void tell_compiler(struct cmd_env_opam *oe)
{
	struct pkg_opam_host h = build_workshop_host(oe->workshop);
	struct str here;
	if (!h.variable(h.ctx, STR("sys-ocaml-version"), &here) || !here.n)
		return;
	for (size_t i = 0; i < oe->n; i++) {
		const struct build_opam_package *p = &oe->v[i].package;
		if (!oe->v[i].kept && p->opam && (p->opam->flags & PKG_OPAM_COMPILER) && p->opam->sources) {
			cmd_say(oe->c,
				"note: the compiler is built, too ('%.*s' %.*s); with 'opam:ocaml-system' it is this host's OCaml %.*s",
				STR_ARG(p->name), STR_ARG(p->version), STR_ARG(here));
			return;
		}
	}
}

int cmd_env_opam_solve(struct cmd_context *c, const struct cmd_env_part *p, struct env_spec_file *target,
		       struct cmd_env_opam **ret, struct err *e)
{
	auto_ptr(cmd_env_opam) oe = NULL;
	auto_ptr(channel_needs) needs = NULL;
	struct solve_needs_result r;
	struct str *specs = NULL;
	size_t n = 0, old = 0;
	if (gather(c, p, &specs, &n, &old, e) < 0)
		return cmd_fail(c, e);
	if (n == 0) /* the last of them is gone */
		return CMD_OK;
	if (env_opam_begin(c, &p->args.options.solve, &p->file, &p->before, &oe, e) < 0 ||
	    env_opam_needs(oe, p->args.all ? NULL : &p->before, &needs, e) < 0 ||
	    env_opam_check(c, needs, specs, n, e) < 0)
		return cmd_fail(c, e);
	int rc = find_solution(oe, p, specs, n, old, needs, &r, e);
	if (rc < 0 || check_indexes(oe, e) < 0)
		return cmd_fail(c, e);
	if (rc > 0)
		return no_solution(c, &r);
	for (size_t i = 0; i < r.n; i++) {
		const struct channel_candidate *x = channel_needs_candidate(needs, r.package[i]);
		struct str name = arena_str(&c->arena, x->name), version = arena_str(&c->arena, x->version);
		choose(oe, name, version, record_of(&p->before, name, version));
	}
	if (settle(oe, specs, n, e) < 0 || check_removed(oe, p, target->name, e) < 0)
		return cmd_fail(c, e);
	tell_compiler(oe);
	add_packages(oe, specs, n, target);
	add_repos(oe, target);
	add_texts(&c->arena, &target->specs, &target->specs_n, specs, n);
	*ret = steal_ptr(&oe);
	return CMD_OK;
}

bool cmd_env_opam_is_asked(const struct cmd_env_part *p)
{
	return p->args.words.n || p->args.remove.n || p->args.all || p->file.specs_n ||
	       p->args.options.solve.channels.n || !p->before.packages_n;
}

void cmd_env_opam_keep(struct cmd_context *c, const struct cmd_env_part *p, struct env_spec_file *target)
{
	const struct env_spec_file *f = &p->before;
	struct env_lock_package *v =
		arena_array(&c->arena, struct env_lock_package, target->packages_n + f->packages_n + 1);
	for (uint32_t i = 0; i < target->packages_n + f->packages_n; i++)
		v[i] = i < target->packages_n ? target->packages[i] : f->packages[i - target->packages_n];
	target->packages = v;
	target->packages_n += f->packages_n;
	add_texts(&c->arena, &target->channels, &target->channels_n, f->channels, f->channels_n);
	add_texts(&c->arena, &target->specs, &target->specs_n, f->specs, f->specs_n);
}

/* The file that the lock was made with, or one that builds the same. */
static int check_files(struct cmd_env_opam *oe, struct err *e)
{
	for (size_t i = 0; i < oe->n; i++) {
		uint8_t want[SHA256_SIZE], have[SHA256_SIZE];
		const struct chosen *x = oe->of[i];
		if (!oe->v[i].package.opam)
			continue;
		if (env_opam_said(oe->c, x->before, want, NULL, e) < 0)
			return -1;
		build_opam_file_digest(oe->v[i].package.opam->file, have);
		if (memcmp(want, have, SHA256_SIZE) != 0)
			return err_new(
				e, ERR_VERIFY,
				"the opam file of '%.*s' %.*s in '%.*s' is not the one that the recipe was made with: "
				"it builds something else; make the recipe anew with 'slipway env update --all' and 'slipway "
				"env export', or name a repository of that time",
				STR_ARG(x->before->name), STR_ARG(x->version), STR_ARG(oe->channel_of[i]->shown));
	}
	return 0;
}

int cmd_env_opam_exact(struct cmd_context *c, struct env_spec_file *target, struct cmd_env_opam **ret, struct err *e)
{
	auto_ptr(cmd_env_opam) oe = NULL;
	struct env_spec_file conda, opam;
	const struct cmd_solve_options usual = {0};
	part_of_file(c, target, true, &opam);
	part_of_file(c, target, false, &conda);
	if (!opam.packages_n)
		return 0;
	if (env_opam_begin(c, &usual, &opam, &opam, &oe, e) < 0)
		return -1;
	for (uint32_t i = 0; i < opam.packages_n; i++)
		choose(oe, bare(opam.packages[i].record.name), opam.packages[i].record.version,
		       &opam.packages[i].record);
	number(oe);
	spread_gone(oe);
	if (read_depends(oe, e) < 0 || put_in_order(oe, e) < 0 || describe(oe, e) < 0 || check_files(oe, e) < 0)
		return -1;
	struct env_spec_file all = conda;
	all.specs = target->specs;
	all.specs_n = target->specs_n;
	all.channels = target->channels;
	all.channels_n = target->channels_n;
	add_packages(oe, opam.specs, opam.specs_n, &all);
	*target = all;
	*ret = steal_ptr(&oe);
	return 1;
}
