// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * git: the source of a build, out of a git repository, by the git program.
 *
 *	struct git_source s = {.url = "https://h/x.git", .ref = "refs/pull/7/head", .onto = "master"};
 *	struct git_commits c;
 *	git_resolve(&s, &arena, &c, e)                  which commits that means now; the server is asked only for what is no commit id
 *	git_checkout(&c, cache_dir, dest, log_fd, e)    dest, made anew: the tree of `base` with `commit` merged into it, without .git
 *
 * CACHE_DIR/NAME-DIGEST is a bare repository with every object that was ever fetched from one URL, NAME-DIGEST.lock the lock of whoever
 * fetches, NAME-DIGEST.use of whoever needs it to stay. Nothing is fetched where the commits are there. A checkout borrows the objects and does not write there: any number of them run at
 * once, also beside a fetch. Objects come in whole packs only (git's limit of unpacking is 1): a killed fetch leaves either all that a commit needs,
 * or none of it. Many packs become one.
 *
 * git's own words go to log_fd as they come, after "All commits already cached" or "Fetching URL". A server with which there is no progress
 * for five minutes is given up, whatever the protocol (ERR_NETWORK), and all processes of that git are ended; so they are where a signal
 * ends this process.
 *
 * What comes from outside: URLs are file, git, http, https or ssh, without a password (~/.netrc and keys of ssh have those); names of branches and
 * tags are held to git's rules; neither can be taken for an option. git reads no configuration of the machine or the user, runs no hooks and no
 * filters (git-lfs's pointers stay pointers), asks nothing at the terminal, and sees of the environment what it needs to reach servers.
 * Submodules are checked out, too, not cached; theirs may be file: URLs only where the repository itself is one.
 *
 * Commits are SHA-1's 40 digits; repositories with SHA-256 ids are ERR_UNSUPPORTED. A file: repository of another user is read by nobody
 * but him (git's own rule). Errors: ERR_USAGE the URL, reference or commit cannot be one; ERR_NOT_FOUND the server does not have it;
 * ERR_NETWORK git failed to reach it; ERR_EXISTS dest is there; ERR_FAILED conflicts, with git's words. dest is removed then.
 */
#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum { GIT_COMMIT_DIGITS = 40, GIT_URL_MAX = 2048, GIT_REF_MAX = 255 };

struct git_source {
	const char *url;
	const char *ref;    /* branch, tag or refs/…; NULL: HEAD of the server, where no commit is given */
	const char *commit; /* NULL: what ref means now */
	const char *onto;   /* a branch of the same server, or a commit, that comes first; NULL: none */
	const char *base;   /* the commit of onto; NULL: what it means now */
};

struct git_commits {
	struct str url, ref, onto; /* ref, onto: as they were given, empty where they were not, or were commits */
	struct str commit, base;   /* 40 digits; base empty where there is none */
};

/* Whether that can be the URL of a repository, and whether it may be asked. */
int git_check_url(struct str url, struct err *e);
int git_check_ref(struct str ref, struct err *e);
/* URL, URL#REF in two. */
void git_split_url(struct str text, struct str *ret_url, struct str *ret_ref);
/* The repository's own name: "opam-repository" of ".../opam-repository.git"; never empty, no '/' and nothing else that a shell or a
 * file system would mind. */
struct str git_name(struct str url, struct arena *a);

int git_resolve(const struct git_source *s, struct arena *a, struct git_commits *ret, struct err *e);
int git_checkout(const struct git_commits *c, const char *cache_dir, const char *dest, int log_fd, struct err *e);

/* Which commit a folder is that was checked out: 1, with where that is to be had: the remote `origin`, where one of its branches has it, else the folder itself.
 * 0: it is no checkout, or not (only) what was committed, or cannot be trusted to tell. Nothing is written there, and no command of its configuration is run. */
int git_look(const char *dir, struct arena *a, struct git_commits *ret, struct err *e);

/* A place for one checkout, below CACHE_DIR/tmp, gone with its release. What killed processes left there goes when the next one opens. */
struct git_scratch {
	char *path; /* where git_checkout may make its folder; NULL: not open */
	char *lock_path;
	int lock;
};
#define GIT_SCRATCH_INIT ((struct git_scratch){.lock = -1})
int git_scratch_open(const char *cache_dir, struct git_scratch *ret, struct err *e);
void git_scratch_release(struct git_scratch *s);

/* -- copies of repositories, for whoever keeps house ------------------------------------------------------------------- */
struct git_cache_info {
	struct str name; /* its folder in CACHE_DIR */
	struct str url;
	int64_t used_ms;
	uint64_t bytes;
};
/* By name; none where there is no CACHE_DIR. */
int git_caches(const char *cache_dir, struct arena *a, struct git_cache_info **ret, size_t *ret_n, struct err *e);
/* 1 nobody uses it; 0 somebody does. */
int git_cache_is_free(const char *cache_dir, struct str name, struct err *e);
/* 1 it is away, and its files go with the release of *ret; 0 somebody uses it. */
int git_cache_take_away(const char *cache_dir, struct str name, struct git_scratch *ret, struct err *e);
