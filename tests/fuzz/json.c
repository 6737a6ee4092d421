// SPDX-License-Identifier: Apache-2.0
/* What is accepted must write to a text that reads back and writes the same. */
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	auto_buf first = BUF_INIT(BUF_MAX), second = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	const struct json *j = json_parse(&a, str_of((const char *)data, size), "fuzz", &e);
	if (!j) {
		if (e.code == ERR_NONE || !e.msg[0])
			panic("no error");
		return 0;
	}
	struct jw w = JW_INIT(&first, data[0] & 3);
	jw_value(&w, j);
	j = json_parse(&a, buf_str(&first), "again", &e);
	if (!j)
		panic("'%s' does not read back: %s", first.p, e.msg);
	w = JW_INIT(&second, data[0] & 3);
	jw_value(&w, j);
	if (!str_eq(buf_str(&first), buf_str(&second)))
		panic("'%s' differs from '%s'", first.p, second.p);
	return 0;
}
