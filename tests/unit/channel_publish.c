// SPDX-License-Identifier: Apache-2.0
#include "channel/channel.h"
#include "channel/msgpack.h"

#include <bzlib.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "channel/package.h"
#include "lib/test.h"

static struct arena a;
static struct channel_publish_opts plain;

static const char *in_tmp(const char *path)
{
	return arena_printf(&a, "%s/%s", test_tmp(), path);
}

static void tar_entry(struct buf *b, const char *name, char type, struct str content)
{
	char head[512] = {0};
	unsigned sum = 0;
	snprintf(head, 100, "%s", name);
	snprintf(head + 100, 8, "0000644");
	snprintf(head + 124, 12, "%011zo", content.n);
	memset(head + 148, ' ', 8);
	head[156] = type;
	for (size_t i = 0; i < sizeof(head); i++)
		sum += (unsigned char)head[i];
	snprintf(head + 148, 8, "%06o", sum);
	buf_put(b, head, sizeof(head));
	buf_put_str(b, content);
	static const char zero[512];
	buf_put(b, zero, (512 - content.n % 512) % 512);
}

static void tar_end(struct buf *b)
{
	static const char zero[1024];
	buf_put(b, zero, sizeof(zero));
}

static const char *write_bz2(const char *fn, const struct buf *tar)
{
	unsigned n = (unsigned)(tar->n + tar->n / 50 + 1000);
	char *p = arena_alloc(&a, n);
	struct err e = ERR_INIT;
	CHECK_INT(BZ2_bzBuffToBuffCompress(p, &n, tar->p, (unsigned)tar->n, 1, 0, 0), BZ_OK);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp(fn), p, n, 0, &e), 0);
	return in_tmp(fn);
}

/* A package whose info/index.json is this, behind other entries. */
static const char *package(const char *fn, const char *index, const char *payload)
{
	auto_buf tar = BUF_INIT(1 << 20);
	tar_entry(&tar, "bin/tool", '0', str_c(payload));
	tar_entry(&tar, "././@LongLink", 'L', str_of("lib/a-long-name-that-says-info/index.json", 42));
	tar_entry(&tar, "lib/a-long", '0', STR("no"));
	tar_entry(&tar, "pax", 'x', STR("26 path=lib/\xc3\xa9/index.json\n"));
	tar_entry(&tar, "lib/x", '0', STR("no"));
	tar_entry(&tar, "./info/index.json", '0', str_c(index));
	tar_end(&tar);
	return write_bz2(fn, &tar);
}

#define INDEX(version, more)                                                                                           \
	"{\"version\":\"" version "\",\"name\":\"tool\",\"build\":\"0\",\"build_number\":0,\"subdir\":\"linux-64\","   \
	"\"depends\":[\"lib >=1\"],\"license\":\"MIT\"" more "}"

static int publish(const char *file, const struct channel_publish_opts *o, struct err *e)
{
	*e = ERR_INIT;
	return channel_publish(in_tmp("c"), &file, 1, o, NULL, e);
}

