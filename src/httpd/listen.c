// SPDX-License-Identifier: Apache-2.0
/* Listening sockets: made, inherited (sd_listen_fds(3) describes the protocol), handed on; and who may connect. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/map.h"
#include "httpd/server.h"

enum { BACKLOG = 4096, FIRST_FD = 3 };
extern char **environ;

/* -- made -------------------------------------------------------------------------------------------------------------------------- */

static int address_of(const struct httpd_listen *l, struct sockaddr_storage *ret, socklen_t *ret_n, struct err *e)
{
	struct sockaddr_in *four = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;
	*ret = (struct sockaddr_storage){0};
	if (l->address && inet_pton(AF_INET, l->address, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(l->port);
		*ret_n = sizeof(*four);
		return 0;
	}
	if (l->address && inet_pton(AF_INET6, l->address, &six->sin6_addr) != 1)
		return err_new(e, ERR_USAGE, "'%s' is no numeric address to listen on", l->address);
	six->sin6_family = AF_INET6; /* none: all of both families */
	six->sin6_port = htons(l->port);
	*ret_n = sizeof(*six);
	return 0;
}

static int bind_one(const struct httpd_listen *l, struct err *e)
{
	struct sockaddr_storage a;
	socklen_t n = 0;
	int one = 1, zero = 0;
	const char *name = l->address ? l->address : "*";
	if (address_of(l, &a, &n, e) < 0)
		return -1;
	auto_fd fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 && !l->address && errno == EAFNOSUPPORT) { /* a host without IPv6 */
		struct httpd_listen four = *l;
		four.address = "0.0.0.0";
		return bind_one(&four, e);
	}
	if (fd < 0)
		return err_sys(e, "listen on '%s' port %u", name, l->port);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (a.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, l->address ? &one : &zero, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(e, "listen on '%s' port %u", name, l->port);
	return steal_fd(&fd);
}

int listen_open(const struct httpd_listen *l, int *ret_fd, struct err *e)
{
	int fd = l->fd;
	if (fd < 0)
		fd = bind_one(l, e);
	if (fd < 0)
		return -1;
	int flags = fcntl(fd, F_GETFL), on = 0;
	socklen_t n = sizeof(on);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) < 0 || !on) {
		if (l->fd < 0)
			close(fd);
		return err_new(e, ERR_USAGE, "descriptor %d is no listening socket", fd);
	}
	*ret_fd = fd;
	return 0;
}

uint16_t httpd_port(const struct httpd *h, size_t listener)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);
	if (listener >= h->listen_n || getsockname(h->listen[listener].fd, (struct sockaddr *)&a, &n) < 0)
		return 0;
	if (a.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&a)->sin_port);
	return a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port) : 0;
}

/* -- inherited, handed on --------------------------------------------------------------------------------------------------------------- */

int httpd_inherited(int *fds, size_t max, struct err *e)
{
	const char *pid_text = getenv("LISTEN_PID"), *n_text = getenv("LISTEN_FDS");
	uint64_t pid, n;
	if (!pid_text || !n_text)
		return 0;
	if (!str_to_u64(str_c(pid_text), &pid) || !str_to_u64(str_c(n_text), &n) || n > 1000)
		return err_new(e, ERR_INPUT, "LISTEN_PID and LISTEN_FDS are no numbers");
	if (pid != (uint64_t)getpid())
		return 0;
	for (size_t i = 0; i < n && i < max; i++) {
		fds[i] = FIRST_FD + (int)i;
		if (fcntl(fds[i], F_SETFD, FD_CLOEXEC) < 0)
			return err_sys(e, "inherited socket %d", fds[i]);
	}
	return (int)(n < max ? n : max);
}

enum { PID_DIGITS = 10 };

