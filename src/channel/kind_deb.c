// SPDX-License-Identifier: Apache-2.0
/*
 * Debian archives: dists/SUITE/InRelease names indexes with size and digest, those name the files of pool/. A flat repository
 * has all of them in one folder.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/clock.h"
#include "base/fs.h"
#include "channel/deb.h"
#include "channel/needs.h"

/* == which file is what =========================================================================================== */

static struct str last_part(struct str path)
{
	return str_skip(path, (size_t)(str_rfind(path, '/') + 1));
}

static bool is_one_of(struct str name, const char *const *words, bool (*test)(struct str, struct str))
{
	for (; *words; words++)
		if (test(name, str_c(*words)))
			return true;
	return false;
}

static bool is_packing(struct str ending)
{
	static const char *const endings[] = {"", ".gz", ".xz", ".bz2", ".zst", ".lzma", ".lz4", NULL};
	return is_one_of(ending, endings, str_eq);
}

/* "Packages", "Sources.xz" … */
static bool is_index(struct str name)
{
	return (str_take_str(&name, STR("Packages")) || str_take_str(&name, STR("Sources"))) && is_packing(name);
}

static bool is_pointer(struct str name)
{
	static const char *const pointers[] = {"InRelease", "Release", "Release.gpg", NULL};
	return is_one_of(name, pointers, str_eq);
}

static bool is_package(struct str name)
{
	static const char *const endings[] = {".deb",	 ".udeb",      ".ddeb",	    ".dsc",	".tar.gz",
					      ".tar.xz", ".tar.bz2",   ".tar.lzma", ".tar.zst", ".diff.gz",
					      ".asc",	 ".buildinfo", ".changes",  NULL};
	return is_one_of(name, endings, str_ends);
}

/* …/by-hash/SHA256/HEX */
static bool is_by_hash(struct str path, struct digest_value *ret)
{
	static const struct {
		const char *dir;
		size_t digits;
		enum digest_kind kind;
	} kinds[] = {{"by-hash/SHA256/", 64, DIGEST_SHA256},
		     {"by-hash/SHA512/", 128, DIGEST_SHA512},
		     {"by-hash/SHA1/", 40, DIGEST_SHA1},
		     {"by-hash/MD5Sum/", 32, DIGEST_MD5}};
	struct str hex = last_part(path), dir = str_head(path, path.n - hex.n);
	if (!str_is_hex(hex))
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct str tail = str_c(kinds[i].dir);
		if (hex.n == kinds[i].digits && str_ends(dir, tail) &&
		    (dir.n == tail.n || dir.p[dir.n - tail.n - 1] == '/'))
			return !ret || digest_parse(kinds[i].kind, hex, ret);
	}
	return false;
}

static enum channel_file file_of_dists(struct str path)
{
	struct str name = last_part(path), dir = str_head(path, path.n - name.n);
	static const char *const starts[] = {"Contents-", "Translation-", "Commands-", "Components-",
					     "icons-",	  "CID-Index-",	  NULL};
	static const char *const folders[] = {"/i18n/", "/dep11/", "/cnf/", "/uefi/", "/signed/", NULL};
	if (is_pointer(name)) {
		/* the small ones beside indexes are named by the suite's own */
		struct str parent = last_part(str_head(dir, dir.n ? dir.n - 1 : 0));
		bool inner = str_starts(parent, STR("binary-")) || str_eq_c(parent, "source");
		return inner ? CHANNEL_FILE_NAMED : CHANNEL_FILE_POINTER;
	}
	if (is_index(name) || is_one_of(name, starts, str_starts) || is_one_of(dir, folders, str_ends) ||
	    str_search(dir, STR(".diff/")) >= 0 || str_search(dir, STR("/installer-")) >= 0)
		return CHANNEL_FILE_NAMED;
	return CHANNEL_FILE_NONE;
}

