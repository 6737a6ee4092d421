// SPDX-License-Identifier: Apache-2.0
/*
 * The renderer of progress.
 *
 * State: phases in the order of their beginning, each with sums over its items; items that have begun and not ended.
 * A drawing is: cursor up over the last one, each line erased to its right end, everything below erased; one write. The
 * cursor rests below the last line, so that whatever else is written does not tear a line.
 */
#include "base/out_bars.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/map.h"

enum { REDRAW_MS = 100, PHASES_MAX = 16, SMOOTH_MS = 2000 };
/* columns */
enum { NARROW = 40, BAR_WIDTH = 20, PHASE_WIDTH = 10, ITEM_WIDTH = 32, FIGURES_WIDTH = 22 };

struct phase {
	char *name;
	bool files; /* counts files, not bytes */
	uint64_t begun, ended, failed;
	int64_t done, total; /* sums over all items, ended ones included */
	int64_t from_ms, last_ms;
	int64_t rate_ms, rate_done; /* when the rate was last measured, and `done` then */
	double rate;		    /* a second; smoothed */
};

struct item {
	char *key; /* phase, NUL, id */
	size_t phase;
	uint64_t done, total;
};

struct out_bars {
	struct out *o;
	pthread_mutex_t lock; /* events come from worker threads, lines from the command's own */
	struct phase phase[PHASES_MAX];
	size_t phases;
	VEC(struct item *) items; /* in the order of their beginning */
	struct map by_key;	  /* → struct item * */
	unsigned lines;		  /* on the terminal now */
	bool drawn_once;
	int64_t drawn_ms;
};

/* -- signals ------------------------------------------------------------------------------------------------------- */

/* What a handler erases and says: it only loads these, and writes. */
static atomic_int signal_fd = -1;
static atomic_uint signal_lines;
static atomic_int closing_fd = -1;
static _Atomic(const char *) closing;
static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };
enum wish { FOR_BARS = 1, FOR_CLOSING_WORDS = 2 };
static unsigned wished; /* for what the handlers are there */
static bool installed[SIGNALS];

static void on_signal(int sig)
{
	int fd = atomic_load(&signal_fd), words_fd = atomic_load(&closing_fd);
	unsigned lines = atomic_load(&signal_lines);
	const char *words = atomic_load(&closing);
	bool good = true;
	while (good && fd >= 0 && lines-- > 0)
		good = write(fd, "\033[A\033[2K", 7) == 7;
	if (good && fd >= 0)
		good = write(fd, "\r", 1) == 1;
	if (good && words && words_fd >= 0)
		good = write(words_fd, words, strlen(words)) > 0;
	raise(sig); /* SA_RESETHAND: the default action, when this handler returns */
}

static void watch_signals(enum wish w)
{
	if (!wished)
		for (size_t i = 0; i < SIGNALS; i++) {
			struct sigaction old, act = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
			installed[i] = sigaction(signals[i], NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) &&
				       old.sa_handler == SIG_DFL && sigaction(signals[i], &act, NULL) == 0;
		}
	wished |= w;
}

static void unwatch_signals(enum wish w)
{
	bool was_wished = wished != 0;
	wished &= ~(unsigned)w;
	for (size_t i = 0; i < SIGNALS && was_wished && !wished; i++) {
		struct sigaction old;
		if (installed[i] && sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == on_signal)
			signal(signals[i], SIG_DFL);
		installed[i] = false;
	}
}

static void erase_on_signals(int fd)
{
	atomic_store(&signal_lines, 0);
	atomic_store(&signal_fd, fd);
	watch_signals(FOR_BARS);
}

static void no_more_to_erase(void)
{
	unwatch_signals(FOR_BARS);
	atomic_store(&signal_fd, -1);
}

void out_closing_words(struct out *o, const char *words)
{
	if (!words)
		unwatch_signals(FOR_CLOSING_WORDS);
	atomic_store(&closing_fd, words ? fileno(o->err) : -1);
	atomic_store(&closing, words);
	if (words)
		watch_signals(FOR_CLOSING_WORDS);
}

/* -- writing ------------------------------------------------------------------------------------------------------- */

