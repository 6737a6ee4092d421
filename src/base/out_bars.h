// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * out_bars: how out.c meets the bars; for these two files only.
 */
#include "base/out.h"

/* Takes the bars off the terminal and keeps them off, so that a line may be written, until out_bars_resume; the next event
 * draws them again. b may be NULL. */
void out_bars_pause(struct out_bars *b);
void out_bars_resume(struct out_bars *b);
