// SPDX-License-Identifier: Apache-2.0
/* The services of one environment: what is declared, in the order in which it starts. */
#include "agent/internal.h"

static const char *prefix_of(struct arena *a, const char *root_path, struct str env, uint32_t generation)
{
	return arena_printf(a, "%s/env/%.*s/%u", root_path, STR_ARG(env), generation);
}

static int read_services(struct arena *a, const char *prefix, const struct service_decl ***ret, size_t *ret_n,
			 struct err *e)
{
	struct component *c;
	size_t n;
	return component_read_all(a, prefix, &c, &n, e) < 0 || component_services(a, c, n, ret, ret_n, e) < 0 ? -1 : 0;
}

int agent_find_service(struct arena *a, const char *root_path, struct str env, uint32_t generation, struct str name,
		       const char **ret_prefix, const struct service_decl **ret, struct err *e)
{
	const struct service_decl **all;
	size_t n;
	if (env_name_check(env, e) < 0)
		return -1;
	*ret_prefix = prefix_of(a, root_path, env, generation);
	if (read_services(a, *ret_prefix, &all, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (str_eq(all[i]->name, name)) {
			*ret = all[i];
			return 0;
		}
	}
	return err_new(e, ERR_NOT_FOUND, "generation %u of '%.*s' has no service '%.*s'", generation, STR_ARG(env),
		       STR_ARG(str_head(name, 100)));
}

static const struct service_status *find_status(const struct service_status *s, size_t n, struct str env,
						struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(s[i].env, env) && str_eq(s[i].name, name))
			return &s[i];
	return NULL;
}

static bool runs(const struct service_status *s)
{
	return s && s->state != SERVICE_STOPPED && s->state != SERVICE_FAILED;
}

int agent_start_env(struct env_state *st, const struct upgrade_services *s, const char *root_path, struct str env,
		    agent_told_fn *told, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_info info;
	const struct service_decl **all;
	struct service_status *now;
	size_t n, now_n;
	int rc = 0;
	if (env_get(st, &a, env, &info, e) < 0)
		return -1;
	const char *prefix = prefix_of(&a, root_path, env, info.current);
	if (read_services(&a, prefix, &all, &n, e) < 0 || s->status(s->ctx, &a, &now, &now_n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct err why = ERR_INIT;
		const struct service_status *is = find_status(now, now_n, env, all[i]->name);
		const struct service_ref r = {.env = env, .generation = info.current, .prefix = prefix, .decl = all[i]};
		if (runs(is))
			continue;
		if (told)
			told(ctx, all[i]->name);
		/* one that failed is forgotten first: it may be of another generation */
		if (is && s->stop(s->ctx, env, all[i]->name, &why) < 0 && why.code != ERR_NOT_FOUND) {
			;
		} else if (s->start(s->ctx, &r, &why) == 0) {
			continue;
		}
		if (rc == 0) {
			*e = why;
			err_ctx(e, "service '%.*s' of '%.*s'", STR_ARG(all[i]->name), STR_ARG(env));
		}
		rc = -1;
	}
	return rc;
}

int agent_stop_env(struct env_state *st, const struct upgrade_services *s, const char *root_path, struct str env,
		   agent_told_fn *told, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_info info;
	struct err ignored = ERR_INIT;
	const struct service_decl **all = NULL;
	struct service_status *now;
	size_t n = 0, now_n;
	if (env_get(st, &a, env, &info, e) < 0 || s->status(s->ctx, &a, &now, &now_n, e) < 0)
		return -1;
	/* what cannot be read does not keep anything running */
	if (read_services(&a, prefix_of(&a, root_path, env, info.current), &all, &n, &ignored) < 0)
		n = 0;
	for (size_t i = n + now_n; i-- > 0;) {
		/* first what is declared, last one first; then whatever else runs */
		size_t at = i >= now_n ? i - now_n : i;
		struct str name = i >= now_n ? all[at]->name : now[at].name;
		struct service_status *is = (struct service_status *)find_status(now, now_n, env, name);
		if (!is || is->state == SERVICE_STOPPED)
			continue;
		if (told)
			told(ctx, name);
		if (s->stop(s->ctx, env, name, e) < 0)
			return err_ctx(e, "stop service '%.*s' of '%.*s'", STR_ARG(name), STR_ARG(env));
		is->state = SERVICE_STOPPED;
	}
	return 0;
}
