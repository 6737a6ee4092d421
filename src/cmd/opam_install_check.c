// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: install --check: what is missing of what packages need. */
#include <stdlib.h>

#include "base/map.h"
#include "cmd/opam_install.h"

struct missing {
	struct plan *p;
	struct map names;
	bool any;
};

static int note_missing(void *ctx, const struct channel_need *need, struct err *e)
{
	struct missing *m = ctx;
	(void)e;
	if (need->kind != CHANNEL_NEED)
		return 0;
	for (size_t i = 0; i < need->one.n; i++)
		if (channel_needs_candidate(m->p->needs, need->one.v[i])->installed)
			return 0;
	m->any = true;
	for (size_t i = 0; i < need->one.n; i++)
		if (channel_needs_is_available(m->p->needs, need->one.v[i]))
			*map_put(&m->names, channel_needs_candidate(m->p->needs, need->one.v[i])->name) = 1;
	return 0;
}

struct version {
	struct str text;
	uint32_t package;
};

static int by_version(const void *x, const void *y)
{
	const struct version *a = x, *b = y;
	return pkg_opam_version_cmp(a->text, b->text);
}

/* Of the versions that are asked for one that lacks nothing will do; else the newest tells. */
static int note_missing_of(void *ctx, const struct channel_need *need, struct err *e)
{
	struct missing *m = ctx;
	struct map names = MAP_INIT;
	bool met = false;
	int rc = 0;
	auto_free struct version *v = xcalloc(need->one.n + 1, sizeof(*v));
	for (size_t i = 0; i < need->one.n; i++)
		v[i] = (struct version){channel_needs_candidate(m->p->needs, need->one.v[i])->version, need->one.v[i]};
	if (need->one.n)
		qsort(v, need->one.n, sizeof(*v), by_version);
	for (size_t i = 0; i < need->one.n && rc == 0 && !met; i++) {
		struct missing one = {.p = m->p, .names = MAP_INIT};
		if (!channel_needs_is_available(m->p->needs, v[i].package))
			continue;
		rc = channel_needs_tell(m->p->needs, v[i].package, note_missing, &one, e);
		met = !one.any;
		map_release(&names);
		names = one.names;
	}
	for (struct map_slot *s = NULL; !met && (s = map_next(&names, s));)
		*map_put(&m->names, s->key) = 1;
	map_release(&names);
	return rc;
}

int opam_install_check(struct plan *p)
{
	struct missing m = {.p = p, .names = MAP_INIT};
	struct err e = ERR_INIT;
	int code = OPAM_OK;
	for (size_t i = 0; i < p->names.n && code == OPAM_OK; i++)
		if (channel_needs_ask(p->needs, p->asked.v[i], note_missing_of, &m, &e) < 0)
			code = opam_as_fail(p->x, &e);
	if (code == OPAM_OK && !m.names.n)
		out_put_remark(&p->x->c->out, STR("All dependencies installed\n"));
	else if (code == OPAM_OK) {
		out_put_remark(&p->x->c->out, STR("Missing dependencies:\n"));
		const char *between = "";
		for (uint32_t i = 0; i < channel_needs_count(p->needs); i++) {
			const struct channel_candidate *c = channel_needs_candidate(p->needs, i);
			if (c->first != i || !map_get(&m.names, c->name))
				continue;
			opam_as_put(p->x, "%s%.*s", between, STR_ARG(c->name));
			between = " ";
		}
		opam_as_put(p->x, "\n");
		code = OPAM_FALSE;
	}
	map_release(&m.names);
	return code;
}
