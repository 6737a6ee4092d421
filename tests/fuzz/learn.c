// SPDX-License-Identifier: Apache-2.0
/*
 * A file of metadata that a proxy passes on, of whichever kind: its kind and path on the first line, "deb dists/x/InRelease", its bytes
 * behind. Whatever it says, what it names lies inside the channel and is of a class that the kind knows.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "channel/channel.h"
#include "index_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check_item(void *ctx, const struct channel_item *i, struct err *e)
{
	const struct channel_kind *k = ctx;
	(void)e;
	if (!channel_path_is_normal(i->path))
		panic("%s: path '%.*s'", channel_kind_name(k), STR_ARG(i->path));
	if (i->what == CHANNEL_FILE_PACKAGE && str_starts(i->path, STR(".")))
		panic("%s: hidden '%.*s'", channel_kind_name(k), STR_ARG(i->path));
	if (i->what == CHANNEL_FILE_NONE || i->what == CHANNEL_FILE_POINTER)
		panic("%s: '%.*s' is neither package nor named", channel_kind_name(k), STR_ARG(i->path));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = str_of((const char *)data, size), line, kind;
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	if (!str_take_line(&text, &line) || !str_take_until(&line, ' ', &kind))
		return 0;
	const struct channel_kind *k = channel_kind(kind);
	if (!k || !channel_path_is_normal(line) || line.n > 200 || channel_kind_file(k, line) == CHANNEL_FILE_NONE)
		return 0;
	auto_fd came = fs_open_dir_make(fuzz_dir(), "came", &e);
	auto_fd made = fs_open_dir_make(fuzz_dir(), "made", &e);
	const char *path = arena_strdup(&a, line);
	char *folder = arena_strdup(&a, str_head(line, (size_t)(str_rfind(line, '/') + 1)));
	if ((*folder && fs_mkdirs(came, folder, 0755, &e) < 0) || fs_replace(came, path, text.p, text.n, 0, &e) < 0)
		return 0; /* a name that is too long */
	const struct channel_came c = {.folder = came, .made = made};
	int rc = channel_kind_learn(k, &c, line, check_item, (void *)k, &e);
	if (rc < 0 && !e.msg[0])
		panic("no reason");
	if (rc > 0 && !fs_exists(made, path))
		panic("'%s' was not made", path);
	(void)fs_remove_tree(fuzz_dir(), "came", &e);
	(void)fs_remove_tree(fuzz_dir(), "made", &e);
	return 0;
}