static void publish_ok(const char *file)
{
	struct err e;
	if (publish(file, &plain, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
}

static struct str read_file(const char *path)
{
	auto_buf b = BUF_INIT(64 << 20);
	struct err e = ERR_INIT;
	if (fs_read(AT_FDCWD, in_tmp(path), &b, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	return arena_str(&a, buf_str(&b));
}

static const struct json *metadata(const char *path)
{
	struct err e = ERR_INIT;
	const struct json *j = json_parse(&a, read_file(path), path, &e);
	CHECK_MSG(j, "%s", e.msg);
	return j;
}

TEST(a_package_is_published)
{
	publish_ok(package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "x"));
	CHECK_STR(read_file("c/noarch/repodata.json").p,
		  "{\n \"info\": {\n  \"subdir\": \"noarch\"\n },\n \"packages\": {},\n"
		  " \"packages.conda\": {},\n \"removed\": [],\n \"repodata_version\": 1\n}\n");
	const struct json *j = metadata("c/linux-64/repodata.json");
	const struct json *r = json_get(json_get(j, "packages"), "tool-1.0-0.tar.bz2");
	CHECK(r);
	static const char *const keys[] = {"build", "build_number", "depends", "license", "md5",
					   "name",  "sha256",	    "size",    "subdir",  "version"};
	CHECK_INT(r->n, 10);
	for (uint32_t i = 0; i < r->n; i++)
		CHECK_STR(r->member[i].key.p, keys[i]);
	struct str bytes = read_file("c/linux-64/tool-1.0-0.tar.bz2");
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	sha256(bytes.p, bytes.n, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	CHECK_STR(json_get(r, "sha256")->string.p, hex);
	CHECK_INT(json_get(r, "size")->integer, bytes.n);
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	char piece[4096];
	auto_ptr(istream) z = istream_zstd(istream_mem(read_file("c/linux-64/repodata.json.zst"), "zst"));
	for (ssize_t n; (n = istream_read(z, piece, sizeof(piece), &e)) > 0;)
		buf_put(&b, piece, (size_t)n);
	CHECK_STR(b.p, read_file("c/linux-64/repodata.json").p);
}

TEST(depends_is_in_every_record)
{
	publish_ok(package(
		"tool-1.0-0.tar.bz2",
		"{\"name\":\"tool\",\"version\":\"1.0\",\"build\":\"0\",\"build_number\":0,\"subdir\":\"noarch\"}",
		"x"));
	const struct json *r = json_get(json_get(metadata("c/noarch/repodata.json"), "packages"), "tool-1.0-0.tar.bz2");
	CHECK(r && json_get(r, "depends") && json_get(r, "depends")->type == JSON_ARRAY);
	CHECK_INT(json_get(r, "depends")->n, 0);
}

/* Readers of the channel stop at the first build number that is none, or take the first: what was checked is all there is. */
TEST(of_a_key_twice_the_last_counts)
{
	publish_ok(package("tool-1.0-0.tar.bz2", INDEX("1.0", ",\"build_number\":\"x\",\"build_number\":7"), "x"));
	const struct json *r =
		json_get(json_get(metadata("c/linux-64/repodata.json"), "packages"), "tool-1.0-0.tar.bz2");
	CHECK(r);
	unsigned numbers = 0;
	for (uint32_t i = 0; i < r->n; i++)
		numbers += str_eq(r->member[i].key, STR("build_number"));
	CHECK_INT(numbers, 1);
	CHECK_INT(json_get(r, "build_number")->integer, 7);
}

TEST(the_order_of_publishing_does_not_matter)
{
	const char *one = package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "x");
	const char *two = package("tool-2.0-0.tar.bz2", INDEX("2.0", ""), "y");
	publish_ok(one);
	publish_ok(two);
	struct str first = read_file("c/linux-64/repodata.json");
	struct err e = ERR_INIT;
	const char *both[] = {two, one};
	CHECK_INT(channel_publish(in_tmp("d"), both, 2, &plain, NULL, &e), 0);
	CHECK_STR(read_file("d/linux-64/repodata.json").p, first.p);
	publish_ok(one); /* again: nothing changes */
	CHECK_STR(read_file("c/linux-64/repodata.json").p, first.p);
}

TEST(a_name_is_given_once)
{
	struct err e;
	struct channel_publish_opts replace = {.replace = true};
	publish_ok(package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "x"));
	struct str before = read_file("c/linux-64/repodata.json");
	const char *other = package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "other");
	CHECK(publish(other, &plain, &e) < 0);
	CHECK_INT(e.code, ERR_EXISTS);
	CHECK_MSG(strstr(e.msg, "raise its build number"), "%s", e.msg);
	CHECK_STR(read_file("c/linux-64/repodata.json").p, before.p);
	CHECK_INT(publish(other, &replace, &e), 0);
	CHECK(strcmp(read_file("c/linux-64/repodata.json").p, before.p) != 0);
	CHECK_INT(metadata("c/linux-64/repodata.json")->n, 5);
}

TEST(what_others_wrote_is_kept)
{
	struct err e = ERR_INIT;
	CHECK_INT(fs_mkdirs(AT_FDCWD, in_tmp("c/linux-64"), 0755, &e), 0);
	const char *old =
		"{\"info\":{\"base_url\":\"../x\",\"subdir\":\"linux-64\"},\"packages\":{\"zz-1-0.tar.bz2\":{\"name\":\"zz\","
		"\"edited\":[1.5]}},\"removed\":[\"gone-1-0.conda\",\"tool-1.0-0.tar.bz2\"],\"repodata_version\":2,"
		"\"v3\":{\"whl\":{\"w\":{}}},\"signatures\":{\"a\":1}}";
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp("c/linux-64/repodata.json"), old, strlen(old), 0, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp("c/linux-64/current_repodata.json"), "{}", 2, 0, &e), 0);
	publish_ok(package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "x"));
	const struct json *j = metadata("c/linux-64/repodata.json");
	CHECK(json_get(json_get(j, "info"), "base_url"));
	CHECK_INT(json_get(j, "packages")->n, 2);
	CHECK(json_get(json_get(json_get(j, "packages"), "zz-1-0.tar.bz2"), "edited"));
	CHECK_INT(json_get(j, "removed")->n, 1);
	CHECK_INT(json_get(j, "repodata_version")->integer, 2);
	CHECK(json_get(json_get(j, "v3"), "whl"));
	CHECK(json_get(j, "signatures"));
	CHECK(json_get(json_get(metadata("c/linux-64/current_repodata.json"), "packages"), "tool-1.0-0.tar.bz2"));
	CHECK(access(in_tmp("c/linux-64/repodata_shards.msgpack.zst"), F_OK) < 0);
}

