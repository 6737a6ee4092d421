// SPDX-License-Identifier: Apache-2.0
/*
 * Regular expressions as an automaton (Thompson's construction), all states followed at once.
 *
 * Each construct compiles to a run of steps that falls through at its end, so that `x*` can be made by moving the steps of x up
 * by one, and x{m,n} by copying them. Jumps are relative, which keeps a moved or copied run right.
 */
#include "base/err.h"
#include "pkg/pattern.h"

enum step_op {
	STEP_BYTE,  /* one byte of the set */
	STEP_SPLIT, /* go on at both +x and +y */
	STEP_JUMP,  /* go on at +x */
	STEP_BEGIN, /* assertions */
	STEP_END,
	STEP_WORD_EDGE,
	STEP_NOT_WORD_EDGE,
	STEP_MATCH,
};

struct step {
	uint8_t op;
	int16_t x, y; /* STEP_BYTE: x is the set's number */
};
struct set {
	uint64_t bit[4];
};
struct regex {
	uint16_t steps_n;
	const struct step *step;
	const struct set *set;
};

enum { SETS_MAX = 256, REPEAT_MAX = 255 };

struct compiler {
	const char *begin, *p, *end;
	struct step step[PATTERN_STEPS_MAX];
	struct set set[SETS_MAX];
	unsigned steps_n, sets_n, depth;
	const char *fault;
};

static const char too_big[] = "regular expression too large";

static void set_add(struct set *s, unsigned c)
{
	s->bit[c >> 6] |= 1ull << (c & 63);
}

static bool set_has(const struct set *s, unsigned c)
{
	return s->bit[c >> 6] >> (c & 63) & 1;
}

static void set_add_range(struct set *s, unsigned from, unsigned to)
{
	for (unsigned c = from; c <= to; c++)
		set_add(s, c);
}

static void set_fold(struct set *s)
{
	for (unsigned c = 'a'; c <= 'z'; c++)
		if (set_has(s, c) || set_has(s, c ^ 0x20)) {
			set_add(s, c);
			set_add(s, c ^ 0x20);
		}
}

static void set_invert(struct set *s)
{
	for (unsigned i = 0; i < 4; i++)
		s->bit[i] = ~s->bit[i];
}

/* \d, \w, \s and their opposites. */
static bool set_add_class(struct set *s, char c)
{
	struct set t = {0};
	switch (c | 0x20) {
	case 'd':
		set_add_range(&t, '0', '9');
		break;
	case 'w':
		set_add_range(&t, '0', '9');
		set_add_range(&t, 'a', 'z');
		set_add_range(&t, 'A', 'Z');
		set_add(&t, '_');
		break;
	case 's':
		set_add_range(&t, '\t', '\r');
		set_add(&t, ' ');
		break;
	default:
		return false;
	}
	if (c < 'a')
		set_invert(&t);
	for (unsigned i = 0; i < 4; i++)
		s->bit[i] |= t.bit[i];
	return true;
}

static void emit(struct compiler *c, enum step_op op, int x, int y)
{
	if (c->steps_n >= PATTERN_STEPS_MAX) {
		c->fault = too_big;
		return;
	}
	c->step[c->steps_n++] = (struct step){(uint8_t)op, (int16_t)x, (int16_t)y};
}

static void emit_set(struct compiler *c, struct set s)
{
	set_fold(&s);
	unsigned i = 0;
	while (i < c->sets_n && memcmp(&c->set[i], &s, sizeof(s)) != 0)
		i++;
	if (i == SETS_MAX) {
		c->fault = too_big;
		return;
	}
	c->set[i] = s;
	if (i == c->sets_n)
		c->sets_n++;
	emit(c, STEP_BYTE, (int)i, 0);
}

