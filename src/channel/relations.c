// SPDX-License-Identifier: Apache-2.0
/*
 * The order of channels that declare relations (CEP 42): a depth-first topological sort. Edges run from the channel of
 * higher priority to the one of lower priority.
 *  - what the user listed: each one before the next;
 *  - base before its channel, a channel before what it overrides; between two channels of the user's own list such an
 *    edge is left out where it contradicts the list.
 */
#include <stdlib.h>

#include "channel/refresh.h"

struct graph {
	size_t n;
	bool *edge; /* n × n: [a * n + b]: a before b */
	uint8_t *seen;
	size_t *order, at; /* filled from the end */
};

static size_t find_url(const struct str *urls, size_t n, struct str url)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(urls[i], url))
			return i;
	return n;
}

static void add_edge(struct graph *g, size_t before, size_t after, size_t user_n)
{
	if (before >= g->n || after >= g->n)
		return;
	if (before < user_n && after < user_n && after < before)
		return; /* the user's order wins */
	g->edge[before * g->n + after] = true;
}

/* Depth is bounded by the number of channels. Later ones are visited first, so that earlier ones come out first. */
static int visit(struct graph *g, size_t i, struct err *e)
{
	if (g->seen[i] == 2)
		return 0;
	if (g->seen[i] == 1)
		return err_new(e, ERR_INPUT,
			       "the relations of channels go in a circle; name the channels in the wanted order");
	g->seen[i] = 1;
	for (size_t k = g->n; k-- > 0;)
		if (g->edge[i * g->n + k] && visit(g, k, e) < 0)
			return -1;
	g->seen[i] = 2;
	g->order[--g->at] = i;
	return 0;
}

int relations_order(const struct str *urls, const struct relation *relations, size_t n, size_t user_n, size_t *order,
		    struct err *e)
{
	auto_free bool *edge = xcalloc(n * n + 1, sizeof(*edge));
	auto_free uint8_t *seen = xcalloc(n + 1, 1);
	struct graph g = {.n = n, .edge = edge, .seen = seen, .order = order, .at = n};
	for (size_t i = 0; i + 1 < user_n; i++)
		add_edge(&g, i, i + 1, user_n);
	for (size_t i = 0; i < n; i++) {
		if (relations[i].base.n)
			add_edge(&g, find_url(urls, n, relations[i].base), i, user_n);
		if (relations[i].overrides.n)
			add_edge(&g, i, find_url(urls, n, relations[i].overrides), user_n);
	}
	for (size_t i = n; i-- > 0;)
		if (visit(&g, i, e) < 0)
			return -1;
	return 0;
}
