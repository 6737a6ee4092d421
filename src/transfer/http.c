// SPDX-License-Identifier: Apache-2.0
/* One try of an http(s) request: what is asked for, what the headers say, what it came to (RFC 9110, 9111). */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "transfer/job.h"

enum {
	MAX_REDIRECTS = 10,
	MAX_RETRY_AFTER_S = 60,
	LOW_SPEED_BYTES = 64,
	PAGE_MAX = 1 << 20,
	SOCKET_MIN = 32 << 10,
	SOCKET_MAX = 4 << 20,
};

/* -- what comes back --------------------------------------------------------------------------------------------- */

/* It becomes a header of our own one day: no line end, no other control character. */
static void keep(char *out, size_t size, struct str value)
{
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
			return;
	if (value.n < size) {
		memcpy(out, value.p, value.n);
		out[value.n] = '\0';
	}
}

static void take_max_age(struct job *j, struct str value)
{
	ptrdiff_t at = str_search(value, STR("max-age="));
	uint64_t seconds;
	if (str_search(value, STR("no-cache")) >= 0 || str_search(value, STR("no-store")) >= 0) {
		j->r->max_age_s = 0;
	} else if (at >= 0) {
		struct str rest = str_skip(value, (size_t)at + 8);
		if (str_take_u64(&rest, &seconds))
			j->r->max_age_s = seconds < 31536000 ? (int64_t)seconds : 31536000;
	}
}

static void take_range(struct job *j, struct str value)
{
	uint64_t start;
	if (str_take_str(&value, STR("bytes ")) && str_take_u64(&value, &start))
		j->range_start = (int64_t)start;
}

static void take_field(struct job *j, struct str name, struct str value)
{
	uint64_t n;
	/* a redirect and an error page have validators too: not the file's */
	bool of_file = j->status == 200 || j->status == 206 || j->status == 304;
	if (of_file && str_casecmp(name, STR("etag")) == 0)
		keep(j->r->etag, sizeof(j->r->etag), value);
	else if (of_file && str_casecmp(name, STR("last-modified")) == 0)
		keep(j->r->last_modified, sizeof(j->r->last_modified), value);
	else if (str_casecmp(name, STR("cache-control")) == 0)
		take_max_age(j, value);
	else if (str_casecmp(name, STR("content-type")) == 0)
		j->page_is_text = str_casecmp(str_head(value, strlen("text/plain")), STR("text/plain")) == 0;
	else if (str_casecmp(name, STR("content-range")) == 0)
		take_range(j, value);
	else if (str_casecmp(name, STR("retry-after")) == 0 && str_to_u64(value, &n))
		j->retry_after_s = n < MAX_RETRY_AFTER_S ? (int64_t)n : MAX_RETRY_AFTER_S;
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct job *j = ctx;
	struct str line = str_of(p, size * n), name;
	uint64_t status;
	transfer_heard(j->t);
	if (str_starts(line, STR("HTTP/"))) { /* a new response: after a redirect too */
		struct str rest = line, version;
		j->status = str_take_word(&rest, &version) && str_take_char(&rest, ' ') && str_take_u64(&rest, &status)
				    ? (long)status
				    : 0;
		j->range_start = -1;
		j->retry_after_s = -1;
		j->r->max_age_s = -1;
		j->page_is_text = j->page_line_ended = false;
		j->said[0] = '\0';
		if (j->status == 200 || j->status == 206)
			j->r->etag[0] = j->r->last_modified[0] = '\0';
	} else if (str_take_until(&line, ':', &name)) {
		take_field(j, name, str_trim(line));
	}
	return size * n;
}

/* The first bytes of the body: do they continue the file, or begin it anew? */
static int check_start(struct job *j, struct err *e)
{
	j->body_checked = true;
	if (j->status == 206 && j->range_start == (int64_t)j->at)
		return 0;
	if (j->status == 206)
		return err_new(e, ERR_NETWORK, "the server sent another part than asked for");
	return j->at ? job_truncate(j, e) : 0;
}

