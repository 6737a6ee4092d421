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
#include "channel/opam_index.h"

enum { INDEXES_MAX = 100 };

struct opam_record {		     /* by the order of adding */
	const struct opam_index *ix; /* NULL: it is installed, and no repository has it any more */
	struct oi_pkg at;
	struct str name, version;
	bool is_parsed, is_available, is_lacking;
	const struct pkg_need *depends, *conflicts;
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
	const struct opam_index *const *index;
	size_t indexes;
	struct oif_inputs inputs; /* of an index that is only here */
	struct opam_index *own;
	VEC(struct opam_record) record;
	VEC(struct opam_class) class;
	VEC(struct opam_variable) variable;
	struct str name, version; /* of the package that is being read */
	bool ordering, building;  /* not what is needed some time later; nor for building alone, unless `building` */
	bool with_test, with_doc; /* for these: */
	enum channel_system_has (*ask_system)(void *ctx, struct str name);
	void *system_ctx;
	struct map asked;
	struct map system; /* packages that the host has */
	bool asks_system;
	struct map pinned, installed; /* by name → version: 1 + place in `said` */
	VEC(struct str) said;
};

static struct opam_all *all_of(const struct channel_needs *n)
{
	return (struct opam_all *)n;
}

static struct opam_record *record_of(const struct channel_needs *n, uint32_t package)
{
	return &all_of(n)->record.v[n->package.v[package].added];
}

/* -- what was said ---------------------------------------------------------------------------------------------------- */

/* "NAME.VERSION" by name. */
static void note_said(struct opam_all *d, struct map *m, const struct str *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct str version = arena_str(&d->base.arena, v[i]), name;
		if (!str_take_until(&version, '.', &name))
			continue;
		vec_push(&d->said, version);
		*map_put(m, name) = d->said.n;
	}
}

static const struct str *said(const struct opam_all *d, const struct map *m, struct str name)
{
	const uint64_t *place = map_get(m, name);
	return place ? &d->said.v[*place - 1] : NULL;
}

static bool is_said(const struct opam_all *d, const struct map *m, struct str name, struct str version)
{
	const struct str *v = said(d, m, name);
	return v && str_eq(*v, version);
}

static void note_all(struct opam_all *d, const struct channel_needs_opts *o)
{
	note_said(d, &d->pinned, o->pinned, o->pinned_n);
	note_said(d, &d->installed, o->installed, o->installed_n);
	for (size_t i = 0; i < o->asked_n; i++)
		*map_put(&d->asked, arena_str(&d->base.arena, o->asked[i])) = 1;
	for (size_t i = 0; i < o->system_n; i++)
		*map_put(&d->system, arena_str(&d->base.arena, o->system[i])) = 1;
	d->asks_system = o->system != NULL;
	d->with_test = o->with_test;
	d->with_doc = o->with_doc;
	d->ask_system = o->ask_system;
	d->system_ctx = o->system_ctx;
}

/* -- the host ------------------------------------------------------------------------------------------------------- */

