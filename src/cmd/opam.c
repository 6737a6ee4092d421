// SPDX-License-Identifier: Apache-2.0
/* opam solve: what opam would do, in its words (doc/opam.md). Exit codes are opam's where it has one. */
#include <fcntl.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "cmd/change.h"
#include "cmd/cmd.h"
#include "cmd/opam_plan.h"
#include "cmd/opam_repos.h"
#include "cmd/opam_source.h"

enum { OPAM_NOT_FOUND = 5, OPAM_NO_SOLUTION = 20, STATE_MAX = 16 << 20, CAUSES_SHOWN = 3, CAUSES_ALL = 4 };

struct opam_args {
	struct cmd_list repos;
	const char *state, *criteria, *format, *platform, *distribution;
	struct cmd_list installed, pinned, variables, words, removed, system;
	const char *invariant;
	bool with_test, with_doc, upgrade, best_effort, depexts;
	bool old; /* as opam 2.1 prints */
};
VEC_TYPE(text_vec, struct str);
/* A package of the system, and one of the plan that wants it. */
struct opam_wish {
	struct str name;
	uint32_t step;
};
/* What was asked for, read and opened. */
struct opam_request {
	const struct opam_args *args;
	struct text_vec installed, pinned, names, asked, variables, removed, invariant, system, compiler;
	struct cmd_opam_repos repos;
	struct opam_definitions sources; /* folders that are asked for, or pinned to */
	struct opam_index *source;	 /* of these */
	struct opam_index **index;	 /* that, and those of the repositories */
	size_t index_n;
	struct channel_needs *needs; /* NULL until the repositories could be read */
	struct solve_needs_request solve;
	struct solve_aims aims;
	size_t left; /* of what was asked for, what is not installed already */
	bool all;    /* everything is to be upgraded */
	struct solve_needs_result result;
	struct solve_steps steps;
	VEC(struct opam_wish) wishes; /* by name, then as the plan goes */
	struct text_vec left_out;     /* with --best-effort: of what was asked for */
};

static void request_release(struct opam_request *r)
{
	channel_needs_free(r->needs);
	opam_index_free(r->source);
	vec_release(&r->sources);
	cmd_opam_repos_release(&r->repos);
	vec_release(&r->installed);
	vec_release(&r->pinned);
	vec_release(&r->names);
	vec_release(&r->asked);
	vec_release(&r->variables);
	vec_release(&r->removed);
	vec_release(&r->invariant);
	vec_release(&r->system);
	vec_release(&r->compiler);
	vec_release(&r->wishes);
	vec_release(&r->left_out);
}

/* -- what is asked -------------------------------------------------------------------------------------------------- */

static void add_texts(struct text_vec *to, const struct cmd_list *from)
{
	vec_foreach(x, from)
		vec_push(to, str_c(*x));
}

static void add_strs(struct text_vec *to, const struct pkg_opam_strs *from)
{
	for (size_t i = 0; i < from->n; i++)
		vec_push(to, from->v[i]);
}

/* The invariant in the switch-config that lies beside a switch-state. */
static int read_invariant(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	const char *slash = strrchr(r->args->state, '/');
	size_t n = slash ? (size_t)(slash - r->args->state) + 1 : 0;
	const char *path = arena_printf(&c->arena, "%.*sswitch-config", (int)n, r->args->state);
	auto_buf text = BUF_INIT(STATE_MAX);
	auto_buf formula = BUF_INIT(STATE_MAX);
	struct pkg_opam_doc doc;
	struct err why = ERR_INIT;
	if (fs_read_any(AT_FDCWD, path, &text, &why) < 0) {
		if (why.code == ERR_NOT_FOUND)
			return 0;
		*e = why;
		return -1;
	}
	if (pkg_opam_read(&c->arena, arena_str(&c->arena, buf_str(&text)), path, &doc, e) < 0)
		return -1;
	const struct pkg_opam_value *v = pkg_opam_get(&doc, "invariant");
	if (!v)
		return 0;
	pkg_opam_print_value(v, &formula);
	if (formula.n && memchr(formula.p, '"', formula.n))
		vec_push(&r->invariant, arena_str(&c->arena, buf_str(&formula)));
	return 0;
}

static int read_state(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	auto_buf text = BUF_INIT(STATE_MAX);
	struct env_opam_state state;
	if (!r->args->state)
		return 0;
	if (fs_read_any(AT_FDCWD, r->args->state, &text, e) < 0 ||
	    env_opam_state_parse(&c->arena, arena_str(&c->arena, buf_str(&text)), r->args->state, &state, e) < 0)
		return -1;
	add_strs(&r->installed, &state.installed);
	add_strs(&r->pinned, &state.pinned);
	for (size_t i = 0; i < state.compiler.n; i++) {
		struct str version = state.compiler.v[i], name;
		if (str_take_until(&version, '.', &name))
			vec_push(&r->compiler, name);
	}
	return r->args->invariant ? 0 : read_invariant(c, r, e);
}

/* The name in "dune.3.0" or "dune>=3". */
static int name_of(struct cmd_context *c, struct str text, struct str *ret, struct err *e)
{
	const struct pkg_need *need;
	if (pkg_opam_spec_parse(&c->arena, text, &need, e) < 0)
		return -1;
	*ret = need->name;
	return 0;
}