static bool may_take(struct transfer *t, size_t n)
{
	if (!t->o.max_bytes_per_s)
		return true;
	if (t->tokens <= 0)
		return false;
	t->tokens -= (int64_t)n;
	return true;
}

/* It goes into messages: nothing that a terminal would obey. */
static void hear(struct job *j, const char *p, size_t n)
{
	size_t at = strlen(j->said);
	for (size_t i = 0; i < n && at < SAID_MAX && !j->page_line_ended; i++) {
		unsigned char c = (unsigned char)p[i];
		j->page_line_ended = c == '\n';
		if (c >= 0x20 && c < 0x7f)
			j->said[at++] = (char)c;
	}
	j->said[at] = '\0';
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct job *j = ctx;
	size_t bytes = size * n;
	transfer_heard(j->t);
	if (j->status != 200 && j->status != 206) { /* an error page: not the file, and not for ever */
		if (j->r->error_body)
			buf_put(j->r->error_body, p, bytes);
		if (j->page_is_text)
			hear(j, p, bytes);
		j->page_bytes += bytes;
		return j->page_bytes <= PAGE_MAX ? bytes : 0;
	}
	if (!may_take(j->t, bytes)) {
		j->paused = j->window_paused = true;
		j->paused_at_ms = j->t->o.clock->mono_ms(j->t->o.clock);
		return CURL_WRITEFUNC_PAUSE;
	}
	if ((!j->body_checked && check_start(j, &j->abort) < 0) || job_write(j, p, bytes, &j->abort) < 0)
		return 0;
	j->r->came_bytes += bytes;
	job_tell(j, PROGRESS_UPDATE, NULL);
	return bytes;
}

/* -- what is asked ----------------------------------------------------------------------------------------------- */

static void add_header(struct job *j, const char *name, const char *value)
{
	auto_free char *line = xasprintf("%s: %s", name, value);
	j->headers = j->t->curl->slist_append(j->headers, line);
}

static void ask_for_rest_or_change(struct job *j)
{
	struct transfer_request *r = j->r;
	j->is_conditional = !j->at && (r->etag[0] || r->last_modified[0]);
	if (j->at) {
		/* not RESUME_FROM, which takes a server without ranges for a failure */
		char range[32];
		snprintf(range, sizeof(range), "%llu-", (unsigned long long)j->at);
		j->t->curl->easy_setopt(j->easy, CURLOPT_RANGE, range);
		if (r->etag[0] && r->etag[0] != 'W')
			add_header(j, "If-Range", r->etag);
		return;
	}
	if (r->etag[0])
		add_header(j, "If-None-Match", r->etag);
	if (r->last_modified[0])
		add_header(j, "If-Modified-Since", r->last_modified);
}

