// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"
#include "base/url.h"
#include "base/vec.h"
#include "env/env.h"

typedef VEC(struct env_step) step_list;

static bool in_store(struct store *store, const struct pkg_record *r, bool tree)
{
	if (!store || !r->has_sha256)
		return false;
	return tree ? store_has_tree(store, r->sha256) == 1 : store_has_blob(store, r->sha256) == 1;
}

static int index_by_name(const struct env_spec_file *f, struct map *m, struct err *e)
{
	for (uint32_t i = 0; i < f->packages_n; i++) {
		uint64_t *slot = map_put(m, f->packages[i].record.name);
		if (*slot)
			return err_new(e, ERR_INPUT, "the package '%.*s' is there twice; a lock has each name once",
				       STR_ARG(f->packages[i].record.name));
		*slot = i + 1;
	}
	return 0;
}

static struct str shown(struct arena *a, struct str url)
{
	auto_buf b = BUF_INIT(URL_MAX);
	url_put_shown(&b, url);
	return str_eq(buf_str(&b), url) ? url : arena_str(a, buf_str(&b));
}

static const struct str *all_shown(struct arena *a, const struct str *texts, uint32_t n)
{
	struct str *copy = arena_array(a, struct str, n);
	for (uint32_t i = 0; i < n; i++)
		copy[i] = shown(a, texts[i]);
	return copy;
}

/* The target is shown, and kept as a lock: what a list of URLs (CEP 23), a recipe's channels or a spec (name[channel=URL])
 * say of credentials stays out of it. */
static void take_credentials_out(struct env_plan *p, struct env_lock_package *packages, struct arena *a)
{
	p->private_urls = arena_array(a, struct str, p->target.packages_n);
	for (uint32_t i = 0; i < p->target.packages_n; i++) {
		struct pkg_record *r = &packages[i].record;
		p->private_urls[i] = r->url;
		r->url = shown(a, r->url);
		r->channel = shown(a, r->channel);
		packages[i].requested_spec = shown(a, packages[i].requested_spec);
	}
	p->target.channels = all_shown(a, p->target.channels, p->target.channels_n);
	p->target.specs = all_shown(a, p->target.specs, p->target.specs_n);
}

static void compare(const struct env_spec_file *before, const struct env_spec_file *target, const struct map *old,
		    const struct map *new, struct arena *a, struct env_plan *p)
{
	p->added = arena_array(a, uint32_t, target->packages_n);
	p->kept = arena_array(a, uint32_t, target->packages_n);
	p->changed = arena_zalloc_n(a, target->packages_n, sizeof(*p->changed));
	p->removed = arena_array(a, uint32_t, before->packages_n);
	for (uint32_t i = 0; i < target->packages_n; i++) {
		const struct pkg_record *r = &target->packages[i].record;
		uint64_t *was = map_get(old, r->name);
		if (!was) {
			p->added[p->added_n++] = i;
		} else if (pkg_record_same(r, &before->packages[*was - 1].record)) {
			p->kept[p->kept_n++] = i;
		} else {
			p->changed[p->changed_n].from = (uint32_t)*was - 1;
			p->changed[p->changed_n++].to = i;
		}
	}
	for (uint32_t i = 0; i < before->packages_n; i++)
		if (!map_get(new, before->packages[i].record.name))
			p->removed[p->removed_n++] = i;
}

static void add_steps(struct store *store, const struct env_spec_file *target, const struct env_plan *p,
		      step_list *steps)
{
	for (uint32_t i = 0; i < target->packages_n; i++) {
		const struct pkg_record *r = &target->packages[i].record;
		if (!pkg_is_opam(r->name, NULL) && !in_store(store, r, true) && !in_store(store, r, false))
			*vec_add(steps) =
				(struct env_step){.kind = ENV_STEP_DOWNLOAD, .package = i, .size_bytes = r->size};
	}
	for (uint32_t i = 0; i < target->packages_n; i++)
		if (!in_store(store, &target->packages[i].record, true))
			*vec_add(steps) = (struct env_step){.kind = pkg_is_opam(target->packages[i].record.name, NULL)
									    ? ENV_STEP_BUILD
									    : ENV_STEP_UNPACK,
							    .package = i};
	for (uint32_t i = 0; i < target->packages_n; i++)
		*vec_add(steps) = (struct env_step){.kind = ENV_STEP_LINK, .package = i};
	for (size_t i = 0; i < p->removed_n; i++)
		*vec_add(steps) = (struct env_step){.kind = ENV_STEP_REMOVE, .package = p->removed[i]};
}

