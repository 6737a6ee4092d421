// SPDX-License-Identifier: Apache-2.0
/* What a request tells while it goes on. */
#include "upgrade/run.h"

int64_t run_wall_ms(const struct run *r)
{
	const struct clock *c = r->o->env_opts.clock ? r->o->env_opts.clock : &clock_system;
	return c->wall_ms(c);
}

void run_tell(const struct run *r, enum upgrade_event_kind kind, int64_t number, bool done, const char *text,
	      const struct err *failure)
{
	const struct upgrade_event v = {
		.kind = kind,
		.number = number,
		.done = done,
		.text = text,
		.failure = failure,
		.at_ms = run_wall_ms(r),
	};
	if (r->o->event)
		r->o->event(r->o->ctx, &v);
}

void run_note(const struct run *r, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(4096);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	run_tell(r, UPGRADE_EVENT_NOTE, 0, false, b.p, NULL);
}
