// SPDX-License-Identifier: Apache-2.0
/* Channel addresses (CEP 26): names, URLs and folders to one canonical form; credentials kept out of what is shown. */
#include <fcntl.h>
#include <sys/utsname.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/url.h"
#include "channel/channel.h"

enum { ADDRESS_MAX = 4096, SUBDIR_MAX = 32, LABEL_MAX = 128 };
enum { NAME_BYTES_MAX = 200 }; /* of a folder's name; file systems take 255 */

bool channel_is_subdir(struct str s)
{
	return pkg_subdir_known(s);
}

struct str channel_host_subdir(void)
{
	static const struct {
		const char *machine, *subdir;
	} table[] = {
		{"x86_64", "linux-64"},	    {"aarch64", "linux-aarch64"}, {"i686", "linux-32"},
		{"i586", "linux-32"},	    {"ppc64le", "linux-ppc64le"}, {"ppc64", "linux-ppc64"},
		{"s390x", "linux-s390x"},   {"riscv64", "linux-riscv64"}, {"armv7l", "linux-armv7l"},
		{"armv6l", "linux-armv6l"},
	};
	struct utsname u;
	if (uname(&u) < 0)
		return STR("noarch");
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(u.machine, table[i].machine) == 0)
			return str_c(table[i].subdir);
	return STR("noarch");
}

/* -- URLs -------------------------------------------------------------------------------------------------------- */

static bool has_scheme(struct str s)
{
	static const char *const schemes[] = {"https://", "http://", "file://"};
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (s.n >= strlen(schemes[i]) && str_casecmp(str_head(s, strlen(schemes[i])), str_c(schemes[i])) == 0)
			return true;
	return false;
}

/* A path without ".", "..", doubled and closing slashes; it never leaves its root. */
static void put_clean_path(struct buf *b, struct str path)
{
	size_t root = b->n;
	while (path.n > 0) {
		struct str part;
		if (!str_take_until(&path, '/', &part)) {
			part = path;
			path.n = 0;
		}
		if (part.n == 0 || str_eq(part, STR(".")))
			continue;
		if (!str_eq(part, STR(".."))) {
			buf_put_char(b, '/');
			buf_put_str(b, part);
			continue;
		}
		while (b->n > root && b->p[b->n - 1] != '/')
			buf_truncate(b, b->n - 1);
		if (b->n > root)
			buf_truncate(b, b->n - 1);
	}
}

struct str channel_url_join(struct arena *a, struct str folder, struct str ref)
{
	if (has_scheme(ref))
		return arena_str(a, ref);
	struct str origin = url_origin(folder), path = str_skip(folder, origin.n);
	auto_buf b = BUF_INIT(2 * ADDRESS_MAX), both = BUF_INIT(2 * ADDRESS_MAX);
	buf_put_str(&b, origin);
	if (!str_starts(ref, STR("/")))
		buf_put_str(&both, path);
	buf_put_str(&both, ref);
	put_clean_path(&b, buf_str(&both));
	if (str_ends(ref, STR("/")) || ref.n == 0)
		buf_put_char(&b, '/');
	return arena_str(a, buf_str(&b));
}

static struct str shown_url(struct arena *a, struct str url)
{
	auto_buf b = BUF_INIT(2 * ADDRESS_MAX);
	url_put_shown(&b, url);
	return arena_str(a, buf_str(&b));
}

static int check_url(struct str url, struct err *e)
{
	if (url.n > ADDRESS_MAX)
		return err_new(e, ERR_LIMIT, "channel address of %zu bytes is too long", url.n);
	for (size_t i = 0; i < url.n; i++)
		if ((unsigned char)url.p[i] <= 0x20 || url.p[i] == 0x7f || url.p[i] == '?' || url.p[i] == '#')
			return err_new(
				e, ERR_USAGE,
				"channel address holds a space, '?', '#' or control character; write it as %%xx");
	return 0;
}

/* Of the path: a host may have that name too. */
static bool drop_last(struct str *url, struct str word)
{
	if (!str_ends(*url, word) || url->n <= word.n || url->p[url->n - word.n - 1] != '/' ||
	    url->n - word.n <= url_origin(*url).n)
		return false;
	url->n -= word.n + 1;
	return true;
}

static bool is_subdir_of(const struct channel_config *c, struct str s)
{
	if (!c->known_subdirs)
		return channel_is_subdir(s);
	for (const struct str *k = c->known_subdirs; k->n; k++)
		if (str_eq(*k, s))
			return true;
	return false;
}

