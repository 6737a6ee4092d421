// SPDX-License-Identifier: Apache-2.0
/* Conda versions: CEP 33, example by example, then properties on random ones. */
#include "lib/test.h"
#include "pkg/conda_version.h"

static const struct version *parse(struct arena *a, const char *text)
{
	struct err e = ERR_INIT;
	const struct version *v = pkg_conda.version_parse(a, str_c(text), &e);
	CHECK_MSG(v, "'%s' was not read: %s", text, e.msg);
	return v;
}

static int sign(int c)
{
	return (c > 0) - (c < 0);
}

static void check_order(const char *x, int want, const char *y)
{
	auto_arena a = ARENA_INIT;
	const struct version *v = parse(&a, x), *w = parse(&a, y);
	CHECK_MSG(sign(pkg_conda.version_cmp(v, w)) == want, "'%s' and '%s': %d, not %d", x, y,
		  pkg_conda.version_cmp(v, w), want);
	CHECK_MSG(sign(pkg_conda.version_cmp(w, v)) == -want, "'%s' and '%s' the other way round", y, x);
	CHECK_MSG((v->n == w->n && memcmp(v->key, w->key, v->n) == 0) == (want == 0), "keys of '%s' and '%s'", x, y);
}

static void check_refused(const char *text, const char *why)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	CHECK_MSG(!pkg_conda.version_parse(&a, str_c(text), &e), "'%s' was read", text);
	CHECK_MSG(strstr(e.msg, why), "'%s': message '%s' lacks '%s'", text, e.msg, why);
}

TEST(order_of_cep_33)
{
	/* '=' before a version: equal to the one before it */
	static const char *const order[] = {
		"0.4",	      "=0.4.0",	       "0.4.1.rc",  "=0.4.1.RC", "0.4.1+local", "0.4.1+0.local", "0.4.1",
		"=0.4.1+0",   "0.4.1+1.local", "0.5a1",	    "0.5b3",	 "0.5C1",	"0.5",		 "0.9.6",
		"0.960923",   "1.0",	       "1.1dev1",   "1.1a1",	 "1.1.0dev1",	"=1.1.dev1",	 "1.1.a1",
		"1.1.0rc1",   "1.1.0.0",       "=1.1.0",    "=1.1",	 "1.1.post1",	"=1.1.0post1",	 "1.1post1",
		"1996.07.12", "1!0.4.1",       "1!3.1.1.6", "2!0.4.1",
	};
	enum { N = sizeof(order) / sizeof(*order) };
	int rank[N], r = 0;
	for (int i = 0; i < N; i++)
		rank[i] = r += i > 0 && *order[i] != '=';
	for (int i = 0; i < N; i++)
		for (int j = 0; j < N; j++)
			check_order(order[i] + (*order[i] == '='), sign(rank[i] - rank[j]),
				    order[j] + (*order[j] == '='));
}