static int read_criteria(struct opam_request *r, struct err *e)
{
	static const struct {
		const char *name;
		enum solve_criteria criteria;
	} known[] = {{"newest", SOLVE_NEWEST},
		     {"0install", SOLVE_0INSTALL},
		     {"lower-bounds", SOLVE_OLDEST},
		     {"upgrade", SOLVE_UPGRADE_ALL},
		     {"fixup", SOLVE_FIXUP}};
	const char *name = r->args->criteria			   ? r->args->criteria
			   : r->args->upgrade && !r->args->words.n ? "upgrade"
								   : "newest";
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(name, known[i].name) == 0) {
			r->solve.criteria = known[i].criteria;
			return 0;
		}
	if (name[0] != '-')
		return err_new(
			e, ERR_USAGE,
			"--criteria wants newest, upgrade, fixup, 0install, lower-bounds, or criteria in opam's words, not '%s'",
			name);
	r->solve.criteria = SOLVE_NEWEST;
	r->solve.aims = &r->aims;
	return solve_aims_parse(str_c(name), &r->aims, e);
}

/* "debian-12": the variables that say so, as that distribution's own /etc/os-release does. */
static int add_distribution(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	static const char *const known[][3] = {/* as images are called, ID, the first of ID_LIKE */
					       {"debian", "debian", "debian"},	{"ubuntu", "ubuntu", "debian"},
					       {"alpine", "alpine", "alpine"},	{"fedora", "fedora", "fedora"},
					       {"rhel", "rhel", "fedora"},	{"centos", "centos", "rhel"},
					       {"rocky", "rocky", "rhel"},	{"almalinux", "almalinux", "rhel"},
					       {"oraclelinux", "ol", "fedora"}, {"opensuse", "opensuse-leap", "suse"},
					       {"archlinux", "arch", "arch"}};
	struct str name = str_c(r->args->distribution), version = STR("unknown");
	ptrdiff_t dash = str_rfind(name, '-');
	if (dash > 0 && (size_t)dash + 1 < name.n) {
		version = str_skip(name, (size_t)dash + 1);
		name = str_head(name, (size_t)dash);
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!str_eq_c(name, known[i][0]))
			continue;
		struct arena *a = &c->arena;
		vec_push(&r->variables, str_c(arena_printf(a, "os-distribution=%s", known[i][1])));
		vec_push(&r->variables, str_c(arena_printf(a, "os-family=%s", known[i][2])));
		vec_push(&r->variables, str_c(arena_printf(a, "os-version=%.*s", STR_ARG(version))));
		return 0;
	}
	auto_buf b = BUF_INIT(4096);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		buf_printf(&b, "%s%s", i ? ", " : "", known[i][0]);
	return err_new(
		e, ERR_USAGE,
		"--distribution wants one of %s, and a version, as in debian-12, not '%s'; others are said with --var",
		b.p, r->args->distribution);
}

/* Packages with their versions: what has none would count for nothing. */
static int check_packages(const char *option, const struct cmd_list *words, struct err *e)
{
	struct str name, version;
	vec_foreach(word, words)
		if (!strchr(*word, '=') && !env_opam_split(str_c(*word), &name, &version))
			return err_new(e, ERR_USAGE, "%s wants a package with its version, as in dune.3.0.3, not '%s'",
				       option, *word);
	return 0;
}

static int check_args(const struct opam_args *args, struct err *e)
{
	if (!args->words.n && !args->removed.n && !args->upgrade)
		return err_new(e, ERR_USAGE, "nothing to solve for: name packages, as in: dune merlin.5.2");
	if (check_packages("--installed", &args->installed, e) < 0 || check_packages("--pin", &args->pinned, e) < 0)
		return -1;
	vec_foreach(v, &args->variables)
		if (str_find(str_c(*v), '=') < 1)
			return err_new(e, ERR_USAGE, "--var wants NAME=VALUE, as in os-distribution=alpine, not '%s'",
				       *v);
	const char *dash = args->platform ? strchr(args->platform, '-') : NULL;
	if (args->platform && (!dash || dash == args->platform || !dash[1]))
		return err_new(e, ERR_USAGE, "--platform wants OS-ARCH, as in linux-x86_64 or macos-arm64, not '%s'",
			       args->platform);
	return 0;
}

/* Packages that a folder defines, each of them once; `name` and `version` may be empty. How many. */
static int read_source(struct cmd_context *c, struct opam_request *r, const char *path, struct str name,
		       struct str version, struct err *e)
{
	size_t first = r->sources.n, n = first;
	if (strncmp(path, "git+", 4) == 0 || strstr(path, "://"))
		return err_new(e, ERR_USAGE, "'%s' is not fetched for a plan; clone or unpack it, and give the folder",
			       path);
	auto_fd dir = fs_open_dir(AT_FDCWD, path, e);
	if (dir < 0 || opam_definitions_of(&c->arena, dir, name, &r->sources, e) < 0)
		return err_ctx(e, "sources '%s'", path);
	if (r->sources.n == first)
		return err_new(e, ERR_NOT_FOUND,
			       "no opam file %s%.*s%s in '%s': there is to be NAME.opam, or a file opam",
			       name.n ? "of '" : "of a package", STR_ARG(name), name.n ? "'" : "", path);
	for (size_t i = first; i < r->sources.n; i++) {
		bool known = false;
		for (size_t k = 0; k < n; k++)
			known |= str_eq(r->sources.v[k].name, r->sources.v[i].name);
		if (known)
			continue;
		r->sources.v[n] = r->sources.v[i];
		if (version.n)
			r->sources.v[n].version = version;
		n++;
	}
	r->sources.n = n;
	return (int)(n - first);
}

