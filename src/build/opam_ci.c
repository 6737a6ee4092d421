// SPDX-License-Identifier: Apache-2.0
/* What a CI of an opam repository builds for a package, as a spec: opam-repo-ci's rules. */
#include "build/build.h"
#include "build/spec.h"
#include "pkg/pkg.h"

enum { OPS_MAX = 40, COMMAND_MAX = 64 << 10, DISTRIBUTION_MAX = 100, OPAM_VERSION_MAX = 20 };

struct writer {
	const struct build_opam_ci *j;
	struct arena *a;
	struct spec_op ops[OPS_MAX];
	size_t n;
};

/* -- words ------------------------------------------------------------------------------------------------------------ */

/* All of them stand in commands of a shell. */
static bool is_plain(struct str s, size_t max)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (i && strchr("._-", c))))
			return false;
	}
	return s.n > 0 && s.n <= max;
}

static int split(struct str package, struct str *ret_name, struct str *ret_version, struct err *e)
{
	struct str rest = package;
	if (str_take_until(&rest, '.', ret_name) && pkg_opam_name_is_good(*ret_name) &&
	    pkg_opam_version_is_good(rest)) {
		*ret_version = rest;
		return 0;
	}
	return err_new(e, ERR_USAGE, "'%.*s' is no package with its version; write it as fmt.0.9.0", STR_ARG(package));
}

static int check(const struct build_opam_ci *j, struct err *e)
{
	struct str name, version;
	if (split(j->package, &name, &version, e) < 0 ||
	    (j->reverse_dependency.n && split(j->reverse_dependency, &name, &version, e) < 0))
		return -1;
	if (!is_plain(j->distribution, DISTRIBUTION_MAX))
		return err_new(e, ERR_USAGE,
			       "'%.*s' is no distribution as opam's CI calls it; one is debian-12, or alpine-3.21",
			       STR_ARG(j->distribution));
	if (!is_plain(j->opam, OPAM_VERSION_MAX))
		return err_new(e, ERR_USAGE, "'%.*s' is no version of opam; one is 2.1", STR_ARG(j->opam));
	return 0;
}

/* -- operations ------------------------------------------------------------------------------------------------------- */

static struct spec_op *add(struct writer *w, enum spec_kind kind)
{
	struct spec_op *op = &w->ops[w->n++];
	*op = (struct spec_op){.kind = kind};
	return op;
}

static void add_env(struct writer *w, const char *name, const char *value)
{
	add(w, SPEC_ENV)->env = (struct spec_pair){str_c(name), str_c(value)};
}

enum reach { ALONE, NETWORK, ARCHIVES };

static void add_run(struct writer *w, enum reach reach, const char *command)
{
	static const struct str host = {"host", 4};
	static const struct spec_mount archives = {.id = {"opam-archives", 13},
						   .target = {"/home/opam/.opam/download-cache", 31}};
	struct spec_op *op = add(w, SPEC_RUN);
	op->text = str_c(command);
	op->networks = &host;
	op->n_networks = reach != ALONE;
	op->caches = &archives;
	op->n_caches = reach == ARCHIVES;
}

/* Where the compiler itself is what is installed, the switch may no longer want another one. */
static bool is_compiler(struct str name)
{
	return str_eq_c(name, "ocaml-variants") || str_eq_c(name, "ocaml-base-compiler") ||
	       str_eq_c(name, "ocaml-compiler");
}

/*
 * Status 31 is opam's for packages that failed: then the log says which, and which of them may fail on this distribution. The failed ones are those
 * whose build folders are still there.
 */
static void add_install(struct writer *w, struct str package, bool tests)
{
	struct str name, version;
	auto_buf b = BUF_INIT(COMMAND_MAX);
	struct err ignored = ERR_INIT; /* it was checked */
	(void)split(package, &name, &version, &ignored);
	buf_printf(&b,
		   "opam reinstall%s%s %.*s;\n"
		   "        res=$?;\n"
		   "        test \"$res\" != 31 && exit \"$res\";\n"
		   "        export OPAMCLI=2.0;\n"
		   "        build_dir=$(opam var prefix)/.opam-switch/build;\n"
		   "        failed=$(ls \"$build_dir\");\n"
		   "        partial_fails=\"\";\n"
		   "        for pkg in $failed; do\n",
		   tests ? " --with-test --verbose" : "", is_compiler(name) ? " --update-invariant" : "",
		   STR_ARG(package));
	buf_printf(&b,
		   "          if opam show -f x-ci-accept-failures: \"$pkg\" | grep -qF \"\\\"%.*s\\\"\"; then\n"
		   "            echo \"A package failed and has been disabled for CI using the 'x-ci-accept-failures' "
		   "field.\";\n"
		   "          fi;\n"
		   "          test \"$pkg\" != '%.*s' && partial_fails=\"$partial_fails $pkg\";\n"
		   "        done;\n"
		   "        test \"${partial_fails}\" != \"\" && echo \"opam-repo-ci detected dependencies failing: "
		   "${partial_fails}\";\n"
		   "        exit 1",
		   STR_ARG(w->j->distribution), STR_ARG(package));
	/* tests have neither network nor archives: what they need was installed, and fetched, in the step before */
	add_run(w, tests ? ALONE : ARCHIVES, arena_strdup(w->a, buf_str(&b)));
}

