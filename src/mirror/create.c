// SPDX-License-Identifier: Apache-2.0
/* Mirrors and channels that begin: their files, with every option explained. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/sys.h"
#include "mirror/config.h"

enum { TEXT_MAX = 1 << 20 };

static void put_comment(struct buf *b, const char *indent, const char *comment)
{
	struct str rest = str_c(comment), line;
	while (str_take_line(&rest, &line))
		buf_printf(b, "%s# %.*s\n", indent, STR_ARG(line));
}

static void put_scalar(struct buf *b, const char *indent, const char *name, struct str value)
{
	buf_printf(b, "%s%s: ", indent, name);
	yaml_put_scalar(b, value);
	buf_put_char(b, '\n');
}

/* A value that was asked for. */
struct said {
	const char *name;
	struct str text;
	struct mirror_list list;
};

static const struct said *find_said(const struct said *v, const char *name)
{
	for (; v && v->name; v++)
		if (strcmp(v->name, name) == 0 && (v->text.n || v->list.n))
			return v;
	return NULL;
}

/* Options that are not said stand there as comments, with what they are then. */
static void put_options(struct buf *b, const struct option *table, const char *indent, const struct said *said)
{
	for (const struct option *o = table; o->name; o++) {
		const struct said *s = find_said(said, o->name);
		if (o->comment)
			buf_put_char(b, '\n');
		if (o->comment)
			put_comment(b, indent, o->comment);
		if (o->kind == OPTION_SECTION) {
			buf_printf(b, "%s%s:\n", indent, o->name);
			put_options(b, o->section, "    ", NULL);
		} else if (s && o->kind == OPTION_LIST) {
			buf_printf(b, "%s%s:\n", indent, o->name);
			for (size_t i = 0; i < s->list.n; i++) {
				buf_printf(b, "%s  - ", indent);
				yaml_put_scalar(b, s->list.v[i]);
				buf_put_char(b, '\n');
			}
		} else if (s) {
			put_scalar(b, indent, o->name, s->text);
		} else {
			buf_printf(b, "%s#%s:%s%s\n", indent, o->name, o->standard ? " " : "",
				   o->standard ? o->standard : "");
		}
	}
}

static void put_upstream_options(struct buf *b)
{
	for (const struct option *o = option_upstream; o->name; o++) {
		if (o->comment)
			put_comment(b, "#      ", o->comment);
		buf_printf(b, "#  %s %s:%s%s\n", o == option_upstream ? "-" : " ", o->name, o->standard ? " " : "",
			   o->standard ? o->standard : "");
	}
}

static void mirror_text(const struct mirror_init *o, struct buf *b)
{
	const struct said said[] = {{"name", o->name, {0}}, {"host", o->host, {0}}, {0}};
	buf_put_c(
		b,
		"# The configuration of this mirror. What begins with '#' is as it is without being said; a key that is\n"
		"# not known is refused when the mirror starts. slipway-mirror(1), doc/formats/mirror.md\n");
	put_options(b, option_main, "", said);
	buf_put_c(
		b,
		"\n# Servers that channels come from: below the URL of each lies a folder for every channel, of its name (or\n"
		"# of its 'path'). A channel may have 'upstreams' of its own instead. Connections are made from here to\n"
		"# them only. Who fails, or sends slowly, is left for the next one, and tried again later.\n"
		"upstreams:\n");
	put_upstream_options(b);
	buf_put_c(
		b,
		"\n# Channels may stand here, as NAME: and their options; 'slipway channel create DIR/NAME' writes a file for each\n"
		"# into the folder 'channels' instead, in which every option is explained.\n"
		"channels:\n");
}

int mirror_init(const char *dir, const struct mirror_init *o, struct err *e)
{
	static const char *const folders[] = {"content", "state", "log", CHANNELS_FOLDER};
	auto_buf b = BUF_INIT(TEXT_MAX);
	auto_fd fd = fs_open_dir_make(AT_FDCWD, dir, e);
	if (fd < 0)
		return err_ctx(e, "mirror '%s'", dir);
	if (fs_exists(fd, MIRROR_FILE))
		return err_new(e, ERR_EXISTS, "'%s' is a mirror already; edit '%s/" MIRROR_FILE "'", dir, dir);
	if (!o->name.n || !o->host.n)
		return err_new(e, ERR_USAGE, "a mirror needs a name and a host");
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
		if (fs_mkdirs(fd, folders[i], 0755, e) < 0)
			return err_ctx(e, "mirror '%s'", dir);
	if (sys_fchmodat(fd, "state", 0700) < 0)
		return err_sys(e, "protect '%s/state'", dir);
	mirror_text(o, &b);
	if (fs_replace(fd, MIRROR_FILE, b.p, b.n, FS_REPLACE_SYNC | FS_REPLACE_EXCL | FS_REPLACE_SECRET, e) < 0)
		return err_ctx(e, "mirror '%s'", dir);
	return 0;
}

