// SPDX-License-Identifier: Apache-2.0
#include "mirror/mail.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/dl.h"
#include "base/proc.h"

enum { TEXT_MAX = 256 << 10, HOUR_MS = 3600000, SEND_MS = 30000 };

#define CURL_API(X)                                                                                                    \
	X(curl_, easy_cleanup)                                                                                         \
	X(curl_, easy_init)                                                                                            \
	X(curl_, easy_perform)                                                                                         \
	X(curl_, easy_setopt)                                                                                          \
	X(curl_, easy_strerror)                                                                                        \
	X(curl_, slist_append)                                                                                         \
	X(curl_, slist_free_all)
DL_LIBRARY(libcurl, "libcurl.so.4", CURL_API, NULL);
#undef curl_easy_setopt /* its header's macro checks types; the pointer takes them as they are */

struct mailer {
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	pthread_t thread;
	const struct mirror_config *config;
	struct buf waiting; /* lines that are to go */
	uint64_t lines;
	int64_t next_ms; /* monotonic: not before */
	bool stop;
};

/* -- a mail --------------------------------------------------------------------------------------------------------- */

static void put_mail(const struct mailer *m, const struct buf *lines, uint64_t n, struct buf *b)
{
	char date[64];
	time_t now = (time_t)(clock_wall_ms() / 1000);
	struct tm tm;
	const struct mirror_config *c = m->config;
	if (!gmtime_r(&now, &tm) || !strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S +0000", &tm))
		date[0] = '\0';
	buf_printf(b, "From: %.*s\r\nTo: %.*s\r\nDate: %s\r\n", STR_ARG(c->mail.from), STR_ARG(c->mail.to), date);
	buf_printf(
		b,
		"Subject: mirror %.*s: %llu error%s\r\nAuto-Submitted: auto-generated\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
		STR_ARG(c->name), (unsigned long long)n, n == 1 ? "" : "s");
	struct str rest = buf_str(lines), line;
	while (str_take_line(&rest, &line))
		buf_printf(b, "%.*s\r\n", STR_ARG(line));
	if (lines->overflow)
		buf_put_c(b, "… and more, which the log has\r\n");
}

static int by_sendmail(const struct mailer *m, const struct buf *mail, struct err *e)
{
	const char *argv[] = {m->config->mail.sendmail.p, "-t", "-oi", NULL};
	auto_buf said = BUF_INIT(4096);
	const struct proc_opts o = {
		.argv = argv, .input = buf_str(mail), .out = &said, .errout = &said, .deadline_ms = SEND_MS};
	int status = proc_run(&o, e);
	return status == 0  ? 0
	       : status < 0 ? -1
			    : err_new(e, ERR_FAILED, "'%s' ended with %d: %s", argv[0], status, said.p ? said.p : "");
}

static size_t give(char *p, size_t size, size_t n, void *ctx)
{
	struct str *rest = ctx;
	size_t take = size * n < rest->n ? size * n : rest->n;
	memcpy(p, rest->p, take);
	*rest = str_skip(*rest, take);
	return take;
}

static int by_smtp(const struct mailer *m, const struct buf *mail, struct err *e)
{
	auto_free char *url = xasprintf("smtp://%.*s", STR_ARG(m->config->mail.smtp));
	struct str rest = buf_str(mail);
	if (dl_load(&libcurl_library, e) < 0)
		return -1;
	CURL *c = libcurl.easy_init();
	struct curl_slist *to = libcurl.slist_append(NULL, m->config->mail.to.p);
	if (!c || !to)
		panic("out of memory");
	libcurl.easy_setopt(c, CURLOPT_URL, url);
	libcurl.easy_setopt(c, CURLOPT_MAIL_FROM, m->config->mail.from.p);
	libcurl.easy_setopt(c, CURLOPT_MAIL_RCPT, to);
	libcurl.easy_setopt(c, CURLOPT_UPLOAD, 1L);
	libcurl.easy_setopt(c, CURLOPT_USE_SSL, (long)CURLUSESSL_TRY);
	libcurl.easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	libcurl.easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)SEND_MS);
	libcurl.easy_setopt(c, CURLOPT_READFUNCTION, give);
	libcurl.easy_setopt(c, CURLOPT_READDATA, &rest);
	CURLcode code = libcurl.easy_perform(c);
	libcurl.slist_free_all(to);
	libcurl.easy_cleanup(c);
	return code == CURLE_OK ? 0
				: err_new(e, ERR_NETWORK, "mail server '%.*s': %s", STR_ARG(m->config->mail.smtp),
					  libcurl.easy_strerror(code));
}

