// SPDX-License-Identifier: Apache-2.0
/*
 * Files of opam's format as trees:
 *
 *	items	= { IDENT ":" value | IDENT [ STRING ] "{" items "}" }
 *	value	= and { "|" and }
 *	and	= unary { "&" unary }
 *	unary	= ("!" | "?") unary | primary { "{" values "}" }
 *	primary	= atom [ relop atom | envop atom ] | relop atom | "(" values ")" | "[" values "]"
 *	values	= { value }
 *
 * Behind a fault reading goes on with the next line that begins, without blanks, like a field or a section.
 */
#include "pkg/opam.h"

struct reader {
	struct opam_lexer l;
	struct pkg_opam_doc *d;
	unsigned depth;
	bool is_limit;
};
typedef struct pkg_opam_value value;

void opam_note(struct pkg_opam_doc *d, uint32_t at, const char *why)
{
	if (d->faults < PKG_OPAM_FAULTS_MAX)
		d->fault[d->faults] = (struct pkg_opam_fault){at, why};
	d->faults++;
}

static void *fail_at(struct reader *r, uint32_t at, const char *why)
{
	if (r->l.token == OPAM_T_BAD)
		opam_note(r->d, r->l.why_at, r->l.why);
	else
		opam_note(r->d, at, why);
	return NULL;
}

static void *fail(struct reader *r, const char *why)
{
	return fail_at(r, r->l.from, r->l.token == OPAM_T_END ? "the file ends too early" : why);
}

static bool deeper(struct reader *r)
{
	if (r->depth < PKG_OPAM_DEPTH_MAX) {
		r->depth++;
		return true;
	}
	fail(r, "brackets and operators of more than 64 levels");
	return false;
}

/* -- values --------------------------------------------------------------------------------------------------------- */

static value *new_value(struct reader *r, enum pkg_opam_kind kind)
{
	value *v = arena_new(r->l.a, value);
	v->kind = (uint8_t)kind;
	v->from = r->l.from;
	v->to = r->l.to;
	return v;
}

static uint16_t higher(const value *x, const value *y)
{
	uint16_t a = x ? x->height : 0, b = y ? y->height : 0;
	return (uint16_t)((a > b ? a : b) + 1);
}

static value *finish(struct reader *r, value *v, uint32_t to)
{
	v->to = to;
	if (v->height > PKG_OPAM_HEIGHT_MAX)
		return fail_at(r, v->from, "a value is too large");
	return v;
}

static value *read_value(struct reader *r);

static bool begins_value(enum opam_token t)
{
	return t == OPAM_T_BOOL || t == OPAM_T_INT || t == OPAM_T_STRING || t == OPAM_T_IDENT || t == OPAM_T_RELOP ||
	       t == OPAM_T_PFXOP || t == OPAM_T_OPEN_BRACKET || t == OPAM_T_OPEN_PAREN;
}

/* What stands between brackets, the first of which is the token; eats the last, whose end is told. */
static bool read_values(struct reader *r, enum opam_token close, value *into, uint32_t *end)
{
	uint32_t open = r->l.from;
	const value **tail = &into->first;
	if (!deeper(r))
		return false;
	opam_next(&r->l);
	while (begins_value(r->l.token)) {
		value *v = read_value(r);
		if (!v)
			return false;
		*tail = v;
		tail = &v->next;
		into->height = into->height > v->height + 1 ? into->height : (uint16_t)(v->height + 1);
	}
	if (r->l.token != close) {
		if (r->l.token == OPAM_T_END)
			fail_at(r, open, "a bracket is not closed");
		else
			fail(r, close == OPAM_T_CLOSE_BRACKET ? "a value or ']' is missing"
				: close == OPAM_T_CLOSE_PAREN ? "a value or ')' is missing"
							      : "a value or '}' is missing");
		return false;
	}
	r->depth--;
	*end = r->l.to;
	opam_next(&r->l);
	return true;
}