static void publish_with_shards(const char *file)
{
	struct channel_publish_opts o = {.shards = true};
	struct err e = ERR_INIT;
	CHECK_MSG(channel_publish(in_tmp("c"), &file, file ? 1 : 0, &o, NULL, &e) == 0, "%s", e.msg);
}

static struct str unpacked(struct str packed)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	char piece[4096];
	auto_ptr(istream) z = istream_zstd(istream_mem(packed, "zst"));
	for (ssize_t n; (n = istream_read(z, piece, sizeof(piece), &e)) > 0;)
		buf_put(&b, piece, (size_t)n);
	CHECK_MSG(!e.code, "%s", e.msg);
	return arena_str(&a, buf_str(&b));
}

/* The shards of linux-64 as an index, all of them; read through the digests that the shard index has. */
static struct index *index_of_shards(const char *const *names, size_t n)
{
	struct err e = ERR_INIT;
	struct index *ix;
	struct mp m = mp_of(unpacked(read_file("c/linux-64/repodata_shards.msgpack.zst")), "index");
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_ptr(index_builder) b = index_builder_new(dir, "x.idx", STR("linux-64"), &e);
	uint32_t members, count;
	struct str key;
	CHECK_INT(mp_map(&m, &members, &e), 0);
	CHECK_INT(members, 3);
	for (int i = 0; i < 2; i++) { /* version, info */
		CHECK_INT(mp_str(&m, &key, &e), 0);
		CHECK_INT(mp_skip(&m, &e), 0);
	}
	CHECK(mp_str(&m, &key, &e) == 0 && str_eq(key, STR("shards")) && mp_map(&m, &count, &e) == 0);
	CHECK_INT(count, n);
	for (size_t i = 0; i < n; i++) {
		struct mp_token t;
		uint8_t got[SHA256_SIZE];
		char hex[SHA256_HEX_SIZE];
		CHECK(mp_str(&m, &key, &e) == 0 && mp_read(&m, &t, &e) == 0);
		CHECK(str_eq_c(key, names[i]));
		CHECK(t.type == MP_BIN && t.bytes.n == SHA256_SIZE);
		hex_encode((const uint8_t *)t.bytes.p, SHA256_SIZE, hex);
		struct str shard = read_file(arena_printf(&a, "c/linux-64/shards/%s.msgpack.zst", hex));
		sha256(shard.p, shard.n, got);
		CHECK(memcmp(got, t.bytes.p, SHA256_SIZE) == 0);
		CHECK_MSG(index_builder_shard(b, key, unpacked(shard), &e) == 0, "%s", e.msg);
	}
	CHECK(m.p == m.end);
	CHECK(index_builder_finish(b, &e) == 0 && index_open(dir, "x.idx", &ix, &e) == 0);
	return ix;
}

static size_t count_in(const char *folder)
{
	auto_fs_list l = {0};
	struct err e = ERR_INIT;
	CHECK_INT(fs_list(AT_FDCWD, in_tmp(folder), 1000, &l, &e), 0);
	return l.n;
}

