// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * mail (private to mirror): errors as mail to who keeps the mirror, by the machine's own sendmail(8) interface or by SMTP
 * (RFC 5321, by libcurl; no log-in: a relay of the site). At most `perHour` mails in an hour: the first goes out at once, what comes
 * meanwhile is put together in the next. A mail that cannot be sent is kept and tried again with the next.
 *
 *	mailer_new(config, &m, e)     *ret NULL: nothing is to be mailed
 *	mailer_tell(m, "a line")      from any thread; a thread of the mailer's sends
 *	mailer_free(m)                what waits is sent first, for 30 s at most
 */
#include "mirror/mirror.h"

struct mailer;
int mailer_new(const struct mirror_config *config, struct mailer **ret, struct err *e);
void mailer_tell(struct mailer *m, const char *line);
void mailer_free(struct mailer *m);
