// SPDX-License-Identifier: Apache-2.0
/*
 * What a server answers, header lines and bodies, over several tries. libcurl is played by this file; time flies.
 *
 * Input: a byte of flags, a byte that says how much is there already, then operations: 'H' and a header line, 'B' offset
 * length (a part of the right file), 'R' length and bytes (what the server makes up), 'Z' and the code with which libcurl
 * ends the try. Whatever comes: a file that is called good is the published one, a validator is one line of text, a
 * password stays out of messages.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "transfer/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES = 200, HAS_SHA256 = 1, HAS_SIZE = 2, HAS_ETAG = 4, HAS_DATE = 8, WEAK = 16, HAS_BOUND = 32 };

/* -- libcurl ----------------------------------------------------------------------------------------------------- */
typedef size_t callback(char *p, size_t size, size_t n, void *ctx);
struct handle {
	callback *header, *write;
	void *header_ctx, *write_ctx, *job;
};

static struct str script; /* what is left of the input */
static char content[FILE_BYTES];
static struct handle *added;
static CURLMsg message;

static CURL *fake_init(void)
{
	return (CURL *)xcalloc(1, sizeof(struct handle));
}

static void fake_cleanup(CURL *c)
{
	free(c);
}

static CURLcode fake_setopt(CURL *c, CURLoption o, ...)
{
	struct handle *h = (struct handle *)c;
	va_list ap;
	va_start(ap, o);
	if (o == CURLOPT_HEADERFUNCTION)
		h->header = va_arg(ap, callback *);
	else if (o == CURLOPT_WRITEFUNCTION)
		h->write = va_arg(ap, callback *);
	else if (o == CURLOPT_HEADERDATA)
		h->header_ctx = va_arg(ap, void *);
	else if (o == CURLOPT_WRITEDATA)
		h->write_ctx = va_arg(ap, void *);
	else if (o == CURLOPT_PRIVATE)
		h->job = va_arg(ap, void *);
	va_end(ap);
	return CURLE_OK;
}

static CURLcode fake_getinfo(CURL *c, CURLINFO i, ...)
{
	va_list ap;
	va_start(ap, i);
	*va_arg(ap, void **) = ((struct handle *)c)->job;
	va_end(ap);
	return CURLE_OK;
}

static const char *fake_strerror(CURLcode code)
{
	(void)code;
	return "broken";
}

static CURLMcode fake_add(CURLM *m, CURL *c)
{
	(void)m;
	added = (struct handle *)c;
	return CURLM_OK;
}

static CURLMcode fake_remove(CURLM *m, CURL *c)
{
	(void)m, (void)c;
	return CURLM_OK;
}

static uint8_t take(void)
{
	uint8_t c = script.n ? (uint8_t)script.p[0] : 0;
	script = str_skip(script, script.n > 0);
	return c;
}

static bool body(struct str s)
{
	auto_buf copy = BUF_INIT(BUF_MAX);
	buf_put_str(&copy, s);
	return s.n == 0 || added->write(copy.p, 1, s.n, added->write_ctx) == s.n;
}

static void header(void)
{
	struct str line;
	auto_buf copy = BUF_INIT(BUF_MAX);
	(void)str_take_line(&script, &line);
	buf_put_str(&copy, line);
	buf_put_c(&copy, "\r\n");
	(void)added->header(copy.p, 1, copy.n, added->header_ctx);
}

static CURLcode play(void)
{
	while (script.n) {
		uint8_t op = take(), at, n;
		switch (op) {
		case 'H':
			header();
			break;
		case 'B':
			at = take() % FILE_BYTES, n = take();
			n = n < FILE_BYTES - at ? n : (uint8_t)(FILE_BYTES - at);
			if (!body(str_of(content + at, n)))
				return CURLE_WRITE_ERROR;
			break;
		case 'R':
			n = take();
			n = n < script.n ? n : (uint8_t)script.n;
			if (!body(str_head(script, n)))
				return CURLE_WRITE_ERROR;
			script = str_skip(script, n);
			break;
		case 'Z':
			return (CURLcode)(take() % CURL_LAST);
		default:
			break;
		}
	}
	return CURLE_OK;
}

static CURLMcode fake_perform(CURLM *m, int *running)
{
	(void)m;
	*running = 0;
	if (added)
		message = (CURLMsg){.msg = CURLMSG_DONE, .easy_handle = (CURL *)added, .data.result = play()};
	return CURLM_OK;
}

