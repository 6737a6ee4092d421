// SPDX-License-Identifier: Apache-2.0
/* The fields of an opam file with their types (opam's manual, "opam"): a table of fields, each read by the reader of its type. */
#include <stdlib.h>

#include "base/vec.h"
#include "pkg/opam.h"

struct reading {
	struct arena *a;
	struct pkg_opam_doc *d;
	struct pkg_opam *to;
	const char *field; /* for messages */
};
typedef const struct pkg_opam_value value;
typedef void reader_fn(struct reading *r, value *v, void *to);
VEC_TYPE(str_vec, struct str);
VEC_TYPE(arg_vec, struct pkg_opam_arg);
VEC_TYPE(line_vec, struct pkg_opam_line);

static void bad(struct reading *r, uint32_t at, const char *why)
{
	opam_note(r->d, at, arena_printf(r->a, "field '%s': %s", r->field, why));
}

/* What a reader of formulas said, whose message begins with the place. */
static void bad_expr(struct reading *r, uint32_t at, const struct err *why)
{
	const char *text = strstr(why->msg, ": ");
	bad(r, at, text ? text + 2 : why->msg);
}

static bool is_text(struct reading *r, value *v)
{
	if (v->kind != PKG_OPAM_STRING)
		bad(r, v->from, "a string is missing");
	return v->kind == PKG_OPAM_STRING;
}

/* -- simple values -------------------------------------------------------------------------------------------------- */

static void read_string(struct reading *r, value *v, void *to)
{
	if (is_text(r, v))
		*(struct str *)to = v->text;
}

static void read_strings(struct reading *r, value *v, void *to)
{
	struct pkg_opam_strs *s = to;
	struct str_vec all = {0};
	for (v = pkg_opam_first(v); v; v = v->next)
		if (is_text(r, v))
			vec_push(&all, v->text);
	*s = (struct pkg_opam_strs){vec_copy(&all, r->a), all.n};
	vec_release(&all);
}

static void read_flag(struct reading *r, struct str flag)
{
	static const char *const names[] = {"light-uninstall", "verbose",   "plugin", "compiler", "conf",
					    "avoid-version",   "deprecated"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_eq_c(flag, names[i]))
			r->to->flags |= 1U << i;
}

static void read_flags(struct reading *r, value *v, void *to)
{
	(void)to;
	for (v = pkg_opam_first(v); v; v = v->next) {
		if (v->kind != PKG_OPAM_IDENT)
			bad(r, v->from, "a flag is missing");
		else
			read_flag(r, v->text);
	}
}

/* A tag "flags:FLAG" is a flag too. */
static void read_tags(struct reading *r, value *v, void *to)
{
	struct pkg_opam_strs *s = to;
	read_strings(r, v, to);
	for (size_t i = 0; i < s->n; i++) {
		struct str tag = s->v[i];
		if (str_take_str(&tag, STR("flags:")))
			read_flag(r, tag);
	}
}

/* -- filters and formulas ------------------------------------------------------------------------------------------- */

static void read_formula(struct reading *r, value *v, void *to)
{
	struct err why = ERR_INIT;
	const struct pkg_opam_doc at = {.text = r->d->text, .where = ""};
	bool any = !str_eq_c(str_c(r->field), "depends");
	if (pkg_opam_formula_of(r->a, &at, v, any, to, &why) < 0)
		bad_expr(r, v->from, &why);
}

static const struct pkg_opam_expr *read_filter(struct reading *r, value *v)
{
	struct err why = ERR_INIT;
	const struct pkg_opam_doc at = {.text = r->d->text, .where = ""};
	const struct pkg_opam_expr *x = NULL;
	if (v && pkg_opam_filter_of(r->a, &at, v, &x, &why) < 0)
		bad_expr(r, v->from, &why);
	return x;
}

static void read_available(struct reading *r, value *v, void *to)
{
	*(const struct pkg_opam_expr **)to = read_filter(r, v);
}

/* -- lines ---------------------------------------------------------------------------------------------------------- */

/* "x" {filter}: x, and what stands in the braces. */
static value *without_option(value *v, value **filter)
{
	*filter = v->kind == PKG_OPAM_OPTION ? v->first : NULL;
	return v->kind == PKG_OPAM_OPTION ? v->left : v;
}

/* How many lists lie in each other, by their first elements: the outer ones may be left out. */
static unsigned lists_of(value *v)
{
	value *filter;
	unsigned n = 0;
	for (v = without_option(v, &filter); v && v->kind == PKG_OPAM_LIST; n++)
		v = v->first ? without_option(v->first, &filter) : NULL;
	return n;
}

