// SPDX-License-Identifier: Apache-2.0
/*
 * Making the index of an opam repository. What is new is parsed; what is as it was is taken over from the index of before, with
 * the ids of strings and code changed. Both ways meet each string and formula in the same order, so that they give the same bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/fs.h"
#include "base/sys.h"
#include "channel/intern.h"
#include "channel/opam_index.h"

enum { PROBLEMS_MAX = 1 << 16 };

struct maker {
	const struct opam_index *old;
	struct oif_inputs *in;
	const struct oif_input **file; /* in the order of the new index */
	size_t files;
	uint64_t seed;
	struct pool pool;
	struct table strings;
	struct buf code, scratch;
	struct memo code_memo, list_memo;
	uint32_t *old_code; /* by its offset: the new one */
	VEC(uint32_t) lists;
	VEC(struct oif_name) names;
	VEC(struct oif_package) packages;
	VEC(struct oif_problem) problems;
	uint32_t broken;
};

static void maker_release(struct maker *m)
{
	free(m->file);
	pool_release(&m->pool);
	table_release(&m->strings);
	buf_release(&m->code);
	buf_release(&m->scratch);
	memo_release(&m->code_memo);
	memo_release(&m->list_memo);
	free(m->old_code);
	vec_release(&m->lists);
	vec_release(&m->names);
	vec_release(&m->packages);
	vec_release(&m->problems);
}
#define auto_maker cleanup_with(maker_release) struct maker

void oif_inputs_release(struct oif_inputs *in)
{
	vec_release(&in->file);
	vec_release(&in->folder);
	vec_release(&in->problem);
	arena_release(&in->arena);
}

void oif_sum(struct str text, uint64_t seed, uint64_t ret[2])
{
	XXH128_hash_t h = XXH3_128bits_withSeed(text.p, text.n, seed);
	ret[0] = h.low64;
	ret[1] = h.high64;
}

/* -- interning ------------------------------------------------------------------------------------------------------ */

static int intern_string(void *ctx, struct str s, uint32_t *ret, struct err *e)
{
	struct maker *m = ctx;
	uint32_t at, tag;
	*ret = 0;
	if (!s.n)
		return 0;
	if (!pool_has_room(&m->pool, s.n))
		return err_new(e, ERR_LIMIT, "an opam repository with too much text");
	*ret = table_find(&m->strings, &m->pool, NULL, 0, s, m->seed, &at, &tag);
	if (*ret == UINT32_MAX) {
		*ret = pool_add(&m->pool, s);
		table_set(&m->strings, at, *ret, tag);
	}
	return 0;
}

static struct oif_coder coder(struct maker *m)
{
	buf_clear(&m->scratch);
	return (struct oif_coder){intern_string, m, &m->scratch};
}

/* What is in the scratch, once. */
static int intern_code(struct maker *m, uint32_t *ret, struct err *e)
{
	*ret = 0;
	if (m->scratch.overflow || m->scratch.n > OPAM_CODE_MAX)
		return err_new(e, ERR_LIMIT, "a formula that is too large");
	if (!m->scratch.n)
		return 0;
	struct memo_slot *slot = memo_put(&m->code_memo, buf_str(&m->scratch), m->seed);
	if (!slot->id1) {
		size_t n = m->scratch.n;
		slot->id1 = (uint32_t)m->code.n;
		for (; n >= 0x80; n >>= 7)
			buf_put_char(&m->code, (char)(n | 0x80));
		buf_put_char(&m->code, (char)n);
		buf_put_str(&m->code, buf_str(&m->scratch));
	}
	*ret = slot->id1;
	return m->code.overflow ? err_new(e, ERR_LIMIT, "an opam repository with too many formulas") : 0;
}

static int intern_list(struct maker *m, struct pkg_opam_strs l, uint32_t *ret, struct err *e)
{
	*ret = 0;
	if (!l.n)
		return 0;
	uint32_t first = (uint32_t)m->lists.n, id;
	vec_push(&m->lists, (uint32_t)l.n);
	for (size_t i = 0; i < l.n; i++) {
		if (intern_string(m, l.v[i], &id, e) < 0)
			return -1;
		vec_push(&m->lists, id);
	}
	struct str text = str_of((const char *)&m->lists.v[first], (m->lists.n - first) * sizeof(uint32_t));
	struct memo_slot *slot = memo_put(&m->list_memo, text, m->seed);
	if (slot->id1)
		m->lists.n = first;
	else
		slot->id1 = first;
	*ret = slot->id1;
	return 0;
}

