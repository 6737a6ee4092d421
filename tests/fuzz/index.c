// SPDX-License-Identifier: Apache-2.0
/*
 * An index file made by an enemy: a good one with bytes changed, and all checksums right again. Input: triples of
 * offset (16 bits, low byte first) and byte. A read may give nonsense; it may not leave the file.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/fs.h"
#include "channel/index_format.h"
#include "index_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char sample[] =
	"{\"info\":{\"subdir\":\"linux-64\",\"base_url\":\"../f\"},\"packages.conda\":{"
	"\"x-1-0.conda\":{\"name\":\"x\",\"version\":\"1\",\"build\":\"0\",\"depends\":[\"y >=1\",\"z\"],\"license\":\"MIT\",\"a\":[1]},"
	"\"x-2-0.conda\":{\"name\":\"x\",\"version\":\"2\",\"build\":\"0\",\"depends\":[\"y >=2\"],\"constrains\":[\"w\"]},"
	"\"bad.conda\":{\"name\":7},"
	"\"odd.conda\":{\"name\":\"y\",\"version\":\"2\",\"build\":\"0\",\"noarch\":\"python\"}},\"removed\":[\"o-1-0.conda\"]}";

static void make(struct buf *image)
{
	struct err e = ERR_INIT;
	auto_ptr(index_builder) b = index_builder_new(fuzz_dir(), "x.idx", STR("linux-64"), &e);
	auto_ptr(istream) in = istream_mem(str_c(sample), "sample");
	if (!b || index_builder_json(b, in, NULL, &e) < 0 || index_builder_finish(b, &e) < 0 ||
	    fs_read(fuzz_dir(), "x.idx", image, &e) < 0)
		panic("%s", e.msg);
}

/* `good` is where things are, `p` is what stands there. */
static void sum_again(const struct ix_header *good, char *p)
{
	struct ix_header *h = (struct ix_header *)(void *)p;
	uint64_t *sums = (uint64_t *)(void *)(p + good->sums_at);
	for (uint64_t i = 0; i < good->blocks; i++)
		sums[i] = XXH3_64bits(p + (i + 1) * INDEX_BLOCK, INDEX_BLOCK);
	for (uint64_t i = 0; i * INDEX_SUMS < good->blocks; i++)
		h->root[i] = XXH3_64bits(p + good->sums_at + i * INDEX_BLOCK, INDEX_BLOCK);
	h->sum = 0;
	h->sum = XXH3_64bits(h, sizeof(*h));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct buf image = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	auto_ptr(index) ix = NULL;
	if (image.n == 0)
		make(&image);
	auto_buf copy = BUF_INIT(1 << 20);
	buf_put_str(&copy, buf_str(&image));
	for (size_t i = 0; i + 3 <= size; i += 3)
		copy.p[((size_t)data[i] | (size_t)data[i + 1] << 8) % copy.n] = (char)data[i + 2];
	sum_again((const struct ix_header *)(void *)image.p, copy.p);
	if (fs_replace(fuzz_dir(), "x.idx", copy.p, copy.n, 0, &e) < 0)
		panic("%s", e.msg);
	if (index_open(fuzz_dir(), "x.idx", &ix, &e) < 0)
		return 0;
	fuzz_locks = false;
	fuzz_read(ix);
	fuzz_packages(ix, index_info(ix).packages, 1);
	return 0;
}