static enum channel_file deb_file(struct str path)
{
	struct str rest = path, name = last_part(path);
	if (path.p[0] == '.')
		return CHANNEL_FILE_NONE;
	if (is_by_hash(path, NULL))
		return CHANNEL_FILE_NAMED;
	if (str_take_str(&rest, STR("dists/")))
		return file_of_dists(rest);
	if (is_package(name))
		return CHANNEL_FILE_PACKAGE;
	if (str_starts(path, STR("pool/")))
		return CHANNEL_FILE_NONE;
	return is_pointer(name) ? CHANNEL_FILE_POINTER : is_index(name) ? CHANNEL_FILE_NAMED : CHANNEL_FILE_NONE;
}

static const char *deb_type(struct str path)
{
	struct str name = last_part(path);
	return is_pointer(name) || str_eq_c(name, "Packages") || str_eq_c(name, "Sources") ? "text/plain; charset=utf-8"
											   : NULL;
}

/* == a walk ======================================================================================================= */

static struct str *copy_list(struct arena *a, const struct str *v, size_t n)
{
	struct str *copy = arena_array(a, struct str, n + 1);
	for (size_t i = 0; i < n; i++)
		copy[i] = arena_str(a, v[i]);
	return copy;
}

static void copy_opts(struct deb_walk *w, const struct channel_walk_opts *o)
{
	w->o = *o;
	w->o.platforms = copy_list(&w->arena, o->platforms, o->platforms_n);
	w->o.components = copy_list(&w->arena, o->components, o->components_n);
	w->o.names = copy_list(&w->arena, o->names, o->names_n);
	w->o.extras = copy_list(&w->arena, o->extras, o->extras_n);
	w->o.suites = NULL;
	w->o.keyring = o->keyring ? arena_strdup(&w->arena, str_c(o->keyring)) : NULL;
}

static int add_suite(struct deb_walk *w, struct str name, struct err *e)
{
	struct deb_suite *s = &w->suite[w->n];
	bool flat = str_ends(name, STR("/"));
	struct str path = flat ? str_head(name, name.n - 1) : name;
	(void)str_take_str(&path, STR("./"));
	if (flat && (path.n == 0 || str_eq_c(path, ".")))
		s->dir = "";
	else if (!channel_path_is_normal(path))
		return err_new(e, ERR_USAGE, "'%.*s' is no suite", STR_ARG(name));
	else
		s->dir = arena_printf(&w->arena, "%s%.*s/", flat ? "" : "dists/", STR_ARG(path));
	s->name = arena_str(&w->arena, name);
	w->n++;
	return 0;
}

/* The suites that stand in the folder, where none are given. */
static int find_suites(struct deb_walk *w, struct err *e)
{
	enum { SUITES_MAX = 10000 };
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	if (fs_list(w->fd, "dists", SUITES_MAX, &list, &ignored) < 0)
		list.n = 0;
	w->suite = arena_array(&w->arena, struct deb_suite, list.n + 1);
	for (size_t i = 0; i < list.n; i++) {
		bool is_suite = false;
		static const char *const pointers[] = {"InRelease", "Release"};
		for (size_t k = 0; k < 2; k++) {
			auto_arena a = ARENA_INIT;
			is_suite |= fs_exists(w->fd, arena_printf(&a, "dists/%s/%s", list.name[i], pointers[k]));
		}
		if (is_suite && add_suite(w, str_c(list.name[i]), e) < 0)
			return -1;
	}
	return w->n ? 0
		    : err_new(e, ERR_USAGE,
			      "say which suites of the archive are wanted (a server does not list them), as in 'bookworm'");
}

void deb_walk_free(struct channel_walk *base)
{
	struct deb_walk *w = (struct deb_walk *)base;
	if (!w)
		return;
	for (size_t i = 0; i < w->n; i++)
		deb_release_release(&w->suite[i].release);
	cleanup_fd(&w->fd);
	arena_release(&w->arena);
	free(w);
}

static int walk_begin(struct deb_walk *w, int folder_fd, const struct channel_walk_opts *o, struct err *e)
{
	w->fd = fcntl(folder_fd, F_DUPFD_CLOEXEC, 0);
	if (w->fd < 0)
		return err_sys(e, "open the folder of an archive again");
	copy_opts(w, o);
	if (o->suites_n == 0)
		return find_suites(w, e);
	w->suite = arena_array(&w->arena, struct deb_suite, o->suites_n);
	for (size_t i = 0; i < o->suites_n; i++)
		if (add_suite(w, o->suites[i], e) < 0)
			return -1;
	return 0;
}

