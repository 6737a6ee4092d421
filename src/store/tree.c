// SPDX-License-Identifier: Apache-2.0
#include "store/tree.h"

#define XXH_INLINE_ALL
#include <errno.h>
#include <fcntl.h>
#include <xxhash.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/sys.h"

void tree_init(struct tree *t, int dirfd, const struct store_limits *limits, const char *what)
{
	*t = (struct tree){.dir = dirfd, .limits = *limits, .what = what};
}

void tree_release(struct tree *t)
{
	arena_release(&t->a);
	map_release(&t->by_path);
	vec_release(&t->entries);
}

/* A path from the archive as a message may show it: no control bytes, not endless. */
static const char *shown(struct tree *t, const char *path)
{
	struct str s = str_head(str_c(path), 200);
	char *out = arena_strdup(&t->a, s);
	for (char *c = out; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return out;
}

static int refuse(struct tree *t, const char *path, const char *why, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%s' is refused: its entry '%s' %s", t->what, shown(t, path), why);
}

static struct tree_entry *find(struct tree *t, struct str path)
{
	const uint64_t *n = map_get(&t->by_path, path);
	return n ? &t->entries.v[*n - 1] : NULL;
}

static struct tree_entry *add(struct tree *t, struct str path, enum tree_kind kind, struct err *e)
{
	if (t->entries.n >= t->limits.max_entries) {
		err_new(e, ERR_LIMIT, "'%s' is refused: it holds more than %llu entries", t->what,
			(unsigned long long)t->limits.max_entries);
		return NULL;
	}
	struct tree_entry *entry = vec_add(&t->entries);
	*entry = (struct tree_entry){.path = arena_str(&t->a, path), .kind = kind};
	*map_put(&t->by_path, entry->path) = t->entries.n;
	if (kind != TREE_DIR)
		t->files++;
	return entry;
}

/* "./a/b/" → "a/b" */
static struct str clean(const char *path)
{
	struct str s = str_c(path);
	while (str_take_str(&s, STR("./")))
		while (str_take_char(&s, '/'))
			;
	while (s.n > 1 && s.p[s.n - 1] == '/')
		s.n--;
	return str_eq(s, STR(".")) ? STR_NONE : s;
}

static int check_path(struct tree *t, const char *path, struct str s, struct err *e)
{
	if (s.n > t->limits.max_path)
		return err_new(e, ERR_LIMIT, "'%s' is refused: the path of '%s' has more than %llu bytes", t->what,
			       shown(t, path), (unsigned long long)t->limits.max_path);
	if (!fs_path_is_inside(s))
		return refuse(t, path, "has a path that is absolute, leaves the package or holds control bytes", e);
	if (str_eq_c(s, TREE_MARKER) || str_starts(s, STR(TREE_MARKER "/")))
		return refuse(t, path, "has a name that the store keeps for itself", e);
	size_t depth = 0;
	for (size_t i = 0; i < s.n; i++)
		depth += s.p[i] == '/';
	if (depth >= TREE_DEPTH_MAX)
		return err_new(e, ERR_LIMIT, "'%s' is refused: '%s' lies deeper than %d folders", t->what,
			       shown(t, path), TREE_DEPTH_MAX);
	return 0;
}

static int make_dir(struct tree *t, struct str path, struct err *e)
{
	const struct tree_entry *entry = add(t, path, TREE_DIR, e);
	if (!entry)
		return -1;
	if (sys_mkdirat(t->dir, entry->path.p, 0755) < 0 || sys_fchmodat(t->dir, entry->path.p, 0755) < 0)
		return err_sys(e, "make folder '%s' of '%s'", entry->path.p, t->what);
	return 0;
}

/* Every folder above the path is one we made, or is made now. */
static int make_parents(struct tree *t, const char *path, struct str s, struct err *e)
{
	ptrdiff_t last = str_rfind(s, '/');
	const struct tree_entry *near = last < 0 ? NULL : find(t, str_head(s, (size_t)last));
	if (last < 0 || (near && near->kind == TREE_DIR))
		return 0;
	for (size_t i = 0; i <= (size_t)last; i++) {
		if (s.p[i] != '/')
			continue;
		struct str parent = str_head(s, i);
		const struct tree_entry *entry = find(t, parent);
		if (entry && entry->kind != TREE_DIR)
			return refuse(t, path,
				      entry->kind == TREE_LINK ? "lies behind a symbolic link of the package"
							       : "lies below a file of the package",
				      e);
		if (!entry && make_dir(t, parent, e) < 0)
			return -1;
	}
	return 0;
}

/* Checks a path and makes its parents. 0 to go on with *ret, 1 where there is nothing to make. */
static int prepare(struct tree *t, const char *path, enum tree_kind kind, struct str *ret, struct err *e)
{
	struct str s = clean(path);
	if (s.n == 0)
		return kind == TREE_DIR && *path ? 1 : refuse(t, path, "has no name", e);
	if (check_path(t, path, s, e) < 0)
		return -1;
	const struct tree_entry *there = find(t, s);
	if (there && there->kind == TREE_DIR && kind == TREE_DIR)
		return 1;
	if (there)
		return refuse(t, path, "comes twice", e);
	*ret = s;
	return make_parents(t, path, s, e);
}

int tree_add_dir(struct tree *t, const char *path, struct err *e)
{
	struct str s;
	int r = prepare(t, path, TREE_DIR, &s, e);
	if (r != 0)
		return r < 0 ? -1 : 0;
	return make_dir(t, s, e);
}

int tree_add_link(struct tree *t, const char *path, const char *target, struct err *e)
{
	struct str s, to = str_c(target);
	if (prepare(t, path, TREE_LINK, &s, e) < 0)
		return -1;
	if (to.n == 0 || to.n > t->limits.max_path)
		return refuse(t, path, "is a symbolic link with an empty or endless target", e);
	for (size_t i = 0; i < to.n; i++)
		if ((unsigned char)to.p[i] < ' ' || to.p[i] == 0x7f)
			return refuse(t, path, "is a symbolic link whose target holds control bytes", e);
	if (to.p[0] == '/')
		return refuse(t, path, "is a symbolic link with an absolute target", e);
	struct tree_entry *entry = add(t, s, TREE_LINK, e);
	if (!entry)
		return -1;
	entry->target = arena_str(&t->a, to);
	if (sys_symlinkat(entry->target.p, t->dir, entry->path.p) < 0)
		return err_sys(e, "make link '%s' of '%s'", entry->path.p, t->what);
	return 0;
}

int tree_add_hard_link(struct tree *t, const char *path, const char *target, struct err *e)
{
	struct str s, to = clean(target);
	if (prepare(t, path, TREE_FILE, &s, e) < 0)
		return -1;
	const struct tree_entry *from = find(t, to);
	if (!from || from->kind != TREE_FILE)
		return refuse(t, path, "is a hard link to something that is no earlier file of the package", e);
	size_t from_number = (size_t)(from - t->entries.v);
	struct tree_entry *entry = add(t, s, TREE_FILE, e);
	if (!entry)
		return -1;
	from = &t->entries.v[from_number]; /* entries move */
	entry->exec = from->exec;
	entry->size = from->size;
	memcpy(entry->hash, from->hash, sizeof(entry->hash));
	if (sys_linkat(t->dir, from->path.p, t->dir, entry->path.p, 0) < 0)
		return err_sys(e, "make hard link '%s' of '%s'", entry->path.p, t->what);
	return 0;
}

/* files */

static int over_bytes(const struct tree *t, struct err *e)
{
	return err_new(e, ERR_LIMIT, "'%s' is refused: it holds more than %llu bytes", t->what,
		       (unsigned long long)t->limits.max_bytes);
}

int tree_file_begin(struct tree *t, const char *path, bool exec, uint64_t size, struct tree_file *f, struct err *e)
{
	struct str s;
	*f = (struct tree_file){.t = t, .fd = -1, .promised = size};
	if (prepare(t, path, TREE_FILE, &s, e) < 0)
		return -1;
	if (size > t->limits.max_bytes - t->bytes)
		return over_bytes(t, e);
	f->entry = add(t, s, TREE_FILE, e);
	if (!f->entry)
		return -1;
	f->entry->exec = exec;
	mode_t mode = exec ? 0755 : 0644;
	f->fd = sys_openat(t->dir, f->entry->path.p, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (f->fd < 0)
		return err_sys(e, "create '%s' of '%s'", f->entry->path.p, t->what);
	if (sys_fchmod(f->fd, mode) < 0) /* whatever the umask is */
		return err_sys(e, "set the mode of '%s' of '%s'", f->entry->path.p, t->what);
	f->hash = XXH3_createState();
	if (!f->hash)
		panic("out of memory");
	XXH3_128bits_reset(f->hash);
	return 0;
}

int tree_file_write(struct tree_file *f, const void *p, size_t n, struct err *e)
{
	if (n > f->promised - f->entry->size)
		return refuse(f->t, f->entry->path.p, "is larger than it promises", e);
	if (n > f->t->limits.max_bytes - f->t->bytes)
		return over_bytes(f->t, e);
	f->t->bytes += n;
	f->entry->size += n;
	XXH3_128bits_update(f->hash, p, n);
	return fs_write_all(f->fd, p, n, f->entry->path.p, e);
}

int tree_file_end(struct tree_file *f, int64_t mtime_s, struct err *e)
{
	if (f->entry->size != f->promised)
		return refuse(f->t, f->entry->path.p, "is shorter than it promises", e);
	XXH128_hash_t h = XXH3_128bits_digest(f->hash);
	f->entry->hash[0] = h.high64;
	f->entry->hash[1] = h.low64;
	/* kept because Python compares them with what its compiled files say */
	struct timespec times[2] = {{.tv_sec = mtime_s}, {.tv_sec = mtime_s}};
	if (sys_futimens(f->fd, times) < 0)
		return err_sys(e, "set the time of '%s' of '%s'", f->entry->path.p, f->t->what);
	int fd = steal_fd(&f->fd);
	if (close(fd) < 0)
		return err_sys(e, "write '%s' of '%s'", f->entry->path.p, f->t->what);
	return 0;
}

void tree_file_release(struct tree_file *f)
{
	cleanup_fd(&f->fd);
	XXH3_freeState(f->hash);
	f->hash = NULL;
}

/* finishing */

/*
 * True where a symbolic link cannot lead out of the tree. The folder it lies in is real (no link is ever a parent), so
 * leading ".." are what they seem. A name may be a link itself, whose own target is checked in the same way; but ".."
 * behind a link climbs from where that link leads, which is refused rather than followed.
 */
static bool link_stays_inside(struct tree *t, const struct tree_entry *link)
{
	auto_buf at = BUF_INIT(TREE_LISTING_MAX);
	ptrdiff_t slash = str_rfind(link->path, '/');
	buf_put_str(&at, str_head(link->path, slash < 0 ? 0 : (size_t)slash));
	bool behind_link = false;
	struct str left = link->target;
	while (left.n > 0) {
		struct str part = left;
		if (!str_take_until(&left, '/', &part))
			left = STR_NONE;
		if (part.n == 0 || str_eq(part, STR(".")))
			continue;
		if (str_eq(part, STR(".."))) {
			if (at.n == 0 || behind_link)
				return false;
			ptrdiff_t up = str_rfind(buf_str(&at), '/');
			buf_truncate(&at, up < 0 ? 0 : (size_t)up);
			continue;
		}
		if (at.n > 0)
			buf_put_c(&at, "/");
		buf_put_str(&at, part);
		const struct tree_entry *there = find(t, buf_str(&at));
		behind_link = behind_link || (there && there->kind == TREE_LINK);
	}
	return true;
}

static int compare_entries(const void *a, const void *b)
{
	return str_cmp(((const struct tree_entry *)a)->path, ((const struct tree_entry *)b)->path);
}

/* Sorts the entries, so the map by path is stale afterwards. */
static void put_listing(struct tree *t, struct buf *b)
{
	vec_sort(&t->entries, compare_entries);
	vec_foreach(entry, &t->entries) {
		switch (entry->kind) {
		case TREE_DIR:
			buf_put_c(b, "d ");
			break;
		case TREE_LINK:
			buf_put_c(b, "l ");
			break;
		case TREE_FILE:
			buf_printf(b, "f %s %llu %016llx%016llx ", entry->exec ? "755" : "644",
				   (unsigned long long)entry->size, (unsigned long long)entry->hash[0],
				   (unsigned long long)entry->hash[1]);
			break;
		}
		buf_put_str(b, entry->path);
		if (entry->kind == TREE_LINK) {
			buf_put_c(b, "\t");
			buf_put_str(b, entry->target);
		}
		buf_put_c(b, "\n");
	}
}

int tree_check_links(struct tree *t, struct err *e)
{
	vec_foreach(entry, &t->entries)
		if (entry->kind == TREE_LINK && !link_stays_inside(t, entry))
			return refuse(t, entry->path.p, "is a symbolic link that leaves the package", e);
	return 0;
}

int tree_finish(struct tree *t, struct err *e)
{
	if (tree_check_links(t, e) < 0)
		return -1;
	auto_buf listing = BUF_INIT(TREE_LISTING_MAX);
	auto_buf head = BUF_INIT(256);
	put_listing(t, &listing);
	if (listing.overflow)
		return err_new(e, ERR_LIMIT, "'%s' is refused: the names of its entries are too long", t->what);
	uint8_t sum[SHA256_SIZE];
	sha256(listing.p, listing.n, sum);
	buf_put_hex(&head, sum, sizeof(sum));
	buf_printf(&head, " %llu %llu\n", (unsigned long long)t->files, (unsigned long long)t->bytes);
	auto_fd fd = sys_openat(t->dir, TREE_MARKER, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(e, "create '" TREE_MARKER "' of '%s'", t->what);
	if (fs_write_all(fd, head.p, head.n, TREE_MARKER, e) < 0 ||
	    fs_write_all(fd, listing.p, listing.n, TREE_MARKER, e) < 0)
		return err_ctx(e, "unpack '%s'", t->what);
	return 0;
}

/* verifying */

static int parse_summary(struct str line, struct tree_summary *ret, struct err *e)
{
	struct str hex, files;
	if (!str_take_until(&line, ' ', &hex) || !str_take_until(&line, ' ', &files) ||
	    !str_unhex(hex, ret->listing, SHA256_SIZE) || !str_to_u64(files, &ret->files) ||
	    !str_to_u64(line, &ret->bytes))
		return err_new(e, ERR_VERIFY, "'" TREE_MARKER "' is malformed");
	return 0;
}

int tree_read_summary(int treefd, struct tree_summary *ret, struct err *e)
{
	char head[256];
	auto_fd fd = openat(treefd, TREE_MARKER, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof(head));
	if (n < 0)
		return err_sys(e, "read '" TREE_MARKER "'");
	struct str s = str_of(head, (size_t)n), line;
	if (!str_take_until(&s, '\n', &line))
		return err_new(e, ERR_VERIFY, "'" TREE_MARKER "' is malformed");
	return parse_summary(line, ret, e);
}

static int hash_file(int dirfd, const char *name, struct tree_entry *entry, struct err *e)
{
	enum { CHUNK = 1 << 17 };
	auto_fd fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open '%.*s'", STR_ARG(entry->path));
	auto_free uint8_t *chunk = xmalloc(CHUNK);
	XXH3_state_t *state = XXH3_createState();
	XXH3_128bits_reset(state);
	ssize_t n;
	while ((n = read(fd, chunk, CHUNK)) > 0 || (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		XXH3_128bits_update(state, chunk, (size_t)n);
		entry->size += (uint64_t)n;
	}
	XXH128_hash_t h = XXH3_128bits_digest(state);
	entry->hash[0] = h.high64;
	entry->hash[1] = h.low64;
	XXH3_freeState(state);
	return n < 0 ? err_sys(e, "read '%.*s'", STR_ARG(entry->path)) : 0;
}

static int read_entry(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct tree *t = ctx;
	if (strcmp(rel, TREE_MARKER) == 0)
		return 0;
	enum tree_kind kind = S_ISDIR(st->st_mode) ? TREE_DIR : S_ISLNK(st->st_mode) ? TREE_LINK : TREE_FILE;
	struct tree_entry *entry = vec_add(&t->entries);
	*entry = (struct tree_entry){.path = arena_str(&t->a, str_c(rel)), .kind = kind};
	if (kind == TREE_LINK) {
		char target[4097];
		ssize_t n = readlinkat(dirfd, name, target, sizeof(target));
		if (n < 0)
			return err_sys(e, "read link '%s'", rel);
		entry->target = arena_str(&t->a, str_of(target, (size_t)n));
	}
	if (kind != TREE_FILE)
		return 0;
	entry->exec = (st->st_mode & 07777) == 0755;
	if (!S_ISREG(st->st_mode) || (!entry->exec && (st->st_mode & 07777) != 0644))
		return err_new(e, ERR_VERIFY, "'%s' has another kind or mode", rel);
	return hash_file(dirfd, name, entry, e);
}

/* The path of a line of a listing. */
static struct str path_of_line(struct str line)
{
	struct str word, path = line, rest = str_skip(line, line.n < 2 ? line.n : 2);
	if (str_starts(line, STR("l ")))
		return str_take_until(&rest, '\t', &path) ? path : rest;
	if (str_starts(line, STR("d ")))
		return rest;
	for (int i = 0; i < 4; i++)
		if (!str_take_until(&path, ' ', &word))
			return line;
	return path;
}

/* Names the first path in which two listings, both sorted, differ. */
static void explain(struct str want, struct str got, struct buf *why)
{
	struct str a = STR_NONE, b = STR_NONE;
	for (;;) {
		bool more = str_take_line(&want, &a);
		bool also = str_take_line(&got, &b);
		if (!more && !also)
			return;
		if (more && also && str_eq(a, b))
			continue;
		struct str listed = more ? path_of_line(a) : STR_NONE, found = also ? path_of_line(b) : STR_NONE;
		int order = !more ? 1 : !also ? -1 : str_cmp(listed, found);
		struct str path = order > 0 ? found : listed;
		buf_printf(why, "'%.*s' %s", STR_ARG(path),
			   order > 0   ? "is there and belongs to no package"
			   : order < 0 ? "is missing"
				       : "is not what was unpacked");
		return;
	}
}

bool tree_is_shortage(int errnum)
{
	return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM;
}

int tree_verify(int treefd, struct buf *why, struct err *e)
{
	auto_buf marker = BUF_INIT(TREE_LISTING_MAX + 256);
	if (fs_read(treefd, TREE_MARKER, &marker, e) < 0) {
		buf_put_c(why, e->msg);
		return e->code == ERR_NOT_FOUND ? 1 : -1;
	}
	struct str text = buf_str(&marker), line;
	struct tree_summary summary;
	uint8_t sum[SHA256_SIZE];
	bool good = str_take_until(&text, '\n', &line) && parse_summary(line, &summary, e) == 0;
	if (good)
		sha256(text.p, text.n, sum);
	if (!good || memcmp(sum, summary.listing, sizeof(sum)) != 0) {
		buf_put_c(why, "'" TREE_MARKER "' is damaged");
		return 1;
	}
	struct tree t;
	tree_init(&t, treefd, &STORE_LIMITS_DEFAULT, TREE_MARKER);
	auto_buf listing = BUF_INIT(TREE_LISTING_MAX);
	int r = fs_walk(treefd, ".", read_entry, &t, e);
	if (r == 0) {
		put_listing(&t, &listing);
		r = str_eq(text, buf_str(&listing)) ? 0 : 1;
		if (r == 1)
			explain(text, buf_str(&listing), why);
	} else if (!tree_is_shortage(errno)) {
		buf_put_c(why, e->msg);
		r = 1;
	}
	int errnum = errno;
	tree_release(&t);
	errno = errnum;
	return r;
}

/* listing */

/* "f MODE SIZE HASH PATH": 1 with *ret filled, 0 for an entry of another kind, -1 for none at all. */
static int parse_file_line(struct str line, struct store_tree_file *ret)
{
	struct str mode, size, hash;
	if (str_starts(line, STR("d ")) || str_starts(line, STR("l ")))
		return 0;
	if (!str_take_str(&line, STR("f ")) || !str_take_until(&line, ' ', &mode) ||
	    !str_take_until(&line, ' ', &size) || !str_take_until(&line, ' ', &hash) || line.n == 0 ||
	    !str_to_u64(size, &ret->size))
		return -1;
	ret->exec = str_eq(mode, STR("755"));
	ret->path = line;
	return 1;
}

int store_tree_files(int treefd, struct arena *a, struct store_tree_file **ret, size_t *ret_n, struct err *e)
{
	auto_buf marker = BUF_INIT(TREE_LISTING_MAX + 256);
	struct tree_summary sum;
	struct str text, line;
	size_t n = 0;
	if (fs_read(treefd, TREE_MARKER, &marker, e) < 0)
		return -1;
	text = arena_str(a, buf_str(&marker));
	if (!str_take_until(&text, '\n', &line) || parse_summary(line, &sum, e) < 0 || sum.files > text.n)
		return err_new(e, ERR_VERIFY, "'" TREE_MARKER "' is malformed");
	struct store_tree_file *list = arena_array(a, struct store_tree_file, sum.files);
	while (str_take_line(&text, &line)) {
		struct store_tree_file f;
		int is_file = parse_file_line(line, &f);
		if (is_file < 0 || (is_file > 0 && n == sum.files))
			return err_new(e, ERR_VERIFY, "'" TREE_MARKER "' is malformed");
		if (is_file > 0)
			list[n++] = f;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}
