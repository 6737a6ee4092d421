// SPDX-License-Identifier: Apache-2.0
/*
 * Each token waits in the queue with its size: of a box all that is in it, of a break what follows it to the next break of its box. A
 * size is known when that ends; while it is not, it holds minus the sum of all lengths before it, so that adding the sum at the end
 * makes the size. The first token of the queue goes out as soon as its size is known, or is seen to be more than the line
 * has left. left_total and right_total are the sums of the lengths that went out and that came in.
 */
#include "build/pretty.h"

enum { MARGIN = 78, MAX_INDENT = 68, ENDLESS = 1000000010 };

enum kind { TEXT, OPEN, CLOSE, NEWLINE, BREAK };
struct pretty_token {
	enum kind kind;
	enum pretty_box box;
	int width; /* OPEN: indentation; BREAK: spaces */
	int64_t size;
	int64_t length;
	size_t text; /* offset in pretty.texts */
};
struct pretty_scan {
	int64_t left_total;
	size_t number; /* of the token, of all */
	enum kind kind;
};
struct pretty_level {
	enum pretty_box box;
	int64_t width; /* of the line from the box's column on */
};

/* -- out ----------------------------------------------------------------------------------------------------------- */

static void put_spaces(struct pretty *p, int64_t n)
{
	while (n-- > 0)
		buf_put_char(p->out, ' ');
}

static void new_line(struct pretty *p, int64_t width)
{
	int64_t indent = MARGIN - width;
	if (indent > MAX_INDENT)
		indent = MAX_INDENT;
	p->space_left = MARGIN - indent;
	buf_put_char(p->out, '\n');
	put_spaces(p, indent);
}

/* A box that would begin too far right begins on a line of its own, where the box around it breaks at all. */
static void reject_left(struct pretty *p)
{
	if (!p->level.n)
		return;
	const struct pretty_level *l = vec_last(&p->level);
	if (l->width > p->space_left && l->box != PRETTY_H && l->box != PRETTY_WHOLE)
		new_line(p, l->width);
}

static void out_open(struct pretty *p, const struct pretty_token *t, int64_t size)
{
	if (MARGIN - p->space_left > MAX_INDENT)
		reject_left(p);
	enum pretty_box box = t->box == PRETTY_V || size > p->space_left ? t->box : PRETTY_WHOLE;
	*vec_add(&p->level) = (struct pretty_level){box, p->space_left - t->width};
}

static bool breaks(const struct pretty *p, const struct pretty_level *l, int64_t size)
{
	switch (l->box) {
	case PRETTY_V:
	case PRETTY_HV:
		return true;
	case PRETTY_PLAIN:
		return size > p->space_left;
	case PRETTY_H:
	case PRETTY_WHOLE:
		break;
	}
	return false;
}

static void out_break(struct pretty *p, const struct pretty_token *t, int64_t size)
{
	if (!p->level.n)
		return;
	const struct pretty_level *l = vec_last(&p->level);
	if (breaks(p, l, size)) {
		new_line(p, l->width);
		return;
	}
	p->space_left -= t->width;
	put_spaces(p, t->width);
}

static void out(struct pretty *p, const struct pretty_token *t, int64_t size)
{
	switch (t->kind) {
	case TEXT:
		p->space_left -= t->length;
		buf_put(p->out, p->texts.p + t->text, (size_t)t->length);
		break;
	case OPEN:
		out_open(p, t, size);
		break;
	case CLOSE:
		p->level.n -= p->level.n > 0;
		break;
	case NEWLINE:
		new_line(p, p->level.n ? vec_last(&p->level)->width : MARGIN);
		break;
	case BREAK:
		out_break(p, t, size);
		break;
	}
}

/* -- in ------------------------------------------------------------------------------------------------------------ */

static void advance(struct pretty *p)
{
	while (p->head < p->queue.n) {
		struct pretty_token t = p->queue.v[p->head];
		if (t.size < 0 && p->right_total - p->left_total < p->space_left)
			return;
		p->head++;
		out(p, &t, t.size < 0 ? ENDLESS : t.size);
		p->left_total += t.length;
	}
	p->gone += p->queue.n;
	p->head = p->queue.n = 0;
	buf_clear(&p->texts);
}

static void enqueue(struct pretty *p, const struct pretty_token *t)
{
	p->right_total += t->length;
	vec_push(&p->queue, *t);
}

/* What ends here: a break (or a box) that waits as the last one has its size now. */
static void set_size(struct pretty *p, enum kind kind)
{
	if (!p->scan.n)
		return;
	const struct pretty_scan *s = vec_last(&p->scan);
	if (s->left_total < p->left_total) { /* all of them went out already */
		p->scan.n = 0;
		return;
	}
	if (s->kind != kind)
		return;
	if (s->number >= p->gone + p->head) /* else it just went out */
		p->queue.v[s->number - p->gone].size += p->right_total;
	p->scan.n--;
}

static void wait_for_size(struct pretty *p, const struct pretty_token *t)
{
	enqueue(p, t);
	if (t->kind == BREAK)
		set_size(p, BREAK);
	*vec_add(&p->scan) = (struct pretty_scan){p->right_total, p->gone + p->queue.n - 1, t->kind};
}

void pretty_open(struct pretty *p, enum pretty_box box, int indent)
{
	wait_for_size(p, &(struct pretty_token){.kind = OPEN, .box = box, .width = indent, .size = -p->right_total});
}

void pretty_close(struct pretty *p)
{
	enqueue(p, &(struct pretty_token){.kind = CLOSE});
	set_size(p, BREAK);
	set_size(p, OPEN);
}

void pretty_break(struct pretty *p, int width)
{
	wait_for_size(p,
		      &(struct pretty_token){.kind = BREAK, .width = width, .size = -p->right_total, .length = width});
}

void pretty_text(struct pretty *p, struct str s)
{
	struct pretty_token t = {.kind = TEXT, .size = (int64_t)s.n, .length = (int64_t)s.n, .text = p->texts.n};
	buf_put_str(&p->texts, s);
	enqueue(p, &t);
	advance(p);
}

void pretty_newline(struct pretty *p)
{
	enqueue(p, &(struct pretty_token){.kind = NEWLINE});
	advance(p);
}

void pretty_init(struct pretty *p, struct buf *out_buf)
{
	*p = (struct pretty){
		.out = out_buf, .texts = BUF_INIT(BUF_MAX), .left_total = 1, .right_total = 1, .space_left = MARGIN};
	enqueue(p, &(struct pretty_token){.kind = OPEN, .box = PRETTY_PLAIN, .size = -1});
	*vec_add(&p->scan) = (struct pretty_scan){1, 0, OPEN};
}

void pretty_finish(struct pretty *p)
{
	p->right_total = ENDLESS;
	advance(p);
	buf_release(&p->texts);
	vec_release(&p->queue);
	vec_release(&p->scan);
	vec_release(&p->level);
}
