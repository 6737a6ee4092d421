// SPDX-License-Identifier: Apache-2.0
/*
 * Reading the index of an opam repository in place. Nothing of the file is believed: a section is held against its sum when it is first
 * read, and each id and offset against its section when it is followed. Who reads what is not there gets an empty value, and
 * opam_index_check tells afterwards.
 */
#include "channel/opam_index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/stream.h"
#include "channel/intern.h"

static const size_t element_size[OIF_SECTIONS] = {
	[OIF_NAMES] = sizeof(struct oif_name),
	[OIF_PACKAGES] = sizeof(struct oif_package),
	[OIF_LISTS] = sizeof(uint32_t),
	[OIF_CODE] = 1,
	[OIF_STRINGS] = 1,
	[OIF_PROBLEMS] = sizeof(struct oif_problem),
	[OIF_BLOCKS] = sizeof(struct oif_block),
	[OIF_STAMPS] = sizeof(struct oif_stamp),
	[OIF_FOLDERS] = sizeof(struct oif_folder),
};

/* -- checking ------------------------------------------------------------------------------------------------------- */

void oif_damaged(const struct opam_index *ix)
{
	((struct opam_index *)(uintptr_t)ix)->damaged = true;
}

static bool section_good(const struct opam_index *ix, enum oif_section s)
{
	const struct oif_range *r = &ix->h->section[s];
	if (ix->checked >> s & 1)
		return true;
	if (intern_hash(ix->map + r->at, r->n * element_size[s], ix->h->seed) != r->sum) {
		oif_damaged(ix);
		return false;
	}
	((struct opam_index *)(uintptr_t)ix)->checked |= 1U << s;
	return true;
}

const void *oif_at(const struct opam_index *ix, enum oif_section s, uint64_t first, uint64_t n)
{
	const struct oif_range *r = &ix->h->section[s];
	if (first > r->n || n > r->n - first) {
		oif_damaged(ix);
		return NULL;
	}
	return n > 0 && section_good(ix, s) ? ix->map + r->at + first * element_size[s] : NULL;
}

struct str oif_string(const struct opam_index *ix, uint32_t id)
{
	const struct oif_range *r = &ix->h->section[OIF_STRINGS];
	const char *p = id ? oif_at(ix, OIF_STRINGS, id, 1) : NULL;
	struct str s;
	if (!p)
		return STR("");
	if (pool_read(p, r->n - id, &s))
		return s;
	oif_damaged(ix);
	return STR("");
}

struct str oif_code(const struct opam_index *ix, uint32_t offset)
{
	const struct oif_range *r = &ix->h->section[OIF_CODE];
	const char *p = offset ? oif_at(ix, OIF_CODE, offset, 1) : NULL;
	struct str s;
	if (!p)
		return STR("");
	if (pool_read(p, r->n - offset, &s))
		return s;
	oif_damaged(ix);
	return STR("");
}

/* -- opening -------------------------------------------------------------------------------------------------------- */

static bool sections_fit(const struct oif_header *h)
{
	for (int i = 0; i < OIF_SECTIONS; i++) {
		const struct oif_range *r = &h->section[i];
		if (r->at < sizeof(*h) || r->at % 8 || r->at > h->bytes || r->n > UINT32_MAX ||
		    r->n * element_size[i] > h->bytes - r->at)
			return false;
	}
	return h->section[OIF_STAMPS].n == h->section[OIF_PACKAGES].n && h->texts_bytes < UINT64_MAX / 2;
}

static int check_header(struct opam_index *ix, struct err *e)
{
	ix->h = (const struct oif_header *)(const void *)ix->map;
	if (ix->bytes < sizeof(*ix->h) || ix->h->magic != OPAM_INDEX_MAGIC)
		return err_new(e, ERR_VERIFY, "'%s' is not an index of an opam repository", ix->path);
	if (ix->h->version != OPAM_INDEX_VERSION)
		return err_new(e, ERR_VERIFY, "'%s' has format version %u, this program reads %d", ix->path,
			       ix->h->version, OPAM_INDEX_VERSION);
	struct oif_header copy = *ix->h;
	copy.sum = 0;
	if (copy.header_size != sizeof(copy) || copy.bytes != ix->bytes ||
	    intern_hash(&copy, sizeof(copy), 0) != ix->h->sum || !sections_fit(ix->h))
		return err_new(e, ERR_VERIFY, "'%s' is damaged: its header does not verify", ix->path);
	return 0;
}

