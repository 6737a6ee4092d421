// SPDX-License-Identifier: Apache-2.0
/*
 * Source packages: a .dsc, which names the files beside it with their digests, becomes a stanza of Sources, and all of them lie in one
 * folder of the pool (Policy 5.4, 5.6.21).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "channel/deb.h"
#include "channel/openpgp.h"

enum { DSC_MAX = 1 << 20, FILES_MAX = 1000 };

struct source {
	const char *path;   /* of the .dsc */
	const char *folder; /* it lies in, with a '/' behind, or "" */
	const char *pool;   /* folder in the pool */
	struct str text;    /* what was signed, or all of it */
	struct str name, version, platform, files;
};

static int bad(const struct source *x, const char *why, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%s' is no description of a source package: %s", x->path, why);
}

static bool is_word(struct str s, const char *more)
{
	bool good = s.n > 0 && s.n <= 200 && s.p[0] != '-' && s.p[0] != '+' && s.p[0] != '.';
	for (size_t i = 0; good && i < s.n; i++) {
		char c = s.p[i];
		good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		       (c && strchr(more, c));
	}
	return good;
}

/* Whoever signed a .dsc is a matter of those who upload; the archive's own signature covers its digest. */
static int read_text(struct arena *a, struct source *x, struct err *e)
{
	auto_buf raw = BUF_INIT(DSC_MAX), plain = BUF_INIT(DSC_MAX);
	if (fs_read(AT_FDCWD, x->path, &raw, e) < 0)
		return -1;
	bool clear = str_starts(buf_str(&raw), STR("-----BEGIN PGP SIGNED MESSAGE-----"));
	if (clear && openpgp_check_clear(NULL, buf_str(&raw), x->path, &plain, e) < 0)
		return -1;
	x->text = arena_str(a, clear ? buf_str(&plain) : buf_str(&raw));
	for (size_t i = 0; i < x->text.n; i++)
		if (((unsigned char)x->text.p[i] < ' ' && x->text.p[i] != '\n' && x->text.p[i] != '\t') ||
		    x->text.p[i] == 0x7f)
			return bad(x, "it holds a control character", e);
	/* an index has an empty line between packages */
	if (str_search(str_trim(x->text), STR("\n\n")) >= 0)
		return bad(x, "it has more than one paragraph", e);
	return 0;
}

static int read_source(struct arena *a, struct str component, struct source *x, struct err *e)
{
	static const char *const names[] = {"Source", "Version", "Architecture", "Checksums-Sha256"};
	struct str v[4];
	if (read_text(a, x, e) < 0)
		return -1;
	deb_fields(x->text, names, v, 4);
	x->name = v[0];
	x->version = v[1];
	x->platform = v[2];
	x->files = v[3];
	if (!is_word(v[0], "-+.") || !is_word(v[1], ".+-:~") || !v[2].n)
		return bad(x, "it has no good name, version or architecture", e);
	if (pkg_deb_version_check(v[1], e) < 0)
		return err_ctx(e, "'%s'", x->path);
	if (!v[3].n)
		return bad(x, "it tells no SHA-256 of its files", e);
	ptrdiff_t slash = str_rfind(str_c(x->path), '/');
	x->folder = arena_strdup(a, str_of(x->path, (size_t)(slash + 1)));
	size_t prefix = str_starts(v[0], STR("lib")) && v[0].n > 3 ? 4 : 1;
	x->pool = arena_printf(a, "pool/%.*s/%.*s/%.*s", STR_ARG(component), STR_ARG(str_head(v[0], prefix)),
			       STR_ARG(v[0]));
	return 0;
}

/* -- its files ------------------------------------------------------------------------------------------------------ */

static int stage_file(struct deb_made *m, const struct source *x, struct str hex, struct str size, struct str name,
		      struct err *e)
{
	struct stat st;
	struct digest_value want;
	uint64_t bytes;
	const char *from = arena_printf(m->a, "%s%.*s", x->folder, STR_ARG(name));
	const char *to = arena_printf(m->a, "%s/%.*s", x->pool, STR_ARG(name));
	if (!is_word(name, "-+._~") || !digest_parse(DIGEST_SHA256, hex, &want) || !str_to_u64(size, &bytes) ||
	    !channel_path_is_normal(str_c(to)))
		return bad(x, "a line of Checksums-Sha256 is none", e);
	if (stat(from, &st) < 0)
		return err_sys(e, "'%s', which '%s' names, should lie beside it", from, x->path);
	if ((uint64_t)st.st_size != bytes)
		return err_new(e, ERR_VERIFY, "'%s' has %lld bytes, and '%s' tells of %llu", from,
			       (long long)st.st_size, x->path, (unsigned long long)bytes);
	/* an .orig.tar is that of several versions */
	return staging_put_file(m->t, to, from, want.bytes, m->o->replace, e) < 0 ? -1 : 0;
}

