// SPDX-License-Identifier: Apache-2.0
/* Ids of steps: everything that counts changes one, nothing else does, and no two inputs are written alike. */
#include "lib/test.h"

#include "base/arena.h"
#include "build/step_id.h"

static const struct layer_id base = {"00000000000000000000000000000000000000000000000000000000000000aa"};
static const struct layer_id other = {"00000000000000000000000000000000000000000000000000000000000000ab"};
static const struct step_key key = {{1, 2, 3}}, another_key = {{3, 2, 1}};
static const struct str shell[] = {{"/usr/bin/env", 12}, {"bash", 4}, {"-c", 2}};
static const struct step_pair env[] = {{{"A", 1}, {"1", 1}}, {{"B", 1}, {"2", 1}}};
static const struct step_mount caches[] = {{{"c", 1}, {"/c", 2}}, {{"d", 1}, {"/d", 2}}};
static const struct step_secret secrets[] = {{{"/s", 2}, {"value", 5}}};

static struct step_run a_run(void)
{
	return (struct step_run){
		.on = {.layer = &base, .uid = 1000, .gid = 1000, .machine = STR("x86_64")},
		.workdir = STR("/src"),
		.command = STR("make"),
		.shell = shell,
		.n_shell = 3,
		.env = env,
		.n_env = 2,
		.caches = caches,
		.n_caches = 2,
		.secrets = secrets,
		.n_secrets = 1,
		.key = &key,
	};
}

static bool is_other(const struct step_run *r)
{
	struct step_run plain = a_run();
	struct layer_id x, y;
	step_id_run(&plain, &x);
	step_id_run(r, &y);
	return strcmp(x.hex, y.hex) != 0;
}

#define CHANGES(statement)                                                                                             \
	do {                                                                                                           \
		struct step_run r = a_run();                                                                           \
		statement;                                                                                             \
		CHECK(is_other(&r));                                                                                   \
	} while (0)

TEST(all_that_counts_in_a_run)
{
	static const struct str sh[] = {{"/bin/sh", 7}, {"-c", 2}};
	static const struct step_pair more[] = {{{"A", 1}, {"1", 1}}, {{"B", 1}, {"3", 1}}};
	static const struct step_mount named[] = {{{"x", 1}, {"/c", 2}}, {{"d", 1}, {"/d", 2}}};
	static const struct step_secret told[] = {{{"/s", 2}, {"VALUE", 5}}};
	static const struct step_secret moved[] = {{{"/t", 2}, {"value", 5}}};
	struct step_run same = a_run();
	CHECK(!is_other(&same));
	CHANGES(r.on.layer = &other);
	CHANGES(r.on.uid = 0);
	CHANGES(r.on.gid = 0);
	CHANGES(r.on.machine = STR("aarch64"));
	CHANGES(r.workdir = STR("/"));
	CHANGES(r.command = STR("make all"));
	CHANGES((r.shell = sh, r.n_shell = 2));
	CHANGES(r.env = more);
	CHANGES(r.n_env = 1);
	CHANGES(r.network_host = true);
	CHANGES(r.caches = named);
	CHANGES(r.n_caches = 1);
	CHANGES(r.secrets = told);
	CHANGES(r.secrets = moved);
	CHANGES(r.n_secrets = 0);
	CHANGES(r.key = &another_key);
}

/* What ends one field and begins the next cannot be forged by what a spec's author writes. */
TEST(fields_do_not_run_into_each_other)
{
	struct step_run x = a_run(), y = a_run();
	struct layer_id a, b;
	const struct step_pair one[] = {{{"A", 1}, {"1\nname 1:B\nvalue 1:2", 21}}};
	x.env = one;
	x.n_env = 1;
	step_id_run(&x, &a);
	step_id_run(&y, &b);
	CHECK(strcmp(a.hex, b.hex) != 0);
	const struct str joined[] = {{"a b", 3}}, apart[] = {{"a", 1}, {"b", 1}};
	x = y = a_run();
	x.shell = joined;
	x.n_shell = 1;
	y.shell = apart;
	y.n_shell = 2;
	step_id_run(&x, &a);
	step_id_run(&y, &b);
	CHECK(strcmp(a.hex, b.hex) != 0);
}

