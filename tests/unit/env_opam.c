// SPDX-License-Identifier: Apache-2.0
/* Roots and switches of opam's: files that are laid and taken away, state, environment, locks. */
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "env/env.h"

static char root[300];
static struct env_opam *o;
static struct env_opam_switch *s;
static struct arena a;
static struct err e;

static char *at(const char *path)
{
	return arena_printf(&a, "%s/%s", test_tmp(), path);
}

static void put(const char *path, const char *text, mode_t mode)
{
	char *full = at(path), *parent = at(path);
	*strrchr(parent, '/') = '\0';
	CHECK_MSG(fs_mkdirs(AT_FDCWD, parent, 0755, &e) == 0, "%s", e.msg);
	int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, mode);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static const char *get(const char *path)
{
	auto_buf b = BUF_INIT(1 << 20);
	return fs_read(AT_FDCWD, at(path), &b, &e) < 0 ? "(none)" : arena_strdup(&a, buf_str(&b));
}

static bool is_there(const char *path)
{
	return fs_exists(AT_FDCWD, at(path));
}

/* A root with a switch "s" that is held. */
static void begin(void)
{
	snprintf(root, sizeof(root), "%s/root", test_tmp());
	const struct env_opam_repo repo = {.name = STR("default"), .url = STR("file:///nowhere")};
	CHECK_MSG(env_opam_init(root, NULL, &repo, 1, &e) == 0, "%s", e.msg);
	CHECK_MSG(env_opam_open(root, &o, &e) == 0, "%s", e.msg);
	CHECK_MSG(env_opam_lock(o, ENV_OPAM_CONFIG, true, 0, &e) == 0, "%s", e.msg);
	CHECK_MSG(env_opam_switch_create(o, "s", true, &e) == 0, "%s", e.msg);
	CHECK_MSG(env_opam_switch_open(o, "s", &s, &e) == 0, "%s", e.msg);
	CHECK_MSG(env_opam_switch_lock(s, true, 0, &e) == 0, "%s", e.msg);
}

static void end(void)
{
	env_opam_switch_free(s);
	env_opam_free(o);
	arena_release(&a);
}

/* -- .install ------------------------------------------------------------------------------------------------------- */

static const char *refusal(const char *text)
{
	struct env_opam_install i;
	e = ERR_INIT;
	return env_opam_install_read(&a, str_c(arena_strdup(&a, str_c(text))), "x.install", STR("x"), &i, &e) < 0
		       ? e.msg
		       : "";
}

TEST(install_files_go_where_opam_puts_them)
{
	static const char text[] =
		"bin: [\"a\" \"b/c\" {\"d\"}]\nlib: [\"META\" \"?o\"]\nlib_root: \"r\" {\"q/r\"}\nlibexec: \"e\"\n"
		"libexec_root: \"er\"\nsbin: \"s\"\ntoplevel: \"t\"\nstublibs: \"dll.so\"\nshare: \"sh\"\n"
		"share_root: \"sr\" {\"emacs/x\"}\netc: \"et\"\ndoc: \"./do\"\nman: [\"m.1\" \"n.3.gz\" \"p\" {\"man9/p\"}]\n"
		"misc: \"mi\" {\"/opt/mi\"}\n";
	static const char *const want[] = {"a bin/a x",	       "b/c bin/d x",
					   "META lib/x/META",  "o lib/x/o?",
					   "r lib/q/r",	       "e lib/x/e x",
					   "er lib/er x",      "s sbin/s x",
					   "t lib/toplevel/t", "dll.so lib/stublibs/dll.so x",
					   "sh share/x/sh",    "sr share/emacs/x",
					   "et etc/x/et",      "do doc/x/do",
					   "m.1 man/man1/m.1", "n.3.gz man/man3/n.3.gz",
					   "p man/man9/p",     "mi /opt/mi"};
	struct env_opam_install i;
	CHECK_MSG(env_opam_install_read(&a, str_c(text), "x.install", STR("x"), &i, &e) == 0, "%s", e.msg);
	CHECK_INT(i.n, sizeof(want) / sizeof(*want));
	for (size_t k = 0; k < i.n; k++)
		CHECK_STR(arena_printf(&a, "%s %s%s%s", i.v[k].from.p, arena_strdup(&a, i.v[k].to),
				       i.v[k].optional ? "?" : "", i.v[k].exec ? " x" : ""),
			  want[k]);
	arena_release(&a);
}

