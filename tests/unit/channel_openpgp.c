// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/proc.h"
#include "channel/openpgp.h"

static struct err e;

static const char *in_tmp(const char *name)
{
	static char path[4][512];
	static int turn;
	char *p = path[turn++ % 4];
	CHECK_INT(mkdir(test_tmp(), 0700) == 0 || errno == EEXIST, 1);
	snprintf(p, sizeof(path[0]), "%s/%s", test_tmp(), name);
	return p;
}

static char key[CHANNEL_KEY_SIZE];

static const char *home_with_key(const char *name, enum channel_key_kind kind)
{
	const char *home = in_tmp(name);
	CHECK_MSG(channel_key_make(home, STR("Tests <tests@example.org>"), kind, key, &e) == 0, "%s", e.msg);
	CHECK_INT(strlen(key), 40);
	return home;
}

static void export_to(const char *home, bool armored, const char *path)
{
	auto_buf b = BUF_INIT(1 << 20);
	const struct channel_signer s = {home, key};
	CHECK_MSG(channel_key_export(&s, armored, &b, &e) == 0, "%s", e.msg);
	CHECK_INT(fs_replace(AT_FDCWD, path, b.p, b.n, 0, &e), 0);
}

static void sign(const char *home, enum openpgp_form form, struct str text, struct buf *ret)
{
	auto_ptr(openpgp) g = NULL;
	CHECK_MSG(openpgp_open(home, &g, &e) == 0, "%s", e.msg);
	CHECK_MSG(openpgp_sign(g, key, form, text, ret, &e) == 0, "%s", e.msg);
}

#define TEXT "Origin: tests\n- dash\n\n -----BEGIN\nlast\n"

