// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * service: the programs that an environment keeps running, and how one version of them takes over from another.
 *
 * A package (or a recipe's `component` line) describes a component in share/slipway/component/<name>.yml of the prefix
 * (doc/formats/component.md): its services, the state that belongs to it, its configuration files. Reading is bounded and checked
 * (component_read); the rest of this module runs services: 1 declarations, 2 the supervisor, 3 health checks,
 * 4 units for hosts that systemd runs.
 *
 * Hand-over, the point of it all: listening sockets belong to the supervisor, not to the program. A new version gets the same
 * sockets (LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES: sd_listen_fds(3)), says that it is ready (NOTIFY_SOCKET with READY=1: sd_notify(3)),
 * passes its health checks, and only then does the old one get its stop signal and drains: no connection is refused in between,
 * and where the new one does not become healthy the old one never stopped.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/loop.h"

/* == 1. declarations ============================================================================================== */
enum service_ready { SERVICE_READY_STARTED, SERVICE_READY_NOTIFY }; /* it runs; it says READY=1 */
enum service_restart { SERVICE_RESTART_ON_FAILURE, SERVICE_RESTART_ALWAYS, SERVICE_RESTART_NEVER };
enum service_takeover { SERVICE_HAND_OVER_SOCKETS, SERVICE_HAND_OVER_RESTART };
enum service_probe_kind { SERVICE_PROBE_COMMAND, SERVICE_PROBE_TCP, SERVICE_PROBE_HTTP };

struct service_socket {
	struct str name; /* LISTEN_FDNAMES */
	struct str
		address; /* "127.0.0.1:8080", "[::]:80", "*:80", "/run/x.sock" (relative: under the runtime folder); empty where private */
	/* A UNIX socket of its own for each process, so that a version can be asked for its health while another still
	 * answers on the shared ones. */
	bool is_private;
};
struct service_probe {
	enum service_probe_kind kind;
	const struct str *argv; /* COMMAND; a relative program is the prefix's */
	uint32_t argv_n;
	struct str address; /* TCP, HTTP: host:port, or the name of one of the service's sockets */
	struct str path;    /* HTTP; any 2xx answer is healthy */
};
struct service_decl {
	struct str component, name; /* [A-Za-z0-9][A-Za-z0-9._-]{0,63} */
	const struct str *argv;	    /* argv[0] without '/' at its front: relative to the prefix */
	uint32_t argv_n;
	const struct str *environment; /* "KEY=value" */
	uint32_t environment_n;
	struct str user, working_directory;
	const struct service_socket *sockets;
	uint32_t sockets_n;
	enum service_takeover takeover;
	enum service_ready ready;
	enum service_restart restart;
	int stop_signal;
	int64_t start_timeout_ms, stop_timeout_ms, restart_delay_ms;
	const struct service_probe *probes;
	uint32_t probes_n;
	int64_t probe_interval_ms, probe_timeout_ms;
	uint32_t probe_passes, probe_failures; /* in a row: healthy; unhealthy */
	const struct str *after;	       /* services of the same environment that are started before */
	uint32_t after_n;
};
enum state_method { STATE_COPY, STATE_COMMAND };
enum state_on_abort { STATE_ON_ABORT_RESTORE, STATE_ON_ABORT_KEEP };
/* State that belongs to the software: what reads it must know its format. */
struct state_decl {
	struct str component, name;
	struct str format; /* version of the data's format, compared as text */
	const struct str *readable;
	uint32_t readable_n; /* formats of others that this version can read; its own is always one */
	struct str path;     /* COPY: absolute file or folder */
	enum state_method method;
	const struct str *checkpoint,
		*restore; /* COMMAND: argv; {checkpoint} stands for the folder of the checkpoint */
	uint32_t checkpoint_n, restore_n;
	enum state_on_abort on_abort;
};
/* A configuration file that a person may change: what the package brings is its default. */
struct config_decl {
	struct str component;
	struct str path;	      /* absolute, what the program reads */
	struct str default_file;      /* relative to the prefix */
	const struct str *deprecated; /* pairs: parameter, what replaces it */
	uint32_t deprecated_n;	      /* pairs */
};
/* Between which versions of the component's package one may go. What either list holds are older versions; it is the newer one that knows
 * them. A list that is not given allows all. Specs are the package's scheme's: this module does not read them. */
struct upgrade_decl {
	struct str package; /* empty: as the component */
	const struct str *from, *down;
	uint32_t from_n, down_n;
	bool has_from, has_down;
};
struct component {
	struct str name;
	struct upgrade_decl upgrades;
	struct service_decl *services;
	uint32_t services_n;
	struct state_decl *states;
	uint32_t states_n;
	struct config_decl *configs;
	uint32_t configs_n;
};
/* Text of one component file; `where` names it in messages. Views into the arena. */
int component_read(struct arena *a, struct str text, const char *name, const char *where, struct component *ret,
		   struct err *e);
/* All components of a prefix, sorted by name; none is fine. Services sorted so that `after` holds; a cycle is an error. */
int component_read_all(struct arena *a, const char *prefix, struct component **ret, size_t *ret_n, struct err *e);
/* The services of all components in the order of their start (stopped in the reverse): `after` may name those of another
 * component. Two of one name, an unknown name and a cycle are errors. */
int component_services(struct arena *a, const struct component *c, size_t n, const struct service_decl ***ret,
		       size_t *ret_n, struct err *e);

/* == 2. the supervisor ============================================================================================ */
/*
 * Stepped by a loop; start, hand-over and stop answer through `done`, never before the function has returned. One service has one process
 * that serves, during a hand-over one that comes, and those that drain: they have their stop signal and leave by themselves, or at the end
 * of their stop time. What runs is kept in `run_dir` (doc/formats/run.md), written before a process is let go: a supervisor that
 * starts where another died finds the processes (pid and start time), takes their listening sockets back (pidfd_getfd), and goes on.
 * Its own end does not end the services: whoever wants that stops each of them.
 *
 * Hand-over by sockets: the new process starts on the same sockets; when it is ready, probes that name a private socket ask it; then it
 * serves and the old one gets its stop signal; when that has let go of the sockets (it closed them, or has ended), the other probes
 * ask. Where the sockets cannot be shared (none were taken back after an adoption without privilege), and by declaration: stop, start, probes.
 * Failure, in the order of the damage:
 *	any other code	   before the old one was told to stop: it runs on, as it was
 *	ERR_ROLLED_BACK	   afterwards: the old version was started again, on the sockets that were held all the time, and is healthy
 *	ERR_UNCERTAIN	   and it did not come back; its restart rule goes on trying
 *
 * At most 16 processes of a service drain at once: a hand-over is ERR_BUSY then.
 *
 * Restarts: each end in a row doubles the delay, up to five minutes; a minute of running begins anew. Nothing is given up for good. A service
 * that is unhealthy is told of (`event`, status), not restarted.
 */
struct supervisor;
enum service_state {
	SERVICE_STOPPED,
	SERVICE_STARTING,
	SERVICE_RUNNING,
	SERVICE_UNHEALTHY,
	SERVICE_HANDING_OVER,
	SERVICE_STOPPING,
	SERVICE_FAILED
};
const char *service_state_name(enum service_state s);
struct service_status {
	struct str env, name;
	uint32_t generation;
	enum service_state state;
	pid_t pid;
	int64_t since_ms; /* wall */
	uint32_t restarts;
	struct str why;	  /* FAILED, UNHEALTHY: the reason */
	uint32_t leaving; /* processes that were told to stop and have not ended: they answer what they were asked */
};
typedef void service_done_fn(void *ctx, const struct err *failure); /* NULL: done */
typedef void service_event_fn(void *ctx, const struct service_status *s);

struct supervisor_opts {
	struct loop *loop;
	int run_dirfd; /* ROOT/run */
	const char *run_path;
	service_event_fn *event; /* each change of state; may be NULL; it calls nothing of the supervisor */
	void *ctx;
};
/* ERR_BUSY where another supervisor has this folder. */
int supervisor_new(const struct supervisor_opts *o, struct supervisor **ret, struct err *e);
void supervisor_free(struct supervisor *s); /* lets go of the services; they run on; what is under way is not answered */
DEFINE_AUTO(struct supervisor *, supervisor, supervisor_free);
/* Takes over what another supervisor left running in run_dir; what is no longer alive is started again by its restart rule. Of an
 * interrupted hand-over the one that came is ended. What ran before the host was started anew is forgotten. On failure all others have been
 * taken over, and calling it again tries the rest. */
int supervisor_adopt(struct supervisor *s, struct err *e);

/* A service of an environment: `prefix` is the generation's real path. The declaration is copied. */
struct service_ref {
	struct str env;
	uint32_t generation;
	const char *prefix;
	const struct service_decl *decl;
	const char *runtime_dir; /* ROOT/run/ENV/NAME, for service_probe; the supervisor knows its own */
};
/* Starts it; done when it is ready and healthy. Running already in this generation: done; in another: ERR_EXISTS. ERR_BUSY while another
 * operation is under way. */
void service_start(struct supervisor *s, const struct service_ref *r, service_done_fn *done, void *ctx);
/* From whatever runs under this name to this version, as the new declaration says. On failure the old one runs on (or again), and
 * the failure says so. */
void service_hand_over(struct supervisor *s, const struct service_ref *r, service_done_fn *done, void *ctx);
/* At any time: what is under way fails with 'was stopped meanwhile'. Done when all its processes have ended. */
void service_stop(struct supervisor *s, struct str env, struct str name, service_done_fn *done, void *ctx);
/* Asks for health now, past any interval. */
void service_check(struct supervisor *s, struct str env, struct str name, service_done_fn *done, void *ctx);
/* What runs, sorted by environment and name. */
int supervisor_status(struct supervisor *s, struct arena *a, struct service_status **ret, size_t *ret_n, struct err *e);

/* == 3. health checks ============================================================================================= */
/* Runs one probe on the loop; done is called once, at the latest when timeout_ms is over. `private_path` is the path of the
 * service's private socket of that process, or NULL. */
struct probe_run;
struct probe_run *service_probe(struct loop *l, const struct service_probe *p, const struct service_ref *r,
				const char *private_path, int64_t timeout_ms, service_done_fn *done, void *ctx);
void service_probe_cancel(struct probe_run *p);

/* == 4. systemd =================================================================================================== */
/*
 * Units for a host that systemd runs; systemd.service(5), systemd.socket(5). NAME is slipway-ENV-SERVICE, G a generation:
 *
 *	NAME@G.service		a version; two of them may run, on the same sockets (Sockets=), while one takes over from the other
 *	NAME-SOCKET.socket	a shared socket, of all versions: a socket unit gives one name to all its descriptors, so each is a unit
 *	NAME-SOCKET@G.socket	a private one, of that version, at service_private_path
 *	NAME.target		reached when a version has started: what other services are ordered after, whichever version it is
 *
 * Section [X-Slipway], which systemd passes over, tells whose unit it is: Root, Environment, Service, Generation. of_user: for the manager
 * of a user, which has other targets and no other users.
 */
/* One word in double quotes; '%' would begin a specifier, and in commands '$' a variable. */
void service_put_quoted(struct buf *b, struct str s, bool is_command);
void service_unit_name(const struct service_ref *r, struct buf *b);
void service_target_name(const struct service_ref *r, struct buf *b);
void service_socket_unit_name(const struct service_ref *r, uint32_t socket, struct buf *b);
char *service_private_path(const char *runtime_dir, struct str socket, uint32_t generation);
/* `after`: further units that it starts after, each with a space before it. */
void service_put_unit(const struct service_ref *r, const char *root_path, bool of_user, struct str after,
		      struct buf *b);
void service_put_socket_unit(const struct service_ref *r, uint32_t socket, const char *root_path, struct buf *b);
void service_put_target(const struct service_ref *r, const char *root_path, struct buf *b);
