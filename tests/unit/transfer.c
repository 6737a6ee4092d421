// SPDX-License-Identifier: Apache-2.0
#include "transfer/transfer.h"

#include <fcntl.h>

#include "lib/test.h"

#include "lib/http.h"

static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz";

struct notes {
	unsigned begun, done, failed, noted;
};

static void on_event(struct progress *p, const struct progress_event *ev)
{
	struct notes *n = p->ctx;
	n->begun += ev->kind == PROGRESS_BEGIN;
	n->done += ev->kind == PROGRESS_DONE;
	n->failed += ev->kind == PROGRESS_FAILED;
	n->noted += ev->kind == PROGRESS_NOTE;
}

static int new_file(void)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/file", test_tmp());
	return open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
}

static void check_content(int fd, const char *want, size_t n)
{
	char got[4096];
	CHECK_INT(pread(fd, got, sizeof(got), 0), n);
	CHECK(memcmp(got, want, n) == 0);
}

static void run_one(struct transfer_request *r)
{
	struct transfer_opts o = TRANSFER_OPTS_INIT;
	struct notes n = {0};
	struct progress p = {on_event, &n};
	struct err e = ERR_INIT;
	auto_ptr(transfer) t = NULL;
	o.progress = &p;
	CHECK(transfer_new(&o, &t, &e) == 0);
	transfer_add(t, r);
	CHECK_MSG(transfer_run(t, &e) == 0, "%s", e.msg);
	CHECK_INT(n.begun, 1);
	CHECK_INT(n.done + n.failed, 1);
	CHECK_INT(n.done, r->err.code == ERR_NONE);
}

TEST(downloads_and_verifies)
{
	const struct http_answer a[] = {
		{.body = text, .headers = "ETag: \"v1\"\r\nCache-Control: public, max-age=120\r\n"}};
	struct http_server s = http_start(a, 1);
	uint8_t want[SHA256_SIZE];
	sha256(text, 36, want);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .size = 36, .sha256 = want};
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	CHECK_STR(r.etag, "\"v1\"");
	CHECK_INT(r.max_age_s, 120);
	CHECK_INT(r.status, 200);
	CHECK_INT(r.got_bytes, 36);
	check_content(r.fd, text, 36);
}

TEST(a_validator_is_one_line_of_text)
{
	const struct http_answer a[] = {{.body = text, .headers = "ETag: \"a\001b\"\r\nLast-Modified: x\ry\r\n"}};
	struct http_server s = http_start(a, 1);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file()};
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	CHECK_STR(r.etag, "");
	CHECK_STR(r.last_modified, "");
}

TEST(unchanged_by_validator)
{
	const struct http_answer a[] = {{.status = 304}};
	struct http_server s = http_start(a, 1);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .etag = "\"v1\""};
	run_one(&r);
	http_stop(&s);
	CHECK(r.err.code == ERR_NONE);
	CHECK_INT(r.status, 304);
	CHECK(strstr(s.log->request[0], "If-None-Match: \"v1\"\r\n"));
}

TEST(unchanged_is_no_answer_to_a_plain_request)
{
	const struct http_answer a[] = {{.status = 304}, {.body = text}};
	struct http_server s = http_start(a, 2);
	uint8_t want[SHA256_SIZE];
	sha256(text, 36, want);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .size = 36, .sha256 = want};
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	CHECK_INT(s.log->n, 2);
	check_content(r.fd, text, 36);
}

/* The first answer brings a new validator and breaks off before the first byte: the second question is about what the caller
 * holds, for else its answer would be "unchanged" of something that nobody has. */
TEST(retry_asks_about_what_is_held)
{
	const struct http_answer a[] = {{.headers = "ETag: \"v2\"\r\n", .body = ""},
					{.body = text, .headers = "ETag: \"v2\"\r\n"}};
	struct http_server s = http_start(a, 2);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .size = 36, .etag = "\"v1\""};
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	CHECK_INT(s.log->n, 2);
	CHECK(strstr(s.log->request[1], "If-None-Match: \"v1\"\r\n"));
	CHECK_STR(r.etag, "\"v2\"");
	check_content(r.fd, text, 36);
}

