// SPDX-License-Identifier: Apache-2.0
/*
 * What the server writes down. Where it goes, `log` of mirror.yaml says: journald and syslog get one datagram a line by their sockets
 * (no library); files are DIR/log/mirror.log and DIR/log/access.log, one line at a time, and are opened anew on order, for logrotate.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"
#include "mirror/mail.h"
#include "mirror/server.h"

/* Of a message, and of each thing that a client sent, so many bytes are shown; SAID_MAX: before they are cut. */
enum { MESSAGE_SHOWN = 8192, FIELD_SHOWN = 2048, SAID_MAX = 1 << 20, LINE_MAX_BYTES = 64 << 10 };
_Static_assert(4 * MESSAGE_SHOWN < LINE_MAX_BYTES - 256 && 4 * 4 * FIELD_SHOWN < LINE_MAX_BYTES - 256,
	       "a line has room for all that is shown");
enum target { TO_TERMINAL, TO_JOURNAL, TO_SYSLOG, TO_FILE };

struct server_log {
	pthread_mutex_t mutex;
	enum target target;
	int dir_fd, note_fd, access_fd, socket;
	char tag[80];
	atomic_uint_fast64_t errors;
	struct mailer *mailer; /* NULL: nothing is mailed */
};

/* -- where to ------------------------------------------------------------------------------------------------------- */

