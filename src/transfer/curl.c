// SPDX-License-Identifier: Apache-2.0
#include "transfer/curl.h"

static int prepare(struct err *e);

static struct curl_api api;
DL_LIBRARY_OF(api, "libcurl.so.4", CURL_FUNCTIONS, prepare);

static int prepare(struct err *e)
{
	return api.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK
		       ? 0
		       : err_new(e, ERR_FAILED, "libcurl cannot be initialised");
}

const struct curl_api *curl_load(struct err *e)
{
	return dl_load(&api_library, e) < 0 ? NULL : &api;
}
