// SPDX-License-Identifier: Apache-2.0
/*
 * What packages of an RPM repository need, as dnf asks libsolv: requires, and what is recommended and supplemented, against names,
 * provides and files; conflicts and obsoletes. Files that primary does not list are looked up in filelists, where one is asked for.
 *
 * On x86_64 the i686 packages can be installed beside those of the same name; where both meet a need, they come last.
 */
#include <stdlib.h>
#include <sys/utsname.h>

#include "channel/needs.h"
#include "channel/rpm_make.h"

enum { REQUIRES, RECOMMENDS, SUPPLEMENTS, CONFLICTS, OBSOLETES, PROVIDES, LISTS, NO_LIST = LISTS };
static const char *const lists[] = {"rpm:requires",  "rpm:recommends", "rpm:supplements",
				    "rpm:conflicts", "rpm:obsoletes",  "rpm:provides"};
enum { ENTRIES_MAX = 1 << 24, CLASS_MAIN = 0, CLASS_SECOND = 1 };

struct rpm_entry {
	const struct pkg_need *need; /* of one name, or by rich_of */
	struct str rich;	     /* its text, where it is a rich one */
	uint8_t list;
};
struct rpm_record { /* by the order of adding */
	struct str path, url, pkgid;
	uint64_t size;
	struct digest_value digest;
	size_t entry, entries;
};
/* A package that is wished for where another one is there. */
struct rpm_supplement {
	uint32_t package; /* the other one */
	uint32_t wished;  /* and after indexing its number */
	size_t entry;
};
struct rpm_all {
	struct channel_needs base;
	VEC(struct rpm_record) record;
	VEC(struct rpm_entry) entry;
	VEC(struct rpm_supplement) supplement; /* by package */
	struct map interned;
	/* while a record is read: */
	uint8_t list;
	bool in_file;
	struct map missing;  /* paths that are asked for and not in primary → 1 */
	struct map by_pkgid; /* → order of adding + 1 */
};

static struct rpm_all *all_of(const struct channel_needs *n)
{
	return (struct rpm_all *)n;
}

static struct rpm_record *record_of(const struct channel_needs *n, uint32_t package)
{
	return &all_of(n)->record.v[n->package.v[package].added];
}

/* Names come again and again. */
static struct str intern(struct rpm_all *d, struct str s)
{
	const uint64_t *held = map_get(&d->interned, s);
	if (held)
		return str_of((const char *)(uintptr_t)*held, s.n);
	struct str copy = arena_str(&d->base.arena, s);
	*map_put(&d->interned, copy) = (uint64_t)(uintptr_t)copy.p;
	return copy;
}

/* -- reading -------------------------------------------------------------------------------------------------------- */

static struct str evr_of(struct rpm_all *d, struct str epoch, struct str version, struct str release)
{
	auto_buf b = BUF_INIT(PKG_TEXT_MAX);
	if (epoch.n && !str_eq_c(epoch, "0"))
		buf_printf(&b, "%.*s:", STR_ARG(epoch));
	buf_put_str(&b, version);
	if (release.n)
		buf_printf(&b, "-%.*s", STR_ARG(release));
	return intern(d, buf_str(&b));
}

static const struct pkg_range *range_of(struct rpm_all *d, const char *const *attributes)
{
	static const struct {
		const char *flags;
		enum pkg_range_op op;
	} ops[] = {{"EQ", PKG_EXACTLY}, {"LT", PKG_BELOW}, {"GT", PKG_ABOVE}, {"LE", PKG_UP_TO}, {"GE", PKG_FROM}};
	struct str flags = rpm_xml_attribute(attributes, "flags");
	for (size_t i = 0; i < 5; i++) {
		if (!str_eq_c(flags, ops[i].flags))
			continue;
		struct pkg_range *r = arena_new(&d->base.arena, struct pkg_range);
		*r = (struct pkg_range){.op = ops[i].op,
					.version = evr_of(d, rpm_xml_attribute(attributes, "epoch"),
							  rpm_xml_attribute(attributes, "ver"),
							  rpm_xml_attribute(attributes, "rel"))};
		return r;
	}
	return NULL;
}

