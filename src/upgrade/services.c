// SPDX-License-Identifier: Apache-2.0
/*
 * Which services a change of generation touches.
 *
 * A service is touched where the package that brought its component file, or anything that package needs, is another build in the
 * other generation; where its component file is nobody's (a recipe's own) any change touches it. What is not touched runs on from the
 * generation that it was started from: programs run from a generation's real path.
 */
#include <stdio.h>

#include "base/map.h"
#include "base/vec.h"
#include "upgrade/run.h"

/* One generation: what it consists of and which services it names. */
struct side {
	uint32_t generation;
	const char *prefix;
	struct env_spec_file lock;
	struct component *components;
	size_t components_n;
	const struct service_decl **services; /* in the order of their start */
	size_t services_n;
};

static int read_side(const struct run *r, struct arena *a, uint32_t generation, struct side *ret, struct err *e)
{
	*ret = (struct side){.generation = generation};
	if (!generation)
		return 0;
	ret->prefix = arena_printf(a, "%s/env/%.*s/%u", r->o->root_path, STR_ARG(r->o->env), generation);
	if (component_read_all(a, ret->prefix, &ret->components, &ret->components_n, e) < 0)
		return -1;
	if (!ret->components_n)
		return 0;
	return env_generation_lock(r->o->state, a, r->o->env, generation, &ret->lock, e) < 0 ||
			       component_services(a, ret->components, ret->components_n, &ret->services,
						  &ret->services_n, e) < 0
		       ? -1
		       : 0;
}

static const struct service_decl *find_service(const struct side *s, struct str name)
{
	for (size_t i = 0; i < s->services_n; i++)
		if (str_eq(s->services[i]->name, name))
			return s->services[i];
	return NULL;
}

static const struct pkg_record *find_package(const struct side *s, struct str name)
{
	for (uint32_t i = 0; i < s->lock.packages_n; i++)
		if (str_eq(s->lock.packages[i].record.name, name))
			return &s->lock.packages[i].record;
	return NULL;
}

static bool same_package(const struct pkg_record *x, const struct pkg_record *y)
{
	return x && y && memcmp(x->sha256, y->sha256, sizeof(x->sha256)) == 0 && str_eq(x->build, y->build) &&
	       str_eq(x->version, y->version);
}

/* The name at the front of a dependency: "libzlib >=1.2,<2" */
static struct str dependency_name(struct str d)
{
	struct str word = d;
	size_t n = 0;
	while (n < d.n && !strchr(" \t=<>!~[@", d.p[n]))
		n++;
	word.n = n;
	return word;
}

/* Whether a package, or anything it needs, is another one in the other generation. */
static bool closure_changed(const struct side *from, const struct side *to, struct str owner)
{
	VEC(struct str) todo = {0};
	auto_map seen = MAP_INIT;
	bool changed = false;
	vec_push(&todo, owner);
	while (todo.n && !changed) {
		struct str name = vec_pop(&todo);
		uint64_t *slot = map_put(&seen, name);
		const struct pkg_record *p = find_package(to, name);
		if (*slot)
			continue;
		*slot = 1;
		if (!p) /* a virtual package */
			continue;
		changed = !same_package(find_package(from, name), p);
		for (uint32_t i = 0; i < p->depends_n; i++)
			vec_push(&todo, dependency_name(p->depends[i]));
	}
	vec_release(&todo);
	return changed;
}

static bool any_package_changed(const struct side *from, const struct side *to)
{
	if (from->lock.packages_n != to->lock.packages_n)
		return true;
	for (uint32_t i = 0; i < to->lock.packages_n; i++)
		if (!same_package(find_package(from, to->lock.packages[i].record.name), &to->lock.packages[i].record))
			return true;
	return false;
}

static struct str component_text(const struct env_spec_file *lock, struct str name)
{
	for (uint32_t i = 0; i < lock->components_n; i++)
		if (str_eq(lock->components[i].name, name))
			return lock->components[i].text;
	return STR_NONE;
}

/* Of the recipe itself. */
static bool same_component(const struct env_spec_file *from, const struct env_spec_file *to, struct str name)
{
	return str_eq(component_text(from, name), component_text(to, name));
}

static int is_touched(const struct run *r, struct arena *a, const struct side *from, const struct side *to,
		      const struct service_decl *d, struct err *e)
{
	struct str owner = STR_NONE;
	struct str path = str_c(arena_printf(a, "share/slipway/component/%.*s.yml", STR_ARG(d->component)));
	if (!from->generation || !find_service(from, d->name))
		return 1;
	if (env_owner(r->o->state, a, r->o->env, to->generation, path, &owner, e) < 0)
		return -1;
	return owner.n ? closure_changed(from, to, owner)
		       : any_package_changed(from, to) || !same_component(&from->lock, &to->lock, d->component);
}