/* What people paste: ".../linux-64/repodata.json" or ".../linux-64" means the channel above it. */
static struct str without_subdir(struct str url, const struct channel_config *c)
{
	bool file = drop_last(&url, STR("repodata.json")) || drop_last(&url, STR("repodata.json.zst"));
	ptrdiff_t slash = str_rfind(url, '/');
	struct str last = slash < 0 ? STR_NONE : str_skip(url, (size_t)slash + 1);
	if ((file || last.n) && is_subdir_of(c, last) && url_origin(url).n < url.n)
		url.n -= last.n + 1;
	return url;
}

/* Scheme and host in lower case, path clean. */
static struct str canonical(struct arena *a, struct str url)
{
	auto_buf b = BUF_INIT(2 * ADDRESS_MAX);
	struct str origin = url_origin(url);
	ptrdiff_t at = str_rfind(origin, '@');
	for (size_t i = 0; i < origin.n; i++) {
		char ch = origin.p[i];
		bool secret = at >= 0 && (ptrdiff_t)i <= at && i >= 8;
		buf_put_char(&b, ch >= 'A' && ch <= 'Z' && !secret ? (char)(ch | 0x20) : ch);
	}
	put_clean_path(&b, str_skip(url, origin.n));
	return arena_str(a, buf_str(&b));
}

/* '/' as '_', and %xx for all that is not safe in a file's name. Two URLs never have the same. */
static void put_escaped(struct buf *b, struct str url)
{
	static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:-+~";
	for (size_t i = 0; i < url.n; i++) {
		char hex[3];
		hex_encode((const uint8_t *)url.p + i, 1, hex);
		if (url.p[i] == '/') {
			buf_put_char(b, '_');
		} else if (memchr(safe, url.p[i], sizeof(safe) - 1)) {
			buf_put_char(b, url.p[i]);
		} else {
			buf_put_char(b, '%');
			buf_put_c(b, hex);
		}
	}
}

/* The URL itself where it is short and holds no secret: people can read it, and a solve need not load a library of
 * cryptography for it. */
static const char *folder_name(struct arena *a, const struct channel *c)
{
	auto_buf b = BUF_INIT(4 * NAME_BYTES_MAX);
	if (c->url.n <= NAME_BYTES_MAX && str_eq(c->url, c->shown))
		put_escaped(&b, c->url);
	if (b.n > 0 && b.n <= NAME_BYTES_MAX)
		return arena_strdup(a, buf_str(&b));
	uint8_t digest[SHA256_SIZE];
	char *hex = arena_alloc(a, SHA256_HEX_SIZE);
	sha256(c->url.p, c->url.n, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	return hex;
}

/* The part of the shown URL behind the alias is the short name. */
static struct str short_name(struct str shown, struct str alias)
{
	struct str rest = shown;
	return alias.n && str_take_str(&rest, alias) && str_take_char(&rest, '/') && rest.n ? rest : shown;
}

static int set_url(struct arena *a, struct str url, const struct channel_config *c, struct channel *ret, struct err *e)
{
	if (check_url(url, e) < 0)
		return -1;
	url = canonical(a, without_subdir(canonical(a, url), c));
	struct str origin = url_origin(url);
	bool file = str_starts(url, STR("file://"));
	if (!file && str_search(origin, STR("://")) + 3 == (ptrdiff_t)origin.n)
		return err_new(e, ERR_USAGE, "channel address names no host");
	if (file && origin.n > strlen("file://"))
		return err_new(e, ERR_USAGE, "'%.*s' is not a file URL of this machine (file:///absolute/path)",
			       STR_ARG(url));
	struct str alias = str_ends(c->alias, STR("/")) ? str_head(c->alias, c->alias.n - 1) : c->alias;
	*ret = (struct channel){.url = url, .shown = shown_url(a, url), .is_folder = file};
	ret->name = short_name(ret->shown, alias);
	ret->id = folder_name(a, ret);
	return 0;
}

/* -- folders and names ------------------------------------------------------------------------------------------- */

static int set_folder(struct arena *a, struct str path, const struct channel_config *c, struct channel *ret,
		      struct err *e)
{
	auto_buf b = BUF_INIT(2 * ADDRESS_MAX);
	buf_put_c(&b, "file://");
	if (path.p[0] != '/') {
		url_put_path(&b, c->cwd);
		buf_put_char(&b, '/');
	}
	url_put_path(&b, path);
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "channel folder's path is too long");
	return set_url(a, buf_str(&b), c, ret, e);
}