TEST(validator_of_a_redirect_is_not_the_files)
{
	const struct http_answer a[] = {{.status = 302, .headers = "Location: /y\r\nETag: \"of-the-redirect\"\r\n"},
					{.status = 304}};
	struct http_server s = http_start(a, 2);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .etag = "\"v1\""};
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	CHECK_INT(r.status, 304);
	CHECK_STR(r.etag, "\"v1\"");
}

TEST(resumes_a_cut_off_download)
{
	const struct http_answer a[] = {{.body = text, .cut_after = 10, .ranges = true},
					{.body = text, .ranges = true}};
	struct http_server s = http_start(a, 2);
	uint8_t want[SHA256_SIZE];
	sha256(text, 36, want);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .size = 36, .sha256 = want};
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	CHECK_INT(s.log->n, 2);
	CHECK(strstr(s.log->request[1], "Range: bytes=10-\r\n"));
	check_content(r.fd, text, 36);
}

TEST(resumes_what_an_earlier_run_left)
{
	const struct http_answer a[] = {{.body = text, .ranges = true}};
	struct http_server s = http_start(a, 1);
	uint8_t want[SHA256_SIZE];
	sha256(text, 36, want);
	struct transfer_request r = {
		.url = http_url(&s, "/x"), .fd = new_file(), .size = 36, .sha256 = want, .have = 20};
	CHECK_INT(pwrite(r.fd, text, 20, 0), 20);
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	CHECK(strstr(s.log->request[0], "Range: bytes=20-\r\n"));
	CHECK_INT(r.status, 206);
	check_content(r.fd, text, 36);
}

TEST(a_whole_partial_file_asks_nobody)
{
	uint8_t want[SHA256_SIZE];
	sha256(text, 36, want);
	struct transfer_request r = {
		.url = "http://127.0.0.1:1/x", .fd = new_file(), .size = 36, .sha256 = want, .have = 36};
	CHECK_INT(pwrite(r.fd, text, 36, 0), 36);
	run_one(&r);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
}

TEST(server_without_ranges_begins_anew)
{
	const struct http_answer a[] = {{.body = text}};
	struct http_server s = http_start(a, 1);
	uint8_t want[SHA256_SIZE];
	sha256(text, 36, want);
	struct transfer_request r = {
		.url = http_url(&s, "/x"), .fd = new_file(), .size = 36, .sha256 = want, .have = 20};
	CHECK_INT(pwrite(r.fd, text, 20, 0), 20);
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	check_content(r.fd, text, 36);
}

TEST(rotten_partial_file_is_fetched_again)
{
	const struct http_answer a[] = {{.body = text, .ranges = true}};
	struct http_server s = http_start(a, 1);
	uint8_t want[SHA256_SIZE];
	sha256(text, 36, want);
	struct transfer_request r = {
		.url = http_url(&s, "/x"), .fd = new_file(), .size = 36, .sha256 = want, .have = 20};
	CHECK_INT(pwrite(r.fd, "XXXXXXXXXXXXXXXXXXXX", 20, 0), 20);
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	CHECK_INT(s.log->n, 2);
	check_content(r.fd, text, 36);
}

TEST(wrong_digest_fails_after_a_second_try)
{
	const struct http_answer a[] = {{.body = text}};
	struct http_server s = http_start(a, 1);
	uint8_t want[SHA256_SIZE] = {1};
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .size = 36, .sha256 = want};
	run_one(&r);
	http_stop(&s);
	CHECK_INT(r.err.code, ERR_VERIFY);
	CHECK_INT(s.log->n, 2);
	CHECK(strstr(r.err.msg, "SHA-256"));
	CHECK(strstr(r.err.msg, "/x"));
	check_content(r.fd, "", 0); /* nothing that a later run could go on from */
}

TEST(longer_than_promised_stops_at_once)
{
	const struct http_answer a[] = {{.body = text}};
	struct http_server s = http_start(a, 1);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .size = 10};
	run_one(&r);
	http_stop(&s);
	CHECK_INT(r.err.code, ERR_VERIFY);
	struct stat st;
	CHECK(fstat(r.fd, &st) == 0 && st.st_size <= 10);
}

