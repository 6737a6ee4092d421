// SPDX-License-Identifier: Apache-2.0
/* Built packages found again in the steps of a run (build/opam_reuse.h). */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam.h"
#include "build/opam_reuse_key.h"

enum { WAIT_MS = 50, RELEASE_MAX = 1 << 16 };

/* == ahead ================================================================================================================== */

/* A guess by what is kept: whether i is there, and what it will put into the prefix. */
static void guess(struct opam_run *r, size_t i)
{
	struct opam_reused *u = &r->reuse.v[i];
	const struct pkg_opam *o = r->o->packages[i].opam;
	struct err why = ERR_INIT;
	auto_arena a = ARENA_INIT;
	char key[65];
	struct str text;
	struct env_opam_tree t;
	if (opam_reuse_is_empty(&r->o->packages[i])) {
		opam_content_digest(&(struct env_opam_tree){0}, u->content);
		return;
	}
	if (!opam_reuse_key(r, i, true, &a, key, &text) || opam_kept_read(&r->reuse.kept, key, &a, &t, &why) < 0)
		return;
	opam_content_digest(&t, u->content);
	u->expected = !(o->flags & PKG_OPAM_CONF);
}

/* 1 where all that it needs is known; 0 not yet; -1 something is not there, and nothing can be said. */
static int are_needs_known(const struct opam_run *r, size_t i)
{
	const struct build_opam_package *p = &r->o->packages[i];
	int known = 1;
	for (size_t k = 0; k < p->n_needs; k++) {
		size_t at = p->needs[k];
		if (at >= r->o->n || at == i || !r->o->packages[at].install)
			continue;
		if (!r->reuse.v[at].looked_for)
			known = 0;
		else if (!r->reuse.v[at].content[0])
			return -1;
	}
	return known;
}

static void look_ahead(struct opam_run *r)
{
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < r->o->n; i++) {
			if (!r->o->packages[i].install || r->reuse.v[i].looked_for)
				continue;
			int known = are_needs_known(r, i);
			if (known > 0)
				guess(r, i);
			r->reuse.v[i].looked_for = known != 0;
			more = more || known != 0;
		}
	}
}

int opam_reuse_begin(struct opam_run *r, struct err *e)
{
	const struct build_opam_opts *o = r->o;
	struct opam_reuse *u = &r->reuse;
	struct err ignored = ERR_INIT;
	auto_buf release = BUF_INIT(RELEASE_MAX);
	u->kept = (struct opam_kept){.fd = -1, .lock_fd = -1};
	u->v = arena_array(r->arena, struct opam_reused, o->n);
	for (size_t i = 0; i < o->n; i++)
		u->v[i].lock_fd = -1;
	u->on = o->kept != NULL;
	if (!u->on)
		return 0;
	if (opam_kept_open(&u->kept, o->kept, e) < 0)
		return -1;
	u->programs = xcalloc(1, sizeof(struct map));
	u->contents = xcalloc(1, sizeof(struct map));
	fs_read(AT_FDCWD, "/etc/os-release", &release, &ignored);
	u->release = arena_str(r->arena, buf_str(&release));
	if (!o->anew)
		look_ahead(r);
	return 0;
}

static void free_map(struct map *m)
{
	if (m)
		map_release(m);
	free(m);
}

void opam_reuse_end(struct opam_run *r)
{
	for (size_t i = 0; r->reuse.v && i < r->o->n; i++)
		cleanup_fd(&r->reuse.v[i].lock_fd);
	if (r->reuse.on)
		opam_kept_close(&r->reuse.kept);
	free_map(r->reuse.programs);
	free_map(r->reuse.contents);
	free_map(r->reuse.system);
	r->reuse.on = false;
}

/* == in the steps ============================================================================================================ */

static int take(struct opam_run *r, size_t i, struct arena *a, struct err *e)
{
	struct opam_reused *u = &r->reuse.v[i];
	pthread_mutex_lock(&r->state);
	unsigned number = r->made++;
	pthread_mutex_unlock(&r->state);
	const char *name = arena_printf(a, "kept-%u", number);
	if (sys_mkdirat(r->scratch_fd, name, 0755) < 0)
		return err_sys(e, "make '%s/%s'", r->scratch, name);
	auto_fd dir = fs_open_dir(r->scratch_fd, name, e);
	auto_arena own = ARENA_INIT;
	struct env_opam_tree t;
	int rc = dir < 0 ? -1 : opam_kept_take(&r->reuse.kept, u->key, dir, &own, &t, e);
	if (rc > 0) {
		auto_buf list = BUF_INIT(BUF_MAX);
		env_opam_tree_print(&t, &list);
		pthread_mutex_lock(&r->state);
		u->dir = arena_strdup(r->arena, str_c(name));
		rc = env_opam_tree_parse(r->arena, arena_str(r->arena, buf_str(&list)), name, &u->tree, e) < 0 ? -1 : 1;
		pthread_mutex_unlock(&r->state);
		u->found = rc > 0;
		return rc;
	}
	struct err ignored = ERR_INIT; /* the end of the run removes it */
	fs_remove_tree(r->scratch_fd, name, &ignored);
	return rc;
}

