// SPDX-License-Identifier: Apache-2.0
/*
 * What every solving command does first: which channels, opened for which platform, with which rules.
 */
#include <stdio.h>
#include <time.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/url.h"
#include "cmd/cmd.h"
#include "cmd/pinned.h"
#include "cmd/takeout.h"

enum { MAX_CHANNELS_FILE = 1 << 20, MAX_CHANNELS = 1000 };

/* -- configured channels: ROOT/channels, a line "NAME URL" or "NAME URL opam" each, best first ------------------------- */

int cmd_channels_read(struct cmd_context *c, struct cmd_channel **ret, size_t *ret_n, struct err *e)
{
	auto_buf text = BUF_INIT(MAX_CHANNELS_FILE);
	VEC(struct cmd_channel) list = {0};
	*ret = NULL;
	*ret_n = 0;
	if (cmd_need_root(c, e) < 0)
		return -1;
	if (!fs_exists(c->root_fd, "channels"))
		return 0;
	if (fs_read(c->root_fd, "channels", &text, e) < 0)
		return -1;
	struct str rest = arena_str(&c->arena, buf_str(&text)), line, name, url;
	while (str_take_line(&rest, &line)) {
		line = str_trim(line);
		if (!line.n || line.p[0] == '#')
			continue;
		if (!str_take_word(&line, &name))
			continue;
		bool is_opam = str_ends(line, STR(" opam"));
		url = str_trim(is_opam ? str_head(line, line.n - 5) : line);
		*vec_add(&list) = (struct cmd_channel){name, url, is_opam};
	}
	*ret = vec_copy(&list, &c->arena);
	*ret_n = list.n;
	vec_release(&list);
	return 0;
}

int cmd_channels_write(struct cmd_context *c, const struct cmd_channel *v, size_t n, struct err *e)
{
	auto_buf b = BUF_INIT(MAX_CHANNELS_FILE);
	bool secret = false;
	buf_put_c(
		&b,
		"# Written by `slipway channel add` and `remove`: NAME URL, best channel first; opam behind it where it is opam's.\n");
	for (size_t i = 0; i < n; i++) {
		auto_buf shown = BUF_INIT(URL_MAX);
		url_put_shown(&shown, v[i].url);
		secret |= !str_eq(buf_str(&shown), v[i].url);
		buf_printf(&b, "%.*s %.*s%s\n", STR_ARG(v[i].name), STR_ARG(v[i].url), v[i].is_opam ? " opam" : "");
	}
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "more channels than 1 MiB of names");
	return fs_replace(c->root_fd, "channels", b.p, b.n, FS_REPLACE_SYNC | (secret ? FS_REPLACE_SECRET : 0), e);
}

int cmd_channels_of(struct cmd_context *c, bool opam, struct cmd_channel **ret, size_t *ret_n, struct err *e)
{
	size_t n;
	if (cmd_channels_read(c, ret, &n, e) < 0)
		return -1;
	*ret_n = 0;
	for (size_t i = 0; i < n; i++)
		if ((*ret)[i].is_opam == opam)
			(*ret)[(*ret_n)++] = (*ret)[i];
	return 0;
}

/* A bare name that the configuration places somewhere of its own (custom_channels). */
static struct str custom_url(struct cmd_context *c, struct str name)
{
	for (size_t i = 0; i < c->config.custom_channels_n; i++) {
		const struct config_custom *k = &c->config.custom_channels[i];
		if (str_eq(k->name.s, name))
			return str_c(arena_printf(&c->arena, "%.*s/%.*s", STR_ARG(k->url.s), STR_ARG(name)));
	}
	return STR_NONE;
}

struct str cmd_mirrored_url(struct cmd_context *c, struct str url)
{
	const struct config_custom *best = NULL;
	size_t best_n = 0;
	for (size_t i = 0; i < c->config.mirrors_n; i++) {
		const struct config_custom *m = &c->config.mirrors[i];
		struct str rest = url, of = m->name.s;
		while (str_ends(of, STR("/")))
			of.n--;
		if (of.n <= best_n || !str_take_str(&rest, of) || (rest.n && rest.p[0] != '/'))
			continue;
		best = m;
		best_n = of.n;
	}
	if (!best)
		return url;
	const char *to =
		arena_printf(&c->arena, "%s%.*s", best->url.s.p[0] == '/' ? "file://" : "", STR_ARG(best->url.s));
	if (str_starts(url, str_c(to)))
		return url; /* it is the copy already */
	return str_c(arena_printf(&c->arena, "%s%.*s", to, STR_ARG(str_skip(url, best_n))));
}

