// SPDX-License-Identifier: Apache-2.0
#include "channel/rpm_set.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"
#include "channel/openpgp.h"

enum { KEEP_S = 24 * 3600, ENTRIES_MAX = 100000, PACKAGES_MAX = 1 << 20 };

void rpm_set_init(struct rpm_set *s, struct staging *t)
{
	*s = (struct rpm_set){.t = t, .from_fd = -1, .scratch = -1, .namespaces = BUF_INIT(1 << 16)};
}

void rpm_set_release(struct rpm_set *s)
{
	arena_release(&s->arena);
	buf_release(&s->namespaces);
	vec_release(&s->known);
	vec_release(&s->fresh);
	vec_release(&s->carried);
	map_release(&s->by_path);
	map_release(&s->by_pkgid);
	map_release(&s->fresh_by_path);
	cleanup_fd(&s->scratch);
}

/* -- what is listed ------------------------------------------------------------------------------------------------ */

struct set_reader {
	struct rpm_set *s;
	rpm_decide_fn *decide;
	void *ctx;
};

static struct rpm_known *first_of(struct rpm_set *s, struct str pkgid)
{
	const uint64_t *place = map_get(&s->by_pkgid, pkgid);
	return place ? &s->known.v[*place - 1] : NULL;
}

static int take_known(void *ctx, const struct rpm_package *p, struct err *e)
{
	struct set_reader *r = ctx;
	struct rpm_set *s = r->s;
	int keep = r->decide ? r->decide(r->ctx, p, e) : 1;
	if (keep < 0)
		return -1;
	if (s->known.n == PACKAGES_MAX)
		return err_new(e, ERR_LIMIT, "the repository lists more than %d packages", PACKAGES_MAX);
	struct rpm_known k = {.path = arena_str(&s->arena, p->path),
			      .pkgid = arena_str(&s->arena, p->pkgid),
			      .size = p->size,
			      .mtime_s = p->mtime_s,
			      .keep = keep};
	vec_push(&s->known, k);
	uint64_t *place = map_put(&s->by_path, k.path);
	if (!*place)
		*place = s->known.n;
	place = map_put(&s->by_pkgid, k.pkgid);
	if (!*place)
		*place = s->known.n;
	s->known.v[*place - 1].uses += keep != 0;
	s->kept += keep != 0;
	return 0;
}

int rpm_set_read(struct rpm_set *s, int from_fd, const struct rpm_repomd *from, rpm_decide_fn *decide, void *ctx,
		 struct err *e)
{
	struct set_reader r = {s, decide, ctx};
	const struct rpm_data *primary = rpm_repomd_find(from, "primary");
	auto_ptr(istream) in = NULL;
	s->from_fd = from_fd;
	s->from = *from;
	if (!primary)
		return from->n ? err_new(e, ERR_INPUT, "'" RPM_REPOMD "' names no primary metadata") : 0;
	return rpm_data_open(from_fd, primary, &in, e) < 0 ? -1 : rpm_primary_read(in, NULL, take_known, &r, e);
}

void rpm_set_drop(struct rpm_set *s, size_t known)
{
	struct rpm_known *k = &s->known.v[known];
	if (!k->keep)
		return;
	k->keep = false;
	s->kept--;
	first_of(s, k->pkgid)->uses--;
}

/* -- what is new --------------------------------------------------------------------------------------------------- */

int rpm_set_add(struct rpm_set *s, struct str path, const char *hex, const struct rpm_texts *texts, struct err *e)
{
	const struct buf *const text[RPM_FILES] = {&texts->primary, &texts->filelists, &texts->other};
	struct rpm_fresh f = {.path = arena_str(&s->arena, path)};
	memcpy(f.hex, hex, SHA256_HEX_SIZE);
	size_t unnamed;
	if (s->scratch < 0)
		s->scratch = staging_begin(s->t, &unnamed, e);
	if (s->scratch < 0)
		return -1;
	for (int i = 0; i < RPM_FILES; i++) {
		f.at[i] = s->scratch_n;
		f.n[i] = text[i]->n;
		if (fs_write_all(s->scratch, text[i]->p, text[i]->n, "records", e) < 0)
			return -1;
		s->scratch_n += text[i]->n;
	}
	vec_push(&s->fresh, f);
	*map_put(&s->fresh_by_path, f.path) = s->fresh.n;
	return 0;
}