static int add_entry(struct rpm_all *d, const char *const *attributes, struct err *e)
{
	struct str name = rpm_xml_attribute(attributes, "name");
	/* rpm's own features, which every rpm of today has */
	if (!name.n || str_starts(name, STR("rpmlib(")))
		return 0;
	if (d->entry.n >= ENTRIES_MAX)
		return err_new(e, ERR_LIMIT, "more than %d dependencies", ENTRIES_MAX);
	if (d->list == PROVIDES) {
		const struct pkg_range *r = range_of(d, attributes);
		needs_provide(&d->base, intern(d, name), r && r->op == PKG_EXACTLY ? r->version : STR_NONE);
		return 0;
	}
	struct rpm_entry x = {.list = d->list};
	if (name.p[0] == '(') {
		x.rich = intern(d, name);
	} else {
		struct pkg_need *f = arena_new(&d->base.arena, struct pkg_need);
		*f = (struct pkg_need){.op = PKG_NEED_NAME, .name = intern(d, name), .range = range_of(d, attributes)};
		x.need = f;
	}
	vec_push(&d->entry, x);
	return 0;
}

static int record_start(void *ctx, struct rpm_xml *x, struct str name, const char *const *attributes, struct err *e)
{
	struct rpm_all *d = ctx;
	if (rpm_xml_depth(x) == 3) {
		d->list = NO_LIST;
		for (uint8_t i = 0; i < LISTS; i++)
			if (str_eq_c(name, lists[i]))
				d->list = i;
		d->in_file = str_eq_c(name, "file");
		if (d->in_file)
			rpm_xml_want_text(x);
	}
	return rpm_xml_depth(x) == 4 && d->list != NO_LIST && str_eq_c(name, "rpm:entry") ? add_entry(d, attributes, e)
											  : 0;
}

static int record_end(void *ctx, struct rpm_xml *x, struct str name, struct err *e)
{
	struct rpm_all *d = ctx;
	(void)name, (void)e;
	if (rpm_xml_depth(x) == 3 && d->in_file)
		needs_provide(&d->base, intern(d, rpm_xml_text(x)), STR_NONE);
	return 0;
}

static bool is_second(const struct channel_needs *n, struct str arch)
{
	return str_eq_c(n->platform, "x86_64") && arch.n == 4 && arch.p[0] == 'i' && str_ends(arch, STR("86"));
}

static bool is_here(const struct channel_needs *n, struct str arch)
{
	return str_eq(arch, n->platform) || str_eq_c(arch, "noarch") || is_second(n, arch) ||
	       (arch.n == 4 && n->platform.n == 4 && arch.p[0] == 'i' && n->platform.p[0] == 'i' &&
		str_ends(arch, STR("86")) && str_ends(n->platform, STR("86")));
}

static int add_record(void *ctx, const struct rpm_package *p, struct err *e)
{
	struct rpm_all *d = ctx;
	struct arena *a = &d->base.arena;
	auto_arena item_arena = ARENA_INIT;
	if (!is_here(&d->base, p->arch))
		return 0;
	struct channel_item item = rpm_item(&item_arena, p);
	struct needs_package x = {.c = {.name = intern(d, p->name),
					.version = intern(d, item.version),
					.platform = intern(d, p->arch),
					.key = arena_str(a, p->path)},
				  .class = is_second(&d->base, p->arch) ? CLASS_SECOND : CLASS_MAIN};
	if (needs_add(&d->base, &x, e) < 0)
		return -1;
	struct rpm_record r = {.path = x.c.key,
			       .url = p->url.n ? arena_str(a, p->url) : STR_NONE,
			       .pkgid = arena_str(a, p->pkgid),
			       .size = p->size,
			       .digest = p->digest,
			       .entry = d->entry.n};
	const struct rpm_xml_handler h = {record_start, record_end, d};
	auto_ptr(istream) in = istream_mem(p->raw, "primary");
	if (rpm_xml_read(in, &h, e) < 0)
		return -1;
	r.entries = d->entry.n - r.entry;
	vec_push(&d->record, r);
	*map_put(&d->by_pkgid, r.pkgid) = d->record.n;
	return 0;
}

/* -- files that primary does not list --------------------------------------------------------------------------------- */

static void miss(struct rpm_all *d, const struct pkg_need *f, unsigned depth)
{
	if (!f || depth > PKG_NEED_DEPTH_MAX)
		return;
	if (f->op == PKG_NEED_NAME && str_starts(f->name, STR("/")))
		*map_put(&d->missing, f->name) = 1;
	miss(d, f->left, depth + 1);
	miss(d, f->right, depth + 1);
	miss(d, f->otherwise, depth + 1);
}

static void find_missing(struct rpm_all *d)
{
	vec_foreach(x, &d->entry)
		miss(d, x->need, 0);
	vec_foreach(p, &d->base.provided)
		(void)map_remove(&d->missing, p->name);
}

