// SPDX-License-Identifier: Apache-2.0
#include "git/words.h"

/* -- what may be asked -------------------------------------------------------------------------------------------- */

static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
			return false;
	return true;
}

bool git_is_file(struct str url)
{
	return str_starts(url, STR("file://"));
}

static const char *const schemes[] = {"file://", "git://", "http://", "https://", "ssh://"};

/* What stands before '@' in the host's part: for ssh it is a user, elsewhere a secret that would stand in logs. */
static int check_host(struct str url, struct str rest, struct err *e)
{
	ptrdiff_t slash = str_find(rest, '/');
	struct str host = str_head(rest, slash < 0 ? rest.n : (size_t)slash);
	ptrdiff_t at = str_rfind(host, '@');
	bool ssh = str_starts(url, STR("ssh://")), file = git_is_file(url);
	struct str user = at < 0 ? STR_NONE : str_head(host, (size_t)at);
	if (at >= 0 && (!ssh || str_find(user, ':') >= 0))
		return err_new(e, ERR_USAGE,
			       "the git URL holds a password or user, which would stand in logs; put it into ~/.netrc");
	host = str_skip(host, (size_t)(at + 1));
	if (host.n > 0 && (host.p[0] == '-' || (user.n > 0 && user.p[0] == '-')))
		return err_new(e, ERR_USAGE, "git URL '%.*s': a host's name does not begin with '-'", STR_ARG(url));
	if ((host.n == 0) != file || slash < 0)
		return err_new(e, ERR_USAGE, "git URL '%.*s' has no %s", STR_ARG(url),
			       slash < 0 ? "path" : "good host");
	return 0;
}

int git_check_url(struct str url, struct err *e)
{
	if (url.n > GIT_URL_MAX)
		return err_new(e, ERR_LIMIT, "the git URL has more than %d bytes", GIT_URL_MAX);
	if (!is_plain(url) || str_find(url, '"') >= 0 || str_find(url, '\'') >= 0 || str_find(url, '\\') >= 0)
		return err_new(e, ERR_USAGE, "the git URL has blanks, quotation marks or control bytes in it");
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (str_starts(url, str_c(schemes[i])))
			return check_host(url, str_skip(url, strlen(schemes[i])), e);
	return err_new(
		e, ERR_USAGE,
		"git URL '%.*s' begins with none of file:// (a folder: file:///its/path), git://, http://, https://, ssh://",
		STR_ARG(url));
}

/* git's own rules for names of references, and no option. */
int git_check_ref(struct str ref, struct err *e)
{
	bool good = ref.n > 0 && ref.n <= GIT_REF_MAX && is_plain(ref) && ref.p[0] != '-' && ref.p[0] != '/' &&
		    ref.p[0] != '.' && !str_ends(ref, STR("/")) && !str_ends(ref, STR(".")) && !str_eq(ref, STR("@"));
	static const char *const never[] = {"..", "//", "/.", "@{", ".lock/", "~", "^", ":",
					    "?",  "*",	"[",  "\\", "\"",     "'", "`", "$"};
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		good = good && str_search(ref, str_c(never[i])) < 0;
	if (!good || str_ends(ref, STR(".lock")))
		return err_new(e, ERR_USAGE, "'%.*s' cannot be the name of a branch, tag or reference of git",
			       STR_ARG(ref));
	return 0;
}

void git_split_url(struct str text, struct str *ret_url, struct str *ret_ref)
{
	ptrdiff_t at = str_find(text, '#');
	*ret_url = at < 0 ? text : str_head(text, (size_t)at);
	*ret_ref = at < 0 ? STR_NONE : str_skip(text, (size_t)at + 1);
}

struct str git_name(struct str url, struct arena *a)
{
	while (str_ends(url, STR("/")))
		url.n--;
	struct str name = str_skip(url, (size_t)(str_rfind(url, '/') + 1));
	if (name.n > 4 && str_ends(name, STR(".git")))
		name.n -= 4;
	char *p = arena_strdup(a, str_head(name, 64));
	for (char *c = p; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
		      (c > p && (*c == '-' || *c == '.')) || *c == '_'))
			*c = '_';
	return *p ? str_c(p) : STR("source");
}

enum { SHA256_DIGITS = 64 };

bool git_is_commit(struct str s)
{
	return s.n == GIT_COMMIT_DIGITS && str_is_hex(s);
}

bool git_is_sha256(struct str s)
{
	return s.n == SHA256_DIGITS && str_is_hex(s);
}

bool git_lists_sha256(struct str listed)
{
	struct str id;
	return str_take_until(&listed, '\t', &id) && git_is_sha256(id);
}

int git_refuse_sha256(struct str what, struct err *e)
{
	return err_new(e, ERR_UNSUPPORTED,
		       "'%.*s': repositories with SHA-256 ids are not read; 'git clone' it, and build the folder",
		       STR_ARG(what));
}

/* -- what a server lists ------------------------------------------------------------------------------------------- */

/* The commit of `name` in what ls-remote listed: of an annotated tag the one that it names. */
static bool find_listed(struct str listed, struct str name, struct str *ret)
{
	struct str line, id;
	bool found = false, peeled = false;
	while (str_take_line(&listed, &line)) {
		if (!str_take_until(&line, '\t', &id) || !git_is_commit(id))
			continue;
		bool peel = str_ends(line, STR("^{}"));
		if (peel)
			line.n -= 3;
		if (str_eq(line, name) && (peel || !peeled)) {
			*ret = id;
			found = true;
			peeled = peel;
		}
	}
	return found;
}

/* As git reads a short name: itself, then below refs/, tags first. */
bool git_find_ref(struct str listed, struct str ref, struct arena *a, struct str *ret)
{
	static const char *const below[] = {"", "refs/", "refs/tags/", "refs/heads/"};
	for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++)
		if (find_listed(listed, str_c(arena_printf(a, "%s%.*s", below[i], STR_ARG(ref))), ret))
			return true;
	return false;
}
