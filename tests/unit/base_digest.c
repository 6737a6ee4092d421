// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "base/digest.h"

#include <fcntl.h>

static const char *hex(const uint8_t *p, size_t n)
{
	static char out[2 * DIGEST_MAX + 1];
	hex_encode(p, n, out);
	return out;
}

/* the examples of FIPS 180 and RFC 1321 */
static const char sha_abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char sha_empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(sha256_of_known_texts)
{
	uint8_t out[SHA256_SIZE];
	sha256("abc", 3, out);
	CHECK_STR(hex(out, sizeof(out)), sha_abc);
	sha256("", 0, out);
	CHECK_STR(hex(out, sizeof(out)), sha_empty);
}

TEST(streaming_in_pieces_and_reset)
{
	uint8_t out[DIGEST_MAX];
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	digest_update(d, "xyz", 3);
	digest_reset(d);
	digest_update(d, "a", 1);
	digest_update(d, "", 0);
	digest_update(d, "bc", 2);
	CHECK_INT(digest_final(d, out), SHA256_SIZE);
	CHECK_STR(hex(out, SHA256_SIZE), sha_abc);
}

TEST(md5_of_known_text)
{
	uint8_t out[DIGEST_MAX];
	auto_ptr(digest) d = digest_new(DIGEST_MD5);
	digest_update(d, "abc", 3);
	CHECK_INT(digest_final(d, out), MD5_SIZE);
	CHECK_STR(hex(out, MD5_SIZE), "900150983cd24fb0d6963f7d28e17f72");
}

TEST(sha1_and_sha512_of_known_texts)
{
	uint8_t out[DIGEST_MAX];
	auto_ptr(digest) sha1 = digest_new(DIGEST_SHA1);
	digest_update(sha1, "abc", 3);
	CHECK_INT(digest_final(sha1, out), SHA1_SIZE);
	CHECK_STR(hex(out, SHA1_SIZE), "a9993e364706816aba3e25717850c26c9cd0d89d");
	auto_ptr(digest) sha512 = digest_new(DIGEST_SHA512);
	digest_update(sha512, "abc", 3);
	CHECK_INT(digest_final(sha512, out), SHA512_SIZE);
	CHECK_STR(hex(out, SHA512_SIZE), "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
					 "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
}

TEST(a_told_digest_is_exactly_its_kinds_hex)
{
	struct digest_value v;
	CHECK(digest_parse(DIGEST_SHA256, str_c(sha_abc), &v));
	CHECK(v.known);
	CHECK_STR(hex(v.bytes, SHA256_SIZE), sha_abc);
	CHECK(digest_parse(DIGEST_MD5, STR("900150983CD24FB0D6963F7D28E17F72"), &v));
	CHECK_STR(hex(v.bytes, MD5_SIZE), "900150983cd24fb0d6963f7d28e17f72");
	CHECK(!digest_parse(DIGEST_SHA256, STR("900150983cd24fb0d6963f7d28e17f72"), &v));
	CHECK(!digest_parse(DIGEST_MD5, STR("g00150983cd24fb0d6963f7d28e17f72"), &v));
	CHECK(!digest_parse(DIGEST_MD5, STR(""), &v));
}

TEST(file_is_read_from_its_start)
{
	uint8_t out[SHA256_SIZE];
	struct err e = ERR_INIT;
	char path[256];
	snprintf(path, sizeof(path), "%s/f", test_tmp());
	auto_fd fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_INT(write(fd, "abc", 3), 3);
	CHECK_INT(sha256_fd(fd, out, &e), 0);
	CHECK_STR(hex(out, sizeof(out)), sha_abc);
	CHECK_INT(sha256_fd(-1, out, &e), -1);
	CHECK_INT(e.sys, EBADF);
}

TEST(digest_free_accepts_null)
{
	digest_free(NULL);
}
