// SPDX-License-Identifier: Apache-2.0
/*
 * Two members for tests, each a folder with what pair_init and pair_join would have written.
 *
 *	auto_pairs p = {0};
 *	pairs_open(&p);                 p.root_fd[1], p.root_fd[2]; p.pair[1], p.pair[2]: they know each other
 *	pairs_connect(&p, &there)       a connection on the loopback interface, the end of whoever accepts in *there
 */
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "pair/tls.h"
#include "pair/trust.h"

struct pairs {
	char root[PAIR_MEMBERS + 1][128];
	int root_fd[PAIR_MEMBERS + 1];
	int listen_fd[PAIR_MEMBERS + 1];
	char address[PAIR_MEMBERS + 1][64];
	struct pair pair[PAIR_MEMBERS + 1];
	struct tls_identity identity[PAIR_MEMBERS + 1];
	uint8_t fingerprint[PAIR_MEMBERS + 1][SHA256_SIZE];
	struct arena arena;
	struct err err;
};

static void pairs_release(struct pairs *p)
{
	for (uint32_t i = 1; i <= PAIR_MEMBERS; i++) {
		cleanup_fd(&p->root_fd[i]);
		cleanup_fd(&p->listen_fd[i]);
	}
	arena_release(&p->arena);
}
#define auto_pairs cleanup_with(pairs_release) struct pairs

static void pairs_put(struct pairs *p, uint32_t i, const char *name, struct str text, enum fs_replace_flags flags)
{
	char path[64];
	snprintf(path, sizeof(path), "pair/%s", name);
	CHECK_MSG(fs_replace(p->root_fd[i], path, text.p, text.n, flags, &p->err) == 0, "%s", p->err.msg);
}

static struct str pairs_facts(struct pairs *p, uint32_t i, const char *more)
{
	char hex[SHA256_HEX_SIZE], by[SHA256_HEX_SIZE];
	hex_encode(p->fingerprint[i], SHA256_SIZE, hex);
	hex_encode(p->fingerprint[1], SHA256_SIZE, by);
	return str_c(arena_printf(&p->arena,
				  "{\"format\": 1, \"name\": \"m%u\", \"address\": \"%s\", \"fingerprint\": \"%s\", "
				  "\"number\": %u, \"invited_by\": \"%s\"%s}",
				  i, p->address[i], hex, i, by, more));
}

/* A free port of the loopback interface, listened on. */
static int pairs_listen(char ret[64])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0 &&
	      listen(fd, 16) == 0);
	snprintf(ret, 64, "127.0.0.1:%u", ntohs(a.sin_port));
	return fd;
}

static void pairs_open(struct pairs *p)
{
	for (uint32_t i = 1; i <= PAIR_MEMBERS; i++) {
		snprintf(p->root[i], sizeof(p->root[i]), "%s/m%u", test_tmp(), i);
		p->root_fd[i] = fs_open_dir_make(AT_FDCWD, p->root[i], &p->err);
		CHECK_MSG(p->root_fd[i] >= 0 && fs_mkdirs(p->root_fd[i], "pair", 0700, &p->err) == 0, "%s", p->err.msg);
		p->listen_fd[i] = pairs_listen(p->address[i]);
		CHECK_MSG(tls_identity_new(&p->arena, &p->identity[i], &p->err) == 0 &&
				  tls_fingerprint(p->identity[i].certificate, "it", p->fingerprint[i], &p->err) == 0,
			  "%s", p->err.msg);
		pairs_put(p, i, "key.pem", p->identity[i].key, FS_REPLACE_SECRET);
		pairs_put(p, i, "cert.pem", p->identity[i].certificate, 0);
	}
	for (uint32_t i = 1; i <= PAIR_MEMBERS; i++) {
		pairs_put(p, i, "self", pairs_facts(p, i, ""), 0);
		pairs_put(p, i, "peer", pairs_facts(p, 3 - i, ""), 0);
		struct trust t;
		CHECK_MSG(trust_read(p->root_fd[i], &p->arena, &t, &p->err) == 1, "%s", p->err.msg);
		CHECK(t.pair.joined && memcmp(t.pin, p->fingerprint[3 - i], SHA256_SIZE) == 0);
		p->pair[i] = t.pair;
	}
}

/* Connected sockets, as between two hosts: whoever asks, and (*there) whoever member `to` takes. */
__attribute__((unused)) static int pairs_connect(struct pairs *p, uint32_t to, int *there)
{
	struct sockaddr_in a;
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(getsockname(p->listen_fd[to], (struct sockaddr *)&a, &n) == 0 &&
	      connect(fd, (struct sockaddr *)&a, n) == 0);
	*there = accept4(p->listen_fd[to], NULL, NULL, SOCK_CLOEXEC);
	CHECK(*there >= 0);
	return fd;
}
