// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * curl (private to transfer): the libcurl functions in use, loaded at the first download (base/dl.h).
 */
#include <curl/curl.h>

#include "base/dl.h"

#define CURL_FUNCTIONS(X)                                                                                              \
	X(curl_, global_init)                                                                                          \
	X(curl_, easy_strerror)                                                                                        \
	X(curl_, easy_init)                                                                                            \
	X(curl_, easy_cleanup)                                                                                         \
	X(curl_, easy_setopt)                                                                                          \
	X(curl_, easy_getinfo)                                                                                         \
	X(curl_, easy_pause)                                                                                           \
	X(curl_, multi_init)                                                                                           \
	X(curl_, multi_cleanup)                                                                                        \
	X(curl_, multi_setopt)                                                                                         \
	X(curl_, multi_add_handle)                                                                                     \
	X(curl_, multi_remove_handle)                                                                                  \
	X(curl_, multi_perform)                                                                                        \
	X(curl_, multi_poll)                                                                                           \
	X(curl_, multi_info_read)                                                                                      \
	X(curl_, multi_strerror)                                                                                       \
	X(curl_, version_info)                                                                                         \
	X(curl_, slist_append)                                                                                         \
	X(curl_, slist_free_all)

struct curl_api {
	CURL_FUNCTIONS(DL_POINTER)
};
/* NULL with *e where libcurl is missing. */
const struct curl_api *curl_load(struct err *e);