static void set_trust(struct job *j)
{
	const struct curl_api *c = j->t->curl;
	const struct transfer_opts *o = &j->t->o;
	const struct transfer_trust all = {
		.ca_file = o->ca_file, .client_cert = o->client_cert, .client_key = o->client_key};
	const struct transfer_trust *trust = j->r->trust;
	if (!trust && o->trust_of)
		trust = o->trust_of(o->trust_ctx, j->r->url);
	j->by_url = trust && trust != j->r->trust;
	if (!trust)
		trust = &all;
	j->own_authority = trust->ca_file != NULL;
	c->easy_setopt(j->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (trust->ca_file) {
		c->easy_setopt(j->easy, CURLOPT_CAINFO, trust->ca_file);
		c->easy_setopt(j->easy, CURLOPT_CA_CACHE_TIMEOUT, 0L); /* the file may change while we run */
	}
	if (trust->client_cert)
		c->easy_setopt(j->easy, CURLOPT_SSLCERT, trust->client_cert);
	if (trust->client_key)
		c->easy_setopt(j->easy, CURLOPT_SSLKEY, trust->client_key);
	if (trust->unverified) {
		c->easy_setopt(j->easy, CURLOPT_SSL_VERIFYPEER, 0L);
		c->easy_setopt(j->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	} else {
		tls_watch(j);
	}
	c->easy_setopt(j->easy, CURLOPT_NETRC, (long)CURL_NETRC_OPTIONAL);
	if (o->netrc)
		c->easy_setopt(j->easy, CURLOPT_NETRC_FILE, o->netrc);
}

static void set_post(struct job *j)
{
	const struct curl_api *c = j->t->curl;
	if (j->r->error_body)
		buf_clear(j->r->error_body);
	if (!j->r->post.p)
		return;
	c->easy_setopt(j->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)j->r->post.n);
	c->easy_setopt(j->easy, CURLOPT_POSTFIELDS, (void *)j->r->post.p);
	add_header(j, "Content-Type", "application/json");
}

/* With a limit, what the kernel takes while we wait counts too: on the wire it has come. A tenth of a second of it is
 * enough to keep going, since the engine looks every 20 ms. */
static int on_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
	const struct job *j = ctx;
	uint64_t room = j->t->o.max_bytes_per_s / 10;
	int bytes = room < SOCKET_MIN ? SOCKET_MIN : room > SOCKET_MAX ? SOCKET_MAX : (int)room;
	if (purpose == CURLSOCKTYPE_IPCXN)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)); /* a hint */
	return CURL_SOCKOPT_OK;
}

