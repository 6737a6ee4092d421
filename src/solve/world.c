// SPDX-License-Identifier: Apache-2.0
#include "solve/world.h"

enum { SPECS_MAX = 100000 };

/* -- names and their candidates ----------------------------------------------------------------------------------- */

uint32_t world_name(struct world *p, struct str text)
{
	uint64_t *at = map_get(&p->names, text);
	if (at)
		return (uint32_t)*at;
	uint32_t n = (uint32_t)p->name.n;
	struct str copy = arena_str(p->a, text);
	*vec_add(&p->name) = (struct world_name){.text = copy, .var = WORLD_NONE, .hidden = WORLD_NONE};
	*map_put(&p->names, copy) = n;
	return n;
}

const struct version *world_version_of(struct world *p, uint32_t version)
{
	struct world_version *v = &p->version.v[version];
	if (!v->tried) {
		struct err ignored = ERR_INIT;
		v->tried = true;
		v->parsed = p->scheme->version_parse(p->a, v->text, &ignored);
	}
	return v->parsed;
}

static const struct pkg_record *host_record(const struct world *p, const struct world_candidate *c)
{
	return c->index == WORLD_VIRTUAL ? &p->r->virtuals[c->pkg] : &p->r->installed[c->pkg];
}

static struct str world_build(const struct world *p, uint32_t cand)
{
	const struct world_candidate *c = &p->cand.v[cand];
	if (c->index >= WORLD_INSTALLED)
		return host_record(p, c)->build;
	const struct index *ix = p->r->indexes[c->index].index;
	return index_str(ix, index_pkg(ix, (struct ix_pkg){c->pkg}).build);
}

int world_record(const struct world *p, uint32_t cand, struct arena *a, struct pkg_record *ret, struct err *e)
{
	const struct world_candidate *c = &p->cand.v[cand];
	if (c->index >= WORLD_INSTALLED) {
		*ret = *host_record(p, c);
		return 0;
	}
	const struct channel_index *i = &p->r->indexes[c->index];
	return index_record(i->index, (struct ix_pkg){c->pkg}, &i->channel, a, ret, e);
}

/* A candidate while its name is loaded. */
struct loading {
	struct world_candidate c;
	uint32_t channel, version_rank, seq;
	bool preferred; /* installed already, and not to be updated */
};
struct loader {
	struct world *p;
	uint32_t name;
	VEC(struct loading) v;
	unsigned sources;
	bool lowest;
};

static uint32_t add_version(struct world *p, struct str text)
{
	vec_push(&p->version, ((struct world_version){.text = text}));
	return (uint32_t)p->version.n - 1;
}

static void load_from(struct loader *l, uint32_t index, uint32_t channel, struct ix_pkg first, uint32_t n)
{
	struct world *p = l->p;
	const struct index *ix = p->r->indexes[index].index;
	uint32_t version = WORLD_NONE, last = WORLD_NONE;
	l->sources++;
	for (uint32_t i = 0; i < n; i++) {
		struct index_pkg k = index_pkg(ix, (struct ix_pkg){first.n + i});
		if (p->r->exclude_newer_ms && k.timestamp_ms > (uint64_t)p->r->exclude_newer_ms)
			continue;
		if (last == WORLD_NONE || k.version.n != last)
			version = add_version(p, index_version(ix, k.version));
		last = k.version.n;
		struct loading *c = vec_add(&l->v);
		c->c = (struct world_candidate){l->name, index,		 first.n + i,	 version,
						0,	 k.build_number, k.timestamp_ms, k.track_features};
		c->channel = channel;
		c->version_rank = k.version_rank;
		c->seq = (uint32_t)l->v.n;
	}
}

static void load_virtuals(struct loader *l)
{
	struct world *p = l->p;
	struct str name = p->name.v[l->name].text;
	for (size_t i = 0; i < p->r->virtuals_n; i++) {
		const struct pkg_record *r = &p->r->virtuals[i];
		if (!str_eq(r->name, name))
			continue;
		struct loading *c = vec_add(&l->v);
		c->c = (struct world_candidate){l->name, WORLD_VIRTUAL, (uint32_t)i, add_version(p, r->version), 0, 0,
						0,	 false};
		l->sources++;
	}
}

