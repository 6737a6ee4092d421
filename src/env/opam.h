// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam (private to env): what the files of opam roots and switches share.
 */
#include "base/fs.h"
#include "env/env.h"

enum { OPAM_DIRS_MODE = 0755, OPAM_NAMES_MAX = 100000 };

struct env_opam {
	char *path;
	int fd;
	int lock_fd[ENV_OPAM_PARTS], format_fd; /* format_fd: ROOT/lock, to read, while it is open */
	bool lock_write[ENV_OPAM_PARTS];
};

/* PREFIX/.opam-switch */
#define OPAM_META ".opam-switch"
struct env_opam_switch {
	struct env_opam *root;
	char *name, *prefix;
	int fd, meta_fd, lock_fd;
	bool lock_write;
};

/* A lock as OCaml's lockf takes it, on a file that is made where it is missing; *fd is opened for it or used again. */
int opam_lock(int dir_fd, const char *path, const char *shown, bool write, int64_t wait_ms, int *fd, bool *held_write,
	      struct err *e);
/* What killed processes were writing in these folders, up to NULL. For whoever holds the lock to write. */
void opam_clean(int dir_fd, const char *const *folders);

/* A file into the arena and read; one that is not there reads as empty: 0, else 1. */
int opam_read_doc(struct arena *a, int dir_fd, const char *path, const char *shown, struct pkg_opam_doc *ret,
		  struct err *e);
/* Replaced whole, on disk. */
int opam_write(int dir_fd, const char *path, const struct buf *b, struct err *e);
/* A doc with fields said anew, written. */
struct opam_edit {
	const char *field;
	const struct pkg_opam_value *value; /* NULL: out */
};
int opam_write_edited(struct arena *a, int dir_fd, const char *path, const struct pkg_opam_doc *d,
		      const struct opam_edit *v, size_t n, struct err *e);

/* A list of strings as a value, and back. */
const struct pkg_opam_value *opam_strings(struct arena *a, const struct str *v, size_t n);
struct pkg_opam_strs opam_strings_of(struct arena *a, const struct pkg_opam_value *v);
const struct pkg_opam_value *opam_string(struct arena *a, struct str s);

/* "a/./b/../c" as "a/c" in the arena; STR_NONE where it leaves its folder, is empty or holds what no path may. */
struct str opam_normal_path(struct arena *a, struct str path);

/* "name.version" as opam orders them: by name, letters alike in either case first. */
int opam_nv_cmp(struct str a, struct str b);

/* Where a kind of file lies, relative to the prefix ("lib"), by the switch's `paths`. STR_NONE where that is outside of it. */
struct str opam_dir(struct arena *a, const struct pkg_opam_doc *switch_config, struct str prefix, const char *kind);
/* The same as an absolute path, wherever it is. */
struct str opam_dir_path(struct arena *a, const struct pkg_opam_doc *switch_config, struct str prefix,
			 const char *kind);
