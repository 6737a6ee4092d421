// SPDX-License-Identifier: Apache-2.0
#include "base/out.h"

#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <sys/ioctl.h>

#include "base/json.h"
#include "lib/test.h"

enum { COLUMNS = 90, ROWS = 40 };

/* -- a small terminal: enough of one to see what a person would see ------------------------------------------------- */

struct screen {
	int master;
	FILE *tty;
	char cell[ROWS][COLUMNS + 1];
	unsigned row, column, max_row;
	struct buf raw;
	unsigned columns;
};

static void blank(struct screen *s, unsigned row, unsigned from)
{
	memset(s->cell[row] + from, ' ', COLUMNS - from);
}

static void screen_open(struct screen *s, unsigned columns)
{
	int slave;
	struct winsize size = {.ws_row = ROWS, .ws_col = (unsigned short)columns};
	*s = (struct screen){.raw = BUF_INIT(BUF_MAX), .columns = columns};
	CHECK(columns <= COLUMNS);
	CHECK(openpty(&s->master, &slave, NULL, NULL, &size) == 0);
	fcntl(s->master, F_SETFL, O_NONBLOCK);
	s->tty = fdopen(slave, "w");
	for (unsigned i = 0; i < ROWS; i++)
		blank(s, i, 0);
}

static void screen_close(struct screen *s)
{
	fclose(s->tty);
	close(s->master);
	buf_release(&s->raw);
}

static const char *control(struct screen *s, const char *p)
{
	unsigned n = 0;
	CHECK(*p == '[');
	for (p++; (*p >= '0' && *p <= '9') || *p == ';'; p++)
		n = *p == ';' ? 0 : n * 10 + (unsigned)(*p - '0');
	switch (*p) {
	case 'A':
		CHECK_MSG(s->row >= (n ? n : 1), "the cursor leaves the screen at its top");
		s->row -= n ? n : 1;
		break;
	case 'K':
		blank(s, s->row, n == 2 ? 0 : s->column);
		break;
	case 'J':
		blank(s, s->row, s->column);
		for (unsigned i = s->row + 1; i < ROWS; i++)
			blank(s, i, 0);
		break;
	case 'm':
		break;
	default:
		test_fail(__FILE__, __LINE__, "sequence '%c' changes something that must be restored", *p);
	}
	return p;
}

static void screen_read(struct screen *s)
{
	char in[65536];
	ssize_t n;
	fflush(s->tty);
	while ((n = read(s->master, in, sizeof(in) - 1)) > 0) {
		in[n] = '\0';
		buf_put(&s->raw, in, (size_t)n);
		for (const char *p = in; *p; p++) {
			if (*p == '\033') {
				p = control(s, p + 1);
			} else if (*p == '\r') {
				s->column = 0;
			} else if (*p == '\n') {
				CHECK(++s->row < ROWS);
				if (s->row > s->max_row)
					s->max_row = s->row;
			} else if (((unsigned char)*p & 0xc0) != 0x80) {
				CHECK_MSG(s->column < s->columns, "a line is wider than the terminal");
				s->cell[s->row][s->column++] = (unsigned char)*p < 0x80 ? *p : '~';
			}
		}
	}
}

static const char *line(struct screen *s, unsigned row)
{
	size_t n = COLUMNS;
	while (n && s->cell[row][n - 1] == ' ')
		n--;
	s->cell[row][n] = '\0';
	static char copy[4][COLUMNS + 1];
	static unsigned next;
	char *c = copy[next++ % 4];
	memcpy(c, s->cell[row], n + 1);
	if (n < COLUMNS)
		s->cell[row][n] = ' ';
	return c;
}

static char *no_environment(const char *name)
{
	static char term[] = "xterm";
	return strcmp(name, "TERM") == 0 ? term : NULL;
}

static char *no_colour_environment(const char *name)
{
	static char one[] = "1";
	return strcmp(name, "NO_COLOR") == 0 ? one : no_environment(name);
}

static char *dumb_environment(const char *name)
{
	static char dumb[] = "dumb";
	return strcmp(name, "TERM") == 0 ? dumb : NULL;
}

/* Streams that are files, read back as text. */
struct files {
	FILE *out, *err;
	struct out o;
};

