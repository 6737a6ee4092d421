// SPDX-License-Identifier: Apache-2.0
/* Making an index: records in, everything that repeats kept once, of twins only the .conda. */
#include "channel/index_build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"
#include "channel/scan.h"

#define STRIDE(type) (sizeof(type) / sizeof(uint32_t))

struct index_builder *index_builder_new(int dirfd, const char *path, struct str subdir, struct err *e)
{
	static unsigned serial;
	char *tmp = xasprintf("%s.%d-%u.tmp", path, (int)getpid(), __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED));
	int fd = sys_openat(dirfd, tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0) {
		err_sys(e, "create '%s'", tmp);
		free(tmp);
		return NULL;
	}
	struct index_builder *b = xcalloc(1, sizeof(*b));
	b->dirfd = dirfd;
	b->fd = fd;
	b->path = xstrdup(path);
	b->tmp = tmp;
	b->seed = intern_seed();
	b->last_name = UINT32_MAX;
	b->scratch = b->spec = b->extra = BUF_INIT(64 << 20);
	b->subdir = str_c(str_dup(subdir));
	pool_init(&b->pool);
	cold_init(&b->cold);
	*vec_add(&b->lists) = 0; /* list 0, the empty one */
	*vec_add(&b->lists) = 0;
	return b;
}

void index_builder_free(struct index_builder *b)
{
	if (!b)
		return;
	if (b->tmp)
		(void)sys_unlinkat(b->dirfd, b->tmp, 0);
	cleanup_fd(&b->fd);
	free(b->path);
	free(b->tmp);
	free((char *)(uintptr_t)b->subdir.p);
	pool_release(&b->pool);
	cold_release(&b->cold);
	vec_release(&b->rec);
	vec_release(&b->names);
	vec_release(&b->versions);
	vec_release(&b->specs);
	vec_release(&b->odd);
	vec_release(&b->lists);
	vec_release(&b->words);
	vec_release(&b->removed);
	vec_release(&b->list);
	struct table *tables[] = {&b->name_table,  &b->version_table, &b->spec_table, &b->build_table,
				  &b->extra_table, &b->list_table,    &b->odd_table,  &b->twins};
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		table_release(tables[i]);
	memo_release(&b->memo);
	buf_release(&b->scratch);
	buf_release(&b->spec);
	buf_release(&b->extra);
	free(b);
}

/* What may stand in names, versions and builds: they become parts of file names. */
static int check_part(struct str s, const char *what, struct err *e)
{
	if (s.n > BUILD_FN_MAX)
		return err_new(e, ERR_INPUT, "%s of %zu bytes is too long", what, s.n);
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= 0x20 || s.p[i] == '/' || s.p[i] == '\\' || s.p[i] == 0x7f)
			return err_new(e, ERR_INPUT, "%s '%.*s' holds a character that it may not", what, STR_ARG(s));
	return scan_utf8(s) ? 0 : err_new(e, ERR_INPUT, "%s is not valid UTF-8", what);
}

static int check_room(struct index_builder *b, size_t more, struct err *e)
{
	if (more > BUILD_TEXT_MAX)
		return err_new(e, ERR_INPUT, "text of %zu bytes is too long", more);
	return pool_has_room(&b->pool, more) ? 0 : err_new(e, ERR_LIMIT, "the channel is too large");
}

int build_string(struct index_builder *b, struct str s, uint32_t *ret, struct err *e)
{
	if (check_room(b, s.n, e) < 0)
		return -1;
	*ret = pool_add(&b->pool, s);
	return 0;
}

static int intern_name(struct index_builder *b, struct str s, uint32_t *ret, struct err *e)
{
	uint32_t at, tag;
	if (b->last_name != UINT32_MAX && str_eq(pool_get(&b->pool, b->names.v[b->last_name].str), s)) {
		*ret = b->last_name;
		return 0;
	}
	*ret = table_find(&b->name_table, &b->pool, b->names.v ? &b->names.v->str : NULL, STRIDE(struct ix_name_entry),
			  s, b->seed, &at, &tag);
	if (*ret != UINT32_MAX)
		return 0;
	if (check_part(s, "name", e) < 0 || check_room(b, s.n, e) < 0)
		return -1;
	*ret = (uint32_t)b->names.n;
	vec_push(&b->names, ((struct ix_name_entry){.str = pool_add(&b->pool, s)}));
	table_set(&b->name_table, at, *ret, tag);
	return 0;
}

/* Of a record, too long is as wrong as any. */
static int as_input(struct err *e)
{
	e->code = ERR_INPUT;
	return -1;
}

