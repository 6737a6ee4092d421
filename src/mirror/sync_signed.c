// SPDX-License-Identifier: Apache-2.0
/*
 * A sync of a channel that is signed as a whole (tufRoot in its file):
 *  1. Its signed metadata come first and are verified, by the root that is pinned; what fails there ends the sync, and nothing is switched.
 *  2. Pointers come as the targets that were signed, and no other way; all else is bound through them.
 *  3. The metadata are carried on as they came: targets under their digests and versioned metadata before the pointers, timestamp.json last.
 *
 * .slipway/tuf/ holds what tuf's client trusts; new/ in it is what came, by name; `pinned` the digest of the root in use.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "mirror/config.h"
#include "mirror/sync.h"
#include "repo/repo.h"

enum {
	STEP_MS = 500,
	ROOT_MAX = 512 << 10,
	META_MAX = 64 << 20,
	NAMES_MAX = 100000,
	KEEP_S = 24 * 3600,
	ROOTS_MAX = 1000
};
#define TRUSTED "tuf"
#define CAME "new"
#define MADE_ANEW "made-anew" /* what is served is not what was signed */
#define METADATA CHANNEL_SIGNED "/metadata"
#define TARGETS CHANNEL_SIGNED "/targets"

VEC_TYPE(tuf_file_vec, struct tuf_file);
struct sync_signed {
	int trusted;
	struct repo *repo;
	struct tuf_file_vec carried; /* pointers that were staged; paths in the sync's arena */
};

/* -- metadata ----------------------------------------------------------------------------------------------------------- */

static void on_end(struct get *g, void *ctx)
{
	(void)g;
	*(bool *)ctx = true;
}

static int read_all(int fd, struct buf *ret, struct err *e)
{
	for (off_t at = 0;;) {
		char chunk[1 << 14];
		ssize_t n = pread(fd, chunk, sizeof(chunk), at);
		if (n < 0)
			return err_sys(e, "read a download");
		if (n == 0 || ret->overflow)
			return 0;
		buf_put(ret, chunk, (size_t)n);
		at += n;
	}
}

static int fetch(void *ctx, const char *name, struct buf *ret, struct err *e)
{
	struct sync *s = ctx;
	bool done = false;
	auto_free char *path = xasprintf(METADATA "/%s", name);
	auto_fd fd = memfd_create("metadata", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "memory for a download");
	/* a root that there may not be yet need not be asked of all of them */
	struct get g = {.path = str_c(path),
			.label = path,
			.fd = fd,
			.max_bytes = ret->max,
			.prefer = s->prefer,
			.optional = str_ends(str_c(name), STR(".root.json")),
			.validators_of = -1,
			.done = on_end,
			.ctx = &done};
	fetcher_add(s->meta, &g);
	while (!done) {
		if (sync_stopped(s))
			fetcher_cancel(s->meta);
		else if (fetcher_step(s->meta, STEP_MS, e) < 0) {
			fetcher_cancel(s->meta);
			return -1;
		}
	}
	if (sync_stopped(s))
		return err_new(e, ERR_FAILED, "interrupted");
	if (g.err.code != ERR_NONE)
		return *e = g.err, -1;
	if (s->prefer < 0 && g.upstream >= 0)
		s->prefer = g.upstream; /* signed metadata of one server fit its pointers */
	s->res->metadata_files++;
	s->res->metadata_bytes += g.got_bytes;
	return read_all(fd, ret, e);
}

/* What is verified a moment later, or lies here unused. */
static void came(void *ctx, const char *name, struct str bytes)
{
	const struct sync *s = ctx;
	struct err ignored = ERR_INIT;
	auto_free char *path = xasprintf(CAME "/%s", name);
	if (!s->o->dry_run)
		(void)fs_replace(s->tuf->trusted, path, bytes.p, bytes.n, 0, &ignored);
}

