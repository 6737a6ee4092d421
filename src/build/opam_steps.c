// SPDX-License-Identifier: Apache-2.0
/* What is done with one opam package: built, installed, removed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam.h"

enum { SUBST_MAX = 16 << 20, INSTALL_FILE_MAX = 4 << 20 };

/* A package as its commands see it; made while nobody changes the switch. */
struct view {
	struct env_opam_vars *vars;
	struct pkg_opam_host host;
	const char *const *envp;
};
static void view_release(struct view *w)
{
	if (w->vars)
		env_opam_vars_free(w->vars);
	w->vars = NULL;
}
#define auto_view cleanup_with(view_release) struct view

static const char *package_text(struct arena *a, const struct build_opam_package *p)
{
	return arena_printf(a, "%.*s.%.*s", STR_ARG(p->name), STR_ARG(p->version));
}

/* == variables ======================================================================================================= */

static int add_update(struct env_opam_update *v, size_t *n, const char *name, struct str value, enum pkg_opam_op op)
{
	v[(*n)++] = (struct env_opam_update){.variable = str_c(name), .value = value, .op = op};
	return 0;
}

/* This process's environment, with what the updates say in place of what it has. */
static const char *const *merge(struct arena *a, const struct env_variable *v, size_t n, bool confined)
{
	static const char *const tmp[] = {"TMPDIR", "TMP", "TEMP", "TEMPDIR"};
	size_t count = 0, at = 0;
	while (environ[count])
		count++;
	const char **envp = arena_array(a, const char *, count + n + 8);
	for (size_t i = 0; i < count; i++) {
		struct str line = str_c(environ[i]), name;
		bool is_replaced = !str_take_until(&line, '=', &name);
		for (size_t k = 0; k < n && !is_replaced; k++)
			is_replaced = str_eq(v[k].name, name);
		for (size_t k = 0; confined && k < 4 && !is_replaced; k++)
			is_replaced = str_eq_c(name, tmp[k]);
		if (!is_replaced)
			envp[at++] = environ[i];
	}
	for (size_t i = 0; i < n; i++)
		envp[at++] = arena_printf(a, "%.*s=%.*s", STR_ARG(v[i].name), STR_ARG(v[i].value));
	if (confined)
		envp[at++] = "TMPDIR=/tmp";
	return envp;
}

static int make_env(struct opam_run *r, const struct build_opam_package *p, struct arena *a, struct view *ret,
		    struct err *e)
{
	struct env_opam_update *switch_v;
	size_t switch_n, n = 0;
	if (env_opam_updates_compute(r->o->sw, a, &switch_v, &switch_n, e) < 0)
		return -1;
	struct env_opam_update *v = arena_array(a, struct env_opam_update, switch_n + p->opam->build_envs + 16);
	add_update(v, &n, "CDPATH", STR(""), PKG_OPAM_SET);
	add_update(v, &n, "MAKEFLAGS", STR(""), PKG_OPAM_SET);
	add_update(v, &n, "MAKELEVEL", STR(""), PKG_OPAM_SET);
	add_update(v, &n, "OPAM_PACKAGE_NAME", p->name, PKG_OPAM_SET);
	add_update(v, &n, "OPAM_PACKAGE_VERSION", p->version, PKG_OPAM_SET);
	add_update(v, &n, "OPAMCLI", STR("2.0"), PKG_OPAM_SET);
	add_update(v, &n, "OPAMROOT", str_c(env_opam_path(r->o->root)), PKG_OPAM_SET);
	add_update(v, &n, "OPAMSWITCH", str_c(env_opam_switch_name(r->o->sw)), PKG_OPAM_SET);
	for (size_t i = 0; i < switch_n; i++) {
		v[n] = switch_v[i];
		if (str_eq(v[n].variable, STR("PATH"))) /* in front, wherever else it stands */
			v[n].op = PKG_OPAM_PREPEND;
		n++;
	}
	for (size_t i = 0; i < p->opam->build_envs; i++) {
		const struct pkg_opam_binding *b = &p->opam->build_env[i];
		v[n++] = (struct env_opam_update){
			.variable = b->variable, .value = pkg_opam_expand(a, b->value, &ret->host), .op = b->op};
	}
	struct env_variable *values;
	size_t values_n;
	env_opam_updates_expand(a, v, n, NULL, 0, getenv, &values, &values_n);
	ret->envp = merge(a, values, values_n, r->confined);
	return 0;
}