static int problem(struct maker *m, uint32_t package, struct str text, struct err *e)
{
	struct oif_problem p = {.package = package};
	if (m->problems.n == PROBLEMS_MAX)
		return 0;
	if (intern_string(m, text, &p.text, e) < 0)
		return -1;
	vec_push(&m->problems, p);
	return 0;
}

/* -- a package that is new ------------------------------------------------------------------------------------------ */

static struct pkg_opam_strs texts_of(struct arena *a, const struct pkg_opam_value *v)
{
	size_t n = 0;
	for (const struct pkg_opam_value *x = pkg_opam_first(v); x; x = x->next)
		n++;
	struct str *text = arena_array(a, struct str, n + 1);
	n = 0;
	for (const struct pkg_opam_value *x = pkg_opam_first(v); x; x = x->next) {
		struct str s = pkg_opam_text(x->kind == PKG_OPAM_OPTION ? x->left : x);
		if (s.n)
			text[n++] = s;
	}
	return (struct pkg_opam_strs){text, n};
}

/* Without these it would be taken for a package that it is not. Others are done without, as opam does. */
static int check_formulas(struct arena *a, const struct pkg_opam_doc *d, struct err *e)
{
	static const struct {
		const char *name;
		bool any;
	} fields[] = {{"depends", false}, {"depopts", false}, {"conflicts", true}};
	const struct pkg_opam_value *v;
	const struct pkg_opam_expr *ignored;
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if ((v = pkg_opam_get(d, fields[i].name)) &&
		    pkg_opam_formula_of(a, d, v, fields[i].any, &ignored, e) < 0)
			return -1;
	v = pkg_opam_get(d, "available");
	return v ? pkg_opam_filter_of(a, d, v, &ignored, e) : 0;
}

static int code_formulas(struct maker *m, const struct pkg_opam *o, struct oif_package *p, struct err *e)
{
	const struct pkg_opam_expr *const formula[OI_FORMULAS] = {
		[OI_DEPENDS] = o->depends,
		[OI_DEPOPTS] = o->depopts,
		[OI_CONFLICTS] = o->conflicts,
		[OI_AVAILABLE] = o->available,
	};
	for (int i = 0; i < OI_FORMULAS; i++) {
		struct oif_coder c = coder(m);
		if (oif_code_expr(&c, formula[i], e) < 0 || intern_code(m, &p->formula[i], e) < 0)
			return -1;
	}
	struct oif_coder c = coder(m);
	return oif_code_lines(&c, o->depexts, e) < 0 ? -1 : intern_code(m, &p->depexts, e);
}

/* -1: what is wrong with the whole; what is wrong with the file alone is noted. */
static int read_file(struct maker *m, const struct oif_input *f, struct arena *a, struct oif_package *p, struct err *e)
{
	struct str folder = m->in->folder.v[f->folder].path;
	const char *where =
		arena_printf(a, "%.*s/%.*s.%.*s/opam", STR_ARG(folder), STR_ARG(f->name), STR_ARG(f->version));
	struct err why = ERR_INIT;
	struct pkg_opam_doc d;
	struct pkg_opam o;
	bool read = pkg_opam_read(a, f->text, where, &d, &why) == 0;
	bool typed = read && pkg_opam_package(a, &d, &o, &why) == 0;
	uint32_t number = (uint32_t)m->packages.n;
	if (!typed && problem(m, number, str_c(why.msg), e) < 0)
		return -1;
	why = ERR_INIT;
	if (!read || (!typed && check_formulas(a, &d, &why) < 0)) {
		p->flags = OIF_BROKEN;
		return 0;
	}
	p->flags = o.flags | (o.sources && !o.source[0].file.p ? OIF_URL : 0) | (o.messages.n ? OIF_MESSAGES : 0);
	if (code_formulas(m, &o, p, &why) == 0)
		return intern_list(m, o.conflict_class, &p->list[OI_CONFLICT_CLASS], e) < 0 ||
				       intern_list(m, texts_of(a, pkg_opam_get(&d, "x-ci-accept-failures")),
						   &p->list[OI_ACCEPT_FAILURES], e) < 0
			       ? -1
			       : 0;
	memset(p->formula, 0, sizeof(p->formula));
	p->depexts = 0;
	p->flags = OIF_BROKEN;
	err_ctx(&why, "%s", where);
	return problem(m, number, str_c(why.msg), e);
}

