// SPDX-License-Identifier: Apache-2.0
#include "base/dl.h"

#include <dlfcn.h>
#include <string.h>

int dl_load(const char *soname, const struct dl_symbol *symbols, struct err *e)
{
	void *lib = dlopen(soname, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
	if (!lib)
		return err_new(e, ERR_UNSUPPORTED, "load library '%s': %s; install the package that provides it",
			       soname, dlerror());
	for (const struct dl_symbol *s = symbols; s->name; s++) {
		void *address = dlsym(lib, s->name);
		if (!address)
			return err_new(e, ERR_UNSUPPORTED, "library '%s' lacks '%s'; install a newer version of it",
				       soname, s->name);
		memcpy(s->slot, &address, sizeof(address));
	}
	return 0;
}
