// SPDX-License-Identifier: Apache-2.0
/*
 * What a package says of its own files (CEP 34: info/paths.json), compared with what it holds.
 *
 * Whoever made the archive made both, so this finds mistakes of builders, not malice; but environments check their files
 * by what the package says, and would call files changed that nobody touched. What cannot be read, or is not there, is
 * for the lay-out to complain of: it needs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "store/tree.h"

enum { PATHS_JSON_MAX = 256 << 20 };

/* 1 with `why` where the file is another one than is said. */
static int compare_file(int treefd, struct str path, int64_t size, const uint8_t *sha, struct buf *why, struct err *e)
{
	uint8_t got[SHA256_SIZE];
	struct stat st;
	auto_free char *name = str_dup(path);
	auto_fd fd = openat(treefd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && (errno == ELOOP || errno == ENOENT || errno == ENOTDIR))
		return 0; /* some builders list a link as what it leads to */
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open '%s'", name);
	if (!S_ISREG(st.st_mode))
		return 0;
	if (size >= 0 && size != st.st_size) {
		buf_printf(why, "info/paths.json says that '%s' has %lld bytes, but it has %lld", name, (long long)size,
			   (long long)st.st_size);
		return 1;
	}
	if (!sha)
		return 0;
	if (sha256_fd(fd, got, e) < 0)
		return err_ctx(e, "'%s'", name);
	if (memcmp(sha, got, SHA256_SIZE) == 0)
		return 0;
	buf_printf(why, "info/paths.json tells another sha256 of '%s' than it has", name);
	return 1;
}

static int compare_entry(int treefd, const struct json *j, struct buf *why, struct err *e)
{
	struct err ignored = ERR_INIT;
	struct str path = STR_NONE, type = STR("hardlink"), hex = STR_NONE;
	uint8_t sha[SHA256_SIZE];
	int64_t size = -1;
	if (j->type != JSON_OBJECT || json_get_str(j, "_path", &path, &ignored) < 0 ||
	    json_opt_str(j, "path_type", &type, &ignored) < 0 || json_opt_str(j, "sha256", &hex, &ignored) < 0 ||
	    json_opt_int(j, "size_in_bytes", &size, &ignored) < 0 || !str_eq(type, STR("hardlink")) ||
	    !fs_path_is_inside(path))
		return 0;
	bool has_sha = str_unhex(hex, sha, SHA256_SIZE);
	return size >= 0 || has_sha ? compare_file(treefd, path, size, has_sha ? sha : NULL, why, e) : 0;
}

int tree_contradiction(int treefd, struct buf *why, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf text = BUF_INIT(PATHS_JSON_MAX);
	struct err ignored = ERR_INIT;
	const struct json *list;
	if (fs_read(treefd, "info/paths.json", &text, &ignored) < 0)
		return 0;
	const struct json *j = json_parse(&a, buf_str(&text), "info/paths.json", &ignored);
	if (!j || j->type != JSON_OBJECT || json_opt_array(j, "paths", &list, &ignored) < 0 || !list)
		return 0;
	for (uint32_t i = 0; i < list->n; i++) {
		int r = compare_entry(treefd, &list->item[i], why, e);
		if (r != 0)
			return r;
	}
	return 0;
}
