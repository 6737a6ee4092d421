// SPDX-License-Identifier: Apache-2.0
/* The queue: which job runs when, and how often. */
#include "transfer/transfer.h"

#include <poll.h>
#include <stdio.h>
#include <strings.h>

#include "base/url.h"
#include "transfer/job.h"

enum {
	DEFAULT_PARALLEL = 8,
	DEFAULT_PER_HOST = 6,
	DEFAULT_RETRIES = 4,
	DEFAULT_CONNECT_MS = 15000,
	DEFAULT_STALL_MS = 30000,
	DEFAULT_SILENCE_MS = 60000,
	TELL_SILENCE_MS = 5000,
	BACKOFF_FIRST_MS = 250,
	BACKOFF_MAX_MS = 20000,
	TELL_MS = 100,
	MAX_WAIT_MS = 1000,
};

static int64_t now_ms(const struct transfer *t)
{
	return t->o.clock->mono_ms(t->o.clock);
}

int transfer_new(const struct transfer_opts *o, struct transfer **ret, struct err *e)
{
	(void)e;
	struct transfer *t = xcalloc(1, sizeof(*t));
	t->o = *o;
	if (!t->o.clock)
		t->o.clock = &clock_system;
	if (!t->o.max_parallel)
		t->o.max_parallel = DEFAULT_PARALLEL;
	if (!t->o.max_per_host)
		t->o.max_per_host = DEFAULT_PER_HOST;
	if (!t->o.connect_timeout_ms)
		t->o.connect_timeout_ms = DEFAULT_CONNECT_MS;
	if (!t->o.stall_timeout_ms)
		t->o.stall_timeout_ms = DEFAULT_STALL_MS;
	if (!t->o.silence_ms)
		t->o.silence_ms = DEFAULT_SILENCE_MS;
	if (t->o.silence_ms < t->o.stall_timeout_ms)
		t->o.silence_ms = t->o.stall_timeout_ms;
	t->o.retries = !t->o.retries ? DEFAULT_RETRIES : t->o.retries == UINT32_MAX ? 0 : t->o.retries;
	t->tokens_at_ms = now_ms(t);
	t->jitter = (unsigned)now_ms(t) | 1;
	*ret = t;
	return 0;
}

static int need_curl(struct transfer *t, struct err *e)
{
	if (t->multi)
		return 0;
	t->curl = curl_load(e);
	if (!t->curl)
		return -1;
	t->multi = t->curl->multi_init();
	if (!t->multi)
		return err_new(e, ERR_FAILED, "libcurl cannot be started");
	t->curl->multi_setopt(t->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)t->o.max_per_host);
	t->curl->multi_setopt(t->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)t->o.max_parallel * 2);
	t->curl->multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long)t->o.max_parallel * 2);
	t->curl->multi_setopt(t->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
	return 0;
}

void transfer_shown_url(const char *url, char *out, size_t size)
{
	auto_buf b = BUF_INIT(URL_MAX);
	url_put_shown(&b, str_head(str_c(url), strcspn(url, "?"))); /* a query may hold a signature */
	snprintf(out, size, "%s", b.p);
}

static const char *label_of(const struct transfer_request *r)
{
	const char *slash = strrchr(r->url, '/');
	return r->label ? r->label : slash && slash[1] ? slash + 1 : r->url;
}

void job_tell(struct job *j, enum progress_kind kind, const char *text)
{
	int64_t now = now_ms(j->t);
	if (kind == PROGRESS_UPDATE && now - j->told_at_ms < TELL_MS)
		return;
	j->told_at_ms = now;
	progress_send(j->t->o.progress, (struct progress_event){.kind = kind,
								.phase = "download",
								.id = label_of(j->r),
								.text = text,
								.done = j->at,
								.total = j->r->size});
}

void transfer_heard(struct transfer *t)
{
	t->heard_ms = now_ms(t);
	t->silence_told = false;
}

void transfer_add(struct transfer *t, struct transfer_request *r)
{
	struct job *j = xcalloc(1, sizeof(*j));
	*j = (struct job){.t = t, .r = r, .state = JOB_QUEUED, .serial = t->serial++};
	if (!r->have) {
		memcpy(j->held_etag, r->etag, sizeof(j->held_etag));
		memcpy(j->held_last_modified, r->last_modified, sizeof(j->held_last_modified));
	}
	r->err = ERR_INIT;
	r->status = 0;
	r->max_age_s = -1;
	r->got_bytes = r->came_bytes = 0;
	r->took_ms = 0;
	if (t->jobs.n == 0)
		transfer_heard(t);
	vec_push(&t->jobs, j);
}