struct oif_texts_name oif_texts_name(uint64_t id)
{
	struct oif_texts_name ret;
	snprintf(ret.s, sizeof(ret.s), "opam.%016llx.texts", (unsigned long long)id);
	return ret;
}

static int open_texts(struct opam_index *ix, int dirfd, struct err *e)
{
	struct oif_texts_header h;
	struct stat st;
	struct oif_texts_name name = oif_texts_name(ix->h->texts_id);
	const char *slash = strrchr(ix->path, '/');
	auto_free char *path = slash ? xasprintf("%.*s/%s", (int)(slash - ix->path), ix->path, name.s)
				     : xstrdup(name.s);
	ix->texts_fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (ix->texts_fd < 0 && errno != ENOENT)
		return err_sys(e, "open '%s'", path);
	if (ix->texts_fd < 0 || fstat(ix->texts_fd, &st) < 0 || (uint64_t)st.st_size < ix->h->texts_bytes ||
	    pread(ix->texts_fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) || h.magic != OPAM_TEXTS_MAGIC ||
	    h.id != ix->h->texts_id)
		return err_new(e, ERR_VERIFY, "'%s' is not the file of texts of '%s'", path, ix->path);
	return 0;
}

static int map_file(struct opam_index *ix, int dirfd, struct err *e)
{
	struct stat st;
	auto_fd fd = openat(dirfd, ix->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open '%s'", ix->path);
	if (!S_ISREG(st.st_mode) || (size_t)st.st_size < sizeof(struct oif_header) || st.st_size > OPAM_INDEX_BYTES_MAX)
		return err_new(e, ERR_VERIFY, "'%s' is not an index of an opam repository", ix->path);
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, "map '%s'", ix->path);
	ix->map = p;
	ix->bytes = (size_t)st.st_size;
	return check_header(ix, e) < 0 ? -1 : open_texts(ix, dirfd, e);
}

static struct opam_index *index_new(const char *path)
{
	struct opam_index *ix = xcalloc(1, sizeof(*ix));
	ix->path = xstrdup(path);
	ix->texts_fd = -1;
	ix->block = UINT32_MAX;
	ix->plain = BUF_INIT(OPAM_TEXT_MAX + OPAM_TEXT_BLOCK);
	return ix;
}

int opam_index_open(int dirfd, const char *path, struct opam_index **ret, struct err *e)
{
	/* it and its texts may be replaced between the two openings, hardly twice */
	for (int tries = 0;; tries++) {
		auto_ptr(opam_index) ix = index_new(path);
		*e = ERR_INIT;
		if (map_file(ix, dirfd, e) == 0) {
			*ret = steal_ptr(&ix);
			return 0;
		}
		if (e->code != ERR_VERIFY || !ix->h || tries == 2)
			return -1;
	}
}

int oif_open_memory(struct buf *image, const struct str *texts, struct opam_index **ret, struct err *e)
{
	auto_ptr(opam_index) ix = index_new("the index in memory");
	ix->bytes = image->n;
	ix->map = ix->memory.p = buf_steal(image);
	ix->memory.n = ix->bytes;
	ix->texts = texts;
	if (check_header(ix, e) < 0)
		return -1;
	*ret = steal_ptr(&ix);
	return 0;
}

void opam_index_free(struct opam_index *ix)
{
	if (!ix)
		return;
	if (ix->map && !ix->memory.p)
		munmap((void *)(uintptr_t)ix->map, ix->bytes);
	free((void *)(uintptr_t)ix->memory.p);
	cleanup_fd(&ix->texts_fd);
	buf_release(&ix->plain);
	free(ix->path);
	free(ix->own_texts);
	free(ix);
}

