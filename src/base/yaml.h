// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * yaml: documents people write (environment.yml, .spr, configuration), read with libyaml into a tree with line numbers.
 *
 * Bounded: 1 MiB of text, depth 32, 100,000 nodes. Anchors, aliases, %TAG and tags of one's own are refused
 * (no billion laughs), as are duplicate keys and a second document. Scalars stay text: `plain` tells an unquoted one, so that
 * callers decide what 1.10 or no means.
 *
 *	const struct yaml *y = yaml_parse(&arena, text, "environment.yml", e);      NULL on error, "environment.yml:3: ..."
 *	for (uint32_t i = 0; i < y->n; i++) y->pair[i].key / y->pair[i].value
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum yaml_type { YAML_SCALAR, YAML_LIST, YAML_MAP };
struct yaml_pair;
struct yaml {
	enum yaml_type type;
	bool plain;	   /* scalar without quotes */
	uint32_t n;	   /* items or pairs */
	uint32_t line;	   /* from 1 */
	const char *where; /* the file's name, for messages */
	struct str scalar; /* NUL-terminated */
	const struct yaml *item;
	const struct yaml_pair *pair;
};
struct yaml_pair {
	struct str key;
	uint32_t line;
	struct yaml value;
};

const struct yaml *yaml_parse(struct arena *a, struct str text, const char *where, struct err *e);
const struct yaml *yaml_get(const struct yaml *map, const char *key); /* NULL where absent */
bool yaml_is_null(const struct yaml *y);			      /* plain empty, ~ or null */
int yaml_str(const struct yaml *y, const char *what, struct str *ret,
	     struct err *e); /* "file:3: 'what' must be text" */
/* -1 with "where:line: message", for checks of one's own. */
int yaml_error(const struct yaml *y, struct err *e, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Appends s as a YAML scalar, quoted where a plain one would be read otherwise. */
void yaml_put_scalar(struct buf *b, struct str s);
