// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * units (private to agent): unit files of a folder that systemd reads, and systemctl. What a service consists of: service.h, 4.
 */
#include "agent/internal.h"

struct systemd {
	char *root_path, *program, *unit_path;
	int root_fd, unit_fd;
	bool of_user;
};

struct unit {
	const char *name; /* "slipway-prod-web@12.service", "slipway-prod-web-http.socket" */
	struct str text;
	/* of section [X-Slipway]; root.n 0: it has none */
	struct str root, env, service;
	uint32_t generation;
};
VEC_TYPE(unit_list, struct unit);
#define auto_units cleanup_with(units_release) struct unit_list
void units_release(struct unit_list *l);

int units_open(struct systemd *s, struct err *e); /* the folder, made where it is missing */
/* Those of this ROOT, sorted by name; of one service where `service` is not empty. */
int units_list(struct systemd *s, struct arena *a, struct str env, struct str service, struct unit_list *ret,
	       struct err *e);
/* What this version of a service consists of, its service first; `after` as in service_put_unit. */
void units_make(const struct systemd *s, struct arena *a, const struct service_ref *r, struct str after,
		struct unit_list *ret);
/* The folder is to hold `l`, too, and systemd is to know it; what starts at a boot stays as it is. ERR_EXISTS where one of them is
 * another's: nothing was written. */
int units_add(struct systemd *s, struct arena *a, const struct unit_list *l, struct err *e);
/* The folder is to hold `want` in place of `have`, and systemd is to know it, now and after a boot. ERR_EXISTS as above. */
int units_put(struct systemd *s, struct arena *a, const struct unit_list *have, const struct unit_list *want,
	      struct err *e);
/* Undoes units_add: `had` in place of `tried`. */
int units_take_back(struct systemd *s, struct arena *a, const struct unit_list *tried, const struct unit_list *had,
		    struct err *e);
bool units_is_service(const struct unit *u);
/* One that is in the folder. Like the others, it is on the disk when this returns. */
int units_enable(struct systemd *s, const char *name, struct err *e);
bool units_is_socket(const struct unit *u);
bool units_is_private(const struct unit *u); /* a socket of one version */
bool units_starts_at_boot(const struct systemd *s, const struct unit *u);
const struct unit *units_find(const struct unit_list *l, const char *name); /* NULL: not there */
/* The same socket, whichever version it starts. */
bool units_same_socket(const struct unit *x, const struct unit *y);
bool units_same_address(const struct unit *x, const struct unit *y);

/* systemctl [--user] WORDS…; out may be NULL. Its own words are the failure's. */
enum { CTL_WORDS_MAX = 64 };
int ctl_run(const struct systemd *s, const char *const *words, int64_t deadline_ms, struct buf *out, struct err *e);
#define ctl(s, deadline_ms, e, ...) ctl_run((s), (const char *const[]){__VA_ARGS__, NULL}, (deadline_ms), NULL, (e))
