// SPDX-License-Identifier: Apache-2.0
#include "solve/explain.h"
#include "solve/run.h"

enum { TRY_CONFLICTS = 2000, CORE_MAX = 8, SUGGESTIONS_MAX = 3, NAME_MAX_SIZE = 64 };

/* -- names that are alike ----------------------------------------------------------------------------------------- */

/* Insertions, deletions, replacements and swaps of neighbours; `most` + 1 where it is more. */
static unsigned distance(struct str a, struct str b, unsigned most)
{
	unsigned row[3][NAME_MAX_SIZE + 1];
	if (a.n > NAME_MAX_SIZE || b.n > NAME_MAX_SIZE || (a.n > b.n ? a.n - b.n : b.n - a.n) > most)
		return most + 1;
	for (size_t j = 0; j <= b.n; j++)
		row[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a.n; i++) {
		unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3], least = (unsigned)i;
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b.n; j++) {
			unsigned d = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);
			d = last[j] + 1 < d ? last[j] + 1 : d;
			d = now[j - 1] + 1 < d ? now[j - 1] + 1 : d;
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
			    before[j - 2] + 1 < d)
				d = before[j - 2] + 1;
			now[j] = d;
			least = d < least ? d : least;
		}
		if (least > most)
			return most + 1;
	}
	return row[a.n % 3][b.n];
}

/* The known name that is most like this one; empty where none is near. */
static struct str similar_name(const struct world *p, struct str name, struct arena *a)
{
	struct str best = STR_NONE;
	unsigned most = name.n < 4 ? 1 : name.n < 8 ? 2 : 3;
	for (size_t i = 0; i < p->r->indexes_n; i++) {
		const struct index *ix = p->r->indexes[i].index;
		uint32_t n = ix ? index_name_count(ix) : 0;
		for (uint32_t k = 0; k < n; k++) {
			struct ix_pkg first;
			struct str s = index_name(ix, (struct ix_name){k});
			unsigned d = distance(name, s, most);
			bool better = d < most || (d == most && (!best.p || str_cmp(s, best) < 0));
			if (!better || !index_packages(ix, (struct ix_name){k}, &first))
				continue;
			best = s;
			most = d;
		}
	}
	return best.p ? arena_str(a, best) : best;
}

/* -- why a spec matches nothing ----------------------------------------------------------------------------------- */

static void put_virtual(struct world *p, const struct world_spec *s, const struct world_name *n, struct buf *b)
{
	char upper[NAME_MAX_SIZE + 1];
	struct str name = str_skip(n->text, 2);
	size_t k = 0;
	for (; k < name.n && k < NAME_MAX_SIZE; k++)
		upper[k] = name.p[k] >= 'a' && name.p[k] <= 'z' ? (char)(name.p[k] - 32) : name.p[k];
	upper[k] = '\0';
	if (n->n)
		buf_printf(b, "this host has %.*s %.*s, which is not %.*s", STR_ARG(n->text),
			   STR_ARG(p->version.v[p->cand.v[n->first].version].text), STR_ARG(s->text));
	else
		buf_printf(b, "this host has no %.*s (for %.*s)", STR_ARG(n->text), STR_ARG(s->text));
	buf_printf(b, "; set CONDA_OVERRIDE_%s to solve for a host that has", upper);
}

/* The versions that there are, a few of them. */
static void put_known(struct world *p, const struct world_name *n, struct buf *b)
{
	struct str newest = p->version.v[p->cand.v[n->first].version].text;
	struct str oldest = p->version.v[p->cand.v[n->first + n->n - 1].version].text;
	if (str_eq(newest, oldest))
		buf_printf(b, "the only version is %.*s", STR_ARG(newest));
	else
		buf_printf(b, "there are %.*s … %.*s", STR_ARG(oldest), STR_ARG(newest));
}

