// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * sandbox: a process confined in a root file system.
 *
 *	struct sandbox_opts o = SANDBOX_OPTS_INIT;
 *	o.root = (struct sandbox_root){.lower = lower, .n_lower = 3, .upper = "tmp/x/fs", .work = "tmp/x/work"};
 *	o.argv = argv; o.envp = envp; o.out_fd = log_fd;
 *	if (sandbox_run(&o, &result, e) < 0) ...           it could not be started
 *	if (result.end == SANDBOX_EXITED && result.code == 0) ...
 *
 * The command gets its own process, mount, IPC, host name, cgroup and (unless told otherwise) network namespace, a /dev of
 * seven devices, a fresh /proc whose dangerous parts are hidden or read-only, a read-only /sys, a bounded set of
 * capabilities, a system call filter, no terminal and no open file but 0, 1, 2. Nothing of this outlives the call: mounts
 * are made in the sandbox's own mount namespace, and when its first process, the caller or the caller's thread ends, by whatever
 * signal, every process in it is killed. Only an empty control group of a killed caller stays until the next run.
 *
 * Whose ids. Where the caller is root, the sandbox's ids are mapped in a user namespace onto a range that owns nothing outside,
 * and the folders given are mapped back: a file of the sandbox's user 1000 belongs to 1000 on disk. (Such folders hold
 * set-user-id files of root: no other user may be able to enter the folder they lie in.) Where the kernel or file system
 * cannot do that, the ids are the outer ones and only capabilities and filter confine. An unprivileged caller is root inside;
 * the other ids are the ranges /etc/subuid and /etc/subgid give him, or there are no others, and then chown does nothing.
 *
 * Linux 5.12 or later (mount_setattr). Bounds: 500 lower folders (before Linux 6.7 some 200), 256 mounts, 64 secrets of 1 MiB. Functions may be called from several
 * threads; each is one sandbox. Decisions: doc/decisions/0070-sandbox.md.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* What becomes "/": one folder, or folders laid over each other (overlayfs; mounted `volatile` where the kernel knows that, without
 * redirect_dir, metacopy and index: what is written is plain). All paths are absolute. The same upper and work may be used by one
 * sandbox after the other, never by two at once. */
struct sandbox_root {
	const char *dir;	  /* a whole tree; NULL: overlay */
	const char *const *lower; /* overlay: topmost first */
	size_t n_lower;
	const char *upper,
		*work; /* overlay: what is written goes to upper (work: an empty folder on the same file system); both NULL: read-only */
	bool readonly;
};

struct sandbox_mount {
	const char *source; /* a folder or file of the host */
	const char *target; /* absolute, in the sandbox; made where it is not there */
	bool readonly;	    /* always nosuid, nodev */
	const struct sandbox_root
		*root; /* in place of source, where not NULL: a cache of steps that is laid over another */
};

/* A file with mode 0400 of the step's user, in memory, read-only. Where its target was not there, an empty file stays in the root. */
struct sandbox_secret {
	const char *target;
	struct str value;
};

/* 0: none. Where no control group can be had, processes are bounded by RLIMIT_NPROC, and memory is bounded a process (RLIMIT_DATA) and
 * watched ten times a second, as the sum, each page once, of what processes have to themselves or share with each other, swapped or not,
 * mapped or in a file in memory that one of them has open, of what lies in /dev and /dev/shm, and of segments of System V. Not counted
 * then: what files on disk have cached, huge pages, what the kernel has for processes (pipes, tables), memory that none of them has open or mapped (a
 * file on its way through a socket), and file systems in memory of sandboxes inside. */
struct sandbox_limits {
	uint64_t memory_bytes;
	uint64_t disk_bytes; /* that may be written: of an upper folder all counts, of others (dir, mounts) the files that were changed */
	uint32_t processes; /* threads count */
	int64_t time_ms;
	uint64_t output_bytes; /* that go to out_fd, where that is a file */
};