/* With the state locked. */
static int look(struct opam_run *r, const struct build_opam_package *p, struct arena *a, struct view *ret,
		struct err *e)
{
	if (env_opam_vars_new(r->o->root, r->o->sw, a, &ret->vars, e) < 0)
		return -1;
	struct env_opam_local *local = arena_array(a, struct env_opam_local, 4);
	local[0] =
		(struct env_opam_local){STR("with-test"), p->requested && r->o->with_test ? STR("true") : STR("false")};
	local[1] =
		(struct env_opam_local){STR("with-doc"), p->requested && r->o->with_doc ? STR("true") : STR("false")};
	local[2] = (struct env_opam_local){STR("with-dev-setup"), STR("false")};
	local[3] = (struct env_opam_local){STR("jobs"), str_c(arena_printf(a, "%u", r->jobs))};
	ret->host = env_opam_host(ret->vars, p->name, p->version, p->opam->file, local, 4);
	return make_env(r, p, a, ret, e);
}

/* == commands ======================================================================================================== */

struct commands {
	VEC(const char *const *) v;
};
static void commands_release(struct commands *c)
{
	vec_release(&c->v);
}
#define auto_commands cleanup_with(commands_release) struct commands

static void add_commands(struct commands *c, const struct pkg_opam_lines *lines, const struct pkg_opam_host *h,
			 struct arena *a)
{
	for (size_t i = 0; i < lines->n; i++) {
		const struct str *words;
		size_t n = pkg_opam_argv(a, &lines->v[i], h, &words);
		if (n == 0)
			continue;
		const char **argv = arena_array(a, const char *, n + 1);
		for (size_t k = 0; k < n; k++)
			argv[k] = arena_strdup(a, words[k]);
		vec_push(&c->v, (const char *const *)argv);
	}
}

/* 0, or 1 with the outcome of the first that failed. */
static int run_all(struct opam_run *r, const struct build_opam_package *p, enum build_opam_step step,
		   const struct view *w, const struct commands *c, const char *dir, struct arena *a,
		   struct opam_outcome *ret)
{
	for (size_t i = 0; i < c->v.n; i++) {
		struct err e = ERR_INIT;
		struct opam_command one = {.package = p, .step = step, .argv = c->v.v[i], .envp = w->envp, .dir = dir};
		int rc = opam_exec(r, &one, a, &ret->failure, &e);
		if (rc == 0)
			continue;
		if (rc < 0)
			ret->failure = (struct build_opam_failure){
				.step = step, .package = p, .why = arena_strdup(a, str_c(e.msg))};
		ret->line = step == BUILD_OPAM_BUILD
				    ? arena_printf(a, "The compilation of %s failed at \"%s\".", package_text(a, p),
						   opam_words(a, one.argv))
				    : arena_printf(a, "The %s of %.*s failed at \"%s\".",
						   step == BUILD_OPAM_REMOVE ? "removal" : "installation",
						   STR_ARG(p->name), opam_words(a, one.argv));
		return 1;
	}
	return 0;
}

static int refused(const struct build_opam_package *p, enum build_opam_step step, const struct err *e, struct arena *a,
		   struct opam_outcome *ret)
{
	*ret = (struct opam_outcome){.failure = {.step = step, .package = p, .why = arena_strdup(a, str_c(e->msg))}};
	return 1;
}

/* == building ======================================================================================================== */

static bool is_patch(const struct pkg_opam *o, struct str file)
{
	for (size_t i = 0; i < o->patches.n; i++)
		if (o->patches.v[i].n && str_eq(o->patches.v[i].arg[0].text, file))
			return true;
	return false;
}

