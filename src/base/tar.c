// SPDX-License-Identifier: Apache-2.0
#include "base/tar.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/vec.h"

enum { NAME_AT = 0, NAME_SIZE = 100, PREFIX_AT = 345, PREFIX_SIZE = 155, LINK_AT = 157, MAGIC_AT = 257, TYPE_AT = 156 };

struct tar_reader {
	struct istream *s;
	const char *what;
	int seek_fd;
	uint64_t at;   /* bytes of the stream that are behind us */
	uint64_t left; /* content of the current entry, then its padding */
	uint32_t pad;
	uint64_t number;
	bool over;
	struct arena a; /* of the current entry */
	VEC(struct tar_xattr) xattrs;
};

/* What extended headers and long names said about the entry that follows them. */
struct extended {
	struct str path, target;
	bool has_size, has_uid, has_gid, has_mtime;
	uint64_t size, uid, gid;
	int64_t mtime_s;
	uint32_t mtime_ns;
};

struct tar_shown tar_shown(struct str path)
{
	struct tar_shown out;
	bool cut = path.n > 200;
	path = str_head(path, 200);
	size_t n = 0;
	for (; n < path.n; n++)
		out.s[n] = (unsigned char)path.p[n] < ' ' || path.p[n] == 0x7f ? '?' : path.p[n];
	memcpy(out.s + n, cut ? "..." : "", cut ? 4 : 1);
	return out;
}

struct tar_reader *tar_reader_new(struct istream *s, const char *what)
{
	struct tar_reader *r = xcalloc(1, sizeof(*r));
	r->s = s;
	r->what = what;
	r->seek_fd = -1;
	return r;
}

void tar_reader_seeks(struct tar_reader *r, int fd)
{
	r->seek_fd = fd;
}

void tar_reader_free(struct tar_reader *r)
{
	if (!r)
		return;
	arena_release(&r->a);
	vec_release(&r->xattrs);
	free(r);
}

static int bad(const struct tar_reader *r, const char *why, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%s' is refused: entry %llu %s", r->what, (unsigned long long)r->number, why);
}

static int truncated(const struct tar_reader *r, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%s' is truncated: it ends inside entry %llu; fetch or make it again", r->what,
		       (unsigned long long)r->number);
}

/* 1; 0 at the end of the stream, where nothing was read. */
static int read_block(struct tar_reader *r, char block[TAR_BLOCK], struct err *e)
{
	size_t n = 0;
	while (n < TAR_BLOCK) {
		ssize_t got = istream_read(r->s, block + n, TAR_BLOCK - n, e);
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	r->at += n;
	if (n != 0 && n != TAR_BLOCK)
		return truncated(r, e);
	return n != 0;
}

static int skip_by_seek(struct tar_reader *r, uint64_t n, struct err *e)
{
	struct stat st;
	if (fstat(r->seek_fd, &st) < 0)
		return err_sys(e, "stat '%s'", r->what);
	if (n > (uint64_t)st.st_size || r->at > (uint64_t)st.st_size - n)
		return truncated(r, e);
	if (lseek(r->seek_fd, (off_t)n, SEEK_CUR) < 0)
		return err_sys(e, "read '%s'", r->what);
	r->at += n;
	return 0;
}

static int skip(struct tar_reader *r, uint64_t n, struct err *e)
{
	enum { PIECE = 1 << 14 };
	char piece[PIECE];
	if (n > PIECE && r->seek_fd >= 0)
		return skip_by_seek(r, n, e);
	while (n > 0) {
		ssize_t got = istream_read(r->s, piece, n < PIECE ? (size_t)n : PIECE, e);
		if (got < 0)
			return -1;
		if (got == 0)
			return truncated(r, e);
		r->at += (uint64_t)got;
		n -= (uint64_t)got;
	}
	return 0;
}

ssize_t tar_read(struct tar_reader *r, void *p, size_t n, struct err *e)
{
	if (r->left == 0 || n == 0)
		return 0;
	ssize_t got = istream_read(r->s, p, n < r->left ? n : (size_t)r->left, e);
	if (got == 0)
		return truncated(r, e);
	if (got > 0) {
		r->at += (uint64_t)got;
		r->left -= (uint64_t)got;
	}
	return got;
}

/* == numbers and names ============================================================================================ */

/* Octal digits between blanks, or GNU's big-endian binary with the highest bit set. */
static bool number(const char *p, size_t n, int64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;
	if ((unsigned char)p[0] & 0x80) {
		bool negative = (unsigned char)p[0] == 0xff;
		v = negative ? UINT64_MAX : (unsigned char)p[0] & 0x3f;
		for (i = 1; i < n; i++) {
			if (v >> 55 != 0 && v >> 55 != 0x1ff)
				return false;
			v = v << 8 | (unsigned char)p[i];
		}
		*ret = (int64_t)v;
		return negative == (*ret < 0);
	}
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
		if (v >> 60)
			return false;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	for (; i < n; i++)
		if (p[i] != ' ' && p[i] != '\0')
			return false;
	*ret = (int64_t)v;
	return true;
}

static struct str field(const char *p, size_t n)
{
	return str_of(p, strnlen(p, n));
}

static bool sum_is_right(const char *h)
{
	int64_t want, plain = 0, with_sign = 0;
	if (!number(h + 148, 8, &want))
		return false;
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		char c = i >= 148 && i < 156 ? ' ' : h[i];
		plain += (unsigned char)c;
		with_sign += (signed char)c;
	}
	return want == plain || want == with_sign;
}

