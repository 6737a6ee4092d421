// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * box: what the parts of sandbox share.
 *
 *	sandbox.c   the caller's side: prepares, starts pid 1, watches, reaps
 *	inside.c    pid 1: joins its namespaces and ids, builds the root, starts the command, reaps what it leaves
 *	overlay.c   layers laid over each other
 *	root.c      mounts: the root, /dev, /proc, /sys, given folders, secrets
 *	ids.c       user namespaces
 *	filter.c    the system call filter
 *	cgroup.c    control groups
 *	home.c      where a user's home is
 *	usage.c     how much disk is used
 *	procs.c     what processes hold: memory, files without a name
 */
#include <linux/filter.h>
#include <time.h>

#include "sandbox/sandbox.h"

enum box_ids {
	BOX_IDS_UNKNOWN,
	BOX_IDS_MAPPED, /* root; a range that owns nothing outside, mapped back on disk */
	BOX_IDS_PLAIN,	/* root; the ids are the outer ones */
	BOX_IDS_RANGE,	/* unprivileged; own id as 0, ranges of /etc/subuid after it */
	BOX_IDS_ONE,	/* unprivileged; one id */
};

enum {
	BOX_CGROUPS = 2,
	BOX_MOUNTS_MAX = 256,
	BOX_SECRETS_MAX = 64,
	BOX_SECRET_MAX = 1 << 20,
	BOX_LOWER_MAX = 500,
	BOX_FDS_MAX = 16,
	BOX_HOME_MAX = 256
};

struct box_cgroup {
	char path[BOX_CGROUPS][512]; /* "": none */
	int procs_fd[BOX_CGROUPS];   /* cgroup.procs */
	int lock_fd[BOX_CGROUPS];    /* the folder, locked by us */
	bool unified;
	bool memory, pids; /* limited by it */
};

/* pid 1's last words. */
struct box_report {
	enum { BOX_STARTED_NOT = 1, BOX_NO_IDMAP, BOX_ENDED, BOX_OVER } kind;
	int status;	      /* ENDED: as waitpid has it */
	enum sandbox_end end; /* OVER */
	struct err e;	      /* STARTED_NOT */
};

struct box {
	const struct sandbox_opts *o;
	sandbox_fn *fn; /* NULL: a command */
	void *ctx;
	const int *fds;
	size_t n_fds;
	enum box_ids ids;
	bool inner;    /* root of a user namespace that is not the machine's */
	int userns_fd; /* -1: none */
	uint32_t base; /* MAPPED: outer id of the sandbox's 0 */
	int out_fd;    /* of the command: a pipe where the one asked for is a file */
	int report_fd; /* pid 1 writes */
	int life_fd;   /* hangs up when the caller is gone */
	struct box_cgroup *cgroup;
	const char **envp; /* of the command: what was asked for, with a place for HOME; NULL of a call */
};

/* ids.c. For tests: what is taken instead of the best (UNKNOWN: the best again). */
void box_ids_force(enum box_ids ids);
/* Chooses, and makes the user namespace, once a process: b->ids, b->userns_fd (owned by ids.c), b->base. */
int box_ids_get(struct box *b, struct err *e);
/* The file system at hand cannot map ids: MAPPED is not chosen again. */
void box_ids_no_idmap(void);
/* In pid 1: into the namespace, as its uid and gid 0 (ONE: the step's). */
int box_ids_enter(const struct box *b, struct err *e);
/* "a:b:c" lines of /etc/subuid: the first range of at least 1 of name or id. False: none. */
bool box_ids_range(struct str text, const char *name, uint32_t id, uint32_t *ret_start, uint32_t *ret_count);
/* Where a range of 65536 behind all of them may begin; at least least. */
uint32_t box_ids_free(struct str text, uint32_t least);

/* What a limit of the disk is about: the root's and each given folder's, as far as they can be written to. */
enum { BOX_DISKS_MAX = 1 + BOX_MOUNTS_MAX };
struct box_disks {
	size_t n; /* 0: no limit */
	int fd[BOX_DISKS_MAX];
	bool is_new[BOX_DISKS_MAX]; /* all in it was written by this command (an upper folder); else what changed since `since` */
	struct timespec since;
};

/* root.c: in pid 1, from its own mount namespace. Afterwards "/" is the root. BOX_UNMAPPED: the file system cannot map ids; e is not
 * filled then. */
enum { BOX_UNMAPPED = -2 };
int box_root_enter(const struct box *b, struct box_disks *ret, struct err *e);

/* A detached copy of a mount, with flags, ids mapped where MAPPED; deep: with what is mounted below. Or BOX_UNMAPPED. */
int box_copy_tree(const struct box *b, int dirfd, const char *path, unsigned attr, bool deep, int *ret, struct err *e);

/* overlay.c. The detached mount of layers, or BOX_UNMAPPED. */
int box_overlay(const struct box *b, const struct sandbox_root *r, unsigned attr, struct err *e);
/* For tests: as kernels before 6.7 want it. */
void box_overlay_force_old(bool old);

/* inside.c: pid 1, does not return. */
_Noreturn void box_inside(struct box *b);

/* filter.c. How many instructions were written (at most cap). */
enum box_filter_flags { BOX_FILTER_SYNC = 1, BOX_FILTER_CHOWN = 2, BOX_FILTER_NESTED = 4 };
size_t box_filter_make(unsigned flags, struct sock_filter *out, size_t cap);
enum { BOX_FILTER_CAP = 1024 };
int box_filter_load(unsigned flags);

/* cgroup.c. Makes what limits ask for; what cannot be had is not an error. Removes those of processes that are gone. */
void box_cgroup_make(const struct sandbox_limits *limits, struct box_cgroup *ret);
int box_cgroup_join(const struct box_cgroup *c, struct err *e); /* the calling process */
bool box_cgroup_is_oom(const struct box_cgroup *c);
void box_cgroup_remove(struct box_cgroup *c, struct sandbox_result *ret);

/* home.c: in pid 1, after the root is entered. What the root's /etc/passwd says, "/" where it says nothing. */
void box_home(uid_t uid, char ret[BOX_HOME_MAX]);

/* usage.c. Bytes on disk below them (hard links once); stops above limit. UINT64_MAX: a tree too deep to tell. */
uint64_t box_disk_used(const struct box_disks *d, uint64_t limit_bytes);

/* procs.c: what the processes of /proc hold, but pid 1. Bytes of files that are open and have no name any more. */
uint64_t box_disk_hidden(void);
enum { BOX_MEMORY_FS = 2 };
struct box_memory {
	int fs_fd[BOX_MEMORY_FS]; /* of the sandbox's file systems in memory */
	dev_t memfd_device;	  /* of files in memory without a name */
	char memfd_device_words[32];
};
/* Before the command runs, which may cover names. The descriptors stay open. */
void box_memory_begin(struct box_memory *m);
/* Whether they and those file systems have more memory, as sandbox.h counts it. */
bool box_memory_is_over(const struct box_memory *m, uint64_t limit_bytes);
void box_ids_why(char *buf, size_t n); /* why there is no range of ids; empty: there is, or nobody asked */
