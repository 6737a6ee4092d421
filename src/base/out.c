// SPDX-License-Identifier: Apache-2.0
/* Text and tables; the bars are in out_bars.c. */
#include "base/out.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "base/out_bars.h"

/* -- the width of text --------------------------------------------------------------------------------------------- */

struct range {
	uint32_t from, to;
};

static bool within(uint32_t c, const struct range *r, size_t n)
{
	for (size_t i = 0; i < n && c >= r[i].from; i++)
		if (c <= r[i].to)
			return true;
	return false;
}

/* Marks that stand on the character before them, and characters that do not show. */
static const struct range combining[] = {
	{0x300, 0x36f},	  {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},	{0x64b, 0x65f},
	{0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f}, {0x202a, 0x202e}, {0x2060, 0x2069},
	{0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0100, 0xe01ef},
};
/* East Asian wide and full-width blocks, and pictures. */
static const struct range wide[] = {
	{0x1100, 0x115f},   {0x2e80, 0x303e},	{0x3041, 0xa4cf},   {0xa960, 0xa97f}, {0xac00, 0xd7a3},
	{0xf900, 0xfaff},   {0xfe30, 0xfe6f},	{0xff00, 0xff60},   {0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
	{0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static size_t char_width(uint32_t c)
{
	if (c < 0x300)
		return 1; /* a control is shown as one '?' */
	if (within(c, combining, COUNT(combining)))
		return 0;
	return within(c, wide, COUNT(wide)) ? 2 : 1;
}

/* Takes one character (or one bad byte) off the front; returns its columns. *ret is what to show. */
static size_t take_shown(struct str *s, struct str *ret)
{
	uint32_t c;
	size_t n = utf8_take(*s, &c);
	*ret = str_head(*s, n);
	if (n == 0) {
		*ret = STR("\xef\xbf\xbd");
		c = 0xfffd;
		n = 1;
	} else if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) ||
		   (c >= 0x2066 && c <= 0x2069)) {
		*ret = STR("?"); /* C0, C1, and what turns the direction of writing */
		c = '?';
	}
	*s = str_skip(*s, n);
	return char_width(c);
}

size_t out_width(struct str s)
{
	size_t width = 0;
	struct str shown;
	while (s.n)
		width += take_shown(&s, &shown);
	return width;
}

void out_put_cut(struct buf *b, struct str s, size_t width)
{
	struct str shown;
	bool cut = out_width(s) > width;
	size_t left = cut ? (width ? width - 1 : 0) : width;
	while (s.n) {
		size_t w = take_shown(&s, &shown);
		if (w > left)
			break;
		left -= w;
		buf_put_str(b, shown);
	}
	if (cut && width)
		buf_put_c(b, "\xe2\x80\xa6");
}

void out_put_tail(struct buf *b, struct str s, size_t width)
{
	struct str shown;
	if (out_width(s) > width) {
		if (width)
			buf_put_c(b, "\xe2\x80\xa6");
		while (s.n && out_width(s) + 1 > width)
			take_shown(&s, &shown);
	}
	out_put_cut(b, s, SIZE_MAX);
}

static void put_spaces(struct buf *b, size_t n)
{
	while (n--)
		buf_put_char(b, ' ');
}

size_t out_columns(FILE *f)
{
	struct winsize size;
	if (ioctl(fileno(f), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return 80;
}

/* -- quantities ---------------------------------------------------------------------------------------------------- */

void out_put_size(struct buf *b, uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)bytes;
	unsigned u = 0;
	while (v >= 999.5 && u + 1 < COUNT(units)) {
		v /= 1000;
		u++;
	}
	buf_printf(b, u && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

void out_put_duration(struct buf *b, int64_t ms)
{
	int64_t s = (ms + 500) / 1000;
	if (ms < 0)
		buf_put_c(b, "0.0 s");
	else if (ms < 9950)
		buf_printf(b, "%.1f s", (double)ms / 1000);
	else if (s < 60)
		buf_printf(b, "%d s", (int)s);
	else if (s < 3600)
		buf_printf(b, "%d:%02d", (int)(s / 60), (int)(s % 60));
	else
		buf_printf(b, "%lld:%02d:%02d", (long long)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
}

/* -- streams ------------------------------------------------------------------------------------------------------- */

void out_init_on(struct out *o, FILE *out, FILE *err, char *(*environment)(const char *name))
{
	const char *no_colour = environment("NO_COLOR"), *term = environment("TERM");
	bool dumb = !term || strcmp(term, "dumb") == 0;
	bool colour = !dumb && !(no_colour && no_colour[0]);
	*o = (struct out){.out = out, .err = err, .progress_fd = -1, .clock = &clock_system};
	o->out_tty = isatty(fileno(out)) == 1;
	o->err_tty = isatty(fileno(err)) == 1 && !dumb; /* a dumb terminal cannot redraw */
	o->out_colour = o->out_tty && colour;
	o->err_colour = o->err_tty && colour;
}

void out_init(struct out *o)
{
	out_init_on(o, stdout, stderr, getenv); /* style: allow print: these are what cmd/ prints on */
}

int out_set_progress_fd(struct out *o, int fd, struct err *e)
{
	if (fd < 0 || fcntl(fd, F_GETFD) < 0)
		return err_new(e, ERR_USAGE, "progress descriptor %d is not open; redirect it, as in '%d>events.jsonl'",
			       fd, fd < 3 ? 3 : fd);
	o->progress_fd = fd;
	return 0;
}

static void keep_error(struct out *o, bool good)
{
	if (!good && !o->failed)
		o->failed = errno ? errno : EIO;
}

void out_flush(struct out *o)
{
	errno = 0;
	keep_error(o, fflush(o->out) == 0 && !ferror(o->out));
}

int out_finish(struct out *o, struct err *e)
{
	out_progress_end(o);
	out_flush(o);
	return o->failed ? err_errno(e, o->failed, "write standard output") : 0;
}

const char *out_style(bool colour, enum out_style style)
{
	static const char *const code[] = {
		[OUT_PLAIN] = "\033[0m", [OUT_BOLD] = "\033[1m",   [OUT_DIM] = "\033[2m",
		[OUT_RED] = "\033[31m",	 [OUT_GREEN] = "\033[32m", [OUT_YELLOW] = "\033[33m",
	};
	return colour ? code[style] : "";
}

void out_put(struct out *o, struct str s)
{
	struct out_bars *b = o->out_tty ? o->bars : NULL;
	out_bars_pause(b);
	errno = 0;
	keep_error(o, fwrite(s.p ? s.p : "", 1, s.n, o->out) == s.n);
	if (b)
		out_flush(o);
	out_bars_resume(b);
}

/* The text of fmt as it may be shown: line ends and tabs stay, other controls do not. */
__attribute__((format(printf, 2, 0))) static void put_shown(struct buf *b, const char *fmt, va_list ap)
{
	auto_buf raw = BUF_INIT(1 << 20);
	struct str shown;
	buf_vprintf(&raw, fmt, ap);
	for (struct str s = buf_str(&raw); s.n;) {
		if (s.p[0] == '\n' || s.p[0] == '\t') {
			buf_put_char(b, s.p[0]);
			s = str_skip(s, 1);
			continue;
		}
		take_shown(&s, &shown);
		buf_put_str(b, shown);
	}
}

/* ESC '[', digits and ';', 'm': how many bytes a colour takes; 0: it is none. */
static size_t colour_length(struct str s)
{
	size_t i = 2;
	if (s.n < 3 || s.p[0] != '\033' || s.p[1] != '[')
		return 0;
	while (i < s.n && ((s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == ';'))
		i++;
	return i < s.n && s.p[i] == 'm' ? i + 1 : 0;
}

void out_tame(struct buf *b)
{
	for (size_t i = 0; i < b->n; i++) {
		unsigned char c = (unsigned char)b->p[i];
		size_t colour = colour_length(str_of(b->p + i, b->n - i));
		/* U+0080 to U+009F do in UTF-8 what ESC with another byte does */
		bool is_c1 = c == 0xc2 && i + 1 < b->n && ((unsigned char)b->p[i + 1] & 0xe0) == 0x80;
		if (colour)
			i += colour - 1;
		else if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f || is_c1)
			b->p[i] = '?';
		if (is_c1)
			b->p[++i] = '?';
	}
}

void out_line(struct out *o, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	va_list ap;
	va_start(ap, fmt);
	put_shown(&b, fmt, ap);
	va_end(ap);
	buf_put_char(&b, '\n');
	out_put(o, buf_str(&b));
}

void out_put_remark(struct out *o, struct str s)
{
	out_bars_pause(o->bars);
	out_flush(o); /* in the order in which they were said, where both go to one place */
	fwrite(s.p ? s.p : "", 1, s.n, o->err);
	fflush(o->err);
	out_bars_resume(o->bars);
}

void out_say(struct out *o, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	va_list ap;
	if (o->quiet || o->json)
		return;
	va_start(ap, fmt);
	put_shown(&b, fmt, ap);
	va_end(ap);
	buf_put_char(&b, '\n');
	out_put_remark(o, buf_str(&b));
}

void out_warn(struct out *o, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	va_list ap;
	buf_printf(&b, "%sslipway:%s ", out_style(o->err_colour, OUT_BOLD), out_style(o->err_colour, OUT_PLAIN));
	va_start(ap, fmt);
	put_shown(&b, fmt, ap);
	va_end(ap);
	buf_put_char(&b, '\n');
	out_put_remark(o, buf_str(&b));
}

/* -- tables -------------------------------------------------------------------------------------------------------- */

enum { GAP = 2, COLUMN_MIN = 6, SHORTENED_MIN = 8 };

void out_table_cell(struct out_table *t, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(1 << 20);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	vec_push(&t->cells, buf_steal(&b));
}

void out_table_release(struct out_table *t)
{
	vec_foreach(cell, &t->cells)
		free(*cell);
	vec_release(&t->cells);
}

/* Takes columns off the widest of those in `which` until the shown ones fit, or each of them is `least` wide. */
static bool shrink(size_t *widths, size_t n, unsigned shown, unsigned which, size_t least, size_t columns)
{
	size_t sum = 0;
	for (size_t i = 0; i < n; i++)
		if (shown >> i & 1)
			sum += widths[i] + (sum ? GAP : 0);
	while (sum > columns) {
		size_t widest = n;
		for (size_t i = 0; i < n; i++)
			if ((which >> i & 1) && (widest == n || widths[i] > widths[widest]))
				widest = i;
		if (widest == n || widths[widest] <= least)
			return false;
		widths[widest]--;
		sum--;
	}
	return true;
}

/* Fills in the widths that fit, and returns which columns are shown: what need not be whole is shortened, and where that does
 * not do, left out from the right. */
static unsigned fit(const struct out_table *t, size_t *widths, size_t columns)
{
	size_t n = t->columns;
	unsigned shown = n < 32 ? (1U << n) - 1 : UINT_MAX;
	auto_free size_t *natural = xcalloc(n, sizeof(*natural));
	memcpy(natural, widths, n * sizeof(*natural));
	while (t->whole & shown) {
		unsigned others = shown & ~t->whole;
		if (shrink(widths, n, shown, others, SHORTENED_MIN, columns))
			return shown;
		memcpy(widths, natural, n * sizeof(*natural));
		if (!others)
			break;
		shown &= ~(1U << (31 - __builtin_clz(others)));
	}
	shrink(widths, n, shown, shown, COLUMN_MIN, columns);
	return shown;
}

static void put_row(const struct out_table *t, unsigned shown, const size_t *widths, const char *const *cells,
		    struct buf *b)
{
	bool first = true;
	for (size_t i = 0; i < t->columns; i++) {
		struct str s = str_c(cells[i]);
		size_t width = out_width(s);
		size_t pad = width < widths[i] ? widths[i] - width : 0;
		bool right = t->right >> i & 1, last = !(shown >> i >> 1);
		if (!(shown >> i & 1))
			continue;
		if (!first)
			put_spaces(b, GAP);
		first = false;
		if (right)
			put_spaces(b, pad);
		if (t->tail >> i & 1)
			out_put_tail(b, s, widths[i]);
		else
			out_put_cut(b, s, t->whole >> i & 1 ? SIZE_MAX : widths[i]); /* rather wrapped than cut */
		if (!right && !last)
			put_spaces(b, pad);
	}
	while (b->n && b->p[b->n - 1] == ' ') /* last cells that are empty */
		b->p[--b->n] = '\0';
}

void out_table_print(struct out *o, struct out_table *t)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	size_t rows = t->columns ? t->cells.n / t->columns : 0;
	assert(t->columns <= OUT_TABLE_COLUMNS);
	auto_free size_t *widths = xcalloc(t->columns + 1, sizeof(*widths));
	for (size_t i = 0; i < rows * t->columns; i++) {
		size_t w = out_width(str_c(t->cells.v[i]));
		if (w > widths[i % t->columns])
			widths[i % t->columns] = w;
	}
	for (size_t i = 0; t->titles && i < t->columns; i++)
		if (out_width(str_c(t->titles[i])) > widths[i])
			widths[i] = out_width(str_c(t->titles[i]));
	unsigned shown = t->columns ? fit(t, widths, o->out_tty ? out_columns(o->out) : SIZE_MAX) : 0;
	if (t->titles && t->columns) {
		buf_put_c(&b, out_style(o->out_colour, OUT_BOLD));
		put_row(t, shown, widths, t->titles, &b);
		buf_put_c(&b, out_style(o->out_colour, OUT_PLAIN));
		buf_put_char(&b, '\n');
	}
	for (size_t i = 0; i < rows; i++) {
		put_row(t, shown, widths, (const char *const *)&t->cells.v[i * t->columns], &b);
		buf_put_char(&b, '\n');
	}
	out_put(o, buf_str(&b));
	out_table_release(t);
}
