// SPDX-License-Identifier: Apache-2.0
/* Activation, wrappers, and programs that run in an environment, on prefixes made by hand. */
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "env/activate.h"

static char root[256], prefix[300];

static void put_in(const char *dir, const char *path, const char *text, mode_t mode)
{
	char full[1024], parent[1024];
	struct err e = ERR_INIT;
	snprintf(full, sizeof(full), "%s/%s", dir, path);
	snprintf(parent, sizeof(parent), "%s", full);
	*strrchr(parent, '/') = '\0';
	CHECK_MSG(fs_mkdirs(AT_FDCWD, parent, 0755, &e) == 0, "%s", e.msg);
	int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, mode);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void put(const char *path, const char *text)
{
	put_in(prefix, path, text, 0755);
}

/* Generation n of the environment "it's", current. */
static void generation(unsigned n)
{
	char current[512], number[16];
	struct err e = ERR_INIT;
	snprintf(root, sizeof(root), "%s", test_tmp());
	snprintf(prefix, sizeof(prefix), "%s/env/tools/%u", root, n);
	snprintf(current, sizeof(current), "%s/env/tools/current", root);
	snprintf(number, sizeof(number), "%u", n);
	put("bin/show", "#!/bin/sh\necho \"$0 $CONDA_DEFAULT_ENV $A $B $C $D\" \"$@\"\n");
	unlink(current);
	CHECK_MSG(symlink(number, current) == 0, "%s", current);
	(void)e;
}

static void variables_and_scripts(void)
{
	put("etc/conda/env_vars.d/a.json", "{\"A\": \"first\", \"B\": \"it's $HOME\"}");
	put("etc/conda/env_vars.d/b.json", "{\"A\": \"second\"}");
	put("conda-meta/state", "{\"env_vars\": {\"C\": \"***unset***\"}}");
	put("etc/conda/activate.d/1.sh", "[ $# -eq 0 ] || echo arguments; export D=one\n");
	put("etc/conda/activate.d/2.sh", "export D=\"$D-two\"\n");
	put("etc/conda/deactivate.d/1.sh", "echo off-1; unset D\n");
	put("etc/conda/deactivate.d/2.sh", "echo off-2\n");
}

/* What a command prints. */
static const char *output(const char *command)
{
	static char out[8192];
	FILE *f = popen(command, "r");
	size_t n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;
	CHECK(f && pclose(f) != -1);
	out[n] = '\0';
	return out;
}

static const char *value_of(char **block, const char *name)
{
	for (; *block; block++) {
		if (strncmp(*block, name, strlen(name)) == 0 && (*block)[strlen(name)] == '=')
			return *block + strlen(name) + 1;
	}
	return NULL;
}

/* == the environment block ======================================================================================== */
TEST(variables_come_in_order)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	char **block, path[512];
	char *base[] = {(char *)"C=kept?", (char *)"A=old", (char *)"PATH=/p", (char *)"E==x", NULL};
	bool shell;
	generation(1);
	variables_and_scripts();
	CHECK_MSG(env_environ(prefix, STR("tools"), base, &a, &block, &shell, &e) == 0, "%s", e.msg);
	CHECK_STR(value_of(block, "A"), "second");
	CHECK_STR(value_of(block, "B"), "it's $HOME");
	CHECK_STR(value_of(block, "C"), NULL);
	CHECK_STR(value_of(block, "E"), "=x");
	CHECK_STR(value_of(block, "CONDA_PREFIX"), prefix);
	CHECK_STR(value_of(block, "CONDA_DEFAULT_ENV"), "tools");
	snprintf(path, sizeof(path), "%s/bin:/p", prefix);
	CHECK_STR(value_of(block, "PATH"), path);
	CHECK(shell);
}

TEST(a_plain_environment_needs_no_shell)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	char **block;
	char *base[] = {NULL};
	bool shell;
	generation(1);
	CHECK(env_environ(prefix, STR("tools"), base, &a, &block, &shell, &e) == 0);
	CHECK(!shell);
	CHECK(strstr(value_of(block, "PATH"), "/bin:/usr/local/bin:"));
}

TEST(malformed_variables_name_their_file)
{
	static const char *const bad[] = {"[1]",	"{\"A B\": \"x\"}",	"{\"\": \"x\"}",
					  "{\"A\": 1}", "{\"A\": \"\\u0000\"}", "{"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_arena a = ARENA_INIT;
		struct err e = ERR_INIT;
		char **block;
		bool shell;
		generation(1);
		put("etc/conda/env_vars.d/x.json", bad[i]);
		CHECK_MSG(env_environ(prefix, STR("tools"), environ, &a, &block, &shell, &e) < 0, "'%s' is taken",
			  bad[i]);
		CHECK_MSG(strstr(e.msg, "env_vars.d/x.json"), "%s", e.msg);
	}
}

