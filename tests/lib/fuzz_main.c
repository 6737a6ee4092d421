// SPDX-License-Identifier: Apache-2.0
/* Runs a fuzzer over the files and folders named on the command line; TAP. For builds without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 16 << 20 };

static unsigned runs;

static void run_file(const char *path)
{
	FILE *f = fopen(path, "rbe");
	uint8_t *data = malloc(INPUT_MAX);
	if (!f || !data) {
		perror(path);
		exit(1);
	}
	size_t n = fread(data, 1, INPUT_MAX, f);
	fclose(f);
	/* an exact copy, so that a read past the end meets the sanitizer's red zone */
	uint8_t *exact = malloc(n ? n : 1);
	for (size_t i = 0; i < n; i++)
		exact[i] = data[i];
	free(data);
	printf("# %s\n", path);
	fflush(stdout);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	printf("ok %u %s\n", ++runs, path);
}

static void run_path(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0) {
		perror(path);
		exit(1);
	}
	if (!S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	struct dirent **names;
	int n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char *child;
		if (names[i]->d_name[0] != '.' && asprintf(&child, "%s/%s", path, names[i]->d_name) > 0) {
			run_path(child);
			free(child);
		}
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	printf("1..%u\n", runs);
	if (runs == 0)
		fprintf(stderr, "empty corpus: a fuzzer needs at least one input\n");
	return runs == 0;
}
