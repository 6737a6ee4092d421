// SPDX-License-Identifier: Apache-2.0
/*
 * Programs of an environment for people who do not activate it: wrapper scripts, and running one at once.
 *
 * A wrapper follows the environment's current generation when it starts and runs the program from the generation's real
 * path, activated: the program goes on finding its own files after a switch.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/vec.h"
#include "env/activate.h"

enum { WRAPPER_MAX = 64 << 10 };

/* by which we know our own */
#define MARK "# Written by 'slipway env wrap': "

static int program_check(const char *prefix, struct str name, const char *program, struct err *e)
{
	struct str p = str_c(program);
	auto_free char *path = xasprintf("%s/bin/%s", prefix, program);
	struct stat st;
	if (!fs_path_is_inside(p) || str_find(p, '/') >= 0 || p.n > 255)
		return err_new(e, ERR_USAGE, "'%s' is no name of a program", program);
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return err_new(e, ERR_NOT_FOUND, "environment '%.*s' has no program 'bin/%s'", STR_ARG(name), program);
	return 0;
}

/* 0 where the name is free or holds a wrapper of ours. */
static int place_check(int dirfd, const char *program, struct err *e)
{
	auto_buf text = BUF_INIT(WRAPPER_MAX);
	struct err mine = ERR_INIT;
	struct stat st;
	if (fstatat(dirfd, program, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "look at '%s'", program);
	if (S_ISREG(st.st_mode) && fs_read(dirfd, program, &text, &mine) == 0 &&
	    str_starts(buf_str(&text), STR("#!/bin/sh\n" MARK)))
		return 0;
	return err_new(e, ERR_EXISTS,
		       "'%s' is there already and no wrapper of slipway's: move it away or choose another folder",
		       program);
}

static void put_comment(struct str s, struct buf *b)
{
	for (size_t i = 0; i < s.n; i++)
		buf_put_char(b, (unsigned char)s.p[i] < ' ' ? '?' : s.p[i]);
}

static void wrapper_text(const char *current, struct str name, const char *program, struct buf *b)
{
	buf_put_c(b, "#!/bin/sh\n" MARK "runs '");
	put_comment(str_c(program), b);
	buf_printf(b, "' of the environment '%.*s', activated.\n_slipway_prefix=$(cd -P ", STR_ARG(name));
	activation_quote_sh(str_c(current), b);
	buf_put_c(b, " && pwd -P) || exit 127\nexport CONDA_DEFAULT_ENV=");
	activation_quote_sh(name, b);
	buf_put_c(b, "\n. \"$_slipway_prefix/" ACTIVATION_FILE "\"\nexec \"$_slipway_prefix\"/bin/");
	activation_quote_sh(str_c(program), b);
	buf_put_c(b, " \"$@\"\n");
}

int wrap_check(const char *prefix, struct str name, int dirfd, const char *const *programs, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (program_check(prefix, name, programs[i], e) < 0 ||
		    (dirfd >= 0 && place_check(dirfd, programs[i], e) < 0))
			return -1;
	return 0;
}

int wrap_programs(const char *current, struct str name, int dirfd, const char *const *programs, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		auto_buf text = BUF_INIT(WRAPPER_MAX);
		wrapper_text(current, name, programs[i], &text);
		if (fs_replace(dirfd, programs[i], text.p, text.n, FS_REPLACE_SYNC | FS_REPLACE_EXEC, e) < 0)
			return err_ctx(e, "write wrapper '%s'", programs[i]);
	}
	return 0;
}

/* == running ====================================================================================================== */
/* bash that sources the activation scripts and becomes the program. */
static int with_shell(const char *prefix, const char *program, char *const *argv, struct arena *a, char ***ret,
		      struct err *e)
{
	struct activation act = {0};
	auto_buf text = BUF_INIT(BUF_MAX);
	auto_fd prefix_fd = fs_open_dir(AT_FDCWD, prefix, e);
	size_t n = 0;
	if (prefix_fd < 0 || activation_read(prefix_fd, ".sh", a, &act, e) < 0)
		return -1;
	buf_put_c(&text, "_slipway_activate() {\n:\n");
	for (size_t i = 0; i < act.activate_n; i++) {
		buf_put_c(&text, ". \"$CONDA_PREFIX\"/");
		activation_quote_sh(act.activate[i], &text);
		buf_put_char(&text, '\n');
	}
	buf_put_c(&text, "}\n_slipway_activate\nexec \"$@\"\n");
	while (argv[n])
		n++;
	char **out = arena_array(a, char *, n + 5);
	const char *shell = access("/bin/bash", X_OK) == 0 ? "/bin/bash" : "/bin/sh";
	out[0] = arena_strdup(a, str_c(shell));
	out[1] = arena_strdup(a, STR("-c"));
	out[2] = arena_strdup(a, buf_str(&text));
	out[3] = arena_strdup(a, STR("slipway"));
	out[4] = arena_strdup(a, str_c(program));
	for (size_t i = 1; i < n; i++)
		out[4 + i] = argv[i];
	*ret = out;
	return 0;
}

/* Where PATH of the new environment has the program; NULL where nowhere. */
static const char *find_program(const char *prefix, const char *program, struct arena *a)
{
	struct str rest, dir;
	const char *path = getenv("PATH");
	if (strchr(program, '/'))
		return program;
	rest = str_c(arena_printf(a, "%s/bin:%s", prefix, path ? path : "/usr/local/bin:/usr/bin:/bin"));
	while (rest.n > 0) {
		if (!str_take_until(&rest, ':', &dir)) {
			dir = rest;
			rest.n = 0;
		}
		const char *full = arena_printf(a, "%.*s/%s", STR_ARG(dir), program);
		struct stat st;
		if (dir.n > 0 && stat(full, &st) == 0 && S_ISREG(st.st_mode) && access(full, X_OK) == 0)
			return full;
	}
	return NULL;
}

int activation_exec(const char *prefix, struct str name, char *const *argv, struct err *e)
{
	auto_arena a = ARENA_INIT;
	char **block, **args = (char **)argv;
	bool needs_shell;
	if (env_environ(prefix, name, environ, &a, &block, &needs_shell, e) < 0)
		return -1;
	const char *program = find_program(prefix, argv[0], &a);
	if (!program)
		return err_new(e, ERR_NOT_FOUND, "program '%s' is neither in environment '%.*s' nor in PATH", argv[0],
			       STR_ARG(name));
	if (needs_shell) {
		if (with_shell(prefix, program, argv, &a, &args, e) < 0)
			return -1;
		program = args[0];
	}
	proc_signals_restore();
	execve(program, args, block);
	if (errno == ENOEXEC && !needs_shell) {
		/* a script without a first line, which shells run all the same */
		if (with_shell(prefix, program, argv, &a, &args, e) < 0)
			return -1;
		execve(args[0], args, block);
	}
	return err_sys(e, "run '%s'", program);
}
