// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * clients (private to mirror): the tables of enrolled machines, and what of them is held in memory.
 *
 * Whoever touches the tables holds the mutex. A transaction that revokes counts up the number of the list of revoked ones; the list is
 * written after it (clients_write_crl), and by the next that opens where that did not happen.
 */
#include <pthread.h>

#include "base/map.h"
#include "base/sql.h"
#include "mirror/authority.h"
#include "mirror/mirror.h"

struct limiter;
struct seen; /* one certificate that is good */

struct mirror_clients {
	pthread_mutex_t mutex;
	struct sql *db;
	int mirror_fd;
	const struct clock *clock;
	struct authority authority;
	struct limiter *limiter;
	/* made anew when the tables have changed: */
	struct arena arena;
	struct map by_fingerprint; /* hexadecimal → struct seen * */
	int64_t data_version;
	bool loaded;
};

/* All certificates of a client but these two (each may be empty). Inside the mutex and a transaction. */
int clients_revoke_all(struct mirror_clients *c, int64_t client, struct str but, struct str also, int64_t now_ms,
		       struct err *e);
/* The authority may have been switched by another process. Inside the mutex. */
int clients_need_authority(struct mirror_clients *c, struct err *e);
/* Inside the mutex, no transaction; where the list is behind or nearly over. */
int clients_write_crl(struct mirror_clients *c, struct err *e);
/* What of the tables is in memory holds no longer. */
void clients_changed(struct mirror_clients *c);
/* Patterns of a client, as struct mirror_who has them. */
int clients_rights(struct mirror_clients *c, struct str name, struct str group, struct arena *a, const struct str **ret,
		   size_t *ret_n, struct err *e);
/* Snapshots belong to a name: those of one that is given up must not be found by whoever is given it next. */
int clients_move_snapshots(struct mirror_clients *c, struct str from, struct str to, struct err *e);
int clients_check_group(struct str group, struct err *e);

void clients_lock(struct mirror_clients *c);
void clients_unlock(struct mirror_clients **c);
#define CLIENTS_HOLD(c)                                                                                                \
	cleanup_with(clients_unlock) struct mirror_clients *held_ = (c);                                               \
	clients_lock(held_)

struct limiter *limiter_new(void);
void limiter_free(struct limiter *l);
/* 0: go on; else seconds to wait. */
int64_t limiter_take(struct limiter *l, struct str address, int64_t mono_ms);
/* It was a good one: many machines may come from one address. */
void limiter_give(struct limiter *l, struct str address);
