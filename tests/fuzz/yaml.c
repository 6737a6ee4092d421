// SPDX-License-Identifier: Apache-2.0
/* No text breaks the reader; and every scalar that was read, when written as one, reads back the same. */
#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_scalar(struct str s)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	buf_put_c(&b, "k: [");
	yaml_put_scalar(&b, s);
	buf_put_c(&b, "]\n");
	if (b.n > 1 << 20)
		return;
	const struct yaml *y = yaml_parse(&a, buf_str(&b), "again", &e);
	const struct yaml *k = y ? yaml_get(y, "k") : NULL;
	if (!k || k->n != 1 || !str_eq(k->item[0].scalar, s) || yaml_is_null(&k->item[0]))
		panic("'%s' does not read back: %s", b.p, e.msg);
}

static void check_node(const struct yaml *y, unsigned *left)
{
	if (*left == 0)
		return;
	--*left;
	switch (y->type) {
	case YAML_SCALAR:
		check_scalar(y->scalar);
		break;
	case YAML_LIST:
		for (uint32_t i = 0; i < y->n; i++)
			check_node(&y->item[i], left);
		break;
	case YAML_MAP:
		for (uint32_t i = 0; i < y->n; i++) {
			check_scalar(y->pair[i].key);
			check_node(&y->pair[i].value, left);
		}
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	unsigned left = 50;
	const struct yaml *y = yaml_parse(&a, str_of((const char *)data, size), "fuzz", &e);
	if (!y && (e.code == ERR_NONE || !e.msg[0]))
		panic("no error");
	if (y)
		check_node(y, &left);
	return 0;
}
