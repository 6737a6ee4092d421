// SPDX-License-Identifier: Apache-2.0
/* A spec as OBuilder prints it: in one order of fields, whatever order they were written in. */
#include "base/sexp.h"
#include "build/pretty.h"
#include "build/spec.h"

/* -- atoms and one-line lists -------------------------------------------------------------------------------------- */

static void put_escaped(struct pretty *p, struct str s)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	sexp_put_escaped(&b, s);
	pretty_text(p, buf_str(&b));
}

/* Of several lines: each on one of its own, the next beginning under the space before the quote. */
static void put_lines(struct pretty *p, struct str s)
{
	struct str line;
	pretty_open(p, PRETTY_PLAIN, 0);
	pretty_text(p, STR(" \""));
	while (str_take_until(&s, '\n', &line)) {
		put_escaped(p, line);
		pretty_text(p, STR("\\"));
		pretty_newline(p);
		pretty_text(p, STR("\\n"));
	}
	put_escaped(p, s);
	pretty_text(p, STR("\""));
	pretty_close(p);
}

static void put_atom(struct pretty *p, struct str s)
{
	if (!sexp_needs_quotes(s)) {
		pretty_text(p, s);
		return;
	}
	ptrdiff_t newline = str_find(s, '\n');
	if (newline >= 0 && (size_t)newline + 1 != s.n) {
		put_lines(p, s);
		return;
	}
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_char(&b, '"');
	sexp_put_escaped(&b, s);
	buf_put_char(&b, '"');
	pretty_text(p, buf_str(&b));
}

static void begin_list(struct pretty *p, const char *name)
{
	pretty_text(p, STR("("));
	pretty_text(p, str_c(name));
}

static void add_atom(struct pretty *p, struct str s)
{
	pretty_break(p, 1);
	put_atom(p, s);
}

static void end_list(struct pretty *p)
{
	pretty_text(p, STR(")"));
}

/* (NAME WORD …) */
static void put_list(struct pretty *p, const char *name, const struct str *v, size_t n)
{
	begin_list(p, name);
	for (size_t i = 0; i < n; i++)
		add_atom(p, v[i]);
	end_list(p);
}

/* -- fields of run and copy ---------------------------------------------------------------------------------------- */

/* Fields stand each in a horizontal box, with a break of this width between them. */
struct fields {
	struct pretty *p;
	int width;
	bool begun;
};

static struct pretty *begin_field(struct fields *f)
{
	if (f->begun)
		pretty_break(f->p, f->width);
	f->begun = true;
	pretty_open(f->p, PRETTY_H, 0);
	return f->p;
}

static void end_field(struct fields *f)
{
	pretty_close(f->p);
}

static void put_field(struct fields *f, const char *name, const struct str *v, size_t n)
{
	put_list(begin_field(f), name, v, n);
	end_field(f);
}

static void put_mount(struct pretty *p, const struct spec_mount *m)
{
	pretty_text(p, STR("("));
	put_atom(p, m->id);
	pretty_break(p, 1);
	put_list(p, "target", &m->target, 1);
	if (m->n_options) {
		pretty_break(p, 1);
		begin_list(p, "buildkit_options");
		pretty_break(p, 1);
		pretty_text(p, STR("("));
		for (size_t i = 0; i < m->n_options; i++) {
			if (i)
				pretty_break(p, 1);
			pretty_text(p, STR("("));
			put_atom(p, m->options[i].name);
			add_atom(p, m->options[i].value);
			end_list(p);
		}
		end_list(p);
		end_list(p);
	}
	end_list(p);
}

static void put_mounts(struct fields *f, const char *name, const struct spec_mount *v, size_t n)
{
	if (!n)
		return;
	struct pretty *p = begin_field(f);
	begin_list(p, name);
	for (size_t i = 0; i < n; i++) {
		pretty_break(p, 1);
		put_mount(p, &v[i]);
	}
	end_list(p);
	end_field(f);
}

static void put_run(struct pretty *p, const struct spec_op *op)
{
	struct fields f = {p, 0, false};
	put_mounts(&f, "cache", op->caches, op->n_caches);
	if (op->n_networks)
		put_field(&f, "network", op->networks, op->n_networks);
	put_mounts(&f, "secrets", op->secrets, op->n_secrets);
	put_field(&f, "shell", &op->text, 1);
}

static void put_copy(struct pretty *p, const struct spec_op *op)
{
	struct fields f = {p, 1, false};
	if (op->from_stage.p) {
		begin_list(begin_field(&f), "from");
		pretty_break(p, 1);
		put_list(p, "build", &op->from_stage, 1);
		end_list(p);
		end_field(&f);
	}
	put_field(&f, "src", op->words, op->n_words);
	put_field(&f, "dst", &op->dst, 1);
	if (op->n_excludes)
		put_field(&f, "exclude", op->excludes, op->n_excludes);
}

