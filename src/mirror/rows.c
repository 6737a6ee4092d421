// SPDX-License-Identifier: Apache-2.0
/*
 * The lists behind the counts of a channel, and why they differ. Of a channel that follows another one the rows are those of table file,
 * which are what is counted; of one's own they are what its metadata tell. The metadata that clients see say what each row is, and which
 * one has taken its place.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/map.h"
#include "base/vec.h"
#include "mirror/front.h"
#include "pkg/pkg.h"

enum { ROWS_MAX = 4 << 20, KEY_MAX = 600 };

struct told {
	struct mirror_row row;
	struct str bad;
	int64_t gone_ms, first;
	bool seen; /* in the metadata that clients see */
	struct str withdrawn;
};
struct listing {
	const struct mirror_channel *c;
	const struct mirror_rows_opts *o;
	struct arena *a;
	int tree;
	int64_t id, since; /* of table channel: the sync that told what is historic */
	VEC(struct told) v;
	struct map by_path;
	struct map newest; /* key → place in v */
};
static void listing_release(struct listing *l)
{
	vec_release(&l->v);
	map_release(&l->by_path);
	map_release(&l->newest);
	cleanup_fd(&l->tree);
}
#define auto_listing cleanup_with(listing_release) struct listing

static const char *const names[MIRROR_ROWS] = {
	[MIRROR_ROWS_TOLD] = "told",	   [MIRROR_ROWS_HELD] = "held", [MIRROR_ROWS_MISSING] = "missing",
	[MIRROR_ROWS_DAMAGED] = "damaged", [MIRROR_ROWS_GONE] = "gone", [MIRROR_ROWS_OFFERED] = "offered",
	[MIRROR_ROWS_OTHERS] = "others",
};

const char *mirror_rows_name(enum mirror_rows which)
{
	return names[which];
}

bool mirror_rows_find(struct str name, enum mirror_rows *ret)
{
	for (int i = 0; i < MIRROR_ROWS; i++)
		if (str_eq_c(name, names[i])) {
			*ret = (enum mirror_rows)i;
			return true;
		}
	return false;
}

/* -- rows ----------------------------------------------------------------------------------------------------------- */

static int too_many(struct err *e)
{
	return err_new(e, ERR_LIMIT, "more than %d packages", ROWS_MAX);
}

static struct told *add_row(struct listing *l, struct str path)
{
	*map_put(&l->by_path, path) = l->v.n;
	struct told *t = vec_add(&l->v);
	t->row.path = path;
	return t;
}

static int read_rows(struct listing *l, struct sql *db, struct err *e)
{
	auto_ptr(sql_query) channel = NULL, q = NULL;
	int rc;
	if (sql_prepare(db, "SELECT id, first FROM channel WHERE name = ?1", &channel, e) < 0)
		return -1;
	sql_bind_str(channel, 1, l->c->name);
	rc = sql_step(channel, e);
	if (rc <= 0)
		return rc;
	l->since = sql_int(channel, 1);
	if (sql_prepare(
		    db,
		    "SELECT path, size, held, held_size, bad, gone_ms, first FROM file WHERE channel = ?1 AND what = 3"
		    " AND (gone_ms = 0 OR held = 1)",
		    &q, e) < 0)
		return -1;
	sql_bind_int(q, 1, sql_int(channel, 0));
	while ((rc = sql_step(q, e)) > 0) {
		if (l->v.n >= ROWS_MAX)
			return too_many(e);
		struct told *t = add_row(l, sql_str(q, 0, l->a));
		t->row.held = sql_int(q, 2);
		t->row.size = (uint64_t)sql_int(q, t->row.held ? 3 : 1);
		t->bad = sql_str(q, 4, l->a);
		t->gone_ms = sql_int(q, 5);
		t->first = sql_int(q, 6);
	}
	return rc;
}

/* -- what metadata say of them -------------------------------------------------------------------------------------- */

