// SPDX-License-Identifier: Apache-2.0
#pragma once
/* words: what is given to git and what it answers, without running it. */
#include "git/git.h"

bool git_is_commit(struct str s);
bool git_is_file(struct str url); /* a file: URL */
/* The commit of a reference, short or whole, in what ls-remote lists: itself, then below refs/, tags first; of an annotated tag the
 * commit that it names. The result lies in `listed`. */
bool git_find_ref(struct str listed, struct str ref, struct arena *a, struct str *ret);

/* Ids of repositories that were made with --object-format=sha256. */
bool git_is_sha256(struct str s);
bool git_lists_sha256(struct str listed);
int git_refuse_sha256(struct str what, struct err *e);
