// SPDX-License-Identifier: Apache-2.0
#include <sys/utsname.h>

#include "base/clock.h"
#include "build/build.h"
#include "build/spec.h"

enum { INDENT = 30 };

static void put_time(struct buf *out, const struct build_head *h)
{
	clock_put_log(out, h->now_ms);
	buf_put_c(out, ": ");
}

static void put_more(struct buf *out, const char *word, struct str s)
{
	buf_printf(out, "%*s%s", INDENT, "", word);
	buf_put_shown(out, s);
}

/* The tag, "debian-12" of "ocaml/opam:debian-12@sha256:…"; "debian-12" of "debian:12" too: a version alone says little. Without a tag the
 * name. A ':' before the last '/' is a port's. */
struct str build_head_variant(struct str from, struct arena *a)
{
	ptrdiff_t at = str_find(from, '@');
	if (at >= 0)
		from.n = (size_t)at;
	struct str name = str_skip(from, (size_t)(str_rfind(from, '/') + 1));
	ptrdiff_t colon = str_find(name, ':');
	if (colon < 0)
		return name;
	struct str tag = str_skip(name, (size_t)colon + 1);
	if (!tag.n || tag.p[0] < '0' || tag.p[0] > '9')
		return tag;
	return str_c(arena_printf(a, "%.*s-%.*s", (int)colon, name.p, STR_ARG(tag)));
}

/* As images name processors. */
static struct str own_arch(struct arena *a)
{
	static const char *const names[][2] = {{"x86_64", "amd64"}, {"aarch64", "arm64"},   {"armv7l", "arm32v7"},
					       {"i686", "i386"},    {"ppc64le", "ppc64le"}, {"riscv64", "riscv64"}};
	struct utsname u;
	if (uname(&u) < 0)
		return STR("unknown");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_eq(str_c(u.machine), str_c(names[i][0])))
			return str_c(names[i][1]);
	return arena_str(a, str_c(u.machine));
}

/* The last part of a URL or path. */
static struct str name_of(const struct build_head *h)
{
	struct str s = h->url.n ? h->url : h->dir;
	while (s.n > 1 && s.p[s.n - 1] == '/')
		s.n--;
	s = str_skip(s, (size_t)(str_rfind(s, '/') + 1));
	if (h->url.n && s.n > 4 && str_ends(s, STR(".git")))
		s.n -= 4;
	return s;
}

static void put_job(struct buf *out, const struct build_head *h, const struct build_spec *s, struct arena *a)
{
	if (h->note.n) {
		buf_put_shown(out, h->note);
		buf_put_c(out, "\n");
	}
	put_time(out, h);
	buf_put_c(out, "New job: ");
	if (h->title.n) {
		buf_put_shown(out, h->title);
	} else {
		buf_put_c(out, "build ");
		buf_put_shown(out, name_of(h));
	}
	buf_put_c(out, "\n");
	put_more(out, "from ", h->url.n ? h->url : h->dir);
	if (h->url.n && h->ref.n) {
		buf_put_c(out, "#");
		buf_put_shown(out, h->ref);
	}
	if (h->url.n && h->commit.n) {
		buf_put_c(out, " (");
		buf_put_shown(out, h->commit);
		buf_put_c(out, ")");
	}
	buf_put_c(out, "\n");
	put_more(out, "on ", h->variant.n ? h->variant : build_head_variant(s->from, a));
	buf_put_c(out, "/");
	buf_put_shown(out, h->arch.n ? h->arch : own_arch(a));
	buf_put_c(out, "\n");
}

static int put_recipe(struct buf *out, const struct build_head *h, const struct build_spec *s, struct arena *a,
		      struct err *e)
{
	struct build_spec other;
	if (h->recipe.n && spec_parse(h->recipe, arena_strdup(a, h->recipe_file), a, &other, e) < 0)
		return -1;
	struct spec_source source = {.url = h->url,
				     .ref = h->ref,
				     .commit = h->commit,
				     .merge_branch = h->branch.n ? h->branch : h->base,
				     .merge_base = h->base,
				     .dir = h->dir};
	buf_put_c(out, "\nTo reproduce locally:\n\n");
	if (spec_recipe(h->recipe.n ? &other : s, arena_strdup(a, h->recipe.n ? h->recipe_file : h->spec_file), &source,
			out, e) < 0)
		return -1;
	buf_put_c(out, "\n\n");
	return 0;
}

int build_head_print(const struct build_head *h, struct arena *a, struct buf *out, struct err *e)
{
	struct build_spec s;
	if (spec_parse(h->spec, arena_strdup(a, h->spec_file), a, &s, e) < 0)
		return -1;
	put_job(out, h, &s, a);
	if (put_recipe(out, h, &s, a, e) < 0)
		return -1;
	if (h->hint.n) {
		put_time(out, h);
		buf_put_c(out, "Using cache hint \"");
		buf_put_shown(out, h->hint);
		buf_put_c(out, "\"\n");
	}
	put_time(out, h);
	buf_put_c(out, "Using OBuilder spec:\n");
	spec_print(&s, out);
	buf_put_c(out, "\n\n");
	return 0;
}

int build_head_hint(const struct build_head *h, struct arena *a, struct str *ret, struct err *e)
{
	struct build_spec s;
	if (spec_parse(h->spec, arena_strdup(a, h->spec_file), a, &s, e) < 0)
		return -1;
	struct str name = name_of(h);
	*ret = str_c(arena_printf(a, "%.*s%s%.*s%s%.*s", STR_ARG(s.from), name.n ? "-" : "", STR_ARG(name),
				  h->commit.n ? "-" : "", STR_ARG(h->commit)));
	return 0;
}