struct listing {
	struct rpm_all *d;
	uint32_t package; /* by the order of adding */
};

static int file_start(void *ctx, struct rpm_xml *x, struct str name, const char *const *attributes, struct err *e)
{
	(void)ctx, (void)attributes, (void)e;
	if (rpm_xml_depth(x) == 2 && str_eq_c(name, "file"))
		rpm_xml_want_text(x);
	return 0;
}

static int file_end(void *ctx, struct rpm_xml *x, struct str name, struct err *e)
{
	struct listing *l = ctx;
	(void)e;
	if (rpm_xml_depth(x) == 2 && str_eq_c(name, "file") && map_get(&l->d->missing, rpm_xml_text(x)))
		vec_push(&l->d->base.provided,
			 ((struct needs_provided){intern(l->d, rpm_xml_text(x)), STR_NONE, l->package}));
	return 0;
}

static int read_list(void *ctx, struct str pkgid, struct str raw, struct err *e)
{
	struct rpm_all *d = ctx;
	const uint64_t *place = map_get(&d->by_pkgid, pkgid);
	if (!place)
		return 0;
	struct listing l = {d, (uint32_t)*place - 1};
	const struct rpm_xml_handler h = {file_start, file_end, &l};
	auto_ptr(istream) in = istream_mem(raw, "filelists");
	return rpm_xml_read(in, &h, e);
}

/* -- supplements ---------------------------------------------------------------------------------------------------- */

static int cmp_supplement(const void *a, const void *b)
{
	const struct rpm_supplement *x = a, *y = b;
	if (x->package != y->package)
		return x->package < y->package ? -1 : 1;
	return (x->entry > y->entry) - (x->entry < y->entry);
}

/* Where the package that is asked about is there, so that the rest decides: of "a and b" the first, of "a or b" each. */
static void supplement(struct rpm_all *d, const struct pkg_need *f, uint32_t wished, size_t entry, unsigned depth)
{
	auto_arena a = ARENA_INIT;
	if (depth > PKG_NEED_DEPTH_MAX)
		return;
	if (f->op == PKG_NEED_AND || f->op == PKG_NEED_WITH || f->op == PKG_NEED_WITHOUT || f->op == PKG_NEED_OR)
		supplement(d, f->left, wished, entry, depth + 1);
	if (f->op == PKG_NEED_OR)
		supplement(d, f->right, wished, entry, depth + 1);
	if (f->op != PKG_NEED_NAME)
		return;
	struct channel_set s = needs_find(&d->base, &a, f, true);
	for (size_t i = 0; i < s.n; i++)
		vec_push(&d->supplement, ((struct rpm_supplement){s.v[i], wished, entry}));
}

static void index_supplements(struct rpm_all *d)
{
	for (uint32_t i = 0; d->base.weak && i < d->base.package.n; i++) {
		const struct rpm_record *r = record_of(&d->base, i);
		for (size_t k = r->entry; k < r->entry + r->entries; k++)
			if (d->entry.v[k].list == SUPPLEMENTS && d->entry.v[k].need)
				supplement(d, d->entry.v[k].need, i, k, 0);
	}
	vec_sort(&d->supplement, cmp_supplement);
}

/* -- opening -------------------------------------------------------------------------------------------------------- */

static void read_rich(struct rpm_all *d)
{
	vec_foreach(x, &d->entry) {
		struct err ignored = ERR_INIT;
		if (x->rich.n && pkg_rpm_need_parse(&d->base.arena, x->rich, &x->need, &ignored) < 0)
			x->need = NULL;
	}
}

static int rpm_needs_open(struct channel_needs *n, int folder_fd, const struct channel_walk_opts *from,
			  const struct channel_needs_opts *o, struct err *e)
{
	struct rpm_all *d = all_of(n);
	struct rpm_repomd r;
	auto_ptr(istream) in = NULL;
	auto_ptr(istream) files = NULL;
	(void)o;
	int rc = rpm_repomd_read(folder_fd, from->keyring, &n->arena, &r, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_NOT_FOUND, "there is no '" RPM_REPOMD "'");
	const struct rpm_data *primary = rpm_repomd_find(&r, "primary"), *list = rpm_repomd_find(&r, "filelists");
	if (!primary)
		return err_new(e, ERR_INPUT, "'" RPM_REPOMD "' names no primary metadata");
	if (rpm_data_open(folder_fd, primary, &in, e) < 0 || rpm_primary_read(in, NULL, add_record, d, e) < 0)
		return -1;
	read_rich(d);
	find_missing(d);
	if (d->missing.n && list &&
	    (rpm_data_open(folder_fd, list, &files, e) < 0 ||
	     rpm_list_read(files, "filelists", NULL, read_list, d, e) < 0))
		return -1;
	needs_index(n);
	index_supplements(d);
	return 0;
}

