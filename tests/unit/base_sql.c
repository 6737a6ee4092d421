// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "base/sql.h"

static const char *const one[] = {"CREATE TABLE pet (name TEXT PRIMARY KEY, legs INTEGER NOT NULL) WITHOUT ROWID"};
static const char *const two[] = {"CREATE TABLE pet (name TEXT PRIMARY KEY, legs INTEGER NOT NULL) WITHOUT ROWID",
				  "ALTER TABLE pet ADD COLUMN mark BLOB"};

static struct sql *open_in_tmp(void)
{
	char path[300];
	struct err e = ERR_INIT;
	struct sql *db = NULL;
	CHECK(mkdir(test_tmp(), 0700) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/pets.db", test_tmp());
	CHECK_MSG(sql_open(path, 0, &db, &e) == 0, "%s", e.msg);
	return db;
}

static int64_t legs_of(struct sql *db, struct str name)
{
	struct err e = ERR_INIT;
	auto_ptr(sql_query) q = NULL;
	CHECK(sql_prepare(db, "SELECT legs FROM pet WHERE name = ?1", &q, &e) == 0);
	sql_bind_str(q, 1, name);
	return sql_step(q, &e) == 1 ? sql_int(q, 0) : -1;
}

TEST(parts_of_one_file_grow_apart)
{
	struct err e = ERR_INIT;
	auto_ptr(sql) a = open_in_tmp();
	CHECK(sql_part(a, "pets", one, 1, &e) == 0);
	CHECK(sql_run(a, &e, "INSERT INTO pet (name, legs) VALUES (?1, ?2)", "si", STR("cat"), (int64_t)4) == 0);
	auto_ptr(sql) b = open_in_tmp();
	CHECK(sql_part(b, "pets", two, 2, &e) == 0);
	CHECK(sql_part(b, "pets", two, 2, &e) == 0);
	CHECK_INT(legs_of(b, STR("cat")), 4);
	CHECK_INT(sql_part(a, "pets", one, 1, &e), -1);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
	e = ERR_INIT;
	CHECK_INT(sql_part(a, "toys", one, 0, &e), 0);
}

TEST(what_fails_is_taken_back)
{
	struct err e = ERR_INIT;
	auto_ptr(sql) db = open_in_tmp();
	CHECK(sql_part(db, "pets", one, 1, &e) == 0);
	CHECK(sql_begin(db, &e) == 0);
	CHECK(sql_run(db, &e, "INSERT INTO pet VALUES (?1, ?2)", "si", STR("cat"), (int64_t)4) == 0);
	CHECK_INT(sql_end(db, sql_run(db, &e, "INSERT INTO pet VALUES (?1, ?2)", "si", STR("cat"), (int64_t)5), &e),
		  -1);
	CHECK_INT(legs_of(db, STR("cat")), -1);
	CHECK(sql_begin(db, &e) == 0);
	CHECK_INT(sql_end(db, sql_run(db, &e, "INSERT INTO pet VALUES (?1, ?2)", "si", STR("hen"), (int64_t)2), &e), 0);
	CHECK_INT(legs_of(db, STR("hen")), 2);
}

TEST(readers_do_not_wait_for_a_writer)
{
	struct err e = ERR_INIT;
	auto_ptr(sql) a = open_in_tmp();
	CHECK(sql_part(a, "pets", one, 1, &e) == 0);
	auto_ptr(sql) b = open_in_tmp();
	CHECK(sql_begin(a, &e) == 0);
	CHECK(sql_run(a, &e, "INSERT INTO pet VALUES (?1, ?2)", "si", STR("ant"), (int64_t)6) == 0);
	CHECK_INT(legs_of(b, STR("ant")), -1);
	CHECK_INT(sql_end(a, 0, &e), 0);
	CHECK_INT(legs_of(b, STR("ant")), 6);
}

TEST(what_is_no_database_says_so)
{
	char path[300];
	struct err e = ERR_INIT;
	struct sql *db = NULL;
	CHECK(mkdir(test_tmp(), 0700) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/pets.db", test_tmp());
	CHECK_INT(sql_open(path, SQL_RO, &db, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	FILE *f = fopen(path, "w");
	for (int i = 0; i < 2000; i++)
		CHECK(fputs("no database ", f) >= 0);
	CHECK(fclose(f) == 0);
	e = ERR_INIT;
	CHECK_INT(sql_open(path, 0, &db, &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
}