/* -- the end of a job -------------------------------------------------------------------------------------------- */

static void forget(struct transfer *t, struct job *j)
{
	for (size_t i = 0; i < t->jobs.n; i++) {
		if (t->jobs.v[i] != j)
			continue;
		memmove(&t->jobs.v[i], &t->jobs.v[i + 1], (t->jobs.n - i - 1) * sizeof(struct job *));
		t->jobs.n--;
		return;
	}
}

/* Calls the owner; j is gone afterwards. */
static void finish(struct job *j)
{
	struct transfer *t = j->t;
	struct transfer_request *r = j->r;
	char shown[512];
	r->got_bytes = r->have = j->at;
	if (j->paused_at_ms)
		j->paused_ms += now_ms(t) - j->paused_at_ms;
	r->took_ms = j->started ? now_ms(t) - j->begun_ms - j->paused_ms : 0;
	if (r->err.code != ERR_NONE) {
		transfer_shown_url(r->url, shown, sizeof(shown));
		if (r->err.code == ERR_NETWORK && j->tries > 1)
			err_ctx(&r->err, "download '%s', %u times in %.0f s", shown, j->tries,
				(double)(now_ms(t) - j->begun_ms) / 1000);
		else
			err_ctx(&r->err, "download '%s'", shown);
		job_tell(j, PROGRESS_FAILED, r->err.msg);
	} else {
		job_tell(j, PROGRESS_DONE, NULL);
	}
	forget(t, j);
	digest_free(j->digest);
	free(j);
	if (r->done)
		r->done(r, r->ctx);
}

static int64_t backoff_ms(struct job *j)
{
	struct transfer *t = j->t;
	if (j->retry_after_s >= 0)
		return j->retry_after_s * 1000;
	int64_t base = BACKOFF_FIRST_MS;
	for (unsigned i = 1; i < j->tries && base < BACKOFF_MAX_MS; i++)
		base *= 2;
	t->jitter = t->jitter * 1664525u + 1013904223u; /* spread, not secrecy */
	return base + (int64_t)(t->jitter >> 8) % (base / 2 + 1);
}

static void wait_for_next_try(struct job *j)
{
	char why[1024], shown[512];
	int64_t wait = backoff_ms(j);
	ptrdiff_t advice =
		str_search(str_c(j->r->err.msg), STR("; ")); /* comes with the error, should it be the last try */
	int cause_n = advice < 0 ? 400 : (int)advice;
	j->state = JOB_WAITING;
	j->retry_at_ms = now_ms(j->t) + wait;
	j->r->have = j->at;
	transfer_shown_url(j->r->url, shown, sizeof(shown));
	snprintf(why, sizeof(why), "download '%s': %.*s; trying again in %.1f s", shown, cause_n, j->r->err.msg,
		 (double)wait / 1000);
	job_tell(j, PROGRESS_NOTE, why);
	j->t->retry_told_ms = j->retry_at_ms;
	j->r->err = ERR_INIT;
}

/* Whether there is sense in another try: a server that has been silent for so long is not there. */
static bool may_try_again(struct job *j)
{
	return j->tries++ < j->t->o.retries && now_ms(j->t) - j->t->heard_ms < j->t->o.silence_ms;
}

static void act_on(struct job *j, enum job_verdict verdict)
{
	struct err ignored = ERR_INIT;
	switch (verdict) {
	case JOB_GOOD:
		j->r->err = ERR_INIT;
		finish(j);
		return;
	case JOB_FAILED:
		finish(j);
		return;
	case JOB_START_OVER:
		if (job_truncate(j, &ignored) < 0 || j->digest_retried) {
			finish(j);
			return;
		}
		j->digest_retried = true;
		j->held_etag[0] = j->held_last_modified[0] = '\0';
		j->tries++;
		wait_for_next_try(j);
		return;
	case JOB_TRY_AGAIN:
		if (may_try_again(j))
			wait_for_next_try(j);
		else
			finish(j);
		return;
	}
}

/* -- the beginning of a job -------------------------------------------------------------------------------------- */

static bool is_whole_already(struct job *j)
{
	struct transfer_request *r = j->r;
	if (!j->digest || !r->size || j->at != r->size)
		return false;
	if (job_check_body(j) == JOB_GOOD)
		return true;
	r->err = ERR_INIT;
	struct err ignored = ERR_INIT;
	(void)job_truncate(j, &ignored); /* ftruncate that fails shows up in the first write */
	return false;
}