/* == shells ======================================================================================================= */
static void shell_round(const char *shell, const char *bin)
{
	auto_buf on = BUF_INIT(1 << 20), off = BUF_INIT(1 << 20), script = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	char command[1024], want[1024];
	generation(1);
	variables_and_scripts();
	CHECK_MSG(activation_text(prefix, STR("tools"), shell, false, &on, &e) == 0, "%s", e.msg);
	CHECK_MSG(activation_text(prefix, STR("tools"), shell, true, &off, &e) == 0, "%s", e.msg);
	buf_put_c(&script, "set -u; A=mine C=see B=; unset B; PATH=/usr/bin:/bin; PS1=x\n");
	buf_put_c(&script, on.p);
	buf_put_c(&script, "echo \"$A|$B|${C-none}|${PATH%%:*}|$CONDA_PREFIX|$PS1\"\n");
	buf_put_c(&script, on.p); /* once more: the first is undone */
	buf_put_c(&script, "PATH=/more:$PATH\n");
	buf_put_c(&script, off.p);
	buf_put_c(&script, "echo \"$A|${B-none}|$C|$PATH|${CONDA_PREFIX-none}|$PS1\"\n");
	put_in(root, "script", script.p, 0755);
	snprintf(command, sizeof(command), "%s %s/script 2>&1", bin, root);
	snprintf(
		want, sizeof(want),
		"second|it's $HOME|none|%s/bin|%s|(tools) x\noff-2\noff-1\noff-2\noff-1\nmine|none|see|/more:/usr/bin:/bin|none|x\n",
		prefix, prefix);
	unsetenv("CONDA_PREFIX");
	CHECK_STR(output(command), want);
}

TEST(bash_activates_and_deactivates)
{
	shell_round("/bin/bash", "bash");
}

TEST(a_posix_shell_activates_and_deactivates)
{
	if (system("command -v dash >/dev/null") != 0)
		SKIP("no dash");
	shell_round("posix", "sh -c '. \"$0\"'");
}

TEST(zsh_activates_and_deactivates)
{
	if (system("command -v zsh >/dev/null") != 0)
		SKIP("no zsh");
	shell_round("zsh", "zsh -f");
}

TEST(fish_activates_and_deactivates)
{
	auto_buf on = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	generation(1);
	put("conda-meta/state", "{\"env_vars\": {\"A\": \"it's\", \"C\": \"\\\\n\"}}");
	CHECK(activation_text(prefix, STR("tools"), "fish", false, &on, &e) == 0);
	CHECK(strstr(on.p, "set -gx A 'it\\'s'\n") && strstr(on.p, "set -gx C '\\\\n'\n"));
	if (system("command -v fish >/dev/null") != 0)
		SKIP("no fish");
	char command[1024], want[1024];
	buf_put_c(&on, "echo $A $CONDA_DEFAULT_ENV; slipway_deactivate; set -q A; or echo gone\n");
	put_in(root, "script", on.p, 0755);
	snprintf(command, sizeof(command), "fish --no-config %s/script", root);
	snprintf(want, sizeof(want), "it's tools\ngone\n");
	CHECK_STR(output(command), want);
}

TEST(an_unknown_shell_is_named)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	generation(1);
	CHECK(activation_text(prefix, STR("tools"), "tcsh", false, &b, &e) < 0);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
	CHECK(strstr(e.msg, "'tcsh'") && strstr(e.msg, "fish"));
}

/* == wrappers ===================================================================================================== */
static void write_activation_file(void)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	auto_fd fd = open(prefix, O_DIRECTORY | O_RDONLY);
	CHECK_MSG(fd >= 0 && activation_file_text(fd, prefix, &b, &e) == 0, "%s", e.msg);
	put(ACTIVATION_FILE, b.p);
}

static int wrap(const char *program, struct err *e)
{
	char dir[512], current[512];
	const char *const programs[] = {"show", program};
	*e = ERR_INIT;
	snprintf(dir, sizeof(dir), "%s/bin", root);
	snprintf(current, sizeof(current), "%s/env/tools/current", root);
	fs_mkdirs(AT_FDCWD, dir, 0755, e);
	auto_fd fd = open(dir, O_DIRECTORY | O_RDONLY);
	return wrap_check(prefix, STR("tools"), fd, programs, 1 + (program != NULL), e) < 0
		       ? -1
		       : wrap_programs(current, STR("tools"), fd, programs, 1 + (program != NULL), e);
}

