// SPDX-License-Identifier: Apache-2.0
/*
 * One file into the prefix.
 *
 * A reflink shares the data and nothing else, so that a program that writes into its own files harms nobody; a hard link
 * shares the file. So hard links are the second choice, and files below etc/, which people edit in place, are copied in
 * place of them (doc/decisions/0010-links.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "env/layout.h"

enum { COPY_BUFFER = 128 << 10, PATCH_BUFFER = 64 << 10, PATCH_READ_MAX = 256 << 10 };
enum { FOLDER_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

void layer_note(struct layer *l, const char *fmt, ...)
{
	auto_buf text = BUF_INIT(8192);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&l->mutex);
	progress_send(l->job->opts->progress,
		      (struct progress_event){.kind = PROGRESS_NOTE, .phase = "link", .text = text.p});
	pthread_mutex_unlock(&l->mutex);
}

/* The umask cannot be asked for without changing it for every thread; the kernel shows it. */
mode_t place_umask(void)
{
	auto_buf text = BUF_INIT(1 << 16);
	struct err ignored = ERR_INIT;
	struct str rest, line;
	mode_t mask = 0;
	if (fs_read(AT_FDCWD, "/proc/self/status", &text, &ignored) < 0)
		return 07777;
	rest = buf_str(&text);
	while (str_take_line(&rest, &line)) {
		if (!str_take_str(&line, STR("Umask:")))
			continue;
		line = str_trim(line);
		for (size_t i = 0; i < line.n && line.p[i] >= '0' && line.p[i] <= '7'; i++)
			mask = mask << 3 | (mode_t)(line.p[i] - '0');
		return mask & 07777;
	}
	return 07777; /* unknown: every mode is set again */
}

/* == copies ======================================================================================================= */
static int copy_slow(int from, int to, struct err *e)
{
	auto_free char *b = xmalloc(COPY_BUFFER);
	for (;;) {
		ssize_t n = read(from, b, COPY_BUFFER);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_sys(e, "read") : 0;
		if (fs_write_all(to, b, (size_t)n, "copy", e) < 0)
			return -1;
	}
}

static int copy_data(int from, int to, uint64_t size, struct err *e)
{
	uint64_t done = 0;
	while (done < size) {
		size_t n = size - done < (uint64_t)1 << 30 ? (size_t)(size - done) : (size_t)1 << 30;
		ssize_t got = sys_copy_file_range(from, NULL, to, NULL, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			bool cannot = got == 0 || errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
				      errno == EOPNOTSUPP || errno == EPERM;
			if (done == 0 && cannot)
				return copy_slow(from, to, e);
			return got < 0 ? err_sys(e, "copy") : err_new(e, ERR_VERIFY, "file is shorter than it was");
		}
		done += (uint64_t)got;
	}
	return 0;
}

static int open_source(const struct placer *p, struct stat *st, struct err *e)
{
	auto_fd fd = openat(p->from_fd, p->from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, st) < 0)
		return err_sys(e, "open it in the store");
	if (!S_ISREG(st->st_mode))
		return err_new(e, ERR_INPUT, "it is no regular file in the store");
	return steal_fd(&fd);
}

static int open_dest(const struct placer *p, const struct stat *st, struct err *e)
{
	mode_t mode = st->st_mode & 0111 ? 0755 : 0644;
	auto_fd fd = sys_openat(p->to_fd, p->to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	/* a change of mode is a transaction of its own on most file systems: only where the umask has taken something away */
	if (fd < 0 || ((mode & p->layer->umask) != 0 && sys_fchmod(fd, mode) < 0))
		return err_sys(e, "create it in the environment");
	return steal_fd(&fd);
}

/* The time of a copy is the original's, for the sake of compiled modules that came with it. */
static int keep_time(int fd, const struct stat *st, struct err *e)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, st->st_mtim};
	return sys_futimens(fd, t) < 0 ? err_sys(e, "set its time") : 0;
}

/* Some builders list a symbolic link as if it were the file that it leads to. */
static int place_unlisted_link(const struct placer *p, struct err *e)
{
	char target[4097];
	ssize_t n = readlinkat(p->from_fd, p->from, target, sizeof(target) - 1);
	if (n < 0)
		return err_sys(e, "read the link in the store");
	target[n] = '\0';
	return sys_symlinkat(target, p->to_fd, p->to) < 0 ? err_sys(e, "create the link") : 0;
}