/* What is the same for every package of a repository on an image. */
static void add_repository(struct writer *w)
{
	static const struct str linux32[] = {{"/usr/bin/linux32", 16}, {"/bin/sh", 7}, {"-c", 2}};
	static const struct str here = {".", 1};
	struct spec_op *op;
	if (w->j->linux32) {
		op = add(w, SPEC_SHELL);
		op->words = linux32;
		op->n_words = 3;
	}
	add(w, SPEC_USER)->user = (struct spec_user){.uid = 1000, .gid = 1000};
	add(w, SPEC_WORKDIR)->text = STR("/home/opam");
	add_run(w, ALONE, arena_printf(w->a, "sudo ln -f /usr/bin/opam-%.*s /usr/bin/opam", STR_ARG(w->j->opam)));
	/* docker build has no sandbox for opam to use */
	add_run(w, NETWORK,
		w->j->docker ? "opam init --reinit -ni" : "opam init --reinit --config .opamrc-sandbox -ni");
	add_run(w, ALONE, "opam option solver=builtin-0install && opam config report");
	add_env(w, "OPAMDOWNLOADJOBS", "1");
	add_env(w, "OPAMERRLOGLEN", "0");
	add_env(w, "OPAMPRECISETRACKING", "1");
	add_env(w, "CI", "true");
	add_env(w, "OPAM_REPO_CI", "true");
	add_run(w, ALONE, "rm -rf opam-repository/");
	op = add(w, SPEC_COPY);
	op->words = &here;
	op->n_words = 1;
	op->dst = STR("opam-repository/");
	add_run(w, ALONE, "opam repository set-url --strict default opam-repository/");
	add_run(w, NETWORK, "opam update --depexts || true");
}

static void add_lower_bounds(struct writer *w)
{
	static const char *const names[] = {"OPAMCRITERIA", "OPAMFIXUPCRITERIA", "OPAMUPGRADECRITERIA"};
	for (size_t i = 0; i < 3; i++)
		add_env(w, names[i], "+removed,+count[version-lag,solution]");
	add_install(w, w->j->package, false);
}

static void add_tests(struct writer *w, struct str package)
{
	add_run(w, NETWORK, arena_printf(w->a, "(opam reinstall --with-test %.*s) || true", STR_ARG(package)));
	add_install(w, package, true);
}

int build_opam_ci_spec(const struct build_opam_ci *j, struct arena *a, struct buf *out, struct err *e)
{
	struct writer w = {.j = j, .a = a};
	struct str name, version;
	if (check(j, e) < 0 || split(j->package, &name, &version, e) < 0)
		return -1;
	add_repository(&w);
	add_run(&w, ALONE,
		arena_printf(a, "opam pin add -k version -yn %.*s %.*s", STR_ARG(j->package), STR_ARG(version)));
	add_install(&w, j->package, false);
	if (j->lower_bounds)
		add_lower_bounds(&w);
	if (j->reverse_dependency.n)
		add_install(&w, j->reverse_dependency, false);
	if (j->with_tests)
		add_tests(&w, j->reverse_dependency.n ? j->reverse_dependency : j->package);
	spec_print(&(struct build_spec){.from = j->base, .ops = w.ops, .n_ops = w.n}, out);
	buf_put_char(out, '\n');
	return 0;
}

/* -- its name --------------------------------------------------------------------------------------------------------- */

struct str build_opam_ci_title(const struct build_opam_ci *j, struct arena *a)
{
	return str_c(arena_printf(a, "%s %.*s%s%.*s%s, using opam %.*s", j->with_tests ? "test" : "build",
				  STR_ARG(j->reverse_dependency), j->reverse_dependency.n ? " with " : "",
				  STR_ARG(j->package), j->lower_bounds ? ", lower-bounds" : "", STR_ARG(j->opam)));
}

struct str build_opam_ci_hint(const struct build_opam_ci *j, struct str commit, struct arena *a)
{
	return str_c(arena_printf(a, "%.*s-%.*s%s%.*s%s%.*s", STR_ARG(j->base), STR_ARG(j->package),
				  j->reverse_dependency.n ? "-" : "", STR_ARG(j->reverse_dependency),
				  commit.n ? "-" : "", STR_ARG(commit)));
}

struct str build_opam_ci_distribution(struct str variant)
{
	ptrdiff_t at = str_search(variant, STR("-ocaml-"));
	return at < 0 ? variant : str_head(variant, (size_t)at);
}