TEST(install_refuses_what_leaves_the_folders)
{
	CHECK(strstr(refusal("bin: \"../x\""), "x.install:1:6: the file is not inside of the build folder"));
	CHECK(strstr(refusal("bin: \"/etc/passwd\" {\"p\"}"), "not inside of the build folder"));
	CHECK(strstr(refusal("bin: \"a/../../x\""), "not inside of the build folder"));
	CHECK(strstr(refusal("lib: \"a\" {\"../../../x\"}"), "its place is not inside of the prefix"));
	CHECK(strstr(refusal("lib: \"a\" {\"../../.opam-switch/switch-state\"}"),
		     "its place is not inside of the prefix"));
	CHECK(strstr(refusal("lib: \"a\" {\"/etc/x\"}"), "")); /* "lib/x//etc/x" is inside */
	CHECK(strstr(refusal("misc: \"a\" {\"b\"}"), "absolute"));
	CHECK(strstr(refusal("man: \"a\""), "section"));
	CHECK(strstr(refusal("bin: 5"), "a file is expected"));
	CHECK(strstr(refusal("bin: \"a\" {5}"), "a file is expected"));
	CHECK(strstr(refusal("bin: \"a\nb\""), "not inside"));
	CHECK_STR(refusal("lib: \"a\" {\"../y/a\"}"), ""); /* inside of the prefix: dune does so */
	CHECK_STR(refusal("later: \"a\""), "");
	arena_release(&a);
}

static struct env_opam_install install_of(const char *text)
{
	struct env_opam_install i;
	CHECK_MSG(env_opam_install_read(&a, str_c(text), "x.install", STR("x"), &i, &e) == 0, "%s", e.msg);
	return i;
}

