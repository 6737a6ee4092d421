// SPDX-License-Identifier: Apache-2.0
/* The commands, and the way from argv to one of them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/url.h"
#include "cmd/cmd.h"
#include "cmd/help.h"
#include "cmd/opam_as.h"
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
	{"prepare", NULL, cmd_prepare, "download what a recipe needs, ahead of time"},
	{"install", "add", cmd_install_add, "lay out a new version beside the one that runs"},
	{"install", "activate", cmd_install_activate, "make what was added current, until it is committed"},
	{"install", "commit", cmd_install_commit, "keep the new version"},
	{"install", "abort", cmd_install_abort, "go back to the committed version"},
	{"install", "auto-abort-timer", cmd_install_timer, "stop the timer that would go back by itself"},
	{"install", "rollback", cmd_install_rollback, "go back to an earlier generation"},
	{"install", "label", cmd_install_label, "give a generation a name"},
	{"install", "remove", cmd_install_remove, "remove inactive generations"},
	{"start", NULL, cmd_start, "start an environment's services, now and after a boot"},
	{"stop", NULL, cmd_stop, "stop an environment's services"},
	{"status", NULL, cmd_status, "show what runs, and what is under way"},
	{"agent", NULL, cmd_agent, "be the host's daemon: services, timers"},
	{"pair", "init", cmd_pair_init, "begin a pair: print an invitation for another host"},
	{"pair", "join", cmd_pair_join, "enter another host's pair by its invitation"},
	{"pair", "show", cmd_pair_show, "show both members and the link between them"},
	{"pair", "leave", cmd_pair_leave, "forget the other member"},
	{"show", "boot", cmd_show_boot, "show what starts at boot, on both members of a pair"},
	{"show", "install", cmd_show_install, "show versions and their states, or what was done"},
	{"show", "issu", cmd_show_issu, "show how far an upgrade has come"},
	{"show", "redundancy", cmd_show_redundancy, "show both members of a pair: who is active, is the other one hot"},
	{"show", "version", cmd_show_version, "show which versions run"},
	{"clear", "install", cmd_clear_install, "clean up what a failed operation left"},
	{"channel", "add", cmd_channel_add, "keep a channel"},
	{"channel", "list", cmd_channel_list, "list the channels that are kept"},
	{"channel", "remove", cmd_channel_remove, "forget a channel"},
	{"channel", "refresh", cmd_channel_refresh, "fetch the metadata of channels anew"},
	{"channel", "trust", cmd_channel_trust, "pin who has to have signed a channel"},
	{"channel", "publish", cmd_channel_publish, "put packages into a channel folder"},
	{"channel", "yank", cmd_channel_yank, "withdraw packages from a channel folder"},
	{"channel", "key", cmd_channel_key, "make or show the key that signs channels"},
	{"channel", "sign", cmd_channel_sign, "sign a channel as a whole, or again before that expires"},
	{"channel", "create", cmd_channel_create, "make a channel, of one's own or that follows another"},
	{"channel", "sync", cmd_channel_sync,
	 "bring up to date what follows another; bring in what a list of specs needs"},
	{"channel", "promote", cmd_channel_promote, "take packages over into another channel"},
	{"channel", "prune", cmd_channel_prune, "remove what a channel names no longer"},
	{"channel", "scrub", cmd_channel_scrub, "read a channel again and compare digests"},
	{"mirror", "init", cmd_mirror_init, "make the folder of a mirror and its configuration"},
	{"mirror", "serve", cmd_mirror_serve, "serve a mirror's channels, in the foreground"},
	{"mirror", "start", cmd_mirror_start, "start a mirror's server"},
	{"mirror", "stop", cmd_mirror_stop, "stop a mirror's server"},
	{"mirror", "restart", cmd_mirror_restart, "let a new server take over; nobody is refused"},
	{"mirror", "reload", cmd_mirror_reload, "read certificates again"},
	{"mirror", "upgrade", cmd_mirror_upgrade, "bring a mirror's own software up to date"},
	{"mirror", "status", cmd_mirror_status, "tell whether a mirror's server runs, and how it is"},
	{"mirror", "list", cmd_mirror_list, "list the packages of a channel, and why lists differ"},
	{"mirror", "install-service", cmd_mirror_install_service, "write what starts a mirror at boot"},
	{"mirror", "enroll", cmd_mirror_enroll, "make a one-time code for a machine"},
	{"mirror", "clients", cmd_mirror_clients, "list the machines that are enrolled"},
	{"mirror", "revoke", cmd_mirror_revoke, "refuse a machine from now on"},
	{"mirror", "rights", cmd_mirror_rights, "say which channels a group or a machine may have"},
	{"mirror", "snapshots", cmd_mirror_snapshots, "list, show, compare what clients have stored"},
	{"mirror", "authority", cmd_mirror_authority, "show or change the authority that signs certificates"},
	{"enroll", NULL, cmd_enroll, "have a mirror know this host, by a one-time code"},
	{"snapshot", "list", cmd_snapshot_list, "list what the mirror has been told of this host"},
	{"snapshot", "show", cmd_snapshot_show, "show a thin snapshot, or a recipe made of it"},
	{"snapshot", "diff", cmd_snapshot_diff, "show what differs between two snapshots"},
	{"spot", NULL, cmd_spot, "be the patch tool: its own options"},
	{"plan", "sign", cmd_plan_sign, "sign what hosts are to run, with keys of one's own"},
	{"plan", "publish", cmd_plan_publish, "bring signed plans to where a mirror serves them"},
	{"plan", "trust", cmd_plan_trust, "take an operator's root: whose plans are for this host"},
	{"plan", "show", cmd_plan_show, "show what is signed for this host"},
	{"plan", "verify", cmd_plan_verify, "compare an environment with what is signed for it"},
	{"jobs", NULL, cmd_jobs, "list the jobs that wait and run"},
	{"job", "submit", cmd_job_submit, "have a command run by a worker of a pool"},
	{"job", "log", cmd_job_log, "print what a job printed, while it does"},
	{"job", "show", cmd_job_show, "show one job"},
	{"job", "cancel", cmd_job_cancel, "take jobs out of the queue, or end them"},
	{"job", "rate", cmd_job_rate, "give a client a larger or smaller share of a pool"},
	{"worker", NULL, cmd_worker, "run the jobs of a pool"},
	{"worker", "list", cmd_worker_list, "list the workers, and what they do"},
	{"worker", "pause", cmd_worker_pause, "let a worker take no more jobs"},
	{"worker", "resume", cmd_worker_resume, "let a paused worker go on"},
	{"worker", "drain", cmd_worker_drain, "let a worker finish what it runs, and end"},
	{"worker", "forget", cmd_worker_forget, "take a worker that is gone off the list"},
	{"store", "gc", cmd_store_gc, "free what no environment uses"},
	{"store", "verify", cmd_store_verify, "read the store again and compare digests"},
	{"store", "size", cmd_store_size, "tell how much the store holds"},
	{"tuf", NULL, cmd_tuf, "verify what a server holds by signed metadata, and sign it"},
	{"build", NULL, cmd_build, "run a build spec, step by step"},
	{"build", "list", cmd_build_list, "list what the steps of builds made"},
	{"build", "log", cmd_build_log, "print what a step printed"},
	{"build", "export", cmd_build_export, "write what a build made, or an image, as tar or OCI archive"},
	{"build", "gc", cmd_build_gc, "free what builds have not used for long"},
	{"build", "cache", cmd_build_cache, "list and remove caches of steps and git repositories"},
	{"image", "import", cmd_image_import, "unpack a base image: OCI, docker save, tar, Debian packages"},
	{"image", "list", cmd_image_list, "list the base images"},
	{"image", "show", cmd_image_show, "show what is known of an image"},
	{"image", "remove", cmd_image_remove, "remove an image"},
	{"opam", "cache", cmd_opam_cache, "list and remove opam packages that were built before"},
	{"opam", "ci", cmd_opam_ci, "build an opam package as a CI of its repository does"},
	{"opam", "install", cmd_opam_install, "build and install opam packages in a switch"},
	{"opam", "reinstall", cmd_opam_reinstall, "build and install opam packages anew"},
	{"opam", "remove", cmd_opam_remove, "remove opam packages from a switch"},
	{"opam", "solve", cmd_opam_solve, "tell what opam would do to install packages"},
	{"pack", "conda", cmd_pack_conda, "make a package file of a folder"},
	{"version", "compare", cmd_version_compare, "tell which of two versions is newer"},
	{"spec", "match", cmd_spec_match, "tell whether a spec matches a package"},
	{"spec", "show", cmd_spec_show, "show how a spec is read"},
	{NULL, NULL, NULL, NULL},
};

static bool is_noun(const char *word)
{
	for (const struct cmd *k = table; k->noun; k++)
		if (strcmp(k->noun, word) == 0)
			return true;
	return false;
}

/* The row of both words, else the noun's own, where it has one. */
static const struct cmd *find(const char *noun, const char *verb)
{
	const struct cmd *alone = NULL;
	for (const struct cmd *k = table; k->noun; k++) {
		if (strcmp(k->noun, noun) != 0)
			continue;
		if (!k->verb)
			alone = k;
		else if (verb && strcmp(k->verb, verb) == 0)
			return k;
	}
	return alone;
}