static bool read_arg(struct reading *r, value *v, struct arg_vec *to)
{
	value *filter, *x = without_option(v, &filter);
	if (x->kind != PKG_OPAM_STRING && x->kind != PKG_OPAM_IDENT) {
		bad(r, x->from, "a string or a variable is missing");
		return false;
	}
	vec_push(to, ((struct pkg_opam_arg){x->text, x->kind == PKG_OPAM_IDENT, read_filter(r, filter), x->from}));
	return true;
}

/* `args` and, where `more` says so, what stands beside it. */
static void add_line(struct reading *r, struct line_vec *lines, value *v, value *args, bool more, value *filter)
{
	struct arg_vec all = {0};
	bool good = true;
	for (; args && good; args = more ? args->next : NULL)
		good = read_arg(r, args, &all);
	if (good)
		vec_push(lines, ((struct pkg_opam_line){vec_copy(&all, r->a), all.n, read_filter(r, filter), v->from}));
	vec_release(&all);
}

/* [["TAG" …] ["PACKAGE" …]], as before opam 2: a tag is no filter that can be true. */
static bool add_old_line(struct reading *r, struct line_vec *lines, value *v)
{
	value *tags = v->kind == PKG_OPAM_LIST ? v->first : NULL, *names = tags ? tags->next : NULL;
	if (!names || names->next || tags->kind != PKG_OPAM_LIST || names->kind != PKG_OPAM_LIST || !tags->first)
		return false;
	add_line(r, lines, v, names->first, true, tags->first);
	return true;
}

static void end_lines(struct reading *r, struct line_vec *lines, void *to)
{
	*(struct pkg_opam_lines *)to = (struct pkg_opam_lines){vec_copy(lines, r->a), lines->n};
	vec_release(lines);
}

/* [["make" "x"] {filter} …], ["make" "x"], "make" */
static void read_commands(struct reading *r, value *v, void *to)
{
	struct line_vec lines = {0};
	unsigned depth = lists_of(v);
	bool old = depth == 3 && to == &r->to->depexts, many = (depth == 2 || old) && v->kind == PKG_OPAM_LIST;
	for (value *x = many ? v->first : v; x; x = many ? x->next : NULL) {
		value *filter, *args = without_option(x, &filter);
		if (old && add_old_line(r, &lines, x))
			continue;
		if (depth == 0)
			add_line(r, &lines, x, x, false, NULL);
		else if (args->kind == PKG_OPAM_LIST)
			add_line(r, &lines, x, args->first, true, filter);
		else
			add_line(r, &lines, x, args, false, filter);
	}
	end_lines(r, &lines, to);
}

/* "text" {filter} … */
static void read_args(struct reading *r, value *v, void *to)
{
	struct line_vec lines = {0};
	for (v = pkg_opam_first(v); v; v = v->next) {
		value *filter, *x = without_option(v, &filter);
		if (is_text(r, x))
			add_line(r, &lines, v, x, false, filter);
	}
	end_lines(r, &lines, to);
}

/* -- the rest ------------------------------------------------------------------------------------------------------- */

static bool read_binding(struct reading *r, value *v, struct pkg_opam_binding *to)
{
	static const char why[] = "'VARIABLE = \"value\"' is missing, or += =+ =+= := =:";
	bool equal = v->kind == PKG_OPAM_RELOP && v->op == PKG_OPAM_EQUAL;
	if ((v->kind != PKG_OPAM_BINDING && !equal) || v->left->kind != PKG_OPAM_IDENT ||
	    v->right->kind != PKG_OPAM_STRING) {
		bad(r, v->from, why);
		return false;
	}
	if (!pkg_opam_env_name_is_good(v->left->text)) {
		bad(r, v->from, "the name of a variable has letters, digits and '_'");
		return false;
	}
	*to = (struct pkg_opam_binding){v->left->text, v->right->text, equal ? PKG_OPAM_SET : (enum pkg_opam_op)v->op};
	return true;
}

static void read_bindings(struct reading *r, value *v, const struct pkg_opam_binding **ret, size_t *n)
{
	VEC(struct pkg_opam_binding) all = {0};
	struct pkg_opam_binding b;
	for (v = pkg_opam_first(v); v; v = v->next) {
		/* [[A = "1"] [B = "2"]] is written as well */
		value *x = v->kind == PKG_OPAM_LIST && v->first && !v->first->next ? v->first : v;
		if (read_binding(r, x, &b))
			vec_push(&all, b);
	}
	*ret = vec_copy(&all, r->a);
	*n = all.n;
	vec_release(&all);
}

static void read_setenv(struct reading *r, value *v, void *to)
{
	read_bindings(r, v, to, &r->to->setenvs);
}

static void read_build_env(struct reading *r, value *v, void *to)
{
	read_bindings(r, v, to, &r->to->build_envs);
}