static void files_open(struct files *f)
{
	f->out = tmpfile();
	f->err = tmpfile();
	CHECK(f->out && f->err);
	out_init_on(&f->o, f->out, f->err, no_environment);
}

static const char *text(FILE *f)
{
	static char b[4][8192];
	static unsigned next;
	char *c = b[next++ % 4];
	fflush(f);
	rewind(f);
	c[fread(c, 1, sizeof(b[0]) - 1, f)] = '\0';
	return c;
}

static void files_close(struct files *f)
{
	fclose(f->out);
	fclose(f->err);
}

/* -- text ------------------------------------------------------------------------------------------------------------ */

TEST(widths)
{
	CHECK_INT(out_width(STR("abc")), 3);
	CHECK_INT(out_width(STR("caf\xc3\xa9")), 4);
	CHECK_INT(out_width(STR("e\xcc\x81")), 1);
	CHECK_INT(out_width(STR("\xe6\x97\xa5\xe6\x9c\xac")), 4);
	CHECK_INT(out_width(STR("\xf0\x9f\x98\x80")), 2);
	CHECK_INT(out_width(STR("\xff\xfe")), 2);
	CHECK_INT(out_width(STR("\x1b[1m")), 4);
}

TEST(cutting)
{
	static const struct {
		const char *s;
		size_t width;
		const char *want;
	} t[] = {
		{"abc", 3, "abc"},
		{"abcd", 3, "ab\xe2\x80\xa6"},
		{"abc", 0, ""},
		{"abc", 1, "\xe2\x80\xa6"},
		{"\x1b[31m", 9, "?[31m"},
		{"\xc2\x9b"
		 "1m",
		 9, "?1m"},
		{"a\xff", 9, "a\xef\xbf\xbd"},
		{"\xe6\x97\xa5\xe6\x9c\xac", 3, "\xe6\x97\xa5\xe2\x80\xa6"},
		{"\xe6\x97\xa5\xe6\x9c\xac", 2, "\xe2\x80\xa6"},
		{"\xe2\x80\xae"
		 "x",
		 5, "?x"},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		auto_buf b = BUF_INIT(1000);
		out_put_cut(&b, str_c(t[i].s), t[i].width);
		CHECK_STR(b.p, t[i].want);
		CHECK(out_width(buf_str(&b)) <= t[i].width);
	}
}

TEST(cut_at_its_beginning)
{
	static const struct {
		const char *s;
		size_t width;
		const char *want;
	} t[] = {
		{"/a/channel", 10, "/a/channel"},
		{"/a/channel", 9, "\xe2\x80\xa6/channel"},
		{"/a/channel", 1, "\xe2\x80\xa6"},
		{"/a/channel", 0, ""},
		{"\x1b[31m", 3,
		 "\xe2\x80\xa6"
		 "1m"},
		{"\xe6\x97\xa5\xe6\x9c\xac", 3, "\xe2\x80\xa6\xe6\x9c\xac"},
		{"\xe6\x97\xa5\xe6\x9c\xac", 2, "\xe2\x80\xa6"},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		auto_buf b = BUF_INIT(1000);
		out_put_tail(&b, str_c(t[i].s), t[i].width);
		CHECK_STR(b.p ? b.p : "", t[i].want);
		CHECK(out_width(buf_str(&b)) <= t[i].width);
	}
}

static void check_quantity(void (*put_size)(struct buf *, uint64_t), uint64_t v, const char *want)
{
	auto_buf b = BUF_INIT(100);
	put_size(&b, v);
	CHECK_STR(b.p, want);
}

static void put_ms(struct buf *b, uint64_t ms)
{
	out_put_duration(b, (int64_t)ms);
}

TEST(quantities)
{
	check_quantity(out_put_size, 0, "0 B");
	check_quantity(out_put_size, 999, "999 B");
	check_quantity(out_put_size, 1000, "1.0 kB");
	check_quantity(out_put_size, 12345678, "12.3 MB");
	check_quantity(out_put_size, 999949, "1.0 MB");
	check_quantity(out_put_size, 123456789, "123 MB");
	check_quantity(out_put_size, UINT64_MAX, "18.4 EB");
	check_quantity(put_ms, 0, "0.0 s");
	check_quantity(put_ms, 1234, "1.2 s");
	check_quantity(put_ms, 59400, "59 s");
	check_quantity(put_ms, 65000, "1:05");
	check_quantity(put_ms, 7265000, "2:01:05");
}