/* -- asking --------------------------------------------------------------------------------------------------------- */

static const struct pkg_need *exactly(struct arena *a, struct str name, struct str version)
{
	struct pkg_range *r = arena_new(a, struct pkg_range);
	struct pkg_need *f = arena_new(a, struct pkg_need);
	*r = (struct pkg_range){.op = PKG_EXACTLY, .version = version};
	*f = (struct pkg_need){.op = PKG_NEED_NAME, .name = name, .range = version.n ? r : NULL};
	return f;
}

/* dnf's other ways to name a package: "name-version-release.arch", without the architecture, without the release. */
static const struct pkg_need *by_nevra(struct channel_needs *n, struct arena *a, struct str text)
{
	ptrdiff_t dot = str_rfind(text, '.');
	struct str arch = dot > 0 ? str_skip(text, (size_t)dot + 1) : STR_NONE;
	if (arch.n && is_here(n, arch))
		text = str_head(text, (size_t)dot);
	if (map_get(&n->by_name, text))
		return exactly(a, text, STR_NONE);
	for (size_t at = text.n, dashes = 0; at-- > 0 && dashes < 2;) {
		if (text.p[at] != '-')
			continue;
		dashes++;
		struct str name = str_head(text, at);
		if (!map_get(&n->by_name, name))
			continue;
		const struct pkg_need *f = exactly(a, name, str_skip(text, at + 1));
		auto_arena found = ARENA_INIT;
		if (needs_find(n, &found, f, false).n)
			return f;
	}
	return NULL;
}

static int parse(struct channel_needs *n, struct arena *a, struct str text, const struct pkg_need **ret, struct err *e)
{
	auto_arena found = ARENA_INIT;
	if (pkg_rpm_need_parse(a, text, ret, e) < 0)
		return -1;
	if ((*ret)->op == PKG_NEED_NAME && !(*ret)->range && needs_find(n, &found, *ret, true).n == 0) {
		const struct pkg_need *f = by_nevra(n, a, str_trim(text));
		if (f)
			*ret = f;
	}
	return 0;
}

/* -- telling -------------------------------------------------------------------------------------------------------- */

