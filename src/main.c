// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "version.h"

static const char usage[] = "usage: slipway [--help] [--version] COMMAND [ARGUMENT...]\n";

enum { EXIT_USAGE = 2 };

int main(int argc, char **argv)
{
	if (argc < 2) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("slipway " SLIPWAY_VERSION);
		return 0;
	}
	fprintf(stderr, "slipway: unknown command '%s'; 'slipway --help' lists them\n", argv[1]);
	return EXIT_USAGE;
}
