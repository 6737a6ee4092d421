// SPDX-License-Identifier: Apache-2.0
/* Publishing packages into an archive, taking them out, and making an archive of a part of another. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/work.h"
#include "channel/deb.h"
#include "channel/openpgp.h"

enum { SUITES_MAX = 10000, FILES_MAX = 1 << 20 };

/* == what all of them begin with ================================================================================== */

static bool is_name(struct str s, bool slashes)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (c && strchr("-_.+~", c)) || (slashes && c == '/')))
			return false;
	}
	return s.n > 0 && s.n <= 200 && s.p[0] != '.' && channel_path_is_normal(s);
}

static int check_line(const char *what, struct str s, struct err *e)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return err_new(e, ERR_USAGE, "the %s holds a control character", what);
	return s.n <= 1000 ? 0 : err_new(e, ERR_USAGE, "the %s is longer than 1000 bytes", what);
}

static int check_opts(const struct channel_make_opts *o, struct err *e)
{
	if (o->suite.n && !is_name(o->suite, true))
		return err_new(e, ERR_USAGE, "'%.*s' cannot be the name of a suite", STR_ARG(o->suite));
	if (o->component.n && !is_name(o->component, false))
		return err_new(e, ERR_USAGE, "'%.*s' cannot be the name of a component", STR_ARG(o->component));
	return check_line("origin", o->origin, e) < 0 ? -1 : check_line("label", o->label, e);
}

struct making {
	struct staging t;
	struct arena a;
	const struct channel_make_opts *o;
	struct openpgp *signer;
	int64_t now_ms;
};

static void making_release(struct making *m)
{
	openpgp_close(m->signer);
	staging_release(&m->t);
	arena_release(&m->a);
}
#define auto_making cleanup_with(making_release) struct making

static int making_open(struct making *m, const char *folder, const struct channel_make_opts *o, struct err *e)
{
	*m = (struct making){.t = STAGING_INIT, .o = o, .now_ms = o->now_ms ? o->now_ms : clock_wall_ms()};
	if (check_opts(o, e) < 0 || staging_open_for(&m->t, folder, o, e) < 0)
		return -1;
	return o->signer && !o->dry_run ? openpgp_open(o->signer->home, &m->signer, e) : 0;
}

static struct deb_made suite_of(struct making *m, struct str suite)
{
	return (struct deb_made){
		.t = &m->t, .a = &m->a, .o = m->o, .signer = m->signer, .now_ms = m->now_ms, .suite = suite};
}
#define auto_made cleanup_with(deb_made_release) struct deb_made

/* == publishing =================================================================================================== */

struct publication {
	struct making *m;
	struct deb_made *suite;
	struct str component;
	struct deb_file *file;
	const char **pool; /* of each file: where it goes */
	bool *listed;	   /* it is in Packages already, and in the pool */
	struct deb_addition *add;
	size_t n;
	struct progress *progress;
};

static void files_release(struct publication *p)
{
	for (size_t i = 0; p->file && i < p->n; i++)
		deb_file_release(&p->file[i]);
	free(p->file);
	free(p->pool);
	free(p->listed);
	free(p->add);
}
#define auto_publication cleanup_with(files_release) struct publication

static int read_job(void *ctx, struct err *e)
{
	return deb_file_read(ctx, e);
}

static int hash_job(void *ctx, struct err *e)
{
	return deb_file_hash(ctx, e);
}

/* pool/main/libf/libfoo/libfoo1_1.0-1_amd64.deb: by the source's name, its version without the epoch, as Debian does. */
static const char *pool_path(struct arena *a, struct str component, const struct deb_file *f)
{
	struct str version = f->version, epoch;
	size_t prefix = str_starts(f->source, STR("lib")) && f->source.n > 3 ? 4 : 1;
	(void)str_take_until(&version, ':', &epoch);
	bool udeb = str_ends(str_c(f->path), STR(".udeb"));
	return arena_printf(a, "pool/%.*s/%.*s/%.*s/%.*s_%.*s_%.*s.%s", STR_ARG(component),
			    STR_ARG(str_head(f->source, prefix)), STR_ARG(f->source), STR_ARG(f->name),
			    STR_ARG(version), STR_ARG(f->platform), udeb ? "udeb" : "deb");
}

