// SPDX-License-Identifier: Apache-2.0
/*
 * State that belongs to the software, kept from before an activation: ROOT/checkpoint/<env>/<operation>/
 *
 *	checkpoint.json     what is there, and how each is put back; written when all of it is on disk
 *	<component>.<name>/ `data`: a copy of the state; or whatever the component's own command wrote
 *
 * Copies are cp(1)'s: owners, modes, times, links, extended attributes, shared extents where the file system can.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/sys.h"
#include "upgrade/run.h"

enum { COMMAND_MS = 60 * 60 * 1000, MAX_OUTPUT = 64 << 10, MAX_MANIFEST = 1 << 20 };

static const char *folder_of(const struct run *r, struct arena *a)
{
	return arena_printf(a, "checkpoint/%.*s/%.*s", STR_ARG(r->o->env), STR_ARG(r->op.id));
}

static int run_program(const char *const *argv, const char *cwd, struct err *e)
{
	auto_buf out = BUF_INIT(MAX_OUTPUT);
	struct proc_opts o = {.argv = argv, .cwd = cwd, .out = &out, .errout = &out, .deadline_ms = COMMAND_MS};
	int status = proc_run(&o, e);
	if (status < 0)
		return -1;
	struct str said = str_trim(buf_str(&out));
	return status == 0 ? 0
			   : err_new(e, ERR_FAILED, "'%s' ended with %d: %.*s", argv[0], status,
				     STR_ARG(str_head(said, 400)));
}

/* -- taking ------------------------------------------------------------------------------------------------------- */

static int copy_state(const char *from, const char *to, struct err *e)
{
	const char *const argv[] = {"cp", "-a", "--reflink=auto", "-T", "--", from, to, NULL};
	return run_program(argv, NULL, e);
}

/* The component's own command, in the prefix that it belongs to. */
static int run_command(const struct str *words, uint32_t n, const char *prefix, const char *folder, struct arena *a,
		       struct err *e)
{
	const char **argv = arena_array(a, const char *, (size_t)n + 1);
	for (uint32_t i = 0; i < n; i++) {
		ptrdiff_t at = str_search(words[i], STR("{checkpoint}"));
		const char *word = arena_strdup(a, words[i]);
		if (at >= 0)
			word = arena_printf(a, "%.*s%s%.*s", (int)at, words[i].p, folder,
					    STR_ARG(str_skip(words[i], (size_t)at + sizeof("{checkpoint}") - 1)));
		argv[i] = i == 0 && word[0] != '/' ? arena_printf(a, "%s/%s", prefix, word) : word;
	}
	return run_program(argv, prefix, e);
}

static int take_one(const struct run *r, struct arena *a, const struct state_decl *s, const char *prefix, struct jw *w,
		    struct err *e)
{
	const char *folder = arena_printf(a, "%s/%.*s.%.*s", folder_of(r, a), STR_ARG(s->component), STR_ARG(s->name));
	const char *path = arena_printf(a, "%s/%s", r->o->root_path, folder);
	const char *from = arena_strdup(a, s->path);
	bool there = s->method == STATE_COMMAND || fs_exists(AT_FDCWD, from);
	if (fs_remove_tree(r->o->root_fd, folder, e) < 0 || fs_mkdirs(r->o->root_fd, folder, 0700, e) < 0)
		return -1;
	int rc = s->method == STATE_COMMAND ? run_command(s->checkpoint, s->checkpoint_n, prefix, path, a, e)
		 : there		    ? copy_state(from, arena_printf(a, "%s/data", path), e)
					    : 0;
	if (rc < 0)
		return err_ctx(e, "checkpoint of '%.*s' of component '%.*s'", STR_ARG(s->name), STR_ARG(s->component));
	jw_object(w);
	jw_kv_str(w, "component", s->component);
	jw_kv_str(w, "name", s->name);
	jw_kv_str(w, "format", s->format);
	jw_kv_c(w, "folder", path);
	jw_kv_c(w, "prefix", prefix);
	jw_kv_str(w, "path", s->path);
	jw_kv_bool(w, "copy", s->method == STATE_COPY);
	jw_kv_bool(w, "there", there);
	jw_kv_bool(w, "restore_on_abort", s->on_abort == STATE_ON_ABORT_RESTORE);
	jw_kv_list(w, "restore", s->restore, s->restore_n);
	jw_object_end(w);
	return 0;
}

