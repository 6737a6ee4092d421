// SPDX-License-Identifier: Apache-2.0
/*
 * Packages into an RPM repository, out of it, and from one into another. A package that is listed is not read again; a new one
 * is read whole once: its digest, and whether its header and payload are what it says itself.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "channel/kind.h"
#include "channel/rpm_make.h"
#include "channel/rpm_set.h"

enum { TEXT_MAX = RPM_XML_RECORD_MAX, DIGEST_ALGO_SHA256 = 8 };

bool rpm_wants(const struct channel_walk_opts *o, const struct rpm_package *p)
{
	bool source = str_eq(p->arch, STR("src")) || str_eq(p->arch, STR("nosrc"));
	if (source ? !o->sources
		   : !str_eq(p->arch, STR("noarch")) && !walk_wants(o->platforms, o->platforms_n, p->arch))
		return false;
	return walk_wants_name(o, p->name);
}

struct channel_item rpm_item(struct arena *a, const struct rpm_package *p)
{
	bool epoch = p->epoch.n && !str_eq(p->epoch, STR("0"));
	return (struct channel_item){
		.path = p->path,
		.url = p->url,
		.size = p->size,
		.digest = p->digest,
		.what = CHANNEL_FILE_PACKAGE,
		.name = p->name,
		.version = str_c(arena_printf(a, "%.*s%s%.*s-%.*s", (int)p->epoch.n, epoch ? p->epoch.p : "",
					      epoch ? ":" : "", STR_ARG(p->version), STR_ARG(p->release))),
		.platform = p->arch,
		.time_ms = p->built_s * 1000,
	};
}

/* -- a package file ------------------------------------------------------------------------------------------------ */

struct package_file {
	const char *file;
	struct stat st;
	struct rpm_header header;
	struct rpm_id id;
	uint8_t sha256[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	struct arena arena;
};

static void package_file_release(struct package_file *p)
{
	arena_release(&p->arena);
}
#define auto_package_file cleanup_with(package_file_release) struct package_file

static int check_digest(const char *file, const char *what, struct str told, struct digest *d, struct err *e)
{
	uint8_t got[DIGEST_MAX], want[SHA256_SIZE];
	size_t n = digest_final(d, got);
	if (str_unhex(told, want, sizeof(want)) && memcmp(got, want, n) == 0)
		return 0;
	return err_new(e, ERR_VERIFY, "'%s' is damaged: its %s is not what it says itself", file, what);
}

/* The digest of the whole, and those that the package has of its parts. */
static int take_digests(int fd, struct package_file *p, struct err *e)
{
	auto_free char *piece = xmalloc(1 << 20);
	auto_ptr(digest) whole = digest_new(DIGEST_SHA256), header = digest_new(DIGEST_SHA256);
	auto_ptr(digest) payload = digest_new(DIGEST_SHA256);
	struct str header_told = rpm_tag_str(&p->header.sig, RPM_SIG_SHA256);
	struct str payload_told = rpm_tag_str(&p->header.main, RPM_PAYLOADDIGEST);
	uint64_t algorithm = 0, at = 0, start = p->header.start, end = p->header.end;
	ssize_t n;
	if (!rpm_tag_int(&p->header.main, RPM_PAYLOADDIGESTALGO, 0, &algorithm) || algorithm != DIGEST_ALGO_SHA256)
		payload_told = STR_NONE;
	while ((n = pread(fd, piece, 1 << 20, (off_t)at)) > 0) {
		/* a piece never holds parts of both: it ends where the header does */
		uint64_t stop = at < start ? start : at < end ? end : UINT64_MAX;
		size_t take = (uint64_t)n > stop - at ? (size_t)(stop - at) : (size_t)n;
		digest_update(whole, piece, take);
		if (at >= start && at < end && header_told.p)
			digest_update(header, piece, take);
		else if (at >= end && payload_told.p)
			digest_update(payload, piece, take);
		at += take;
	}
	if (n < 0)
		return err_sys(e, "read '%s'", p->file);
	if (at != (uint64_t)p->st.st_size)
		return err_new(e, ERR_INPUT, "'%s' changed while it was read", p->file);
	if ((header_told.p && check_digest(p->file, "header", header_told, header, e) < 0) ||
	    (payload_told.p && check_digest(p->file, "content", payload_told, payload, e) < 0))
		return -1;
	hex_encode(p->sha256, digest_final(whole, p->sha256), p->hex);
	return 0;
}

static int package_file_read(const char *file, struct package_file *ret, struct err *e)
{
	ret->file = file;
	auto_fd fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s'", file);
	if (fstat(fd, &ret->st) < 0)
		return err_sys(e, "look at '%s'", file);
	if (!S_ISREG(ret->st.st_mode))
		return err_new(e, ERR_INPUT, "'%s' is no file", file);
	return rpm_header_read(fd, file, &ret->arena, &ret->header, e) < 0 ||
			       rpm_id_read(&ret->header, file, &ret->id, e) < 0 || take_digests(fd, ret, e) < 0
		       ? -1
		       : 0;
}

/* -- publishing ---------------------------------------------------------------------------------------------------- */

struct publishing {
	const struct channel_make_opts *o;
	struct staging *t;
	struct rpm_set *set;
	struct map by_name; /* names of listed files, without folders → place + 1 */
	const char *root;   /* of the folder, absolute; NULL where it is not there yet */
};

static struct str file_name(struct str path)
{
	return str_skip(path, (size_t)(str_rfind(path, '/') + 1));
}

/* Clients take a path for a part of a URL as it stands. */
static bool is_plain(struct str path)
{
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] <= ' ' || path.p[i] >= 0x7f || strchr("#?%\"<>\\", path.p[i]))
			return false;
	return channel_path_is_normal(path) && rpm_file(path) == CHANNEL_FILE_PACKAGE;
}