static int read_files(struct publication *p, const char *const *files, struct err *e)
{
	auto_ptr(work) w = work_new(0);
	auto_map seen = MAP_INIT;
	for (size_t i = 0; i < p->n; i++) {
		p->file[i].path = files[i];
		work_submit(w, read_job, &p->file[i]);
	}
	if (work_wait(w, e) < 0)
		return -1;
	for (size_t i = 0; i < p->n; i++) {
		if (str_ends(str_c(files[i]), STR(".udeb")))
			return err_new(e, ERR_UNSUPPORTED, "'%s' is a package of the installer, which is not published",
				       files[i]);
		p->pool[i] = pool_path(&p->m->a, p->component, &p->file[i]);
		uint64_t *before = map_put(&seen, str_c(p->pool[i]));
		if (*before)
			return err_new(e, ERR_USAGE, "'%s' and '%s' are the same version of the same package",
				       files[*before - 1], files[i]);
		*before = i + 1;
	}
	return 0;
}

/* A file of the size and time of the one in the pool is that one: it was copied with its time. */
static bool is_copied(const struct making *m, const char *pool, const struct deb_file *f)
{
	struct stat st;
	return m->t.dir >= 0 && fstatat(m->t.dir, pool, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == f->size && st.st_mtim.tv_sec == f->mtime.tv_sec &&
	       st.st_mtim.tv_nsec == f->mtime.tv_nsec;
}

/* What an index lists of the files that are in the pool as they are, their digests with it. */
static int find_listed(struct publication *p, struct str base, struct map *copied, struct err *e)
{
	static const char *const names[] = {"Filename", "Size", "SHA256"};
	auto_ptr(istream) in = NULL;
	struct str stanza, v[3];
	int rc = deb_index_open(p->m->t.dir, p->suite->dir, &p->suite->old, base, &in, e);
	if (rc <= 0)
		return rc;
	auto_deb_reader r;
	deb_reader_init(&r, in);
	while ((rc = deb_next(&r, &stanza, e)) > 0) {
		uint64_t size;
		struct digest_value sum;
		deb_fields(stanza, names, v, 3);
		const uint64_t *place = v[0].p ? map_get(copied, v[0]) : NULL;
		if (!place || !str_to_u64(v[1], &size) || size != p->file[*place - 1].size ||
		    !digest_parse(DIGEST_SHA256, v[2], &sum))
			continue;
		p->listed[*place - 1] = true;
		memcpy(p->file[*place - 1].sha256, sum.bytes, SHA256_SIZE);
	}
	return rc;
}

static const char *base_of(struct arena *a, struct str component, struct str platform)
{
	return arena_printf(a, "%.*s/binary-%.*s/Packages", STR_ARG(component), STR_ARG(platform));
}

static bool has_base(const struct deb_release *r, struct str base)
{
	for (size_t i = 0; deb_packings[i]; i++) {
		auto_arena a = ARENA_INIT;
		if (deb_release_find(r, str_c(arena_printf(&a, "%.*s%s", STR_ARG(base), deb_packings[i]))))
			return true;
	}
	return false;
}

/* Files that Packages lists already, and that look as they did then, are not read again. */
static int skip_listed(struct publication *p, struct err *e)
{
	auto_map copied = MAP_INIT, bases = MAP_INIT;
	for (size_t i = 0; i < p->n; i++)
		if (is_copied(p->m, p->pool[i], &p->file[i]))
			*map_put(&copied, str_c(p->pool[i])) = i + 1;
	for (size_t i = 0; copied.n > 0 && i < p->n; i++) {
		struct str base = str_c(base_of(&p->m->a, p->component, p->file[i].platform));
		if (!(*map_put(&bases, base))++ && find_listed(p, base, &copied, e) < 0)
			return err_ctx(e, "the channel's own metadata cannot be read; mend or remove them");
	}
	return 0;
}

static int hash_files(struct publication *p, struct err *e)
{
	auto_ptr(work) w = work_new(0);
	if (skip_listed(p, e) < 0)
		return -1;
	for (size_t i = 0; i < p->n; i++)
		if (!p->listed[i])
			work_submit(w, hash_job, &p->file[i]);
	return work_wait(w, e);
}

static int stage_files(struct publication *p, struct err *e)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct deb_file *f = &p->file[i];
		if (!p->listed[i] &&
		    staging_put_file(&p->m->t, p->pool[i], f->path, f->sha256, p->m->o->replace, e) < 0)
			return -1;
		progress_send(p->progress, (struct progress_event){.kind = PROGRESS_UPDATE,
								   .phase = "publish",
								   .id = f->path,
								   .done = i + 1,
								   .total = p->n});
	}
	return 0;
}

