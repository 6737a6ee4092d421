// SPDX-License-Identifier: Apache-2.0
/* Trees of opam files: printed back, compared, changed, made. */
#include "pkg/opam.h"

/* -- printing back -------------------------------------------------------------------------------------------------- */

struct printer {
	const struct pkg_opam_doc *d;
	struct buf *b;
	uint32_t at; /* up to here it has been printed */
};

/* Blanks and comments up to `to`; anything else that stands there belongs to a token that the tree has not, and is not printed. */
static void put_layout(struct printer *p, uint32_t to)
{
	const char *base = p->d->text.p, *end = base + to;
	uint32_t ignored;
	const char *stop = opam_skip_layout(base, base + p->at, end, &ignored);
	buf_put(p->b, base + p->at, (size_t)((stop ? stop : base + p->at) - (base + p->at)));
	p->at = to;
}

static void put_token(struct printer *p, uint32_t from, uint32_t to)
{
	put_layout(p, from);
	buf_put(p->b, p->d->text.p + from, to - from);
	p->at = to;
}

static void put_op(struct printer *p, const struct pkg_opam_value *v)
{
	struct str op = str_c(opam_op_text(v->op));
	put_layout(p, v->op_at);
	buf_put_str(p->b, op);
	p->at = v->op_at + (uint32_t)op.n;
}

static void put_value(struct printer *p, const struct pkg_opam_value *v)
{
	if (v->kind <= PKG_OPAM_IDENT) {
		put_token(p, v->from, v->to);
	} else if (v->kind <= PKG_OPAM_OPTION) {
		uint32_t open = v->kind == PKG_OPAM_OPTION ? v->op_at : v->from;
		if (v->left)
			put_value(p, v->left);
		put_token(p, open, open + 1);
		for (const struct pkg_opam_value *x = v->first; x; x = x->next)
			put_value(p, x);
		put_token(p, v->to - 1, v->to);
	} else {
		if (v->right)
			put_value(p, v->left);
		put_op(p, v);
		put_value(p, v->right ? v->right : v->left);
	}
}

static void put_items(struct printer *p, const struct pkg_opam_item *i)
{
	for (; i; i = i->next) {
		put_token(p, i->from, i->from + (uint32_t)i->name.n);
		if (i->title.p)
			put_token(p, i->title_from, i->title_to);
		put_token(p, i->open_at, i->open_at + 1);
		if (i->is_section) {
			put_items(p, i->first);
			put_token(p, i->to - 1, i->to);
		} else {
			put_value(p, i->value);
		}
	}
}

void pkg_opam_print(const struct pkg_opam_doc *d, struct buf *b)
{
	struct printer p = {.d = d, .b = b};
	if (d->faults) {
		buf_put_str(b, d->text);
		return;
	}
	put_items(&p, d->first);
	put_layout(&p, (uint32_t)d->text.n);
}

/* -- comparing ------------------------------------------------------------------------------------------------------ */

static bool same_value(const struct pkg_opam_value *a, const struct pkg_opam_value *b)
{
	if (!a || !b)
		return a == b;
	if (a->kind != b->kind || a->op != b->op || a->number != b->number || !str_eq(a->text, b->text) ||
	    !same_value(a->left, b->left) || !same_value(a->right, b->right))
		return false;
	const struct pkg_opam_value *x = a->first, *y = b->first;
	for (; x && y; x = x->next, y = y->next)
		if (!same_value(x, y))
			return false;
	return x == y;
}

static const struct pkg_opam_item *that_says(const struct pkg_opam_item *i)
{
	while (i && opam_says_nothing(i))
		i = i->next;
	return i;
}

bool pkg_opam_same(const struct pkg_opam_item *a, const struct pkg_opam_item *b)
{
	for (a = that_says(a), b = that_says(b); a && b; a = that_says(a->next), b = that_says(b->next))
		if (a->is_section != b->is_section || !str_eq(a->name, b->name) || !a->title.p != !b->title.p ||
		    !str_eq(a->title, b->title) ||
		    !(a->is_section ? pkg_opam_same(a->first, b->first) : same_value(a->value, b->value)))
			return false;
	return a == b;
}