static int open_file(int dir_fd, const char *name, struct err *e)
{
	int fd = sys_openat(dir_fd, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	return fd < 0 ? err_sys(e, "open 'log/%s'", name) : fd;
}

static int open_files(struct server_log *l, struct err *e)
{
	int note = open_file(l->dir_fd, "mirror.log", e),
	    access = note < 0 ? -1 : open_file(l->dir_fd, "access.log", e);
	if (access < 0) {
		cleanup_fd(&note);
		return -1;
	}
	cleanup_fd(&l->note_fd);
	cleanup_fd(&l->access_fd);
	l->note_fd = note;
	l->access_fd = access;
	return 0;
}

static int connect_to(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		cleanup_fd(&fd);
	return fd;
}

static int choose(struct server_log *l, enum mirror_log how, bool foreground, struct err *e)
{
	if (how == MIRROR_LOG_AUTO && foreground) {
		/* a unit of systemd's: its own lines are in the journal anyhow */
		l->target = TO_TERMINAL;
		return 0;
	}
	if (how == MIRROR_LOG_JOURNAL && (l->socket = connect_to("/run/systemd/journal/socket")) >= 0)
		l->target = TO_JOURNAL;
	else if (how == MIRROR_LOG_SYSLOG && (l->socket = connect_to("/dev/log")) >= 0)
		l->target = TO_SYSLOG;
	else if (how == MIRROR_LOG_JOURNAL || how == MIRROR_LOG_SYSLOG)
		return err_new(e, ERR_NOT_FOUND, "nothing takes lines for '%s' here; choose 'log: file' in mirror.yaml",
			       how == MIRROR_LOG_JOURNAL ? "journal" : "syslog");
	else {
		l->target = TO_FILE;
		return open_files(l, e);
	}
	return 0;
}

int server_log_open(const struct mirror *m, bool foreground, struct server_log **ret, struct err *e)
{
	struct server_log *l = xcalloc(1, sizeof(*l));
	const struct mirror_config *config = mirror_config(m);
	*l = (struct server_log){.dir_fd = -1, .note_fd = -1, .access_fd = -1, .socket = -1};
	pthread_mutex_init(&l->mutex, NULL);
	snprintf(l->tag, sizeof(l->tag), "slipway-mirror[%d]", (int)getpid());
	l->dir_fd = fs_open_dir_make(m->dir_fd, "log", e);
	if (l->dir_fd < 0 || choose(l, config->log, foreground, e) < 0 || mailer_new(config, &l->mailer, e) < 0) {
		server_log_free(l);
		return -1;
	}
	*ret = l;
	return 0;
}

void server_log_reopen(struct server_log *l)
{
	struct err e = ERR_INIT;
	pthread_mutex_lock(&l->mutex);
	int rc = l->target == TO_FILE ? open_files(l, &e) : 0;
	pthread_mutex_unlock(&l->mutex);
	if (rc < 0)
		server_say(l, LOG_LEVEL_ERROR, "%s; the files of before are written on", e.msg);
}

void server_log_free(struct server_log *l)
{
	if (!l)
		return;
	mailer_free(l->mailer);
	cleanup_fd(&l->note_fd);
	cleanup_fd(&l->access_fd);
	cleanup_fd(&l->socket);
	cleanup_fd(&l->dir_fd);
	pthread_mutex_destroy(&l->mutex);
	free(l);
}

uint64_t server_log_errors(const struct server_log *l)
{
	return atomic_load(&l->errors);
}

/* -- lines ---------------------------------------------------------------------------------------------------------- */

/* How many bytes at the front of s are one character that a terminal shows; 0: none is. */
static size_t shown(struct str s)
{
	uint32_t c = (unsigned char)s.p[0];
	size_t n = c < 0x80 ? 1 : utf8_take(s, &c);
	return c < ' ' || c == '"' || c == '\\' || (c >= 0x7f && c < 0xa0) ? 0 : n;
}

/* What came from outside cannot begin a line of its own, nor steer a terminal, nor make its line too long to be written. */
static void put_plain(struct buf *b, struct str s, size_t max)
{
	bool cut = s.n > max;
	s = str_head(s, max);
	while (s.n) {
		size_t n = shown(s);
		if (n)
			buf_put(b, s.p, n);
		else
			buf_printf(b, "\\x%02x", (unsigned char)s.p[0]);
		s = str_skip(s, n ? n : 1);
	}
	if (cut)
		buf_put_c(b, "…");
}

/* Lines that cannot be written are lost: a full disk must not stop who serves from it. */
static void put_line(struct server_log *l, int fd, enum server_level level, const struct buf *line)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES + 256);
	int priority = level == LOG_LEVEL_ERROR ? 3 : 6;
	switch (l->target) {
	case TO_JOURNAL:
		buf_printf(&b, "PRIORITY=%d\nSYSLOG_IDENTIFIER=slipway-mirror\nMESSAGE=%s\n", priority, line->p);
		(void)!send(l->socket, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		return;
	case TO_SYSLOG:
		buf_printf(&b, "<%d>%s: %s", 3 << 3 | priority, l->tag, line->p);
		(void)!send(l->socket, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		return;
	case TO_TERMINAL:
		fd = STDERR_FILENO;
		break;
	case TO_FILE:
		clock_put_iso(&b, clock_wall_ms());
		buf_put_char(&b, ' ');
		break;
	}
	buf_printf(&b, "%s%s\n", level == LOG_LEVEL_ERROR ? "error: " : "", line->p);
	(void)!write(fd, b.p, b.n); /* style: allow sys: a log is no state */
}

void server_say(struct server_log *l, enum server_level level, const char *fmt, ...)
{
	auto_buf text = BUF_INIT(SAID_MAX), line = BUF_INIT(LINE_MAX_BYTES);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	put_plain(&line, text.overflow ? STR("a message of more than 1 MiB") : buf_str(&text), MESSAGE_SHOWN);
	pthread_mutex_lock(&l->mutex);
	atomic_fetch_add(&l->errors, level == LOG_LEVEL_ERROR);
	put_line(l, l->note_fd, level, &line);
	pthread_mutex_unlock(&l->mutex);
	if (level == LOG_LEVEL_ERROR && l->mailer)
		mailer_tell(l->mailer, line.p);
}

/* As web servers' combined format, with the client's name and the time it took. */
void server_log_record(struct server_log *l, const struct httpd_record *r)
{
	auto_buf line = BUF_INIT(LINE_MAX_BYTES);
	if (l->target != TO_FILE)
		return; /* lines of requests are for files */
	buf_printf(&line, "%.*s ", STR_ARG(r->peer));
	put_plain(&line, r->client ? str_c(r->client->cn) : STR("-"), FIELD_SHOWN);
	buf_put_c(&line, " \"");
	put_plain(&line, r->method, FIELD_SHOWN);
	buf_put_char(&line, ' ');
	put_plain(&line, r->target, FIELD_SHOWN);
	buf_printf(&line, "\" %d %llu %lldms%s \"", r->status, (unsigned long long)r->body_bytes,
		   (long long)r->duration_ms, r->cut ? " cut" : "");
	put_plain(&line, r->user_agent, FIELD_SHOWN);
	buf_put_char(&line, '"');
	pthread_mutex_lock(&l->mutex);
	put_line(l, l->access_fd, LOG_LEVEL_NOTE, &line);
	pthread_mutex_unlock(&l->mutex);
}
