// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * pretty: text in boxes that break where a line is full, by the rules of OCaml's Format with its formatters' own geometry
 * (78 columns, no box begun past column 68), because what OBuilder prints is made by it and ours is to be equal.
 *
 *	struct pretty p; pretty_init(&p, &out);
 *	pretty_open(&p, PRETTY_V, 2); pretty_text(&p, STR("a")); pretty_break(&p, 1); pretty_close(&p);
 *	pretty_finish(&p);                       writes what is left and frees
 *
 * A break is `width` spaces, or a new line at the box's own column: in PRETTY_V always, in PRETTY_HV where the whole box does
 * not fit the line, in PRETTY_H never. Text is measured in bytes, as Format does. An algorithm in the manner of Oppen's
 * "Prettyprinting" (1980): what is read waits until the size of its box is known or is more than the line has left.
 */
#include "base/buf.h"
#include "base/vec.h"

enum pretty_box { PRETTY_H, PRETTY_V, PRETTY_HV, PRETTY_PLAIN, PRETTY_WHOLE };
struct pretty_token;
struct pretty_scan;
struct pretty_level;
struct pretty {
	struct buf *out, texts;
	VEC(struct pretty_token) queue; /* [head, n) wait; the first was token number `gone` of all */
	size_t head, gone;
	VEC(struct pretty_scan) scan;	/* breaks and boxes whose size is not known yet */
	VEC(struct pretty_level) level; /* open boxes of what is written */
	int64_t left_total, right_total, space_left;
};
void pretty_init(struct pretty *p, struct buf *out);
void pretty_open(struct pretty *p, enum pretty_box box, int indent);
void pretty_close(struct pretty *p);
void pretty_text(struct pretty *p, struct str s);
void pretty_break(struct pretty *p, int width);
void pretty_newline(struct pretty *p);
void pretty_finish(struct pretty *p);
