// SPDX-License-Identifier: Apache-2.0
/*
 * A channel's TUF repository, in its tree: what a publication changed is signed.
 *  1. What waited for signatures and has them now is published as it was signed.
 *  2. Each pointer gets another name in tuf/targets, that of its digest. Raw readers see pointers as they are in the tree, readers of signed
 *     metadata these names alone: whatever is renamed meanwhile, what they fetch is what was signed.
 *  3. targets, snapshot, timestamp.json (tuf/tuf.h): from then on the new state is the signed one. What it named before stays for a day.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"
#include "mirror/mirror.h"

enum { KEEP_S = 24 * 3600, NAMES_MAX = 1 << 22, VERSIONS_KEPT = 2 };
#define METADATA CHANNEL_SIGNED "/metadata"
#define TARGETS CHANNEL_SIGNED "/targets"

bool mirror_is_signed(int tree_fd)
{
	auto_fs_list l = {0};
	struct err ignored = ERR_INIT;
	if (fs_list(tree_fd, METADATA, NAMES_MAX, &l, &ignored) < 0)
		return false;
	for (size_t i = 0; i < l.n; i++) {
		struct str name = str_c(l.name[i]);
		uint64_t version;
		if (str_take_u64(&name, &version) && str_eq(name, STR(".root.json")))
			return true;
	}
	return false;
}

struct signing {
	const struct mirror_sign_opts *o;
	struct arena *a;
	int tree, metadata, targets;
	struct tuf_keeper *keeper;
};

static void signing_release(struct signing *s)
{
	tuf_keeper_free(s->keeper);
	cleanup_fd(&s->tree);
	cleanup_fd(&s->metadata);
	cleanup_fd(&s->targets);
}
#define auto_signing cleanup_with(signing_release) struct signing

static bool is_pointer(void *ctx, const char *path)
{
	const struct signing *s = ctx;
	return !str_starts(str_c(path), STR(CHANNEL_SIGNED "/")) &&
	       channel_kind_file(s->o->kind, str_c(path)) == CHANNEL_FILE_POINTER;
}

static bool waits(struct signing *s)
{
	struct tuf_role_status *v;
	size_t n;
	bool any = false;
	tuf_keeper_status(s->keeper, s->a, &v, &n);
	for (size_t i = 0; i < n; i++)
		any |= v[i].staged_version > 0;
	return any;
}

static void add(struct tuf_commit *to, const struct tuf_commit *more, struct arena *a)
{
	struct tuf_signed *v = arena_array(a, struct tuf_signed, to->n + more->n + 1);
	if (to->n)
		memcpy(v, to->v, to->n * sizeof(*v));
	if (more->n)
		memcpy(v + to->n, more->v, more->n * sizeof(*v));
	*to = (struct tuf_commit){v, to->n + more->n};
}

static int sign_pointers(struct signing *s, struct tuf_commit *ret, struct err *e)
{
	struct tuf_file *before, *v;
	struct tuf_commit more;
	size_t before_n, n;
	if (tuf_keeper_targets(s->keeper, STR("targets"), s->a, &before, &before_n, e) < 0)
		return -1;
	int rc = s->o->dry_run ? tuf_files_of(s->tree, is_pointer, s, s->a, &v, &n, e)
			       : tuf_files_take(s->tree, is_pointer, s, before, before_n, s->targets, s->a, &v, &n, e);
	if (rc < 0 || tuf_keeper_set_targets(s->keeper, STR("targets"), v, n, e) < 0 ||
	    tuf_keeper_commit(s->keeper, s->a, &more, e) < 0)
		return -1;
	add(ret, &more, s->a);
	/* what waits is a reason to keep all of it, and so is what was signed just before */
	if (!s->o->dry_run && !waits(s))
		tuf_files_tidy(s->targets, v, n, KEEP_S);
	return 0;
}

