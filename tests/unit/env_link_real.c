// SPDX-License-Identifier: Apache-2.0
/* Laying real packages out: those that others made to show clobbering, link scripts and links, and a library. */
#include "lib/test.h"

#include <dirent.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/json.h"
#include "env/layout.h"
#include "pkg/pkg.h"

struct world {
	char root[256], prefix[512];
	int root_fd;
	unsigned generation;
	struct env_lock_package lock[8];
	struct env_spec_file target;
	struct env_opts opts;
	struct store *store;
	struct arena arena;
	struct link_report report;
	struct err err;
};

static void world_clear(struct world *w)
{
	store_free(w->store);
	cleanup_fd(&w->root_fd);
	arena_release(&w->arena);
}
#define auto_world cleanup_with(world_clear) struct world

static void world(struct world *w)
{
	snprintf(w->root, sizeof(w->root), "%s", test_tmp());
	w->root_fd = open(w->root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	CHECK_MSG(store_open(w->root_fd, 0, &w->store, &w->err) == 0, "%s", w->err.msg);
	w->target.packages = w->lock;
	w->opts.allow_scripts = true;
}

/* The next environment, empty. */
static void next(struct world *w)
{
	w->target.packages_n = 0;
	snprintf(w->prefix, sizeof(w->prefix), "%s/env/%u", w->root, ++w->generation);
	CHECK(fs_mkdirs(AT_FDCWD, w->prefix, 0755, &w->err) == 0);
}

/* As env_prepare completes a record. */
static void read_index(struct world *w, struct pkg_record *r)
{
	auto_buf text = BUF_INIT(1 << 20);
	auto_fd tree = store_tree_open(w->store, r->sha256, &w->err);
	CHECK(tree >= 0 && fs_read(tree, "info/index.json", &text, &w->err) == 0);
	const struct json *j = json_parse(&w->arena, arena_str(&w->arena, buf_str(&text)), "index.json", &w->err);
	struct pkg_record inside;
	CHECK_MSG(j && pkg_record_read(&w->arena, j, &inside, &w->err) == 0, "%s", w->err.msg);
	inside.fn = r->fn;
	inside.channel = r->channel;
	inside.url = r->url;
	inside.has_sha256 = true;
	memcpy(inside.sha256, r->sha256, SHA256_SIZE);
	*r = inside;
}

/* Adds a package, given as a path below data/conda/packages. */
static void add(struct world *w, const char *path)
{
	char full[256];
	struct pkg_record *r = &w->lock[w->target.packages_n].record;
	snprintf(full, sizeof(full), "data/conda/packages/%s", path);
	const char *file = test_shared(full);
	memset(&w->lock[w->target.packages_n++], 0, sizeof(*w->lock));
	const char *slash = strrchr(path, '/');
	r->fn = str_c(slash ? slash + 1 : path);
	r->channel = STR("https://example.org/ch");
	r->url = r->fn;
	r->has_sha256 = true;
	CHECK_MSG(store_add_file(w->store, AT_FDCWD, file, NULL, r->sha256, &w->err) == 0, "%s", w->err.msg);
	CHECK_MSG(store_unpack(w->store, r->sha256, store_format_of(r->fn), &STORE_LIMITS_DEFAULT, &w->err) == 0, "%s",
		  w->err.msg);
	read_index(w, r);
}

static int lay_out(struct world *w)
{
	auto_fd fd = open(w->prefix, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	struct link_job job = {
		.prefix_fd = fd, .prefix = w->prefix, .store = w->store, .target = &w->target, .opts = &w->opts};
	w->err = ERR_INIT;
	return link_all(&job, &w->arena, &w->report, &w->err);
}

static const char *slurp(struct world *w, const char *path)
{
	char full[PATH_MAX];
	auto_buf b = BUF_INIT(1 << 24);
	snprintf(full, sizeof(full), "%s/%s", w->prefix, path);
	CHECK_MSG(fs_read(AT_FDCWD, full, &b, &w->err) == 0, "%s", w->err.msg);
	return arena_strdup(&w->arena, str_trim(buf_str(&b)));
}

/* The environment of up to four packages in link order; then path holds what the package says of itself. */
static void check_winner(struct world *w, const char *const *packages, const char *path, const char *content,
			 size_t clobbers)
{
	next(w);
	for (; *packages; packages++)
		add(w, *packages);
	CHECK_MSG(lay_out(w) == 0, "%s", w->err.msg);
	CHECK_STR(slurp(w, path), content);
	CHECK_INT(w->report.clobbers_n, clobbers);
}

#define C "clobber/"
#define PACKAGES(...) ((const char *const[]){__VA_ARGS__, NULL})

TEST(of_three_packages_the_last_has_the_path)
{
	auto_world w = {0};
	world(&w);
	const char *one = C "clobber-1-0.1.0-h4616a5c_0.tar.bz2", *two = C "clobber-2-0.1.0-h4616a5c_0.tar.bz2",
		   *three = C "clobber-3-0.1.0-h4616a5c_0.tar.bz2";
	check_winner(&w, PACKAGES(one, two, three), "clobber.txt", "clobber-3", 4);
	check_winner(&w, PACKAGES(three, two, one), "clobber.txt", "clobber-1", 4);
	CHECK_STR(slurp(&w, "another-clobber.txt"), "clobber-1");
	check_winner(&w, PACKAGES(one, C "clobber-2-0.2.0-h4616a5c_0.tar.bz2"), "another-clobber.txt", "clobber-1", 1);
	check_winner(&w,
		     PACKAGES("conda-test-recipes/clobber-a-1.0-0.conda", "conda-test-recipes/clobber-b-1.0-0.conda"),
		     "bin/clobber-test-file", "clobber-b", 1);
}

TEST(dependants_are_linked_after_what_they_need_and_win)
{
	auto_world w = {0};
	world(&w);
	check_winner(&w,
		     PACKAGES(C "clobber-nested-3-0.1.0-h4616a5c_0.tar.bz2",
			      C "clobber-nested-1-0.1.0-h4616a5c_0.tar.bz2",
			      C "clobber-nested-2-0.1.0-h4616a5c_0.tar.bz2"),
		     "clobber/bobber/clobber.txt", "clobber-2", 2);
	check_winner(&w,
		     PACKAGES(C "clobber-with-symlink-a-0.1.0-h4616a5c_0.conda",
			      C "clobber-with-symlink-b-0.1.0-h4616a5c_0.conda"),
		     "lib/clobber.so", "clobber-1", 1);
}

TEST(files_against_folders)
{
	auto_world w = {0};
	world(&w);
	check_winner(&w,
		     PACKAGES(C "clobber-fd-1-0.1.0-h4616a5c_0.conda", C "clobber-fd-2-0.1.0-h4616a5c_0.conda",
			      C "clobber-fd-3-0.1.0-h4616a5c_0.conda"),
		     "clobber/clobber-fd-3.txt", "clobber-fd-3", 1);
	check_winner(&w,
		     PACKAGES(C "clobber-fd-rev-1-0.1.0-h4616a5c_0.conda", C "clobber-fd-rev-2-0.1.0-h4616a5c_0.conda",
			      C "clobber-fd-rev-3-0.1.0-h4616a5c_0.conda"),
		     "clobber", "clobber-fd-rev-3", 2);
	check_winner(&w,
		     PACKAGES(C "clobber-with-dir-0.1.0-h4616a5c_0.conda",
			      C "clobber-without-dir-0.1.0-h4616a5c_0.conda"),
		     "dir", "clobber-1", 1);
	check_winner(&w,
		     PACKAGES(C "clobber-without-dir-0.1.0-h4616a5c_0.conda",
			      C "clobber-with-dir-0.1.0-h4616a5c_0.conda"),
		     "dir/clobber.txt", "clobber-1", 1);
	check_winner(&w, PACKAGES(C "clobber-directory-upgrade-0.2.0-h4616a5c_0.conda"), "bin/content.txt", "initial",
		     0);
}

TEST(noarch_packages_meet_in_site_packages)
{
	auto_world w = {0};
	world(&w);
	check_winner(&w,
		     PACKAGES("conda-test-recipes/python-3.99.99-0.conda",
			      C "clobber-pynoarch-1-0.1.0-pyh4616a5c_0.tar.bz2",
			      C "clobber-pynoarch-2-0.1.0-pyh4616a5c_0.tar.bz2"),
		     "lib/python3.99t/site-packages/clobber/clobber.py", "print('hello world')", 1);
	CHECK_INT(w.report.not_compiled, 1);
}

TEST(real_link_scripts)
{
	auto_world w = {0};
	world(&w);
	check_winner(&w, PACKAGES("link-scripts-0.1.0-h4616a5c_0.conda"), "i-was-post-linked", "", 0);
	CHECK_STR(w.report.messages.p, "This is a post-link script that just ran for the recipe package.\n");
	check_winner(&w, PACKAGES("conda-test-recipes/post_link_run_in_env_package-1.0-0.conda"),
		     "etc/conda/activate.d/test.sh", "echo 'setting TEST_VAR' && export TEST_VAR=1", 0);
	CHECK(strstr(w.report.messages.p, "Success"));
	check_winner(&w,
		     PACKAGES("conda-test-recipes/post_link-b-1.0-0.conda",
			      "conda-test-recipes/post_link-c-1.0-0.conda",
			      "conda-test-recipes/post_link-e-1.0-0.conda"),
		     "bin/file", "test", 0);
	CHECK_INT(w.report.scripts_n, 2);
	next(&w);
	add(&w, "conda-test-recipes/failing_post_link-1.0-0.conda");
	CHECK(lay_out(&w) < 0);
	CHECK_MSG(strstr(w.err.msg, "post-link script of package 'failing_post_link-1.0-0.conda'"), "%s", w.err.msg);
}

TEST(both_formats_of_a_package_give_one_environment)
{
	auto_world w = {0};
	world(&w);
	const char *first = NULL;
	static const char *const forms[] = {"cph/mock-2.0.0-py37_1000.tar.bz2", "cph/mock-2.0.0-py37_1000.conda"};
	for (size_t i = 0; i < 2; i++) {
		next(&w);
		add(&w, forms[i]);
		CHECK_MSG(lay_out(&w) == 0, "%s", w.err.msg);
		char *found = arena_printf(&w.arena, "%llu files %llu patched", (unsigned long long)w.report.files,
					   (unsigned long long)w.report.patched);
		if (first)
			CHECK_STR(found, first);
		first = found;
	}
}

TEST(a_library_finds_its_prefix)
{
	auto_world w = {0};
	world(&w);
	next(&w);
	add(&w, "zlib-1.2.11-h7b6447c_3.tar.bz2");
	CHECK_MSG(lay_out(&w) == 0, "%s", w.err.msg);
	const char *pc = slurp(&w, "lib/pkgconfig/zlib.pc");
	CHECK_MSG(strstr(pc, w.prefix) && !strstr(pc, "placehold"), "%s", pc);
	CHECK(w.report.patched > 0);
}

TEST(another_client_reads_the_records)
{
	auto_world w = {0};
	char command[2048];
	const char *peers = getenv("SLIPWAY_PEERS");
	if (!peers)
		SKIP("build without a peer: no py-rattler (SLIPWAY_PEERS names a venv that has it)");
	snprintf(command, sizeof(command), "%s/bin/python -c 'import rattler'", peers);
	if (system(command) != 0)
		SKIP("no py-rattler in '%s'", peers);
	world(&w);
	next(&w);
	add(&w, "conda-test-recipes/python-3.99.99-0.conda");
	add(&w, "conda-test-recipes/sample_noarch_python-1.0-py_0.conda");
	add(&w, "cph/mock-2.0.0-py37_1000.tar.bz2");
	add(&w, "conda-test-recipes/small-executable-1.0-0.conda");
	w.lock[3].requested = true;
	w.lock[3].requested_spec = STR("small-executable >=1");
	CHECK_MSG(lay_out(&w) == 0, "%s", w.err.msg);
	snprintf(command, sizeof(command),
		 "%s/bin/python -c '\n"
		 "import glob, sys\n"
		 "from rattler import PrefixRecord\n"
		 "r = [PrefixRecord.from_path(p) for p in sorted(glob.glob(sys.argv[1] + \"/conda-meta/*.json\"))]\n"
		 "assert [x.name.normalized for x in r] == [\"mock\", \"python\", \"sample_noarch_python\", "
		 "\"small-executable\"], r\n"
		 "assert all(len(x.files) == len(x.paths_data.paths) for x in r)\n"
		 "assert str(r[3].version) == \"1.0\" and len(r[3].files) == 5, r[3].files\n"
		 "' %s",
		 peers, w.prefix);
	CHECK_INT(system(command), 0);
}