/* -- making --------------------------------------------------------------------------------------------------------- */

struct pkg_opam_value *pkg_opam_make(struct arena *a, enum pkg_opam_kind kind, struct str text)
{
	struct pkg_opam_value *v = arena_new(a, struct pkg_opam_value);
	v->kind = (uint8_t)kind;
	v->text = text;
	return v;
}

/* Elements are copied: one that was read has its neighbours already. */
struct pkg_opam_value *pkg_opam_make_list(struct arena *a, enum pkg_opam_kind kind,
					  const struct pkg_opam_value *const *v, size_t n)
{
	struct pkg_opam_value *list = pkg_opam_make(a, kind, STR_NONE);
	const struct pkg_opam_value **tail = &list->first;
	for (size_t i = 0; i < n; i++) {
		struct pkg_opam_value *x = arena_copy(a, v[i], 1, sizeof(*x));
		x->next = NULL;
		*tail = x;
		tail = &x->next;
		list->height = list->height > x->height ? list->height : (uint16_t)(x->height + 1);
	}
	return list;
}

struct pkg_opam_item *pkg_opam_make_field(struct arena *a, const char *name, const struct pkg_opam_value *v)
{
	struct pkg_opam_item *i = arena_new(a, struct pkg_opam_item);
	i->name = str_c(name);
	i->value = v;
	return i;
}

struct pkg_opam_item *pkg_opam_make_section(struct arena *a, const char *name, struct str title,
					    const struct pkg_opam_item *first)
{
	struct pkg_opam_item *i = arena_new(a, struct pkg_opam_item);
	*i = (struct pkg_opam_item){.name = str_c(name), .is_section = true, .title = title, .first = first};
	return i;
}

void pkg_opam_append(struct arena *a, struct pkg_opam_items *to, const struct pkg_opam_item *i)
{
	struct pkg_opam_item *copy = arena_copy(a, i, 1, sizeof(*i));
	copy->next = NULL;
	if (to->last)
		to->last->next = copy;
	else
		to->first = copy;
	to->last = copy;
}

/* -- changing ------------------------------------------------------------------------------------------------------- */

/* Without the lines it stood on, where nothing else does. */
static void take_out(struct str text, const struct pkg_opam_item *i, struct buf *b)
{
	uint32_t from = i->from, to = i->to;
	while (from > 0 && (text.p[from - 1] == ' ' || text.p[from - 1] == '\t'))
		from--;
	while (to < text.n && (text.p[to] == ' ' || text.p[to] == '\t'))
		to++;
	if ((from == 0 || text.p[from - 1] == '\n') && to < text.n && text.p[to] == '\n') {
		to++;
	} else {
		from = i->from;
		to = i->to;
	}
	buf_put(b, text.p, from);
	buf_put_str(b, str_skip(text, to));
}

static void put_field(const struct pkg_opam_item *like, struct buf *b)
{
	struct pkg_opam_item alone = *like;
	alone.next = NULL;
	pkg_opam_print_normal(&alone, b);
}

void pkg_opam_edit(const struct pkg_opam_doc *d, const char *field, const struct pkg_opam_value *v, struct buf *b)
{
	const struct pkg_opam_item *last = NULL, *i = d->first;
	struct pkg_opam_item said = {.name = str_c(field), .value = v};
	for (; i; i = i->next) {
		if (!i->is_section && str_eq_c(i->name, field))
			break;
		last = i->is_section ? last : i;
	}
	if (!v) {
		if (i)
			take_out(d->text, i, b);
		else
			buf_put_str(b, d->text);
		return;
	}
	uint32_t from = i ? i->from : last ? last->to : 0, to = i ? i->to : from;
	buf_put(b, d->text.p, from);
	if (!i && last)
		buf_put_char(b, '\n');
	size_t before = b->n;
	put_field(&said, b);
	if ((i || last) && b->n > before && b->p[b->n - 1] == '\n')
		buf_truncate(b, b->n - 1);
	buf_put_str(b, str_skip(d->text, to));
}