/* Of a noun that is a command by itself and has verbs too (build, build list), a word that follows is a verb only where it is one of
 * those. */
static bool is_verb_of(const char *noun, const char *word)
{
	const struct cmd *k = find(noun, word);
	return k && k->verb;
}

/* -- help ---------------------------------------------------------------------------------------------------------- */

/* What was asked for is the answer; what was not is a remark on what was typed wrong. */
static int give_help(struct cmd_context *c, const struct buf *b, bool asked)
{
	if (asked)
		return cmd_print(c, b);
	out_put_remark(&c->out, buf_str(b));
	return CMD_USAGE;
}

static int usage(struct cmd_context *c, bool asked)
{
	auto_buf b = BUF_INIT(1 << 20);
	const char *text = help_text(NULL, NULL);
	buf_put_c(&b, text ? text : "usage: slipway COMMAND [OPTION...]\n");
	buf_put_c(&b, "\nCommands:\n");
	for (const struct cmd *k = table; k->noun; k++)
		buf_printf(&b, "  %-8s %-17s %s\n", k->noun, k->verb ? k->verb : "", k->summary);
	buf_put_c(&b, "\n'slipway COMMAND --help' tells more of one.\n");
	return give_help(c, &b, asked);
}

static bool have_own_pages(const char *noun)
{
	for (const struct cmd *k = table; k->noun; k++)
		if (strcmp(k->noun, noun) == 0 && k->verb && help_text(noun, k->verb) != help_text(noun, NULL))
			return true;
	return false;
}

