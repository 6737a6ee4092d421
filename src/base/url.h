// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * url: what several modules need to know of URLs (RFC 3986, 8089): the path of a file URL and back, and what of a URL may
 * be shown.
 *
 * Credentials are user:password@ before the host, and the access token of a conda server, the /t/TOKEN that its paths
 * begin with, or that stands deeper where the server lies below a folder (/api/repo/t/TOKEN). They belong into requests, and nowhere else: not into messages, records, locks and histories.
 */
#include "base/buf.h"
#include "base/err.h"

/* Of messages: a URL of up to so many bytes is looked at whole. */
enum { URL_MAX = 65536 };

/* "https://host:1", the start up to its path; empty where there is no "://". */
struct str url_origin(struct str url);
/* file:///a%20b → "/a b", appended. ERR_USAGE where it is no file URL, its path is not absolute, an escape is broken or a
 * NUL; ERR_LIMIT where b is full. */
int url_file_path(struct str url, struct buf *b, struct err *e);
/* The same way back, for a path: what a URL may not hold as it is becomes %XX. */
void url_put_path(struct buf *b, struct str path);
/* The URL without credentials, appended. Text around it stays, so that an option's word (--channel=https://...) may be
 * given as it is. */
void url_put_shown(struct buf *b, struct str url);