/* A copy of envp with our two variables; the pid is filled in by the child. */
static char **make_env(const char *const *envp, size_t n_fds, char *pid_text, size_t pid_size, char *n_text,
		       size_t n_size)
{
	size_t n = 0, to = 0;
	while (envp[n])
		n++;
	char **copy = xcalloc(n + 3, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		if (strncmp(envp[i], "LISTEN_", 7) != 0)
			copy[to++] = (char *)(uintptr_t)envp[i];
	snprintf(pid_text, pid_size, "LISTEN_PID=%0*d", PID_DIGITS, 0);
	snprintf(n_text, n_size, "LISTEN_FDS=%zu", n_fds);
	copy[to++] = pid_text;
	copy[to++] = n_text;
	return copy;
}

/* In the child of a process with threads: only what is safe after fork. */
static _Noreturn void become(const struct httpd *h, const char *const *argv, char **envp, char *pid_text)
{
	int pid = getpid(), high[HTTPD_LISTEN_MAX];
	sigset_t none;
	for (int i = PID_DIGITS; i-- > 0; pid /= 10)
		pid_text[11 + i] = (char)('0' + pid % 10);
	for (size_t i = 0; i < h->listen_n; i++) /* out of the way first */
		if ((high[i] = fcntl(h->listen[i].fd, F_DUPFD_CLOEXEC, FIRST_FD + HTTPD_LISTEN_MAX)) < 0)
			_exit(126);
	for (size_t i = 0; i < h->listen_n; i++)
		if (dup2(high[i], FIRST_FD + (int)i) < 0)
			_exit(126);
	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	execve(argv[0], (char *const *)(uintptr_t)argv, envp);
	_exit(127);
}

int httpd_hand_over(struct httpd *h, const char *const *argv, const char *const *envp, pid_t *ret, struct err *e)
{
	char pid_text[32], n_text[32];
	if (access(argv[0], X_OK) < 0)
		return err_sys(e, "start '%s'", argv[0]);
	auto_free char **env = make_env(envp ? envp : (const char *const *)(uintptr_t)environ, h->listen_n, pid_text,
					sizeof(pid_text), n_text, sizeof(n_text));
	pid_t child = fork();
	if (child < 0)
		return err_sys(e, "start '%s'", argv[0]);
	if (child == 0)
		become(h, argv, env, pid_text);
	*ret = child;
	return 0;
}

/* -- who connects ------------------------------------------------------------------------------------------------------------------------- */

void peer_name(struct peer *p)
{
	char *out = p->text;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&p->addr;
	const struct sockaddr_in *four = (const struct sockaddr_in *)&p->addr;
	memcpy(out, "local", 6);
	if (p->addr.ss_family == AF_INET)
		inet_ntop(AF_INET, &four->sin_addr, out, INET6_ADDRSTRLEN);
	else if (p->addr.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, out, INET6_ADDRSTRLEN);
	else if (p->addr.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &six->sin6_addr, out, INET6_ADDRSTRLEN);
}

static uint32_t slot_of(const struct httpd *h, const struct peer *p)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&p->addr;
	const struct sockaddr_in *four = (const struct sockaddr_in *)&p->addr;
	uint8_t key[16] = {0};
	if (p->addr.ss_family == AF_INET)
		memcpy(key, &four->sin_addr, 4);
	else if (p->addr.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		memcpy(key, six->sin6_addr.s6_addr + 12, 4);
	else if (p->addr.ss_family == AF_INET6)
		memcpy(key, six->sin6_addr.s6_addr, 8); /* a /64 is one customer */
	memcpy(key + 8, &h->peer_seed, 8);
	return (uint32_t)(hash_bytes(key, sizeof(key)) % PEER_SLOTS);
}

/* Counts by a keyed hash of the address: two peers may share a count, which makes their limit tighter, never looser. */
bool peer_enter(struct httpd *h, struct peer *p)
{
	p->slot = UINT32_MAX;
	if (h->per_peer) {
		uint32_t slot = slot_of(h, p);
		if (atomic_fetch_add(&h->per_peer[slot], 1) >= h->o.connections_per_peer) {
			atomic_fetch_sub(&h->per_peer[slot], 1);
			return false;
		}
		p->slot = slot;
	}
	atomic_fetch_add(&h->open, 1);
	return true;
}

void peer_leave(struct httpd *h, struct peer *p)
{
	atomic_fetch_sub(&h->open, 1);
	if (p->slot != UINT32_MAX)
		atomic_fetch_sub(&h->per_peer[p->slot], 1);
}
