// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>

#include "base/compress.h"
#include "base/fs.h"
#include "channel/channel.h"
#include "channel/opam.h"
#include "channel/opam_index.h"
#include "lib/test.h"

static struct arena a;
static struct err e;
static struct clock_fake now;

/* -- a repository -------------------------------------------------------------------------------------------------- */

static const char *in_tmp(const char *name)
{
	return arena_printf(&a, "%s/%s", test_tmp(), name);
}

static void put(const char *name, const char *text)
{
	char *folder = arena_strdup(&a, str_c(in_tmp(name)));
	*strrchr(folder, '/') = '\0';
	CHECK_INT(fs_mkdirs(AT_FDCWD, folder, 0755, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp(name), text, strlen(text), 0, &e), 0);
}

/* Where an opam file lies. */
static const char *opam(const char *nv)
{
	const char *dot = strchr(nv, '.');
	return arena_printf(&a, "repo/packages/%.*s/%s/opam", (int)(dot - nv), nv, nv);
}

static void drop(const char *nv)
{
	char *folder = arena_strdup(&a, str_c(in_tmp(opam(nv))));
	*strrchr(folder, '/') = '\0';
	CHECK_INT(fs_remove_tree(AT_FDCWD, folder, &e), 0);
}

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void make_repo(void)
{
	put("repo/repo", "opam-version: \"2.0\"\narchive-mirrors: \"cache\"\n");
	put(opam("a.1.0"),
	    "opam-version: \"2.0\"\n"
	    "depends: [\"b\" {>= \"1\" & with-test} \"c\" | (\"d\" & \"e\" {!= version}) \"f\" {os = \"linux\" & (arch != \"x\" | ?foo)}]\n"
	    "depopts: [\"g\" \"h\" {build}]\n"
	    "conflicts: [\"i\" {< \"2~\"} \"j\"]\n"
	    "conflict-class: [\"one\" \"two\"]\n"
	    "available: !(os = \"win32\") & opam-version >= \"2.1\"\n"
	    "flags: [avoid-version compiler]\n"
	    "depexts: [[\"bison\" \"flex\"] {os-family = \"debian\"} [\"bison\"] {os-distribution = \"alpine\"}]\n"
	    "x-ci-accept-failures: [\"debian-12\" \"centos-7\"]\n"
	    "url { src: \"https://h/a.tgz\" checksum: \"sha256=" SHA "\" }\n");
	put(opam("a.1.10"), "opam-version: \"2.0\"\ndepends: [\"b\"]\n");
	put(opam("a.1.9"), "opam-version: \"2.0\"\ndepends: [\"b\"]\n");
	put(opam("b.1"), "opam-version: \"2.0\"\nconflict-class: \"one\"\nflags: deprecated\n");
	put(opam("b.1~rc"), "opam-version: \"2.0\"\n");
	put(opam("b-c.2"), "opam-version: \"2.0\"\ndepends: [\"a\" {= version}]\n");
}

/* -- everything that an index says --------------------------------------------------------------------------------- */

static void put_strs(struct buf *b, const char *what, struct pkg_opam_strs l)
{
	for (size_t i = 0; i < l.n; i++)
		buf_printf(b, " %s=%.*s", what, STR_ARG(l.v[i]));
}

static void put_lines(struct buf *b, struct pkg_opam_lines l)
{
	for (size_t i = 0; i < l.n; i++) {
		buf_put_c(b, " depext=");
		for (size_t k = 0; k < l.v[i].n; k++) {
			buf_printf(b, "%.*s%s,", STR_ARG(l.v[i].arg[k].text), l.v[i].arg[k].is_variable ? "?" : "");
			pkg_opam_expr_format(l.v[i].arg[k].filter, b);
		}
		pkg_opam_expr_format(l.v[i].filter, b);
	}
}

static void put_formulas(struct buf *b, const struct pkg_opam_expr *const v[OI_FORMULAS])
{
	for (int i = 0; i < OI_FORMULAS; i++) {
		buf_printf(b, " %d=", i);
		pkg_opam_expr_format(v[i], b);
	}
}

static void put_package(struct buf *b, const struct opam_index *ix, struct oi_pkg p)
{
	auto_arena mine = ARENA_INIT;
	const struct pkg_opam_expr *v[OI_FORMULAS];
	struct opam_index_pkg k = opam_index_pkg(ix, p);
	struct str text = STR("");
	struct err why = ERR_INIT;
	buf_printf(b, "%.*s/%.*s %.*s %.*s %x %d%d", STR_ARG(k.folder), STR_ARG(k.key), STR_ARG(k.name),
		   STR_ARG(k.version), k.flags, k.has_url, k.broken);
	for (int i = 0; i < OI_FORMULAS; i++)
		v[i] = opam_index_formula(ix, p, i, &mine);
	put_formulas(b, v);
	put_lines(b, opam_index_depexts(ix, p, &mine));
	put_strs(b, "class", opam_index_list(ix, p, OI_CONFLICT_CLASS, &mine));
	put_strs(b, "accept", opam_index_list(ix, p, OI_ACCEPT_FAILURES, &mine));
	if (opam_index_text(ix, p, &mine, &text, &why) < 0)
		buf_printf(b, " no text");
	buf_printf(b, "\n%.*s\n", STR_ARG(text));
}

