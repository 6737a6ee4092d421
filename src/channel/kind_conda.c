// SPDX-License-Identifier: Apache-2.0
/* Channels of conda packages: <subdir>/repodata.json and what is beside it (CEP 15, 16, 26). */
#include <string.h>

#include "channel/conda.h"

static const char *const pointers[] = {
	"repodata.json",
	"repodata.json.zst",
	"repodata.json.bz2",
	"repodata_from_packages.json",
	"current_repodata.json",
	"current_repodata.json.zst",
	"repodata_shards.msgpack.zst",
	"run_exports.json",
	"run_exports.json.zst",
	"patch_instructions.json",
	"index.json",
};

static bool is_package(struct str name)
{
	return str_ends(name, STR(".conda")) || str_ends(name, STR(".tar.bz2"));
}

static enum channel_file conda_file(struct str path)
{
	struct str subdir;
	if (str_eq(path, STR("channeldata.json")))
		return CHANNEL_FILE_POINTER;
	if (!str_take_until(&path, '/', &subdir) || !channel_is_subdir(subdir))
		return CHANNEL_FILE_NONE;
	if (str_take_str(&path, STR("shards/")))
		return str_find(path, '/') < 0 && str_ends(path, STR(".msgpack.zst")) ? CHANNEL_FILE_NAMED
										      : CHANNEL_FILE_NONE;
	if (str_find(path, '/') >= 0)
		return CHANNEL_FILE_NONE;
	for (size_t i = 0; i < sizeof(pointers) / sizeof(*pointers); i++)
		if (str_eq_c(path, pointers[i]))
			return CHANNEL_FILE_POINTER;
	return is_package(path) ? CHANNEL_FILE_PACKAGE : CHANNEL_FILE_NONE;
}

/* <subdir>/shards/HEX.msgpack.zst */
static bool conda_path_digest(struct str path, struct digest_value *ret)
{
	struct str subdir;
	return str_take_until(&path, '/', &subdir) && str_take_str(&path, STR("shards/")) &&
	       str_ends(path, STR(".msgpack.zst")) &&
	       digest_parse(DIGEST_SHA256, str_head(path, path.n - strlen(".msgpack.zst")), ret);
}

static int conda_publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
			 struct progress *p, struct err *e)
{
	const struct channel_publish_opts po = {.dry_run = o->dry_run, .shards = o->shards, .replace = o->replace};
	return channel_publish(folder, files, n, &po, p, e);
}

const struct channel_kind kind_conda = {
	.name = "conda",
	.marks = "noarch/repodata.json */repodata.json */repodata.json.zst */repodata_shards.msgpack.zst",
	.packages = ".conda .tar.bz2",
	.file = conda_file,
	.walk_new = conda_walk_new,
	.walk_next = conda_walk_next,
	.walk_free = conda_walk_free,
	.path_digest = conda_path_digest,
	.learn = conda_learn,
	.publish = conda_publish,
	.rewrite = conda_rewrite,
	.remove = conda_remove,
};
