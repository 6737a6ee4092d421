// SPDX-License-Identifier: Apache-2.0
/* What opam solve is asked for: words, options, the state of a switch, folders of sources; and the repositories that it is looked for in. */
#include <fcntl.h>

#include "base/fs.h"
#include "cmd/cmd.h"
#include "cmd/opam_repos.h"
#include "cmd/opam_solve.h"
#include "cmd/opam_source.h"

enum { STATE_MAX = 16 << 20 };

void opam_request_release(struct opam_request *r)
{
	channel_needs_free(r->needs);
	opam_index_free(r->source);
	vec_release(&r->sources);
	cmd_opam_repos_release(&r->repos);
	vec_release(&r->installed);
	vec_release(&r->pinned);
	vec_release(&r->names);
	vec_release(&r->asked);
	vec_release(&r->variables);
	vec_release(&r->removed);
	vec_release(&r->invariant);
	vec_release(&r->system);
	vec_release(&r->compiler);
	vec_release(&r->wishes);
	vec_release(&r->left_out);
}

/* -- what is asked -------------------------------------------------------------------------------------------------- */

static void add_texts(struct text_vec *to, const struct cmd_list *from)
{
	vec_foreach(x, from)
		vec_push(to, str_c(*x));
}

static void add_strs(struct text_vec *to, const struct pkg_opam_strs *from)
{
	for (size_t i = 0; i < from->n; i++)
		vec_push(to, from->v[i]);
}

/* The invariant in the switch-config that lies beside a switch-state. */
static int read_invariant(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	const char *slash = strrchr(r->args->state, '/');
	size_t n = slash ? (size_t)(slash - r->args->state) + 1 : 0;
	const char *path = arena_printf(&c->arena, "%.*sswitch-config", (int)n, r->args->state);
	auto_buf text = BUF_INIT(STATE_MAX);
	auto_buf formula = BUF_INIT(STATE_MAX);
	struct pkg_opam_doc doc;
	struct err why = ERR_INIT;
	if (fs_read_any(AT_FDCWD, path, &text, &why) < 0) {
		if (why.code == ERR_NOT_FOUND)
			return 0;
		*e = why;
		return -1;
	}
	if (pkg_opam_read(&c->arena, arena_str(&c->arena, buf_str(&text)), path, &doc, e) < 0)
		return -1;
	const struct pkg_opam_value *v = pkg_opam_get(&doc, "invariant");
	if (!v)
		return 0;
	pkg_opam_print_value(v, &formula);
	if (formula.n && memchr(formula.p, '"', formula.n))
		vec_push(&r->invariant, arena_str(&c->arena, buf_str(&formula)));
	return 0;
}

static int read_state(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	auto_buf text = BUF_INIT(STATE_MAX);
	struct env_opam_state state;
	if (!r->args->state)
		return 0;
	if (fs_read_any(AT_FDCWD, r->args->state, &text, e) < 0 ||
	    env_opam_state_parse(&c->arena, arena_str(&c->arena, buf_str(&text)), r->args->state, &state, e) < 0)
		return -1;
	add_strs(&r->installed, &state.installed);
	add_strs(&r->pinned, &state.pinned);
	for (size_t i = 0; i < state.compiler.n; i++) {
		struct str version = state.compiler.v[i], name;
		if (str_take_until(&version, '.', &name))
			vec_push(&r->compiler, name);
	}
	return r->args->invariant ? 0 : read_invariant(c, r, e);
}

/* The name in "dune.3.0" or "dune>=3". */
int opam_request_name(struct cmd_context *c, struct str text, struct str *ret, struct err *e)
{
	const struct pkg_need *need;
	if (pkg_opam_spec_parse(&c->arena, text, &need, e) < 0)
		return -1;
	*ret = need->name;
	return 0;
}

static int read_criteria(struct opam_request *r, struct err *e)
{
	static const struct {
		const char *name;
		enum solve_criteria criteria;
	} known[] = {{"newest", SOLVE_NEWEST},
		     {"0install", SOLVE_0INSTALL},
		     {"lower-bounds", SOLVE_OLDEST},
		     {"upgrade", SOLVE_UPGRADE_ALL},
		     {"fixup", SOLVE_FIXUP}};
	const char *name = r->args->criteria			   ? r->args->criteria
			   : r->args->upgrade && !r->args->words.n ? "upgrade"
								   : "newest";
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(name, known[i].name) == 0) {
			r->solve.criteria = known[i].criteria;
			return 0;
		}
	if (name[0] != '-')
		return err_new(
			e, ERR_USAGE,
			"--criteria wants newest, upgrade, fixup, 0install, lower-bounds, or criteria in opam's words, not '%s'",
			name);
	r->solve.criteria = SOLVE_NEWEST;
	r->solve.aims = &r->aims;
	return solve_aims_parse(str_c(name), &r->aims, e);
}

