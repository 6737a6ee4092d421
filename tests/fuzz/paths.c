// SPDX-License-Identifier: Apache-2.0
/* A package's info/paths.json and info/has_prefix: the first byte chooses. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/fs.h"
#include "env/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A folder lists what lies in it, and what nobody else has. */
static void check_file(const struct link_pkg *p, const struct clobber_dir *dir, const struct clobber_file *f)
{
	const struct path_entry *en = &p[f->pkg].entries.v[f->entry];
	ptrdiff_t slash = str_rfind(en->dest, '/');
	if (en->lost || !str_eq(dir->path, str_head(en->dest, slash < 0 ? 0 : (size_t)slash)) ||
	    (f > dir->file && f[-1].pkg == f->pkg && f[-1].entry >= f->entry))
		abort();
}

static void plan(struct link_pkg *p)
{
	struct err e = ERR_INIT;
	struct clobber_dir *dir;
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
	size_t n = clobber_dirs(t, &a, &dir), files = 0, listed = 0;
	for (size_t i = 0; i < n; i++) {
		if ((i == 0) != (dir[i].path.n == 0) || (i > 0 && !fs_path_is_inside(dir[i].path)) ||
		    clobber_find(t, dir[i].path))
			abort();
		for (size_t k = 0; k < dir[i].n; k++)
			check_file(p, &dir[i], &dir[i].file[k]);
		listed += dir[i].n;
	}
	for (size_t k = 0; k < 2; k++) {
		vec_foreach(en, &p[k].entries) {
			files += en->type != PATH_DIR && !en->lost;
			if (en->type != PATH_DIR && !en->lost && clobber_find(t, en->dest) != en)
				abort();
		}
	}
	if (files != listed)
		abort();
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