static const char *dump(const struct opam_index *ix)
{
	auto_buf b = BUF_INIT(1 << 26);
	struct opam_index_info info = opam_index_info(ix);
	buf_printf(&b, "%u names, %u packages, %u broken, repo %.*s\n", info.names, info.packages, info.broken,
		   STR_ARG(info.repo));
	for (uint32_t i = 0; i < info.names; i++) {
		struct oi_pkg first;
		uint32_t n = opam_index_packages(ix, (struct oi_name){i}, &first);
		buf_printf(&b, "%.*s:\n", STR_ARG(opam_index_name(ix, (struct oi_name){i})));
		for (uint32_t k = 0; k < n && k < 100; k++)
			put_package(&b, ix, (struct oi_pkg){first.n + k});
	}
	for (uint32_t i = 0; i < info.problems && i < 100; i++)
		buf_printf(&b, "problem: %.*s\n", STR_ARG(opam_index_problem(ix, i)));
	return arena_strdup(&a, buf_str(&b));
}

/* -- opening ------------------------------------------------------------------------------------------------------- */

static char notes[8192];
static void take_note(struct progress *p, const struct progress_event *ev)
{
	(void)p;
	size_t n = strlen(notes);
	if (ev->kind == PROGRESS_NOTE)
		snprintf(notes + n, sizeof(notes) - n, "%s\n", ev->text);
}

static struct opam_index *open_it(const char *root, const char *what, enum channel_refresh_flags flags)
{
	static struct progress progress = {take_note, NULL};
	struct channel_config config = {.cwd = str_c(test_tmp())};
	struct channel ch;
	struct opam_index *ix = NULL;
	CHECK_INT(fs_mkdirs(AT_FDCWD, in_tmp(root), 0755, &e), 0);
	auto_fd fd = fs_open_dir(AT_FDCWD, in_tmp(root), &e);
	struct channel_cache cache = {.root_fd = fd, .clock = &now.base, .progress = &progress};
	CHECK_MSG(channel_parse(&a, str_c(in_tmp(what)), &config, &ch, &e) == 0, "%s", e.msg);
	notes[0] = '\0';
	e = ERR_INIT;
	if (!now.wall_ms)
		now = clock_fake_at(0, clock_wall_ms() + 10000); /* nothing changed just now */
	if (channel_opam_open(&cache, &ch, flags, &ix, &e) < 0)
		return NULL;
	return ix;
}

static const char *dump_of(const char *root, const char *what)
{
	auto_ptr(opam_index) ix = open_it(root, what, 0);
	CHECK_MSG(ix, "%s", e.msg);
	const char *ret = dump(ix);
	CHECK_INT(opam_index_check(ix, &e), 0);
	return ret;
}

/* The file of an index below a root. */
static const char *index_file(const char *root)
{
	auto_fs_list l = {0};
	CHECK_INT(fs_list(AT_FDCWD, in_tmp(arena_printf(&a, "%s/index", root)), 10, &l, &e), 0);
	CHECK_INT(l.n, 1);
	return arena_printf(&a, "%s/index/%s/opam.full.idx", root, l.name[0]);
}

static ino_t inode(const char *path)
{
	struct stat st;
	CHECK_INT(stat(in_tmp(path), &st), 0);
	return st.st_ino;
}

static bool holds(const char *text, const char *what)
{
	return strstr(text, what) != NULL;
}

/* -- tests --------------------------------------------------------------------------------------------------------- */

TEST(everything_of_a_file)
{
	make_repo();
	auto_ptr(opam_index) ix = open_it("root", "repo", 0);
	CHECK_MSG(ix, "%s", e.msg);
	CHECK_STR(notes, "");
	struct opam_index_info info = opam_index_info(ix);
	CHECK_INT(info.names, 3);
	CHECK_INT(info.packages, 6);
	CHECK_INT(info.broken, 0);
	CHECK(holds(arena_strdup(&a, info.repo), "archive-mirrors"));
	struct oi_pkg p;
	CHECK(opam_index_find(ix, STR("a"), STR("1.0"), &p));
	CHECK(!opam_index_find(ix, STR("a"), STR("1"), &(struct oi_pkg){0}));
	CHECK(!opam_index_find(ix, STR("nobody"), STR("1"), &(struct oi_pkg){0}));
	struct opam_index_pkg k = opam_index_pkg(ix, p);
	CHECK_INT(k.flags, PKG_OPAM_AVOID_VERSION | PKG_OPAM_COMPILER);
	CHECK(k.has_url && !k.broken);
	CHECK(str_eq(k.key, STR("a.1.0")) && str_eq(k.folder, STR("packages/a")));
	auto_buf b = BUF_INIT(1 << 16);
	put_package(&b, ix, p);
	CHECK(holds(b.p, "class=one class=two accept=debian-12 accept=centos-7"));
	CHECK(holds(b.p, "depext=bison,flex,os-family = \"debian\""));
	CHECK_INT(opam_index_check(ix, &e), 0);
}

