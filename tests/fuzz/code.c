// SPDX-License-Identifier: Apache-2.0
/* One-time codes, as a stranger sends them and a person types them: what is taken is written back as one that means the same. */
#include "mirror/code.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct code *a, struct str text)
{
	struct code b;
	struct err e = ERR_INIT;
	if (code_parse(text, &b, &e) < 0)
		panic("'%.*s' cannot be read: %s", STR_ARG(text), e.msg);
	if (a->number != b.number || !same_bytes(a->pin, b.pin, CODE_PIN) ||
	    !same_bytes(a->secret, b.secret, CODE_SECRET))
		panic("'%.*s' means something else", STR_ARG(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct code c = {0};
	struct err e = ERR_INIT;
	if (size > 1024)
		return 0;
	if (code_parse(str_of((const char *)data, size), &c, &e) == 0)
		same(&c, code_text(&a, &c));
	else if (e.code != ERR_USAGE || !e.msg[0])
		panic("a failure of another kind: %s", e.msg);
	/* The check sum would keep a fuzzer out: a code made of the input. */
	if (size < CODE_PIN + CODE_SECRET + 3)
		return 0;
	memcpy(c.pin, data, CODE_PIN);
	memcpy(c.secret, data + CODE_PIN, CODE_SECRET);
	c.number = (uint32_t)data[CODE_PIN + CODE_SECRET] << 16 | (uint32_t)data[CODE_PIN + CODE_SECRET + 1] << 8 |
		   data[CODE_PIN + CODE_SECRET + 2];
	same(&c, code_text(&a, &c));
	return 0;
}
