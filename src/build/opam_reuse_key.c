// SPDX-License-Identifier: Apache-2.0
/* Of what a built package is made, as a text whose digest is its key (build/opam_reuse_key.h). */
#include "build/opam_reuse_key.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "build/opam.h"

enum { KEY_TEXT_MAX = 16 << 20 };

/* == what is there ====================================================================================================== */

/* A package that another one can stand on. */
struct member {
	struct str name, version;
	const struct pkg_opam *opam;
	ptrdiff_t planned; /* of the run's packages; -1: it is installed */
};
struct look {
	struct opam_run *r;
	struct arena *a;
	struct env_opam_state state;
	bool ahead; /* before anything is done: what is planned counts as installed */
};

static int read_installed(struct look *l, struct str name, struct str version, struct member *ret)
{
	struct pkg_opam_doc *d = arena_new(l->a, struct pkg_opam_doc);
	struct pkg_opam *opam = arena_new(l->a, struct pkg_opam);
	struct err why = ERR_INIT;
	const char *nv = arena_printf(l->a, "%.*s.%.*s", STR_ARG(name), STR_ARG(version));
	if (env_opam_installed_file(l->r->o->sw, l->a, str_c(nv), d, &why) < 0)
		return 0;
	pkg_opam_package(l->a, d, opam, &why); /* a field that is wrong says nothing */
	*ret = (struct member){name, version, opam, -1};
	return 1;
}

/* 1; 0: it is not there. */
static int find_member(struct look *l, struct str name, struct member *ret)
{
	const struct build_opam_opts *o = l->r->o;
	for (size_t i = 0; i < o->n; i++)
		if (o->packages[i].install && str_eq(o->packages[i].name, name)) {
			*ret = (struct member){name, o->packages[i].version, o->packages[i].opam, (ptrdiff_t)i};
			if (l->ahead)
				return 1;
			struct str there = env_opam_version_in(&l->state.installed, name);
			return there.p && str_eq(there, ret->version);
		}
	struct str version = env_opam_version_in(&l->state.installed, name);
	for (size_t i = 0; i < o->n && l->ahead && version.p; i++)
		if (o->packages[i].remove && str_eq(o->packages[i].name, name))
			version = STR_NONE;
	return version.p ? read_installed(l, name, version, ret) : 0;
}

static bool content_of(struct look *l, const struct member *m, char out[65])
{
	if (l->ahead && m->planned >= 0) {
		memcpy(out, l->r->reuse.v[m->planned].content, 65);
		return out[0] != '\0';
	}
	return opam_content_installed(l->r, l->a, m->name, m->version, out);
}

/* == what a package stands on ============================================================================================= */

VEC_TYPE(member_vec, struct member);
struct closure {
	struct look *l;
	struct member_vec v;
	struct map names;
};

static void closure_release(struct closure *c)
{
	vec_release(&c->v);
	map_release(&c->names);
}
#define auto_closure cleanup_with(closure_release) struct closure

static void add_name(struct closure *c, struct str name)
{
	struct member m;
	if (name.n == 0 || map_get(&c->names, name))
		return;
	*map_put(&c->names, name) = 1;
	if (find_member(c->l, name, &m))
		vec_push(&c->v, m);
}

static void add_names(struct closure *c, const struct pkg_need *n, unsigned depth)
{
	if (!n || depth > PKG_NEED_DEPTH_MAX)
		return;
	if (n->op == PKG_NEED_NAME) {
		add_name(c, n->name);
		return;
	}
	add_names(c, n->left, depth + 1);
	add_names(c, n->right, depth + 1);
}

static void locals_of(const struct opam_run *r, bool requested, struct env_opam_local out[8])
{
	struct str yes = STR("true"), no = STR("false");
	out[0] = (struct env_opam_local){STR("with-test"), requested && r->o->with_test ? yes : no};
	out[1] = (struct env_opam_local){STR("with-doc"), requested && r->o->with_doc ? yes : no};
	out[2] = (struct env_opam_local){STR("with-dev-setup"), no};
	out[3] = (struct env_opam_local){STR("build"), yes};
	out[4] = (struct env_opam_local){STR("post"), no};
	out[5] = (struct env_opam_local){STR("dev"), no};
}

static void add_depends(struct closure *c, struct env_opam_vars *vars, const struct member *m, bool requested)
{
	struct env_opam_local local[8];
	struct err ignored =
		ERR_INIT; /* a formula of too many names: those that it has are looked at as far as they go */
	const struct pkg_opam_expr *const of[] = {m->opam->depends, m->opam->depopts};
	locals_of(c->l->r, requested, local);
	struct pkg_opam_host h = env_opam_host(vars, m->name, m->version, m->opam->file, local, 6);
	for (size_t i = 0; i < 2; i++) {
		const struct pkg_need *need = NULL;
		if (of[i] && pkg_opam_need_of(c->l->a, of[i], &h, &need, &ignored) == 0)
			add_names(c, need, 0);
	}
}