static int take_all(const struct run *r, struct arena *a, const char *prefix, struct jw *w, size_t *ret_n,
		    struct err *e)
{
	struct component *c;
	size_t n;
	if (component_read_all(a, prefix, &c, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < c[i].states_n; k++, ++*ret_n)
			if (take_one(r, a, &c[i].states[k], prefix, w, e) < 0)
				return -1;
	return 0;
}

static int write_manifest(const struct run *r, struct arena *a, const struct buf *b, struct err *e)
{
	const char *dir = folder_of(r, a);
	auto_fd fd = fs_open_dir(r->o->root_fd, dir, e);
	if (fd < 0)
		return -1;
	if (sys_syncfs(fd) < 0)
		return err_sys(e, "sync '%s'", dir);
	return fs_replace(fd, "checkpoint.json", b->p, b->n, FS_REPLACE_SYNC | FS_REPLACE_SECRET, e);
}

int checkpoint_take(const struct run *r, uint32_t from, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(MAX_MANIFEST);
	struct jw w = JW_INIT(&b, 1);
	size_t n = 0;
	if (!from || fs_exists(r->o->root_fd, arena_printf(&a, "%s/checkpoint.json", folder_of(r, &a))))
		return 0;
	const char *prefix = arena_printf(&a, "%s/env/%.*s/%u", r->o->root_path, STR_ARG(r->o->env), from);
	jw_array(&w);
	if (take_all(r, &a, prefix, &w, &n, e) < 0)
		return -1;
	jw_array_end(&w);
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "the checkpoints of '%.*s' are more than can be described",
			       STR_ARG(r->o->env));
	return n ? write_manifest(r, &a, &b, e) : 0;
}

/* -- putting back ------------------------------------------------------------------------------------------------- */

static int sync_file_system(const char *path, struct err *e)
{
	auto_fd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || sys_syncfs(fd) < 0 ? err_sys(e, "sync '%s'", path) : 0;
}

/* Beside it, then in its place: at any moment, and after a power cut, the old or the new is there, whole. */
static int replace_state(struct arena *a, struct str path, struct str folder, bool there, struct err *e)
{
	const char *to = arena_strdup(a, path), *fresh = arena_printf(a, "%s.slipway-restore", to);
	const char *data = arena_printf(a, "%.*s/data", STR_ARG(folder));
	const char *slash = strrchr(to, '/');
	const char *parent = slash > to ? arena_printf(a, "%.*s", (int)(slash - to), to) : "/";
	if (fs_remove_tree(AT_FDCWD, fresh, e) < 0)
		return -1;
	if (!there)
		return fs_remove_tree(AT_FDCWD, to, e) < 0 ? -1 : fs_sync_dir(AT_FDCWD, parent, e);
	if (copy_state(data, fresh, e) < 0 || sync_file_system(parent, e) < 0)
		return -1;
	if (fs_exists(AT_FDCWD, to) ? sys_renameat2(AT_FDCWD, fresh, AT_FDCWD, to, 1 << 1 /* RENAME_EXCHANGE */) < 0
				    : sys_renameat(AT_FDCWD, fresh, AT_FDCWD, to) < 0)
		return err_sys(e, "put '%s' back", to);
	return fs_sync_dir(AT_FDCWD, parent, e) < 0 ? -1 : fs_remove_tree(AT_FDCWD, fresh, e);
}

static int read_list(const struct json *j, struct arena *a, const char *key, struct str **ret, uint32_t *ret_n,
		     struct err *e)
{
	const struct json *list = NULL;
	if (json_opt_array(j, key, &list, e) < 0)
		return -1;
	*ret_n = list ? list->n : 0;
	*ret = arena_array(a, struct str, *ret_n);
	for (uint32_t i = 0; i < *ret_n; i++)
		(*ret)[i] = list->item[i].type == JSON_STRING ? list->item[i].string : STR_NONE;
	return 0;
}

