// SPDX-License-Identifier: Apache-2.0
/* What the fuzzers of channel/ share: a folder in memory, a reader of everything that an index says, and a check that
 * what it says can be kept in a lock. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/channel.h"
#include "env/env.h"

static char fuzz_folder[64];

__attribute__((unused)) static void fuzz_remove(void)
{
	char path[96];
	snprintf(path, sizeof(path), "%s/x.idx", fuzz_folder);
	unlink(path);
	rmdir(fuzz_folder);
}

__attribute__((unused)) static int fuzz_dir(void)
{
	static int fd = -1;
	if (fd >= 0)
		return fd;
	snprintf(fuzz_folder, sizeof(fuzz_folder), "%s/slipway-fuzz.%d",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
	if (mkdir(fuzz_folder, 0700) < 0)
		panic("mkdir %s", fuzz_folder);
	fd = open(fuzz_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	atexit(fuzz_remove);
	return fd;
}

static size_t fuzz_sum;	       /* so that no read is left out */
static bool fuzz_locks = true; /* records are ones that a builder accepted */

static void fuzz_touch(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		fuzz_sum += (unsigned char)s.p[i];
}

/* Whatever a channel publishes: a lock that holds it can be read again, and says the same. */
static void fuzz_lock(const struct pkg_record *r)
{
	auto_arena a = ARENA_INIT;
	auto_buf first = BUF_INIT(BUF_MAX), second = BUF_INIT(BUF_MAX);
	struct env_lock_package p = {.record = *r};
	struct env_spec_file f = {.packages = &p, .packages_n = 1, .is_lock = true}, again;
	struct err e = ERR_INIT;
	if (!r->has_sha256 && !r->has_md5)
		return;
	env_file_write_spr(&f, &first);
	if (env_file_read(&a, buf_str(&first), "lock", &again, &e) < 0)
		panic("%s: '%s'", e.msg, first.p);
	env_file_write_spr(&again, &second);
	if (!str_eq(buf_str(&first), buf_str(&second)))
		panic("'%s' became '%s'", first.p, second.p);
}

static void fuzz_packages(const struct index *ix, uint32_t first, uint32_t count)
{
	struct channel c = {.url = STR("https://h/c"), .shown = STR("https://h/c")};
	for (uint32_t i = 0; i < count && i < 1000; i++) {
		auto_arena a = ARENA_INIT;
		struct pkg_record r;
		struct err e = ERR_INIT;
		struct ix_pkg p = {first + i}, found;
		struct index_pkg k = index_pkg(ix, p);
		fuzz_touch(index_version(ix, k.version));
		fuzz_touch(index_str(ix, k.build));
		if (index_record(ix, p, &c, &a, &r, &e) < 0)
			continue;
		fuzz_touch(r.fn), fuzz_touch(r.url), fuzz_touch(r.extra_json), fuzz_touch(r.license);
		for (uint32_t d = 0; d < r.depends_n; d++)
			fuzz_touch(r.depends[d]);
		if (fuzz_locks)
			fuzz_lock(&r);
		(void)index_find_file(ix, r.fn, &found);
	}
}

/* Everything. */
__attribute__((unused)) static void fuzz_read(const struct index *ix)
{
	struct index_info info = index_info(ix);
	fuzz_touch(info.subdir), fuzz_touch(info.base_url), fuzz_touch(info.relation_base);
	fuzz_touch(info.left_out_first);
	for (uint32_t i = 0; i < info.names && i < 1000; i++) {
		struct ix_name n = {i}, back;
		struct ix_pkg first;
		struct str name = index_name(ix, n);
		fuzz_touch(name);
		(void)index_find_name(ix, name, &back);
		fuzz_sum += index_has_name(ix, n);
		uint32_t count = index_packages(ix, n, &first);
		fuzz_packages(ix, first.n, count);
	}
	for (uint32_t i = 0; i < info.specs && i < 1000; i++) {
		fuzz_touch(index_spec_text(ix, (struct ix_spec){i}));
		fuzz_touch(index_name(ix, index_spec_name(ix, (struct ix_spec){i})));
	}
	fuzz_packages(ix, 0, info.packages);
	(void)index_is_removed(ix, STR("x"));
}
