// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * gzip: writes RFC 1952 (istream_gz of base/stream.h reads it), without name and time, so that the same text gives the same bytes (of one zlib).
 */
#include "base/buf.h"
#include "base/err.h"

/* `text`, packed (level 1 to 9), appended to b. ERR_LIMIT where b is full. */
int gzip_pack(struct str text, int level, struct buf *b, struct err *e);
