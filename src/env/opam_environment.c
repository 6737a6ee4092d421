// SPDX-License-Identifier: Apache-2.0
/*
 * What a switch says in the environment of a shell. Each update is a variable, an operator and a value; a variable is a list of parts with ':'
 * between them, and a place in it where "=+=" puts its own:
 *
 *	=    this alone        +=  before all        =+  behind all        =+=  where the earlier update stood
 *	:=   before all, and where that was nothing, with an empty part behind it (which stands for a program's own)
 *	=:   behind all, in the same way
 *
 * An update of an earlier switch is taken back first, so that variables do not grow.
 */
#include <fcntl.h>

#include "base/vec.h"
#include "env/opam.h"

enum { UPDATES_MAX = 100000 };

static const struct {
	const char *text;
	enum pkg_opam_op op;
} ops[] = {{"=", PKG_OPAM_SET},	      {"+=", PKG_OPAM_PREPEND},	      {"=+", PKG_OPAM_APPEND},
	   {"=+=", PKG_OPAM_REPLACE}, {":=", PKG_OPAM_PREPEND_COLON}, {"=:", PKG_OPAM_APPEND_COLON}};
enum { OPS = sizeof(ops) / sizeof(*ops) };

/* -- the file ----------------------------------------------------------------------------------------------------------- */

/* Words between blanks; a backslash keeps the byte behind it, whichever it is; '@' alone is the empty word. False at the end of a line. */
static bool take_word(struct arena *a, struct str *text, struct str *ret)
{
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	bool escaped = false;
	while (str_take_char(text, ' ') || str_take_char(text, '\t'))
		;
	if (!text->n || text->p[0] == '\n' || str_starts(*text, STR("\r\n")))
		return false;
	while (text->n && !strchr(" \t\n", text->p[0] ? text->p[0] : 'x') && !str_starts(*text, STR("\r\n"))) {
		if (text->p[0] == '\\' && text->n > 1) {
			*text = str_skip(*text, 1);
			escaped = true;
		}
		buf_put_char(&b, text->p[0]);
		*text = str_skip(*text, 1);
	}
	*ret = !escaped && str_eq_c(buf_str(&b), "@") ? STR("") : arena_str(a, buf_str(&b));
	return true;
}

static void put_word(struct buf *b, struct str s)
{
	if (!s.n || str_eq_c(s, "@"))
		buf_put_c(b, s.n ? "\\@" : "@");
	else
		for (size_t i = 0; i < s.n; i++) {
			if (strchr("\\ \t\r\n", s.p[i]) && s.p[i])
				buf_put_char(b, '\\');
			buf_put_char(b, s.p[i]);
		}
}

int env_opam_updates_parse(struct arena *a, struct str text, const char *where, struct env_opam_update **ret,
			   size_t *ret_n, struct err *e)
{
	VEC(struct env_opam_update) list = {0};
	struct str op, more;
	int rc = 0;
	for (size_t number = 1; rc == 0 && text.n; number++) {
		struct env_opam_update u = {0};
		size_t i = 0;
		bool any = take_word(a, &text, &u.variable);
		bool whole = any && take_word(a, &text, &op) && take_word(a, &text, &u.value);
		if (whole && take_word(a, &text, &u.why))
			while (take_word(a, &text, &more)) /* opam passes it over, too */
				;
		while (whole && i < OPS && !str_eq_c(op, ops[i].text))
			i++;
		if (any && (!whole || i == OPS || list.n >= UPDATES_MAX))
			rc = err_new(e, ERR_INPUT, "%s:%zu: expected a variable, an operator and a value", where,
				     number);
		else if (any)
			u.op = ops[i].op;
		if (any && rc == 0)
			vec_push(&list, u);
		(void)str_take_char(&text, '\r');
		(void)str_take_char(&text, '\n');
	}
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	return rc;
}

void env_opam_updates_print(const struct env_opam_update *v, size_t n, struct buf *b)
{
	for (size_t i = 0; i < n; i++) {
		size_t op = 0;
		while (op < OPS - 1 && ops[op].op != v[i].op)
			op++;
		put_word(b, v[i].variable);
		buf_printf(b, "\t%s\t", ops[op].text);
		put_word(b, v[i].value);
		if (v[i].why.n) {
			buf_put_char(b, '\t');
			put_word(b, v[i].why);
		}
		buf_put_char(b, '\n');
	}
}