static int fresh_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct rpm_fresh *)a)->path, ((const struct rpm_fresh *)b)->path);
}

/* -- writing a file ------------------------------------------------------------------------------------------------ */

/* Records of before in their order, new ones put in by their paths. */
struct merge {
	struct rpm_set *s;
	struct rpm_writer *w;
	enum rpm_file file;
	size_t fresh, known; /* the next ones */
	size_t kept;
	uint32_t *told; /* of lists: how often the record of a pkgid was written */
	bool begun;
	struct buf piece;
};

static int begin(struct merge *m, struct err *e)
{
	auto_arena a = ARENA_INIT;
	if (m->begun)
		return 0;
	m->begun = true;
	size_t n = m->s->kept + m->s->fresh.n;
	return rpm_writer_put(m->w, rpm_head(&a, m->file, buf_str(&m->s->namespaces), n), e);
}

static int put_fresh(struct merge *m, const struct rpm_fresh *f, struct err *e)
{
	size_t n = f->n[m->file];
	buf_clear(&m->piece);
	buf_reserve(&m->piece, n);
	for (size_t done = 0; done < n;) {
		ssize_t r = pread(m->s->scratch, m->piece.p + done, n - done, (off_t)(f->at[m->file] + done));
		if (r == 0 || (r < 0 && errno != EINTR))
			return r ? err_sys(e, "read records") : err_new(e, ERR_FAILED, "read records: they are gone");
		done += r > 0 ? (size_t)r : 0;
	}
	return rpm_writer_put(m->w, str_of(m->piece.p, n), e);
}

/* New ones up to a path; all that are left where it is STR_NONE. */
static int put_fresh_before(struct merge *m, struct str path, struct err *e)
{
	if (begin(m, e) < 0)
		return -1;
	while (m->fresh < m->s->fresh.n && (!path.p || str_cmp(m->s->fresh.v[m->fresh].path, path) < 0))
		if (put_fresh(m, &m->s->fresh.v[m->fresh++], e) < 0)
			return -1;
	return 0;
}

static int put_known(struct merge *m, struct str path, struct str raw, struct err *e)
{
	m->kept++;
	return put_fresh_before(m, path, e) < 0 || rpm_writer_put(m->w, raw, e) < 0 ||
			       rpm_writer_put(m->w, STR("\n"), e) < 0
		       ? -1
		       : 0;
}

/* The record but for xml:base in <location>. */
static int put_without_base(struct merge *m, const struct rpm_package *p, struct err *e)
{
	ptrdiff_t location = str_search(p->raw, STR("<location"));
	struct str rest = str_skip(p->raw, (size_t)(location < 0 ? 0 : location)), value;
	ptrdiff_t base = str_search(rest, STR("xml:base"));
	if (location < 0 || base < 0 || base > str_find(rest, '>'))
		return put_known(m, p->path, p->raw, e);
	struct str after = str_skip(rest, (size_t)base), head = str_head(p->raw, (size_t)(location + base));
	ptrdiff_t equals = str_find(after, '=');
	after = str_trim(str_skip(after, (size_t)(equals + 1)));
	char quote = after.n ? after.p[0] : '"';
	after = str_skip(after, 1);
	if (equals < 0 || !str_take_until(&after, quote, &value))
		return put_known(m, p->path, p->raw, e);
	auto_buf record = BUF_INIT(RPM_XML_RECORD_MAX);
	buf_put_str(&record, str_trim(head));
	buf_put_str(&record, after);
	return put_known(m, p->path, buf_str(&record), e);
}

static int merge_primary(void *ctx, const struct rpm_package *p, struct err *e)
{
	struct merge *m = ctx;
	if (m->known == m->s->known.n)
		return err_new(e, ERR_VERIFY, "the primary metadata changed while they were read");
	const struct rpm_known *k = &m->s->known.v[m->known++];
	if (!k->keep)
		return 0;
	return m->s->drop_base && p->url.n ? put_without_base(m, p, e) : put_known(m, p->path, p->raw, e);
}

static int merge_list(void *ctx, struct str pkgid, struct str raw, struct err *e)
{
	struct merge *m = ctx;
	const struct rpm_known *k = first_of(m->s, pkgid);
	if (!k || m->told[k - m->s->known.v] == k->uses)
		return 0;
	m->told[k - m->s->known.v]++;
	return put_known(m, k->path, raw, e);
}