static bool is_there(const struct listing *l, struct str path)
{
	struct stat st;
	return fstatat(l->tree, path.p, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

static int see(void *ctx, const struct channel_item *it, struct err *e)
{
	struct listing *l = ctx;
	if (it->what != CHANNEL_FILE_PACKAGE)
		return 0;
	const uint64_t *at = map_get(&l->by_path, it->path);
	struct told *t = at ? &l->v.v[*at] : NULL;
	if (!t && (l->c->type == MIRROR_FOLLOW || (l->c->type == MIRROR_PROXY && l->since)))
		return 0; /* not counted: of a sync that is being switched just now */
	if (!t && l->v.n >= ROWS_MAX)
		return too_many(e);
	if (!t) {
		t = add_row(l, arena_str(l->a, it->path));
		t->row.size = it->size;
		t->row.held = is_there(l, t->row.path);
	}
	if (t->seen)
		return 0;
	t->seen = true;
	t->row.name = arena_str(l->a, it->name.p ? it->name : STR(""));
	t->row.version = arena_str(l->a, it->version.p ? it->version : STR(""));
	t->row.platform = arena_str(l->a, it->platform.p ? it->platform : STR(""));
	t->withdrawn = arena_str(l->a, it->withdrawn.p ? it->withdrawn : STR(""));
	return 0;
}

static int walk(struct listing *l, struct err *e)
{
	const struct mirror_channel *c = l->c;
	const struct channel_walk_opts o = {.suites = c->suites.v,
					    .suites_n = c->suites.n,
					    .names = strcmp(channel_kind_name(c->kind), "pypi") == 0 ? c->names.v
												     : NULL,
					    .names_n = strcmp(channel_kind_name(c->kind), "pypi") == 0 ? c->names.n : 0,
					    .sources = true,
					    .expired = true};
	auto_ptr(channel_walk) w = NULL;
	int rc = channel_walk_new(c->kind, l->tree, &o, &w, e);
	while (rc >= 0 && (rc = channel_walk_next(w, see, l, e)) > 0)
		;
	return rc;
}

/* -- is it for them? ------------------------------------------------------------------------------------------------ */

static const struct {
	const char *subdir, *words; /* what other kinds of channels call it */
} platforms[] = {
	{"linux-64", "amd64 x86_64"},
	{"linux-aarch64", "arm64 aarch64"},
	{"linux-32", "i386 i686 i586"},
	{"linux-ppc64le", "ppc64el ppc64le"},
	{"linux-riscv64", "riscv64"},
	{"linux-s390x", "s390x"},
	{"linux-armv7l", "armhf armv7hl armv7l"},
	{"osx-64", "x86_64"},
	{"osx-arm64", "arm64"},
	{"win-64", "win_amd64"},
};

/* "manylinux_2_17_x86_64" is for x86_64, "all" and "any" for everybody. */
static bool is_word_of(struct str platform, struct str word)
{
	return str_eq(platform, word) ||
	       (platform.n > word.n && str_ends(platform, word) && platform.p[platform.n - word.n - 1] == '_');
}

static bool is_for(struct str platform, struct str asked)
{
	struct str tag, word;
	if (!asked.n || !platform.n || str_eq(platform, STR("noarch")) || str_eq(platform, STR("all")) ||
	    str_eq(platform, STR("any")))
		return true;
	while (platform.n) { /* tags of wheels, apart by dots */
		if (!str_take_until(&platform, '.', &tag)) {
			tag = platform;
			platform = STR_NONE;
		}
		if (is_word_of(tag, asked))
			return true;
		for (size_t i = 0; i < sizeof(platforms) / sizeof(*platforms); i++) {
			struct str rest = str_c(platforms[i].words);
			while (str_eq_c(asked, platforms[i].subdir) && str_take_word(&rest, &word))
				if (is_word_of(tag, word))
					return true;
		}
	}
	return false;
}

/* -- which one is newest? ------------------------------------------------------------------------------------------- */

static int compare_parsed(struct arena *a, struct str x, struct str y)
{
	struct err e = ERR_INIT;
	const struct version *v = pkg_conda.version_parse(a, x, &e), *w = pkg_conda.version_parse(a, y, &e);
	return v && w ? pkg_conda.version_cmp(v, w) : 0;
}

static int compare_pep440(struct arena *a, struct str x, struct str y)
{
	struct err e = ERR_INIT;
	const struct pep440 *v = pep440_parse(a, x, &e), *w = pep440_parse(a, y, &e);
	return v && w ? pep440_cmp(v, w) : 0;
}

static int compare_deb(struct arena *a, struct str x, struct str y)
{
	(void)a;
	return pkg_deb_version_cmp(x, y); /* opam orders as Debian does */
}

static int compare_rpm(struct arena *a, struct str x, struct str y)
{
	const struct pkg_rpm_evr v = pkg_rpm_evr_parse(x), w = pkg_rpm_evr_parse(y);
	(void)a;
	return pkg_rpm_evr_cmp(&v, &w);
}

static int compare(const struct channel_kind *k, struct arena *a, struct str x, struct str y)
{
	static const struct {
		const char *kind;
		int (*compare)(struct arena *a, struct str x, struct str y);
	} orders[] = {{"conda", compare_parsed},
		      {"deb", compare_deb},
		      {"opam", compare_deb},
		      {"rpm", compare_rpm},
		      {"pypi", compare_pep440}};
	for (size_t i = 0; i < sizeof(orders) / sizeof(*orders); i++)
		if (strcmp(orders[i].kind, channel_kind_name(k)) == 0)
			return str_eq(x, y) ? 0 : orders[i].compare(a, x, y);
	return 0;
}

/* Where no platform is asked for, each has its newest. */
static struct str key_of(const struct listing *l, const struct told *t, char room[KEY_MAX])
{
	struct str platform = l->o->platform.n ? STR("") : t->row.platform;
	int n = snprintf(room, KEY_MAX, "%.*s\n%.*s", STR_ARG(str_head(t->row.name, KEY_MAX / 2)),
			 STR_ARG(str_head(platform, KEY_MAX / 2 - 2)));
	return str_of(room, (size_t)n);
}

static bool is_candidate(const struct listing *l, const struct told *t)
{
	return t->seen && t->row.name.n && t->row.version.n && !t->gone_ms && !t->withdrawn.n &&
	       is_for(t->row.platform, l->o->platform);
}

static void find_newest(struct listing *l)
{
	char room[KEY_MAX];
	for (size_t i = 0; i < l->v.n; i++) {
		auto_arena a = ARENA_INIT;
		if (!is_candidate(l, &l->v.v[i]))
			continue;
		struct str key = key_of(l, &l->v.v[i], room);
		const uint64_t *best = map_get(&l->newest, key);
		if (!best)
			*map_put(&l->newest, arena_str(l->a, key)) = i;
		else if (compare(l->c->kind, &a, l->v.v[i].row.version, l->v.v[*best].row.version) > 0)
			*map_put(&l->newest, key) = i;
	}
}

/* -- why ------------------------------------------------------------------------------------------------------------ */

static struct str date(struct arena *a, int64_t wall_ms)
{
	auto_buf b = BUF_INIT(64);
	clock_put_table(&b, wall_ms);
	return arena_str(a, buf_str(&b));
}

static struct str why_not_here(const struct listing *l, const struct told *t)
{
	if (t->row.held)
		return STR("");
	if (t->bad.n)
		return str_c(arena_printf(l->a, "damaged: %.*s", STR_ARG(t->bad)));
	if (l->c->type == MIRROR_LOCAL)
		return STR("missing: its file is not there; publish it again");
	if (l->c->download == MIRROR_ON_DEMAND)
		return STR("on demand: it comes when a client asks for it");
	if (l->c->download == MIRROR_RELEASED && t->first <= l->since)
		return STR("historic: it comes when a client asks for it, since 'download' is RELEASED");
	return STR("on its way: the next sync brings it");
}

static struct str why_not_offered(const struct listing *l, const struct told *t)
{
	char room[KEY_MAX];
	auto_arena a = ARENA_INIT;
	if (t->gone_ms)
		return str_c(arena_printf(l->a,
					  "gone: no metadata name it since %.*s; it stays for clients that still do",
					  STR_ARG(date(l->a, t->gone_ms))));
	if (!t->seen)
		return STR("not yet: the metadata that clients see do not name it");
	if (!is_for(t->row.platform, l->o->platform))
		return str_c(arena_printf(l->a, "platform: it is for %.*s", STR_ARG(t->row.platform)));
	if (t->withdrawn.n)
		return str_c(arena_printf(l->a, "disabled: %.*s", STR_ARG(t->withdrawn)));
	if (t->bad.n)
		return str_c(arena_printf(l->a, "damaged: %.*s", STR_ARG(t->bad)));
	const uint64_t *best = t->row.version.n ? map_get(&l->newest, key_of(l, t, room)) : NULL;
	if (best && compare(l->c->kind, &a, t->row.version, l->v.v[*best].row.version) < 0)
		return str_c(arena_printf(l->a, "superseded: by %.*s", STR_ARG(l->v.v[*best].row.version)));
	return STR("");
}

static bool is_in(const struct told *t, enum mirror_rows which)
{
	switch (which) {
	case MIRROR_ROWS_TOLD:
		return !t->gone_ms;
	case MIRROR_ROWS_HELD:
		return !t->gone_ms && t->row.held;
	case MIRROR_ROWS_MISSING:
		return !t->gone_ms && !t->row.held;
	case MIRROR_ROWS_DAMAGED:
		return !t->gone_ms && t->bad.n;
	case MIRROR_ROWS_GONE:
		return t->gone_ms > 0;
	case MIRROR_ROWS_OFFERED:
		return !t->gone_ms && !t->row.why_not_offered.n;
	case MIRROR_ROWS_OTHERS:
		return !t->gone_ms && t->row.why_not_offered.n;
	case MIRROR_ROWS:
		break;
	}
	return false;
}

static int row_cmp(const void *x, const void *y)
{
	return str_cmp(((const struct mirror_row *)x)->path, ((const struct mirror_row *)y)->path);
}

static void choose(struct listing *l, struct mirror_rows_result *ret)
{
	VEC(struct mirror_row) v = {0};
	for (size_t i = 0; i < l->v.n; i++) {
		struct told *t = &l->v.v[i];
		t->row.why_not_offered = why_not_offered(l, t);
		for (int k = 0; k < MIRROR_ROWS; k++)
			ret->count[k] += is_in(t, (enum mirror_rows)k);
		ret->bytes += is_in(t, MIRROR_ROWS_HELD) ? t->row.size : 0;
		if (!is_in(t, l->o->which))
			continue;
		t->row.why_not_here = why_not_here(l, t);
		vec_push(&v, t->row);
	}
	vec_sort(&v, row_cmp);
	size_t from = l->o->offset < v.n ? (size_t)l->o->offset : v.n;
	ret->n = v.n - from < l->o->max ? v.n - from : (size_t)l->o->max;
	ret->v = arena_copy(l->a, v.v + from, ret->n, sizeof(*v.v));
	vec_release(&v);
}

int mirror_channel_rows(struct mirror_reader *r, const struct mirror_channel *c, const struct mirror_rows_opts *o,
			struct arena *a, struct mirror_rows_result *ret, struct err *e)
{
	auto_listing l = {.c = c, .o = o, .a = a, .tree = mirror_tree(reader_mirror(r), c, e)};
	struct err why = ERR_INIT;
	*ret = (struct mirror_rows_result){.unread = STR("")};
	if (l.tree < 0 || (c->type != MIRROR_LOCAL && read_rows(&l, reader_db(r), e) < 0))
		return -1;
	/* what was never brought up to date has no metadata, or some of them alone */
	if (walk(&l, &why) < 0) {
		if (why.code == ERR_LIMIT)
			return *e = why, -1;
		ret->unread = arena_str(a, str_c(why.msg));
	}
	find_newest(&l);
	choose(&l, ret);
	return 0;
}

void mirror_row_json(struct jw *w, const struct mirror_row *row)
{
	jw_kv_str(w, "path", row->path);
	jw_kv_str(w, "name", row->name);
	jw_kv_str(w, "version", row->version);
	jw_kv_str(w, "platform", row->platform);
	jw_kv_int(w, "size", (int64_t)row->size);
	jw_kv_bool(w, "held", row->held);
	jw_kv_str(w, "why_not_here", row->why_not_here);
	jw_kv_str(w, "why_not_offered", row->why_not_offered);
}
