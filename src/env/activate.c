// SPDX-License-Identifier: Apache-2.0
/* Activation: the variables and scripts that packages and the environment's maker want a program to run with. */
#include "env/activate.h"

#include <fcntl.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "base/vec.h"

enum { STATE_MAX = 16 << 20, SCRIPTS_MAX = 10000, VARIABLES_MAX = 100000 };

VEC_TYPE(variable_vec, struct env_variable);

/* == reading ====================================================================================================== */
static int add_variables(const struct json *j, const char *where, struct arena *a, struct variable_vec *v,
			 struct err *e)
{
	if (j->type != JSON_OBJECT)
		return err_new(e, ERR_INPUT, "'%s' is no object of names and values", where);
	for (uint32_t i = 0; i < j->n; i++) {
		const struct json_member *m = &j->member[i];
		if (!pkg_opam_env_name_is_good(m->key))
			return err_new(e, ERR_INPUT, "'%s': '%.*s' is no name of a variable", where, STR_ARG(m->key));
		if (m->value.type != JSON_STRING || memchr(m->value.string.p, '\0', m->value.string.n))
			return err_new(e, ERR_INPUT, "'%s': the value of '%.*s' is not a text", where, STR_ARG(m->key));
		if (v->n >= VARIABLES_MAX)
			return err_new(e, ERR_LIMIT, "more than %d variables", VARIABLES_MAX);
		*vec_add(v) = (struct env_variable){arena_str(a, m->key), arena_str(a, m->value.string)};
	}
	return 0;
}

/* 0 where the file is not there. */
static int read_variables(int prefix_fd, const char *path, const char *member, struct arena *a, struct variable_vec *v,
			  struct err *e)
{
	auto_buf text = BUF_INIT(STATE_MAX);
	auto_arena scratch = ARENA_INIT;
	struct err mine = ERR_INIT;
	if (fs_read(prefix_fd, path, &text, &mine) < 0) {
		if (mine.code == ERR_NOT_FOUND)
			return 0;
		*e = mine;
		return -1;
	}
	const struct json *j = json_parse(&scratch, buf_str(&text), path, e);
	if (!j || (member && json_opt_object(j, member, &j, e) < 0))
		return -1;
	return j ? add_variables(j, path, a, v, e) : 0;
}

/* The names in one folder that end so, ascending; 0 entries where there is no folder. */
static int list_folder(int prefix_fd, const char *dir, const char *suffix, struct arena *a, struct str **ret,
		       size_t *ret_n, struct err *e)
{
	auto_fs_list list = {0};
	*ret = NULL;
	*ret_n = 0;
	if (!fs_exists(prefix_fd, dir))
		return 0;
	if (fs_list(prefix_fd, dir, SCRIPTS_MAX, &list, e) < 0)
		return -1;
	*ret = arena_array(a, struct str, list.n);
	for (size_t i = 0; i < list.n; i++) {
		if (str_ends(str_c(list.name[i]), str_c(suffix)))
			(*ret)[(*ret_n)++] = str_c(arena_printf(a, "%s/%s", dir, list.name[i]));
	}
	return 0;
}

static void keep_last_of_each(const struct variable_vec *v, struct arena *a, struct activation *ret)
{
	auto_map seen = MAP_INIT;
	ret->variables = arena_array(a, struct env_variable, v->n);
	ret->variables_n = 0;
	vec_foreach(it, v) {
		uint64_t *at = map_put(&seen, it->name);
		if (*at == 0)
			*at = ++ret->variables_n;
		ret->variables[*at - 1] = *it;
	}
}

/* Each package says where the prefix is. */
static size_t without_repeats(struct env_opam_update *v, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		bool said = false;
		for (size_t k = 0; k < kept && !said && v[i].op == PKG_OPAM_SET; k++)
			said = v[k].op == PKG_OPAM_SET && str_eq(v[k].variable, v[i].variable) &&
			       str_eq(v[k].value, v[i].value);
		if (!said)
			v[kept++] = v[i];
	}
	return kept;
}

bool activation_is_first(const struct activation *act, size_t update)
{
	struct str name = act->updates[update].variable;
	for (size_t i = 0; i < act->variables_n; i++)
		if (str_eq(act->variables[i].name, name))
			return false;
	for (size_t i = 0; i < update; i++)
		if (str_eq(act->updates[i].variable, name))
			return false;
	return true;
}