static bool write_whole(int fd, struct str s)
{
	while (s.n) {
		ssize_t n = write(fd, s.p, s.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		s = str_skip(s, (size_t)n);
	}
	return true;
}

/* A reader that went away must not end this process: SIGPIPE is held back for this one write. */
static bool write_without_sigpipe(int fd, struct str s)
{
	sigset_t pipe_set, before, pending;
	struct timespec now = {0};
	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	sigpending(&pending);
	bool was_pending = sigismember(&pending, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
	bool good = write_whole(fd, s);
	while (!good && errno == EPIPE && !was_pending && sigtimedwait(&pipe_set, NULL, &now) < 0 && errno == EINTR)
		;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return good;
}

void out_send(struct out *o, struct buf *json)
{
	buf_put_char(json, '\n');
	if (o->progress_fd >= 0 && !json->overflow && !write_without_sigpipe(o->progress_fd, buf_str(json)))
		o->progress_fd = -1;
}

static void send_json(struct out *o, const struct progress_event *ev)
{
	static const char *const kind[] = {
		[PROGRESS_BEGIN] = "begin",   [PROGRESS_UPDATE] = "update", [PROGRESS_DONE] = "done",
		[PROGRESS_FAILED] = "failed", [PROGRESS_NOTE] = "note",
	};
	auto_buf b = BUF_INIT(1 << 20);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_c(&w, "event", kind[ev->kind]);
	if (ev->phase)
		jw_kv_c(&w, "phase", ev->phase);
	if (ev->id)
		jw_kv_c(&w, "id", ev->id);
	jw_kv_int(&w, "done", (int64_t)(ev->done > INT64_MAX ? INT64_MAX : ev->done));
	jw_kv_int(&w, "total", (int64_t)(ev->total > INT64_MAX ? INT64_MAX : ev->total));
	if (ev->text)
		jw_kv_c(&w, "text", ev->text);
	jw_object_end(&w);
	out_send(o, &b);
}

/* -- lines --------------------------------------------------------------------------------------------------------- */

static void put_bar(struct buf *b, const struct out *o, int64_t done, int64_t total)
{
	int filled = total > 0 ? (int)((double)done / (double)total * BAR_WIDTH) : 0;
	buf_put_c(b, out_style(o->err_colour, OUT_GREEN));
	for (int i = 0; i < BAR_WIDTH; i++)
		buf_put_char(b, i < filled ? '=' : i == filled && total > 0 ? '>' : ' ');
	buf_put_c(b, out_style(o->err_colour, OUT_PLAIN));
}

/* "12.3 of 45.6 MB", or "12.3 MB" where the whole is not known. */
static void put_amount(struct buf *b, bool files, int64_t done, int64_t total)
{
	if (files) {
		buf_printf(b, "%lld", (long long)done);
		if (total > 0)
			buf_printf(b, " of %lld", (long long)total);
		buf_put_c(b, " files");
		return;
	}
	out_put_size(b, (uint64_t)done);
	if (total > 0) {
		buf_put_c(b, " of ");
		out_put_size(b, (uint64_t)total);
	}
}

static void measure(struct phase *p, int64_t now)
{
	int64_t dt = now - p->rate_ms;
	if (dt < REDRAW_MS)
		return;
	double rate = (double)(p->done - p->rate_done) * 1000 / (double)dt;
	double share = dt >= SMOOTH_MS ? 1 : (double)dt / SMOOTH_MS;
	p->rate = p->rate <= 0 ? rate : p->rate + (rate - p->rate) * share;
	p->rate_ms = now;
	p->rate_done = p->done;
}

/* What fits beside the bar: "3/12  4.0 MB of 8.0 MB  2.0 MB/s  2.0 s". */
static void put_figures(struct buf *b, const struct phase *p)
{
	buf_printf(b, "%llu/%llu  ", (unsigned long long)p->ended, (unsigned long long)p->begun);
	put_amount(b, p->files, p->done, p->total);
	if (p->files || p->rate < 1)
		return;
	buf_put_c(b, "  ");
	out_put_size(b, (uint64_t)p->rate);
	buf_put_c(b, "/s");
	double left_s = (double)(p->total - p->done) / p->rate;
	if (left_s > 0 && left_s < 360000) {
		buf_put_c(b, "  ");
		out_put_duration(b, (int64_t)(left_s * 1000));
	}
}

/* One line: a name in its column, a bar where there is room, figures; never wider than `columns`. */
static void put_line(struct buf *b, const struct out *o, struct str name, size_t name_columns, int64_t done,
		     int64_t total, struct str figures, size_t columns)
{
	if (columns < NARROW) {
		auto_buf all = BUF_INIT(1 << 16);
		buf_put_str(&all, name);
		buf_put_c(&all, "  ");
		buf_put_str(&all, figures);
		out_put_cut(b, buf_str(&all), columns);
		return;
	}
	if (name_columns > columns / 2)
		name_columns = columns / 2;
	size_t left = columns - name_columns - 1;
	out_put_cut(b, name, name_columns);
	for (size_t w = out_width(name); w < name_columns; w++)
		buf_put_char(b, ' ');
	buf_put_char(b, ' ');
	if (total > 0 && left >= BAR_WIDTH + 3 + FIGURES_WIDTH) {
		buf_put_char(b, '[');
		put_bar(b, o, done, total);
		buf_put_c(b, "] ");
		left -= BAR_WIDTH + 3;
	}
	out_put_cut(b, figures, left);
}

static void put_phase(struct buf *b, const struct out *o, struct phase *p, size_t columns, int64_t now)
{
	auto_buf figures = BUF_INIT(500);
	measure(p, now);
	put_figures(&figures, p);
	buf_put_c(b, out_style(o->err_colour, OUT_BOLD));
	put_line(b, o, str_c(p->name), PHASE_WIDTH, p->done, p->total, buf_str(&figures), columns);
	buf_put_c(b, out_style(o->err_colour, OUT_PLAIN));
}

static void put_item(struct buf *b, const struct out *o, const struct item *it, const struct phase *p, size_t columns)
{
	auto_buf figures = BUF_INIT(200), name = BUF_INIT(1 << 16);
	put_amount(&figures, p->files, (int64_t)it->done, (int64_t)it->total);
	buf_put_c(&name, "  ");
	buf_put_c(&name, it->key + strlen(p->name) + 1);
	put_line(b, o, buf_str(&name), ITEM_WIDTH, (int64_t)it->done, (int64_t)it->total, buf_str(&figures), columns);
}

/* -- drawing ------------------------------------------------------------------------------------------------------- */

static void put_up(struct buf *frame, unsigned lines)
{
	if (lines)
		buf_printf(frame, "\033[%uA", lines);
	buf_put_char(frame, '\r');
}

static void show(struct out_bars *b, struct buf *frame, unsigned lines)
{
	fflush(b->o->err);
	atomic_store(&signal_lines, 0); /* while the cursor is on its way, a handler leaves it where it is */
	write_whole(fileno(b->o->err), buf_str(frame));
	b->lines = lines;
	atomic_store(&signal_lines, lines);
}

static void draw(struct out_bars *b, int64_t now)
{
	auto_buf frame = BUF_INIT(1 << 16);
	size_t columns = out_columns(b->o->err) - 1; /* the last column stays free: some terminals wrap there */
	unsigned lines = 0;
	put_up(&frame, b->lines);
	for (size_t i = 0; i < b->phases && lines < OUT_BAR_LINES; i++) {
		if (b->phase[i].ended == b->phase[i].begun)
			continue;
		put_phase(&frame, b->o, &b->phase[i], columns, now);
		buf_put_c(&frame, "\033[K\n");
		lines++;
	}
	vec_foreach(it, &b->items) {
		if (lines == OUT_BAR_LINES)
			break;
		if (!(*it)->total || b->phase[(*it)->phase].begun == 1)
			continue; /* one item alone is its phase's line already */
		put_item(&frame, b->o, *it, &b->phase[(*it)->phase], columns);
		buf_put_c(&frame, "\033[K\n");
		lines++;
	}
	buf_put_c(&frame, "\033[J");
	show(b, &frame, lines);
	b->drawn_once = true;
	b->drawn_ms = now;
}

static void hide(struct out_bars *b)
{
	auto_buf frame = BUF_INIT(100);
	if (!b->lines)
		return;
	put_up(&frame, b->lines);
	buf_put_c(&frame, "\033[J");
	show(b, &frame, 0);
}

void out_bars_pause(struct out_bars *b)
{
	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	hide(b);
	b->drawn_once = false; /* the next event draws again at once */
}

void out_bars_resume(struct out_bars *b)
{
	if (b)
		pthread_mutex_unlock(&b->lock);
}

/* -- events -------------------------------------------------------------------------------------------------------- */

static size_t find_phase(struct out_bars *b, const char *name, int64_t now)
{
	for (size_t i = 0; i < b->phases; i++)
		if (strcmp(b->phase[i].name, name) == 0)
			return i;
	if (b->phases == PHASES_MAX)
		return PHASES_MAX - 1;
	b->phase[b->phases] = (struct phase){
		.name = xstrdup(name),
		.files = strcmp(name, "link") == 0,
		.from_ms = now,
		.last_ms = now,
		.rate_ms = now,
	};
	return b->phases++;
}

static struct item *find_item(struct out_bars *b, const struct progress_event *ev, size_t phase, bool make)
{
	auto_buf key = BUF_INIT(1 << 20);
	buf_put_c(&key, b->phase[phase].name);
	buf_put_char(&key, '\0');
	buf_put_c(&key, ev->id ? ev->id : "");
	const uint64_t *known = map_get(&b->by_key, buf_str(&key));
	if (known || !make)
		return known ? (struct item *)(uintptr_t)*known : NULL;
	struct item *it = xcalloc(1, sizeof(*it));
	size_t n = key.n;
	it->key = buf_steal(&key);
	it->phase = phase;
	*map_put(&b->by_key, str_of(it->key, n)) = (uintptr_t)it;
	vec_push(&b->items, it);
	b->phase[phase].begun++;
	return it;
}

static void set_amount(struct phase *p, struct item *it, uint64_t done, uint64_t total)
{
	if (done > INT64_MAX / 4 || total > INT64_MAX / 4)
		return;
	if (total < done && total)
		total = done;
	p->done += (int64_t)done - (int64_t)it->done;
	p->total += (int64_t)total - (int64_t)it->total;
	it->done = done;
	it->total = total;
}

static void end_item(struct out_bars *b, struct item *it, bool failed)
{
	struct phase *p = &b->phase[it->phase];
	p->ended++;
	p->failed += failed;
	if (failed)
		set_amount(p, it, 0, 0);
	else
		set_amount(p, it, it->total > it->done ? it->total : it->done,
			   it->total > it->done ? it->total : it->done);
	for (size_t i = 0; i < b->items.n; i++)
		if (b->items.v[i] == it) {
			memmove(&b->items.v[i], &b->items.v[i + 1], (b->items.n - i - 1) * sizeof(it));
			b->items.n--;
			break;
		}
	map_remove(&b->by_key, str_of(it->key, strlen(p->name) + 1 + strlen(it->key + strlen(p->name) + 1)));
	free(it->key);
	free(it);
}

static void note(struct out_bars *b, const struct progress_event *ev)
{
	auto_buf line = BUF_INIT(1 << 16);
	hide(b);
	out_put_cut(&line, str_c(ev->text ? ev->text : ""), 4000);
	fprintf(b->o->err, "slipway: %s\n", line.p);
	fflush(b->o->err);
}

static void account(struct out_bars *b, const struct progress_event *ev, int64_t now)
{
	size_t phase = find_phase(b, ev->phase ? ev->phase : "", now);
	bool ends = ev->kind == PROGRESS_DONE || ev->kind == PROGRESS_FAILED;
	struct item *it = find_item(b, ev, phase, true);
	b->phase[phase].last_ms = now;
	if (ev->kind == PROGRESS_BEGIN || ev->kind == PROGRESS_UPDATE || ev->done || ev->total)
		set_amount(&b->phase[phase], it, ev->done, ev->total ? ev->total : it->total);
	if (ev->kind == PROGRESS_BEGIN) /* what is there from an earlier try has not come now */
		b->phase[phase].rate_done += (int64_t)ev->done;
	if (ends)
		end_item(b, it, ev->kind == PROGRESS_FAILED);
}

static void on_event(struct progress *p, const struct progress_event *ev)
{
	struct out_bars *b = p->ctx;
	pthread_mutex_lock(&b->lock);
	struct out *o = b->o;
	int64_t now = o->clock->mono_ms(o->clock);
	if (o->progress_fd >= 0)
		send_json(o, ev);
	if (ev->kind == PROGRESS_NOTE) {
		if (!o->quiet)
			note(b, ev);
		b->drawn_once = false;
	} else {
		account(b, ev, now);
	}
	bool bars = o->err_tty && !o->quiet && o->progress_fd < 0;
	if (bars && (!b->drawn_once || now - b->drawn_ms >= REDRAW_MS))
		draw(b, now);
	pthread_mutex_unlock(&b->lock);
}

/* -- begin and end ------------------------------------------------------------------------------------------------- */

struct progress *out_progress_begin(struct out *o)
{
	if (o->bars)
		return &o->progress;
	o->bars = xcalloc(1, sizeof(*o->bars));
	o->bars->o = o;
	pthread_mutex_init(&o->bars->lock, NULL);
	o->progress = (struct progress){.event = on_event, .ctx = o->bars};
	if (o->err_tty)
		erase_on_signals(fileno(o->err));
	return &o->progress;
}

static void summarize(struct out *o, const struct phase *p)
{
	auto_buf b = BUF_INIT(500);
	out_put_cut(&b, str_c(p->name), 40);
	buf_put_c(&b, ": ");
	if (!p->files)
		buf_printf(&b, "%llu done, ", (unsigned long long)(p->ended - p->failed));
	put_amount(&b, p->files, p->done, 0);
	buf_put_c(&b, " in ");
	out_put_duration(&b, p->last_ms - p->from_ms);
	if (p->failed)
		buf_printf(&b, "; %llu failed", (unsigned long long)p->failed);
	fprintf(o->err, "%s\n", b.p);
}

void out_progress_end(struct out *o)
{
	struct out_bars *b = o->bars;
	if (!b)
		return;
	out_bars_pause(b);
	out_bars_resume(b);
	if (o->err_tty)
		no_more_to_erase();
	for (size_t i = 0; i < b->phases; i++) {
		if (o->verbose && !o->quiet)
			summarize(o, &b->phase[i]);
		free(b->phase[i].name);
	}
	fflush(o->err);
	vec_foreach(it, &b->items) {
		free((*it)->key);
		free(*it);
	}
	vec_release(&b->items);
	map_release(&b->by_key);
	pthread_mutex_destroy(&b->lock);
	free(b);
	o->bars = NULL;
	o->progress = (struct progress){0};
}
