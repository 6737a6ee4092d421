// SPDX-License-Identifier: Apache-2.0
#include "cmd/opam_system.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/map.h"
#include "base/vec.h"

static struct arena *arena_of(const struct opam_system *s)
{
	return &s->x->c->arena;
}

static struct str family_of(struct env_opam_vars *vars)
{
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	struct str family = STR_NONE;
	h.variable(h.ctx, STR("os-family"), &family);
	return family;
}

/* == settings ============================================================================================================ */

static bool is_on(const char *name)
{
	const char *v = getenv(name);
	return v && *v && strcmp(v, "0") != 0 && strcmp(v, "false") != 0 && strcmp(v, "no") != 0;
}

static bool field_is(const struct pkg_opam_doc *d, const char *field, bool usual)
{
	const struct pkg_opam_value *v = pkg_opam_get(d, field);
	return v && v->kind == PKG_OPAM_BOOL ? v->number != 0 : usual;
}

VEC_TYPE(strs, struct str);

static void add_field(struct strs *to, const struct pkg_opam_doc *d)
{
	for (const struct pkg_opam_value *v = pkg_opam_first(pkg_opam_get(d, "depext-bypass")); v; v = v->next)
		if (pkg_opam_text(v).n)
			vec_push(to, pkg_opam_text(v));
}

int opam_system_open(struct opam_system *s, struct opam_as *x, const struct opam_system_options *o,
		     const struct pkg_opam_doc *config, const struct pkg_opam_doc *switch_config,
		     struct env_opam_vars *vars)
{
	struct err e = ERR_INIT;
	struct strs ignored = {0};
	bool none = o->no_depexts || is_on("OPAMNODEPEXTS") || opam_as_is_cli(x, "2.0");
	*s = (struct opam_system){.x = x, .dry_run = o->dry_run, .only = o->depext_only};
	s->assume = none || o->assume_depexts || is_on("OPAMASSUMEDEPEXTS");
	s->by_hand = !field_is(config, "depext-run-installs", true);
	if (s->only && s->assume)
		return opam_as_usage(x, none && !o->assume_depexts && !o->no_depexts
						? "--depext-only and --no-depexts can't be used together"
						: "--depext-only and --assume-depexts can't be used together");
	s->off = !field_is(config, "depext", true);
	if (none || (s->off && !s->only))
		return OPAM_OK;
	add_field(&ignored, config);
	add_field(&ignored, switch_config);
	const struct build_depexts_opts opts = {.family = family_of(vars),
						.ignored = ignored.v,
						.n_ignored = ignored.n,
						.offers_nothing = field_is(config, "depext-cannot-install", false)};
	if (build_depexts_open(&opts, &s->depexts, &e) < 0)
		s->unsupported = arena_strdup(arena_of(s), str_c(e.msg));
	vec_release(&ignored);
	return OPAM_OK;
}

void opam_system_close(struct opam_system *s)
{
	build_depexts_free(s->depexts);
	s->depexts = NULL;
}

/* == what is wanted ====================================================================================================== */

int opam_system_look(struct opam_system *s, struct err *e)
{
	return s->depexts ? build_depexts_ask(s->depexts, e) : 0;
}

/* Once: what could not be asked. */
static void tell_problem(struct opam_system *s)
{
	const char *why = s->unsupported ? s->unsupported : s->depexts ? build_depexts_problem(s->depexts) : NULL;
	if (why && !s->told)
		opam_as_note(s->x, "NOTE", "%s\nYou can disable this check using 'opam option --global depext=false'",
			     why);
	s->told = s->told || why;
}

static int name_cmp(const void *x, const void *y)
{
	const struct opam_system_package *a = x, *b = y;
	return str_cmp(a->name, b->name);
}

static void add_package(struct opam_system *s, struct map *at, size_t max, struct str name, size_t package)
{
	uint64_t *place = map_put(at, name);
	if (!*place) {
		s->v[s->n] = (struct opam_system_package){
			.name = name, .has = CHANNEL_SYSTEM_WANTED, .of = arena_array(arena_of(s), size_t, max)};
		*place = ++s->n;
	}
	struct opam_system_package *p = &s->v[*place - 1];
	((size_t *)p->of)[p->of_n++] = package;
}