static int place_copy(struct placer *p, struct err *e)
{
	struct stat st;
	struct err mine = ERR_INIT;
	auto_fd from = open_source(p, &st, &mine);
	if (from < 0 && mine.sys == ELOOP)
		return place_unlisted_link(p, e);
	if (from < 0) {
		*e = mine;
		return -1;
	}
	auto_fd to = open_dest(p, &st, e);
	if (to < 0)
		return -1;
	if (atomic_load(&p->layer->how) == PLACE_REFLINK && sys_ficlone(to, from) == 0) {
		p->count.linked++;
	} else {
		if (copy_data(from, to, (uint64_t)st.st_size, e) < 0)
			return -1;
		p->count.copied++;
	}
	p->count.bytes += (uint64_t)st.st_size;
	return keep_time(to, &st, e);
}

/* == links ======================================================================================================== */
static void fall_back(struct layer *l, int to, const char *why)
{
	int from = atomic_load(&l->how);
	while (from < to) {
		if (!atomic_compare_exchange_weak(&l->how, &from, to))
			continue;
		if (to != PLACE_COPY)
			return;
		pthread_mutex_lock(&l->mutex);
		l->report->copied_why = str_c(arena_strdup(l->arena, str_c(why)));
		pthread_mutex_unlock(&l->mutex);
		layer_note(l, "%s", l->report->copied_why.p);
		return;
	}
}

static void links_fail(struct layer *l, int error)
{
	auto_free char *why =
		xasprintf("the store's files cannot be linked into '%s' (%s): they are copied, which takes time "
			  "and space; keep store and environments on one file system",
			  l->job->prefix, strerror(error));
	fall_back(l, PLACE_COPY, why);
}

void place_without_links(struct layer *l, const char *why)
{
	if (atomic_load(&l->how) == PLACE_HARD)
		fall_back(l, PLACE_COPY, why);
}

static bool links_are_impossible(int error)
{
	return error == EXDEV || error == EPERM || error == EOPNOTSUPP || error == ENOSYS || error == EACCES;
}

/* 1: cloned; 0: not, *ret_linked is 0 or the error of a hard link. */
static int probe_with(int prefix_fd, int tree_fd, const char *source, int *ret_linked, struct err *e)
{
	static const char probe[] = "conda-meta/.probe";
	auto_fd from = openat(tree_fd, source, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0)
		return err_sys(e, "open '%s' in the store", source);
	auto_fd to = sys_openat(prefix_fd, probe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(e, "create '%s'", probe);
	bool cloned = sys_ficlone(to, from) == 0;
	if (sys_unlinkat(prefix_fd, probe, 0) < 0)
		return err_sys(e, "remove '%s'", probe);
	if (cloned)
		return 1;
	*ret_linked = sys_linkat(tree_fd, source, prefix_fd, probe, 0) < 0 ? errno : 0;
	if (*ret_linked == 0 && sys_unlinkat(prefix_fd, probe, 0) < 0)
		return err_sys(e, "remove '%s'", probe);
	return 0;
}

int place_probe(struct layer *l, int tree_fd, struct err *e)
{
	static const char *const sources[] = {".slipway-tree", "info/index.json", "info/paths.json"};
	size_t i = 0;
	int error = 0;
	while (i < sizeof(sources) / sizeof(*sources) && !fs_exists(tree_fd, sources[i]))
		i++;
	int r = i == sizeof(sources) / sizeof(*sources) ? 0
							: probe_with(l->job->prefix_fd, tree_fd, sources[i], &error, e);
	if (r != 0)
		return r < 0 ? -1 : 0;
	fall_back(l, PLACE_HARD, "");
	if (links_are_impossible(error))
		links_fail(l, error);
	return 0;
}

static int place_link(struct placer *p, const struct path_entry *en, struct err *e)
{
	if (sys_linkat(p->from_fd, p->from, p->to_fd, p->to, 0) == 0) {
		p->count.linked++;
		p->count.bytes += en->size;
		return 0;
	}
	int error = errno;
	if (links_are_impossible(error))
		links_fail(p->layer, error);
	else if (error != EMLINK)
		return err_sys(e, "link it from the store");
	return place_copy(p, e);
}

/* == patches ====================================================================================================== */
struct patch { /* bytes on their way to the new file and its digest */
	int fd;
	struct digest *digest;
	uint64_t size;
	char *buffer;
	size_t n;
};

static int patch_flush(struct patch *p, struct err *e)
{
	size_t n = p->n;
	p->n = 0;
	return fs_write_all(p->fd, p->buffer, n, "patched file", e);
}

static int patch_write(void *ctx, const void *data, size_t n, struct err *e)
{
	struct patch *p = ctx;
	if (n == 0)
		return 0;
	digest_update(p->digest, data, n);
	p->size += n;
	if (n >= PATCH_BUFFER - p->n && patch_flush(p, e) < 0)
		return -1;
	if (n >= PATCH_BUFFER)
		return fs_write_all(p->fd, data, n, "patched file", e);
	memcpy(p->buffer + p->n, data, n);
	p->n += n;
	return 0;
}

/*
 * OCaml's strings know their length, in programs and in what it marshals: NULs behind a shorter prefix would belong to the path. A path that ends in
 * slashes is the same path, so the prefix is filled up with those.
 */
static struct str filled(const struct placer *pl, struct str placeholder, struct buf *b)
{
	struct str prefix = pl->layer->prefix;
	if (!pkg_is_opam(pl->layer->pkg[pl->pkg].record.name, NULL))
		return prefix;
	buf_put_str(b, prefix);
	while (b->n < placeholder.n)
		buf_put_char(b, '/');
	return buf_str(b);
}

static int patch_content(struct placer *pl, struct path_entry *en, struct str in, int to, struct err *e)
{
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	auto_buf same_length = BUF_INIT(PLACEHOLDER_MAX * 2);
	if (!pl->out)
		pl->out = xmalloc(PATCH_BUFFER);
	struct patch p = {.fd = to, .digest = d, .buffer = pl->out};
	int r = en->binary ? prefix_binary(in, en->placeholder, filled(pl, en->placeholder, &same_length), patch_write,
					   &p, e)
			   : prefix_text(in, en->placeholder, pl->layer->prefix, patch_write, &p, e);
	if (r < 0 || patch_flush(&p, e) < 0)
		return -1;
	digest_final(d, en->sha256_prefix);
	en->has_sha256_prefix = true;
	en->size = p.size;
	en->has_size = true;
	fs_write_behind(to);
	pl->count.bytes += p.size;
	pl->count.patched++;
	return 0;
}

static int patch_mapped(struct placer *p, struct path_entry *en, int from, size_t size, int to, struct err *e)
{
	void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, from, 0);
	if (map == MAP_FAILED)
		return err_sys(e, "map it");
	int r = patch_content(p, en, str_of(map, size), to, e);
	munmap(map, size);
	return r;
}