TEST(versions_stand_best_first)
{
	make_repo();
	auto_ptr(opam_index) ix = open_it("root", "repo", 0);
	CHECK_MSG(ix, "%s", e.msg);
	static const char *const want[] = {"a.1.10", "a.1.9", "a.1.0", "b.1", "b.1~rc", "b-c.2"};
	struct oi_name n;
	struct oi_pkg first;
	CHECK(opam_index_find_name(ix, STR("a"), &n));
	CHECK_INT(opam_index_packages(ix, n, &first), 3);
	CHECK_INT(first.n, 0);
	for (uint32_t i = 0; i < 6; i++)
		CHECK_STR(arena_strdup(&a, opam_index_pkg(ix, (struct oi_pkg){i}).key), want[i]);
}

static void same_formulas(const struct opam_index *ix, struct oi_pkg p, struct str text)
{
	auto_arena mine = ARENA_INIT;
	auto_buf direct = BUF_INIT(1 << 22), kept = BUF_INIT(1 << 22);
	struct pkg_opam_doc d;
	struct pkg_opam o;
	CHECK_INT(pkg_opam_read(&mine, text, "opam", &d, &e), 0);
	(void)pkg_opam_package(&mine, &d, &o, &e);
	const struct pkg_opam_expr *const v[OI_FORMULAS] = {o.depends, o.depopts, o.conflicts, o.available};
	put_formulas(&direct, v);
	put_lines(&direct, o.depexts);
	const struct pkg_opam_expr *k[OI_FORMULAS];
	for (int i = 0; i < OI_FORMULAS; i++)
		k[i] = opam_index_formula(ix, p, i, &mine);
	put_formulas(&kept, k);
	put_lines(&kept, opam_index_depexts(ix, p, &mine));
	CHECK_STR(kept.p, direct.p);
}

TEST(formulas_are_those_of_the_files)
{
	make_repo();
	auto_ptr(opam_index) ix = open_it("root", "repo", 0);
	CHECK_MSG(ix, "%s", e.msg);
	for (uint32_t i = 0; i < 6; i++) {
		auto_buf b = BUF_INIT(1 << 16);
		struct str text;
		struct opam_index_pkg k = opam_index_pkg(ix, (struct oi_pkg){i});
		CHECK_INT(fs_read(AT_FDCWD, in_tmp(opam(arena_strdup(&a, k.key))), &b, &e), 0);
		CHECK_INT(opam_index_text(ix, (struct oi_pkg){i}, &a, &text, &e), 0);
		CHECK(str_eq(text, buf_str(&b)));
		same_formulas(ix, (struct oi_pkg){i}, text);
	}
}

/* The longest list and the deepest filter that files may have. */
TEST(large_formulas)
{
	auto_buf b = BUF_INIT(1 << 20);
	buf_put_c(&b, "opam-version: \"2.0\"\ndepends: [");
	for (int i = 0; i < 1900; i++)
		buf_printf(&b, " \"p%d\" {>= \"%d\" & os != \"x%d\"}", i, i % 7, i);
	buf_put_c(&b, "]\navailable: ");
	for (int i = 0; i < 1900; i++)
		buf_put_c(&b, i % 2 ? "os = \"linux\" & " : "arch != \"x\" | ");
	buf_put_c(&b, "!");
	for (int i = 0; i < 30; i++)
		buf_put_c(&b, "(!");
	buf_put_c(&b, "os");
	for (int i = 0; i < 30; i++)
		buf_put_c(&b, ")");
	buf_put_c(&b, "\n");
	put(opam("large.1"), b.p);
	auto_ptr(opam_index) ix = open_it("root", "repo", 0);
	CHECK_MSG(ix, "%s", e.msg);
	CHECK_STR(notes, "");
	same_formulas(ix, (struct oi_pkg){0}, buf_str(&b));
	CHECK_INT(opam_index_check(ix, &e), 0);
}

TEST(nothing_new_is_nothing_done)
{
	make_repo();
	const char *first = dump_of("root", "repo");
	ino_t before = inode(index_file("root"));
	CHECK_STR(dump_of("root", "repo"), first);
	CHECK_INT(inode(index_file("root")), before);
}

TEST(what_changed_alone_is_read_again)
{
	make_repo();
	(void)dump_of("root", "repo");
	put(opam("a.1.9"), "opam-version: \"2.0\"\ndepends: [\"b\" \"z\"]\n");
	put(opam("aa.0"), "opam-version: \"2.0\"\ndepends: [\"a\" {= \"1.9\"}]\nconflict-class: [\"one\" \"two\"]\n");
	put(opam("b.2"), "opam-version: \"2.0\"\n");
	drop("b-c.2");
	drop("b.1");
	put("repo/repo", "opam-version: \"2.0\"\n");
	const char *by_steps = dump_of("root", "repo");
	CHECK(holds(by_steps, "4 names") == false && holds(by_steps, "3 names, 6 packages"));
	CHECK_STR(by_steps, dump_of("other", "repo"));
	/* in place, of the same size, with the time of before: the inode tells */
	struct stat st;
	CHECK_INT(stat(in_tmp(opam("a.1.9")), &st), 0);
	put(opam("a.1.9"), "opam-version: \"2.0\"\ndepends: [\"b\" \"y\"]\n");
	const struct timespec t[2] = {st.st_mtim, st.st_mtim};
	CHECK_INT(utimensat(AT_FDCWD, in_tmp(opam("a.1.9")), t, 0), 0);
	CHECK(holds(dump_of("root", "repo"), "\"y\""));
}

