// SPDX-License-Identifier: Apache-2.0
/* What is accepted must write to a text that reads back and writes the same; and the scanner of repodata, which is
 * another reader of the same language, accepts the same texts. */
#include "base/json.h"
#include "channel/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a list, because the scanner is for what has an end of its own. */
static void check_scanner(struct str text)
{
	auto_arena a = ARENA_INIT;
	auto_buf copy = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	buf_put_char(&copy, '[');
	buf_put_str(&copy, text);
	buf_put_char(&copy, ']');
	scan_pad(&copy);
	bool good = json_parse(&a, buf_str(&copy), "list", &e) != NULL;
	const char *bad = scan_check(buf_str(&copy));
	if (good != !bad)
		panic("'%.*s': %s to the tree's reader, %s to the scanner", STR_ARG(text), good ? "good" : e.msg,
		      bad ? bad : "good");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	auto_buf first = BUF_INIT(BUF_MAX), second = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	struct str text = str_of((const char *)data, size);
	const struct json *j = json_parse(&a, text, "fuzz", &e);
	check_scanner(text);
	if (!j) {
		if (e.code == ERR_NONE || !e.msg[0])
			panic("no error");
		return 0;
	}
	struct jw w = JW_INIT(&first, data[0] & 3);
	jw_value(&w, j);
	j = json_parse_in_place(&a, &a, arena_strdup(&a, str_of((const char *)data, size)), size, "in place", &e);
	if (!j)
		panic("not in place: %s", e.msg);
	w = JW_INIT(&second, data[0] & 3);
	jw_value(&w, j);
	if (!str_eq(buf_str(&first), buf_str(&second)))
		panic("'%s' is '%s' in place", first.p, second.p);
	buf_clear(&second);
	j = json_parse(&a, buf_str(&first), "again", &e);
	if (!j)
		panic("'%s' does not read back: %s", first.p, e.msg);
	w = JW_INIT(&second, data[0] & 3);
	jw_value(&w, j);
	if (!str_eq(buf_str(&first), buf_str(&second)))
		panic("'%s' differs from '%s'", first.p, second.p);
	return 0;
}
