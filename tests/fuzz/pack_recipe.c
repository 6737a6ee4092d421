// SPDX-License-Identifier: Apache-2.0
/* A pack.yml, and an info/index.json: what the first makes, the second reads as the same package. */
#include <stdlib.h>

#include "build/pack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_index(struct arena *a, const struct pack_meta *m)
{
	struct err e = ERR_INIT;
	struct pack_meta back = {.build_number = -1};
	cleanup_with(staged_release) struct staged s = {.dirfd = -1, .folder = "st", .a = a, .prefix = m->prefix};
	must(meta_complete(&s, m, false, 0, &e) == 0);
	must(meta_from_index(a, staged_info_find(&s, "info/index.json")->text, &back, &e) == 0);
	must(str_eq(m->name, back.name) && str_eq(m->version, back.version) && str_eq(m->build, back.build));
	must(str_eq(m->subdir, back.subdir) && str_eq(m->noarch, back.noarch) && m->build_number == back.build_number);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct pack_meta m = {.build_number = -1}, other = m;
	struct str text = str_of((const char *)data, size);
	if (recipe_read(&a, text, "pack.yml", &m, &e) == 0 && meta_finish(&a, &m, &e) == 0)
		check_index(&a, &m);
	e = ERR_INIT;
	must((meta_from_index(&a, text, &other, &e) < 0) == (e.msg[0] != '\0'));
	return 0;
}