static int member_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

/* == the fields that build ================================================================================================ */

static const struct pkg_opam_item *building_fields(struct arena *a, const struct pkg_opam_doc *d)
{
	static const char *const others[] = {"synopsis",    "description",   "maintainer",     "author",
					     "authors",	    "license",	     "licence",	       "homepage",
					     "doc",	    "bug-reports",   "dev-repo",       "tags",
					     "messages",    "post-messages", "available",      "depends",
					     "depopts",	    "conflicts",     "conflict-class", "depexts",
					     "pin-depends", "url",	     "extra-source",   "extra-files",
					     "name",	    "version",	     "opam-version"};
	struct pkg_opam_items kept = {0};
	for (const struct pkg_opam_item *i = d->first; i; i = i->next) {
		bool is_other = str_starts(i->name, STR("x-"));
		for (size_t k = 0; k < sizeof(others) / sizeof(*others) && !is_other; k++)
			is_other = str_eq_c(i->name, others[k]);
		if (!is_other)
			pkg_opam_append(a, &kept, i);
	}
	return kept.first;
}

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
	       c == '+';
}

/* Every word of the text that could be a variable's name: those before a ':' are packages. Too many do no harm. */
static void add_mentioned(struct closure *c, struct map *variables, struct str text)
{
	for (size_t i = 0; i < text.n;) {
		size_t from = i;
		while (i < text.n && is_word_char(text.p[i]))
			i++;
		struct str word = str_of(text.p + from, i - from), part;
		if (word.n && i < text.n && text.p[i] == ':') {
			while (str_take_until(&word, '+', &part))
				add_name(c, part);
			add_name(c, word);
		} else if (word.n) {
			*map_put(variables, word) = 1;
		}
		i += i == from;
	}
}