/* -- a package that is as it was ------------------------------------------------------------------------------------ */

static int move_code(struct maker *m, uint32_t old, uint32_t *ret, struct err *e)
{
	*ret = 0;
	if (!old)
		return 0;
	if (old >= m->old->h->section[OIF_CODE].n) {
		oif_damaged(m->old);
		return opam_index_check(m->old, e);
	}
	if (!m->old_code[old]) {
		struct oif_coder c = coder(m);
		if (oif_code_move(&c, m->old, oif_code(m->old, old), e) < 0 || intern_code(m, &m->old_code[old], e) < 0)
			return -1;
	}
	*ret = m->old_code[old];
	return 0;
}

static int move_file(struct maker *m, const struct oif_input *f, struct arena *a, struct oif_package *p, struct err *e)
{
	const struct oif_package *was = oif_at(m->old, OIF_PACKAGES, f->old, 1);
	if (!was)
		return opam_index_check(m->old, e);
	p->flags = was->flags;
	for (uint32_t i = 0; i < m->old->h->section[OIF_PROBLEMS].n && m->old->h->broken; i++) {
		const struct oif_problem *at = oif_at(m->old, OIF_PROBLEMS, i, 1);
		if (at && at->package == f->old &&
		    problem(m, (uint32_t)m->packages.n, oif_string(m->old, at->text), e) < 0)
			return -1;
	}
	for (int i = 0; i < OI_FORMULAS; i++)
		if (move_code(m, was->formula[i], &p->formula[i], e) < 0)
			return -1;
	if (move_code(m, was->depexts, &p->depexts, e) < 0)
		return -1;
	for (int i = 0; i < OI_LISTS; i++)
		if (was->list[i] &&
		    intern_list(m, opam_index_list(m->old, (struct oi_pkg){f->old}, i, a), &p->list[i], e) < 0)
			return -1;
	return 0;
}

/* -- all of them ---------------------------------------------------------------------------------------------------- */

static int file_cmp(const void *x, const void *y, void *ctx)
{
	const struct oif_input *a = *(const struct oif_input *const *)x, *b = *(const struct oif_input *const *)y;
	const struct maker *m = ctx;
	int c = str_cmp(a->name, b->name);
	if (c)
		return c;
	if (a->old != UINT32_MAX && b->old != UINT32_MAX && a->old != b->old)
		return a->old < b->old ? -1 : 1;
	c = pkg_opam_version_cmp(b->version, a->version);
	if (!c)
		c = str_cmp(b->version, a->version);
	return c ? c : str_cmp(m->in->folder.v[a->folder].path, m->in->folder.v[b->folder].path);
}

static bool is_at_home(const struct maker *m, const struct oif_input *f)
{
	struct str path = m->in->folder.v[f->folder].path;
	return str_take_str(&path, STR("packages/")) && str_eq(path, f->name);
}

/* Of a package that is there twice the one in packages/NAME counts, or else the first. */
static void sort_files(struct maker *m)
{
	m->file = xcalloc(m->in->file.n + 1, sizeof(*m->file));
	for (size_t i = 0; i < m->in->file.n; i++)
		m->file[i] = &m->in->file.v[i];
	qsort_r(m->file, m->in->file.n, sizeof(*m->file), file_cmp, m);
	for (size_t i = 0; i < m->in->file.n; i++) {
		const struct oif_input *f = m->file[i], *last = m->files ? m->file[m->files - 1] : NULL;
		if (!last || !str_eq(f->name, last->name) || !str_eq(f->version, last->version)) {
			m->file[m->files++] = f;
			continue;
		}
		if (is_at_home(m, f) && !is_at_home(m, last)) {
			m->file[m->files - 1] = f;
			f = last;
		}
		struct str folder = m->in->folder.v[f->folder].path;
		m->in->folder.v[f->folder].ctime_ns = 0; /* to be met again the next time */
		vec_push(&m->in->problem,
			 str_c(arena_printf(&m->in->arena, "%.*s/%.*s.%.*s is there twice; this one is left out",
					    STR_ARG(folder), STR_ARG(f->name), STR_ARG(f->version))));
	}
}

