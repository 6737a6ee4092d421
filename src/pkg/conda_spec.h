// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * conda_spec: a MatchSpec (CEP 29) taken apart. Private to pkg/.
 *
 * conda_spec.c splits the text into its fields, conda_clause.c reads and evaluates the version part, conda_when.c the
 * condition of CEP 43, conda_match.c matches records and writes the canonical form.
 */
#include <stdarg.h>

#include "pkg/conda_version.h"
#include "pkg/pattern.h"

enum {
	SPEC_TEXT_MAX = 4096,
	SPEC_CLAUSES_MAX = 256, /* of one version part, or specs of one condition */
	SPEC_DEPTH_MAX = 32,	/* of parentheses */
	SPEC_KEYS_MAX = 64,
};

/* A version expression: a clause, or AND/OR over a list of them. */
enum vexpr_op {
	VX_ANY,
	VX_EQ,
	VX_NE,
	VX_LT,
	VX_LE,
	VX_GT,
	VX_GE,
	VX_STARTS,
	VX_NOT_STARTS,
	VX_COMPATIBLE, /* >= version and starts with prefix */
	VX_TEXT,       /* glob or regular expression on the text */
	VX_NOT_TEXT,
	VX_AND,
	VX_OR,
};
struct vexpr {
	enum vexpr_op op;
	const struct version *version, *prefix;
	bool loose; /* prefix: its last segment need only begin that of the version (dependencies) */
	const struct pattern *pattern;
	struct str literal; /* without operator and trailing glob */
	const struct vexpr *first;
	struct vexpr *next;
};

enum spec_key {
	KEY_NAME, /* read and ignored, as CEP 29 asks */
	KEY_NAMESPACE,
	KEY_CHANNEL,
	KEY_SUBDIR,
	KEY_VERSION,
	KEY_BUILD,
	KEY_BUILD_NUMBER,
	KEY_TRACK_FEATURES,
	KEY_FEATURES,
	KEY_URL,
	KEY_MD5,
	KEY_SHA256,
	KEY_LICENSE,
	KEY_LICENSE_FAMILY,
	KEY_FN,
	KEY_NOARCH,
	KEY_SIZE,
	KEY_TIMESTAMP,
	KEY_SITE_PACKAGES,
	KEY_ARCH, /* this and the next two are looked up in extra_json */
	KEY_PLATFORM,
	KEY_INDEXED_TIMESTAMP,
	KEY_EXTRAS,
	KEY_FLAGS,
	KEY_WHEN,
	KEY_COUNT,
};
extern const char *const spec_key_names[KEY_COUNT];

/* A condition on a field that is not in struct spec itself. */
struct spec_field {
	enum spec_key key;
	enum vexpr_op op; /* numbers: VX_EQ … VX_GE against `number`; else VX_TEXT: `pattern` */
	uint64_t number;
	struct pattern pattern;
	struct str text;
	const struct spec_field *next;
};

struct spec {
	struct str text, name, channel, subdir, version_text, build_text, when;
	struct pattern name_pattern, build;
	const struct pattern *channel_pattern, *subdir_pattern;
	const struct vexpr *version; /* NULL: any */
	const struct spec_field *fields;
	const struct str *extras;
	const struct spec_condition *condition;
	uint32_t extras_n;
	unsigned flags;
};

/* A text on its way into a struct spec. */
struct spec_reader {
	struct arena *a;
	struct str text;
	unsigned flags;
	unsigned depth, clauses;
	bool in_condition;    /* inside a `when`, where no second one may stand */
	const char *value_at; /* the place in text of an unquoted value that is read elsewhere */
	struct err *e;
};
/* Fills r->e with "spec '…': column N: …" and returns -1. `at` points into r->text. */
int spec_bad(const struct spec_reader *r, const char *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static inline bool spec_strict(const struct spec_reader *r)
{
	return !(r->flags & SPEC_DEPENDENCY);
}

/* After the Python string literal whose quote is at p; NULL where it has no end. */
const char *spec_skip_quoted(const char *p, const char *end);

int spec_read_version(struct spec_reader *r, struct str text, const struct vexpr **ret);
bool vexpr_match(const struct vexpr *x, const struct version *v, struct str text);
/* conda_extra.c: a member of a record's extra_json as JSON text; then the strings in it, one by one. */
bool extra_member(struct str members, const char *key, struct str *ret);
bool extra_string(struct str *value, struct str *ret);

int spec_read_condition(struct spec_reader *r, struct str text, const struct spec_condition **ret);

const struct spec *conda_spec_parse(struct arena *a, struct str text, enum spec_flags flags, struct err *e);
int spec_read_at_depth(struct spec_reader *outer, struct str text, const struct spec **ret);

/* -- text that is read character by character; white space between what is read says nothing ---------------------- */
static inline bool spec_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct scan {
	const char *p, *end;
};

/* The next character that is no white space, which becomes the first; 0: there is none. */
static inline char scan_peek(struct scan *s)
{
	while (s->p < s->end && spec_is_space(*s->p))
		s->p++;
	return s->p < s->end ? *s->p : '\0';
}