TEST(remarks_go_to_standard_error)
{
	struct files f;
	struct err e = ERR_INIT;
	files_open(&f);
	out_line(&f.o, "answer %d\x1b[2J", 42);
	out_say(&f.o, "remark '%s'", "a\rb");
	out_warn(&f.o, "careful");
	f.o.quiet = true;
	out_say(&f.o, "not said");
	f.o.quiet = false;
	f.o.json = true;
	out_say(&f.o, "not said");
	out_warn(&f.o, "but warned");
	CHECK_INT(out_finish(&f.o, &e), 0);
	CHECK_STR(text(f.out), "answer 42?[2J\n");
	CHECK_STR(text(f.err), "remark 'a?b'\nslipway: careful\nslipway: but warned\n");
	files_close(&f);
}

TEST(a_full_disk_is_an_error)
{
	struct err e = ERR_INIT;
	struct out o;
	FILE *full = fopen("/dev/full", "w");
	CHECK(full);
	out_init_on(&o, full, stderr, no_environment);
	out_line(&o, "x");
	CHECK_INT(out_finish(&o, &e), -1);
	CHECK_STR(e.msg, "write standard output: No space left on device");
	fclose(full);
}

TEST(colour_only_on_terminals)
{
	struct screen s;
	struct files f;
	struct out o;
	screen_open(&s, 80);
	files_open(&f);
	CHECK(!f.o.out_tty && !f.o.err_tty && !f.o.out_colour && !f.o.err_colour);
	out_init_on(&o, s.tty, s.tty, no_environment);
	CHECK(o.out_tty && o.err_tty && o.out_colour && o.err_colour);
	out_init_on(&o, s.tty, s.tty, no_colour_environment);
	CHECK(o.out_tty && o.err_tty && !o.out_colour && !o.err_colour);
	out_init_on(&o, s.tty, s.tty, dumb_environment);
	CHECK(o.out_tty && !o.err_tty && !o.out_colour);
	CHECK_STR(out_style(false, OUT_RED), "");
	CHECK_STR(out_style(true, OUT_PLAIN), "\033[0m");
	files_close(&f);
	screen_close(&s);
}

/* -- tables ---------------------------------------------------------------------------------------------------------- */

static void fill_table(struct out_table *t)
{
	out_table_cell(t, "numpy");
	out_table_cell(t, "%d", 7);
	out_table_cell(t, "a long word about numbers that goes on and on, to be cut somewhere");
	out_table_cell(t, "\xe6\x97\xa5\xe6\x9c\xac");
	out_table_cell(t, "%d", 12345);
	out_table_cell(t, "x\x1b");
}

TEST(table_into_a_file_is_whole)
{
	static const char *const titles[] = {"Name", "Size", "Words"};
	struct files f;
	files_open(&f);
	struct out_table t = {.titles = titles, .columns = 3, .right = 1 << 1};
	fill_table(&t);
	out_table_print(&f.o, &t);
	CHECK_STR(text(f.out), "Name    Size  Words\n"
			       "numpy      7  a long word about numbers that goes on and on, to be cut somewhere\n"
			       "\xe6\x97\xa5\xe6\x9c\xac   12345  x?\n");
	CHECK_INT(t.cells.n, 0);
	files_close(&f);
}

TEST(table_on_a_terminal_fits_it)
{
	struct screen s;
	struct out o;
	screen_open(&s, 40);
	out_init_on(&o, s.tty, s.tty, no_environment);
	struct out_table t = {.columns = 3, .right = 1 << 1};
	fill_table(&t);
	out_table_print(&o, &t);
	screen_read(&s);
	CHECK_STR(line(&s, 0), "numpy      7  a long word about numbers~");
	screen_close(&s);
}

/* The lines of a table of two columns that one needs and two that one does not. */
static void table_of_names(unsigned columns, struct screen *s, const char *name)
{
	static const char *const titles[] = {"Package", "Version", "Build", "Size"};
	struct out o;
	screen_open(s, columns);
	out_init_on(&o, s->tty, s->tty, no_colour_environment);
	struct out_table t = {.titles = titles, .columns = 4, .right = 1 << 3, .whole = 1 | 1 << 1};
	out_table_cell(&t, "%s", name);
	out_table_cell(&t, "1.26.4");
	out_table_cell(&t, "py312h8753938_1_cpython");
	out_table_cell(&t, "6.8 MB");
	out_table_print(&o, &t);
	out_flush(&o);
}

