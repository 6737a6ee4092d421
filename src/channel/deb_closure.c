// SPDX-License-Identifier: Apache-2.0
/*
 * What packages need, in the indexes of an archive (Policy 7.1): all records are read and sorted by name, newest first; then, for
 * each platform, a queue of chosen ones is worked off. There is no way back: a choice is never taken again, conflicts are not
 * looked at. So more may be chosen than one host would install, which a channel may well hold.
 */
#include "channel/deb.h"

enum { RECORDS_MAX = 4 << 20 };

struct record {
	struct str name, version, platform, path;
	struct str needs[3]; /* Pre-Depends, Depends, Recommends */
	struct str provides;
	bool chosen; /* for the platform that is being done */
};
struct provider {
	struct str name, version; /* version: STR_NONE where it tells none */
	uint32_t record;
};

struct closure {
	struct deb_walk *w;
	struct channel_closure *c;
	enum channel_closure_flags flags;
	VEC(struct record) record;
	VEC(struct provider) provider;
	struct map first, first_provider; /* name → place + 1 */
	VEC(uint32_t) queue;
	struct str platform;
};

static void closure_release(struct closure *x)
{
	vec_release(&x->record);
	vec_release(&x->provider);
	vec_release(&x->queue);
	map_release(&x->first);
	map_release(&x->first_provider);
	deb_walk_free(&x->w->base);
}

/* -- relations ------------------------------------------------------------------------------------------------------ */

struct relation {
	struct str name, version;
	enum { ANY, BEFORE, UP_TO, EQUAL, FROM, AFTER } op;
};

/* Up to the next `stop`; what follows it stays. False at the end. */
static bool take_part(struct str *s, char stop, struct str *ret)
{
	if (str_trim(*s).n == 0)
		return false;
	if (!str_take_until(s, stop, ret)) {
		*ret = *s;
		*s = STR_NONE;
	}
	*ret = str_trim(*ret);
	return true;
}

/* "name", "name:any (>= 1.0)", "name=1.0" */
static struct relation parse_relation(struct str s)
{
	static const struct {
		const char *text;
		int op;
	} ops[] = {{"<<", BEFORE}, {"<=", UP_TO}, {">=", FROM}, {">>", AFTER}, {"=", EQUAL}, {"<", UP_TO}, {">", FROM}};
	struct relation r = {.name = str_trim(s)};
	struct str rest = s, name;
	if (str_take_until(&rest, '(', &name)) {
		r.name = str_trim(name);
		rest = str_trim(rest);
		if (str_ends(rest, STR(")")))
			rest.n--;
	} else if (str_take_until(&rest, '=', &name)) {
		r.name = str_trim(name);
		rest = str_skip(s, (size_t)str_find(s, '='));
	} else {
		rest = STR_NONE;
	}
	for (size_t i = 0; rest.n && r.op == ANY && i < sizeof(ops) / sizeof(*ops); i++)
		if (str_take_str(&rest, str_c(ops[i].text))) {
			r.op = (__typeof__(r.op))ops[i].op;
			r.version = str_trim(rest);
		}
	ptrdiff_t colon = str_find(r.name, ':');
	if (colon >= 0)
		r.name = str_head(r.name, (size_t)colon);
	return r;
}

static bool allows(const struct relation *r, struct str version)
{
	if (r->op == ANY)
		return true;
	int c = pkg_deb_version_cmp(version, r->version);
	return (c < 0 && (r->op == BEFORE || r->op == UP_TO)) || (c > 0 && (r->op == FROM || r->op == AFTER)) ||
	       (c == 0 && (r->op == UP_TO || r->op == EQUAL || r->op == FROM));
}

/* -- reading -------------------------------------------------------------------------------------------------------- */