static bool variable(void *ctx, struct str name, struct str *ret)
{
	const struct opam_all *d = ctx;
	if (str_eq_c(name, "name") || str_eq_c(name, "version")) {
		*ret = str_eq_c(name, "name") ? d->name : d->version;
		return ret->n > 0;
	}
	if (d->ordering && (str_eq_c(name, "post") || str_eq_c(name, "build"))) {
		*ret = str_eq_c(name, "build") && d->building ? STR("true") : STR("false");
		return true;
	}
	if (((d->with_test && str_eq_c(name, "with-test")) || (d->with_doc && str_eq_c(name, "with-doc"))) &&
	    map_get(&d->asked, d->name)) {
		*ret = STR("true");
		return true;
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

/* The packages of one name, out of all indexes: best first, of equal ones that of the first index. */
struct merged {
	const struct opam_index *ix;
	struct oi_pkg at;
	struct str key, version;
	uint32_t flags;
};
VEC_TYPE(merged_vec, struct merged);
/* The names of an index, or of what is installed and gone, from front to back. */
struct feed {
	const struct opam_index *ix;
	uint32_t next, names;
	struct str name; /* of the next one */
	const struct str *gone;
	size_t gone_n;
};

static void feed_look(struct feed *f)
{
	struct str version;
	f->name = STR_NONE;
	if (f->ix && f->next < f->names) {
		f->name = opam_index_name(f->ix, (struct oi_name){f->next});
	} else if (!f->ix && f->next < f->gone_n) {
		version = f->gone[f->next];
		(void)str_take_until(&version, '.', &f->name);
	}
}

static void feed_take(struct feed *f, struct merged_vec *v)
{
	struct str name = f->name;
	if (!f->ix) {
		for (; f->name.p && str_eq(f->name, name); f->next++, feed_look(f)) {
			struct str key = f->gone[f->next];
			vec_push(v, ((struct merged){.key = key, .version = str_skip(key, name.n + 1)}));
		}
		return;
	}
	struct oi_pkg first;
	uint32_t n = opam_index_packages(f->ix, (struct oi_name){f->next}, &first);
	const struct oif_package *p = n ? oif_at(f->ix, OIF_PACKAGES, first.n, n) : NULL;
	for (uint32_t i = 0; p && i < n; i++) {
		struct str key = oif_string(f->ix, p[i].key);
		vec_push(v, ((struct merged){f->ix, {first.n + i}, key, str_skip(key, name.n + 1), p[i].flags}));
	}
	f->next++;
	feed_look(f);
}

/* Stable: insertion into what is nearly sorted. What was there first stays, of two of the same version. */
static void merge(struct merged_vec *v)
{
	size_t k = 0;
	for (size_t i = 0; i < v->n; i++) {
		struct merged x = v->v[i];
		size_t at = k;
		bool same = false;
		for (; at > 0; at--) {
			int c = pkg_opam_version_cmp(v->v[at - 1].version, x.version);
			if (c > 0 || (same = str_eq(v->v[at - 1].version, x.version)) ||
			    (c == 0 && str_cmp(v->v[at - 1].version, x.version) > 0))
				break;
		}
		if (same)
			continue;
		memmove(&v->v[at + 1], &v->v[at], (k - at) * sizeof(x));
		v->v[at] = x;
		k++;
	}
	v->n = k;
}

static int add_one(struct opam_all *d, struct str name, const struct merged *m, bool avoided, struct err *e)
{
	struct channel_candidate c = {.name = name, .version = m->version, .key = m->key, .platform = d->base.platform};
	c.avoided = avoided;
	c.installed = d->installed.n && is_said(d, &d->installed, name, m->version);
	c.pinned = d->pinned.n && is_said(d, &d->pinned, name, m->version);
	const uint32_t *class = NULL;
	if (m->ix) {
		const struct oif_package *p = oif_at(m->ix, OIF_PACKAGES, m->at.n, 1);
		class = p && p->list[OI_CONFLICT_CLASS] ? &p->list[OI_CONFLICT_CLASS] : NULL;
	}
	if (class) {
		struct pkg_opam_strs l = opam_index_list(m->ix, m->at, OI_CONFLICT_CLASS, &d->base.arena);
		for (size_t i = 0; i < l.n; i++)
			vec_push(&d->class, ((struct opam_class){l.v[i], (uint32_t)d->base.package.n}));
	}
	vec_push(&d->record, ((struct opam_record){.ix = m->ix, .at = m->at, .name = name, .version = m->version}));
	return needs_add(&d->base, &(struct needs_package){.c = c, .rank = avoided}, e);
}

static bool is_avoided(const struct merged *m)
{
	return m->flags & (PKG_OPAM_AVOID_VERSION | PKG_OPAM_DEPRECATED);
}

/* What its author would rather not have taken stands behind the others; who has such a version already does not mind another, as in opam. */
static int add_name(struct opam_all *d, struct str name, const struct merged_vec *v, struct err *e)
{
	bool minds = true;
	vec_foreach(m, v)
		if (d->installed.n && is_avoided(m) && is_said(d, &d->installed, name, m->version))
			minds = false;
	for (int avoided = 0; avoided < 2; avoided++)
		vec_foreach(m, v)
			if ((minds && is_avoided(m)) == avoided && add_one(d, name, m, avoided, e) < 0)
				return -1;
	return 0;
}

static int cmp_gone(const void *x, const void *y)
{
	struct str a = *(const struct str *)x, b = *(const struct str *)y, name_a = a, name_b = b;
	(void)str_take_until(&a, '.', &name_a);
	(void)str_take_until(&b, '.', &name_b);
	int c = str_cmp(name_a, name_b);
	return c ? c : pkg_opam_version_cmp(b, a);
}

/* What is installed, though perhaps no repository has it any more: nothing is known of it then. */
static void find_gone(struct opam_all *d, const struct channel_needs_opts *o, struct feed *ret)
{
	struct str *v = arena_array(&d->base.arena, struct str, o->installed_n + 1), version, name;
	for (size_t i = 0; i < o->installed_n; i++) {
		version = o->installed[i];
		if (str_take_until(&version, '.', &name))
			v[ret->gone_n++] = arena_str(&d->base.arena, o->installed[i]);
	}
	qsort(v, ret->gone_n, sizeof(*v), cmp_gone);
	ret->gone = v;
	feed_look(ret);
}

static int add_all(struct opam_all *d, const struct channel_needs_opts *o, struct err *e)
{
	struct feed *feed = arena_array(&d->base.arena, struct feed, d->indexes + 1);
	struct merged_vec v = {0};
	int rc = 0;
	find_gone(d, o, &feed[d->indexes]);
	for (size_t i = 0; i < d->indexes; i++) {
		feed[i] = (struct feed){.ix = d->index[i], .names = opam_index_info(d->index[i]).names};
		feed_look(&feed[i]);
	}
	while (rc == 0) {
		struct str name = STR_NONE;
		size_t from = 0;
		for (size_t i = 0; i <= d->indexes; i++)
			if (feed[i].name.p && (!name.p || str_cmp(feed[i].name, name) < 0))
				name = feed[i].name;
		if (!name.p)
			break;
		vec_clear(&v);
		for (size_t i = 0; i <= d->indexes; i++)
			if (feed[i].name.p && str_eq(feed[i].name, name)) {
				feed_take(&feed[i], &v);
				from += feed[i].ix ? 1 : 2; /* these may come twice */
			}
		if (from > 1)
			merge(&v);
		rc = add_name(d, name, &v, e);
	}
	vec_release(&v);
	if (rc == 0)
		needs_index_sorted(&d->base);
	return rc;
}

int opam_needs_fill(struct channel_needs *n, const struct opam_index *const *v, size_t count,
		    const struct channel_needs_opts *o, struct err *e)
{
	struct opam_all *d = all_of(n);
	if (count > INDEXES_MAX)
		return err_new(e, ERR_LIMIT, "more than %d opam repositories", INDEXES_MAX);
	d->index = arena_copy(&n->arena, v, count, sizeof(*v));
	d->indexes = count;
	set_variables(d, o);
	note_all(d, o);
	return add_all(d, o, e);
}

/* A repository that has no index of its own: one is made that is only here. */
static int opam_needs_open(struct channel_needs *n, int folder_fd, const struct channel_walk_opts *from,
			   const struct channel_needs_opts *o, struct err *e)
{
	struct opam_all *d = all_of(n);
	struct opam_repo repo;
	(void)from;
	int rc = opam_repo_load(folder_fd, &n->arena, &repo, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_NOT_FOUND, "'index.tar.gz' is not there");
	for (size_t i = 0; i < repo.n; i++) {
		const struct opam_package *p = &repo.package[i];
		struct oif_input f = {.name = p->name, .version = p->version, .text = p->opam->text, .old = UINT32_MAX};
		struct str folder = str_head(p->folder, (size_t)str_rfind(p->folder, '/'));
		if (!d->inputs.folder.n || !str_eq(vec_last(&d->inputs.folder)->path, folder)) {
			uint32_t number = (uint32_t)d->inputs.folder.n;
			*vec_add(&d->inputs.folder) = (struct oif_input_folder){.path = folder, .parent = number};
		}
		f.folder = (uint32_t)d->inputs.folder.n - 1;
		vec_push(&d->inputs.file, f);
	}
	if (oif_make_memory(&d->inputs, &d->own, e) < 0)
		return -1;
	const struct opam_index *own = d->own;
	return opam_needs_fill(n, &own, 1, o, e);
}

/* `"ocaml" {>= "4.05"} | "ocaml-system"`, as a field depends or invariant has it. */
static int parse_formula(struct opam_all *d, struct arena *a, struct str text, const struct pkg_need **ret,
			 struct err *e)
{
	const struct pkg_opam_host host = {.variable = variable, .ctx = d};
	const struct pkg_opam_expr *x = NULL;
	struct pkg_opam_doc doc;
	bool listed = str_starts(str_trim(text), STR("["));
	const char *field = arena_printf(a, listed ? "depends: %.*s\n" : "depends: [%.*s]\n", STR_ARG(text));
	d->name = d->version = STR_NONE;
	if (pkg_opam_read(a, str_c(field), "formula", &doc, e) < 0 ||
	    pkg_opam_formula_of(a, &doc, pkg_opam_get(&doc, "depends"), false, &x, e) < 0 ||
	    pkg_opam_need_of(a, x, &host, ret, e) < 0)
		return -1;
	return *ret ? 0 : err_new(e, ERR_INPUT, "formula '%.*s' says nothing", STR_ARG(text));
}

static int parse(struct channel_needs *n, struct arena *a, struct str text, const struct pkg_need **ret, struct err *e)
{
	return text.n && memchr(text.p, '"', text.n) ? parse_formula(all_of(n), a, text, ret, e)
						     : pkg_opam_spec_parse(a, text, ret, e);
}

static size_t system_of(struct opam_all *d, const struct opam_record *r, struct arena *a, const struct str **ret)
{
	const struct pkg_opam_host host = {.variable = variable, .ctx = d, .self = r->name};
	*ret = NULL;
	if (!r->ix)
		return 0;
	d->name = r->name;
	d->version = r->version;
	struct pkg_opam_lines l = opam_index_depexts(r->ix, r->at, a);
	return pkg_opam_system(a, &l, &host, ret);
}

static void ask_system(struct opam_all *d, struct opam_record *r)
{
	auto_arena open = ARENA_INIT;
	const struct str *v;
	size_t n = system_of(d, r, &open, &v);
	for (size_t i = 0; i < n; i++) {
		enum channel_system_has has = d->ask_system(d->system_ctx, v[i]);
		r->is_lacking = r->is_lacking || has != CHANNEL_SYSTEM_INSTALLED;
		r->is_available = r->is_available && has != CHANNEL_SYSTEM_NOT_OFFERED;
	}
}

static void read_formulas(struct opam_all *d, struct opam_record *r)
{
	const struct pkg_opam_host host = {.variable = variable, .ctx = d, .self = r->name};
	struct arena *a = &d->base.arena;
	d->name = r->name;
	d->version = r->version;
	if (!r->ix) {
		r->is_available = true;
		return;
	}
	auto_arena open = ARENA_INIT;
	const struct str *pinned = said(d, &d->pinned, r->name);
	r->is_available = !opam_index_pkg(r->ix, r->at).broken && (!pinned || str_eq(*pinned, r->version)) &&
			  pkg_opam_holds(&open, opam_index_formula(r->ix, r->at, OI_AVAILABLE, &open), &host);
	struct err why = ERR_INIT;
	if (pkg_opam_need_of(a, opam_index_formula(r->ix, r->at, OI_DEPENDS, &open), &host, &r->depends, &why) < 0 ||
	    pkg_opam_need_of(a, opam_index_formula(r->ix, r->at, OI_CONFLICTS, &open), &host, &r->conflicts, &why) < 0)
		r->is_available = false;
	if (d->ask_system && r->is_available)
		ask_system(d, r);
}

static const struct opam_record *read_record(struct opam_all *d, uint32_t package)
{
	struct opam_record *r = record_of(&d->base, package);
	if (!r->is_parsed)
		read_formulas(d, r);
	r->is_parsed = true;
	return r;
}

/* -- telling -------------------------------------------------------------------------------------------------------- */

static int tell_classes(struct opam_all *d, uint32_t package, channel_need_fn *fn, void *ctx, struct err *e)
{
	const struct channel_candidate *c = &d->base.package.v[package].c;
	vec_foreach(mine, &d->class) {
		if (mine->package != package)
			continue;
		auto_arena a = ARENA_INIT;
		uint32_t *v = arena_array(&a, uint32_t, d->class.n + 1);
		struct channel_need ban = {.kind = CHANNEL_BAN, .one = {v, 0}};
		vec_foreach(x, &d->class)
			if (str_eq(x->name, mine->name) && d->base.package.v[x->package].c.first != c->first)
				v[ban.one.n++] = x->package;
		if (ban.one.n && fn(ctx, &ban, e) < 0)
			return -1;
	}
	return 0;
}

static int opam_tell(struct channel_needs *n, uint32_t package, channel_need_fn *fn, void *ctx, struct err *e)
{
	struct opam_all *d = all_of(n);
	const struct opam_record *r = read_record(d, package);
	if (!r->is_available && !n->package.v[package].c.installed) /* what is there may stay */
		return needs_tell_never(NULL, fn, ctx, e);
	return needs_tell(n, r->depends, CHANNEL_NEED, fn, ctx, e) < 0 ||
			       needs_tell_ban(n, r->conflicts, package, false, fn, ctx, e) < 0
		       ? -1
		       : tell_classes(d, package, fn, ctx, e);
}

static bool opam_is_available(struct channel_needs *n, uint32_t package)
{
	return read_record(all_of(n), package)->is_available;
}

static struct str opam_unavailable(struct channel_needs *n, uint32_t package, struct buf *b)
{
	struct opam_all *d = all_of(n);
	const struct opam_record *r = record_of(n, package);
	const struct str *pinned = said(d, &d->pinned, r->name);
	auto_arena a = ARENA_INIT;
	const struct pkg_opam_expr *x = r->ix ? opam_index_formula(r->ix, r->at, OI_AVAILABLE, &a) : NULL;
	if (x)
		pkg_opam_expr_format(x, b);
	return pinned && !str_eq(*pinned, r->version) ? *pinned : STR_NONE;
}

static bool opam_lacks_system(struct channel_needs *n, uint32_t package)
{
	struct opam_all *d = all_of(n);
	auto_arena a = ARENA_INIT;
	const struct str *v;
	if (d->ask_system)
		return read_record(d, package)->is_lacking;
	size_t names = d->asks_system ? system_of(d, record_of(n, package), &a, &v) : 0;
	for (size_t i = 0; i < names; i++)
		if (!map_get(&d->system, v[i]))
			return true;
	return false;
}

static int opam_messages(struct channel_needs *n, uint32_t package, struct arena *a, const struct str **ret,
			 size_t *ret_n, struct err *e)
{
	struct opam_all *d = all_of(n);
	const struct opam_record *r = record_of(n, package);
	const struct pkg_opam_host host = {.variable = variable, .ctx = d, .self = r->name};
	struct str text;
	if (!r->ix || !opam_index_pkg(r->ix, r->at).has_messages)
		return 0;
	const char *where = arena_strdup(a, n->package.v[package].c.key);
	struct pkg_opam_doc *doc = arena_new(a, struct pkg_opam_doc);
	struct pkg_opam opam;
	struct err why = ERR_INIT;
	if (opam_index_text(r->ix, r->at, a, &text, e) < 0 || pkg_opam_read(a, text, where, doc, e) < 0)
		return -1;
	if (pkg_opam_package(a, doc, &opam, &why) < 0)
		return 0; /* what cannot be read says nothing */
	struct str *v = arena_array(a, struct str, opam.messages.n + 1);
	d->name = r->name;
	d->version = r->version;
	for (size_t i = 0; i < opam.messages.n; i++) {
		const struct pkg_opam_line *l = &opam.messages.v[i];
		if (l->n && pkg_opam_holds(a, l->filter, &host) && pkg_opam_holds(a, l->arg->filter, &host))
			v[(*ret_n)++] = l->arg->text;
	}
	*ret = v;
	return 0;
}

size_t channel_needs_system(struct channel_needs *n, uint32_t package, struct arena *a, const struct str **ret)
{
	*ret = NULL;
	return n->ops == &opam_needs ? system_of(all_of(n), record_of(n, package), a, ret) : 0;
}

void channel_needs_system_changed(struct channel_needs *n)
{
	if (n->ops == &opam_needs)
		vec_foreach(r, &all_of(n)->record)
			r->is_parsed = r->is_lacking = false;
}

/* depends and depopts as they are now; what is too large says nothing. */
static void read_order(struct opam_all *d, struct arena *a, const struct opam_record *r, const struct pkg_need *ret[2])
{
	const struct pkg_opam_host host = {.variable = variable, .ctx = d, .self = r->name};
	ret[0] = ret[1] = NULL;
	d->name = r->name;
	d->version = r->version;
	if (!r->ix)
		return;
	struct err why = ERR_INIT;
	if (pkg_opam_need_of(a, opam_index_formula(r->ix, r->at, OI_DEPENDS, a), &host, &ret[0], &why) < 0)
		ret[0] = NULL;
	if (pkg_opam_need_of(a, opam_index_formula(r->ix, r->at, OI_DEPOPTS, a), &host, &ret[1], &why) < 0)
		ret[1] = NULL;
}

static int opam_order(struct channel_needs *n, uint32_t package, bool building, channel_need_fn *fn, void *ctx,
		      struct err *e)
{
	struct opam_all *d = all_of(n);
	auto_arena a = ARENA_INIT;
	const struct pkg_need *formula[2];
	d->ordering = true;
	d->building = building;
	read_order(d, &a, record_of(n, package), formula);
	d->ordering = false;
	return needs_tell_names(n, formula[0], fn, ctx, e) < 0 ? -1 : needs_tell_names(n, formula[1], fn, ctx, e);
}

/* -- mentions ------------------------------------------------------------------------------------------------------- */

struct mentioning {
	struct map names;
	channel_mention_fn *fn;
	void *ctx;
};

static void mention_range(const struct mentioning *m, size_t name, const struct pkg_range *r, unsigned depth)
{
	if (!r || depth > PKG_NEED_DEPTH_MAX)
		return;
	if (r->op < PKG_BOTH)
		m->fn(m->ctx, name, r->version);
	mention_range(m, name, r->left, depth + 1);
	mention_range(m, name, r->right, depth + 1);
}

static void mention(const struct mentioning *m, const struct pkg_need *formula)
{
	VEC(const struct pkg_need *) left = {0};
	if (formula)
		vec_push(&left, formula);
	while (left.n) {
		const struct pkg_need *f = vec_pop(&left);
		const uint64_t *place = f->op == PKG_NEED_NAME ? map_get(&m->names, f->name) : NULL;
		if (place)
			mention_range(m, *place - 1, f->range, 0);
		if (f->right)
			vec_push(&left, f->right);
		if (f->left)
			vec_push(&left, f->left);
	}
	vec_release(&left);
}

/* Whether it may speak of one of the names: most speak of none, and need not be read. `id`: those of its index. */
static bool has_name(const struct opam_record *r, const uint32_t *id, size_t n)
{
	const struct oif_package *p = r->ix ? oif_at(r->ix, OIF_PACKAGES, r->at.n, 1) : NULL;
	return p && (oif_code_names(oif_code(r->ix, p->formula[OI_DEPENDS]), id, n) ||
		     oif_code_names(oif_code(r->ix, p->formula[OI_DEPOPTS]), id, n) ||
		     oif_code_names(oif_code(r->ix, p->formula[OI_CONFLICTS]), id, n));
}

static int opam_mentions(struct channel_needs *n, const struct str *names, size_t names_n, channel_mention_fn *fn,
			 void *ctx, struct err *e)
{
	struct opam_all *d = all_of(n);
	struct mentioning m = {.names = MAP_INIT, .fn = fn, .ctx = ctx};
	auto_arena ids = ARENA_INIT;
	uint32_t *id = arena_array(&ids, uint32_t, names_n + 1);
	const struct opam_index *of = NULL;
	size_t id_n = 0;
	(void)e;
	for (size_t i = 0; i < names_n; i++)
		*map_put(&m.names, names[i]) = i + 1;
	for (uint32_t i = 0; i < n->package.n; i++) {
		auto_arena a = ARENA_INIT;
		const struct pkg_need *formula[2];
		const struct opam_record *r = record_of(n, i);
		if (r->ix && r->ix != of) {
			of = r->ix;
			id_n = oif_string_ids(of, &m.names, id, names_n);
		}
		if (!has_name(r, id, id_n))
			continue;
		read_order(d, &a, r, formula);
		mention(&m, formula[0]);
		mention(&m, formula[1]);
		mention(&m, read_record(d, i)->conflicts);
	}
	map_release(&m.names);
	return 0;
}

/* -- files ---------------------------------------------------------------------------------------------------------- */

static int opam_files(struct channel_needs *n, uint32_t package, channel_item_fn *fn, void *ctx, struct err *e)
{
	const struct opam_record *r = record_of(n, package);
	const struct opam_package p = {.name = r->name, .version = r->version};
	auto_map told = MAP_INIT;
	struct opam_file f;
	struct str text;
	if (!r->ix)
		return 0;
	const char *where = arena_strdup(&n->arena, n->package.v[package].c.key);
	if (opam_index_text(r->ix, r->at, &n->arena, &text, e) < 0 || opam_file_read(&n->arena, text, where, &f, e) < 0)
		return -1;
	for (size_t i = 0; i < f.sources; i++)
		if (opam_tell_source(&p, &f.source[i], false, &n->arena, &told, fn, ctx, e) < 0)
			return -1;
	return 0;
}

const struct opam_index *channel_needs_opam(const struct channel_needs *n, uint32_t package, struct oi_pkg *ret)
{
	const struct opam_record *r = n->ops == &opam_needs ? record_of(n, package) : NULL;
	if (!r || !r->ix)
		return NULL;
	*ret = r->at;
	return r->ix;
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
	opam_index_free(all_of(n)->own);
	oif_inputs_release(&all_of(n)->inputs);
	vec_release(&all_of(n)->record);
	vec_release(&all_of(n)->class);
	vec_release(&all_of(n)->variable);
	vec_release(&all_of(n)->said);
	map_release(&all_of(n)->asked);
	map_release(&all_of(n)->system);
	map_release(&all_of(n)->pinned);
	map_release(&all_of(n)->installed);
}

const struct needs_ops opam_needs = {
	.size = sizeof(struct opam_all),
	.cmp = pkg_opam_version_cmp,
	.open = opam_needs_open,
	.parse = parse,
	.tell = opam_tell,
	.files = opam_files,
	.is_available = opam_is_available,
	.unavailable = opam_unavailable,
	.lacks_system = opam_lacks_system,
	.messages = opam_messages,
	.order = opam_order,
	.mentions = opam_mentions,
	.host = host,
	.release = release,
};