/* -- operations ---------------------------------------------------------------------------------------------------- */

static void put_number(struct pretty *p, const char *name, uint32_t n)
{
	auto_buf b = BUF_INIT(20);
	buf_printf(&b, "%u", (unsigned)n);
	struct str s = buf_str(&b);
	pretty_break(p, 1);
	put_list(p, name, &s, 1);
}

static void put_user(struct pretty *p, const struct spec_user *user)
{
	begin_list(p, "user");
	if (user->name.p) {
		pretty_break(p, 1);
		put_list(p, "name", &user->name, 1);
	} else {
		put_number(p, "uid", user->uid);
		put_number(p, "gid", user->gid);
	}
	end_list(p);
}

static void put_one_line(struct pretty *p, const struct spec_op *op)
{
	pretty_open(p, PRETTY_H, 0);
	if (op->kind == SPEC_USER)
		put_user(p, &op->user);
	else if (op->kind == SPEC_ENV)
		put_list(p, "env", (const struct str[]){op->env.name, op->env.value}, 2);
	else if (op->kind == SPEC_SHELL)
		put_list(p, "shell", op->words, op->n_words);
	else
		put_list(p, spec_kind_name(op->kind), &op->text, 1);
	pretty_close(p);
}

static void put_op(struct pretty *p, const struct spec_op *op)
{
	if (op->kind != SPEC_RUN && op->kind != SPEC_COPY) {
		put_one_line(p, op);
		return;
	}
	begin_list(p, spec_kind_name(op->kind));
	pretty_text(p, STR(" "));
	pretty_open(p, op->kind == SPEC_RUN ? PRETTY_V : PRETTY_HV, 0);
	if (op->kind == SPEC_RUN)
		put_run(p, op);
	else
		put_copy(p, op);
	pretty_close(p);
	end_list(p);
}

static void put_from(struct pretty *p, const struct build_spec *s)
{
	pretty_open(p, PRETTY_H, 0);
	put_list(p, "from", &s->from, 1);
	pretty_close(p);
}

/* -- specs --------------------------------------------------------------------------------------------------------- */

static void put_items(struct pretty *p, const struct build_spec *s);

static void put_stage(struct pretty *p, const struct spec_stage *stage)
{
	begin_list(p, "build");
	pretty_text(p, STR(" "));
	pretty_open(p, PRETTY_V, 0);
	put_atom(p, stage->name);
	pretty_break(p, 0);
	pretty_text(p, STR("("));
	pretty_open(p, PRETTY_V, 0);
	put_items(p, &stage->spec);
	pretty_close(p);
	end_list(p);
	pretty_close(p);
	end_list(p);
}

static void put_items(struct pretty *p, const struct build_spec *s)
{
	for (size_t i = 0; i < s->n_stages; i++) {
		put_stage(p, &s->stages[i]);
		pretty_break(p, 0);
	}
	put_from(p, s);
	for (size_t i = 0; i < s->n_ops; i++) {
		pretty_break(p, 0);
		put_op(p, &s->ops[i]);
	}
}

void spec_print(const struct build_spec *s, struct buf *out)
{
	struct pretty p;
	pretty_init(&p, out);
	pretty_text(&p, STR("("));
	pretty_open(&p, PRETTY_V, 0);
	put_items(&p, s);
	pretty_close(&p);
	pretty_break(&p, 0);
	pretty_text(&p, STR(")"));
	pretty_finish(&p);
}

void spec_print_op(const struct spec_op *op, const struct spec_context *c, struct buf *out)
{
	struct pretty p;
	pretty_init(&p, out);
	if (c) {
		pretty_open(&p, PRETTY_V, 2);
		auto_buf shown = BUF_INIT(BUF_MAX);
		buf_put_shown(&shown, c->workdir);
		pretty_text(&p, buf_str(&shown));
		pretty_text(&p, STR(": "));
	}
	put_op(&p, op);
	if (c)
		pretty_close(&p);
	pretty_finish(&p);
}

void spec_print_from(const struct build_spec *s, struct buf *out)
{
	struct pretty p;
	pretty_init(&p, out);
	begin_list(&p, "from");
	pretty_text(&p, STR(" "));
	put_atom(&p, s->from);
	end_list(&p);
	pretty_finish(&p);
}

void spec_print_stage(const struct spec_stage *stage, struct buf *out)
{
	buf_put_c(out, "(build \"");
	sexp_put_escaped(out, stage->name);
	buf_put_c(out, "\" …)");
}
