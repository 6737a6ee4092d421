// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"
#include "base/arena.h"
#include "lib/test.h"

TEST(put_get)
{
	auto_map m = MAP_INIT;
	CHECK(map_get(&m, STR("python")) == NULL);
	uint64_t *v = map_put(&m, STR("python"));
	CHECK_INT(*v, 0);
	*v = 7;
	CHECK_INT(*map_put(&m, STR("python")), 7);
	CHECK_INT(*map_get(&m, STR("python")), 7);
	CHECK(map_get(&m, STR("pytho")) == NULL);
	CHECK_INT(m.n, 1);
}

TEST(empty_and_binary_keys)
{
	auto_map m = MAP_INIT;
	*map_put(&m, STR_NONE) = 1;
	CHECK_INT(*map_put(&m, STR("")), 1);
	*map_put(&m, STR("\0")) = 2;
	*map_put(&m, STR("\0\0")) = 3;
	CHECK_INT(*map_get(&m, STR("\0")), 2);
	CHECK_INT(*map_get(&m, STR_NONE), 1);
	CHECK_INT(m.n, 3);
	CHECK(map_remove(&m, STR_NONE) && map_get(&m, STR("")) == NULL);
	CHECK_INT(*map_get(&m, STR("\0\0")), 3);
}

TEST(ids)
{
	auto_map m = MAP_INIT;
	for (uint64_t i = 0; i < 100000; i++)
		*map_put_id(&m, i << 32) = i;
	CHECK_INT(m.n, 100000);
	for (uint64_t i = 0; i < 100000; i++)
		CHECK_INT(*map_get_id(&m, i << 32), i);
	CHECK(map_get_id(&m, 1) == NULL);
	*map_put_id(&m, UINT64_MAX) = 5;
	CHECK_INT(*map_get_id(&m, UINT64_MAX), 5);
	CHECK(m.n * 10 <= m.cap * 7);
}

/* Against a plain array, with removals in between. */
TEST(agrees_with_a_model)
{
	enum { KEYS = 500, STEPS = 200000 };
	auto_map m = MAP_INIT;
	auto_arena a = ARENA_INIT;
	struct str key[KEYS];
	uint64_t model[KEYS] = {0};
	size_t n = 0;
	uint64_t r = 88172645463325252;
	for (size_t i = 0; i < KEYS; i++)
		key[i] = str_c(arena_printf(&a, "key-%zu", i));
	for (size_t step = 1; step <= STEPS; step++) {
		r ^= r << 13, r ^= r >> 7, r ^= r << 17;
		size_t k = r % KEYS;
		if ((r >> 32) % 5 < 2) {
			CHECK(map_remove(&m, key[k]) == (model[k] != 0));
			n -= model[k] != 0;
			model[k] = 0;
		} else {
			n += model[k] == 0;
			*map_put(&m, key[k]) = model[k] = step;
		}
		size_t other = (r >> 20) % KEYS;
		const uint64_t *v = map_get(&m, key[other]);
		CHECK(v ? *v == model[other] : model[other] == 0);
		CHECK_INT(m.n, n);
	}
}

TEST(iteration_sees_each_once)
{
	auto_map m = MAP_INIT;
	CHECK(map_next(&m, NULL) == NULL);
	for (uint64_t i = 0; i < 1000; i++)
		*map_put_id(&m, i) = i;
	uint64_t n = 0, sum = 0;
	for (struct map_slot *s = NULL; (s = map_next(&m, s));) {
		CHECK_INT(s->id, s->value);
		n++, sum += s->value;
	}
	CHECK_INT(n, 1000);
	CHECK_INT(sum, 999 * 500);
}

TEST(hash_differs_between_processes_but_not_within)
{
	CHECK(hash_bytes("abc", 3) == hash_bytes("abc", 3));
	CHECK(hash_bytes("abc", 3) != hash_bytes("abd", 3));
	CHECK(hash_bytes(NULL, 0) == hash_bytes("", 0));
	char exe[PATH_MAX], cmd[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (getenv("PRINT_HASH")) { /* the second process: see below */
		dprintf(3, "%016" PRIx64, hash_bytes("abc", 3));
		return;
	}
	CHECK(n > 0);
	exe[n] = '\0';
	snprintf(cmd, sizeof(cmd), "PRINT_HASH=1 '%s' hash_differs 3>&1 >/dev/null", exe);
	char out[2][17] = {""};
	for (int i = 0; i < 2; i++) {
		FILE *f = popen(cmd, "r");
		CHECK(f && fread(out[i], 1, 16, f) == 16);
		CHECK_INT(pclose(f), 0);
	}
	CHECK(strcmp(out[0], out[1]) != 0);
}
