// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: the repositories of the root; `opam repository` and `opam update`. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "cmd/opam_as.h"
#include "cmd/opam_system.h"

/* -- repository ------------------------------------------------------------------------------------------------------------------ */

struct repo_args {
	bool shorter, all, strict, dont_select, all_switches, set_default, this_switch;
	const char *kind, *rank;
};

static struct env_opam_repo *find(struct env_opam_repo *v, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_c(v[i].name, name))
			return &v[i];
	return NULL;
}

static void put_rank(struct buf *b, const struct pkg_opam_strs *use, struct str repo, const char *who, size_t who_n)
{
	for (size_t i = 0; i < use->n; i++) {
		if (!str_eq(use->v[i], repo))
			continue;
		buf_printf(b, "%s%.*s", b->n ? " " : "", (int)who_n, who);
		if (use->n > 1)
			buf_printf(b, "(%zu/%zu)", i + 1, use->n);
	}
}

/* What a switch says itself, else the root. */
static int selection_of(struct opam_as *x, const struct env_opam_config *c, struct str name, struct pkg_opam_strs *ret,
			struct err *e)
{
	auto_ptr(env_opam_switch) own = NULL;
	*ret = c->repositories;
	if (env_opam_switch_open(x->o, arena_strdup(&x->c->arena, name), &own, e) < 0)
		return e->code == ERR_NOT_FOUND ? 0 : -1;
	struct env_opam_switch *was = x->s;
	x->s = own;
	int rc = opam_as_repos_in_use(x, ret, e);
	x->s = was;
	return rc;
}

static int list_all(struct opam_as *x, const struct repo_args *a, const struct env_opam_repo *v, size_t n)
{
	struct opam_as_table t = {.columns = 3, .sep = " "};
	struct env_opam_config c;
	struct err e = ERR_INIT;
	if (env_opam_config_read(x->o, &x->c->arena, &c, &e) < 0)
		return opam_as_fail(x, &e);
	for (size_t i = 0; a->shorter && i < n; i++)
		opam_as_put(x, "%.*s\n", STR_ARG(v[i].name));
	if (a->shorter)
		return OPAM_OK;
	struct pkg_opam_strs *use = arena_array(&x->c->arena, struct pkg_opam_strs, c.switches.n);
	for (size_t k = 0; k < c.switches.n; k++)
		if (selection_of(x, &c, c.switches.v[k], &use[k], &e) < 0)
			return opam_as_fail(x, &e);
	opam_as_cell(&t, "# Repository");
	opam_as_cell(&t, "# Url");
	opam_as_cell(&t, "# Switches(rank)");
	for (size_t i = 0; i < n; i++) {
		auto_buf b = BUF_INIT(65536);
		put_rank(&b, &c.repositories, v[i].name, "<default>", 9);
		for (size_t k = 0; k < c.switches.n; k++)
			put_rank(&b, &use[k], v[i].name, c.switches.v[k].p, c.switches.v[k].n);
		opam_as_cell(&t, "%.*s", STR_ARG(v[i].name));
		opam_as_cell(&t, "%.*s", STR_ARG(v[i].url));
		opam_as_cell(&t, "%s", b.p);
	}
	opam_as_table(x, &t);
	return OPAM_OK;
}

static int list_in_use(struct opam_as *x, const struct repo_args *a, struct env_opam_repo *v, size_t n)
{
	struct pkg_opam_strs use;
	struct err e = ERR_INIT;
	struct opam_as_table t = {.columns = 3, .sep = " "};
	const char *name = opam_as_switch_name(x);
	if (name && opam_as_switch(x) != OPAM_OK)
		return OPAM_CONFIG_ERROR;
	if (opam_as_repos_in_use(x, &use, &e) < 0)
		return opam_as_fail(x, &e);
	if (!a->shorter) {
		opam_as_note(
			x, "NOTE",
			"These are the repositories in use by the current switch. Use '--all' to see all configured repositories.");
		opam_as_header(x, name ? "Repository configuration for switch %s" : "Default repository configuration",
			       name);
	}
	for (size_t i = 0; i < use.n; i++) {
		const struct env_opam_repo *r = find(v, n, arena_strdup(&x->c->arena, use.v[i]));
		if (a->shorter) {
			opam_as_put(x, "%.*s\n", STR_ARG(use.v[i]));
			continue;
		}
		opam_as_cell(&t, "%2zu", i + 1);
		opam_as_cell(&t, "%.*s", STR_ARG(use.v[i]));
		opam_as_cell(&t, "%.*s", r ? (int)r->url.n : 0, r ? r->url.p : "");
	}
	opam_as_table(x, &t);
	return OPAM_OK;
}

