// SPDX-License-Identifier: Apache-2.0
/* build: where its context comes from. */
#include "cmd/build_source.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/fs.h"
#include "build/build.h"

enum { SPEC_BYTES_MAX = 16 << 20 };

void build_source_release(struct build_source *s)
{
	git_scratch_release(&s->scratch);
}

static int resolve_git(struct cmd_context *c, struct build_source *s, struct err *e)
{
	struct str url, ref;
	git_split_url(str_c(s->git), &url, &ref);
	struct git_source g = {.url = arena_strdup(&c->arena, url),
			       .ref = ref.p ? arena_strdup(&c->arena, ref) : NULL,
			       .commit = s->commit,
			       .onto = s->onto,
			       .base = s->merge_base};
	if (c->offline && !str_starts(url, STR("file://")))
		return err_new(e, ERR_NETWORK, "--offline, and '%s' is asked for its commits", g.url);
	return git_resolve(&g, &c->arena, &s->commits, e);
}

int build_source_resolve(struct cmd_context *c, struct build_source *s, const char *const *words, size_t n,
			 struct err *e)
{
	if (n > 1)
		return err_new(e, ERR_USAGE, "one folder is the context, and '%s' is another word", words[1]);
	s->folder = n ? words[0] : NULL;
	if (!s->git && (s->commit || s->onto || s->merge_base))
		return err_new(e, ERR_USAGE, "--commit, --onto and --merge-base are of a repository: --git URL");
	if (s->git && s->folder)
		return err_new(e, ERR_USAGE, "the context is the repository or the folder '%s', not both", s->folder);
	return s->git ? resolve_git(c, s, e) : 0;
}

int build_source_place(struct cmd_context *c, const struct build_source *s, struct build_head *h, struct err *e)
{
	*h = (struct build_head){.now_ms = clock_wall_ms(),
				 .note = str_c(s->note),
				 .title = str_c(s->title),
				 .variant = str_c(s->variant),
				 .url = s->commits.url,
				 .ref = s->commits.ref,
				 .commit = s->commits.commit,
				 .branch = s->commits.onto,
				 .base = s->commits.base};
	if (s->git)
		return 0;
	auto_free char *whole = realpath(s->folder ? s->folder : ".", NULL);
	if (!whole)
		return err_sys(e, "folder '%s'", s->folder ? s->folder : ".");
	h->dir = arena_str(&c->arena, str_c(whole));
	return 0;
}

static int head_of(struct cmd_context *c, const struct build_source *s, struct str spec, const char *file,
		   struct build_head *h, struct err *e)
{
	if (build_source_place(c, s, h, e) < 0)
		return -1;
	h->spec = spec;
	h->spec_file = str_c(file);
	return 0;
}

int build_source_head(struct cmd_context *c, const struct build_source *s, struct str spec, const char *file,
		      struct str hint, struct buf *out, struct err *e)
{
	struct build_head h;
	auto_buf recipe = BUF_INIT(SPEC_BYTES_MAX);
	if (head_of(c, s, spec, file, &h, e) < 0 || (s->recipe && fs_read_any(AT_FDCWD, s->recipe, &recipe, e) < 0))
		return -1;
	h.hint = hint;
	h.recipe = buf_str(&recipe);
	h.recipe_file = str_c(s->recipe);
	return build_head_print(&h, &c->arena, out, e);
}

int build_source_hint(struct cmd_context *c, const struct build_source *s, struct str spec, const char *file,
		      struct str *ret, struct err *e)
{
	struct build_head h;
	return head_of(c, s, spec, file, &h, e) < 0 ? -1 : build_head_hint(&h, &c->arena, ret, e);
}

int build_source_checkout(struct cmd_context *c, struct build_source *s, const char *dir, int log_fd,
			  const char **ret_context, struct err *e)
{
	*ret_context = s->folder;
	if (!s->git)
		return 0;
	const char *cache = arena_printf(&c->arena, "%s/git", dir);
	if (git_scratch_open(cache, &s->scratch, e) < 0 ||
	    git_checkout(&s->commits, cache, s->scratch.path, log_fd, e) < 0)
		return -1;
	*ret_context = s->scratch.path;
	return 0;
}

void build_source_words(struct cmd_context *c, const struct build_source *s, struct cmd_list *argv)
{
	const struct git_commits *g = &s->commits;
	if (!s->git) {
		if (s->folder)
			vec_push(argv, s->folder);
		return;
	}
	struct arena *a = &c->arena;
	vec_push(argv, arena_printf(a, "--git=%.*s%s%.*s", STR_ARG(g->url), g->ref.n ? "#" : "", STR_ARG(g->ref)));
	vec_push(argv, arena_printf(a, "--commit=%.*s", STR_ARG(g->commit)));
	if (g->onto.n)
		vec_push(argv, arena_printf(a, "--onto=%.*s", STR_ARG(g->onto)));
	if (g->base.n)
		vec_push(argv, arena_printf(a, "--merge-base=%.*s", STR_ARG(g->base)));
}