TEST(names_stay_whole_on_narrow_terminals)
{
	static const char name[] = "libboost-python-devel";
	static const struct {
		unsigned columns;
		const char *want;
	} t[] = {
		{80, "libboost-python-devel  1.26.4   py312h8753938_1_cpython  6.8 MB"},
		{60, "libboost-python-devel  1.26.4   py312h8753938_1_cpy~  6.8 MB"},
		{50, "libboost-python-devel  1.26.4   py312h875~  6.8 MB"},
		{40, "libboost-python-devel  1.26.4   py312h8~"},
		{33, "libboost-python-devel  1.26.4"},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct screen s;
		table_of_names(t[i].columns, &s, name);
		screen_read(&s);
		CHECK_STR(line(&s, 1), t[i].want);
		screen_close(&s);
	}
}

TEST(what_is_too_wide_is_wrapped)
{
	struct screen s;
	char raw[4096] = "";
	size_t n = 0;
	table_of_names(20, &s, "libboost-python-devel");
	for (int tries = 0; !strstr(raw, "1.26.4\r\n") && tries < 100; tries++) {
		ssize_t got = read(s.master, raw + n, sizeof(raw) - 1 - n);
		n += got > 0 ? (size_t)got : 0;
		raw[n] = '\0';
		if (got <= 0)
			usleep(10000);
	}
	CHECK(strstr(raw, "libboost-python-devel  1.26.4\r\n"));
	screen_close(&s);
}

TEST(table_of_nothing)
{
	static const char *const titles[] = {"Name"};
	struct files f;
	files_open(&f);
	struct out_table t = {.titles = titles, .columns = 1};
	out_table_print(&f.o, &t);
	CHECK_STR(text(f.out), "Name\n");
	out_table_cell(&t, "released");
	out_table_release(&t);
	files_close(&f);
}

/* -- progress ---------------------------------------------------------------------------------------------------------- */

static void send(struct out *o, enum progress_kind kind, const char *phase, const char *id, uint64_t done,
		 uint64_t total)
{
	progress_send(&o->progress, (struct progress_event){kind, phase, id, "the reason", done, total});
}

TEST(what_was_there_before_is_no_speed)
{
	struct screen s;
	struct out o;
	struct clock_fake clock = clock_fake_at(0, 0);
	screen_open(&s, 80);
	out_init_on(&o, s.tty, s.tty, no_environment);
	o.clock = &clock.base;
	out_progress_begin(&o);
	send(&o, PROGRESS_BEGIN, "download", "a.conda", 3000000, 8000000);
	clock.now_ms += 1000;
	send(&o, PROGRESS_UPDATE, "download", "a.conda", 4000000, 8000000);
	screen_read(&s);
	CHECK(strstr(line(&s, 0), "4.0 MB of 8.0 MB  1.0 MB/s  4.0 s"));
	out_progress_end(&o);
	screen_close(&s);
}

TEST(bars_are_drawn_and_go_away)
{
	struct screen s;
	struct out o;
	struct clock_fake clock = clock_fake_at(0, 0);
	screen_open(&s, 80);
	out_init_on(&o, s.tty, s.tty, no_environment);
	o.clock = &clock.base;
	CHECK(out_progress_begin(&o) == &o.progress && out_progress_begin(&o) == &o.progress);
	send(&o, PROGRESS_BEGIN, "download", "a.conda", 0, 4000000);
	send(&o, PROGRESS_BEGIN, "download", "b.conda", 0, 4000000);
	clock.now_ms += 1000;
	send(&o, PROGRESS_UPDATE, "download", "a.conda", 2000000, 4000000);
	screen_read(&s);
	CHECK_STR(line(&s, 0), "download   [=====>              ] 0/2  2.0 MB of 8.0 MB  2.0 MB/s  3.0 s");
	CHECK_STR(line(&s, 1), "  a.conda                        [==========>         ] 2.0 MB of 4.0 MB");
	CHECK_STR(line(&s, 2), "  b.conda                        [>                   ] 0 B of 4.0 MB");
	CHECK_INT(s.row, 3);
	clock.now_ms += 200;
	send(&o, PROGRESS_DONE, "download", "a.conda", 4000000, 4000000);
	screen_read(&s);
	CHECK_INT(s.row, 2);
	CHECK(strstr(line(&s, 0), "] 1/2  4.0 MB of 8.0 MB"));
	CHECK(strstr(line(&s, 1), "b.conda"));
	CHECK_STR(line(&s, 2), "");
	out_progress_end(&o);
	screen_read(&s);
	CHECK_INT(s.row, 0);
	for (unsigned i = 0; i < ROWS; i++)
		CHECK_STR(line(&s, i), "");
	CHECK(o.bars == NULL && o.progress.event == NULL);
	out_progress_end(&o);
	screen_close(&s);
}