/* Words and pins, those of them that are sources among the definitions. */
static int read_sources(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	vec_foreach(pin, &r->args->pinned) {
		struct str rest = str_c(*pin), name, version = STR_NONE;
		if (!str_take_until(&rest, '=', &name)) {
			vec_push(&r->pinned, str_c(*pin));
			continue;
		}
		ptrdiff_t dot = str_find(name, '.');
		if (dot >= 0) {
			version = str_skip(name, (size_t)dot + 1);
			name = str_head(name, (size_t)dot);
		}
		if (!pkg_opam_name_is_good(name) || !rest.n)
			return err_new(e, ERR_USAGE, "--pin wants NAME.VERSION, or NAME=FOLDER of sources, not '%s'",
				       *pin);
		if (read_source(c, r, arena_strdup(&c->arena, rest), name, version, e) < 0)
			return -1;
	}
	vec_foreach(word, &r->args->words) {
		if (!opam_is_source(*word)) {
			vec_push(&r->asked, str_c(*word));
			continue;
		}
		int n = read_source(c, r, *word, STR_NONE, STR_NONE, e);
		if (n < 0)
			return -1;
		for (size_t i = r->sources.n - (size_t)n; i < r->sources.n; i++)
			vec_push(&r->asked, r->sources.v[i].name);
	}
	return 0;
}

/* What sources do not say of their version is the newest that the repositories have; else "~dev", as in opam. */
static void choose_version(const struct opam_request *r, struct opam_definition *d)
{
	for (size_t i = 0; i < r->repos.n && !d->version.n; i++) {
		struct oi_name id;
		struct oi_pkg first;
		if (opam_index_find_name(r->repos.index[i], d->name, &id) &&
		    opam_index_packages(r->repos.index[i], id, &first))
			d->version = opam_index_pkg(r->repos.index[i], first).version;
	}
	if (!d->version.n)
		d->version = STR("~dev");
}

/* The definitions as a repository before all others, each of them pinned. */
static int open_sources(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	struct opam_index_file *v = arena_array(&c->arena, struct opam_index_file, r->sources.n + 1);
	struct opam_index **all = arena_array(&c->arena, struct opam_index *, r->repos.n + 1);
	for (size_t i = 0; i < r->sources.n; i++) {
		struct opam_definition *d = &r->sources.v[i];
		auto_buf b = BUF_INIT(PKG_OPAM_FILE_MAX);
		choose_version(r, d);
		opam_definition_print(&c->arena, d, STR_NONE, &b);
		v[i] = (struct opam_index_file){d->name, d->version, arena_str(&c->arena, buf_str(&b))};
		vec_push(&r->pinned,
			 str_c(arena_printf(&c->arena, "%.*s.%.*s", STR_ARG(d->name), STR_ARG(d->version))));
	}
	if (r->sources.n && opam_index_of(v, r->sources.n, &r->source, e) < 0)
		return -1;
	if (r->source) {
		all[0] = r->source;
		memcpy(all + 1, r->repos.index, r->repos.n * sizeof(*all));
		r->index = all;
		r->index_n = r->repos.n + 1;
	} else {
		r->index = r->repos.index;
		r->index_n = r->repos.n;
	}
	return 0;
}

static int read_request(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	const struct opam_args *args = r->args;
	if (check_args(args, e) < 0)
		return -1;
	if (read_criteria(r, e) < 0 || read_state(c, r, e) < 0)
		return -1;
	add_texts(&r->installed, &args->installed);
	add_texts(&r->system, &args->system);
	if (read_sources(c, r, e) < 0)
		return -1;
	if (args->invariant && *args->invariant)
		vec_push(&r->invariant, str_c(args->invariant));
	vec_foreach(word, &r->asked) {
		struct str name;
		if (name_of(c, *word, &name, e) < 0) {
			e->code = ERR_USAGE;
			return -1;
		}
		vec_push(&r->names, name);
	}
	/* what was said last counts */
	vec_push(&r->variables, args->old ? STR("opam-version=2.1.6") : STR("opam-version=2.5.2"));
	if (args->distribution && add_distribution(c, r, e) < 0)
		return -1;
	add_texts(&r->variables, &args->variables);
	r->solve.update = args->old;
	r->solve.best_effort = args->best_effort;
	r->solve.invariant = r->invariant.v;
	r->solve.invariant_n = r->invariant.n;
	return 0;
}

static int open_needs(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	if (cmd_opam_open(c, r->args->repos.v, r->args->repos.n, 0, &r->repos, e) < 0 || open_sources(c, r, e) < 0)
		return -1;
	const struct channel_needs_opts o = {.platform = r->args->platform ? str_c(r->args->platform) : STR_NONE,
					     .variables = r->variables.v,
					     .variables_n = r->variables.n,
					     .pinned = r->pinned.v,
					     .pinned_n = r->pinned.n,
					     .installed = r->installed.v,
					     .installed_n = r->installed.n,
					     .asked = r->names.v,
					     .asked_n = r->names.n,
					     .with_test = r->args->with_test,
					     .with_doc = r->args->with_doc,
					     .system = r->system.n ? r->system.v : NULL,
					     .system_n = r->system.n};
	return channel_needs_open_opam(r->index, r->index_n, &o, &r->needs, e);
}