static void there_and_back(enum channel_key_kind kind)
{
	const char *home = home_with_key("home", kind);
	const char *armored = in_tmp("key.asc"), *binary = in_tmp("key.gpg");
	export_to(home, true, armored);
	export_to(home, false, binary);
	auto_buf clear = BUF_INIT(1 << 20), detached = BUF_INIT(1 << 20), got = BUF_INIT(1 << 20);
	sign(home, OPENPGP_CLEAR, STR(TEXT), &clear);
	sign(home, OPENPGP_DETACHED, STR(TEXT), &detached);
	CHECK_MSG(openpgp_check_clear(armored, buf_str(&clear), "InRelease", &got, &e) == 0, "%s", e.msg);
	CHECK_STR(got.p, TEXT);
	buf_clear(&got);
	CHECK_MSG(openpgp_check_clear(binary, buf_str(&clear), "InRelease", &got, &e) == 0, "%s", e.msg);
	CHECK_STR(got.p, TEXT);
	buf_clear(&got);
	CHECK_MSG(openpgp_check_clear(NULL, buf_str(&clear), "InRelease", &got, &e) == 0, "%s", e.msg);
	CHECK_STR(got.p, TEXT);
	CHECK(str_starts(buf_str(&detached), STR("-----BEGIN PGP SIGNATURE-----\n")));
	CHECK_MSG(openpgp_check_detached(armored, STR(TEXT), buf_str(&detached), "Release", &e) == 0, "%s", e.msg);
	CHECK_INT(openpgp_check_detached(binary, STR("other\n"), buf_str(&detached), "Release", &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
}

TEST(rsa_signs_and_is_checked)
{
	there_and_back(CHANNEL_KEY_RSA);
}

TEST(ed25519_signs_and_is_checked)
{
	there_and_back(CHANNEL_KEY_ED25519);
}

static void refused(const char *ring, struct str text)
{
	auto_buf got = BUF_INIT(1 << 20);
	struct err why = ERR_INIT;
	CHECK_INT(openpgp_check_clear(ring, text, "InRelease", &got, &why), -1);
	CHECK_INT(why.code, ERR_VERIFY);
	CHECK_INT(got.n, 0);
}

TEST(changed_messages_are_refused)
{
	const char *home = home_with_key("home", CHANNEL_KEY_ED25519), *ring = in_tmp("key.gpg");
	export_to(home, false, ring);
	auto_buf clear = BUF_INIT(1 << 20), two = BUF_INIT(1 << 20);
	sign(home, OPENPGP_CLEAR, STR(TEXT), &clear);
	buf_put_c(&two, "unsigned\n");
	buf_put_str(&two, buf_str(&clear));
	refused(ring, buf_str(&two)); /* before it */
	buf_clear(&two);
	buf_put_str(&two, buf_str(&clear));
	buf_put_c(&two, "unsigned\n");
	refused(ring, buf_str(&two)); /* after it */
	buf_clear(&two);
	buf_put_str(&two, buf_str(&clear));
	buf_put_str(&two, buf_str(&clear));
	refused(ring, buf_str(&two)); /* twice */
	refused(ring, STR("Origin: tests\n"));
	refused(ring, STR(""));
	refused(ring, str_head(buf_str(&clear), clear.n - 30));
	clear.p[strlen("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOri")] ^= 1;
	refused(ring, buf_str(&clear));
}

TEST(the_key_must_be_in_the_keyring)
{
	const char *home = home_with_key("home", CHANNEL_KEY_ED25519);
	auto_buf clear = BUF_INIT(1 << 20);
	sign(home, OPENPGP_CLEAR, STR(TEXT), &clear);
	const char *other = home_with_key("other", CHANNEL_KEY_ED25519), *ring = in_tmp("other.gpg");
	export_to(other, false, ring);
	refused(ring, buf_str(&clear));
	CHECK_INT(openpgp_check_clear(in_tmp("none"), buf_str(&clear), "InRelease", &clear, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(fs_replace(AT_FDCWD, ring, "what\n", 5, 0, &e), 0);
	CHECK_INT(openpgp_check_clear(ring, buf_str(&clear), "InRelease", &clear, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
}

TEST(homes_and_their_keys)
{
	char found[CHANNEL_KEY_SIZE];
	CHECK_INT(channel_key_find(in_tmp("none"), found, &e), 0);
	CHECK_INT(mkdir(in_tmp("empty"), 0700), 0);
	CHECK_INT(channel_key_find(in_tmp("empty"), found, &e), 0);
	/* longer than the address of a socket can be */
	const char *home = home_with_key("a-folder-whose-name-is-so-long/that-the-socket-of-the-agent-would-not/"
					 "have-room-for-its-path/and-so-has-this-one-that-is-long/keys",
					 CHANNEL_KEY_ED25519);
	CHECK(strlen(home) > 108);
	CHECK_INT(channel_key_find(home, found, &e), 1);
	CHECK_STR(found, key);
	CHECK_INT(channel_key_make(home, STR("Tests again"), CHANNEL_KEY_RSA, found, &e), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	auto_buf clear = BUF_INIT(1 << 20);
	sign(home, OPENPGP_CLEAR, STR(TEXT), &clear);
	CHECK_INT(chmod(home, 0755), 0);
	CHECK_INT(channel_key_find(home, found, &e), -1);
	CHECK_INT(e.code, ERR_USAGE);
	CHECK_INT(channel_key_make(in_tmp("new"), STR("a\nb line"), CHANNEL_KEY_RSA, found, &e), -1);
	CHECK_INT(e.code, ERR_USAGE);
}

TEST(no_agent_is_left_behind)
{
	auto_buf out = BUF_INIT(1 << 20);
	const char *home = home_with_key("home", CHANNEL_KEY_ED25519);
	struct proc_opts o = {.argv = (const char *const[]){"gpg-connect-agent", "--homedir", home, "--no-autostart",
							    "GETINFO pid", "/bye", NULL},
			      .out = &out,
			      .errout = &out};
	/* it ends a moment after it was told to */
	bool runs = true;
	for (int i = 0; runs && i < 100; i++) {
		buf_clear(&out);
		CHECK(proc_run(&o, &e) >= 0);
		runs = str_search(buf_str(&out), STR("no gpg-agent running")) < 0;
		if (runs)
			poll(NULL, 0, 50);
	}
	CHECK_MSG(!runs, "%s", out.p);
}
