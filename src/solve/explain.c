// SPDX-License-Identifier: Apache-2.0
#include "solve/explain.h"

/* The specs, as asked for. */
int explain(struct world *p, const uint32_t *want, uint32_t want_n, struct arena *a, struct solve_result *res,
	    struct err *e)
{
	struct solve_reason *r = arena_array(a, struct solve_reason, want_n + 1u);
	(void)e;
	for (uint32_t i = 0; i < want_n; i++)
		r[i].text = p->spec.v[want[i]].text;
	res->explanation = (struct solve_reason){STR("these cannot be had together:"), r, want_n};
	return 0;
}

/* -- printing ----------------------------------------------------------------------------------------------------- */

static void put_reason(const struct solve_reason *r, struct buf *b, unsigned depth)
{
	for (uint32_t i = 0; i < r->child_n && depth < 32; i++) {
		buf_printf(b, "%*s- ", (int)depth * 2, "");
		buf_put_str(b, r->child[i].text);
		buf_put_c(b, "\n");
		put_reason(&r->child[i], b, depth + 1);
	}
}

void solve_explain(const struct solve_result *r, struct buf *b)
{
	buf_put_str(b, r->explanation.text);
	if (r->explanation.text.n)
		buf_put_c(b, "\n");
	put_reason(&r->explanation, b, 1);
	for (uint32_t i = 0; i < r->suggestions_n; i++)
		buf_printf(b, "%s%.*s\n",
			   i == 0 ? "this would work: " : "             or: ", STR_ARG(r->suggestions[i]));
}
