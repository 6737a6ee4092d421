// SPDX-License-Identifier: Apache-2.0
/* cc -DWORDS_MINOR=0 gives version 1.0, -DWORDS_MINOR=1 version 1.1. */
#include "words.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

enum { WORD_MAX = 256 };

/* An open-addressing set of the words seen. */
struct set {
	char **slot;
	size_t cap, n;
};

#if WORDS_MINOR >= 1
static size_t hash(const char *s)
{
	size_t h = 5381;
	while (*s)
		h = h * 33 + (unsigned char)*s++;
	return h;
}

static char **set_find(struct set *s, const char *word)
{
	size_t i = hash(word) & (s->cap - 1);
	while (s->slot[i] && strcmp(s->slot[i], word) != 0)
		i = (i + 1) & (s->cap - 1);
	return &s->slot[i];
}

static int set_grow(struct set *s)
{
	struct set big = {calloc(s->cap ? s->cap * 2 : 1024, sizeof(char *)), s->cap ? s->cap * 2 : 1024, s->n};
	if (!big.slot)
		return -1;
	for (size_t i = 0; i < s->cap; i++)
		if (s->slot[i])
			*set_find(&big, s->slot[i]) = s->slot[i];
	free(s->slot);
	*s = big;
	return 0;
}

static int set_add(struct set *s, const char *word)
{
	if (s->n * 2 >= s->cap && set_grow(s) < 0)
		return -1;
	char **slot = set_find(s, word);
	if (*slot)
		return 0;
	*slot = strdup(word);
	s->n += *slot != NULL;
	return *slot ? 0 : -1;
}
#else
static int set_add(struct set *s, const char *word)
{
	(void)s;
	(void)word;
	return 0;
}
#endif

static void set_free(struct set *s)
{
	for (size_t i = 0; i < s->cap; i++)
		free(s->slot[i]);
	free(s->slot);
}

static int count(FILE *f, struct words_count *c, struct set *seen)
{
	char word[WORD_MAX];
	size_t n = 0;
	for (int ch = 0; ch != EOF;) {
		ch = getc(f);
		c->bytes += ch != EOF;
		c->lines += ch == '\n';
		if (ch != EOF && (isalnum(ch) || ch >= 0x80)) {
			if (n < WORD_MAX - 1)
				word[n++] = (char)tolower(ch);
			continue;
		}
		word[n] = '\0';
		c->words += n > 0;
		if (n > 0 && set_add(seen, word) < 0)
			return -1;
		n = 0;
	}
	c->distinct = seen->n;
	return ferror(f) ? -1 : 0;
}

int words_count(FILE *f, struct words_count *ret)
{
	struct words_count c = {0};
	struct set seen = {0};
	int rc = count(f, &c, &seen);
	set_free(&seen);
	if (rc == 0)
		*ret = c;
	return rc;
}

const char *words_version(void)
{
	return "1." TEXT(WORDS_MINOR);
}
