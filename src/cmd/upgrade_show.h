// SPDX-License-Identifier: Apache-2.0
#pragma once
/* upgrade_show (private to cmd): what is told while an upgrade goes on, as lines of the terminal and as events of --progress-fd. */
#include "cmd/upgrade.h"

void upgrade_show(struct cmd_upgrade *u, const struct upgrade_event *v);
/* {"event":"stage","number":2,"text":"Restarting Standby","at":"…"}; nothing without --progress-fd. */
void upgrade_send(struct cmd_upgrade *u, const struct upgrade_event *v);
