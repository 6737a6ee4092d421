// SPDX-License-Identifier: Apache-2.0
/* msgpack of CEP 16: a shard, and a shard index. */
#include "channel/refresh.h"
#include "index_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct str text = str_of((const char *)data, size);
	auto_buf copy = BUF_INIT(1 << 24);
	buf_put_str(&copy, text);
	struct shard_index *x = shard_index_parse(&copy, "index", &e);
	if (!x && e.code == ERR_NONE)
		panic("no error");
	shard_index_free(x);

	e = ERR_INIT;
	auto_ptr(index_builder) b = index_builder_new(fuzz_dir(), "x.idx", STR("linux-64"), &e);
	auto_ptr(index) ix = NULL;
	if (!b)
		panic("%s", e.msg);
	if (index_builder_shard(b, STR("x"), text, &e) < 0) {
		if (e.code == ERR_NONE)
			panic("no error");
		return 0;
	}
	if (index_builder_finish(b, &e) < 0 || index_open(fuzz_dir(), "x.idx", &ix, &e) < 0)
		panic("%s", e.msg);
	fuzz_read(ix);
	if (index_check(ix, &e) < 0)
		panic("%s", e.msg);
	return 0;
}