/* What is made in steps is, section for section, what is made at once. */
TEST(incremental_is_byte_for_byte)
{
	static const int same[] = {OIF_NAMES,	OIF_PACKAGES, OIF_LISTS,  OIF_CODE,
				   OIF_STRINGS, OIF_PROBLEMS, OIF_FOLDERS};
	make_repo();
	for (int i = 0; i < 40; i++)
		put(opam(arena_printf(&a, "p%d.%d", i % 7, i)),
		    arena_printf(&a, "opam-version: \"2.0\"\ndepends: [\"p%d\" {>= \"%d\"} \"a\"]\n", i % 5, i % 9));
	put(opam("bad.1"), "opam-version: \"2.0\"\ndepends: [\n");
	(void)dump_of("root", "repo");
	put(opam("p1.99"), "opam-version: \"2.0\"\ndepends: \"q\"\n");
	put(opam("p1.1"), "opam-version: \"2.0\"\ndepends: \"r\"\n");
	drop("a.1.0");
	drop("p3.3");
	auto_ptr(opam_index) steps = open_it("root", "repo", 0);
	CHECK_MSG(steps, "%s", e.msg);
	auto_oif_inputs in = {.seed = steps->h->seed};
	auto_fd repo = fs_open_dir(AT_FDCWD, in_tmp("repo"), &e), to = fs_open_dir_make(AT_FDCWD, in_tmp("once"), &e);
	CHECK_INT(oif_scan(repo, NULL, now.wall_ms * 1000000, &in, &e), 1);
	CHECK_MSG(oif_make(&in, NULL, to, "x.idx", &e) == 0, "%s", e.msg);
	auto_ptr(opam_index) once = NULL;
	CHECK_INT(opam_index_open(to, "x.idx", &once, &e), 0);
	CHECK_STR(dump(steps), dump(once));
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
		const struct oif_range *x = &steps->h->section[same[i]], *y = &once->h->section[same[i]];
		CHECK_INT(x->n, y->n);
		if (same[i] != OIF_PACKAGES && same[i] != OIF_FOLDERS) /* these hold places of texts, and times */
			CHECK_MSG(x->sum == y->sum, "section %d", same[i]);
	}
}

TEST(broken_files_are_told_and_the_rest_is_usable)
{
	make_repo();
	put(opam("bad.1"), "opam-version: \"2.0\"\ndepends: [ \"a\"\n");
	put(opam("bad.2"), "opam-version: \"2.0\"\ndepends: [ 3 ]\n");
	put(opam("bad.3"), "opam-version: \"2.0\"\ndepends: [\"a\"]\n");
	put("repo/packages/odd/odd!.1/opam", "opam-version: \"2.0\"\n");
	put("repo/packages/else/a.1.0/opam", "opam-version: \"2.0\"\n");
	put("repo/packages/empty/note", "nothing\n");
	CHECK_INT(symlink("../b/b.1", in_tmp("repo/packages/empty/b.1")), 0);
	auto_ptr(opam_index) ix = open_it("root", "repo", 0);
	CHECK_MSG(ix, "%s", e.msg);
	struct opam_index_info info = opam_index_info(ix);
	CHECK_INT(info.packages, 9);
	CHECK_INT(info.broken, 2);
	CHECK_INT(info.problems, 5);
	CHECK(holds(notes, "packages/empty/b.1: it is a symbolic link; it is left out"));
	CHECK(holds(notes, "packages/bad/bad.1/opam:"));
	CHECK(holds(notes, "packages/bad/bad.2/opam:2:"));
	CHECK(holds(notes, "packages/odd/odd!.1/opam: the folder's name is no package's"));
	CHECK(holds(notes, "packages/else/a.1.0 is there twice"));
	struct oi_pkg p;
	CHECK(opam_index_find(ix, STR("bad"), STR("1"), &p));
	CHECK(opam_index_pkg(ix, p).broken);
	CHECK(str_starts(opam_index_problem_of(ix, p), STR("packages/bad/bad.1/opam:")));
	CHECK(!opam_index_formula(ix, p, OI_DEPENDS, &a));
	CHECK(opam_index_find(ix, STR("bad"), STR("3"), &p));
	CHECK(opam_index_formula(ix, p, OI_DEPENDS, &a));
	CHECK(opam_index_find(ix, STR("a"), STR("1.0"), &p));
	CHECK(opam_index_formula(ix, p, OI_DEPENDS, &a)); /* that of its own folder */
	/* again, and with one more: no old news */
	const char *text = dump(ix);
	CHECK_STR(dump_of("root", "repo"), text);
	CHECK_STR(notes, "");
	put(opam("bad.4"), "]\n");
	(void)dump_of("root", "repo");
	CHECK(holds(notes, "bad.4") && !holds(notes, "bad.1") && !holds(notes, "odd"));
	/* mended */
	put(opam("bad.1"), "opam-version: \"2.0\"\n");
	CHECK(holds(dump_of("root", "repo"), "10 packages, 2 broken"));
}

/* -- tars ---------------------------------------------------------------------------------------------------------- */

