// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * out: the terminal side of a command: text, tables and progress. For src/cmd only: library code never prints.
 *
 *	struct out o;
 *	out_init(&o);                                   standard streams, environment
 *	o.json = ...; o.quiet = ...; o.verbose = ...;   from the command's options
 *	if (fd_given && out_set_progress_fd(&o, fd, e) < 0) ...
 *	opts.progress = out_progress_begin(&o);         bars from here on ...
 *	...
 *	out_progress_end(&o);                           ... to here
 *	struct out_table t = {.titles = titles, .columns = 2, .right = 1 << 1};
 *	out_table_cell(&t, "%s", name); out_table_cell(&t, "%s", size); ...
 *	out_table_print(&o, &t);
 *	return out_finish(&o, e);                       writes what is left; fails where the reader went away
 *
 * Standard output carries what was asked for, and nothing else; standard error carries remarks, warnings and bars.
 * Colour goes to terminals only, and not where NO_COLOR is set to anything or TERM is "dumb".
 * Control characters in what is shown (names come from outside) are shown as '?', so that they cannot steer a terminal.
 *
 * Progress. On a terminal: at most OUT_BAR_LINES live lines, drawn at most ten times a second, each time with one write;
 * they are gone when out_progress_end returns. No mode of the terminal is changed, so that there is nothing to restore
 * after a signal, whichever it is; SIGINT, SIGTERM and SIGHUP, where their action is the default one, also take the bars
 * away before the process ends, and say the closing words. Elsewhere nothing is shown, but one line for each phase at the end where `verbose`.
 * Notes (a retry, a warning) are printed as lines in every case but `quiet`. With a progress fd, each event is one line
 * of JSON there, in one write, and there are no bars:
 *
 *	{"event":"update","phase":"download","id":"x.conda","done":512,"total":2048}      "text" where there is one
 *
 * Whoever reads that fd may go away: the events then stop, the work goes on.
 *
 * A table is aligned by columns of the terminal (wide and combining characters count as they show). It is made to fit a
 * terminal by shortening the widest of its columns, but those that are to be whole: where others were shortened in vain, they
 * are left out, the last ones first, and what is too wide even then is wrapped. Into a file or pipe a table is never cut.
 */
#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/progress.h"
#include "base/vec.h"

enum { OUT_BAR_LINES = 8 };

struct out_bars;
struct out {
	FILE *out, *err;
	bool out_tty, err_tty;
	bool out_colour, err_colour;
	bool json;		   /* the answer is JSON: no remarks */
	bool quiet;		   /* no remarks, notes and bars */
	bool verbose;		   /* a line for each finished phase */
	int progress_fd;	   /* -1: none */
	int failed;		   /* errno of the first write to standard output that failed */
	const struct clock *clock; /* clock_system; tests put a fake one here */
	struct progress progress;
	struct out_bars *bars; /* while progress is shown */
};

void out_init(struct out *o);
/* The same on streams of the caller's; `environment` is getenv or a stand-in. */
void out_init_on(struct out *o, FILE *out, FILE *err, char *(*environment)(const char *name));
/* ERR_USAGE where fd is not an open descriptor. */
int out_set_progress_fd(struct out *o, int fd, struct err *e);
/* An event of the command's own, one JSON object, as a line there; nothing without a progress fd. */
void out_send(struct out *o, struct buf *json);
/* Ends progress and writes out standard output. ERR_FAILED where it could not be written (a closed pipe, a full disk). */
int out_finish(struct out *o, struct err *e);

/* Writes out what is buffered for standard output; what fails is kept for out_finish. */
void out_flush(struct out *o);
/* To standard output, as it is: text that is safe already (JSON, an exported file). */
void out_put(struct out *o, struct str s);
/* A line on standard output, controls shown as '?'. */
void out_line(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same to standard error, where it takes the place of the bars. */
void out_put_remark(struct out *o, struct str s);
/* A remark on standard error; silent with quiet or json. */
void out_say(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* In place, what programs and packages print: controls but line ends, tabs and colours become '?'. Bytes that are no UTF-8 stay: paths have them. */
void out_tame(struct buf *b);
/* "slipway: ..." on standard error, always. */
void out_warn(struct out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

enum out_style { OUT_PLAIN, OUT_BOLD, OUT_DIM, OUT_RED, OUT_GREEN, OUT_YELLOW };
/* The sequence that begins a style; "" where there is no colour. OUT_PLAIN ends every style. */
const char *out_style(bool colour, enum out_style style);

/* Columns of a terminal that s takes; bytes that are not UTF-8 count (and show) as one each. */
size_t out_width(struct str s);
/* Appends s in at most `width` columns, controls as '?'; what is cut ends with "…". */
void out_put_cut(struct buf *b, struct str s, size_t width);
void out_put_tail(struct buf *b, struct str s, size_t width); /* "…end" */
/* The width of the terminal behind f, 80 where it does not tell. */
size_t out_columns(FILE *f);

void out_put_size(struct buf *b, uint64_t bytes); /* "12.3 MB", powers of 1000 */
void out_put_duration(struct buf *b, int64_t ms); /* "0.4 s", "1:05", "2:01:05" */

enum { OUT_TABLE_COLUMNS = 32 };
struct out_table {
	const char *const *titles; /* `columns` of them; NULL: none shown */
	size_t columns;
	unsigned right; /* bit i: column i is aligned to the right */
	unsigned whole; /* bit i: column i is what one needs; 0: all are alike */
	unsigned tail;	/* bit i: of column i the end tells most: it is shortened at its beginning */
	VEC(char *) cells;
};
void out_table_cell(struct out_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints the rows and releases the cells. */
void out_table_print(struct out *o, struct out_table *t);
void out_table_release(struct out_table *t);

/* Begins to show progress; the result is for the options of engines. Beginning twice is fine. */
struct progress *out_progress_begin(struct out *o);
void out_progress_end(struct out *o);

/* What SIGINT, SIGTERM and SIGHUP, where their action is the default one, leave on standard error before they end the process:
 * whole lines, which stay where they are until other ones (or NULL, none) are given. */
void out_closing_words(struct out *o, const char *words);