/* The version fits and the build does not: the builds there are, a few of them. */
static bool put_builds(struct world *p, const struct world_spec *s, const struct world_name *n, struct buf *b)
{
	unsigned found = 0;
	for (uint32_t c = n->first; c < n->first + n->n && spec_build_text(s->spec).n; c++) {
		struct err ignored = ERR_INIT;
		struct pkg_record r;
		auto_arena tmp = ARENA_INIT;
		const struct version *v = world_version_of(p, p->cand.v[c].version);
		if (!v || !p->scheme->spec_match_version(s->spec, v, p->version.v[p->cand.v[c].version].text))
			continue;
		if (world_record(p, c, &tmp, &r, &ignored) < 0)
			continue;
		if (++found > 3)
			break;
		if (found == 1)
			buf_printf(b, "%.*s has other builds: ", STR_ARG(r.version));
		buf_printf(b, "%s%.*s", found == 1 ? "" : ", ", STR_ARG(r.build));
	}
	if (found > 3)
		buf_put_c(b, " …");
	return found > 0;
}

/* A version that only a looser reading of the spec would have taken. */
static struct str loose_version(struct world *p, const struct world_spec *s, const struct world_name *n)
{
	for (uint32_t v = 0; s->spec && v < n->version_n; v++) {
		struct str text = p->version.v[n->version + v].text;
		if (spec_would_match_loosely(s->spec, text))
			return text;
	}
	return STR_NONE;
}

/* A channel behind the first that has what the spec asks for. */
static bool put_hidden(struct world *p, const struct world_spec *s, const struct world_name *n, struct buf *b)
{
	if (n->hidden == WORLD_NONE)
		return false;
	for (uint32_t i = n->hidden; i < p->r->indexes_n; i++) {
		const struct channel_index *ci = &p->r->indexes[i];
		struct ix_name in;
		struct ix_pkg first;
		if (!ci->index || !index_find_name(ci->index, n->text, &in))
			continue;
		uint32_t count = index_packages(ci->index, in, &first);
		for (uint32_t k = 0; k < count; k++) {
			struct index_pkg g = index_pkg(ci->index, (struct ix_pkg){first.n + k});
			struct pkg_record r = {.name = n->text, .version = index_version(ci->index, g.version)};
			r.build = index_str(ci->index, g.build);
			r.build_number = g.build_number;
			if (!p->scheme->spec_match(s->spec, &r))
				continue;
			buf_printf(
				b,
				"; '%.*s' has %.*s, but with strict channel priority a lower channel does not count: "
				"use flexible priority or ask for '%.*s::%.*s'",
				STR_ARG(ci->channel.shown), STR_ARG(r.version), STR_ARG(ci->channel.name),
				STR_ARG(n->text));
			return true;
		}
	}
	return false;
}

/* A channel with shards of which nobody has asked for this name yet: only without a network. */
static bool put_not_held(struct world *p, const struct world_name *n, struct buf *b)
{
	for (size_t i = 0; i < p->r->indexes_n; i++) {
		const struct channel_index *ci = &p->r->indexes[i];
		struct ix_name in;
		if (!ci->index || !index_info(ci->index).partial ||
		    (index_find_name(ci->index, n->text, &in) && index_has_name(ci->index, in)))
			continue;
		buf_printf(b,
			   "whether channel '%.*s' has a package '%.*s' is not known here: it was never asked for, and "
			   "this is offline; run it once with the network",
			   STR_ARG(ci->channel.shown), STR_ARG(n->text));
		return true;
	}
	return false;
}

