// SPDX-License-Identifier: Apache-2.0
/*
 * What packages of a Debian archive need (Policy 7): the records of all wanted indexes, with their relations as they are written.
 * apt's order of preference: the newest version; of those that provide a name, the essential first, then by priority, then as
 * the archive lists them.
 */
#include <stdlib.h>
#include <sys/utsname.h>

#include "channel/deb.h"
#include "channel/needs.h"

enum { PRE_DEPENDS, DEPENDS, RECOMMENDS, CONFLICTS, BREAKS, RELATIONS };
struct deb_record { /* by the order of adding */
	struct str relation[RELATIONS];
	const struct pkg_need *parsed[RELATIONS]; /* by read_relations */
	bool is_parsed, is_bad;			  /* is_bad: what it depends on cannot be read */
	struct str path;
	uint64_t size;
	struct digest_value digest;
	uint8_t priority; /* the lower, the more it matters */
};
struct deb_all {
	struct channel_needs base;
	VEC(struct deb_record) record;
};

static struct deb_record *record_of(const struct channel_needs *n, uint32_t package)
{
	return &((const struct deb_all *)n)->record.v[n->package.v[package].added];
}

/* -- reading -------------------------------------------------------------------------------------------------------- */

static uint8_t priority_of(struct str priority, struct str essential)
{
	static const char *const words[] = {"required", "important", "standard", "optional", "extra"};
	if (str_eq_c(essential, "yes"))
		return 0;
	for (uint8_t i = 0; i < 5; i++)
		if (str_eq_c(priority, words[i]))
			return i + 1;
	return 4;
}

static int add_provided(struct deb_all *d, struct str text, struct err *e)
{
	const struct pkg_need *f;
	(void)e;
	struct err ignored = ERR_INIT;
	if (!text.n || pkg_deb_need_parse(&d->base.arena, text, &f, &ignored) < 0)
		return 0;
	for (; f; f = f->op == PKG_NEED_AND ? f->left : NULL) {
		const struct pkg_need *p = f->op == PKG_NEED_AND ? f->right : f;
		if (p->op == PKG_NEED_NAME)
			needs_provide(&d->base, p->name,
				      p->range && p->range->op == PKG_EXACTLY ? p->range->version : STR_NONE);
	}
	return 0;
}

static int add_record(struct deb_all *d, struct str stanza, struct err *e)
{
	static const char *const names[] = {"Pre-Depends", "Depends",	"Recommends",	"Conflicts", "Breaks",
					    "Package",	   "Version",	"Architecture", "Filename",  "Provides",
					    "Priority",	   "Essential", "Size",		"SHA256"};
	enum {
		PACKAGE = RELATIONS,
		VERSION,
		ARCHITECTURE,
		FILENAME,
		PROVIDES,
		PRIORITY,
		ESSENTIAL,
		SIZE,
		SHA256,
		FIELDS
	};
	struct str v[FIELDS];
	struct arena *a = &d->base.arena;
	deb_fields(stanza, names, v, FIELDS);
	(void)str_take_str(&v[FILENAME], STR("./"));
	if (!v[PACKAGE].p || !v[VERSION].p || !channel_path_is_normal(v[FILENAME]) ||
	    (!str_eq(v[ARCHITECTURE], d->base.platform) && !str_eq_c(v[ARCHITECTURE], "all")))
		return 0;
	struct needs_package p = {.c = {.name = arena_str(a, v[PACKAGE]),
					.version = arena_str(a, v[VERSION]),
					.platform = arena_str(a, v[ARCHITECTURE]),
					.key = arena_str(a, v[FILENAME])}};
	if (needs_add(&d->base, &p, e) < 0)
		return -1;
	struct deb_record *r = vec_add(&d->record);
	r->path = p.c.key;
	r->priority = priority_of(v[PRIORITY], v[ESSENTIAL]);
	(void)str_to_u64(v[SIZE], &r->size);
	(void)digest_parse(DIGEST_SHA256, v[SHA256], &r->digest);
	for (int i = 0; i < RELATIONS; i++)
		if (v[i].n && (i != RECOMMENDS || d->base.weak))
			r->relation[i] = arena_str(a, v[i]);
	return add_provided(d, v[PROVIDES].n ? arena_str(a, v[PROVIDES]) : STR_NONE, e);
}

static int read_index(struct deb_all *d, struct deb_walk *w, const struct deb_suite *s, struct str base, struct err *e)
{
	auto_ptr(istream) in = NULL;
	struct str stanza;
	if (!str_starts(str_skip(base, (size_t)(str_rfind(base, '/') + 1)), STR("Packages")))
		return 0;
	int rc = deb_index_open(w->fd, s->dir, &s->release, base, &in, e);
	if (rc <= 0)
		return rc;
	auto_deb_reader r;
	deb_reader_init(&r, in);
	while ((rc = deb_next(&r, &stanza, e)) > 0)
		if (add_record(d, stanza, e) < 0)
			return -1;
	return rc;
}

static int tell_nothing(void *ctx, const struct channel_item *item, struct err *e)
{
	(void)ctx, (void)item, (void)e;
	return 0;
}

