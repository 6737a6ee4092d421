// SPDX-License-Identifier: Apache-2.0
/*
 * Channels, for the sweep in channel.sh:
 *
 *	fault_channel ROOT upstream N     ROOT/c is a channel of N packages, and a server's sharded one of N names
 *	fault_channel ROOT refresh        opens both
 *	fault_channel ROOT held N         opens what is held: N packages, all readable
 *	fault_channel ROOT packages       makes ROOT/p1 and ROOT/p2 to publish
 *	fault_channel ROOT publish N      publishes package N into ROOT/d
 *	fault_channel ROOT published N…   ROOT/d lists exactly these packages, each whole
 *	fault_channel ROOT clean          nothing half-made is left
 *
 * Exits 0, or 1 with a message.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "channel/channel.h"
#include "lib/archive.h"

static struct arena a;
static const char *root;
static struct err err;

static const char *in_root(const char *path)
{
	return arena_printf(&a, "%s/%s", root, path);
}

static int say(void)
{
	printf("%s\n", err.msg);
	return 1;
}

static int wrong(const char *what)
{
	printf("%s\n", what);
	return 1;
}

/* -- upstream ---------------------------------------------------------------------------------------------------- */

static int put(const char *path, struct str s)
{
	char *folder = arena_strdup(&a, str_c(in_root(path)));
	*strrchr(folder, '/') = '\0';
	return fs_mkdirs(AT_FDCWD, folder, 0755, &err) < 0 ? -1
							   : fs_replace(AT_FDCWD, in_root(path), s.p, s.n, 0, &err);
}

static void mp_text(struct buf *b, const char *s)
{
	buf_put_char(b, (char)0xd9);
	buf_put_char(b, (char)strlen(s));
	buf_put_c(b, s);
}

static struct str packed(const struct buf *b)
{
	size_t max = ZSTD_compressBound(b->n);
	char *p = arena_alloc(&a, max);
	return str_of(p, ZSTD_compress(p, max, b->p, b->n, 1));
}

