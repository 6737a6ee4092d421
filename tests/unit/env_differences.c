// SPDX-License-Identifier: Apache-2.0
/* What a generation holds beside its packages' files, and what of it the next one takes over. */
#include "lib/envs.h"

#include <sys/socket.h>
#include <sys/un.h>

static struct env_lock_package tool(struct envs *w, const char *version)
{
	const struct envs_file files[] = {
		{"bin/tool", "#!/bin/sh\necho tool\n", true, false},
		{"etc/tool.conf", "prefix=" ENVS_PREFIX "\n", false, true},
		{"lib/libx.so.1", "first", false, false},
		{"lib/libx.so", "-> libx.so.1", false, false},
		{"lib/other", "-> libx.so.1", false, false},
		{"share/dir", "-> ../lib", false, false},
		{"share/tool/data", version, false, false},
	};
	return envs_package(w, "tool", version, files, sizeof(files) / sizeof(*files));
}

static void add_line(void *ctx, const char *path, const char *what, const char *detail, struct str package)
{
	buf_printf(ctx, "%s %s%s%.*s%s%s\n", what, path, package.n ? " of " : "", STR_ARG(package), *detail ? ": " : "",
		   detail);
}

static const char *differences(struct envs *w, uint32_t generation, bool deep)
{
	auto_buf b = BUF_INIT(1 << 20);
	int64_t n = env_differences(w->st, STR("e"), generation, deep, add_line, &b, &w->err);
	CHECK_MSG(n >= 0, "%s", w->err.msg);
	int64_t lines = 0;
	for (size_t i = 0; i < b.n; i++)
		lines += b.p[i] == '\n';
	CHECK_INT(n, lines);
	return arena_strdup(&w->arena, buf_str(&b));
}

static const char *env_path(struct envs *w, const char *path)
{
	return arena_printf(&w->arena, "%s/env/%s", w->root, path);
}

static void with_tool(struct envs *w)
{
	envs_open(w);
	struct env_lock_package p = tool(w, "1");
	envs_change(w, "e", "create", &p, 1);
}

static void update(struct envs *w)
{
	struct env_lock_package p = tool(w, "2");
	CHECK_INT(envs_change(w, "e", "update", &p, 1), 2);
}

TEST(an_untouched_environment_has_none)
{
	auto_envs w = {0};
	with_tool(&w);
	CHECK_STR(differences(&w, 0, true), "");
	CHECK_STR(differences(&w, 1, false), "");
}

TEST(clobbered_paths_are_no_difference)
{
	auto_envs w = {0};
	envs_open(&w);
	const struct envs_file one = {"share/both", "one", false, false}, two = {"share/both", "zwei", false, false};
	for (int i = 0; i < 2; i++) {
		struct env_lock_package p[] = {envs_package(&w, i ? "b" : "a", "1", &one, 1),
					       envs_package(&w, i ? "a" : "b", "1", &two, 1)};
		envs_change(&w, "e", "update", p, 2);
		CHECK_STR(envs_slurp(&w, "e/current/share/both"), "zwei");
		CHECK_STR(differences(&w, 0, true), "");
	}
}

TEST(each_kind_is_found)
{
	auto_envs w = {0};
	with_tool(&w);
	CHECK_INT(unlink(env_path(&w, "e/1/lib/libx.so.1")), 0);
	envs_put(&w, "e/1/share/tool/data", "longer", 0644);
	envs_put(&w, "e/1/etc/tool.conf", "prefix=x", 0644);
	envs_put(&w, "e/1/bin/mine", "#!/bin/sh\n", 0755);
	envs_put(&w, "e/1/lib/python3.9/__pycache__/x.cpython-39.pyc", "", 0644);
	envs_put(&w, "e/1/conda-meta/extra", "", 0644);
	CHECK_STR(differences(&w, 0, false), "added bin/mine\n"
					     "missing lib/libx.so.1 of tool\n"
					     "changed share/tool/data of tool: 6 bytes, was 1\n");
	CHECK_STR(differences(&w, 0, true), "added bin/mine\n"
					    "changed etc/tool.conf of tool: content\n"
					    "changed lib/libx.so of tool: leads to other content\n"
					    "missing lib/libx.so.1 of tool\n"
					    "changed lib/other of tool: leads to other content\n"
					    "changed share/tool/data of tool: 6 bytes, was 1\n");
}

