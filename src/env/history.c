// SPDX-License-Identifier: Apache-2.0
/*
 * conda-meta/history: one block for each change of an environment, oldest first (CEP 32).
 *
 * Other clients read from it which revisions there were and what was asked for: each replays the lines of packages, and
 * takes the last spec of a name that no later block removes. So a generation's history is that of the one before it, with
 * whatever others wrote there, and one block more: what has to come and go to get from there to the new packages.
 */
#include "base/map.h"
#include "env/layout.h"
#include "version.h"

struct line {
	struct str text; /* CHANNEL/SUBDIR::NAME-VERSION-BUILD */
	bool there;	 /* after the blocks read so far */
	bool kept;	 /* among the new packages */
};
struct replay {
	VEC(struct line) lines;
	struct map by_package; /* SUBDIR::NAME-VERSION-BUILD → index + 1 */
};

static void replay_release(struct replay *r)
{
	vec_release(&r->lines);
	map_release(&r->by_package);
}
#define auto_replay cleanup_with(replay_release) struct replay

/* Clients write one channel in several ways: its URL, its name. The platform and the package tell enough. */
static struct str package_of(struct str line)
{
	ptrdiff_t colons = str_search(line, STR("::"));
	ptrdiff_t slash = colons < 0 ? -1 : str_rfind(str_head(line, (size_t)colons), '/');
	return str_skip(line, (size_t)(slash + 1));
}

static struct line *line_of(struct replay *r, struct str text)
{
	uint64_t *slot = map_put(&r->by_package, package_of(text));
	if (!*slot) {
		*vec_add(&r->lines) = (struct line){.text = text};
		*slot = r->lines.n;
	}
	return &r->lines.v[*slot - 1];
}

static void replay(struct replay *r, struct str history)
{
	struct str line;
	while (str_take_line(&history, &line)) {
		line = str_trim(line);
		if (line.n > 1 && (line.p[0] == '+' || line.p[0] == '-')) {
			struct line *l = line_of(r, str_skip(line, 1));
			l->there = line.p[0] == '+';
			l->text = str_skip(line, 1);
		}
	}
}

/* -- the new block ------------------------------------------------------------------------------------------------- */

static void put_line(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_put_char(b, (unsigned char)s.p[i] < ' ' ? ' ' : s.p[i]);
}

static struct str package_line(const struct pkg_record *r, struct arena *a)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_printf(&b, "%.*s/%.*s::%.*s-%.*s-%.*s", STR_ARG(r->channel), STR_ARG(r->subdir), STR_ARG(r->name),
		   STR_ARG(r->version), STR_ARG(r->build));
	return arena_str(a, buf_str(&b));
}

static void put_change(struct buf *b, char sign, struct str text)
{
	buf_put_char(b, sign);
	put_line(b, text);
	buf_put_char(b, '\n');
}

static void put_changes(struct buf *b, const struct layer *l, struct arena *a)
{
	auto_replay r = {0};
	replay(&r, l->job->history);
	size_t old_n = r.lines.n;
	for (size_t i = 0; i < l->pkg_n; i++) {
		struct str text = package_line(&l->pkg[i].record, a);
		struct line *line = line_of(&r, text);
		line->kept = true;
		if (!line->there)
			line->text = text;
	}
	for (size_t i = 0; i < old_n; i++)
		if (r.lines.v[i].there && !r.lines.v[i].kept)
			put_change(b, '-', r.lines.v[i].text);
	vec_foreach(line, &r.lines)
		if (line->kept && !line->there)
			put_change(b, '+', line->text);
}

static bool has_quote(struct str s)
{
	return str_find(s, '\'') >= 0 || str_find(s, '"') >= 0;
}

/* Lists in a spec (extras, flags: CEPs 44 and 45) are new, and conda refuses the whole history for one it cannot read. With
 * quotes of both kinds in it a string would have to be escaped, which mamba does not read. */
static bool everyone_reads(struct str spec)
{
	return str_search(spec, STR("=[")) < 0 && (str_find(spec, '\'') < 0 || str_find(spec, '"') < 0);
}

static void put_part(struct buf *b, const char *key, struct str value, const char **open)
{
	if (value.n == 0 || has_quote(value))
		return;
	buf_printf(b, "%s%s='%.*s'", *open, key, STR_ARG(value));
	*open = ",";
}

