// SPDX-License-Identifier: Apache-2.0
/* What the files of opam roots and switches share: locks, reading, changing fields, paths that stay inside. */
#include <errno.h>
#include <fcntl.h>
#include <time.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/vec.h"
#include "env/opam.h"

/* -- locks ------------------------------------------------------------------------------------------------------------ */

/* OCaml's lockf is fcntl's record lock on the whole file. Ours belongs to the open file, so that no other close in this process lets go
 * of it; the two kinds exclude each other. */
static int take_lock(int fd, bool write, const char *shown, int64_t wait_ms, struct err *e)
{
	struct flock l = {.l_type = write ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
	int64_t start = clock_mono_ms(), pause_ms = 1;
	while (fcntl(fd, F_OFD_SETLK, &l) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EACCES)
			return err_sys(e, "lock '%s'", shown);
		int64_t left = wait_ms - (clock_mono_ms() - start);
		if (left <= 0)
			return err_new(e, ERR_BUSY,
				       "'%s' is locked by another opam or slipway; try again when it is done", shown);
		int64_t ms = pause_ms < left ? pause_ms : left;
		const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
		nanosleep(&t, NULL); /* style: allow process: a record lock tells nobody when it is free */
		pause_ms = pause_ms < 32 ? pause_ms * 2 : 50;
	}
	return 0;
}

