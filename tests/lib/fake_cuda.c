// SPDX-License-Identifier: Apache-2.0
/* A GPU driver's library as far as __cuda and __cuda_arch ask one; FAKE_CUDA says how it is. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

API int cuDriverGetVersion(int *version);
API int cuInit(unsigned flags);
API int cuDeviceGetCount(int *count);
API int cuDeviceGetAttribute(int *value, int attribute, int device);

static int is(const char *word)
{
	const char *how = getenv("FAKE_CUDA");
	return how && strcmp(how, word) == 0;
}

int cuDriverGetVersion(int *version)
{
	if (is("hangs"))
		for (;;)
			pause();
	if (is("crashes"))
		abort();
	*version = is("nonsense") ? -5 : 12040;
	return is("refuses") ? 999 : 0;
}

int cuInit(unsigned flags)
{
	if (is("hangs later"))
		for (;;)
			pause();
	return is("no device") ? 100 : (int)flags;
}

int cuDeviceGetCount(int *count)
{
	*count = 3;
	return 0;
}

/* Compute capabilities 9.0, 7.5 and 12.1. */
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
	static const int capability[3][2] = {{9, 0}, {7, 5}, {12, 1}};
	if (device < 0 || device > 2 || attribute < 75 || attribute > 76)
		return 1;
	*value = capability[device][attribute - 75];
	return 0;
}
