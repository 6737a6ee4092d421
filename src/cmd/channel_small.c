// SPDX-License-Identifier: Apache-2.0
/*
 * channel sync --file: a small channel, made of what the solver answers to a list of specs.
 *
 * Each line of the file, with each Python that is asked for, is solved on each platform in the large channel. All packages of
 * all these solutions, listed as the large channel lists them, are the small one. At its end each line is solved again in what was
 * made: who uses the small channel gets what the large one would have given, or is told of the difference here.
 */
#include "cmd/channel_small.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/sys.h"
#include "base/url.h"
#include "cmd/change.h"
#include "cmd/channel_part.h"
#include "cmd/channel_sign.h"
#include "cmd/channel_sync.h"

enum { FILE_MAX = 1 << 20, LINES_MAX = 10000, WORDS_MAX = 500, PLATFORMS_MAX = 32, PYTHONS_MAX = 64 };

/* What is asked for at once. */
struct line {
	struct str text;
	const struct str *specs;
	size_t specs_n;
};
/* A line on a platform, and what answered. */
struct solution {
	const struct line *line;
	struct str platform;
	const struct solve_package *packages; /* NULL: nothing did */
	size_t packages_n;
};
struct wanted {
	const struct pkg_record *record;
	bool is_new;
};
struct small {
	struct cmd_context *c;
	const struct cmd_small_args *a;
	struct channel to;
	const char *folder; /* of it */
	struct str *platforms;
	size_t platforms_n;
	VEC(struct line) lines;
	VEC(struct solution) solutions;
	VEC(struct wanted) wanted;
	struct map by_path;	       /* "subdir/fn" → place in wanted + 1 */
	VEC(struct cmd_opened) opened; /* what records point into */
	VEC(struct str) gone;	       /* paths that were pruned */
	size_t unsolved, otherwise;
	struct cmd_target *large; /* channels of mirrors here, of which it is made; others have m NULL */
	size_t large_n;
};

static void small_release(struct small *s)
{
	vec_foreach(o, &s->opened)
		cmd_opened_release(o);
	vec_release(&s->lines);
	vec_release(&s->solutions);
	vec_release(&s->wanted);
	vec_release(&s->opened);
	vec_release(&s->gone);
	map_release(&s->by_path);
	for (size_t i = 0; i < s->large_n; i++)
		cmd_target_release(&s->large[i]);
}
#define auto_small cleanup_with(small_release) struct small

static struct str path_of(struct small *s, const struct pkg_record *r)
{
	return str_c(arena_printf(&s->c->arena, "%.*s/%.*s", STR_ARG(r->subdir), STR_ARG(r->fn)));
}

/* -- what is asked for ---------------------------------------------------------------------------------------------- */

/* A word, or what stands between two quotation marks: 'numpy >=1.20'. */
static int take_spec(struct str *rest, struct str *ret, struct err *e)
{
	*rest = str_trim(*rest);
	if (!rest->n)
		return 0;
	char quote = rest->p[0];
	if (quote != '\'' && quote != '"')
		return str_take_word(rest, ret) ? 1 : 0;
	*rest = str_skip(*rest, 1);
	return str_take_until(rest, quote, ret) ? 1 : err_new(e, ERR_INPUT, "a quotation mark is not closed");
}

static int read_line(struct small *s, struct str text, struct err *e)
{
	struct arena *a = &s->c->arena;
	struct str rest = text, *specs = arena_array(a, struct str, WORDS_MAX + 1);
	struct line l = {.text = text, .specs = specs};
	int rc;
	while ((rc = take_spec(&rest, &specs[l.specs_n], e)) > 0) {
		if (!pkg_conda.spec_parse(a, specs[l.specs_n], SPEC_REQUEST, e))
			return -1;
		if (++l.specs_n > WORDS_MAX)
			return err_new(e, ERR_LIMIT, "more than %d specs in a line", WORDS_MAX);
	}
	if (rc == 0)
		vec_push(&s->lines, l);
	return rc;
}

static int read_lines(struct small *s, struct err *e)
{
	auto_buf b = BUF_INIT(FILE_MAX);
	struct str rest, text;
	size_t n = 0;
	if (fs_read_any(AT_FDCWD, s->a->file, &b, e) < 0)
		return -1;
	for (rest = arena_str(&s->c->arena, buf_str(&b)); str_take_line(&rest, &text);) {
		n++;
		text = str_trim(text);
		if (!text.n || text.p[0] == '#')
			continue;
		if (s->lines.n >= LINES_MAX)
			return err_new(e, ERR_LIMIT, "%s: more than %d lines", s->a->file, LINES_MAX);
		if (read_line(s, text, e) < 0)
			return err_ctx(e, "%s:%zu", s->a->file, n);
	}
	return s->lines.n ? 0 : err_new(e, ERR_INPUT, "%s: no line with specs, such as: python=3.11 numpy", s->a->file);
}