/* The root in the channel's file, where it is not the one that is in use already. */
static int pin(struct sync *s, struct err *e)
{
	auto_buf root = BUF_INIT(ROOT_MAX), had = BUF_INIT(SHA256_HEX_SIZE);
	const char *file = s->p.c->tuf_root.p;
	struct err ignored = ERR_INIT;
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	if (fs_read(AT_FDCWD, file, &root, e) < 0)
		return err_ctx(e, "tufRoot '%s'", file);
	sha256(root.p, root.n, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	if (fs_exists(s->tuf->trusted, "root.json") && fs_read(s->tuf->trusted, "pinned", &had, &ignored) == 0 &&
	    str_eq_c(buf_str(&had), hex))
		return 0;
	if (tuf_client_init(s->tuf->trusted, buf_str(&root), e) < 0)
		return err_ctx(e, "tufRoot '%s'", file);
	return fs_replace(s->tuf->trusted, "pinned", hex, strlen(hex), FS_REPLACE_SYNC, e);
}

/* Roots before the one that was pinned, for clients that pinned an earlier one. Nobody here can say whether they were the keeper's; a
 * client that has the wrong one in its hands can. What is not to be had is not carried. */
static int bring_first_roots(struct sync *s, struct err *e)
{
	int64_t newest = repo_state(s->tuf->repo).root;
	for (int64_t n = 1; n < newest && n <= ROOTS_MAX; n++) {
		auto_arena a = ARENA_INIT;
		auto_buf b = BUF_INIT(ROOT_MAX);
		struct tuf_root_info info;
		struct err other = ERR_INIT;
		auto_free char *name = xasprintf("%lld.root.json", (long long)n);
		auto_free char *carried = xasprintf(METADATA "/%s", name), *here = xasprintf(CAME "/%s", name);
		if (fs_exists(s->p.tree, carried) || fs_exists(s->tuf->trusted, here))
			continue;
		if (fetch(s, name, &b, &other) == 0 && tuf_root_read(buf_str(&b), &a, &info, &other) == 0 &&
		    info.version == n)
			came(s, name, buf_str(&b));
		if (sync_stopped(s))
			return err_new(e, ERR_FAILED, "interrupted");
	}
	return 0;
}

int sync_signed_begin(struct sync *s, struct err *e)
{
	struct repo_opts o = REPO_OPTS_INIT;
	if (!s->p.c->tuf_root.n)
		return 0;
	s->tuf = xcalloc(1, sizeof(*s->tuf));
	s->tuf->trusted = fs_open_dir_make(s->p.work, TRUSTED, e);
	if (s->tuf->trusted < 0 || fs_mkdirs(s->tuf->trusted, CAME, 0755, e) < 0 || pin(s, e) < 0)
		return -1;
	o.dir_fd = s->tuf->trusted;
	o.clock = s->clock;
	o.keep_nothing = s->o->dry_run;
	o.label = "signed metadata";
	o.fetch = fetch, o.fetch_ctx = s;
	o.came = came, o.came_ctx = s;
	if (repo_open(&o, &s->tuf->repo, e) < 0 || repo_refresh(s->tuf->repo, e) < 0)
		return -1;
	return s->o->dry_run ? 0 : bring_first_roots(s, e);
}

void sync_signed_end(struct sync *s)
{
	if (!s->tuf)
		return;
	repo_free(s->tuf->repo);
	cleanup_fd(&s->tuf->trusted);
	vec_release(&s->tuf->carried);
	free(s->tuf);
	s->tuf = NULL;
}

/* -- pointers ----------------------------------------------------------------------------------------------------------- */

int sync_signed_item(struct sync *s, const struct channel_item *it, struct channel_item *ret, struct err *e)
{
	struct tuf_target t;
	int rc = repo_target(s->tuf->repo, it->path, &t, e);
	if (rc <= 0)
		return rc;
	if (!t.has_sha256)
		return err_new(e, ERR_UNSUPPORTED, "'%.*s' is signed without a SHA-256, which channels need",
			       STR_ARG(it->path));
	*ret = *it;
	ret->url = str_c(arena_printf(&s->own, TARGETS "/%s", t.url_path));
	ret->size = t.length;
	ret->digest = (struct digest_value){.kind = DIGEST_SHA256, .known = true};
	memcpy(ret->digest.bytes, t.sha256, SHA256_SIZE);
	struct tuf_file f = {.path = arena_str(&s->own, it->path), .length = t.length};
	memcpy(f.sha256, t.sha256, SHA256_SIZE);
	vec_push(&s->tuf->carried, f);
	return 1;
}

/* -- carried on --------------------------------------------------------------------------------------------------------- */

static int put_metadata(struct sync *s, const char *name, struct str bytes, struct err *e)
{
	auto_free char *path = xasprintf(METADATA "/%s", name);
	return fs_replace(s->p.tree, path, bytes.p, bytes.n, FS_REPLACE_SYNC, e);
}

/* A role's file as it is trusted, under the name that clients ask for. */
static int put_trusted(struct sync *s, const char *role, int64_t version, struct err *e)
{
	auto_buf b = BUF_INIT(META_MAX);
	auto_free char *kept = xasprintf("%s.json", role);
	auto_free char *name = version ? xasprintf("%lld.%s.json", (long long)version, role)
				       : xasprintf("%s.json", role);
	return fs_read(s->tuf->trusted, kept, &b, e) < 0 ? -1 : put_metadata(s, name, buf_str(&b), e);
}

/* Roots up to the one in use, each of which was verified by the one before; and of delegated roles what is trusted. */
static int put_came(struct sync *s, const char *file, struct err *e)
{
	auto_buf b = BUF_INIT(META_MAX), kept = BUF_INIT(META_MAX);
	auto_free char *path = xasprintf(CAME "/%s", file);
	struct str role = str_c(file);
	struct err other = ERR_INIT;
	uint64_t version;
	if (file[0] == '.' || !str_take_u64(&role, &version) || !str_take_char(&role, '.') ||
	    fs_read(s->tuf->trusted, path, &b, &other) < 0)
		return 0;
	auto_free char *name = str_dup(role);
	bool good = str_eq(role, STR("root.json"))
			    ? (int64_t)version <= repo_state(s->tuf->repo).root
			    : fs_read(s->tuf->trusted, name, &kept, &other) == 0 && str_eq(buf_str(&kept), buf_str(&b));
	return good ? put_metadata(s, file, buf_str(&b), e) : 0;
}

static int put_all_came(struct sync *s, struct err *e)
{
	auto_fs_list l = {0};
	if (fs_list(s->tuf->trusted, CAME, NAMES_MAX, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++)
		if (put_came(s, l.name[i], e) < 0)
			return -1;
	return 0;
}

static int put_targets(struct sync *s, struct err *e)
{
	auto_fd to = fs_open_dir_make(s->p.tree, TARGETS, e);
	if (to < 0)
		return -1;
	vec_foreach(f, &s->tuf->carried) {
		auto_free char *from = str_dup(f->path), *name = tuf_file_name(f);
		if (fs_exists(s->staging, from) && place_link(s->staging, from, to, name, e) < 0)
			return -1;
	}
	return sys_syncfs(to) < 0 ? err_sys(e, "sync the signed targets") : 0;
}

int sync_signed_carry(struct sync *s, bool made_anew, struct err *e)
{
	if (!s->tuf)
		return 0;
	if (made_anew) {
		progress_send(
			s->o->progress,
			(struct progress_event){
				.kind = PROGRESS_NOTE,
				.phase = "sync",
				.id = s->p.c->name.n ? s->p.c->name.p : "channel",
				.text = "only a part is held, for which metadata are made here: what signs the whole is not "
					"carried on, so clients that have pinned its root take nothing from here"});
		if (fs_replace(s->tuf->trusted, MADE_ANEW, "", 0, 0, e) < 0 ||
		    fs_remove_tree(s->p.tree, METADATA, e) < 0)
			return -1;
		return fs_remove_tree(s->p.tree, TARGETS, e);
	}
	if (sys_unlinkat(s->tuf->trusted, MADE_ANEW, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '" MADE_ANEW "'");
	struct tuf_trusted t = repo_state(s->tuf->repo);
	if (fs_mkdirs(s->p.tree, METADATA, 0755, e) < 0 || put_targets(s, e) < 0 || put_all_came(s, e) < 0)
		return -1;
	return put_trusted(s, "root", t.root, e) < 0 || put_trusted(s, "targets", t.targets, e) < 0
		       ? -1
		       : put_trusted(s, "snapshot", t.snapshot, e);
}

int sync_signed_switch(struct sync *s, bool made_anew, struct err *e)
{
	if (!s->tuf || made_anew)
		return 0;
	if (put_trusted(s, "timestamp", 0, e) < 0)
		return -1;
	struct err ignored = ERR_INIT;
	auto_fd targets = fs_open_dir(s->p.tree, TARGETS, &ignored);
	/* what was never staged says nothing of what is still signed */
	if (targets >= 0 && !s->res->unchanged)
		tuf_files_tidy(targets, s->tuf->carried.v, s->tuf->carried.n, KEEP_S);
	(void)fs_remove_tree(s->tuf->trusted, CAME, &ignored);
	return 0;
}

bool sync_signed_is_carried(const struct sync *s)
{
	return !s->tuf || fs_exists(s->p.tree, METADATA "/timestamp.json") || fs_exists(s->tuf->trusted, MADE_ANEW);
}

int sync_signed_again(struct sync *s, struct err *e)
{
	if (!s->tuf || fs_exists(s->tuf->trusted, MADE_ANEW))
		return 0;
	return sync_signed_carry(s, false, e) < 0 ? -1 : sync_signed_switch(s, false, e);
}
