// SPDX-License-Identifier: Apache-2.0
/* One shard of CEP 16 (the records of one name, msgpack) into an index builder. */
#include "channel/index_build.h"
#include "channel/msgpack.h"
#include "channel/scan.h"

#define TIMESTAMP_SECONDS_MAX UINT64_C(253402300799)

static int shard_number(struct mp *m, uint64_t *ret, uint32_t flag, struct build_record *r, struct err *e)
{
	struct mp_token t;
	if (mp_read(m, &t, e) < 0)
		return -1;
	if (t.type == MP_NIL)
		return 0;
	if (t.type == MP_FLOAT && t.number >= 0 && t.number < 1e15)
		t = (struct mp_token){.type = MP_UINT, .uint = (uint64_t)t.number};
	if (t.type != MP_UINT || t.uint > INT64_MAX)
		return mp_bad(m, "expected a number that is not negative", e);
	*ret = t.uint;
	r->flags |= flag;
	return 0;
}

/* Raw bytes as CEP 16 says, or hexadecimal text as repodata.json has it. */
static int shard_digest(struct mp *m, uint8_t *out, size_t n, uint32_t flag, struct build_record *r, struct err *e)
{
	struct mp_token t;
	if (mp_read(m, &t, e) < 0)
		return -1;
	if (t.type == MP_NIL)
		return 0;
	if (t.type == MP_BIN && t.bytes.n == n)
		memcpy(out, t.bytes.p, n);
	else if (t.type != MP_STR || !str_unhex(t.bytes, out, n))
		return mp_bad(m, "expected a digest", e);
	r->flags |= flag;
	return 0;
}

static int shard_list(struct index_builder *b, struct mp *m, bool depends, uint32_t *ret, struct err *e)
{
	uint32_t n;
	struct str spec;
	if (mp_array(m, &n, e) < 0)
		return -1;
	const uint8_t *from = m->p;
	build_list_begin(b);
	b->list_is_depends = depends;
	for (uint32_t i = 0; i < n; i++)
		if (mp_str(m, &spec, e) < 0 || build_list_add(b, spec, e) < 0)
			return -1;
	if (m->p - from > BUILD_TEXT_MAX)
		return err_new(e, ERR_INPUT, "dependencies of %td bytes are too long", m->p - from);
	return build_list_end(b, ret, e);
}

static int shard_extra(struct index_builder *b, struct mp *m, struct str key, struct build_record *r, struct err *e)
{
	size_t before = b->extra.n;
	if (before > 1)
		buf_put_char(&b->extra, ',');
	scan_put_string(&b->extra, key);
	buf_put_char(&b->extra, ':');
	size_t at = b->extra.n;
	if (mp_json(m, &b->extra, e) < 0)
		return -1;
	struct str value = str_skip(buf_str(&b->extra), at);
	bool subdir = str_eq(key, STR("subdir")) && value.n == b->subdir.n + 2 &&
		      str_eq(str_head(str_skip(value, 1), value.n - 2), b->subdir);
	if (str_eq(value, STR("null")) || subdir) {
		r->flags |= subdir ? IX_SUBDIR : 0u;
		buf_truncate(&b->extra, before);
	} else if (str_eq(key, STR("noarch")) && str_eq(value, STR("\"python\""))) {
		r->flags |= IX_NOARCH_PYTHON;
	} else if (str_eq(key, STR("track_features")) && !str_eq(value, STR("\"\"")) && !str_eq(value, STR("[]"))) {
		r->flags |= IX_TRACK_FEATURES;
	}
	return 0;
}

/* What groups of optional dependencies (CEP 44) name is fetched with the rest: whether a group is asked for shows later. */
static int shard_groups(struct index_builder *b, struct mp m, struct err *e)
{
	uint32_t n, ignored;
	struct str group;
	if (mp_map(&m, &n, e) < 0)
		return -1;
	int rc;
	while ((rc = mp_key(&m, &n, &group, e)) > 0)
		if (shard_list(b, &m, true, &ignored, e) < 0)
			return -1;
	return rc;
}

static int shard_member(struct index_builder *b, struct mp *m, struct str key, struct build_record *r, struct err *e)
{
	if (str_eq(key, STR("name")))
		return mp_str(m, &r->name, e);
	if (str_eq(key, STR("version")))
		return mp_str(m, &r->version, e);
	if (str_eq(key, STR("build")))
		return mp_str(m, &r->build, e);
	if (str_eq(key, STR("build_number")))
		return shard_number(m, &r->build_number, 0, r, e);
	if (str_eq(key, STR("timestamp")))
		return shard_number(m, &r->timestamp, IX_HAS_TIMESTAMP, r, e);
	if (str_eq(key, STR("indexed_timestamp")))
		return shard_number(m, &r->cold.indexed_ms, IX_HAS_INDEXED, r, e);
	if (str_eq(key, STR("size")))
		return shard_number(m, &r->cold.size, IX_HAS_SIZE, r, e);
	if (str_eq(key, STR("sha256")))
		return shard_digest(m, r->cold.sha256, SHA256_SIZE, IX_HAS_SHA256, r, e);
	if (str_eq(key, STR("md5")))
		return shard_digest(m, r->cold.md5, MD5_SIZE, IX_HAS_MD5, r, e);
	if (str_eq(key, STR("depends")))
		return shard_list(b, m, true, &r->depends, e);
	if (str_eq(key, STR("constrains")))
		return shard_list(b, m, false, &r->constrains, e);
	if (str_eq(key, STR("fn")) || str_eq(key, STR("url")) || str_eq(key, STR("channel")) || str_eq(key, STR("v3")))
		return mp_skip(m, e);
	if (str_eq(key, STR("extra_depends")) && shard_groups(b, *m, e) < 0)
		return -1;
	return shard_extra(b, m, key, r, e);
}

