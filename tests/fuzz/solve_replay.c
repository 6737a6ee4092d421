// SPDX-License-Identifier: Apache-2.0
/* A solve test: read, solved, explained, dumped and read again. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "solve/solve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/slipway-fuzz.XXXXXX";

static void clean(void)
{
	char path[64];
	for (int i = 0; i < 1024; i++) {
		snprintf(path, sizeof(path), "%s/replay-%d.idx", folder, i);
		if (unlink(path) < 0)
			break;
	}
	rmdir(folder);
}

static int open_folder(void)
{
	static bool made;
	if (!made && (!mkdtemp(folder) || atexit(clean) != 0))
		abort();
	made = true;
	return open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void run(struct str text, int dirfd, bool again)
{
	struct err e = ERR_INIT;
	auto_ptr(solve_replay) t = NULL;
	auto_arena a = ARENA_INIT;
	struct solve_result res;
	if (solve_replay_load(text, "fuzz", dirfd, &t, &e) < 0) {
		if (again)
			abort(); /* what we wrote must be readable */
		return;
	}
	struct solve_request r = *solve_replay_request(t);
	r.max_conflicts = 1000;
	int rc = solve(&r, &a, &res, &e);
	if (rc < 0)
		return;
	auto_buf b = BUF_INIT(1 << 24), out = BUF_INIT(1 << 24);
	solve_explain(&res, &b);
	if (solve_dump(&r, &res, rc, &out, &e) == 0 && !again)
		run(buf_str(&out), dirfd, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 << 16)
		return 0;
	auto_fd dir = open_folder();
	run(str_of((const char *)data, size), dir, false);
	return 0;
}
