// SPDX-License-Identifier: Apache-2.0
/* A tar stream in which publishing looks for one file. The sum of each header is made right first, so that what stands
 * behind it is reached. */
#include "channel/package.h"

enum { BLOCK = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void sum_again(char *head)
{
	unsigned sum = 0;
	memset(head + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)head[i];
	for (size_t i = 6; i-- > 0; sum >>= 3)
		head[148 + i] = (char)('0' + (sum & 7));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	auto_buf copy = BUF_INIT(1 << 24), found = BUF_INIT(1 << 16);
	buf_put(&copy, data, size);
	for (size_t at = 0; at + BLOCK <= copy.n; at += BLOCK)
		if (copy.p[at])
			sum_again(copy.p + at);
	auto_ptr(istream) in = istream_mem(buf_str(&copy), "fuzz");
	int rc = package_tar_find(in, STR("info/index.json"), &found, &e);
	if (rc < 0 && (e.code == ERR_NONE || !strstr(e.msg, "fuzz")))
		panic("no cause in '%s'", e.msg);
	if (rc > 0 && found.n > found.max)
		panic("more than was asked for");
	return 0;
}
