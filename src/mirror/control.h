// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * control (private to mirror): how a mirror's server is told something by the machine's own commands: DIR/state/control, a socket of
 * packets (unix(7), SOCK_SEQPACKET) that only the server's user and root may use. One packet asks, one answers:
 *
 *	status    a JSON object, as the server's owner makes it
 *	reload    configuration and certificates are read again: {} or {"error": …}
 *	succeed P the server starts the program P, "P mirror serve --take-over DIR", which takes its place: so it stays in the control group of
 *	          the service manager that watches over it. {}; what becomes of it stands in the status
 *	stop      {}; the connection ends when the server has
 *	sockets   {"names": […]} and the listening sockets (SCM_RIGHTS), for the process that is to take its place
 *	ready     of that process, when it accepts connections: {}; the server accepts no more, answers what it was asked, and ends;
 *	          then the connection ends
 *
 * The server:
 *	control_listen(state_fd, &handlers, ctx, &c, e)		a thread of its own answers
 *	control_close(c)					ends the thread; connections end
 * A command:
 *	control_ask(state_fd, "stop", wait_ms, &buf, &conn, e)	ERR_NOT_FOUND: no server runs there
 *	control_take(state_fd, &sockets, &conn, e)		then control_say(conn, "ready", …), control_wait_end(conn, wait_ms, e)
 *
 * A process that takes another one's place listens here only when it accepts connections, just before it says "ready": until then the
 * name is the old one's, and so it stays where the new one fails.
 *
 * The socket's name outlives a server that was killed: a connection to it is refused then, which counts as not there.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

enum { CONTROL_SOCKETS_MAX = 16, CONTROL_NAME_MAX = 64, CONTROL_ANSWER_MAX = 64 << 10 };

struct control_sockets {
	int fd[CONTROL_SOCKETS_MAX];
	char name[CONTROL_SOCKETS_MAX][CONTROL_NAME_MAX];
	int n;
};
void control_sockets_release(struct control_sockets *s); /* closes them */

/* Called by the thread, one at a time. */
struct control_handlers {
	int (*status)(void *ctx, struct buf *b, struct err *e);
	int (*reload)(void *ctx, struct err *e);
	int (*succeed)(void *ctx, const char *program, struct err *e);
	void (*stop)(void *ctx); /* begin to end, at once or as soon as can be */
	int (*sockets)(void *ctx, struct control_sockets *ret, struct err *e); /* copies: closed when they were sent */
	void (*retire)(void *ctx); /* as stop, but what goes on is answered to its end */
};
struct control;
int control_listen(int state_fd, const struct control_handlers *h, void *ctx, struct control **ret, struct err *e);
void control_close(struct control *c);
DEFINE_AUTO(struct control *, control, control_close);

/* *ret_conn: the connection, the caller's to close; NULL: closed here. ret: the answer's JSON. */
int control_ask(int state_fd, const char *verb, int64_t wait_ms, struct buf *ret, int *ret_conn, struct err *e);
int control_say(int conn, const char *verb, int64_t wait_ms, struct buf *ret, struct err *e);
/* ERR_BUSY: it has not ended. */
int control_wait_end(int conn, int64_t wait_ms, struct err *e);
int control_take(int state_fd, struct control_sockets *ret, int *ret_conn, struct err *e);
