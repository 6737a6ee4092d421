// SPDX-License-Identifier: Apache-2.0
/* The line that a person carries from the mirror to a new client. */
#include "mirror/code.h"

#include "base/buf.h"
#include "base/digest.h"

enum { NUMBER_SIZE = 3, CHECK_SIZE = 2, GROUP = 6, RAW_SIZE = CODE_PIN + NUMBER_SIZE + CODE_SECRET + CHECK_SIZE };
enum { CODED_SIZE = RAW_SIZE * 8 / 5 };
_Static_assert(RAW_SIZE % 5 == 0 && CODED_SIZE % GROUP == 0, "no bits and no digits are left over");
#define PURPOSE "slipway enrolment code 1\n"
#define AGAIN "copy the whole code that 'slipway mirror enroll' printed"

/* Crockford's: no i, l, o, which look like others, and no u. */
static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		c = (char)(c - 'A' + 'a');
	if (c == 'o')
		c = '0';
	if (c == 'i' || c == 'l')
		c = '1';
	const char *at = c ? memchr(digits, c, 32) : NULL;
	return at ? (int)(at - digits) : -1;
}

/* 1; 0: it is skipped; -1: it is no part of a code. */
static int is_digit(char c)
{
	if (c == '-' || c == ' ' || c == '\t' || c == '\n' || c == '\r')
		return 0;
	return value_of(c) >= 0 ? 1 : -1;
}

static void check_sum(const uint8_t raw[RAW_SIZE], uint8_t ret[CHECK_SIZE])
{
	auto_buf b = BUF_INIT(256);
	uint8_t all[SHA256_SIZE];
	buf_put_c(&b, PURPOSE);
	buf_put(&b, raw, RAW_SIZE - CHECK_SIZE);
	sha256(b.p, b.n, all);
	memcpy(ret, all, CHECK_SIZE);
}

struct str code_text(struct arena *a, const struct code *c)
{
	uint8_t raw[RAW_SIZE + 1] = {0}; /* one more, so that two can be read at each place */
	auto_buf b = BUF_INIT(CODE_TEXT_MAX);
	uint8_t *p = raw;
	memcpy(p, c->pin, CODE_PIN);
	p += CODE_PIN;
	p[0] = (uint8_t)(c->number >> 16);
	p[1] = (uint8_t)(c->number >> 8);
	p[2] = (uint8_t)c->number;
	memcpy(p + NUMBER_SIZE, c->secret, CODE_SECRET);
	check_sum(raw, raw + RAW_SIZE - CHECK_SIZE);
	for (size_t i = 0; i < CODED_SIZE; i++) {
		size_t bit = i * 5;
		unsigned two = (unsigned)raw[bit / 8] << 8 | raw[bit / 8 + 1];
		if (i && i % GROUP == 0)
			buf_put_char(&b, '-');
		buf_put_char(&b, digits[two >> (11 - bit % 8) & 31]);
	}
	return arena_str(a, buf_str(&b));
}

static bool decode(struct str text, uint8_t raw[RAW_SIZE])
{
	uint8_t out[RAW_SIZE + 1] = {0};
	size_t n = 0;
	for (size_t i = 0; i < text.n; i++) {
		int is = is_digit(text.p[i]);
		if (is < 0 || (is && n == CODED_SIZE))
			return false;
		if (!is)
			continue;
		size_t bit = n++ * 5;
		unsigned two = (unsigned)value_of(text.p[i]) << (11 - bit % 8);
		out[bit / 8] |= (uint8_t)(two >> 8);
		out[bit / 8 + 1] |= (uint8_t)two;
	}
	memcpy(raw, out, RAW_SIZE);
	return n == CODED_SIZE;
}

int code_parse(struct str text, struct code *ret, struct err *e)
{
	uint8_t raw[RAW_SIZE], sum[CHECK_SIZE];
	if (text.n > CODE_TEXT_MAX || !decode(text, raw))
		return err_new(e, ERR_USAGE, "that is no enrolment code (8 groups of 6 letters and digits): " AGAIN);
	check_sum(raw, sum);
	if (memcmp(sum, raw + RAW_SIZE - CHECK_SIZE, CHECK_SIZE) != 0)
		return err_new(e, ERR_USAGE, "the enrolment code has a slip of the hand in it: " AGAIN);
	memcpy(ret->pin, raw, CODE_PIN);
	const uint8_t *p = raw + CODE_PIN;
	ret->number = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
	memcpy(ret->secret, p + NUMBER_SIZE, CODE_SECRET);
	return 0;
}

bool same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
	volatile uint8_t differs = 0;
	for (size_t i = 0; i < n; i++)
		differs = (uint8_t)(differs | (a[i] ^ b[i]));
	return differs == 0;
}