TEST(content_of_the_same_size_is_found_by_reading)
{
	auto_envs w = {0};
	with_tool(&w);
	envs_put(&w, "e/1/bin/tool", "#!/bin/sh\necho fool\n", 0755);
	CHECK_STR(differences(&w, 0, false), "");
	CHECK_STR(differences(&w, 0, true), "changed bin/tool of tool: content\n");
}

TEST(modes_count)
{
	auto_envs w = {0};
	with_tool(&w);
	CHECK_INT(chmod(env_path(&w, "e/1/bin/tool"), 0644), 0);
	CHECK_INT(chmod(env_path(&w, "e/1/share/tool/data"), 04755), 0);
	envs_put(&w, "e/1/etc/tool.conf", "prefix=x", 0600);
	CHECK_STR(differences(&w, 0, false), "changed bin/tool of tool: mode 0644, was 0755\n"
					     "changed etc/tool.conf of tool: mode 0600, was 0644\n"
					     "changed share/tool/data of tool: mode 4755, was 0644\n");
	CHECK(strstr(differences(&w, 0, true), "etc/tool.conf of tool: content; mode 0600, was 0644\n"));
	/* a record of another program does not tell: then nobody knows */
	const char *record = envs_slurp(&w, "e/1/conda-meta/tool-1-0.json");
	char *member = record ? strstr(record, "slipway_executables") : NULL;
	CHECK(member);
	*member = 'S';
	envs_put(&w, "e/1/conda-meta/tool-1-0.json", record, 0644);
	CHECK_STR(differences(&w, 0, false), "");
}

TEST(a_package_that_contradicts_itself_is_refused)
{
	auto_envs w = {0};
	struct env_plan plan;
	envs_open(&w);
	const struct envs_file f = {"share/x", "LIE of 8", false, false};
	struct env_lock_package p = envs_package(&w, "liar", "1", &f, 1);
	const struct env_spec_file target = {.packages = &p, .packages_n = 1, .is_lock = true};
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_plan(&target, NULL, w.store, &w.arena, &plan, &w.err), 0);
	CHECK_INT(env_prepare(w.store, NULL, &plan, &w.opts, &w.arena, &w.err), 0);
	CHECK_INT(env_lay_out(w.store, h, &plan, &w.opts, &w.arena, &w.report, &w.err), -1);
	CHECK_INT(w.err.code, ERR_VERIFY);
	CHECK(strstr(w.err.msg, "liar-1-0.conda") && strstr(w.err.msg, "'share/x' has 9 bytes, but it has 8"));
}

TEST(kinds_of_files_count)
{
	auto_envs w = {0};
	with_tool(&w);
	CHECK_INT(unlink(env_path(&w, "e/1/lib/libx.so")), 0);
	envs_put(&w, "e/1/lib/libx.so", "first", 0644); /* was a link */
	CHECK_INT(unlink(env_path(&w, "e/1/bin/tool")), 0);
	CHECK_INT(symlink("sh", env_path(&w, "e/1/bin/tool")), 0); /* was a file */
	CHECK_INT(unlink(env_path(&w, "e/1/share/tool/data")), 0);
	CHECK_INT(mkdir(env_path(&w, "e/1/share/tool/data"), 0755), 0); /* was a file */
	CHECK_INT(unlink(env_path(&w, "e/1/share/dir")), 0);
	CHECK_INT(mkdir(env_path(&w, "e/1/share/dir"), 0755), 0); /* was a link */
	CHECK_STR(differences(&w, 0, false), "changed bin/tool of tool: a link, was a file\n"
					     "changed lib/libx.so of tool: a file, was a link\n"
					     "changed share/dir of tool: a folder, was a link\n"
					     "changed share/tool/data of tool: a folder, was a file\n");
}