/* The path of a file that lies in the folder already, STR_NONE of another. */
static struct str path_inside(struct publishing *x, const char *file, struct arena *a)
{
	auto_free char *whole = x->root ? realpath(file, NULL) : NULL;
	struct str path = str_c(whole);
	if (!whole || !str_take_str(&path, str_c(x->root)) || !str_take_char(&path, '/'))
		return STR_NONE;
	return is_plain(path) ? arena_str(a, path) : STR_NONE;
}

/* Where it lies already; where one of that name is listed; else by what it is called in itself. */
static const char *path_for(struct publishing *x, const struct package_file *p, struct str inside, struct arena *a)
{
	const char *name = arena_printf(a, "%.*s-%.*s-%.*s.%.*s.rpm", STR_ARG(p->id.name), STR_ARG(p->id.version),
					STR_ARG(p->id.release), STR_ARG(p->id.arch));
	const uint64_t *listed = map_get(&x->by_name, str_c(name));
	if (inside.p)
		return inside.p;
	return listed ? x->set->known.v[*listed - 1].path.p : arena_printf(a, "Packages/%s", name);
}

/* Listed as it lies there: not read again. */
static bool is_known(struct publishing *x, const char *file, struct str inside)
{
	struct stat st;
	const uint64_t *place = inside.p ? map_get(&x->set->by_path, inside) : NULL;
	const struct rpm_known *k = place ? &x->set->known.v[*place - 1] : NULL;
	return k && k->keep && stat(file, &st) == 0 && (uint64_t)st.st_size == k->size &&
	       st.st_mtim.tv_sec == k->mtime_s;
}

/* 1 where a package of this path is in the set already, with this content. */
static int is_in_set(struct publishing *x, struct str path, const struct package_file *p, struct err *e)
{
	const uint64_t *fresh = map_get(&x->set->fresh_by_path, path);
	const uint64_t *known = map_get(&x->set->by_path, path);
	if (fresh && strcmp(x->set->fresh.v[*fresh - 1].hex, p->hex) != 0)
		return err_new(e, ERR_EXISTS, "'%s' is another package of the same name as one before it", p->file);
	return fresh ||
	       (known && x->set->known.v[*known - 1].keep && str_eq_c(x->set->known.v[*known - 1].pkgid, p->hex));
}

static int add_record(struct publishing *x, struct str path, const struct package_file *p, struct err *e)
{
	struct rpm_texts texts = {BUF_INIT(TEXT_MAX), BUF_INIT(TEXT_MAX), BUF_INIT(TEXT_MAX)};
	const uint64_t *known = map_get(&x->set->by_path, path);
	const struct rpm_facts facts = {.sha256_hex = str_c(p->hex),
					.href = path,
					.size = (uint64_t)p->st.st_size,
					.mtime_s = p->st.st_mtim.tv_sec};
	if (known)
		rpm_set_drop(x->set, (size_t)*known - 1);
	int rc = rpm_record_write(&p->header, &p->id, &facts, p->file, &texts, e);
	if (rc == 0 && !x->o->dry_run)
		rc = rpm_set_add(x->set, path, p->hex, &texts, e);
	buf_release(&texts.primary);
	buf_release(&texts.filelists);
	buf_release(&texts.other);
	return rc;
}