static void make_additions(struct publication *p, size_t *ret_n)
{
	size_t n = 0;
	for (size_t i = 0; i < p->n; i++) {
		const struct deb_file *f = &p->file[i];
		auto_buf b = BUF_INIT(BUF_MAX);
		if (p->listed[i])
			continue;
		buf_put_str(&b, f->control);
		buf_printf(&b, "Filename: %s\nSize: %llu\nSHA256: ", p->pool[i], (unsigned long long)f->size);
		buf_put_hex(&b, f->sha256, SHA256_SIZE);
		buf_put_char(&b, '\n');
		p->add[n++] = (struct deb_addition){.name = f->name,
						    .version = f->version,
						    .platform = f->platform,
						    .filename = str_c(p->pool[i]),
						    .stanza = arena_str(&p->m->a, buf_str(&b))};
	}
	if (n > 1)
		qsort(p->add, n, sizeof(*p->add), deb_addition_cmp);
	*ret_n = n;
}

/* -- the indexes ---------------------------------------------------------------------------------------------------- */

VEC_TYPE(str_vec, struct str);

static void add_word(struct str_vec *v, struct str word)
{
	vec_foreach(x, v)
		if (str_eq(*x, word))
			return;
	vec_push(v, word);
}

/* Those that the suite has, those that come, and "all". */
static void find_platforms(const struct publication *p, size_t n, struct str_vec *ret)
{
	add_word(ret, STR("all"));
	vec_foreach(x, &p->suite->entry) {
		struct str component, platform;
		if (deb_base_split(x->path, &component, &platform))
			add_word(ret, platform);
	}
	for (size_t i = 0; i < n; i++)
		add_word(ret, p->add[i].platform);
}

static int keep_all(void *ctx, struct str stanza, const struct str v[4], struct err *e)
{
	(void)ctx;
	(void)stanza;
	(void)e;
	return str_eq_c(v[2], "all");
}

/* The index of before. Where there is none yet, that of the packages for all architectures is where a new one begins; and that
 * one begins with those that stand in any other. */
static int open_old(const struct publication *p, struct str base, const struct str_vec *platforms, struct istream **ret,
		    deb_keep_fn **ret_keep, struct err *e)
{
	const struct deb_made *s = p->suite;
	*ret_keep = NULL;
	*ret = NULL;
	if (!s->had || p->m->t.dir < 0)
		return 0;
	int rc = deb_index_open(p->m->t.dir, s->dir, &s->old, base, ret, e);
	for (size_t i = 0; rc == 0 && i < platforms->n; i++) {
		*ret_keep = keep_all;
		rc = deb_index_open(p->m->t.dir, s->dir, &s->old, str_c(base_of(s->a, p->component, platforms->v[i])),
				    ret, e);
	}
	return rc < 0 ? err_ctx(e, "the channel's own metadata cannot be read; mend or remove them") : 0;
}

