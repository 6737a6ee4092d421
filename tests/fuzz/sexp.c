// SPDX-License-Identifier: Apache-2.0
/* No text breaks the reader; what was read, written in machine form, reads back as the same tree. */
#include "base/sexp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const struct sexp *x, const struct sexp *y)
{
	if (x->is_list != y->is_list)
		return false;
	if (!x->is_list)
		return str_eq(x->atom, y->atom);
	if (x->n != y->n)
		return false;
	for (uint32_t i = 0; i < x->n; i++)
		if (!same(&x->item[i], &y->item[i]))
			return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	const struct sexp *s = sexp_parse(&a, str_of((const char *)data, size), "fuzz", &e), *again;
	if (!s) {
		if (e.code == ERR_NONE || !e.msg[0])
			panic("no error");
		return 0;
	}
	sexp_put_mach(&b, s);
	if (b.n > SEXP_TEXT_MAX)
		return 0;
	again = sexp_parse(&a, buf_str(&b), "again", &e);
	if (!again || !same(s, again))
		panic("'%s' reads back differently: %s", b.p, e.msg);
	return 0;
}
