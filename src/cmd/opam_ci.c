// SPDX-License-Identifier: Apache-2.0
/* opam ci: the jobs that a CI of an opam repository has for a package. */
#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "build/build.h"
#include "cmd/build_job.h"
#include "cmd/build_run.h"
#include "cmd/build_source.h"
#include "cmd/change.h"
#include "cmd/layers.h"
#include "cmd/opam_users.h"
#include "image/image.h"

enum { SPEC_BYTES_MAX = 1 << 20, OPAM_NOT_FOUND = 5, VERSIONS_SHOWN = 20, VERSIONS_MAX = 100000 };

struct ci_args {
	const char *repo, *on, *opam;
	bool with_tests, lower_bounds, all_reverse, list, not_nested;
	struct cmd_list reverse, words;
	struct cmd_build_options build;
	struct cmd_build_job job;
	struct build_source source;
};

static struct str opam_of(const struct ci_args *a)
{
	return str_c(a->opam ? a->opam : "2.1");
}

static void args_release(struct ci_args *a)
{
	vec_release(&a->reverse);
	vec_release(&a->words);
	cmd_build_options_release(&a->build);
	build_source_release(&a->source);
}
#define auto_args cleanup_with(args_release) struct ci_args

/* One of the jobs. */
struct ci_job {
	struct build_opam_ci what;
	struct str title, hint, head, spec, recipe;
	struct build_result result;
	bool ran;
	int code;
};
struct ci {
	struct cmd_context *c;
	struct ci_args *a;
	struct layers *layers;
	struct image image;
	struct build_head place;
	struct str base, variant;
	const char *context;		/* NULL: not brought yet */
	const struct solve_user *users; /* --reverse-dependencies */
	size_t n_users;
	VEC(struct ci_job) jobs;
};

static void ci_release(struct ci *k)
{
	layers_close(k->layers);
	vec_release(&k->jobs);
}

/* -- the image ------------------------------------------------------------------------------------------------------------ */

static const char next_step[] =
	"make one, as examples/opam-ci/image.sh does, or bring one: skopeo copy docker://ocaml/opam:debian-12-ocaml-5.3 "
	"oci:opam && slipway image import ocaml/opam:debian-12-ocaml-5.3 ./opam";

static bool fits(const struct image *img, struct arena *a)
{
	return img->layers && str_search(build_head_variant(img->name, a), STR("-ocaml-")) > 0;
}

