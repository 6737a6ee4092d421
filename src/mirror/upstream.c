// SPDX-License-Identifier: Apache-2.0
#include "mirror/upstream.h"

#include <stdio.h>
#include <string.h>

#include "base/url.h"

enum {
	LEFT_FIRST_MS = 5000,
	LEFT_MAX_MS = 600000,
	PROBE_MS = 60000,	/* a probe that nobody heard of again */
	SPEED_BYTES = 64 << 10, /* fewer say nothing */
	SLOW_FACTOR = 8,
};

static int64_t wall_ms(const struct upstreams *u)
{
	return u->clock->wall_ms(u->clock);
}

bool upstream_is_here(struct str url)
{
	struct str host = url_origin(url);
	ptrdiff_t scheme = str_search(host, STR("://")), user = str_rfind(host, '@');
	if (scheme < 0)
		return false;
	host = str_skip(host, (size_t)(user > scheme ? user + 1 : scheme + 3));
	if (str_starts(host, STR("[::1]")) && (host.n == 5 || host.p[5] == ':'))
		return true;
	ptrdiff_t port = str_find(host, ':');
	if (port >= 0)
		host = str_head(host, (size_t)port);
	if (str_eq(host, STR("localhost")))
		return true;
	for (size_t i = 0; i < host.n; i++) /* 127.0.0.1.example.org is a name */
		if (host.p[i] != '.' && (host.p[i] < '0' || host.p[i] > '9'))
			return false;
	return str_starts(host, STR("127."));
}

bool upstream_is_open(struct str url)
{
	return str_starts(url, STR("http://")) && !upstream_is_here(url);
}

int upstreams_init(struct upstreams *u, const struct mirror_channel *c, const struct clock *clock, struct err *e)
{
	*u = (struct upstreams){.v = c->upstreams, .n = c->upstreams_n, .clock = clock};
	u->jitter = (uint32_t)clock->wall_ms(clock) | 1;
	return u->n <= UPSTREAMS_MAX ? 0 : err_new(e, ERR_LIMIT, "more than %d upstreams", UPSTREAMS_MAX);
}

enum mirror_health upstreams_health(const struct upstreams *u, int i)
{
	const struct upstream_state *s = &u->s[i];
	if (!s->failures)
		return MIRROR_WELL;
	/* a clock that was set back must not leave a server for years */
	int64_t left = s->again_ms - wall_ms(u);
	return left > 0 && left <= 2 * LEFT_MAX_MS ? MIRROR_LEFT : MIRROR_PROBED;
}

/* PROBED, and somebody is at it. */
static bool is_being_probed(const struct upstreams *u, int i)
{
	int64_t since = wall_ms(u) - u->s[i].probe_ms;
	return u->s[i].probe_ms && since >= 0 && since < PROBE_MS;
}

/* Greater is better. */
static int rank(const struct upstreams *u, int i)
{
	enum mirror_health h = upstreams_health(u, i);
	return h == MIRROR_LEFT ? 0 : h == MIRROR_PROBED && is_being_probed(u, i) ? 1 : 2;
}

static bool is_better(const struct upstreams *u, int a, int b)
{
	int ra = rank(u, a), rb = rank(u, b);
	const struct upstream_state *x = &u->s[a], *y = &u->s[b];
	if (ra != rb)
		return ra > rb;
	if (ra == 0)
		return x->again_ms < y->again_ms;
	if (u->v[a].priority != u->v[b].priority)
		return u->v[a].priority > u->v[b].priority;
	return x->bytes_per_s > y->bytes_per_s;
}

int upstreams_choose(struct upstreams *u, uint64_t tried, int prefer)
{
	int best = -1;
	if (prefer >= 0 && !(tried >> prefer & 1) && upstreams_health(u, prefer) == MIRROR_WELL)
		return prefer;
	for (size_t i = 0; i < u->n; i++)
		if (!(tried >> i & 1) && (best < 0 || is_better(u, (int)i, best)))
			best = (int)i;
	if (best >= 0 && upstreams_health(u, best) == MIRROR_PROBED)
		u->s[best].probe_ms = wall_ms(u);
	return best;
}

static void leave(struct upstreams *u, int i)
{
	struct upstream_state *s = &u->s[i];
	int64_t wait = LEFT_FIRST_MS;
	for (int64_t k = 0; k < s->failures && wait < LEFT_MAX_MS; k++)
		wait *= 2;
	if (wait > LEFT_MAX_MS)
		wait = LEFT_MAX_MS;
	u->jitter = u->jitter * 1664525u + 1013904223u;
	s->failures++;
	s->bad_ms = wall_ms(u);
	s->again_ms = s->bad_ms + wait * 3 / 4 + (int64_t)(u->jitter >> 8) % (wait / 2);
	s->probe_ms = 0;
	s->changed = true;
}