/* Written down once: an id that changes by itself would make every cache cold. */
TEST(an_id_stays_what_it_was)
{
	struct step_run r = a_run();
	struct layer_id id;
	step_id_run(&r, &id);
	CHECK_STR(id.hex, "158f41a22290c41bc456d050ee437f025cc31a7b5d1d18cb081c3ffc68e297f2");
	struct step_entry entries[] = {
		{STEP_ENTRY_DIR, STR("d"), STR_NONE, {0}},
		{STEP_ENTRY_EXEC, STR("d/x"), STR_NONE, {7}},
		{STEP_ENTRY_LINK, STR("d/l"), STR("x"), {0}},
	};
	struct step_copy c = {.on = r.on, .dst = STR("/dst/"), .into = true, .entries = entries, .n_entries = 3};
	step_id_copy(&c, &id);
	CHECK_STR(id.hex, "cb04021d4b635e2a50cbe9d17c9e0677732b0d5f0c98417d48e816f3a2eb4035");
}

static void copy_differs(const struct step_copy *x, const struct step_copy *y)
{
	struct layer_id a, b;
	step_id_copy(x, &a);
	step_id_copy(y, &b);
	CHECK(strcmp(a.hex, b.hex) != 0);
}

TEST(all_that_counts_in_a_copy)
{
	struct step_entry f[] = {{STEP_ENTRY_FILE, STR("x"), STR_NONE, {1}}};
	struct step_entry exec[] = {{STEP_ENTRY_EXEC, STR("x"), STR_NONE, {1}}};
	struct step_entry named[] = {{STEP_ENTRY_FILE, STR("y"), STR_NONE, {1}}};
	struct step_entry filled[] = {{STEP_ENTRY_FILE, STR("x"), STR_NONE, {2}}};
	struct step_entry link[] = {{STEP_ENTRY_LINK, STR("x"), STR("a"), {0}}};
	struct step_entry relinked[] = {{STEP_ENTRY_LINK, STR("x"), STR("b"), {0}}};
	struct step_copy c = {.on = a_run().on, .dst = STR("/d"), .entries = f, .n_entries = 1}, d = c;
	d.entries = exec;
	copy_differs(&c, &d);
	d.entries = named;
	copy_differs(&c, &d);
	d.entries = filled;
	copy_differs(&c, &d);
	d.entries = link;
	copy_differs(&c, &d);
	c.entries = relinked;
	copy_differs(&c, &d);
	d = c;
	d.into = true;
	copy_differs(&c, &d);
	d = c;
	d.dst = STR("/e");
	copy_differs(&c, &d);
	d = c;
	d.on.uid = 0;
	copy_differs(&c, &d);
	d = c;
	d.on.layer = &other;
	copy_differs(&c, &d);
}

TEST(the_order_of_an_environment_does_not_count)
{
	struct step_pair v[] = {{STR("B"), STR("2")}, {STR("A"), STR("1")}, {STR("B"), STR("old")}};
	CHECK_INT(step_env(v, 3), 2);
	CHECK(str_eq_c(v[0].name, "A"));
	CHECK(str_eq_c(v[1].name, "B"));
	CHECK(str_eq_c(v[1].value, "2")); /* the first one, which getenv finds */
	CHECK_INT(step_env(NULL, 0), 0);
}

/* RFC 4231, case 2. */
TEST(hmac)
{
	uint8_t mac[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	hmac_sha256("Jefe", 4, STR("what do ya want for nothing?"), mac);
	hex_encode(mac, sizeof(mac), hex);
	CHECK_STR(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}
