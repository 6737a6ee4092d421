// SPDX-License-Identifier: Apache-2.0
/*
 * A Debian archive, for the sweep in deb.sh:
 *
 *	fault_deb ROOT packages       makes ROOT/1.deb, 2.deb … to publish, and where there is none the key ROOT/../key
 *	fault_deb ROOT publish N…     publishes them into ROOT/d, signed
 *	fault_deb ROOT remove N       takes one out again, its file too
 *	fault_deb ROOT published N…   what InRelease, whose signature is good, names is there and whole: exactly these packages
 *	fault_deb ROOT clean          nothing half-made is left
 *
 * Exits 0, or 1 with a message.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "channel/deb.h"
#include "lib/deb.h"

static struct arena a;
static const char *root;
static struct err err;
static char key[CHANNEL_KEY_SIZE];
static struct channel_signer signer = {.key = key};

static const char *in_root(const char *path)
{
	return arena_printf(&a, "%s/%s", root, path);
}

static int say(void)
{
	printf("%s\n", err.msg);
	return 1;
}

static int packages(void)
{
	int rc = channel_key_find(signer.home, key, &err);
	if (rc < 0 || (rc == 0 && channel_key_make(signer.home, STR("Sweep"), CHANNEL_KEY_ED25519, key, &err) < 0))
		return say();
	auto_buf ring = BUF_INIT(1 << 20);
	if (channel_key_export(&signer, false, &ring, &err) < 0 ||
	    fs_replace(AT_FDCWD, in_root("key.gpg"), ring.p, ring.n, 0, &err) < 0)
		return say();
	for (int i = 1; i < 4; i++) {
		auto_buf b = BUF_INIT(1 << 20);
		/* the second is for all architectures: both indexes change */
		deb_put(&b, str_c(arena_printf(&a, "Package: p%d\nVersion: 1\nArchitecture: %s\nDescription: x\n", i,
					       i == 2 ? "all" : "amd64")));
		if (fs_replace(AT_FDCWD, in_root(arena_printf(&a, "%d.deb", i)), b.p, b.n, 0, &err) < 0)
			return say();
	}
	return 0;
}

static int publish(char **which, int n)
{
	const struct channel_make_opts o = {.signer = &signer};
	const char *files[4];
	for (int i = 0; i < n && i < 4; i++)
		files[i] = in_root(arena_printf(&a, "%s.deb", which[i]));
	if (channel_key_find(signer.home, key, &err) != 1 ||
	    channel_kind_publish(&kind_deb, in_root("d"), files, (size_t)n, &o, NULL, &err) < 0)
		return say();
	return 0;
}

static const char *pool_of(const char *which)
{
	return arena_printf(&a, "pool/main/p/p%s/p%s_1_%s.deb", which, which, which[0] == '2' ? "all" : "amd64");
}

static int take_out(const char *which)
{
	const struct channel_make_opts o = {.signer = &signer};
	struct str path = str_c(pool_of(which));
	if (channel_key_find(signer.home, key, &err) != 1 ||
	    channel_kind_remove(&kind_deb, in_root("d"), &path, 1, CHANNEL_DROP, STR_NONE, &o, &err) < 0)
		return say();
	return 0;
}

static bool is_whole(const struct channel_item *item)
{
	uint8_t sum[SHA256_SIZE];
	struct stat st;
	auto_fd fd = open(in_root(arena_printf(&a, "d/%.*s", STR_ARG(item->path))), O_RDONLY | O_CLOEXEC);
	return fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size == item->size && sha256_fd(fd, sum, &err) == 0 &&
	       memcmp(sum, item->digest.bytes, SHA256_SIZE) == 0;
}

/* By its digest every index is there, at any time; under its own name it may be a newer one, for a moment. */
static int tell(void *ctx, const struct channel_item *item, struct err *e)
{
	struct buf *b = ctx;
	if (item->what == CHANNEL_FILE_POINTER || item->copy_of.p)
		return 0;
	if (!is_whole(item))
		return err_new(e, ERR_VERIFY, "'%.*s' is not there or not whole", STR_ARG(item->path));
	if (item->what == CHANNEL_FILE_PACKAGE && str_eq_c(item->platform, "amd64"))
		buf_printf(b, "%.*s ", STR_ARG(item->name));
	else if (item->what == CHANNEL_FILE_PACKAGE)
		buf_printf(b, "(%.*s) ", STR_ARG(item->name));
	return 0;
}

/* amd64's index comes after that of all, which has p2 alone. */
static int published(char **which, int n)
{
	const struct channel_walk_opts o = {.keyring = in_root("key.gpg")};
	auto_buf got = BUF_INIT(1 << 16), want = BUF_INIT(1 << 16);
	auto_ptr(channel_walk) w = NULL;
	int rc;
	auto_fd dir = open(in_root("d"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (n == 0 && (dir < 0 || !fs_exists(dir, "dists/stable/InRelease")))
		return 0;
	if (channel_walk_new(&kind_deb, dir, &o, &w, &err) < 0)
		return say();
	while ((rc = channel_walk_next(w, tell, &got, &err)) > 0)
		;
	if (rc < 0)
		return say();
	for (int twice = 0; twice < 2; twice++)
		for (int i = 0; i < n; i++)
			if (which[i][0] == '2' || twice)
				buf_printf(&want, which[i][0] == '2' ? "(p%s) " : "p%s ", which[i]);
	if (str_eq(buf_str(&got), buf_str(&want)))
		return 0;
	printf("published are '%s', not '%s'\n", got.p, want.p);
	return 1;
}

static int find_left(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)ctx, (void)dirfd, (void)name, (void)st;
	return strstr(rel, ".new") || strstr(rel, ".tmp") ? err_new(e, ERR_FAILED, "'%s' is left", rel) : 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	root = argv[1];
	signer.home = in_root("../key");
	if (strcmp(argv[2], "packages") == 0)
		return packages();
	if (strcmp(argv[2], "publish") == 0)
		return publish(argv + 3, argc - 3);
	if (strcmp(argv[2], "remove") == 0)
		return take_out(argv[3]);
	if (strcmp(argv[2], "published") == 0)
		return published(argv + 3, argc - 3);
	return fs_walk(AT_FDCWD, in_root("d"), find_left, NULL, &err) < 0 ? say() : 0;
}
