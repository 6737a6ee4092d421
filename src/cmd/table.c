// SPDX-License-Identifier: Apache-2.0
/* The commands, and the way from argv to one of them. */
#include <stdio.h>
#include <string.h>

#include "base/url.h"
#include "cmd/cmd.h"
#include "cmd/help.h"
#include "version.h"

enum { MAX_COMMAND_LINE = 16384 };

static const struct cmd table[] = {
	{"solve", NULL, cmd_solve, "find the packages that answer specs"},
	{"search", NULL, cmd_search, "find packages in channels"},
	{"why", NULL, cmd_why, "tell what needs a package of an environment"},
	{"env", "create", cmd_env_create, "make an environment from specs or a file"},
	{"env", "update", cmd_env_update, "change an environment's packages"},
	{"env", "list", cmd_env_list, "list the environments"},
	{"env", "packages", cmd_env_packages, "list the packages of an environment"},
	{"env", "history", cmd_env_history, "list generations and what was done"},
	{"env", "run", cmd_env_run, "run a program in an environment"},
	{"env", "activate", cmd_env_activate, "print shell text that activates an environment"},
	{"env", "wrap", cmd_env_wrap, "write wrappers of an environment's programs"},
	{"env", "export", cmd_env_export, "print an environment's exact recipe"},
	{"env", "check", cmd_env_check, "compare an environment's files with what was laid out"},
	{"env", "remove", cmd_env_remove, "remove an environment"},
	{"apply", NULL, cmd_apply, "make an environment equal to a recipe"},
	{"install", "rollback", cmd_install_rollback, "go back to an earlier generation"},
	{"install", "remove", cmd_install_remove, "remove inactive generations"},
	{"channel", "add", cmd_channel_add, "keep a channel"},
	{"channel", "list", cmd_channel_list, "list the channels that are kept"},
	{"channel", "remove", cmd_channel_remove, "forget a channel"},
	{"channel", "refresh", cmd_channel_refresh, "fetch the metadata of channels anew"},
	{"channel", "publish", cmd_channel_publish, "put packages into a channel folder"},
	{"store", "gc", cmd_store_gc, "free what no environment uses"},
	{"store", "verify", cmd_store_verify, "read the store again and compare digests"},
	{"store", "size", cmd_store_size, "tell how much the store holds"},
	{"pack", "conda", cmd_pack_conda, "make a package file of a folder"},
	{"version", "compare", cmd_version_compare, "tell which of two versions is newer"},
	{"spec", "match", cmd_spec_match, "tell whether a spec matches a package"},
	{"spec", "show", cmd_spec_show, "show how a spec is read"},
	{NULL, NULL, NULL, NULL},
};

static int usage(FILE *f)
{
	const char *text = help_text(NULL, NULL);
	fputs(text ? text : "usage: slipway COMMAND [OPTION...]\n", f);
	fputs("\nCommands:\n", f);
	for (const struct cmd *k = table; k->noun; k++)
		fprintf(f, "  %-8s %-10s %s\n", k->noun, k->verb ? k->verb : "", k->summary);
	fputs("\n'slipway COMMAND --help' tells more of one.\n", f);
	return f == stdout ? CMD_OK : CMD_USAGE;
}

static bool is_noun(const char *word)
{
	for (const struct cmd *k = table; k->noun; k++)
		if (strcmp(k->noun, word) == 0)
			return true;
	return false;
}

static int verbs_of(const char *noun, bool asked)
{
	FILE *f = asked ? stdout : stderr;
	fprintf(f, "usage: slipway %s VERB [OPTION...]\n", noun);
	for (const struct cmd *k = table; k->noun; k++)
		if (strcmp(k->noun, noun) == 0)
			fprintf(f, "  %-10s %s\n", k->verb ? k->verb : "", k->summary);
	return asked ? CMD_OK : CMD_USAGE;
}

static const struct cmd *find(const char *noun, const char *verb)
{
	for (const struct cmd *k = table; k->noun; k++)
		if (strcmp(k->noun, noun) == 0 && (!k->verb || (verb && strcmp(k->verb, verb) == 0)))
			return k;
	return NULL;
}

