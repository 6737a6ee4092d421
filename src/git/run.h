// SPDX-License-Identifier: Apache-2.0
#pragma once
/* run: the git program, with an environment of its own. */
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

enum { GIT_ENVIRONMENT_MAX = 64, GIT_WORDS_MAX = 24 };

struct git {
	const char *dir;	/* where it works; NULL: nowhere */
	const char *alternates; /* objects it borrows */
	bool file;		/* file: URLs may be asked, submodules' too */
	const char *env[GIT_ENVIRONMENT_MAX];
	size_t env_n;
	struct arena arena;
};
/* Fills in the environment; the rest is the caller's. */
void git_init(struct git *g);
void git_release(struct git *g);
#define auto_git cleanup_with(git_release) struct git

#define GIT_WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Words up to a NULL. What it prints goes to log_fd (-1: nowhere). Its exit status; -1 where it did not run. */
int git_run(const struct git *g, const char *const *words, int log_fd, struct err *e);
/* The same with input; its answer in *ret, and where it fails its words in *e. */
int git_ask(const struct git *g, const char *const *words, struct str input, struct buf *ret, struct err *e);

/* One that speaks with a server (git_ask too where url is given): who makes no progress for git_quiet_ms is ended, with all that it started.
 * It is told to report progress (--progress), which is not handed on. -1 too where the server is at fault in a way that can be told. */
int git_run_afar(const struct git *g, const char *const *words, struct str url, int log_fd, struct err *e);
int git_ask_afar(const struct git *g, const char *const *words, struct str url, struct buf *ret, struct err *e);
extern int64_t git_quiet_ms; /* five minutes; tests wait less */