/* Most are small: to read them is cheaper than to change the memory map, which all threads share. */
static int patch_read(struct placer *p, struct path_entry *en, int from, size_t size, int to, struct err *e)
{
	size_t have = 0;
	if (!p->in)
		p->in = xmalloc(PATCH_READ_MAX);
	while (have < size) {
		ssize_t n = read(from, p->in + have, size - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read it");
		if (n == 0)
			return err_new(e, ERR_VERIFY, "file is shorter than it was");
		have += (size_t)n;
	}
	return patch_content(p, en, str_of(p->in, size), to, e);
}

/* The new file keeps the time at which it is written: compiled modules that came with the package and hold the
 * placeholder no longer fit it, and Python sees that. */
static int place_patched(struct placer *p, struct path_entry *en, struct err *e)
{
	struct stat st;
	auto_fd from = open_source(p, &st, e);
	if (from < 0)
		return -1;
	auto_fd to = open_dest(p, &st, e);
	if (to < 0)
		return -1;
	size_t size = (size_t)st.st_size;
	return size <= PATCH_READ_MAX ? patch_read(p, en, from, size, to, e) : patch_mapped(p, en, from, size, to, e);
}

/* == everything else ============================================================================================== */
static int place_entry_point(struct placer *p, struct path_entry *en, struct err *e)
{
	auto_buf text = BUF_INIT(1 << 20);
	entry_point_text(en->target, p->layer->job->prefix, p->layer->entry_point_python, &text);
	struct stat st = {.st_mode = 0755};
	auto_fd to = open_dest(p, &st, e);
	if (to < 0 || fs_write_all(to, text.p, text.n, en->dest.p, e) < 0)
		return -1;
	sha256(text.p, text.n, en->sha256_prefix);
	en->has_sha256_prefix = en->has_size = true;
	en->size = text.n;
	return 0;
}

/* Old packages do not tell the digest of a file; the record shall. */
static int digest_source(const struct placer *p, struct path_entry *en, struct err *e)
{
	struct stat st;
	auto_fd fd = open_source(p, &st, e);
	if (fd < 0 || sha256_fd(fd, en->sha256, e) < 0)
		return -1;
	en->has_sha256 = en->has_size = true;
	en->size = (uint64_t)st.st_size;
	return 0;
}

static int place_hard(struct placer *p, struct path_entry *en, struct err *e)
{
	if (!en->has_sha256 && digest_source(p, en, e) < 0)
		return -1;
	if (en->placeholder.n > 0)
		return place_patched(p, en, e);
	memcpy(en->sha256_prefix, en->sha256, SHA256_SIZE);
	en->has_sha256_prefix = true;
	int how = atomic_load_explicit(&p->layer->how, memory_order_relaxed);
	if (how == PLACE_HARD && !en->no_link && !str_starts(en->dest, STR("etc/")))
		return place_link(p, en, e);
	return place_copy(p, e);
}

/* == folder by folder ============================================================================================= */
int placer_init(struct placer *p, struct layer *l, struct err *e)
{
	*p = (struct placer){
		.layer = l, .pkg = SIZE_MAX, .prefix_fd = -1, .to_dir_fd = -1, .tree_fd = -1, .dir_fd = -1};
	p->prefix_fd = openat(l->job->prefix_fd, ".", FOLDER_FLAGS);
	return p->prefix_fd < 0 ? err_sys(e, "open '%s'", l->job->prefix) : 0;
}

void placer_release(struct placer *p)
{
	cleanup_fd(&p->prefix_fd);
	cleanup_fd(&p->to_dir_fd);
	cleanup_fd(&p->tree_fd);
	cleanup_fd(&p->dir_fd);
	free(p->in);
	free(p->out);
}

static struct str folder_of(struct str path)
{
	ptrdiff_t slash = str_rfind(path, '/');
	return slash < 0 ? STR("") : str_head(path, (size_t)slash);
}

static struct path_entry *entry_of(const struct placer *p, const struct clobber_file *file)
{
	return &p->layer->pkg[file->pkg].entries.v[file->entry];
}

/* Sets from_fd and from. To open a folder pays where more than one file is taken from it. */
static int find_source(struct placer *p, const struct clobber_file *file, bool more, struct err *e)
{
	const struct path_entry *en = entry_of(p, file);
	struct str dir = folder_of(en->path);
	if (p->pkg != file->pkg) {
		cleanup_fd(&p->dir_fd);
		cleanup_fd(&p->tree_fd);
		p->pkg = file->pkg;
		p->tree_fd = store_tree_open(p->layer->job->store, p->layer->pkg[file->pkg].record.sha256, e);
		if (p->tree_fd < 0) {
			p->pkg = SIZE_MAX;
			return -1;
		}
	}
	if (p->dir_fd < 0 || !str_eq(p->dir, dir)) {
		cleanup_fd(&p->dir_fd);
		p->dir = dir;
		if (more && dir.n > 0 && str_eq(dir, folder_of(entry_of(p, file + 1)->path))) {
			char path[4097];
			memcpy(path, dir.p, dir.n);
			path[dir.n] = '\0';
			p->dir_fd = openat(p->tree_fd, path, FOLDER_FLAGS); /* else by its whole path */
		}
	}
	p->from_fd = p->dir_fd >= 0 ? p->dir_fd : p->tree_fd;
	p->from = p->dir_fd >= 0 ? en->path.p + dir.n + 1 : en->path.p;
	return 0;
}

static int place_entry(struct placer *p, struct path_entry *en, struct err *e)
{
	int r = 0;
	switch (en->type) {
	case PATH_HARD:
		r = place_hard(p, en, e);
		break;
	case PATH_SOFT:
		if (sys_symlinkat(en->target.p, p->to_fd, p->to) < 0)
			r = err_sys(e, "create the link");
		break;
	case PATH_ENTRY_POINT:
		r = place_entry_point(p, en, e);
		break;
	case PATH_DIR: /* made with the others */
	case PATH_PYC: /* made later */
		return 0;
	}
	p->count.files++;
	return r < 0 ? err_ctx(e, "'%s'", en->dest.p) : 0;
}

static int place_file(struct placer *p, const struct clobber_file *file, bool more, struct err *e)
{
	struct path_entry *en = entry_of(p, file);
	if ((en->type == PATH_HARD && find_source(p, file, more, e) < 0) || place_entry(p, en, e) < 0)
		return err_ctx(e, "package '%.*s'", STR_ARG(p->layer->pkg[file->pkg].record.fn));
	return 0;
}

int place_folder(struct placer *p, const struct clobber_dir *dir, size_t from, size_t to, struct err *e)
{
	size_t skip = 0;
	p->to_fd = p->prefix_fd;
	if (to - from > 1 && dir->path.n > 0) {
		char path[4097];
		memcpy(path, dir->path.p, dir->path.n);
		path[dir->path.n] = '\0';
		cleanup_fd(&p->to_dir_fd);
		p->to_dir_fd = openat(p->prefix_fd, path, FOLDER_FLAGS);
		if (p->to_dir_fd < 0)
			return err_sys(e, "open folder '%s'", path);
		p->to_fd = p->to_dir_fd;
		skip = dir->path.n + 1;
	}
	for (size_t i = from; i < to; i++) {
		const struct clobber_file *f = &dir->file[i];
		p->to = entry_of(p, f)->dest.p + skip;
		if (place_file(p, f, i + 1 < to && f[1].pkg == f->pkg, e) < 0)
			return -1;
	}
	return 0;
}