TEST(shards_are_made_and_kept_in_step)
{
	static const char old[] =
		"{\"packages\":{\"zz-1-0.tar.bz2\":{\"name\":\"zz\",\"version\":\"1\",\"build\":\"0\",\"build_number\":70000,"
		"\"depends\":[\"tool >=1\"],\"sha256\":\"00000000000000000000000000000000000000000000000000000000000000aa\","
		"\"size\":5000000000,\"x\":[-1,1.5,true,null,{\"y\":200}]}},\"v3\":{\"conda\":{\"zz-2-0\":{\"name\":\"zz\","
		"\"version\":\"2\",\"build\":\"0\"}}},\"removed\":[\"zz-0-0.conda\"]}";
	static const char *const names[] = {"tool", "zz"};
	struct err e = ERR_INIT;
	struct pkg_record r;
	struct ix_pkg p;
	struct channel c = {.url = STR("https://h/c"), .shown = STR("https://h/c")};
	CHECK_INT(fs_mkdirs(AT_FDCWD, in_tmp("c/linux-64"), 0755, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp("c/linux-64/repodata.json"), old, sizeof(old) - 1, 0, &e), 0);
	publish_with_shards(package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "x"));
	auto_ptr(index) ix = index_of_shards(names, 2);
	CHECK_INT(index_info(ix).packages, 3);
	CHECK_INT(index_info(ix).left_out, 0);
	CHECK(index_is_removed(ix, STR("zz-0-0.conda")));
	CHECK(index_find_file(ix, STR("zz-1-0.tar.bz2"), &p));
	CHECK_INT(index_record(ix, p, &c, &a, &r, &e), 0);
	CHECK_INT(r.build_number, 70000);
	CHECK_INT(r.size, 5000000000);
	CHECK(r.has_sha256 && r.sha256[31] == 0xaa && !r.is_v3);
	CHECK(str_eq(r.depends[0], STR("tool >=1")));
	CHECK_MSG(str_eq(r.extra_json, STR("\"x\":[-1,1.5,true,null,{\"y\":200}]")), "%.*s", STR_ARG(r.extra_json));
	CHECK(index_find_file(ix, STR("zz-2-0.conda"), &p) && index_pkg(ix, p).is_v3);
	CHECK_INT(count_in("c/linux-64/shards"), 2);
	struct str before = read_file("c/linux-64/repodata_shards.msgpack.zst");
	publish_with_shards(NULL);
	CHECK(str_eq(before, read_file("c/linux-64/repodata_shards.msgpack.zst")));
	publish_ok(package("tool-1.1-0.tar.bz2", INDEX("1.1", ""), "y")); /* without being asked again */
	auto_ptr(index) next = index_of_shards(names, 2);
	CHECK_INT(index_info(next).packages, 4);
	CHECK_INT(count_in("c/linux-64/shards"), 3); /* that of before stays a day */
}

static void make_old(const char *folder)
{
	struct timespec old[2] = {{1600000000, 0}, {1600000000, 0}};
	auto_fs_list l = {0};
	struct err e = ERR_INIT;
	CHECK_INT(fs_list(AT_FDCWD, in_tmp(folder), 1000, &l, &e), 0);
	auto_fd dir = fs_open_dir(AT_FDCWD, in_tmp(folder), &e);
	for (size_t i = 0; i < l.n; i++)
		CHECK_INT(utimensat(dir, l.name[i], old, 0), 0);
}

/* A shard may have been named for years: what counts is when it was named last. */
TEST(shards_stay_for_a_day_after_the_last_index_that_names_them)
{
	publish_with_shards(package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "x"));
	make_old("c/linux-64/shards");
	publish_ok(package("tool-1.1-0.tar.bz2", INDEX("1.1", ""), "y"));
	CHECK_INT(count_in("c/linux-64/shards"), 2);
	publish_ok(package("tool-1.2-0.tar.bz2", INDEX("1.2", ""), "z"));
	CHECK_INT(count_in("c/linux-64/shards"), 3);
	make_old("c/linux-64/shards");
	publish_ok(package("tool-1.3-0.tar.bz2", INDEX("1.3", ""), "u"));
	CHECK_INT(count_in("c/linux-64/shards"), 2); /* the new one, and that of 1.2 */
}

/* As a power cut leaves them: named, but empty. */
TEST(shards_that_are_not_whole_are_written_again)
{
	auto_fs_list l = {0};
	struct err e = ERR_INIT;
	struct stat st;
	publish_with_shards(package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "x"));
	CHECK_INT(fs_list(AT_FDCWD, in_tmp("c/linux-64/shards"), 10, &l, &e), 0);
	auto_fd dir = fs_open_dir(AT_FDCWD, in_tmp("c/linux-64/shards"), &e);
	CHECK_INT(l.n, 1);
	CHECK_INT(fs_replace(dir, l.name[0], "", 0, 0, &e), 0);
	publish_with_shards(package(
		"other-1.0-0.tar.bz2",
		"{\"name\":\"other\",\"version\":\"1.0\",\"build\":\"0\",\"build_number\":0,\"subdir\":\"linux-64\"}",
		"y"));
	CHECK_INT(fstatat(dir, l.name[0], &st, 0), 0);
	CHECK(st.st_size > 0);
}