static int merge_known(struct merge *m, const struct rpm_data *d, struct err *e)
{
	auto_ptr(istream) in = NULL;
	auto_free uint32_t *told = xcalloc(m->s->known.n + 1, sizeof(*told));
	m->told = told;
	buf_clear(&m->s->namespaces);
	if (rpm_data_open(m->s->from_fd, d, &in, e) < 0)
		return -1;
	int rc = m->file == RPM_PRIMARY
			 ? rpm_primary_read(in, &m->s->namespaces, merge_primary, m, e)
			 : rpm_list_read(in, rpm_file_root(m->file), &m->s->namespaces, merge_list, m, e);
	if (rc == 0 && m->kept != m->s->kept)
		return err_new(e, ERR_INPUT,
			       "'%s' tells of %zu of %zu packages that primary lists: the metadata do not fit together",
			       d->path.p, m->kept, m->s->kept);
	return rc;
}

static int write_file(struct rpm_set *s, enum rpm_file file, struct rpm_written *ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct rpm_data *d = rpm_repomd_find(&s->from, rpm_file_type(file));
	if (!d && s->kept > 0 && s->fresh.n == 0)
		return 0; /* upstream does without */
	if (!d && s->kept > 0)
		return err_new(e, ERR_UNSUPPORTED,
			       "'" RPM_REPOMD "' names no %s metadata: make them with createrepo_c first",
			       rpm_file_type(file));
	auto_ptr(rpm_writer) w = rpm_writer_new(s->t, true, e);
	struct merge m = {.s = s, .w = w, .file = file, .piece = BUF_INIT(BUF_MAX)};
	if (!w)
		return -1;
	buf_clear(&s->namespaces);
	int rc = (s->kept > 0 && merge_known(&m, d, e) < 0) || put_fresh_before(&m, STR_NONE, e) < 0 ||
				 rpm_writer_put(w, rpm_tail(&a, file), e) < 0
			 ? -1
			 : 0;
	buf_release(&m.piece);
	if (rc < 0)
		return -1;
	const char *ending = arena_printf(&a, "%s.xml.gz", rpm_file_type(file));
	return rpm_writer_end(w, ending, NULL, ret, e);
}

/* -- repomd.xml ---------------------------------------------------------------------------------------------------- */

static bool is_carried(const struct rpm_set *s, const struct rpm_data *d)
{
	vec_foreach(c, &s->carried)
		if (str_eq((*c)->path, d->path))
			return true;
	return false;
}

/* True where the folder has all of this already. */
static bool is_same(const struct rpm_set *s, const struct rpm_repomd *old, const struct rpm_written *files)
{
	size_t known = 0;
	for (size_t i = 0; i < old->n; i++) {
		const struct rpm_data *d = &old->data[i];
		bool same = is_carried(s, d);
		for (int f = 0; f < RPM_FILES; f++)
			same |= files[f].known && str_eq_c(d->type, rpm_file_type(f)) &&
				str_eq_c(d->path, files[f].path);
		if (!same || !fs_exists(s->t->dir, d->path.p))
			return false;
	}
	for (int f = 0; f < RPM_FILES; f++)
		known += files[f].known;
	return old->n > 0 && old->n == known + s->carried.n && s->t->file.n + s->t->dropped.n == 0;
}

int64_t rpm_now_s(const struct channel_make_opts *o)
{
	return (o->now_ms ? o->now_ms : clock_wall_ms()) / 1000;
}

/* The public key goes where clients look for it. */
static int sign(struct rpm_set *s, const struct channel_signer *signer, struct str text, struct buf *ret, struct err *e)
{
	auto_ptr(openpgp) g = NULL;
	auto_buf key = BUF_INIT(RPM_SIGNATURE_MAX);
	if (channel_key_export(signer, true, &key, e) < 0 || openpgp_open(signer->home, &g, e) < 0 ||
	    openpgp_sign(g, signer->key, OPENPGP_DETACHED, text, ret, e) < 0)
		return -1;
	return staging_put_text(s->t, RPM_KEY, buf_str(&key), e) < 0 ? -1 : 0;
}

