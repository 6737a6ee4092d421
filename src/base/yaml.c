// SPDX-License-Identifier: Apache-2.0
/*
 * libyaml gives events; they are made into nodes here, with every bound checked before memory is taken.
 */
#include "base/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

#include "base/dl.h"
#include "base/map.h"
#include "base/vec.h"

enum { TEXT_MAX = 1 << 20, DEPTH_MAX = 32, NODES_MAX = 100000 };

#define LIBYAML(X)                                                                                                     \
	X(yaml_, event_delete)                                                                                         \
	X(yaml_, parser_delete)                                                                                        \
	X(yaml_, parser_initialize)                                                                                    \
	X(yaml_, parser_parse)                                                                                         \
	X(yaml_, parser_set_encoding)                                                                                  \
	X(yaml_, parser_set_input_string)
DL_LIBRARY(libyaml, "libyaml-0.so.2", LIBYAML, NULL);

struct reader {
	struct arena *a;
	const char *where;
	struct str text;
	yaml_parser_t parser;
	yaml_event_t event; /* the current one, ours to delete */
	bool have_event;
	uint32_t nodes;
	struct err *e;
};

static void reader_release(struct reader *r)
{
	if (r->have_event)
		libyaml.event_delete(&r->event);
	libyaml.parser_delete(&r->parser);
}