static bool is_zero(const char *block)
{
	for (size_t i = 0; i < TAR_BLOCK; i++)
		if (block[i])
			return false;
	return true;
}

/* == extended headers ============================================================================================= */

/* The content of an extended header, or a long name, of `size` bytes. */
static int read_text(struct tar_reader *r, uint64_t size, struct str *ret, struct err *e)
{
	if (size > TAR_PAX_MAX)
		return err_new(e, ERR_LIMIT,
			       "'%s' is refused: entry %llu has an extended header of %llu bytes, more than %d",
			       r->what, (unsigned long long)r->number, (unsigned long long)size, TAR_PAX_MAX);
	char *p = arena_alloc(&r->a, (size_t)size + 1);
	size_t n = 0;
	while (n < size) {
		ssize_t got = istream_read(r->s, p + n, (size_t)size - n, e);
		if (got < 0)
			return -1;
		if (got == 0)
			return truncated(r, e);
		n += (size_t)got;
	}
	p[n] = '\0';
	r->at += n;
	*ret = str_of(p, n);
	return skip(r, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK, e);
}

static bool is_time(int64_t s)
{
	return s > INT64_MIN / 4 && s < INT64_MAX / 4;
}

/* "1350244992.023960108", also negative. */
static bool parse_time(struct str s, int64_t *ret_s, uint32_t *ret_ns)
{
	struct str whole = s, fraction = STR_NONE;
	ptrdiff_t dot = str_find(s, '.');
	if (dot >= 0) {
		whole = str_head(s, (size_t)dot);
		fraction = str_skip(s, (size_t)dot + 1);
	}
	if (!str_to_i64(whole, ret_s))
		return false;
	uint32_t ns = 0;
	for (size_t i = 0; i < 9; i++) {
		char c = i < fraction.n ? fraction.p[i] : '0';
		if (c < '0' || c > '9')
			return false;
		ns = ns * 10 + (uint32_t)(c - '0');
	}
	if (whole.p[0] == '-' && ns > 0) {
		*ret_s -= 1;
		ns = 1000000000 - ns;
	}
	*ret_ns = ns;
	return is_time(*ret_s);
}

static bool has_nul(struct str s)
{
	return s.n && memchr(s.p, '\0', s.n);
}