static void pack(const char *to, enum compress_kind kind, const char *const (*files)[2])
{
	auto_buf plain = BUF_INIT(1 << 24), packed = BUF_INIT(1 << 24);
	struct opam_entry v[64];
	size_t n = 0;
	for (; files[n][0]; n++)
		v[n] = (struct opam_entry){str_c(files[n][0]), str_c(files[n][1]), 0};
	struct opam_repo r = {0};
	CHECK_INT(opam_repo_of(&a, v, n, &r, &e), 0);
	CHECK_INT(opam_repo_pack(&r, &packed, &e), 0);
	auto_ptr(istream) in = istream_gz(istream_mem(buf_str(&packed), "x"));
	char piece[4096];
	for (ssize_t k; (k = istream_read(in, piece, sizeof(piece), &e)) != 0;) {
		CHECK(k > 0);
		buf_put(&plain, piece, (size_t)k);
	}
	buf_clear(&packed);
	CHECK_INT(compress_str(kind, 0, buf_str(&plain), &packed, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp(to), packed.p, packed.n, 0, &e), 0);
}

static const char *const sample[][2] = {
	{"packages/b/b.1/opam", "opam-version: \"2.0\"\ndepends: [\"a\" {= \"2\"}]\n"},
	{"packages/a/a.2/opam", "opam-version: \"2.0\"\n"},
	{"packages/a/a.1/opam", "opam-version: \"2.0\"\ndepexts: [\"x\"] {os = \"linux\"}\n"},
	{NULL, NULL},
};

TEST(tars_are_as_good_as_folders)
{
	static const char *const names[] = {"x.tar", "x.tar.gz", "x.tar.xz", "x.tar.zst"};
	for (int i = 0; sample[i][0]; i++)
		put(arena_printf(&a, "repo/%s", sample[i][0]), sample[i][1]);
	put("repo/repo", "");
	const char *want = dump_of("root", "repo");
	for (int i = 0; i < 4; i++) {
		pack(names[i], (enum compress_kind)i, sample);
		const char *root = arena_printf(&a, "root%d", i);
		CHECK_STR(dump_of(root, names[i]), want);
		ino_t before = inode(index_file(root));
		CHECK_STR(dump_of(root, names[i]), want);
		CHECK_INT(inode(index_file(root)), before);
	}
	CHECK_INT(mkdir(in_tmp("served"), 0755), 0);
	pack("served/index.tar.gz", COMPRESS_GZIP, sample);
	CHECK_STR(dump_of("root9", "served"), want);
}

TEST(a_folder_for_a_while)
{
	CHECK_INT(mkdir(in_tmp("served"), 0755), 0);
	pack("served/index.tar.gz", COMPRESS_GZIP, sample);
	const char *tar = dump_of("root", "served");
	put("served/packages/z/z.1/opam", "opam-version: \"2.0\"\n");
	CHECK(holds(dump_of("root", "served"), "1 names, 1 packages"));
	CHECK_INT(fs_remove_tree(AT_FDCWD, in_tmp("served/packages"), &e), 0);
	CHECK_STR(dump_of("root", "served"), tar);
}

TEST(a_tar_that_changed)
{
	const char *const second[][2] = {
		{"packages/b/b.1/opam", "opam-version: \"2.0\"\ndepends: [\"a\" {= \"2\"}]\n"},
		{"packages/a/a.2/opam", "opam-version: \"2.0\"\ndepends: \"c\"\n"},
		{"packages/c/c.1/opam", "opam-version: \"2.0\"\n"},
		{NULL, NULL},
	};
	pack("x.tar.gz", COMPRESS_GZIP, sample);
	(void)dump_of("root", "x.tar.gz");
	pack("x.tar.gz", COMPRESS_GZIP, second);
	const char *by_steps = dump_of("root", "x.tar.gz");
	CHECK(holds(by_steps, "3 names, 3 packages"));
	CHECK_STR(by_steps, dump_of("other", "x.tar.gz"));
}

/* -- a server ------------------------------------------------------------------------------------------------------- */

static struct {
	const char *file, *etag;
	bool fails;
	int64_t max_age_s;
	unsigned asked, sent;
} server;

static int fake_get(struct channel_fetch *f, struct channel_get *const *gets, size_t n, struct err *why)
{
	(void)f, (void)why;
	struct channel_get *g = gets[0];
	CHECK_INT(n, 1);
	CHECK_STR(g->url, "https://h/repo/index.tar.gz");
	server.asked++;
	g->state = GET_FAILED;
	if (server.fails)
		return err_new(&g->err, ERR_NETWORK, "no route to host"), 0;
	g->max_age_s = server.max_age_s;
	g->state = server.file ? GET_UNCHANGED : GET_MISSING;
	if (!server.file || strcmp(g->etag, server.etag) == 0)
		return 0;
	auto_buf b = BUF_INIT(1 << 24);
	CHECK_INT(fs_read(AT_FDCWD, in_tmp(server.file), &b, &e), 0);
	CHECK_INT(pwrite(g->fd, b.p, b.n, 0), b.n);
	snprintf(g->etag, sizeof(g->etag), "%s", server.etag);
	g->state = GET_DONE;
	server.sent++;
	return 0;
}