static bool is_cancelled(const struct opam_run *r, int wait_ms)
{
	struct pollfd p = {.fd = r->o->cancel_fd, .events = POLLIN};
	return poll(&p, r->o->cancel_fd >= 0, wait_ms) > 0;
}

/* A package of this run is being built, and others may wait for it. */
static bool holds_any(struct opam_run *r)
{
	bool any = false;
	pthread_mutex_lock(&r->state);
	for (size_t i = 0; i < r->o->n; i++)
		any = any || r->reuse.v[i].lock_fd >= 0;
	pthread_mutex_unlock(&r->state);
	return any;
}

int opam_reuse_find(struct opam_run *r, size_t i, struct arena *a, struct err *e)
{
	const struct pkg_opam *o = r->o->packages[i].opam;
	struct opam_reused *u = &r->reuse.v[i];
	struct str text;
	if (!r->reuse.on || opam_reuse_is_empty(&r->o->packages[i]))
		return 0;
	pthread_mutex_lock(&r->state);
	u->keyed = opam_reuse_key(r, i, false, a, u->key, &text);
	if (u->keyed)
		u->text = arena_str(r->arena, text);
	pthread_mutex_unlock(&r->state);
	if (!u->keyed || r->o->anew || (o->flags & PKG_OPAM_CONF))
		return 0;
	for (;;) { /* who builds it is waited for */
		int rc = take(r, i, a, e);
		if (rc != 0)
			return rc;
		auto_fd lock = -1;
		rc = opam_kept_lock(&r->reuse.kept, u->key, &lock, e);
		if (rc < 0)
			return -1;
		pthread_mutex_lock(&r->state); /* for holds_any, which other threads ask */
		u->lock_fd = steal_fd(&lock);
		pthread_mutex_unlock(&r->state);
		if (rc > 0)
			return opam_kept_has(&r->reuse.kept, u->key) ? take(r, i, a, e) : 0;
		if (holds_any(r)) /* two runs might wait for each other: then both build it */
			return 0;
		if (is_cancelled(r, WAIT_MS))
			return err_new(e, ERR_FAILED, "cancelled");
	}
}

int opam_reuse_lay(struct opam_run *r, size_t i, struct err *e)
{
	const struct opam_reused *u = &r->reuse.v[i];
	auto_fd dir = fs_open_dir(r->scratch_fd, u->dir, e);
	return dir < 0 ? -1 : env_opam_tree_move(dir, r->o->sw, &u->tree, e);
}

void opam_reuse_installed(struct opam_run *r, size_t i, const struct env_opam_changes *c)
{
	const struct build_opam_package *p = &r->o->packages[i];
	struct opam_reused *u = &r->reuse.v[i];
	struct err why = ERR_INIT;
	struct env_opam_tree t;
	char content[65];
	auto_arena a = ARENA_INIT;
	if (!r->reuse.on)
		return;
	if (u->found)
		r->reuse.n_reused++;
	int rc = env_opam_tree_of(r->o->sw, p->name, c, &a, &t, &why);
	if (rc >= 0) {
		opam_content_digest(&t, content);
		opam_content_remember(r, p->name, p->version, c, content);
	}
	if (rc > 0 && u->keyed && !u->found)
		rc = opam_kept_put(&r->reuse.kept, u->key, u->text, &t, env_opam_prefix_fd(r->o->sw), r->o->anew, &why);
	else if (rc > 0)
		rc = 0;
	if (rc > 0)
		r->reuse.n_kept++;
	if (rc < 0 && !r->reuse.not_kept)
		r->reuse.not_kept =
			arena_printf(r->arena, "%.*s.%.*s: %s", STR_ARG(p->name), STR_ARG(p->version), why.msg);
	cleanup_fd(&u->lock_fd);
}

void opam_reuse_forget(struct opam_run *r, size_t i)
{
	const struct build_opam_package *p = &r->o->packages[i];
	if (!r->reuse.on)
		return;
	pthread_mutex_lock(&r->state);
	opam_content_forget(r, p->name, p->version);
	cleanup_fd(&r->reuse.v[i].lock_fd);
	pthread_mutex_unlock(&r->state);
}
