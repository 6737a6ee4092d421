// SPDX-License-Identifier: Apache-2.0
/*
 * What packages of an opam repository need: depends, with the filters decided for a host, conflicts, conflict-class and available.
 * depopts ask for nothing: opam installs them only where something else does. What is marked avoid-version or deprecated comes last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "channel/needs.h"
#include "channel/opam.h"

enum { CLASSES_MAX = 16 };

struct opam_record { /* by the order of adding */
	const struct opam_package *package;
	struct str class[CLASSES_MAX]; /* conflict-class */
	uint32_t classes;
	bool is_parsed, is_available;
	const struct pkg_need *depends, *conflicts;
	struct opam_file file;
};
struct opam_class {
	struct str name;
	uint32_t package;
};
struct opam_variable {
	struct str name, value;
};
struct opam_all {
	struct channel_needs base;
	struct opam_repo repo;
	struct opam_record *record;
	size_t records;
	VEC(struct opam_class) class;
	VEC(struct opam_variable) variable;
	struct str name, version; /* of the package that is being read */
};

static struct opam_all *all_of(const struct channel_needs *n)
{
	return (struct opam_all *)n;
}

static struct opam_record *record_of(const struct channel_needs *n, uint32_t package)
{
	return &all_of(n)->record[n->package.v[package].added];
}

/* -- the host ------------------------------------------------------------------------------------------------------- */

static bool variable(void *ctx, struct str name, struct str *ret)
{
	const struct opam_all *d = ctx;
	if (str_eq_c(name, "name") || str_eq_c(name, "version")) {
		*ret = str_eq_c(name, "name") ? d->name : d->version;
		return ret->n > 0;
	}
	/* what was said last counts */
	for (size_t i = d->variable.n; i-- > 0;)
		if (str_eq(d->variable.v[i].name, name)) {
			*ret = d->variable.v[i].value;
			return true;
		}
	return false;
}

static void set_variables(struct opam_all *d, const struct channel_needs_opts *o)
{
	static const char *const usual[][2] = {{"os-family", "debian"}, {"os-distribution", "debian"},
					       {"os-version", "12"},	{"opam-version", "2.1.2"},
					       {"with-test", "false"},	{"with-doc", "false"},
					       {"with-tools", "false"}, {"with-dev-setup", "false"},
					       {"dev", "false"},	{"build", "true"},
					       {"post", "true"},	{"pinned", "false"},
					       {"make", "make"},	{"jobs", "1"}};
	struct str os = d->base.platform, name;
	for (size_t i = 0; i < sizeof(usual) / sizeof(*usual); i++)
		vec_push(&d->variable, ((struct opam_variable){str_c(usual[i][0]), str_c(usual[i][1])}));
	if (str_take_until(&os, '-', &name)) {
		vec_push(&d->variable, ((struct opam_variable){STR("os"), name}));
		vec_push(&d->variable, ((struct opam_variable){STR("arch"), os}));
	}
	for (size_t i = 0; i < o->variables_n; i++) {
		struct str value = arena_str(&d->base.arena, o->variables[i]);
		if (str_take_until(&value, '=', &name))
			vec_push(&d->variable, ((struct opam_variable){name, value}));
	}
}

/* -- reading -------------------------------------------------------------------------------------------------------- */

/* What must be known of all before anything is asked: few files have such fields, the others need not be read for it. */
static void read_marks(struct opam_all *d, struct opam_record *r, struct needs_package *p)
{
	struct str text = r->package->opam->text, flag[64];
	bool marked = str_search(text, STR("avoid-version")) >= 0 || str_search(text, STR("deprecated")) >= 0;
	struct err ignored = ERR_INIT;
	if ((!marked && str_search(text, STR("conflict-class")) < 0) ||
	    opam_file_read(&d->base.arena, text, "opam", &r->file, &ignored) < 0)
		return;
	size_t n = pkg_opam_words(&d->base.arena, r->file.field[OPAM_FLAGS], flag, 64);
	for (size_t i = 0; i < n; i++)
		if (str_eq_c(flag[i], "avoid-version") || str_eq_c(flag[i], "deprecated"))
			p->rank = p->c.avoided = 1;
	r->classes =
		(uint32_t)pkg_opam_words(&d->base.arena, r->file.field[OPAM_CONFLICT_CLASS], r->class, CLASSES_MAX);
}