/* The only one that is called as images with opam are. */
static int only_image(struct ci *k, struct err *e)
{
	struct arena *a = &k->c->arena;
	auto_buf names = BUF_INIT(1 << 16);
	struct image *v;
	size_t n, found = 0;
	if (images_list(k->layers, a, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (!fits(&v[i], a))
			continue;
		buf_printf(&names, "%s'%.*s'", found++ ? ", " : "", STR_ARG(v[i].name));
		k->image = v[i];
	}
	if (found == 1)
		return 0;
	if (found)
		return err_new(e, ERR_USAGE, "on which image? there are %s: say --on NAME", names.p);
	return err_new(e, ERR_NOT_FOUND, "no image with opam is here, such as ocaml/opam:debian-12-ocaml-5.3; %s",
		       next_step);
}

/* As it is called here, or by its tag alone: debian-12-ocaml-5.3. */
static int named_image(struct ci *k, const char *on, struct err *e)
{
	struct arena *a = &k->c->arena;
	struct str name = str_c(on);
	if (image_find(k->layers, name, a, &k->image, e) == 0)
		return 0;
	if (e->code != ERR_NOT_FOUND || str_find(name, '/') >= 0 || str_find(name, ':') >= 0)
		return -1;
	struct str whole = str_c(arena_printf(a, "ocaml/opam:%s", on));
	struct err other = ERR_INIT;
	if (image_find(k->layers, whole, a, &k->image, &other) == 0)
		return 0;
	return other.code == ERR_NOT_FOUND ? err_new(e, ERR_NOT_FOUND, "there is no image '%s' or '%.*s' here; %s", on,
						     STR_ARG(whole), next_step)
					   : (*e = other, -1);
}

/* An image that is not here: the tag alone is that of ocaml/opam, as it is of those that are. */
static struct str absent_image(struct ci *k, const char *on)
{
	struct str given = str_c(on);
	bool bare = str_find(given, '/') < 0 && str_find(given, ':') < 0 && str_search(given, STR("-ocaml-")) > 0;
	return bare ? str_c(arena_printf(&k->c->arena, "ocaml/opam:%s", on)) : given;
}

/* The spec names it with its digest, so that it means the same tomorrow. Of one that is not here a dry run can still tell what would be done. */
static int choose_image(struct ci *k, struct err *e)
{
	struct arena *a = &k->c->arena;
	const char *on = k->a->on;
	if (cmd_need_layers(k->c, k->a->build.store, &k->layers, e) < 0)
		return -1;
	int rc = on ? named_image(k, on, e) : only_image(k, e);
	if (rc < 0 && e->code == ERR_NOT_FOUND && on && k->c->dry_run) {
		*e = ERR_INIT;
		k->base = absent_image(k, on);
		cmd_say(k->c, "image '%.*s' is not here: nothing can be built on it yet", STR_ARG(k->base));
	} else if (rc < 0) {
		return -1;
	} else {
		struct str name = k->image.name, given = str_c(on ? on : "");
		ptrdiff_t at = str_find(given, '@');
		name = at >= 0 ? str_head(given, (size_t)at) : name;
		k->base = k->image.n_digests
				  ? str_c(arena_printf(a, "%.*s@%.*s", STR_ARG(name), STR_ARG(k->image.digests[0])))
				  : name;
	}
	k->variant = k->a->source.variant ? str_c(k->a->source.variant) : build_head_variant(k->base, a);
	return 0;
}

static bool is_32bit(struct str arch)
{
	return str_eq_c(arch, "386") || str_eq_c(arch, "i386") || str_eq_c(arch, "arm");
}

/* -- the repository -------------------------------------------------------------------------------------------------------- */

/* Of a folder: whether it can be a repository, and has the package. */
static int look_for(struct ci *k, const char *dir, const char *package, struct err *e)
{
	struct arena *a = &k->c->arena;
	struct str version = str_c(package), name;
	auto_fs_list versions = {0};
	auto_buf b = BUF_INIT(4096);
	struct err ignored = ERR_INIT;
	if (!fs_exists(AT_FDCWD, arena_printf(a, "%s/packages", dir)))
		return err_new(e, ERR_INPUT, "'%s' is no opam repository: it has no folder 'packages'", dir);
	bool whole = str_take_until(&version, '.', &name);
	if (!whole)
		name = version;
	if (!pkg_opam_name_is_good(name) || (whole && !pkg_opam_version_is_good(version)))
		return err_new(e, ERR_USAGE, "'%s' is no package with its version; write it as fmt.0.9.0", package);
	const char *folder = arena_printf(a, "%s/packages/%.*s", dir, STR_ARG(name));
	if (whole && fs_exists(AT_FDCWD, arena_printf(a, "%s/%s/opam", folder, package)))
		return 0;
	if (!fs_exists(AT_FDCWD, folder))
		return err_new(e, ERR_NOT_FOUND, "the repository '%s' has no package '%.*s'", dir, STR_ARG(name));
	(void)fs_list(AT_FDCWD, folder, VERSIONS_MAX, &versions, &ignored);
	for (size_t i = versions.n > VERSIONS_SHOWN ? versions.n - VERSIONS_SHOWN : 0; i < versions.n; i++)
		buf_printf(&b, "%s%s", b.n ? ", " : "", versions.name[i]);
	return err_new(e, whole ? ERR_NOT_FOUND : ERR_USAGE, "%s '%s'; the repository has %s",
		       whole ? "there is no" : "which version of", package, b.n ? b.p : "none");
}

/* A folder is built as it is, but its head tells a commit where it is nothing else. */
static int find_repository(struct ci *k, struct err *e)
{
	struct build_source *s = &k->a->source;
	struct cmd_context *c = k->c;
	struct str repo = str_c(k->a->repo);
	struct git_commits g;
	(void)str_take_str(&repo, STR("git+"));
	if (str_search(repo, STR("://")) >= 0) {
		s->git = repo.p;
		return build_source_resolve(c, s, NULL, 0, e) < 0 ? -1 : build_source_place(c, s, &k->place, e);
	}
	if (s->commit || s->onto || s->merge_base)
		return err_new(e, ERR_USAGE,
			       "--commit, --onto and --merge-base are of a repository that is fetched: --repo URL#REF");
	const char *dir = k->a->repo;
	int is_commit = 0;
	if (build_source_resolve(c, s, &dir, 1, e) < 0 || build_source_place(c, s, &k->place, e) < 0 ||
	    look_for(k, dir, k->a->words.v[0], e) < 0)
		return -1;
	for (size_t i = 0; i < k->a->reverse.n; i++)
		if (look_for(k, dir, k->a->reverse.v[i], e) < 0)
			return -1;
	is_commit = git_look(dir, &c->arena, &g, e);
	if (is_commit > 0) {
		k->place.url = g.url;
		k->place.ref = g.ref;
		k->place.commit = g.commit;
	}
	vec_push(&k->a->build.left_out, ".git"); /* as a checkout has none */
	return is_commit < 0 ? -1 : 0;
}

/* Once for all jobs; git's words are part of the first one's log. */
static int bring_repository(struct ci *k, struct err *e)
{
	struct cmd_context *c = k->c;
	const char *dir = cmd_build_dir(c, k->a->build.store, e);
	if (k->context)
		return 0;
	return dir ? build_source_checkout(c, &k->a->source, dir,
					   c->quiet  ? -1
					   : c->json ? STDERR_FILENO
						     : STDOUT_FILENO,
					   &k->context, e)
		   : -1;
}

/* What needs the package: known before its job, run after it. */
static int find_users(struct ci *k, struct err *e)
{
	struct solve_user *v;
	struct cmd_opam_users o = {.layers = k->layers,
				   .base = k->base,
				   .opam = opam_of(k->a),
				   .package = str_c(k->a->words.v[0]),
				   .keep_index = !k->a->source.git};
	if (!k->image.name.n)
		return err_new(e, ERR_NOT_FOUND,
			       "what needs '%s' follows from what the image has, and '%.*s' is not here; %s",
			       k->a->words.v[0], STR_ARG(k->base), next_step);
	if (bring_repository(k, e) < 0)
		return -1;
	o.repo = k->context;
	if (cmd_opam_users(k->c, &o, &v, &k->n_users, e) < 0)
		return -1;
	k->users = v;
	return 0;
}

/* -- the jobs -------------------------------------------------------------------------------------------------------------- */

static int write_job(struct ci *k, struct ci_job *j, struct err *e)
{
	struct arena *a = &k->c->arena;
	auto_buf spec = BUF_INIT(SPEC_BYTES_MAX), recipe = BUF_INIT(SPEC_BYTES_MAX), head = BUF_INIT(SPEC_BYTES_MAX);
	struct build_opam_ci docker = j->what;
	struct build_head h = k->place;
	docker.docker = true;
	if (build_opam_ci_spec(&j->what, a, &spec, e) < 0 || build_opam_ci_spec(&docker, a, &recipe, e) < 0)
		return -1;
	j->title = build_opam_ci_title(&j->what, a);
	j->hint = k->a->job.o.hint ? str_c(k->a->job.o.hint) : build_opam_ci_hint(&j->what, h.commit, a);
	j->spec = arena_str(a, buf_str(&spec));
	j->recipe = arena_str(a, buf_str(&recipe));
	h.now_ms = clock_wall_ms();
	h.title = j->title;
	h.variant = k->variant;
	h.arch = k->image.config.arch;
	h.hint = j->hint;
	h.spec = j->spec;
	h.spec_file = STR("the job's spec");
	h.recipe = j->recipe;
	h.recipe_file = STR("the recipe's spec");
	if (build_head_print(&h, a, &head, e) < 0)
		return -1;
	j->head = arena_str(a, buf_str(&head));
	return 0;
}

static void add_job(struct ci *k, const char *reverse)
{
	const struct ci_args *a = k->a;
	struct ci_job *j = vec_add(&k->jobs);
	*j = (struct ci_job){.what = {.package = str_c(a->words.v[0]),
				      .reverse_dependency = str_c(reverse ? reverse : ""),
				      .base = k->base,
				      .distribution = build_opam_ci_distribution(k->variant),
				      .opam = opam_of(a),
				      .with_tests = reverse || a->with_tests,
				      .lower_bounds = a->lower_bounds,
				      .linux32 = is_32bit(k->image.config.arch)}};
}

/* Beside a JSON answer the log is chatter, for who asks for it. */
static void put_log(struct ci *k, struct str s)
{
	if (!k->c->quiet && (!k->c->json || k->c->verbose))
		cmd_build_put_log(k->c, s);
}

/* The outcome, as a job of the queue has it. */
static void put_outcome(struct ci *k, int code)
{
	auto_buf b = BUF_INIT(4096);
	const char *words = code ? "Job failed: exit status 1" : "Job succeeded";
	buf_printf(&b, "%s\n", words);
	clock_put_log(&b, clock_wall_ms());
	buf_printf(&b, ": %s\n", words);
	put_log(k, buf_str(&b));
}

static int run_job(struct ci *k, struct ci_job *j, struct err *e)
{
	struct build_opts o;
	if (cmd_build_opts(k->c, &k->a->build, &o, e) < 0)
		return -1;
	put_log(k, j->head);
	if (bring_repository(k, e) < 0)
		return -1;
	o.file = "the job's spec";
	o.text = j->spec;
	o.layers = k->layers;
	o.context = k->context;
	o.apart = cmd_build_left_out(k->c, &k->a->build, k->context);
	j->code = cmd_build_run(k->c, &o, false, &j->result, e);
	if (j->code < 0)
		return -1;
	j->ran = true;
	put_outcome(k, j->code);
	return j->code;
}

/* As a job of the queue: its own process reads the spec from a copy. */
static int submit_job(struct ci *k, struct ci_job *j, struct err *e)
{
	struct cmd_context *c = k->c;
	struct cmd_list words = {0};
	int rc = cmd_build_words(c, &k->a->build, &words, e);
	if (rc == 0 && k->a->source.git)
		build_source_words(c, &k->a->source, &words);
	vec_push(&words, "--no-result"); /* such logs end with the outcome */
	const struct cmd_build_what what = {.spec = j->spec,
					    .context = k->a->source.folder,
					    .left_out = &k->a->build.left_out,
					    .words = words.v,
					    .n_words = words.n,
					    .header = j->head,
					    .hint = j->hint,
					    .title = j->title};
	rc = rc < 0 ? cmd_fail(c, e) : cmd_build_job(c, &k->a->job, &what);
	vec_release(&words);
	return rc;
}

/* -- answers --------------------------------------------------------------------------------------------------------------- */

static void put_job(struct jw *w, const void *ctx, size_t i)
{
	const struct ci *k = ctx;
	const struct ci_job *j = &k->jobs.v[i];
	jw_kv_str(w, "title", j->title);
	jw_kv_str(w, "package", j->what.package);
	jw_kv_opt(w, "reverse_dependency", j->what.reverse_dependency);
	jw_kv_str(w, "image", k->base);
	jw_kv_bool(w, "image_is_here", k->image.name.n > 0);
	jw_kv_str(w, "variant", k->variant);
	jw_kv_str(w, "distribution", j->what.distribution);
	jw_kv_opt(w, "url", k->place.url);
	jw_kv_opt(w, "commit", k->place.commit);
	jw_kv_str(w, "cache_hint", j->hint);
	jw_kv_str(w, "spec", j->spec);
	jw_kv_str(w, "head", j->head);
	if (j->ran)
		cmd_build_put_result(w, k->c, &j->result);
}

static int answer(struct ci *k, int code)
{
	auto_answer a = {0};
	if (!k->c->json)
		return code;
	struct jw *w = cmd_answer(&a);
	jw_kv_bool(w, "dry_run", k->c->dry_run);
	jw_kv_objects(w, "jobs", k->jobs.n, put_job, k);
	int printed = cmd_answer_print(k->c, &a);
	return code ? code : printed;
}

/* -- the command ----------------------------------------------------------------------------------------------------------- */

static void put_user(struct jw *w, const void *ctx, size_t i)
{
	const struct solve_user *v = (const struct solve_user *)ctx + i;
	jw_kv_str(w, "name", v->name);
	jw_kv_str(w, "version", v->version);
	jw_kv_bool(w, "direct", v->direct);
}

static int answer_users(struct ci *k)
{
	auto_answer a = {0};
	if (k->c->json) {
		jw_kv_objects(cmd_answer(&a), "reverse_dependencies", k->n_users, put_user, k->users);
		return cmd_answer_print(k->c, &a);
	}
	for (size_t i = 0; i < k->n_users; i++)
		out_line(&k->c->out, "%.*s.%.*s", STR_ARG(k->users[i].name), STR_ARG(k->users[i].version));
	return CMD_OK;
}

static int check_args(const struct ci_args *a, struct err *e)
{
	if (a->words.n != 1)
		return err_new(e, ERR_USAGE, "%s",
			       a->words.n ? "one package at a time"
					  : "which package? as in: slipway opam ci --repo DIR fmt.0.9.0");
	if (a->with_tests + a->lower_bounds + (a->reverse.n || a->all_reverse) > 1)
		return err_new(
			e, ERR_USAGE,
			"--with-tests, --lower-bounds and --reverse-dependency are different jobs: one at a time");
	if (a->list && !a->all_reverse)
		return err_new(e, ERR_USAGE, "--list is of --reverse-dependencies; say both");
	if (a->opam && (!*a->opam || strspn(a->opam, "0123456789.") != strlen(a->opam)))
		return err_new(e, ERR_USAGE, "--opam wants a version of opam, as 2.1, not '%s'", a->opam);
	if (!a->repo || !*a->repo)
		return err_new(e, ERR_USAGE, "which repository? say --repo DIR, or --repo URL#REF");
	return cmd_build_job_check(&a->job, e);
}

static int plan(struct ci *k, struct err *e)
{
	if (check_args(k->a, e) < 0 || find_repository(k, e) < 0 || choose_image(k, e) < 0)
		return -1;
	if (k->a->all_reverse && find_users(k, e) < 0)
		return -1;
	if (k->a->all_reverse || !k->a->reverse.n)
		add_job(k, NULL);
	for (size_t i = 0; i < k->a->reverse.n; i++)
		add_job(k, k->a->reverse.v[i]);
	for (size_t i = 0; i < k->n_users; i++)
		add_job(k, arena_printf(&k->c->arena, "%.*s.%.*s", STR_ARG(k->users[i].name),
					STR_ARG(k->users[i].version)));
	vec_foreach(j, &k->jobs)
		if (write_job(k, j, e) < 0)
			return -1;
	if (k->c->json && k->a->job.o.pool && k->jobs.n > 1)
		return err_new(e, ERR_USAGE,
			       "--json with --pool is for one job, and these are %zu; 'slipway jobs --json' lists them",
			       k->jobs.n);
	return 0;
}

static int do_job(struct ci *k, struct ci_job *j, struct err *e)
{
	if (write_job(k, j, e) < 0) /* once more: its log begins now */
		return -1;
	if (k->a->job.o.pool)
		return submit_job(k, j, e);
	if (!k->c->dry_run)
		return run_job(k, j, e);
	put_log(k, j->head);
	return CMD_OK;
}

/* Of many jobs: which failed. */
static void tell_all(struct ci *k, size_t failed)
{
	if (k->jobs.n < 2 || k->c->dry_run || k->a->job.o.detach)
		return;
	cmd_say(k->c, "%zu of %zu jobs failed%s", failed, k->jobs.n, failed ? ":" : "");
	vec_foreach(j, &k->jobs)
		if (j->code)
			cmd_say(k->c, "  %.*s", STR_ARG(j->title));
}

/* The package's own job comes first; what needs it is not tried where it cannot be had. */
static int run_all(struct ci *k, struct err *e)
{
	size_t failed = 0;
	int code = CMD_OK;
	if (!k->c->dry_run && !k->a->job.o.pool)
		cmd_build_make_room(k->c, k->layers);
	vec_foreach(j, &k->jobs) {
		j->code = do_job(k, j, e);
		if (j->code < 0)
			return -1;
		code = code ? code : j->code;
		failed += j->code != 0;
		if (j->code > 1 ||
		    (j->code && k->a->all_reverse && j == k->jobs.v)) /* above 1: a signal, or the queue */
			break;
	}
	tell_all(k, failed);
	return code;
}

static int run(struct ci *k, struct err *e)
{
	if (plan(k, e) < 0)
		return -1;
	if (k->a->list)
		return answer_users(k);
	int code = run_all(k, e);
	return code < 0 || k->a->job.o.pool ? code : answer(k, code);
}

int cmd_opam_ci(struct cmd_context *c, int argc, char **argv)
{
	auto_args a = {.build = CMD_BUILD_OPTIONS_INIT, .source = BUILD_SOURCE_INIT};
	const struct cmd_option options[] = {
		{0, "repo", CMD_TEXT, &a.repo},
		{0, "on", CMD_TEXT, &a.on},
		{0, "opam", CMD_TEXT, &a.opam},
		{'t', "with-tests", CMD_FLAG, &a.with_tests},
		{0, "with-test", CMD_FLAG, &a.with_tests},
		{0, "lower-bounds", CMD_FLAG, &a.lower_bounds},
		{0, "reverse-dependencies", CMD_FLAG, &a.all_reverse},
		{0, "reverse-dependency", CMD_LIST, &a.reverse},
		{0, "list", CMD_FLAG, &a.list},
		{0, "no-nested", CMD_FLAG, &a.not_nested},
		{0, "commit", CMD_TEXT, &a.source.commit},
		{0, "onto", CMD_TEXT, &a.source.onto},
		{0, "merge-base", CMD_TEXT, &a.source.merge_base},
		{0, "note", CMD_TEXT, &a.source.note},
		{0, "variant", CMD_TEXT, &a.source.variant},
		CMD_BUILD_OPTIONS(&a.build),
		CMD_BUILD_JOB(&a.job),
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	if (cmd_parse(c, options, false, argc, argv, &a.words, &e) < 0)
		return cmd_fail(c, &e);
	if (c->help)
		return cmd_help(c);
	cleanup_with(ci_release) struct ci k = {.c = c, .a = &a};
	a.build.nested = !a.not_nested;
	int code = run(&k, &e);
	if (code >= 0)
		return code;
	return cmd_fail_as(c, &e, e.code == ERR_NOT_FOUND && !e.sys ? OPAM_NOT_FOUND : cmd_exit_of(&e));
}
