// SPDX-License-Identifier: Apache-2.0
/*
 * What tells of a layer, and names of marks. What is read is written again and reads as the same; a mark's parts make the mark.
 */
#include "layer/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_about(struct str s)
{
	struct layer_info info, again;
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	if (!about_parse(s, &info) || info.about.n > LAYER_ABOUT_MAX)
		return;
	if (about_put(&b, &info, &e) < 0 || !about_parse(buf_str(&b), &again))
		panic("what was read cannot be written: %s", e.msg);
	if (strcmp(info.parent.hex, again.parent.hex) != 0 || info.created_ms != again.created_ms ||
	    info.bytes != again.bytes || info.depth != again.depth || !str_eq(info.about, again.about))
		panic("what was written is something else");
	if (info.created_ms < 0 || (*info.parent.hex && strlen(info.parent.hex) != LAYER_ID_HEX))
		panic("a time before 1970, or a parent that is no id");
}

static void check_mark(struct str s)
{
	struct str boot, mark;
	if (!mark_parse(s, &boot, &mark))
		return;
	if (!str_starts(s, boot) || mark.n == 0 || boot.n + mark.n + 3 > s.n ||
	    !str_starts(str_skip(s, boot.n + 1), mark) || str_find(boot, '.') >= 0)
		panic("a mark in other parts than it has");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = str_of((const char *)data, size);
	check_about(s);
	check_mark(s);
	return 0;
}