/* The words as they were typed, for histories, but for credentials in URLs. */
static const char *join(struct arena *a, int argc, char **argv)
{
	auto_buf b = BUF_INIT(MAX_COMMAND_LINE);
	buf_put_c(&b, "slipway");
	for (int i = 1; i < argc; i++) {
		auto_buf word = BUF_INIT(MAX_COMMAND_LINE);
		url_put_shown(&word, str_c(argv[i]));
		bool quote = !word.n || strpbrk(word.p, " \t\n'\"\\$&|;<>()*?[]#~`") != NULL;
		buf_printf(&b, quote ? " '%s'" : " %s", word.p);
	}
	return arena_strdup(a, buf_str(&b));
}

static int run(const struct cmd *k, int argc, char **argv)
{
	struct cmd_context c = {.cmd = k, .root_fd = -1, .progress_fd = -1};
	int words = k->verb ? 3 : 2;
	out_init(&c.out);
	c.command_line = join(&c.arena, argc, argv);
	int code = k->run(&c, argc - words, argv + words);
	cmd_context_release(&c);
	return code;
}

/* How many words before the command are options of every command, with their values. */
static int leading_options(int argc, char **argv)
{
	int n = 0;
	while (n + 1 < argc && argv[n + 1][0] == '-' && argv[n + 1][1]) {
		const char *word = argv[n + 1];
		n += 1 + (strcmp(word, "--root") == 0 || strcmp(word, "--progress-fd") == 0);
	}
	return n < argc ? n : argc - 1;
}

/* The words with those options behind the command, where options are read: "slipway --root R env list" is
 * "slipway env list --root R". */
static char **command_first(int argc, char **argv, int leading)
{
	char **to = xcalloc((size_t)argc + 1, sizeof(*to));
	int rest = argc - 1 - leading, words = 0;
	char **command = argv + 1 + leading;
	const struct cmd *k = rest > 0 ? find(command[0], rest > 1 ? command[1] : NULL) : NULL;
	if (k)
		words = k->verb ? 2 : 1;
	else
		words = rest < 2 ? rest : 2;
	to[0] = argv[0];
	memcpy(to + 1, command, (size_t)words * sizeof(*to));
	memcpy(to + 1 + words, argv + 1, (size_t)leading * sizeof(*to));
	memcpy(to + 1 + words + leading, command + words, (size_t)(rest - words) * sizeof(*to));
	return to;
}

static int unknown(const char *noun, const char *verb)
{
	if (!is_noun(noun)) {
		fprintf(stderr, "slipway: unknown command '%s'; 'slipway --help' lists them\n", noun);
		return CMD_USAGE;
	}
	fprintf(stderr, "slipway: '%s' has no verb '%s'\n", noun, verb);
	return verbs_of(noun, false);
}

/* slipway help [NOUN [VERB]] */
static int help(int argc, char **argv)
{
	const char *noun = argc > 2 ? argv[2] : NULL, *verb = argc > 3 ? argv[3] : NULL;
	const struct cmd *k = noun ? find(noun, verb) : NULL;
	const char *text = k ? help_text(k->noun, k->verb) : NULL;
	if (!noun)
		return usage(stdout);
	if (text)
		return fputs(text, stdout) < 0 ? CMD_FAILED : CMD_OK;
	return is_noun(noun) && !verb ? verbs_of(noun, true) : unknown(noun, verb);
}

static int choose(int argc, char **argv)
{
	if (argc < 2)
		return usage(stderr);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return usage(stdout);
	if (strcmp(argv[1], "help") == 0)
		return help(argc, argv);
	if (strcmp(argv[1], "--version") == 0) {
		puts("slipway " SLIPWAY_VERSION);
		return CMD_OK;
	}
	const struct cmd *k = find(argv[1], argc > 2 ? argv[2] : NULL);
	if (k)
		return run(k, argc, argv);
	if (is_noun(argv[1]) && (argc < 3 || argv[2][0] == '-'))
		return verbs_of(argv[1], argc > 2 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0));
	return unknown(argv[1], argc > 2 ? argv[2] : NULL);
}

int cmd_main(int argc, char **argv)
{
	int leading = leading_options(argc, argv);
	if (leading == 0 || leading == argc - 1)
		return choose(argc, argv);
	auto_free char **words = command_first(argc, argv, leading);
	return choose(argc, words);
}