static int add_record(struct closure *x, struct str stanza, struct err *e)
{
	static const char *const names[] = {"Package",	   "Version", "Architecture", "Filename",
					    "Pre-Depends", "Depends", "Recommends",   "Provides"};
	struct str v[8];
	deb_fields(stanza, names, v, 8);
	if (!v[0].p || !v[1].p || !v[2].p || !channel_path_is_normal(v[3]))
		return 0;
	if (x->record.n >= RECORDS_MAX)
		return err_new(e, ERR_LIMIT, "an archive of more than %d packages", RECORDS_MAX);
	struct record *r = vec_add(&x->record);
	struct arena *a = &x->c->arena;
	*r = (struct record){.name = arena_str(a, v[0]),
			     .version = arena_str(a, v[1]),
			     .platform = arena_str(a, v[2]),
			     .path = arena_str(a, v[3]),
			     .provides = v[7].p ? arena_str(a, v[7]) : STR_NONE};
	for (int i = 0; i < 3; i++)
		if (v[4 + i].p && (i < 2 || x->flags & CHANNEL_RECOMMENDS))
			r->needs[i] = arena_str(a, v[4 + i]);
	return 0;
}

static int read_index(struct closure *x, const struct deb_suite *s, struct str base, struct err *e)
{
	auto_ptr(istream) in = NULL;
	struct str stanza;
	if (!str_starts(str_skip(base, (size_t)(str_rfind(base, '/') + 1)), STR("Packages")))
		return 0;
	int rc = deb_index_open(x->w->fd, s->dir, &s->release, base, &in, e);
	if (rc <= 0)
		return rc;
	auto_deb_reader r;
	deb_reader_init(&r, in);
	while ((rc = deb_next(&r, &stanza, e)) > 0)
		if (add_record(x, stanza, e) < 0)
			return -1;
	return rc;
}

static int cmp_record(const void *a, const void *b)
{
	const struct record *x = a, *y = b;
	int c = str_cmp(x->name, y->name);
	c = c ? c : pkg_deb_version_cmp(y->version, x->version);
	c = c ? c : str_cmp(x->platform, y->platform);
	return c ? c : str_cmp(x->path, y->path);
}

/* By name; of one name as the records stand. */
static int cmp_provider(const void *a, const void *b)
{
	const struct provider *x = a, *y = b;
	int c = str_cmp(x->name, y->name);
	return c ? c : (x->record > y->record) - (x->record < y->record);
}

static void index_records(struct closure *x)
{
	vec_sort(&x->record, cmp_record);
	for (uint32_t i = 0; i < x->record.n; i++) {
		struct str provides = x->record.v[i].provides, part;
		uint64_t *place = map_put(&x->first, x->record.v[i].name);
		if (!*place)
			*place = i + 1;
		while (take_part(&provides, ',', &part)) {
			struct relation r = parse_relation(part);
			vec_push(&x->provider, ((struct provider){r.name, r.version, i}));
		}
	}
	vec_sort(&x->provider, cmp_provider);
	for (size_t i = 0; i < x->provider.n; i++) {
		uint64_t *place = map_put(&x->first_provider, x->provider.v[i].name);
		if (!*place)
			*place = i + 1;
	}
}

/* -- choosing ------------------------------------------------------------------------------------------------------- */

static bool is_here(const struct closure *x, const struct record *r)
{
	return str_eq(r->platform, x->platform) || str_eq_c(r->platform, "all");
}

/* The first record that the relation allows, among those that are chosen or among all: by its name, then by what it provides. */
static struct record *find(const struct closure *x, const struct relation *want, bool chosen)
{
	const uint64_t *place = map_get(&x->first, want->name);
	for (size_t i = place ? *place - 1 : x->record.n; i < x->record.n; i++) {
		struct record *r = &x->record.v[i];
		if (!str_eq(r->name, want->name))
			break;
		if (is_here(x, r) && (!chosen || r->chosen) && allows(want, r->version))
			return r;
	}
	place = map_get(&x->first_provider, want->name);
	for (size_t i = place ? *place - 1 : x->provider.n; i < x->provider.n; i++) {
		const struct provider *p = &x->provider.v[i];
		struct record *r = &x->record.v[p->record];
		if (!str_eq(p->name, want->name))
			break;
		if (is_here(x, r) && (!chosen || r->chosen) &&
		    (want->op == ANY || (p->version.p && allows(want, p->version))))
			return r;
	}
	return NULL;
}

