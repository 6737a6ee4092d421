// SPDX-License-Identifier: Apache-2.0
/*
 * Keeping the index of an opam repository: ROOT/index/ID/opam.full.idx, its texts, and its state.
 *
 *  1. Without a lock, the held index is opened and held against the repository: a folder is looked through; a tar's validators are
 *     compared, a server's not before max-age has passed.
 *  2. What has changed is indexed under the lock. Where another process did so meanwhile, its index is the one to be held against.
 *  3. State is written after the index, so that a crash between them costs one more request.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"
#include "base/url.h"
#include "channel/opam_index.h"
#include "channel/refresh.h"

#define TAR_BYTES_MAX (UINT64_C(1) << 29)
#define PLAIN_BYTES_MAX (UINT64_C(4) << 30)
enum { PROBLEMS_TOLD = 10 };

struct keeper {
	struct channel_cache *c;
	const struct channel *ch;
	enum channel_refresh_flags flags;
	struct arena arena;
	struct source s; /* its state, lock and request */
	const char *path;
	struct opam_index *ix;
	struct oif_inputs in;
	int folder; /* the repository, where it is one with packages/; -1 */
	const char *folder_path;
};

static void keeper_release(struct keeper *k)
{
	opam_index_free(k->ix);
	oif_inputs_release(&k->in);
	vec_release(&k->s.state.roots);
	cleanup_fd(&k->s.get.fd);
	cleanup_fd(&k->s.dir_fd);
	cleanup_fd(&k->s.lock_fd);
	cleanup_fd(&k->folder);
	arena_release(&k->arena);
}
#define auto_keeper cleanup_with(keeper_release) struct keeper

static void open_held(struct keeper *k)
{
	struct err ignored = ERR_INIT;
	opam_index_free(k->ix);
	k->ix = NULL;
	(void)opam_index_open(k->s.dir_fd, k->path, &k->ix, &ignored);
}

static bool has_ending(struct str url)
{
	static const char *const endings[] = {".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"};
	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
		if (str_ends(url, str_c(endings[i])))
			return true;
	return false;
}

