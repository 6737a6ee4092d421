// SPDX-License-Identifier: Apache-2.0
#pragma once
/* opam_system: what programs of distributions print, read. Private to build/; the public half is in build/build.h. */
#include "build/build.h"

enum depexts_answer { DEPEXTS_INSTALLED, DEPEXTS_OFFERED };
/* Takes what the family's program printed; lines that mean nothing are passed over. */
void depexts_take(struct build_depexts *d, enum depexts_answer which, struct str text);
