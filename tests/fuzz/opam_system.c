// SPDX-License-Identifier: Apache-2.0
/*
 * What package managers print, by the first byte: of which family, and whether as an answer to what is installed or to what is offered. Whatever it
 * is, what is no name is offered by nobody, and a name is what it was said to be.
 */
#include "build/opam_system.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const families[] = {"debian", "fedora", "suse", "alpine"};
	static const char *const names[] = {"a", "b", "a@edge", "g++", "-x", "a b", "x-", "a/b"};
	static bool alone;
	struct err e = ERR_INIT;
	auto_ptr(build_depexts) d = NULL;
	if (size == 0)
		return 0;
	if (!alone)
		setenv("PATH", "/nonexistent", 1); /* no program is asked */
	alone = true;
	const struct build_depexts_opts o = {.family = str_c(families[data[0] & 3])};
	if (build_depexts_open(&o, &d, &e) < 0)
		panic("%s", e.msg);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		build_depexts_has(d, str_c(names[i]));
	depexts_take(d, data[0] & 4 ? DEPEXTS_OFFERED : DEPEXTS_INSTALLED, str_of((const char *)data + 1, size - 1));
	depexts_take(d, DEPEXTS_OFFERED, str_of((const char *)data + 1, size - 1));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		enum channel_system_has has = build_depexts_has(d, str_c(names[i]));
		if (has != build_depexts_has(d, str_c(names[i])))
			panic("'%s' was %d", names[i], has);
		if (has == CHANNEL_SYSTEM_OFFERED && !build_depexts_is_name(d, str_c(names[i])))
			panic("'%s' is offered", names[i]);
	}
	return 0;
}