static int add_xattr(struct tar_reader *r, struct str name, struct str value, struct err *e)
{
	if (r->xattrs.n >= TAR_XATTRS_MAX)
		return err_new(e, ERR_LIMIT, "'%s' is refused: entry %llu has more than %d extended attributes",
			       r->what, (unsigned long long)r->number, TAR_XATTRS_MAX);
	vec_push(&r->xattrs, ((struct tar_xattr){arena_str(&r->a, name), value}));
	return 0;
}

static int take_record(struct tar_reader *r, struct extended *x, struct str key, struct str value, struct err *e)
{
	bool good = true;
	if (str_eq(key, STR("path")))
		good = !has_nul(x->path = value);
	else if (str_eq(key, STR("linkpath")))
		good = !has_nul(x->target = value);
	else if (str_eq(key, STR("size")))
		good = x->has_size = str_to_u64(value, &x->size);
	else if (str_eq(key, STR("uid")))
		good = x->has_uid = str_to_u64(value, &x->uid);
	else if (str_eq(key, STR("gid")))
		good = x->has_gid = str_to_u64(value, &x->gid);
	else if (str_eq(key, STR("mtime")))
		good = x->has_mtime = parse_time(value, &x->mtime_s, &x->mtime_ns);
	else if (str_starts(key, STR("GNU.sparse.")))
		return bad(r, "is a sparse file; make the archive without --sparse", e);
	else if (str_take_str(&key, STR("SCHILY.xattr.")))
		return has_nul(key) ? bad(r, "has an extended attribute with a NUL in its name", e)
				    : add_xattr(r, key, value, e);
	return good ? 0 : bad(r, "has a malformed extended header", e);
}

/* "30 mtime=1350244992.023960108\n" and so on. Values end with a NUL in place of their line's end. */
static int parse_pax(struct tar_reader *r, struct str text, bool global, struct extended *x, struct err *e)
{
	while (text.n > 0) {
		struct str rest = text, key;
		uint64_t n;
		if (!str_take_u64(&rest, &n) || !str_take_char(&rest, ' ') || n > text.n || n < text.n - rest.n + 2 ||
		    text.p[n - 1] != '\n')
			return bad(r, "has a malformed extended header", e);
		struct str record = str_of(rest.p, (size_t)n - (text.n - rest.n) - 1);
		if (!str_take_until(&record, '=', &key))
			return bad(r, "has a malformed extended header", e);
		if (!global && take_record(r, x, key, arena_str(&r->a, record), e) < 0)
			return -1;
		if (global && (str_eq(key, STR("path")) || str_eq(key, STR("linkpath")) || str_eq(key, STR("size"))))
			return bad(r, "is a global header that names a path or size", e);
		text = str_skip(text, (size_t)n);
	}
	return 0;
}

/* == headers ====================================================================================================== */

static bool kind_of(const char *h, enum tar_kind *ret)
{
	static const struct {
		char type;
		enum tar_kind kind;
	} kinds[] = {{'0', TAR_FILE},	      {'\0', TAR_FILE},	  {'7', TAR_FILE},
		     {'1', TAR_HARD_LINK},    {'2', TAR_SYMLINK}, {'3', TAR_CHAR},
		     {'4', TAR_BLOCK_DEVICE}, {'5', TAR_DIR},	  {'6', TAR_FIFO}};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (kinds[i].type == h[TYPE_AT]) {
			*ret = kinds[i].kind;
			return true;
		}
	return false;
}

static struct str name_of(struct tar_reader *r, const char *h)
{
	struct str name = field(h + NAME_AT, NAME_SIZE), prefix = field(h + PREFIX_AT, PREFIX_SIZE);
	if (memcmp(h + MAGIC_AT, "ustar", 6) != 0 || prefix.n == 0)
		return arena_str(&r->a, name);
	return str_c(arena_printf(&r->a, "%.*s/%.*s", STR_ARG(prefix), STR_ARG(name)));
}

