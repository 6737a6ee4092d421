// SPDX-License-Identifier: Apache-2.0
/* Which commit a folder is. */
#include <fcntl.h>
#include <stdlib.h>

#include "base/fs.h"
#include "git/git.h"
#include "git/run.h"
#include "git/words.h"

enum { ANSWER_MAX = 1 << 20 };

/* One line of an answer, in the arena; empty where git says no. */
static struct str line_of(const struct git *g, const char *const *words, struct arena *a)
{
	auto_buf said = BUF_INIT(ANSWER_MAX);
	struct err no = ERR_INIT;
	struct str rest, line = STR("");
	if (git_ask(g, words, STR_NONE, &said, &no) != 0)
		return STR("");
	rest = buf_str(&said);
	(void)str_take_line(&rest, &line);
	return arena_str(a, line);
}

/* Filters would be run to see whether a file has changed: their commands stand in a file of the repository, which is not trusted. */
static bool is_as_committed(const struct git *g)
{
	auto_buf said = BUF_INIT(ANSWER_MAX);
	struct err no = ERR_INIT;
	if (git_ask(g, GIT_WORDS("config", "--includes", "--get-regexp", "^filter\\."), STR_NONE, &said, &no) != 1 ||
	    said.n)
		return false;
	no = ERR_INIT;
	return git_ask(g,
		       GIT_WORDS("--no-optional-locks", "-c", "core.fsmonitor=false", "status", "--porcelain",
				 "--untracked-files=all", "--ignored", "--ignore-submodules=all"),
		       STR_NONE, &said, &no) == 0 &&
	       said.n == 0;
}

/* The branch of origin that has the commit: the one of the same name where that does, else the first. */
static struct str branch_of_origin(const struct git *g, struct str commit, struct str own, struct arena *a)
{
	auto_buf said = BUF_INIT(ANSWER_MAX);
	struct err no = ERR_INIT;
	struct str line, found = STR("");
	const char *words[] = {"for-each-ref",		"--format=%(refname)", "--contains",
			       arena_strdup(a, commit), "refs/remotes/origin", NULL};
	if (git_ask(g, words, STR_NONE, &said, &no) != 0)
		return found;
	for (struct str rest = buf_str(&said); str_take_line(&rest, &line);) {
		if (!str_take_str(&line, STR("refs/remotes/origin/")) || str_eq_c(line, "HEAD"))
			continue;
		struct str ref = str_c(arena_printf(a, "refs/heads/%.*s", STR_ARG(line)));
		if (!found.n || str_eq(ref, own))
			found = ref;
	}
	return found;
}

int git_look(const char *dir, struct arena *a, struct git_commits *ret, struct err *e)
{
	auto_free char *whole = realpath(dir, NULL);
	auto_git g = {.dir = whole, .file = true};
	if (!whole)
		return err_sys(e, "folder '%s'", dir);
	/* submodules would be asked with configurations of their own */
	if (!fs_exists(AT_FDCWD, arena_printf(a, "%s/.git", whole)) ||
	    fs_exists(AT_FDCWD, arena_printf(a, "%s/.gitmodules", whole)))
		return 0;
	git_init(&g);
	struct str commit = line_of(&g, GIT_WORDS("rev-parse", "--verify", "-q", "HEAD^{commit}"), a);
	if (!git_is_commit(commit) || !is_as_committed(&g))
		return 0;
	struct err no = ERR_INIT;
	struct str own = line_of(&g, GIT_WORDS("symbolic-ref", "-q", "HEAD"), a);
	struct str url = line_of(&g, GIT_WORDS("config", "--get", "remote.origin.url"), a);
	struct str ref = branch_of_origin(&g, commit, own, a);
	if (!url.n || !ref.n || git_check_url(url, &no) < 0) {
		url = str_c(arena_printf(a, "file://%s", whole));
		ref = own;
	}
	*ret = (struct git_commits){.url = url, .ref = ref, .commit = commit, .onto = STR(""), .base = STR("")};
	return 1;
}
