// SPDX-License-Identifier: Apache-2.0
/* opam solve: what opam would do, in its words (doc/opam.md). Exit codes are opam's where it has one. */
#include "cmd/opam_solve.h"

#include "cmd/change.h"
#include "cmd/cmd.h"
#include "cmd/opam_as.h"
#include "cmd/opam_plan.h"
#include "cmd/opam_repos.h"

/* -- what is asked for must be there ------------------------------------------------------------------------------- */

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
		if (opam_request_name(c, str_c(*word), &name, e) < 0 || look_for(r, name, str_c(*word), &known, e) < 0)
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

/* -- the command ---------------------------------------------------------------------------------------------------- */

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

static int run(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	enum solve_step_order order = r->args->old ? SOLVE_IN_ORDER : SOLVE_BY_NAME;
	if (opam_request_read(c, r, e) < 0 || opam_request_open(c, r, e) < 0 || look_up(c, r, e) < 0 ||
	    look_up_removed(c, r, e) < 0)
		return -1;
	r->all = r->args->upgrade && !r->asked.n;
	if (!r->left && !r->all)
		return opam_request_check(r, e);
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
	return rc < 0 || opam_request_check(r, e) < 0 ? -1 : rc;
}

/* A repository that is not there is no package that is not there. */
static int fail(struct cmd_context *c, const struct opam_request *r, const struct err *e)
{
	bool no_package = e->code == ERR_NOT_FOUND && !e->sys && r->needs;
	return cmd_fail_as(c, e, no_package ? OPAM_NOT_FOUND : cmd_exit_of(e));
}

static int solve_and_show(struct cmd_context *c, const struct opam_args *args)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	cleanup_with(opam_request_release) struct opam_request r = {.args = args};
	int rc = run(c, &r, &e);
	if (rc)
		return rc < 0 ? fail(c, &r, &e) : opam_solve_refuse(c, &r);
	if (c->verbose)
		cmd_say(c, "%zu packages, %llu variables, %llu conflicts%s", r.result.n,
			(unsigned long long)r.result.variables, (unsigned long long)r.result.conflicts,
			r.result.unproved ? "; there was no time to show that nothing is better" : "");
	vec_foreach(asked, &r.left_out)
		cmd_say(c, "left out, as it does not go with the rest: %.*s", STR_ARG(*asked));
	if (c->json)
		return opam_solve_answer(c, &r);
	if (opam_solve_put_plan(c, &r, &b, &e) < 0)
		return fail(c, &r, &e);
	if (!r.steps.n)
		opam_solve_put_nothing(c, &r, &b);
	opam_solve_put_wishes(&r, &b);
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
