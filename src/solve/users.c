// SPDX-License-Identifier: Apache-2.0
/*
 * What needs a package. First who needs it at once, also for tests, and where it is there; then who needs those, as far as they cannot do without. Of all of
 * them those stay that can be installed together with it.
 */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/vec.h"
#include "channel/channel.h"
#include "solve/solve.h"

enum { NO_USER, USER, FAR_USER };

struct users {
	const struct solve_users_request *r;
	struct channel_needs *needs;
	uint32_t target, n;
	uint8_t *is; /* by package: is it one, and is it in the closure of what cannot do without? */
	bool found, by_far;
};

static bool has(const struct channel_set *set, const struct users *u)
{
	for (size_t i = 0; i < set->n; i++)
		if (u->by_far ? set->v[i] == u->target || u->is[set->v[i]] & FAR_USER : set->v[i] == u->target)
			return true;
	return false;
}

static int look(void *ctx, const struct channel_need *need, struct err *e)
{
	struct users *u = ctx;
	(void)e;
	if (need->kind != CHANNEL_BAN)
		u->found = u->found || has(&need->one, u);
	return 0;
}

static int find_near(struct users *u, struct err *e)
{
	for (uint32_t i = 0; i < u->n; i++) {
		u->found = false;
		if (channel_needs_order(u->needs, i, true, look, u, e) < 0)
			return -1;
		if (u->found)
			u->is[i] |= USER;
	}
	return 0;
}

/* depends alone: `tell` leaves out what is optional, `order` what is needed some time later. */
static int cannot_do_without(struct users *u, uint32_t package, struct err *e)
{
	u->found = false;
	if (channel_needs_tell(u->needs, package, look, u, e) < 0)
		return -1;
	if (!u->found)
		return 0;
	u->found = false;
	return channel_needs_order(u->needs, package, true, look, u, e) < 0 ? -1 : u->found;
}

/* In rounds, until one adds nothing. */
static int find_far(struct users *u, struct err *e)
{
	u->by_far = true;
	for (bool more = true; more;) {
		more = false;
		for (uint32_t i = 0; i < u->n; i++) {
			if (u->is[i] & FAR_USER)
				continue;
			int rc = cannot_do_without(u, i, e);
			if (rc < 0)
				return -1;
			if (rc > 0) {
				u->is[i] |= FAR_USER;
				more = true;
			}
		}
	}
	return 0;
}

static struct str key_of(const struct channel_candidate *c, struct arena *a)
{
	return str_c(arena_printf(a, "%.*s.%.*s", STR_ARG(c->name), STR_ARG(c->version)));
}

static int open_needs(struct users *u, const struct str *names, size_t n, bool tests, struct err *e)
{
	struct channel_needs_opts o = u->r->opts;
	o.asked = names;
	o.asked_n = n;
	o.with_test = tests;
	channel_needs_free(u->needs);
	u->needs = NULL;
	const struct channel_walk_opts all = {0};
	int rc = u->r->n ? channel_needs_open_opam(u->r->index, u->r->n, &o, &u->needs, e)
			 : channel_needs_open(channel_kind(STR("opam")), u->r->folder_fd, &all, &o, &u->needs, e);
	if (rc < 0)
		return -1;
	u->n = channel_needs_count(u->needs);
	for (u->target = 0; u->target < u->n; u->target++) {
		const struct channel_candidate *c = channel_needs_candidate(u->needs, u->target);
		if (str_eq(c->name, u->r->name) && str_eq(c->version, u->r->version))
			return 0;
	}
	return err_new(e, ERR_NOT_FOUND, "there is no package '%.*s.%.*s'", STR_ARG(u->r->name),
		       STR_ARG(u->r->version));
}

/* 1: it can be there together with the package, and with what else has to be there. */
static int goes_together(struct users *u, uint32_t package, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct solve_needs_result ignored;
	struct str *asked = arena_array(&a, struct str, u->r->with_n + 2);
	size_t n = 0;
	asked[n++] = key_of(channel_needs_candidate(u->needs, u->target), &a);
	for (size_t i = 0; i < u->r->with_n; i++)
		asked[n++] = u->r->with[i];
	asked[n++] = key_of(channel_needs_candidate(u->needs, package), &a);
	int rc = solve_needs(u->needs, asked, n, u->r->max_conflicts, &a, &ignored, e);
	return rc < 0 ? -1 : rc == 0;
}

static int by_name(const void *a, const void *b)
{
	const struct solve_user *x = a, *y = b;
	int c = str_cmp(x->name, y->name);
	return c ? c : pkg_opam_version_cmp(x->version, y->version);
}

static int collect(struct users *u, struct arena *a, struct solve_user **ret, size_t *ret_n, struct err *e)
{
	VEC(struct solve_user) v = {0};
	int rc = 0;
	for (uint32_t i = 0; i < u->n && rc >= 0; i++) {
		const struct channel_candidate *c = channel_needs_candidate(u->needs, i);
		if (!u->is[i] || i == u->target || str_eq(c->name, u->r->name) ||
		    !channel_needs_is_available(u->needs, i))
			continue;
		rc = goes_together(u, i, e);
		if (rc > 0)
			vec_push(&v, ((struct solve_user){.name = arena_str(a, c->name),
							  .version = arena_str(a, c->version),
							  .direct = u->is[i] & USER}));
	}
	*ret_n = v.n;
	*ret = vec_copy(&v, a);
	vec_release(&v);
	qsort(*ret, *ret_n, sizeof(**ret), by_name);
	return rc < 0 ? -1 : 0;
}

static int find_all(struct users *u, struct arena *a, struct solve_user **ret, size_t *ret_n, struct err *e)
{
	if (open_needs(u, NULL, 0, false, e) < 0)
		return -1;
	struct str *names = arena_array(a, struct str, u->n);
	uint8_t *is = arena_zalloc(a, u->n + 1);
	size_t n = 0;
	for (uint32_t i = 0; i < u->n; i += channel_needs_candidate(u->needs, i)->n)
		names[n++] = arena_str(a, channel_needs_candidate(u->needs, i)->name);
	u->is = is;
	/* tests count of who needs the package himself */
	if (open_needs(u, names, n, true, e) < 0 || find_near(u, e) < 0 || open_needs(u, NULL, 0, false, e) < 0 ||
	    (!u->r->only_direct && find_far(u, e) < 0))
		return -1;
	return collect(u, a, ret, ret_n, e);
}

int solve_users(const struct solve_users_request *r, struct arena *a, struct solve_user **ret, size_t *ret_n,
		struct err *e)
{
	struct users u = {.r = r};
	int rc = find_all(&u, a, ret, ret_n, e);
	channel_needs_free(u.needs);
	for (size_t i = 0; i < r->n && rc == 0; i++)
		rc = opam_index_check(r->index[i], e);
	return rc;
}
