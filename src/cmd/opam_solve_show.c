// SPDX-License-Identifier: Apache-2.0
/* The plans of opam solve, in opam's words and as JSON. */
#include "base/json.h"
#include "cmd/change.h"
#include "cmd/cmd.h"
#include "cmd/opam_as.h"
#include "cmd/opam_plan.h"
#include "cmd/opam_solve.h"

enum { CAUSES_SHOWN = 3, CAUSES_ALL = 4, MESSAGES_MAX = 1 << 20 };

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
	auto_buf b = BUF_INIT(MESSAGES_MAX);
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

int opam_solve_put_plan(struct cmd_context *c, const struct opam_request *r, struct buf *b, struct err *e)
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
void opam_solve_put_nothing(const struct cmd_context *c, const struct opam_request *r, struct buf *b)
{
	if (r->args->upgrade && !r->args->removed.n && r->solve.criteria != SOLVE_FIXUP)
		opam_plan_up_to_date(r->needs, r->all ? NULL : r->names.v, r->all ? 0 : r->names.n, r->compiler.v,
				     r->compiler.n, r->args->old, c->verbose, b);
	if (r->args->upgrade || r->args->removed.n || r->left)
		buf_put_c(b, "Nothing to do.\n");
}

/* How many wishes from this one on are for the same package. */
static size_t wishes_alike(const struct opam_request *r, size_t i)
{
	size_t n = 1;
	while (i + n < r->wishes.n && str_eq(r->wishes.v[i + n].name, r->wishes.v[i].name))
		n++;
	return n;
}

void opam_solve_put_wishes(const struct opam_request *r, struct buf *b)
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
	jw_key(w, "after");
	jw_array(w);
	for (size_t k = 0; k < s->after_n; k++)
		jw_str(w, channel_needs_candidate(r->needs, r->steps.v[s->after[k]].package)->name);
	jw_array_end(w);
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

int opam_solve_answer(struct cmd_context *c, const struct opam_request *r)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_objects(w, "actions", r->steps.n, put_step, r);
	put_system(w, r);
	jw_kv_list(w, "left_out", r->left_out.v, r->left_out.n);
	jw_kv_bool(w, "best", !r->result.unproved);
	return cmd_answer_print(c, &a);
}

int opam_solve_refuse(struct cmd_context *c, const struct opam_request *r)
{
	return cmd_no_solution_for(c, r->result.why, r->result.why_n, OPAM_NO_SOLUTION);
}
