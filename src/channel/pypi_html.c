// SPDX-License-Identifier: Apache-2.0
#include "channel/pypi_html.h"

#include "base/buf.h"

/* -- references ---------------------------------------------------------------------------------------------------- */

/* "#60", "#x3c", "lt": the character, 0 where it is none that is known. */
static uint32_t reference(struct str s)
{
	static const struct {
		const char *name;
		uint32_t c;
	} known[] = {{"amp", '&'},   {"lt", '<'},   {"gt", '>'}, {"quot", '"'},
		     {"apos", '\''}, {"nbsp", ' '}, {"sol", '/'}};
	uint32_t v = 0;
	if (!str_take_char(&s, '#')) {
		for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
			if (str_eq_c(s, known[i].name))
				return known[i].c;
		return 0;
	}
	bool hex = str_take_char(&s, 'x') || str_take_char(&s, 'X');
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		int digit = c >= '0' && c <= '9'		 ? c - '0'
			    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
								 : 99;
		if (digit >= (hex ? 16 : 10) || v > 0x110000)
			return 0;
		v = v * (hex ? 16 : 10) + (uint32_t)digit;
	}
	bool good = v > 0 && v <= 0x10ffff && (v < 0xd800 || v > 0xdfff);
	return s.n ? good ? v : 0xfffd : 0;
}

static struct str resolve(struct arena *a, struct str s)
{
	enum { REFERENCE_MAX = 12 };
	if (str_find(s, '&') < 0)
		return s;
	char *p = arena_alloc(a, s.n + 1);
	size_t n = 0;
	while (s.n) {
		struct str rest = str_skip(s, 1), name;
		uint32_t c = 0;
		if (s.p[0] == '&' && str_find(str_head(rest, REFERENCE_MAX), ';') > 0 &&
		    str_take_until(&rest, ';', &name))
			c = reference(name);
		if (c) {
			n += utf8_put(p + n, c); /* never longer than its reference */
			s = rest;
		} else {
			p[n++] = s.p[0];
			s = str_skip(s, 1);
		}
	}
	p[n] = '\0';
	return str_of(p, n);
}

void html_put(struct buf *b, struct str text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		const char *r = c == '&'    ? "&amp;"
				: c == '<'  ? "&lt;"
				: c == '>'  ? "&gt;"
				: c == '"'  ? "&quot;"
				: c == '\'' ? "&#39;"
					    : NULL;
		if (r)
			buf_put_c(b, r);
		else
			buf_put_char(b, c);
	}
}

/* -- tags ---------------------------------------------------------------------------------------------------------- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static struct str lower(struct arena *a, struct str s)
{
	char *p = arena_strdup(a, s);
	for (size_t i = 0; i < s.n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] - 'A' + 'a');
	return str_of(p, s.n);
}

static struct str take_run(struct str *s, const char *stops)
{
	size_t n = 0;
	while (n < s->n && !is_space(s->p[n]) && !(s->p[n] && strchr(stops, s->p[n])))
		n++;
	struct str run = str_head(*s, n);
	*s = str_skip(*s, n);
	return run;
}

static void skip_space(struct str *s)
{
	while (s->n && is_space(s->p[0]))
		*s = str_skip(*s, 1);
}

static struct str take_value(struct str *s)
{
	struct str value;
	char quote = s->n ? s->p[0] : 0;
	if (quote != '"' && quote != '\'')
		return take_run(s, ">");
	*s = str_skip(*s, 1);
	if (!str_take_until(s, quote, &value)) {
		value = *s;
		*s = str_skip(*s, s->n);
	}
	return value;
}

/* Up to and with '>'. */
static void take_attributes(struct html *h, struct html_tag *t)
{
	struct str *s = &h->text;
	for (;;) {
		while (s->n && (is_space(s->p[0]) || s->p[0] == '/' || s->p[0] == '='))
			*s = str_skip(*s, 1);
		if (!s->n || str_take_char(s, '>'))
			return;
		struct html_attribute x = {.name = take_run(s, "=/>"), .value = STR("")};
		skip_space(s);
		if (str_take_char(s, '=')) {
			skip_space(s);
			x.value = take_value(s);
		}
		if (t->n == HTML_ATTRIBUTES_MAX)
			continue;
		x.name = lower(h->arena, x.name);
		x.value = resolve(h->arena, x.value);
		t->attribute[t->n++] = x;
	}
}

/* Behind the end of what begins here; all of it where it does not end. */
static void skip_past(struct str *s, const char *end)
{
	ptrdiff_t at = str_search(*s, str_c(end));
	*s = at < 0 ? str_skip(*s, s->n) : str_skip(*s, (size_t)at + strlen(end));
}

/* What stands in a script or style is no tag, whatever it looks like. */
static void skip_element(struct str *s, struct str name)
{
	for (ptrdiff_t at; (at = str_find(*s, '<')) >= 0; *s = str_skip(*s, 1)) {
		*s = str_skip(*s, (size_t)at);
		struct str rest = str_skip(*s, 1);
		if (str_take_char(&rest, '/') && str_casecmp(str_head(rest, name.n), name) == 0)
			return;
	}
	*s = str_skip(*s, s->n);
}

static bool is_letter(char c)
{
	return (c | 32) >= 'a' && (c | 32) <= 'z';
}

bool html_next(struct html *h, struct html_tag *ret)
{
	struct str *s = &h->text;
	for (ptrdiff_t at; (at = str_find(*s, '<')) >= 0;) {
		*s = str_skip(*s, (size_t)at + 1);
		if (str_take_str(s, STR("!--"))) {
			skip_past(s, "-->");
			continue;
		}
		if (!s->n || !is_letter(s->p[0]))
			continue; /* an end tag, <!DOCTYPE>, a lonely '<' */
		ret->n = 0;
		ret->name = lower(h->arena, take_run(s, "/>"));
		take_attributes(h, ret);
		if (str_eq(ret->name, STR("script")) || str_eq(ret->name, STR("style")))
			skip_element(s, ret->name);
		ptrdiff_t end = str_find(*s, '<');
		ret->text = str_trim(resolve(h->arena, end < 0 ? *s : str_head(*s, (size_t)end)));
		return true;
	}
	return false;
}

bool html_attribute(const struct html_tag *t, const char *name, struct str *ret)
{
	for (size_t i = 0; i < t->n; i++)
		if (str_eq_c(t->attribute[i].name, name)) {
			*ret = t->attribute[i].value;
			return true;
		}
	return false;
}
