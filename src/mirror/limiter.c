// SPDX-License-Identifier: Apache-2.0
/*
 * How often a stranger may try. Each address has a bucket of tries that fills slowly; so has everybody together. Of IPv6 a /64 is one
 * address: so much is given to one customer. Buckets are found by a keyed hash in a table of fixed size: addresses that share one share
 * its tries, and nobody can fill memory with addresses.
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "base/map.h"
#include "mirror/clients.h"

enum { BUCKETS = 4096, ADDRESS_TRIES = 10, ADDRESS_REFILL_MS = 6000, ALL_TRIES = 500, ALL_REFILL_MS = 100 };

struct bucket {
	int64_t at_ms; /* when `tries` was true */
	int32_t tries;
	bool used;
};
struct limiter {
	struct bucket all, address[BUCKETS];
};

struct limiter *limiter_new(void)
{
	return xcalloc(1, sizeof(struct limiter));
}

void limiter_free(struct limiter *l)
{
	free(l);
}

static void fill(struct bucket *b, int32_t most, int64_t refill_ms, int64_t mono_ms)
{
	if (!b->used) {
		*b = (struct bucket){mono_ms, most, true};
		return;
	}
	int64_t n = (mono_ms - b->at_ms) / refill_ms;
	if (n > 0) { /* what was given back may be more */
		b->tries = n >= most - b->tries ? most : b->tries + (int32_t)n;
		b->at_ms += n * refill_ms;
	}
}

static int64_t wait_s(const struct bucket *b, int64_t refill_ms, int64_t mono_ms)
{
	return (b->at_ms + refill_ms - mono_ms + 999) / 1000;
}

static struct bucket *bucket_of(struct limiter *l, struct str address)
{
	enum { NETWORK_BYTES = 8 };
	char text[INET6_ADDRSTRLEN];
	uint8_t six[16];
	int n = snprintf(text, sizeof(text), "%.*s", STR_ARG(address));
	bool is_six = n < (int)sizeof(text) && inet_pton(AF_INET6, text, six) == 1;
	return &l->address[(is_six ? hash_bytes(six, NETWORK_BYTES) : hash_bytes(address.p, address.n)) % BUCKETS];
}

int64_t limiter_take(struct limiter *l, struct str address, int64_t mono_ms)
{
	struct bucket *b = bucket_of(l, address);
	fill(b, ADDRESS_TRIES, ADDRESS_REFILL_MS, mono_ms);
	fill(&l->all, ALL_TRIES, ALL_REFILL_MS, mono_ms);
	if (b->tries <= 0)
		return wait_s(b, ADDRESS_REFILL_MS, mono_ms);
	if (l->all.tries <= 0)
		return wait_s(&l->all, ALL_REFILL_MS, mono_ms);
	b->tries--;
	l->all.tries--;
	return 0;
}

void limiter_give(struct limiter *l, struct str address)
{
	bucket_of(l, address)->tries++;
	l->all.tries++;
}