enum sandbox_end {
	SANDBOX_EXITED,
	SANDBOX_SIGNALLED,
	SANDBOX_CANCELLED,
	SANDBOX_TIME,
	SANDBOX_MEMORY, /* a process of it was killed for want of memory within the limit; the others then, too */
	SANDBOX_DISK,
	SANDBOX_OUTPUT,
};

struct sandbox_result {
	enum sandbox_end end;
	int code; /* exit status, or signal */
	int64_t wall_us, cpu_us;
	uint64_t peak_bytes;	/* 0: not known */
	uint64_t forks_refused; /* by the limit of processes; 0 also where it is not known */
};

struct sandbox_opts {
	struct sandbox_root root;
	const char *const *argv; /* argv[0] is looked up in the PATH of envp */
	const char *const *envp; /* the whole environment, but for `home` */
	const char *cwd;	 /* absolute, made where it is not there; NULL: "/" */
	uid_t uid;		 /* in the sandbox */
	gid_t gid;
	const char *hostname; /* NULL: "builder" */
	bool network_host; /* the host's network with its /etc/resolv.conf; else one of its own with a loopback only */
	bool home;	   /* HOME, where envp has none, is what the root's /etc/passwd says of uid, else "/" */
	bool fast_sync;	   /* fsync and its kin do nothing */
	bool no_new_privileges; /* set-user-id programs (sudo) do not work */
	bool nested; /* the command may make user namespaces and mount in them: bubblewrap, as opam runs it, in a step. More
				 * of the kernel can be attacked then, and with mapped ids /proc hides nothing but by its own modes */
	const struct sandbox_mount *mounts;
	size_t n_mounts;
	const struct sandbox_secret *secrets;
	size_t n_secrets;
	struct sandbox_limits limits;
	int out_fd; /* standard output and error; a file gets it through a pipe, so that nothing but printing can be done to it. Standard
		     * input is /dev/null */
	int cancel_fd; /* readable or hung up: everything in the sandbox is killed; -1: none */
};
#define SANDBOX_OPTS_INIT ((struct sandbox_opts){.out_fd = 1, .cancel_fd = -1})

/* 0 where it ran and ended (see ret); -1 where it could not be started: ERR_NOT_FOUND for a command that is not there,
 * ERR_UNSUPPORTED for what this machine or user cannot have. What the command left running is killed when it ends. */
int sandbox_run(const struct sandbox_opts *o, struct sandbox_result *ret, struct err *e);

/* Runs fn in a child whose "/" is the root, as the sandbox's uid 0 with capabilities enough to write files of any owner, without
 * /proc, /dev and /sys (unless the root has them), under the same filter. For unpacking into a root, reading out of one, removing one: no
 * symbolic link in it leads out. Of opts root, mounts, cancel_fd and the limit of time count. fds stay open, at their
 * numbers, and no other but 0, 1, 2. What fn returns becomes the result (0, or -1 with *e, which is brought back); nothing else that it does to
 * memory is. Its processor time and what it forks end with it. */
typedef int sandbox_fn(void *ctx, struct err *e);
int sandbox_call(const struct sandbox_opts *o, const int *fds, size_t n_fds, sandbox_fn *fn, void *ctx, struct err *e);

/* What this machine and user can have, tried out (some ms): for `slipway build --check` and messages. */
struct sandbox_can {
	bool run;			 /* at all */
	bool overlay;			 /* a root of layers */
	bool overlay_needs_userxattr;	 /* its marks are user.overlay.* in place of trusted.overlay.* */
	bool user_namespace;		 /* the sandbox's root is nobody outside */
	bool id_range;			 /* more than one user id */
	bool idmapped;			 /* ids are mapped back on disk */
	bool cgroup_memory, cgroup_pids; /* limits of the whole sandbox */
	bool seccomp;
	char why[512]; /* of what cannot be had: the reasons, and what to do, a line each */
};
void sandbox_probe(struct sandbox_can *ret);
