// SPDX-License-Identifier: Apache-2.0
/*
 * No text breaks the reader of specs; what is printed reads back and prints the same; whatever is read can be made a Dockerfile, a recipe and
 * headings of, or is refused with a message.
 */
#include "build/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_said(const struct err *e)
{
	if (e->code == ERR_NONE || !e->msg[0])
		panic("no error");
}

static void print_again(const struct build_spec *s, struct arena *a)
{
	auto_buf b = BUF_INIT(BUF_MAX), again = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	struct build_spec t;
	spec_print(s, &b);
	if (b.n > 1 << 20)
		return;
	if (spec_parse(buf_str(&b), "again", a, &t, &e) < 0)
		panic("what was printed is refused: %s\n%s", e.msg, b.p);
	spec_print(&t, &again);
	if (!str_eq(buf_str(&b), buf_str(&again)))
		panic("printed twice:\n%s\n%s", b.p, again.p);
}

/* Every line of a Dockerfile is an instruction, or goes on with one. */
static void check_dockerfile(struct str text)
{
	static const char *const begins[] = {"FROM ", "# ",    "WORKDIR ", "SHELL [ ", "RUN ",
					     "COPY ", "USER ", "ENV ",	   "    "};
	struct str line;
	while (str_take_line(&text, &line)) {
		bool is = line.n == 0;
		for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++)
			is |= str_starts(line, str_c(begins[i]));
		if (!is)
			panic("a line of the Dockerfile is '%.*s'", STR_ARG(line));
	}
}

/* A terminal is steered by nothing in a recipe. */
static void check_shown(struct str text)
{
	while (text.n) {
		uint32_t c;
		size_t n = utf8_take(text, &c);
		if (n == 0 || (utf8_is_control(c) && c != '\n' && c != '\t'))
			panic("the recipe holds byte 0x%02x as it is", (unsigned char)text.p[0]);
		text = str_skip(text, n);
	}
}

static void write_all(const struct build_spec *s)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	struct spec_source source = {.dir = STR("/x")};
	for (unsigned flags = 0; flags < 4; flags++) {
		buf_clear(&b);
		if (spec_dockerfile(s, "f", flags, &b, &e) < 0)
			check_said(&e);
		else if (!(flags & SPEC_DOCKER_WINDOWS))
			check_dockerfile(buf_str(&b));
	}
	buf_clear(&b);
	if (spec_recipe(s, "f", &source, &b, &e) < 0)
		check_said(&e);
	else
		check_shown(buf_str(&b));
	if (spec_check_build(s, "f", &e) < 0)
		check_said(&e);
}

static void walk(const struct build_spec *s, struct arena *a)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < s->n_stages; i++) {
		spec_print_stage(&s->stages[i], &b);
		walk(&s->stages[i].spec, a);
	}
	spec_print_from(s, &b);
	struct spec_context c = spec_context_of(NULL, 0, a);
	for (size_t i = 0; i < s->n_ops && i < 200; i++) {
		buf_clear(&b);
		spec_print_op(&s->ops[i], &c, &b);
		spec_context_step(&c, &s->ops[i], a);
		if (c.workdir.p[0] != '/')
			panic("folder '%.*s'", STR_ARG(c.workdir));
		if (c.workdir.n > 10000)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct build_spec s;
	if (spec_parse(str_of((const char *)data, size), "fuzz", &a, &s, &e) < 0) {
		check_said(&e);
		return 0;
	}
	print_again(&s, &a);
	write_all(&s);
	walk(&s, &a);
	return 0;
}