/* "debian-12": the variables that say so, as that distribution's own /etc/os-release does. */
static int add_distribution(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	static const char *const known[][3] = {/* as images are called, ID, the first of ID_LIKE */
					       {"debian", "debian", "debian"},	{"ubuntu", "ubuntu", "debian"},
					       {"alpine", "alpine", "alpine"},	{"fedora", "fedora", "fedora"},
					       {"rhel", "rhel", "fedora"},	{"centos", "centos", "rhel"},
					       {"rocky", "rocky", "rhel"},	{"almalinux", "almalinux", "rhel"},
					       {"oraclelinux", "ol", "fedora"}, {"opensuse", "opensuse-leap", "suse"},
					       {"archlinux", "arch", "arch"}};
	struct str name = str_c(r->args->distribution), version = STR("unknown");
	ptrdiff_t dash = str_rfind(name, '-');
	if (dash > 0 && (size_t)dash + 1 < name.n) {
		version = str_skip(name, (size_t)dash + 1);
		name = str_head(name, (size_t)dash);
	}
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!str_eq_c(name, known[i][0]))
			continue;
		struct arena *a = &c->arena;
		vec_push(&r->variables, str_c(arena_printf(a, "os-distribution=%s", known[i][1])));
		vec_push(&r->variables, str_c(arena_printf(a, "os-family=%s", known[i][2])));
		vec_push(&r->variables, str_c(arena_printf(a, "os-version=%.*s", STR_ARG(version))));
		return 0;
	}
	auto_buf b = BUF_INIT(4096);
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		buf_printf(&b, "%s%s", i ? ", " : "", known[i][0]);
	return err_new(
		e, ERR_USAGE,
		"--distribution wants one of %s, and a version, as in debian-12, not '%s'; others are said with --var",
		b.p, r->args->distribution);
}

/* Packages with their versions: what has none would count for nothing. */
static int check_packages(const char *option, const struct cmd_list *words, struct err *e)
{
	struct str name, version;
	vec_foreach(word, words)
		if (!strchr(*word, '=') && !env_opam_split(str_c(*word), &name, &version))
			return err_new(e, ERR_USAGE, "%s wants a package with its version, as in dune.3.0.3, not '%s'",
				       option, *word);
	return 0;
}

static int check_args(const struct opam_args *args, struct err *e)
{
	if (!args->words.n && !args->removed.n && !args->upgrade)
		return err_new(e, ERR_USAGE, "nothing to solve for: name packages, as in: dune merlin.5.2");
	if (check_packages("--installed", &args->installed, e) < 0 || check_packages("--pin", &args->pinned, e) < 0)
		return -1;
	vec_foreach(v, &args->variables)
		if (str_find(str_c(*v), '=') < 1)
			return err_new(e, ERR_USAGE, "--var wants NAME=VALUE, as in os-distribution=alpine, not '%s'",
				       *v);
	const char *dash = args->platform ? strchr(args->platform, '-') : NULL;
	if (args->platform && (!dash || dash == args->platform || !dash[1]))
		return err_new(e, ERR_USAGE, "--platform wants OS-ARCH, as in linux-x86_64 or macos-arm64, not '%s'",
			       args->platform);
	return 0;
}

/* Packages that a folder defines, each of them once; `name` and `version` may be empty. How many. */
static int read_source(struct cmd_context *c, struct opam_request *r, const char *path, struct str name,
		       struct str version, struct err *e)
{
	size_t first = r->sources.n, n = first;
	if (strncmp(path, "git+", 4) == 0 || strstr(path, "://"))
		return err_new(e, ERR_USAGE, "'%s' is not fetched for a plan; clone or unpack it, and give the folder",
			       path);
	auto_fd dir = fs_open_dir(AT_FDCWD, path, e);
	if (dir < 0 || opam_definitions_of(&c->arena, dir, name, &r->sources, e) < 0)
		return err_ctx(e, "sources '%s'", path);
	if (r->sources.n == first)
		return err_new(e, ERR_NOT_FOUND,
			       "no opam file %s%.*s%s in '%s': there is to be NAME.opam, or a file opam",
			       name.n ? "of '" : "of a package", STR_ARG(name), name.n ? "'" : "", path);
	for (size_t i = first; i < r->sources.n; i++) {
		bool known = false;
		for (size_t k = 0; k < n; k++)
			known |= str_eq(r->sources.v[k].name, r->sources.v[i].name);
		if (known)
			continue;
		r->sources.v[n] = r->sources.v[i];
		if (version.n)
			r->sources.v[n].version = version;
		n++;
	}
	r->sources.n = n;
	return (int)(n - first);
}

