// SPDX-License-Identifier: Apache-2.0
/* argv → command table. */
#include <signal.h>
#include <stdio.h>

#include "cmd/cmd.h"

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN); /* style: allow process: before any thread, once */
	return cmd_main(argc, argv);
}