static int fill(struct tar_reader *r, const char *h, const struct extended *x, struct tar_entry *en, struct err *e)
{
	int64_t mode, uid, gid, size, mtime, major = 0, minor = 0;
	*en = (struct tar_entry){.number = r->number, .xattrs = r->xattrs.v, .n_xattrs = r->xattrs.n};
	if (!kind_of(h, &en->kind))
		return bad(r,
			   h[TYPE_AT] == 'S' ? "is a sparse file; make the archive without --sparse"
					     : "is of a kind that is not known",
			   e);
	if (!number(h + 100, 8, &mode) || !number(h + 108, 8, &uid) || !number(h + 116, 8, &gid) ||
	    !number(h + 124, 12, &size) || !number(h + 136, 12, &mtime))
		return bad(r, "has a header with a malformed number", e);
	if ((en->kind == TAR_CHAR || en->kind == TAR_BLOCK_DEVICE) &&
	    (!number(h + 329, 8, &major) || !number(h + 337, 8, &minor)))
		return bad(r, "has a header with a malformed number", e);
	en->path = x->path.p ? x->path : name_of(r, h);
	en->target = x->target.p ? x->target : arena_str(&r->a, field(h + LINK_AT, NAME_SIZE));
	if (h[TYPE_AT] == '\0' && str_ends(en->path, STR("/")))
		en->kind = TAR_DIR; /* v7 */
	en->mode = (uint32_t)mode & 07777;
	en->major = (uint32_t)major;
	en->minor = (uint32_t)minor;
	en->uid = x->has_uid ? x->uid : (uint64_t)uid;
	en->gid = x->has_gid ? x->gid : (uint64_t)gid;
	en->mtime_s = x->has_mtime ? x->mtime_s : mtime;
	en->mtime_ns = x->has_mtime ? x->mtime_ns : 0;
	en->size = x->has_size ? x->size : (uint64_t)size;
	if (en->kind != TAR_FILE)
		en->size = 0; /* whatever it says: none follows */
	if (uid < 0 || gid < 0 || size < 0 || en->size > INT64_MAX - 2 * TAR_BLOCK || !is_time(en->mtime_s))
		return bad(r, "has a header with a malformed number", e);
	en->offset = r->at;
	return 0;
}

/* A header that tells of the next one. 1 where it was one. */
static int take_extension(struct tar_reader *r, const char *h, struct extended *x, struct err *e)
{
	int64_t size;
	struct str text = STR_NONE;
	char type = h[TYPE_AT];
	if (!type || !strchr("xgLKV", type))
		return 0;
	if (!number(h + 124, 12, &size) || size < 0)
		return bad(r, "has a header with a malformed number", e);
	if (read_text(r, (uint64_t)size, &text, e) < 0)
		return -1;
	if (type == 'L' || type == 'K') {
		struct str name = str_of(text.p, strnlen(text.p, text.n));
		*(type == 'L' ? &x->path : &x->target) = name;
		return 1;
	}
	if (type == 'V') /* the name of the volume */
		return 1;
	return parse_pax(r, text, type == 'g', x, e) < 0 ? -1 : 1;
}

/* One block of zeros has been read: the other one, or the end of the stream, is the end of the archive. */
static int end_of_archive(struct tar_reader *r, struct err *e)
{
	char block[TAR_BLOCK];
	int got = read_block(r, block, e);
	if (got < 0)
		return -1;
	if (got > 0 && !is_zero(block))
		return err_new(e, ERR_INPUT,
			       "'%s' is refused: a block of zeros stands before its entry %llu; fetch or make it again",
			       r->what, (unsigned long long)r->number);
	r->over = true;
	return 0;
}

