// SPDX-License-Identifier: Apache-2.0
#include "pkg/conda_version.h"

enum {
	VK_WORD_END = 0x01,
	VK_DEV = 0x10,
	VK_WORD = 0x11,
	VK_ZERO_LOW = 0x1f,
	VK_END = 0x20,
	VK_ZERO_HIGH = 0x21,
	VK_NUMBER = 0x21, /* + n for 1 ≤ n ≤ VK_SMALL */
	VK_SMALL = 200,
	VK_LARGE = VK_NUMBER + VK_SMALL, /* + number of bytes that follow */
	VK_POST = 0xff,
	CEP33_NUMBER_MAX = INT32_MAX,
	CEP26_VERSION_MAX = 64,
};

enum { C_OTHER, C_DIGIT, C_LETTER, C_SEPARATOR };
static const uint8_t class_of[256] = {
	['0' ... '9'] = C_DIGIT, ['a' ... 'z'] = C_LETTER, ['A' ... 'Z'] = C_LETTER,
	['.'] = C_SEPARATOR,	 ['_'] = C_SEPARATOR,	   ['-'] = C_SEPARATOR,
};

/* One part of a version, main or local, on its way into a key. */
struct reader {
	const uint8_t *p, *end;
	const uint8_t *tail; /* a trailing '_' that belongs to the word before it; else end */
	uint8_t *out;
	uint8_t *kept; /* after the last token that is not VK_END */
	enum version_last last;
	bool strict;
};

static inline int class_at(const struct reader *r, const uint8_t *p)
{
	if (p >= r->end)
		return C_SEPARATOR;
	return p == r->tail ? C_LETTER : class_of[*p];
}

static bool word_is(const uint8_t *p, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if ((p[i] | 0x20) != (uint8_t)word[i])
			return false;
	return word[n] == '\0';
}

static size_t word_length(const struct reader *r)
{
	const uint8_t *p = r->p;
	while (class_at(r, p) == C_LETTER)
		p++;
	return (size_t)(p - r->p);
}

static bool is_post(const struct reader *r)
{
	return (*r->p | 0x20) == 'p' && word_length(r) == 4 && word_is(r->p, 4, "post");
}

static void put_number(struct reader *r, uint64_t n)
{
	if (n <= VK_SMALL) {
		*r->out++ = (uint8_t)(VK_NUMBER + n);
	} else {
		int bytes = (71 - __builtin_clzll(n)) / 8;
		*r->out++ = (uint8_t)(VK_LARGE + bytes);
		while (bytes-- > 0)
			*r->out++ = (uint8_t)(n >> (8 * bytes));
	}
	r->kept = r->out;
}

static const char *read_number(struct reader *r)
{
	uint64_t n = 0;
	for (; r->p < r->end && class_of[*r->p] == C_DIGIT; r->p++) {
		uint64_t digit = (uint64_t)(*r->p - '0');
		if (n > (UINT64_MAX - digit) / 10)
			return "number too large";
		n = n * 10 + digit;
	}
	if (r->strict && n > CEP33_NUMBER_MAX)
		return "number larger than 2147483647";
	r->last = n ? VERSION_LAST_NUMBER : VERSION_LAST_ZERO;
	if (n > 0)
		put_number(r, n);
	else if (class_at(r, r->p) == C_LETTER)
		*r->out++ = is_post(r) ? VK_ZERO_HIGH : VK_ZERO_LOW;
	return NULL;
}

static void read_word(struct reader *r)
{
	size_t n = word_length(r);
	r->last = VERSION_LAST_SPECIAL;
	if (n == 4 && word_is(r->p, 4, "post")) {
		*r->out++ = VK_POST;
	} else if (n == 3 && word_is(r->p, 3, "dev")) {
		*r->out++ = VK_DEV;
	} else {
		r->last = VERSION_LAST_WORD;
		*r->out++ = VK_WORD;
		for (size_t i = 0; i < n; i++)
			*r->out++ = class_of[r->p[i]] == C_SEPARATOR ? '_' : r->p[i] | 0x20;
		*r->out++ = VK_WORD_END;
	}
	r->p += n;
	r->kept = r->out;
}