static int stage_files(struct deb_made *m, const struct source *x, struct err *e)
{
	struct str rest = x->files, line;
	size_t n = 0;
	while (str_take_line(&rest, &line)) {
		struct str hex = STR(""), size = STR(""), name = STR("");
		if (!str_trim(line).n)
			continue;
		if (++n > FILES_MAX)
			return bad(x, "it names too many files", e);
		(void)(str_take_word(&line, &hex) && str_take_word(&line, &size) && str_take_word(&line, &name));
		if (stage_file(m, x, hex, size, name, e) < 0)
			return -1;
	}
	return 0;
}

/* -- its stanza ----------------------------------------------------------------------------------------------------- */

static bool is_left_out(struct str name)
{
	static const char *const left_out[] = {"Source",	   "Files",   "Checksums-Sha1",
					       "Checksums-Sha256", "Package", "Directory"};
	for (size_t i = 0; i < sizeof(left_out) / sizeof(*left_out); i++)
		if (deb_name_eq(name, str_c(left_out[i])))
			return true;
	return false;
}

static int make_addition(struct deb_made *m, const struct source *x, struct deb_addition *ret, struct err *e)
{
	struct stat st;
	uint8_t sha[SHA256_SIZE];
	struct deb_field f;
	struct str text = x->text;
	auto_buf b = BUF_INIT(2 * DSC_MAX);
	const char *name = x->path + strlen(x->folder);
	auto_fd fd = open(x->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open '%s'", x->path);
	if (sha256_fd(fd, sha, e) < 0)
		return -1;
	const char *to = arena_printf(m->a, "%s/%s", x->pool, name);
	if (!is_word(str_c(name), "-+._~"))
		return bad(x, "its own name is none of a file in the pool", e);
	if (staging_put_file(m->t, to, x->path, sha, m->o->replace, e) < 0)
		return -1;
	buf_printf(&b, "Package: %.*s\n", STR_ARG(x->name));
	while (deb_take_field(&text, &f))
		if (!is_left_out(f.name))
			buf_put_str(&b, f.lines);
	if (b.n && b.p[b.n - 1] != '\n')
		buf_put_char(&b, '\n');
	buf_printf(&b, "Directory: %s\nChecksums-Sha256:\n ", x->pool);
	buf_put_hex(&b, sha, sizeof(sha));
	buf_printf(&b, " %lld %s\n", (long long)st.st_size, name);
	struct str rest = x->files, line;
	while (str_take_line(&rest, &line))
		if (str_trim(line).n)
			buf_printf(&b, " %.*s\n", STR_ARG(str_trim(line)));
	*ret = (struct deb_addition){.name = x->name,
				     .version = x->version,
				     .platform = x->platform,
				     .filename = str_c(to),
				     .stanza = arena_str(m->a, buf_str(&b))};
	return 0;
}

int deb_publish_sources(struct deb_made *m, struct str component, const char *const *files, size_t n, struct err *e)
{
	auto_free struct deb_addition *add = xcalloc(n + 1, sizeof(*add));
	auto_ptr(istream) in = NULL;
	struct str base = str_c(arena_printf(m->a, "%.*s/source/Sources", STR_ARG(component)));
	for (size_t i = 0; i < n; i++) {
		struct source x = {.path = files[i]};
		if (read_source(m->a, component, &x, e) < 0 || stage_files(m, &x, e) < 0 ||
		    make_addition(m, &x, &add[i], e) < 0)
			return -1;
	}
	qsort(add, n, sizeof(*add), deb_addition_cmp);
	for (size_t i = 1; i < n; i++)
		if (deb_addition_cmp(&add[i - 1], &add[i]) == 0)
			return err_new(e, ERR_USAGE, "two of the files are '%.*s' %.*s", STR_ARG(add[i].name),
				       STR_ARG(add[i].version));
	if (m->had && m->t->dir >= 0 && deb_index_open(m->t->dir, m->dir, &m->old, base, &in, e) < 0)
		return err_ctx(e, "the channel's own metadata cannot be read; mend or remove them");
	return deb_made_index(m, base, in, NULL, NULL, add, n, e);
}

struct str deb_source_path(struct arena *a, struct str stanza)
{
	static const char *const names[] = {"Directory", "Checksums-Sha256"};
	struct str v[2], line, word, name = STR("");
	deb_fields(stanza, names, v, 2);
	while (str_take_line(&v[1], &line))
		if (str_take_word(&line, &word) && str_take_word(&line, &word) && str_take_word(&line, &word) &&
		    str_ends(word, STR(".dsc")))
			name = word;
	return name.n ? str_c(arena_printf(a, "%.*s/%.*s", STR_ARG(v[0]), STR_ARG(name))) : STR_NONE;
}

bool deb_is_sources(struct str base)
{
	return str_ends(base, STR("/source/Sources"));
}
