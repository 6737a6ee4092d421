// SPDX-License-Identifier: Apache-2.0
#include "solve/aims.h"

#include <stdlib.h>

/* -- opam's words ------------------------------------------------------------------------------------------------------- */

static const char *const usual[] = {
	[SOLVE_NEWEST] =
		"-removed,-count[avoid-version,changed],-count[version-lag,request],-count[version-lag,changed],"
		"-count[missing-depexts,changed],-changed",
	[SOLVE_UPGRADE_ALL] = "-removed,-count[avoid-version,changed],-count[version-lag,solution],"
			      "-count[missing-depexts,changed],-new",
	[SOLVE_FIXUP] = "-changed,-count[avoid-version,changed],-count[version-lag,solution],"
			"-count[missing-depexts,changed]",
};

static const char *const plain[] =
	{[SOLVE_AIM_REMOVED] = "removed", [SOLVE_AIM_NEW] = "new", [SOLVE_AIM_CHANGED] = "changed"};
static const char *const counted[] =
	{[SOLVE_AIM_AVOIDED] = "avoid-version", [SOLVE_AIM_LAG] = "version-lag", [SOLVE_AIM_DEPEXTS] = "missing-depexts"};
static const char *const sums[] = {
	[SOLVE_OVER_REQUEST] = "request",
	[SOLVE_OVER_CHANGED] = "changed",
	[SOLVE_OVER_NEW] = "new",
	[SOLVE_OVER_SOLUTION] = "solution",
};

static bool find(struct str word, const char *const *words, size_t n, unsigned *ret)
{
	for (unsigned i = 0; i < n; i++)
		if (words[i] && str_eq_c(word, words[i])) {
			*ret = i;
			return true;
		}
	return false;
}

/* "removed", "count[version-lag,changed]", and as mccs writes it, "count[version-lag:,false]": over the solution. */
static bool read_aim(struct str text, struct solve_aim *ret)
{
	unsigned what, over = SOLVE_OVER_SOLUTION;
	struct str property;
	*ret = (struct solve_aim){0};
	if (find(text, plain, sizeof(plain) / sizeof(*plain), &what)) {
		ret->what = (enum solve_aim_what)what;
		return true;
	}
	if (!str_starts(text, STR("count[")) || text.p[text.n - 1] != ']')
		return false;
	text = str_head(str_skip(text, 6), text.n - 7);
	if (!str_take_until(&text, ',', &property))
		return false;
	if (property.n && property.p[property.n - 1] == ':') {
		property.n--;
		over = str_eq_c(text, "true") ? SOLVE_OVER_CHANGED : SOLVE_OVER_SOLUTION;
		if (over != SOLVE_OVER_CHANGED && !str_eq_c(text, "false"))
			return false;
	} else if (!find(text, sums, sizeof(sums) / sizeof(*sums), &over)) {
		return false;
	}
	if (!find(property, counted, sizeof(counted) / sizeof(*counted), &what))
		return false;
	*ret = (struct solve_aim){(enum solve_aim_what)what, (enum solve_aim_over)over};
	return true;
}

/* The commas between criteria, not those in brackets. */
static struct str take_criterion(struct str *rest)
{
	size_t n = 0;
	for (bool in = false; n < rest->n && (in || rest->p[n] != ','); n++)
		in = rest->p[n] == '[' ? true : rest->p[n] == ']' ? false : in;
	struct str one = str_head(*rest, n);
	*rest = n < rest->n ? str_skip(*rest, n + 1) : STR("");
	return str_trim(one);
}

int solve_aims_parse(struct str text, struct solve_aims *ret, struct err *e)
{
	struct str rest = text;
	*ret = (struct solve_aims){0};
	while (rest.n) {
		struct str one = take_criterion(&rest);
		if (!one.n || one.p[0] != '-')
			return err_new(
				e, ERR_USAGE,
				"criterion '%.*s' does not begin with '-': sums are made small here, none is made large",
				STR_ARG(one));
		if (ret->n == SOLVE_AIMS_MAX)
			return err_new(e, ERR_LIMIT, "more than %d criteria in '%.*s'", (int)SOLVE_AIMS_MAX,
				       STR_ARG(text));
		if (!read_aim(str_skip(one, 1), &ret->v[ret->n++]))
			return err_new(
				e, ERR_USAGE,
				"unknown criterion '%.*s'; there are removed, new, changed and count[WHAT,OVER] with avoid-version, "
				"version-lag, missing-depexts over request, changed, new, solution",
				STR_ARG(one));
	}
	return ret->n ? 0 : err_new(e, ERR_USAGE, "no criteria in '%.*s'", STR_ARG(text));
}

const char *solve_aims_usual(enum solve_criteria criteria)
{
	return criteria < sizeof(usual) / sizeof(*usual) ? usual[criteria] : NULL;
}

/* -- costs ------------------------------------------------------------------------------------------------------------- */

void aim_costs_init(struct aim_costs *c, struct channel_needs *needs)
{
	c->needs = needs;
	c->of = xcalloc((size_t)channel_needs_count(needs) + 1, sizeof(*c->of));
}

void aim_costs_release(struct aim_costs *c)
{
	free(c->of);
	c->of = NULL;
}

/* Those to be avoided count as the newest of all, as in opam. */
void aim_costs_weigh(struct aim_costs *c, uint32_t first, bool asked)
{
	uint32_t n = channel_needs_candidate(c->needs, first)->n, newer = 0;
	bool had = false;
	for (uint32_t i = 0; i < n; i++)
		had |= channel_needs_candidate(c->needs, first + i)->installed;
	for (int avoided = 1; avoided >= 0; avoided--)
		for (uint32_t i = 0; i < n; i++) {
			const struct channel_candidate *one = channel_needs_candidate(c->needs, first + i);
			if (one->avoided != avoided)
				continue;
			c->of[first + i] = (struct aim_weight){newer, asked, had, true};
			newer += one->installed || channel_needs_is_available(c->needs, first + i);
		}
}

uint32_t aim_cost(const struct aim_costs *c, struct solve_aim aim, uint32_t package)
{
	const struct channel_candidate *one = channel_needs_candidate(c->needs, package);
	const struct aim_weight *w = &c->of[package];
	switch (aim.what) {
	case SOLVE_AIM_CHANGED:
		return !one->installed;
	case SOLVE_AIM_NEW:
		return !w->had;
	case SOLVE_AIM_REMOVED:
	case SOLVE_AIM_UNMET:
		return 0;
	case SOLVE_AIM_AVOIDED:
	case SOLVE_AIM_LAG:
	case SOLVE_AIM_DEPEXTS:
		break;
	}
	if ((aim.over == SOLVE_OVER_REQUEST && !w->asked) || (aim.over == SOLVE_OVER_CHANGED && one->installed) ||
	    (aim.over == SOLVE_OVER_NEW && w->had))
		return 0;
	if (aim.what == SOLVE_AIM_LAG)
		return w->lag;
	return aim.what == SOLVE_AIM_AVOIDED ? one->avoided : channel_needs_lacks_system(c->needs, package);
}
