// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"
#include "lib/test.h"
#include <stdalign.h>

TEST(memory_is_aligned_and_separate)
{
	auto_arena a = ARENA_INIT;
	char *p[2000];
	size_t size[2000];
	for (size_t i = 0; i < 2000; i++) {
		size[i] = i * 37 % 3001;
		if (i % 3 == 0)
			arena_strdup(&a, STR("x"));
		p[i] = arena_alloc(&a, size[i]);
		CHECK_INT((uintptr_t)p[i] % alignof(max_align_t), 0);
		memset(p[i], (int)i, size[i]);
	}
	for (size_t i = 0; i < 2000; i++)
		for (size_t k = 0; k < size[i]; k++)
			CHECK(p[i][k] == (char)i);
}

TEST(zeroed_arrays)
{
	auto_arena a = ARENA_INIT;
	memset(arena_alloc(&a, 3000), 0xff, 3000);
	arena_release(&a);
	long *v = arena_array(&a, long, 300);
	for (int i = 0; i < 300; i++)
		CHECK_INT(v[i], 0);
	struct str *s = arena_new(&a, struct str);
	CHECK(s->p == NULL && s->n == 0);
	CHECK(arena_array(&a, long, 0) != NULL);
}

TEST(large_pieces_do_not_end_the_block)
{
	auto_arena a = ARENA_INIT;
	char *small = arena_strdup(&a, STR("s"));
	char *large = arena_alloc(&a, 10 << 20);
	memset(large, 1, 10 << 20);
	char *next = arena_strdup(&a, STR("t"));
	CHECK(next == small + 2);
	CHECK(a.total_bytes >= 10 << 20);
}

TEST(a_large_first_piece)
{
	auto_arena a = ARENA_INIT;
	memset(arena_alloc(&a, 1 << 20), 1, 1 << 20);
	CHECK_STR(arena_strdup(&a, STR("after")), "after");
}

TEST(strings)
{
	auto_arena a = ARENA_INIT;
	struct str s = arena_str(&a, STR("a\0b"));
	CHECK(s.n == 3 && memcmp(s.p, "a\0b", 4) == 0);
	CHECK_STR(arena_strdup(&a, STR_NONE), "");
	CHECK_STR(arena_printf(&a, "%s-%05d", "x", 42), "x-00042");
	char *empty = arena_printf(&a, "%s", "");
	CHECK_STR(empty, "");
}

TEST(release_is_repeatable)
{
	struct arena a = ARENA_INIT;
	arena_release(&a);
	arena_alloc(&a, 10);
	arena_release(&a);
	arena_release(&a);
	CHECK(a.block == NULL && a.total_bytes == 0);
}

TEST(join_takes_over_everything)
{
	struct arena a = ARENA_INIT, b = ARENA_INIT, empty = ARENA_INIT;
	char *x = arena_strdup(&b, STR("of b"));
	char *big = arena_alloc(&b, 3000000);
	memset(big, 'z', 3000000);
	arena_join(&a, &b);
	CHECK(!b.block && b.total_bytes == 0);
	char *y = arena_strdup(&a, STR("of a"));
	arena_join(&a, &empty);
	arena_strdup(&b, STR("of b again"));
	arena_join(&a, &b);
	CHECK_STR(x, "of b");
	CHECK_STR(y, "of a");
	CHECK(big[2999999] == 'z');
	arena_release(&a);
}