TEST(unknown_size_is_bounded)
{
	const struct http_answer a[] = {{.body = text}};
	struct http_server s = http_start(a, 1);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .max_bytes = 10};
	run_one(&r);
	http_stop(&s);
	CHECK_INT(r.err.code, ERR_LIMIT);
}

TEST(busy_server_is_tried_again)
{
	const struct http_answer a[] = {{.status = 503}, {.no_reply = true}, {.body = text}};
	struct http_server s = http_start(a, 3);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file()};
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	CHECK_INT(s.log->n, 3);
	check_content(r.fd, text, 36);
}

TEST(missing_file_is_not_tried_again)
{
	const struct http_answer a[] = {{.status = 404, .body = "an error page"}};
	struct http_server s = http_start(a, 1);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file()};
	run_one(&r);
	http_stop(&s);
	CHECK_INT(r.err.code, ERR_NOT_FOUND);
	CHECK_INT(s.log->n, 1);
	check_content(r.fd, "", 0);
}

TEST(servers_words_are_passed_on)
{
	static const char plain[] = "Content-Type: text/plain; charset=utf-8\r\n";
	const struct http_answer a[] = {
		{.status = 403, .headers = plain, .body = "403 Forbidden: 'app1' may not have \x1b[31mit\nmore"},
		{.status = 403, .headers = plain, .body = "403 Forbidden\n"},
		{.status = 403, .headers = "Content-Type: text/html\r\n", .body = "<p>no"},
		{.status = 507, .headers = plain, .body = "507: no space"}};
	static const char *const want[] = {
		"the server refuses it (HTTP 403): 'app1' may not have [31mit",
		"the server refuses it (HTTP 403); check the credentials (~/.netrc)",
		"the server refuses it (HTTP 403); check the credentials (~/.netrc)",
		"the server answered HTTP 507: no space",
	};
	struct http_server s = http_start(a, 4);
	for (size_t i = 0; i < 4; i++) {
		struct transfer_request r = {.url = http_url(&s, "/file"), .fd = new_file()};
		run_one(&r);
		CHECK_MSG(str_ends(str_c(r.err.msg), str_c(want[i])), "%s", r.err.msg);
		close(r.fd);
	}
	http_stop(&s);
}

TEST(an_error_page_without_end_is_not_read)
{
	enum { PAGE = 8 << 20 };
	char *page = calloc(1, PAGE);
	const struct http_answer a[] = {{.status = 404, .body = page, .body_n = PAGE, .cut_after = PAGE / 2}};
	struct http_server s = http_start(a, 1);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file()};
	run_one(&r);
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NOT_FOUND, "%s", r.err.msg);
	CHECK_INT(s.log->n, 1);
	check_content(r.fd, "", 0);
	free(page);
}

TEST(redirect_to_a_file_is_refused)
{
	const struct http_answer a[] = {{.status = 302, .headers = "Location: file:///etc/passwd\r\n"}};
	struct http_server s = http_start(a, 1);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file()};
	run_one(&r);
	http_stop(&s);
	CHECK(r.err.code != ERR_NONE);
	check_content(r.fd, "", 0);
}

/* As what a server elsewhere says: services answer on loopback that only this machine may ask. */
TEST(nobody_elsewhere_leads_to_this_machine)
{
	const struct http_answer a[] = {{.body = "inner"}};
	struct http_server s = http_start(a, 1);
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .led = true};
	run_one(&r);
	CHECK_INT(r.err.code, ERR_VERIFY);
	CHECK_MSG(strstr(r.err.msg, "an address of this machine"), "%s", r.err.msg);
	check_content(r.fd, "", 0);
	CHECK_STR(s.log->request[0], ""); /* a connection, and not a word */
	r.led = false;
	run_one(&r);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	http_stop(&s);
}