/* A package by its digest may come from anybody: also from the mirror of updates, where that says that it has a copy of the channel. Where the
 * channel is asked later, for other versions, is for the configuration to say. */
static struct str from_updates(struct cmd_context *c, const struct pkg_record *r)
{
	const struct cmd_followed *v;
	struct err bad = ERR_INIT;
	struct str path;
	size_t n;
	if (!r->has_sha256 || !str_starts(r->url, STR("http")) || cmd_pinned_load(c, &bad) < 0 ||
	    cmd_pinned_at(c, r->url, &path)) /* what is held to a root is so where it is */
		return r->url;
	cmd_updates_followed(c, &v, &n);
	for (size_t i = 0; i < n; i++) {
		struct str rest = r->url;
		if (str_take_str(&rest, v[i].from) && rest.n && rest.p[0] == '/')
			return str_c(arena_printf(&c->arena, "%.*s%.*s", STR_ARG(v[i].to), STR_ARG(rest)));
	}
	return r->url;
}

int cmd_mirrored_file(struct cmd_context *c, struct env_spec_file *f, struct err *e)
{
	if (cmd_need_config(c, e) < 0)
		return -1;
	struct env_lock_package *packages = arena_array(&c->arena, struct env_lock_package, f->packages_n);
	struct str *channels = arena_array(&c->arena, struct str, f->channels_n);
	for (uint32_t i = 0; i < f->packages_n; i++) {
		struct pkg_record *r = &packages[i].record;
		packages[i] = f->packages[i];
		r->url = cmd_mirrored_url(c, r->url);
		r->channel = cmd_mirrored_url(c, r->channel);
		if (str_eq(r->url, f->packages[i].record.url))
			r->url = from_updates(c, r);
	}
	for (uint32_t i = 0; i < f->channels_n; i++)
		channels[i] = cmd_mirrored_url(c, f->channels[i]);
	f->packages = packages;
	f->channels = channels;
	return 0;
}

static struct str configured_url(struct cmd_context *c, const struct cmd_channel *known, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(known[i].name, name))
			return known[i].url;
	return custom_url(c, name);
}

int cmd_channel_parse(struct cmd_context *c, struct str text, struct channel *ret, struct err *e)
{
	struct cmd_channel *known;
	size_t n;
	auto_free char *cwd = getcwd(NULL, 0);
	if (cmd_need_config(c, e) < 0 || cmd_channels_read(c, &known, &n, e) < 0)
		return -1;
	struct channel_config config = {
		.alias = c->config.channel_alias.s,
		.cwd = arena_str(&c->arena, str_c(cwd ? cwd : "/")),
	};
	struct str url = configured_url(c, known, n, text);
	if (channel_parse(&c->arena, cmd_mirrored_url(c, url.n ? url : text), &config, ret, e) < 0)
		return -1;
	if (url.n)
		ret->name = arena_str(&c->arena, text);
	vec_push(&c->named, *ret);
	return 0;
}

/* -- the channels of one command ------------------------------------------------------------------------------------ */

typedef VEC(struct channel) channel_list;

/* What an environment remembers of its channels has no credentials: those of the configured channel with the same address
 * are the ones that it was made with. */