/* FILE from FILE.in. */
static int subst(int build, struct str file, const struct view *w, struct arena *a, struct err *e)
{
	auto_buf b = BUF_INIT(SUBST_MAX);
	const char *to = arena_strdup(a, file), *from = arena_printf(a, "%s.in", to);
	if (!fs_path_is_inside(file))
		return err_new(e, ERR_INPUT, "'%s' leads out of the sources", tar_shown(file).s);
	if (fs_read_below(build, from, &b, e) < 0)
		return err_ctx(e, "String expansion failed for these files:\n  - %s", from);
	struct str text = pkg_opam_subst(a, arena_str(a, buf_str(&b)), &w->host);
	return fs_replace_below(build, to, text.p, text.n, 0, e);
}

static int substs(const struct pkg_opam *o, bool patches, int build, const struct view *w, struct arena *a,
		  struct err *e)
{
	for (size_t i = 0; i < o->substs.n; i++) {
		struct str file = o->substs.v[i].n ? o->substs.v[i].arg[0].text : STR_NONE;
		if (file.n && is_patch(o, file) == patches && subst(build, file, w, a, e) < 0)
			return -1;
	}
	return 0;
}

/* 0, 1 with an outcome. */
static int patch(struct opam_run *r, const struct build_opam_package *p, const struct view *w, const char *dir,
		 struct arena *a, struct opam_outcome *ret)
{
	for (size_t i = 0; i < p->opam->patches.n; i++) {
		const struct pkg_opam_line *l = &p->opam->patches.v[i];
		struct err e = ERR_INIT;
		if (l->n == 0 || !pkg_opam_holds(a, l->arg[0].filter, &w->host) ||
		    !pkg_opam_holds(a, l->filter, &w->host))
			continue;
		const char *file = arena_strdup(a, l->arg[0].text);
		if (!fs_path_is_inside(str_c(file))) {
			err_new(&e, ERR_INPUT, "patch '%s' leads out of the sources", tar_shown(str_c(file)).s);
			return refused(p, BUILD_OPAM_BUILD, &e, a, ret);
		}
		const char *const argv[] = {"patch", "-p1", "-f", "-i", file, NULL};
		struct opam_command c = {
			.package = p, .step = BUILD_OPAM_BUILD, .argv = argv, .envp = w->envp, .dir = dir};
		int rc = opam_exec(r, &c, a, &ret->failure, &e);
		if (rc < 0)
			return refused(p, BUILD_OPAM_BUILD, &e, a, ret);
		if (rc > 0) {
			ret->line = arena_printf(a, "These patches didn't apply at %s: %s", dir, file);
			return 1;
		}
	}
	return 0;
}

int opam_step_build(struct opam_run *r, const struct build_opam_package *p, struct opam_archive *archives, size_t n,
		    struct arena *a, struct opam_outcome *ret)
{
	struct err e = ERR_INIT;
	auto_view w = {0};
	auto_commands commands = {0};
	const char *name = package_text(a, p), *dir = arena_printf(a, "%s/build/%s", r->meta, name);
	*ret = (struct opam_outcome){0};
	if (opam_unpack(r, p, archives, n, r->builds_fd, name, a, &e) < 0)
		return refused(p, BUILD_OPAM_BUILD, &e, a, ret);
	pthread_mutex_lock(&r->state);
	int rc = look(r, p, a, &w, &e);
	if (rc == 0) {
		add_commands(&commands, &p->opam->build, &w.host, a);
		if (p->requested && r->o->with_test)
			add_commands(&commands, &p->opam->run_test, &w.host, a);
	}
	pthread_mutex_unlock(&r->state);
	auto_fd build = rc < 0 ? -1 : fs_open_dir(AT_FDCWD, dir, &e);
	if (build < 0 || substs(p->opam, true, build, &w, a, &e) < 0)
		return refused(p, BUILD_OPAM_BUILD, &e, a, ret);
	if (patch(r, p, &w, dir, a, ret) != 0)
		return 1;
	if (substs(p->opam, false, build, &w, a, &e) < 0)
		return refused(p, BUILD_OPAM_BUILD, &e, a, ret);
	return run_all(r, p, BUILD_OPAM_BUILD, &w, &commands, dir, a, ret);
}