static int hex_digit(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* The byte that an escape stands for; c->p is after the '\\'. -1: not a byte. */
static int escaped_byte(struct compiler *c)
{
	static const char from[] = "ntrfva0", to[] = "\n\t\r\f\v\a\0";
	char ch = *c->p++;
	const char *f = ch ? strchr(from, ch) : NULL;
	if (f)
		return (unsigned char)to[f - from];
	if (ch == 'x') {
		int hi = c->end - c->p >= 2 ? hex_digit(c->p[0]) : -1;
		int lo = hi < 0 ? -1 : hex_digit(c->p[1]);
		if (lo < 0) {
			c->fault = "'\\x' without two hex digits";
			return -1;
		}
		c->p += 2;
		return hi * 16 + lo;
	}
	if (ch >= '1' && ch <= '9')
		c->fault = "back-references are not supported in";
	else if ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z')
		c->fault = "unknown escape";
	return c->fault ? -1 : (unsigned char)ch;
}

/* One member of [...]: a byte, or a class (-1, added to s already). */
static int bracket_member(struct compiler *c, struct set *s)
{
	if (*c->p != '\\')
		return (unsigned char)*c->p++;
	if (++c->p >= c->end) {
		c->fault = "trailing '\\'";
		return -1;
	}
	if (set_add_class(s, *c->p)) {
		c->p++;
		return -1;
	}
	if (*c->p == 'b') {
		c->p++;
		return '\b';
	}
	return escaped_byte(c);
}

static void bracket(struct compiler *c)
{
	struct set s = {0};
	bool invert = c->p < c->end && *c->p == '^';
	c->p += invert;
	for (bool first = true; !c->fault; first = false) {
		if (c->p >= c->end) {
			c->fault = "'[' without ']'";
			return;
		}
		if (*c->p == ']' && !first)
			break;
		int from = bracket_member(c, &s), to = from;
		if (from >= 0 && c->end - c->p >= 2 && c->p[0] == '-' && c->p[1] != ']') {
			c->p++;
			to = bracket_member(c, &s);
			if (!c->fault && to < from)
				c->fault = "range that runs backwards";
		}
		if (from >= 0 && !c->fault)
			set_add_range(&s, (unsigned)from, (unsigned)to);
	}
	c->p++;
	set_fold(&s); /* before it is inverted: [^a] is neither 'a' nor 'A' */
	if (invert)
		set_invert(&s);
	if (!c->fault)
		emit_set(c, s);
}

static void alternation(struct compiler *c);

static void group(struct compiler *c)
{
	if (c->p < c->end && *c->p == '?') {
		if (c->end - c->p < 2 || c->p[1] != ':') {
			c->fault = "'(?' other than '(?:' is not supported in";
			return;
		}
		c->p += 2;
	}
	if (++c->depth > PATTERN_GROUPS_MAX) {
		c->fault = "groups nested too deeply in";
		return;
	}
	alternation(c);
	c->depth--;
	if (!c->fault && (c->p >= c->end || *c->p != ')'))
		c->fault = "'(' without ')'";
	c->p++;
}

static void escape(struct compiler *c)
{
	struct set s = {0};
	if (c->p >= c->end) {
		c->fault = "trailing '\\'";
	} else if (*c->p == 'b' || *c->p == 'B') {
		emit(c, *c->p++ == 'b' ? STEP_WORD_EDGE : STEP_NOT_WORD_EDGE, 0, 0);
	} else if (*c->p == 'A' || *c->p == 'Z') {
		emit(c, *c->p++ == 'A' ? STEP_BEGIN : STEP_END, 0, 0);
	} else if (set_add_class(&s, *c->p)) {
		c->p++;
		emit_set(c, s);
	} else {
		int byte = escaped_byte(c);
		if (byte >= 0) {
			set_add(&s, (unsigned)byte);
			emit_set(c, s);
		}
	}
}

static void atom(struct compiler *c)
{
	struct set s = {0};
	char ch = *c->p++;
	switch (ch) {
	case '(':
		group(c);
		break;
	case '[':
		bracket(c);
		break;
	case '\\':
		escape(c);
		break;
	case '^':
		emit(c, STEP_BEGIN, 0, 0);
		break;
	case '$':
		emit(c, STEP_END, 0, 0);
		break;
	case '*':
	case '+':
	case '?':
		c->p--;
		c->fault = "nothing to repeat";
		break;
	case '.':
		set_invert(&s);
		s.bit[0] &= ~(1ull << '\n');
		emit_set(c, s);
		break;
	default:
		set_add(&s, (unsigned char)ch);
		emit_set(c, s);
	}
}

/* Puts one step before the run that begins at `at`. */
static void insert(struct compiler *c, unsigned at, enum step_op op, int x, int y)
{
	emit(c, op, x, y);
	if (c->fault)
		return;
	struct step s = c->step[c->steps_n - 1];
	memmove(&c->step[at + 1], &c->step[at], (c->steps_n - 1 - at) * sizeof(s));
	c->step[at] = s;
}

static void copy_run(struct compiler *c, const struct step *run, unsigned n)
{
	for (unsigned i = 0; i < n && !c->fault; i++)
		emit(c, (enum step_op)run[i].op, run[i].x, run[i].y);
}

static void star(struct compiler *c, unsigned at)
{
	int n = (int)(c->steps_n - at);
	insert(c, at, STEP_SPLIT, 1, n + 2);
	emit(c, STEP_JUMP, -(n + 1), 0);
}

/* {m}, {m,}, {,n}, {m,n}; false where the '{' is a literal. max -1: no bound. */
static bool counted(struct compiler *c, int *min, int *max)
{
	const char *p = c->p + 1;
	int v[2] = {-1, -1}, part = 0;
	for (; p < c->end && *p != '}'; p++) {
		if (*p == ',' && part == 0) {
			part = 1;
		} else if (*p >= '0' && *p <= '9') {
			v[part] = (v[part] < 0 ? 0 : v[part]) * 10 + (*p - '0');
			if (v[part] > REPEAT_MAX) {
				c->fault = too_big;
				return false;
			}
		} else {
			return false;
		}
	}
	if (p >= c->end || (v[0] < 0 && v[1] < 0))
		return false;
	*min = v[0] < 0 ? 0 : v[0];
	*max = part == 0 ? v[0] : v[1];
	if (*max >= 0 && *max < *min)
		c->fault = "'{' whose bounds run backwards";
	c->p = p + 1;
	return true;
}

static void repeat(struct compiler *c, unsigned at, int min, int max)
{
	unsigned n = c->steps_n - at;
	struct step run[PATTERN_STEPS_MAX];
	memcpy(run, &c->step[at], n * sizeof(*run));
	c->steps_n = at;
	for (int i = 0; i < min && !c->fault; i++)
		copy_run(c, run, n);
	if (max < 0) {
		unsigned from = c->steps_n;
		copy_run(c, run, n);
		if (!c->fault)
			star(c, from);
	}
	for (int i = min; i < max && !c->fault; i++) {
		emit(c, STEP_SPLIT, 1, (int)n + 1);
		copy_run(c, run, n);
	}
}

static void repeated(struct compiler *c)
{
	unsigned at = c->steps_n;
	int min, max;
	atom(c);
	bool assertion = !c->fault && c->steps_n == at + 1 && c->step[at].op >= STEP_BEGIN &&
			 c->step[at].op < STEP_MATCH;
	for (unsigned times = 0; !c->fault && c->p < c->end; times++) {
		if (*c->p == '*') {
			c->p++;
			star(c, at);
		} else if (*c->p == '+') {
			c->p++;
			emit(c, STEP_SPLIT, -(int)(c->steps_n - at), 1);
		} else if (*c->p == '?' && times > 0) {
			c->p++; /* lazy: the same answer */
		} else if (*c->p == '?') {
			c->p++;
			insert(c, at, STEP_SPLIT, 1, (int)(c->steps_n - at) + 1);
		} else if (*c->p == '{' && counted(c, &min, &max)) {
			if (!c->fault)
				repeat(c, at, min, max);
		} else {
			return;
		}
		if (times == 0 && assertion && !c->fault)
			c->fault = "nothing to repeat";
		if (times > 0 && c->p[-1] != '?' && !c->fault)
			c->fault = "multiple repeat";
	}
}

static void concatenation(struct compiler *c)
{
	while (!c->fault && c->p < c->end && *c->p != '|' && *c->p != ')')
		repeated(c);
}

static void alternation(struct compiler *c)
{
	unsigned at = c->steps_n;
	concatenation(c);
	while (!c->fault && c->p < c->end && *c->p == '|') {
		c->p++;
		/* split over what there is so far and its closing jump; the jump's width is known when the rest is there */
		int n = (int)(c->steps_n - at);
		insert(c, at, STEP_SPLIT, 1, n + 2);
		unsigned jump = c->steps_n;
		emit(c, STEP_JUMP, 0, 0);
		concatenation(c);
		if (!c->fault)
			c->step[jump].x = (int16_t)(c->steps_n - jump);
	}
}

const char *regex_compile(struct arena *a, struct str text, const struct regex **ret, size_t *ret_at)
{
	struct compiler *c = xcalloc(1, sizeof(*c));
	c->begin = c->p = text.p;
	c->end = text.p + text.n;
	alternation(c);
	if (!c->fault && c->p < c->end)
		c->fault = "')' without '('";
	if (!c->fault)
		emit(c, STEP_MATCH, 0, 0);
	const char *fault = c->fault;
	*ret_at = (size_t)(c->p - c->begin) < text.n ? (size_t)(c->p - c->begin) : text.n;
	if (!fault) {
		struct regex *r = arena_new(a, struct regex);
		struct step *step = arena_array(a, struct step, c->steps_n);
		struct set *set = arena_array(a, struct set, c->sets_n + 1);
		memcpy(step, c->step, c->steps_n * sizeof(*step));
		memcpy(set, c->set, c->sets_n * sizeof(*set));
		*r = (struct regex){(uint16_t)c->steps_n, step, set};
		*ret = r;
	}
	free(c);
	return fault;
}

/* The states that are followed: each at most once, so a list of steps_n is enough. */
struct states {
	uint16_t at[PATTERN_STEPS_MAX];
	unsigned n;
	uint64_t in[PATTERN_STEPS_MAX / 64];
};

static bool is_word(struct str s, size_t i)
{
	struct set w = {0};
	set_add_class(&w, 'w');
	return i < s.n && set_has(&w, (unsigned char)s.p[i]);
}

static bool at_word_edge(struct str s, size_t i)
{
	return is_word(s, i) != (i > 0 && is_word(s, i - 1));
}

static void states_push(struct states *t, unsigned at)
{
	if (t->in[at >> 6] >> (at & 63) & 1)
		return;
	t->in[at >> 6] |= 1ull << (at & 63);
	t->at[t->n++] = (uint16_t)at;
}

/* Follows what takes no byte; the list grows while it is walked. True where the match is reached. */
static bool states_close(struct states *t, const struct regex *r, struct str s, size_t i)
{
	for (unsigned k = 0; k < t->n; k++) {
		unsigned at = t->at[k];
		const struct step *step = &r->step[at];
		switch ((enum step_op)step->op) {
		case STEP_MATCH:
			return true;
		case STEP_SPLIT:
			states_push(t, (unsigned)((int)at + step->x));
			states_push(t, (unsigned)((int)at + step->y));
			break;
		case STEP_JUMP:
			states_push(t, (unsigned)((int)at + step->x));
			break;
		case STEP_BEGIN:
			if (i == 0)
				states_push(t, at + 1);
			break;
		case STEP_END:
			if (i == s.n)
				states_push(t, at + 1);
			break;
		case STEP_WORD_EDGE:
		case STEP_NOT_WORD_EDGE:
			if (at_word_edge(s, i) == (step->op == STEP_WORD_EDGE))
				states_push(t, at + 1);
			break;
		case STEP_BYTE:
			break;
		}
	}
	return false;
}

static void states_clear(struct states *t)
{
	t->n = 0;
	memset(t->in, 0, sizeof(t->in));
}

bool regex_search(const struct regex *r, struct str s)
{
	struct states two[2], *now = &two[0], *next = &two[1];
	states_clear(now);
	for (size_t i = 0;; i++) {
		states_push(now, 0); /* a match may begin anywhere */
		if (states_close(now, r, s, i))
			return true;
		if (i >= s.n)
			return false;
		states_clear(next);
		for (unsigned k = 0; k < now->n; k++) {
			const struct step *step = &r->step[now->at[k]];
			if (step->op == STEP_BYTE && set_has(&r->set[step->x], (unsigned char)s.p[i]))
				states_push(next, now->at[k] + 1u);
		}
		struct states *t = now;
		now = next;
		next = t;
	}
}