static const char *read_segment(struct reader *r)
{
	int class = class_at(r, r->p);
	if (class == C_SEPARATOR)
		return "empty segment";
	const char *fault = NULL;
	while (!fault && class != C_SEPARATOR) {
		if (class == C_OTHER)
			return "character that no version has";
		fault = read_number(r);
		if (!fault && class_at(r, r->p) == C_LETTER)
			read_word(r);
		class = class_at(r, r->p);
	}
	*r->out++ = VK_END;
	return fault;
}

static const char *read_part(struct reader *r, const char *from, const char *to, bool whole)
{
	r->p = (const uint8_t *)from;
	r->end = (const uint8_t *)to;
	r->tail = r->end;
	/* a trailing '_' ('-' is read as '_') belongs to the word before it, or is a word after a number or another '_' */
	if (to - from > 1 && (to[-1] == '_' || to[-1] == '-') &&
	    (to[-2] == '_' || class_of[(uint8_t)to[-2]] != C_SEPARATOR))
		r->tail = r->end - 1;
	for (;;) {
		const char *fault = read_segment(r);
		if (fault)
			return fault;
		if (r->p >= r->end)
			break;
		r->p++;
	}
	if (!whole)
		r->out = r->kept;
	return NULL;
}

static const char *read_epoch(struct reader *r, const char *from, const char *to)
{
	r->p = (const uint8_t *)from;
	r->end = r->tail = (const uint8_t *)to;
	if (from == to)
		return "no number before '!'";
	for (const char *p = from; p < to; p++)
		if (class_of[(uint8_t)*p] != C_DIGIT)
			return "an epoch that is not a number";
	uint8_t *out = r->out;
	const char *fault = read_number(r);
	if (r->out == out)
		*r->out++ = VK_END;
	return fault;
}

static void set_head(struct version *v)
{
	uint64_t h = 0;
	for (unsigned i = 0; i < 8; i++)
		h = h << 8 | (i < v->main_n ? v->key[i] : VK_END);
	v->head = h;
}

static const char *read_all(struct str t, unsigned flags, union version_key *k, struct reader *r)
{
	const char *end = t.p + t.n, *at = t.p;
	const char *bang = memchr(t.p, '!', t.n), *plus = memchr(t.p, '+', t.n);
	const char *fault = NULL;
	r->out = r->kept = k->v.key;
	r->strict = flags & VERSION_STRICT;
	if (bang) {
		fault = read_epoch(r, t.p, bang);
		at = bang + 1;
	} else {
		*r->out++ = VK_END;
	}
	if (fault)
		return fault;
	fault = read_part(r, at, plus ? plus : end, (flags & VERSION_PREFIX) && !plus);
	k->v.main_n = (uint16_t)(r->out - k->v.key);
	if (!fault && plus) {
		r->kept = r->out;
		fault = read_part(r, plus + 1, end, flags & VERSION_PREFIX);
	}
	k->v.n = (uint16_t)(r->out - k->v.key);
	return fault;
}

const char *version_read(struct str text, unsigned flags, union version_key *ret, size_t *ret_at)
{
	struct reader r = {0};
	struct str t = str_trim(text);
	*ret_at = text.n ? (size_t)(t.p - text.p) : 0;
	if (t.n == 0)
		return "empty version";
	if (flags & VERSION_STRICT && t.n != text.n)
		return "blanks around a version";
	if (t.n > ((flags & VERSION_STRICT) ? (size_t)CEP26_VERSION_MAX : VERSION_TEXT_MAX))
		return "version too long";
	const char *fault = read_all(t, flags, ret, &r);
	if (fault) {
		*ret_at = (size_t)((const char *)r.p - text.p);
		return fault;
	}
	ret->v.last = (uint8_t)r.last;
	set_head(&ret->v);
	return NULL;
}

const struct version *version_keep(struct arena *a, const union version_key *k)
{
	size_t size = offsetof(struct version, key) + k->v.n;
	struct version *v = arena_alloc(a, size);
	memcpy(v, &k->v, size);
	return v;
}