/* == installing ======================================================================================================== */

/* What NAME.install in the build folder says. */
static int place(struct opam_run *r, const struct build_opam_package *p, int build, struct arena *a, struct err *e)
{
	auto_buf b = BUF_INIT(INSTALL_FILE_MAX);
	struct env_opam_install i;
	struct err why = ERR_INIT;
	const char *file = arena_printf(a, "%.*s.install", STR_ARG(p->name));
	const char *config = arena_printf(a, "%.*s.config", STR_ARG(p->name));
	if (fs_read_below(build, file, &b, &why) < 0) {
		if (why.code != ERR_NOT_FOUND)
			return *e = why, -1;
		if (!fs_exists(build, config))
			return 0;
	}
	if (env_opam_install_read(a, arena_str(a, buf_str(&b)), file, p->name, &i, e) < 0)
		return -1;
	return env_opam_install_apply(r->o->sw, p->name, &i, build, e);
}

/* With the state locked: the files are there, or in the folder `build` (-1: there is none), it becomes installed. */
static int enter(struct opam_run *r, const struct build_opam_package *p, struct env_opam_track *t, int build,
		 struct arena *a, struct err *e)
{
	struct env_opam_changes changes;
	if ((build >= 0 && place(r, p, build, a, e) < 0) || env_opam_track_end(t, a, &changes, e) < 0)
		return -1;
	struct env_opam_package done = {.name = p->name,
					.version = p->version,
					.opam = p->opam->file->text,
					.root = p->requested,
					.changes = &changes};
	if (env_opam_added(r->o->sw, &done, e) < 0)
		return -1;
	opam_reuse_installed(r, (size_t)(p - r->o->packages), &changes);
	return 0;
}

/* What it has put into the prefix goes again, and its record, which may have been made though not all of that went well. */
static void take_back(struct opam_run *r, const struct build_opam_package *p, struct env_opam_track *t, struct arena *a)
{
	struct env_opam_changes changes;
	struct pkg_opam_strs kept;
	struct err ignored = ERR_INIT; /* that the package failed is what counts */
	if (env_opam_track_end(t, a, &changes, &ignored) == 0)
		env_opam_revert(r->o->sw, a, &changes, true, &kept, &ignored);
	else /* the next package could not be tracked either */
		env_opam_track_undo(t, &ignored);
	struct env_opam_state state;
	if (env_opam_state_read(r->o->sw, a, &state, &ignored) == 0 && env_opam_version_in(&state.installed, p->name).p)
		env_opam_removed(r->o->sw, p->name, p->keep_root, &ignored);
}

/* The build folder of what is installed goes with the scratch folder, also where this process is killed. */
static bool set_aside(struct opam_run *r, const char *name, bool back)
{
	return back ? sys_renameat(r->scratch_fd, name, r->builds_fd, name) == 0
		    : !r->o->keep_build_dir && sys_renameat(r->builds_fd, name, r->scratch_fd, name) == 0;
}