TEST(a_link_that_leads_elsewhere_is_found)
{
	auto_envs w = {0};
	with_tool(&w);
	CHECK_INT(unlink(env_path(&w, "e/1/lib/libx.so")), 0);
	CHECK_INT(symlink("../bin/tool", env_path(&w, "e/1/lib/libx.so")), 0);
	CHECK_INT(unlink(env_path(&w, "e/1/lib/other")), 0);
	CHECK_INT(symlink("/dev/zero", env_path(&w, "e/1/lib/other")), 0);
	CHECK_STR(
		differences(&w, 0, true),
		"changed lib/libx.so of tool: leads to other content\nchanged lib/other of tool: leads to other content\n");
}

TEST(a_damaged_record_is_named)
{
	auto_envs w = {0};
	with_tool(&w);
	envs_put(&w, "e/1/conda-meta/tool-1-0.json", "{", 0644);
	CHECK_INT(env_differences(w.st, STR("e"), 0, false, NULL, NULL, &w.err), -1);
	CHECK_MSG(strstr(w.err.msg, "generation 1 of 'e': conda-meta/tool-1-0.json"), "%s", w.err.msg);
	CHECK_INT(env_differences(w.st, STR("e"), 5, false, NULL, NULL, &w.err), -1);
	CHECK_INT(w.err.code, ERR_NOT_FOUND);
}

/* Another client has taken one package away and put in another. */
TEST(packages_of_others_are_told)
{
	auto_envs w = {0};
	with_tool(&w);
	envs_put(&w, "e/1/conda-meta/new-1-0.json",
		 "{\"name\":\"new\",\"paths_data\":{\"paths\":[{\"_path\":\"bin/new\"},{\"_path\":\"bin/lost\"}]}}",
		 0644);
	envs_put(&w, "e/1/bin/new", "new", 0755);
	envs_put(&w, "e/1/conda-meta/pinned", "tool 1.*\n", 0644);
	envs_put(&w, "e/1/conda-meta/state", "{\"env_vars\":{\"X\":\"1\",\"N\":2}}", 0644);
	CHECK_INT(unlink(env_path(&w, "e/1/conda-meta/tool-1-0.json")), 0);
	CHECK_INT(fs_remove_tree(AT_FDCWD, env_path(&w, "e/1/lib"), &w.err), 0);
	CHECK_INT(fs_remove_tree(AT_FDCWD, env_path(&w, "e/1/share"), &w.err), 0);
	CHECK_INT(fs_remove_tree(AT_FDCWD, env_path(&w, "e/1/etc"), &w.err), 0);
	CHECK_INT(unlink(env_path(&w, "e/1/bin/tool")), 0);
	CHECK_STR(differences(&w, 0, true), "missing bin/lost of new\nadded conda-meta/new-1-0.json of new\n"
					    "missing conda-meta/tool-1-0.json of tool\n");
	update(&w);
	CHECK_INT(w.report.carried, 0);
	CHECK_INT(w.report.left_n, 1);
	CHECK_STR(w.report.left[0].path.p, "conda-meta/new-1-0.json");
	CHECK(strstr(w.report.left[0].why, "another program installed"));
	CHECK(!envs_slurp(&w, "e/2/bin/new"));
	CHECK_STR(envs_slurp(&w, "e/1/bin/new"), "new");
	CHECK_STR(envs_slurp(&w, "e/2/conda-meta/pinned"), "tool 1.*\n");
	CHECK_STR(envs_slurp(&w, "e/2/conda-meta/state"), "{\n  \"env_vars\": {\n    \"X\": \"1\"\n  }\n}\n");
	envs_put(&w, "e/2/conda-meta/state", "{\"env_vars\":[", 0644);
	struct env_lock_package p = tool(&w, "3");
	CHECK_INT(envs_change(&w, "e", "update", &p, 1), 3);
	CHECK(!envs_slurp(&w, "e/3/conda-meta/state"));
	CHECK_STR(differences(&w, 0, true), "");
}