bool pkg_opam_checksum_parse(struct str text, struct digest_value *ret)
{
	static const struct {
		const char *prefix;
		enum digest_kind kind;
	} kinds[] = {{"md5=", DIGEST_MD5}, {"sha256=", DIGEST_SHA256}, {"sha512=", DIGEST_SHA512},
		     {"", DIGEST_MD5},	   {"", DIGEST_SHA256},	       {"", DIGEST_SHA512}};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct str hex = text;
		if (str_take_str(&hex, str_c(kinds[i].prefix)) && digest_parse(kinds[i].kind, hex, ret))
			return true;
	}
	return false;
}

/* [["a" "b"] …] or ["a" "b"]: the next pair; false where there is none, or no pair. */
static bool take_pair(struct reading *r, value **v, struct str *first, struct str *second)
{
	value *x = *v;
	*v = NULL;
	if (!x)
		return false;
	value *a = x->kind == PKG_OPAM_LIST ? x->first : x;
	*v = x->kind == PKG_OPAM_LIST ? x->next : NULL;
	if (!a || !a->next || a->next->next || a->kind != PKG_OPAM_STRING || a->next->kind != PKG_OPAM_STRING) {
		bad(r, x->from, "a pair of strings is missing");
		return false;
	}
	*first = a->text;
	*second = a->next->text;
	return true;
}

static void read_extra_files(struct reading *r, value *v, void *to)
{
	VEC(struct pkg_opam_file) all = {0};
	struct str sum;
	for (v = pkg_opam_first(v); v;) {
		struct pkg_opam_file f;
		uint32_t at = v->from;
		if (!take_pair(r, &v, &f.path, &sum))
			continue;
		if (pkg_opam_checksum_parse(sum, &f.checksum))
			vec_push(&all, f);
		else
			bad(r, at, "a checksum is missing: md5=, sha256= or sha512=");
	}
	*(const struct pkg_opam_file **)to = vec_copy(&all, r->a);
	r->to->extra_files = all.n;
	vec_release(&all);
}

static void read_pins(struct reading *r, value *v, void *to)
{
	VEC(struct pkg_opam_pin) all = {0};
	for (v = pkg_opam_first(v); v;) {
		struct pkg_opam_pin p;
		uint32_t at = v->from;
		struct str package;
		if (!take_pair(r, &v, &package, &p.url))
			continue;
		p.version = package;
		if (str_take_until(&p.version, '.', &p.name) && pkg_opam_name_is_good(p.name) &&
		    pkg_opam_version_is_good(p.version))
			vec_push(&all, p);
		else
			bad(r, at, "'NAME.VERSION' is missing");
	}
	*(const struct pkg_opam_pin **)to = vec_copy(&all, r->a);
	r->to->pins = all.n;
	vec_release(&all);
}

/* -- sources -------------------------------------------------------------------------------------------------------- */

static void read_checksums(struct reading *r, value *v, struct pkg_opam_source *s)
{
	VEC(struct digest_value) all = {0};
	struct digest_value d;
	for (v = pkg_opam_first(v); v; v = v->next) {
		if (v->kind == PKG_OPAM_STRING && pkg_opam_checksum_parse(v->text, &d))
			vec_push(&all, d);
		else
			bad(r, v->from, "a checksum is missing: md5=, sha256= or sha512=");
	}
	s->checksum = vec_copy(&all, r->a);
	s->checksums = all.n;
	vec_release(&all);
}

/* The word in which a source's address is told, beside "src", tells the protocol; "archive" and "http" do as well as "src". */
static void read_source(struct reading *r, const struct pkg_opam_item *section, struct pkg_opam_source *s)
{
	static const char *const words[] = {"src", "archive", "http", "git", "darcs", "hg", "local"};
	for (const struct pkg_opam_item *i = section->first; i; i = i->next) {
		if (i->is_section)
			continue;
		r->field = arena_strdup(r->a, i->name);
		if (str_eq(i->name, STR("checksum")))
			read_checksums(r, i->value, s);
		else if (str_eq(i->name, STR("mirrors")))
			read_strings(r, i->value, &s->mirrors);
		else if (str_eq(i->name, STR("subpath")))
			read_string(r, i->value, &s->subpath);
		for (size_t k = 0; k < sizeof(words) / sizeof(*words); k++)
			if (str_eq_c(i->name, words[k]) && !s->src.p)
				read_string(r, i->value, &s->src);
	}
}

