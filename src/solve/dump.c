// SPDX-License-Identifier: Apache-2.0
/* A solve as a file, and back: doc/formats/solve-test.md. */
#include "base/fs.h"
#include "solve/run.h"

enum { FORMAT = 1, CHANNELS_MAX = 1024, RECORDS_MAX = 2000000 };

static const char *const priority_name[] = {"strict", "flexible", "disabled"};
static const char *const strategy_name[] = {"highest", "lowest", "lowest-direct"};

/* -- out ---------------------------------------------------------------------------------------------------------- */

static void put_records(struct jw *w, const char *key, const struct pkg_record *r, size_t n)
{
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < n; i++) {
		jw_object(w);
		pkg_record_write(w, &r[i]);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void put_request(struct jw *w, const struct solve_request *r)
{
	jw_key(w, "request");
	jw_object(w);
	jw_kv_list(w, "specs", r->specs, r->specs_n);
	jw_kv_list(w, "constraints", r->constraints, r->constraints_n);
	jw_kv_list(w, "update", r->update_names, r->update_names_n);
	jw_kv_bool(w, "update_all", r->update_all);
	jw_kv_c(w, "priority", priority_name[r->priority]);
	jw_kv_c(w, "strategy", strategy_name[r->strategy]);
	jw_kv_int(w, "exclude_newer_ms", r->exclude_newer_ms);
	jw_object_end(w);
}

/* All packages of the names that the solve came across, of one index. */
static int put_channel(struct jw *w, const struct world *p, uint32_t index, struct err *e)
{
	const struct channel_index *ci = &p->r->indexes[index];
	jw_object(w);
	jw_kv_str(w, "url", ci->channel.shown);
	jw_kv_str(w, "name", ci->channel.name);
	jw_kv_str(w, "subdir", ci->subdir);
	jw_key(w, "packages");
	jw_array(w);
	for (size_t i = 0; i < p->name.n && ci->index; i++) {
		struct ix_name in;
		struct ix_pkg first;
		if (!p->name.v[i].loaded || !index_find_name(ci->index, p->name.v[i].text, &in))
			continue;
		uint32_t n = index_packages(ci->index, in, &first);
		for (uint32_t k = 0; k < n; k++) {
			auto_arena tmp = ARENA_INIT;
			struct pkg_record r;
			if (index_record(ci->index, (struct ix_pkg){first.n + k}, &ci->channel, &tmp, &r, e) < 0)
				return -1;
			r.url = r.channel = STR_NONE; /* may hold what is nobody's business */
			jw_object(w);
			pkg_record_write(w, &r);
			jw_object_end(w);
		}
	}
	jw_array_end(w);
	jw_object_end(w);
	return 0;
}

static void put_expect(struct jw *w, const struct solve_result *res, int rc)
{
	jw_key(w, "expect");
	jw_object(w);
	jw_kv_bool(w, "solved", rc == 0);
	if (rc == 0) {
		jw_key(w, "packages");
		jw_array(w);
		for (size_t i = 0; i < res->packages_n; i++) {
			const struct pkg_record *r = &res->packages[i].record;
			auto_buf b = BUF_INIT(BUF_MAX);
			buf_printf(&b, "%.*s %.*s %.*s", STR_ARG(r->name), STR_ARG(r->version), STR_ARG(r->build));
			jw_str(w, buf_str(&b));
		}
		jw_array_end(w);
	}
	jw_object_end(w);
}

static int put_all(const struct world *p, const struct solve_result *res, int rc, struct buf *b, struct err *e)
{
	struct jw w = JW_INIT(b, 1);
	jw_object(&w);
	jw_kv_int(&w, "slipway_solve_test", FORMAT);
	put_request(&w, p->r);
	put_records(&w, "virtual", p->r->virtuals, p->r->virtuals_n);
	put_records(&w, "installed", p->r->installed, p->r->installed_n);
	jw_key(&w, "channels");
	jw_array(&w);
	for (uint32_t i = 0; i < p->r->indexes_n; i++)
		if (put_channel(&w, p, i, e) < 0)
			return -1;
	jw_array_end(&w);
	put_expect(&w, res, rc);
	jw_object_end(&w);
	buf_put_c(b, "\n");
	return b->overflow ? err_new(e, ERR_LIMIT, "the solve is too large to be written to a file") : 0;
}

int solve_dump(const struct solve_request *r, const struct solve_result *res, int rc, struct buf *b, struct err *e)
{
	struct world p;
	struct run run = {0};
	struct err ignored = ERR_INIT;
	auto_arena tmp = ARENA_INIT;
	int ret = world_init(&p, r, &tmp, e);
	if (ret == 0) {
		auto_free uint32_t *want = xcalloc(p.requests + 1u, sizeof(*want));
		for (uint32_t i = 0; i < p.requests; i++)
			want[i] = i;
		/* the same steps again, to see which names they come across */
		(void)run_solve(&run, &p, want, p.requests, false, r->max_conflicts ? r->max_conflicts : 1000000,
				&ignored);
		run_release(&run);
		ret = put_all(&p, res, rc, b, e);
	}
	world_release(&p);
	return ret;
}

/* -- in ----------------------------------------------------------------------------------------------------------- */

struct solve_replay {
	struct arena a;
	struct solve_request request;
	const struct json *expect;
	struct channel_index *ci;
	size_t ci_n;
};

static int fail_at(const struct json *j, struct err *e, const char *what)
{
	return err_new(e, ERR_INPUT, "%s: offset %zu: %s", j->where, j->offset, what);
}

static int read_texts(struct arena *a, const struct json *j, const char *key, const struct str **ret, size_t *ret_n,
		      struct err *e)
{
	const struct json *list = NULL;
	if (json_opt_array(j, key, &list, e) < 0)
		return -1;
	if (!list)
		return 0;
	struct str *s = arena_array(a, struct str, list->n + 1u);
	for (uint32_t i = 0; i < list->n; i++) {
		if (list->item[i].type != JSON_STRING)
			return fail_at(&list->item[i], e, "expected a text");
		s[i] = list->item[i].string;
	}
	*ret = s;
	*ret_n = list->n;
	return 0;
}

static int read_records(struct arena *a, const struct json *j, const char *key, const struct pkg_record **ret,
			size_t *ret_n, struct err *e)
{
	const struct json *list = NULL;
	if (json_opt_array(j, key, &list, e) < 0)
		return -1;
	if (!list)
		return 0;
	if (list->n > RECORDS_MAX)
		return err_new(e, ERR_LIMIT, "%s: more than %d records", j->where, (int)RECORDS_MAX);
	struct pkg_record *r = arena_array(a, struct pkg_record, list->n + 1u);
	for (uint32_t i = 0; i < list->n; i++)
		if (pkg_record_read(a, &list->item[i], &r[i], e) < 0)
			return err_ctx(e, "%s: %s record %u", j->where, key, i);
	*ret = r;
	*ret_n = list->n;
	return 0;
}

static int read_word(const struct json *j, const char *key, const char *const *words, unsigned n, int *ret,
		     struct err *e)
{
	struct str s = STR_NONE;
	if (json_opt_str(j, key, &s, e) < 0)
		return -1;
	for (unsigned i = 0; i < n && s.p; i++)
		if (str_eq_c(s, words[i])) {
			*ret = (int)i;
			return 0;
		}
	return s.p ? err_new(e, ERR_INPUT, "%s: %s cannot be '%.*s'", j->where, key, STR_ARG(s)) : 0;
}

static int read_request(struct solve_replay *p, const struct json *j, struct err *e)
{
	struct solve_request *r = &p->request;
	const struct json *q = NULL;
	int priority = 0, strategy = 0;
	if (json_opt_object(j, "request", &q, e) < 0)
		return -1;
	if (!q)
		return fail_at(j, e, "no 'request'");
	if (read_texts(&p->a, q, "specs", &r->specs, &r->specs_n, e) < 0 ||
	    read_texts(&p->a, q, "constraints", &r->constraints, &r->constraints_n, e) < 0 ||
	    read_texts(&p->a, q, "update", &r->update_names, &r->update_names_n, e) < 0 ||
	    json_opt_bool(q, "update_all", &r->update_all, e) < 0 ||
	    json_opt_int(q, "exclude_newer_ms", &r->exclude_newer_ms, e) < 0 ||
	    read_word(q, "priority", priority_name, 3, &priority, e) < 0 ||
	    read_word(q, "strategy", strategy_name, 3, &strategy, e) < 0)
		return -1;
	r->priority = (enum solve_priority)priority;
	r->strategy = (enum solve_strategy)strategy;
	return read_records(&p->a, j, "virtual", &r->virtuals, &r->virtuals_n, e) < 0 ||
			       read_records(&p->a, j, "installed", &r->installed, &r->installed_n, e) < 0
		       ? -1
		       : 0;
}

static int read_channel(struct solve_replay *p, const struct json *j, unsigned number, int dirfd, struct err *e)
{
	struct channel_index *ci = &p->ci[number];
	const struct pkg_record *r = NULL;
	size_t n = 0;
	char path[32];
	if (json_get_str(j, "url", &ci->channel.url, e) < 0 || json_get_str(j, "subdir", &ci->subdir, e) < 0)
		return -1;
	ci->channel.shown = ci->channel.name = ci->channel.url;
	ci->channel.is_folder = str_starts(ci->channel.url, STR("file://"));
	if (json_opt_str(j, "name", &ci->channel.name, e) < 0 || pkg_subdir_check(ci->subdir, e) < 0 ||
	    read_records(&p->a, j, "packages", &r, &n, e) < 0)
		return -1;
	snprintf(path, sizeof(path), "replay-%u.idx", number);
	auto_ptr(index_builder) b = index_builder_new(dirfd, path, ci->subdir, e);
	if (!b)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (index_builder_record(b, &r[i], e) < 0)
			return err_ctx(e, "%s: package %zu", j->where, i);
	if (index_builder_finish(b, e) < 0)
		return -1;
	return index_open(dirfd, path, &ci->index, e);
}

static int read_channels(struct solve_replay *p, const struct json *j, int dirfd, struct err *e)
{
	const struct json *list = NULL;
	if (json_opt_array(j, "channels", &list, e) < 0)
		return -1;
	if (!list)
		return fail_at(j, e, "no 'channels'");
	if (list->n > CHANNELS_MAX)
		return err_new(e, ERR_LIMIT, "%s: more than %d channels", j->where, (int)CHANNELS_MAX);
	p->ci = arena_array(&p->a, struct channel_index, list->n + 1u);
	p->ci_n = list->n;
	for (uint32_t i = 0; i < list->n; i++) {
		if (list->item[i].type != JSON_OBJECT)
			return fail_at(&list->item[i], e, "a channel must be an object");
		if (read_channel(p, &list->item[i], i, dirfd, e) < 0)
			return -1;
	}
	p->request.indexes = p->ci;
	p->request.indexes_n = p->ci_n;
	return 0;
}

int solve_replay_load(struct str text, const char *where, int dirfd, struct solve_replay **ret, struct err *e)
{
	auto_ptr(solve_replay) p = xcalloc(1, sizeof(*p));
	const struct json *j = json_parse(&p->a, text, where, e);
	int64_t format = 0;
	if (!j)
		return -1;
	if (j->type != JSON_OBJECT || json_opt_int(j, "slipway_solve_test", &format, e) < 0 || format != FORMAT)
		return err_new(e, ERR_UNSUPPORTED, "%s: not a solve test of format %d", where, (int)FORMAT);
	if (read_request(p, j, e) < 0 || read_channels(p, j, dirfd, e) < 0)
		return -1;
	p->expect = json_get(j, "expect");
	*ret = steal_ptr(&p);
	return 0;
}

const struct solve_request *solve_replay_request(const struct solve_replay *r)
{
	return &r->request;
}

const struct json *solve_replay_expect(const struct solve_replay *r)
{
	return r->expect;
}

void solve_replay_free(struct solve_replay *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->ci_n; i++)
		index_free(r->ci[i].index);
	arena_release(&r->a);
	free(r);
}
