// SPDX-License-Identifier: Apache-2.0
/* No text breaks the readers of recipe files; what was read is written as a recipe that reads back as the same. */
#include "env/env.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const struct env_spec_file *f)
{
	auto_arena a = ARENA_INIT;
	auto_buf first = BUF_INIT(BUF_MAX);
	auto_buf second = BUF_INIT(BUF_MAX);
	struct env_spec_file again;
	struct err e = ERR_INIT;
	env_file_write_spr(f, &first);
	if (env_file_read(&a, buf_str(&first), "again", &again, &e) < 0)
		panic("'%s' does not read back: %s", first.p, e.msg);
	env_file_write_spr(&again, &second);
	if (!str_eq(buf_str(&first), buf_str(&second)))
		panic("'%s' became '%s'", first.p, second.p);
	if (f->packages_n != again.packages_n || f->variables_n != again.variables_n || f->is_lock != again.is_lock)
		panic("'%s' lost something", first.p);
}

/* The yml form of a file without packages that are only in it. */
static void check_yml(const struct env_spec_file *f)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct env_spec_file again;
	struct err e = ERR_INIT;
	env_file_write_yml(f, true, &b);
	if (b.n > 1 << 20)
		return;
	if (env_file_read(&a, buf_str(&b), "again.yml", &again, &e) < 0)
		panic("'%s' does not read back: %s", b.p, e.msg);
	if (f->channels_n != again.channels_n || f->nodefaults != again.nodefaults ||
	    f->variables_n != again.variables_n || !str_eq(f->name, again.name))
		panic("'%s' lost something", b.p);
}

/* A package whose digest nobody knows can be installed, and gets one then; until then it is no recipe. */
static bool is_exact(const struct env_spec_file *f)
{
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (!f->packages[i].record.has_sha256 && !f->packages[i].record.has_md5)
			return false;
	return true;
}

static void read_as(const uint8_t *data, size_t size, const char *where)
{
	auto_arena a = ARENA_INIT;
	struct env_spec_file f;
	struct err e = ERR_INIT;
	if (env_file_read(&a, str_of((const char *)data, size), where, &f, &e) < 0) {
		if (e.code == ERR_NONE || !e.msg[0])
			panic("no error");
		return;
	}
	if (is_exact(&f))
		check_again(&f);
	check_yml(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_as(data, size, "fuzz");
	read_as(data, size, "fuzz.yml");
	return 0;
}
