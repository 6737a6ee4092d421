// SPDX-License-Identifier: Apache-2.0
#include "build/anew.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/sys.h"
#include "build/build.h"

enum { RECORDS_MAX = 1 << 20, SALT_BYTES = 16, PATH_SIZE = LAYER_ID_HEX + 16 };

/* 1 *ret is what stands there, 0 nothing that is good for anything. */
static int read_record(struct layers *l, const char *path, struct layer_id *ret, struct err *e)
{
	auto_buf b = BUF_INIT(2 * LAYER_ID_HEX);
	struct err why = ERR_INIT;
	if (fs_read(layers_dirfd(l), path, &b, &why) == 0)
		return layer_id_parse(str_trim(buf_str(&b)), ret);
	if (why.code == ERR_NOT_FOUND || why.code == ERR_LIMIT)
		return 0;
	*e = why;
	return -1;
}

int anew_find(struct layers *l, struct layer_id *id, struct err *e)
{
	char path[PATH_SIZE];
	struct layer_id now;
	snprintf(path, sizeof(path), "anew/%s", id->hex);
	int r = read_record(l, path, &now, e);
	if (r > 0)
		*id = now;
	return r < 0 ? -1 : 0;
}

int anew_make(struct layer_id *id, struct err *e)
{
	uint8_t salt[SALT_BYTES], sum[SHA256_SIZE];
	auto_buf b = BUF_INIT(512);
	if (getrandom(salt, sizeof(salt), 0) != sizeof(salt))
		return err_sys(e, "get random bytes");
	buf_printf(&b, "slipway step anew 1\n%s\n", id->hex);
	buf_put_hex(&b, salt, sizeof(salt));
	sha256(b.p, b.n, sum);
	hex_encode(sum, sizeof(sum), id->hex);
	return 0;
}

int anew_keep(struct layers *l, const struct layer_id *id, const struct layer_id *now, struct err *e)
{
	char path[PATH_SIZE], text[LAYER_ID_HEX + 2];
	snprintf(path, sizeof(path), "anew/%s", id->hex);
	int n = snprintf(text, sizeof(text), "%s\n", now->hex);
	if (fs_mkdirs(layers_dirfd(l), "anew", 0700, e) < 0)
		return -1;
	return fs_replace(layers_dirfd(l), path, text, (size_t)n, 0, e);
}

static bool is_there(struct layers *l, const struct layer_id *id)
{
	char path[PATH_SIZE];
	snprintf(path, sizeof(path), "layer/%s", id->hex);
	return fs_exists(layers_dirfd(l), path);
}

void build_forget(struct layers *l)
{
	auto_fs_list names = {0};
	struct err ignored = ERR_INIT;
	if (fs_list(layers_dirfd(l), "anew", RECORDS_MAX, &names, &ignored) < 0)
		return;
	for (size_t i = 0; i < names.n; i++) {
		struct layer_id id, now;
		char path[PATH_SIZE];
		if (!layer_id_parse(str_c(names.name[i]), &id))
			continue; /* one that is being written */
		snprintf(path, sizeof(path), "anew/%s", id.hex);
		int r = read_record(l, path, &now, &ignored);
		if (r == 0 || (r > 0 && !is_there(l, &id) && !is_there(l, &now)))
			(void)sys_unlinkat(layers_dirfd(l), path, 0);
	}
}