static bool is_updated(const struct solve_request *r, struct str name)
{
	if (r->update_all)
		return true;
	for (size_t i = 0; i < r->update_names_n; i++)
		if (str_eq(r->update_names[i], name))
			return true;
	return false;
}

static void load_installed(struct loader *l)
{
	struct world *p = l->p;
	struct str name = p->name.v[l->name].text;
	for (size_t i = 0; i < p->r->installed_n; i++) {
		const struct pkg_record *r = &p->r->installed[i];
		struct loading *found = NULL;
		if (!str_eq(r->name, name))
			continue;
		vec_foreach(c, &l->v) {
			const struct index *ix = c->c.index < WORLD_INSTALLED ? p->r->indexes[c->c.index].index : NULL;
			if (!ix || !str_eq(p->version.v[c->c.version].text, r->version))
				continue;
			if (!str_eq(index_str(ix, index_pkg(ix, (struct ix_pkg){c->c.pkg}).build), r->build))
				continue;
			if (!found || str_eq(p->r->indexes[c->c.index].subdir, r->subdir))
				found = c;
		}
		if (!found) {
			found = vec_add(&l->v);
			found->c = (struct world_candidate){
				l->name, WORLD_INSTALLED,	    (uint32_t)i,     add_version(p, r->version),
				0,	 (uint32_t)r->build_number, r->timestamp_ms, r->track_features.n > 0};
			found->channel = UINT32_MAX;
			found->seq = UINT32_MAX;
		}
		l->sources += 2; /* to be sorted in any case */
		found->preferred = !is_updated(p->r, name);
	}
}

static int cmp_version(struct world *p, const struct loading *a, const struct loading *b)
{
	if (a->c.index == b->c.index && a->version_rank && b->version_rank)
		return (a->version_rank > b->version_rank) - (a->version_rank < b->version_rank);
	const struct version *x = world_version_of(p, a->c.version), *y = world_version_of(p, b->c.version);
	return x && y ? p->scheme->version_cmp(x, y) : (x != NULL) - (y != NULL);
}

/* Everything but the fifth criterion and the time. */
static int cmp_rank(struct loader *l, const struct loading *a, const struct loading *b)
{
	if (a->preferred != b->preferred)
		return a->preferred ? -1 : 1;
	if (a->c.track_features != b->c.track_features)
		return a->c.track_features ? 1 : -1;
	if (l->p->r->priority == SOLVE_FLEXIBLE && a->channel != b->channel)
		return a->channel < b->channel ? -1 : 1;
	int v = cmp_version(l->p, a, b);
	if (v)
		return l->lowest ? v : -v;
	return (a->c.build_number < b->c.build_number) - (a->c.build_number > b->c.build_number);
}