/* Versions that nobody is on his way with any more; roots stay, for clients that were away long. */
static void tidy_versions(const struct signing *s)
{
	auto_fs_list l = {0};
	struct err ignored = ERR_INIT;
	struct tuf_role_status *v;
	size_t n;
	int64_t before_s = clock_wall_ms() / 1000 - KEEP_S;
	tuf_keeper_status(s->keeper, s->a, &v, &n);
	if (fs_list(s->metadata, ".", NAMES_MAX, &l, &ignored) < 0)
		return;
	for (size_t i = 0; i < l.n; i++) {
		struct str rest = str_c(l.name[i]);
		struct stat st;
		uint64_t version;
		if (!str_take_u64(&rest, &version) || !str_take_char(&rest, '.') || !str_ends(rest, STR(".json")))
			continue;
		rest.n -= strlen(".json");
		for (size_t k = 0; k < n; k++)
			if (str_eq(v[k].role, rest) && !str_eq(rest, STR("root")) &&
			    (int64_t)version + VERSIONS_KEPT <= v[k].version &&
			    fstatat(s->metadata, l.name[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			    st.st_mtim.tv_sec < before_s)
				(void)sys_unlinkat(s->metadata, l.name[i], 0);
	}
}

static int open_keeper(struct signing *s, struct err *e)
{
	const struct mirror_sign_opts *o = s->o;
	struct tuf_keeper_opts k = TUF_KEEPER_OPTS_INIT;
	k.dir_fd = s->metadata;
	k.keys_fd = o->keys_fd, k.keys_n = o->keys_n;
	k.dry_run = o->dry_run;
	k.passphrase = o->passphrase;
	if (o->clock)
		k.clock = o->clock;
	return tuf_keeper_open(&k, &s->keeper, e);
}

static int sign(struct signing *s, struct mirror_signed *ret, struct err *e)
{
	if ((s->metadata = fs_open_dir(s->tree, METADATA, e)) < 0 ||
	    (!s->o->dry_run && (s->targets = fs_open_dir_make(s->tree, TARGETS, e)) < 0) || open_keeper(s, e) < 0)
		return -1;
	ret->commit = (struct tuf_commit){0};
	if (waits(s) && tuf_keeper_commit(s->keeper, s->a, &ret->commit, e) < 0)
		return -1;
	if (sign_pointers(s, &ret->commit, e) < 0)
		return -1;
	tuf_keeper_status(s->keeper, s->a, &ret->role, &ret->role_n);
	ret->waits = waits(s);
	if (!s->o->dry_run)
		tidy_versions(s);
	return 0;
}

int mirror_sign(const char *folder, const struct mirror_sign_opts *o, struct arena *a, struct mirror_signed *ret,
		struct err *e)
{
	auto_signing s = {.o = o, .a = a, .metadata = -1, .targets = -1};
	*ret = (struct mirror_signed){0};
	s.tree = fs_open_dir(AT_FDCWD, folder, e);
	if (s.tree < 0)
		return err_ctx(e, "channel folder '%s'", folder);
	/* a first root that several people sign waits there */
	if (!mirror_is_signed(s.tree) && !fs_exists(s.tree, METADATA "/.staged/root.json"))
		return 0;
	return sign(&s, ret, e) < 0 ? err_ctx(e, "sign '%s'", folder) : 1;
}

/* -- the first time ---------------------------------------------------------------------------------------------------- */

int mirror_sign_create(const char *folder, const struct mirror_sign_opts *o, struct err *e)
{
	static const char *const roles[] = {"root", "targets", "snapshot", "timestamp"};
	auto_signing s = {.o = o, .metadata = -1, .targets = -1};
	auto_arena a = ARENA_INIT;
	struct tuf_commit done;
	s.tree = fs_open_dir(AT_FDCWD, folder, e);
	if (s.tree < 0)
		return err_ctx(e, "channel folder '%s'", folder);
	if (mirror_is_signed(s.tree))
		return err_new(e, ERR_EXISTS, "'%s' is signed already; 'slipway tuf rotate' changes its keys", folder);
	if (o->dry_run)
		return 0;
	if (o->keys_n == 0)
		return err_new(e, ERR_USAGE, "no folder for the keys of '%s'", folder);
	if ((s.metadata = fs_open_dir_make(s.tree, METADATA, e)) < 0 || open_keeper(&s, e) < 0)
		return err_ctx(e, "sign '%s'", folder);
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		struct tuf_public_key key;
		const struct tuf_role_plan plan = {&key, 1, 1, 0};
		if (tuf_key_make(TUF_ED25519, o->keys_fd[0], &a, &key, e) < 0 ||
		    tuf_keeper_role(s.keeper, str_c(roles[i]), &plan, e) < 0)
			return err_ctx(e, "keys of '%s'", folder);
	}
	return tuf_keeper_commit(s.keeper, &a, &done, e) < 0 ? err_ctx(e, "sign '%s'", folder) : 0;
}
