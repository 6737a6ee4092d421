// SPDX-License-Identifier: Apache-2.0
/*
 * The layout in which opam writes files: that of OCaml's Format with its margin of 78, so that a file written here and one written by opam
 * are the same bytes. Text, breaks and boxes go through a queue; a break or box leaves it when its size is known or what waits no longer fits
 * the line.
 *
 * A box is laid out on one line where all of it fits. Else, at a break, V and HV boxes begin a line, HOV ones where what comes up to the next break
 * does not fit, H ones never.
 */
#include <stdlib.h>

#include "base/vec.h"
#include "pkg/opam.h"

enum { MARGIN = 78, INDENT_MAX = 68, INFINITE = 1 << 30 };
enum box { BOX_H, BOX_V, BOX_HV, BOX_HOV, BOX_FITS };
enum piece { TEXT, BREAK, BEGIN, END };
struct token {
	enum piece piece;
	enum box box;
	struct str text;
	int64_t size, length; /* size < 0: not yet known */
	int64_t offset;
};
struct scanned {
	int64_t left_total;
	size_t token;
};
struct open_box {
	enum box box;
	int64_t width;
};
struct layout {
	struct buf *b;
	struct arena a; /* of texts that are made */
	VEC(struct token) queue;
	size_t head;
	VEC(struct scanned) scan;
	VEC(struct open_box) boxes;
	int64_t space_left, left_total, right_total, depth;
};

static void layout_release(struct layout *l)
{
	vec_release(&l->queue);
	vec_release(&l->scan);
	vec_release(&l->boxes);
	arena_release(&l->a);
}

static void spaces(struct layout *l, int64_t n)
{
	for (; n > 0; n--)
		buf_put_char(l->b, ' ');
}

static void new_line(struct layout *l, int64_t offset, int64_t width)
{
	int64_t indent = MARGIN - width + offset;
	if (indent > INDENT_MAX)
		indent = INDENT_MAX;
	buf_put_char(l->b, '\n');
	l->space_left = MARGIN - indent;
	spaces(l, indent);
}

static void begin_box(struct layout *l, const struct token *t, int64_t size)
{
	if (MARGIN - l->space_left > INDENT_MAX && l->boxes.n) {
		const struct open_box *top = vec_last(&l->boxes);
		if (top->width > l->space_left && top->box != BOX_FITS && top->box != BOX_H)
			new_line(l, 0, top->width);
	}
	enum box box = t->box == BOX_V || size > l->space_left ? t->box : BOX_FITS;
	vec_push(&l->boxes, ((struct open_box){box, l->space_left - t->offset}));
}

static void put_token(struct layout *l, const struct token *t, int64_t size)
{
	if (t->piece == TEXT) {
		l->space_left -= size;
		buf_put_str(l->b, t->text);
	} else if (t->piece == BEGIN) {
		begin_box(l, t, size);
	} else if (t->piece == END) {
		l->boxes.n -= l->boxes.n > 0;
	} else if (l->boxes.n) {
		const struct open_box *top = vec_last(&l->boxes);
		if (top->box == BOX_V || top->box == BOX_HV || (top->box == BOX_HOV && size > l->space_left)) {
			new_line(l, t->offset, top->width);
		} else {
			l->space_left -= t->length;
			spaces(l, t->length);
		}
	}
}

static void advance(struct layout *l)
{
	while (l->head < l->queue.n) {
		struct token t = l->queue.v[l->head];
		if (t.size < 0 && l->right_total - l->left_total < l->space_left)
			return;
		l->head++;
		put_token(l, &t, t.size < 0 ? INFINITE : t.size);
		l->left_total += t.length;
	}
}

static size_t enqueue(struct layout *l, struct token t)
{
	l->right_total += t.length;
	vec_push(&l->queue, t);
	return l->queue.n - 1;
}

static void set_size(struct layout *l, enum piece of)
{
	if (!l->scan.n)
		return;
	const struct scanned *top = vec_last(&l->scan);
	struct token *t = &l->queue.v[top->token];
	if (top->left_total < l->left_total) {
		vec_clear(&l->scan);
	} else if (t->piece == of) {
		t->size += l->right_total;
		l->scan.n--;
	}
}

