// SPDX-License-Identifier: Apache-2.0
/*
 * The files of a switch, by the first byte: what is taken from a .install file stays inside; a state, a record of changes and an environment and
 * a list of what is kept ('T') come out as they went in.
 */
#include <string.h>

#include "base/fs.h"
#include "env/env.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void install(struct arena *a, struct str text, struct err *e)
{
	struct env_opam_install i;
	if (env_opam_install_read(a, text, "x.install", STR("x"), &i, e) < 0)
		return;
	for (size_t k = 0; k < i.n; k++) {
		struct str to = i.v[k].to;
		if (!fs_path_is_inside(i.v[k].from))
			panic("from '%.*s'", STR_ARG(i.v[k].from));
		if (i.v[k].misc ? to.p[0] != '/' : !fs_path_is_inside(to) || str_starts(to, STR(".opam-switch")))
			panic("to '%.*s'", STR_ARG(to));
	}
}

/* Below the folder, whatever bytes its names have: commands may have made them. */
static bool stays_below(struct str path)
{
	struct str part;
	bool more = true, good = path.n > 0 && !memchr(path.p, '\0', path.n);
	while (more && good) {
		more = str_take_until(&path, '/', &part);
		part = more ? part : path;
		good = part.n && !str_eq_c(part, ".") && !str_eq_c(part, "..");
	}
	return good;
}

static void changes(struct arena *a, struct str text, struct err *e)
{
	struct env_opam_changes c, back;
	auto_buf b = BUF_INIT(BUF_MAX);
	if (env_opam_changes_parse(a, text, "x.changes", &c, e) < 0)
		return;
	env_opam_changes_print(&c, &b);
	if (env_opam_changes_parse(a, buf_str(&b), "again", &back, e) < 0)
		panic("%s\n%s", e->msg, b.p);
	if (back.n != c.n)
		panic("%zu, then %zu", c.n, back.n);
	for (size_t i = 0; i < c.n; i++)
		if (!str_eq(c.v[i].path, back.v[i].path) || !stays_below(c.v[i].path))
			panic("'%.*s'", STR_ARG(c.v[i].path));
}

static void state(struct arena *a, struct str text, struct err *e)
{
	struct env_opam_state st;
	struct str name, version;
	if (env_opam_state_parse(a, text, "switch-state", &st, e) < 0)
		return;
	for (size_t i = 0; i < st.installed.n; i++)
		if (!env_opam_split(st.installed.v[i], &name, &version) || !env_opam_version_in(&st.installed, name).n)
			panic("'%.*s'", STR_ARG(st.installed.v[i]));
}

static char *none(const char *name)
{
	static char path[] = "/a:/b:";
	return strcmp(name, "PATH") == 0 ? path : NULL;
}

static void environment(struct arena *a, struct str text, struct err *e)
{
	struct env_opam_update *v, *again;
	struct env_variable *out;
	size_t n, again_n, out_n;
	auto_buf b = BUF_INIT(BUF_MAX);
	if (env_opam_updates_parse(a, text, "environment", &v, &n, e) < 0)
		return;
	env_opam_updates_print(v, n, &b);
	if (env_opam_updates_parse(a, buf_str(&b), "again", &again, &again_n, e) < 0 || again_n != n)
		panic("%zu, then %zu: %s\n%s", n, again_n, e->msg, b.p);
	for (size_t i = 0; i < n; i++)
		if (!str_eq(v[i].variable, again[i].variable) || !str_eq(v[i].value, again[i].value) ||
		    v[i].op != again[i].op || !str_eq(v[i].why, again[i].why))
			panic("update %zu", i);
	if (n < 200) /* each may be as long as all before it */
		env_opam_updates_expand(a, v, n, v, n / 2, none, &out, &out_n);
}

static void tree(struct arena *a, struct str text, struct err *e)
{
	struct env_opam_tree t, again;
	auto_buf b = BUF_INIT(BUF_MAX);
	if (env_opam_tree_parse(a, text, "list", &t, e) < 0)
		return;
	env_opam_tree_print(&t, &b);
	if (env_opam_tree_parse(a, buf_str(&b), "again", &again, e) < 0 || again.n != t.n || again.bytes != t.bytes)
		panic("%s\n%s", e->msg, b.p);
	for (size_t i = 0; i < t.n; i++)
		if (!fs_path_is_inside(t.v[i].path) || t.v[i].mode > 0777)
			panic("'%.*s' %o", STR_ARG(t.v[i].path), t.v[i].mode);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const all[])(struct arena * a, struct str text, struct err * e) = {install, changes, state,
											 environment};
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	if (size && data[0] == 'T')
		tree(&a, str_of((const char *)data + 1, size - 1), &e);
	else if (size)
		all[data[0] % 4](&a, str_of((const char *)data + 1, size - 1), &e);
	return 0;
}
