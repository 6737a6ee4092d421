// SPDX-License-Identifier: Apache-2.0
/* A package's info/paths.json and info/has_prefix: the first byte chooses. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/fs.h"
#include "env/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan(struct link_pkg *p)
{
	struct err e = ERR_INIT;
	struct str *dirs;
	auto_arena a = ARENA_INIT;
	const struct python_info py = {.present = true, .major = 3, .minor = 9, .site_packages = STR("lib/site")};
	vec_foreach(en, &p->entries) {
		if (en->type == PATH_SOFT)
			en->target = en->placeholder.n ? en->placeholder : STR("x/../y");
	}
	if (noarch_map(p, &py, &e) < 0)
		return;
	auto_ptr(clobber) t = clobber_new(p, 2, &a);
	if (clobber_plan(t, ENV_CLOBBER_WARN, &e) < 0)
		return;
	/* whatever the input: every file has one place inside, no folder is a file */
	size_t n = clobber_dirs(t, &a, &dirs);
	for (size_t i = 0; i < n; i++) {
		if (!fs_path_is_inside(dirs[i]) || clobber_find(t, dirs[i]))
			abort();
	}
	vec_foreach(en, &p->entries) {
		if (en->type != PATH_DIR && !en->lost && clobber_find(t, en->dest) != en)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct link_pkg p[2] = {{.noarch_python = true}, {.noarch_python = false}};
	if (size == 0)
		return 0;
	struct str text = str_of((const char *)data + 1, size - 1);
	if (data[0] == 'h') {
		paths_parse_json(STR("{\"paths\":[{\"_path\":\"a\"},{\"_path\":\"b c\"}]}"), &p[0], &e);
		paths_parse_has_prefix(text, &p[0], &e);
	} else if (paths_parse_json(text, &p[0], &e) == 0) {
		/* a second package with the same paths, turned round by what the first byte says */
		paths_parse_json(text, &p[1], &e);
		vec_foreach(en, &p[1].entries)
			en->type = data[0] % 3 == 0 ? PATH_SOFT : data[0] % 3 == 1 ? PATH_DIR : en->type;
		plan(p);
	}
	link_pkg_clear(&p[0]);
	link_pkg_clear(&p[1]);
	return 0;
}
