// SPDX-License-Identifier: Apache-2.0
// What Slurm's commands answer: the first byte says which; whatever they say, the job is in one of its states, and a name can be shown.
#include "base/err.h"
#include "job/slurm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f || (i == 0 && s.p[i] == '-'))
			panic("a name that is none");
}

static void apply(const struct slurm_row *r)
{
	auto_arena a = ARENA_INIT;
	struct job_info j = {.code = -1};
	check_name(r->host);
	slurm_apply(r, &j, &a);
	if ((unsigned)j.state > JOB_LOST || r->started_ms < 0 || r->ended_ms < 0 || j.code > 255 || j.code < -1)
		panic("a state that is none");
	if (j.state == JOB_PASSED && j.code != 0)
		panic("passed with a code");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool (*const take[])(struct str *, struct slurm_row *) = {slurm_take_row, slurm_take_account,
									 slurm_take_completion};
	if (size < 1)
		return 0;
	struct str s = str_of((const char *)data + 1, size - 1), id;
	struct slurm_row r;
	struct slurm_node n;
	int code = 0;
	bool late;
	if (data[0] % 5 < 3) {
		while (take[data[0] % 5](&s, &r))
			apply(&r);
		return 0;
	}
	if (data[0] % 5 == 3) {
		while (slurm_take_node(&s, &n)) {
			check_name(n.name);
			if (n.cpus > 1 << 20 || n.name.n == 0)
				panic("a node that is none");
		}
		return 0;
	}
	uint64_t v;
	if (slurm_parse_submitted(s, &id) && !str_to_u64(id, &v))
		panic("a number that is none");
	if (slurm_parse_end(s, &code, &late) && (code < 0 || code > 255))
		panic("an exit status that is none");
	return 0;
}
