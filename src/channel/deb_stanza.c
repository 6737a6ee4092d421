// SPDX-License-Identifier: Apache-2.0
/* Stanzas of a control file, an index or a Release: fields, a line each or more, and an empty line between stanzas. */
#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "channel/deb.h"

enum { READ_SIZE = 128 << 10 };

void deb_reader_init(struct deb_reader *r, struct istream *in)
{
	*r = (struct deb_reader){.in = in, .window = BUF_INIT(DEB_STANZA_MAX + 2 * READ_SIZE)};
}

void deb_reader_release(struct deb_reader *r)
{
	buf_release(&r->window);
}

static int refill(struct deb_reader *r, struct err *e)
{
	struct buf *w = &r->window;
	if (w->n - r->at > DEB_STANZA_MAX)
		return err_new(e, ERR_LIMIT, "'%s' holds a stanza of more than %d MiB", r->in->name,
			       DEB_STANZA_MAX >> 20);
	if (r->at > 0) {
		memmove(w->p, w->p + r->at, w->n - r->at);
		buf_truncate(w, w->n - r->at);
		r->scanned -= r->at;
		r->at = 0;
	}
	buf_reserve(w, READ_SIZE);
	ssize_t n = istream_read(r->in, w->p + w->n, READ_SIZE, e);
	if (n < 0)
		return -1;
	w->n += (size_t)n;
	w->p[w->n] = '\0';
	r->ended = n == 0;
	return 0;
}

int deb_next(struct deb_reader *r, struct str *ret, struct err *e)
{
	struct buf *w = &r->window;
	for (;;) {
		while (r->at < w->n && (w->p[r->at] == '\n' || w->p[r->at] == '\r'))
			r->at++;
		if (r->scanned < r->at)
			r->scanned = r->at;
		struct str left = str_of(w->p + r->scanned, w->n - r->scanned);
		ptrdiff_t end = str_search(left, STR("\n\n"));
		if (end >= 0) {
			*ret = str_of(w->p + r->at, r->scanned + (size_t)end + 1 - r->at);
			r->at += ret->n + 1;
			r->scanned = r->at;
			return 1;
		}
		if (r->ended)
			break;
		r->scanned = w->n > r->at ? w->n - 1 : r->at;
		if (refill(r, e) < 0)
			return -1;
	}
	if (r->at == w->n)
		return 0;
	if (w->p[w->n - 1] != '\n')
		buf_put_char(w, '\n');
	*ret = str_of(w->p + r->at, w->n - r->at);
	r->at = r->scanned = w->n;
	return 1;
}

bool deb_name_eq(struct str a, struct str b)
{
	return a.n == b.n && str_casecmp(a, b) == 0;
}

static struct str line_of(struct str s)
{
	const char *end = s.n ? memchr(s.p, '\n', s.n) : NULL;
	return end ? str_of(s.p, (size_t)(end - s.p) + 1) : s;
}

bool deb_take_field(struct str *s, struct deb_field *ret)
{
	while (s->n > 0) {
		struct str line = line_of(*s), rest = str_skip(*s, line.n);
		ptrdiff_t colon = str_find(line, ':');
		size_t n = line.n;
		while (rest.n > 0 && (rest.p[0] == ' ' || rest.p[0] == '\t')) {
			struct str more = line_of(rest);
			n += more.n;
			rest = str_skip(rest, more.n);
		}
		struct str lines = str_head(*s, n);
		*s = rest;
		if (colon <= 0 || line.p[0] == ' ' || line.p[0] == '\t')
			continue;
		ret->name = str_head(lines, (size_t)colon);
		ret->value = str_trim(str_skip(lines, (size_t)colon + 1));
		ret->lines = lines;
		return true;
	}
	return false;
}

void deb_fields(struct str stanza, const char *const *names, struct str *ret, size_t n)
{
	struct deb_field f;
	for (size_t i = 0; i < n; i++)
		ret[i] = STR_NONE;
	while (deb_take_field(&stanza, &f))
		for (size_t i = 0; i < n; i++)
			if (!ret[i].p && deb_name_eq(f.name, str_c(names[i])))
				ret[i] = f.value;
}

struct str deb_value(struct str stanza, const char *name)
{
	struct str value;
	deb_fields(stanza, &name, &value, 1);
	return value;
}

/* -- dates ---------------------------------------------------------------------------------------------------------- */

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char days[] = "SunMonTueWedThuFriSat";

/* Up to `end`, or a word where there is none. */
static bool take_number(struct str *s, char end, int *ret)
{
	uint64_t v;
	struct str part;
	if (end ? !str_take_until(s, end, &part) : !str_take_word(s, &part))
		return false;
	if (!str_to_u64(part, &v) || v > 9999)
		return false;
	*ret = (int)v;
	return true;
}

bool deb_date_parse(struct str s, int64_t *ret)
{
	struct clock_date d;
	struct str day, month, zone;
	if (!str_take_word(&s, &day) || !str_ends(day, STR(",")) || !take_number(&s, 0, &d.day) ||
	    !str_take_word(&s, &month) || month.n != 3 || !take_number(&s, 0, &d.year))
		return false;
	ptrdiff_t m = str_search(str_c(months), month);
	s = str_trim(s);
	if (m < 0 || m % 3 || !take_number(&s, ':', &d.hour) || !take_number(&s, ':', &d.minute) ||
	    !take_number(&s, 0, &d.second) || !str_take_word(&s, &zone))
		return false;
	if (!str_eq_c(zone, "UTC") && !str_eq_c(zone, "GMT") && !str_eq_c(zone, "Z") && !str_eq_c(zone, "+0000"))
		return false;
	d.month = (int)(m / 3) + 1;
	return d.year >= 1970 && clock_of_date(&d, ret);
}

void deb_date_put(struct buf *b, int64_t wall_ms)
{
	time_t s = (time_t)(wall_ms / 1000);
	struct tm t = {0};
	gmtime_r(&s, &t);
	buf_printf(b, "%.3s, %02d %.3s %04d %02d:%02d:%02d UTC", days + 3 * (t.tm_wday % 7), t.tm_mday,
		   months + 3 * (t.tm_mon % 12), t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
}
