// SPDX-License-Identifier: Apache-2.0
/* Three versions, a line each: their order is one, whichever two are asked. */
#include "base/err.h"
#include "pkg/pkg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int cmp(struct str a, struct str b)
{
	struct pkg_rpm_evr x = pkg_rpm_evr_parse(a), y = pkg_rpm_evr_parse(b);
	int c = pkg_rpm_evr_cmp(&x, &y);
	if (c != -pkg_rpm_evr_cmp(&y, &x))
		panic("'%.*s' and '%.*s': the order depends on who asks", STR_ARG(a), STR_ARG(b));
	return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_of((const char *)data, size), v[3] = {{0}};
	for (int i = 0; i < 3; i++)
		(void)str_take_line(&text, &v[i]);
	for (int i = 0; i < 3; i++)
		if (cmp(v[i], v[i]) != 0)
			panic("'%.*s' is not itself", STR_ARG(v[i]));
	(void)cmp(v[0], v[2]);
	(void)cmp(v[0], v[1]);
	(void)cmp(v[1], v[2]);
	return 0;
}