/* The newest of each name, with all its builds, and what these need. */
TEST(current_repodata_is_made_anew)
{
#define RECORD(fn, name, version, build, depends)                                                                      \
	"\"" fn "\":{\"name\":\"" name "\",\"version\":\"" version "\",\"build\":\"" build "\",\"depends\":[" depends  \
	"]}"
	static const char old[] =
		"{\"packages\":{" RECORD("lib-1.9-0.tar.bz2", "lib", "1.9", "0", "") ",\"odd\":7},\"packages.conda\":{" RECORD("app-2-0.conda", "app", "2", "0", "\"lib <2\",\"absent\",\"*[\"") "," RECORD(
			"app-1-0.conda", "app", "1", "0",
			"\"lib ==1.0\"") "," RECORD("lib-1.0-0.conda", "lib", "1.0", "0",
						    "") "," RECORD("lib-1.9-1.conda", "lib", "1.9", "1",
								   "\"old\"") "," RECORD("lib-2.0-a.conda", "lib",
											 "2.0", "a",
											 "") "," RECORD("lib-2.0-b.conda",
													"lib", "2.0",
													"b",
													"") "," RECORD("old-1-0.conda",
														       "old",
														       "1",
														       "0",
														       "") "}}";
	struct err e = ERR_INIT;
	CHECK_INT(fs_mkdirs(AT_FDCWD, in_tmp("c/linux-64"), 0755, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp("c/linux-64/repodata.json"), old, sizeof(old) - 1, 0, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp("c/linux-64/current_repodata.json"), "{}", 2, 0, &e), 0);
	publish_ok(package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "x"));
	const struct json *j = metadata("c/linux-64/current_repodata.json");
	const struct json *conda = json_get(j, "packages.conda"), *packages = json_get(j, "packages");
	CHECK(json_get(conda, "app-2-0.conda") && !json_get(conda, "app-1-0.conda"));
	CHECK(json_get(conda, "lib-2.0-a.conda") && json_get(conda, "lib-2.0-b.conda"));
	CHECK(json_get(conda, "lib-1.9-1.conda") && json_get(packages, "lib-1.9-0.tar.bz2")); /* app 2 needs them */
	CHECK(!json_get(conda, "lib-1.0-0.conda"));
	CHECK(json_get(conda, "old-1-0.conda") && json_get(packages, "tool-1.0-0.tar.bz2"));
	CHECK_INT(conda->n, 5);
	CHECK_INT(packages->n, 2);
	CHECK(str_eq(json_get(json_get(j, "info"), "subdir")->string, STR("linux-64")));
}

TEST(new_kinds_of_records_go_under_v3)
{
	struct err e;
	const char *old_spec = package("tool-1.0-0.tar.bz2", INDEX("1.0", ",\"schema_version\":3"), "x");
	CHECK(publish(old_spec, &plain, &e) < 0);
	CHECK_MSG(strstr(e.msg, "in brackets"), "%s", e.msg);
	publish_ok(package(
		"tool-1.0-0.tar.bz2",
		"{\"name\":\"tool\",\"version\":\"1.0\",\"build\":\"0\",\"build_number\":0,\"subdir\":\"linux-64\","
		"\"depends\":[\"lib[version='>=1']\"],\"schema_version\":3}",
		"x"));
	const struct json *j = metadata("c/linux-64/repodata.json");
	CHECK_INT(json_get(j, "packages")->n, 0);
	CHECK(json_get(json_get(json_get(j, "v3"), "tar.bz2"), "tool-1.0-0"));
}

