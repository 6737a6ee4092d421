// SPDX-License-Identifier: Apache-2.0
/* What a small channel is made of: a folder, or a URL that is followed for it. */
#include <fcntl.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/url.h"
#include "cmd/channel_part.h"
#include "cmd/channel_sync.h"

enum { WORDS_MAX = 64, PROBE_MAX = 8 << 20, HASH_BYTES = 12 };
#define LARGE_FOLDER "large"

int cmd_part_split(struct cmd_context *c, const char *text, const char *option, struct mirror_list *ret, struct err *e)
{
	struct str rest = str_c(text), word, *v = arena_array(&c->arena, struct str, WORDS_MAX);
	*ret = (struct mirror_list){v, 0};
	while (rest.n) {
		if (!str_take_until(&rest, ',', &word)) {
			word = rest;
			rest = STR_NONE;
		}
		word = str_trim(word);
		if (word.n && ret->n == WORDS_MAX)
			return err_new(e, ERR_LIMIT, "--%s: more than %d of them", option, WORDS_MAX);
		if (word.n)
			v[ret->n++] = arena_str(&c->arena, word);
	}
	return 0;
}

/* -- of which kind it is -------------------------------------------------------------------------------------------- */

static bool is_remote(const char *word)
{
	return str_search(str_c(word), STR("://")) > 0 && !str_starts(str_c(word), STR("file://"));
}

/* Whether there is a file below the URL with that text in it. */
static bool has(struct cmd_context *c, const char *url, const char *file, const char *text)
{
	auto_buf b = BUF_INIT(PROBE_MAX);
	struct err ignored = ERR_INIT;
	const char *slash = str_ends(str_c(url), STR("/")) ? "" : "/";
	struct transfer_request r = {.url = arena_printf(&c->arena, "%s%s%s", url, slash, file)};
	return cmd_fetch(c, &r, &b, &ignored) == 0 && str_search(buf_str(&b), str_c(text)) >= 0;
}

static const char *kind_at(struct cmd_context *c, const struct cmd_part_args *a)
{
	if (a->kind)
		return a->kind;
	if (a->suite || a->component)
		return "deb";
	if (a->ocaml || a->variables)
		return "opam";
	if (a->pythons || a->is_conda)
		return "conda";
	return has(c, a->from, "repodata/repomd.xml", "<repomd") ? "rpm"
	       : has(c, a->from, "repo", "opam-version")	 ? "opam"
								 : "conda";
}

static int kind_of_url(struct cmd_context *c, struct cmd_part_args *a, struct err *e)
{
	if (cmd_need_config(c, e) < 0)
		return -1;
	const char *name = kind_at(c, a);
	const struct channel_kind *k = channel_kind(str_c(name));
	if (!k || (!channel_needs_host(k).n && k != channel_kind(STR("conda"))))
		return err_new(e, ERR_USAGE, "--kind is conda, deb, rpm or opam, not '%s'", name);
	if (k == channel_kind(STR("conda")))
		return 0;
	if (k == channel_kind(STR("deb")) && !a->suite)
		return err_new(
			e, ERR_USAGE,
			"'%s' does not say which suites it has: name those that are meant, as in --suite bookworm",
			a->from);
	a->kind = name;
	return 1;
}

static int kind_of_folder(struct cmd_context *c, struct cmd_part_args *a, struct err *e)
{
	auto_target t = {0};
	auto_buf path = BUF_INIT(URL_MAX);
	struct err ignored = ERR_INIT;
	const char *word = a->from;
	if (str_starts(str_c(word), STR("file://"))) {
		if (url_file_path(str_c(word), &path, e) < 0)
			return -1;
		word = arena_strdup(&c->arena, buf_str(&path));
	}
	if (cmd_target(c, word, &t, &ignored) < 0 || !t.kind || !channel_needs_host(t.kind).n)
		return 0;
	a->from = word;
	a->kind = channel_kind_name(t.kind);
	return 1;
}

int cmd_part_is(struct cmd_context *c, struct cmd_part_args *a, struct err *e)
{
	return is_remote(a->from) ? kind_of_url(c, a, e) : kind_of_folder(c, a, e);
}

/* -- following it --------------------------------------------------------------------------------------------------- */

/* ROOT/large/ and what names all that decides which metadata are there. */
static int folder_for(struct cmd_context *c, const struct mirror_create *o, const char **ret, struct err *e)
{
	auto_buf b = BUF_INIT(1 << 20);
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	const struct mirror_list *const lists[] = {&o->from, &o->platforms, &o->suites, &o->components};
	buf_put_c(&b, channel_kind_name(o->kind));
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		buf_put_c(&b, "\n");
		for (size_t k = 0; k < lists[i]->n; k++)
			buf_printf(&b, " %.*s", STR_ARG(lists[i]->v[k]));
	}
	buf_printf(&b, "\n%.*s", STR_ARG(o->keyring));
	if (cmd_need_root(c, e) < 0)
		return -1;
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "too much to name in one channel");
	sha256(b.p, b.n, digest);
	hex_encode(digest, HASH_BYTES, hex);
	*ret = arena_printf(&c->arena, "%s/" LARGE_FOLDER "/%s", c->root_path, hex);
	return 0;
}

static int options(struct cmd_context *c, const struct cmd_part_args *a, struct mirror_create *o, struct err *e)
{
	struct str *url = arena_new(&c->arena, struct str), *host = arena_new(&c->arena, struct str);
	*url = str_c(a->from);
	while (str_ends(*url, STR("/")))
		url->n--;
	*url = arena_str(&c->arena, *url);
	*o = (struct mirror_create){.type = MIRROR_FOLLOW,
				    .kind = channel_kind(str_c(a->kind)),
				    .from = {url, 1},
				    .download = STR("ON_DEMAND"),
				    .keyring = str_c(a->keyring)};
	if (cmd_part_split(c, a->suite, "suite", &o->suites, e) < 0 ||
	    cmd_part_split(c, a->component, "component", &o->components, e) < 0)
		return -1;
	if (o->kind != channel_kind(STR("deb"))) /* the others' metadata tell all platforms at once */
		return 0;
	*host = channel_needs_host(o->kind);
	o->platforms = (struct mirror_list){host, 1};
	return a->platforms ? cmd_part_split(c, a->platforms, "platform", &o->platforms, e) : 0;
}

int cmd_part_from(struct cmd_context *c, const struct cmd_part_args *a, struct cmd_target *ret, struct err *e)
{
	struct mirror_create o;
	struct mirror_sync_result r;
	const char *dir = NULL;
	if (!is_remote(a->from))
		return cmd_target(c, a->from, ret, e);
	if (options(c, a, &o, e) < 0 || folder_for(c, &o, &dir, e) < 0)
		return -1;
	if (!fs_exists(AT_FDCWD, arena_printf(&c->arena, "%s/.slipway/channel.yaml", dir)) &&
	    (fs_mkdirs(c->root_fd, LARGE_FOLDER, 0700, e) < 0 || mirror_create(dir, STR(""), &o, e) < 0))
		return -1;
	if (cmd_target(c, dir, ret, e) < 0)
		return -1;
	if (c->offline)
		return 0;
	const struct mirror_sync_opts so = {.bulk_mbit_per_s = -1, .progress = &c->progress};
	auto_buf shown = BUF_INIT(URL_MAX);
	url_put_shown(&shown, str_c(a->from));
	cmd_say(c, "Downloading the metadata of %s", shown.p);
	cmd_progress_begin(c);
	int rc = mirror_sync(ret->m, ret->channel, &so, &c->arena, &r, e);
	cmd_progress_end(c);
	return rc;
}
