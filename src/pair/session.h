// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * session (private to pair): the far end of the link. One member that asks, until the connection ends.
 *
 *	link_accept(…); session_run(l, &opts, e)
 *
 * Every question is answered, in its order: by what was asked for, or by a failure and its code. While one is worked on, events are told
 * as they happen. Where the one who asked is gone meanwhile, the step that goes on is still brought to its end; then the environment is
 * released, and whoever comes next finds a state at rest or settles it.
 *
 * What is asked is checked as if a stranger asked it; nothing but a wrong length or no JSON ends the connection.
 */
#include "pair/link.h"
#include "pair/member.h"

/* 0: the one who asked ended it properly; ERR_NETWORK: it is gone. o->local.store may be NULL: it is opened when it is needed. Histories
 * say that the other member asked, unless o->local.env_opts.who says something else. */
int session_run(struct link *l, const struct pair_opts *o, struct err *e);
/* The same for another member than this host: for tests. o->local.state may be NULL, too. */
int session_serve(struct link *l, struct member *m, const struct pair_opts *o, struct err *e);
