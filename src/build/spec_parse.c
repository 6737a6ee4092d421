// SPDX-License-Identifier: Apache-2.0
/*
 * From expressions to a spec. Each message names the place and what would be right there; what nobody can mean is refused
 * here, so that what is parsed can be printed and made a Dockerfile of without asking again.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "base/sexp.h"
#include "base/vec.h"
#include "build/spec.h"

/* The names of stages that may be copied from. */
struct scope {
	struct str name;
	const struct scope *up;
};
struct parser {
	struct arena *a;
	const char *file;
	struct err *e;
};

#define bad(p, at, ...) sexp_error((at), (p)->file, (p)->e, __VA_ARGS__)

static struct spec_place place_of(const struct sexp *s)
{
	return (struct spec_place){s->line, s->column};
}

/* What stands there, in a message. */
static const char *found(struct parser *p, const struct sexp *s)
{
	if (!s->is_list)
		return arena_printf(p->a, "the word '%.*s'", (int)(s->atom.n > 40 ? 40 : s->atom.n), s->atom.p);
	if (s->n == 0)
		return "an empty list";
	if (s->item[0].is_list)
		return "a list of lists";
	struct str head = str_head(s->item[0].atom, 40);
	return arena_printf(p->a, "(%.*s%s)", STR_ARG(head), s->n > 1 ? " …" : "");
}

/* The word among `known` (separated by spaces) that was meant, or "". */
static const char *did_you_mean(struct parser *p, struct str word, const char *known)
{
	struct str rest = str_c(known), k, best = STR_NONE;
	unsigned least = (unsigned)(word.n < 6 ? 3 : word.n / 2 + 1);
	while (str_take_word(&rest, &k)) {
		unsigned d = str_distance(word, k);
		if (d < least && d < k.n) {
			least = d;
			best = k;
		}
	}
	return best.n ? arena_printf(p->a, "; did you mean '%.*s'?", STR_ARG(best)) : "";
}

/* -- words --------------------------------------------------------------------------------------------------------- */

static int take_atom(struct parser *p, const struct sexp *s, const char *what, struct str *ret)
{
	if (s->is_list)
		return bad(p, s, "%s is one word, or a string in quotes; here is %s", what, found(p, s));
	if (str_find(s->atom, '\0') >= 0)
		return bad(p, s, "%s holds a NUL byte, which no program can be given", what);
	*ret = s->atom;
	return 0;
}

static int take_name(struct parser *p, const struct sexp *s, const char *what, struct str *ret)
{
	if (take_atom(p, s, what, ret) < 0)
		return -1;
	return ret->n ? 0 : bad(p, s, "%s is empty", what);
}

/* (NAME WORD), nothing else. */
static int take_only(struct parser *p, const struct sexp *list, const char *what, struct str *ret)
{
	const char *name = list->item[0].atom.p;
	if (list->n == 2)
		return take_atom(p, &list->item[1], what, ret);
	const struct sexp *at = list->n > 2 ? &list->item[2] : list;
	return bad(p, at, "%s is one word, or a string in quotes: (%s %s); here %s", what, name,
		   str_eq_c(list->item[0].atom, "shell") || str_eq_c(list->item[0].atom, "comment") ? "\"…\"" : "…",
		   list->n > 2 ? "are more" : "is none");
}

static int take_words(struct parser *p, const struct sexp *list, const char *what, const struct str **ret, size_t *n)
{
	struct str *v = arena_array(p->a, struct str, list->n);
	for (uint32_t i = 1; i < list->n; i++)
		if (take_atom(p, &list->item[i], what, &v[i - 1]) < 0)
			return -1;
	*ret = v;
	*n = list->n - 1;
	return 0;
}

static bool is_field(const struct sexp *s)
{
	return s->is_list && s->n && !s->item[0].is_list;
}

