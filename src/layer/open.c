// SPDX-License-Identifier: Apache-2.0
/* layers_open: the choice of a backend, and what an earlier boot left. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/sys.h"
#include "layer/internal.h"

static const struct backend *const backends[] = {&backend_overlay, &backend_btrfs, &backend_copy}; /* best first */
static const char *const backend_names[] = {
	[LAYER_AUTO] = "auto",
	[LAYER_OVERLAY] = "overlay",
	[LAYER_BTRFS] = "btrfs",
	[LAYER_COPY] = "copy",
};
enum { BACKENDS = sizeof(backends) / sizeof(backends[0]), BACKEND_FILE_MAX = 256 };

const char *layer_backend_name(enum layer_backend b)
{
	return backend_names[b];
}

bool layer_backend_parse(struct str s, enum layer_backend *ret)
{
	for (size_t i = 0; i < sizeof(backend_names) / sizeof(backend_names[0]); i++) {
		if (str_eq_c(s, backend_names[i])) {
			*ret = (enum layer_backend)i;
			return true;
		}
	}
	return false;
}

bool layer_id_parse(struct str s, struct layer_id *ret)
{
	if (s.n != LAYER_ID_HEX || !str_is_hex(s))
		return false;
	memcpy(ret->hex, s.p, LAYER_ID_HEX);
	ret->hex[LAYER_ID_HEX] = '\0';
	return true;
}

/* choosing */

static const struct backend *backend_of(enum layer_backend kind)
{
	for (size_t i = 0; i < BACKENDS; i++)
		if (backends[i]->kind == kind)
			return backends[i];
	return NULL;
}

static int try_backend(struct layers *l, const struct backend *b, struct buf *why, struct err *e)
{
	struct err ignored = ERR_INIT;
	struct place at = place_of("tmp/probe.%ld", (long)getpid());
	if (inside_remove(l, at.s, e) < 0)
		return -1;
	if (sys_mkdirat(l->dir, at.s, 0755) < 0)
		return err_sys(e, "make folder '%s/%s'", l->path, at.s);
	int r = b->probe(l, at.s, why, e);
	(void)inside_remove(l, at.s, &ignored);
	return r;
}

/* The first that works, of all or of the one that is wanted. */
static int choose(struct layers *l, enum layer_backend want, struct err *e)
{
	auto_buf why = BUF_INIT(ERR_MSG_SIZE);
	for (size_t i = 0; i < BACKENDS && !l->ops; i++) {
		if (want != LAYER_AUTO && backends[i]->kind != want)
			continue;
		int r = try_backend(l, backends[i], &why, e);
		if (r < 0)
			return -1;
		if (r > 0)
			l->ops = backends[i];
	}
	if (!l->ops)
		return err_new(e, ERR_UNSUPPORTED,
			       "layers cannot be kept as '%s' in '%s': %s; 'auto' takes what works there",
			       layer_backend_name(want), l->path, why.p);
	char text[BACKEND_FILE_MAX];
	int n = snprintf(text, sizeof(text), "slipway-layers 1 %s\n", l->ops->name);
	return fs_replace(l->dir, "backend", text, (size_t)n, FS_REPLACE_SYNC, e);
}

/* 1 it says one, 0 there is none. */
static int read_choice(struct layers *l, struct err *e)
{
	auto_buf b = BUF_INIT(BACKEND_FILE_MAX);
	struct err missing = ERR_INIT;
	enum layer_backend kind;
	if (fs_read(l->dir, "backend", &b, &missing) < 0) {
		if (missing.code == ERR_NOT_FOUND)
			return 0;
		*e = missing;
		return -1;
	}
	struct str s = buf_str(&b), name;
	if (!str_take_str(&s, STR("slipway-layers 1 ")) || !str_take_line(&s, &name) ||
	    !layer_backend_parse(name, &kind) || !(l->ops = backend_of(kind)))
		return err_new(e, ERR_UNSUPPORTED, "'%s/backend' is of another version of slipway, or damaged",
			       l->path);
	return 1;
}

static int make_folders(struct layers *l, struct err *e)
{
	static const char *const folders[] = {"layer", "tmp", "cache", "unsynced"};
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		if (fs_mkdirs(l->dir, folders[i], 0700, e) < 0) /* they hold set-user-id files of whoever */
			return err_ctx(e, "'%s'", l->path);
	return 0;
}

/* Once in the life of DIR. */
static int choose_alone(struct layers *l, enum layer_backend want, struct err *e)
{
	if (house_hold(l, true, e) < 0)
		return -1;
	int r = read_choice(l, e); /* another process was first */
	if (r == 0)
		r = make_folders(l, e) < 0 ? -1 : choose(l, want, e);
	house_open(l);
	return r < 0 ? -1 : 0;
}

/* another boot */