/* rattler and pixi record the digest of a link's text, others that of what it leads to. */
TEST(a_link_may_be_recorded_by_its_text)
{
	auto_envs w = {0};
	with_tool(&w);
	envs_put(&w, "e/1/conda-meta/new-1-0.json",
		 "{\"name\":\"new\",\"paths_data\":{\"paths\":["
		 "{\"_path\":\"bin/a\",\"path_type\":\"softlink\",\"sha256_in_prefix\":"
		 "\"11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437\"}," /* of "new" */
		 "{\"_path\":\"bin/b\",\"path_type\":\"softlink\",\"sha256_in_prefix\":"
		 "\"cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4\"}]}}", /* of "old" */
		 0644);
	CHECK_INT(symlink("new", env_path(&w, "e/1/bin/a")), 0);
	CHECK_INT(symlink("new", env_path(&w, "e/1/bin/b")), 0);
	CHECK_STR(differences(&w, 0, true),
		  "changed bin/b of new: leads to other content\nadded conda-meta/new-1-0.json of new\n");
}

/* == taking over ================================================================================================== */
TEST(files_of_nobody_are_taken_over)
{
	auto_envs w = {0};
	struct stat st;
	with_tool(&w);
	envs_put(&w, "e/1/bin/mine", "mine", 0750);
	envs_put(&w, "e/1/var/deep/er/data", "data", 0640);
	envs_put(&w, "e/1/lib/python3.9/__pycache__/x.cpython-39.pyc", "stale", 0644);
	envs_put(&w, "e/1/bin/tool", "changed by hand", 0755);
	CHECK_INT(unlink(env_path(&w, "e/1/lib/libx.so.1")), 0);
	CHECK_INT(symlink("mine", env_path(&w, "e/1/bin/again")), 0);
	const struct timespec times[2] = {{1000, 0}, {2000, 0}};
	CHECK_INT(utimensat(AT_FDCWD, env_path(&w, "e/1/bin/mine"), times, 0), 0);
	update(&w);
	CHECK_INT(w.report.carried, 3);
	CHECK_STR(envs_slurp(&w, "e/2/bin/mine"), "mine");
	CHECK_STR(envs_slurp(&w, "e/2/bin/again"), "mine");
	CHECK_STR(envs_slurp(&w, "e/2/var/deep/er/data"), "data");
	CHECK_INT(stat(env_path(&w, "e/2/bin/mine"), &st), 0);
	CHECK_INT(st.st_mode & 07777, 0750);
	CHECK_INT(st.st_mtime, 2000);
	CHECK_INT(st.st_nlink, 1); /* the old generation's file stays its own */
	CHECK(!envs_slurp(&w, "e/2/lib/python3.9/__pycache__/x.cpython-39.pyc"));
	CHECK_STR(envs_slurp(&w, "e/2/bin/tool"), "#!/bin/sh\necho tool\n");
	CHECK_STR(envs_slurp(&w, "e/2/lib/libx.so.1"), "first");
	CHECK_STR(differences(&w, 0, true), "added bin/again\nadded bin/mine\nadded var/deep/er/data\n");
}