static int write_small_release(const struct publication *p, struct str platform, struct err *e)
{
	auto_buf b = BUF_INIT(1 << 16);
	struct deb_made *s = p->suite;
	buf_printf(&b, "Archive: %.*s\n", STR_ARG(s->suite));
	if (s->o->origin.n)
		buf_printf(&b, "Origin: %.*s\n", STR_ARG(s->o->origin));
	if (s->o->label.n)
		buf_printf(&b, "Label: %.*s\n", STR_ARG(s->o->label));
	buf_printf(&b, "Component: %.*s\nArchitecture: %.*s\n", STR_ARG(p->component), STR_ARG(platform));
	return deb_made_text(s,
			     arena_printf(s->a, "%.*s/binary-%.*s/Release", STR_ARG(p->component), STR_ARG(platform)),
			     buf_str(&b), e);
}

static int write_index(const struct publication *p, struct str platform, const struct str_vec *platforms, size_t add_n,
		       struct err *e)
{
	auto_free struct deb_addition *mine = xcalloc(add_n + 1, sizeof(*mine));
	struct str base = str_c(base_of(&p->m->a, p->component, platform));
	auto_ptr(istream) in = NULL;
	deb_keep_fn *keep;
	size_t n = 0;
	for (size_t i = 0; i < add_n; i++)
		if (str_eq(p->add[i].platform, platform) || str_eq_c(p->add[i].platform, "all"))
			mine[n++] = p->add[i];
	if (n == 0 && has_base(&p->suite->old, base))
		return 0;
	if (open_old(p, base, platforms, &in, &keep, e) < 0 ||
	    deb_made_index(p->suite, base, in, keep, NULL, mine, n, e) < 0)
		return -1;
	return write_small_release(p, platform, e);
}

static int write_indexes(struct publication *p, struct err *e)
{
	struct str_vec platforms = {0};
	size_t n;
	int rc = 0;
	make_additions(p, &n);
	find_platforms(p, n, &platforms);
	for (size_t i = 0; rc == 0 && i < platforms.n; i++)
		rc = write_index(p, platforms.v[i], &platforms, n, e);
	vec_release(&platforms);
	return rc;
}

/* Returns how many are sources. */
static size_t sort_files(const char *const *files, size_t n, const char **binary, const char **source)
{
	size_t sources = 0, binaries = 0;
	for (size_t i = 0; i < n; i++)
		if (str_ends(str_c(files[i]), STR(".dsc")))
			source[sources++] = files[i];
		else
			binary[binaries++] = files[i];
	return sources;
}

int deb_publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		struct progress *progress, struct err *e)
{
	auto_making m = {.t = STAGING_INIT};
	if (n > FILES_MAX)
		return err_new(e, ERR_LIMIT, "more than %d packages at once", FILES_MAX);
	if (making_open(&m, folder, o, e) < 0)
		return -1;
	auto_made s = suite_of(&m, o->suite.n ? o->suite : STR("stable"));
	auto_free const char **binary = xcalloc(n + 1, sizeof(*binary)), **source = xcalloc(n + 1, sizeof(*source));
	size_t sources = sort_files(files, n, binary, source);
	bool nothing = n == 0;
	n -= sources;
	auto_publication p = {.m = &m,
			      .suite = &s,
			      .component = o->component.n ? o->component : STR("main"),
			      .file = xcalloc(n + 1, sizeof(*p.file)),
			      .pool = xcalloc(n + 1, sizeof(*p.pool)),
			      .listed = xcalloc(n + 1, sizeof(*p.listed)),
			      .add = xcalloc(n + 1, sizeof(*p.add)),
			      .n = n,
			      .progress = progress};
	if (deb_made_open(&s, false, e) < 0 || read_files(&p, binary, e) < 0 || hash_files(&p, e) < 0 ||
	    stage_files(&p, e) < 0 || write_indexes(&p, e) < 0 ||
	    (sources && deb_publish_sources(&s, p.component, source, sources, e) < 0) ||
	    deb_made_finish(&s, nothing, e) < 0)
		return -1;
	return staging_commit(&m.t, e);
}

/* == removing ===================================================================================================== */

struct removal {
	struct making *m;
	struct map paths; /* → how many indexes list it */
	bool found;
};

