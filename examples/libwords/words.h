// SPDX-License-Identifier: Apache-2.0
#pragma once
/* libwords: counts what a text consists of. Since 1.1 distinct words too. */
#include <stdio.h>

struct words_count {
	unsigned long lines, words, bytes;
	unsigned long distinct; /* 0 before 1.1 */
};
/* Reads f to its end; -1 where reading failed or memory ran out. */
int words_count(FILE *f, struct words_count *ret);
const char *words_version(void);