int env_opam_updates_read(struct env_opam_switch *s, struct arena *a, struct env_opam_update **ret, size_t *ret_n,
			  struct err *e)
{
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	if (fs_read(s->meta_fd, "environment", &b, e) < 0)
		return -1;
	return env_opam_updates_parse(a, arena_str(a, buf_str(&b)),
				      arena_printf(a, "%s/" OPAM_META "/environment", s->prefix), ret, ret_n, e);
}

/* -- from the state ------------------------------------------------------------------------------------------------------ */

VEC_TYPE(update_list, struct env_opam_update);

/* "A = x" reads as a comparison; the other operators are there for variables alone. */
static void add_binding(struct arena *a, struct update_list *out, const struct pkg_opam_value *v,
			const struct pkg_opam_host *h, struct str why)
{
	bool equal = v->kind == PKG_OPAM_RELOP && v->op == PKG_OPAM_EQUAL;
	struct str name = v->kind == PKG_OPAM_BINDING || equal ? pkg_opam_text(v->left) : STR_NONE;
	if (pkg_opam_env_name_is_good(name)) /* shells would run others */
		*vec_add(out) = (struct env_opam_update){.variable = name,
							 .op = equal ? PKG_OPAM_SET : v->op,
							 .value = pkg_opam_expand(a, pkg_opam_text(v->right), h),
							 .why = why};
}

/* setenv: one binding, or a list of them, or of lists of one. */
static void add_bindings(struct arena *a, struct update_list *out, const struct pkg_opam_value *v,
			 const struct pkg_opam_host *h, struct str why)
{
	for (const struct pkg_opam_value *x = pkg_opam_first(v); x; x = x->next)
		add_binding(a, out, x->kind == PKG_OPAM_LIST && x->first ? x->first : x, h, why);
}

static int add_package(struct env_opam_switch *s, struct arena *a, struct env_opam_vars *vars, struct str nv,
		       struct update_list *out, struct err *e)
{
	struct pkg_opam_doc *d = arena_new(a, struct pkg_opam_doc);
	struct str name, version;
	struct err mine = ERR_INIT;
	if (!env_opam_split(nv, &name, &version))
		return 0;
	if (env_opam_installed_file(s, a, nv, d, &mine) < 0) {
		if (mine.code == ERR_NOT_FOUND)
			return 0; /* a switch that was taken over without it: it says nothing */
		*e = mine;
		return -1;
	}
	const struct pkg_opam_value *v = pkg_opam_get(d, "setenv");
	if (!v)
		return 0;
	struct pkg_opam_host h = env_opam_host(vars, name, version, d, NULL, 0);
	add_bindings(a, out, v, &h, str_c(arena_printf(a, "Updated by package %.*s", STR_ARG(name))));
	return 0;
}

int env_opam_updates_compute(struct env_opam_switch *s, struct arena *a, struct env_opam_update **ret, size_t *ret_n,
			     struct err *e)
{
	auto_ptr(env_opam_vars) vars = NULL;
	struct update_list out = {0};
	struct env_opam_state st;
	struct pkg_opam_doc config;
	struct str prefix = str_c(s->prefix);
	if (env_opam_state_read(s, a, &st, e) < 0 || env_opam_switch_config(s, a, &config, e) < 0 ||
	    env_opam_vars_new(s->root, s, a, &vars, e) < 0)
		return -1;
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	*vec_add(&out) = (struct env_opam_update){STR("OPAM_SWITCH_PREFIX"), prefix,
						  STR("Prefix of the current opam switch"), PKG_OPAM_SET};
	add_bindings(a, &out, pkg_opam_get(&config, "setenv"), &h, STR_NONE);
	int rc = 0;
	for (size_t i = st.installed.n; i > 0 && rc == 0; i--) /* the last one first, as opam has them */
		rc = add_package(s, a, vars, st.installed.v[i - 1], &out, e);
	*vec_add(&out) = (struct env_opam_update){STR("MANPATH"), opam_dir_path(a, &config, prefix, "man"),
						  STR("Current opam switch man dir"), PKG_OPAM_APPEND_COLON};
	*vec_add(&out) = (struct env_opam_update){STR("PATH"), opam_dir_path(a, &config, prefix, "bin"),
						  str_c(arena_printf(a, "Binary dir for opam switch %s", s->name)),
						  PKG_OPAM_REPLACE};
	*ret = vec_copy(&out, a);
	*ret_n = out.n;
	vec_release(&out);
	return rc;
}