/* What an index says is worth something only where all of it verified. */
static int check_needs(const struct opam_request *r, struct err *e)
{
	for (size_t i = 0; i < r->repos.n; i++)
		if (opam_index_check(r->repos.index[i], e) < 0)
			return -1;
	return 0;
}

/* -- printing ------------------------------------------------------------------------------------------------------- */

static const char *const kind_names[] = {"remove", "downgrade", "recompile", "upgrade", "install"};

static void put_cause(const struct opam_request *r, const struct solve_step *s, struct buf *b)
{
	static const char *const words[] = {
		"", "", "required by ", "uses ", "conflicts with ", "upstream or system changes"};
	if (s->cause == SOLVE_UNKNOWN || s->cause == SOLVE_REQUESTED)
		return;
	buf_printf(b, "[%s", words[s->cause]);
	size_t shown = s->causes_n > CAUSES_ALL ? CAUSES_SHOWN : s->causes_n;
	for (size_t i = 0; i < shown; i++)
		buf_printf(b, "%s%.*s", i ? ", " : "", STR_ARG(channel_needs_candidate(r->needs, s->causes[i])->name));
	buf_put_c(b, shown < s->causes_n ? ", etc.]" : "]");
}

static void put_version(const struct opam_request *r, uint32_t package, struct buf *b)
{
	const struct channel_candidate *c = channel_needs_candidate(r->needs, package);
	buf_printf(b, "%.*s%s", STR_ARG(c->version), !c->pinned ? "" : r->args->old ? "*" : " (pinned)");
}

static void put_versions(const struct opam_request *r, const struct solve_step *s, struct buf *b)
{
	if (s->kind == SOLVE_UPGRADE || s->kind == SOLVE_DOWNGRADE) {
		put_version(r, s->before, b);
		buf_put_c(b, " to ");
	}
	put_version(r, s->package, b);
}

struct row {
	struct str kind, name, version, cause, messages; /* messages: a line each */
};
enum { COLUMNS = 5 };