static bool names_python(struct small *s, const struct line *l)
{
	struct err ignored = ERR_INIT;
	for (size_t i = 0; i < l->specs_n; i++) {
		const struct spec *spec = pkg_conda.spec_parse(&s->c->arena, l->specs[i], SPEC_REQUEST, &ignored);
		if (spec && str_eq(spec_name(spec), STR("python")))
			return true;
	}
	return false;
}

static struct line with_python(struct small *s, const struct line *l, struct str version)
{
	struct arena *a = &s->c->arena;
	struct str *specs = arena_array(a, struct str, l->specs_n + 1);
	specs[0] = str_c(arena_printf(a, "python=%.*s", STR_ARG(version)));
	memcpy(specs + 1, l->specs, l->specs_n * sizeof(*specs));
	return (struct line){
		.text = str_c(arena_printf(a, "%.*s %.*s", STR_ARG(specs[0]), STR_ARG(l->text))),
		.specs = specs,
		.specs_n = l->specs_n + 1,
	};
}

/* "3.9,3.10" apart. */
static int split_list(struct small *s, const char *text, const char *option, size_t max, struct str **ret,
		      size_t *ret_n, struct err *e)
{
	struct str rest = str_c(text), word;
	*ret = arena_array(&s->c->arena, struct str, max);
	for (*ret_n = 0; rest.n;) {
		if (!str_take_until(&rest, ',', &word)) {
			word = rest;
			rest = STR_NONE;
		}
		word = str_trim(word);
		if (!word.n)
			continue;
		if (*ret_n == max)
			return err_new(e, ERR_LIMIT, "--%s: more than %zu of them", option, max);
		(*ret)[(*ret_n)++] = word;
	}
	return *ret_n ? 0 : err_new(e, ERR_USAGE, "--%s: nothing is named", option);
}

/* A line that leaves Python open stands for one line with each that is asked for. */
static int spread_pythons(struct small *s, struct err *e)
{
	struct str *pythons;
	size_t n, lines_n = s->lines.n;
	if (!s->a->pythons)
		return 0;
	if (split_list(s, s->a->pythons, "python", PYTHONS_MAX, &pythons, &n, e) < 0)
		return -1;
	struct line *old = vec_copy(&s->lines, &s->c->arena);
	vec_clear(&s->lines);
	for (size_t i = 0; i < lines_n; i++) {
		if (names_python(s, &old[i]))
			vec_push(&s->lines, old[i]);
		else
			for (size_t k = 0; k < n; k++)
				vec_push(&s->lines, with_python(s, &old[i], pythons[k]));
	}
	return 0;
}

static int choose_platforms(struct small *s, struct err *e)
{
	if (!s->a->platforms) {
		s->platforms = arena_array(&s->c->arena, struct str, 1);
		s->platforms[0] = s->c->config.subdir.s.n ? s->c->config.subdir.s : channel_host_subdir();
		s->platforms_n = 1;
		return 0;
	}
	if (split_list(s, s->a->platforms, "platform", PLATFORMS_MAX, &s->platforms, &s->platforms_n, e) < 0)
		return -1;
	for (size_t i = 0; i < s->platforms_n; i++)
		if (!channel_is_subdir(s->platforms[i]) || str_eq(s->platforms[i], STR("noarch")))
			return err_new(e, ERR_USAGE,
				       "'%.*s' is not a platform; examples: linux-64, linux-aarch64, osx-arm64",
				       STR_ARG(s->platforms[i]));
	return 0;
}

