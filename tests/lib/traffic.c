// SPDX-License-Identifier: Apache-2.0
/*
 * traffic: the drivers that move traffic (src/pair/traffic.h) from the command line, for tests.
 *
 *	traffic FILE SELF plan  VERB MEMBER             prints the steps, one a line
 *	traffic FILE SELF VERB  MEMBER DEADLINE_MS      drain, ready, active; says each step on standard error
 *	traffic FILE SELF state MEMBER DEADLINE_MS      prints its state
 *	traffic FILE SELF step  KIND DRIVER MEMBER DEADLINE_MS
 *
 * FILE holds `traffic:`. A step for another member N is carried out by the program TRAFFIC_PEER, which is given the words from "step"
 * on: the link of a pair in small. Exit codes: 0; 1 with a message; 5 where something is left half done.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/proc.h"
#include "pair/traffic.h"

static struct arena arena;
static const char *const verbs[] = {"drain", "ready", "active"};

static bool quiet;

static void on_event(void *ctx, const struct traffic_step *s, bool undo)
{
	(void)ctx;
	if (!quiet)
		fprintf(stderr, "%s%.*s\n", undo ? "undo: " : "", STR_ARG(s->text));
}

static int on_member(void *ctx, const struct traffic_step *s, int64_t deadline_ms, struct err *e)
{
	const char *program = ctx;
	char word[4][24];
	auto_buf said = BUF_INIT(4096);
	int64_t left = deadline_ms - clock_system.mono_ms(&clock_system);
	snprintf(word[0], sizeof(word[0]), "%d", (int)s->kind);
	snprintf(word[1], sizeof(word[1]), "%u", s->driver);
	snprintf(word[2], sizeof(word[2]), "%u", s->member);
	snprintf(word[3], sizeof(word[3]), "%lld", (long long)left);
	const char *argv[] = {program, "step", word[0], word[1], word[2], word[3], NULL};
	struct proc_opts o = {.argv = argv, .errout = &said, .deadline_ms = left + 2000};
	int status = proc_run(&o, e);
	return status > 0 ? err_new(e, ERR_FAILED, "member %u: %.*s", s->on, STR_ARG(str_trim(buf_str(&said))))
			  : status;
}

static int to_verb(const char *word)
{
	for (int i = 0; i < TRAFFIC_VERBS; i++)
		if (strcmp(verbs[i], word) == 0)
			return i;
	return -1;
}

static uint32_t number(const char *text)
{
	uint64_t v;
	return str_to_u64(str_c(text), &v) && v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
}

static int run(struct traffic_opts *o, int argc, char **argv, struct err *e)
{
	const char *what = argv[0];
	int64_t until = clock_system.mono_ms(&clock_system) + (int64_t)number(argv[argc - 1]);
	struct traffic_step one, *step;
	enum traffic_step_kind ignored;
	enum traffic_state state;
	size_t n;
	if (strcmp(what, "plan") == 0 && argc == 3 && to_verb(argv[1]) >= 0) {
		traffic_plan(&arena, o->config, (enum traffic_verb)to_verb(argv[1]), number(argv[2]), &step, &n);
		for (size_t i = 0; i < n; i++)
			printf("%.*s\n", STR_ARG(step[i].text));
		return 0;
	}
	if (strcmp(what, "step") == 0 && argc == 5) {
		if (!traffic_step_at(&arena, o->config, (enum traffic_step_kind)number(argv[1]), number(argv[2]),
				     number(argv[3]), &one))
			return err_new(e, ERR_INPUT, "the configuration has no such step");
		return traffic_do(o, &one, until, &ignored, e);
	}
	if (strcmp(what, "state") == 0 && argc == 3) {
		if (traffic_state(o, number(argv[1]), until, &state, e) < 0)
			return -1;
		puts(traffic_state_name(state));
		return 0;
	}
	if (to_verb(what) < 0 || argc != 3)
		return err_new(e, ERR_USAGE, "there is no '%s' with %d words", what, argc - 1);
	return traffic_run(o, (enum traffic_verb)to_verb(what), number(argv[1]), until, e);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct traffic_config c;
	auto_buf text = BUF_INIT(1 << 20);
	if (argc < 5) {
		fprintf(stderr, "usage: traffic FILE SELF WORDS...\n");
		return 2;
	}
	quiet = getenv("TRAFFIC_QUIET") != NULL;
	struct traffic_opts o = {.config = &c, .self = number(argv[2]), .event = on_event};
	o.ctx = getenv("TRAFFIC_PEER");
	o.on_member = o.ctx ? on_member : NULL;
	const struct yaml *y = NULL;
	if (fs_read(AT_FDCWD, argv[1], &text, &e) == 0)
		y = yaml_parse(&arena, buf_str(&text), argv[1], &e);
	int r = y ? traffic_read(&arena, yaml_get(y, "traffic"), &c, &e) : -1;
	if (r == 0)
		r = run(&o, argc - 3, argv + 3, &e);
	if (r < 0)
		fprintf(stderr, "%s\n", e.msg);
	arena_release(&arena);
	return r == 0 ? 0 : e.code == ERR_UNCERTAIN ? 5 : e.code == ERR_USAGE ? 2 : 1;
}