static void removal_release(struct removal *r)
{
	map_release(&r->paths);
}

static int keep_others(void *ctx, struct str stanza, const struct str v[4], struct err *e)
{
	struct removal *r = ctx;
	auto_arena a = ARENA_INIT;
	struct str path = v[3].n ? v[3] : deb_source_path(&a, stanza);
	(void)e;
	(void)str_take_str(&path, STR("./"));
	uint64_t *listed = path.n ? map_get(&r->paths, path) : NULL;
	if (!listed)
		return 1;
	++*listed;
	r->found = true;
	return 0;
}

/* Whether an index lists any of them. */
static int look_through(struct removal *r, struct istream *in, struct err *e)
{
	static const char *const names[] = {"Package", "Version", "Architecture", "Filename"};
	auto_deb_reader reader;
	struct str stanza, v[4];
	int rc;
	deb_reader_init(&reader, in);
	r->found = false;
	while ((rc = deb_next(&reader, &stanza, e)) > 0) {
		deb_fields(stanza, names, v, 4);
		if (keep_others(r, stanza, v, e) < 0)
			return -1;
	}
	return rc;
}

static int open_base(const struct deb_made *s, struct str base, struct istream **ret, struct err *e)
{
	return deb_index_open(s->t->dir, s->dir, &s->old, base, ret, e);
}

static int remove_from_index(struct removal *r, struct deb_made *s, struct str base, bool write, struct err *e)
{
	auto_ptr(istream) in = NULL;
	int rc = open_base(s, base, &in, e);
	if (rc <= 0)
		return rc;
	if (look_through(r, in, e) < 0)
		return -1;
	if (!r->found || !write)
		return 0;
	istream_free(in);
	in = NULL;
	return open_base(s, base, &in, e) < 0 ? -1 : deb_made_index(s, base, in, keep_others, r, NULL, 0, e);
}

/* Every index of a suite, whatever it is packed with, once. */
static int remove_from_suite(struct removal *r, struct str suite, bool write, struct err *e)
{
	auto_made s = suite_of(r->m, suite);
	auto_map done = MAP_INIT;
	if (deb_made_open(&s, false, e) < 0)
		return -1;
	for (size_t i = 0; i < s.old.n; i++) {
		struct str path = s.old.entry[i].path, component, platform;
		ptrdiff_t dot = str_rfind(path, '.');
		struct str base = dot > str_rfind(path, '/') ? str_head(path, (size_t)dot) : path;
		if ((!deb_base_split(base, &component, &platform) && !deb_is_sources(base)) ||
		    (*map_put(&done, base))++)
			continue;
		if (remove_from_index(r, &s, base, write, e) < 0)
			return -1;
	}
	return write ? deb_made_finish(&s, false, e) : 0;
}

static int each_suite(struct removal *r, struct str only, struct err *e)
{
	auto_fs_list list = {0};
	if (only.n)
		return remove_from_suite(r, only, true, e);
	if (fs_list(r->m->t.dir, "dists", SUITES_MAX, &list, e) < 0)
		return err_ctx(e, "there is no archive in '%s'", r->m->t.folder);
	for (size_t i = 0; i < list.n; i++)
		if (remove_from_suite(r, str_c(list.name[i]), true, e) < 0)
			return -1;
	return 0;
}

/* What no other suite lists. */
static int drop_files(struct removal *r, struct str only, const struct str *paths, size_t n, struct err *e)
{
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	auto_map removed = MAP_INIT;
	for (size_t i = 0; i < n; i++) {
		*map_put(&removed, paths[i]) = 1;
		*map_get(&r->paths, paths[i]) = 0;
	}
	if (only.n && fs_list(r->m->t.dir, "dists", SUITES_MAX, &list, &ignored) == 0)
		for (size_t i = 0; i < list.n; i++)
			if (!str_eq_c(only, list.name[i]) && remove_from_suite(r, str_c(list.name[i]), false, e) < 0)
				return -1;
	for (size_t i = 0; i < n; i++)
		if (*map_get(&r->paths, paths[i]) == 0)
			staging_drop(&r->m->t, arena_strdup(&r->m->a, paths[i]));
	return 0;
}