static int add_package(struct maker *m, const struct oif_input *f, struct arena *a, struct err *e)
{
	struct oif_package p = {.folder = f->folder};
	struct oif_name *name = m->names.n ? vec_last(&m->names) : NULL;
	const char *key = arena_printf(a, "%.*s.%.*s", STR_ARG(f->name), STR_ARG(f->version));
	uint32_t id;
	if (intern_string(m, str_c(key), &p.key, e) < 0 || intern_string(m, f->name, &id, e) < 0)
		return -1;
	if (!name || name->str != id) {
		name = vec_add(&m->names);
		*name = (struct oif_name){.str = id, .first = (uint32_t)m->packages.n};
	}
	name->count++;
	p.name = (uint32_t)(m->names.n - 1);
	if ((f->old == UINT32_MAX ? read_file(m, f, a, &p, e) : move_file(m, f, a, &p, e)) < 0)
		return -1;
	m->broken += !!(p.flags & OIF_BROKEN);
	vec_push(&m->packages, p);
	return 0;
}

static int add_packages(struct maker *m, struct err *e)
{
	sort_files(m);
	if (m->files > OPAM_PACKAGES_MAX)
		return err_new(e, ERR_LIMIT, "an opam repository of more than %d packages", OPAM_PACKAGES_MAX);
	for (size_t i = 0; i < m->files; i++) {
		auto_arena a = ARENA_INIT;
		if (add_package(m, m->file[i], &a, e) < 0)
			return -1;
	}
	vec_foreach(text, &m->in->problem)
		if (problem(m, UINT32_MAX, *text, e) < 0)
			return -1;
	return 0;
}

/* -- texts ---------------------------------------------------------------------------------------------------------- */

/* The blocks that are still read from, in the order of the packages, get the first numbers. */
static int keep_blocks(struct maker *m, struct oif_texts *t, struct err *e)
{
	auto_free uint32_t *number = xcalloc(m->old->h->section[OIF_BLOCKS].n + 1, sizeof(*number));
	for (size_t i = 0; i < m->files; i++) {
		uint32_t old = m->file[i]->old;
		const struct oif_package *was = old == UINT32_MAX ? NULL : oif_at(m->old, OIF_PACKAGES, old, 1);
		const struct oif_block *block = was ? oif_at(m->old, OIF_BLOCKS, was->block, 1) : NULL;
		struct oif_package *p = &m->packages.v[i];
		if (!block)
			continue;
		if (!number[was->block]) {
			vec_push(&t->block, *block);
			number[was->block] = (uint32_t)t->block.n;
		}
		p->block = number[was->block] - 1;
		p->at = was->at;
		p->size = was->size;
	}
	return opam_index_check(m->old, e);
}

/* Those that are not in a block that is kept. */
static int put_texts(struct maker *m, struct oif_texts *t, bool all, struct err *e)
{
	for (size_t i = 0; i < m->files; i++) {
		struct oif_package *p = &m->packages.v[i];
		struct str text = m->file[i]->text;
		auto_arena a = ARENA_INIT;
		if (m->file[i]->old != UINT32_MAX) {
			if (!all)
				continue;
			if (opam_index_text(m->old, (struct oi_pkg){m->file[i]->old}, &a, &text, e) < 0)
				return -1;
		}
		p->size = (uint32_t)text.n;
		if (oif_texts_put(t, text, &p->block, &p->at, e) < 0)
			return -1;
	}
	return oif_texts_end(t, e);
}

/* -- the file ------------------------------------------------------------------------------------------------------- */

