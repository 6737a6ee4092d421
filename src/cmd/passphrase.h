// SPDX-License-Identifier: Apache-2.0
#pragma once
/* passphrase (private to cmd): of private keys: from a file, the environment, or the person at the terminal, in this order. */
#include "cmd/cmd.h"
#include "tuf/tuf.h"

struct cmd_passphrase {
	const char *file;	   /* --passphrase-file; its first line */
	bool twice;		   /* it is new: at a terminal it is asked for once more */
	struct tuf_passphrase tuf; /* for a keeper */
};
/* SLIPWAY_TUF_PASSPHRASE */
void cmd_passphrase_init(struct cmd_passphrase *p, const char *file);
int cmd_passphrase_ask(struct cmd_passphrase *p, const char *what, struct buf *ret, struct err *e);