void opam_system_find(struct opam_system *s, struct env_opam_vars *vars, const struct build_opam_package *v, size_t n)
{
	struct arena *a = arena_of(s);
	const struct str **names = arena_array(a, const struct str *, n);
	size_t *names_n = arena_array(a, size_t, n), all = 0;
	auto_map at = MAP_INIT;
	auto_map wanting = MAP_INIT;
	for (size_t i = 0; i < n; i++) {
		struct pkg_opam_host h = env_opam_host(vars, v[i].name, v[i].version, v[i].opam->file, NULL, 0);
		names_n[i] = v[i].install ? pkg_opam_system(a, &v[i].opam->depexts, &h, &names[i]) : 0;
		all += names_n[i];
		for (size_t k = 0; k < names_n[i]; k++)
			++*map_put(&wanting, names[i][k]);
	}
	s->v = arena_array(a, struct opam_system_package, all);
	s->n = 0;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < names_n[i]; k++)
			add_package(s, &at, (size_t)*map_get(&wanting, names[i][k]), names[i][k], i);
	if (s->n > 1)
		qsort(s->v, s->n, sizeof(*s->v), name_cmp);
}

/* Without what a terminal would take for more than a letter. */
static const char *plain(const struct opam_system *s, struct str name)
{
	char *text = arena_strdup(arena_of(s), str_head(name, 200));
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return text;
}

static size_t find_missing(struct opam_system *s, struct channel_needs *needs, uint32_t package, const struct str **ret)
{
	const struct str *v;
	size_t n = channel_needs_system(needs, package, arena_of(s), &v), kept = 0;
	struct str *missing = arena_array(arena_of(s), struct str, n);
	for (size_t i = 0; s->depexts && i < n; i++)
		if (build_depexts_has(s->depexts, v[i]) == CHANNEL_SYSTEM_NOT_OFFERED)
			missing[kept++] = v[i];
	for (size_t i = 0; i < kept && !s->told_names; i++)
		if (!build_depexts_is_name(s->depexts, missing[i])) {
			struct str nv = channel_needs_candidate(needs, package)->key;
			opam_as_note(
				s->x, "WARNING",
				"depexts of %.*s: '%s' cannot be the name of a system package, and is not looked for",
				STR_ARG(nv), plain(s, missing[i]));
			s->told_names = true;
		}
	*ret = missing;
	return kept;
}

/* " 'x'", "s 'x', 'y' and 'z'" */
static const char *quoted(struct opam_system *s, const struct str *v, size_t n)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s'%s'", n == 1 ? " " : i == 0 ? "s " : i + 1 == n ? " and " : ", ", plain(s, v[i]));
	return arena_strdup(arena_of(s), buf_str(&b));
}

/* 0, or -1: there are too many of them. */
static int look_again(struct opam_system *s, struct err *e)
{
	for (int turn = 0; turn < 2; turn++) { /* what is installed; then what is offered of the rest */
		for (size_t i = 0; i < s->n; i++)
			s->v[i].has = build_depexts_has(s->depexts, s->v[i].name);
		if (turn == 0 && build_depexts_ask(s->depexts, e) < 0)
			return -1;
	}
	return 0;
}

static const char *pretty_list(struct arena *a, const struct str *v, size_t n, const char *between, const char *last)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i == 0 ? "" : i + 1 == n ? last : between, STR_ARG(v[i]));
	return arena_strdup(a, buf_str(&b));
}

/* Of what was asked for, what could be had but for system packages that nobody offers. */
struct looking {
	struct opam_system *s;
	struct channel_needs *needs;
	bool had;
	const struct str *missing;
	size_t missing_n;
};

static int look(void *ctx, const struct channel_need *need, struct err *e)
{
	struct looking *l = ctx;
	(void)e;
	for (size_t i = 0; i < need->one.n; i++) {
		uint32_t package = need->one.v[i];
		l->had = l->had || channel_needs_candidate(l->needs, package)->installed ||
			 channel_needs_is_available(l->needs, package);
		if (!l->missing_n)
			l->missing_n = find_missing(l->s, l->needs, package, &l->missing);
	}
	return 0;
}