static void set_limit(struct job *j)
{
	const struct curl_api *c = j->t->curl;
	bool limit = j->t->o.max_bytes_per_s > 0;
	if (limit) {
		c->easy_setopt(j->easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
		c->easy_setopt(j->easy, CURLOPT_SOCKOPTDATA, (void *)j);
	}
	c->easy_setopt(j->easy, CURLOPT_BUFFERSIZE, limit ? 16L << 10 : 256L << 10);
}

/* -- where it leads ------------------------------------------------------------------------------------------------ */

enum { FAR, ON_LINK, HERE };

static int nearness_v4(const uint8_t *a)
{
	return a[0] == 127 || a[0] == 0 ? HERE : a[0] == 169 && a[1] == 254 ? ON_LINK : FAR;
}

static int nearness_of(const char *address)
{
	static const uint8_t nothing[15] = {0}, mapped[12] = {[10] = 0xff, [11] = 0xff};
	uint8_t a[16];
	if (inet_pton(AF_INET, address, a) == 1)
		return nearness_v4(a);
	if (inet_pton(AF_INET6, address, a) != 1)
		return FAR;
	if (memcmp(a, mapped, sizeof(mapped)) == 0)
		return nearness_v4(a + sizeof(mapped));
	if (memcmp(a, nothing, sizeof(nothing)) == 0 && a[15] <= 1)
		return HERE;
	return a[0] == 0xfe && (a[1] & 0xc0) == 0x80 ? ON_LINK : FAR;
}

/* Connected, and nothing is sent yet; for each server that a request is led to. */
static int on_connected(void *ctx, char *address, char *own, int port, int own_port)
{
	struct job *j = ctx;
	int now = nearness_of(address);
	(void)own, (void)port, (void)own_port;
	if (j->nearness >= 0 && now > j->nearness) {
		err_new(&j->abort, ERR_VERIFY,
			"a server elsewhere leads to %s, an address of this machine or of its link: refused", address);
		return CURL_PREREQFUNC_ABORT;
	}
	j->nearness = now;
	return CURL_PREREQFUNC_OK;
}

static void set_route(struct job *j)
{
	const struct curl_api *c = j->t->curl;
	const struct transfer_opts *o = &j->t->o;
	bool tls = strncasecmp(j->r->url, "https:", 6) == 0;
	long stall_s = (long)(o->stall_timeout_ms + 999) / 1000;
	c->easy_setopt(j->easy, CURLOPT_URL, j->r->url);
	c->easy_setopt(j->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	c->easy_setopt(j->easy, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
	c->easy_setopt(j->easy, CURLOPT_FOLLOWLOCATION, 1L);
	c->easy_setopt(j->easy, CURLOPT_MAXREDIRS, (long)MAX_REDIRECTS);
	j->nearness = j->r->led ? FAR : -1;
	c->easy_setopt(j->easy, CURLOPT_PREREQFUNCTION, on_connected);
	c->easy_setopt(j->easy, CURLOPT_PREREQDATA, (void *)j);
	c->easy_setopt(j->easy, CURLOPT_NOSIGNAL, 1L);
	c->easy_setopt(j->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_timeout_ms);
	/* with a throttle, what comes slowly may be our doing */
	c->easy_setopt(j->easy, CURLOPT_LOW_SPEED_LIMIT, o->max_bytes_per_s ? 1L : (long)LOW_SPEED_BYTES);
	c->easy_setopt(j->easy, CURLOPT_LOW_SPEED_TIME, stall_s);
	/* With TLS the handshake tells whether a connection can be shared, which is worth waiting for. Without, libcurl would
	 * learn it from the first answer, and wake those that wait only when that answer has come to its end. */
	c->easy_setopt(j->easy, CURLOPT_PIPEWAIT, tls ? 1L : 0L);
	c->easy_setopt(j->easy, CURLOPT_USERAGENT, o->user_agent ? o->user_agent : "slipway");
	set_limit(j);
}

int job_begin(struct job *j, struct err *e)
{
	const struct curl_api *c = j->t->curl;
	j->easy = c->easy_init();
	if (!j->easy)
		return err_new(e, ERR_FAILED, "libcurl cannot begin a transfer");
	j->status = 0;
	j->body_checked = j->paused = false;
	j->page_bytes = 0;
	j->page_is_text = j->page_line_ended = false;
	j->said[0] = '\0';
	j->range_start = j->retry_after_s = j->r->max_age_s = -1;
	j->abort = ERR_INIT;
	j->reason[0] = '\0';
	set_route(j);
	set_trust(j);
	ask_for_rest_or_change(j);
	set_post(j);
	if (j->r->accept)
		add_header(j, "Accept", j->r->accept);
	c->easy_setopt(j->easy, CURLOPT_HTTPHEADER, j->headers);
	c->easy_setopt(j->easy, CURLOPT_HEADERFUNCTION, on_header);
	c->easy_setopt(j->easy, CURLOPT_HEADERDATA, (void *)j);
	c->easy_setopt(j->easy, CURLOPT_WRITEFUNCTION, on_body);
	c->easy_setopt(j->easy, CURLOPT_WRITEDATA, (void *)j);
	c->easy_setopt(j->easy, CURLOPT_ERRORBUFFER, j->reason);
	c->easy_setopt(j->easy, CURLOPT_PRIVATE, (void *)j);
	return 0;
}

void job_end_try(struct job *j)
{
	if (!j->easy)
		return;
	j->t->curl->easy_cleanup(j->easy);
	j->t->curl->slist_free_all(j->headers);
	j->easy = NULL;
	j->headers = NULL;
}

/* -- what it came to --------------------------------------------------------------------------------------------- */

static bool is_worth_another_try(CURLcode code)
{
	switch ((int)code) {
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
	case CURLE_TOO_MANY_REDIRECTS:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_LOGIN_DENIED:
	case CURLE_BAD_FUNCTION_ARGUMENT:
		return false;
	default:
		return true;
	}
}

static const char *advice(CURLcode code)
{
	switch ((int)code) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return "; check the name, or the network";
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
		return "; is the server up, and is a proxy needed (https_proxy)?";
	case CURLE_PEER_FAILED_VERIFICATION:
		return "; is it the right server? If it has an authority of its own, enroll this host there ('slipway enroll'), or "
		       "have the system trust it";
	case CURLE_UNSUPPORTED_PROTOCOL:
		return "; a server may lead to http and https URLs only, one with https to https";
	default:
		return "";
	}
}

/* An alert comes when the handshake is over for us (TLS 1.3), as a failure to read. */
static bool our_certificate_is_refused(const struct job *j)
{
	static const char *const alerts[] = {"alert certificate required", "alert bad certificate",
					     "alert certificate expired",  "alert certificate revoked",
					     "alert certificate unknown",  "alert unknown ca"};
	for (size_t i = 0; i < sizeof(alerts) / sizeof(*alerts); i++)
		if (strstr(j->reason, alerts[i]))
			return true;
	return false;
}

static enum job_verdict judge_failure(struct job *j, CURLcode code)
{
	if (j->abort.code != ERR_NONE) { /* one of our callbacks said no */
		j->r->err = j->abort;
		return j->abort.code == ERR_NETWORK ? JOB_START_OVER : JOB_FAILED;
	}
	if (code == CURLE_PEER_FAILED_VERIFICATION && tls_why(j, &j->r->err)) {
		const struct transfer_opts *o = &j->t->o;
		bool again = j->by_url && o->distrusted && !j->distrusted && o->distrusted(o->trust_ctx, j->r->url);
		j->distrusted = true;
		return again ? JOB_TRY_AGAIN : JOB_FAILED;
	}
	if (our_certificate_is_refused(j)) {
		err_new(&j->r->err, ERR_NETWORK,
			"the server refuses the certificate of this host, or wants one: %s; 'slipway enroll' gets one",
			j->reason);
		return JOB_FAILED;
	}
	err_new(&j->r->err, ERR_NETWORK, "%s%s", j->reason[0] ? j->reason : j->t->curl->easy_strerror(code),
		advice(code));
	return is_worth_another_try(code) ? JOB_TRY_AGAIN : JOB_FAILED;
}

/* What the server says of it, without "403 Forbidden: " in front; "" where that is all. */
static const char *words_of(const struct job *j)
{
	uint64_t status;
	struct str rest = str_c(j->said);
	if (!str_take_u64(&rest, &status) || status != (uint64_t)j->status)
		return j->said;
	const char *colon = strstr(j->said, ": ");
	return colon ? colon + 2 : "";
}

static enum job_verdict judge_status(struct job *j)
{
	struct err *e = &j->r->err;
	const char *said = words_of(j);
	bool says = said[0] != '\0';
	switch (j->status) {
	case 200:
	case 206:
		/* an empty body never came to on_body */
		if (!j->body_checked && j->status == 200 && j->at && job_truncate(j, e) < 0)
			return JOB_FAILED;
		return job_check_body(j);
	case 304:
		if (j->is_conditional)
			return JOB_GOOD;
		err_new(e, ERR_NETWORK, "the server says 'unchanged' (HTTP 304), which it was not asked");
		return JOB_TRY_AGAIN;
	case 404:
	case 410:
		err_new(e, ERR_NOT_FOUND, "the server has no such file (HTTP %ld)", j->status);
		return JOB_FAILED;
	case 401:
	case 403:
	case 407:
		err_new(e, ERR_FAILED, "the server refuses it (HTTP %ld)%s%s", j->status, says ? ": " : "; ",
			says ? said : "check the credentials (~/.netrc)");
		return JOB_FAILED;
	case 416:
		err_new(e, ERR_NETWORK, "the server has no such part (HTTP 416)");
		return JOB_START_OVER;
	case 408:
	case 425:
	case 429:
	case 500:
	case 502:
	case 503:
	case 504:
		err_new(e, ERR_NETWORK, "the server answered HTTP %ld%s%s; try again later", j->status,
			says ? ": " : "", said);
		return JOB_TRY_AGAIN;
	default:
		err_new(e, ERR_NETWORK, "the server answered HTTP %ld%s%s", j->status, says ? ": " : "", said);
		return JOB_FAILED;
	}
}

enum job_verdict job_judge(struct job *j, CURLcode code)
{
	j->r->status = j->status;
	bool page = code == CURLE_WRITE_ERROR && j->page_bytes > PAGE_MAX; /* its first line says all */
	return code == CURLE_OK || page ? judge_status(j) : judge_failure(j, code);
}