static void read_sources(struct reading *r)
{
	static const char *const kinds[] = {"url", "extra-source"};
	VEC(struct pkg_opam_source) all = {0};
	for (size_t k = 0; k < 2; k++) {
		const struct pkg_opam_item *i = NULL;
		while ((i = pkg_opam_section(r->d, kinds[k], i))) {
			struct pkg_opam_source s = {.file = i->title};
			r->field = kinds[k];
			if ((k == 0) != !i->title.p || (k == 0 && all.n > 0)) {
				opam_note(r->d, i->from,
					  k == 0 ? "a section 'url' has no title, and there is one"
						 : "an 'extra-source' is named: extra-source \"FILE\"");
				continue;
			}
			read_source(r, i, &s);
			vec_push(&all, s);
		}
	}
	value *sub = pkg_opam_get(r->d, "x-subpath");
	if (sub && all.n && !all.v[0].file.p && !all.v[0].subpath.p)
		all.v[0].subpath = pkg_opam_text(sub);
	r->to->source = vec_copy(&all, r->a);
	r->to->sources = all.n;
	vec_release(&all);
}

/* -- the whole ------------------------------------------------------------------------------------------------------ */

#define IN(member) offsetof(struct pkg_opam, member)
static const struct field {
	const char *name;
	reader_fn *read; /* NULL: it may be there, and is not read */
	size_t at;
} fields[] = {
	/* by name */
	{"author", read_strings, IN(authors)},
	{"authors", read_strings, IN(authors)},
	{"available", read_available, IN(available)},
	{"bug-reports", read_strings, IN(bug_reports)},
	{"build", read_commands, IN(build)},
	{"build-doc", NULL, 0},
	{"build-env", read_build_env, IN(build_env)},
	{"build-test", NULL, 0},
	{"conflict-class", read_strings, IN(conflict_class)},
	{"conflicts", read_formula, IN(conflicts)},
	{"depends", read_formula, IN(depends)},
	{"depexts", read_commands, IN(depexts)},
	{"depopts", read_formula, IN(depopts)},
	{"descr", NULL, 0},
	{"description", read_string, IN(description)},
	{"dev-repo", read_string, IN(dev_repo)},
	{"doc", read_strings, IN(doc_urls)},
	{"extra-files", read_extra_files, IN(extra_file)},
	{"features", NULL, 0},
	{"flags", read_flags, 0},
	{"homepage", read_strings, IN(homepage)},
	{"install", read_commands, IN(install)},
	{"libraries", NULL, 0},
	{"license", read_strings, IN(license)},
	{"maintainer", read_strings, IN(maintainer)},
	{"messages", read_args, IN(messages)},
	{"name", read_string, IN(name)},
	{"ocaml-version", NULL, 0},
	{"opam-version", read_string, IN(opam_version)},
	{"os", NULL, 0},
	{"patches", read_args, IN(patches)},
	{"pin-depends", read_pins, IN(pin)},
	{"post-messages", read_args, IN(post_messages)},
	{"remove", read_commands, IN(remove)},
	{"run-test", read_commands, IN(run_test)},
	{"setenv", read_setenv, IN(setenv)},
	{"substs", read_args, IN(substs)},
	{"synopsis", read_string, IN(synopsis)},
	{"syntax", NULL, 0},
	{"tags", read_tags, IN(tags)},
	{"version", read_string, IN(version)},
};
enum { FIELDS = sizeof(fields) / sizeof(*fields) };

static int field_cmp(const void *key, const void *field)
{
	return str_cmp(*(const struct str *)key, str_c(((const struct field *)field)->name));
}

static void read_item(struct reading *r, const struct pkg_opam_item *i, bool seen[FIELDS])
{
	const struct field *f = bsearch(&i->name, fields, FIELDS, sizeof(*fields), field_cmp);
	if (i->is_section) {
		if (!str_eq(i->name, STR("url")) && !str_eq(i->name, STR("extra-source")) &&
		    !str_starts(i->name, STR("x-")))
			opam_note(r->d, i->from, "no such section in an opam file");
		return;
	}
	if (!f) {
		if (!str_starts(i->name, STR("x-")))
			opam_note(r->d, i->from, "no such field in an opam file; own ones begin with 'x-'");
		return;
	}
	r->field = f->name;
	if (seen[f - fields])
		bad(r, i->from, "it is there twice");
	else if (f->read)
		f->read(r, i->value, (char *)r->to + f->at);
	seen[f - fields] = true;
}

int pkg_opam_package(struct arena *a, struct pkg_opam_doc *d, struct pkg_opam *ret, struct err *e)
{
	struct reading r = {.a = a, .d = d, .to = ret};
	bool seen[FIELDS] = {0};
	*ret = (struct pkg_opam){.file = d};
	for (const struct pkg_opam_item *i = d->first; i; i = i->next)
		read_item(&r, i, seen);
	read_sources(&r);
	if (!ret->opam_version.p)
		opam_note(d, 0, "the field 'opam-version' is missing");
	return d->faults ? pkg_opam_fault(d, d->fault[0].at, d->fault[0].why, e) : 0;
}