static struct opam_index *from_server(enum channel_refresh_flags flags)
{
	static struct progress progress = {take_note, NULL};
	struct channel_fetch fetch = {.get = fake_get};
	struct channel_config config = {.cwd = str_c(test_tmp())};
	struct channel ch;
	struct opam_index *ix = NULL;
	auto_fd fd = fs_open_dir_make(AT_FDCWD, in_tmp("root"), &e);
	struct channel_cache cache = {.root_fd = fd, .clock = &now.base, .progress = &progress, .fetch = &fetch};
	CHECK_INT(channel_parse(&a, STR("https://h/repo"), &config, &ch, &e), 0);
	notes[0] = '\0';
	e = ERR_INIT;
	return channel_opam_open(&cache, &ch, flags, &ix, &e) < 0 ? NULL : ix;
}

/* How many packages, and how often it was asked and sent. */
static void served(enum channel_refresh_flags flags, uint32_t packages, unsigned asked, unsigned sent)
{
	auto_ptr(opam_index) ix = from_server(flags);
	CHECK_MSG(ix, "%s", e.msg);
	CHECK_INT(opam_index_info(ix).packages, packages);
	CHECK_INT(server.asked, asked);
	CHECK_INT(server.sent, sent);
}

TEST(a_server_is_asked_when_it_is_time)
{
	now = clock_fake_at(0, 1700000000000);
	CHECK(!from_server(0));
	CHECK_INT(e.code, ERR_NOT_FOUND);
	server.asked = 0;
	pack("one.tar.gz", COMPRESS_GZIP, sample);
	server.file = "one.tar.gz";
	server.etag = "1";
	server.max_age_s = 100;
	served(0, 3, 1, 1);
	now.wall_ms += 99000;
	served(0, 3, 1, 1);
	served(CHANNEL_FORCE, 3, 2, 1);
	now.wall_ms += 101000;
	served(0, 3, 3, 1);
	const char *const second[][2] = {{"packages/a/a.2/opam", "opam-version: \"2.0\"\n"}, {NULL, NULL}};
	pack("one.tar.gz", COMPRESS_GZIP, second);
	server.etag = "2";
	served(0, 3, 3, 1);
	now.wall_ms += 101000;
	served(CHANNEL_OFFLINE, 3, 3, 1);
	served(0, 1, 4, 2);
	/* no network: what is held serves on, unless somebody insists */
	server.fails = true;
	now.wall_ms += 101000;
	served(0, 1, 5, 2);
	CHECK(holds(notes, "no route to host; going on with the metadata of"));
	CHECK(!from_server(CHANNEL_FORCE));
	CHECK_INT(e.code, ERR_NETWORK);
	/* rubbish: the same */
	server.fails = false;
	put("rubbish", "no tar at all, whatever its name says");
	server.file = "rubbish";
	server.etag = "3";
	CHECK(!from_server(CHANNEL_FORCE));
	CHECK(e.msg[0]);
	served(CHANNEL_OFFLINE, 1, 7, 3);
}

TEST(hostile_tars)
{
	static const char *const broken[] = {"", "not a tar at all, but long enough to be looked at"};
	for (int i = 0; i < 2; i++) {
		put("bad.tar", broken[i]);
		CHECK(!open_it("root", "bad.tar", 0));
		CHECK_MSG(e.msg[0], "no word");
	}
	const char *const outside[][2] = {
		{"packages/a/a.1/opam", "opam-version: \"2.0\"\n"},
		{NULL, NULL},
	};
	pack("x.tar.gz", COMPRESS_GZIP, outside);
	/* cut short */
	auto_buf b = BUF_INIT(1 << 20);
	CHECK_INT(fs_read(AT_FDCWD, in_tmp("x.tar.gz"), &b, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp("cut.tar.gz"), b.p, b.n / 2, 0, &e), 0);
	CHECK(!open_it("root", "cut.tar.gz", 0));
	auto_ptr(opam_index) ix = open_it("root2", "x.tar.gz", 0);
	CHECK_MSG(ix, "%s", e.msg);
}

/* -- damage -------------------------------------------------------------------------------------------------------- */

TEST(every_byte_changed)
{
	make_repo();
	put(opam("bad.1"), "opam-version: \"2.0\"\ndepends: [ \"a\"\n");
	const char *good = dump_of("root", "repo");
	const char *path = index_file("root");
	auto_buf b = BUF_INIT(1 << 20);
	CHECK_INT(fs_read(AT_FDCWD, in_tmp(path), &b, &e), 0);
	size_t refused = 0, found = 0;
	for (size_t i = 0; i < b.n; i++) {
		auto_ptr(opam_index) ix = NULL;
		b.p[i] ^= (char)(1 + i % 255);
		CHECK_INT(fs_replace(AT_FDCWD, in_tmp(path), b.p, b.n, 0, &e), 0);
		b.p[i] ^= (char)(1 + i % 255);
		e = ERR_INIT;
		if (opam_index_open(AT_FDCWD, in_tmp(path), &ix, &e) < 0) {
			CHECK_INT(e.code, ERR_VERIFY);
			refused++;
			continue;
		}
		const char *text = dump(ix);
		if (opam_index_check(ix, &e) < 0)
			found++;
		else /* padding, or what an update alone reads */
			CHECK_STR(text, good);
	}
	CHECK(refused >= sizeof(struct oif_header) && found > refused);
	/* cut */
	for (size_t n = 0; n < b.n; n += 97) {
		auto_ptr(opam_index) ix = NULL;
		CHECK_INT(fs_replace(AT_FDCWD, in_tmp(path), b.p, n, 0, &e), 0);
		CHECK_INT(opam_index_open(AT_FDCWD, in_tmp(path), &ix, &e), -1);
	}
	/* and it is made anew */
	CHECK_STR(dump_of("root", "repo"), good);
}