int deb_remove(const char *folder, const struct str *paths, size_t n, enum channel_removal how, struct str reason,
	       const struct channel_make_opts *o, struct err *e)
{
	auto_making m = {.t = STAGING_INIT};
	(void)reason; /* an archive has no place for it */
	if (making_open(&m, folder, o, e) < 0)
		return -1;
	if (m.t.dir < 0)
		return err_new(e, ERR_NOT_FOUND, "there is no archive in '%s'", folder);
	cleanup_with(removal_release) struct removal r = {.m = &m};
	for (size_t i = 0; i < n; i++) {
		if (!channel_path_is_normal(paths[i]))
			return err_new(e, ERR_USAGE, "'%.*s' is no path of a package", STR_ARG(paths[i]));
		*map_put(&r.paths, paths[i]) = 0;
	}
	if (each_suite(&r, o->suite, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (*map_get(&r.paths, paths[i]) == 0)
			return err_new(e, ERR_NOT_FOUND, "no index lists '%.*s'", STR_ARG(paths[i]));
	if (how == CHANNEL_DROP && drop_files(&r, o->suite, paths, n, e) < 0)
		return -1;
	return staging_commit(&m.t, e);
}

/* == a part of another archive ==================================================================================== */

struct part {
	struct deb_walk *w;
	const struct deb_suite *from;
	struct str base;
	channel_keep_fn *keep;
	void *ctx;
	bool wanted;
};

static int tell_nothing(void *ctx, const struct channel_item *item, struct err *e)
{
	(void)ctx;
	(void)item;
	(void)e;
	return 0;
}

static int ask(void *ctx, const struct channel_item *item, struct err *e)
{
	struct part *p = ctx;
	int rc = p->keep(p->ctx, item, e);
	p->wanted |= rc > 0;
	return rc < 0 ? -1 : 0;
}

/* A stanza stays where any of its files is wanted. */
static int keep_wanted(void *ctx, struct str stanza, const struct str v[4], struct err *e)
{
	struct part *p = ctx;
	(void)v;
	p->wanted = false;
	return deb_tell_stanza(p->w, p->from, p->base, stanza, ask, p, e) < 0 ? -1 : p->wanted;
}

static int rewrite_suite(struct making *m, struct part *p, struct deb_suite *from, struct err *e)
{
	auto_made s = suite_of(m, m->o->suite.n ? m->o->suite : from->name);
	if (str_ends(from->name, STR("/")))
		return err_new(e, ERR_UNSUPPORTED, "a part of a flat repository cannot be made yet");
	if (deb_made_open(&s, true, e) < 0)
		return -1;
	s.from = &from->release;
	p->from = from;
	for (size_t i = 0; i < from->n; i++) {
		auto_ptr(istream) in = NULL;
		p->base = from->base[i];
		if (deb_index_open(p->w->fd, from->dir, &from->release, p->base, &in, e) < 0 ||
		    deb_made_index(&s, p->base, in, keep_wanted, p, NULL, 0, e) < 0)
			return -1;
	}
	return deb_made_finish(&s, false, e);
}

int deb_rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e)
{
	auto_making m = {.t = STAGING_INIT};
	struct channel_walk *base = NULL;
	if (making_open(&m, folder, o, e) < 0 || deb_walk_new(from_fd, from, &base, e) < 0)
		return -1;
	struct part p = {.w = (struct deb_walk *)base, .keep = keep, .ctx = ctx};
	int rc = deb_walk_indexes(p.w, tell_nothing, NULL, e);
	if (rc == 0 && p.w->n > 1 && o->suite.n)
		rc = err_new(e, ERR_USAGE, "several suites cannot become one");
	for (size_t i = 0; rc == 0 && i < p.w->n; i++)
		rc = rewrite_suite(&m, &p, &p.w->suite[i], e);
	deb_walk_free(base);
	return rc < 0 ? -1 : staging_commit(&m.t, e);
}
