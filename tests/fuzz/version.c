// SPDX-License-Identifier: Apache-2.0
/* Two versions, separated by a line end: read, ordered both ways, prefix rules. */
#include <stdlib.h>

#include "pkg/conda_version.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = str_of((const char *)data, size), first;
	union version_key a, b, p;
	size_t at;
	if (!str_take_until(&rest, '\n', &first)) {
		first = rest;
		rest = STR_NONE;
	}
	if (version_read(first, 0, &a, &at)) {
		must(at <= first.n);
		return 0;
	}
	must(a.v.n <= VERSION_KEY_MAX && version_compare(&a.v, &a.v) == 0);
	must(!version_read(first, VERSION_PREFIX, &p, &at) && p.v.n <= VERSION_KEY_MAX);
	must(version_starts(&a.v, &p.v) && version_starts_loosely(&a.v, &p.v));
	version_without_last_segment(first);
	if (version_read(rest, 0, &b, &at))
		return 0;
	int ab = version_compare(&a.v, &b.v), ba = version_compare(&b.v, &a.v);
	must((ab < 0) == (ba > 0) && (ab == 0) == (ba == 0));
	must((ab == 0) == (a.v.n == b.v.n && a.v.main_n == b.v.main_n && memcmp(a.v.key, b.v.key, a.v.n) == 0));
	must(!version_starts(&b.v, &p.v) || version_starts_loosely(&b.v, &p.v));
	return 0;
}