/* A digest that nobody can find other bytes for. */
static bool is_bound(const struct transfer_request *r)
{
	if (r->sha256 || r->vouched)
		return true;
	return !r->md5 && r->digest && r->digest->known && digest_size(r->digest->kind) >= SHA256_SIZE;
}

static bool is_refused(const struct transfer *t, struct transfer_request *r)
{
	if (!t->o.is_signed || is_bound(r) || !t->o.is_signed(t->o.is_signed_ctx, r->url))
		return false;
	err_new(&r->err, ERR_VERIFY,
		"its channel is signed, and nothing that was signed says which SHA-256 it has; the channel's keeper can mend it");
	return true;
}

static void begin(struct job *j)
{
	struct transfer *t = j->t;
	struct err e = ERR_INIT;
	bool is_file = strncasecmp(j->r->url, "file:", 5) == 0, first = !j->started;
	if (first)
		j->begun_ms = now_ms(t);
	j->started = true;
	if (first && is_refused(t, j->r)) {
		finish(j);
		return;
	}
	int rc = is_file ? 0 : job_prepare_body(j, &e);
	if (first)
		job_tell(j, PROGRESS_BEGIN, NULL); /* with what is there of an earlier run */
	if (is_file) {
		act_on(j, job_copy_file(j));
		return;
	}
	if (rc < 0) {
		j->r->err = e;
		finish(j);
		return;
	}
	if (is_whole_already(j)) {
		finish(j);
		return;
	}
	if (need_curl(t, &e) < 0 || job_begin(j, &e) < 0) {
		j->r->err = e;
		finish(j);
		return;
	}
	j->state = JOB_ACTIVE;
	j->window_ms = now_ms(t);
	j->window_bytes = j->r->came_bytes;
	j->window_paused = false;
	t->active++;
	t->curl->multi_add_handle(t->multi, j->easy);
}

static struct job *next_to_begin(struct transfer *t, int64_t now)
{
	struct job *best = NULL;
	vec_foreach(p, &t->jobs) {
		struct job *j = *p;
		if (j->state == JOB_ACTIVE || (j->state == JOB_WAITING && j->retry_at_ms > now))
			continue;
		if (!best || j->r->priority > best->r->priority ||
		    (j->r->priority == best->r->priority && j->serial < best->serial))
			best = j;
	}
	return best;
}

static void begin_what_may(struct transfer *t)
{
	struct job *j;
	while (t->active < t->o.max_parallel && (j = next_to_begin(t, now_ms(t))))
		begin(j);
}

/* -- stepping ---------------------------------------------------------------------------------------------------- */

static void refill(struct transfer *t)
{
	int64_t now = now_ms(t), rate = (int64_t)t->o.max_bytes_per_s;
	if (!rate)
		return;
	t->tokens += rate * (now - t->tokens_at_ms) / 1000;
	t->tokens_at_ms = now;
	if (t->tokens > rate / 4)
		t->tokens = rate / 4;
	if (t->tokens <= 0)
		return;
	vec_foreach(p, &t->jobs) {
		if ((*p)->state == JOB_ACTIVE && (*p)->paused) {
			(*p)->paused = false;
			(*p)->paused_ms += now - (*p)->paused_at_ms;
			(*p)->paused_at_ms = 0;
			t->curl->easy_pause((*p)->easy, CURLPAUSE_CONT);
			transfer_heard(t); /* the silence was ours */
		}
	}
}

void transfer_limit(struct transfer *t, uint64_t max_bytes_per_s)
{
	if (max_bytes_per_s && t->o.max_bytes_per_s)
		t->o.max_bytes_per_s = max_bytes_per_s;
}

/* Says once that nothing comes, and how long that may be so. */
static void tell_silence(struct transfer *t)
{
	char shown[512], text[700];
	int64_t silent_ms = now_ms(t) - t->heard_ms;
	if (t->silence_told || silent_ms < TELL_SILENCE_MS || now_ms(t) - t->retry_told_ms < TELL_SILENCE_MS)
		return;
	vec_foreach(p, &t->jobs) {
		struct job *j = *p;
		if (j->state != JOB_ACTIVE || j->paused)
			continue;
		t->silence_told = true;
		transfer_shown_url(j->r->url, shown, sizeof(shown));
		snprintf(text, sizeof(text), "download '%s': nothing has come for %.0f s; it is given up after %.0f s",
			 shown, (double)silent_ms / 1000, (double)t->o.silence_ms / 1000);
		job_tell(j, PROGRESS_NOTE, text);
		return;
	}
}