int deb_walk_new(int folder_fd, const struct channel_walk_opts *o, struct channel_walk **ret, struct err *e)
{
	struct deb_walk *w = xcalloc(1, sizeof(*w));
	if (walk_begin(w, folder_fd, o, e) < 0) {
		deb_walk_free(&w->base);
		return -1;
	}
	*ret = &w->base;
	return 0;
}

/* -- pointers ------------------------------------------------------------------------------------------------------- */

static int tell_pointers(struct deb_walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	static const char *const names[] = {"InRelease", "Release", "Release.gpg"};
	for (size_t i = 0; i < w->n; i++) {
		for (size_t k = 0; k < 3; k++) {
			char *path = arena_printf(&w->arena, "%s%s", w->suite[i].dir, names[k]);
			struct channel_item item = {
				.path = str_c(path), .what = CHANNEL_FILE_POINTER, .optional = true};
			if (fn(ctx, &item, e) < 0)
				return -1;
		}
	}
	return 0;
}

static int read_release(struct deb_walk *w, struct deb_suite *s, struct err *e)
{
	int64_t until;
	int rc = deb_release_read(w->fd, s->dir, w->o.keyring, &w->arena, &s->release, e);
	if (rc == 0)
		return err_new(e, ERR_NOT_FOUND,
			       "there is no '%sInRelease' and no '%sRelease': is '%.*s' a suite there?", s->dir, s->dir,
			       STR_ARG(s->name));
	if (rc < 0)
		return -1;
	struct str valid = deb_value(s->release.text, "Valid-Until");
	if (!valid.p || w->o.expired)
		return 0;
	if (!deb_date_parse(valid, &until))
		return err_new(e, ERR_INPUT, "'%sInRelease': Valid-Until is no date: '%.*s'", s->dir, STR_ARG(valid));
	if (until < clock_wall_ms())
		return err_new(
			e, ERR_VERIFY,
			"'%sInRelease' was good until %.*s and no longer: the upstream stands still, or somebody "
			"withholds what is newer",
			s->dir, STR_ARG(valid));
	return 0;
}

/* -- indexes -------------------------------------------------------------------------------------------------------- */

/* Where all packages of every architecture are in each architecture's index, an index for them alone tells nothing new. */
static bool wants_arch(const struct deb_walk *w, const struct deb_suite *s, struct str arch)
{
	if (w->o.platforms_n == 0 || walk_wants(w->o.platforms, w->o.platforms_n, arch))
		return true;
	return str_eq_c(arch, "all") &&
	       !str_eq_c(deb_value(s->release.text, "No-Support-for-Architecture-all"), "Packages");
}

enum index_kind { INDEX_NONE, INDEX_MAIN, INDEX_OTHER };

/* "main/binary-amd64/Packages.xz": of which component and architecture, and its plain name. */
static enum index_kind wanted_index(const struct deb_walk *w, const struct deb_suite *s, struct str path,
				    struct str *ret)
{
	struct str name = last_part(path), dir = str_head(path, path.n - name.n), rest = name;
	bool source = str_take_str(&rest, STR("Sources"));
	if (!source && !str_take_str(&rest, STR("Packages")) && !str_eq_c(name, "Release"))
		return INDEX_NONE;
	if (!str_eq_c(name, "Release") && !is_packing(rest))
		return INDEX_NONE;
	*ret = str_head(path, path.n - rest.n);
	if (dir.n == 0) /* a flat repository */
		return source && !w->o.sources ? INDEX_NONE : INDEX_MAIN;
	struct str arch = last_part(str_head(dir, dir.n - 1));
	struct str component = str_head(dir, dir.n - 1 - arch.n);
	if (component.n == 0)
		return INDEX_NONE;
	component.n--;
	source = str_eq_c(arch, "source");
	if (!walk_wants(w->o.components, w->o.components_n, component) || (source && !w->o.sources) ||
	    (!source && (!str_take_str(&arch, STR("binary-")) || !wants_arch(w, s, arch))))
		return INDEX_NONE;
	return str_eq_c(name, "Release") ? INDEX_OTHER : INDEX_MAIN;
}