/* A command that opam has, beside the noun's own verbs. */
static bool is_opams(const char *noun, const char *verb)
{
	return noun && verb && strcmp(noun, "opam") == 0 && !find(noun, verb) && opam_as_knows(verb);
}

static int verbs_of(struct cmd_context *c, const char *noun, bool asked)
{
	auto_buf b = BUF_INIT(1 << 20);
	buf_printf(&b, "usage: slipway %s VERB [OPTION...]\n", noun);
	for (const struct cmd *k = table; k->noun; k++)
		if (strcmp(k->noun, noun) == 0)
			buf_printf(&b, "  %-17s %s\n", k->verb ? k->verb : "", k->summary);
	if (strcmp(noun, "opam") == 0) {
		buf_put_c(&b, "and opam's own, on its roots and switches (man slipway-opam-as):\n  ");
		opam_as_put_names("  ", &b);
		buf_put_char(&b, '\n');
	}
	buf_printf(&b, "'slipway %s VERB --help' tells more of %s.\n", noun,
		   have_own_pages(noun) ? "one" : "all of them");
	return give_help(c, &b, asked);
}

static int unknown(struct cmd_context *c, const char *noun, const char *verb)
{
	if (!is_noun(noun)) {
		cmd_warn(c, "unknown command '%s'; 'slipway --help' lists them", noun);
		return CMD_USAGE;
	}
	cmd_warn(c, "'%s' has no verb '%s'", noun, verb);
	return verbs_of(c, noun, false);
}

/* slipway help [NOUN [VERB]] */
static int help(struct cmd_context *c, const char *noun, const char *verb)
{
	auto_buf b = BUF_INIT(1 << 20);
	const struct cmd *k = noun ? find(noun, verb) : NULL;
	const char *text = k ? help_text(k->noun, k->verb) : is_opams(noun, verb) ? help_text("opam", "as") : NULL;
	if (!noun)
		return usage(c, true);
	if (text) {
		buf_put_c(&b, text);
		return cmd_print(c, &b);
	}
	return is_noun(noun) && !verb ? verbs_of(c, noun, true) : unknown(c, noun, verb);
}

/* -- from argv to a command ---------------------------------------------------------------------------------------- */

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

/* A command line sorted out: options of every command may stand before and between a command's words. */
struct line {
	const char *word[3]; /* noun, verb; "help" and its two; NULL where there are fewer */
	int words;
	char **rest; /* those options, then all that came behind the words */
	int rest_n;
};

static bool wants_more(const struct line *l, const char *next)
{
	if (l->words == 0)
		return true;
	if (strcmp(l->word[0], "help") == 0)
		return l->words < 3;
	if (l->words > 1 || !is_noun(l->word[0]))
		return false;
	return !find(l->word[0], NULL) || next[0] == '-' || is_verb_of(l->word[0], next);
}

/* l->rest has room for argc words. */
static void sort_out(int argc, char **argv, struct line *l)
{
	int at = 1;
	while (at < argc && wants_more(l, argv[at])) {
		int n = cmd_common_words(argv[at]);
		if (n == 0 && argv[at][0] == '-')
			break;
		if (n == 0)
			l->word[l->words++] = argv[at++];
		for (; n > 0 && at < argc; n--)
			l->rest[l->rest_n++] = argv[at++];
	}
	while (at < argc)
		l->rest[l->rest_n++] = argv[at++];
}

