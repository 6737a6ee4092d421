// SPDX-License-Identifier: Apache-2.0
#include "cmd/opam_source.h"

#include <sys/stat.h>

#include "base/fs.h"

enum { NAMES_MAX = 10000 };

bool opam_is_source(const char *word)
{
	return strchr(word, '/') || strcmp(word, ".") == 0 || strcmp(word, "..") == 0 || strncmp(word, "git+", 4) == 0;
}

/* -- what a folder defines ---------------------------------------------------------------------------------------------- */

static int take_definition(struct arena *a, int dir, const char *path, struct str name, struct opam_definitions *v,
			   struct err *e)
{
	auto_buf b = BUF_INIT(PKG_OPAM_FILE_MAX);
	struct opam_definition d = {.name = name};
	if (fs_read(dir, path, &b, e) < 0)
		return -1;
	if (pkg_opam_read(a, arena_str(a, buf_str(&b)), arena_strdup(a, str_c(path)), &d.doc, e) < 0)
		return -1;
	if (!d.name.n)
		d.name = pkg_opam_text(pkg_opam_get(&d.doc, "name"));
	d.version = pkg_opam_text(pkg_opam_get(&d.doc, "version"));
	if (!pkg_opam_name_is_good(d.name))
		return err_new(e, ERR_INPUT, "'%s' does not say which package it is; name it: opam pin add NAME …",
			       path);
	vec_push(v, d);
	return 0;
}

static int find_in(struct arena *a, int dir, const char *folder, struct opam_definitions *v, struct err *e)
{
	auto_fs_list names = {0};
	struct stat st;
	if (fstatat(dir, folder, &st, 0) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	if (fs_list(dir, folder, NAMES_MAX, &names, e) < 0)
		return -1;
	for (size_t k = 0; k < names.n; k++) {
		struct str file = str_c(names.name[k]);
		const char *path = arena_printf(a, "%s/%.*s", folder, STR_ARG(file));
		if (!str_ends(file, STR(".opam")) || file.n == 5 || fstatat(dir, path, &st, 0) < 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		struct str name = arena_str(a, str_head(file, file.n - 5));
		if (take_definition(a, dir, path, name, v, e) < 0)
			return -1;
	}
	return 0;
}

/* Every NAME.opam of the folder, and of its folder opam/. */
static int find_all(struct arena *a, int dir, struct opam_definitions *v, struct err *e)
{
	if (find_in(a, dir, ".", v, e) < 0 || find_in(a, dir, "opam", v, e) < 0)
		return -1;
	if (v->n == 0 && fstatat(dir, "opam", &(struct stat){0}, 0) == 0)
		return take_definition(a, dir, "opam", STR_NONE, v, e);
	return 0;
}

static int find_one(struct arena *a, int dir, struct str name, struct opam_definitions *v, struct err *e)
{
	const char *paths[] = {arena_printf(a, "%.*s.opam", STR_ARG(name)),
			       arena_printf(a, "opam/%.*s.opam", STR_ARG(name)),
			       arena_printf(a, "%.*s.opam/opam", STR_ARG(name)), "opam", "opam/opam"};
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct stat st;
		if (fstatat(dir, paths[i], &st, 0) == 0 && S_ISREG(st.st_mode))
			return take_definition(a, dir, paths[i], name, v, e);
	}
	return 0;
}

int opam_definitions_of(struct arena *a, int dir, struct str name, struct opam_definitions *v, struct err *e)
{
	return name.n ? find_one(a, dir, name, v, e) : find_all(a, dir, v, e);
}

/* -- as a package -------------------------------------------------------------------------------------------------------- */

void opam_definition_print(struct arena *a, const struct opam_definition *d, struct str url, struct buf *b)
{
	struct pkg_opam_items items = {0};
	struct pkg_opam_item *own[3] = {
		pkg_opam_make_field(a, "name", pkg_opam_make(a, PKG_OPAM_STRING, d->name)),
		pkg_opam_make_field(a, "version", pkg_opam_make(a, PKG_OPAM_STRING, d->version)),
		pkg_opam_make_section(a, "url", STR_NONE,
				      pkg_opam_make_field(a, "src", pkg_opam_make(a, PKG_OPAM_STRING, url)))};
	for (const struct pkg_opam_item *i = d->doc.first; i; i = i->next)
		if (!str_eq_c(i->name, "name") && !str_eq_c(i->name, "version") && !str_eq_c(i->name, "url"))
			pkg_opam_append(a, &items, i);
	for (size_t i = 0; i < (url.n ? 3 : 2); i++)
		pkg_opam_append(a, &items, own[i]);
	pkg_opam_print_normal(items.first, b);
}