static value *read_atom(struct reader *r)
{
	static const uint8_t kinds[] = {[OPAM_T_BOOL] = PKG_OPAM_BOOL,
					[OPAM_T_INT] = PKG_OPAM_INT,
					[OPAM_T_STRING] = PKG_OPAM_STRING,
					[OPAM_T_IDENT] = PKG_OPAM_IDENT};
	enum opam_token t = r->l.token;
	if (t < OPAM_T_BOOL || t > OPAM_T_IDENT)
		return fail(r, "a word, a number or a string is missing");
	value *v = new_value(r, kinds[t]);
	v->number = t <= OPAM_T_INT ? r->l.number : 0;
	v->text = t >= OPAM_T_STRING ? r->l.text : STR_NONE;
	opam_next(&r->l);
	return v;
}

/* The operator that is the token, and the atom behind it. */
static value *read_operator(struct reader *r, enum pkg_opam_kind kind, const value *left)
{
	value *v = new_value(r, kind);
	v->op = r->l.op;
	v->op_at = r->l.from;
	v->from = left ? left->from : r->l.from;
	opam_next(&r->l);
	const value *right = read_atom(r);
	if (!right)
		return NULL;
	v->left = left ? left : right;
	v->right = left ? right : NULL;
	v->height = 1;
	return finish(r, v, right->to);
}

static value *read_primary(struct reader *r)
{
	enum opam_token t = r->l.token;
	if (t == OPAM_T_RELOP)
		return read_operator(r, PKG_OPAM_PREFIX_RELOP, NULL);
	if (t == OPAM_T_OPEN_BRACKET || t == OPAM_T_OPEN_PAREN) {
		value *v = new_value(r, t == OPAM_T_OPEN_PAREN ? PKG_OPAM_GROUP : PKG_OPAM_LIST);
		uint32_t end;
		return read_values(r, t + 1, v, &end) ? finish(r, v, end) : NULL;
	}
	value *v = read_atom(r);
	if (v && r->l.token == OPAM_T_RELOP)
		return read_operator(r, PKG_OPAM_RELOP, v);
	if (v && r->l.token == OPAM_T_ENVOP)
		return read_operator(r, PKG_OPAM_BINDING, v);
	return v;
}

static value *read_unary(struct reader *r)
{
	if (r->l.token == OPAM_T_PFXOP) {
		value *v = new_value(r, PKG_OPAM_PFXOP);
		v->op = r->l.op;
		v->op_at = r->l.from;
		opam_next(&r->l);
		if (!deeper(r) || !(v->left = read_unary(r)))
			return NULL;
		r->depth--;
		v->height = higher(v->left, NULL);
		return finish(r, v, v->left->to);
	}
	value *v = read_primary(r);
	while (v && r->l.token == OPAM_T_OPEN_BRACE) {
		value *option = new_value(r, PKG_OPAM_OPTION);
		uint32_t end;
		option->op_at = r->l.from;
		option->from = v->from;
		option->left = v;
		option->height = higher(v, NULL);
		if (!read_values(r, OPAM_T_CLOSE_BRACE, option, &end))
			return NULL;
		v = finish(r, option, end);
	}
	return v;
}

static value *read_chain(struct reader *r, enum pkg_opam_op op)
{
	value *v = op == PKG_OPAM_OR ? read_chain(r, PKG_OPAM_AND) : read_unary(r);
	while (v && r->l.token == OPAM_T_LOGOP && r->l.op == op) {
		value *both = new_value(r, PKG_OPAM_LOGOP);
		both->op = (uint8_t)op;
		both->op_at = r->l.from;
		both->from = v->from;
		opam_next(&r->l);
		const value *right = op == PKG_OPAM_OR ? read_chain(r, PKG_OPAM_AND) : read_unary(r);
		if (!right)
			return NULL;
		both->left = v;
		both->right = right;
		both->height = higher(v, right);
		v = finish(r, both, right->to);
	}
	return v;
}

static value *read_value(struct reader *r)
{
	return read_chain(r, PKG_OPAM_OR);
}

/* -- items ---------------------------------------------------------------------------------------------------------- */