static void put_section(struct buf *b, struct oif_header *h, enum oif_section s, const void *p, size_t n, size_t size)
{
	static const char zero[8];
	buf_put(b, zero, (8 - b->n % 8) % 8);
	h->section[s] = (struct oif_range){b->n, n, intern_hash(n ? p : "", n * size, h->seed)};
	if (n)
		buf_put(b, p, n * size);
}

static struct oif_stamp *stamps_of(const struct maker *m)
{
	struct oif_stamp *v = xcalloc(m->files + 1, sizeof(*v));
	for (size_t i = 0; i < m->files; i++)
		v[i] = m->file[i]->stamp;
	return v;
}

static int put_image(struct maker *m, struct oif_header *h, const struct oif_texts *t, struct buf *b, struct err *e)
{
	auto_free struct oif_stamp *stamp = stamps_of(m);
	auto_free struct oif_folder *folder = xcalloc(m->in->folder.n + 1, sizeof(*folder));
	for (size_t i = 0; i < m->in->folder.n; i++) {
		const struct oif_input_folder *f = &m->in->folder.v[i];
		folder[i] = (struct oif_folder){.parent = f->parent, .ctime_ns = f->ctime_ns, .ino = f->ino};
		if (intern_string(m, f->path, &folder[i].path, e) < 0)
			return -1;
	}
	if (intern_string(m, m->in->repo, &h->repo, e) < 0)
		return -1;
	h->broken = m->broken;
	buf_put(b, h, sizeof(*h));
	put_section(b, h, OIF_NAMES, m->names.v, m->names.n, sizeof(*m->names.v));
	put_section(b, h, OIF_PACKAGES, m->packages.v, m->packages.n, sizeof(*m->packages.v));
	put_section(b, h, OIF_LISTS, m->lists.v, m->lists.n, sizeof(*m->lists.v));
	put_section(b, h, OIF_CODE, m->code.p, m->code.n, 1);
	put_section(b, h, OIF_STRINGS, m->pool.p, m->pool.n, 1);
	put_section(b, h, OIF_PROBLEMS, m->problems.v, m->problems.n, sizeof(*m->problems.v));
	put_section(b, h, OIF_BLOCKS, t->block.v, t->block.n, sizeof(*t->block.v));
	put_section(b, h, OIF_STAMPS, stamp, m->files, sizeof(*stamp));
	put_section(b, h, OIF_FOLDERS, folder, m->in->folder.n, sizeof(*folder));
	if (b->overflow)
		return err_new(e, ERR_LIMIT, "the index would exceed %d MiB", OPAM_INDEX_BYTES_MAX >> 20);
	h->bytes = b->n;
	h->sum = intern_hash(h, sizeof(*h), 0);
	memcpy(b->p, h, sizeof(*h));
	return 0;
}

static void maker_init(struct maker *m, struct oif_inputs *in, const struct opam_index *old)
{
	*m = (struct maker){.old = old, .in = in, .seed = old ? old->h->seed : in->seed};
	if (!m->seed)
		m->seed = intern_seed();
	pool_init(&m->pool);
	m->code = BUF_INIT(OPAM_INDEX_BYTES_MAX / 2);
	m->scratch = BUF_INIT(2 * OPAM_CODE_MAX);
	buf_put_char(&m->code, '\0');
	vec_push(&m->lists, 0);
	if (old)
		m->old_code = xcalloc(old->h->section[OIF_CODE].n + 1, sizeof(*m->old_code));
}

