// SPDX-License-Identifier: Apache-2.0
#include "pair/invitation.h"

#include "base/buf.h"
#include "pair/endpoint.h"

enum { CHECK_SIZE = 4, RAW_SIZE = SHA256_SIZE + INVITATION_SECRET + CHECK_SIZE, CODED_SIZE = RAW_SIZE * 8 / 5 };
_Static_assert(RAW_SIZE % 5 == 0, "no bits are left over");
#define PREFIX "pair1/"
#define AGAIN "copy the whole line that 'slipway pair init' printed"

static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";

/* 5 bytes are 8 letters. */
static void encode(const uint8_t raw[RAW_SIZE], char out[CODED_SIZE + 1])
{
	for (size_t i = 0; i < CODED_SIZE; i++) {
		size_t bit = i * 5, byte = bit / 8;
		unsigned two = (unsigned)raw[byte] << 8 | (byte + 1 < RAW_SIZE ? raw[byte + 1] : 0);
		out[i] = digits[two >> (11 - bit % 8) & 31];
	}
	out[CODED_SIZE] = '\0';
}

static bool decode(struct str text, uint8_t raw[RAW_SIZE])
{
	memset(raw, 0, RAW_SIZE);
	if (text.n != CODED_SIZE)
		return false;
	for (size_t i = 0; i < CODED_SIZE; i++) {
		char c = text.p[i];
		const char *at = memchr(digits, c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c, 32);
		if (!at)
			return false;
		size_t bit = i * 5, byte = bit / 8;
		unsigned two = (unsigned)(at - digits) << (11 - bit % 8);
		raw[byte] |= (uint8_t)(two >> 8);
		if (byte + 1 < RAW_SIZE)
			raw[byte + 1] |= (uint8_t)two;
	}
	return true;
}

static void check_sum(struct str address, const uint8_t raw[RAW_SIZE], uint8_t ret[CHECK_SIZE])
{
	auto_buf b = BUF_INIT(4096);
	uint8_t all[SHA256_SIZE];
	buf_put_c(&b, PREFIX);
	buf_put_str(&b, address);
	buf_put_char(&b, '/');
	buf_put(&b, raw, RAW_SIZE - CHECK_SIZE);
	sha256(b.p, b.n, all);
	memcpy(ret, all, CHECK_SIZE);
}

struct str invitation_text(struct arena *a, const struct invitation *i)
{
	uint8_t raw[RAW_SIZE];
	char coded[CODED_SIZE + 1];
	memcpy(raw, i->fingerprint, SHA256_SIZE);
	memcpy(raw + SHA256_SIZE, i->secret, INVITATION_SECRET);
	check_sum(i->address, raw, raw + RAW_SIZE - CHECK_SIZE);
	encode(raw, coded);
	return str_c(arena_printf(a, PREFIX "%.*s/%s", STR_ARG(i->address), coded));
}

int invitation_parse(struct arena *a, struct str text, struct invitation *ret, struct err *e)
{
	struct str address;
	struct endpoint at;
	uint8_t raw[RAW_SIZE], sum[CHECK_SIZE];
	text = str_trim(text);
	if (text.n > INVITATION_TEXT_MAX || !str_take_str(&text, STR(PREFIX)) || !str_take_until(&text, '/', &address))
		return err_new(e, ERR_USAGE, "that is no invitation; it begins with " PREFIX ": " AGAIN);
	if (!decode(text, raw))
		return err_new(e, ERR_USAGE, "the invitation is not whole; " AGAIN);
	check_sum(address, raw, sum);
	if (memcmp(sum, raw + RAW_SIZE - CHECK_SIZE, CHECK_SIZE) != 0)
		return err_new(e, ERR_USAGE, "the invitation has a slip of the hand in it; " AGAIN);
	if (endpoint_parse(address, &at, e) < 0)
		return err_ctx(e, "invitation");
	ret->address = endpoint_text(a, &at);
	if (!str_eq(ret->address, address))
		return err_new(e, ERR_USAGE, "the invitation was not made by slipway; " AGAIN);
	memcpy(ret->fingerprint, raw, SHA256_SIZE);
	memcpy(ret->secret, raw + SHA256_SIZE, INVITATION_SECRET);
	return 0;
}
