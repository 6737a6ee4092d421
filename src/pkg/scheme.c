// SPDX-License-Identifier: Apache-2.0
/* The table of ecosystems: how their versions are ordered and their specs are read and matched. */
#include "pkg/pkg.h"

static const struct pkg_scheme *const schemes[] = {&pkg_conda};

const struct pkg_scheme *pkg_scheme_find(struct str name)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++)
		if (str_eq_c(name, schemes[i]->name))
			return schemes[i];
	return NULL;
}
