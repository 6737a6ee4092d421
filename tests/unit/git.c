// SPDX-License-Identifier: Apache-2.0
// Against the real git, with repositories in local folders.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/proc.h"
#include "git/cache.h"
#include "git/run.h"
#include "lib/test.h"

static struct err e;

static void shell(const char *script)
{
	auto_buf out = BUF_INIT(1 << 16);
	struct proc_opts o = {.argv = (const char *const[]){"sh", "-ec", script, NULL},
			      .cwd = test_tmp(),
			      .out = &out,
			      .errout = &out};
	int rc = proc_run(&o, &e);
	if (rc != 0)
		test_fail(__FILE__, __LINE__, "script ends with %d: %s%s", rc, out.p, rc < 0 ? e.msg : "");
}

/* master: a, b, "two" on it; refs/pull/1/head: "one" and c; a tag; times are fixed, so ids are. */
static void make_repository(void)
{
	setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
	setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
	for (const char *const *v = (const char *const[]){"GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME", "EMAIL", NULL}; *v;
	     v++)
		setenv(*v, "test@localhost", 1);
	setenv("GIT_AUTHOR_DATE", "2025-05-06T18:00:00Z", 1);
	setenv("GIT_COMMITTER_DATE", "2025-05-06T18:00:00Z", 1);
	shell("git init -q -b master x; cd x; echo a >a; mkdir d; echo b >d/b; chmod +x d/b; git add .; git commit -qm first;"
	      "git checkout -q -b pull; echo c >c; git add .; git commit -qm 'adds c'; git update-ref refs/pull/1/head pull;"
	      "git checkout -q master; git branch -q -D pull; git tag -a -m tag v1");
}

static struct str id_of(struct arena *a, const char *name)
{
	auto_buf out = BUF_INIT(4096);
	struct proc_opts o = {.argv = (const char *const[]){"git", "-C", "x", "rev-parse", name, NULL},
			      .cwd = test_tmp(),
			      .out = &out};
	CHECK_INT(proc_run(&o, &e), 0);
	return arena_str(a, str_trim(buf_str(&out)));
}

static const char *path(struct arena *a, const char *name)
{
	return arena_printf(a, "%s/%s", test_tmp(), name);
}

static const char *url_of(struct arena *a)
{
	return arena_printf(a, "file://%s/x", test_tmp());
}