/* -- values over an environment -------------------------------------------------------------------------------------------- */

struct parts {
	const struct str *v;
	size_t n, at; /* at: where "=+=" puts its own */
};

static struct parts split(struct arena *a, struct str s)
{
	VEC(struct str) list = {0};
	struct str part;
	while (str_take_until(&s, ':', &part))
		vec_push(&list, part);
	vec_push(&list, s);
	struct parts ret = {vec_copy(&list, a), list.n, 0};
	vec_release(&list);
	return ret;
}

static struct str join(struct arena *a, const struct parts *p)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < p->n; i++) {
		buf_put_c(&b, i ? ":" : "");
		buf_put_str(&b, p->v[i]);
	}
	return arena_str(a, buf_str(&b));
}

/* p without its parts from `out` on, `gone` of them, and with `put` there (p NULL: none). */
static struct parts spliced(struct arena *a, const struct parts *p, size_t out, size_t gone, const struct str *put,
			    size_t put_n, size_t at)
{
	struct str *v = arena_array(a, struct str, p->n - gone + put_n);
	size_t n = 0;
	for (size_t i = 0; i < out; i++)
		v[n++] = p->v[i];
	for (size_t i = 0; i < put_n; i++)
		v[n++] = put[i];
	for (size_t i = out + gone; i < p->n; i++)
		v[n++] = p->v[i];
	return (struct parts){v, n, at};
}

static bool is_nothing(const struct parts *p)
{
	return p->n == 0 || (p->n == 1 && p->v[0].n == 0);
}

static struct parts applied(struct arena *a, enum pkg_opam_op op, struct str arg, const struct parts *p)
{
	const struct parts none = {NULL, 0, 0};
	const struct str before[] = {STR(""), arg}, behind[] = {arg, STR("")};
	bool first_empty = p->n && !p->v[0].n, last_empty = p->n && !p->v[p->n - 1].n;
	if (op == PKG_OPAM_PREPEND)
		return spliced(a, p, 0, 0, &arg, 1, 0);
	if (op == PKG_OPAM_APPEND)
		return spliced(a, p, p->n, 0, &arg, 1, p->n);
	if (op == PKG_OPAM_REPLACE)
		return spliced(a, p, p->at, 0, &arg, 1, p->at);
	if (op == PKG_OPAM_PREPEND_COLON)
		return is_nothing(p) ? spliced(a, &none, 0, 0, behind, 2, 0)
		       : first_empty ? spliced(a, p, 0, 1, before, 2, 0)
				     : spliced(a, p, 0, 0, &arg, 1, 0);
	if (op != PKG_OPAM_APPEND_COLON)
		return spliced(a, &none, 0, 0, &arg, 1, 0);
	if (is_nothing(p))
		return spliced(a, &none, 0, 0, before, 2, 0);
	if (!last_empty)
		return spliced(a, p, p->n, 0, &arg, 1, p->n);
	struct parts moved = spliced(a, p, p->n - 1, 1, NULL, 0, 0); /* the empty part goes to the front */
	moved = spliced(a, &moved, 0, 0, before, 1, 0);
	return spliced(a, &moved, moved.n, 0, &arg, 1, moved.n);
}

/* Where the parts of an argument stand in p: the first place, or the last. */
static bool find(const struct parts *p, const struct parts *arg, bool last, size_t *ret)
{
	bool found = false;
	for (size_t i = 0; i + arg->n <= p->n && !(found && !last); i++) {
		size_t k = 0;
		while (k < arg->n && str_eq(p->v[i + k], arg->v[k]))
			k++;
		if (k == arg->n) {
			*ret = i;
			found = true;
		}
	}
	return found;
}