static int tell_index(const struct deb_suite *s, const struct deb_entry *x, channel_item_fn *fn, void *ctx,
		      struct err *e)
{
	struct channel_item item = {.size = x->size, .digest = x->digest, .what = CHANNEL_FILE_NAMED, .optional = true};
	auto_arena a = ARENA_INIT;
	if (s->release.by_hash) {
		item.path = str_c(arena_printf(&a, "%s%s", s->dir, deb_by_hash(&a, x)));
		if (fn(ctx, &item, e) < 0)
			return -1;
		item.copy_of = item.path;
	}
	item.path = str_c(arena_printf(&a, "%s%.*s", s->dir, STR_ARG(x->path)));
	return fn(ctx, &item, e);
}

/* An upstream seldom holds the plain file beside the packed ones, though Release names it. */
static bool is_packed_too(const struct deb_suite *s, struct str base)
{
	for (size_t i = 1; deb_packings[i]; i++) {
		auto_arena a = ARENA_INIT;
		if (deb_release_find(&s->release, str_c(arena_printf(&a, "%.*s%s", STR_ARG(base), deb_packings[i]))))
			return true;
	}
	return false;
}

static int tell_indexes(struct deb_walk *w, struct deb_suite *s, channel_item_fn *fn, void *ctx, struct err *e)
{
	auto_map seen = MAP_INIT;
	s->base = arena_array(&w->arena, struct str, s->release.n + 1);
	for (size_t i = 0; i < s->release.n; i++) {
		const struct deb_entry *x = &s->release.entry[i];
		struct str base = STR_NONE;
		enum index_kind kind = wanted_index(w, s, x->path, &base);
		for (size_t k = 0; kind == INDEX_NONE && k < w->o.extras_n; k++)
			if (str_glob(w->o.extras[k], x->path))
				kind = INDEX_OTHER;
		if (kind == INDEX_NONE)
			continue;
		if (kind == INDEX_MAIN) {
			uint64_t *place = map_put(&seen, base);
			if (!*place) {
				s->base[s->n++] = base;
				*place = s->n;
			}
			if (str_eq(base, x->path) && is_packed_too(s, base))
				continue;
		}
		if (tell_index(s, x, fn, ctx, e) < 0)
			return -1;
	}
	if (s->n == 0)
		return err_new(e, ERR_NOT_FOUND,
			       "suite '%.*s' has no index that is wanted; its components are '%.*s', its architectures "
			       "'%.*s'",
			       STR_ARG(s->name), STR_ARG(deb_value(s->release.text, "Components")),
			       STR_ARG(deb_value(s->release.text, "Architectures")));
	return 0;
}

/* -- packages ------------------------------------------------------------------------------------------------------- */

static int bad_stanza(const struct deb_suite *s, struct str base, struct str name, const char *what, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%s%.*s': the package '%.*s' %s", s->dir, STR_ARG(base),
		       (int)(name.n < 200 ? name.n : 200), name.p ? name.p : "", what);
}

static int tell_package(struct deb_walk *w, const struct deb_suite *s, struct str base, struct str stanza,
			channel_item_fn *fn, void *ctx, struct err *e)
{
	static const char *const names[] = {"Package", "Version", "Architecture", "Filename",
					    "Size",    "SHA256",  "SHA512"};
	struct str v[7];
	struct channel_item item = {.what = CHANNEL_FILE_PACKAGE};
	deb_fields(stanza, names, v, 7);
	if (v[0].p && !walk_wants_name(&w->o, v[0]))
		return 0;
	item.name = v[0];
	item.version = v[1];
	item.platform = v[2];
	item.path = v[3];
	(void)str_take_str(&item.path, STR("./"));
	if (!v[0].p || !v[1].p || !v[2].p)
		return bad_stanza(s, base, v[0], "lacks its name, version or architecture", e);
	if (!channel_path_is_normal(item.path))
		return bad_stanza(s, base, v[0], "has no file name, or one that leads out of the archive", e);
	if (!str_to_u64(v[4], &item.size))
		return bad_stanza(s, base, v[0], "does not tell its size", e);
	if (!digest_parse(DIGEST_SHA512, v[6], &item.digest) && !digest_parse(DIGEST_SHA256, v[5], &item.digest))
		return bad_stanza(s, base, v[0], "has neither a SHA-256 nor a SHA-512", e);
	return fn(ctx, &item, e);
}