static void scan(struct layout *l, struct token t)
{
	size_t at = enqueue(l, t);
	if (t.piece == BREAK)
		set_size(l, BREAK);
	vec_push(&l->scan, ((struct scanned){l->right_total, at}));
}

static void put(struct layout *l, struct str s)
{
	(void)enqueue(l, (struct token){.piece = TEXT, .text = s, .size = (int64_t)s.n, .length = (int64_t)s.n});
	advance(l);
}

static void put_c(struct layout *l, const char *s)
{
	put(l, str_c(s));
}

static void open_box(struct layout *l, enum box box, int64_t indent)
{
	l->depth++;
	scan(l, (struct token){.piece = BEGIN, .box = box, .offset = indent, .size = -l->right_total});
}

static void close_box(struct layout *l)
{
	(void)enqueue(l, (struct token){.piece = END});
	set_size(l, BREAK);
	set_size(l, BEGIN);
	l->depth--;
}

static void put_break(struct layout *l, int64_t blanks, int64_t offset)
{
	scan(l, (struct token){.piece = BREAK, .length = blanks, .offset = offset, .size = -l->right_total});
}

static void begin(struct layout *l)
{
	l->space_left = MARGIN;
	l->left_total = l->right_total = 1;
	(void)enqueue(l, (struct token){.piece = BEGIN, .box = BOX_HOV, .size = -1});
	open_box(l, BOX_HOV, 0);
}

static void end(struct layout *l)
{
	while (l->depth > 1)
		close_box(l);
	l->right_total = INFINITE;
	advance(l);
}

/* -- values --------------------------------------------------------------------------------------------------------- */

/* Escapes as opam puts them, and two that it forgets: "\r\n" would be read as "\n", and blanks behind an escaped end of line not at all. */
static struct str quoted(struct layout *l, struct str s, bool triple)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		bool three = i + 2 < s.n && s.p[i + 1] == '"' && s.p[i + 2] == '"';
		if (c == '\\' || (c == '"' && (!triple || three || i == s.n - 1)) || (c == ' ' && triple && i == 0))
			buf_put_char(&b, '\\');
		if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n')
			buf_put_c(&b, "\\r");
		else if (c == '\t' && triple && i == 0)
			buf_put_c(&b, "\\t");
		else
			buf_put_char(&b, c);
	}
	return arena_str(&l->a, buf_str(&b));
}

static void put_string(struct layout *l, struct str s)
{
	bool triple = str_find(s, '\n') >= 0;
	put_c(l, triple ? "\"\"\"" : "\"");
	if (triple)
		put_c(l, s.p[0] == '\n' ? "" : "\\\n");
	put(l, quoted(l, s, triple));
	put_c(l, triple ? "\"\"\"" : "\"");
}

static void put_value(struct layout *l, const struct pkg_opam_value *v);

static void put_values(struct layout *l, const struct pkg_opam_value *v)
{
	for (; v; v = v->next) {
		put_value(l, v);
		if (v->next)
			put_break(l, 1, 0);
	}
}

static void put_operator(struct layout *l, const struct pkg_opam_value *v)
{
	bool spaced = v->kind == PKG_OPAM_PFXOP && v->op == PKG_OPAM_NOT && v->left->kind == PKG_OPAM_PREFIX_RELOP &&
		      v->left->op == PKG_OPAM_EQUAL;
	open_box(l, v->kind == PKG_OPAM_LOGOP ? BOX_HV : BOX_H, 0);
	if (v->right) {
		put_value(l, v->left);
		put_c(l, " ");
	}
	put_c(l, opam_op_text(v->op));
	if (v->kind != PKG_OPAM_PFXOP || spaced)
		put_break(l, 1, 0);
	put_value(l, v->right ? v->right : v->left);
	close_box(l);
}

static void put_brackets(struct layout *l, const struct pkg_opam_value *v)
{
	if (v->kind == PKG_OPAM_LIST) {
		open_box(l, BOX_HV, 0);
		put_c(l, "[");
		put_break(l, 0, 2);
		open_box(l, BOX_HV, 0);
		put_values(l, v->first);
		close_box(l);
		put_break(l, 0, 0);
		put_c(l, "]");
	} else if (v->kind == PKG_OPAM_GROUP) {
		open_box(l, BOX_HV, 0);
		put_c(l, "(");
		put_values(l, v->first);
		put_c(l, ")");
	} else {
		open_box(l, BOX_HOV, 2);
		put_value(l, v->left);
		put_break(l, 1, 0);
		put_c(l, "{");
		open_box(l, BOX_HV, 0);
		put_values(l, v->first);
		close_box(l);
		put_c(l, "}");
	}
	close_box(l);
}

