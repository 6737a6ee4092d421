// SPDX-License-Identifier: Apache-2.0
#include "base/dl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

static int fill(struct dl_library *l, struct err *e)
{
	void *lib = dlopen(l->soname, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
	if (!lib)
		return err_new(e, ERR_UNSUPPORTED, "load library '%s': %s; install the package that provides it",
			       l->soname, dlerror());
	for (size_t i = 0; l->names[i]; i++) {
		void *address = dlsym(lib, l->names[i]);
		if (!address)
			return err_new(e, ERR_UNSUPPORTED, "library '%s' lacks '%s'; install a newer version of it",
				       l->soname, l->names[i]);
		memcpy((char *)l->functions + i * sizeof(address), &address, sizeof(address));
	}
	return l->prepare ? l->prepare(e) : 0;
}

int dl_load(struct dl_library *l, struct err *e)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	if (__atomic_load_n(&l->loaded, __ATOMIC_ACQUIRE))
		return 0;
	pthread_mutex_lock(&lock);
	int rc = l->loaded ? 0 : fill(l, e);
	if (rc == 0)
		__atomic_store_n(&l->loaded, true, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
	return rc;
}

void dl_need(struct dl_library *l)
{
	struct err e = ERR_INIT;
	if (dl_load(l, &e) < 0)
		panic("%s", e.msg);
}