TEST(traps)
{
	check_order("1.1.0rc", 0, "1.1.rc");
	check_order("1.1.rc", 1, "1.1rc");
	check_order("1.0.1_", -1, "1.0.1a");
	check_order("1.0.1_", -1, "1.0.1");
	check_order("1.0.1-", 0, "1.0.1_");
	check_order("1.0.1a", -1, "1.0.1a_"); /* the underscore belongs to the word */
	check_order("0.4.1+local", -1, "0.4.1");
	check_order("1.8", 0, "1.8.0.0.0");
	check_order("1.8", 0, "0!1.8");
	check_order("1-2_3", 0, "1.2.3");
	check_order("01.002", 0, "1.2");
	check_order("1.2.3DEV", 0, "1.2.3dev");
	check_order("1.0dev", -1, "1.0_");
	check_order("1.0dev", -1, "1.0a");
	check_order("1.0devel", 1, "1.0a"); /* only the whole word is special */
	check_order("1.0poster", -1, "1.0");
	check_order("1.0post", 1, "1.0.0.0");
	check_order("1.0post", 1, "1.0.5");
	check_order("1.0a0b", -1, "1.0a");
	check_order("1.0a0post", 1, "1.0a");
	check_order("1.0a0post", -1, "1.0a1");
	check_order("1.0a0b", 1, "1.0a0a");
	check_order("1.0a", 0, "1.0a0");
	check_order("1.0+0", 0, "1.0");
	check_order("1.0+a", -1, "1.0+0");
	check_order("1.0.0+1", 0, "1+1.0");
	check_order("v1.8", -1, "0");
	check_order("9d", 1, "9c");
	check_order("9", 1, "9e");
	check_order("R15B01", -1, "R16");
	check_order("2024a", 1, "2023d");
	check_order("1.200", -1, "1.201");
	check_order("1.255", -1, "1.256");
	check_order("1.65535", -1, "1.65536");
	check_order("1.2147483647", -1, "1.2147483648");
	check_order("1.20240101123456", 1, "1.20240101");
	check_order("1.18446744073709551610", 1, "1.18446744073709551609");
	check_order("1.2.3.4.5.6.7.8.9", -1, "1.2.3.4.5.6.7.8.10");
	check_order("1.2.3.4.5.6.7.8+1", 1, "1.2.3.4.5.6.7.8");
	check_order(" 1.0 ", 0, "1.0");
}

TEST(what_is_no_version)
{
	check_refused("", "empty version");
	check_refused("   ", "empty version");
	check_refused("1..2", "empty segment at character 3");
	check_refused("1._2", "empty segment");
	check_refused(".1", "empty segment at character 1");
	check_refused("1.", "empty segment");
	check_refused("_", "empty segment");
	check_refused("1 2", "no version has at character 2");
	check_refused("1.8*", "no version has");
	check_refused("1/2", "no version has");
	check_refused("\xc3\xa9", "no version has");
	check_refused("!1", "no number before '!'");
	check_refused("a!1", "epoch");
	check_refused("1!2!3", "no version has");
	check_refused("1!", "empty segment");
	check_refused("1+", "empty segment");
	check_refused("+1", "empty segment");
	check_refused("1+2+3", "no version has");
	check_refused("1+2!3", "epoch");
	check_refused("1.99999999999999999999", "number too large");
}

TEST(what_may_be_published_is_narrower)
{
	struct err e = ERR_INIT;
	char text[VERSION_TEXT_MAX + 2];
	CHECK_INT(pkg_version_check(STR("1.2147483647"), &e), 0);
	CHECK_INT(pkg_version_check(STR("1.2 "), &e), -1);
	CHECK_INT(pkg_version_check(STR("\r1.2"), &e), -1);
	CHECK_INT(pkg_version_check(STR("1.2147483648"), &e), -1);
	CHECK(strstr(e.msg, "2147483647"));
	memset(text, '1', sizeof(text));
	for (size_t i = 1; i < sizeof(text); i += 2)
		text[i] = '.';
	CHECK_INT(pkg_version_check(str_of(text, 63), &e), 0);
	CHECK_INT(pkg_version_check(str_of(text, 65), &e), -1);
	auto_arena a = ARENA_INIT;
	CHECK(pkg_conda.version_parse(&a, str_of(text, 255), &e));
	CHECK(!pkg_conda.version_parse(&a, str_of(text, 257), &e));
	CHECK_INT(e.code, ERR_LIMIT);
}

static bool starts(const char *v, const char *prefix, bool loosely)
{
	union version_key a, b;
	size_t at;
	CHECK(!version_read(str_c(v), 0, &a, &at));
	CHECK(!version_read(str_c(prefix), VERSION_PREFIX, &b, &at));
	return loosely ? version_starts_loosely(&a.v, &b.v) : version_starts(&a.v, &b.v);
}

