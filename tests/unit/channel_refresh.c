// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <zstd.h>

#include "base/fs.h"
#include "base/vec.h"
#include "channel/channel.h"
#include "channel/refresh.h"
#include "lib/test.h"

static struct arena a;
static struct clock_fake now;

/* -- a server that is a table ------------------------------------------------------------------------------------ */

struct file {
	const char *url;
	struct str body;
	const char *etag;
	int64_t max_age_s;
	bool fails;
	unsigned asked, sent;
};
static struct file files[128];
static size_t files_n;
static unsigned asked_all; /* for what is not there, too */

static struct file *serve(const char *url, struct str body, const char *etag, int64_t max_age_s)
{
	struct file *f = NULL;
	for (size_t i = 0; i < files_n && !f; i++)
		if (strcmp(files[i].url, url) == 0)
			f = &files[i];
	if (!f)
		f = &files[files_n++];
	*f = (struct file){.url = arena_strdup(&a, str_c(url)), .body = body, .etag = etag, .max_age_s = max_age_s};
	return f;
}

static void withdraw(const char *url)
{
	for (size_t i = 0; i < files_n; i++)
		if (strcmp(files[i].url, url) == 0)
			files[i].url = "";
}

static void answer(struct channel_get *g, struct file *f)
{
	f->asked++;
	if (f->fails) {
		err_new(&g->err, ERR_NETWORK, "download '%s': no route to host", f->url);
		g->state = GET_FAILED;
		return;
	}
	g->max_age_s = f->max_age_s;
	if (f->etag && strcmp(f->etag, g->etag) == 0) {
		g->state = GET_UNCHANGED;
		return;
	}
	f->sent++;
	CHECK_INT(ftruncate(g->fd, 0), 0);
	CHECK_INT(pwrite(g->fd, f->body.p, f->body.n, 0), f->body.n);
	snprintf(g->etag, sizeof(g->etag), "%s", f->etag ? f->etag : "");
	g->state = GET_DONE;
}

static int fake_get(struct channel_fetch *fetch, struct channel_get *const *gets, size_t n, struct err *e)
{
	(void)fetch, (void)e;
	for (size_t i = 0; i < n; i++) {
		asked_all++;
		gets[i]->state = GET_MISSING;
		for (size_t k = 0; k < files_n; k++)
			if (strcmp(files[k].url, gets[i]->url) == 0)
				answer(gets[i], &files[k]);
	}
	return 0;
}

static char note[1024];
static void take_note(struct progress *p, const struct progress_event *ev)
{
	(void)p;
	if (ev->kind == PROGRESS_NOTE)
		snprintf(note, sizeof(note), "%s", ev->text);
}

static struct str packed(struct str s)
{
	size_t max = ZSTD_compressBound(s.n);
	char *p = arena_alloc(&a, max);
	size_t n = ZSTD_compress(p, max, s.p, s.n, 3);
	CHECK(!ZSTD_isError(n));
	return str_of(p, n);
}

/* -- opening ----------------------------------------------------------------------------------------------------- */

static struct channel_index *opened;
static size_t opened_n;

