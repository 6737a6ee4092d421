// SPDX-License-Identifier: Apache-2.0
/* argv → command table. */
#include "base/proc.h"
#include "cmd/cmd.h"

int main(int argc, char **argv)
{
	proc_signals_ignore();
	return cmd_main(argc, argv);
}