/* Words and pins, those of them that are sources among the definitions. */
static int read_sources(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	vec_foreach(pin, &r->args->pinned) {
		struct str rest = str_c(*pin), name, version = STR_NONE;
		if (!str_take_until(&rest, '=', &name)) {
			vec_push(&r->pinned, str_c(*pin));
			continue;
		}
		ptrdiff_t dot = str_find(name, '.');
		if (dot >= 0) {
			version = str_skip(name, (size_t)dot + 1);
			name = str_head(name, (size_t)dot);
		}
		if (!pkg_opam_name_is_good(name) || !rest.n)
			return err_new(e, ERR_USAGE, "--pin wants NAME.VERSION, or NAME=FOLDER of sources, not '%s'",
				       *pin);
		if (read_source(c, r, arena_strdup(&c->arena, rest), name, version, e) < 0)
			return -1;
	}
	vec_foreach(word, &r->args->words) {
		if (!opam_is_source(*word)) {
			vec_push(&r->asked, str_c(*word));
			continue;
		}
		int n = read_source(c, r, *word, STR_NONE, STR_NONE, e);
		if (n < 0)
			return -1;
		for (size_t i = r->sources.n - (size_t)n; i < r->sources.n; i++)
			vec_push(&r->asked, r->sources.v[i].name);
	}
	return 0;
}

/* What sources do not say of their version is the newest that the repositories have; else "~dev", as in opam. */
static void choose_version(const struct opam_request *r, struct opam_definition *d)
{
	for (size_t i = 0; i < r->repos.n && !d->version.n; i++) {
		struct oi_name id;
		struct oi_pkg first;
		if (opam_index_find_name(r->repos.index[i], d->name, &id) &&
		    opam_index_packages(r->repos.index[i], id, &first))
			d->version = opam_index_pkg(r->repos.index[i], first).version;
	}
	if (!d->version.n)
		d->version = STR("~dev");
}

/* The definitions as a repository before all others, each of them pinned. */
static int open_sources(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	struct opam_index_file *v = arena_array(&c->arena, struct opam_index_file, r->sources.n + 1);
	struct opam_index **all = arena_array(&c->arena, struct opam_index *, r->repos.n + 1);
	for (size_t i = 0; i < r->sources.n; i++) {
		struct opam_definition *d = &r->sources.v[i];
		auto_buf b = BUF_INIT(PKG_OPAM_FILE_MAX);
		choose_version(r, d);
		opam_definition_print(&c->arena, d, STR_NONE, &b);
		v[i] = (struct opam_index_file){d->name, d->version, arena_str(&c->arena, buf_str(&b))};
		vec_push(&r->pinned,
			 str_c(arena_printf(&c->arena, "%.*s.%.*s", STR_ARG(d->name), STR_ARG(d->version))));
	}
	if (r->sources.n && opam_index_of(v, r->sources.n, &r->source, e) < 0)
		return -1;
	if (r->source) {
		all[0] = r->source;
		memcpy(all + 1, r->repos.index, r->repos.n * sizeof(*all));
		r->index = all;
		r->index_n = r->repos.n + 1;
	} else {
		r->index = r->repos.index;
		r->index_n = r->repos.n;
	}
	return 0;
}

int opam_request_read(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	const struct opam_args *args = r->args;
	if (check_args(args, e) < 0)
		return -1;
	if (read_criteria(r, e) < 0 || read_state(c, r, e) < 0)
		return -1;
	add_texts(&r->installed, &args->installed);
	add_texts(&r->system, &args->system);
	if (read_sources(c, r, e) < 0)
		return -1;
	if (args->invariant && *args->invariant)
		vec_push(&r->invariant, str_c(args->invariant));
	vec_foreach(word, &r->asked) {
		struct str name;
		if (opam_request_name(c, *word, &name, e) < 0) {
			e->code = ERR_USAGE;
			return -1;
		}
		vec_push(&r->names, name);
	}
	/* what was said last counts */
	vec_push(&r->variables, args->old ? STR("opam-version=2.1.6") : STR("opam-version=2.5.2"));
	if (args->distribution && add_distribution(c, r, e) < 0)
		return -1;
	add_texts(&r->variables, &args->variables);
	r->solve.update = args->old;
	r->solve.best_effort = args->best_effort;
	r->solve.invariant = r->invariant.v;
	r->solve.invariant_n = r->invariant.n;
	return 0;
}

int opam_request_open(struct cmd_context *c, struct opam_request *r, struct err *e)
{
	if (cmd_opam_open(c, r->args->repos.v, r->args->repos.n, 0, &r->repos, e) < 0 || open_sources(c, r, e) < 0)
		return -1;
	const struct channel_needs_opts o = {.platform = r->args->platform ? str_c(r->args->platform) : STR_NONE,
					     .variables = r->variables.v,
					     .variables_n = r->variables.n,
					     .pinned = r->pinned.v,
					     .pinned_n = r->pinned.n,
					     .installed = r->installed.v,
					     .installed_n = r->installed.n,
					     .asked = r->names.v,
					     .asked_n = r->names.n,
					     .with_test = r->args->with_test,
					     .with_doc = r->args->with_doc,
					     .system = r->system.n ? r->system.v : NULL,
					     .system_n = r->system.n};
	return channel_needs_open_opam(r->index, r->index_n, &o, &r->needs, e);
}

/* What an index says is worth something only where all of it verified. */
int opam_request_check(const struct opam_request *r, struct err *e)
{
	for (size_t i = 0; i < r->repos.n; i++)
		if (opam_index_check(r->repos.index[i], e) < 0)
			return -1;
	return 0;
}