TEST(prefix_is_whole_segments)
{
	CHECK(starts("1.8", "1.8", false));
	CHECK(starts("1.8.0rc1", "1.8", false));
	CHECK(starts("1.8.1.post1", "1.8", false));
	CHECK(starts("1.8+local", "1.8", false));
	CHECK(starts("1.8", "1.8.0", false));
	CHECK(starts("1", "1.0.0", false));
	CHECK(starts("1.8a0", "1.8a", false));
	CHECK(starts("1.8+a.b", "1.8+a", false));
	CHECK(starts("1!1.8", "1!1", false));
	CHECK(!starts("1.80", "1.8", false));
	CHECK(!starts("1.8rc1", "1.8", false));
	CHECK(!starts("1.8", "1.8.1", false));
	CHECK(!starts("1.8.0rc1", "1.8.0", false));
	CHECK(!starts("1!1.8", "1.8", false));
	CHECK(!starts("1.8.1+a", "1.8+a", false));
	CHECK(!starts("1.1.1k", "1.1.1", false));
	CHECK(!starts("1a0b.1", "1a", false));
}

TEST(looser_prefix_lets_the_last_segment_go_on)
{
	CHECK(starts("1.1.1k", "1.1.1", true));
	CHECK(starts("1.8rc1", "1.8rc", true));
	CHECK(starts("1.8", "1.8", true));
	CHECK(starts("1.0", "1.0", true));
	CHECK(starts("1.0rc1", "1.0", true));
	CHECK(starts("1.8alpha", "1.8a", true));
	CHECK(starts("1", "1.0", true));
	CHECK(starts("1.257a", "1.257", true));
	CHECK(!starts("1.256", "1.257", true));
	CHECK(!starts("1.289", "1.288", true));
	CHECK(starts("1a", "1a0", true));
	CHECK(starts("1a0b", "1a0", true));
	CHECK(!starts("1a5", "1a0", true));
	CHECK(!starts("1alpha", "1a0", true));
	CHECK(starts("1.0.post2", "1.0.post", true));
	CHECK(!starts("1.0.poster", "1.0.post", true));
	CHECK(!starts("1.0", "1.0.post", true));
	CHECK(starts("1+a.1b", "1+a.1", true));
	CHECK(!starts("1.5", "1.0", true));
	CHECK(!starts("1.10", "1.1", true));
	CHECK(!starts("1.1k.1", "1.1.1", true));
}

/* -- properties --------------------------------------------------------------------------------------------------- */
static uint64_t seed = 33;

static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

static void random_version(char *out, size_t size)
{
	static const char *const piece[] = {"0",   "0", "1", "2",  "10",  "201",  "255",
					    "300", "a", "b", "rc", "dev", "post", "z"};
	size_t n = 0;
	unsigned segments = 1 + rnd(4);
	if (rnd(8) == 0)
		n += (size_t)snprintf(out, size, "%u!", rnd(3));
	for (unsigned s = 0; s < segments; s++) {
		unsigned pieces = 1 + rnd(3);
		for (unsigned p = 0; p < pieces; p++)
			n += (size_t)snprintf(out + n, size - n, "%s", piece[rnd(sizeof(piece) / sizeof(*piece))]);
		if (s + 1 < segments)
			n += (size_t)snprintf(out + n, size - n, "%s", rnd(5) ? "." : "_");
	}
	if (rnd(6) == 0)
		n += (size_t)snprintf(out + n, size - n, "_");
	if (rnd(6) == 0)
		snprintf(out + n, size - n, "+%s.%s", piece[rnd(14)], piece[rnd(14)]);
}

/* CEP 33 once more, as slowly and plainly as it is written: lists of segments of components. */
struct component {
	int kind; /* 0 dev, 1 word, 2 number, 3 post */
	uint64_t number;
	char word[64];
};
struct plain {
	struct component c[2][32][16]; /* main, local; segment; component */
	unsigned components[2][32], segments[2];
};

