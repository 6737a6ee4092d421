// SPDX-License-Identifier: Apache-2.0
#pragma once
/* small (private to mirror): what a small channel is to hold (small.c), and how it comes to hold it (small_fetch.c, small_make.c). */
#include "base/map.h"
#include "base/vec.h"
#include "mirror/mirror.h"

struct small_file {
	struct str path;
	struct str copy_of; /* another one's path, with the same bytes; or STR_NONE */
	uint64_t size;
};
struct small_package {
	struct str key, name;
	const struct small_file *files;
	size_t files_n;
	bool is_new;
};
struct small_held {
	struct str key, platform; /* platform: STR_NONE where the kind does not tell (opam) */
};
struct small {
	const struct mirror_small_opts *o;
	struct arena *a;
	struct mirror_small_result *res;
	int from, to; /* folders; to -1: not there yet */
	VEC(struct small_package) package;
	struct map by_key; /* → place + 1 in package */
	struct map held;   /* what the small tree lists: key → 1 */
	VEC(struct small_held) held_all;
	VEC(struct str) platforms;
	VEC(struct str) added, removed;
};
void small_say(const struct small *s, struct mirror_small_told t);
/* What the small tree lists now. */
int small_look(struct small *s, struct err *e);
/* Whether it lists the package, and has its files. */
bool small_holds(const struct small *s, const struct small_package *p);
/* Whether the folder (-1: none) has the file, of that size. */
bool small_has_file(int folder, const struct small_file *f);
/* Has the large tree hold all files of what is new (small_fetch.c); r NULL: it follows nothing. */
int small_fetch(struct small *s, struct mirror_reader *r, struct err *e);
int small_make(struct small *s, struct err *e);
int small_prune(struct small *s, struct err *e);
