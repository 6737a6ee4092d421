// SPDX-License-Identifier: Apache-2.0
/*
 * Channels of any kind, for the sweeps in NAME.sh of each:
 *
 *	fault_kind KIND publish FOLDER FILE…    publishes
 *	fault_kind KIND drop FOLDER PATH…       takes out
 *	fault_kind KIND check FOLDER N…         walks it: N packages (one of these numbers), and all that is told of is there, whole; by $KEYRING
 *	fault_kind KIND clean FOLDER            nothing half-made is left
 *	fault_kind KIND small FOLDER FROM SPEC…  makes a small channel of another one, and prunes it
 *
 * Exits 0, or 1 with a message.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "channel/channel.h"
#include "mirror/mirror.h"

static struct arena a;
static struct err err;

static int say(void)
{
	printf("%s\n", err.msg);
	return 1;
}

struct check {
	int dir;
	unsigned packages;
};

/* An index of Debian's is asked for by its digest: by its name it may be the next one already. (Not so with PLAIN: by names alone.) */
static int read_by_hash(int dir, const char *path, const struct digest_value *v, struct buf *b, struct err *e)
{
	char hex[2 * DIGEST_MAX + 1];
	const char *slash = strrchr(path, '/');
	if (!slash || v->kind != DIGEST_SHA256)
		return -1;
	hex_encode(v->bytes, SHA256_SIZE, hex);
	buf_clear(b);
	return fs_read(dir, arena_printf(&a, "%.*s/by-hash/SHA256/%s", (int)(slash - path), path, hex), b, e);
}

static bool is_it(const struct channel_item *i, const struct buf *b)
{
	uint8_t got[DIGEST_MAX];
	if (i->size && i->size != b->n)
		return false;
	if (!i->digest.known)
		return true;
	auto_ptr(digest) d = digest_new(i->digest.kind);
	digest_update(d, b->p, b->n);
	return memcmp(got, i->digest.bytes, digest_final(d, got)) == 0;
}

static int check_item(void *ctx, const struct channel_item *i, struct err *e)
{
	struct check *c = ctx;
	auto_buf b = BUF_INIT(1 << 24);
	const char *path = arena_strdup(&a, i->path);
	c->packages += i->what == CHANNEL_FILE_PACKAGE;
	struct err cause = ERR_INIT;
	if (fs_read(c->dir, path, &b, &cause) < 0)
		return i->optional ? 0 : err_new(e, ERR_NOT_FOUND, "'%s' is told of: %s", path, cause.msg);
	if (!is_it(i, &b) &&
	    (getenv("PLAIN") || read_by_hash(c->dir, path, &i->digest, &b, &cause) < 0 || !is_it(i, &b)))
		return err_new(e, ERR_VERIFY, "'%s' is another one", path);
	return 0;
}

static int check(const struct channel_kind *k, const char *folder, char **wanted)
{
	static const struct str stable = {"stable", 6};
	struct channel_walk_opts o = {.suites = &stable, .suites_n = 1, .keyring = getenv("KEYRING")};
	struct channel_walk *w = NULL;
	auto_fd dir = fs_open_dir(AT_FDCWD, folder, &err);
	struct check c = {.dir = dir};
	int rc = dir < 0 || channel_walk_new(k, dir, &o, &w, &err) < 0 ? -1 : 1;
	while (rc > 0)
		rc = channel_walk_next(w, check_item, &c, &err);
	channel_walk_free(w);
	if (rc < 0)
		return say();
	for (; *wanted; wanted++)
		if (c.packages == (unsigned)(**wanted - '0'))
			return 0;
	printf("%u packages are listed\n", c.packages);
	return 1;
}

static int find_temporary(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)ctx, (void)dirfd, (void)st;
	bool left = str_ends(str_c(name), STR(".tmp")) || str_ends(str_c(name), STR(".part")) ||
		    str_eq(str_c(name), STR(".slipway.new"));
	return left ? err_new(e, ERR_FAILED, "'%s' is left behind", rel) : 0;
}

static int drop(const struct channel_kind *k, const char *folder, char **paths, size_t n)
{
	struct channel_make_opts o = {0};
	struct str *v = arena_array(&a, struct str, n + 1);
	for (size_t i = 0; i < n; i++)
		v[i] = str_c(paths[i]);
	return channel_kind_remove(k, folder, v, n, CHANNEL_DROP, STR_NONE, &o, &err) < 0 ? say() : 0;
}

static int small(const struct channel_kind *k, const char *folder, char **words, size_t n)
{
	struct mirror_small_line *lines = arena_array(&a, struct mirror_small_line, n);
	struct mirror_small_opts o = {.kind = k,
				      .from = words[0],
				      .to = folder,
				      .file = "specs",
				      .lines = lines,
				      .lines_n = n - 1,
				      .prune = true};
	struct mirror_small_result r;
	struct str *specs = arena_array(&a, struct str, n);
	o.make.now_ms = 1700000000000;
	for (size_t i = 0; i + 1 < n; i++) {
		specs[i] = str_c(words[i + 1]);
		lines[i] = (struct mirror_small_line){specs[i], &specs[i], 1, i + 1};
	}
	if (mirror_small(&o, &a, &r, &err) < 0)
		return say();
	return r.unsolved || r.unlike ? 1 : 0;
}

int main(int argc, char **argv)
{
	const struct channel_kind *k = argc > 3 ? channel_kind(str_c(argv[1])) : NULL;
	struct channel_make_opts o = {.now_ms = 1700000000000};
	if (!k)
		return 2;
	if (strcmp(argv[2], "publish") == 0)
		return channel_kind_publish(k, argv[3], (const char *const *)argv + 4, (size_t)argc - 4, &o, NULL,
					    &err) < 0
			       ? say()
			       : 0;
	if (strcmp(argv[2], "drop") == 0)
		return drop(k, argv[3], argv + 4, (size_t)argc - 4);
	if (strcmp(argv[2], "check") == 0)
		return check(k, argv[3], argv + 4);
	if (strcmp(argv[2], "small") == 0 && argc > 5)
		return small(k, argv[3], argv + 4, (size_t)argc - 4);
	if (strcmp(argv[2], "clean") == 0)
		return fs_walk(AT_FDCWD, argv[3], find_temporary, NULL, &err) < 0 ? say() : 0;
	return 2;
}