static int wait_ms_for(struct transfer *t, int wait_ms)
{
	int64_t now = now_ms(t);
	int64_t wait = wait_ms < MAX_WAIT_MS ? wait_ms : MAX_WAIT_MS;
	if (t->o.max_bytes_per_s && wait > 20)
		wait = 20;
	vec_foreach(p, &t->jobs)
		if ((*p)->state == JOB_WAITING && (*p)->retry_at_ms - now < wait)
			wait = (*p)->retry_at_ms - now;
	return wait < 0 ? 0 : (int)wait;
}

/* Ends the tries that libcurl is done with; returns how many there were. */
static unsigned collect(struct transfer *t)
{
	CURLMsg *m;
	int left;
	unsigned n = 0;
	while ((m = t->curl->multi_info_read(t->multi, &left))) {
		struct job *j = NULL;
		CURLcode code = m->data.result;
		if (m->msg != CURLMSG_DONE)
			continue;
		t->curl->easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&j);
		t->curl->multi_remove_handle(t->multi, j->easy);
		t->active--;
		enum job_verdict verdict = job_judge(j, code);
		job_end_try(j);
		act_on(j, verdict);
		n++;
	}
	return n;
}

/* One that has been slow for a whole stall timeout, through no fault of ours. */
static struct job *find_slow(struct transfer *t)
{
	int64_t now = now_ms(t), span = t->o.stall_timeout_ms;
	vec_foreach(p, &t->jobs) {
		struct job *j = *p;
		if (j->state != JOB_ACTIVE || now - j->window_ms < span)
			continue;
		uint64_t came = j->r->came_bytes - j->window_bytes;
		if (!j->window_paused && !j->paused &&
		    came * 1000 < t->o.min_bytes_per_s * (uint64_t)(now - j->window_ms))
			return j;
		j->window_ms = now;
		j->window_bytes = j->r->came_bytes;
		j->window_paused = j->paused;
	}
	return NULL;
}

static void end_slow(struct transfer *t)
{
	struct job *j;
	while (t->o.min_bytes_per_s && (j = find_slow(t))) {
		t->curl->multi_remove_handle(t->multi, j->easy);
		t->active--;
		job_end_try(j);
		err_new(&j->r->err, ERR_NETWORK, "it came at less than %llu bytes/s for %.0f s",
			(unsigned long long)t->o.min_bytes_per_s, (double)t->o.stall_timeout_ms / 1000);
		act_on(j, JOB_TRY_AGAIN);
	}
}

int transfer_step(struct transfer *t, int wait_ms, struct err *e)
{
	int running;
	begin_what_may(t);
	if (!t->jobs.n)
		return 0;
	if (!t->active) {
		poll(NULL, 0, wait_ms_for(t, wait_ms));
		return 1;
	}
	refill(t);
	CURLMcode code = t->curl->multi_perform(t->multi, &running);
	/* what is done already is not waited for */
	if (code == CURLM_OK && !collect(t))
		code = t->curl->multi_poll(t->multi, NULL, 0, wait_ms_for(t, wait_ms), NULL);
	if (code != CURLM_OK)
		return err_new(e, ERR_FAILED, "libcurl: %s", t->curl->multi_strerror(code));
	tell_silence(t);
	end_slow(t);
	begin_what_may(t);
	return t->jobs.n > 0;
}

int transfer_run(struct transfer *t, struct err *e)
{
	int rc;
	while ((rc = transfer_step(t, MAX_WAIT_MS, e)) > 0)
		;
	if (rc < 0)
		transfer_cancel(t);
	return rc;
}

void transfer_cancel(struct transfer *t)
{
	while (t->jobs.n) {
		struct job *j = *vec_last(&t->jobs);
		if (j->state == JOB_ACTIVE) {
			t->curl->multi_remove_handle(t->multi, j->easy);
			t->active--;
			job_end_try(j);
		}
		err_new(&j->r->err, ERR_FAILED, "interrupted");
		finish(j);
	}
}

void transfer_free(struct transfer *t)
{
	if (!t)
		return;
	transfer_cancel(t);
	if (t->multi)
		t->curl->multi_cleanup(t->multi);
	tls_forget(t);
	vec_release(&t->jobs);
	free(t);
}