/* Name i depends on name i + 1. */
static int put_shard(unsigned i, unsigned n, struct buf *names)
{
	auto_buf b = BUF_INIT(1 << 20);
	const char *name = arena_printf(&a, "n%u", i);
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	buf_put_c(&b, "\x81");
	mp_text(&b, "packages.conda");
	buf_put_c(&b, "\x81");
	mp_text(&b, arena_printf(&a, "%s-1-0.conda", name));
	buf_put_c(&b, "\x84");
	mp_text(&b, "name"), mp_text(&b, name);
	mp_text(&b, "version"), mp_text(&b, "1");
	mp_text(&b, "build"), mp_text(&b, "0");
	mp_text(&b, "depends"), buf_put_c(&b, i + 1 < n ? "\x91" : "\x90");
	if (i + 1 < n)
		mp_text(&b, arena_printf(&a, "n%u", i + 1));
	struct str z = packed(&b);
	sha256(z.p, z.n, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	mp_text(names, name);
	buf_put_c(names, "\xc4\x20");
	buf_put(names, digest, SHA256_SIZE);
	return put(arena_printf(&a, "server/noarch/%s.msgpack.zst", hex), z);
}

static int upstream(unsigned n)
{
	auto_buf json = BUF_INIT(1 << 20), names = BUF_INIT(1 << 20);
	buf_put_c(&json, "{\"packages\":{");
	buf_put_c(&names, "\x82");
	mp_text(&names, "info");
	buf_put_c(&names, "\x80");
	mp_text(&names, "shards");
	buf_put_char(&names, (char)(0x80 | n));
	for (unsigned i = 0; i < n; i++) {
		buf_printf(&json, "%s\"n%u-1-0.tar.bz2\":{\"name\":\"n%u\",\"version\":\"1\",\"build\":\"0\"}",
			   i ? "," : "", i, i);
		if (put_shard(i, n, &names) < 0)
			return say();
	}
	buf_put_c(&json, "}}");
	if (put("c/noarch/repodata.json", buf_str(&json)) < 0 ||
	    put("server/noarch/repodata_shards.msgpack.zst", packed(&names)) < 0)
		return say();
	return 0;
}

/* -- opening ----------------------------------------------------------------------------------------------------- */

/* https://server/ is the folder ROOT/server. */
static int serve(struct channel_fetch *f, struct channel_get *const *gets, size_t n, struct err *e)
{
	(void)f, (void)e;
	for (size_t i = 0; i < n; i++) {
		auto_buf b = BUF_INIT(1 << 20);
		struct err ignored = ERR_INIT;
		gets[i]->state = GET_MISSING;
		if (fs_read(AT_FDCWD, in_root(gets[i]->url + strlen("https://")), &b, &ignored) < 0)
			continue;
		if (pwrite(gets[i]->fd, b.p, b.n, 0) == (ssize_t)b.n)
			gets[i]->state = GET_DONE;
	}
	return 0;
}

static int open_all(int flags, struct channel_index **ret, size_t *n)
{
	struct channel_fetch fetch = {.get = serve};
	struct channel_config config = {.cwd = str_c(root)};
	struct channel channels[2];
	struct str noarch = STR("noarch"), first = STR("n0");
	auto_fd dir = fs_open_dir(AT_FDCWD, root, &err);
	struct channel_cache cache = {.root_fd = dir, .fetch = &fetch, .clock = &clock_system};
	if (dir < 0 || channel_parse(&a, STR("./c"), &config, &channels[0], &err) < 0 ||
	    channel_parse(&a, STR("https://server"), &config, &channels[1], &err) < 0)
		return -1;
	return channel_open_all(&cache, channels, 2, &noarch, 1, &first, 1, flags, &a, ret, n, &err);
}

static int count_all(const struct index *ix, const struct channel *c, unsigned want)
{
	struct index_info info = index_info(ix);
	if (info.packages != want)
		return wrong(arena_printf(&a, "%u packages are held, not %u", info.packages, want));
	for (uint32_t i = 0; i < info.packages; i++) {
		struct pkg_record r;
		if (index_record(ix, (struct ix_pkg){i}, c, &a, &r, &err) < 0)
			return say();
	}
	return 0;
}

static int held(int flags, unsigned want)
{
	struct channel_index *ix;
	size_t n;
	if (open_all(flags, &ix, &n) < 0)
		return say();
	if (n != 2 || !ix[0].index || !ix[1].index)
		return wrong("an index is missing");
	int rc = want && (count_all(ix[0].index, &ix[0].channel, want) || count_all(ix[1].index, &ix[1].channel, want));
	index_free(ix[0].index);
	index_free(ix[1].index);
	return rc;
}

/* -- publishing -------------------------------------------------------------------------------------------------- */

static const char *package_name(unsigned i)
{
	return arena_printf(&a, "p%u-1-0.conda", i);
}

static int make_packages(void)
{
	for (unsigned i = 1; i <= 2; i++) {
		auto_buf info = BUF_INIT(1 << 20), pkg = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
		tar_file(
			&info, "info/index.json", 0644,
			arena_printf(
				&a,
				"{\"name\":\"p%u\",\"version\":\"1\",\"build\":\"0\",\"build_number\":0,\"subdir\":\"noarch\"}",
				i));
		tar_end(&info);
		tar_end(&pkg);
		conda_put(&out, arena_printf(&a, "p%u-1-0", i), buf_str(&info), buf_str(&pkg));
		if (put(package_name(i), buf_str(&out)) < 0)
			return say();
	}
	return 0;
}

static int publish(const char *n)
{
	struct channel_publish_opts o = {.shards = true};
	const char *file = in_root(package_name((unsigned)(n[0] - '0')));
	return channel_publish(in_root("d"), &file, 1, &o, NULL, &err) < 0 ? say() : 0;
}

static int check_published(unsigned i, const struct json *records)
{
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	struct str sha;
	const struct json *r = json_get(records, package_name(i));
	auto_buf b = BUF_INIT(1 << 20);
	if (!r)
		return wrong("a package is not listed");
	if (json_get_str(r, "sha256", &sha, &err) < 0 ||
	    fs_read(AT_FDCWD, in_root(arena_printf(&a, "d/noarch/%s", package_name(i))), &b, &err) < 0)
		return say();
	sha256(b.p, b.n, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	return str_eq_c(sha, hex) ? 0 : wrong("a package is not what its record says");
}

/* Both files of metadata tell of whole packages; the plain one of exactly these. */
static int published(int n, char **which)
{
	auto_buf b = BUF_INIT(1 << 20);
	if (fs_read(AT_FDCWD, in_root("d/noarch/repodata.json"), &b, &err) < 0)
		return n == 0 ? 0 : say();
	const struct json *j = json_parse(&a, arena_str(&a, buf_str(&b)), "repodata.json", &err);
	if (!j)
		return say();
	if (json_get(j, "packages.conda")->n != (uint32_t)n)
		return wrong("other packages are listed");
	for (int i = 0; i < n; i++)
		if (check_published((unsigned)(which[i][0] - '0'), json_get(j, "packages.conda")))
			return 1;
	if (n > 0 && !fs_exists(AT_FDCWD, in_root("d/noarch/repodata_shards.msgpack.zst")))
		return wrong("there are no shards");
	return 0;
}

static int find_temporary(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)ctx, (void)dirfd, (void)st;
	return str_ends(str_c(name), STR(".tmp")) ? err_new(e, ERR_FAILED, "'%s' is left behind", rel) : 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	root = argv[1];
	unsigned n = argc > 3 ? (unsigned)(argv[3][0] - '0') : 0;
	if (strcmp(argv[2], "upstream") == 0)
		return upstream(n);
	if (strcmp(argv[2], "refresh") == 0)
		return held(0, n);
	if (strcmp(argv[2], "held") == 0)
		return held(CHANNEL_OFFLINE, n);
	if (strcmp(argv[2], "packages") == 0)
		return make_packages();
	if (strcmp(argv[2], "publish") == 0)
		return publish(argv[3]);
	if (strcmp(argv[2], "published") == 0)
		return published(argc - 3, argv + 3);
	if (strcmp(argv[2], "clean") == 0)
		return fs_walk(AT_FDCWD, root, find_temporary, NULL, &err) < 0 ? say() : 0;
	return 2;
}