static int cmp_loading(const void *a, const void *b, void *ctx)
{
	const struct loading *x = a, *y = b;
	int c = cmp_rank(ctx, x, y);
	if (c)
		return c;
	if (x->c.timestamp_ms != y->c.timestamp_ms)
		return x->c.timestamp_ms < y->c.timestamp_ms ? 1 : -1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

static bool is_requested(const struct world *p, uint32_t name)
{
	for (uint32_t i = 0; i < p->requests; i++)
		if (p->spec.v[i].name == name)
			return true;
	return false;
}

static bool index_wanted(const struct world *p, const struct world_name *n, uint32_t index)
{
	if (!n->wanted)
		return true;
	struct str wanted = spec_channel(p->spec.v[n->wanted - 1].spec);
	return channel_matches(&p->r->indexes[index].channel, wanted);
}

/* Gathers the packages of a name from the channels that count. */
static void load_channels(struct loader *l)
{
	struct world *p = l->p;
	struct world_name *n = &p->name.v[l->name];
	uint32_t channel = 0, taken = WORLD_NONE;
	for (uint32_t i = 0; i < p->r->indexes_n; i++) {
		const struct channel_index *ci = &p->r->indexes[i];
		struct ix_name in;
		struct ix_pkg first;
		if (i && !str_eq(ci->channel.url, ci[-1].channel.url))
			channel++;
		if (!ci->index || !index_wanted(p, n, i) || !index_find_name(ci->index, n->text, &in))
			continue;
		uint32_t k = index_packages(ci->index, in, &first);
		if (!k)
			continue;
		if (p->r->priority == SOLVE_STRICT && taken != WORLD_NONE && taken != channel) {
			if (n->hidden == WORLD_NONE)
				n->hidden = i;
			continue;
		}
		taken = channel;
		load_from(l, i, channel, first, k);
	}
}

const struct world_name *world_load(struct world *p, uint32_t name)
{
	if (p->name.v[name].loaded)
		return &p->name.v[name];
	struct loader l = {.p = p, .name = name};
	uint32_t version = (uint32_t)p->version.n, first = (uint32_t)p->cand.n, rank = 0;
	p->name.v[name].loaded = true;
	l.lowest = p->r->strategy == SOLVE_LOWEST || (p->r->strategy == SOLVE_LOWEST_DIRECT && is_requested(p, name));
	load_virtuals(&l);
	load_channels(&l);
	load_installed(&l);
	if (l.v.n > 1 && (l.sources > 1 || l.lowest))
		qsort_r(l.v.v, l.v.n, sizeof(*l.v.v), cmp_loading, &l);
	vec_reserve(&p->cand, p->cand.n + l.v.n);
	for (size_t i = 0; i < l.v.n; i++) {
		rank += i > 0 && cmp_rank(&l, &l.v.v[i - 1], &l.v.v[i]) != 0;
		l.v.v[i].c.rank = rank;
		vec_push(&p->cand, l.v.v[i].c);
	}
	struct world_name *n = &p->name.v[name];
	n->first = first;
	n->n = (uint32_t)l.v.n;
	n->version = version;
	n->version_n = (uint32_t)p->version.n - version;
	vec_release(&l.v);
	return n;
}

/* -- specs -------------------------------------------------------------------------------------------------------- */

static uint32_t add_spec(struct world *p, struct str text, enum spec_flags flags, struct err *e)
{
	struct world_spec s = {
		.text = text, .name = WORLD_NONE, .choice = WORLD_NONE, .ban = WORLD_NONE, .best = WORLD_NONE};
	s.spec = p->scheme->spec_parse(p->a, text, flags, e);
	if (s.spec && spec_name(s.spec).p)
		s.name = world_name(p, spec_name(s.spec));
	else
		s.spec = NULL; /* a pattern asks for no package in particular */
	vec_push(&p->spec, s);
	return (uint32_t)p->spec.n - 1;
}

uint32_t world_spec_of_text(struct world *p, struct str text, enum spec_flags flags)
{
	struct err ignored = ERR_INIT;
	struct map *known = &p->specs[flags & SPEC_V3 ? 1 : 0];
	uint64_t *at = map_get(known, text);
	if (at)
		return (uint32_t)*at;
	uint32_t n = add_spec(p, text, flags, &ignored);
	*map_put(known, text) = n;
	return n;
}

static uint32_t spec_of_index(struct world *p, uint32_t index, struct ix_spec s, enum spec_flags flags)
{
	const struct index *ix = p->r->indexes[index].index;
	if (!p->spec_of[index])
		p->spec_of[index] = xcalloc(2 * ((size_t)index_spec_count(ix) + 1), sizeof(uint32_t));
	uint32_t *at = &p->spec_of[index][2 * (size_t)s.n + (flags & SPEC_V3 ? 1 : 0)];
	if (!*at)
		*at = 1 + world_spec_of_text(p, index_spec_text(ix, s), flags);
	return *at - 1;
}

/* Whether all but the version fits. Most specs name a build at most, which needs no more than a few fields. */
static bool rest_matches(const struct world *p, const struct world_spec *s, uint32_t cand, struct arena *tmp)
{
	const struct world_candidate *c = &p->cand.v[cand];
	struct pkg_record r = {0};
	if (c->index >= WORLD_INSTALLED || memchr(s->text.p, '[', s->text.n)) {
		struct err ignored = ERR_INIT;
		if (world_record(p, cand, tmp, &r, &ignored) < 0)
			return false;
		if (c->index == WORLD_VIRTUAL)
			r.channel = r.subdir = STR_NONE; /* the host's own: of whatever channel was asked for */
	} else {
		const struct channel_index *i = &p->r->indexes[c->index];
		r.name = p->name.v[c->name].text;
		r.version = p->version.v[c->version].text;
		r.build = world_build(p, cand);
		r.build_number = c->build_number;
		r.channel = i->channel.shown;
		r.subdir = i->subdir;
	}
	if (c->index < WORLD_INSTALLED && spec_channel(s->spec).n &&
	    channel_matches(&p->r->indexes[c->index].channel, spec_channel(s->spec)))
		r.channel = STR_NONE; /* known by another of its names */
	return p->scheme->spec_match_rest(s->spec, &r);
}

static void list_members(struct world *p, struct world_spec *s)
{
	const struct world_name *n = &p->name.v[s->name];
	bool version_only = p->scheme->spec_is_version_only(s->spec), any = !spec_version_text(s->spec).n;
	auto_arena tmp = ARENA_INIT;
	auto_free bool *fits = xmalloc(n->version_n + 1u);
	VEC(uint32_t) found = {0};
	for (uint32_t v = 0; v < n->version_n; v++) {
		const struct version *parsed = any ? NULL : world_version_of(p, n->version + v);
		struct str text = p->version.v[n->version + v].text;
		fits[v] = any || (parsed && p->scheme->spec_match_version(s->spec, parsed, text));
	}
	for (uint32_t c = n->first; c < n->first + n->n; c++)
		if (fits[p->cand.v[c].version - n->version] && (version_only || rest_matches(p, s, c, &tmp)))
			vec_push(&found, c);
	s->member_n = (uint32_t)found.n;
	if (found.n)
		s->member = vec_copy(&found, p->a);
	vec_release(&found);
}

const struct world_spec *world_members(struct world *p, uint32_t spec)
{
	if (!p->spec.v[spec].listed) {
		if (p->spec.v[spec].spec) {
			world_load(p, p->spec.v[spec].name);
			list_members(p, &p->spec.v[spec]);
		}
		p->spec.v[spec].listed = true;
	}
	return &p->spec.v[spec];
}

static uint32_t specs_of_texts(struct world *p, const struct str *texts, uint32_t n, bool v3, const uint32_t **ret)
{
	uint32_t *v = n ? arena_alloc(p->a, n * sizeof(*v)) : NULL;
	for (uint32_t i = 0; i < n; i++)
		v[i] = world_spec_of_text(p, texts[i], SPEC_DEPENDENCY | (v3 ? SPEC_V3 : 0));
	*ret = v;
	return n;
}

static uint32_t specs_of_list(struct world *p, uint32_t cand, bool constrains, const uint32_t **ret)
{
	const struct world_candidate c = p->cand.v[cand];
	const struct index *ix = p->r->indexes[c.index].index;
	struct index_pkg k = index_pkg(ix, (struct ix_pkg){c.pkg});
	const struct ix_spec *list;
	uint32_t n = index_list(ix, constrains ? k.constrains : k.depends, &list);
	uint32_t *v = n ? arena_alloc(p->a, n * sizeof(*v)) : NULL;
	for (uint32_t i = 0; i < n; i++)
		v[i] = spec_of_index(p, c.index, list[i], SPEC_DEPENDENCY | (k.is_v3 ? SPEC_V3 : 0));
	*ret = v;
	return n;
}

uint32_t world_depends(struct world *p, uint32_t cand, const uint32_t **ret)
{
	const struct world_candidate *c = &p->cand.v[cand];
	if (c->index < WORLD_INSTALLED)
		return specs_of_list(p, cand, false, ret);
	const struct pkg_record *r = host_record(p, c);
	return specs_of_texts(p, r->depends, r->depends_n, r->is_v3, ret);
}

uint32_t world_constrains(struct world *p, uint32_t cand, const uint32_t **ret)
{
	const struct world_candidate *c = &p->cand.v[cand];
	if (c->index < WORLD_INSTALLED)
		return specs_of_list(p, cand, true, ret);
	const struct pkg_record *r = host_record(p, c);
	return specs_of_texts(p, r->constrains, r->constrains_n, r->is_v3, ret);
}

uint32_t world_extras(struct world *p, uint32_t cand, const struct world_extra **ret)
{
	const struct world_candidate *c = &p->cand.v[cand];
	struct pkg_record r;
	struct err ignored = ERR_INIT;
	auto_buf text = BUF_INIT(BUF_MAX);
	bool v3 = c->index < WORLD_INSTALLED && index_pkg(p->r->indexes[c->index].index, (struct ix_pkg){c->pkg}).is_v3;
	*ret = NULL;
	if ((c->index < WORLD_INSTALLED && !v3) || world_record(p, cand, p->a, &r, &ignored) < 0)
		return 0;
	if (str_search(r.extra_json, STR("\"extra_depends\"")) < 0)
		return 0;
	buf_printf(&text, "{");
	buf_put_str(&text, r.extra_json);
	buf_put_c(&text, "}");
	const struct json *groups = json_get(json_parse(p->a, buf_str(&text), "record", &ignored), "extra_depends");
	VEC(struct world_extra) found = {0};
	for (uint32_t g = 0; groups && groups->type == JSON_OBJECT && g < groups->n; g++) {
		const struct json *list = &groups->member[g].value;
		for (uint32_t i = 0; list->type == JSON_ARRAY && i < list->n; i++)
			if (list->item[i].type == JSON_STRING) {
				uint32_t spec = world_spec_of_text(p, list->item[i].string, SPEC_DEPENDENCY | SPEC_V3);
				vec_push(&found, ((struct world_extra){groups->member[g].key, spec}));
			}
	}
	uint32_t n = (uint32_t)found.n;
	*ret = vec_copy(&found, p->a);
	vec_release(&found);
	return n;
}

/* -- life --------------------------------------------------------------------------------------------------------- */

static int read_requests(struct world *p, const struct str *texts, size_t n, const char *what, struct err *e)
{
	if (n > SPECS_MAX)
		return err_new(e, ERR_LIMIT, "%zu %ss; at most %d are allowed", n, what, (int)SPECS_MAX);
	for (size_t i = 0; i < n; i++) {
		struct err why = ERR_INIT;
		uint32_t s = add_spec(p, texts[i], SPEC_REQUEST, &why);
		if (!p->spec.v[s].spec && why.code) {
			*e = why;
			return err_ctx(e, "%s '%.*s'", what, STR_ARG(texts[i]));
		}
		if (!p->spec.v[s].spec)
			return err_new(e, ERR_USAGE,
				       "%s '%.*s' names no package; give the name, or find one with 'slipway search'",
				       what, STR_ARG(texts[i]));
		struct world_name *name = &p->name.v[p->spec.v[s].name];
		if (spec_channel(p->spec.v[s].spec).n && !name->wanted)
			name->wanted = s + 1;
	}
	return 0;
}

int world_init(struct world *p, const struct solve_request *r, struct arena *a, struct err *e)
{
	*p = (struct world){.r = r, .a = a, .scheme = &pkg_conda};
	p->spec_of = xcalloc(r->indexes_n + 1, sizeof(*p->spec_of));
	if (read_requests(p, r->specs, r->specs_n, "spec", e) < 0)
		return -1;
	p->requests = (uint32_t)p->spec.n;
	if (read_requests(p, r->constraints, r->constraints_n, "constraint", e) < 0)
		return -1;
	p->constraints = (uint32_t)p->spec.n - p->requests;
	return 0;
}

void world_release(struct world *p)
{
	for (size_t i = 0; p->spec_of && i < p->r->indexes_n; i++)
		free(p->spec_of[i]);
	free(p->spec_of);
	vec_release(&p->name);
	vec_release(&p->cand);
	vec_release(&p->version);
	vec_release(&p->spec);
	map_release(&p->names);
	map_release(&p->specs[0]);
	map_release(&p->specs[1]);
}