static size_t max_of(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Columns are as wide as their widest cell; nothing is put behind the last cell that has something in it. */
static void put_row(const struct row *row, const struct row *width, struct buf *b)
{
	const struct str *cell = &row->kind, *wide = &width->kind;
	auto_buf line = BUF_INIT(1 << 16);
	buf_put_c(&line, "  -");
	for (size_t i = 0; i + 1 < COLUMNS; i++)
		buf_printf(&line, " %-*.*s", (int)wide[i].n, STR_ARG(cell[i]));
	struct str rest = row->messages, one = STR_NONE;
	size_t margin = line.n + 1;
	if (str_take_until(&rest, '\n', &one) || rest.n)
		buf_printf(&line, " %.*s", STR_ARG(one.p ? one : rest));
	while (line.n && line.p[line.n - 1] == ' ')
		line.n--;
	buf_put_str(b, buf_str(&line));
	buf_put_char(b, '\n');
	while (one.p && rest.n) {
		if (!str_take_until(&rest, '\n', &one)) {
			one = rest;
			rest = STR_NONE;
		}
		buf_printf(b, "%*s%.*s\n", (int)margin, "", STR_ARG(one));
	}
}

/* What is to be installed may have a word for whoever installs it. */
static int read_messages(struct cmd_context *c, const struct opam_request *r, const struct solve_step *s,
			 struct str *ret, struct err *e)
{
	const struct str *v;
	size_t n;
	auto_buf b = BUF_INIT(STATE_MAX);
	if (s->kind == SOLVE_REMOVE)
		return 0;
	if (channel_needs_messages(r->needs, s->package, &c->arena, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i ? "\n" : "", STR_ARG(v[i]));
	*ret = arena_str(&c->arena, buf_str(&b));
	return 0;
}

static void put_heading(const struct opam_request *r, enum solve_step_kind kind, struct buf *b)
{
	size_t n = 0;
	for (size_t i = 0; i < r->steps.n; i++)
		n += r->steps.v[i].kind == kind;
	buf_printf(b, "=== %s %zu package%s\n", kind_names[kind], n, n == 1 ? "" : "s");
}

/* opam 2.1: "===== 13 to install | 1 to remove =====" */
static void put_sum(const struct opam_request *r, struct buf *b)
{
	static const enum solve_step_kind order[] = {SOLVE_INSTALL, SOLVE_RECOMPILE, SOLVE_UPGRADE, SOLVE_DOWNGRADE,
						     SOLVE_REMOVE};
	const char *between = "===== ";
	if (r->steps.n < 2)
		return;
	for (size_t k = 0; k < 5; k++) {
		size_t n = 0;
		for (size_t i = 0; i < r->steps.n; i++)
			n += r->steps.v[i].kind == order[k];
		if (!n)
			continue;
		buf_printf(b, "%s%zu to %s", between, n, kind_names[order[k]]);
		between = " | ";
	}
	buf_put_c(b, " =====\n");
}

static int put_plan(struct cmd_context *c, const struct opam_request *r, struct buf *b, struct err *e)
{
	struct row *rows = arena_array(&c->arena, struct row, r->steps.n + 1), width = {0};
	if (!r->steps.n)
		return 0;
	for (size_t i = 0; i < r->steps.n; i++) {
		const struct solve_step *s = &r->steps.v[i];
		auto_buf version = BUF_INIT(1 << 16);
		auto_buf cause = BUF_INIT(1 << 16);
		put_versions(r, s, &version);
		put_cause(r, s, &cause);
		rows[i] = (struct row){str_c(kind_names[s->kind]), channel_needs_candidate(r->needs, s->package)->name,
				       arena_str(&c->arena, buf_str(&version)), arena_str(&c->arena, buf_str(&cause)),
				       STR_NONE};
		if (read_messages(c, r, s, &rows[i].messages, e) < 0)
			return -1;
		width.kind.n = max_of(width.kind.n, rows[i].kind.n);
		width.name.n = max_of(width.name.n, rows[i].name.n);
		width.version.n = max_of(width.version.n, rows[i].version.n);
		width.cause.n = max_of(width.cause.n, rows[i].cause.n);
	}
	buf_put_c(b, "The following actions would be performed:\n");
	for (size_t i = 0; i < r->steps.n; i++) {
		if (!r->args->old && (i == 0 || r->steps.v[i].kind != r->steps.v[i - 1].kind))
			put_heading(r, r->steps.v[i].kind, b);
		put_row(&rows[i], &width, b);
	}
	if (r->args->old)
		put_sum(r, b);
	return 0;
}

/* That there is nothing to do, as opam has it: nothing more is said of what is installed already. */
static void put_nothing(const struct cmd_context *c, const struct opam_request *r, struct buf *b)
{
	if (r->args->upgrade && !r->args->removed.n && r->solve.criteria != SOLVE_FIXUP)
		opam_plan_up_to_date(r->needs, r->all ? NULL : r->names.v, r->all ? 0 : r->names.n, r->compiler.v,
				     r->compiler.n, r->args->old, c->verbose, b);
	if (r->args->upgrade || r->args->removed.n || r->left)
		buf_put_c(b, "Nothing to do.\n");
}

/* -- packages of the system ------------------------------------------------------------------------------------------ */

static int wish_cmp(const void *x, const void *y)
{
	const struct opam_wish *a = x, *b = y;
	int c = str_cmp(a->name, b->name);
	return c ? c : (a->step > b->step) - (a->step < b->step);
}

static void find_wishes(struct cmd_context *c, struct opam_request *r)
{
	for (size_t i = 0; i < r->steps.n; i++) {
		const struct str *v;
		size_t n = r->steps.v[i].kind == SOLVE_REMOVE
				   ? 0
				   : channel_needs_system(r->needs, r->steps.v[i].package, &c->arena, &v);
		for (size_t k = 0; k < n; k++)
			vec_push(&r->wishes, ((struct opam_wish){v[k], (uint32_t)i}));
	}
	vec_sort(&r->wishes, wish_cmp);
}

/* How many wishes from this one on are for the same package. */
static size_t wishes_alike(const struct opam_request *r, size_t i)
{
	size_t n = 1;
	while (i + n < r->wishes.n && str_eq(r->wishes.v[i + n].name, r->wishes.v[i].name))
		n++;
	return n;
}

static void put_wishes(const struct opam_request *r, struct buf *b)
{
	if (!r->args->depexts)
		return;
	buf_put_c(b, r->wishes.n ? "\nThe following system packages are needed:\n   "
				 : "\nNo system packages are needed.");
	for (size_t i = 0; i < r->wishes.n; i += wishes_alike(r, i))
		buf_printf(b, " %.*s", STR_ARG(r->wishes.v[i].name));
	buf_put_char(b, '\n');
}

/* -- JSON ----------------------------------------------------------------------------------------------------------- */

static void put_names(struct jw *w, const struct opam_request *r, const char *key, const uint32_t *v, size_t n)
{
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < n; i++)
		jw_str(w, channel_needs_candidate(r->needs, v[i])->name);
	jw_array_end(w);
}

static void put_step(struct jw *w, const void *ctx, size_t i)
{
	static const char *const causes[] = {NULL,   "requested",      "required-by",
					     "uses", "conflicts-with", "upstream-changes"};
	const struct opam_request *r = ctx;
	const struct solve_step *s = &r->steps.v[i];
	const struct channel_candidate *c = channel_needs_candidate(r->needs, s->package);
	jw_kv_c(w, "action", kind_names[s->kind]);
	jw_kv_str(w, "name", c->name);
	jw_kv_str(w, "version", c->version);
	if (s->before != s->package)
		jw_kv_str(w, "from", channel_needs_candidate(r->needs, s->before)->version);
	jw_kv_bool(w, "pinned", c->pinned);
	jw_kv_c(w, "cause", causes[s->cause]);
	put_names(w, r, "causes", s->causes, s->causes_n);
	uint32_t after[256];
	size_t n = s->after_n < 256 ? s->after_n : 256;
	for (size_t k = 0; k < n; k++)
		after[k] = r->steps.v[s->after[k]].package;
	put_names(w, r, "after", after, n);
}

static void put_system(struct jw *w, const struct opam_request *r)
{
	jw_key(w, "system_packages");
	jw_array(w);
	for (size_t i = 0, n; i < r->wishes.n; i += n) {
		n = wishes_alike(r, i);
		jw_object(w);
		jw_kv_str(w, "name", r->wishes.v[i].name);
		jw_key(w, "packages");
		jw_array(w);
		for (size_t k = i; k < i + n; k++)
			jw_str(w, channel_needs_candidate(r->needs, r->steps.v[r->wishes.v[k].step].package)->name);
		jw_array_end(w);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static int answer(struct cmd_context *c, const struct opam_request *r)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_objects(w, "actions", r->steps.n, put_step, r);
	put_system(w, r);
	jw_kv_list(w, "left_out", r->left_out.v, r->left_out.n);
	jw_kv_bool(w, "best", !r->result.unproved);
	return cmd_answer_print(c, &a);
}

/* -- failing -------------------------------------------------------------------------------------------------------- */

/* A repository that is not there is no package that is not there. */
static int fail(struct cmd_context *c, const struct opam_request *r, const struct err *e)
{
	bool no_package = e->code == ERR_NOT_FOUND && !e->sys && r->needs;
	return cmd_fail_as(c, e, no_package ? OPAM_NOT_FOUND : cmd_exit_of(e));
}

static int no_solution(struct cmd_context *c, const struct opam_request *r)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < r->result.why_n; i++)
		buf_printf(&b, "\n  - %.*s", STR_ARG(r->result.why[i]));
	cmd_warn(c, "no solution:%s", b.n ? b.p : " what was asked for cannot be had together");
	if (c->json) {
		auto_answer a = {0};
		struct jw *w = cmd_answer(&a);
		jw_kv_c(w, "error", "no solution");
		jw_kv_c(w, "code", err_code_name(ERR_NO_SOLUTION));
		jw_kv_int(w, "exit", OPAM_NO_SOLUTION);
		jw_kv_list(w, "why", r->result.why, r->result.why_n);
		cmd_answer_print(c, &a);
	}
	return OPAM_NO_SOLUTION;
}