int opam_system_check(struct opam_system *s, struct channel_needs *needs, const struct str *asked, size_t n)
{
	int code = OPAM_OK;
	for (size_t i = 0; i < n && s->depexts; i++) {
		struct err ignored = ERR_INIT; /* what there is none of, the solver tells */
		struct looking l = {.s = s, .needs = needs};
		if (channel_needs_ask(needs, asked[i], look, &l, &ignored) == 0 && !l.had && l.missing_n)
			code = opam_as_say(
				s->x, OPAM_NOT_FOUND,
				"Package %.*s depends on the unavailable system package%s. You can use `--no-depexts' to "
				"attempt installation anyway.",
				STR_ARG(asked[i]), quoted(s, l.missing, l.missing_n));
	}
	return code;
}

bool opam_system_is_lacking(struct channel_needs *needs, const struct opam_action *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].kind != OPAM_REMOVE && channel_needs_lacks_system(needs, v[i].package))
			return true;
	return false;
}

void opam_system_note(struct opam_system *s, struct channel_needs *needs, const struct opam_action *v, size_t n)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_c(&b, s->missing ? s->missing : "");
	for (size_t i = 0; i < n; i++) {
		const struct str *names;
		size_t names_n = v[i].kind == OPAM_REMOVE ? 0 : find_missing(s, needs, v[i].package, &names);
		if (names_n)
			buf_printf(
				&b,
				"  * Missing dependency:\n    - %.*s\n    depends on the unavailable system package%s. Use "
				"`--no-depexts' to attempt installation anyway, or it is possible that a depext package "
				"name in the opam file is incorrect.\n",
				STR_ARG(v[i].name), quoted(s, names, names_n));
	}
	s->missing = b.n ? arena_strdup(arena_of(s), buf_str(&b)) : s->missing;
}

int opam_system_no_solution(struct opam_system *s)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_printf(&b, "%s\n", s->missing);
	opam_as_say(s->x, 0, "Package conflict!");
	out_put_remark(&s->x->c->out, buf_str(&b));
	opam_as_put(s->x, "No solution found, exiting\n");
	return s->x->c->json ? opam_as_say(s->x, OPAM_NO_SOLUTION, "no solution") : OPAM_NO_SOLUTION;
}

/* -- what was there once ------------------------------------------------------------------------------------------------- */

/* The system packages of what is installed: one more `of` for each. */
static int read_installed(struct opam_system *s, struct env_opam_vars *vars, const struct env_opam_state *state,
			  struct opam_system *ret, struct build_opam_package *v, struct err *e)
{
	struct arena *a = arena_of(s);
	size_t n = 0;
	for (size_t i = 0; i < state->installed.n; i++) {
		struct pkg_opam_doc *d = arena_new(a, struct pkg_opam_doc);
		struct pkg_opam *opam = arena_new(a, struct pkg_opam);
		struct err ignored = ERR_INIT; /* what is not to be read is no reason to warn of anything */
		if (!env_opam_split(state->installed.v[i], &v[n].name, &v[n].version) ||
		    env_opam_installed_file(s->x->s, a, state->installed.v[i], d, &ignored) < 0)
			continue;
		pkg_opam_package(a, d, opam, &ignored);
		v[n].opam = opam;
		v[n].install = true;
		n += opam->depexts.n > 0;
	}
	opam_system_find(ret, vars, v, n);
	return ret->n ? look_again(ret, e) : 0;
}

int opam_system_changed(struct opam_system *s, struct env_opam_vars *vars, const struct env_opam_state *state,
			struct err *e)
{
	struct arena *a = arena_of(s);
	struct build_opam_package *v = arena_array(a, struct build_opam_package, state->installed.n);
	struct opam_system all = {.x = s->x, .depexts = s->depexts};
	struct strs names = {0}, users = {0};
	if (!s->depexts || read_installed(s, vars, state, &all, v, e) < 0)
		return s->depexts ? -1 : 0;
	for (size_t i = 0; i < all.n; i++)
		if (all.v[i].has != CHANNEL_SYSTEM_INSTALLED)
			vec_push(&names, all.v[i].name);
	for (size_t i = 0; i < state->installed.n && v[i].opam; i++) {
		bool uses = false;
		for (size_t k = 0; k < all.n; k++)
			for (size_t m = 0; all.v[k].has != CHANNEL_SYSTEM_INSTALLED && m < all.v[k].of_n; m++)
				uses |= all.v[k].of[m] == i;
		if (uses)
			vec_push(&users,
				 str_c(arena_printf(a, "%.*s.%.*s", STR_ARG(v[i].name), STR_ARG(v[i].version))));
	}
	const char *ending = names.n == 1 ? "" : "s";
	if (users.n == 1)
		opam_as_note(
			s->x, "WARNING",
			"Opam package %.*s depends on the following system package%s that can no longer be found: %s",
			STR_ARG(users.v[0]), ending, pretty_list(a, names.v, names.n, " ", " "));
	else if (users.n)
		opam_as_note(
			s->x, "WARNING",
			"Opam packages %s depend on the following system package%s that are no longer installed: %s",
			pretty_list(a, users.v, users.n, ", ", " and "), ending,
			pretty_list(a, names.v, names.n, " ", " "));
	vec_release(&names);
	vec_release(&users);
	return 0;
}

