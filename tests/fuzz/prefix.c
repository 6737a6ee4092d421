// SPDX-License-Identifier: Apache-2.0
/* Placeholders in content: mode, length of the placeholder, length of the prefix, the placeholder, the prefix, content. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "env/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int to_buf(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	buf_put(ctx, p, n);
	return 0;
}

static size_t count(struct str s, struct str what)
{
	size_t n = 0;
	for (ptrdiff_t at; (at = str_search(s, what)) >= 0; n++)
		s = str_skip(s, (size_t)at + what.n);
	return n;
}

static void binary(struct str in, struct str placeholder, struct str prefix)
{
	struct err e = ERR_INIT;
	auto_buf out = BUF_INIT((size_t)1 << 30);
	int r = prefix_binary(in, placeholder, prefix, to_buf, &out, &e);
	if (r < 0 ? prefix.n <= placeholder.n : out.n != in.n)
		abort();
	/* no string begins or ends elsewhere than before, but for what is filled up */
	for (size_t i = 0; r == 0 && i < in.n; i++) {
		if (in.p[i] == '\0' && out.p[i] != '\0')
			abort();
	}
}

static void text(struct str in, struct str placeholder, struct str prefix)
{
	struct err e = ERR_INIT;
	auto_buf out = BUF_INIT((size_t)1 << 30);
	if (prefix_text(in, placeholder, prefix, to_buf, &out, &e) < 0)
		return;
	size_t n = count(in, placeholder);
	if (str_starts(in, STR("#!")) ? n == 0 && out.n != in.n : out.n != in.n - n * placeholder.n + n * prefix.n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || data[1] == 0 || size - 3 < (size_t)data[1] + data[2])
		return 0;
	struct str rest = str_of((const char *)data + 3, size - 3);
	struct str placeholder = str_head(rest, data[1]), prefix = str_head(str_skip(rest, data[1]), data[2]);
	rest = str_skip(rest, (size_t)data[1] + data[2]);
	/* as paths.json and the file system have them */
	if (memchr(placeholder.p, '\0', placeholder.n) || memchr(prefix.p, '\0', prefix.n))
		return 0;
	if (data[0] == 'b')
		binary(rest, placeholder, prefix);
	else
		text(rest, placeholder, prefix);
	return 0;
}