TEST(a_wrapper_runs_the_program_activated)
{
	struct err e;
	char command[1024], want[1024];
	generation(1);
	variables_and_scripts();
	put("etc/conda/activate.d/1.sh",
	    "[ $# -eq 0 ] || echo arguments; [[ a = a ]] && export D=one\n"); /* bash's words */
	write_activation_file();
	CHECK_MSG(wrap(NULL, &e) == 0, "%s", e.msg);
	CHECK_MSG(wrap(NULL, &e) == 0, "again: %s", e.msg);
	snprintf(command, sizeof(command), "C=see %s/bin/show 'a b' '*' 2>&1", root);
	snprintf(want, sizeof(want), "%s/bin/show tools second it's $HOME  one-two a b *\n", prefix);
	CHECK_STR(output(command), want);
}

TEST(a_wrapper_follows_a_switch)
{
	struct err e;
	char command[1024], want[1024];
	generation(1);
	write_activation_file();
	CHECK_MSG(wrap(NULL, &e) == 0, "%s", e.msg);
	generation(2);
	write_activation_file();
	snprintf(command, sizeof(command), "env -u A -u B -u C -u D %s/bin/show", root);
	snprintf(want, sizeof(want), "%s/env/tools/2/bin/show tools    \n", root);
	CHECK_STR(output(command), want);
	snprintf(command, sizeof(command), "rm %s/env/tools/current; %s/bin/show 2>/dev/null; echo $?", root, root);
	CHECK_STR(output(command), "127\n");
}

TEST(nothing_foreign_is_overwritten_and_it_is_all_or_none)
{
	struct err e;
	char path[512];
	generation(1);
	put("bin/other", "#!/bin/sh\n");
	put_in(root, "bin/other", "#!/bin/sh\necho mine\n", 0755);
	CHECK(wrap("other", &e) < 0);
	CHECK_INT(e.code, ERR_EXISTS);
	snprintf(path, sizeof(path), "%s/bin/show", root);
	CHECK(access(path, F_OK) < 0);
	snprintf(path, sizeof(path), "%s/bin/other", root);
	CHECK_STR(output(path), "mine\n");
	/* nor a link, wherever it leads */
	CHECK(unlink(path) == 0 && symlink("/nowhere", path) == 0);
	CHECK(wrap("other", &e) < 0 && e.code == ERR_EXISTS);
}

TEST(only_programs_of_the_environment_are_wrapped)
{
	static const char *const bad[] = {"none", "../show", "a/b", "", "."};
	struct err e;
	generation(1);
	put_in(prefix, "bin/plain", "text", 0644);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_MSG(wrap(bad[i], &e) < 0, "'%s' is wrapped", bad[i]);
	CHECK(wrap("plain", &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK(strstr(e.msg, "environment 'tools' has no program 'bin/plain'"));
}

/* == running ====================================================================================================== */
/* Runs argv in the prefix as env_exec does, and gives its output; the exit status is appended. */
static const char *run(char *const *argv)
{
	static char out[4096];
	int p[2], status;
	CHECK(pipe(p) == 0);
	pid_t child = fork();
	if (child == 0) {
		struct err e = ERR_INIT;
		dup2(p[1], 1);
		activation_exec(prefix, STR("tools"), argv, &e);
		dprintf(1, "%s", e.msg);
		_exit(126);
	}
	close(p[1]);
	size_t at = 0;
	for (ssize_t n; (n = read(p[0], out + at, sizeof(out) - 32 - at)) > 0;)
		at += (size_t)n;
	close(p[0]);
	CHECK(waitpid(child, &status, 0) == child);
	snprintf(out + at, 32, "=%d", WEXITSTATUS(status));
	return out;
}

TEST(exec_becomes_the_program)
{
	char want[1024];
	unsetenv("A");
	unsetenv("B");
	unsetenv("C");
	unsetenv("D");
	generation(1);
	snprintf(want, sizeof(want), "%s/bin/show tools     x y\n=0", prefix);
	CHECK_STR(run((char *[]){(char *)"show", (char *)"x y", NULL}), want);
	CHECK_STR(run((char *[]){(char *)"sh", (char *)"-c", (char *)"exit 7", NULL}), "=7");
	CHECK(strstr(run((char *[]){(char *)"no-such-program", NULL}),
		     "program 'no-such-program' is neither in environment 'tools' nor in PATH"));
	put("bin/bare", "echo bare $1\n");
	CHECK_STR(run((char *[]){(char *)"bare", (char *)"1", NULL}), "bare 1\n=0");
}

TEST(exec_runs_activation_scripts_first)
{
	char want[1024];
	generation(1);
	variables_and_scripts();
	put("etc/conda/activate.d/1.sh", "[ $# -eq 0 ] || echo arguments; [[ a = a ]] && export D=one\n");
	snprintf(want, sizeof(want), "%s/bin/show tools second it's $HOME  one-two -x\n=0", prefix);
	unsetenv("C");
	CHECK_STR(run((char *[]){(char *)"show", (char *)"-x", NULL}), want);
}