TEST(a_damaged_part_that_only_updates_read)
{
	make_repo();
	(void)dump_of("root", "repo");
	const char *path = index_file("root");
	auto_buf b = BUF_INIT(1 << 20);
	CHECK_INT(fs_read(AT_FDCWD, in_tmp(path), &b, &e), 0);
	const struct oif_header *h = (const struct oif_header *)(const void *)b.p;
	b.p[h->section[OIF_STAMPS].at + 3] ^= 1;
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp(path), b.p, b.n, 0, &e), 0);
	put(opam("new.1"), "opam-version: \"2.0\"\n");
	CHECK(holds(dump_of("root", "repo"), "4 names, 7 packages"));
}

TEST(damaged_texts_are_found)
{
	make_repo();
	(void)dump_of("root", "repo");
	auto_ptr(opam_index) ix = open_it("root", "repo", 0);
	const char *path = index_file("root");
	char *texts = arena_printf(&a, "%.*s%s", (int)(strrchr(path, '/') + 1 - path), path,
				   oif_texts_name(ix->h->texts_id).s);
	auto_buf b = BUF_INIT(1 << 20);
	CHECK_INT(fs_read(AT_FDCWD, in_tmp(texts), &b, &e), 0);
	CHECK_INT(b.n, ix->h->texts_bytes);
	auto_fd fd = open(in_tmp(texts), O_WRONLY);
	b.p[20] ^= 1;
	CHECK_INT(pwrite(fd, b.p, b.n, 0), b.n);
	struct str text;
	CHECK_INT(opam_index_text(ix, (struct oi_pkg){0}, &a, &text, &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_INT(opam_index_check(ix, &e), -1);
	/* gone: the index is as good as none */
	CHECK_INT(unlink(in_tmp(texts)), 0);
	CHECK(holds(dump_of("root", "repo"), "3 names, 6 packages"));
}

TEST(texts_that_nobody_reads_any_more_go)
{
	make_repo();
	struct stat st;
	uint64_t most = 0;
	auto_buf long_text = BUF_INIT(1 << 20);
	for (unsigned round = 0; round < 12; round++) {
		buf_clear(&long_text);
		buf_put_c(&long_text, "opam-version: \"2.0\"\ndescription: \"");
		for (uint32_t i = 0, x = round + 1; i < 60000; i++, x = x * 1664525 + 1013904223)
			buf_put_char(&long_text, (char)('a' + (x >> 24) % 26));
		buf_put_c(&long_text, "\"\n");
		put(opam("a.1.9"), long_text.p);
		auto_ptr(opam_index) ix = open_it("root", "repo", 0);
		CHECK_MSG(ix, "%s", e.msg);
		CHECK(holds(dump(ix), "\"g\"")); /* the old ones are read as ever */
		if (opam_index_info(ix).texts_bytes > most)
			most = opam_index_info(ix).texts_bytes;
	}
	CHECK(most < 600000);
	CHECK_INT(stat(in_tmp(index_file("root")), &st), 0);
	auto_fs_list l = {0};
	char *folder = arena_strdup(&a, str_c(in_tmp(index_file("root"))));
	*strrchr(folder, '/') = '\0';
	CHECK_INT(fs_list(AT_FDCWD, folder, 100, &l, &e), 0);
	size_t texts = 0;
	for (size_t i = 0; i < l.n; i++)
		texts += str_ends(str_c(l.name[i]), STR(".texts"));
	CHECK_INT(texts, 1);
}

/* -- what packages need -------------------------------------------------------------------------------------------- */

static int put_need(void *ctx, const struct channel_need *need, struct err *why)
{
	(void)why;
	buf_printf(ctx, " %s", need->kind == CHANNEL_BAN ? "not" : "one of");
	for (size_t i = 0; i < need->one.n; i++)
		buf_printf(ctx, " %u", need->one.v[i]);
	buf_put_char(ctx, ';');
	return 0;
}

static const char *needs_of(struct channel_needs *n)
{
	auto_buf b = BUF_INIT(1 << 20);
	for (uint32_t i = 0; i < channel_needs_count(n); i++) {
		const struct channel_candidate *c = channel_needs_candidate(n, i);
		buf_printf(&b, "%u %.*s %.*s%s%s [%u+%u]:", i, STR_ARG(c->name), STR_ARG(c->version),
			   c->avoided ? " avoided" : "", c->installed ? " installed" : "", c->first, c->n);
		CHECK_INT(channel_needs_tell(n, i, put_need, &b, &e), 0);
		buf_put_char(&b, '\n');
	}
	return arena_strdup(&a, buf_str(&b));
}

TEST(repositories_lie_over_each_other)
{
	static const struct str installed[] = {{"gone.3", 6}, {"a.1", 3}, {"b.9", 3}, {"gone.3", 6}};
	const struct channel_needs_opts o = {.platform = STR("linux-x86_64"), .installed = installed, .installed_n = 4};
	put("one/packages/a/a.1/opam", "opam-version: \"2.0\"\ndepends: [\"b\" {= \"2\"}]\n");
	put("one/packages/a/a.3/opam", "opam-version: \"2.0\"\nflags: avoid-version\n");
	put("one/packages/c/c.1/opam", "opam-version: \"2.0\"\nconflict-class: \"k\"\n");
	put("two/packages/a/a.1/opam", "opam-version: \"2.0\"\ndepends: [\"nobody\"]\n");
	put("two/packages/a/a.2/opam", "opam-version: \"2.0\"\n");
	put("two/packages/b/b.2/opam", "opam-version: \"2.0\"\nconflict-class: \"k\"\n");
	put("two/packages/b/b.1/opam", "opam-version: \"2.0\"\ndepends: [\n");
	auto_ptr(opam_index) one = open_it("root1", "one", 0), two = open_it("root2", "two", 0);
	CHECK(one && two);
	struct opam_index *both[] = {one, two};
	auto_ptr(channel_needs) n = NULL;
	CHECK_MSG(channel_needs_open_opam(both, 2, &o, &n, &e) == 0, "%s", e.msg);
	CHECK_STR(needs_of(n), "0 a 2 [0+3]:\n"
			       "1 a 1 installed [0+3]: one of 4;\n"
			       "2 a 3 avoided [0+3]:\n"
			       "3 b 9 installed [3+3]:\n"
			       "4 b 2 [3+3]: not 6;\n"
			       "5 b 1 [3+3]: one of;\n"
			       "6 c 1 [6+1]: not 4;\n"
			       "7 gone 3 installed [7+1]:\n");
	struct oi_pkg p;
	CHECK(channel_needs_opam(n, 1, &p) == one && channel_needs_opam(n, 0, &p) == two);
	CHECK(!channel_needs_opam(n, 7, &p));
	CHECK_INT(opam_index_check(one, &e) | opam_index_check(two, &e), 0);
}

/* A folder without an index of its own says the same. */
TEST(needs_of_a_folder)
{
	const struct channel_needs_opts o = {.platform = STR("linux-x86_64")};
	const struct channel_walk_opts from = {0};
	make_repo();
	put(opam("bad.1"), "opam-version: \"2.0\"\ndepends: [\n");
	auto_ptr(opam_index) ix = open_it("root", "repo", 0);
	auto_ptr(channel_needs) x = NULL, y = NULL;
	auto_fd fd = fs_open_dir(AT_FDCWD, in_tmp("repo"), &e);
	CHECK_INT(channel_needs_open_opam(&ix, 1, &o, &x, &e), 0);
	CHECK_INT(channel_needs_open(channel_kind(STR("opam")), fd, &from, &o, &y, &e), 0);
	const char *text = needs_of(x);
	CHECK_STR(needs_of(y), text);
	CHECK(holds(text, "a 1.0 avoided"));
}

/* -- what it is asked to be ---------------------------------------------------------------------------------------- */

TEST(what_is_no_repository)
{
	CHECK_INT(mkdir(in_tmp("empty"), 0755), 0);
	CHECK(!open_it("root", "empty", 0));
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK(!open_it("root", "nowhere", 0));
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(fs_mkdirs(AT_FDCWD, in_tmp("none/packages"), 0755, &e), 0);
	CHECK(!open_it("root", "none", 0));
	CHECK_INT(e.code, ERR_INPUT);
	CHECK(!open_it("root", "x/opam-repository.git", 0));
	CHECK_INT(e.code, ERR_UNSUPPORTED);
}

TEST(offline)
{
	make_repo();
	CHECK(!open_it("root", "repo", CHANNEL_OFFLINE));
	CHECK_INT(e.code, ERR_NOT_FOUND);
	const char *text = dump_of("root", "repo");
	put(opam("new.1"), "opam-version: \"2.0\"\n");
	auto_ptr(opam_index) ix = open_it("root", "repo", CHANNEL_OFFLINE);
	CHECK_MSG(ix, "%s", e.msg);
	CHECK_STR(dump(ix), text);
}

TEST(every_package_of_the_real_repository)
{
	const char *tar = test_shared("data/opam/opam-files-2026.tar.zst");
	CHECK_INT(symlink(tar, in_tmp("real.tar.zst")), 0);
	auto_ptr(opam_index) ix = open_it("root", "real.tar.zst", 0);
	CHECK_MSG(ix, "%s", e.msg);
	struct opam_index_info info = opam_index_info(ix);
	CHECK_INT(info.names, 4596);
	CHECK_INT(info.packages, 18793);
	CHECK_INT(info.broken, 0);
	for (uint32_t i = 0; i < info.packages; i += 7) {
		auto_arena mine = ARENA_INIT;
		struct str text;
		CHECK_INT(opam_index_text(ix, (struct oi_pkg){i}, &mine, &text, &e), 0);
		same_formulas(ix, (struct oi_pkg){i}, text);
	}
	CHECK_INT(opam_index_check(ix, &e), 0);
}