static const struct service_status *running(const struct service_status *s, size_t n, struct str env, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(s[i].env, env) && str_eq(s[i].name, name) && s[i].state != SERVICE_STOPPED)
			return &s[i];
	return NULL;
}

/* What runs, but is named no more. */
static int stop_gone(const struct run *r, const struct side *to, const struct service_status *s, size_t n,
		     struct err *e)
{
	const struct upgrade_services *d = r->o->services;
	for (size_t i = n; i-- > 0;) {
		if (!str_eq(s[i].env, r->o->env) || s[i].state == SERVICE_STOPPED || find_service(to, s[i].name))
			continue;
		run_note(r, "service '%.*s' is stopped: the new version has none", STR_ARG(s[i].name));
		if (d->stop(d->ctx, s[i].env, s[i].name, e) < 0)
			return err_ctx(e, "stop service '%.*s'", STR_ARG(s[i].name));
	}
	return 0;
}

static int move_one(const struct run *r, const struct side *to, const struct service_decl *decl, bool is_running,
		    struct err *e)
{
	const struct upgrade_services *d = r->o->services;
	const struct service_ref ref = {
		.env = r->o->env, .generation = to->generation, .prefix = to->prefix, .decl = decl};
	int rc = is_running ? d->hand_over(d->ctx, &ref, e) : d->start(d->ctx, &ref, e);
	if (rc < 0)
		return err_ctx(e, "service '%.*s'", STR_ARG(decl->name));
	return d->check(d->ctx, r->o->env, decl->name, e) < 0 ? err_ctx(e, "service '%.*s'", STR_ARG(decl->name)) : 0;
}

static int move_all(const struct run *r, struct arena *a, const struct side *from, const struct side *to, struct err *e)
{
	const struct upgrade_services *d = r->o->services;
	struct service_status *s = NULL;
	size_t n = 0;
	if (d->status(d->ctx, a, &s, &n, e) < 0 || stop_gone(r, to, s, n, e) < 0)
		return -1;
	for (size_t i = 0; i < to->services_n; i++) {
		const struct service_decl *decl = to->services[i];
		const struct service_status *now = running(s, n, r->o->env, decl->name);
		int touched = is_touched(r, a, from, to, decl, e);
		if (touched < 0)
			return -1;
		if (now && (now->generation == to->generation || !touched) && now->state == SERVICE_RUNNING)
			continue;
		if (!now && !r->info.started)
			continue;
		if (move_one(r, to, decl, now != NULL, e) < 0)
			return -1;
	}
	return 0;
}

int services_stop(const struct run *r, uint32_t which, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct upgrade_services *d = r->o->services;
	struct service_status *s = NULL;
	struct side side;
	size_t n = 0;
	if (!d)
		return 0;
	if (read_side(r, &a, which, &side, e) < 0 || d->status(d->ctx, &a, &s, &n, e) < 0)
		return -1;
	for (size_t i = side.services_n; i-- > 0;) {
		const struct service_status *now = running(s, n, r->o->env, side.services[i]->name);
		if (now && now->generation == which && d->stop(d->ctx, r->o->env, now->name, e) < 0)
			return err_ctx(e, "stop service '%.*s'", STR_ARG(now->name));
	}
	return 0;
}

static int components_of(const struct run *r, struct arena *a, uint32_t generation, size_t *ret, struct err *e)
{
	struct component *c;
	const char *prefix = arena_printf(a, "%s/env/%.*s/%u", r->o->root_path, STR_ARG(r->o->env), generation);
	*ret = 0;
	return generation ? component_read_all(a, prefix, &c, ret, e) : 0;
}

int components_any(const struct run *r, uint32_t from, uint32_t to, struct err *e)
{
	auto_arena a = ARENA_INIT;
	size_t x, y;
	if (components_of(r, &a, from, &x, e) < 0 || components_of(r, &a, to, &y, e) < 0)
		return -1;
	return x + y > 0;
}

int services_move(const struct run *r, uint32_t from, uint32_t to, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct side x, y;
	if (read_side(r, &a, from, &x, e) < 0 || read_side(r, &a, to, &y, e) < 0)
		return -1;
	if (!x.services_n && !y.services_n)
		return 0;
	if (!r->o->services) {
		run_note(r, "nothing runs the services of '%.*s' here: 'slipway agent' does", STR_ARG(r->o->env));
		return 0;
	}
	return move_all(r, &a, &x, &y, e);
}
