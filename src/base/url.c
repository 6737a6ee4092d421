// SPDX-License-Identifier: Apache-2.0
#include "base/url.h"

enum { TOKEN_MIN = 8 };

struct str url_origin(struct str url)
{
	ptrdiff_t at = str_search(url, STR("://"));
	if (at < 0)
		return str_head(url, 0);
	struct str rest = str_skip(url, (size_t)at + 3);
	ptrdiff_t slash = str_find(rest, '/');
	return slash < 0 ? url : str_head(url, (size_t)(at + 3 + slash));
}

int url_file_path(struct str url, struct buf *b, struct err *e)
{
	struct str rest = url;
	if (!str_take_str(&rest, STR("file://")) || !str_starts(rest, STR("/")))
		return err_new(e, ERR_USAGE, "'%.*s' is not a file URL (file:///absolute/path)", STR_ARG(url));
	while (rest.n) {
		uint8_t byte = (uint8_t)rest.p[0];
		bool escape = byte == '%';
		if (escape && (rest.n < 3 || !str_unhex(str_of(rest.p + 1, 2), &byte, 1)))
			byte = 0;
		if (!byte)
			return err_new(e, ERR_USAGE, "'%.*s' is not a file URL: '%%' wants two hex digits, not 00",
				       STR_ARG(url));
		buf_put_char(b, (char)byte);
		rest = str_skip(rest, escape ? 3 : 1);
	}
	return b->overflow ? err_new(e, ERR_LIMIT, "'%.*s': the path is too long", STR_ARG(url)) : 0;
}

void url_put_path(struct buf *b, struct str path)
{
	for (size_t i = 0; i < path.n; i++) {
		unsigned char c = (unsigned char)path.p[i];
		if (c <= 0x20 || c >= 0x7f || strchr("%?#\"<>[]\\^`{|}", c))
			buf_printf(b, "%%%02X", c);
		else
			buf_put_char(b, (char)c);
	}
}

/* Deeper in a path a "t" may be a channel's name: what is behind it has the look of a token, or is not taken for one. */
static bool looks_like_token(struct str part)
{
	static const char *const platforms[] = {"linux-", "osx-", "win-", "freebsd-", "emscripten-", "wasi-", "zos-"};
	bool digit = false;
	for (size_t i = 0; i < sizeof(platforms) / sizeof(platforms[0]); i++)
		if (str_starts(part, str_c(platforms[i])))
			return false;
	for (size_t i = 0; i < part.n; i++)
		digit |= part.p[i] >= '0' && part.p[i] <= '9';
	return digit && part.n >= TOKEN_MIN;
}

/* "", "/", "/.": nothing of a path. */
static bool is_nothing(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '/' && s.p[i] != '.')
			return false;
	return true;
}

/* Servers that lie below a folder of the host have the token there too: /api/repo/t/TOKEN/channel. */
static void put_without_token(struct buf *b, struct str path)
{
	struct str rest = path;
	for (ptrdiff_t at; (at = str_search(rest, STR("/t/"))) >= 0;) {
		bool first = is_nothing(str_head(path, (size_t)(rest.p + at - path.p)));
		struct str behind = str_skip(rest, (size_t)at + 3);
		ptrdiff_t slash = str_find(behind, '/');
		struct str part = str_head(behind, slash < 0 ? behind.n : (size_t)slash);
		if (first || looks_like_token(part)) {
			buf_put_str(b, str_head(path, (size_t)(rest.p + at - path.p)));
			buf_put_str(b, str_skip(behind, part.n));
			return;
		}
		rest = str_skip(rest, (size_t)at + 2);
	}
	buf_put_str(b, path);
}

void url_put_shown(struct buf *b, struct str url)
{
	struct str origin = url_origin(url), path = str_skip(url, origin.n);
	ptrdiff_t at = str_rfind(origin, '@'), scheme = str_search(origin, STR("://"));
	if (at > scheme) {
		buf_put_str(b, str_head(origin, (size_t)scheme + 3));
		buf_put_str(b, str_skip(origin, (size_t)at + 1));
	} else {
		buf_put_str(b, origin);
	}
	if (origin.n && !str_ends(origin, STR("://")))
		put_without_token(b, path);
	else
		buf_put_str(b, path);
}