static size_t first_supplement(const struct rpm_all *d, uint32_t package)
{
	size_t low = 0, high = d->supplement.n;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (d->supplement.v[mid].package < package)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* "name = version if the rest": the rest holds where the supplement's formula does. */
static int tell_supplements(struct rpm_all *d, uint32_t package, channel_need_fn *fn, void *ctx, struct err *e)
{
	for (size_t i = first_supplement(d, package); i < d->supplement.n && d->supplement.v[i].package == package;
	     i++) {
		const struct rpm_supplement *s = &d->supplement.v[i];
		const struct channel_candidate *c = &d->base.package.v[s->wished].c;
		struct pkg_need *wish = arena_new(&d->base.arena, struct pkg_need);
		*wish = (struct pkg_need){.op = PKG_NEED_IF,
					  .left = exactly(&d->base.arena, c->name, c->version),
					  .right = d->entry.v[s->entry].need};
		if (needs_tell(&d->base, wish, CHANNEL_WISH, fn, ctx, e) < 0)
			return -1;
	}
	return 0;
}

static int tell_list(struct rpm_all *d, uint32_t package, uint8_t list, channel_need_fn *fn, void *ctx, struct err *e)
{
	const struct rpm_record *r = record_of(&d->base, package);
	for (size_t i = r->entry; i < r->entry + r->entries; i++) {
		const struct rpm_entry *x = &d->entry.v[i];
		int rc = 0;
		if (x->list != list)
			continue;
		if (!x->need)
			rc = list == REQUIRES ? needs_tell_never(NULL, fn, ctx, e) : 0;
		else if (list == REQUIRES || list == RECOMMENDS)
			rc = needs_tell(&d->base, x->need, list == REQUIRES ? CHANNEL_NEED : CHANNEL_WISH, fn, ctx, e);
		else
			/* what obsoletes a name means packages of that name, not what provides it */
			rc = needs_tell_ban(&d->base, x->need, package, list == CONFLICTS, fn, ctx, e);
		if (rc < 0)
			return -1;
	}
	return 0;
}

static int rpm_tell(struct channel_needs *n, uint32_t package, channel_need_fn *fn, void *ctx, struct err *e)
{
	struct rpm_all *d = all_of(n);
	if (tell_list(d, package, REQUIRES, fn, ctx, e) < 0 || tell_list(d, package, CONFLICTS, fn, ctx, e) < 0 ||
	    tell_list(d, package, OBSOLETES, fn, ctx, e) < 0)
		return -1;
	if (!n->weak)
		return 0;
	return tell_list(d, package, RECOMMENDS, fn, ctx, e) < 0 ? -1 : tell_supplements(d, package, fn, ctx, e);
}

static int rpm_files(struct channel_needs *n, uint32_t package, channel_item_fn *fn, void *ctx, struct err *e)
{
	const struct rpm_record *r = record_of(n, package);
	const struct channel_candidate *c = &n->package.v[package].c;
	const struct channel_item item = {.path = r->path,
					  .url = r->url,
					  .size = r->size,
					  .digest = r->digest,
					  .what = CHANNEL_FILE_PACKAGE,
					  .name = c->name,
					  .version = c->version,
					  .platform = c->platform};
	return fn(ctx, &item, e);
}

/* -- preference ----------------------------------------------------------------------------------------------------- */

struct preferring {
	const struct channel_needs *n;
	struct str name;
	const uint32_t *v;
	size_t count;
};

/* Whether another one of the set takes its place. */
static bool is_obsolete(const struct preferring *p, uint32_t package)
{
	const struct rpm_all *d = all_of(p->n);
	const struct channel_candidate *c = &p->n->package.v[package].c;
	for (size_t i = 0; i < p->count; i++) {
		const struct rpm_record *r = record_of(p->n, p->v[i]);
		if (p->n->package.v[p->v[i]].c.first == c->first)
			continue;
		for (size_t k = r->entry; k < r->entry + r->entries; k++) {
			const struct rpm_entry *x = &d->entry.v[k];
			if (x->list == OBSOLETES && x->need && x->need->op == PKG_NEED_NAME &&
			    str_eq(x->need->name, c->name) &&
			    pkg_range_has(x->need->range, c->version, pkg_rpm_version_cmp))
				return true;
		}
	}
	return false;
}

static int cmp_preference(const void *a, const void *b, void *ctx)
{
	const struct preferring *p = ctx;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	const struct needs_package *v = p->n->package.v;
	if (v[x].class != v[y].class)
		return v[x].class < v[y].class ? -1 : 1;
	bool own_x = str_eq(v[x].c.name, p->name), own_y = str_eq(v[y].c.name, p->name);
	if (own_x != own_y)
		return own_x ? -1 : 1;
	/* an older version goes behind all newest ones */
	bool old_x = v[x].c.first != x, old_y = v[y].c.first != y;
	if (old_x != old_y)
		return old_x ? 1 : -1;
	if (old_x)
		return (x > y) - (x < y);
	return (v[x].added > v[y].added) - (v[x].added < v[y].added);
}

static void prefer(const struct channel_needs *n, struct str name, uint32_t *v, size_t count)
{
	enum { LOOK_MAX = 200 };
	auto_free uint32_t *sorted = xreallocarray(NULL, count, sizeof(*v));
	struct preferring p = {n, name, sorted, count};
	size_t k = 0;
	qsort_r(v, count, sizeof(*v), cmp_preference, &p);
	memcpy(sorted, v, count * sizeof(*v));
	for (int last = 0; last < 2 && count <= LOOK_MAX; last++)
		for (size_t i = 0; i < count; i++)
			if (is_obsolete(&p, sorted[i]) == (last == 1))
				v[k++] = sorted[i];
}

static struct str host(void)
{
	static struct utsname u;
	return uname(&u) < 0 ? STR("x86_64") : str_c(u.machine);
}

static void release(struct channel_needs *n)
{
	struct rpm_all *d = all_of(n);
	vec_release(&d->record);
	vec_release(&d->entry);
	vec_release(&d->supplement);
	map_release(&d->interned);
	map_release(&d->missing);
	map_release(&d->by_pkgid);
}

const struct needs_ops rpm_needs = {
	.size = sizeof(struct rpm_all),
	.cmp = pkg_rpm_version_cmp,
	.open = rpm_needs_open,
	.parse = parse,
	.tell = rpm_tell,
	.files = rpm_files,
	.prefer = prefer,
	.host = host,
	.release = release,
};