__attribute__((format(printf, 4, 5))) static int fail(struct reader *r, size_t line, enum err_code code,
						      const char *fmt, ...)
{
	char msg[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return err_new(r->e, code, "%s:%zu: %s", r->where, line, msg);
}

static bool is_indented_with_tab(struct str text, size_t number)
{
	struct str line = STR_NONE;
	for (size_t i = 0; i < number && str_take_line(&text, &line); i++)
		;
	while (line.n && *line.p == ' ')
		line = str_skip(line, 1);
	return line.n && *line.p == '\t';
}

static int libyaml_error(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	const char *problem = p->problem ? p->problem : "malformed";
	if (p->error == YAML_MEMORY_ERROR)
		panic("out of memory (libyaml)");
	if (p->error == YAML_READER_ERROR)
		return err_new(r->e, ERR_INPUT, "%s: offset %zu: %s", r->where, p->problem_offset, problem);
	size_t line = p->problem_mark.line + 1;
	if (p->context && p->context_mark.line + 1 != line)
		return fail(r, line, ERR_INPUT, "%s, %s that begins at line %zu", problem, p->context,
			    p->context_mark.line + 1);
	/* what people meet most: it says "token" where they see nothing but space */
	if (strstr(problem, "cannot start any token") && is_indented_with_tab(r->text, line))
		return fail(r, line, ERR_INPUT, "a tab, where YAML wants spaces");
	return fail(r, line, ERR_INPUT, "%s%s%s", problem, p->context ? ", " : "", p->context ? p->context : "");
}

static int next_event(struct reader *r)
{
	if (r->have_event)
		libyaml.event_delete(&r->event);
	r->have_event = libyaml.parser_parse(&r->parser, &r->event) != 0;
	return r->have_event ? 0 : libyaml_error(r);
}

static size_t line_of(const struct reader *r)
{
	return r->event.start_mark.line + 1;
}

/* The tags that say what a value is anyway are harmless. */
static bool harmless_tag(const char *tag)
{
	static const char *const known[] = {"str", "int", "float", "bool", "null", "seq", "map"};
	struct str t = str_c(tag);
	if (!str_take_str(&t, STR("tag:yaml.org,2002:")))
		return false;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (str_eq_c(t, known[i]))
			return true;
	return false;
}

static int check_node(struct reader *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		return fail(r, line_of(r), ERR_UNSUPPORTED, "anchors ('&%s') are not supported; write the value out",
			    (const char *)anchor);
	if (tag && !harmless_tag((const char *)tag))
		return fail(r, line_of(r), ERR_UNSUPPORTED, "tag '%s' is not supported; remove it", (const char *)tag);
	if (++r->nodes > NODES_MAX)
		return fail(r, line_of(r), ERR_LIMIT, "more than %d values", NODES_MAX);
	return 0;
}

static int read_node(struct reader *r, unsigned depth, struct yaml *out);

static int read_scalar(struct reader *r, struct yaml *out)
{
	const yaml_char_t *tag = r->event.data.scalar.tag;
	if (check_node(r, r->event.data.scalar.anchor, tag) < 0)
		return -1;
	out->type = YAML_SCALAR;
	out->plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		     !(tag && strcmp((const char *)tag, YAML_STR_TAG) == 0);
	out->scalar = arena_str(r->a, str_of((const char *)r->event.data.scalar.value, r->event.data.scalar.length));
	return 0;
}

VEC_TYPE(yaml_vec, struct yaml);
VEC_TYPE(yaml_pair_vec, struct yaml_pair);

static int collect_items(struct reader *r, unsigned depth, struct yaml_vec *v)
{
	for (;;) {
		if (next_event(r) < 0)
			return -1;
		if (r->event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		struct yaml item;
		if (read_node(r, depth + 1, &item) < 0)
			return -1;
		vec_push(v, item);
	}
}

static int read_list(struct reader *r, unsigned depth, struct yaml *out)
{
	struct yaml_vec v = {0};
	if (check_node(r, r->event.data.sequence_start.anchor, r->event.data.sequence_start.tag) < 0)
		return -1;
	out->type = YAML_LIST;
	int rc = collect_items(r, depth, &v);
	if (rc == 0 && v.n)
		out->item = vec_copy(&v, r->a);
	out->n = (uint32_t)v.n;
	vec_release(&v);
	return rc;
}

static int collect_pairs(struct reader *r, unsigned depth, struct yaml_pair_vec *v)
{
	auto_map seen = MAP_INIT;
	for (;;) {
		if (next_event(r) < 0)
			return -1;
		if (r->event.type == YAML_MAPPING_END_EVENT)
			return 0;
		struct yaml key = {.line = (uint32_t)line_of(r)};
		struct yaml_pair pair = {.line = key.line};
		if (r->event.type != YAML_SCALAR_EVENT)
			return fail(r, line_of(r), ERR_INPUT, "a key must be plain text");
		if (read_scalar(r, &key) < 0)
			return -1;
		pair.key = key.scalar;
		uint64_t *first = map_put(&seen, pair.key);
		if (*first)
			return fail(r, pair.line, ERR_INPUT, "key '%.*s' comes twice, first at line %u",
				    STR_ARG(pair.key), (unsigned)*first);
		*first = pair.line;
		if (next_event(r) < 0 || read_node(r, depth + 1, &pair.value) < 0)
			return -1;
		vec_push(v, pair);
	}
}

static int read_map(struct reader *r, unsigned depth, struct yaml *out)
{
	struct yaml_pair_vec v = {0};
	if (check_node(r, r->event.data.mapping_start.anchor, r->event.data.mapping_start.tag) < 0)
		return -1;
	out->type = YAML_MAP;
	int rc = collect_pairs(r, depth, &v);
	if (rc == 0 && v.n)
		out->pair = vec_copy(&v, r->a);
	out->n = (uint32_t)v.n;
	vec_release(&v);
	return rc;
}

/* The node that begins with the current event. */
static int read_node(struct reader *r, unsigned depth, struct yaml *out)
{
	*out = (struct yaml){.line = (uint32_t)line_of(r), .where = r->where, .scalar = STR("")};
	switch ((int)r->event.type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(r, out);
	case YAML_ALIAS_EVENT:
		return fail(r, line_of(r), ERR_UNSUPPORTED, "aliases ('*%s') are not supported; write the value out",
			    (const char *)r->event.data.alias.anchor);
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		if (depth > DEPTH_MAX)
			return fail(r, line_of(r), ERR_LIMIT, "nested more than %d deep", DEPTH_MAX);
		return r->event.type == YAML_SEQUENCE_START_EVENT ? read_list(r, depth, out) : read_map(r, depth, out);
	default:
		return fail(r, line_of(r), ERR_INPUT, "expected a value");
	}
}

static int read_document(struct reader *r, struct yaml *out)
{
	if (next_event(r) < 0 || next_event(r) < 0) /* stream start; document start, or the end of an empty stream */
		return -1;
	*out = (struct yaml){.plain = true, .line = 1, .where = r->where, .scalar = STR("")};
	if (r->event.type == YAML_STREAM_END_EVENT)
		return 0;
	if (next_event(r) < 0 || read_node(r, 1, out) < 0)
		return -1;
	if (next_event(r) < 0 || next_event(r) < 0) /* document end; stream end */
		return -1;
	if (r->event.type != YAML_STREAM_END_EVENT)
		return fail(r, line_of(r), ERR_INPUT, "a second document begins; only one is allowed");
	return 0;
}

/* libyaml compares each %TAG directive with all before it, which takes seconds for a text of nothing else. */
static int refuse_tag_directives(struct reader *r, struct str text)
{
	struct str l;
	for (size_t line = 1; str_take_line(&text, &l); line++)
		if (str_starts(l, STR("%TAG")))
			return fail(r, line, ERR_UNSUPPORTED, "'%%TAG' is not supported; remove it");
	return 0;
}

const struct yaml *yaml_parse(struct arena *a, struct str text, const char *where, struct err *e)
{
	if (dl_load(&libyaml_library, e) < 0)
		return NULL;
	cleanup_with(reader_release) struct reader r = {.a = a, .e = e};
	if (!libyaml.parser_initialize(&r.parser))
		panic("out of memory (libyaml)");
	r.where = arena_strdup(a, str_c(where));
	if (text.n > TEXT_MAX) {
		err_new(e, ERR_LIMIT, "%s: larger than 1 MiB", where);
		return NULL;
	}
	if (refuse_tag_directives(&r, text) < 0)
		return NULL;
	str_take_str(&text, STR("\xef\xbb\xbf")); /* a byte order mark, which some editors leave */
	r.text = text;
	libyaml.parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
	libyaml.parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
	struct yaml *root = arena_new(a, struct yaml);
	return read_document(&r, root) < 0 ? NULL : root;
}

const struct yaml *yaml_get(const struct yaml *map, const char *key)
{
	if (!map || map->type != YAML_MAP)
		return NULL;
	for (uint32_t i = 0; i < map->n; i++)
		if (str_eq_c(map->pair[i].key, key))
			return &map->pair[i].value;
	return NULL;
}

bool yaml_is_null(const struct yaml *y)
{
	static const char *const null_words[] = {"", "~", "null", "Null", "NULL"};
	if (y->type != YAML_SCALAR || !y->plain)
		return false;
	for (size_t i = 0; i < sizeof(null_words) / sizeof(null_words[0]); i++)
		if (str_eq_c(y->scalar, null_words[i]))
			return true;
	return false;
}

int yaml_str(const struct yaml *y, const char *what, struct str *ret, struct err *e)
{
	if (y->type != YAML_SCALAR || yaml_is_null(y))
		return yaml_error(y, e, "'%s' must be text", what);
	*ret = y->scalar;
	return 0;
}

int yaml_error(const struct yaml *y, struct err *e, const char *fmt, ...)
{
	char msg[ERR_MSG_SIZE];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return err_new(e, ERR_INPUT, "%s:%u: %s", y->where, (unsigned)y->line, msg);
}

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Some reader takes it for a number, a date or a time. */
static bool looks_numeric(struct str s)
{
	if (!is_digit(s.p[0]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!is_digit(s.p[i]) && !memchr("abcdefABCDEFxXoO_.:+- TZ", s.p[i], 24))
			return false;
	return true;
}

/* May stand without quotes, in block and flow context, for readers of YAML 1.1 and 1.2. */
static bool plain_is_safe(struct str s)
{
	static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"};
	if (s.n == 0 || (!is_alpha(s.p[0]) && !is_digit(s.p[0]) && s.p[0] != '_' && s.p[0] != '/') || looks_numeric(s))
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (str_casecmp(s, str_c(words[i])) == 0)
			return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i], next = i + 1 < s.n ? s.p[i + 1] : ' ';
		bool inner = c == ' ' || c == ':';
		if (inner ? next == ' ' : !is_alpha(c) && !is_digit(c) && !memchr("_./+-=<>!*^~@%|;()", c, 18))
			return false;
	}
	return true;
}

static bool shows_as_itself(uint32_t c)
{
	return (c >= 0x20 && c < 0x7f) || (c >= 0xa0 && c != 0x2028 && c != 0x2029 && c != 0xfeff && c < 0xfffe) ||
	       (c >= 0x10000 && (c & 0xfffe) != 0xfffe);
}

static void put_double_quoted(struct buf *b, struct str s)
{
	buf_put_char(b, '"');
	while (s.n) {
		uint32_t c;
		size_t n = utf8_take(s, &c);
		if (n == 0)
			buf_put_c(b, "\xef\xbf\xbd");
		else if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", (char)c);
		else if (c == '\n')
			buf_put_c(b, "\\n");
		else if (c == '\t')
			buf_put_c(b, "\\t");
		else if (shows_as_itself(c))
			buf_put(b, s.p, n);
		else
			buf_printf(b, c > 0xffff ? "\\U%08x" : "\\u%04x", (unsigned)c);
		s = str_skip(s, n ? n : 1);
	}
	buf_put_char(b, '"');
}

void yaml_put_scalar(struct buf *b, struct str s)
{
	if (plain_is_safe(s)) {
		buf_put_str(b, s);
		return;
	}
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || (unsigned char)s.p[i] >= 0x7f) {
			put_double_quoted(b, s);
			return;
		}
	buf_put_char(b, '\'');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'')
			buf_put_char(b, '\'');
		buf_put_char(b, s.p[i]);
	}
	buf_put_char(b, '\'');
}