/* The file of texts that the new index goes with: that of the old one, unless half of it is of no use any more. */
static int open_texts(const struct maker *m, int dirfd, struct oif_header *h, struct oif_texts *t, struct err *e)
{
	const struct oif_header *old = m->old ? m->old->h : NULL;
	bool fresh = !old || old->texts_bytes / 2 > old->texts_first + OPAM_TEXT_BLOCK;
	h->texts_id = fresh ? intern_seed() : old->texts_id;
	h->texts_first = fresh ? 0 : old->texts_first;
	struct oif_texts_name name = oif_texts_name(h->texts_id);
	t->fd = sys_openat(dirfd, name.s, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (fresh ? O_CREAT | O_EXCL : 0), 0644);
	if (t->fd < 0)
		return err_sys(e, "open '%s'", name.s);
	t->at = fresh ? sizeof(struct oif_texts_header) : old->texts_bytes;
	struct oif_texts_header head = {OPAM_TEXTS_MAGIC, h->texts_id};
	if (fresh && sys_pwrite(t->fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return err_sys(e, "write '%s'", name.s);
	return fresh;
}

int oif_make(struct oif_inputs *in, const struct opam_index *old, int dirfd, const char *path, struct err *e)
{
	auto_maker m;
	maker_init(&m, in, old);
	struct oif_header h = {
		.magic = OPAM_INDEX_MAGIC, .version = OPAM_INDEX_VERSION, .header_size = sizeof(h), .seed = m.seed};
	auto_oif_texts t = {.fd = -1, .seed = m.seed};
	auto_buf image = BUF_INIT(OPAM_INDEX_BYTES_MAX);
	t.plain = BUF_INIT(OPAM_TEXT_MAX + OPAM_TEXT_BLOCK);
	t.packed = BUF_INIT(2 * OPAM_TEXT_MAX);
	if (add_packages(&m, e) < 0)
		return -1;
	int fresh = open_texts(&m, dirfd, &h, &t, e);
	if (fresh < 0 || (!fresh && keep_blocks(&m, &t, e) < 0) || put_texts(&m, &t, fresh, e) < 0)
		return -1;
	h.texts_bytes = t.at;
	if (fresh)
		h.texts_first = t.at;
	if (put_image(&m, &h, &t, &image, e) < 0)
		return -1;
	if (sys_fdatasync(t.fd) < 0)
		return err_sys(e, "sync the texts of '%s'", path);
	if (fs_replace(dirfd, path, image.p, image.n, FS_REPLACE_SYNC, e) == 0)
		return 0;
	if (e->code != ERR_UNCERTAIN)
		return -1;
	*e = ERR_INIT; /* after a power cut it might be the old one again: no harm */
	return 0;
}

int oif_make_memory(struct oif_inputs *in, struct opam_index **ret, struct err *e)
{
	auto_maker m;
	maker_init(&m, in, NULL);
	struct oif_header h = {
		.magic = OPAM_INDEX_MAGIC, .version = OPAM_INDEX_VERSION, .header_size = sizeof(h), .seed = m.seed};
	const struct oif_texts none = {.fd = -1};
	auto_buf image = BUF_INIT(OPAM_INDEX_BYTES_MAX);
	if (add_packages(&m, e) < 0)
		return -1;
	struct str *texts = arena_array(&in->arena, struct str, m.files + 1);
	for (size_t i = 0; i < m.files; i++) {
		texts[i] = m.file[i]->text;
		m.packages.v[i].size = (uint32_t)texts[i].n;
	}
	return put_image(&m, &h, &none, &image, e) < 0 ? -1 : oif_open_memory(&image, texts, ret, e);
}

static int by_name(const void *x, const void *y)
{
	return str_cmp(((const struct opam_index_file *)x)->name, ((const struct opam_index_file *)y)->name);
}

int opam_index_of(const struct opam_index_file *files, size_t n, struct opam_index **ret, struct err *e)
{
	auto_oif_inputs in = {0};
	struct opam_index_file *v = arena_copy(&in.arena, files, n, sizeof(*v));
	qsort(v, n, sizeof(*v), by_name); /* folders stand by path */
	for (size_t i = 0; i < n; i++) {
		const char *folder = arena_printf(&in.arena, "packages/%.*s", STR_ARG(v[i].name));
		*vec_add(&in.folder) = (struct oif_input_folder){.path = str_c(folder), .parent = (uint32_t)i};
		vec_push(&in.file, ((struct oif_input){.name = v[i].name,
						       .version = v[i].version,
						       .text = v[i].text,
						       .folder = (uint32_t)i,
						       .old = UINT32_MAX}));
	}
	if (oif_make_memory(&in, ret, e) < 0)
		return -1;
	struct opam_index *ix = *ret;
	uint32_t packages = opam_index_info(ix).packages;
	ix->own_texts = xreallocarray(NULL, (size_t)packages + 1, sizeof(*ix->own_texts));
	memcpy(ix->own_texts, ix->texts, packages * sizeof(*ix->own_texts));
	ix->texts = ix->own_texts;
	return 0;
}
