// SPDX-License-Identifier: Apache-2.0
/*
 * What a run that was killed left in a switch, taken away by the next one. Known are files that a .install file named, as it is kept before they are
 * laid, and files of what was built before, by a note of what is being laid. What install commands laid themselves cannot be told from a person's.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam.h"

#define LAYING "slipway-laying" /* in .opam-switch: "NAME.VERSION", then the lines of a tree */
enum { NAMES_MAX = 100000, LAYING_MAX = 256 << 20 };

int opam_left_note(struct opam_run *r, const struct build_opam_package *p, const struct env_opam_tree *t,
		   struct arena *a, struct err *e)
{
	auto_buf b = BUF_INIT(LAYING_MAX);
	struct env_opam_tree missing;
	if (env_opam_tree_missing(r->o->sw, t, a, &missing, e) < 0)
		return -1;
	buf_printf(&b, "%.*s.%.*s\n", STR_ARG(p->name), STR_ARG(p->version));
	env_opam_tree_print(&missing, &b);
	return fs_replace(env_opam_meta_fd(r->o->sw), LAYING, b.p, b.n, 0, e);
}

void opam_left_nothing(struct opam_run *r)
{
	(void)sys_unlinkat(env_opam_meta_fd(r->o->sw), LAYING,
			   0); /* one that stays says what is not so, and is seen to */
}

static int clear_laid(struct opam_run *r, const struct env_opam_state *st, struct arena *a, struct err *e)
{
	auto_buf b = BUF_INIT(LAYING_MAX);
	struct err why = ERR_INIT;
	struct str line, name, version;
	struct env_opam_tree t;
	if (fs_read(env_opam_meta_fd(r->o->sw), LAYING, &b, &why) < 0)
		return why.code == ERR_NOT_FOUND ? 0 : (*e = why, -1);
	struct str text = buf_str(&b);
	bool is_note = str_take_line(&text, &line) && env_opam_split(line, &name, &version) &&
		       env_opam_tree_parse(a, text, LAYING, &t, &why) == 0;
	bool is_installed = is_note && str_eq(env_opam_version_in(&st->installed, name), version);
	if (is_note && !is_installed && env_opam_tree_clear(r->o->sw, &t, e) < 0)
		return -1;
	opam_left_nothing(r);
	return 0;
}

static int clear_listed(struct opam_run *r, const struct env_opam_state *st, int meta, struct arena *a, struct err *e)
{
	auto_fs_list names = {0};
	if (!fs_exists(meta, "install"))
		return 0;
	if (fs_list(meta, "install", NAMES_MAX, &names, e) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++) {
		struct str name = str_c(names.name[i]);
		struct err ignored = ERR_INIT; /* one that cannot be read is no reason to install nothing */
		if (!str_ends(name, STR(".install")))
			continue;
		name = arena_str(a, str_head(name, name.n - strlen(".install")));
		if (!env_opam_version_in(&st->installed, name).n)
			env_opam_install_clear(r->o->sw, name, &ignored);
	}
	return 0;
}

int opam_left_clear(struct opam_run *r, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_opam_state st;
	int meta = env_opam_meta_fd(r->o->sw);
	return env_opam_state_read(r->o->sw, &a, &st, e) < 0 || clear_laid(r, &st, &a, e) < 0 ||
			       clear_listed(r, &st, meta, &a, e) < 0
		       ? -1
		       : 0;
}