/* The first channel that is kept but for the small one, and "mini-" and its name: as they are used where nobody says. */
static int default_channels(struct small *s, const char **from, const char **to, struct err *e)
{
	struct cmd_channel *kept;
	size_t n;
	if (cmd_channels_of(s->c, false, &kept, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n && !*from; i++)
		if (!str_starts(kept[i].name, STR("mini-")) && !(*to && str_eq_c(kept[i].name, *to)))
			*from = arena_strdup(&s->c->arena, kept[i].name);
	if (!*from)
		return err_new(e, ERR_USAGE,
			       "out of which channel? as in: slipway channel sync --from CHANNEL --file %s FOLDER",
			       s->a->file);
	for (size_t i = 0; i < n && !*to; i++)
		if (str_eq_c(kept[i].name, arena_printf(&s->c->arena, "mini-%s", *from)))
			*to = arena_strdup(&s->c->arena, kept[i].name);
	return *to ? 0
		   : err_new(e, ERR_USAGE,
			     "into which channel? name its folder, or keep it as 'mini-%s' with 'slipway channel add'",
			     *from);
}

static int choose_target(struct small *s, const char *to, struct err *e)
{
	auto_buf path = BUF_INIT(URL_MAX);
	/* a name that is not kept is a folder that is to be made here */
	const char *slash = to[0] == '/' || strstr(to, "://") ? "" : "./";
	struct err failure = ERR_INIT;
	if (cmd_channel_parse(s->c, str_c(to), &s->to, &failure) < 0 &&
	    cmd_channel_parse(s->c, str_c(arena_printf(&s->c->arena, "%s%s", slash, to)), &s->to, e) < 0)
		return -1;
	if (!s->to.is_folder)
		return err_new(
			e, ERR_USAGE,
			"'%.*s' is on a server: a small channel is made in a folder, on the machine that serves it",
			STR_ARG(s->to.shown));
	if (url_file_path(s->to.url, &path, e) < 0)
		return -1;
	s->folder = arena_strdup(&s->c->arena, buf_str(&path));
	ptrdiff_t last = str_rfind(s->to.name, '/');
	s->to.name = str_skip(s->to.name, (size_t)(last + 1));
	return 0;
}

/* -- solving -------------------------------------------------------------------------------------------------------- */

static void all_specs(struct small *s, struct str **ret, size_t *ret_n)
{
	size_t n = 0;
	vec_foreach(l, &s->lines)
		n += l->specs_n;
	*ret = arena_array(&s->c->arena, struct str, n + 1);
	*ret_n = 0;
	vec_foreach(l, &s->lines)
		for (size_t i = 0; i < l->specs_n; i++)
			(*ret)[(*ret_n)++] = l->specs[i];
}

static struct cmd_opened *open_channel(struct small *s, const struct cmd_solve_options *o, struct err *e)
{
	struct str *specs;
	size_t n;
	all_specs(s, &specs, &n);
	struct cmd_opened *ret = vec_add(&s->opened);
	return cmd_open_channels(s->c, o, NULL, 0, specs, n, ret, e) < 0 ? NULL : ret;
}

/* 0, 1 without a solution, -1. Specs are copied: solving puts channels' addresses into them. */
static int solve_line(struct small *s, struct cmd_opened *o, const struct line *l, struct solve_result *ret,
		      struct err *e)
{
	struct solve_request q;
	if (cmd_request(s->c, o, &q, e) < 0)
		return -1;
	q.specs = l->specs;
	q.specs_n = l->specs_n;
	return cmd_run_solve(s->c, o, &q, ret, e);
}

static void say_command(struct small *s, const struct line *l, struct str platform)
{
	auto_buf b = BUF_INIT(FILE_MAX);
	vec_foreach(from, &s->a->solve.channels)
		buf_printf(&b, " -c %s", *from);
	cmd_say(s->c, "Run 'slipway solve --json --override-channels%s --platform %.*s %.*s' for %.*s", b.p ? b.p : "",
		STR_ARG(platform), STR_ARG(l->text), STR_ARG(platform));
}

static void unsolved(struct small *s, const struct line *l, struct str platform, const struct solve_result *r)
{
	auto_buf text = BUF_INIT(BUF_MAX);
	solve_explain(r, &text);
	cmd_warn(s->c, "'%.*s' has no solution for %.*s:\n%s", STR_ARG(l->text), STR_ARG(platform), text.p);
	s->unsolved++;
}

static void want(struct small *s, const struct pkg_record *r, const struct channel_index *held, size_t held_n)
{
	struct str path = path_of(s, r);
	uint64_t *place = map_put(&s->by_path, path);
	if (*place)
		return;
	struct wanted *w = vec_add(&s->wanted);
	*place = s->wanted.n;
	*w = (struct wanted){.record = r, .is_new = true};
	for (size_t i = 0; i < held_n; i++) {
		struct ix_pkg p;
		struct pkg_record have;
		struct err ignored = ERR_INIT;
		if (held[i].index && str_eq(held[i].subdir, r->subdir) && index_find_file(held[i].index, r->fn, &p) &&
		    index_record(held[i].index, p, &held[i].channel, &s->c->arena, &have, &ignored) == 0 &&
		    pkg_record_same(&have, r) &&
		    fs_exists(AT_FDCWD, arena_printf(&s->c->arena, "%s/%s", s->folder, path.p)))
			w->is_new = false;
	}
}

/* What the small channel lists already; nothing where there is none of it yet. */
static int open_held(struct small *s, struct str platform, struct channel_index **ret, size_t *ret_n, struct err *e)
{
	const struct str subdirs[] = {platform, STR("noarch")};
	struct cmd_opened *o = vec_add(&s->opened);
	struct err failure = ERR_INIT;
	*ret_n = 0;
	cmd_say(s->c, "Checking existing packages for %.*s/%.*s", STR_ARG(s->to.name), STR_ARG(platform));
	if (!fs_exists(AT_FDCWD, s->folder))
		return 0;
	if (cmd_need_cache(s->c, e) < 0)
		return -1;
	for (int i = 1; i >= 0; i--)
		cmd_say(s->c, "Downloading %.*s/%.*s repodata", STR_ARG(s->to.name), STR_ARG(subdirs[i]));
	if (channel_open_all(&s->c->cache, &s->to, 1, subdirs, 2, NULL, 0, CHANNEL_FORCE, &s->c->arena, &o->indexes,
			     &o->indexes_n, &failure) < 0 &&
	    failure.code != ERR_NOT_FOUND) {
		*e = failure;
		return -1;
	}
	*ret = o->indexes;
	*ret_n = o->indexes_n;
	return 0;
}

static int solve_platform(struct small *s, struct str platform, struct err *e)
{
	struct cmd_solve_options o = s->a->solve;
	struct channel_index *held = NULL;
	size_t held_n, before = s->wanted.n, n = 0;
	o.subdir = arena_strdup(&s->c->arena, platform);
	cmd_say(s->c, "Processing list of specs for %.*s", STR_ARG(platform));
	struct cmd_opened *from = open_held(s, platform, &held, &held_n, e) < 0 ? NULL : open_channel(s, &o, e);
	if (!from)
		return -1;
	struct cmd_opened opened = *from; /* the vector may move */
	vec_foreach(l, &s->lines) {
		struct solve_result r = {0};
		cmd_say(s->c, "Processing '%.*s' for %.*s", STR_ARG(l->text), STR_ARG(platform));
		say_command(s, l, platform);
		int rc = solve_line(s, &opened, l, &r, e);
		if (rc < 0)
			return err_ctx(e, "'%.*s'", STR_ARG(l->text));
		if (rc > 0)
			unsolved(s, l, platform, &r);
		vec_push(&s->solutions,
			 ((struct solution){l, platform, rc ? NULL : r.packages, rc ? 0 : r.packages_n}));
		for (size_t i = 0; rc == 0 && i < r.packages_n; i++)
			want(s, &r.packages[i].record, held, held_n);
	}
	for (size_t i = before; i < s->wanted.n; i++)
		n += s->wanted.v[i].is_new;
	cmd_say(s->c, "%zu new package%s to upload for %.*s list of specs", n, n == 1 ? "" : "s", STR_ARG(platform));
	return 0;
}

/* -- bringing it in ------------------------------------------------------------------------------------------------- */

/* Downloads lie beside the channel under their own names until all of them are whole; what a run that was cut off left there is gone on
 * with. */
#define INCOMING ".incoming"

struct download {
	struct transfer_request q;
	struct err *failure;
	const char *path;
};

static void downloaded(struct transfer_request *q, void *ctx)
{
	struct download *d = ctx;
	if (q->err.code != ERR_NONE && d->failure->code == ERR_NONE)
		*d->failure = q->err;
}

static bool is_of_mirror(const struct small *s, const struct pkg_record *r)
{
	bool ret = false;
	for (size_t i = 0; i < s->large_n; i++)
		ret |= s->large[i].m != NULL;
	return ret && str_starts(r->url, STR("file:"));
}

static int begin_download(struct small *s, struct download *d, const struct pkg_record *r, struct err *e)
{
	struct arena *a = &s->c->arena;
	struct str url = channel_private_url(a, s->c->named.v, s->c->named.n, r->url);
	int fd = sys_openat(AT_FDCWD, d->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_sys(e, "create '%s'", d->path);
	off_t have = lseek(fd, 0, SEEK_END);
	d->q = (struct transfer_request){
		.url = arena_strdup(a, url),
		.fd = fd,
		.have = have > 0 && (uint64_t)have <= r->size ? (uint64_t)have : 0,
		.size = r->size,
		.sha256 = r->has_sha256 ? r->sha256 : NULL,
		.md5 = r->has_md5 ? r->md5 : NULL,
		.done = downloaded,
		.ctx = d,
	};
	if (!is_of_mirror(s, r)) /* that was said when it came there */
		cmd_say(s->c, "Downloading %.*s", STR_ARG(r->url));
	transfer_add(s->c->transfer, &d->q);
	return 0;
}

static int download_all(struct small *s, struct download *v, const struct pkg_record *records, size_t n, struct err *e)
{
	struct err failure = ERR_INIT;
	int rc = cmd_need_transfer(s->c, e);
	for (size_t i = 0; i < n; i++)
		v[i].q.fd = -1;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		v[i].failure = &failure;
		rc = begin_download(s, &v[i], &records[i], e);
	}
	if (rc == 0) {
		cmd_progress_begin(s->c);
		rc = transfer_run(s->c->transfer, e);
		cmd_progress_end(s->c);
	} else if (s->c->transfer) {
		transfer_cancel(s->c->transfer);
	}
	for (size_t i = 0; i < n; i++)
		cleanup_fd(&v[i].q.fd);
	if (rc == 0 && failure.code != ERR_NONE) {
		*e = failure;
		return -1;
	}
	return rc;
}

static int bring_in(struct small *s, struct pkg_record *records, size_t n, struct err *e)
{
	struct arena *a = &s->c->arena;
	struct download *v = arena_array(a, struct download, n);
	const char **files = arena_array(a, const char *, n);
	const struct channel_publish_opts o = {.records = records, .replace = true, .shards = s->a->shards};
	for (size_t i = 0; i < n; i++) {
		const char *dir = arena_printf(a, "%s/" INCOMING "/%.*s", s->folder, STR_ARG(records[i].subdir));
		if (fs_mkdirs(AT_FDCWD, dir, 0755, e) < 0)
			return -1;
		files[i] = v[i].path = arena_printf(a, "%s/%.*s", dir, STR_ARG(records[i].fn));
	}
	if (download_all(s, v, records, n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		cmd_say(s->c, "Uploading %.*s to %.*s", STR_ARG(records[i].fn), STR_ARG(s->to.name));
	cmd_progress_begin(s->c);
	struct cmd_seal seal = {.c = s->c, .kind = channel_kind(STR("conda"))};
	int rc = channel_publish(s->folder, files, n, &o, &s->c->progress, e);
	cmd_progress_end(s->c);
	if (rc < 0 || cmd_seal(&seal, s->folder, e) < 0)
		return -1;
	cmd_changed(s->c);
	return fs_remove_tree(AT_FDCWD, arena_printf(a, "%s/" INCOMING, s->folder), e);
}

/* -- of a channel of a mirror here, which need not hold all that it tells of ---------------------------------------- */

/* MIRROR/NAME, be there such a channel or not. */
static bool is_in_mirror(struct small *s, const char *word)
{
	size_t above = (size_t)str_rfind(str_c(word), '/');
	return fs_exists(AT_FDCWD, arena_printf(&s->c->arena, "%.*s/mirror.yaml", (int)above, word));
}

/* A folder for the word that names such a channel. */
static int find_large(struct small *s, struct cmd_list *v, struct err *e)
{
	struct arena *a = &s->c->arena;
	s->large = arena_array(a, struct cmd_target, v->n);
	for (; s->large_n < v->n; s->large_n++) {
		const char *word = v->v[s->large_n];
		struct cmd_target *t = &s->large[s->large_n];
		struct err failure = ERR_INIT;
		int rc = strchr(word, '/') ? cmd_target(s->c, word, t, &failure) : 0;
		if (rc < 0 || !t->channel) {
			cmd_target_release(t);
			if (rc < 0 && is_in_mirror(s, word)) {
				*e = failure;
				return -1;
			}
			continue;
		}
		auto_free char *folder = realpath(t->folder, NULL);
		auto_fd dir = folder ? fs_open_dir(AT_FDCWD, folder, &failure) : -1;
		if (dir < 0 || !channel_kind_of(dir)) {
			cmd_target_release(t);
			return err_new(e, ERR_NOT_FOUND, "'%s' has nothing yet; first: slipway channel sync %s", word,
				       word);
		}
		v->v[s->large_n] = t->folder = arena_strdup(a, str_c(folder));
	}
	return 0;
}

static int bring_from(struct small *s, struct mirror_reader *r, struct str channel, const struct str *paths, size_t n,
		      struct err *e)
{
	enum { PIECE = 8 };
	for (size_t at = 0; at < n; at += PIECE) {
		size_t piece = n - at < PIECE ? n - at : PIECE;
		for (size_t i = 0; i < piece; i++)
			cmd_say(s->c, "Downloading %.*s", STR_ARG(paths[at + i]));
		if (mirror_bring(r, channel, paths + at, piece, e) < 0)
			return -1;
	}
	return 0;
}

/* Has the mirror's channel hold the packages that it only tells of. */
static int bring_large(struct small *s, const struct pkg_record *records, size_t n, struct err *e)
{
	struct str *paths = arena_array(&s->c->arena, struct str, n);
	for (size_t k = 0; k < s->large_n; k++) {
		const struct cmd_target *t = &s->large[k];
		const char *under = t->m ? arena_printf(&s->c->arena, "%s/", t->folder) : "";
		size_t missing = 0;
		for (size_t i = 0; t->m && i < n; i++) {
			auto_buf path = BUF_INIT(URL_MAX);
			if (str_starts(records[i].url, STR("file:")) && url_file_path(records[i].url, &path, e) < 0)
				return -1;
			if (str_starts(buf_str(&path), str_c(under)) && !fs_exists(AT_FDCWD, path.p))
				paths[missing++] = arena_str(&s->c->arena, str_skip(buf_str(&path), strlen(under)));
		}
		auto_ptr(mirror_reader) r = NULL;
		if (missing &&
		    (mirror_reader_new(t->m, &r, e) < 0 || bring_from(s, r, t->channel->name, paths, missing, e) < 0))
			return -1;
	}
	return 0;
}

static int upload(struct small *s, struct err *e)
{
	struct pkg_record *records = arena_array(&s->c->arena, struct pkg_record, s->wanted.n + 1);
	size_t n = 0;
	vec_foreach(w, &s->wanted)
		if (w->is_new)
			records[n++] = *w->record;
	if (s->c->dry_run) {
		for (size_t i = 0; i < n; i++)
			cmd_say(s->c, "would download %.*s", STR_ARG(records[i].url));
		return 0;
	}
	if (!n && fs_exists(AT_FDCWD, s->folder))
		return 0;
	cmd_if_interrupted(s->c, "'%s' lists what it listed before; the same command goes on", s->folder);
	return bring_large(s, records, n, e) < 0 ? -1 : bring_in(s, records, n, e);
}

/* -- what is no longer needed --------------------------------------------------------------------------------------- */

/* The platforms of the folder that were not solved for: what is in noarch may be theirs. */
static bool others_use_noarch(struct small *s, struct err *e)
{
	enum { ENTRIES_MAX = 100000 };
	auto_fs_list list = {0};
	if (fs_list(AT_FDCWD, s->folder, ENTRIES_MAX, &list, e) < 0)
		return true;
	for (size_t i = 0; i < list.n; i++) {
		struct str subdir = str_c(list.name[i]);
		bool solved = str_eq(subdir, STR("noarch")) || !channel_is_subdir(subdir);
		for (size_t k = 0; k < s->platforms_n; k++)
			solved |= str_eq(subdir, s->platforms[k]);
		if (!solved) {
			cmd_say(s->c, "noarch is left as it is: %s was not processed, and may need what is there",
				list.name[i]);
			return true;
		}
	}
	return false;
}

static void find_unused(struct small *s, const struct channel_index *ix)
{
	for (uint32_t n = 0; ix->index && n < index_name_count(ix->index); n++) {
		struct ix_pkg first;
		uint32_t packages = index_packages(ix->index, (struct ix_name){n}, &first);
		for (uint32_t i = 0; i < packages; i++) {
			struct pkg_record r;
			struct err ignored = ERR_INIT;
			struct ix_pkg p = {first.n + i};
			if (index_record(ix->index, p, &ix->channel, &s->c->arena, &r, &ignored) < 0)
				continue;
			struct str path =
				str_c(arena_printf(&s->c->arena, "%.*s/%.*s", STR_ARG(ix->subdir), STR_ARG(r.fn)));
			if (!map_get(&s->by_path, path))
				vec_push(&s->gone, path);
		}
	}
}

static int path_cmp(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int prune(struct small *s, struct err *e)
{
	struct channel_make_opts o = {.dry_run = s->c->dry_run, .now_ms = clock_wall_ms()};
	struct cmd_seal seal = {.c = s->c, .kind = channel_kind(STR("conda"))};
	cmd_seal_with(&seal, &o);
	struct err failure = ERR_INIT;
	if (!s->a->prune || !fs_exists(AT_FDCWD, s->folder))
		return 0;
	if (s->unsolved) {
		cmd_warn(s->c, "nothing is pruned while a line has no solution");
		return 0;
	}
	bool keep_noarch = others_use_noarch(s, &failure);
	for (size_t i = 0; i <= s->platforms_n; i++) {
		struct str subdir = i < s->platforms_n ? s->platforms[i] : STR("noarch");
		struct cmd_opened *opened = vec_add(&s->opened);
		if (i == s->platforms_n && keep_noarch)
			break;
		if (channel_open_all(&s->c->cache, &s->to, 1, &subdir, 1, NULL, 0, CHANNEL_FORCE, &s->c->arena,
				     &opened->indexes, &opened->indexes_n, &failure) < 0)
			continue; /* it has no such subdir */
		for (size_t k = 0; k < opened->indexes_n; k++)
			find_unused(s, &opened->indexes[k]);
	}
	vec_sort(&s->gone, path_cmp);
	vec_foreach(path, &s->gone)
		cmd_say(s->c, "%s %.*s from %.*s", s->c->dry_run ? "would remove" : "Removing", STR_ARG(*path),
			STR_ARG(s->to.name));
	if (!s->gone.n || s->c->dry_run)
		return 0;
	if (channel_kind_remove(channel_kind(STR("conda")), s->folder, s->gone.v, s->gone.n, CHANNEL_DROP, STR_NONE, &o,
				e) < 0)
		return -1;
	cmd_changed(s->c);
	return 0;
}

/* -- does it answer as the large one did? --------------------------------------------------------------------------- */

static bool is_same(struct small *s, const struct solution *old, const struct solve_result *new)
{
	auto_map seen = MAP_INIT;
	for (size_t i = 0; i < old->packages_n; i++)
		*map_put(&seen, path_of(s, &old->packages[i].record)) = 1;
	for (size_t i = 0; i < new->packages_n; i++)
		if (!map_get(&seen, path_of(s, &new->packages[i].record)))
			return false;
	return old->packages_n == new->packages_n;
}

static int check_platform(struct small *s, struct str platform, struct err *e)
{
	struct cmd_solve_options o = s->a->solve;
	o.subdir = arena_strdup(&s->c->arena, platform);
	o.channels = (struct cmd_list){0};
	o.refresh = true;
	vec_push(&o.channels, arena_strdup(&s->c->arena, s->to.url));
	struct cmd_opened *opened = open_channel(s, &o, e);
	vec_release(&o.channels);
	if (!opened)
		return -1;
	vec_foreach(old, &s->solutions) {
		struct solve_result r = {0};
		if (!old->packages || !str_eq(old->platform, platform))
			continue;
		int rc = solve_line(s, opened, old->line, &r, e);
		if (rc < 0)
			return -1;
		if (rc == 0 && is_same(s, old, &r))
			continue;
		cmd_warn(s->c, "'%.*s' for %.*s is answered otherwise by '%.*s' than by the channel it is made of",
			 STR_ARG(old->line->text), STR_ARG(platform), STR_ARG(s->to.name));
		s->otherwise++;
	}
	return 0;
}

/* -- all of it ------------------------------------------------------------------------------------------------------ */

static void put_line(struct jw *w, const void *ctx, size_t i)
{
	const struct solution *v = (const struct solution *)ctx + i;
	jw_kv_str(w, "specs", v->line->text);
	jw_kv_str(w, "platform", v->platform);
	jw_kv_bool(w, "solved", v->packages != NULL);
	jw_kv_int(w, "packages", (int64_t)v->packages_n);
}

static int answer(struct small *s)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", "sync");
	jw_kv_bool(w, "dry_run", s->c->dry_run);
	jw_kv_c(w, "folder", s->folder);
	jw_kv_objects(w, "lines", s->solutions.n, put_line, s->solutions.v);
	jw_kv_int(w, "packages", (int64_t)s->wanted.n);
	jw_key(w, "new");
	jw_array(w);
	vec_foreach(p, &s->wanted)
		if (p->is_new)
			jw_str(w, path_of(s, p->record));
	jw_array_end(w);
	jw_kv_list(w, "removed", s->gone.v, s->gone.n);
	jw_kv_int(w, "unsolved", (int64_t)s->unsolved);
	jw_kv_int(w, "answered_otherwise", (int64_t)s->otherwise);
	return cmd_answer_print(s->c, &a);
}

static int sync_all(struct small *s, struct err *e)
{
	for (size_t i = 0; i < s->platforms_n; i++)
		if (solve_platform(s, s->platforms[i], e) < 0)
			return -1;
	if (upload(s, e) < 0 || prune(s, e) < 0)
		return -1;
	for (size_t i = 0; i < s->platforms_n && !s->c->dry_run; i++)
		if (check_platform(s, s->platforms[i], e) < 0)
			return -1;
	if (s->c->json)
		answer(s);
	return s->unsolved ? CMD_NO_SOLUTION : CMD_OK;
}

int cmd_channel_small(struct cmd_context *c, const struct cmd_small_args *args, struct err *e)
{
	struct cmd_small_args a = *args;
	auto_small s = {.c = c, .a = &a};
	const char *from, *to = a.to;
	struct cmd_list channels = {0};
	int code = -1;
	if (find_large(&s, &a.solve.channels, e) < 0)
		return -1;
	from = a.solve.channels.n ? a.solve.channels.v[0] : NULL;
	if (read_lines(&s, e) < 0 || cmd_need_config(c, e) < 0 || spread_pythons(&s, e) < 0 ||
	    choose_platforms(&s, e) < 0 || ((!from || !to) && default_channels(&s, &from, &to, e) < 0) ||
	    choose_target(&s, to, e) < 0)
		return -1;
	vec_foreach(given, &a.solve.channels)
		vec_push(&channels, *given);
	if (!channels.n)
		vec_push(&channels, from);
	a.solve.channels = channels;
	a.solve.override_channels = true;
	code = sync_all(&s, e);
	vec_release(&channels);
	return code;
}

static int small_of_any(struct cmd_context *c, const struct cmd_small_args *a, struct cmd_part_args *part,
			struct err *e)
{
	part->from = a->solve.channels.n == 1 ? a->solve.channels.v[0] : NULL;
	part->file = a->file;
	part->to = a->to;
	part->platforms = a->platforms;
	part->prune = a->prune;
	part->pythons = a->pythons;
	part->is_conda = a->shards;
	int is_part = part->from ? cmd_part_is(c, part, e) : 0;
	return is_part < 0 ? -1 : is_part ? cmd_channel_part(c, part, e) : cmd_channel_small(c, a, e);
}

/* With a list of specs a small channel is made; else what follows another is brought up to date. */
int cmd_channel_sync(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_small_args a = {0};
	struct cmd_follow_args follow = {0};
	struct cmd_part_args part = {0};
	struct cmd_list words = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {
		CMD_SOLVE_OPTIONS(&a.solve),
		{0, "from", CMD_LIST, &a.solve.channels},
		{'f', "file", CMD_TEXT, &a.file},
		{0, "python", CMD_TEXT, &a.pythons},
		{0, "prune", CMD_FLAG, &a.prune},
		{0, "shards", CMD_FLAG, &a.shards},
		{0, "limit", CMD_TEXT, &follow.limit},
		{0, "force", CMD_FLAG, &follow.force},
		{0, "suite", CMD_TEXT, &part.suite},
		{0, "component", CMD_TEXT, &part.component},
		{0, "kind", CMD_TEXT, &part.kind},
		{0, "keyring", CMD_TEXT, &part.keyring},
		{0, "key", CMD_TEXT, &part.key},
		{0, "unsigned", CMD_FLAG, &part.is_unsigned},
		{0, "ocaml", CMD_TEXT, &part.ocaml},
		{0, "variable", CMD_TEXT, &part.variables},
		{0, "no-recommends", CMD_FLAG, &part.strong},
		{0, "each-alone", CMD_FLAG, &part.alone},
		{0, NULL, CMD_FLAG, NULL},
	};
	int code = cmd_parse(c, options, false, argc, argv, &words, &e);
	follow.targets = words;
	a.platforms = a.solve.subdir;
	if (code == 0 && !c->help) {
		a.to = words.n ? words.v[0] : NULL;
		if (!a.file && a.solve.channels.n)
			code = err_new(
				&e, ERR_USAGE,
				"which packages? as in: slipway channel sync --from CHANNEL --file SPECS.txt FOLDER");
		else if (!a.file)
			code = cmd_channel_follow(c, &follow, &e);
		else if (words.n > 1)
			code = err_new(&e, ERR_USAGE, "unexpected word '%s'", words.v[1]);
		else
			code = small_of_any(c, &a, &part, &e);
	}
	code = code < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : code;
	vec_release(&words);
	vec_release(&a.solve.channels);
	return code;
}
