// SPDX-License-Identifier: Apache-2.0
#include "transfer/curl.h"

#include <pthread.h>

#include "base/dl.h"

static struct curl_api api;
static struct err load_error;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	static const struct dl_symbol symbols[] = {
		{"curl_global_init", &api.global_init},
		{"curl_easy_strerror", &api.easy_strerror},
		{"curl_easy_init", &api.easy_init},
		{"curl_easy_cleanup", &api.easy_cleanup},
		{"curl_easy_setopt", &api.easy_setopt},
		{"curl_easy_getinfo", &api.easy_getinfo},
		{"curl_easy_pause", &api.easy_pause},
		{"curl_multi_init", &api.multi_init},
		{"curl_multi_cleanup", &api.multi_cleanup},
		{"curl_multi_setopt", &api.multi_setopt},
		{"curl_multi_add_handle", &api.multi_add_handle},
		{"curl_multi_remove_handle", &api.multi_remove_handle},
		{"curl_multi_perform", &api.multi_perform},
		{"curl_multi_poll", &api.multi_poll},
		{"curl_multi_info_read", &api.multi_info_read},
		{"curl_multi_strerror", &api.multi_strerror},
		{"curl_slist_append", &api.slist_append},
		{"curl_slist_free_all", &api.slist_free_all},
		{NULL, NULL},
	};
	if (dl_load("libcurl.so.4", symbols, &load_error) == 0 && api.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		err_new(&load_error, ERR_FAILED, "libcurl cannot be initialised");
}

const struct curl_api *curl_load(struct err *e)
{
	pthread_once(&once, load);
	if (load_error.code == ERR_NONE)
		return &api;
	*e = load_error;
	return NULL;
}