static int put_credentials_back(struct cmd_context *c, struct channel *ch, struct err *e)
{
	struct cmd_channel *configured;
	struct channel known;
	size_t n;
	if (!str_eq(ch->url, ch->shown))
		return 0;
	if (cmd_channels_read(c, &configured, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct err ignored = ERR_INIT;
		if (cmd_channel_parse(c, configured[i].name, &known, &ignored) == 0 && str_eq(known.shown, ch->shown)) {
			*ch = known;
			return 0;
		}
	}
	return 0;
}

static int add_channel(struct cmd_context *c, channel_list *list, struct str text, struct err *e)
{
	struct channel ch;
	if (cmd_channel_parse(c, text, &ch, e) < 0 || put_credentials_back(c, &ch, e) < 0) {
		auto_buf shown = BUF_INIT(URL_MAX);
		url_put_shown(&shown, text);
		bool named = str_starts(str_c(e->msg), STR("channel '"));
		return named ? -1 : err_ctx(e, "channel '%s'", shown.p);
	}
	vec_foreach(have, list)
		if (str_eq(have->shown, ch.shown))
			return 0;
	if (list->n >= MAX_CHANNELS)
		return err_new(e, ERR_LIMIT, "more than %d channels", MAX_CHANNELS);
	vec_push(list, ch);
	return 0;
}

/* channel::name asks for a channel that may not be in the list: it comes last, so that it serves that spec. */
static int add_channels_of_specs(struct cmd_context *c, channel_list *list, const struct str *specs, size_t n,
				 struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct spec *s = pkg_conda.spec_parse(&c->arena, specs[i], SPEC_REQUEST, e);
		bool known = false;
		if (!s)
			return -1;
		struct str wanted = spec_channel(s);
		if (!wanted.n || memchr(wanted.p, '*', wanted.n))
			continue;
		vec_foreach(have, list)
			known |= channel_matches(have, wanted);
		if (!known && add_channel(c, list, wanted, e) < 0)
			return err_ctx(e, "spec '%.*s'", STR_ARG(specs[i]));
	}
	return 0;
}

