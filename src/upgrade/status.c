// SPDX-License-Identifier: Apache-2.0
/* What show issu state and show install say of one environment. */
#include "base/json.h"
#include "upgrade/run.h"

static const char *next_command(enum op_state s)
{
	switch (s) {
	case OP_NONE:
		return "slipway install add RECIPE";
	case OP_ADDED:
		return "slipway install activate issu";
	case OP_ACTIVATED:
	case OP_PREPARED:
	case OP_COMMITTING:
		return "slipway install commit";
	case OP_ADDING:
	case OP_ACTIVATING:
	case OP_STANDBY_ACTIVATED:
	case OP_ABORTING:
	case OP_NEEDS_ABORT:
	case OP_STATES:
		break;
	}
	return "slipway install abort issu";
}

static struct str next_for(struct arena *a, enum op_state s, struct str env)
{
	return str_c(arena_printf(a, "%s -n %.*s", next_command(s), STR_ARG(env)));
}

/* Where both are open to a person. */
static struct str back_from(struct arena *a, enum op_state s, struct str env)
{
	bool both = s == OP_ADDED || s == OP_ACTIVATED;
	return both ? str_c(arena_printf(a, "slipway install abort issu -n %.*s", STR_ARG(env))) : STR_NONE;
}

static int version_of(struct env_state *st, struct arena *a, struct str env, uint32_t number, struct str *ret,
		      struct err *e)
{
	struct env_generation_info *g;
	size_t n;
	if (env_generations(st, a, env, &g, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (g[i].number == number)
			*ret = g[i].version;
	return 0;
}

/* The stages of a pair are for the log: what this host did is in its own steps. */
static size_t without_stages(struct env_operation_step *v, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		if (!str_starts(v[i].name, STR("STAGE ")))
			v[kept++] = v[i];
	return kept;
}

static int fill_operation(struct env_state *st, struct arena *a, const struct env_operation *op,
			  struct upgrade_status *ret, struct err *e)
{
	enum op_state s;
	struct timer_now now;
	struct env_operation_step *steps;
	if (op_state_parse(op->state, &s, e) < 0 || timer_read(&now, e) < 0 ||
	    env_operation_steps(st, a, op->id, &steps, &ret->steps_n, e) < 0)
		return -1;
	ret->id = op->id;
	ret->state = str_c(op_state_name(s));
	ret->title = str_c(op_state_title(s));
	ret->in_progress = true;
	ret->one_shot = op->one_shot;
	ret->steps_n = without_stages(steps, ret->steps_n);
	ret->steps = steps;
	if (ret->steps_n)
		ret->last_operation = steps[ret->steps_n - 1].name;
	ret->timer_left_ms = timer_left_ms(&op->timer, &now);
	ret->timer_stopped = op->timer.stopped;
	ret->from = op->from;
	ret->to = op->to;
	ret->next = next_for(a, s, ret->env);
	ret->back = back_from(a, s, ret->env);
	if (s == OP_ACTIVATED &&
	    ret->timer_left_ms == 0) { /* too late to commit: whatever comes next goes back first */
		ret->next = ret->back;
		ret->back = STR_NONE;
	}
	if (!op->detail.n)
		return 0;
	bool held = false;
	const struct json *j = json_parse(a, op->detail, "state.db: operation", e);
	if (!j || json_opt_str(j, "transition", &ret->transition, e) < 0 ||
	    json_opt_bool(j, "paired", &ret->paired, e) < 0 ||
	    json_opt_bool(j, "will_commit", &ret->will_commit, e) < 0 || json_opt_bool(j, "timer_held", &held, e) < 0)
		return -1;
	ret->timer_stopped &= !held;
	return 0;
}

int upgrade_find_status(struct env_state *st, struct arena *a, struct str env, struct upgrade_status *ret,
			struct err *e)
{
	struct env_info info;
	struct env_operation op;
	*ret = (struct upgrade_status){
		.env = env,
		.state = STR("none"),
		.title = STR("None"),
		.timer_left_ms = -1,
		.next = next_for(a, OP_NONE, env),
	};
	int rc = env_operation_get(st, a, env, &op, e);
	if (rc < 0 || (rc > 0 && fill_operation(st, a, &op, ret, e) < 0))
		return -1;
	int there = env_find(st, a, env, &info, e);
	if (there <= 0)
		return there < 0 ? -1 : rc; /* its first version is being added; or there is nothing */
	return version_of(st, a, env, info.current, &ret->running_version, e) < 0 ? -1 : 1;
}

int upgrade_status(struct env_state *st, struct arena *a, struct str env, struct upgrade_status *ret, struct err *e)
{
	struct env_info info;
	int rc = upgrade_find_status(st, a, env, ret, e);
	return rc ? rc < 0 ? -1 : 0 : env_get(st, a, env, &info, e); /* which says that there is none */
}