static void put_value(struct layout *l, const struct pkg_opam_value *v)
{
	if (v->kind == PKG_OPAM_BOOL)
		put_c(l, v->number ? "true" : "false");
	else if (v->kind == PKG_OPAM_INT)
		put_c(l, arena_printf(&l->a, "%lld", (long long)v->number));
	else if (v->kind == PKG_OPAM_STRING)
		put_string(l, v->text);
	else if (v->kind == PKG_OPAM_IDENT)
		put(l, v->text);
	else if (v->kind <= PKG_OPAM_OPTION)
		put_brackets(l, v);
	else
		put_operator(l, v);
}

/* -- items ---------------------------------------------------------------------------------------------------------- */

/* A field that says nothing is not written: "[]" and "[[]]". */
bool opam_says_nothing(const struct pkg_opam_item *i)
{
	const struct pkg_opam_value *v = i->value, *x;
	if (i->is_section || v->kind != PKG_OPAM_LIST)
		return false;
	x = v->first;
	return !x || (!x->next && x->kind == PKG_OPAM_LIST && !x->first);
}

static const struct pkg_opam_item *that_says(const struct pkg_opam_item *i)
{
	while (i && opam_says_nothing(i))
		i = i->next;
	return i;
}

static void put_list_field(struct layout *l, const struct pkg_opam_item *i)
{
	enum box box = BOX_HV;
	for (const struct pkg_opam_value *v = i->value->first; v; v = v->next)
		if (v->kind == PKG_OPAM_LIST || (v->kind == PKG_OPAM_OPTION && v->first))
			box = BOX_V;
	open_box(l, box, 0);
	put(l, i->name);
	put_c(l, ": [");
	put_break(l, 0, 2);
	open_box(l, box, 0);
	put_values(l, i->value->first);
	close_box(l);
	put_break(l, 0, 0);
	put_c(l, "]");
	close_box(l);
}

static void put_field(struct layout *l, const struct pkg_opam_item *i)
{
	bool text = i->value->kind == PKG_OPAM_STRING && str_find(i->value->text, '\n') >= 0;
	open_box(l, BOX_HOV, text ? 0 : 2);
	put(l, i->name);
	put_c(l, text ? ": " : ":");
	if (!text)
		put_break(l, 1, 0);
	put_value(l, i->value);
	close_box(l);
}

static void put_items(struct layout *l, const struct pkg_opam_item *i);

static void put_section(struct layout *l, const struct pkg_opam_item *i)
{
	open_box(l, BOX_V, 0);
	put(l, i->name);
	put_c(l, " ");
	if (i->title.p) {
		put_c(l, "\"");
		put(l, quoted(l, i->title, false));
		put_c(l, "\" ");
	}
	put_c(l, "{");
	put_break(l, 0, 2);
	open_box(l, BOX_V, 0);
	put_items(l, i->first);
	close_box(l);
	put_break(l, 0, 0);
	put_c(l, "}");
	close_box(l);
}

static void put_items(struct layout *l, const struct pkg_opam_item *i)
{
	open_box(l, BOX_V, 0);
	for (i = that_says(i); i; i = that_says(i->next)) {
		if (i->is_section)
			put_section(l, i);
		else if (i->value->kind == PKG_OPAM_LIST)
			put_list_field(l, i);
		else
			put_field(l, i);
		if (that_says(i->next))
			put_break(l, 0, 0);
	}
	close_box(l);
}

void pkg_opam_print_normal(const struct pkg_opam_item *first, struct buf *b)
{
	cleanup_with(layout_release) struct layout l = {.b = b, .a = ARENA_INIT};
	begin(&l);
	put_items(&l, first);
	end(&l);
	if (that_says(first))
		buf_put_char(b, '\n');
}

void pkg_opam_print_value(const struct pkg_opam_value *v, struct buf *b)
{
	cleanup_with(layout_release) struct layout l = {.b = b, .a = ARENA_INIT};
	begin(&l);
	put_value(&l, v);
	end(&l);
}
