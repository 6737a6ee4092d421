// SPDX-License-Identifier: Apache-2.0
/* What a person asks opam for: a name, with a version or a relation to one. */
#include "pkg/opam.h"

int pkg_opam_spec_parse(struct arena *a, struct str text, const struct pkg_need **ret, struct err *e)
{
	static const char *const words[] = {"<=", ">=", "!=", "=", "<", ">", "."};
	static const enum pkg_range_op ops[] = {PKG_UP_TO, PKG_FROM,  PKG_OTHER,  PKG_EXACTLY,
						PKG_BELOW, PKG_ABOVE, PKG_EXACTLY};
	struct pkg_need *n = arena_new(a, struct pkg_need);
	size_t k = 0;
	text = str_trim(text);
	while (k < text.n && (opam_is_ichar(text.p[k]) || text.p[k] == '+'))
		k++;
	*n = (struct pkg_need){.op = PKG_NEED_NAME, .name = str_head(text, k)};
	*ret = n;
	struct str rest = str_trim(str_skip(text, k));
	for (size_t i = 0; n->name.n && rest.n && i < 7; i++)
		if (str_take_str(&rest, str_c(words[i]))) {
			struct pkg_range *r = arena_new(a, struct pkg_range);
			*r = (struct pkg_range){.op = ops[i], .version = str_trim(rest)};
			n->range = r;
			rest = r->version.n ? STR_NONE : STR(".");
		}
	bool versioned = !n->range || pkg_opam_version_is_good(n->range->version);
	return n->name.n && !rest.n && versioned
		       ? 0
		       : err_new(e, ERR_INPUT, "'%.*s' is no package; as in: dune, dune.3.0, dune>=3.0", STR_ARG(text));
}