static void choose(struct closure *x, struct record *r)
{
	r->chosen = true;
	*map_put(&x->c->paths, r->path) = 1;
	vec_push(&x->queue, (uint32_t)(r - x->record.v));
}

/* "a | b": true where one is there or could be chosen. */
static bool satisfy(struct closure *x, struct str alternatives)
{
	struct str part, s = alternatives;
	while (take_part(&s, '|', &part)) {
		struct relation r = parse_relation(part);
		if (find(x, &r, true))
			return true;
	}
	s = alternatives;
	while (take_part(&s, '|', &part)) {
		struct relation r = parse_relation(part);
		struct record *found = find(x, &r, false);
		if (!found)
			continue;
		choose(x, found);
		return true;
	}
	return false;
}

static void work_off(struct closure *x)
{
	for (size_t i = 0; i < x->queue.n; i++) {
		const struct record *r = &x->record.v[x->queue.v[i]];
		for (int k = 0; k < 3; k++) {
			struct str needs = r->needs[k], part;
			while (take_part(&needs, ',', &part)) {
				if (part.n == 0 || satisfy(x, part) || k == 2)
					continue;
				const char *text = arena_printf(&x->c->arena, "%.*s, which %.*s %.*s (%.*s) needs",
								STR_ARG(part), STR_ARG(r->name), STR_ARG(r->version),
								STR_ARG(x->platform));
				vec_push(&x->c->unmet, str_c(text));
			}
		}
	}
}

static void close_platform(struct closure *x, struct str platform, const struct str *wanted, bool *found, size_t n)
{
	x->platform = platform;
	vec_clear(&x->queue);
	vec_foreach(r, &x->record)
		r->chosen = false;
	for (size_t i = 0; i < n; i++)
		found[i] |= satisfy(x, wanted[i]);
	work_off(x);
}

/* Those that are asked for, or all that the records have. */
static void close_platforms(struct closure *x, const struct channel_walk_opts *from, const struct str *wanted,
			    bool *found, size_t n)
{
	auto_map seen = MAP_INIT;
	for (size_t i = 0; i < from->platforms_n; i++)
		close_platform(x, from->platforms[i], wanted, found, n);
	for (size_t i = 0; from->platforms_n == 0 && i < x->record.n; i++) {
		struct str platform = x->record.v[i].platform;
		if (!str_eq_c(platform, "all") && !(*map_put(&seen, platform))++)
			close_platform(x, platform, wanted, found, n);
	}
	if (from->platforms_n == 0 && seen.n == 0)
		close_platform(x, STR("all"), wanted, found, n);
}

static int tell_nothing(void *ctx, const struct channel_item *item, struct err *e)
{
	(void)ctx, (void)item, (void)e;
	return 0;
}

int deb_closure(int from_fd, const struct channel_walk_opts *from, const struct str *wanted, size_t n,
		enum channel_closure_flags flags, struct channel_closure *c, struct err *e)
{
	struct channel_walk *base = NULL;
	if (deb_walk_new(from_fd, from, &base, e) < 0)
		return -1;
	cleanup_with(closure_release) struct closure x = {.w = (struct deb_walk *)base, .c = c, .flags = flags};
	if (deb_walk_indexes(x.w, tell_nothing, NULL, e) < 0)
		return -1;
	for (size_t i = 0; i < x.w->n; i++)
		for (size_t k = 0; k < x.w->suite[i].n; k++)
			if (read_index(&x, &x.w->suite[i], x.w->suite[i].base[k], e) < 0)
				return -1;
	index_records(&x);
	auto_free bool *found = xcalloc(n + 1, sizeof(*found));
	close_platforms(&x, from, wanted, found, n);
	for (size_t i = 0; i < n; i++)
		if (!found[i])
			return err_new(e, ERR_NOT_FOUND, "the archive has nothing for '%.*s'", STR_ARG(wanted[i]));
	return 0;
}