int tar_next(struct tar_reader *r, struct tar_entry *ret, struct err *e)
{
	char h[TAR_BLOCK];
	struct extended x = {0};
	if (r->over)
		return 0;
	if (skip(r, r->left, e) < 0 || skip(r, r->pad, e) < 0)
		return -1;
	r->left = r->pad = 0;
	r->number++;
	arena_release(&r->a);
	vec_clear(&r->xattrs);
	for (size_t headers = 0;; headers++) {
		int got = read_block(r, h, e);
		if (got < 0)
			return -1;
		if (got == 0 && r->number == 1 && !headers)
			return err_new(e, ERR_INPUT, "'%s' is empty: it is no tar archive", r->what);
		if (got == 0 && headers)
			return truncated(r, e);
		if (got == 0) { /* some write no end */
			r->over = true;
			return 0;
		}
		if (is_zero(h))
			return end_of_archive(r, e);
		if (!sum_is_right(h))
			return r->number == 1 && !headers
				       ? err_new(e, ERR_INPUT, "'%s' is no tar archive", r->what)
				       : bad(r, "has a damaged header; fetch or make the archive again", e);
		got = headers < 8 ? take_extension(r, h, &x, e) : bad(r, "has too many extended headers", e);
		if (got < 0)
			return -1;
		if (got == 0)
			break;
	}
	if (fill(r, h, &x, ret, e) < 0)
		return -1;
	r->left = ret->size;
	r->pad = (uint32_t)((TAR_BLOCK - ret->size % TAR_BLOCK) % TAR_BLOCK);
	return 1;
}

int tar_drain(struct tar_reader *r, struct err *e)
{
	char piece[TAR_BLOCK * 8];
	size_t total = 0;
	for (;;) {
		ssize_t n = istream_read(r->s, piece, sizeof(piece), e);
		if (n <= 0)
			return n < 0 ? -1 : 0;
		total += (size_t)n;
		if (total > TAR_TRAILER_MAX)
			return err_new(e, ERR_LIMIT,
				       "'%s' is refused: more than %d bytes follow the end of the archive", r->what,
				       TAR_TRAILER_MAX);
	}
}

/* == writing ====================================================================================================== */

static int put(struct tar_writer *w, const void *p, size_t n, struct err *e)
{
	w->at += n;
	return n ? w->sink(w->ctx, p, n, e) : 0;
}

static int put_zeros(struct tar_writer *w, size_t n, struct err *e)
{
	static const char zeros[2 * TAR_BLOCK];
	return put(w, zeros, n, e);
}

