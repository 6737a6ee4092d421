// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * upgrade: how an environment goes from one generation to another in service, and back.
 *
 * Today: the table of an operation's states (machine.h) and the auto-abort timer (timer.h), which the machine will be built on.
 */
