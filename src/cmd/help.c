// SPDX-License-Identifier: Apache-2.0
#include "cmd/help.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Is key "noun-verb", or "noun" where verb is NULL? */
static bool names(const char *key, const char *noun, const char *verb)
{
	size_t n = strlen(noun);
	if (strncmp(key, noun, n) != 0)
		return false;
	if (!verb)
		return key[n] == '\0';
	return key[n] == '-' && strcmp(key + n + 1, verb) == 0;
}

const char *help_text(const char *noun, const char *verb)
{
	const char *found = NULL;
	for (const struct help_page *p = help_pages; p->key; p++) {
		if (noun && verb && names(p->key, noun, verb))
			return p->text;
		if (names(p->key, noun ? noun : "", NULL))
			found = p->text;
	}
	return found;
}
