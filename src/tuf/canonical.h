// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * canonical: OLPC canonical JSON, over which TUF signs: no white space, members in order of their keys, strings escaped at '"' and '\' alone,
 * integers only. ERR_INPUT for what has no such form: fractions, a key twice in one object.
 */
#include "base/buf.h"
#include "base/json.h"

int canonical_put(struct buf *b, const struct json *j, struct err *e);
