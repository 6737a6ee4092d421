// SPDX-License-Identifier: Apache-2.0
/*
 * Link scripts: packages' own programs that run when they are laid out (CEP 32 and 34). They are run only where the
 * caller allows it, since they may do anything. A post-link script runs in the activated environment and is sourced by
 * bash, as conda does it: published scripts rely on both. Scripts for removal are never run: a generation goes as a
 * whole, and what a script changed in it goes with it.
 */
#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/sys.h"
#include "env/activate.h"
#include "env/layout.h"

enum { OUTPUT_MAX = 64 << 10, MESSAGES_MAX = 1 << 20, SCRIPT_DEADLINE_MS = 30 * 60 * 1000 };

static const char *const when_name[] = {"pre-link", "post-link"};

static const struct path_entry *find_script(const struct link_pkg *p, enum script_when when)
{
	auto_free char *path = xasprintf("bin/.%.*s-%s.sh", STR_ARG(p->record.name), when_name[when]);
	vec_foreach(en, &p->entries) {
		if (en->type == PATH_HARD && !en->lost && str_eq_c(en->dest, path))
			return en;
	}
	return NULL;
}

bool scripts_will_run(const struct layer *l)
{
	for (size_t i = 0; l->job->opts->allow_scripts && i < l->pkg_n; i++) {
		if (find_script(&l->pkg[i], SCRIPT_PRE_LINK) || find_script(&l->pkg[i], SCRIPT_POST_LINK))
			return true;
	}
	return false;
}

static void add_seen(struct layer *l, const struct link_pkg *p, const struct path_entry *en, const char *what)
{
	struct link_report *r = l->report;
	struct str *grown = arena_array(l->arena, struct str, r->scripts_n + 1);
	if (r->scripts_n > 0)
		memcpy(grown, r->scripts, r->scripts_n * sizeof(*grown));
	grown[r->scripts_n++] =
		str_c(arena_printf(l->arena, "%.*s: %s (%s)", STR_ARG(p->record.name), en->dest.p, what));
	r->scripts = grown;
}

/* The text that bash runs: activation first where the package's dependencies are in place. */
static int script_text(struct layer *l, enum script_when when, const char *script, struct buf *b, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct activation act = {0};
	if (when == SCRIPT_POST_LINK && activation_read(l->job->prefix_fd, ".sh", &a, &act, e) < 0)
		return -1;
	for (size_t i = 0; i < act.activate_n; i++) {
		buf_put_c(b, ". \"$PREFIX\"/");
		activation_quote_sh(act.activate[i], b);
		buf_put_c(b, "\n");
	}
	buf_put_c(b, ". ");
	activation_quote_sh(str_c(script), b);
	buf_put_c(b, "\n");
	return 0;
}

static char *with_path(struct arena *a, const char *dir)
{
	const char *path = getenv("PATH");
	return arena_printf(a, "PATH=%s:%s", dir, path && *path ? path : "/usr/local/bin:/usr/bin:/bin");
}

/* The caller's environment in which the package's variables come last, so that they count. */
static int script_environ(struct layer *l, const struct link_pkg *p, const char *dir, struct arena *a,
			  char *const **ret, struct err *e)
{
	const struct pkg_record *r = &p->record;
	const char *prefix = l->job->prefix;
	VEC(char *) base = {0};
	char **block;
	bool shell;
	for (char **v = environ; v && *v; v++)
		vec_push(&base, *v);
	vec_push(&base, arena_printf(a, "PREFIX=%s", prefix));
	vec_push(&base, arena_printf(a, "SOURCE_DIR=%s", prefix));
	vec_push(&base, arena_printf(a, "ROOT_PREFIX="));
	vec_push(&base, arena_printf(a, "PKG_NAME=%.*s", STR_ARG(r->name)));
	vec_push(&base, arena_printf(a, "PKG_VERSION=%.*s", STR_ARG(r->version)));
	vec_push(&base, arena_printf(a, "PKG_BUILDNUM=%llu", (unsigned long long)r->build_number));
	vec_push(&base, with_path(a, dir));
	vec_push(&base, NULL);
	int result = env_environ(prefix, STR(""), base.v, a, &block, &shell, e);
	vec_release(&base);
	*ret = block;
	return result;
}

static const char *shell_path(void)
{
	return access("/bin/bash", X_OK) == 0 ? "/bin/bash" : "/bin/sh";
}

static struct str last_line(struct str s)
{
	s = str_trim(s);
	ptrdiff_t nl = str_rfind(s, '\n');
	return nl < 0 ? s : str_skip(s, (size_t)nl + 1);
}

static int run_script(struct layer *l, const struct link_pkg *p, const struct path_entry *en, enum script_when when,
		      struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf text = BUF_INIT(BUF_MAX), output = BUF_INIT(OUTPUT_MAX), base = BUF_INIT(8192);
	char *const *envp;
	/* before the package is linked its script is in the store only */
	if (when == SCRIPT_PRE_LINK) {
		if (store_tree_path(l->job->store, p->record.sha256, &base, e) < 0)
			return -1;
	} else {
		buf_put_c(&base, l->job->prefix);
	}
	const char *script = arena_printf(&a, "%s/%s", base.p, when == SCRIPT_PRE_LINK ? en->path.p : en->dest.p);
	const char *dir = arena_printf(&a, "%s/bin", base.p);
	if (script_environ(l, p, dir, &a, &envp, e) < 0 || script_text(l, when, script, &text, e) < 0)
		return -1;
	const char *const argv[] = {shell_path(), "-c", text.p, script, NULL};
	struct proc_opts o = {.argv = argv,
			      .envp = (const char *const *)envp,
			      .cwd = l->job->prefix,
			      .out = &output,
			      .errout = &output,
			      .deadline_ms = SCRIPT_DEADLINE_MS};
	int status = proc_run(&o, e);
	if (status < 0)
		return -1;
	if (status > 0)
		return err_new(e, ERR_FAILED, "it exits with %d: %.*s", status, STR_ARG(last_line(buf_str(&output))));
	return 0;
}

int scripts_run(struct layer *l, enum script_when when, struct err *e)
{
	for (size_t i = 0; i < l->pkg_n; i++) {
		const struct link_pkg *p = &l->pkg[i];
		const struct path_entry *en = find_script(p, when);
		if (!en)
			continue;
		if (!l->job->opts->allow_scripts) {
			add_seen(l, p, en, "not run: not allowed");
			continue;
		}
		if (run_script(l, p, en, when, e) < 0)
			return err_ctx(e, "%s script of package '%.*s'", when_name[when], STR_ARG(p->record.fn));
		add_seen(l, p, en, "run");
	}
	return 0;
}

int scripts_messages(struct layer *l, struct err *e)
{
	auto_buf text = BUF_INIT(MESSAGES_MAX);
	struct err mine = ERR_INIT;
	if (!l->job->opts->allow_scripts)
		return 0;
	if (fs_read(l->job->prefix_fd, ".messages.txt", &text, &mine) < 0 && mine.code == ERR_NOT_FOUND)
		return 0;
	l->report->messages = arena_str(l->arena, buf_str(&text));
	if (sys_unlinkat(l->job->prefix_fd, ".messages.txt", 0) < 0)
		return err_sys(e, "remove '.messages.txt'");
	return 0;
}