/* Fields (NAME …) in any order, each at most once: ret[i] is that of the i-th name of `known` (separated by spaces). */
static int take_fields(struct parser *p, const struct sexp *list, const char *what, const char *known,
		       const struct sexp **ret)
{
	for (uint32_t i = 1; i < list->n; i++) {
		const struct sexp *f = &list->item[i];
		if (!is_field(f))
			return bad(p, f, "'%s' takes fields in parentheses (%s); here is %s", what, known, found(p, f));
		struct str rest = str_c(known), k, name = f->item[0].atom;
		size_t slot = 0;
		bool is_known = false;
		while (!is_known && str_take_word(&rest, &k)) {
			is_known = str_eq(name, k);
			slot += !is_known;
		}
		if (!is_known) {
			const char *near = did_you_mean(p, name, known);
			return bad(p, &f->item[0], "'%s' has no field '%.*s'%s%s%s", what, (int)str_head(name, 40).n,
				   name.p, near, *near ? "" : "; its fields are ", *near ? "" : known);
		}
		if (ret[slot])
			return bad(p, f, "'%s' has a second (%.*s …); the first is at %u:%u", what, STR_ARG(name),
				   (unsigned)ret[slot]->line, (unsigned)ret[slot]->column);
		ret[slot] = f;
	}
	return 0;
}

/* -- operations ---------------------------------------------------------------------------------------------------- */

static int take_option(struct parser *p, const struct sexp *s, struct spec_pair *ret)
{
	if (!s->is_list || s->n != 2)
		return bad(p, s, "a build option is (NAME VALUE); here is %s", found(p, s));
	if (take_name(p, &s->item[0], "a build option's name", &ret->name) < 0)
		return -1;
	return take_atom(p, &s->item[1], "a build option's value", &ret->value);
}

/* (buildkit_options ((K V) …)) */
static int take_options(struct parser *p, const struct sexp *field, struct spec_mount *m)
{
	const struct sexp *list = &field->item[field->n > 1];
	if (field->n != 2 || !list->is_list)
		return bad(p, list, "the options are a list of their own: (buildkit_options ((NAME VALUE) …))");
	struct spec_pair *v = arena_array(p->a, struct spec_pair, list->n);
	for (uint32_t i = 0; i < list->n; i++)
		if (take_option(p, &list->item[i], &v[i]) < 0)
			return -1;
	m->options = v;
	m->n_options = list->n;
	return 0;
}

/* (ID (target PATH) (buildkit_options …)) */
static int take_mount(struct parser *p, const struct sexp *s, const char *what, struct spec_mount *ret)
{
	const struct sexp *field[2] = {NULL, NULL};
	*ret = (struct spec_mount){.at = place_of(s)};
	if (!s->is_list || s->n == 0)
		return bad(p, s, "a %s is (NAME (target PATH)); here is %s", what, found(p, s));
	if (take_name(p, &s->item[0], arena_printf(p->a, "a %s's name", what), &ret->id) < 0 ||
	    take_fields(p, s, what, "target buildkit_options", field) < 0)
		return -1;
	if (!field[0])
		return bad(p, s, "%s '%.*s' has no target; write (%.*s (target PATH))", what, STR_ARG(ret->id),
			   STR_ARG(ret->id));
	if (take_only(p, field[0], "a target", &ret->target) < 0)
		return -1;
	if (!ret->target.n)
		return bad(p, field[0], "the target of %s '%.*s' is empty", what, STR_ARG(ret->id));
	return field[1] ? take_options(p, field[1], ret) : 0;
}

static int take_mounts(struct parser *p, const struct sexp *list, const char *what, const struct spec_mount **ret,
		       size_t *n)
{
	if (!list)
		return 0;
	struct spec_mount *v = arena_array(p->a, struct spec_mount, list->n);
	for (uint32_t i = 1; i < list->n; i++)
		if (take_mount(p, &list->item[i], what, &v[i - 1]) < 0)
			return -1;
	*ret = v;
	*n = list->n - 1;
	return 0;
}

