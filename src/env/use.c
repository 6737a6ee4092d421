// SPDX-License-Identifier: Apache-2.0
/* Using an environment by its name: its current generation, found, activated. */
#include "base/cleanup.h"
#include "env/activate.h"

static int current_prefix(struct env_state *st, struct str name, struct arena *a, const char **ret, struct err *e)
{
	struct env_info info;
	if (env_get(st, a, name, &info, e) < 0)
		return -1;
	if (info.current == 0)
		return err_new(e, ERR_NOT_FOUND,
			       "environment '%.*s' has no current generation: 'slipway env create' makes one",
			       STR_ARG(name));
	*ret = arena_strdup(a, info.prefix);
	return 0;
}

int env_exec(struct env_state *st, struct str name, char *const *argv, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *prefix;
	return current_prefix(st, name, &a, &prefix, e) < 0 ? -1 : activation_exec(prefix, name, argv, e);
}

int env_activate_text(struct env_state *st, struct str name, const char *shell, bool deactivate, struct buf *b,
		      struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *prefix;
	return current_prefix(st, name, &a, &prefix, e) < 0 ? -1
							    : activation_text(prefix, name, shell, deactivate, b, e);
}

int env_wrap(struct env_state *st, struct str name, int dirfd, const char *const *programs, size_t n, bool check_only,
	     struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *prefix;
	if (current_prefix(st, name, &a, &prefix, e) < 0)
		return -1;
	/* ROOT/env/NAME/N → ROOT/env/NAME/current */
	struct str folder = str_head(str_c(prefix), (size_t)str_rfind(str_c(prefix), '/'));
	const char *current = arena_printf(&a, "%.*s/current", STR_ARG(folder));
	if (wrap_check(prefix, name, dirfd, programs, n, e) < 0)
		return -1;
	return check_only ? 0 : wrap_programs(current, name, dirfd, programs, n, e);
}