static int check_version(struct str s, struct err *e)
{
	auto_arena a = ARENA_INIT;
	if (s.n == 0)
		return err_new(e, ERR_INPUT, "record has no version");
	if (check_part(s, "version", e) < 0)
		return -1;
	return pkg_conda.version_parse(&a, s, e) ? 0 : as_input(e);
}

static int intern_version(struct index_builder *b, struct str s, uint32_t *ret, struct err *e)
{
	uint32_t at, tag;
	*ret = table_find(&b->version_table, &b->pool, b->versions.v ? &b->versions.v->str : NULL,
			  STRIDE(struct ix_version_entry), s, b->seed, &at, &tag);
	if (*ret != UINT32_MAX)
		return 0;
	if (check_version(s, e) < 0 || check_room(b, s.n, e) < 0)
		return -1;
	*ret = (uint32_t)b->versions.n;
	vec_push(&b->versions, ((struct ix_version_entry){.str = pool_add(&b->pool, s)}));
	table_set(&b->version_table, at, *ret, tag);
	return 0;
}

static int intern_build(struct index_builder *b, struct str s, uint32_t *ret, struct err *e)
{
	uint32_t at, tag;
	*ret = table_find(&b->build_table, &b->pool, NULL, 0, s, b->seed, &at, &tag);
	if (*ret != UINT32_MAX)
		return 0;
	if (pkg_build_check(s, e) < 0)
		return as_input(e);
	if (check_room(b, s.n, e) < 0)
		return -1;
	*ret = pool_add(&b->pool, s);
	table_set(&b->build_table, at, *ret, tag);
	return 0;
}

int build_name_whole(struct index_builder *b, struct str name, struct err *e)
{
	uint32_t id;
	if (intern_name(b, name, &id, e) < 0)
		return -1;
	b->names.v[id].whole |= IX_WHOLE;
	return 0;
}

/* -- lists ------------------------------------------------------------------------------------------------------- */

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
	       c == '.';
}

/* The name that a spec asks for, in lower case; "" where it asks for no single name (a pattern, a digest). */
static int spec_name_id(struct index_builder *b, struct str s, uint32_t *ret, struct err *e)
{
	char name[BUILD_FN_MAX + 1];
	size_t n = 0;
	while (n < s.n && is_name_char(s.p[n]))
		n++;
	static const char stops[] = " \t=<>!~[;,(";
	bool plain = n > 0 && n < sizeof(name) && (n == s.n || (s.p[n] && strchr(stops, s.p[n])));
	if (!plain && n < s.n) {
		auto_arena a = ARENA_INIT;
		struct err ignored = ERR_INIT;
		const struct spec *parsed = pkg_conda.spec_parse(&a, s, SPEC_DEPENDENCY, &ignored);
		struct str found = parsed ? spec_name(parsed) : STR_NONE;
		n = found.n < sizeof(name) ? found.n : 0;
		if (n > 0)
			memcpy(name, found.p, n);
	} else {
		n = plain ? n : 0;
		if (n > 0)
			memcpy(name, s.p, n);
	}
	for (size_t i = 0; i < n; i++)
		if (name[i] >= 'A' && name[i] <= 'Z')
			name[i] = (char)(name[i] | 0x20);
	return intern_name(b, str_of(name, n), ret, e);
}

void build_list_begin(struct index_builder *b)
{
	vec_clear(&b->list);
}

int build_list_add(struct index_builder *b, struct str spec, struct err *e)
{
	uint32_t at, tag, id;
	spec = str_trim(spec);
	id = table_find(&b->spec_table, &b->pool, b->specs.v ? &b->specs.v->str : NULL, STRIDE(struct ix_spec_entry),
			spec, b->seed, &at, &tag);
	if (id == UINT32_MAX) {
		struct ix_spec_entry s = {0};
		if (!scan_utf8(spec))
			return err_new(e, ERR_INPUT, "dependency is not valid UTF-8");
		if (check_room(b, spec.n, e) < 0 || spec_name_id(b, spec, &s.name, e) < 0)
			return -1;
		struct ix_name_entry *name = &b->names.v[s.name];
		s.str = str_eq(pool_get(&b->pool, name->str), spec) ? name->str : pool_add(&b->pool, spec);
		id = (uint32_t)b->specs.n;
		vec_push(&b->specs, s);
		table_set(&b->spec_table, at, id, tag);
	}
	if (b->list_is_depends)
		b->names.v[b->specs.v[id].name].whole |= IX_NEEDED;
	vec_push(&b->list, id);
	return 0;
}

