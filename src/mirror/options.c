// SPDX-License-Identifier: Apache-2.0
/* Reading options by their tables. */
#include <errno.h>
#include <stdio.h>

#include "base/vec.h"
#include "mirror/config.h"

/* -- the nearest word ---------------------------------------------------------------------------------------------- */

static void consider(struct str word, struct str known, struct str *best, unsigned *least)
{
	unsigned d = str_distance(word, known);
	if (d < *least) {
		*least = d;
		*best = known;
	}
}

static int unknown_key(const struct option *table, const char *other, const struct yaml *map, const struct yaml_pair *p,
		       struct err *e)
{
	struct str best = STR_NONE, more = str_c(other), word;
	unsigned least = (unsigned)(p->key.n < 6 ? 3 : p->key.n / 2 + 1);
	auto_buf known = BUF_INIT(2000);
	for (const struct option *o = table; o->name; o++) {
		consider(p->key, str_c(o->name), &best, &least);
		buf_printf(&known, "%s%s", known.n ? ", " : "", o->name);
	}
	while (str_take_word(&more, &word)) {
		consider(p->key, word, &best, &least);
		buf_printf(&known, ", %.*s", STR_ARG(word));
	}
	if (best.n)
		return err_new(e, ERR_INPUT, "%s:%u: unknown key '%.*s'; did you mean '%.*s'?", map->where,
			       (unsigned)p->line, STR_ARG(p->key), STR_ARG(best));
	return err_new(e, ERR_INPUT, "%s:%u: unknown key '%.*s'; known are %s", map->where, (unsigned)p->line,
		       STR_ARG(p->key), known.p);
}

/* -- values -------------------------------------------------------------------------------------------------------- */

struct unit {
	const char *name;
	uint64_t factor;
};
static const struct unit sizes[] = {{"", 1},
				    {"B", 1},
				    {"kB", 1000},
				    {"KB", 1000},
				    {"MB", 1000000},
				    {"GB", 1000000000},
				    {"TB", UINT64_C(1000000000000)},
				    {"KiB", UINT64_C(1) << 10},
				    {"MiB", UINT64_C(1) << 20},
				    {"GiB", UINT64_C(1) << 30},
				    {"TiB", UINT64_C(1) << 40},
				    {NULL, 0}};
static const struct unit times[] = {{"ms", 1},	       {"s", 1000},	  {"min", 60000},     {"h", 3600000},
				    {"d", 86400000},   {"day", 86400000}, {"days", 86400000}, {"hours", 3600000},
				    {"hour", 3600000}, {NULL, 0}};

static bool take_amount(struct str s, const struct unit *units, uint64_t *ret)
{
	uint64_t n;
	if (!str_take_u64(&s, &n))
		return false;
	for (; units->name; units++)
		if (str_eq_c(str_trim(s), units->name) && n <= (UINT64_C(1) << 50) / units->factor) {
			*ret = n * units->factor;
			return true;
		}
	return false;
}

static bool take_number(struct str s, double *ret)
{
	char text[40], *end;
	snprintf(text, sizeof(text), "%.*s", STR_ARG(s));
	errno = 0;
	*ret = strtod(text, &end);
	/* neither hexadecimal nor "inf", and nothing behind a NUL */
	return s.n > 0 && s.n < sizeof(text) && end == text + s.n && strspn(text, "0123456789.-") == s.n && !errno;
}

/* The place of a word in a list of them; -1: it is not there. */
static int word_place(const char *words, struct str s)
{
	struct str rest = str_c(words), word;
	for (int i = 0; str_take_word(&rest, &word); i++)
		if (str_casecmp(word, s) == 0)
			return i;
	return -1;
}

static int read_yes(const struct option *o, const struct yaml *y, bool *ret, struct err *e)
{
	static const char *const words = "no yes false true off on";
	int place = word_place(words, y->scalar);
	if (place < 0)
		return yaml_error(y, e, "'%s' must be yes or no, not '%.*s'", o->name, STR_ARG(y->scalar));
	*ret = place & 1;
	return 0;
}

static int read_word(const struct option *o, const struct yaml *y, unsigned *ret, struct err *e)
{
	int place = word_place(o->words, y->scalar);
	if (place < 0)
		return yaml_error(y, e, "'%s' must be one of %s, not '%.*s'", o->name, o->words, STR_ARG(y->scalar));
	*ret = (unsigned)place;
	return 0;
}

static int read_number(const struct option *o, const struct yaml *y, double *ret, struct err *e)
{
	double v;
	if (!take_number(y->scalar, &v) || !(v >= o->min && v <= o->max))
		return yaml_error(y, e, "'%s' must be a number from %g to %g, not '%.*s'", o->name, o->min, o->max,
				  STR_ARG(y->scalar));
	*ret = v;
	return 0;
}

static int read_count(const struct option *o, const struct yaml *y, int64_t *ret, struct err *e)
{
	int64_t v;
	if (!str_to_i64(y->scalar, &v) || (double)v < o->min || (double)v > o->max)
		return yaml_error(y, e, "'%s' must be a whole number from %.0f to %.0f, not '%.*s'", o->name, o->min,
				  o->max, STR_ARG(y->scalar));
	*ret = v;
	return 0;
}