static int restore_one(const struct run *r, struct arena *a, const struct json *j, struct err *e)
{
	struct str component, name, folder, prefix, path, *words;
	bool copy = false, there = false, wanted = false;
	uint32_t n;
	if (json_get_str(j, "component", &component, e) < 0 || json_get_str(j, "name", &name, e) < 0 ||
	    json_get_str(j, "folder", &folder, e) < 0 || json_get_str(j, "prefix", &prefix, e) < 0 ||
	    json_get_str(j, "path", &path, e) < 0 || json_opt_bool(j, "copy", &copy, e) < 0 ||
	    json_opt_bool(j, "there", &there, e) < 0 || json_opt_bool(j, "restore_on_abort", &wanted, e) < 0 ||
	    read_list(j, a, "restore", &words, &n, e) < 0)
		return -1;
	if (!wanted) {
		run_note(r, "'%.*s' of component '%.*s' stays as the new version left it; its checkpoint is '%.*s'",
			 STR_ARG(name), STR_ARG(component), STR_ARG(folder));
		return 0;
	}
	int rc = copy ? replace_state(a, path, folder, there, e)
		 : n  ? run_command(words, n, arena_strdup(a, prefix), arena_strdup(a, folder), a, e)
		      : 0;
	if (rc < 0)
		return err_ctx(e, "put '%.*s' of component '%.*s' back from '%.*s'", STR_ARG(name), STR_ARG(component),
			       STR_ARG(folder));
	run_note(r, "'%.*s' of component '%.*s' is as it was before the activation", STR_ARG(name), STR_ARG(component));
	return 0;
}

/* 1: there is one to put back. */
static int wanted_in(const struct json *j, struct err *e)
{
	bool any = false;
	for (uint32_t i = 0; j->type == JSON_ARRAY && i < j->n; i++) {
		bool wanted = false;
		if (json_opt_bool(&j->item[i], "restore_on_abort", &wanted, e) < 0)
			return -1;
		any |= wanted;
	}
	return any;
}

/* 1 and the manifest, or 0 where there is none. */
static int read_manifest(const struct run *r, struct arena *a, const struct json **ret, struct err *e)
{
	auto_buf b = BUF_INIT(MAX_MANIFEST);
	struct err gone = ERR_INIT;
	const char *file = arena_printf(a, "%s/checkpoint.json", folder_of(r, a));
	if (r->q->keep_state || !r->op.id.n)
		return 0;
	if (fs_read(r->o->root_fd, file, &b, &gone) < 0)
		return gone.code == ERR_NOT_FOUND ? 0 : (*e = gone, -1);
	*ret = json_parse(a, arena_str(a, buf_str(&b)), file, e);
	return *ret ? 1 : -1;
}

int checkpoint_wanted(const struct run *r, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct json *j;
	int rc = read_manifest(r, &a, &j, e);
	return rc <= 0 ? rc : wanted_in(j, e);
}

int checkpoint_restore(const struct run *r, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct json *j;
	int rc = read_manifest(r, &a, &j, e);
	if (rc <= 0)
		return rc;
	for (uint32_t i = 0; j->type == JSON_ARRAY && i < j->n; i++)
		if (restore_one(r, &a, &j->item[i], e) < 0)
			return -1;
	return 0;
}

int checkpoint_sweep(const struct run *r, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *dir = arena_printf(&a, "checkpoint/%.*s", STR_ARG(r->o->env));
	return fs_exists(r->o->root_fd, dir) ? fs_remove_tree(r->o->root_fd, dir, e) : 0;
}

/* What says that there is something to put back goes first: half a checkpoint must never be put back. */
int checkpoint_forget(const struct run *r, struct err *e)
{
	auto_arena a = ARENA_INIT;
	if (!r->op.id.n)
		return 0;
	const char *dir = folder_of(r, &a);
	if (fs_exists(r->o->root_fd, dir) &&
	    (fs_remove_tree(r->o->root_fd, arena_printf(&a, "%s/checkpoint.json", dir), e) < 0 ||
	     fs_sync_dir(r->o->root_fd, dir, e) < 0))
		return -1;
	return checkpoint_sweep(r, e); /* an environment has one operation at a time */
}
