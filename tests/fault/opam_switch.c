// SPDX-License-Identifier: Apache-2.0
/*
 * A package goes into a switch and out of it, for the sweep in opam-switch.sh:
 *
 *	fault_opam_switch ROOT install VERSION BUILD    switch "s", package "tool"
 *	fault_opam_switch ROOT remove
 *	fault_opam_switch ROOT check                    all that is installed is there whole: prints the version, or "none"
 *
 * Exits 0, or 1 with a message.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "env/env.h"

static struct arena a;
static struct err err;
static struct env_opam *o;
static struct env_opam_switch *s;

static int say(void)
{
	printf("%s\n", err.msg);
	return 1;
}

static int install(const char *version, const char *build)
{
	auto_ptr(env_opam_track) t = NULL;
	struct env_opam_install i;
	struct env_opam_changes c, old;
	struct pkg_opam_strs kept;
	auto_buf b = BUF_INIT(1 << 20);
	auto_fd fd = fs_open_dir(AT_FDCWD, build, &err);
	if (fd < 0 || fs_read(fd, "tool.install", &b, &err) < 0 ||
	    env_opam_changes_read(s, &a, STR("tool"), &old, &err) < 0 ||
	    env_opam_install_clear(s, STR("tool"), &err) < 0 || env_opam_revert(s, &a, &old, true, &kept, &err) < 0 ||
	    env_opam_track_begin(s, false, &t, &err) < 0 ||
	    env_opam_install_read(&a, buf_str(&b), "tool.install", STR("tool"), &i, &err) < 0 ||
	    env_opam_install_apply(s, STR("tool"), &i, fd, &err) < 0 || env_opam_track_end(t, &a, &c, &err) < 0)
		return say();
	struct env_opam_package p = {STR("tool"), str_c(version),
				     STR("opam-version: \"2.0\"\nsetenv: [T = \"%{version}%\"]\n"), true, &c};
	return env_opam_added(s, &p, &err) < 0 ? say() : 0;
}

static int take_out(void)
{
	struct env_opam_changes c;
	struct pkg_opam_strs kept;
	if (env_opam_removed(s, STR("tool"), false, &err) < 0)
		return say();
	(void)c, (void)kept;
	return 0;
}

static int out_of_it(void)
{
	struct env_opam_changes c;
	struct pkg_opam_strs kept;
	if (env_opam_changes_read(s, &a, STR("tool"), &c, &err) < 0 ||
	    env_opam_revert(s, &a, &c, false, &kept, &err) < 0)
		return say();
	return take_out();
}

static int check(void)
{
	struct env_opam_state st;
	struct pkg_opam_doc d;
	if (env_opam_state_read(s, &a, &st, &err) < 0)
		return say();
	for (size_t i = 0; i < st.installed.n; i++)
		if (env_opam_installed_file(s, &a, st.installed.v[i], &d, &err) < 0)
			return say();
	struct str version = env_opam_version_in(&st.installed, STR("tool"));
	printf("%.*s\n", STR_ARG(version.n ? version : STR("none")));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	if (env_opam_open(argv[1], &o, &err) < 0 || env_opam_switch_open(o, "s", &s, &err) < 0)
		return say();
	int rc = strcmp(argv[2], "check") == 0			 ? check()
		 : env_opam_switch_lock(s, true, 1000, &err) < 0 ? say()
		 : strcmp(argv[2], "remove") == 0		 ? out_of_it()
		 : argc == 5					 ? install(argv[3], argv[4])
								 : 2;
	env_opam_switch_free(s);
	env_opam_free(o);
	arena_release(&a);
	return rc;
}