/* What was fetched, in opam's words; the exit code of what was not. */
static int fetch(struct opam_as *x, struct str name, struct str url, bool quiet_same)
{
	struct err e = ERR_INIT;
	int rc = opam_as_fetch_repo(x, name, url, &e);
	if (rc < 0) {
		opam_as_say(x, 0, "Could not update repository \"%.*s\": %s", STR_ARG(name), e.msg);
		return OPAM_SYNC_ERROR;
	}
	if (rc == 0 && quiet_same)
		opam_as_put(x, "[%.*s] no changes from %.*s\n", STR_ARG(name), STR_ARG(url));
	else
		opam_as_put(x, "[%.*s] Initialised\n", STR_ARG(name));
	return OPAM_OK;
}

static int set_url(struct opam_as *x, const struct repo_args *a, struct env_opam_repo *v, size_t n, const char *name,
		   const char *said)
{
	struct err e = ERR_INIT;
	struct env_opam_repo *r = find(v, n, name);
	if (!r)
		return opam_as_say(x, OPAM_NOT_FOUND, "No repository %s found", name);
	struct str before = r->url, url = opam_as_url(x, said);
	if (a->strict || x->strict) { /* only where it can be had */
		int code = fetch(x, r->name, url, false);
		if (code != OPAM_OK)
			return code;
	}
	r->url = url;
	if (!str_eq(before, url) && env_opam_repos_write(x->o, v, n, &e) < 0)
		return opam_as_fail(x, &e);
	if (!a->strict && !x->strict)
		(void)fetch(x, r->name, url, false); /* opam's exit code is 0 without --strict */
	return OPAM_OK;
}

/* The names that the root (or the switch) uses, with one more, or one less. */
static int select_repo(struct opam_as *x, bool in_switch, struct str name, bool add, struct err *e)
{
	struct pkg_opam_strs use;
	VEC(const struct pkg_opam_value *) list = {0};
	if (opam_as_repos_in_use(x, &use, e) < 0)
		return -1;
	if (add)
		vec_push(&list, pkg_opam_make(&x->c->arena, PKG_OPAM_STRING, name));
	for (size_t i = 0; i < use.n; i++)
		if (!str_eq(use.v[i], name))
			vec_push(&list, pkg_opam_make(&x->c->arena, PKG_OPAM_STRING, use.v[i]));
	int rc = env_opam_set(x->o, in_switch ? x->s : NULL, "repositories",
			      pkg_opam_make_list(&x->c->arena, PKG_OPAM_LIST, list.v, list.n), e);
	vec_release(&list);
	return rc;
}

static int add_repo(struct opam_as *x, const struct repo_args *a, struct env_opam_repo *v, size_t n, const char *name,
		    const char *said)
{
	struct err e = ERR_INIT;
	struct env_opam_repo *r = find(v, n, name);
	struct env_opam_repo *all = arena_array(&x->c->arena, struct env_opam_repo, n + 1);
	struct str url = said ? opam_as_url(x, said) : STR_NONE;
	bool in_switch = !a->set_default && opam_as_switch_name(x) && opam_as_switch(x) == OPAM_OK;
	if (!r && !said)
		return opam_as_say(x, OPAM_USAGE, "opam repository add wants a name and an address");
	if (r && said && !str_eq(r->url, url))
		return opam_as_say(
			x, OPAM_USAGE,
			"Repository %s is already set up and points to %.*s. To change that, use 'opam repository set-url'.",
			name, STR_ARG(r->url));
	if (!r) {
		int code = fetch(x, str_c(name), url, false);
		if (code != OPAM_OK)
			return code;
		memcpy(all, v, n * sizeof(*v));
		all[n] = (struct env_opam_repo){.name = str_c(name), .url = url};
		if (env_opam_repos_write(x->o, all, n + 1, &e) < 0)
			return opam_as_fail(x, &e);
	}
	if (a->dont_select)
		return OPAM_OK;
	if (in_switch) {
		int code = opam_as_hold_switch(x);
		if (code != OPAM_OK)
			return code;
		opam_as_note(
			x, "NOTE",
			"Repository %s has been added to the selections of switch %s only.\nRun `opam repository add %s "
			"--all-switches|--set-default' to use it in all existing switches, or in newly created switches, "
			"respectively.\n",
			name, env_opam_switch_name(x->s), name);
	}
	return select_repo(x, in_switch, str_c(name), true, &e) < 0 ? opam_as_fail(x, &e) : OPAM_OK;
}

