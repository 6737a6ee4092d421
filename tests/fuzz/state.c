// SPDX-License-Identifier: Apache-2.0
/* What is kept of a channel between two runs: text that is no state is none; what is read is written and read the same. */
#include "base/fs.h"
#include "channel/refresh.h"
#include "index_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int rc, const struct err *e)
{
	if (rc < 0)
		panic("%s", e->msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	auto_buf first = BUF_INIT(BUF_MAX), second = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	char sub[] = "linux-64";
	struct source s = {.sub = sub, .a = &a, .dir_fd = fuzz_dir(), .order = {V_FULL}, .variants = 1};
	const char *name = variant_file(&s, "json");
	must(fs_replace(s.dir_fd, name, data, size, 0, &e), &e);
	must(state_load(&s, &e), &e);
	if (s.state.candidate >= CANDIDATES_MAX || s.state.roots.n > ROOTS_MAX)
		panic("out of bounds");
	for (const char *p = s.state.etag; *p; p++)
		if ((unsigned char)*p < 0x20)
			panic("a control character for a header");
	must(state_save(&s, &e), &e);
	must(fs_read(s.dir_fd, name, &first, &e), &e);
	must(state_load(&s, &e), &e);
	must(state_save(&s, &e), &e);
	must(fs_read(s.dir_fd, name, &second, &e), &e);
	if (!str_eq(buf_str(&first), buf_str(&second)))
		panic("'%s' became '%s'", first.p, second.p);
	vec_release(&s.state.roots);
	must(fs_remove_tree(s.dir_fd, name, &e), &e);
	return 0;
}