TEST(at_most_ten_drawings_a_second)
{
	struct screen s;
	struct out o;
	struct clock_fake clock = clock_fake_at(5, 0);
	screen_open(&s, 80);
	out_init_on(&o, s.tty, s.tty, no_environment);
	o.clock = &clock.base;
	out_progress_begin(&o);
	for (unsigned i = 0; i <= 1000; i++) {
		send(&o, PROGRESS_UPDATE, "download", "a", i, 1000);
		clock.now_ms++;
		screen_read(&s);
	}
	unsigned drawings = 0;
	for (struct str r = buf_str(&s.raw), l; str_take_until(&r, '\n', &l);)
		drawings++;
	CHECK_INT(drawings, 11);
	out_progress_end(&o);
	screen_close(&s);
}

TEST(many_items_take_few_lines_in_any_width)
{
	for (unsigned columns = 1; columns <= COLUMNS; columns += 7) {
		struct screen s;
		struct out o;
		struct clock_fake clock = clock_fake_at(0, 0);
		char id[100];
		screen_open(&s, columns);
		out_init_on(&o, s.tty, s.tty, no_environment);
		o.clock = &clock.base;
		out_progress_begin(&o);
		for (int i = 0; i < 300; i++) {
			snprintf(id, sizeof(id), "\xe6\x97\xa5-a-long-name-with-\x1b[7m-%d-and-more-and-more.conda", i);
			send(&o, PROGRESS_BEGIN, i % 2 ? "download" : "unpack", id, 0, 1000000);
			send(&o, PROGRESS_UPDATE, i % 2 ? "download" : "unpack", id, 500000, 1000000);
			if (i >= 100)
				send(&o, PROGRESS_DONE, i % 2 ? "download" : "unpack", id, 0, 0);
			clock.now_ms += 37;
			screen_read(&s);
		}
		CHECK(s.max_row <= OUT_BAR_LINES);
		CHECK(s.row == OUT_BAR_LINES);
		out_progress_end(&o);
		screen_read(&s);
		CHECK_INT(s.row, 0);
		screen_close(&s);
	}
}

TEST(lines_between_the_bars_stay)
{
	struct screen s;
	struct out o;
	struct clock_fake clock = clock_fake_at(0, 0);
	screen_open(&s, 80);
	out_init_on(&o, s.tty, s.tty, no_environment);
	o.clock = &clock.base;
	out_progress_begin(&o);
	send(&o, PROGRESS_BEGIN, "download", "a", 0, 100);
	out_say(&o, "a remark");
	send(&o, PROGRESS_UPDATE, "download", "a", 50, 100);
	send(&o, PROGRESS_NOTE, "download", "a", 0, 0);
	out_line(&o, "an answer");
	send(&o, PROGRESS_UPDATE, "download", "a", 60, 100);
	screen_read(&s);
	CHECK_STR(line(&s, 0), "a remark");
	CHECK_STR(line(&s, 1), "slipway: the reason");
	CHECK_STR(line(&s, 2), "an answer");
	CHECK(strstr(line(&s, 3), "60 B of 100 B"));
	out_put_remark(&o, STR("as it is\n"));
	out_progress_end(&o);
	screen_read(&s);
	CHECK_STR(line(&s, 2), "an answer");
	CHECK_STR(line(&s, 3), "as it is");
	CHECK_STR(line(&s, 4), "");
	screen_close(&s);
}