static int publish_one(struct publishing *x, const char *file, struct err *e)
{
	auto_package_file p = {0};
	auto_arena a = ARENA_INIT;
	if (rpm_is_extra(str_c(file)))
		return rpm_extra_add(x->set, file, rpm_now_s(x->o), x->o->dry_run, e);
	struct str inside = path_inside(x, file, &a);
	if (is_known(x, file, inside))
		return 0;
	if (package_file_read(file, &p, e) < 0)
		return -1;
	const char *path = path_for(x, &p, inside, &a);
	int in_set = is_in_set(x, str_c(path), &p, e);
	if (in_set < 0)
		return -1;
	if (!inside.p && staging_put_file(x->t, path, file, p.sha256, x->o->replace, e) < 0)
		return -1;
	return in_set ? 0 : add_record(x, str_c(path), &p, e);
}

static int publish_each(struct publishing *x, const char *const *files, size_t n, struct progress *progress,
			struct err *e)
{
	for (size_t i = 0; i < x->set->known.n; i++)
		*map_put(&x->by_name, file_name(x->set->known.v[i].path)) = i + 1;
	for (size_t i = 0; i < n; i++) {
		progress_send(progress,
			      (struct progress_event){.kind = PROGRESS_BEGIN, .phase = "publish", .id = files[i]});
		if (publish_one(x, files[i], e) < 0)
			return err_ctx(e, "publish");
		progress_send(progress,
			      (struct progress_event){.kind = PROGRESS_DONE, .phase = "publish", .id = files[i]});
	}
	return 0;
}

/* -- what the three operations share ------------------------------------------------------------------------------- */

/* Forms of what the XML files tell would tell of the packages as they were before. */
static bool is_derived(struct str type)
{
	static const char *const others[] = {"primary", "filelists", "other", "prestodelta", "deltainfo"};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (str_eq_c(type, others[i]))
			return true;
	return str_ends(type, STR("_db")) || str_ends(type, STR("_zck")) || str_starts(type, STR("primary")) ||
	       str_starts(type, STR("filelists")) || str_starts(type, STR("other"));
}

static int open_folder(struct staging *t, const char *folder, bool dry_run, struct arena *a, struct rpm_repomd *old,
		       struct err *e)
{
	*old = (struct rpm_repomd){0};
	if (staging_open(t, folder, dry_run, e) < 0 || (t->lock >= 0 && rpm_swap_clean(t, e) < 0))
		return -1;
	if (t->dir >= 0 && rpm_repomd_read(t->dir, NULL, a, old, e) < 0)
		return err_ctx(e, "channel folder '%s'", folder);
	return 0;
}

/* What else repomd.xml names stays as it is: groups, advisories, modules. */
static void carry_others(struct rpm_set *s, const struct rpm_repomd *from)
{
	for (size_t i = 0; i < from->n; i++)
		if (!is_derived(from->data[i].type))
			vec_push(&s->carried, &from->data[i]);
}

int rpm_publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		struct progress *p, struct err *e)
{
	auto_staging t = STAGING_INIT;
	auto_rpm_set set;
	auto_arena a = ARENA_INIT;
	struct rpm_repomd old;
	rpm_set_init(&set, &t);
	if (open_folder(&t, folder, o->dry_run, &a, &old, e) < 0)
		return -1;
	if (old.n && rpm_set_read(&set, t.dir, &old, NULL, NULL, e) < 0)
		return err_ctx(e, "channel folder '%s'", folder);
	auto_free char *root = realpath(folder, NULL);
	struct publishing x = {.o = o, .t = &t, .set = &set, .root = root};
	carry_others(&set, &old);
	int rc = publish_each(&x, files, n, p, e);
	map_release(&x.by_name);
	if (rc < 0)
		return -1;
	return rpm_set_commit(&set, o, &old, e);
}

/* -- taking out ---------------------------------------------------------------------------------------------------- */