/* The files of a source package: lines of "DIGEST SIZE NAME" below its folder. */
static int tell_source(struct deb_walk *w, const struct deb_suite *s, struct str base, struct str stanza,
		       channel_item_fn *fn, void *ctx, struct err *e)
{
	static const char *const names[] = {"Package", "Version", "Directory", "Checksums-Sha256"};
	struct str v[4], line, hex, size, name;
	deb_fields(stanza, names, v, 4);
	if (v[0].p && !walk_wants_name(&w->o, v[0]))
		return 0;
	if (!v[0].p || !v[1].p || !v[3].p)
		return bad_stanza(s, base, v[0], "(source) lacks its name, version or files", e);
	while (str_take_line(&v[3], &line)) {
		auto_arena a = ARENA_INIT;
		struct channel_item item = {.what = CHANNEL_FILE_PACKAGE, .name = v[0], .version = v[1]};
		item.platform = STR("source");
		if (str_trim(line).n == 0)
			continue;
		if (!str_take_word(&line, &hex) || !str_take_word(&line, &size) || !str_take_word(&line, &name) ||
		    !digest_parse(DIGEST_SHA256, hex, &item.digest) || !str_to_u64(size, &item.size))
			return bad_stanza(s, base, v[0], "(source) has a file without digest, size or name", e);
		bool here = v[2].n == 0 || str_eq_c(v[2], ".");
		item.path = str_c(arena_printf(&a, "%.*s%s%.*s", here ? 0 : (int)v[2].n, v[2].p ? v[2].p : "",
					       here ? "" : "/", STR_ARG(name)));
		if (str_find(name, '/') >= 0 || !channel_path_is_normal(item.path))
			return bad_stanza(s, base, v[0], "(source) has a file name that leads out of the archive", e);
		if (fn(ctx, &item, e) < 0)
			return -1;
	}
	return 0;
}

int deb_tell_stanza(struct deb_walk *w, const struct deb_suite *s, struct str base, struct str stanza,
		    channel_item_fn *fn, void *ctx, struct err *e)
{
	bool source = str_ends(base, STR("Sources"));
	return (source ? tell_source : tell_package)(w, s, base, stanza, fn, ctx, e);
}

static int tell_packages(struct deb_walk *w, const struct deb_suite *s, struct str base, channel_item_fn *fn, void *ctx,
			 struct err *e)
{
	auto_ptr(istream) in = NULL;
	int rc = deb_index_open(w->fd, s->dir, &s->release, base, &in, e);
	if (rc == 0)
		return err_new(e, ERR_UNSUPPORTED, "'%s%.*s' is there only packed in a way that is not known", s->dir,
			       STR_ARG(base));
	if (rc < 0)
		return -1;
	auto_deb_reader r;
	deb_reader_init(&r, in);
	struct str stanza;
	while ((rc = deb_next(&r, &stanza, e)) > 0)
		if (deb_tell_stanza(w, s, base, stanza, fn, ctx, e) < 0)
			return -1;
	return rc;
}

static int walk_packages(struct deb_walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	for (size_t i = 0; i < w->n; i++)
		for (size_t k = 0; k < w->suite[i].n; k++)
			if (tell_packages(w, &w->suite[i], w->suite[i].base[k], fn, ctx, e) < 0)
				return -1;
	return 0;
}

int deb_walk_indexes(struct deb_walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	for (size_t i = 0; i < w->n; i++)
		if (read_release(w, &w->suite[i], e) < 0 || tell_indexes(w, &w->suite[i], fn, ctx, e) < 0)
			return -1;
	return 0;
}

/* -- passing on ----------------------------------------------------------------------------------------------------- */

static bool deb_path_digest(struct str path, struct digest_value *ret)
{
	return is_by_hash(path, ret);
}

