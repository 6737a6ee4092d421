// SPDX-License-Identifier: Apache-2.0
#pragma once
/* process: what the processes of a build have in common. */
#include <sys/types.h>

/* An open descriptor goes over a socket to another process. */
int fd_send(int socket_fd, int fd); /* -1 and errno */
/* One message into p, with its descriptor in *ret_fd, or -1 where it has none. 0 at the end, -1 and errno. */
ssize_t fd_receive(int socket_fd, void *p, size_t n, int *ret_fd);
/* In a process that may outlive who started it: a session of its own, nothing of the terminal's nor of a pipe that somebody waits at, and signals
 * that act. */
void process_alone(void);
