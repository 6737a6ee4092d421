// SPDX-License-Identifier: Apache-2.0
/* A MatchSpec: read in each way, matched, and its canonical form read back to the same. */
#include <stdlib.h>

#include "pkg/conda_spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static bool match_all(const struct spec *s)
{
	static const char *const version[] = {"1.8", "1.8.1k", "2!0a_+3"};
	bool any = false;
	for (size_t i = 0; i < 3; i++) {
		struct pkg_record r = {.name = STR("numpy"), .version = str_c(version[i]), .build = STR("py39_0")};
		r.channel = STR("https://conda.example.org/conda-forge");
		r.subdir = STR("linux-64");
		r.extra_json = STR("\"flags\":[\"cuda\",\"blas:mkl\"]");
		any |= pkg_conda.spec_match(s, &r);
		spec_would_match_loosely(s, r.version);
	}
	return any;
}

static void check_round_trip(struct arena *a, const struct spec *s)
{
	struct err e = ERR_INIT;
	auto_buf first = BUF_INIT(BUF_MAX), second = BUF_INIT(BUF_MAX);
	pkg_conda.spec_format(s, &first);
	const struct spec *again = pkg_conda.spec_parse(a, buf_str(&first), SPEC_REQUEST, &e);
	if (!again && first.n > SPEC_TEXT_MAX)
		return;
	must(again != NULL);
	pkg_conda.spec_format(again, &second);
	must(str_eq(buf_str(&first), buf_str(&second)));
	must(match_all(s) == match_all(again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned flags[] = {SPEC_REQUEST, SPEC_DEPENDENCY, SPEC_V3};
	struct str text = str_of((const char *)data, size);
	for (size_t i = 0; i < 3; i++) {
		auto_arena a = ARENA_INIT;
		struct err e = ERR_INIT;
		const struct spec *s = pkg_conda.spec_parse(&a, text, flags[i], &e);
		must((s == NULL) == (e.msg[0] != '\0'));
		if (!s)
			continue;
		match_all(s);
		if (flags[i] == SPEC_REQUEST)
			check_round_trip(&a, s);
	}
	return 0;
}