/* Without a command there are only options. */
static int no_command(struct cmd_context *c, const struct line *l)
{
	struct cmd_list words = {0};
	struct err e = ERR_INIT;
	bool version = false;
	static const struct cmd self = {"", NULL, NULL, ""};
	const struct cmd_option options[] = {{0, "version", CMD_FLAG, &version}, {0, NULL, CMD_FLAG, NULL}};
	auto_buf b = BUF_INIT(100);
	c->cmd = &self;
	int rc = cmd_parse(c, options, false, l->rest_n, l->rest, &words, &e);
	vec_release(&words);
	if (rc < 0)
		return cmd_fail(c, &e);
	buf_put_c(&b, "slipway " SLIPWAY_VERSION "\n");
	return version ? cmd_print(c, &b) : usage(c, c->help);
}

/* A noun alone, or with options that only its verbs know. */
static int no_verb(struct cmd_context *c, const struct line *l)
{
	bool asked = false;
	for (int i = 0; i < l->rest_n; i++)
		asked |= strcmp(l->rest[i], "--help") == 0 || strcmp(l->rest[i], "-h") == 0;
	if (!asked && l->rest_n && !cmd_common_words(l->rest[0]))
		cmd_warn(c, "'%s' stands before the verb; write: slipway %s VERB %s", l->rest[0], l->word[0],
			 l->rest[0]);
	return verbs_of(c, l->word[0], asked);
}

static int choose(struct cmd_context *c, const struct line *l)
{
	if (!l->words)
		return no_command(c, l);
	if (strcmp(l->word[0], "help") == 0)
		return help(c, l->word[1], l->word[2]);
	c->cmd = find(l->word[0], l->word[1]);
	if (c->cmd)
		return c->cmd->run(c, l->rest_n, l->rest);
	if (is_opams(l->word[0], l->word[1]))
		return opam_as_by_noun(c, l->word[1], l->rest_n, l->rest);
	return l->words == 1 && is_noun(l->word[0]) ? no_verb(c, l) : unknown(c, l->word[0], l->word[1]);
}

/* The one place that looks whether what was printed arrived. Who reads a pipe may stop when they have seen enough, and
 * needs no message. */
static int close_output(struct cmd_context *c, int code)
{
	struct err e = ERR_INIT;
	int rc = out_finish(&c->out, &e);
	out_closing_words(&c->out, NULL);
	if (rc == 0)
		return code;
	if (e.sys != EPIPE)
		cmd_warn(c, "%s%s", e.msg, c->changed ? "; the change was made all the same" : "");
	return code == CMD_OK ? CMD_FAILED : code;
}

/* Another name of the program stands for a command. */
static const struct {
	const char *name, *noun, *verb;
} names[] = {{"sync-channel", "channel", "sync"}, {"spot", "spot", NULL}};

/* argv with that command's words in it; NULL where the program goes by its own name. */
static char **with_words(struct arena *a, int argc, char **argv, int *ret_more)
{
	const char *slash = argc ? strrchr(argv[0], '/') : NULL;
	const char *name = slash ? slash + 1 : argc ? argv[0] : "";
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(name, names[i].name) != 0)
			continue;
		char **v = arena_array(a, char *, (size_t)argc + 3);
		int n = 0;
		v[n++] = argv[0];
		v[n++] = arena_strdup(a, str_c(names[i].noun));
		if (names[i].verb)
			v[n++] = arena_strdup(a, str_c(names[i].verb));
		memcpy(v + n, argv + 1, (size_t)(argc - 1) * sizeof(*v));
		*ret_more = n - 1;
		return v;
	}
	return NULL;
}

int cmd_main(int argc, char **argv)
{
	struct cmd_context c = {.root_fd = -1, .progress_fd = -1};
	int more = 0;
	char **longer = with_words(&c.arena, argc, argv, &more);
	argc += more;
	argv = longer ? longer : argv;
	auto_free char **rest = xcalloc((size_t)argc + 1, sizeof(*rest));
	struct line l = {.rest = rest};
	out_init(&c.out);
	c.command_line = join(&c.arena, argc, argv);
	cmd_if_interrupted(&c, "nothing changed");
	if (!opam_as_is_name(argc ? argv[0] : NULL))
		sort_out(argc, argv, &l);
	int code = close_output(&c,
				opam_as_is_name(argc ? argv[0] : NULL) ? opam_as_main(&c, argc, argv) : choose(&c, &l));
	cmd_context_release(&c);
	return code;
}
