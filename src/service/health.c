// SPDX-License-Identifier: Apache-2.0
/*
 * Rounds of probes. A round passes when all its probes do, and ends at the first that does not.
 */
#include "service/supervisor.h"

enum { START_INTERVAL_MS = 200 };

static void round_next(struct service *s);

static bool is_of(const struct service_decl *d, const struct service_probe *p, enum probe_mask mask)
{
	const struct service_socket *k = p->kind == SERVICE_PROBE_COMMAND ? NULL : decl_socket(d, p->address);
	return (mask & (k && k->is_private ? PROBES_PRIVATE : PROBES_SHARED)) != 0;
}

bool health_has(const struct service_decl *d, enum probe_mask mask)
{
	for (uint32_t i = 0; i < d->probes_n; i++)
		if (is_of(d, &d->probes[i], mask))
			return true;
	return false;
}

void health_stop(struct service *s)
{
	service_probe_cancel(s->probe);
	loop_remove(s->health_timer);
	s->probe = NULL;
	s->health_timer = NULL;
	s->purpose = HEALTH_NONE;
	s->asked = NULL;
	if (s->check_done) {
		struct err e = ERR_INIT;
		err_new(&e, ERR_FAILED, "service '%s' changed while it was asked for its health", s->name);
		service_answer(s->sup, s->check_done, s->check_ctx, &e);
		s->check_done = NULL;
	}
}

static void on_round(void *ctx, enum loop_events events)
{
	struct service *s = ctx;
	(void)events;
	s->health_timer = NULL;
	s->probe_at = 0;
	round_next(s);
}

static void round_in(struct service *s, int64_t ms)
{
	loop_remove(s->health_timer);
	s->health_timer = loop_timer(s->sup->loop, loop_now_ms(s->sup->loop) + ms, on_round, s);
}

static int64_t start_interval(const struct service_decl *d)
{
	return d->probe_interval_ms < START_INTERVAL_MS ? d->probe_interval_ms : START_INTERVAL_MS;
}

static void check_answered(struct service *s, const struct err *failure)
{
	service_done_fn *done = s->check_done;
	s->check_done = NULL;
	if (done)
		service_answer(s->sup, done, s->check_ctx, failure);
}

static void round_passed(struct service *s)
{
	const struct service_decl *d = s->asked_decl;
	s->failures = 0;
	s->passes += s->passes < d->probe_passes;
	check_answered(s, NULL);
	bool enough = s->passes >= d->probe_passes;
	if (s->purpose == HEALTH_OF_START) {
		if (!enough) {
			round_in(s, start_interval(d));
			return;
		}
		health_stop(s);
		service_healthy(s);
		return;
	}
	if (enough && s->state == SERVICE_UNHEALTHY)
		service_set_state(s, SERVICE_RUNNING, NULL);
	round_in(s, d->probe_interval_ms);
}

static void round_failed(struct service *s, const struct err *failure)
{
	const struct service_decl *d = s->asked_decl;
	s->passes = 0;
	s->failures += s->failures < d->probe_failures;
	s->last_health = *failure;
	check_answered(s, failure);
	bool enough = s->failures >= d->probe_failures;
	if (s->purpose == HEALTH_OF_START) {
		/* What has said that it is ready has no excuse; of what has merely been started nothing else is known, so
		 * it may take all the time there is. */
		if (!enough || d->ready == SERVICE_READY_STARTED) {
			round_in(s, start_interval(d));
			return;
		}
		struct err e = *failure;
		health_stop(s);
		service_unhealthy(s, &e);
		return;
	}
	if (enough && s->state == SERVICE_RUNNING)
		service_set_state(s, SERVICE_UNHEALTHY, failure->msg);
	round_in(s, d->probe_interval_ms);
}

static void on_probe(void *ctx, const struct err *failure)
{
	struct service *s = ctx;
	s->probe = NULL;
	if (failure) {
		round_failed(s, failure);
		return;
	}
	s->probe_at++;
	round_next(s);
}

static void round_next(struct service *s)
{
	const struct service_decl *d = s->asked_decl;
	while (s->probe_at < d->probes_n && !is_of(d, &d->probes[s->probe_at], s->mask))
		s->probe_at++;
	if (s->probe_at == d->probes_n) {
		round_passed(s);
		return;
	}
	const struct service_probe *p = &d->probes[s->probe_at];
	const struct service_socket *k = p->kind == SERVICE_PROBE_COMMAND ? NULL : decl_socket(d, p->address);
	auto_free char *path = k && k->is_private ? process_socket_path(s->asked, k->name) : NULL;
	struct service_ref r = {.env = str_c(s->env),
				.generation = s->asked_generation,
				.prefix = s->asked_prefix,
				.decl = d,
				.runtime_dir = s->dir};
	s->probe = service_probe(s->sup->loop, p, &r, path, d->probe_timeout_ms, on_probe, s);
}

void health_begin(struct service *s, struct process *p, const struct version *v, enum probe_mask mask,
		  enum purpose purpose)
{
	health_stop(s);
	s->purpose = purpose;
	s->mask = mask;
	s->asked = p;
	s->asked_decl = &v->decl;
	s->asked_generation = v->generation;
	s->asked_prefix = v->prefix;
	s->passes = 0;
	s->failures = 0;
	s->last_health = ERR_INIT;
	round_in(s, 0);
}

void health_watch(struct service *s, bool at_once)
{
	struct process *p = process_with(s, ROLE_SERVING);
	if (!p || !health_has(&s->version->decl, PROBES_ALL))
		return;
	health_begin(s, p, s->version, PROBES_ALL, HEALTH_WATCH);
	if (!at_once)
		round_in(s, s->version->decl.probe_interval_ms);
}