/* What a Release names, by name: what is asked for by-hash says itself what it is. */
static int learn_release(const struct channel_came *c, struct str dir, bool clear, channel_item_fn *fn, void *ctx,
			 struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_deb_release r = {0};
	int rc = 0;
	/* a signature apart comes later, and who reads the file asks for it */
	if (!clear && c->keyring)
		return 0;
	if (deb_release_read(c->folder, arena_strdup(&a, dir), clear ? c->keyring : NULL, &a, &r, e) <= 0)
		return -1;
	for (size_t i = 0; i < r.n && rc == 0; i++) {
		const struct channel_item item = {
			.path = str_c(arena_printf(&a, "%.*s%.*s", STR_ARG(dir), STR_ARG(r.entry[i].path))),
			.size = r.entry[i].size,
			.digest = r.entry[i].digest,
			.what = CHANNEL_FILE_NAMED};
		/* some name what lies beside the archive, or files of no kind; nobody asks for these here */
		if (channel_path_is_normal(item.path) && deb_file(item.path) == CHANNEL_FILE_NAMED)
			rc = fn(ctx, &item, e);
	}
	return rc;
}

/* What it is an index of, by its name or, by-hash, by its folder: "Packages", "Sources", or "". */
static struct str index_of(struct str path)
{
	struct str name = last_part(path), dir = str_head(path, path.n - name.n);
	if (is_index(name))
		return name.p[0] == 'S' ? STR("Sources") : STR("Packages");
	ptrdiff_t at = is_by_hash(path, NULL) ? str_search(dir, STR("/by-hash/")) : -1;
	if (at < 0)
		return STR("");
	struct str parent = last_part(str_head(dir, (size_t)at));
	return str_eq_c(parent, "source")	    ? STR("Sources")
	       : str_starts(parent, STR("binary-")) ? STR("Packages")
						    : STR("");
}

static int learn_index(const struct channel_came *c, const char *path, struct str base, channel_item_fn *fn, void *ctx,
		       struct err *e)
{
	auto_ptr(istream) in = NULL;
	struct deb_walk all = {.fd = -1};
	const struct deb_suite suite = {.dir = ""};
	struct str stanza;
	int rc;
	if (kind_open_packed(c->folder, path, DEB_INDEX_MAX, &in, e) < 0)
		return -1;
	auto_deb_reader r;
	deb_reader_init(&r, in);
	while ((rc = deb_next(&r, &stanza, e)) > 0) {
		/* by-hash, the small Release of an architecture lies there, too */
		if (!deb_value(stanza, "Package").p)
			continue;
		if (deb_tell_stanza(&all, &suite, base, stanza, fn, ctx, e) < 0)
			return -1;
	}
	return rc;
}

static int deb_learn(const struct channel_came *c, struct str path, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct str name = last_part(path), dir = str_head(path, path.n - name.n), base = index_of(path);
	bool clear = str_eq_c(name, "InRelease");
	if (deb_file(path) == CHANNEL_FILE_POINTER && (clear || str_eq_c(name, "Release")))
		return learn_release(c, dir, clear, fn, ctx, e);
	auto_free char *text = str_dup(path);
	return base.n ? learn_index(c, text, base, fn, ctx, e) : 0;
}

static int deb_walk_next(struct channel_walk *base, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct deb_walk *w = (struct deb_walk *)base;
	int rc = 0;
	if (w->stage == DEB_POINTERS)
		rc = tell_pointers(w, fn, ctx, e);
	else if (w->stage == DEB_INDEXES)
		rc = deb_walk_indexes(w, fn, ctx, e);
	else if (w->stage == DEB_PACKAGES)
		rc = walk_packages(w, fn, ctx, e);
	else
		return 0;
	w->stage++;
	return rc < 0 ? -1 : 1;
}

const struct channel_kind kind_deb = {
	.name = "deb",
	.marks = "dists/*/InRelease dists/*/Release InRelease Packages Packages.gz Packages.xz",
	.packages = ".deb .udeb .dsc",
	.signing = CHANNEL_SIGNING_EXPECTED,
	.file = deb_file,
	.type = deb_type,
	.walk_new = deb_walk_new,
	.walk_next = deb_walk_next,
	.walk_free = deb_walk_free,
	.path_digest = deb_path_digest,
	.learn = deb_learn,
	.publish = deb_publish,
	.rewrite = deb_rewrite,
	.remove = deb_remove,
	.needs = &deb_needs,
};