static int read_amount(const struct option *o, const struct yaml *y, uint64_t *ret, struct err *e)
{
	bool time = o->kind == OPTION_TIME;
	if (take_amount(y->scalar, time ? times : sizes, ret))
		return 0;
	return yaml_error(y, e, "'%s' must be %s, not '%.*s'", o->name,
			  time ? "a time like 90 s, 15 min, 12 h or 7 days" : "a size like 500 MB or 2 GiB",
			  STR_ARG(y->scalar));
}

static int read_url(struct arena *a, const struct option *o, const struct yaml *y, struct str *ret, struct err *e)
{
	struct str s = y->scalar;
	bool good = str_starts(s, STR("https://")) || str_starts(s, STR("http://")) || str_starts(s, STR("file:///")) ||
		    str_starts(s, STR("/"));
	if (!good)
		return yaml_error(y, e, "'%s' must be an https, http or file URL or an absolute folder, not '%.*s'",
				  o->name, STR_ARG(s));
	while (s.n > 1 && s.p[s.n - 1] == '/')
		s.n--;
	*ret = arena_str(a, s);
	return 0;
}

/* A list of texts; one text alone is a list of one. */
static int read_list(struct arena *a, const struct option *o, const struct yaml *y, struct mirror_list *ret,
		     struct err *e)
{
	const struct yaml *item = y->type == YAML_LIST ? y->item : y;
	size_t n = y->type == YAML_LIST ? y->n : 1;
	struct str *v = arena_array(a, struct str, n + 1);
	if (y->type == YAML_MAP)
		return yaml_error(y, e, "'%s' must be a list", o->name);
	for (size_t i = 0; i < n; i++)
		if (yaml_str(&item[i], o->name, &v[i], e) < 0)
			return -1;
	*ret = (struct mirror_list){v, n};
	return 0;
}

static int read_kind(const struct option *o, const struct yaml *y, const struct channel_kind **ret, struct err *e)
{
	*ret = channel_kind(y->scalar);
	return *ret ? 0
		    : yaml_error(y, e, "'%s' must be conda, deb, rpm, pypi or opam, not '%.*s'", o->name,
				 STR_ARG(y->scalar));
}

static int read_value(struct arena *a, const struct option *o, const struct yaml *y, void *at, struct err *e)
{
	struct str s;
	if (o->kind == OPTION_LIST)
		return read_list(a, o, y, at, e);
	if (o->kind == OPTION_SECTION)
		return y->type == YAML_MAP ? option_read(a, o->section, y, "", at, e)
					   : yaml_error(y, e, "'%s' must be lines of 'key: value'", o->name);
	if (yaml_str(y, o->name, &s, e) < 0)
		return -1;
	switch (o->kind) {
	case OPTION_TEXT:
	case OPTION_FILE:
		if (memchr(s.p, '\n', s.n))
			return yaml_error(y, e, "'%s' must be one line of text", o->name);
		*(struct str *)at = s;
		return 0;
	case OPTION_URL:
		return read_url(a, o, y, at, e);
	case OPTION_YES:
		return read_yes(o, y, at, e);
	case OPTION_WORD:
		return read_word(o, y, at, e);
	case OPTION_COUNT:
		return read_count(o, y, at, e);
	case OPTION_NUMBER:
		return read_number(o, y, at, e);
	case OPTION_TIME:
	case OPTION_SIZE:
		return read_amount(o, y, at, e);
	case OPTION_KIND:
		return read_kind(o, y, at, e);
	case OPTION_LIST:
	case OPTION_SECTION:
		break;
	}
	return 0;
}

static void *place(const struct option *o, void *base)
{
	return (char *)base + o->at;
}

int option_defaults(const struct option *table, void *base, struct err *e)
{
	for (const struct option *o = table; o->name; o++) {
		struct yaml y = {.type = YAML_SCALAR, .plain = true, .scalar = str_c(o->standard), .where = "standard"};
		if (o->kind == OPTION_SECTION) {
			if (option_defaults(o->section, place(o, base), e) < 0)
				return -1;
		} else if (o->kind == OPTION_TEXT || o->kind == OPTION_FILE || o->kind == OPTION_URL) {
			*(struct str *)place(o, base) = o->standard ? str_c(o->standard) : STR("");
		} else if (o->standard && o->kind != OPTION_LIST && read_value(NULL, o, &y, place(o, base), e) < 0) {
			return -1;
		}
	}
	return 0;
}

int option_read(struct arena *a, const struct option *table, const struct yaml *map, const char *other, void *base,
		struct err *e)
{
	for (uint32_t i = 0; i < map->n; i++) {
		const struct yaml_pair *p = &map->pair[i];
		const struct option *o = table;
		while (o->name && !str_eq_c(p->key, o->name))
			o++;
		if (!o->name && word_place(other, p->key) >= 0)
			continue;
		if (!o->name)
			return unknown_key(table, other, map, p, e);
		if (!yaml_is_null(&p->value) && read_value(a, o, &p->value, place(o, base), e) < 0)
			return -1;
	}
	return 0;
}