int env_plan(const struct env_spec_file *target, const struct env_spec_file *before, struct store *store,
	     struct arena *a, struct env_plan *ret, struct err *e)
{
	auto_map old = MAP_INIT, new = MAP_INIT;
	struct env_plan p = {.target = *target};
	step_list steps = {0};
	if (before)
		p.before = *before;
	struct env_lock_package *copy = arena_array(a, struct env_lock_package, target->packages_n);
	if (target->packages_n)
		memcpy(copy, target->packages, target->packages_n * sizeof(*copy));
	take_credentials_out(&p, copy, a);
	p.target.packages = copy;
	p.target.is_lock = true;
	if (index_by_name(&p.before, &old, e) < 0 || index_by_name(&p.target, &new, e) < 0)
		return -1;
	compare(&p.before, &p.target, &old, &new, a, &p);
	add_steps(store, &p.target, &p, &steps);
	vec_foreach(s, &steps)
		p.download_bytes += s->size_bytes;
	p.steps = vec_copy(&steps, a);
	p.steps_n = steps.n;
	vec_release(&steps);
	*ret = p;
	return 0;
}

static bool same_texts(const struct str *x, uint32_t xn, const struct str *y, uint32_t yn)
{
	if (xn != yn)
		return false;
	for (uint32_t i = 0; i < xn; i++)
		if (!str_eq(x[i], y[i]))
			return false;
	return true;
}

static const struct env_lock_package *find(const struct env_spec_file *f, uint32_t hint, struct str name)
{
	if (hint < f->packages_n && str_eq(f->packages[hint].record.name, name))
		return &f->packages[hint];
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (str_eq(f->packages[i].record.name, name))
			return &f->packages[i];
	return NULL;
}

/* As a lock keeps it: a mark without a spec is none. */
static struct str mark(const struct env_lock_package *p)
{
	return p->requested ? p->requested_spec : STR_NONE;
}

/* Packages that only one of them has are the plan's matter. */
static bool same_marks(const struct env_spec_file *x, const struct env_spec_file *y)
{
	for (uint32_t i = 0; i < x->packages_n; i++) {
		const struct env_lock_package *p = &x->packages[i], *q = find(y, i, p->record.name);
		if (q && !str_eq(mark(p), mark(q)))
			return false;
	}
	return true;
}

bool env_same_settings(const struct env_spec_file *x, const struct env_spec_file *y)
{
	if (!same_texts(x->channels, x->channels_n, y->channels, y->channels_n) ||
	    !same_texts(x->specs, x->specs_n, y->specs, y->specs_n) || x->variables_n != y->variables_n ||
	    !same_marks(x, y))
		return false;
	for (uint32_t i = 0; i < x->variables_n; i++)
		if (!str_eq(x->variables[i].name, y->variables[i].name) ||
		    !str_eq(x->variables[i].value, y->variables[i].value))
			return false;
	if (x->components_n != y->components_n)
		return false;
	for (uint32_t i = 0; i < x->components_n; i++)
		if (!str_eq(x->components[i].name, y->components[i].name) ||
		    !str_eq(x->components[i].text, y->components[i].text))
			return false;
	return true;
}

static int digest_cmp(const void *a, const void *b)
{
	return memcmp(a, b, SHA256_SIZE);
}

/* Length first, so that two texts cannot be taken for others side by side. */
static void add_text(struct digest *d, struct str s)
{
	uint64_t n = s.n;
	digest_update(d, &n, sizeof(n));
	digest_update(d, s.n ? s.p : "", s.n);
}

void env_lock_digest(const struct env_spec_file *lock, uint8_t ret[SHA256_SIZE])
{
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	auto_free uint8_t(*packages)[SHA256_SIZE] = xcalloc(lock->packages_n + 1, SHA256_SIZE);
	uint8_t out[DIGEST_MAX];
	for (uint32_t i = 0; i < lock->packages_n; i++)
		memcpy(packages[i], lock->packages[i].record.sha256, SHA256_SIZE);
	qsort(packages, lock->packages_n, SHA256_SIZE, digest_cmp);
	digest_update(d, packages, (size_t)lock->packages_n * SHA256_SIZE);
	for (uint32_t i = 0; i < lock->components_n; i++) {
		add_text(d, lock->components[i].name);
		add_text(d, lock->components[i].text);
	}
	add_text(d, STR_NONE);
	for (uint32_t i = 0; i < lock->variables_n; i++) {
		add_text(d, lock->variables[i].name);
		add_text(d, lock->variables[i].value);
	}
	digest_final(d, out);
	memcpy(ret, out, SHA256_SIZE);
}