/* What everyone reads of a spec: name, version, build. */
static struct str plain_spec(struct str text, struct arena *a)
{
	struct err ignored = ERR_INIT;
	const struct spec *s = everyone_reads(text) ? NULL : pkg_conda.spec_parse(a, text, SPEC_REQUEST, &ignored);
	auto_buf b = BUF_INIT(BUF_MAX);
	const char *open = "[";
	if (!s || spec_name(s).n == 0)
		return text;
	if (spec_channel(s).n && !has_quote(spec_channel(s)))
		buf_printf(&b, "%.*s::", STR_ARG(spec_channel(s)));
	buf_put_str(&b, spec_name(s));
	put_part(&b, "version", spec_version_text(s), &open);
	put_part(&b, "build", spec_build_text(s), &open);
	buf_put_c(&b, *open == ',' ? "]" : "");
	return arena_str(a, buf_str(&b));
}

/* As Python shows a list of strings. */
static void put_python_string(struct buf *b, struct str s)
{
	char quote = str_find(s, '\'') >= 0 ? '"' : '\'';
	buf_put_char(b, quote);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' || s.p[i] == quote)
			buf_put_char(b, '\\');
		put_line(b, str_of(s.p + i, 1));
	}
	buf_put_char(b, quote);
}

/* A list without elements is no line: it says nothing, and mamba cannot read it. */
static void put_specs(struct buf *b, const char *action, const struct str *specs, size_t n, struct arena *a)
{
	for (size_t i = 0; i < n; i++) {
		buf_printf(b, i ? ", " : "# %s specs: [", action);
		put_python_string(b, plain_spec(specs[i], a));
	}
	buf_put_c(b, n ? "]\n" : "");
}

/* Of conda's packages: those who replay it know no others. */
static size_t asked_for(const struct env_spec_file *t, struct arena *a, struct str **ret)
{
	size_t n = 0;
	*ret = arena_array(a, struct str, t->specs_n + t->packages_n);
	for (uint32_t i = 0; i < t->specs_n; i++)
		if (!str_starts(t->specs[i], STR("opam:")))
			(*ret)[n++] = t->specs[i];
	for (uint32_t i = 0; t->specs_n == 0 && i < t->packages_n; i++)
		if (t->packages[i].requested)
			(*ret)[n++] = t->packages[i].requested_spec;
	return n;
}

static struct str name_of(struct str spec, struct arena *a)
{
	struct err ignored = ERR_INIT;
	const struct spec *s = pkg_conda.spec_parse(a, spec, SPEC_REQUEST, &ignored);
	return s ? spec_name(s) : STR_NONE;
}

/* The names of those that are no longer asked for: a reader drops what it has of that name. */
static size_t no_longer(const struct str *old, size_t old_n, const struct str *now, size_t now_n, struct arena *a,
			struct str **ret)
{
	auto_map names = MAP_INIT;
	size_t n = 0;
	*ret = arena_array(a, struct str, old_n);
	for (size_t i = 0; i < now_n; i++)
		*map_put(&names, name_of(now[i], a)) = 1;
	for (size_t i = 0; i < old_n; i++) {
		struct str name = name_of(old[i], a);
		if (name.n && !map_get(&names, name)) {
			*map_put(&names, name) = 1;
			(*ret)[n++] = name;
		}
	}
	return n;
}

static void put_asked_for(struct buf *b, const struct link_job *job, struct arena *a)
{
	struct str *old = NULL, *now, *gone;
	size_t old_n = job->before ? asked_for(job->before, a, &old) : 0;
	size_t now_n = asked_for(job->target, a, &now);
	size_t gone_n = no_longer(old, old_n, now, now_n, a, &gone);
	put_specs(b, "remove", gone, gone_n, a);
	put_specs(b, "update", now, now_n, a);
}

void history_text(const struct layer *l, struct buf *b)
{
	const struct link_job *job = l->job;
	const struct clock *clock = job->opts->clock ? job->opts->clock : &clock_system;
	auto_arena a = ARENA_INIT;
	buf_put_str(b, job->history);
	if (job->history.n && !str_ends(job->history, STR("\n")))
		buf_put_char(b, '\n');
	buf_put_c(b, "==> ");
	clock_put_table(b, clock->wall_ms(clock));
	buf_put_c(b, " <==\n# cmd: ");
	put_line(b, str_c(job->requested_by ? job->requested_by : "slipway"));
	buf_put_c(b, "\n# slipway version: " SLIPWAY_VERSION "\n");
	put_changes(b, l, &a);
	put_asked_for(b, job, &a);
}