/* Where it is: an open folder, or the URL of a tar. */
static int find_source(struct keeper *k, struct err *e)
{
	struct str url = k->ch->url;
	struct stat st;
	auto_buf path = BUF_INIT(URL_MAX);
	if (str_starts(url, STR("git+")) || str_starts(url, STR("git:")) || str_starts(url, STR("ssh:")) ||
	    str_ends(url, STR(".git")))
		return err_new(e, ERR_UNSUPPORTED, "'%.*s' is a git repository; clone it, and give the folder",
			       STR_ARG(k->ch->shown));
	bool tar = has_ending(url);
	if (str_starts(url, STR("file://"))) {
		if (url_file_path(url, &path, e) < 0)
			return -1;
		tar = stat(path.p, &st) == 0 && S_ISREG(st.st_mode);
		k->folder_path = arena_strdup(&k->arena, buf_str(&path));
		k->folder = tar ? -1 : open(path.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (!tar && k->folder < 0)
			return err_sys(e, "open opam repository '%s'", path.p);
		if (!tar && (fs_exists(k->folder, "packages") || !fs_exists(k->folder, "index.tar.gz"))) {
			if (!fs_exists(k->folder, "packages"))
				return err_new(e, ERR_NOT_FOUND,
					       "'%s' is no opam repository: it has neither packages/ nor index.tar.gz",
					       path.p);
			return 0;
		}
		cleanup_fd(&k->folder);
	}
	k->s.get.url = tar ? arena_strdup(&k->arena, url) : arena_printf(&k->arena, "%.*s/index.tar.gz", STR_ARG(url));
	return 0;
}

static int keeper_init(struct keeper *k, struct channel_cache *c, const struct channel *ch,
		       enum channel_refresh_flags flags, struct err *e)
{
	*k = (struct keeper){.c = c, .ch = ch, .flags = flags, .folder = -1, .in.arena = ARENA_INIT};
	k->s = (struct source){.channel = ch, .subdir = STR("opam"), .a = &k->arena, .dir_fd = -1, .lock_fd = -1};
	k->s.get.fd = -1;
	k->s.sub = arena_strdup(&k->arena, STR("opam"));
	k->s.order[0] = V_FULL;
	k->s.variants = 1;
	k->path = variant_file(&k->s, "idx");
	k->s.dir_fd = fs_open_dir_make(c->root_fd, arena_printf(&k->arena, "index/%s", ch->id), e);
	if (k->s.dir_fd < 0)
		return -1;
	open_held(k);
	return 0;
}

/* -- telling -------------------------------------------------------------------------------------------------------- */

static void tell(struct keeper *k, enum progress_kind kind, const char *text)
{
	const char *id = arena_strdup(&k->arena, k->ch->shown);
	progress_send(k->c->progress, (struct progress_event){.kind = kind, .phase = "index", .id = id, .text = text});
}

static bool was_told(const struct opam_index *before, struct str text)
{
	for (uint32_t i = 0; before && i < opam_index_info(before).problems; i++)
		if (str_eq(opam_index_problem(before, i), text))
			return true;
	return false;
}

static void tell_problems(struct keeper *k, const struct opam_index *before)
{
	uint32_t n = opam_index_info(k->ix).problems, told = 0, more = 0;
	for (uint32_t i = 0; i < n && more < 1000; i++) {
		struct str text = opam_index_problem(k->ix, i);
		if (was_told(before, text))
			continue;
		if (told++ < PROBLEMS_TOLD)
			tell(k, PROGRESS_NOTE, arena_strdup(&k->arena, text));
		else
			more++;
	}
	if (more)
		tell(k, PROGRESS_NOTE,
		     arena_printf(&k->arena, "%u more faults in opam files; 'slipway channel list' counts them", more));
}

/* -- making --------------------------------------------------------------------------------------------------------- */

/* Files of texts that no index names any more. */
static void remove_texts(struct keeper *k)
{
	enum { FILES_MAX = 10000 };
	auto_fs_list l = {0};
	struct err ignored = ERR_INIT;
	struct oif_texts_name mine = oif_texts_name(k->ix->h->texts_id);
	if (fs_list(k->s.dir_fd, ".", FILES_MAX, &l, &ignored) < 0)
		return;
	for (size_t i = 0; i < l.n; i++)
		if (str_starts(str_c(l.name[i]), STR("opam.")) && str_ends(str_c(l.name[i]), STR(".texts")) &&
		    strcmp(l.name[i], mine.s) != 0)
			(void)sys_unlinkat(k->s.dir_fd, l.name[i], 0);
}

static int read_inputs(struct keeper *k, struct err *e)
{
	oif_inputs_release(&k->in);
	k->in = (struct oif_inputs){.arena = ARENA_INIT};
	if (k->folder >= 0)
		return oif_scan(k->folder, k->ix, k->c->clock->wall_ms(k->c->clock) * 1000000, &k->in, e);
	if (lseek(k->s.get.fd, 0, SEEK_SET) < 0)
		return err_sys(e, "read '%s'", k->s.get.url);
	int copy = fcntl(k->s.get.fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return err_sys(e, "read '%s'", k->s.get.url);
	const char *name = arena_strdup(&k->arena, k->ch->shown);
	struct istream *plain = istream_unpack_any(istream_limit(istream_fd(copy, name), TAR_BYTES_MAX), e);
	if (!plain)
		return -1;
	auto_ptr(istream) in = istream_limit(plain, PLAIN_BYTES_MAX);
	int rc = oif_read_tar(in, k->ix, &k->in, e);
	return rc < 0 ? err_ctx(e, "read opam repository '%s'", name) : rc;
}

/* The inputs, or, with an index that does not verify inside, inputs held against nothing. */
static int look(struct keeper *k, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = read_inputs(k, &why);
	if (rc < 0 && why.code == ERR_VERIFY && k->ix) {
		opam_index_free(k->ix);
		k->ix = NULL;
		why = ERR_INIT;
		rc = read_inputs(k, &why);
	}
	if (rc < 0)
		*e = why;
	return rc;
}

static int make(struct keeper *k, struct err *e)
{
	auto_ptr(opam_index) before = steal_ptr(&k->ix);
	struct err why = ERR_INIT;
	if (k->in.file.n == 0)
		return err_new(e, ERR_INPUT,
			       "'%.*s' is no opam repository: there is no packages/NAME/NAME.VERSION/opam in it",
			       STR_ARG(k->ch->shown));
	tell(k, PROGRESS_BEGIN, NULL);
	if (k->folder >= 0) /* a tar that was there before it is to be read when it comes back */
		(void)sys_unlinkat(k->s.dir_fd, variant_file(&k->s, "json"), 0);
	int rc = oif_make(&k->in, before, k->s.dir_fd, k->path, &why);
	if (rc < 0) {
		*e = why;
		k->ix = steal_ptr(&before);
		tell(k, PROGRESS_FAILED, e->msg);
		return err_ctx(e, "make the index of opam repository '%.*s'", STR_ARG(k->ch->shown));
	}
	tell(k, PROGRESS_DONE, NULL);
	if (opam_index_open(k->s.dir_fd, k->path, &k->ix, e) < 0)
		return -1;
	tell_problems(k, before);
	remove_texts(k);
	return 0;
}

/* Under the lock; 1 where the index is another one than that which was looked at. */
static int lock(struct keeper *k, struct err *e)
{
	uint64_t sum = k->ix ? k->ix->h->sum : 0;
	if (source_lock(&k->s, e) < 0)
		return -1;
	auto_ptr(opam_index) looked = steal_ptr(&k->ix);
	open_held(k);
	if ((k->ix ? k->ix->h->sum : 0) != sum)
		return 1;
	/* the inputs point into it */
	opam_index_free(k->ix);
	k->ix = steal_ptr(&looked);
	return 0;
}

static int look_and_make(struct keeper *k, bool locked, struct err *e)
{
	int rc = look(k, e);
	if (rc <= 0)
		return rc;
	if (!locked) {
		int other = lock(k, e);
		if (other < 0 || (other > 0 && (rc = look(k, e)) <= 0))
			return other < 0 ? -1 : rc;
	}
	struct err why = ERR_INIT;
	if (make(k, &why) == 0)
		return 0;
	if (why.code == ERR_VERIFY && k->ix) { /* found damaged only now */
		opam_index_free(k->ix);
		k->ix = NULL;
		return look(k, e) < 0 ? -1 : make(k, e);
	}
	*e = why;
	return -1;
}

/* -- tars ----------------------------------------------------------------------------------------------------------- */

static bool is_fresh(const struct keeper *k)
{
	const struct state *st = &k->s.state;
	int64_t age_ms = k->c->clock->wall_ms(k->c->clock) - st->checked_ms;
	return k->ix && st->what == STATE_HAVE && !k->ch->is_folder && !(k->flags & CHANNEL_FORCE) && age_ms >= 0 &&
	       age_ms / 1000 < st->max_age_s;
}

static int ask(struct keeper *k, struct err *e)
{
	struct channel_get *g = &k->s.get;
	const struct state *st = &k->s.state;
	const char *url = g->url;
	cleanup_fd(&g->fd);
	*g = (struct channel_get){.url = url, .fd = -1, .max_bytes = TAR_BYTES_MAX};
	if (k->ix && st->what == STATE_HAVE) {
		memcpy(g->etag, st->etag, sizeof(g->etag));
		memcpy(g->last_modified, st->last_modified, sizeof(g->last_modified));
	}
	if (!k->ch->is_folder && (g->fd = cache_tmp(k->s.dir_fd, e)) < 0)
		return -1;
	return cache_get(k->c, &(struct channel_get *){g}, 1, e);
}

/* The network failed: what is held serves on, unless somebody asked for fresh metadata. */
static int failed(struct keeper *k, struct err *e)
{
	*e = k->s.get.err;
	if (!k->ix || k->flags & CHANNEL_FORCE || e->code != ERR_NETWORK)
		return err_ctx(e, "opam repository '%.*s'", STR_ARG(k->ch->shown));
	auto_buf when = BUF_INIT(64);
	clock_put_iso(&when, k->s.state.checked_ms);
	tell(k, PROGRESS_NOTE, arena_printf(&k->arena, "%s; going on with the metadata of %s", e->msg, when.p));
	*e = ERR_INIT;
	return 0;
}

static int refresh_tar(struct keeper *k, struct err *e)
{
	struct channel_get *g = &k->s.get;
	struct state *st = &k->s.state;
	if (state_load(&k->s, e) < 0)
		return -1;
	if (is_fresh(k))
		return 0;
	if (ask(k, e) < 0)
		return -1;
	if (g->state == GET_UNCHANGED && k->ch->is_folder)
		return 0;
	if (g->state == GET_MISSING)
		return err_new(e, ERR_NOT_FOUND,
			       "there is no opam repository at '%.*s': no index.tar.gz, or no such file",
			       STR_ARG(k->ch->shown));
	if (g->state == GET_FAILED)
		return failed(k, e);
	if (g->state == GET_DONE && look_and_make(k, false, e) < 0)
		return -1;
	/* where another process made an index meanwhile, it knows what of */
	int other = k->s.lock_fd < 0 ? lock(k, e) : 0;
	if (other)
		return other < 0 ? -1 : 0;
	if (g->state == GET_DONE) {
		memcpy(st->etag, g->etag, sizeof(st->etag));
		memcpy(st->last_modified, g->last_modified, sizeof(st->last_modified));
	}
	st->what = STATE_HAVE;
	st->checked_ms = k->c->clock->wall_ms(k->c->clock);
	st->max_age_s = g->max_age_s >= 0 ? g->max_age_s : k->c->default_max_age_s;
	return state_save(&k->s, e);
}

int channel_opam_open(struct channel_cache *c, const struct channel *ch, enum channel_refresh_flags flags,
		      struct opam_index **ret, struct err *e)
{
	auto_keeper k;
	if (keeper_init(&k, c, ch, flags, e) < 0)
		return -1;
	if (flags & CHANNEL_OFFLINE && !k.ix)
		return err_new(e, ERR_NOT_FOUND,
			       "nothing is held of opam repository '%.*s'; run 'slipway channel refresh' once",
			       STR_ARG(ch->shown));
	if (!(flags & CHANNEL_OFFLINE) &&
	    (find_source(&k, e) < 0 || (k.folder >= 0 ? look_and_make(&k, false, e) : refresh_tar(&k, e)) < 0))
		return -1;
	*ret = steal_ptr(&k.ix);
	return 0;
}
