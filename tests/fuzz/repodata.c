// SPDX-License-Identifier: Apache-2.0
/* repodata.json, in pieces: refused with a place, or an index that is whole. */
#include "index_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct pieces {
	struct istream base;
	struct str left;
	size_t piece;
};

static ssize_t pieces_read(struct istream *s, void *p, size_t n, struct err *e)
{
	(void)e;
	struct pieces *x = (struct pieces *)s;
	size_t k = x->left.n < x->piece ? x->left.n : x->piece;
	k = k < n ? k : n;
	memcpy(p, x->left.p, k);
	x->left = str_skip(x->left, k);
	return (ssize_t)k;
}

static void pieces_free(struct istream *s)
{
	(void)s;
}

/* The first byte says how long the pieces are. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct istream_ops ops = {.read = pieces_read, .free = pieces_free};
	struct err e = ERR_INIT;
	if (size == 0)
		return 0;
	struct pieces in = {.base = {.ops = &ops, .name = "repodata.json"},
			    .left = str_of((const char *)data + 1, size - 1),
			    .piece = data[0] + 1u};
	auto_ptr(index_builder) b = index_builder_new(fuzz_dir(), "x.idx", STR("linux-64"), &e);
	auto_ptr(index) ix = NULL;
	if (!b)
		panic("%s", e.msg);
	if (index_builder_json(b, &in.base, NULL, &e) < 0) {
		if (e.code == ERR_NONE || !strstr(e.msg, "repodata.json"))
			panic("no place in '%s'", e.msg);
		return 0;
	}
	if (index_builder_finish(b, &e) < 0 || index_open(fuzz_dir(), "x.idx", &ix, &e) < 0)
		panic("%s", e.msg);
	fuzz_read(ix);
	if (index_check(ix, &e) < 0)
		panic("%s", e.msg);
	return 0;
}