/* RPM has no mark for a package that is withdrawn: both ways it is listed no more. */
int rpm_remove(const char *folder, const struct str *paths, size_t n, enum channel_removal how, struct str reason,
	       const struct channel_make_opts *o, struct err *e)
{
	auto_staging t = STAGING_INIT;
	auto_rpm_set set;
	auto_arena a = ARENA_INIT;
	struct rpm_repomd old;
	(void)reason;
	rpm_set_init(&set, &t);
	if (!fs_exists(AT_FDCWD, folder))
		return err_new(e, ERR_NOT_FOUND, "there is no channel folder '%s'", folder);
	if (open_folder(&t, folder, o->dry_run, &a, &old, e) < 0 || rpm_set_read(&set, t.dir, &old, NULL, NULL, e) < 0)
		return err_ctx(e, "channel folder '%s'", folder);
	for (size_t i = 0; i < n; i++) {
		const uint64_t *place = map_get(&set.by_path, paths[i]);
		if (!place)
			return err_new(e, ERR_NOT_FOUND, "the channel does not list '%.*s'", STR_ARG(paths[i]));
		rpm_set_drop(&set, (size_t)*place - 1);
		if (how == CHANNEL_DROP)
			staging_drop(&t, arena_strdup(&a, paths[i]));
	}
	carry_others(&set, &old);
	return rpm_set_commit(&set, o, &old, e);
}

/* -- from one tree into another ------------------------------------------------------------------------------------ */

struct choosing {
	const struct channel_walk_opts *o;
	channel_keep_fn *keep;
	void *ctx;
};

static int choose(void *ctx, const struct rpm_package *p, struct err *e)
{
	const struct choosing *c = ctx;
	auto_arena a = ARENA_INIT;
	if (!rpm_wants(c->o, p))
		return 0;
	struct channel_item item = rpm_item(&a, p);
	return c->keep ? c->keep(c->ctx, &item, e) : 1;
}

static int copy_data(struct staging *t, int from_fd, const struct rpm_data *d, struct err *e)
{
	struct rpm_written ignored;
	auto_free char *piece = xmalloc(1 << 16);
	auto_ptr(istream) in = NULL;
	struct rpm_data packed = *d;
	packed.packed = true;
	if (rpm_data_open(from_fd, &packed, &in, e) < 0)
		return -1;
	auto_ptr(rpm_writer) w = rpm_writer_new(t, false, e);
	ssize_t n = w ? 0 : -1;
	while (w && (n = istream_read(in, piece, 1 << 16, e)) > 0)
		if (rpm_writer_put(w, str_of(piece, (size_t)n), e) < 0)
			return -1;
	return n < 0 ? -1 : rpm_writer_end(w, NULL, d->path.p, &ignored, e);
}

/* Groups, advisories and modules are taken over whole: what they say of packages that are not here is of no harm, and without
 * modules a client would take packages of all streams for its own. */
static int carry_from(struct rpm_set *s, int from_fd, const struct rpm_repomd *from, bool dry_run, struct err *e)
{
	carry_others(s, from);
	vec_foreach(d, &s->carried) {
		auto_ptr(istream) there = NULL;
		struct err ignored = ERR_INIT;
		if (dry_run || rpm_data_open(s->t->dir, *d, &there, &ignored) == 0)
			continue;
		if (copy_data(s->t, from_fd, *d, e) < 0)
			return -1;
	}
	return 0;
}

int rpm_rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e)
{
	auto_staging t = STAGING_INIT;
	auto_rpm_set set;
	auto_arena a = ARENA_INIT;
	struct rpm_repomd old, upstream;
	struct choosing c = {from, keep, ctx};
	rpm_set_init(&set, &t);
	set.drop_base = true;
	int there = rpm_repomd_read(from_fd, from->keyring, &a, &upstream, e);
	if (there <= 0)
		return there < 0 ? -1 : err_new(e, ERR_NOT_FOUND, "there is no '" RPM_REPOMD "' to take packages from");
	if (open_folder(&t, folder, o->dry_run, &a, &old, e) < 0 ||
	    rpm_set_read(&set, from_fd, &upstream, choose, &c, e) < 0 ||
	    carry_from(&set, from_fd, &upstream, o->dry_run, e) < 0)
		return -1;
	return rpm_set_commit(&set, o, &old, e);
}