/* -- the command ---------------------------------------------------------------------------------------------------- */

/* What a word asks for: whether there is such a name, such a version, one that can be had here, and one that is installed. */
struct looking {
	struct channel_needs *needs;
	bool had;
	struct str installed, newest, problem; /* problem: of a file that cannot be read */
};

static struct str problem_of(const struct channel_needs *needs, uint32_t package)
{
	struct oi_pkg at;
	const struct opam_index *ix = channel_needs_opam(needs, package, &at);
	return ix ? opam_index_problem_of(ix, at) : STR_NONE;
}

static int look(void *ctx, const struct channel_need *need, struct err *e)
{
	struct looking *l = ctx;
	(void)e;
	for (size_t i = 0; i < need->one.n; i++) {
		const struct channel_candidate *c = channel_needs_candidate(l->needs, need->one.v[i]);
		bool available = channel_needs_is_available(l->needs, need->one.v[i]);
		l->had |= available || c->installed;
		if (!available && !l->problem.n)
			l->problem = problem_of(l->needs, need->one.v[i]);
		if (!l->newest.n && !c->installed)
			l->newest = c->version; /* the best stands first */
		if (available && c->installed)
			l->installed = c->version;
	}
	return 0;
}

static int no_name(const struct opam_request *r, struct str name, struct err *e)
{
	struct str like = cmd_opam_similar(&r->repos, name);
	return err_new(e, ERR_NOT_FOUND, "no package named '%.*s'%s%.*s%s", STR_ARG(name),
		       like.n ? "; did you mean '" : "", STR_ARG(like), like.n ? "'?" : "");
}

/* Every name must be one that the repository has, at a version that can be had. */
static int look_for(struct opam_request *r, struct str name, struct str asked, struct looking *l, struct err *e)
{
	*l = (struct looking){.needs = r->needs};
	if (channel_needs_ask(r->needs, name, look, l, e) < 0)
		return e->code == ERR_NOT_FOUND ? no_name(r, name, e) : -1;
	struct str newest = l->newest;
	*l = (struct looking){.needs = r->needs};
	if (channel_needs_ask(r->needs, asked, look, l, e) < 0)
		return e->code == ERR_NOT_FOUND
			       ? err_new(e, ERR_NOT_FOUND, "package '%.*s' has no version for '%.*s'%s%.*s",
					 STR_ARG(name), STR_ARG(asked), newest.n ? "; its newest is " : "",
					 STR_ARG(newest))
			       : -1;
	return 0;
}

/* The version of a name in a list of NAME.VERSION; STR_NONE. */
static struct str version_of(const struct text_vec *list, struct str name)
{
	vec_foreach(key, list) {
		struct str version = *key, one;
		if (str_take_until(&version, '.', &one) && str_eq(one, name))
			return version;
	}
	return STR_NONE;
}