/* Checks out and gives what the log says. */
static const char *checkout(struct arena *a, const struct git_source *s, const char *dest, int want)
{
	struct git_commits c;
	if (git_resolve(s, a, &c, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	auto_fd log = memfd_create("log", MFD_CLOEXEC);
	int rc = git_checkout(&c, path(a, "cache"), path(a, dest), log, &e);
	if (rc != want)
		test_fail(__FILE__, __LINE__, "checkout gave %d: %s", rc, e.msg);
	char *text = arena_zalloc(a, 65536);
	CHECK(pread(log, text, 65535, 0) >= 0);
	return text;
}

static const char *content(struct arena *a, const char *name)
{
	auto_buf b = BUF_INIT(65536);
	if (fs_read(AT_FDCWD, path(a, name), &b, &e) < 0)
		return NULL;
	return arena_strdup(a, buf_str(&b));
}

TEST(a_pull_request_merged_onto_master)
{
	auto_arena a = ARENA_INIT;
	make_repository();
	struct git_source s = {.url = url_of(&a), .ref = "refs/pull/1/head", .onto = "master"};
	struct git_commits c;
	CHECK_INT(git_resolve(&s, &a, &c, &e), 0);
	CHECK(str_eq(c.commit, id_of(&a, "refs/pull/1/head")) && str_eq(c.base, id_of(&a, "master")));
	CHECK(str_eq_c(c.ref, "refs/pull/1/head") && str_eq_c(c.onto, "master"));
	const char *log = checkout(&a, &s, "one", 0);
	CHECK_STR(
		log,
		arena_printf(
			&a,
			"Fetching %s#refs/pull/1/head\nHEAD is now at %.7s first\nUpdating %.7s..%.7s\nFast-forward\n c | 1 +\n"
			" 1 file changed, 1 insertion(+)\n create mode 100644 c\n",
			s.url, c.base.p, c.base.p, c.commit.p));
	CHECK_STR(content(&a, "one/a"), "a\n");
	CHECK_STR(content(&a, "one/c"), "c\n");
	CHECK_INT(access(path(&a, "one/d/b"), X_OK), 0);
	CHECK(!fs_exists(AT_FDCWD, path(&a, "one/.git")));
	/* the server may go: everything is there */
	shell("mv x y");
	s.commit = c.commit.p;
	s.base = c.base.p;
	log = checkout(&a, &s, "two", 0);
	CHECK_INT(strncmp(log, "All commits already cached\nHEAD is now at ", 42), 0);
	CHECK_STR(content(&a, "two/c"), "c\n");
	CHECK_INT(git_checkout(&c, path(&a, "cache"), path(&a, "two"), -1, &e), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	CHECK_STR(content(&a, "two/c"), "c\n");
}

TEST(a_true_merge_and_a_conflict)
{
	auto_arena a = ARENA_INIT;
	make_repository();
	shell("cd x; echo two >>a; git commit -qam two; git checkout -q -b clash v1; echo clash >>a; git commit -qam clash");
	struct git_source s = {.url = url_of(&a), .ref = "refs/pull/1/head", .onto = "master"};
	const char *log = checkout(&a, &s, "one", 0);
	CHECK(strstr(log, "\nMerge made by the 'ort' strategy.\n c | 1 +\n"));
	CHECK_STR(content(&a, "one/a"), "a\ntwo\n");
	CHECK_STR(content(&a, "one/c"), "c\n");
	s.ref = "clash";
	log = checkout(&a, &s, "two", -1);
	CHECK(strstr(log, "CONFLICT (content)"));
	CHECK_INT(e.code, ERR_FAILED);
	CHECK(strstr(e.msg, "merge '") && strstr(e.msg, "git's words are above"));
	CHECK(!fs_exists(AT_FDCWD, path(&a, "two")));
}

TEST(tags_branches_head_and_commits)
{
	auto_arena a = ARENA_INIT;
	make_repository();
	shell("cd x; echo two >>a; git commit -qam two; git branch v1 HEAD");
	struct git_commits c;
	CHECK_INT(git_resolve(&(struct git_source){.url = url_of(&a)}, &a, &c, &e), 0);
	CHECK(str_eq(c.commit, id_of(&a, "HEAD")) && c.base.n == 0);
	/* an annotated tag is its commit, and comes before a branch of that name */
	CHECK_INT(git_resolve(&(struct git_source){.url = url_of(&a), .ref = "v1"}, &a, &c, &e), 0);
	CHECK(str_eq(c.commit, id_of(&a, "refs/tags/v1^{commit}")));
	CHECK_INT(git_resolve(&(struct git_source){.url = url_of(&a), .ref = "refs/heads/v1"}, &a, &c, &e), 0);
	CHECK(str_eq(c.commit, id_of(&a, "HEAD")));
	CHECK_INT(git_resolve(&(struct git_source){.url = url_of(&a), .ref = "nothing"}, &a, &c, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	/* a commit alone, which no branch's head is */
	struct git_source s = {.url = url_of(&a), .commit = id_of(&a, "master~1").p};
	checkout(&a, &s, "one", 0);
	CHECK_STR(content(&a, "one/a"), "a\n");
	s.commit = "0123456789012345678901234567890123456789";
	CHECK_INT(git_resolve(&s, &a, &c, &e), 0);
	CHECK_INT(git_checkout(&c, path(&a, "cache"), path(&a, "two"), -1, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK(strstr(e.msg, "has no commit '0123456789012345678901234567890123456789'"));
	CHECK(!fs_exists(AT_FDCWD, path(&a, "two")));
}

TEST(many_at_once_on_one_cache)
{
	auto_arena a = ARENA_INIT;
	make_repository();
	struct git_source s = {.url = url_of(&a), .ref = "refs/pull/1/head", .onto = "master"};
	pid_t pid[8];
	for (int i = 0; i < 8; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			auto_arena own = ARENA_INIT;
			struct git_commits c;
			if (git_resolve(&s, &own, &c, &e) < 0 ||
			    git_checkout(&c, path(&own, "cache"), path(&own, arena_printf(&own, "at%d", i)), -1, &e) <
				    0) {
				fprintf(stderr, "# %s\n", e.msg);
				_exit(1);
			}
			arena_release(&own);
			_exit(0);
		}
	}
	for (int i = 0; i < 8; i++) {
		int status = -1;
		waitpid(pid[i], &status, 0);
		CHECK_INT(status, 0);
		CHECK_STR(content(&a, arena_printf(&a, "at%d/c", i)), "c\n");
	}
}

TEST(every_fetch_leaves_a_pack_and_many_become_one)
{
	auto_arena a = ARENA_INIT;
	make_repository();
	struct git_source s = {.url = url_of(&a), .ref = "master"};
	for (int i = 0; i < 43; i++) {
		shell("cd x; date +%N >>a; git commit -qam more");
		checkout(&a, &s, arena_printf(&a, "at%d", i), 0);
	}
	auto_fs_list caches = {0}, packs = {0};
	CHECK_INT(fs_list(AT_FDCWD, path(&a, "cache"), 10, &caches, &e), 0);
	CHECK_INT((intmax_t)caches.n, 3);
	CHECK_INT(strncmp(caches.name[0], "x-", 2), 0);
	CHECK_INT(fs_list(AT_FDCWD, path(&a, arena_printf(&a, "cache/%s/objects/pack", caches.name[0])), 1000, &packs,
			  &e),
		  0);
	CHECK(packs.n >= 2 && packs.n < 20);
	s.ref = NULL;
	s.commit = id_of(&a, "v1^{commit}").p;
	const char *log = checkout(&a, &s, "old", 0);
	CHECK_INT(strncmp(log, "All commits already cached\n", 27), 0);
}

TEST(a_repository_brings_no_commands)
{
	auto_arena a = ARENA_INIT;
	make_repository();
	/* of the user, of the repository: filters, hooks, other programs */
	shell("mkdir home; printf '[filter \"f\"]\\n\\tsmudge = touch %s/smudged\\n[core]\\n\\tfsmonitor = touch %s/monitored\\n' \"$PWD\" \"$PWD\" "
	      ">home/.gitconfig; cd x; echo '* filter=f' >.gitattributes; git add .; git commit -qm filter;"
	      "for h in post-checkout post-merge reference-transaction; do printf '#!/bin/sh\\ntouch %s/../hooked\\n' \"$PWD\" >.git/hooks/$h;"
	      "chmod +x .git/hooks/$h; done");
	unsetenv("GIT_CONFIG_GLOBAL");
	setenv("HOME", path(&a, "home"), 1);
	setenv("GIT_DIR", path(&a, "elsewhere"), 1);
	setenv("GIT_EXTERNAL_DIFF", "false", 1);
	struct git_source s = {.url = url_of(&a), .ref = "refs/pull/1/head", .onto = "master"};
	checkout(&a, &s, "one", 0);
	CHECK_STR(content(&a, "one/c"), "c\n");
	CHECK(!fs_exists(AT_FDCWD, path(&a, "smudged")) && !fs_exists(AT_FDCWD, path(&a, "monitored")));
	CHECK(!fs_exists(AT_FDCWD, path(&a, "hooked")) && !fs_exists(AT_FDCWD, path(&a, "elsewhere")));
}

TEST(submodules_come_along)
{
	auto_arena a = ARENA_INIT;
	make_repository();
	shell("git clone -q x inner; cd x; git -c protocol.file.allow=always submodule -q add \"file://$PWD/../inner\" sub; git commit -qm sub");
	struct git_source s = {.url = url_of(&a), .ref = "master"};
	checkout(&a, &s, "one", 0);
	CHECK_STR(content(&a, "one/sub/a"), "a\n");
	CHECK(!fs_exists(AT_FDCWD, path(&a, "one/.git")) && !fs_exists(AT_FDCWD, path(&a, "one/sub/.git")));
}

TEST(hostile_urls)
{
	static const char *const bad[] = {
		"",
		"x",
		"/etc",
		"--upload-pack=touch /tmp/x",
		"ext::sh -c touch% /tmp/x",
		"ext::x",
		"fd::3",
		"transport::https://h/x",
		"ssh://-oProxyCommand=x/y",
		"ssh://-x@h/y",
		"ssh://u:pw@h/y",
		"https://u:pw@h/x.git",
		"https://token@h/x.git",
		"https://h",
		"file://host/x",
		"https:///x",
		"https://h/x y",
		"https://h/x\ny",
		"https://h/$('x')",
		"ftp://h/x",
		"git@host:path",
		"https://h/\\x",
		"http://h/\"x",
		"HTTPS://h/x",
	};
	static const char *const good[] = {"https://github.com/ocaml/opam-repository.git", "ssh://git@h:22/x",
					   "file:///a/b", "git://h/x", "http://h:1/x"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		e = ERR_INIT;
		if (git_check_url(str_c(bad[i]), &e) == 0)
			test_fail(__FILE__, __LINE__, "taken: %s", bad[i]);
		CHECK_INT(e.code, ERR_USAGE);
		CHECK(!strstr(e.msg, "pw") && !strstr(e.msg, "token"));
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK_INT(git_check_url(str_c(good[i]), &e), 0);
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_c(&b, "https://h/");
	while (b.n <= GIT_URL_MAX)
		buf_put_c(&b, "x");
	CHECK_INT(git_check_url(buf_str(&b), &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
}

TEST(hostile_references)
{
	static const char *const bad[] = {
		"",	"-x",	  "--upload-pack=x", "a b", "a..b", "a:b",  "+a:b", "a~1",  "a^", "*",	  "a/*",  "@",
		"@{u}", "a.lock", "a.lock/b",	     "/a",  "a/",   "a//b", ".a",   "a/.b", "a.", "a\nb", "$(x)", "`x`",
		"a'b",	"a\"b"};
	static const char *const good[] = {"master", "refs/pull/27856/head", "v1.0", "a-b", "feature/x@y", "a+b"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (strcmp(bad[i], "+a:b") != 0 && git_check_ref(str_c(bad[i]), &e) == 0)
			test_fail(__FILE__, __LINE__, "taken: %s", bad[i]);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK_INT(git_check_ref(str_c(good[i]), &e), 0);
	auto_arena a = ARENA_INIT;
	struct git_commits c;
	for (const char *const *v = (const char *const[]){"--all", "0123", "master", "",
							  "0123456789012345678901234567890123456789x", NULL};
	     *v; v++) {
		CHECK_INT(git_resolve(&(struct git_source){.url = "https://h/x", .commit = *v}, &a, &c, &e), -1);
		CHECK_INT(e.code, ERR_USAGE);
	}
}

TEST(urls_in_two_and_names)
{
	auto_arena a = ARENA_INIT;
	struct str url, ref;
	git_split_url(STR("https://h/x.git#refs/pull/1/head"), &url, &ref);
	CHECK(str_eq_c(url, "https://h/x.git") && str_eq_c(ref, "refs/pull/1/head"));
	git_split_url(STR("https://h/x.git"), &url, &ref);
	CHECK(str_eq_c(url, "https://h/x.git") && ref.n == 0);
	CHECK(str_eq_c(git_name(STR("https://github.com/ocaml/opam-repository.git"), &a), "opam-repository"));
	CHECK(str_eq_c(git_name(STR("https://h/a/x///"), &a), "x"));
	CHECK(str_eq_c(git_name(STR("https://h/.git"), &a), "_git"));
	CHECK(str_eq_c(git_name(STR("https://h/-x;y"), &a), "_x_y"));
}

TEST(no_server)
{
	auto_arena a = ARENA_INIT;
	struct git_commits c;
	struct git_source s = {.url = arena_printf(&a, "file://%s/nowhere", test_tmp())};
	CHECK_INT(git_resolve(&s, &a, &c, &e), -1);
	CHECK_INT(e.code, ERR_NETWORK);
	s.commit = "0123456789012345678901234567890123456789";
	CHECK_INT(git_resolve(&s, &a, &c, &e), 0);
	CHECK_INT(git_checkout(&c, path(&a, "cache"), path(&a, "one"), -1, &e), -1);
	CHECK_INT(e.code, ERR_NETWORK);
}

/* -- servers that are slow, or nobody's ---------------------------------------------------------------------------- */

/* An ssh of the test's own. Processes that are left without a parent become ours. */
static void make_ssh(const char *script)
{
	auto_free char *bin = xasprintf("%s/bin", test_tmp()), *ssh = xasprintf("%s/ssh", bin);
	auto_free char *all = xasprintf("%s:%s", bin, getenv("PATH"));
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	CHECK(mkdir(bin, 0755) == 0 || errno == EEXIST);
	CHECK(fs_replace(AT_FDCWD, ssh, script, strlen(script), FS_REPLACE_EXEC, &e) == 0);
	setenv("PATH", all, 1);
}

/* Whatever git had started is dead, too. */
static bool nobody_is_left(void)
{
	struct pollfd none = {.fd = -1};
	for (int i = 0; i < 100; i++) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);
		if (pid < 0)
			return errno == ECHILD;
		if (pid == 0)
			(void)poll(&none, 1, 20);
	}
	return false;
}

static void give_up(struct git_source *s)
{
	auto_arena a = ARENA_INIT;
	struct git_commits c;
	int64_t before = clock_mono_ms();
	git_quiet_ms = 400;
	s->commit = NULL;
	CHECK_INT(git_resolve(s, &a, &c, &e), -1);
	CHECK_INT(e.code, ERR_NETWORK);
	CHECK_MSG(strstr(e.msg, "has sent nothing for") != NULL, "%s", e.msg);
	CHECK(nobody_is_left());
	s->commit = "0123456789012345678901234567890123456789";
	CHECK_INT(git_resolve(s, &a, &c, &e), 0);
	CHECK_INT(git_checkout(&c, path(&a, "cache"), path(&a, "one"), -1, &e), -1);
	CHECK_MSG(e.code == ERR_NETWORK && strstr(e.msg, "git ls-remote"), "%s", e.msg);
	CHECK(nobody_is_left());
	CHECK(clock_mono_ms() - before < 20000);
}

TEST(a_server_that_says_nothing_is_given_up)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	char url[64];
	auto_fd server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(server, (struct sockaddr *)&at, n) == 0 && listen(server, 5) == 0);
	CHECK(getsockname(server, (struct sockaddr *)&at, &n) == 0);
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	snprintf(url, sizeof(url), "git://127.0.0.1:%d/x", ntohs(at.sin_port));
	give_up(&(struct git_source){.url = url});
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/x", ntohs(at.sin_port));
	give_up(&(struct git_source){.url = url});
	make_ssh("#!/bin/sh\nsleep 1000 & wait\n");
	give_up(&(struct git_source){.url = "ssh://h/x"});
}

TEST(a_slow_one_is_waited_for)
{
	auto_arena a = ARENA_INIT;
	make_repository();
	make_ssh(arena_printf(&a,
			      "#!/bin/sh\ncase $* in *-upload-pack*) ;; *) exit 255 ;; esac\n"
			      "for i in 1 2 3 4; do printf 'at it %%d\\r' $i >&2; sleep 0.3; done\n"
			      "echo welcome >&2; exec git-upload-pack %s/x\n",
			      test_tmp()));
	struct git_source s = {.url = "ssh://h/x", .commit = arena_strdup(&a, id_of(&a, "master"))};
	git_quiet_ms = 1000;
	const char *log = checkout(&a, &s, "one", 0);
	CHECK_STR(content(&a, "one/a"), "a\n");
	/* of what is drawn over nothing is in the log, nor is what was fetched; commits alone are tried without a word */
	CHECK_STR(log, arena_printf(&a, "Fetching ssh://h/x\nHEAD is now at %.7s first\n", s.commit));
	s.ref = "v1";
	s.commit = NULL;
	shell("cd x; git commit -q --allow-empty -m more; git tag -f -a -m again v1 >/dev/null");
	log = checkout(&a, &s, "two", 0);
	CHECK_MSG(strncmp(log, "Fetching ssh://h/x#v1\nwelcome\nHEAD is now at ", 45) == 0, "%s", log);
}

TEST(a_signal_ends_git_too)
{
	auto_arena a = ARENA_INIT;
	struct pollfd none = {.fd = -1};
	const char *pid_file = path(&a, "pid");
	make_ssh(arena_printf(&a, "#!/bin/sh\nsleep 1000 & echo $! >%s.new; mv %s.new %s; wait\n", pid_file, pid_file,
			      pid_file));
	struct git_commits c = {.url = STR("ssh://h/x"),
				.ref = STR(""),
				.onto = STR(""),
				.base = STR(""),
				.commit = STR("0123456789012345678901234567890123456789")};
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(git_checkout(&c, path(&a, "cache"), path(&a, "one"), -1, &e) < 0);
	for (int i = 0; i < 500 && !fs_exists(AT_FDCWD, pid_file); i++)
		(void)poll(&none, 1, 20);
	CHECK(kill(pid, SIGTERM) == 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	CHECK(nobody_is_left());
}

TEST(repositories_of_others)
{
	auto_arena a = ARENA_INIT;
	struct git_commits c;
	if (geteuid() != 0)
		SKIP("kernel: nobody but root can give files away");
	make_repository();
	shell("chown -R 12345 x");
	struct git_source s = {.url = url_of(&a)};
	CHECK_INT(git_resolve(&s, &a, &c, &e), -1);
	CHECK_MSG(e.code == ERR_USAGE && strstr(e.msg, "chown"), "%s", e.msg);
	s.commit = "0123456789012345678901234567890123456789";
	CHECK_INT(git_resolve(&s, &a, &c, &e), 0);
	CHECK_INT(git_checkout(&c, path(&a, "cache"), path(&a, "one"), -1, &e), -1);
	CHECK_MSG(e.code == ERR_USAGE && strstr(e.msg, "chown"), "%s", e.msg);
}

TEST(ids_of_sha256_are_refused)
{
	auto_arena a = ARENA_INIT;
	struct git_commits c;
	make_repository();
	shell("git init -q --object-format=sha256 y; cd y; echo a >a; git add .; git commit -qm first");
	struct git_source s = {.url = arena_printf(&a, "file://%s/y", test_tmp())};
	CHECK_INT(git_resolve(&s, &a, &c, &e), -1);
	CHECK_MSG(e.code == ERR_UNSUPPORTED && strstr(e.msg, "git clone"), "%s", e.msg);
	s.commit = "0123456789012345678901234567890123456789";
	CHECK_INT(git_resolve(&s, &a, &c, &e), 0);
	CHECK_INT(git_checkout(&c, path(&a, "cache"), path(&a, "one"), -1, &e), -1);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
	s.commit = "0123456789012345678901234567890123456789012345678901234567890123";
	CHECK_INT(git_resolve(&s, &a, &c, &e), -1);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
}

/* -- keeping house ------------------------------------------------------------------------------------------------- */

TEST(copies_are_listed_and_removed_when_nobody_uses_them)
{
	auto_arena a = ARENA_INIT;
	const char *cache = path(&a, "cache");
	struct git_cache_info *v;
	struct git_scratch place = GIT_SCRATCH_INIT;
	struct err err = ERR_INIT;
	size_t n;
	CHECK(git_caches(cache, &a, &v, &n, &err) == 0 && n == 0);
	make_repository();
	struct git_source s = {.url = url_of(&a)};
	int64_t before = clock_wall_ms();
	checkout(&a, &s, "one", 0);
	CHECK(mkdir(path(&a, "cache/else"), 0755) == 0);
	CHECK(git_caches(cache, &a, &v, &n, &err) == 0 && n == 1);
	CHECK(str_eq_c(v[0].url, s.url) && str_starts(v[0].name, STR("x-")));
	CHECK(v[0].bytes > 4096 && v[0].bytes < 1000000);
	CHECK(v[0].used_ms >= before - 1000 && v[0].used_ms <= clock_wall_ms());
	auto_fd use = git_cache_use(arena_printf(&a, "%s/%s", cache, v[0].name.p), v[0].url, &err);
	CHECK(use >= 0);
	CHECK_INT(git_cache_is_free(cache, v[0].name, &err), 0);
	CHECK_INT(git_cache_take_away(cache, v[0].name, &place, &err), 0);
	checkout(&a, &s, "two", 0); /* shared */
	cleanup_fd(&use);
	CHECK_INT(git_cache_is_free(cache, v[0].name, &err), 1);
	CHECK_INT(git_cache_take_away(cache, v[0].name, &place, &err), 1);
	CHECK(git_caches(cache, &a, &v, &n, &err) == 0 && n == 0);
	git_scratch_release(&place);
	auto_fs_list left = {0};
	CHECK(fs_list(AT_FDCWD, cache, 10, &left, &err) == 0);
	CHECK_INT((intmax_t)left.n, 2); /* else, tmp */
	CHECK(strncmp(checkout(&a, &s, "three", 0), "Fetching", 8) == 0);
}

/* A checkout borrows objects: they may not go under it. */
TEST(what_a_checkout_reads_is_in_use)
{
	auto_arena a = ARENA_INIT;
	struct git_cache_info *v;
	struct err err = ERR_INIT;
	int status;
	char c;
	size_t n;
	make_repository();
	struct git_source s = {.url = url_of(&a)};
	checkout(&a, &s, "one", 0);
	CHECK(git_caches(path(&a, "cache"), &a, &v, &n, &err) == 0 && n == 1);
	/* a git that waits when it is to make the tree */
	const char *script = arena_printf(&a,
					  "#!/bin/sh\ncase \"$*\" in *reset*) echo x >%s; sleep 1 ;; esac\n"
					  "PATH=${PATH#*:} exec git \"$@\"\n",
					  path(&a, "fifo"));
	shell("mkdir bin; mkfifo fifo");
	CHECK(fs_replace(AT_FDCWD, path(&a, "bin/git"), script, strlen(script), FS_REPLACE_EXEC, &err) == 0);
	setenv("PATH", arena_printf(&a, "%s/bin:%s", test_tmp(), getenv("PATH")), 1);
	pid_t pid = fork();
	if (pid == 0) {
		checkout(&a, &s, "two", 0);
		_exit(0);
	}
	auto_fd fifo = open(path(&a, "fifo"), O_RDONLY | O_CLOEXEC);
	CHECK(fifo >= 0 && read(fifo, &c, 1) == 1);
	CHECK_INT(git_cache_is_free(path(&a, "cache"), v[0].name, &err), 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK_INT(git_cache_is_free(path(&a, "cache"), v[0].name, &err), 1);
}

TEST(places_of_the_dead_are_cleared)
{
	auto_arena a = ARENA_INIT;
	const char *cache = path(&a, "cache");
	struct git_scratch one = GIT_SCRATCH_INIT, two = GIT_SCRATCH_INIT;
	pid_t pid = fork();
	if (pid == 0) {
		if (git_scratch_open(cache, &one, &e) < 0 || mkdir(one.path, 0755) < 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	CHECK_INT(waitpid(pid, NULL, 0), pid);
	CHECK(fs_exists(AT_FDCWD, path(&a, "cache/tmp/0")));
	CHECK_INT(git_scratch_open(cache, &one, &e), 0);
	CHECK_STR(one.path, path(&a, "cache/tmp/0"));
	CHECK(!fs_exists(AT_FDCWD, one.path));
	CHECK_INT(mkdir(one.path, 0755), 0);
	/* the living keep theirs */
	CHECK_INT(git_scratch_open(cache, &two, &e), 0);
	CHECK_STR(two.path, path(&a, "cache/tmp/1"));
	CHECK(fs_exists(AT_FDCWD, one.path));
	git_scratch_release(&one);
	git_scratch_release(&two);
	auto_fs_list l = {0};
	CHECK_INT(fs_list(AT_FDCWD, path(&a, "cache/tmp"), 10, &l, &e), 0);
	CHECK_INT((intmax_t)l.n, 0);
}

/* A folder that was checked out and left as it was is its commit; any other one is only a folder. */
TEST(a_checkout_tells_its_commit)
{
	auto_arena a = ARENA_INIT;
	struct git_commits c;
	make_repository();
	const char *dir = path(&a, "y");
	CHECK_INT(git_look(test_tmp(), &a, &c, &e), 0);
	shell("git clone -q --no-local x y; cd y; git checkout -q -b mine");
	CHECK_INT(git_look(dir, &a, &c, &e), 1);
	CHECK(str_eq_c(c.url, path(&a, "x")) || str_eq_c(c.url, url_of(&a)) || str_starts(c.url, STR("file://")));
	CHECK(str_eq(c.commit, id_of(&a, "master")));

	shell("cd y; git remote set-url origin https://h/x.git");
	CHECK_INT(git_look(dir, &a, &c, &e), 1);
	CHECK(str_eq_c(c.url, "https://h/x.git") && str_eq_c(c.ref, "refs/heads/master"));

	/* what is nowhere else is had from the folder itself */
	shell("cd y; echo new >new; git add new; git commit -qm new");
	CHECK_INT(git_look(dir, &a, &c, &e), 1);
	CHECK(str_eq_c(c.url, arena_printf(&a, "file://%s", dir)) && str_eq_c(c.ref, "refs/heads/mine"));
	CHECK(!str_eq(c.commit, id_of(&a, "master")));
	struct git_commits again;
	CHECK_INT(git_resolve(&(struct git_source){.url = arena_strdup(&a, c.url), .ref = "refs/heads/mine"}, &a,
			      &again, &e),
		  0);
	CHECK(str_eq(again.commit, c.commit));

	static const char *const changes[] = {
		"echo more >>y/new", "echo x >y/untracked", "echo ig >y/.git/info/exclude; echo x >y/ig",
		"rm y/new",	     "chmod +x y/new",	    "echo x >y/.gitmodules"};
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		shell(changes[i]);
		CHECK_MSG(git_look(dir, &a, &c, &e) == 0, "%s", changes[i]);
		shell("cd y; rm -f .gitmodules; git checkout -q -f .; git clean -qfdx");
		CHECK_INT(git_look(dir, &a, &c, &e), 1);
	}
	CHECK_INT(git_look(path(&a, "none"), &a, &c, &e), -1);
}

/* What its configuration would run is not run. */
TEST(a_checkout_runs_nothing)
{
	auto_arena a = ARENA_INIT;
	struct git_commits c;
	make_repository();
	shell("cd x; git config core.fsmonitor 'touch ../ran; false'; git config core.hooksPath ../hooks; mkdir ../hooks;"
	      "printf '#!/bin/sh\ntouch ../ran\n' >../hooks/post-index-change; chmod +x ../hooks/post-index-change");
	CHECK_INT(git_look(path(&a, "x"), &a, &c, &e), 1);
	shell("cd x; echo '* filter=bad' >.git/info/attributes; git config filter.bad.clean 'touch ../ran; cat'; touch a d/b");
	CHECK_INT(git_look(path(&a, "x"), &a, &c, &e), 0);
	CHECK(!fs_exists(AT_FDCWD, path(&a, "ran")));
}
