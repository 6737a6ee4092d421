// SPDX-License-Identifier: Apache-2.0
/* An opam file: read, and where it has archives, each has a place in the cache; its checksums come out as they went in. */
#include "channel/opam.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	struct opam_file f;
	struct str text = str_of((const char *)data, size);
	if (opam_file_read(&a, text, "opam", &f, &e) < 0) {
		if (!e.msg[0])
			panic("no reason");
		return 0;
	}
	if (f.has_flags && (f.flags_at > f.flags_end || f.flags_end > size))
		panic("flags from %zu to %zu of %zu", f.flags_at, f.flags_end, size);
	for (size_t i = 0; i < f.sources; i++)
		for (size_t k = 0; k < f.source[i].checksums; k++) {
			struct str path = opam_cache_path(&a, &f.source[i].checksum[k]);
			if (channel_kind_file(channel_kind(STR("opam")), path) != CHANNEL_FILE_PACKAGE)
				panic("'%.*s' is no archive", STR_ARG(path));
		}
	/* the same again: packed into an index, and out of it */
	struct opam_entry v[2] = {{STR("packages/x/x.1/opam"), text, 0}, {STR("packages/x/x.1/files/y"), text, 0}};
	struct opam_repo r = {0};
	auto_buf packed = BUF_INIT(BUF_MAX);
	if (opam_repo_of(&a, v, 2, &r, &e) < 0 || r.n != 1 || r.package[0].n != 2 ||
	    opam_repo_pack(&r, &packed, &e) < 0)
		panic("%s", e.msg);
	return 0;
}
