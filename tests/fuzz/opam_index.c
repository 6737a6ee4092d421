// SPDX-License-Identifier: Apache-2.0
/*
 * The index of an opam repository made by an enemy: a good one with bytes changed, and all sums right again. Input: triples of offset
 * (16 bits, low byte first) and byte. Everything is read, and it is what an update begins with: what comes of it may be nonsense, no read may
 * leave the file, and what the update makes can be read whole.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/tar.h"
#include "channel/intern.h"
#include "channel/opam_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64];
static size_t sum; /* so that no read is left out */

static void remove_folder(void)
{
	struct err e = ERR_INIT;
	(void)fs_remove_tree(AT_FDCWD, folder, &e);
}

static int dir(void)
{
	static int fd = -1;
	if (fd >= 0)
		return fd;
	snprintf(folder, sizeof(folder), "%s/slipway-fuzz-opam.%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
		 (int)getpid());
	if (mkdir(folder, 0700) < 0)
		panic("mkdir %s", folder);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	atexit(remove_folder);
	return fd;
}

static int to_buf(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	buf_put(ctx, p, n);
	return 0;
}

static void put(struct tar_writer *w, const char *path, const char *text)
{
	struct err e = ERR_INIT;
	const struct tar_entry en = {.kind = TAR_FILE, .path = str_c(path), .mode = 0644, .size = strlen(text)};
	if (tar_put(w, &en, &e) < 0 || tar_write(w, text, strlen(text), &e) < 0)
		panic("%s", e.msg);
}

static struct str tar_of(bool second)
{
	static struct buf b[2] = {BUF_INIT(1 << 20), BUF_INIT(1 << 20)};
	struct buf *to = &b[second];
	struct err e = ERR_INIT;
	if (to->n)
		return buf_str(to);
	struct tar_writer w = {.sink = to_buf, .ctx = to};
	put(&w, "repo", "opam-version: \"2.0\"\n");
	put(&w, "packages/a/a.1/opam",
	    "opam-version: \"2.0\"\ndepends: [\"b\" {>= \"1\" & with-test} \"c\" | (\"d\" & \"e\" {!= version})]\n"
	    "conflict-class: [\"x\" \"y\"]\navailable: !(os = \"win32\")\n"
	    "depexts: [[\"m4\" \"git\"] {os = \"linux\"}]\n");
	put(&w, "packages/a/a.2/opam", second ? "opam-version: \"2.0\"\ndepends: \"z\"\n" : "opam-version: \"2.0\"\n");
	put(&w, "packages/b/b.1/opam", "opam-version: \"2.0\"\ndepends: [\n");
	put(&w, "packages/bb/b.2/opam", "opam-version: \"2.0\"\nconflict-class: \"x\"\nflags: [avoid-version]\n");
	if (tar_end(&w, &e) < 0)
		panic("%s", e.msg);
	return buf_str(to);
}

static int make(bool second, const struct opam_index *old, const char *path, struct err *e)
{
	auto_oif_inputs in = {0};
	auto_ptr(istream) tar = istream_mem(tar_of(second), "sample");
	int rc = oif_read_tar(tar, old, &in, e);
	return rc <= 0 ? rc : oif_make(&in, old, dir(), path, e);
}