TEST(file_url_and_its_validator)
{
	char path[128], url[160];
	snprintf(path, sizeof(path), "%s/a b", test_tmp());
	snprintf(url, sizeof(url), "file://%s/a%%20b", test_tmp());
	int in = open(path, O_WRONLY | O_CREAT, 0600);
	CHECK_INT(write(in, text, 36), 36);
	close(in);
	struct transfer_request r = {.url = url, .fd = new_file()};
	run_one(&r);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	check_content(r.fd, text, 36);
	run_one(&r);
	CHECK_INT(r.status, 304);
	r.url = "file:///no/such/file";
	run_one(&r);
	CHECK_INT(r.err.code, ERR_NOT_FOUND);
}

TEST(other_schemes_are_refused)
{
	struct transfer_request r = {.url = "ftp://127.0.0.1/x", .fd = new_file()};
	run_one(&r);
	CHECK(r.err.code != ERR_NONE);
}

static void count_done(struct transfer_request *r, void *ctx)
{
	(void)r;
	++*(unsigned *)ctx;
}

TEST(many_at_once)
{
	const struct http_answer a[] = {{.body = text}};
	struct http_server s = http_start(a, 1);
	struct transfer_opts o = TRANSFER_OPTS_INIT;
	struct transfer_request r[40];
	struct err e = ERR_INIT;
	unsigned done = 0;
	auto_ptr(transfer) t = NULL;
	CHECK(transfer_new(&o, &t, &e) == 0);
	for (int i = 0; i < 40; i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%d", test_tmp(), i);
		r[i] = (struct transfer_request){.url = http_url(&s, "/x"),
						 .fd = open(path, O_RDWR | O_CREAT, 0600),
						 .size = 36,
						 .done = count_done,
						 .ctx = &done};
		transfer_add(t, &r[i]);
	}
	CHECK_MSG(transfer_run(t, &e) == 0, "%s", e.msg);
	http_stop(&s);
	CHECK_INT(done, 40);
	for (int i = 0; i < 40; i++) {
		CHECK_MSG(r[i].err.code == ERR_NONE, "%s", r[i].err.msg);
		check_content(r[i].fd, text, 36);
	}
}

/* Answers nobody before `n` have asked, each on a connection of its own. */
static void answer_together(int listener, int n)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 36\r\n\r\n";
	int fd[8];
	char head[HTTP_HEAD];
	for (int i = 0; i < n; i++) {
		fd[i] = accept(listener, NULL, NULL);
		if (fd[i] < 0 || read(fd[i], head, sizeof(head)) <= 0)
			return;
	}
	for (int i = 0; i < n; i++) {
		http_send(fd[i], answer, strlen(answer));
		http_send(fd[i], text, 36);
	}
	pause();
}

/* A server without HTTP/2 needs a connection for each: nobody waits for a first one to be shared. */
TEST(plain_http_is_asked_for_all_at_once)
{
	enum { N = 4 };
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	struct transfer_opts o = TRANSFER_OPTS_INIT;
	struct transfer_request r[N];
	struct err e = ERR_INIT;
	auto_ptr(transfer) t = NULL;
	auto_fd listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(listener, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(listener, N) == 0 &&
	      getsockname(listener, (struct sockaddr *)&a, &len) == 0);
	pid_t server = fork();
	if (server == 0) {
		answer_together(listener, N);
		_exit(0);
	}
	o.stall_timeout_ms = 2000;
	o.retries = UINT_MAX;
	CHECK(transfer_new(&o, &t, &e) == 0);
	for (int i = 0; i < N; i++) {
		char path[128], url[64];
		snprintf(path, sizeof(path), "%s/%d", test_tmp(), i);
		snprintf(url, sizeof(url), "http://127.0.0.1:%d/%d", ntohs(a.sin_port), i);
		r[i] = (struct transfer_request){
			.url = xstrdup(url), .fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), .size = 36};
		transfer_add(t, &r[i]);
	}
	CHECK_MSG(transfer_run(t, &e) == 0, "%s", e.msg);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	for (int i = 0; i < N; i++) {
		CHECK_MSG(r[i].err.code == ERR_NONE, "%s", r[i].err.msg);
		check_content(r[i].fd, text, 36);
		free((char *)r[i].url);
	}
}

