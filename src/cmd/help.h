// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * help: what --help prints. The texts come from the man pages in doc/man at build time (tools/help-from-man), so that
 * the two cannot differ.
 */

struct help_page {
	const char *key; /* "" the program, "env", "env-create" */
	const char *text;
};
extern const struct help_page help_pages[]; /* ends with a NULL key */

/* The page of a command: "env-create" if there is one, else "env", else NULL. noun NULL: the program's own page. */
const char *help_text(const char *noun, const char *verb);