/* `good` is where things are, `p` is what stands there. */
static void sum_again(const struct oif_header *good, char *p)
{
	static const size_t size[OIF_SECTIONS] = {
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
	struct oif_header *h = (struct oif_header *)(void *)p;
	h->texts_id = good->texts_id;
	for (int i = 0; i < OIF_SECTIONS; i++) {
		const struct oif_range *r = &h->section[i];
		if (r->at <= good->bytes && r->n <= (good->bytes - r->at) / size[i])
			h->section[i].sum = intern_hash(p + r->at, r->n * size[i], h->seed);
	}
	h->sum = 0;
	h->sum = intern_hash(h, sizeof(*h), 0);
}

static void touch(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		sum += (unsigned char)s.p[i];
}

static void touch_expr(const struct pkg_opam_expr *x)
{
	auto_buf b = BUF_INIT(1 << 20);
	pkg_opam_expr_format(x, &b);
	touch(buf_str(&b));
}

static void read_package(const struct opam_index *ix, struct oi_pkg p)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct opam_index_pkg k = opam_index_pkg(ix, p);
	struct oi_pkg found;
	struct str text = STR("");
	touch(k.name), touch(k.version), touch(k.key), touch(k.folder);
	for (int i = 0; i < OI_FORMULAS; i++)
		touch_expr(opam_index_formula(ix, p, (enum oi_formula)i, &a));
	struct pkg_opam_lines l = opam_index_depexts(ix, p, &a);
	for (size_t i = 0; i < l.n; i++)
		for (size_t j = 0; j < l.v[i].n; j++)
			touch(l.v[i].arg[j].text), touch_expr(l.v[i].arg[j].filter);
	for (int i = 0; i < OI_LISTS; i++) {
		struct pkg_opam_strs s = opam_index_list(ix, p, (enum oi_list)i, &a);
		for (size_t j = 0; j < s.n; j++)
			touch(s.v[j]);
	}
	(void)opam_index_find(ix, k.name, k.version, &found);
	touch(opam_index_problem_of(ix, p));
	if (opam_index_text(ix, p, &a, &text, &e) == 0)
		touch(text);
	else if (e.code != ERR_VERIFY)
		panic("%s", e.msg);
}

static int see(void *ctx, const struct channel_need *need, struct err *e)
{
	(void)ctx, (void)e;
	for (size_t i = 0; i < need->one.n; i++)
		sum += need->one.v[i];
	return 0;
}

static void read_all(struct opam_index *ix)
{
	static const struct channel_needs_opts o = {.platform = {"linux-x86_64", 12}};
	struct opam_index_info info = opam_index_info(ix);
	auto_ptr(channel_needs) n = NULL;
	struct err e = ERR_INIT;
	touch(info.repo);
	for (uint32_t i = 0; i < info.names && i < 100; i++) {
		struct oi_pkg first;
		struct oi_name back;
		struct str name = opam_index_name(ix, (struct oi_name){i});
		touch(name);
		(void)opam_index_find_name(ix, name, &back);
		sum += opam_index_packages(ix, (struct oi_name){i}, &first);
	}
	for (uint32_t i = 0; i < info.packages && i < 100; i++)
		read_package(ix, (struct oi_pkg){i});
	for (uint32_t i = 0; i < info.problems && i < 100; i++)
		touch(opam_index_problem(ix, i));
	if (channel_needs_open_opam(&ix, 1, &o, &n, &e) == 0)
		for (uint32_t i = 0; i < channel_needs_count(n) && i < 100; i++)
			(void)channel_needs_tell(n, i, see, NULL, &e);
}

static void update(const struct opam_index *ix)
{
	struct err e = ERR_INIT;
	auto_ptr(opam_index) made = NULL;
	struct oif_texts_name name = oif_texts_name(ix->h->texts_id);
	if (make(true, ix, "y.idx", &e) == 0 && opam_index_open(dir(), "y.idx", &made, &e) == 0) {
		read_all(made);
		if (made->h->texts_id != ix->h->texts_id)
			(void)unlinkat(dir(), oif_texts_name(made->h->texts_id).s, 0);
	}
	auto_fd fd = openat(dir(), name.s, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)ix->h->texts_bytes) < 0)
		panic("cut %s", name.s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct buf image = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	auto_ptr(opam_index) ix = NULL;
	if (image.n == 0 && (make(false, NULL, "x.idx", &e) < 0 || fs_read(dir(), "x.idx", &image, &e) < 0))
		panic("%s", e.msg);
	auto_buf copy = BUF_INIT(1 << 20);
	const struct oif_header *good = (const struct oif_header *)(const void *)image.p;
	buf_put_str(&copy, buf_str(&image));
	for (size_t i = 0; i + 3 <= size; i += 3)
		copy.p[((size_t)data[i] | (size_t)data[i + 1] << 8) % copy.n] = (char)data[i + 2];
	sum_again(good, copy.p);
	if (fs_replace(dir(), "x.idx", copy.p, copy.n, 0, &e) < 0)
		panic("%s", e.msg);
	if (opam_index_open(dir(), "x.idx", &ix, &e) < 0)
		return 0;
	if (ix->h->texts_bytes != good->texts_bytes)
		return 0;
	read_all(ix);
	update(ix);
	return 0;
}