/* -- the thread ----------------------------------------------------------------------------------------------------- */

/* With the mutex, which is let go of meanwhile. */
static void send_waiting(struct mailer *m)
{
	auto_buf mail = BUF_INIT(2 * TEXT_MAX);
	struct buf lines = m->waiting;
	uint64_t n = m->lines;
	struct err e = ERR_INIT;
	int64_t per_hour = m->config->mail.per_hour > 0 ? m->config->mail.per_hour : 1;
	m->waiting = BUF_INIT(TEXT_MAX);
	m->lines = 0;
	m->next_ms = clock_mono_ms() + HOUR_MS / per_hour;
	pthread_mutex_unlock(&m->mutex);
	put_mail(m, &lines, n, &mail);
	int rc = m->config->mail.smtp.n ? by_smtp(m, &mail, &e) : by_sendmail(m, &mail, &e);
	pthread_mutex_lock(&m->mutex);
	if (rc < 0) { /* with the next */
		struct buf later = m->waiting;
		buf_printf(&lines, "a mail could not be sent: %s\n", e.msg);
		buf_put_str(&lines, buf_str(&later));
		buf_release(&later);
		m->waiting = lines;
		m->lines += n;
		return;
	}
	buf_release(&lines);
}

static void wait_until(struct mailer *m, int64_t at_ms)
{
	struct timespec at;
	int64_t left = at_ms - clock_mono_ms();
	clock_gettime(CLOCK_MONOTONIC, &at); /* a clock that is set does not make it wait for days */
	at.tv_sec += left / 1000 + 1;
	pthread_cond_timedwait(&m->wake, &m->mutex, &at);
}

static void *run(void *arg)
{
	struct mailer *m = arg;
	pthread_mutex_lock(&m->mutex);
	while (!m->stop) {
		if (!m->lines)
			pthread_cond_wait(&m->wake, &m->mutex);
		else if (clock_mono_ms() < m->next_ms)
			wait_until(m, m->next_ms);
		else
			send_waiting(m);
	}
	if (m->lines)
		send_waiting(m);
	pthread_mutex_unlock(&m->mutex);
	return NULL;
}

int mailer_new(const struct mirror_config *config, struct mailer **ret, struct err *e)
{
	*ret = NULL;
	if (!config->mail.to.n)
		return 0;
	struct mailer *m = xcalloc(1, sizeof(*m));
	m->config = config;
	m->waiting = BUF_INIT(TEXT_MAX);
	pthread_mutex_init(&m->mutex, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&m->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	errno = pthread_create(&m->thread, NULL, run, m);
	if (errno) {
		free(m);
		return err_sys(e, "start a thread");
	}
	*ret = m;
	return 0;
}

void mailer_tell(struct mailer *m, const char *line)
{
	pthread_mutex_lock(&m->mutex);
	buf_printf(&m->waiting, "%s\n", line);
	m->lines++;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->mutex);
}

void mailer_free(struct mailer *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->mutex);
	m->stop = true;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->mutex);
	pthread_join(m->thread, NULL);
	buf_release(&m->waiting);
	pthread_cond_destroy(&m->wake);
	pthread_mutex_destroy(&m->mutex);
	free(m);
}
