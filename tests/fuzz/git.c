// SPDX-License-Identifier: Apache-2.0
// URLs and references as somebody gives them, and what a server lists: text up to the first NUL is given, the rest listed. What is taken cannot be
// an option, and a commit is one.
#include "base/err.h"
#include "git/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_word(struct str s)
{
	if (s.n == 0 || s.p[0] == '-')
		panic("an option is taken");
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == '\'' || s.p[i] == '"')
			panic("a byte that is none of it");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str given, listed = str_of((const char *)data, size), url, ref, id;
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	if (!str_take_until(&listed, '\0', &given))
		given = listed;
	git_split_url(given, &url, &ref);
	if (git_check_url(url, &e) == 0) {
		check_word(url);
		struct str host = str_skip(url, (size_t)str_search(url, STR("://")) + 3);
		if (!host.n || host.p[0] == '-' || str_starts(url, STR("ext:")))
			panic("a URL that is a command");
	}
	struct str name = git_name(url, &a);
	check_word(name);
	if (str_find(name, '/') >= 0 || name.p[0] == '.' || name.n > 64)
		panic("a name that is a path");
	if (!ref.p || git_check_ref(ref, &e) < 0)
		return 0;
	check_word(ref);
	if (str_find(ref, ':') >= 0 || str_search(ref, STR("..")) >= 0)
		panic("a reference that is more than one");
	if (git_find_ref(listed, ref, &a, &id) &&
	    (!git_is_commit(id) || id.p < listed.p || id.p + id.n > listed.p + listed.n))
		panic("a commit that is none");
	return 0;
}
