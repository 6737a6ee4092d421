// SPDX-License-Identifier: Apache-2.0
/*
 * One step of making a pair a run, for the sweep in pair.sh:
 *
 *	fault_pair init ROOT ADDRESS              prints the invitation
 *	fault_pair join ROOT ADDRESS INVITATION
 *	fault_pair leave ROOT
 *	fault_pair serve ROOT READY               member 1: makes the file READY when it listens, takes one connection
 *	fault_pair state ROOT                     prints: none, alone N, joined N; exit 1 where it cannot be read
 *	fault_pair wrong INVITATION               prints it with another secret
 *	fault_pair check ROOT1 ROOT2              both are members, know each other, have their keys
 *
 * Exits 0, or 1 with a message; 5 where it is not certain what became of it.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "pair/join.h"

static struct arena arena;

static int open_root(const char *path, struct err *e)
{
	return fs_open_dir(AT_FDCWD, path, e);
}

static int init(int root_fd, const char *address, struct err *e)
{
	const struct pair_host host = {STR("one"), str_c(address), STR_NONE};
	struct pair_invitation i;
	if (pair_init(root_fd, &host, &arena, &i, e) < 0)
		return -1;
	printf("%s\n", i.text.p);
	return 0;
}

static int join(int root_fd, const char *address, const char *invitation, struct err *e)
{
	const struct pair_host host = {STR("two"), str_c(address), STR_NONE};
	return pair_join(root_fd, &host, str_c(invitation), e);
}

/* As a process of the agent; one that nobody comes to ends by itself. */
static int serve(int root_fd, const char *ready, struct err *e)
{
	struct str address, note;
	struct link *l = NULL;
	int fd = -1;
	if (pair_listen_address(root_fd, &arena, &address, e) <= 0 || pair_listen(address, &fd, e) < 0)
		return -1;
	auto_fd listening = fd;
	auto_fd made = open(ready, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
	struct pollfd p = {.fd = listening, .events = POLLIN};
	if (made < 0 || poll(&p, 1, 10000) != 1)
		return err_new(e, ERR_FAILED, "nobody came");
	int connection = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	int rc = join_accept(root_fd, connection, 5000, &arena, &l, &note, e);
	link_free(l);
	return rc < 0 ? -1 : 0;
}

static int state(int root_fd, struct err *e)
{
	struct pair p;
	int rc = pair_read(root_fd, &arena, &p, e);
	if (rc > 0)
		printf("%s %u\n", p.joined ? "joined" : "alone", p.self);
	else if (rc == 0)
		printf("none\n");
	return rc < 0 ? -1 : 0;
}

static int wrong(const char *text, struct err *e)
{
	struct invitation i;
	if (invitation_parse(&arena, str_c(text), &i, e) < 0)
		return -1;
	i.secret[3] ^= 4;
	printf("%s\n", invitation_text(&arena, &i).p);
	return 0;
}

static int check_key(int root_fd, const struct trust *t, struct err *e)
{
	struct tls_identity id;
	uint8_t own[SHA256_SIZE];
	if (trust_identity(root_fd, &arena, &id, e) < 0 || tls_identity_check(&id, e) < 0 ||
	    tls_fingerprint(id.certificate, "its own", own, e) < 0)
		return -1;
	return memcmp(own, t->own, SHA256_SIZE) == 0 ? 0 : err_new(e, ERR_FAILED, "the certificate is not its own");
}

static int check(int one_fd, int two_fd, struct err *e)
{
	struct trust one, two;
	if (trust_read(one_fd, &arena, &one, e) <= 0 || trust_read(two_fd, &arena, &two, e) <= 0)
		return e->code ? -1 : err_new(e, ERR_FAILED, "one is no member");
	if (!one.pair.joined || !two.pair.joined || one.pair.self != 1 || two.pair.self != 2)
		return err_new(e, ERR_FAILED, "they have not joined");
	if (memcmp(one.own, two.pin, SHA256_SIZE) != 0 || memcmp(two.own, one.pin, SHA256_SIZE) != 0)
		return err_new(e, ERR_FAILED, "they do not know each other");
	return check_key(one_fd, &one, e) < 0 || check_key(two_fd, &two, e) < 0 ? -1 : 0;
}

static int run(int argc, char **argv, struct err *e)
{
	const char *op = argc > 2 ? argv[1] : "";
	if (strcmp(op, "wrong") == 0)
		return wrong(argv[2], e);
	auto_fd root_fd = *op ? open_root(argv[2], e) : -1;
	auto_fd other_fd = strcmp(op, "check") == 0 && argc == 4 ? open_root(argv[3], e) : -1;
	if (root_fd < 0)
		return *op ? -1 : err_new(e, ERR_USAGE, "see tests/fault/pair.c");
	if (strcmp(op, "init") == 0 && argc == 4)
		return init(root_fd, argv[3], e);
	if (strcmp(op, "join") == 0 && argc == 5)
		return join(root_fd, argv[3], argv[4], e);
	if (strcmp(op, "serve") == 0 && argc == 4)
		return serve(root_fd, argv[3], e);
	if (strcmp(op, "leave") == 0)
		return pair_leave(root_fd, e);
	if (strcmp(op, "state") == 0)
		return state(root_fd, e);
	if (other_fd >= 0)
		return check(root_fd, other_fd, e);
	return e->code ? -1 : err_new(e, ERR_USAGE, "see tests/fault/pair.c");
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	int rc = run(argc, argv, &e);
	if (rc < 0)
		fprintf(stderr, "%s\n", e.msg);
	fflush(stdout);
	arena_release(&arena);
	return rc < 0 ? e.code == ERR_UNCERTAIN ? 5 : 1 : 0;
}