static int take_run(struct parser *p, const struct sexp *s, struct spec_op *op)
{
	const struct sexp *field[4] = {NULL, NULL, NULL, NULL};
	if (take_fields(p, s, "run", "cache network secrets shell", field) < 0)
		return -1;
	if (!field[3])
		return bad(p, s, "this run has no command; write (run (shell \"COMMAND\"))");
	if (take_mounts(p, field[0], "cache", &op->caches, &op->n_caches) < 0 ||
	    (field[1] && take_words(p, field[1], "a network", &op->networks, &op->n_networks) < 0) ||
	    take_mounts(p, field[2], "secret", &op->secrets, &op->n_secrets) < 0)
		return -1;
	op->networks_at = place_of(field[1] ? field[1] : s);
	return take_only(p, field[3], "a command", &op->text);
}

static int take_from_stage(struct parser *p, const struct sexp *list, const struct scope *scope, struct spec_op *op)
{
	if (list->n != 2)
		return bad(p, list, "'from' of a copy is (from context) or (from (build STAGE))");
	const struct sexp *s = &list->item[1];
	if (sexp_is(s, "context"))
		return 0;
	if (!s->is_list || s->n != 2 || !sexp_is(&s->item[0], "build"))
		return bad(p, s, "a copy comes from 'context' or from (build STAGE); here is %s", found(p, s));
	if (take_name(p, &s->item[1], "a stage's name", &op->from_stage) < 0)
		return -1;
	for (const struct scope *k = scope; k; k = k->up)
		if (str_eq(k->name, op->from_stage))
			return 0;
	auto_buf known = BUF_INIT(SEXP_TEXT_MAX);
	for (const struct scope *k = scope; k; k = k->up)
		if (str_find(k->name, ' ') < 0)
			buf_printf(&known, "%.*s ", STR_ARG(k->name));
	const char *near = did_you_mean(p, op->from_stage, known.p);
	const char *else_say = !scope ? "; a stage is written (build NAME (…)) before (from …)"
				      : arena_printf(p->a, "; there are: %.*s", STR_ARG(str_trim(buf_str(&known))));
	return bad(p, &s->item[1], "no stage '%.*s' is built before this%s", STR_ARG(str_head(op->from_stage, 60)),
		   *near ? near : else_say);
}

static int take_copy(struct parser *p, const struct sexp *s, const struct scope *scope, struct spec_op *op)
{
	const struct sexp *field[4] = {NULL, NULL, NULL, NULL};
	if (take_fields(p, s, "copy", "from src dst exclude", field) < 0)
		return -1;
	if (!field[1] || !field[2])
		return bad(p, s, "this copy has no '%s'; write (copy (src PATH …) (dst PATH))",
			   field[1] ? "dst" : "src");
	if ((field[0] && take_from_stage(p, field[0], scope, op) < 0) ||
	    take_words(p, field[1], "a source", &op->words, &op->n_words) < 0 ||
	    take_only(p, field[2], "a destination", &op->dst) < 0 ||
	    (field[3] && take_words(p, field[3], "a name to exclude", &op->excludes, &op->n_excludes) < 0))
		return -1;
	if (op->n_words == 0)
		return bad(p, field[1], "this copy has no source; write (src PATH …), '.' for all of the context");
	return op->dst.n ? 0 : bad(p, field[2], "the destination is empty");
}

static int take_id(struct parser *p, const struct sexp *list, const char *what, uint32_t *ret)
{
	struct str s;
	uint64_t n;
	if (take_only(p, list, what, &s) < 0)
		return -1;
	if (!str_to_u64(s, &n) || n >= UINT32_MAX)
		return bad(p, &list->item[1], "%s is a number from 0 to 4294967294; here is '%.*s'", what,
			   STR_ARG(str_head(s, 40)));
	*ret = (uint32_t)n;
	return 0;
}