TEST(links_are_counted_in_files)
{
	struct screen s;
	struct out o;
	struct clock_fake clock = clock_fake_at(0, 0);
	screen_open(&s, 80);
	out_init_on(&o, s.tty, s.tty, no_colour_environment);
	o.clock = &clock.base;
	out_progress_begin(&o);
	send(&o, PROGRESS_BEGIN, "link", "env", 0, 5000);
	clock.now_ms += 500;
	send(&o, PROGRESS_UPDATE, "link", "env", 2500, 5000);
	screen_read(&s);
	CHECK_STR(line(&s, 0), "link       [==========>         ] 0/1  2500 of 5000 files");
	CHECK(strstr(s.raw.p, "\033[32m") == NULL);
	out_progress_end(&o);
	screen_close(&s);
}

TEST(a_failed_item_leaves_the_sums)
{
	struct screen s;
	struct out o;
	struct clock_fake clock = clock_fake_at(0, 0);
	screen_open(&s, 80);
	out_init_on(&o, s.tty, s.tty, no_environment);
	o.clock = &clock.base;
	o.verbose = true;
	out_progress_begin(&o);
	send(&o, PROGRESS_BEGIN, "download", "a", 0, 1000);
	send(&o, PROGRESS_UPDATE, "download", "a", 700, 1000);
	send(&o, PROGRESS_UPDATE, "download", "a", 100, 1000); /* begins again */
	send(&o, PROGRESS_FAILED, "download", "a", 0, 0);
	send(&o, PROGRESS_UPDATE, "download", "b", 300, 0); /* never begun, total not known */
	clock.now_ms += 1500;
	send(&o, PROGRESS_DONE, "download", "b", 400, 0);
	out_progress_end(&o);
	screen_read(&s);
	CHECK_STR(line(&s, 0), "download: 1 done, 400 B in 1.5 s; 1 failed");
	screen_close(&s);
}

TEST(without_a_terminal_only_verbose_speaks)
{
	for (int verbose = 0; verbose < 2; verbose++) {
		struct files f;
		struct clock_fake clock = clock_fake_at(0, 0);
		files_open(&f);
		f.o.verbose = verbose;
		f.o.clock = &clock.base;
		out_progress_begin(&f.o);
		send(&f.o, PROGRESS_BEGIN, "download", "a", 0, 2000000);
		clock.now_ms += 3200;
		send(&f.o, PROGRESS_DONE, "download", "a", 2000000, 2000000);
		send(&f.o, PROGRESS_BEGIN, "link", "env", 0, 12);
		send(&f.o, PROGRESS_DONE, "link", "env", 12, 12);
		out_progress_end(&f.o);
		CHECK_STR(text(f.err), verbose ? "download: 1 done, 2.0 MB in 3.2 s\nlink: 12 files in 0.0 s\n" : "");
		CHECK_STR(text(f.out), "");
		files_close(&f);
	}
}

TEST(quiet_shows_nothing)
{
	struct screen s;
	struct out o;
	screen_open(&s, 80);
	out_init_on(&o, s.tty, s.tty, no_environment);
	o.quiet = o.verbose = true;
	out_progress_begin(&o);
	send(&o, PROGRESS_BEGIN, "download", "a", 0, 100);
	send(&o, PROGRESS_NOTE, "download", "a", 0, 0);
	out_progress_end(&o);
	screen_read(&s);
	CHECK_INT(s.raw.n, 0);
	screen_close(&s);
}