static bool read_items(struct reader *r, struct pkg_opam_item const **first);

/* The item is in the list before its section has been read: what comes before a fault stays. */
static bool read_item(struct reader *r, struct pkg_opam_item const **into)
{
	struct pkg_opam_item *item = arena_new(r->l.a, struct pkg_opam_item);
	item->name = r->l.text;
	item->from = r->l.from;
	opam_next(&r->l);
	if (r->l.token == OPAM_T_COLON) {
		item->open_at = r->l.from;
		opam_next(&r->l);
		item->value = read_value(r);
		if (!item->value)
			return false;
		item->to = item->value->to;
		*into = item;
		return true;
	}
	if (r->l.token == OPAM_T_STRING) {
		item->title = r->l.text;
		item->title_from = r->l.from;
		item->title_to = r->l.to;
		opam_next(&r->l);
	}
	if (r->l.token != OPAM_T_OPEN_BRACE) {
		fail(r, item->title.p ? "'{' is missing" : "':' is missing behind the name of a field");
		return false;
	}
	item->is_section = true;
	item->open_at = r->l.from;
	item->to = r->l.to;
	*into = item;
	if (!deeper(r))
		return false;
	opam_next(&r->l);
	if (!read_items(r, &item->first))
		return false;
	if (r->l.token != OPAM_T_CLOSE_BRACE) {
		if (r->l.token == OPAM_T_END)
			fail_at(r, item->open_at, "a section is not closed");
		else
			fail(r, "the name of a field or '}' is missing");
		return false;
	}
	r->depth--;
	item->to = r->l.to;
	opam_next(&r->l);
	return true;
}

static bool read_items(struct reader *r, struct pkg_opam_item const **tail)
{
	while (r->l.token == OPAM_T_IDENT) {
		if (!read_item(r, tail))
			return false;
		tail = (struct pkg_opam_item const **)&((struct pkg_opam_item *)*tail)->next;
	}
	return true;
}

/* A line that begins like a field or a section. */
static bool begins_item(struct str line)
{
	size_t n = 0;
	while (n < line.n && (opam_is_ichar(line.p[n]) || line.p[n] == '+'))
		n++;
	struct str rest = str_trim(str_skip(line, n));
	return n > 0 && rest.n &&
	       (rest.p[0] == ':' || rest.p[0] == '{' || (rest.p[0] == '"' && rest.p - line.p > (ptrdiff_t)n));
}

/* Where to go on: at a line behind the item that has the fault. */
static uint32_t resume_at(const struct reader *r, uint32_t item, uint32_t fault)
{
	struct str text = r->d->text, line, left;
	uint32_t at = fault < text.n ? fault : (uint32_t)text.n;
	while (at > 0 && text.p[at - 1] != '\n')
		at--;
	left = str_skip(text, at);
	for (; str_take_line(&left, &line); at = (uint32_t)(text.n - left.n))
		if (at > item && begins_item(line))
			return at;
	return (uint32_t)text.n;
}

/* -- opam-version --------------------------------------------------------------------------------------------------- */

/* MAJOR * 1000 + MINOR, 0: neither. */
static uint64_t format_of(const struct pkg_opam_item *i)
{
	uint64_t major = 0, minor = 0;
	struct str s = i->value && i->value->kind == PKG_OPAM_STRING ? i->value->text : STR_NONE;
	if (i->is_section || !str_eq(i->name, STR("opam-version")) || !str_take_u64(&s, &major) || major > 1000)
		return 0;
	if (str_take_char(&s, '.') && (!str_take_u64(&s, &minor) || minor > 999))
		return 0;
	return major * 1000 + minor;
}

/* From format 2.1 on the version stands first, and once. */
static void check_version(struct pkg_opam_doc *d)
{
	for (const struct pkg_opam_item *i = d->first; i; i = i->next) {
		if (i == d->first || !str_eq(i->name, STR("opam-version")))
			continue;
		if (format_of(d->first) > 2000)
			opam_note(d, i->from, "'opam-version' is there twice");
		else if (format_of(i) > 2000)
			opam_note(d, i->from, "'opam-version' must be the first field");
	}
}

