// SPDX-License-Identifier: Apache-2.0
/* words [FILE...]: a line for each file, columns separated by tabs; standard input without one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <words.h>

static int show(FILE *f, const char *name)
{
	struct words_count c;
	if (words_count(f, &c) < 0) {
		fprintf(stderr, "words: cannot read '%s'\n", name);
		return -1;
	}
	printf("lines %lu\twords %lu\tbytes %lu", c.lines, c.words, c.bytes);
	if (c.distinct)
		printf("\tdistinct %lu", c.distinct);
	printf("\t%s\n", name);
	return 0;
}

int main(int argc, char **argv)
{
	int rc = 0;
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("words, with libwords %s\n", words_version()) < 0;
	if (argc < 2)
		return show(stdin, "-") < 0;
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "r");
		if (!f)
			fprintf(stderr, "words: cannot open '%s': %s\n", argv[i], strerror(errno));
		if (!f || show(f, argv[i]) < 0)
			rc = 1;
		if (f)
			fclose(f);
	}
	return rc;
}