static int choose_channels(struct cmd_context *c, const struct cmd_solve_options *o, const struct str *fallback,
			   size_t fallback_n, channel_list *list, struct err *e)
{
	struct cmd_channel *configured;
	size_t n;
	vec_foreach(name, &o->channels)
		if (add_channel(c, list, str_c(*name), e) < 0)
			return -1;
	for (size_t i = 0; i < fallback_n && !o->override_channels; i++)
		if (add_channel(c, list, fallback[i], e) < 0)
			return -1;
	if (list->n)
		return 0;
	if (cmd_need_config(c, e) < 0 || cmd_channels_of(c, false, &configured, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (add_channel(c, list, configured[i].name, e) < 0)
			return -1;
	for (size_t i = 0; i < c->config.channels.n && !n; i++)
		if (add_channel(c, list, c->config.channels.v[i].s, e) < 0)
			return err_ctx(e, "%s:%u", c->config.channels.v[i].file, c->config.channels.v[i].line);
	return 0;
}

/* A name that was mistyped has no channels of its own to look in. */
static int no_channel(struct cmd_context *c, struct err *e)
{
	struct env_info info;
	if (c->env_asked && c->state && strcmp(c->cmd->noun, "install") == 0 &&
	    env_find(c->state, &c->arena, str_c(c->env_asked), &info, e) == 0)
		return err_new(
			e, ERR_USAGE,
			"there is no environment '%s' yet ('slipway env list' shows what there is), and no channel to "
			"look in for a new one; name one with -c URL-or-folder, or keep one with 'slipway channel add'",
			c->env_asked);
	return err_new(e, ERR_USAGE,
		       "no channel to look in; name one with -c URL-or-folder, or keep one with 'slipway channel add'");
}

/* -- the rules ---------------------------------------------------------------------------------------------------- */

static int choose_word(const char *text, const char *option, const char *const *words, struct err *e)
{
	auto_buf list = BUF_INIT(1000);
	if (!text)
		return 0;
	for (int i = 0; words[i]; i++) {
		if (strcmp(words[i], text) == 0)
			return i;
		buf_printf(&list, "%s%s", i ? ", " : "", words[i]);
	}
	return err_new(e, ERR_USAGE, "--%s is one of %s, not '%s'", option, list.p, text);
}

/* Below it a number is a date without its dashes rather than a time in 1970. */
#define MIN_MILLISECONDS 100000000000

int cmd_parse_time(const char *text, int64_t *ret, struct err *e)
{
	struct tm tm = {0};
	const char *end;
	if (str_to_i64(str_c(text), ret) && *ret >= MIN_MILLISECONDS)
		return 0;
	end = strptime(text, "%Y-%m-%d", &tm);
	if (end && (*end == 'T' || *end == ' '))
		end = strptime(end + 1, "%H:%M:%S", &tm);
	if (!end || (*end && strcmp(end, "Z") != 0))
		return err_new(e, ERR_USAGE, "'%s' is not a time; write 2024-05-01 or 2024-05-01T12:00:00Z", text);
	*ret = (int64_t)timegm(&tm) * 1000;
	return 0;
}

static int choose_rules(struct cmd_context *c, const struct cmd_solve_options *o, struct cmd_opened *ret, struct err *e)
{
	static const char *const priorities[] = {"strict", "flexible", "disabled", NULL};
	static const char *const strategies[] = {"highest", "lowest", "lowest-direct", NULL};
	int priority = choose_word(o->priority, "channel-priority", priorities, e);
	int strategy = priority < 0 ? -1 : choose_word(o->strategy, "strategy", strategies, e);
	if (strategy < 0)
		return -1;
	ret->priority = (enum solve_priority)priority;
	if (!o->priority && c->config.channel_priority != CONFIG_PRIORITY_UNSET)
		ret->priority = c->config.channel_priority == CONFIG_STRICT	? SOLVE_STRICT
				: c->config.channel_priority == CONFIG_FLEXIBLE ? SOLVE_FLEXIBLE
										: SOLVE_DISABLED;
	ret->strategy = (enum solve_strategy)strategy;
	return o->exclude_newer ? cmd_parse_time(o->exclude_newer, &ret->exclude_newer_ms, e) : 0;
}

/* -- opening ------------------------------------------------------------------------------------------------------ */

static enum channel_refresh_flags refresh_flags(const struct cmd_context *c, const struct cmd_solve_options *o)
{
	return (c->offline ? CHANNEL_OFFLINE : 0) | (o->refresh ? CHANNEL_FORCE : 0) |
	       (o->no_shards ? CHANNEL_NO_SHARDS : 0) | (o->current_repodata ? CHANNEL_CURRENT_ONLY : 0);
}

static int names_of_specs(struct cmd_context *c, const struct str *specs, size_t n, struct str **ret, size_t *ret_n,
			  struct err *e)
{
	*ret = arena_array(&c->arena, struct str, n);
	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct spec *s = pkg_conda.spec_parse(&c->arena, specs[i], SPEC_REQUEST, e);
		if (!s)
			return -1;
		if (spec_name(s).n)
			(*ret)[(*ret_n)++] = spec_name(s);
	}
	return 0;
}

static int open_list(struct cmd_context *c, const struct cmd_solve_options *o, const channel_list *list,
		     const struct str *specs, size_t specs_n, struct cmd_opened *ret, struct err *e)
{
	struct str *roots;
	size_t roots_n;
	struct str subdirs[] = {ret->subdir, STR("noarch")};
	if (names_of_specs(c, specs, specs_n, &roots, &roots_n, e) < 0 || cmd_need_cache(c, e) < 0)
		return -1;
	ret->channels = arena_array(&c->arena, struct channel, list->n);
	if (list->n)
		memcpy(ret->channels, list->v, list->n * sizeof(*list->v));
	ret->channels_n = list->n;
	cmd_progress_begin(c);
	int rc = channel_open_all(&c->cache, ret->channels, list->n, subdirs,
				  str_eq(ret->subdir, STR("noarch")) ? 1 : 2, roots, roots_n, refresh_flags(c, o),
				  &c->arena, &ret->indexes, &ret->indexes_n, e);
	cmd_progress_end(c);
	if (rc == 0 && c->offline)
		cmd_pinned_tell_offline(c, list->v, list->n);
	return rc;
}

/* 'conda-forge::h5py' where conda-forge is a kept name of another address, './cf::h5py': the channel's URL in place of the word,
 * so that the spec means the same to the solver, in a recipe, on another host, and once the name is kept no more. A word that the
 * URL itself ends with stays. */
static struct str lasting_spec(struct cmd_context *c, const channel_list *list, struct str text)
{
	struct err ignored = ERR_INIT;
	struct channel wanted;
	const struct spec *s = pkg_conda.spec_parse(&c->arena, text, SPEC_REQUEST, &ignored);
	struct str word = s ? spec_channel(s) : STR_NONE, rest = str_trim(text);
	if (!word.n || memchr(word.p, '*', word.n) || cmd_channel_parse(c, word, &wanted, &ignored) < 0)
		return text;
	vec_foreach(have, list) {
		struct channel nameless = *have;
		nameless.name = have->shown;
		if (!str_eq(have->shown, wanted.shown) || channel_matches(&nameless, word))
			continue;
		auto_buf canonical = BUF_INIT(URL_MAX);
		if (!str_starts(rest, word)) { /* in brackets */
			pkg_conda.spec_format(s, &canonical);
			rest = buf_str(&canonical);
		}
		if (str_take_str(&rest, word))
			return str_c(arena_printf(&c->arena, "%.*s%.*s", STR_ARG(have->shown), STR_ARG(rest)));
	}
	return text;
}

int cmd_open_channels(struct cmd_context *c, const struct cmd_solve_options *o, const struct str *fallback,
		      size_t fallback_n, struct str *specs, size_t specs_n, struct cmd_opened *ret, struct err *e)
{
	channel_list list = {0};
	bool is_nothing_wanted = specs && !specs_n;
	int rc = -1;
	if (cmd_need_config(c, e) < 0)
		return -1;
	ret->subdir = o->subdir ? str_c(o->subdir) : c->config.subdir.s.n ? c->config.subdir.s : channel_host_subdir();
	if (!channel_is_subdir(ret->subdir))
		err_new(e, ERR_USAGE, "'%.*s' is not a platform; examples: linux-64, linux-aarch64, osx-arm64, noarch",
			STR_ARG(ret->subdir));
	else if (choose_rules(c, o, ret, e) == 0 && choose_channels(c, o, fallback, fallback_n, &list, e) == 0 &&
		 add_channels_of_specs(c, &list, specs, specs_n, e) == 0 &&
		 (list.n || is_nothing_wanted || no_channel(c, e) == 0)) {
		for (size_t i = 0; i < specs_n; i++)
			specs[i] = lasting_spec(c, &list, specs[i]);
		rc = open_list(c, o, &list, specs, specs_n, ret, e);
	}
	vec_release(&list);
	return rc;
}

int cmd_run_solve(struct cmd_context *c, const struct cmd_opened *o, const struct solve_request *q,
		  struct solve_result *ret, struct err *e)
{
	int rc = solve(q, &c->arena, ret, e);
	if (rc >= 0 || e->code != ERR_VERIFY)
		return rc;
	struct err ignored = ERR_INIT;
	if (channel_recheck(&c->cache, o->indexes, o->indexes_n, &ignored) > 0)
		err_new(e, ERR_VERIFY, "a held index was damaged and has been removed; run the command again");
	return rc;
}

void cmd_opened_release(struct cmd_opened *o)
{
	for (size_t i = 0; i < o->indexes_n; i++)
		index_free(o->indexes[i].index);
	o->indexes_n = 0;
}

static const char *environment(const char *name)
{
	return getenv(name);
}

int cmd_virtuals(struct cmd_context *c, struct str subdir, struct pkg_record **ret, size_t *ret_n, struct err *e)
{
	return channel_virtual(&c->arena, subdir, environment, ret, ret_n, e);
}

int cmd_request(struct cmd_context *c, const struct cmd_opened *o, struct solve_request *ret, struct err *e)
{
	struct pkg_record *virtuals;
	size_t n;
	if (cmd_virtuals(c, o->subdir, &virtuals, &n, e) < 0)
		return -1;
	*ret = SOLVE_REQUEST_INIT;
	ret->indexes = o->indexes;
	ret->indexes_n = o->indexes_n;
	ret->virtuals = virtuals;
	ret->virtuals_n = n;
	ret->priority = o->priority;
	ret->strategy = o->strategy;
	ret->exclude_newer_ms = o->exclude_newer_ms;
	return 0;
}
