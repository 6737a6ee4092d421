// SPDX-License-Identifier: Apache-2.0
/* No text breaks the reader of component files; a service that was read is written and read back as the same. */
#include "service/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct component c;
	struct err e = ERR_INIT;
	if (component_read(&a, str_of((const char *)data, size), "fuzz", "fuzz.yml", &c, &e) < 0)
		return 0;
	for (uint32_t i = 0; i < c.services_n; i++) {
		struct service_decl again;
		auto_buf first = BUF_INIT(1 << 24);
		auto_buf second = BUF_INIT(1 << 24);
		struct jw w = JW_INIT(&first, 0), v = JW_INIT(&second, 0);
		decl_put(&w, &c.services[i]);
		if (first.n > 1 << 19)
			continue;
		if (decl_copy(&a, &c.services[i], &again, &e) < 0)
			panic("'%s' does not read back: %s", first.p, e.msg);
		decl_put(&v, &again);
		if (!str_eq(buf_str(&first), buf_str(&second)))
			panic("'%s' became '%s'", first.p, second.p);
	}
	return 0;
}