static int deb_needs_open(struct channel_needs *n, int folder_fd, const struct channel_walk_opts *from,
			  const struct channel_needs_opts *o, struct err *e)
{
	auto_ptr(channel_walk) base = NULL;
	struct channel_walk_opts mine = *from;
	(void)o;
	mine.platforms = &n->platform;
	mine.platforms_n = 1;
	if (deb_walk_new(folder_fd, &mine, &base, e) < 0)
		return -1;
	base->kind = n->kind;
	struct deb_walk *w = (struct deb_walk *)base;
	if (deb_walk_indexes(w, tell_nothing, NULL, e) < 0)
		return -1;
	for (size_t i = 0; i < w->n; i++)
		for (size_t k = 0; k < w->suite[i].n; k++)
			if (read_index((struct deb_all *)n, w, &w->suite[i], w->suite[i].base[k], e) < 0)
				return -1;
	needs_index(n);
	return 0;
}

/* -- telling -------------------------------------------------------------------------------------------------------- */

static int parse(struct channel_needs *n, struct arena *a, struct str text, const struct pkg_need **ret, struct err *e)
{
	(void)n;
	return pkg_deb_need_parse(a, text, ret, e);
}

static void read_relations(struct channel_needs *n, struct deb_record *r)
{
	r->is_parsed = true;
	for (int i = 0; i < RELATIONS; i++) {
		struct err why = ERR_INIT;
		if (r->relation[i].n && pkg_deb_need_parse(&n->arena, r->relation[i], &r->parsed[i], &why) < 0) {
			r->parsed[i] = NULL;
			r->is_bad |= i < RECOMMENDS;
		}
	}
}

static int deb_tell(struct channel_needs *n, uint32_t package, channel_need_fn *fn, void *ctx, struct err *e)
{
	struct deb_record *r = record_of(n, package);
	if (!r->is_parsed)
		read_relations(n, r);
	if (r->is_bad)
		return needs_tell_never(NULL, fn, ctx, e);
	for (int i = 0; i < CONFLICTS; i++)
		if (needs_tell(n, r->parsed[i], i == RECOMMENDS ? CHANNEL_WISH : CHANNEL_NEED, fn, ctx, e) < 0)
			return -1;
	for (int i = CONFLICTS; i < RELATIONS; i++)
		/* commas of Conflicts part bans, each of which counts */
		for (const struct pkg_need *f = r->parsed[i]; f; f = f->op == PKG_NEED_AND ? f->left : NULL)
			if (needs_tell_ban(n, f->op == PKG_NEED_AND ? f->right : f, package, true, fn, ctx, e) < 0)
				return -1;
	return 0;
}

static int deb_files(struct channel_needs *n, uint32_t package, channel_item_fn *fn, void *ctx, struct err *e)
{
	const struct deb_record *r = record_of(n, package);
	const struct channel_candidate *c = &n->package.v[package].c;
	const struct channel_item item = {.path = r->path,
					  .size = r->size,
					  .digest = r->digest,
					  .what = CHANNEL_FILE_PACKAGE,
					  .name = c->name,
					  .version = c->version,
					  .platform = c->platform};
	return fn(ctx, &item, e);
}

struct preferring {
	const struct channel_needs *n;
	struct str name;
};

static int cmp_preference(const void *a, const void *b, void *ctx)
{
	const struct preferring *p = ctx;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	const struct needs_package *v = p->n->package.v;
	bool own_x = str_eq(v[x].c.name, p->name), own_y = str_eq(v[y].c.name, p->name);
	if (own_x != own_y)
		return own_x ? -1 : 1;
	/* an older version goes behind all newest ones */
	bool old_x = v[x].c.first != x, old_y = v[y].c.first != y;
	if (!own_x && old_x != old_y)
		return old_x ? 1 : -1;
	if (own_x || old_x)
		return (x > y) - (x < y);
	uint8_t s = record_of(p->n, x)->priority, t = record_of(p->n, y)->priority;
	return s != t ? (s < t ? -1 : 1) : (v[x].added < v[y].added) - (v[x].added > v[y].added);
}

static void prefer(const struct channel_needs *n, struct str name, uint32_t *v, size_t count)
{
	struct preferring p = {n, name};
	qsort_r(v, count, sizeof(*v), cmp_preference, &p);
}

static struct str host(void)
{
	static const char *const names[][2] = {{"x86_64", "amd64"},
					       {"aarch64", "arm64"},
					       {"i686", "i386"},
					       {"armv7l", "armhf"},
					       {"ppc64le", "ppc64el"}};
	static struct utsname u;
	if (uname(&u) < 0)
		return STR("amd64");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_eq_c(str_c(u.machine), names[i][0]))
			return str_c(names[i][1]);
	return str_c(u.machine);
}

static void release(struct channel_needs *n)
{
	vec_release(&((struct deb_all *)n)->record);
}

const struct needs_ops deb_needs = {
	.size = sizeof(struct deb_all),
	.cmp = pkg_deb_version_cmp,
	.open = deb_needs_open,
	.parse = parse,
	.tell = deb_tell,
	.files = deb_files,
	.prefer = prefer,
	.host = host,
	.release = release,
};