static void read_boot_id(struct layers *l)
{
	auto_buf b = BUF_INIT(BACKEND_FILE_MAX);
	struct err ignored = ERR_INIT;
	if (fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &b, &ignored) < 0)
		return;
	struct str id = str_trim(buf_str(&b));
	if (id.n == BOOT_ID_SIZE - 1 && str_find(id, '.') < 0)
		snprintf(l->boot, sizeof(l->boot), "%.*s", STR_ARG(id));
}

static bool is_looked_over(struct layers *l)
{
	auto_buf b = BUF_INIT(BACKEND_FILE_MAX);
	struct err ignored = ERR_INIT;
	return *l->boot && fs_read(l->dir, "boot", &b, &ignored) == 0 && str_eq_c(str_trim(buf_str(&b)), l->boot);
}

/* Marks of earlier boots, and the layers and states that they name. */
struct left {
	struct layers *l;
	struct arena *a;
	struct fs_list marks;
	struct map doubtful; /* by mark: 1 doubtful, 2 whole all the same */
};

static void left_release(struct left *f)
{
	fs_list_release(&f->marks);
	map_release(&f->doubtful);
}
#define auto_left cleanup_with(left_release) struct left

static int left_read(struct left *f, struct err *e)
{
	struct str boot, mark;
	if (fs_list(f->l->dir, "unsynced", FOLDER_MAX, &f->marks, e) < 0)
		return -1;
	for (size_t i = 0; i < f->marks.n; i++)
		if (mark_parse(str_c(f->marks.name[i]), &boot, &mark) && !str_eq_c(boot, f->l->boot))
			*map_put(&f->doubtful, mark) = 1;
	return 0;
}

/* A layer from which layers_sync took the mark was on disk with all below it, whatever marks the disk still shows of those. */
static int left_clear_below_whole(struct left *f, struct err *e)
{
	auto_fs_list names = {0};
	if (fs_list(f->l->dir, "layer", FOLDER_MAX, &names, e) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++) {
		struct layer_id id;
		struct layer_info info;
		struct err bad = ERR_INIT;
		if (!layer_id_parse(str_c(names.name[i]), &id) || map_get(&f->doubtful, str_c(id.hex)))
			continue;
		for (;;) {
			struct place at = place_layer(&id);
			if (about_read(f->l, &at, false, f->a, &info, &bad) <= 0 || !*info.parent.hex)
				break;
			uint64_t *doubt = map_get(&f->doubtful, str_c(info.parent.hex));
			if (!doubt || *doubt == 2)
				break; /* what is below it is, or was, looked at as well */
			*doubt = 2;
			id = info.parent;
		}
	}
	return 0;
}

/* The same for a state of a cache: a newer one without a mark was made of it. */
static int left_clear_below_newer(struct left *f, struct str mark, uint64_t *doubt, struct err *e)
{
	auto_fs_list states = {0};
	struct err missing = ERR_INIT;
	uint64_t n, k;
	ptrdiff_t dot = str_rfind(mark, '.');
	if (dot < 0 || !str_starts(mark, STR("c-")) || !str_to_u64(str_skip(mark, (size_t)dot + 1), &n))
		return 0;
	struct place folder = place_of("cache/%.*s", (int)dot, mark.p);
	if (fs_list(f->l->dir, folder.s, FOLDER_MAX, &states, &missing) < 0)
		return missing.code == ERR_NOT_FOUND ? 0 : (*e = missing, -1);
	for (size_t i = 0; i < states.n; i++) {
		struct place other = place_of("%.*s.%s", (int)dot, mark.p, states.name[i]);
		if (str_to_u64(str_c(states.name[i]), &k) && k > n && !map_get(&f->doubtful, str_c(other.s)))
			*doubt = 2;
	}
	return 0;
}

static int left_clear_caches(struct left *f, struct err *e)
{
	for (struct map_slot *s = NULL; (s = map_next(&f->doubtful, s));)
		if (s->value == 1 && left_clear_below_newer(f, s->key, &s->value, e) < 0)
			return -1;
	return 0;
}

static int left_remove(struct left *f, struct err *e)
{
	for (struct map_slot *s = NULL; (s = map_next(&f->doubtful, s));) {
		struct place at, gone;
		struct layer_id id;
		ptrdiff_t dot = str_rfind(s->key, '.');
		if (s->value == 2)
			continue;
		if (layer_id_parse(s->key, &id))
			at = place_layer(&id);
		else if (dot > 0 && str_starts(s->key, STR("c-")))
			at = place_of("cache/%.*s/%s", (int)dot, s->key.p,
				      arena_strdup(f->a, str_skip(s->key, (size_t)dot + 1)));
		else
			continue;
		if (entry_unname(f->l, &at, &gone, e) < 0)
			return -1;
	}
	return 0;
}