static int take_record(struct index_builder *b, struct mp *m, struct str name, struct str fn, uint32_t flags,
		       struct err *e)
{
	uint32_t n;
	struct build_record r = {.fn = fn, .flags = flags};
	if (str_ends(fn, STR(".conda")))
		r.flags |= IX_CONDA;
	else if (!str_ends(fn, STR(".tar.bz2")))
		return mp_skip(m, e); /* a kind of package that nobody can install yet */
	buf_clear(&b->extra);
	buf_put_char(&b->extra, '{');
	if (mp_map(m, &n, e) < 0)
		return -1;
	struct str key;
	int rc;
	while ((rc = mp_key(m, &n, &key, e)) > 0)
		if (shard_member(b, m, key, &r, e) < 0)
			return -1;
	if (rc < 0)
		return -1;
	if (r.timestamp > 0 && r.timestamp <= TIMESTAMP_SECONDS_MAX) {
		r.timestamp *= 1000;
		r.flags |= IX_SECONDS;
	}
	if (name.n > 0 && !str_eq(r.name, name))
		return err_new(e, ERR_INPUT, "'%.*s' in the shard of '%.*s'", STR_ARG(r.name), STR_ARG(name));
	return build_extra(b, &r.extra, e) < 0 ? -1 : build_commit(b, &r, e);
}

/* A record that is wrong in itself is left out, unless what is wrong is that it has no end. */
static int shard_record(struct index_builder *b, struct mp *m, struct str name, struct str fn, uint32_t flags,
			struct err *e)
{
	struct mp from = *m;
	struct err why = ERR_INIT;
	if (take_record(b, m, name, fn, flags, &why) == 0)
		return 0;
	*m = from;
	return mp_skip(m, e) < 0 ? -1 : build_leave_out(b, fn, &why, e);
}

static int shard_records(struct index_builder *b, struct mp *m, struct str name, struct str v3_ext, struct err *e)
{
	uint32_t n;
	if (mp_map(m, &n, e) < 0)
		return -1;
	struct str fn;
	int rc;
	while ((rc = mp_key(m, &n, &fn, e)) > 0) {
		auto_buf full = BUF_INIT(1 << 20);
		if (v3_ext.n) {
			buf_put_str(&full, fn);
			buf_put_char(&full, '.');
			buf_put_str(&full, v3_ext);
			fn = buf_str(&full);
		}
		if (shard_record(b, m, name, fn, v3_ext.n ? IX_V3 : 0, e) < 0)
			return err_ctx(e, "'%.*s'", STR_ARG(fn));
	}
	return rc;
}

static int shard_v3(struct index_builder *b, struct mp *m, struct str name, struct err *e)
{
	uint32_t n;
	struct str ext;
	if (mp_map(m, &n, e) < 0)
		return -1;
	int rc;
	while ((rc = mp_key(m, &n, &ext, e)) > 0) {
		bool known = str_eq(ext, STR("conda")) || str_eq(ext, STR("tar.bz2"));
		if ((known ? shard_records(b, m, name, ext, e) : mp_skip(m, e)) < 0)
			return -1;
	}
	return rc;
}

static int shard_removed(struct index_builder *b, struct mp *m, struct err *e)
{
	uint32_t n;
	struct str fn;
	if (mp_array(m, &n, e) < 0)
		return -1;
	for (uint32_t i = 0; i < n; i++)
		if (mp_str(m, &fn, e) < 0 || build_removed(b, fn, e) < 0)
			return -1;
	return 0;
}

static int shard_document(struct index_builder *b, struct mp *m, struct str name, struct err *e)
{
	uint32_t n;
	if (mp_map(m, &n, e) < 0)
		return -1;
	struct str key;
	int more;
	while ((more = mp_key(m, &n, &key, e)) > 0) {
		int rc;
		if (str_eq(key, STR("packages")) || str_eq(key, STR("packages.conda")))
			rc = shard_records(b, m, name, STR_NONE, e);
		else if (str_eq(key, STR("v3")))
			rc = shard_v3(b, m, name, e);
		else if (str_eq(key, STR("removed")))
			rc = shard_removed(b, m, e);
		else
			rc = mp_skip(m, e);
		if (rc < 0)
			return -1;
	}
	if (more < 0)
		return -1;
	return m->p == m->end ? 0 : mp_bad(m, "more bytes after the end of the shard", e);
}

int index_builder_shard(struct index_builder *b, struct str name, struct str msgpack, struct err *e)
{
	struct mp m = mp_of(msgpack, "shard");
	b->partial = true;
	if (shard_document(b, &m, name, e) < 0 || build_name_whole(b, name, e) < 0)
		return err_ctx(e, "shard of '%.*s'", STR_ARG(name));
	return 0;
}
