// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "base/dl.h"

static struct err e;

TEST(functions_are_found)
{
	double (*cosine)(double) = NULL;
	const struct dl_symbol symbols[] = {{"cos", &cosine}, {NULL, NULL}};
	CHECK_MSG(dl_load("libm.so.6", symbols, &e) == 0, "%s", e.msg);
	CHECK(cosine(0) > 0.999 && cosine(0) < 1.001);
}

TEST(what_is_missing_is_named)
{
	void (*f)(void) = NULL;
	const struct dl_symbol symbols[] = {{"no_such_function", &f}, {NULL, NULL}};
	CHECK_INT(dl_load("libm.so.6", symbols, &e), -1);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
	CHECK_MSG(strstr(e.msg, "no_such_function") != NULL, "%s", e.msg);
	CHECK_INT(dl_load("libnone-such.so.9", symbols, &e), -1);
	CHECK_MSG(strstr(e.msg, "libnone-such.so.9") != NULL, "%s", e.msg);
}
