// SPDX-License-Identifier: Apache-2.0
/* opam solve, opam why: what opam would do, in its words (doc/opam.md). Exit codes are opam's where it has one. */
#include <fcntl.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "cmd/change.h"
#include "cmd/cmd.h"
#include "cmd/opam_repos.h"

enum { OPAM_NOT_FOUND = 5, OPAM_NO_SOLUTION = 20, STATE_MAX = 16 << 20, CAUSES_SHOWN = 3, CAUSES_ALL = 4 };

struct opam_args {
	struct cmd_list repos;
	const char *state, *criteria, *format, *platform;
	struct cmd_list installed, pinned, variables, words;
	bool with_test, with_doc, old; /* old: as opam 2.1 prints */
};
VEC_TYPE(text_vec, struct str);
/* What was asked for, read and opened. */
struct opam_request {
	const struct opam_args *args;
	struct text_vec installed, pinned, names, asked, variables;
	struct cmd_opam_repos repos;
	struct channel_needs *needs;
	struct solve_needs_request solve;
	size_t left; /* of what was asked for, what is not installed already */
	struct solve_needs_result result;
	struct solve_steps steps;
};

static void request_release(struct opam_request *r)
{
	channel_needs_free(r->needs);
	cmd_opam_repos_release(&r->repos);
	vec_release(&r->installed);
	vec_release(&r->pinned);
	vec_release(&r->names);
	vec_release(&r->asked);
	vec_release(&r->variables);
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
	return 0;
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
	static const char *const names[] = {NULL, "newest", "0install", "lower-bounds"};
	const char *name = r->args->criteria ? r->args->criteria : "newest";
	for (size_t i = 1; i < 4; i++)
		if (strcmp(name, names[i]) == 0) {
			r->solve.criteria = (enum solve_criteria)i;
			return 0;
		}
	return err_new(e, ERR_USAGE, "--criteria wants newest, 0install or lower-bounds, not '%s'", name);
}

static int read_request(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	const struct opam_args *args = r->args;
	if (!args->words.n)
		return err_new(e, ERR_USAGE, "nothing to solve for: name packages, as in: dune merlin.5.2");
	if (read_criteria(r, e) < 0 || read_state(c, r, e) < 0)
		return -1;
	add_texts(&r->installed, &args->installed);
	add_texts(&r->pinned, &args->pinned);
	add_texts(&r->asked, &args->words);
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
	add_texts(&r->variables, &args->variables);
	r->solve.asked = r->asked.v;
	r->solve.asked_n = r->asked.n;
	r->solve.update = args->old;
	return 0;
}

static int open_needs(struct cmd_context *c, struct opam_request *r, struct err *e)
{
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
					     .with_doc = r->args->with_doc};
	if (cmd_opam_open(c, r->args->repos.v, r->args->repos.n, 0, &r->repos, e) < 0)
		return -1;
	return channel_needs_open_opam(r->repos.index, r->repos.n, &o, &r->needs, e);
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
	struct str kind, name, version, cause;
};

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
	for (size_t i = 0; i < 4; i++)
		buf_printf(&line, " %-*.*s", (int)wide[i].n, STR_ARG(cell[i]));
	while (line.n && line.p[line.n - 1] == ' ')
		line.n--;
	buf_put_str(b, buf_str(&line));
	buf_put_char(b, '\n');
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