TEST(events_as_json_lines)
{
	struct files f;
	struct err e = ERR_INIT;
	FILE *events = tmpfile();
	files_open(&f);
	CHECK_INT(out_set_progress_fd(&f.o, 999, &e), -1);
	CHECK_INT(e.code, ERR_USAGE);
	CHECK_INT(out_set_progress_fd(&f.o, fileno(events), &e), 0);
	out_progress_begin(&f.o);
	send(&f.o, PROGRESS_BEGIN, "download", "a\"\n", 0, 10);
	progress_send(&f.o.progress,
		      (struct progress_event){.kind = PROGRESS_UPDATE, .phase = "download", .id = "a\"\n", .done = 5});
	send(&f.o, PROGRESS_DONE, "download", "a\"\n", 10, 10);
	send(&f.o, PROGRESS_FAILED, "unpack", "b", 0, 0);
	progress_send(&f.o.progress, (struct progress_event){.kind = PROGRESS_NOTE, .text = "note"});
	out_progress_end(&f.o);
	const char *all = text(events);
	CHECK_STR(
		all,
		"{\"event\":\"begin\",\"phase\":\"download\",\"id\":\"a\\\"\\n\",\"done\":0,\"total\":10,\"text\":\"the reason\"}\n"
		"{\"event\":\"update\",\"phase\":\"download\",\"id\":\"a\\\"\\n\",\"done\":5,\"total\":0}\n"
		"{\"event\":\"done\",\"phase\":\"download\",\"id\":\"a\\\"\\n\",\"done\":10,\"total\":10,\"text\":\"the reason\"}\n"
		"{\"event\":\"failed\",\"phase\":\"unpack\",\"id\":\"b\",\"done\":0,\"total\":0,\"text\":\"the reason\"}\n"
		"{\"event\":\"note\",\"done\":0,\"total\":0,\"text\":\"note\"}\n");
	for (struct str s = str_c(all), l; str_take_line(&s, &l);) {
		auto_arena a = ARENA_INIT;
		CHECK(json_parse(&a, l, "event", &e));
	}
	fclose(events);
	files_close(&f);
}

TEST(a_reader_that_goes_away_does_not_end_the_work)
{
	struct files f;
	int fds[2];
	sigset_t pending;
	files_open(&f);
	CHECK(pipe(fds) == 0);
	close(fds[0]);
	f.o.progress_fd = fds[1];
	out_progress_begin(&f.o);
	send(&f.o, PROGRESS_BEGIN, "download", "a", 0, 10);
	CHECK_INT(f.o.progress_fd, -1);
	send(&f.o, PROGRESS_DONE, "download", "a", 10, 10);
	out_progress_end(&f.o);
	CHECK(sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE));
	close(fds[1]);
	files_close(&f);
}

TEST(sigint_takes_the_bars_away_and_ends_the_process)
{
	struct screen s;
	int status;
	screen_open(&s, 80);
	pid_t pid = fork();
	if (pid == 0) {
		struct out o;
		out_init_on(&o, s.tty, s.tty, no_environment);
		out_progress_begin(&o);
		out_say(&o, "before");
		send(&o, PROGRESS_BEGIN, "download", "a", 0, 100);
		send(&o, PROGRESS_BEGIN, "unpack", "a", 0, 100);
		usleep(150000);
		send(&o, PROGRESS_UPDATE, "unpack", "a", 50, 100);
		raise(SIGINT);
		_exit(3);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
	screen_read(&s);
	CHECK(strstr(s.raw.p, "unpack"));
	CHECK_STR(line(&s, 0), "before");
	CHECK_STR(line(&s, 1), "");
	CHECK_STR(line(&s, 2), "");
	CHECK_INT(s.row, 1);
	CHECK_INT(s.column, 0);
	screen_close(&s);
}

static void own_handler(int sig)
{
	(void)sig;
}

TEST(a_handler_of_the_command_is_left_alone)
{
	struct screen s;
	struct out o;
	struct sigaction act = {.sa_handler = own_handler}, now;
	screen_open(&s, 80);
	sigaction(SIGINT, &act, NULL);
	out_init_on(&o, s.tty, s.tty, no_environment);
	out_progress_begin(&o);
	CHECK(sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == own_handler);
	CHECK(sigaction(SIGTERM, NULL, &now) == 0 && now.sa_handler != SIG_DFL);
	out_progress_end(&o);
	CHECK(sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == own_handler);
	CHECK(sigaction(SIGTERM, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
	screen_close(&s);
}

static void *sender(void *arg)
{
	struct out *o = arg;
	char id[32];
	for (int i = 0; i < 300; i++) {
		snprintf(id, sizeof(id), "%lx-%d", (unsigned long)pthread_self(), i % 5);
		send(o, i % 5 == 4 ? PROGRESS_DONE : PROGRESS_UPDATE, "download", id, (uint64_t)i, 300);
	}
	return NULL;
}

TEST(threads_may_send)
{
	struct files f;
	pthread_t t[4];
	files_open(&f);
	f.o.err_tty = true; /* draws into a file: no reader is needed */
	out_progress_begin(&f.o);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, sender, &f.o) == 0);
	for (int i = 0; i < 100; i++)
		out_say(&f.o, "line");
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	out_progress_end(&f.o);
	files_close(&f);
}
