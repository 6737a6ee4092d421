// SPDX-License-Identifier: Apache-2.0
#include "cmd/layers.h"

#include <fcntl.h>

#include "base/fs.h"

const char *cmd_build_dir(struct cmd_context *c, const char *store, struct err *e)
{
	if (store)
		return store;
	return cmd_need_root(c, e) < 0 ? NULL : arena_printf(&c->arena, "%s/build", c->root_path);
}

const char *const *cmd_build_apart(struct cmd_context *c, const char *store)
{
	const char **v = arena_array(&c->arena, const char *, 3);
	size_t n = 0;
	if (store)
		v[n++] = store;
	if (c->root_path)
		v[n++] = c->root_path;
	return v;
}

int cmd_need_layers(struct cmd_context *c, const char *store, struct layers **ret, struct err *e)
{
	static const enum layer_backend kinds[] = {
		[CONFIG_STORE_AUTO] = LAYER_AUTO,
		[CONFIG_STORE_OVERLAY] = LAYER_OVERLAY,
		[CONFIG_STORE_BTRFS] = LAYER_BTRFS,
		[CONFIG_STORE_COPY] = LAYER_COPY,
	};
	enum layer_backend want = LAYER_AUTO;
	const char *dir = cmd_build_dir(c, store, e);
	if (!dir)
		return -1;
	if (!fs_exists(AT_FDCWD, arena_printf(&c->arena, "%s/backend", dir))) {
		if (cmd_need_config(c, e) < 0)
			return -1;
		want = kinds[c->config.build.store];
	}
	return layers_open(dir, want, ret, e);
}

int cmd_find_layer(struct cmd_context *c, struct layers *l, struct str word, struct layer_id *ret, struct err *e)
{
	struct layer_info *all;
	size_t n, found = 0;
	if (word.n < CMD_LAYER_PREFIX_MIN || word.n > LAYER_ID_HEX || !str_is_hex(word))
		return 0;
	if (layers_list(l, &c->arena, &all, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (str_starts(str_c(all[i].id.hex), word)) {
			*ret = all[i].id;
			found++;
		}
	return found < 2 ? (int)found
			 : err_new(e, ERR_USAGE, "%zu layers begin with '%.*s'; give more of its id", found,
				   STR_ARG(word));
}