/* A server that takes connections and says nothing. */
static int silent_server(char url[64])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(listener, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(listener, 8) == 0 &&
	      getsockname(listener, (struct sockaddr *)&a, &len) == 0);
	snprintf(url, 64, "http://127.0.0.1:%d/x", ntohs(a.sin_port));
	return listener;
}

static int64_t ahead_ms;
static int64_t mono_ahead(const struct clock *c)
{
	(void)c;
	return clock_system.mono_ms(&clock_system) + ahead_ms;
}

static char notes[4096];
static void take_note(struct progress *p, const struct progress_event *ev)
{
	(void)p;
	if (ev->kind == PROGRESS_NOTE)
		snprintf(notes + strlen(notes), sizeof(notes) - strlen(notes), "%s\n", ev->text);
}

TEST(a_silent_server_is_given_up)
{
	char url[64];
	auto_fd listener = silent_server(url);
	struct clock clock = clock_system;
	struct progress p = {.event = take_note};
	struct transfer_opts o = TRANSFER_OPTS_INIT;
	struct transfer_request r = {.url = url, .fd = new_file()};
	struct err e = ERR_INIT;
	auto_ptr(transfer) t = NULL;
	clock.mono_ms = mono_ahead;
	o.clock = &clock;
	o.progress = &p;
	o.stall_timeout_ms = 1000; /* of real time, libcurl's */
	CHECK(transfer_new(&o, &t, &e) == 0);
	transfer_add(t, &r);
	CHECK_INT(transfer_step(t, 10, &e), 1);
	CHECK_STR(notes, "");
	ahead_ms = 5100;
	CHECK_INT(transfer_step(t, 10, &e), 1);
	CHECK_MSG(strstr(notes, "/x': nothing has come for 5 s; it is given up after 60 s\n"), "%s", notes);
	ahead_ms = 6000;
	CHECK_INT(transfer_step(t, 10, &e), 1);
	CHECK_MSG(strchr(notes, '\n')[1] == '\0', "once only: %s", notes);
	while (!strstr(notes, "trying again"))
		CHECK_INT(transfer_step(t, 100, &e), 1);
	ahead_ms = 61000; /* four tries would be left */
	CHECK_INT(transfer_run(t, &e), 0);
	CHECK_INT(r.err.code, ERR_NETWORK);
	CHECK_MSG(strstr(r.err.msg, "/x', 2 times in 6"), "%s", r.err.msg);
	CHECK_MSG(strstr(r.err.msg, "is the server up"), "%s", r.err.msg);
}

TEST(throttle_holds_the_rate)
{
	static char body[300000];
	const struct http_answer a[] = {{.body = body, .body_n = sizeof(body)}};
	struct http_server s = http_start(a, 1);
	struct transfer_opts o = TRANSFER_OPTS_INIT;
	struct transfer_request r = {.url = http_url(&s, "/x"), .fd = new_file(), .size = sizeof(body)};
	struct err e = ERR_INIT;
	auto_ptr(transfer) t = NULL;
	o.max_bytes_per_s = 300000;
	CHECK(transfer_new(&o, &t, &e) == 0);
	int64_t begun = clock_system.mono_ms(&clock_system);
	transfer_add(t, &r);
	CHECK_MSG(transfer_run(t, &e) == 0, "%s", e.msg);
	int64_t took = clock_system.mono_ms(&clock_system) - begun;
	http_stop(&s);
	CHECK_MSG(r.err.code == ERR_NONE, "%s", r.err.msg);
	CHECK_MSG(took >= 500 && took < 10000, "%lld ms", (long long)took);
}

TEST(shown_url_hides_credentials)
{
	char out[128];
	transfer_shown_url("https://user:secret@host/t/TOKEN/channel/file?sig=1", out, sizeof(out));
	CHECK_STR(out, "https://host/channel/file");
	transfer_shown_url("https://host/path@2/x", out, sizeof(out));
	CHECK_STR(out, "https://host/path@2/x");
}