int opam_index_check(const struct opam_index *ix, struct err *e)
{
	if (!ix->damaged)
		return 0;
	return err_new(e, ERR_VERIFY, "index '%s' is damaged; remove it, and the next refresh makes it anew", ix->path);
}

/* -- what is asked -------------------------------------------------------------------------------------------------- */

struct opam_index_info opam_index_info(const struct opam_index *ix)
{
	return (struct opam_index_info){
		.names = (uint32_t)ix->h->section[OIF_NAMES].n,
		.packages = (uint32_t)ix->h->section[OIF_PACKAGES].n,
		.problems = (uint32_t)ix->h->section[OIF_PROBLEMS].n,
		.broken = ix->h->broken,
		.repo = oif_string(ix, ix->h->repo),
		.bytes = ix->bytes,
		.texts_bytes = ix->h->texts_bytes,
	};
}

static struct oif_name name_at(const struct opam_index *ix, uint32_t n)
{
	const struct oif_name *p = oif_at(ix, OIF_NAMES, n, 1);
	return p ? *p : (struct oif_name){0};
}

struct str opam_index_name(const struct opam_index *ix, struct oi_name n)
{
	return oif_string(ix, name_at(ix, n.n).str);
}

bool opam_index_find_name(const struct opam_index *ix, struct str name, struct oi_name *ret)
{
	uint64_t low = 0, high = ix->h->section[OIF_NAMES].n;
	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		int c = str_cmp(opam_index_name(ix, (struct oi_name){(uint32_t)mid}), name);
		if (c == 0) {
			ret->n = (uint32_t)mid;
			return true;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

uint32_t opam_index_packages(const struct opam_index *ix, struct oi_name n, struct oi_pkg *first)
{
	struct oif_name name = name_at(ix, n.n);
	uint64_t packages = ix->h->section[OIF_PACKAGES].n;
	first->n = name.first;
	if (name.first <= packages && name.count <= packages - name.first)
		return name.count;
	oif_damaged(ix);
	return 0;
}

static struct oif_package package_at(const struct opam_index *ix, struct oi_pkg p)
{
	const struct oif_package *at = oif_at(ix, OIF_PACKAGES, p.n, 1);
	return at ? *at : (struct oif_package){0};
}

struct opam_index_pkg opam_index_pkg(const struct opam_index *ix, struct oi_pkg p)
{
	struct oif_package at = package_at(ix, p);
	struct str key = oif_string(ix, at.key), name = opam_index_name(ix, (struct oi_name){at.name});
	const struct oif_folder *folder = oif_at(ix, OIF_FOLDERS, at.folder, 1);
	if (name.n >= key.n || !str_starts(key, name)) {
		oif_damaged(ix);
		name = key;
	}
	return (struct opam_index_pkg){
		.name_id = {at.name},
		.name = str_head(key, name.n),
		.version = str_skip(key, name.n + 1),
		.key = key,
		.folder = folder ? oif_string(ix, folder->path) : STR(""),
		.flags = at.flags & (OIF_URL - 1),
		.has_url = at.flags & OIF_URL,
		.has_messages = at.flags & OIF_MESSAGES,
		.broken = at.flags & OIF_BROKEN,
	};
}

bool opam_index_find(const struct opam_index *ix, struct str name, struct str version, struct oi_pkg *ret)
{
	struct oi_name n;
	if (!opam_index_find_name(ix, name, &n))
		return false;
	uint32_t count = opam_index_packages(ix, n, ret);
	for (; count > 0; count--, ret->n++)
		if (str_eq(opam_index_pkg(ix, *ret).version, version))
			return true;
	return false;
}

struct pkg_opam_strs opam_index_list(const struct opam_index *ix, struct oi_pkg p, enum oi_list which, struct arena *a)
{
	uint32_t place = package_at(ix, p).list[which];
	const uint32_t *n = place ? oif_at(ix, OIF_LISTS, place, 1) : NULL;
	const uint32_t *id = n && *n ? oif_at(ix, OIF_LISTS, place + 1, *n) : NULL;
	if (!id)
		return (struct pkg_opam_strs){0};
	struct str *v = arena_array(a, struct str, *n);
	for (uint32_t i = 0; i < *n; i++)
		v[i] = oif_string(ix, id[i]);
	return (struct pkg_opam_strs){v, *n};
}

struct str opam_index_problem(const struct opam_index *ix, uint32_t i)
{
	const struct oif_problem *p = oif_at(ix, OIF_PROBLEMS, i, 1);
	return p ? oif_string(ix, p->text) : STR("");
}

struct str opam_index_problem_of(const struct opam_index *ix, struct oi_pkg p)
{
	for (uint32_t i = 0; i < ix->h->section[OIF_PROBLEMS].n; i++) {
		const struct oif_problem *at = oif_at(ix, OIF_PROBLEMS, i, 1);
		if (at && at->package == p.n)
			return oif_string(ix, at->text);
	}
	return STR("");
}

struct pkg_opam_strs opam_index_mirrors(const struct opam_index *ix, struct str base, struct arena *a)
{
	struct pkg_opam_doc d;
	struct err ignored =
		ERR_INIT; /* a repository without such a file has none; what could be read of a faulty one counts */
	VEC(struct str) list = {0};
	pkg_opam_read(a, arena_str(a, opam_index_info(ix).repo), "repo", &d, &ignored);
	for (const struct pkg_opam_value *v = pkg_opam_first(pkg_opam_get(&d, "archive-mirrors")); v; v = v->next) {
		struct str url = pkg_opam_text(v);
		bool whole = str_search(url, STR("://")) >= 0 || str_starts(url, STR("/"));
		if (url.n)
			vec_push(&list, whole ? url : str_c(arena_printf(a, "%.*s/%.*s", STR_ARG(base), STR_ARG(url))));
	}
	struct pkg_opam_strs ret = {vec_copy(&list, a), list.n};
	vec_release(&list);
	return ret;
}

/* -- texts ---------------------------------------------------------------------------------------------------------- */

static int bad_texts(const struct opam_index *ix, struct err *e)
{
	oif_damaged(ix);
	return err_new(e, ERR_VERIFY,
		       "the texts of index '%s' are damaged; remove it, and the next refresh makes it anew", ix->path);
}

static int load_block(struct opam_index *ix, uint32_t number, struct err *e)
{
	const struct oif_block *b = oif_at(ix, OIF_BLOCKS, number, 1);
	if (!b || b->plain > ix->plain.max || b->packed > ix->h->texts_bytes || b->at > ix->h->texts_bytes - b->packed)
		return bad_texts(ix, e);
	auto_free char *packed = xmalloc((size_t)b->packed + 1);
	if (pread(ix->texts_fd, packed, b->packed, (off_t)b->at) != (ssize_t)b->packed ||
	    intern_hash(packed, b->packed, ix->h->seed) != b->sum)
		return bad_texts(ix, e);
	struct err why = ERR_INIT;
	auto_ptr(istream) in = istream_zstd(istream_mem(str_of(packed, b->packed), ix->path));
	ix->block = UINT32_MAX;
	buf_clear(&ix->plain);
	buf_reserve(&ix->plain, b->plain);
	if (istream_read_all(in, ix->plain.p, b->plain, &why) < 0)
		return bad_texts(ix, e);
	ix->plain.n = b->plain;
	ix->block = number;
	return 0;
}

int opam_index_text(const struct opam_index *const_ix, struct oi_pkg p, struct arena *a, struct str *ret, struct err *e)
{
	struct opam_index *ix = (struct opam_index *)(uintptr_t)const_ix; /* it remembers the block */
	const struct oif_package *at = oif_at(ix, OIF_PACKAGES, p.n, 1);
	if (!at)
		return bad_texts(ix, e);
	if (ix->texts) {
		*ret = ix->texts[p.n];
		return 0;
	}
	if (ix->block != at->block && load_block(ix, at->block, e) < 0)
		return -1;
	if (at->at > ix->plain.n || at->size > ix->plain.n - at->at)
		return bad_texts(ix, e);
	*ret = arena_str(a, str_of(ix->plain.p + at->at, at->size));
	return 0;
}