static int not_available(struct opam_request *r, struct str name, struct str asked, struct err *e)
{
	struct looking any = {.needs = r->needs};
	struct str pin = version_of(&r->pinned, name);
	if (!pin.n)
		return err_new(e, ERR_NOT_FOUND, "'%.*s' is not available here: its field 'available' says so",
			       STR_ARG(asked));
	if (channel_needs_ask(r->needs, name, look, &any, e) < 0)
		return -1;
	return err_new(e, ERR_NOT_FOUND, "'%.*s' cannot be had: '%.*s' is pinned to %.*s%s", STR_ARG(asked),
		       STR_ARG(name), STR_ARG(pin), any.had ? "" : ", which is not available here or in no repository");
}

/* What is installed so is not looked at; an upgrade may be to nothing older. */
static int look_up(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	for (size_t i = 0; i < r->asked.n; i++) {
		struct looking l;
		struct str name = r->names.v[i], *asked = &r->asked.v[i];
		if (look_for(r, name, *asked, &l, e) < 0)
			return -1;
		if (!l.had)
			return l.problem.n ? err_new(e, ERR_NOT_FOUND, "'%.*s' cannot be had: %.*s", STR_ARG(*asked),
						     STR_ARG(l.problem))
					   : not_available(r, name, *asked, e);
		struct str installed = version_of(&r->installed, name);
		if (r->args->upgrade) {
			r->left++;
			if (installed.p && str_eq(name, *asked))
				*asked = opam_plan_newer(r->needs, name, installed, !version_of(&r->pinned, name).p,
							 &c->arena);
		} else if (l.installed.n) {
			cmd_say(c, "[NOTE] Package %.*s is already installed (current version is %.*s).", STR_ARG(name),
				STR_ARG(l.installed));
		} else {
			r->left++;
		}
	}
	r->solve.asked = r->asked.v;
	r->solve.asked_n = r->asked.n;
	return 0;
}

/* -- removals ------------------------------------------------------------------------------------------------------- */

struct leaving {
	struct opam_request *r;
	uint8_t *goes; /* by package */
	bool hit;
};

static int note_leaving(void *ctx, const struct channel_need *need, struct err *e)
{
	struct leaving *l = ctx;
	(void)e;
	for (size_t i = 0; i < need->one.n; i++)
		if (channel_needs_candidate(l->r->needs, need->one.v[i])->installed) {
			l->goes[need->one.v[i]] = 1;
			l->hit = true;
		}
	return 0;
}

static int test_leaving(void *ctx, const struct channel_need *need, struct err *e)
{
	struct leaving *l = ctx;
	(void)e;
	for (size_t i = 0; i < need->one.n && need->kind == CHANNEL_NEED; i++)
		l->hit |= l->goes[need->one.v[i]];
	return 0;
}

/* As in opam, what needs something that goes, goes, though something else might do in its place. */
static int spread_leaving(struct leaving *l, struct err *e)
{
	uint32_t count = channel_needs_count(l->r->needs);
	for (bool more = true; more;) {
		more = false;
		for (uint32_t i = 0; i < count; i++) {
			if (l->goes[i] || !channel_needs_candidate(l->r->needs, i)->installed)
				continue;
			l->hit = false;
			if (channel_needs_tell(l->r->needs, i, test_leaving, l, e) < 0)
				return -1;
			l->goes[i] = l->hit;
			more |= l->hit;
		}
	}
	return 0;
}

static int look_up_removed(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	auto_free uint8_t *goes = xcalloc((size_t)channel_needs_count(r->needs) + 1, 1);
	struct leaving l = {r, goes, false};
	vec_foreach(word, &r->args->removed) {
		struct looking known;
		struct str name;
		if (name_of(c, str_c(*word), &name, e) < 0 || look_for(r, name, str_c(*word), &known, e) < 0)
			return -1;
		l.hit = false;
		if (channel_needs_ask(r->needs, str_c(*word), note_leaving, &l, e) < 0)
			return -1;
		if (!l.hit)
			cmd_say(c, "[NOTE] %s is not installed.", *word);
		else
			vec_push(&r->names, name);
		r->left += l.hit;
	}
	if (spread_leaving(&l, e) < 0)
		return -1;
	for (uint32_t i = 0; i < channel_needs_count(r->needs); i++)
		if (goes[i])
			vec_push(&r->removed, channel_needs_candidate(r->needs, i)->name);
	r->solve.removed = r->removed.v;
	r->solve.removed_n = r->removed.n;
	return 0;
}

/* -- best effort ---------------------------------------------------------------------------------------------------- */

struct seeking {
	const struct opam_request *r;
	bool found;
};

static int seek(void *ctx, const struct channel_need *need, struct err *e)
{
	struct seeking *s = ctx;
	(void)e;
	for (size_t i = 0; i < need->one.n && !s->found; i++)
		for (size_t k = 0; k < s->r->result.n && !s->found; k++)
			s->found = s->r->result.package[k] == need->one.v[i];
	return 0;
}

/* What was asked for, and could not be had with the rest. */
static int find_left_out(struct opam_request *r, struct err *e)
{
	for (size_t i = 0; i < r->asked.n; i++) {
		struct seeking s = {r, false};
		if (channel_needs_ask(r->needs, r->asked.v[i], seek, &s, e) < 0)
			return -1;
		if (!s.found)
			vec_push(&r->left_out, r->asked.v[i]);
	}
	return 0;
}