/* p as it was before the update; false: the update is not in it. */
static bool taken_back(struct arena *a, enum pkg_opam_op op, struct str arg, const struct parts *p, struct parts *ret)
{
	struct parts what = split(a, arg);
	size_t at = 0;
	*ret = (struct parts){NULL, 0, 0};
	if (op == PKG_OPAM_SET)
		return str_eq(arg, join(a, p));
	bool behind = op == PKG_OPAM_APPEND || op == PKG_OPAM_APPEND_COLON;
	if (!arg.n || !find(p, &what, behind, &at))
		return false;
	*ret = spliced(a, p, at, what.n, NULL, 0, at);
	if ((op == PKG_OPAM_APPEND_COLON || op == PKG_OPAM_PREPEND_COLON) && is_nothing(ret))
		*ret = (struct parts){NULL, 0, 0};
	return true;
}

struct value {
	struct str name;
	struct parts parts;
	bool gone; /* another took its place */
};
VEC_TYPE(values, struct value);

static struct value *value_of(struct values *l, struct str name)
{
	for (size_t i = l->n; i > 0; i--)
		if (!l->v[i - 1].gone && str_eq(l->v[i - 1].name, name))
			return &l->v[i - 1];
	return NULL;
}

static struct parts now(struct arena *a, struct str name, char *(*get)(const char *name))
{
	const char *z = get(arena_strdup(a, name));
	return z ? split(a, arena_str(a, str_c(z))) : (struct parts){NULL, 0, 0};
}

static void take_back_all(struct arena *a, const struct env_opam_update *undo, size_t n, char *(*get)(const char *name),
			  struct values *back)
{
	for (size_t i = n; i > 0; i--) {
		const struct env_opam_update *u = &undo[i - 1];
		if (!pkg_opam_env_name_is_good(u->variable))
			continue;
		struct value *had = value_of(back, u->variable);
		struct parts p = had ? had->parts : now(a, u->variable, get), q;
		if (!taken_back(a, u->op, u->value, &p, &q))
			continue;
		if (had)
			had->parts = q;
		else
			vec_push(back, ((struct value){u->variable, q, false}));
	}
}

void env_opam_updates_expand(struct arena *a, const struct env_opam_update *v, size_t n,
			     const struct env_opam_update *undo, size_t undo_n, char *(*get)(const char *name),
			     struct env_variable **ret, size_t *ret_n)
{
	struct values back = {0}, out = {0};
	take_back_all(a, undo, undo_n, get, &back);
	for (size_t i = 0; i < n; i++) {
		if (!pkg_opam_env_name_is_good(v[i].variable)) /* a switch that opam wrote may have such */
			continue;
		struct value *had = value_of(&out, v[i].variable), *before = value_of(&back, v[i].variable);
		struct parts p = had ? had->parts : before ? before->parts : now(a, v[i].variable, get);
		if (before)
			before->gone = true;
		if (!v[i].value.n && v[i].op != PKG_OPAM_SET)
			continue;
		if (had)
			had->gone = true; /* it is shown where it was last changed */
		vec_push(&out, ((struct value){v[i].variable, applied(a, v[i].op, v[i].value, &p), false}));
	}
	struct env_variable *list = arena_array(a, struct env_variable, back.n + out.n);
	size_t k = 0;
	vec_foreach(x, &back)
		if (!x->gone)
			list[k++] = (struct env_variable){x->name, join(a, &x->parts)};
	vec_foreach(x, &out)
		if (!x->gone)
			list[k++] = (struct env_variable){x->name, join(a, &x->parts)};
	*ret = list;
	*ret_n = k;
	vec_release(&back);
	vec_release(&out);
}

bool env_opam_updates_hold(struct arena *a, const struct env_opam_update *v, size_t n, char *(*get)(const char *name))
{
	for (size_t i = 0; i < n; i++) {
		bool holds = false; /* one update of the variable that is there will do: others may lie under it */
		for (size_t j = i; j < n && !holds; j++) {
			struct parts p, q;
			if (!str_eq(v[i].variable, v[j].variable) || !get(arena_strdup(a, v[j].variable)))
				continue;
			p = now(a, v[j].variable, get);
			holds = taken_back(a, v[j].op, v[j].value, &p, &q);
		}
		if (!holds)
			return false;
	}
	return true;
}