int opam_lock(int dir_fd, const char *path, const char *shown, bool write, int64_t wait_ms, int *fd, bool *held_write,
	      struct err *e)
{
	bool had = *fd >= 0;
	if (had && (*held_write || !write))
		return 0;
	if (!had) {
		*fd = sys_openat(dir_fd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (*fd < 0 &&
		    !write) /* somebody else's root may be looked at: without a lock, where there is no file for it */
			*fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (*fd < 0)
			return write ? err_sys(e, "open lock '%s'", shown) : 0;
	}
	if (take_lock(*fd, write, shown, wait_ms, e) < 0) {
		if (!had)
			cleanup_fd(fd);
		return -1;
	}
	*held_write = write;
	return 0;
}

void opam_clean(int dir_fd, const char *const *folders)
{
	struct err ignored = ERR_INIT; /* the next one tries again */
	for (; *folders; folders++)
		fs_replace_clean_all(dir_fd, *folders, &ignored);
}

/* -- files ------------------------------------------------------------------------------------------------------------ */

int opam_read_doc(struct arena *a, int dir_fd, const char *path, const char *shown, struct pkg_opam_doc *ret,
		  struct err *e)
{
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct err mine = ERR_INIT;
	bool there = fs_read(dir_fd, path, &b, &mine) == 0;
	*ret = (struct pkg_opam_doc){.where = shown};
	if (!there && mine.code != ERR_NOT_FOUND) {
		*e = mine;
		return -1;
	}
	if (there && pkg_opam_read(a, arena_str(a, buf_str(&b)), shown, ret, e) < 0)
		return -1;
	return there;
}

int opam_write(int dir_fd, const char *path, const struct buf *b, struct err *e)
{
	return b->overflow ? err_new(e, ERR_LIMIT, "'%s' would be too large", path)
			   : fs_replace(dir_fd, path, b->p, b->n, FS_REPLACE_SYNC, e);
}

int opam_write_edited(struct arena *a, int dir_fd, const char *path, const struct pkg_opam_doc *d,
		      const struct opam_edit *v, size_t n, struct err *e)
{
	struct pkg_opam_doc now = *d;
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	buf_put_str(&b, d->text);
	for (size_t i = 0; i < n; i++) {
		buf_clear(&b);
		pkg_opam_edit(&now, v[i].field, v[i].value, &b);
		if (pkg_opam_read(a, arena_str(a, buf_str(&b)), d->where, &now, e) < 0)
			return -1;
	}
	return opam_write(dir_fd, path, &b, e);
}

/* -- values ----------------------------------------------------------------------------------------------------------- */

const struct pkg_opam_value *opam_string(struct arena *a, struct str s)
{
	return pkg_opam_make(a, PKG_OPAM_STRING, s);
}

const struct pkg_opam_value *opam_strings(struct arena *a, const struct str *v, size_t n)
{
	const struct pkg_opam_value **list = arena_array(a, const struct pkg_opam_value *, n);
	for (size_t i = 0; i < n; i++)
		list[i] = opam_string(a, v[i]);
	return pkg_opam_make_list(a, PKG_OPAM_LIST, list, n);
}

struct pkg_opam_strs opam_strings_of(struct arena *a, const struct pkg_opam_value *v)
{
	VEC(struct str) list = {0};
	for (const struct pkg_opam_value *x = pkg_opam_first(v); x; x = x->next) {
		struct str s = pkg_opam_text(x->kind == PKG_OPAM_OPTION ? x->left : x);
		if (s.n)
			vec_push(&list, s);
	}
	struct pkg_opam_strs ret = {vec_copy(&list, a), list.n};
	vec_release(&list);
	return ret;
}

/* -- paths ------------------------------------------------------------------------------------------------------------ */

struct str opam_normal_path(struct arena *a, struct str path)
{
	auto_buf b = BUF_INIT(4096);
	if (path.n == 0 || path.n > 4096 || path.p[0] == '/')
		return STR_NONE;
	while (path.n) {
		ptrdiff_t slash = str_find(path, '/');
		struct str part = str_head(path, slash < 0 ? path.n : (size_t)slash);
		path = str_skip(path, part.n + (slash >= 0));
		if (part.n == 0 || str_eq_c(part, "."))
			continue;
		if (!str_eq_c(part, "..")) {
			buf_put_c(&b, b.n ? "/" : "");
			buf_put_str(&b, part);
			continue;
		}
		if (!b.n)
			return STR_NONE;
		ptrdiff_t last = str_rfind(buf_str(&b), '/');
		buf_truncate(&b, last < 0 ? 0 : (size_t)last);
	}
	return !b.overflow && fs_path_is_inside(buf_str(&b)) ? arena_str(a, buf_str(&b)) : STR_NONE;
}

/* -- names ------------------------------------------------------------------------------------------------------------ */

static int opam_name_cmp(struct str a, struct str b)
{
	for (size_t i = 0; i < a.n && i < b.n; i++) {
		unsigned char x = (unsigned char)a.p[i], y = (unsigned char)b.p[i];
		unsigned char lx = x >= 'A' && x <= 'Z' ? x + 32 : x, ly = y >= 'A' && y <= 'Z' ? y + 32 : y;
		if (lx != ly)
			return lx < ly ? -1 : 1;
		if (x != y)
			return x < y ? -1 : 1;
	}
	return a.n < b.n ? -1 : a.n > b.n;
}

bool env_opam_split(struct str nv, struct str *ret_name, struct str *ret_version)
{
	ptrdiff_t dot = str_find(nv, '.');
	if (dot <= 0)
		return false;
	*ret_name = str_head(nv, (size_t)dot);
	*ret_version = str_skip(nv, (size_t)dot + 1);
	return pkg_opam_name_is_good(*ret_name) && pkg_opam_version_is_good(*ret_version);
}

int opam_nv_cmp(struct str a, struct str b)
{
	struct str an = a, av = STR_NONE, bn = b, bv = STR_NONE;
	(void)env_opam_split(a, &an, &av);
	(void)env_opam_split(b, &bn, &bv);
	int c = opam_name_cmp(an, bn);
	c = c ? c : pkg_opam_version_cmp(av, bv);
	return c ? c : str_cmp(av, bv);
}

struct str env_opam_version_in(const struct pkg_opam_strs *list, struct str name)
{
	struct str n, v;
	for (size_t i = 0; i < list->n; i++)
		if (env_opam_split(list->v[i], &n, &v) && str_eq(n, name))
			return v;
	return STR_NONE;
}

/* -- folders of a switch ------------------------------------------------------------------------------------------------ */

static const struct {
	const char *kind, *below, *usual; /* below: what it is relative to; NULL: the prefix */
} dirs[] = {
	{"prefix", NULL, ""},
	{"lib", "prefix", "lib"},
	{"bin", "prefix", "bin"},
	{"sbin", "prefix", "sbin"},
	{"share", "prefix", "share"},
	{"doc", "prefix", "doc"},
	{"etc", "prefix", "etc"},
	{"man", "prefix", "man"},
	{"toplevel", "lib", "toplevel"},
	{"stublibs", "lib", "stublibs"},
};

struct str opam_dir_path(struct arena *a, const struct pkg_opam_doc *switch_config, struct str prefix, const char *kind)
{
	const struct pkg_opam_item *paths = switch_config ? pkg_opam_section(switch_config, "paths", NULL) : NULL;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		if (strcmp(kind, dirs[i].kind) != 0)
			continue;
		struct str said = paths ? pkg_opam_text(pkg_opam_get_in(paths, kind)) : STR_NONE;
		if (said.n && said.p[0] == '/')
			return said;
		struct str below = dirs[i].below ? opam_dir_path(a, switch_config, prefix, dirs[i].below) : prefix;
		struct str name = said.n ? said : str_c(dirs[i].usual);
		return name.n ? str_c(arena_printf(a, "%.*s/%.*s", STR_ARG(below), STR_ARG(name))) : below;
	}
	return STR_NONE;
}

struct str opam_dir(struct arena *a, const struct pkg_opam_doc *switch_config, struct str prefix, const char *kind)
{
	struct str s = opam_dir_path(a, switch_config, prefix, kind);
	if (!str_take_str(&s, prefix))
		return STR_NONE;
	return s.n ? opam_normal_path(a, str_skip(s, 1)) : STR("");
}