static int make_repomd(struct rpm_set *s, const struct channel_make_opts *o, const struct rpm_repomd *old,
		       const struct rpm_written *files, struct buf *ret, struct err *e)
{
	int64_t now_s = rpm_now_s(o);
	uint64_t revision = (uint64_t)now_s > old->revision ? (uint64_t)now_s : old->revision + 1;
	rpm_repomd_write(ret, revision, s->from.tags, files, now_s, s->carried.v, s->carried.n);
	return ret->overflow ? err_new(e, ERR_LIMIT, "'" RPM_REPOMD "' would exceed %d MiB", RPM_REPOMD_MAX >> 20) : 0;
}

/* All that the pointer names is in place before it. */
static int place(struct rpm_set *s, const struct channel_make_opts *o, struct str repomd, struct err *e)
{
	auto_buf signature = BUF_INIT(RPM_SIGNATURE_MAX);
	if (!o->signer)
		return staging_put_pointer(s->t, RPM_REPOMD, repomd, e) < 0 ? -1 : staging_commit(s->t, e);
	/* files that are dropped go after the pointer */
	struct staged_file_vec dropped = s->t->dropped;
	s->t->dropped = (struct staged_file_vec){0};
	int rc = sign(s, o->signer, repomd, &signature, e) < 0 || staging_commit(s->t, e) < 0 ||
				 rpm_swap(s->t, repomd, buf_str(&signature), e) < 0
			 ? -1
			 : 0;
	vec_release(&s->t->dropped);
	s->t->dropped = dropped;
	return rc < 0 ? -1 : staging_commit(s->t, e);
}

/* -- metadata of before -------------------------------------------------------------------------------------------- */

static bool is_named_by_digest(struct str name)
{
	uint8_t bytes[SHA256_SIZE];
	return name.n > SHA256_HEX_SIZE && name.p[SHA256_HEX_SIZE - 1] == '-' &&
	       str_unhex(str_head(name, SHA256_HEX_SIZE - 1), bytes, SHA256_SIZE);
}

/* The time of a file that is named no more becomes that of its end. */
static void stamp_dropped(const struct rpm_set *s, const struct rpm_repomd *old)
{
	for (size_t i = 0; i < old->n; i++)
		if (!is_carried(s, &old->data[i]))
			(void)sys_utimensat(s->t->dir, old->data[i].path.p, NULL, AT_SYMLINK_NOFOLLOW);
}

/* Removes metadata that have been named no more for a day: so long a client may be on its way with what named them. Failure
 * to tidy is no failure. */
static void tidy(const struct rpm_set *s, const struct rpm_written *files)
{
	auto_fs_list l = {0};
	struct err ignored = ERR_INIT;
	auto_arena a = ARENA_INIT;
	struct stat st;
	if (fs_list(s->t->dir, "repodata", ENTRIES_MAX, &l, &ignored) < 0)
		return;
	for (size_t i = 0; i < l.n; i++) {
		struct rpm_data d = {.path = str_c(arena_printf(&a, "repodata/%s", l.name[i]))};
		bool named = is_carried(s, &d);
		for (int f = 0; f < RPM_FILES; f++)
			named |= str_eq_c(d.path, files[f].path);
		if (!named && is_named_by_digest(str_c(l.name[i])) &&
		    fstatat(s->t->dir, d.path.p, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_mtim.tv_sec + KEEP_S < time(NULL))
			(void)sys_unlinkat(s->t->dir, d.path.p, 0);
	}
}

int rpm_set_commit(struct rpm_set *s, const struct channel_make_opts *o, const struct rpm_repomd *old, struct err *e)
{
	struct rpm_written files[RPM_FILES] = {0};
	s->t->make = o;
	if (old->is_signed && !o->signer)
		return err_new(e, ERR_USAGE,
			       "the channel is signed ('" RPM_SIGNATURE
			       "'): say with which key to sign, or remove that file");
	if (o->dry_run)
		return 0;
	vec_sort(&s->fresh, fresh_cmp);
	for (int f = 0; f < RPM_FILES; f++)
		if (write_file(s, f, &files[f], e) < 0)
			return -1;
	if (is_same(s, old, files) && (!o->signer || old->is_signed))
		return 0;
	auto_buf repomd = BUF_INIT(RPM_REPOMD_MAX);
	if (make_repomd(s, o, old, files, &repomd, e) < 0)
		return -1;
	stamp_dropped(s, old);
	if (place(s, o, buf_str(&repomd), e) < 0)
		return -1;
	tidy(s, files);
	return 0;
}
