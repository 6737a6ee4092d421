// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * box: what the parts of sandbox share.
 *
 *	filter.c    the system call filter
 */
#include <linux/filter.h>
#include <time.h>

#include "base/err.h"
#include "base/str.h"

/* filter.c. How many instructions were written (at most cap). */
enum box_filter_flags { BOX_FILTER_SYNC = 1, BOX_FILTER_CHOWN = 2, BOX_FILTER_NESTED = 4 };
size_t box_filter_make(unsigned flags, struct sock_filter *out, size_t cap);
enum { BOX_FILTER_CAP = 1024 };
int box_filter_load(unsigned flags);