static CURLMsg *fake_read(CURLM *m, int *left)
{
	(void)m;
	*left = 0;
	if (!added)
		return NULL;
	added = NULL;
	return &message;
}

static CURLMcode fake_cleanup_all(CURLM *m)
{
	(void)m;
	return CURLM_OK;
}

static struct curl_slist *fake_append(struct curl_slist *l, const char *s)
{
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 && *p != '\t')
			panic("a header of our own holds a control character: '%s'", s);
	return l;
}

static void fake_free_all(struct curl_slist *l)
{
	(void)l;
}

/* One whose certificates nobody looks at. */
static curl_version_info_data *fake_version(CURLversion v)
{
	static curl_version_info_data data;
	(void)v;
	return &data;
}

static const struct curl_api api = {
	.easy_init = fake_init,
	.easy_cleanup = fake_cleanup,
	.easy_setopt = fake_setopt,
	.easy_getinfo = fake_getinfo,
	.easy_strerror = fake_strerror,
	.multi_add_handle = fake_add,
	.multi_remove_handle = fake_remove,
	.multi_perform = fake_perform,
	.multi_info_read = fake_read,
	.multi_cleanup = fake_cleanup_all,
	.slist_append = fake_append,
	.slist_free_all = fake_free_all,
	.version_info = fake_version,
};

/* -- what must hold ---------------------------------------------------------------------------------------------- */
static int64_t mono(const struct clock *c)
{
	static int64_t now;
	(void)c;
	return now += 70000; /* longer than any wait */
}

static void must(bool good, const char *what, const struct transfer_request *r)
{
	if (!good)
		panic("%s: status %ld, %llu bytes, '%s'", what, r->status, (unsigned long long)r->got_bytes,
		      r->err.msg);
}

static void check(const struct transfer_request *r, unsigned flags)
{
	char got[2 * FILE_BYTES];
	ssize_t n = pread(r->fd, got, sizeof(got), 0);
	must(memchr(r->etag, '\0', sizeof(r->etag)) && memchr(r->last_modified, '\0', sizeof(r->last_modified)),
	     "a validator without end", r);
	must(r->max_age_s >= -1 && r->max_age_s <= 31536000, "age", r);
	must(!strstr(r->err.msg, "secretive"), "a password in a message", r);
	must((r->err.code == ERR_NONE) == !r->err.msg[0], "good and bad", r);
	if (r->err.code != ERR_NONE || r->status == 304)
		return;
	must(n >= 0 && ((size_t)n == sizeof(got) || (uint64_t)n == r->got_bytes), "another length", r);
	must(!(flags & HAS_SIZE) || n == FILE_BYTES, "another size than published", r);
	must(!(flags & HAS_SHA256) || (n == FILE_BYTES && memcmp(got, content, FILE_BYTES) == 0), "another file", r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct clock clock = {.mono_ms = mono, .wall_ms = mono};
	struct transfer_opts o = {.clock = &clock};
	struct transfer *t;
	struct err e = ERR_INIT;
	uint8_t sha[SHA256_SIZE];
	if (size < 2)
		return 0;
	unsigned flags = data[0];
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (char)(i * 7);
	sha256(content, FILE_BYTES, sha);
	auto_fd fd = memfd_create("body", MFD_CLOEXEC);
	struct transfer_request r = {.url = "https://u:secretive@h.example/x", .fd = fd};
	r.have = data[1] < FILE_BYTES ? data[1] : 0;
	if (fd < 0 || pwrite(fd, content, r.have, 0) != (ssize_t)r.have)
		panic("no memory file");
	r.sha256 = flags & HAS_SHA256 ? sha : NULL;
	r.size = flags & HAS_SIZE ? FILE_BYTES : 0;
	r.max_bytes = flags & HAS_BOUND ? 2 * FILE_BYTES : 0;
	if (flags & HAS_ETAG)
		strncpy(r.etag, flags & WEAK ? "W/\"1\"" : "\"1\"", sizeof(r.etag) - 1);
	if (flags & HAS_DATE)
		strncpy(r.last_modified, "Sat, 21 Nov 2026 09:00:00 GMT", sizeof(r.last_modified) - 1);
	if (transfer_new(&o, &t, &e) < 0)
		panic("%s", e.msg);
	t->curl = &api;
	t->multi = (CURLM *)&api; /* never looked into */
	script = str_of((const char *)data + 2, size - 2);
	transfer_add(t, &r);
	if (transfer_run(t, &e) < 0)
		panic("%s", e.msg);
	transfer_free(t);
	check(&r, flags);
	return 0;
}
