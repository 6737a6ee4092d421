// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * What the files of this module share.
 */
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/json.h"
#include "service/service.h"

/* == names and declarations (component.c) ========================================================================= */
bool service_name_ok(struct str s);
/* The declaration in the form of a component file, as JSON: what decl_read reads back as the same. */
void decl_put(struct jw *w, const struct service_decl *d);
int decl_read(struct arena *a, struct str json, struct str component, struct str name, struct service_decl *ret,
	      struct err *e);
/* A copy that lives in the arena, through decl_put and decl_read: what is refused in a file is refused here. */
int decl_copy(struct arena *a, const struct service_decl *d, struct service_decl *ret, struct err *e);
const char *signal_word(int signo);							 /* "TERM" */
int signal_of(struct str word);								 /* 0 where it is not known */
const struct service_socket *decl_socket(const struct service_decl *d, struct str name); /* NULL: none */

/* == who (spawn.c) ================================================================================================ */
enum { GROUPS_MAX = 64 };
struct identity {
	bool change; /* false: as the supervisor */
	uid_t uid;
	gid_t gid, groups[GROUPS_MAX];
	int groups_n;
	char name[64], home[256];
};
/* "USER" or "USER:GROUP"; empty: nothing to change. */
int identity_find(struct str user, struct identity *ret, struct err *e);

/* == processes (spawn.c) ========================================================================================== */
/*
 * A child is made in two steps: spawn_hold makes a process that waits, so that its pid can be written down, and spawn_go lets it become
 * the program. Where its maker dies in between, it ends by itself. The descriptor `gate` then becomes readable: at its end
 * the program runs, else spawn_result tells why not.
 */
struct spawn {
	const char *const *argv; /* argv[0] is a path */
	char *const *envp;
	char *listen_pid; /* where the child writes its pid in envp, 12 bytes; or NULL */
	const char *cwd;
	int out;	/* its outputs */
	const int *fds; /* its descriptors from 3 on */
	size_t fds_n;
	const struct identity *who;
};
struct spawned {
	pid_t pid;
	int pidfd, gate;
	uint64_t start_ticks;
};
enum { SPAWN_FDS_MAX = 16 };
int spawn_hold(const struct spawn *s, struct spawned *ret, struct err *e);
void spawn_go(const struct spawned *s);
/* 1 it runs, 0 not known yet, -1 it could not. */
int spawn_result(int gate, const char *program, struct err *e);
/* What /proc/PID/stat says; false where there is no such process. */
struct proc_stat {
	bool ended; /* a zombie */
	pid_t parent, session;
	uint64_t start_ticks;
};
bool proc_stat_read(pid_t pid, struct proc_stat *ret);
/* argv and environment as a program of this service gets them. With sockets: LISTEN_*, for n descriptors. */
struct program {
	const char **argv;
	char **envp;
	char *listen_pid;
	const char *cwd;
	struct identity who;
};
int program_make(struct arena *a, const struct service_ref *r, const struct str *argv, uint32_t argv_n,
		 const char *notify_path, bool with_sockets, struct program *ret, struct err *e);
/* "ended with exit code 3", "was ended by signal 9 (Killed)"; status -1: "has ended" */
void status_put(struct buf *b, int status);

/* == sockets (socket.c) =========================================================================================== */
struct address {
	socklen_t n;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
	} u;
	bool any_host; /* "*": both families where the host has them */
};
/* `dir`: where a relative UNIX socket lies; NULL while only the form is checked. */
int address_parse(struct str text, const char *dir, struct address *ret, struct err *e);
/* A listening socket, close-on-exec. A UNIX socket that nobody listens on is removed first; it belongs to `who`. */
int socket_listen(const struct address *a, const char *text, mode_t mode, const struct identity *who, struct err *e);
bool socket_is(int fd, const struct address *a); /* it listens, there */
/* Begins to connect, non-blocking; 0 in *ret_pending: connected. Returns the descriptor. */
int socket_connect(const struct address *a, bool *ret_pending, struct err *e);

/* == logs (log.c) ================================================================================================= */
enum { LOG_MAX_BYTES = 4 << 20 };
int log_open(int dirfd, const char *name, struct err *e); /* NAME.log, to append to */
/* Where it has outgrown LOG_MAX_BYTES, its end is moved to NAME.log.1 and it begins anew. */
int log_rotate(int dirfd, const char *name, int fd, struct err *e);
__attribute__((format(printf, 3, 4))) void log_say(int fd, int64_t wall_ms, const char *fmt, ...);