void upstreams_bad(struct upstreams *u, int i, const char *why)
{
	struct upstream_state *s = &u->s[i];
	/* requests that were under way together fail together: they are one failure */
	if (upstreams_health(u, i) == MIRROR_LEFT)
		return;
	snprintf(s->error, sizeof(s->error), "%s", why);
	leave(u, i);
}

static double best_speed_of_others(const struct upstreams *u, int i)
{
	double best = 0;
	for (size_t k = 0; k < u->n; k++)
		if ((int)k != i && upstreams_health(u, (int)k) == MIRROR_WELL && u->s[k].bytes_per_s > best)
			best = u->s[k].bytes_per_s;
	return best;
}

void upstreams_good(struct upstreams *u, int i, uint64_t bytes, int64_t took_ms)
{
	struct upstream_state *s = &u->s[i];
	s->good_ms = wall_ms(u);
	s->probe_ms = 0;
	s->changed = true;
	if (bytes >= SPEED_BYTES) {
		double now = (double)bytes * 1000 / (double)(took_ms > 0 ? took_ms : 1);
		s->bytes_per_s = s->bytes_per_s > 0 ? 0.7 * s->bytes_per_s + 0.3 * now : now;
		double other = best_speed_of_others(u, i);
		/* of a server that was left, only the last measurement counts: it may be well again */
		double own = s->failures ? now : s->bytes_per_s;
		if (own * SLOW_FACTOR < other) {
			snprintf(s->error, sizeof(s->error), "slow: %.0f kB/s, where another gives %.0f", own / 1000,
				 other / 1000);
			if (upstreams_health(u, i) != MIRROR_LEFT)
				leave(u, i);
			return;
		}
		if (s->failures)
			s->bytes_per_s = now;
	} else if (s->failures && str_starts(str_c(s->error), STR("slow:"))) {
		return; /* a few bytes do not show that it is faster now */
	}
	s->failures = 0;
	s->again_ms = 0;
}

/* -- what outlives the process ------------------------------------------------------------------------------------- */

int upstreams_load(struct upstreams *u, struct sql *db, struct err *e)
{
	for (size_t i = 0; i < u->n; i++) {
		auto_ptr(sql_query) q = NULL;
		struct upstream_state *s = &u->s[i];
		if (sql_prepare(
			    db,
			    "SELECT failures, again_ms, good_ms, bad_ms, speed, error FROM upstream WHERE id = ?1 AND url = ?2",
			    &q, e) < 0)
			return -1;
		auto_buf url = BUF_INIT(URL_MAX);
		url_put_shown(&url, u->v[i].url);
		sql_bind_str(q, 1, u->v[i].id);
		sql_bind_str(q, 2, buf_str(&url));
		int rc = sql_step(q, e);
		if (rc < 0)
			return -1;
		if (rc == 0)
			continue;
		s->failures = sql_int(q, 0);
		s->again_ms = sql_int(q, 1);
		s->good_ms = sql_int(q, 2);
		s->bad_ms = sql_int(q, 3);
		s->bytes_per_s = (double)sql_int(q, 4);
		snprintf(s->error, sizeof(s->error), "%.*s", STR_ARG(sql_view(q, 5)));
	}
	return 0;
}

static int save_one(const struct mirror_upstream *v, const struct upstream_state *s, struct sql *db, struct err *e)
{
	auto_buf url = BUF_INIT(URL_MAX);
	url_put_shown(&url, v->url);
	return sql_run(db, e,
		       "INSERT OR REPLACE INTO upstream (id, url, failures, again_ms, good_ms, bad_ms, speed, error)"
		       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
		       "ssiiiiis", v->id, buf_str(&url), s->failures, s->again_ms, s->good_ms, s->bad_ms,
		       (int64_t)s->bytes_per_s, str_c(s->error));
}

int upstreams_save(struct upstreams *u, struct sql *db, struct err *e)
{
	bool any = false;
	int rc = 0;
	for (size_t i = 0; i < u->n; i++)
		any |= u->s[i].changed;
	if (!any)
		return 0;
	if (sql_begin(db, e) < 0)
		return -1;
	for (size_t i = 0; i < u->n && rc == 0; i++)
		if (u->s[i].changed)
			rc = save_one(&u->v[i], &u->s[i], db, e);
	if (sql_end(db, rc, e) < 0)
		return -1;
	for (size_t i = 0; i < u->n; i++)
		u->s[i].changed = false;
	return 0;
}