static void plain_add(struct plain *p, int part, unsigned s, const char *from, size_t n)
{
	struct component *c = &p->c[part][s][p->components[part][s]++];
	memset(c, 0, sizeof(*c));
	if (*from >= '0' && *from <= '9') {
		c->kind = 2;
		for (size_t i = 0; i < n; i++)
			c->number = c->number * 10 + (uint64_t)(from[i] - '0');
		return;
	}
	for (size_t i = 0; i < n; i++)
		c->word[i] = from[i];
	c->kind = strcmp(c->word, "dev") == 0 ? 0 : strcmp(c->word, "post") == 0 ? 3 : 1;
}

static void plain_part(struct plain *p, int part, const char *from, size_t n)
{
	size_t i = 0;
	while (i < n) {
		unsigned s = p->segments[part]++;
		if (!(from[i] >= '0' && from[i] <= '9'))
			plain_add(p, part, s, "0", 1);
		while (i < n && !(strchr("._", from[i]) && i + 1 < n)) {
			size_t j = i;
			bool digit = from[i] >= '0' && from[i] <= '9';
			while (j < n && (from[j] >= '0' && from[j] <= '9') == digit &&
			       !(strchr("._", from[j]) && j + 1 < n))
				j++;
			plain_add(p, part, s, from + i, j - i);
			i = j;
		}
		i++;
	}
}

static void plain_read(struct plain *p, const char *text)
{
	memset(p, 0, sizeof(*p));
	const char *bang = strchr(text, '!'), *plus = strchr(text, '+');
	const char *end = plus ? plus : text + strlen(text);
	p->segments[0] = 1;
	plain_add(p, 0, 0, bang ? text : "0", bang ? (size_t)(bang - text) : 1);
	plain_part(p, 0, bang ? bang + 1 : text, (size_t)(end - (bang ? bang + 1 : text)));
	if (plus)
		plain_part(p, 1, plus + 1, strlen(plus + 1));
}

static int plain_compare(const struct plain *a, const struct plain *b)
{
	static const struct component zero = {.kind = 2};
	for (int part = 0; part < 2; part++)
		for (unsigned s = 0; s < 32; s++)
			for (unsigned i = 0; i < 16; i++) {
				const struct component *x = i < a->components[part][s] ? &a->c[part][s][i] : &zero;
				const struct component *y = i < b->components[part][s] ? &b->c[part][s][i] : &zero;
				if (x->kind != y->kind)
					return x->kind < y->kind ? -1 : 1;
				if (x->kind == 2 && x->number != y->number)
					return x->number < y->number ? -1 : 1;
				if (x->kind == 1 && strcmp(x->word, y->word) != 0)
					return sign(strcmp(x->word, y->word));
			}
	return 0;
}

TEST(agrees_with_the_plain_reading)
{
	static struct plain p, q;
	for (int i = 0; i < 20000; i++) {
		char x[128], y[128];
		random_version(x, sizeof(x));
		random_version(y, sizeof(y));
		plain_read(&p, x);
		plain_read(&q, y);
		check_order(x, plain_compare(&p, &q), y);
		check_order(x, 0, x);
	}
}

TEST(order_is_total)
{
	for (int i = 0; i < 20000; i++) {
		auto_arena a = ARENA_INIT;
		char t[3][128];
		const struct version *v[3];
		for (int k = 0; k < 3; k++) {
			random_version(t[k], sizeof(t[k]));
			v[k] = parse(&a, t[k]);
		}
		int xy = sign(version_compare(v[0], v[1])), yz = sign(version_compare(v[1], v[2]));
		if (xy == yz || xy == 0 || yz == 0)
			CHECK_MSG(sign(version_compare(v[0], v[2])) == (xy ? xy : yz), "'%s', '%s', '%s'", t[0], t[1],
				  t[2]);
	}
}

TEST(scheme_table)
{
	CHECK(pkg_scheme_find(STR("conda")) == &pkg_conda);
	CHECK(!pkg_scheme_find(STR("cond")));
}
