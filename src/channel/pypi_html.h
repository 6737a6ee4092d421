// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * pypi_html: the anchors of a page of HTML, found as pip finds them: tags anywhere, attributes quoted or not, references resolved,
 * comments, scripts and styles passed over. Private to channel/.
 *
 *	struct html h = {.text = page, .arena = &a};
 *	struct html_tag t;
 *	while (html_next(&h, &t))
 *		if (str_eq(t.name, STR("a")) && html_attribute(&t, "href", &href)) …
 *
 * Takes a time that is linear in the text. Views are of the text or the arena.
 */
#include "base/arena.h"

enum { HTML_ATTRIBUTES_MAX = 32 };
struct html_attribute {
	struct str name, value; /* name: lower case; value: resolved */
};
struct html_tag {
	struct str name;				      /* lower case; of start tags only */
	struct html_attribute attribute[HTML_ATTRIBUTES_MAX]; /* what is beyond is not kept */
	size_t n;
	struct str text; /* from behind the tag to the next one, resolved and trimmed */
};
struct html {
	struct str text;
	struct arena *arena;
};
bool html_next(struct html *h, struct html_tag *ret);
/* The first of that name; an attribute without value has the value "". */
bool html_attribute(const struct html_tag *t, const char *name, struct str *ret);
/* & < > and quotes as references, everything else as it is. */
struct buf;
void html_put(struct buf *b, struct str text);