/* No switch names it any more either. */
static int deselect_everywhere(struct opam_as *x, struct str name, struct err *e)
{
	struct env_opam_config c;
	struct env_opam_switch *was = x->s;
	int rc = env_opam_config_read(x->o, &x->c->arena, &c, e);
	for (size_t i = 0; i < c.switches.n && rc == 0; i++) {
		auto_ptr(env_opam_switch) own = NULL;
		struct pkg_opam_doc d;
		if (env_opam_switch_open(x->o, arena_strdup(&x->c->arena, c.switches.v[i]), &own, e) < 0)
			continue;
		x->s = own;
		rc = env_opam_switch_config(own, &x->c->arena, &d, e);
		if (rc == 0 && pkg_opam_get(&d, "repositories"))
			rc = env_opam_switch_lock(own, true, 0, e) < 0 ? -1 : select_repo(x, true, name, false, e);
		x->s = was;
	}
	return rc < 0 ? -1 : select_repo(x, false, name, false, e);
}

static int remove_repo(struct opam_as *x, const struct repo_args *a, struct env_opam_repo *v, size_t n,
		       const char *name)
{
	struct err e = ERR_INIT;
	struct env_opam_repo *r = find(v, n, name);
	if (!a->all) {
		int code = opam_as_hold_switch(x);
		if (code != OPAM_OK)
			return code;
		if (select_repo(x, true, str_c(name), false, &e) < 0)
			return opam_as_fail(x, &e);
		opam_as_put(x,
			    "Repositories removed from the selections of switch %s. Use '--all' to forget about them "
			    "altogether.\n",
			    env_opam_switch_name(x->s));
		return OPAM_OK;
	}
	if (!r)
		return opam_as_say(x, OPAM_NOT_FOUND, "No repository %s found", name);
	struct str gone = r->name;
	memmove(r, r + 1, (size_t)(v + n - r - 1) * sizeof(*v));
	return deselect_everywhere(x, gone, &e) < 0 || env_opam_repos_write(x->o, v, n - 1, &e) < 0 ||
			       env_opam_repo_remove(x->o, gone, &e) < 0
		       ? opam_as_fail(x, &e)
		       : OPAM_OK;
}

static int repository(struct opam_as *x, const struct repo_args *a, const struct cmd_list *w)
{
	const char *verb = w->n ? w->v[0] : "list";
	struct env_opam_repo *v;
	struct err e = ERR_INIT;
	size_t n;
	bool list = strcmp(verb, "list") == 0;
	int code = list ? opam_as_root(x) : opam_as_hold(x, ENV_OPAM_CONFIG);
	code = code == OPAM_OK && !list ? opam_as_hold(x, ENV_OPAM_REPOS) : code;
	if (code != OPAM_OK)
		return code;
	if (env_opam_repos(x->o, &x->c->arena, &v, &n, &e) < 0)
		return opam_as_fail(x, &e);
	if (list)
		return a->all ? list_all(x, a, v, n) : list_in_use(x, a, v, n);
	if (strcmp(verb, "set-url") == 0 && w->n == 3)
		return set_url(x, a, v, n, w->v[1], w->v[2]);
	if (strcmp(verb, "add") == 0 && (w->n == 2 || w->n == 3))
		return add_repo(x, a, v, n, w->v[1], w->n == 3 ? w->v[2] : NULL);
	if ((strcmp(verb, "remove") == 0 || strcmp(verb, "rm") == 0) && w->n == 2)
		return remove_repo(x, a, v, n, w->v[1]);
	return opam_as_say(x, OPAM_USAGE,
			   "opam repository knows: list, set-url NAME ADDRESS, add NAME ADDRESS, remove NAME");
}

