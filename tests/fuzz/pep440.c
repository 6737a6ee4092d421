// SPDX-License-Identifier: Apache-2.0
/* Lines as Python versions: the order is one, and the normal form is the same version and its own normal form. */
#include "pkg/pkg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { LINES = 8 };
	struct str text = str_of((const char *)data, size), line;
	const struct pep440 *v[LINES];
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	size_t n = 0;
	while (n < LINES && str_take_line(&text, &line)) {
		auto_buf form = BUF_INIT(BUF_MAX), again = BUF_INIT(BUF_MAX);
		if (!(v[n] = pep440_parse(&a, line, &e)))
			continue;
		pep440_format(v[n], &form);
		const struct pep440 *same = pep440_parse(&a, arena_str(&a, buf_str(&form)), &e);
		if (!same || pep440_cmp(same, v[n]) != 0 || pep440_is_pre(same) != pep440_is_pre(v[n]))
			panic("'%.*s' is not '%s'", STR_ARG(line), form.p);
		pep440_format(same, &again);
		if (!str_eq(buf_str(&form), buf_str(&again)))
			panic("'%s' and '%s'", form.p, again.p);
		n++;
	}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			int c = pep440_cmp(v[i], v[k]), d = pep440_cmp(v[k], v[i]);
			if ((c < 0) != (d > 0) || (c == 0) != (d == 0))
				panic("%d and %d", c, d);
			for (size_t m = 0; m < n; m++)
				if (c < 0 && pep440_cmp(v[k], v[m]) < 0 && pep440_cmp(v[i], v[m]) >= 0)
					panic("no order");
		}
	return 0;
}