/* -- channels ------------------------------------------------------------------------------------------------------ */

static int channel_text(const struct mirror_create *o, struct buf *b, struct err *e)
{
	static const char *const types[] = {"local", "proxy", "mirror"};
	const struct said said[] = {{"kind", str_c(channel_kind_name(o->kind)), {0}},
				    {"type", str_c(types[o->type]), {0}},
				    {"platforms", STR_NONE, o->platforms},
				    {"suites", STR_NONE, o->suites},
				    {"components", STR_NONE, o->components},
				    {"names", STR_NONE, o->names},
				    {"sources", o->sources ? STR("yes") : STR_NONE, {0}},
				    {"keyring", o->keyring, {0}},
				    {"tufRoot", o->tuf_root, {0}},
				    {"signKey", o->sign_key, {0}},
				    {"signHome", o->sign_home, {0}},
				    {"download", o->download, {0}},
				    {"private", o->is_private ? STR("yes") : STR_NONE, {0}},
				    {"shards", o->shards ? STR("yes") : STR_NONE, {0}},
				    {0}};
	buf_put_c(b, "# A channel. What begins with '#' is as it is without being said. doc/formats/mirror.md\n");
	put_options(b, option_channel, "", said);
	buf_put_c(
		b,
		"\n# Where it comes from, best first: URLs, or as 'upstreams' in mirror.yaml. Without this, a channel that follows\n"
		"# another lies below the mirror's own upstreams, in a folder of its name, or of this 'path'.\n#path:\n");
	if (o->from.n)
		buf_put_c(b, "upstreams:\n");
	for (size_t i = 0; i < o->from.n; i++) {
		buf_printf(b, "  - id: \"%zu\"\n    url: ", i + 1);
		yaml_put_scalar(b, o->from.v[i]);
		buf_printf(b, "\n    priority: %zu\n", (o->from.n - i) * 10);
	}
	return b->overflow ? err_new(e, ERR_LIMIT, "that is too much for one channel") : 0;
}

static int make_tree(int fd, const char *tree, const char *work, struct err *e)
{
	return fs_mkdirs(fd, tree, 0755, e) < 0 || fs_mkdirs(fd, work, 0700, e) < 0 ? -1 : 0;
}

/* What would be refused when the mirror is opened is not written. */
static int check(int fd, const char *dir, bool plain, const char *file, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct mirror_config c;
	if (mirror_config_read(&a, fd, dir, plain, &c, e) == 0)
		return 0;
	(void)sys_unlinkat(fd, file, 0);
	return -1;
}

int mirror_create(const char *dir, struct str name, const struct mirror_create *o, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(TEXT_MAX);
	auto_fd fd = name.n ? fs_open_dir(AT_FDCWD, dir, e) : fs_open_dir_make(AT_FDCWD, dir, e);
	if (fd < 0)
		return err_ctx(e, "channel in '%s'", dir);
	if (name.n && mirror_name_check(name, e) < 0)
		return -1;
	if (name.n && !fs_exists(fd, MIRROR_FILE))
		return err_new(e, ERR_NOT_FOUND,
			       "'%s' is no mirror; make one with: slipway mirror init %s --name NAME --host HOST", dir,
			       dir);
	const char *tree = name.n ? arena_printf(&a, "content/%.*s", STR_ARG(name)) : ".";
	const char *work = name.n ? arena_printf(&a, "%s/" WORK_FOLDER, tree) : WORK_FOLDER;
	const char *file = name.n ? arena_printf(&a, CHANNELS_FOLDER "/%.*s.yaml", STR_ARG(name)) : PLAIN_FILE;
	if (fs_exists(fd, file))
		return err_new(e, ERR_EXISTS, "the channel is there already; edit '%s/%s'", dir, file);
	if (channel_text(o, &b, e) < 0 || make_tree(fd, tree, work, e) < 0 ||
	    (name.n && fs_mkdirs(fd, CHANNELS_FOLDER, 0755, e) < 0) ||
	    fs_replace(fd, file, b.p, b.n, FS_REPLACE_SYNC | FS_REPLACE_EXCL | FS_REPLACE_SECRET, e) < 0)
		return err_ctx(e, "channel in '%s'", dir);
	return check(fd, dir, !name.n, file, e);
}
