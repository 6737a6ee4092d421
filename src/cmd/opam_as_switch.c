// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: `opam switch`, `opam pin` and `opam unpin`. */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "cmd/opam_as.h"

/* -- switch ------------------------------------------------------------------------------------------------------------------- */

struct switch_args {
	const char *packages, *repos, *description, *formula;
	bool shorter, empty, no_switch, no_install, all;
};

static int list_row(struct opam_as *x, struct opam_as_table *t, struct str name, const char *current, struct err *e)
{
	auto_ptr(env_opam_switch) s = NULL;
	struct env_opam_state st;
	struct pkg_opam_doc d;
	auto_buf compiler = BUF_INIT(65536);
	const char *z = arena_strdup(&x->c->arena, name);
	bool is_current = current && strcmp(current, z) == 0;
	if (env_opam_switch_open(x->o, z, &s, e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : -1;
	if (env_opam_state_read(s, &x->c->arena, &st, e) < 0 || env_opam_switch_config(s, &x->c->arena, &d, e) < 0)
		return -1;
	for (size_t i = 0; i < st.compiler.n; i++)
		buf_printf(&compiler, "%s%.*s", i ? "," : "", STR_ARG(st.compiler.v[i]));
	opam_as_cell(t, "%s", !is_current ? "" : opam_as_utf8() ? "→" : "->");
	opam_as_cell(t, "%s", z);
	opam_as_cell(t, "%s", compiler.p);
	opam_as_cell(t, "%.*s", STR_ARG(pkg_opam_text(pkg_opam_get(&d, "synopsis"))));
	return 0;
}

static int name_cmp(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int list_switches(struct opam_as *x, const struct switch_args *a)
{
	struct opam_as_table t = {.columns = 4, .sep = "  "};
	struct env_opam_config c;
	struct err e = ERR_INIT;
	const char *current = opam_as_switch_name(x);
	int code = opam_as_root(x);
	if (code != OPAM_OK)
		return code;
	if (env_opam_config_read(x->o, &x->c->arena, &c, &e) < 0)
		return opam_as_fail(x, &e);
	struct str *names = arena_copy(&x->c->arena, c.switches.v, c.switches.n, sizeof(*names));
	if (c.switches.n > 1)
		qsort(names, c.switches.n, sizeof(*names), name_cmp);
	for (size_t i = 0; a->shorter && i < c.switches.n; i++)
		opam_as_put(x, "%.*s\n", STR_ARG(names[i]));
	if (a->shorter)
		return OPAM_OK;
	opam_as_cell(&t, "#");
	opam_as_cell(&t, "switch");
	opam_as_cell(&t, "compiler");
	opam_as_cell(&t, "description");
	for (size_t i = 0; i < c.switches.n; i++)
		if (list_row(x, &t, names[i], current, &e) < 0)
			return opam_as_fail(x, &e);
	opam_as_table(x, &t);
	if (current && env_opam_switch_open(x->o, current, &x->s, &e) == 0 && !opam_as_is_in_sync(x) &&
	    !opam_as_no_notice()) {
		opam_as_put(x, "\n");
		opam_as_note(x, "WARNING",
			     "The environment is not in sync with the current switch.\nYou should run: eval $(%s env)",
			     opam_as_called(x));
	}
	return OPAM_OK;
}

static int set_switch(struct opam_as *x, const char *name)
{
	struct env_opam_config c;
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(65536);
	bool there = false;
	int code = opam_as_hold(x, ENV_OPAM_CONFIG);
	if (code != OPAM_OK)
		return code;
	if (env_opam_config_read(x->o, &x->c->arena, &c, &e) < 0)
		return opam_as_fail(x, &e);
	for (size_t i = 0; i < c.switches.n; i++) {
		there |= str_eq_c(c.switches.v[i], name);
		buf_printf(&b, "  - %.*s\n", STR_ARG(c.switches.v[i]));
	}
	if (!there)
		return opam_as_say(
			x, OPAM_NOT_FOUND,
			"No switch %s is currently installed. Did you mean 'opam switch create %s'?\nInstalled switches "
			"are:\n%s",
			name, name, b.p);
	if (env_opam_set(x->o, NULL, "switch", pkg_opam_make(&x->c->arena, PKG_OPAM_STRING, str_c(name)), &e) < 0)
		return opam_as_fail(x, &e);
	opam_as_tell_eval(x, name);
	return OPAM_OK;
}

static int create(struct opam_as *x, const struct switch_args *a, const struct cmd_list *w)
{
	struct env_opam_config c;
	struct err e = ERR_INIT;
	const char *name = w->v[1];
	int code = opam_as_hold(x, ENV_OPAM_CONFIG);
	if (code != OPAM_OK)
		return code;
	if (!a->empty || w->n > 2 || a->packages || a->formula)
		return opam_as_say(
			x, OPAM_USAGE,
			"only empty switches are made: '%s switch create %s --empty', then '%s install' what it is to have",
			opam_as_called(x), name, opam_as_called(x));
	if (env_opam_config_read(x->o, &x->c->arena, &c, &e) < 0)
		return opam_as_fail(x, &e);
	for (size_t i = 0; i < c.switches.n; i++)
		if (str_eq_c(c.switches.v[i], name))
			return opam_as_say(x, OPAM_USAGE, "There already is an installed switch named %s", name);
	const char *asked = x->sw;
	x->sw = NULL;
	const char *before = opam_as_switch_name(x);
	x->sw = asked;
	if (env_opam_switch_create(x->o, name, !a->no_switch, &e) < 0)
		return e.code == ERR_EXISTS ? opam_as_say(x, OPAM_USAGE, "%s", e.msg) : opam_as_fail(x, &e);
	if ((!before || strcmp(before, name) != 0) && !opam_as_no_notice())
		opam_as_put(x, "# Run eval $(%s env --switch=%s) to update the current shell environment\n",
			    opam_as_called(x), name);
	return OPAM_OK;
}

static int remove_switch(struct opam_as *x, const char *name)
{
	struct err e = ERR_INIT;
	int code = opam_as_hold(x, ENV_OPAM_CONFIG);
	if (code != OPAM_OK)
		return code;
	struct env_opam_config c;
	bool there = false;
	if (env_opam_config_read(x->o, &x->c->arena, &c, &e) < 0)
		return opam_as_fail(x, &e);
	for (size_t i = 0; i < c.switches.n; i++)
		there |= str_eq_c(c.switches.v[i], name);
	if (!there)
		return opam_as_say(x, OPAM_NOT_FOUND, "The compiler switch %s does not exist.", name);
	x->sw = name;
	code = opam_as_hold_switch(x);
	if (code != OPAM_OK)
		return code;
	if (!opam_as_confirm(x, true, "Switch %s and all its packages will be wiped. Are you sure?", name))
		return OPAM_ABORTED;
	return env_opam_switch_remove(x->o, name, &e) < 0 ? opam_as_fail(x, &e) : OPAM_OK;
}

static int show_current(struct opam_as *x)
{
	int code = opam_as_switch(x);
	if (code != OPAM_OK)
		return code;
	opam_as_put(x, "%s\n", env_opam_switch_name(x->s));
	return OPAM_OK;
}

static int switches(struct opam_as *x, const struct switch_args *a, const struct cmd_list *w)
{
	const char *verb = w->n ? w->v[0] : "list";
	if (strcmp(verb, "list") == 0)
		return list_switches(x, a);
	if (strcmp(verb, "show") == 0)
		return show_current(x);
	if (strcmp(verb, "set") == 0 && w->n == 2)
		return set_switch(x, w->v[1]);
	if (strcmp(verb, "create") == 0 && w->n >= 2)
		return create(x, a, w);
	if (strcmp(verb, "remove") == 0 && w->n == 2)
		return remove_switch(x, w->v[1]);
	if (w->n == 1)
		return set_switch(x, verb);
	return opam_as_say(x, OPAM_USAGE, "opam switch knows: list, show, set NAME, create NAME --empty, remove NAME");
}

int opam_as_switches(struct opam_as *x, int argc, char **argv)
{
	struct switch_args a = {0};
	struct cmd_list words = {0};
	const struct cmd_option options[] = {
		{'s', "short", CMD_FLAG, &a.shorter},	  {0, "empty", CMD_FLAG, &a.empty},
		{0, "no-switch", CMD_FLAG, &a.no_switch}, {0, "no-install", CMD_FLAG, &a.no_install},
		{'a', "all", CMD_FLAG, &a.all},		  {0, "packages", CMD_TEXT, &a.packages},
		{0, "repositories", CMD_TEXT, &a.repos},  {0, "description", CMD_TEXT, &a.description},
		{0, "formula", CMD_TEXT, &a.formula},	  {0, NULL, CMD_FLAG, NULL}};
	int code;
	if (opam_as_parse(x, options, argc, argv, &words, &code))
		code = switches(x, &a, &words);
	vec_release(&words);
	return code;
}

int opam_as_invariant(struct opam_as *x, struct arena *a, struct str *ret, struct err *e)
{
	struct pkg_opam_doc doc;
	auto_buf b = BUF_INIT(BUF_MAX);
	*ret = STR_NONE;
	if (env_opam_switch_config(x->s, a, &doc, e) < 0)
		return -1;
	const struct pkg_opam_value *v = pkg_opam_get(&doc, "invariant");
	if (v)
		pkg_opam_print_value(v, &b);
	if (b.n && memchr(b.p, '"', b.n))
		*ret = arena_str(a, buf_str(&b));
	return 0;
}

int opam_as_no_solution(struct opam_as *x, bool upgrade, const struct str *why, size_t n)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "  * %.*s\n", STR_ARG(why[i]));
	if (!n)
		buf_put_c(&b, "Sorry, no solution found: there seems to be a problem with your request.\n");
	buf_put_char(&b, '\n');
	opam_as_say(x, OPAM_NO_SOLUTION, "Package conflict!");
	out_put_remark(&x->c->out, buf_str(&b));
	if (!upgrade)
		opam_as_put(x, "No solution found, exiting\n");
	return OPAM_NO_SOLUTION;
}

int opam_as_circles(struct opam_as *x, const struct str *why, size_t n)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_c(&b, "The actions to process have cyclic dependencies:\n");
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "  - %.*s\n", STR_ARG(why[i]));
	buf_put_char(&b, '\n');
	opam_as_say(x, OPAM_NO_SOLUTION, "Package conflict!");
	out_put_remark(&x->c->out, buf_str(&b));
	opam_as_put(x, "No solution found, exiting\n");
	return OPAM_NO_SOLUTION;
}