/* == words =============================================================================================================== */

static bool is_wanted(const struct opam_system_package *p)
{
	return p->has == CHANNEL_SYSTEM_WANTED || p->has == CHANNEL_SYSTEM_OFFERED;
}

/* The names in such a state, with blanks between them, for people; *ret_n how many. */
static const char *names_in(const struct opam_system *s, bool wanted, size_t *ret_n)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	*ret_n = 0;
	for (size_t i = 0; i < s->n; i++) {
		if (wanted ? !is_wanted(&s->v[i]) : s->v[i].has != CHANNEL_SYSTEM_NOT_OFFERED)
			continue;
		buf_printf(&b, "%s%s", (*ret_n)++ ? " " : "", plain(s, s->v[i].name));
	}
	return arena_strdup(arena_of(s), buf_str(&b));
}

static const struct str *wanted_names(const struct opam_system *s, size_t *ret_n)
{
	struct str *v = arena_array(arena_of(s), struct str, s->n);
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++)
		if (is_wanted(&s->v[i]))
			v[n++] = s->v[i].name;
	*ret_n = n;
	return v;
}

/* == installing ========================================================================================================== */

static int fatal(struct opam_as *x, const char *why)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	if (x->c->json)
		return opam_as_say(x, OPAM_INTERNAL, "%s", why);
	buf_printf(&b, "Fatal error: %s\n", why);
	out_flush(&x->c->out);
	out_put_remark(&x->c->out, buf_str(&b));
	return OPAM_INTERNAL;
}

struct commands {
	struct build_depexts_command *v;
	size_t n;
};

static void show_commands(struct opam_system *s, const struct commands *c)
{
	opam_as_put(s->x, "%s should get the requirements installed:\n", c->n == 1 ? "This command" : "These commands");
	for (size_t i = 0; i < c->n; i++)
		opam_as_put(s->x, "\n    %s", c->v[i].plain);
	opam_as_put(s->x, "\n\n");
}

static int give_up(struct opam_system *s)
{
	size_t n;
	if (s->x->c->json)
		return opam_as_say(s->x, OPAM_ABORTED, "these system packages have to be installed first: %s",
				   names_in(s, true, &n));
	opam_as_put(s->x,
		    "You can retry with '--assume-depexts' to skip this check, or run 'opam option depext=false' to "
		    "permanently disable handling of system packages altogether.\n");
	return OPAM_ABORTED;
}

/* A person installs them, and says when that is done. */
static int wait_for_person(struct opam_system *s, const char *said)
{
	struct err e = ERR_INIT;
	size_t left;
	for (;;) {
		if (!isatty(STDIN_FILENO) || s->x->answer != OPAM_ASK)
			return give_up(s);
		if (!opam_as_confirm(s->x, true, "%s\nWhen you are done: check again and continue?", said))
			break;
		build_depexts_forget(s->depexts);
		if (look_again(s, &e) < 0)
			return opam_as_fail(s->x, &e);
		const char *names = names_in(s, true, &left);
		if (!left)
			return OPAM_OK;
		said = arena_printf(arena_of(s), "\nThe following remain to be installed: %s", names);
	}
	return opam_as_confirm(s->x, false, "Do you want to attempt to proceed anyway?") ? OPAM_OK : give_up(s);
}

/* What a program prints, each line behind "- ". */
struct printing {
	struct opam_as *x;
	bool inside; /* a line */
};