struct str explain_no_candidate(struct world *p, uint32_t spec, struct arena *a)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	const struct world_spec *s = &p->spec.v[spec];
	if (!s->spec)
		return STR("a dependency cannot be read");
	const struct world_name *n = world_load(p, s->name);
	if (str_starts(n->text, STR("__"))) {
		put_virtual(p, s, n, &b);
	} else if (!n->n && put_not_held(p, n, &b)) {
		;
	} else if (!n->n) {
		struct str like = similar_name(p, n->text, a);
		bool channel = n->wanted && spec_channel(p->spec.v[n->wanted - 1].spec).n;
		buf_printf(&b, "%s has a package '%.*s'", channel ? "the channel that was named" : "no channel",
			   STR_ARG(n->text));
		if (channel) {
			buf_clear(&b);
			buf_printf(&b, "channel '%.*s' has no package '%.*s'",
				   STR_ARG(spec_channel(p->spec.v[n->wanted - 1].spec)), STR_ARG(n->text));
		} else if (like.n) {
			buf_printf(&b, "; did you mean '%.*s'?", STR_ARG(like));
		}
	} else {
		struct str loose = loose_version(p, s, n);
		buf_printf(&b, "nothing matches %.*s: ", STR_ARG(s->text));
		if (!put_builds(p, s, n, &b))
			put_known(p, n, &b);
		if (!put_hidden(p, s, n, &b) && loose.n)
			buf_printf(&b, "; %.*s is not of %.*s as CEP 29 reads it: ask for '%.*s=%.*s'", STR_ARG(loose),
				   STR_ARG(spec_version_text(s->spec)), STR_ARG(n->text), STR_ARG(loose));
	}
	return arena_str(a, buf_str(&b));
}

/* -- what could be asked for instead ------------------------------------------------------------------------------ */

struct suggester {
	struct world *p;
	struct arena *a;
	const uint32_t *want;
	uint32_t want_n;
	struct str text[SUGGESTIONS_MAX];
	uint32_t n;
};

static void suggest(struct suggester *s, const struct buf *b)
{
	if (s->n < SUGGESTIONS_MAX)
		s->text[s->n++] = arena_str(s->a, buf_str(b));
}

/* Solves with `spec` replaced by another, or left out (WORLD_NONE). The version found, of `name`; empty: no solution. */
static struct str try_without(struct suggester *s, uint32_t spec, uint32_t instead)
{
	auto_free uint32_t *trial = xcalloc(s->want_n + 1u, sizeof(*trial));
	struct run run;
	struct err ignored = ERR_INIT;
	struct str found = STR_NONE;
	uint32_t n = 0;
	for (uint32_t i = 0; i < s->want_n; i++) {
		uint32_t w = s->want[i] == spec ? instead : s->want[i];
		if (w != WORLD_NONE)
			trial[n++] = w;
	}
	if (run_solve(&run, s->p, trial, n, false, TRY_CONFLICTS, &ignored) == 0) {
		found = STR("none");
		for (uint32_t i = 0; i < run.chosen.n && instead != WORLD_NONE; i++) {
			const struct world_candidate *c = &s->p->cand.v[run.chosen.v[i]];
			if (c->name == s->p->spec.v[spec].name)
				found = s->p->version.v[c->version].text;
		}
	}
	run_release(&run);
	return found;
}

/* As many segments as the spec's version has, at least two: "3.9" of 3.9.5 for python=3.8. */
static struct str shorten(struct str version, struct str like)
{
	size_t dots = 0, at = 0, wanted = 1;
	for (size_t i = 0; i < like.n; i++)
		if (like.p[i] == '.' && i + 1 < like.n && like.p[i + 1] != '*')
			dots++;
	wanted = dots > 1 ? dots : 1;
	for (; at < version.n; at++) {
		if (version.p[at] == '.' && wanted-- == 0)
			break;
		if (version.p[at] != '.' && (version.p[at] < '0' || version.p[at] > '9'))
			return version; /* letters: better whole */
	}
	return str_head(version, at);
}

