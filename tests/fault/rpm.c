// SPDX-License-Identifier: Apache-2.0
/*
 * Channels of RPM packages, for tests/fault/rpm.sh and tests/cli/channel-rpm.sh:
 *
 *	fault_rpm publish FOLDER FILE…		$SIGN: "HOME KEY"; $NOW: milliseconds; $REPLACE, $DRY: said
 *	fault_rpm remove|drop FOLDER PATH…
 *	fault_rpm rewrite FROM TO NAME…		of names with globs; $ARCH: architectures
 *	fault_rpm walk FOLDER [NAME…]		prints what it is told; $ARCH, $SOURCES, $KEYRING
 *	fault_rpm package FILE NAME VERSION	makes a package
 *	fault_rpm key HOME KEYRING		makes a key, prints its fingerprint
 *	fault_rpm check FOLDER			the metadata are whole, and so is each package that they list
 *	fault_rpm clean FOLDER			nothing half-made is left
 *
 * Exits 0, or 1 with a message.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/vec.h"
#include "channel/channel.h"
#include "lib/rpm.h"

static struct arena a;
static struct err err;
static const struct channel_kind *rpm;

static int say(void)
{
	printf("%s\n", err.msg);
	return 1;
}

static struct channel_make_opts make_opts(void)
{
	static struct channel_signer signer;
	struct str sign = str_c(getenv("SIGN")), home;
	struct channel_make_opts o = {.dry_run = getenv("DRY"), .replace = getenv("REPLACE")};
	(void)str_to_i64(str_c(getenv("NOW")), &o.now_ms);
	if (str_take_until(&sign, ' ', &home)) {
		signer = (struct channel_signer){arena_strdup(&a, home), sign.p};
		o.signer = &signer;
	}
	return o;
}

static struct channel_walk_opts walk_opts(char **names, int n)
{
	static VEC(struct str) list, arch;
	struct str words = str_c(getenv("ARCH")), word;
	for (int i = 0; i < n; i++)
		vec_push(&list, str_c(names[i]));
	while (str_take_word(&words, &word))
		vec_push(&arch, word);
	return (struct channel_walk_opts){.names = list.v,
					  .names_n = list.n,
					  .platforms = arch.v,
					  .platforms_n = arch.n,
					  .sources = getenv("SOURCES"),
					  .keyring = getenv("KEYRING")};
}

static int take_out(const char *folder, char **paths, int n, enum channel_removal how)
{
	VEC(struct str) list = {0};
	struct channel_make_opts o = make_opts();
	for (int i = 0; i < n; i++)
		vec_push(&list, str_c(paths[i]));
	int rc = channel_kind_remove(rpm, folder, list.v, list.n, how, STR_NONE, &o, &err);
	vec_release(&list);
	return rc;
}

static int rewrite(const char *from, const char *to, char **names, int n)
{
	struct channel_make_opts o = make_opts();
	struct channel_walk_opts w = walk_opts(names, n);
	w.sources = true;
	auto_fd dir = fs_open_dir(AT_FDCWD, from, &err);
	return dir < 0 ? -1 : channel_kind_rewrite(rpm, dir, &w, to, &o, NULL, NULL, &err);
}

/* -- walking ------------------------------------------------------------------------------------------------------- */

static int print_item(void *ctx, const struct channel_item *i, struct err *e)
{
	char hex[2 * DIGEST_MAX + 1] = "-";
	(void)ctx, (void)e;
	if (i->digest.known)
		hex_encode(i->digest.bytes, digest_size(i->digest.kind), hex);
	printf("%d %.*s %llu %s%s %.*s %.*s %.*s %.*s\n", (int)i->what, STR_ARG(i->path), (unsigned long long)i->size,
	       hex, i->optional ? " optional" : "", STR_ARG(i->name), STR_ARG(i->version), STR_ARG(i->platform),
	       STR_ARG(i->url));
	return 0;
}