/* (user (uid N) (gid N)), in this order, as OBuilder wants it; (user (name S)) is of Windows. */
static int take_user(struct parser *p, const struct sexp *s, struct spec_op *op)
{
	const struct sexp *field[3] = {NULL, NULL, NULL};
	if (take_fields(p, s, "user", "uid gid name", field) < 0)
		return -1;
	if (field[2]) {
		if (field[0] || field[1])
			return bad(p, field[2], "a user has a name, or 'uid' and 'gid', not both");
		return take_only(p, field[2], "a user's name", &op->user.name);
	}
	if (!field[0] || !field[1])
		return bad(p, s, "this user has no '%s'; write (user (uid N) (gid N))", field[0] ? "gid" : "uid");
	if (field[0] > field[1])
		return bad(p, field[1], "'uid' comes first: (user (uid N) (gid N))");
	return take_id(p, field[0], "a uid", &op->user.uid) < 0 ? -1 : take_id(p, field[1], "a gid", &op->user.gid);
}

static int take_env(struct parser *p, const struct sexp *s, struct spec_op *op)
{
	if (s->n != 3)
		return bad(p, s->n > 3 ? &s->item[3] : s, "'env' takes a name and one value: (env NAME VALUE)%s",
			   s->n > 3 ? "; put a value of several words in quotes" : "");
	if (take_name(p, &s->item[1], "a variable's name", &op->env.name) < 0)
		return -1;
	if (str_find(op->env.name, '=') >= 0)
		return bad(p, &s->item[1], "a variable's name has no '='; write (env NAME VALUE)");
	return take_atom(p, &s->item[2], "a variable's value", &op->env.value);
}

static const char *const kind_names[] = {
	[SPEC_COMMENT] = "comment", [SPEC_WORKDIR] = "workdir", [SPEC_SHELL] = "shell", [SPEC_ENV] = "env",
	[SPEC_USER] = "user",	    [SPEC_RUN] = "run",		[SPEC_COPY] = "copy"};
enum { KINDS = sizeof(kind_names) / sizeof(kind_names[0]) };

const char *spec_kind_name(enum spec_kind kind)
{
	return kind_names[kind];
}

static int take_kind(struct parser *p, const struct sexp *s, enum spec_kind *ret)
{
	if (!is_field(s))
		return bad(p, s, "an operation is wanted, such as (run (shell \"COMMAND\")); here is %s", found(p, s));
	for (size_t i = 0; i < KINDS; i++)
		if (sexp_is(&s->item[0], kind_names[i])) {
			*ret = (enum spec_kind)i;
			return 0;
		}
	if (sexp_is(&s->item[0], "from"))
		return bad(p, s, "a second (from …); another stage is written (build NAME (…)) before the first");
	if (sexp_is(&s->item[0], "build"))
		return bad(p, s, "(build …) comes after (from …); stages stand before it");
	const char *near = did_you_mean(p, s->item[0].atom, "comment workdir shell env user run copy");
	return bad(p, &s->item[0], "there is no operation '%.*s'%s", STR_ARG(str_head(s->item[0].atom, 40)),
		   *near ? near : "; there are: comment, workdir, shell, env, user, run, copy");
}

static int take_op(struct parser *p, const struct sexp *s, const struct scope *scope, struct spec_op *op)
{
	*op = (struct spec_op){.at = place_of(s)};
	if (take_kind(p, s, &op->kind) < 0)
		return -1;
	switch (op->kind) {
	case SPEC_COMMENT:
		return take_only(p, s, "a comment", &op->text);
	case SPEC_WORKDIR:
		if (take_only(p, s, "a folder", &op->text) < 0)
			return -1;
		return op->text.n ? 0 : bad(p, &s->item[1], "the folder to work in is empty");
	case SPEC_SHELL:
		return take_words(p, s, "a word of the shell", &op->words, &op->n_words);
	case SPEC_ENV:
		return take_env(p, s, op);
	case SPEC_USER:
		return take_user(p, s, op);
	case SPEC_RUN:
		return take_run(p, s, op);
	case SPEC_COPY:
		return take_copy(p, s, scope, op);
	}
	return -1;
}

/* -- stages -------------------------------------------------------------------------------------------------------- */

static int take_spec(struct parser *p, const struct sexp *s, const struct scope *scope, int depth,
		     struct build_spec *ret);