TEST(scripts_follow_their_interpreter)
{
	auto_envs w = {0};
	with_tool(&w);
	const char *old = env_path(&w, "e/1/bin/python"), *new = env_path(&w, "e/2/bin/python");
	const char *neighbour = env_path(&w, "e/10/bin/python");
	struct arena *a = &w.arena;
	envs_put(&w, "e/1/bin/pip", arena_printf(a, "#!%s\nimport sys\n# %s\n", old, old), 0755);
	envs_put(&w, "e/1/bin/long", arena_printf(a, "#!/bin/sh\n'''exec' \"%s\" \"$0\" \"$@\"\n' '''\n", old), 0755);
	envs_put(&w, "e/1/bin/near", arena_printf(a, "#!%s\n", neighbour), 0755);
	envs_put(&w, "e/1/bin/sh", arena_printf(a, "#!/bin/sh\n\n\n# %s\n", old), 0755);
	envs_put(&w, "e/1/share/text", arena_printf(a, "#!%s\n", old), 0644);
	update(&w);
	CHECK_STR(envs_slurp(&w, "e/2/bin/pip"), arena_printf(a, "#!%s\nimport sys\n# %s\n", new, new));
	CHECK_STR(envs_slurp(&w, "e/2/bin/long"),
		  arena_printf(a, "#!/bin/sh\n'''exec' \"%s\" \"$0\" \"$@\"\n' '''\n", new));
	CHECK_STR(envs_slurp(&w, "e/2/bin/near"), arena_printf(a, "#!%s\n", neighbour));
	CHECK_STR(envs_slurp(&w, "e/2/bin/sh"), arena_printf(a, "#!/bin/sh\n\n\n# %s\n", old));
	CHECK_STR(envs_slurp(&w, "e/2/share/text"), arena_printf(a, "#!%s\n", old));
	CHECK_STR(envs_slurp(&w, "e/1/bin/pip"), arena_printf(a, "#!%s\nimport sys\n# %s\n", old, old));
}

TEST(links_into_the_old_generation_follow)
{
	auto_envs w = {0};
	char target[512];
	with_tool(&w);
	CHECK_INT(symlink(env_path(&w, "e/1/bin/tool"), env_path(&w, "e/1/bin/t")), 0);
	CHECK_INT(symlink("/usr/bin/env", env_path(&w, "e/1/bin/env")), 0);
	update(&w);
	ssize_t n = readlink(env_path(&w, "e/2/bin/t"), target, sizeof(target) - 1);
	CHECK(n > 0);
	target[n] = '\0';
	CHECK_STR(target, env_path(&w, "e/2/bin/tool"));
	n = readlink(env_path(&w, "e/2/bin/env"), target, sizeof(target) - 1);
	CHECK_INT(n, 12);
}

TEST(a_package_wins_over_what_was_there)
{
	auto_envs w = {0};
	with_tool(&w);
	const struct envs_file files[] = {{"bin/mine", "the package's", true, false},
					  {"var", "-> lib", false, false},
					  {"opt", "a file", false, false},
					  {"lib/x", "x", false, false}};
	envs_put(&w, "e/1/bin/mine", "mine", 0755);
	envs_put(&w, "e/1/var/file", "would be written through the link", 0644);
	envs_put(&w, "e/1/opt/file", "has no folder any more", 0644);
	struct env_lock_package p = envs_package(&w, "new", "1", files, 4);
	envs_change(&w, "e", "update", &p, 1);
	CHECK_STR(envs_slurp(&w, "e/2/bin/mine"), "the package's");
	CHECK(!envs_slurp(&w, "e/2/lib/file"));
	CHECK_INT(w.report.carried, 0);
	CHECK_STR(differences(&w, 0, true), "");
	CHECK_INT(w.report.left_n, 3);
	CHECK_STR(w.report.left[0].path.p, "bin/mine");
	CHECK_STR(w.report.left[0].why, "a package brings this path now");
	CHECK_STR(w.report.left[1].path.p, "opt/file");
	CHECK_STR(w.report.left[1].why, "a package has something else than a folder where its folder was");
	CHECK_STR(w.report.left[2].path.p, "var/file");
}