int opam_step_install(struct opam_run *r, const struct build_opam_package *p, struct arena *a, struct opam_outcome *ret)
{
	struct err e = ERR_INIT;
	auto_view w = {0};
	auto_commands commands = {0};
	auto_ptr(env_opam_track) t = NULL;
	const char *name = package_text(a, p), *dir = arena_printf(a, "%s/build/%s", r->meta, name);
	*ret = (struct opam_outcome){0};
	auto_fd build = fs_open_dir(r->builds_fd, name, &e);
	if (build < 0)
		return refused(p, BUILD_OPAM_INSTALL, &e, a, ret);
	pthread_mutex_lock(&r->state);
	int rc = look(r, p, a, &w, &e) < 0 || env_opam_track_begin(r->o->sw, r->o->precise_tracking, &t, &e) < 0 ? -1
														 : 0;
	if (rc == 0)
		add_commands(&commands, &p->opam->install, &w.host, a);
	pthread_mutex_unlock(&r->state);
	if (rc < 0)
		return refused(p, BUILD_OPAM_INSTALL, &e, a, ret);
	rc = run_all(r, p, BUILD_OPAM_INSTALL, &w, &commands, dir, a, ret);
	pthread_mutex_lock(&r->state);
	bool is_aside = rc == 0 && set_aside(r, name, false);
	if (rc == 0 && enter(r, p, t, build, a, &e) < 0)
		rc = refused(p, BUILD_OPAM_INSTALL, &e, a, ret);
	if (rc != 0)
		take_back(r, p, t, a);
	if (rc != 0 && is_aside)
		set_aside(r, name, true);
	pthread_mutex_unlock(&r->state);
	struct err ignored = ERR_INIT; /* what is left goes with the scratch folder */
	if (rc == 0 && is_aside)
		fs_remove_tree(r->scratch_fd, name, &ignored);
	return rc;
}

int opam_step_lay(struct opam_run *r, const struct build_opam_package *p, struct arena *a, struct opam_outcome *ret)
{
	struct err e = ERR_INIT;
	auto_ptr(env_opam_track) t = NULL;
	*ret = (struct opam_outcome){0};
	pthread_mutex_lock(&r->state);
	int rc = env_opam_track_begin(r->o->sw, r->o->precise_tracking, &t, &e);
	if (rc == 0)
		rc = opam_left_note(r, p, &r->reuse.v[p - r->o->packages].tree, a, &e);
	if (rc == 0 && (opam_reuse_lay(r, (size_t)(p - r->o->packages), &e) < 0 || enter(r, p, t, -1, a, &e) < 0)) {
		take_back(r, p, t, a);
		rc = -1;
	}
	opam_left_nothing(r);
	pthread_mutex_unlock(&r->state);
	return rc < 0 ? refused(p, BUILD_OPAM_INSTALL, &e, a, ret) : 0;
}

/* == removing ========================================================================================================== */

int opam_step_remove(struct opam_run *r, const struct build_opam_package *p, struct opam_archive *archives, size_t n,
		     struct arena *a, struct opam_outcome *ret)
{
	struct err e = ERR_INIT;
	auto_view w = {0};
	auto_commands commands = {0};
	struct env_opam_changes changes;
	struct pkg_opam_strs kept;
	const char *name = arena_printf(a, "remove-%s", package_text(a, p));
	const char *dir = arena_printf(a, "%s/%s", r->scratch, name);
	*ret = (struct opam_outcome){0};
	pthread_mutex_lock(&r->state);
	int rc = env_opam_changes_read(r->o->sw, a, p->name, &changes, &e);
	if (rc == 0 && p->opam && p->opam->remove.n) {
		rc = look(r, p, a, &w, &e);
		if (rc == 0)
			add_commands(&commands, &p->opam->remove, &w.host, a);
	}
	pthread_mutex_unlock(&r->state);
	if (rc == 0 && commands.v.n) { /* what they do not remove is removed below: that one fails stops nothing */
		struct opam_outcome ignored = {0};
		struct err why = ERR_INIT; /* without their sources they may do what they can */
		if ((n == 0 || opam_unpack(r, p, archives, n, r->scratch_fd, name, a, &why) < 0) &&
		    sys_mkdirat(r->scratch_fd, name, 0755) < 0 && errno != EEXIST)
			rc = err_sys(&e, "make '%s'", dir);
		else
			run_all(r, p, BUILD_OPAM_REMOVE, &w, &commands, dir, a, &ignored);
	}
	pthread_mutex_lock(&r->state);
	if (rc == 0 && (env_opam_revert(r->o->sw, a, &changes, false, &kept, &e) < 0 ||
			env_opam_removed(r->o->sw, p->name, p->keep_root, &e) < 0))
		rc = -1;
	pthread_mutex_unlock(&r->state);
	return rc < 0 ? refused(p, BUILD_OPAM_REMOVE, &e, a, ret) : 0;
}