static int take_stage(struct parser *p, const struct sexp *s, const struct scope *scope, int depth,
		      struct spec_stage *ret)
{
	ret->at = place_of(s);
	if (s->n != 3)
		return bad(p, s, "a stage is (build NAME ((from IMAGE) …))%s",
			   s->n > 3 ? ": its operations are in parentheses of their own" : "");
	if (take_name(p, &s->item[1], "a stage's name", &ret->name) < 0)
		return -1;
	if (depth >= SPEC_STAGE_DEPTH_MAX)
		return spec_error(p->file, place_of(s), ERR_LIMIT, p->e, "more than %d stages in each other",
				  SPEC_STAGE_DEPTH_MAX);
	return take_spec(p, &s->item[2], scope, depth + 1, &ret->spec);
}

/* Stages to the first (from …): how many. */
static size_t count_stages(const struct sexp *s)
{
	size_t n = 0;
	while (n < s->n && is_field(&s->item[n]) && sexp_is(&s->item[n].item[0], "build"))
		n++;
	return n;
}

static int take_from(struct parser *p, const struct sexp *s, size_t at, struct build_spec *ret)
{
	if (at == s->n)
		return bad(p, s, "(from IMAGE) is missing: the image that the build begins with");
	const struct sexp *f = &s->item[at];
	if (!is_field(f) || !sexp_is(&f->item[0], "from"))
		return bad(p, f, "(from IMAGE) is missing: it stands before the first operation; here is %s",
			   found(p, f));
	ret->from_at = place_of(f);
	if (take_only(p, f, "an image", &ret->from) < 0)
		return -1;
	return ret->from.n ? 0 : bad(p, &f->item[1], "the image's name is empty");
}

static int take_spec(struct parser *p, const struct sexp *s, const struct scope *scope, int depth,
		     struct build_spec *ret)
{
	if (!s->is_list)
		return bad(p, s, "a spec is a list, ((from IMAGE) (run …) …); here is %s", found(p, s));
	size_t n = count_stages(s);
	/* what people forget: the parentheses round the whole */
	if (s->n && !s->item[0].is_list)
		return bad(p, s, "a spec is a list of its operations, ((from IMAGE) (run …) …); here is %s%s",
			   found(p, s), sexp_is(&s->item[0], "from") ? ": put parentheses round the whole" : "");
	struct spec_stage *stages = arena_array(p->a, struct spec_stage, n);
	for (size_t i = 0; i < n; i++) {
		if (take_stage(p, &s->item[i], scope, depth, &stages[i]) < 0)
			return -1;
		struct scope *more = arena_new(p->a, struct scope);
		*more = (struct scope){stages[i].name, scope};
		scope = more;
	}
	if (take_from(p, s, n, ret) < 0)
		return -1;
	ret->stages = stages;
	ret->n_stages = n;
	ret->n_ops = s->n - n - 1;
	struct spec_op *ops = arena_array(p->a, struct spec_op, ret->n_ops);
	for (size_t i = 0; i < ret->n_ops; i++)
		if (take_op(p, &s->item[n + 1 + i], scope, &ops[i]) < 0)
			return -1;
	ret->ops = ops;
	return 0;
}

int spec_parse(struct str text, const char *file, struct arena *a, struct build_spec *ret, struct err *e)
{
	struct parser p = {a, file, e};
	if (!str_trim(text).n)
		return err_new(e, ERR_INPUT, "%s:1:1: the file is empty; a spec begins with ((from IMAGE)", file);
	const struct sexp *s = sexp_parse(a, text, file, e);
	if (!s)
		return -1;
	*ret = (struct build_spec){0};
	return take_spec(&p, s, NULL, 0, ret);
}

int spec_read(const char *path, struct buf *b, struct err *e)
{
	if (strcmp(path, "-") == 0)
		return fs_read_any(AT_FDCWD, "/dev/stdin", b, e);
	return fs_read_any(AT_FDCWD, path, b, e);
}