static int slot_cmp(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void put_variables(const struct map *names, const struct pkg_opam_host *h, struct buf *b)
{
	VEC(struct str) v = {0};
	struct str value;
	for (struct map_slot *s = NULL; (s = map_next(names, s));)
		if (!str_eq_c(s->key, "jobs") && h->variable(h->ctx, s->key, &value))
			vec_push(&v, s->key);
	vec_sort(&v, slot_cmp);
	vec_foreach(name, &v)
		if (h->variable(h->ctx, *name, &value))
			buf_printf(b, "variable %.*s=%.*s\n", STR_ARG(*name), STR_ARG(value));
	vec_release(&v);
}

/* == sources and files beside the opam file =============================================================================== */

/* False: one of them has no checksum. */
static bool put_sources(const struct pkg_opam *o, struct buf *b)
{
	for (size_t i = 0; i < o->sources; i++) {
		const struct pkg_opam_source *s = &o->source[i];
		char path[192];
		if (s->checksums == 0)
			return false;
		/* what is no archive gets the URL's name */
		struct str name = str_skip(s->src, (size_t)(str_rfind(s->src, '/') + 1));
		opam_digest_path(opam_best_digest(s->checksum, s->checksums), path);
		buf_printf(b, "source %s %.*s %.*s %.*s\n", path, STR_ARG(s->file), STR_ARG(s->subpath), STR_ARG(name));
	}
	return true;
}

struct extra {
	struct buf *b;
	struct closure *c;
	struct map *variables;
	struct arena *a;
	int files;
	const struct pkg_opam *opam;
	size_t substituted;
};

static bool is_substituted(const struct pkg_opam *o, struct str path)
{
	for (size_t i = 0; i < o->substs.n; i++)
		if (o->substs.v[i].n && path.n > 3 && str_ends(path, STR(".in")) &&
		    str_eq(o->substs.v[i].arg[0].text, str_head(path, path.n - 3)))
			return true;
	return false;
}

static int put_extra(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	enum { EXTRA_MAX = 64 << 20 };
	struct extra *x = ctx;
	char hex[65];
	auto_buf text = BUF_INIT(EXTRA_MAX);
	(void)dirfd;
	(void)name;
	if (!S_ISREG(st->st_mode))
		return 0;
	if (fs_read(x->files, rel, &text, e) < 0)
		return -1;
	opam_reuse_hex(buf_str(&text), hex);
	buf_printf(x->b, "extra %s %d %s\n", hex, (st->st_mode & 0100) != 0, rel);
	if (is_substituted(x->opam, str_c(rel))) {
		x->substituted++;
		add_mentioned(x->c, x->variables, arena_str(x->a, buf_str(&text)));
	}
	return 0;
}

/* False: there is a file to be made whose text is not known. */
static bool put_extras(const struct build_opam_package *p, struct extra *x)
{
	struct err why = ERR_INIT;
	auto_fd files = p->files ? fs_open_dir(AT_FDCWD, p->files, &why) : -1;
	x->files = files;
	x->opam = p->opam;
	if (files >= 0 && fs_walk(files, ".", put_extra, x, &why) < 0)
		return false;
	return x->substituted == p->opam->substs.n;
}

/* == the key ============================================================================================================== */

static void put_outside(struct look *l, struct env_opam_vars *vars, const struct member *m, struct buf *b)
{
	struct pkg_opam_host h = env_opam_host(vars, m->name, m->version, m->opam->file, NULL, 0);
	opam_reuse_put_outside(l->r, l->a, m->name, m->opam, &h, b);
}

static bool put_member(struct look *l, struct env_opam_vars *vars, const struct member *m, struct buf *b)
{
	char content[65];
	if (!content_of(l, m, content))
		return false;
	buf_printf(b, "needs %.*s %.*s %s\n", STR_ARG(m->name), STR_ARG(m->version), content);
	for (size_t i = 0; i < m->opam->setenvs; i++)
		buf_printf(b, "sets %.*s %d %.*s\n", STR_ARG(m->opam->setenv[i].variable), (int)m->opam->setenv[i].op,
			   STR_ARG(m->opam->setenv[i].value));
	put_outside(l, vars, m, b);
	return true;
}

static bool put_closure(struct closure *c, struct env_opam_vars *vars, struct str self, struct buf *b)
{
	for (size_t i = 0; i < c->v.n; i++) { /* grows on the way */
		struct member m = c->v.v[i];
		if (!str_eq(m.name, self))
			add_depends(c, vars, &m, false);
	}
	vec_sort(&c->v, member_cmp);
	vec_foreach(m, &c->v)
		if (!str_eq(m->name, self) && !put_member(c->l, vars, m, b))
			return false;
	return true;
}

static void put_package(struct opam_run *r, const struct build_opam_package *p, struct arena *a, struct closure *c,
			struct map *variables, struct buf *b)
{
	auto_buf fields = BUF_INIT(KEY_TEXT_MAX);
	pkg_opam_print_normal(building_fields(a, p->opam->file), &fields);
	add_mentioned(c, variables, arena_str(a, buf_str(&fields)));
	buf_printf(b, "slipway-opam-built 1\npackage %.*s %.*s\nprefix %s\n", STR_ARG(p->name), STR_ARG(p->version),
		   r->prefix);
	buf_printf(b, "confined %d\ntests %d\ndoc %d\nfields %zu\n", r->confined, p->requested && r->o->with_test,
		   p->requested && r->o->with_doc, fields.n);
	buf_put_str(b, buf_str(&fields));
}

/* True: *b is the text of its key. False: it has none, or not yet. */
static bool make_key(struct look *l, size_t i, struct buf *b)
{
	struct opam_run *r = l->r;
	const struct build_opam_package *p = &r->o->packages[i];
	struct env_opam_local local[8];
	struct err why = ERR_INIT;
	auto_ptr(env_opam_vars) vars = NULL;
	auto_map variables = MAP_INIT;
	auto_closure c = {.l = l};
	if (env_opam_vars_new(r->o->root, r->o->sw, l->a, &vars, &why) < 0)
		return false;
	locals_of(r, p->requested, local);
	struct pkg_opam_host h = env_opam_host(vars, p->name, p->version, p->opam->file, local, 3);
	struct member self = {p->name, p->version, p->opam, (ptrdiff_t)i};
	struct extra x = {.b = b, .c = &c, .variables = &variables, .a = l->a};
	put_package(r, p, l->a, &c, &variables, b);
	if (!put_sources(p->opam, b) || !put_extras(p, &x))
		return false;
	put_variables(&variables, &h, b);
	opam_reuse_put_environment(r, l->a, b);
	opam_reuse_put_machine(r, l->a, b);
	opam_reuse_put_commands(r, l->a, &p->opam->build, &h, b);
	opam_reuse_put_commands(r, l->a, &p->opam->install, &h, b);
	put_outside(l, vars, &self, b);
	add_depends(&c, vars, &self, p->requested);
	return put_closure(&c, vars, p->name, b) && !b->overflow;
}

bool opam_reuse_is_empty(const struct build_opam_package *p)
{
	const struct pkg_opam *o = p->opam;
	return !(p->files && fs_exists(AT_FDCWD, p->files)) &&
	       o->build.n + o->install.n + o->sources + o->extra_files + o->substs.n + o->patches.n == 0;
}

bool opam_reuse_key(struct opam_run *r, size_t i, bool ahead, struct arena *a, char key[65], struct str *text)
{
	struct err why = ERR_INIT;
	struct look l = {.r = r, .a = a, .ahead = ahead};
	auto_buf b = BUF_INIT(KEY_TEXT_MAX);
	if (env_opam_state_read(r->o->sw, a, &l.state, &why) < 0 || !make_key(&l, i, &b))
		return false;
	opam_reuse_hex(buf_str(&b), key);
	*text = arena_str(a, buf_str(&b));
	return true;
}
