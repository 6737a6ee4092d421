// SPDX-License-Identifier: Apache-2.0
#include "pair/status.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "pair/link.h"

/* Looks at the other one. What it fails with is what keeps it from being reached. */
static struct str look_there(struct member *there, struct arena *a, struct str env, struct pair_status *ret)
{
	struct pair_member_status s = {0};
	struct pair_role role = {0};
	struct err why = ERR_INIT;
	if (there->ops->look(there, a, env, &s, &why) < 0 || there->ops->role_get(there, a, &role, &why) < 0)
		return member_why(a, there->number, &why);
	s.number = there->number;
	s.reachable = true;
	ret->member[there->number] = s;
	if (role.epoch > ret->role.epoch)
		ret->role = role;
	return STR_NONE;
}

struct str pair_runs_other(struct arena *a, const struct pair_member_status *m, const struct pair_member_status *than)
{
	if (!str_eq(m->running_version, than->running_version))
		return m->running_version.n ? str_c(arena_printf(a, "'%.*s'", STR_ARG(m->running_version)))
					    : STR("nothing");
	if (m->recipe.n && than->recipe.n && !str_eq(m->recipe, than->recipe))
		return str_c(arena_printf(a, "'%.*s' with other packages", STR_ARG(m->running_version)));
	return STR_NONE;
}

/* Why the standby could not take over as it is; empty: it could. */
static struct str why_cold(struct arena *a, const struct pair_status *s)
{
	const struct pair_member_status *active = &s->member[s->role.active], *standby = &s->member[3 - s->role.active];
	if (!s->pair.joined)
		return STR("there is no other member");
	if (!active->reachable || !standby->reachable)
		return arena_str(a, (active->reachable ? standby : active)->why);
	if (!standby->healthy)
		return standby->unhealthy.n ? standby->unhealthy : STR("it is not healthy");
	if (standby->idle && !active->idle && standby->current)
		return STR("its services are not started");
	struct str other = pair_runs_other(a, standby, active);
	if (other.n)
		return str_c(arena_printf(a, "it runs %.*s, the active member '%.*s'", STR_ARG(other),
					  STR_ARG(active->running_version)));
	if (!str_eq(standby->state, active->state) || !str_eq(standby->operation_id, active->operation_id))
		return str_c(arena_printf(a, "its operation is in state '%.*s', the active member's in '%.*s'",
					  STR_ARG(standby->state), STR_ARG(active->state)));
	return STR_NONE;
}

int status_gather(struct member *here, struct member *there, struct str why, struct arena *a, struct str env,
		  struct pair_status *ret, struct err *e)
{
	uint32_t self = here->number, other = 3 - self;
	if (here->ops->look(here, a, env, &ret->member[self], e) < 0 || here->ops->role_get(here, a, &ret->role, e) < 0)
		return -1;
	ret->member[self].number = self;
	ret->member[self].local = true;
	ret->member[self].reachable = true;
	if (there)
		why = look_there(there, a, env, ret);
	if (why.n || !there)
		ret->member[other] = (struct pair_member_status){.number = other, .why = why, .timer_left_ms = -1};
	if (ret->role.active < 1 || ret->role.active > PAIR_MEMBERS || !ret->pair.joined)
		ret->role.active = ret->pair.joined ? 1 : self;
	ret->cold = why_cold(a, ret);
	ret->hot = ret->cold.n == 0;
	return 0;
}

static int64_t joined_ms(int root_fd)
{
	struct stat st;
	return fstatat(root_fd, "pair/peer", &st, 0) < 0
		       ? 0
		       : (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

int pair_status(const struct pair_opts *o, struct arena *a, struct str env, struct pair_status *ret, struct err *e)
{
	struct pair_status s = {0};
	auto_ptr(member) here = NULL;
	auto_ptr(member) there = NULL;
	auto_ptr(link) l = NULL;
	struct err why = ERR_INIT;
	int rc = pair_read(o->local.root_fd, a, &s.pair, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		s.pair = (struct pair){.self = 1};
	if (member_local(o, s.pair.self, &here, e) < 0)
		return -1;
	if (s.pair.joined && link_connect(o->local.root_fd, &s.pair, LINK_CONNECT_MS, &l, &why) == 0)
		there = member_remote(steal_ptr(&l), 3 - s.pair.self);
	if (status_gather(here, there, member_why(a, 3 - s.pair.self, &why), a, env, &s, e) < 0)
		return -1;
	if (s.pair.joined && !s.role.since_ms) /* no switch-over yet: as since they are two */
		s.role.since_ms = joined_ms(o->local.root_fd);
	*ret = s;
	return 0;
}