static void suggest_version(struct suggester *s, uint32_t spec)
{
	struct world *p = s->p;
	const struct spec *is = p->spec.v[spec].spec;
	auto_buf b = BUF_INIT(BUF_MAX);
	if (!spec_version_text(is).n && !spec_build_text(is).n)
		return;
	struct str name = p->name.v[p->spec.v[spec].name].text;
	struct str loose = world_members(p, spec)->member_n
				   ? STR_NONE
				   : loose_version(p, &p->spec.v[spec], world_load(p, p->spec.v[spec].name));
	if (loose.n) {
		char *exact = arena_printf(p->a, "%.*s=%.*s", STR_ARG(name), STR_ARG(loose));
		if (try_without(s, spec, world_spec_of_text(p, str_c(exact), SPEC_REQUEST)).n) {
			buf_printf(&b, "%s instead of '%.*s'", exact, STR_ARG(p->spec.v[spec].text));
			suggest(s, &b);
			return;
		}
	}
	struct str found = try_without(s, spec, world_spec_of_text(p, name, SPEC_DEPENDENCY));
	if (!found.n)
		return;
	buf_printf(&b, "%.*s=%.*s instead of '%.*s'", STR_ARG(name), STR_ARG(shorten(found, spec_version_text(is))),
		   STR_ARG(p->spec.v[spec].text));
	suggest(s, &b);
}

static void suggest_name(struct suggester *s, uint32_t spec)
{
	struct world *p = s->p;
	auto_buf b = BUF_INIT(BUF_MAX), t = BUF_INIT(BUF_MAX);
	struct str name = p->name.v[p->spec.v[spec].name].text, like = similar_name(p, name, s->a);
	if (!like.n)
		return;
	buf_put_str(&t, like);
	struct str rest = str_trim(str_skip(p->spec.v[spec].text, name.n));
	if (str_starts(p->spec.v[spec].text, name) && rest.n)
		buf_printf(&t, " %.*s", STR_ARG(rest));
	if (!try_without(s, spec, world_spec_of_text(p, arena_str(p->a, buf_str(&t)), SPEC_DEPENDENCY)).n)
		return;
	buf_printf(&b, "%.*s instead of '%.*s'", STR_ARG(buf_str(&t)), STR_ARG(p->spec.v[spec].text));
	suggest(s, &b);
}

/* Whether it would work if lower channels counted too. */
static void suggest_priority(struct suggester *s)
{
	struct solve_request r = *s->p->r;
	struct world w;
	struct run run;
	struct err ignored = ERR_INIT;
	auto_arena tmp = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	bool hidden = false;
	vec_foreach(n, &s->p->name)
		hidden |= n->hidden != WORLD_NONE;
	if (r.priority != SOLVE_STRICT || !hidden)
		return;
	r.priority = SOLVE_FLEXIBLE;
	if (world_init(&w, &r, &tmp, &ignored) == 0) {
		if (run_solve(&run, &w, s->want, s->want_n, false, TRY_CONFLICTS, &ignored) == 0) {
			buf_put_c(&b, "the same with flexible channel priority");
			suggest(s, &b);
		}
		run_release(&run);
	}
	world_release(&w);
}

int explain_suggest(struct world *p, const uint32_t *want, uint32_t want_n, const uint32_t *core, uint32_t core_n,
		    struct arena *a, struct solve_result *res, struct err *e)
{
	struct suggester s = {.p = p, .a = a, .want = want, .want_n = want_n};
	(void)e;
	suggest_priority(&s);
	for (uint32_t i = 0; i < core_n && i < CORE_MAX && s.n < SUGGESTIONS_MAX; i++) {
		if (world_load(p, p->spec.v[core[i]].name)->n)
			suggest_version(&s, core[i]);
		else
			suggest_name(&s, core[i]);
	}
	for (uint32_t i = 0; i < core_n && i < CORE_MAX && !s.n && want_n > 1; i++) {
		auto_buf b = BUF_INIT(BUF_MAX);
		if (!try_without(&s, core[i], WORLD_NONE).n)
			continue;
		buf_printf(&b, "without '%.*s'", STR_ARG(p->spec.v[core[i]].text));
		suggest(&s, &b);
	}
	if (s.n) {
		struct str *t = arena_array(a, struct str, s.n);
		memcpy(t, s.text, s.n * sizeof(*t));
		res->suggestions = t;
		res->suggestions_n = s.n;
	}
	return 0;
}