static int look_over(struct layers *l, struct err *e)
{
	struct str boot, mark;
	auto_arena a = ARENA_INIT;
	auto_left f = {.l = l, .a = &a};
	if (left_read(&f, e) < 0 || (f.doubtful.n && left_clear_below_whole(&f, e) < 0) ||
	    left_clear_caches(&f, e) < 0 || left_remove(&f, e) < 0)
		return -1;
	/* what was taken away has to stay away before its mark is */
	if (f.doubtful.n && sys_syncfs(l->dir) < 0)
		return err_sys(e, "sync '%s'", l->path);
	for (size_t i = 0; i < f.marks.n; i++) {
		struct place at = place_of("unsynced/%.255s", f.marks.name[i]);
		if ((!mark_parse(str_c(f.marks.name[i]), &boot, &mark) || !str_eq_c(boot, l->boot)) &&
		    sys_unlinkat(l->dir, at.s, 0) < 0)
			return err_sys(e, "remove '%s/%s'", l->path, at.s);
	}
	return *l->boot ? fs_replace(l->dir, "boot", l->boot, strlen(l->boot), 0, e) : 0;
}

static int look_over_alone(struct layers *l, struct err *e)
{
	if (house_hold(l, true, e) < 0)
		return -1;
	int r = is_looked_over(l) ? 0 : look_over(l, e);
	house_open(l);
	return r < 0 ? err_ctx(e, "look over what was made before the last start of the system") : 0;
}

/* opening */

static char *absolute(const char *dir, struct err *e)
{
	if (*dir == '/')
		return xstrdup(dir);
	auto_free char *cwd = getcwd(NULL, 0);
	if (!cwd) {
		err_sys(e, "find the working folder");
		return NULL;
	}
	return xasprintf("%s/%s", cwd, dir);
}

/* Whether all that is made in DIR belongs to that user, whoever makes it: some network file systems are so. */
static bool gives_all_to(struct layers *l, uid_t owner)
{
	struct stat st;
	struct place at = place_of("owner.%ld", (long)getpid());
	auto_fd fd = sys_openat(l->dir, at.s, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return false;
	bool same = fstat(fd, &st) == 0 && st.st_uid == owner;
	sys_unlinkat(l->dir, at.s, 0);
	return same;
}

/* In the layers of another user, files of root belong to that one: root itself would see them as they are and build something else under
 * the same id, and leave what their owner can neither use nor remove. */
static int check_owner(struct layers *l, struct err *e)
{
	struct stat st;
	if (fstat(l->dir, &st) < 0)
		return err_sys(e, "look at '%s'", l->path);
	if (st.st_uid == geteuid() || gives_all_to(l, st.st_uid))
		return 0;
	const struct passwd *p = getpwuid(st.st_uid);
	auto_free char *number = xasprintf("%u", st.st_uid);
	return err_new(
		e, ERR_FAILED,
		"'%s' belongs to user '%s', and layers are one user's: run this as that user, or name another root",
		l->path, p ? p->pw_name : number);
}

static int open_dir(struct layers *l, const char *dir, enum layer_backend want, struct err *e)
{
	if (!(l->path = absolute(dir, e)))
		return -1;
	l->dir = open(l->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (l->dir < 0 && errno != ENOENT)
		return err_sys(e, "open folder '%s'", l->path);
	if (l->dir < 0 && (l->dir = fs_open_dir_make(AT_FDCWD, l->path, e)) < 0)
		return -1;
	if (check_owner(l, e) < 0)
		return -1;
	read_boot_id(l);
	int r = read_choice(l, e);
	if (r < 0 || (r == 0 && choose_alone(l, want, e) < 0))
		return -1;
	if (want != LAYER_AUTO && l->ops->kind != want)
		return err_new(e, ERR_USAGE,
			       "layers are kept as '%s' in '%s', not as '%s'; another folder can have another kind",
			       l->ops->name, l->path, layer_backend_name(want));
	return is_looked_over(l) ? 0 : look_over_alone(l, e);
}

int layers_open(const char *dir, enum layer_backend want, struct layers **ret, struct err *e)
{
	auto_ptr(layers) l = xcalloc(1, sizeof(*l));
	*l = (struct layers){.dir = -1, .house = -1};
	if (open_dir(l, dir, want, e) < 0)
		return err_ctx(e, "open layers");
	*ret = steal_ptr(&l);
	return 0;
}

void layers_close(struct layers *l)
{
	if (!l)
		return;
	cleanup_fd(&l->dir);
	cleanup_fd(&l->house);
	free(l->path);
	free(l);
}

enum layer_backend layers_backend(const struct layers *l)
{
	return l->ops->kind;
}

const char *layers_path(const struct layers *l)
{
	return l->path;
}

int layers_dirfd(const struct layers *l)
{
	return l->dir;
}
