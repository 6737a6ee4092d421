// SPDX-License-Identifier: Apache-2.0
/* Opam packages of environments: from specs, or from a lock, to what a target has of them. What they are made of, and in what order: build/opam_set.c. */
#include "cmd/env_opam.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/map.h"
#include "cmd/env_opam_internal.h"

void cmd_env_opam_free(struct cmd_env_opam *oe)
{
	if (!oe)
		return;
	build_opam_set_free(oe->set);
	cmd_opam_repos_release(&oe->repos);
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

int env_opam_begin(struct cmd_context *c, const struct cmd_solve_options *o, const struct env_spec_file *file,
		   const struct env_spec_file *before, struct cmd_env_opam **ret, struct err *e)
{
	auto_ptr(cmd_env_opam) oe = xcalloc(1, sizeof(*oe));
	oe->c = c;
	if (cmd_need_root(c, e) < 0 || (c->dry_run ? cmd_need_store_to_read(c, e) : cmd_need_store(c, e)) < 0 ||
	    open_repos(oe, o, file, before, e) < 0)
		return -1;
	const struct build_opam_repos repos = {oe->repos.channel, oe->repos.index, oe->repos.n};
	if (build_opam_set_open(c->root_fd, c->root_path, c->store, &repos, &c->arena, &oe->set, e) < 0)
		return -1;
	*ret = steal_ptr(&oe);
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

static const struct pkg_record *record_of(const struct env_spec_file *f, struct str name, struct str version)
{
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (str_eq(bare(f->packages[i].record.name), name) && str_eq(f->packages[i].record.version, version))
			return &f->packages[i].record;
	return NULL;
}

/* == as a lock =========================================================================================================== */

/* The packages behind those that the target has. */
static void add_packages(struct cmd_env_opam *oe, const struct str *specs, size_t specs_n, struct env_spec_file *target)
{
	struct arena *a = &oe->c->arena;
	size_t n;
	const struct build_made *made = build_opam_set_made(oe->set, &n);
	struct env_lock_package *v = arena_array(a, struct env_lock_package, target->packages_n + n + 1);
	auto_map asked = MAP_INIT;
	struct err ignored = ERR_INIT; /* they were read above */
	for (size_t i = 0; i < specs_n; i++) {
		struct str name;
		if (env_opam_name(oe->c, specs[i], &name, &ignored) == 0)
			*map_put(&asked, name) = i + 1;
	}
	if (target->packages_n)
		memcpy(v, target->packages, target->packages_n * sizeof(*v));
	for (size_t i = 0; i < n; i++) {
		struct env_lock_package *p = &v[target->packages_n + i];
		const uint64_t *at = map_get(&asked, made[i].package.name);
		*p = (struct env_lock_package){.requested = at != NULL,
					       .requested_spec = at ? specs[*at - 1] : STR_NONE};
		build_opam_set_record(oe->set, i, &p->record);
	}
	target->packages = v;
	target->packages_n += (uint32_t)n;
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
	size_t n;
	const struct build_made *v = build_opam_set_made(oe->set, &n);
	for (size_t i = 0; i < n; i++)
		if (is_removed(p, v[i].package.name))
			return err_new(e, ERR_FAILED,
				       "'opam:%.*s' cannot be removed: something else in the environment needs it; "
				       "'slipway why -n %.*s opam:%.*s' shows what",
				       STR_ARG(v[i].package.name), STR_ARG(env), STR_ARG(v[i].package.name));
	return 0;
}

/* Minutes that many could do without. */
static void tell_compiler(struct cmd_env_opam *oe)
{
	struct pkg_opam_host h = build_opam_set_host(oe->set);
	struct str here;
	if (!h.variable(h.ctx, STR("sys-ocaml-version"), &here) || !here.n)
		return;
	size_t n;
	const struct build_made *v = build_opam_set_made(oe->set, &n);
	for (size_t i = 0; i < n; i++) {
		const struct build_opam_package *p = &v[i].package;
		if (!v[i].kept && p->opam && (p->opam->flags & PKG_OPAM_COMPILER) && p->opam->sources) {
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
	    build_opam_set_needs(oe->set, p->args.all ? NULL : &p->before, &needs, e) < 0 ||
	    env_opam_check(c, needs, specs, n, e) < 0)
		return cmd_fail(c, e);
	int rc = find_solution(oe, p, specs, n, old, needs, &r, e);
	if (rc < 0 || build_opam_set_check(oe->set, e) < 0)
		return cmd_fail(c, e);
	if (rc > 0)
		return cmd_no_solution_for(c, r.why, r.why_n, CMD_NO_SOLUTION);
	for (size_t i = 0; i < r.n; i++) {
		const struct channel_candidate *x = channel_needs_candidate(needs, r.package[i]);
		struct str name = arena_str(&c->arena, x->name), version = arena_str(&c->arena, x->version);
		build_opam_set_add(oe->set, name, version, record_of(&p->before, name, version));
	}
	struct str *names = arena_array(&c->arena, struct str, n);
	for (size_t i = 0; i < n; i++)
		if (env_opam_name(c, specs[i], &names[i], e) < 0)
			return cmd_fail(c, e);
	if (build_opam_set_settle(oe->set, names, n, e) < 0 || check_removed(oe, p, target->name, e) < 0)
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
		build_opam_set_add(oe->set, bare(opam.packages[i].record.name), opam.packages[i].record.version,
				   &opam.packages[i].record);
	if (build_opam_set_settle(oe->set, NULL, 0, e) < 0 || build_opam_set_check_files(oe->set, e) < 0)
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