static void put_plan(struct cmd_context *c, const struct opam_request *r, struct buf *b)
{
	struct row *rows = arena_array(&c->arena, struct row, r->steps.n + 1), width = {0};
	if (!r->steps.n)
		return;
	for (size_t i = 0; i < r->steps.n; i++) {
		const struct solve_step *s = &r->steps.v[i];
		auto_buf version = BUF_INIT(1 << 16);
		auto_buf cause = BUF_INIT(1 << 16);
		put_versions(r, s, &version);
		put_cause(r, s, &cause);
		rows[i] = (struct row){str_c(kind_names[s->kind]), channel_needs_candidate(r->needs, s->package)->name,
				       arena_str(&c->arena, buf_str(&version)), arena_str(&c->arena, buf_str(&cause))};
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

static int answer(struct cmd_context *c, const struct opam_request *r)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_objects(w, "actions", r->steps.n, put_step, r);
	jw_kv_bool(w, "best", !r->result.unproved);
	return cmd_answer_print(c, &a);
}

/* -- failing -------------------------------------------------------------------------------------------------------- */

static int fail(struct cmd_context *c, const struct err *e)
{
	int code = cmd_fail(c, e);
	return e->code == ERR_NOT_FOUND && !e->sys ? OPAM_NOT_FOUND : code;
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
	bool named, had;
	struct str installed;
};

static int look(void *ctx, const struct channel_need *need, struct err *e)
{
	struct looking *l = ctx;
	(void)e;
	for (size_t i = 0; i < need->one.n; i++) {
		const struct channel_candidate *c = channel_needs_candidate(l->needs, need->one.v[i]);
		bool available = channel_needs_is_available(l->needs, need->one.v[i]);
		l->had |= available || c->installed;
		if (available && c->installed)
			l->installed = c->version;
	}
	return 0;
}

/* Every name must be one that the repository has, at a version that can be had; what is installed so is not looked at. */
static int look_up(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	for (size_t i = 0; i < r->asked.n; i++) {
		struct looking l = {.needs = r->needs};
		struct str name = r->names.v[i];
		if (channel_needs_ask(r->needs, name, look, &l, e) < 0)
			return e->code == ERR_NOT_FOUND
				       ? err_new(e, ERR_NOT_FOUND, "no package named '%.*s'", STR_ARG(name))
				       : -1;
		l = (struct looking){.needs = r->needs};
		if (channel_needs_ask(r->needs, r->asked.v[i], look, &l, e) < 0)
			return e->code == ERR_NOT_FOUND
				       ? err_new(e, ERR_NOT_FOUND, "package '%.*s' has no version '%.*s'",
						 STR_ARG(name), STR_ARG(r->asked.v[i]))
				       : -1;
		if (!l.had)
			return err_new(e, ERR_NOT_FOUND,
				       "'%.*s' is not available here: its field 'available' or a pin says so",
				       STR_ARG(r->asked.v[i]));
		if (l.installed.n)
			cmd_say(c, "[NOTE] Package %.*s is already installed (current version is %.*s).", STR_ARG(name),
				STR_ARG(l.installed));
		else
			r->left++;
	}
	return 0;
}

static int run(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	enum solve_step_order order = r->args->old ? SOLVE_IN_ORDER : SOLVE_BY_NAME;
	if (read_request(c, r, e) < 0 || open_needs(c, r, e) < 0 || look_up(c, r, e) < 0)
		return -1;
	if (!r->left)
		return check_needs(r, e);
	int rc = solve_needs_by(r->needs, &r->solve, &c->arena, &r->result, e);
	if (rc == 0)
		rc = solve_steps(r->needs, r->result.package, r->result.n, r->names.v, r->names.n, order, &c->arena,
				 &r->steps, e);
	return rc < 0 || check_needs(r, e) < 0 ? -1 : rc;
}

static int solve_and_show(struct cmd_context *c, const struct opam_args *args)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	cleanup_with(request_release) struct opam_request r = {.args = args};
	int rc = run(c, &r, &e);
	if (rc)
		return rc < 0 ? fail(c, &e) : no_solution(c, &r);
	if (c->verbose)
		cmd_say(c, "%zu packages, %llu variables, %llu conflicts%s", r.result.n,
			(unsigned long long)r.result.variables, (unsigned long long)r.result.conflicts,
			r.result.unproved ? "; there was no time to show that nothing is better" : "");
	if (c->json)
		return answer(c, &r);
	put_plan(c, &r, &b);
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
		{0, "installed", CMD_LIST, &args.installed},
		{0, "pin", CMD_LIST, &args.pinned},
		{0, "var", CMD_LIST, &args.variables},
		{'t', "with-test", CMD_FLAG, &args.with_test},
		{0, "with-tests", CMD_FLAG, &args.with_test},
		{0, "with-doc", CMD_FLAG, &args.with_doc},
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
	return code;
}
