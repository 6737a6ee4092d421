// SPDX-License-Identifier: Apache-2.0
/*
 * A tar that somebody offers as an opam repository. Input: files, each a line with its path and a text that ends at a byte 1. What comes of it
 * is an index that verifies; each package's formulas are those of its text.
 */
#include "base/tar.h"
#include "channel/opam_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int to_buf(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	buf_put(ctx, p, n);
	return 0;
}

static void make_tar(struct str left, struct buf *to)
{
	auto_arena a = ARENA_INIT;
	struct tar_writer w = {.sink = to_buf, .ctx = to};
	struct err e = ERR_INIT;
	struct str path, text;
	while (left.n && str_take_line(&left, &path)) {
		if (!str_take_until(&left, 1, &text)) {
			text = left;
			left = STR_NONE;
		}
		if (!path.n || memchr(path.p, 0, path.n))
			continue;
		const struct tar_entry en = {
			.kind = TAR_FILE, .path = arena_str(&a, path), .mode = 0644, .size = text.n};
		if (tar_put(&w, &en, &e) < 0)
			return;
		(void)tar_write(&w, text.p, text.n, &e);
	}
	(void)tar_end(&w, &e);
}

static void put_all(struct buf *b, const struct pkg_opam_expr *const v[OI_FORMULAS])
{
	for (int i = 0; i < OI_FORMULAS; i++) {
		buf_printf(b, "%d ", i);
		pkg_opam_expr_format(v[i], b);
	}
}

static void check_package(const struct opam_index *ix, struct oi_pkg p)
{
	auto_arena a = ARENA_INIT;
	auto_buf kept = BUF_INIT(1 << 22), direct = BUF_INIT(1 << 22);
	struct opam_index_pkg k = opam_index_pkg(ix, p);
	const struct pkg_opam_expr *v[OI_FORMULAS];
	struct err e = ERR_INIT;
	struct pkg_opam_doc d;
	struct pkg_opam o;
	struct str text;
	if (!pkg_opam_name_is_good(k.name) || !pkg_opam_version_is_good(k.version))
		panic("'%.*s' is a package", STR_ARG(k.key));
	if (opam_index_text(ix, p, &a, &text, &e) < 0)
		panic("%s", e.msg);
	if (k.broken) {
		if (!opam_index_problem_of(ix, p).n)
			panic("broken, and nobody knows why");
		return;
	}
	if (pkg_opam_read(&a, text, "opam", &d, &e) < 0)
		panic("%s", e.msg);
	(void)pkg_opam_package(&a, &d, &o, &e);
	for (int i = 0; i < OI_FORMULAS; i++)
		v[i] = opam_index_formula(ix, p, (enum oi_formula)i, &a);
	put_all(&kept, v);
	put_all(&direct, (const struct pkg_opam_expr *const[]){o.depends, o.depopts, o.conflicts, o.available});
	if (!str_eq(buf_str(&kept), buf_str(&direct)))
		panic("'%s' became '%s'", direct.p, kept.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf tar = BUF_INIT(1 << 24);
	auto_oif_inputs in = {0};
	auto_ptr(opam_index) ix = NULL;
	struct err e = ERR_INIT;
	make_tar(str_of((const char *)data, size), &tar);
	auto_ptr(istream) s = istream_mem(buf_str(&tar), "sample");
	int rc = oif_read_tar(s, NULL, &in, &e);
	if (rc < 0) {
		if (!e.msg[0])
			panic("no reason");
		return 0;
	}
	if (oif_make_memory(&in, &ix, &e) < 0)
		panic("%s", e.msg);
	struct opam_index_info info = opam_index_info(ix);
	for (uint32_t i = 0; i < info.packages; i++)
		check_package(ix, (struct oi_pkg){i});
	for (uint32_t i = 0; i < info.problems; i++)
		if (!opam_index_problem(ix, i).n)
			panic("a problem without words");
	if (opam_index_check(ix, &e) < 0)
		panic("%s", e.msg);
	return 0;
}