/* Whether there are opam packages tells the folder alone: most have no variables. */
static int read_updates(int prefix_fd, struct arena *a, struct activation *ret, struct err *e)
{
	enum { UPDATES_BYTES_MAX = 1 << 20 };
	struct str *file;
	size_t n;
	auto_buf text = BUF_INIT(UPDATES_BYTES_MAX);
	if (list_folder(prefix_fd, ACTIVATION_OPAM_DIR, ".environment", a, &file, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (fs_read(prefix_fd, file[i].p, &text, e) < 0)
			return -1;
	if (env_opam_updates_parse(a, arena_str(a, buf_str(&text)), ACTIVATION_OPAM_DIR, &ret->updates, &ret->updates_n,
				   e) < 0)
		return -1;
	ret->updates_n = without_repeats(ret->updates, ret->updates_n);
	for (size_t i = 0; i < ret->updates_n; i++)
		if (!pkg_opam_env_name_is_good(ret->updates[i].variable) ||
		    memchr(ret->updates[i].value.p, '\0', ret->updates[i].value.n))
			return err_new(e, ERR_INPUT, "'%s': '%.*s' is no name of a variable, or its value no text",
				       ACTIVATION_OPAM_DIR, STR_ARG(ret->updates[i].variable));
	return 0;
}

int activation_read(int prefix_fd, const char *suffix, struct arena *a, struct activation *ret, struct err *e)
{
	struct variable_vec v = {0};
	struct str *file;
	size_t n;
	int r = list_folder(prefix_fd, "etc/conda/env_vars.d", ".json", a, &file, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = read_variables(prefix_fd, file[i].p, NULL, a, &v, e);
	if (r == 0)
		r = read_variables(prefix_fd, "conda-meta/state", "env_vars", a, &v, e);
	if (r == 0)
		keep_last_of_each(&v, a, ret);
	vec_release(&v);
	if (r < 0 || read_updates(prefix_fd, a, ret, e) < 0 ||
	    list_folder(prefix_fd, "etc/conda/activate.d", suffix, a, &ret->activate, &ret->activate_n, e) < 0 ||
	    list_folder(prefix_fd, "etc/conda/deactivate.d", suffix, a, &ret->deactivate, &ret->deactivate_n, e) < 0)
		return -1;
	for (size_t i = 0; i < ret->deactivate_n / 2; i++) {
		struct str swap = ret->deactivate[i];
		ret->deactivate[i] = ret->deactivate[ret->deactivate_n - 1 - i];
		ret->deactivate[ret->deactivate_n - 1 - i] = swap;
	}
	return 0;
}

/* == an environment block ========================================================================================= */
struct block {
	struct arena *arena;
	struct map by_name; /* → place + 1 */
	VEC(char *) v;
};

static void block_set(struct block *b, struct str name, struct str value)
{
	char *text = arena_printf(b->arena, "%.*s=", STR_ARG(name));
	size_t n = strlen(text);
	char *line = arena_alloc(b->arena, n + value.n + 1);
	memcpy(line, text, n);
	memcpy(line + n, value.n ? value.p : "", value.n);
	line[n + value.n] = '\0';
	uint64_t *at = map_put(&b->by_name, str_of(line, name.n));
	if (*at == 0) {
		vec_push(&b->v, line);
		*at = b->v.n;
	} else {
		b->v.v[*at - 1] = line;
	}
}

static void block_unset(struct block *b, struct str name)
{
	uint64_t *at = map_get(&b->by_name, name);
	if (at)
		b->v.v[*at - 1] = NULL;
}

static const char *block_get(struct block *b, struct str name)
{
	uint64_t *at = map_get(&b->by_name, name);
	return at && b->v.v[*at - 1] ? b->v.v[*at - 1] + name.n + 1 : NULL;
}

static void block_read(struct block *b, char *const *base)
{
	for (; base && *base; base++) {
		struct str line = str_c(*base);
		ptrdiff_t equals = str_find(line, '=');
		if (equals > 0)
			block_set(b, str_head(line, (size_t)equals), str_skip(line, (size_t)equals + 1));
	}
}

static char **block_finish(struct block *b)
{
	char **out = arena_array(b->arena, char *, b->v.n + 1);
	size_t n = 0;
	for (size_t i = 0; i < b->v.n; i++) {
		if (b->v.v[i])
			out[n++] = b->v.v[i];
	}
	map_release(&b->by_name);
	vec_release(&b->v);
	return out;
}

static void block_update(struct block *b, const struct env_opam_update *u)
{
	auto_buf value = BUF_INIT(BUF_MAX);
	const char *old = block_get(b, u->variable);
	bool any = old && *old;
	bool before = u->op == PKG_OPAM_PREPEND || u->op == PKG_OPAM_PREPEND_COLON || u->op == PKG_OPAM_REPLACE;
	if (u->op == PKG_OPAM_SET || before) {
		buf_put_str(&value, u->value);
		buf_put_c(&value, u->op == PKG_OPAM_PREPEND_COLON || (before && any) ? ":" : "");
		buf_put_c(&value, before && any ? old : "");
	} else {
		buf_put_c(&value, any ? old : "");
		buf_put_c(&value, u->op == PKG_OPAM_APPEND_COLON || any ? ":" : "");
		buf_put_str(&value, u->value);
	}
	block_set(b, u->variable, buf_str(&value));
}

int env_environ(const char *prefix, struct str name, char *const *base, struct arena *a, char ***ret,
		bool *ret_needs_shell, struct err *e)
{
	struct activation act = {0};
	struct block b = {.arena = a};
	auto_fd prefix_fd = fs_open_dir(AT_FDCWD, prefix, e);
	if (prefix_fd < 0 || activation_read(prefix_fd, ".sh", a, &act, e) < 0)
		return err_ctx(e, "activate '%s'", prefix);
	block_read(&b, base);
	const char *path = block_get(&b, STR("PATH"));
	block_set(&b, STR("PATH"),
		  str_c(arena_printf(a, "%s/bin:%s", prefix, path && *path ? path : "/usr/local/bin:/usr/bin:/bin")));
	block_set(&b, STR("CONDA_PREFIX"), str_c(prefix));
	block_set(&b, STR("CONDA_DEFAULT_ENV"), name);
	block_set(&b, STR("CONDA_SHLVL"), STR("1"));
	for (size_t i = 0; i < act.variables_n; i++) {
		if (str_eq(act.variables[i].value, ACTIVATION_UNSET))
			block_unset(&b, act.variables[i].name);
		else
			block_set(&b, act.variables[i].name, act.variables[i].value);
	}
	for (size_t i = 0; i < act.updates_n; i++)
		block_update(&b, &act.updates[i]);
	*ret_needs_shell = act.activate_n > 0;
	*ret = block_finish(&b);
	return 0;
}