int opam_as_repository(struct opam_as *x, int argc, char **argv)
{
	struct repo_args a = {0};
	struct cmd_list words = {0};
	const struct cmd_option options[] = {{'s', "short", CMD_FLAG, &a.shorter},
					     {'a', "all", CMD_FLAG, &a.all},
					     {0, "strict", CMD_FLAG, &a.strict},
					     {0, "dont-select", CMD_FLAG, &a.dont_select},
					     {0, "all-switches", CMD_FLAG, &a.all_switches},
					     {0, "set-default", CMD_FLAG, &a.set_default},
					     {0, "this-switch", CMD_FLAG, &a.this_switch},
					     {'k', "kind", CMD_TEXT, &a.kind},
					     {0, "rank", CMD_TEXT, &a.rank},
					     {0, NULL, CMD_FLAG, NULL}};
	int code;
	if (opam_as_parse(x, options, argc, argv, &words, &code))
		code = repository(x, &a, &words);
	vec_release(&words);
	return code;
}

/* -- update ------------------------------------------------------------------------------------------------------------------------ */

/* The lists of the system's packages, by its own program. */
static int update_system(struct opam_as *x)
{
	struct env_opam_vars *vars;
	struct err e = ERR_INIT;
	int code = opam_as_root(x);
	if (code != OPAM_OK)
		return code;
	if (env_opam_vars_new(x->o, NULL, &x->c->arena, &vars, &e) < 0)
		return opam_as_fail(x, &e);
	code = opam_system_update(x, vars);
	env_opam_vars_free(vars);
	return code;
}

static int update_all(struct opam_as *x, const struct cmd_list *w)
{
	struct env_opam_repo *v;
	struct err e = ERR_INIT;
	size_t n;
	int code = opam_as_hold(x, ENV_OPAM_CONFIG);
	if (code == OPAM_OK)
		code = opam_as_hold(x, ENV_OPAM_REPOS);
	if (code != OPAM_OK)
		return code;
	if (env_opam_repos(x->o, &x->c->arena, &v, &n, &e) < 0)
		return opam_as_fail(x, &e);
	opam_as_header(x, "Updating package repositories");
	for (size_t k = 0; k < w->n; k++)
		if (!find(v, n, w->v[k]))
			code = opam_as_say(x, OPAM_SYNC_ERROR, "Unknown repositories or installed packages: %s",
					   w->v[k]);
	for (size_t i = 0; i < n; i++) {
		bool asked = w->n == 0;
		for (size_t k = 0; k < w->n; k++)
			asked |= str_eq_c(v[i].name, w->v[k]);
		if (!asked || !v[i].url.n)
			continue;
		int one = fetch(x, v[i].name, v[i].url, true);
		code = one == OPAM_OK ? code : one;
	}
	return code;
}

int opam_as_update(struct opam_as *x, int argc, char **argv)
{
	bool depexts = false, repositories = false, all = false, development = false;
	struct cmd_list words = {0};
	const struct cmd_option options[] = {{0, "depexts", CMD_FLAG, &depexts},
					     {'R', "repositories", CMD_FLAG, &repositories},
					     {'a', "all", CMD_FLAG, &all},
					     {0, "development", CMD_FLAG, &development},
					     {0, NULL, CMD_FLAG, NULL}};
	int code;
	if (opam_as_parse(x, options, argc, argv, &words, &code)) {
		code = depexts ? update_system(x) : OPAM_OK;
		if (code == OPAM_OK && (!depexts || repositories || development))
			code = update_all(x, &words);
	}
	vec_release(&words);
	return code;
}