static int check_item(void *ctx, const struct channel_item *i, struct err *e)
{
	uint8_t got[SHA256_SIZE];
	const int *dir = ctx;
	if (i->optional || i->what == CHANNEL_FILE_POINTER)
		return 0;
	auto_fd fd = openat(*dir, arena_strdup(&a, i->path), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "listed: '%.*s'", STR_ARG(i->path));
	if (sha256_fd(fd, got, e) < 0)
		return -1;
	if (memcmp(got, i->digest.bytes, SHA256_SIZE) != 0)
		return err_new(e, ERR_VERIFY, "'%.*s' is not what is listed", STR_ARG(i->path));
	return 0;
}

static int walk(const char *folder, const struct channel_walk_opts *o, channel_item_fn *fn)
{
	int rc;
	auto_ptr(channel_walk) w = NULL;
	auto_fd dir = fs_open_dir(AT_FDCWD, folder, &err);
	if (dir < 0 || channel_walk_new(rpm, dir, o, &w, &err) < 0)
		return -1;
	while ((rc = channel_walk_next(w, fn, &dir, &err)) > 0)
		;
	return rc;
}

static int find_temporary(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)ctx, (void)dirfd, (void)st;
	return str_ends(str_c(name), STR(".tmp")) || str_starts(str_c(name), STR(".slipway.new"))
		       ? err_new(e, ERR_FAILED, "'%s' is left behind", rel)
		       : 0;
}

static int check(const char *folder)
{
	struct channel_walk_opts o = walk_opts(NULL, 0);
	o.sources = true;
	return walk(folder, &o, check_item);
}

static int make_package(const char *path, const char *name, const char *version)
{
	struct rpm_made r = {0};
	auto_buf file = BUF_INIT(BUF_MAX);
	rpm_made_named(&r, name, version, "noarch");
	rpm_made_put(&file, &r, str_c(version));
	rpm_made_release(&r);
	return fs_replace(AT_FDCWD, path, file.p, file.n, 0, &err);
}

static int make_key(const char *home, const char *keyring)
{
	char key[CHANNEL_KEY_SIZE];
	auto_buf text = BUF_INIT(1 << 20);
	if (channel_key_make(home, STR("Test <test@example>"), CHANNEL_KEY_RSA, key, &err) < 0)
		return -1;
	const struct channel_signer s = {home, key};
	if (channel_key_export(&s, true, &text, &err) < 0 || fs_replace(AT_FDCWD, keyring, text.p, text.n, 0, &err) < 0)
		return -1;
	printf("%s\n", key);
	return 0;
}

int main(int argc, char **argv)
{
	rpm = channel_kind(STR("rpm"));
	if (argc < 3 || !rpm)
		return 2;
	const char *operation = argv[1], *folder = argv[2];
	char **words = argv + 3;
	int n = argc - 3, rc = 2;
	struct channel_make_opts o = make_opts();
	if (strcmp(operation, "publish") == 0)
		rc = channel_kind_publish(rpm, folder, (const char *const *)words, (size_t)n, &o, NULL, &err);
	else if (strcmp(operation, "remove") == 0 || strcmp(operation, "drop") == 0)
		rc = take_out(folder, words, n, operation[0] == 'd' ? CHANNEL_DROP : CHANNEL_YANK);
	else if (strcmp(operation, "rewrite") == 0 && n > 0)
		rc = rewrite(folder, words[0], words + 1, n - 1);
	else if (strcmp(operation, "check") == 0)
		rc = check(folder);
	else if (strcmp(operation, "key") == 0 && n == 1)
		rc = make_key(folder, words[0]);
	else if (strcmp(operation, "package") == 0 && n == 2)
		rc = make_package(folder, words[0], words[1]);
	else if (strcmp(operation, "clean") == 0)
		rc = fs_walk(AT_FDCWD, folder, find_temporary, NULL, &err);
	else if (strcmp(operation, "walk") == 0) {
		struct channel_walk_opts w = walk_opts(words, n);
		rc = walk(folder, &w, print_item);
	}
	arena_release(&a);
	return rc < 0 ? say() : rc;
}
