// SPDX-License-Identifier: Apache-2.0
#include "httpd/syntax.h"

/* -- characters --------------------------------------------------------------------------------------------------------- */

static bool is_tchar(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

bool http_is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_tchar((unsigned char)s.p[i]))
			return false;
	return s.n > 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Field values: visible characters, blanks, tabs, and bytes above 0x7f. */
static bool is_value(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static struct str trim_blanks(struct str s)
{
	while (s.n && (*s.p == ' ' || *s.p == '\t'))
		s = str_skip(s, 1);
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* The next element of a comma-separated list; false at its end. */
static bool take_element(struct str *list, struct str *ret)
{
	while (list->n) {
		struct str one;
		if (!str_take_until(list, ',', &one)) {
			one = *list;
			*list = str_skip(*list, list->n);
		}
		*ret = trim_blanks(one);
		if (ret->n)
			return true;
	}
	return false;
}

/* -- the path ------------------------------------------------------------------------------------------------------------- */

static bool unescape(struct str raw, bool plus, char *out, size_t *ret_n)
{
	size_t n = 0;
	for (size_t i = 0; i < raw.n; i++) {
		char c = raw.p[i];
		if (c == '%') {
			int high = i + 2 < raw.n ? hex_digit(raw.p[i + 1]) : -1;
			int low = high >= 0 ? hex_digit(raw.p[i + 2]) : -1;
			if (low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (plus && c == '+') {
			c = ' ';
		}
		out[n++] = c;
	}
	*ret_n = n;
	return true;
}

bool http_unescape(struct str raw, struct arena *a, struct str *ret)
{
	char *out = arena_alloc(a, raw.n + 1);
	if (!unescape(raw, true, out, &ret->n))
		return false;
	out[ret->n] = '\0';
	ret->p = out;
	return true;
}

static bool is_text(struct str s)
{
	while (s.n) {
		uint32_t c;
		size_t n = (unsigned char)*s.p < 0x80 ? (c = (unsigned char)*s.p, 1) : utf8_take(s, &c);
		if (n == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
			return false;
		s = str_skip(s, n);
	}
	return true;
}

/* In place: no empty parts, no "."; false where there is "..". */
static bool normalise(char *p, size_t *n)
{
	size_t to = 0, from = 0, end = *n;
	while (from < end) {
		size_t part = from + 1, stop = part; /* p[from] is '/' */
		while (stop < end && p[stop] != '/')
			stop++;
		size_t len = stop - part;
		if (len == 2 && p[part] == '.' && p[part + 1] == '.')
			return false;
		bool nothing = len == 0 || (len == 1 && p[part] == '.');
		if (!nothing || (stop == end && (to == 0 || p[to - 1] != '/'))) {
			p[to++] = '/';
			if (!nothing) {
				memmove(p + to, p + part, len);
				to += len;
			}
		}
		from = stop;
	}
	*n = to;
	p[to] = '\0';
	return true;
}

bool http_path(struct str raw, struct arena *a, struct str *ret)
{
	char *out = arena_alloc(a, raw.n + 1);
	size_t n;
	if (raw.n == 0 || raw.p[0] != '/' || !unescape(raw, false, out, &n) || !is_text(str_of(out, n)) ||
	    !normalise(out, &n))
		return false;
	*ret = str_of(out, n);
	return true;
}

/* -- heads of requests ------------------------------------------------------------------------------------------------------ */

size_t http_head_end(struct str in, size_t *scanned)
{
	size_t from = *scanned > 3 ? *scanned - 3 : 0;
	const char *p = in.n > from ? memmem(in.p + from, in.n - from, "\r\n\r\n", 4) : NULL;
	*scanned = in.n;
	return p ? (size_t)(p - in.p) + 4 : 0;
}

/* Up to its CR LF, which is eaten; false where a CR or LF stands alone. */
static bool take_line(struct str *s, struct str *ret)
{
	if (!str_take_until(s, '\n', ret) || ret->n == 0 || ret->p[ret->n - 1] != '\r')
		return false;
	ret->n--;
	return !memchr(ret->p, '\r', ret->n);
}

static int parse_request_line(struct str line, const struct http_limits *l, struct http_head *h)
{
	struct str version;
	if (!str_take_until(&line, ' ', &h->method) || !http_is_token(h->method) || h->method.n > 32)
		return 400;
	if (!str_take_until(&line, ' ', &h->target))
		return line.n > l->target_bytes ? 414 : 400;
	version = line;
	if (h->target.n > l->target_bytes)
		return 414;
	if (version.n != 8 || memcmp(version.p, "HTTP/", 5) != 0 || version.p[6] != '.')
		return 400;
	if (version.p[5] != '1' || (version.p[7] != '0' && version.p[7] != '1'))
		return version.p[5] >= '0' && version.p[5] <= '9' && version.p[7] >= '0' && version.p[7] <= '9' ? 505
														: 400;
	h->version = version.p[7] == '1' ? 11 : 10;
	return 0;
}

static int parse_header(struct str line, struct httpd_header *ret)
{
	if (!str_take_until(&line, ':', &ret->name) ||
	    !http_is_token(ret->name)) /* a folded line begins with a blank: no token */
		return 400;
	ret->value = trim_blanks(line);
	if (!is_value(ret->value))
		return 400;
	char *name = (char *)(uintptr_t)ret->name.p; /* the caller's, writable */
	for (size_t i = 0; i < ret->name.n; i++)
		if (name[i] >= 'A' && name[i] <= 'Z')
			name[i] |= 0x20;
	return 0;
}

/* http://host/path → host and /path, as a proxy is asked. */
static bool take_authority(struct str *target, struct str *host)
{
	struct str rest = *target;
	if (rest.n && rest.p[0] == '/')
		return true;
	if (str_casecmp(str_head(rest, 7), STR("http://")) == 0)
		rest = str_skip(rest, 7);
	else if (str_casecmp(str_head(rest, 8), STR("https://")) == 0)
		rest = str_skip(rest, 8);
	else
		return false;
	ptrdiff_t slash = str_find(rest, '/');
	if (slash <= 0)
		return false;
	*host = str_head(rest, (size_t)slash);
	*target = str_skip(rest, (size_t)slash);
	return true;
}

static bool is_host(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= 0x20 || c >= 0x7f || strchr("/?#@\\\"<>", c))
			return false;
	}
	return s.n <= 300;
}

static int check_target(struct http_head *h, const struct http_limits *l, struct arena *a, struct str *host)
{
	struct str target = h->target, path;
	if (target.n > l->target_bytes)
		return 414;
	for (size_t i = 0; i < target.n; i++)
		if ((unsigned char)target.p[i] <= 0x20 || target.p[i] == 0x7f || target.p[i] == '#')
			return 400;
	if (str_eq(target, STR("*")) && str_eq(h->method, STR("OPTIONS"))) {
		h->path = STR("*");
		return 0;
	}
	if (!take_authority(&target, host))
		return 400;
	if (str_take_until(&target, '?', &path))
		h->query = target;
	else
		path = target;
	return http_path(path, a, &h->path) ? 0 : 400;
}

struct framing {
	unsigned hosts, lengths, encodings;
	bool close, keep;
};

static int check_header(struct http_head *h, const struct httpd_header *f, struct framing *seen)
{
	struct str list = f->value, one;
	if (str_eq(f->name, STR("host"))) {
		seen->hosts++;
		h->host = f->value;
	} else if (str_eq(f->name, STR("content-length"))) {
		if (seen->lengths++ || !str_to_u64(f->value, &h->length) || h->length > INT64_MAX)
			return 400;
	} else if (str_eq(f->name, STR("transfer-encoding"))) {
		seen->encodings++;
		if (str_casecmp(f->value, STR("chunked")) != 0)
			return 501;
		h->chunked = true;
	} else if (str_eq(f->name, STR("connection"))) {
		while (take_element(&list, &one)) {
			seen->close |= str_casecmp(one, STR("close")) == 0;
			seen->keep |= str_casecmp(one, STR("keep-alive")) == 0;
		}
	} else if (str_eq(f->name, STR("expect"))) {
		if (str_casecmp(f->value, STR("100-continue")) != 0)
			return 417;
		h->expect_continue = h->version == 11;
	}
	return 0;
}

int http_check_head(struct http_head *h, const struct http_limits *l, struct arena *a)
{
	struct framing seen = {0};
	struct str host = STR_NONE;
	int status = check_target(h, l, a, &host);
	if (status)
		return status;
	for (size_t i = 0; i < h->header_n; i++)
		if ((status = check_header(h, &h->header[i], &seen)))
			return status;
	if (seen.encodings > 1 || (seen.encodings && (seen.lengths || h->version == 10)))
		return 400; /* two readers could see two bodies */
	if (seen.hosts > 1 || (h->version == 11 && seen.hosts == 0))
		return 400;
	if (host.n)
		h->host = host;
	if (!is_host(h->host))
		return 400;
	h->keep_alive = h->version == 11 ? !seen.close : seen.keep && !seen.close;
	return 0;
}

int http_parse_head(char *p, size_t n, const struct http_limits *l, struct arena *a, struct http_head *ret)
{
	struct str s = str_of(p, n), line;
	*ret = (struct http_head){.host = STR("")};
	if (n > l->head_bytes)
		return 431;
	if (!take_line(&s, &line))
		return 400;
	int status = parse_request_line(line, l, ret);
	if (status)
		return status;
	size_t lines = 0;
	for (size_t i = 0; i < s.n; i++)
		lines += s.p[i] == '\n';
	if (lines > l->headers + 1)
		return 431;
	ret->header = arena_array(a, struct httpd_header, lines);
	for (;;) {
		if (!take_line(&s, &line))
			return 400;
		if (line.n == 0)
			break;
		if ((status = parse_header(line, &ret->header[ret->header_n])))
			return status;
		ret->header_n++;
	}
	return s.n ? 400 : http_check_head(ret, l, a);
}

/* -- chunks ------------------------------------------------------------------------------------------------------------------- */

enum { CHUNK_LINE_MAX = 256, TRAILER_MAX = 4096 };

static int chunk_size(struct http_chunks *k, char c)
{
	int digit = hex_digit(c);
	if (digit >= 0) {
		if (++k->digits > 15)
			return -1;
		k->left = k->left << 4 | (unsigned)digit;
		return 0;
	}
	if (k->digits == 0)
		return -1;
	k->line = 0;
	k->at = c == ';' ? CHUNK_EXTENSION : CHUNK_SIZE_LF;
	return c == ';' || c == '\r' ? 0 : -1;
}

static int chunk_extension(struct http_chunks *k, char c)
{
	if (c == '\r') {
		k->at = CHUNK_SIZE_LF;
		return 0;
	}
	return (unsigned char)c < 0x20 || ++k->line > CHUNK_LINE_MAX ? -1 : 0;
}

/* One byte of what is not data. */
static int chunk_byte(struct http_chunks *k, char c)
{
	enum http_chunks_at at = k->at;
	if (at == CHUNK_SIZE)
		return chunk_size(k, c);
	if (at == CHUNK_EXTENSION)
		return chunk_extension(k, c);
	if (at == CHUNK_CR || at == CHUNK_LF) {
		k->at = at == CHUNK_CR ? CHUNK_LF : CHUNK_SIZE;
		k->digits = 0;
		return c == (at == CHUNK_CR ? '\r' : '\n') ? 0 : -1;
	}
	if (at == CHUNK_TRAILER || at == CHUNK_TRAILER_LINE) {
		if (c == '\r')
			k->at = at == CHUNK_TRAILER ? CHUNK_END_LF : CHUNK_TRAILER_LF;
		else
			k->at = CHUNK_TRAILER_LINE;
		return ++k->line > TRAILER_MAX || c == '\n' ? -1 : 0;
	}
	if (c != '\n')
		return -1;
	if (at == CHUNK_SIZE_LF)
		k->at = k->left ? CHUNK_DATA : CHUNK_TRAILER;
	else
		k->at = at == CHUNK_TRAILER_LF ? CHUNK_TRAILER : CHUNK_DONE;
	if (at == CHUNK_SIZE_LF)
		k->line = 0;
	return 0;
}

int http_chunk(struct http_chunks *k, struct str *in, struct str *ret_data)
{
	while (in->n && k->at != CHUNK_DONE) {
		if (k->at == CHUNK_DATA) {
			*ret_data = str_head(*in, k->left < in->n ? (size_t)k->left : in->n);
			*in = str_skip(*in, ret_data->n);
			k->left -= ret_data->n;
			if (k->left == 0)
				k->at = CHUNK_CR;
			return 1;
		}
		if (chunk_byte(k, *in->p) < 0)
			return -1;
		*in = str_skip(*in, 1);
	}
	return 0;
}

/* -- ranges --------------------------------------------------------------------------------------------------------------------- */

/* "5-9", "5-", "-5": 1 a range, 0 none of this size, -1 malformed. */
static int parse_range(struct str s, uint64_t size, struct http_range *ret)
{
	uint64_t from = 0, to = UINT64_MAX;
	bool tail = str_take_char(&s, '-');
	if (tail) {
		if (!str_to_u64(s, &to))
			return -1;
		*ret = (struct http_range){to < size ? size - to : 0, to < size ? to : size};
		return ret->n > 0;
	}
	if (!str_take_u64(&s, &from) || !str_take_char(&s, '-') || (s.n && !str_to_u64(s, &to)) || to < from)
		return -1;
	if (from >= size)
		return 0;
	if (to > size - 1)
		to = size - 1;
	*ret = (struct http_range){from, to - from + 1};
	return 1;
}

int http_ranges(struct str value, uint64_t size, struct http_range ret[HTTP_RANGES_MAX])
{
	struct str one;
	uint64_t sum = 0;
	int n = 0, asked = 0;
	if (str_casecmp(str_head(value, 6), STR("bytes=")) != 0)
		return -1;
	value = str_skip(value, 6);
	while (take_element(&value, &one)) {
		struct http_range r;
		int good = parse_range(one, size, &r);
		if (good < 0 || ++asked > HTTP_RANGES_MAX)
			return -1;
		if (!good)
			continue;
		if (r.n > size - sum) /* overlaps: who asks so gets the whole, once */
			return -1;
		sum += r.n;
		ret[n++] = r;
	}
	return asked ? n : -1;
}

/* -- dates ------------------------------------------------------------------------------------------------------------------------ */

static const char days[] = "ThuFriSatSunMonTueWed",
		  months[] = "JanFebMarAprMayJunJulAugSepOctNovDec"; /* 1 January 1970 was a Thursday */

static void two(char *p, unsigned n)
{
	p[0] = (char)('0' + n / 10 % 10);
	p[1] = (char)('0' + n % 10);
}

void http_date(int64_t s, char out[HTTP_DATE_SIZE])
{
	if (s < 0)
		s = 0;
	if (s > 253402300799)
		s = 253402300799;
	int64_t day = s / 86400, z = day + 719468, era = z / 146097, doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365,
		doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	unsigned d = (unsigned)(doy - (153 * mp + 2) / 5 + 1), m = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	unsigned y = (unsigned)(yoe + era * 400 + (m <= 2)), t = (unsigned)(s % 86400);
	memcpy(out, "Thu, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_SIZE);
	memcpy(out, days + day % 7 * 3, 3);
	two(out + 5, d);
	memcpy(out + 8, months + (m - 1) * 3, 3);
	two(out + 12, y / 100);
	two(out + 14, y % 100);
	two(out + 17, t / 3600);
	two(out + 20, t / 60 % 60);
	two(out + 23, t % 60);
}

static bool take_month(struct str *s, int *ret)
{
	for (int i = 0; i < 12 && s->n >= 3; i++)
		if (memcmp(months + (size_t)i * 3, s->p, 3) == 0) {
			*s = str_skip(*s, 3);
			*ret = i + 1;
			return true;
		}
	return false;
}

static bool take_digits(struct str *s, size_t n, int *ret)
{
	struct str digits = str_head(*s, n);
	uint64_t v;
	if (digits.n != n || !str_to_u64(digits, &v))
		return false;
	*ret = (int)v;
	*s = str_skip(*s, n);
	return true;
}

static bool take_time(struct str *s, struct clock_date *d)
{
	return take_digits(s, 2, &d->hour) && str_take_char(s, ':') && take_digits(s, 2, &d->minute) &&
	       str_take_char(s, ':') && take_digits(s, 2, &d->second);
}

bool http_parse_date(struct str s, int64_t *ret_s)
{
	struct clock_date d = {0};
	int64_t ms;
	struct str day;
	bool good;
	if (str_take_until(&s, ',', &day)) {
		if (!str_take_char(&s, ' ') || !take_digits(&s, 2, &d.day))
			return false;
		if (str_take_char(&s, '-')) { /* Sunday, 06-Nov-94 08:49:37 GMT */
			good = take_month(&s, &d.month) && str_take_char(&s, '-') && take_digits(&s, 2, &d.year);
			d.year += d.year < 70 ? 2000 : 1900;
		} else { /* Sun, 06 Nov 1994 08:49:37 GMT */
			good = str_take_char(&s, ' ') && take_month(&s, &d.month) && str_take_char(&s, ' ') &&
			       take_digits(&s, 4, &d.year);
		}
		good = good && str_take_char(&s, ' ') && take_time(&s, &d) && str_eq(s, STR(" GMT"));
	} else { /* Sun Nov  6 08:49:37 1994 */
		good = str_take_until(&s, ' ', &day) && take_month(&s, &d.month) && str_take_char(&s, ' ') &&
		       (str_take_char(&s, ' ') ? take_digits(&s, 1, &d.day) : take_digits(&s, 2, &d.day)) &&
		       str_take_char(&s, ' ') && take_time(&s, &d) && str_take_char(&s, ' ') &&
		       take_digits(&s, 4, &d.year) && s.n == 0;
	}
	if (!good || d.year < 1970 || !clock_of_date(&d, &ms))
		return false;
	*ret_s = ms / 1000;
	return true;
}

/* -- entity tags -------------------------------------------------------------------------------------------------------------------- */

bool http_etag_listed(struct str list, struct str etag, bool weak)
{
	if (str_eq(trim_blanks(list), STR("*")))
		return true;
	bool ours_weak = str_take_str(&etag, STR("W/"));
	while (list.n) {
		struct str one;
		while (list.n && strchr(" \t,", *list.p) && *list.p)
			list = str_skip(list, 1);
		bool theirs_weak = str_take_str(&list, STR("W/"));
		struct str at = list;
		if (!str_take_char(&list, '"') || !str_take_until(&list, '"', &one)) /* a comma may stand in a tag */
			return false;
		one = str_of(at.p, one.n + 2);
		if (str_eq(one, etag) && (weak || (!ours_weak && !theirs_weak)))
			return true;
	}
	return false;
}

const char *http_reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "No Content"},
		{206, "Partial Content"},
		{301, "Moved Permanently"},
		{302, "Found"},
		{303, "See Other"},
		{304, "Not Modified"},
		{307, "Temporary Redirect"},
		{308, "Permanent Redirect"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{406, "Not Acceptable"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{410, "Gone"},
		{411, "Length Required"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{416, "Range Not Satisfiable"},
		{417, "Expectation Failed"},
		{422, "Unprocessable Content"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
		{507, "Insufficient Storage"},
	};
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Status";
}