static bool is_folder_text(struct str text, const struct channel_config *c)
{
	if (text.p[0] == '/' || str_eq(text, STR(".")) || str_eq(text, STR("..")) || str_starts(text, STR("./")) ||
	    str_starts(text, STR("../")))
		return true;
	auto_free char *name = str_dup(text);
	if (c->cwd.n == 0)
		return false;
	auto_free char *cwd = str_dup(c->cwd);
	auto_fd fd = open(cwd, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	return fd >= 0 && fstatat(fd, name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

static int check_name(struct str text, struct err *e)
{
	struct str rest = text, part;
	while (rest.n > 0) {
		if (!str_take_until(&rest, '/', &part)) {
			part = rest;
			rest.n = 0;
		}
		bool good = part.n > 0 && part.n <= LABEL_MAX && part.p[0] != '.' && part.p[0] != '-';
		for (size_t i = 0; good && i < part.n; i++) {
			char ch = part.p[i];
			good = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
			       ch == '_' || ch == '.' || ch == '-';
		}
		if (!good)
			return err_new(e, ERR_USAGE, "'%.*s' is neither a channel's name nor a URL nor a folder",
				       STR_ARG(text));
	}
	return 0;
}

static int bad_scheme(struct arena *a, struct str url, struct err *e)
{
	struct str shown = shown_url(a, url);
	return err_new(e, ERR_USAGE, "channel '%.*s': only https, http and file are supported", STR_ARG(shown));
}

int channel_parse(struct arena *a, struct str text, const struct channel_config *c, struct channel *ret, struct err *e)
{
	text = str_trim(text);
	if (text.n == 0)
		return err_new(e, ERR_USAGE, "a channel is named by a name, a URL or a folder, not by ''");
	if (has_scheme(text))
		return set_url(a, text, c, ret, e);
	if (str_search(text, STR("://")) >= 0)
		return bad_scheme(a, text, e);
	if (is_folder_text(text, c))
		return set_folder(a, text, c, ret, e);
	if (check_name(text, e) < 0)
		return -1;
	if (c->alias.n == 0)
		return err_new(
			e, ERR_USAGE,
			"channel '%.*s' is a bare name and no channel alias is set; give a URL or a folder ('./%.*s'), keep one "
			"under that name ('slipway channel add --name %.*s URL'), or set 'channel_alias' in the "
			"configuration",
			STR_ARG(text), STR_ARG(text), STR_ARG(text));
	struct str alias = str_ends(c->alias, STR("/")) ? str_head(c->alias, c->alias.n - 1) : c->alias;
	struct str url = str_c(arena_printf(a, "%.*s/%.*s", STR_ARG(alias), STR_ARG(text)));
	if (alias.p[0] == '/')
		return set_folder(a, url, c, ret, e);
	return has_scheme(url) ? set_url(a, url, c, ret, e) : bad_scheme(a, url, e);
}

struct str channel_private_url(struct arena *a, const struct channel *channels, size_t n, struct str url)
{
	for (size_t i = 0; i < n; i++) {
		const struct channel *c = &channels[i];
		struct str rest = url;
		if (!str_eq(c->url, c->shown) && str_take_str(&rest, c->shown) && str_starts(rest, STR("/")))
			return str_c(arena_printf(a, "%.*s%.*s", STR_ARG(c->url), STR_ARG(rest)));
	}
	return url;
}

bool channel_matches(const struct channel *c, struct str wanted)
{
	/* but not of "file://", the root folder */
	while (wanted.n > 1 && str_ends(wanted, STR("/")) && !str_ends(wanted, STR("://")))
		wanted.n--;
	if (str_eq(wanted, c->name) || str_eq(wanted, c->shown) || str_eq(wanted, c->url))
		return true;
	if (has_scheme(wanted)) {
		auto_arena a = ARENA_INIT;
		struct str canon = canonical(&a, wanted);
		return str_eq(shown_url(&a, canon), c->shown);
	}
	/* a bare name means the last part of the address too: "conda-forge" on a mirror, a folder's own name */
	struct str path = str_skip(c->shown, url_origin(c->shown).n);
	return path.n > wanted.n && str_ends(path, wanted) && path.p[path.n - wanted.n - 1] == '/';
}