static int opam_needs_open(struct channel_needs *n, int folder_fd, const struct channel_walk_opts *from,
			   const struct channel_needs_opts *o, struct err *e)
{
	struct opam_all *d = all_of(n);
	(void)from;
	int rc = opam_repo_load(folder_fd, &n->arena, &d->repo, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_NOT_FOUND, "'index.tar.gz' is not there");
	set_variables(d, o);
	d->record = arena_array(&n->arena, struct opam_record, d->repo.n + 1);
	for (size_t i = 0; i < d->repo.n; i++) {
		const struct opam_package *p = &d->repo.package[i];
		struct opam_record *r = &d->record[d->records++];
		struct needs_package x = {.c = {.name = p->name, .version = p->version, .platform = n->platform}};
		r->package = p;
		x.c.key = str_skip(p->folder, (size_t)(str_rfind(p->folder, '/') + 1));
		read_marks(d, r, &x);
		if (needs_add(n, &x, e) < 0)
			return -1;
	}
	needs_index(n);
	for (uint32_t i = 0; i < n->package.n; i++) {
		const struct opam_record *r = record_of(n, i);
		for (uint32_t k = 0; k < r->classes; k++)
			vec_push(&d->class, ((struct opam_class){r->class[k], i}));
	}
	return 0;
}

static int parse(struct channel_needs *n, struct arena *a, struct str text, const struct pkg_need **ret, struct err *e)
{
	(void)n;
	return pkg_opam_spec_parse(a, text, ret, e);
}

static int read_formulas(struct opam_all *d, struct opam_record *r, struct err *e)
{
	const struct pkg_opam_host host = {.variable = variable, .ctx = d};
	struct arena *a = &d->base.arena;
	struct str *field = r->file.field;
	d->name = r->package->name;
	d->version = r->package->version;
	if (opam_file_read(a, r->package->opam->text, "opam", &r->file, e) < 0)
		return -1;
	int available = field[OPAM_AVAILABLE].n ? pkg_opam_filter(a, field[OPAM_AVAILABLE], &host, e) : 1;
	if (available < 0 || pkg_opam_need_parse(a, field[OPAM_DEPENDS], &host, false, &r->depends, e) < 0 ||
	    pkg_opam_need_parse(a, field[OPAM_CONFLICTS], &host, true, &r->conflicts, e) < 0)
		return -1;
	r->is_available = available > 0;
	return 0;
}

/* -- telling -------------------------------------------------------------------------------------------------------- */

static int tell_classes(struct opam_all *d, uint32_t package, channel_need_fn *fn, void *ctx, struct err *e)
{
	const struct opam_record *r = record_of(&d->base, package);
	const struct channel_candidate *c = &d->base.package.v[package].c;
	for (uint32_t k = 0; k < r->classes; k++) {
		auto_arena a = ARENA_INIT;
		uint32_t *v = arena_array(&a, uint32_t, d->class.n + 1);
		struct channel_need ban = {.kind = CHANNEL_BAN, .one = {v, 0}};
		vec_foreach(x, &d->class)
			if (str_eq(x->name, r->class[k]) && d->base.package.v[x->package].c.first != c->first)
				v[ban.one.n++] = x->package;
		if (ban.one.n && fn(ctx, &ban, e) < 0)
			return -1;
	}
	return 0;
}

static int opam_tell(struct channel_needs *n, uint32_t package, channel_need_fn *fn, void *ctx, struct err *e)
{
	struct opam_all *d = all_of(n);
	struct opam_record *r = record_of(n, package);
	struct err why = ERR_INIT;
	if (!r->is_parsed && read_formulas(d, r, &why) < 0)
		r->is_available = false;
	r->is_parsed = true;
	if (!r->is_available)
		return needs_tell_never(NULL, fn, ctx, e);
	return needs_tell(n, r->depends, CHANNEL_NEED, fn, ctx, e) < 0 ||
			       needs_tell_ban(n, r->conflicts, package, false, fn, ctx, e) < 0
		       ? -1
		       : tell_classes(d, package, fn, ctx, e);
}

static int opam_files(struct channel_needs *n, uint32_t package, channel_item_fn *fn, void *ctx, struct err *e)
{
	const struct opam_record *r = record_of(n, package);
	auto_map told = MAP_INIT;
	struct opam_file f;
	if (opam_file_read(&n->arena, r->package->opam->text, r->package->opam->path.p, &f, e) < 0)
		return -1;
	for (size_t i = 0; i < f.sources; i++)
		if (opam_tell_source(r->package, &f.source[i], false, &n->arena, &told, fn, ctx, e) < 0)
			return -1;
	return 0;
}

static struct str host(void)
{
	static const char *const names[][2] = {
		{"aarch64", "arm64"}, {"armv7l", "arm32"}, {"i686", "x86_32"}, {"ppc64le", "ppc64"}};
	static struct utsname u;
	static char text[sizeof(u.machine) + 6];
	const char *machine = uname(&u) < 0 ? "x86_64" : u.machine;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(machine, names[i][0]) == 0)
			machine = names[i][1];
	snprintf(text, sizeof(text), "linux-%s", machine);
	return str_c(text);
}

static void release(struct channel_needs *n)
{
	vec_release(&all_of(n)->class);
	vec_release(&all_of(n)->variable);
}

const struct needs_ops opam_needs = {
	.size = sizeof(struct opam_all),
	.cmp = pkg_opam_version_cmp,
	.open = opam_needs_open,
	.parse = parse,
	.tell = opam_tell,
	.files = opam_files,
	.host = host,
	.release = release,
};