int build_list_end(struct index_builder *b, uint32_t *ret, struct err *e)
{
	*ret = 0;
	if (b->list.n == 0)
		return 0;
	if (b->list.n > PKG_DEPENDS_MAX)
		return err_new(e, ERR_INPUT, "more than %d dependencies", PKG_DEPENDS_MAX);
	if (b->words.n + b->list.n > BUILD_WORDS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d words of dependencies", BUILD_WORDS_MAX);
	table_reserve_one(&b->list_table);
	size_t bytes = b->list.n * sizeof(uint32_t);
	uint32_t tag = (uint32_t)intern_hash(b->list.v, bytes, b->seed);
	uint32_t at = table_first(&b->list_table, tag);
	for (; b->list_table.slot[at].id1; at = table_next(&b->list_table, at)) {
		uint32_t id = b->list_table.slot[at].id1 - 1;
		uint32_t from = b->lists.v[id];
		if (b->list_table.slot[at].tag == tag && b->lists.v[id + 1] - from == b->list.n &&
		    memcmp(b->words.v + from, b->list.v, bytes) == 0) {
			*ret = id;
			return 0;
		}
	}
	*ret = (uint32_t)b->lists.n - 1;
	vec_reserve(&b->words, b->words.n + b->list.n);
	memcpy(b->words.v + b->words.n, b->list.v, bytes);
	b->words.n += b->list.n;
	vec_push(&b->lists, (uint32_t)b->words.n);
	table_set(&b->list_table, at, *ret, tag);
	return 0;
}

static int list_from_json(struct index_builder *b, struct str raw, uint32_t *ret, struct err *e)
{
	if (raw.n > BUILD_TEXT_MAX)
		return err_new(e, ERR_INPUT, "dependencies of %zu bytes are too long", raw.n);
	buf_clear(&b->scratch);
	buf_put_str(&b->scratch, raw);
	scan_pad(&b->scratch);
	const char *bad = scan_check(buf_str(&b->scratch));
	struct scan s = {.p = b->scratch.p, .end = b->scratch.p + b->scratch.n};
	struct str text;
	if (bad)
		return err_new(e, ERR_INPUT, "list of dependencies: %s", bad);
	build_list_begin(b);
	if (!scan_char(&s, '[', ""))
		return err_new(e, ERR_INPUT, "dependencies are not a list");
	if (scan_peek(&s) == ']')
		return build_list_end(b, ret, e);
	do {
		s.escaped = false;
		if (!scan_string(&s, &text))
			return err_new(e, ERR_INPUT, "a dependency is not a string");
		buf_clear(&b->spec);
		if (s.escaped && scan_unescape(text, &b->spec))
			text = buf_str(&b->spec);
		if (build_list_add(b, text, e) < 0)
			return -1;
	} while (scan_char(&s, ',', ""));
	return build_list_end(b, ret, e);
}

int build_list_json(struct index_builder *b, struct str raw, uint32_t *ret, struct err *e)
{
	*ret = 0;
	if (raw.n == 0 || (raw.n == 2 && raw.p[0] == '[') || str_eq(raw, STR("null")))
		return 0;
	struct memo_slot *m = memo_put(&b->memo, raw, b->seed);
	if (!m->id1) {
		if (list_from_json(b, raw, ret, e) < 0)
			return -1;
		m->id1 = *ret + 1;
	}
	*ret = m->id1 - 1;
	return 0;
}

int build_extra(struct index_builder *b, uint32_t *ret, struct err *e)
{
	*ret = 0;
	if (b->extra.n <= 1)
		return 0;
	uint32_t at, tag;
	struct str text = str_of(b->extra.p + 1, b->extra.n - 1);
	*ret = table_find(&b->extra_table, &b->pool, NULL, 0, text, b->seed, &at, &tag);
	if (*ret != UINT32_MAX)
		return 0;
	buf_put_char(&b->extra, '}');
	scan_pad(&b->extra);
	const char *bad = b->extra.overflow ? "too long" : scan_check(buf_str(&b->extra));
	if (bad)
		return err_new(e, ERR_INPUT, "record: %s", bad);
	text = str_of(b->extra.p + 1, b->extra.n - 2);
	if (check_room(b, text.n, e) < 0)
		return -1;
	*ret = pool_add(&b->pool, text);
	table_set(&b->extra_table, at, *ret, tag);
	return 0;
}

int build_leave_out(struct index_builder *b, struct str fn, const struct err *why, struct err *e)
{
	enum { REASON_MAX = 250 };
	if (why->code != ERR_INPUT) {
		*e = *why;
		return -1;
	}
	if (b->left_out++ > 0)
		return 0;
	auto_buf first = BUF_INIT(BUF_MAX);
	buf_printf(&first, "'%.*s' (%.*s)", STR_ARG(str_head(fn, fn.n < BUILD_FN_MAX ? fn.n : BUILD_FN_MAX)),
		   REASON_MAX, why->msg);
	return build_string(b, buf_str(&first), &b->left_out_first, e);
}

int build_removed(struct index_builder *b, struct str fn, struct err *e)
{
	uint32_t id;
	if (b->removed.n >= BUILD_PACKAGES_MAX)
		return err_new(e, ERR_LIMIT, "more than %d removed files", BUILD_PACKAGES_MAX);
	if (!scan_utf8(fn))
		return err_new(e, ERR_INPUT, "name of a removed file is not valid UTF-8");
	if (build_string(b, fn, &id, e) < 0)
		return -1;
	vec_push(&b->removed, id);
	return 0;
}

/* -- packages ---------------------------------------------------------------------------------------------------- */

static int check_fn(struct str fn, struct err *e)
{
	bool good = fn.n > 0 && fn.n <= BUILD_FN_MAX && fn.p[0] != '.' && scan_utf8(fn);
	for (size_t i = 0; good && i < fn.n; i++)
		good = (unsigned char)fn.p[i] > 0x20 && fn.p[i] != '/' && fn.p[i] != '\\' && fn.p[i] != 0x7f;
	return good ? 0 : err_new(e, ERR_INPUT, "'%.*s' is not the name of a package file", STR_ARG(fn));
}

static bool fn_follows(struct str fn, const struct build_record *r)
{
	struct str ext = r->flags & IX_CONDA ? STR(".conda") : STR(".tar.bz2");
	return fn.n == r->name.n + r->version.n + r->build.n + 2 + ext.n && str_take_str(&fn, r->name) &&
	       str_take_char(&fn, '-') && str_take_str(&fn, r->version) && str_take_char(&fn, '-') &&
	       str_take_str(&fn, r->build) && str_eq(fn, ext);
}

/* The slot of the same package seen before (as a twin or twice), or UINT32_MAX with the place for it set. */
static uint32_t find_twin(struct index_builder *b, const struct ix_hot *h, uint32_t *ret_at, uint32_t *ret_tag)
{
	table_reserve_one(&b->twins);
	uint32_t tag = (uint32_t)intern_hash(h, 3 * sizeof(uint32_t), b->seed);
	uint32_t at = table_first(&b->twins, tag);
	for (; b->twins.slot[at].id1; at = table_next(&b->twins, at)) {
		uint32_t slot = b->twins.slot[at].id1 - 1;
		if (b->twins.slot[at].tag == tag && memcmp(&b->rec.v[slot], h, 3 * sizeof(uint32_t)) == 0)
			return slot;
	}
	*ret_at = at;
	*ret_tag = tag;
	return UINT32_MAX;
}

/* The same for a file whose name does not follow from its record: its stem tells the package apart. */
static int find_odd(struct index_builder *b, struct str fn, struct ix_hot *h, uint32_t *ret, struct err *e)
{
	struct str stem = str_head(fn, fn.n - (h->flags & IX_CONDA ? 6 : 8));
	uint32_t at, tag;
	uint32_t id = table_find(&b->odd_table, &b->pool, b->odd.v ? &b->odd.v->stem : NULL, STRIDE(struct odd_file),
				 stem, b->seed, &at, &tag);
	struct odd_file o = {0};
	if (check_fn(fn, e) < 0 || build_string(b, fn, &o.fn, e) < 0)
		return -1;
	h->flags |= IX_ODD_FILE;
	if (id != UINT32_MAX) {
		*ret = b->odd.v[id].slot;
		if (h->flags & IX_CONDA || !(b->rec.v[*ret].flags & IX_CONDA))
			b->odd.v[id].fn = o.fn;
		return 0;
	}
	if (build_string(b, stem, &o.stem, e) < 0)
		return -1;
	o.slot = (uint32_t)b->rec.n;
	table_set(&b->odd_table, at, (uint32_t)b->odd.n, tag);
	vec_push(&b->odd, o);
	*ret = UINT32_MAX;
	return 0;
}

int build_commit(struct index_builder *b, const struct build_record *r, struct err *e)
{
	struct ix_hot h = {.depends = r->depends,
			   .constrains = r->constrains,
			   .extra = r->extra,
			   .build_number = (uint32_t)r->build_number,
			   .timestamp_low = (uint32_t)r->timestamp,
			   .timestamp_high = (uint16_t)(r->timestamp >> 32),
			   .flags = (uint16_t)r->flags};
	bool same_name = b->last_name != UINT32_MAX &&
			 str_eq(pool_get(&b->pool, b->names.v[b->last_name].str), r->name);
	if (!same_name && pkg_name_check(r->name, e) < 0)
		return as_input(e);
	if (r->build_number > UINT32_MAX || r->timestamp >> 48)
		return err_new(e, ERR_INPUT, "build number or timestamp is too large");
	if (intern_name(b, r->name, &h.name, e) < 0 || intern_version(b, r->version, &h.version, e) < 0 ||
	    intern_build(b, r->build, &h.build, e) < 0)
		return -1;
	b->last_name = h.name;
	uint32_t slot, at = 0, tag = 0;
	bool odd = r->fn.n > 0 && !fn_follows(r->fn, r);
	if (!odd)
		slot = find_twin(b, &h, &at, &tag);
	else if (find_odd(b, r->fn, &h, &slot, e) < 0)
		return -1;
	if (slot == UINT32_MAX) {
		if (b->rec.n >= BUILD_PACKAGES_MAX)
			return err_new(e, ERR_LIMIT, "more than %d packages", BUILD_PACKAGES_MAX);
		slot = (uint32_t)b->rec.n;
		(void)vec_add(&b->rec);
		if (!odd)
			table_set(&b->twins, at, slot, tag);
	} else if (b->rec.v[slot].flags & IX_CONDA && !(h.flags & IX_CONDA)) {
		return 0;
	}
	h.slot = slot;
	b->rec.v[slot] = h;
	return cold_put(b, slot, &r->cold, e);
}

static void extra_member(struct index_builder *b, const char *key, struct str value)
{
	if (value.n == 0)
		return;
	buf_printf(&b->extra, "%s\"%s\":", b->extra.n > 1 ? "," : "", key);
	scan_put_string(&b->extra, value);
}

static int list_from_array(struct index_builder *b, const struct str *v, uint32_t n, uint32_t *ret, struct err *e)
{
	build_list_begin(b);
	for (uint32_t i = 0; i < n; i++)
		if (build_list_add(b, v[i], e) < 0)
			return -1;
	return build_list_end(b, ret, e);
}

int index_builder_record(struct index_builder *b, const struct pkg_record *r, struct err *e)
{
	struct build_record in = {.fn = r->fn,
				  .name = r->name,
				  .version = r->version,
				  .build = r->build,
				  .build_number = r->build_number,
				  .timestamp = r->timestamp_ms,
				  .cold.size = r->size};
	in.flags = (r->track_features.n ? IX_TRACK_FEATURES : 0u) | (r->has_sha256 ? IX_HAS_SHA256 : 0u) |
		   (r->has_md5 ? IX_HAS_MD5 : 0u) | (str_eq(r->noarch, STR("python")) ? IX_NOARCH_PYTHON : 0u) |
		   (r->size ? IX_HAS_SIZE : 0u) | (r->timestamp_ms ? IX_HAS_TIMESTAMP : 0u) |
		   (str_ends(r->fn, STR(".tar.bz2")) ? 0u : IX_CONDA) | (r->is_v3 ? IX_V3 : 0u) |
		   (str_eq(r->subdir, b->subdir) ? IX_SUBDIR : 0u);
	if (r->has_sha256)
		memcpy(in.cold.sha256, r->sha256, SHA256_SIZE);
	if (r->has_md5)
		memcpy(in.cold.md5, r->md5, MD5_SIZE);
	buf_clear(&b->extra);
	buf_put_char(&b->extra, '{');
	extra_member(b, "noarch", r->noarch);
	extra_member(b, "track_features", r->track_features);
	extra_member(b, "features", r->features);
	extra_member(b, "license", r->license);
	extra_member(b, "license_family", r->license_family);
	extra_member(b, "python_site_packages_path", r->python_site_packages_path);
	if (!(in.flags & IX_SUBDIR))
		extra_member(b, "subdir", r->subdir);
	if (r->extra_json.n)
		buf_printf(&b->extra, "%s%.*s", b->extra.n > 1 ? "," : "", (int)r->extra_json.n, r->extra_json.p);
	if (build_extra(b, &in.extra, e) < 0 || list_from_array(b, r->depends, r->depends_n, &in.depends, e) < 0 ||
	    list_from_array(b, r->constrains, r->constrains_n, &in.constrains, e) < 0 || build_commit(b, &in, e) < 0)
		return err_ctx(e, "record '%.*s-%.*s-%.*s'", STR_ARG(r->name), STR_ARG(r->version), STR_ARG(r->build));
	return 0;
}
