// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * upstream (private to mirror): which server is asked next.
 *
 * Each has a state that outlives the process (table upstream of mirror.db):
 *
 *	WELL ── fails ──▶ LEFT until a time: 5 s, twice as long after each failure, 10 min at most, a quarter more or less
 *	  ▲                 │ the time is over
 *	  └── answers ── PROBED: one request goes there; others only where nobody else is
 *
 * One that is measured to be eight times slower than another fails the same way. Chosen is, among those that were not tried for
 * this file: well ones by priority, then by measured speed; one to be probed in its place by priority; when all are left, the
 * one whose time is over first, since asking is better than not.
 */
#include "mirror/internal.h"

enum { UPSTREAMS_MAX = 64 };
struct upstream_state {
	int64_t failures, again_ms, good_ms, bad_ms;
	double bytes_per_s;
	int64_t probe_ms; /* a probe is under way since; 0: none */
	bool changed;
	char error[400];
};
struct upstreams {
	const struct mirror_upstream *v;
	size_t n;
	struct upstream_state s[UPSTREAMS_MAX];
	const struct clock *clock;
	uint32_t jitter;
};
/* A server of this machine, by an address that no name server tells. */
bool upstream_is_here(struct str url);
/* Plain HTTP to another machine: who sits between can give other bytes, so that only what is signed may come this way. */
bool upstream_is_open(struct str url);
int upstreams_init(struct upstreams *u, const struct mirror_channel *c, const struct clock *clock, struct err *e);
/* The place of the next one that `tried` (a bit for each) has not; -1: all were. `prefer` (-1: none) comes first while it is well. */
int upstreams_choose(struct upstreams *u, uint64_t tried, int prefer);
/* `bytes` came in took_ms; few bytes say nothing about speed. */
void upstreams_good(struct upstreams *u, int i, uint64_t bytes, int64_t took_ms);
void upstreams_bad(struct upstreams *u, int i, const char *why);
enum mirror_health upstreams_health(const struct upstreams *u, int i);

int state_open(struct mirror *m, struct sql **ret, struct err *e);
int upstreams_load(struct upstreams *u, struct sql *db, struct err *e);
int upstreams_save(struct upstreams *u, struct sql *db, struct err *e);