static struct channel channel_of(const char *text)
{
	struct channel_config config = {.cwd = str_c(test_tmp())};
	struct channel c;
	struct err e = ERR_INIT;
	if (channel_parse(&a, str_c(text), &config, &c, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	return c;
}

static void close_opened(void)
{
	for (size_t i = 0; i < opened_n; i++)
		index_free(opened[i].index);
	opened_n = 0;
}

static int root_fd(void)
{
	static int fd = -1;
	if (fd < 0) {
		CHECK_INT(mkdirat(AT_FDCWD, arena_printf(&a, "%s/root", test_tmp()), 0700), 0);
		fd = open(arena_printf(&a, "%s/root", test_tmp()), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd;
}

static int try_open(const char *const *names, size_t n, const char *root, int flags, struct err *e)
{
	static struct channel_fetch fetch = {.get = fake_get};
	static struct progress progress = {.event = take_note};
	struct str subdirs[] = {STR("linux-64"), STR("noarch")}, roots[] = {str_c(root)};
	struct channel channels[8];
	if (now.now_ms == 0)
		now = clock_fake_at(1, INT64_C(1700000000000));
	struct channel_cache cache = {.root_fd = root_fd(),
				      .fetch = &fetch,
				      .clock = &now.base,
				      .progress = &progress,
				      .default_max_age_s = 60};
	for (size_t i = 0; i < n; i++)
		channels[i] = channel_of(names[i]);
	close_opened();
	*e = ERR_INIT;
	return channel_open_all(&cache, channels, n, subdirs, 2, roots, root ? 1 : 0, flags, &a, &opened, &opened_n, e);
}

static void open_ok(const char *name, const char *root, int flags)
{
	struct err e;
	if (try_open(&name, 1, root, flags, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
}

static uint32_t count(size_t i)
{
	CHECK(i < opened_n);
	return opened[i].index ? index_info(opened[i].index).packages : 999;
}

/* -- folders ----------------------------------------------------------------------------------------------------- */

#define ONE(name)                                                                                                      \
	"{\"packages.conda\":{\"" name "-1-0.conda\":{\"name\":\"" name "\",\"version\":\"1\",\"build\":\"0\"}}}"
#define TWO                                                                                                            \
	"{\"packages.conda\":{\"x-1-0.conda\":{\"name\":\"x\",\"version\":\"1\",\"build\":\"0\"},"                     \
	"\"x-2-0.conda\":{\"name\":\"x\",\"version\":\"2\",\"build\":\"0\"}}}"

static void put(const char *path, struct str body)
{
	struct err e = ERR_INIT;
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *folder = arena_strdup(&a, str_c(path));
	*strrchr(folder, '/') = '\0';
	CHECK_INT(fs_mkdirs(dir, folder, 0755, &e), 0);
	CHECK_INT(fs_replace(dir, path, body.p, body.n, 0, &e), 0);
}

static ino_t index_inode(const char *file)
{
	struct channel c = channel_of("./c");
	struct stat st;
	if (fstatat(root_fd(), arena_printf(&a, "index/%s/%s", c.id, file), &st, 0) < 0)
		return 0;
	return st.st_ino;
}

TEST(a_folder_is_indexed_once)
{
	put("c/noarch/repodata.json", STR(ONE("x")));
	open_ok("./c", NULL, 0);
	CHECK_INT(opened_n, 2);
	CHECK(!opened[0].index);
	CHECK_INT(count(1), 1);
	ino_t before = index_inode("noarch.full.idx");
	CHECK(before);
	open_ok("./c", NULL, 0);
	CHECK_INT(index_inode("noarch.full.idx"), before);
	put("c/noarch/repodata.json", STR(TWO));
	open_ok("./c", NULL, 0);
	CHECK_INT(count(1), 2);
	CHECK(index_inode("noarch.full.idx") != before);
	close_opened();
}

TEST(a_folder_may_hold_only_the_packed_file)
{
	put("c/linux-64/repodata.json.zst", packed(STR(ONE("x"))));
	open_ok("./c", NULL, 0);
	CHECK_INT(count(0), 1);
	ino_t before = index_inode("linux-64.full.idx");
	open_ok("./c", NULL, 0);
	CHECK_INT(index_inode("linux-64.full.idx"), before);
	put("c/linux-64/repodata.json", STR(TWO));
	open_ok("./c", NULL, 0);
	CHECK_INT(count(0), 2);
	close_opened();
}

TEST(a_folder_that_goes_bad_says_where)
{
	const char *name = "./c";
	struct err e;
	put("c/noarch/repodata.json", STR(ONE("x")));
	open_ok(name, NULL, 0);
	ino_t before = index_inode("noarch.full.idx");
	put("c/noarch/repodata.json", STR("{\"packages\":{\"x"));
	CHECK(try_open(&name, 1, NULL, 0, &e) < 0);
	CHECK_MSG(strstr(e.msg, "/c/noarch/repodata.json: offset 15: the file ends too early"), "%s", e.msg);
	CHECK_MSG(strstr(e.msg, "--offline"), "%s", e.msg);
	CHECK_INT(index_inode("noarch.full.idx"), before);
	open_ok(name, NULL, CHANNEL_OFFLINE);
	CHECK_INT(count(1), 1);
	close_opened();
}

TEST(a_damaged_index_is_made_anew)
{
	put("c/noarch/repodata.json", STR(ONE("x")));
	open_ok("./c", NULL, 0);
	struct channel c = channel_of("./c");
	struct err e = ERR_INIT;
	CHECK_INT(fs_replace(root_fd(), arena_printf(&a, "index/%s/noarch.full.idx", c.id), "junk", 4, 0, &e), 0);
	open_ok("./c", NULL, 0);
	CHECK_INT(count(1), 1);
	close_opened();
}

TEST(damage_that_shows_while_reading_is_mended)
{
	struct channel c = channel_of("./c");
	struct channel_cache cache = {.root_fd = root_fd(), .clock = &clock_system};
	struct err e = ERR_INIT;
	auto_buf file = BUF_INIT(1 << 20);
	put("c/noarch/repodata.json", STR(TWO));
	open_ok("./c", NULL, 0);
	CHECK_INT(count(1), 2);
	CHECK_INT(channel_recheck(&cache, opened, opened_n, &e), 0);
	const char *path = arena_printf(&a, "index/%s/noarch.full.idx", c.id);
	CHECK_INT(fs_read(root_fd(), path, &file, &e), 0);
	file.p[4096 + 200] ^= 1;
	CHECK_INT(fs_replace(root_fd(), path, file.p, file.n, 0, &e), 0);
	open_ok("./c", NULL, 0); /* its header is good */
	struct pkg_record r;
	CHECK(index_record(opened[1].index, (struct ix_pkg){0}, &opened[1].channel, &a, &r, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
	e = ERR_INIT;
	CHECK_INT(channel_recheck(&cache, opened, opened_n, &e), 1);
	open_ok("./c", NULL, 0);
	CHECK_INT(index_record(opened[1].index, (struct ix_pkg){0}, &opened[1].channel, &a, &r, &e), 0);
	CHECK_INT(channel_recheck(&cache, opened, opened_n, &e), 0);
	close_opened();
}

TEST(an_address_without_channel_lists_what_was_tried)
{
	const char *name = "./nothing";
	struct err e;
	CHECK(try_open(&name, 1, NULL, 0, &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_MSG(strstr(e.msg, "/nothing/linux-64/repodata.json") &&
			  strstr(e.msg, "/nothing/noarch/repodata.json.zst"),
		  "%s", e.msg);
	put("nothing/noarch/repodata.json", STR(ONE("x")));
	open_ok(name, NULL, 0);
	close_opened();
}

/* -- servers ----------------------------------------------------------------------------------------------------- */

#define H "https://h/c"

TEST(what_a_server_has_is_remembered)
{
	struct file *f = serve(H "/noarch/repodata.json", STR(ONE("x")), "v1", 100);
	open_ok(H, NULL, 0);
	CHECK_INT(count(1), 1);
	CHECK(!opened[0].index);
	CHECK_INT(f->sent, 1);
	CHECK_INT(asked_all, 6); /* two subdirs: shards, .zst, .json */
	open_ok(H, NULL, 0);	 /* fresh: nobody is asked */
	CHECK_INT(asked_all, 6);
	now.wall_ms += 101 * 1000;
	open_ok(H, NULL, 0); /* the plain file is asked at once; linux-64 was believed missing for 60 s */
	CHECK_INT(f->asked, 2);
	CHECK_INT(f->sent, 1);
	CHECK_INT(asked_all, 6 + 1 + 2);
	open_ok(H, NULL, CHANNEL_FORCE);
	CHECK_INT(f->asked, 3);
	close_opened();
}

TEST(the_packed_file_is_preferred)
{
	struct file *plain = serve(H "/noarch/repodata.json", STR(ONE("x")), NULL, -1);
	struct file *zst = serve(H "/noarch/repodata.json.zst", packed(STR(TWO)), NULL, -1);
	open_ok(H, NULL, CHANNEL_NO_SHARDS);
	CHECK_INT(count(1), 2);
	CHECK_INT(zst->sent, 1);
	CHECK_INT(plain->asked, 0);
	withdraw(H "/noarch/repodata.json.zst");
	open_ok(H, NULL, CHANNEL_FORCE | CHANNEL_NO_SHARDS);
	CHECK_INT(count(1), 1);
	close_opened();
}

TEST(current_repodata_is_another_index)
{
	serve(H "/noarch/repodata.json", STR(TWO), NULL, -1);
	serve(H "/noarch/current_repodata.json", STR(ONE("x")), NULL, -1);
	open_ok(H, NULL, CHANNEL_CURRENT_ONLY);
	CHECK_INT(count(1), 1);
	open_ok(H, NULL, 0);
	CHECK_INT(count(1), 2);
	open_ok(H, NULL, CHANNEL_CURRENT_ONLY);
	CHECK_INT(count(1), 1);
	close_opened();
}

TEST(without_a_network_the_held_index_serves)
{
	const char *name = H;
	struct err e;
	struct file *f = serve(H "/noarch/repodata.json", STR(ONE("x")), "v1", 10);
	CHECK(try_open(&name, 1, NULL, CHANNEL_OFFLINE, &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	open_ok(H, NULL, CHANNEL_NO_SHARDS);
	now.wall_ms += 50 * 1000;
	f->fails = true;
	open_ok(H, NULL, CHANNEL_NO_SHARDS);
	CHECK_INT(count(1), 1);
	CHECK_MSG(strstr(note, "going on with the metadata of 2023-11-14T22:13:20Z"), "%s", note);
	CHECK(try_open(&name, 1, NULL, CHANNEL_FORCE | CHANNEL_NO_SHARDS, &e) < 0);
	CHECK_INT(e.code, ERR_NETWORK);
	open_ok(H, NULL, CHANNEL_OFFLINE);
	CHECK_INT(count(1), 1);
	close_opened();
}

TEST(secrets_stay_out_of_messages)
{
	const char *name = "https://me:Secret@h/t/tok-1/c";
	struct err e;
	CHECK(try_open(&name, 1, NULL, 0, &e) < 0);
	CHECK_MSG(!strstr(e.msg, "Secret") && !strstr(e.msg, "tok-1"), "%s", e.msg);
	serve("https://me:Secret@h/t/tok-1/c/noarch/repodata.json", STR("{"), NULL, -1);
	CHECK(try_open(&name, 1, NULL, 0, &e) < 0);
	CHECK_MSG(!strstr(e.msg, "Secret") && !strstr(e.msg, "tok-1"), "%s", e.msg);
	serve("https://me:Secret@h/t/tok-1/c/noarch/repodata.json", STR(ONE("x")), NULL, -1);
	open_ok(name, NULL, 0);
	struct pkg_record r;
	CHECK_INT(index_record(opened[1].index, (struct ix_pkg){0}, &opened[1].channel, &a, &r, &e), 0);
	CHECK_STR(r.url.p, "https://h/c/noarch/x-1-0.conda");
	close_opened();
}

TEST(two_processes_make_one_index)
{
	put("c/noarch/repodata.json", STR(TWO));
	(void)root_fd();
	pid_t child[4];
	for (int i = 0; i < 4; i++) {
		if ((child[i] = fork()) != 0)
			continue;
		open_ok("./c", NULL, 0);
		_exit(count(1) == 2 ? 0 : 1);
	}
	for (int i = 0; i < 4; i++) {
		int status;
		CHECK_INT(waitpid(child[i], &status, 0), child[i]);
		CHECK_INT(status, 0);
	}
}

/* -- shards ------------------------------------------------------------------------------------------------------ */

/* msgpack, as much of it as shards need */
static void mp_text(struct buf *b, const char *s)
{
	CHECK(strlen(s) < 256);
	buf_put_char(b, (char)0xd9);
	buf_put_char(b, (char)strlen(s));
	buf_put_c(b, s);
}

static const char *spoilt;  /* a record of the next shard that has no version, beside the good one */
static const char *grouped; /* what the next shard's group of optional dependencies names */

/* The shard of a package with one version; `depends` and `constrains` may be NULL. */
static struct str shard(const char *name, const char *depends, const char *constrains)
{
	auto_buf b = BUF_INIT(1 << 20);
	buf_put_c(&b, "\x82");
	mp_text(&b, "packages");
	buf_put_c(&b, "\x80");
	mp_text(&b, "packages.conda");
	buf_put_c(&b, spoilt ? "\x82" : "\x81");
	if (spoilt) {
		mp_text(&b, spoilt), buf_put_c(&b, "\x82");
		mp_text(&b, "depends"), buf_put_c(&b, "\x91\x05"); /* a number */
		mp_text(&b, "name"), mp_text(&b, name);
	}
	mp_text(&b, arena_printf(&a, "%s-1-0.conda", name));
	buf_put_c(&b, grouped ? "\x87" : "\x86");
	if (grouped) {
		mp_text(&b, "extra_depends"), buf_put_c(&b, "\x81");
		mp_text(&b, "group"), buf_put_c(&b, "\x91"), mp_text(&b, grouped);
	}
	mp_text(&b, "name"), mp_text(&b, name);
	mp_text(&b, "version"), mp_text(&b, "1");
	mp_text(&b, "build"), mp_text(&b, "0");
	mp_text(&b, "size"), buf_put_c(&b, "\xcd\x01\x02");
	mp_text(&b, "depends"), buf_put_c(&b, depends ? "\x91" : "\x90");
	if (depends)
		mp_text(&b, depends);
	mp_text(&b, "constrains"), buf_put_c(&b, constrains ? "\x91" : "\x90");
	if (constrains)
		mp_text(&b, constrains);
	return packed(arena_str(&a, buf_str(&b)));
}

struct named {
	const char *name;
	struct str body;
};

static struct file *serve_shards(const char *folder, const struct named *v, unsigned n, const char *etag)
{
	auto_buf b = BUF_INIT(1 << 20);
	buf_put_c(&b, "\x82");
	mp_text(&b, "info");
	buf_put_c(&b, "\x82");
	mp_text(&b, "base_url"), mp_text(&b, "../files/");
	mp_text(&b, "shards_base_url"), mp_text(&b, "./s/");
	mp_text(&b, "shards");
	buf_put_char(&b, (char)(0x80 | n));
	for (unsigned i = 0; i < n; i++) {
		uint8_t digest[SHA256_SIZE];
		char hex[SHA256_HEX_SIZE];
		sha256(v[i].body.p, v[i].body.n, digest);
		hex_encode(digest, SHA256_SIZE, hex);
		mp_text(&b, v[i].name);
		buf_put_c(&b, "\xc4\x20");
		buf_put(&b, digest, SHA256_SIZE);
		serve(arena_printf(&a, "%s/s/%s.msgpack.zst", folder, hex), v[i].body, NULL, -1);
	}
	return serve(arena_printf(&a, "%s/repodata_shards.msgpack.zst", folder), packed(arena_str(&a, buf_str(&b))),
		     etag, 10);
}

static void serve_sharded_channel(void)
{
	struct named arch[] = {{"app", shard("app", "lib >=1", "opt")},
			       {"opt", shard("opt", NULL, NULL)},
			       {"other", shard("other", "lib", NULL)}};
	struct named noarch[] = {{"lib", shard("lib", "data", NULL)}, {"data", shard("data", NULL, NULL)}};
	serve_shards(H "/linux-64", arch, 3, "a1");
	serve_shards(H "/noarch", noarch, 2, "n1");
}

TEST(only_shards_in_reach_are_fetched)
{
	serve_sharded_channel();
	open_ok(H, "app", 0);
	CHECK_INT(count(0), 1);
	CHECK_INT(count(1), 2);
	CHECK_INT(asked_all, 2 + 3);
	CHECK(index_info(opened[0].index).partial);
	struct ix_name n;
	CHECK(index_find_name(opened[0].index, STR("lib"), &n) && index_has_name(opened[0].index, n));
	CHECK(index_find_name(opened[0].index, STR("opt"), &n) && !index_has_name(opened[0].index, n));
	open_ok(H, "app", 0); /* warm */
	CHECK_INT(asked_all, 5);
	open_ok(H, "other", 0); /* one more shard; what was asked for before stays */
	CHECK_INT(asked_all, 6);
	CHECK_INT(count(0), 2);
	open_ok(H, "app", 0);
	open_ok(H, "unheard-of", 0);
	open_ok(H, "unheard-of", 0);
	CHECK_INT(asked_all, 6);
	struct pkg_record r;
	struct err e = ERR_INIT;
	CHECK_INT(index_record(opened[0].index, (struct ix_pkg){0}, &opened[0].channel, &a, &r, &e), 0);
	CHECK(str_starts(r.url, STR(H "/files/")));
	CHECK_INT(r.size, 258);
	close_opened();
}

TEST(groups_of_optional_dependencies_are_in_reach)
{
	grouped = "opt";
	struct str app = shard("app", NULL, NULL);
	grouped = NULL;
	struct named noarch[] = {{"app", app}, {"opt", shard("opt", NULL, NULL)}};
	serve_shards(H "/noarch", noarch, 2, "n1");
	open_ok(H, "app", 0);
	CHECK_INT(count(1), 2);
	close_opened();
}

TEST(a_bad_record_of_a_shard_is_left_out)
{
	spoilt = "app-2-0.conda";
	struct str app = shard("app", "opt", NULL);
	spoilt = NULL;
	struct named noarch[] = {{"app", app}, {"opt", shard("opt", NULL, NULL)}};
	serve_shards(H "/noarch", noarch, 2, "n1");
	open_ok(H, "app", 0);
	CHECK_INT(count(1), 2);
	struct index_info info = index_info(opened[1].index);
	CHECK_INT(info.left_out, 1);
	CHECK_MSG(strstr(note, "1 malformed record of '" H "/noarch' was left out"), "%s", note);
	CHECK_MSG(str_starts(info.left_out_first, STR("'app-2-0.conda' (")), "%.*s", STR_ARG(info.left_out_first));
	close_opened();
}

TEST(a_new_shard_index_brings_new_shards)
{
	serve_sharded_channel();
	open_ok(H, "app", 0);
	struct named noarch[] = {{"lib", shard("lib", "data", "x")}, {"data", shard("data", NULL, NULL)}};
	struct file *f = serve_shards(H "/noarch", noarch, 2, "n2");
	now.wall_ms += 11 * 1000;
	open_ok(H, "app", 0);
	CHECK_INT(f->sent, 1);
	CHECK_INT(asked_all, 5 + 2 + 1);
	close_opened();
}

TEST(a_wrong_shard_is_refused)
{
	const char *name = H;
	struct err e;
	serve_sharded_channel();
	for (size_t i = 0; i < files_n; i++)
		if (strstr(files[i].url, "/s/"))
			files[i].body = shard("evil", NULL, NULL);
	CHECK(try_open(&name, 1, "app", 0, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_MSG(strstr(e.msg, "'app'"), "%s", e.msg);
}

TEST(a_held_shard_that_rots_is_fetched_again)
{
	const char *name = H;
	struct err e;
	serve_sharded_channel();
	open_ok(H, "app", 0);
	struct channel c = channel_of(H);
	const char *folder = arena_printf(&a, "index/%s/noarch.shards", c.id);
	auto_fs_list list = {0};
	CHECK_INT(fs_list(root_fd(), folder, 100, &list, &e), 0);
	CHECK_INT(list.n, 2);
	for (size_t i = 0; i < list.n; i++)
		CHECK_INT(fs_replace(root_fd(), arena_printf(&a, "%s/%s", folder, list.name[i]), "x", 1, 0, &e), 0);
	for (int i = 0; i < 3; i++)
		(void)try_open(&name, 1, "other", 0, &e);
	open_ok(H, "other", 0);
	CHECK_INT(count(0), 2);
	close_opened();
}

TEST(real_shards)
{
	static const char *const roots[] = {"mojo-akari", "mojo-tview", NULL};
	const char *folder = test_shared("data/conda/shards/linux-64");
	struct err e = ERR_INIT;
	auto_fs_list list = {0};
	static const char *const where[] = {"", "/shards"};
	for (int k = 0; k < 2; k++) {
		fs_list_release(&list);
		CHECK_INT(fs_list(AT_FDCWD, arena_printf(&a, "%s%s", folder, where[k]), 100, &list, &e), 0);
		for (size_t i = 0; i < list.n; i++) {
			auto_buf b = BUF_INIT(1 << 20);
			const char *path = arena_printf(&a, "%s%s/%s", folder, where[k], list.name[i]);
			if (!strstr(path, ".msgpack.zst"))
				continue;
			CHECK_INT(fs_read(AT_FDCWD, path, &b, &e), 0);
			serve(arena_printf(&a, H "/linux-64%s/%s", where[k], list.name[i]), arena_str(&a, buf_str(&b)),
			      "1", 100);
		}
	}
	open_ok(H, roots[0], 0);
	struct ix_name n;
	struct ix_pkg first;
	CHECK(index_find_name(opened[0].index, STR("mojo-akari"), &n));
	CHECK(index_packages(opened[0].index, n, &first) > 0);
	close_opened();
}

/* -- relations --------------------------------------------------------------------------------------------------- */

static const char *order_of(const char *const *names, size_t n, struct err *e)
{
	auto_buf b = BUF_INIT(1 << 16);
	if (try_open(names, n, NULL, CHANNEL_NO_SHARDS, e) < 0)
		return "error";
	for (size_t i = 0; i < opened_n; i += 2)
		buf_printf(&b, "%s%.*s", i ? " " : "",
			   STR_ARG(str_skip(opened[i].channel.shown, strlen("https://h/"))));
	close_opened();
	return arena_strdup(&a, buf_str(&b));
}

static void serve_related(const char *name, const char *relations)
{
	const char *text = arena_printf(&a, "{\"info\":{\"channel_relations\":{%s}}}", relations);
	serve(arena_printf(&a, "https://h/%s/noarch/repodata.json", name), str_c(text), NULL, -1);
}

TEST(related_channels_come_along_in_order)
{
	struct err e;
	serve_related("forge", "");
	serve_related("bio", "\"base\":\"../forge\"");
	serve_related("mine", "\"base\":\"../bio\"");
	serve_related("forge/label/rc", "\"overrides\":\"../..\"");
	serve_related("both", "\"base\":\"../forge\",\"overrides\":\"../fixes\"");
	serve_related("fixes", "");
	CHECK_STR(order_of((const char *[]){"https://h/bio"}, 1, &e), "forge bio");
	CHECK_STR(order_of((const char *[]){"https://h/mine"}, 1, &e), "forge bio mine");
	CHECK_STR(order_of((const char *[]){"https://h/forge/label/rc"}, 1, &e), "forge/label/rc forge");
	CHECK_STR(order_of((const char *[]){"https://h/both"}, 1, &e), "forge both fixes");
	CHECK_STR(order_of((const char *[]){"https://h/bio", "https://h/forge"}, 2, &e), "bio forge");
	CHECK_STR(order_of((const char *[]){"https://h/forge", "https://h/bio"}, 2, &e), "forge bio");
	CHECK_STR(order_of((const char *[]){"https://h/fixes", "https://h/bio"}, 2, &e), "fixes forge bio");
	CHECK_STR(order_of((const char *[]){"https://h/forge", "https://h/forge/"}, 2, &e), "forge");
}

TEST(bad_relations_are_refused)
{
	struct err e;
	serve_related("a", "\"base\":\"../b\"");
	serve_related("b", "\"base\":\"../a\"");
	serve_related("x", "\"base\":\"https://evil/x\"");
	serve_related("y", "\"base\":\"../a\",\"overrides\":\"../a\"");
	CHECK_STR(order_of((const char *[]){"https://h/a"}, 1, &e), "error");
	CHECK_MSG(strstr(e.msg, "in a circle"), "%s", e.msg);
	CHECK_STR(order_of((const char *[]){"https://h/x"}, 1, &e), "error");
	CHECK_MSG(strstr(e.msg, "does not begin with '../'"), "%s", e.msg);
	CHECK_STR(order_of((const char *[]){"https://h/y"}, 1, &e), "error");
	for (int i = 0; i < 12; i++)
		serve_related(arena_printf(&a, "n%d", i), arena_printf(&a, "\"base\":\"../n%d\"", i + 1));
	serve_related("n12", "");
	CHECK_STR(order_of((const char *[]){"https://h/n0"}, 1, &e), "error");
	CHECK_MSG(strstr(e.msg, "10 deep"), "%s", e.msg);
}