static int apply(const char *text)
{
	struct env_opam_install i = install_of(text);
	auto_fd build = open(at("build"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	e = ERR_INIT;
	return env_opam_install_apply(s, STR("x"), &i, build, &e);
}

TEST(what_was_laid_is_taken_away_again)
{
	struct env_opam_track *t;
	struct env_opam_changes c, back;
	struct pkg_opam_strs kept;
	struct stat st;
	begin();
	put("build/tool", "#!/bin/sh\n", 0644);
	put("build/d/data", "data", 0600);
	put("build/x.config", "opam-version: \"2.0\"\nvariables {\n  v: \"w\"\n}\n", 0644);
	put("root/s/share/other/file", "mine", 0644);
	CHECK_MSG(env_opam_track_begin(s, false, &t, &e) == 0, "%s", e.msg);
	CHECK_MSG(apply("bin: \"tool\" {\"tool-1\"}\nshare: [\"d/data\" {\"deep/er/data\"} \"?no\"]\n") == 0, "%s",
		  e.msg);
	CHECK_MSG(env_opam_track_end(t, &a, &c, &e) == 0, "%s", e.msg);
	CHECK_STR(get("root/s/share/x/deep/er/data"), "data");
	CHECK(stat(at("root/s/bin/tool-1"), &st) == 0 && (st.st_mode & 07777) == 0755);
	CHECK(stat(at("root/s/share/x/deep/er/data"), &st) == 0 && (st.st_mode & 07777) == 0644);
	CHECK(strstr(get("root/s/.opam-switch/config/x.config"), "v: \"w\""));
	CHECK(strstr(get("root/s/.opam-switch/install/x.install"), "tool-1"));
	CHECK_INT(c.n, 5);
	CHECK_STR(arena_strdup(&a, c.v[0].path), "bin/tool-1");
	CHECK(str_starts(c.v[0].digest, STR("F:S10T")));
	CHECK_STR(arena_strdup(&a, c.v[1].digest), "D");
	/* the record reads back */
	auto_buf b = BUF_INIT(1 << 20);
	env_opam_changes_print(&c, &b);
	CHECK_MSG(env_opam_changes_parse(&a, buf_str(&b), "x.changes", &back, &e) == 0, "%s", e.msg);
	CHECK_INT(back.n, c.n);
	for (size_t i = 0; i < c.n; i++)
		CHECK(str_eq(back.v[i].path, c.v[i].path) && str_eq(back.v[i].digest, c.v[i].digest) &&
		      back.v[i].kind == c.v[i].kind);
	/* and what it lists goes, nothing else */
	put("root/s/share/x/deep/kept", "a person's", 0644);
	CHECK_MSG(env_opam_revert(s, &a, &back, false, &kept, &e) == 0, "%s", e.msg);
	CHECK_INT(kept.n, 0);
	CHECK(!is_there("root/s/bin/tool-1") && !is_there("root/s/share/x/deep/er") &&
	      is_there("root/s/share/x/deep/kept"));
	CHECK(is_there("root/s/share/other/file") && is_there("root/s/bin"));
	env_opam_track_free(t);
	end();
}

TEST(a_file_that_was_changed_since_stays)
{
	struct env_opam_track *t;
	struct env_opam_changes c;
	struct pkg_opam_strs kept;
	begin();
	put("build/tool", "one", 0644);
	CHECK(env_opam_track_begin(s, true, &t, &e) == 0 && apply("bin: \"tool\"") == 0);
	CHECK_MSG(env_opam_track_end(t, &a, &c, &e) == 0, "%s", e.msg);
	CHECK_INT(c.n, 1);
	CHECK_STR(arena_strdup(&a, c.v[0].digest), "F:f97c5d29941bfb1b2fdab0874906ab82"); /* md5 of "one" */
	put("root/s/bin/tool", "two", 0755);
	CHECK(env_opam_revert(s, &a, &c, false, &kept, &e) == 0 && kept.n == 1 && is_there("root/s/bin/tool"));
	CHECK(env_opam_revert(s, &a, &c, true, &kept, &e) == 0 && kept.n == 0 && !is_there("root/s/bin/tool"));
	CHECK(env_opam_revert(s, &a, &c, false, &kept, &e) == 0); /* gone already */
	env_opam_track_free(t);
	end();
}

TEST(the_prefix_is_not_left_through_links)
{
	struct env_opam_changes c;
	struct pkg_opam_strs kept;
	begin();
	put("outside/secret", "secret", 0644);
	put("build/tool", "tool", 0644);
	CHECK(mkdir(at("root/s/share"), 0755) == 0);
	CHECK(symlink("../outside/secret", at("build/leak")) == 0 && symlink(at("outside"), at("root/s/share/x")) == 0);
	CHECK(mkdir(at("build/dir"), 0755) == 0 && mkfifo(at("build/fifo"), 0644) == 0);
	CHECK(apply("bin: \"leak\"") < 0 && strstr(e.msg, "'leak' is a link that leads outside"));
	CHECK(apply("share: \"tool\"") < 0 && strstr(e.msg, "leads out of"));
	CHECK(apply("bin: \"dir\"") < 0 && strstr(e.msg, "not a file"));
	CHECK(apply("bin: \"fifo\"") < 0 && strstr(e.msg, "not a file"));
	CHECK(apply("bin: [\"gone\" \"tool\" \"also\"]") < 0 && e.code == ERR_NOT_FOUND && strstr(e.msg, "gone, also"));
	CHECK(apply("misc: \"tool\" {\"/opt/tool\"}") < 0 && e.code == ERR_UNSUPPORTED);
	CHECK_INT(env_opam_changes_parse(&a, STR("added: \"share/x/secret\" {\"F:S6T1.\"}"), "c", &c, &e), 0);
	CHECK(env_opam_revert(s, &a, &c, true, &kept, &e) < 0 && is_there("outside/secret"));
	CHECK(env_opam_changes_parse(&a, STR("added: \"../../x\" {\"D\"}"), "c", &c, &e) < 0);
	CHECK(env_opam_changes_parse(&a, STR("added: \"x\""), "c", &c, &e) < 0);
	CHECK(!is_there("root/s/bin/leak"));
	end();
}

/* -- state ------------------------------------------------------------------------------------------------------------ */

static void add(const char *name, const char *version, bool is_root, const char *more)
{
	struct env_opam_package p = {str_c(name), str_c(version),
				     str_c(arena_printf(&a, "opam-version: \"2.0\"\n%s\n", more)), is_root, NULL};
	CHECK_MSG(env_opam_added(s, &p, &e) == 0, "%s", e.msg);
}

TEST(installed_pinned_and_removed)
{
	struct str before;
	begin();
	put("root/s/.opam-switch/packages/cache", "stale", 0644);
	put("root/s/.opam-switch/reinstall", "b 1\nz 2\n", 0644);
	add("B", "1", false, "");
	CHECK(!is_there("root/s/.opam-switch/packages/cache"));
	add("b", "1.0", true, "");
	add("a", "2", false, "setenv: [[W = \"%{prefix}%/w\"] [PATH += \"%{lib}%/a\"]]");
	CHECK_STR(get("root/s/.opam-switch/switch-state"),
		  "opam-version: \"2.0\"\ninstalled: [\"a.2\" \"B.1\" \"b.1.0\"]\nroots: [\"b.1.0\"]\n");
	CHECK_STR(get("root/s/.opam-switch/reinstall"), "z 2\n");
	const char *env = get("root/s/.opam-switch/environment");
	CHECK(strstr(env, arena_printf(&a, "W\t=\t%s/s/w\tUpdated\\ by\\ package\\ a\n", root)));
	CHECK(strstr(env, arena_printf(&a, "PATH\t+=\t%s/s/lib/a\t", root)));
	/* another version takes its place; a root remains one */
	add("b", "1.1", false, "");
	CHECK(strstr(get("root/s/.opam-switch/switch-state"), "roots: [\"b.1.1\"]"));
	CHECK(is_there("root/s/.opam-switch/packages/b.1.1/opam") && !is_there("root/s/.opam-switch/packages/b.1.0"));
	CHECK_INT(env_opam_pin(s, &a, STR("a"), STR("3"), NULL, &before, &e), 1);
	CHECK_INT(env_opam_pin(s, &a, STR("a"), STR("3"), NULL, &before, &e), 0);
	CHECK_INT(env_opam_pin(s, &a, STR("a"), STR("4"), NULL, &before, &e), 1);
	CHECK_STR(arena_strdup(&a, before), "3");
	CHECK(strstr(get("root/s/.opam-switch/switch-state"), "pinned: [\"a.4\"]") ||
	      strstr(get("root/s/.opam-switch/switch-state"), "pinned: \"a.4\""));
	CHECK_INT(env_opam_pin(s, &a, STR("a"), STR_NONE, NULL, &before, &e), 1);
	CHECK(!strstr(get("root/s/.opam-switch/switch-state"), "pinned"));
	CHECK_MSG(env_opam_removed(s, STR("a"), false, &e) == 0, "%s", e.msg);
	CHECK(!strstr(get("root/s/.opam-switch/environment"), "W\t"));
	CHECK_MSG(env_opam_removed(s, STR("b"), true, &e) == 0, "%s", e.msg);
	CHECK_STR(get("root/s/.opam-switch/switch-state"),
		  "opam-version: \"2.0\"\ninstalled: [\"B.1\"]\nroots: [\"b.1.1\"]\n");
	end();
}

TEST(what_is_not_meant_stays_as_it_stands)
{
	struct str before;
	begin();
	put("root/s/.opam-switch/switch-state",
	    "# mine\nopam-version: \"2.0\"   # here\nx-later:   [ 1   2 ]\ninstalled: [\n  \"a.1\"\n]\n", 0644);
	CHECK_INT(env_opam_pin(s, &a, STR("a"), STR("1"), NULL, &before, &e), 1);
	const char *now = get("root/s/.opam-switch/switch-state");
	CHECK(strstr(now, "# mine\n") && strstr(now, "# here\n") && strstr(now, "x-later:   [ 1   2 ]\n") &&
	      strstr(now, "a.1"));
	put("root/config",
	    arena_printf(
		    &a, "# c\n%s",
		    "opam-version: \"2.0\"\nopam-root-version: \"2.1\"\nrepositories:   \"default\"\ninstalled-switches: \"s\"\n"),
	    0644);
	CHECK_INT(env_opam_set(o, NULL, "jobs", pkg_opam_make(&a, PKG_OPAM_IDENT, STR("7")), &e), 0);
	CHECK(strstr(get("root/config"), "# c\n") && strstr(get("root/config"), "repositories:   \"default\"\n") &&
	      strstr(get("root/config"), "jobs: 7"));
	CHECK_INT(env_opam_set(o, NULL, "jobs", NULL, &e), 0);
	CHECK(!strstr(get("root/config"), "jobs"));
	end();
}

TEST(a_state_that_is_no_state)
{
	struct env_opam_state st;
	CHECK(env_opam_state_parse(&a, STR("installed: [\"a.1\" \"b\"]"), "state", &st, &e) < 0 &&
	      strstr(e.msg, "state:1:"));
	CHECK(env_opam_state_parse(&a, STR("installed: [\"a.1\" 5"), "state", &st, &e) < 0);
	CHECK(env_opam_state_parse(&a, STR(""), "state", &st, &e) == 0 && st.installed.n == 0);
	CHECK(env_opam_state_parse(&a, STR("installed: \"a.1\" pinned: [\"a.1\" {\"old\"}]"), "state", &st, &e) == 0);
	CHECK(st.installed.n == 1 && st.pinned.n == 1);
	arena_release(&a);
}

TEST(locks_keep_others_out)
{
	struct env_opam *other;
	struct env_opam_switch *same;
	begin();
	CHECK_MSG(env_opam_open(root, &other, &e) == 0, "%s", e.msg);
	CHECK_INT(env_opam_switch_open(other, "s", &same, &e), 0);
	CHECK(env_opam_switch_lock(same, true, 0, &e) < 0 && e.code == ERR_BUSY);
	CHECK(env_opam_switch_lock(same, false, 10, &e) < 0 && e.code == ERR_BUSY);
	CHECK(env_opam_lock(other, ENV_OPAM_CONFIG, true, 0, &e) < 0 && e.code == ERR_BUSY);
	CHECK_INT(env_opam_lock(other, ENV_OPAM_REPOS, true, 0, &e), 0);
	/* who has not got it may change nothing */
	struct env_opam_package p = {STR("a"), STR("1"), STR(""), true, NULL};
	CHECK(env_opam_added(same, &p, &e) < 0 && strstr(e.msg, "not held"));
	/* opam's own locks are of the other kind: they meet all the same */
	int fd = open(at("root/s/.opam-switch/lock"), O_RDWR);
	CHECK(fd >= 0 && lockf(fd, F_TLOCK, 0) < 0);
	env_opam_switch_free(s);
	s = NULL;
	CHECK(lockf(fd, F_TLOCK, 0) == 0);
	CHECK(env_opam_switch_lock(same, true, 0, &e) < 0 && e.code == ERR_BUSY);
	close(fd);
	CHECK_INT(env_opam_switch_lock(same, true, 0, &e), 0);
	env_opam_switch_free(same);
	env_opam_free(other);
	end();
}

TEST(switches_by_name_and_by_folder)
{
	struct env_opam_config c;
	struct env_opam_switch *other;
	begin();
	CHECK(env_opam_switch_create(o, "s", true, &e) < 0 && e.code == ERR_EXISTS);
	CHECK(env_opam_switch_create(o, "repo", true, &e) < 0 && env_opam_switch_create(o, "a$b", true, &e) < 0);
	CHECK(env_opam_switch_open(o, "none", &other, &e) < 0 && e.code == ERR_NOT_FOUND);
	CHECK(mkdir(at("project"), 0755) == 0);
	CHECK_MSG(env_opam_switch_create(o, at("project"), true, &e) == 0, "%s", e.msg);
	CHECK(is_there("project/_opam/.opam-switch/switch-config"));
	CHECK_MSG(env_opam_switch_open(o, at("project"), &other, &e) == 0, "%s", e.msg);
	CHECK(str_ends(str_c(env_opam_prefix(other)), STR("/project/_opam")));
	env_opam_switch_free(other);
	CHECK_INT(env_opam_config_read(o, &a, &c, &e), 0);
	CHECK_INT(c.switches.n, 2);
	CHECK_STR(arena_strdup(&a, c.current), "s"); /* a folder's is never the root's choice */
	CHECK_MSG(env_opam_switch_remove(o, "s", &e) == 0, "%s", e.msg);
	CHECK(!is_there("root/s"));
	CHECK_INT(env_opam_config_read(o, &a, &c, &e), 0);
	CHECK(c.switches.n == 1 && !c.current.n);
	end();
}

TEST(a_repository_is_copied_whole_or_not_at_all)
{
	begin();
	CHECK_INT(env_opam_lock(o, ENV_OPAM_REPOS, true, 0, &e), 0);
	put("repo/packages/x/x.1/opam", "opam-version: \"2.0\"\n", 0644);
	put("repo/repo", "opam-version: \"2.0\"\n", 0644);
	put("root/repo/state-1.cache", "stale", 0644);
	auto_fd fd = open(at("repo"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(env_opam_repo_copy(o, STR("default"), fd, &e), 1);
	CHECK(!is_there("root/repo/state-1.cache") && is_there("root/repo/default.tar.gz"));
	CHECK_INT(env_opam_repo_copy(o, STR("default"), fd, &e), 0);
	put("repo/packages/x/x.2/opam", "opam-version: \"2.0\"\n", 0644);
	CHECK_INT(env_opam_repo_copy(o, STR("default"), fd, &e), 1);
	auto_fd none = open(at("root"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(env_opam_repo_copy(o, STR("default"), none, &e) < 0 && is_there("root/repo/default.tar.gz"));
	CHECK(!is_there("root/repo/default.tar.gz.new"));
	CHECK(env_opam_repo_copy(o, STR("../x"), fd, &e) < 0);
	end();
}

/* -- environment ------------------------------------------------------------------------------------------------------ */

static const char *fake_path, *fake_man;
static char *fake(const char *name)
{
	return (char *)(uintptr_t)(strcmp(name, "PATH") == 0	  ? fake_path
				   : strcmp(name, "MANPATH") == 0 ? fake_man
								  : NULL);
}

static const char *expanded(const char *updates, const char *undo)
{
	struct env_opam_update *v, *u;
	struct env_variable *out;
	size_t n, u_n, out_n;
	auto_buf b = BUF_INIT(1 << 16);
	CHECK_MSG(env_opam_updates_parse(&a, str_c(updates), "env", &v, &n, &e) == 0, "%s", e.msg);
	CHECK(env_opam_updates_parse(&a, str_c(undo), "undo", &u, &u_n, &e) == 0);
	env_opam_updates_expand(&a, v, n, u, u_n, fake, &out, &out_n);
	for (size_t i = 0; i < out_n; i++)
		buf_printf(&b, "%s%.*s=%.*s", i ? " " : "", STR_ARG(out[i].name), STR_ARG(out[i].value));
	return arena_strdup(&a, buf_str(&b));
}

TEST(operators_of_the_environment)
{
	fake_path = "/a:/b";
	fake_man = NULL;
	CHECK_STR(expanded("PATH += /x", ""), "PATH=/x:/a:/b");
	CHECK_STR(expanded("PATH =+ /x", ""), "PATH=/a:/b:/x");
	CHECK_STR(expanded("PATH =+= /x", ""), "PATH=/x:/a:/b");
	CHECK_STR(expanded("PATH = /x", ""), "PATH=/x");
	CHECK_STR(expanded("MANPATH =: /m", ""), "MANPATH=:/m");
	CHECK_STR(expanded("MANPATH := /m", ""), "MANPATH=/m:");
	CHECK_STR(expanded("PATH =: /x", ""), "PATH=/a:/b:/x");
	CHECK_STR(expanded("PATH := /x", ""), "PATH=/x:/a:/b");
	CHECK_STR(expanded("PATH += /x\nW = 1\nPATH += /y", ""), "W=1 PATH=/y:/x:/a:/b");
	CHECK_STR(expanded("PATH += @", ""), "");
	CHECK_STR(expanded("E = @", ""), "E=");
	fake_man = "/m:";
	CHECK_STR(expanded("MANPATH =: /n", ""), "MANPATH=:/m:/n");
	arena_release(&a);
}

TEST(an_earlier_switch_is_taken_back_first)
{
	fake_path = "/a:/old/bin:/b";
	fake_man = ":/old/man";
	CHECK_STR(expanded("PATH =+= /new/bin", "PATH =+= /old/bin"), "PATH=/a:/new/bin:/b");
	CHECK_STR(expanded("PATH += /new/bin", "PATH += /old/bin"), "PATH=/new/bin:/a:/b");
	CHECK_STR(expanded("MANPATH =: /new/man", "MANPATH =: /old/man"), "MANPATH=:/new/man");
	CHECK_STR(expanded("W = 1", "PATH += /old/bin"), "PATH=/a:/b W=1");
	CHECK_STR(expanded("W = 1", "PATH += /other"), "W=1");
	arena_release(&a);
}

TEST(lines_of_an_environment_read_back)
{
	static const char text[] = "A\t=\t@\tan\\ empty\\ one\nB\t+=\t\\@\nC\t=:\ta\\\\b\\\tc\n";
	struct env_opam_update *v;
	size_t n;
	auto_buf b = BUF_INIT(4096);
	CHECK_INT(env_opam_updates_parse(&a, str_c(text), "env", &v, &n, &e), 0);
	CHECK_INT(n, 3);
	CHECK(v[0].value.n == 0 && str_eq_c(v[1].value, "@") && str_eq_c(v[2].value, "a\\b\tc"));
	env_opam_updates_print(v, n, &b);
	CHECK_STR(b.p, text);
	CHECK_INT(env_opam_updates_parse(&a, STR("A = a\\\nb\r\nB = c\\\r"), "env", &v, &n, &e), 0);
	CHECK(n == 2 && str_eq_c(v[0].value, "a\nb") && str_eq_c(v[1].value, "c\r"));
	CHECK(env_opam_updates_parse(&a, STR("A ! b"), "env", &v, &n, &e) < 0 && strstr(e.msg, "env:1:"));
	CHECK(env_opam_updates_parse(&a, STR("A ="), "env", &v, &n, &e) < 0);
	arena_release(&a);
}

/* -- variables ---------------------------------------------------------------------------------------------------------- */

static const char *variable(const char *name)
{
	struct env_opam_vars *v;
	const struct env_opam_local local[] = {{STR("with-test"), STR("true")}, {STR("jobs"), STR_NONE}};
	struct str value = STR_NONE;
	CHECK_MSG(env_opam_vars_new(o, s, &a, &v, &e) == 0, "%s", e.msg);
	struct pkg_opam_host h = env_opam_host(v, STR("self"), STR("9"), NULL, local, 2);
	bool there = h.variable(h.ctx, str_c(name), &value);
	const char *ret = there ? arena_strdup(&a, value) : "(undefined)";
	env_opam_vars_free(v);
	return ret;
}

TEST(variables_of_root_switch_and_packages)
{
	begin();
	add("dep", "1.2", true,
	    "url { src: \"https://x.example/x.tgz\" checksum: \"md5=00000000000000000000000000000000\" }");
	put("root/s/.opam-switch/config/dep.config",
	    "opam-version: \"2.0\"\nvariables { v: \"w\" t: true n: [\"a\" \"b\"] }", 0644);
	put("root/s/.opam-switch/config/gone.config", "opam-version: \"2.0\"\nvariables { v: \"w\" }", 0644);
	CHECK_STR(variable("prefix"), arena_printf(&a, "%s/s", root));
	CHECK_STR(variable("stublibs"), arena_printf(&a, "%s/s/lib/stublibs", root));
	CHECK_STR(variable("dep:lib"), arena_printf(&a, "%s/s/lib/dep", root));
	CHECK_STR(variable("dep:version"), "1.2");
	CHECK_STR(variable("dep:v"), "w");
	CHECK_STR(variable("dep:t"), "true");
	CHECK_STR(variable("dep:n"), "a b");
	CHECK_STR(variable("dep:installed"), "true");
	CHECK_STR(variable("dep:hash"), "md5=00000000000000000000000000000000");
	CHECK_STR(variable("gone:installed"), "false");
	CHECK_STR(variable("gone:version"), "(undefined)");
	CHECK_STR(variable("gone:v"), "(undefined)"); /* left behind: it is not installed */
	CHECK_STR(variable("name"), "self");
	CHECK_STR(variable("version"), "9");
	CHECK_STR(variable("with-test"), "true");
	CHECK_STR(variable("jobs"), "(undefined)"); /* the caller says so */
	CHECK_STR(variable("os"), "linux");
	CHECK_STR(variable("switch"), "s");
	CHECK_STR(variable("nothing"), "(undefined)");
	setenv("OPAMVAR_dep_v", "mine", 1);
	setenv("OPAMVAR_a_b", "1", 1);
	CHECK_STR(variable("dep:v"), "mine");
	CHECK_STR(variable("a-b"), "true");
	end();
}