/* -- the whole ------------------------------------------------------------------------------------------------------ */

static int too_large(struct pkg_opam_doc *d, struct err *e)
{
	return err_new(e, ERR_LIMIT, "%s: more than %d MiB", d->where, PKG_OPAM_FILE_MAX >> 20);
}

int pkg_opam_read(struct arena *a, struct str text, const char *where, struct pkg_opam_doc *ret, struct err *e)
{
	struct reader r = {.d = ret};
	const struct pkg_opam_item **tail = &ret->first;
	*ret = (struct pkg_opam_doc){.text = text.p ? text : STR(""), .where = where};
	if (text.n > PKG_OPAM_FILE_MAX)
		return ret->text = STR_NONE, too_large(ret, e);
	opam_lexer_init(&r.l, a, ret->text, 0);
	opam_next(&r.l);
	while (r.l.token != OPAM_T_END && ret->faults < PKG_OPAM_FAULTS_MAX) {
		uint32_t at = r.l.from;
		bool good = r.l.token == OPAM_T_IDENT ? read_item(&r, tail)
						      : (fail(&r, "the name of a field is missing"), false);
		if (*tail)
			tail = (const struct pkg_opam_item **)&((struct pkg_opam_item *)*tail)->next;
		if (good)
			continue;
		opam_lexer_init(&r.l, a, ret->text, resume_at(&r, at, ret->fault[ret->faults - 1].at));
		r.depth = 0;
		opam_next(&r.l);
	}
	if (r.l.token == OPAM_T_BAD && ret->faults == 0)
		opam_note(ret, r.l.why_at, r.l.why);
	check_version(ret);
	return ret->faults ? pkg_opam_fault(ret, ret->fault[0].at, ret->fault[0].why, e) : 0;
}

void pkg_opam_place(const struct pkg_opam_doc *d, uint32_t at, size_t *line, size_t *column)
{
	const char *p = d->text.p, *end = p + (at < d->text.n ? at : d->text.n), *next;
	*line = 1;
	while (p < end && (next = memchr(p, '\n', (size_t)(end - p)))) {
		p = next + 1;
		(*line)++;
	}
	*column = (size_t)(end - p) + 1;
}

int pkg_opam_fault(const struct pkg_opam_doc *d, uint32_t at, const char *why, struct err *e)
{
	size_t line, column;
	pkg_opam_place(d, at, &line, &column);
	return err_new(e, ERR_INPUT, "%s:%zu:%zu: %s", d->where, line, column, why);
}

/* -- looking -------------------------------------------------------------------------------------------------------- */

static const struct pkg_opam_value *get(const struct pkg_opam_item *i, const char *field)
{
	for (; i; i = i->next)
		if (!i->is_section && str_eq_c(i->name, field))
			return i->value;
	return NULL;
}

const struct pkg_opam_value *pkg_opam_get(const struct pkg_opam_doc *d, const char *field)
{
	return get(d->first, field);
}

const struct pkg_opam_value *pkg_opam_get_in(const struct pkg_opam_item *section, const char *field)
{
	return section ? get(section->first, field) : NULL;
}

const struct pkg_opam_item *pkg_opam_section(const struct pkg_opam_doc *d, const char *name,
					     const struct pkg_opam_item *after)
{
	for (const struct pkg_opam_item *i = after ? after->next : d->first; i; i = i->next)
		if (i->is_section && str_eq_c(i->name, name))
			return i;
	return NULL;
}

const struct pkg_opam_value *pkg_opam_first(const struct pkg_opam_value *v)
{
	return v && v->kind == PKG_OPAM_LIST ? v->first : v;
}

struct str pkg_opam_text(const struct pkg_opam_value *v)
{
	return v && (v->kind == PKG_OPAM_STRING || v->kind == PKG_OPAM_IDENT) ? v->text : STR_NONE;
}