/* The folders on the way are kept open from file to file: each file goes into its own one all the same. */
TEST(files_in_many_folders_find_theirs)
{
	static const char *const paths[] = {"d/a/1", "d/a/x/y/1", "d/a/x/y/2", "d/a/x/z", "d/a.b",	    "d/ab/1",
					    "d/b",   "da/b/c/d",  "db",	       "e/a/1",	  "share/tool/mine"};
	auto_envs w = {0};
	struct stat st;
	with_tool(&w);
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		envs_put(&w, arena_printf(&w.arena, "e/1/%s", paths[i]), paths[i], 0644);
	CHECK_INT(chmod(env_path(&w, "e/1/d/a/x"), 0700), 0);
	CHECK_INT(chmod(env_path(&w, "e/1/da"), 0500), 0);
	update(&w);
	CHECK_INT(w.report.carried, sizeof(paths) / sizeof(*paths));
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		CHECK_STR(envs_slurp(&w, arena_printf(&w.arena, "e/2/%s", paths[i])), paths[i]);
	CHECK_INT(stat(env_path(&w, "e/2/d/a/x"), &st), 0);
	CHECK_INT(st.st_mode & 07777, 0700); /* no more readable than it was */
	CHECK_INT(stat(env_path(&w, "e/2/da"), &st), 0);
	CHECK_INT(st.st_mode & 07777, 0700); /* and to be filled in */
}

TEST(a_link_of_a_package_is_never_written_through)
{
	auto_envs w = {0};
	with_tool(&w);
	const struct envs_file files[] = {{"d/x", "-> y", false, false}, {"d/y/z", "z", false, false}};
	envs_put(&w, "e/1/d/w/1", "1", 0644);
	envs_put(&w, "e/1/d/x/y/2", "2", 0644);
	envs_put(&w, "e/1/d/x/z", "3", 0644);
	envs_put(&w, "e/1/d/y/4", "4", 0644);
	CHECK_INT(symlink("/tmp", env_path(&w, "e/1/d/v")), 0);
	struct env_lock_package p = envs_package(&w, "new", "1", files, 2);
	envs_change(&w, "e", "update", &p, 1);
	CHECK_INT(w.report.carried, 3);
	CHECK_INT(w.report.left_n, 2);
	CHECK_STR(w.report.left[0].path.p, "d/x/y/2");
	CHECK_STR(envs_slurp(&w, "e/2/d/w/1"), "1");
	CHECK_STR(envs_slurp(&w, "e/2/d/y/4"), "4");
	CHECK_STR(envs_slurp(&w, "e/2/d/y/z"), "z");
	CHECK(!fs_exists(w.root_fd, "env/e/2/d/y/y") && !fs_exists(w.root_fd, "env/e/2/d/y/2"));
}

TEST(sockets_and_pipes_stay_behind)
{
	auto_envs w = {0};
	with_tool(&w);
	CHECK_INT(mkfifo(env_path(&w, "e/1/pipe"), 0600), 0);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", env_path(&w, "e/1/socket"));
	CHECK_INT(bind(s, (struct sockaddr *)&at, sizeof(at)), 0);
	close(s);
	update(&w);
	CHECK(!fs_exists(w.root_fd, "env/e/2/pipe") && !fs_exists(w.root_fd, "env/e/2/socket"));
	CHECK_INT(w.report.left_n, 2);
	CHECK_STR(w.report.left[0].path.p, "pipe");
}

TEST(sync_delete_takes_nothing_over)
{
	auto_envs w = {0};
	with_tool(&w);
	envs_put(&w, "e/1/bin/mine", "mine", 0755);
	w.opts.sync_delete = true;
	update(&w);
	CHECK_INT(w.report.carried, 0);
	CHECK(!envs_slurp(&w, "e/2/bin/mine"));
	CHECK_STR(differences(&w, 0, true), "");
	CHECK_STR(envs_slurp(&w, "e/1/bin/mine"), "mine");
}

TEST(looking_needs_neither_hold_nor_permission_to_write)
{
	auto_envs w = {0};
	with_tool(&w);
	auto_ptr(env_hold) another_command = envs_hold(&w, "e");
	auto_ptr(env_state) reader = NULL;
	CHECK(env_state_open(w.root_fd, w.root, ENV_STATE_RO, &reader, &w.err) == 0);
	CHECK_INT(env_differences(reader, STR("e"), 0, true, NULL, NULL, &w.err), 0);
	CHECK_INT(env_differences(reader, STR("none"), 0, true, NULL, NULL, &w.err), -1);
	CHECK_INT(w.err.code, ERR_NOT_FOUND);
}
