// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * What HTTP's grammar says (RFC 9110, 9112), without any I/O: heads of requests, paths, chunks, ranges, dates, entity tags. All of it takes hostile
 * bytes, and is strict where two readers could differ: what it refuses may be refused for good, what it takes has one meaning.
 */
#include "base/arena.h"
#include "httpd/httpd.h"

struct http_limits {
	size_t head_bytes, headers, target_bytes;
};

struct http_head {
	struct str method, target, query;
	struct str path; /* decoded and normalised, in the arena; "*" as it is */
	struct str host;
	unsigned version; /* 10, 11, 20 */
	struct httpd_header *header;
	size_t header_n;
	uint64_t length; /* of the body; 0 where chunked */
	bool chunked, keep_alive, expect_continue;
};

/* Where the first whole head in `in` ends: behind its CR LF CR LF; 0 where there is none yet. `scanned` holds how far was looked, 0 at first. */
size_t http_head_end(struct str in, size_t *scanned);
/* Reads a whole head (with its empty line), which stays the caller's and is written to: names become lower case. Returns 0, or the status to refuse it with. */
int http_parse_head(char *p, size_t n, const struct http_limits *l, struct arena *a, struct http_head *ret);
/* What both versions ask of a head whose method, target and header are there: sets path, query, host, length. Returns 0 or a status. */
int http_check_head(struct http_head *h, const struct http_limits *l, struct arena *a);
bool http_is_token(struct str s);

/* "/a%20b/./c" → "/a b/c", NUL-terminated, in the arena; false: see httpd.h. */
bool http_path(struct str raw, struct arena *a, struct str *ret);
/* %XX and '+' decoded; false on a broken escape. */
bool http_unescape(struct str raw, struct arena *a, struct str *ret);

/* The body of a chunked request, piece by piece. */
struct http_chunks {
	enum http_chunks_at {
		CHUNK_SIZE,
		CHUNK_EXTENSION,
		CHUNK_SIZE_LF,
		CHUNK_DATA,
		CHUNK_CR,
		CHUNK_LF,
		CHUNK_TRAILER,
		CHUNK_TRAILER_LINE,
		CHUNK_TRAILER_LF,
		CHUNK_END_LF,
		CHUNK_DONE
	} at;
	uint64_t left;
	unsigned digits, line;
};
/* Eats from `in`. 1: *ret_data is the next piece of the body; 0: more is needed (`in` is empty), or all is there (at == CHUNK_DONE); -1: malformed. */
int http_chunk(struct http_chunks *k, struct str *in, struct str *ret_data);

struct http_range {
	uint64_t from, n;
};
enum { HTTP_RANGES_MAX = 64 };
/* The value of Range for a body of `size` bytes. Returns the number of ranges, 0: none can be satisfied (416), -1: to be ignored (other units,
 * malformed, too many, more bytes than the whole). */
int http_ranges(struct str value, uint64_t size, struct http_range ret[HTTP_RANGES_MAX]);

enum { HTTP_DATE_SIZE = 30 };
/* "Sun, 06 Nov 1994 08:49:37 GMT", NUL-terminated; years 1970 to 9999. */
void http_date(int64_t s, char out[HTTP_DATE_SIZE]);
bool http_parse_date(struct str s, int64_t *ret_s); /* the three forms of RFC 9110 */
/* Is `etag` in the list of If-Match or If-None-Match? weak: W/ counts as equal. "*" is in every list. */
bool http_etag_listed(struct str list, struct str etag, bool weak);

const char *http_reason(int status);
