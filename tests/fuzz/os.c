// SPDX-License-Identifier: Apache-2.0
/*
 * What a client says that it runs, and for which systems something is: the first line of the input is ranges, the second one ID, VERSION,
 * code name and virtual packages. What is checked is understood; who is not meant is told why; what a client says goes through a request
 * unharmed.
 */
#include "channel/channel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again(struct arena *a, const struct channel_os *os)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	channel_os_put(os, &b);
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] <= ' ' || b.p[i] > '~' || b.p[i] == '#')
			panic("a request with '%c'", b.p[i]);
	(void)a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct str text = str_of((const char *)data, size), ranges, id = STR(""), version = STR(""), codename = STR(""),
		   why;
	struct channel_os os;
	if (size > 1 << 14 || !str_take_line(&text, &ranges))
		return 0;
	(void)str_take_word(&text, &id);
	(void)str_take_word(&text, &version);
	(void)str_take_word(&text, &codename);
	bool good = channel_os_check(ranges, &e) == 0;
	if (channel_os_parse(&a, id, version, codename, str_trim(text), &os, &e) < 0)
		return 0;
	os.subdir = STR("linux-64");
	again(&a, &os);
	bool met = channel_os_meets(&os, ranges, &a, &why);
	if (met != (why.n == 0))
		panic("it is told why, or it is for it");
	if (good && !str_trim(ranges).n && !met)
		panic("nothing asked for, and refused");
	return 0;
}