static void print(void *ctx, struct str text)
{
	struct printing *p = ctx;
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (!p->inside)
			buf_put_c(&b, "- ");
		p->inside = c != '\n';
		buf_put_char(&b, (c < ' ' && !strchr("\n\r\t", c)) || c == 0x7f || !c ? '?' : (char)c);
	}
	if (!p->x->c->json)
		out_put(&p->x->c->out, buf_str(&b));
	out_flush(&p->x->c->out);
}

/* Its exit status; -1 where it had none. What went wrong is in *why. */
static int run(struct opam_system *s, const struct build_depexts_command *c, const char *what, const char **why)
{
	struct err e = ERR_INIT;
	struct printing p = {.x = s->x};
	int status = 0;
	opam_as_put(s->x, "+ %s\n", c->shown);
	out_flush(&s->x->c->out);
	int rc = build_depexts_run(c, print, &p, &status, &e);
	if (p.inside)
		print(&p, STR("\n"));
	if (rc == 0 && status == 0)
		return 0;
	*why = rc < 0 ? arena_printf(arena_of(s), "System package %s failed: %s, at command:\n    %s", what, e.msg,
				     c->words)
		      : arena_printf(arena_of(s), "System package %s failed with exit code %d at command:\n    %s",
				     what, status, c->words);
	return rc < 0 ? -1 : status;
}

static int install(struct opam_system *s, const struct commands *c)
{
	const char *why = NULL;
	for (size_t i = 0; i < c->n && !s->dry_run; i++)
		if (run(s, &c->v[i], "install", &why) != 0) {
			opam_as_say(s->x, 0, "%s", why);
			if (!s->only)
				return wait_for_person(s, "You can now try to get them installed manually.");
			show_commands(s, c);
			return OPAM_OK;
		}
	for (size_t i = 0; i < s->n && !s->dry_run; i++)
		if (is_wanted(&s->v[i]))
			s->v[i].has = CHANNEL_SYSTEM_INSTALLED;
	return OPAM_OK;
}

static void tell(struct opam_system *s, size_t *ret_wanted)
{
	size_t lacking;
	const char *names = names_in(s, false, &lacking);
	if (lacking)
		opam_as_note(s->x, "WARNING",
			     "These additional system packages are required, but not available on your system: %s",
			     names);
	names = names_in(s, true, ret_wanted);
	if (*ret_wanted)
		opam_as_put(s->x, "\nThe following system packages will first need to be installed:\n    %s\n", names);
}

int opam_system_first(struct opam_system *s)
{
	struct err e = ERR_INIT;
	struct commands c;
	size_t wanted, n;
	if (s->n)
		tell_problem(s);
	if (!s->depexts || !s->n)
		return OPAM_OK;
	if (look_again(s, &e) < 0)
		return opam_as_fail(s->x, &e);
	tell_problem(s);
	tell(s, &wanted);
	if (!wanted || s->assume)
		return OPAM_OK;
	const struct str *names = wanted_names(s, &n);
	bool unsafe = s->x->answer == OPAM_UNSAFE_YES;
	if (build_depexts_install(s->depexts, names, n, unsafe, arena_of(s), &c.v, &c.n, &e) < 0)
		return e.code == ERR_NOT_FOUND ? fatal(s->x, e.msg) : opam_as_fail(s->x, &e);
	opam_as_header(s->x, "Handling external dependencies");
	if (s->by_hand) {
		show_commands(s, &c);
		return wait_for_person(s, "You may now install the packages on your system.");
	}
	if (s->only || opam_as_confirm_unsafe(s->x, "Let opam run your package manager to install the required system "
						    "packages?\n(answer 'n' for other options)"))
		return install(s, &c);
	opam_as_note(s->x, "NOTE",
		     "Use 'opam option depext-run-installs=false' if you don't want to be prompted again.");
	show_commands(s, &c);
	return wait_for_person(s, "You may now install the packages manually on your system.");
}

/* == done without ======================================================================================================== */