TEST(bad_packages_are_refused)
{
	static const struct {
		const char *fn, *index, *message;
	} cases[] = {
		{"tool-1.1-0.tar.bz2", INDEX("1.0", ""), "its file name says version '1.1', its info/index.json '1.0'"},
		{"tool.tar.bz2", INDEX("1.0", ""), "is not named like a package"},
		{"tool-1.0-0.tar.bz2", "{\"name\":\"tool\"", "info/index.json: offset"},
		{"tool-1.0-0.tar.bz2", "{\"name\":\"tool\"}", "version"},
		{"tool-1.0-0.tar.bz2", "{\"name\":\"tool\",\"version\":\"1.0\",\"build\":\"0\",\"build_number\":0}",
		 "subdir"},
		{"tool-1.0-0.tar.bz2", "{\"name\":\"tool\",\"version\":\"1.0\",\"build\":\"0\",\"build_number\":-1}",
		 "out of range"},
		{"tool-1.0-0.tar.bz2",
		 "{\"name\":\"tool\",\"version\":\"1.0\",\"build\":\"0\",\"build_number\":0,\"subdir\":\"../x\"}",
		 "../x"},
		{"tool-1.0-0.tar.bz2",
		 "{\"name\":\"tool\",\"version\":\"1.0\",\"build\":\"0\",\"build_number\":0,\"depends\":[\"a >=\"]}",
		 "depends"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err e;
		CHECK_MSG(publish(package(cases[i].fn, cases[i].index, "x"), &plain, &e) < 0, "accepted: case %zu", i);
		CHECK_MSG(strstr(e.msg, cases[i].message), "case %zu: %s", i, e.msg);
		CHECK(access(in_tmp("c"), F_OK) < 0); /* nothing has changed */
	}
}

TEST(a_cut_package_is_refused)
{
	const char *path = package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "x");
	struct err e = ERR_INIT;
	struct str bytes = read_file("tool-1.0-0.tar.bz2");
	for (size_t n = 0; n < bytes.n - 60; n += 29) {
		CHECK_INT(fs_replace(AT_FDCWD, path, bytes.p, n, 0, &e), 0);
		CHECK(publish(path, &plain, &e) < 0);
		e = ERR_INIT;
	}
	CHECK(publish(in_tmp("none-1-0.conda"), &plain, &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
}

TEST(a_dry_run_changes_nothing)
{
	struct err e;
	struct channel_publish_opts dry = {.dry_run = true};
	const char *path = package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "x");
	CHECK_INT(publish(path, &dry, &e), 0);
	CHECK(access(in_tmp("c"), F_OK) < 0);
	publish_ok(path);
	CHECK(publish(package("tool-1.0-0.tar.bz2", INDEX("1.0", ""), "other"), &dry, &e) < 0);
	CHECK_INT(e.code, ERR_EXISTS);
}

/* What is published can be opened; both formats, real packages. */
TEST(real_packages)
{
	const char *files[] = {test_shared("data/conda/packages/zlib-1.2.11-h7b6447c_3.conda"),
			       test_shared("data/conda/packages/zlib-1.2.11-h7b6447c_3.tar.bz2"),
			       test_shared("data/conda/packages/ca-certificates-2024.7.4-hbcca054_0.conda"),
			       in_tmp("noarch/zip64-test-1.0.0-0.conda")};
	auto_buf zip64 = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	const char *no_subdir = test_shared("data/conda/packages/zip64-test-1.0.0-0.conda");
	CHECK(channel_publish(in_tmp("c"), &no_subdir, 1, &plain, NULL, &e) < 0);
	CHECK_MSG(strstr(e.msg, "names no 'subdir'"), "%s", e.msg);
	e = ERR_INIT;
	CHECK_INT(fs_read(AT_FDCWD, no_subdir, &zip64, &e), 0);
	CHECK_INT(fs_mkdirs(AT_FDCWD, in_tmp("noarch"), 0755, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, files[3], zip64.p, zip64.n, 0, &e), 0);
	if (channel_publish(in_tmp("c"), files, 4, &plain, NULL, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	const struct json *j = metadata("c/linux-64/repodata.json");
	CHECK_INT(json_get(j, "packages")->n, 1);
	CHECK(json_get(json_get(j, "packages.conda"), "zlib-1.2.11-h7b6447c_3.conda"));
	struct channel_config config = {.cwd = str_c(test_tmp())};
	struct channel_cache cache = {.root_fd = open(test_tmp(), O_RDONLY | O_DIRECTORY), .clock = &clock_system};
	struct channel c;
	struct channel_index *ix;
	size_t n;
	struct str subdirs[] = {STR("linux-64")};
	CHECK_INT(channel_parse(&a, STR("./c"), &config, &c, &e), 0);
	if (channel_open_all(&cache, &c, 1, subdirs, 1, NULL, 0, 0, &a, &ix, &n, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	struct ix_pkg p;
	CHECK(index_find_file(ix[0].index, STR("zlib-1.2.11-h7b6447c_3.conda"), &p));
	CHECK(!index_find_file(ix[0].index, STR("zlib-1.2.11-h7b6447c_3.tar.bz2"), &p));
	index_free(ix[0].index);
}