/* What waits for each other cannot be done, so that it is no solution. */
static void tell_circles(struct cmd_context *c, struct opam_request *r)
{
	struct str *why = arena_array(&c->arena, struct str, r->steps.circles + 1);
	for (size_t i = 0; i < r->steps.circles; i++)
		why[i] = str_c(arena_printf(&c->arena, "what has to be done goes round in a circle: %.*s",
					    STR_ARG(r->steps.circle[i])));
	r->result.why = why;
	r->result.why_n = r->steps.circles;
}

/* Later opams weigh all that is installed; opam 2.1, and 0install, which weighs nothing, ask for what is not older. */
static void ask_for_all(struct cmd_context *c, struct opam_request *r)
{
	if (!r->args->old && r->solve.criteria != SOLVE_0INSTALL)
		return;
	for (size_t i = 0; i < r->installed.n; i++) {
		struct str version = r->installed.v[i], name;
		if (str_take_until(&version, '.', &name))
			vec_push(&r->asked, opam_plan_newer(r->needs, name, version, false, &c->arena));
	}
	r->solve.asked = r->asked.v;
	r->solve.asked_n = r->asked.n;
	r->solve.update = true;
}

static int run(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	enum solve_step_order order = r->args->old ? SOLVE_IN_ORDER : SOLVE_BY_NAME;
	if (read_request(c, r, e) < 0 || open_needs(c, r, e) < 0 || look_up(c, r, e) < 0 ||
	    look_up_removed(c, r, e) < 0)
		return -1;
	r->all = r->args->upgrade && !r->asked.n;
	if (!r->left && !r->all)
		return check_needs(r, e);
	if (r->all)
		ask_for_all(c, r);
	int rc = solve_needs_by(r->needs, &r->solve, &c->arena, &r->result, e);
	if (rc == 0)
		rc = solve_steps(r->needs, r->result.package, r->result.n, r->names.v, r->names.n, order, &c->arena,
				 &r->steps, e);
	if (rc > 0 && r->steps.circles)
		tell_circles(c, r);
	if (rc == 0 && r->args->best_effort)
		rc = find_left_out(r, e);
	if (rc == 0 && (r->args->depexts || c->json))
		find_wishes(c, r);
	return rc < 0 || check_needs(r, e) < 0 ? -1 : rc;
}

static int solve_and_show(struct cmd_context *c, const struct opam_args *args)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	cleanup_with(request_release) struct opam_request r = {.args = args};
	int rc = run(c, &r, &e);
	if (rc)
		return rc < 0 ? fail(c, &r, &e) : no_solution(c, &r);
	if (c->verbose)
		cmd_say(c, "%zu packages, %llu variables, %llu conflicts%s", r.result.n,
			(unsigned long long)r.result.variables, (unsigned long long)r.result.conflicts,
			r.result.unproved ? "; there was no time to show that nothing is better" : "");
	vec_foreach(asked, &r.left_out)
		cmd_say(c, "left out, as it does not go with the rest: %.*s", STR_ARG(*asked));
	if (c->json)
		return answer(c, &r);
	if (put_plan(c, &r, &b, &e) < 0)
		return fail(c, &r, &e);
	if (!r.steps.n)
		put_nothing(c, &r, &b);
	put_wishes(&r, &b);
	out_tame(&b); /* what packages say in `messages` */
	return cmd_print(c, &b);
}

int cmd_opam_solve(struct cmd_context *c, int argc, char **argv)
{
	struct opam_args args = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {
		{0, "repo", CMD_LIST, &args.repos},
		{0, "switch-state", CMD_TEXT, &args.state},
		{0, "criteria", CMD_TEXT, &args.criteria},
		{0, "format", CMD_TEXT, &args.format},
		{0, "platform", CMD_TEXT, &args.platform},
		{0, "distribution", CMD_TEXT, &args.distribution},
		{0, "depexts", CMD_FLAG, &args.depexts},
		{0, "installed", CMD_LIST, &args.installed},
		{0, "pin", CMD_LIST, &args.pinned},
		{0, "var", CMD_LIST, &args.variables},
		{'t', "with-test", CMD_FLAG, &args.with_test},
		{0, "with-tests", CMD_FLAG, &args.with_test},
		{0, "with-doc", CMD_FLAG, &args.with_doc},
		{0, "remove", CMD_LIST, &args.removed},
		{0, "upgrade", CMD_FLAG, &args.upgrade},
		{0, "best-effort", CMD_FLAG, &args.best_effort},
		{0, "invariant", CMD_TEXT, &args.invariant},
		{0, "system", CMD_LIST, &args.system},
		{0, NULL, CMD_FLAG, NULL},
	};
	int code = CMD_OK;
	if (cmd_parse(c, options, false, argc, argv, &args.words, &e) == 0 && args.format &&
	    !str_starts(str_c(args.format), STR("2.")))
		err_new(&e, ERR_USAGE, "--format wants a version of opam, as 2.1 or 2.5, not '%s'", args.format);
	args.old = args.format && (strcmp(args.format, "2.0") == 0 || str_starts(str_c(args.format), STR("2.1")));
	if (e.code)
		code = cmd_fail(c, &e);
	else
		code = c->help ? cmd_help(c) : solve_and_show(c, &args);
	vec_release(&args.words);
	vec_release(&args.repos);
	vec_release(&args.installed);
	vec_release(&args.pinned);
	vec_release(&args.variables);
	vec_release(&args.removed);
	vec_release(&args.system);
	return code;
}