static void put_number(char *p, size_t n, uint64_t v)
{
	for (size_t i = n - 1; i-- > 0; v >>= 3)
		p[i] = (char)('0' + (v & 7));
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void put_record(struct buf *b, const char *prefix, struct str key, struct str value)
{
	size_t rest = 1 + strlen(prefix) + key.n + 1 + value.n + 1, n = rest + 1;
	while (n != rest + (size_t)snprintf(NULL, 0, "%zu", n))
		n = rest + (size_t)snprintf(NULL, 0, "%zu", n);
	buf_printf(b, "%zu %s", n, prefix);
	buf_put_str(b, key);
	buf_put_char(b, '=');
	buf_put_str(b, value);
	buf_put_char(b, '\n');
}

static void put_record_u64(struct buf *b, const char *key, uint64_t v)
{
	char text[32];
	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	put_record(b, "", str_c(key), str_c(text));
}

static int put_header(struct tar_writer *w, char type, struct str path, struct str target, const struct tar_entry *en,
		      uint64_t size, struct err *e)
{
	char h[TAR_BLOCK] = {0};
	const uint64_t id_max = 07777777, time_max = 077777777777;
	memcpy(h, path.p, path.n < NAME_SIZE ? path.n : NAME_SIZE);
	put_number(h + 100, 8, en->mode);
	put_number(h + 108, 8, en->uid <= id_max ? en->uid : 0);
	put_number(h + 116, 8, en->gid <= id_max ? en->gid : 0);
	put_number(h + 124, 12, size <= time_max ? size : 0);
	put_number(h + 136, 12, en->mtime_s >= 0 && (uint64_t)en->mtime_s <= time_max ? (uint64_t)en->mtime_s : 0);
	memset(h + 148, ' ', 8);
	h[TYPE_AT] = type;
	if (target.n)
		memcpy(h + LINK_AT, target.p, target.n < NAME_SIZE ? target.n : NAME_SIZE);
	memcpy(h + MAGIC_AT,
	       "ustar\0"
	       "00",
	       8);
	put_number(h + 329, 8, en->major);
	put_number(h + 337, 8, en->minor);
	uint64_t sum = 0;
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += (unsigned char)h[i];
	put_number(h + 148, 7, sum);
	h[154] = '\0';
	h[155] = ' ';
	return put(w, h, sizeof(h), e);
}

static bool is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

/* What ustar cannot say. */
static void put_pax(struct buf *b, const struct tar_entry *en)
{
	char text[32];
	if (en->path.n > NAME_SIZE || !is_ascii(en->path))
		put_record(b, "", STR("path"), en->path);
	if (en->target.n > NAME_SIZE || !is_ascii(en->target))
		put_record(b, "", STR("linkpath"), en->target);
	if (en->uid > 07777777)
		put_record_u64(b, "uid", en->uid);
	if (en->gid > 07777777)
		put_record_u64(b, "gid", en->gid);
	if (en->size > 077777777777)
		put_record_u64(b, "size", en->size);
	if (en->mtime_s < 0 || en->mtime_s > 077777777777) {
		snprintf(text, sizeof(text), "%lld", (long long)en->mtime_s);
		put_record(b, "", STR("mtime"), str_c(text));
	}
	for (size_t i = 0; i < en->n_xattrs; i++)
		put_record(b, "SCHILY.xattr.", en->xattrs[i].name, en->xattrs[i].value);
}

int tar_put(struct tar_writer *w, const struct tar_entry *en, struct err *e)
{
	static const char types[] = {[TAR_FILE] = '0', [TAR_HARD_LINK] = '1', [TAR_SYMLINK] = '2',     [TAR_DIR] = '5',
				     [TAR_FIFO] = '6', [TAR_CHAR] = '3',      [TAR_BLOCK_DEVICE] = '4'};
	auto_buf pax = BUF_INIT(TAR_PAX_MAX);
	if (w->left)
		return err_new(e, ERR_FAILED, "write tar: %llu bytes of a file are missing",
			       (unsigned long long)w->left);
	put_pax(&pax, en);
	if (pax.overflow)
		return err_new(e, ERR_LIMIT, "the name and attributes of '%s' need more than %d bytes",
			       tar_shown(en->path).s, TAR_PAX_MAX);
	if (pax.n) {
		struct tar_entry of_pax = {.mode = 0644};
		if (put_header(w, 'x', STR("pax"), STR_NONE, &of_pax, pax.n, e) < 0 || put(w, pax.p, pax.n, e) < 0 ||
		    put_zeros(w, (TAR_BLOCK - pax.n % TAR_BLOCK) % TAR_BLOCK, e) < 0)
			return -1;
	}
	w->left = en->kind == TAR_FILE ? en->size : 0;
	return put_header(w, types[en->kind], en->path, en->target, en, w->left, e);
}

int tar_write(struct tar_writer *w, const void *p, size_t n, struct err *e)
{
	if (n > w->left)
		return err_new(e, ERR_FAILED, "write tar: a file is longer than its header says");
	if (put(w, p, n, e) < 0)
		return -1;
	w->left -= n;
	return w->left || n == 0 ? 0 : put_zeros(w, (TAR_BLOCK - w->at % TAR_BLOCK) % TAR_BLOCK, e);
}

int tar_end(struct tar_writer *w, struct err *e)
{
	if (w->left)
		return err_new(e, ERR_FAILED, "write tar: %llu bytes of a file are missing",
			       (unsigned long long)w->left);
	return put_zeros(w, sizeof(char[2 * TAR_BLOCK]), e);
}