static int write_bypass(struct opam_system *s, const struct strs *new, struct err *e)
{
	struct arena *a = arena_of(s);
	struct pkg_opam_doc d;
	struct strs all = {0};
	if (env_opam_switch_config(s->x->s, a, &d, e) < 0)
		return -1;
	add_field(&all, &d);
	vec_foreach(name, new)
		vec_push(&all, *name);
	const struct pkg_opam_value **v = arena_array(a, const struct pkg_opam_value *, all.n);
	for (size_t i = 0; i < all.n; i++)
		v[i] = pkg_opam_make(a, PKG_OPAM_STRING, all.v[i]);
	int rc = env_opam_set(s->x->o, s->x->s, "depext-bypass", pkg_opam_make_list(a, PKG_OPAM_LIST, v, all.n), e);
	vec_release(&all);
	return rc;
}

int opam_system_bypass(struct opam_system *s, const struct build_opam_package *packages,
		       const struct build_opam_action *done, size_t n, struct err *e)
{
	struct strs all = {0};
	for (size_t i = 0; s->depexts && i < n; i++) {
		struct strs mine = {0};
		size_t number = (size_t)(done[i].package - packages);
		for (size_t k = 0; k < s->n && done[i].step == BUILD_OPAM_INSTALL; k++)
			for (size_t m = 0; is_wanted(&s->v[k]) && m < s->v[k].of_n; m++)
				if (s->v[k].of[m] == number) {
					vec_push(&mine, s->v[k].name);
					s->v[k].has = CHANNEL_SYSTEM_INSTALLED; /* as far as this switch goes */
				}
		if (mine.n)
			opam_as_note(s->x, "NOTE",
				     "Requirement for system package%s %s overridden in this switch. Use `opam option "
				     "depext-bypass-=%s' to revert.",
				     mine.n == 1 ? "" : "s", pretty_list(arena_of(s), mine.v, mine.n, ", ", " and "),
				     pretty_list(arena_of(s), mine.v, mine.n, ",", ","));
		vec_foreach(name, &mine)
			vec_push(&all, *name);
		vec_release(&mine);
	}
	int rc = all.n ? write_bypass(s, &all, e) : 0;
	vec_release(&all);
	return rc;
}

void opam_system_declared(struct opam_system *s, struct env_opam_vars *vars, const struct build_opam_failure *v,
			  size_t n)
{
	struct opam_system of = {.x = s->x};
	struct build_opam_package *built = arena_array(arena_of(s), struct build_opam_package, n);
	size_t built_n = 0, names_n;
	for (size_t i = 0; s->off && i < n; i++)
		if (v[i].step == BUILD_OPAM_BUILD)
			built[built_n++] = *v[i].package;
	opam_system_find(&of, vars, built, built_n);
	const char *names = names_in(&of, true, &names_n);
	if (names_n)
		opam_as_put(s->x,
			    "\nThe packages you requested declare the following system dependencies. Please make sure "
			    "they are installed before retrying:\n    %s\n\n",
			    names);
}

/* == update, JSON ======================================================================================================== */

int opam_system_update(struct opam_as *x, struct env_opam_vars *vars)
{
	struct err e = ERR_INIT;
	struct opam_system s = {.x = x};
	struct build_depexts_command c;
	const struct build_depexts_opts o = {.family = family_of(vars)};
	auto_ptr(build_depexts) d = NULL;
	const char *why = NULL;
	if (build_depexts_open(&o, &d, &e) < 0 || build_depexts_update(d, &x->c->arena, &c, &e) < 0)
		return fatal(x, e.msg);
	return run(&s, &c, "update", &why) == 0 ? OPAM_OK : fatal(x, why);
}

struct telling {
	const struct opam_system *s;
	const struct build_opam_package *packages;
};

static void put_package(struct jw *w, const void *ctx, size_t i)
{
	static const char *const has[] = {"installed", "wanted", "wanted", "unavailable"};
	const struct telling *t = ctx;
	const struct opam_system_package *p = &t->s->v[i];
	jw_kv_str(w, "name", p->name);
	if (t->s->depexts)
		jw_kv_c(w, "status", has[p->has]);
	jw_key(w, "packages");
	jw_array(w);
	for (size_t k = 0; k < p->of_n; k++)
		jw_str(w, t->packages[p->of[k]].name);
	jw_array_end(w);
}

void opam_system_json(const struct opam_system *s, const struct build_opam_package *packages, struct jw *w)
{
	const struct telling t = {s, packages};
	jw_kv_objects(w, "system_packages", s->n, put_package, &t);
}