/* Two keys, of which the shorter one goes on with VK_END. */
static int compare_keys(const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
	size_t n = an < bn ? an : bn;
	int c = memcmp(a, b, n);
	if (c != 0)
		return c;
	for (size_t i = n; i < an; i++)
		if (a[i] != VK_END)
			return a[i] < VK_END ? -1 : 1;
	for (size_t i = n; i < bn; i++)
		if (b[i] != VK_END)
			return b[i] < VK_END ? 1 : -1;
	return 0;
}

static int compare_long(const struct version *a, const struct version *b)
{
	int c = compare_keys(a->key, a->main_n, b->key, b->main_n);
	return c ? c : compare_keys(a->key + a->main_n, a->n - a->main_n, b->key + b->main_n, b->n - b->main_n);
}

int version_compare(const struct version *a, const struct version *b)
{
	if (a->head != b->head)
		return a->head < b->head ? -1 : 1;
	if (a->n <= 8 && b->n <= 8 && a->n == a->main_n && b->n == b->main_n)
		return 0;
	return compare_long(a, b);
}

static bool key_starts(const uint8_t *v, size_t vn, const uint8_t *p, size_t pn)
{
	size_t n = vn < pn ? vn : pn;
	if (memcmp(v, p, n) != 0)
		return false;
	for (size_t i = n; i < pn; i++)
		if (p[i] != VK_END)
			return false;
	return true;
}

bool version_starts(const struct version *v, const struct version *p)
{
	if (p->n == p->main_n)
		return key_starts(v->key, v->main_n, p->key, p->main_n);
	return compare_keys(v->key, v->main_n, p->key, p->main_n) == 0 &&
	       key_starts(v->key + v->main_n, v->n - v->main_n, p->key + p->main_n, p->n - p->main_n);
}

static bool key_starts_loosely(const uint8_t *v, size_t vn, const uint8_t *p, size_t pn, enum version_last last)
{
	pn--;			       /* the VK_END of the last segment */
	if (last == VERSION_LAST_ZERO) /* what follows in v must begin with a 0 too, or be missing */
		return key_starts(v, vn, p, pn) && (vn <= pn || (v[pn] >= VK_ZERO_LOW && v[pn] <= VK_ZERO_HIGH));
	if (last == VERSION_LAST_WORD)
		pn--; /* a word need only begin with this one */
	return vn >= pn && memcmp(v, p, pn) == 0;
}

bool version_starts_loosely(const struct version *v, const struct version *p)
{
	if (p->n == p->main_n)
		return key_starts_loosely(v->key, v->main_n, p->key, p->main_n, (enum version_last)p->last);
	return compare_keys(v->key, v->main_n, p->key, p->main_n) == 0 &&
	       key_starts_loosely(v->key + v->main_n, v->n - v->main_n, p->key + p->main_n, p->n - p->main_n,
				  (enum version_last)p->last);
}

struct str version_without_last_segment(struct str text)
{
	ptrdiff_t plus = str_find(text, '+');
	struct str t = plus < 0 ? text : str_head(text, (size_t)plus);
	size_t n = t.n;
	if (n > 0 && (t.p[n - 1] == '_' || t.p[n - 1] == '-'))
		n--;
	while (n > 0 && class_of[(uint8_t)t.p[n - 1]] != C_SEPARATOR && t.p[n - 1] != '!')
		n--;
	return str_head(t, n > 0 && t.p[n - 1] != '!' ? n - 1 : n);
}

static int fail(struct err *e, struct str text, size_t at, const char *fault)
{
	return err_new(e, text.n > VERSION_TEXT_MAX ? ERR_LIMIT : ERR_INPUT, "version '%.*s': %s at character %zu",
		       (int)(text.n > 80 ? 80 : text.n), text.p ? text.p : "", fault, at + 1);
}

const struct version *conda_version_parse(struct arena *a, struct str text, struct err *e)
{
	union version_key k;
	size_t at;
	const char *fault = version_read(text, 0, &k, &at);
	if (!fault)
		return version_keep(a, &k);
	fail(e, text, at, fault);
	return NULL;
}

int pkg_version_check(struct str text, struct err *e)
{
	union version_key k;
	size_t at;
	const char *fault = version_read(text, VERSION_STRICT, &k, &at);
	return fault ? fail(e, text, at, fault) : 0;
}
